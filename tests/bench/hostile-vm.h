/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A besieger's VM: simulated, of 64 GiB, owner and executor in one process without a thread.
 *
 * It is well-formed as long as the besieger wants it to be; nothing goes through libkvmattr, which
 * would wait where a besieger does not.  Its calls are answered, not made.
 */
#ifndef BENCH_HOSTILE_VM_H
#define BENCH_HOSTILE_VM_H

#include "protocol/wire.h"
#include "tests/bench/besieger.h"

#include <stdbool.h>
#include <stdint.h>

#define HOSTILE_VM_PAGES (UINT64_C(64) << 18)

struct hostile_vm {
	struct besieger *besieger;
	int owner;    /* -1: the daemon did not take the connection */
	int executor; /* our end */
	bool is_registered;
	uint64_t n_sent; /* the owner's updates; the last one's seqno */
	uint64_t n_answered;
	/* For liars, who answer calls themselves; NULL: all of them are done. */
	void (*answer_calls)(struct hostile_vm *vm, const struct wire_calls *calls);
};

/* Connects, and asks for the registration of a VM with two views; the executor's probe is next.
 * False where that failed; it is for hostile_vm_end() in any case. */
bool hostile_vm_begin(struct hostile_vm *vm, struct besieger *besieger, const char *kind);
/* The same, until it is registered and its layer 1 is enabled. */
bool hostile_vm_start(struct hostile_vm *vm, struct besieger *besieger, const char *kind);
void hostile_vm_end(struct hostile_vm *vm);

/* Takes what has come for the owner and the executor, and answers the latter; waits so long for
 * something to come.  False: the daemon has closed, or nothing came. */
bool hostile_vm_serve(struct hostile_vm *vm, int timeout_ms);

/* The elements of the next update: GFNs, or ranges. */
union hostile_elements {
	uint64_t gfns[8180];
	struct kvmattr_range ranges[4090];
};
extern union hostile_elements hostile_elements;

/* The owner's next update, with its first n_elements of these; it is an attack.  Serves the VM
 * meanwhile, and goes on before the update is answered.  False: the VM is gone. */
bool hostile_vm_update(struct hostile_vm *vm, struct wire_update update);
/* Serves the VM until all updates are answered. */
bool hostile_vm_finish(struct hostile_vm *vm);

/* A request on a socket, if that takes it now. */
bool hostile_send(int socket, const void *message, size_t size);
/* A socket that speaks for VTL 1 of this VM, or -1. */
int hostile_vm_open_agent(struct hostile_vm *vm);
/* An update on that socket, with the elements; false: it takes no more now. */
bool hostile_send_update(int socket, uint64_t seqno, struct wire_update update);

#endif
