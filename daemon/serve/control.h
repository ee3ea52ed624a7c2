/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: a UNIX SOCK_STREAM on which observers speak JSON-RPC.
 *
 * Looking must not disturb what is looked at.  Nothing here waits; between two turns of the event
 * loop a few calls are made, whoever's turn it is among the clients, and never for long.  What a
 * client can make the daemon hold is bounded: one request, and answers and events up to a limit,
 * above which nothing more of that client is read or done until it has read some.  A call that is
 * answered later keeps its own client waiting: so each has at most one under way, and who goes away
 * ends it.
 *
 * Events go out between two lines of answers, to who has subscribed and reads.  Who has read so
 * little that it missed some, and does not read on to where it is told so, is disconnected.
 *
 * The socket file's mode and group are the first gate, the settings of who may observe and who may
 * operate the second one (authority.h).
 */
#ifndef KVMATTRD_CONTROL_H
#define KVMATTRD_CONTROL_H

#include "daemon.h"

#include <stdint.h>

#define CONTROL_MAX_CLIENTS 64u
/*
 * Answers and events that a client has not read yet, beyond which it is kept waiting; and one more
 * of each.
 */
#define CONTROL_MAX_UNREAD (256u * 1024)
/* Since it began to miss events, until it has to have read so much that it can be told. */
#define CONTROL_MISSED_GRACE_MS 10000u

struct control;

struct control_statistics {
	unsigned int clients;
	uint64_t clients_accepted;
	uint64_t clients_refused;
	uint64_t calls;
	uint64_t clients_too_slow; /* disconnected, because they did not read their events */
};

/*
 * Serves the daemon's VMs on a listening socket, which is the control's from then on; on failure
 * it is closed.  SIGPIPE has to be ignored.  Returns 0 or a negative errno.
 */
__attribute__((warn_unused_result)) int control_new(struct daemon *daemon, int listening_socket,
						    struct control **ret);
/* Closes all connections.  NULL is fine. */
void control_free(struct control *control);

const struct control_statistics *control_statistics(const struct control *control);

#endif
