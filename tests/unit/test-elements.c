/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An update's elements, one by one and as runs.
 */
#include "daemon/policy/elements.h"
#include "protocol/wire.h"
#include "tests/unit/seeded-suite.h"

static struct elements pages(const uint64_t *gfns, uint32_t n)
{
	return (struct elements){ (const uint8_t *)gfns, n, WIRE_FORM_PAGES };
}

static void expect_run(struct elements elements, uint32_t i, uint64_t at_most, uint64_t gfn,
		       uint32_t n)
{
	uint32_t n_got;
	struct kvmattr_range range = elements_run(elements, i, at_most, &n_got);

	ck_assert_uint_eq(n_got, n);
	ck_assert_uint_eq(range.gfn, gfn);
	ck_assert_uint_eq(range.n_pages, n);
}

START_TEST(pages_that_follow_each_other_are_a_run)
{
	static const uint64_t gfns[] = { 7, 8, 9, 11, 10, 11, 11, 12 };
	const struct elements elements = pages(gfns, N(gfns));

	ck_assert_uint_eq(elements_count(elements), N(gfns));
	expect_run(elements, 0, UINT64_MAX, 7, 3);
	expect_run(elements, 1, UINT64_MAX, 8, 2);
	expect_run(elements, 3, UINT64_MAX, 11, 1);
	expect_run(elements, 4, UINT64_MAX, 10, 2);
	expect_run(elements, 6, UINT64_MAX, 11, 2);
	expect_run(elements, 7, UINT64_MAX, 12, 1);
}
END_TEST

START_TEST(a_run_is_as_long_as_it_may_be)
{
	static const uint64_t gfns[] = { 7, 8, 9, 10 };

	for (uint32_t at_most = 1; at_most <= 4; at_most++)
		expect_run(pages(gfns, 4), 0, at_most, 7, at_most);
	expect_run(pages(gfns, 2), 0, 4, 7, 2); /* and never longer than the list */
}
END_TEST

START_TEST(any_number_may_have_been_received)
{
	static const uint64_t gfns[] = { UINT64_MAX - 1, UINT64_MAX, 0 };
	static const struct kvmattr_range ranges[] = { { UINT64_MAX, UINT64_MAX }, { 3, 0 } };
	const struct elements elements = { (const uint8_t *)ranges, N(ranges), WIRE_FORM_RANGES };

	ck_assert_uint_eq(elements_at(pages(gfns, 3), 1).gfn, UINT64_MAX);
	ck_assert_uint_eq(elements_at(elements, 0).n_pages, UINT64_MAX);
	ck_assert_uint_eq(elements_at(elements, 1).n_pages, 0);
}
END_TEST

START_TEST(ranges_are_taken_one_by_one)
{
	static const struct kvmattr_range ranges[] = { { 7, 2 }, { 9, 5 } };
	const struct elements elements = { (const uint8_t *)ranges, N(ranges), WIRE_FORM_RANGES };
	uint32_t n;

	ck_assert_uint_eq(elements_count(elements), 2);
	ck_assert_uint_eq(elements_run(elements, 0, UINT64_MAX, &n).n_pages, 2);
	ck_assert_uint_eq(n, 1);
}
END_TEST

START_TEST(an_update_without_elements_is_one_thing_to_do)
{
	const struct elements none = { .form = WIRE_FORM_NONE };
	uint32_t n;

	ck_assert_uint_eq(elements_count(none), 1);
	ck_assert_uint_eq(elements_run(none, 0, UINT64_MAX, &n).n_pages, 0);
	ck_assert_uint_eq(n, 1);
}
END_TEST

int main(void)
{
	TCase *elements = tcase_create("elements");

	tcase_add_test(elements, pages_that_follow_each_other_are_a_run);
	tcase_add_test(elements, a_run_is_as_long_as_it_may_be);
	tcase_add_test(elements, any_number_may_have_been_received);
	tcase_add_test(elements, ranges_are_taken_one_by_one);
	tcase_add_test(elements, an_update_without_elements_is_one_thing_to_do);
	return seeded_suite_run("elements", (TCase *[]){ elements, NULL });
}
