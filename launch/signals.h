/* signals.h - a wish to stop (SIGUSR1, SIGTERM, SIGINT, SIGHUP) ends every command with EXIT_RETRY.
 *
 * From signals_begin on it does so at once. What has something to keep or to remove first calls signals_open before that
 * begins: from then on a wish is a flag that its loops read. The same signal again, more than a second later, ends the
 * process at once with EXIT_RETRY. What comes sooner is the same wish: a terminal, `timeout` or a scheduler signals a
 * whole group, and the parent there passes it on as well. Nor does another signal of the four end it, however late: a
 * scheduler sends TERM after its script's USR1. SIGHUP stays ignored where nohup made it so; a pipe that is closed is no
 * reason to die. */
#pragma once
#include "kernels/base.h"

void signals_begin(void); /* the first thing a process does; takes what the parent held back for it */
void signals_hold(void);  /* for the program that this process is about to become */
void signals_open(void);
int signals_pending(void); /* number of the signal, 0 = none */
/* False + message with EXIT_RETRY, which `then` ends. */
bool signals_stopped(Error *, const char *then);
#define NOTHING_WRITTEN "; nothing is written"
bool signals_none(Error *); /* false + message with EXIT_RETRY: the same command goes on from what is kept */
/* Waits until standard input can be read. False + message when a signal came first. */
bool signals_wait_input(Error *);
const char *signals_name(int number); /* may be called in a handler */

typedef enum { WISH_NEW, WISH_KNOWN, WISH_URGENT } SignalWish;
/* Installs a handler for all four, each of which then waits for the others. flags: of sigaction. */
void signals_catch(void (*handler)(int), int flags);
/* What one of the four asks for, given those before it; called once a signal, in its handler. */
SignalWish signals_wish(int number);
