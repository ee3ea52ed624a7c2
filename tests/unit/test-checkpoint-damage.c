/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoints that somebody changed: every byte flipped and every cut, by who knows the checksums
 * as well; and what no replay could have come to be.
 */
#include "daemon/allocate.h"
#include "daemon/journal/checkpoint-body.h"
#include "tests/unit/checkpoint-checks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Whatever is there now, of so many bytes, is refused with its name and a place in it. */
static struct journal_error expect_refused_now(size_t size, int error_number)
{
	struct journal_error error;

	EXPECT(checkpoint_read_it(checkpoint_told.number, &error) == NULL, "%zu bytes are taken",
	       size);
	EXPECT(error.error == error_number && strcmp(error.file, checkpoint_file) == 0 &&
		       error.offset <= size,
	       "%d, %s at %ju: %s", error.error, error.file, (uintmax_t)error.offset, error.text);
	return error;
}

START_TEST(every_byte_flipped_and_every_cut_is_refused)
{
	struct journal_error error;
	size_t size;
	int fd;

	checkpoint_make_small(seeded_suite_random(_i));
	size = checkpoint_files.file[0].size;
	fd = openat(checkpoint_folder_fd, checkpoint_file, O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	for (size_t i = 0; i < size; i++) {
		uint8_t flipped = checkpoint_files.file[0].bytes[i] ^ (uint8_t)(1u << i % 8);

		ck_assert_int_eq(pwrite(fd, &flipped, 1, (off_t)i), 1);
		expect_refused_now(size, EBADMSG);
		ck_assert_int_eq(pwrite(fd, checkpoint_files.file[0].bytes + i, 1, (off_t)i), 1);
	}
	for (size_t more = 8; more > 0; more--) {
		ck_assert_int_eq(ftruncate(fd, (off_t)(size + more)), 0);
		expect_refused_now(size + more, EBADMSG);
	}
	for (size_t cut = size; cut-- > 0;) {
		ck_assert_int_eq(ftruncate(fd, (off_t)cut), 0);
		error = expect_refused_now(cut, EBADMSG);
		EXPECT(strstr(error.text, "ends within its header") || cut >= HEADER_SIZE,
		       "cut to %zu: %s", cut, error.text);
	}
	printf("# %zu bytes flipped in turn, %zu cuts: all refused\n", size, size);
	fflush(stdout);
	close(fd);
	files_destroy(&checkpoint_files);
}
END_TEST

static void put_crc(uint8_t *bytes, size_t at, size_t from, size_t to)
{
	uint32_t crc = crc32c_by_hand(bytes + from, to - from, 0);

	for (unsigned int i = 0; i < 4; i++)
		bytes[at + i] = (uint8_t)(crc >> 8 * i);
}

/* As whoever knows how to make a checksum would. */
static void sign(uint8_t *bytes, size_t size)
{
	put_crc(bytes, 72, HEADER_SIZE, size);
	put_crc(bytes, 76, 0, 76);
}

/* What a checkpoint is written as. */
static struct image written_as(const struct replay *replay)
{
	struct image body = { 0 };

	checkpoint_body_add(replay, &body);
	return body;
}

START_TEST(bytes_changed_by_who_knows_the_checksum_are_refused_or_are_another_checkpoint)
{
	uint64_t random = seeded_suite_random(_i);
	unsigned int n_refused = 0, n_other = 0;
	struct journal_error error;
	uint8_t *bytes;
	size_t size;
	int fd;

	checkpoint_make_small(seeded_suite_random(_i));
	bytes = checkpoint_files.file[0].bytes;
	size = checkpoint_files.file[0].size;
	fd = openat(checkpoint_folder_fd, checkpoint_file, O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	for (size_t i = HEADER_SIZE; i < size; i++) {
		const uint8_t saved = bytes[i];
		struct replay *read;
		struct image body;

		bytes[i] ^= (uint8_t)(1 + random_below(&random, 255));
		sign(bytes, size);
		ck_assert_int_eq(pwrite(fd, bytes, size, 0), (ssize_t)size);
		read = checkpoint_read_it(checkpoint_told.number, &error);
		n_refused += !read;
		n_other += read != NULL;
		if (read) {
			body = written_as(read);
			EXPECT(body.size == size - HEADER_SIZE &&
				       memcmp(body.data, bytes + HEADER_SIZE, body.size) == 0,
			       "byte %zu: written as others than it was read from", i);
			image_destroy(&body);
			replay_end(read);
			checkpoint_free_replay(read);
		}
		bytes[i] = saved;
	}
	printf("# %zu bytes: %u refused, %u other checkpoints\n", size, n_refused, n_other);
	fflush(stdout);
	ck_assert_uint_gt(n_refused, 100);
	ck_assert_uint_gt(n_other, 100); /* times, tokens, texts: what is nobody's to judge */
	close(fd);
	files_destroy(&checkpoint_files);
}
END_TEST

/* With these bytes in its place. */
static struct journal_error expect_refused_bytes(const uint8_t *bytes, size_t size,
						 int error_number)
{
	file_put("vm", checkpoint_file, bytes, size);
	return expect_refused_now(size, error_number);
}

START_TEST(what_a_header_can_say_wrong_is_told_apart)
{
	struct journal_identity other = some_identity;
	struct journal_error error;
	struct replay replay;
	uint8_t *bytes;
	size_t size;

	checkpoint_make_small(seeded_suite_random(_i));
	bytes = checkpoint_files.file[0].bytes;
	size = checkpoint_files.file[0].size;
	bytes[8] = 2;
	sign(bytes, size);
	error = expect_refused_bytes(bytes, size, EPROTO);
	ck_assert_ptr_nonnull(strstr(error.text, "format"));
	bytes[8] = 1;
	bytes[12] = 1;
	sign(bytes, size);
	error = expect_refused_bytes(bytes, size, EBADMSG);
	ck_assert_ptr_nonnull(strstr(error.text, "reserved"));
	bytes[12] = 0;
	bytes[48] ^= 1;
	sign(bytes, size);
	error = expect_refused_bytes(bytes, size, EBADMSG);
	ck_assert_ptr_nonnull(strstr(error.text, "its name does not say"));
	bytes[48] ^= 1;
	sign(bytes, size);
	file_put("vm", checkpoint_file, bytes, size);
	other.life_id[0] ^= 1;
	replay_init(&replay);
	ck_assert_int_eq(checkpoint_read(checkpoint_folder_fd, &other, checkpoint_told.number,
					 &replay, &error),
			 -EXDEV);
	ck_assert_ptr_nonnull(strstr(error.text, "another journal"));
	replay_destroy(&replay);
	files_destroy(&checkpoint_files);
}
END_TEST

/* What is at offset of the file is made value, of so many bytes: that is refused. */
static void expect_refused_with(size_t offset, uint64_t value, size_t n_bytes, const char *why)
{
	struct journal_error error;
	uint8_t *bytes = allocate(checkpoint_files.file[0].size);

	memcpy(bytes, checkpoint_files.file[0].bytes, checkpoint_files.file[0].size);
	memcpy(bytes + offset, &value, n_bytes);
	sign(bytes, checkpoint_files.file[0].size);
	error = expect_refused_bytes(bytes, checkpoint_files.file[0].size, EBADMSG);
	ck_assert_msg(strstr(error.text, why) != NULL, "%zu: %s", offset, error.text);
	free(bytes);
}

START_TEST(what_a_replay_cannot_have_come_to_be_is_refused)
{
	const size_t facts = HEADER_SIZE, registration = facts + 312;
	size_t views, session, failures, doubtful;
	struct journal_error error;
	struct replay *read;
	struct wire_failure two[2] = { { .seqno = 3, .status = 1 }, { .seqno = 5, .status = 2 } };

	checkpoint_tell(seeded_suite_random(_i), 20);
	/* a session with two failures and an update that was begun, and two doubtful ranges */
	ck_assert_uint_gt(checkpoint_told.n_sessions, 0);
	free(checkpoint_told.sessions[0].failures);
	checkpoint_told.sessions[0].failures = allocate(sizeof(two));
	memcpy(checkpoint_told.sessions[0].failures, two, sizeof(two));
	checkpoint_told.sessions[0].n_failures = 2;
	checkpoint_told.sessions[0].settled_seqno = 7;
	checkpoint_told.sessions[0].forgotten_seqno = 2;
	checkpoint_told.sessions[0].n_in_force = 4;
	checkpoint_told.sessions[0].next_n_total = 9;
	checkpoint_told.sessions[0].next =
		(struct wire_update){ .kind = KVMATTR_PROTECT, .form = WIRE_FORM_PAGES };
	for (size_t i = 1; i < checkpoint_told.n_sessions; i++)
		free(checkpoint_told.sessions[i].failures);
	checkpoint_told.n_sessions = 1;
	page_ranges_clear(&checkpoint_told.doubtful);
	page_ranges_add(&checkpoint_told.doubtful, 10, 5);
	page_ranges_add(&checkpoint_told.doubtful, 20, 5);
	checkpoint_write_told();
	checkpoint_files = files_take("vm");
	checkpoint_make_name(checkpoint_told.number, checkpoint_file);
	views = registration + 72;
	session = views + 16 * checkpoint_told.facts.n_views;
	failures = session + 128;
	doubtful = failures + 2 * 128;
	read = checkpoint_read_it(checkpoint_told.number, &error);
	ck_assert_msg(read != NULL, "%s", error.text);
	checkpoint_free_replay(read);

	expect_refused_with(facts + 24, checkpoint_told.sessions[0].facts.id - 1, 8, "field id");
	expect_refused_with(facts + 32, UINT64_MAX, 8, "ends too early");
	expect_refused_with(facts + 40, UINT32_MAX, 4, "");
	expect_refused_with(facts + 44, 2, 1, "state");
	expect_refused_with(facts + 45, 2, 1, "state");
	expect_refused_with(facts + 46, 1, 2, "state");
	expect_refused_with(facts + 16, 1, 8, "release");
	expect_refused_with(facts + 48, 1, 4, "release");
	expect_refused_with(facts + 45, 1, 1, "release");
	expect_refused_with(registration, '/', 1, "field name");
	expect_refused_with(registration + 64, 17, 4, "");
	expect_refused_with(registration + 64, UINT32_MAX, 4, "ends too early");
	expect_refused_with(views + 8, 0x7777, 8, "other views");
	expect_refused_with(session, 0, 8, "field id");
	expect_refused_with(session + 88, 8, 8, "forgotten_seqno");
	expect_refused_with(session + 96, UINT64_MAX / 64, 8, "ends too early");
	expect_refused_with(session + 104, 0, 1, "field next");
	expect_refused_with(session + 105, WIRE_FORM_NONE, 1, "field next");
	expect_refused_with(session + 112, 1, 4, "field next");
	expect_refused_with(session + 120, 9, 4, "field next");
	expect_refused_with(session + 120, 0, 4, "field next");
	expect_refused_with(failures, 8, 8, "failure.seqno");
	expect_refused_with(failures, 0, 8, "failure.seqno");
	expect_refused_with(failures, 5, 8, "failure.seqno");
	expect_refused_with(failures + 8, 0, 4, "failure.status");
	expect_refused_with(doubtful + 8, 10, 8, "doubtful");
	expect_refused_with(doubtful + 8, 0, 8, "doubtful");
	expect_refused_with(doubtful, 21, 8, "doubtful");
	expect_refused_with(doubtful + 16, KVMATTR_GFN_LIMIT, 8, "doubtful");
	expect_refused_with(doubtful + 24, KVMATTR_GFN_LIMIT, 8, "doubtful");
	expect_refused_with(doubtful + 32, 0, 4, "no image of a policy");
	files_destroy(&checkpoint_files);
}
END_TEST

/* A size that no memory has, in the header as well or not. */
START_TEST(a_file_as_long_as_no_memory_is_refused)
{
	const uint64_t size = UINT64_C(1) << 43;
	int fd;

	checkpoint_make_small(seeded_suite_random(_i));
	fd = openat(checkpoint_folder_fd, checkpoint_file, O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	if (ftruncate(fd, (off_t)size) == 0) /* not every file system can */
		for (unsigned int i = 0; i < 2; i++) {
			struct journal_error error = expect_refused_now(size, EBADMSG);

			ck_assert_uint_eq(error.offset, size);
			ck_assert_ptr_nonnull(strstr(error.text, "a checkpoint has 80 to"));
			memcpy(checkpoint_files.file[0].bytes + 64, &size, sizeof(size));
			put_crc(checkpoint_files.file[0].bytes, 76, 0, 76);
			ck_assert_int_eq(pwrite(fd, checkpoint_files.file[0].bytes, HEADER_SIZE, 0),
					 HEADER_SIZE);
		}
	close(fd);
	files_destroy(&checkpoint_files);
}
END_TEST

int main(void)
{
	TCase *damage = checkpoint_make_case("damage");

	tcase_add_loop_test(damage, every_byte_flipped_and_every_cut_is_refused, 0, 2);
	tcase_add_loop_test(
		damage,
		bytes_changed_by_who_knows_the_checksum_are_refused_or_are_another_checkpoint, 0,
		4);
	tcase_add_test(damage, what_a_header_can_say_wrong_is_told_apart);
	tcase_add_test(damage, what_a_replay_cannot_have_come_to_be_is_refused);
	tcase_add_test(damage, a_file_as_long_as_no_memory_is_refused);
	return seeded_suite_run("checkpoint-damage", (TCase *[]){ damage, NULL });
}
