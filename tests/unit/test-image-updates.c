/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A policy's image taken apart into updates: whatever a random history made of a policy, the
 * updates make the same of another with the same RAM, whatever that was before.
 */
#include "daemon/policy/image-updates.h"

#include "daemon/policy/image.h"
#include "tests/unit/policy-checks.h"
#include "tests/unit/policy-oracle.h"
#include "tests/unit/random-updates.h"
#include "tests/unit/seeded-suite.h"

#include <stdlib.h>
#include <string.h>

#define MAX_RANGES 64

static struct policy_undo_log *undo;
static unsigned int n_updates, n_detours, n_locks, n_layers, n_shared_views;

static enum kvmattr_status do_update(struct policy *to, const struct policy_element *element,
				     const struct kvmattr_range *ranges, uint32_t n, char *text)
{
	struct policy_element one = *element;
	enum kvmattr_status status = KVMATTR_OK;

	for (uint32_t i = 0; i < (n ? n : 1) && !status; i++) {
		if (n)
			one.range = ranges[i];
		status = policy_apply(to, &owner, &one, undo, &touched, text, 256);
	}
	policy_undo_log_clear(undo);
	page_ranges_clear(&touched);
	return status;
}

static void history(struct policy *of, unsigned int n, bool has_ram_changes, uint64_t *random)
{
	char text[256];

	for (unsigned int i = 0; i < n; i++) {
		struct policy_element element = random_element(random);
		bool is_of_ram =
			element.kind == KVMATTR_ADD_RAM || element.kind == KVMATTR_REMOVE_RAM;

		if (element.kind == KVMATTR_LOCK && random_one_in(random, 2))
			element.range.n_pages = 1 + random_below(random, 5);
		/* resets leave little to take apart */
		if ((element.kind == KVMATTR_RESET_VM || element.kind == KVMATTR_RESET_LAYER) &&
		    !random_one_in(random, 20))
			continue;
		if (has_ram_changes || !is_of_ram)
			(void)do_update(of, &element, NULL, 0, text);
	}
}

/* A policy with views of that mix and the RAM that another has, if there is one. */
static struct policy *new_policy(unsigned int mix, const struct policy *with_ram_of)
{
	struct view views[ORACLE_VIEWS];
	struct policy *made = policy_new(views, view_mix(mix, views));
	char text[256];

	for (uint64_t gfn = 0; with_ram_of && gfn < ORACLE_PAGES; gfn++) {
		uint8_t page = attribute_map_get(&with_ram_of->pages, gfn);
		struct policy_element element = { .kind = KVMATTR_ADD_RAM,
						  .value = !!(page & PAGE_WAS_PRIVATE),
						  .range = { gfn, 1 } };

		if (page & PAGE_IS_RAM)
			ck_assert_int_eq(do_update(made, &element, NULL, 0, text), KVMATTR_OK);
	}
	return made;
}

static void expect_same(const struct policy *a, const struct policy *b)
{
	struct policy_snapshot of_a = policy_snapshot_take(a, ORACLE_PAGES);
	struct policy_snapshot of_b = policy_snapshot_take(b, ORACLE_PAGES);
	struct image image_a = { 0 }, image_b = { 0 };

	ck_assert_msg(policy_snapshot_equal(&of_a, &of_b), "the policies differ");
	policy_image_write(a, &image_a);
	policy_image_write(b, &image_b);
	ck_assert_uint_eq(image_a.size, image_b.size);
	ck_assert_mem_eq(image_a.data, image_b.data, image_a.size);
	image_destroy(&image_a);
	image_destroy(&image_b);
	policy_snapshot_free(&of_a);
	policy_snapshot_free(&of_b);
}

static struct policy *read_back(const struct policy *of)
{
	struct image image = { 0 };
	struct policy *ret = NULL;
	size_t offset;
	char text[256] = "";

	policy_image_write(of, &image);
	ck_assert_msg(policy_image_read(image.data, image.size, 0, &ret, &offset, text,
					sizeof(text)) == 0,
		      "at %zu: %s", offset, text);
	image_destroy(&image);
	return ret;
}

/* Has the updates that make from done to to, at most max ranges in each. */
static void take_over(const struct policy *from, struct policy *to, uint32_t max)
{
	struct kvmattr_range ranges[MAX_RANGES];
	struct policy_element element;
	struct image_updates updates;
	char text[256] = "";
	uint32_t n;

	ck_assert_msg(image_updates_check(from, to, text, sizeof(text)) == KVMATTR_OK, "%s", text);
	image_updates_begin(&updates, from, to);
	n_detours += updates.is_detour;
	while (image_updates_next(&updates, &element, ranges, max, &n)) {
		enum kvmattr_status status = do_update(to, &element, ranges, n, text);

		ck_assert_msg(!status, "kind %d, layer %u, value 0x%x: %s", element.kind,
			      element.layer, element.value, text);
		ck_assert_uint_le(n, max);
		n_updates++;
		n_layers += element.kind == KVMATTR_ENABLE_LAYER;
		n_locks += element.kind == KVMATTR_LOCK;
		n_shared_views += element.kind == KVMATTR_PROTECT &&
				  (element.restricted & (element.restricted - 1));
	}
	ck_assert(!image_updates_next(&updates, &element, ranges, max, &n));
}

START_TEST(a_random_policy_comes_to_be_from_its_image)
{
	for (int i = 0; i < 20; i++) {
		uint64_t random = seeded_suite_random(1000 * _i + i);
		struct policy *from = new_policy((unsigned int)_i, NULL), *image, *to;

		history(from, 300, true, &random);
		to = new_policy((unsigned int)_i, from);
		image = read_back(from);
		history(to, 60 * (unsigned int)random_below(&random, 2), false, &random);
		take_over(image, to, 1 + (uint32_t)random_below(&random, MAX_RANGES));
		expect_same(from, to);
		policy_free(from);
		policy_free(image);
		policy_free(to);
	}
	/* what has to have been met for this to mean something */
	ck_assert_uint_gt(n_updates, 60);
	ck_assert_uint_gt(n_layers, 5);
	ck_assert_uint_gt(n_locks, 0);
}
END_TEST

START_TEST(what_is_the_same_for_several_vtls_is_one_update)
{
	struct policy *from, *to;

	checks_start(KVMATTR_ABI_DENY, 3);
	checks_add_ram(false);
	apply(enable(2, KVMATTR_RWX, false));
	apply(protect(2, KVMATTR_ALL_LOWER, KVMATTR_RX, 10, 20));
	apply(protect(2, KVMATTR_ALL_LOWER, KVMATTR_NONE, 500, 1));
	from = policy;
	to = read_back(from);
	take_over(from, to, MAX_RANGES);
	/* reset, layer, two protections */
	ck_assert_uint_eq(n_updates, 4);
	ck_assert_uint_eq(n_shared_views, 2);
	expect_same(from, to);
	policy_free(to);
	checks_stop();
}
END_TEST

START_TEST(private_memory_under_a_layer_that_kvm_cannot_say_for_it_takes_a_detour)
{
	struct policy *to;

	checks_start(KVMATTR_ABI_DENY, 2);
	checks_add_ram(true);
	/* only so can it come to be: the layer first, then what is private again */
	apply(pages_update(KVMATTR_SET_VISIBILITY, 0, 0, RAM_PAGES));
	apply(enable(1, KVMATTR_RX, false));
	apply(protect(1, 1, KVMATTR_RWX, 100, 50));
	apply(pages_update(KVMATTR_SET_VISIBILITY, 1, 100, 50));
	to = read_back(policy);
	take_over(policy, to, MAX_RANGES);
	ck_assert_uint_eq(n_detours, 1);
	expect_same(policy, to);
	policy_free(to);
	checks_stop();
}
END_TEST

START_TEST(private_memory_stays_private_where_it_can)
{
	struct kvmattr_range ranges[MAX_RANGES];
	struct policy_element element;
	struct image_updates updates;
	uint32_t n;

	checks_start(KVMATTR_ABI_DENY, 2);
	checks_add_ram(true);
	apply(pages_update(KVMATTR_SET_VISIBILITY, 0, 7, 3));
	apply(enable(1, KVMATTR_RWX, false));
	image_updates_begin(&updates, policy, policy);
	while (image_updates_next(&updates, &element, ranges, MAX_RANGES, &n)) {
		if (element.kind != KVMATTR_SET_VISIBILITY)
			continue;
		ck_assert_uint_eq(element.value, 0);
		ck_assert_uint_eq(n, 1);
		ck_assert_uint_eq(ranges[0].gfn, 7);
		ck_assert_uint_eq(ranges[0].n_pages, 3);
	}
	checks_stop();
}
END_TEST

START_TEST(other_ram_or_views_are_refused_with_the_first_difference)
{
	struct policy *other;
	char text[256];

	checks_start(KVMATTR_ABI_DENY, 2);
	checks_add_ram(false);
	other = read_back(policy);
	ck_assert_int_eq(image_updates_check(policy, other, text, sizeof(text)), KVMATTR_OK);
	apply(pages_update(KVMATTR_REMOVE_RAM, 0, 1234, 1));
	ck_assert_int_eq(image_updates_check(policy, other, text, sizeof(text)),
			 KVMATTR_INVALID_PARAMETER);
	ck_assert_str_eq(text, "the policy is for a VM with other RAM: GFN 0x4d2 is no RAM there, "
			       "and RAM that is shared from the start here");
	apply(pages_update(KVMATTR_ADD_RAM, 1, 1234, 1));
	ck_assert_int_eq(image_updates_check(policy, other, text, sizeof(text)),
			 KVMATTR_INVALID_PARAMETER);
	ck_assert_ptr_nonnull(
		strstr(text, "GFN 0x4d2 is RAM that is private from the start there"));
	policy_free(other);

	other = read_back(policy);
	checks_start(KVMATTR_ABI_DENY, 1);
	checks_add_ram(false);
	ck_assert_int_eq(image_updates_check(other, policy, text, sizeof(text)),
			 KVMATTR_INVALID_VTL_STATE);
	ck_assert_str_eq(text, "the policy is for a VM with a view of VTL 1, which this one has "
			       "not");
	policy_free(other);
	checks_stop();
}
END_TEST

START_TEST(what_the_other_kernel_cannot_enforce_is_refused_when_it_is_applied)
{
	struct kvmattr_range ranges[MAX_RANGES];
	struct policy_element element;
	struct image_updates updates;
	enum kvmattr_status status = KVMATTR_OK;
	char text[256] = "";
	struct policy *from;
	uint32_t n;

	checks_start(KVMATTR_ABI_DENY, 2);
	checks_add_ram(false);
	apply(enable(1, KVMATTR_RWX, false));
	apply(protect(1, 1, KVMATTR_NONE, 0, 1));
	from = read_back(policy);
	checks_start(KVMATTR_ABI_V10, 2);
	checks_add_ram(false);
	image_updates_begin(&updates, from, policy);
	while (!status && image_updates_next(&updates, &element, ranges, MAX_RANGES, &n))
		status = do_update(policy, &element, ranges, n, text);
	ck_assert_int_eq(status, KVMATTR_UNSUPPORTED);
	ck_assert_int_eq(element.kind, KVMATTR_PROTECT);
	policy_free(from);
	checks_stop();
}
END_TEST

static void start(void)
{
	undo = policy_undo_log_new();
	n_updates = n_detours = n_locks = n_layers = n_shared_views = 0;
}

static void stop(void)
{
	policy_undo_log_free(undo);
	page_ranges_destroy(&touched);
}

int main(void)
{
	TCase *at_random = tcase_create("at random"), *by_hand = tcase_create("by hand");

	tcase_add_checked_fixture(at_random, start, stop);
	tcase_add_loop_test(at_random, a_random_policy_comes_to_be_from_its_image, 0, N_VIEW_MIXES);
	tcase_add_checked_fixture(by_hand, start, stop);
	tcase_add_test(by_hand, what_is_the_same_for_several_vtls_is_one_update);
	tcase_add_test(by_hand,
		       private_memory_under_a_layer_that_kvm_cannot_say_for_it_takes_a_detour);
	tcase_add_test(by_hand, private_memory_stays_private_where_it_can);
	tcase_add_test(by_hand, other_ram_or_views_are_refused_with_the_first_difference);
	tcase_add_test(by_hand, what_the_other_kernel_cannot_enforce_is_refused_when_it_is_applied);
	return seeded_suite_run("image updates", (TCase *const[]){ at_random, by_hand, NULL });
}
