/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plan: the calls that bring KVM from what it was told to what it is to be told.
 *
 * Over the touched pages only, view by view: runs of equal attributes as long as they get, pages
 * that need nothing left out, restricting calls before relaxing ones so that no page is ever more
 * open than it was or will be, and no call over more than max_pages, because KVM holds its lock
 * for the whole of a call.
 */
#ifndef KVMATTRD_PLAN_H
#define KVMATTRD_PLAN_H

#include "policy.h"

struct plan_call {
	uint64_t gfn;
	uint64_t n_pages;
	uint16_t view;      /* place in policy.views */
	uint8_t attributes; /* effective */
};

struct plan {
	struct plan_call *calls;
	size_t n_calls;
	size_t capacity;
	struct plan_call *relaxing; /* room for those that come last while the plan is made */
	size_t n_relaxing;
	size_t relaxing_capacity;
};

/* A zeroed structure is an empty plan. */
void plan_destroy(struct plan *plan);

/* Replaces the plan by the one for these pages, which are normalized. */
void plan_make(struct plan *plan, const struct policy *policy, const struct page_ranges *touched,
	       uint64_t max_pages);

/*
 * Notes what became of the calls from first on: n_done were done; of the one behind them, if
 * is_failed, the first n_partial pages.  What KVM holds in the rest of that one is not known:
 * those pages become APPLIED_UNKNOWN and are added to unknown.
 */
void plan_applied(const struct plan *plan, struct policy *policy, size_t first, size_t n_done,
		  bool is_failed, uint64_t n_partial, struct page_ranges *unknown);
/* Marks the pages of all calls from first on as unknown, and adds them to unknown. */
void plan_lost(const struct plan *plan, struct policy *policy, size_t first,
	       struct page_ranges *unknown);

#endif
