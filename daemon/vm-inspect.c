/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm-private.h"

#include <assert.h>

#define FRAGMENTED_LOOK_PAGES 32
/* Looks at so many leaves of a map for one count, at most: a millisecond where it is worst. */
#define MAX_STEPS  512u
#define STEP_PAGES ATTRIBUTE_MAP_LEAF_PAGES

const char *vm_name(const struct vm *vm)
{
	return vm->name;
}

const struct policy *vm_policy(const struct vm *vm)
{
	return vm->policy;
}

const struct vm_statistics *vm_statistics(const struct vm *vm)
{
	return &vm->statistics;
}

uint64_t vm_commit(const struct vm *vm)
{
	return vm->commit;
}

enum vm_state vm_state(const struct vm *vm)
{
	return vm->state;
}

const char *vm_state_name(const struct vm *vm)
{
	static const char *const names[] = {
		[VM_WAITING] = "waiting",     [VM_IDLE] = "idle",
		[VM_EXECUTING] = "executing", [VM_UNDOING] = "undoing",
		[VM_REPAIRING] = "repairing", [VM_VERIFYING] = "verifying",
		[VM_STUCK] = "stuck",
	};

	return names[vm->state];
}

bool vm_is_frozen(const struct vm *vm)
{
	return vm->is_frozen;
}

bool vm_is_still(const struct vm *vm)
{
	return vm->is_frozen && vm->state != VM_EXECUTING && vm->state != VM_UNDOING;
}

bool vm_is_degraded(const struct vm *vm)
{
	return vm->is_degraded;
}

size_t vm_queue_length(const struct vm *vm)
{
	return vm->n_waiting;
}

bool vm_find_ram(const struct policy *policy, uint64_t *gfn, uint64_t limit, uint64_t *ret_end)
{
	uint64_t at = *gfn;

	while (at < limit) {
		struct attribute_span span = attribute_map_span(&policy->pages, at, limit);
		uint64_t end = span.end;

		if (span.bytes) {
			bool is_ram = span.bytes[0] & PAGE_IS_RAM;

			for (end = at + 1; end < span.end; end++)
				if (!!(span.bytes[end - at] & PAGE_IS_RAM) != is_ram)
					break;
			span.value = span.bytes[0];
		}
		if (span.value & PAGE_IS_RAM) {
			*gfn = at;
			*ret_end = end;
			return true;
		}
		at = end;
	}
	return false;
}

static uint8_t state_of(uint8_t applied, uint8_t wanted)
{
	return applied & APPLIED_UNKNOWN ? WIRE_UNKNOWN
	       : applied == wanted       ? WIRE_IN_FORCE
					 : WIRE_PENDING;
}

/* As many pages from gfn on as one look shows to be equal. */
static struct vm_run look(const struct vm *vm, const struct view *view, uint64_t gfn,
			  uint64_t limit)
{
	struct vm_run run = { .gfn = gfn };
	struct fold_span wanted;
	struct attribute_span applied;
	uint64_t i;

	/* Where KVM was told different things, runs are short: do not fold far ahead of them. */
	applied = attribute_map_span(&view->applied, gfn, limit);
	if (applied.bytes && applied.end - gfn > FRAGMENTED_LOOK_PAGES)
		limit = gfn + FRAGMENTED_LOOK_PAGES;
	fold_effective(vm->policy, view, gfn, limit, &wanted);
	applied = attribute_map_span(&view->applied, gfn, wanted.end);
	for (i = 0; i < applied.end - gfn; i++) {
		uint8_t attributes = wanted.is_uniform ? wanted.value : wanted.bytes[i];
		uint8_t state =
			state_of(applied.bytes ? applied.bytes[i] : applied.value, attributes);

		if (!i) {
			run.attributes = attributes;
			run.state = state;
			if (wanted.is_uniform && !applied.bytes) {
				i = applied.end - gfn;
				break;
			}
		} else if (attributes != run.attributes || state != run.state) {
			break;
		}
	}
	run.n_pages = i;
	return run;
}

bool vm_next_run(const struct vm *vm, unsigned int vtl, uint64_t gfn, uint64_t limit,
		 struct vm_run *ret_run)
{
	const struct view *view;
	struct vm_run run = { 0 };
	uint64_t end;

	assert(vtl < KVMATTR_N_VTLS && vm->policy->view_of_vtl[vtl] >= 0);
	assert(limit <= KVMATTR_GFN_LIMIT);
	view = &vm->policy->views[vm->policy->view_of_vtl[vtl]];
	while (vm_find_ram(vm->policy, &gfn, limit, &end)) {
		struct vm_run next = look(vm, view, gfn, end);

		if (!run.n_pages)
			run = next;
		else if (run.gfn + run.n_pages == gfn && run.attributes == next.attributes &&
			 run.state == next.state)
			run.n_pages += next.n_pages;
		else
			break;
		gfn += next.n_pages;
	}
	if (!run.n_pages)
		return false;
	*ret_run = run;
	return true;
}

/* Counts while there are steps left; then the rest counts whole. */
static uint64_t count_not_in_force(const struct vm *vm, unsigned int vtl,
				   struct kvmattr_range range, unsigned int *n_steps)
{
	uint64_t gfn = range.gfn, limit = range.gfn + range.n_pages, n = 0;

	while (gfn < limit && *n_steps) {
		uint64_t end = limit - gfn > STEP_PAGES ? gfn + STEP_PAGES : limit;
		struct vm_run run;

		--*n_steps;
		if (!vm_next_run(vm, vtl, gfn, end, &run)) {
			gfn = end;
			continue;
		}
		n += run.state == WIRE_IN_FORCE ? 0 : run.n_pages;
		gfn = run.gfn + run.n_pages;
	}
	return n + (limit - gfn);
}

uint64_t vm_unknown_pages(const struct vm *vm)
{
	unsigned int n_steps = MAX_STEPS;
	uint64_t n = 0;

	for (size_t i = 0; i < vm->unknown.n; i++)
		for (unsigned int v = 0; v < vm->policy->n_views; v++)
			n += count_not_in_force(vm, vm->policy->views[v].vtl, vm->unknown.range[i],
						&n_steps);
	return n;
}

void vm_add_doubtful_pages(const struct vm *vm, struct page_ranges *pages)
{
	struct page_ranges suspect = { 0 };
	struct plan plan = { 0 };

	assert(vm->state != VM_EXECUTING);
	page_ranges_add_all(&suspect, &vm->unknown);
	if (vm->state == VM_UNDOING)
		page_ranges_add_all(&suspect, vm->planned);
	page_ranges_normalize(&suspect);
	/* What would have to be told to KVM is what it may hold wrongly. */
	plan_begin(&plan, false);
	if (plan_look(&plan, vm->policy, &suspect, KVMATTR_GFN_LIMIT, MAX_STEPS) &&
	    plan.walk == PLAN_DONE)
		for (size_t i = 0; i < plan.n_calls; i++)
			page_ranges_add(pages, plan.calls[i].gfn, plan.calls[i].n_pages);
	else
		page_ranges_add_all(pages, &suspect);
	plan_destroy(&plan);
	page_ranges_destroy(&suspect);
	page_ranges_normalize(pages);
}
