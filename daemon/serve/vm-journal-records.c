/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The records of a hosted VM's journal: put together from what the VM and its sessions have to say,
 * and written.  An update's elements go into the journal's buffer from where they were received.
 */
#include "daemon.h"
#include "daemon/allocate.h"
#include "journal-syncer.h"
#include "vm-journal-private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* So many notes do not wait any longer. */
#define MAX_WAITING_NOTES 256u
/* What one large batch needed is not kept for the small ones. */
#define KEPT_PARTS 4096u
/* Of a part: itself, its text, the text's padding, its elements. */
#define VECTORS_PER_PART 4u

/* ---- Gathering and writing ------------------------------------------------------------------ */

static void append(struct vm_journal *journal, uint16_t type, const struct iovec *vectors, size_t n)
{
	size_t size = 0;

	for (size_t i = 0; i < n; i++)
		size += vectors[i].iov_len;
	journal->gathered_number =
		journal_append(journal->journal, type, clock_now_us(CLOCK_REALTIME), vectors, n);
	journal->gathered_bytes += journal_record_size(size);
}

static void append_one(struct vm_journal *journal, uint16_t type, const void *data, size_t size)
{
	append(journal, type, &(struct iovec){ (void *)data, size }, 1);
}

/* Returns whether a batch is open behind them. */
static bool append_notes(struct vm_journal *journal)
{
	bool is_batch_open = journal->is_batch_open;

	for (size_t i = 0; i < journal->notes.n; i++) {
		const struct journal_note *note = &journal->notes.note[i];

		if (note->type == VM_RECORD_SESSION_CLOSED) {
			append_one(journal, note->type, &note->session_closed,
				   sizeof(note->session_closed));
			continue;
		}
		append_one(journal, note->type, &note->refused, sizeof(note->refused));
		/* a session's updates end in their order: this one's batch was taken back */
		if (note->refused.session && note->refused.session == journal->batch_session)
			is_batch_open = false;
	}
	return is_batch_open;
}

static void begin_trouble(struct vm_journal *journal, int error)
{
	/* whoever makes or closes it says so; and a sync that failed will be told soon */
	if (journal->is_closed || journal->is_discarded ||
	    journal_status(journal->journal).is_failed)
		return;
	if (!journal->write_error)
		vm_journal_say(journal, true,
			       "the journal %s cannot be written: %s; updates are refused until it "
			       "can be: %s",
			       journal->name, strerror(error),
			       error == ENOSPC || error == EDQUOT
				       ? "make room in the state directory"
				       : "see to the state directory's disk");
	journal->write_error = error;
}

static void end_trouble(struct vm_journal *journal)
{
	if (journal->write_error)
		vm_journal_say(journal, false, "the journal %s can be written again",
			       journal->name);
	journal->write_error = 0;
}

/* What was noted is among what was gathered. */
static int write_gathered(struct vm_journal *journal)
{
	int r = journal_write(journal->journal);

	if (r == 0) {
		journal->last_number = journal->gathered_number;
		journal->n_bytes += journal->gathered_bytes;
		journal_notes_forget(&journal->notes, journal->notes.last_id);
		if (journal->syncer)
			journal_syncer_want(journal->syncer, journal->last_number);
	}
	journal->gathered_bytes = 0;
	if (r < 0)
		begin_trouble(journal, -r);
	else
		end_trouble(journal);
	return r;
}

/* Behind what was written, a batch is open, or none. */
static void settle(struct vm_journal *journal, bool is_batch_open)
{
	journal->is_batch_open = is_batch_open;
	if (!is_batch_open) {
		journal->settled = journal->last_number;
		journal->settled_bytes = journal->n_bytes;
	}
	vm_journal_consider_checkpoint(journal);
}

/* ---- Sessions and the VM itself ------------------------------------------------------------- */

static int write_one(struct vm_journal *journal, uint16_t type, const void *data, size_t size)
{
	bool is_batch_open;
	int r;

	if (journal->sync_error)
		return -journal->sync_error;
	is_batch_open = append_notes(journal);
	append_one(journal, type, data, size);
	r = write_gathered(journal);
	if (r == 0)
		settle(journal, is_batch_open);
	return r;
}

int vm_journal_write_registered(struct vm_journal *journal,
				const struct vm_record_registered *facts,
				const struct wire_view *views,
				const struct vm_record_session *owner)
{
	const struct iovec vectors[] = {
		{ (void *)facts, sizeof(*facts) },
		{ (void *)views, facts->n_views * sizeof(*views) },
	};

	append(journal, VM_RECORD_REGISTERED, vectors, 2);
	return write_one(journal, VM_RECORD_SESSION, owner, sizeof(*owner));
}

int vm_journal_write_session(struct vm_journal *journal, const struct vm_record_session *session)
{
	return write_one(journal, VM_RECORD_SESSION, session, sizeof(*session));
}

int vm_journal_write_ready(struct vm_journal *journal)
{
	return write_one(journal, VM_RECORD_READY, NULL, 0);
}

int vm_journal_write_released(struct vm_journal *journal, uid_t uid, enum kvmattr_status status,
			      const char *text)
{
	struct vm_record_released released = { .status = status, .uid = uid };

	snprintf(released.text, sizeof(released.text), "%s", text);
	return write_one(journal, VM_RECORD_RELEASED, &released, sizeof(released));
}

/* ---- Notes ---------------------------------------------------------------------------------- */

int vm_journal_write_notes(struct vm_journal *journal)
{
	bool is_batch_open;
	int r;

	if (!journal->notes.n)
		return 0;
	if (journal->sync_error)
		return -journal->sync_error;
	is_batch_open = append_notes(journal);
	r = write_gathered(journal);
	if (r == 0)
		settle(journal, is_batch_open);
	return r;
}

/* They may be many while there is no batch to go with; while nothing can be written, they wait. */
static void consider_notes(struct vm_journal *journal)
{
	if (journal->notes.n >= MAX_WAITING_NOTES && !journal->write_error)
		(void)!vm_journal_write_notes(journal);
}

void vm_journal_note_refused(struct vm_journal *journal, uint64_t session,
			     const struct vm_update *update, enum kvmattr_status status,
			     const char *text)
{
	struct vm_record_refused refused = {
		.session = session,
		.failure = {
			.seqno = update->seqno,
			.status = status,
			.n_in_force = update->n_in_force,
		},
	};

	snprintf(refused.failure.text, sizeof(refused.failure.text), "%s", text);
	journal_notes_add_refused(&journal->notes, &refused);
	consider_notes(journal);
}

void vm_journal_note_session_closed(struct vm_journal *journal, uint64_t id)
{
	journal_notes_add_session_closed(&journal->notes, id);
	/* or the next daemon would wait for its peer for as long as the VM is there */
	if (!journal->write_error)
		(void)!vm_journal_write_notes(journal);
}

/* ---- Batches -------------------------------------------------------------------------------- */

static struct wire_update wire_update_of(const struct vm_update *update, uint32_t n)
{
	return (struct wire_update){
		.kind = (uint8_t)update->element.kind,
		.form = update->form,
		.layer = update->element.layer,
		.value = update->element.value,
		.restricted = update->element.restricted,
		.mbec = update->element.mbec,
		.n_elements = update->form == WIRE_FORM_NONE ? 0 : n,
	};
}

/* Describes one part with at most VECTORS_PER_PART vectors; returns how many. */
static size_t describe_part(const struct vm_part *part, uint64_t session,
			    struct vm_record_part *ret, struct iovec *vectors)
{
	static const char padding[8];
	const struct vm_update *update = part->update;
	const char *text = update->status && update->text ? update->text : "";
	const size_t element_size = wire_element_size(update->form);
	const uint32_t text_size = (uint32_t)strnlen(text, WIRE_TEXT_SIZE - 1);
	size_t n = 0;

	*ret = (struct vm_record_part){
		.session = session,
		.seqno = update->seqno,
		.first = part->first,
		.n_total = update->form == WIRE_FORM_NONE ? 1 : update->n_elements,
		.n = part->n,
		.status = update->status,
		.update = wire_update_of(update, part->n),
		.text_size = text_size,
		.flags = update->actor.is_operator ? VM_RECORD_BY_OPERATOR : 0,
	};
	vectors[n++] = (struct iovec){ ret, sizeof(*ret) };
	if (text_size) {
		vectors[n++] = (struct iovec){ (char *)text, text_size };
		vectors[n++] = (struct iovec){ (char *)padding,
					       vm_record_text_room(text_size) - text_size };
	}
	if (ret->update.n_elements)
		vectors[n++] =
			(struct iovec){ (uint8_t *)update->elements + part->first * element_size,
					part->n * element_size };
	return n;
}

static void make_room_for_parts(struct vm_journal *journal, size_t n)
{
	if (n <= journal->parts_capacity)
		return;
	free(journal->parts);
	free(journal->vectors);
	journal->parts_capacity = n;
	journal->parts = allocate(n * sizeof(*journal->parts));
	journal->vectors = allocate((1 + n * VECTORS_PER_PART) * sizeof(*journal->vectors));
}

static void give_room_back(struct vm_journal *journal)
{
	if (journal->parts_capacity <= KEPT_PARTS)
		return;
	free(journal->parts);
	free(journal->vectors);
	journal->parts = NULL;
	journal->vectors = NULL;
	journal->parts_capacity = 0;
}

static void append_batch(struct vm_journal *journal, const struct vm_batch *batch,
			 vm_journal_session_of session_of)
{
	struct vm_record_batch head = {
		.commit = batch->commit,
		.n_parts = (uint32_t)batch->n_parts,
	};
	size_t n_vectors = 1;

	make_room_for_parts(journal, batch->n_parts);
	journal->vectors[0] = (struct iovec){ &head, sizeof(head) };
	for (size_t i = 0; i < batch->n_parts; i++)
		n_vectors += describe_part(&batch->parts[i], session_of(batch->parts[i].update),
					   &journal->parts[i], &journal->vectors[n_vectors]);
	append(journal, VM_RECORD_BATCH, journal->vectors, n_vectors);
	give_room_back(journal);
}

static void append_in_force(struct vm_journal *journal, const struct vm_in_force *in_force)
{
	const struct vm_record_in_force record = {
		.commit = in_force->commit,
		.flags = in_force->is_all_known ? VM_RECORD_ALL_KNOWN : 0,
	};

	append_one(journal, VM_RECORD_IN_FORCE, &record, sizeof(record));
}

size_t vm_journal_memory(const struct vm_journal *journal)
{
	return journal_memory(journal->journal) +
	       journal->notes.capacity * sizeof(*journal->notes.note) +
	       journal->parts_capacity *
		       (sizeof(*journal->parts) + VECTORS_PER_PART * sizeof(*journal->vectors));
}

int vm_journal_record(struct vm_journal *journal, const struct vm_batch *batch,
		      const struct vm_in_force *in_force, vm_journal_session_of session_of,
		      uint64_t *ret_durable)
{
	uint64_t before, bytes_before;
	bool is_batch_open;
	int r;

	if (journal->sync_error)
		return -journal->sync_error;
	/* what was noted comes behind the batch that was under way then, and before the next */
	if (!batch && in_force)
		append_in_force(journal, in_force);
	is_batch_open = append_notes(journal) && !in_force;
	before = journal->gathered_bytes ? journal->gathered_number : journal->last_number;
	bytes_before = journal->n_bytes + journal->gathered_bytes;
	if (batch)
		append_batch(journal, batch, session_of);
	if (batch && in_force)
		append_in_force(journal, in_force);
	if (!journal->gathered_bytes) {
		*ret_durable = 0;
		return 0;
	}
	r = write_gathered(journal);
	if (r < 0)
		return r;
	if (batch && !in_force) {
		if (!is_batch_open) {
			journal->settled = before;
			journal->settled_bytes = bytes_before;
		}
		journal->batch_session = session_of(batch->parts[0].update);
		is_batch_open = true;
	}
	settle(journal, is_batch_open);
	*ret_durable = vm_journal_recorded(journal);
	return 0;
}
