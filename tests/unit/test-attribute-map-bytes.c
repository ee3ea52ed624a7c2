/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Setting many pages of a leaf at once: the same map comes of it as of setting them one by one.
 */
#include "daemon/policy/attribute-map.h"
#include "protocol/kvmattr-types.h"
#include "tests/unit/seeded-suite.h"

#include <signal.h>

#define LEAF    ATTRIBUTE_MAP_LEAF_PAGES
#define N_PAGES (8u * LEAF)

static struct attribute_map at_once, one_by_one;

static void start(uint8_t value)
{
	attribute_map_init(&at_once, value);
	attribute_map_init(&one_by_one, value);
}

static void stop(void)
{
	attribute_map_destroy(&at_once);
	attribute_map_destroy(&one_by_one);
}

static void set(uint64_t gfn, size_t n, const uint8_t *values)
{
	attribute_map_set_bytes(&at_once, gfn, n, values);
	for (size_t i = 0; i < n; i++)
		attribute_map_set(&one_by_one, gfn + i, values[i]);
}

static void expect_same(uint64_t base)
{
	for (uint64_t gfn = base; gfn < base + N_PAGES; gfn++)
		EXPECT(attribute_map_get(&at_once, gfn) == attribute_map_get(&one_by_one, gfn),
		       "page 0x%llx", (unsigned long long)gfn);
	ck_assert_uint_eq(at_once.height, one_by_one.height);
	ck_assert_uint_eq(at_once.n_nodes, one_by_one.n_nodes);
	ck_assert_uint_eq(at_once.n_leaves, one_by_one.n_leaves);
}

START_TEST(pages_set_at_once_make_the_map_that_pages_set_one_by_one_make)
{
	static const uint64_t bases[] = { 0, UINT64_C(1) << 30, KVMATTR_GFN_LIMIT - N_PAGES };
	uint64_t random = seeded_suite_random(_i), base = bases[_i % 3];

	start((uint8_t)(_i / 3));
	for (unsigned int round = 0; round < 400; round++) {
		uint8_t values[LEAF];
		/* Mostly few values, so that leaves become uniform, and what they were, again. */
		uint64_t n_values = random_one_in(&random, 3) ? 256 : 1 + random_below(&random, 2);
		size_t place = random_one_in(&random, 2) ? 0 : random_below(&random, LEAF);
		size_t n = random_one_in(&random, 2) ? LEAF - place
						     : 1 + random_below(&random, LEAF - place);

		for (size_t i = 0; i < n; i++)
			values[i] = (uint8_t)random_below(&random, n_values);
		set(base + LEAF * random_below(&random, N_PAGES / LEAF) + place, n, values);
		if (random_one_in(&random, 20))
			expect_same(base);
	}
	expect_same(base);
	stop();
}
END_TEST

START_TEST(a_leaf_whose_rest_is_already_so_becomes_uniform_again)
{
	uint8_t values[LEAF] = { 0 };

	start(0);
	values[100] = 7;
	set(LEAF, LEAF, values);
	ck_assert_uint_eq(at_once.n_leaves, 1);
	values[100] = 0;
	set(LEAF + 90, 20, values + 90);
	ck_assert_uint_eq(at_once.n_leaves, 0);
	expect_same(0);
	stop();
}
END_TEST

/* Each of these calls ends in SIGABRT. */
START_TEST(no_pages_and_pages_of_two_leaves_are_asserted)
{
	static const struct {
		uint64_t gfn;
		size_t n;
	} bad[] = { { 0, 0 }, { 1, LEAF }, { LEAF - 1, 2 }, { 0, LEAF + 1 } };
	uint8_t values[LEAF + 1] = { 0 };

	start(0);
	attribute_map_set_bytes(&at_once, bad[_i].gfn, bad[_i].n, values);
}
END_TEST

int main(void)
{
	TCase *bytes = tcase_create("bytes");
	TCase *assertions = tcase_create("assertions");

	tcase_add_loop_test(bytes, pages_set_at_once_make_the_map_that_pages_set_one_by_one_make, 0,
			    6);
	tcase_add_test(bytes, a_leaf_whose_rest_is_already_so_becomes_uniform_again);
	tcase_add_loop_test_raise_signal(assertions, no_pages_and_pages_of_two_leaves_are_asserted,
					 SIGABRT, 0, 4);
	return seeded_suite_run("attribute-map-bytes", (TCase *[]){ bytes, assertions, NULL });
}
