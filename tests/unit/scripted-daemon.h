/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A daemon that does what a test's script says: the other end for tests of libkvmattr.
 *
 * A thread listens on a real SOCK_SEQPACKET socket in a directory of its own, takes one peer and
 * runs the script, which receives and sends message by message and says what it expects.  It may
 * break the protocol as it likes, and die and come back: with a new socket for the peer, or saying
 * RESTARTED on the one that it has.  What a script expects and does not get ends the test.
 */
#ifndef SCRIPTED_DAEMON_H
#define SCRIPTED_DAEMON_H

#include "protocol/seqpacket.h"
#include "protocol/wire.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct scripted_daemon {
	char directory[64];
	char path[96];
	int listener;
	pthread_t thread;
	void (*script)(struct scripted_daemon *daemon);
	int peer;
	int executor;        /* the daemon's end, once a VM is registered; or -1 */
	uint64_t last_seqno; /* received */
	unsigned int n_update_messages;
	uint64_t life;             /* the id of its RESTARTED; 0: nobody was told of it */
	uint32_t resume_within_ms; /* a welcome says so, if not 0, and what else RESUME needs */
	int variant;               /* the test's own */
	void *context;             /* the test's own, too */
	/* the last message */
	struct wire_header header;
	struct seqpacket_fds fds;
	uint8_t message[WIRE_MAX_MESSAGE];
};

struct scripted_daemon *daemon_start(void (*script)(struct scripted_daemon *), int variant);
struct scripted_daemon *daemon_start_resumable(void (*script)(struct scripted_daemon *),
					       int variant, void *context);
/* Waits until the script is through; it closes the peer then, if it has not done so. */
void daemon_end(struct scripted_daemon *daemon);

/* Ends the test from the script's thread, too. */
#define MUST(condition)                                                 \
	do {                                                            \
		if (!(condition))                                       \
			daemon_give_up(__FILE__, __LINE__, #condition); \
	} while (0)
__attribute__((noreturn)) void daemon_give_up(const char *file, int line, const char *condition);

/* For scripts.  A message of any type, which is returned; 0 for the end. */
unsigned int daemon_receive_any(struct scripted_daemon *daemon, int socket);
/* A message of that type and no other. */
void daemon_receive(struct scripted_daemon *daemon, unsigned int type);
void daemon_receive_from(struct scripted_daemon *daemon, int socket, unsigned int type);
/* Neither a message nor the end, for a while. */
void daemon_receive_nothing(struct scripted_daemon *daemon);
/* The other end of that socket is closed. */
void daemon_receive_end(struct scripted_daemon *daemon, int socket);
/* The peer says goodbye and closes. */
void daemon_receive_goodbye(struct scripted_daemon *daemon);
/* UPDATE messages, until that seqno has come; each must go on where the last one ended. */
void daemon_receive_updates(struct scripted_daemon *daemon, uint64_t seqno);
void daemon_receive_hello(struct scripted_daemon *daemon);
/* A registration: takes the executor's socket, closes the views'. */
void daemon_receive_registration(struct scripted_daemon *daemon);

void daemon_send(struct scripted_daemon *daemon, const void *message, size_t size);
void daemon_send_with_fds(struct scripted_daemon *daemon, const void *message, size_t size,
			  const int *fds, size_t n_fds);
/* To the hello that was received last. */
struct wire_welcome daemon_make_welcome(const struct scripted_daemon *daemon,
					uint32_t max_updates_in_flight);
/* Receives a hello and welcomes the peer, as VTL 1's agent or as nobody in particular. */
void daemon_welcome(struct scripted_daemon *daemon, uint32_t max_updates_in_flight);
void daemon_welcome_nobody(struct scripted_daemon *daemon, uint32_t max_updates_in_flight);
void daemon_send_notice(struct scripted_daemon *daemon, uint16_t type, uint64_t id,
			enum kvmattr_status status, bool closing, const char *text);
void daemon_send_answer(struct scripted_daemon *daemon, uint64_t seqno, uint64_t commit,
			const struct wire_failure *failures, uint32_t n_failures);
/* To the registration that was received last: all views speak abi. */
void daemon_send_registered(struct scripted_daemon *daemon, uint64_t id, uint32_t n_views,
			    const uint8_t *vtls, enum kvmattr_abi abi, enum wire_executor executor);

#define DAEMON_WINDOW 1024
/* The session of every welcome, and its token. */
#define DAEMON_SESSION 77
extern const uint8_t daemon_token[WIRE_TOKEN_SIZE];

/* Nothing is left of the daemon but its listening socket; or not even that. */
void daemon_die(struct scripted_daemon *daemon);
void daemon_stop_listening(struct scripted_daemon *daemon);
void daemon_listen(struct scripted_daemon *daemon);
/* Another one takes the next peer. */
void daemon_accept(struct scripted_daemon *daemon);
/*
 * RESUME of the session: with fresh views and an executor, which is taken (the views are closed),
 * from an owner's new socket, else without.
 */
struct wire_resume daemon_receive_resume(struct scripted_daemon *daemon, uint32_t n_views);
/* To the RESUME that was received last; vtls and abi as in daemon_send_registered(). */
void daemon_send_resumed(struct scripted_daemon *daemon, uint64_t settled);
void daemon_send_owner_resumed(struct scripted_daemon *daemon, uint64_t settled, uint32_t n_views,
			       const uint8_t *vtls, enum kvmattr_abi abi,
			       enum wire_executor executor);
/* Takes the new connection of a peer that lost the daemon, up to its RESUME. */
struct wire_resume daemon_welcome_back(struct scripted_daemon *daemon, uint32_t n_views);
/* It comes back on the socket that it had; and all up to the RESUME that follows is discarded. */
void daemon_send_restarted(struct scripted_daemon *daemon);
struct wire_resume daemon_restart(struct scripted_daemon *daemon);

/* Asks the executor and takes its answer. */
void daemon_probe(struct scripted_daemon *daemon, uint32_t n_targets,
		  struct wire_probe_result *ret_results);
struct wire_called daemon_call(struct scripted_daemon *daemon, const struct wire_call *calls,
			       uint32_t n_calls);

#endif
