/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An entry, the root's or a node's, says all about a block of pages: 512 pages at level 1, and
 * 512 times as many at every level above.  Its low bits say what it is:
 *
 *	01  uniform: the whole block holds the value in the bits above
 *	10  a struct leaf, at level 1 only: a byte for each page
 *	00  a struct node, above level 1: an entry for each of the 512 blocks below
 *
 * so that a walk down tests one thing at each level.  The root's level is the map's height.  It
 * is as low as it can be: all pages from map->reach on hold map->outside, and those that a lower
 * root would not reach do not; height 0 reaches none.  Together with folding, that makes the
 * shape a function of the content alone.
 *
 * The functions that call themselves go one level down each time, five at most.
 */
#include "daemon/policy/attribute-map.h"

#include "daemon/allocate.h"
#include "leaf-chunks.h"
#include "protocol/kvmattr-types.h"

#include <assert.h>
#include <string.h>

#define LEVEL_BITS 9u
#define N_ENTRIES  (1u << LEVEL_BITS)
/* The lowest root that reaches KVMATTR_GFN_LIMIT, and how many of its entries that takes. */
#define MAX_HEIGHT       5u
#define MAX_ROOT_ENTRIES ((unsigned int)(KVMATTR_GFN_LIMIT >> LEVEL_BITS * (MAX_HEIGHT - 1)))

#define UNIFORM 1u
#define LEAF    2u

struct leaf {
	uint8_t page[ATTRIBUTE_MAP_LEAF_PAGES];
};

struct node {
	uintptr_t entry[N_ENTRIES];
};

static_assert(ATTRIBUTE_MAP_LEAF_PAGES == N_ENTRIES, "all levels divide by the same number");
static_assert(sizeof(struct leaf) == LEAF_SIZE, "what is taken for it");
static_assert(MAX_ROOT_ENTRIES > 1 && MAX_ROOT_ENTRIES <= N_ENTRIES, "the highest root is one");

static inline uintptr_t uniform_entry(uint8_t value)
{
	return (uintptr_t)value << 2 | UNIFORM;
}

static inline uintptr_t leaf_entry(const struct leaf *leaf)
{
	return (uintptr_t)leaf | LEAF;
}

static inline bool entry_is_uniform(uintptr_t entry)
{
	return entry & UNIFORM;
}

static inline bool entry_is_node(uintptr_t entry)
{
	return !(entry & (UNIFORM | LEAF));
}

static inline uint8_t entry_value(uintptr_t entry)
{
	return (uint8_t)(entry >> 2);
}

static inline struct leaf *entry_leaf(uintptr_t entry)
{
	return (struct leaf *)(entry - LEAF);
}

static inline struct node *entry_node(uintptr_t entry)
{
	return (struct node *)entry;
}

/*
 * The entry that says what gfn holds: uniform or a leaf.  Its block has 1 << *ret_shift pages;
 * all that the root does not reach is told as the end of one block that is larger than all.
 */
static inline uintptr_t find_entry(const struct attribute_map *map, uint64_t gfn,
				   unsigned int *ret_shift)
{
	unsigned int shift = LEVEL_BITS * map->height;
	uintptr_t entry = map->root;

	if (gfn >= map->reach) {
		assert(gfn < KVMATTR_GFN_LIMIT);
		*ret_shift = LEVEL_BITS * MAX_HEIGHT;
		return uniform_entry(map->outside);
	}
	while (entry_is_node(entry)) {
		shift -= LEVEL_BITS;
		entry = entry_node(entry)->entry[gfn >> shift & (N_ENTRIES - 1)];
	}
	*ret_shift = shift;
	return entry;
}

/*
 * Whether all pages are equal, now that those from begin to end - 1 are.  Mostly they are not,
 * and the neighbours, which are in the cache already, show it.
 */
static bool leaf_is_uniform(const struct leaf *leaf, unsigned int begin, unsigned int end)
{
	const uint8_t *page = leaf->page;

	if (begin > 0 && page[begin - 1] != page[begin])
		return false;
	if (end < ATTRIBUTE_MAP_LEAF_PAGES && page[end] != page[begin])
		return false;
	return memcmp(page, page + 1, ATTRIBUTE_MAP_LEAF_PAGES - 1) == 0;
}

/* Whether entries first to end - 1 are uniform and equal. */
static bool entries_are_uniform(const struct node *node, unsigned int first, unsigned int end)
{
	const uintptr_t *entry = node->entry;

	if (!entry_is_uniform(entry[first]) || entry[first] != entry[end - 1])
		return false;
	return memcmp(entry + first, entry + first + 1, (end - first - 1) * sizeof(*entry)) == 0;
}

static struct leaf *new_leaf(struct attribute_map *map)
{
	struct leaf *leaf = map->chunks ? leaf_chunks_take(map->chunks) : NULL;

	map->n_leaves++;
	return leaf ? leaf : allocate(sizeof(*leaf));
}

static void free_leaf(struct attribute_map *map, struct leaf *leaf)
{
	if (!map->chunks || !leaf_chunks_give_back(map->chunks, leaf))
		free(leaf);
	map->n_leaves--;
	if (!map->n_leaves) {
		leaf_chunks_free(map->chunks);
		map->chunks = NULL;
	}
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

/*
 * Frees what an entry points to, and all below, as far as *n leaves go.  Returns whether that is
 * all; then the entry is uniform.
 */
static bool free_entry(struct attribute_map *map, uintptr_t *entry, size_t *n)
{
	if (entry_is_uniform(*entry))
		return true;
	if (!entry_is_node(*entry)) {
		if (!*n)
			return false;
		--*n;
		free_leaf(map, entry_leaf(*entry));
	} else {
		for (unsigned int i = 0; i < N_ENTRIES; i++)
			if (!free_entry(map, &entry_node(*entry)->entry[i], n))
				return false;
		free_node(map, entry_node(*entry));
	}
	*entry = uniform_entry(0);
	return true;
}

static void free_whole_entry(struct attribute_map *map, uintptr_t *entry)
{
	size_t n = SIZE_MAX;
	bool is_freed = free_entry(map, entry, &n);

	assert(is_freed);
}

static void set_block(struct attribute_map *map, uintptr_t *entry, unsigned int level,
		      uint64_t begin, uint64_t end, uint8_t value);

static void set_in_leaf(struct attribute_map *map, uintptr_t *entry, unsigned int begin,
			unsigned int end, uint8_t value)
{
	struct leaf *leaf;

	if (entry_is_uniform(*entry)) {
		leaf = new_leaf(map);
		memset(leaf->page, entry_value(*entry), sizeof(leaf->page));
		*entry = leaf_entry(leaf);
	}
	leaf = entry_leaf(*entry);
	memset(leaf->page + begin, value, end - begin);
	if (leaf_is_uniform(leaf, begin, end)) {
		*entry = uniform_entry(value);
		free_leaf(map, leaf);
	}
}

static void set_in_node(struct attribute_map *map, uintptr_t *entry, unsigned int level,
			uint64_t begin, uint64_t end, uint8_t value)
{
	const unsigned int shift = LEVEL_BITS * (level - 1);
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
	if (node->entry[first] == uniform_entry(value) && entries_are_uniform(node, 0, N_ENTRIES)) {
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
	if (end - begin == UINT64_C(1) << LEVEL_BITS * level) {
		free_whole_entry(map, entry);
		*entry = uniform_entry(value);
	} else if (level == 1) {
		set_in_leaf(map, entry, (unsigned int)begin, (unsigned int)end, value);
	} else {
		set_in_node(map, entry, level, begin, end, value);
	}
}

static void set_height(struct attribute_map *map, unsigned int height)
{
	map->height = height;
	map->reach = height == 0            ? 0
		     : height == MAX_HEIGHT ? KVMATTR_GFN_LIMIT
					    : UINT64_C(1) << LEVEL_BITS * height;
}

static void raise_root(struct attribute_map *map, uint64_t end)
{
	const uintptr_t outside = uniform_entry(map->outside);

	while (end > map->reach) {
		if (map->root != outside) {
			struct node *node = new_node(map, outside);

			node->entry[0] = map->root;
			map->root = (uintptr_t)node;
		}
		set_height(map, map->height + 1);
	}
}

/* Takes off the root as long as only its first entry differs from the pages behind its reach. */
static void lower_root(struct attribute_map *map)
{
	/* Nothing is behind the highest root, so outside may be what the last page holds. */
	if (map->height == MAX_HEIGHT)
		map->outside = attribute_map_get(map, KVMATTR_GFN_LIMIT - 1);
	while (entry_is_node(map->root)) {
		struct node *node = entry_node(map->root);
		const unsigned int end = map->height == MAX_HEIGHT ? MAX_ROOT_ENTRIES : N_ENTRIES;

		if (node->entry[1] != uniform_entry(map->outside) ||
		    !entries_are_uniform(node, 1, end))
			return;
		map->root = node->entry[0];
		free_node(map, node);
		set_height(map, map->height - 1);
	}
	if (map->root == uniform_entry(map->outside))
		set_height(map, 0);
}

void attribute_map_init(struct attribute_map *map, uint8_t value)
{
	*map = (struct attribute_map){ .root = uniform_entry(value), .outside = value };
}

void attribute_map_expect(struct attribute_map *map, size_t n_leaves)
{
	if (!map->chunks && n_leaves >= LEAF_CHUNK_LEAVES)
		map->chunks = leaf_chunks_new(n_leaves);
}

bool attribute_map_destroy_some(struct attribute_map *map, size_t *n)
{
	if (!free_entry(map, &map->root, n))
		return false;
	assert(map->n_nodes == 0 && map->n_leaves == 0);
	leaf_chunks_free(map->chunks); /* where none was needed, though expected */
	attribute_map_init(map, map->outside);
	return true;
}

void attribute_map_destroy(struct attribute_map *map)
{
	size_t n = SIZE_MAX;
	bool is_freed = attribute_map_destroy_some(map, &n);

	assert(is_freed);
}

uint8_t attribute_map_get(const struct attribute_map *map, uint64_t gfn)
{
	unsigned int shift;
	const uintptr_t entry = find_entry(map, gfn, &shift);

	if (entry_is_uniform(entry))
		return entry_value(entry);
	return entry_leaf(entry)->page[gfn % ATTRIBUTE_MAP_LEAF_PAGES];
}

/*
 * The rest of attribute_map_set() where entries may have to change: where there is no leaf yet, or
 * the leaf is uniform now.  Apart from it, so that it needs no stack for the usual case.
 */
static __attribute__((noinline)) uint8_t set_page_in_entries(struct attribute_map *map,
							     uintptr_t entry, uint64_t gfn,
							     uint8_t value, uint8_t old)
{
	const unsigned int place = gfn % ATTRIBUTE_MAP_LEAF_PAGES;

	if (entry_is_uniform(entry) || leaf_is_uniform(entry_leaf(entry), place, place + 1))
		attribute_map_set_range(map, gfn, 1, value);
	return old;
}

/*
 * Where pages are set at random, their bytes come from memory, and a branch on what they hold
 * would be guessed wrong often and undone late: here only one depends on them, seldom taken.
 */
uint8_t attribute_map_set(struct attribute_map *map, uint64_t gfn, uint8_t value)
{
	const unsigned int place = gfn % ATTRIBUTE_MAP_LEAF_PAGES;
	unsigned int shift;
	const uintptr_t entry = find_entry(map, gfn, &shift);
	uint64_t around;
	uint8_t *page;
	uint8_t old;

	if (entry_is_uniform(entry)) {
		old = entry_value(entry);
		return old == value ? old : set_page_in_entries(map, entry, gfn, value, old);
	}
	page = entry_leaf(entry)->page;
	memcpy(&around, page + (place & ~7u), sizeof(around));
	old = page[place];
	page[place] = value;
	/* With unequal neighbours the leaf is not uniform now; if it is, set_range folds it. */
	around ^= (uint64_t)(old ^ value) << 8 * (place & 7);
	if (around == value * UINT64_C(0x0101010101010101) && old != value)
		return set_page_in_entries(map, entry, gfn, value, old);
	return old;
}

void attribute_map_set_range(struct attribute_map *map, uint64_t gfn, uint64_t n_pages,
			     uint8_t value)
{
	uint64_t end;

	assert(gfn <= KVMATTR_GFN_LIMIT && n_pages <= KVMATTR_GFN_LIMIT - gfn);
	end = gfn + n_pages;
	if (end > map->reach && value == map->outside)
		end = map->reach;
	if (gfn >= end)
		return;
	raise_root(map, end);
	set_block(map, &map->root, map->height, gfn, end, value);
	lower_root(map);
}

/* The level 1 entry of gfn, with the nodes above it, as far as they are not there. */
static uintptr_t *make_entry(struct attribute_map *map, uint64_t gfn)
{
	uintptr_t *entry = &map->root;

	raise_root(map, gfn + 1);
	for (unsigned int shift = LEVEL_BITS * map->height; shift > LEVEL_BITS;) {
		if (entry_is_uniform(*entry))
			*entry = (uintptr_t)new_node(map, *entry);
		shift -= LEVEL_BITS;
		entry = &entry_node(*entry)->entry[gfn >> shift & (N_ENTRIES - 1)];
	}
	return entry;
}

void attribute_map_set_bytes(struct attribute_map *map, uint64_t gfn, size_t n,
			     const uint8_t *values)
{
	const size_t place = gfn % ATTRIBUTE_MAP_LEAF_PAGES;
	struct leaf *leaf;
	uintptr_t *entry;

	assert(n && n <= ATTRIBUTE_MAP_LEAF_PAGES - place && gfn < KVMATTR_GFN_LIMIT);
	if (!memcmp(values, values + 1, n - 1)) {
		attribute_map_set_range(map, gfn, n, values[0]);
		return;
	}
	/* Whatever it is now, there will be a leaf, since not all of its pages are equal. */
	entry = make_entry(map, gfn);
	if (entry_is_uniform(*entry)) {
		leaf = new_leaf(map);
		if (n < ATTRIBUTE_MAP_LEAF_PAGES)
			memset(leaf->page, entry_value(*entry), sizeof(leaf->page));
		*entry = leaf_entry(leaf);
	}
	memcpy(entry_leaf(*entry)->page + place, values, n);
	if (map->height == MAX_HEIGHT)
		lower_root(map);
}

struct attribute_span attribute_map_span(const struct attribute_map *map, uint64_t gfn,
					 uint64_t limit)
{
	struct attribute_span span = { 0 };
	unsigned int shift;
	uintptr_t entry;

	assert(gfn < limit && limit <= KVMATTR_GFN_LIMIT);
	entry = find_entry(map, gfn, &shift);
	if (entry_is_uniform(entry))
		span.value = entry_value(entry);
	else
		span.bytes = entry_leaf(entry)->page + gfn % ATTRIBUTE_MAP_LEAF_PAGES;
	span.end = ((gfn >> shift) + 1) << shift;
	if (span.end > limit)
		span.end = limit;
	return span;
}

size_t attribute_map_memory(const struct attribute_map *map)
{
	size_t size = map->n_nodes * sizeof(struct node), n_leaves = map->n_leaves;

	if (map->chunks) {
		size += leaf_chunks_memory(map->chunks);
		n_leaves -= leaf_chunks_n_taken(map->chunks);
	}
	return size + n_leaves * sizeof(struct leaf);
}
