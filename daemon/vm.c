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
	TAILQ_INIT(&vm->ended);
	vm->undo = policy_undo_log_new();
	vm->batch_limit = limits->max_elements_per_batch;
	vm->repair_ms = FIRST_REPAIR_MS;
	vm->repair_pages = limits->max_pages_per_call;
	vm->state = VM_WAITING;
	return vm;
}

void vm_set_limits(struct vm *vm, const struct vm_limits *limits)
{
	vm->limits = *limits;
}

void vm_restore(struct vm *vm, uint64_t commit, const struct page_ranges *unknown)
{
	assert(vm->state == VM_WAITING);
	vm->commit = commit;
	page_ranges_add_all(&vm->unknown, unknown);
	page_ranges_normalize(&vm->unknown);
}

void vm_free(struct vm *vm, const char *text)
{
	if (!vm)
		return;
	vm->ops->set_timer(vm->context, 0);
	vm_batch_take_back(vm);
	vm_verification_end(vm, KVMATTR_NO_VM, text);
	vm_answer_the_rest(vm, text);
	plan_destroy(&vm->plan);
	page_ranges_destroy(&vm->touched);
	page_ranges_destroy(&vm->unknown);
	policy_undo_log_free(vm->undo);
	policy_free(vm->policy);
	free(vm->parts);
	free(vm->name);
	free(vm);
}

/* ---- Batches ---------------------------------------------------------------------------------- */

/*
 * Writes down a batch, or NULL for the one under way, and whether it is in force.  Returns whether
 * the journal took it.
 */
static bool record(struct vm *vm, const struct vm_batch *batch, bool is_in_force)
{
	const struct vm_in_force in_force = { .commit = vm->commit + 1,
					      .is_all_known = !vm->unknown.n };
	uint64_t number = 0;

	vm->journal_error =
		-vm->ops->record(vm->context, batch, is_in_force ? &in_force : NULL, &number);
	if (vm->journal_error)
		return false;
	if (is_in_force)
		vm->recorded = number;
	return true;
}

/* Everything in the batch is in force: it stands, and whoever asked is told. */
static void commit_batch(struct vm *vm)
{
	struct vm_update *update = TAILQ_FIRST(&vm->waiting);
	uint64_t now_us = vm->ops->now_us(vm->context), took_us = now_us - vm->batch_started_us;

	policy_undo_log_clear(vm->undo);
	vm->commit++;
	vm->statistics.batches++;
	vm->statistics.batch_us_total += took_us;
	if (took_us > vm->statistics.batch_us_max)
		vm->statistics.batch_us_max = took_us;
	if (update)
		vm_batch_stand(vm, update);
	while ((update = TAILQ_FIRST(&vm->batch))) {
		TAILQ_REMOVE(&vm->batch, update, queue);
		vm_batch_stand(vm, update);
		vm_end_update(vm, update, vm->recorded);
		vm_answer_ended(vm, now_us);
	}
	/* After a refusal, back to long batches step by step. */
	vm->batch_limit *= 2;
	if (vm->batch_limit > vm->limits.max_elements_per_batch)
		vm->batch_limit = vm->limits.max_elements_per_batch;
	vm->ops->settled(vm->context);
}

/* The batch is taken back, and the journal was the reason: nothing of it is tried again. */
static void fail_batch(struct vm *vm)
{
	const char *error = strerrordesc_np(vm->journal_error);
	bool is_full = vm->journal_error == ENOSPC || vm->journal_error == EDQUOT;
	char text[WIRE_TEXT_SIZE];

	snprintf(text, sizeof(text),
		 "the journal cannot be written: %s; nothing was changed; %s and try again",
		 error ? error : "unknown error", is_full ? "make room" : "see to its disk");
	vm_refuse_waiting(vm, vm->n_parts, KVMATTR_JOURNAL_FAILED, text);
}

static void execute(struct vm *vm)
{
	vm->is_backing_off = false;
	vm->ops->set_timer(vm->context, vm->limits.executor_deadline_ms);
	vm->ops->execute(vm->context, &vm->plan, vm->n_calls_done);
}

/* The plan that was made, for these pages, is the one that is carried out next. */
static void take_plan(struct vm *vm, struct page_ranges *pages, uint64_t pages_per_call)
{
	vm->pages_per_call = pages_per_call;
	vm->planned = pages;
	vm->n_calls_done = 0;
	vm->n_retries = 0;
	vm->n_refused = 0;
}

/* Makes the plan for these pages; returns whether there is anything to do. */
static bool make_plan(struct vm *vm, struct page_ranges *pages, uint64_t pages_per_call)
{
	page_ranges_normalize(pages);
	plan_make(&vm->plan, vm->policy, pages, pages_per_call);
	take_plan(vm, pages, pages_per_call);
	return vm->plan.n_calls;
}

/*
 * The batch that was formed: planned, written down, and carried out.  Returns false if that is all,
 * because no call is needed, or because the journal does not take it.
 */
static bool begin_batch(struct vm *vm)
{
	const struct vm_batch batch = {
		.commit = vm->commit + 1,
		.parts = vm->parts,
		.n_parts = vm->n_parts,
	};
	bool has_calls = make_plan(vm, &vm->touched, vm->limits.max_pages_per_call);

	if (!record(vm, &batch, !has_calls)) {
		vm_batch_take_back(vm);
		/* KVM was told nothing; but of RAM that was added it is not known what it holds. */
		has_calls = make_plan(vm, &vm->touched, vm->limits.max_pages_per_call);
		if (has_calls) {
			vm->state = VM_UNDOING;
			execute(vm);
		} else {
			fail_batch(vm);
		}
		return has_calls;
	}
	if (has_calls)
		execute(vm);
	else
		commit_batch(vm);
	return has_calls;
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

/* After a batch that made no call.  Whether it was the turn's last: the others first, then. */
static bool end_turn(struct vm *vm)
{
	vm->turn_used_us += vm->ops->now_us(vm->context) - vm->batch_started_us;
	if (vm->turn_used_us <= LONGEST_TURN_US)
		return false;
	vm->is_giving_way = true;
	vm->ops->set_timer(vm->context, 1);
	return true;
}

/* Is there a batch to be made? */
static bool has_waiting(const struct vm *vm)
{
	return !TAILQ_EMPTY(&vm->waiting) && !vm->is_frozen;
}

/* The next part of a verification, if it is its turn.  Returns whether a plan is under way. */
static bool begin_verifying(struct vm *vm)
{
	if (!vm->verification.is_under_way || (vm->verification.is_behind_batch && has_waiting(vm)))
		return false;
	if (!vm_verification_plan(vm)) {
		vm_verification_end(vm, KVMATTR_OK, "");
		return false;
	}
	vm->verification.is_behind_batch = true;
	take_plan(vm, &vm->touched, vm->limits.max_pages_per_call);
	vm->state = VM_VERIFYING;
	execute(vm);
	return true;
}

/*
 * First what KVM may hold wrongly, then, in turn, what is verified and what waits, until a plan is
 * under way or nothing is left to do.
 */
static void find_next(struct vm *vm)
{
	vm->state = VM_EXECUTING; /* what is submitted from within an answer waits */
	begin_turn(vm, vm->ops->now_us(vm->context));
	vm->ops->set_timer(vm->context, 0);
	for (;;) {
		if (vm->unknown.n && !vm->has_tried_repair) {
			page_ranges_clear(&vm->touched);
			if (make_plan(vm, &vm->unknown, vm->repair_pages)) {
				vm->state = VM_REPAIRING;
				execute(vm);
				return;
			}
			page_ranges_clear(&vm->unknown);
		}
		if (!vm->unknown.n) {
			set_degraded(vm, false);
			vm->repair_ms = FIRST_REPAIR_MS;
			vm->repair_pages = vm->limits.max_pages_per_call;
		}
		if (begin_verifying(vm))
			return;
		if (!has_waiting(vm))
			break;
		vm->verification.is_behind_batch = false;
		vm->has_tried_repair = false;
		vm->batch_started_us = vm->ops->now_us(vm->context);
		vm_batch_form(vm);
		if (begin_batch(vm))
			return;
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

static void tell_if_still(struct vm *vm)
{
	if (vm_is_still(vm))
		vm->ops->still(vm->context);
}

static void start_next(struct vm *vm)
{
	find_next(vm);
	tell_if_still(vm);
}

void vm_go_on(struct vm *vm)
{
	if (vm->state == VM_IDLE && !vm->is_giving_way)
		start_next(vm);
}

void vm_freeze(struct vm *vm)
{
	vm->is_frozen = true;
	tell_if_still(vm);
}

void vm_thaw(struct vm *vm)
{
	vm->is_frozen = false;
	vm_go_on(vm);
}

void vm_start(struct vm *vm)
{
	assert(vm->state == VM_WAITING);
	start_next(vm);
}

void vm_submit(struct vm *vm, struct vm_update *update)
{
	assert(!update->n_in_force || update->n_in_force < vm_update_n_elements(update));
	update->n_applied = update->n_in_force;
	update->status = KVMATTR_OK;
	update->text = NULL;
	if (vm->state == VM_STUCK) {
		vm_refuse(vm, update, KVMATTR_EXECUTOR_STUCK,
			  kvmattr_status_text(KVMATTR_EXECUTOR_STUCK));
		vm_answer_ended(vm, vm->ops->now_us(vm->context));
		vm->ops->settled(vm->context);
		return;
	}
	TAILQ_INSERT_TAIL(&vm->waiting, update, queue);
	vm->n_waiting++;
	if (!vm->is_frozen)
		vm_go_on(vm);
}

/* ---- What becomes of a plan -------------------------------------------------------------------- */

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
		fail_batch(vm);
	else if (vm->batch_limit == 1)
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

static void undo_batch(struct vm *vm)
{
	vm_batch_take_back(vm);
	if (make_plan(vm, &vm->touched, vm->limits.max_pages_per_call)) {
		vm->state = VM_UNDOING;
		execute(vm);
	} else {
		end_undo(vm);
	}
}

static void end_plan(struct vm *vm)
{
	switch (vm->state) {
	case VM_EXECUTING:
		if (!record(vm, NULL, true)) {
			undo_batch(vm);
			return;
		}
		commit_batch(vm);
		start_next(vm);
		return;
	case VM_UNDOING:
		note_refused(vm);
		end_undo(vm);
		return;
	case VM_VERIFYING:
		note_refused(vm);
		start_next(vm);
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
		undo_batch(vm);
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
	assert(vm->state != VM_IDLE && vm->state != VM_WAITING && !vm->is_backing_off);
	/* A repair walks through unknown: what it leaves behind is gathered beside it. */
	plan_applied(&vm->plan, vm->policy, vm->n_calls_done, n_done, error, n_partial,
		     vm->state == VM_REPAIRING ? &vm->touched : &vm->unknown);
	if (vm->state == VM_VERIFYING)
		vm_verification_count(vm, n_done);
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
	vm_verification_end(vm, KVMATTR_EXECUTOR_STUCK, text);
	vm_refuse_waiting(vm, vm->n_waiting, KVMATTR_EXECUTOR_STUCK, text);
	tell_if_still(vm);
}

void vm_timer(struct vm *vm)
{
	if (vm->state == VM_IDLE)
		start_next(vm);
	else if (vm->state == VM_STUCK || vm->state == VM_WAITING)
		return;
	else if (vm->is_backing_off)
		execute(vm);
	else
		get_stuck(vm);
}
