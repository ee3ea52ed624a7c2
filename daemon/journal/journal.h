/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A journal: a VM's records in a directory of segments, written at the end, read from the start.
 *
 * Life of a writer: journal_create() makes the directory and the first segment; journal_append()
 * gathers records, journal_write() hands what was gathered to the kernel, all or nothing;
 * journal_sync() puts it on the disk.  When a segment is long enough, the next write opens
 * another one.  A write that fails leaves the journal as it was before it: the records gathered
 * are forgotten, their numbers are given again, the file is cut back to its last whole write, and
 * writing may be tried again.  If it cannot be cut back, what is there of the write still does not
 * count, and it is cut off before the next one.  After a sync that failed, nothing is written any
 * more: what the disk has is not known.  Then journal_renew() begins another segment, behind what
 * its user has put on the disk in place of all that was written before.
 * journal_reopen() goes on with a journal that journal_read() found whole.
 *
 * The daemon's death leaves at most one write that is not whole, the last: the reader reports it
 * as torn, and journal_reopen() cuts it off.  Whatever else does not add up is damage: the reader
 * stops there, with the file, the offset, and what to do; nothing is ever overwritten.  What the
 * files cannot tell: that whole segments are gone from the end, or writes from the last one.
 *
 * Files are 0600 in a 0700 directory, owned by us; anything else is refused, as are links.
 * It knows no policy and no VM.  One thread at a time; a reader may read while a writer writes:
 * what was not yet written whole is its end.
 */
#ifndef KVMATTRD_JOURNAL_H
#define KVMATTRD_JOURNAL_H

#include "record.h"

#include <stdbool.h>
#include <sys/uio.h>

struct journal;

/* What is wrong with a journal, for people and programs. */
struct journal_error {
	/*
	 * errno; EBADMSG for damage, EPROTO for a newer format, EPERM for owner, mode or kind,
	 * ENODATA where nothing was ever recorded, ERANGE where a position is not in the journal,
	 * ESTALE if the writer retired what was being read.
	 */
	int error;
	char file[64];   /* name in the journal's directory; "" for the directory */
	uint64_t offset; /* in that file */
	char text[256];  /* what happened and what to do */
};

/* Where to begin to read: give it zeroed, for the journal's start. */
struct journal_position {
	uint64_t number; /* of the first record to read; 0: the first there is */
};

struct journal_record {
	struct journal_record_header header;
	const uint8_t *payload; /* valid until the next call on the reader */
	char file[JOURNAL_SEGMENT_NAME_LEN + 1];
	uint64_t offset;
};

/* ---- Writing ------------------------------------------------------------------------------- */

struct journal_options {
	uint64_t segment_size; /* bytes after which another segment is begun */
	bool is_synced;        /* journal_sync() will be called */
};

/*
 * Makes directory name in the directory parent_fd and an empty journal in it; -EEXIST if it is
 * there.  0 or a negative errno; then nothing is left of it, if that can be had.
 */
__attribute__((warn_unused_result)) int journal_create(int parent_fd, const char *name,
						       const struct journal_identity *identity,
						       struct journal_options options,
						       struct journal **ret);
/*
 * Goes on with a journal behind its last whole write; a torn one is cut off first, and *ret_n_cut
 * says how many bytes that were.  It reads the last segment again and believes journal_read() the
 * rest.  0 or a negative errno with *ret_error, and nothing was changed; -ENODATA: there is nothing
 * to go on with.
 */
__attribute__((warn_unused_result)) int journal_reopen(int parent_fd, const char *name,
						       struct journal_options options,
						       struct journal **ret, uint64_t *ret_n_cut,
						       struct journal_error *ret_error);
/* Closes it; what was gathered and not written is lost.  NULL is fine. */
void journal_free(struct journal *journal);

const struct journal_identity *journal_identity(const struct journal *journal);

/*
 * Gathers a record of these parts, together at most JOURNAL_MAX_PAYLOAD (asserted); returns its
 * number.
 */
uint64_t journal_append(struct journal *journal, uint16_t type, uint64_t time_us,
			const struct iovec *parts, size_t n_parts);
/*
 * Hands what was gathered to the kernel: survives the daemon's death when it returns 0.  On failure
 * (negative errno: -ENOSPC, -EIO …) none of it is in the journal.
 */
__attribute__((warn_unused_result)) int journal_write(struct journal *journal);
/*
 * Puts what was written before the call on the disk.  Blocks; may be called from any thread, not
 * while the journal is freed.  Only of a journal that was opened with is_synced (asserted).
 */
__attribute__((warn_unused_result)) int journal_sync(struct journal *journal);

/*
 * Ends the last segment for good: the next record goes into a new one.  After a sync that failed,
 * what was written before is not synced any more, and writing goes on: for a user that needs none
 * of it from these files.  If a sync has failed, not during another one.  0 or a negative errno;
 * then the journal is as it was.
 */
__attribute__((warn_unused_result)) int journal_renew(struct journal *journal);

struct journal_status {
	uint64_t first_number; /* of the records that are there */
	uint64_t next_number;  /* behind the last that was written */
	uint64_t n_segments;
	uint64_t n_bytes;
	bool is_failed; /* nothing can be written before journal_renew() */
};
struct journal_status journal_status(const struct journal *journal);
/* Bytes of memory that are gathered, or kept for what will be. */
size_t journal_memory(const struct journal *journal);
/* Of all segments that have, or will have, a record behind that number. */
uint64_t journal_bytes_behind(const struct journal *journal, uint64_t number);
/*
 * Removes whole segments from the start, as long as all their records are below number; the last
 * segment stays.
 */
__attribute__((warn_unused_result)) int journal_retire(struct journal *journal, uint64_t number);

/* ---- Reading ------------------------------------------------------------------------------- */

struct journal_reader;

/*
 * Opens the journal in directory name of parent_fd for reading from position on.  Returns 0 or a
 * negative errno; then *ret_error says which and where.
 */
__attribute__((warn_unused_result)) int journal_reader_open(int parent_fd, const char *name,
							    struct journal_position position,
							    struct journal_reader **ret,
							    struct journal_error *ret_error);
void journal_reader_free(struct journal_reader *reader);

enum journal_read { JOURNAL_RECORD, JOURNAL_END, JOURNAL_TORN, JOURNAL_DAMAGED };

/*
 * The next record.  JOURNAL_END: there is none yet, ask again.  JOURNAL_TORN: the same, but the
 * last write is not whole; *ret_error says where.  JOURNAL_DAMAGED, also for what cannot be read:
 * *ret_error says what and where; every further call says the same.
 */
__attribute__((warn_unused_result)) enum journal_read journal_read(
	struct journal_reader *reader, struct journal_record *ret_record,
	struct journal_error *ret_error);
const struct journal_identity *journal_reader_identity(const struct journal_reader *reader);

#endif
