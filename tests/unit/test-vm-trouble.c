/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM in trouble: pages of which it is not known what KVM holds, and an executor that is silent.
 */
#include "tests/unit/deny-world.h"
#include "tests/unit/seeded-suite.h"

#include <errno.h>
#include <string.h>

/* ---- Not known ------------------------------------------------------------------------------------------ */

/* The page cannot be set to anything, so that neither the update nor its undoing can be done. */
static unsigned int degrade(uint64_t gfn)
{
	unsigned int id;

	world->faulty.view = 0;
	world->faulty.gfn = gfn;
	world->faulty.error = EFAULT;
	world->fault = world_fail_page_always;
	id = world_protect(world, KVMATTR_RX, gfn, 1);
	world_settle(world);
	world_expect(world, id, KVMATTR_KERNEL_REFUSED, 0);
	ck_assert(vm_is_degraded(world->vm));
	return id;
}

static uint8_t state_of(uint64_t gfn)
{
	struct vm_run run;

	ck_assert(vm_next_run(world->vm, 0, gfn, gfn + 1, &run));
	return run.state;
}

START_TEST(where_not_even_the_old_state_can_be_set_the_vm_is_degraded_until_it_can)
{
	degrade(100);
	ck_assert_uint_eq(world->n_troubles, 1);
	ck_assert_ptr_nonnull(strstr(world->report, "degraded"));
	ck_assert_uint_eq(vm_unknown_pages(world->vm), 1);
	ck_assert_uint_eq(state_of(100), WIRE_UNKNOWN);
	ck_assert_uint_eq(state_of(101), WIRE_IN_FORCE);
	for (unsigned int i = 0; i < 3; i++) { /* still not */
		ck_assert_uint_gt(world->timer_ms, 0);
		world_fire_timer(world);
		ck_assert_int_eq(vm_state(world->vm), VM_REPAIRING);
		world_execute(world);
		ck_assert(vm_is_degraded(world->vm));
	}
	ck_assert_uint_eq(world->n_troubles, 1); /* said once */
	world->fault = world_no_fault;
	world_fire_timer(world);
	world_execute(world);
	ck_assert_uint_eq(world->n_reliefs, 1);
	ck_assert_ptr_nonnull(strstr(world->report, "recovered"));
	ck_assert_uint_eq(world->timer_ms, 0);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_degraded_vm_still_does_what_can_be_done)
{
	unsigned int id = degrade(100);

	for (uint32_t i = 0; i < 20; i++)
		world_protect(world, i % 2 ? KVMATTR_R : KVMATTR_RW, 200 + 10 * i, 3);
	world_settle(world);
	for (unsigned int i = 1; i <= 20; i++)
		world_expect(world, id + i, KVMATTR_OK, 3);
	ck_assert(vm_is_degraded(world->vm));
	world->fault = world_no_fault;
	world_protect(world, KVMATTR_NONE, 900, 1); /* repaired before anything else */
	world_settle(world);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(an_update_of_an_unknown_page_is_not_in_force_before_the_page_is_known)
{
	unsigned int id = degrade(100);

	/* What the layers say already, and something else. */
	world_protect(world, KVMATTR_RWX, 100, 1);
	world_settle(world);
	world_expect(world, id + 1, KVMATTR_KERNEL_REFUSED, 0);
	world_protect(world, KVMATTR_R, 99, 3);
	world_settle(world);
	world_expect(world, id + 2, KVMATTR_KERNEL_REFUSED, 1);
	world->fault = world_no_fault;
	world_protect(world, KVMATTR_RWX, 100, 1);
	world_settle(world);
	world_expect(world, id + 3, KVMATTR_OK, 1);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(repairs_are_tried_less_and_less_often)
{
	unsigned int shortest = 0, longest = 0;

	degrade(100);
	for (unsigned int i = 0; i < 20; i++) {
		ck_assert_uint_ge(world->timer_ms, longest);
		longest = world->timer_ms;
		shortest = shortest ? shortest : longest;
		world_fire_timer(world);
		world_execute(world);
	}
	ck_assert_uint_gt(longest, shortest);
	ck_assert_uint_le(longest, 10000);
}
END_TEST

/* ---- No answer -------------------------------------------------------------------------------------------- */

START_TEST(without_an_answer_in_time_everyone_is_told_and_nothing_is_taken_on)
{
	unsigned int id = world_protect(world, KVMATTR_RX, 100, 3);

	world_protect(world, KVMATTR_RX, 200, 3);
	world_fire_timer(world);
	ck_assert_int_eq(vm_state(world->vm), VM_STUCK);
	ck_assert(vm_is_degraded(world->vm));
	world_expect(world, id, KVMATTR_EXECUTOR_STUCK, 0);
	world_expect(world, id + 1, KVMATTR_EXECUTOR_STUCK, 0);
	world_protect(world, KVMATTR_RX, 300, 3);
	world_expect(world, id + 2, KVMATTR_EXECUTOR_STUCK, 0);
	ck_assert_ptr_nonnull(strstr(world->report, "has not answered"));
	ck_assert_uint_eq(vm_unknown_pages(world->vm), 3);
	vm_timer(world->vm); /* late */
	ck_assert_int_eq(vm_state(world->vm), VM_STUCK);
}
END_TEST

START_TEST(a_late_answer_is_followed_by_a_repair)
{
	unsigned int id = world_protect(world, KVMATTR_RX, 100, 3);
	struct world_outcome late;

	if (_i) /* it had done it, or not */
		late = world_execute_silently(world);
	else
		late = (struct world_outcome){ .error = EFAULT };
	world_fire_timer(world);
	world_expect(world, id, KVMATTR_EXECUTOR_STUCK, 0);
	world_say(world, late);
	ck_assert_int_eq(vm_state(world->vm), VM_REPAIRING);
	world_protect(world, KVMATTR_R, 200, 1);
	world_settle(world);
	world_expect(world, id + 1, KVMATTR_OK, 1);
	ck_assert_uint_eq(world_kernel(world, 0, 100), KVMATTR_RWX);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(pieces_done_before_the_silence_are_taken_back_too)
{
	unsigned int id;

	world->n_calls_at_most = 2;
	world_protect(world, KVMATTR_RX, 0, 1);
	id = world_protect(world, KVMATTR_NONE, 100, 1);
	for (uint32_t i = 1; i < 10; i++)
		world_protect(world, KVMATTR_NONE, 100 + 10 * i, 1);
	world_execute(world);
	world_execute(world); /* two of the ten */
	world_execute(world);
	ck_assert_int_eq(vm_state(world->vm), VM_EXECUTING);
	world_fire_timer(world);
	for (unsigned int i = 0; i < 10; i++)
		world_expect(world, id + i, KVMATTR_EXECUTOR_STUCK, 0);
	ck_assert_uint_eq(world_kernel(world, 0, 100), KVMATTR_NONE);
	ck_assert_uint_ne(state_of(100), WIRE_IN_FORCE);
	world_say(world, world_execute_silently(world));
	world_settle(world);
	ck_assert_uint_eq(world_kernel(world, 0, 100), KVMATTR_RWX);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_repair_or_an_undoing_may_get_stuck_too)
{
	unsigned int id;

	if (_i) {
		id = degrade(100);
		world_fire_timer(world);
		ck_assert_int_eq(vm_state(world->vm), VM_REPAIRING);
	} else {
		id = world_protect(world, KVMATTR_RX, 100, 1);
		world->faulty.gfn = 100;
		world->faulty.error = ENOMEM;
		world->fault = world_fail_page;
		world_execute(world);
		ck_assert_int_eq(vm_state(world->vm), VM_UNDOING);
	}
	world_fire_timer(world);
	ck_assert_int_eq(vm_state(world->vm), VM_STUCK);
	ck_assert(world->updates[id].is_answered);
	world->fault = world_no_fault;
	world_say(world, world_execute_silently(world));
	world_settle(world);
	world_expect_all_in_force(world);
}
END_TEST

int main(void)
{
	TCase *unknown = tcase_create("unknown");
	TCase *silence = tcase_create("silence");
	TCase *all[] = { unknown, silence, NULL };

	for (size_t i = 0; all[i]; i++)
		tcase_add_checked_fixture(all[i], deny_world_start, deny_world_stop);
	tcase_add_test(unknown,
		       where_not_even_the_old_state_can_be_set_the_vm_is_degraded_until_it_can);
	tcase_add_test(unknown, a_degraded_vm_still_does_what_can_be_done);
	tcase_add_test(unknown,
		       an_update_of_an_unknown_page_is_not_in_force_before_the_page_is_known);
	tcase_add_test(unknown, repairs_are_tried_less_and_less_often);
	tcase_add_test(silence, without_an_answer_in_time_everyone_is_told_and_nothing_is_taken_on);
	tcase_add_loop_test(silence, a_late_answer_is_followed_by_a_repair, 0, 2);
	tcase_add_test(silence, pieces_done_before_the_silence_are_taken_back_too);
	tcase_add_loop_test(silence, a_repair_or_an_undoing_may_get_stuck_too, 0, 2);
	return seeded_suite_run("vm-trouble", all);
}
