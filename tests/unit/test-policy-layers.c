/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The policy's rules about layers, one by one: who may change them, what may be said, what it
 * amounts to.
 */
#include "tests/unit/policy-checks.h"
#include "tests/unit/seeded-suite.h"

#include <string.h>

#define ALL KVMATTR_ALL_LOWER

/* ---- Who may --------------------------------------------------------------------------------- */

START_TEST(an_agent_changes_the_layers_up_to_its_own_and_none_above)
{
	struct policy_actor agent = agent_of((uint8_t)_i, 0);

	checks_start(KVMATTR_ABI_DENY, 1);
	checks_add_ram(false);
	for (uint8_t k = 1; k < KVMATTR_N_VTLS; k++) {
		enum kvmattr_status status = k <= _i ? KVMATTR_OK : KVMATTR_ACCESS_DENIED;

		expect(agent, enable(k, KVMATTR_RWX, false), status);
		if (status)
			apply(enable(k, KVMATTR_RWX, false));
		expect(agent, protect(k, ALL, KVMATTR_R, k, 1), status);
		expect_imposed(k, 0, k, 1, status ? KVMATTR_RWX : KVMATTR_R);
		expect(agent, reset_layer(k), status);
		ck_assert_int_eq(policy->layers[k].enabled, status != KVMATTR_OK);
	}
}
END_TEST

START_TEST(the_owner_changes_every_layer)
{
	checks_add_ram(false);
	for (uint8_t k = 1; k < KVMATTR_N_VTLS; k++) {
		apply(enable(k, KVMATTR_RWX, false));
		apply(protect(k, 1, KVMATTR_RX, 7, 1));
		expect_imposed(k, 0, 7, 1, KVMATTR_RX);
	}
	expect_effective(0, 7, 1, KVMATTR_RX);
	for (uint8_t k = 1; k < KVMATTR_N_VTLS; k++)
		apply(reset_layer(k));
	expect_effective(0, 7, 1, KVMATTR_RWX);
}
END_TEST

START_TEST(only_vtls_1_to_15_impose)
{
	static const uint8_t layers[] = { 0, 16, 255 };

	checks_add_ram(false);
	refuse(enable(layers[_i], KVMATTR_RWX, false), KVMATTR_INVALID_PARAMETER);
	refuse(protect(layers[_i], ALL, KVMATTR_R, 0, 1), KVMATTR_INVALID_PARAMETER);
	refuse(reset_layer(layers[_i]), KVMATTR_INVALID_PARAMETER);
}
END_TEST

/* ---- Enabling -------------------------------------------------------------------------------- */

START_TEST(a_layer_has_to_be_enabled_before_it_is_changed)
{
	checks_add_ram(false);
	apply(enable(2, KVMATTR_RWX, false));
	refuse(protect(1, ALL, KVMATTR_R, 0, 1), KVMATTR_INVALID_VTL_STATE);
	refuse(reset_layer(1), KVMATTR_INVALID_VTL_STATE);
	expect_effective(0, 0, RAM_PAGES, KVMATTR_RWX);
}
END_TEST

START_TEST(a_default_stands_until_the_layer_is_reset)
{
	checks_add_ram(false);
	apply(enable(1, KVMATTR_RX, false));
	refuse(enable(1, KVMATTR_RX, false), KVMATTR_INVALID_VTL_STATE);
	refuse(enable(1, KVMATTR_RW, true), KVMATTR_INVALID_VTL_STATE);
	expect_effective(0, 0, RAM_PAGES, KVMATTR_RX);
	apply(reset_layer(1));
	expect_effective(0, 0, RAM_PAGES, KVMATTR_RWX);
	apply(enable(1, KVMATTR_RW, true));
	expect_effective(0, 0, RAM_PAGES, KVMATTR_RW);
}
END_TEST

START_TEST(a_default_holds_for_ram_that_has_no_entry)
{
	checks_add_ram(false);
	apply(enable(1, KVMATTR_R, false));
	apply(protect(1, 1, KVMATTR_RWX, 600, 10));
	expect_effective(0, 0, 600, KVMATTR_R);
	expect_effective(0, 600, 10, KVMATTR_RWX);
	expect_effective(0, 610, RAM_PAGES - 610, KVMATTR_R);
	expect_effective(0, RAM_PAGES, 100, KVMATTR_RWX); /* not RAM */
	expect_effective(1, 0, RAM_PAGES, KVMATTR_RWX);   /* not below the layer */
	/* Nor does an entry that says the same as the default go away with it. */
	apply(protect(1, 1, KVMATTR_R, 5, 1));
	ck_assert_uint_eq(attribute_map_get(policy->layers[1].restricted[0], 5),
			  LAYER_HAS_ENTRY | KVMATTR_R);
}
END_TEST

START_TEST(enabling_a_layer_that_allows_all_touches_nothing)
{
	checks_add_ram(false);
	apply(enable(1, KVMATTR_RWX, false));
	expect_touched(0, 0);
	apply(enable(2, KVMATTR_RW, false));
	expect_touched(0, KVMATTR_GFN_LIMIT);
}
END_TEST

/* ---- Whom a layer restricts -------------------------------------------------------------------- */

START_TEST(changing_one_layer_never_changes_another)
{
	checks_add_ram(false);
	apply(enable(1, KVMATTR_RX, false));
	apply(enable(2, KVMATTR_RWX, false));
	apply(protect(1, ALL, KVMATTR_RWX, 0, 1000));
	apply(protect(2, ALL, KVMATTR_RW, 500, 1000));
	expect_imposed(1, 0, 0, 1000, KVMATTR_RWX);
	expect_imposed(1, 0, 1000, 1100, KVMATTR_RX);
	expect_imposed(2, 0, 500, 1000, KVMATTR_RW);
	expect_imposed(2, 1, 500, 1000, KVMATTR_RW);
	expect_imposed(2, 0, 1500, 600, KVMATTR_RWX);
	/* Each view gets the intersection of what the layers above it allow. */
	expect_effective(0, 0, 500, KVMATTR_RWX);
	expect_effective(0, 500, 500, KVMATTR_RW);
	expect_effective(0, 1000, 500, KVMATTR_R);
	expect_effective(0, 1500, 600, KVMATTR_RX);
	expect_effective(1, 500, 1000, KVMATTR_RW);
	expect_effective(2, 0, RAM_PAGES, KVMATTR_RWX);
	apply(reset_layer(1));
	expect_imposed(2, 0, 500, 1000, KVMATTR_RW);
	expect_effective(0, 500, 1000, KVMATTR_RW);
	expect_effective(0, 1500, 600, KVMATTR_RWX);
}
END_TEST

START_TEST(a_layer_restricts_those_it_names_and_no_others)
{
	checks_add_ram(false);
	apply(enable(2, KVMATTR_RWX, false));
	apply(protect(2, 1u << 0, KVMATTR_R, 10, 1));
	apply(protect(2, 1u << 1, KVMATTR_RX, 20, 1));
	apply(protect(2, 1u << 0 | 1u << 1, KVMATTR_RW, 30, 1));
	apply(protect(2, ALL, KVMATTR_NONE, 40, 1));
	expect_effective(0, 10, 1, KVMATTR_R);
	expect_effective(1, 10, 1, KVMATTR_RWX);
	expect_effective(0, 20, 1, KVMATTR_RWX);
	expect_effective(1, 20, 1, KVMATTR_RX);
	expect_effective(0, 30, 1, KVMATTR_RW);
	expect_effective(1, 30, 1, KVMATTR_RW);
	expect_effective(0, 40, 1, KVMATTR_NONE);
	expect_effective(1, 40, 1, KVMATTR_NONE);
	expect_effective(2, 0, RAM_PAGES, KVMATTR_RWX);
}
END_TEST

START_TEST(a_layer_restricts_none_that_is_not_below_it)
{
	checks_add_ram(false);
	apply(enable(1, KVMATTR_RWX, false));
	apply(enable(2, KVMATTR_RWX, false));
	refuse(protect(1, 0, KVMATTR_R, 0, 1), KVMATTR_INVALID_PARAMETER);
	refuse(protect(1, 1u << 1, KVMATTR_R, 0, 1), KVMATTR_INVALID_PARAMETER);
	refuse(protect(2, 1u << 0 | 1u << 2, KVMATTR_R, 0, 1), KVMATTR_INVALID_PARAMETER);
	refuse(protect(1, 0xfffe, KVMATTR_R, 0, 1), KVMATTR_INVALID_PARAMETER);
	refuse(protect(2, 1u << 15, KVMATTR_R, 0, 1), KVMATTR_INVALID_PARAMETER);
}
END_TEST

START_TEST(a_vtl_without_a_view_cannot_be_restricted_by_name)
{
	checks_add_ram(false);
	apply(enable(5, KVMATTR_RWX, false));
	refuse(protect(5, 1u << 3, KVMATTR_R, 0, 1), KVMATTR_INVALID_VTL_STATE);
	refuse(protect(5, 0x1f, KVMATTR_R, 0, 1), KVMATTR_INVALID_VTL_STATE);
	apply(protect(5, 0x7, KVMATTR_R, 0, 1));
	/* "All lower" are those that have one. */
	apply(protect(5, ALL, KVMATTR_RX, 0, 1));
	for (unsigned int t = 0; t < 3; t++)
		expect_effective(t, 0, 1, KVMATTR_RX);
}
END_TEST

/* ---- Which protections there are --------------------------------------------------------------- */

/* What the specification's text makes of a protection: the one imposed, or why there is none. */
static int without_mbec(unsigned int value, enum kvmattr_status *ret_status)
{
	bool reads = value & 1, writes = value & 2, executes = value & 4;

	*ret_status = KVMATTR_INVALID_PARAMETER;
	if (value > 0xf || ((writes || executes) && !reads))
		return -1;
	*ret_status = KVMATTR_OK;
	return (reads ? 1 : 0) + (writes ? 2 : 0) + (executes ? 12 : 0);
}

START_TEST(without_mbec_kernel_execute_governs_both_and_user_execute_is_ignored)
{
	enum kvmattr_status status;
	int imposed = without_mbec((unsigned int)_i, &status);

	checks_add_ram(false);
	apply(enable(1, KVMATTR_RWX, false));
	expect(owner, protect(1, 1, (uint8_t)_i, 3, 1), status);
	if (!status)
		expect_effective(0, 3, 1, (uint8_t)imposed);
	expect(owner, enable(2, (uint8_t)_i, false), status);
	if (!status)
		expect_effective(1, 3, 1, (uint8_t)imposed);
}
END_TEST

START_TEST(with_mbec_user_execute_counts_and_no_kvm_tells_it_from_kernel_execute)
{
	/* none, r, w, rw, then with kernel execute, user execute, both */
	static const enum kvmattr_status statuses[16] = {
		KVMATTR_OK,
		KVMATTR_OK,
		KVMATTR_INVALID_PARAMETER,
		KVMATTR_OK,
		KVMATTR_INVALID_PARAMETER,
		KVMATTR_INVALID_PARAMETER,
		KVMATTR_INVALID_PARAMETER,
		KVMATTR_INVALID_PARAMETER,
		KVMATTR_INVALID_PARAMETER,
		KVMATTR_UNSUPPORTED,
		KVMATTR_INVALID_PARAMETER,
		KVMATTR_UNSUPPORTED,
		KVMATTR_INVALID_PARAMETER,
		KVMATTR_OK,
		KVMATTR_INVALID_PARAMETER,
		KVMATTR_OK,
	};
	enum kvmattr_status status = _i < 16 ? statuses[_i] : KVMATTR_INVALID_PARAMETER;

	checks_add_ram(false);
	apply(enable(1, KVMATTR_RWX, true));
	expect(owner, protect(1, 1, (uint8_t)_i, 3, 1), status);
	if (!status)
		expect_effective(0, 3, 1, (uint8_t)_i);
	expect(owner, enable(2, (uint8_t)_i, true), status);
}
END_TEST

START_TEST(mbec_is_chosen_when_a_layer_is_enabled_and_nowhere_else)
{
	struct policy_element element = protect(1, 1, KVMATTR_R, 0, 1);

	checks_add_ram(false);
	apply(enable(1, KVMATTR_RWX, true));
	element.mbec = true;
	refuse(element, KVMATTR_INVALID_PARAMETER);
	element = reset_layer(1);
	element.mbec = true;
	refuse(element, KVMATTR_INVALID_PARAMETER);
	/* Nor does it outlive the layer. */
	apply(reset_layer(1));
	apply(enable(1, KVMATTR_RWX, false));
	apply(protect(1, 1, KVMATTR_READ | KVMATTR_KERNEL_EXECUTE, 0, 1));
	expect_effective(0, 0, 1, KVMATTR_RX);
}
END_TEST

/* ---- What the kernel cannot enforce ------------------------------------------------------------ */

/* Of none, r, rx, rw, rwx. */
static const struct {
	enum kvmattr_abi abi;
	bool can[5];
	bool can_on_private[5];
} enforceable[] = {
	{ KVMATTR_ABI_MAINLINE, { 0, 0, 0, 0, 1 }, { 0, 0, 0, 0, 1 } },
	{ KVMATTR_ABI_DENY, { 1, 1, 1, 1, 1 }, { 0, 0, 0, 0, 1 } },
	{ KVMATTR_ABI_V10, { 0, 1, 1, 1, 1 }, { 0, 1, 1, 1, 1 } },
	{ KVMATTR_ABI_V10NA, { 1, 1, 1, 1, 1 }, { 0, 1, 1, 1, 1 } },
};
static const uint8_t five[] = { KVMATTR_NONE, KVMATTR_R, KVMATTR_RX, KVMATTR_RW, KVMATTR_RWX };

static enum kvmattr_status if_possible(bool can)
{
	return can ? KVMATTR_OK : KVMATTR_UNSUPPORTED;
}

START_TEST(a_protection_that_the_kernel_cannot_enforce_is_refused)
{
	for (size_t p = 0; p < N(five); p++) {
		checks_start(enforceable[_i].abi, 2);
		checks_add_ram(false);
		apply(pages_update(KVMATTR_SET_VISIBILITY, 1, 1000, 1));
		apply(enable(1, KVMATTR_RWX, false));
		expect(owner, protect(1, ALL, five[p], 0, 1000),
		       if_possible(enforceable[_i].can[p]));
		expect(owner, protect(1, ALL, five[p], 1000, 1),
		       if_possible(enforceable[_i].can_on_private[p]));
		expect(owner, protect(1, ALL, five[p], 900, 200),
		       if_possible(enforceable[_i].can[p] && enforceable[_i].can_on_private[p]));
	}
}
END_TEST

START_TEST(a_default_that_the_kernel_cannot_enforce_is_refused)
{
	for (size_t p = 0; p < N(five); p++) {
		checks_start(enforceable[_i].abi, 2);
		checks_add_ram(false);
		expect(owner, enable(1, five[p], false), if_possible(enforceable[_i].can[p]));
		checks_start(enforceable[_i].abi, 2);
		checks_add_ram(true);
		expect(owner, enable(1, five[p], false),
		       if_possible(enforceable[_i].can[p] && enforceable[_i].can_on_private[p]));
	}
}
END_TEST

START_TEST(memory_becomes_private_only_where_the_kernel_can_enforce_its_protection_then)
{
	for (size_t p = 0; p < N(five); p++) {
		checks_start(enforceable[_i].abi, 2);
		checks_add_ram(false);
		if (!enforceable[_i].can[p])
			continue;
		apply(enable(1, KVMATTR_RWX, false));
		apply(protect(1, ALL, five[p], 700, 1));
		expect(owner, pages_update(KVMATTR_SET_VISIBILITY, 1, 0, RAM_PAGES),
		       if_possible(enforceable[_i].can_on_private[p]));
		if (enforceable[_i].can_on_private[p])
			expect_effective(0, 700, 1, five[p] | KVMATTR_PRIVATE);
	}
}
END_TEST

START_TEST(ram_is_added_only_where_the_kernel_can_enforce_the_defaults)
{
	for (size_t p = 0; p < N(five); p++) {
		checks_start(enforceable[_i].abi, 2);
		if (!enforceable[_i].can[p])
			continue;
		apply(enable(1, five[p], false));
		expect(owner, pages_update(KVMATTR_ADD_RAM, 1, 0, 10),
		       if_possible(enforceable[_i].can_on_private[p]));
		apply(pages_update(KVMATTR_ADD_RAM, 0, 10, 10));
		expect_effective(0, 10, 10, five[p]);
	}
}
END_TEST

START_TEST(each_view_has_the_dialect_of_its_own_kernel)
{
	struct view views[2] = { { .vtl = 0, .dialect = probed_dialect(KVMATTR_ABI_DENY) },
				 { .vtl = 1, .dialect = probed_dialect(KVMATTR_ABI_V10) } };

	checks_start_with(views, 2);
	checks_add_ram(false);
	apply(enable(2, KVMATTR_RWX, false));
	apply(protect(2, 1u << 0, KVMATTR_NONE, 0, 1));
	refuse(protect(2, 1u << 1, KVMATTR_NONE, 0, 1), KVMATTR_UNSUPPORTED);
	refuse(protect(2, ALL, KVMATTR_NONE, 0, 1), KVMATTR_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(refusal_text, "v10"));
	refuse(enable(3, KVMATTR_NONE, false), KVMATTR_UNSUPPORTED);
	apply(enable(1, KVMATTR_NONE, false));
}
END_TEST

/* ---- Who denies an access ----------------------------------------------------------------------- */

static void expect_denied(uint64_t gfn, unsigned int access, uint16_t denying, uint8_t layer)
{
	struct fold_explanation explanation = fold_explain(policy, &policy->views[0], gfn, access);

	ck_assert_uint_eq(explanation.denying, denying);
	ck_assert_uint_eq(explanation.layer, layer);
}

START_TEST(an_access_is_explained_by_all_that_deny_it_and_the_highest_of_them)
{
	checks_add_ram(false);
	apply(enable(1, KVMATTR_RWX, false));
	apply(enable(2, KVMATTR_RX, false));
	apply(enable(3, KVMATTR_RWX, false));
	apply(protect(1, 1, KVMATTR_R, 5, 1));
	apply(protect(3, 1, KVMATTR_RW, 5, 1));
	expect_denied(5, KVMATTR_READ, 0, 0);
	expect_denied(5, KVMATTR_WRITE, 1u << 1 | 1u << 2, 2);
	expect_denied(5, KVMATTR_EXECUTE, 1u << 1 | 1u << 3, 3);
	expect_denied(5, KVMATTR_WRITE | KVMATTR_EXECUTE, 1u << 1 | 1u << 2 | 1u << 3, 3);
	expect_denied(6, KVMATTR_WRITE, 1u << 2, 2);
	expect_denied(RAM_PAGES, KVMATTR_WRITE, 0, 0); /* no layer is about what is no RAM */
}
END_TEST

START_TEST(an_update_is_counted_for_the_views_that_it_may_change)
{
	struct policy_element element = protect(2, ALL, KVMATTR_R, 0, 1);

	ck_assert_uint_eq(policy_count_affected_views(policy, &element), 2);
	element.restricted = 1u << 1;
	ck_assert_uint_eq(policy_count_affected_views(policy, &element), 1);
	element = protect(1, ALL, KVMATTR_R, 0, 1);
	ck_assert_uint_eq(policy_count_affected_views(policy, &element), 1);
	element = pages_update(KVMATTR_ADD_RAM, 0, 0, 1);
	ck_assert_uint_eq(policy_count_affected_views(policy, &element), 3);
}
END_TEST

int main(void)
{
	TCase *who = policy_checks_make_case("who");
	TCase *layers = policy_checks_make_case("layers");
	TCase *protections = policy_checks_make_case("protections");
	TCase *kernels = policy_checks_make_case("kernels");

	tcase_add_loop_test(who, an_agent_changes_the_layers_up_to_its_own_and_none_above, 0,
			    KVMATTR_N_VTLS);
	tcase_add_test(who, the_owner_changes_every_layer);
	tcase_add_loop_test(who, only_vtls_1_to_15_impose, 0, 3);
	tcase_add_test(layers, a_layer_has_to_be_enabled_before_it_is_changed);
	tcase_add_test(layers, a_default_stands_until_the_layer_is_reset);
	tcase_add_test(layers, a_default_holds_for_ram_that_has_no_entry);
	tcase_add_test(layers, enabling_a_layer_that_allows_all_touches_nothing);
	tcase_add_test(layers, changing_one_layer_never_changes_another);
	tcase_add_test(layers, a_layer_restricts_those_it_names_and_no_others);
	tcase_add_test(layers, a_layer_restricts_none_that_is_not_below_it);
	tcase_add_test(layers, a_vtl_without_a_view_cannot_be_restricted_by_name);
	tcase_add_test(layers, an_access_is_explained_by_all_that_deny_it_and_the_highest_of_them);
	tcase_add_test(layers, an_update_is_counted_for_the_views_that_it_may_change);
	tcase_add_loop_test(protections,
			    without_mbec_kernel_execute_governs_both_and_user_execute_is_ignored, 0,
			    18);
	tcase_add_loop_test(protections,
			    with_mbec_user_execute_counts_and_no_kvm_tells_it_from_kernel_execute,
			    0, 18);
	tcase_add_test(protections, mbec_is_chosen_when_a_layer_is_enabled_and_nowhere_else);
	tcase_add_loop_test(kernels, a_protection_that_the_kernel_cannot_enforce_is_refused, 0,
			    N(enforceable));
	tcase_add_loop_test(kernels, a_default_that_the_kernel_cannot_enforce_is_refused, 0,
			    N(enforceable));
	tcase_add_loop_test(
		kernels,
		memory_becomes_private_only_where_the_kernel_can_enforce_its_protection_then, 0,
		N(enforceable));
	tcase_add_loop_test(kernels, ram_is_added_only_where_the_kernel_can_enforce_the_defaults, 0,
			    N(enforceable));
	tcase_add_test(kernels, each_view_has_the_dialect_of_its_own_kernel);
	return seeded_suite_run("policy-layers",
				(TCase *[]){ who, layers, protections, kernels, NULL });
}
