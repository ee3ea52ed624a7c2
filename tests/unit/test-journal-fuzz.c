/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Journals changed anywhere, and files that are made to look like one: nothing crashes, and what
 * is read of a journal is what was written.
 */
#include "tests/unit/journal-checks.h"

#include "daemon/allocate.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const struct journal_options options = { .segment_size = 200 };
static struct model model;
static struct files files; /* of the small journal, as it was written */

static void begin(void)
{
	uint64_t random = seeded_suite_random(0);

	scratch_make();
	make_small_journal("vm", &model, &random);
	files = files_take("vm");
}

static void end(void)
{
	files_destroy(&files);
	model_destroy(&model);
	scratch_remove();
}

static void change_anywhere(struct file *file, uint64_t *random)
{
	size_t at = random_below(random, file->size), n = 1 + random_below(random, 40);

	n = n < file->size - at ? n : file->size - at;
	switch (random_below(random, 4)) {
	case 0:
		file->bytes[at] = (uint8_t)random_below(random, 256);
		return;
	case 1: /* a piece from elsewhere */
		memmove(file->bytes + at, file->bytes + random_below(random, file->size - n + 1),
			n);
		return;
	case 2:
		memset(file->bytes + at, 0, n);
		return;
	case 3:
		file->size = at + 1;
		return;
	}
}

START_TEST(of_a_journal_changed_anywhere_only_what_was_written_is_read)
{
	uint64_t random = seeded_suite_random(_i), n;
	unsigned int n_damaged = 0, n_torn = 0;

	for (int round = 0; round < 600; round++) {
		struct journal_error error = { 0 };
		struct files changed;
		enum journal_read found;

		files_put(&files, "vm");
		changed = files_take("vm");
		for (uint64_t i = 0; i <= random_below(&random, 3); i++)
			change_anywhere(&changed.file[random_below(&random, changed.n)], &random);
		files_put(&changed, "vm");
		found = read_journal(&model, "vm", 0, &n, &error); /* compares what it reads */
		n_damaged += found == JOURNAL_DAMAGED;
		n_torn += found == JOURNAL_TORN;
		ck_assert_uint_le(n, model.n_written);
		files_destroy(&changed);
	}
	ck_assert_uint_gt(n_damaged, 0);
	printf("# 600 journals changed anywhere: %u damaged, %u torn\n", n_damaged, n_torn);
	fflush(stdout);
}
END_TEST

/* A file of records whose checksums are right and whose contents are not. */
static size_t make_odd_segment(uint8_t *bytes, size_t capacity, uint64_t *random)
{
	struct journal_segment_header segment = journal_segment_header_make(&some_identity, 1);
	uint64_t number = 1;
	size_t size = sizeof(segment);

	memcpy(bytes, &segment, sizeof(segment));
	while (size + 600 < capacity && !random_one_in(random, 30)) {
		size_t payload_size = random_below(random, 500);
		struct journal_record_header header = journal_record_header_make(
			&some_identity, number++, 1, 1,
			(uint16_t)(random_one_in(random, 9) ? random_below(random, 4)
							    : random_below(random, 2)),
			bytes + size + sizeof(header), payload_size);

		if (random_one_in(random, 9))
			number = random_below(random, 2) ? random_below(random, UINT64_MAX) : 0;
		if (random_one_in(random, 9)) /* a size with a right checksum */
			header.size = (uint32_t)random_below(random, UINT32_MAX);
		header.header_crc =
			crc32c_by_hand(&header, offsetof(struct journal_record_header, header_crc),
				       crc32c_by_hand(&some_identity, sizeof(some_identity), 0));
		memcpy(bytes + size, &header, sizeof(header));
		memset(bytes + size + sizeof(header) + payload_size, 0, 8);
		size += journal_record_size(payload_size);
	}
	return size - random_below(random, 30);
}

START_TEST(whatever_a_segment_holds_it_is_read_or_refused)
{
	uint64_t random = seeded_suite_random(_i), n_cut;
	uint8_t *bytes = allocate_zeroed(1, 20000);
	unsigned int n_records = 0, n_reopened = 0;

	for (int round = 0; round < 1200; round++) {
		size_t size = random_below(&random, 1000);
		struct journal_position position = { random_below(&random, 4) };
		struct journal_error error = { 0 };
		struct journal_reader *reader;
		struct journal_record record;
		struct journal *journal;

		for (size_t i = 0; i < 20000; i += 8) {
			uint64_t word = random_below(&random, UINT64_MAX);

			memcpy(bytes + i, &word, 8);
		}
		if (round % 4)
			size = make_odd_segment(bytes, 20000, &random);
		scratch_clear("odd");
		ck_assert_int_eq(mkdirat(scratch_fd, "odd", 0700), 0);
		file_put("odd", "0000000000000001.journal", bytes, size);
		if (journal_reader_open(scratch_fd, "odd", position, &reader, &error) == 0) {
			while (journal_read(reader, &record, &error) == JOURNAL_RECORD)
				n_records++;
			journal_reader_free(reader);
		}
		if (journal_reopen(scratch_fd, "odd", options, &journal, &n_cut, &error) == 0) {
			n_reopened++;
			journal_free(journal);
		}
	}
	ck_assert_uint_gt(n_records, 1000); /* they are not all refused at once */
	ck_assert_uint_gt(n_reopened, 10);
	free(bytes);
}
END_TEST

int main(void)
{
	TCase *fuzz = tcase_create("fuzz");

	tcase_add_checked_fixture(fuzz, begin, end);
	tcase_add_loop_test(fuzz, of_a_journal_changed_anywhere_only_what_was_written_is_read, 0,
			    4);
	tcase_add_loop_test(fuzz, whatever_a_segment_holds_it_is_read_or_refused, 0, 2);
	return seeded_suite_run("journal-fuzz", (TCase *[]){ fuzz, NULL });
}
