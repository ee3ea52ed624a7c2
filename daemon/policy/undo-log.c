/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "undo-log.h"

#include "daemon/allocate.h"

#include <assert.h>
#include <string.h>

enum change_kind { CHANGED_PAGES, CHANGED_BYTES, CHANGED_MAP, CHANGED_LAYER, CHANGED_COUNTS };

struct change {
	enum change_kind kind;
	union {
		struct {
			struct attribute_map *map;
			uint64_t gfn, n_pages;
			uint8_t value;
		} pages;
		struct {
			struct attribute_map *map;
			uint64_t gfn;
			size_t n;
			uint8_t *values; /* owned */
		} bytes;
		struct {
			struct attribute_map *map;
			struct attribute_map *old; /* owned */
		} map;
		struct {
			struct layer *layer;
			bool enabled, mbec;
			uint8_t default_protection;
		} layer;
		struct {
			uint64_t n_ram_pages, n_private_pages;
		} counts;
	};
};

/* Changes come by the hundred thousand: in blocks, none of which is ever moved. */
#define BLOCK_CHANGES 256u

struct block {
	struct block *previous;
	size_t n;
	struct change changes[BLOCK_CHANGES];
};

struct policy_undo_log {
	struct block *last; /* which alone is not full; there is always one */
	size_t n;           /* changes in all blocks */
	size_t n_bytes;     /* that the changes own */
};

struct policy_undo_log *policy_undo_log_new(void)
{
	struct policy_undo_log *log = allocate_one(struct policy_undo_log);

	log->last = allocate_one(struct block);
	return log;
}

void policy_undo_log_free(struct policy_undo_log *log)
{
	if (!log)
		return;
	policy_undo_log_clear(log);
	free(log->last);
	free(log);
}

/* NULL: there is none. */
static struct change *last_change(struct policy_undo_log *log)
{
	return log->n ? &log->last->changes[log->last->n - 1] : NULL;
}

static void drop_last(struct policy_undo_log *log)
{
	struct block *block = log->last;

	log->n--;
	if (--block->n || !block->previous)
		return;
	log->last = block->previous;
	free(block);
}

/* Frees what the change owns, up to *n leaves of a map.  Returns whether that is all. */
static bool free_some(struct policy_undo_log *log, struct change *change, size_t *n)
{
	if (change->kind == CHANGED_BYTES) {
		log->n_bytes -= change->bytes.n;
		free(change->bytes.values);
	} else if (change->kind == CHANGED_MAP) {
		size_t n_bytes = attribute_map_memory(change->map.old);
		bool is_freed = attribute_map_destroy_some(change->map.old, n);

		log->n_bytes -= n_bytes - attribute_map_memory(change->map.old);
		if (!is_freed)
			return false;
		free(change->map.old);
	}
	return true;
}

bool policy_undo_log_clear_some(struct policy_undo_log *log, size_t n)
{
	struct change *change;

	while (n && (change = last_change(log)) && free_some(log, change, &n)) {
		drop_last(log);
		n -= n > 0;
	}
	return !log->n;
}

void policy_undo_log_clear(struct policy_undo_log *log)
{
	while (!policy_undo_log_clear_some(log, SIZE_MAX))
		;
}

size_t policy_undo_log_size(const struct policy_undo_log *log)
{
	return log->n;
}

size_t policy_undo_log_memory(const struct policy_undo_log *log)
{
	return (log->n / BLOCK_CHANGES + 1) * sizeof(struct block) + log->n_bytes;
}

static struct change *add(struct policy_undo_log *log, enum change_kind kind)
{
	struct block *block = log->last;
	struct change *change;

	if (block->n == BLOCK_CHANGES) {
		block = allocate(sizeof(*block));
		block->previous = log->last;
		block->n = 0;
		log->last = block;
	}
	log->n++;
	change = &block->changes[block->n++];
	change->kind = kind;
	return change;
}

/*
 * The latest change of the same map, if it is among the last few: an update that restricts
 * several VTLs changes their maps in turn.  Changes of different maps can be undone in any order.
 */
static struct change *find_latest(struct policy_undo_log *log, const struct attribute_map *map)
{
	struct block *block = log->last;

	for (size_t back = 1; back <= 3 && back <= block->n; back++) {
		struct change *change = &block->changes[block->n - back];

		if (change->kind != CHANGED_PAGES)
			return NULL;
		if (change->pages.map == map)
			return change;
	}
	return NULL;
}

void undo_log_add_pages(struct policy_undo_log *log, struct attribute_map *map, uint64_t gfn,
			uint64_t n_pages, uint8_t value)
{
	struct change *latest = find_latest(log, map);

	if (latest && latest->pages.value == value &&
	    latest->pages.gfn + latest->pages.n_pages == gfn) {
		latest->pages.n_pages += n_pages;
		return;
	}
	latest = add(log, CHANGED_PAGES);
	latest->pages.map = map;
	latest->pages.gfn = gfn;
	latest->pages.n_pages = n_pages;
	latest->pages.value = value;
}

void undo_log_add_bytes(struct policy_undo_log *log, struct attribute_map *map, uint64_t gfn,
			size_t n, const uint8_t *values)
{
	struct change *change = add(log, CHANGED_BYTES);

	change->bytes.map = map;
	change->bytes.gfn = gfn;
	change->bytes.n = n;
	change->bytes.values = memcpy(allocate(n), values, n);
	log->n_bytes += n;
}

void undo_log_add_map(struct policy_undo_log *log, struct attribute_map *map,
		      struct attribute_map old)
{
	struct change *change = add(log, CHANGED_MAP);

	change->map.map = map;
	change->map.old = allocate_one(struct attribute_map);
	*change->map.old = old;
	log->n_bytes += attribute_map_memory(&old);
}

void undo_log_add_layer(struct policy_undo_log *log, struct layer *layer)
{
	struct change *change = add(log, CHANGED_LAYER);

	change->layer.layer = layer;
	change->layer.enabled = layer->enabled;
	change->layer.mbec = layer->mbec;
	change->layer.default_protection = layer->default_protection;
}

void undo_log_add_counts(struct policy_undo_log *log, struct policy *policy)
{
	struct change *change = add(log, CHANGED_COUNTS);

	change->counts.n_ram_pages = policy->n_ram_pages;
	change->counts.n_private_pages = policy->n_private_pages;
}

static void take_back(struct policy *policy, struct policy_undo_log *log, struct change *change)
{
	switch (change->kind) {
	case CHANGED_PAGES:
		attribute_map_set_range(change->pages.map, change->pages.gfn, change->pages.n_pages,
					change->pages.value);
		return;
	case CHANGED_BYTES:
		attribute_map_set_bytes(change->bytes.map, change->bytes.gfn, change->bytes.n,
					change->bytes.values);
		log->n_bytes -= change->bytes.n;
		free(change->bytes.values);
		return;
	case CHANGED_MAP: /* whatever came into it since is taken back already: it is empty */
		attribute_map_destroy(change->map.map);
		*change->map.map = *change->map.old;
		log->n_bytes -= attribute_map_memory(change->map.old);
		free(change->map.old);
		return;
	case CHANGED_LAYER:
		change->layer.layer->enabled = change->layer.enabled;
		change->layer.layer->mbec = change->layer.mbec;
		change->layer.layer->default_protection = change->layer.default_protection;
		return;
	case CHANGED_COUNTS:
		policy->n_ram_pages = change->counts.n_ram_pages;
		policy->n_private_pages = change->counts.n_private_pages;
		return;
	}
	abort(); /* a change of no kind */
}

bool policy_undo_some(struct policy *policy, struct policy_undo_log *log, size_t n)
{
	struct change *change;

	policy->ram_version++;
	for (; n && (change = last_change(log)); n--) {
		take_back(policy, log, change);
		drop_last(log);
	}
	return !log->n;
}

void policy_undo(struct policy *policy, struct policy_undo_log *log)
{
	while (!policy_undo_some(policy, log, SIZE_MAX))
		;
}
