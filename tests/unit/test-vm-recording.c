/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM and its journal: what is written when, what becomes of what cannot be written, answers that
 * wait for the disk, and a VM that goes on where a former life of the daemon ended.  The deny
 * dialect, views of VTL 0, 1 and 3.
 */
#include "tests/unit/deny-world.h"
#include "tests/unit/seeded-suite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void restart_with(uint64_t max_elements_per_batch)
{
	struct vm_limits limits = world_limits;

	limits.max_elements_per_batch = max_elements_per_batch;
	deny_world_restart(&limits);
}

/* Of the next records, so many are written and so many behind them are not. */
static void fail_records(unsigned int n_until_failure, unsigned int n_failures, int error)
{
	world->journal.n_until_failure = n_until_failure;
	world->journal.n_failures = n_failures;
	world->journal.error = error;
}

static uint8_t state_of(uint64_t gfn)
{
	struct vm_run run;

	ck_assert(vm_next_run(world->vm, 0, gfn, gfn + 1, &run));
	return run.state;
}

static void expect_page(uint64_t gfn, uint8_t attributes)
{
	ck_assert_uint_eq(world_kernel(world, 0, gfn), attributes);
}

/* ---- What is written ------------------------------------------------------------------------ */

START_TEST(a_batch_is_written_before_its_first_call_and_its_end_before_its_answer)
{
	uint64_t number = world->journal.number, commit = world->journal.commit;
	unsigned int id = world_protect(world, KVMATTR_RX, 100, 8);

	ck_assert(world->is_executing && world->journal.is_open);
	ck_assert_uint_eq(world->journal.number, number + 1);
	world_execute(world);
	ck_assert_uint_eq(world->journal.number, number + 2);
	ck_assert_uint_eq(world->journal.commit, commit + 1);
	world_expect(world, id, KVMATTR_OK, 8);
	ck_assert_uint_eq(world->updates[id].commit, commit + 1);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_batch_that_needs_no_call_is_written_together_with_its_end)
{
	uint64_t number = world->journal.number, commit = vm_commit(world->vm);
	unsigned int id = world_protect(world, KVMATTR_RWX, 100, 8);

	world_expect(world, id, KVMATTR_OK, 8);
	/*
	 * Where the policy forbids all of it, too: there is one order, and it has its place there.
	 */
	id = world_protect(world, KVMATTR_R, 1500, 1);
	world_expect(world, id, KVMATTR_INVALID_PARAMETER, 0);
	ck_assert_uint_eq(world->journal.number, number + 2);
	ck_assert_uint_eq(vm_commit(world->vm), commit + 2);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(what_kvm_refuses_is_noted_when_it_is_answered_and_written_with_the_next_batch)
{
	unsigned int id;

	world->faulty.gfn = 100;
	world->faulty.error = ENOMEM;
	world->fault = world_fail_page;
	id = world_protect(world, KVMATTR_R, 99, 3);
	world_settle(world);
	world_expect(world, id, KVMATTR_INSUFFICIENT_MEMORY, 1);
	ck_assert(world->journal.updates[id].is_settled && !world->journal.updates[id].is_written);
	world_protect(world, KVMATTR_R, 200, 1);
	ck_assert(world->journal.updates[id].is_written);
	world_settle(world);
	world_expect_all_in_force(world);
}
END_TEST

/* One long update, or several of them together; the world checks each batch. */
START_TEST(a_batch_ends_before_its_record_is_too_long)
{
	struct policy_element element = { .kind = KVMATTR_PROTECT,
					  .layer = 1,
					  .value = KVMATTR_RX,
					  .restricted = KVMATTR_ALL_LOWER };
	const uint32_t n =
		(5u << 19) / (uint32_t)sizeof(struct kvmattr_range) / (1u + (uint32_t)_i);
	struct kvmattr_range *ranges = calloc(n, sizeof(*ranges));
	uint64_t commit;

	ck_assert_ptr_nonnull(ranges);
	restart_with(UINT32_MAX);
	world_protect(world, KVMATTR_R, 0, 1);
	for (uint32_t i = 0; i < n; i++)
		ranges[i] = (struct kvmattr_range){ i % 3, 1 };
	for (int i = 0; i <= _i; i++)
		world_submit(world, &owner, &element, ranges, n, false);
	world_execute(world);
	commit = vm_commit(world->vm);
	world_settle(world);
	world_expect(world, world->n_updates - 1, KVMATTR_OK, n);
	ck_assert_uint_eq(vm_commit(world->vm), commit + 2);
	world_expect_all_in_force(world);
	free(ranges);
}
END_TEST

/*
 * Pages that follow each other are tried together, and one by one if that is refused.  In between,
 * the batch may be full, of pages that others asked for.
 */
START_TEST(an_update_of_which_a_full_batch_has_no_room_for_anything_is_none_of_it)
{
	const struct policy_element element = { .kind = KVMATTR_PROTECT,
						.layer = 1,
						.value = KVMATTR_RX,
						.restricted = KVMATTR_ALL_LOWER };
	const struct kvmattr_range far = { KVMATTR_GFN_LIMIT - 1, (UINT64_C(1) << 22) - 1 };
	uint64_t commit = vm_commit(world->vm);
	unsigned int id;

	world_protect(world, KVMATTR_R, 0, 1);
	world_submit(world, &owner, &element, &far, 1, false);
	id = world_protect(world, KVMATTR_R, 1500, 2);
	world_settle(world);
	world_expect(world, id - 1, KVMATTR_INVALID_PARAMETER, 0);
	world_expect(world, id, KVMATTR_INVALID_PARAMETER, 0);
	ck_assert_uint_eq(vm_commit(world->vm), commit + 3);
	world_expect_all_in_force(world);
}
END_TEST

/* ---- What cannot be written ----------------------------------------------------------------- */

START_TEST(what_the_journal_does_not_take_is_not_done)
{
	static const struct {
		int error;
		const char *what, *to_do;
	} faults[] = { { ENOSPC, "No space left on device", "make room" },
		       { EDQUOT, "Disk quota exceeded", "make room" },
		       { EIO, "Input/output error", "see to its disk" } };
	unsigned int n_made = world->n_calls_made, id;
	uint64_t commit = vm_commit(world->vm);

	fail_records(0, 1, faults[_i].error);
	id = world_protect(world, KVMATTR_RX, 100, 8);
	world_expect(world, id, KVMATTR_JOURNAL_FAILED, 0);
	ck_assert_ptr_nonnull(strstr(world->updates[id].text, faults[_i].what));
	ck_assert_ptr_nonnull(strstr(world->updates[id].text, faults[_i].to_do));
	ck_assert_uint_lt(strlen(world->updates[id].text),
			  sizeof(((struct wire_failure *)NULL)->text));
	ck_assert_uint_eq(world->n_calls_made, n_made);
	ck_assert_uint_eq(vm_commit(world->vm), commit);
	world_expect_all_in_force(world);
	/* It goes on by itself. */
	world_protect(world, KVMATTR_RX, 100, 8);
	world_settle(world);
	world_expect(world, id + 1, KVMATTR_OK, 8);
	ck_assert(world->journal.updates[id].is_written);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(ram_that_was_to_be_taken_out_and_put_back_is_as_it_was)
{
	const struct kvmattr_range page = { 100, 1 };
	struct policy_element element = { .kind = KVMATTR_REMOVE_RAM };
	unsigned int busy = world_protect(world, KVMATTR_R, 100, 1), id;

	/* Together in one batch, behind the one that is under way. */
	id = world_submit(world, &owner, &element, &page, 1, false);
	element.kind = KVMATTR_ADD_RAM;
	world_submit(world, &owner, &element, &page, 1, false);
	fail_records(1, 1, ENOSPC);
	world_settle(world);
	world_expect(world, busy, KVMATTR_OK, 1);
	world_expect(world, id, KVMATTR_JOURNAL_FAILED, 0);
	world_expect(world, id + 1, KVMATTR_JOURNAL_FAILED, 0);
	ck_assert_uint_eq(state_of(100), WIRE_IN_FORCE);
	expect_page(100, KVMATTR_R);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(all_of_a_batch_that_cannot_be_written_is_refused_and_nothing_else)
{
	unsigned int id;

	restart_with(4);
	world_protect(world, KVMATTR_R, 0, 1);
	id = world_protect(world, KVMATTR_R, 10, 1);
	for (unsigned int i = 1; i < 12; i++)
		world_protect(world, KVMATTR_R, 10 * (i + 1), 1);
	fail_records(1 + 2, 1, ENOSPC); /* the second four */
	world_settle(world);
	for (unsigned int i = 0; i < 12; i++) {
		bool is_refused = i >= 4 && i < 8;

		world_expect(world, id + i, is_refused ? KVMATTR_JOURNAL_FAILED : KVMATTR_OK,
			     !is_refused);
		expect_page(10 * (i + 1), is_refused ? KVMATTR_RWX : KVMATTR_R);
	}
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(an_update_that_was_begun_ends_with_what_is_in_force_of_it)
{
	unsigned int id;

	restart_with(4);
	fail_records(2, 1, ENOSPC);
	id = world_protect(world, KVMATTR_RX, 100, 10);
	world_protect(world, KVMATTR_R, 104, 1);
	world_settle(world);
	world_expect(world, id, KVMATTR_JOURNAL_FAILED, 4);
	world_expect(world, id + 1, KVMATTR_OK, 1);
	expect_page(103, KVMATTR_RX);
	expect_page(105, KVMATTR_RWX);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_batch_whose_end_the_journal_does_not_take_is_taken_back)
{
	uint64_t commit = vm_commit(world->vm);
	unsigned int id = world_protect(world, KVMATTR_RX, 100, 8);

	fail_records(0, 1, ENOSPC);
	world_protect(world, KVMATTR_R, 200, 1);
	world_execute(world);
	ck_assert_int_eq(vm_state(world->vm), VM_UNDOING);
	world_expect_pending(world, id);
	world_execute(world);
	world_expect(world, id, KVMATTR_JOURNAL_FAILED, 0);
	expect_page(100, KVMATTR_RWX);
	ck_assert_uint_eq(vm_commit(world->vm), commit);
	world_settle(world);
	world_expect(world, id + 1, KVMATTR_OK, 1);
	ck_assert_uint_eq(vm_commit(world->vm), commit + 1);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(so_it_is_where_kvm_does_not_take_back_all_of_it)
{
	unsigned int id = world_protect(world, KVMATTR_RX, 100, 8);

	fail_records(0, 1, EIO);
	world_execute(world);
	world->faulty.gfn = 100;
	world->faulty.error = EFAULT;
	world->fault = world_fail_page_always;
	world_settle(world);
	world_expect(world, id, KVMATTR_JOURNAL_FAILED, 0);
	ck_assert(vm_is_degraded(world->vm));
	world->fault = world_no_fault;
	world_fire_timer(world);
	world_settle(world);
	expect_page(100, KVMATTR_RWX);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(so_it_is_where_the_executor_falls_silent)
{
	unsigned int id = world_protect(world, KVMATTR_RX, 100, 8);

	fail_records(0, 1, EIO);
	world_execute(world);
	world_fire_timer(world);
	ck_assert_int_eq(vm_state(world->vm), VM_STUCK);
	world_expect(world, id, KVMATTR_EXECUTOR_STUCK, 0);
	world_say(world, world_execute_silently(world));
	world_settle(world);
	expect_page(100, KVMATTR_RWX);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(pages_that_are_not_known_stay_so_while_nothing_can_be_written)
{
	unsigned int id;

	world->faulty.gfn = 100;
	world->faulty.error = EFAULT;
	world->fault = world_fail_page_always;
	world_protect(world, KVMATTR_RX, 100, 1);
	world_settle(world);
	fail_records(0, 1, ENOSPC);
	id = world_protect(world, KVMATTR_R, 99, 3);
	world_settle(world);
	world_expect(world, id, KVMATTR_JOURNAL_FAILED, 0);
	ck_assert_uint_eq(vm_unknown_pages(world->vm), 1);
	ck_assert_uint_eq(state_of(100), WIRE_UNKNOWN);
	world->fault = world_no_fault;
	world_fire_timer(world);
	world_settle(world);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(others_have_a_turn_between_batches_that_cannot_be_written)
{
	unsigned int id;

	restart_with(1);
	world_protect(world, KVMATTR_R, 0, 1);
	id = world_protect(world, KVMATTR_R, 10, 1);
	for (unsigned int i = 1; i < 10; i++)
		world_protect(world, KVMATTR_R, 10, 1);
	fail_records(1, 10, ENOSPC);
	world->us_per_look = 1000;
	world_execute(world);
	world_expect_pending(world, id + 9);
	ck_assert(world->is_giving_way);
	world_settle(world);
	world_expect(world, id + 9, KVMATTR_JOURNAL_FAILED, 0);
	world_expect_all_in_force(world);
}
END_TEST

/* ---- Answers that wait for the disk --------------------------------------------------------- */

START_TEST(answers_wait_until_they_are_durable_and_batches_do_not)
{
	uint64_t commit = vm_commit(world->vm), half;
	unsigned int first = world->n_updates;

	world->journal.is_power = true;
	for (unsigned int i = 0; i < 50; i++) {
		world_protect(world, i % 2 ? KVMATTR_R : KVMATTR_RX, 3 * i, 1);
		world_execute(world);
	}
	ck_assert_uint_eq(vm_commit(world->vm), commit + 50);
	ck_assert_int_eq(vm_state(world->vm), VM_IDLE);
	world_expect_pending(world, first);
	half = world->journal.updates[first + 24].number;
	world->journal.told = half;
	vm_durable(world->vm, half);
	world_expect(world, first + 24, KVMATTR_OK, 1);
	world_expect_pending(world, first + 25);
	ck_assert_uint_eq(world->updates[first + 24].commit, commit + 25);
	world_sync(world);
	world_expect(world, first + 49, KVMATTR_OK, 1);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_refusal_is_answered_behind_what_was_before_it)
{
	unsigned int id;

	world->journal.is_power = true;
	fail_records(0, 1, ENOSPC);
	id = world_protect(world, KVMATTR_R, 0, 1);
	world_expect(world, id, KVMATTR_JOURNAL_FAILED, 0); /* at once: nothing is */
	world_protect(world, KVMATTR_R, 10, 1);
	world_execute(world);
	fail_records(0, 1, ENOSPC);
	world_protect(world, KVMATTR_R, 20, 1);
	world_expect_pending(world, id + 1);
	world_expect_pending(world, id + 2);
	world_sync(world);
	world_expect(world, id + 1, KVMATTR_OK, 1);
	world_expect(world, id + 2, KVMATTR_JOURNAL_FAILED, 0);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_refusal_waits_for_those_elements_that_it_says_are_in_force)
{
	unsigned int id;

	restart_with(4);
	world->journal.is_power = true;
	fail_records(2, 1, ENOSPC);
	id = world_protect(world, KVMATTR_RX, 100, 6);
	world_execute(world);
	world_expect_pending(world, id);
	world_sync(world);
	world_expect(world, id, KVMATTR_JOURNAL_FAILED, 4);
	world_expect_all_in_force(world);
}
END_TEST

static void submit_more(struct world *w, unsigned int id)
{
	if (id < 40)
		world_protect(w, id % 3 ? KVMATTR_RX : KVMATTR_RWX, 100 + id, 1);
}

START_TEST(an_update_from_within_an_answer_that_waited_has_its_place_in_the_order)
{
	world->journal.is_power = true;
	world->on_answer = submit_more;
	for (unsigned int i = 0; i < 10; i++)
		world_protect(world, i % 2 ? KVMATTR_RWX : KVMATTR_R, i, 1);
	world_settle(world);
	ck_assert_uint_ge(world->n_updates, 40);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(a_vm_that_goes_says_so_to_those_who_waited_for_the_disk)
{
	unsigned int id;

	world->journal.is_power = true;
	id = world_protect(world, KVMATTR_R, 0, 2);
	world_execute(world);
	fail_records(0, 1, ENOSPC);
	world_protect(world, KVMATTR_R, 10, 1);
	world_protect(world, KVMATTR_R, 20, 1);
	vm_free(world->vm, "the VM is gone");
	world->vm = NULL;
	world_expect(world, id, KVMATTR_NO_VM, 2);
	world_expect(world, id + 1, KVMATTR_JOURNAL_FAILED, 0);
	world_expect(world, id + 2, KVMATTR_NO_VM, 0);
}
END_TEST

/* ---- Another life --------------------------------------------------------------------------- */

START_TEST(a_vm_without_an_executor_takes_updates_and_can_be_looked_at)
{
	uint64_t commit = vm_commit(world->vm);
	unsigned int id;

	world_protect(world, KVMATTR_R, 7, 1);
	world_settle(world);
	world_die(world);
	ck_assert_int_eq(vm_state(world->vm), VM_WAITING);
	ck_assert_str_eq(vm_state_name(world->vm), "waiting");
	ck_assert_uint_eq(vm_commit(world->vm), commit + 1);
	id = world_protect(world, KVMATTR_RX, 100, 1);
	world_protect(world, KVMATTR_RX, 101, 1);
	vm_timer(world->vm);
	world_expect_pending(world, id);
	ck_assert_uint_eq(vm_queue_length(world->vm), 2);
	ck_assert_uint_eq(state_of(7), WIRE_IN_FORCE);
	ck_assert_uint_eq(vm_unknown_pages(world->vm), 0);
	world_expect_states(world);
	vm_start(world->vm);
	ck_assert_uint_eq(world->n_calls, 1); /* both together */
	world_settle(world);
	world_expect(world, id + 1, KVMATTR_OK, 1);
	ck_assert_uint_eq(world->updates[id + 1].commit, commit + 2);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(what_may_have_been_done_when_the_daemon_died_is_not_known_until_it_is_repaired)
{
	unsigned int id = world_protect(world, KVMATTR_RX, 100, 1);

	world_execute_silently(world); /* nobody hears it */
	world_die(world);
	expect_page(100, KVMATTR_RX);
	ck_assert_uint_eq(state_of(100), WIRE_UNKNOWN);
	ck_assert_uint_eq(state_of(101), WIRE_IN_FORCE);
	ck_assert_uint_eq(vm_unknown_pages(world->vm), 3); /* in every view */
	vm_start(world->vm);
	ck_assert_int_eq(vm_state(world->vm), VM_REPAIRING);
	world_execute(world);
	expect_page(100, KVMATTR_RWX);
	world_expect_pending(world, id); /* and is done again */
	world_settle(world);
	world_expect(world, id, KVMATTR_OK, 1);
	expect_page(100, KVMATTR_RX);
	world_expect_all_in_force(world);
}
END_TEST

START_TEST(an_update_that_was_begun_in_another_life_goes_on_behind_its_first_elements)
{
	unsigned int id;

	restart_with(4);
	id = world_protect(world, KVMATTR_RX, 100, 10);
	world_execute(world);
	world_die(world);
	world_expect_pending(world, id);
	ck_assert_uint_eq(world->journal.updates[id].n_in_force, 4);
	vm_start(world->vm);
	world_settle(world);
	world_expect(world, id, KVMATTR_OK, 10);
	world_expect_all_in_force(world);
}
END_TEST

static void expect_doubtful(uint64_t gfn, uint64_t n_pages)
{
	struct page_ranges pages = { 0 };

	vm_add_doubtful_pages(world->vm, &pages);
	ck_assert_uint_eq(page_ranges_count(&pages), n_pages);
	if (n_pages)
		ck_assert_uint_eq(pages.range[0].gfn, gfn);
	page_ranges_destroy(&pages);
}

START_TEST(a_checkpoint_has_the_pages_that_kvm_may_hold_wrongly)
{
	expect_doubtful(0, 0);
	world_protect(world, KVMATTR_RX, 100, 3);
	fail_records(0, 1, ENOSPC);
	world_execute(world);
	ck_assert_int_eq(vm_state(world->vm), VM_UNDOING);
	expect_doubtful(100, 3);
	world->faulty.gfn = 101;
	world->faulty.error = EFAULT;
	world->fault = world_fail_page_always;
	world_settle(world);
	ck_assert(vm_is_degraded(world->vm));
	world_fire_timer(world); /* page by page, at last */
	ck_assert_int_eq(vm_state(world->vm), VM_REPAIRING);
	expect_doubtful(101, 2);
	world->fault = world_no_fault;
	world_settle(world);
	expect_doubtful(0, 0);
	world_expect_all_in_force(world);
}
END_TEST

int main(void)
{
	TCase *written = tcase_create("written");
	TCase *failed = tcase_create("failed");
	TCase *durable = tcase_create("durable");
	TCase *life = tcase_create("life");
	TCase *all[] = { written, failed, durable, life, NULL };

	for (size_t i = 0; all[i]; i++)
		tcase_add_checked_fixture(all[i], deny_world_start, deny_world_stop);
	tcase_add_test(written,
		       a_batch_is_written_before_its_first_call_and_its_end_before_its_answer);
	tcase_add_test(written, a_batch_that_needs_no_call_is_written_together_with_its_end);
	tcase_add_test(
		written,
		what_kvm_refuses_is_noted_when_it_is_answered_and_written_with_the_next_batch);
	tcase_add_loop_test(written, a_batch_ends_before_its_record_is_too_long, 0, 3);
	tcase_add_test(written,
		       an_update_of_which_a_full_batch_has_no_room_for_anything_is_none_of_it);
	tcase_add_loop_test(failed, what_the_journal_does_not_take_is_not_done, 0, 3);
	tcase_add_test(failed, ram_that_was_to_be_taken_out_and_put_back_is_as_it_was);
	tcase_add_test(failed, all_of_a_batch_that_cannot_be_written_is_refused_and_nothing_else);
	tcase_add_test(failed, an_update_that_was_begun_ends_with_what_is_in_force_of_it);
	tcase_add_test(failed, a_batch_whose_end_the_journal_does_not_take_is_taken_back);
	tcase_add_test(failed, so_it_is_where_kvm_does_not_take_back_all_of_it);
	tcase_add_test(failed, so_it_is_where_the_executor_falls_silent);
	tcase_add_test(failed, pages_that_are_not_known_stay_so_while_nothing_can_be_written);
	tcase_add_test(failed, others_have_a_turn_between_batches_that_cannot_be_written);
	tcase_add_test(durable, answers_wait_until_they_are_durable_and_batches_do_not);
	tcase_add_test(durable, a_refusal_is_answered_behind_what_was_before_it);
	tcase_add_test(durable, a_refusal_waits_for_those_elements_that_it_says_are_in_force);
	tcase_add_test(durable,
		       an_update_from_within_an_answer_that_waited_has_its_place_in_the_order);
	tcase_add_test(durable, a_vm_that_goes_says_so_to_those_who_waited_for_the_disk);
	tcase_add_test(life, a_vm_without_an_executor_takes_updates_and_can_be_looked_at);
	tcase_add_test(
		life,
		what_may_have_been_done_when_the_daemon_died_is_not_known_until_it_is_repaired);
	tcase_add_test(life,
		       an_update_that_was_begun_in_another_life_goes_on_behind_its_first_elements);
	tcase_add_test(life, a_checkpoint_has_the_pages_that_kvm_may_hold_wrongly);
	return seeded_suite_run("vm-recording", all);
}
