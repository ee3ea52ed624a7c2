/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "replay-sessions.h"

#include "daemon/allocate.h"

#include <stdio.h>
#include <string.h>

struct replay_session *replay_find_session(struct replay *replay, uint64_t id)
{
	size_t low = 0, high = replay->n_sessions;

	if (replay->last_session < high && replay->sessions[replay->last_session].facts.id == id)
		low = high = replay->last_session;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (replay->sessions[middle].facts.id < id)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == replay->n_sessions || replay->sessions[low].facts.id != id ||
	    replay->sessions[low].is_closed)
		return NULL;
	replay->last_session = low;
	return &replay->sessions[low];
}

void replay_session_add(struct replay *replay, const struct vm_record_session *facts)
{
	allocate_room(replay->sessions, replay->n_sessions, replay->sessions_capacity);
	replay->sessions[replay->n_sessions++] = (struct replay_session){ .facts = *facts };
	replay->max_session = facts->id;
}

static void remove_closed(struct replay *replay)
{
	size_t n = 0;

	for (size_t i = 0; i < replay->n_sessions; i++)
		if (!replay->sessions[i].is_closed)
			replay->sessions[n++] = replay->sessions[i];
	replay->n_sessions = n;
	replay->n_closed = 0;
}

void replay_session_close(struct replay *replay, struct replay_session *session)
{
	free(session->failures);
	session->failures = NULL;
	session->n_failures = 0;
	session->is_closed = true;
	/* Only now and then: it moves all behind them. */
	if (++replay->n_closed > replay->n_sessions / 2)
		remove_closed(replay);
}

void replay_sessions_destroy(struct replay *replay)
{
	for (size_t i = 0; i < replay->n_sessions; i++)
		free(replay->sessions[i].failures);
	free(replay->sessions);
}

/* Drops failures that are too old to be asked for. */
static void forget_old_failures(struct replay_session *session)
{
	size_t n_old = 0;

	while (n_old < session->n_failures &&
	       session->settled_seqno - session->failures[n_old].seqno >= REPLAY_MAX_FAILURES)
		n_old++;
	if (!n_old)
		return;
	if (session->failures[n_old - 1].seqno > session->forgotten_seqno)
		session->forgotten_seqno = session->failures[n_old - 1].seqno;
	session->n_failures -= n_old;
	memmove(session->failures, session->failures + n_old,
		session->n_failures * sizeof(*session->failures));
}

static void add_failure(struct replay_session *session, const struct wire_failure *failure)
{
	/* Only now and then, and so that at least half of the room is free behind it. */
	if (session->n_failures == session->failures_capacity) {
		forget_old_failures(session);
		if (session->n_failures > session->failures_capacity / 2)
			session->failures_capacity *= 2;
		if (!session->failures_capacity)
			session->failures_capacity = 4;
		session->failures = allocate_again(session->failures, session->failures_capacity,
						   sizeof(*session->failures));
	}
	session->failures[session->n_failures++] = *failure;
}

/* What lies between was refused and answered; of what was begun, no more will come. */
static void skip_to(struct replay_session *session, uint64_t seqno)
{
	if (seqno == session->settled_seqno + 1)
		return;
	session->forgotten_seqno = seqno - 1;
	session->settled_seqno = seqno - 1;
}

static void settle(struct replay_session *session, uint64_t seqno)
{
	session->settled_seqno = seqno;
	session->n_in_force = 0;
	session->next_n_total = 0;
	session->next = (struct wire_update){ 0 };
}

void replay_sessions_trim(struct replay *replay)
{
	remove_closed(replay);
	for (size_t i = 0; i < replay->n_sessions; i++)
		forget_old_failures(&replay->sessions[i]);
}

static bool is_same_update(const struct wire_update *a, const struct wire_update *b)
{
	return a->kind == b->kind && a->form == b->form && a->layer == b->layer &&
	       a->value == b->value && a->restricted == b->restricted && a->mbec == b->mbec;
}

const char *replay_session_check_part(struct replay_session *session,
				      const struct vm_record_part *part, uint64_t batch_number)
{
	bool is_first = session->batch.number != batch_number;

	if (is_first) {
		session->batch.number = batch_number;
		session->batch.settled_seqno = session->settled_seqno;
		session->batch.n_in_force = session->n_in_force;
	}
	if (part->seqno <= session->batch.settled_seqno)
		return "is settled already";
	if (session->batch.n_in_force && part->seqno == session->batch.settled_seqno + 1) {
		if (!is_first)
			return "has two parts in a batch";
		if (part->first != session->batch.n_in_force)
			return "does not go on where it ended";
		if (part->n_total != session->next_n_total ||
		    !is_same_update(&part->update, &session->next))
			return "goes on as another one";
	} else if (part->first) {
		return "begins in its middle";
	}
	session->batch.settled_seqno = vm_record_part_is_last(part) ? part->seqno : part->seqno - 1;
	session->batch.n_in_force = vm_record_part_is_last(part) ? 0 : part->first + part->n;
	return NULL;
}

void replay_session_settle_part(struct replay_session *session, const struct vm_record_part *part,
				const char *text)
{
	struct wire_failure failure = { .seqno = part->seqno,
					.status = part->status,
					.n_in_force = part->first + part->n };

	skip_to(session, part->seqno);
	if (!vm_record_part_is_last(part)) {
		session->n_in_force = failure.n_in_force;
		session->next_n_total = part->n_total;
		session->next = part->update;
		session->next.n_elements = 0;
		return;
	}
	settle(session, part->seqno);
	if (!part->status)
		return;
	snprintf(failure.text, sizeof(failure.text), "%.*s", (int)part->text_size, text);
	add_failure(session, &failure);
}

const char *replay_session_check_refused(const struct replay_session *session,
					 const struct wire_failure *failure)
{
	bool is_next = failure->seqno == session->settled_seqno + 1;

	if (failure->seqno <= session->settled_seqno)
		return "is settled already";
	return failure->n_in_force == (is_next ? session->n_in_force : 0)
		       ? NULL
		       : "has other elements in force than it says";
}

void replay_session_settle_refused(struct replay_session *session,
				   const struct wire_failure *failure)
{
	skip_to(session, failure->seqno);
	settle(session, failure->seqno);
	add_failure(session, failure);
}
