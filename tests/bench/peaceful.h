/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Three who use the daemon as it is meant to be used, and note what they get from it: a VMM that
 * plays the boot trace again and again, an agent that makes one update at a time, and a client
 * that asks daemon.get.  And one that does not use it: a process that sends back a byte, with the
 * daemon's priority, tells how late the machine itself is.
 *
 * All but the first are asked at fixed times, PEACEFUL_PER_SECOND, and the time of an answer counts
 * from when its request was due.  They have one request at a time: what falls due before an answer
 * has come is left out.
 *
 * They are processes of one user, from the start to the end; what they note belongs to the time
 * that it is, as peaceful_note_as() said.
 */
#ifndef BENCH_PEACEFUL_H
#define BENCH_PEACEFUL_H

#include "tests/bench/bench-daemon.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PEACEFUL_PER_SECOND 500u

enum peaceful_time { PEACEFUL_ALONE, PEACEFUL_BESIEGED, PEACEFUL_N_TIMES, PEACEFUL_UNNOTED };

enum peaceful_figure {
	PEACEFUL_TRACE,  /* pages a second, of each time that it was played */
	PEACEFUL_UPDATE, /* us until it was answered, each */
	PEACEFUL_STATUS, /* us, of a daemon.get */
	PEACEFUL_ECHO,   /* us, of a byte that a bare process sends back */
	PEACEFUL_N_FIGURES
};

struct peaceful;

/* The agent and the client; nothing is noted so far. */
struct peaceful *peaceful_start(const struct bench_place *place, uid_t uid);
/* The trace. */
void peaceful_start_trace(struct peaceful *peaceful, const char *simvm);
/* Kills it. */
void peaceful_stop_trace(struct peaceful *peaceful);
/* False, with a message, if one of them had ended by itself. */
bool peaceful_stop(struct peaceful *peaceful);
void peaceful_free(struct peaceful *peaceful);

/* What begins from now on, until the next call, is of this time; it may end later, but for a trace,
 * which is of no time then. */
void peaceful_note_as(struct peaceful *peaceful, enum peaceful_time time);
/* All are as well as can be seen from outside. */
bool peaceful_are_there(struct peaceful *peaceful);

/* Sorted; the caller looks at them when all have stopped. */
struct peaceful_figures {
	size_t n;
	const double *values;
};
struct peaceful_figures peaceful_figures(struct peaceful *peaceful, enum peaceful_time time,
					 enum peaceful_figure figure);

#endif
