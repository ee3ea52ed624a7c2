/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The attribute map against a flat array (attribute-map-oracle.h): what it holds, and what it
 * asserts.
 */
#include "tests/unit/attribute-map-oracle.h"
#include "tests/unit/seeded-suite.h"

#include <check.h>
#include <signal.h>

START_TEST(a_map_equals_a_flat_array_over_random_operations)
{
	struct map_oracle oracle = map_oracle_new_window(window_bases[_i], 3 * GIB, 0x11);
	uint64_t random = seeded_suite_random(_i);
	struct attribute_map map;

	attribute_map_init(&map, 0x11);
	for (unsigned int round = 0; round < 12; round++) {
		for (unsigned int i = 0; i < 2500; i++) {
			set_any_cells(&map, &oracle, &random);
			expect_any_span(&map, &oracle, &random);
		}
		expect_content(&map, &oracle);
		expect_shape(&map, &oracle);
	}
	attribute_map_destroy(&map);
	map_oracle_free(&oracle);
}
END_TEST

START_TEST(a_map_equals_a_flat_array_over_ranges_of_every_size_in_all_of_guest_memory)
{
	uint64_t random = seeded_suite_random(1000 + _i);
	struct map_oracle oracle = map_oracle_new_everywhere(&random, 3);
	struct attribute_map map;

	attribute_map_init(&map, 3);
	for (unsigned int i = 0; i < 400; i++) {
		const size_t first = random_below(&random, oracle.n);
		const size_t reach = random_below(&random, 3) ? 6 : oracle.n;
		size_t last = first + random_below(&random, reach);

		last = last < oracle.n ? last : oracle.n - 1;
		set_cells(&map, &oracle, first, last, (uint8_t)(3 + random_below(&random, 2)));
		expect_shape(&map, &oracle);
		for (size_t cell = 0; cell < oracle.n; cell++) {
			expect_page(&map, &oracle, oracle.begin[cell]);
			expect_page(&map, &oracle, oracle.begin[cell + 1] - 1);
		}
		expect_any_span(&map, &oracle, &random);
		if (i % 20 == 0)
			expect_content(&map, &oracle);
	}
	expect_content(&map, &oracle);
	attribute_map_destroy(&map);
	map_oracle_free(&oracle);
}
END_TEST

START_TEST(setting_a_page_returns_what_it_held)
{
	static const uint64_t gfns[] = { 0, 511, 512, 16 * GIB + 3, LIMIT - 1 };
	struct attribute_map map;

	attribute_map_init(&map, 0xa5);
	for (size_t i = 0; i < sizeof(gfns) / sizeof(gfns[0]); i++) {
		ck_assert_uint_eq(attribute_map_get(&map, gfns[i]), 0xa5);
		ck_assert_uint_eq(attribute_map_set(&map, gfns[i], 0), 0xa5);
		for (unsigned int value = 1; value < 256; value++) {
			ck_assert_uint_eq(attribute_map_set(&map, gfns[i], (uint8_t)value),
					  value - 1);
			ck_assert_uint_eq(attribute_map_get(&map, gfns[i]), value);
		}
		ck_assert_uint_eq(attribute_map_set(&map, gfns[i], 0xff), 0xff);
		ck_assert_uint_eq(attribute_map_set(&map, gfns[i], 0xa5), 0xff);
	}
	ck_assert_uint_eq(attribute_map_memory(&map), 0);
	attribute_map_destroy(&map);
}
END_TEST

START_TEST(a_span_is_the_whole_uniform_entry_or_the_rest_of_the_leaf)
{
	struct attribute_map map;
	struct attribute_span span;

	attribute_map_init(&map, 1);
	span = attribute_map_span(&map, 77, LIMIT);
	ck_assert_uint_eq(span.end, LIMIT);
	ck_assert_ptr_null(span.bytes);
	ck_assert_uint_eq(span.value, 1);

	attribute_map_set_range(&map, GIB, GIB, 2);
	attribute_map_set_range(&map, 2 * GIB, 512, 3);
	attribute_map_set(&map, 3 * GIB + 100, 4);
	span = attribute_map_span(&map, 77, LIMIT);
	ck_assert_uint_eq(span.end, GIB);
	span = attribute_map_span(&map, GIB + 77, LIMIT);
	ck_assert_uint_eq(span.end, 2 * GIB);
	ck_assert_uint_eq(span.value, 2);
	ck_assert_ptr_null(span.bytes);
	ck_assert_uint_eq(attribute_map_span(&map, GIB + 77, GIB + 78).end, GIB + 78);
	ck_assert_uint_eq(attribute_map_span(&map, 2 * GIB + 5, LIMIT).end, 2 * GIB + 512);

	span = attribute_map_span(&map, 3 * GIB + 99, LIMIT);
	ck_assert_uint_eq(span.end, 3 * GIB + 512);
	ck_assert_ptr_nonnull(span.bytes);
	ck_assert_uint_eq(span.bytes[0], 1);
	ck_assert_uint_eq(span.bytes[1], 4);
	ck_assert_uint_eq(span.bytes[412], 1);
	ck_assert_uint_eq(attribute_map_span(&map, 3 * GIB + 99, 3 * GIB + 101).end, 3 * GIB + 101);
	/* Behind the root's reach, 512 GiB here, one span tells the rest. */
	ck_assert_uint_eq(attribute_map_span(&map, UINT64_C(1) << 27, LIMIT).end, LIMIT);
	attribute_map_destroy(&map);
}
END_TEST

/* Each of these calls ends in SIGABRT, of a map that reaches nothing and of one that reaches all. */
START_TEST(what_lies_outside_of_guest_memory_is_asserted)
{
	struct attribute_map map;

	attribute_map_init(&map, 0);
	if (_i >= 8)
		attribute_map_set(&map, LIMIT - 1, 1);
	switch (_i % 8) {
	case 0:
		attribute_map_get(&map, LIMIT);
		break;
	case 1:
		attribute_map_set(&map, LIMIT, 0);
		break;
	case 2:
		attribute_map_set(&map, UINT64_MAX, 1);
		break;
	case 3:
		attribute_map_set_range(&map, LIMIT - 1, 2, 0);
		break;
	case 4:
		attribute_map_set_range(&map, 2, UINT64_MAX, 0);
		break;
	case 5:
		attribute_map_set_range(&map, LIMIT + 1, 0, 0);
		break;
	case 6:
		attribute_map_span(&map, 5, LIMIT + 1);
		break;
	case 7:
		attribute_map_span(&map, LIMIT, LIMIT + 1);
		break;
	}
}
END_TEST

START_TEST(an_empty_span_is_asserted)
{
	struct attribute_map map;

	attribute_map_init(&map, 0);
	attribute_map_span(&map, 5, 5);
}
END_TEST

static TCase *content_case(void)
{
	TCase *content = tcase_create("content");

	tcase_set_timeout(content, 300); /* valgrind */
	tcase_add_loop_test(content, a_map_equals_a_flat_array_over_random_operations, 0,
			    N_WINDOWS);
	tcase_add_loop_test(
		content, a_map_equals_a_flat_array_over_ranges_of_every_size_in_all_of_guest_memory,
		0, 8);
	tcase_add_test(content, setting_a_page_returns_what_it_held);
	tcase_add_test(content, a_span_is_the_whole_uniform_entry_or_the_rest_of_the_leaf);
	return content;
}

static TCase *assertions_case(void)
{
	TCase *assertions = tcase_create("assertions");

	tcase_add_loop_test_raise_signal(assertions, what_lies_outside_of_guest_memory_is_asserted,
					 SIGABRT, 0, 16);
	tcase_add_test_raise_signal(assertions, an_empty_span_is_asserted, SIGABRT);
	return assertions;
}

int main(void)
{
	TCase *const cases[] = { content_case(), assertions_case(), NULL };

	return seeded_suite_run("attribute-map", cases);
}
