/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What stood at a commit, and what changed between two, against an oracle that has kept a flat
 * array for every commit.
 */
#include "tests/unit/past-checks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct past_states *states;
static struct journal_error error;

static void start(void)
{
	scratch_make();
	states = past_states_new();
}

static void stop(void)
{
	past_states_free(states);
	past_end();
	scratch_remove();
}

static const struct replay *state_at(uint64_t commit)
{
	const struct replay *ret = NULL;
	int r = past_state_at(states, &past_source, commit, &ret, &error);

	ck_assert_msg(r == 0, "commit %llu: %s", (unsigned long long)commit, error.text);
	return ret;
}

static uint64_t any_commit(uint64_t *random)
{
	return past.first_kept + random_below(random, past.story.commit - past.first_kept + 1);
}

START_TEST(every_commit_can_be_asked_for_in_any_order)
{
	uint64_t random = seeded_suite_random(_i), last;

	past_begin(random, 120, _i % 2);
	last = past.story.commit;
	ck_assert_uint_gt(last, past.first_kept + 2);
	for (int i = 0; i < 60; i++) {
		uint64_t commit = any_commit(&random);
		const struct replay *state = state_at(commit);

		ck_assert_uint_eq(state->commit, commit);
		oracle_expect_same(story_at(&past.story, commit), state->policy);
	}
	oracle_expect_same(story_at(&past.story, last), state_at(0)->policy);
	ck_assert_uint_eq(state_at(0)->commit, last);
}
END_TEST

START_TEST(the_last_state_is_the_journals_last_also_when_it_has_gone_on)
{
	uint64_t commit;

	past_begin(seeded_suite_random(_i), 40, false);
	ck_assert_uint_eq(state_at(0)->commit, past.story.commit);
	commit = past.story.commit;
	past_go_on(40);
	ck_assert_uint_gt(past.story.commit, commit);
	ck_assert_uint_eq(state_at(0)->commit, past.story.commit);
	oracle_expect_same(story_at(&past.story, commit), state_at(commit)->policy);
}
END_TEST

START_TEST(a_commit_that_is_not_there_is_refused_with_what_is)
{
	const struct replay *state = NULL;

	past_begin(seeded_suite_random(_i), 60, true);
	ck_assert_int_eq(past_state_at(states, &past_source, past.story.commit + 1, &state, &error),
			 -ERANGE);
	ck_assert_ptr_nonnull(strstr(error.text, "the last is"));
	ck_assert_uint_gt(past.first_commit, 1);
	ck_assert_int_eq(past_state_at(states, &past_source, past.first_commit - 1, &state, &error),
			 -ERANGE);
	ck_assert_ptr_nonnull(strstr(error.text, "not in the journal any more"));
	ck_assert_ptr_null(state);
	/* and what can be had can still be had */
	ck_assert_uint_eq(state_at(past.first_commit)->commit, past.first_commit);
}
END_TEST

START_TEST(a_journal_that_is_not_there_is_said_to_be_missing)
{
	struct past_source source = { .parent_fd = scratch_fd, .name = "nobody.0123456789abcdef" };
	const struct replay *state;

	ck_assert_int_eq(past_state_at(states, &source, 1, &state, &error), -ENOENT);
	ck_assert_str_eq(error.file, "");
}
END_TEST

START_TEST(the_last_two_states_are_kept_and_no_others)
{
	const struct replay *state;
	uint64_t last;

	past_begin(seeded_suite_random(_i), 60, false);
	last = past.story.commit;
	state_at(last - 2);
	state_at(last - 1);
	state_at(last);
	scratch_clear(PAST_NAME);
	for (int i = 0; i < 3; i++) {
		oracle_expect_same(story_at(&past.story, last), state_at(last)->policy);
		oracle_expect_same(story_at(&past.story, last - 1), state_at(last - 1)->policy);
	}
	/* of another journal, the same commit is another state */
	past_source.name = "other.0123456789abcdef";
	ck_assert_int_eq(past_state_at(states, &past_source, last, &state, &error), -ENOENT);
	past_source.name = PAST_NAME;
	ck_assert_uint_eq(state_at(last - 1)->commit, last - 1);
	ck_assert_int_eq(past_state_at(states, &past_source, last - 2, &state, &error), -ENOENT);
	past_states_clear(states);
	ck_assert_int_eq(past_state_at(states, &past_source, last - 1, &state, &error), -ENOENT);
	ck_assert_int_eq(past_state_at(states, &past_source, last, &state, &error), -ENOENT);
}
END_TEST

static bool give_up(void *context)
{
	return ++*(int *)context > 3;
}

START_TEST(who_does_not_wait_any_more_ends_it)
{
	const struct replay *state;
	int n_asked = 0;

	past_begin(seeded_suite_random(0), 60, false);
	past_source.is_cancelled = give_up;
	past_source.context = &n_asked;
	ck_assert_int_eq(past_state_at(states, &past_source, past.story.commit, &state, &error),
			 -ECANCELED);
	past_source.is_cancelled = NULL;
	ck_assert_uint_eq(state_at(past.story.commit)->commit, past.story.commit);
}
END_TEST

/* ---- Runs ---------------------------------------------------------------------------------- */

/* What every page of a range was and is, by the runs, asked for a few at a time. */
static void expand(const struct policy *before, const struct policy *after, unsigned int vtl,
		   struct kvmattr_range range, uint64_t *random, bool *ret_is_in, uint8_t *ret_was,
		   uint8_t *ret_is)
{
	struct past_run runs[50], last = { 0 };
	uint64_t limit = range.gfn + range.n_pages, next = range.gfn;
	bool is_first = true;

	memset(ret_is_in, 0, ORACLE_PAGES * sizeof(*ret_is_in));
	do {
		size_t max = 1 + random_below(random, N(runs));
		struct kvmattr_range rest = { next, limit - next };
		size_t n = past_runs(before, after, vtl, rest, runs, max, &next);

		ck_assert_uint_le(n, max);
		ck_assert(next == limit || n == max);
		for (size_t i = 0; i < n; i++) {
			ck_assert_uint_ge(runs[i].gfn, last.gfn + last.n_pages);
			ck_assert_uint_gt(runs[i].n_pages, 0);
			/* as long as they get, but where an answer ended */
			ck_assert(is_first || !i || runs[i].gfn > last.gfn + last.n_pages ||
				  runs[i].before != last.before || runs[i].after != last.after);
			for (uint64_t j = 0; j < runs[i].n_pages; j++) {
				uint64_t gfn = runs[i].gfn + j;

				ck_assert_uint_lt(gfn, ORACLE_PAGES);
				ret_is_in[gfn] = true;
				ret_was[gfn] = runs[i].before;
				ret_is[gfn] = runs[i].after;
			}
			last = runs[i];
			is_first = false;
		}
	} while (next < limit);
}

static struct kvmattr_range any_range(uint64_t *random)
{
	uint64_t gfn = random_below(random, ORACLE_PAGES);

	if (random_one_in(random, 2))
		return (struct kvmattr_range){ 0, KVMATTR_GFN_LIMIT };
	return (struct kvmattr_range){ gfn, random_below(random, ORACLE_PAGES - gfn + 1) };
}

static bool is_within(struct kvmattr_range range, uint64_t gfn)
{
	return gfn >= range.gfn && gfn - range.gfn < range.n_pages;
}

START_TEST(the_runs_of_a_state_are_what_the_oracle_has_kept)
{
	uint64_t random = seeded_suite_random(_i);
	uint8_t was[ORACLE_PAGES], is[ORACLE_PAGES];
	bool is_in[ORACLE_PAGES];

	past_begin(random, 100, false);
	for (int i = 0; i < 20; i++) {
		uint64_t commit = any_commit(&random);
		const struct oracle *oracle = story_at(&past.story, commit);
		const struct policy *policy = state_at(commit)->policy;
		struct kvmattr_range range = any_range(&random);
		unsigned int v = (unsigned int)random_below(&random, oracle->n_views);

		expand(NULL, policy, oracle->views[v].vtl, range, &random, is_in, was, is);
		for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++) {
			uint8_t wanted = oracle_attributes(oracle, (int)v, gfn);

			EXPECT(is_in[gfn] == (is_within(range, gfn) && wanted != PAST_NO_RAM),
			       "page 0x%x", (unsigned int)gfn);
			EXPECT(!is_in[gfn] || is[gfn] == wanted, "page 0x%x", (unsigned int)gfn);
		}
	}
}
END_TEST

START_TEST(a_difference_is_what_differs_and_nothing_else)
{
	uint64_t random = seeded_suite_random(100 + _i);
	uint8_t was[ORACLE_PAGES], is[ORACLE_PAGES];
	bool is_in[ORACLE_PAGES];
	unsigned int n_different = 0;

	past_begin(random, 100, _i % 2);
	for (int i = 0; i < 20; i++) {
		uint64_t from = any_commit(&random), to = any_commit(&random);
		const struct oracle *before = story_at(&past.story, from);
		const struct oracle *after = story_at(&past.story, to);
		const struct policy *one = state_at(from)->policy, *other = state_at(to)->policy;
		struct kvmattr_range range = any_range(&random);
		unsigned int v = (unsigned int)random_below(&random, before->n_views);

		expand(one, other, before->views[v].vtl, range, &random, is_in, was, is);
		for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++) {
			uint8_t old = oracle_attributes(before, (int)v, gfn);
			uint8_t new = oracle_attributes(after, (int)v, gfn);

			EXPECT(is_in[gfn] == (is_within(range, gfn) && old != new), "page 0x%x",
			       (unsigned int)gfn);
			EXPECT(!is_in[gfn] || (was[gfn] == old && is[gfn] == new), "page 0x%x",
			       (unsigned int)gfn);
			n_different += is_in[gfn];
		}
	}
	ck_assert_uint_gt(n_different, 0);
}
END_TEST

START_TEST(the_extent_is_all_that_was_ram_in_either)
{
	uint64_t random = seeded_suite_random(200 + _i);

	past_begin(random, 100, false);
	for (int i = 0; i < 10; i++) {
		uint64_t from = any_commit(&random), to = any_commit(&random);
		const struct oracle *one = story_at(&past.story, from);
		const struct oracle *other = story_at(&past.story, to);
		const struct policy *before = state_at(from)->policy;
		struct kvmattr_range extent = past_extent(before, state_at(to)->policy);
		uint64_t first = ORACLE_PAGES, end = 0;

		for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++) {
			if (!one->pages[gfn].is_ram && !other->pages[gfn].is_ram)
				continue;
			first = gfn < first ? gfn : first;
			end = gfn + 1;
		}
		ck_assert_uint_eq(extent.n_pages, end ? end - first : 0);
		ck_assert_uint_eq(extent.gfn, end ? first : 0);
	}
}
END_TEST

START_TEST(a_vtl_without_a_view_is_refused_with_those_that_have_one)
{
	const struct oracle *oracle;
	char expected[128];
	size_t n = 0;

	past_begin(seeded_suite_random(0), 1, false);
	oracle = past.story.oracle;
	ck_assert_int_eq(past_check_view(state_at(0)->policy, 15, &error), -ENXIO);
	n = (size_t)snprintf(expected, sizeof(expected),
			     "the VM has no view of VTL 15; it has views of: ");
	for (unsigned int i = 0; i < oracle->n_views; i++)
		n += (size_t)snprintf(expected + n, sizeof(expected) - n, "%s%u", i ? ", " : "",
				      oracle->views[i].vtl);
	ck_assert_str_eq(error.text, expected);
	ck_assert_int_eq(past_check_view(state_at(0)->policy, 0, &error), 0);
}
END_TEST

int main(void)
{
	TCase *of_states = tcase_create("states"), *runs = tcase_create("runs");

	tcase_add_checked_fixture(of_states, start, stop);
	tcase_add_loop_test(of_states, every_commit_can_be_asked_for_in_any_order, 0, 8);
	tcase_add_loop_test(of_states, the_last_state_is_the_journals_last_also_when_it_has_gone_on,
			    0, 4);
	tcase_add_loop_test(of_states, a_commit_that_is_not_there_is_refused_with_what_is, 0, 4);
	tcase_add_loop_test(of_states, the_last_two_states_are_kept_and_no_others, 0, 3);
	tcase_add_test(of_states, a_journal_that_is_not_there_is_said_to_be_missing);
	tcase_add_test(of_states, who_does_not_wait_any_more_ends_it);
	tcase_add_checked_fixture(runs, start, stop);
	tcase_add_loop_test(runs, the_runs_of_a_state_are_what_the_oracle_has_kept, 0, 6);
	tcase_add_loop_test(runs, a_difference_is_what_differs_and_nothing_else, 0, 6);
	tcase_add_loop_test(runs, the_extent_is_all_that_was_ram_in_either, 0, 4);
	tcase_add_test(runs, a_vtl_without_a_view_is_refused_with_those_that_have_one);
	return seeded_suite_run("past", (TCase *const[]){ of_states, runs, NULL });
}
