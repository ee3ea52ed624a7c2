/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The executor: carries out the daemon's calls where KVM takes them.
 *
 * KVM takes a VM's ioctls in the address space that created the VM and answers EIO elsewhere
 * (kvm_vm_ioctl() in virt/kvm/kvm_main.c).  So this loop runs inside the VMM, told what to do
 * over a socket; where a kernel takes the daemon's own calls, the daemon runs the same loop in
 * a thread of its own.  It trusts nobody: it makes the attribute calls below on the targets
 * that its side registered, and nothing else, whatever it is told.
 */
#ifndef KVMATTR_EXECUTOR_H
#define KVMATTR_EXECUTOR_H

#include "wire.h"

#include <stdint.h>

/* What an executor can do to a target.  KVM's own is executor_kvm_ops; a simulated VM has another. */
struct executor_ops {
	/* Asks KVM what it supports on target.  Errors go into *ret. */
	void (*probe)(void *context, uint32_t target, struct wire_probe_result *ret);
	/*
	 * Sets the attributes of [*gpa, *gpa + *size) in one call, moving both past what is done.
	 * Returns 0 or a positive errno; 0 with *size left over is progress, to be called again.
	 */
	int (*set_attributes)(void *context, uint32_t target, enum kvmattr_abi abi, uint64_t *gpa,
			      uint64_t *size, uint64_t attributes);
};

struct executor {
	int socket; /* not owned */
	uint32_t n_targets;
	const struct executor_ops *ops;
	void *context;
};

/*
 * Receives one message, does what it says and answers it.  flags: 0 to wait for one, MSG_DONTWAIT
 * to return -EAGAIN if there is none.  Returns 1 when one was done, 0 when the daemon has closed
 * the socket, or a negative errno: the socket is of no more use then.  One thread at a time.
 */
__attribute__((warn_unused_result)) int executor_dispatch(struct executor *executor, int flags);

/* KVM's ioctls; context: an array of file descriptors, one for each target. */
extern const struct executor_ops executor_kvm_ops;

#endif
