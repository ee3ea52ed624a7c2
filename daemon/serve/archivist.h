/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The archivist: threads beside the event loop, for work on files that takes its time.
 *
 * Checkpoints are made by it, and whatever is asked about the past.  There is a thread for what
 * somebody waits for, and one that gives way to all others for what can be done any time; each
 * does its jobs one after the other and sleeps when there are none.  Users take turns: a user's
 * jobs are done in the order in which they came, and between two of them comes one of each other
 * user who has any.  A job has its own memory and its own descriptors and shares nothing with the
 * event loop while it runs.  Its end is told from the event loop.
 */
#ifndef KVMATTRD_ARCHIVIST_H
#define KVMATTRD_ARCHIVIST_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/types.h>

struct archivist;
struct archivist_job;

enum archivist_priority { ARCHIVIST_AWAITED, ARCHIVIST_BACKGROUND };

/* Starts a thread when its first job comes.  NULL: there are no file descriptors left. */
struct archivist *archivist_new(struct event_base *base);
/* Cancels all jobs, waits for those that run, and tells them all.  NULL is fine. */
void archivist_free(struct archivist *archivist);

/*
 * For user; the daemon's own: its effective one.  run is called in a thread of the archivist, done
 * afterwards from the event loop, both with context; done is called in any case, was_run says
 * whether run was.  The job may be spoken of until done is called.  Where a thread cannot be
 * started, run is called from the event loop, before done.
 */
struct archivist_job *archivist_submit(struct archivist *archivist,
				       enum archivist_priority priority, uid_t user,
				       void (*run)(void *context, struct archivist_job *job),
				       void (*done)(void *context, bool was_run), void *context);
/* Nobody waits for it any more: it is not begun, or ends early if run looks. */
void archivist_cancel(struct archivist_job *job);
/* For run, from the archivist's thread: is the work in vain? */
bool archivist_is_cancelled(const struct archivist_job *job);

#endif
