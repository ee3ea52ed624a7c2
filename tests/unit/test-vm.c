/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM's state machine, step by step: batches, refusals, retries, repairs, an executor that does
 * not answer.  The deny dialect, views of VTL 0, 1 and 3, unless a test says otherwise.
 */
#include "tests/unit/deny-world.h"
#include "tests/unit/seeded-suite.h"

#include <errno.h>
#include <string.h>

static void fail_with(world_fault fault, int error)
{
	world->fault = fault;
	world->faulty.error = error;
}

/* Every call that would change that page for VTL 0 fails. */
static void spoil_page(uint64_t gfn, int error)
{
	world->faulty.view = 0;
	world->faulty.gfn = gfn;
	fail_with(world_fail_page, error);
}

/* ---- Batches -------------------------------------------------------------------------------- */

START_TEST(a_lone_update_goes_at_once_and_is_answered_when_it_is_in_force)
{
	unsigned int id = world_protect(world, KVMATTR_RX, 100, 8);

	ck_assert(world->is_executing);
	world_expect_pending(world, id);
	ck_assert_uint_eq(world->timer_ms, world_limits.executor_deadline_ms);
	world_execute(world);
	world_expect(world, id, KVMATTR_OK, 8);
	ck_assert_uint_eq(world_kernel(world, 0, 100), KVMATTR_RX);
	ck_assert_uint_eq(world_kernel(world, 1, 100), KVMATTR_RWX);
	ck_assert_uint_eq(world->timer_ms, 0);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(what_arrives_while_a_batch_is_under_way_is_the_next_batch)
{
	unsigned int n_plans = world->n_plans, first = world_protect(world, KVMATTR_RX, 0, 1);
	uint64_t commit = vm_commit(world->vm);

	for (unsigned int i = 1; i <= 50; i++)
		world_protect(world, KVMATTR_RX, i, 1);
	ck_assert_uint_eq(vm_queue_length(world->vm), 50);
	ck_assert_uint_eq(world->n_plans, n_plans + 1);
	world_execute(world);
	world_expect(world, first, KVMATTR_OK, 1);
	world_expect_pending(world, first + 1);
	ck_assert_uint_eq(world->n_plans, n_plans + 2);
	ck_assert_uint_eq(world->n_calls, 1); /* they follow each other */
	world_execute(world);
	world_expect(world, first + 50, KVMATTR_OK, 1);
	world_expect_all_in_force(world);
	ck_assert_uint_eq(world->n_plans, n_plans + 2);
	ck_assert_uint_eq(vm_commit(world->vm), commit + 2);
	ck_assert_uint_eq(world->updates[first].commit, commit + 1);
	ck_assert_uint_eq(world->updates[first + 50].commit, commit + 2);
}
END_TEST

START_TEST(an_update_that_changes_nothing_is_answered_without_a_call)
{
	unsigned int n_plans = world->n_plans, n_settled = world->n_settled;
	unsigned int id = world_protect(world, KVMATTR_RWX, 0, 100);

	world_expect(world, id, KVMATTR_OK, 100);
	ck_assert_uint_eq(world->n_plans, n_plans);
	ck_assert_uint_gt(world->n_settled, n_settled);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(updates_of_one_page_are_in_force_as_the_last_of_them_says)
{
	world_protect(world, KVMATTR_R, 7, 1);
	world_protect(world, KVMATTR_NONE, 7, 1);
	world_protect(world, KVMATTR_RX, 7, 1);
	world_protect(world, KVMATTR_RW, 7, 1);
	world_settle(world);
	ck_assert_uint_eq(world_kernel(world, 0, 7), KVMATTR_RW);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_batch_holds_so_many_elements_and_no_more)
{
	struct vm_limits limits = world_limits;
	unsigned int first, id;

	limits.max_elements_per_batch = 4;
	deny_world_restart(&limits);
	first = world_protect(world, KVMATTR_R, 0, 1);
	id = world_protect(world, KVMATTR_RX, 10, 10);
	world_protect(world, KVMATTR_RX, 30, 1);
	world_execute(world);
	world_expect(world, first, KVMATTR_OK, 1);
	for (unsigned int batch = 0; batch < 3; batch++) {
		world_expect_pending(world, id);
		world_execute(world); /* 4, 4, 2 and the next update */
	}
	world_expect(world, id, KVMATTR_OK, 10);
	world_expect(world, id + 1, KVMATTR_OK, 1);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_call_covers_so_many_pages_and_no_more)
{
	struct vm_limits limits = world_limits;
	unsigned int n_made;

	limits.max_pages_per_call = 100;
	deny_world_restart(&limits);
	n_made = world->n_calls_made;
	world_protect(world, KVMATTR_RX, 0, 950);
	world_settle(world);
	ck_assert_uint_eq(world->n_calls_made, n_made + 10);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(an_executor_may_take_a_plan_piece_by_piece)
{
	unsigned int id;

	world->n_calls_at_most = 3;
	for (uint32_t i = 0; i < 20; i++)
		world_protect(world, i % 2 ? KVMATTR_R : KVMATTR_RW, 10 * i, 3);
	id = world_protect(world, KVMATTR_RX, 1000, 1);
	world_settle(world);
	world_expect(world, id, KVMATTR_OK, 1);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(what_the_policy_forbids_ends_its_update_and_no_other)
{
	struct policy_element element = { .kind = KVMATTR_PROTECT,
					  .layer = 1,
					  .value = KVMATTR_RX,
					  .restricted = KVMATTR_ALL_LOWER };
	/* 1500 to 1599 are no RAM. */
	const struct kvmattr_range ranges[] = {
		{ 10, 1 }, { 1498, 1 }, { 1499, 1 }, { 1500, 1 }, { 20, 1 }
	};
	const struct kvmattr_range empty[] = { { 30, 1 }, { 40, 0 }, { 50, 1 } };
	unsigned int id = world_protect(world, KVMATTR_R, 0, 1);

	world_submit(world, &owner, &element, ranges, N(ranges), true);
	world_submit(world, &owner, &element, empty, N(empty), false);
	world_protect(world, KVMATTR_R, 60, 1);
	world_settle(world);
	world_expect(world, id, KVMATTR_OK, 1);
	world_expect(world, id + 1, KVMATTR_INVALID_PARAMETER, 3);
	world_expect(world, id + 2, KVMATTR_INVALID_PARAMETER, 1);
	ck_assert_ptr_nonnull(strstr(world->updates[id + 1].text, "0x5dc"));
	world_expect(world, id + 3, KVMATTR_OK, 1);
	ck_assert_uint_eq(world_kernel(world, 0, 1499), KVMATTR_RX);
	ck_assert_uint_eq(world_kernel(world, 0, 20), KVMATTR_RWX);
	world_expect_all_in_force(world);
}
END_TEST

static void submit_more(struct world *w, unsigned int id)
{
	if (id < 20)
		world_protect(w, id % 3 ? KVMATTR_RX : KVMATTR_RWX, 100 + id, 1);
}

START_TEST(an_update_submitted_from_within_an_answer_has_its_place_in_the_order)
{
	world->on_answer = submit_more;
	/* Some change nothing and are answered at once, among others that wait. */
	world_protect(world, KVMATTR_RWX, 7, 1);
	world_protect(world, KVMATTR_R, 7, 1);
	world_protect(world, KVMATTR_RWX, 8, 1);
	world_protect(world, KVMATTR_RWX, 9, 1);
	world_settle(world);
	ck_assert_uint_ge(world->n_updates, 20);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(others_have_a_turn_between_updates_that_need_no_call)
{
	unsigned int id = world_protect(world, KVMATTR_R, 0, 1), n_settled;
	struct vm_limits limits = world_limits;

	limits.max_elements_per_batch = 1;
	deny_world_restart(&limits);
	id = world_protect(world, KVMATTR_R, 0, 1);
	for (unsigned int i = 0; i < 10; i++)
		world_protect(world, KVMATTR_RWX, 10, 1);
	world->us_per_look = 1000;
	n_settled = world->n_settled;
	world_execute(world);
	ck_assert_uint_lt(world->n_settled - n_settled, 10);
	world_expect_pending(world, id + 10);
	ck_assert(world->is_giving_way);
	world_settle(world);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(statistics_count_what_was_done)
{
	struct vm_statistics before = *vm_statistics(world->vm), after;

	world_protect(world, KVMATTR_RX, 0, 1);
	world_protect(world, KVMATTR_RX, 1, 1); /* these two are one call together */
	world_protect(world, KVMATTR_RX, 2, 4);
	world->now_us += 500;
	world_execute(world);
	world->now_us += 700;
	world_settle(world);
	after = *vm_statistics(world->vm);
	ck_assert_uint_eq(after.updates - before.updates, 3);
	ck_assert_uint_eq(after.updates_failed - before.updates_failed, 0);
	ck_assert_uint_eq(after.elements - before.elements, 6);
	ck_assert_uint_eq(after.pages - before.pages, 6);
	ck_assert_uint_eq(after.batches - before.batches, 2);
	ck_assert_uint_eq(after.calls - before.calls, 2);
	ck_assert_uint_eq(after.call_pages - before.call_pages, 6);
	ck_assert_uint_eq(after.calls_unmerged - before.calls_unmerged, 3);
	ck_assert_uint_eq(after.batch_us_total - before.batch_us_total, 1200);
	ck_assert_uint_eq(after.batch_us_max, 700);
}
END_TEST

/* ---- Refusals ------------------------------------------------------------------------------- */

START_TEST(only_the_element_that_cannot_be_done_fails)
{
	static const struct {
		int error;
		enum kvmattr_status status;
	} refusals[] = { { ENOMEM, KVMATTR_INSUFFICIENT_MEMORY },
			 { EINVAL, KVMATTR_UNSUPPORTED },
			 { EFAULT, KVMATTR_KERNEL_REFUSED } };
	unsigned int first = world_protect(world, KVMATTR_RX, 1000, 1);

	/* Many, of several elements; the 5th of the 20th meets the page. */
	for (uint32_t i = 0; i < 40; i++)
		world_protect(world, i % 2 ? KVMATTR_R : KVMATTR_RW, 10 * i, 9);
	spoil_page(194, refusals[_i].error);
	world_settle(world);
	for (unsigned int i = 0; i < 40; i++)
		if (i == 19)
			world_expect(world, first + 1 + i, refusals[_i].status, 4);
		else
			world_expect(world, first + 1 + i, KVMATTR_OK, 9);
	ck_assert_ptr_nonnull(strstr(world->updates[first + 20].text, "0xc2"));
	ck_assert_uint_eq(world_kernel(world, 0, 193), KVMATTR_R);
	ck_assert_uint_eq(world_kernel(world, 0, 194), KVMATTR_RWX);
	ck_assert_uint_eq(world_kernel(world, 0, 195), KVMATTR_RWX);
	world_expect_all_in_force(world);
	/* It does not stay slow: long batches come back. */
	world->fault = world_no_fault;
	world_protect(world, KVMATTR_RX, 0, 1);
	first = world->n_plans;
	world_protect(world, KVMATTR_NONE, 0, 190);
	world_protect(world, KVMATTR_NONE, 200, 190);
	world_settle(world);
	ck_assert_uint_le(world->n_plans - first, 12);
}
END_TEST

START_TEST(a_call_that_is_refused_once_fails_nothing)
{
	unsigned int first = world_protect(world, KVMATTR_RX, 1000, 1);

	for (uint32_t i = 0; i < 30; i++)
		world_protect(world, i % 2 ? KVMATTR_R : KVMATTR_RW, 10 * i, 9);
	world_execute(world);
	fail_with(world_fail_once, ENOMEM);
	world->faulty.n = (unsigned int)_i;
	world->does_more_than_it_says = true;
	world_settle(world);
	for (unsigned int i = 0; i <= 30; i++)
		world_expect(world, first + i, KVMATTR_OK, i ? 9 : 1);
	ck_assert_uint_eq(world->n_faults, 1);
	ck_assert_uint_eq(vm_statistics(world->vm)->refusals, 1);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_lone_element_that_is_refused_fails_after_one_try)
{
	unsigned int id;

	deny_world_restart(&(struct vm_limits){ .max_pages_per_call = 1000,
						.max_elements_per_batch = 1,
						.executor_deadline_ms = 100 });
	fail_with(world_fail_once, ENOMEM);
	id = world_protect(world, KVMATTR_RX, 5, 1);
	world_settle(world);
	world_expect(world, id, KVMATTR_INSUFFICIENT_MEMORY, 0);
	ck_assert_ptr_nonnull(strstr(world->updates[id].text, "ENOMEM"));
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_range_is_done_whole_or_not_at_all)
{
	struct policy_element element = { .kind = KVMATTR_PROTECT,
					  .layer = 1,
					  .value = KVMATTR_RX,
					  .restricted = KVMATTR_ALL_LOWER };
	const struct kvmattr_range ranges[] = { { 0, 100 }, { 200, 300 }, { 600, 50 } };
	unsigned int id;

	spoil_page(450, EINVAL);
	id = world_submit(world, &owner, &element, ranges, N(ranges), false);
	world_settle(world);
	world_expect(world, id, KVMATTR_UNSUPPORTED, 1);
	ck_assert_uint_eq(world_kernel(world, 0, 99), KVMATTR_RX);
	ck_assert_uint_eq(world_kernel(world, 0, 200), KVMATTR_RWX);
	ck_assert_uint_eq(world_kernel(world, 0, 600), KVMATTR_RWX);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(updates_without_elements_are_refused_like_others)
{
	struct policy_element element = { .kind = KVMATTR_ENABLE_LAYER,
					  .layer = 4,
					  .value = KVMATTR_R };
	unsigned int id;

	spoil_page(700, ENOMEM);
	id = world_submit(world, &owner, &element, NULL, 0, false);
	world_protect(world, KVMATTR_RX, 3, 1);
	world_settle(world);
	world_expect(world, id, KVMATTR_INSUFFICIENT_MEMORY, 0);
	world_expect(world, id + 1, KVMATTR_OK, 1);
	ck_assert(!vm_policy(world->vm)->layers[4].enabled);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(what_was_done_of_a_refused_call_is_taken_back)
{
	unsigned int id = world_protect(world, KVMATTR_RX, 0, 1);

	world_execute(world);
	fail_with(world_fail_once, ENOMEM);   /* half of its pages are done, */
	world->does_more_than_it_says = true; /* and perhaps one more */
	id = world_protect(world, KVMATTR_NONE, 100, 64);
	world_execute(world);
	ck_assert_int_eq(vm_state(world->vm), VM_UNDOING);
	world_expect_pending(world, id);
	world_execute(world);
	for (uint64_t gfn = 100; gfn < 164; gfn++)
		EXPECT(world_kernel(world, 0, gfn) == KVMATTR_RWX ||
			       vm_state(world->vm) == VM_EXECUTING,
		       "page %u", (unsigned int)gfn);
	world_settle(world);
	world_expect(world, id, KVMATTR_OK, 64);
	world_expect_all_in_force(world);
}
END_TEST

/* ---- Not now -------------------------------------------------------------------------------- */

START_TEST(a_call_that_kvm_cannot_take_now_is_made_again_later_and_later)
{
	static const int errors[] = { EAGAIN, EBUSY, EINTR };
	unsigned int id, waited_ms = 0;

	fail_with(world_fail_some, errors[_i]);
	world->faulty.n = 5;
	id = world_protect(world, KVMATTR_RX, 0, 10);
	for (unsigned int i = 0; i < 5; i++) {
		world_execute(world);
		world_expect_pending(world, id);
		ck_assert(!world->is_executing);
		ck_assert_uint_gt(world->timer_ms, waited_ms);
		waited_ms = world->timer_ms;
		world_protect(world, KVMATTR_R, 100 + i, 1); /* does not disturb it */
		ck_assert(!world->is_executing);
		world_fire_timer(world);
	}
	world_execute(world);
	world_expect(world, id, KVMATTR_OK, 10);
	ck_assert_uint_eq(vm_statistics(world->vm)->retries, 5);
	ck_assert_uint_eq(vm_statistics(world->vm)->refusals, 0);
	world_settle(world);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_call_that_kvm_never_takes_is_refused_in_the_end)
{
	unsigned int id;

	deny_world_restart(&(struct vm_limits){ .max_pages_per_call = 1000,
						.max_elements_per_batch = 1,
						.executor_deadline_ms = 100 });
	spoil_page(5, EAGAIN);
	id = world_protect(world, KVMATTR_RX, 5, 1);
	world_settle(world);
	world_expect(world, id, KVMATTR_KERNEL_REFUSED, 0);
	ck_assert_uint_le(world->n_faults, 20);
	ck_assert_uint_ge(vm_statistics(world->vm)->retries, 3);
	world_expect_all_in_force(world);
}
END_TEST

static int fail_every_other(struct world *w, const struct plan_call *call, uint64_t *ret_n_done)
{
	(void)call;
	if (w->n_calls_made % 2 == 0)
		return 0;
	*ret_n_done = 0;
	return EAGAIN;
}

START_TEST(a_plan_that_moves_on_is_not_given_up_however_often_it_has_to_wait)
{
	unsigned int id = world_protect(world, KVMATTR_RX, 1000, 1);

	for (uint32_t i = 0; i < 100; i++)
		world_protect(world, i % 2 ? KVMATTR_R : KVMATTR_RW, 10 * i, 1);
	world->fault = fail_every_other;
	world_settle(world);
	for (unsigned int i = 0; i <= 100; i++)
		world_expect(world, id + i, KVMATTR_OK, 1);
	ck_assert_uint_eq(vm_statistics(world->vm)->refusals, 0);
	world_expect_all_in_force(world);
}
END_TEST

/* ---- The end -------------------------------------------------------------------------------- */

/* world_free() checks that everything is answered. */
START_TEST(a_vm_that_goes_answers_all_that_waits)
{
	unsigned int id = world_protect(world, KVMATTR_RX, 0, 100);

	for (unsigned int i = 1; i < 20; i++)
		world_protect(world, KVMATTR_RX, 200 + 3 * i, 1);
	fail_with(world_fail_some, _i % 2 ? EAGAIN : EFAULT);
	world->faulty.n = 1 + (unsigned int)_i;
	for (unsigned int i = 0; i < 2 && world->is_executing; i++)
		world_execute(world);
	ck_assert_uint_lt(world->n_answered, world->n_updates);
	vm_free(world->vm, "the VM is gone");
	for (; id < world->n_updates; id++)
		EXPECT(world->updates[id].is_answered &&
			       (world->updates[id].status == KVMATTR_NO_VM ||
				world->updates[id].status == KVMATTR_OK),
		       "update %u", id);
	world->vm = NULL;
}
END_TEST

int main(void)
{
	TCase *batches = tcase_create("batches");
	TCase *refusals = tcase_create("refusals");
	TCase *transient = tcase_create("transient");
	TCase *all[] = { batches, refusals, transient, NULL };

	for (size_t i = 0; all[i]; i++)
		tcase_add_checked_fixture(all[i], deny_world_start, deny_world_stop);
	tcase_add_test(batches, a_lone_update_goes_at_once_and_is_answered_when_it_is_in_force);
	tcase_add_test(batches, what_arrives_while_a_batch_is_under_way_is_the_next_batch);
	tcase_add_test(batches, an_update_that_changes_nothing_is_answered_without_a_call);
	tcase_add_test(batches, updates_of_one_page_are_in_force_as_the_last_of_them_says);
	tcase_add_test(batches, a_batch_holds_so_many_elements_and_no_more);
	tcase_add_test(batches, a_call_covers_so_many_pages_and_no_more);
	tcase_add_test(batches, an_executor_may_take_a_plan_piece_by_piece);
	tcase_add_test(batches, what_the_policy_forbids_ends_its_update_and_no_other);
	tcase_add_test(batches,
		       an_update_submitted_from_within_an_answer_has_its_place_in_the_order);
	tcase_add_test(batches, others_have_a_turn_between_updates_that_need_no_call);
	tcase_add_test(batches, statistics_count_what_was_done);
	tcase_add_loop_test(batches, a_vm_that_goes_answers_all_that_waits, 0, 4);
	tcase_add_loop_test(refusals, only_the_element_that_cannot_be_done_fails, 0, 3);
	tcase_add_loop_test(refusals, a_call_that_is_refused_once_fails_nothing, 0, 30);
	tcase_add_test(refusals, a_lone_element_that_is_refused_fails_after_one_try);
	tcase_add_test(refusals, a_range_is_done_whole_or_not_at_all);
	tcase_add_test(refusals, updates_without_elements_are_refused_like_others);
	tcase_add_test(refusals, what_was_done_of_a_refused_call_is_taken_back);
	tcase_add_loop_test(transient,
			    a_call_that_kvm_cannot_take_now_is_made_again_later_and_later, 0, 3);
	tcase_add_test(transient, a_call_that_kvm_never_takes_is_refused_in_the_end);
	tcase_add_test(transient,
		       a_plan_that_moves_on_is_not_given_up_however_often_it_has_to_wait);
	return seeded_suite_run("vm", all);
}
