/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/outbox.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Kept for the next burst, when nothing is under way. */
#define MAX_SPARE 16

struct outbox_chunk {
	struct outbox_chunk *next;
	size_t used; /* by complete messages */
	uint8_t bytes[WIRE_MAX_MESSAGE];
};

static int add_chunk(struct outbox *outbox)
{
	struct outbox_chunk *chunk = outbox->spare;

	if (chunk) {
		outbox->spare = chunk->next;
		outbox->n_spare--;
	} else {
		chunk = malloc(sizeof(*chunk));
		if (!chunk)
			return -ENOMEM;
	}
	chunk->next = NULL;
	chunk->used = 0;
	if (outbox->last)
		outbox->last->next = chunk;
	outbox->last = chunk;
	outbox->n_chunks++;
	return 0;
}

static void put_away(struct outbox *outbox, struct outbox_chunk *chunk)
{
	outbox->n_chunks--;
	chunk->next = outbox->spare;
	outbox->spare = chunk;
	outbox->n_spare++;
}

int outbox_open(struct outbox *outbox)
{
	int r;

	*outbox = (struct outbox){ .filling_size = 0 };
	r = add_chunk(outbox);
	if (r)
		return r;
	outbox->oldest.chunk = outbox->next.chunk = outbox->last;
	return 0;
}

static void free_all(struct outbox_chunk *chunk)
{
	while (chunk) {
		struct outbox_chunk *next = chunk->next;

		free(chunk);
		chunk = next;
	}
}

void outbox_close(struct outbox *outbox)
{
	free_all(outbox->oldest.chunk);
	free_all(outbox->spare);
	*outbox = (struct outbox){ .filling_size = 0 };
}

/* Begins a message for an update of so many bytes. */
static int begin_message(struct outbox *outbox, size_t size)
{
	const size_t head_size = sizeof(struct wire_update_list);

	if (sizeof(outbox->last->bytes) - outbox->last->used < head_size + size) {
		int r = add_chunk(outbox);

		if (r)
			return r;
	}
	outbox->filling_size = head_size;
	outbox->filling_room = sizeof(outbox->last->bytes) - outbox->last->used - head_size;
	return 0;
}

int outbox_add(struct outbox *outbox, const struct wire_update *update, const void *elements,
	       size_t elements_size)
{
	size_t size = sizeof(*update) + elements_size;
	uint8_t *at;

	if (!outbox->n_filling) {
		int r = begin_message(outbox, size);

		if (r)
			return r;
	}
	assert(size <= outbox->filling_room);
	at = outbox->last->bytes + outbox->last->used + outbox->filling_size;
	memcpy(at, update, sizeof(*update));
	if (elements_size)
		memcpy(at + sizeof(*update), elements, elements_size);
	outbox->filling_size += size;
	outbox->filling_room -= size;
	outbox->n_filling++;
	return 0;
}

void outbox_seal(struct outbox *outbox)
{
	struct wire_update_list head = { .n_updates = outbox->n_filling };

	if (!outbox->n_filling)
		return;
	head.header = wire_header_make(WIRE_UPDATE, outbox->filling_size, outbox->sealed + 1);
	memcpy(outbox->last->bytes + outbox->last->used, &head, sizeof(head));
	outbox->last->used += outbox->filling_size;
	outbox->sealed += outbox->n_filling;
	outbox->n_filling = 0;
}

/*
 * Is there a complete message at a place?  Behind the last one of its chunk, the place moves to
 * the next chunk.
 */
static bool find_message(struct outbox_place *place, struct wire_update_list *ret)
{
	if (place->offset == place->chunk->used && place->chunk->next)
		*place = (struct outbox_place){ place->chunk->next, 0 };
	if (place->offset == place->chunk->used)
		return false;
	memcpy(ret, place->chunk->bytes + place->offset, sizeof(*ret));
	return true;
}

static uint64_t last_seqno(const struct wire_update_list *head)
{
	return head->header.id + head->n_updates - 1;
}

/* Where the update begins that has so many before it in its message. */
static size_t offset_of_update(const uint8_t *message, size_t size, uint64_t n_before)
{
	size_t offset = sizeof(struct wire_update_list);

	while (n_before--) {
		struct wire_update update;
		const uint8_t *elements;

		const char *wrong = wire_next_update(message, size, &offset, &update, &elements);

		assert(!wrong);
	}
	return offset;
}

size_t outbox_next(const struct outbox *outbox, struct wire_update_list *head,
		   struct iovec ret_parts[2])
{
	struct outbox_place place = outbox->next;
	uint64_t n_known;
	uint8_t *message;
	size_t offset, rest;

	if (outbox->handed == outbox->sealed || !find_message(&place, head))
		return 0;
	message = place.chunk->bytes + place.offset;
	n_known = outbox->handed + 1 - head->header.id;
	if (!n_known) {
		ret_parts[0] = (struct iovec){ message, head->header.size };
		return 1;
	}
	offset = offset_of_update(message, head->header.size, n_known);
	rest = head->header.size - offset;
	head->n_updates -= (uint32_t)n_known;
	head->header = wire_header_make(WIRE_UPDATE, sizeof(*head) + rest, outbox->handed + 1);
	ret_parts[0] = (struct iovec){ head, sizeof(*head) };
	ret_parts[1] = (struct iovec){ message + offset, rest };
	return 2;
}

void outbox_hand_over(struct outbox *outbox)
{
	struct wire_update_list head;
	bool is_there = find_message(&outbox->next, &head);

	assert(is_there);
	outbox->handed = last_seqno(&head);
	outbox->next.offset += head.header.size;
}

void outbox_rewind(struct outbox *outbox, uint64_t settled)
{
	struct wire_update_list head;

	assert(settled <= outbox->handed);
	outbox->handed = settled;
	outbox->next = outbox->oldest;
	while (find_message(&outbox->next, &head) && last_seqno(&head) <= settled)
		outbox->next.offset += head.header.size;
}

/* Nothing is left: what comes next goes where the last was, which is still in the cache. */
static void begin_anew(struct outbox *outbox)
{
	while (outbox->n_spare > MAX_SPARE) {
		struct outbox_chunk *chunk = outbox->spare;

		outbox->spare = chunk->next;
		outbox->n_spare--;
		free(chunk);
	}
	outbox->last->used = 0;
	outbox->oldest = outbox->next = (struct outbox_place){ outbox->last, 0 };
}

void outbox_release(struct outbox *outbox, uint64_t answered)
{
	struct wire_update_list head;
	bool is_answered;

	assert(answered <= outbox->handed);
	do {
		struct outbox_chunk *chunk = outbox->oldest.chunk;

		is_answered = find_message(&outbox->oldest, &head) && last_seqno(&head) <= answered;
		if (outbox->oldest.chunk != chunk) {
			if (outbox->next.chunk == chunk)
				outbox->next = outbox->oldest;
			put_away(outbox, chunk);
		}
		if (is_answered)
			outbox->oldest.offset += head.header.size;
	} while (is_answered);
	if (answered == outbox->sealed && !outbox->n_filling)
		begin_anew(outbox);
}
