/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/policy/page-ranges.h"

#include "daemon/allocate.h"

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

/* What is gathered from one list of pages mostly needs no sorting. */
static bool is_sorted(const struct page_ranges *ranges)
{
	for (size_t i = 1; i < ranges->n; i++) {
		if (ranges->range[i].gfn < ranges->range[i - 1].gfn)
			return false;
	}
	return true;
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

	if (!is_sorted(ranges))
		qsort(ranges->range, ranges->n, sizeof(*ranges->range), compare_gfns);
	for (size_t i = 0; i < ranges->n; i++) {
		if (n == 0 || !range_extend(&ranges->range[n - 1], &ranges->range[i]))
			ranges->range[n++] = ranges->range[i];
	}
	ranges->n = n;
}

uint64_t page_ranges_count(const struct page_ranges *ranges)
{
	uint64_t n_pages = 0;

	for (size_t i = 0; i < ranges->n; i++)
		n_pages += ranges->range[i].n_pages;
	return n_pages;
}
