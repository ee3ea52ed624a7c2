/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM that the daemon hosts, from registration to release.
 *
 * Registration asks the kernel which dialect each view speaks, first from here: where KVM takes
 * the daemon's calls, the executor is a thread of the daemon.  Everywhere else it is the VMM's,
 * which is asked the same over its socket.  Then RAM is added, as an update like any other, and
 * when KVM has its attributes, the owner is told.
 *
 * A VM that has to go is doomed first and released from the event loop, when nothing of it is on
 * the stack.
 */
#ifndef KVMATTRD_HOSTED_VM_H
#define KVMATTRD_HOSTED_VM_H

#include "daemon.h"
#include "protocol/seqpacket.h"

/* A batch of updates as one message brought them; freed when all are settled. */
struct update_message {
	struct session *session; /* NULL: the registration's own */
	unsigned int n_unsettled;
	size_t n_bytes; /* that it is charged with; 0 for the registration's own */
	void *data;     /* what the updates' elements point into */
	struct vm_update updates[];
};

/*
 * Begins the registration that message asks for, with the fds that it needs taken out of fds.
 * The owner is answered, now or later.  Returns NULL, or the field that breaks the protocol.
 */
const char *hosted_vm_register(struct session *owner, const void *data, size_t size,
			       struct seqpacket_fds *fds);
/* Has the VM released soon; everyone who has to do with it is told why. */
void hosted_vm_doom(struct hosted_vm *hosted, enum kvmattr_status status, const char *text);
/*
 * Releases it at once; if its executor still has calls to make, its file descriptors only when
 * those are made, or when called again: for the daemon's end.
 */
void hosted_vm_release(struct hosted_vm *hosted);

#endif
