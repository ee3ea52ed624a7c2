/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A journal's system calls, made to fail when a test wants it, and a disk that has only what was
 * synced.
 *
 * The calls of the test's own thread, or those of all others, are counted, and the one with a given
 * number fails, or those behind it, too.  Syncs can be held up, and be made to fail by themselves.
 * What a loss of power would leave of a journal can be put down as another one.
 */
#ifndef FAULTY_IO_H
#define FAULTY_IO_H

#include <stdbool.h>
#include <stdint.h>

enum fault {
	FAIL_ONCE,       /* the call does nothing */
	FAIL_TWICE,      /* nor does the next one: most often that which cuts back */
	FAIL_FROM_HERE,  /* nor does any after it */
	HALF_ONCE,       /* a write does half of what it should, the next call fails */
	HALF_FROM_HERE,  /* and all after it */
	SHORT_FROM_HERE, /* every write and read does as little as it may, and no call fails */
	N_FAULTS
};

enum fault_thread { OF_THIS_THREAD, OF_OTHER_THREADS };

/* From now on this thread is the test's.  To be removed when no other thread makes calls. */
void faulty_io_install(void);
void faulty_io_remove(void);

/* The at-th call from now on, counted from 1, of these threads; 0: none fails. */
void faulty_io_fail(enum fault_thread thread, unsigned int at, enum fault fault, int error);
/* Calls since then. */
unsigned int faulty_io_n_calls(void);

/* While they are held, fdatasync() does not return. */
void faulty_io_hold_syncs(bool are_held);
/* Waits until one is held. */
void faulty_io_await_held_sync(void);
/* The next n calls of fdatasync() fail. */
void faulty_io_fail_syncs(unsigned int n, int error);
unsigned int faulty_io_n_syncs(void);

/* Is called behind every unlinkat() that succeeded, from its thread; NULL: nothing is. */
void faulty_io_on_unlink(void (*on_unlink)(void));

/*
 * Makes a directory, beside a journal's, of what is on the disk of it: the names that were there
 * when it was synced last, each file as long as it was when it was synced last.
 */
void faulty_io_lose_power(int parent_fd, const char *name, const char *copy);

#endif
