/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The shape of an attribute map: it depends on the content alone, and costs what that asks for.
 */
#include "tests/unit/attribute-map-oracle.h"
#include "tests/unit/seeded-suite.h"

#include <check.h>
#include <inttypes.h>
#include <malloc.h>

/* Writes the cells over whatever the map held, in the order that stride, a prime, gives. */
static void write_all_cells(struct attribute_map *map, const struct map_oracle *oracle,
			    size_t stride)
{
	ck_assert_uint_lt(oracle->n, stride);
	for (size_t i = 0; i < oracle->n; i++) {
		const size_t cell = i * stride % oracle->n;
		const uint64_t gfn = oracle->begin[cell];

		attribute_map_set_range(map, gfn, oracle->begin[cell + 1] - gfn,
					oracle->value[cell]);
	}
}

static void expect_same_shape(const struct attribute_map *a, const struct attribute_map *b)
{
	ck_assert_uint_eq(a->n_nodes, b->n_nodes);
	ck_assert_uint_eq(a->n_leaves, b->n_leaves);
	for (uint64_t gfn = 0; gfn < LIMIT;) {
		const struct attribute_span of_a = attribute_map_span(a, gfn, LIMIT);
		const struct attribute_span of_b = attribute_map_span(b, gfn, LIMIT);

		if (of_a.end != of_b.end || !of_a.bytes != !of_b.bytes)
			ck_abort_msg("spans of %" PRIx64 " differ", gfn);
		gfn = of_a.end;
	}
}

static void expect_same_shape_of_two_histories(uint64_t *random)
{
	struct map_oracle oracle = map_oracle_new_everywhere(random, 0);
	struct attribute_map first;
	struct attribute_map second;

	for (size_t cell = 0; cell < oracle.n; cell++)
		oracle.value[cell] = (uint8_t)(random_below(random, 5) / 3);
	attribute_map_init(&first, 0);
	attribute_map_init(&second, 0xff);
	write_all_cells(&first, &oracle, 1031);
	attribute_map_set_range(&second, 12345, LIMIT / 3, 0x42);
	write_all_cells(&second, &oracle, 7919);
	expect_content(&first, &oracle);
	expect_content(&second, &oracle);
	expect_same_shape(&first, &second);
	attribute_map_destroy(&first);
	attribute_map_destroy(&second);
	map_oracle_free(&oracle);
}

START_TEST(maps_of_the_same_content_have_the_same_shape_whatever_their_history)
{
	uint64_t random = seeded_suite_random(2000);

	for (unsigned int i = 0; i < 50; i++)
		expect_same_shape_of_two_histories(&random);
}
END_TEST

START_TEST(a_map_set_back_page_by_page_holds_no_memory)
{
	const uint64_t n_pages = 5 * ATTRIBUTE_MAP_LEAF_PAGES;
	const uint64_t base = window_bases[_i] / GIB * GIB + GIB - 2 * ATTRIBUTE_MAP_LEAF_PAGES;
	uint64_t random = seeded_suite_random(3000 + _i);
	struct attribute_map map;

	attribute_map_init(&map, 7);
	for (uint64_t i = 0; i < n_pages; i++)
		attribute_map_set(&map, base + i, (uint8_t)random_below(&random, 7));
	ck_assert_uint_eq(map.n_leaves, 5);
	ck_assert_uint_ge(map.n_nodes, 2);
	/* 1031 is prime to the number of pages: every page comes once. */
	for (uint64_t i = 0; i < n_pages; i++)
		attribute_map_set(&map, base + i * 1031 % n_pages, 7);
	ck_assert_uint_eq(map.n_nodes, 0);
	ck_assert_uint_eq(map.n_leaves, 0);
	ck_assert_uint_eq(attribute_map_memory(&map), 0);
	ck_assert_uint_eq(attribute_map_span(&map, 0, LIMIT).end, LIMIT);
	attribute_map_destroy(&map);
}
END_TEST

START_TEST(a_small_guest_pays_for_no_height_and_a_page_beyond_gives_back_what_it_took)
{
	struct attribute_map map;

	attribute_map_init(&map, 0);
	attribute_map_set(&map, 5, 1);
	ck_assert_uint_eq(map.n_nodes, 0);
	ck_assert_uint_eq(map.n_leaves, 1);
	for (unsigned int height = 2; height <= N_LEVELS; height++) {
		const uint64_t reach = UINT64_C(1) << 9 * height;
		const uint64_t last = (reach < LIMIT ? reach : LIMIT) - 1;

		attribute_map_set(&map, last, 1);
		ck_assert_uint_eq(map.height, height);
		/* The root, and below it one for each of the two pages at each level. */
		ck_assert_uint_eq(map.n_nodes, 2 * height - 3);
		ck_assert_uint_eq(map.n_leaves, 2);
		attribute_map_set(&map, last, 0);
		ck_assert_uint_eq(map.height, 1);
		ck_assert_uint_eq(map.n_nodes, 0);
		ck_assert_uint_eq(map.n_leaves, 1);
	}
	attribute_map_destroy(&map);
}
END_TEST

START_TEST(what_changes_nothing_allocates_nothing)
{
	struct attribute_map map;

	attribute_map_init(&map, 9);
	ck_assert_uint_eq(attribute_map_memory(&map), 0);
	ck_assert_uint_eq(attribute_map_set(&map, 123456, 9), 9);
	attribute_map_set_range(&map, 1, LIMIT - 2, 9);
	attribute_map_set_range(&map, 77, 0, 1);
	attribute_map_set_range(&map, LIMIT, 0, 1);
	ck_assert_uint_eq(attribute_map_memory(&map), 0);
	attribute_map_set_range(&map, 0, LIMIT, 1);
	ck_assert_uint_eq(attribute_map_memory(&map), 0);
	ck_assert_uint_eq(attribute_map_get(&map, LIMIT - 1), 1);
	attribute_map_destroy(&map);
}
END_TEST

START_TEST(a_huge_range_frees_what_it_covers_and_keeps_only_its_two_edges)
{
	uint64_t random = seeded_suite_random(4000);
	struct attribute_map map;

	attribute_map_init(&map, 0);
	for (unsigned int i = 0; i < 10000; i++)
		attribute_map_set(&map, random_below(&random, LIMIT), 1);
	ck_assert_uint_gt(map.n_leaves, 9000);
	attribute_map_set(&map, 0, 0);
	attribute_map_set(&map, LIMIT - 1, 0);
	attribute_map_set_range(&map, 1, LIMIT - 2, 2);
	/* The root, and at each edge a node at three levels and a leaf. */
	ck_assert_uint_eq(map.n_nodes, 7);
	ck_assert_uint_eq(map.n_leaves, 2);
	ck_assert_uint_eq(attribute_map_get(&map, 0), 0);
	ck_assert_uint_eq(attribute_map_get(&map, 1), 2);
	ck_assert_uint_eq(attribute_map_get(&map, LIMIT - 2), 2);
	ck_assert_uint_eq(attribute_map_get(&map, LIMIT - 1), 0);
	attribute_map_set_range(&map, 0, LIMIT, 0);
	ck_assert_uint_eq(attribute_map_memory(&map), 0);
	attribute_map_destroy(&map);
}
END_TEST

START_TEST(dense_memory_costs_at_most_1_1_bytes_a_page_with_what_malloc_adds)
{
	const uint64_t n_pages = GIB;
	const size_t before = mallinfo2().uordblks;
	struct attribute_map map;

	attribute_map_init(&map, 0);
	for (uint64_t gfn = 0; gfn < n_pages; gfn += 2)
		attribute_map_set(&map, gfn, 1);
	ck_assert_uint_eq(map.n_leaves, n_pages / ATTRIBUTE_MAP_LEAF_PAGES);
	ck_assert_uint_le(attribute_map_memory(&map), n_pages + n_pages / 10);
	/* Valgrind and sanitizers bring a malloc of their own, of which this says 0. */
	ck_assert_uint_le(mallinfo2().uordblks - before, n_pages + n_pages / 10);
	attribute_map_destroy(&map);
	ck_assert_uint_le(mallinfo2().uordblks, before + 16384);
}
END_TEST

static TCase *shape_case(void)
{
	TCase *shape = tcase_create("shape");

	tcase_set_timeout(shape, 300);
	tcase_add_test(shape, maps_of_the_same_content_have_the_same_shape_whatever_their_history);
	tcase_add_loop_test(shape, a_map_set_back_page_by_page_holds_no_memory, 0, N_WINDOWS);
	tcase_add_test(shape,
		       a_small_guest_pays_for_no_height_and_a_page_beyond_gives_back_what_it_took);
	tcase_add_test(shape, what_changes_nothing_allocates_nothing);
	tcase_add_test(shape, a_huge_range_frees_what_it_covers_and_keeps_only_its_two_edges);
	tcase_add_test(shape, dense_memory_costs_at_most_1_1_bytes_a_page_with_what_malloc_adds);
	return shape;
}

int main(void)
{
	TCase *const cases[] = { shape_case(), NULL };

	return seeded_suite_run("attribute-map-shape", cases);
}
