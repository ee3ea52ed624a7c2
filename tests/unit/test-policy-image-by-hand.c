/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images made by hand: the layout as the manual describes it, and what no policy could have come to
 * be, which is refused where it stands.
 */
#include "daemon/policy/image.h"
#include "protocol/kvm-abi.h"
#include "tests/unit/image-checks.h"
#include "tests/unit/policy-checks.h"
#include "tests/unit/seeded-suite.h"

#include <errno.h>
#include <string.h>

#define NO_LIMIT 0

static struct image image;

static void end(void)
{
	image_destroy(&image);
}

/* The layout once more, byte by byte. */
static void put(uint64_t value, unsigned int n_bytes)
{
	for (; n_bytes; n_bytes--, value >>= 8)
		image_add(&image, &(uint8_t){ (uint8_t)value }, 1);
}

static void put_header(uint32_t n_views, uint32_t n_maps)
{
	image.size = 0;
	image_add(&image, "KMPI", 4);
	put(1, 4);
	put(n_views, 4);
	put(n_maps, 4);
}

static void put_view(uint8_t vtl, enum kvmattr_abi abi, uint64_t supported)
{
	put(vtl, 1);
	put(abi, 1);
	put(0, 6);
	put(supported, 8);
}

/* 16 of them, layer k being enabled. */
static void put_layers(unsigned int k, uint8_t by_default)
{
	for (unsigned int i = 0; i < KVMATTR_N_VTLS; i++) {
		put(i == k, 1);
		put(0, 1);
		put(i == k ? by_default : 0, 1);
		put(0, 1);
	}
}

/* A view of VTL 0 that speaks deny, one of VTL 2 that speaks v10, and layer 3. */
static void put_start(uint32_t n_maps)
{
	put_header(2, n_maps);
	put_view(0, KVMATTR_ABI_DENY, 0xf);
	put_view(2, KVMATTR_ABI_V10, 0xf);
	put_layers(3, KVMATTR_RX);
}

enum { PAGES = 0, LOCKS = 1, LAYER = 2 };

static void put_map(unsigned int kind, uint8_t layer, uint8_t vtl, uint32_t n_spans)
{
	put(kind, 1);
	put(layer, 1);
	put(vtl, 1);
	put(0, 1);
	put(n_spans, 4);
}

static void put_span(uint64_t gfn, uint32_t n_leaves, unsigned int form, uint8_t value,
		     uint16_t n_runs)
{
	put(gfn, 8);
	put(n_leaves, 4);
	put(form, 1);
	put(value, 1);
	put(n_runs, 2);
}

static void put_uniform(uint64_t gfn, uint32_t n_leaves, uint8_t value)
{
	put_span(gfn, n_leaves, 0, value, 0);
}

static void put_run(unsigned int place, unsigned int n_pages, uint8_t value)
{
	put(value | place << 8 | (uint64_t)(n_pages - 1) << 20, 4);
}

static void expect_good(void)
{
	ck_assert(images_expect_refused_or_good(image.data, image.size));
}

/* It is refused there, and the text has this in it. */
static void expect_refused_at(size_t offset, const char *why)
{
	char text[WIRE_TEXT_SIZE] = "";
	struct policy *read;
	size_t at = SIZE_MAX;

	ck_assert_int_eq(
		policy_image_read(image.data, image.size, NO_LIMIT, &read, &at, text, sizeof(text)),
		-EBADMSG);
	ck_assert_msg(at == offset && strstr(text, why), "at %zu, not %zu: %s", at, offset, text);
}

/* Where what was put last begins, if it has so many bytes. */
static size_t last(size_t n_bytes)
{
	return image.size - n_bytes;
}

#define HEADER_SIZE 16u
#define VIEW_SIZE   16u
#define LAYER_SIZE  4u
#define MAP_SIZE    8u
#define SPAN_SIZE   16u
#define RUN_SIZE    4u
#define RAM         PAGE_IS_RAM
#define ENTRY(p)    ((uint8_t)(LAYER_HAS_ENTRY | (p)))

START_TEST(the_layout_is_as_it_is_described)
{
	struct image written = { 0 };
	struct policy *of;
	struct view views[2] = { { .vtl = 0 }, { .vtl = 2 } };

	views[0].dialect = probed_dialect(KVMATTR_ABI_DENY);
	views[1].dialect = probed_dialect(KVMATTR_ABI_V10);
	of = policy_new(views, 2);
	images_must(of, pages_update(KVMATTR_ADD_RAM, 0, 0, 1024));
	images_must(of, pages_update(KVMATTR_ADD_RAM, 0, 1027, 1));
	images_must(of, enable(3, KVMATTR_RX, false));
	images_must(of, protect(3, 1, KVMATTR_R, 512, 512));
	images_must(of, protect(3, 1, KVMATTR_RW, 515, 2));
	images_must(of, protect(3, 1, KVMATTR_NONE, 1023, 1));
	for (unsigned int i = 0; i < 65; i++)
		images_must(of, protect(3, 4, KVMATTR_RW, 2 * i + 1, 1));
	images_must(of, pages_update(KVMATTR_LOCK, 0, 7, 1));
	images_must(of, pages_update(KVMATTR_LOCK, 0, 7, 1));
	policy_image_write(of, &written);

	put_start(4);
	put_map(PAGES, 0, 0, 3);
	put_span(0, 1, 1, RAM, 1);
	put_run(7, 1, RAM | PAGE_IS_LOCKED);
	put_uniform(512, 1, RAM);
	put_span(1024, 1, 1, 0, 1);
	put_run(3, 1, RAM);
	put_map(LOCKS, 0, 0, 1);
	put_span(0, 1, 1, 0, 1);
	put_run(7, 1, 2);
	put_map(LAYER, 3, 0, 1);
	put_span(512, 1, 1, ENTRY(KVMATTR_R), 2);
	put_run(3, 2, ENTRY(KVMATTR_RW));
	put_run(511, 1, ENTRY(KVMATTR_NONE));
	put_map(LAYER, 3, 2, 1);
	put_span(0, 1, 2, 0, 0);
	for (unsigned int i = 0; i < 512; i++)
		put(i % 2 && i < 130 ? ENTRY(KVMATTR_RW) : 0, 1);
	ck_assert_uint_eq(written.size, image.size);
	ck_assert_mem_eq(written.data, image.data, image.size);
	expect_good();
	image_destroy(&written);
	policy_free(of);
}
END_TEST

START_TEST(views_that_cannot_be_are_refused)
{
	static const struct {
		uint8_t vtl;
		enum kvmattr_abi abi;
		uint64_t supported;
		const char *why;
	} cases[] = {
		{ 16, KVMATTR_ABI_DENY, 0xf, "VTL 16 is none" },
		{ 0, KVMATTR_ABI_DENY, 0xf, "VTL 0 is none, or has a view before" },
		{ 1, KVMATTR_ABI_PROBE, 0xf, "no kernel speaks" },
		{ 1, KVMATTR_N_ABIS, 0xf, "no kernel speaks" },
		{ 1, KVMATTR_ABI_DENY, 0x8, "no kernel speaks" },
		{ 1, KVMATTR_ABI_MAINLINE, 0x9, "no kernel speaks" },
		{ 1, KVMATTR_ABI_V10, 0x1f, "no kernel speaks" },
		{ 1, KVMATTR_ABI_V10NA, 0xf, "no kernel speaks" },
		{ 1, KVMATTR_ABI_MAINLINE, 0, "no kernel speaks" },
	};

	for (size_t i = 0; i < N(cases); i++) {
		put_header(2, 0);
		put_view(0, KVMATTR_ABI_DENY, 0xf);
		put_view(cases[i].vtl, cases[i].abi, cases[i].supported);
		put_layers(0, 0);
		expect_refused_at(HEADER_SIZE + VIEW_SIZE, cases[i].why);
	}
	put_header(1, 0);
	put_view(1, KVMATTR_ABI_DENY, 0xf);
	put_layers(16, 0);
	expect_refused_at(8, "no view of VTL 0");
	put_header(17, 0);
	expect_refused_at(8, "17 views");
	put_header(0, 0);
	expect_refused_at(8, "no view of VTL 0");
}
END_TEST

START_TEST(layers_that_cannot_be_are_refused)
{
	const size_t layers = HEADER_SIZE + 2 * VIEW_SIZE;
	static const struct {
		unsigned int layer;
		uint8_t bytes[4];
		const char *why;
	} cases[] = {
		{ 0, { 1, 0, KVMATTR_RWX, 0 }, "layer 0" },
		{ 3, { 2, 0, KVMATTR_RWX, 0 }, "layer 3" },
		{ 3, { 1, 2, KVMATTR_RWX, 0 }, "layer 3" },
		{ 3, { 0, 1, 0, 0 }, "layer 3" },
		{ 3, { 0, 0, KVMATTR_R, 0 }, "layer 3" },
		{ 3, { 1, 0, KVMATTR_RWX, 1 }, "layer 3" },
		{ 3, { 1, 0, KVMATTR_WRITE, 0 }, "cannot be enforced" },
		{ 3, { 1, 1, KVMATTR_READ | KVMATTR_USER_EXECUTE, 0 }, "cannot be enforced" },
		{ 3, { 1, 0, 0x1f, 0 }, "cannot be enforced" },
		{ 3, { 1, 0, 0x8f, 0 }, "cannot be enforced" },
		{ 3, { 1, 0, KVMATTR_NONE, 0 }, "cannot be enforced" }, /* VTL 2 speaks v10 */
		{ 15, { 1, 0, KVMATTR_NONE, 0 }, "cannot be enforced" },
	};

	for (size_t i = 0; i < N(cases); i++) {
		const size_t at = layers + cases[i].layer * LAYER_SIZE;

		put_start(0);
		memcpy(image.data + at, cases[i].bytes, 4);
		expect_refused_at(at, cases[i].why);
	}
	put_start(0); /* but below layer 2 there is only deny */
	memcpy(image.data + layers + 2 * LAYER_SIZE, (uint8_t[]){ 1, 1, KVMATTR_NONE, 0 }, 4);
	expect_good();
}
END_TEST

static void put_ram(uint32_t n_maps)
{
	put_start(n_maps);
	put_map(PAGES, 0, 0, 1);
	put_uniform(512, 4, RAM);
}

START_TEST(maps_that_cannot_be_are_refused)
{
	static const struct {
		unsigned int kind;
		uint8_t layer, vtl;
		uint32_t n_spans;
		const char *why;
	} cases[] = {
		{ 3, 3, 0, 1, "no map begins" },
		{ LAYER, 3, 0, 0, "no map begins" },
		{ LAYER, 16, 0, 1, "no map begins" },
		{ LAYER, 255, 0, 1, "no map begins" },
		{ LOCKS, 1, 0, 1, "no map begins" },
		{ LOCKS, 0, 1, 1, "no map begins" },
		{ LAYER, 2, 0, 1, "layer 2 is not enabled" },
		{ LAYER, 0, 0, 1, "layer 0 is not enabled" },
		{ LAYER, 3, 1, 1, "VTL 1" },
		{ LAYER, 3, 3, 1, "VTL 3" },
		{ LAYER, 3, 255, 1, "VTL 255" },
		{ PAGES, 0, 0, 1, "the map before this one" },
	};

	for (size_t i = 0; i < N(cases); i++) {
		put_ram(2);
		put_map(cases[i].kind, cases[i].layer, cases[i].vtl, cases[i].n_spans);
		put_uniform(512, 1, ENTRY(KVMATTR_R));
		expect_refused_at(last(MAP_SIZE + SPAN_SIZE), cases[i].why);
	}
	put_ram(3);
	put_map(LAYER, 3, 2, 1);
	put_uniform(512, 1, ENTRY(KVMATTR_R));
	put_map(LAYER, 3, 0, 1);
	put_uniform(512, 1, ENTRY(KVMATTR_R));
	expect_refused_at(last(MAP_SIZE + SPAN_SIZE), "the map before this one");
	put_ram(2);
	put_map(LAYER, 3, 0, 1);
	put_uniform(512, 1, ENTRY(KVMATTR_R));
	image.data[last(MAP_SIZE + SPAN_SIZE) + 3] = 1; /* reserved */
	expect_refused_at(last(MAP_SIZE + SPAN_SIZE), "no map begins");
}
END_TEST

START_TEST(spans_that_cannot_be_are_refused)
{
	static const struct {
		uint64_t gfn;
		uint32_t n_leaves;
		unsigned int form;
		uint8_t value;
		uint16_t n_runs;
		const char *why;
	} cases[] = {
		{ 513, 1, 0, RAM, 0, "no span" },
		{ KVMATTR_GFN_LIMIT, 1, 0, RAM, 0, "no span" },
		{ UINT64_MAX - 511, 1, 0, RAM, 0, "no span" },
		{ KVMATTR_GFN_LIMIT - 512, 2, 0, RAM, 0, "no span" },
		{ 1024, UINT32_MAX, 0, RAM, 0, "no span" },
		{ 1024, 0, 0, RAM, 0, "no span" },
		{ 1024, 1, 3, RAM, 0, "no span" },
		{ 1024, 1, 0, 0, 0, "no span" },
		{ 1024, 1, 0, RAM, 1, "no span" },
		{ 1024, 2, 1, RAM, 1, "no span" },
		{ 1024, 1, 1, RAM, 0, "no span" },
		{ 1024, 1, 1, RAM, 65, "no span" },
		{ 1024, 2, 2, 0, 0, "no span" },
		{ 1024, 1, 2, RAM, 0, "no span" },
		{ 1024, 1, 2, 0, 1, "no span" },
		{ 512, 1, 0, RAM, 0, "the span before this one" },
		{ 0, 1, 0, RAM, 0, "the span before this one" },
		{ 1024, 1, 0, RAM | PAGE_WAS_PRIVATE, 0, "two spans" },
		{ 1024, 1, 0, PAGE_IS_LOCKED, 0, "nothing holds 0x2" },
		{ 1024, 1, 0, PAGE_IS_PRIVATE, 0, "nothing holds 0x10" },
		{ 1024, 1, 0, RAM | 0x20, 0, "nothing holds 0x21" },
		{ 1024, 1, 0, 0x80, 0, "nothing holds 0x80" },
		{ 1024, 1, 1, RAM | 0x08, 1, "nothing holds 0x9" },
	};

	for (size_t i = 0; i < N(cases); i++) {
		put_start(1);
		put_map(PAGES, 0, 0, 2);
		put_uniform(512, 1, RAM | PAGE_WAS_PRIVATE);
		put_span(cases[i].gfn, cases[i].n_leaves, cases[i].form, cases[i].value,
			 cases[i].n_runs);
		expect_refused_at(last(SPAN_SIZE), cases[i].why);
	}
}
END_TEST

static void put_leaf_of_runs(uint16_t n_runs)
{
	put_start(1);
	put_map(PAGES, 0, 0, 1);
	put_span(512, 1, 1, RAM, n_runs);
}

START_TEST(runs_that_cannot_be_are_refused)
{
	static const struct {
		unsigned int place, n_pages;
		uint8_t value;
		const char *why;
	} cases[] = {
		{ 0, 1, 0, "no run" },    { 10, 503, 0, "no run" },      { 10, 1, RAM, "no run" },
		{ 7, 1, 0, "no run" },    { 8, 1, 0, "no run" },         { 3, 1, 0, "no run" },
		{ 10, 1, 2, "0x2 here" }, { 511, 1, 0x40, "0x40 here" }, { 9, 512, 0, "no run" },
	};

	for (size_t i = 0; i < N(cases); i++) {
		put_leaf_of_runs(2);
		put_run(5, 3, 0);
		put_run(cases[i].place, cases[i].n_pages, cases[i].value);
		expect_refused_at(last(RUN_SIZE), cases[i].why);
	}
	for (unsigned int bit = 17; bit < 32; bit += bit == 19 ? 10 : 1) { /* reserved */
		put_leaf_of_runs(1);
		put(5u << 8 | UINT32_C(1) << bit, 4);
		expect_refused_at(last(RUN_SIZE), "no run");
	}
	put_leaf_of_runs(2);
	put_run(1, 3, 0);
	put_run(511, 1, 0);
	expect_good();
}
END_TEST

START_TEST(a_leaf_is_byte_by_byte_only_if_it_has_many_runs)
{
	for (unsigned int n_runs = 60; n_runs < 70; n_runs++) {
		put_start(1);
		put_map(PAGES, 0, 0, 1);
		put_span(512, 1, 2, 0, 0);
		for (unsigned int i = 0; i < 512; i++)
			put(i % 2 && i < 2 * n_runs ? RAM : 0, 1);
		if (n_runs > 64)
			expect_good();
		else
			expect_refused_at(last(512), "few runs");
	}
	image.data[last(512) + 300] = 0x08;
	expect_refused_at(last(512) + 300, "GFN 0x32c: nothing holds 0x8");
}
END_TEST

/* ---- What has to go together ----------------------------------------------------------------- */

START_TEST(entries_that_no_update_could_set_are_refused)
{
	static const uint8_t bad[] = { 0x01,
				       0x0f,
				       0x7f,
				       ENTRY(KVMATTR_WRITE),
				       ENTRY(0x10),
				       ENTRY(KVMATTR_READ | KVMATTR_KERNEL_EXECUTE),
				       ENTRY(KVMATTR_NONE) };

	for (size_t i = 0; i < N(bad); i++) {
		put_ram(2);
		put_map(LAYER, 3, 2, 1); /* VTL 2 speaks v10, which cannot say no access */
		put_uniform(512, 1, bad[i]);
		expect_refused_at(last(SPAN_SIZE), "nothing holds");
	}
	put_ram(2);
	put_map(LAYER, 3, 0, 1);
	put_uniform(512, 4, ENTRY(KVMATTR_NONE)); /* but deny can */
	expect_good();
	for (unsigned int i = 0; i < 2; i++) { /* not RAM: uniform, and one page of a leaf */
		put_ram(2);
		put_map(LAYER, 3, 0, 1);
		if (i == 0)
			put_uniform(512, 5, ENTRY(KVMATTR_R));
		else
			put_span(0, 1, 1, 0, 1);
		if (i == 1)
			put_run(511, 1, ENTRY(KVMATTR_R));
		expect_refused_at(last(SPAN_SIZE + i * RUN_SIZE),
				  i == 0 ? "GFN 0xa00 is not RAM" : "GFN 0x1ff is not RAM");
	}
	put_start(1); /* no RAM at all */
	put_map(LAYER, 3, 0, 1);
	put_uniform(512, 1, ENTRY(KVMATTR_R));
	expect_refused_at(last(SPAN_SIZE), "GFN 0x200 is not RAM");
}
END_TEST

START_TEST(locks_and_their_counts_go_together)
{
	put_ram(2);
	put_map(LOCKS, 0, 0, 1);
	put_uniform(512, 1, 3);
	expect_refused_at(last(SPAN_SIZE), "GFN 0x200 is not locked");

	put_start(1);
	put_map(PAGES, 0, 0, 1);
	put_uniform(512, 1, RAM | PAGE_IS_LOCKED);
	expect_refused_at(image.size, "512 pages are locked, but locks are counted of 0");

	put_start(2);
	put_map(PAGES, 0, 0, 1);
	put_uniform(512, 1, RAM | PAGE_IS_LOCKED);
	put_map(LOCKS, 0, 0, 1);
	put_span(512, 1, 1, 255, 1);
	put_run(9, 1, 0);
	expect_refused_at(image.size, "512 pages are locked, but locks are counted of 511");
	image.data[last(RUN_SIZE)] = 1; /* 1 instead of 0 */
	expect_good();
}
END_TEST

START_TEST(private_memory_is_only_where_every_kernel_can_enforce_it)
{
	static const uint8_t private[] = { RAM | PAGE_IS_PRIVATE, RAM | PAGE_WAS_PRIVATE };

	for (size_t i = 0; i < N(private); i++) {
		put_header(1, 1); /* no kernel bit for it */
		put_view(0, KVMATTR_ABI_DENY, KVM_ABI_DENY_ALL);
		put_layers(16, 0);
		put_map(PAGES, 0, 0, 1);
		put_uniform(512, 1, private[i]);
		expect_refused_at(image.size, "private pages have attributes");
	}
	put_start(1); /* RX by default, which deny cannot say of private memory */
	put_map(PAGES, 0, 0, 1);
	put_uniform(512, 1, RAM | PAGE_IS_PRIVATE);
	expect_refused_at(image.size, "private pages have attributes");
	put_start(2); /* an entry for every page makes it possible */
	put_map(PAGES, 0, 0, 1);
	put_uniform(512, 1, RAM | PAGE_IS_PRIVATE);
	put_map(LAYER, 3, 0, 1);
	put_uniform(512, 1, ENTRY(KVMATTR_RWX));
	expect_good();
}
END_TEST

START_TEST(another_version_is_told_from_damage)
{
	char text[WIRE_TEXT_SIZE] = "";
	struct policy *read;
	size_t at;

	put_ram(1);
	image.data[4] = 2;
	ck_assert_int_eq(
		policy_image_read(image.data, image.size, NO_LIMIT, &read, &at, text, sizeof(text)),
		-EPROTO);
	ck_assert_uint_eq(at, 4);
	ck_assert_ptr_nonnull(strstr(text, "format 2"));
	image.data[4] = 1;
	image.data[0] = 'X';
	expect_refused_at(0, "no image");
}
END_TEST

START_TEST(an_image_that_takes_more_memory_than_it_may_is_refused)
{
	char text[WIRE_TEXT_SIZE] = "";
	struct policy *read;
	size_t at;

	put_start(1); /* a page of RAM in each GiB */
	put_map(PAGES, 0, 0, 1000);
	for (uint64_t i = 0; i < 1000; i++) {
		put_span(i << 18, 1, 1, 0, 1);
		put_run(1, 1, RAM);
	}
	expect_good();
	ck_assert_int_eq(
		policy_image_read(image.data, image.size, 1 << 20, &read, &at, text, sizeof(text)),
		-E2BIG);
	ck_assert_uint_gt(strlen(text), 10);
	ck_assert_uint_lt(at, image.size / 2);
	ck_assert_int_eq(
		policy_image_read(image.data, image.size, 8 << 20, &read, &at, text, sizeof(text)),
		0);
	ck_assert_uint_le(policy_memory(read), 8 << 20);
	policy_free(read);
}
END_TEST

int main(void)
{
	TCase *by_hand = tcase_create("by hand");

	tcase_add_checked_fixture(by_hand, NULL, end);
	tcase_add_test(by_hand, the_layout_is_as_it_is_described);
	tcase_add_test(by_hand, views_that_cannot_be_are_refused);
	tcase_add_test(by_hand, layers_that_cannot_be_are_refused);
	tcase_add_test(by_hand, maps_that_cannot_be_are_refused);
	tcase_add_test(by_hand, spans_that_cannot_be_are_refused);
	tcase_add_test(by_hand, runs_that_cannot_be_are_refused);
	tcase_add_test(by_hand, a_leaf_is_byte_by_byte_only_if_it_has_many_runs);
	tcase_add_test(by_hand, entries_that_no_update_could_set_are_refused);
	tcase_add_test(by_hand, locks_and_their_counts_go_together);
	tcase_add_test(by_hand, private_memory_is_only_where_every_kernel_can_enforce_it);
	tcase_add_test(by_hand, another_version_is_told_from_damage);
	tcase_add_test(by_hand, an_image_that_takes_more_memory_than_it_may_is_refused);
	return seeded_suite_run("policy-image-by-hand", (TCase *[]){ by_hand, NULL });
}
