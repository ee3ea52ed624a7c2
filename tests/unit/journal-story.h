/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal of a VM that never was, from a seed, and what has to come of it.
 *
 * It tells what a daemon writes down while an owner and some agents send updates of every kind:
 * batches that come into force whole or in parts, that KVM refuses and that go again, sessions that
 * come and go, updates that end outside of a batch, some of which were never written down.  Beside
 * it stands an oracle: the policy as a flat array of pages, as of every commit if that is asked
 * for, and the sessions with what is settled.
 *
 * A story is a list of records in memory.  It goes on by steps, each of which is one write.
 */
#ifndef JOURNAL_STORY_H
#define JOURNAL_STORY_H

#include "daemon/journal/journal.h"
#include "daemon/journal/replay.h"
#include "tests/unit/policy-oracle.h"

struct story_record {
	struct journal_record_header header; /* its checksums are 0 */
	uint8_t *payload;
	uint64_t offset; /* if all were in one file */
	bool ends_write;
};

/* What is settled of a session. */
struct story_session {
	struct vm_record_session facts;
	bool is_closed;
	uint64_t last_seqno; /* that it sent */
	uint64_t settled_seqno, forgotten_seqno;
	uint32_t n_in_force; /* of the next update */
	uint32_t next_n_total;
	struct wire_update next;
	struct wire_failure *failures;
	size_t n_failures, failures_capacity;
};

/* An update that the VM has taken and not answered. */
struct story_update {
	struct story_session *session; /* NULL: the registration, or an import */
	uint64_t seqno;
	struct wire_update update; /* n_elements: all */
	uint8_t *elements;
	uint32_t n_total, n_in_force;
	uint32_t n_applied; /* with the batch that is under way */
	enum kvmattr_status status;
};

#define STORY_SESSIONS 24
#define STORY_WAITING  16

struct story {
	uint64_t random;
	struct story_record *records; /* number 1 first */
	size_t n_records, records_capacity;

	struct vm_record_registered facts;
	struct wire_view views[KVMATTR_N_VTLS];
	bool is_ready, is_released;
	struct story_session sessions[STORY_SESSIONS];
	size_t n_sessions;
	uint64_t max_session;
	struct story_update
		waiting[STORY_WAITING]; /* the first n_in_batch of them are in the batch */
	size_t n_waiting, n_in_batch;
	uint64_t registration_seqno;

	uint64_t commit, commit_us;
	uint64_t settled; /* the last record at which no batch was open */
	bool is_open;     /* the last BATCH has no outcome */
	bool is_executing;
	struct oracle *oracle; /* as of commit */
	struct oracle *batch;  /* and with the batch that is under way */
	struct story_doubts {
		bool pages[ORACLE_PAGES];
		bool is_all_ram;
	} doubts,             /* touched since the last outcome that says all is known */
		batch_doubts; /* touched by the BATCH that is open */

	bool keeps_history;      /* set it behind story_begin() */
	struct oracle **history; /* [commit], from then on */
	size_t n_history;
};

/* A VM is registered: REGISTERED, its owner's SESSION, its RAM, READY.  For story_end(). */
void story_begin(struct story *story, uint64_t random);
void story_end(struct story *story);
/* The next write. */
void story_go_on(struct story *story);
/* Goes on until no batch is open. */
void story_settle(struct story *story);
/* The VM is released: nothing can follow. */
void story_release(struct story *story);

/* The policy as of a commit: keeps_history was set before it, or it is the last. */
const struct oracle *story_at(const struct story *story, uint64_t commit);
/* The i-th record as a reader hands it out; its file is "story". */
struct journal_record story_record(const struct story *story, size_t i);
/* Appends and writes to the journal whatever it does not have yet, write by write. */
void story_write(const struct story *story, struct journal *journal);
/* Replays all there is, which has to succeed. */
void story_replay(const struct story *story, struct replay *replay);

/* What was replayed is what was told; is_ended: replay_end() was called.  Check assertions. */
void story_expect(const struct story *story, struct replay *replay, bool is_ended);

#endif
