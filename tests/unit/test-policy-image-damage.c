/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that nobody wrote: every byte of some flipped in every bit, and cut everywhere.  Each is
 * refused, with its place and why, or is another policy that updates can bring about: then they are
 * made, and have to lead to that image.
 */
#include "daemon/policy/image.h"
#include "tests/unit/image-checks.h"
#include "tests/unit/policy-checks.h"
#include "tests/unit/seeded-suite.h"

#include <stdio.h>

static struct image image;

static void end(void)
{
	image_destroy(&image);
}

/* Some of everything, on few pages, for one of three kinds of kernel. */
static struct policy *make_small_policy(unsigned int mix)
{
	static const enum kvmattr_abi abis[] = { KVMATTR_ABI_DENY, KVMATTR_ABI_V10NA,
						 KVMATTR_ABI_MAINLINE };
	const uint8_t protection = mix == 2 ? KVMATTR_RWX : KVMATTR_RX;
	struct view views[3] = { { .vtl = 2 }, { .vtl = 0 }, { .vtl = 1 } };
	struct policy *of;

	for (unsigned int v = 0; v < 3; v++)
		views[v].dialect = probed_dialect(abis[mix]);
	of = policy_new(views, 3);
	images_must(of, pages_update(KVMATTR_ADD_RAM, 0, 0, 700));
	images_must(of, pages_update(KVMATTR_ADD_RAM, 1, 1024, 512));
	images_must(of, pages_update(KVMATTR_ADD_RAM, 0, 2047, 1026));
	images_must(of, pages_update(KVMATTR_SET_VISIBILITY, 0, 1024, 512));
	images_must(of, enable(1, protection, false));
	images_must(of, enable(3, KVMATTR_RWX, true));
	images_must(of, protect(1, 0x1, KVMATTR_RWX, 1024, 300));
	images_must(of, protect(3, 0x5, protection, 511, 2));
	images_must(of, pages_update(KVMATTR_SET_VISIBILITY, 1, 1030, 280));
	images_must(of, pages_update(KVMATTR_SET_VISIBILITY, 0, 1100, 3));
	if (mix == 1) {
		images_must(of, protect(3, 0x7, KVMATTR_RW, 1030, 3));
		images_must(of, protect(3, 0x1, KVMATTR_NONE, 2100, 600));
	}
	for (uint64_t gfn = 2048; gfn < 2048 + 200; gfn += 2)
		images_must(of, protect(1, 0x1, gfn % 4 ? KVMATTR_RWX : protection, gfn, 1));
	images_must(of, protect(1, 0x1, KVMATTR_RWX, 680, 20));
	images_must(of, pages_update(KVMATTR_SET_VISIBILITY, 1, 687, 1));
	images_must(of, pages_update(KVMATTR_LOCK, 0, 695, 5));
	images_must(of, pages_update(KVMATTR_LOCK, 0, 697, 1));
	return of;
}

START_TEST(every_bit_flipped_is_refused_or_gives_another_policy_that_updates_can_make)
{
	unsigned int n_refused = 0, n_other = 0;
	struct policy *of = make_small_policy((unsigned int)_i);

	policy_image_write(of, &image);
	ck_assert(images_expect_refused_or_good(image.data, image.size));
	for (size_t i = 0; i < image.size; i++)
		for (unsigned int bit = 0; bit < 8; bit++) {
			image.data[i] ^= (uint8_t)(1u << bit);
			if (images_expect_refused_or_good(image.data, image.size))
				n_other++;
			else
				n_refused++;
			image.data[i] ^= (uint8_t)(1u << bit);
		}
	printf("# %zu bytes: %u flips refused, %u made another policy\n", image.size, n_refused,
	       n_other);
	fflush(stdout);
	ck_assert_uint_gt(n_refused, 4 * n_other);
	ck_assert_uint_gt(n_other, 10);
	policy_free(of);
}
END_TEST

START_TEST(every_byte_made_another_at_random_is_refused_or_gives_another_policy)
{
	uint64_t random = seeded_suite_random(_i);
	struct policy *of = make_small_policy((unsigned int)_i % 3);
	unsigned int n_other = 0;

	policy_image_write(of, &image);
	for (size_t i = 0; i < image.size; i++) {
		const uint8_t saved = image.data[i];

		for (unsigned int round = 0; round < 8; round++) {
			image.data[i] = (uint8_t)random_below(&random, 256);
			n_other += image.data[i] != saved &&
				   images_expect_refused_or_good(image.data, image.size);
		}
		image.data[i] = saved;
	}
	printf("# %zu bytes, each made 8 others: %u made another policy\n", image.size, n_other);
	fflush(stdout);
	ck_assert_uint_gt(n_other, 10);
	policy_free(of);
}
END_TEST

START_TEST(every_cut_and_everything_left_over_is_refused)
{
	struct policy *of = make_small_policy((unsigned int)_i);

	policy_image_write(of, &image);
	for (size_t size = 0; size < image.size; size++)
		ck_assert(!images_expect_refused_or_good(image.data, size));
	for (uint64_t more = 1; more <= 64; more++) {
		image_add(&image, "", 1);
		ck_assert(!images_expect_refused_or_good(image.data, image.size));
	}
	policy_free(of);
}
END_TEST

int main(void)
{
	TCase *damage = tcase_create("damage");

	tcase_add_checked_fixture(damage, NULL, end);
	tcase_add_loop_test(
		damage, every_bit_flipped_is_refused_or_gives_another_policy_that_updates_can_make,
		0, 3);
	tcase_add_loop_test(
		damage, every_byte_made_another_at_random_is_refused_or_gives_another_policy, 0, 3);
	tcase_add_loop_test(damage, every_cut_and_everything_left_over_is_refused, 0, 3);
	return seeded_suite_run("policy-image-damage", (TCase *[]){ damage, NULL });
}
