/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A journal: a VM's records in a directory of segments, written at the end, read from the start.
 *
 * Life of a writer: journal_create() makes the directory and the first segment; journal_append()
 * gathers records, journal_write() hands what was gathered to the kernel, all or nothing;
 * journal_sync() puts it on the disk.  When a segment is long enough, the next record opens
 * another one.  A write that fails leaves the journal as it was before it: the records gathered
 * are forgotten, the file is cut back to its last whole record, and writing may be tried again.
 * If cutting back fails, or a sync, that segment is done with for good: what is in it is not known.
 * journal_reopen() goes on with a journal that journal_read() found whole.
 *
 * The daemon's death leaves at most one record that is not whole, the last: the reader reports it
 * as torn, and journal_reopen() cuts it off.  Whatever else does not add up is damage: the reader
 * stops there, with the file, the offset, and what to do; nothing is ever overwritten.
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
	int error; /* errno; EBADMSG for damage, EPROTO for a newer format, EPERM for owner or mode */
	char file[64];   /* name in the journal's directory; "" for the directory */
	uint64_t offset; /* in that file */
	char text[256];  /* what happened and what to do */
};

/* Where a reader is: give it zeroed, for the journal's start. */
struct journal_position {
	uint64_t number; /* of the next record; 0: the first there is */
};

struct journal_record {
	struct journal_record_header header;
	const uint8_t *payload; /* valid until the next call on the reader */
	char file[JOURNAL_SEGMENT_NAME_LEN + 1];
	uint64_t offset;
};

/* ---- Writing ------------------------------------------------------------------------------- */

/*
 * Makes directory name in the directory parent_fd and an empty journal in it; -EEXIST if it is
 * there.  segment_size: bytes after which another segment is begun.  0 or a negative errno.
 */
__attribute__((warn_unused_result)) int journal_create(int parent_fd, const char *name,
						       const struct journal_identity *identity,
						       uint64_t segment_size, struct journal **ret);
/*
 * Goes on with a journal behind its last whole record; a torn one is cut off first, and
 * *ret_n_cut says how many bytes that were.  error is filled in on failure.
 */
__attribute__((warn_unused_result)) int journal_reopen(int parent_fd, const char *name,
						       uint64_t segment_size, struct journal **ret,
						       uint64_t *ret_n_cut,
						       struct journal_error *error);
/* Closes it; what was gathered and not written is lost.  NULL is fine. */
void journal_free(struct journal *journal);

const struct journal_identity *journal_identity(const struct journal *journal);

/* Gathers a record of these parts; returns its number. */
uint64_t journal_append(struct journal *journal, uint16_t type, uint64_t time_us,
			const struct iovec *parts, size_t n_parts);
/*
 * Hands what was gathered to the kernel: survives the daemon's death when it returns 0.  On failure
 * (negative errno: -ENOSPC, -EIO …) none of it is in the journal.
 */
__attribute__((warn_unused_result)) int journal_write(struct journal *journal);
/* Puts what was written on the disk.  Blocks; may be called from another thread than the rest. */
__attribute__((warn_unused_result)) int journal_sync(struct journal *journal);

struct journal_status {
	uint64_t first_number; /* of the records that are there */
	uint64_t next_number;
	uint64_t n_segments;
	uint64_t n_bytes;
	bool is_failed; /* nothing can be written any more */
};
struct journal_status journal_status(const struct journal *journal);
/* Removes whole segments from the start, as long as all their records are below number. */
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
 * The next record.  JOURNAL_TORN: like the end, but the last record is not whole; *ret_error says
 * where.  JOURNAL_DAMAGED: *ret_error says what and where; every further call says the same.
 */
__attribute__((warn_unused_result)) enum journal_read journal_read(
	struct journal_reader *reader, struct journal_record *ret_record,
	struct journal_error *ret_error);
const struct journal_identity *journal_reader_identity(const struct journal_reader *reader);

#endif
