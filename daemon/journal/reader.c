/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading a journal, from files that anyone may have tampered with, beside a daemon that may be
 * writing them.
 *
 * Bytes are read into a window of the segment, never mapped: a file that is cut while it is being
 * read must not kill the reader.  A segment that another one follows is complete; only in the last
 * one may a write be under way or torn.  So whoever comes to what looks like the end first looks
 * for a segment that follows, then at the file once more.
 */
#include "reader.h"

#include "daemon/allocate.h"
#include "directory.h"
#include "io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define WINDOW_SIZE ((size_t)256 << 10)
/* How often a record that does not add up is read again, while a writer may be changing it. */
#define N_LOOKS 3
#define GIVE_UP "; what follows cannot be trusted: keep the files, and register the VM anew"

struct journal_reader {
	int directory_fd;
	struct journal_identity identity;

	/* The segment, by its first number; fd is -1 before the first. */
	int fd;
	uint64_t segment;
	char file[JOURNAL_SEGMENT_NAME_LEN + 1];
	uint64_t size;      /* of the file, when last looked at */
	uint64_t following; /* the segment after it; 0: none was seen yet */

	uint64_t number;     /* of the next record */
	uint64_t offset;     /* where it has to be */
	uint64_t look_until; /* up to here, records are of writes that are whole */

	uint8_t *window;
	size_t window_capacity;
	size_t window_size;
	uint64_t window_offset;

	bool is_damaged;
	struct journal_error error;
};

/* ---- Bytes --------------------------------------------------------------------------------- */

static void drop_window(struct journal_reader *reader)
{
	reader->window_size = 0;
}

/* Reads up to want bytes at offset into the window.  0 or a negative errno. */
static int load_window(struct journal_reader *reader, uint64_t offset, size_t want)
{
	ssize_t n;

	drop_window(reader);
	if (reader->window_capacity < want) {
		free(reader->window);
		reader->window = allocate(want);
		reader->window_capacity = want;
	}
	reader->window_offset = offset;
	n = journal_io_read(reader->fd, reader->window, want, offset);
	if (n < 0)
		return (int)n;
	reader->window_size = (size_t)n;
	return 0;
}

/*
 * size bytes at offset, both within the file when last looked at.  Returns 0; 1 if the file has
 * become shorter; a negative errno with the reader's error.
 */
static int fetch(struct journal_reader *reader, uint64_t offset, size_t size,
		 const uint8_t **ret_bytes)
{
	uint64_t left = reader->size - offset;
	size_t want = size > WINDOW_SIZE ? size : WINDOW_SIZE;
	int r;

	assert(offset <= reader->size && size <= left);
	if (offset < reader->window_offset ||
	    offset + size > reader->window_offset + reader->window_size) {
		r = load_window(reader, offset, want < left ? want : (size_t)left);
		if (r < 0)
			return journal_error_set(&reader->error, -r, reader->file, offset,
						 "cannot read it: %s; read the journal again when "
						 "the disk is well",
						 strerror(-r));
		if (reader->window_size < size)
			return 1;
	}
	*ret_bytes = reader->window + (offset - reader->window_offset);
	return 0;
}

/* ---- Segments ------------------------------------------------------------------------------ */

/* The first of the segments behind that one; 0 if there is none. */
static int find_following(struct journal_reader *reader, uint64_t segment, uint64_t *ret,
			  struct journal_error *ret_error)
{
	uint64_t *numbers;
	size_t n;
	int r = journal_directory_list(reader->directory_fd, &numbers, &n, ret_error);

	if (r < 0)
		return r;
	*ret = 0;
	for (size_t i = 0; i < n && !*ret; i++)
		if (numbers[i] > segment)
			*ret = numbers[i];
	free(numbers);
	return 0;
}

/*
 * Has this segment no record, and none of those behind it?  A loss of power may leave names of
 * which the disk has no more than that.
 */
static bool are_empty(struct journal_reader *reader, uint64_t segment)
{
	struct journal_error error;
	uint64_t size;
	int fd;

	while (segment) {
		if (journal_segment_open(reader->directory_fd, segment, O_RDONLY, &fd, &size,
					 &error) < 0)
			return false;
		close(fd);
		if (size > sizeof(struct journal_segment_header) ||
		    find_following(reader, segment, &segment, &error) < 0)
			return false;
	}
	return true;
}

static int check_segment_header(struct journal_reader *reader, uint64_t segment, const char *file,
				const uint8_t *bytes, struct journal_segment_header *ret,
				struct journal_error *ret_error)
{
	const char *text;
	int r = journal_segment_header_get(bytes, ret, &text);

	if (r == -EPROTO)
		return journal_error_set(ret_error, EPROTO, file, 0,
					 "%s; use the version that wrote it, or a later one", text);
	if (r < 0)
		return journal_error_set(ret_error, -r, file, 0, "%s" GIVE_UP, text);
	if (ret->first_number != segment)
		return journal_error_set(ret_error, EBADMSG, file, 0,
					 "it begins with record %" PRIu64 ", as its name does not "
					 "say: give it its own name back",
					 ret->first_number);
	if (reader->fd >= 0 &&
	    memcmp(&ret->identity, &reader->identity, sizeof(reader->identity)) != 0)
		return journal_error_set(ret_error, EBADMSG, file, 0,
					 "it belongs to another journal: put it back where it "
					 "came from");
	return 0;
}

/*
 * Goes on to a segment.  Returns 0, or a negative errno with *ret_error: -ENOENT if it is not
 * there.  Returns 1 with *ret_error if it ends within its header and those that follow have no record.
 */
static int enter(struct journal_reader *reader, uint64_t segment, struct journal_error *ret_error)
{
	uint8_t bytes[sizeof(struct journal_segment_header)];
	struct journal_segment_header header;
	char file[JOURNAL_SEGMENT_NAME_LEN + 1];
	uint64_t following, size;
	bool is_end;
	ssize_t n;
	int fd, r;

	journal_segment_name(segment, file);
	/* In this order: a segment that another follows does not grow any more. */
	r = find_following(reader, segment, &following, ret_error);
	if (r < 0)
		return r;
	r = journal_segment_open(reader->directory_fd, segment, O_RDONLY, &fd, &size, ret_error);
	if (r < 0)
		return r;
	n = journal_io_read(fd, bytes, sizeof(bytes), 0);
	is_end = n >= 0 && (size_t)n < sizeof(bytes) && are_empty(reader, following);
	if (n < 0)
		r = journal_error_set(ret_error, (int)-n, file, 0, "cannot read it: %s",
				      strerror((int)-n));
	else if ((size_t)n == sizeof(bytes))
		r = check_segment_header(reader, segment, file, bytes, &header, ret_error);
	else
		r = journal_error_set(ret_error, EBADMSG, file, 0, "it ends within its header%s",
				      is_end ? ": it was never finished" : GIVE_UP);
	if (r < 0) {
		close(fd);
		return is_end ? 1 : r;
	}
	if (reader->fd >= 0)
		close(reader->fd);
	reader->fd = fd;
	reader->segment = segment;
	memcpy(reader->file, file, sizeof(file));
	reader->identity = header.identity;
	reader->size = size < sizeof(header) ? sizeof(header) : size; /* it may have grown */
	reader->following = following;
	reader->number = segment;
	reader->offset = reader->look_until = sizeof(header);
	drop_window(reader);
	return 0;
}

/* ---- Records ------------------------------------------------------------------------------- */

static enum journal_read damaged(struct journal_reader *reader, uint64_t offset, const char *text)
{
	journal_error_set(&reader->error, EBADMSG, reader->file, offset, "record %" PRIu64 ": %s%s",
			  reader->number, text, GIVE_UP);
	return JOURNAL_DAMAGED;
}

static enum journal_read torn(struct journal_reader *reader)
{
	journal_error_set(&reader->error, EBADMSG, reader->file, reader->offset,
			  "the last write, of record %" PRIu64 " on, is not whole: %" PRIu64
			  " bytes are there; they are cut off when the daemon goes on with it",
			  reader->number, reader->size - reader->offset);
	return JOURNAL_TORN;
}

static enum journal_read fetched(struct journal_reader *reader, int r)
{
	return r == 0 ? JOURNAL_RECORD : r > 0 ? torn(reader) : JOURNAL_DAMAGED;
}

/*
 * Is the write that begins here all there?  Where a header does not add up, the records before it
 * are, and whoever reads on will come to it.
 */
static enum journal_read look_ahead(struct journal_reader *reader)
{
	struct journal_record_header header;
	uint64_t offset = reader->offset, number = reader->number;
	enum journal_read found;
	const uint8_t *bytes;

	do {
		if (reader->size - offset < sizeof(header))
			return torn(reader);
		found = fetched(reader, fetch(reader, offset, sizeof(header), &bytes));
		if (found != JOURNAL_RECORD)
			return found;
		if (journal_record_header_get(&reader->identity, bytes, &header) ||
		    header.number != number) {
			reader->look_until = offset + sizeof(header);
			return JOURNAL_RECORD;
		}
		if (reader->size - offset < journal_record_size(header.size))
			return torn(reader);
		offset += journal_record_size(header.size);
		number++;
	} while (header.flags & JOURNAL_RECORD_MORE);
	reader->look_until = offset;
	return JOURNAL_RECORD;
}

static enum journal_read get_record(struct journal_reader *reader, struct journal_record *ret)
{
	struct journal_record_header header;
	enum journal_read found;
	const uint8_t *bytes;
	const char *text;
	size_t size;

	found = fetched(reader, fetch(reader, reader->offset, sizeof(header), &bytes));
	if (found != JOURNAL_RECORD)
		return found;
	text = journal_record_header_get(&reader->identity, bytes, &header);
	if (text)
		return damaged(reader, reader->offset, text);
	if (header.number != reader->number)
		return damaged(reader, reader->offset, "another record is in its place");
	size = journal_record_size(header.size);
	if (reader->size - reader->offset < size)
		return torn(reader);
	found = fetched(reader, fetch(reader, reader->offset, size, &bytes));
	if (found != JOURNAL_RECORD)
		return found;
	text = journal_payload_check(&reader->identity, &header, bytes + sizeof(header));
	if (text)
		return damaged(reader, reader->offset, text);
	*ret = (struct journal_record){
		.header = header,
		.payload = bytes + sizeof(header),
		.offset = reader->offset,
	};
	memcpy(ret->file, reader->file, sizeof(ret->file));
	reader->offset += size;
	reader->number++;
	return JOURNAL_RECORD;
}

/* The next record of this segment, as far as it was there when last looked at. */
static enum journal_read look(struct journal_reader *reader, struct journal_record *ret)
{
	enum journal_read found;

	if (reader->offset > reader->size)
		return damaged(reader, reader->size, "the file has lost what was read before");
	if (reader->offset == reader->size)
		return JOURNAL_END;
	if (reader->offset >= reader->look_until) {
		found = look_ahead(reader);
		if (found != JOURNAL_RECORD)
			return found;
	}
	return get_record(reader, ret);
}

/* Looks whether there is more now.  1: there is; 0: no; negative: the reader has an error. */
static int look_again(struct journal_reader *reader)
{
	struct journal_error error;
	uint64_t following;
	struct stat status;
	int r = find_following(reader, reader->segment, &following, &error);

	if (r == 0 && journal_io.fstat(reader->fd, &status) < 0)
		r = journal_error_set(&error, errno, reader->file, reader->offset,
				      "cannot look at it: %s", strerror(errno));
	if (r < 0) {
		reader->error = error;
		return r;
	}
	drop_window(reader);
	reader->look_until = reader->offset;
	if (following == reader->following && (uint64_t)status.st_size == reader->size)
		return 0;
	reader->following = following;
	reader->size = (uint64_t)status.st_size;
	return 1;
}

/* Has the segment been retired, by a writer that is ahead of us? */
static bool is_retired(struct journal_reader *reader)
{
	struct stat status;

	return journal_io.fstat(reader->fd, &status) == 0 && status.st_nlink == 0;
}

/* Behind the last record of a segment that another follows.  RECORD: it is entered. */
static enum journal_read go_on(struct journal_reader *reader)
{
	int r = 0;

	if (reader->following == reader->number) {
		r = enter(reader, reader->following, &reader->error);
		if (r >= 0)
			return r ? JOURNAL_TORN : JOURNAL_RECORD;
	}
	if ((r == 0 || r == -ENOENT) && is_retired(reader)) {
		journal_error_set(&reader->error, ESTALE, reader->file, reader->offset,
				  "record %" PRIu64 " was retired while the journal was being "
				  "read: read it again from the start",
				  reader->number);
		return JOURNAL_DAMAGED;
	}
	if (r < 0)
		return JOURNAL_DAMAGED;
	/* then the end of this one, too, may not have reached the disk before its name did */
	if (reader->following > reader->number && are_empty(reader, reader->following))
		return torn(reader);
	return damaged(reader, reader->offset,
		       reader->following > reader->number
			       ? "it is missing: the next segment begins after it"
			       : "it is here, and in the next segment, too");
}

enum journal_read journal_read(struct journal_reader *reader, struct journal_record *ret_record,
			       struct journal_error *ret_error)
{
	enum journal_read found = JOURNAL_DAMAGED;
	int n_looks = 0, r;

	while (!reader->is_damaged) {
		found = look(reader, ret_record);
		if (found == JOURNAL_RECORD)
			return found;
		if (!reader->following) {
			r = look_again(reader);
			/* what does not add up may be a failed write that is being replaced */
			if (found == JOURNAL_DAMAGED ? r >= 0 && ++n_looks < N_LOOKS : r > 0)
				continue;
			if (r < 0)
				found = JOURNAL_DAMAGED;
		} else if (found == JOURNAL_END) {
			found = go_on(reader);
			if (found == JOURNAL_RECORD)
				continue;
		} else if (found == JOURNAL_TORN) {
			found = damaged(reader, reader->offset,
					"its segment ends before its write does");
		}
		reader->is_damaged = found == JOURNAL_DAMAGED;
		break;
	}
	if (found != JOURNAL_END)
		*ret_error = reader->error;
	return found;
}

/* ---- Opening ------------------------------------------------------------------------------- */

/* Enters the segment that a record is in, or the first one for 0.  As enter(). */
static int enter_at(struct journal_reader *reader, uint64_t number, struct journal_error *ret_error)
{
	uint64_t *numbers;
	size_t n, i = 0;
	int r = journal_directory_list(reader->directory_fd, &numbers, &n, ret_error);

	if (r < 0)
		return r;
	while (i + 1 < n && numbers[i + 1] <= number)
		i++;
	if (!n)
		r = journal_error_set(ret_error, ENODATA, "", 0,
				      "nothing was recorded here: the directory can be removed");
	else if (number && numbers[0] > number)
		r = journal_error_set(ret_error, ERANGE, "", 0,
				      "record %" PRIu64 " is gone: the first one here is %" PRIu64,
				      number, numbers[0]);
	else
		r = enter(reader, numbers[i], ret_error);
	/* the last segments were never finished: the one before them says so when it is read */
	while (r > 0 && i > 0)
		r = enter(reader, numbers[--i], ret_error);
	if (r > 0) {
		char file[JOURNAL_SEGMENT_NAME_LEN + 1];

		journal_segment_name(numbers[0], file);
		r = journal_error_set(ret_error, ENODATA, file, 0,
				      "nothing was recorded here: the directory can be removed");
	}
	free(numbers);
	return r;
}

/* Reads up to the record with that number. */
static int pass(struct journal_reader *reader, uint64_t number, struct journal_error *ret_error)
{
	struct journal_record record;

	while (reader->number < number) {
		switch (journal_read(reader, &record, ret_error)) {
		case JOURNAL_RECORD:
			break;
		case JOURNAL_DAMAGED:
			return -ret_error->error;
		case JOURNAL_END:
		case JOURNAL_TORN:
			return journal_error_set(ret_error, ERANGE, reader->file, reader->offset,
						 "there is no record %" PRIu64
						 " yet: the next one is %" PRIu64,
						 number, reader->number);
		}
	}
	return 0;
}

int journal_reader_open(int parent_fd, const char *name, struct journal_position position,
			struct journal_reader **ret, struct journal_error *ret_error)
{
	struct journal_reader *reader = allocate_one(struct journal_reader);
	int r;

	reader->fd = reader->directory_fd = -1;
	r = journal_directory_open(parent_fd, name, &reader->directory_fd, ret_error);
	if (r == 0) {
		int n_looks = 0;

		do /* a segment that is not there any more was retired just now */
			r = enter_at(reader, position.number, ret_error);
		while (r == -ENOENT && ++n_looks < N_LOOKS);
	}
	if (r == 0)
		r = pass(reader, position.number, ret_error);
	if (r < 0) {
		journal_reader_free(reader);
		return r;
	}
	*ret = reader;
	return 0;
}

void journal_reader_free(struct journal_reader *reader)
{
	if (!reader)
		return;
	if (reader->fd >= 0)
		close(reader->fd);
	if (reader->directory_fd >= 0)
		close(reader->directory_fd);
	free(reader->window);
	free(reader);
}

const struct journal_identity *journal_reader_identity(const struct journal_reader *reader)
{
	return &reader->identity;
}

struct journal_place journal_reader_place(const struct journal_reader *reader)
{
	return (struct journal_place){
		.segment = reader->segment,
		.number = reader->number,
		.offset = reader->offset,
		.size = reader->size,
	};
}
