/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whatever is done to a small journal is found, with the file that it was done to; and how far the
 * rest of it is read all the same.
 */
#include "tests/unit/verify-checks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPOILT "spoilt.0123456789abcdef"

static bool is_named(const struct file *file, const char *suffix)
{
	return strlen(file->name) > strlen(suffix) &&
	       !strcmp(file->name + strlen(file->name) - strlen(suffix), suffix);
}

/* The i-th file of a kind, from the end if i is negative. */
static struct file *file_of(struct files *files, const char *suffix, int i)
{
	struct file *found[MAX_FILES];
	int n = 0;

	for (size_t j = 0; j < files->n; j++)
		if (is_named(&files->file[j], suffix))
			found[n++] = &files->file[j];
	i = i < 0 ? n + i : i;
	ck_assert_int_ge(i, 0);
	ck_assert_int_lt(i, n);
	return found[i];
}

static void remove_file(struct files *files, const struct file *file)
{
	size_t i = (size_t)(file - files->file);

	free(files->file[i].bytes);
	memmove(&files->file[i], &files->file[i + 1], (--files->n - i) * sizeof(files->file[0]));
}

static void put(const struct files *files)
{
	scratch_clear(SPOILT);
	files_put(files, SPOILT);
}

START_TEST(every_byte_that_is_another_one_is_damage_in_its_file)
{
	struct files files;

	past_begin(seeded_suite_random(_i), 3, false);
	past_checkpoint();
	past_go_on(2);
	past_checkpoint();
	past_go_on(2);
	files = files_take(PAST_NAME);
	for (size_t i = 0; i < files.n; i++) {
		struct file *file = &files.file[i];

		for (size_t j = 0; j < file->size; j++) {
			file->bytes[j] ^= (uint8_t)(1 << (i + j) % 8);
			put(&files);
			verify_now(SPOILT);
			ck_assert_msg(report.n_problems, "%s, byte %zu", file->name, j);
			expect_problem(file->name, "");
			file->bytes[j] ^= (uint8_t)(1 << (i + j) % 8);
		}
	}
	files_destroy(&files);
}
END_TEST

START_TEST(a_journal_that_is_cut_in_its_last_write_is_torn_and_whole)
{
	const struct story_record *last;
	struct files files;
	struct file *file;
	size_t n_cut;

	past_begin(seeded_suite_random(_i), 20, false);
	/* behind the last checkpoint, which is made of what is there */
	story_go_on(&past.story);
	story_write(&past.story, past.journal);
	last = &past.story.records[past.story.n_records - 1];
	files = files_take(PAST_NAME);
	file = file_of(&files, ".journal", -1);
	for (n_cut = 1; n_cut < journal_record_size(last->header.size); n_cut++) {
		file->size--;
		put(&files);
		verify_now(SPOILT);
		expect_whole();
		ck_assert(report.is_torn);
		ck_assert_str_eq(report.torn.file, file->name);
		ck_assert_uint_lt(report.last_number, past.story.n_records);
	}
	files_destroy(&files);
}
END_TEST

START_TEST(a_segment_that_is_missing_is_damage)
{
	uint64_t n_lost = 0;

	past_begin(seeded_suite_random(_i), 80, false);
	ck_assert_uint_gt(journal_status(past.journal).n_segments, 3);
	for (int i = 1; i < (int)journal_status(past.journal).n_segments - 1; i++) {
		struct files files = files_take(PAST_NAME);

		remove_file(&files, file_of(&files, ".journal", i));
		put(&files);
		verify_now(SPOILT);
		ck_assert_uint_gt(report.n_problems, 0);
		n_lost += report.last_number < past.story.n_records;
		files_destroy(&files);
	}
	ck_assert_uint_le(n_lost, journal_status(past.journal).n_segments);
}
END_TEST

/* The number that a file's name begins with. */
static uint64_t number_of(const struct file *file)
{
	return strtoull(file->name, NULL, 16);
}

static int count(const struct files *files, const char *suffix)
{
	int n = 0;

	for (size_t i = 0; i < files->n; i++)
		n += is_named(&files->file[i], suffix);
	return n;
}

/* The first record of the segment that a record is in, or will be. */
static uint64_t segment_with(struct files *files, uint64_t number)
{
	uint64_t first = 0;

	for (int i = 0; i < count(files, ".journal"); i++)
		if (number_of(file_of(files, ".journal", i)) <= number)
			first = number_of(file_of(files, ".journal", i));
	return first;
}

/*
 * The records up to n_good are good, then a segment is damaged: reading goes on behind the first
 * later checkpoint whose next record is in a later segment.  is_left_out: not behind this one.
 */
static void expect_resumed(struct files *files, uint64_t n_good, uint64_t damaged,
			   uint64_t is_left_out)
{
	uint64_t resumed_at = 0, n_all = past.story.n_records, first, n_read = n_good;

	for (int i = 0; i < count(files, ".checkpoint") && !resumed_at; i++) {
		uint64_t number = number_of(file_of(files, ".checkpoint", i));

		if (number > n_good && number != is_left_out &&
		    segment_with(files, number + 1) > damaged)
			resumed_at = number + 1;
	}
	first = resumed_at ? resumed_at : n_all + 1;
	n_read += n_all - first + 1;
	ck_assert_uint_eq(report.resumed_at, resumed_at);
	ck_assert_uint_eq(report.n_records, n_read);
	ck_assert_uint_eq(report.last_number, first <= n_all ? n_all : n_good);
	if (first <= n_all)
		ck_assert_uint_le(report.last_commit, past.story.commit);
}

START_TEST(the_log_goes_on_behind_damage_where_a_checkpoint_does_not_need_it)
{
	struct files files;
	unsigned int n_resumed = 0;

	past_begin(seeded_suite_random(_i), 90, false);
	past_checkpoint();
	past_go_on(25);
	files = files_take(PAST_NAME);
	for (int i = 0; i < count(&files, ".journal"); i++) {
		struct file *file = file_of(&files, ".journal", i);
		uint64_t first = number_of(file), end = past.story.n_records + 1;
		/* its header, then its last record */
		const size_t places[] = { 5, file->size - 9 };

		if (i + 1 < count(&files, ".journal"))
			end = number_of(file_of(&files, ".journal", i + 1));
		for (size_t j = 0; j < N(places); j++) {
			file->bytes[places[j]] ^= 1;
			put(&files);
			verify_now(SPOILT);
			ck_assert_uint_eq(report.n_problems, 1);
			expect_problem(file->name, "");
			expect_resumed(&files, j ? end - 2 : first - 1, first, 0);
			n_resumed += report.resumed_at > 0;
			file->bytes[places[j]] ^= 1;
		}
	}
	ck_assert_uint_gt(n_resumed, 0);
	files_destroy(&files);
}
END_TEST

START_TEST(behind_damage_a_checkpoint_that_is_damaged_as_well_is_passed_over)
{
	struct files files;
	struct file *first, *checkpoint = NULL;
	uint64_t passed_over;

	past_begin(seeded_suite_random(_i), 60, false);
	past_checkpoint();
	past_go_on(20);
	past_checkpoint();
	past_go_on(20);
	files = files_take(PAST_NAME);
	first = file_of(&files, ".journal", 0);
	first->bytes[first->size - 9] ^= 1;
	put(&files);
	verify_now(SPOILT);
	passed_over = report.resumed_at - 1;
	for (int i = 0; i < count(&files, ".checkpoint"); i++)
		if (number_of(file_of(&files, ".checkpoint", i)) == passed_over)
			checkpoint = file_of(&files, ".checkpoint", i);
	ck_assert_ptr_nonnull(checkpoint);
	checkpoint->bytes[checkpoint->size / 2] ^= 1;
	put(&files);
	verify_now(SPOILT);
	ck_assert_uint_eq(report.n_problems, 2);
	expect_problem(first->name, "");
	expect_problem(checkpoint->name, "");
	expect_resumed(&files, number_of(file_of(&files, ".journal", 1)) - 2, 1, passed_over);
	files_destroy(&files);
}
END_TEST

START_TEST(where_several_segments_cannot_be_begun_each_is_told)
{
	struct files files;
	struct file *first, *second;
	int n;

	past_begin(seeded_suite_random(_i), 90, false);
	past_checkpoint();
	past_go_on(25);
	files = files_take(PAST_NAME);
	first = file_of(&files, ".journal", 0);
	second = file_of(&files, ".journal", 1);
	first->bytes[5] ^= 1;
	second->bytes[5] ^= 1;
	put(&files);
	verify_now(SPOILT);
	ck_assert_uint_eq(report.n_problems, 2);
	expect_problem(first->name, "");
	expect_problem(second->name, "");
	expect_resumed(&files, 0, number_of(second), 0);
	/* without a checkpoint, nothing can be read */
	for (n = count(&files, ".checkpoint"); n; n--)
		remove_file(&files, file_of(&files, ".checkpoint", 0));
	put(&files);
	verify_now(SPOILT);
	ck_assert_uint_eq(report.n_problems, 2);
	ck_assert_uint_eq(report.resumed_at, 0);
	ck_assert_uint_eq(report.n_records, 0);
	/* nor if there is no segment that can be begun */
	for (n = 2; n < count(&files, ".journal"); n++)
		file_of(&files, ".journal", n)->bytes[5] ^= 1;
	put(&files);
	verify_now(SPOILT);
	ck_assert_uint_eq(report.n_problems, (uint64_t)n);
	ck_assert_uint_eq(report.n_records, 0);
	files_destroy(&files);
}
END_TEST

START_TEST(a_log_without_its_start_needs_a_checkpoint)
{
	struct files files;

	past_begin(seeded_suite_random(_i), 60, true);
	files = files_take(PAST_NAME);
	while (past.n_checkpoints--)
		remove_file(&files, file_of(&files, ".checkpoint", 0));
	put(&files);
	verify_now(SPOILT);
	expect_problem(file_of(&files, ".journal", 0)->name, "no good checkpoint to begin with");
	files_destroy(&files);
}
END_TEST

START_TEST(a_checkpoint_that_is_not_needed_may_be_missing)
{
	struct files files;

	past_begin(seeded_suite_random(_i), 30, false);
	past_checkpoint();
	files = files_take(PAST_NAME);
	remove_file(&files, file_of(&files, ".checkpoint", 0));
	put(&files);
	verify_now(SPOILT);
	expect_whole();
	ck_assert_uint_eq(report.n_compared, past.n_checkpoints - 1);
	files_destroy(&files);
}
END_TEST

START_TEST(a_log_that_ends_before_its_checkpoint_has_lost_records)
{
	struct files files;
	char name[64];

	past_begin(seeded_suite_random(_i), 60, false);
	past_checkpoint();
	snprintf(name, sizeof(name), "%016llx.checkpoint",
		 (unsigned long long)past.checkpoints[past.n_checkpoints - 1]);
	files = files_take(PAST_NAME);
	remove_file(&files, file_of(&files, ".journal", -1));
	put(&files);
	verify_now(SPOILT);
	expect_problem(name, "records are missing from the end");
	files_destroy(&files);
}
END_TEST

START_TEST(a_checkpoint_of_another_journal_is_damage)
{
	struct files files, others;
	struct file *file;

	past_begin(seeded_suite_random(_i), 20, false);
	past_checkpoint();
	files = files_take(PAST_NAME);
	others = files_take(PAST_NAME);
	file = file_of(&files, ".checkpoint", -1);
	/* the identity, and the header's checksum is not looked at in vain */
	file->bytes[20] ^= 0xff;
	put(&files);
	verify_now(SPOILT);
	expect_problem(file->name, "");
	files_destroy(&files);
	files_destroy(&others);
}
END_TEST

int main(void)
{
	TCase *spoilt = tcase_create("spoilt");

	tcase_add_checked_fixture(spoilt, verify_start, verify_stop);
	tcase_add_test(spoilt, every_byte_that_is_another_one_is_damage_in_its_file);
	tcase_add_loop_test(spoilt, a_journal_that_is_cut_in_its_last_write_is_torn_and_whole, 0,
			    3);
	tcase_add_loop_test(spoilt, a_segment_that_is_missing_is_damage, 0, 3);
	tcase_add_loop_test(
		spoilt, the_log_goes_on_behind_damage_where_a_checkpoint_does_not_need_it, 0, 4);
	tcase_add_loop_test(
		spoilt, behind_damage_a_checkpoint_that_is_damaged_as_well_is_passed_over, 0, 3);
	tcase_add_loop_test(spoilt, where_several_segments_cannot_be_begun_each_is_told, 0, 2);
	tcase_add_loop_test(spoilt, a_log_without_its_start_needs_a_checkpoint, 0, 2);
	tcase_add_loop_test(spoilt, a_checkpoint_that_is_not_needed_may_be_missing, 0, 2);
	tcase_add_loop_test(spoilt, a_log_that_ends_before_its_checkpoint_has_lost_records, 0, 3);
	tcase_add_test(spoilt, a_checkpoint_of_another_journal_is_damage);
	return seeded_suite_run("verify-damage", (TCase *const[]){ spoilt, NULL });
}
