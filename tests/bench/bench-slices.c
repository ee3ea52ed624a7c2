/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long one VM's work keeps the event loop at a stretch, where a peer makes it as long as it
 * can.
 *
 * A 64 GiB guest with a view for each of several VTLs, whose maps are a checkerboard, and updates
 * that are about all of it; no socket, no process, no KVM.  Every entry into the state machine is
 * measured alone, by the processor time that it took, so that other processes do not count.
 * The peer, in the same run: the same work in one go, as the sum of these times.
 */
#include "daemon/allocate.h"
#include "daemon/vm.h"
#include "protocol/kvm-abi.h"
#include "protocol/wire.h"
#include "tests/unit/unheard-vm-ops.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define RAM_PAGES (UINT64_C(64) << 18)
#define N_VIEWS   6u
#define LAYER     (N_VIEWS - 1)
/* As an executor is told (daemon/serve/executor-link.c). */
#define CALLS_AT_ONCE 2047u
#define PAGES_AT_ONCE (UINT64_C(1) << 20)

static struct {
	struct vm *vm;
	const struct plan *plan;
	size_t first, n_calls; /* told and not answered */
	size_t refuse_after;   /* so many calls, KVM refuses one; 0: it does not */
	bool is_silent;
	bool is_giving_way;
	size_t n_unanswered;
} world;

static struct {
	double total_ms;
	double longest_ms;
	unsigned int n;
	const char *where;
} measured;

static double cpu_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void count(const char *where, double took_ms)
{
	measured.total_ms += took_ms;
	measured.n++;
	if (took_ms <= measured.longest_ms)
		return;
	measured.longest_ms = took_ms;
	measured.where = where;
}

#define MEASURE(where, call)                    \
	do {                                    \
		double start = cpu_ms();        \
		call;                           \
		count(where, cpu_ms() - start); \
	} while (0)

static void print(const char *what)
{
	printf("  %8.2f ms longest of %6u (%8.1f ms), in %-13s %s\n", measured.longest_ms,
	       measured.n, measured.total_ms, measured.where, what);
	memset(&measured, 0, sizeof(measured));
}

/* ---- The world ------------------------------------------------------------------------------ */

static void do_execute(void *context, const struct plan *plan, size_t first)
{
	uint64_t n_pages = 0;

	(void)context;
	world.plan = plan;
	world.first = first;
	world.n_calls = 0;
	for (size_t i = first; i < plan->n_calls && world.n_calls < CALLS_AT_ONCE; i++) {
		n_pages += plan->calls[i].n_pages;
		if (world.n_calls && n_pages > PAGES_AT_ONCE)
			break;
		world.n_calls++;
	}
}

static void do_answer(void *context, struct vm_update *update, enum kvmattr_status status,
		      const char *text)
{
	(void)context;
	(void)update;
	(void)status;
	(void)text;
	world.n_unanswered--;
}

static void do_give_way(void *context)
{
	(void)context;
	world.is_giving_way = true;
}

static void do_set_timer(void *context, unsigned int timeout_ms)
{
	(void)context;
	(void)timeout_ms;
}

static void do_verified(void *context, const struct vm_verification *verification)
{
	(void)context;
	(void)verification;
	world.n_unanswered--;
}

static uint64_t do_now_us(void *context)
{
	struct timespec now;

	(void)context;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static const struct vm_ops ops = {
	.record = unheard_record,
	.refused = unheard_refused,
	.execute = do_execute,
	.answer = do_answer,
	.settled = unheard_settled,
	.verified = do_verified,
	.give_way = do_give_way,
	.set_timer = do_set_timer,
	.report = unheard_report,
	.now_us = do_now_us,
};

static void answer_calls(void)
{
	size_t n = world.n_calls;

	world.n_calls = 0;
	if (world.refuse_after && n >= world.refuse_after) {
		n = world.refuse_after - 1;
		world.refuse_after = 0;
		MEASURE("vm_calls_done", vm_calls_done(world.vm, n, ENOMEM, 0));
		return;
	}
	world.refuse_after -= world.refuse_after ? n : 0;
	MEASURE("vm_calls_done", vm_calls_done(world.vm, n, 0, 0));
}

/* Until all is answered and nothing is under way. */
static void settle(void)
{
	while (world.n_unanswered || world.is_giving_way || world.n_calls)
		if (world.is_giving_way) {
			world.is_giving_way = false;
			MEASURE("vm_turn", vm_turn(world.vm));
		} else if (world.n_calls && !world.is_silent) {
			answer_calls();
		} else {
			break;
		}
}

/* ---- The guest ------------------------------------------------------------------------------ */

static void make_checkerboard(struct attribute_map *map, uint64_t first, uint8_t odd)
{
	uint8_t bytes[ATTRIBUTE_MAP_LEAF_PAGES];
	uint8_t even = attribute_map_get(map, first);

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = i & 1 ? odd : even;
	for (uint64_t gfn = first; gfn < first + RAM_PAGES; gfn += sizeof(bytes))
		attribute_map_set_bytes(map, gfn, sizeof(bytes), bytes);
}

static struct policy *make_policy(void)
{
	static const struct wire_probe_result probe = { .v10_errno = 25,
							.cap = KVM_ABI_PRIVATE | KVM_ABI_DENY_ALL };
	struct view views[N_VIEWS] = { { .vtl = 0 } };
	char text[WIRE_TEXT_SIZE];

	for (unsigned int i = 0; i < N_VIEWS; i++) {
		views[i].vtl = (uint8_t)i;
		if (dialect_decide(&probe, KVMATTR_ABI_PROBE, &views[i].dialect, text,
				   sizeof(text)))
			abort();
	}
	return policy_new(views, N_VIEWS);
}

static void submit(enum kvmattr_update_kind kind, uint8_t layer, uint8_t value,
		   const struct kvmattr_range *ranges, uint32_t n)
{
	struct vm_update *update = allocate_one(struct vm_update); /* until the process ends */

	*update = (struct vm_update){
		.actor.is_owner = true,
		.element = { .kind = kind, .layer = layer, .value = value },
		.form = n ? WIRE_FORM_RANGES : WIRE_FORM_NONE,
		.elements = (const uint8_t *)ranges,
		.n_elements = n,
	};
	if (kind == KVMATTR_PROTECT)
		update->element.restricted = KVMATTR_ALL_LOWER;
	world.n_unanswered++;
	MEASURE("vm_submit", vm_submit(world.vm, update));
}

static struct kvmattr_range all = { 0, RAM_PAGES };

/* Every other page of it is something else, in each map of the layer; KVM holds it. */
static void begin_guest(void)
{
	static const struct vm_limits limits = { .max_pages_per_call = 65536,
						 .max_elements_per_batch = 131072,
						 .executor_deadline_ms = 10000 };
	struct policy *policy = make_policy();

	memset(&world, 0, sizeof(world));
	world.vm = vm_new("bench", policy, &limits, &ops, &world);
	vm_start(world.vm);
	submit(KVMATTR_ADD_RAM, 0, 0, &all, 1);
	submit(KVMATTR_ENABLE_LAYER, LAYER, KVMATTR_RWX, NULL, 0);
	submit(KVMATTR_PROTECT, LAYER, KVMATTR_R, &all, 1);
	settle();
	for (unsigned int t = 0; t < LAYER; t++)
		make_checkerboard(policy->layers[LAYER].restricted[t], 0,
				  LAYER_HAS_ENTRY | KVMATTR_RW);
	policy_assume_applied(policy);
	memset(&measured, 0, sizeof(measured));
}

static void end_guest(void)
{
	memset(&measured, 0, sizeof(measured));
	MEASURE("vm_end", vm_end(world.vm, "the bench ends"));
	for (bool is_gone = false; !is_gone;)
		MEASURE("vm_free_some", is_gone = vm_free_some(world.vm));
	print("the VM goes");
}

/* ---- What is measured ----------------------------------------------------------------------- */

static void measure_changes(void)
{
	begin_guest();
	for (int i = 0; i < 50; i++)
		submit(KVMATTR_LOCK, 0, 0, &all, 1);
	settle();
	print("50 locks of all pages");
	for (int i = 0; i < 50; i++)
		submit(KVMATTR_UNLOCK, 0, 0, &all, 1);
	settle();
	print("and as many unlocks");
	submit(KVMATTR_PROTECT, LAYER, KVMATTR_RX, &all, 1);
	settle();
	print("all pages protected alike: of each, every other changes");
	end_guest();
}

static void measure_visibility(void)
{
	begin_guest();
	submit(KVMATTR_RESET_LAYER, LAYER, 0, NULL, 0);
	settle();
	print("a layer reset");
	submit(KVMATTR_SET_VISIBILITY, 0, 1, &all, 1);
	settle();
	print("all pages become private");
	make_checkerboard((struct attribute_map *)&vm_policy(world.vm)->pages, 0, PAGE_IS_RAM);
	submit(KVMATTR_SET_VISIBILITY, 0, 0, &all, 1);
	settle();
	print("every other page is private, all become shared");
	submit(KVMATTR_RESET_VM, 0, 0, NULL, 0);
	settle();
	print("the VM reset");
	end_guest();
}

static void measure_looking(const char *what)
{
	struct page_ranges doubtful = { 0 };
	struct vm_run run;
	uint64_t n;

	MEASURE("looking in", n = vm_unknown_pages(world.vm));
	print(n ? "unknown pages counted" : "no unknown pages counted");
	if (vm_state(world.vm) != VM_EXECUTING)
		MEASURE("looking in", vm_add_doubtful_pages(world.vm, &doubtful));
	print("doubtful pages for a checkpoint");
	MEASURE("looking in", (void)vm_next_run(world.vm, 0, 0, RAM_PAGES, &run));
	print(what);
	page_ranges_destroy(&doubtful);
}

static void measure_trouble(void)
{
	begin_guest();
	world.refuse_after = 500;
	submit(KVMATTR_PROTECT, LAYER, KVMATTR_RX, &all, 1);
	settle();
	print("KVM refuses one of its calls: all is taken back");
	/* All pages are touched, and each is a call of its own. */
	policy_forget_applied((struct policy *)vm_policy(world.vm),
			      &(struct page_ranges){ &all, 1, 1 });
	world.is_silent = true;
	submit(KVMATTR_ENABLE_LAYER, 1, KVMATTR_RW, NULL, 0);
	for (int i = 0; i < 100000; i++)
		submit(KVMATTR_PROTECT, LAYER, KVMATTR_R, &all, 1);
	settle();
	world.is_giving_way = false;
	MEASURE("vm_timer", vm_timer(world.vm));
	settle();
	print("the executor is silent, 100000 updates wait");
	measure_looking("a run of pages that are unknown");
	world.is_silent = false;
	answer_calls();
	settle();
	print("it answers: all is repaired");
	end_guest();
}

static void measure_verify(void)
{
	begin_guest();
	world.n_unanswered++;
	MEASURE("vm_verify", if (vm_verify(world.vm)) abort());
	settle();
	print("all is verified");
	end_guest();
}

static void measure_small_updates(void)
{
	static struct kvmattr_range ranges[131072];

	begin_guest();
	for (uint32_t i = 0; i < 131072; i++)
		ranges[i] = (struct kvmattr_range){ i * UINT64_C(7919) % RAM_PAGES, 1 };
	submit(KVMATTR_PROTECT, LAYER, KVMATTR_RX, &all, 1);
	for (uint32_t i = 0; i < 131072; i++)
		submit(KVMATTR_PROTECT, LAYER, KVMATTR_NONE, &ranges[i], 1);
	settle();
	print("131072 updates of a page each wait for a long one");
	submit(KVMATTR_PROTECT, LAYER, KVMATTR_RX, &all, 1);
	for (uint32_t i = 0; i < 131072; i += 4096)
		submit(KVMATTR_PROTECT, LAYER, KVMATTR_NONE, &ranges[i], 4096);
	settle();
	print("the same pages in 32 updates");
	end_guest();
}

int main(void)
{
	printf("one VM's work, 64 GiB, %u views, every other page different: the longest stretch\n",
	       N_VIEWS);
	measure_changes();
	measure_visibility();
	measure_trouble();
	measure_verify();
	measure_small_updates();
	return 0;
}
