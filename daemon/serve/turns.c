/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "turns.h"

#include <assert.h>

/*
 * Between two looks for events.  Then what events bring at once, and what waits, for as long each.
 */
#define SLICE_US 1000
/* What one that asked for nothing has to its good. */
#define CREDIT_US 250

void turns_init(struct turns *turns, uint64_t (*now_us)(void))
{
	*turns = (struct turns){ .now_us = now_us };
	TAILQ_INIT(&turns->whole.waiting);
	TAILQ_INIT(&turns->put_off);
}

bool turns_are_waiting(const struct turns *turns)
{
	return !TAILQ_EMPTY(&turns->whole.waiting) || !TAILQ_EMPTY(&turns->put_off);
}

/* For one that is not patient. */
static bool is_free(const struct turns *turns)
{
	return !turns->is_at_work && TAILQ_EMPTY(&turns->whole.waiting) &&
	       turns->used_us < SLICE_US;
}

/* It has not ended. */
static struct turns *turns_of(struct turn *turn)
{
	assert(turn->parent);
	while (turn->parent)
		turn = turn->parent;
	return (struct turns *)((char *)turn - offsetof(struct turns, whole));
}

void turn_init(struct turns *turns, struct turn *turn, struct turn *parent, turn_work work,
	       void *context)
{
	*turn = (struct turn){
		.parent = parent ? parent : &turns->whole,
		.work = work,
		.context = context,
	};
	TAILQ_INIT(&turn->waiting);
	turn->parent->n_parts++;
}

void turn_be_patient(struct turn *turn)
{
	turn->is_patient = true;
}

/* Most who ask have just used something: their place is near the end. */
static void put_among_waiting(struct turn *turn)
{
	struct turn *before = TAILQ_LAST(&turn->parent->waiting, turn_list);

	while (before && before->used_us > turn->used_us)
		before = TAILQ_PREV(before, turn_list, list);
	if (before)
		TAILQ_INSERT_AFTER(&turn->parent->waiting, before, turn, list);
	else
		TAILQ_INSERT_HEAD(&turn->parent->waiting, turn, list);
}

/* What it did not ask for while others worked is not made up for. */
static void catch_up(struct turn *turn)
{
	if (turn->used_us + CREDIT_US < turn->parent->parts_us)
		turn->used_us = turn->parent->parts_us - CREDIT_US;
}

/* One more, or one less, waits or works; of those that do, a patient one does not count. */
static void become_busy(struct turns *turns, bool is_patient)
{
	if (!is_patient && !turns->n_busy++)
		turns->busy_us = turns->now_us();
}

static void become_free(struct turns *turns, bool is_patient)
{
	if (!is_patient)
		turns->n_busy--;
}

static void put_in_tree(struct turn *turn)
{
	for (; turn->parent && !turn->is_waiting; turn = turn->parent) {
		catch_up(turn);
		turn->is_waiting = true;
		put_among_waiting(turn);
	}
}

static void wait_for_turn(struct turns *turns, struct turn *turn)
{
	become_busy(turns, turn->is_patient);
	put_in_tree(turn);
}

/* Until it is seen who else wants turns. */
static void put_off(struct turns *turns, struct turn *turn)
{
	turn->is_put_off = true;
	turn->due_us = turns->now_us() + TURNS_PATIENCE_US;
	TAILQ_INSERT_TAIL(&turns->put_off, turn, list);
}

static void end_patience(struct turns *turns, struct turn *turn)
{
	TAILQ_REMOVE(&turns->put_off, turn, list);
	turn->is_put_off = false;
}

static bool is_busy_for_long(const struct turns *turns)
{
	return turns->n_busy && turns->now_us() - turns->busy_us >= TURNS_BUSY_US;
}

void turn_ask_later(struct turn *turn)
{
	struct turns *turns;

	if (turn->is_waiting || !turn->parent)
		return;
	turns = turns_of(turn);
	if (turn->is_put_off)
		end_patience(turns, turn);
	wait_for_turn(turns, turn);
}

static void ask_patiently(struct turns *turns, struct turn *turn)
{
	if (turn->is_waiting || turn->is_put_off)
		return;
	if (is_busy_for_long(turns))
		wait_for_turn(turns, turn);
	else
		put_off(turns, turn);
}

/* It, and those of which it was the only part that waited. */
static void take_from_tree(struct turn *turn)
{
	do {
		TAILQ_REMOVE(&turn->parent->waiting, turn, list);
		turn->is_waiting = false;
		turn = turn->parent;
	} while (turn->parent && TAILQ_EMPTY(&turn->waiting));
}

void turn_forget(struct turn *turn)
{
	if (turn->is_put_off)
		end_patience(turns_of(turn), turn);
	if (!turn->is_waiting)
		return;
	become_free(turns_of(turn), turn->is_patient);
	take_from_tree(turn);
}

void turn_end(struct turns *turns, struct turn *turn)
{
	if (!turn->parent)
		return;
	assert(!turn->n_parts);
	turn_forget(turn);
	turn->parent->n_parts--;
	if (turns->worker == turn)
		turns->worker = turn->parent;
	turn->parent = NULL;
}

void turn_move(struct turn *turn, struct turn *parent)
{
	bool was_waiting = turn->is_waiting;

	if (was_waiting)
		take_from_tree(turn);
	turn->parent->n_parts--;
	turn->parent = parent;
	turn->used_us = parent->parts_us;
	parent->n_parts++;
	if (was_waiting)
		put_in_tree(turn);
}

void turn_bill(struct turn *turn, uint64_t used_us)
{
	for (; turn && turn->parent; turn = turn->parent) {
		if (turn->parent->parts_us < turn->used_us)
			turn->parent->parts_us = turn->used_us;
		turn->used_us += used_us;
		if (turn->is_waiting) {
			TAILQ_REMOVE(&turn->parent->waiting, turn, list);
			put_among_waiting(turn);
		}
	}
}

/* The turn, and others with it, may be gone afterwards. */
static void take(struct turns *turns, struct turn *turn)
{
	uint64_t started_us = turns->now_us(), used_us;
	bool is_patient = turn->is_patient;

	become_busy(turns, is_patient);
	turn_forget(turn);
	turns->worker = turn;
	turns->is_at_work = true;
	turn->work(turn->context);
	turns->is_at_work = false;
	become_free(turns, is_patient);
	used_us = turns->now_us() - started_us;
	turns->used_us += used_us;
	latency_add(&turns->lengths, used_us);
	turn_bill(turns->worker, used_us);
	turns->worker = NULL;
}

void turn_ask(struct turns *turns, struct turn *turn)
{
	if (turn->is_patient)
		ask_patiently(turns, turn);
	else if (is_free(turns))
		take(turns, turn);
	else
		turn_ask_later(turn);
}

static void end_the_patience_of_some(struct turns *turns)
{
	uint64_t now_us = turns->n_busy ? turns->now_us() : UINT64_MAX;
	struct turn *turn;

	while ((turn = TAILQ_FIRST(&turns->put_off)) && turn->due_us <= now_us) {
		end_patience(turns, turn);
		wait_for_turn(turns, turn);
	}
}

static struct turn *find_next(struct turns *turns)
{
	struct turn *turn = &turns->whole;

	if (!TAILQ_EMPTY(&turns->put_off))
		end_the_patience_of_some(turns);
	while (!turn->work)
		turn = TAILQ_FIRST(&turn->waiting);
	return turn;
}

void turns_run(struct turns *turns)
{
	turns->used_us = 0;
	while (turns_are_waiting(turns) && turns->used_us < SLICE_US)
		take(turns, find_next(turns));
	turns->used_us = 0;
}
