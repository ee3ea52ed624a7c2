/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM through random days: updates of every kind from everyone, a kernel that refuses, is busy or
 * stops half-way, an executor that falls silent, a journal that cannot be written for a while or is
 * late, a daemon that dies; in steps as short as they can be, or as long as they are.  The world
 * (vm-world.h) checks each step; when the faults are over, what the kernel enforces is what the
 * oracle made of the answers, and so is what the journal holds.
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
/* The daemon dies at one step in so many; 0: it does not. */
static unsigned int dies_one_in;
static unsigned int n_deaths, n_freezes, n_verifications, n_turns;

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

/* The disk is full, or broken, from some write on, for some writes. */
static void spoil_journal(void)
{
	static const int errors[] = { ENOSPC, EDQUOT, EIO };

	world->journal.n_until_failure = (unsigned int)random_below(&world->random, 40);
	world->journal.n_failures = (unsigned int)random_below(
		&world->random, random_one_in(&world->random, 4) ? 60 : 3);
	world->journal.error = errors[random_below(&world->random, N(errors))];
}

static void change_weather(void)
{
	static const unsigned int chances[] = { 0, 0, 0, 2, 5, 40, 200 };
	static const unsigned int longest_looks[] = { 0, 0, 100, 300, 1000 };

	busy_one_in = chances[random_below(&world->random, N(chances))];
	refused_one_in = chances[random_below(&world->random, N(chances))];
	world->does_more_than_it_says = random_one_in(&world->random, 2);
	world->n_calls_at_most =
		random_below(&world->random, 2) * (1 + random_below(&world->random, 9));
	world->us_per_look = longest_looks[random_below(&world->random, N(longest_looks))];
	world->faulty.view = (unsigned int)random_below(&world->random, world->oracle.n_views);
	world->faulty.gfn = random_one_in(&world->random, 2)
				    ? UINT64_MAX - 1
				    : 1000 + random_below(&world->random, 100);
	world->faulty.error = random_one_in(&world->random, 2) ? ENOMEM : EAGAIN;
	spoil_journal();
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
	world_fire_timer(world);
	if (random_one_in(&world->random, 2))
		return; /* it may speak before the VM is through with what that means */
	world_take_turns(world);
	ck_assert_int_eq(vm_state(world->vm), VM_STUCK);
}

static void speak_again(void)
{
	is_silent = false;
	world_say(world, late);
}

static void die(void)
{
	is_silent = false;
	world_die(world);
	n_deaths++;
}

/* A page is for the kernel what nobody has told it. */
static void spoil(void)
{
	unsigned int view = (unsigned int)random_below(&world->random, world->oracle.n_views);
	uint64_t gfn = random_below(&world->random, ORACLE_PAGES);

	if (world->oracle.pages[gfn].is_ram)
		world_spoil(world, view, gfn, world_kernel(world, view, gfn) ^ KVMATTR_WRITE);
}

static void verify(void)
{
	if (world->n_verifying) {
		ck_assert_int_eq(vm_verify(world->vm), KVMATTR_OPERATION_DENIED);
	} else if (vm_state(world->vm) == VM_STUCK) {
		ck_assert_int_eq(vm_verify(world->vm), KVMATTR_EXECUTOR_STUCK);
	} else {
		world_verify(world);
		n_verifications++;
	}
}

/* What an operator does. */
static void operate(void)
{
	if (random_one_in(&world->random, 2)) {
		spoil();
		verify();
	} else {
		vm_freeze(world->vm);
		n_freezes++;
	}
}

static void step(void)
{
	uint64_t what = random_below(&world->random, 100);

	if (dies_one_in && random_one_in(&world->random, dies_one_in))
		die();
	if (vm_is_frozen(world->vm) && random_one_in(&world->random, 15))
		world_thaw(world);
	if (random_one_in(&world->random, 20)) {
		world_journal_expect_policy(world);
		world_expect_states(world);
	}
	if (world->journal.is_power && random_one_in(&world->random, 8))
		world_sync_some(world);
	for (; world->is_giving_way && !random_one_in(&world->random, 8); n_turns++)
		world_turn(world);
	if (what < 45) {
		if (world->n_updates - world->n_answered < MAX_WAITING &&
		    world->n_updates < WORLD_MAX_UPDATES)
			submit();
	} else if (what < 47) {
		change_weather();
	} else if (what < 49) {
		operate();
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
	} else if (vm_state(world->vm) == VM_WAITING) {
		vm_start(world->vm);
	}
}

/* Of pages that were RAM when they were spoilt, and are no more, KVM is told nothing. */
static void forget_what_is_not_ram(void)
{
	for (unsigned int v = 0; v < world->oracle.n_views; v++)
		for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++)
			if (world->is_spoilt[v][gfn] && !world->oracle.pages[gfn].is_ram)
				world->kernel[v][gfn] = KVMATTR_RWX;
}

static void end_well(void)
{
	world->fault = world_no_fault;
	world->journal.n_failures = 0;
	if (is_silent)
		speak_again();
	if (vm_state(world->vm) == VM_WAITING)
		vm_start(world->vm);
	world_thaw(world);
	world_settle(world);
	for (unsigned int i = 0; i < 10 && vm_is_degraded(world->vm); i++) {
		world_fire_timer(world);
		world_settle(world);
	}
	verify();
	world_settle(world);
	forget_what_is_not_ram();
	world_expect_all_in_force(world);
}

static void begin(int i, int seed)
{
	static const uint32_t steps[] = { 40, 0, 100, 400, 900 };
	struct vm_limits limits = world_limits;

	is_silent = false;
	dies_one_in = n_deaths = n_freezes = n_verifications = n_turns = 0;
	if (i % 3 == 1)
		limits.max_elements_per_batch = 7;
	if (i % 3 == 2)
		limits.max_pages_per_call = 50;
	limits.pages_per_step = steps[i % N(steps)];
	world = world_new((unsigned int)i % N_VIEW_MIXES, &limits);
	world->random = seeded_suite_random(seed + i);
	world->journal.is_power = random_one_in(&world->random, 2);
	world->fault = fail_at_random;
	change_weather();
}

static void live(unsigned int n_days, unsigned int n_steps)
{
	for (unsigned int day = 0; day < n_days; day++) {
		for (unsigned int i = 0; i < n_steps; i++)
			step();
		end_well();
		world->fault = fail_at_random;
	}
}

static unsigned int count_answers(enum kvmattr_status status)
{
	unsigned int n = 0;

	for (unsigned int id = 0; id < world->n_updates; id++)
		n += world->updates[id].status == status;
	return n;
}

START_TEST(whatever_happens_what_is_answered_is_in_force_and_nothing_else)
{
	begin(_i, 0);
	refused_one_in = 5; /* the first day begins badly */
	world->journal.n_failures = 4;
	live(4, 600);
	/* There were such days. */
	ck_assert_uint_gt(count_answers(KVMATTR_OK), 10);
	ck_assert_uint_gt(count_answers(KVMATTR_JOURNAL_FAILED), 0);
	ck_assert_uint_gt(world->n_faults, 0);
	ck_assert_uint_gt(n_freezes, 0);
	ck_assert_uint_gt(n_verifications, 0);
	ck_assert_uint_gt(n_turns, 50);
	world_free(world);
}
END_TEST

START_TEST(whenever_a_daemon_dies_another_goes_on_and_nothing_is_lost_or_done_twice)
{
	begin(_i, 2000);
	dies_one_in = 10 + 15 * ((unsigned int)_i % 4);
	live(4, 600);
	ck_assert_uint_gt(count_answers(KVMATTR_OK), 10);
	ck_assert_uint_gt(n_deaths, 10);
	world_free(world);
}
END_TEST

START_TEST(a_vm_may_go_at_any_moment)
{
	begin(_i, 1000);
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
	tcase_add_loop_test(
		days, whenever_a_daemon_dies_another_goes_on_and_nothing_is_lost_or_done_twice, 0,
		3 * N_VIEW_MIXES);
	tcase_add_loop_test(days, a_vm_may_go_at_any_moment, 0, 5 * N_VIEW_MIXES);
	return seeded_suite_run("vm-simulation", (TCase *[]){ days, NULL });
}
