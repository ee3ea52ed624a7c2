/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The policy's rules about pages, one by one: RAM, visibility, locks, resets, and what an update
 * may not hold.
 */
#include "tests/unit/policy-checks.h"
#include "tests/unit/seeded-suite.h"

#define ALL     KVMATTR_ALL_LOWER
#define PRIVATE KVMATTR_PRIVATE

static struct policy_element make_private(uint64_t gfn, uint64_t n_pages)
{
	return pages_update(KVMATTR_SET_VISIBILITY, 1, gfn, n_pages);
}

static struct policy_element make_shared(uint64_t gfn, uint64_t n_pages)
{
	return pages_update(KVMATTR_SET_VISIBILITY, 0, gfn, n_pages);
}

static struct policy_element lock(uint64_t gfn, uint64_t n_pages)
{
	return pages_update(KVMATTR_LOCK, 0, gfn, n_pages);
}

static struct policy_element unlock(uint64_t gfn, uint64_t n_pages)
{
	return pages_update(KVMATTR_UNLOCK, 0, gfn, n_pages);
}

static struct policy_element add_ram(uint64_t gfn, uint64_t n_pages)
{
	return pages_update(KVMATTR_ADD_RAM, 0, gfn, n_pages);
}

static struct policy_element remove_ram(uint64_t gfn, uint64_t n_pages)
{
	return pages_update(KVMATTR_REMOVE_RAM, 0, gfn, n_pages);
}

static const struct policy_element reset_vm = { .kind = KVMATTR_RESET_VM };

/* ---- What an update may hold ------------------------------------------------------------------- */

static const enum kvmattr_update_kind on_pages[] = { KVMATTR_PROTECT, KVMATTR_SET_VISIBILITY,
						     KVMATTR_LOCK,    KVMATTR_UNLOCK,
						     KVMATTR_ADD_RAM, KVMATTR_REMOVE_RAM };
static const enum kvmattr_update_kind without_pages[] = { KVMATTR_ENABLE_LAYER, KVMATTR_RESET_LAYER,
							  KVMATTR_RESET_VM };

static struct policy_element valid(enum kvmattr_update_kind kind)
{
	struct policy_element element = { .kind = kind };

	if (kind == KVMATTR_PROTECT || kind == KVMATTR_RESET_LAYER)
		element.layer = 1;
	if (kind == KVMATTR_ENABLE_LAYER) {
		element.layer = 2;
		element.value = KVMATTR_RWX; /* what no locked page minds */
	}
	if (kind == KVMATTR_PROTECT)
		element.restricted = ALL;
	if (kind == KVMATTR_ADD_RAM)
		element.range.gfn = RAM_PAGES;
	if (kind <= KVMATTR_REMOVE_RAM)
		element.range.n_pages = 1;
	return element;
}

/* So that only the field under test can be what is wrong. */
static void start_for_any_kind(void)
{
	checks_add_ram(false);
	apply(enable(1, KVMATTR_RWX, false));
	apply(lock(100, 10));
}

START_TEST(pages_have_to_be_pages_of_guest_memory)
{
	static const struct kvmattr_range bad[] = {
		{ 0, 0 },
		{ KVMATTR_GFN_LIMIT, 1 },
		{ KVMATTR_GFN_LIMIT - 1, 2 },
		{ 0, KVMATTR_GFN_LIMIT + 1 },
		{ 1, UINT64_MAX },
		{ UINT64_MAX, 1 },
		{ UINT64_MAX, UINT64_MAX },
		{ 5, UINT64_MAX - 4 }, /* the end wraps to 0, */
		{ 5, UINT64_MAX - 3 }, /* and to 1 */
		{ UINT64_C(1) << 63, UINT64_C(1) << 63 },
	};
	struct policy_element element = valid(on_pages[_i]);

	start_for_any_kind();
	for (size_t i = 0; i < N(bad); i++) {
		element.range = bad[i];
		refuse(element, KVMATTR_INVALID_PARAMETER);
	}
}
END_TEST

START_TEST(pages_outside_of_ram_are_refused_with_all_that_comes_with_them)
{
	struct policy_element element = valid(on_pages[_i]);

	if (element.kind == KVMATTR_ADD_RAM)
		return; /* the other way round: ram_is_added_where_there_is_none */
	start_for_any_kind();
	apply(add_ram(RAM_PAGES + 10, 50));
	if (element.kind == KVMATTR_UNLOCK)
		apply(lock(RAM_PAGES - 5, 5));
	element.range = (struct kvmattr_range){ RAM_PAGES, 1 };
	refuse(element, KVMATTR_INVALID_PARAMETER);
	element.range = (struct kvmattr_range){ RAM_PAGES - 5, 6 };
	refuse(element, KVMATTR_INVALID_PARAMETER);
	element.range = (struct kvmattr_range){ RAM_PAGES + 9, 2 };
	refuse(element, KVMATTR_INVALID_PARAMETER);
	element.range = (struct kvmattr_range){ KVMATTR_GFN_LIMIT - 1, 1 };
	refuse(element, KVMATTR_INVALID_PARAMETER);
	element.range = (struct kvmattr_range){ RAM_PAGES - 5, 5 };
	apply(element);
}
END_TEST

START_TEST(an_update_about_no_pages_takes_none)
{
	struct policy_element element = valid(without_pages[_i]);

	start_for_any_kind();
	element.range.n_pages = 1;
	refuse(element, KVMATTR_INVALID_PARAMETER);
	element.range.n_pages = 0;
	apply(element);
}
END_TEST

START_TEST(fields_that_an_update_does_not_have_are_zero)
{
	enum kvmattr_update_kind kind = (enum kvmattr_update_kind)_i;
	struct policy_element element = valid(kind);
	bool has_layer = kind == KVMATTR_PROTECT || kind == KVMATTR_ENABLE_LAYER ||
			 kind == KVMATTR_RESET_LAYER;
	bool has_protection = kind == KVMATTR_PROTECT || kind == KVMATTR_ENABLE_LAYER;
	bool has_visibility = kind == KVMATTR_SET_VISIBILITY || kind == KVMATTR_ADD_RAM;

	start_for_any_kind();
	if (!has_layer) {
		element.layer = 1;
		refuse(element, KVMATTR_INVALID_PARAMETER);
	}
	element = valid(kind);
	if (kind != KVMATTR_PROTECT) {
		element.restricted = 1;
		refuse(element, KVMATTR_INVALID_PARAMETER);
	}
	element = valid(kind);
	if (!has_protection) {
		element.value = has_visibility ? 2 : 1;
		refuse(element, KVMATTR_INVALID_PARAMETER);
		element.value = 255;
		refuse(element, KVMATTR_INVALID_PARAMETER);
	}
	element = valid(kind);
	if (kind != KVMATTR_ENABLE_LAYER) {
		element.mbec = true;
		refuse(element, KVMATTR_INVALID_PARAMETER);
	}
	element = valid(kind);
	if (kind == KVMATTR_UNLOCK)
		element.range.gfn = 100;
	apply(element);
}
END_TEST

START_TEST(only_the_owner_changes_ram_and_locks_and_resets_the_vm)
{
	static const enum kvmattr_update_kind owners[] = { KVMATTR_LOCK, KVMATTR_UNLOCK,
							   KVMATTR_ADD_RAM, KVMATTR_REMOVE_RAM,
							   KVMATTR_RESET_VM };
	struct policy_element element = valid(owners[_i]);

	start_for_any_kind();
	if (element.kind == KVMATTR_UNLOCK)
		element.range.gfn = 100;
	expect(agent_of(15, WIRE_RIGHTS), element, KVMATTR_ACCESS_DENIED);
	apply(element);
}
END_TEST

/* ---- RAM ----------------------------------------------------------------------------------------- */

START_TEST(ram_is_added_where_there_is_none)
{
	apply(add_ram(10, 10));
	apply(add_ram(600, 10));
	refuse(add_ram(19, 1), KVMATTR_INVALID_PARAMETER);
	refuse(add_ram(0, 11), KVMATTR_INVALID_PARAMETER);
	refuse(add_ram(0, 2000), KVMATTR_INVALID_PARAMETER);
	apply(add_ram(20, 580));
	apply(add_ram(KVMATTR_GFN_LIMIT - 1, 1));
	ck_assert_uint_eq(policy->n_ram_pages, 601);
	ck_assert_uint_eq(policy->n_private_pages, 0);
}
END_TEST

START_TEST(what_kvm_holds_for_new_ram_is_not_known)
{
	apply(add_ram(10, 10));
	expect_touched(10, 10);
	for (unsigned int v = 0; v < policy->n_views; v++) {
		ck_assert_uint_eq(attribute_map_get(&policy->views[v].applied, 9), KVMATTR_RWX);
		ck_assert_uint_eq(attribute_map_get(&policy->views[v].applied, 10),
				  APPLIED_UNKNOWN);
		ck_assert_uint_eq(attribute_map_get(&policy->views[v].applied, 19),
				  APPLIED_UNKNOWN);
	}
}
END_TEST

START_TEST(new_ram_gets_the_defaults_of_all_layers)
{
	apply(enable(1, KVMATTR_RX, false));
	apply(enable(2, KVMATTR_RW, false));
	expect_effective(0, 0, 20, KVMATTR_RWX);
	apply(add_ram(5, 10));
	expect_effective(0, 5, 10, KVMATTR_R);
	expect_effective(1, 5, 10, KVMATTR_RW);
	expect_effective(2, 5, 10, KVMATTR_RWX);
	expect_effective(0, 15, 5, KVMATTR_RWX);
}
END_TEST

START_TEST(removed_ram_is_kvms_default_and_forgets_its_protections)
{
	checks_start(KVMATTR_ABI_V10, 3);
	checks_add_ram(true);
	apply(enable(1, KVMATTR_RWX, false));
	apply(enable(3, KVMATTR_RX, false));
	apply(protect(1, ALL, KVMATTR_R, 0, 600));
	page_ranges_clear(&touched);
	apply(remove_ram(500, 200));
	expect_touched(500, 200);
	ck_assert_uint_eq(policy->n_ram_pages, RAM_PAGES - 200);
	ck_assert_uint_eq(policy->n_private_pages, RAM_PAGES - 200);
	expect_effective(0, 0, 500, KVMATTR_R | PRIVATE);
	expect_effective(0, 500, 200, KVMATTR_RWX);
	expect_effective(0, 700, 1400, KVMATTR_RX | PRIVATE);
	apply(add_ram(500, 200));
	expect_effective(0, 500, 200, KVMATTR_RX);
}
END_TEST

/* ---- Visibility ---------------------------------------------------------------------------------- */

START_TEST(visibility_is_the_owners_or_an_agents_that_was_granted_it)
{
	checks_add_ram(false);
	expect(agent_of(15, 0), make_private(0, 1), KVMATTR_ACCESS_DENIED);
	expect_effective(0, 0, 1, KVMATTR_RWX);
	expect(agent_of(1, WIRE_RIGHT_VISIBILITY), make_private(0, 1), KVMATTR_OK);
	expect_effective(0, 0, 1, KVMATTR_RWX | PRIVATE);
	expect(agent_of(15, 0), make_shared(0, 1), KVMATTR_ACCESS_DENIED);
	apply(make_shared(0, 1));
	expect_effective(0, 0, 1, KVMATTR_RWX);
}
END_TEST

START_TEST(a_page_is_private_in_every_view_or_in_none)
{
	checks_add_ram(false);
	apply(make_private(510, 4));
	for (unsigned int t = 0; t < 3; t++) {
		expect_effective(t, 0, 510, KVMATTR_RWX);
		expect_effective(t, 510, 4, KVMATTR_RWX | PRIVATE);
		expect_effective(t, 514, 1500, KVMATTR_RWX);
	}
}
END_TEST

START_TEST(private_pages_are_counted)
{
	checks_add_ram(false);
	apply(make_private(10, 20));
	ck_assert_uint_eq(policy->n_private_pages, 20);
	apply(make_private(20, 20));
	ck_assert_uint_eq(policy->n_private_pages, 30);
	apply(make_shared(0, 15));
	ck_assert_uint_eq(policy->n_private_pages, 25);
	apply(make_shared(0, RAM_PAGES));
	ck_assert_uint_eq(policy->n_private_pages, 0);
}
END_TEST

START_TEST(private_becomes_shared_only_where_vtl_0_reads_and_writes)
{
	static const uint8_t protections[] = { KVMATTR_R, KVMATTR_RX, KVMATTR_RW, KVMATTR_RWX };
	uint8_t protection = protections[_i];
	bool can = (protection & KVMATTR_RW) == KVMATTR_RW;

	checks_start(KVMATTR_ABI_V10, 2);
	checks_add_ram(true);
	apply(enable(1, KVMATTR_RWX, false));
	apply(protect(1, ALL, protection, 700, 1));
	expect(owner, make_shared(700, 1), can ? KVMATTR_OK : KVMATTR_ACCESS_DENIED);
	expect(owner, make_shared(500, 300), can ? KVMATTR_OK : KVMATTR_ACCESS_DENIED);
	expect_effective(0, 700, 1, protection | (can ? 0 : PRIVATE));
}
END_TEST

START_TEST(what_other_views_may_do_does_not_matter_for_becoming_shared)
{
	checks_start(KVMATTR_ABI_V10, 2);
	checks_add_ram(true);
	apply(enable(2, KVMATTR_RWX, false));
	apply(protect(2, 1u << 1, KVMATTR_R, 5, 1));
	apply(make_shared(5, 1));
}
END_TEST

START_TEST(what_is_shared_already_may_be_shared_again_whatever_its_protection)
{
	checks_add_ram(false);
	apply(enable(1, KVMATTR_NONE, false));
	apply(make_shared(0, RAM_PAGES));
	expect_effective(0, 0, RAM_PAGES, KVMATTR_NONE);
}
END_TEST

START_TEST(protections_survive_both_conversions)
{
	checks_start(KVMATTR_ABI_V10, 2);
	checks_add_ram(false);
	apply(enable(1, KVMATTR_RWX, false));
	apply(protect(1, ALL, KVMATTR_RW, 5, 1));
	apply(protect(1, ALL, KVMATTR_RWX, 6, 1));
	apply(make_private(0, 10));
	expect_imposed(1, 0, 5, 1, KVMATTR_RW);
	expect_effective(0, 5, 1, KVMATTR_RW | PRIVATE);
	apply(make_shared(0, 10));
	expect_imposed(1, 0, 5, 1, KVMATTR_RW);
	expect_effective(0, 5, 1, KVMATTR_RW);
	ck_assert_uint_eq(attribute_map_get(policy->layers[1].restricted[0], 6),
			  LAYER_HAS_ENTRY | KVMATTR_RWX);
}
END_TEST

/* ---- Locks --------------------------------------------------------------------------------------- */

START_TEST(a_locked_page_is_changed_by_nobody)
{
	checks_add_ram(false);
	apply(enable(1, KVMATTR_RWX, false));
	apply(lock(100, 2));
	for (uint64_t gfn = 99; gfn <= 101; gfn++) {
		uint64_t n_pages = 102 - gfn;

		refuse(protect(1, ALL, KVMATTR_R, gfn, n_pages), KVMATTR_OPERATION_DENIED);
		refuse(make_private(gfn, n_pages), KVMATTR_OPERATION_DENIED);
		refuse(make_shared(gfn, n_pages), KVMATTR_OPERATION_DENIED);
		refuse(remove_ram(gfn, n_pages), KVMATTR_OPERATION_DENIED);
	}
	/* Even to what it already is, and its neighbours as ever. */
	refuse(protect(1, ALL, KVMATTR_RWX, 100, 1), KVMATTR_OPERATION_DENIED);
	apply(protect(1, ALL, KVMATTR_R, 99, 1));
	apply(make_private(102, 1));
	apply(remove_ram(103, 1));
}
END_TEST

START_TEST(a_layer_is_not_enabled_or_reset_if_a_locked_page_would_change)
{
	checks_add_ram(false);
	apply(enable(1, KVMATTR_RWX, false));
	apply(protect(1, ALL, KVMATTR_R, 600, 2));
	apply(lock(601, 1));
	refuse(enable(2, KVMATTR_RX, false), KVMATTR_OPERATION_DENIED);
	refuse(reset_layer(1), KVMATTR_OPERATION_DENIED);
	apply(pages_update(KVMATTR_UNLOCK, 0, 601, 1));
	apply(lock(602, 1));
	apply(reset_layer(1));
	refuse(enable(2, KVMATTR_RX, false), KVMATTR_OPERATION_DENIED);
	/* What changes no page is no matter of locks; and the owner's own reset takes them along. */
	apply(enable(2, KVMATTR_RWX, false));
	apply((struct policy_element){ .kind = KVMATTR_RESET_VM });
	apply(enable(2, KVMATTR_RX, false));
}
END_TEST

START_TEST(locks_are_counted_page_by_page)
{
	checks_add_ram(false);
	apply(enable(1, KVMATTR_RWX, false));
	apply(lock(100, 20));
	apply(lock(110, 20));
	apply(unlock(100, 20)); /* 110 to 119 had two */
	for (uint64_t gfn = 100; gfn < 130; gfn++)
		expect(owner, protect(1, ALL, KVMATTR_R, gfn, 1),
		       gfn < 110 ? KVMATTR_OK : KVMATTR_OPERATION_DENIED);
	refuse(unlock(109, 2), KVMATTR_INVALID_PARAMETER);
	apply(unlock(110, 20));
	apply(protect(1, ALL, KVMATTR_RX, 100, 30));
	refuse(unlock(110, 1), KVMATTR_INVALID_PARAMETER);
}
END_TEST

START_TEST(locks_that_end_here_and_there_free_just_those_pages)
{
	checks_add_ram(false);
	apply(enable(1, KVMATTR_RWX, false));
	apply(lock(0, RAM_PAGES));
	for (uint64_t gfn = 0; gfn < RAM_PAGES; gfn += 3)
		apply(lock(gfn, 1));
	apply(lock(1024, 512)); /* a whole leaf */
	apply(unlock(0, RAM_PAGES));
	for (uint64_t gfn = 0; gfn < RAM_PAGES; gfn++) {
		bool is_locked = gfn % 3 == 0 || (gfn >= 1024 && gfn < 1536);
		uint8_t page = attribute_map_get(&policy->pages, gfn);

		ck_assert_int_eq((page & PAGE_IS_LOCKED) != 0, is_locked);
	}
	apply(unlock(1024, 512));
	apply(protect(1, ALL, KVMATTR_R, 1, 2));
	refuse(protect(1, ALL, KVMATTR_R, 1023, 1), KVMATTR_OPERATION_DENIED);
	apply(protect(1, ALL, KVMATTR_R, 1024, 2));
}
END_TEST

START_TEST(a_page_is_locked_255_times_at_most)
{
	checks_add_ram(false);
	for (unsigned int i = 0; i < 255; i++)
		apply(lock(100, 1));
	refuse(lock(100, 1), KVMATTR_LIMIT_EXCEEDED);
	refuse(lock(0, RAM_PAGES), KVMATTR_LIMIT_EXCEEDED);
	apply(lock(101, 1));
	apply(unlock(100, 1));
	apply(lock(0, RAM_PAGES));
	refuse(lock(100, 1), KVMATTR_LIMIT_EXCEEDED);
}
END_TEST

START_TEST(a_lock_touches_no_page)
{
	checks_add_ram(false);
	apply(lock(0, 5));
	apply(unlock(0, 5));
	expect_touched(0, 0);
}
END_TEST

/* ---- Resets -------------------------------------------------------------------------------------- */

START_TEST(resetting_a_layer_takes_its_entries_and_its_default_and_nothing_else)
{
	checks_add_ram(false);
	apply(enable(1, KVMATTR_RX, false));
	apply(enable(2, KVMATTR_RWX, true));
	apply(protect(1, ALL, KVMATTR_NONE, 0, 10));
	apply(protect(2, ALL, KVMATTR_RW, 5, 10));
	page_ranges_clear(&touched);
	apply(reset_layer(1));
	expect_touched(0, KVMATTR_GFN_LIMIT);
	expect_effective(0, 0, 5, KVMATTR_RWX);
	expect_effective(0, 5, 10, KVMATTR_RW);
	expect_effective(0, 15, RAM_PAGES - 15, KVMATTR_RWX);
	expect_effective(1, 5, 10, KVMATTR_RW);
	ck_assert(policy->layers[2].mbec);
	/* Enabled anew, it does not remember. */
	apply(enable(1, KVMATTR_RWX, false));
	expect_effective(0, 0, 5, KVMATTR_RWX);
}
END_TEST

START_TEST(resetting_the_vm_takes_all_back_to_what_it_was_when_it_became_ram)
{
	checks_start(KVMATTR_ABI_V10, 3);
	checks_add_ram(false);
	apply(pages_update(KVMATTR_ADD_RAM, 1, RAM_PAGES, 100));
	apply(enable(1, KVMATTR_RX, false));
	apply(enable(2, KVMATTR_RWX, false));
	apply(protect(1, ALL, KVMATTR_RWX, 0, RAM_PAGES + 50));
	apply(protect(2, ALL, KVMATTR_R, 3, 1));
	apply(make_private(0, 3));
	apply(make_shared(RAM_PAGES, 10));
	apply(lock(2, 1000));
	page_ranges_clear(&touched);
	apply(reset_vm);
	expect_touched(0, KVMATTR_GFN_LIMIT);
	for (unsigned int t = 0; t < 3; t++) {
		expect_effective(t, 0, RAM_PAGES, KVMATTR_RWX);
		expect_effective(t, RAM_PAGES, 100, KVMATTR_RWX | PRIVATE);
	}
	ck_assert_uint_eq(policy->n_private_pages, 100);
	ck_assert_uint_eq(policy->n_ram_pages, RAM_PAGES + 100);
	for (uint8_t k = 1; k < KVMATTR_N_VTLS; k++)
		ck_assert(!policy->layers[k].enabled);
	refuse(unlock(2, 1), KVMATTR_INVALID_PARAMETER);
	apply(enable(1, KVMATTR_RWX, false));
	apply(protect(1, ALL, KVMATTR_R, 0, 100));
	apply(reset_vm);
	apply(reset_vm);
}
END_TEST

/* ---- What is told to KVM ------------------------------------------------------------------------- */

START_TEST(an_update_touches_its_pages_even_where_it_changes_nothing)
{
	checks_add_ram(false);
	apply(enable(1, KVMATTR_RWX, false));
	apply(protect(1, ALL, KVMATTR_R, 10, 20));
	expect_touched(10, 20);
	/* It may be that KVM was not yet brought to what stands there; the plan will find out. */
	apply(protect(1, ALL, KVMATTR_R, 10, 20));
	expect_touched(10, 20);
	apply(make_shared(10, 20));
	expect_touched(10, 20);
}
END_TEST

START_TEST(what_the_maps_hold_is_counted_as_memory)
{
	size_t before = policy_memory(policy);

	checks_add_ram(false);
	apply(enable(1, KVMATTR_RWX, false));
	for (uint64_t gfn = 0; gfn < 1024; gfn += 2)
		apply(protect(1, ALL, KVMATTR_R, gfn, 1));
	/* Two leaves at least, of a byte a page. */
	ck_assert_uint_ge(policy_memory(policy), before + 1024);
	ck_assert_uint_le(policy_memory(policy), before + 64 * 1024);
}
END_TEST

int main(void)
{
	TCase *form = policy_checks_make_case("form");
	TCase *ram = policy_checks_make_case("ram");
	TCase *visibility = policy_checks_make_case("visibility");
	TCase *locks = policy_checks_make_case("locks");
	TCase *resets = policy_checks_make_case("resets");

	tcase_add_loop_test(form, pages_have_to_be_pages_of_guest_memory, 0, N(on_pages));
	tcase_add_loop_test(form, pages_outside_of_ram_are_refused_with_all_that_comes_with_them, 0,
			    N(on_pages));
	tcase_add_loop_test(form, an_update_about_no_pages_takes_none, 0, N(without_pages));
	tcase_add_loop_test(form, fields_that_an_update_does_not_have_are_zero, 1,
			    KVMATTR_N_UPDATE_KINDS);
	tcase_add_loop_test(form, only_the_owner_changes_ram_and_locks_and_resets_the_vm, 0, 5);
	tcase_add_test(form, an_update_touches_its_pages_even_where_it_changes_nothing);
	tcase_add_test(ram, ram_is_added_where_there_is_none);
	tcase_add_test(ram, what_kvm_holds_for_new_ram_is_not_known);
	tcase_add_test(ram, new_ram_gets_the_defaults_of_all_layers);
	tcase_add_test(ram, removed_ram_is_kvms_default_and_forgets_its_protections);
	tcase_add_test(ram, what_the_maps_hold_is_counted_as_memory);
	tcase_add_test(visibility, visibility_is_the_owners_or_an_agents_that_was_granted_it);
	tcase_add_test(visibility, a_page_is_private_in_every_view_or_in_none);
	tcase_add_test(visibility, private_pages_are_counted);
	tcase_add_loop_test(visibility, private_becomes_shared_only_where_vtl_0_reads_and_writes, 0,
			    4);
	tcase_add_test(visibility, what_other_views_may_do_does_not_matter_for_becoming_shared);
	tcase_add_test(visibility,
		       what_is_shared_already_may_be_shared_again_whatever_its_protection);
	tcase_add_test(visibility, protections_survive_both_conversions);
	tcase_add_test(locks, a_locked_page_is_changed_by_nobody);
	tcase_add_test(locks, a_layer_is_not_enabled_or_reset_if_a_locked_page_would_change);
	tcase_add_test(locks, locks_are_counted_page_by_page);
	tcase_add_test(locks, locks_that_end_here_and_there_free_just_those_pages);
	tcase_add_test(locks, a_page_is_locked_255_times_at_most);
	tcase_add_test(locks, a_lock_touches_no_page);
	tcase_add_test(resets,
		       resetting_a_layer_takes_its_entries_and_its_default_and_nothing_else);
	tcase_add_test(resets, resetting_the_vm_takes_all_back_to_what_it_was_when_it_became_ram);
	return seeded_suite_run("policy-pages",
				(TCase *[]){ form, ram, visibility, locks, resets, NULL });
}
