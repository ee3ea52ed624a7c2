/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Journals that were cut, flipped, shuffled, or never were journals: read up to the last whole
 * write, or up to the damage, which is named; never anything else, and never overwritten.
 */
#include "tests/unit/journal-checks.h"

#include "daemon/allocate.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct journal_options options = { .segment_size = 200 };
static struct model model;
static struct files files; /* of the small journal, as it was written */
static uint64_t random_state;

static void begin(void)
{
	scratch_make();
	random_state = seeded_suite_random(0);
	make_small_journal("vm", &model, &random_state);
	files = files_take("vm");
}

static void end(void)
{
	files_destroy(&files);
	model_destroy(&model);
	scratch_remove();
}

/* ---- What has to be found ------------------------------------------------------------------- */

/* Where a record is; its segment's index in files in *ret_file. */
static uint64_t find_record(uint64_t number, size_t *ret_file)
{
	uint64_t next = 1;

	for (size_t i = 0; i < files.n; i++)
		for (size_t offset = 64; offset < files.file[i].size; next++) {
			if (next == number) {
				*ret_file = i;
				return offset;
			}
			offset += journal_record_size(model.records[next - 1].size);
		}
	ck_abort_msg("no record %ju", (uintmax_t)number);
	return 0;
}

/* How many records are there if file i is cut to size; *ret_end is where the last write ends. */
static uint64_t count_whole(size_t i, size_t size, size_t *ret_end)
{
	uint64_t number, n_whole = 0;
	size_t offset = 64;

	*ret_end = size < 64 ? 0 : 64;
	ck_assert_int_eq(sscanf(files.file[i].name, "%" SCNx64, &number), 1);
	n_whole = number - 1;
	for (; number <= model.n_written; number++) {
		offset += journal_record_size(model.records[number - 1].size);
		if (offset > size)
			break;
		if (model.records[number - 1].ends_write) {
			n_whole = number;
			*ret_end = offset;
		}
	}
	return n_whole;
}

/* ---- Cut ------------------------------------------------------------------------------------ */

/* The journal "vm" after its last write was cut; n_cut bytes are left of it. */
static void expect_going_on(uint64_t n_whole, uint64_t n_cut)
{
	struct model rest = { .records = model.records, .n = n_whole, .n_written = n_whole };
	struct journal_error error = { 0 };
	uint64_t random = random_state, n;
	struct journal *journal;

	rest.records = allocate((rest.n + 1) * sizeof(*rest.records));
	memcpy(rest.records, model.records, rest.n * sizeof(*rest.records));
	rest.capacity = rest.n + 1;
	ck_assert_msg(journal_reopen(scratch_fd, "vm", options, &journal, &n, &error) == 0, "%s",
		      error.text);
	ck_assert_uint_eq(n, n_cut);
	ck_assert_uint_eq(journal_status(journal).next_number, n_whole + 1);
	expect_journal(&rest, "vm");
	ck_assert_int_eq(model_write_some(&rest, journal, 3, 20, &random), 0);
	journal_free(journal);
	expect_journal(&rest, "vm");
	model_destroy(&rest);
}

/* Of file i, which is the last one, size bytes are left; the ones behind it are gone. */
static void try_cut(size_t i, size_t size)
{
	struct files cut = files;
	struct journal_error error = { 0 };
	size_t end;
	uint64_t n_whole = count_whole(i, size, &end), n;
	enum journal_read found;

	cut.n = i + 1;
	cut.file[i].size = size;
	files_put(&cut, "vm");
	if (i == 0 && size < 64) {
		expect_refused(&model, "vm", ENODATA, files.file[0].name, 0, 0);
		expect_left_alone("vm", ENODATA);
		return;
	}
	found = read_journal(&model, "vm", 0, &n, &error);
	ck_assert_msg(n == n_whole, "%s cut to %zu: %ju records, not %ju", files.file[i].name, size,
		      (uintmax_t)n, (uintmax_t)n_whole);
	if (size == end && size) {
		ck_assert_int_eq(found, JOURNAL_END);
	} else {
		ck_assert_int_eq(found, JOURNAL_TORN);
		ck_assert_str_eq(error.file, files.file[i].name);
		ck_assert_uint_eq(error.offset, end);
	}
	expect_going_on(n_whole, size - end);
}

START_TEST(a_journal_cut_at_any_byte_is_read_up_to_its_last_whole_write_and_gone_on_with)
{
	unsigned int n_cuts = 0;

	for (size_t i = 0; i < files.n; i++)
		for (size_t size = 0; size <= files.file[i].size; size++, n_cuts++)
			try_cut(i, size);
	printf("# %u cuts of %zu records in %zu segments: each recovered up to its last whole "
	       "write\n",
	       n_cuts, model.n_written, files.n);
	fflush(stdout);
}
END_TEST

START_TEST(a_segment_cut_at_any_byte_before_the_last_one_is_damage)
{
	unsigned int n_cuts = 0;

	for (size_t i = 0; i + 1 < files.n; i++)
		for (size_t size = 0; size < files.file[i].size; size++, n_cuts++) {
			size_t end;
			uint64_t n_whole = count_whole(i, size, &end);

			files_put(&files, "vm");
			file_put("vm", files.file[i].name, files.file[i].bytes, size);
			expect_refused(&model, "vm", EBADMSG, files.file[i].name, end, n_whole);
		}
	printf("# %u cuts before the last segment: each refused with file and offset\n", n_cuts);
	fflush(stdout);
}
END_TEST

/* ---- Flipped -------------------------------------------------------------------------------- */

/* A byte of file i was changed: the records before it, then the damage at the one that it is in. */
static void expect_flip_found(size_t i, size_t at)
{
	uint64_t number, offset = 0, n_before;

	ck_assert_int_eq(sscanf(files.file[i].name, "%" SCNx64, &number), 1);
	n_before = number - 1;
	if (at >= 64)
		for (offset = 64;; n_before++) {
			size_t size = journal_record_size(model.records[n_before].size);

			if (at < offset + size)
				break;
			offset += size;
		}
	expect_refused(&model, "vm", EBADMSG, files.file[i].name, offset, n_before);
}

START_TEST(a_flipped_bit_anywhere_is_refused_where_it_is)
{
	unsigned int n_flips = 0;

	for (size_t i = 0; i < files.n; i++)
		for (size_t at = 0; at < files.file[i].size; at++)
			for (int bit = 0; bit < 8; bit++, n_flips++) {
				files.file[i].bytes[at] ^= (uint8_t)(1 << bit);
				file_put("vm", files.file[i].name, files.file[i].bytes,
					 files.file[i].size);
				files.file[i].bytes[at] ^= (uint8_t)(1 << bit);
				expect_flip_found(i, at);
				if (i + 1 == files.n)
					expect_left_alone("vm", EBADMSG);
				file_put("vm", files.file[i].name, files.file[i].bytes,
					 files.file[i].size);
			}
	printf("# %u bits flipped, padding included: each refused with file and offset, the "
	       "records before it intact\n",
	       n_flips);
	fflush(stdout);
	expect_journal(&model, "vm");
}
END_TEST

/* Padding with right checksums all around it. */
START_TEST(padding_that_is_not_zero_is_refused)
{
	size_t i;
	uint64_t number = 1, offset;

	while (model.records[number - 1].size % 8 == 0)
		number++;
	offset = find_record(number, &i);
	files.file[i].bytes[offset + journal_record_size(model.records[number - 1].size) - 1] = 1;
	files_put(&files, "vm");
	expect_refused(&model, "vm", EBADMSG, files.file[i].name, offset, number - 1);
}
END_TEST

/* ---- Shuffled ------------------------------------------------------------------------------- */

/* Puts down file i with bytes from to from + n_removed replaced by others. */
static void put_spliced(size_t i, size_t from, size_t n_removed, const void *bytes, size_t size)
{
	uint8_t *all = allocate(files.file[i].size + size);

	memcpy(all, files.file[i].bytes, from);
	memcpy(all + from, bytes, size);
	memcpy(all + from + size, files.file[i].bytes + from + n_removed,
	       files.file[i].size - from - n_removed);
	files_put(&files, "vm");
	file_put("vm", files.file[i].name, all, files.file[i].size - n_removed + size);
	free(all);
}

static size_t size_of(uint64_t number)
{
	return journal_record_size(model.records[number - 1].size);
}

START_TEST(a_record_that_is_there_twice_is_refused)
{
	for (uint64_t number = 1; number <= model.n_written; number++) {
		size_t i, offset = find_record(number, &i);

		put_spliced(i, offset, 0, files.file[i].bytes + offset, size_of(number));
		expect_refused(&model, "vm", EBADMSG, files.file[i].name, offset + size_of(number),
			       number);
	}
}
END_TEST

START_TEST(a_record_that_is_missing_is_noticed_wherever_another_follows)
{
	for (uint64_t number = 1; number < model.n_written; number++) {
		size_t i, offset = find_record(number, &i);

		put_spliced(i, offset, size_of(number), "", 0);
		if (offset + size_of(number) < files.file[i].size ||
		    model.records[number - 1].ends_write == false || number == 1 ||
		    model.records[number - 2].ends_write)
			expect_refused(&model, "vm", EBADMSG, files.file[i].name, offset,
				       number - 1);
		else /* what is left of its write is not whole */
			for (uint64_t n = number - 1;; n--)
				if (n == 0 || model.records[n - 1].ends_write) {
					expect_refused(&model, "vm", EBADMSG, files.file[i].name,
						       find_record(n + 1, &i), n);
					break;
				}
	}
}
END_TEST

START_TEST(records_in_another_order_are_refused)
{
	for (uint64_t number = 1; number < model.n_written; number++) {
		size_t i, k, a = find_record(number, &i), b = find_record(number + 1, &k);
		uint8_t both[256];

		if (i != k)
			continue;
		memcpy(both, files.file[i].bytes + b, size_of(number + 1));
		memcpy(both + size_of(number + 1), files.file[i].bytes + a, size_of(number));
		put_spliced(i, a, size_of(number) + size_of(number + 1), both,
			    size_of(number) + size_of(number + 1));
		expect_refused(&model, "vm", EBADMSG, files.file[i].name, a, number - 1);
	}
}
END_TEST

/* The same records in a journal whose identity differs in one bit. */
START_TEST(a_record_or_segment_of_another_boot_or_life_is_refused)
{
	for (size_t byte = 0; byte < sizeof(struct journal_identity); byte += 5) {
		struct journal_identity identity = some_identity;
		struct iovec part = { (char *)"x", 1 };
		struct journal *journal;
		struct files others;

		((uint8_t *)&identity)[byte] ^= 1;
		scratch_clear("other");
		ck_assert_int_eq(journal_create(scratch_fd, "other", &identity, options, &journal),
				 0);
		for (size_t n = 0; n < model.n_written; n++) {
			journal_append(journal, 1, 2, &part, 1);
			ck_assert_int_eq(journal_write(journal), 0);
		}
		journal_free(journal);
		others = files_take("other");
		for (uint64_t number = 1; number <= 2; number++) {
			size_t i, offset = find_record(number, &i);

			put_spliced(i, offset, size_of(number),
				    others.file[0].bytes + 64 + (number - 1) * 40, 40);
			expect_refused(&model, "vm", EBADMSG, files.file[i].name, offset,
				       number - 1);
		}
		files_put(&files, "vm");
		for (size_t i = 1; i < files.n; i++) { /* a header of its own, and no records */
			struct journal_segment_header header;
			uint64_t first;

			ck_assert_int_eq(sscanf(files.file[i].name, "%" SCNx64, &first), 1);
			header = journal_segment_header_make(&identity, first);
			file_put("vm", files.file[i].name, &header, sizeof(header));
			expect_refused(&model, "vm", EBADMSG, files.file[i].name, 0, first - 1);
			files_put(&files, "vm");
		}
		files_destroy(&others);
	}
}
END_TEST

int main(void)
{
	TCase *cut = tcase_create("cut");
	TCase *flipped = tcase_create("flipped");
	TCase *shuffled = tcase_create("shuffled");
	TCase *cases[] = { cut, flipped, shuffled, NULL };

	for (TCase **tcase = cases; *tcase; tcase++)
		tcase_add_checked_fixture(*tcase, begin, end);
	tcase_add_test(
		cut, a_journal_cut_at_any_byte_is_read_up_to_its_last_whole_write_and_gone_on_with);
	tcase_add_test(cut, a_segment_cut_at_any_byte_before_the_last_one_is_damage);
	tcase_add_test(flipped, a_flipped_bit_anywhere_is_refused_where_it_is);
	tcase_add_test(flipped, padding_that_is_not_zero_is_refused);
	tcase_add_test(shuffled, a_record_that_is_there_twice_is_refused);
	tcase_add_test(shuffled, a_record_that_is_missing_is_noticed_wherever_another_follows);
	tcase_add_test(shuffled, records_in_another_order_are_refused);
	tcase_add_test(shuffled, a_record_or_segment_of_another_boot_or_life_is_refused);
	return seeded_suite_run("journal-damage", cases);
}
