/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoints as files: what a story has come to is written and comes back, and whatever call
 * fails, nothing half-made gets the name.
 */
#include "daemon/journal/io.h"
#include "tests/unit/checkpoint-checks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct journal_io real_io;

static void begin(void)
{
	real_io = journal_io;
}

/* ---- Back and forth -------------------------------------------------------------------------- */

START_TEST(what_was_told_comes_back_and_goes_on)
{
	struct journal_error error;
	struct replay *read;
	size_t n_records;

	checkpoint_tell(seeded_suite_random(_i), 20 * (unsigned int)_i);
	n_records = checkpoint_story.n_records;
	ck_assert_uint_gt(checkpoint_write_told(), HEADER_SIZE);
	read = checkpoint_read_it(checkpoint_told.number, &error);
	ck_assert_msg(read != NULL, "%s at %ju: %s", error.file, (uintmax_t)error.offset,
		      error.text);
	replay_end(read);
	story_expect(&checkpoint_story, read, true);
	ck_assert_uint_eq(read->registered_us, checkpoint_told.registered_us);
	ck_assert_uint_eq(read->max_session, checkpoint_told.max_session);
	for (int i = 0; i < 40; i++)
		story_go_on(&checkpoint_story);
	for (size_t i = n_records; i < checkpoint_story.n_records; i++) {
		struct journal_record record = story_record(&checkpoint_story, i);

		ck_assert_msg(replay_take(read, &record, &error) == 0, "%s", error.text);
	}
	story_expect(&checkpoint_story, read, false);
	checkpoint_free_replay(read);
}
END_TEST

START_TEST(a_vm_that_was_released_comes_back_so)
{
	struct journal_error error;
	struct replay *read;

	story_begin(&checkpoint_story, seeded_suite_random(_i));
	story_release(&checkpoint_story);
	story_replay(&checkpoint_story, &checkpoint_told);
	replay_end(&checkpoint_told);
	checkpoint_write_told();
	read = checkpoint_read_it(checkpoint_told.number, &error);
	ck_assert_ptr_nonnull(read);
	replay_end(read);
	story_expect(&checkpoint_story, read, true);
	ck_assert(read->is_released);
	ck_assert_uint_eq(read->released_us, checkpoint_told.released_us);
	ck_assert_mem_eq(&read->released, &checkpoint_told.released,
			 sizeof(checkpoint_told.released));
	checkpoint_free_replay(read);
}
END_TEST

START_TEST(what_comes_back_is_written_as_the_same_bytes)
{
	struct journal_error error;
	struct files before, after;
	struct replay *read;
	uint64_t size;

	checkpoint_tell(seeded_suite_random(_i), 100);
	checkpoint_write_told();
	before = files_take("vm");
	read = checkpoint_read_it(checkpoint_told.number, &error);
	ck_assert_ptr_nonnull(read);
	ck_assert_int_eq(checkpoint_remove(checkpoint_folder_fd, checkpoint_told.number), 0);
	ck_assert_int_eq(checkpoint_write(checkpoint_folder_fd, &some_identity, read, &size), 0);
	after = files_take("vm");
	ck_assert(files_are_equal(&before, &after));
	ck_assert_uint_eq(before.n, 1);
	ck_assert_uint_eq(before.file[0].size, size);
	files_destroy(&before);
	files_destroy(&after);
	checkpoint_free_replay(read);
}
END_TEST

START_TEST(all_that_are_there_are_listed_the_oldest_first)
{
	struct journal_error error;
	struct checkpoint_name *names;
	uint64_t commits[4], numbers[4];
	size_t n;

	ck_assert_int_eq(checkpoint_list(checkpoint_folder_fd, &names, &n, &error), 0);
	ck_assert_uint_eq(n, 0);
	ck_assert_ptr_null(names);
	story_begin(&checkpoint_story, seeded_suite_random(_i));
	for (unsigned int i = 0; i < 4; i++) {
		for (int k = 0; k < 12; k++)
			story_go_on(&checkpoint_story);
		story_settle(&checkpoint_story);
		story_replay(&checkpoint_story, &checkpoint_told);
		replay_end(&checkpoint_told);
		numbers[i] = checkpoint_told.number;
		commits[i] = checkpoint_told.commit;
		checkpoint_write_told();
		replay_destroy(&checkpoint_told);
		replay_init(&checkpoint_told);
	}
	file_put("vm", "0000000000000099.checkpoint.new", "x", 1);
	file_put("vm", "something-else", "x", 1);
	file_put("vm", "0000000000ffffff.checkpoint", "not well", 8);
	ck_assert_int_eq(checkpoint_list(checkpoint_folder_fd, &names, &n, &error), 0);
	ck_assert_uint_eq(n, 5);
	for (unsigned int i = 0; i < 4; i++) {
		ck_assert_uint_eq(names[i].number, numbers[i]);
		ck_assert_uint_eq(names[i].commit, commits[i]);
		ck_assert_uint_gt(names[i].size, HEADER_SIZE);
	}
	ck_assert_uint_eq(names[4].number, 0xffffff);
	ck_assert_uint_eq(names[4].commit, 0);
	ck_assert_uint_eq(names[4].size, 8);
	free(names);
	ck_assert_int_eq(checkpoint_remove(checkpoint_folder_fd, 0xffffff), 0);
	ck_assert_int_eq(checkpoint_remove(checkpoint_folder_fd, 0xffffff), -ENOENT);
	ck_assert_int_eq(checkpoint_remove_unfinished(checkpoint_folder_fd, &error), 0);
	ck_assert_int_eq(
		faccessat(checkpoint_folder_fd, "0000000000000099.checkpoint.new", F_OK, 0), -1);
	ck_assert_int_eq(faccessat(checkpoint_folder_fd, "something-else", F_OK, 0), 0);
}
END_TEST

/* ---- Calls that fail ------------------------------------------------------------------------- */

static struct {
	unsigned int at; /* the call that fails; 0: none */
	bool is_from_here;
	bool is_half; /* a write does half before the next call fails */
	int error;
	unsigned int n_calls;
	char log[64]; /* a letter for each call */
} calls;

static bool fails(char letter)
{
	unsigned int call = ++calls.n_calls, at = calls.at + (calls.at && calls.is_half);

	ck_assert_uint_lt(call, sizeof(calls.log));
	calls.log[call - 1] = letter;
	if (!at || (calls.is_from_here ? call < at : call != at))
		return false;
	errno = calls.error;
	return true;
}

static int faulty_openat(int fd, const char *name, int flags, mode_t mode)
{
	return fails('o') ? -1 : real_io.openat(fd, name, flags, mode);
}

static int faulty_renameat2(int old_fd, const char *old_name, int fd, const char *name,
			    unsigned int flags)
{
	return fails('r') ? -1 : real_io.renameat2(old_fd, old_name, fd, name, flags);
}

static int faulty_unlinkat(int fd, const char *name, int flags)
{
	return fails('u') ? -1 : real_io.unlinkat(fd, name, flags);
}

static ssize_t faulty_pwrite(int fd, const void *data, size_t size, off_t offset)
{
	if (calls.at && calls.is_half && calls.n_calls + 1 == calls.at && size > 1)
		size /= 2;
	return fails('w') ? -1 : real_io.pwrite(fd, data, size, offset);
}

static ssize_t faulty_pread(int fd, void *buffer, size_t size, off_t offset)
{
	return fails('p') ? -1 : real_io.pread(fd, buffer, size, offset);
}

/* What is on the disk is not seen: what was asked for is. */
static int faulty_fsync(int fd)
{
	struct stat status;

	ck_assert_int_eq(fstat(fd, &status), 0);
	return fails(S_ISDIR(status.st_mode) ? 'd' : 's') ? -1 : 0;
}

static void fail_at(unsigned int at, bool is_from_here, bool is_half, int error)
{
	memset(&calls, 0, sizeof(calls));
	calls.at = at;
	calls.is_from_here = is_from_here;
	calls.is_half = is_half;
	calls.error = error;
	journal_io.openat = faulty_openat;
	journal_io.renameat2 = faulty_renameat2;
	journal_io.unlinkat = faulty_unlinkat;
	journal_io.pread = faulty_pread;
	journal_io.pwrite = faulty_pwrite;
	journal_io.fsync = faulty_fsync;
}

static void stop_failing(void)
{
	journal_io = real_io;
}

START_TEST(a_checkpoint_gets_its_name_when_it_is_on_the_disk_and_then_the_name_is_put_there)
{
	uint64_t size;

	checkpoint_tell(seeded_suite_random(_i), 30);
	fail_at(0, false, false, 0);
	ck_assert_int_eq(
		checkpoint_write(checkpoint_folder_fd, &some_identity, &checkpoint_told, &size), 0);
	ck_assert_str_eq(calls.log, "uowsrd");
	stop_failing();
}
END_TEST

/* The checkpoint is there as it was, or as it is to be, and whole; returns which. */
static bool expect_old_or_new(const struct files *old, const struct files *new)
{
	struct journal_error error;
	struct files now;
	bool is_new;

	/* what was left of the attempt is nobody's, and can be removed */
	ck_assert_int_eq(checkpoint_remove_unfinished(checkpoint_folder_fd, &error), 0);
	now = files_take("vm");
	is_new = files_are_equal(&now, new);
	ck_assert(is_new || files_are_equal(&now, old));
	files_destroy(&now);
	return is_new;
}

/* _i: 1: there is another one of the same number before. */
START_TEST(whichever_call_of_writing_fails_nothing_half_made_gets_the_name)
{
	static const int errors[] = { EIO, ENOSPC };
	unsigned int n_failed = 0, n_kept = 0;
	struct files old, new, now;
	char name[CHECKPOINT_NAME_LEN + 1];
	uint64_t size;

	checkpoint_tell(seeded_suite_random(_i), 30);
	checkpoint_write_told();
	new = files_take("vm");
	ck_assert_int_eq(checkpoint_remove(checkpoint_folder_fd, checkpoint_told.number), 0);
	checkpoint_make_name(checkpoint_told.number, name);
	if (_i)
		file_put("vm", name, "a former one", 12);
	old = files_take("vm");
	for (size_t e = 0; e < N(errors); e++)
		for (unsigned int kind = 0; kind < 4; kind++)
			for (unsigned int at = 1; at <= 6; at++) {
				bool is_new;
				int r;

				fail_at(at, kind & 1, kind & 2, errors[e]);
				r = checkpoint_write(checkpoint_folder_fd, &some_identity,
						     &checkpoint_told, &size);
				stop_failing();
				now = files_take("vm");
				/* what it leaves half-made it removes, if it can */
				ck_assert_uint_le(now.n, kind & 1 ? 2 : 1);
				files_destroy(&now);
				is_new = expect_old_or_new(&old, &new);
				if (r < 0) {
					n_failed++;
					ck_assert_int_eq(r, -errors[e]);
					/* only the last call, when all was done */
					ck_assert(!is_new || strchr(calls.log, 'd'));
				} else {
					ck_assert(is_new);
				}
				n_kept += !is_new;
				files_put(&old, "vm");
				close(checkpoint_folder_fd);
				checkpoint_folder_fd = openat(scratch_fd, "vm",
							      O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			}
	printf("# %u writings failed, %u left what was before\n", n_failed, n_kept);
	fflush(stdout);
	ck_assert_uint_gt(n_failed, 30);
	ck_assert_uint_gt(n_kept, 20);
	/* and with the disk well again, it can be had */
	checkpoint_write_told();
	ck_assert(expect_old_or_new(&old, &new));
	files_destroy(&old);
	files_destroy(&new);
}
END_TEST

START_TEST(what_cannot_be_read_is_not_taken_for_damage)
{
	struct checkpoint_name *names;
	struct journal_error error;
	unsigned int n_failed = 0;
	size_t n;

	checkpoint_tell(seeded_suite_random(_i), 30);
	checkpoint_write_told();
	for (unsigned int at = 1; at <= 4; at++) {
		fail_at(at, false, false, EIO);
		if (checkpoint_list(checkpoint_folder_fd, &names, &n, &error) == 0) {
			ck_assert_uint_gt(at, calls.n_calls);
			free(names);
		} else {
			ck_assert_int_eq(error.error, EIO);
			n_failed++;
		}
		fail_at(at, false, false, EIO);
		if (at <= 3) { /* to open it, and to read header and all */
			ck_assert_ptr_null(checkpoint_read_it(checkpoint_told.number, &error));
			ck_assert_int_eq(error.error, EIO);
		}
		stop_failing();
	}
	ck_assert_uint_ge(n_failed, 3);
}
END_TEST

/* ---- Files ----------------------------------------------------------------------------------- */

START_TEST(a_file_that_is_not_ours_alone_is_refused)
{
	struct journal_error error;

	checkpoint_make_small(seeded_suite_random(_i));
	ck_assert_int_eq(fchmodat(checkpoint_folder_fd, checkpoint_file, 0640, 0), 0);
	ck_assert_ptr_null(checkpoint_read_it(checkpoint_told.number, &error));
	ck_assert_int_eq(error.error, EPERM);
	ck_assert_int_eq(fchmodat(checkpoint_folder_fd, checkpoint_file, 0600, 0), 0);
	ck_assert_int_eq(
		linkat(checkpoint_folder_fd, checkpoint_file, checkpoint_folder_fd, "second", 0),
		0);
	ck_assert_ptr_null(checkpoint_read_it(checkpoint_told.number, &error));
	ck_assert_int_eq(error.error, EPERM);
	ck_assert_int_eq(unlinkat(checkpoint_folder_fd, checkpoint_file, 0), 0);
	ck_assert_int_eq(symlinkat("second", checkpoint_folder_fd, checkpoint_file), 0);
	ck_assert_ptr_null(checkpoint_read_it(checkpoint_told.number, &error));
	ck_assert_int_eq(error.error, EPERM);
	ck_assert_int_eq(unlinkat(checkpoint_folder_fd, checkpoint_file, 0), 0);
	ck_assert_int_eq(mkfifoat(checkpoint_folder_fd, checkpoint_file, 0600), 0);
	ck_assert_ptr_null(checkpoint_read_it(checkpoint_told.number, &error));
	ck_assert_int_eq(error.error, EPERM);
	ck_assert_int_eq(unlinkat(checkpoint_folder_fd, checkpoint_file, 0), 0);
	ck_assert_ptr_null(checkpoint_read_it(checkpoint_told.number, &error));
	ck_assert_int_eq(error.error, ENOENT);
	files_destroy(&checkpoint_files);
}
END_TEST

START_TEST(names_that_are_nearly_a_checkpoints_are_refused)
{
	static const char *const names[] = { "1.checkpoint", "000000000000000G.checkpoint",
					     "00000000000000001.checkpoint", ".checkpoint",
					     "000000000000000A.checkpoint" };

	for (size_t i = 0; i < N(names); i++) {
		struct journal_error error = { 0 };
		struct checkpoint_name *list;
		size_t n;

		file_put("vm", names[i], "x", 1);
		ck_assert_int_eq(checkpoint_list(checkpoint_folder_fd, &list, &n, &error),
				 -EBADMSG);
		ck_assert_str_eq(error.file, names[i]);
		ck_assert_int_eq(unlinkat(checkpoint_folder_fd, names[i], 0), 0);
	}
}
END_TEST

START_TEST(maps_that_need_more_than_they_may_are_refused)
{
	struct journal_error error;
	struct replay replay;

	checkpoint_tell(seeded_suite_random(_i), 60);
	checkpoint_write_told();
	replay_init(&replay);
	replay.max_map_bytes = 4096;
	ck_assert_int_eq(checkpoint_read(checkpoint_folder_fd, &some_identity,
					 checkpoint_told.number, &replay, &error),
			 -E2BIG);
	ck_assert_ptr_nonnull(strstr(error.text, "max-map-mib"));
	replay_destroy(&replay);
}
END_TEST

int main(void)
{
	TCase *whole = checkpoint_make_case("whole");
	TCase *faults = checkpoint_make_case("faults");
	TCase *files = checkpoint_make_case("files");

	tcase_add_checked_fixture(faults, begin, NULL);
	tcase_add_loop_test(whole, what_was_told_comes_back_and_goes_on, 0, 20);
	tcase_add_loop_test(whole, a_vm_that_was_released_comes_back_so, 0, 2);
	tcase_add_loop_test(whole, what_comes_back_is_written_as_the_same_bytes, 0, 5);
	tcase_add_test(whole, all_that_are_there_are_listed_the_oldest_first);
	tcase_add_test(
		faults,
		a_checkpoint_gets_its_name_when_it_is_on_the_disk_and_then_the_name_is_put_there);
	tcase_add_loop_test(faults, whichever_call_of_writing_fails_nothing_half_made_gets_the_name,
			    0, 2);
	tcase_add_test(faults, what_cannot_be_read_is_not_taken_for_damage);
	tcase_add_test(files, a_file_that_is_not_ours_alone_is_refused);
	tcase_add_test(files, names_that_are_nearly_a_checkpoints_are_refused);
	tcase_add_test(files, maps_that_need_more_than_they_may_are_refused);
	return seeded_suite_run("checkpoint", (TCase *[]){ whole, faults, files, NULL });
}
