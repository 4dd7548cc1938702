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

void signals_catch(void (*handler)(int), int flags) {
    const int wishes[] = {SIGUSR1, SIGTERM, SIGINT, SIGHUP};
    struct sigaction before, action = {.sa_handler = handler, .sa_flags = flags};
    bool nohup = !sigaction(SIGHUP, NULL, &before) && before.sa_handler == SIG_IGN;
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < 4; i++) sigaddset(&action.sa_mask, wishes[i]);
    for (int i = 0; i < (nohup ? 3 : 4); i++) sigaction(wishes[i], &action, NULL);
}

void signals_open(void) {
    signals_catch(on_signal, SA_RESTART);
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
    return number == SIGUSR1   ? "SIGUSR1"
           : number == SIGTERM ? "SIGTERM"
           : number == SIGINT  ? "SIGINT"
           : number == SIGHUP  ? "SIGHUP"
                               : "no signal";
}
