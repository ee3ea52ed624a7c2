/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A byte for every page of an address space: the shape of everything that the daemon remembers.
 *
 * The map is shaped like a page table: 512-way nodes over 512-byte leaves, with a uniform entry
 * wherever all pages below are equal, so that a fresh guest of any size costs a few words, a dense
 * one little more than a byte a page, and finding a page is a handful of loads.  The map is
 * canonical: two maps that hold the same bytes have the same shape, because whatever becomes
 * uniform is folded back at once.
 *
 * It gives the bytes no meaning.  Allocation failure ends the process (allocate.h).  One thread
 * at a time for writers; readers may share.
 */
#ifndef KVMATTRD_ATTRIBUTE_MAP_H
#define KVMATTRD_ATTRIBUTE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pages in a leaf: 2 MiB. */
#define ATTRIBUTE_MAP_LEAF_PAGES 512u

/* The map's own; n_nodes and n_leaves may be looked at. */
struct attribute_map {
	uintptr_t root;      /* an entry: uniform value, leaf or node; see the .c */
	uint64_t reach;      /* pages below the root */
	unsigned int height; /* levels, the leaf's and the root's among them; 0: reaches none */
	uint8_t outside;     /* what all pages from reach on hold */
	size_t n_nodes;
	size_t n_leaves;
	struct leaf_chunks *chunks; /* that leaves come from, if many were expected; or NULL */
};

/* Some pages from one on that are equal, or that lie in one leaf. */
struct attribute_span {
	uint64_t end;         /* first GFN behind the span */
	const uint8_t *bytes; /* of the asked GFN and its successors; NULL where all hold value */
	uint8_t value;
};

/* Every page of the map holds value.  Allocates nothing. */
void attribute_map_init(struct attribute_map *map, uint8_t value);
void attribute_map_destroy(struct attribute_map *map);
/*
 * The same in steps, for a map that is not used any more: frees up to *n leaves and takes what it
 * freed off *n.  Returns whether all is freed.
 */
__attribute__((warn_unused_result)) bool attribute_map_destroy_some(struct attribute_map *map,
								    size_t *n);

/* About so many leaves will be needed now: memory for many comes sooner if it is known before. */
void attribute_map_expect(struct attribute_map *map, size_t n_leaves);

/* GFNs are below KVMATTR_GFN_LIMIT (asserted). */
uint8_t attribute_map_get(const struct attribute_map *map, uint64_t gfn);
/* Sets one page; returns what it held. */
uint8_t attribute_map_set(struct attribute_map *map, uint64_t gfn, uint8_t value);
/* Sets n_pages pages from gfn; their end is at most KVMATTR_GFN_LIMIT; n_pages may be 0. */
void attribute_map_set_range(struct attribute_map *map, uint64_t gfn, uint64_t n_pages,
			     uint8_t value);
/* Sets each of n pages to a value of its own; at least one, and all in one leaf (asserted). */
void attribute_map_set_bytes(struct attribute_map *map, uint64_t gfn, size_t n,
			     const uint8_t *values);
/*
 * The longest span from gfn on that one entry of the map describes: its end is at most limit,
 * which is above gfn and at most KVMATTR_GFN_LIMIT.  The bytes are valid until the map is changed.
 */
struct attribute_span attribute_map_span(const struct attribute_map *map, uint64_t gfn,
					 uint64_t limit);
/* Bytes of memory that the map holds, itself not counted. */
size_t attribute_map_memory(const struct attribute_map *map);

#endif
