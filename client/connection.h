/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection, seen from inside: what the library's rooms share.
 *
 *	connection.c     opens, greets, closes; messages and the end
 *	exchange.c       sends and receives: the one place that reads the socket
 *	resume.c         goes on with the session when the daemon is another process
 *	updates.c        the window of updates under way, whose messages the outbox keeps
 *	owner.c          registers a VM
 *	vmm-executor.c   carries out its calls, and sees to the link of an owner that is idle
 *	questions.c and named-updates.c are written in terms of these.
 *
 * Three rules hold it together.  Whoever waits, waits in connection_wait() or updates_send(), which
 * take in whatever the daemon has to say meanwhile: answers to pipelined updates are delivered,
 * the executor is served where no thread of its own does, and a daemon that died is looked for.  A
 * connection that breaks stays broken: connection_break() completes every update that is under
 * way, and each later call returns what it returned.  And every public call is between
 * connection_enter() and connection_leave(): whoever serves the executor of an owner may see to the
 * link when no call does, but touches nothing that the application can look at.
 */
#ifndef KVMATTR_CONNECTION_H
#define KVMATTR_CONNECTION_H

#include <kvmattr.h>

#include "client/outbox.h"
#include "protocol/executor.h"
#include "protocol/wire.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#define CONNECTION_MESSAGE_SIZE 512

/* The one request that is waited for. */
struct connection_request {
	enum {
		REQUEST_NONE,
		REQUEST_UNSENT,
		REQUEST_AWAITED,
		REQUEST_ANSWERED,
		REQUEST_REFUSED
	} state;
	uint16_t type;
	uint16_t reply_type;
	const struct iovec *parts; /* the first begins with a header, filled in when it is sent */
	size_t n_parts;
	const int *fds; /* that go with it */
	size_t n_fds;
	uint64_t id;
	size_t n_reply_fds; /* that come with the reply */
	int status;         /* why it was refused */
	int reply_fd;       /* came with the reply; or -1 */
	size_t reply_size;  /* in the connection's received */
};

struct pending_update {
	kvmattr_done done;
	void *context;
	uint32_t n_elements;
};

/* Updates under way: seqnos after answered, up to submitted. */
struct update_window {
	uint32_t limit; /* at most so many are under way */
	uint32_t mask;  /* seqno & mask: its place in pending */
	struct pending_update *pending;
	uint64_t submitted;
	uint64_t answered;
};

enum link_state {
	LINK_UP,
	LINK_DOWN,     /* not connected; tried again when the time has come */
	LINK_GREETING, /* connected anew: WELCOME is next */
	LINK_RESUMING, /* RESUMED is next */
};

/* What it takes to go on with the session, and how far that is; resume.c's. */
struct link {
	enum link_state state;
	int timer; /* timerfd; in the connection's poll_fd */
	/* From WELCOME. */
	uint64_t session;
	uint8_t token[WIRE_TOKEN_SIZE];
	char path[WIRE_PATH_SIZE]; /* of the agent socket; "": it is not connected to anew */
	uint32_t within_ms;
	/* While it is not up; CLOCK_MONOTONIC. */
	uint64_t lost_ns;
	uint64_t deadline_ns;
	uint64_t retry_ns;
	uint64_t delay_ns;
	const char *why;     /* there is no success so far; static or strerror()'s */
	bool is_new;         /* another socket than before, which the daemon does not know */
	bool is_sent;        /* RESUME is; else it waits for room in the socket */
	uint64_t request_id; /* of HELLO or RESUME */
	uint64_t new_session;
	uint8_t new_token[WIRE_TOKEN_SIZE];
	/* For good. */
	uint64_t settled;    /* as the last RESUMED said */
	uint64_t n_restarts; /* RESTARTED taken on this socket */
	uint64_t restarted;  /* the last one's id; 0: there was none */
};

/* The views of an owner, and the executor that carries out its VM's calls if that is here. */
struct vmm_executor {
	/* As registered. */
	uint32_t n_views;
	struct wire_view views[KVMATTR_N_VTLS]; /* with the pins */
	int view_fds[KVMATTR_N_VTLS];           /* duplicates; -1 */
	uint32_t n_stats;
	int stats_fds[KVMATTR_N_VTLS]; /* of those views that have statistics */
	struct kvmattr_registration registration;
	struct kvmattr_executor_ops simulated;
	bool is_simulated;
	/* Go with REGISTER or RESUME: the daemon's end, then the views, then their statistics. */
	int offered[WIRE_MAX_FDS];
	size_t n_offered;

	/* Whoever serves it: its thread, or who holds serving. */
	pthread_mutex_t serving;
	struct executor loop; /* loop.socket: -1 if there is none */
	uint64_t n_probes;    /* on this socket */
	bool is_watchful;     /* the link has to be looked at, too */

	/* Its sockets: the one that is served, and one that is to replace it; under sockets. */
	pthread_mutex_t sockets;
	int socket;
	int next_socket;
	bool is_stopping;
	int poll_fd; /* epoll: both of them, and of the link what is watched; for good */

	bool has_thread;
	pthread_t thread;

	/* Of the connection: under use. */
	pthread_mutex_t use;
	bool is_in_use;  /* by a call of the application */
	bool wants_link; /* whoever serves the executor is to look at the link after that call */
	bool awaits_restart; /* the daemon is another one: RESTARTED is on its way */
};

struct kvmattr {
	int socket;        /* -1 while the link is down */
	int poll_fd;       /* epoll: the socket and the link's timer; for good */
	bool watches_room; /* poll_fd does, for what is to be sent */
	pid_t process;     /* that made the connection: see kvmattr_close() */
	char name[40];     /* who this is */
	int broken;        /* 0, or the negative errno that every call returns from now on */
	int notice_status; /* of the daemon's last words; 0 */
	char message[CONNECTION_MESSAGE_SIZE];
	bool is_owner;
	bool is_registering;
	bool has_vm;    /* as its owner or as an agent */
	bool is_driven; /* at this moment by who serves the executor: the application is not told */
	bool is_end_untold;
	enum kvmattr_status end_status;
	char end_message[CONNECTION_MESSAGE_SIZE];
	uint64_t last_request;
	struct connection_request request;
	struct update_window updates;
	struct outbox outbox;
	struct link link;
	struct vmm_executor executor;
	uint8_t received[WIRE_MAX_MESSAGE];
};

/* ---- connection.c -------------------------------------------------------------------------- */

/*
 * A public call begins: nobody else has the connection from now on.  Returns 0, or what every call
 * on a broken connection returns; then it has ended, too.
 */
KVMATTR_CHECK_RESULT int connection_enter(struct kvmattr *c);
/* It ends; returns r. */
int connection_leave(struct kvmattr *c, int r);

/* What kvmattr_message() says from now on; control characters are made harmless. */
__attribute__((format(printf, 2, 3))) void connection_say(struct kvmattr *c, const char *format,
							  ...);
/* The same, and returns status: the call is refused, the connection is as good as before. */
__attribute__((format(printf, 3, 4))) int connection_refuse(struct kvmattr *c,
							    enum kvmattr_status status,
							    const char *format, ...);
/* Ends the connection: every update under way is completed with status.  Returns error. */
__attribute__((format(printf, 4, 5))) int connection_break(struct kvmattr *c, int error,
							   enum kvmattr_status status,
							   const char *format, ...);
/* The daemon sent a message of type (0: not known) that is wrong in field.  Returns -EPROTO. */
int connection_break_protocol(struct kvmattr *c, unsigned int type, const char *field);

/* A socket that is connected to the agent socket at path.  flags: SOCK_NONBLOCK or 0. */
KVMATTR_CHECK_RESULT int connection_open_socket(const char *path, int flags, int *ret_fd);
/* Makes fd the connection's socket, or closes it. */
KVMATTR_CHECK_RESULT int connection_set_socket(struct kvmattr *c, int fd);
void connection_drop_socket(struct kvmattr *c);
/* Has poll_fd look for room in the socket, or not any more. */
void connection_watch_room(struct kvmattr *c, bool wants_room);

struct wire_hello connection_make_hello(const struct kvmattr *c);
/* Checks a WELCOME, which is in c->received; NULL, or the field that is wrong. */
const char *connection_get_welcome(struct kvmattr *c, size_t size, struct wire_welcome *ret);

/* ---- exchange.c ---------------------------------------------------------------------------- */

/* An id for a request: none is a seqno's, so that a refusal says what it is about. */
uint64_t connection_next_id(struct kvmattr *c);
/* Takes in one message, or gets on with the link.  flags: MSG_DONTWAIT for -EAGAIN, or 0. */
KVMATTR_CHECK_RESULT int connection_take(struct kvmattr *c, int flags);
/* Waits for one message, or for the link to get on, and takes it in. */
KVMATTR_CHECK_RESULT int connection_wait(struct kvmattr *c);
/*
 * Sends what is due: complete messages of updates, then the request.  -EAGAIN: the link is not up,
 * or the socket is full.
 */
KVMATTR_CHECK_RESULT int connection_push(struct kvmattr *c);
/* Waits until there is room in the socket, and takes in what comes meanwhile. */
KVMATTR_CHECK_RESULT int connection_wait_for_room(struct kvmattr *c);

/*
 * Sends a request and waits for its reply, which is in c->received (c->request.reply_size bytes) if
 * this returns 0; a positive status if the daemon refused it.  It is sent again to a daemon that
 * comes back.  The first part starts with a struct wire_header, which is filled in here.  ret_fd:
 * NULL, or the reply brings a descriptor.
 */
KVMATTR_CHECK_RESULT int connection_request(struct kvmattr *c, uint16_t type,
					    const struct iovec *parts, size_t n_parts,
					    const int *fds, size_t n_fds, uint16_t reply_type,
					    int *ret_fd);

/* ---- resume.c ------------------------------------------------------------------------------ */

KVMATTR_CHECK_RESULT int resume_open(struct kvmattr *c);
void resume_close(struct kvmattr *c);
/* Makes poll_fd readable: there is something to be told. */
void resume_ring(struct kvmattr *c);
/* The first WELCOME: what a later RESUME needs. */
void resume_note_welcome(struct kvmattr *c, const struct wire_welcome *welcome);
/* The socket has ended.  0: it is being seen to, or what the connection is broken by. */
KVMATTR_CHECK_RESULT int resume_after_loss(struct kvmattr *c);
/* The daemon of this socket is another process. */
KVMATTR_CHECK_RESULT int resume_after_restart(struct kvmattr *c, const struct wire_header *header);
/* The first WELCOME was taken: if the session is older than the daemon, it has to be resumed. */
KVMATTR_CHECK_RESULT int resume_after_greeting(struct kvmattr *c);
/* No message is there while the link is not up: is it time for something?  -EAGAIN: not yet. */
KVMATTR_CHECK_RESULT int resume_wait(struct kvmattr *c);
/* A message (in c->received) while the link is not up. */
KVMATTR_CHECK_RESULT int resume_take(struct kvmattr *c, const struct wire_header *header);
/* The same, an ERROR that does not close. */
KVMATTR_CHECK_RESULT int resume_take_refusal(struct kvmattr *c, const struct wire_notice *notice,
					     const char *text);
/*
 * What a closing notice says: a daemon that came back has no room for this session so far.  Then it
 * is tried again later.
 */
bool resume_is_put_off(struct kvmattr *c, const struct wire_notice *notice);
/*
 * Gets on with the link for an application that makes no call, and says nothing to it.  Returns
 * false where it has to come first: there is an answer for it.
 */
bool resume_drive(struct kvmattr *c);

/* ---- updates.c ----------------------------------------------------------------------------- */

KVMATTR_CHECK_RESULT int updates_open(struct kvmattr *c, uint32_t max_in_flight);
/* A daemon that came back may take fewer. */
void updates_limit(struct kvmattr *c, uint32_t max_in_flight);
/* Completes the message that is being filled and sends what is due, as far as the link is up. */
KVMATTR_CHECK_RESULT int updates_send(struct kvmattr *c);
KVMATTR_CHECK_RESULT int updates_take_answer(struct kvmattr *c, size_t size);
/* Completes all that are under way with status and the connection's message. */
void updates_abandon(struct kvmattr *c, enum kvmattr_status status);
void updates_close(struct kvmattr *c);

/* ---- owner.c ------------------------------------------------------------------------------- */

/* A RESUMED (in c->received) says what was registered: NULL, or the field that is wrong. */
const char *owner_check_resumed(const struct kvmattr *c, const struct wire_resumed *resumed);

/* ---- vmm-executor.c ------------------------------------------------------------------------ */

void vmm_executor_init(struct kvmattr *c);
/* Has its descriptors ready for kvmattr_executor_fd(). */
KVMATTR_CHECK_RESULT int vmm_executor_open(struct kvmattr *c);
/*
 * Makes a socket pair: the executor serves one end from now on, instead of the one it had, and
 * the other is executor.offered[0], until vmm_executor_close_offer().  0 or a negative errno.
 */
KVMATTR_CHECK_RESULT int vmm_executor_offer(struct kvmattr *c);
void vmm_executor_close_offer(struct kvmattr *c);
/* The calls are carried out in the daemon: nothing is served here any more. */
void vmm_executor_retire(struct kvmattr *c);
/* Does anybody serve it?  Not where an application was told that it is in the daemon. */
bool vmm_executor_is_served(const struct kvmattr *c);
/* What a call that waits has to poll for the executor, too, or -1. */
int vmm_executor_to_serve(const struct kvmattr *c);
void vmm_executor_serve(struct kvmattr *c);
/* The connection's socket is about to be closed. */
void vmm_executor_forget_link(struct kvmattr *c);
/* An owner's half of connection_enter() and connection_leave(). */
void vmm_executor_keep_off(struct kvmattr *c);
void vmm_executor_let_on(struct kvmattr *c);
/* Wakes and joins the executor's thread. */
void vmm_executor_stop(struct kvmattr *c);
/* Closes everything without a word to anybody; also in a child of fork(). */
void vmm_executor_close(struct kvmattr *c);

#endif
