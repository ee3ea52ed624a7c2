/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/journal-story.h"

#include "daemon/allocate.h"
#include "tests/unit/random-updates.h"
#include "tests/unit/seeded-suite.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static bool one_in(struct story *story, uint64_t n)
{
	return random_one_in(&story->random, n);
}

static uint64_t below(struct story *story, uint64_t bound)
{
	return random_below(&story->random, bound);
}

/* ---- Records ----------------------------------------------------------------------------------- */

static uint64_t add_record(struct story *story, enum vm_record_type type, const void *payload,
			   size_t size)
{
	struct story_record *record, *last = NULL;

	if (story->n_records)
		last = &story->records[story->n_records - 1];
	allocate_room(story->records, story->n_records, story->records_capacity);
	record = &story->records[story->n_records++];
	*record = (struct story_record){ .payload = allocate(size), .ends_write = true };
	if (story->n_records > 1) {
		last = record - 1;
		record->offset = last->offset + journal_record_size(last->header.size);
	}
	record->header.number = story->n_records;
	record->header.time_us = 1000000 + 10 * story->n_records;
	record->header.type = (uint16_t)type;
	record->header.size = (uint32_t)size;
	if (size)
		memcpy(record->payload, payload, size);
	return record->header.number;
}

/* The next record is written together with the last one. */
static void more_follows(struct story *story)
{
	story->records[story->n_records - 1].ends_write = false;
}

static void note_settled(struct story *story)
{
	if (!story->is_open)
		story->settled = story->n_records;
}

struct journal_record story_record(const struct story *story, size_t i)
{
	const struct story_record *from = &story->records[i];

	return (struct journal_record){ .header = from->header,
					.payload = from->payload,
					.file = "story",
					.offset = from->offset };
}

void story_write(const struct story *story, struct journal *journal)
{
	for (size_t i = journal_status(journal).next_number - 1; i < story->n_records; i++) {
		const struct story_record *record = &story->records[i];
		const struct iovec part = { record->payload, record->header.size };

		ck_assert_uint_eq(journal_append(journal, record->header.type,
						 record->header.time_us, &part, 1),
				  i + 1);
		if (record->ends_write)
			ck_assert_int_eq(journal_write(journal), 0);
	}
}

/* ---- Sessions ---------------------------------------------------------------------------------- */

static void write_session(struct story *story, const struct story_session *session)
{
	add_record(story, VM_RECORD_SESSION, &session->facts, sizeof(session->facts));
	note_settled(story);
}

static void open_session(struct story *story, enum wire_role role)
{
	struct story_session *session = &story->sessions[story->n_sessions++];

	*session = (struct story_session){ 0 };
	session->facts.id = story->max_session += 1 + below(story, 3);
	session->facts.role = (uint8_t)role;
	session->facts.pid = (int32_t)below(story, 30000);
	session->facts.uid = (uint32_t)below(story, 1000);
	for (size_t i = 0; i < WIRE_TOKEN_SIZE; i++)
		session->facts.token[i] = (uint8_t)below(story, 256);
	if (role == WIRE_ROLE_AGENT) {
		struct policy_actor actor = random_actor(&story->random);

		session->facts.vtl = actor.vtl;
		session->facts.rights = actor.rights;
	}
	write_session(story, session);
}

static void name_session(struct story *story, struct story_session *session)
{
	snprintf(session->facts.peer, sizeof(session->facts.peer), "peer %u",
		 (unsigned int)below(story, 1000));
	write_session(story, session);
}

static bool has_waiting(const struct story *story, const struct story_session *session)
{
	for (size_t i = 0; i < story->n_waiting; i++)
		if (story->waiting[i].session == session)
			return true;
	return false;
}

static void close_session(struct story *story, struct story_session *session)
{
	struct vm_record_session_closed closed = { session->facts.id };

	session->is_closed = true;
	add_record(story, VM_RECORD_SESSION_CLOSED, &closed, sizeof(closed));
	note_settled(story);
}

/* One that is open; the owner's is among them. */
static struct story_session *any_session(struct story *story)
{
	size_t i;

	do
		i = below(story, story->n_sessions);
	while (story->sessions[i].is_closed);
	return &story->sessions[i];
}

/* The update's elements up to n_in_force are in force, and it is not settled yet. */
static void go_on_in(struct story_session *session, const struct story_update *update)
{
	if (update->seqno > session->settled_seqno + 1)
		session->forgotten_seqno = session->settled_seqno = update->seqno - 1;
	session->n_in_force = update->n_in_force;
	session->next_n_total = update->n_total;
	session->next = update->update;
	session->next.n_elements = 0;
}

static void settle_in(struct story_session *session, const struct story_update *update,
		      const char *text)
{
	struct wire_failure failure = { update->seqno, update->status, update->n_in_force, "" };

	go_on_in(session, update);
	session->settled_seqno = update->seqno;
	session->n_in_force = 0;
	if (!update->status)
		return;
	snprintf(failure.text, sizeof(failure.text), "%s", text);
	allocate_room(session->failures, session->n_failures, session->failures_capacity);
	session->failures[session->n_failures++] = failure;
}

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

static void add_update(struct story *story, struct story_session *session,
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

/* As few or as many as it takes for batches of every kind. */
static void send_updates(struct story *story)
{
	uint64_t n = 1 + below(story, 5);

	while (n-- && story->n_waiting < STORY_WAITING) {
		struct story_session *session = one_in(story, 30) ? NULL : any_session(story);

		add_update(story, session, sensible_element(story, session));
	}
}

static void remove_waiting(struct story *story, size_t i)
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
	add_record(story, VM_RECORD_BATCH, payload.data, payload.size);
	image_destroy(&payload);
}

/* The batch before, if it is open, was taken back: in KVM there may be anything. */
static void give_up_batch(struct story *story)
{
	for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++)
		story->doubts.pages[gfn] |= story->batch_doubts.pages[gfn];
	story->doubts.is_all_ram |= story->batch_doubts.is_all_ram;
	story->batch_doubts = (struct story_doubts){ 0 };
	story->is_open = false;
}

static void begin_batch(struct story *story, uint32_t room)
{
	struct story_update *update;

	give_up_batch(story);
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
				go_on_in(update->session, update);
			continue;
		}
		if (update->session)
			settle_in(update->session, update, text_of(update));
		remove_waiting(story, 0);
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

static void come_into_force(struct story *story, bool is_all_known)
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
	give_up_batch(story);
	if (is_all_known)
		story->doubts = (struct story_doubts){ 0 };
	settle_batch(story);
	keep_history(story);
	add_record(story, VM_RECORD_IN_FORCE, &in_force, sizeof(in_force));
	story->is_executing = false;
	note_settled(story);
}

/* All of it waits again, without what it had in the batch. */
static void take_back(struct story *story)
{
	for (size_t i = 0; i < story->n_in_batch; i++) {
		story->waiting[i].n_applied = story->waiting[i].n_in_force;
		story->waiting[i].status = KVMATTR_OK;
	}
	story->is_executing = false;
}

/* ---- What else happens ------------------------------------------------------------------------- */

/* The first that waits ends outside of a batch. */
static void refuse_first(struct story *story)
{
	struct story_update *update = &story->waiting[0];
	struct vm_record_refused refused = {
		.session = update->session ? update->session->facts.id : 0,
		.failure = { update->seqno, KVMATTR_KERNEL_REFUSED, update->n_in_force,
			     "KVM refused it" },
	};
	bool was_in_batch = false;

	for (size_t i = 0; i < story->n_in_batch; i++)
		was_in_batch |= story->waiting[i].session == update->session;
	update->status = KVMATTR_KERNEL_REFUSED;
	add_record(story, VM_RECORD_REFUSED, &refused, sizeof(refused));
	if (update->session && was_in_batch)
		give_up_batch(story);
	if (update->session)
		settle_in(update->session, update, refused.failure.text);
	/* What the open batch held is counted by its updates; this one is out of it. */
	if (story->n_in_batch)
		story->n_in_batch--;
	remove_waiting(story, 0);
	note_settled(story);
}

/* It was refused and answered, and the journal could not be written meanwhile. */
static void lose_first(struct story *story)
{
	if (story->n_in_batch)
		story->n_in_batch--;
	remove_waiting(story, 0);
}

static void end_executing(struct story *story)
{
	uint64_t what = below(story, 20);

	if (what >= 4) {
		come_into_force(story, !one_in(story, 6));
		return;
	}
	take_back(story);
	if (what == 0)
		refuse_first(story);
	else if (what == 1)
		begin_batch(story, 1 + (uint32_t)below(story, 3));
	else
		name_session(story, any_session(story));
}

static void go_on_with_sessions(struct story *story)
{
	struct story_session *session = any_session(story);

	if (story->n_sessions < STORY_SESSIONS && one_in(story, 2))
		open_session(story, WIRE_ROLE_AGENT);
	else if (session->facts.role == WIRE_ROLE_AGENT && !has_waiting(story, session) &&
		 one_in(story, 2))
		close_session(story, session);
	else
		name_session(story, session);
}

void story_go_on(struct story *story)
{
	ck_assert(!story->is_released);
	if (story->is_executing) {
		end_executing(story);
		return;
	}
	if (one_in(story, 8)) {
		go_on_with_sessions(story);
		return;
	}
	send_updates(story);
	if (one_in(story, 12)) {
		refuse_first(story);
		return;
	}
	if (story->n_waiting > 1 && one_in(story, 30))
		lose_first(story);
	begin_batch(story, 1 + (uint32_t)below(story, one_in(story, 3) ? 8 : 200));
	if (one_in(story, 3)) {
		more_follows(story);
		come_into_force(story, true);
	}
}

void story_settle(struct story *story)
{
	while (story->is_open)
		story_go_on(story);
}

/* ---- Beginning and end ------------------------------------------------------------------------- */

static void write_registered(struct story *story)
{
	struct image payload = { 0 };
	struct view views[KVMATTR_N_VTLS];
	unsigned int n = view_mix((unsigned int)below(story, N_VIEW_MIXES), views);
	struct policy *policy = policy_new(views, n);

	story->oracle = allocate_one(struct oracle);
	story->batch = allocate_one(struct oracle);
	oracle_init(story->oracle, policy);
	policy_free(policy);
	story->facts = (struct vm_record_registered){
		.name = "guest", .n_views = n, .is_simulated = 1, .executor = WIRE_EXECUTOR_VMM
	};
	image_add(&payload, &story->facts, sizeof(story->facts));
	for (unsigned int i = 0; i < n; i++) {
		story->views[i] = (struct wire_view){ .vtl = views[i].vtl,
						      .abi = (uint8_t)views[i].dialect.abi,
						      .supported = views[i].dialect.supported };
		image_add(&payload, &story->views[i], sizeof(story->views[i]));
	}
	add_record(story, VM_RECORD_REGISTERED, payload.data, payload.size);
	image_destroy(&payload);
	note_settled(story);
	more_follows(story);
}

/* Not all of it: some is added later. */
static void add_ram(struct story *story)
{
	add_update(story, NULL,
		   (struct policy_element){ .kind = KVMATTR_ADD_RAM,
					    .range = { below(story, 300), 1 } });
	free(story->waiting[0].elements);
	story->waiting[0].update.form = WIRE_FORM_RANGES;
	story->waiting[0].n_total = story->waiting[0].update.n_elements = 2;
	story->waiting[0].elements = allocate(2 * sizeof(struct kvmattr_range));
	memcpy(story->waiting[0].elements,
	       (struct kvmattr_range[]){ { below(story, 300), 1500 }, { 2000, 1000 } },
	       2 * sizeof(struct kvmattr_range));
	begin_batch(story, 100);
	come_into_force(story, true);
}

void story_begin(struct story *story, uint64_t random)
{
	*story = (struct story){ .random = random };
	write_registered(story);
	open_session(story, WIRE_ROLE_OWNER);
	add_ram(story);
	add_record(story, VM_RECORD_READY, NULL, 0);
	note_settled(story);
	story->is_ready = true;
}

void story_release(struct story *story)
{
	struct vm_record_released released = { .status = KVMATTR_NO_VM,
					       .text = "the owner is gone" };

	add_record(story, VM_RECORD_RELEASED, &released, sizeof(released));
	give_up_batch(story);
	note_settled(story);
	story->is_executing = false;
	story->is_released = true;
}

void story_end(struct story *story)
{
	for (size_t i = 0; i < story->n_records; i++)
		free(story->records[i].payload);
	free(story->records);
	for (size_t i = 0; i < story->n_sessions; i++)
		free(story->sessions[i].failures);
	while (story->n_waiting)
		remove_waiting(story, 0);
	for (size_t i = 0; i < story->n_history; i++)
		free(story->history[i]);
	free(story->history);
	free(story->oracle);
	free(story->batch);
	*story = (struct story){ 0 };
}

const struct oracle *story_at(const struct story *story, uint64_t commit)
{
	ck_assert_uint_le(commit, story->commit);
	if (commit == story->commit)
		return story->oracle;
	ck_assert_uint_lt(commit, story->n_history);
	ck_assert_ptr_nonnull(story->history[commit]);
	return story->history[commit];
}
