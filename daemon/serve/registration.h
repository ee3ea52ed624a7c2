/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a VM comes to be hosted: REGISTER, from the message to its answer.
 *
 * What was brought is checked, then the executor is found.  When the dialects are known the journal
 * is made; RAM is added, as an update like any other; and when KVM has its attributes and the
 * journal says that the registration is complete, the owner is told.
 */
#ifndef KVMATTRD_REGISTRATION_H
#define KVMATTRD_REGISTRATION_H

#include "daemon.h"
#include "protocol/seqpacket.h"

/*
 * Begins the registration that message asks for, with the fds that it needs taken out of fds.
 * The owner is answered, now or later.  Returns NULL, or the field that breaks the protocol.
 */
const char *registration_begin(struct session *owner, const void *data, size_t size,
			       struct seqpacket_fds *fds);
/* The executor is there, and this is what the views' kernels speak. */
void registration_go_on(struct hosted_vm *hosted, const struct view *views);

#endif
