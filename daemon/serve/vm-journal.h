/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal of a VM that is hosted: what its state machine and its sessions have written down.
 *
 * Records go to the kernel at once, from the event loop.  With durability "power" a thread of the
 * journal's own syncs them: whatever is written when a sync begins goes with it, and durable() says
 * so from the event loop.  Checkpoints, and the removal of what history does not keep, are made by
 * the archivist while records go on being written.
 *
 * When the journal cannot be written, every attempt says so, until one succeeds: trouble() is told
 * when it begins and when it ends.  When a sync has failed, what is on the disk is not known any
 * more: a new segment is begun behind a checkpoint of the policy in memory, which has to reach the
 * disk first; until then every attempt fails.  The same checkpoint, without refusing anything, is
 * made when the archivist finds the log damaged: from then on nobody needs what is damaged but
 * those who ask about the past.
 *
 * Notes wait in memory for the next write.  While the journal cannot be written, there are at most
 * so many: the oldest about updates are dropped, those about sessions stay.  A dropped one leaves a
 * gap in its session's numbers, which says that those updates were refused, but not why.
 */
#ifndef KVMATTRD_VM_JOURNAL_H
#define KVMATTRD_VM_JOURNAL_H

#include "daemon/journal/checkpoint.h"
#include "daemon/vm.h"
#include "vm-journals.h"

struct vm_journal;

/* None of them may close the journal. */
struct vm_journal_ops {
	/* All up to this number is on the disk.  From the event loop. */
	void (*durable)(void *context, uint64_t number);
	/*
	 * A sentence for the log; is_trouble: something cannot be done, else: it can be again.
	 * Also told from within a call that writes.
	 */
	void (*trouble)(void *context, bool is_trouble, const char *text);
	/*
	 * Fills in an empty replay with all that a checkpoint holds, as of now, what was noted
	 * included; but for number, settled, policy and observer.  Returns the policy, which is
	 * read before anything else happens; NULL: the layers hold an open batch, ask later.  From
	 * the event loop.
	 */
	const struct policy *(*snapshot)(void *context, struct replay *replay);
};

/*
 * Makes the journal of a new registration and writes its first records.  0 or a negative errno;
 * then nothing of it is there.
 */
__attribute__((warn_unused_result)) int vm_journal_create(struct vm_journals *journals,
							  const struct vm_record_registered *facts,
							  const struct wire_view *views,
							  const struct vm_record_session *owner,
							  const struct vm_journal_ops *ops,
							  void *context, struct vm_journal **ret);
/*
 * Goes on with a journal that was replayed whole.  What is in it counts as durable when durable()
 * says so.  0 or a negative errno with *ret_error, and the journal is as it was.
 */
__attribute__((warn_unused_result)) int vm_journal_reopen(struct vm_journals *journals,
							  const char *name,
							  const struct replay *replay,
							  const struct vm_journal_ops *ops,
							  void *context, struct vm_journal **ret,
							  struct journal_error *ret_error);
/*
 * Writes that this user's VM is gone, and why, unless status is KVMATTR_OK: then it will be
 * recovered.  Closes the journal, which is history from then on, and removes the oldest history
 * that is not kept.
 */
void vm_journal_close(struct vm_journal *journal, uid_t uid, enum kvmattr_status status,
		      const char *text);
/* Removes the journal of a registration that came to nothing. */
void vm_journal_discard(struct vm_journal *journal);

/* vm_ops' record and refused.  session: of an update, 0 for the registration itself. */
typedef uint64_t (*vm_journal_session_of)(const struct vm_update *update);
__attribute__((warn_unused_result)) int vm_journal_record(struct vm_journal *journal,
							  const struct vm_batch *batch,
							  const struct vm_in_force *in_force,
							  vm_journal_session_of session_of,
							  uint64_t *ret_durable);
void vm_journal_note_refused(struct vm_journal *journal, uint64_t session,
			     const struct vm_update *update, enum kvmattr_status status,
			     const char *text);

/* Bytes of memory that wait to be written, or are kept for what will be. */
size_t vm_journal_memory(const struct vm_journal *journal);

/* Each writes at once; 0 or a negative errno. */
__attribute__((warn_unused_result)) int vm_journal_write_session(
	struct vm_journal *journal, const struct vm_record_session *session);
__attribute__((warn_unused_result)) int vm_journal_write_ready(struct vm_journal *journal);
/* durable() is told this number when all that was written is on the disk; 0: nobody waits for it. */
uint64_t vm_journal_recorded(const struct vm_journal *journal);
/* Writes at once, too; where that fails, it goes with the next write. */
void vm_journal_note_session_closed(struct vm_journal *journal, uint64_t id);

const char *vm_journal_name(const struct vm_journal *journal);
const struct journal_identity *vm_journal_identity(const struct vm_journal *journal);
struct vm_journal_status {
	struct journal_status journal;
	enum durability durability;
	uint64_t durable_number; /* the last that is on the disk; with DURABILITY_PROCESS 0 */
	uint64_t checkpoint;     /* number of the last one, or 0 */
	uint64_t n_checkpoints;
	uint64_t checkpoint_bytes; /* of all */
	uint64_t first_commit;     /* the oldest that can be asked for; 1: all can */
	bool is_checkpointing;
	int error; /* errno of the last attempt to write, or 0 */
};
struct vm_journal_status vm_journal_status(const struct vm_journal *journal);

#endif
