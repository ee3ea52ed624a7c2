/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the records of a VM's journal say; doc/kvmattr-journal.5.scd is the same in prose.
 *
 *	REGISTERED SESSION { BATCH | IN_FORCE | SESSION | SESSION_CLOSED | REFUSED | READY }… RELEASED
 *
 * A batch is written before any of its calls is made, and IN_FORCE before anyone is answered.  A
 * batch that another one follows without it was taken back: as if it had never been there.  It
 * consists of parts: elements of one update that it takes into the layers.  An update is settled
 * when the batch comes into force that holds its last element, or the one that the policy refused.
 * So whoever applies the batches that came into force, in order, has the policy, and what to
 * answer to every update.
 *
 * Little-endian, as on the wire, whose structures these payloads use.  The wire_get_ functions'
 * manner: vm_record_get_…() copies, checks sizes, reserved fields and enumerations, and returns
 * NULL or the name of the field that is wrong.  Knows bytes; no policy, no files.
 */
#ifndef KVMATTRD_VM_RECORDS_H
#define KVMATTRD_VM_RECORDS_H

#include "protocol/wire.h"

enum vm_record_type {
	VM_RECORD_REGISTERED = 1,
	VM_RECORD_SESSION = 2, /* the last one with this id holds */
	VM_RECORD_SESSION_CLOSED = 3,
	VM_RECORD_READY = 4, /* the registration is complete; no payload */
	VM_RECORD_BATCH = 5,
	VM_RECORD_IN_FORCE = 6,
	VM_RECORD_REFUSED = 7, /* an update ended outside of a batch */
	VM_RECORD_RELEASED = 8,
};

/* Followed by n_views struct wire_view, as probed. */
struct vm_record_registered {
	char name[KVMATTR_NAME_SIZE];
	uint32_t n_views;
	uint8_t is_simulated;
	uint8_t executor; /* enum wire_executor */
	uint16_t reserved;
};
_Static_assert(sizeof(struct vm_record_registered) == 72, "layout");

struct vm_record_session {
	uint64_t id;
	uint8_t token[WIRE_TOKEN_SIZE];
	uint8_t role; /* enum wire_role; not NONE */
	uint8_t vtl;  /* of an agent */
	uint16_t reserved;
	uint32_t rights; /* of an agent */
	int32_t pid;     /* of the peer, or of whoever opened the agent's socket; 0 if not known */
	uint32_t uid;
	char peer[40]; /* "" until it has said hello */
};
_Static_assert(sizeof(struct vm_record_session) == 80, "layout");

struct vm_record_session_closed {
	uint64_t id;
};
_Static_assert(sizeof(struct vm_record_session_closed) == 8, "layout");

/* Followed by n_parts parts. */
struct vm_record_batch {
	uint64_t commit; /* that it has if it comes into force */
	uint32_t n_parts;
	uint32_t reserved;
};
_Static_assert(sizeof(struct vm_record_batch) == 16, "layout");

#define VM_RECORD_BY_OPERATOR 1u /* of session 0: an operator's */

/*
 * Followed by text_size bytes of text (no NUL among them, less than WIRE_TEXT_SIZE), by NULs up to
 * a multiple of 8 bytes, then by update.n_elements elements of update.form.
 */
struct vm_record_part {
	uint64_t session; /* 0: the daemon's: of the registration, an import, an operator */
	uint64_t seqno;
	uint32_t first;   /* place in the update of its first element here */
	uint32_t n_total; /* of the update; an update without elements has one */
	uint32_t n;       /* elements here; may be 0 where the next one was refused */
	uint32_t status;  /* enum kvmattr_status: why the element behind them was refused, or 0 */
	struct wire_update update; /* n_elements: those here; 0 with WIRE_FORM_NONE */
	uint32_t text_size;
	uint32_t flags;
};
_Static_assert(sizeof(struct vm_record_part) == 56, "layout");

/* Bytes that a part's text takes. */
static inline size_t vm_record_text_room(uint32_t text_size)
{
	return ((size_t)text_size + 7) & ~(size_t)7;
}

/* Is its update settled when this part is in force? */
static inline int vm_record_part_is_last(const struct vm_record_part *part)
{
	return part->status || part->first + part->n == part->n_total;
}

#define VM_RECORD_ALL_KNOWN 1u /* KVM is known to hold what it is to hold, on every page */

struct vm_record_in_force {
	uint64_t commit; /* of the batch before it */
	uint32_t flags;
	uint32_t reserved;
};
_Static_assert(sizeof(struct vm_record_in_force) == 16, "layout");

struct vm_record_refused {
	uint64_t session;
	struct wire_failure failure;
};
_Static_assert(sizeof(struct vm_record_refused) == 136, "layout");

struct vm_record_released {
	uint32_t status; /* enum kvmattr_status */
	uint32_t uid;    /* of the user that had the VM */
	char text[WIRE_TEXT_SIZE];
};
_Static_assert(sizeof(struct vm_record_released) == 264, "layout");

const char *vm_record_get_registered(const void *data, size_t size,
				     struct vm_record_registered *ret);
const char *vm_record_at_view(const void *data, uint32_t i, struct wire_view *ret);
const char *vm_record_get_session(const void *data, size_t size, struct vm_record_session *ret);
const char *vm_record_get_session_closed(const void *data, size_t size,
					 struct vm_record_session_closed *ret);
const char *vm_record_get_batch(const void *data, size_t size, struct vm_record_batch *ret);
/*
 * The part at *offset of a batch, which is moved behind it.  *ret_text (text_size bytes) and
 * *ret_elements point into data.  After the last part the offset has to be size.
 */
const char *vm_record_next_part(const void *data, size_t size, size_t *offset,
				struct vm_record_part *ret, const char **ret_text,
				const uint8_t **ret_elements);
const char *vm_record_get_in_force(const void *data, size_t size, struct vm_record_in_force *ret);
const char *vm_record_get_refused(const void *data, size_t size, struct vm_record_refused *ret);
const char *vm_record_get_released(const void *data, size_t size, struct vm_record_released *ret);

/* "BATCH" and the like; NULL for a number that is no type.  Static. */
const char *vm_record_type_name(unsigned int type);

#endif
