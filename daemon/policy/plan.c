/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "plan.h"

#include "daemon/allocate.h"
#include "fold.h"

#include <assert.h>
#include <string.h>

void plan_destroy(struct plan *plan)
{
	free(plan->restricting.call);
	free(plan->relaxing.call);
	*plan = (struct plan){ 0 };
}

static void add_call(struct plan_calls *calls, struct plan_call call)
{
	allocate_room(calls->call, calls->n, calls->capacity);
	calls->call[calls->n++] = call;
}

/* Calls of the kind that this walk is not for are left to the other one. */
static struct plan_calls *calls_for(struct plan *plan, const struct plan_run *run)
{
	enum plan_walk other = run->is_restricting ? PLAN_RELAXING : PLAN_RESTRICTING;

	if (plan->walk == other)
		return NULL;
	return run->is_restricting ? &plan->restricting : &plan->relaxing;
}

static void finish(struct plan *plan, struct plan_run *run)
{
	struct plan_calls *calls = calls_for(plan, run);
	struct plan_call call = {
		.gfn = run->gfn,
		.n_pages = run->end - run->gfn,
		.view = run->view,
		.attributes = run->attributes,
	};

	if (calls && call.n_pages)
		add_call(calls, call);
	run->gfn = run->end;
}

/* Does a page lose something on its way from what KVM was told to what it will be told? */
static bool restricts(uint8_t from, uint8_t to)
{
	if (from & APPLIED_UNKNOWN)
		return to != KVMATTR_RWX;
	return (from & ~to & KVMATTR_PROTECTION) || (to & ~from & KVMATTR_PRIVATE);
}

/* The next n_pages pages, equal in what they are and in what they are to be. */
static void extend(struct plan *plan, struct plan_run *run, uint64_t max_pages, uint64_t gfn,
		   uint64_t n_pages, uint8_t from, uint8_t to)
{
	while (n_pages) {
		uint64_t n;

		if (run->end == run->gfn || run->reach != gfn || run->attributes != to ||
		    gfn - run->gfn >= max_pages) {
			finish(plan, run);
			if (from == to)
				return;
			run->gfn = run->reach = run->end = gfn;
			run->attributes = to;
			run->is_restricting = false;
		}
		n = run->gfn + max_pages - gfn;
		n = n_pages < n ? n_pages : n;
		run->reach += n;
		if (from != to) {
			run->end = run->reach;
			run->is_restricting |= restricts(from, to);
		}
		gfn += n;
		n_pages -= n;
	}
}

/*
 * Eight pages at a time that KVM holds as they are to be: they only make a run longer that is
 * under way with their attributes.  Returns how many pages from i on were dealt with.
 */
static size_t skip_equal(struct plan_run *run, uint64_t gfn, size_t i, size_t n,
			 const uint8_t *from, const uint8_t *to)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	size_t first = i;

	for (; i + 8 <= n; i += 8) {
		uint64_t is, is_to_be;

		memcpy(&is, from + i, sizeof(is));
		memcpy(&is_to_be, to + i, sizeof(is_to_be));
		if (is != is_to_be)
			break;
		if (run->end != run->gfn && run->reach == gfn + i &&
		    is_to_be == run->attributes * ones)
			run->reach += 8;
	}
	return i - first;
}

static void extend_by_bytes(struct plan *plan, struct plan_run *run, uint64_t max_pages,
			    uint64_t gfn, size_t n, const uint8_t *from, const uint8_t *to)
{
	size_t i = 0, next;

	while (i < n) {
		i += skip_equal(run, gfn, i, n, from, to);
		if (i == n)
			break;
		for (next = i + 1; next < n && from[next] == from[i] && to[next] == to[i];)
			next++;
		extend(plan, run, max_pages, gfn + i, next - i, from[i], to[i]);
		i = next;
	}
}

/* One look: as many pages from gfn on as one span of the maps describes.  Returns their end. */
static uint64_t plan_span(struct plan *plan, const struct policy *policy, struct plan_run *run,
			  uint64_t max_pages, uint64_t gfn, uint64_t limit)
{
	const struct view *view = &policy->views[run->view];
	struct fold_span to;
	struct attribute_span from;
	uint8_t bytes[ATTRIBUTE_MAP_LEAF_PAGES];
	size_t n;

	fold_effective(policy, view, gfn, limit, &to);
	from = plan->is_anew ? (struct attribute_span){ .end = to.end, .value = APPLIED_UNKNOWN }
			     : attribute_map_span(&view->applied, gfn, to.end);
	n = from.end - gfn;
	if (to.is_uniform && !from.bytes) {
		/* A part is not to get much longer than it may be. */
		if (from.value != to.value && n > PLAN_PART_CALLS * max_pages)
			n = PLAN_PART_CALLS * max_pages;
		extend(plan, run, max_pages, gfn, n, from.value, to.value);
	} else {
		if (to.is_uniform)
			memset(to.bytes, to.value, n);
		if (!from.bytes)
			from.bytes = memset(bytes, from.value, n);
		extend_by_bytes(plan, run, max_pages, gfn, n, from.bytes, to.bytes);
	}
	return gfn + n;
}

static bool is_full(const struct plan *plan)
{
	return plan->restricting.n + plan->relaxing.n >= PLAN_PART_CALLS;
}

/* Walks on within the range where it is.  Returns whether that was its end. */
static bool walk_range(struct plan *plan, const struct policy *policy,
		       const struct kvmattr_range *range, uint64_t max_pages, size_t *n_looks)
{
	struct plan_position *at = &plan->position;
	uint64_t limit = range->gfn + range->n_pages;

	if (at->gfn < range->gfn)
		at->gfn = range->gfn;
	for (; at->gfn < limit && *n_looks && !is_full(plan); --*n_looks)
		at->gfn = plan_span(plan, policy, &plan->run, max_pages, at->gfn, limit);
	return at->gfn == limit;
}

/* Walks on from where the plan is, until the part is full.  Returns whether that was the end. */
static bool walk(struct plan *plan, const struct policy *policy, const struct page_ranges *touched,
		 uint64_t max_pages, size_t *n_looks)
{
	struct plan_position *at = &plan->position;

	for (; at->view < policy->n_views; at->view++, at->range = 0) {
		plan->run.view = (uint16_t)at->view;
		for (; at->range < touched->n; at->range++, at->gfn = 0)
			if (!walk_range(plan, policy, &touched->range[at->range], max_pages,
					n_looks))
				return false;
		finish(plan, &plan->run);
	}
	*at = (struct plan_position){ 0 };
	return true;
}

/* In the order in which they are to be made; what does not fit is found again by the next walk. */
static void put_together(struct plan *plan, bool is_end)
{
	switch (plan->walk) {
	case PLAN_EVERYTHING:
		if (!is_end) {
			plan->relaxing.n = 0;
			plan->walk = PLAN_RESTRICTING;
			break;
		}
		for (size_t i = 0; i < plan->relaxing.n; i++)
			add_call(&plan->restricting, plan->relaxing.call[i]);
		plan->walk = PLAN_DONE;
		break;
	case PLAN_RESTRICTING:
		plan->walk = is_end ? PLAN_RELAXING : PLAN_RESTRICTING;
		break;
	case PLAN_RELAXING:
		plan->calls = plan->relaxing.call;
		plan->n_calls = plan->relaxing.n;
		plan->walk = is_end ? PLAN_DONE : PLAN_RELAXING;
		return;
	case PLAN_DONE:
		break;
	}
	plan->calls = plan->restricting.call;
	plan->n_calls = plan->restricting.n;
}

void plan_begin(struct plan *plan, bool is_anew)
{
	plan->is_anew = is_anew;
	plan->walk = PLAN_EVERYTHING;
	plan->position = (struct plan_position){ 0 };
	plan->run = (struct plan_run){ 0 };
	plan->is_part_made = true; /* none is left to be made longer */
}

bool plan_look(struct plan *plan, const struct policy *policy, const struct page_ranges *touched,
	       uint64_t max_pages, size_t n_looks)
{
	if (plan->is_part_made)
		plan->restricting.n = plan->relaxing.n = plan->n_calls = 0;
	plan->is_part_made = plan->walk == PLAN_DONE;
	while (!plan->is_part_made) {
		bool is_end = walk(plan, policy, touched, max_pages, &n_looks);

		if (!is_end && !is_full(plan))
			return false;
		finish(plan, &plan->run);
		put_together(plan, is_end);
		plan->is_part_made = plan->n_calls || plan->walk == PLAN_DONE;
	}
	return true;
}

void plan_make(struct plan *plan, const struct policy *policy, const struct page_ranges *touched,
	       uint64_t max_pages)
{
	plan_begin(plan, false);
	plan_continue(plan, policy, touched, max_pages);
}

void plan_continue(struct plan *plan, const struct policy *policy,
		   const struct page_ranges *touched, uint64_t max_pages)
{
	while (!plan_look(plan, policy, touched, max_pages, SIZE_MAX))
		;
}

static void set_applied(struct policy *policy, const struct plan_call *call, uint64_t n_skipped,
			uint64_t n_pages, uint8_t value)
{
	attribute_map_set_range(&policy->views[call->view].applied, call->gfn + n_skipped, n_pages,
				value);
}

void plan_applied(const struct plan *plan, struct policy *policy, size_t first, size_t n_done,
		  bool is_failed, uint64_t n_partial, struct page_ranges *unknown)
{
	const struct plan_call *call = &plan->calls[first];

	assert(first + n_done + is_failed <= plan->n_calls);
	for (; n_done; n_done--, call++)
		set_applied(policy, call, 0, call->n_pages, call->attributes);
	if (is_failed) {
		assert(n_partial <= call->n_pages);
		set_applied(policy, call, 0, n_partial, call->attributes);
		set_applied(policy, call, n_partial, call->n_pages - n_partial, APPLIED_UNKNOWN);
		page_ranges_add(unknown, call->gfn + n_partial, call->n_pages - n_partial);
	}
}

void plan_lost(const struct plan *plan, struct policy *policy, size_t first, size_t n,
	       struct page_ranges *unknown)
{
	assert(first + n <= plan->n_calls);
	for (size_t i = first; i < first + n; i++) {
		set_applied(policy, &plan->calls[i], 0, plan->calls[i].n_pages, APPLIED_UNKNOWN);
		page_ranges_add(unknown, plan->calls[i].gfn, plan->calls[i].n_pages);
	}
}
