/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM whose work takes long gives way between any two steps of it: what it is then, for all who
 * look at it, and what may happen to it.
 */
#include "tests/unit/seeded-suite.h"
#include "tests/unit/vm-world.h"

#include <errno.h>

#define DENY 1 /* among the mixes of views */

static struct world *world;
static const struct policy_actor owner = { .is_owner = true };

/* Each step is short, and a turn of its own. */
static void start(void)
{
	struct vm_limits limits = world_limits;

	limits.pages_per_step = 100;
	world = world_new(DENY, &limits);
	world->us_per_look = 1000;
}

static void stop(void)
{
	world_free(world);
}

static unsigned int submit(enum kvmattr_update_kind kind, uint8_t value, uint64_t gfn,
			   uint64_t n_pages)
{
	struct policy_element element = { .kind = kind, .value = value };
	struct kvmattr_range range = { gfn, n_pages };

	if (kind == KVMATTR_PROTECT) {
		element.layer = 1;
		element.restricted = KVMATTR_ALL_LOWER;
	}
	return world_submit(world, &owner, &element, &range, 1, false);
}

/* Pages that differ from their neighbours, so that what is about them all takes several steps. */
static void make_pages_differ(void)
{
	for (uint64_t gfn = 0; gfn < 1500; gfn += 100)
		submit(KVMATTR_PROTECT, KVMATTR_RX, gfn, 3);
	world_settle(world);
}

/* What an observer or a checkpoint takes for a commit is one. */
static void turn_and_look(void)
{
	world_turn(world);
	world_journal_expect_policy(world);
	world_expect_states(world);
}

/* Turns, up to an executor's or a timer's time; returns how many. */
static unsigned int take_turns_and_look(void)
{
	unsigned int n = 0;

	for (; world->is_giving_way; n++)
		turn_and_look();
	return n;
}

START_TEST(an_element_of_many_pages_takes_several_turns_and_is_one_commit)
{
	uint64_t commit;
	unsigned int id;

	make_pages_differ();
	commit = vm_commit(world->vm);
	id = submit(KVMATTR_PROTECT, KVMATTR_R, 0, 1500);
	ck_assert_uint_ge(take_turns_and_look(), 30); /* to check and to change 1500 pages */
	ck_assert(world->is_executing);
	ck_assert_uint_eq(vm_commit(world->vm), commit);
	world_expect_pending(world, id);
	world_execute(world);
	ck_assert_uint_gt(take_turns_and_look(), 0);
	world_settle(world);
	ck_assert_uint_eq(vm_commit(world->vm), commit + 1);
	world_expect(world, id, KVMATTR_OK, 1);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(what_is_refused_in_its_last_step_has_changed_nothing)
{
	unsigned int id;

	submit(KVMATTR_LOCK, 0, 1499, 1);
	world_settle(world);
	id = submit(KVMATTR_PROTECT, KVMATTR_R, 0, 1500);
	ck_assert_uint_ge(take_turns_and_look(), 15);
	world_expect(world, id, KVMATTR_OPERATION_DENIED, 0);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(what_arrives_between_turns_waits_and_keeps_its_order)
{
	unsigned int first = submit(KVMATTR_PROTECT, KVMATTR_R, 0, 1500);

	while (!world->is_executing) {
		if (world->n_updates - first < 20)
			submit(KVMATTR_PROTECT, KVMATTR_RX, world->n_updates, 2);
		turn_and_look();
	}
	ck_assert_uint_eq(world->n_updates - first, 20);
	world_settle(world);
	world_expect(world, first + 19, KVMATTR_OK, 1);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(taking_a_batch_back_takes_several_turns_and_is_not_seen_half_done)
{
	uint64_t commit;
	unsigned int id, n = 0;

	make_pages_differ();
	commit = vm_commit(world->vm);
	world->faulty.gfn = 1400;
	world->faulty.error = ENOMEM;
	world->fault = world_fail_page;
	id = submit(KVMATTR_PROTECT, KVMATTR_R, 0, 1500);
	take_turns_and_look();
	world_execute(world);
	for (; vm_state(world->vm) == VM_EXECUTING; n++) {
		ck_assert_uint_eq(vm_commit(world->vm), commit);
		turn_and_look();
	}
	ck_assert_uint_gt(n, 1);
	ck_assert_int_eq(vm_state(world->vm), VM_UNDOING);
	world_settle(world);
	world_expect(world, id, KVMATTR_INSUFFICIENT_MEMORY, 0);
	world->fault = world_no_fault;
	world_settle(world);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_batch_that_the_journal_does_not_take_is_taken_back_in_turns)
{
	unsigned int id;

	make_pages_differ();
	world->journal.n_until_failure = 0;
	world->journal.n_failures = 1;
	world->journal.error = ENOSPC;
	id = submit(KVMATTR_PROTECT, KVMATTR_R, 0, 1500);
	ck_assert_uint_ge(take_turns_and_look(), 30);
	world_settle(world);
	world_expect(world, id, KVMATTR_JOURNAL_FAILED, 0);
	world_expect_all_in_force(world);
}
END_TEST

/* What waits and what is under way is answered by whoever frees it: world_free() checks that. */
START_TEST(a_vm_may_go_between_any_two_steps)
{
	submit(KVMATTR_PROTECT, KVMATTR_R, 0, 1500);
	submit(KVMATTR_SET_VISIBILITY, 1, 0, 1500);
	submit(KVMATTR_PROTECT, KVMATTR_RX, 5, 1000);
	for (int i = 0; i < 3 * _i; i++)
		if (world->is_giving_way)
			turn_and_look();
		else if (world->is_executing)
			world_execute(world);
}
END_TEST

START_TEST(a_vm_that_is_frozen_between_turns_is_at_rest_when_its_batch_is)
{
	unsigned int id = submit(KVMATTR_PROTECT, KVMATTR_R, 0, 1500);
	unsigned int next = submit(KVMATTR_PROTECT, KVMATTR_RX, 0, 100);

	for (int i = 0; i < _i; i++)
		turn_and_look();
	vm_freeze(world->vm);
	ck_assert(!world->is_still && !vm_is_still(world->vm));
	world_settle(world);
	ck_assert(world->is_still && vm_is_still(world->vm));
	world_expect(world, id, KVMATTR_OK, 1);
	world_thaw(world);
	world_settle(world);
	world_expect(world, next, KVMATTR_OK, 1);
	world_expect_all_in_force(world);
}
END_TEST

/* A batch under way; the executor has not answered in time, and the VM begins to be stuck. */
static unsigned int begin_to_be_stuck(struct world_outcome *ret_late)
{
	unsigned int id;

	make_pages_differ();
	id = submit(KVMATTR_PROTECT, KVMATTR_R, 0, 1500);
	take_turns_and_look();
	*ret_late = world_execute_silently(world);
	for (int i = 0; i < 30; i++)
		submit(KVMATTR_PROTECT, KVMATTR_R, 5, 1);
	world_fire_timer(world);
	ck_assert(world->is_giving_way && vm_state(world->vm) != VM_STUCK);
	return id;
}

START_TEST(an_executor_that_answers_while_its_vm_gets_stuck_is_heard)
{
	struct world_outcome late;
	unsigned int id = begin_to_be_stuck(&late);

	for (int i = 0; i < _i && world->is_giving_way; i++)
		turn_and_look();
	world_say(world, late);
	world_settle(world);
	world_expect(world, id, KVMATTR_EXECUTOR_STUCK, 0);
	world_expect_all_in_force(world);
	id = submit(KVMATTR_PROTECT, KVMATTR_R, 0, 1500);
	world_settle(world);
	world_expect(world, id, KVMATTR_OK, 1);
}
END_TEST

START_TEST(what_waits_when_the_executor_is_stuck_is_refused_in_turns_and_in_its_order)
{
	struct world_outcome late;
	unsigned int id = begin_to_be_stuck(&late), last = 0;

	while (world->is_giving_way) {
		turn_and_look();
		if (vm_state(world->vm) == VM_STUCK && !last)
			last = submit(KVMATTR_PROTECT, KVMATTR_R, 7, 1);
	}
	ck_assert_uint_eq(last, id + 31);
	world_expect(world, last, KVMATTR_EXECUTOR_STUCK, 0);
	world_say(world, late);
	world_settle(world);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_verification_of_many_pages_takes_several_turns)
{
	unsigned int n = 0;

	make_pages_differ();
	world_verify(world);
	while (world->n_verifying)
		if (world->is_giving_way) {
			turn_and_look();
			n++;
		} else {
			world_execute(world);
		}
	ck_assert_uint_gt(n, 10);
	world_settle(world);
	ck_assert_int_eq(world->verification.status, KVMATTR_OK);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_batch_takes_so_many_updates_that_its_end_does_not_take_long)
{
	const unsigned int n = 9000; /* of one page */
	uint64_t commit;

	world->us_per_look = 0;
	submit(KVMATTR_PROTECT, KVMATTR_R, 0, 1);
	commit = vm_commit(world->vm);
	for (unsigned int i = 0; i < n; i++)
		submit(KVMATTR_PROTECT, KVMATTR_RX, 0, 1);
	world_settle(world);
	ck_assert_uint_eq(vm_commit(world->vm), commit + 3);
	world_expect_all_in_force(world);
}
END_TEST

int main(void)
{
	TCase *turns = tcase_create("turns");

	tcase_add_checked_fixture(turns, start, stop);
	tcase_add_test(turns, an_element_of_many_pages_takes_several_turns_and_is_one_commit);
	tcase_add_test(turns, what_is_refused_in_its_last_step_has_changed_nothing);
	tcase_add_test(turns, what_arrives_between_turns_waits_and_keeps_its_order);
	tcase_add_test(turns, taking_a_batch_back_takes_several_turns_and_is_not_seen_half_done);
	tcase_add_test(turns, a_batch_that_the_journal_does_not_take_is_taken_back_in_turns);
	tcase_add_loop_test(turns, a_vm_may_go_between_any_two_steps, 0, 40);
	tcase_add_loop_test(turns, a_vm_that_is_frozen_between_turns_is_at_rest_when_its_batch_is,
			    0, 30);
	tcase_add_loop_test(turns, an_executor_that_answers_while_its_vm_gets_stuck_is_heard, 0,
			    15);
	tcase_add_test(turns,
		       what_waits_when_the_executor_is_stuck_is_refused_in_turns_and_in_its_order);
	tcase_add_test(turns, a_verification_of_many_pages_takes_several_turns);
	tcase_add_test(turns, a_batch_takes_so_many_updates_that_its_end_does_not_take_long);
	return seeded_suite_run("vm-turns", (TCase *[]){ turns, NULL });
}
