/* impatient.c - makes of the program one whose limits of waiting are seconds, where there are any (tests/watchdog.py). */
#include "launch/watchdog.h"

static const double SHORT = 2;

__attribute__((constructor)) static void be_impatient(void) {
    for (int s = 0; s < SECTIONS; s++)
        if (watchdog_limits[s].seconds < WATCHDOG_ENDLESS) watchdog_limits[s].seconds = SHORT;
}
