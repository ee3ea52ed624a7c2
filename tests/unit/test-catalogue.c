/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which journals there are, and what each is of.
 */
#include "daemon/journal/catalogue.h"
#include "daemon/journal/directory.h"
#include "tests/unit/past-checks.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct journal_identity other_boot = { .boot_id = "another boot",
						    .life_id = "another life" };

static void start(void)
{
	scratch_make();
}

static void stop(void)
{
	past_end();
	scratch_remove();
}

/* ---- Names --------------------------------------------------------------------------------- */

START_TEST(a_journals_name_is_a_vms_and_sixteen_digits)
{
	char longest[PAST_NAME_SIZE], vm[KVMATTR_NAME_SIZE];

	ck_assert(catalogue_is_name("a.0123456789abcdef", vm));
	ck_assert_str_eq(vm, "a");
	ck_assert(catalogue_is_name("my.guest-1_x.0123456789abcdef", vm));
	ck_assert_str_eq(vm, "my.guest-1_x");
	memset(longest, 'v', KVMATTR_NAME_SIZE - 1);
	strcpy(longest + KVMATTR_NAME_SIZE - 1, ".0123456789abcdef");
	ck_assert(catalogue_is_name(longest, vm));
	ck_assert_uint_eq(strlen(vm), KVMATTR_NAME_SIZE - 1);
}
END_TEST

START_TEST(what_is_no_journals_name_is_left_alone)
{
	static const char *const names[] = {
		"",
		".",
		"..",
		"a",
		"0123456789abcdef",
		".0123456789abcdef",
		"a.0123456789abcde",
		"a.0123456789abcdef0",
		"a.0123456789ABCDEF",
		"a.0123456789abcdeg",
		"a.0123456789abcdef.removed",
		"a_0123456789abcdef",
		"../a.0123456789abcdef",
		"a/b.0123456789abcdef",
		"..0123456789abcdef",
		"-a.0123456789abcdef",
		"a b.0123456789abcdef",
		"a\nb.0123456789abcdef",
		/* 64 characters, where a VM's name has 63 at most */
		"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"
		".0123456789abcdef",
		"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"
		".0123456789abcdef",
	};
	char vm[KVMATTR_NAME_SIZE] = "untouched";

	for (size_t i = 0; i < N(names); i++)
		ck_assert_msg(!catalogue_is_name(names[i], vm), "%s", names[i]);
	ck_assert_str_eq(vm, "untouched");
}
END_TEST

/* ---- The list ------------------------------------------------------------------------------ */

/* A journal of a story; what was told is kept in *ret. */
static void make(const char *name, const struct journal_identity *identity, unsigned int n_writes,
		 bool is_released, struct story *ret)
{
	const struct journal_options options = { .segment_size = 4096 };
	struct journal *journal;

	story_begin(ret, seeded_suite_random((int)n_writes));
	while (n_writes--)
		story_go_on(ret);
	if (is_released)
		story_release(ret);
	ck_assert_int_eq(journal_create(scratch_fd, name, identity, options, &journal), 0);
	story_write(ret, journal);
	journal_free(journal);
}

static bool is_live(void *context, const char *name)
{
	return !strcmp(name, context);
}

static struct catalogue_entry *list(const char *live, size_t *ret_n)
{
	struct catalogue_source source = {
		.parent_fd = scratch_fd,
		.boot_id = some_identity.boot_id,
		.is_live = live ? is_live : NULL,
		.context = (void *)(uintptr_t)live,
	};
	struct catalogue_entry *entries = NULL;
	struct journal_error error;

	ck_assert_int_eq(catalogue_list(&source, &entries, ret_n, &error), 0);
	return entries;
}

static uint64_t size_of(const char *name)
{
	struct files files = files_take(name);
	uint64_t size = 0;

	for (size_t i = 0; i < files.n; i++)
		size += files.file[i].size;
	files_destroy(&files);
	return size;
}

static void expect_entry(const struct catalogue_entry *entry, const char *name,
			 enum catalogue_state state, const struct story *story)
{
	ck_assert_str_eq(entry->name, name);
	ck_assert_str_eq(entry->life, strrchr(name, '.') + 1);
	ck_assert_uint_eq(strlen(entry->vm), (size_t)(entry->life - 1 - entry->name));
	ck_assert_msg(entry->state == state, "%s is %s, not %s", name,
		      catalogue_state_name(entry->state), catalogue_state_name(state));
	ck_assert_uint_eq(entry->n_bytes, size_of(name));
	if (!story)
		return;
	ck_assert_uint_eq(entry->commit, story->commit);
	ck_assert_uint_eq(entry->commit_us, story->commit_us);
	ck_assert_uint_eq(entry->registered_us, story->records[0].header.time_us);
}

START_TEST(each_journal_is_what_it_is)
{
	const struct journal_options options = { .segment_size = 4096 };
	struct story open, released, other, gone;
	struct catalogue_entry *entries;
	struct journal *empty;
	struct files files;
	size_t n;

	make("guest.000000000000000a", &some_identity, 30, false, &open);
	make("guest.000000000000000b", &some_identity, 20, true, &released);
	make("guest.000000000000000c", &other_boot, 25, false, &other);
	make("guest.000000000000000d", &other_boot, 15, true, &gone);
	ck_assert_int_eq(journal_create(scratch_fd, "guest.000000000000000e", &some_identity,
					options, &empty),
			 0);
	journal_free(empty);
	files = files_take("guest.000000000000000a");
	files.file[0].bytes[100] ^= 1;
	files_put(&files, "guest.000000000000000f");
	files_destroy(&files);
	ck_assert_int_eq(mkdirat(scratch_fd, "something-else", 0700), 0);

	entries = list(NULL, &n);
	ck_assert_uint_eq(n, 6);
	expect_entry(&entries[0], "guest.000000000000000a", CATALOGUE_OPEN, &open);
	expect_entry(&entries[1], "guest.000000000000000b", CATALOGUE_RELEASED, &released);
	ck_assert_str_eq(entries[1].released.text, "the owner is gone");
	expect_entry(&entries[2], "guest.000000000000000c", CATALOGUE_OTHER_BOOT, &other);
	expect_entry(&entries[3], "guest.000000000000000d", CATALOGUE_RELEASED, &gone);
	expect_entry(&entries[4], "guest.000000000000000e", CATALOGUE_UNFINISHED, NULL);
	expect_entry(&entries[5], "guest.000000000000000f", CATALOGUE_DAMAGED, NULL);
	ck_assert_ptr_nonnull(strstr(entries[5].error.file, ".journal"));
	ck_assert_uint_gt(strlen(entries[5].error.text), 20);
	ck_assert(entries[0].is_of_this_boot && entries[1].is_of_this_boot);
	ck_assert(!entries[2].is_of_this_boot && !entries[3].is_of_this_boot);
	free(entries);
	story_end(&open);
	story_end(&released);
	story_end(&other);
	story_end(&gone);
}
END_TEST

START_TEST(a_journal_that_is_live_is_not_read)
{
	struct catalogue_entry *entries;
	struct story story;
	size_t n;

	make("guest.000000000000000a", &some_identity, 30, false, &story);
	entries = list("guest.000000000000000a", &n);
	ck_assert_uint_eq(n, 1);
	expect_entry(&entries[0], "guest.000000000000000a", CATALOGUE_LIVE, NULL);
	free(entries);
	story_end(&story);
}
END_TEST

START_TEST(what_others_may_touch_is_not_read_and_said_so)
{
	struct catalogue_entry *entries;
	struct story story;
	size_t n;

	make("guest.000000000000000a", &some_identity, 5, false, &story);
	ck_assert_int_eq(fchmodat(scratch_fd, "guest.000000000000000a", 0755, 0), 0);
	entries = list(NULL, &n);
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(entries[0].state, CATALOGUE_DAMAGED);
	ck_assert_ptr_nonnull(strstr(entries[0].error.text, "lets others in"));
	free(entries);
	story_end(&story);
}
END_TEST

START_TEST(an_empty_directory_has_no_journals)
{
	size_t n = 7;
	struct catalogue_entry *entries = list(NULL, &n);

	ck_assert_uint_eq(n, 0);
	free(entries);
}
END_TEST

int main(void)
{
	TCase *names = tcase_create("names"), *lists = tcase_create("lists");

	tcase_add_test(names, a_journals_name_is_a_vms_and_sixteen_digits);
	tcase_add_test(names, what_is_no_journals_name_is_left_alone);
	tcase_add_checked_fixture(lists, start, stop);
	tcase_add_test(lists, each_journal_is_what_it_is);
	tcase_add_test(lists, a_journal_that_is_live_is_not_read);
	tcase_add_test(lists, what_others_may_touch_is_not_read_and_said_so);
	tcase_add_test(lists, an_empty_directory_has_no_journals);
	return seeded_suite_run("catalogue", (TCase *const[]){ names, lists, NULL });
}
