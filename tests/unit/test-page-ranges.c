/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page ranges against a flat array that has a byte for each page, set where a range was added.
 */
#include "daemon/policy/page-ranges.h"

#include <check.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define N_PAGES 20000u

/* From the environment, or another one each time; a test adds its own number. */
static uint64_t seed;

static uint64_t random_below(uint64_t *state, uint64_t bound) /* SplitMix64 */
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return (x ^ x >> 31) % bound;
}

static void expect_range(const struct page_ranges *ranges, size_t i, uint64_t gfn, uint64_t n_pages)
{
	ck_assert_uint_lt(i, ranges->n);
	ck_assert_uint_eq(ranges->range[i].gfn, gfn);
	ck_assert_uint_eq(ranges->range[i].n_pages, n_pages);
}

/* The ranges are the runs of set pages, each whole, in order; base is the first page's GFN. */
static void expect_runs(const struct page_ranges *ranges, const uint8_t *is_added, uint64_t base)
{
	size_t n_ranges = 0;
	uint64_t n_added = 0;

	for (uint64_t page = 0; page < N_PAGES;) {
		uint64_t n_pages = 0;

		while (page + n_pages < N_PAGES && is_added[page + n_pages])
			n_pages++;
		if (n_pages > 0)
			expect_range(ranges, n_ranges++, base + page, n_pages);
		n_added += n_pages;
		page += n_pages + 1;
	}
	ck_assert_uint_eq(ranges->n, n_ranges);
	ck_assert_uint_eq(page_ranges_count(ranges), n_added);
}

/* Adds lone pages, runs page by page, and ranges, anywhere, overlapping or not. */
static void add_any(struct page_ranges *ranges, uint8_t *is_added, uint64_t base, uint64_t *random)
{
	const uint64_t longest = random_below(random, 4) ? 8 : 300;
	const uint64_t page = random_below(random, N_PAGES);
	uint64_t n_pages = random_below(random, longest);

	n_pages = n_pages < N_PAGES - page ? n_pages : N_PAGES - page;
	if (random_below(random, 2)) {
		page_ranges_add(ranges, base + page, n_pages);
	} else {
		for (uint64_t i = 0; i < n_pages; i++)
			page_ranges_add(ranges, base + page + i, 1);
	}
	memset(is_added + page, 1, n_pages);
}

START_TEST(normalized_ranges_are_the_runs_of_the_pages_that_were_added)
{
	static const uint64_t bases[] = { 0, 1u << 18, KVMATTR_GFN_LIMIT - N_PAGES };
	const uint64_t base = bases[_i % 3];
	uint64_t random = seed + _i;
	struct page_ranges ranges = { 0 };
	uint8_t is_added[N_PAGES] = { 0 };

	for (unsigned int round = 0; round < 40; round++) {
		const uint64_t n = random_below(&random, 200);

		for (uint64_t i = 0; i < n; i++)
			add_any(&ranges, is_added, base, &random);
		page_ranges_normalize(&ranges);
		expect_runs(&ranges, is_added, base);
		page_ranges_normalize(&ranges);
		expect_runs(&ranges, is_added, base);
		if (random_below(&random, 10) == 0) {
			page_ranges_clear(&ranges);
			memset(is_added, 0, sizeof(is_added));
			expect_runs(&ranges, is_added, base);
		}
	}
	page_ranges_destroy(&ranges);
}
END_TEST

START_TEST(adding_all_of_others_adds_their_pages_and_leaves_them_as_they_are)
{
	uint64_t random = seed + 1000;
	struct page_ranges ranges = { 0 };
	struct page_ranges others = { 0 };
	uint8_t is_added[N_PAGES] = { 0 };
	uint8_t is_in_others[N_PAGES] = { 0 };

	for (unsigned int i = 0; i < 300; i++) {
		add_any(&ranges, is_added, 0, &random);
		add_any(&others, is_in_others, 0, &random);
	}
	page_ranges_add_all(&ranges, &others);
	page_ranges_normalize(&others);
	expect_runs(&others, is_in_others, 0);
	for (size_t page = 0; page < N_PAGES; page++)
		is_added[page] |= is_in_others[page];
	page_ranges_normalize(&ranges);
	expect_runs(&ranges, is_added, 0);
	page_ranges_destroy(&ranges);
	page_ranges_destroy(&others);
}
END_TEST

START_TEST(a_run_of_pages_stays_one_range)
{
	struct page_ranges ranges = { 0 };

	for (uint64_t gfn = 1000; gfn < 100000; gfn++)
		page_ranges_add(&ranges, gfn, 1);
	ck_assert_uint_eq(ranges.n, 1);
	expect_range(&ranges, 0, 1000, 99000);
	/* The same page again, and pages that the range has already. */
	page_ranges_add(&ranges, 99999, 1);
	page_ranges_add(&ranges, 2000, 5);
	ck_assert_uint_eq(ranges.n, 1);
	ck_assert_uint_eq(page_ranges_count(&ranges), 99000);
	page_ranges_destroy(&ranges);
}
END_TEST

START_TEST(ranges_that_touch_become_one_and_those_that_do_not_stay_apart)
{
	struct page_ranges ranges = { 0 };

	page_ranges_add(&ranges, 30, 10);
	page_ranges_add(&ranges, 20, 10);
	page_ranges_add(&ranges, 41, 1);
	page_ranges_add(&ranges, 0, 19);
	page_ranges_normalize(&ranges);
	ck_assert_uint_eq(ranges.n, 3);
	expect_range(&ranges, 0, 0, 19);
	expect_range(&ranges, 1, 20, 20);
	expect_range(&ranges, 2, 41, 1);
	page_ranges_destroy(&ranges);
}
END_TEST

START_TEST(a_range_within_an_earlier_one_does_not_shorten_it)
{
	struct page_ranges ranges = { 0 };

	page_ranges_add(&ranges, 50, 1);
	page_ranges_add(&ranges, 0, 100);
	page_ranges_add(&ranges, 200, 1);
	page_ranges_add(&ranges, 0, 10);
	page_ranges_normalize(&ranges);
	ck_assert_uint_eq(ranges.n, 2);
	expect_range(&ranges, 0, 0, 100);
	expect_range(&ranges, 1, 200, 1);
	page_ranges_destroy(&ranges);
}
END_TEST

START_TEST(no_pages_are_no_range)
{
	struct page_ranges ranges = { 0 };

	page_ranges_normalize(&ranges);
	ck_assert_uint_eq(page_ranges_count(&ranges), 0);
	page_ranges_add(&ranges, 5, 0);
	page_ranges_add(&ranges, KVMATTR_GFN_LIMIT, 0);
	ck_assert_uint_eq(ranges.n, 0);
	ck_assert_ptr_null(ranges.range);
	page_ranges_destroy(&ranges);
}
END_TEST

START_TEST(all_of_guest_memory_is_one_range)
{
	struct page_ranges ranges = { 0 };

	page_ranges_add(&ranges, KVMATTR_GFN_LIMIT - 1, 1);
	page_ranges_add(&ranges, 1, KVMATTR_GFN_LIMIT - 2);
	page_ranges_add(&ranges, 0, 1);
	page_ranges_normalize(&ranges);
	ck_assert_uint_eq(ranges.n, 1);
	expect_range(&ranges, 0, 0, KVMATTR_GFN_LIMIT);
	page_ranges_destroy(&ranges);
}
END_TEST

/* Each of these calls ends in SIGABRT. */
START_TEST(what_lies_outside_of_guest_memory_is_asserted)
{
	struct page_ranges ranges = { 0 };

	switch (_i) {
	case 0:
		page_ranges_add(&ranges, KVMATTR_GFN_LIMIT, 1);
		break;
	case 1:
		page_ranges_add(&ranges, KVMATTR_GFN_LIMIT + 1, 0);
		break;
	case 2:
		page_ranges_add(&ranges, 2, UINT64_MAX);
		break;
	}
}
END_TEST

START_TEST(adding_ranges_to_themselves_is_asserted)
{
	struct page_ranges ranges = { 0 };

	page_ranges_add_all(&ranges, &ranges);
}
END_TEST

static uint64_t choose_seed(void)
{
	const char *text = getenv("KVMATTR_TEST_SEED");
	uint64_t chosen = 0;

	if (text)
		return strtoull(text, NULL, 0);
	if (getrandom(&chosen, sizeof(chosen), 0) != (ssize_t)sizeof(chosen))
		perror("getrandom");
	return chosen;
}

START_TEST(too_many_ranges_become_coarser_and_lose_no_page)
{
	struct page_ranges ranges = { 0 };
	const uint64_t n = 5000;

	for (uint64_t i = 0; i < n; i++)
		page_ranges_add(&ranges, (i * 1777 % n) * 600 + 7, 2);
	page_ranges_coarsen(&ranges, n);
	ck_assert_uint_eq(ranges.n, n);
	ck_assert_uint_eq(page_ranges_count(&ranges), 2 * n);
	page_ranges_coarsen(&ranges, n - 1);
	ck_assert_uint_lt(ranges.n, n);
	page_ranges_coarsen(&ranges, 1);
	ck_assert_uint_eq(ranges.n, 1);
	ck_assert_uint_eq(ranges.range[0].gfn, 0);
	ck_assert_uint_ge(ranges.range[0].n_pages, (n - 1) * 600 + 9);
	page_ranges_destroy(&ranges);
}
END_TEST

START_TEST(coarser_ranges_cover_whole_leaves_and_end_with_guest_memory)
{
	struct page_ranges ranges = { 0 };

	page_ranges_add(&ranges, 513, 1);
	page_ranges_add(&ranges, 1020, 10);
	page_ranges_add(&ranges, KVMATTR_GFN_LIMIT - 1, 1);
	page_ranges_coarsen(&ranges, 2);
	ck_assert_uint_eq(ranges.n, 2);
	ck_assert_uint_eq(ranges.range[0].gfn, 512);
	ck_assert_uint_eq(ranges.range[0].n_pages, 1024);
	ck_assert_uint_eq(ranges.range[1].gfn, KVMATTR_GFN_LIMIT - 512);
	ck_assert_uint_eq(ranges.range[1].n_pages, 512);
	page_ranges_destroy(&ranges);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("page-ranges");
	TCase *ranges = tcase_create("ranges");
	TCase *assertions = tcase_create("assertions");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	seed = choose_seed();
	printf("# KVMATTR_TEST_SEED=%" PRIu64 "\n", seed);
	fflush(stdout);
	tcase_set_timeout(ranges, 60); /* valgrind */
	tcase_add_loop_test(ranges, normalized_ranges_are_the_runs_of_the_pages_that_were_added, 0,
			    6);
	tcase_add_test(ranges, adding_all_of_others_adds_their_pages_and_leaves_them_as_they_are);
	tcase_add_test(ranges, a_run_of_pages_stays_one_range);
	tcase_add_test(ranges, ranges_that_touch_become_one_and_those_that_do_not_stay_apart);
	tcase_add_test(ranges, a_range_within_an_earlier_one_does_not_shorten_it);
	tcase_add_test(ranges, no_pages_are_no_range);
	tcase_add_test(ranges, all_of_guest_memory_is_one_range);
	tcase_add_test(ranges, too_many_ranges_become_coarser_and_lose_no_page);
	tcase_add_test(ranges, coarser_ranges_cover_whole_leaves_and_end_with_guest_memory);
	tcase_add_loop_test_raise_signal(assertions, what_lies_outside_of_guest_memory_is_asserted,
					 SIGABRT, 0, 3);
	tcase_add_test_raise_signal(assertions, adding_ranges_to_themselves_is_asserted, SIGABRT);
	suite_add_tcase(suite, ranges);
	suite_add_tcase(suite, assertions);
	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
