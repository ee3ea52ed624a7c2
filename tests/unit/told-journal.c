/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/told-journal.h"

#include "daemon/allocate.h"
#include "daemon/journal/checkpoint-body.h"
#include "daemon/journal/io.h"
#include "tests/unit/journal-checks.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct told told = { .folder_fd = -1 };
static struct journal_io real_io;

static int no_fsync(int fd)
{
	(void)fd;
	return 0;
}

static void begin(void)
{
	journal_io.fsync = no_fsync; /* the disk is not what is tested */
	real_io = journal_io;
	scratch_make();
}

static void forget(void)
{
	replay_destroy(&told.replay);
	story_end(&told.story);
	journal_free(told.journal);
	if (told.folder_fd >= 0)
		close(told.folder_fd);
	memset(&told, 0, sizeof(told));
	told.folder_fd = -1;
}

static void end(void)
{
	journal_io = real_io;
	forget();
	scratch_remove();
}

TCase *told_make_case(const char *name)
{
	TCase *tests = tcase_create(name);

	tcase_add_checked_fixture(tests, begin, end);
	return tests;
}

/* ---- A journal with checkpoints -------------------------------------------------------------- */

void told_go_on(unsigned int n_writes)
{
	while (n_writes--)
		story_go_on(&told.story);
	story_write(&told.story, told.journal);
}

struct replay *told_straight_to(uint64_t number, const struct replay_observer *observer)
{
	struct replay *straight = allocate_one(struct replay);

	replay_init(straight);
	if (observer)
		straight->observer = *observer;
	for (uint64_t i = 0; i < number; i++) {
		struct journal_record record = story_record(&told.story, i);
		struct journal_error why;

		ck_assert_int_eq(replay_take(straight, &record, &why), 0);
	}
	if (!straight->batch)
		replay_end(straight);
	return straight;
}

void told_free_replay(struct replay *straight)
{
	replay_destroy(straight);
	free(straight);
}

void told_make_checkpoint(void)
{
	struct replay *straight;
	uint64_t size;

	story_settle(&told.story);
	story_write(&told.story, told.journal);
	straight = told_straight_to(told.story.n_records, NULL);
	ck_assert_int_eq(checkpoint_write(told.folder_fd, &some_identity, straight, &size), 0);
	ck_assert_uint_lt(told.n_checkpoints, TOLD_MAX_CHECKPOINTS);
	told.checkpoints[told.n_checkpoints].number = straight->number;
	told.checkpoints[told.n_checkpoints++].commit = straight->commit;
	told_free_replay(straight);
}

void told_begin_journal(uint64_t random)
{
	const struct journal_options options = { .segment_size = 1500 };

	forget();
	scratch_clear("vm");
	replay_init(&told.replay);
	ck_assert_int_eq(journal_create(scratch_fd, "vm", &some_identity, options, &told.journal),
			 0);
	told.folder_fd = openat(scratch_fd, "vm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(told.folder_fd, 0);
	story_begin(&told.story, random);
	told.story.keeps_history = true;
}

void told_make_journal(uint64_t random, unsigned int n)
{
	told_begin_journal(random);
	told_go_on(5 + (unsigned int)random_below(&random, 20));
	while (n--) {
		told_make_checkpoint();
		told_go_on(5 + (unsigned int)random_below(&random, 20));
	}
}

void told_retire_one(void)
{
	ck_assert_uint_ge(told.n_checkpoints, 2);
	ck_assert_int_eq(checkpoint_remove(told.folder_fd, told.checkpoints[0].number), 0);
	told.n_checkpoints--;
	memmove(told.checkpoints, told.checkpoints + 1,
		told.n_checkpoints * sizeof(*told.checkpoints));
	ck_assert_int_eq(journal_retire(told.journal, told.checkpoints[0].number + 1), 0);
}

void told_checkpoint_file(size_t i, char name[CHECKPOINT_NAME_LEN + 1])
{
	snprintf(name, CHECKPOINT_NAME_LEN + 1, "%016llx.checkpoint",
		 (unsigned long long)told.checkpoints[i].number);
}

void told_spoil(size_t i)
{
	char name[CHECKPOINT_NAME_LEN + 1];
	uint8_t bytes[200];

	told_checkpoint_file(i, name);
	memset(bytes, 'x', sizeof(bytes));
	file_put("vm", name, bytes, sizeof(bytes));
}

/* ---- Replaying it ---------------------------------------------------------------------------- */

int told_replay_it(struct replay_request request)
{
	replay_destroy(&told.replay);
	replay_init(&told.replay);
	memset(&told.report, 0, sizeof(told.report));
	memset(&told.error, 0, sizeof(told.error));
	return journal_replay(scratch_fd, "vm", &request, &told.replay, &told.report, &told.error);
}

int told_replay_all(void)
{
	return told_replay_it((struct replay_request){ .limit = REPLAY_ALL });
}

int told_replay_to(enum replay_limit limit, uint64_t at)
{
	return told_replay_it((struct replay_request){ .limit = limit, .at = at });
}

void told_must(int r)
{
	ck_assert_msg(r == 0, "%d: %s at %ju: %s", r, told.error.file, (uintmax_t)told.error.offset,
		      told.error.text);
}

void told_expect_refused_with(int r, int error_number, const char *why)
{
	ck_assert_int_eq(r, -error_number);
	ck_assert_int_eq(told.error.error, error_number);
	ck_assert_msg(strstr(told.error.text, why) != NULL, "%s at %ju: %s", told.error.file,
		      (uintmax_t)told.error.offset, told.error.text);
}

static void expect_same_applied(const struct policy *a, const struct policy *b)
{
	for (unsigned int v = 0; v < a->n_views; v++)
		for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++)
			EXPECT(attribute_map_get(&a->views[v].applied, gfn) ==
				       attribute_map_get(&b->views[v].applied, gfn),
			       "view %u, GFN 0x%x", v, (unsigned int)gfn);
}

void told_expect_straight(bool is_ended)
{
	struct replay *straight = told_straight_to(told.replay.number, NULL);
	struct image one = { 0 }, other = { 0 };

	if (is_ended && straight->batch)
		replay_end(straight);

	ck_assert_uint_eq(told.replay.commit, straight->commit);
	ck_assert_uint_eq(told.replay.settled, straight->settled);
	ck_assert_int_eq(told.replay.batch != NULL, straight->batch != NULL);
	if (told.replay.batch) {
		policy_image_write(told.replay.policy, &one);
		policy_image_write(straight->policy, &other);
	} else {
		checkpoint_body_add(&told.replay, &one);
		checkpoint_body_add(straight, &other);
		expect_same_applied(told.replay.policy, straight->policy);
	}
	ck_assert_uint_eq(one.size, other.size);
	ck_assert_mem_eq(one.data, other.data, one.size);
	image_destroy(&one);
	image_destroy(&other);
	told_free_replay(straight);
}

uint64_t told_best_for(uint64_t number)
{
	uint64_t best = 0;

	for (size_t i = 0; i < told.n_checkpoints; i++)
		if (told.checkpoints[i].number <= number)
			best = told.checkpoints[i].number;
	return best;
}

static void watch_begins(void *context)
{
	struct told_watch *watch = context;

	watch->n_begun++;
	watch->n = watch->n_before = 0;
}

static void watch_before(void *context, const struct replay_step *step)
{
	struct told_watch *watch = context;

	(void)step;
	ck_assert_uint_eq(watch->n_before++, watch->n);
}

static void watch_after(void *context, const struct replay_step *step)
{
	struct told_watch *watch = context;

	ck_assert_uint_lt(watch->n, N(watch->seen));
	watch->seen[watch->n].commit = step->commit;
	watch->seen[watch->n].seqno = step->seqno;
	watch->seen[watch->n++].place = step->place;
}

int told_replay_from_start(struct told_watch *watch)
{
	memset(watch, 0, sizeof(*watch));
	return told_replay_it(
		(struct replay_request){ .limit = REPLAY_ALL,
					 .is_from_start = true,
					 .observer = { watch_before, watch_after, watch },
					 .begins = watch_begins,
					 .context = watch });
}

void told_expect_all_seen(const struct told_watch *watch)
{
	static struct told_watch all;
	const struct replay_observer observer = { watch_before, watch_after, &all };
	struct replay *straight;
	size_t n_skipped = 0;

	memset(&all, 0, sizeof(all));
	told_free_replay(told_straight_to(told.report.checkpoint, &observer));
	n_skipped = all.n;
	memset(&all, 0, sizeof(all));
	straight = told_straight_to(told.replay.number, &observer);
	ck_assert_uint_eq(watch->n, all.n - n_skipped);
	ck_assert_mem_eq(watch->seen, all.seen + n_skipped, watch->n * sizeof(*watch->seen));
	told_free_replay(straight);
}
