/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Turns, with a clock that only goes on while somebody works: who asks without end, and who only
 * now and then, all have their part of the time.
 */
#include "daemon/serve/turns.h"
#include "tests/unit/seeded-suite.h"

#include <string.h>

#define MAX_WORKERS 16

/* Of the work that a turn is. */
struct worker {
	struct turn turn;
	uint64_t piece_us; /* of one turn */
	uint64_t used_us;
	uint64_t done_us; /* the end of its last turn */
	unsigned int n_turns;
	bool goes_on; /* asks again each time */
};

static struct turns turns;
static uint64_t clock_us;
static struct worker workers[MAX_WORKERS];

static uint64_t now_us(void)
{
	return clock_us;
}

static void work(void *context)
{
	struct worker *worker = context;

	clock_us += worker->piece_us;
	worker->used_us += worker->piece_us;
	worker->done_us = clock_us;
	worker->n_turns++;
	if (worker->goes_on)
		turn_ask_later(&worker->turn);
}

static void begin(void)
{
	clock_us = 1000000;
	turns_init(&turns, now_us);
}

static struct worker *hire(unsigned int i, struct turn *share, uint64_t piece_us, bool goes_on)
{
	workers[i] = (struct worker){ .piece_us = piece_us, .goes_on = goes_on };
	turn_init(&turns, &workers[i].turn, share, work, &workers[i]);
	return &workers[i];
}

static void make_share(struct turn *share, struct turn *parent)
{
	turn_init(&turns, share, parent, NULL, NULL);
}

static void run_for(uint64_t us)
{
	for (uint64_t end_us = clock_us + us; clock_us < end_us && turns_are_waiting(&turns);)
		turns_run(&turns);
}

static void dismiss(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		turn_end(&turns, &workers[i].turn);
}

static bool is_near(uint64_t part, uint64_t whole, unsigned int percent)
{
	return part * 100 > whole * (percent - 2) && part * 100 < whole * (percent + 2);
}

START_TEST(where_nobody_waits_work_is_done_at_once)
{
	struct worker *worker;

	begin();
	worker = hire(0, NULL, 10, false);
	turn_ask(&turns, &worker->turn);
	ck_assert_uint_eq(worker->n_turns, 1);
	ck_assert(!turns_are_waiting(&turns));
	turn_ask_later(&worker->turn);
	turn_ask_later(&worker->turn);
	ck_assert_uint_eq(worker->n_turns, 1);
	turns_run(&turns);
	ck_assert_uint_eq(worker->n_turns, 2);
	dismiss(1);
}
END_TEST

START_TEST(a_loop_that_has_worked_for_long_looks_for_events_first)
{
	struct worker *heavy, *light;

	begin();
	heavy = hire(0, NULL, 5000, true);
	light = hire(1, NULL, 1, false);
	turn_ask(&turns, &heavy->turn);
	turn_ask(&turns, &light->turn);
	ck_assert_uint_eq(light->n_turns, 0);
	turns_run(&turns);
	ck_assert_uint_eq(light->n_turns, 1);
	/* It ends with the turn that was too long. */
	ck_assert_uint_eq(heavy->n_turns, 2);
	dismiss(2);
}
END_TEST

START_TEST(work_that_is_asked_for_within_a_turn_is_done_in_another_one)
{
	struct worker *worker;

	begin();
	worker = hire(0, NULL, 10, true);
	turn_ask(&turns, &worker->turn);
	ck_assert_uint_eq(worker->n_turns, 1);
	worker->goes_on = false;
	turns_run(&turns);
	ck_assert_uint_eq(worker->n_turns, 2);
	dismiss(1);
}
END_TEST

START_TEST(what_was_forgotten_is_not_done)
{
	struct turn share;
	struct worker *worker;

	begin();
	make_share(&share, NULL);
	worker = hire(0, &share, 10, false);
	turn_ask_later(&worker->turn);
	turn_forget(&worker->turn);
	ck_assert(!turns_are_waiting(&turns));
	turns_run(&turns);
	ck_assert_uint_eq(worker->n_turns, 0);
	dismiss(1);
	turn_end(&turns, &share);
}
END_TEST

/* However long their pieces are, and however many work for one of them. */
START_TEST(users_who_ask_without_end_have_the_same_time)
{
	struct turn users[3];

	begin();
	for (unsigned int i = 0; i < 3; i++)
		make_share(&users[i], NULL);
	hire(0, &users[0], 3, true);
	hire(1, &users[1], 2000, true);
	for (unsigned int i = 2; i < MAX_WORKERS; i++)
		hire(i, &users[2], 40 * i, true);
	for (unsigned int i = 0; i < MAX_WORKERS; i++)
		turn_ask_later(&workers[i].turn);
	run_for(3000000);
	ck_assert(is_near(workers[0].used_us, 3000000, 33));
	ck_assert(is_near(workers[1].used_us, 3000000, 33));
	for (unsigned int i = 3; i < MAX_WORKERS; i++)
		ck_assert_uint_gt(workers[i].n_turns * 10, workers[2].n_turns);
	dismiss(MAX_WORKERS);
	for (unsigned int i = 0; i < 3; i++)
		turn_end(&turns, &users[i]);
}
END_TEST

/* One user's VM against 14 others of the same user: it has as much as each; another user, half. */
START_TEST(what_a_user_has_is_divided_among_its_vms)
{
	struct turn users[2], vms[15];

	begin();
	make_share(&users[0], NULL);
	make_share(&users[1], NULL);
	for (unsigned int i = 0; i < 15; i++) {
		make_share(&vms[i], &users[0]);
		hire(i, &vms[i], 100 + i, true);
	}
	hire(15, &users[1], 50, true);
	for (unsigned int i = 0; i < MAX_WORKERS; i++)
		turn_ask_later(&workers[i].turn);
	run_for(3000000);
	ck_assert(is_near(workers[15].used_us, 3000000, 50));
	for (unsigned int i = 0; i < 15; i++)
		ck_assert(is_near(15 * workers[i].used_us, 1500000, 100));
	dismiss(MAX_WORKERS);
	for (unsigned int i = 0; i < 15; i++)
		turn_end(&turns, &vms[i]);
	turn_end(&turns, &users[0]);
	turn_end(&turns, &users[1]);
}
END_TEST

/* 14 users with pieces of 2 ms that never end: none comes before it. */
START_TEST(who_asks_for_little_is_next)
{
	struct turn users[15];
	struct worker *light;
	uint64_t asked_us, longest_us = 0;

	begin();
	for (unsigned int i = 0; i < 15; i++)
		make_share(&users[i], NULL);
	for (unsigned int i = 0; i < 14; i++) {
		hire(i, &users[i], 2000, true);
		turn_ask_later(&workers[i].turn);
	}
	light = hire(14, &users[14], 10, false);
	/* Until all have had their first one, it has used no less than others. */
	run_for(14 * 2000);
	for (unsigned int i = 0; i < 1000; i++) {
		run_for(7000);
		asked_us = clock_us;
		turn_ask(&turns, &light->turn);
		while (light->n_turns == i)
			turns_run(&turns);
		if (light->done_us - asked_us > longest_us)
			longest_us = light->done_us - asked_us;
	}
	ck_assert_uint_eq(longest_us, 10);
	dismiss(15);
	for (unsigned int i = 0; i < 15; i++)
		turn_end(&turns, &users[i]);
}
END_TEST

/* What nobody else wanted is not held against who used it. */
START_TEST(who_worked_alone_for_long_is_not_made_to_wait_for_it)
{
	struct turn users[2];

	begin();
	make_share(&users[0], NULL);
	make_share(&users[1], NULL);
	hire(0, &users[0], 500, true);
	hire(1, &users[1], 500, true);
	turn_ask_later(&workers[0].turn);
	run_for(60000000);
	workers[0].used_us = 0;
	turn_ask_later(&workers[1].turn);
	run_for(100000);
	ck_assert_uint_gt(workers[0].used_us, 40000);
	ck_assert_uint_gt(workers[1].used_us, 40000);
	dismiss(2);
	turn_end(&turns, &users[0]);
	turn_end(&turns, &users[1]);
}
END_TEST

/* ---- Patience ------------------------------------------------------------------------------- */

static struct worker *hire_patient(unsigned int i, struct turn *share, uint64_t piece_us,
				   bool goes_on)
{
	struct worker *worker = hire(i, share, piece_us, goes_on);

	turn_be_patient(&worker->turn);
	return worker;
}

/* How long it waits, whoever works meanwhile. */
static uint64_t wait_of(struct worker *worker)
{
	uint64_t asked_us = clock_us;
	unsigned int n = worker->n_turns;

	turn_ask(&turns, &worker->turn);
	ck_assert_uint_eq(worker->n_turns, n);
	while (worker->n_turns == n)
		turns_run(&turns);
	return worker->done_us - worker->piece_us - asked_us;
}

START_TEST(who_is_patient_waits_only_where_others_want_turns)
{
	struct worker *patient;

	begin();
	patient = hire_patient(0, NULL, 10, false);
	hire(1, NULL, 100, false);
	ck_assert_uint_eq(wait_of(patient), 0);
	ck_assert(!turns_are_waiting(&turns));
	turn_ask_later(&workers[1].turn);
	ck_assert_uint_eq(wait_of(patient), 100);
	dismiss(2);
}
END_TEST

START_TEST(patience_has_an_end)
{
	struct worker *patient;
	uint64_t waited_us;

	begin();
	patient = hire_patient(0, NULL, 10, false);
	hire(1, NULL, 100, true);
	turn_ask_later(&workers[1].turn);
	waited_us = wait_of(patient);
	ck_assert_uint_ge(waited_us, TURNS_PATIENCE_US);
	ck_assert_uint_le(waited_us, TURNS_PATIENCE_US + 200);
	dismiss(2);
}
END_TEST

/* Two that work without end, so that either waits while the other works. */
START_TEST(nobody_is_put_off_where_others_have_worked_for_long)
{
	struct worker *patient;

	begin();
	patient = hire_patient(0, NULL, 10, false);
	for (unsigned int i = 1; i < 3; i++) {
		hire(i, NULL, 100, true);
		turn_ask_later(&workers[i].turn);
	}
	run_for(TURNS_BUSY_US);
	ck_assert_uint_le(wait_of(patient), 200);
	/* one of them alone, too; and once both have stopped, it begins anew */
	workers[2].goes_on = false;
	run_for(1000);
	ck_assert_uint_le(wait_of(patient), 200);
	workers[1].goes_on = false;
	run_for(1000);
	workers[1].goes_on = true;
	turn_ask_later(&workers[1].turn);
	ck_assert_uint_ge(wait_of(patient), TURNS_PATIENCE_US);
	dismiss(3);
}
END_TEST

START_TEST(the_patient_do_not_wait_for_each_other)
{
	struct turn users[2];
	struct worker *light;

	begin();
	make_share(&users[0], NULL);
	make_share(&users[1], NULL);
	for (unsigned int i = 0; i < 15; i++) {
		hire_patient(i, &users[0], 250, true);
		turn_ask_later(&workers[i].turn);
	}
	run_for(5000);
	light = hire_patient(15, &users[1], 10, false);
	ck_assert_uint_le(wait_of(light), 250);
	dismiss(16);
	turn_end(&turns, &users[0]);
	turn_end(&turns, &users[1]);
}
END_TEST

START_TEST(who_was_patient_once_goes_on_with_its_share)
{
	struct worker *patient;

	begin();
	patient = hire_patient(0, NULL, 100, true);
	hire(1, NULL, 100, true);
	turn_ask_later(&workers[1].turn);
	ck_assert_uint_ge(wait_of(patient), TURNS_PATIENCE_US);
	patient->used_us = 0;
	run_for(10000);
	ck_assert(is_near(patient->used_us, 10000, 50));
	dismiss(2);
}
END_TEST

/* ---- Ends, moves, and anything -------------------------------------------------------------- */

static struct turn doomed_share;

/* As a VM that is released in its own turn, and its user with it. */
static void end_all(void *context)
{
	struct worker *worker = context;

	worker->n_turns++;
	turn_end(&turns, &worker->turn);
	turn_end(&turns, &doomed_share);
	memset(&doomed_share, 0xff, sizeof(doomed_share));
	memset(&worker->turn, 0xff, sizeof(worker->turn));
}

START_TEST(a_turn_may_be_the_end_of_itself_and_of_what_it_is_part_of)
{
	struct worker *other;

	begin();
	make_share(&doomed_share, NULL);
	other = hire(1, NULL, 10, false);
	workers[0] = (struct worker){ 0 };
	turn_init(&turns, &workers[0].turn, &doomed_share, end_all, &workers[0]);
	turn_ask_later(&workers[0].turn);
	turn_ask_later(&other->turn);
	turns_run(&turns);
	ck_assert_uint_eq(workers[0].n_turns, 1);
	ck_assert_uint_eq(other->n_turns, 1);
	ck_assert(!turns_are_waiting(&turns));
	turn_end(&turns, &other->turn);
}
END_TEST

START_TEST(what_is_moved_while_it_waits_still_has_its_turn)
{
	struct turn users[2], vm;

	begin();
	make_share(&users[0], NULL);
	make_share(&users[1], NULL);
	make_share(&vm, &users[0]);
	hire(0, &vm, 10, false);
	turn_ask_later(&workers[0].turn);
	turn_move(&vm, &users[1]);
	turn_end(&turns, &users[0]);
	turns_run(&turns);
	ck_assert_uint_eq(workers[0].n_turns, 1);
	ck_assert(!turns_are_waiting(&turns));
	dismiss(1);
	turn_end(&turns, &vm);
	turn_end(&turns, &users[1]);
}
END_TEST

/*
 * Any order of asking, forgetting, moving and running: who asked last, and did not forget, works.
 */
START_TEST(random_ways_leave_nobody_out)
{
	struct turn users[2], vms[4];
	bool asked[MAX_WORKERS] = { false };
	unsigned int n_turns[MAX_WORKERS] = { 0 };
	uint64_t random = seeded_suite_random(_i);

	begin();
	for (unsigned int i = 0; i < 2; i++)
		make_share(&users[i], NULL);
	for (unsigned int i = 0; i < 4; i++)
		make_share(&vms[i], &users[i % 2]);
	for (unsigned int i = 0; i < MAX_WORKERS; i++)
		(i % 3 ? hire : hire_patient)(i, &vms[i % 4], random_below(&random, 3000), false);
	for (unsigned int step = 0; step < 2000; step++) {
		unsigned int i = (unsigned int)random_below(&random, MAX_WORKERS);

		switch (random_below(&random, 4)) {
		case 0:
			if (workers[i].turn.is_patient && random_below(&random, 2))
				turn_ask(&turns, &workers[i].turn);
			else
				turn_ask_later(&workers[i].turn);
			asked[i] = true;
			break;
		case 1:
			turn_forget(&workers[i].turn);
			asked[i] = false;
			break;
		case 2:
			turn_move(&vms[i % 4], &users[random_below(&random, 2)]);
			break;
		default:
			turn_move(&workers[i].turn, &vms[random_below(&random, 4)]);
			break;
		}
		if (random_below(&random, 20))
			continue;
		while (turns_are_waiting(&turns))
			turns_run(&turns);
		for (i = 0; i < MAX_WORKERS; i++) {
			n_turns[i] += asked[i];
			asked[i] = false;
			ck_assert_uint_eq(workers[i].n_turns, n_turns[i]);
		}
	}
	for (unsigned int i = 0; i < MAX_WORKERS; i++)
		turn_forget(&workers[i].turn);
	dismiss(MAX_WORKERS);
	for (unsigned int i = 0; i < 4; i++)
		turn_end(&turns, &vms[i]);
	for (unsigned int i = 0; i < 2; i++)
		turn_end(&turns, &users[i]);
}
END_TEST

int main(void)
{
	TCase *asking = tcase_create("asking"), *sharing = tcase_create("sharing");
	TCase *patience = tcase_create("patience");

	tcase_add_test(asking, where_nobody_waits_work_is_done_at_once);
	tcase_add_test(asking, a_loop_that_has_worked_for_long_looks_for_events_first);
	tcase_add_test(asking, work_that_is_asked_for_within_a_turn_is_done_in_another_one);
	tcase_add_test(asking, what_was_forgotten_is_not_done);
	tcase_add_test(asking, a_turn_may_be_the_end_of_itself_and_of_what_it_is_part_of);
	tcase_add_test(asking, what_is_moved_while_it_waits_still_has_its_turn);
	tcase_add_loop_test(asking, random_ways_leave_nobody_out, 0, 20);
	tcase_add_test(sharing, users_who_ask_without_end_have_the_same_time);
	tcase_add_test(sharing, what_a_user_has_is_divided_among_its_vms);
	tcase_add_test(sharing, who_asks_for_little_is_next);
	tcase_add_test(sharing, who_worked_alone_for_long_is_not_made_to_wait_for_it);
	tcase_add_test(patience, who_is_patient_waits_only_where_others_want_turns);
	tcase_add_test(patience, patience_has_an_end);
	tcase_add_test(patience, nobody_is_put_off_where_others_have_worked_for_long);
	tcase_add_test(patience, the_patient_do_not_wait_for_each_other);
	tcase_add_test(patience, who_was_patient_once_goes_on_with_its_share);
	return seeded_suite_run("turns", (TCase *const[]){ asking, sharing, patience, NULL });
}
