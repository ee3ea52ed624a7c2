/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A thread that puts a journal on the disk, for durability "power".
 *
 * It sleeps until something was written.  Whatever was written when a sync begins goes with it;
 * what is written meanwhile goes with the next, which begins at once: the slower the disk, the
 * more share a sync, without a timer.  How a sync ended is told from the event loop.  After one
 * that failed it does nothing until it is resumed.
 */
#ifndef KVMATTRD_JOURNAL_SYNCER_H
#define KVMATTRD_JOURNAL_SYNCER_H

#include "daemon/journal/journal.h"

#include <event2/event.h>

struct journal_syncer;

/*
 * Nothing of the journal counts as being on the disk yet.  told: up to number everything is, or,
 * with a positive errno, what is behind it could not be put there.  0 or a negative errno.
 */
__attribute__((warn_unused_result)) int journal_syncer_start(
	struct event_base *base, struct journal *journal,
	void (*told)(void *context, uint64_t number, int error), void *context,
	struct journal_syncer **ret);
/* The journal was written up to this number, and wants to be on the disk. */
void journal_syncer_want(struct journal_syncer *syncer, uint64_t number);
/* After a failed sync, when journal_renew() has made a sync worth while again. */
void journal_syncer_resume(struct journal_syncer *syncer);
/* Waits until all that was wanted is on the disk, or is known not to be.  Any thread. */
void journal_syncer_finish(struct journal_syncer *syncer);
/* From the event loop, where nothing is told any more.  Finishes it if that was not done.  NULL is fine. */
void journal_syncer_free(struct journal_syncer *syncer);

#endif
