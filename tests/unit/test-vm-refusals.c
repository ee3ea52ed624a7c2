/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM's state machine against a KVM that refuses at the worst moments.
 *
 * KVM is an array of pages here, and takes or refuses each call by a rule of the test's.  What it
 * holds is compared with what the VM says that it enforces, whenever the VM says so.
 */
#include "daemon/vm.h"
#include "protocol/kvm-abi.h"
#include "tests/unit/unheard-vm-ops.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RAM_PAGES          128
#define PAGES_PER_CALL     5
#define ELEMENTS_PER_BATCH 2
/* As many rounds of calls and timers as anything here may take. */
#define ROUNDS 200

struct world;
typedef int (*rule)(struct world *world, const struct plan_call *call);

struct world {
	struct vm *vm;
	uint8_t pages[RAM_PAGES]; /* what KVM enforces */
	rule refuses;             /* NULL: KVM takes everything */
	unsigned int n_tries;     /* the rule's: of the same call */
	uint64_t tried_gfn;
	const struct plan *plan; /* to be carried out from first on, or NULL */
	size_t first;
	unsigned int timer_ms;
	unsigned int n_answered;
	enum kvmattr_status statuses[8];
};

static bool is_as_policy_says(const struct world *world, uint64_t gfn)
{
	const struct policy *policy = vm_policy(world->vm);

	return world->pages[gfn] == fold_effective_at(policy, &policy->views[0], gfn);
}

static void do_execute(void *context, const struct plan *plan, size_t first)
{
	struct world *world = context;

	ck_assert_ptr_null(world->plan);
	world->plan = plan;
	world->first = first;
}

static void check_in_force(const struct world *world, const struct vm_update *update)
{
	for (uint32_t i = 0; i < update->n_elements; i++) {
		uint64_t gfn = wire_page_at(update->elements, i);

		ck_assert_msg(is_as_policy_says(world, gfn),
			      "update %llu is answered, but KVM enforces 0x%x on page %llu",
			      (unsigned long long)update->seqno, world->pages[gfn],
			      (unsigned long long)gfn);
	}
}

static void do_answer(void *context, struct vm_update *update, enum kvmattr_status status,
		      const char *text)
{
	struct world *world = context;

	(void)text;
	world->statuses[world->n_answered++] = status;
	ck_assert_uint_eq(update->seqno, world->n_answered);
	if (status == KVMATTR_OK && update->form == WIRE_FORM_PAGES)
		check_in_force(world, update);
}

static void do_set_timer(void *context, unsigned int timeout_ms)
{
	((struct world *)context)->timer_ms = timeout_ms;
}

static uint64_t do_now_us(void *context)
{
	(void)context;
	return 0;
}

static const struct vm_ops ops = {
	.record = unheard_record,
	.refused = unheard_refused,
	.execute = do_execute,
	.answer = do_answer,
	.settled = unheard_settled,
	.set_timer = do_set_timer,
	.report = unheard_report,
	.now_us = do_now_us,
};

/* Whatever the VM says is in force is. */
static void check_states(const struct world *world)
{
	struct vm_run run;

	for (uint64_t gfn = 0; vm_next_run(world->vm, 0, gfn, RAM_PAGES, &run);
	     gfn = run.gfn + run.n_pages)
		for (uint64_t i = run.gfn; i < run.gfn + run.n_pages; i++)
			if (run.state == WIRE_IN_FORCE)
				ck_assert_uint_eq(world->pages[i], run.attributes);
}

static void carry_out(struct world *world)
{
	const struct plan *plan = world->plan;
	size_t n_done = 0;
	int error = 0;

	for (size_t i = world->first; i < plan->n_calls; i++) {
		const struct plan_call *call = &plan->calls[i];

		error = world->refuses ? world->refuses(world, call) : 0;
		if (error)
			break;
		for (uint64_t gfn = call->gfn; gfn < call->gfn + call->n_pages; gfn++)
			if (gfn < RAM_PAGES)
				world->pages[gfn] = call->attributes;
		n_done++;
	}
	world->plan = NULL;
	vm_calls_done(world->vm, n_done, error, 0);
	check_states(world);
}

/* Until nothing is under way; timers of retries come at once, those of repairs not. */
static void run(struct world *world)
{
	for (int i = 0; i < ROUNDS && vm_state(world->vm) != VM_IDLE; i++)
		if (world->plan)
			carry_out(world);
		else
			vm_timer(world->vm);
	ck_assert_int_eq(vm_state(world->vm), VM_IDLE);
}

static void submit(struct world *world, struct vm_update *update, uint64_t seqno)
{
	update->seqno = seqno;
	update->actor.is_owner = true;
	vm_submit(world->vm, update);
}

static struct vm_update protect(unsigned int form, const void *elements, uint32_t n, uint8_t value)
{
	return (struct vm_update){
		.element = { .kind = KVMATTR_PROTECT,
			     .layer = 1,
			     .value = value,
			     .restricted = KVMATTR_ALL_LOWER },
		.form = (uint8_t)form,
		.elements = elements,
		.n_elements = n,
	};
}

static struct policy *make_policy(void)
{
	static const struct wire_probe_result probe = { .v10_errno = ENOTTY,
							.cap = KVM_ABI_PRIVATE | KVM_ABI_DENY_ALL };
	struct view view = { .vtl = 0 };
	char text[WIRE_TEXT_SIZE];

	ck_assert_int_eq(
		dialect_decide(&probe, KVMATTR_ABI_PROBE, &view.dialect, text, sizeof(text)),
		KVMATTR_OK);
	return policy_new(&view, 1);
}

static struct world *begin(struct policy *policy)
{
	static const struct vm_limits limits = { .max_pages_per_call = PAGES_PER_CALL,
						 .max_elements_per_batch = ELEMENTS_PER_BATCH,
						 .executor_deadline_ms = 1000 };
	struct world *world = calloc(1, sizeof(*world));

	ck_assert_ptr_nonnull(world);
	world->vm = vm_new("test", policy, &limits, &ops, world);
	return world;
}

/* A VM with RAM and layer 1, which allows everything; two updates are answered. */
static struct world *start(void)
{
	static const struct kvmattr_range ram = { 0, RAM_PAGES };
	static struct vm_update add_ram, enable;
	struct world *world = begin(make_policy());

	vm_start(world->vm);
	add_ram = (struct vm_update){ .element.kind = KVMATTR_ADD_RAM,
				      .form = WIRE_FORM_RANGES,
				      .elements = (const uint8_t *)&ram,
				      .n_elements = 1 };
	enable = (struct vm_update){
		.element = { .kind = KVMATTR_ENABLE_LAYER, .layer = 1, .value = KVMATTR_RWX }
	};
	submit(world, &add_ram, 1);
	run(world);
	submit(world, &enable, 2);
	run(world);
	ck_assert_uint_eq(world->n_answered, 2);
	return world;
}

static void end(struct world *world)
{
	vm_free(world->vm, "");
	free(world);
}

/* Lets the repair's timer pass so often. */
static void wait_for_repairs(struct world *world, int n)
{
	for (; n && vm_is_degraded(world->vm); n--) {
		ck_assert_uint_gt(world->timer_ms, 0);
		vm_timer(world->vm);
		run(world);
	}
}

static bool covers(const struct plan_call *call, uint64_t gfn)
{
	return call->gfn <= gfn && gfn < call->gfn + call->n_pages;
}

static int refuse_opening_page_20_and_undoing(struct world *world, const struct plan_call *call)
{
	bool is_opening = covers(call, 20) && call->attributes == KVMATTR_RWX;

	return is_opening || vm_state(world->vm) == VM_UNDOING ? ENOMEM : 0;
}

/*
 * Two pages of the list come into force with the first batch; the second batch, the last page and
 * the reset, fails between them, and so does taking it back.  Done again, the last page is all that
 * is left of the list, and all the list was answered.
 */
START_TEST(an_update_that_two_batches_brought_about_is_answered_when_all_of_it_is_in_force)
{
	static const uint64_t pages[] = { 10, 20, 30 };
	struct world *world = start();
	struct vm_update closing = protect(WIRE_FORM_PAGES, pages, 3, KVMATTR_NONE);
	struct vm_update reset = { .element.kind = KVMATTR_RESET_VM };

	world->refuses = refuse_opening_page_20_and_undoing;
	submit(world, &closing, 3);
	submit(world, &reset, 4);
	run(world);
	ck_assert_uint_eq(world->n_answered, 4);
	ck_assert_int_eq(world->statuses[2], KVMATTR_OK);
	ck_assert_int_eq(world->statuses[3], KVMATTR_INSUFFICIENT_MEMORY);

	wait_for_repairs(world, 1);
	ck_assert(!vm_is_degraded(world->vm));
	for (uint64_t gfn = 0; gfn < RAM_PAGES; gfn++)
		ck_assert(is_as_policy_says(world, gfn));
	end(world);
}
END_TEST

static int refuse_page_15(struct world *world, const struct plan_call *call)
{
	(void)world;
	return covers(call, 15) ? ENOMEM : 0;
}

/*
 * Page 12 is as it is to be already, so the calls are 10 to 14 and then 15; to take that back,
 * they are 10 to 11 and 13 to 15.
 */
START_TEST(a_page_that_kvm_refuses_keeps_no_other_open)
{
	static const struct kvmattr_range all = { 10, 6 }, one = { 12, 1 };
	struct world *world = start();
	struct vm_update close_all = protect(WIRE_FORM_RANGES, &all, 1, KVMATTR_R);
	struct vm_update open_one = protect(WIRE_FORM_RANGES, &one, 1, KVMATTR_RW);
	struct vm_update open_all = protect(WIRE_FORM_RANGES, &all, 1, KVMATTR_RW);

	submit(world, &close_all, 3);
	run(world);
	submit(world, &open_one, 4);
	run(world);
	world->refuses = refuse_page_15;
	submit(world, &open_all, 5);
	run(world);
	ck_assert_int_eq(world->statuses[4], KVMATTR_INSUFFICIENT_MEMORY);
	ck_assert(vm_is_degraded(world->vm));

	wait_for_repairs(world, 3);
	for (uint64_t gfn = 0; gfn < RAM_PAGES; gfn++)
		ck_assert_msg(gfn == 15 || is_as_policy_says(world, gfn),
			      "KVM enforces 0x%x on page %llu", world->pages[gfn],
			      (unsigned long long)gfn);
	ck_assert(vm_is_degraded(world->vm));
	ck_assert_uint_eq(vm_unknown_pages(world->vm), 1);

	world->refuses = NULL;
	wait_for_repairs(world, 1);
	ck_assert(!vm_is_degraded(world->vm));
	ck_assert_uint_eq(vm_unknown_pages(world->vm), 0);
	ck_assert_uint_eq(world->pages[15], KVMATTR_R);
	end(world);
}
END_TEST

static int refuse_odd_pages(struct world *world, const struct plan_call *call)
{
	(void)world;
	for (uint64_t gfn = call->gfn; gfn < call->gfn + call->n_pages; gfn++)
		if (gfn % 2)
			return ENOMEM;
	return 0;
}

START_TEST(a_vm_of_which_kvm_refuses_every_other_page_goes_on_and_recovers)
{
	static const struct kvmattr_range all = { 0, RAM_PAGES };
	struct world *world = start();
	struct vm_update closing = protect(WIRE_FORM_RANGES, &all, 1, KVMATTR_NONE);
	struct vm_update again = closing;

	world->refuses = refuse_odd_pages;
	submit(world, &closing, 3);
	run(world);
	ck_assert_int_eq(world->statuses[2], KVMATTR_INSUFFICIENT_MEMORY);
	wait_for_repairs(world, 8);
	ck_assert(vm_is_degraded(world->vm));

	world->refuses = NULL;
	submit(world, &again, 4);
	run(world);
	ck_assert_int_eq(world->statuses[3], KVMATTR_OK);
	wait_for_repairs(world, 1);
	ck_assert(!vm_is_degraded(world->vm));
	for (uint64_t gfn = 0; gfn < RAM_PAGES; gfn++)
		ck_assert_uint_eq(world->pages[gfn], KVMATTR_NONE);
	end(world);
}
END_TEST

static int refuse_each_call_twice(struct world *world, const struct plan_call *call)
{
	if (world->tried_gfn != call->gfn)
		world->n_tries = 0;
	world->tried_gfn = call->gfn;
	return world->n_tries++ < 2 ? EAGAIN : 0;
}

START_TEST(each_call_of_a_plan_has_retries_of_its_own)
{
	static const struct kvmattr_range all = { 1, RAM_PAGES - 1 };
	struct world *world = start();
	struct vm_update closing = protect(WIRE_FORM_RANGES, &all, 1, KVMATTR_R);

	world->refuses = refuse_each_call_twice;
	submit(world, &closing, 3);
	run(world);
	ck_assert_int_eq(world->statuses[2], KVMATTR_OK);
	ck_assert_uint_eq(vm_statistics(world->vm)->refusals, 0);
	end(world);
}
END_TEST

static void apply(struct policy *policy, struct policy_element element)
{
	static const struct policy_actor owner = { .is_owner = true };
	struct policy_undo_log *log = policy_undo_log_new();
	struct page_ranges touched = { 0 };
	char text[WIRE_TEXT_SIZE];

	ck_assert_int_eq(policy_apply(policy, &owner, &element, log, &touched, text, sizeof(text)),
			 KVMATTR_OK);
	policy_undo_log_free(log);
	page_ranges_destroy(&touched);
}

static int refuse_repairs_of_page_10(struct world *world, const struct plan_call *call)
{
	return covers(call, 10) && vm_state(world->vm) == VM_REPAIRING ? ENOMEM : 0;
}

static int refuse_page_10(struct world *world, const struct plan_call *call)
{
	(void)world;
	return covers(call, 10) ? ENOMEM : 0;
}

/* Of a former life: all RAM, and layer 1. */
static struct policy *make_recorded_policy(void)
{
	struct policy *policy = make_policy();

	apply(policy,
	      (struct policy_element){ .kind = KVMATTR_ADD_RAM, .range = { 0, RAM_PAGES } });
	apply(policy, (struct policy_element){
			      .kind = KVMATTR_ENABLE_LAYER, .layer = 1, .value = KVMATTR_RWX });
	return policy;
}

/*
 * Page 10 was closed in the life before, by the first element of an update, which is the second in
 * the queue now; what KVM holds of it is not known, and KVM does not take the repair.
 */
START_TEST(an_update_begun_in_another_life_is_answered_when_its_first_elements_are_in_force_again)
{
	static const uint64_t pages[] = { 10, 20 }, others[] = { 50 };
	static const rule rules[] = { refuse_repairs_of_page_10, refuse_page_10 };
	struct vm_update other = protect(WIRE_FORM_PAGES, others, 1, KVMATTR_R);
	struct vm_update begun = protect(WIRE_FORM_PAGES, pages, 2, KVMATTR_NONE);
	struct policy *policy = make_recorded_policy();
	struct page_ranges unknown = { 0 };
	struct world *world;

	apply(policy, (struct policy_element){ .kind = KVMATTR_PROTECT,
					       .layer = 1,
					       .restricted = KVMATTR_ALL_LOWER,
					       .range = { 10, 1 } });
	page_ranges_add(&unknown, 10, 1);
	policy_assume_applied(policy);
	policy_forget_applied(policy, &unknown);
	world = begin(policy);
	memset(world->pages, KVMATTR_RWX, sizeof(world->pages));
	vm_restore(world->vm, 3, &unknown, 0);
	page_ranges_destroy(&unknown);
	begun.n_in_force = 1;
	submit(world, &other, 1);
	submit(world, &begun, 2);
	world->refuses = rules[_i];
	vm_start(world->vm);
	run(world);
	ck_assert_int_eq(world->statuses[0], KVMATTR_OK);
	ck_assert_int_eq(world->statuses[1], _i ? KVMATTR_INSUFFICIENT_MEMORY : KVMATTR_OK);
	ck_assert_uint_eq(begun.n_in_force, _i ? 1 : 2);
	ck_assert_uint_eq(begun.commit, 4);
	ck_assert_uint_eq(world->pages[20], _i ? KVMATTR_RWX : KVMATTR_NONE);
	end(world);
}
END_TEST

static int refuse_page_20(struct world *world, const struct plan_call *call)
{
	(void)world;
	return covers(call, 20) ? ENOMEM : 0;
}

/* It goes no further, and what it says of its first element was written by a dead daemon. */
START_TEST(an_update_begun_in_another_life_is_answered_when_what_was_recorded_then_is_durable)
{
	static const uint64_t pages[] = { 10, 20 };
	struct vm_update begun = protect(WIRE_FORM_PAGES, pages, 2, KVMATTR_NONE);
	struct policy *policy = make_recorded_policy();
	struct world *world;

	policy_assume_applied(policy);
	world = begin(policy);
	memset(world->pages, KVMATTR_RWX, sizeof(world->pages));
	vm_restore(world->vm, 3, &(struct page_ranges){ 0 }, 7);
	begun.n_in_force = 1;
	submit(world, &begun, 1);
	world->refuses = refuse_page_20;
	vm_start(world->vm);
	run(world);
	vm_durable(world->vm, 6);
	ck_assert_uint_eq(world->n_answered, 0);
	vm_durable(world->vm, 7);
	ck_assert_uint_eq(world->n_answered, 1);
	ck_assert_int_eq(world->statuses[0], KVMATTR_INSUFFICIENT_MEMORY);
	ck_assert_uint_eq(begun.n_in_force, 1);
	end(world);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vm-refusals");
	TCase *refused = tcase_create("refused");
	SRunner *runner;
	int n_failed;

	tcase_add_test(
		refused,
		an_update_that_two_batches_brought_about_is_answered_when_all_of_it_is_in_force);
	tcase_add_test(refused, a_page_that_kvm_refuses_keeps_no_other_open);
	tcase_add_test(refused, a_vm_of_which_kvm_refuses_every_other_page_goes_on_and_recovers);
	tcase_add_loop_test(
		refused,
		an_update_begun_in_another_life_is_answered_when_its_first_elements_are_in_force_again,
		0, 2);
	tcase_add_test(
		refused,
		an_update_begun_in_another_life_is_answered_when_what_was_recorded_then_is_durable);
	tcase_add_test(refused, each_call_of_a_plan_has_retries_of_its_own);
	suite_add_tcase(suite, refused);
	runner = srunner_create(suite);
	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
