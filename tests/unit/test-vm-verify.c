/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A verification: KVM holds what nobody told it, and is told everything anew.
 */
#include "tests/unit/random-updates.h"
#include "tests/unit/seeded-suite.h"
#include "tests/unit/vm-world.h"

#include <errno.h>
#include <string.h>

#define DENY 1 /* among the mixes of views */

static struct world *world;

static void start(void)
{
	world = world_new(DENY, &world_limits);
	world->random = seeded_suite_random(0);
}

static void stop(void)
{
	world_free(world);
}

static void restart(unsigned int mix, const struct vm_limits *limits)
{
	world_free(world);
	world = world_new(mix, limits);
	world->random = seeded_suite_random((int)mix);
}

/* With parts of so few pages that there are many. */
static void restart_in_small_parts(void)
{
	struct vm_limits limits = world_limits;

	limits.max_pages_per_call = 50;
	restart(DENY, &limits);
}

static unsigned int protect_every_other_page(uint64_t gfn, uint32_t n)
{
	unsigned int id = 0;

	for (uint64_t end = gfn + n; gfn < end; gfn += 2)
		id = world_protect(world, KVMATTR_R, gfn, 1);
	world_settle(world);
	return id;
}

/* Every page of RAM is something else in every view. */
static void spoil_everything(void)
{
	for (unsigned int v = 0; v < world->oracle.n_views; v++)
		for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++)
			if (world->oracle.pages[gfn].is_ram)
				world_spoil(world, v, gfn, world_kernel(world, v, gfn) ^ 0x1f);
}

/* What the VM says of itself meanwhile is what it said before. */
static void expect_untroubled(void)
{
	ck_assert(!vm_is_degraded(world->vm));
	ck_assert_uint_eq(vm_unknown_pages(world->vm), 0);
	ck_assert_uint_eq(world->n_troubles, 0);
	world_expect_states(world);
}

START_TEST(whatever_kvm_held_it_holds_what_the_policy_says_in_every_dialect)
{
	uint64_t n_pages;

	restart((unsigned int)_i, &world_limits);
	for (unsigned int i = 0; i < 300; i++) {
		struct policy_actor actor = { .is_owner = true };
		struct policy_element element = random_element(&world->random);
		struct kvmattr_range range = element.range;

		element.range = (struct kvmattr_range){ 0, 0 };
		world_submit(world, &actor, &element, &range, element.kind <= KVMATTR_REMOVE_RAM,
			     false);
		world_settle(world);
	}
	spoil_everything();
	world_verify(world);
	while (world->is_executing) {
		expect_untroubled();
		world_execute(world);
	}
	ck_assert_uint_eq(world->n_verifying, 0);
	ck_assert_int_eq(world->verification.status, KVMATTR_OK);
	n_pages = vm_policy(world->vm)->n_ram_pages * world->oracle.n_views;
	ck_assert_uint_eq(world->verification.n_pages, n_pages);
	ck_assert_uint_le(world->verification.n_calls, n_pages);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(pages_that_are_alike_are_told_together)
{
	uint64_t n_ram = vm_policy(world->vm)->n_ram_pages;

	spoil_everything();
	world_verify(world);
	ck_assert_int_eq(vm_state(world->vm), VM_VERIFYING);
	world_settle(world);
	ck_assert_uint_eq(world->verification.n_pages, n_ram * world->oracle.n_views);
	/* two ranges of RAM, nothing in it that differs */
	ck_assert_uint_eq(world->verification.n_calls, 2 * world->oracle.n_views);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_batch_waits_for_one_part_only)
{
	unsigned int id, n_parts = 0;

	restart_in_small_parts();
	world_verify(world);
	id = world_protect(world, KVMATTR_RX, 2400, 1);
	world_execute(world);
	ck_assert_int_eq(vm_state(world->vm), VM_EXECUTING);
	world_execute(world);
	world_expect(world, id, KVMATTR_OK, 1);
	ck_assert_int_eq(vm_state(world->vm), VM_VERIFYING);
	for (; world->n_verifying; n_parts++)
		world_execute(world);
	ck_assert_uint_gt(n_parts, 10);
	world_expect_all_in_force(world);
}
END_TEST

static unsigned int n_still_to_come;

/* There is always an update that waits. */
static void submit_another(struct world *w, unsigned int id)
{
	if (!n_still_to_come)
		return;
	n_still_to_come--;
	world_protect(w, id % 2 ? KVMATTR_R : KVMATTR_RX, id % 1000, 1);
}

START_TEST(under_load_it_comes_to_its_end_too)
{
	restart_in_small_parts();
	n_still_to_come = 1000;
	world->on_answer = submit_another;
	world_protect(world, KVMATTR_RX, 0, 1);
	world_protect(world, KVMATTR_RX, 1, 1);
	spoil_everything();
	world_verify(world);
	while (world->n_verifying) {
		ck_assert_uint_gt(n_still_to_come, 0);
		world_execute(world);
	}
	n_still_to_come = 0;
	world_settle(world);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(parts_are_short_where_every_page_differs)
{
	/* 1500 pages of RAM that alternate, all asked for as one part at first */
	protect_every_other_page(0, 1500);
	world_verify(world);
	while (world->is_executing) {
		ck_assert_uint_le(world->n_calls, 1024);
		world_execute(world);
	}
	ck_assert_int_eq(world->verification.status, KVMATTR_OK);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_frozen_vm_is_verified_and_stays_at_rest)
{
	unsigned int id;

	vm_freeze(world->vm);
	id = world_protect(world, KVMATTR_RX, 100, 3);
	spoil_everything();
	world_verify(world);
	ck_assert(vm_is_still(world->vm));
	world_settle(world);
	ck_assert_int_eq(world->verification.status, KVMATTR_OK);
	world_expect_pending(world, id);
	world_thaw(world);
	world_settle(world);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(what_kvm_refuses_is_unknown_and_repaired_and_the_rest_is_verified)
{
	restart_in_small_parts();
	spoil_everything();
	world->faulty.view = 0;
	world->faulty.gfn = 120;
	world->faulty.error = EFAULT;
	world->fault = world_fail_page_always;
	world_verify(world);
	while (world->n_verifying)
		world_execute(world);
	ck_assert_int_eq(world->verification.status, KVMATTR_OK);
	ck_assert(vm_is_degraded(world->vm));
	ck_assert_uint_gt(vm_unknown_pages(world->vm), 0);
	ck_assert_uint_le(vm_unknown_pages(world->vm), 50); /* of one call */
	world->fault = world_no_fault;
	world_fire_timer(world);
	world_settle(world);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_transient_error_is_nothing_that_anyone_hears_of)
{
	world->faulty.n = 3;
	world->faulty.error = EAGAIN;
	world->fault = world_fail_some;
	spoil_everything();
	world_verify(world);
	world_settle(world);
	ck_assert_int_eq(world->verification.status, KVMATTR_OK);
	ck_assert_uint_eq(world->n_troubles, 0);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(one_at_a_time_and_none_without_an_executor)
{
	struct world_outcome late;

	world_verify(world);
	ck_assert_int_eq(vm_verify(world->vm), KVMATTR_OPERATION_DENIED);
	late = world_execute_silently(world);
	world_fire_timer(world);
	ck_assert_int_eq(vm_state(world->vm), VM_STUCK);
	ck_assert_int_eq(world->verification.status, KVMATTR_EXECUTOR_STUCK);
	ck_assert_int_eq(vm_verify(world->vm), KVMATTR_EXECUTOR_STUCK);
	world_say(world, late);
	world_settle(world);
	world_verify(world);
	world_settle(world);
	ck_assert_int_eq(world->verification.status, KVMATTR_OK);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_vm_without_an_executor_so_far_is_verified_when_it_has_one)
{
	world_die(world);
	spoil_everything();
	world_verify(world);
	ck_assert_uint_eq(world->n_verifying, 1);
	vm_start(world->vm);
	world_settle(world);
	ck_assert_int_eq(world->verification.status, KVMATTR_OK);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(without_ram_there_is_nothing_to_tell)
{
	const struct policy_actor owner = { .is_owner = true };
	const struct policy_element element = { .kind = KVMATTR_REMOVE_RAM };
	const struct kvmattr_range ram[] = { { 0, 1500 }, { 1600, 900 } };

	world_submit(world, &owner, &element, ram, 2, false);
	world_settle(world);
	world_verify(world);
	ck_assert_uint_eq(world->n_verifying, 0);
	ck_assert_int_eq(world->verification.status, KVMATTR_OK);
	ck_assert_uint_eq(world->verification.n_pages, 0);
}
END_TEST

int main(void)
{
	TCase *verification = tcase_create("verification");
	TCase *all[] = { verification, NULL };

	tcase_add_checked_fixture(verification, start, stop);
	tcase_add_loop_test(verification,
			    whatever_kvm_held_it_holds_what_the_policy_says_in_every_dialect, 0,
			    N_VIEW_MIXES);
	tcase_add_test(verification, pages_that_are_alike_are_told_together);
	tcase_add_test(verification, a_batch_waits_for_one_part_only);
	tcase_add_test(verification, under_load_it_comes_to_its_end_too);
	tcase_add_test(verification, parts_are_short_where_every_page_differs);
	tcase_add_test(verification, a_frozen_vm_is_verified_and_stays_at_rest);
	tcase_add_test(verification,
		       what_kvm_refuses_is_unknown_and_repaired_and_the_rest_is_verified);
	tcase_add_test(verification, a_transient_error_is_nothing_that_anyone_hears_of);
	tcase_add_test(verification, one_at_a_time_and_none_without_an_executor);
	tcase_add_test(verification, a_vm_without_an_executor_so_far_is_verified_when_it_has_one);
	tcase_add_test(verification, without_ram_there_is_nothing_to_tell);
	return seeded_suite_run("vm-verify", all);
}
