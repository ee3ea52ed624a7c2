/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How updates end: in their order, and none before what its answer says is durable.
 */
#include "vm-private.h"

#include "allocate.h"

#include <assert.h>

static void answer(struct vm *vm, struct vm_update *update, enum kvmattr_status status,
		   const char *text, uint64_t now_us)
{
	char *own_text = update->text;

	update->text = NULL;
	latency_add(&vm->statistics.latency,
		    now_us > update->received_us ? now_us - update->received_us : 0);
	vm->statistics.updates++;
	vm->statistics.updates_failed += status != KVMATTR_OK;
	vm->ops->answer(vm->context, update, status, text);
	free(own_text);
}

bool vm_can_answer(const struct vm *vm)
{
	const struct vm_update *update = TAILQ_FIRST(&vm->ended);

	return update && update->answer_behind <= vm->durable;
}

void vm_answer_some(struct vm *vm)
{
	uint64_t now_us = vm->ops->now_us(vm->context);

	for (size_t i = vm_things_per_step(vm); i && vm_can_answer(vm); i--) {
		struct vm_update *update = TAILQ_FIRST(&vm->ended);

		TAILQ_REMOVE(&vm->ended, update, queue);
		answer(vm, update, update->status, update->text ? update->text : "", now_us);
	}
	if (!vm_can_answer(vm))
		vm->ops->settled(vm->context);
}

void vm_end_update(struct vm *vm, struct vm_update *update, uint64_t answer_behind)
{
	update->commit = vm->commit;
	update->answer_behind = answer_behind;
	TAILQ_INSERT_TAIL(&vm->ended, update, queue);
}

void vm_refuse(struct vm *vm, struct vm_update *update, enum kvmattr_status status,
	       const char *text)
{
	vm->ops->refused(vm->context, update, status, text);
	update->status = status;
	update->text = allocate_string(text);
	vm_end_update(vm, update, update->n_in_force ? vm->recorded : 0);
}

void vm_refuse_waiting(struct vm *vm, size_t n, enum kvmattr_status status, const char *text)
{
	for (; n; n--) {
		struct vm_update *update = TAILQ_FIRST(&vm->waiting);

		TAILQ_REMOVE(&vm->waiting, update, queue);
		vm->n_waiting--;
		vm_refuse(vm, update, status, text);
	}
}

void vm_answer_the_rest(struct vm *vm, const char *text)
{
	uint64_t now_us = vm->ops->now_us(vm->context);
	struct vm_update *update;

	while ((update = TAILQ_FIRST(&vm->ended))) {
		TAILQ_REMOVE(&vm->ended, update, queue);
		if (update->answer_behind > vm->durable)
			answer(vm, update, KVMATTR_NO_VM, text, now_us);
		else
			answer(vm, update, update->status, update->text ? update->text : "",
			       now_us);
	}
	while ((update = TAILQ_FIRST(&vm->waiting))) {
		TAILQ_REMOVE(&vm->waiting, update, queue);
		vm->n_waiting--;
		answer(vm, update, KVMATTR_NO_VM, text, now_us);
	}
	vm->ops->settled(vm->context);
}

void vm_forget_maxima(struct vm *vm)
{
	vm->statistics.batch_us_max = 0;
	vm->statistics.latency.max_us = 0;
}

void vm_durable(struct vm *vm, uint64_t number)
{
	assert(number >= vm->durable);
	vm->durable = number;
	vm_run(vm);
}
