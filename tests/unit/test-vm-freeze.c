/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A frozen VM: what goes on, what waits, and when it is at rest; in every state that it can be in.
 */
#include "tests/unit/seeded-suite.h"
#include "tests/unit/vm-world.h"

#include <errno.h>
#include <string.h>

#define DENY 1 /* among the mixes of views */

static struct world *world;

static void start(void)
{
	world = world_new(DENY, &world_limits);
}

static void stop(void)
{
	world_free(world);
}

/* Page gfn cannot be set to anything else for VTL 0; or to anything at all. */
static void spoil_page(world_fault fault, uint64_t gfn, int error)
{
	world->faulty.view = 0;
	world->faulty.gfn = gfn;
	world->faulty.error = error;
	world->fault = fault;
}

static void thaw_and_settle(void)
{
	world_thaw(world);
	world_settle(world);
}

START_TEST(an_idle_vm_is_at_rest_at_once_and_what_arrives_waits)
{
	uint64_t commit = vm_commit(world->vm);
	unsigned int id, n_plans = world->n_plans;

	vm_freeze(world->vm);
	ck_assert(world->is_still && vm_is_still(world->vm) && vm_is_frozen(world->vm));
	id = world_protect(world, KVMATTR_RX, 100, 3);
	world_protect(world, KVMATTR_R, 101, 1);
	world_settle(world);
	world_expect_pending(world, id);
	world_expect_pending(world, id + 1);
	ck_assert_uint_eq(vm_queue_length(world->vm), 2);
	ck_assert_uint_eq(vm_commit(world->vm), commit);
	ck_assert_uint_eq(world->n_plans, n_plans);
	ck_assert_uint_eq(world->timer_ms, 0); /* nothing is waited for */
	thaw_and_settle();
	ck_assert(!vm_is_frozen(world->vm));
	world_expect(world, id, KVMATTR_OK, 3);
	world_expect(world, id + 1, KVMATTR_OK, 1);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(the_batch_under_way_goes_to_its_end_first)
{
	unsigned int id = world_protect(world, KVMATTR_RX, 100, 3);
	uint64_t commit = vm_commit(world->vm);

	world_protect(world, KVMATTR_R, 200, 1);
	vm_freeze(world->vm);
	ck_assert(!world->is_still && !vm_is_still(world->vm));
	world_execute(world);
	ck_assert(world->is_still && vm_is_still(world->vm));
	world_expect(world, id, KVMATTR_OK, 3);
	world_expect_pending(world, id + 1);
	ck_assert_uint_eq(vm_commit(world->vm), commit + 1);
	ck_assert(!world->is_executing);
	thaw_and_settle();
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_batch_that_is_refused_is_taken_back_and_waits)
{
	unsigned int id = world_protect(world, KVMATTR_RX, 100, 3);
	uint64_t commit = vm_commit(world->vm);

	spoil_page(world_fail_page, 102, ENOMEM);
	vm_freeze(world->vm);
	world_execute(world);
	ck_assert_int_eq(vm_state(world->vm), VM_UNDOING);
	vm_freeze(world->vm); /* asked again: KVM still holds what is in no layer */
	ck_assert(!world->is_still && !vm_is_still(world->vm));
	world_execute(world);
	ck_assert(world->is_still);
	world_expect_pending(world, id);
	ck_assert_uint_eq(vm_commit(world->vm), commit);
	ck_assert_uint_eq(world_kernel(world, 0, 100), KVMATTR_RWX);
	thaw_and_settle();
	world_expect(world, id, KVMATTR_INSUFFICIENT_MEMORY, 2);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(an_update_of_which_a_part_is_in_force_goes_on_where_it_was)
{
	struct vm_limits limits = world_limits;
	unsigned int id;

	limits.max_elements_per_batch = 4;
	world_free(world);
	world = world_new(DENY, &limits);
	id = world_protect(world, KVMATTR_RX, 100, 10);
	vm_freeze(world->vm);
	world_execute(world);
	ck_assert(world->is_still);
	world_expect_pending(world, id);
	ck_assert_uint_eq(world_kernel(world, 0, 103), KVMATTR_RX);
	ck_assert_uint_eq(world_kernel(world, 0, 104), KVMATTR_RWX);
	thaw_and_settle();
	world_expect(world, id, KVMATTR_OK, 10);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(repairs_go_on)
{
	unsigned int id;

	spoil_page(world_fail_page_always, 100, EFAULT);
	id = world_protect(world, KVMATTR_RX, 100, 1);
	world_settle(world);
	world_expect(world, id, KVMATTR_KERNEL_REFUSED, 0);
	vm_freeze(world->vm);
	ck_assert(world->is_still);
	world_protect(world, KVMATTR_R, 500, 1);
	world_fire_timer(world);
	ck_assert_int_eq(vm_state(world->vm), VM_REPAIRING);
	ck_assert(vm_is_still(world->vm));
	world_execute(world);
	ck_assert(vm_is_degraded(world->vm));
	world->fault = world_no_fault;
	world_fire_timer(world);
	world_execute(world);
	ck_assert(!vm_is_degraded(world->vm));
	world_expect_pending(world, id + 1);
	ck_assert_uint_eq(vm_queue_length(world->vm), 1);
	thaw_and_settle();
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(an_executor_that_gets_stuck_refuses_what_waits_as_ever)
{
	struct world_outcome late;
	unsigned int id;

	if (_i) { /* under a batch, or under a repair of the frozen VM */
		id = world_protect(world, KVMATTR_RX, 100, 3);
		vm_freeze(world->vm);
	} else {
		spoil_page(world_fail_page_always, 100, EFAULT);
		world_protect(world, KVMATTR_RX, 100, 1);
		world_settle(world);
		vm_freeze(world->vm);
		id = world_protect(world, KVMATTR_R, 500, 1);
		world_fire_timer(world);
		ck_assert_int_eq(vm_state(world->vm), VM_REPAIRING);
	}
	late = world_execute_silently(world);
	world_fire_timer(world);
	ck_assert_int_eq(vm_state(world->vm), VM_STUCK);
	ck_assert(world->is_still);
	world_expect(world, id, KVMATTR_EXECUTOR_STUCK, 0);
	world_protect(world, KVMATTR_R, 700, 1);
	world_expect(world, id + 1, KVMATTR_EXECUTOR_STUCK, 0);
	/* Frozen it is still, and repaired. */
	world->fault = world_no_fault;
	world_say(world, late);
	world_protect(world, KVMATTR_R, 900, 1);
	world_settle(world);
	world_expect_pending(world, id + 2);
	ck_assert(!vm_is_degraded(world->vm));
	thaw_and_settle();
	world_expect(world, id + 2, KVMATTR_OK, 1);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_vm_that_waits_for_its_executor_is_at_rest_and_stays_so_when_it_comes)
{
	unsigned int id = world->n_updates;

	world_settle(world);
	world_die(world);
	ck_assert_int_eq(vm_state(world->vm), VM_WAITING);
	ck_assert(!vm_is_frozen(world->vm));
	vm_freeze(world->vm);
	ck_assert(world->is_still);
	world_protect(world, KVMATTR_R, 500, 1);
	vm_start(world->vm);
	world_settle(world);
	world_expect_pending(world, id);
	thaw_and_settle();
	world_expect(world, id, KVMATTR_OK, 1);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(when_the_daemon_dies_nothing_that_waited_is_lost_or_done)
{
	uint64_t commit = vm_commit(world->vm);
	unsigned int id;

	vm_freeze(world->vm);
	id = world_protect(world, KVMATTR_RX, 100, 3);
	world_die(world); /* who is not answered asks again */
	ck_assert(!vm_is_frozen(world->vm));
	ck_assert_uint_eq(vm_commit(world->vm), commit);
	vm_start(world->vm);
	world_settle(world);
	world_expect(world, id, KVMATTR_OK, 3);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(when_the_vm_goes_whoever_waits_is_told)
{
	unsigned int id;

	vm_freeze(world->vm);
	id = world_protect(world, KVMATTR_RX, 100, 3);
	vm_free(world->vm, "it goes");
	world->vm = NULL;
	world_expect(world, id, KVMATTR_NO_VM, 0);
}
END_TEST

/* The one who waits first is answered by a batch that the second one freezes. */
static void freeze_from_within(struct world *w, unsigned int id)
{
	(void)id;
	vm_freeze(w->vm);
}

START_TEST(a_freeze_and_a_thaw_from_within_an_answer_hold)
{
	unsigned int id = world_protect(world, KVMATTR_RX, 100, 1);

	world_protect(world, KVMATTR_RX, 200, 1);
	world->on_answer = freeze_from_within;
	world_execute(world);
	world->on_answer = NULL;
	ck_assert(world->is_still);
	world_expect_pending(world, id + 1);
	/* twice is as good as once */
	vm_freeze(world->vm);
	world_thaw(world);
	world_thaw(world);
	world_settle(world);
	world_expect(world, id + 1, KVMATTR_OK, 1);
	world_expect_all_in_force(world);
}
END_TEST

int main(void)
{
	TCase *frozen = tcase_create("frozen");
	TCase *all[] = { frozen, NULL };

	tcase_add_checked_fixture(frozen, start, stop);
	tcase_add_test(frozen, an_idle_vm_is_at_rest_at_once_and_what_arrives_waits);
	tcase_add_test(frozen, the_batch_under_way_goes_to_its_end_first);
	tcase_add_test(frozen, a_batch_that_is_refused_is_taken_back_and_waits);
	tcase_add_test(frozen, an_update_of_which_a_part_is_in_force_goes_on_where_it_was);
	tcase_add_test(frozen, repairs_go_on);
	tcase_add_loop_test(frozen, an_executor_that_gets_stuck_refuses_what_waits_as_ever, 0, 2);
	tcase_add_test(frozen,
		       a_vm_that_waits_for_its_executor_is_at_rest_and_stays_so_when_it_comes);
	tcase_add_test(frozen, when_the_daemon_dies_nothing_that_waited_is_lost_or_done);
	tcase_add_test(frozen, when_the_vm_goes_whoever_waits_is_told);
	tcase_add_test(frozen, a_freeze_and_a_thaw_from_within_an_answer_hold);
	return seeded_suite_run("vm-freeze", all);
}
