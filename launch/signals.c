#include "launch/signals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "launch/watchdog.h"

#define SAME_WISH_NS 1000000000 /* the same signal within that time says nothing new */

enum { WISHES = 4 };
static const int wishes[WISHES] = {SIGUSR1, SIGTERM, SIGINT, SIGHUP};
static volatile sig_atomic_t pending, opened;
static _Atomic bool wished; /* atomic: two threads may be in a handler at once */
static _Atomic int64_t first_ns[NSIG];

SignalWish signals_wish(int number) {
    int64_t first = 0, now = (int64_t)(clock_seconds() * 1e9);
    bool known = atomic_exchange(&wished, true);
    if (atomic_compare_exchange_strong(&first_ns[number], &first, now)) return known ? WISH_KNOWN : WISH_NEW;
    return now - first > SAME_WISH_NS ? WISH_URGENT : WISH_KNOWN;
}

static void say_stopped(int number) {
    const char *parts[] = {"dsv2: stopped by ", signals_name(number), "\n"};
    bool told = base_rank == 0;
    for (int i = 0; i < 3 && told; i++) told = write(STDERR_FILENO, parts[i], strlen(parts[i])) > 0;
}

static void on_signal(int number) {
    bool urgent = signals_wish(number) == WISH_URGENT;
    pending = number;
    if (opened && !urgent) return;
    if (!opened) say_stopped(number);
    watchdog_farewell();
    _exit(EXIT_RETRY);
}

void signals_catch(void (*handler)(int), int flags) {
    struct sigaction before, action = {.sa_handler = handler, .sa_flags = flags};
    bool nohup = !sigaction(SIGHUP, NULL, &before) && before.sa_handler == SIG_IGN;
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < WISHES; i++) sigaddset(&action.sa_mask, wishes[i]);
    for (int i = 0; i < WISHES - nohup; i++) sigaction(wishes[i], &action, NULL);
}

static void mask(int how) {
    sigset_t all;
    sigemptyset(&all);
    for (int i = 0; i < WISHES; i++) sigaddset(&all, wishes[i]);
    sigprocmask(how, &all, NULL);
}

void signals_hold(void) { mask(SIG_BLOCK); }

void signals_begin(void) {
    signals_catch(on_signal, SA_RESTART);
    signal(SIGUSR2, SIG_IGN); /* until the watchdog can answer it */
    mask(SIG_UNBLOCK);
}

void signals_open(void) {
    opened = true;
    signals_catch(on_signal, SA_RESTART);
    signal(SIGPIPE, SIG_IGN);
}

int signals_pending(void) { return pending; }

bool signals_stopped(Error *error, const char *then) {
    fail(error, "stopped by a signal%s", then);
    error->code = EXIT_RETRY;
    return false;
}

bool signals_none(Error *error) { return !pending || signals_stopped(error, "; the same command goes on from here"); }

bool signals_wait_input(Error *error) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (!pending) {
        int ready = poll(&input, 1, 100); /* not for ever: a signal may come just before it */
        if (ready > 0 && !pending) return true;
        if (ready < 0 && errno != EINTR)
            return fail(error, "standard input cannot be waited for: %s", strerror(errno));
    }
    return signals_stopped(error, "");
}

const char *signals_name(int number) {
    return number == SIGUSR1   ? "SIGUSR1"
           : number == SIGTERM ? "SIGTERM"
           : number == SIGINT  ? "SIGINT"
           : number == SIGHUP  ? "SIGHUP"
                               : "no signal";
}
