/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session: one peer on the agent socket, from hello to goodbye.
 *
 * It takes messages apart, hands updates to its VM and sends the answers, many in one message.
 * A peer that breaks the protocol is told which field was wrong and closed.  A peer that has as
 * many updates under way as it may, or that does not read its answers, is not read until it does:
 * what a session can make the daemon hold is bounded.
 *
 * A session outlives its connection while updates of it are under way.
 */
#ifndef KVMATTRD_SESSION_H
#define KVMATTRD_SESSION_H

#include "daemon.h"

struct session {
	TAILQ_ENTRY(session) of_vm;
	struct daemon *daemon;
	struct hosted_vm *hosted; /* NULL until the peer owns a VM or speaks for a VTL of one */
	struct policy_actor actor;
	uint64_t id;
	int socket; /* -1 once closed */
	struct event *readable;
	struct event *writable;
	struct event *owner_exit; /* of an owner: its pidfd */
	int pidfd;
	bool is_greeted;
	bool is_paused; /* not read at the moment */
	char peer[40];
	int32_t pid; /* of the peer, or of who opened the agent's socket; 0 if not known */
	uint32_t uid;

	uint64_t last_seqno;           /* taken from the peer */
	uint64_t settled_seqno;        /* settled by the VM */
	uint64_t sent_seqno;           /* told to the peer */
	uint64_t commit;               /* at which settled_seqno came into force */
	unsigned int n_unsettled;      /* updates that the VM has */
	struct wire_failure *failures; /* settled, not told yet */
	size_t n_failures;
	size_t failures_capacity;
	void *unsent; /* an answer to a request that the socket did not take yet */
	size_t unsent_size;
	int unsent_fd;
	uint64_t n_messages; /* received */
};

/* Takes over a connected socket.  With hosted, it is the socket of an agent: actor says which. */
struct session *session_new(struct daemon *daemon, int socket, struct hosted_vm *hosted,
			    const struct policy_actor *actor);
/* Tells the peer why, closes the connection, and forgets the session when nothing is under way. */
void session_close(struct session *session, enum kvmattr_status status, const char *text);
/* The VM settled an update of this session: session_flush() tells the peer. */
void session_settle(struct session *session, const struct vm_update *update,
		    enum kvmattr_status status, const char *text);
void session_flush(struct session *session);
/* Tells the peer that its request was done, or why not; sent whole or kept until it can be. */
void session_reply(struct session *session, const void *message, size_t size, int fd);
void session_refuse(struct session *session, uint64_t id, enum kvmattr_status status,
		    const char *text);

#endif
