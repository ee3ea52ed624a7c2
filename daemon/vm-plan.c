/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plan that is under way: its calls are looked for, the executor is told of them, and what it
 * says is noted, until all pages of the plan are as they are to be, or cannot be.
 */
#include "vm-private.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A call that KVM could not take at the moment is made again so often, waiting twice as long. */
#define MAX_RETRIES    8
#define FIRST_RETRY_MS 1
/* An undo or a repair goes on behind calls that KVM refuses, up to so many. */
#define MAX_REFUSALS 64
/* The next repair's calls are so much shorter, so that a page that KVM refuses ends up alone. */
#define REPAIR_DIVISOR 16
/* Of more ranges than these it is no longer known exactly which pages of theirs are unknown. */
#define MAX_UNKNOWN_RANGES 4096u

void vm_plan_begin(struct vm *vm, struct page_ranges *pages, uint64_t pages_per_call, bool is_anew)
{
	page_ranges_normalize(pages);
	plan_begin(&vm->plan, is_anew);
	vm->planned = pages;
	vm->pages_per_call = pages_per_call;
	vm->is_begun = false;
	vm->n_calls_done = 0;
	vm->n_retries = 0;
	vm->n_refused = 0;
	vm->step = STEP_PLAN;
}

void vm_plan_execute(struct vm *vm)
{
	vm->is_begun = true;
	vm->is_backing_off = false;
	vm->step = STEP_WAIT;
	vm->ops->set_timer(vm->context, vm->limits.executor_deadline_ms);
	vm->ops->execute(vm->context, &vm->plan, vm->n_calls_done);
}

/* ---- What becomes of it ---------------------------------------------------------------------- */

static enum kvmattr_status status_of_refusal(int error)
{
	return error == ENOMEM   ? KVMATTR_INSUFFICIENT_MEMORY
	       : error == EINVAL ? KVMATTR_UNSUPPORTED
				 : KVMATTR_KERNEL_REFUSED;
}

/* The element that KVM refused is alone at last: its update ends there. */
static void fail_first(struct vm *vm)
{
	enum kvmattr_status status = status_of_refusal(vm->refusal);
	const char *error = strerrorname_np(vm->refusal);
	char text[WIRE_TEXT_SIZE];

	snprintf(text, sizeof(text), "KVM refused it at GFN 0x%" PRIx64 " with %s: %s",
		 vm->refused_gfn, error ? error : "an unknown error", kvmattr_status_text(status));
	vm_refuse_waiting(vm, 1, status, text);
}

/* The batch is taken back.  Half as much at a time finds the element that KVM refuses. */
static void end_undo(struct vm *vm)
{
	if (vm->journal_error)
		vm_batch_fail(vm);
	else if (vm->batch_limit == 1)
		fail_first(vm);
	else
		vm->batch_limit = vm->n_batch_elements > 1 ? vm->n_batch_elements / 2 : 1;
	vm_become_idle(vm);
}

/* An undo or a repair during which KVM refused some calls: their pages are tried again, alone. */
static void note_refused(struct vm *vm)
{
	if (!vm->n_refused)
		return;
	page_ranges_normalize(&vm->unknown);
	vm->repair_pages =
		vm->repair_pages > REPAIR_DIVISOR ? vm->repair_pages / REPAIR_DIVISOR : 1;
	vm->has_tried_repair = true;
	vm_set_degraded(vm, true);
}

static void end_batch(struct vm *vm)
{
	if (!vm_batch_record(vm, true)) {
		vm->step = STEP_TAKE_BACK;
		return;
	}
	vm_batch_commit(vm);
	vm_become_idle(vm);
	vm->step = STEP_FORGET;
}

/* All its calls are made. */
static void end_plan(struct vm *vm)
{
	switch (vm->state) {
	case VM_EXECUTING:
		end_batch(vm);
		return;
	case VM_UNDOING:
		note_refused(vm);
		end_undo(vm);
		return;
	case VM_VERIFYING:
		break;
	default:
		assert(vm->state == VM_REPAIRING);
		page_ranges_clear(&vm->unknown);
		page_ranges_add_all(&vm->unknown, &vm->touched);
	}
	note_refused(vm);
	vm_become_idle(vm);
}

/* ---- Looking for its calls ------------------------------------------------------------------- */

/* The first part of a batch's plan: it is written down before its first call. */
static void begin_batch(struct vm *vm)
{
	if (!vm->plan.n_calls)
		end_batch(vm);
	else if (vm_batch_record(vm, false))
		vm_plan_execute(vm);
	else
		vm->step = STEP_TAKE_BACK;
}

void vm_plan_look(struct vm *vm)
{
	if (!plan_look(&vm->plan, vm->policy, vm->planned, vm->pages_per_call,
		       vm_things_per_step(vm) / 16 + 1))
		return;
	if (vm->state == VM_EXECUTING && !vm->is_begun)
		begin_batch(vm);
	else if (vm->state == VM_VERIFYING && !vm->is_begun && vm_verification_is_long(vm))
		vm_become_idle(vm); /* with fewer pages it begins again */
	else if (vm->plan.n_calls)
		vm_plan_execute(vm);
	else
		end_plan(vm);
}

/* ---- What the executor says ------------------------------------------------------------------ */

/* The calls that are left, the next part of the plan, or what comes after it. */
static void go_on(struct vm *vm)
{
	if (vm->n_calls_done < vm->plan.n_calls) {
		vm_plan_execute(vm);
		return;
	}
	vm->n_calls_done = 0;
	vm->step = STEP_PLAN;
}

static void begin_losing(struct vm *vm)
{
	vm->n_lost = vm->n_ranges_lost = 0;
	vm->step = STEP_LOSE;
}

static bool is_transient(int error)
{
	return error == EAGAIN || error == EBUSY || error == EINTR;
}

static void end_refused_plan(struct vm *vm, int error)
{
	vm->statistics.refusals++;
	if (vm->state == VM_EXECUTING) {
		vm->refusal = error;
		vm->refused_gfn = vm->plan.calls[vm->n_calls_done].gfn;
		vm->step = STEP_TAKE_BACK;
	} else if (!is_transient(error) && ++vm->n_refused <= MAX_REFUSALS) {
		/*
		 * Not even what was there before can be set: those pages stay unknown, others do
		 * not.
		 */
		vm->n_calls_done++;
		vm->n_retries = 0;
		go_on(vm);
	} else {
		begin_losing(vm);
	}
}

/* How many of n calls from the first on one step deals with. */
static size_t calls_per_step(const struct vm *vm, size_t first, size_t n)
{
	uint64_t most = 8 * vm_pages_per_step(vm), n_pages = 0; /* by leaves, mostly */
	size_t i = 0;

	if (n > vm_things_per_step(vm))
		n = vm_things_per_step(vm);
	while (i < n && n_pages < most)
		n_pages += vm->plan.calls[first + i++].n_pages;
	return i;
}

void vm_calls_done(struct vm *vm, size_t n_done, int error, uint64_t n_partial)
{
	if (vm->is_getting_stuck || vm->state == VM_STUCK) {
		/* Too late: all its pages count as unknown already, or will. */
		vm->has_answered_late = true;
		vm_wake(vm);
		vm_run(vm);
		return;
	}
	assert(vm->state != VM_IDLE && vm->state != VM_WAITING);
	assert(vm->step == STEP_WAIT && vm->is_begun && !vm->is_backing_off);
	vm->ops->set_timer(vm->context, 0);
	vm->outcome.n_done = n_done;
	vm->outcome.error = error;
	vm->outcome.n_partial = n_partial;
	if (n_done)
		vm->n_retries = 0;
	vm->step = STEP_NOTE;
	vm_run(vm);
}

static void note_calls(struct vm *vm, size_t n, struct page_ranges *unknown)
{
	plan_applied(&vm->plan, vm->policy, vm->n_calls_done, n, false, 0, unknown);
	if (vm->state == VM_VERIFYING)
		vm_verification_count(vm, n);
	for (size_t i = 0; i < n; i++)
		vm->statistics.call_pages += vm->plan.calls[vm->n_calls_done + i].n_pages;
	vm->statistics.calls += n;
	vm->n_calls_done += n;
	vm->outcome.n_done -= n;
}

void vm_plan_note(struct vm *vm)
{
	/* A repair walks through unknown: what it leaves behind is gathered beside it. */
	struct page_ranges *unknown = vm->state == VM_REPAIRING ? &vm->touched : &vm->unknown;
	int error = vm->outcome.error;

	note_calls(vm, calls_per_step(vm, vm->n_calls_done, vm->outcome.n_done), unknown);
	if (vm->outcome.n_done)
		return;
	if (!error) {
		go_on(vm);
		return;
	}
	plan_applied(&vm->plan, vm->policy, vm->n_calls_done, 0, true, vm->outcome.n_partial,
		     unknown);
	if (is_transient(error) && vm->n_retries < MAX_RETRIES) {
		vm->statistics.retries++;
		vm->is_backing_off = true;
		vm->step = STEP_WAIT;
		vm->ops->set_timer(vm->context, FIRST_RETRY_MS << vm->n_retries++);
	} else {
		end_refused_plan(vm, error);
	}
}

/* ---- Lost ------------------------------------------------------------------------------------ */

static void say_stuck(const struct vm *vm, char *text, size_t size)
{
	snprintf(text, size,
		 "the executor has not answered for %u ms; updates are refused until it does",
		 vm->limits.executor_deadline_ms);
}

/* Nothing can be enforced: everyone is told so until the executor answers. */
static void become_stuck(struct vm *vm)
{
	char text[WIRE_TEXT_SIZE];

	say_stuck(vm, text, sizeof(text));
	vm->is_getting_stuck = false;
	vm->state = VM_STUCK;
	vm->step = STEP_REFUSE;
	vm->ops->report(vm->context, VM_REPORT_STUCK, text);
	vm_verification_end(vm, KVMATTR_EXECUTOR_STUCK, text);
}

void vm_plan_refuse(struct vm *vm)
{
	size_t n = vm_things_per_step(vm);
	char text[WIRE_TEXT_SIZE];

	say_stuck(vm, text, sizeof(text));
	vm_refuse_waiting(vm, n < vm->n_waiting ? n : vm->n_waiting, KVMATTR_EXECUTOR_STUCK, text);
	if (vm->n_waiting)
		return;
	vm->step = STEP_WAIT;
	if (vm->has_answered_late) {
		vm->has_answered_late = false;
		vm->ops->report(vm->context, VM_REPORT_ANSWERS, "the executor answers again");
		vm_become_idle(vm);
	}
}

void vm_plan_get_stuck(struct vm *vm)
{
	vm->is_getting_stuck = true;
	begin_losing(vm);
}

void vm_plan_taken_back(struct vm *vm)
{
	if (vm->is_getting_stuck) {
		become_stuck(vm);
		return;
	}
	vm->state = VM_UNDOING;
	vm_plan_begin(vm, &vm->touched, vm->limits.max_pages_per_call, false);
}

/* All pages of the plan that are not known to be as they are to be are marked. */
static void end_losing(struct vm *vm)
{
	page_ranges_normalize(&vm->unknown);
	vm_set_degraded(vm, true);
	vm->has_tried_repair = !vm->is_getting_stuck;
	if (vm->is_getting_stuck && vm->state == VM_EXECUTING)
		vm->step = STEP_TAKE_BACK;
	else if (vm->is_getting_stuck)
		become_stuck(vm);
	else if (vm->state == VM_UNDOING)
		end_undo(vm);
	else
		vm_become_idle(vm);
}

/*
 * The plan ends before its time.  Of the calls that were not made it is not known what KVM holds;
 * in what is not planned yet, or was carried out and is taken back, it may hold something else.
 */
void vm_plan_lose(struct vm *vm)
{
	const struct page_ranges *planned = vm->planned;
	size_t first = vm->n_calls_done + vm->n_lost;
	size_t n = calls_per_step(vm, first, vm->plan.n_calls - first);

	plan_lost(&vm->plan, vm->policy, first, n, &vm->unknown);
	vm->n_lost += n;
	for (n = vm_things_per_step(vm);
	     n && planned != &vm->unknown && vm->n_ranges_lost < planned->n; n--) {
		struct kvmattr_range range = planned->range[vm->n_ranges_lost++];

		page_ranges_add(&vm->unknown, range.gfn, range.n_pages);
	}
	if (vm->unknown.n > 2 * MAX_UNKNOWN_RANGES)
		page_ranges_coarsen(&vm->unknown, MAX_UNKNOWN_RANGES);
	if (vm->n_calls_done + vm->n_lost == vm->plan.n_calls &&
	    (planned == &vm->unknown || vm->n_ranges_lost == planned->n))
		end_losing(vm);
}
