/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM's journal that was cut at any byte, or of which any byte is another one: replayed to exactly
 * what its whole records come to, or refused where the damage is.
 */
#include "tests/unit/journal-checks.h"
#include "tests/unit/told-journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define N_WRITES 25

/* The segments, as they were written. */
static struct files files;

static void tell(int i)
{
	told_begin_journal(seeded_suite_random(i));
	told_go_on(N_WRITES);
	files = files_take("vm");
	ck_assert_uint_gt(files.n, 0);
}

/* The number of the last record that is whole, with all that was written together with it. */
static uint64_t last_whole(size_t i, size_t size)
{
	size_t offset = sizeof(struct journal_segment_header);
	uint64_t number, n_whole;

	ck_assert_int_eq(sscanf(files.file[i].name, "%" SCNx64, &number), 1);
	n_whole = --number;
	while (offset + sizeof(struct journal_record_header) <= size) {
		struct journal_record_header header;

		memcpy(&header, files.file[i].bytes + offset, sizeof(header));
		offset += journal_record_size(header.size);
		if (offset > size)
			break;
		number++;
		if (!(header.flags & JOURNAL_RECORD_MORE))
			n_whole = number;
	}
	return n_whole;
}

START_TEST(cut_at_any_byte_it_is_recovered_up_to_its_last_whole_write)
{
	unsigned int n_cuts = 0, n_torn = 0;
	size_t last;

	tell(_i);
	last = files.n - 1;
	for (size_t size = 0; size <= files.file[last].size; size++, n_cuts++) {
		uint64_t n_whole = last_whole(last, size);

		file_put("vm", files.file[last].name, files.file[last].bytes, size);
		if (!n_whole) {
			told_expect_refused_with(told_replay_all(), ENODATA, "");
			continue;
		}
		told_must(told_replay_all());
		ck_assert_uint_eq(told.replay.number, n_whole);
		told_expect_straight(true);
		n_torn += told.report.is_torn;
		if (told.report.is_torn)
			ck_assert_uint_lt(told.error.offset, size ? size : 1);
	}
	ck_assert_uint_gt(n_torn, n_cuts / 2);
	story_expect(&told.story, &told.replay, true);
	printf("# %u cuts of a journal of %" PRIu64 " records: each recovered exactly, %u said to "
	       "be torn and where\n",
	       n_cuts, told.story.n_records, n_torn);
	fflush(stdout);
	files_destroy(&files);
}
END_TEST

START_TEST(any_byte_that_is_another_one_is_refused_with_file_and_offset)
{
	unsigned int n_flips = 0;

	tell(_i);
	for (size_t i = 0; i < files.n; i++) {
		const struct journal_error none = { 0 };
		uint8_t *bytes = files.file[i].bytes;

		for (size_t at = 0; at < files.file[i].size; at++, n_flips++) {
			bytes[at] ^= (uint8_t)(1u << at % 8);
			file_put("vm", files.file[i].name, bytes, files.file[i].size);
			bytes[at] ^= (uint8_t)(1u << at % 8);
			told.error = none;
			told_expect_refused_with(told_replay_all(), EBADMSG, "");
			ck_assert_str_eq(told.error.file, files.file[i].name);
			ck_assert_uint_le(told.error.offset, at);
			ck_assert_str_ne(told.error.text, "");
		}
		file_put("vm", files.file[i].name, bytes, files.file[i].size);
	}
	told_must(told_replay_all());
	story_expect(&told.story, &told.replay, true);
	printf("# %u bytes changed in turn: each refused with its file and an offset\n", n_flips);
	fflush(stdout);
	files_destroy(&files);
}
END_TEST

int main(void)
{
	TCase *spoilt = told_make_case("spoilt");
	TCase *cases[] = { spoilt, NULL };

	tcase_add_loop_test(spoilt, cut_at_any_byte_it_is_recovered_up_to_its_last_whole_write, 0,
			    3);
	tcase_add_loop_test(spoilt, any_byte_that_is_another_one_is_refused_with_file_and_offset, 0,
			    3);
	return seeded_suite_run("journal-replay-damage", cases);
}
