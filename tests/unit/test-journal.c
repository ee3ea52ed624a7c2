/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal where nothing goes wrong: what is written is read, over segments, over reopening,
 * while it is being written, and after its start was retired.
 */
#include "daemon/journal/io.h"
#include "tests/unit/journal-checks.h"

#include "daemon/allocate.h"

#include <errno.h>
#include <isa-l/crc.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct model model;
static struct journal *journal;

static void make(uint64_t segment_size)
{
	struct journal_options options = { .segment_size = segment_size };

	ck_assert_int_eq(journal_create(scratch_fd, "vm", &some_identity, options, &journal), 0);
}

static uint64_t reopen(uint64_t segment_size)
{
	struct journal_options options = { .segment_size = segment_size };
	struct journal_error error = { 0 };
	uint64_t n_cut;
	int r;

	journal_free(journal);
	journal = NULL;
	r = journal_reopen(scratch_fd, "vm", options, &journal, &n_cut, &error);
	ck_assert_msg(r == 0, "%s: %s", error.file, error.text);
	return n_cut;
}

static void begin(void)
{
	scratch_make();
}

static void end(void)
{
	journal_free(journal);
	model_destroy(&model);
	scratch_remove();
}

/* ---- Bytes ---------------------------------------------------------------------------------- */

START_TEST(the_checksum_is_the_one_that_the_manual_page_names)
{
	/* CRC32C's check value, of the catalogue of parametrised CRC algorithms (CRC-32/ISCSI) */
	ck_assert_uint_eq(~crc32_iscsi((unsigned char *)"123456789", 9, ~0u), 0xe3069283);
}
END_TEST

static uint64_t little_endian(const uint8_t *bytes, size_t size)
{
	uint64_t value = 0;

	while (size--)
		value = value << 8 | bytes[size];
	return value;
}

START_TEST(a_journals_bytes_are_those_that_the_manual_page_says)
{
	struct iovec part = { (char *)"hello", 5 };
	const uint8_t *bytes;
	struct files files;
	uint32_t crc;

	make(1000);
	ck_assert_uint_eq(journal_append(journal, 0x1234, 0x1122334455667788, &part, 1), 1);
	ck_assert_uint_eq(journal_append(journal, 7, 8, NULL, 0), 2);
	ck_assert_int_eq(journal_write(journal), 0);
	files = files_take("vm");
	ck_assert_uint_eq(files.n, 1);
	ck_assert_str_eq(files.file[0].name, "0000000000000001.journal");
	ck_assert_uint_eq(files.file[0].size, 64 + 40 + 32);
	bytes = files.file[0].bytes;
	ck_assert(memcmp(bytes, "KMATTRJ1\1\0\0\0\0\0\0\0", 16) == 0);
	ck_assert(memcmp(bytes + 16, &some_identity, 32) == 0);
	ck_assert_uint_eq(little_endian(bytes + 48, 8), 1);
	ck_assert_uint_eq(little_endian(bytes + 56, 4), 0);
	ck_assert_uint_eq(little_endian(bytes + 60, 4), crc32c_by_hand(bytes, 60, 0));
	bytes += 64;
	ck_assert_uint_eq(little_endian(bytes, 8), 1);
	ck_assert_uint_eq(little_endian(bytes + 8, 8), 0x1122334455667788);
	ck_assert_uint_eq(little_endian(bytes + 16, 4), 5);
	ck_assert_uint_eq(little_endian(bytes + 20, 2), 0x1234);
	ck_assert_uint_eq(little_endian(bytes + 22, 2), 1);
	crc = crc32c_by_hand(bytes, 24, crc32c_by_hand(&some_identity, 32, 0));
	ck_assert_uint_eq(little_endian(bytes + 24, 4), crc32c_by_hand("hello", 5, crc));
	crc = crc32c_by_hand(bytes, 28, crc32c_by_hand(&some_identity, 32, 0));
	ck_assert_uint_eq(little_endian(bytes + 28, 4), crc);
	ck_assert(memcmp(bytes + 32, "hello\0\0\0", 8) == 0);
	bytes += 40;
	ck_assert_uint_eq(little_endian(bytes, 8), 2);
	ck_assert_uint_eq(little_endian(bytes + 16, 4), 0);
	ck_assert_uint_eq(little_endian(bytes + 22, 2), 0);
	files_destroy(&files);
}
END_TEST

/* ---- Round trips ---------------------------------------------------------------------------- */

START_TEST(what_is_written_is_read_from_any_record_on)
{
	uint64_t random = seeded_suite_random(_i), n;
	struct journal_error error;

	make(1 + random_below(&random, 20000));
	ck_assert(memcmp(journal_identity(journal), &some_identity, sizeof(some_identity)) == 0);
	for (int i = 0; i < 60; i++) {
		size_t max_size = random_one_in(&random, 10) ? 100000 : 200;

		ck_assert_int_eq(model_write_some(&model, journal, random_below(&random, 6),
						  max_size, &random),
				 0);
		if (random_one_in(&random, 12))
			ck_assert_uint_eq(reopen(1 + random_below(&random, 20000)), 0);
	}
	expect_journal(&model, "vm");
	for (int i = 0; i < 40; i++) {
		uint64_t first = 1 + random_below(&random, model.n_written + 1);

		first = i ? first : model.n_written + 1;
		ck_assert_int_eq(read_journal(&model, "vm", first, &n, &error), JOURNAL_END);
		ck_assert_uint_eq(n, first <= model.n_written ? model.n_written : 0);
	}
	ck_assert_int_eq(read_journal(&model, "vm", model.n_written + 2, &n, &error),
			 JOURNAL_DAMAGED);
	ck_assert_int_eq(error.error, ERANGE);
}
END_TEST

START_TEST(records_may_be_empty_and_as_long_as_can_be)
{
	uint64_t random = seeded_suite_random(_i);

	make(1000);
	model_append(&model, journal, 0, &random);
	model_append(&model, journal, JOURNAL_MAX_PAYLOAD, &random);
	model_append(&model, journal, 0, &random);
	ck_assert_int_eq(model_write(&model, journal), 0);
	model_append(&model, journal, JOURNAL_MAX_PAYLOAD - 1, &random);
	ck_assert_int_eq(model_write(&model, journal), 0);
	reopen(1000);
	ck_assert_int_eq(model_write_some(&model, journal, 3, 100, &random), 0);
	expect_journal(&model, "vm");
}
END_TEST

START_TEST(a_journal_without_records_is_read_and_reopened)
{
	uint64_t random = seeded_suite_random(_i);

	make(1000);
	ck_assert_int_eq(journal_write(journal), 0);
	expect_journal(&model, "vm");
	reopen(1000);
	ck_assert_uint_eq(journal_status(journal).next_number, 1);
	ck_assert_int_eq(model_write_some(&model, journal, 3, 100, &random), 0);
	expect_journal(&model, "vm");
}
END_TEST

START_TEST(what_was_gathered_and_not_written_is_not_there)
{
	uint64_t random = seeded_suite_random(_i);

	make(1000);
	ck_assert_int_eq(model_write_some(&model, journal, 3, 100, &random), 0);
	journal_append(journal, 1, 2, NULL, 0);
	reopen(1000);
	expect_journal(&model, "vm");
	ck_assert_uint_eq(journal_append(journal, 1, 2, NULL, 0), 4);
}
END_TEST

START_TEST(a_journal_that_is_there_is_not_made_again)
{
	struct journal_options options = { .segment_size = 1000 };
	uint64_t random = seeded_suite_random(_i);
	struct journal *another = NULL;

	make(1000);
	ck_assert_int_eq(model_write_some(&model, journal, 3, 100, &random), 0);
	ck_assert_int_eq(journal_create(scratch_fd, "vm", &some_identity, options, &another),
			 -EEXIST);
	ck_assert_ptr_null(another);
	expect_journal(&model, "vm");
}
END_TEST

START_TEST(files_are_for_their_owner_alone_whatever_the_umask)
{
	struct stat status;

	umask(0);
	make(1);
	journal_append(journal, 1, 2, NULL, 0);
	ck_assert_int_eq(journal_write(journal), 0);
	journal_append(journal, 1, 2, NULL, 0);
	ck_assert_int_eq(journal_write(journal), 0);
	ck_assert_int_eq(fstatat(scratch_fd, "vm", &status, 0), 0);
	ck_assert_uint_eq(status.st_mode, S_IFDIR | 0700);
	ck_assert_int_eq(fstatat(scratch_fd, "vm/0000000000000001.journal", &status, 0), 0);
	ck_assert_uint_eq(status.st_mode, S_IFREG | 0600);
	ck_assert_int_eq(fstatat(scratch_fd, "vm/0000000000000002.journal", &status, 0), 0);
	ck_assert_uint_eq(status.st_mode, S_IFREG | 0600);
}
END_TEST

/* ---- Retiring ------------------------------------------------------------------------------- */

START_TEST(retiring_removes_whole_segments_and_keeps_numbers)
{
	uint64_t random = seeded_suite_random(_i), n;
	struct journal_status status, before;
	struct journal_error error = { 0 };

	make(500);
	for (int i = 0; i < 40; i++)
		ck_assert_int_eq(model_write_some(&model, journal, 1 + random_below(&random, 4),
						  100, &random),
				 0);
	before = journal_status(journal);
	ck_assert_uint_gt(before.n_segments, 5);
	for (uint64_t number = 0; number <= model.n_written + 1; number++) {
		ck_assert_int_eq(journal_retire(journal, number), 0);
		status = journal_status(journal);
		ck_assert_uint_ge(status.n_segments, 1);
		ck_assert(number == 0 || status.first_number <= number);
		ck_assert_uint_eq(status.next_number, before.next_number);
		ck_assert_int_eq(read_journal(&model, "vm", status.first_number, &n, &error),
				 JOURNAL_END);
		ck_assert_uint_eq(n, model.n_written);
		if (status.first_number == 1)
			continue;
		ck_assert_int_eq(read_journal(&model, "vm", status.first_number - 1, &n, &error),
				 JOURNAL_DAMAGED);
		ck_assert_int_eq(error.error, ERANGE);
	}
	ck_assert_uint_eq(status.n_segments, 1);
	ck_assert_uint_lt(status.n_bytes, before.n_bytes);
	reopen(500);
	ck_assert_uint_eq(journal_status(journal).next_number, before.next_number);
	ck_assert_uint_eq(journal_status(journal).first_number, status.first_number);
	ck_assert_uint_eq(journal_status(journal).n_bytes, status.n_bytes);
	ck_assert_int_eq(model_write_some(&model, journal, 3, 100, &random), 0);
	ck_assert_int_eq(read_journal(&model, "vm", 0, &n, &error), JOURNAL_END);
	ck_assert_uint_eq(n, model.n_written);
}
END_TEST

START_TEST(a_reader_that_is_overtaken_by_retiring_is_told_so)
{
	uint64_t random = seeded_suite_random(_i);
	struct journal_reader *reader;
	struct journal_record record;
	struct journal_error error;
	enum journal_read found;

	make(1);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(model_write_some(&model, journal, 1, 100, &random), 0);
	ck_assert_int_eq(journal_reader_open(scratch_fd, "vm", (struct journal_position){ 0 },
					     &reader, &error),
			 0);
	ck_assert_int_eq(journal_read(reader, &record, &error), JOURNAL_RECORD);
	ck_assert_int_eq(journal_retire(journal, 4), 0);
	found = journal_read(reader, &record, &error);
	ck_assert_int_eq(found, JOURNAL_DAMAGED);
	ck_assert_int_eq(error.error, ESTALE);
	journal_reader_free(reader);
}
END_TEST

/* ---- A reader beside a writer --------------------------------------------------------------- */

#define N_FOLLOWED 2000u

/* Everything about a record follows from its number, so that the threads share nothing. */
static size_t followed_size(uint64_t number)
{
	return number % 97 == 0 ? 70000 : number * 13 % 300;
}

static uint8_t followed_byte(uint64_t number)
{
	return (uint8_t)(number * 31 + 7);
}

static void *write_followed(void *data)
{
	uint8_t *bytes = allocate(70000);

	(void)data;
	for (uint64_t number = 1; number <= N_FOLLOWED; number++) {
		struct iovec part = { bytes, followed_size(number) };

		memset(bytes, followed_byte(number), part.iov_len);
		if (journal_append(journal, 1, number, &part, 1) != number)
			break;
		if (number % 5 == 0 || number % 7 == 0 || number == N_FOLLOWED)
			if (journal_write(journal) < 0)
				break;
	}
	free(bytes);
	return NULL;
}

START_TEST(a_reader_beside_a_writer_reads_every_record_once_and_no_other)
{
	struct journal_reader *reader;
	struct journal_record record;
	struct journal_error error;
	enum journal_read found;
	pthread_t thread;
	uint64_t number = 1;

	make(100000);
	ck_assert_int_eq(journal_reader_open(scratch_fd, "vm", (struct journal_position){ 0 },
					     &reader, &error),
			 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_followed, NULL), 0);
	while (number <= N_FOLLOWED) {
		found = journal_read(reader, &record, &error);
		ck_assert_msg(found != JOURNAL_DAMAGED, "%s at %ju: %s", error.file,
			      (uintmax_t)error.offset, error.text);
		if (found != JOURNAL_RECORD) {
			usleep(20); /* valgrind runs one thread at a time */
			continue;
		}
		ck_assert_uint_eq(record.header.number, number);
		ck_assert_uint_eq(record.header.time_us, number);
		ck_assert_uint_eq(record.header.size, followed_size(number));
		for (size_t i = 0; i < record.header.size; i++)
			ck_assert(record.payload[i] == followed_byte(number));
		number++;
	}
	ck_assert_int_eq(journal_read(reader, &record, &error), JOURNAL_END);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_gt(journal_status(journal).n_segments, 10);
	journal_reader_free(reader);
}
END_TEST

#define FAILED UINT64_C(0xeeeeeeeeeeeeeeee) /* in the records of a write that is to fail */

static bool is_to_fail;

static ssize_t pwrite_half(int fd, const void *data, size_t size, off_t offset)
{
	static bool is_begun;

	if (is_to_fail && is_begun) {
		is_begun = false;
		errno = ENOSPC;
		return -1;
	}
	is_begun = is_to_fail;
	return pwrite(fd, data, is_to_fail ? size - 1 : size, offset);
}

static void *write_and_fail(void *data)
{
	uint64_t random = seeded_suite_random(0), words[64], number = 1;

	while (number <= N_FOLLOWED) {
		unsigned int n = 1 + (unsigned int)random_below(&random, 4);

		is_to_fail = random_one_in(&random, 2);
		for (unsigned int i = 0; i < n; i++) {
			struct iovec part = { words, 8 * (1 + number % N(words)) };

			for (size_t k = 0; k < N(words); k++)
				words[k] = is_to_fail ? FAILED : number + i;
			if (journal_append(data, 1, 1, &part, 1) != number + i)
				return data;
		}
		if (journal_write(data) == (is_to_fail ? -ENOSPC : 0))
			number += is_to_fail ? 0 : n;
		else
			return data;
	}
	return NULL;
}

START_TEST(a_reader_beside_a_writer_whose_writes_fail_reads_none_of_what_failed)
{
	struct journal_options options = { .segment_size = 10000 };
	struct journal_reader *reader;
	struct journal_record record;
	struct journal_error error;
	uint64_t number = 1;
	pthread_t thread;
	void *result;

	journal_io.pwrite = pwrite_half;
	ck_assert_int_eq(journal_create(scratch_fd, "vm", &some_identity, options, &journal), 0);
	ck_assert_int_eq(journal_reader_open(scratch_fd, "vm", (struct journal_position){ 0 },
					     &reader, &error),
			 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_and_fail, journal), 0);
	while (number <= N_FOLLOWED) {
		enum journal_read found = journal_read(reader, &record, &error);

		ck_assert_msg(found != JOURNAL_DAMAGED, "%s at %ju: %s", error.file,
			      (uintmax_t)error.offset, error.text);
		if (found != JOURNAL_RECORD) {
			usleep(20); /* valgrind runs one thread at a time */
			continue;
		}
		ck_assert_uint_eq(record.header.number, number);
		for (size_t i = 0; i < record.header.size; i += 8)
			ck_assert_uint_eq(*(const uint64_t *)(record.payload + i), number);
		number++;
	}
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	ck_assert_ptr_null(result);
	journal_reader_free(reader);
}
END_TEST

int main(void)
{
	TCase *bytes = tcase_create("bytes");
	TCase *trips = tcase_create("round trips");
	TCase *retiring = tcase_create("retiring");
	TCase *following = tcase_create("following");
	TCase *cases[] = { bytes, trips, retiring, following, NULL };

	for (TCase **tcase = cases; *tcase; tcase++)
		tcase_add_checked_fixture(*tcase, begin, end);
	tcase_add_test(bytes, the_checksum_is_the_one_that_the_manual_page_names);
	tcase_add_test(bytes, a_journals_bytes_are_those_that_the_manual_page_says);
	tcase_add_loop_test(trips, what_is_written_is_read_from_any_record_on, 0, 4);
	tcase_add_test(trips, records_may_be_empty_and_as_long_as_can_be);
	tcase_add_test(trips, a_journal_without_records_is_read_and_reopened);
	tcase_add_test(trips, what_was_gathered_and_not_written_is_not_there);
	tcase_add_test(trips, a_journal_that_is_there_is_not_made_again);
	tcase_add_test(trips, files_are_for_their_owner_alone_whatever_the_umask);
	tcase_add_loop_test(retiring, retiring_removes_whole_segments_and_keeps_numbers, 0, 2);
	tcase_add_test(retiring, a_reader_that_is_overtaken_by_retiring_is_told_so);
	tcase_add_test(following, a_reader_beside_a_writer_reads_every_record_once_and_no_other);
	tcase_add_test(following,
		       a_reader_beside_a_writer_whose_writes_fail_reads_none_of_what_failed);
	return seeded_suite_run("journal", cases);
}
