/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program under ptrace that is killed at the k-th of its system calls that touch a file, a socket
 * or a descriptor: when it is about to make the call, which then is not made.
 *
 * So every state in which the program can leave the world behind is reached by counting: between
 * two such calls it changes nothing that outlives it.  The calls of all its threads count.
 * Counting begins at its first flock(), by which the daemon takes its directories; before that the
 * dynamic loader is at work.
 *
 * The tracer is a process of its own, so that whoever starts it can wait for other children, too.
 */
#ifndef CRASH_TRACER_H
#define CRASH_TRACER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct tracer {
	pid_t pid;     /* the tracer's own */
	pid_t program; /* what it traces */
	int report;    /* read end */
};

struct tracer_report {
	uint64_t n_calls; /* counted until it ended */
	int32_t call;     /* number of the call at which it was killed; -1: it was not */
	int32_t status;   /* of waitpid() */
};

/*
 * Starts the program arguments[0], with its output at the end of the file log.  prepare is called
 * with context in its process, before it is what it is going to be.  kill_at: which call, from 1
 * on; 0: none.
 */
void tracer_start(struct tracer *tracer, char *const *arguments, const char *log,
		  void (*prepare)(void *context), void *context, uint64_t kill_at);
/* Waits for the end of the program or of another child; returns whether the program's came first. */
bool tracer_ends_before(const struct tracer *tracer, pid_t other);
/* Waits for the program's end. */
struct tracer_report tracer_wait(struct tracer *tracer);

/* "pwrite64" and the like, of a call that counts; NULL for those that do not. */
const char *tracer_call_name(int64_t call);

#endif
