/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Journals replayed from their files, with checkpoints and without: always what a straight replay
 * of the story's records comes to; and what is said where the files do not hold it, or not any
 * more, or not whole.
 */
#include "daemon/journal/directory.h"
#include "tests/unit/journal-checks.h"
#include "tests/unit/told-journal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- What comes of it ------------------------------------------------------------------------ */

START_TEST(a_replay_of_all_is_what_was_told_and_begins_with_the_newest_checkpoint)
{
	told_make_journal(seeded_suite_random(_i), (unsigned int)_i % 4);
	told_must(told_replay_all());
	story_expect(&told.story, &told.replay, true);
	ck_assert_uint_eq(told.report.checkpoint, told_best_for(UINT64_MAX));
	ck_assert_uint_eq(told.report.n_records, told.story.n_records - told.report.checkpoint);
	ck_assert_mem_eq(&told.report.identity, &some_identity, sizeof(some_identity));
	ck_assert(!told.report.is_torn);
	ck_assert_int_eq(told.report.passed_over.error, 0);
}
END_TEST

START_TEST(a_replay_to_any_record_is_what_a_straight_one_comes_to)
{
	told_make_journal(seeded_suite_random(_i), 2);
	for (uint64_t number = 1; number <= told.story.n_records; number++) {
		told_must(told_replay_to(REPLAY_TO_NUMBER, number));
		ck_assert_uint_eq(told.replay.number, number);
		ck_assert_uint_eq(told.report.checkpoint, told_best_for(number));
		told_expect_straight(false);
	}
}
END_TEST

START_TEST(a_replay_to_any_commit_is_the_policy_as_of_it)
{
	unsigned int n_from_checkpoint = 0;
	uint64_t first_kept;

	told_begin_journal(seeded_suite_random(_i));
	first_kept = told.story.commit + 1; /* behind the registration's */
	for (unsigned int i = 0; i < 3; i++) {
		told_go_on(20);
		told_make_checkpoint();
	}
	told_go_on(20);
	for (uint64_t commit = 1; commit <= told.story.commit; commit++) {
		told_must(told_replay_to(REPLAY_TO_COMMIT, commit));
		ck_assert_uint_eq(told.replay.commit, commit);
		if (commit >= first_kept)
			oracle_expect_same(story_at(&told.story, commit), told.replay.policy);
		told_expect_straight(false);
		n_from_checkpoint += told.report.checkpoint > 0;
	}
	ck_assert_uint_gt(told.story.commit, first_kept + 10);
	ck_assert_uint_gt(n_from_checkpoint, 10);
}
END_TEST

START_TEST(what_is_not_there_yet_or_not_any_more_is_out_of_range)
{
	told_make_journal(seeded_suite_random(_i), 3);
	told_expect_refused_with(told_replay_to(REPLAY_TO_COMMIT, 0), ERANGE, "from 1 on");
	told_expect_refused_with(told_replay_to(REPLAY_TO_NUMBER, 0), ERANGE, "from 1 on");
	told_expect_refused_with(told_replay_to(REPLAY_TO_COMMIT, told.story.commit + 1), ERANGE,
				 "there is no commit");
	told_expect_refused_with(told_replay_to(REPLAY_TO_NUMBER, told.story.n_records + 1), ERANGE,
				 "yet");
	told_expect_refused_with(told_replay_to(REPLAY_TO_NUMBER, UINT64_MAX), ERANGE, "yet");
	told_retire_one();
	told_retire_one();
	told_must(told_replay_to(REPLAY_TO_NUMBER, told.checkpoints[0].number));
	told_must(told_replay_to(REPLAY_TO_COMMIT, told.checkpoints[0].commit));
	told_expect_refused_with(told_replay_to(REPLAY_TO_NUMBER, told.checkpoints[0].number - 1),
				 ERANGE, "not in the journal any more");
	told_expect_refused_with(told_replay_to(REPLAY_TO_COMMIT, told.checkpoints[0].commit - 1),
				 ERANGE, "not in the journal any more");
	told_must(told_replay_all());
	story_expect(&told.story, &told.replay, true);
}
END_TEST

/* ---- Who watches ----------------------------------------------------------------------------- */

START_TEST(from_the_start_is_from_the_first_record_or_from_the_oldest_checkpoint)
{
	static struct told_watch watch;

	told_make_journal(seeded_suite_random(_i), 3);
	told_must(told_replay_from_start(&watch));
	ck_assert_uint_eq(told.report.checkpoint, 0);
	ck_assert_uint_eq(watch.n_begun, 1);
	told_expect_all_seen(&watch);
	story_expect(&told.story, &told.replay, true);
	while (told.n_checkpoints > 1) {
		told_retire_one();
		told_must(told_replay_from_start(&watch));
		ck_assert_uint_eq(told.report.checkpoint,
				  journal_status(told.journal).first_number == 1
					  ? 0
					  : told.checkpoints[0].number);
		ck_assert_uint_eq(watch.n_begun, 1);
		told_expect_all_seen(&watch);
		story_expect(&told.story, &told.replay, true);
	}
}
END_TEST

static unsigned int n_asked, ask_limit;

static bool has_enough(void *context)
{
	(void)context;
	return ++n_asked > ask_limit;
}

START_TEST(whenever_nobody_waits_any_more_it_ends)
{
	unsigned int n_cancelled = 0;
	int r = -1;

	told_make_journal(seeded_suite_random(_i), 1);
	for (ask_limit = 0; r < 0; ask_limit++) {
		n_asked = 0;
		r = told_replay_it(
			(struct replay_request){ .limit = REPLAY_ALL, .is_cancelled = has_enough });
		if (r < 0) {
			ck_assert_int_eq(r, -ECANCELED);
			ck_assert_uint_eq(n_asked, ask_limit + 1);
			n_cancelled++;
		}
	}
	story_expect(&told.story, &told.replay, true);
	ck_assert_uint_gt(n_cancelled, 4);
}
END_TEST

/* ---- Damage ---------------------------------------------------------------------------------- */

START_TEST(behind_a_damaged_checkpoint_an_older_one_is_taken_and_it_is_said)
{
	char name[CHECKPOINT_NAME_LEN + 1];

	told_make_journal(seeded_suite_random(_i), 3);
	told_checkpoint_file(2, name);
	for (size_t n_spoilt = 1; n_spoilt <= 3; n_spoilt++) {
		told_spoil(3 - n_spoilt);
		told_must(told_replay_all());
		story_expect(&told.story, &told.replay, true);
		ck_assert_uint_eq(told.report.checkpoint,
				  n_spoilt < 3 ? told.checkpoints[2 - n_spoilt].number : 0);
		ck_assert_int_eq(told.report.passed_over.error, EBADMSG);
		ck_assert_str_eq(told.report.passed_over.file, name);
		ck_assert_uint_gt(strlen(told.report.passed_over.text), 10);
	}
}
END_TEST

START_TEST(a_damaged_checkpoint_that_nothing_stands_in_for_is_refused)
{
	char name[CHECKPOINT_NAME_LEN + 1];

	told_make_journal(seeded_suite_random(_i), 3);
	while (told.n_checkpoints > 1)
		told_retire_one();
	while (journal_status(told.journal).first_number == 1) { /* it all fitted one segment */
		told_make_checkpoint();
		told_go_on(10);
		told_retire_one();
	}
	told_spoil(0);
	told_checkpoint_file(0, name);
	told_expect_refused_with(told_replay_all(), EBADMSG, "does not");
	ck_assert_str_eq(told.error.file, name);
	told_expect_refused_with(told_replay_it((struct replay_request){ .is_from_start = true }),
				 EBADMSG, "does not");
	ck_assert_str_eq(told.error.file, name);
}
END_TEST

START_TEST(where_the_log_behind_an_older_checkpoint_is_damaged_too_the_newer_one_is_blamed)
{
	char name[CHECKPOINT_NAME_LEN + 1], segment[JOURNAL_SEGMENT_NAME_LEN + 1];
	struct files files;
	struct file *middle;

	told_begin_journal(seeded_suite_random(_i));
	told_go_on(30);
	told_make_checkpoint();
	ck_assert_int_eq(journal_renew(told.journal), 0);
	told_go_on(60);
	told_make_checkpoint();
	ck_assert_int_eq(journal_renew(told.journal), 0);
	told_go_on(60);
	/* the last byte of the segment that ends with the newer one */
	files = files_take("vm");
	journal_segment_name(told.checkpoints[1].number + 1, segment);
	for (middle = files.file; strcmp(middle->name, segment) != 0;)
		middle++;
	do
		middle--;
	while (!strstr(middle->name, ".journal"));
	middle->bytes[middle->size - 9] ^= 1;
	file_put("vm", middle->name, middle->bytes, middle->size);
	told_must(told_replay_all()); /* which does not look there */
	told_spoil(1);
	told_checkpoint_file(1, name);
	told_expect_refused_with(told_replay_all(), EBADMSG, "does not begin as a checkpoint does");
	ck_assert_str_eq(told.error.file, name);
	files_destroy(&files);
}
END_TEST

START_TEST(a_log_that_begins_behind_the_checkpoint_has_a_gap)
{
	told_make_journal(seeded_suite_random(_i), 1);
	told_go_on(60);
	ck_assert_int_eq(journal_retire(told.journal, UINT64_MAX), 0);
	ck_assert_uint_gt(journal_status(told.journal).first_number,
			  told.checkpoints[0].number + 1);
	told_expect_refused_with(told_replay_all(), EBADMSG, "those between are missing");
	told_expect_refused_with(told_replay_it((struct replay_request){ .is_from_start = true }),
				 EBADMSG, "those between are missing");
	ck_assert_int_eq(checkpoint_remove(told.folder_fd, told.checkpoints[0].number), 0);
	told_expect_refused_with(told_replay_all(), EBADMSG, "no checkpoint before it");
}
END_TEST

START_TEST(a_log_that_ends_before_a_checkpoint_is_refused)
{
	const struct replay_request from_start = { .is_from_start = true };
	struct files before, now;

	told_begin_journal(seeded_suite_random(_i));
	told_go_on(40);
	told_make_checkpoint();
	before = files_take("vm");
	told_go_on(30);
	told_make_checkpoint();
	/* the segments as they were, with the later checkpoint */
	now = files_take("vm");
	for (size_t i = 0; i < now.n; i++)
		if (strstr(now.file[i].name, ".journal"))
			ck_assert_int_eq(unlinkat(told.folder_fd, now.file[i].name, 0), 0);
	for (size_t i = 0; i < before.n; i++)
		file_put("vm", before.file[i].name, before.file[i].bytes, before.file[i].size);
	told_expect_refused_with(told_replay_all(), EBADMSG, "records are missing");
	told_expect_refused_with(told_replay_it(from_start), EBADMSG, "records are missing");
	told_must(told_replay_to(REPLAY_TO_NUMBER, told.checkpoints[0].number));
	told_expect_straight(false);
	/* nor is the rest taken for all there is where that checkpoint is damaged */
	told_spoil(1);
	told_expect_refused_with(told_replay_all(), EBADMSG, "records are missing");
	files_destroy(&before);
	files_destroy(&now);
}
END_TEST

START_TEST(a_checkpoint_from_another_journal_is_refused)
{
	struct journal_identity other = some_identity;
	struct replay *straight;
	uint64_t size;

	told_make_journal(seeded_suite_random(_i), 2);
	other.life_id[3] ^= 1;
	straight = told_straight_to(told.checkpoints[1].number, NULL);
	ck_assert_int_eq(checkpoint_write(told.folder_fd, &other, straight, &size), 0);
	told_expect_refused_with(told_replay_all(), EBADMSG, "another journal");
	told_must(told_replay_to(REPLAY_TO_NUMBER, told.checkpoints[0].number + 1));
	told_free_replay(straight);
}
END_TEST

START_TEST(a_torn_last_write_is_told_and_left_out)
{
	struct files files;
	struct file *last;

	told_make_journal(seeded_suite_random(_i), (unsigned int)_i % 2);
	files = files_take("vm");
	last = &files.file[files.n - 1];
	while (!strstr(last->name, ".journal"))
		last--;
	file_put("vm", last->name, last->bytes, last->size - 1);
	told_must(told_replay_all());
	ck_assert(told.report.is_torn);
	ck_assert_str_eq(told.error.file, last->name);
	ck_assert_uint_gt(told.error.offset, 0);
	ck_assert_uint_lt(told.replay.number, told.story.n_records);
	told_expect_straight(true);
	told_expect_refused_with(told_replay_to(REPLAY_TO_NUMBER, told.story.n_records), ERANGE,
				 "yet");
	files_destroy(&files);
}
END_TEST

START_TEST(a_journal_of_nothing_has_no_data)
{
	const struct replay_request from_start = { .is_from_start = true };
	struct files files;

	told_begin_journal(seeded_suite_random(_i));
	told_expect_refused_with(told_replay_all(), ENODATA, "nothing was recorded");
	told_expect_refused_with(told_replay_it(from_start), ENODATA, "nothing was recorded");
	told_expect_refused_with(told_replay_to(REPLAY_TO_NUMBER, 1), ENODATA,
				 "nothing was recorded");
	told_go_on(10);
	told_make_checkpoint();
	files = files_take("vm");
	for (size_t i = 0; i < files.n; i++)
		ck_assert_int_eq(unlinkat(told.folder_fd, files.file[i].name, 0), 0);
	told_expect_refused_with(told_replay_all(), ENODATA, "nothing was recorded");
	told_expect_refused_with(told_replay_it(from_start), ENODATA, "nothing was recorded");
	/* but a checkpoint alone is what is left of a journal */
	for (size_t i = 0; i < files.n; i++)
		if (strstr(files.file[i].name, ".checkpoint"))
			file_put("vm", files.file[i].name, files.file[i].bytes, files.file[i].size);
	told_expect_refused_with(told_replay_all(), EBADMSG, "records are missing");
	told_expect_refused_with(told_replay_it(from_start), EBADMSG, "records are missing");
	files_destroy(&files);
}
END_TEST

/* After a failed sync the daemon makes one from memory, and a segment behind it. */
START_TEST(what_lies_before_the_segment_that_a_checkpoint_ends_with_is_not_looked_at)
{
	struct files files;

	told_begin_journal(seeded_suite_random(_i));
	told_go_on(50);
	told_make_checkpoint();
	ck_assert_int_eq(journal_renew(told.journal), 0);
	files = files_take("vm");
	for (size_t i = 0; i < files.n; i++)
		if (strstr(files.file[i].name, ".journal") && files.file[i].size > 64)
			file_put("vm", files.file[i].name, "gone", 4);
	files_destroy(&files);
	told_must(told_replay_all()); /* with an empty segment behind it */
	ck_assert_uint_eq(told.report.n_records, 0);
	story_expect(&told.story, &told.replay, true);
	told_go_on(20);
	told_must(told_replay_all());
	story_expect(&told.story, &told.replay, true);
}
END_TEST

START_TEST(maps_that_need_more_than_they_may_are_refused_from_the_log_and_from_a_checkpoint)
{
	for (unsigned int n = 0; n < 2; n++) {
		const struct replay_request request = { .limit = REPLAY_ALL };

		if (n)
			told_make_checkpoint();
		else
			told_make_journal(seeded_suite_random(_i), 0);
		replay_destroy(&told.replay);
		replay_init(&told.replay);
		told.replay.max_map_bytes = 4096;
		ck_assert_int_eq(journal_replay(scratch_fd, "vm", &request, &told.replay,
						&told.report, &told.error),
				 -E2BIG);
	}
}
END_TEST

int main(void)
{
	TCase *equal = told_make_case("equal");
	TCase *damage = told_make_case("damage");

	tcase_add_loop_test(equal,
			    a_replay_of_all_is_what_was_told_and_begins_with_the_newest_checkpoint,
			    0, 16);
	tcase_add_loop_test(equal, a_replay_to_any_record_is_what_a_straight_one_comes_to, 0, 2);
	tcase_add_loop_test(equal, a_replay_to_any_commit_is_the_policy_as_of_it, 0, 2);
	tcase_add_loop_test(equal, what_is_not_there_yet_or_not_any_more_is_out_of_range, 0, 2);
	tcase_add_loop_test(
		equal, from_the_start_is_from_the_first_record_or_from_the_oldest_checkpoint, 0, 3);
	tcase_add_test(equal, whenever_nobody_waits_any_more_it_ends);
	tcase_add_loop_test(damage,
			    behind_a_damaged_checkpoint_an_older_one_is_taken_and_it_is_said, 0, 2);
	tcase_add_test(damage, a_damaged_checkpoint_that_nothing_stands_in_for_is_refused);
	tcase_add_test(
		damage,
		where_the_log_behind_an_older_checkpoint_is_damaged_too_the_newer_one_is_blamed);
	tcase_add_test(damage, a_log_that_begins_behind_the_checkpoint_has_a_gap);
	tcase_add_test(damage, a_log_that_ends_before_a_checkpoint_is_refused);
	tcase_add_test(damage, a_checkpoint_from_another_journal_is_refused);
	tcase_add_loop_test(damage, a_torn_last_write_is_told_and_left_out, 0, 4);
	tcase_add_test(damage, a_journal_of_nothing_has_no_data);
	tcase_add_test(damage,
		       what_lies_before_the_segment_that_a_checkpoint_ends_with_is_not_looked_at);
	tcase_add_test(
		damage,
		maps_that_need_more_than_they_may_are_refused_from_the_log_and_from_a_checkpoint);
	return seeded_suite_run("journal-replay", (TCase *[]){ equal, damage, NULL });
}
