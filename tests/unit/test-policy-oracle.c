/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random histories of a policy, in every dialect, against the oracle; and the plans that come of
 * them, carried out on a kernel that is a flat array, as a VM would: batch by batch, with calls
 * that fail half-way, batches taken back and pages whose state is not known.  All of it in one go,
 * or in steps of any length.
 */
#include "daemon/policy/plan.h"
#include "tests/unit/policy-oracle.h"
#include "tests/unit/random-updates.h"
#include "tests/unit/seeded-suite.h"

#include <stdlib.h>
#include <string.h>

static struct policy *policy;
static struct policy_undo_log *undo;
static struct page_ranges touched;
static struct page_ranges unknown;
static struct plan plan;
static struct oracle oracle;
static struct oracle saved; /* as it was when the batch began */
static uint8_t kernel[ORACLE_VIEWS][ORACLE_PAGES];
static uint64_t random_state;
static unsigned int n_accepted, n_refused, n_plans, n_failed_plans;

/* ---- In steps, of whatever length ----------------------------------------------------------- */

static size_t random_step(void)
{
	static const size_t longest[] = { 3, 50, 700, ORACLE_PAGES };

	return 1 + random_below(&random_state, longest[random_below(&random_state, N(longest))]);
}

static enum kvmattr_status apply_in_steps(const struct policy_actor *actor,
					  const struct policy_element *element, char *text,
					  size_t size)
{
	struct policy_progress progress = { 0 };
	size_t step = random_step();
	enum kvmattr_status status;

	do
		status = policy_apply_some(policy, actor, element, &progress, step, undo, &touched,
					   text, size);
	while (!status && !progress.is_applied);
	EXPECT(!status || !progress.is_checked, "it is refused when something was changed already");
	return status;
}

static void undo_in_steps(void)
{
	while (!policy_undo_some(policy, undo, random_step()))
		;
	ck_assert_uint_eq(policy_undo_log_size(undo), 0);
}

static void forget_in_steps(void)
{
	while (!policy_undo_log_clear_some(undo, random_step()))
		;
	ck_assert_uint_eq(policy_undo_log_size(undo), 0);
}

static void plan_in_steps(uint64_t max_pages)
{
	plan_begin(&plan, false);
	while (!plan_look(&plan, policy, &touched, max_pages, random_step()))
		;
}

/* ---- The policy ----------------------------------------------------------------------------- */

static enum kvmattr_status apply_to_both(const struct policy_actor *actor,
					 const struct policy_element *element)
{
	char text[256] = "";
	uint32_t broken = oracle_judge(&oracle, actor, element);
	enum kvmattr_status status =
		random_one_in(&random_state, 2)
			? policy_apply(policy, actor, element, undo, &touched, text, sizeof(text))
			: apply_in_steps(actor, element, text, sizeof(text));

	EXPECT(broken ? status && broken >> status & 1 : !status,
	       "kind %d, layer %u, value 0x%x, restricted 0x%x, pages 0x%llx+%llu by %s %u: "
	       "%s (%s), but the broken rules are 0x%x",
	       element->kind, element->layer, element->value, element->restricted,
	       (unsigned long long)element->range.gfn, (unsigned long long)element->range.n_pages,
	       actor->is_owner ? "owner" : "agent", actor->vtl, kvmattr_status_name(status), text,
	       broken);
	ck_assert(!status || *text);
	if (!status)
		oracle_apply(&oracle, element);
	n_accepted += !status;
	n_refused += status;
	return status;
}

static void expect_same(void)
{
	oracle_expect_same(&oracle, policy);
	oracle_expect_same_fold(&oracle, policy, &random_state);
}

static void start(unsigned int mix)
{
	static const struct policy_actor owner = { .is_owner = true };
	static const struct kvmattr_range ram[] = { { 0, 1500 }, { 1600, 900 }, { 2700, 1 } };
	struct view views[ORACLE_VIEWS];
	unsigned int n = view_mix(mix, views);

	policy = policy_new(views, n);
	undo = policy_undo_log_new();
	oracle_init(&oracle, policy);
	memset(kernel, KVMATTR_RWX, sizeof(kernel));
	for (size_t i = 0; i < N(ram); i++) {
		struct policy_element element = { .kind = KVMATTR_ADD_RAM,
						  .value = i == 2,
						  .range = ram[i] };

		ck_assert_int_eq(apply_to_both(&owner, &element), KVMATTR_OK);
	}
	for (uint8_t k = 1; k <= 3; k++) {
		struct policy_element element = { .kind = KVMATTR_ENABLE_LAYER,
						  .layer = k,
						  .value = KVMATTR_RWX };

		ck_assert_int_eq(apply_to_both(&owner, &element), KVMATTR_OK);
	}
	policy_undo_log_clear(undo);
	saved = oracle;
	expect_same();
}

static void stop(void)
{
	plan_destroy(&plan);
	page_ranges_destroy(&touched);
	page_ranges_destroy(&unknown);
	policy_undo_log_free(undo);
	while (!policy_free_some(policy, random_step()))
		;
}

/* ---- The plan it has to be ------------------------------------------------------------------ */

static uint8_t applied(unsigned int view, uint64_t gfn)
{
	return attribute_map_get(&policy->views[view].applied, gfn);
}

/*
 * From the first page that needs something on, one call for as many pages as are touched, are to
 * be equal and fit it; it ends with the last of them that needs something.
 */
static size_t expected_calls(unsigned int view, const bool *is_touched, uint64_t max_pages,
			     struct plan_call *ret_calls)
{
	uint8_t from[ORACLE_PAGES], to[ORACLE_PAGES];
	size_t n = 0;

	for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++) {
		from[gfn] = applied(view, gfn);
		to[gfn] = oracle_effective(&oracle, view, gfn);
	}
	for (uint64_t gfn = 0, end; gfn < ORACLE_PAGES; gfn = end) {
		end = gfn + 1;
		if (!is_touched[gfn] || from[gfn] == to[gfn])
			continue;
		for (uint64_t g = end;
		     g < ORACLE_PAGES && g - gfn < max_pages && is_touched[g] && to[g] == to[gfn];
		     g++)
			if (from[g] != to[g])
				end = g + 1;
		ret_calls[n++] = (struct plan_call){ .gfn = gfn,
						     .n_pages = end - gfn,
						     .view = (uint16_t)view,
						     .attributes = to[gfn] };
	}
	return n;
}

static int compare_calls(const void *left, const void *right)
{
	const struct plan_call *a = left, *b = right;

	if (a->view != b->view)
		return a->view < b->view ? -1 : 1;
	return (a->gfn > b->gfn) - (a->gfn < b->gfn);
}

static void expect_plan(uint64_t max_pages)
{
	static struct plan_call expected[ORACLE_VIEWS * ORACLE_PAGES];
	bool is_touched[ORACLE_PAGES] = { false };
	struct plan_call *made = calloc(plan.n_calls + 1, sizeof(*made));
	size_t n = 0;

	ck_assert_ptr_nonnull(made);
	for (size_t i = 0; i < touched.n; i++)
		for (uint64_t gfn = touched.range[i].gfn;
		     gfn < ORACLE_PAGES && gfn < touched.range[i].gfn + touched.range[i].n_pages;
		     gfn++)
			is_touched[gfn] = true;
	for (unsigned int v = 0; v < oracle.n_views; v++)
		n += expected_calls(v, is_touched, max_pages, expected + n);
	ck_assert_uint_eq(plan.n_calls, n);
	if (n)
		memcpy(made, plan.calls, n * sizeof(*made));
	qsort(made, n, sizeof(*made), compare_calls);
	for (size_t i = 0; i < n; i++) {
		EXPECT(!compare_calls(&made[i], &expected[i]) &&
			       made[i].n_pages == expected[i].n_pages &&
			       made[i].attributes == expected[i].attributes,
		       "call %zu is 0x%x for 0x%x+%u of view %u", i, made[i].attributes,
		       (unsigned int)made[i].gfn, (unsigned int)made[i].n_pages, made[i].view);
	}
	free(made);
}

/* Does some page lose something by this call? */
static bool restricts(const struct plan_call *call)
{
	for (uint64_t gfn = call->gfn; gfn < call->gfn + call->n_pages; gfn++) {
		uint8_t from = applied(call->view, gfn), to = call->attributes;

		if (from == APPLIED_UNKNOWN) {
			if (to != KVMATTR_RWX)
				return true;
		} else if ((from & KVMATTR_PROTECTION & ~to) || (to & KVMATTR_PRIVATE & ~from)) {
			return true;
		}
	}
	return false;
}

static void expect_restricting_calls_first(void)
{
	bool has_relaxed = false;

	for (size_t i = 0; i < plan.n_calls; i++) {
		bool is_restricting = restricts(&plan.calls[i]);

		EXPECT(!is_restricting || !has_relaxed,
		       "call %zu of %zu restricts after another one has relaxed", i, plan.n_calls);
		has_relaxed |= !is_restricting;
	}
}

/* ---- Carrying it out ------------------------------------------------------------------------ */

/* The kernel does what it is told, n_pages of it. */
static void do_call(const struct plan_call *call, uint64_t n_pages)
{
	memset(&kernel[call->view][call->gfn], call->attributes, n_pages);
}

/* What KVM was told, where that is known, is what it holds; where all is done, what is wanted. */
static void expect_kernel(bool is_all_done)
{
	for (unsigned int v = 0; v < oracle.n_views; v++)
		for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++) {
			uint8_t told = applied(v, gfn);

			if (told != APPLIED_UNKNOWN)
				EXPECT(kernel[v][gfn] == told, "view %u, page 0x%x", v,
				       (unsigned int)gfn);
			if (is_all_done)
				EXPECT(kernel[v][gfn] == oracle_effective(&oracle, v, gfn) &&
					       told != APPLIED_UNKNOWN,
				       "view %u, page 0x%x holds 0x%x instead of 0x%x", v,
				       (unsigned int)gfn, kernel[v][gfn],
				       oracle_effective(&oracle, v, gfn));
		}
}

/*
 * At some call the kernel fails, after some of its pages, and what it did to the rest is not known.
 */
static void fail_somewhere(void)
{
	size_t n_done = random_below(&random_state, plan.n_calls);
	const struct plan_call *failed = &plan.calls[n_done];
	uint64_t n_partial = random_below(&random_state, failed->n_pages);

	for (size_t i = 0; i < n_done; i++)
		do_call(&plan.calls[i], plan.calls[i].n_pages);
	do_call(failed, n_partial + random_below(&random_state, failed->n_pages - n_partial + 1));
	plan_applied(&plan, policy, 0, n_done, true, n_partial, &unknown);
	if (random_one_in(&random_state, 3)) {
		/* The executor was silent: it may have done any of the others. */
		for (size_t i = n_done + 1; i < plan.n_calls; i++)
			if (random_one_in(&random_state, 2))
				do_call(&plan.calls[i], plan.calls[i].n_pages);
		plan_lost(&plan, policy, n_done + 1, plan.n_calls - n_done - 1, &unknown);
	}
	page_ranges_add_all(&touched, &unknown);
	page_ranges_clear(&unknown);
	n_failed_plans++;
}

/* Plans for what was touched and carries it out; returns false if the kernel failed. */
static bool carry_out(bool may_fail)
{
	static const uint64_t limits[] = { 1, 7, 64, 600, 1u << 20 };
	uint64_t max_pages = limits[random_below(&random_state, N(limits))];

	page_ranges_normalize(&touched);
	if (random_one_in(&random_state, 2))
		plan_make(&plan, policy, &touched, max_pages);
	else
		plan_in_steps(max_pages);
	expect_plan(max_pages);
	expect_restricting_calls_first();
	n_plans++;
	if (may_fail && plan.n_calls && random_one_in(&random_state, 3)) {
		fail_somewhere();
		expect_kernel(false);
		return false;
	}
	for (size_t i = 0; i < plan.n_calls; i++)
		do_call(&plan.calls[i], plan.calls[i].n_pages);
	plan_applied(&plan, policy, 0, plan.n_calls, false, 0, &unknown);
	ck_assert_uint_eq(unknown.n, 0);
	expect_kernel(true);
	page_ranges_clear(&touched);
	return true;
}

static void take_back(void)
{
	undo_in_steps();
	oracle = saved;
	expect_same();
	carry_out(true);
}

static void run_batch(void)
{
	uint64_t n = 1 + random_below(&random_state, 20);

	while (n--) {
		struct policy_actor actor = random_actor(&random_state);
		struct policy_element element = random_element(&random_state);

		apply_to_both(&actor, &element);
		if (random_one_in(&random_state, 12))
			expect_same();
	}
	if (random_one_in(&random_state, 8) || !carry_out(true)) {
		take_back();
		return;
	}
	forget_in_steps();
	saved = oracle;
}

START_TEST(a_history_is_what_the_oracle_says_and_so_is_every_plan_and_what_it_does)
{
	random_state = seeded_suite_random(_i);
	start((unsigned int)_i % N_VIEW_MIXES);
	for (unsigned int batch = 0; batch < 80; batch++)
		run_batch();
	expect_same();
	carry_out(false);
	/* It was a history, not a row of refusals. */
	ck_assert_uint_gt(n_accepted, 40);
	ck_assert_uint_gt(n_refused, 20);
	ck_assert_uint_gt(n_failed_plans, 0);
	stop();
}
END_TEST

START_TEST(a_whole_history_can_be_taken_back)
{
	uint64_t base;

	random_state = seeded_suite_random(1000 + _i);
	start((unsigned int)_i % N_VIEW_MIXES);
	base = policy_memory(policy);
	for (unsigned int i = 0; i < 800; i++) {
		struct policy_actor actor = random_actor(&random_state);
		struct policy_element element = random_element(&random_state);

		apply_to_both(&actor, &element);
	}
	expect_same();
	policy_undo(policy, undo);
	oracle = saved;
	expect_same();
	carry_out(false);
	/* The maps have their old shape, but for those of layers that were not there. */
	ck_assert_uint_le(policy_memory(policy), base + 64 * 1024);
	stop();
}
END_TEST

int main(void)
{
	TCase *histories = tcase_create("histories");

	tcase_add_loop_test(histories,
			    a_history_is_what_the_oracle_says_and_so_is_every_plan_and_what_it_does,
			    0, 3 * N_VIEW_MIXES);
	tcase_add_loop_test(histories, a_whole_history_can_be_taken_back, 0, N_VIEW_MIXES);
	return seeded_suite_run("policy-oracle", (TCase *[]){ histories, NULL });
}
