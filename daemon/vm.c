/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm-private.h"

#include "allocate.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A call that KVM could not take at the moment is made again so often, waiting twice as long. */
#define MAX_RETRIES       8
#define FIRST_RETRY_MS    1
#define FIRST_REPAIR_MS   100
#define LONGEST_REPAIR_MS 5000
/* An undo or a repair goes on behind calls that KVM refuses, up to so many. */
#define MAX_REFUSALS 64
/* The next repair's calls are so much shorter, so that a page that KVM refuses ends up alone. */
#define REPAIR_DIVISOR 16
/* Batches that need no call are made one after the other for so long; then others have a turn. */
#define LONGEST_TURN_US 2000

struct vm *vm_new(const char *name, struct policy *policy, const struct vm_limits *limits,
		  const struct vm_ops *ops, void *context)
{
	struct vm *vm = allocate_one(struct vm);

	vm->name = allocate_string(name);
	vm->policy = policy;
	vm->limits = *limits;
	vm->ops = ops;
	vm->context = context;
	TAILQ_INIT(&vm->waiting);
	TAILQ_INIT(&vm->batch);
	vm->undo = policy_undo_log_new();
	vm->batch_limit = limits->max_elements_per_batch;
	return vm;
}

static void answer(struct vm *vm, struct vm_update *update, enum kvmattr_status status,
		   const char *text)
{
	char *own_text = update->text;

	update->text = NULL;
	vm->statistics.updates++;
	vm->statistics.updates_failed += status != KVMATTR_OK;
	vm->ops->answer(vm->context, update, status, text);
	free(own_text);
}

/* Answers everything that waits; nothing of it is in the layers. */
static void fail_waiting(struct vm *vm, enum kvmattr_status status, const char *text)
{
	struct vm_update *update;

	while ((update = TAILQ_FIRST(&vm->waiting))) {
		TAILQ_REMOVE(&vm->waiting, update, queue);
		vm->n_waiting--;
		answer(vm, update, status, text);
	}
	vm->ops->settled(vm->context);
}

void vm_free(struct vm *vm, const char *text)
{
	if (!vm)
		return;
	vm->ops->set_timer(vm->context, 0);
	vm_batch_take_back(vm);
	fail_waiting(vm, KVMATTR_NO_VM, text);
	plan_destroy(&vm->plan);
	page_ranges_destroy(&vm->touched);
	page_ranges_destroy(&vm->unknown);
	policy_undo_log_free(vm->undo);
	policy_free(vm->policy);
	free(vm->name);
	free(vm);
}

/* Everything in the batch is in force: it stands, and whoever asked is told. */
static void commit_batch(struct vm *vm)
{
	struct vm_update *update = TAILQ_FIRST(&vm->waiting);
	uint64_t took_us = vm->ops->now_us(vm->context) - vm->batch_started_us;

	policy_undo_log_clear(vm->undo);
	if (vm->n_batch_elements) {
		vm->commit++;
		vm->statistics.batches++;
		vm->statistics.batch_us_total += took_us;
		if (took_us > vm->statistics.batch_us_max)
			vm->statistics.batch_us_max = took_us;
	}
	if (update)
		vm_batch_stand(vm, update);
	while ((update = TAILQ_FIRST(&vm->batch))) {
		TAILQ_REMOVE(&vm->batch, update, queue);
		vm_batch_stand(vm, update);
		answer(vm, update, update->status, update->text ? update->text : "");
	}
	/* After a refusal, back to long batches step by step. */
	vm->batch_limit *= 2;
	if (vm->batch_limit > vm->limits.max_elements_per_batch)
		vm->batch_limit = vm->limits.max_elements_per_batch;
	vm->ops->settled(vm->context);
}

static void execute(struct vm *vm)
{
	vm->is_backing_off = false;
	vm->ops->set_timer(vm->context, vm->limits.executor_deadline_ms);
	vm->ops->execute(vm->context, &vm->plan, vm->n_calls_done);
}

/* Carries out a plan for these pages in that state; returns false if there is nothing to do. */
static bool carry_out(struct vm *vm, struct page_ranges *pages, enum vm_state state)
{
	page_ranges_normalize(pages);
	vm->pages_per_call =
		state == VM_REPAIRING ? vm->repair_pages : vm->limits.max_pages_per_call;
	plan_make(&vm->plan, vm->policy, pages, vm->pages_per_call);
	vm->planned = pages;
	vm->n_calls_done = 0;
	vm->n_retries = 0;
	vm->n_refused = 0;
	if (!vm->plan.n_calls)
		return false;
	vm->state = state;
	execute(vm);
	return true;
}

static void set_degraded(struct vm *vm, bool is_degraded)
{
	if (vm->is_degraded == is_degraded)
		return;
	vm->is_degraded = is_degraded;
	vm->ops->report(
		vm->context, is_degraded,
		is_degraded ? "degraded: KVM may not enforce what the policy says on some pages; "
			      "trying again"
			    : "recovered: KVM enforces what the policy says on every page");
}

/* The time of a turn counts from its first batch on, in however many messages the updates came. */
static void begin_turn(struct vm *vm, uint64_t now_us)
{
	if (!vm->is_giving_way && now_us - vm->turn_started_us < 2 * LONGEST_TURN_US)
		return;
	vm->is_giving_way = false;
	vm->turn_started_us = now_us;
	vm->turn_used_us = 0;
}

/* After a batch that needed no call.  Whether it was the turn's last: the others first, then. */
static bool end_turn(struct vm *vm)
{
	vm->turn_used_us += vm->ops->now_us(vm->context) - vm->batch_started_us;
	if (vm->turn_used_us <= LONGEST_TURN_US)
		return false;
	vm->is_giving_way = true;
	vm->ops->set_timer(vm->context, 1);
	return true;
}

/* First what KVM may hold wrongly, then what waits, until a plan is under way or nothing waits. */
static void start_next(struct vm *vm)
{
	vm->state = VM_EXECUTING; /* what is submitted from within an answer waits */
	begin_turn(vm, vm->ops->now_us(vm->context));
	vm->ops->set_timer(vm->context, 0);
	for (;;) {
		if (vm->unknown.n && !vm->has_tried_repair) {
			page_ranges_clear(&vm->touched);
			if (carry_out(vm, &vm->unknown, VM_REPAIRING))
				return;
			page_ranges_clear(&vm->unknown);
		}
		if (!vm->unknown.n) {
			set_degraded(vm, false);
			vm->repair_ms = FIRST_REPAIR_MS;
			vm->repair_pages = vm->limits.max_pages_per_call;
		}
		if (TAILQ_EMPTY(&vm->waiting))
			break;
		vm->has_tried_repair = false;
		vm->batch_started_us = vm->ops->now_us(vm->context);
		vm_batch_form(vm);
		if (carry_out(vm, &vm->touched, VM_EXECUTING))
			return;
		commit_batch(vm);
		if (end_turn(vm)) {
			vm->state = VM_IDLE;
			return;
		}
	}
	vm->state = VM_IDLE;
	vm->has_tried_repair = false;
	if (vm->unknown.n) {
		vm->ops->set_timer(vm->context, vm->repair_ms);
		vm->repair_ms = vm->repair_ms * 2 < LONGEST_REPAIR_MS ? vm->repair_ms * 2
								      : LONGEST_REPAIR_MS;
	}
}

void vm_submit(struct vm *vm, struct vm_update *update)
{
	update->n_in_force = 0;
	update->n_applied = 0;
	update->status = KVMATTR_OK;
	update->text = NULL;
	if (vm->state == VM_STUCK) {
		answer(vm, update, KVMATTR_EXECUTOR_STUCK,
		       kvmattr_status_text(KVMATTR_EXECUTOR_STUCK));
		vm->ops->settled(vm->context);
		return;
	}
	TAILQ_INSERT_TAIL(&vm->waiting, update, queue);
	vm->n_waiting++;
	if (vm->state == VM_IDLE && !vm->is_giving_way)
		start_next(vm);
}

static enum kvmattr_status status_of_refusal(int error)
{
	return error == ENOMEM   ? KVMATTR_INSUFFICIENT_MEMORY
	       : error == EINVAL ? KVMATTR_UNSUPPORTED
				 : KVMATTR_KERNEL_REFUSED;
}

/* The element that KVM refused is alone at last: its update ends there. */
static void fail_first(struct vm *vm)
{
	struct vm_update *update = TAILQ_FIRST(&vm->waiting);
	enum kvmattr_status status = status_of_refusal(vm->refusal);
	const char *error = strerrorname_np(vm->refusal);
	char text[WIRE_TEXT_SIZE];

	snprintf(text, sizeof(text), "KVM refused it at GFN 0x%" PRIx64 " with %s: %s",
		 vm->refused_gfn, error ? error : "an unknown error", kvmattr_status_text(status));
	TAILQ_REMOVE(&vm->waiting, update, queue);
	vm->n_waiting--;
	answer(vm, update, status, text);
	vm->ops->settled(vm->context);
}

/* The batch is taken back.  Half as much at a time finds the element that KVM refuses. */
static void end_undo(struct vm *vm)
{
	if (vm->batch_limit == 1)
		fail_first(vm);
	else
		vm->batch_limit = vm->n_batch_elements > 1 ? vm->n_batch_elements / 2 : 1;
	start_next(vm);
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
	set_degraded(vm, true);
}

static void end_plan(struct vm *vm)
{
	switch (vm->state) {
	case VM_EXECUTING:
		commit_batch(vm);
		start_next(vm);
		return;
	case VM_UNDOING:
		note_refused(vm);
		end_undo(vm);
		return;
	default:
		assert(vm->state == VM_REPAIRING);
		page_ranges_clear(&vm->unknown);
		page_ranges_add_all(&vm->unknown, &vm->touched);
		note_refused(vm);
		start_next(vm);
	}
}

/*
 * The plan ends before its time.  Of the calls that were not made it is not known what KVM holds;
 * in what is not planned yet, or was carried out and is taken back, it may hold something else.
 */
static void lose_plan(struct vm *vm)
{
	plan_lost(&vm->plan, vm->policy, vm->n_calls_done, &vm->unknown);
	if (vm->planned != &vm->unknown)
		page_ranges_add_all(&vm->unknown, vm->planned);
	page_ranges_normalize(&vm->unknown);
}

/* The calls that are left, the next part of the plan, or what comes after it. */
static void go_on(struct vm *vm)
{
	if (vm->n_calls_done == vm->plan.n_calls) {
		plan_continue(&vm->plan, vm->policy, vm->planned, vm->pages_per_call);
		vm->n_calls_done = 0;
	}
	if (vm->plan.n_calls)
		execute(vm);
	else
		end_plan(vm);
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
		vm_batch_take_back(vm);
		if (!carry_out(vm, &vm->touched, VM_UNDOING))
			end_undo(vm);
		return;
	}
	/* Not even what was there before can be set: those pages stay unknown, the others do not. */
	if (!is_transient(error) && ++vm->n_refused <= MAX_REFUSALS) {
		vm->n_calls_done++;
		vm->n_retries = 0;
		go_on(vm);
		return;
	}
	lose_plan(vm);
	set_degraded(vm, true);
	vm->has_tried_repair = true;
	if (vm->state == VM_UNDOING)
		end_undo(vm);
	else
		start_next(vm);
}

void vm_calls_done(struct vm *vm, size_t n_done, int error, uint64_t n_partial)
{
	if (vm->state == VM_STUCK) {
		/* Too late: all its pages count as unknown already. */
		vm->ops->report(vm->context, false, "the executor answers again");
		start_next(vm);
		return;
	}
	assert(vm->state != VM_IDLE && !vm->is_backing_off);
	/* A repair walks through unknown: what it leaves behind is gathered beside it. */
	plan_applied(&vm->plan, vm->policy, vm->n_calls_done, n_done, error, n_partial,
		     vm->state == VM_REPAIRING ? &vm->touched : &vm->unknown);
	for (size_t i = 0; i < n_done; i++)
		vm->statistics.call_pages += vm->plan.calls[vm->n_calls_done + i].n_pages;
	vm->statistics.calls += n_done;
	vm->n_calls_done += n_done;
	if (n_done)
		vm->n_retries = 0;

	if (error && is_transient(error) && vm->n_retries < MAX_RETRIES) {
		vm->statistics.retries++;
		vm->is_backing_off = true;
		vm->ops->set_timer(vm->context, FIRST_RETRY_MS << vm->n_retries++);
	} else if (error) {
		end_refused_plan(vm, error);
	} else {
		go_on(vm);
	}
}

/* Nothing can be enforced: everyone is told so until the executor answers. */
static void get_stuck(struct vm *vm)
{
	char text[160];

	lose_plan(vm);
	if (vm->state == VM_EXECUTING)
		vm_batch_take_back(vm);
	vm->state = VM_STUCK;
	set_degraded(vm, true);
	snprintf(text, sizeof(text),
		 "the executor has not answered for %u ms; updates are refused until it does",
		 vm->limits.executor_deadline_ms);
	vm->ops->report(vm->context, true, text);
	fail_waiting(vm, KVMATTR_EXECUTOR_STUCK, text);
}

void vm_timer(struct vm *vm)
{
	if (vm->state == VM_IDLE)
		start_next(vm);
	else if (vm->state == VM_STUCK)
		return;
	else if (vm->is_backing_off)
		execute(vm);
	else
		get_stuck(vm);
}
