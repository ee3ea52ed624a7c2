/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hosted VM as its journal would have it, from memory: for a journal that has to be written anew.
 */
#ifndef KVMATTRD_VM_SNAPSHOT_H
#define KVMATTRD_VM_SNAPSHOT_H

#include "daemon/journal/replay.h"

/* vm_journal_ops' snapshot; context: the hosted VM. */
const struct policy *vm_snapshot(void *hosted, struct replay *replay);

#endif
