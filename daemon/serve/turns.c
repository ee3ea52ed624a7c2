/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "turns.h"

#include <assert.h>
#include <stddef.h>

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
}

bool turns_are_waiting(const struct turns *turns)
{
	return !TAILQ_EMPTY(&turns->whole.waiting);
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

void turn_ask_later(struct turn *turn)
{
	for (; turn->parent && !turn->is_waiting; turn = turn->parent) {
		catch_up(turn);
		turn->is_waiting = true;
		put_among_waiting(turn);
	}
}

/* It, and those of which it was the only part that waited. */
static void take_from_waiting(struct turn *turn)
{
	do {
		TAILQ_REMOVE(&turn->parent->waiting, turn, list);
		turn->is_waiting = false;
		turn = turn->parent;
	} while (turn->parent && TAILQ_EMPTY(&turn->waiting));
}

void turn_forget(struct turn *turn)
{
	if (turn->is_waiting)
		take_from_waiting(turn);
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
		take_from_waiting(turn);
	turn->parent->n_parts--;
	turn->parent = parent;
	turn->used_us = parent->parts_us;
	parent->n_parts++;
	if (was_waiting)
		turn_ask_later(turn);
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

	turns->worker = turn;
	turns->is_at_work = true;
	turn->work(turn->context);
	turns->is_at_work = false;
	used_us = turns->now_us() - started_us;
	turns->used_us += used_us;
	latency_add(&turns->lengths, used_us);
	turn_bill(turns->worker, used_us);
	turns->worker = NULL;
}

void turn_ask(struct turns *turns, struct turn *turn)
{
	if (turns->is_at_work || turns_are_waiting(turns) || turns->used_us >= SLICE_US)
		turn_ask_later(turn);
	else
		take(turns, turn);
}

static struct turn *find_next(struct turn *turn)
{
	while (!turn->work)
		turn = TAILQ_FIRST(&turn->waiting);
	return turn;
}

void turns_run(struct turns *turns)
{
	struct turn *turn;

	turns->used_us = 0;
	while (turns_are_waiting(turns) && turns->used_us < SLICE_US) {
		turn = find_next(&turns->whole);
		turn_forget(turn);
		take(turns, turn);
	}
	turns->used_us = 0;
}
