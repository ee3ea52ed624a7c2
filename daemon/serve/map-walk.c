/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "map-walk.h"

#include "daemon.h"

/* Pages that one step looks at, at most: 32 leaves of each map, some ten microseconds. */
#define STEP_PAGES (UINT64_C(32) * ATTRIBUTE_MAP_LEAF_PAGES)
/* Steps between two looks at the clock. */
#define STEPS_PER_LOOK 16u

void map_walk_begin(struct map_walk *walk, const struct vm *vm, unsigned int vtl,
		    unsigned int layer, uint64_t gfn, uint64_t end, uint64_t max_us)
{
	*walk = (struct map_walk){
		.vm = vm,
		.vtl = vtl,
		.layer = layer,
		.gfn = gfn,
		.end = end,
		.deadline_us = clock_now_us(CLOCK_MONOTONIC) + max_us,
	};
}

static bool time_is_up(struct map_walk *walk)
{
	walk->n_steps++;
	return walk->n_steps % STEPS_PER_LOOK == 0 &&
	       clock_now_us(CLOCK_MONOTONIC) >= walk->deadline_us;
}

/* Whether the page, one of a span of n equal ones, goes on the run, or begins it. */
static bool run_take(struct vm_run *run, uint64_t gfn, uint64_t n_pages, uint8_t protection,
		     bool is_explicit)
{
	if (!run->n_pages)
		*run = (struct vm_run){ .gfn = gfn,
					.attributes = protection,
					.state = is_explicit };
	else if (run->attributes != protection || run->state != is_explicit)
		return false;
	run->n_pages += n_pages;
	return true;
}

/* What vm_next_run() is for effective attributes, for the entries of a layer. */
static bool next_run_of_layer(const struct map_walk *walk, uint64_t limit, struct vm_run *ret_run)
{
	const struct policy *policy = vm_policy(walk->vm);
	const struct layer *layer = &policy->layers[walk->layer];
	const struct attribute_map *map = layer->restricted[walk->vtl];
	struct vm_run run = { 0 };

	for (uint64_t gfn = walk->gfn; gfn < limit;) {
		struct attribute_span pages = attribute_map_span(&policy->pages, gfn, limit);
		struct attribute_span entries = { .end = pages.end };
		uint64_t step = 1;

		if (map)
			entries = attribute_map_span(map, gfn, pages.end);
		if (!pages.bytes && !entries.bytes)
			step = entries.end - gfn;
		for (; gfn < entries.end; gfn += step) {
			uint8_t page = pages.bytes ? *pages.bytes++ : pages.value;
			uint8_t entry = entries.bytes ? *entries.bytes++ : entries.value;
			bool is_explicit = entry & LAYER_HAS_ENTRY;
			uint8_t protection = is_explicit ? entry & KVMATTR_PROTECTION
							 : layer->default_protection;

			if (page & PAGE_IS_RAM ? !run_take(&run, gfn, step, protection, is_explicit)
					       : run.n_pages != 0)
				goto out;
		}
	}
out:
	if (run.n_pages)
		*ret_run = run;
	return run.n_pages != 0;
}

static bool next_part(const struct map_walk *walk, uint64_t limit, struct vm_run *ret_run)
{
	return walk->layer ? next_run_of_layer(walk, limit, ret_run)
			   : vm_next_run(walk->vm, walk->vtl, walk->gfn, limit, ret_run);
}

/* Where a step may end; over a hole in RAM it goes at once. */
static uint64_t step_limit(const struct map_walk *walk, bool *ret_is_hole)
{
	struct attribute_span pages =
		attribute_map_span(&vm_policy(walk->vm)->pages, walk->gfn, walk->end);

	*ret_is_hole = !pages.bytes && !(pages.value & PAGE_IS_RAM);
	if (*ret_is_hole)
		return pages.end;
	return walk->end - walk->gfn > STEP_PAGES ? walk->gfn + STEP_PAGES : walk->end;
}

bool map_walk_next(struct map_walk *walk, struct vm_run *ret_run)
{
	struct vm_run run = { 0 };

	/* a run is put together of the parts that the steps cut it into */
	while (walk->gfn < walk->end && !time_is_up(walk)) {
		struct vm_run part;
		bool is_hole;
		uint64_t limit = step_limit(walk, &is_hole);

		if (is_hole || !next_part(walk, limit, &part)) {
			walk->gfn = limit;
			if (run.n_pages)
				break;
			continue;
		}
		if (!run.n_pages)
			run = part;
		else if (part.gfn == run.gfn + run.n_pages && part.attributes == run.attributes &&
			 part.state == run.state)
			run.n_pages += part.n_pages;
		else
			break;
		walk->gfn = part.gfn + part.n_pages;
		/* the run ended before the step did */
		if (walk->gfn < limit)
			break;
	}
	if (run.n_pages)
		*ret_run = run;
	return run.n_pages != 0;
}

static void count_pages(struct map_count *count, uint8_t attributes, uint8_t applied,
			uint64_t n_pages)
{
	count->n_ram += n_pages;
	count->protections[attributes & KVMATTR_PROTECTION] += n_pages;
	if (attributes & KVMATTR_PRIVATE)
		count->n_private += n_pages;
	if (applied & APPLIED_UNKNOWN)
		count->n_unknown += n_pages;
	else if (applied != attributes)
		count->n_pending += n_pages;
}

/* Counts what one look shows of the pages from gfn on; returns where it ends. */
static uint64_t count_span(const struct policy *policy, const struct view *view, uint64_t gfn,
			   uint64_t limit, struct map_count *count)
{
	struct attribute_span pages = attribute_map_span(&policy->pages, gfn, limit);
	struct attribute_span applied;
	struct fold_span wanted;
	uint64_t n;

	if (!pages.bytes && !(pages.value & PAGE_IS_RAM))
		return pages.end;
	fold_effective(policy, view, gfn, pages.end, &wanted);
	applied = attribute_map_span(&view->applied, gfn, wanted.end);
	n = applied.end - gfn;
	if (!pages.bytes && wanted.is_uniform && !applied.bytes) {
		count_pages(count, wanted.value, applied.value, n);
		return applied.end;
	}
	for (uint64_t i = 0; i < n; i++)
		if ((pages.bytes ? pages.bytes[i] : pages.value) & PAGE_IS_RAM)
			count_pages(count, wanted.is_uniform ? wanted.value : wanted.bytes[i],
				    applied.bytes ? applied.bytes[i] : applied.value, 1);
	return applied.end;
}

bool map_walk_count(struct map_walk *walk, uint64_t limit, struct map_count *count)
{
	const struct policy *policy = vm_policy(walk->vm);
	const struct view *view = &policy->views[policy->view_of_vtl[walk->vtl]];

	while (walk->gfn < limit) {
		if (time_is_up(walk))
			return false;
		walk->gfn = count_span(policy, view, walk->gfn, limit, count);
	}
	return true;
}
