/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A story replayed, and what came of it compared with what was told.
 */
#include "tests/unit/journal-story.h"
#include "tests/unit/seeded-suite.h"

#include <check.h>

void story_replay(const struct story *story, struct replay *replay)
{
	for (size_t i = replay->number; i < story->n_records; i++) {
		struct journal_record record = story_record(story, i);
		struct journal_error error = { 0 };

		ck_assert_msg(replay_take(replay, &record, &error) == 0, "%s", error.text);
	}
}

static void expect_same_session(const struct story_session *session,
				const struct replay_session *replayed)
{
	ck_assert_mem_eq(&replayed->facts, &session->facts, sizeof(session->facts));
	ck_assert_uint_eq(replayed->settled_seqno, session->settled_seqno);
	ck_assert_uint_eq(replayed->forgotten_seqno, session->forgotten_seqno);
	ck_assert_uint_eq(replayed->n_in_force, session->n_in_force);
	if (session->n_in_force) {
		ck_assert_uint_eq(replayed->next_n_total, session->next_n_total);
		ck_assert_mem_eq(&replayed->next, &session->next, sizeof(session->next));
	}
	ck_assert_uint_eq(replayed->n_failures, session->n_failures);
	for (size_t i = 0; i < session->n_failures; i++)
		ck_assert_mem_eq(&replayed->failures[i], &session->failures[i],
				 sizeof(session->failures[i]));
}

static void expect_same_sessions(const struct story *story, struct replay *replay)
{
	size_t n_replayed = 0, n = 0;

	ck_assert_uint_eq(replay->max_session, story->max_session);
	for (size_t i = 0; i < replay->n_sessions; i++)
		n_replayed += !replay->sessions[i].is_closed;
	for (size_t i = 0; i < story->n_sessions; i++) {
		const struct story_session *session = &story->sessions[i];
		struct replay_session *replayed = replay_find_session(replay, session->facts.id);

		if (session->is_closed) {
			ck_assert_ptr_null(replayed);
			continue;
		}
		ck_assert_ptr_nonnull(replayed);
		expect_same_session(session, replayed);
		n++;
	}
	ck_assert_uint_eq(n, n_replayed);
}

/* The pages of ranges, as far as the oracle reaches. */
static void mark(bool *pages, const struct page_ranges *ranges)
{
	for (size_t i = 0; i < ranges->n; i++) {
		uint64_t end = ranges->range[i].gfn + ranges->range[i].n_pages;

		for (uint64_t gfn = ranges->range[i].gfn; gfn < end && gfn < ORACLE_PAGES; gfn++)
			pages[gfn] = true;
	}
}

static bool is_doubtful(const struct story *story, uint64_t gfn, bool is_ended)
{
	if (story->doubts.pages[gfn] || (is_ended && story->batch_doubts.pages[gfn]))
		return true;
	return is_ended && story->oracle->pages[gfn].is_ram &&
	       (story->doubts.is_all_ram || story->batch_doubts.is_all_ram);
}

static void expect_same_doubts(const struct story *story, const struct replay *replay,
			       bool is_ended)
{
	bool doubtful[ORACLE_PAGES] = { false };

	mark(doubtful, &replay->doubtful);
	for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++)
		EXPECT(doubtful[gfn] == is_doubtful(story, gfn, is_ended),
		       "page 0x%x is%s doubtful", (unsigned int)gfn, doubtful[gfn] ? "" : " not");
}

/* What KVM counts as having been told. */
static void expect_applied(const struct story *story, const struct replay *replay)
{
	for (unsigned int v = 0; v < replay->policy->n_views; v++)
		for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++) {
			uint8_t applied = attribute_map_get(&replay->policy->views[v].applied, gfn);
			uint8_t wanted = oracle_effective(story->oracle, v, gfn);

			if (!story->oracle->pages[gfn].is_ram)
				wanted = KVMATTR_RWX;
			if (is_doubtful(story, gfn, true))
				wanted = APPLIED_UNKNOWN;
			EXPECT(applied == wanted, "view %u, page 0x%x: 0x%x, not 0x%x", v,
			       (unsigned int)gfn, applied, wanted);
		}
}

void story_expect(const struct story *story, struct replay *replay, bool is_ended)
{
	ck_assert_mem_eq(&replay->facts, &story->facts, sizeof(story->facts));
	ck_assert_mem_eq(replay->views, story->views, sizeof(story->views));
	ck_assert_int_eq(replay->is_ready, story->is_ready);
	ck_assert_int_eq(replay->is_released, story->is_released);
	ck_assert_uint_eq(replay->registered_us, story->records[0].header.time_us);
	ck_assert_uint_eq(replay->released_us,
			  story->is_released ? story->records[story->n_records - 1].header.time_us
					     : 0);
	ck_assert_uint_eq(replay->commit, story->commit);
	ck_assert_uint_eq(replay->commit_us, story->commit_us);
	ck_assert_uint_eq(replay->number, story->n_records);
	ck_assert_uint_eq(replay->settled, story->settled);
	ck_assert_int_eq(replay->batch != NULL, !is_ended && story->is_open);
	expect_same_sessions(story, replay);
	oracle_expect_same(story->oracle, replay->policy);
	expect_same_doubts(story, replay, is_ended);
	if (is_ended)
		expect_applied(story, replay);
}
