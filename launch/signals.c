#include "launch/signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "launch/watchdog.h"

#define SAME_WISH_NS 1000000000 /* the same signal within that time says nothing new */

static volatile sig_atomic_t pending;
static _Atomic bool wished; /* atomic: two threads may be in a handler at once */
static _Atomic int64_t first_ns[NSIG];

SignalWish signals_wish(int number) {
    int64_t first = 0, now = (int64_t)(clock_seconds() * 1e9);
    bool known = atomic_exchange(&wished, true);
    if (atomic_compare_exchange_strong(&first_ns[number], &first, now)) return known ? WISH_KNOWN : WISH_NEW;
    return now - first > SAME_WISH_NS ? WISH_URGENT : WISH_KNOWN;
}

static void on_signal(int number) {
    if (signals_wish(number) == WISH_URGENT) {
        watchdog_farewell();
        _exit(EXIT_RETRY);
    }
    pending = number;
}

void signals_open(void) {
    const int wishes[] = {SIGUSR1, SIGTERM, SIGINT};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < 3; i++) sigaddset(&action.sa_mask, wishes[i]);
    for (int i = 0; i < 3; i++) sigaction(wishes[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int signals_pending(void) { return pending; }

bool signals_none(Error *error) {
    if (!pending) return true;
    fail(error, "stopped by a signal; the same command goes on from here");
    error->code = EXIT_RETRY;
    return false;
}

const char *signals_name(int number) {
    return number == SIGUSR1 ? "SIGUSR1" : number == SIGTERM ? "SIGTERM" : number == SIGINT ? "SIGINT" : "no signal";
}
