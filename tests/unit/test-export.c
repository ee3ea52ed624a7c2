/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exports: the same commit gives the same bytes, and none of them can be another one; base64.
 */
#include "daemon/journal/base64.h"
#include "daemon/journal/export.h"
#include "tests/unit/past-checks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct past_states *states;
static char text[256];

static void start(void)
{
	scratch_make();
	states = past_states_new();
}

static void stop(void)
{
	past_states_free(states);
	past_end();
	scratch_remove();
}

static struct image export_at(uint64_t commit)
{
	struct journal_error error;
	const struct replay *state;
	struct image image = { 0 };

	ck_assert_int_eq(past_state_at(states, &past_source, commit, &state, &error), 0);
	export_write(state, &image);
	return image;
}

START_TEST(an_export_holds_the_policy_of_its_commit)
{
	uint64_t random = seeded_suite_random(_i), commit;
	struct export_header header;
	struct policy *policy;
	struct image image;
	size_t offset;

	past_begin(random, 60, false);
	commit = past.first_kept + random_below(&random, past.story.commit - past.first_kept + 1);
	image = export_at(commit);
	ck_assert_int_eq(export_check(image.data, image.size, &header, &offset, text, sizeof(text)),
			 0);
	ck_assert_str_eq(header.name, "guest");
	ck_assert_uint_eq(header.commit, commit);
	ck_assert_int_eq(policy_image_read(image.data + sizeof(header), image.size - sizeof(header),
					   0, &policy, &offset, text, sizeof(text)),
			 0);
	oracle_expect_same(story_at(&past.story, commit), policy);
	policy_free(policy);
	image_destroy(&image);
}
END_TEST

START_TEST(the_same_commit_gives_the_same_bytes_whichever_way_it_was_replayed)
{
	struct image before, after;
	uint64_t commit;

	past_begin(seeded_suite_random(_i), 40, false);
	commit = past.story.commit;
	before = export_at(commit);
	/* from a checkpoint now, and with more behind it */
	past_checkpoint();
	past_go_on(30);
	past_states_clear(states);
	after = export_at(commit);
	ck_assert_uint_eq(before.size, after.size);
	ck_assert_mem_eq(before.data, after.data, before.size);
	image_destroy(&before);
	image_destroy(&after);
}
END_TEST

START_TEST(it_may_stand_behind_other_bytes)
{
	struct journal_error error;
	struct export_header header;
	const struct replay *state;
	struct image image = { 0 };
	size_t offset;

	past_begin(seeded_suite_random(0), 10, false);
	ck_assert_int_eq(past_state_at(states, &past_source, 0, &state, &error), 0);
	image_add(&image, "12345678", 8);
	export_write(state, &image);
	ck_assert_mem_eq(image.data, "12345678", 8);
	ck_assert_int_eq(
		export_check(image.data + 8, image.size - 8, &header, &offset, text, sizeof(text)),
		0);
	image_destroy(&image);
}
END_TEST

static int check(const struct image *image, size_t size)
{
	struct export_header header;
	size_t offset = SIZE_MAX;
	int r;

	text[0] = '\0';
	r = export_check(image->data, size, &header, &offset, text, sizeof(text));
	if (r < 0) {
		ck_assert_uint_le(offset, size);
		ck_assert_uint_gt(strlen(text), 20);
	}
	return r;
}

START_TEST(every_byte_that_is_another_one_is_found)
{
	struct image image;

	past_begin(seeded_suite_random(_i), 40, false);
	image = export_at(past.story.commit);
	for (size_t i = 0; i < image.size; i++) {
		image.data[i] ^= (uint8_t)(1 << i % 8);
		EXPECT(check(&image, image.size) == -EBADMSG, "byte %zu", i);
		image.data[i] ^= (uint8_t)(1 << i % 8);
	}
	ck_assert_int_eq(check(&image, image.size), 0);
	image_destroy(&image);
}
END_TEST

START_TEST(an_export_that_is_cut_or_has_more_is_refused)
{
	struct image image;
	size_t size;

	past_begin(seeded_suite_random(_i), 40, false);
	image = export_at(past.story.commit);
	size = image.size;
	for (size_t n = 0; n < size; n++)
		EXPECT(check(&image, n) == -EBADMSG, "%zu bytes", n);
	image_add(&image, "", 1);
	ck_assert_int_eq(check(&image, size + 1), -EBADMSG);
	image_destroy(&image);
}
END_TEST

START_TEST(a_later_format_is_told_from_damage)
{
	struct export_header header;
	struct image image;

	past_begin(seeded_suite_random(0), 5, false);
	image = export_at(0);
	memcpy(&header, image.data, sizeof(header));
	header.format = 2;
	header.header_crc = crc32c_by_hand(&header, offsetof(struct export_header, header_crc), 0);
	memcpy(image.data, &header, sizeof(header));
	ck_assert_int_eq(check(&image, image.size), -EPROTO);
	ck_assert_ptr_nonnull(strstr(text, "its format is 2"));
	image_destroy(&image);
}
END_TEST

START_TEST(a_header_that_says_what_none_says_is_refused_whatever_its_checksum)
{
	struct export_header good, header;
	struct image image;

	past_begin(seeded_suite_random(0), 5, false);
	image = export_at(0);
	memcpy(&good, image.data, sizeof(good));
	for (int i = 0; i < 4; i++) {
		header = good;
		switch (i) {
		case 0:
			header.reserved = 1;
			break;
		case 1:
			memset(header.name, 'a', sizeof(header.name));
			break;
		case 2:
			strcpy(header.name, "../../etc");
			break;
		case 3:
			header.name[40] = 'x'; /* behind its end */
			break;
		}
		header.header_crc =
			crc32c_by_hand(&header, offsetof(struct export_header, header_crc), 0);
		memcpy(image.data, &header, sizeof(header));
		ck_assert_int_eq(check(&image, image.size), -EBADMSG);
	}
	image_destroy(&image);
}
END_TEST

/* ---- Base64 -------------------------------------------------------------------------------- */

START_TEST(base64_is_that_of_the_rfc)
{
	/* RFC 4648, section 10 */
	static const char *const pairs[][2] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
	};
	char encoded[16];
	uint8_t decoded[16];
	size_t n;

	for (size_t i = 0; i < N(pairs); i++) {
		base64_encode((const uint8_t *)pairs[i][0], strlen(pairs[i][0]), encoded);
		ck_assert_str_eq(encoded, pairs[i][1]);
		ck_assert_uint_eq(strlen(encoded), BASE64_LENGTH(strlen(pairs[i][0])));
		ck_assert(base64_decode(encoded, strlen(encoded), decoded, &n));
		ck_assert_uint_eq(n, strlen(pairs[i][0]));
		ck_assert_mem_eq(decoded, pairs[i][0], n);
	}
}
END_TEST

START_TEST(whatever_is_encoded_is_decoded)
{
	uint64_t random = seeded_suite_random(_i);
	uint8_t bytes[100], decoded[104];
	char encoded[140];
	size_t n;

	for (int i = 0; i < 2000; i++) {
		size_t size = random_below(&random, sizeof(bytes) + 1);

		for (size_t j = 0; j < size; j++)
			bytes[j] = (uint8_t)random_below(&random, 256);
		base64_encode(bytes, size, encoded);
		ck_assert(base64_decode(encoded, strlen(encoded), decoded, &n));
		ck_assert_uint_eq(n, size);
		ck_assert_mem_eq(decoded, bytes, size);
	}
}
END_TEST

START_TEST(what_no_encoder_writes_is_refused)
{
	static const char *const texts[] = {
		"Z",    "Zg",     "Zg=",  "Zg===", "Z===",     "====", "Zh==", "Zm9=",
		"Zm 9", "Zm9v\n", "Zm9-", "Zm9_",  "Zg==Zg==", "=Zm9", "Zm=v", "Zm9v====",
	};
	uint8_t decoded[16];
	size_t n;

	for (size_t i = 0; i < N(texts); i++)
		ck_assert_msg(!base64_decode(texts[i], strlen(texts[i]), decoded, &n), "%s",
			      texts[i]);
	ck_assert(!base64_decode("Zm\0v", 4, decoded, &n));
}
END_TEST

int main(void)
{
	TCase *exports = tcase_create("exports"), *base64 = tcase_create("base64");

	tcase_add_checked_fixture(exports, start, stop);
	tcase_add_loop_test(exports, an_export_holds_the_policy_of_its_commit, 0, 6);
	tcase_add_loop_test(
		exports, the_same_commit_gives_the_same_bytes_whichever_way_it_was_replayed, 0, 6);
	tcase_add_test(exports, it_may_stand_behind_other_bytes);
	tcase_add_loop_test(exports, every_byte_that_is_another_one_is_found, 0, 2);
	tcase_add_loop_test(exports, an_export_that_is_cut_or_has_more_is_refused, 0, 2);
	tcase_add_test(exports, a_later_format_is_told_from_damage);
	tcase_add_test(exports, a_header_that_says_what_none_says_is_refused_whatever_its_checksum);
	tcase_add_test(base64, base64_is_that_of_the_rfc);
	tcase_add_loop_test(base64, whatever_is_encoded_is_decoded, 0, 2);
	tcase_add_test(base64, what_no_encoder_writes_is_refused);
	return seeded_suite_run("export", (TCase *const[]){ exports, base64, NULL });
}
