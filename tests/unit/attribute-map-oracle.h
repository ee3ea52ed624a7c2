/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A flat array that an attribute map is compared with.
 *
 * Each of its bytes is for a cell: a few hundred thousand single pages in a row, or any ranges that
 * tile the whole address space, so that it also knows what a range of 2^40 pages does.  Operations
 * begin and end at cells' borders.  The shape is checked against a count that comes from the
 * content alone: the places where the value changes.
 */
#ifndef ATTRIBUTE_MAP_ORACLE_H
#define ATTRIBUTE_MAP_ORACLE_H

#include "daemon/policy/attribute-map.h"
#include "protocol/kvmattr-types.h"

#include <stddef.h>
#include <stdint.h>

#define LIMIT    KVMATTR_GFN_LIMIT
#define GIB      (UINT64_C(1) << 18) /* in pages */
#define N_LEVELS 5u

/* Where windows may begin: around the borders of every height, and nowhere in particular. */
#define N_WINDOWS 5
extern const uint64_t window_bases[N_WINDOWS];

struct map_oracle {
	size_t n;
	uint64_t *begin; /* n + 1: of each cell, and LIMIT */
	uint8_t *value;  /* n */
};

/* A cell for each of n_pages pages from base on, and one for all before and all behind. */
struct map_oracle map_oracle_new_window(uint64_t base, uint64_t n_pages, uint8_t value);
/* Cells whose borders are on, beside and between those of blocks of every level. */
struct map_oracle map_oracle_new_everywhere(uint64_t *random, uint8_t value);
void map_oracle_free(struct map_oracle *oracle);

/* Every page of the map holds what the oracle says, and the spans tell them all, in order. */
void expect_content(const struct attribute_map *map, const struct map_oracle *oracle);
/* The map has the leaves and nodes that its content asks for, and no other. */
void expect_shape(const struct attribute_map *map, const struct map_oracle *oracle);
void expect_page(const struct attribute_map *map, const struct map_oracle *oracle, uint64_t gfn);
/* A span from any page to a limit, near or far, ends where it may and agrees with get. */
void expect_any_span(const struct attribute_map *map, const struct map_oracle *oracle,
		     uint64_t *random);

/* Sets cells first to last to value, in the map and in the oracle. */
void set_cells(struct attribute_map *map, struct map_oracle *oracle, size_t first, size_t last,
	       uint8_t value);
/* Sets a page, a few, some leaves' or some nodes' worth of cells, aligned to a leaf or not. */
void set_any_cells(struct attribute_map *map, struct map_oracle *oracle, uint64_t *random);

#endif
