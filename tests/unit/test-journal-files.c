/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files of a journal: missing, renamed, of another format, of somebody else, or no files.
 */
#include "tests/unit/journal-checks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct journal_options options = { .segment_size = 200 };
static struct model model;
static struct files files; /* of the small journal, as it was written */

static void begin(void)
{
	uint64_t random = seeded_suite_random(0);

	scratch_make();
	make_small_journal("vm", &model, &random);
	files = files_take("vm");
}

static void end(void)
{
	files_destroy(&files);
	model_destroy(&model);
	scratch_remove();
}

/* ---- Whole files ---------------------------------------------------------------------------- */

START_TEST(a_segment_that_is_missing_before_the_last_one_is_refused)
{
	for (size_t i = 1; i + 1 < files.n; i++) {
		struct files rest = files;
		uint64_t first;

		rest.n--;
		memmove(rest.file + i, rest.file + i + 1, (rest.n - i) * sizeof(*rest.file));
		files_put(&rest, "vm");
		ck_assert_int_eq(sscanf(files.file[i].name, "%" SCNx64, &first), 1);
		expect_refused(&model, "vm", EBADMSG, files.file[i - 1].name,
			       files.file[i - 1].size, first - 1);
	}
}
END_TEST

START_TEST(a_segment_under_another_name_is_refused)
{
	for (size_t i = 0; i < files.n; i++) {
		struct files renamed = files;
		uint64_t first;

		ck_assert_int_eq(sscanf(files.file[i].name, "%" SCNx64, &first), 1);
		snprintf(renamed.file[i].name, sizeof(renamed.file[i].name),
			 "%016" PRIx64 ".journal", first + 1);
		files_put(&renamed, "vm");
		if (i == 0)
			expect_refused(&model, "vm", EBADMSG, renamed.file[0].name, 0, 0);
		else
			expect_refused(&model, "vm", EBADMSG, files.file[i - 1].name,
				       files.file[i - 1].size, first - 1);
		if (i + 1 == files.n)
			expect_left_alone("vm", EBADMSG);
	}
}
END_TEST

START_TEST(a_segment_copied_to_another_name_is_refused)
{
	files_put(&files, "vm");
	file_put("vm", "0000000000000fff.journal", files.file[1].bytes, files.file[1].size);
	expect_refused(&model, "vm", EBADMSG, files.file[files.n - 1].name,
		       files.file[files.n - 1].size, model.n_written);
	expect_left_alone("vm", EBADMSG);
}
END_TEST

START_TEST(a_newer_format_is_told_from_damage)
{
	for (size_t i = 0; i < files.n; i++) {
		struct journal_segment_header header;
		uint64_t first;

		ck_assert_int_eq(sscanf(files.file[i].name, "%" SCNx64, &first), 1);
		memcpy(&header, files.file[i].bytes, sizeof(header));
		header.format = JOURNAL_FORMAT + 1;
		header.crc =
			crc32c_by_hand(&header, offsetof(struct journal_segment_header, crc), 0);
		files_put(&files, "vm");
		file_put("vm", files.file[i].name, &header, sizeof(header));
		expect_refused(&model, "vm", EPROTO, files.file[i].name, 0, first - 1);
		if (i + 1 == files.n)
			expect_left_alone("vm", EPROTO);
	}
}
END_TEST

START_TEST(names_that_are_not_the_journals_are_left_alone_and_unfinished_segments_removed)
{
	struct journal_error error = { 0 };
	struct journal *journal;
	struct stat status;
	uint64_t n_cut;

	file_put("vm", "checkpoint", "x", 1);
	file_put("vm", "0000000000000fff.journal.new", "x", 1);
	file_put("vm", "0000000000000fff.journal.new2", "x", 1);
	expect_journal(&model, "vm");
	ck_assert_int_eq(journal_reopen(scratch_fd, "vm", options, &journal, &n_cut, &error), 0);
	journal_free(journal);
	expect_journal(&model, "vm");
	ck_assert_int_eq(fstatat(scratch_fd, "vm/checkpoint", &status, 0), 0);
	ck_assert_int_eq(fstatat(scratch_fd, "vm/0000000000000fff.journal.new2", &status, 0), 0);
	ck_assert_int_lt(fstatat(scratch_fd, "vm/0000000000000fff.journal.new", &status, 0), 0);
}
END_TEST

static const char *const odd_names[] = { "fff.journal", "0000000000000FFF.journal",
					 "0000000000000000.journal", ".journal",
					 "copy of 0000000000000001.journal" };

START_TEST(a_name_that_is_nearly_a_segments_is_refused)
{
	file_put("vm", odd_names[_i], "x", 1);
	expect_refused(&model, "vm", EBADMSG, odd_names[_i], 0, 0);
	expect_left_alone("vm", EBADMSG);
}
END_TEST

/* ---- Owner, mode and kind ------------------------------------------------------------------- */

START_TEST(a_segment_that_others_may_touch_is_refused)
{
	for (mode_t bit = 1; bit < 0100; bit <<= 1)
		for (size_t i = 0; i < files.n; i++) {
			uint64_t first;
			char path[128];

			ck_assert_int_eq(sscanf(files.file[i].name, "%" SCNx64, &first), 1);
			snprintf(path, sizeof(path), "vm/%s", files.file[i].name);
			ck_assert_int_eq(fchmodat(scratch_fd, path, 0600 | bit, 0), 0);
			expect_refused(&model, "vm", EPERM, files.file[i].name, 0, first - 1);
			expect_left_alone("vm", EPERM);
			ck_assert_int_eq(fchmodat(scratch_fd, path, 0600, 0), 0);
		}
	expect_journal(&model, "vm");
}
END_TEST

START_TEST(a_directory_that_others_may_enter_is_refused)
{
	for (mode_t bit = 1; bit < 0100; bit <<= 1) {
		ck_assert_int_eq(fchmodat(scratch_fd, "vm", 0700 | bit, 0), 0);
		expect_refused(&model, "vm", EPERM, "", 0, 0);
		expect_left_alone("vm", EPERM);
	}
}
END_TEST

START_TEST(a_directory_of_another_user_is_refused)
{
	struct journal_position position = { 0 };
	struct journal_error error = { 0 };
	struct journal_reader *reader;
	int root_fd;

	if (geteuid() == 0) { /* who else may give it away */
		ck_assert_int_eq(fchownat(scratch_fd, "vm", 1, -1, 0), 0);
		expect_refused(&model, "vm", EPERM, "", 0, 0);
		expect_left_alone("vm", EPERM);
		return;
	}
	root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(journal_reader_open(root_fd, "usr", position, &reader, &error), -EPERM);
	ck_assert_str_eq(error.file, "");
	close(root_fd);
}
END_TEST

/* As root only: nobody else can have such a file in a directory of his own. */
START_TEST(a_segment_of_another_user_is_refused)
{
	for (size_t i = 0; i < files.n; i++) {
		uint64_t first;
		char path[128];

		ck_assert_int_eq(sscanf(files.file[i].name, "%" SCNx64, &first), 1);
		snprintf(path, sizeof(path), "vm/%s", files.file[i].name);
		ck_assert_int_eq(fchownat(scratch_fd, path, 1, -1, 0), 0);
		expect_refused(&model, "vm", EPERM, files.file[i].name, 0, first - 1);
		expect_left_alone("vm", EPERM);
		ck_assert_int_eq(fchownat(scratch_fd, path, 0, -1, 0), 0);
	}
}
END_TEST

/* What is put in a segment's place. */
static void put_symlink(const char *path)
{
	ck_assert_int_eq(symlinkat("elsewhere", scratch_fd, path), 0);
}

static void put_fifo(const char *path)
{
	ck_assert_int_eq(mkfifoat(scratch_fd, path, 0600), 0);
}

static void put_directory(const char *path)
{
	ck_assert_int_eq(mkdirat(scratch_fd, path, 0700), 0);
}

static void put_second_name(const char *path)
{
	ck_assert_int_eq(linkat(scratch_fd, "vm/elsewhere", scratch_fd, path, 0), 0);
}

static void (*const put_odd[])(const char *path) = { put_symlink, put_fifo, put_directory,
						     put_second_name };

START_TEST(a_link_a_fifo_or_a_directory_in_a_segments_place_is_refused)
{
	for (size_t i = 0; i < files.n; i++) {
		struct journal_error error = { 0 };
		uint64_t first, n_cut;
		struct journal *journal;
		char path[128];

		ck_assert_int_eq(sscanf(files.file[i].name, "%" SCNx64, &first), 1);
		snprintf(path, sizeof(path), "vm/%s", files.file[i].name);
		ck_assert_int_eq(renameat(scratch_fd, path, scratch_fd, "vm/elsewhere"), 0);
		put_odd[_i](path);
		expect_refused(&model, "vm", EPERM, files.file[i].name, 0, first - 1);
		ck_assert_int_eq(
			journal_reopen(scratch_fd, "vm", options, &journal, &n_cut, &error),
			-EPERM);
		ck_assert(unlinkat(scratch_fd, path, 0) == 0 ||
			  unlinkat(scratch_fd, path, AT_REMOVEDIR) == 0);
		ck_assert_int_eq(renameat(scratch_fd, "vm/elsewhere", scratch_fd, path), 0);
		expect_journal(&model, "vm");
	}
}
END_TEST

START_TEST(what_is_no_directory_or_no_plain_name_is_refused)
{
	static const char *const names[] = { "",           ".",    "..",   "vm/", "vm/..",
					     "../journal", "link", "file", "none" };
	static const int errors[] = { EINVAL, EINVAL,  EINVAL,  EINVAL, EINVAL,
				      EINVAL, ENOTDIR, ENOTDIR, ENOENT };
	struct journal_reader *reader;

	ck_assert_int_eq(symlinkat("vm", scratch_fd, "link"), 0);
	close(openat(scratch_fd, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	for (size_t i = 0; i < N(names); i++) {
		struct journal_error error = { 0 };
		int r = journal_reader_open(scratch_fd, names[i], (struct journal_position){ 0 },
					    &reader, &error);

		ck_assert_msg(r == -errors[i] && error.error == errors[i], "'%s': %d", names[i], r);
		ck_assert_uint_gt(strlen(error.text), 0);
	}
}
END_TEST

START_TEST(a_directory_without_a_segment_never_was_a_journal)
{
	ck_assert_int_eq(mkdirat(scratch_fd, "empty", 0700), 0);
	expect_refused(&model, "empty", ENODATA, "", 0, 0);
	expect_left_alone("empty", ENODATA);
	file_put("empty", "0000000000000001.journal.new", files.file[0].bytes, 64);
	expect_refused(&model, "empty", ENODATA, "", 0, 0);
	expect_left_alone("empty", ENODATA);
}
END_TEST

int main(void)
{
	TCase *names = tcase_create("names");
	TCase *owners = tcase_create("owners");
	TCase *cases[] = { names, owners, NULL };

	for (TCase **tcase = cases; *tcase; tcase++)
		tcase_add_checked_fixture(*tcase, begin, end);
	tcase_add_test(names, a_segment_that_is_missing_before_the_last_one_is_refused);
	tcase_add_test(names, a_segment_under_another_name_is_refused);
	tcase_add_test(names, a_segment_copied_to_another_name_is_refused);
	tcase_add_test(names, a_newer_format_is_told_from_damage);
	tcase_add_test(
		names,
		names_that_are_not_the_journals_are_left_alone_and_unfinished_segments_removed);
	tcase_add_loop_test(names, a_name_that_is_nearly_a_segments_is_refused, 0, N(odd_names));
	tcase_add_test(owners, a_segment_that_others_may_touch_is_refused);
	tcase_add_test(owners, a_directory_that_others_may_enter_is_refused);
	tcase_add_test(owners, a_directory_of_another_user_is_refused);
	if (geteuid() == 0)
		tcase_add_test(owners, a_segment_of_another_user_is_refused);
	tcase_add_loop_test(owners, a_link_a_fifo_or_a_directory_in_a_segments_place_is_refused, 0,
			    N(put_odd));
	tcase_add_test(owners, what_is_no_directory_or_no_plain_name_is_refused);
	tcase_add_test(owners, a_directory_without_a_segment_never_was_a_journal);
	return seeded_suite_run("journal-files", cases);
}
