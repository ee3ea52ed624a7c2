/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "replay.h"

#include "daemon/allocate.h"
#include "daemon/policy/elements.h"
#include "directory.h"
#include "replay-sessions.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Steps between two looks at how much memory the maps hold. */
#define STEPS_PER_MEASURE 64u
/* Fewer doubtful ranges are not worth being merged. */
#define FEW_RANGES 4096u

void replay_init(struct replay *replay)
{
	*replay = (struct replay){ .undo = policy_undo_log_new() };
}

void replay_destroy(struct replay *replay)
{
	replay_sessions_destroy(replay);
	page_ranges_destroy(&replay->doubtful);
	page_ranges_destroy(&replay->doubtful_ram);
	policy_undo_log_free(replay->undo);
	policy_free(replay->policy);
	free(replay->batch_room);
	*replay = (struct replay){ 0 };
}

/* ---- Damage -------------------------------------------------------------------------------- */

/* A record, for whoever has to be told where it is. */
struct place {
	const char *file;
	uint64_t offset;
	uint64_t number;
	unsigned int type;
};

static struct place place_of(const struct journal_record *record)
{
	return (struct place){ record->file, record->offset, record->header.number,
			       record->header.type };
}

static struct place place_of_batch(const struct replay *replay)
{
	return (struct place){ replay->batch_file, replay->batch_offset, replay->batch_number,
			       VM_RECORD_BATCH };
}

__attribute__((format(printf, 3, 4))) static int damaged(struct place place,
							 struct journal_error *ret_error,
							 const char *format, ...)
{
	const char *name = vm_record_type_name(place.type);
	char text[160];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return journal_error_set(ret_error, EBADMSG, place.file, place.offset,
				 "record %" PRIu64 " (%s): %s; keep the files, and register the VM "
				 "anew",
				 place.number, name ? name : "of no known type", text);
}

static int bad_field(const struct journal_record *record, const char *field,
		     struct journal_error *ret_error)
{
	return damaged(place_of(record), ret_error, "its field %s is not valid", field);
}

/* ---- Pages whose state in KVM is not known ------------------------------------------------- */

/* However long it is that not all is known: there are only so many pages. */
static void limit_doubtful(struct replay *replay)
{
	if (replay->doubtful.n < FEW_RANGES || replay->doubtful.n / 2 < replay->doubtful_normalized)
		return;
	page_ranges_normalize(&replay->doubtful);
	replay->doubtful_normalized = replay->doubtful.n;
}

static void add_doubtful(struct replay *replay, const struct vm_record_part *part,
			 const uint8_t *bytes)
{
	const struct elements elements = { bytes, part->update.n_elements, part->update.form };
	const uint8_t all = KVMATTR_RW | KVMATTR_KERNEL_EXECUTE;
	uint32_t n;

	if (part->update.kind == KVMATTR_LOCK || part->update.kind == KVMATTR_UNLOCK)
		return;
	if (part->update.kind == KVMATTR_ENABLE_LAYER && (part->update.value & all) == all)
		return;
	if (elements.form == WIRE_FORM_NONE && part->n)
		page_ranges_add(&replay->doubtful_ram, 0, KVMATTR_GFN_LIMIT);
	for (uint32_t i = 0; i < elements.n; i += n) {
		struct kvmattr_range range = elements_run(elements, i, UINT32_MAX, &n);

		if (range.gfn < KVMATTR_GFN_LIMIT && range.n_pages <= KVMATTR_GFN_LIMIT - range.gfn)
			page_ranges_add(&replay->doubtful, range.gfn, range.n_pages);
	}
}

/* The open batch, if there is one, was taken back: in the policy it never was, in KVM who knows. */
static void take_back_batch(struct replay *replay)
{
	struct vm_record_batch batch;
	size_t offset = sizeof(batch);

	if (!replay->batch)
		return;
	memcpy(&batch, replay->batch, sizeof(batch));
	for (uint32_t i = 0; i < batch.n_parts; i++) {
		struct vm_record_part part;
		const uint8_t *elements;
		const char *text;

		if (vm_record_next_part(replay->batch, replay->batch_size, &offset, &part, &text,
					&elements))
			abort(); /* it was checked when it was taken */
		add_doubtful(replay, &part, elements);
		limit_doubtful(replay);
	}
	replay->batch = NULL;
}

/* ---- The records --------------------------------------------------------------------------- */

static int take_views(struct replay *replay, const struct journal_record *record,
		      struct journal_error *ret_error)
{
	struct view views[KVMATTR_N_VTLS] = { 0 };
	unsigned int vtls = 0;

	for (uint32_t i = 0; i < replay->facts.n_views; i++) {
		struct wire_view *view = &replay->views[i];
		const char *bad = vm_record_at_view(record->payload, i, view);

		if (bad)
			return bad_field(record, bad, ret_error);
		if (vtls >> view->vtl & 1)
			return damaged(place_of(record), ret_error, "VTL %u has two views",
				       view->vtl);
		if (!dialect_restore((enum kvmattr_abi)view->abi, view->supported,
				     &views[i].dialect))
			return damaged(place_of(record), ret_error,
				       "no kernel speaks %s with the attribute bits 0x%" PRIx64,
				       kvmattr_abi_name(view->abi), view->supported);
		views[i].vtl = view->vtl;
		vtls |= 1u << view->vtl;
	}
	if (!(vtls & 1))
		return damaged(place_of(record), ret_error, "VTL 0 has no view");
	replay->policy = policy_new(views, replay->facts.n_views);
	return 0;
}

static int take_registered(struct replay *replay, const struct journal_record *record,
			   struct journal_error *ret_error)
{
	const char *bad;

	if (replay->policy)
		return damaged(place_of(record), ret_error, "the VM is registered already");
	bad = vm_record_get_registered(record->payload, record->header.size, &replay->facts);
	if (bad)
		return bad_field(record, bad, ret_error);
	replay->registered_us = record->header.time_us;
	return take_views(replay, record, ret_error);
}

static int take_session(struct replay *replay, const struct journal_record *record,
			struct journal_error *ret_error)
{
	struct vm_record_session facts;
	struct replay_session *session;
	const char *bad = vm_record_get_session(record->payload, record->header.size, &facts);

	if (bad)
		return bad_field(record, bad, ret_error);
	session = replay_find_session(replay, facts.id);
	if (session) {
		if (session->facts.role != facts.role || session->facts.vtl != facts.vtl ||
		    session->facts.rights != facts.rights)
			return damaged(place_of(record), ret_error,
				       "session %" PRIu64 " has other rights than it had",
				       facts.id);
		session->facts = facts;
		return 0;
	}
	if (facts.id <= replay->max_session)
		return damaged(place_of(record), ret_error,
			       "session %" PRIu64 " begins behind session %" PRIu64, facts.id,
			       replay->max_session);
	replay_session_add(replay, &facts);
	return 0;
}

static int unknown_session(const struct journal_record *record, uint64_t id,
			   struct journal_error *ret_error)
{
	return damaged(place_of(record), ret_error,
		       "there is no session %" PRIu64 ", or it was closed", id);
}

static int take_session_closed(struct replay *replay, const struct journal_record *record,
			       struct journal_error *ret_error)
{
	struct vm_record_session_closed closed;
	struct replay_session *session;
	const char *bad =
		vm_record_get_session_closed(record->payload, record->header.size, &closed);

	if (bad)
		return bad_field(record, bad, ret_error);
	session = replay_find_session(replay, closed.id);
	if (!session)
		return unknown_session(record, closed.id, ret_error);
	replay_session_close(replay, session);
	return 0;
}

static int take_ready(struct replay *replay, const struct journal_record *record,
		      struct journal_error *ret_error)
{
	if (record->header.size)
		return bad_field(record, "size", ret_error);
	if (replay->is_ready)
		return damaged(place_of(record), ret_error, "the VM is ready already");
	replay->is_ready = true;
	return 0;
}

/* Every part, and that nothing is behind them. */
static int check_parts(struct replay *replay, const struct journal_record *record, uint32_t n_parts,
		       struct journal_error *ret_error)
{
	size_t offset = sizeof(struct vm_record_batch);

	for (uint32_t i = 0; i < n_parts; i++) {
		struct replay_session *session;
		struct vm_record_part part;
		const uint8_t *elements;
		const char *text;
		const char *bad = vm_record_next_part(record->payload, record->header.size, &offset,
						      &part, &text, &elements);

		if (bad)
			return damaged(place_of(record), ret_error,
				       "the field %s of part %" PRIu32 " is not valid", bad, i);
		if (!part.session)
			continue;
		session = replay_find_session(replay, part.session);
		if (!session)
			return unknown_session(record, part.session, ret_error);
		bad = replay_session_check_part(session, &part, record->header.number);
		if (bad)
			return damaged(place_of(record), ret_error,
				       "update %" PRIu64 " of session %" PRIu64 " %s", part.seqno,
				       part.session, bad);
	}
	return offset == record->header.size ? 0 : bad_field(record, "size", ret_error);
}

/* The record's payload is gone with the next one. */
static void keep_batch(struct replay *replay, const struct journal_record *record)
{
	if (replay->batch_capacity < record->header.size) {
		free(replay->batch_room);
		replay->batch_room = allocate(record->header.size);
		replay->batch_capacity = record->header.size;
	}
	replay->batch = memcpy(replay->batch_room, record->payload, record->header.size);
	replay->batch_size = record->header.size;
	replay->batch_us = record->header.time_us;
	replay->batch_number = record->header.number;
	replay->batch_offset = record->offset;
	memcpy(replay->batch_file, record->file, sizeof(replay->batch_file));
}

static int take_batch(struct replay *replay, const struct journal_record *record,
		      struct journal_error *ret_error)
{
	struct vm_record_batch batch;
	const char *bad = vm_record_get_batch(record->payload, record->header.size, &batch);
	int r;

	if (bad)
		return bad_field(record, bad, ret_error);
	take_back_batch(replay);
	if (batch.commit != replay->commit + 1)
		return damaged(place_of(record), ret_error,
			       "it is to be commit %" PRIu64 ", but the last in force is %" PRIu64,
			       batch.commit, replay->commit);
	r = check_parts(replay, record, batch.n_parts, ret_error);
	if (r == 0)
		keep_batch(replay, record);
	return r;
}

static int check_memory(struct replay *replay, struct journal_error *ret_error)
{
	if (!replay->max_map_bytes || replay->n_steps++ % STEPS_PER_MEASURE ||
	    policy_memory(replay->policy) <= replay->max_map_bytes)
		return 0;
	return journal_error_set(ret_error, E2BIG, replay->batch_file, replay->batch_offset,
				 "record %" PRIu64 ": the VM's maps need more than %" PRIu64
				 " MiB; give it more (max-map-mib, max-memory-mib)",
				 replay->batch_number, replay->max_map_bytes >> 20);
}

static int apply_step(struct replay *replay, const struct policy_actor *actor,
		      const struct replay_step *step, struct page_ranges *touched,
		      struct journal_error *ret_error)
{
	const struct replay_observer *observer = &replay->observer;
	char text[112];

	if (observer->before)
		observer->before(observer->context, step);
	if (policy_apply(replay->policy, actor, step->element, replay->undo, touched, text,
			 sizeof(text)))
		return damaged(place_of_batch(replay), ret_error,
			       "element %" PRIu32 " of update %" PRIu64 " of session %" PRIu64
			       " cannot have come into force: %s",
			       step->place, step->seqno, step->session ? step->session->id : 0,
			       text);
	if (observer->after)
		observer->after(observer->context, step);
	return check_memory(replay, ret_error);
}

/* The elements of a part, range by range. */
static int apply_elements(struct replay *replay, const struct vm_record_part *part,
			  const uint8_t *bytes, const struct vm_record_session *facts,
			  struct journal_error *ret_error)
{
	const struct wire_update *update = &part->update;
	const struct elements elements = { bytes, update->n_elements, update->form };
	const struct policy_actor actor = {
		.is_owner = !facts || facts->role == WIRE_ROLE_OWNER,
		.vtl = facts ? facts->vtl : 0,
		.rights = facts ? facts->rights : 0,
	};
	struct policy_element element = {
		.kind = (enum kvmattr_update_kind)update->kind,
		.layer = update->layer,
		.value = update->value,
		.restricted = update->restricted,
		.mbec = update->mbec,
	};
	struct replay_step step = {
		.commit = replay->commit + 1,
		.time_us = replay->batch_us,
		.session = facts,
		.is_operators = part->flags & VM_RECORD_BY_OPERATOR,
		.seqno = part->seqno,
		.element = &element,
	};
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < part->n; i += step.n) {
		element.range = elements_run(elements, i, UINT32_MAX, &step.n);
		step.place = part->first + i;
		r = apply_step(replay, &actor, &step,
			       elements.n ? &replay->doubtful : &replay->doubtful_ram, ret_error);
	}
	policy_undo_log_clear(replay->undo);
	return r;
}

static int apply_batch(struct replay *replay, uint32_t n_parts, struct journal_error *ret_error)
{
	size_t offset = sizeof(struct vm_record_batch);

	for (uint32_t i = 0; i < n_parts; i++) {
		struct replay_session *session = NULL;
		struct vm_record_part part;
		const uint8_t *elements;
		const char *text;
		int r;

		if (vm_record_next_part(replay->batch, replay->batch_size, &offset, &part, &text,
					&elements))
			abort(); /* it was checked when it was taken */
		if (part.session)
			session = replay_find_session(replay, part.session);
		if (part.session && !session)
			return damaged(place_of_batch(replay), ret_error,
				       "session %" PRIu64 " was closed before it came into force",
				       part.session);
		r = apply_elements(replay, &part, elements, session ? &session->facts : NULL,
				   ret_error);
		if (r < 0)
			return r;
		if (session)
			replay_session_settle_part(session, &part, text);
	}
	return 0;
}

static int take_in_force(struct replay *replay, const struct journal_record *record,
			 struct journal_error *ret_error)
{
	struct vm_record_in_force in_force;
	struct vm_record_batch batch;
	const char *bad = vm_record_get_in_force(record->payload, record->header.size, &in_force);
	int r;

	if (bad)
		return bad_field(record, bad, ret_error);
	if (!replay->batch)
		return damaged(place_of(record), ret_error,
			       "there is no batch that could come into force");
	memcpy(&batch, replay->batch, sizeof(batch));
	if (in_force.commit != batch.commit)
		return damaged(place_of(record), ret_error,
			       "it says commit %" PRIu64 ", but the batch before it is %" PRIu64,
			       in_force.commit, batch.commit);
	r = apply_batch(replay, batch.n_parts, ret_error);
	if (r < 0)
		return r;
	replay->batch = NULL;
	replay->commit = batch.commit;
	replay->commit_us = replay->batch_us;
	if (in_force.flags & VM_RECORD_ALL_KNOWN) {
		page_ranges_clear(&replay->doubtful);
		replay->doubtful_normalized = 0;
		page_ranges_clear(&replay->doubtful_ram);
	}
	limit_doubtful(replay);
	return 0;
}

static int take_refused(struct replay *replay, const struct journal_record *record,
			struct journal_error *ret_error)
{
	struct vm_record_refused refused;
	struct replay_session *session;
	const char *bad = vm_record_get_refused(record->payload, record->header.size, &refused);

	if (bad)
		return bad_field(record, bad, ret_error);
	if (!refused.session)
		return 0;
	session = replay_find_session(replay, refused.session);
	if (!session)
		return unknown_session(record, refused.session, ret_error);
	bad = replay_session_check_refused(session, &refused.failure);
	if (bad)
		return damaged(place_of(record), ret_error,
			       "update %" PRIu64 " of session %" PRIu64 " %s",
			       refused.failure.seqno, refused.session, bad);
	/* A session's updates are settled in order: none of that batch's was before this one. */
	if (session->batch.number == replay->batch_number)
		take_back_batch(replay);
	replay_session_settle_refused(session, &refused.failure);
	return 0;
}

static int take_released(struct replay *replay, const struct journal_record *record,
			 struct journal_error *ret_error)
{
	const char *bad =
		vm_record_get_released(record->payload, record->header.size, &replay->released);

	if (bad)
		return bad_field(record, bad, ret_error);
	take_back_batch(replay);
	replay->is_released = true;
	replay->released_us = record->header.time_us;
	return 0;
}

static int (*const take[])(struct replay *replay, const struct journal_record *record,
			   struct journal_error *ret_error) = {
	[VM_RECORD_REGISTERED] = take_registered,
	[VM_RECORD_SESSION] = take_session,
	[VM_RECORD_SESSION_CLOSED] = take_session_closed,
	[VM_RECORD_READY] = take_ready,
	[VM_RECORD_BATCH] = take_batch,
	[VM_RECORD_IN_FORCE] = take_in_force,
	[VM_RECORD_REFUSED] = take_refused,
	[VM_RECORD_RELEASED] = take_released,
};

int replay_take(struct replay *replay, const struct journal_record *record,
		struct journal_error *ret_error)
{
	const struct journal_record_header *header = &record->header;
	int r;

	if (header->number != replay->number + 1)
		return damaged(place_of(record), ret_error,
			       "record %" PRIu64 " was to come: some are missing or doubled",
			       replay->number + 1);
	if (!vm_record_type_name(header->type))
		return damaged(place_of(record), ret_error,
			       "a record of type %u is not known to this version of kvmattrd",
			       header->type);
	if (!replay->policy && header->type != VM_RECORD_REGISTERED)
		return damaged(place_of(record), ret_error, "no VM was registered before it");
	if (replay->is_released)
		return damaged(place_of(record), ret_error, "the VM was released before it");
	r = take[header->type](replay, record, ret_error);
	if (r < 0)
		return r;
	replay->number = header->number;
	if (!replay->batch)
		replay->settled = header->number;
	return 0;
}

static void add_ram_to_doubtful(struct replay *replay)
{
	const struct attribute_map *pages = &replay->policy->pages;
	struct attribute_span span;

	for (uint64_t gfn = 0; gfn < KVMATTR_GFN_LIMIT; gfn = span.end) {
		span = attribute_map_span(pages, gfn, KVMATTR_GFN_LIMIT);
		if (!span.bytes && span.value & PAGE_IS_RAM)
			page_ranges_add(&replay->doubtful, gfn, span.end - gfn);
		for (size_t i = 0; span.bytes && i < span.end - gfn; i++)
			if (span.bytes[i] & PAGE_IS_RAM)
				page_ranges_add(&replay->doubtful, gfn + i, 1);
	}
}

void replay_end(struct replay *replay)
{
	take_back_batch(replay);
	replay_sessions_trim(replay);
	if (!replay->policy)
		return;
	if (replay->doubtful_ram.n)
		add_ram_to_doubtful(replay);
	page_ranges_normalize(&replay->doubtful);
	policy_assume_applied(replay->policy);
	policy_forget_applied(replay->policy, &replay->doubtful);
}
