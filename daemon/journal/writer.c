/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing a journal.
 *
 * What is gathered lies in one buffer, as it will in the file, and goes there in one call.  Only
 * what journal_sync() needs is shared with another thread, under the lock: the descriptors of
 * segments that are full but not yet on the disk, and of the last one.
 */
#include "daemon/allocate.h"
#include "directory.h"
#include "io.h"
#include "reader.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A buffer that one long write needed is not kept for the short ones. */
#define KEPT_CAPACITY ((size_t)1 << 20)

struct segment {
	uint64_t first_number;
	uint64_t size; /* up to the end of its last whole write */
};

struct journal {
	int directory_fd;
	struct journal_identity identity;
	struct journal_options options;

	struct segment *segments;
	size_t n_segments;
	size_t segments_capacity;
	uint64_t next_number; /* behind what was written */
	bool has_remains;     /* of a write that failed, behind the last segment's whole ones */

	uint8_t *gathered;
	size_t gathered_size;
	size_t gathered_capacity;
	size_t last_gathered; /* where the last record begins, whose header is not yet made */
	uint64_t n_gathered;

	pthread_mutex_t lock; /* for what follows */
	int fd;               /* of the last segment; changed by the writer alone */
	int *full_fds;        /* of segments before it that may not be on the disk yet */
	size_t n_full_fds;
	size_t full_fds_capacity;
	bool directory_changed;
	bool parent_changed;
	int failure; /* the errno of a sync that failed; 0: none did */
};

/* ---- Segments ------------------------------------------------------------------------------ */

static int write_all(int fd, const void *data, size_t size, uint64_t offset)
{
	const uint8_t *bytes = data;

	while (size > 0) {
		ssize_t n = journal_io.pwrite(fd, bytes, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		bytes += n;
		size -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

/* Makes a segment that has its name only when it is whole. */
static int make_segment(struct journal *journal, uint64_t first_number)
{
	const struct journal_segment_header header =
		journal_segment_header_make(&journal->identity, first_number);
	char name[JOURNAL_SEGMENT_NAME_LEN + 1], new_name[JOURNAL_NEW_NAME_LEN + 1];
	int fd, r;

	journal_segment_name(first_number, name);
	journal_new_name(first_number, new_name);
	/* it is there if an earlier attempt failed, and removing what it left did, too */
	if (journal_io.unlinkat(journal->directory_fd, new_name, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = journal_io.openat(journal->directory_fd, new_name,
			       O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, &header, sizeof(header), 0);
	if (r == 0 && journal_io.renameat2(journal->directory_fd, new_name, journal->directory_fd,
					   name, RENAME_NOREPLACE) < 0)
		r = -errno;
	if (r < 0) {
		close(fd);
		journal_io.unlinkat(journal->directory_fd, new_name, 0);
		return r;
	}
	return fd;
}

static void add_segment(struct journal *journal, uint64_t first_number, uint64_t size)
{
	allocate_room(journal->segments, journal->n_segments, journal->segments_capacity);
	journal->segments[journal->n_segments++] =
		(struct segment){ .first_number = first_number, .size = size };
}

static struct segment *last_segment(const struct journal *journal)
{
	return &journal->segments[journal->n_segments - 1];
}

static int begin_segment(struct journal *journal)
{
	int fd = make_segment(journal, journal->next_number), old_fd;

	if (fd < 0)
		return fd;
	add_segment(journal, journal->next_number, sizeof(struct journal_segment_header));
	pthread_mutex_lock(&journal->lock);
	old_fd = journal->fd;
	if (old_fd >= 0 && journal->options.is_synced) {
		allocate_room(journal->full_fds, journal->n_full_fds, journal->full_fds_capacity);
		journal->full_fds[journal->n_full_fds++] = old_fd;
		old_fd = -1;
	}
	journal->fd = fd;
	journal->directory_changed = true;
	pthread_mutex_unlock(&journal->lock);
	if (old_fd >= 0)
		close(old_fd);
	return 0;
}

/* ---- Opening and closing ------------------------------------------------------------------- */

static struct journal *new_journal(struct journal_options options)
{
	struct journal *journal = allocate_one(struct journal);

	journal->directory_fd = journal->fd = -1;
	journal->options = options;
	journal->next_number = 1;
	/* where it is not known what the disk has */
	journal->directory_changed = journal->parent_changed = true;
	pthread_mutex_init(&journal->lock, NULL);
	return journal;
}

void journal_free(struct journal *journal)
{
	if (!journal)
		return;
	for (size_t i = 0; i < journal->n_full_fds; i++)
		close(journal->full_fds[i]);
	if (journal->fd >= 0)
		close(journal->fd);
	if (journal->directory_fd >= 0)
		close(journal->directory_fd);
	pthread_mutex_destroy(&journal->lock);
	free(journal->full_fds);
	free(journal->segments);
	free(journal->gathered);
	free(journal);
}

int journal_create(int parent_fd, const char *name, const struct journal_identity *identity,
		   struct journal_options options, struct journal **ret)
{
	struct journal_error error;
	struct journal *journal;
	int r;

	if (journal_io.mkdirat(parent_fd, name, 0700) < 0)
		return -errno;
	journal = new_journal(options);
	journal->identity = *identity;
	r = journal_directory_open(parent_fd, name, &journal->directory_fd, &error);
	if (r == 0)
		r = begin_segment(journal);
	if (r < 0) {
		journal_free(journal);
		journal_io.unlinkat(parent_fd, name, AT_REMOVEDIR);
		return r;
	}
	*ret = journal;
	return 0;
}

/* Finds out where the last segment ends, by reading it. */
static int find_end(int parent_fd, const char *name, uint64_t last, struct journal *journal,
		    struct journal_place *ret, struct journal_error *ret_error)
{
	struct journal_reader *reader;
	struct journal_record record;
	enum journal_read found;
	int r = journal_reader_open(parent_fd, name, (struct journal_position){ last }, &reader,
				    ret_error);

	/* the last segment has no header, and its name does not follow the one before it */
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
