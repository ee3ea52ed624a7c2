/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing a journal: segments are begun, records gathered and written, put on the disk, and let go of.
 * How one goes on with a journal that is there is in writer-reopen.c.
 *
 * What is gathered lies in one buffer, as it will in the file, and goes there in one call.
 */
#include "writer-private.h"

#include "daemon/allocate.h"
#include "directory.h"
#include "io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A buffer that one long write needed is not kept for the short ones. */
#define KEPT_CAPACITY ((size_t)1 << 20)

/* ---- Segments ------------------------------------------------------------------------------ */

/* Makes a segment that has its name only when it is whole; flags: renameat2()'s. */
static int make_segment(struct journal *journal, uint64_t first_number, unsigned int flags)
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
	r = journal_io_write(fd, &header, sizeof(header), 0);
	if (r == 0 && journal_io.renameat2(journal->directory_fd, new_name, journal->directory_fd,
					   name, flags) < 0)
		r = -errno;
	if (r < 0) {
		close(fd);
		journal_io.unlinkat(journal->directory_fd, new_name, 0);
		return r;
	}
	return fd;
}

void journal_add_segment(struct journal *journal, uint64_t first_number, uint64_t size)
{
	allocate_room(journal->segments, journal->n_segments, journal->segments_capacity);
	journal->segments[journal->n_segments++] =
		(struct journal_segment){ .first_number = first_number, .size = size };
}

static struct journal_segment *last_segment(const struct journal *journal)
{
	return &journal->segments[journal->n_segments - 1];
}

static bool is_last_segment_empty(const struct journal *journal)
{
	return journal->n_segments && last_segment(journal)->first_number == journal->next_number;
}

/* One that has no record yet is made again: what the disk has of it is not known. */
static int begin_segment(struct journal *journal)
{
	bool is_again = is_last_segment_empty(journal);
	int old_fd,
		fd = make_segment(journal, journal->next_number, is_again ? 0 : RENAME_NOREPLACE);

	if (fd < 0)
		return fd;
	if (!is_again)
		journal_add_segment(journal, journal->next_number,
				    sizeof(struct journal_segment_header));
	pthread_mutex_lock(&journal->lock);
	old_fd = journal->fd;
	if (old_fd >= 0 && journal->options.is_synced && !journal->failure) {
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

struct journal *journal_new(struct journal_options options)
{
	struct journal *journal = allocate_one(struct journal);

	journal->directory_fd = journal->fd = -1;
	journal->options = options;
	journal->next_number = 1;
	/* where it is not known what the disk has */
	journal->directory_changed = journal->parent_changed = true;
	pthread_mutex_init(&journal->sync_lock, NULL);
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
	pthread_mutex_destroy(&journal->sync_lock);
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
	journal = journal_new(options);
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

const struct journal_identity *journal_identity(const struct journal *journal)
{
	return &journal->identity;
}

/* ---- Records ------------------------------------------------------------------------------- */

static void make_room(struct journal *journal, size_t size)
{
	size_t capacity = journal->gathered_capacity ? journal->gathered_capacity : 4096;

	while (capacity - journal->gathered_size < size)
		capacity *= 2;
	if (capacity == journal->gathered_capacity)
		return;
	journal->gathered = allocate_again(journal->gathered, capacity, 1);
	journal->gathered_capacity = capacity;
}

/* Makes the header of the record gathered last, now that it is known whether more follow. */
static void finish_record(struct journal *journal, uint16_t flags)
{
	uint8_t *record = journal->gathered + journal->last_gathered;
	struct journal_record_header header;

	memcpy(&header, record, sizeof(header));
	header = journal_record_header_make(&journal->identity, header.number, header.time_us,
					    header.type, flags, record + sizeof(header),
					    header.size);
	memcpy(record, &header, sizeof(header));
}

uint64_t journal_append(struct journal *journal, uint16_t type, uint64_t time_us,
			const struct iovec *parts, size_t n_parts)
{
	struct journal_record_header header = {
		.number = journal->next_number + journal->n_gathered,
		.time_us = time_us,
		.type = type,
	};
	size_t size = 0, padded;
	uint8_t *record;

	for (size_t i = 0; i < n_parts; i++) {
		assert(parts[i].iov_len <= JOURNAL_MAX_PAYLOAD - size);
		size += parts[i].iov_len;
	}
	if (journal->n_gathered)
		finish_record(journal, JOURNAL_RECORD_MORE);
	padded = journal_record_size(size);
	make_room(journal, padded);
	record = journal->gathered + journal->gathered_size;
	journal->last_gathered = journal->gathered_size;
	journal->gathered_size += padded;
	journal->n_gathered++;
	header.size = (uint32_t)size;
	memcpy(record, &header, sizeof(header));
	memset(record + sizeof(header) + size, 0, padded - sizeof(header) - size);
	record += sizeof(header);
	for (size_t i = 0; i < n_parts; i++)
		if (parts[i].iov_len)
			record = mempcpy(record, parts[i].iov_base, parts[i].iov_len);
	return header.number;
}

static int cut_remains(struct journal *journal)
{
	if (!journal->has_remains)
		return 0;
	if (journal_io.ftruncate(journal->fd, (off_t)last_segment(journal)->size) < 0)
		return -errno;
	journal->has_remains = false;
	return 0;
}

static int write_gathered(struct journal *journal)
{
	struct journal_segment *segment = last_segment(journal);
	int r = cut_remains(journal);

	if (r == 0 && segment->size >= journal->options.segment_size &&
	    !is_last_segment_empty(journal))
		r = begin_segment(journal);
	if (r < 0)
		return r;
	segment = last_segment(journal);
	finish_record(journal, 0);
	r = journal_io_write(journal->fd, journal->gathered, journal->gathered_size, segment->size);
	if (r < 0) {
		/* if they cannot be cut off now, then before the next write: they do not count */
		journal->has_remains = true;
		(void)cut_remains(journal);
		return r;
	}
	segment->size += journal->gathered_size;
	journal->next_number += journal->n_gathered;
	return 0;
}

static int failure(const struct journal *journal)
{
	struct journal *shared = (struct journal *)journal; /* only its lock changes */
	int error;

	pthread_mutex_lock(&shared->lock);
	error = shared->failure;
	pthread_mutex_unlock(&shared->lock);
	return error;
}

int journal_write(struct journal *journal)
{
	int r = 0;

	if (journal->n_gathered) {
		r = -failure(journal);
		if (r == 0)
			r = write_gathered(journal);
	}
	journal->n_gathered = 0;
	journal->gathered_size = journal->last_gathered = 0;
	if (journal->gathered_capacity > KEPT_CAPACITY) {
		free(journal->gathered);
		journal->gathered = NULL;
		journal->gathered_capacity = 0;
	}
	return r;
}

/* ---- The disk ------------------------------------------------------------------------------ */

static int sync_parent(struct journal *journal)
{
	int fd = journal_io.openat(journal->directory_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC,
				   0);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (journal_io.fsync(fd) < 0)
		r = -errno;
	close(fd);
	return r;
}

static int sync_all(struct journal *journal)
{
	bool directory_changed, parent_changed;
	size_t n_full_fds;
	int *full_fds, fd, r;

	pthread_mutex_lock(&journal->lock);
	r = -journal->failure;
	/* the last segment may become a full one meanwhile: nobody closes it but the next sync */
	fd = journal->fd;
	full_fds = journal->full_fds;
	n_full_fds = journal->n_full_fds;
	journal->full_fds = NULL;
	journal->n_full_fds = journal->full_fds_capacity = 0;
	directory_changed = journal->directory_changed;
	parent_changed = journal->parent_changed;
	journal->directory_changed = journal->parent_changed = false;
	pthread_mutex_unlock(&journal->lock);

	for (size_t i = 0; i < n_full_fds; i++) {
		if (r == 0 && journal_io.fdatasync(full_fds[i]) < 0)
			r = -errno;
		close(full_fds[i]);
	}
	free(full_fds);
	if (r == 0 && journal_io.fdatasync(fd) < 0)
		r = -errno;
	if (r == 0 && directory_changed && journal_io.fsync(journal->directory_fd) < 0)
		r = -errno;
	if (r == 0 && parent_changed)
		r = sync_parent(journal);
	if (r < 0) {
		pthread_mutex_lock(&journal->lock);
		journal->failure = -r;
		pthread_mutex_unlock(&journal->lock);
	}
	return r;
}

int journal_sync(struct journal *journal)
{
	int r;

	assert(journal->options.is_synced);
	pthread_mutex_lock(&journal->sync_lock);
	r = sync_all(journal);
	pthread_mutex_unlock(&journal->sync_lock);
	return r;
}

/* What a sync failed for is not synced any more, but for the directories. */
static void forget_failure(struct journal *journal)
{
	pthread_mutex_lock(&journal->lock);
	if (journal->failure) {
		while (journal->n_full_fds)
			close(journal->full_fds[--journal->n_full_fds]);
		journal->directory_changed = journal->parent_changed = true;
	}
	journal->failure = 0;
	pthread_mutex_unlock(&journal->lock);
}

int journal_renew(struct journal *journal)
{
	int r;

	if (is_last_segment_empty(journal) && !failure(journal) && !journal->has_remains)
		return 0;
	/* if they stay, whoever reads what is before the new segment stops at them */
	(void)cut_remains(journal);
	r = begin_segment(journal);
	if (r < 0)
		return r;
	journal->has_remains = false;
	forget_failure(journal);
	return 0;
}

/* ---- Looking after it ---------------------------------------------------------------------- */

struct journal_status journal_status(const struct journal *journal)
{
	struct journal_status status = {
		.first_number = journal->segments[0].first_number,
		.next_number = journal->next_number,
		.n_segments = journal->n_segments,
		.is_failed = failure(journal) != 0,
	};

	for (size_t i = 0; i < journal->n_segments; i++)
		status.n_bytes += journal->segments[i].size;
	return status;
}

size_t journal_memory(const struct journal *journal)
{
	return journal->gathered_capacity + journal->segments_capacity * sizeof(*journal->segments);
}

uint64_t journal_bytes_behind(const struct journal *journal, uint64_t number)
{
	uint64_t n_bytes = 0;

	for (size_t i = journal->n_segments; i > 0; i--) {
		n_bytes += journal->segments[i - 1].size;
		if (journal->segments[i - 1].first_number <= number + 1)
			break;
	}
	return n_bytes;
}

int journal_retire(struct journal *journal, uint64_t number)
{
	char name[JOURNAL_SEGMENT_NAME_LEN + 1];
	size_t n = 0;
	int r = 0;

	/* the oldest first: whatever happens, what is left is without a gap */
	while (n + 1 < journal->n_segments && journal->segments[n + 1].first_number <= number) {
		journal_segment_name(journal->segments[n].first_number, name);
		if (journal_io.unlinkat(journal->directory_fd, name, 0) < 0 && errno != ENOENT) {
			r = -errno;
			break;
		}
		n++;
	}
	if (!n)
		return r;
	journal->n_segments -= n;
	memmove(journal->segments, journal->segments + n,
		journal->n_segments * sizeof(*journal->segments));
	pthread_mutex_lock(&journal->lock);
	journal->directory_changed = true;
	pthread_mutex_unlock(&journal->lock);
	return r;
}
