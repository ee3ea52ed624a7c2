/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/past-checks.h"

#include "daemon/journal/checkpoint.h"
#include "daemon/journal/directory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEGMENT_SIZE 3000u

struct past_journal past;
struct past_source past_source;

void past_checkpoint(void)
{
	const struct replay_request request = { .limit = REPLAY_ALL };
	struct journal_error error = { 0 };
	struct replay_report report;
	struct replay replay;
	uint64_t size;

	story_settle(&past.story);
	story_write(&past.story, past.journal);
	replay_init(&replay);
	ck_assert_int_eq(journal_replay(scratch_fd, PAST_NAME, &request, &replay, &report, &error),
			 0);
	ck_assert_uint_eq(replay.number, replay.settled);
	ck_assert_int_eq(
		checkpoint_write(past.directory_fd, journal_identity(past.journal), &replay, &size),
		0);
	if (!past.n_checkpoints || past.checkpoints[past.n_checkpoints - 1] != replay.number) {
		ck_assert_uint_lt(past.n_checkpoints, N(past.checkpoints));
		past.checkpoints[past.n_checkpoints++] = replay.number;
	}
	replay_destroy(&replay);
}

void past_go_on(unsigned int n_writes)
{
	while (n_writes--) {
		story_go_on(&past.story);
		story_write(&past.story, past.journal);
		if (random_one_in(&past.story.random, 25))
			past_checkpoint();
	}
}

/* As the daemon retires: the oldest checkpoint first, then what only it needed. */
static void retire(void)
{
	struct checkpoint_name *names;
	struct journal_error error;
	uint64_t oldest;
	size_t n;

	past_checkpoint();
	oldest = past.checkpoints[past.n_checkpoints - 1];
	past_go_on(60);
	past_checkpoint();
	while (past.checkpoints[0] < oldest) {
		ck_assert_int_eq(checkpoint_remove(past.directory_fd, past.checkpoints[0]), 0);
		memmove(past.checkpoints, past.checkpoints + 1,
			--past.n_checkpoints * sizeof(past.checkpoints[0]));
	}
	ck_assert_int_eq(journal_retire(past.journal, past.checkpoints[0] + 1), 0);
	ck_assert_int_eq(checkpoint_list(past.directory_fd, &names, &n, &error), 0);
	ck_assert_uint_eq(n, past.n_checkpoints);
	if (journal_status(past.journal).first_number > 1) {
		past.first_commit = names[0].commit;
		if (past.first_kept < past.first_commit)
			past.first_kept = past.first_commit;
		past.first_number = names[0].number + 1;
	}
	free(names);
}

void past_begin(uint64_t random, unsigned int n_writes, bool retires)
{
	const struct journal_options options = { .segment_size = SEGMENT_SIZE };
	struct journal_error error;

	past = (struct past_journal){ .first_commit = 1, .first_number = 1 };
	story_begin(&past.story, random);
	past.first_kept = past.story.commit + 1;
	past.story.keeps_history = true;
	ck_assert_int_eq(
		journal_create(scratch_fd, PAST_NAME, &some_identity, options, &past.journal), 0);
	ck_assert_int_eq(journal_directory_open(scratch_fd, PAST_NAME, &past.directory_fd, &error),
			 0);
	story_write(&past.story, past.journal);
	past_go_on(n_writes);
	if (retires)
		retire();
	past_source = (struct past_source){ .parent_fd = scratch_fd, .name = PAST_NAME };
}

void past_end(void)
{
	if (!past.journal)
		return;
	journal_free(past.journal);
	close(past.directory_fd);
	story_end(&past.story);
	past = (struct past_journal){ 0 };
}

int oracle_view(const struct oracle *oracle, unsigned int vtl)
{
	for (unsigned int i = 0; i < oracle->n_views; i++)
		if (oracle->views[i].vtl == vtl)
			return (int)i;
	return -1;
}

uint8_t oracle_attributes(const struct oracle *oracle, int view, uint64_t gfn)
{
	if (gfn >= ORACLE_PAGES || !oracle->pages[gfn].is_ram)
		return PAST_NO_RAM;
	return oracle_effective(oracle, (unsigned int)view, gfn);
}
