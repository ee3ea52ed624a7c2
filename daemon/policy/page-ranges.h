/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which pages a batch touches: ranges, gathered in any order, then sorted and merged.
 *
 * A list of pages is mostly runs, so a page that follows the last one only makes it longer, and
 * what is left to sort is short.
 */
#ifndef KVMATTRD_PAGE_RANGES_H
#define KVMATTRD_PAGE_RANGES_H

#include "protocol/kvmattr-types.h"

#include <stddef.h>

struct page_ranges {
	struct kvmattr_range *range;
	size_t n;
	size_t capacity;
};

/* A zeroed structure is empty. */
void page_ranges_destroy(struct page_ranges *ranges);
void page_ranges_clear(struct page_ranges *ranges);
/* Their end is at most KVMATTR_GFN_LIMIT (asserted); n_pages may be 0. */
void page_ranges_add(struct page_ranges *ranges, uint64_t gfn, uint64_t n_pages);
/* others: not ranges itself (asserted). */
void page_ranges_add_all(struct page_ranges *ranges, const struct page_ranges *others);
/* Sorts them by GFN and merges those that overlap or touch. */
void page_ranges_normalize(struct page_ranges *ranges);
/*
 * The same, and more pages than were added where it would be more than max ranges: whole leaves of
 * an attribute map, or as many times two pages as it takes.
 */
void page_ranges_coarsen(struct page_ranges *ranges, size_t max);
/* The number of pages, of ranges that are normalized. */
uint64_t page_ranges_count(const struct page_ranges *ranges);

#endif
