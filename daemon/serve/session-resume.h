/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a session of the daemon's former life goes on.
 *
 * It is recovered from the journal without a connection.  Its peer makes a new one and shows the
 * session's token, or the service manager kept the old one: then the peer is told of the restart,
 * and whatever was under way on it is discarded, since nobody knows how much of it had been
 * received.  Either way the peer says which answers it has, gets the others from the journal, and
 * sends again what the journal does not have.
 */
#ifndef KVMATTRD_SESSION_RESUME_H
#define KVMATTRD_SESSION_RESUME_H

#include "session.h"

/* The session as it was recorded; what it had answered is taken out of recorded. */
struct session *session_recover(struct hosted_vm *hosted, struct replay_session *recorded);
/* Its old connection came back. */
void session_restore_connection(struct session *session, int socket);

/* Handles RESUME.  Returns NULL, or the field that breaks the protocol. */
const char *session_take_resume(struct session *session, const void *data, size_t size,
				struct seqpacket_fds *fds);
/*
 * The first update behind what was settled in a former life: *ret_n_in_force of its elements are in
 * force.  Returns NULL, or the field in which it is not the update that was begun.
 */
const char *session_check_begun(const struct session *session, const struct wire_update *update,
				const uint8_t *elements, uint32_t *ret_n_in_force);

#endif
