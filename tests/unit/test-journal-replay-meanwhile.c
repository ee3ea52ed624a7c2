/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Journals replayed while the daemon writes on and retires what is being read, at every call in
 * turn; and while the calls fail.
 */
#include "daemon/journal/io.h"
#include "tests/unit/journal-checks.h"
#include "tests/unit/told-journal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct journal_io kernel_io;

/* ---- A daemon that writes and retires meanwhile ---------------------------------------------- */

static unsigned int n_calls, retire_at;

/* A long leap: all that was there is not there any more. */
static void leap(void)
{
	const struct journal_io counting = journal_io;

	journal_io = kernel_io;
	told_go_on(40);
	told_make_checkpoint();
	while (told.n_checkpoints > 1)
		told_retire_one();
	told_go_on(10);
	journal_io = counting;
}

static void count_call(void)
{
	if (++n_calls == retire_at)
		leap();
}

static int counting_openat(int fd, const char *name, int flags, mode_t mode)
{
	count_call();
	return kernel_io.openat(fd, name, flags, mode);
}

static int counting_fstat(int fd, struct stat *ret)
{
	count_call();
	return kernel_io.fstat(fd, ret);
}

static ssize_t counting_pread(int fd, void *buffer, size_t size, off_t offset)
{
	count_call();
	return kernel_io.pread(fd, buffer, size, offset);
}

/* _i: 1: from the start. */
START_TEST(whenever_what_is_read_is_retired_all_begins_anew)
{
	static struct told_watch watch;
	unsigned int n_anew = 0;

	n_calls = retire_at = 1;
	kernel_io = journal_io;
	for (; n_calls >= retire_at; retire_at++) {
		uint64_t n_before;

		told_make_journal(seeded_suite_random(_i), 3);
		told_retire_one();
		n_before = told.story.n_records;
		n_calls = 0;
		journal_io.openat = counting_openat;
		journal_io.fstat = counting_fstat;
		journal_io.pread = counting_pread;
		told_must(_i ? told_replay_from_start(&watch) : told_replay_all());
		journal_io = kernel_io;
		ck_assert_uint_ge(told.replay.number, n_before);
		told_expect_straight(true);
		ck_assert_int_eq(told.report.passed_over.error, 0);
		if (_i) {
			told_expect_all_seen(&watch);
			n_anew += watch.n_begun > 1;
		}
	}
	printf("# the daemon leapt at %u calls in turn; %u had been told something before\n",
	       retire_at - 2, n_anew);
	fflush(stdout);
	ck_assert_uint_gt(retire_at, 15);
	ck_assert(!_i || n_anew > 0);
}
END_TEST

/* ---- Calls that fail ------------------------------------------------------------------------- */

static unsigned int fail_at;
static int fail_with;

static bool fails(void)
{
	if (++n_calls != fail_at)
		return false;
	errno = fail_with;
	return true;
}

static int failing_openat(int fd, const char *name, int flags, mode_t mode)
{
	return fails() ? -1 : kernel_io.openat(fd, name, flags, mode);
}

static int failing_fstat(int fd, struct stat *ret)
{
	return fails() ? -1 : kernel_io.fstat(fd, ret);
}

static ssize_t failing_pread(int fd, void *buffer, size_t size, off_t offset)
{
	return fails() ? -1 : kernel_io.pread(fd, buffer, size, offset);
}

static ssize_t short_pread(int fd, void *buffer, size_t size, off_t offset)
{
	return kernel_io.pread(fd, buffer, size > 7 ? 7 : size, offset);
}

START_TEST(whichever_call_fails_it_is_told_or_does_not_matter)
{
	unsigned int n_failed = 0;

	told_make_journal(seeded_suite_random(_i), 2);
	kernel_io = journal_io;
	journal_io.openat = failing_openat;
	journal_io.fstat = failing_fstat;
	journal_io.pread = failing_pread;
	for (fail_with = EIO; fail_with != EINTR; fail_with = fail_with == EIO ? EMFILE : EINTR)
		for (fail_at = 1;; fail_at++) {
			n_calls = 0;
			if (told_replay_all() == 0) {
				story_expect(&told.story, &told.replay, true);
				ck_assert_int_eq(told.report.passed_over.error, 0);
				if (n_calls < fail_at)
					break;
				continue;
			}
			ck_assert_msg(told.error.error == fail_with, "call %u: %d: %s", fail_at,
				      told.error.error, told.error.text);
			n_failed++;
		}
	ck_assert_uint_gt(n_failed, 20);
	fail_at = 0;
	journal_io.pread = short_pread;
	told_must(told_replay_all());
	story_expect(&told.story, &told.replay, true);
}
END_TEST

int main(void)
{
	TCase *meanwhile = told_make_case("meanwhile");

	tcase_add_loop_test(meanwhile, whenever_what_is_read_is_retired_all_begins_anew, 0, 2);
	tcase_add_test(meanwhile, whichever_call_fails_it_is_told_or_does_not_matter);
	return seeded_suite_run("journal-replay-meanwhile", (TCase *[]){ meanwhile, NULL });
}
