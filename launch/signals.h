/* signals.h - a wish to stop (SIGUSR1, SIGTERM, SIGINT) becomes a flag that the training loop reads.
 *
 * The same signal a second time ends the process at once with EXIT_RETRY. (Another one does not:
 * a scheduler may send TERM while its script sends USR1.) A closed console is no reason to die. */
#pragma once
#include "kernels/base.h"

void signals_open(void);
int signals_pending(void);  /* number of the signal, 0 = none */
bool signals_none(Error *); /* false + message with EXIT_RETRY: the same command goes on from what is kept */
const char *signals_name(int number); /* may be called in a handler */
