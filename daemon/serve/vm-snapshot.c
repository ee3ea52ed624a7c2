/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm-snapshot.h"

#include "daemon/allocate.h"
#include "daemon/policy/elements.h"
#include "hosted-vm.h"
#include "session.h"

#include <stdio.h>
#include <string.h>

static uint32_t count_elements(const struct vm_update *update)
{
	return elements_count((struct elements){
		.bytes = update->elements, .n = update->n_elements, .form = update->form });
}

static struct wire_update parameters_of(const struct vm_update *update)
{
	return (struct wire_update){
		.kind = (uint8_t)update->element.kind,
		.form = update->form,
		.layer = update->element.layer,
		.value = update->element.value,
		.restricted = update->element.restricted,
		.mbec = update->element.mbec,
	};
}

static void add_failure(struct replay_session *to, const struct wire_failure *failure)
{
	allocate_room(to->failures, to->n_failures, to->failures_capacity);
	to->failures[to->n_failures++] = *failure;
}

/*
 * An update that was not answered so far: it is over and waits for the disk, or, where no batch is
 * open, some of its elements are in force.  Returns false if it is not over.
 */
static bool add_update(struct replay_session *to, const struct vm_update *update)
{
	const uint32_t n_total = count_elements(update);

	if (!update->status && update->n_in_force < n_total) {
		to->n_in_force = update->n_in_force;
		if (to->n_in_force) {
			to->next = parameters_of(update);
			to->next_n_total = n_total;
		}
		return false;
	}
	to->settled_seqno = update->seqno;
	if (update->status) {
		struct wire_failure failure = { .seqno = update->seqno,
						.status = update->status,
						.n_in_force = update->n_in_force };

		snprintf(failure.text, sizeof(failure.text), "%s", update->text);
		add_failure(to, &failure);
	}
	return true;
}

/* What was begun in a former life and was not sent again so far. */
static void add_begun(struct replay_session *to, const struct session *session)
{
	to->n_in_force = session->n_begun;
	to->next = session->begun;
	to->next_n_total = session->begun_n_total;
}

static void add_session(struct replay *replay, const struct session *session)
{
	const struct update_message *message;
	struct replay_session *to;

	allocate_room(replay->sessions, replay->n_sessions, replay->sessions_capacity);
	to = memset(&replay->sessions[replay->n_sessions++], 0, sizeof(*to));
	to->facts = session_facts(session);
	to->settled_seqno = session->settled_seqno;
	to->forgotten_seqno = session->forgotten_seqno;
	for (size_t i = 0; i < session->n_failures; i++)
		add_failure(to, &session->failures[i]);
	if (session->n_begun)
		add_begun(to, session);
	TAILQ_FOREACH (message, &session->messages, list)
		for (uint32_t i = 0; i < message->n_updates; i++)
			if (message->updates[i].seqno > to->settled_seqno &&
			    !add_update(to, &message->updates[i]))
				return;
}

static int compare_sessions(const void *one, const void *other)
{
	const struct replay_session *a = one, *b = other;

	return (a->facts.id > b->facts.id) - (a->facts.id < b->facts.id);
}

static void add_facts(struct replay *replay, const struct hosted_vm *hosted)
{
	memcpy(replay->facts.name, hosted->name, sizeof(replay->facts.name));
	replay->facts.n_views = hosted->n_views;
	replay->facts.is_simulated = hosted->is_simulated;
	replay->facts.executor = (uint8_t)hosted->executor_place;
	memcpy(replay->views, hosted->views, hosted->n_views * sizeof(replay->views[0]));
	replay->registered_us = hosted->registered_us;
	replay->is_ready = hosted->is_ready;
}

const struct policy *vm_snapshot(void *context, struct replay *replay)
{
	const struct hosted_vm *hosted = context;
	const struct session *session;

	if (!hosted->vm || vm_state(hosted->vm) == VM_EXECUTING)
		return NULL;
	add_facts(replay, hosted);
	replay->commit = vm_commit(hosted->vm);
	replay->commit_us = clock_now_us(CLOCK_REALTIME);
	vm_add_doubtful_pages(hosted->vm, &replay->doubtful);
	/* Those that were closed with updates under way are not over in the journal either. */
	TAILQ_FOREACH (session, &hosted->sessions, list)
		add_session(replay, session);
	TAILQ_FOREACH (session, &hosted->closed_sessions, list)
		add_session(replay, session);
	if (replay->n_sessions)
		qsort(replay->sessions, replay->n_sessions, sizeof(*replay->sessions),
		      compare_sessions);
	/* No session of another VM has an id that is to be known here, but a later one has a higher. */
	replay->max_session = hosted->daemon->last_session_id;
	return vm_policy(hosted->vm);
}
