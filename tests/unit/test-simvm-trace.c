/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The boot trace: the same for a seed everywhere, shaped as simvm-trace.h says, and such that a
 * replay into a flat array is an oracle whatever the agents' interleaving.
 */
#include "client/simvm-trace.h"

#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RAM_PAGES     (UINT64_C(64) << 18) /* 64 GiB */
#define N_PROTECTIONS 300000u
#define REGION_PAGES  (RAM_PAGES / SIMVM_TRACE_N_REGIONS)
#define N_SEEDS       3

static struct simvm_trace trace;

static void generate(uint64_t seed, enum kvmattr_abi abi, uint64_t ram_pages,
		     uint64_t n_protections, unsigned int n_agents)
{
	struct simvm_trace_options options = {
		.seed = seed,
		.ram_pages = ram_pages,
		.n_protections = n_protections,
		.n_agents = n_agents,
		.abi = abi,
	};
	char text[256] = "";

	ck_assert_msg(simvm_trace_generate(&options, &trace, text, sizeof(text)) == 0, "%s", text);
}

static void generate_boot(uint64_t seed)
{
	generate(seed, KVMATTR_ABI_DENY, RAM_PAGES, N_PROTECTIONS, 4);
}

static void forget(void)
{
	simvm_trace_destroy(&trace);
}

static int compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t median(uint64_t *numbers, size_t n)
{
	qsort(numbers, n, sizeof(*numbers), compare_numbers);
	return numbers[n / 2];
}

/* From each region's start on without a gap: where its cursor came to.  n ends. */
static void find_cursor_ends(uint64_t *ends)
{
	uint8_t *touched = calloc(RAM_PAGES + 1, 1);

	ck_assert_ptr_nonnull(touched);
	for (size_t i = 0; i < trace.n_gfns; i++)
		touched[trace.gfns[i]] = 1;
	for (size_t i = 0; i < SIMVM_TRACE_N_REGIONS; i++)
		for (ends[i] = i * REGION_PAGES; touched[ends[i]];)
			ends[i]++;
	free(touched);
}

/* ---- The same everywhere ------------------------------------------------------------------- */

START_TEST(a_seed_gives_the_same_trace_on_every_machine)
{
	/* Written down once; another value here is another trace, and other figures. */
	static const struct {
		uint64_t seed;
		enum kvmattr_abi abi;
		uint64_t hash;
	} traces[] = {
		{ 1, KVMATTR_ABI_DENY, UINT64_C(0xe74f322406f39f66) },
		{ 1, KVMATTR_ABI_V10NA, UINT64_C(0xe74f322406f39f66) },
		{ 1, KVMATTR_ABI_V10, UINT64_C(0x4632838fe3161f23) },
		{ 1, KVMATTR_ABI_MAINLINE, UINT64_C(0x9ba257678cfea72b) },
		{ 2, KVMATTR_ABI_DENY, UINT64_C(0xf7fcbbc61db48042) },
	};

	for (int again = 0; again < 2; again++) {
		generate(traces[_i].seed, traces[_i].abi, RAM_PAGES, N_PROTECTIONS, 4);
		ck_assert_uint_eq(simvm_trace_hash(&trace), traces[_i].hash);
		forget();
	}
}
END_TEST

START_TEST(the_hash_sees_every_page_value_and_agent)
{
	uint64_t hash;

	generate(7, KVMATTR_ABI_DENY, RAM_PAGES, 1000, 4);
	hash = simvm_trace_hash(&trace);
	trace.gfns[trace.n_gfns - 1]++;
	ck_assert_uint_ne(simvm_trace_hash(&trace), hash);
	trace.gfns[trace.n_gfns - 1]--;
	trace.lists[trace.n_lists - 1].agent ^= 1;
	ck_assert_uint_ne(simvm_trace_hash(&trace), hash);
	trace.lists[trace.n_lists - 1].agent ^= 1;
	trace.lists[0].value ^= 1;
	ck_assert_uint_ne(simvm_trace_hash(&trace), hash);
	trace.lists[0].value ^= 1;
	ck_assert_uint_eq(simvm_trace_hash(&trace), hash);
	forget();
}
END_TEST

/* ---- The definition ------------------------------------------------------------------------ */

START_TEST(every_page_is_in_ram_and_the_protections_are_as_many_as_asked)
{
	static const uint64_t sizes[] = { 1, 2, 7, 100, 12345, N_PROTECTIONS };
	uint64_t ram_pages = sizes[_i] / 3 * 5 + 64;
	uint64_t n = 0, n_wrong = 0;

	generate(3, KVMATTR_ABI_DENY, ram_pages, sizes[_i], 3);
	for (size_t i = 0; i < trace.n_gfns; i++)
		n_wrong += trace.gfns[i] >= ram_pages;
	for (size_t i = 0; i < trace.n_lists; i++) {
		const struct simvm_list *list = &trace.lists[i];

		n_wrong += !list->n || list->first + list->n > trace.n_gfns || list->agent >= 3;
		n += list->n;
	}
	ck_assert_uint_eq(n_wrong, 0);
	ck_assert_uint_eq(n, sizes[_i]);
	forget();
}
END_TEST

START_TEST(lists_have_1_to_510_pages_with_a_median_of_8)
{
	uint64_t *lengths, shortest = UINT64_MAX, longest = 0;

	generate_boot((uint64_t)_i);
	lengths = calloc(trace.n_lists, sizeof(*lengths));
	ck_assert_ptr_nonnull(lengths);
	for (size_t i = 0; i < trace.n_lists; i++) {
		lengths[i] = trace.lists[i].n;
		shortest = lengths[i] < shortest ? lengths[i] : shortest;
		longest = lengths[i] > longest ? lengths[i] : longest;
	}
	ck_assert_uint_eq(shortest, 1);
	/* The longest is cut from one of the few runs that are so long. */
	ck_assert_uint_le(longest, SIMVM_TRACE_LIST_PAGES);
	ck_assert_uint_ge(longest, SIMVM_TRACE_LIST_PAGES / 2);
	ck_assert_uint_eq(median(lengths, trace.n_lists), 8);
	free(lengths);
	forget();
}
END_TEST

START_TEST(runs_have_a_median_of_64_pages)
{
	uint64_t ends[SIMVM_TRACE_N_REGIONS];
	uint64_t *lengths, middle;
	size_t n = 0;

	generate_boot((uint64_t)_i);
	find_cursor_ends(ends);
	lengths = calloc(trace.n_runs, sizeof(*lengths));
	ck_assert_ptr_nonnull(lengths);
	for (size_t i = 0; i < trace.n_lists; i++) {
		const struct simvm_list *list = &trace.lists[i];

		for (uint32_t j = 0; !list->again && j < list->n; j++) {
			uint64_t gfn = trace.gfns[list->first + j];

			if (gfn < ends[gfn / REGION_PAGES])
				lengths[list->run]++;
		}
	}
	/* A run may be of lone pages alone, where the urn was empty before its first own. */
	for (size_t i = 0; i < trace.n_runs; i++)
		if (lengths[i])
			lengths[n++] = lengths[i];
	middle = median(lengths, n);
	ck_assert_uint_ge(middle, 58);
	ck_assert_uint_le(middle, 70);
	free(lengths);
	forget();
}
END_TEST

START_TEST(cursors_advance_page_by_page_in_all_64_regions)
{
	uint64_t next[SIMVM_TRACE_N_REGIONS], ends[SIMVM_TRACE_N_REGIONS];
	size_t n_lone = 0;

	generate_boot((uint64_t)_i);
	find_cursor_ends(ends);
	for (size_t i = 0; i < SIMVM_TRACE_N_REGIONS; i++) {
		next[i] = i * REGION_PAGES;
		ck_assert_uint_gt(ends[i], next[i] + 1000);
	}
	for (size_t i = 0; i < trace.n_gfns; i++) {
		uint64_t region = trace.gfns[i] / REGION_PAGES;

		if (trace.gfns[i] == next[region])
			next[region]++;
		else
			n_lone++;
	}
	/* What is not a cursor's next page is a lone one; some may seem to be a cursor's last. */
	ck_assert_uint_le(n_lone, trace.n_lone);
	ck_assert_uint_ge(n_lone + 5, trace.n_lone);
	forget();
}
END_TEST

START_TEST(one_page_in_ten_is_a_lone_one_anywhere)
{
	uint64_t n_in_quarter[4] = { 0 }, ends[SIMVM_TRACE_N_REGIONS], n = 0;

	generate_boot((uint64_t)_i);
	ck_assert_uint_ge(trace.n_lone, trace.n_gfns / 10 - trace.n_gfns / 200);
	ck_assert_uint_le(trace.n_lone, trace.n_gfns / 10 + trace.n_gfns / 200);
	find_cursor_ends(ends);
	for (size_t i = 0; i < trace.n_gfns; i++)
		if (trace.gfns[i] >= ends[trace.gfns[i] / REGION_PAGES]) {
			n_in_quarter[trace.gfns[i] % REGION_PAGES * 4 / REGION_PAGES]++;
			n++;
		}
	for (int i = 0; i < 4; i++) {
		ck_assert_uint_ge(n_in_quarter[i], n * 23 / 100);
		ck_assert_uint_le(n_in_quarter[i], n * 27 / 100);
	}
	forget();
}
END_TEST

/* ---- Protections --------------------------------------------------------------------------- */

static void count_values(uint64_t *counts)
{
	memset(counts, 0, 16 * sizeof(*counts));
	for (size_t i = 0; i < trace.n_lists; i++)
		counts[trace.lists[i].value] += trace.lists[i].n;
}

START_TEST(protections_are_none_10_r_25_rx_25_rw_40_percent_exactly)
{
	uint64_t counts[16];

	generate_boot((uint64_t)_i);
	ck_assert_int_eq(trace.kind, KVMATTR_PROTECT);
	count_values(counts);
	ck_assert_uint_eq(counts[KVMATTR_NONE], N_PROTECTIONS * 10 / 100);
	ck_assert_uint_eq(counts[KVMATTR_R], N_PROTECTIONS * 25 / 100);
	ck_assert_uint_eq(counts[KVMATTR_RX], N_PROTECTIONS * 25 / 100);
	ck_assert_uint_eq(counts[KVMATTR_RW], N_PROTECTIONS * 40 / 100);
	forget();
}
END_TEST

START_TEST(without_a_word_for_none_the_others_share_its_part)
{
	uint64_t counts[16];

	generate((uint64_t)_i, KVMATTR_ABI_V10, RAM_PAGES, N_PROTECTIONS, 4);
	ck_assert_int_eq(trace.kind, KVMATTR_PROTECT);
	count_values(counts);
	ck_assert_uint_eq(counts[KVMATTR_NONE], 0);
	/* 25 : 25 : 40, up to rounding */
	ck_assert_uint_ge(counts[KVMATTR_R] + 3, N_PROTECTIONS * 25 / 90);
	ck_assert_uint_le(counts[KVMATTR_R], N_PROTECTIONS * 25 / 90 + 3);
	ck_assert_uint_ge(counts[KVMATTR_RX] + 3, N_PROTECTIONS * 25 / 90);
	ck_assert_uint_le(counts[KVMATTR_RX], N_PROTECTIONS * 25 / 90 + 3);
	ck_assert_uint_eq(counts[KVMATTR_R] + counts[KVMATTR_RX] + counts[KVMATTR_RW],
			  N_PROTECTIONS);
	forget();
}
END_TEST

START_TEST(where_only_visibility_is_known_pages_become_private_and_a_fifth_shared_again)
{
	uint64_t counts[16];

	generate((uint64_t)_i, KVMATTR_ABI_MAINLINE, RAM_PAGES, N_PROTECTIONS, 4);
	ck_assert_int_eq(trace.kind, KVMATTR_SET_VISIBILITY);
	count_values(counts);
	ck_assert_uint_eq(counts[1], N_PROTECTIONS / 6 * 5);
	ck_assert_uint_eq(counts[0], N_PROTECTIONS / 6);
	forget();
}
END_TEST

START_TEST(a_fifth_of_the_pages_is_rw_and_later_rx_or_r)
{
	uint8_t *n_times, *last;
	uint64_t n_twice = 0, n_wrong = 0;

	generate_boot((uint64_t)_i);
	n_times = calloc(RAM_PAGES, 1);
	last = calloc(RAM_PAGES, 1);
	ck_assert(n_times && last);
	for (size_t i = 0; i < trace.n_lists; i++) {
		const struct simvm_list *list = &trace.lists[i];

		for (uint32_t j = 0; j < list->n; j++) {
			uint64_t gfn = trace.gfns[list->first + j];

			n_wrong += n_times[gfn] != (list->again ? 1 : 0);
			if (list->again) {
				n_wrong += last[gfn] != KVMATTR_RW;
				n_wrong += list->value != KVMATTR_RX && list->value != KVMATTR_R;
				n_twice++;
			}
			last[gfn] = list->value;
			n_times[gfn]++;
		}
	}
	ck_assert_uint_eq(n_wrong, 0);
	ck_assert_uint_eq(n_twice, trace.n_gfns / 5);
	ck_assert_uint_eq(trace.n_gfns + n_twice, N_PROTECTIONS);
	free(n_times);
	free(last);
	forget();
}
END_TEST

/* ---- Agents, and the oracle ---------------------------------------------------------------- */

START_TEST(agents_take_turns_within_a_run_and_share_the_work_evenly)
{
	unsigned int n_agents = (unsigned int)_i;
	uint64_t *counts = calloc(n_agents, sizeof(*counts));
	uint64_t n_changes = 0, n_next = 0;
	size_t *last_of_run;

	generate(1, KVMATTR_ABI_DENY, RAM_PAGES, N_PROTECTIONS, n_agents);
	last_of_run = calloc(trace.n_runs, sizeof(*last_of_run));
	ck_assert(counts && last_of_run);
	for (size_t i = 0; i < trace.n_lists; i++) {
		const struct simvm_list *list = &trace.lists[i];

		counts[list->agent] += list->n;
		if (list->again)
			continue;
		if (last_of_run[list->run]) {
			n_next++;
			n_changes += trace.lists[last_of_run[list->run] - 1].agent != list->agent;
		}
		last_of_run[list->run] = i + 1;
	}
	ck_assert_uint_eq(n_changes, n_agents > 1 ? n_next : 0);
	for (unsigned int i = 0; i < n_agents; i++) {
		ck_assert_uint_ge(counts[i], N_PROTECTIONS / n_agents * 9 / 10);
		ck_assert_uint_le(counts[i], N_PROTECTIONS / n_agents * 11 / 10);
	}
	free(counts);
	free(last_of_run);
	forget();
}
END_TEST

START_TEST(no_page_belongs_to_two_agents)
{
	uint64_t n_wrong = 0;
	uint8_t *owner;

	generate((uint64_t)_i, KVMATTR_ABI_DENY, RAM_PAGES, N_PROTECTIONS, 5);
	owner = calloc(RAM_PAGES, 1);
	ck_assert_ptr_nonnull(owner);
	for (size_t i = 0; i < trace.n_lists; i++)
		for (uint32_t j = 0; j < trace.lists[i].n; j++) {
			uint8_t *of_page = &owner[trace.gfns[trace.lists[i].first + j]];

			n_wrong += *of_page && *of_page != trace.lists[i].agent + 1;
			*of_page = (uint8_t)(trace.lists[i].agent + 1);
		}
	ck_assert_uint_eq(n_wrong, 0);
	free(owner);
	forget();
}
END_TEST

START_TEST(the_oracle_is_the_same_whichever_agent_is_faster)
{
	uint8_t *in_turn = malloc(RAM_PAGES), *one_by_one = malloc(RAM_PAGES);

	ck_assert(in_turn && one_by_one);
	memset(in_turn, KVMATTR_RWX, RAM_PAGES);
	memset(one_by_one, KVMATTR_RWX, RAM_PAGES);
	generate_boot((uint64_t)_i);
	for (size_t i = 0; i < trace.n_lists; i++)
		simvm_trace_replay(&trace, i, trace.lists[i].n, in_turn);
	for (int agent = 3; agent >= 0; agent--)
		for (size_t i = 0; i < trace.n_lists; i++)
			if (trace.lists[i].agent == agent)
				simvm_trace_replay(&trace, i, trace.lists[i].n, one_by_one);
	ck_assert_int_eq(memcmp(in_turn, one_by_one, RAM_PAGES), 0);
	free(in_turn);
	free(one_by_one);
	forget();
}
END_TEST

START_TEST(a_replay_stops_at_what_is_in_force)
{
	uint8_t *oracle = malloc(RAM_PAGES);
	size_t i = 0;

	ck_assert_ptr_nonnull(oracle);
	memset(oracle, KVMATTR_RWX, RAM_PAGES);
	generate_boot(1);
	while (trace.lists[i].n < 8)
		i++;
	simvm_trace_replay(&trace, i, 5, oracle);
	for (uint32_t j = 0; j < trace.lists[i].n; j++)
		ck_assert_uint_eq(oracle[trace.gfns[trace.lists[i].first + j]],
				  j < 5 ? trace.lists[i].value : KVMATTR_RWX);
	free(oracle);
	forget();
}
END_TEST

/* ---- What it costs ------------------------------------------------------------------------- */

START_TEST(calls_are_counted_as_the_breaks_in_lists_and_in_memory)
{
	uint64_t gfns[] = { 5, 6, 7, 9, 8, 100, 101, 6, 7 };
	struct simvm_list lists[] = {
		{ .first = 0, .n = 5, .value = KVMATTR_R },    /* 5-7, 9, 8 */
		{ .first = 5, .n = 2, .value = KVMATTR_RX },   /* 100-101 */
		{ .first = 7, .n = 2, .value = KVMATTR_NONE }, /* 6-7 */
	};
	struct simvm_trace small = {
		.kind = KVMATTR_PROTECT, .lists = lists, .n_lists = 3, .gfns = gfns, .n_gfns = 9
	};
	uint8_t oracle[128];

	memset(oracle, KVMATTR_RWX, sizeof(oracle));
	ck_assert_uint_eq(simvm_trace_calls_fewest(oracle, sizeof(oracle)), 0);
	for (size_t i = 0; i < 3; i++)
		simvm_trace_replay(&small, i, lists[i].n, oracle);
	ck_assert_uint_eq(simvm_trace_calls_unmerged(&small), 5);
	ck_assert_uint_eq(simvm_trace_calls_fewest(oracle, sizeof(oracle)),
			  4); /* 5, 6-7, 8-9, 100- */
}
END_TEST

START_TEST(one_batch_of_everything_needs_0_38_of_the_calls_of_list_by_list)
{
	uint8_t *oracle = malloc(RAM_PAGES);
	uint64_t fewest, unmerged;

	ck_assert_ptr_nonnull(oracle);
	memset(oracle, KVMATTR_RWX, RAM_PAGES);
	generate_boot((uint64_t)_i);
	for (size_t i = 0; i < trace.n_lists; i++)
		simvm_trace_replay(&trace, i, trace.lists[i].n, oracle);
	fewest = simvm_trace_calls_fewest(oracle, RAM_PAGES);
	unmerged = simvm_trace_calls_unmerged(&trace);
	printf("# seed %d: %zu lists, %zu runs, %zu lone pages; list by list %lu calls, at the "
	       "fewest %lu: %.3f\n",
	       _i, trace.n_lists, trace.n_runs, trace.n_lone, (unsigned long)unmerged,
	       (unsigned long)fewest, (double)fewest / (double)unmerged);
	/* Lone pages are nearly all of it: whoever merges, each needs its call. */
	ck_assert_uint_ge(fewest, trace.n_lone * 98 / 100);
	ck_assert_uint_ge(fewest * 100, unmerged * 36);
	ck_assert_uint_le(fewest * 100, unmerged * 40);
	free(oracle);
	forget();
}
END_TEST

/* ---- What does not fit --------------------------------------------------------------------- */

START_TEST(a_trace_that_does_not_fit_says_how_much_ram_would)
{
	static const struct simvm_trace_options refused[] = {
		{ .ram_pages = 100, .n_protections = 100, .n_agents = 1 },
		{ .ram_pages = UINT64_MAX, .n_protections = UINT64_MAX, .n_agents = 1 },
		{ .ram_pages = 1000, .n_protections = 100, .n_agents = 0 },
		{ .ram_pages = 1000, .n_protections = 100, .n_agents = 70000 },
	};
	static const char *const texts[] = { "need 229 pages of RAM", "pages of RAM", "by 0",
					     "by 70000" };
	char text[256] = "";

	ck_assert_int_eq(simvm_trace_generate(&refused[_i], &trace, text, sizeof(text)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(text, texts[_i]));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot trace");
	TCase *shape = tcase_create("shape");
	TCase *agents = tcase_create("agents");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_set_timeout(shape, 120);
	tcase_set_timeout(agents, 120);
	tcase_add_loop_test(shape, a_seed_gives_the_same_trace_on_every_machine, 0, 5);
	tcase_add_test(shape, the_hash_sees_every_page_value_and_agent);
	tcase_add_loop_test(shape, every_page_is_in_ram_and_the_protections_are_as_many_as_asked, 0,
			    6);
	tcase_add_loop_test(shape, lists_have_1_to_510_pages_with_a_median_of_8, 0, N_SEEDS);
	tcase_add_loop_test(shape, runs_have_a_median_of_64_pages, 0, N_SEEDS);
	tcase_add_loop_test(shape, cursors_advance_page_by_page_in_all_64_regions, 0, N_SEEDS);
	tcase_add_loop_test(shape, one_page_in_ten_is_a_lone_one_anywhere, 0, N_SEEDS);
	tcase_add_loop_test(shape, protections_are_none_10_r_25_rx_25_rw_40_percent_exactly, 0,
			    N_SEEDS);
	tcase_add_loop_test(shape, without_a_word_for_none_the_others_share_its_part, 0, 2);
	tcase_add_loop_test(
		shape, where_only_visibility_is_known_pages_become_private_and_a_fifth_shared_again,
		0, 2);
	tcase_add_loop_test(shape, a_fifth_of_the_pages_is_rw_and_later_rx_or_r, 0, N_SEEDS);
	tcase_add_loop_test(shape, one_batch_of_everything_needs_0_38_of_the_calls_of_list_by_list,
			    0, N_SEEDS);
	suite_add_tcase(suite, shape);

	tcase_add_loop_test(agents, agents_take_turns_within_a_run_and_share_the_work_evenly, 1, 9);
	tcase_add_loop_test(agents, no_page_belongs_to_two_agents, 0, N_SEEDS);
	tcase_add_loop_test(agents, the_oracle_is_the_same_whichever_agent_is_faster, 0, N_SEEDS);
	tcase_add_test(agents, a_replay_stops_at_what_is_in_force);
	tcase_add_test(agents, calls_are_counted_as_the_breaks_in_lists_and_in_memory);
	tcase_add_loop_test(agents, a_trace_that_does_not_fit_says_how_much_ram_would, 0, 4);
	suite_add_tcase(suite, agents);

	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
