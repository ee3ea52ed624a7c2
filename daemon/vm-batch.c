/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A batch: which of the waiting updates' elements are taken into the layers together, and how they
 * come out again if KVM refuses them.  Nothing here is told to KVM or to anyone else.
 */
#include "vm-private.h"

#include "allocate.h"
#include "journal/vm-records.h"
#include "policy/elements.h"

#include <inttypes.h>
#include <stdio.h>

/* A batch ends here, too: an element of many pages may make as many changes, each to be undone. */
#define MAX_CHANGES_PER_BATCH 65536u
/* And here: checking the pages of an element takes its time even where none of them changes. */
#define MAX_PAGES_PER_BATCH (UINT64_C(1) << 22)
/* And here: a record of the journal holds twice as much. */
#define MAX_BYTES_PER_BATCH (UINT64_C(32) << 20)
/* Of a part without elements. */
#define MAX_PART_BYTES (sizeof(struct vm_record_part) + WIRE_TEXT_SIZE)
/* Elements between two looks at how much memory the maps hold. */
#define ELEMENTS_PER_MEASURE 64u

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

/*
 * May the maps grow?  A page here and a page there cost a thousand times what it takes to ask for
 * them, so peers could have it all.  What has no elements, as a reset, makes none of them larger.
 */
static bool may_grow(struct vm *vm, const struct vm_update *update)
{
	if (update->form == WIRE_FORM_NONE || !vm->limits.max_map_bytes)
		return true;
	if (vm->are_maps_full || !(vm->n_applied++ % ELEMENTS_PER_MEASURE))
		vm->are_maps_full = policy_memory(vm->policy) >= vm->limits.max_map_bytes;
	return !vm->are_maps_full;
}

static enum kvmattr_status apply_range(struct vm *vm, struct vm_update *update,
				       struct kvmattr_range range, char *text, size_t size)
{
	update->element.range = range;
	if (update->form != WIRE_FORM_NONE && !range.n_pages) {
		snprintf(text, size, "range %u has no pages", update->n_applied);
		return KVMATTR_INVALID_PARAMETER;
	}
	if (!may_grow(vm, update)) {
		snprintf(text, size,
			 "the VM's maps hold %" PRIu64 " MiB, as much as they may (max-map-mib); "
			 "reset a layer",
			 vm->limits.max_map_bytes >> 20);
		return KVMATTR_LIMIT_EXCEEDED;
	}
	charge_pages(vm, range.n_pages);
	return policy_apply(vm->policy, &update->actor, &update->element, vm->undo, &vm->touched,
			    text, size);
}

/* Whether nothing more fits, not even a part of one element. */
static bool is_batch_full(const struct vm *vm)
{
	return policy_undo_log_size(vm->undo) >= MAX_CHANGES_PER_BATCH ||
	       vm->n_batch_pages >= MAX_PAGES_PER_BATCH ||
	       vm->n_batch_bytes + MAX_PART_BYTES + sizeof(struct kvmattr_range) >
		       MAX_BYTES_PER_BATCH;
}

/* How many elements of the update the batch has room for. */
static uint64_t room_for(const struct vm *vm, const struct vm_update *update)
{
	uint64_t room = vm->batch_limit - vm->n_batch_elements;
	uint64_t n_bytes = MAX_BYTES_PER_BATCH - vm->n_batch_bytes - MAX_PART_BYTES;
	size_t size = wire_element_size(update->form);

	return size && n_bytes / size < room ? n_bytes / size : room;
}

/*
 * Applies elements of an update to the layers, as many as there is room for; returns how many.  The
 * first that the policy forbids ends the update.  Pages that follow each other in a list are applied
 * together; if that is forbidden, nothing was changed, and it is found out for which of them.
 */
static uint32_t apply_elements(struct vm *vm, struct vm_update *update)
{
	struct elements elements = elements_of(update);
	uint32_t first = update->n_applied, n_together;
	uint64_t room = room_for(vm, update), longest = UINT64_MAX;
	char text[WIRE_TEXT_SIZE];

	while (room && update->n_applied < elements_count(elements) && !is_batch_full(vm)) {
		struct kvmattr_range range = elements_run(
			elements, update->n_applied, room < longest ? room : longest, &n_together);

		update->status = apply_range(vm, update, range, text, sizeof(text));
		if (update->status && n_together > 1) {
			longest = 1;
			continue;
		}
		if (update->status) {
			update->text = allocate_string(text);
			break;
		}
		update->n_applied += n_together;
		room -= n_together;
	}
	return update->n_applied - first;
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

static void add_part(struct vm *vm, struct vm_update *update)
{
	uint32_t first = update->n_applied, n;

	if (vm->unknown.n)
		touch_again(vm, update);
	n = apply_elements(vm, update);
	allocate_room(vm->parts, vm->n_parts, vm->parts_capacity);
	vm->parts[vm->n_parts++] = (struct vm_part){ .update = update, .first = first, .n = n };
	vm->n_batch_elements += n;
	vm->n_batch_bytes += MAX_PART_BYTES + n * wire_element_size(update->form);
}

void vm_batch_form(struct vm *vm)
{
	struct vm_update *update;

	page_ranges_clear(&vm->touched);
	vm->n_parts = 0;
	vm->n_batch_elements = 0;
	vm->n_batch_pages = 0;
	vm->n_batch_bytes = 0;
	while ((update = TAILQ_FIRST(&vm->waiting)) && vm->n_batch_elements < vm->batch_limit &&
	       !is_batch_full(vm)) {
		add_part(vm, update);
		if (!update->status && update->n_applied < vm_update_n_elements(update))
			break;
		TAILQ_REMOVE(&vm->waiting, update, queue);
		vm->n_waiting--;
		TAILQ_INSERT_TAIL(&vm->batch, update, queue);
		if (vm->batch_limit == 1)
			break; /* if KVM refuses it, it is this update's element */
	}
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

void vm_batch_stand(struct vm *vm, struct vm_update *update)
{
	count_elements(vm, update, update->n_in_force);
	update->n_in_force = update->n_applied;
}

/* The updates of the batch wait again, in their order, without those elements that it held. */
static void requeue_batch(struct vm *vm)
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

void vm_batch_take_back(struct vm *vm)
{
	policy_undo(vm->policy, vm->undo);
	requeue_batch(vm);
}
