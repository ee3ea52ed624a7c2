/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM as its records say: fed one record after the other, from the first or behind a checkpoint.
 *
 * The daemon does it to recover, the archivist to make checkpoints and to answer for the past,
 * kvmattrctl to verify.  Records that cannot follow what was before are damage, whatever their
 * checksums say.  Knows the policy and the records; no files.
 */
#ifndef KVMATTRD_REPLAY_H
#define KVMATTRD_REPLAY_H

#include "daemon/policy/image.h"
#include "daemon/policy/policy.h"
#include "journal.h"
#include "vm-records.h"

/* Of each session, failures of its last so many seqnos are kept. */
#define REPLAY_MAX_FAILURES UINT64_C(65536)

/*
 * A session's seqnos rise; some may be missing, which were refused and answered while the journal
 * could not be written.
 */
struct replay_session {
	struct vm_record_session facts;
	uint64_t settled_seqno; /* every update up to it is settled */
	/* Of the next one, settled_seqno + 1: elements that are in force, and, if that is not 0, what
	 * it is (n_elements is 0) and how many it has. */
	uint32_t n_in_force;
	uint32_t next_n_total;
	struct wire_update next;
	/* Those up to settled_seqno that were not done whole, in order; behind replay_end() only those
	 * of the last REPLAY_MAX_FAILURES seqnos. */
	struct wire_failure *failures;
	size_t n_failures;
	size_t failures_capacity;
	uint64_t
		forgotten_seqno; /* the highest that may have a failure that is not here; 0: none */

	/* The maker's. */
	bool is_closed; /* and gone behind replay_end() */
	struct {
		uint64_t number; /* of the last BATCH that has a part of this session */
		uint64_t settled_seqno;
		uint32_t n_in_force;
	} batch; /* what is settled if it comes into force, while it is checked */
};

/* A range of pages, or what an update without elements does, as it comes into force. */
struct replay_step {
	uint64_t commit;
	uint64_t time_us;                        /* of the BATCH record */
	const struct vm_record_session *session; /* NULL: the daemon itself */
	bool is_operators; /* then: an operator's; or else of the registration or an import */
	uint64_t seqno;
	const struct policy_element *element;
	uint32_t place; /* of its first element in the update */
	uint32_t n;     /* elements, which are consecutive pages if there are several */
};

/*
 * Told before and after each step of a batch that came into force is applied.  replay->policy is as
 * it is then.
 */
struct replay_observer {
	void (*before)(void *context, const struct replay_step *step);
	void (*after)(void *context, const struct replay_step *step);
	void *context;
};

struct replay {
	struct vm_record_registered facts; /* n_views 0: nothing was replayed yet */
	struct wire_view views[KVMATTR_N_VTLS];
	uint64_t registered_us;
	bool is_ready;
	bool is_released;
	struct vm_record_released released;
	uint64_t released_us;

	struct policy *policy;           /* as of commit; nobody keeps view.applied meanwhile */
	uint64_t commit;                 /* 0: none yet */
	uint64_t commit_us;              /* of its BATCH record */
	uint64_t number;                 /* of the last record that was taken */
	uint64_t settled;                /* of the last record at which no batch was open */
	struct replay_session *sessions; /* in the order of their ids */
	size_t n_sessions;
	size_t sessions_capacity;
	uint64_t max_session; /* highest id that ever was */
	/* Touched since the last outcome that says all is known: whole and normalized behind
	 * replay_end(). */
	struct page_ranges doubtful;

	/* The user's, between replay_init() and the first record. */
	struct replay_observer observer;
	uint64_t max_map_bytes; /* what the policy's maps may need; 0: no limit */

	/* The maker's. */
	struct policy_undo_log *undo;
	uint8_t *batch; /* BATCH's payload, without an outcome so far; NULL: there is none */
	size_t batch_size;
	uint64_t batch_us;
	uint64_t batch_number;
	uint64_t batch_offset;
	char batch_file[JOURNAL_SEGMENT_NAME_LEN + 1];
	uint8_t *batch_room; /* where it is kept */
	size_t batch_capacity;
	/* All pages, if a change of a layer touched them: of these, RAM counts.  Apart, because what
	 * is not RAM any more counts where it is in a range of its own. */
	struct page_ranges doubtful_ram;
	size_t n_closed;            /* of the sessions */
	size_t last_session;        /* place of the one that was looked up last */
	size_t doubtful_normalized; /* ranges that were left when they were last normalized */
	uint64_t n_steps;
};

/* An empty one; for replay_destroy(). */
void replay_init(struct replay *replay);
void replay_destroy(struct replay *replay);

/*
 * Takes the next record.  Returns 0, or with *ret_error, which has file, offset and what is wrong,
 * -EBADMSG for damage, -E2BIG for maps that need more than max_map_bytes; then the replay is only
 * for replay_destroy().
 */
__attribute__((warn_unused_result)) int replay_take(struct replay *replay,
						    const struct journal_record *record,
						    struct journal_error *ret_error);
/*
 * There is no further record: a batch that is open is taken back, its pages are doubtful.  The
 * policy's views then say what KVM was told: everything, but for the doubtful pages.
 */
void replay_end(struct replay *replay);

/* NULL: there is none, or it was closed. */
struct replay_session *replay_find_session(struct replay *replay, uint64_t id);

#endif
