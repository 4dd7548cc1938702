#include "launch/signals.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "launch/watchdog.h"

static volatile sig_atomic_t pending;
static volatile sig_atomic_t seen[NSIG];

static void on_signal(int number) {
    if (seen[number]) {
        watchdog_farewell();
        _exit(EXIT_RETRY);
    }
    seen[number] = 1;
    pending = number;
}

void signals_open(void) {
    const int wishes[] = {SIGUSR1, SIGTERM, SIGINT};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
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
