/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM that has a journal and no executor: a policy, a few sessions, and an event loop.
 *
 * It does what the VM's state machine does with a journal, one batch at a time: applies random
 * updates to its policy, records the batch, and that it came into force; takes it back when KVM
 * "refuses" it or the journal does not take it.  What it has in memory is the oracle for what is
 * replayed from the files: the policy's image, and what is settled of each session.
 */
#ifndef JOURNALED_VM_H
#define JOURNALED_VM_H

#include "daemon/serve/vm-journal.h"

#define JOURNALED_SESSIONS 4
#define JOURNALED_WAITING  6
#define JOURNALED_ELEMENTS 8

struct journaled_update {
	struct vm_update it;
	struct replay_session *session;
	uint8_t elements[JOURNALED_ELEMENTS * sizeof(struct kvmattr_range)];
	char text[WIRE_TEXT_SIZE];
};

/* When a commit may be acknowledged. */
struct journaled_wait {
	uint64_t commit;
	uint64_t number;
};

struct journaled_vm {
	uint64_t random;
	struct event_base *base;
	struct vm_journals journals;
	char name[VM_JOURNAL_NAME_SIZE];
	uid_t uid; /* whose it is */

	struct vm_journal *journal; /* NULL: it is closed */
	struct vm_record_registered facts;
	struct wire_view views[KVMATTR_N_VTLS];
	struct policy *policy;
	struct policy_undo_log *undo;
	struct page_ranges touched;
	uint64_t commit;
	bool is_executing;
	bool is_slow; /* calls take until the journal is in trouble; then no more */
	/* [0] is the owner's.  facts.id 0: there is none. */
	struct replay_session sessions[JOURNALED_SESSIONS];
	uint64_t last_seqnos[JOURNALED_SESSIONS];
	uint64_t max_session;
	struct journaled_update waiting[JOURNALED_WAITING];
	size_t n_waiting;

	/* All up to this commit is acknowledged; the others wait until a number is durable. */
	uint64_t acknowledged;
	struct journaled_wait *waits;
	size_t n_waits, waits_capacity;
	uint64_t durable; /* as told */
	/* The policy's image at each commit from 0 on. */
	struct image *history;
	size_t n_history, history_capacity;

	/* What was told. */
	unsigned int n_troubles, n_ends, n_snapshots;
	char trouble[1024]; /* the last */
};

/* A fixture: scratch_fd (journal-checks.h), and I/O that fails as a test likes (faulty-io.h). */
void journaled_vm_fixture_begin(void);
void journaled_vm_fixture_end(void);

/* Makes a directory for journals in scratch_fd.  No journal yet. */
void journaled_vm_begin(struct journaled_vm *vm, enum durability durability, uint64_t segment_size,
			uint64_t max_size, uint64_t random);
/* The VM is registered: 0, or what vm_journal_create() said. */
int journaled_vm_create(struct journaled_vm *vm);
/* Closes what is open, and removes all journals. */
void journaled_vm_end(struct journaled_vm *vm);

/*
 * One batch, and now and then something about a session.  0, or what the journal said when it did
 * not take something.
 */
int journaled_vm_step(struct journaled_vm *vm);
/* So many steps, each of which succeeds. */
void journaled_vm_go_on(struct journaled_vm *vm, unsigned int n_steps);
/* For what a test records by itself: whoever asks, it is the owner. */
uint64_t journaled_vm_owner(const struct vm_update *update);
/* Has what was noted written. */
int journaled_vm_flush(struct journaled_vm *vm);

/* Tells what there is to tell; does not wait. */
void journaled_vm_pump(struct journaled_vm *vm);
/* These wait: until something happens, until no checkpoint is being made, until the disk has everything. */
void journaled_vm_await(struct journaled_vm *vm);
void journaled_vm_await_checkpoint(struct journaled_vm *vm);
void journaled_vm_await_disk(struct journaled_vm *vm);

/* Closes the journal, and waits until its files are closed. */
void journaled_vm_close(struct journaled_vm *vm, enum kvmattr_status status);
/* Goes on as the next daemon does: 0, or what vm_journal_reopen() said. */
int journaled_vm_reopen(struct journaled_vm *vm);

/* What the files say is what is in memory, nothing more and nothing less. */
void journaled_vm_expect(struct journaled_vm *vm);
/* The same, but for what was noted and could not be written yet. */
void journaled_vm_expect_commit(struct journaled_vm *vm);
/* From the oldest start on, the files say what stood at each commit. */
void journaled_vm_expect_history(struct journaled_vm *vm);
/* The first commit that can be asked for, which it is, and none before it can.  There is one. */
uint64_t journaled_vm_expect_first_commit(struct journaled_vm *vm);
/* What is on the disk has at least what was acknowledged, and is what stood at some commit. */
void journaled_vm_expect_disk(struct journaled_vm *vm);

#endif
