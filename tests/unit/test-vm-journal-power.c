/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hosted VM's journal with durability "power": nothing is acknowledged before the disk has it,
 * and after a failed sync nobody needs what it failed for.
 */
#include "tests/unit/faulty-io.h"
#include "tests/unit/journal-checks.h"
#include "tests/unit/journaled-vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ONE_SEGMENT ((uint64_t)64 << 20)
#define NO_LIMIT    UINT64_MAX

static struct journaled_vm vm;

static void begin_vm(uint64_t segment_size, uint64_t max_size, int i)
{
	journaled_vm_begin(&vm, DURABILITY_POWER, segment_size, max_size, seeded_suite_random(i));
	ck_assert_int_eq(journaled_vm_create(&vm), 0);
}

/* Waits until the journal takes records again. */
static void await_recovery(void)
{
	while (vm_journal_status(vm.journal).error)
		journaled_vm_await(&vm);
	ck_assert_uint_eq(vm.n_ends, vm.n_troubles);
}

/* ---- When it is durable ---------------------------------------------------------------------- */

START_TEST(durable_is_what_was_written_before_the_sync_began)
{
	uint64_t first;

	begin_vm(ONE_SEGMENT, NO_LIMIT, _i);
	journaled_vm_await_disk(&vm);
	faulty_io_hold_syncs(true);
	journaled_vm_go_on(&vm, 1);
	first = vm_journal_status(vm.journal).journal.next_number - 1;
	faulty_io_await_held_sync();
	journaled_vm_go_on(&vm, 5); /* behind its beginning */
	journaled_vm_pump(&vm);
	ck_assert_uint_lt(vm.durable, first);
	faulty_io_hold_syncs(false);
	/*
	 * this sync may have begun behind BATCH and before IN_FORCE, and then another one went by
	 */
	while (vm.durable < first) {
		journaled_vm_await(&vm);
		journaled_vm_expect_disk(&vm);
	}
	journaled_vm_await_disk(&vm);
	journaled_vm_expect_disk(&vm);
	ck_assert_uint_eq(vm.acknowledged, vm.commit);
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(while_a_sync_is_under_way_nothing_is_acknowledged)
{
	uint64_t acknowledged, durable;

	begin_vm(ONE_SEGMENT, NO_LIMIT, _i);
	journaled_vm_go_on(&vm, 5);
	journaled_vm_await_disk(&vm);
	acknowledged = vm.acknowledged;
	durable = vm.durable;
	faulty_io_hold_syncs(true);
	for (int i = 0; i < 200; i++) {
		journaled_vm_go_on(&vm, 1);
		journaled_vm_pump(&vm);
		ck_assert_uint_eq(vm.acknowledged, acknowledged);
		ck_assert_uint_eq(vm.durable, durable);
	}
	faulty_io_hold_syncs(false);
	journaled_vm_await_disk(&vm);
	ck_assert_uint_eq(vm.acknowledged, vm.commit);
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(however_many_wait_the_next_sync_is_enough)
{
	unsigned int n_syncs;

	begin_vm(ONE_SEGMENT, NO_LIMIT, _i);
	journaled_vm_await_disk(&vm);
	faulty_io_hold_syncs(true);
	journaled_vm_go_on(&vm, 1);
	faulty_io_await_held_sync();
	n_syncs = faulty_io_n_syncs();
	journaled_vm_go_on(&vm, 300);
	ck_assert_uint_eq(faulty_io_n_syncs(), n_syncs);
	faulty_io_hold_syncs(false);
	journaled_vm_await_disk(&vm);
	ck_assert_uint_eq(faulty_io_n_syncs(), n_syncs + 1);
	journaled_vm_pump(&vm);
	ck_assert_uint_eq(faulty_io_n_syncs(), n_syncs + 1); /* and then it sleeps */
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(a_loss_of_power_at_any_moment_takes_nothing_that_was_acknowledged)
{
	begin_vm(3000, 20000, _i);
	for (int i = 0; i < 200; i++) {
		bool is_held = random_one_in(&vm.random, 8);

		if (is_held)
			faulty_io_hold_syncs(true);
		journaled_vm_go_on(&vm, 1 + (unsigned int)random_below(&vm.random, 4));
		if (random_one_in(&vm.random, 4))
			journaled_vm_expect_disk(&vm);
		if (is_held)
			faulty_io_hold_syncs(false);
		if (random_one_in(&vm.random, 4)) {
			journaled_vm_await_disk(&vm);
			ck_assert_uint_eq(vm.acknowledged, vm.commit);
			journaled_vm_expect_disk(&vm);
		}
		if (random_one_in(&vm.random, 20)) { /* another daemon has to do it */
			journaled_vm_close(&vm, KVMATTR_OK);
			ck_assert_int_eq(journaled_vm_reopen(&vm), 0);
		}
	}
	journaled_vm_expect(&vm);
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(what_comes_last_is_on_the_disk_when_the_journal_is_closed)
{
	begin_vm(3000, 20000, _i);
	journaled_vm_go_on(&vm, 50);
	journaled_vm_close(&vm, KVMATTR_NO_VM);
	vm.acknowledged = vm.commit;
	journaled_vm_expect_disk(&vm);
	journaled_vm_end(&vm);
}
END_TEST

/* ---- When a sync fails ----------------------------------------------------------------------- */

/* Writes nonsense over all segments but the last, as a disk might have it that failed. */
static void spoil_segments(void)
{
	struct vm_journal_status status = vm_journal_status(vm.journal);
	int parent_fd = scratch_fd;
	struct files files;

	scratch_fd = vm.journals.directory_fd;
	files = files_take(vm.name);
	for (size_t i = 0; i < files.n; i++) {
		struct file *file = &files.file[i];
		uint64_t number = strtoull(file->name, NULL, 16);

		if (!strstr(file->name, ".journal") || number > status.checkpoint)
			continue;
		memset(file->bytes, 0x5a, file->size);
		file_put(vm.name, file->name, file->bytes, file->size);
	}
	files_destroy(&files);
	scratch_fd = parent_fd;
}

START_TEST(after_a_failed_sync_everything_is_refused_until_a_checkpoint_covers_it)
{
	struct vm_record_session agent = { .id = 1000, .role = WIRE_ROLE_AGENT, .vtl = 1 };
	uint64_t commit, acknowledged;

	begin_vm(ONE_SEGMENT, NO_LIMIT, _i);
	journaled_vm_go_on(&vm, 30);
	journaled_vm_await_disk(&vm);
	acknowledged = vm.acknowledged;
	faulty_io_fail_syncs(1, EIO);
	faulty_io_hold_syncs(true);
	journaled_vm_go_on(&vm, 3);
	commit = vm.commit;
	/* so that the checkpoint has to wait, too */
	faulty_io_fail(OF_OTHER_THREADS, 1, FAIL_FROM_HERE, EIO);
	faulty_io_hold_syncs(false);
	while (!vm.n_troubles)
		journaled_vm_await(&vm);
	ck_assert_ptr_nonnull(strstr(vm.trouble, strerror(EIO)));
	ck_assert_ptr_nonnull(strstr(vm.trouble, vm.name));
	ck_assert_int_eq(vm_journal_status(vm.journal).error, EIO);
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(journaled_vm_step(&vm), -EIO);
		ck_assert_int_eq(vm_journal_write_session(vm.journal, &agent), -EIO);
		ck_assert_int_eq(vm_journal_write_ready(vm.journal), -EIO);
		ck_assert_uint_eq(vm.acknowledged, acknowledged);
	}
	journaled_vm_expect_commit(&vm);
	faulty_io_fail(OF_OTHER_THREADS, 0, FAIL_ONCE, 0);
	await_recovery();
	journaled_vm_await_disk(&vm);
	ck_assert_uint_eq(vm.commit, commit);
	ck_assert_uint_eq(vm.acknowledged, commit); /* it became durable with the checkpoint */
	ck_assert_uint_ge(vm.n_snapshots, 1);
	ck_assert_int_eq(vm_journal_status(vm.journal).error, 0);
	spoil_segments();
	journaled_vm_expect(&vm);
	journaled_vm_go_on(&vm, 20);
	journaled_vm_await_disk(&vm);
	journaled_vm_expect_disk(&vm);
	journaled_vm_close(&vm, KVMATTR_OK);
	ck_assert_int_eq(journaled_vm_reopen(&vm), 0);
	journaled_vm_go_on(&vm, 20);
	journaled_vm_expect(&vm);
	journaled_vm_end(&vm);
}
END_TEST

/* As when the disk of many fails at once: a copy of every policy would be too much memory. */
START_TEST(one_journal_is_covered_at_a_time_and_the_others_are_when_it_is_over)
{
	begin_vm(ONE_SEGMENT, NO_LIMIT, _i);
	journaled_vm_go_on(&vm, 30);
	journaled_vm_await_disk(&vm);
	vm.journals.is_covering = true; /* another one is */
	faulty_io_fail_syncs(1, EIO);
	/* refused, if the sync has failed by the end of it */
	(void)!journaled_vm_step(&vm);
	while (!vm.n_troubles)
		journaled_vm_await(&vm);
	for (int i = 0; i < 5; i++) {
		journaled_vm_await(&vm); /* it is tried */
		ck_assert_int_eq(vm_journal_status(vm.journal).error, EIO);
		ck_assert_uint_eq(vm.n_snapshots, 0);
	}
	vm.journals.is_covering = false;
	await_recovery();
	ck_assert(!vm.journals.is_covering);
	journaled_vm_await_disk(&vm);
	ck_assert_uint_eq(vm.acknowledged, vm.commit);
	journaled_vm_expect(&vm);
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(syncs_that_fail_again_and_again_are_covered_each_time)
{
	begin_vm(4000, 40000, _i);
	for (unsigned int round = 0; round < 20; round++) {
		unsigned int n_failing = 1 + (unsigned int)random_below(&vm.random, 3);

		journaled_vm_go_on(&vm, (unsigned int)random_below(&vm.random, 10));
		faulty_io_fail_syncs(n_failing, EIO);
		for (int i = 0; i < 20 || vm.n_troubles > vm.n_ends; i++) {
			(void)!journaled_vm_step(&vm);
			if (vm.n_troubles > vm.n_ends)
				journaled_vm_await(&vm);
			if (i % 8 == 0)
				journaled_vm_expect_disk(&vm);
		}
		faulty_io_fail_syncs(0, 0);
		journaled_vm_await_disk(&vm);
		journaled_vm_go_on(&vm, 1);
		journaled_vm_await_disk(&vm);
		ck_assert_uint_eq(vm.acknowledged, vm.commit);
		journaled_vm_expect(&vm);
		journaled_vm_expect_disk(&vm);
	}
	ck_assert_uint_ge(vm.n_troubles, 10);
	journaled_vm_end(&vm);
}
END_TEST

/* The batch is taken back, and nothing but the checkpoint says so. */
START_TEST(a_sync_that_fails_under_a_batch_leaves_a_journal_that_goes_on_and_is_retained)
{
	uint64_t last;

	begin_vm(2000, 12000, _i);
	for (unsigned int round = 0; round < 5; round++) {
		journaled_vm_go_on(&vm, 10);
		journaled_vm_await_disk(&vm);
		faulty_io_hold_syncs(true);
		faulty_io_fail_syncs(1, EIO);
		for (vm.is_slow = true; vm.is_slow;)
			(void)!journaled_vm_step(&vm);
		await_recovery();
		last = vm_journal_status(vm.journal).checkpoint;
		for (unsigned int i = 0; i < 10; i++) {
			journaled_vm_go_on(&vm, 1);
			journaled_vm_await_disk(&vm);
			journaled_vm_await_checkpoint(&vm);
			ck_assert_uint_ge(vm_journal_status(vm.journal).checkpoint, last);
			last = vm_journal_status(vm.journal).checkpoint;
			journaled_vm_expect(&vm);
		}
		ck_assert_uint_eq(vm.n_ends, vm.n_troubles);
	}
	journaled_vm_end(&vm);
}
END_TEST

/* A sync fails, then the at-th call of covering it.  False when there is no such call. */
static bool try_call(enum fault_thread thread, enum fault fault, unsigned int at)
{
	bool is_reached = false;

	begin_vm(ONE_SEGMENT, NO_LIMIT, 1000);
	journaled_vm_go_on(&vm, 20);
	journaled_vm_await_disk(&vm);
	faulty_io_fail_syncs(1, EIO);
	faulty_io_hold_syncs(true);
	journaled_vm_go_on(&vm, 1);
	faulty_io_await_held_sync();
	faulty_io_fail(thread, at, fault, at % 2 ? ENOSPC : EIO);
	faulty_io_hold_syncs(false);
	while (!vm.n_troubles)
		journaled_vm_await(&vm);
	while (vm_journal_status(vm.journal).error) {
		unsigned int n_calls = faulty_io_n_calls();

		is_reached |= n_calls >= at;
		if (n_calls >= at + 3)
			faulty_io_fail(thread, 0, fault, 0);
		journaled_vm_await(&vm);
	}
	is_reached |= faulty_io_n_calls() >= at;
	faulty_io_fail(thread, 0, fault, 0);
	journaled_vm_await_disk(&vm);
	journaled_vm_go_on(&vm, 1);
	journaled_vm_await_disk(&vm);
	ck_assert_uint_eq(vm.acknowledged, vm.commit);
	spoil_segments();
	journaled_vm_expect(&vm);
	journaled_vm_expect_disk(&vm);
	journaled_vm_close(&vm, KVMATTR_OK);
	ck_assert_int_eq(journaled_vm_reopen(&vm), 0);
	journaled_vm_go_on(&vm, 5);
	journaled_vm_expect(&vm);
	journaled_vm_end(&vm);
	return is_reached;
}

START_TEST(whichever_call_of_covering_fails_it_is_covered_in_the_end)
{
	const enum fault_thread thread = _i % 2 ? OF_OTHER_THREADS : OF_THIS_THREAD;
	unsigned int at = 1;

	while (try_call(thread, (enum fault)(_i / 2), at))
		at++;
	printf("# fault %d, thread %d: %u calls failed in turn\n", _i / 2, _i % 2, at - 1);
	fflush(stdout);
	ck_assert_uint_gt(at, 3);
}
END_TEST

START_TEST(a_vm_that_is_released_while_the_disk_fails_says_so_in_its_journal)
{
	const struct replay_request request = { .limit = REPLAY_ALL };
	struct journal_error error;
	struct replay_report report;
	struct replay replay;

	begin_vm(ONE_SEGMENT, NO_LIMIT, _i);
	journaled_vm_go_on(&vm, 10);
	faulty_io_fail_syncs(1, EIO);
	(void)!journaled_vm_step(&vm);
	while (!vm.n_troubles)
		journaled_vm_await(&vm);
	if (_i % 2)
		journaled_vm_pump(&vm); /* a checkpoint may be under way */
	(void)!journaled_vm_step(&vm);
	journaled_vm_close(&vm, _i % 3 ? KVMATTR_NO_VM : KVMATTR_OK);
	replay_init(&replay);
	ck_assert_int_eq(journal_replay(vm.journals.directory_fd, vm.name, &request, &replay,
					&report, &error),
			 0);
	ck_assert_int_eq(replay.is_released, _i % 3 != 0);
	replay_destroy(&replay);
	journaled_vm_expect_commit(&vm);
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(after_a_failed_sync_the_journal_is_reopened_by_the_next_daemon)
{
	begin_vm(ONE_SEGMENT, NO_LIMIT, _i);
	journaled_vm_go_on(&vm, 10);
	faulty_io_fail_syncs(1, EIO);
	(void)!journaled_vm_step(&vm);
	while (!vm.n_troubles)
		journaled_vm_await(&vm);
	for (int i = 0; i < _i; i++)
		(void)!journaled_vm_step(&vm);
	journaled_vm_close(&vm, KVMATTR_OK);
	journaled_vm_expect_commit(&vm);
	ck_assert_int_eq(journaled_vm_reopen(&vm), 0);
	journaled_vm_go_on(&vm, 10);
	journaled_vm_await_disk(&vm);
	journaled_vm_expect_commit(&vm);
	journaled_vm_expect_disk(&vm);
	journaled_vm_end(&vm);
}
END_TEST

/* A journal that another daemon wrote, which died before the last of it was on the disk. */
static void begin_second_life(int i)
{
	begin_vm(i % 2 ? 500 : ONE_SEGMENT, NO_LIMIT, i);
	journaled_vm_go_on(&vm, 10);
	journaled_vm_await_disk(&vm);
	faulty_io_hold_syncs(true);
	journaled_vm_go_on(&vm, 10);
	faulty_io_fail(OF_OTHER_THREADS, 1, FAIL_FROM_HERE, EIO);
	faulty_io_hold_syncs(false);
	journaled_vm_close(&vm, KVMATTR_OK);
	faulty_io_fail(OF_OTHER_THREADS, 0, FAIL_ONCE, 0);
}

/* Peers that come back are told of it then. */
START_TEST(what_a_dead_daemon_wrote_counts_as_durable_when_it_is_on_the_disk)
{
	uint64_t recorded;

	begin_second_life(_i);
	ck_assert_int_eq(journaled_vm_reopen(&vm), 0);
	recorded = vm_journal_recorded(vm.journal);
	ck_assert_uint_eq(recorded + 1, vm_journal_status(vm.journal).journal.next_number);
	ck_assert_uint_eq(vm.durable, 0);
	while (vm.durable < recorded)
		journaled_vm_await(&vm);
	vm.acknowledged = vm.commit;
	journaled_vm_expect_disk(&vm);
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(what_a_dead_daemon_wrote_and_cannot_be_synced_is_durable_with_a_checkpoint)
{
	uint64_t recorded;

	begin_second_life(_i);
	faulty_io_fail(OF_OTHER_THREADS, 1, FAIL_FROM_HERE, EIO);
	ck_assert_int_eq(journaled_vm_reopen(&vm), 0);
	recorded = vm_journal_recorded(vm.journal);
	while (!vm.n_troubles)
		journaled_vm_await(&vm);
	ck_assert_int_eq(journaled_vm_step(&vm), -EIO);
	ck_assert_uint_eq(vm.durable, 0);
	faulty_io_fail(OF_OTHER_THREADS, 0, FAIL_ONCE, 0);
	while (vm.durable < recorded)
		journaled_vm_await(&vm);
	vm.acknowledged = vm.commit;
	journaled_vm_expect_disk(&vm);
	await_recovery();
	spoil_segments();
	journaled_vm_expect(&vm);
	journaled_vm_end(&vm);
}
END_TEST

int main(void)
{
	TCase *syncs = tcase_create("syncs");
	TCase *failures = tcase_create("failures");
	TCase *const cases[] = { syncs, failures, NULL };

	for (size_t i = 0; cases[i]; i++)
		tcase_add_checked_fixture(cases[i], journaled_vm_fixture_begin,
					  journaled_vm_fixture_end);
	tcase_add_loop_test(syncs, durable_is_what_was_written_before_the_sync_began, 0, 4);
	tcase_add_loop_test(syncs, while_a_sync_is_under_way_nothing_is_acknowledged, 0, 4);
	tcase_add_loop_test(syncs, however_many_wait_the_next_sync_is_enough, 0, 4);
	tcase_add_loop_test(
		syncs, a_loss_of_power_at_any_moment_takes_nothing_that_was_acknowledged, 0, 6);
	tcase_add_loop_test(syncs, what_comes_last_is_on_the_disk_when_the_journal_is_closed, 0, 4);
	tcase_add_loop_test(
		syncs, what_a_dead_daemon_wrote_counts_as_durable_when_it_is_on_the_disk, 0, 6);
	tcase_add_loop_test(
		failures,
		what_a_dead_daemon_wrote_and_cannot_be_synced_is_durable_with_a_checkpoint, 0, 6);
	tcase_add_loop_test(failures,
			    after_a_failed_sync_everything_is_refused_until_a_checkpoint_covers_it,
			    0, 6);
	tcase_add_loop_test(failures,
			    one_journal_is_covered_at_a_time_and_the_others_are_when_it_is_over, 0,
			    2);
	tcase_add_loop_test(failures, syncs_that_fail_again_and_again_are_covered_each_time, 0, 6);
	tcase_add_loop_test(
		failures,
		a_sync_that_fails_under_a_batch_leaves_a_journal_that_goes_on_and_is_retained, 0,
		8);
	tcase_add_loop_test(failures, whichever_call_of_covering_fails_it_is_covered_in_the_end, 0,
			    2 * N_FAULTS);
	tcase_add_loop_test(
		failures, a_vm_that_is_released_while_the_disk_fails_says_so_in_its_journal, 0, 12);
	tcase_add_loop_test(failures,
			    after_a_failed_sync_the_journal_is_reopened_by_the_next_daemon, 0, 6);
	return seeded_suite_run("vm-journal-power", cases);
}
