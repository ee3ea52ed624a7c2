/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "plan.h"

#include "daemon/allocate.h"
#include "fold.h"

#include <assert.h>
#include <string.h>

/* A run of pages that are to be equal, as it is found: some of them may be so already. */
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
	free(plan->calls);
	free(plan->relaxing);
	*plan = (struct plan){ 0 };
}

static void add_call(struct plan *plan, struct plan_call call)
{
	allocate_room(plan->calls, plan->n_calls, plan->capacity);
	plan->calls[plan->n_calls++] = call;
}

static void add_relaxing(struct plan *plan, struct plan_call call)
{
	allocate_room(plan->relaxing, plan->n_relaxing, plan->relaxing_capacity);
	plan->relaxing[plan->n_relaxing++] = call;
}

static void finish(struct plan *plan, struct run *run, uint64_t max_pages)
{
	while (run->gfn < run->end) {
		uint64_t left = run->end - run->gfn;
		struct plan_call call = {
			.gfn = run->gfn,
			.n_pages = left < max_pages ? left : max_pages,
			.view = run->view,
			.attributes = run->attributes,
		};

		if (run->is_restricting)
			add_call(plan, call);
		else
			add_relaxing(plan, call);
		run->gfn += call.n_pages;
	}
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
	if (run->end == run->gfn || run->reach != gfn || run->attributes != to) {
		finish(plan, run, max_pages);
		if (from == to)
			return;
		run->gfn = run->reach = run->end = gfn;
		run->attributes = to;
		run->is_restricting = false;
	}
	run->reach += n_pages;
	if (from != to) {
		run->end = run->reach;
		run->is_restricting |= restricts(from, to);
	}
}

static void extend_by_bytes(struct plan *plan, struct run *run, uint64_t max_pages, uint64_t gfn,
			    size_t n, const uint8_t *from, const uint8_t *to)
{
	for (size_t i = 0, next; i < n; i = next) {
		for (next = i + 1; next < n && from[next] == from[i] && to[next] == to[i];)
			next++;
		extend(plan, run, max_pages, gfn + i, next - i, from[i], to[i]);
	}
}

static void plan_range(struct plan *plan, const struct policy *policy, struct run *run,
		       uint64_t max_pages, struct kvmattr_range range)
{
	const struct view *view = &policy->views[run->view];
	uint64_t gfn = range.gfn, limit = range.gfn + range.n_pages;

	while (gfn < limit) {
		struct fold_span to;
		struct attribute_span from;
		uint8_t bytes[ATTRIBUTE_MAP_LEAF_PAGES];
		size_t n;

		fold_effective(policy, view, gfn, limit, &to);
		from = attribute_map_span(&view->applied, gfn, to.end);
		n = from.end - gfn;
		if (to.is_uniform && !from.bytes) {
			extend(plan, run, max_pages, gfn, n, from.value, to.value);
		} else {
			if (to.is_uniform)
				memset(to.bytes, to.value, n);
			if (!from.bytes)
				from.bytes = memset(bytes, from.value, n);
			extend_by_bytes(plan, run, max_pages, gfn, n, from.bytes, to.bytes);
		}
		gfn = from.end;
	}
}

void plan_make(struct plan *plan, const struct policy *policy, const struct page_ranges *touched,
	       uint64_t max_pages)
{
	plan->n_calls = 0;
	plan->n_relaxing = 0;
	for (unsigned int v = 0; v < policy->n_views; v++) {
		struct run run = { .view = (uint16_t)v };

		for (size_t i = 0; i < touched->n; i++)
			plan_range(plan, policy, &run, max_pages, touched->range[i]);
		finish(plan, &run, max_pages);
	}
	for (size_t i = 0; i < plan->n_relaxing; i++)
		add_call(plan, plan->relaxing[i]);
	plan->n_relaxing = 0;
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
