/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The start of the daemon: the VMs of its former life, from their journals.
 *
 * Of every journal of this boot whose VM was not released, the VM is made as its records say, with
 * its sessions.  What the service manager kept for us is given back to them: then the VM goes on at
 * once.  Otherwise it waits for its owner to connect again, and its agents' sessions for theirs.
 *
 * A journal that is damaged stops its own VM and no other: the log says where the damage is and
 * what to do, nothing is overwritten, and the VM's name is taken until the journal is moved away.
 */
#ifndef KVMATTRD_RECOVERY_H
#define KVMATTRD_RECOVERY_H

#include "daemon.h"
#include "daemon/journal/journal.h"

/* A journal of this boot, as far as that can be told, whose VM could not be recovered. */
struct unrecovered {
	LIST_ENTRY(unrecovered) list;
	char journal[VM_JOURNAL_NAME_SIZE];
	char vm[KVMATTR_NAME_SIZE];
	struct journal_error error;
};

/*
 * Before anyone is served.  0 or a negative errno, which has been logged: then it is not known which
 * VMs there are, and nobody is to be served.
 */
__attribute__((warn_unused_result)) int recovery_run(struct daemon *daemon);
/*
 * Is there a journal of a VM with this name that could not be recovered, and is it still there?
 * Then text says which and what to do.
 */
bool recovery_find_unrecovered(struct daemon *daemon, const char *vm, char *text, size_t text_size);
/* Frees the list. */
void recovery_forget_unrecovered(struct daemon *daemon);

#endif
