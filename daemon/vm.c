/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm-private.h"

#include "allocate.h"

#include <assert.h>
#include <stdlib.h>

#define FIRST_REPAIR_MS   100
#define LONGEST_REPAIR_MS 5000
/* Then others have a turn. */
#define LONGEST_TURN_US 1000
/* Pages that one step looks at, one by one: some 100 us, in however many maps and views. */
#define PAGES_PER_STEP  (16 * ATTRIBUTE_MAP_LEAF_PAGES)
#define PAGES_PER_THING 32

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

void vm_restore(struct vm *vm, uint64_t commit, const struct page_ranges *unknown,
		uint64_t recorded)
{
	assert(vm->state == VM_WAITING);
	vm->commit = commit;
	vm->recorded = recorded;
	page_ranges_add_all(&vm->unknown, unknown);
	page_ranges_normalize(&vm->unknown);
}

/* Whoever submitted is told, and nobody else any more: what is left is memory. */
void vm_end(struct vm *vm, const char *text)
{
	vm->ops->set_timer(vm->context, 0);
	vm_batch_requeue(vm);
	vm_verification_end(vm, KVMATTR_NO_VM, text);
	vm_answer_the_rest(vm, text);
}

bool vm_free_some(struct vm *vm)
{
	size_t n = vm_things_per_step(vm);

	if (!policy_undo_log_clear_some(vm->undo, n) || !policy_free_some(vm->policy, n))
		return false;
	plan_destroy(&vm->plan);
	page_ranges_destroy(&vm->touched);
	page_ranges_destroy(&vm->unknown);
	policy_undo_log_free(vm->undo);
	free(vm->parts);
	free(vm->name);
	free(vm);
	return true;
}

void vm_free(struct vm *vm, const char *text)
{
	if (!vm)
		return;
	vm_end(vm, text);
	while (!vm_free_some(vm))
		;
}

/* ---- What comes next ------------------------------------------------------------------------ */

void vm_set_degraded(struct vm *vm, bool is_degraded)
{
	if (vm->is_degraded == is_degraded)
		return;
	vm->is_degraded = is_degraded;
	vm->ops->report(
		vm->context, is_degraded ? VM_REPORT_DEGRADED : VM_REPORT_ENFORCED,
		is_degraded ? "degraded: KVM may not enforce what the policy says on some pages; "
			      "trying again"
			    : "recovered: KVM enforces what the policy says on every page");
}

void vm_become_idle(struct vm *vm)
{
	vm->state = VM_IDLE;
	vm->step = STEP_NEXT;
}

void vm_wake(struct vm *vm)
{
	if (vm->step != STEP_WAIT)
		return;
	if (vm->state == VM_IDLE)
		vm->step = STEP_NEXT;
	else if (vm->state == VM_STUCK)
		vm->step = STEP_REFUSE;
}

static void begin_repair(struct vm *vm)
{
	vm->state = VM_REPAIRING;
	page_ranges_clear(&vm->touched);
	vm_plan_begin(vm, &vm->unknown, vm->repair_pages, false);
}

/* The next part of a verification, if it is its turn.  Returns whether it is. */
static bool begin_verifying(struct vm *vm, bool has_waiting)
{
	if (!vm->verification.is_under_way || (vm->verification.is_behind_batch && has_waiting))
		return false;
	if (!vm_verification_choose(vm)) {
		vm_verification_end(vm, KVMATTR_OK, "");
		return false;
	}
	vm->verification.is_behind_batch = true;
	vm->state = VM_VERIFYING;
	vm_plan_begin(vm, &vm->touched, vm->limits.max_pages_per_call, true);
	return true;
}

static void begin_batch(struct vm *vm)
{
	vm->verification.is_behind_batch = false;
	vm->has_tried_repair = false;
	vm->state = VM_EXECUTING;
	vm->step = STEP_FORM;
	vm_batch_begin(vm);
}

static void rest(struct vm *vm)
{
	vm->step = STEP_WAIT;
	vm->has_tried_repair = false;
	vm_trim(vm);
	if (!vm->unknown.n)
		return;
	vm->ops->set_timer(vm->context, vm->repair_ms);
	vm->repair_ms =
		vm->repair_ms * 2 < LONGEST_REPAIR_MS ? vm->repair_ms * 2 : LONGEST_REPAIR_MS;
}

/* First what KVM may hold wrongly, then, in turn, what is verified and what waits. */
static void find_next(struct vm *vm)
{
	bool has_waiting = !TAILQ_EMPTY(&vm->waiting) && !vm->is_frozen;

	vm->ops->set_timer(vm->context, 0);
	if (vm->unknown.n && !vm->has_tried_repair) {
		begin_repair(vm);
		return;
	}
	if (!vm->unknown.n) {
		vm_set_degraded(vm, false);
		vm->repair_ms = FIRST_REPAIR_MS;
		vm->repair_pages = vm->limits.max_pages_per_call;
	}
	if (begin_verifying(vm, has_waiting))
		return;
	if (has_waiting)
		begin_batch(vm);
	else
		rest(vm);
}

/* ---- Steps and turns ------------------------------------------------------------------------ */

uint64_t vm_pages_per_step(const struct vm *vm)
{
	return vm->limits.pages_per_step ? vm->limits.pages_per_step : PAGES_PER_STEP;
}

size_t vm_things_per_step(const struct vm *vm)
{
	return vm_pages_per_step(vm) / PAGES_PER_THING + 1;
}

static bool has_work(const struct vm *vm)
{
	return vm->step != STEP_WAIT || vm_can_answer(vm);
}

static void make_step(struct vm *vm)
{
	if (vm_can_answer(vm)) {
		vm_answer_some(vm);
		return;
	}
	switch (vm->step) {
	case STEP_NEXT:
		find_next(vm);
		return;
	case STEP_FORM:
		if (vm_batch_form(vm))
			vm_plan_begin(vm, &vm->touched, vm->limits.max_pages_per_call, false);
		return;
	case STEP_PLAN:
		vm_plan_look(vm);
		return;
	case STEP_NOTE:
		vm_plan_note(vm);
		return;
	case STEP_LOSE:
		vm_plan_lose(vm);
		return;
	case STEP_TAKE_BACK:
		if (vm_batch_take_back(vm))
			vm_plan_taken_back(vm);
		return;
	case STEP_FORGET:
		if (policy_undo_log_clear_some(vm->undo, vm_things_per_step(vm)))
			vm->step = STEP_NEXT;
		return;
	case STEP_REFUSE:
		vm_plan_refuse(vm);
		return;
	case STEP_WAIT:
		break;
	}
	abort(); /* there is nothing to do */
}

static bool is_turn_over(struct vm *vm)
{
	uint64_t now_us = vm->ops->now_us(vm->context);

	vm->turn_us += now_us - vm->looked_us;
	vm->looked_us = now_us;
	return vm->turn_us >= LONGEST_TURN_US;
}

static void tell_if_still(struct vm *vm)
{
	if (vm_is_still(vm))
		vm->ops->still(vm->context);
}

void vm_run(struct vm *vm)
{
	if (vm->is_running || vm->is_giving_way || !has_work(vm))
		return;
	vm->is_running = true;
	vm->looked_us = vm->ops->now_us(vm->context);
	do
		make_step(vm);
	while (!is_turn_over(vm) && has_work(vm));
	vm->is_running = false;
	/* what a batch takes that is with the executor, it was measured for, or has asked for */
	if (vm->ops->measure && (vm->state == VM_IDLE || has_work(vm)))
		vm->ops->measure(vm->context);
	if (has_work(vm)) {
		vm->is_giving_way = true;
		vm->ops->give_way(vm->context);
	}
	tell_if_still(vm);
}

void vm_turn(struct vm *vm)
{
	vm->is_giving_way = false;
	vm->turn_us = 0;
	vm->room = 0;
	vm_run(vm);
}

/* ---- What it is told ------------------------------------------------------------------------ */

void vm_freeze(struct vm *vm)
{
	vm->is_frozen = true;
	tell_if_still(vm);
}

void vm_thaw(struct vm *vm)
{
	vm->is_frozen = false;
	vm_wake(vm);
	vm_run(vm);
}

void vm_start(struct vm *vm)
{
	assert(vm->state == VM_WAITING);
	vm_become_idle(vm);
	vm_run(vm);
}

void vm_submit(struct vm *vm, struct vm_update *update)
{
	assert(!update->n_in_force || update->n_in_force < vm_update_n_elements(update));
	update->n_applied = update->n_in_force;
	update->status = KVMATTR_OK;
	update->text = NULL;
	TAILQ_INSERT_TAIL(&vm->waiting, update, queue);
	vm->n_waiting++;
	if (vm->state == VM_STUCK || !vm->is_frozen)
		vm_wake(vm);
	vm_run(vm);
}

void vm_timer(struct vm *vm)
{
	if (vm->state == VM_IDLE)
		vm_wake(vm);
	else if (vm->state == VM_STUCK || vm->state == VM_WAITING || vm->step != STEP_WAIT)
		return;
	else if (vm->is_backing_off)
		vm_plan_execute(vm);
	else
		vm_plan_get_stuck(vm);
	vm_run(vm);
}
