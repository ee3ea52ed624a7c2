/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/attribute-map-oracle.h"

#include "tests/unit/seeded-suite.h"

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const uint64_t window_bases[N_WINDOWS] = {
	0,
	UINT64_C(64) * GIB + 77,
	(UINT64_C(1) << 27) - GIB,
	(UINT64_C(1) << 36) - GIB - 1,
	LIMIT - 3 * GIB,
};

/* Room for n_max cells; none yet. */
static struct map_oracle map_oracle_new(size_t n_max)
{
	struct map_oracle oracle = { .begin = calloc(n_max + 1, sizeof(*oracle.begin)),
				     .value = calloc(n_max, 1) };

	ck_assert_ptr_nonnull(oracle.begin);
	ck_assert_ptr_nonnull(oracle.value);
	return oracle;
}

void map_oracle_free(struct map_oracle *oracle)
{
	free(oracle->begin);
	free(oracle->value);
}

struct map_oracle map_oracle_new_window(uint64_t base, uint64_t n_pages, uint8_t value)
{
	struct map_oracle oracle = map_oracle_new(n_pages + 2);

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

struct map_oracle map_oracle_new_everywhere(uint64_t *random, uint8_t value)
{
	uint64_t border[1 + 8 * (N_LEVELS + 1) * 3] = { 0 };
	const size_t n = sizeof(border) / sizeof(border[0]);
	struct map_oracle oracle = map_oracle_new(n);

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
static size_t map_oracle_find(const struct map_oracle *oracle, uint64_t gfn)
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

void expect_content(const struct attribute_map *map, const struct map_oracle *oracle)
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
 * A block of any level is divided if and only if the value changes within it; the root is the lowest
 * block from page 0 on with no change behind it.
 */
void expect_shape(const struct attribute_map *map, const struct map_oracle *oracle)
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

void expect_page(const struct attribute_map *map, const struct map_oracle *oracle, uint64_t gfn)
{
	const uint8_t value = attribute_map_get(map, gfn);
	const uint8_t expected = oracle->value[map_oracle_find(oracle, gfn)];

	if (value != expected)
		ck_abort_msg("page %" PRIx64 " is %u, not %u", gfn, value, expected);
}

void expect_any_span(const struct attribute_map *map, const struct map_oracle *oracle,
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

void set_cells(struct attribute_map *map, struct map_oracle *oracle, size_t first, size_t last,
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

void set_any_cells(struct attribute_map *map, struct map_oracle *oracle, uint64_t *random)
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

		first = map_oracle_find(oracle, oracle->begin[first] & ~UINT64_C(511));
		last = map_oracle_find(oracle, end | (length > 1 ? 511 : 0));
	}
	set_cells(map, oracle, first, last, value);
}
