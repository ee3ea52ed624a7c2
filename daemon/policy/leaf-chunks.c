/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "leaf-chunks.h"

#include "daemon/allocate.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#define CHUNK_SIZE ((size_t)LEAF_SIZE * LEAF_CHUNK_LEAVES)
/* Leaves, of which so many more are expected. */
#define WORTH_A_CHUNK (LEAF_CHUNK_LEAVES - LEAF_CHUNK_LEAVES / 8)

_Static_assert(CHUNK_SIZE == LARGE_PAGE_SIZE, "a chunk is a large page");

/* A leaf that was given back. */
struct free_leaf {
	struct free_leaf *next;
};

struct chunk {
	uint8_t *base;
	uint32_t n_taken;
	uint32_t n_used; /* leaves from the first on that were ever taken */
	struct free_leaf *free;
};

struct leaf_chunks {
	struct chunk *chunk; /* in the order of their addresses */
	size_t n;
	size_t capacity;
	size_t last; /* where a leaf was taken last */
	size_t n_empty;
	size_t n_taken;
	size_t n_expected;
};

struct leaf_chunks *leaf_chunks_new(size_t n_expected)
{
	struct leaf_chunks *chunks = allocate_one(struct leaf_chunks);

	chunks->n_expected = n_expected;
	return chunks;
}

void leaf_chunks_free(struct leaf_chunks *chunks)
{
	if (!chunks)
		return;
	for (size_t i = 0; i < chunks->n; i++)
		free_large_page(chunks->chunk[i].base);
	free(chunks->chunk);
	free(chunks);
}

/* The place of the first chunk that ends behind an address. */
static size_t find(const struct leaf_chunks *chunks, const uint8_t *address)
{
	size_t low = 0, high = chunks->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (chunks->chunk[middle].base + CHUNK_SIZE <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool has_room(const struct leaf_chunks *chunks, size_t place)
{
	return place < chunks->n &&
	       (chunks->chunk[place].free || chunks->chunk[place].n_used < LEAF_CHUNK_LEAVES);
}

static size_t add_chunk(struct leaf_chunks *chunks)
{
	struct chunk chunk = { .base = allocate_large_page() };
	size_t place = find(chunks, chunk.base);

	allocate_room(chunks->chunk, chunks->n, chunks->capacity);
	memmove(chunks->chunk + place + 1, chunks->chunk + place,
		(chunks->n - place) * sizeof(chunk));
	chunks->chunk[place] = chunk;
	chunks->n++;
	chunks->n_empty++;
	return place;
}

static void remove_chunk(struct leaf_chunks *chunks, size_t place)
{
	free_large_page(chunks->chunk[place].base);
	chunks->n--;
	chunks->n_empty--;
	memmove(chunks->chunk + place, chunks->chunk + place + 1,
		(chunks->n - place) * sizeof(*chunks->chunk));
}

void *leaf_chunks_take(struct leaf_chunks *chunks)
{
	size_t place = chunks->last;
	struct chunk *chunk;
	void *leaf;

	if (!has_room(chunks, place))
		for (place = 0; place < chunks->n && !has_room(chunks, place);)
			place++;
	if (place == chunks->n) {
		if (chunks->n_taken + WORTH_A_CHUNK > chunks->n_expected)
			return NULL;
		place = add_chunk(chunks);
	}
	chunks->last = place;
	chunk = &chunks->chunk[place];
	leaf = chunk->free;
	if (leaf)
		chunk->free = chunk->free->next;
	else
		leaf = chunk->base + (size_t)chunk->n_used++ * LEAF_SIZE;
	if (!chunk->n_taken++)
		chunks->n_empty--;
	chunks->n_taken++;
	return leaf;
}

/* An empty chunk stays, so that a leaf that comes and goes does not take a chunk with it. */
bool leaf_chunks_give_back(struct leaf_chunks *chunks, void *leaf)
{
	size_t place = find(chunks, leaf);
	struct chunk *chunk = &chunks->chunk[place];
	struct free_leaf *free_leaf = leaf;

	if (place == chunks->n || (uint8_t *)leaf < chunk->base)
		return false;
	assert(chunk->n_taken);
	free_leaf->next = chunk->free;
	chunk->free = free_leaf;
	chunks->n_taken--;
	if (!--chunk->n_taken && ++chunks->n_empty > 1)
		remove_chunk(chunks, place);
	return true;
}

size_t leaf_chunks_n_taken(const struct leaf_chunks *chunks)
{
	return chunks->n_taken;
}

size_t leaf_chunks_memory(const struct leaf_chunks *chunks)
{
	return chunks->n * CHUNK_SIZE;
}
