/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The attribute map against a flat array.
 *
 * The oracle is an array of bytes, each for a cell: a few hundred thousand single pages in a row,
 * or any ranges that tile the whole address space, so that it also knows what a range of 2^40
 * pages does.  Operations begin and end at cells' borders.  The shape is checked against a count
 * that comes from the content alone: the places where the value changes.
 */
#include "daemon/policy/attribute-map.h"
#include "protocol/kvmattr-types.h"

#include <check.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define LIMIT    KVMATTR_GFN_LIMIT
#define GIB      (UINT64_C(1) << 18) /* in pages */
#define N_LEVELS 5u

/* From the environment, or another one each time; a test adds its own number. */
static uint64_t seed;

static uint64_t random_below(uint64_t *state, uint64_t bound) /* SplitMix64 */
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return (x ^ x >> 31) % bound;
}

/* ---- The oracle ---------------------------------------------------------------------------- */

struct oracle {
	size_t n;
	uint64_t *begin; /* n + 1: of each cell, and LIMIT */
	uint8_t *value;  /* n */
};

/* Room for n_max cells; none yet. */
static struct oracle oracle_new(size_t n_max)
{
	struct oracle oracle = { .begin = calloc(n_max + 1, sizeof(*oracle.begin)),
				 .value = calloc(n_max, 1) };

	ck_assert_ptr_nonnull(oracle.begin);
	ck_assert_ptr_nonnull(oracle.value);
	return oracle;
}

static void oracle_free(struct oracle *oracle)
{
	free(oracle->begin);
	free(oracle->value);
}

/* A cell for each of n_pages pages from base on, and one for all before and all behind. */
static struct oracle oracle_new_window(uint64_t base, uint64_t n_pages, uint8_t value)
{
	struct oracle oracle = oracle_new(n_pages + 2);

	if (base > 0)
		oracle.begin[oracle.n++] = 0;
	for (uint64_t gfn = base; gfn <= base + n_pages && gfn < LIMIT; gfn++)
		oracle.begin[oracle.n++] = gfn;
	oracle.begin[oracle.n] = LIMIT;
	memset(oracle.value, value, oracle.n);
	return oracle;
}

static int compare_numbers(const void *left, const void *right)
{
	const uint64_t a = *(const uint64_t *)left;
	const uint64_t b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

/* Cells whose borders are on, beside and between those of blocks of every level. */
static struct oracle oracle_new_everywhere(uint64_t *random, uint8_t value)
{
	uint64_t border[1 + 8 * (N_LEVELS + 1) * 3] = { 0 };
	const size_t n = sizeof(border) / sizeof(border[0]);
	struct oracle oracle = oracle_new(n);

	for (size_t i = 1; i < n; i += 3) {
		const size_t level = i / 3 % (N_LEVELS + 1);
		const uint64_t at = level == N_LEVELS ? random_below(random, LIMIT)
						      : random_below(random, 1024) << 9 * level;

		for (unsigned int j = 0; j < 3; j++)
			border[i + j] = (at + LIMIT - 1 + j) % LIMIT;
	}
	qsort(border, n, sizeof(border[0]), compare_numbers);
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || border[i] != border[i - 1])
			oracle.begin[oracle.n++] = border[i];
	}
	oracle.begin[oracle.n] = LIMIT;
	memset(oracle.value, value, oracle.n);
	return oracle;
}

/* The cell that gfn is in. */
static size_t oracle_find(const struct oracle *oracle, uint64_t gfn)
{
	size_t low = 0;
	size_t high = oracle->n;

	while (high - low > 1) {
		const size_t middle = low + (high - low) / 2;

		if (oracle->begin[middle] <= gfn)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* ---- What is proved: in loops without ck_assert, which writes to a file each time ---------- */

/* Every page of the map holds what the oracle says, and the spans tell them all, in order. */
static void expect_content(const struct attribute_map *map, const struct oracle *oracle)
{
	uint64_t gfn = 0;
	size_t cell = 0;

	while (gfn < LIMIT) {
		const struct attribute_span span = attribute_map_span(map, gfn, LIMIT);

		if (span.end <= gfn || span.end > LIMIT)
			ck_abort_msg("span of %" PRIx64 " ends at %" PRIx64, gfn, span.end);
		if (span.bytes && span.end - gfn > ATTRIBUTE_MAP_LEAF_PAGES)
			ck_abort_msg("bytes of more than a leaf at %" PRIx64, gfn);
		for (uint64_t at = gfn; at < span.end;) {
			const uint64_t cell_end = oracle->begin[cell + 1];
			const uint8_t told = span.bytes ? span.bytes[at - gfn] : span.value;

			if (told != oracle->value[cell])
				ck_abort_msg("page %" PRIx64 " is %u, not %u", at, told,
					     oracle->value[cell]);
			at = span.bytes ? at + 1 : cell_end < span.end ? cell_end : span.end;
			if (at == cell_end)
				cell++;
		}
		gfn = span.end;
	}
	ck_assert_uint_eq(cell, oracle->n);
}

/*
 * The map has the leaves and nodes that its content asks for, and no other.  A block of any
 * level is divided if and only if the value changes within it; the root is the lowest block from
 * page 0 on with no change behind it.
 */
static void expect_shape(const struct attribute_map *map, const struct oracle *oracle)
{
	size_t n_divided[N_LEVELS] = { 0 };
	uint64_t last_divided[N_LEVELS];
	uint64_t last_change = 0;
	unsigned int height = 0;
	size_t n_nodes = 0;

	memset(last_divided, 0xff, sizeof(last_divided));
	for (size_t cell = 1; cell < oracle->n; cell++) {
		const uint64_t gfn = oracle->begin[cell];

		if (oracle->value[cell] == oracle->value[cell - 1])
			continue;
		last_change = gfn;
		for (unsigned int level = 0; level < N_LEVELS; level++) {
			const unsigned int shift = 9 * (level + 1);

			if (gfn % (UINT64_C(1) << shift) != 0 &&
			    gfn >> shift != last_divided[level]) {
				last_divided[level] = gfn >> shift;
				n_divided[level]++;
			}
		}
	}
	while (last_change > (height > 0 ? UINT64_C(1) << 9 * height : 0))
		height++;
	for (unsigned int level = 1; level < height; level++)
		n_nodes += n_divided[level];
	ck_assert_uint_eq(map->n_leaves, n_divided[0]);
	ck_assert_uint_eq(map->n_nodes, n_nodes);
	ck_assert_uint_eq(map->height, height);
	ck_assert_uint_eq(attribute_map_memory(map),
			  n_divided[0] * 512 + n_nodes * 512 * sizeof(uintptr_t));
}

static void expect_page(const struct attribute_map *map, const struct oracle *oracle, uint64_t gfn)
{
	const uint8_t value = attribute_map_get(map, gfn);
	const uint8_t expected = oracle->value[oracle_find(oracle, gfn)];

	if (value != expected)
		ck_abort_msg("page %" PRIx64 " is %u, not %u", gfn, value, expected);
}

/* A span from any page to a limit, near or far, ends where it may and agrees with get. */
static void expect_any_span(const struct attribute_map *map, const struct oracle *oracle,
			    uint64_t *random)
{
	const size_t cell = random_below(random, oracle->n);
	const uint64_t cell_size = oracle->begin[cell + 1] - oracle->begin[cell];
	const uint64_t gfn = oracle->begin[cell] + random_below(random, cell_size);
	const uint64_t left = LIMIT - gfn;
	const uint64_t near = left < 700 ? left : 700;
	const uint64_t limit =
		gfn + 1 + random_below(random, random_below(random, 2) ? near : left);
	const struct attribute_span span = attribute_map_span(map, gfn, limit);

	if (span.end <= gfn || span.end > limit ||
	    (span.bytes && span.end < limit && span.end % ATTRIBUTE_MAP_LEAF_PAGES != 0))
		ck_abort_msg("span of %" PRIx64 " to %" PRIx64 " ends at %" PRIx64, gfn, limit,
			     span.end);
	for (unsigned int i = 0; i < 4; i++) {
		const uint64_t at = gfn + random_below(random, span.end - gfn);
		const uint8_t told = span.bytes ? span.bytes[at - gfn] : span.value;

		if (attribute_map_get(map, at) != told)
			ck_abort_msg("page %" PRIx64 " is not %u as in its span", at, told);
	}
}

/* Sets cells first to last to value, in the map and in the oracle. */
static void set_cells(struct attribute_map *map, struct oracle *oracle, size_t first, size_t last,
		      uint8_t value)
{
	const uint64_t gfn = oracle->begin[first];
	const uint64_t n_pages = oracle->begin[last + 1] - gfn;

	if (n_pages == 1) {
		const uint8_t old = attribute_map_set(map, gfn, value);

		if (old != oracle->value[first])
			ck_abort_msg("page %" PRIx64 " was %u, not %u", gfn, old,
				     oracle->value[first]);
	} else {
		attribute_map_set_range(map, gfn, n_pages, value);
	}
	memset(oracle->value + first, value, last - first + 1);
	expect_page(map, oracle, gfn);
	expect_page(map, oracle, gfn + n_pages - 1);
	if (gfn > 0)
		expect_page(map, oracle, gfn - 1);
	if (gfn + n_pages < LIMIT)
		expect_page(map, oracle, gfn + n_pages);
}

/* Sets a page, a few, some leaves' or some nodes' worth of cells, aligned to a leaf or not. */
static void set_any_cells(struct attribute_map *map, struct oracle *oracle, uint64_t *random)
{
	static const uint64_t lengths[] = { 1,   1,    1,    1,     1,     1,   1,      1,
					    1,   1,    1,    1,     1,     1,   1,      1,
					    8,   8,    8,    64,    64,    511, 511,    513,
					    513, 2048, 2048, 10000, 10000, GIB, 3 * GIB };
	const uint64_t n_kinds = sizeof(lengths) / sizeof(lengths[0]);
	const uint64_t length = 1 + random_below(random, lengths[random_below(random, n_kinds)]);
	const uint8_t value = (uint8_t)(random_below(random, 3) * 0x11);
	size_t first = random_below(random, oracle->n);
	size_t last = first + length - 1 < oracle->n ? first + length - 1 : oracle->n - 1;

	if (random_below(random, 3) == 0) {
		const uint64_t end = oracle->begin[last + 1] - 1;

		first = oracle_find(oracle, oracle->begin[first] & ~UINT64_C(511));
		last = oracle_find(oracle, end | (length > 1 ? 511 : 0));
	}
	set_cells(map, oracle, first, last, value);
}

/* ---- Tests --------------------------------------------------------------------------------- */

/* Where the windows begin: around the borders of every height, and nowhere in particular. */
static const uint64_t window_bases[] = {
	0,
	UINT64_C(64) * GIB + 77,
	(UINT64_C(1) << 27) - GIB,
	(UINT64_C(1) << 36) - GIB - 1,
	LIMIT - 3 * GIB,
};
#define N_WINDOWS (int)(sizeof(window_bases) / sizeof(window_bases[0]))

START_TEST(a_map_equals_a_flat_array_over_random_operations)
{
	struct oracle oracle = oracle_new_window(window_bases[_i], 3 * GIB, 0x11);
	uint64_t random = seed + _i;
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
	oracle_free(&oracle);
}
END_TEST

START_TEST(a_map_equals_a_flat_array_over_ranges_of_every_size_in_all_of_guest_memory)
{
	uint64_t random = seed + 1000 + _i;
	struct oracle oracle = oracle_new_everywhere(&random, 3);
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
	oracle_free(&oracle);
}
END_TEST

/* Writes the cells over whatever the map held, in the order that stride, a prime, gives. */
static void write_all_cells(struct attribute_map *map, const struct oracle *oracle, size_t stride)
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
	struct oracle oracle = oracle_new_everywhere(random, 0);
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
	oracle_free(&oracle);
}

START_TEST(maps_of_the_same_content_have_the_same_shape_whatever_their_history)
{
	uint64_t random = seed + 2000;

	for (unsigned int i = 0; i < 50; i++)
		expect_same_shape_of_two_histories(&random);
}
END_TEST

START_TEST(a_map_set_back_page_by_page_holds_no_memory)
{
	const uint64_t n_pages = 5 * ATTRIBUTE_MAP_LEAF_PAGES;
	const uint64_t base = window_bases[_i] / GIB * GIB + GIB - 2 * ATTRIBUTE_MAP_LEAF_PAGES;
	uint64_t random = seed + 3000 + _i;
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
	uint64_t random = seed + 4000;
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

static TCase *assertions_case(void)
{
	TCase *assertions = tcase_create("assertions");

	tcase_add_loop_test_raise_signal(assertions, what_lies_outside_of_guest_memory_is_asserted,
					 SIGABRT, 0, 16);
	tcase_add_test_raise_signal(assertions, an_empty_span_is_asserted, SIGABRT);
	return assertions;
}

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

int main(void)
{
	Suite *suite = suite_create("attribute-map");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	seed = choose_seed();
	printf("# KVMATTR_TEST_SEED=%" PRIu64 "\n", seed);
	fflush(stdout);
	suite_add_tcase(suite, content_case());
	suite_add_tcase(suite, shape_case());
	suite_add_tcase(suite, assertions_case());
	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
