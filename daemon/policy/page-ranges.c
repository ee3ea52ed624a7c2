/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/policy/page-ranges.h"

#include "daemon/allocate.h"
#include "daemon/policy/attribute-map.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

static inline uint64_t range_end(const struct kvmattr_range *range)
{
	return range->gfn + range->n_pages;
}

/* Makes range longer by another that begins within it or right behind it.  False: it does not. */
static inline bool range_extend(struct kvmattr_range *range, const struct kvmattr_range *other)
{
	if (other->gfn < range->gfn || other->gfn > range_end(range))
		return false;
	if (range_end(other) > range_end(range))
		range->n_pages = range_end(other) - range->gfn;
	return true;
}

static int compare_gfns(const void *left, const void *right)
{
	const struct kvmattr_range *a = left;
	const struct kvmattr_range *b = right;

	return (a->gfn > b->gfn) - (a->gfn < b->gfn);
}

/* Fewer than these are sorted faster by comparing them. */
#define FEW_RANGES 256u
#define DIGIT_BITS 11
#define N_DIGITS   (1u << DIGIT_BITS)

/* Puts from's ranges into to, in the order of one digit of their GFNs; equal ones as they were. */
static void sort_by_digit(const struct kvmattr_range *from, struct kvmattr_range *to, size_t n,
			  unsigned int shift)
{
	size_t place[N_DIGITS] = { 0 }, next = 0;

	for (size_t i = 0; i < n; i++)
		place[from[i].gfn >> shift & (N_DIGITS - 1)]++;
	for (size_t digit = 0; digit < N_DIGITS; digit++) {
		size_t n_equal = place[digit];

		place[digit] = next;
		next += n_equal;
	}
	for (size_t i = 0; i < n; i++)
		to[place[from[i].gfn >> shift & (N_DIGITS - 1)]++] = from[i];
}

/* The bits in which the GFNs differ; 0 where they are sorted already. */
static uint64_t find_unsorted_bits(const struct page_ranges *ranges)
{
	uint64_t differing = 0;
	bool is_sorted = true;

	for (size_t i = 1; i < ranges->n; i++) {
		differing |= ranges->range[i].gfn ^ ranges->range[0].gfn;
		is_sorted &= ranges->range[i].gfn >= ranges->range[i - 1].gfn;
	}
	return is_sorted ? 0 : differing;
}

/* By digits from the lowest: the many short ranges of a long batch, in a few passes. */
static void sort(struct page_ranges *ranges)
{
	const uint64_t differing = find_unsorted_bits(ranges);
	struct kvmattr_range *from = ranges->range, *to;

	if (!differing)
		return;
	if (ranges->n < FEW_RANGES) {
		qsort(ranges->range, ranges->n, sizeof(*ranges->range), compare_gfns);
		return;
	}
	to = allocate(ranges->capacity * sizeof(*to));
	for (unsigned int shift = 0; differing >> shift; shift += DIGIT_BITS) {
		struct kvmattr_range *sorted = to;

		if (!(differing >> shift & (N_DIGITS - 1)))
			continue;
		sort_by_digit(from, to, ranges->n, shift);
		to = from;
		from = sorted;
	}
	ranges->range = from;
	free(to);
}

void page_ranges_destroy(struct page_ranges *ranges)
{
	free(ranges->range);
	*ranges = (struct page_ranges){ 0 };
}

void page_ranges_clear(struct page_ranges *ranges)
{
	ranges->n = 0;
}

void page_ranges_add(struct page_ranges *ranges, uint64_t gfn, uint64_t n_pages)
{
	const struct kvmattr_range added = { .gfn = gfn, .n_pages = n_pages };

	assert(gfn <= KVMATTR_GFN_LIMIT && n_pages <= KVMATTR_GFN_LIMIT - gfn);
	if (n_pages == 0)
		return;
	if (ranges->n > 0 && range_extend(&ranges->range[ranges->n - 1], &added))
		return;
	allocate_room(ranges->range, ranges->n, ranges->capacity);
	ranges->range[ranges->n++] = added;
}

void page_ranges_add_all(struct page_ranges *ranges, const struct page_ranges *others)
{
	assert(ranges != others);
	for (size_t i = 0; i < others->n; i++)
		page_ranges_add(ranges, others->range[i].gfn, others->range[i].n_pages);
}

void page_ranges_normalize(struct page_ranges *ranges)
{
	size_t n = 0;

	sort(ranges);
	for (size_t i = 0; i < ranges->n; i++) {
		if (n == 0 || !range_extend(&ranges->range[n - 1], &ranges->range[i]))
			ranges->range[n++] = ranges->range[i];
	}
	ranges->n = n;
}

/* Makes each range begin and end at a multiple of so many pages. */
static void widen(struct page_ranges *ranges, uint64_t multiple)
{
	for (size_t i = 0; i < ranges->n; i++) {
		struct kvmattr_range *range = &ranges->range[i];
		uint64_t end = (range_end(range) + multiple - 1) / multiple * multiple;

		range->gfn -= range->gfn % multiple;
		range->n_pages = end - range->gfn;
	}
}

void page_ranges_coarsen(struct page_ranges *ranges, size_t max)
{
	page_ranges_normalize(ranges);
	for (uint64_t multiple = ATTRIBUTE_MAP_LEAF_PAGES; ranges->n > max; multiple *= 2) {
		widen(ranges, multiple);
		page_ranges_normalize(ranges);
	}
}

uint64_t page_ranges_count(const struct page_ranges *ranges)
{
	uint64_t n_pages = 0;

	for (size_t i = 0; i < ranges->n; i++)
		n_pages += ranges->range[i].n_pages;
	return n_pages;
}
