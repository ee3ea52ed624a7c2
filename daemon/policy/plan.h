/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plan: the calls that bring KVM from what it was told to what it is to be told.
 *
 * Over the touched pages only, view by view: runs of equal attributes as long as they get, pages
 * that need nothing left out, restricting calls before relaxing ones so that no page is ever more
 * open than it was or will be, and no call over more than max_pages, because KVM holds its lock
 * for the whole of a call.
 *
 * A plan is nearly always made in one walk.  Where it gets longer than PLAN_PART_CALLS, it comes in
 * parts of about that length, each made when the one before it is carried out: all the restricting
 * calls first, then, walking once more, the relaxing ones.  So its memory is bounded, whatever a
 * peer made of guest memory.  A walk can be made in steps, for as many looks into the maps as its
 * maker has time for; until the plan is carried out, the policy stays as it is.
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

#define PLAN_PART_CALLS 65536u

/* The calls of one kind that a walk has found. */
struct plan_calls {
	struct plan_call *call;
	size_t n;
	size_t capacity;
};

/* Where a walk is: which part of the touched pages, in which view. */
struct plan_position {
	unsigned int view;
	size_t range;
	uint64_t gfn; /* 0: the range's first */
};

/* The pages of one call, which are to be equal, as they are found: some may be so already. */
struct plan_run {
	uint64_t gfn;
	uint64_t reach; /* the pages up to here are to be equal */
	uint64_t end;   /* those behind this one already are: the call ends here */
	uint16_t view;
	uint8_t attributes;
	bool is_restricting;
};

struct plan {
	struct plan_call *calls; /* of this part */
	size_t n_calls;
	/* The maker's: what is to be looked for next, and from where. */
	enum plan_walk { PLAN_EVERYTHING, PLAN_RESTRICTING, PLAN_RELAXING, PLAN_DONE } walk;
	struct plan_position position;
	struct plan_run run; /* that the walk is in */
	bool is_part_made;
	bool is_anew; /* whatever KVM holds */
	struct plan_calls restricting;
	struct plan_calls relaxing;
};

/* A zeroed structure is an empty plan. */
void plan_destroy(struct plan *plan);

/* Begins anew; plan_look() finds the calls.  is_anew: of all pages, whatever KVM holds of them. */
void plan_begin(struct plan *plan, bool is_anew);
/*
 * Looks for the next part of the plan for these pages, which are normalized; the part before it is
 * carried out.  true: here it is; no calls: there is none.  false: n_looks looks were not enough,
 * and it goes on with the next call.  The policy's layers and touched stay as they are from part to
 * part.
 */
__attribute__((warn_unused_result)) bool plan_look(struct plan *plan, const struct policy *policy,
						   const struct page_ranges *touched,
						   uint64_t max_pages, size_t n_looks);
/* Both in one go: the plan's first part, or the next one. */
void plan_make(struct plan *plan, const struct policy *policy, const struct page_ranges *touched,
	       uint64_t max_pages);
void plan_continue(struct plan *plan, const struct policy *policy,
		   const struct page_ranges *touched, uint64_t max_pages);

/*
 * Notes what became of the calls from first on: n_done were done; of the one behind them, if
 * is_failed, the first n_partial pages.  What KVM holds in the rest of that one is not known:
 * those pages become APPLIED_UNKNOWN and are added to unknown.
 */
void plan_applied(const struct plan *plan, struct policy *policy, size_t first, size_t n_done,
		  bool is_failed, uint64_t n_partial, struct page_ranges *unknown);
/* Marks the pages of n calls from first on as unknown, and adds them to unknown. */
void plan_lost(const struct plan *plan, struct policy *policy, size_t first, size_t n,
	       struct page_ranges *unknown);

#endif
