/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happened, line by line, against the records that were told: each line in its place, however
 * many are asked for at a time.
 */
#include "daemon/journal/history-text.h"
#include "daemon/journal/history.h"
#include "tests/unit/past-checks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINES 8000

static struct history_line expected[MAX_LINES];
static size_t n_expected;
static struct journal_error error;

static void start(void)
{
	scratch_make();
	n_expected = 0;
}

static void stop(void)
{
	past_end();
	scratch_remove();
}

/* ---- What it has to be --------------------------------------------------------------------- */

static struct history_line *expect_line(const struct story_record *record, uint64_t session)
{
	ck_assert_uint_lt(n_expected, MAX_LINES);
	expected[n_expected] = (struct history_line){ .number = record->header.number,
						      .time_us = record->header.time_us,
						      .type = record->header.type,
						      .session = session };
	return &expected[n_expected++];
}

static void expect_taken_back(const struct story_record *batch)
{
	struct vm_record_batch head;
	struct history_line *line = expect_line(batch, 0);

	memcpy(&head, batch->payload, sizeof(head));
	line->commit = head.commit;
	line->is_taken_back = true;
}

static void expect_parts(const struct story_record *batch)
{
	size_t offset = sizeof(struct vm_record_batch);
	struct vm_record_batch head;

	memcpy(&head, batch->payload, sizeof(head));
	for (uint32_t i = 0; i < head.n_parts; i++) {
		struct vm_record_part part;
		const uint8_t *elements;
		const char *text;

		ck_assert_ptr_null(vm_record_next_part(batch->payload, batch->header.size, &offset,
						       &part, &text, &elements));
		expect_line(batch, part.session)->commit = head.commit;
	}
}

/* The session that a record begins with. */
static uint64_t session_of(const struct story_record *record)
{
	uint64_t id;

	memcpy(&id, record->payload, sizeof(id));
	return id;
}

static void make_expected(uint64_t first_number, uint64_t from_commit)
{
	const struct story_record *batch = NULL;
	bool has_begun = !from_commit;

	for (size_t i = first_number - 1; i < past.story.n_records; i++) {
		const struct story_record *record = &past.story.records[i];
		uint64_t commit = 0;

		if (record->header.type == VM_RECORD_BATCH)
			memcpy(&commit, record->payload, sizeof(commit));
		if (!has_begun && commit >= from_commit && commit)
			has_begun = true;
		else if (!has_begun)
			continue;
		switch (record->header.type) {
		case VM_RECORD_BATCH:
			if (batch)
				expect_taken_back(batch);
			batch = record;
			break;
		case VM_RECORD_IN_FORCE:
			if (batch)
				expect_parts(batch);
			batch = NULL;
			break;
		case VM_RECORD_SESSION:
		case VM_RECORD_SESSION_CLOSED:
		case VM_RECORD_REFUSED:
			expect_line(record, session_of(record));
			break;
		case VM_RECORD_RELEASED:
			if (batch)
				expect_taken_back(batch);
			batch = NULL;
			/* fall through */
		default:
			expect_line(record, 0);
		}
	}
}

static void expect_same(const struct history_line *line, const struct history_line *wanted)
{
	ck_assert_uint_eq(line->number, wanted->number);
	ck_assert_uint_eq(line->time_us, wanted->time_us);
	ck_assert_uint_eq(line->type, wanted->type);
	ck_assert_uint_eq(line->session, wanted->session);
	ck_assert_uint_eq(line->commit, wanted->commit);
	ck_assert_int_eq(line->is_taken_back, wanted->is_taken_back);
	ck_assert_uint_gt(strlen(line->text), 5);
	if (line->is_taken_back) {
		const struct story_record *batch = &past.story.records[line->number - 1];
		struct vm_record_batch head;
		char text[64];

		memcpy(&head, batch->payload, sizeof(head));
		snprintf(text, sizeof(text),
			 head.n_parts == 1 ? "a batch of %u update was taken back"
					   : "a batch of %u updates was taken back",
			 head.n_parts);
		ck_assert_ptr_nonnull(strstr(line->text, text));
	}
}

/* Reads all lines, at most max at a time, and compares them. */
static void expect_history(uint64_t from_commit, size_t max)
{
	struct history_line *lines = calloc(max, sizeof(*lines));
	struct history_place place = { 0 };
	size_t n, total = 0;
	bool has_more;

	ck_assert_ptr_nonnull(lines);
	do {
		int r = history_read(&past_source, from_commit, place, lines, max, &n, &place,
				     &has_more, &error);

		ck_assert_msg(r == 0, "%s", error.text);
		ck_assert(n == max || !has_more);
		for (size_t i = 0; i < n; i++, total++) {
			ck_assert_uint_lt(total, n_expected);
			expect_same(&lines[i], &expected[total]);
		}
	} while (has_more);
	ck_assert_uint_eq(total, n_expected);
	free(lines);
}

/* ---- Tests --------------------------------------------------------------------------------- */

START_TEST(every_record_has_its_line_however_many_are_asked_for)
{
	uint64_t random = seeded_suite_random(_i);

	past_begin(random, 100, false);
	if (_i % 2) {
		story_release(&past.story);
		story_write(&past.story, past.journal);
	}
	make_expected(1, 0);
	ck_assert_uint_gt(n_expected, 60);
	expect_history(0, 1);
	expect_history(0, 2 + random_below(&random, 30));
	expect_history(0, n_expected + 1);
	expect_history(0, n_expected);
}
END_TEST

START_TEST(it_can_begin_with_any_commit)
{
	uint64_t random = seeded_suite_random(_i);

	past_begin(random, 100, false);
	for (int i = 0; i < 10; i++) {
		uint64_t commit = 1 + random_below(&random, past.story.commit);

		n_expected = 0;
		make_expected(1, commit);
		expect_history(commit, 1 + random_below(&random, 40));
	}
	n_expected = 0;
	expect_history(past.story.commit + 100, 10);
}
END_TEST

START_TEST(what_was_retired_is_left_out)
{
	uint64_t first;

	past_begin(seeded_suite_random(_i), 100, true);
	first = journal_status(past.journal).first_number;
	ck_assert_uint_gt(first, 1);
	make_expected(first, 0);
	expect_history(0, 7);
}
END_TEST

START_TEST(a_place_that_was_retired_is_refused)
{
	struct history_line line;
	struct history_place next;
	bool has_more;
	size_t n;

	past_begin(seeded_suite_random(_i), 100, true);
	ck_assert_int_eq(history_read(&past_source, 0, (struct history_place){ 2, 0 }, &line, 1, &n,
				      &next, &has_more, &error),
			 -ERANGE);
}
END_TEST

START_TEST(what_is_before_damage_is_told_and_then_the_damage)
{
	struct history_place place = { 0 };
	struct history_line lines[10];
	struct file *last = NULL;
	struct files files;
	uint64_t total = 0;
	bool has_more;
	size_t n;
	int r;

	past_begin(seeded_suite_random(_i), 60, false);
	make_expected(1, 0);
	files = files_take(PAST_NAME);
	for (size_t i = 0; i < files.n; i++)
		if (strstr(files.file[i].name, ".journal"))
			last = &files.file[i];
	last->bytes[last->size - 9] ^= 1;
	files_put(&files, "damaged.0123456789abcdef");
	past_source.name = "damaged.0123456789abcdef";
	do {
		r = history_read(&past_source, 0, place, lines, N(lines), &n, &place, &has_more,
				 &error);
		for (size_t i = 0; r == 0 && i < n; i++)
			expect_same(&lines[i], &expected[total++]);
	} while (r == 0 && has_more);
	ck_assert_int_eq(r, -EBADMSG);
	/* the last record may have no line of its own */
	ck_assert_uint_gt(total, 10);
	ck_assert_uint_le(total, n_expected);
	ck_assert_ptr_nonnull(strstr(error.file, ".journal"));
	files_destroy(&files);
}
END_TEST

/* ---- Words --------------------------------------------------------------------------------- */

static const char *describe(uint8_t kind, uint8_t form, uint8_t layer, uint16_t restricted,
			    uint8_t value, const void *elements, uint32_t n, uint32_t first,
			    uint32_t n_total, uint32_t status)
{
	static char text[HISTORY_TEXT_SIZE];
	struct vm_record_part part = {
		.first = first,
		.n_total = n_total,
		.n = n,
		.status = status,
		.update = { .kind = kind,
			    .form = form,
			    .layer = layer,
			    .value = value,
			    .restricted = restricted,
			    .n_elements = form == WIRE_FORM_NONE ? 0 : n },
		.text_size = status ? 3 : 0,
	};

	history_describe_part(&part, "whyXXXX", elements, text, sizeof(text));
	return text;
}

START_TEST(updates_are_said_in_words)
{
	const uint64_t pages[] = { 0x1f, 0x20, 0x50 };
	const struct kvmattr_range range = { 0x100, 0x200 };

	ck_assert_str_eq(
		describe(KVMATTR_PROTECT, WIRE_FORM_PAGES, 1, 1, KVMATTR_RX, pages, 3, 0, 3, 0),
		"layer 1 allows VTL 0 rx on 3 pages in 2 runs from 0x1f000");
	ck_assert_str_eq(
		describe(KVMATTR_PROTECT, WIRE_FORM_PAGES, 3, 5, KVMATTR_NONE, pages, 1, 2, 9, 0),
		"layer 3 allows VTL 0, 2 none on 1 page from 0x1f000 (elements 3 to 3 of "
		"9)");
	ck_assert_str_eq(describe(KVMATTR_PROTECT, WIRE_FORM_RANGES, 2, KVMATTR_ALL_LOWER,
				  KVMATTR_R, &range, 1, 0, 2, KVMATTR_OPERATION_DENIED),
			 "layer 2 allows every VTL below r on 512 pages from 0x100000 (elements 1 "
			 "to 1 of 2); the next was refused: OPERATION_DENIED: why");
	ck_assert_str_eq(
		describe(KVMATTR_SET_VISIBILITY, WIRE_FORM_RANGES, 0, 0, 1, &range, 1, 0, 1, 0),
		"512 pages from 0x100000 made private");
	ck_assert_str_eq(
		describe(KVMATTR_ENABLE_LAYER, WIRE_FORM_NONE, 4, 0, KVMATTR_RWX, NULL, 1, 0, 1, 0),
		"layer 4 enabled, rwx by default, without MBEC");
	ck_assert_str_eq(describe(KVMATTR_RESET_VM, WIRE_FORM_NONE, 0, 0, 0, NULL, 1, 0, 1, 0),
			 "the VM reset");
	ck_assert_str_eq(describe(KVMATTR_RESET_LAYER, WIRE_FORM_NONE, 2, 0, 0, NULL, 0, 0, 1,
				  KVMATTR_ACCESS_DENIED),
			 "reset-layer; it was refused: ACCESS_DENIED: why");
}
END_TEST

START_TEST(a_text_that_does_not_fit_is_cut)
{
	struct vm_record_released released = { .status = KVMATTR_NO_VM };
	char text[20];

	memset(released.text, 'x', sizeof(released.text) - 1);
	history_describe_release(&released, text, sizeof(text));
	ck_assert_str_eq(text, "the VM was released");
}
END_TEST

int main(void)
{
	TCase *lines = tcase_create("lines"), *words = tcase_create("words");

	tcase_add_checked_fixture(lines, start, stop);
	tcase_add_loop_test(lines, every_record_has_its_line_however_many_are_asked_for, 0, 8);
	tcase_add_loop_test(lines, it_can_begin_with_any_commit, 0, 4);
	tcase_add_loop_test(lines, what_was_retired_is_left_out, 0, 4);
	tcase_add_test(lines, a_place_that_was_retired_is_refused);
	tcase_add_loop_test(lines, what_is_before_damage_is_told_and_then_the_damage, 0, 4);
	tcase_add_test(words, updates_are_said_in_words);
	tcase_add_test(words, a_text_that_does_not_fit_is_cut);
	return seeded_suite_run("history", (TCase *const[]){ lines, words, NULL });
}
