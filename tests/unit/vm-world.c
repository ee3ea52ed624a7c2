/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/vm-world.h"

#include "tests/unit/random-updates.h"
#include "tests/unit/seeded-suite.h"

#include <stdlib.h>
#include <string.h>

const struct vm_limits world_limits = {
	.max_pages_per_call = 1u << 18,
	.max_elements_per_batch = 10000,
	.executor_deadline_ms = 7000,
};

static const struct policy_actor owner = { .is_owner = true };

/* ---- What always has to hold ---------------------------------------------------------------- */

static uint8_t told(const struct world *world, unsigned int view, uint64_t gfn)
{
	return attribute_map_get(&vm_policy(world->vm)->views[view].applied, gfn);
}

/*
 * Of pages that no call under way is about, the VM knows what the kernel holds, or that it does
 * not. A VM that gives way may not have noted so far what became of the calls.
 */
static void expect_beliefs(struct world *world)
{
	if (!world->is_executing && !world->is_giving_way)
		world->n_calls = 0;
	for (unsigned int v = 0; v < world->oracle.n_views; v++) {
		bool is_under_way[ORACLE_PAGES] = { false };

		for (size_t i = 0; i < world->n_calls; i++)
			if (world->calls[i].view == v)
				memset(is_under_way + world->calls[i].gfn, 1,
				       world->calls[i].n_pages);
		for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++) {
			uint8_t belief = told(world, v, gfn);

			if (world->is_spoilt[v][gfn])
				continue;
			EXPECT(belief == APPLIED_UNKNOWN ||
				       world->kernel[v][gfn] == world->before[v][gfn] ||
				       world->kernel[v][gfn] == world->after[v][gfn] ||
				       world->kernel[v][gfn] == world->undone[v][gfn],
			       "view %u, page 0x%x: the kernel holds 0x%x, not 0x%x or 0x%x", v,
			       (unsigned int)gfn, world->kernel[v][gfn], world->before[v][gfn],
			       world->after[v][gfn]);
			EXPECT(is_under_way[gfn] || belief == APPLIED_UNKNOWN ||
				       belief == world->kernel[v][gfn],
			       "view %u, page 0x%x: the kernel holds 0x%x, but was told 0x%x", v,
			       (unsigned int)gfn, world->kernel[v][gfn], belief);
		}
	}
}

/* ---- What the VM asks of the world ---------------------------------------------------------- */

/* What is to come of the plan that begins: of a batch, of its undoing, of a repair. */
static void note_aim(struct world *world)
{
	const struct policy *policy = vm_policy(world->vm);
	bool is_undoing = vm_state(world->vm) == VM_UNDOING;
	uint8_t(*aim)[ORACLE_PAGES] = is_undoing ? world->undone : world->after;

	if (!is_undoing) {
		memcpy(world->before, world->kernel, sizeof(world->before));
		memcpy(world->undone, world->kernel, sizeof(world->undone));
	}
	for (unsigned int v = 0; v < policy->n_views; v++)
		for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++)
			aim[v][gfn] = fold_effective_at(policy, &policy->views[v], gfn);
}

static void do_execute(void *context, const struct plan *plan, size_t first)
{
	struct world *world = context;
	size_t n = plan->n_calls - first;

	EXPECT(!world->is_executing, "a second plan while one is under way");
	EXPECT(first < plan->n_calls, "a plan of no calls");
	if (world->n_calls_at_most && n > world->n_calls_at_most)
		n = world->n_calls_at_most;
	free(world->calls);
	world->calls = calloc(n, sizeof(*world->calls));
	ck_assert_ptr_nonnull(world->calls);
	memcpy(world->calls, plan->calls + first, n * sizeof(*world->calls));
	for (size_t i = 0; i < n; i++)
		EXPECT(world->calls[i].n_pages &&
			       world->calls[i].gfn + world->calls[i].n_pages <= ORACLE_PAGES &&
			       world->calls[i].view < world->oracle.n_views &&
			       oracle_can_enforce(world->oracle.views[world->calls[i].view].abi,
						  world->calls[i].attributes),
		       "a call that cannot be made");
	EXPECT(vm_state(world->vm) != VM_EXECUTING || world->journal.is_open,
	       "calls of a batch that is not recorded");
	world->n_calls = n;
	world->is_executing = true;
	world->n_plans++;
	if (!first && world->n_retries == vm_statistics(world->vm)->retries)
		note_aim(world);
	world->n_retries = vm_statistics(world->vm)->retries;
}

/* The oracle follows: what is in force was allowed, and what ended the update was not. */
static void follow(struct world *world, const struct world_update *update)
{
	struct policy_element element = update->element;
	uint32_t n = update->n_elements ? update->n_elements : 1;
	bool is_not_policys =
		update->status == KVMATTR_INSUFFICIENT_MEMORY ||
		update->status == KVMATTR_JOURNAL_FAILED ||
		update->status == KVMATTR_KERNEL_REFUSED ||
		update->status == KVMATTR_EXECUTOR_STUCK || update->status == KVMATTR_NO_VM ||
		(update->status == KVMATTR_UNSUPPORTED && strstr(update->text, "KVM refused it"));

	EXPECT(update->n_in_force <= n && (update->status || update->n_in_force == n),
	       "%u of %u elements in force: %s", update->n_in_force, n,
	       kvmattr_status_name(update->status));
	for (uint32_t i = 0; i < n && i <= update->n_in_force; i++) {
		uint32_t broken;

		if (update->n_elements)
			element.range = update->ranges[i];
		broken = oracle_judge(&world->oracle, &update->actor, &element);
		if (i < update->n_in_force) {
			EXPECT(!broken, "element %u is in force and breaks rules 0x%x", i, broken);
			oracle_apply(&world->oracle, &element);
		} else if (!is_not_policys) {
			EXPECT(broken >> update->status & 1, "element %u: %s (%s), but 0x%x", i,
			       kvmattr_status_name(update->status), update->text, broken);
		}
	}
}

void world_answer(struct world *world, unsigned int id, enum kvmattr_status status,
		  uint32_t n_in_force, const char *text)
{
	struct world_update *update = &world->updates[id];

	EXPECT(id == world->n_answered, "update %u is answered before %u", id, world->n_answered);
	world->n_answered++;
	update->is_answered = true;
	update->status = status;
	update->n_in_force = n_in_force;
	strncpy(update->text, text, sizeof(update->text) - 1);
	EXPECT(!status == !*text, "%s with the text \"%s\"", kvmattr_status_name(status), text);
	world_journal_expect_answer(world, id, status, n_in_force, text);
	follow(world, update);
}

static void do_answer(void *context, struct vm_update *answered, enum kvmattr_status status,
		      const char *text)
{
	struct world *world = context;
	unsigned int id = (unsigned int)answered->seqno;

	if (!world->is_dying) {
		world->updates[id].commit = answered->commit;
		world_answer(world, id, status, answered->n_in_force, text);
	}
	free((void *)(uintptr_t)answered->elements);
	free(answered);
	EXPECT(!world->is_answering, "an answer from within an answer");
	world->is_answering = true;
	if (world->on_answer && !world->is_dying)
		world->on_answer(world, id);
	world->is_answering = false;
}

static int do_record(void *context, const struct vm_batch *batch,
		     const struct vm_in_force *in_force, uint64_t *ret_durable)
{
	const struct world *world = context;

	EXPECT(!world->is_still, "the VM was still, and a batch is begun or comes into force");
	return world_journal_record(context, batch, in_force, ret_durable);
}

static void do_refused(void *context, const struct vm_update *update, enum kvmattr_status status,
		       const char *text)
{
	world_journal_refused(context, update, status, text);
}

static void do_settled(void *context)
{
	((struct world *)context)->n_settled++;
}

static void do_still(void *context)
{
	struct world *world = context;

	EXPECT(vm_is_frozen(world->vm), "it is still and was not frozen");
	world->is_still = true;
}

static void do_verified(void *context, const struct vm_verification *verification)
{
	struct world *world = context;

	EXPECT(world->n_verifying, "nothing was to be verified");
	world->n_verifying--;
	EXPECT(!verification->status == !*verification->text, "%s with the text \"%s\"",
	       kvmattr_status_name(verification->status), verification->text);
	world->verification = *verification;
	world->verification.text = NULL; /* the VM's */
}

static void do_give_way(void *context)
{
	struct world *world = context;

	EXPECT(!world->is_giving_way, "it gives way twice for one turn");
	world->is_giving_way = true;
}

static void do_set_timer(void *context, unsigned int timeout_ms)
{
	((struct world *)context)->timer_ms = timeout_ms;
}

static void do_report(void *context, enum vm_report report, const char *text)
{
	const bool is_trouble = report == VM_REPORT_DEGRADED || report == VM_REPORT_STUCK;
	struct world *world = context;

	world->n_troubles += is_trouble;
	world->n_reliefs += !is_trouble;
	strncpy(world->report, text, sizeof(world->report) - 1);
}

static uint64_t do_now_us(void *context)
{
	struct world *world = context;

	return world->now_us += world->us_per_look;
}

static const struct vm_ops world_ops = {
	.record = do_record,
	.refused = do_refused,
	.execute = do_execute,
	.answer = do_answer,
	.settled = do_settled,
	.still = do_still,
	.verified = do_verified,
	.give_way = do_give_way,
	.set_timer = do_set_timer,
	.report = do_report,
	.now_us = do_now_us,
};

/* ---- Beginning and end ---------------------------------------------------------------------- */

void world_end_life(struct world *world)
{
	world->is_dying = true;
	vm_free(world->vm, "nobody hears it");
	world->is_dying = false;
	world->vm = NULL;
}

void world_begin_life(struct world *world, struct policy *policy)
{
	memcpy(world->before, world->kernel, sizeof(world->before));
	memcpy(world->after, world->kernel, sizeof(world->after));
	memcpy(world->undone, world->kernel, sizeof(world->undone));
	world->is_executing = false;
	world->is_giving_way = false;
	world->is_still = false;
	world->n_calls = 0;
	world->n_retries = 0;
	world->vm = vm_new("vm", policy, &world->limits, &world_ops, world);
}

struct world *world_new(unsigned int mix, const struct vm_limits *limits)
{
	static const struct kvmattr_range ram[] = { { 0, 1500 }, { 1600, 900 } };
	struct policy_element element = { .kind = KVMATTR_ADD_RAM };
	struct world *world = calloc(1, sizeof(*world));
	struct view views[ORACLE_VIEWS];
	struct policy *policy;

	ck_assert_ptr_nonnull(world);
	policy = policy_new(views, view_mix(mix, views));
	oracle_init(&world->oracle, policy);
	world_journal_init(&world->journal, policy);
	memset(world->kernel, KVMATTR_RWX, sizeof(world->kernel));
	world->fault = world_no_fault;
	world->limits = *limits;
	world_begin_life(world, policy);
	vm_start(world->vm);
	world_submit(world, &owner, &element, ram, N(ram), false);
	element.kind = KVMATTR_ENABLE_LAYER;
	element.value = KVMATTR_RWX;
	for (element.layer = 1; element.layer < 4; element.layer++)
		world_submit(world, &owner, &element, NULL, 0, false);
	world_settle(world);
	world_expect_all_in_force(world);
	return world;
}

void world_free(struct world *world)
{
	vm_free(world->vm, "the end of the test");
	EXPECT(world->n_answered == world->n_updates, "an update is never answered");
	EXPECT(!world->n_verifying, "it is never said that a verification is over");
	EXPECT(!world->timer_ms, "a timer is left behind");
	for (unsigned int i = 0; i < world->n_updates; i++)
		free(world->updates[i].ranges);
	world_journal_destroy(&world->journal);
	free(world->calls);
	free(world);
}

void world_resubmit(struct world *world, unsigned int id, uint32_t n_in_force)
{
	const struct world_update *from = &world->updates[id];
	size_t size = wire_element_size(from->form);
	uint8_t *elements = malloc(from->n_elements * size + 1);
	struct vm_update *update = calloc(1, sizeof(*update));

	ck_assert(update && elements);
	for (uint32_t i = 0; i < from->n_elements; i++)
		memcpy(elements + i * size, &from->ranges[i], size); /* a page is its first half */
	*update = (struct vm_update){
		.actor = from->actor,
		.element = from->element,
		.form = from->form,
		.n_elements = from->n_elements,
		.elements = elements,
		.seqno = id,
		.n_in_force = n_in_force,
	};
	vm_submit(world->vm, update);
}

unsigned int world_submit(struct world *world, const struct policy_actor *actor,
			  const struct policy_element *element, const struct kvmattr_range *ranges,
			  uint32_t n_ranges, bool pages)
{
	unsigned int id = world->n_updates++;
	struct world_update *update = &world->updates[id];

	ck_assert_uint_lt(id, WORLD_MAX_UPDATES);
	update->actor = *actor;
	update->element = *element;
	update->n_elements = n_ranges;
	update->form = n_ranges == 0 ? WIRE_FORM_NONE : pages ? WIRE_FORM_PAGES : WIRE_FORM_RANGES;
	update->ranges = malloc(n_ranges * sizeof(*ranges) + 1);
	ck_assert_ptr_nonnull(update->ranges);
	if (n_ranges)
		memcpy(update->ranges, ranges, n_ranges * sizeof(*ranges));
	world_resubmit(world, id, 0);
	return id;
}

unsigned int world_protect(struct world *world, uint8_t protection, uint64_t gfn, uint32_t n)
{
	struct policy_element element = { .kind = KVMATTR_PROTECT,
					  .layer = 1,
					  .value = protection,
					  .restricted = KVMATTR_ALL_LOWER };
	struct kvmattr_range *ranges = calloc(n, sizeof(*ranges));
	unsigned int id;

	ck_assert_ptr_nonnull(ranges);
	for (uint32_t i = 0; i < n; i++)
		ranges[i] = (struct kvmattr_range){ gfn + i, 1 };
	id = world_submit(world, &owner, &element, ranges, n, true);
	free(ranges);
	return id;
}

/* ---- The executor --------------------------------------------------------------------------- */

struct world_outcome world_execute_silently(struct world *world)
{
	struct world_outcome outcome = { 0 };

	ck_assert(world->is_executing);
	while (outcome.n_done < world->n_calls && !outcome.error) {
		const struct plan_call *call = &world->calls[outcome.n_done];
		uint64_t n_done = call->n_pages;

		outcome.error = world->fault(world, call, &n_done);
		memset(&world->kernel[call->view][call->gfn], call->attributes, n_done);
		memset(&world->is_spoilt[call->view][call->gfn], false, n_done);
		world->n_calls_made++;
		if (!outcome.error) {
			outcome.n_done++;
			continue;
		}
		outcome.n_partial = n_done;
		world->n_faults++;
		if (world->does_more_than_it_says && n_done < call->n_pages &&
		    random_one_in(&world->random, 2))
			world->kernel[call->view][call->gfn + n_done] = call->attributes;
	}
	return outcome;
}

void world_spoil(struct world *world, unsigned int view, uint64_t gfn, uint8_t attributes)
{
	world->kernel[view][gfn] = attributes;
	world->is_spoilt[view][gfn] = true;
}

void world_thaw(struct world *world)
{
	world->is_still = false;
	vm_thaw(world->vm);
}

void world_verify(struct world *world)
{
	world->n_verifying++;
	ck_assert_int_eq(vm_verify(world->vm), KVMATTR_OK);
}

void world_say(struct world *world, struct world_outcome outcome)
{
	world->is_executing = false;
	vm_calls_done(world->vm, outcome.n_done, outcome.error, outcome.n_partial);
	expect_beliefs(world);
}

void world_execute(struct world *world)
{
	world_say(world, world_execute_silently(world));
}

void world_fire_timer(struct world *world)
{
	ck_assert_uint_gt(world->timer_ms, 0);
	world->now_us += world->timer_ms * UINT64_C(1000);
	world->timer_ms = 0;
	vm_timer(world->vm);
	expect_beliefs(world);
}

void world_turn(struct world *world)
{
	ck_assert(world->is_giving_way);
	world->is_giving_way = false;
	vm_turn(world->vm);
	if (!world->is_giving_way || random_one_in(&world->random, 16)) /* it takes its time */
		expect_beliefs(world);
}

void world_take_turns(struct world *world)
{
	for (unsigned int i = 0; world->is_giving_way; i++) {
		ck_assert_uint_lt(i, 100000);
		world_turn(world);
	}
}

void world_settle(struct world *world)
{
	for (unsigned int i = 0; i < 200000; i++)
		if (world->is_giving_way)
			world_turn(world);
		else if (world->is_executing)
			world_execute(world);
		else if (world->timer_ms &&
			 !(vm_state(world->vm) == VM_IDLE && vm_is_degraded(world->vm)))
			world_fire_timer(world);
		else if (world->journal.told < world->journal.number && world->journal.is_power)
			world_sync(world);
		else
			return;
	ck_abort_msg("it does not come to rest");
}

uint8_t world_kernel(const struct world *world, unsigned int view, uint64_t gfn)
{
	return world->kernel[view][gfn];
}

/* ---- Faults --------------------------------------------------------------------------------- */

int world_no_fault(struct world *world, const struct plan_call *call, uint64_t *ret_n_done)
{
	(void)world;
	(void)call;
	(void)ret_n_done;
	return 0;
}

int world_fail_once(struct world *world, const struct plan_call *call, uint64_t *ret_n_done)
{
	if (world->faulty.n--)
		return 0;
	world->fault = world_no_fault;
	*ret_n_done = call->n_pages / 2;
	return world->faulty.error;
}

int world_fail_some(struct world *world, const struct plan_call *call, uint64_t *ret_n_done)
{
	(void)call;
	if (!world->faulty.n)
		return 0;
	world->faulty.n--;
	*ret_n_done = 0;
	return world->faulty.error;
}

int world_fail_page_always(struct world *world, const struct plan_call *call, uint64_t *ret_n_done)
{
	uint64_t gfn = world->faulty.gfn;

	if (call->view != world->faulty.view || gfn < call->gfn || gfn >= call->gfn + call->n_pages)
		return 0;
	*ret_n_done = gfn - call->gfn;
	return world->faulty.error;
}

int world_fail_page(struct world *world, const struct plan_call *call, uint64_t *ret_n_done)
{
	int error = world_fail_page_always(world, call, ret_n_done);

	if (!error ||
	    call->attributes != world_kernel(world, world->faulty.view, world->faulty.gfn))
		return error;
	*ret_n_done = call->n_pages;
	return 0;
}
