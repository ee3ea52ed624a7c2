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
 *
 * It outlives the daemon, too, if it has a VM: the journal knows it by its id, and what it had
 * answered.  After a restart it has no connection until its peer makes one and shows the session's
 * token, or it has the old one back, on which everything is discarded until the peer has done the
 * same (session-resume.c).
 */
#ifndef KVMATTRD_SESSION_H
#define KVMATTRD_SESSION_H

#include "daemon.h"
#include "daemon/journal/replay.h"
#include "protocol/seqpacket.h"

enum session_state {
	SESSION_CONNECTED,
	SESSION_DETACHED,   /* of a former life of the daemon: has no connection */
	SESSION_RESTARTING, /* of one, too: has its connection back, and waits for RESUME */
	SESSION_CLOSED,
};

struct session {
	TAILQ_ENTRY(session) list; /* in its VM's, the daemon's unbound or the closed ones */
	struct daemon *daemon;
	struct hosted_vm *hosted; /* NULL until the peer owns a VM or speaks for a VTL of one */
	struct policy_actor actor;
	enum session_state state;
	uint64_t id;
	uint8_t token[WIRE_TOKEN_SIZE]; /* who shows it may resume the session */
	int socket;                     /* -1 without a connection */
	struct turn turn;               /* as long as there is a connection */
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
	struct user_charge charge;            /* that user's, until nothing is under way any more */
	TAILQ_ENTRY(session) short_of_memory; /* memory.c's */
	bool is_short_of_memory;
	uint64_t n_messages; /* received */

	uint64_t last_seqno;                   /* taken from the peer */
	uint64_t settled_seqno;                /* settled by the VM */
	uint64_t answered_seqno;               /* told to the peer */
	uint64_t commit;                       /* at which settled_seqno came into force */
	unsigned int n_unsettled;              /* updates that the VM has */
	TAILQ_HEAD(, update_message) messages; /* that they came in, in order */
	size_t n_bytes;                        /* of their messages */
	/*
	 * Those up to settled_seqno that were not done whole, as far as the journal has them, too.
	 */
	struct wire_failure *failures;
	size_t n_failures;
	size_t n_told_failures; /* of these, that the peer was told */
	size_t failures_capacity;
	uint64_t forgotten_seqno; /* the last of those that are not there any more */
	bool has_old_answers;     /* to tell, of a former life of the daemon */
	/*
	 * What of the update behind settled_seqno came into force in a former life of the daemon.
	 */
	uint32_t n_begun;
	uint32_t begun_n_total; /* of its elements */
	struct wire_update begun;

	struct session_told *told; /* for whoever looks; NULL: nobody has */

	void *unsent; /* a reply that the socket did not take yet; the peer is not read meanwhile */
	size_t unsent_size;
	int unsent_fd; /* goes with it, or -1 */
};

/* Takes over a connected socket.  With hosted, it is the socket of an agent: actor says which. */
struct session *session_new(struct daemon *daemon, int socket, struct hosted_vm *hosted,
			    const struct policy_actor *actor);
/* Has the peer closed the connection, though this was not its turn to be heard so far? */
bool session_has_hung_up(const struct session *session);
/* Tells the peer why and closes the connection.  The VM of an owner is doomed by it. */
void session_close(struct session *session, enum kvmattr_status status, const char *text);
/*
 * Closes it without a word to anyone: it may go on in the daemon's next life, if it was recorded.
 */
void session_drop(struct session *session);
/* The session's VM let go of one of its updates; session_flush() tells the peer. */
void session_settle(struct session *session, uint64_t seqno, uint64_t commit, uint32_t n_in_force,
		    enum kvmattr_status status, const char *text);
void session_flush(struct session *session);
/*
 * Sends a reply, or keeps it until the socket takes it.  fd, or -1, is the session's from then on.
 */
void session_reply(struct session *session, const void *message, size_t size, int fd);
/* The same from the event loop: whatever comes of it does not come now. */
void session_reply_soon(struct session *session, const void *message, size_t size, int fd);
/* Replies that a request was refused; the session goes on. */
void session_refuse(struct session *session, uint64_t id, enum kvmattr_status status,
		    const char *text);
/* The peer becomes the owner of this VM, or (hosted NULL) of none. */
void session_bind(struct session *session, struct hosted_vm *hosted);
/* The end of a registration: the peer is read again. */
void session_read_again(struct session *session);
/* The peer and its VM, for the log. */
struct log_about session_about(const struct session *session);
/* The session as the journal has it. */
struct vm_record_session session_facts(const struct session *session);
/* Has the service manager keep the connection of a session that is in its VM's journal. */
void session_keep_fd(const struct session *session);
/* The name under which it does. */
const char *session_fd_name(const struct session *session, char *name, size_t size);
#define SESSION_FD_NAME_SIZE (VM_JOURNAL_NAME_SIZE + 32)

/* Frees the closed sessions that were handed to the reaper; from the event loop. */
void session_reap(struct daemon *daemon);
void session_hand_to_reaper(struct session *session);

/* ---- What the rooms of a session need of each other ------------------------------------------ */

/* One without a connection, in the state of being detached. */
struct session *session_new_detached(struct daemon *daemon, uint64_t id, struct hosted_vm *hosted,
				     const struct policy_actor *actor);
/* Takes what the peer has sent, some messages of it: session-receive.c. */
void session_receive(void *session);
bool session_may_be_read(const struct session *session);
/* Looks at whether it may be read now. */
void session_read_or_pause(struct session *session);
/* An update that was not done whole: noted, to be told to the peer. */
void session_note_failure(struct session *session, const struct wire_failure *failure);
/* Charges its user with it, as what it is by now. */
void session_charge(struct session *session);
/* Gives it this connection. */
void session_connect(struct session *session, int socket);
/* Gives it the connection of another one, which is closed by that. */
void session_take_connection(struct session *session, struct session *from);
/* Ends with the peer's process.  Returns false if that is known to have ended already. */
bool session_watch_peer(struct session *session);

/*
 * Handles one received message of a greeted peer (session-requests.c).  Returns NULL, or the name
 * of the field that breaks the protocol.
 */
const char *session_handle_request(struct session *session, const struct wire_header *header,
				   const void *data, size_t size, struct seqpacket_fds *fds);

#endif
