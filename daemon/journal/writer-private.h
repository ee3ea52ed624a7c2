/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A journal's writer, for writer.c and writer-reopen.c alone.
 *
 * Only what journal_sync() needs is shared with another thread, under the lock: the descriptors of
 * segments that are full but not yet on the disk, and of the last one.
 */
#ifndef KVMATTRD_JOURNAL_WRITER_PRIVATE_H
#define KVMATTRD_JOURNAL_WRITER_PRIVATE_H

#include "journal.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct journal_segment {
	uint64_t first_number;
	uint64_t size; /* up to the end of its last whole write */
};

struct journal {
	int directory_fd;
	struct journal_identity identity;
	struct journal_options options;

	struct journal_segment *segments;
	size_t n_segments;
	size_t segments_capacity;
	uint64_t next_number; /* behind what was written */
	bool has_remains;     /* of a write that failed, behind the last segment's whole ones */

	uint8_t *gathered;
	size_t gathered_size;
	size_t gathered_capacity;
	size_t last_gathered; /* where the last record begins, whose header is not yet made */
	uint64_t n_gathered;

	pthread_mutex_t sync_lock; /* held during a sync */
	pthread_mutex_t lock;      /* for what follows */
	int fd;                    /* of the last segment; changed by the writer alone */
	int *full_fds;             /* of segments before it that may not be on the disk yet */
	size_t n_full_fds;
	size_t full_fds_capacity;
	bool directory_changed;
	bool parent_changed;
	int failure; /* the errno of a sync that failed; 0: none did */
};

/* With no segment so far. */
struct journal *journal_new(struct journal_options options);
/* It has one more, behind the others. */
void journal_add_segment(struct journal *journal, uint64_t first_number, uint64_t size);

#endif
