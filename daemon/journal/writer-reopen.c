/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Going on with a journal that is there: where it ends is found out by reading, what is behind its
 * last whole write is cut off, and what a dead daemon left off the disk is to be synced.
 */
#include "writer-private.h"

#include "daemon/allocate.h"
#include "directory.h"
#include "io.h"
#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Finds out where the last segment ends, by reading it. */
static int find_end(int parent_fd, const char *name, uint64_t last, struct journal *journal,
		    struct journal_place *ret, struct journal_error *ret_error)
{
	struct journal_reader *reader;
	struct journal_record record;
	enum journal_read found;
	int r = journal_reader_open(parent_fd, name, (struct journal_position){ last }, &reader,
				    ret_error);

	if (r < 0)
		return r;
	do
		found = journal_read(reader, &record, ret_error);
	while (found == JOURNAL_RECORD);
	journal->identity = *journal_reader_identity(reader);
	*ret = journal_reader_place(reader);
	journal_reader_free(reader);
	return found == JOURNAL_DAMAGED ? -ret_error->error : 0;
}

/*
 * Takes over the segments before the last; what a dead daemon wrote there may not be on the disk.
 */
static int take_full_segments(struct journal *journal, const uint64_t *numbers, uint64_t last,
			      struct journal_error *ret_error)
{
	for (size_t i = 0; numbers[i] < last; i++) {
		uint64_t size;
		int fd, r = journal_segment_open(journal->directory_fd, numbers[i], O_RDONLY, &fd,
						 &size, ret_error);

		if (r < 0)
			return r;
		journal_add_segment(journal, numbers[i], size);
		if (!journal->options.is_synced) {
			close(fd);
			continue;
		}
		allocate_room(journal->full_fds, journal->n_full_fds, journal->full_fds_capacity);
		journal->full_fds[journal->n_full_fds++] = fd;
	}
	return 0;
}

/* Removes a segment that has no record. */
static int remove_empty(struct journal *journal, uint64_t segment, uint64_t *n_cut,
			struct journal_error *ret_error)
{
	char name[JOURNAL_SEGMENT_NAME_LEN + 1];
	uint64_t size;
	int fd, r = journal_segment_open(journal->directory_fd, segment, O_RDONLY, &fd, &size,
					 ret_error);

	if (r < 0)
		return r;
	close(fd);
	journal_segment_name(segment, name);
	if (journal_io.unlinkat(journal->directory_fd, name, 0) < 0)
		return journal_error_set(ret_error, errno, name, 0,
					 "cannot remove this segment, which has no record: %s",
					 strerror(errno));
	*n_cut += size;
	return 0;
}

/* Removes what is behind the last whole write; segments: all there are, n of them. */
static int cut(struct journal *journal, const struct journal_place *end, const uint64_t *segments,
	       size_t n, uint64_t *ret_n_cut, struct journal_error *ret_error)
{
	char name[JOURNAL_SEGMENT_NAME_LEN + 1];
	int r = 0;

	*ret_n_cut = end->size - end->offset;
	journal_segment_name(end->segment, name);
	if (*ret_n_cut && journal_io.ftruncate(journal->fd, (off_t)end->offset) < 0)
		return journal_error_set(ret_error, errno, name, end->offset,
					 "cannot cut off what is not whole: %s", strerror(errno));
	/* the last first: whatever happens, they stay the last */
	for (size_t i = n; r == 0 && i > 0 && segments[i - 1] > end->segment; i--)
		r = remove_empty(journal, segments[i - 1], ret_n_cut, ret_error);
	return r;
}

static int reopen(struct journal *journal, int parent_fd, const char *name, const uint64_t *numbers,
		  size_t n, uint64_t *ret_n_cut, struct journal_error *ret_error)
{
	struct journal_place end;
	uint64_t size;
	int r;

	if (!n)
		return journal_error_set(ret_error, ENODATA, "", 0,
					 "nothing was recorded here: the directory can be removed");
	r = find_end(parent_fd, name, numbers[n - 1], journal, &end, ret_error);
	if (r == 0)
		r = take_full_segments(journal, numbers, end.segment, ret_error);
	if (r == 0)
		r = journal_segment_open(journal->directory_fd, end.segment, O_RDWR, &journal->fd,
					 &size, ret_error);
	if (r == 0)
		r = cut(journal, &end, numbers, n, ret_n_cut, ret_error);
	if (r == 0)
		r = journal_directory_remove_unfinished(journal->directory_fd, ret_error);
	if (r < 0)
		return r;
	journal_add_segment(journal, end.segment, end.offset);
	journal->next_number = end.number;
	return 0;
}

int journal_reopen(int parent_fd, const char *name, struct journal_options options,
		   struct journal **ret, uint64_t *ret_n_cut, struct journal_error *ret_error)
{
	struct journal *journal = journal_new(options);
	uint64_t *numbers = NULL, n_cut = 0;
	size_t n;
	int r;

	r = journal_directory_open(parent_fd, name, &journal->directory_fd, ret_error);
	if (r == 0)
		r = journal_directory_list(journal->directory_fd, &numbers, &n, ret_error);
	if (r == 0)
		r = reopen(journal, parent_fd, name, numbers, n, &n_cut, ret_error);
	free(numbers);
	if (r < 0) {
		journal_free(journal);
		return r;
	}
	*ret = journal;
	*ret_n_cut = n_cut;
	return 0;
}
