/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The boot trace through a VM's state machine alone: no socket, no process, no journal, no KVM.
 *
 * All lists wait from the start, so that batches are as long as they get; the executor says "done"
 * at once.  What is left is the daemon's own work: admission, layers, fold, plan, bookkeeping.
 * The peer, in the same run: the same pages set in one flat array per map that the daemon keeps
 * (layer and applied of VTL 0), which is the least anyone can do who remembers both.
 */
#include "client/simvm-trace.h"
#include "daemon/allocate.h"
#include "daemon/vm.h"
#include "protocol/kvm-abi.h"
#include "tests/bench/samples.h"
#include "tests/unit/unheard-vm-ops.h"

#include <stdio.h>
#include <string.h>

#define REPETITIONS 9
#define RAM_PAGES   (UINT64_C(64) << 18)

struct world {
	struct vm *vm;
	size_t n_calls; /* told and not answered */
	bool is_giving_way;
	uint64_t n_failed;
};

static void do_execute(void *context, const struct plan *plan, size_t first)
{
	((struct world *)context)->n_calls = plan->n_calls - first;
}

static void do_answer(void *context, struct vm_update *update, enum kvmattr_status status,
		      const char *text)
{
	(void)update;
	(void)text;
	((struct world *)context)->n_failed += status != KVMATTR_OK;
}

static void do_give_way(void *context)
{
	((struct world *)context)->is_giving_way = true;
}

static void do_set_timer(void *context, unsigned int timeout_ms)
{
	(void)context;
	(void)timeout_ms;
}

static uint64_t do_now_us(void *context)
{
	(void)context;
	return (uint64_t)samples_now_us();
}

static const struct vm_ops ops = {
	.record = unheard_record,
	.refused = unheard_refused,
	.execute = do_execute,
	.answer = do_answer,
	.settled = unheard_settled,
	.give_way = do_give_way,
	.set_timer = do_set_timer,
	.report = unheard_report,
	.now_us = do_now_us,
};

static void finish(struct world *world)
{
	while (world->n_calls || world->is_giving_way) {
		size_t n = world->n_calls;

		world->n_calls = 0;
		if (n)
			vm_calls_done(world->vm, n, 0, 0);
		if (world->is_giving_way) {
			world->is_giving_way = false;
			vm_turn(world->vm);
		}
	}
}

static void submit(struct world *world, struct policy_element element, const void *elements,
		   uint32_t n, unsigned int form)
{
	static struct vm_update update;

	update = (struct vm_update){
		.actor.is_owner = true,
		.element = element,
		.form = (uint8_t)form,
		.elements = elements,
		.n_elements = n,
	};
	vm_submit(world->vm, &update);
	finish(world);
}

static void start_vm(struct world *world)
{
	static const struct wire_probe_result probe = { .v10_errno = 25,
							.cap = KVM_ABI_PRIVATE | KVM_ABI_DENY_ALL };
	static const struct vm_limits limits = { .max_pages_per_call = 65536,
						 .max_elements_per_batch = 32768,
						 .executor_deadline_ms = 10000 };
	static const struct kvmattr_range ram = { 0, RAM_PAGES };
	struct policy_element add_ram = { .kind = KVMATTR_ADD_RAM };
	struct policy_element enable = { .kind = KVMATTR_ENABLE_LAYER,
					 .layer = 1,
					 .value = KVMATTR_RWX };
	struct view views[2] = { { .vtl = 0 }, { .vtl = 1 } };
	char text[WIRE_TEXT_SIZE];

	for (int i = 0; i < 2; i++)
		if (dialect_decide(&probe, KVMATTR_ABI_PROBE, &views[i].dialect, text,
				   sizeof(text)))
			abort();
	world->vm = vm_new("bench", policy_new(views, 2), &limits, &ops, world);
	vm_start(world->vm);
	submit(world, add_ram, &ram, 1, WIRE_FORM_RANGES);
	submit(world, enable, NULL, 0, WIRE_FORM_NONE);
}

static double run_vm(const struct simvm_trace *trace, struct vm_update *updates,
		     struct vm_statistics *ret_statistics)
{
	struct world world = { 0 };
	double start, took;

	start_vm(&world);
	for (size_t i = 0; i < trace->n_lists; i++)
		updates[i] = (struct vm_update){
			.actor.vtl = 1,
			.element = { .kind = trace->kind,
				     .layer = 1,
				     .value = trace->lists[i].value,
				     .restricted = KVMATTR_ALL_LOWER },
			.form = WIRE_FORM_PAGES,
			.elements = (const uint8_t *)(trace->gfns + trace->lists[i].first),
			.n_elements = trace->lists[i].n,
		};
	start = samples_now_us();
	for (size_t i = 0; i < trace->n_lists; i++)
		vm_submit(world.vm, &updates[i]);
	finish(&world);
	took = (samples_now_us() - start) / 1e6;
	*ret_statistics = *vm_statistics(world.vm);
	vm_free(world.vm, "");
	if (world.n_failed)
		abort();
	return took;
}

static double run_flat(const struct simvm_trace *trace, uint8_t *layer, uint8_t *applied)
{
	double start;

	memset(layer, 1, RAM_PAGES);
	memset(applied, 1, RAM_PAGES);
	start = samples_now_us();
	for (size_t i = 0; i < trace->n_lists; i++)
		for (uint32_t j = 0; j < trace->lists[i].n; j++) {
			uint64_t gfn = trace->gfns[trace->lists[i].first + j];

			layer[gfn] = trace->lists[i].value;
			applied[gfn] = trace->lists[i].value;
		}
	return (samples_now_us() - start) / 1e6;
}

int main(void)
{
	const struct simvm_trace_options options = {
		.seed = 1,
		.ram_pages = RAM_PAGES,
		.n_protections = 300000,
		.n_agents = 4,
		.abi = KVMATTR_ABI_DENY,
	};
	double vm[REPETITIONS], flat[REPETITIONS], vm_median, flat_median;
	uint8_t *layer = allocate(RAM_PAGES), *applied = allocate(RAM_PAGES);
	struct vm_statistics statistics;
	struct vm_update *updates;
	struct simvm_trace trace;
	char text[256];

	if (simvm_trace_generate(&options, &trace, text, sizeof(text)) < 0) {
		fprintf(stderr, "no trace: %s\n", text);
		return 1;
	}
	updates = allocate_zeroed(trace.n_lists, sizeof(*updates));
	for (int i = 0; i < REPETITIONS; i++) {
		vm[i] = run_vm(&trace, updates, &statistics);
		flat[i] = run_flat(&trace, layer, applied);
	}
	vm_median = samples_median(vm, REPETITIONS);
	flat_median = samples_median(flat, REPETITIONS);
	printf("boot trace, 300,000 protections, 4 agents, 64 GiB, state machine alone, median of %d\n",
	       REPETITIONS);
	printf("  %8.2f ms  %6.1f ns a page  %6.2f million pages/s\n", vm_median * 1e3,
	       vm_median * 1e9 / 300000, 0.3 / vm_median);
	printf("  %8.2f ms  two flat arrays (peer); the state machine takes %.1f times as long\n",
	       flat_median * 1e3, vm_median / flat_median);
	printf("  %llu batches, %llu calls, %llu when merging only the pages of each list: ratio %.2f\n",
	       (unsigned long long)statistics.batches, (unsigned long long)statistics.calls,
	       (unsigned long long)statistics.calls_unmerged,
	       (double)statistics.calls / (double)statistics.calls_unmerged);
	simvm_trace_destroy(&trace);
	free(updates);
	free(layer);
	free(applied);
	return 0;
}
