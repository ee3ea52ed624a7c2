/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory of many leaves: no two get the same, what was written stays, what nobody needs goes
 * back to the system; and maps that are that large are as those of few leaves, expected or not.
 */
#include "daemon/allocate.h"
#include "daemon/policy/attribute-map.h"
#include "daemon/policy/leaf-chunks.h"
#include "protocol/kvmattr-types.h"
#include "tests/unit/seeded-suite.h"

#include <string.h>

#define CHUNK ((size_t)LEAF_SIZE * LEAF_CHUNK_LEAVES)
#define MANY  (5 * LEAF_CHUNK_LEAVES)

static struct leaf_chunks *chunks;
static uint8_t **taken;
static uint64_t *marks; /* what was written into each */
static size_t n_taken;

static void begin(void)
{
	taken = allocate_zeroed(MANY, sizeof(*taken));
	marks = allocate_zeroed(MANY, sizeof(*marks));
	n_taken = 0;
}

static void end(void)
{
	leaf_chunks_free(chunks);
	chunks = NULL;
	free(taken);
	free(marks);
}

static void mark(uint8_t *leaf, uint64_t value)
{
	for (size_t i = 0; i < LEAF_SIZE; i += sizeof(value))
		memcpy(leaf + i, &value, sizeof(value));
}

static bool is_marked(const uint8_t *leaf, uint64_t value)
{
	return memcmp(leaf, &value, sizeof(value)) == 0 &&
	       memcmp(leaf, leaf + sizeof(value), LEAF_SIZE - sizeof(value)) == 0;
}

/* Returns whether there was one. */
static bool take(uint64_t *random)
{
	uint8_t *leaf = leaf_chunks_take(chunks);

	if (!leaf)
		return false;
	EXPECT((uintptr_t)leaf % LEAF_SIZE == 0, "not aligned");
	taken[n_taken] = leaf;
	marks[n_taken] = random_below(random, UINT64_MAX);
	mark(leaf, marks[n_taken++]);
	return true;
}

static void give_back(size_t i)
{
	EXPECT(is_marked(taken[i], marks[i]), "leaf %zu was overwritten", i);
	EXPECT(leaf_chunks_give_back(chunks, taken[i]), "leaf %zu is not from here", i);
	n_taken--;
	taken[i] = taken[n_taken];
	marks[i] = marks[n_taken];
}

static void expect_memory(size_t n_chunks)
{
	ck_assert_uint_eq(leaf_chunks_n_taken(chunks), n_taken);
	ck_assert_uint_eq(leaf_chunks_memory(chunks), n_chunks * CHUNK);
}

START_TEST(leaves_come_and_go_at_random_and_none_is_another_ones)
{
	uint64_t random = seeded_suite_random(_i);

	chunks = leaf_chunks_new(MANY);
	for (unsigned int round = 0; round < 40; round++) {
		size_t goal = random_below(&random, MANY);

		while (n_taken < goal && take(&random))
			;
		while (n_taken > goal)
			give_back(random_below(&random, n_taken));
		for (unsigned int i = 0; i < 2000 && n_taken; i++) {
			give_back(random_below(&random, n_taken));
			ck_assert(take(&random));
		}
		ck_assert_uint_eq(leaf_chunks_n_taken(chunks), n_taken);
		ck_assert_uint_ge(leaf_chunks_memory(chunks), n_taken * LEAF_SIZE);
	}
	while (n_taken)
		give_back(n_taken - 1);
	expect_memory(1);
}
END_TEST

START_TEST(a_chunk_is_taken_only_where_leaves_to_fill_it_are_expected)
{
	uint64_t random = seeded_suite_random(_i);

	chunks = leaf_chunks_new(2 * LEAF_CHUNK_LEAVES + LEAF_CHUNK_LEAVES / 2);
	expect_memory(0); /* not before it is needed */
	for (size_t i = 0; i < 2 * LEAF_CHUNK_LEAVES; i++) {
		ck_assert(take(&random));
		expect_memory(i / LEAF_CHUNK_LEAVES + 1);
	}
	ck_assert(!take(&random)); /* the rest is few */
	give_back(random_below(&random, n_taken));
	ck_assert(take(&random));
	ck_assert(!take(&random));
}
END_TEST

START_TEST(what_is_empty_goes_back_but_for_one_chunk)
{
	uint64_t random = seeded_suite_random(_i);

	chunks = leaf_chunks_new(MANY);
	while (take(&random))
		;
	ck_assert_uint_eq(n_taken, MANY);
	expect_memory(5);
	while (n_taken > 2 * LEAF_CHUNK_LEAVES)
		give_back(n_taken - 1);
	expect_memory(3);
	while (n_taken)
		give_back(n_taken - 1);
	expect_memory(1);
	ck_assert(take(&random)); /* in what is left */
	expect_memory(1);
}
END_TEST

START_TEST(a_leaf_that_comes_and_goes_takes_no_chunk_with_it)
{
	uint64_t random = seeded_suite_random(_i);

	chunks = leaf_chunks_new(MANY);
	while (n_taken <= 2 * LEAF_CHUNK_LEAVES)
		ck_assert(take(&random));
	for (unsigned int i = 0; i < 10; i++) {
		uint8_t *leaf = taken[n_taken - 1];

		give_back(n_taken - 1);
		expect_memory(3);
		ck_assert(take(&random));
		ck_assert_ptr_eq(taken[n_taken - 1], leaf);
	}
}
END_TEST

START_TEST(what_is_not_from_here_is_not_taken_back)
{
	static uint8_t elsewhere[LEAF_SIZE];
	uint64_t random = seeded_suite_random(_i);
	uint8_t *heap = allocate(LEAF_SIZE);

	chunks = leaf_chunks_new(MANY);
	for (unsigned int i = 0; i < 2; i++) {
		ck_assert(!leaf_chunks_give_back(chunks, elsewhere));
		ck_assert(!leaf_chunks_give_back(chunks, heap));
		ck_assert(!leaf_chunks_give_back(chunks, (uint8_t *)&random));
		ck_assert(take(&random));
	}
	free(heap);
}
END_TEST

/* ---- Maps ----------------------------------------------------------------------------------- */

#define MAP_LEAVES 9000u
#define MAP_PAGES  ((uint64_t)MAP_LEAVES * ATTRIBUTE_MAP_LEAF_PAGES)

static void expect_same_pages(const struct attribute_map *map, const uint8_t *flat)
{
	for (uint64_t gfn = 0; gfn < MAP_PAGES; gfn++)
		EXPECT(attribute_map_get(map, gfn) == flat[gfn], "GFN 0x%x", (unsigned int)gfn);
}

/* _i: 1: expected. */
START_TEST(a_large_map_is_what_was_set_and_holds_no_memory_when_all_is_set_back)
{
	uint64_t random = seeded_suite_random(_i);
	uint8_t *flat = allocate_zeroed(MAP_PAGES, 1);
	struct attribute_map map;

	attribute_map_init(&map, 0);
	attribute_map_expect(&map, _i ? MAP_LEAVES : 0);
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 3 * MAP_LEAVES; i++) {
			uint64_t gfn = random_below(&random, MAP_PAGES);

			flat[gfn] = (uint8_t)random_below(&random, 4);
			attribute_map_set(&map, gfn, flat[gfn]);
		}
		for (unsigned int i = 0; i < 3; i++) { /* many leaves at once */
			uint64_t gfn = random_below(&random, MAP_PAGES);
			uint64_t n = random_below(&random, (MAP_PAGES - gfn) / 2);

			memset(flat + gfn, (int)i, n);
			attribute_map_set_range(&map, gfn, n, (uint8_t)i);
		}
		expect_same_pages(&map, flat);
	}
	ck_assert_uint_gt(map.n_leaves, 1000);
	for (uint64_t leaf = 0; leaf < MAP_LEAVES; leaf++) {
		uint64_t gfn = (leaf * 1031 % MAP_LEAVES) * ATTRIBUTE_MAP_LEAF_PAGES;

		attribute_map_set_range(&map, gfn, ATTRIBUTE_MAP_LEAF_PAGES, 0);
	}
	ck_assert_uint_eq(map.n_leaves, 0);
	ck_assert_uint_eq(attribute_map_memory(&map), 0);
	attribute_map_set(&map, 5, 1);
	ck_assert_uint_eq(attribute_map_memory(&map), LEAF_SIZE);
	attribute_map_destroy(&map);
	free(flat);
}
END_TEST

START_TEST(what_was_expected_and_never_came_costs_nothing)
{
	struct attribute_map map;

	attribute_map_init(&map, 0);
	attribute_map_expect(&map, MAP_LEAVES);
	ck_assert_uint_eq(attribute_map_memory(&map), 0);
	attribute_map_destroy(&map);
	attribute_map_expect(&map, LEAF_CHUNK_LEAVES - 1); /* few are malloc()'s */
	attribute_map_set(&map, 5, 1);
	ck_assert_uint_eq(attribute_map_memory(&map), LEAF_SIZE);
	attribute_map_destroy(&map);
}
END_TEST

int main(void)
{
	TCase *leaves = tcase_create("leaves");
	TCase *maps = tcase_create("maps");

	tcase_add_checked_fixture(leaves, begin, end);
	tcase_add_loop_test(leaves, leaves_come_and_go_at_random_and_none_is_another_ones, 0, 4);
	tcase_add_test(leaves, a_chunk_is_taken_only_where_leaves_to_fill_it_are_expected);
	tcase_add_test(leaves, what_is_empty_goes_back_but_for_one_chunk);
	tcase_add_test(leaves, a_leaf_that_comes_and_goes_takes_no_chunk_with_it);
	tcase_add_test(leaves, what_is_not_from_here_is_not_taken_back);
	tcase_add_loop_test(
		maps, a_large_map_is_what_was_set_and_holds_no_memory_when_all_is_set_back, 0, 2);
	tcase_add_test(maps, what_was_expected_and_never_came_costs_nothing);
	return seeded_suite_run("leaf-chunks", (TCase *[]){ leaves, maps, NULL });
}
