/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A peer that sends what it likes: bytes on the agent socket, and on an executor's.
 *
 * Nothing here goes through libkvmattr, which would not send most of it.  Messages are built with
 * the layouts of protocol/wire.h and then spoilt by the tests.
 */
#ifndef INTEGRATION_RAW_PEER_H
#define INTEGRATION_RAW_PEER_H

#include "protocol/seqpacket.h"
#include "protocol/wire.h"
#include "tests/integration/harness.h"

#include <stddef.h>
#include <stdint.h>

/* ---- Sockets ------------------------------------------------------------------------------- */

/* Connected to the agent socket; no hello was said. */
int raw_connect(const struct kvmattrd *daemon);
/* Connected and welcomed. */
int raw_greet(const struct kvmattrd *daemon);
/* Says hello on a socket, and is welcomed. */
struct wire_welcome raw_say_hello(int socket);

/* The test fails if the socket does not take it, unless the peer has closed. */
void raw_send(int socket, const void *message, size_t size);
void raw_send_with_fds(int socket, const void *message, size_t size, const int *fds, size_t n);

/* The next message, waited for; 0 when the peer has closed. */
size_t raw_receive(int socket, void *ret_message);
/* The next message, which is of that type, with so many descriptors, whose first is *ret_fd. */
size_t raw_receive_type(int socket, unsigned int type, void *ret_message, int *ret_fd);

/*
 * The connection is closed after a last message that says why.  A broken protocol is an ERROR,
 * everything else a BYE; its text holds part.  Closes the socket.
 */
void raw_expect_broken(int socket, const char *part);
void raw_expect_closed(int socket, enum kvmattr_status status, const char *part);
/* A request was refused, and the connection goes on. */
void raw_expect_refusal(int socket, uint64_t id, enum kvmattr_status status, const char *part);
/* The daemon still answers on that socket, which holds a VM or speaks for one. */
void raw_expect_alive(int socket);

/* ---- Messages ------------------------------------------------------------------------------ */

struct raw_register {
	struct wire_register head;
	struct wire_view views[2];
	struct wire_ram ram[1];
};
_Static_assert(sizeof(struct raw_register) == 88 + 2 * 16 + 24, "no padding");

struct raw_update {
	struct wire_update_list head;
	struct wire_update update;
	uint64_t gfns[2];
};
_Static_assert(sizeof(struct raw_update) == 24 + 16 + 16, "no padding");

struct wire_hello raw_make_hello(void);
/* A VM of two views and 1024 pages of RAM. */
struct raw_register raw_make_register(const char *name);
/* Layer 1: R for pages 5 and 6. */
struct raw_update raw_make_update(uint64_t seqno);

/* A memfd that the daemon takes for a simulated VM. */
int raw_make_vm_fd(void);

/* ---- A VM whose executor is the test ------------------------------------------------------- */

struct raw_vm {
	int owner;                   /* the owner's connection */
	int executor;                /* our end */
	int fds[2];                  /* of the views */
	struct wire_welcome welcome; /* the owner's, for RESUME */
};

/* Registered, all its RAM told, its layer 1 enabled. */
struct raw_vm raw_vm_start(const struct kvmattrd *daemon, const char *name);
/* Connected, and the registration sent: the executor's probe comes next. */
struct raw_vm raw_vm_begin(const struct kvmattrd *daemon, const struct raw_register *message);
/* Answers the probe, with the dialect deny. */
void raw_vm_answer_probe(struct raw_vm *vm);
/* Receives calls and answers that all are done; returns their number. */
uint32_t raw_vm_answer_calls(struct raw_vm *vm);
/* The same; returns what KVM was told of a page of that target, UINT64_MAX if nothing. */
uint64_t raw_vm_take_calls(struct raw_vm *vm, uint64_t gfn, unsigned int target);
/* The same, again and again, until something comes on that socket. */
void raw_vm_answer_calls_until(struct raw_vm *vm, int socket);
/* Takes the registration's calls until the owner is told that it is registered. */
void raw_vm_finish(struct raw_vm *vm);
/* A socket that speaks for VTL 1, greeted. */
int raw_vm_open_agent(struct raw_vm *vm, unsigned int vtl, unsigned int rights);
/* The same; and what an agent needs for RESUME. */
int raw_vm_open_welcomed_agent(struct raw_vm *vm, unsigned int vtl, unsigned int rights,
			       struct wire_welcome *ret_welcome);
/* Closes all; a descriptor that is -1 was closed before. */
void raw_vm_close(struct raw_vm *vm);

/* ---- After a restart of the daemon --------------------------------------------------------- */

/* For the session that was welcomed so. */
struct wire_resume raw_make_resume(const struct wire_welcome *welcome, uint64_t answered);
/* A new connection on which an agent's RESUME was sent. */
int raw_send_resume(const struct kvmattrd *daemon, const struct wire_welcome *welcome,
		    uint64_t answered);
/* RESUMED comes next. */
struct wire_resumed raw_receive_resumed(int socket);
/* Both: the agent goes on. */
int raw_resume(const struct kvmattrd *daemon, const struct wire_welcome *welcome, uint64_t answered,
	       uint64_t settled);
/*
 * The owner's RESUME was sent on a new connection, with a new executor's socket and the old views;
 * the old connections are closed.
 */
void raw_vm_send_resume(struct raw_vm *vm, const struct kvmattrd *daemon, uint64_t answered);
/* The same, and RESUMED came, and the probe was answered. */
void raw_vm_resume(struct raw_vm *vm, const struct kvmattrd *daemon, uint64_t answered,
		   uint64_t settled);
/* An ANSWER comes next, for seqnos up to this one; returns how many of them failed. */
uint32_t raw_receive_answer(int socket, uint64_t seqno, struct wire_failure *ret_first);

#endif
