/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All journals: the directory where they are, what the operator decided about them, and how many
 * of those whose VMs are gone are kept.
 *
 * Each journal is a directory "NAME.0123456789abcdef" in state_dir/vms, by the VM's name and the
 * first bytes of its registration's random identity.  A journal is past if its VM was released, or
 * if it is of another boot of the host; nothing else is ever removed.  One that is being removed is
 * first given a name that is no journal's.
 */
#ifndef KVMATTRD_VM_JOURNALS_H
#define KVMATTRD_VM_JOURNALS_H

#include "protocol/kvmattr-types.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct archivist;
struct archivist_job;
struct event_base;
struct journal_error;
struct journal_identity;
struct vm_journal;

enum durability { DURABILITY_PROCESS, DURABILITY_POWER };

/* "NAME.0123456789abcdef" */
#define VM_JOURNAL_NAME_SIZE (KVMATTR_NAME_SIZE + 17)

struct vm_journals {
	/* To be set before it is opened. */
	struct event_base *base;
	struct archivist *archivist;
	enum durability durability;
	uint64_t segment_size; /* bytes */
	uint64_t max_size;     /* bytes of one journal, where its history can be given up */
	unsigned int max_past; /* journals of VMs that are gone */

	int directory_fd;    /* of state_dir/vms */
	uint8_t boot_id[16]; /* this boot's */

	LIST_HEAD(, vm_journal) open; /* those of VMs that are hosted */
	bool is_covering; /* a checkpoint of a policy in memory is made, which is a copy of that */
	struct archivist_job *forgetting;
	bool forget_again; /* there may be more to remove by now */
};

/*
 * Makes state_dir/vms, unless it is there, and opens it.  0 or a negative errno, which has been
 * logged; then there is nothing to close.
 */
__attribute__((warn_unused_result)) int vm_journals_open(struct vm_journals *journals,
							 const char *state_dir);
/* When all journals are closed and the archivist is gone. */
void vm_journals_close(struct vm_journals *journals);

/* What the directory of that VM's journal is called. */
void vm_journal_make_name(const char *vm, const struct journal_identity *identity,
			  char name[VM_JOURNAL_NAME_SIZE]);
/* Is this what a journal's directory is called?  Others are nobody's, and left alone. */
bool vm_journal_is_name(const char *name);

/*
 * Removes a journal that is not open: 0, or a negative errno with *ret_error; -ENOTEMPTY: there is
 * something in it that is not of a journal, and all of it was left.
 */
__attribute__((warn_unused_result)) int vm_journal_remove(const struct vm_journals *journals,
							  const char *name,
							  struct journal_error *ret_error);
/* Soon, the oldest past journals beyond max_past are removed. */
void vm_journals_forget_past(struct vm_journals *journals);

#endif
