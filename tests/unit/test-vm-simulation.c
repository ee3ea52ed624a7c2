/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM through random days: updates of every kind from everyone, a kernel that refuses, is busy or
 * stops half-way, an executor that falls silent.  The world (vm-world.h) checks each step; when the
 * faults are over, what the kernel enforces is what the oracle made of the answers.
 */
#include "tests/unit/random-updates.h"
#include "tests/unit/seeded-suite.h"
#include "tests/unit/vm-world.h"

#include <errno.h>

#define MAX_WAITING 60

static struct world *world;
/* An executor that has not answered yet, though the VM no longer waits for it. */
static bool is_silent;
static struct world_outcome late;
/* One call in so many fails; 0: none. */
static unsigned int busy_one_in, refused_one_in;
static unsigned int n_silences;

static int fail_at_random(struct world *w, const struct plan_call *call, uint64_t *ret_n_done)
{
	static const int refusals[] = { ENOMEM, ENOMEM, EINVAL, EFAULT };
	uint64_t n_done = random_below(&w->random, call->n_pages);
	int error = world_fail_page(w, call, ret_n_done);

	if (error)
		return error;
	if (busy_one_in && random_one_in(&w->random, busy_one_in)) {
		*ret_n_done = random_one_in(&w->random, 2) ? 0 : n_done;
		return random_one_in(&w->random, 2) ? EAGAIN : EBUSY;
	}
	if (refused_one_in && random_one_in(&w->random, refused_one_in)) {
		*ret_n_done = random_one_in(&w->random, 2) ? 0 : n_done;
		return refusals[random_below(&w->random, N(refusals))];
	}
	return 0;
}

static void change_weather(void)
{
	static const unsigned int chances[] = { 0, 0, 0, 2, 5, 40, 200 };

	busy_one_in = chances[random_below(&world->random, N(chances))];
	refused_one_in = chances[random_below(&world->random, N(chances))];
	world->does_more_than_it_says = random_one_in(&world->random, 2);
	world->n_calls_at_most =
		random_below(&world->random, 2) * (1 + random_below(&world->random, 9));
	world->us_per_look = random_one_in(&world->random, 3) ? 300 : 0;
	world->faulty.view = (unsigned int)random_below(&world->random, world->oracle.n_views);
	world->faulty.gfn = random_one_in(&world->random, 2)
				    ? UINT64_MAX - 1
				    : 1000 + random_below(&world->random, 100);
	world->faulty.error = random_one_in(&world->random, 2) ? ENOMEM : EAGAIN;
}

static void submit(void)
{
	struct policy_actor actor = random_actor(&world->random);
	struct policy_element element = random_element(&world->random);
	struct kvmattr_range ranges[40] = { element.range };
	uint32_t n = element.kind <= KVMATTR_REMOVE_RAM
			     ? 1 + (uint32_t)random_below(&world->random,
							  random_one_in(&world->random, 4) ? 40 : 4)
			     : 0;
	bool pages = random_one_in(&world->random, 2);

	/* Ranges that the oracle has pages for; then, as lists mostly are, runs. */
	for (uint32_t i = 1; i < n; i++)
		ranges[i] = (struct kvmattr_range){ random_below(&world->random, ORACLE_PAGES), 1 };
	for (uint32_t i = 1; i < n; i++)
		if (!random_one_in(&world->random, 4) && ranges[i - 1].gfn < ORACLE_PAGES - 1)
			ranges[i].gfn = ranges[i - 1].gfn + 1;
	for (uint32_t i = 0; i < n && pages; i++)
		ranges[i].n_pages = 1;
	if (pages && element.kind == KVMATTR_ADD_RAM && ranges[0].gfn >= ORACLE_PAGES)
		ranges[0].gfn = 0;
	element.range = (struct kvmattr_range){ 0, 0 };
	world_submit(world, &actor, &element, ranges, n, pages);
}

static void fall_silent(void)
{
	late = world_execute_silently(world);
	if (random_one_in(&world->random, 2))
		late = (struct world_outcome){ .error = EIO };
	is_silent = true;
	n_silences++;
	world_fire_timer(world);
	ck_assert_int_eq(vm_state(world->vm), VM_STUCK);
}

static void speak_again(void)
{
	is_silent = false;
	world_say(world, late);
}

static void step(void)
{
	uint64_t what = random_below(&world->random, 100);

	if (what < 45) {
		if (world->n_updates - world->n_answered < MAX_WAITING &&
		    world->n_updates < WORLD_MAX_UPDATES)
			submit();
	} else if (what < 47) {
		change_weather();
	} else if (is_silent) {
		if (random_one_in(&world->random, 5))
			speak_again();
	} else if (world->is_executing) {
		if (random_one_in(&world->random, 60))
			fall_silent();
		else
			world_execute(world);
	} else if (world->timer_ms) {
		world_fire_timer(world);
	}
}

static void end_well(void)
{
	world->fault = world_no_fault;
	if (is_silent)
		speak_again();
	world_settle(world);
	for (unsigned int i = 0; i < 10 && vm_is_degraded(world->vm); i++) {
		world_fire_timer(world);
		world_settle(world);
	}
	world_expect_all_in_force(world);
}

START_TEST(whatever_happens_what_is_answered_is_in_force_and_nothing_else)
{
	struct vm_limits limits = world_limits;
	unsigned int n_ok = 0;

	if (_i % 3 == 1)
		limits.max_elements_per_batch = 7;
	if (_i % 3 == 2)
		limits.max_pages_per_call = 50;
	world = world_new((unsigned int)_i % N_VIEW_MIXES, &limits);
	world->random = seeded_suite_random(_i);
	world->fault = fail_at_random;
	change_weather();
	refused_one_in = 5; /* the first day begins badly */
	for (unsigned int day = 0; day < 4; day++) {
		for (unsigned int i = 0; i < 600; i++)
			step();
		end_well();
		world->fault = fail_at_random;
	}
	for (unsigned int id = 0; id < world->n_updates; id++)
		n_ok += !world->updates[id].status;
	/* There were such days. */
	ck_assert_uint_gt(n_ok, 50);
	ck_assert_uint_gt(world->n_faults, 0);
	world_free(world);
}
END_TEST

START_TEST(a_vm_may_go_at_any_moment)
{
	world = world_new((unsigned int)_i % N_VIEW_MIXES, &world_limits);
	world->random = seeded_suite_random(1000 + _i);
	world->fault = fail_at_random;
	change_weather();
	for (uint64_t i = random_below(&world->random, 400); i; i--)
		step();
	world_free(world); /* checks that everyone is answered */
}
END_TEST

int main(void)
{
	TCase *days = tcase_create("days");

	tcase_add_loop_test(days, whatever_happens_what_is_answered_is_in_force_and_nothing_else, 0,
			    3 * N_VIEW_MIXES);
	tcase_add_loop_test(days, a_vm_may_go_at_any_moment, 0, 5 * N_VIEW_MIXES);
	return seeded_suite_run("vm-simulation", (TCase *[]){ days, NULL });
}
