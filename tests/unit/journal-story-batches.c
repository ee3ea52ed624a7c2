/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/journal-story-private.h"

#include "daemon/allocate.h"
#include "tests/unit/random-updates.h"

#include <string.h>

/* ---- Updates ----------------------------------------------------------------------------------- */

static struct kvmattr_range element_at(const struct story_update *update, uint32_t i)
{
	if (update->update.form == WIRE_FORM_NONE)
		return (struct kvmattr_range){ 0, 0 };
	if (update->update.form == WIRE_FORM_RANGES)
		return wire_range_at(update->elements, i);
	return (struct kvmattr_range){ wire_page_at(update->elements, i), 1 };
}

static struct policy_element policy_element_at(const struct story_update *update, uint32_t i)
{
	return (struct policy_element){
		.kind = (enum kvmattr_update_kind)update->update.kind,
		.layer = update->update.layer,
		.value = update->update.value,
		.restricted = update->update.restricted,
		.mbec = update->update.mbec,
		.range = element_at(update, i),
	};
}

static struct policy_actor actor_of(const struct story_session *session)
{
	if (!session || session->facts.role == WIRE_ROLE_OWNER)
		return (struct policy_actor){ .is_owner = true };
	return (struct policy_actor){ .vtl = session->facts.vtl, .rights = session->facts.rights };
}

/* Pages, mostly in runs, as a rep hypercall has them; or ranges. */
static void add_elements(struct story *story, struct story_update *update,
			 struct kvmattr_range first)
{
	uint32_t n = (uint32_t)(1 + below(story, one_in(story, 4) ? 40 : 8));
	size_t size = wire_element_size(update->update.form);
	struct kvmattr_range range = first;

	update->n_total = update->update.n_elements = n;
	update->elements = allocate(n * size);
	for (uint32_t i = 0; i < n; i++) {
		/* The oracle has no page there, so it must not become RAM. */
		if (update->update.kind == KVMATTR_ADD_RAM &&
		    (range.gfn >= ORACLE_PAGES || range.n_pages > ORACLE_PAGES - range.gfn))
			range = (struct kvmattr_range){ ORACLE_PAGES - 1, 1 };
		memcpy(update->elements + i * size, &range, size);
		if (update->update.form == WIRE_FORM_RANGES || one_in(story, 5))
			range = random_range(&story->random);
		else
			range.gfn++;
	}
}

void story_add_update(struct story *story, struct story_session *session,
		      struct policy_element element)
{
	struct story_update *update = &story->waiting[story->n_waiting++];

	*update = (struct story_update){
		.session = session,
		.seqno = session ? ++session->last_seqno : ++story->registration_seqno,
		.update = { .kind = (uint8_t)element.kind,
			    .form = WIRE_FORM_NONE,
			    .layer = element.layer,
			    .value = element.value,
			    .restricted = element.restricted,
			    .mbec = element.mbec },
		.n_total = 1,
	};
	if (element.kind > KVMATTR_REMOVE_RAM)
		return;
	update->update.form = one_in(story, 3) ? WIRE_FORM_RANGES : WIRE_FORM_PAGES;
	add_elements(story, update, element.range);
}

/* What is refused is sent, too, but less often than random agents would. */
static struct policy_element sensible_element(struct story *story,
					      const struct story_session *session)
{
	const struct policy_actor actor = actor_of(session);
	struct policy_element element;

	do
		element = random_element(&story->random);
	while (oracle_judge(story->oracle, &actor, &element) && !one_in(story, 10));
	return element;
}

void story_send_updates(struct story *story)
{
	uint64_t n = 1 + below(story, 5);

	while (n-- && story->n_waiting < STORY_WAITING) {
		struct story_session *session = one_in(story, 30) ? NULL : story_any_session(story);

		story_add_update(story, session, sensible_element(story, session));
	}
}

void story_remove_waiting(struct story *story, size_t i)
{
	free(story->waiting[i].elements);
	story->n_waiting--;
	memmove(&story->waiting[i], &story->waiting[i + 1],
		(story->n_waiting - i) * sizeof(story->waiting[0]));
}

/* ---- Batches ----------------------------------------------------------------------------------- */

static enum kvmattr_status lowest_of(uint32_t statuses)
{
	return (enum kvmattr_status)__builtin_ctz(statuses);
}

/* What an element that came into the layers may have changed in KVM. */
static void touch(struct story_doubts *doubts, const struct policy_element *element)
{
	bool is_all = element->kind == KVMATTR_RESET_LAYER || element->kind == KVMATTR_RESET_VM;

	if (element->kind == KVMATTR_ENABLE_LAYER)
		is_all = (element->value & KVMATTR_RW) != KVMATTR_RW ||
			 !(element->value & KVMATTR_KERNEL_EXECUTE);
	doubts->is_all_ram |= is_all;
	if (element->kind == KVMATTR_PROTECT || element->kind == KVMATTR_SET_VISIBILITY ||
	    element->kind == KVMATTR_ADD_RAM || element->kind == KVMATTR_REMOVE_RAM)
		for (uint64_t i = 0; i < element->range.n_pages; i++)
			doubts->pages[element->range.gfn + i] = true;
}

/* Takes elements of an update into the batch, as far as there is room; returns how many. */
static uint32_t take_elements(struct story *story, struct story_update *update, uint32_t room)
{
	const struct policy_actor actor = actor_of(update->session);
	uint32_t n = 0;

	for (; n < room && update->n_applied < update->n_total; n++) {
		struct policy_element element = policy_element_at(update, update->n_applied);
		uint32_t broken = oracle_judge(story->batch, &actor, &element);

		if (broken) {
			update->status = lowest_of(broken);
			break;
		}
		oracle_apply(story->batch, &element);
		touch(&story->batch_doubts, &element);
		update->n_applied++;
	}
	return n;
}

static const char *text_of(const struct story_update *update)
{
	return update->status ? kvmattr_status_text(update->status) : "";
}

static void add_part(struct image *payload, const struct story_update *update)
{
	static const uint8_t zeros[8];
	size_t size = wire_element_size(update->update.form);
	struct vm_record_part part = {
		.session = update->session ? update->session->facts.id : 0,
		.seqno = update->seqno,
		.first = update->n_in_force,
		.n_total = update->n_total,
		.n = update->n_applied - update->n_in_force,
		.status = update->status,
		.update = update->update,
		.text_size = (uint32_t)strlen(text_of(update)),
	};

	part.update.n_elements = update->update.form == WIRE_FORM_NONE ? 0 : part.n;
	image_add(payload, &part, sizeof(part));
	image_add(payload, text_of(update), part.text_size);
	image_add(payload, zeros, vm_record_text_room(part.text_size) - part.text_size);
	image_add(payload, update->elements + part.first * size, part.update.n_elements * size);
}

static void write_batch(struct story *story)
{
	struct vm_record_batch batch = { .commit = story->commit + 1,
					 .n_parts = (uint32_t)story->n_in_batch };
	struct image payload = { 0 };

	image_add(&payload, &batch, sizeof(batch));
	for (size_t i = 0; i < story->n_in_batch; i++)
		add_part(&payload, &story->waiting[i]);
	story_add_record(story, VM_RECORD_BATCH, payload.data, payload.size);
	image_destroy(&payload);
}

void story_give_up_batch(struct story *story)
{
	for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++)
		story->doubts.pages[gfn] |= story->batch_doubts.pages[gfn];
	story->doubts.is_all_ram |= story->batch_doubts.is_all_ram;
	story->batch_doubts = (struct story_doubts){ 0 };
	story->is_open = false;
}

void story_begin_batch(struct story *story, uint32_t room)
{
	struct story_update *update;

	story_give_up_batch(story);
	*story->batch = *story->oracle;
	story->n_in_batch = 0;
	do {
		update = &story->waiting[story->n_in_batch++];
		room -= take_elements(story, update, room);
	} while (room && story->n_in_batch < story->n_waiting);
	/* An update of which there was no room for a single element is not in it. */
	if (!update->status && update->n_applied == update->n_in_force)
		story->n_in_batch--;
	write_batch(story);
	story->is_open = story->is_executing = true;
}

/* So many updates of the batch are settled, in order; the one behind them may be in part. */
static void settle_batch(struct story *story)
{
	for (size_t i = 0; i < story->n_in_batch; i++) {
		struct story_update *update = &story->waiting[0];

		update->n_in_force = update->n_applied;
		if (!update->status && update->n_applied < update->n_total) {
			if (update->session)
				story_go_on_in(update->session, update);
			continue;
		}
		if (update->session)
			story_settle_in(update->session, update, text_of(update));
		story_remove_waiting(story, 0);
	}
	story->n_in_batch = 0;
}

static void keep_history(struct story *story)
{
	if (!story->keeps_history)
		return;
	story->history = allocate_again(story->history, story->commit + 1, sizeof(*story->history));
	for (; story->n_history <= story->commit; story->n_history++)
		story->history[story->n_history] = NULL;
	story->history[story->commit] = allocate_one(struct oracle);
	*story->history[story->commit] = *story->oracle;
}

void story_come_into_force(struct story *story, bool is_all_known)
{
	struct vm_record_in_force in_force = {
		.commit = ++story->commit,
		.flags = is_all_known ? VM_RECORD_ALL_KNOWN : 0,
	};
	const struct story_record *record;

	for (record = &story->records[story->n_records - 1];
	     record->header.type != VM_RECORD_BATCH;)
		record--;
	story->commit_us = record->header.time_us;
	*story->oracle = *story->batch;
	story_give_up_batch(story);
	if (is_all_known)
		story->doubts = (struct story_doubts){ 0 };
	settle_batch(story);
	keep_history(story);
	story_add_record(story, VM_RECORD_IN_FORCE, &in_force, sizeof(in_force));
	story->is_executing = false;
	story_note_settled(story);
}

void story_take_back(struct story *story)
{
	for (size_t i = 0; i < story->n_in_batch; i++) {
		story->waiting[i].n_applied = story->waiting[i].n_in_force;
		story->waiting[i].status = KVMATTR_OK;
	}
	story->is_executing = false;
}
