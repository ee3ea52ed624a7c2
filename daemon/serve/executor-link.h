/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's end of an executor: sends it probes and calls, and hears what became of them.
 *
 * It is the same whether the executor is a thread of the VMM, of the daemon, or of a simulated
 * VM.  One request is under way at a time.  An executor that breaks the protocol or closes its
 * socket is gone.
 *
 * An executor may have been told something by a former life of the daemon.  On a restored socket it
 * is probed first, and what comes before the answer to that belongs to what was asked before: it is
 * done by then, whatever it was.
 */
#ifndef KVMATTRD_EXECUTOR_LINK_H
#define KVMATTRD_EXECUTOR_LINK_H

#include "daemon.h"
#include "daemon/policy/plan.h"
#include "protocol/wire.h"

#include <event2/event.h>
#include <stdbool.h>

struct executor_link;

struct executor_link_ops {
	/* One result for each target. */
	void (*probed)(void *context, const struct wire_probe_result *results);
	/* n_done calls were done; then, if error, one that failed after n_partial pages. */
	void (*called)(void *context, size_t n_done, int error, uint64_t n_partial);
	/*
	 * Nothing can be carried out any more.  Called once at most, and never from within a call.
	 */
	void (*gone)(void *context, const char *why);
};

/*
 * The socket is the link's from then on.  is_restored: probe it first.  share: whose time it takes
 * to hear what the executor says.
 */
struct executor_link *executor_link_new(struct daemon *daemon, struct turn *share, int socket,
					uint32_t n_targets, bool is_restored,
					const struct executor_link_ops *ops, void *context);
/*
 * An executor in a thread of the daemon, for a kernel that takes our calls on these VM fds, which
 * stay the caller's.  Returns 0 or a negative errno.
 */
__attribute__((warn_unused_result)) int executor_link_new_thread(
	struct daemon *daemon, struct turn *share, const int *fds, uint32_t n_targets,
	const struct executor_link_ops *ops, void *context, struct executor_link **ret);
/* Ends the connection.  NULL is fine, here and below. */
void executor_link_free(struct executor_link *link);
/* Closes our end; whoever else has it, the service manager, goes on with it. */
void executor_link_leave(struct executor_link *link);
/* The link's. */
int executor_link_socket(const struct executor_link *link);
/*
 * Are there calls that the executor may be making right now, or may still make?  Asks its socket.
 */
bool executor_link_has_calls(const struct executor_link *link);
/* Does it lie in the socket, unheard, what the executor says, or that it is gone? */
bool executor_link_has_spoken(const struct executor_link *link);
/* Nothing more will be asked: the executor's end sees the end of the connection. */
void executor_link_hang_up(struct executor_link *link);

void executor_link_probe(struct executor_link *link);
/* Sends as many of plan's calls from first on as one message takes.  dialects: by target. */
void executor_link_call(struct executor_link *link, const struct plan *plan, size_t first,
			const struct policy *policy);

#endif
