/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An entry, the root's or a node's, says all about a block of pages.  At level 0 the block is a
 * leaf's 512 pages, and every level above it is 512 times as large.  An entry is one of
 *
 *	value << 1 | 1    uniform: the whole block holds value
 *	a struct leaf *   at level 0: a byte for each page
 *	a struct node *   above: an entry for each of the 512 blocks below
 *
 * Which of the pointers it is follows from the level, so that a walk tests nothing but the low
 * bit.  The root's level is the map's height.  It is as low as it can be: every page behind the
 * root's reach holds map->outside, and the first block that a lower root would not reach does
 * not.  Together with folding, that makes the shape a function of the content alone.
 *
 * The functions that call themselves go one level down each time, five at most.
 */
#include "daemon/policy/attribute-map.h"

#include "daemon/allocate.h"
#include "protocol/kvmattr-types.h"

#include <assert.h>
#include <string.h>

#define LEVEL_BITS 9u
#define N_ENTRIES  (1u << LEVEL_BITS)
/* The lowest root that reaches KVMATTR_GFN_LIMIT, and how many of its entries there are GFNs for. */
#define MAX_HEIGHT       4u
#define MAX_ROOT_ENTRIES ((unsigned int)(KVMATTR_GFN_LIMIT >> LEVEL_BITS * MAX_HEIGHT))

struct leaf {
	uint8_t page[ATTRIBUTE_MAP_LEAF_PAGES];
};

struct node {
	uintptr_t entry[N_ENTRIES];
};

static_assert(ATTRIBUTE_MAP_LEAF_PAGES == N_ENTRIES, "all levels divide by the same number");
static_assert(KVMATTR_GFN_LIMIT <= UINT64_C(1) << LEVEL_BITS * (MAX_HEIGHT + 1),
	      "the highest root reaches all pages");

static inline uintptr_t uniform_entry(uint8_t value)
{
	return (uintptr_t)value << 1 | 1;
}

static inline bool entry_is_uniform(uintptr_t entry)
{
	return entry & 1;
}

static inline uint8_t entry_value(uintptr_t entry)
{
	return (uint8_t)(entry >> 1);
}

static inline struct leaf *entry_leaf(uintptr_t entry)
{
	return (struct leaf *)entry;
}

static inline struct node *entry_node(uintptr_t entry)
{
	return (struct node *)entry;
}

/* A block's size at that level: the number of its pages is a power of two, and this is which. */
static inline unsigned int block_shift(unsigned int level)
{
	return LEVEL_BITS * (level + 1);
}

/*
 * The entry that says what gfn holds: uniform at *ret_level or above it, or a leaf.  Pages of one
 * value from gfn to the end of all are told as a block at the highest level.
 */
static inline uintptr_t find_entry(const struct attribute_map *map, uint64_t gfn,
				   unsigned int *ret_level)
{
	unsigned int level = map->height;
	uintptr_t entry = map->root;

	assert(gfn < KVMATTR_GFN_LIMIT);
	if (gfn >> block_shift(level) || entry == uniform_entry(map->outside)) {
		*ret_level = MAX_HEIGHT;
		return uniform_entry(map->outside);
	}
	while (level > 0 && !entry_is_uniform(entry)) {
		level--;
		entry = entry_node(entry)->entry[gfn >> block_shift(level) & (N_ENTRIES - 1)];
	}
	*ret_level = level;
	return entry;
}

/*
 * Whether all pages are equal; place is one that was just set.  Mostly they are not, and its
 * neighbours, which are in the cache already, show it.
 */
static inline bool leaf_is_uniform(const struct leaf *leaf, unsigned int place)
{
	const uint8_t *page = leaf->page;
	uint64_t around;

	memcpy(&around, page + (place & ~7u), sizeof(around));
	if (around != page[place] * UINT64_C(0x0101010101010101))
		return false;
	if (page[0] != page[place] || page[ATTRIBUTE_MAP_LEAF_PAGES - 1] != page[place])
		return false;
	return memcmp(page, page + 1, ATTRIBUTE_MAP_LEAF_PAGES - 1) == 0;
}

/* Whether entries first to end - 1 are uniform and equal; place is one that was just set. */
static bool entries_are_uniform(const struct node *node, unsigned int first, unsigned int end,
				unsigned int place)
{
	const uintptr_t *entry = node->entry;

	if (!entry_is_uniform(entry[place]) || entry[first] != entry[place] ||
	    entry[end - 1] != entry[place])
		return false;
	return memcmp(entry + first, entry + first + 1, (end - first - 1) * sizeof(*entry)) == 0;
}

static struct leaf *new_leaf(struct attribute_map *map, uint8_t value)
{
	struct leaf *leaf = allocate(sizeof(*leaf));

	memset(leaf->page, value, sizeof(leaf->page));
	map->n_leaves++;
	return leaf;
}

static void free_leaf(struct attribute_map *map, struct leaf *leaf)
{
	free(leaf);
	map->n_leaves--;
}

static struct node *new_node(struct attribute_map *map, uintptr_t entry)
{
	struct node *node = allocate(sizeof(*node));

	for (unsigned int i = 0; i < N_ENTRIES; i++)
		node->entry[i] = entry;
	map->n_nodes++;
	return node;
}

static void free_node(struct attribute_map *map, struct node *node)
{
	free(node);
	map->n_nodes--;
}

/* Frees what an entry of that level points to, and all below. */
static void free_block(struct attribute_map *map, uintptr_t entry, unsigned int level)
{
	if (entry_is_uniform(entry))
		return;
	if (level == 0) {
		free_leaf(map, entry_leaf(entry));
		return;
	}
	for (unsigned int i = 0; i < N_ENTRIES; i++)
		free_block(map, entry_node(entry)->entry[i], level - 1);
	free_node(map, entry_node(entry));
}

static void set_block(struct attribute_map *map, uintptr_t *entry, unsigned int level,
		      uint64_t begin, uint64_t end, uint8_t value);

static void set_in_leaf(struct attribute_map *map, uintptr_t *entry, uint64_t begin, uint64_t end,
			uint8_t value)
{
	struct leaf *leaf;

	if (entry_is_uniform(*entry))
		*entry = (uintptr_t)new_leaf(map, entry_value(*entry));
	leaf = entry_leaf(*entry);
	memset(leaf->page + begin, value, end - begin);
	if (leaf_is_uniform(leaf, (unsigned int)begin)) {
		*entry = uniform_entry(value);
		free_leaf(map, leaf);
	}
}

static void set_in_node(struct attribute_map *map, uintptr_t *entry, unsigned int level,
			uint64_t begin, uint64_t end, uint8_t value)
{
	const unsigned int shift = block_shift(level - 1);
	const unsigned int first = (unsigned int)(begin >> shift);
	const unsigned int last = (unsigned int)((end - 1) >> shift);
	struct node *node;

	if (entry_is_uniform(*entry))
		*entry = (uintptr_t)new_node(map, *entry);
	node = entry_node(*entry);
	for (unsigned int i = first; i <= last; i++) {
		const uint64_t block = (uint64_t)i << shift;
		const uint64_t block_size = UINT64_C(1) << shift;

		set_block(map, &node->entry[i], level - 1, i == first ? begin - block : 0,
			  i == last ? end - block : block_size, value);
	}
	if (entries_are_uniform(node, 0, N_ENTRIES, first)) {
		*entry = node->entry[0];
		free_node(map, node);
	}
}

/* Sets pages begin to end - 1 of the block that entry describes, counted from its first one. */
static void set_block(struct attribute_map *map, uintptr_t *entry, unsigned int level,
		      uint64_t begin, uint64_t end, uint8_t value)
{
	if (*entry == uniform_entry(value))
		return;
	if (end - begin == UINT64_C(1) << block_shift(level)) {
		free_block(map, *entry, level);
		*entry = uniform_entry(value);
	} else if (level == 0) {
		set_in_leaf(map, entry, begin, end, value);
	} else {
		set_in_node(map, entry, level, begin, end, value);
	}
}

static void raise_root(struct attribute_map *map, uint64_t end)
{
	const uintptr_t outside = uniform_entry(map->outside);

	while (end > UINT64_C(1) << block_shift(map->height)) {
		if (map->root != outside) {
			struct node *node = new_node(map, outside);

			node->entry[0] = map->root;
			map->root = (uintptr_t)node;
		}
		map->height++;
	}
}

/* Takes off the root as long as only its first entry differs from the pages behind its reach. */
static void lower_root(struct attribute_map *map)
{
	/* Nothing is behind the highest root, so outside may be what the last page holds. */
	if (map->height == MAX_HEIGHT)
		map->outside = attribute_map_get(map, KVMATTR_GFN_LIMIT - 1);
	while (map->height > 0 && !entry_is_uniform(map->root)) {
		struct node *node = entry_node(map->root);
		const unsigned int end = map->height == MAX_HEIGHT ? MAX_ROOT_ENTRIES : N_ENTRIES;

		if (node->entry[1] != uniform_entry(map->outside) ||
		    !entries_are_uniform(node, 1, end, 1))
			return;
		map->root = node->entry[0];
		map->height--;
		free_node(map, node);
	}
	if (map->root == uniform_entry(map->outside))
		map->height = 0;
}

void attribute_map_init(struct attribute_map *map, uint8_t value)
{
	*map = (struct attribute_map){ .root = uniform_entry(value), .outside = value };
}

void attribute_map_destroy(struct attribute_map *map)
{
	free_block(map, map->root, map->height);
	assert(map->n_nodes == 0 && map->n_leaves == 0);
	attribute_map_init(map, map->outside);
}

uint8_t attribute_map_get(const struct attribute_map *map, uint64_t gfn)
{
	unsigned int level;
	const uintptr_t entry = find_entry(map, gfn, &level);

	if (entry_is_uniform(entry))
		return entry_value(entry);
	return entry_leaf(entry)->page[gfn % ATTRIBUTE_MAP_LEAF_PAGES];
}

uint8_t attribute_map_set(struct attribute_map *map, uint64_t gfn, uint8_t value)
{
	const unsigned int place = gfn % ATTRIBUTE_MAP_LEAF_PAGES;
	unsigned int level;
	const uintptr_t entry = find_entry(map, gfn, &level);
	uint8_t old;

	if (entry_is_uniform(entry)) {
		old = entry_value(entry);
		if (old != value)
			attribute_map_set_range(map, gfn, 1, value);
		return old;
	}
	old = entry_leaf(entry)->page[place];
	entry_leaf(entry)->page[place] = value;
	/* Setting it once more folds the leaf, and what that makes uniform above it. */
	if (old != value && leaf_is_uniform(entry_leaf(entry), place))
		attribute_map_set_range(map, gfn, 1, value);
	return old;
}

void attribute_map_set_range(struct attribute_map *map, uint64_t gfn, uint64_t n_pages,
			     uint8_t value)
{
	const uint64_t reach = UINT64_C(1) << block_shift(map->height);
	uint64_t end;

	assert(gfn <= KVMATTR_GFN_LIMIT && n_pages <= KVMATTR_GFN_LIMIT - gfn);
	end = gfn + n_pages;
	if (end > reach && value == map->outside)
		end = reach;
	if (gfn >= end)
		return;
	raise_root(map, end);
	set_block(map, &map->root, map->height, gfn, end, value);
	lower_root(map);
}

struct attribute_span attribute_map_span(const struct attribute_map *map, uint64_t gfn,
					 uint64_t limit)
{
	struct attribute_span span = { 0 };
	unsigned int level;
	uintptr_t entry;

	assert(gfn < limit && limit <= KVMATTR_GFN_LIMIT);
	entry = find_entry(map, gfn, &level);
	if (entry_is_uniform(entry))
		span.value = entry_value(entry);
	else
		span.bytes = entry_leaf(entry)->page + gfn % ATTRIBUTE_MAP_LEAF_PAGES;
	span.end = ((gfn >> block_shift(level)) + 1) << block_shift(level);
	if (span.end > limit)
		span.end = limit;
	return span;
}

size_t attribute_map_memory(const struct attribute_map *map)
{
	return map->n_nodes * sizeof(struct node) + map->n_leaves * sizeof(struct leaf);
}
