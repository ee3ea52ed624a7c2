/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/journal-story-private.h"

#include "daemon/allocate.h"
#include "tests/unit/random-updates.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

/* ---- Records ----------------------------------------------------------------------------------- */

uint64_t story_add_record(struct story *story, enum vm_record_type type, const void *payload,
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

void story_note_settled(struct story *story)
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
	story_add_record(story, VM_RECORD_SESSION, &session->facts, sizeof(session->facts));
	story_note_settled(story);
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
	story_add_record(story, VM_RECORD_SESSION_CLOSED, &closed, sizeof(closed));
	story_note_settled(story);
}

struct story_session *story_any_session(struct story *story)
{
	size_t i;

	do
		i = below(story, story->n_sessions);
	while (story->sessions[i].is_closed);
	return &story->sessions[i];
}

void story_go_on_in(struct story_session *session, const struct story_update *update)
{
	if (update->seqno > session->settled_seqno + 1)
		session->forgotten_seqno = session->settled_seqno = update->seqno - 1;
	session->n_in_force = update->n_in_force;
	session->next_n_total = update->n_total;
	session->next = update->update;
	session->next.n_elements = 0;
}

void story_settle_in(struct story_session *session, const struct story_update *update,
		     const char *text)
{
	struct wire_failure failure = { update->seqno, update->status, update->n_in_force, "" };

	story_go_on_in(session, update);
	session->settled_seqno = update->seqno;
	session->n_in_force = 0;
	if (!update->status)
		return;
	snprintf(failure.text, sizeof(failure.text), "%s", text);
	allocate_room(session->failures, session->n_failures, session->failures_capacity);
	session->failures[session->n_failures++] = failure;
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
	story_add_record(story, VM_RECORD_REFUSED, &refused, sizeof(refused));
	if (update->session && was_in_batch)
		story_give_up_batch(story);
	if (update->session)
		story_settle_in(update->session, update, refused.failure.text);
	/* What the open batch held is counted by its updates; this one is out of it. */
	if (story->n_in_batch)
		story->n_in_batch--;
	story_remove_waiting(story, 0);
	story_note_settled(story);
}

/* It was refused and answered, and the journal could not be written meanwhile. */
static void lose_first(struct story *story)
{
	if (story->n_in_batch)
		story->n_in_batch--;
	story_remove_waiting(story, 0);
}

static void end_executing(struct story *story)
{
	uint64_t what = below(story, 20);

	if (what >= 4) {
		story_come_into_force(story, !one_in(story, 6));
		return;
	}
	story_take_back(story);
	if (what == 0)
		refuse_first(story);
	else if (what == 1)
		story_begin_batch(story, 1 + (uint32_t)below(story, 3));
	else
		name_session(story, story_any_session(story));
}

static void go_on_with_sessions(struct story *story)
{
	struct story_session *session = story_any_session(story);

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
	story_send_updates(story);
	if (one_in(story, 12)) {
		refuse_first(story);
		return;
	}
	if (story->n_waiting > 1 && one_in(story, 30))
		lose_first(story);
	story_begin_batch(story, 1 + (uint32_t)below(story, one_in(story, 3) ? 8 : 200));
	if (one_in(story, 3)) {
		more_follows(story);
		story_come_into_force(story, true);
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
	story_add_record(story, VM_RECORD_REGISTERED, payload.data, payload.size);
	image_destroy(&payload);
	story_note_settled(story);
	more_follows(story);
}

/* Not all of it: some is added later. */
static void add_ram(struct story *story)
{
	story_add_update(story, NULL,
			 (struct policy_element){ .kind = KVMATTR_ADD_RAM,
						  .range = { below(story, 300), 1 } });
	free(story->waiting[0].elements);
	story->waiting[0].update.form = WIRE_FORM_RANGES;
	story->waiting[0].n_total = story->waiting[0].update.n_elements = 2;
	story->waiting[0].elements = allocate(2 * sizeof(struct kvmattr_range));
	memcpy(story->waiting[0].elements,
	       (struct kvmattr_range[]){ { below(story, 300), 1500 }, { 2000, 1000 } },
	       2 * sizeof(struct kvmattr_range));
	story_begin_batch(story, 100);
	story_come_into_force(story, true);
}

void story_begin(struct story *story, uint64_t random)
{
	*story = (struct story){ .random = random };
	write_registered(story);
	open_session(story, WIRE_ROLE_OWNER);
	add_ram(story);
	story_add_record(story, VM_RECORD_READY, NULL, 0);
	story_note_settled(story);
	story->is_ready = true;
}

void story_release(struct story *story)
{
	struct vm_record_released released = { .status = KVMATTR_NO_VM,
					       .text = "the owner is gone" };

	story_add_record(story, VM_RECORD_RELEASED, &released, sizeof(released));
	story_give_up_batch(story);
	story_note_settled(story);
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
		story_remove_waiting(story, 0);
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
