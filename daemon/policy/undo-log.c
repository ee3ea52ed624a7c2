/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "undo-log.h"

#include "daemon/allocate.h"

#include <assert.h>
#include <string.h>

/* Changes that the log has room for when it is empty. */
#define MAX_KEPT 131072u

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

struct policy_undo_log {
	struct change *changes;
	size_t n;
	size_t capacity;
};

struct policy_undo_log *policy_undo_log_new(void)
{
	return allocate_one(struct policy_undo_log);
}

void policy_undo_log_free(struct policy_undo_log *log)
{
	if (!log)
		return;
	policy_undo_log_clear(log);
	free(log->changes);
	free(log);
}

void policy_undo_log_clear(struct policy_undo_log *log)
{
	for (size_t i = 0; i < log->n; i++) {
		struct change *change = &log->changes[i];

		if (change->kind == CHANGED_MAP) {
			attribute_map_destroy(change->map.old);
			free(change->map.old);
		} else if (change->kind == CHANGED_BYTES) {
			free(change->bytes.values);
		}
	}
	log->n = 0;
	/* One element may have filled it with a change for every page of a large guest. */
	if (log->capacity > MAX_KEPT) {
		free(log->changes);
		log->changes = NULL;
		log->capacity = 0;
	}
}

size_t policy_undo_log_size(const struct policy_undo_log *log)
{
	return log->n;
}

static struct change *add(struct policy_undo_log *log, enum change_kind kind)
{
	struct change *change;

	allocate_room(log->changes, log->n, log->capacity);
	change = &log->changes[log->n++];
	change->kind = kind;
	return change;
}

/*
 * The latest change of the same map, if it is among the last few: an update that restricts
 * several VTLs changes their maps in turn.  Changes of different maps can be undone in any order.
 */
static struct change *find_latest(struct policy_undo_log *log, const struct attribute_map *map)
{
	for (size_t back = 1; back <= 3 && back <= log->n; back++) {
		struct change *change = &log->changes[log->n - back];

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
}

void undo_log_add_map(struct policy_undo_log *log, struct attribute_map *map,
		      struct attribute_map old)
{
	struct change *change = add(log, CHANGED_MAP);

	change->map.map = map;
	change->map.old = allocate_one(struct attribute_map);
	*change->map.old = old;
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

static void take_back(struct policy *policy, struct change *change)
{
	switch (change->kind) {
	case CHANGED_PAGES:
		attribute_map_set_range(change->pages.map, change->pages.gfn, change->pages.n_pages,
					change->pages.value);
		return;
	case CHANGED_BYTES:
		attribute_map_set_bytes(change->bytes.map, change->bytes.gfn, change->bytes.n,
					change->bytes.values);
		free(change->bytes.values);
		return;
	case CHANGED_MAP:
		attribute_map_destroy(change->map.map);
		*change->map.map = *change->map.old;
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

void policy_undo(struct policy *policy, struct policy_undo_log *log)
{
	while (log->n)
		take_back(policy, &log->changes[--log->n]);
}
