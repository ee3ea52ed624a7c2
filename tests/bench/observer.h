/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Somebody who looks all the time: a thread that asks the daemon one question over and over on the
 * control socket, so many times a second, and notes how long each answer took.
 *
 * Requests are sent at fixed times, by the observer's clients in turn, whether or not those before
 * are answered; an answer's time counts from when its request was due.  So a daemon that is slow
 * cannot look good by being asked less.
 */
#ifndef BENCH_OBSERVER_H
#define BENCH_OBSERVER_H

#include "tests/bench/bench-daemon.h"

#include <stddef.h>

/* A connection to the control socket; the caller's to close. */
int observer_dial(const struct bench_place *place);

struct observer;

/* As many clients as will ever take turns: whoever leaves may not have been seen off by the daemon
 * when the next comes, who is then one too many. */
struct observer *observer_connect(const struct bench_place *place, unsigned int n_clients);
void observer_free(struct observer *observer);

/* request: one line of JSON-RPC, with its newline; it stays the caller's, and valid. */
void observer_start(struct observer *observer, const char *request, unsigned int n_clients,
		    unsigned int per_second);

struct observations {
	size_t n_asked;
	size_t n; /* that are below */
	double *us;
};

/*
 * Ends when all that is due is answered.  Of the answers that were no errors, those from the first
 * to the last that spoke of updates in the VM's queue, if there were any; otherwise all of them.
 * The caller's to free.
 */
struct observations observer_stop(struct observer *observer);

#endif
