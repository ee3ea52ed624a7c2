/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Updates: packed into messages, many under way at once, answered in order.
 *
 * Agents send hundreds of thousands of small updates while a guest boots.  An update costs one
 * copy into the message that is being filled and one place in a ring: no allocation, and no
 * system call until the message is full.  One answer from the daemon covers all seqnos up to its
 * id and lists those that failed.
 */
#include "client/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/* More than this under way hides no further latency; a daemon's larger offer is not taken up. */
#define MAX_IN_FLIGHT 65536u

/* What one message holds beside its fixed parts is what the public limits promise. */
#define ELEMENTS_SIZE \
	(WIRE_MAX_MESSAGE - sizeof(struct wire_update_list) - sizeof(struct wire_update))
_Static_assert(KVMATTR_MAX_PAGES * sizeof(uint64_t) <= ELEMENTS_SIZE, "one message holds it");
_Static_assert(KVMATTR_MAX_RANGES * sizeof(struct kvmattr_range) <= ELEMENTS_SIZE,
	       "one message holds it");

int updates_open(struct kvmattr *c, uint32_t max_in_flight)
{
	struct update_window *updates = &c->updates;
	uint32_t n = 1;

	updates->limit = max_in_flight < MAX_IN_FLIGHT ? max_in_flight : MAX_IN_FLIGHT;
	while (n < updates->limit)
		n *= 2;
	updates->mask = n - 1;
	updates->pending = calloc(n, sizeof(*updates->pending));
	if (!updates->pending || outbox_open(&c->outbox))
		return connection_break(c, -ENOMEM, KVMATTR_NO_VM,
					"no memory for %u updates under way", n);
	return 0;
}

void updates_limit(struct kvmattr *c, uint32_t max_in_flight)
{
	uint32_t n_places = c->updates.mask + 1;

	c->updates.limit = max_in_flight < n_places ? max_in_flight : n_places;
}

void updates_close(struct kvmattr *c)
{
	free(c->updates.pending);
	outbox_close(&c->outbox);
}

static uint64_t in_flight(const struct update_window *updates)
{
	return updates->submitted - updates->answered;
}

/* The oldest update is answered. */
static void complete(struct update_window *updates, struct kvmattr_answer *answer)
{
	const struct pending_update *pending =
		&updates->pending[++updates->answered & updates->mask];

	answer->seqno = updates->answered;
	if (answer->status == KVMATTR_OK)
		answer->n_in_force = pending->n_elements;
	pending->done(pending->context, answer);
}

void updates_abandon(struct kvmattr *c, enum kvmattr_status status)
{
	struct kvmattr_answer answer = { .status = (int)status, .text = c->message };

	while (in_flight(&c->updates))
		complete(&c->updates, &answer);
}

/*
 * That an update is in force is what protection rests on: an answer is checked whole before any
 * of it is believed.
 */
static const char *check_answer(const struct kvmattr *c, const struct wire_answer *answer)
{
	const struct update_window *updates = &c->updates;
	uint64_t last = updates->answered;

	if (answer->header.id <= updates->answered || answer->header.id > c->outbox.handed)
		return "header.id";
	for (uint32_t i = 0; i < answer->n_failures; i++) {
		struct wire_failure failure;
		const char *wrong = wire_at_failure(c->received, i, &failure);

		if (wrong)
			return wrong;
		if (failure.seqno <= last || failure.seqno > answer->header.id)
			return "failure.seqno";
		if (failure.n_in_force > updates->pending[failure.seqno & updates->mask].n_elements)
			return "failure.n_in_force";
		last = failure.seqno;
	}
	return NULL;
}

int updates_take_answer(struct kvmattr *c, size_t size)
{
	struct update_window *updates = &c->updates;
	struct wire_answer answer;
	const char *wrong = wire_get_answer(c->received, size, &answer);

	if (!wrong)
		wrong = check_answer(c, &answer);
	if (wrong)
		return connection_break_protocol(c, WIRE_ANSWER, wrong);

	for (uint32_t i = 0; i <= answer.n_failures; i++) {
		struct kvmattr_answer done = { .commit = answer.commit, .text = "" };
		uint64_t end = answer.header.id + 1;
		struct wire_failure failure;

		if (i < answer.n_failures && !wire_at_failure(c->received, i, &failure))
			end = failure.seqno;
		while (updates->answered + 1 < end)
			complete(updates, &done);
		if (i == answer.n_failures)
			break;
		done.status = (int)failure.status;
		done.n_in_force = failure.n_in_force;
		done.text = *failure.text ? failure.text : kvmattr_status_text(done.status);
		complete(updates, &done);
	}
	outbox_release(&c->outbox, updates->answered);
	return 0;
}

int updates_send(struct kvmattr *c)
{
	if (c->broken)
		return c->broken;
	outbox_seal(&c->outbox);
	for (;;) {
		int r = connection_push(c);

		if (r != -EAGAIN)
			return r;
		/* It goes when the link is up again; whoever wants an answer waits for that. */
		if (c->link.state != LINK_UP)
			return 0;
		r = connection_wait_for_room(c);
		if (r)
			return r;
	}
}

/* What the daemon would take for a broken message is told apart here, before anything is sent. */
static int check_update(struct kvmattr *c, const struct kvmattr_update *update,
			enum wire_form *ret_form)
{
	uint32_t limit = update->gfns ? KVMATTR_MAX_PAGES : update->ranges ? KVMATTR_MAX_RANGES : 0;

	if (!c->has_vm)
		return connection_refuse(c, KVMATTR_NO_VM,
					 "this connection has no VM to update: kvmattr_register() "
					 "one, or kvmattr_adopt() an agent's socket");
	if (update->kind < KVMATTR_PROTECT || update->kind >= KVMATTR_N_UPDATE_KINDS)
		return connection_refuse(c, KVMATTR_INVALID_PARAMETER, "no kind of update is %d",
					 (int)update->kind);
	if (update->gfns && update->ranges)
		return connection_refuse(c, KVMATTR_INVALID_PARAMETER,
					 "an update has GFNs or ranges, not both");
	if (update->n > limit || (limit && !update->n))
		return connection_refuse(c, KVMATTR_INVALID_PARAMETER,
					 "an update with %u elements: it has to have %s%u",
					 update->n, limit ? "1 to " : "", limit);
	*ret_form = update->gfns     ? WIRE_FORM_PAGES
		    : update->ranges ? WIRE_FORM_RANGES
				     : WIRE_FORM_NONE;
	return 0;
}

/* Sends or waits until an update of that size fits, in the window and in the message. */
static int make_room(struct kvmattr *c, size_t size)
{
	struct update_window *updates = &c->updates;

	while (in_flight(updates) >= updates->limit || outbox_is_full(&c->outbox)) {
		int r = updates_send(c);

		if (!r && (in_flight(updates) >= updates->limit || outbox_is_full(&c->outbox)))
			r = connection_wait(c);
		if (r)
			return r;
	}
	return outbox_has_room(&c->outbox, size) ? 0 : updates_send(c);
}

static int submit(struct kvmattr *c, const struct kvmattr_update *update, kvmattr_done done,
		  void *context, uint64_t *ret_seqno)
{
	struct update_window *updates = &c->updates;
	enum wire_form form = WIRE_FORM_NONE;
	struct wire_update head;
	size_t elements_size;
	int r;

	if (!done)
		return connection_refuse(c, KVMATTR_INVALID_PARAMETER,
					 "an update's outcome has to be taken: done is NULL");
	r = check_update(c, update, &form);
	if (r)
		return r;
	elements_size = update->n * wire_element_size(form);
	r = make_room(c, sizeof(head) + elements_size);
	if (r)
		return r;

	head = (struct wire_update){ .kind = (uint8_t)update->kind,
				     .form = (uint8_t)form,
				     .layer = update->layer,
				     .value = update->value,
				     .restricted = update->restricted,
				     .mbec = update->mbec ? 1 : 0,
				     .n_elements = update->n };
	r = outbox_add(&c->outbox, &head,
		       update->gfns ? (const void *)update->gfns : update->ranges, elements_size);
	if (r)
		return connection_break(c, r, KVMATTR_NO_VM, "no memory for one more update");
	updates->pending[++updates->submitted & updates->mask] =
		(struct pending_update){ done, context, update->n };
	if (ret_seqno)
		*ret_seqno = updates->submitted;
	return 0;
}

int kvmattr_submit(struct kvmattr *c, const struct kvmattr_update *update, kvmattr_done done,
		   void *context, uint64_t *ret_seqno)
{
	int r = connection_enter(c);

	return r ? r : connection_leave(c, submit(c, update, done, context, ret_seqno));
}

int kvmattr_flush(struct kvmattr *c)
{
	int r = connection_enter(c);

	return r ? r : connection_leave(c, updates_send(c));
}

/* Flushes, and waits until so many are answered. */
static int wait_for(struct kvmattr *c, uint64_t seqno)
{
	int r = updates_send(c);

	while (!r && c->updates.answered < seqno)
		r = connection_wait(c);
	return r;
}

int kvmattr_wait(struct kvmattr *c)
{
	int r = connection_enter(c);

	return r ? r : connection_leave(c, wait_for(c, c->updates.submitted));
}

static int dispatch(struct kvmattr *c)
{
	int r;

	while (!(r = connection_take(c, MSG_DONTWAIT)))
		;
	if (r != -EAGAIN)
		return r;
	/* Behind a pause there may be more to send than the socket takes at once. */
	r = connection_push(c);
	if (c->link.state == LINK_UP)
		connection_watch_room(c, r == -EAGAIN);
	return r == -EAGAIN ? 0 : r;
}

int kvmattr_dispatch(struct kvmattr *c)
{
	int r = connection_enter(c);

	return r ? r : connection_leave(c, dispatch(c));
}

size_t kvmattr_in_flight(const struct kvmattr *c)
{
	return (size_t)in_flight(&c->updates);
}

struct outcome {
	struct kvmattr *connection;
	struct kvmattr_answer answer;
};

static void keep_outcome(void *context, const struct kvmattr_answer *answer)
{
	struct outcome *outcome = context;

	outcome->answer = *answer;
	if (answer->status)
		connection_say(outcome->connection, "%s", answer->text);
	outcome->answer.text = answer->status ? outcome->connection->message : "";
}

static int do_update(struct kvmattr *c, const struct kvmattr_update *update,
		     struct kvmattr_answer *ret)
{
	struct outcome outcome = { .connection = c };
	uint64_t seqno;
	int r;

	r = submit(c, update, keep_outcome, &outcome, &seqno);
	if (!r)
		r = wait_for(c, seqno);
	if (r)
		return r;
	if (ret)
		*ret = outcome.answer;
	return outcome.answer.status;
}

int kvmattr_do_update(struct kvmattr *c, const struct kvmattr_update *update,
		      struct kvmattr_answer *ret)
{
	int r = connection_enter(c);

	return r ? r : connection_leave(c, do_update(c, update, ret));
}
