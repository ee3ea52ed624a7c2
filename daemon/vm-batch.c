/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A batch: which of the waiting updates' elements are taken into the layers together, how they come
 * to stand there, or out again if KVM or the journal refuses them.  Nothing here is told to KVM.
 */
#include "vm-private.h"

#include "allocate.h"
#include "journal/vm-records.h"
#include "policy/elements.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/*
 * A batch ends here, too: an element of many pages may make as many changes, and to check its pages
 * takes time even where none of them changes.  What is done for all of a batch at one moment is not
 * to take long: its record is written, with some thousands of updates at most; its ranges are
 * sorted.
 */
#define MAX_CHANGES_PER_BATCH 65536u
#define MAX_PAGES_PER_BATCH   (UINT64_C(1) << 22)
#define MAX_BYTES_PER_BATCH   (UINT64_C(2) << 20)
#define MAX_RANGES_PER_BATCH  32768u
/* Of a part without elements. */
#define MAX_PART_BYTES (sizeof(struct vm_record_part) + WIRE_TEXT_SIZE)

static struct elements elements_of(const struct vm_update *update)
{
	return (struct elements){ update->elements, update->n_elements, update->form };
}

uint32_t vm_update_n_elements(const struct vm_update *update)
{
	return elements_count(elements_of(update));
}

/* What the batch is charged with; n_pages may be any number, as received. */
static void charge_pages(struct vm *vm, uint64_t n_pages)
{
	vm->n_batch_pages += n_pages < MAX_PAGES_PER_BATCH ? n_pages : MAX_PAGES_PER_BATCH;
}

/* Whether nothing more fits, not even a part of one element. */
static bool is_batch_full(const struct vm *vm)
{
	return policy_undo_log_size(vm->undo) >= MAX_CHANGES_PER_BATCH ||
	       vm->n_batch_pages >= MAX_PAGES_PER_BATCH || vm->touched.n >= MAX_RANGES_PER_BATCH ||
	       vm->n_batch_bytes + MAX_PART_BYTES + sizeof(struct kvmattr_range) >
		       MAX_BYTES_PER_BATCH;
}

/* How many more elements of the update that is under way the batch has room for. */
static uint64_t room_for(const struct vm *vm, const struct vm_update *update)
{
	uint64_t room = vm->batch_limit - vm->n_batch_elements;
	uint64_t n_bytes = MAX_BYTES_PER_BATCH - vm->n_batch_bytes - MAX_PART_BYTES;
	size_t size = wire_element_size(update->form);

	if (size && n_bytes / size < room)
		room = n_bytes / size;
	return room - (update->n_applied - vm->part.first);
}

/*
 * An update that earlier batches began, in this life of the daemon or in a former one: what they
 * brought about may have been lost since, with a batch that could not be undone, and is brought
 * about again before the update is answered.
 */
static void touch_again(struct vm *vm, const struct vm_update *update)
{
	uint32_t n;

	for (uint32_t i = 0; i < update->n_in_force; i += n) {
		struct kvmattr_range range =
			elements_run(elements_of(update), i, update->n_in_force - i, &n);

		page_ranges_add(&vm->touched, range.gfn, range.n_pages);
	}
}

static void open_part(struct vm *vm, const struct vm_update *update)
{
	vm->part.is_open = true;
	vm->part.first = update->n_applied;
	vm->part.longest = UINT64_MAX;
	vm->part.n = 0;
	if (vm->unknown.n)
		touch_again(vm, update);
}

/* It has all that it is to have: elements of the update that waits first. */
static void close_part(struct vm *vm, struct vm_update *update)
{
	uint32_t n = update->n_applied - vm->part.first;

	vm->part.is_open = false;
	allocate_room(vm->parts, vm->n_parts, vm->parts_capacity);
	vm->parts[vm->n_parts++] =
		(struct vm_part){ .update = update, .first = vm->part.first, .n = n };
	vm->n_batch_elements += n;
	vm->n_batch_bytes += MAX_PART_BYTES + n * wire_element_size(update->form);
}

/*
 * The next elements of an update that are applied together: pages that follow each other in a list.
 * If that is forbidden, nothing was changed, and it is found out for which of them.
 */
static enum kvmattr_status begin_elements(struct vm *vm, struct vm_update *update, char *text,
					  size_t size)
{
	uint64_t room = room_for(vm, update);

	vm->part.range =
		elements_run(elements_of(update), update->n_applied,
			     room < vm->part.longest ? room : vm->part.longest, &vm->part.n);
	vm->part.progress = (struct policy_progress){ 0 };
	update->element.range = vm->part.range;
	if (update->form != WIRE_FORM_NONE && !vm->part.range.n_pages) {
		snprintf(text, size, "range %u has no pages", update->n_applied);
		return KVMATTR_INVALID_PARAMETER;
	}
	if (!vm_may_grow(vm, update, text, size))
		return KVMATTR_LIMIT_EXCEEDED;
	charge_pages(vm, vm->part.range.n_pages);
	return KVMATTR_OK;
}

/*
 * Applies the next elements of an update to the layers, or some of their pages.  The first that the
 * policy forbids ends the update.
 */
static void apply_elements(struct vm *vm, struct vm_update *update)
{
	enum kvmattr_status status = KVMATTR_OK;
	char text[WIRE_TEXT_SIZE];

	if (!vm->part.n)
		status = begin_elements(vm, update, text, sizeof(text));
	if (!status)
		status = policy_apply_some(vm->policy, &update->actor, &update->element,
					   &vm->part.progress, vm_pages_per_step(vm), vm->undo,
					   &vm->touched, text, sizeof(text));
	if (!status && !vm->part.progress.is_applied)
		return;
	if (!status) {
		update->n_applied += vm->part.n;
	} else if (vm->part.n > 1) {
		vm->part.longest = 1;
	} else {
		update->status = status;
		update->text = allocate_string(text);
	}
	vm->part.n = 0;
}

/* Is there nothing more of the update for this batch? */
static bool is_part_over(const struct vm *vm, const struct vm_update *update)
{
	return !vm->part.n && (update->status || is_batch_full(vm) || !room_for(vm, update) ||
			       update->n_applied == vm_update_n_elements(update));
}

void vm_batch_begin(struct vm *vm)
{
	page_ranges_clear(&vm->touched);
	vm->n_parts = 0;
	vm->n_batch_elements = 0;
	vm->n_batch_pages = 0;
	vm->n_batch_bytes = 0;
	vm->part.is_open = false;
	vm->room = 0;
	vm->batch_started_us = vm->ops->now_us(vm->context);
}

/* The part of the first that waits is over.  Returns whether the batch is, too. */
static bool end_part(struct vm *vm, struct vm_update *update)
{
	if (!update->status && update->n_applied == vm->part.first) {
		/* others had filled the batch before the first of its elements was in */
		assert(vm->n_parts);
		vm->part.is_open = false;
		return true;
	}
	close_part(vm, update);
	if (!update->status && update->n_applied < vm_update_n_elements(update))
		return true;
	TAILQ_REMOVE(&vm->waiting, update, queue);
	vm->n_waiting--;
	TAILQ_INSERT_TAIL(&vm->batch, update, queue);
	/* if KVM refuses a batch of one, it is this update's element */
	return vm->batch_limit == 1;
}

bool vm_batch_form(struct vm *vm)
{
	uint64_t n_pages = 0;
	struct vm_update *update;

	for (size_t n = vm_things_per_step(vm) / 16 + 1;
	     n && n_pages < vm_pages_per_step(vm) && (update = TAILQ_FIRST(&vm->waiting)); n--) {
		if (!vm->part.is_open) {
			if (vm->n_batch_elements >= vm->batch_limit || is_batch_full(vm))
				return true;
			open_part(vm, update);
		}
		if (!is_part_over(vm, update)) {
			apply_elements(vm, update);
			/* without a range, it is about all pages */
			n_pages += update->form == WIRE_FORM_NONE ? vm_pages_per_step(vm)
								  : vm->part.range.n_pages;
		}
		if (is_part_over(vm, update) && end_part(vm, update))
			return true;
	}
	return TAILQ_EMPTY(&vm->waiting);
}

/* ---- In force ------------------------------------------------------------------------------- */

bool vm_batch_record(struct vm *vm, bool is_in_force)
{
	const struct vm_batch batch = {
		.commit = vm->commit + 1,
		.parts = vm->parts,
		.n_parts = vm->n_parts,
	};
	const struct vm_in_force in_force = { .commit = vm->commit + 1,
					      .is_all_known = !vm->unknown.n };
	uint64_t number = 0;

	vm->journal_error = -vm->ops->record(vm->context, vm->is_begun ? NULL : &batch,
					     is_in_force ? &in_force : NULL, &number);
	if (vm->journal_error)
		return false;
	if (is_in_force)
		vm->recorded = number;
	return true;
}

/* What this update's elements from the first on would cost if each list were merged by itself. */
static void count_elements(struct vm *vm, const struct vm_update *update, uint32_t first)
{
	uint64_t previous_end = UINT64_MAX, n_runs = 0;
	uint32_t n;

	for (uint32_t i = first; i < update->n_applied; i += n) {
		struct kvmattr_range range =
			elements_run(elements_of(update), i, update->n_applied - i, &n);

		n_runs += range.gfn != previous_end;
		previous_end = range.gfn + range.n_pages;
		vm->statistics.pages += range.n_pages;
	}
	vm->statistics.elements += update->n_applied - first;
	vm->statistics.calls_unmerged +=
		n_runs * policy_count_affected_views(vm->policy, &update->element);
}

/* An update's elements in the layers are in force from now on. */
static void stand(struct vm *vm, struct vm_update *update)
{
	count_elements(vm, update, update->n_in_force);
	update->n_in_force = update->n_applied;
}

static void count_batch(struct vm *vm)
{
	uint64_t took_us = vm->ops->now_us(vm->context) - vm->batch_started_us;

	vm->statistics.batches++;
	vm->statistics.batch_us_total += took_us;
	if (took_us > vm->statistics.batch_us_max)
		vm->statistics.batch_us_max = took_us;
}

void vm_batch_commit(struct vm *vm)
{
	struct vm_update *update = TAILQ_FIRST(&vm->waiting);

	vm->commit++;
	count_batch(vm);
	if (update)
		stand(vm, update); /* what of it may have been in the batch */
	while ((update = TAILQ_FIRST(&vm->batch))) {
		TAILQ_REMOVE(&vm->batch, update, queue);
		stand(vm, update);
		vm_end_update(vm, update, vm->recorded);
	}
	/* After a refusal, back to long batches step by step. */
	vm->batch_limit *= 2;
	if (vm->batch_limit > vm->limits.max_elements_per_batch)
		vm->batch_limit = vm->limits.max_elements_per_batch;
	if (!vm_can_answer(vm))
		vm->ops->settled(vm->context);
}

/* ---- Taken back ----------------------------------------------------------------------------- */

void vm_batch_requeue(struct vm *vm)
{
	struct vm_update *update;

	update = TAILQ_FIRST(&vm->waiting);
	if (update)
		update->n_applied = update->n_in_force; /* may have been in the batch in part */
	while ((update = TAILQ_LAST(&vm->batch, vm_update_queue))) {
		TAILQ_REMOVE(&vm->batch, update, queue);
		TAILQ_INSERT_HEAD(&vm->waiting, update, queue);
		vm->n_waiting++;
		update->n_applied = update->n_in_force;
		update->status = KVMATTR_OK;
		free(update->text);
		update->text = NULL;
	}
}

bool vm_batch_take_back(struct vm *vm)
{
	if (!policy_undo_some(vm->policy, vm->undo, vm_things_per_step(vm)))
		return false;
	vm_batch_requeue(vm);
	return true;
}

void vm_batch_fail(struct vm *vm)
{
	const char *error = strerrordesc_np(vm->journal_error);
	bool is_full = vm->journal_error == ENOSPC || vm->journal_error == EDQUOT;
	char text[WIRE_TEXT_SIZE];

	snprintf(text, sizeof(text),
		 "the journal cannot be written: %s; nothing was changed; %s and try again",
		 error ? error : "unknown error", is_full ? "make room" : "see to its disk");
	vm_refuse_waiting(vm, vm->n_parts, KVMATTR_JOURNAL_FAILED, text);
}
