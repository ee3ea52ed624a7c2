/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "plan.h"

#include "daemon/allocate.h"
#include "fold.h"

#include <assert.h>
#include <string.h>

/* The pages of one call, which are to be equal, as they are found: some may be so already. */
struct run {
	uint64_t gfn;
	uint64_t reach; /* the pages up to here are to be equal */
	uint64_t end;   /* those behind this one already are: the call ends here */
	uint16_t view;
	uint8_t attributes;
	bool is_restricting;
};

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
static struct plan_calls *calls_for(struct plan *plan, const struct run *run)
{
	enum plan_walk other = run->is_restricting ? PLAN_RELAXING : PLAN_RESTRICTING;

	if (plan->walk == other)
		return NULL;
	return run->is_restricting ? &plan->restricting : &plan->relaxing;
}

static void finish(struct plan *plan, struct run *run)
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
static void extend(struct plan *plan, struct run *run, uint64_t max_pages, uint64_t gfn,
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
static size_t skip_equal(struct run *run, uint64_t gfn, size_t i, size_t n, const uint8_t *from,
			 const uint8_t *to)
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

static void extend_by_bytes(struct plan *plan, struct run *run, uint64_t max_pages, uint64_t gfn,
			    size_t n, const uint8_t *from, const uint8_t *to)
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
static uint64_t plan_span(struct plan *plan, const struct policy *policy, struct run *run,
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

/* Walks on from where the plan is, until the part is full.  Returns whether that was the end. */
static bool walk(struct plan *plan, const struct policy *policy, const struct page_ranges *touched,
		 uint64_t max_pages)
{
	struct plan_position *at = &plan->position;

	for (; at->view < policy->n_views; at->view++, at->range = 0) {
		struct run run = { .view = (uint16_t)at->view };

		for (; at->range < touched->n; at->range++, at->gfn = 0) {
			const struct kvmattr_range *range = &touched->range[at->range];
			uint64_t limit = range->gfn + range->n_pages;

			if (at->gfn < range->gfn)
				at->gfn = range->gfn;
			while (at->gfn < limit && !is_full(plan))
				at->gfn = plan_span(plan, policy, &run, max_pages, at->gfn, limit);
			if (at->gfn < limit) {
				finish(plan, &run);
				return false;
			}
		}
		finish(plan, &run);
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

void plan_continue(struct plan *plan, const struct policy *policy,
		   const struct page_ranges *touched, uint64_t max_pages)
{
	do {
		plan->restricting.n = plan->relaxing.n = plan->n_calls = 0;
		if (plan->walk == PLAN_DONE)
			return;
		put_together(plan, walk(plan, policy, touched, max_pages));
	} while (!plan->n_calls);
}

static void make(struct plan *plan, const struct policy *policy, const struct page_ranges *pages,
		 uint64_t max_pages, bool is_anew)
{
	plan->is_anew = is_anew;
	plan->walk = PLAN_EVERYTHING;
	plan->position = (struct plan_position){ 0 };
	plan_continue(plan, policy, pages, max_pages);
}

void plan_make(struct plan *plan, const struct policy *policy, const struct page_ranges *touched,
	       uint64_t max_pages)
{
	make(plan, policy, touched, max_pages, false);
}

void plan_make_anew(struct plan *plan, const struct policy *policy, const struct page_ranges *pages,
		    uint64_t max_pages)
{
	make(plan, policy, pages, max_pages, true);
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

void plan_lost(const struct plan *plan, struct policy *policy, size_t first,
	       struct page_ranges *unknown)
{
	for (size_t i = first; i < plan->n_calls; i++) {
		set_applied(policy, &plan->calls[i], 0, plan->calls[i].n_pages, APPLIED_UNKNOWN);
		page_ranges_add(unknown, plan->calls[i].gfn, plan->calls[i].n_pages);
	}
}
