/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoints: a replay as of one record, in a file beside the log, so that a journal need not be
 * read from its start, nor kept whole.
 *
 * "<number>.checkpoint", by the last record that it includes.  It is written as
 * "<number>.checkpoint.new", synced, renamed, and the directory synced: it has its name only when
 * it is whole and on the disk.  A checkpoint that does not add up is damage, as in the log; an
 * older one and the records behind it say the same, so a reader may fall back on it, and says so.
 *
 * Whoever reads a journal to apply it goes through journal_replay(): the one way in.
 */
#ifndef KVMATTRD_CHECKPOINT_H
#define KVMATTRD_CHECKPOINT_H

#include "replay.h"

/* "0123456789abcdef.checkpoint" */
#define CHECKPOINT_NAME_LEN 27

/*
 * Writes the replay, as replay_end() leaves it and at which no batch is open (asserted), as a
 * checkpoint of the journal in directory_fd; *ret_size: its bytes.  One of the same number is
 * replaced.  Blocks for the disk.  0 or a negative errno; then nothing of it is there, unless it
 * was only the directory that could not be synced: then it is there whole, and may be gone or be
 * the former one after a loss of power.
 */
__attribute__((warn_unused_result)) int checkpoint_write(int directory_fd,
							 const struct journal_identity *identity,
							 const struct replay *replay,
							 uint64_t *ret_size);

struct checkpoint_name {
	uint64_t number;
	uint64_t size;   /* in bytes */
	uint64_t commit; /* the last that it includes; 0, too, if its header does not add up */
};
/*
 * All there are, the oldest first; the caller frees *ret, which is NULL if there is none.  0 or a
 * negative errno with *ret_error.
 */
__attribute__((warn_unused_result)) int checkpoint_list(int directory_fd,
							struct checkpoint_name **ret, size_t *ret_n,
							struct journal_error *ret_error);
/* Removes a checkpoint, or what is left of those never finished.  0 or a negative errno. */
__attribute__((warn_unused_result)) int checkpoint_remove(int directory_fd, uint64_t number);
__attribute__((warn_unused_result)) int checkpoint_remove_unfinished(
	int directory_fd, struct journal_error *ret_error);

/*
 * Reads the checkpoint of that number into an empty replay, which is then as it was when it was
 * written, but for replay_end().  0, or with *ret_error -EBADMSG for damage, -EXDEV for another
 * journal's, -EPROTO, -EPERM, -ENOENT, -E2BIG (max_map_bytes) …; then the replay is only for
 * replay_destroy().
 */
__attribute__((warn_unused_result)) int checkpoint_read(int directory_fd,
							const struct journal_identity *identity,
							uint64_t number, struct replay *replay,
							struct journal_error *ret_error);

/* Where to stop. */
enum replay_limit {
	REPLAY_ALL,
	REPLAY_TO_COMMIT, /* with the batch that has this commit number */
	REPLAY_TO_NUMBER, /* with this record */
};

struct replay_request {
	enum replay_limit limit;
	uint64_t at;        /* commit or number */
	bool is_from_start; /* the oldest there is, for those who watch all that happened */
	struct replay_observer observer;
	/*
	 * Told before the observer is, and once more when all begins anew, since what was being read
	 * was retired meanwhile: what the observer was told before does not count.  May be NULL.
	 */
	void (*begins)(void *context);
	/* Asked now and then: true ends it with -ECANCELED.  May be NULL. */
	bool (*is_cancelled)(void *context);
	void *context; /* of both */
};

struct replay_report {
	struct journal_identity identity;
	uint64_t checkpoint; /* that it began with; 0: with the first record */
	uint64_t n_records;  /* read behind it */
	bool is_torn;        /* the log's last write is not whole; *ret_error says where */
	/* Why the checkpoint that was to be the first choice was passed over; error 0: none was. */
	struct journal_error passed_over;
};

/*
 * Replays the journal in directory name of parent_fd into an empty replay, from the best checkpoint
 * on, and ends it (replay_end()) unless it stopped at a limit with a batch open.  Returns 0 or a
 * negative errno with *ret_error: damage is -EBADMSG, -ENODATA: nothing was ever recorded, -ERANGE:
 * what was asked for is not in the journal any more, or not yet; then the replay is only for
 * replay_destroy().  The replay's max_map_bytes counts, and its observer is the request's.
 */
__attribute__((warn_unused_result)) int journal_replay(int parent_fd, const char *name,
						       const struct replay_request *request,
						       struct replay *replay,
						       struct replay_report *ret_report,
						       struct journal_error *ret_error);

#endif
