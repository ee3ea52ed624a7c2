/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much memory a VM takes, and whether it may take more.
 *
 * A page here and a page there cost a thousand times what it takes to ask for them, so peers could
 * have it all.  What has no elements, as a reset, is not asked about, nor what only takes away:
 * that is how memory is given back.
 */
#include "vm-private.h"

#include <stdlib.h>

/* The way to a page that is far from all others: a node on each of four levels, and a leaf. */
#define LONE_PAGE_BYTES (4u * 512 * sizeof(uintptr_t) + ATTRIBUTE_MAP_LEAF_PAGES)
/* What a batch needs besides for the pages of a leaf: to take it back, to plan it. */
#define LEAF_IN_BATCH_BYTES 1024u
/* A VM asks for so much more than it needs now, so that it need not ask for every page. */
#define STEP_BYTES (UINT64_C(1) << 20)
/* Of what a long batch needed, an idle VM keeps no more. */
#define KEPT_BYTES (UINT64_C(1) << 20)

static size_t ranges_memory(const struct page_ranges *ranges)
{
	return ranges->capacity * sizeof(*ranges->range);
}

static size_t plan_memory(const struct plan *plan)
{
	return (plan->restricting.capacity + plan->relaxing.capacity) * sizeof(*plan->calls);
}

static size_t batch_memory(const struct vm *vm)
{
	return vm->parts_capacity * sizeof(*vm->parts) + ranges_memory(&vm->touched) +
	       plan_memory(&vm->plan);
}

uint64_t vm_memory(const struct vm *vm)
{
	return policy_memory_at_most(vm->policy) + policy_undo_log_memory(vm->undo) +
	       batch_memory(vm) + ranges_memory(&vm->unknown);
}

void vm_trim(struct vm *vm)
{
	if (batch_memory(vm) <= KEPT_BYTES)
		return;
	free(vm->parts);
	vm->parts = NULL;
	vm->n_parts = vm->parts_capacity = 0;
	page_ranges_destroy(&vm->touched);
	plan_destroy(&vm->plan);
}

/* In how many maps an element may change something; those that views are told are apart. */
static unsigned int count_maps(const struct policy_element *element)
{
	/* as received: of a layer that there is not, nothing becomes */
	const unsigned int below = (1u << element->layer % KVMATTR_N_VTLS) - 1;

	/* others than protections: RAM, visibility and locks */
	return element->kind == KVMATTR_PROTECT
		       ? (unsigned int)__builtin_popcount(element->restricted & below)
		       : 2;
}

/* The most that an element may take: at both its ends a leaf, and for each map a view's as well. */
static uint64_t growth_by(const struct vm *vm, const struct policy_element *element)
{
	const unsigned int n_maps = count_maps(element) + vm->policy->n_views;
	const unsigned int n_ends = element->range.n_pages > 1 ? 2 : 1;
	const uint64_t n_leaves = element->range.n_pages / ATTRIBUTE_MAP_LEAF_PAGES + n_ends;
	uint64_t in_batch = n_leaves * LEAF_IN_BATCH_BYTES;

	/* where there are no leaves, there is nothing to be taken back but the range */
	if (n_leaves > 2 && in_batch > 2 * policy_memory(vm->policy))
		in_batch = 2 * policy_memory(vm->policy);
	return n_maps * (n_ends * LONE_PAGE_BYTES + 2 * LEAF_IN_BATCH_BYTES) + in_batch;
}

/* Does the map tell this page from the one before it without anything more? */
static bool is_edge(const struct attribute_map *map, uint64_t gfn)
{
	struct attribute_span before;

	if (!gfn || gfn == KVMATTR_GFN_LIMIT)
		return true;
	before = attribute_map_span(map, gfn - 1, gfn + 1);
	return before.bytes || before.end == gfn;
}

static bool has_edges(const struct attribute_map *map, struct kvmattr_range range)
{
	return is_edge(map, range.gfn) && is_edge(map, range.gfn + range.n_pages);
}

/* RAM goes from the layers, too. */
static bool have_layers_edges(const struct policy *policy, struct kvmattr_range range)
{
	for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++)
		for (unsigned int t = 0; t < k; t++)
			if (policy->layers[k].restricted[t] &&
			    !has_edges(policy->layers[k].restricted[t], range))
				return false;
	return true;
}

/* What is taken away leaves less behind, unless it has to be cut out first. */
static bool only_shrinks(const struct policy *policy, const struct policy_element *element)
{
	const struct kvmattr_range range = element->range;

	if (range.gfn > KVMATTR_GFN_LIMIT || range.n_pages > KVMATTR_GFN_LIMIT - range.gfn)
		return false; /* which is seen later */
	if (element->kind == KVMATTR_UNLOCK)
		return has_edges(&policy->pages, range) && has_edges(&policy->lock_counts, range);
	return element->kind == KVMATTR_REMOVE_RAM && has_edges(&policy->pages, range) &&
	       have_layers_edges(policy, range);
}

bool vm_may_grow(struct vm *vm, const struct vm_update *update, char *text, size_t size)
{
	uint64_t n_bytes;

	if (update->form == WIRE_FORM_NONE || !vm->ops->may_grow ||
	    only_shrinks(vm->policy, &update->element))
		return true;
	n_bytes = growth_by(vm, &update->element);
	if (n_bytes > vm->room) {
		if (!vm->ops->may_grow(vm->context, n_bytes + STEP_BYTES, text, size))
			return false;
		vm->room = n_bytes + STEP_BYTES;
	}
	vm->room -= n_bytes;
	return true;
}
