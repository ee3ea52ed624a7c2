/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A verification: which pages KVM is told of next, though it should hold what it is told.
 *
 * The pages of one part are few where every page differs from the next, so that a batch that comes
 * meanwhile does not wait for long, and as many as a call may cover where they are all equal.
 */
#include "vm-private.h"

/* Pages of the first part. */
#define FIRST_PAGES 4096u
/* A part of so many pages is never divided, */
#define FEWEST_PAGES 512u
/* any other one where it would take more calls than these. */
#define MOST_CALLS 1024u
/* Pages that lie apart from each other take as long to be found as many that do not. */
#define MOST_RANGES 512u

enum kvmattr_status vm_verify(struct vm *vm)
{
	if (vm->verification.is_under_way)
		return KVMATTR_OPERATION_DENIED;
	if (vm->state == VM_STUCK)
		return KVMATTR_EXECUTOR_STUCK;
	vm->verification.is_under_way = true;
	vm->verification.is_behind_batch = false;
	vm->verification.gfn = 0;
	vm->verification.n_at_once = FIRST_PAGES;
	vm->verification.n_pages = 0;
	vm->verification.n_calls = 0;
	vm_wake(vm);
	vm_run(vm);
	return KVMATTR_OK;
}

/* The next n pages of RAM from gfn on, or fewer that lie apart; returns the GFN behind them. */
static uint64_t add_ram(const struct vm *vm, uint64_t gfn, uint64_t n, struct page_ranges *pages)
{
	uint64_t end;

	while (n && pages->n < MOST_RANGES &&
	       vm_find_ram(vm->policy, &gfn, KVMATTR_GFN_LIMIT, &end)) {
		if (end - gfn > n)
			end = gfn + n;
		page_ranges_add(pages, gfn, end - gfn);
		n -= end - gfn;
		gfn = end;
	}
	return gfn;
}

bool vm_verification_choose(struct vm *vm)
{
	if (vm->verification.n_at_once > vm->limits.max_pages_per_call)
		vm->verification.n_at_once = vm->limits.max_pages_per_call;
	page_ranges_clear(&vm->touched);
	vm->verification.end =
		add_ram(vm, vm->verification.gfn, vm->verification.n_at_once, &vm->touched);
	return vm->touched.n;
}

bool vm_verification_is_long(struct vm *vm)
{
	if (vm->plan.n_calls > MOST_CALLS && vm->verification.n_at_once > FEWEST_PAGES) {
		vm->verification.n_at_once /= 2;
		return true;
	}
	vm->verification.gfn = vm->verification.end;
	if (vm->plan.n_calls <= MOST_CALLS / 2)
		vm->verification.n_at_once *= 2;
	return false;
}

void vm_verification_count(struct vm *vm, size_t n)
{
	vm->verification.n_calls += n;
	for (size_t i = 0; i < n; i++)
		vm->verification.n_pages += vm->plan.calls[vm->n_calls_done + i].n_pages;
}

void vm_verification_end(struct vm *vm, enum kvmattr_status status, const char *text)
{
	const struct vm_verification verification = {
		.status = status,
		.text = text,
		.n_pages = vm->verification.n_pages,
		.n_calls = vm->verification.n_calls,
	};

	if (!vm->verification.is_under_way)
		return;
	vm->verification.is_under_way = false;
	vm->ops->verified(vm->context, &verification);
}
