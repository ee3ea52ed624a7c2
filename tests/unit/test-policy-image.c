/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Policies written as images and read again: random ones in every mix of dialects, and those at the
 * limits of what there can be.  What a policy is told to believe of KVM, too: all or nothing.
 */
#include "daemon/policy/image.h"
#include "daemon/policy/plan.h"
#include "tests/unit/image-checks.h"
#include "tests/unit/policy-checks.h"
#include "tests/unit/policy-oracle.h"
#include "tests/unit/random-updates.h"
#include "tests/unit/seeded-suite.h"

#include <errno.h>
#include <string.h>

static struct policy_undo_log *undo;
static struct page_ranges touched_pages;

static void begin(void)
{
	undo = policy_undo_log_new();
}

static void end(void)
{
	policy_undo_log_free(undo);
	undo = NULL;
	page_ranges_destroy(&touched_pages);
}

static enum kvmattr_status do_element(struct policy *of, const struct policy_actor *actor,
				      const struct policy_element *element, char *text, size_t size)
{
	enum kvmattr_status status =
		policy_apply(of, actor, element, undo, &touched_pages, text, size);

	policy_undo_log_clear(undo);
	page_ranges_clear(&touched_pages);
	return status;
}

static struct policy *make_policy(unsigned int mix)
{
	struct view views[ORACLE_VIEWS];
	unsigned int n = view_mix(mix, views);

	return policy_new(views, n);
}

static void change_at_random(struct policy *of, unsigned int n, uint64_t *random)
{
	while (n--) {
		struct policy_actor actor = random_actor(random);
		struct policy_element element = random_element(random);
		char text[WIRE_TEXT_SIZE];

		(void)do_element(of, &actor, &element, text, sizeof(text));
	}
}

/* With RAM and three layers, and much on top. */
static struct policy *grow_policy(unsigned int mix, uint64_t *random)
{
	struct policy *of = make_policy(mix);

	images_must(of, pages_update(KVMATTR_ADD_RAM, 0, 0, 1500));
	images_must(of, pages_update(KVMATTR_ADD_RAM, 1, 1600, 900));
	for (uint8_t k = 1; k <= 3; k++)
		images_must(of, enable(k, KVMATTR_RWX, false));
	change_at_random(of, (unsigned int)random_below(random, 800), random);
	return of;
}

static struct policy *read_image(const struct image *image)
{
	char text[WIRE_TEXT_SIZE] = "";
	struct policy *read = NULL;
	size_t offset = 0;
	int r = policy_image_read(image->data, image->size, 0, &read, &offset, text, sizeof(text));

	ck_assert_msg(r == 0, "%d at %zu: %s", r, offset, text);
	return read;
}

static void expect_same_views(const struct policy *a, const struct policy *b)
{
	ck_assert_uint_eq(a->n_views, b->n_views);
	ck_assert_mem_eq(a->view_of_vtl, b->view_of_vtl, sizeof(a->view_of_vtl));
	for (unsigned int v = 0; v < a->n_views; v++) {
		const struct dialect *one = &a->views[v].dialect, *other = &b->views[v].dialect;

		ck_assert_uint_eq(a->views[v].vtl, b->views[v].vtl);
		ck_assert_int_eq(one->abi, other->abi);
		ck_assert_uint_eq(one->supported, other->supported);
		ck_assert_uint_eq(one->expressible, other->expressible);
		ck_assert_mem_eq(one->bits, other->bits, sizeof(one->bits));
	}
}

static void expect_same_policy(const struct policy *a, const struct policy *b)
{
	struct policy_snapshot one = policy_snapshot_take(a, ORACLE_PAGES + 600);
	struct policy_snapshot other = policy_snapshot_take(b, ORACLE_PAGES + 600);

	ck_assert(policy_snapshot_equal(&one, &other));
	ck_assert_uint_eq(a->n_ram_pages, b->n_ram_pages);
	ck_assert_uint_eq(a->n_private_pages, b->n_private_pages);
	expect_same_views(a, b);
	policy_snapshot_free(&one);
	policy_snapshot_free(&other);
}

static void expect_same_bytes(const struct policy *of, const struct image *image)
{
	struct image again = { 0 };

	policy_image_write(of, &again);
	ck_assert_uint_eq(again.size, image->size);
	ck_assert_mem_eq(again.data, image->data, image->size);
	image_destroy(&again);
}

/* Writes it, reads it, and expects the same policy and the same bytes; the caller frees it. */
static struct policy *expect_to_come_back(const struct policy *of)
{
	struct image image = { 0 };
	struct policy *read;

	policy_image_write(of, &image);
	read = read_image(&image);
	expect_same_policy(of, read);
	expect_same_bytes(read, &image);
	image_destroy(&image);
	return read;
}

/* ---- Back and forth -------------------------------------------------------------------------- */

START_TEST(a_policy_comes_back_as_it_was_and_goes_on_as_if_nothing_had_been)
{
	uint64_t random = seeded_suite_random(_i);
	struct policy *of = grow_policy((unsigned int)_i % N_VIEW_MIXES, &random);

	for (unsigned int round = 0; round < 4; round++) {
		struct policy *read = expect_to_come_back(of);
		uint64_t same = random;

		change_at_random(of, 100, &random);
		change_at_random(read, 100, &same);
		expect_same_policy(of, read);
		policy_free(of);
		of = read;
	}
	policy_free(of);
}
END_TEST

START_TEST(the_same_policy_gives_the_same_bytes_whatever_led_to_it)
{
	uint64_t random = seeded_suite_random(_i);
	struct policy *one = grow_policy((unsigned int)_i % N_VIEW_MIXES, &random), *other;
	struct image image = { 0 };
	unsigned int n_done = 0;

	policy_image_write(one, &image);
	other = read_image(&image);
	/* a long way round: much that is taken back again */
	for (unsigned int i = 0; i < 300; i++) {
		struct policy_actor actor = random_actor(&random);
		struct policy_element element = random_element(&random);
		char text[WIRE_TEXT_SIZE];

		n_done += policy_apply(other, &actor, &element, undo, &touched_pages, text,
				       sizeof(text)) == KVMATTR_OK;
	}
	ck_assert_uint_gt(n_done, 5); /* mostly it is some 40 */
	policy_undo(other, undo);
	expect_same_bytes(other, &image);
	image_destroy(&image);
	policy_free(one);
	policy_free(other);
}
END_TEST

START_TEST(an_image_is_added_behind_what_is_there)
{
	uint64_t random = seeded_suite_random(_i);
	struct policy *of = grow_policy(1, &random);
	struct image alone = { 0 }, behind = { 0 };

	policy_image_write(of, &alone);
	image_add(&behind, "before", 6);
	policy_image_write(of, &behind);
	ck_assert_uint_eq(behind.size, 6 + alone.size);
	ck_assert_mem_eq(behind.data, "before", 6);
	ck_assert_mem_eq(behind.data + 6, alone.data, alone.size);
	image_destroy(&alone);
	image_destroy(&behind);
	policy_free(of);
}
END_TEST

START_TEST(an_empty_policy_comes_back)
{
	for (unsigned int mix = 0; mix < N_VIEW_MIXES; mix++) {
		struct policy *of = make_policy(mix);

		policy_free(expect_to_come_back(of));
		policy_free(of);
	}
}
END_TEST

START_TEST(ram_at_the_ends_of_what_can_be_addressed_comes_back)
{
	static const struct kvmattr_range ranges[] = {
		{ 0, KVMATTR_GFN_LIMIT },
		{ KVMATTR_GFN_LIMIT - 1, 1 },
		{ 0, 1 },
		{ 511, 2 },
		{ 1, KVMATTR_GFN_LIMIT - 1 },
		{ UINT64_C(1) << 39, UINT64_C(1) << 39 },
	};

	for (size_t i = 0; i < N(ranges); i++) {
		struct policy *of = make_policy(1), *read;

		images_must(of,
			    (struct policy_element){ .kind = KVMATTR_ADD_RAM, .range = ranges[i] });
		images_must(of, enable(3, KVMATTR_R, true));
		images_must(of, protect(3, KVMATTR_ALL_LOWER, KVMATTR_RX, ranges[i].gfn, 1));
		images_must(of, protect(3, KVMATTR_ALL_LOWER, KVMATTR_RWX,
					ranges[i].gfn + ranges[i].n_pages - 1, 1));
		images_must(of,
			    (struct policy_element){ .kind = KVMATTR_LOCK, .range = ranges[i] });
		read = expect_to_come_back(of);
		ck_assert_uint_eq(read->n_ram_pages, ranges[i].n_pages);
		policy_free(read);
		policy_free(of);
	}
}
END_TEST

/* As a leaf gets more and more runs, it is written in the one way or the other. */
START_TEST(leaves_of_every_number_of_runs_come_back)
{
	struct policy *of = make_policy(1);
	size_t last_size = 0, n_shorter = 0;

	images_must(of, pages_update(KVMATTR_ADD_RAM, 0, 0, 3 * 512));
	images_must(of, enable(1, KVMATTR_RWX, false));
	for (uint64_t i = 0; i < 256; i++) {
		struct image image = { 0 };

		images_must(of, protect(1, 1, i % 3 ? KVMATTR_R : KVMATTR_RX, 512 + 2 * i, 1));
		policy_image_write(of, &image);
		n_shorter += image.size <= last_size;
		last_size = image.size;
		image_destroy(&image);
		policy_free(expect_to_come_back(of));
	}
	ck_assert_uint_gt(n_shorter, 100); /* those that are there byte by byte stay as long */
	policy_free(of);
}
END_TEST

START_TEST(locks_up_to_the_most_there_can_be_come_back)
{
	struct policy *of = make_policy(0);

	images_must(of, pages_update(KVMATTR_ADD_RAM, 1, 0, 1024));
	for (unsigned int n = 1; n <= 255; n++)
		images_must(of, pages_update(KVMATTR_LOCK, 0, n, 300));
	policy_free(expect_to_come_back(of));
	policy_free(of);
}
END_TEST

/* ---- Dialects -------------------------------------------------------------------------------- */

/* Whatever a kernel may answer to the probe: its dialect comes back from name and bits alone. */
START_TEST(a_dialect_comes_back_as_the_probe_showed_it_and_no_other_does)
{
	unsigned int n_restored = 0;

	for (unsigned int bits = 1; bits < 0x80; bits++)
		for (int is_v10 = 0; is_v10 <= 1; is_v10++) {
			const struct wire_probe_result probe = {
				.v10_supported = is_v10 ? bits : 0,
				.v10_errno = is_v10 ? 0 : ENOTTY,
				.cap = bits,
			};
			struct dialect decided, restored;
			char text[WIRE_TEXT_SIZE];

			ck_assert_int_eq(dialect_decide(&probe, KVMATTR_ABI_PROBE, &decided, text,
							sizeof(text)),
					 KVMATTR_OK);
			for (unsigned int abi = 0; abi < KVMATTR_N_ABIS + 3; abi++) {
				bool is_possible = abi == decided.abi;
				bool is_other_family = (abi == KVMATTR_ABI_V10 ||
							abi == KVMATTR_ABI_V10NA) != (bool)is_v10;

				if (is_other_family && abi && abi < KVMATTR_N_ABIS)
					continue;
				ck_assert_int_eq(
					dialect_restore((enum kvmattr_abi)abi, bits, &restored),
					is_possible);
				if (!is_possible)
					continue;
				n_restored++;
				ck_assert_int_eq(restored.abi, decided.abi);
				ck_assert_uint_eq(restored.supported, decided.supported);
				ck_assert_uint_eq(restored.expressible, decided.expressible);
				ck_assert_mem_eq(restored.bits, decided.bits, sizeof(decided.bits));
			}
		}
	ck_assert_uint_eq(n_restored, 2 * 0x7f);
	for (unsigned int abi = 0; abi < KVMATTR_N_ABIS; abi++) {
		struct dialect dialect;

		ck_assert(!dialect_restore((enum kvmattr_abi)abi, 0, &dialect));
	}
}
END_TEST

/* ---- What KVM was told ----------------------------------------------------------------------- */

static uint8_t applied(const struct policy *of, unsigned int view, uint64_t gfn)
{
	return attribute_map_get(&of->views[view].applied, gfn);
}

START_TEST(all_that_is_to_be_told_counts_as_told_and_nothing_else)
{
	uint64_t random = seeded_suite_random(_i);
	struct policy *of = grow_policy((unsigned int)_i % N_VIEW_MIXES, &random);
	const struct page_ranges everything = {
		.range = &(struct kvmattr_range){ 0, KVMATTR_GFN_LIMIT }, .n = 1, .capacity = 1
	};
	struct plan plan = { 0 };

	for (unsigned int v = 0; v < of->n_views; v++) /* what was there before does not matter */
		attribute_map_set_range(&of->views[v].applied, 700, 5000, KVMATTR_R);
	policy_assume_applied(of);
	for (unsigned int v = 0; v < of->n_views; v++)
		for (uint64_t gfn = 0; gfn < ORACLE_PAGES + 3000; gfn++) {
			bool is_ram = attribute_map_get(&of->pages, gfn) & PAGE_IS_RAM;
			uint8_t wanted =
				is_ram ? fold_effective_at(of, &of->views[v], gfn) : KVMATTR_RWX;

			EXPECT(applied(of, v, gfn) == wanted, "view %u, GFN 0x%x: 0x%x, not 0x%x",
			       v, (unsigned int)gfn, applied(of, v, gfn), wanted);
		}
	plan_make(&plan, of, &everything, 4096);
	ck_assert_uint_eq(plan.n_calls, 0);
	plan_destroy(&plan);
	policy_free(of);
}
END_TEST

START_TEST(what_is_forgotten_is_unknown_in_every_view_ram_or_not_and_nothing_else_is)
{
	uint64_t random = seeded_suite_random(_i);
	struct policy *of = grow_policy((unsigned int)_i % N_VIEW_MIXES, &random);
	bool is_forgotten[ORACLE_PAGES + 3000] = { false };
	struct page_ranges ranges = { 0 };

	policy_assume_applied(of);
	for (unsigned int i = 0; i < 8; i++) {
		uint64_t gfn = random_below(&random, ORACLE_PAGES + 1000);
		uint64_t n = random_below(&random, random_one_in(&random, 2) ? 3 : 1500);

		page_ranges_add(&ranges, gfn, n);
		memset(is_forgotten + gfn, 1, n);
	}
	page_ranges_normalize(&ranges);
	policy_forget_applied(of, &ranges);
	for (unsigned int v = 0; v < of->n_views; v++)
		for (uint64_t gfn = 0; gfn < N(is_forgotten); gfn++)
			EXPECT(applied(of, v, gfn) ==
				       (is_forgotten[gfn]
						? APPLIED_UNKNOWN
						: fold_effective_at(of, &of->views[v], gfn)),
			       "view %u, GFN 0x%x", v, (unsigned int)gfn);
	page_ranges_destroy(&ranges);
	policy_free(of);
}
END_TEST

int main(void)
{
	TCase *images = tcase_create("images");
	TCase *applied_maps = tcase_create("applied");

	tcase_add_checked_fixture(images, begin, end);
	tcase_add_checked_fixture(applied_maps, begin, end);
	tcase_add_loop_test(images,
			    a_policy_comes_back_as_it_was_and_goes_on_as_if_nothing_had_been, 0,
			    4 * N_VIEW_MIXES);
	tcase_add_loop_test(images, the_same_policy_gives_the_same_bytes_whatever_led_to_it, 0,
			    2 * N_VIEW_MIXES);
	tcase_add_test(images, an_image_is_added_behind_what_is_there);
	tcase_add_test(images, an_empty_policy_comes_back);
	tcase_add_test(images, ram_at_the_ends_of_what_can_be_addressed_comes_back);
	tcase_add_test(images, leaves_of_every_number_of_runs_come_back);
	tcase_add_test(images, locks_up_to_the_most_there_can_be_come_back);
	tcase_add_test(images, a_dialect_comes_back_as_the_probe_showed_it_and_no_other_does);
	tcase_add_loop_test(applied_maps, all_that_is_to_be_told_counts_as_told_and_nothing_else, 0,
			    N_VIEW_MIXES);
	tcase_add_loop_test(
		applied_maps,
		what_is_forgotten_is_unknown_in_every_view_ram_or_not_and_nothing_else_is, 0,
		N_VIEW_MIXES);
	return seeded_suite_run("policy-image", (TCase *[]){ images, applied_maps, NULL });
}
