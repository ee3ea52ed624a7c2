/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection, seen from inside: what the library's rooms share.
 *
 * connection.c sends and receives; updates.c keeps the window of updates that are under way;
 * owner.c has the executor; questions.c and named-updates.c are written in terms of these.
 *
 * Two rules hold it together.  Whoever waits, waits in connection_wait() or connection_send(),
 * which take in whatever the daemon has to say meanwhile: answers to pipelined updates are
 * delivered, and the executor is served where no thread of its own does, so that neither side
 * waits for the other.  And a connection that breaks stays broken: connection_break() completes
 * every update that is under way, and each later call returns what it returned.
 */
#ifndef KVMATTR_CONNECTION_H
#define KVMATTR_CONNECTION_H

#include <kvmattr.h>

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
	enum { REQUEST_NONE, REQUEST_AWAITED, REQUEST_ANSWERED, REQUEST_REFUSED } state;
	uint64_t id;
	uint16_t reply_type;
	size_t n_fds; /* that come with the reply */
	int status;   /* why it was refused */
	int fd;       /* came with the reply; or -1 */
	size_t size;  /* of the reply, in the connection's received */
};

struct pending_update {
	kvmattr_done done;
	void *context;
	uint32_t n_elements;
};

/* Updates under way: seqnos after answered, up to submitted; the last n_unsent are in message. */
struct update_window {
	uint32_t limit; /* at most so many are under way */
	uint32_t mask;  /* seqno & mask: its place in pending */
	struct pending_update *pending;
	uint64_t submitted;
	uint64_t answered;
	uint32_t n_unsent;
	size_t size; /* of message */
	uint8_t message[WIRE_MAX_MESSAGE];
};

/* The executor of an owner that carries out its VM's calls itself. */
struct owner_executor {
	struct executor loop;         /* loop.socket: -1 if there is none */
	int view_fds[KVMATTR_N_VTLS]; /* duplicates; -1 */
	struct kvmattr_executor_ops simulated;
	pthread_mutex_t lock; /* who serves it; a thread of its own needs none */
	bool is_over;         /* the daemon let go of it; under lock */
	bool has_thread;
	pthread_t thread;
};

struct kvmattr {
	int socket;
	pid_t process;     /* that made the connection: see kvmattr_close() */
	int broken;        /* 0, or the negative errno that every call returns from now on */
	int notice_status; /* of the daemon's last words; 0 */
	char message[CONNECTION_MESSAGE_SIZE];
	bool is_owner;
	bool has_vm; /* as its owner or as an agent */
	uint64_t last_request;
	struct connection_request request;
	struct update_window updates;
	struct owner_executor executor;
	uint8_t received[WIRE_MAX_MESSAGE];
};

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

/* Sends a message, taking in what the daemon sends while its socket is full. */
KVMATTR_CHECK_RESULT int connection_send(struct kvmattr *c, const struct iovec *parts,
					 size_t n_parts, const int *fds, size_t n_fds);
/* Takes in one message.  flags: MSG_DONTWAIT for -EAGAIN if there is none, or 0. */
KVMATTR_CHECK_RESULT int connection_take(struct kvmattr *c, int flags);
/* Waits for one message and takes it in. */
KVMATTR_CHECK_RESULT int connection_wait(struct kvmattr *c);

/*
 * Sends a request and waits for its reply, which is in c->received (c->request.size bytes) if
 * this returns 0; a positive status if the daemon refused it.  The first part starts with a
 * struct wire_header, which is filled in here.  ret_fd: NULL, or the reply brings a descriptor.
 */
KVMATTR_CHECK_RESULT int connection_request(struct kvmattr *c, uint16_t type,
					    const struct iovec *parts, size_t n_parts,
					    const int *fds, size_t n_fds, uint16_t reply_type,
					    int *ret_fd);

/* updates.c */
KVMATTR_CHECK_RESULT int updates_open(struct kvmattr *c, uint32_t max_in_flight);
KVMATTR_CHECK_RESULT int updates_send(struct kvmattr *c);
KVMATTR_CHECK_RESULT int updates_take_answer(struct kvmattr *c, size_t size);
/* Completes all that are under way with status and the connection's message. */
void updates_abandon(struct kvmattr *c, enum kvmattr_status status);
void updates_close(struct kvmattr *c);

/* owner.c */
void owner_init_executor(struct kvmattr *c);
/* The socket on which a call that waits has to serve the executor too, or -1. */
int owner_executor_to_serve(struct kvmattr *c);
void owner_serve_executor(struct kvmattr *c);
/* Wakes and joins the executor's thread. */
void owner_stop_executor(struct kvmattr *c);
void owner_close_executor(struct kvmattr *c);

#endif
