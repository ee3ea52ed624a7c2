/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Plans by themselves: what one call may cover, and plans so long that they come in parts.  Random
 * ones are compared with the oracle's in test-policy-oracle.c.
 */
#include "daemon/policy/plan.h"
#include "tests/unit/policy-checks.h"
#include "tests/unit/seeded-suite.h"

#include <stdlib.h>
#include <string.h>

/* Every other page of so many is a call: some of each kind do not fit one part. */
#define N_PAGES (4 * PLAN_PART_CALLS + 1000)

static struct plan plan;
static struct page_ranges unknown;
static uint8_t *kernel;
static uint64_t n_calls;

static void start(void)
{
	checks_start(KVMATTR_ABI_DENY, 1);
	apply(pages_update(KVMATTR_ADD_RAM, 0, 0, N_PAGES));
	apply(enable(1, KVMATTR_RWX, false));
	kernel = malloc(N_PAGES);
	ck_assert_ptr_nonnull(kernel);
	memset(kernel, KVMATTR_RWX, N_PAGES);
}

static void stop(void)
{
	plan_destroy(&plan);
	page_ranges_destroy(&unknown);
	checks_stop();
	free(kernel);
}

/* Does this call take something away?  New RAM may be anything before it. */
static bool restricts(const struct plan_call *call)
{
	for (uint64_t gfn = call->gfn; gfn < call->gfn + call->n_pages; gfn++)
		if (kernel[gfn] & ~call->attributes)
			return true;
	return false;
}

/* Carries out a part; returns whether its last call was one that relaxes. */
static bool carry_out_part(uint64_t max_pages, bool has_relaxed)
{
	for (size_t i = 0; i < plan.n_calls; i++) {
		const struct plan_call *call = &plan.calls[i];
		bool is_restricting = restricts(call);

		EXPECT(call->n_pages && call->n_pages <= max_pages, "a call for %u pages",
		       (unsigned int)call->n_pages);
		EXPECT(!is_restricting || !has_relaxed, "call %zu restricts after one that relaxes",
		       i);
		has_relaxed |= !is_restricting;
		memset(kernel + call->gfn, call->attributes, call->n_pages);
	}
	plan_applied(&plan, policy, 0, plan.n_calls, false, 0, &unknown);
	n_calls += plan.n_calls;
	return has_relaxed;
}

/* In steps, for which it takes several to find a part. */
static void next_part(uint64_t max_pages)
{
	while (!plan_look(&plan, policy, &touched, max_pages, 10))
		ck_assert_uint_eq(plan.n_calls, 0);
}

/* Plans for all that was touched and carries it out; returns the number of parts. */
static unsigned int carry_out(uint64_t max_pages)
{
	bool has_relaxed = false;
	unsigned int n_parts = 0;

	n_calls = 0;
	page_ranges_normalize(&touched);
	plan_make(&plan, policy, &touched, max_pages);
	for (; plan.n_calls; next_part(max_pages)) {
		/* About as long as it may be: one look may find a leaf full of them. */
		EXPECT(plan.n_calls <= 2 * PLAN_PART_CALLS, "a part of %zu calls", plan.n_calls);
		has_relaxed = carry_out_part(max_pages, has_relaxed);
		n_parts++;
	}
	plan_continue(&plan, policy, &touched,
		      max_pages); /* there is no more, however often asked */
	ck_assert_uint_eq(plan.n_calls, 0);
	page_ranges_clear(&touched);
	for (uint64_t gfn = 0; gfn < N_PAGES; gfn++)
		EXPECT(kernel[gfn] == fold_effective_at(policy, &policy->views[0], gfn) &&
			       attribute_map_get(&policy->views[0].applied, gfn) == kernel[gfn],
		       "page 0x%x is 0x%x", (unsigned int)gfn, kernel[gfn]);
	return n_parts;
}

/* Without the checks of policy-checks.h, which look at everything each time. */
static void protect_every_other(uint64_t first, uint8_t protection)
{
	struct policy_undo_log *log = policy_undo_log_new();

	for (uint64_t gfn = first; gfn < N_PAGES; gfn += 2) {
		struct policy_element element = protect(1, KVMATTR_ALL_LOWER, protection, gfn, 1);

		EXPECT(policy_apply(policy, &owner, &element, log, &touched, refusal_text,
				    sizeof(refusal_text)) == KVMATTR_OK,
		       "%s", refusal_text);
	}
	policy_undo_log_free(log);
}

START_TEST(a_plan_of_many_calls_comes_in_parts_and_none_restricts_after_one_that_relaxes)
{
	carry_out(1u << 20);
	protect_every_other(0, KVMATTR_R);
	ck_assert_uint_ge(carry_out(1u << 20), 2);
	ck_assert_uint_eq(n_calls, N_PAGES / 2);
	/* Half of the calls relax, half restrict, page by page in turn. */
	protect_every_other(0, KVMATTR_RWX);
	protect_every_other(1, KVMATTR_RX);
	ck_assert_uint_ge(carry_out(1u << 20), 4);
	ck_assert_uint_eq(n_calls, N_PAGES);
	/* One element makes as long a plan. */
	apply(enable(2, KVMATTR_RW, false));
	ck_assert_uint_ge(carry_out(1u << 20), 2);
	ck_assert_uint_eq(n_calls, N_PAGES);
	apply(reset_layer(2));
	ck_assert_uint_ge(carry_out(1u << 20), 2);
	ck_assert_uint_eq(n_calls, N_PAGES);
}
END_TEST

START_TEST(a_run_that_takes_many_calls_comes_in_parts_too)
{
	static const uint64_t limits[] = { 1, 2, 3 };
	uint64_t max_pages = limits[_i], n_at_least = (N_PAGES + max_pages - 1) / max_pages;
	unsigned int n_parts = carry_out(max_pages); /* it became RAM: unknown */

	ck_assert_uint_ge(n_parts, _i < 2 ? 2 : 1);
	ck_assert_uint_ge(n_calls, n_at_least);
	ck_assert_uint_lt(n_calls, n_at_least + n_parts); /* a part's end may cut one */
	apply(protect(1, KVMATTR_ALL_LOWER, KVMATTR_RX, 0, N_PAGES));
	n_parts = carry_out(max_pages);
	ck_assert_uint_ge(n_calls, n_at_least);
	ck_assert_uint_lt(n_calls, n_at_least + n_parts);
	apply(protect(1, KVMATTR_ALL_LOWER, KVMATTR_RX, 0, N_PAGES));
	ck_assert_uint_eq(carry_out(max_pages), 0);
}
END_TEST

START_TEST(pages_that_are_as_they_are_to_be_lengthen_a_call_but_never_begin_or_end_one)
{
	carry_out(100);
	apply(protect(1, KVMATTR_ALL_LOWER, KVMATTR_R, 10, 1));
	apply(protect(1, KVMATTR_ALL_LOWER, KVMATTR_R, 15, 10));
	carry_out(100);
	ck_assert_uint_eq(n_calls, 2);
	apply(protect(1, KVMATTR_ALL_LOWER, KVMATTR_R, 0, 40));
	carry_out(100); /* 0 to 39, with those in it */
	ck_assert_uint_eq(n_calls, 1);
	apply(protect(1, KVMATTR_ALL_LOWER, KVMATTR_R, 0, 45));
	page_ranges_normalize(&touched);
	plan_make(&plan, policy, &touched, 100);
	ck_assert_uint_eq(plan.n_calls, 1);
	ck_assert_uint_eq(plan.calls[0].gfn, 40);
	ck_assert_uint_eq(plan.calls[0].n_pages, 5);
	carry_out(100);
	/* Two pages far apart, and between them only such as need nothing. */
	apply(protect(1, KVMATTR_ALL_LOWER, KVMATTR_RX, 1001, 998));
	carry_out(1000);
	apply(protect(1, KVMATTR_ALL_LOWER, KVMATTR_RX, 1000, 1000));
	carry_out(100);
	ck_assert_uint_eq(n_calls, 2);
	ck_assert_uint_eq(kernel[1000], KVMATTR_RX);
	ck_assert_uint_eq(kernel[1999], KVMATTR_RX);
}
END_TEST

START_TEST(a_plan_anew_tells_every_page_once_whatever_kvm_holds)
{
	struct page_ranges pages = { 0 };
	bool has_relaxed = false;
	unsigned int n_parts = 0;

	carry_out(1u << 20);
	protect_every_other(0, KVMATTR_R);
	carry_out(1u << 20);
	ck_assert_uint_eq(carry_out(1u << 20), 0);
	memset(kernel, KVMATTR_RWX, N_PAGES);
	page_ranges_add(&pages, 0, N_PAGES);
	n_calls = 0;
	plan_begin(&plan, true);
	plan_continue(&plan, policy, &pages, 1u << 20);
	for (; plan.n_calls; plan_continue(&plan, policy, &pages, 1u << 20)) {
		has_relaxed = carry_out_part(1u << 20, has_relaxed);
		n_parts++;
	}
	page_ranges_destroy(&pages);
	ck_assert_uint_ge(n_parts, 4);
	ck_assert_uint_eq(n_calls, N_PAGES);
	for (uint64_t gfn = 0; gfn < N_PAGES; gfn++)
		ck_assert_uint_eq(kernel[gfn], fold_effective_at(policy, &policy->views[0], gfn));
}
END_TEST

int main(void)
{
	TCase *parts = tcase_create("parts");

	tcase_add_checked_fixture(parts, start, stop);
	tcase_add_test(
		parts,
		a_plan_of_many_calls_comes_in_parts_and_none_restricts_after_one_that_relaxes);
	tcase_add_loop_test(parts, a_run_that_takes_many_calls_comes_in_parts_too, 0, 3);
	tcase_add_test(parts,
		       pages_that_are_as_they_are_to_be_lengthen_a_call_but_never_begin_or_end_one);
	tcase_add_test(parts, a_plan_anew_tells_every_page_once_whatever_kvm_holds);
	return seeded_suite_run("plan", (TCase *[]){ parts, NULL });
}
