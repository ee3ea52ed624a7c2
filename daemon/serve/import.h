/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An import: an exported policy comes into force in a VM, by ordinary updates in the VM's one
 * order.
 *
 * First it is received, piece by piece.  Then, in the archivist's thread, it is checked, taken
 * apart into updates (daemon/policy/image-updates.h), and these are tried on a copy of the VM's
 * policy, made from its journal: what would be refused is refused before anything has changed.
 * Then update after update is carried out, each when the one before it is in force.  Agents are
 * not kept from their own updates meanwhile; whoever imports sees to it that there are none.
 *
 * A peer that goes away ends its import where it is.
 */
#ifndef KVMATTRD_IMPORT_H
#define KVMATTRD_IMPORT_H

#include "method.h"

struct import;

/*
 * Whether an import of so many bytes may be begun, or go on.  If not, text says why, for the peer.
 */
__attribute__((warn_unused_result)) bool import_has_memory(const struct method_call *call,
							   uint64_t size, char *text,
							   size_t text_size);
/* Forgets what the peer has sent, and expects so many bytes for the VM of that name. */
void import_receive_begin(struct daemon *daemon, struct method_peer *peer, const char *vm,
			  uint64_t size);
/* Adds a piece.  Returns false if it is not the one that comes next. */
__attribute__((warn_unused_result)) bool import_receive(struct method_peer *peer, const char *vm,
							uint64_t size, uint64_t offset,
							const uint8_t *data, size_t n);
/*
 * All of it was received: the call is answered when it is in force, or cannot be.  Returns false if
 * another import into the same VM is under way: then nothing was begun.
 */
__attribute__((warn_unused_result)) bool import_start(const struct method_call *call);
/* Forgets what was received.  NULL is fine. */
void import_free(struct import *import);

#endif
