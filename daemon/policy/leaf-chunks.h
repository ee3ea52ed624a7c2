/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory for the leaves of an attribute map of which it is known that they will be many.
 *
 * A chunk is a large page of the machine, which comes with one page fault instead of hundreds: that
 * is most of what it costs to make a large map.  A chunk is taken only where leaves to fill it are
 * still expected, so that no map holds much more than it needs.
 *
 * Knows memory; not what is in a leaf.  Allocation failure ends the process (allocate.h).
 */
#ifndef KVMATTRD_LEAF_CHUNKS_H
#define KVMATTRD_LEAF_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>

#define LEAF_SIZE         512u
#define LEAF_CHUNK_LEAVES 4096u

struct leaf_chunks;

/* n_expected: leaves that will be taken, about. */
struct leaf_chunks *leaf_chunks_new(size_t n_expected);
/* With all that was taken.  NULL is fine. */
void leaf_chunks_free(struct leaf_chunks *chunks);

/* LEAF_SIZE bytes, of which nothing is known; NULL where no more than a few are expected. */
void *leaf_chunks_take(struct leaf_chunks *chunks);
/* Returns false if the leaf is not from here. */
bool leaf_chunks_give_back(struct leaf_chunks *chunks, void *leaf);

/* Leaves that were taken and not given back. */
size_t leaf_chunks_n_taken(const struct leaf_chunks *chunks);
/* Bytes of memory that the chunks hold. */
size_t leaf_chunks_memory(const struct leaf_chunks *chunks);

#endif
