/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every system call of a journal's life made to fail in turn: no record that was written is lost,
 * none that could not be written appears, and there is a way on.
 */
#include "daemon/journal/io.h"
#include "tests/unit/journal-checks.h"

#include "daemon/allocate.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- Calls that fail ------------------------------------------------------------------------ */

enum fault {
	FAIL_ONCE,       /* the call does nothing */
	FAIL_TWICE,      /* nor does the next one: most often that which cuts back */
	FAIL_FROM_HERE,  /* nor does any after it: also what the daemon's death leaves behind */
	HALF_ONCE,       /* a write does half of what it should, the next call fails */
	HALF_TWICE,      /* the next two calls fail */
	HALF_FROM_HERE,  /* nothing works any more */
	SHORT_FROM_HERE, /* every write and read does as little as it may, and no call fails */
	N_FAULTS
};

static struct {
	struct journal_io real;
	enum fault fault;
	int error;
	unsigned int at; /* the call that fails; 0: none */
	unsigned int n_calls;
	unsigned int n_syncs, n_pwrites;
	uint64_t unsynced[64]; /* inodes */
	size_t n_unsynced;
} calls;

static bool fails(void)
{
	const unsigned int call = ++calls.n_calls, at = calls.at;

	if (!at || call < at)
		return false;
	switch (calls.fault) {
	case FAIL_ONCE:
		return call == at;
	case FAIL_TWICE:
		return call <= at + 1;
	case FAIL_FROM_HERE:
		return true;
	case HALF_ONCE:
		return call == at + 1;
	case HALF_TWICE:
		return call == at + 1 || call == at + 2;
	case HALF_FROM_HERE:
		return call > at;
	case SHORT_FROM_HERE:
	case N_FAULTS:
		break;
	}
	return false;
}

static bool is_short(void)
{
	if (!calls.at || calls.fault < HALF_ONCE)
		return false;
	return calls.fault == SHORT_FROM_HERE ? calls.n_calls >= calls.at
					      : calls.n_calls == calls.at;
}

static size_t cut_size(size_t size)
{
	if (!is_short() || size < 2)
		return size;
	return calls.fault == SHORT_FROM_HERE ? 1 + size / 16 : size / 2;
}

#define FAIL_OR(call)                        \
	do {                                 \
		if (fails()) {               \
			errno = calls.error; \
			return -1;           \
		}                            \
		return call;                 \
	} while (0)

static uint64_t inode(int fd)
{
	struct stat status;

	ck_assert_int_eq(fstat(fd, &status), 0);
	return status.st_ino;
}

static void set_synced(uint64_t number, bool is_synced)
{
	size_t i = 0;

	while (i < calls.n_unsynced && calls.unsynced[i] != number)
		i++;
	if (is_synced && i < calls.n_unsynced)
		calls.unsynced[i] = calls.unsynced[--calls.n_unsynced];
	if (!is_synced && i == calls.n_unsynced) {
		ck_assert_uint_lt(i, N(calls.unsynced));
		calls.unsynced[calls.n_unsynced++] = number;
	}
}

static int faulty_mkdirat(int fd, const char *name, mode_t mode)
{
	set_synced(inode(fd), false);
	FAIL_OR(calls.real.mkdirat(fd, name, mode));
}

static int faulty_openat(int fd, const char *name, int flags, mode_t mode)
{
	FAIL_OR(calls.real.openat(fd, name, flags, mode));
}

static int faulty_renameat2(int old_fd, const char *old_name, int fd, const char *name,
			    unsigned int flags)
{
	set_synced(inode(fd), false);
	FAIL_OR(calls.real.renameat2(old_fd, old_name, fd, name, flags));
}

static int faulty_unlinkat(int fd, const char *name, int flags)
{
	set_synced(inode(fd), false);
	FAIL_OR(calls.real.unlinkat(fd, name, flags));
}

static int faulty_fstat(int fd, struct stat *ret)
{
	FAIL_OR(calls.real.fstat(fd, ret));
}

static ssize_t faulty_pread(int fd, void *buffer, size_t size, off_t offset)
{
	FAIL_OR(calls.real.pread(fd, buffer, cut_size(size), offset));
}

static ssize_t faulty_pwrite(int fd, const void *data, size_t size, off_t offset)
{
	calls.n_pwrites++;
	set_synced(inode(fd), false);
	FAIL_OR(calls.real.pwrite(fd, data, cut_size(size), offset));
}

static int faulty_ftruncate(int fd, off_t size)
{
	set_synced(inode(fd), false);
	FAIL_OR(calls.real.ftruncate(fd, size));
}

/* The test has to see what the file system was asked for, not what it would have done anyway. */
static int faulty_sync(int fd)
{
	calls.n_syncs++;
	if (fails()) {
		errno = calls.error;
		return -1;
	}
	set_synced(inode(fd), true);
	return 0;
}

static void begin(void)
{
	scratch_make();
	calls.real = journal_io;
	journal_io = (struct journal_io){
		.mkdirat = faulty_mkdirat,
		.openat = faulty_openat,
		.renameat2 = faulty_renameat2,
		.unlinkat = faulty_unlinkat,
		.fstat = faulty_fstat,
		.pread = faulty_pread,
		.pwrite = faulty_pwrite,
		.ftruncate = faulty_ftruncate,
		.fdatasync = faulty_sync,
		.fsync = faulty_sync,
	};
}

static void fail_at(unsigned int at, enum fault fault, int error)
{
	calls.at = at;
	calls.fault = fault;
	calls.error = error;
	calls.n_calls = 0;
	calls.n_unsynced = 0;
}

static void end(void)
{
	journal_io = calls.real;
	scratch_remove();
}

/* ---- A writer's life ------------------------------------------------------------------------ */

struct outcome {
	unsigned int n_failed_writes;
	unsigned int n_failed_syncs;
	unsigned int n_failed_retirings;
	uint64_t retired; /* what is below this may be gone */
	unsigned int n_records;
	unsigned int n_calls;
};

/* What was written is there, and nothing else; at most a torn write behind it. */
static void expect_nothing_lost(const struct model *model, const char *what)
{
	struct journal_error error = { 0 };
	enum journal_read found;
	uint64_t n;

	found = read_journal(model, "vm", 0, &n, &error);
	ck_assert_msg(found == JOURNAL_END || found == JOURNAL_TORN, "%s: %s at %ju: %s", what,
		      error.file, (uintmax_t)error.offset, error.text);
	ck_assert_msg(n == model->n_written || (n == 0 && model->n_written == 0),
		      "%s: %ju records, not %zu", what, (uintmax_t)n, model->n_written);
}

/* Fifteen writes, half of which begin a segment; a write that fails is tried again, once. */
static void write_all_of_it(struct journal *journal, struct model *model, uint64_t *random,
			    struct outcome *outcome)
{
	for (int i = 0; i < 15; i++) {
		bool is_failed = journal_status(journal).is_failed;

		for (int attempt = 0; attempt < 2; attempt++) {
			int r = model_write_some(model, journal, 1 + (size_t)i % 3, 300, random);

			ck_assert_msg(!is_failed || r < 0, "written after a sync that failed");
			if (r == 0)
				break;
			outcome->n_failed_writes++;
		}
		if (i == 9) {
			outcome->retired = model->n_written;
			outcome->n_failed_retirings +=
				journal_retire(journal, outcome->retired) < 0;
		}
		if (i % 2 && journal_sync(journal) < 0) {
			outcome->n_failed_syncs++;
			ck_assert(journal_status(journal).is_failed);
		}
	}
}

static struct outcome live(unsigned int at, enum fault fault, int error_number)
{
	struct journal_options options = { .segment_size = 500, .is_synced = true };
	struct outcome outcome = { 0 };
	struct journal_error error = { 0 };
	struct journal *journal = NULL;
	struct model model = { 0 };
	uint64_t random = seeded_suite_random(0), n_cut;
	char what[64];

	snprintf(what, sizeof(what), "call %u, fault %u, errno %d", at, fault, error_number);
	scratch_clear("vm");
	fail_at(at, fault, error_number);
	if (journal_create(scratch_fd, "vm", &some_identity, options, &journal) == 0) {
		write_all_of_it(journal, &model, &random, &outcome);
		journal_free(journal);
		journal = NULL;
	} else {
		outcome.n_failed_writes++;
	}
	outcome.n_records = (unsigned int)model.n_written;
	outcome.n_calls = calls.n_calls;

	/* the daemon died, another one comes */
	calls.at = 0;
	if (outcome.n_records)
		expect_nothing_lost(&model, what);
	if (journal_reopen(scratch_fd, "vm", options, &journal, &n_cut, &error) < 0) {
		ck_assert_msg(error.error == ENODATA || error.error == ENOENT, "%s: %s", what,
			      error.text);
		ck_assert_uint_eq(model.n_written, 0); /* it was never made */
		model_destroy(&model);
		return outcome;
	}
	expect_nothing_lost(&model, what);
	ck_assert(journal_status(journal).first_number == 1 ||
		  journal_status(journal).first_number <= outcome.retired);
	ck_assert_uint_eq(journal_status(journal).next_number, model.n_written + 1);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(model_write_some(&model, journal, 2, 300, &random), 0);
	expect_journal(&model, "vm");
	journal_free(journal);
	model_destroy(&model);
	return outcome;
}

static const int errors[] = { EIO, ENOSPC };

START_TEST(whichever_call_fails_what_was_written_is_there_and_what_was_not_is_not)
{
	unsigned int n_calls, n_failed_writes = 0, n_failed_syncs = 0, n_lives = 0;
	unsigned int n_failed_retirings = 0;
	const enum fault fault = (enum fault)_i;
	struct outcome whole = live(0, FAIL_ONCE, 0);

	ck_assert_uint_eq(whole.n_failed_writes + whole.n_failed_syncs, 0);
	n_calls = whole.n_calls;
	ck_assert_uint_gt(n_calls, 40);
	for (size_t e = 0; e < N(errors); e++)
		for (unsigned int at = 1; at <= n_calls; at++, n_lives++) {
			struct outcome outcome = live(at, fault, errors[e]);

			n_failed_writes += outcome.n_failed_writes;
			n_failed_syncs += outcome.n_failed_syncs;
			n_failed_retirings += outcome.n_failed_retirings;
			if (fault == SHORT_FROM_HERE) /* nothing failed */
				ck_assert_uint_eq(outcome.n_records, whole.n_records);
		}
	printf("# fault %d: %u lives, %u failed writes, %u failed syncs: nothing lost, nothing "
	       "that failed appears\n",
	       _i, n_lives, n_failed_writes, n_failed_syncs);
	fflush(stdout);
	if (fault != SHORT_FROM_HERE) {
		ck_assert_uint_gt(n_failed_retirings, 0);
		ck_assert_uint_gt(n_failed_writes, 10);
		ck_assert_uint_gt(n_failed_syncs, 2);
	}
}
END_TEST

START_TEST(whichever_call_of_reopening_fails_the_journal_is_as_it_was)
{
	struct journal_options options = { .segment_size = 200, .is_synced = true };
	uint64_t random = seeded_suite_random(0), n_cut;
	unsigned int n_failed = 0, at = 1;
	struct model model = { 0 };
	struct files files;

	make_small_journal("vm", &model, &random);
	files = files_take("vm");
	for (bool is_done = false; !is_done; at++) {
		struct journal_error error = { 0 };
		struct journal *journal = NULL;
		struct file *last = &files.file[files.n - 1];

		files_put(&files, "vm");
		file_put("vm", last->name, last->bytes, last->size - 1); /* torn */
		file_put("vm", "0000000000000099.journal.new", "x", 1);
		fail_at(at, FAIL_ONCE, EIO);
		if (journal_reopen(scratch_fd, "vm", options, &journal, &n_cut, &error) < 0) {
			n_failed++;
			ck_assert_int_eq(error.error, EIO);
			ck_assert_uint_gt(strlen(error.text), 0);
			calls.at = 0;
			ck_assert_int_eq(
				journal_reopen(scratch_fd, "vm", options, &journal, &n_cut, &error),
				0);
		} else {
			is_done = calls.n_calls < at;
		}
		calls.at = 0;
		/* the last write had three records */
		ck_assert_uint_eq(journal_status(journal).next_number, model.n_written - 3 + 1);
		journal_free(journal);
	}
	printf("# %u calls of reopening failed in turn\n", n_failed);
	fflush(stdout);
	ck_assert_uint_gt(n_failed, 15);
	files_destroy(&files);
	model_destroy(&model);
}
END_TEST

START_TEST(whichever_call_of_reading_fails_what_was_read_before_was_right)
{
	uint64_t random = seeded_suite_random(0), n;
	unsigned int n_failed = 0, n_calls;
	struct journal_error error = { 0 };
	struct model model = { 0 };

	make_small_journal("vm", &model, &random);
	fail_at(0, FAIL_ONCE, 0);
	ck_assert_int_eq(read_journal(&model, "vm", 0, &n, &error), JOURNAL_END);
	n_calls = calls.n_calls;
	for (unsigned int at = 1; at <= n_calls; at++) {
		enum journal_read found;

		fail_at(at, FAIL_FROM_HERE, EIO);
		found = read_journal(&model, "vm", 0, &n, &error);
		ck_assert_int_eq(found, JOURNAL_DAMAGED);
		ck_assert_int_eq(error.error, EIO);
		n_failed++;
		fail_at(at, FAIL_ONCE, EINTR);
		found = read_journal(&model, "vm", 0, &n, &error);
		ck_assert(found == JOURNAL_DAMAGED || n == model.n_written);
		fail_at(at, SHORT_FROM_HERE, 0);
		ck_assert_int_eq(read_journal(&model, "vm", 0, &n, &error), JOURNAL_END);
		ck_assert_uint_eq(n, model.n_written);
	}
	printf("# %u calls of reading failed in turn\n", n_failed);
	fflush(stdout);
	model_destroy(&model);
}
END_TEST

/* ---- Writing and syncing -------------------------------------------------------------------- */

START_TEST(a_write_is_one_call_and_does_not_wait_for_the_disk)
{
	struct journal_options options = { .segment_size = 1 << 20, .is_synced = true };
	uint64_t random = seeded_suite_random(_i);
	struct model model = { 0 };
	struct journal *journal;

	ck_assert_int_eq(journal_create(scratch_fd, "vm", &some_identity, options, &journal), 0);
	fail_at(0, FAIL_ONCE, 0);
	for (unsigned int i = 1; i <= 20; i++) {
		ck_assert_int_eq(model_write_some(&model, journal, 50, 300, &random), 0);
		ck_assert_uint_eq(calls.n_calls, i);
	}
	ck_assert_uint_eq(calls.n_syncs, 0);
	journal_free(journal);
	model_destroy(&model);
}
END_TEST

START_TEST(after_a_sync_all_that_was_written_is_on_the_disk)
{
	struct journal_options options = { .segment_size = 500, .is_synced = true };
	uint64_t random = seeded_suite_random(_i), n_cut;
	struct journal_error error = { 0 };
	struct model model = { 0 };
	struct journal *journal;

	fail_at(0, FAIL_ONCE, 0);
	ck_assert_int_eq(journal_create(scratch_fd, "vm", &some_identity, options, &journal), 0);
	ck_assert_uint_eq(calls.n_unsynced, 3); /* the parent, the directory, the segment */
	for (int i = 0; i < 30; i++) {
		ck_assert_int_eq(model_write_some(&model, journal, 2, 200, &random), 0);
		ck_assert_uint_gt(calls.n_unsynced, 0);
		if (random_one_in(&random, 4)) {
			ck_assert_int_eq(journal_sync(journal), 0);
			ck_assert_uint_eq(calls.n_unsynced, 0);
		}
		if (random_one_in(&random, 8)) { /* another daemon has to do it */
			journal_free(journal);
			ck_assert_int_eq(
				journal_reopen(scratch_fd, "vm", options, &journal, &n_cut, &error),
				0);
		}
	}
	ck_assert_uint_gt(calls.n_syncs, 0);
	journal_free(journal);
	model_destroy(&model);
}
END_TEST

START_TEST(after_a_sync_that_failed_nothing_is_written_any_more_and_nothing_is_lost)
{
	struct journal_options options = { .segment_size = 500, .is_synced = true };
	uint64_t random = seeded_suite_random(_i);
	struct model model = { 0 };
	struct journal *journal;

	ck_assert_int_eq(journal_create(scratch_fd, "vm", &some_identity, options, &journal), 0);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(model_write_some(&model, journal, 2, 200, &random), 0);
	ck_assert(!journal_status(journal).is_failed);
	fail_at(1, FAIL_ONCE, EIO);
	ck_assert_int_eq(journal_sync(journal), -EIO);
	ck_assert(journal_status(journal).is_failed);
	ck_assert_int_eq(journal_sync(journal), -EIO); /* for good: the next one would succeed */
	ck_assert_int_eq(model_write_some(&model, journal, 2, 200, &random), -EIO);
	expect_journal(&model, "vm");
	journal_free(journal);
	model_destroy(&model);
}
END_TEST

START_TEST(a_full_disk_refuses_writes_until_there_is_room)
{
	struct journal_options options = { .segment_size = 2000 };
	uint64_t random = seeded_suite_random(_i);
	struct model model = { 0 };
	struct journal *journal;
	unsigned int n_refused = 0;

	ck_assert_int_eq(journal_create(scratch_fd, "vm", &some_identity, options, &journal), 0);
	for (int i = 0; i < 60; i++) {
		bool is_full = i / 5 % 2;
		int r;

		fail_at(is_full ? 1 : 0, i % 2 ? HALF_FROM_HERE : FAIL_FROM_HERE, ENOSPC);
		r = model_write_some(&model, journal, 3, 300, &random);
		ck_assert_int_eq(r, is_full ? -ENOSPC : 0);
		n_refused += is_full;
		calls.at = 0;
		expect_nothing_lost(&model, "a full disk");
	}
	ck_assert_uint_eq(n_refused, 30);
	ck_assert(!journal_status(journal).is_failed);
	journal_free(journal);
	expect_journal(&model, "vm");
	model_destroy(&model);
}
END_TEST

/* ---- Syncing beside writing ----------------------------------------------------------------- */

static bool is_writing;

static void *sync_on_and_on(void *data)
{
	int r = 0;

	while (r == 0 && __atomic_load_n(&is_writing, __ATOMIC_ACQUIRE))
		r = journal_sync(data);
	return r < 0 ? data : NULL;
}

START_TEST(one_thread_syncs_while_another_writes)
{
	struct journal_options options = { .segment_size = 2000, .is_synced = true };
	uint64_t random = seeded_suite_random(_i);
	struct model model = { 0 };
	struct journal *journal;
	pthread_t thread;
	void *result;

	journal_io = calls.real; /* the counters are not for two threads */
	ck_assert_int_eq(journal_create(scratch_fd, "vm", &some_identity, options, &journal), 0);
	is_writing = true;
	ck_assert_int_eq(pthread_create(&thread, NULL, sync_on_and_on, journal), 0);
	for (int i = 0; i < 300; i++)
		ck_assert_int_eq(model_write_some(&model, journal, 3, 500, &random), 0);
	__atomic_store_n(&is_writing, false, __ATOMIC_RELEASE);
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	ck_assert_ptr_null(result);
	ck_assert_int_eq(journal_sync(journal), 0);
	journal_free(journal);
	expect_journal(&model, "vm");
	model_destroy(&model);
}
END_TEST

int main(void)
{
	TCase *faults = tcase_create("faults");
	TCase *syncs = tcase_create("syncs");

	tcase_add_checked_fixture(faults, begin, end);
	tcase_add_checked_fixture(syncs, begin, end);
	tcase_add_loop_test(faults,
			    whichever_call_fails_what_was_written_is_there_and_what_was_not_is_not,
			    0, N_FAULTS);
	tcase_add_test(faults, whichever_call_of_reopening_fails_the_journal_is_as_it_was);
	tcase_add_test(faults, whichever_call_of_reading_fails_what_was_read_before_was_right);
	tcase_add_test(faults, a_full_disk_refuses_writes_until_there_is_room);
	tcase_add_test(syncs, a_write_is_one_call_and_does_not_wait_for_the_disk);
	tcase_add_loop_test(syncs, after_a_sync_all_that_was_written_is_on_the_disk, 0, 4);
	tcase_add_test(syncs,
		       after_a_sync_that_failed_nothing_is_written_any_more_and_nothing_is_lost);
	tcase_add_test(syncs, one_thread_syncs_while_another_writes);
	return seeded_suite_run("journal-faults", (TCase *[]){ faults, syncs, NULL });
}
