/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Besiegers that are VMMs: some that come and go, some with the dearest requests there are, some
 * whose executors lie.
 */
#include "protocol/wire.h"
#include "tests/bench/besieger.h"
#include "tests/bench/hostile-vm.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RETRY_MS 10 /* where the daemon does not take a VM */

/* ---- Coming and going ---------------------------------------------------------------------- */

/* Executors that never answer the probe, as many as one of them has at a time. */
#define N_SILENT  16u
#define SILENT_MS 2000u

static void register_and_go(struct besieger *besieger)
{
	struct hostile_vm vm;

	if (!hostile_vm_start(&vm, besieger, "restless"))
		besieger_rest(RETRY_MS);
	hostile_vm_end(&vm);
}

static void go_before_the_end(struct besieger *besieger)
{
	struct hostile_vm vm;

	if (hostile_vm_begin(&vm, besieger, "hasty"))
		for (uint64_t n = besieger_throw(besieger, 4); n && hostile_vm_serve(&vm, 1); n--)
			;
	hostile_vm_end(&vm);
}

static void never_answer(struct besieger *besieger)
{
	struct hostile_vm vms[N_SILENT];

	for (unsigned int i = 0; i < N_SILENT; i++)
		if (!hostile_vm_begin(&vms[i], besieger, "silent"))
			besieger_rest(RETRY_MS);
	besieger_rest(SILENT_MS);
	for (unsigned int i = 0; i < N_SILENT; i++)
		hostile_vm_end(&vms[i]);
}

void besiege_by_coming_and_going(struct besieger *besieger)
{
	static void (*const ways[])(struct besieger *) = { register_and_go, go_before_the_end,
							   register_and_go, never_answer };

	for (;;)
		ways[besieger->number % 4](besieger);
}

/* ---- Large maps ---------------------------------------------------------------------------- */

#define N_PAGES  (sizeof(hostile_elements.gfns) / sizeof(hostile_elements.gfns[0]))
#define N_RANGES (sizeof(hostile_elements.ranges) / sizeof(hostile_elements.ranges[0]))

static const struct wire_update protect = { .kind = KVMATTR_PROTECT,
					    .layer = 1,
					    .restricted = KVMATTR_ALL_LOWER };

/* The update, to every other page from the first on. */
static bool checker(struct hostile_vm *vm, struct wire_update update, uint64_t first)
{
	update.form = WIRE_FORM_PAGES;
	for (uint64_t gfn = first; gfn < HOSTILE_VM_PAGES;) {
		for (update.n_elements = 0; update.n_elements < N_PAGES && gfn < HOSTILE_VM_PAGES;
		     gfn += 2)
			hostile_elements.gfns[update.n_elements++] = gfn;
		if (!hostile_vm_update(vm, update))
			return false;
	}
	return true;
}

/* The update, with thousands of ranges that are all RAM each. */
static bool sweep(struct hostile_vm *vm, struct wire_update update)
{
	update.form = WIRE_FORM_RANGES;
	update.n_elements = N_RANGES;
	for (uint32_t i = 0; i < N_RANGES; i++)
		hostile_elements.ranges[i] = (struct kvmattr_range){ 0, HOSTILE_VM_PAGES };
	return hostile_vm_update(vm, update);
}

static bool checker_protections(struct hostile_vm *vm)
{
	struct wire_update update = protect;

	update.value = KVMATTR_R;
	return checker(vm, update, 0);
}

static bool checker_visibility(struct hostile_vm *vm)
{
	return checker(vm, (struct wire_update){ .kind = KVMATTR_SET_VISIBILITY, .value = 1 }, 1);
}

/* A lone page in every 2 MiB, and again with another protection. */
static bool scatter(struct hostile_vm *vm)
{
	struct wire_update update = protect;

	update.form = WIRE_FORM_PAGES;
	for (unsigned int round = 0; round < 64; round++) {
		update.value = round % 2 ? KVMATTR_R : KVMATTR_RX;
		for (update.n_elements = 0; update.n_elements < N_PAGES; update.n_elements++)
			hostile_elements.gfns[update.n_elements] =
				((uint64_t)update.n_elements * 512 + round) % HOSTILE_VM_PAGES;
		if (!hostile_vm_update(vm, update))
			return false;
	}
	return true;
}

static bool lock_all(struct hostile_vm *vm)
{
	return sweep(vm, (struct wire_update){ .kind = KVMATTR_LOCK });
}

static bool unlock_all(struct hostile_vm *vm)
{
	return sweep(vm, (struct wire_update){ .kind = KVMATTR_UNLOCK });
}

static bool change_all_visibility(struct hostile_vm *vm)
{
	return sweep(vm, (struct wire_update){ .kind = KVMATTR_SET_VISIBILITY, .value = 1 }) &&
	       sweep(vm, (struct wire_update){ .kind = KVMATTR_SET_VISIBILITY });
}

static bool protect_all(struct hostile_vm *vm)
{
	struct wire_update update = protect;

	update.value = KVMATTR_RX;
	return sweep(vm, update);
}

static bool reset_layer(struct hostile_vm *vm)
{
	return hostile_vm_update(vm,
				 (struct wire_update){ .kind = KVMATTR_RESET_LAYER, .layer = 1 }) &&
	       hostile_vm_update(vm, (struct wire_update){ .kind = KVMATTR_ENABLE_LAYER,
							   .layer = 1,
							   .value = KVMATTR_RWX });
}

static bool ask(struct hostile_vm *vm, const void *request, size_t size)
{
	besieger_count_attack(vm->besieger);
	while (!hostile_send(vm->owner, request, size))
		if (!hostile_vm_serve(vm, RETRY_MS))
			return false;
	return true;
}

static bool flood_with_questions(struct hostile_vm *vm)
{
	struct wire_explain explain = { .header =
						wire_header_make(WIRE_EXPLAIN, sizeof(explain), 1),
					.access = KVMATTR_WRITE };
	const struct wire_query query = { .header = wire_header_make(WIRE_QUERY, sizeof(query), 1),
					  .n_pages = HOSTILE_VM_PAGES };

	for (unsigned int i = 0; i < 20000; i++) {
		explain.gfn = besieger_throw(vm->besieger, HOSTILE_VM_PAGES);
		if (!(i % 16 ? ask(vm, &explain, sizeof(explain)) : ask(vm, &query, sizeof(query))))
			return false;
	}
	return true;
}

/* Each begins somewhere else, so that all of it goes on at a time. */
void besiege_with_large_maps(struct besieger *besieger)
{
	static bool (*const ways[])(struct hostile_vm *) = {
		checker_protections,
		lock_all,
		unlock_all,
		flood_with_questions,
		checker_visibility,
		change_all_visibility,
		scatter,
		protect_all,
		checker_protections,
		reset_layer,
	};
	const size_t n_ways = sizeof(ways) / sizeof(ways[0]);

	for (;;) {
		struct hostile_vm vm;

		if (hostile_vm_start(&vm, besieger, "greedy"))
			for (size_t i = besieger->number % n_ways;
			     ways[i % n_ways](&vm) && hostile_vm_finish(&vm); i++)
				;
		besieger_rest(RETRY_MS);
		hostile_vm_end(&vm);
	}
}

/* ---- Lies ---------------------------------------------------------------------------------- */

#define LATE_MS  100u
#define TOO_MUCH 1000u

static void say_called(struct hostile_vm *vm, struct wire_called reply, uint64_t id)
{
	reply.header = wire_header_make(WIRE_CALLED, sizeof(reply), id);
	besieger_count_attack(vm->besieger);
	if (!hostile_send(vm->executor, &reply, sizeof(reply)))
		besieger_count_refusals(vm->besieger, 1);
}

static void answer_late(struct hostile_vm *vm, const struct wire_calls *calls)
{
	besieger_rest(LATE_MS);
	say_called(vm, (struct wire_called){ .n_done = calls->n_calls }, calls->header.id);
}

static void answer_with_errors(struct hostile_vm *vm, const struct wire_calls *calls)
{
	static const int errors[] = { EAGAIN, EINTR, ENOMEM, EINVAL, EIO, EFAULT };
	struct wire_called reply = {
		.n_done = (uint32_t)besieger_throw(vm->besieger, calls->n_calls),
		.error = errors[besieger_throw(vm->besieger, 6)],
	};

	say_called(vm, reply, calls->header.id);
}

static void answer_what_cannot_be(struct hostile_vm *vm, const struct wire_calls *calls)
{
	say_called(vm, (struct wire_called){ .n_done = calls->n_calls + 1, .partial = UINT64_MAX },
		   calls->header.id);
}

static void answer_too_much(struct hostile_vm *vm, const struct wire_calls *calls)
{
	for (unsigned int i = 0; i < TOO_MUCH; i++)
		say_called(vm, (struct wire_called){ .n_done = calls->n_calls },
			   calls->header.id + i);
}

void besiege_with_false_answers(struct besieger *besieger)
{
	static void (*const lies[])(struct hostile_vm *, const struct wire_calls *) = {
		answer_late, answer_with_errors, answer_what_cannot_be, answer_too_much
	};

	for (;;) {
		struct hostile_vm vm;

		if (hostile_vm_start(&vm, besieger, "liar")) {
			vm.answer_calls = lies[besieger->number % 4];
			while (scatter(&vm) && hostile_vm_finish(&vm))
				;
		}
		besieger_rest(RETRY_MS);
		hostile_vm_end(&vm);
	}
}
