/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hosted VM's checkpoints: made while records go on, whatever fails, and as much of the past kept
 * as there is room for.
 */
#include "tests/unit/faulty-io.h"
#include "tests/unit/journal-checks.h"
#include "tests/unit/journaled-vm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NO_LIMIT UINT64_MAX

static struct journaled_vm vm;

static void begin_vm(enum durability durability, uint64_t segment_size, uint64_t max_size, int i)
{
	journaled_vm_begin(&vm, durability, segment_size, max_size, seeded_suite_random(i));
	ck_assert_int_eq(journaled_vm_create(&vm), 0);
}

/* What is in the journal's directory. */
struct found {
	uint64_t n_segments, n_checkpoints, n_others;
	uint64_t segment_bytes, checkpoint_bytes;
	uint64_t last_checkpoint;
	char last_segment_name[64], last_checkpoint_name[64];
};

static void find_file(struct found *found, int directory_fd, const char *name)
{
	struct stat status;

	ck_assert_int_eq(fstatat(directory_fd, name, &status, AT_SYMLINK_NOFOLLOW), 0);
	if (strlen(name) == CHECKPOINT_NAME_LEN && strstr(name, ".checkpoint")) {
		found->n_checkpoints++;
		found->checkpoint_bytes += (uint64_t)status.st_size;
		if (strcmp(name, found->last_checkpoint_name) > 0)
			snprintf(found->last_checkpoint_name, 64, "%.63s", name);
		found->last_checkpoint = strtoull(found->last_checkpoint_name, NULL, 16);
	} else if (strlen(name) == JOURNAL_SEGMENT_NAME_LEN && strstr(name, ".journal")) {
		found->n_segments++;
		found->segment_bytes += (uint64_t)status.st_size;
		if (strcmp(name, found->last_segment_name) > 0)
			snprintf(found->last_segment_name, 64, "%.63s", name);
	} else if (name[0] != '.') {
		found->n_others++;
	}
}

static struct found find_files(void)
{
	int fd = openat(vm.journals.directory_fd, vm.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fdopendir(fd);
	struct found found = { 0 };
	struct dirent *entry;

	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory)))
		find_file(&found, fd, entry->d_name);
	closedir(directory);
	return found;
}

/* What the journal says of its files is what they are. */
static void expect_status(void)
{
	struct vm_journal_status status = vm_journal_status(vm.journal);
	struct found found = find_files();

	ck_assert_uint_eq(status.n_checkpoints, found.n_checkpoints);
	ck_assert_uint_eq(status.checkpoint_bytes, found.checkpoint_bytes);
	ck_assert_uint_eq(status.checkpoint, found.last_checkpoint);
	ck_assert_uint_eq(status.journal.n_segments, found.n_segments);
	ck_assert_uint_eq(status.journal.n_bytes, found.segment_bytes);
	ck_assert_uint_eq(found.n_others, 0);
}

/* ---- As a rule ------------------------------------------------------------------------------- */

START_TEST(checkpoints_are_made_while_records_go_on)
{
	begin_vm(_i % 2 ? DURABILITY_POWER : DURABILITY_PROCESS, 4000, NO_LIMIT, _i);
	for (int i = 0; i < 40; i++) {
		journaled_vm_go_on(&vm, 20);
		journaled_vm_expect(&vm);
	}
	journaled_vm_await_checkpoint(&vm);
	journaled_vm_expect(&vm);
	ck_assert_uint_ge(vm_journal_status(vm.journal).n_checkpoints, 2);
	ck_assert_uint_eq(vm.n_troubles, 0);
	ck_assert_uint_eq(vm.n_snapshots, 0); /* the files are enough */
	ck_assert_uint_eq(journaled_vm_expect_first_commit(&vm), 1);
	journaled_vm_expect_history(&vm);
	expect_status();
	journaled_vm_close(&vm, KVMATTR_OK);
	ck_assert_int_eq(journaled_vm_reopen(&vm), 0);
	expect_status();
	journaled_vm_go_on(&vm, 100);
	journaled_vm_expect(&vm);
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(a_checkpoint_needs_as_much_log_as_a_segment_or_the_last_one_has)
{
	uint64_t before = 0, written, room;

	begin_vm(DURABILITY_PROCESS, 8000, NO_LIMIT, _i);
	for (int i = 0; i < 400; i++) {
		struct vm_journal_status status = vm_journal_status(vm.journal);
		uint64_t last = status.checkpoint, last_size = status.checkpoint_bytes;

		journaled_vm_go_on(&vm, 1);
		journaled_vm_await_checkpoint(&vm);
		journaled_vm_pump(&vm);
		status = vm_journal_status(vm.journal);
		written = status.journal.n_bytes - before;
		if (status.checkpoint == last)
			continue;
		room = last_size > 8000 && status.n_checkpoints == 2 ? last_size : 8000;
		ck_assert_uint_gt(written + 2000, room); /* a step more or less */
		before = status.journal.n_bytes;
	}
	ck_assert_uint_ge(vm_journal_status(vm.journal).n_checkpoints, 2);
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(what_is_kept_is_bounded_and_reaches_back_without_a_gap)
{
	const uint64_t max_size = 100000, segment_size = 4000;
	uint64_t largest = 0, first = 1;

	begin_vm(_i % 2 ? DURABILITY_POWER : DURABILITY_PROCESS, segment_size, max_size, _i);
	for (int i = 0; i < 60; i++) {
		uint64_t was = first, room;
		struct found found;

		for (int k = 0; k < 40; k++) {
			journaled_vm_go_on(&vm, 1);
			if (_i % 2)
				journaled_vm_await_disk(&vm);
			journaled_vm_await_checkpoint(&vm);
		}
		journaled_vm_pump(&vm);
		expect_status();
		journaled_vm_expect_history(&vm);
		first = journaled_vm_expect_first_commit(&vm);
		ck_assert_uint_ge(first, was);
		found = find_files();
		if (found.n_checkpoints && found.checkpoint_bytes / found.n_checkpoints > largest)
			largest = found.checkpoint_bytes / found.n_checkpoints;
		/* two checkpoints and the log behind them are kept in any case */
		room = 2 * largest + 2 * (largest + 3 * segment_size);
		ck_assert_uint_le(found.segment_bytes + found.checkpoint_bytes,
				  (max_size > room ? max_size : room) + largest + 3 * segment_size);
	}
	ck_assert_uint_gt(first, 1);
	journaled_vm_expect(&vm);
	journaled_vm_end(&vm);
}
END_TEST

static unsigned int n_unlinks;

static void expect_whole(void)
{
	faulty_io_on_unlink(NULL);
	n_unlinks++;
	journaled_vm_expect_commit(&vm);
	journaled_vm_expect_history(&vm);
	faulty_io_on_unlink(expect_whole);
}

START_TEST(behind_each_single_removal_the_journal_can_be_replayed_and_so_can_what_is_kept)
{
	n_unlinks = 0;
	begin_vm(DURABILITY_PROCESS, 3000, 30000, _i);
	for (int i = 0; i < 100; i++) {
		journaled_vm_go_on(&vm, 10);
		/* so that only what the loop removes is seen: nothing of it is written meanwhile */
		while (vm_journal_status(vm.journal).is_checkpointing) {
			faulty_io_on_unlink(expect_whole);
			journaled_vm_await(&vm);
			faulty_io_on_unlink(NULL);
		}
	}
	ck_assert_uint_gt(n_unlinks, 20);
	journaled_vm_expect(&vm);
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(a_vm_on_which_kvm_refuses_everything_gets_its_checkpoints_too)
{
	struct vm_update update = { .element = { .kind = KVMATTR_RESET_VM } };
	struct vm_part part = { &update, 0, 1 };
	struct vm_batch batch = { 1, &part, 1 };
	uint64_t number;

	begin_vm(DURABILITY_PROCESS, 4000, NO_LIMIT, 0);
	for (update.seqno = 1; update.seqno < 300; update.seqno++) {
		ck_assert_int_eq(
			vm_journal_record(vm.journal, &batch, NULL, journaled_vm_owner, &number),
			0);
		vm_journal_note_refused(vm.journal, 1, &update, KVMATTR_INSUFFICIENT_MEMORY, "");
		journaled_vm_await_checkpoint(&vm);
	}
	ck_assert_uint_ge(vm_journal_status(vm.journal).n_checkpoints, 5);
	ck_assert_uint_eq(vm.n_troubles, 0);
	journaled_vm_expect_commit(&vm);
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(a_journal_is_closed_while_its_checkpoint_is_being_made)
{
	begin_vm(_i % 2 ? DURABILITY_POWER : DURABILITY_PROCESS, 4000, NO_LIMIT, _i);
	for (int i = 0; i < 20; i++) {
		do
			journaled_vm_go_on(&vm, 1);
		while (!vm_journal_status(vm.journal).is_checkpointing);
		journaled_vm_close(&vm, KVMATTR_OK);
		journaled_vm_expect(&vm);
		ck_assert_int_eq(journaled_vm_reopen(&vm), 0);
	}
	journaled_vm_expect(&vm);
	journaled_vm_end(&vm);
}
END_TEST

/* ---- What fails ------------------------------------------------------------------------------ */

/* Those that are in the directory. */
static size_t count_checkpoints(void)
{
	int fd = openat(vm.journals.directory_fd, vm.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct checkpoint_name *names;
	struct journal_error error;
	size_t n;

	ck_assert_int_eq(checkpoint_list(fd, &names, &n, &error), 0);
	free(names);
	close(fd);
	return n;
}

/* The at-th call of making a checkpoint fails; false when there is none. */
static bool try_call(enum fault fault, unsigned int at)
{
	unsigned int n_calls, n_troubles;
	bool is_made;

	begin_vm(DURABILITY_PROCESS, 4000, NO_LIMIT, 1000);
	faulty_io_fail(OF_OTHER_THREADS, at, fault, at % 2 ? ENOSPC : EIO);
	while (!vm_journal_status(vm.journal).is_checkpointing)
		journaled_vm_go_on(&vm, 1);
	journaled_vm_await_checkpoint(&vm);
	n_calls = faulty_io_n_calls();
	n_troubles = vm.n_troubles;
	faulty_io_fail(OF_OTHER_THREADS, 0, fault, 0);
	is_made = vm_journal_status(vm.journal).n_checkpoints > 0;
	ck_assert_uint_le(n_troubles, 2);
	ck_assert(is_made || n_troubles);
	/* One that may not be on the disk is removed again, where that can be done. */
	if (fault == FAIL_ONCE || fault == HALF_ONCE || fault == SHORT_FROM_HERE)
		ck_assert_uint_eq(count_checkpoints(), vm_journal_status(vm.journal).n_checkpoints);
	journaled_vm_expect(&vm);
	while (!vm_journal_status(vm.journal).n_checkpoints || vm.n_ends < vm.n_troubles) {
		journaled_vm_go_on(&vm, 1);
		journaled_vm_pump(&vm);
	}
	ck_assert_uint_eq(vm.n_troubles, n_troubles); /* it was said once */
	journaled_vm_await_checkpoint(&vm);
	journaled_vm_expect(&vm);
	journaled_vm_close(&vm, KVMATTR_OK);
	ck_assert_int_eq(journaled_vm_reopen(&vm), 0);
	expect_status(); /* nothing unfinished is left */
	journaled_vm_expect(&vm);
	journaled_vm_expect_history(&vm);
	journaled_vm_end(&vm);
	return n_calls >= at;
}

START_TEST(whichever_call_of_making_a_checkpoint_fails_it_is_said_and_another_is_made)
{
	unsigned int at = 1;

	while (try_call((enum fault)_i, at))
		at++;
	printf("# fault %d: %u calls failed in turn\n", _i, at - 1);
	fflush(stdout);
	ck_assert_uint_gt(at, 10);
}
END_TEST

/* Changes a byte in the middle of a file, as a disk does. */
static void damage_file(const char *name)
{
	int fd = openat(vm.journals.directory_fd, vm.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int file = openat(fd, name, O_RDWR | O_CLOEXEC);
	struct stat status;
	uint8_t byte;

	ck_assert(file >= 0 && fstat(file, &status) == 0);
	ck_assert_int_eq(pread(file, &byte, 1, status.st_size / 2), 1);
	byte ^= 0x10;
	ck_assert_int_eq(pwrite(file, &byte, 1, status.st_size / 2), 1);
	close(file);
	close(fd);
}

START_TEST(a_log_that_is_damaged_is_said_with_its_place_and_covered)
{
	begin_vm(_i % 2 ? DURABILITY_POWER : DURABILITY_PROCESS, 4000, NO_LIMIT, _i);
	journaled_vm_go_on(&vm, 20);
	if (_i % 2)
		journaled_vm_await_disk(&vm);
	journaled_vm_await_checkpoint(&vm);
	damage_file(find_files().last_segment_name);
	while (!vm.n_troubles) {
		journaled_vm_go_on(&vm, 1);
		journaled_vm_pump(&vm);
	}
	ck_assert_ptr_nonnull(strstr(vm.trouble, ".journal at "));
	ck_assert_ptr_nonnull(strstr(vm.trouble, vm.name));
	while (!vm.n_ends)
		journaled_vm_go_on(&vm, 1); /* nothing is refused meanwhile */
	ck_assert_uint_ge(vm.n_snapshots, 1);
	journaled_vm_expect(&vm);
	journaled_vm_go_on(&vm, 300);
	journaled_vm_await_checkpoint(&vm);
	journaled_vm_expect(&vm);
	ck_assert_uint_eq(vm.n_troubles, 1);
	journaled_vm_close(&vm, KVMATTR_OK);
	ck_assert_int_eq(journaled_vm_reopen(&vm), 0);
	journaled_vm_go_on(&vm, 20);
	journaled_vm_expect(&vm);
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(a_checkpoint_that_is_damaged_is_said_and_another_is_made)
{
	begin_vm(DURABILITY_PROCESS, 4000, NO_LIMIT, _i);
	while (vm_journal_status(vm.journal).n_checkpoints < 2) {
		journaled_vm_go_on(&vm, 1);
		journaled_vm_await_checkpoint(&vm);
	}
	damage_file(find_files().last_checkpoint_name);
	while (!vm.n_troubles) {
		journaled_vm_go_on(&vm, 1);
		journaled_vm_pump(&vm);
	}
	ck_assert_ptr_nonnull(strstr(vm.trouble, ".checkpoint"));
	journaled_vm_await_checkpoint(&vm);
	journaled_vm_expect(&vm);
	journaled_vm_go_on(&vm, 300);
	journaled_vm_await_checkpoint(&vm);
	ck_assert_uint_eq(vm.n_troubles, 1);
	journaled_vm_expect(&vm);
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(what_cannot_be_removed_is_said_and_the_journal_goes_on)
{
	begin_vm(DURABILITY_PROCESS, 3000, 1, _i);
	while (!vm.n_troubles) {
		journaled_vm_go_on(&vm, 1);
		if (!vm_journal_status(vm.journal).is_checkpointing)
			continue;
		faulty_io_fail(OF_THIS_THREAD, 1, FAIL_FROM_HERE, EACCES);
		journaled_vm_await_checkpoint(&vm);
		faulty_io_fail(OF_THIS_THREAD, 0, FAIL_ONCE, 0);
	}
	ck_assert_ptr_nonnull(strstr(vm.trouble, strerror(EACCES)));
	journaled_vm_expect(&vm);
	journaled_vm_go_on(&vm, 300);
	journaled_vm_await_checkpoint(&vm);
	journaled_vm_pump(&vm);
	ck_assert_uint_le(vm_journal_status(vm.journal).n_checkpoints, 2);
	journaled_vm_expect(&vm);
	journaled_vm_expect_history(&vm);
	journaled_vm_end(&vm);
}
END_TEST

int main(void)
{
	TCase *rule = tcase_create("rule");
	TCase *failures = tcase_create("failures");
	TCase *const cases[] = { rule, failures, NULL };

	for (size_t i = 0; cases[i]; i++)
		tcase_add_checked_fixture(cases[i], journaled_vm_fixture_begin,
					  journaled_vm_fixture_end);
	tcase_add_loop_test(rule, checkpoints_are_made_while_records_go_on, 0, 6);
	tcase_add_loop_test(rule, a_checkpoint_needs_as_much_log_as_a_segment_or_the_last_one_has,
			    0, 2);
	tcase_add_loop_test(rule, what_is_kept_is_bounded_and_reaches_back_without_a_gap, 0, 6);
	tcase_add_loop_test(
		rule,
		behind_each_single_removal_the_journal_can_be_replayed_and_so_can_what_is_kept, 0,
		4);
	tcase_add_test(rule, a_vm_on_which_kvm_refuses_everything_gets_its_checkpoints_too);
	tcase_add_loop_test(rule, a_journal_is_closed_while_its_checkpoint_is_being_made, 0, 4);
	tcase_add_loop_test(
		failures,
		whichever_call_of_making_a_checkpoint_fails_it_is_said_and_another_is_made, 0,
		N_FAULTS);
	tcase_add_loop_test(failures, a_log_that_is_damaged_is_said_with_its_place_and_covered, 0,
			    6);
	tcase_add_loop_test(failures, a_checkpoint_that_is_damaged_is_said_and_another_is_made, 0,
			    3);
	tcase_add_loop_test(failures, what_cannot_be_removed_is_said_and_the_journal_goes_on, 0, 2);
	return seeded_suite_run("vm-journal-checkpoints", cases);
}
