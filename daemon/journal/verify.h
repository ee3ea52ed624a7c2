/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is a journal whole?  Everything in it is read and replayed, and every checkpoint is compared with
 * the replay of the log up to it, as far as the log reaches back.
 *
 * The log is replayed from one checkpoint to the next, so each is shown to say what all that is
 * before it says.  What is damaged is told, and reading goes on where it can: behind a checkpoint
 * that does not need what is damaged.  Knows the journal's files, and no daemon; changes nothing.
 */
#ifndef KVMATTRD_VERIFY_H
#define KVMATTRD_VERIFY_H

#include "checkpoint.h"

/* Damage that is told one by one; beyond, it is counted. */
#define VERIFY_MAX_PROBLEMS 16

struct verify_progress {
	void (*tell)(void *context, uint64_t n_bytes, uint64_t n_total);
	void *context;
};

struct verify_report {
	char vm[KVMATTR_NAME_SIZE]; /* "" if no registration was found */
	struct journal_identity identity;
	bool is_released;
	uint64_t n_segments;
	uint64_t n_bytes;       /* of segments and checkpoints */
	uint64_t n_checkpoints; /* that are whole */
	uint64_t n_compared;    /* and equal to the replay of the log */
	uint64_t n_records;     /* that are whole */
	uint64_t first_number;
	uint64_t last_number;
	uint64_t n_commits;
	uint64_t first_commit; /* of those; 0: there is none */
	uint64_t last_commit;
	uint64_t first_us; /* time of the first record and of the last */
	uint64_t last_us;
	bool is_torn; /* the last write is not whole, which is no damage */
	struct journal_error torn;
	uint64_t n_problems;
	struct journal_error problems[VERIFY_MAX_PROBLEMS];
	/* Behind damage, the log was read again from this record on; 0: there is none, or to the end. */
	uint64_t resumed_at;
};

/*
 * Verifies the journal in directory name of parent_fd.  0: *ret says how it is, damage included.  A
 * negative errno with *ret_error: it cannot be read at all, or is of a later version (-EPROTO).
 */
__attribute__((warn_unused_result)) int verify_journal(int parent_fd, const char *name,
						       uint64_t max_map_bytes,
						       const struct verify_progress *progress,
						       struct verify_report *ret,
						       struct journal_error *ret_error);

#endif
