/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where RAM is, as people are told: whatever becomes of it, in whatever steps, what is kept of the
 * last look is never told instead.  The oracle asks page by page.
 */
#include "daemon/serve/ram.h"
#include "tests/unit/policy-checks.h"
#include "tests/unit/seeded-suite.h"

#define PAGES  2048u
#define ROUNDS 20
#define STEPS  300

static bool is_ram(uint64_t gfn)
{
	return attribute_map_get(&policy->pages, gfn) & PAGE_IS_RAM;
}

/* Returns how many ranges there are. */
static unsigned int expect_told(struct ram *known)
{
	const struct ram *ram = ram_look(known, policy);
	uint64_t first = 0, end = 0;
	unsigned int n = 0;

	for (uint64_t gfn = 0; gfn < PAGES; gfn++) {
		uint64_t start = gfn;

		if (!is_ram(gfn))
			continue;
		while (gfn < PAGES && is_ram(gfn))
			gfn++;
		first = n ? first : start;
		end = gfn;
		if (n++ < RAM_RANGES) {
			EXPECT(n <= ram->n_ranges, "range %u is not told", n);
			EXPECT(ram->ranges[n - 1].gfn == start &&
				       ram->ranges[n - 1].n_pages == end - start,
			       "range %u: 0x%x, %u pages", n, (unsigned int)ram->ranges[n - 1].gfn,
			       (unsigned int)ram->ranges[n - 1].n_pages);
		}
	}
	EXPECT(ram->n_ranges == (n < RAM_RANGES ? n : RAM_RANGES), "%u ranges of %u", ram->n_ranges,
	       n);
	EXPECT(ram->has_more == (n > RAM_RANGES), "more than %u ranges of %u", RAM_RANGES, n);
	EXPECT(ram->extent.gfn == first && ram->extent.n_pages == end - first,
	       "from 0x%x on, %u pages", (unsigned int)ram->extent.gfn,
	       (unsigned int)ram->extent.n_pages);
	return n;
}

/* RAM where there is none or none where there is some, from a page at random on. */
static struct policy_element any_element(uint64_t *random)
{
	uint64_t gfn = random_below(random, PAGES), n = 1;
	bool was_ram = is_ram(gfn);
	uint64_t limit = 1 + random_below(random, random_one_in(random, 8) ? PAGES : 12);

	while (n < limit && gfn + n < PAGES && is_ram(gfn + n) == was_ram)
		n++;
	return pages_update(was_ram ? KVMATTR_REMOVE_RAM : KVMATTR_ADD_RAM, 0, gfn, n);
}

/* All of it, or none: what was begun is taken back. */
static void change_in_steps(uint64_t *random, struct policy_undo_log *log, struct ram *known)
{
	struct policy_element element = any_element(random);
	struct policy_progress progress = { 0 };

	while (!progress.is_applied) {
		ck_assert_int_eq(policy_apply_some(policy, &owner, &element, &progress,
						   1 + random_below(random, 64), log, &touched,
						   refusal_text, sizeof(refusal_text)),
				 KVMATTR_OK);
		expect_told(known);
	}
	if (random_one_in(random, 4)) {
		while (!policy_undo_some(policy, log, 1 + random_below(random, 2)))
			expect_told(known);
		expect_told(known);
	}
	policy_undo_log_clear(log);
}

START_TEST(what_is_told_is_what_there_is)
{
	struct policy_undo_log *log = policy_undo_log_new();
	uint64_t random = seeded_suite_random(_i);
	struct ram known = { 0 };
	unsigned int n_most = 0;

	checks_start(KVMATTR_ABI_DENY, 1);
	ck_assert_uint_eq(expect_told(&known), 0);
	for (int i = 0; i < STEPS; i++) {
		unsigned int n;

		change_in_steps(&random, log, &known);
		n = expect_told(&known);
		n_most = n > n_most ? n : n_most;
	}
	ck_assert_uint_gt(n_most, RAM_RANGES);
	policy_undo_log_free(log);
	checks_stop();
}
END_TEST

START_TEST(whoever_looks_again_is_told_what_was_kept)
{
	struct ram known = { 0 };

	apply(pages_update(KVMATTR_ADD_RAM, 0, 16, 32));
	ck_assert_uint_eq(expect_told(&known), 1);
	known.ranges[0].n_pages = 7;
	ck_assert_uint_eq(ram_look(&known, policy)->ranges[0].n_pages, 7);
	apply(pages_update(KVMATTR_LOCK, 0, 16, 8)); /* the same RAM */
	ck_assert_uint_eq(ram_look(&known, policy)->ranges[0].n_pages, 7);
	apply(pages_update(KVMATTR_REMOVE_RAM, 0, 40, 8));
	ck_assert_uint_eq(expect_told(&known), 1);
}
END_TEST

int main(void)
{
	TCase *random = tcase_create("random"), *kept = policy_checks_make_case("kept");

	tcase_set_timeout(random, 60);
	tcase_add_loop_test(random, what_is_told_is_what_there_is, 0, ROUNDS);
	tcase_add_test(kept, whoever_looks_again_is_told_what_was_kept);
	return seeded_suite_run("RAM", (TCase *[]){ random, kept, NULL });
}
