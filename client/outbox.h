/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The outbox: messages of updates, from the first update that goes into one until its last is
 * answered.
 *
 * A daemon that died has to be told again what it did not settle.  So a message is kept as it was
 * sent, and what is told again begins at a seqno: the message in which that lies is cut there.
 * Messages lie behind each other in chunks, each as large as the largest message, and chunks are
 * used again: an update costs one copy and no allocation, and a message of a few bytes takes no
 * more than these.
 *
 * Knows bytes and seqnos; no socket, and not what an update means.
 */
#ifndef KVMATTR_OUTBOX_H
#define KVMATTR_OUTBOX_H

#include "protocol/wire.h"

#include <kvmattr.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct outbox_chunk;

/* Between two messages of a chunk. */
struct outbox_place {
	struct outbox_chunk *chunk;
	size_t offset;
};

/* Updates have seqnos from 1 on.  answered <= handed <= sealed, and those behind it are filling. */
struct outbox {
	struct outbox_place oldest; /* message that is not answered whole */
	struct outbox_place next;   /* message to hand over */
	struct outbox_chunk *last;  /* with the message that is being filled behind its others */
	struct outbox_chunk *spare;
	size_t n_chunks;
	size_t n_spare;
	uint64_t handed; /* last seqno that the daemon was handed */
	uint64_t sealed; /* last seqno of a message that is complete */
	uint32_t n_filling;
	size_t filling_size;
	size_t filling_room; /* for more updates in that message */
};

/* The daemon reads on only while it holds few MiB of a session; what waits beyond hides nothing. */
#define OUTBOX_MAX_CHUNKS 128

KVMATTR_CHECK_RESULT int outbox_open(struct outbox *outbox);
void outbox_close(struct outbox *outbox);

/* Are so many messages unanswered that the next had better wait? */
static inline bool outbox_is_full(const struct outbox *outbox)
{
	return outbox->n_chunks > OUTBOX_MAX_CHUNKS;
}
/* Does an update of so many bytes go into the message that is being filled?  Else seal it first. */
static inline bool outbox_has_room(const struct outbox *outbox, size_t size)
{
	return !outbox->n_filling || size <= outbox->filling_room;
}
/* Copies an update, which has to fit.  0 or -ENOMEM. */
KVMATTR_CHECK_RESULT int outbox_add(struct outbox *outbox, const struct wire_update *update,
				    const void *elements, size_t elements_size);
/* Completes the message that is being filled, if there is anything in it. */
void outbox_seal(struct outbox *outbox);

/*
 * The next message to hand over, in so many parts; 0: all that are complete were.  One that is cut
 * has another head, for which there is room at head.
 */
size_t outbox_next(const struct outbox *outbox, struct wire_update_list *head,
		   struct iovec ret_parts[2]);
/* That message was handed over whole. */
void outbox_hand_over(struct outbox *outbox);
/* Another daemon knows those up to settled, which were handed over; the next are told again. */
void outbox_rewind(struct outbox *outbox, uint64_t settled);
/* Those up to answered, which were handed over, are not needed any more. */
void outbox_release(struct outbox *outbox, uint64_t answered);

#endif
