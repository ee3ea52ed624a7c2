/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session: one peer on the agent socket, from hello to goodbye.
 *
 * It takes messages apart, hands updates to its VM and sends the answers, many in one message.
 * A peer that breaks the protocol is told which field was wrong and closed.  A peer that has as
 * many updates under way as it may, or that does not read its answers, is not read until it does:
 * what a session can make the daemon hold is bounded, and what all sessions of a VM can, too.
 *
 * A session outlives its connection while updates of it are under way; the daemon's reaper frees
 * it then, so that closing one is safe wherever it is called from.
 */
#ifndef KVMATTRD_SESSION_H
#define KVMATTRD_SESSION_H

#include "daemon.h"
#include "protocol/seqpacket.h"

struct session {
	TAILQ_ENTRY(session) list; /* in its VM's, the daemon's unbound or the closed ones */
	struct daemon *daemon;
	struct hosted_vm *hosted; /* NULL until the peer owns a VM or speaks for a VTL of one */
	struct policy_actor actor;
	uint64_t id;
	int socket; /* -1 once closed */
	struct event *readable;
	struct event *writable;
	int pidfd; /* of an owner, or -1 */
	struct event *peer_exit;
	struct event *hang_up; /* while it is registering, and so not read */
	bool is_greeted;
	bool is_registering; /* waits for the end of its registration */
	char peer[40];
	int32_t pid; /* of the peer, or of whoever opened the agent's socket; 0 if not known */
	uint32_t uid;
	uint64_t n_messages; /* received */

	uint64_t last_seqno;           /* taken from the peer */
	uint64_t settled_seqno;        /* settled by the VM */
	uint64_t answered_seqno;       /* told to the peer */
	uint64_t commit;               /* at which settled_seqno came into force */
	unsigned int n_unsettled;      /* updates that the VM has */
	size_t n_bytes;                /* of their messages */
	struct wire_failure *failures; /* settled, not told yet */
	size_t n_failures;
	size_t failures_capacity;

	void *unsent; /* a reply that the socket did not take yet; the peer is not read meanwhile */
	size_t unsent_size;
	int unsent_fd; /* goes with it, or -1 */
};

/* Takes over a connected socket.  With hosted, it is the socket of an agent: actor says which. */
struct session *session_new(struct daemon *daemon, int socket, struct hosted_vm *hosted,
			    const struct policy_actor *actor);
/* Tells the peer why and closes the connection.  The VM of an owner is doomed by it. */
void session_close(struct session *session, enum kvmattr_status status, const char *text);
/* The session's VM let go of one of its updates; session_flush() tells the peer. */
void session_settle(struct session *session, uint64_t seqno, uint64_t commit, uint32_t n_in_force,
		    enum kvmattr_status status, const char *text);
void session_flush(struct session *session);
/* Sends a reply, or keeps it until the socket takes it.  fd, or -1, is the session's from then on. */
void session_reply(struct session *session, const void *message, size_t size, int fd);
/* Replies that a request was refused; the session goes on. */
void session_refuse(struct session *session, uint64_t id, enum kvmattr_status status,
		    const char *text);
/* The peer becomes the owner of this VM, or (hosted NULL) of none. */
void session_bind(struct session *session, struct hosted_vm *hosted);
/* The end of a registration: the peer is read again. */
void session_resume(struct session *session);

/* Frees the closed sessions that have nothing under way. */
void session_reap(struct daemon *daemon);

/*
 * Handles one received message of a greeted peer (session-requests.c).  Returns NULL, or the name
 * of the field that breaks the protocol.
 */
const char *session_handle_request(struct session *session, const struct wire_header *header,
				   const void *data, size_t size, struct seqpacket_fds *fds);

#endif
