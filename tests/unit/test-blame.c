/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who made a page what it is, against a walk through the same records with a flat array of pages.
 */
#include "daemon/journal/blame.h"
#include "tests/unit/past-checks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ENTRIES 4000

/* What the walk finds of one page, the oldest first. */
static struct blame_entry expected[MAX_ENTRIES];
static size_t n_expected;
static struct vm_record_session sessions[256]; /* by id: the last that was said */
static struct oracle oracle;
static bool is_ready; /* so far, while walking */
static struct journal_error error;

static void start(void)
{
	scratch_make();
}

static void stop(void)
{
	past_end();
	scratch_remove();
}

/* ---- The walk ------------------------------------------------------------------------------ */

static bool concerns(const struct policy_element *element, uint64_t gfn, unsigned int vtl,
		     bool is_ram)
{
	bool is_in = gfn >= element->range.gfn && gfn < element->range.gfn + element->range.n_pages;

	switch (element->kind) {
	case KVMATTR_PROTECT:
		return is_in && element->layer > vtl && (element->restricted >> vtl & 1);
	case KVMATTR_ENABLE_LAYER:
	case KVMATTR_RESET_LAYER:
		return is_ram && element->layer > vtl;
	case KVMATTR_RESET_VM:
		return is_ram;
	default:
		return is_in;
	}
}

static void walk_element(const struct vm_record_part *part, const struct policy_element *element,
			 uint64_t gfn, int view, uint64_t commit, uint64_t time_us)
{
	struct blame_entry *entry = &expected[n_expected];
	uint8_t before = oracle_attributes(&oracle, view, gfn);

	oracle_apply(&oracle, element);
	if (!concerns(element, gfn, oracle.views[view].vtl, before != PAST_NO_RAM))
		return;
	ck_assert_uint_lt(n_expected, MAX_ENTRIES);
	*entry = (struct blame_entry){
		.place.commit = commit,
		.time_us = time_us,
		.has_session = part->session,
		.is_operators = part->flags & VM_RECORD_BY_OPERATOR,
		.is_import = !part->session && !part->flags && is_ready,
		.seqno = part->seqno,
		.element = *element,
		.before = before,
		.after = oracle_attributes(&oracle, view, gfn),
	};
	if (part->session)
		entry->session = sessions[part->session];
	if (n_expected && expected[n_expected - 1].place.commit == commit)
		entry->place.i = expected[n_expected - 1].place.i + 1;
	n_expected++;
}

static void walk_batch(const struct story_record *record, uint64_t gfn, int view)
{
	size_t offset = sizeof(struct vm_record_batch);
	struct vm_record_batch head;

	memcpy(&head, record->payload, sizeof(head));
	for (uint32_t i = 0; i < head.n_parts; i++) {
		struct vm_record_part part;
		const uint8_t *elements;
		const char *text;

		ck_assert_ptr_null(vm_record_next_part(record->payload, record->header.size,
						       &offset, &part, &text, &elements));
		for (uint32_t j = 0; j < part.n; j++) {
			struct policy_element element = {
				.kind = (enum kvmattr_update_kind)part.update.kind,
				.layer = part.update.layer,
				.value = part.update.value,
				.restricted = part.update.restricted,
				.mbec = part.update.mbec,
			};

			if (part.update.form == WIRE_FORM_PAGES)
				element.range =
					(struct kvmattr_range){ wire_page_at(elements, j), 1 };
			else if (part.update.form == WIRE_FORM_RANGES)
				element.range = wire_range_at(elements, j);
			walk_element(&part, &element, gfn, view, head.commit,
				     record->header.time_us);
		}
	}
}

/* Everything that came into force, from the registration on. */
static void walk(uint64_t gfn, int view)
{
	const struct story_record *batch = NULL;
	struct vm_record_session session;
	const struct oracle *last = past.story.oracle;

	n_expected = 0;
	is_ready = false;
	memset(&oracle, 0, sizeof(oracle));
	oracle.n_views = last->n_views;
	memcpy(oracle.views, last->views, sizeof(oracle.views));
	memset(oracle.pages, 0, sizeof(oracle.pages));
	for (size_t i = 0; i < ORACLE_PAGES; i++)
		memset(oracle.pages[i].entry, ORACLE_NO_ENTRY, sizeof(oracle.pages[i].entry));
	for (size_t i = 0; i < past.story.n_records; i++) {
		const struct story_record *record = &past.story.records[i];

		switch (record->header.type) {
		case VM_RECORD_SESSION:
			memcpy(&session, record->payload, sizeof(session));
			ck_assert_uint_lt(session.id, N(sessions));
			sessions[session.id] = session;
			break;
		case VM_RECORD_READY:
			is_ready = true;
			break;
		case VM_RECORD_BATCH:
			batch = record;
			break;
		case VM_RECORD_IN_FORCE:
			walk_batch(batch, gfn, view);
			break;
		}
	}
}

/* ---- Comparing ----------------------------------------------------------------------------- */

static void expect_entry(const struct blame_entry *entry, const struct blame_entry *wanted,
			 uint64_t gfn)
{
	ck_assert_uint_eq(entry->place.commit, wanted->place.commit);
	ck_assert_uint_eq(entry->place.i, wanted->place.i);
	ck_assert_uint_eq(entry->time_us, wanted->time_us);
	ck_assert_int_eq(entry->has_session, wanted->has_session);
	ck_assert_int_eq(entry->is_operators, wanted->is_operators);
	ck_assert_int_eq(entry->is_import, wanted->is_import);
	if (wanted->has_session)
		ck_assert_mem_eq(&entry->session, &wanted->session, sizeof(wanted->session));
	ck_assert_uint_eq(entry->seqno, wanted->seqno);
	ck_assert_int_eq(entry->element.kind, wanted->element.kind);
	ck_assert_uint_eq(entry->element.layer, wanted->element.layer);
	ck_assert_uint_eq(entry->element.value, wanted->element.value);
	ck_assert_uint_eq(entry->before, wanted->before);
	ck_assert_uint_eq(entry->after, wanted->after);
	if (wanted->element.range.n_pages)
		ck_assert(gfn >= entry->element.range.gfn &&
			  gfn < entry->element.range.gfn + entry->element.range.n_pages);
	else
		ck_assert_uint_eq(entry->element.range.n_pages, 0);
}

/* The newest first, a few at a time, down to the oldest that the journal knows. */
static void expect_blame(uint64_t gfn, int view, uint64_t *random)
{
	struct blame_question question = { .gfn = gfn, .vtl = oracle.views[view].vtl };
	struct blame_entry entries[20];
	size_t left = n_expected, n_oldest = 0;
	struct blame_answer answer;

	while (n_oldest < n_expected && expected[n_oldest].place.commit <= past.first_commit &&
	       past.first_number > 1)
		n_oldest++;
	do {
		size_t max = 1 + random_below(random, N(entries));
		int r = blame_page(&past_source, &question, entries, max, &answer, &error);

		ck_assert_msg(r == 0, "%s", error.text);
		ck_assert_uint_le(answer.n, max);
		ck_assert_uint_eq(answer.commit, past.story.commit);
		ck_assert_uint_eq(answer.now, oracle_attributes(past.story.oracle, view, gfn));
		ck_assert_uint_eq(answer.from_commit,
				  past.first_number > 1 ? past.first_commit : 0);
		for (size_t i = 0; i < answer.n; i++)
			expect_entry(&entries[i], &expected[--left], gfn);
		ck_assert(!answer.has_more || answer.n == max);
		ck_assert(answer.has_more == (left > n_oldest));
		if (answer.n)
			question.older_than = entries[answer.n - 1].place;
	} while (answer.has_more);
	ck_assert_uint_eq(left, n_oldest);
}

START_TEST(all_that_set_a_page_is_told_the_newest_first)
{
	uint64_t random = seeded_suite_random(_i);
	size_t n_found = 0;

	past_begin(random, 100, _i % 2);
	for (int i = 0; i < 25; i++) {
		uint64_t gfn =
			random_below(&random, random_one_in(&random, 2) ? ORACLE_PAGES : 300);
		int view = (int)random_below(&random, past.story.oracle->n_views);

		walk(gfn, view);
		expect_blame(gfn, view, &random);
		n_found += n_expected;
	}

	ck_assert_uint_gt(n_found, 5);
}
END_TEST

START_TEST(a_page_that_nobody_has_set_has_no_entries)
{
	struct blame_question question = { .gfn = KVMATTR_GFN_LIMIT - 1 };
	struct blame_entry entry;
	struct blame_answer answer;

	past_begin(seeded_suite_random(_i), 30, false);
	ck_assert_int_eq(blame_page(&past_source, &question, &entry, 1, &answer, &error), 0);
	ck_assert_uint_eq(answer.n, 0);
	ck_assert(!answer.has_more);
	ck_assert_uint_eq(answer.now, PAST_NO_RAM);
}
END_TEST

START_TEST(a_vtl_without_a_view_is_refused)
{
	struct blame_question question = { .gfn = 5, .vtl = 14 };
	struct blame_entry entry;
	struct blame_answer answer;

	past_begin(seeded_suite_random(0), 5, false);
	ck_assert_int_eq(blame_page(&past_source, &question, &entry, 1, &answer, &error), -ENXIO);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("blame");

	tcase_add_checked_fixture(tests, start, stop);
	tcase_add_loop_test(tests, all_that_set_a_page_is_told_the_newest_first, 0, 10);
	tcase_add_loop_test(tests, a_page_that_nobody_has_set_has_no_entries, 0, 2);
	tcase_add_test(tests, a_vtl_without_a_view_is_refused);
	return seeded_suite_run("blame", (TCase *const[]){ tests, NULL });
}
