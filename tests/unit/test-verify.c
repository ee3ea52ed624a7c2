/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is a journal whole?  Whole ones are, with the right numbers; and a checkpoint that is whole and
 * says something else than the log is found.  Damage is in test-verify-damage.c.
 */
#include "daemon/policy/policy.h"
#include "tests/unit/verify-checks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/* ---- Whole journals ------------------------------------------------------------------------ */

START_TEST(a_whole_journal_is_whole_and_its_numbers_are_right)
{
	const struct story *story = &past.story;
	uint64_t first;

	past_begin(seeded_suite_random(_i), 120, _i % 2);
	first = journal_status(past.journal).first_number;
	verify_now(PAST_NAME);
	expect_whole();
	ck_assert(!report.is_torn);
	ck_assert_str_eq(report.vm, "guest");
	ck_assert_mem_eq(&report.identity, &some_identity, sizeof(some_identity));
	ck_assert_uint_eq(report.n_segments, journal_status(past.journal).n_segments);
	ck_assert_uint_eq(report.first_number, first);
	ck_assert_uint_eq(report.last_number, story->n_records);
	ck_assert_uint_eq(report.n_records, story->n_records - first + 1);
	ck_assert_uint_eq(report.last_commit, story->commit);
	ck_assert_uint_eq(report.first_commit, first == 1 ? 1 : past.first_commit + 1);
	ck_assert_uint_eq(report.n_commits, report.last_commit - report.first_commit + 1);
	ck_assert_uint_eq(report.first_us, story->records[first - 1].header.time_us);
	ck_assert_uint_eq(report.last_us, story->records[story->n_records - 1].header.time_us);
	ck_assert_uint_eq(report.n_checkpoints, past.n_checkpoints);
	/* where the log reaches back: all but the one that it begins behind */
	ck_assert_uint_eq(report.n_compared, past.n_checkpoints - (first > 1));
	ck_assert(!report.is_released);
}
END_TEST

START_TEST(a_released_vms_journal_is_whole)
{
	past_begin(seeded_suite_random(_i), 30, false);
	story_release(&past.story);
	story_write(&past.story, past.journal);
	verify_now(PAST_NAME);
	expect_whole();
	ck_assert(report.is_released);
}
END_TEST

static uint64_t last_told, n_told, total_told;

static void take_progress(void *context, uint64_t n_bytes, uint64_t n_total)
{
	ck_assert_ptr_eq(context, &last_told);
	ck_assert_uint_ge(n_bytes, last_told);
	ck_assert_uint_le(n_bytes, n_total);
	last_told = n_bytes;
	total_told = n_total;
	n_told++;
}

START_TEST(progress_rises_to_the_whole)
{
	const struct verify_progress progress = { take_progress, &last_told };

	past_begin(seeded_suite_random(_i), 400, false);
	ck_assert_int_eq(verify_journal(scratch_fd, PAST_NAME, 0, &progress, &report, &error), 0);
	ck_assert_uint_gt(n_told, 1);
	ck_assert_uint_eq(last_told, total_told);
	ck_assert_uint_eq(total_told, report.n_bytes);
}
END_TEST

START_TEST(what_is_not_a_journal_or_not_ours_cannot_be_read)
{
	const struct journal_options options = { .segment_size = 4096 };
	struct journal *empty;

	ck_assert_int_eq(verify_journal(scratch_fd, "nothing", 0, NULL, &report, &error), -ENOENT);
	ck_assert_int_eq(journal_create(scratch_fd, "empty", &some_identity, options, &empty), 0);
	journal_free(empty);
	ck_assert_int_eq(verify_journal(scratch_fd, "empty", 0, NULL, &report, &error), -ENODATA);
	past_begin(seeded_suite_random(0), 5, false);
	ck_assert_int_eq(fchmodat(scratch_fd, PAST_NAME, 0770, 0), 0);
	ck_assert_int_eq(verify_journal(scratch_fd, PAST_NAME, 0, NULL, &report, &error), -EPERM);
	ck_assert_int_eq(fchmodat(scratch_fd, PAST_NAME, 0700, 0), 0);
}
END_TEST

START_TEST(maps_that_need_more_than_they_may_are_a_problem)
{
	past_begin(seeded_suite_random(0), 30, false);
	ck_assert_int_eq(verify_journal(scratch_fd, PAST_NAME, 1, NULL, &report, &error), 0);
	ck_assert_uint_gt(report.n_problems, 0);
}
END_TEST

/* ---- Checkpoints that are whole and wrong -------------------------------------------------- */

/* What the log says at its end, for a checkpoint to be made of it. */
static void replay_all(struct replay *replay)
{
	const struct replay_request request = { .limit = REPLAY_ALL };
	struct replay_report ignored;

	story_settle(&past.story);
	story_write(&past.story, past.journal);
	replay_init(replay);
	ck_assert_int_eq(journal_replay(scratch_fd, PAST_NAME, &request, replay, &ignored, &error),
			 0);
}

static void write_checkpoint(struct replay *replay)
{
	uint64_t size;

	ck_assert_int_eq(checkpoint_write(past.directory_fd, &some_identity, replay, &size), 0);
	replay_destroy(replay);
}

static char *name_of_checkpoint(uint64_t number)
{
	static char name[64];

	snprintf(name, sizeof(name), "%016llx.checkpoint", (unsigned long long)number);
	return name;
}

START_TEST(a_checkpoint_whose_policy_is_another_one_is_found)
{
	const struct policy_actor owner = { .is_owner = true };
	const struct policy_element element = { .kind = KVMATTR_ADD_RAM,
						.range = { ORACLE_PAGES + 100, 1 } };
	struct page_ranges touched = { 0 };
	struct policy_undo_log *undo = policy_undo_log_new();
	struct replay replay;
	uint64_t number;
	char text[256];

	past_begin(seeded_suite_random(_i), 20, false);
	replay_all(&replay);
	number = replay.number;
	ck_assert_int_eq(
		policy_apply(replay.policy, &owner, &element, undo, &touched, text, sizeof(text)),
		KVMATTR_OK);
	write_checkpoint(&replay);
	verify_now(PAST_NAME);
	expect_problem(name_of_checkpoint(number), "the policy differs");
	policy_undo_log_free(undo);
	page_ranges_destroy(&touched);
}
END_TEST

START_TEST(a_checkpoint_whose_sessions_are_others_is_found)
{
	struct replay replay;
	uint64_t number;

	past_begin(seeded_suite_random(_i), 20, false);
	replay_all(&replay);
	number = replay.number;
	replay.sessions[0].settled_seqno += 5;
	write_checkpoint(&replay);
	verify_now(PAST_NAME);
	expect_problem(name_of_checkpoint(number), "the sessions differs");
}
END_TEST

/* A daemon whose sync failed makes a checkpoint of what it knows, and begins a segment behind it. */
START_TEST(a_checkpoint_from_memory_may_know_of_fewer_doubtful_pages)
{
	struct replay replay;
	uint64_t number;

	past_begin(seeded_suite_random(_i), 20, false);
	do {
		past_go_on(1);
		replay_all(&replay);
		if (replay.doubtful.n)
			break;
		replay_destroy(&replay);
	} while (true);
	number = replay.number;
	page_ranges_clear(&replay.doubtful);
	write_checkpoint(&replay);
	verify_now(PAST_NAME);
	expect_problem(name_of_checkpoint(number), "not known what KVM holds");
	ck_assert_int_eq(journal_renew(past.journal), 0);
	past_go_on(10);
	verify_now(PAST_NAME);
	expect_whole();
}
END_TEST

int main(void)
{
	TCase *whole = tcase_create("whole"), *checkpoints = tcase_create("checkpoints");

	tcase_add_checked_fixture(whole, verify_start, verify_stop);
	tcase_add_loop_test(whole, a_whole_journal_is_whole_and_its_numbers_are_right, 0, 8);
	tcase_add_test(whole, a_released_vms_journal_is_whole);
	tcase_add_test(whole, progress_rises_to_the_whole);
	tcase_add_test(whole, what_is_not_a_journal_or_not_ours_cannot_be_read);
	tcase_add_test(whole, maps_that_need_more_than_they_may_are_a_problem);
	tcase_add_checked_fixture(checkpoints, verify_start, verify_stop);
	tcase_add_loop_test(checkpoints, a_checkpoint_whose_policy_is_another_one_is_found, 0, 2);
	tcase_add_loop_test(checkpoints, a_checkpoint_whose_sessions_are_others_is_found, 0, 2);
	tcase_add_loop_test(checkpoints, a_checkpoint_from_memory_may_know_of_fewer_doubtful_pages,
			    0, 2);
	return seeded_suite_run("verify", (TCase *const[]){ whole, checkpoints, NULL });
}
