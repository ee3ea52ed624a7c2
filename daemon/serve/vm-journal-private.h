/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of a hosted VM's journal share: its life and its disk (vm-journal.c), its records
 * (vm-journal-records.c), its checkpoints (vm-journal-checkpoints.c).
 */
#ifndef KVMATTRD_VM_JOURNAL_PRIVATE_H
#define KVMATTRD_VM_JOURNAL_PRIVATE_H

#include "journal-notes.h"
#include "vm-journal.h"

#include <event2/event.h>
#include <sys/uio.h>

struct checkpoint_job;
struct journal_syncer;

struct vm_checkpoint {
	uint64_t number;
	uint64_t size;   /* in bytes */
	uint64_t commit; /* 0: not known, its file is not well */
};

struct vm_journal {
	LIST_ENTRY(vm_journal) open;
	struct vm_journals *journals;
	char name[VM_JOURNAL_NAME_SIZE];
	char vm[KVMATTR_NAME_SIZE];
	const struct vm_journal_ops *ops;
	void *context;
	struct journal *journal;
	int directory_fd;
	bool is_closed; /* nothing is told any more */
	bool is_discarded;

	/* Records. */
	struct journal_notes notes;
	uint64_t last_number;   /* that was written */
	uint64_t n_bytes;       /* of all that were written, since it was opened */
	bool is_batch_open;     /* as far as the records say */
	uint64_t batch_session; /* of its first part */
	uint64_t settled;       /* number of the last record at which none was */
	uint64_t settled_bytes;
	uint64_t gathered_number; /* of the last record that is on its way */
	size_t gathered_bytes;
	struct vm_record_part *parts;
	struct iovec *vectors;
	size_t parts_capacity;

	/* What is wrong; trouble() was told. */
	int write_error; /* errno of the last attempt to write */
	int sync_error;  /* errno of a sync: nothing is written until what was is covered */
	bool is_damaged; /* the log, and not yet covered */
	bool is_checkpoint_missing;

	/* With durability "power". */
	struct journal_syncer *syncer;
	uint64_t durable;
	uint64_t
		proof; /* when this number is on the disk, sync_error is over; 0: not covered yet */

	/* Checkpoints, the oldest first. */
	struct vm_checkpoint *checkpoints;
	size_t n_checkpoints;
	size_t checkpoints_capacity;
	uint64_t checkpoint_bytes; /* n_bytes where the last one was made, or could not be */
	uint64_t due; /* number of one that waits until the disk has the log; 0: none */
	uint64_t due_bytes;
	struct checkpoint_job *job;
	struct event *cover;   /* time to try a checkpoint of the policy in memory */
	unsigned int cover_ms; /* from now on; 0: at once */
};

/* ---- vm-journal.c ---------------------------------------------------------------------------- */

/* A sentence for the VM's log. */
__attribute__((format(printf, 3, 4))) void vm_journal_say(struct vm_journal *journal,
							  bool is_trouble, const char *format, ...);
/* The archivist does nothing for it any more: one that is closed can go. */
void vm_journal_job_over(struct vm_journal *journal);

/* ---- vm-journal-records.c -------------------------------------------------------------------- */

/* Each writes what was noted as well; 0 or a negative errno. */
__attribute__((warn_unused_result)) int vm_journal_write_registered(
	struct vm_journal *journal, const struct vm_record_registered *facts,
	const struct wire_view *views, const struct vm_record_session *owner);
__attribute__((warn_unused_result)) int vm_journal_write_notes(struct vm_journal *journal);
__attribute__((warn_unused_result)) int vm_journal_write_released(struct vm_journal *journal,
								  uid_t uid,
								  enum kvmattr_status status,
								  const char *text);

/* ---- vm-journal-checkpoints.c ---------------------------------------------------------------- */

/* Which there are, when a journal is opened again. */
__attribute__((warn_unused_result)) int vm_journal_find_checkpoints(
	struct vm_journal *journal, struct journal_error *ret_error);
/* Something was written, or has reached the disk: has a checkpoint made if it is time. */
void vm_journal_consider_checkpoint(struct vm_journal *journal);
/*
 * Has a checkpoint of the policy in memory made, so that what was written before is not needed any
 * more: at once, or somewhat later each time it is asked for again without cover_ms being 0.
 */
void vm_journal_cover(struct vm_journal *journal);
/* Stops all that. */
void vm_journal_stop_checkpoints(struct vm_journal *journal);

#endif
