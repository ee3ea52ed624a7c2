/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an operator has asked of a VM and what is not over at once: that it comes to rest, a
 * verification, an update, its release.
 *
 * Each is the call that asked for it, and is answered when it is over: when the VM says so, or with
 * the VM itself.  Who goes away meanwhile is not answered; what was begun goes on to its end all the
 * same.
 */
#ifndef KVMATTRD_OPERATION_H
#define KVMATTRD_OPERATION_H

#include "method.h"

/* Updates of operators that a VM has under way at a time, peers that went away included. */
#define OPERATION_MAX_UPDATES 64u

/* Each answers the call, at once or later.  The VM is not doomed. */
void operation_freeze(const struct method_call *call, struct hosted_vm *hosted,
		      struct jsonrpc_answer *answer);
void operation_verify(const struct method_call *call, struct hosted_vm *hosted,
		      struct jsonrpc_answer *answer);
/* ranges (n of them, or none) are copied. */
void operation_update(const struct method_call *call, struct hosted_vm *hosted,
		      const struct policy_element *element, const struct kvmattr_range *ranges,
		      uint32_t n, struct jsonrpc_answer *answer);

void operation_release(const struct method_call *call, struct hosted_vm *hosted,
		       struct jsonrpc_answer *answer);

/* The VM was thawed: who waits for it to come to rest waits in vain. */
void operations_thawed(struct hosted_vm *hosted);

/* vm_ops' still and verified. */
void operations_still(struct hosted_vm *hosted);
void operations_verified(struct hosted_vm *hosted, const struct vm_verification *verification);
/* The VM was doomed and is gone, in its journal as well. */
void operations_end(struct hosted_vm *hosted);

/* "an operator (PID 1234, UID 0)": who that is, for the log and for those whom it concerns. */
#define OPERATION_WHO_SIZE 64
const char *operation_who(const struct method_peer *peer, char *text, size_t size);

#endif
