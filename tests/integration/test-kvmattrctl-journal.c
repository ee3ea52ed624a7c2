/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl journal, export and import: what people and programs see, and what becomes of files
 * that were spoilt, with the exit status that the manual has for it.
 */
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/program.h"
#include "tests/integration/simulated-vmm.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* As the manual has it. */
enum {
	DONE = 0,
	REFUSED = 1,
	WRONG_COMMAND_LINE = 2,
	UNREACHABLE = 3,
	DAMAGED = 4,
	UNREADABLE = 5
};

#define MAX_WORDS 16
#define SEGMENT   "0000000000000001.journal"

static struct kvmattrd *d;
static struct control_client *control;
static struct simulated_vmm *guest;
static char journal[128], vms[64], directory[256], file[320];

static struct program_result run(const char *const *arguments)
{
	const char *argv[MAX_WORDS] = { KVMATTRCTL_PROGRAM, "--runtime-dir", d->runtime_dir };
	int n = 3;

	while (*arguments && n < MAX_WORDS - 1)
		argv[n++] = *arguments++;
	return program_run(argv);
}

#define RUN(...) run((const char *const[]){ __VA_ARGS__, NULL })

static void expect_says(struct program_result result, int status, const char *out, const char *err)
{
	expect_result(&result, status, out, err);
	program_forget(&result);
}

static struct json_object *run_json(int status, const char *const *arguments)
{
	struct program_result result = run(arguments);
	struct json_object *object = json_tokener_parse(result.out);

	ck_assert_msg(result.status == status && object, "it ended with %d: %s%s", result.status,
		      result.out, result.err);
	program_forget(&result);
	return object;
}

#define RUN_JSON(status, ...) run_json(status, (const char *const[]){ "--json", __VA_ARGS__, NULL })

/* Commits: 1 RAM, 2 the layer, 3 rx on pages 16 to 31, 4 none on 32 to 39. */
static void start(void)
{
	struct json_object *status;

	d = kvmattrd_start(NULL);
	control = control_connect(d);
	guest = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	expect_ok(guest->owner, kvmattr_enable_layer(guest->owner, 1, KVMATTR_RWX, 0));
	expect_ok(guest->owner, protect_range(guest->owner, 1, KVMATTR_RX, 16, 16));
	expect_ok(guest->owner, protect_range(guest->owner, 1, KVMATTR_NONE, 32, 8));
	status = control_call(control, "journal.status", "{\"vm\":\"guest\"}");
	snprintf(journal, sizeof(journal), "%s", json_text_at(status, "journal"));
	json_object_put(status);
	snprintf(vms, sizeof(vms), "%s/vms", d->state_dir);
	snprintf(directory, sizeof(directory), "%s/%s", vms, journal);
	snprintf(file, sizeof(file), "%s/" SEGMENT, directory);
}

static void stop(void)
{
	if (guest)
		simulated_vmm_stop(guest);
	control_close(control);
	if (d->pid > 0)
		kvmattrd_stop(d);
	else
		kvmattrd_discard(d);
}

/* The daemon is gone; its files are left. */
static void leave_files(void)
{
	kvmattrd_terminate(d);
}

/* ---- For people and programs --------------------------------------------------------------- */

START_TEST(every_command_shows_what_there_is)
{
	char expected[200];

	expect_says(RUN("journal", "status", "guest"), DONE, "Last commit         4", "");
	expect_says(RUN("journal", "list"), DONE, journal, "");
	expect_says(RUN("journal", "list"), DONE, "live", "");
	expect_says(RUN("journal", "log", "guest"), DONE,
		    "layer 1 allows VTL 0 rx on 16 pages from 0x10000", "");
	expect_says(RUN("journal", "log", journal, "--since", "4", "--limit", "1"), DONE,
		    "none on 8 pages", "");
	expect_says(RUN("journal", "show", "guest", "--at", "3"), DONE,
		    "what VTL 0 was allowed as of commit 3", "");
	expect_says(RUN("journal", "show", "guest", "--at", "3"), DONE,
		    "0x10000    0x20000     16    64 KiB  rx          shared", "");
	expect_says(RUN("journal", "diff", "guest", "3"), DONE,
		    "0x20000  0x28000      8  32 KiB  rwx     none", "");
	expect_says(RUN("journal", "diff", journal, "1", "2"), DONE, "to 2", "");
	expect_says(RUN("journal", "blame", "guest", "0x21000"), DONE, "It is now           none",
		    "");
	expect_says(RUN("journal", "blame", "guest", "0x21000"), DONE,
		    "protect none, layer 1      rwx     none", "");
	expect_says(RUN("journal", "blame", "guest", "0x21000", "--limit", "1"), DONE,
		    "--limit shows more", "");
	expect_says(RUN("journal", "blame", "guest", "4G"), DONE, "Nobody has set it", "");
	snprintf(expected, sizeof(expected), "%s  whole", journal);
	expect_says(RUN("journal", "verify", vms), DONE, expected, "");
}
END_TEST

START_TEST(as_json_the_answers_are_for_programs)
{
	struct json_object *answer = RUN_JSON(DONE, "journal", "status", "guest");

	ck_assert_int_eq(json_number_at(answer, "commit"), 4);
	json_object_put(answer);
	answer = RUN_JSON(DONE, "journal", "list");
	ck_assert_str_eq(json_text_at(answer, "journals.0.journal"), journal);
	json_object_put(answer);
	answer = RUN_JSON(DONE, "journal", "log", "guest", "--since", "3", "--limit", "1");
	ck_assert_int_eq(json_number_at(answer, "lines.0.commit"), 3);
	ck_assert(json_boolean_at(answer, "more"));
	json_object_put(answer);
	answer = RUN_JSON(DONE, "journal", "show", "guest", "--at", "4", "--from", "0x20000",
			  "--to", "0x28000");
	ck_assert_uint_eq(json_object_array_length(json_at(answer, "runs")), 1);
	ck_assert_str_eq(json_text_at(answer, "runs.0.protection"), "none");
	ck_assert_int_eq(json_number_at(answer, "commit"), 4);
	json_object_put(answer);
	answer = RUN_JSON(DONE, "journal", "diff", "guest", "2", "4");
	ck_assert_uint_eq(json_object_array_length(json_at(answer, "runs")), 2);
	ck_assert_str_eq(json_text_at(answer, "runs.0.after"), "rx");
	json_object_put(answer);
	answer = RUN_JSON(DONE, "journal", "blame", "guest", "0x10000");
	ck_assert_uint_eq(json_object_array_length(json_at(answer, "entries")), 3);
	ck_assert_str_eq(json_text_at(answer, "entries.0.origin"), "session");
	ck_assert_str_eq(json_text_at(answer, "now"), "rx");
	json_object_put(answer);
}
END_TEST

START_TEST(a_past_of_many_runs_comes_whole)
{
	struct json_object *answer;
	uint64_t gfns[2048];

	for (uint64_t i = 0; i < (uint64_t)N(gfns); i++)
		gfns[i] = 2 * i;
	expect_ok(guest->owner, kvmattr_protect(guest->owner, 1, KVMATTR_ALL_LOWER, KVMATTR_R, gfns,
						(size_t)N(gfns), NULL));
	/* no longer what it was, while it is asked for */
	answer = RUN_JSON(DONE, "journal", "show", "guest");
	ck_assert_uint_gt(json_object_array_length(json_at(answer, "runs")), 4000);
	json_object_put(answer);
	answer = RUN_JSON(DONE, "journal", "diff", "guest", "4", "5");
	ck_assert_uint_eq(json_object_array_length(json_at(answer, "runs")), (size_t)N(gfns));
	json_object_put(answer);
	answer = RUN_JSON(DONE, "journal", "log", "guest");
	ck_assert(!json_boolean_at(answer, "more"));
	json_object_put(answer);
}
END_TEST

START_TEST(what_cannot_be_asked_is_said_why)
{
	expect_says(RUN("journal", "show", "nobody"), REFUSED, "", "no VM is named \"nobody\"");
	expect_says(RUN("journal", "show", "../vms"), REFUSED, "", "journal.list");
	expect_says(RUN("journal", "show", "guest", "--at", "77"), REFUSED, "",
		    "there is no commit 77 yet: the last is 4");
	expect_says(RUN("journal", "show", "guest", "--at", "0"), WRONG_COMMAND_LINE, "", "--at");
	expect_says(RUN("journal", "diff", "guest"), WRONG_COMMAND_LINE, "",
		    "something is missing");
	expect_says(RUN("journal", "diff", "guest", "x"), WRONG_COMMAND_LINE, "",
		    "a commit is a number");
	expect_says(RUN("journal", "diff", "guest", "1", "2", "3"), WRONG_COMMAND_LINE, "",
		    "too many");
	expect_says(RUN("journal", "blame", "guest", "here"), WRONG_COMMAND_LINE, "", "GPA");
	expect_says(RUN("journal", "verify"), WRONG_COMMAND_LINE, "", "something is missing");
	expect_says(RUN("journal", "frob"), WRONG_COMMAND_LINE, "", "journal verify");
}
END_TEST

/* ---- verify -------------------------------------------------------------------------------- */

static uint8_t *read_file(const char *path, size_t *ret_size)
{
	struct stat status;
	uint8_t *bytes;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &status), 0);
	*ret_size = (size_t)status.st_size;
	bytes = malloc(*ret_size + 1);
	ck_assert_int_eq(read(fd, bytes, *ret_size), (ssize_t)*ret_size);
	close(fd);
	return bytes;
}

static void write_file(const char *path, const void *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
	close(fd);
}

START_TEST(a_journal_that_is_whole_ends_with_0)
{
	struct json_object *answer;

	leave_files();
	expect_says(RUN("journal", "verify", directory), DONE, "whole", "");
	/* a part of it says nothing by itself */
	expect_says(RUN("journal", "verify", file), DONE, "whole", "");
	answer = RUN_JSON(DONE, "journal", "verify", vms);
	ck_assert_str_eq(json_text_at(answer, "journals.0.name"), journal);
	ck_assert_str_eq(json_text_at(answer, "journals.0.state"), "whole");
	ck_assert_int_eq(json_number_at(answer, "journals.0.commits"), 4);
	ck_assert_int_eq(json_number_at(answer, "journals.0.first_commit"), 1);
	ck_assert_int_eq(json_number_at(answer, "journals.0.last_commit"), 4);
	ck_assert_int_gt(json_number_at(answer, "journals.0.records"), 10);
	ck_assert_uint_eq(json_object_array_length(json_at(answer, "findings")), 0);
	json_object_put(answer);
}
END_TEST

START_TEST(a_journal_of_a_daemon_at_work_can_be_verified)
{
	for (uint64_t i = 0; i < 20; i++) {
		expect_ok(guest->owner, protect_range(guest->owner, 1, KVMATTR_R, 1000 + 3 * i, 2));
		expect_says(RUN("journal", "verify", directory), DONE, "", "");
	}
}
END_TEST

START_TEST(a_torn_tail_is_no_damage)
{
	size_t size;
	uint8_t *bytes;

	leave_files();
	bytes = read_file(file, &size);
	for (size_t cut = 1; cut < 32; cut += 5) {
		write_file(file, bytes, size - cut);
		expect_says(RUN("journal", "verify", vms), DONE, "torn", "");
		expect_says(RUN("journal", "verify", vms), DONE, SEGMENT, "");
	}
	free(bytes);
}
END_TEST

START_TEST(damage_ends_with_4_and_says_where_and_what_to_do)
{
	struct json_object *answer;
	size_t size;
	uint8_t *bytes;

	leave_files();
	bytes = read_file(file, &size);
	/* in the segment's header, in a record's header, in its payload, in the middle, at the end */
	for (int i = 0; i < 5; i++) {
		size_t at = (size_t[]){ 3, 64 + 4, 64 + 32 + 5, size / 2, size - 3 }[i];

		bytes[at] ^= 0x10;
		write_file(file, bytes, size);
		bytes[at] ^= 0x10;
		expect_says(RUN("journal", "verify", vms), DAMAGED, SEGMENT, "");
		expect_says(RUN("journal", "verify", vms), DAMAGED, "damaged", "");
		answer = RUN_JSON(DAMAGED, "journal", "verify", directory);
		ck_assert_str_eq(json_text_at(answer, "journals.0.state"), "damaged");
		ck_assert_str_eq(json_text_at(answer, "findings.0.severity"), "damage");
		ck_assert_str_eq(json_text_at(answer, "findings.0.file"), SEGMENT);
		ck_assert_int_le(json_number_at(answer, "findings.0.offset"), (int64_t)at);
		ck_assert_uint_gt(strlen(json_text_at(answer, "findings.0.text")), 20);
		json_object_put(answer);
	}
	/* a record that is gone from the middle */
	memmove(bytes + size / 2, bytes + size / 2 + 8, size - size / 2 - 8);
	write_file(file, bytes, size - 8);
	expect_says(RUN("journal", "verify", vms), DAMAGED, "damaged", "");
	free(bytes);
}
END_TEST

START_TEST(a_file_that_has_another_name_is_damage)
{
	char other[400];

	leave_files();
	snprintf(other, sizeof(other), "%s/old.journal", directory);
	ck_assert_int_eq(rename(file, other), 0);
	expect_says(RUN("journal", "verify", directory), DAMAGED, "old.journal", "");
}
END_TEST

START_TEST(what_cannot_be_read_ends_with_5)
{
	char path[400];

	leave_files();
	expect_says(RUN("journal", "verify", "/nonexistent/x"), UNREADABLE, "cannot be found", "");
	expect_says(RUN("journal", "verify", "/dev/null"), UNREADABLE, "unreadable", "");
	expect_says(RUN("journal", "verify", d->runtime_dir), UNREADABLE, "unreadable", "");
	ck_assert_int_eq(chmod(directory, 0755), 0);
	expect_says(RUN("journal", "verify", directory), UNREADABLE, "lets others in", "");
	ck_assert_int_eq(chmod(directory, 0700), 0);
	ck_assert_int_eq(chmod(file, 0644), 0);
	expect_says(RUN("journal", "verify", directory), UNREADABLE, "lets others in", "");
	ck_assert_int_eq(chmod(file, 0600), 0);
	snprintf(path, sizeof(path), "%s/link", vms);
	ck_assert_int_eq(rename(file, path), 0);
	ck_assert_int_eq(symlink(path, file), 0);
	expect_says(RUN("journal", "verify", directory), UNREADABLE, SEGMENT, "");
}
END_TEST

START_TEST(damage_counts_for_more_than_what_cannot_be_read)
{
	size_t size;
	uint8_t *bytes;

	leave_files();
	bytes = read_file(file, &size);
	bytes[size / 2] ^= 1;
	write_file(file, bytes, size);
	free(bytes);
	expect_says(RUN("journal", "verify", "/nonexistent", vms, "/dev/null"), DAMAGED,
		    "unreadable", "");
}
END_TEST

/* ---- export, import ------------------------------------------------------------------------ */

START_TEST(an_export_is_a_file_that_is_whole_and_never_another_one)
{
	char path[128], with_leftovers[160];
	struct dirent *entry;
	DIR *listing;
	size_t size, size_again;
	uint8_t *bytes, *again;

	snprintf(path, sizeof(path), "%s/policy", d->directory);
	expect_says(RUN("export", "guest", path), DONE, "Commit              4", "");
	bytes = read_file(path, &size);
	expect_says(RUN("export", "guest", path), UNREADABLE, "", "is there already");
	again = read_file(path, &size_again);
	ck_assert_uint_eq(size, size_again);
	ck_assert_mem_eq(bytes, again, size);
	expect_says(RUN("journal", "verify", path), DONE, "whole", "");
	/* nothing is left beside it */
	listing = opendir(d->directory);
	while ((entry = readdir(listing)))
		ck_assert_msg(strncmp(entry->d_name, "policy.", 7) != 0, "%s", entry->d_name);
	closedir(listing);
	expect_says(RUN("export", "guest", "/nonexistent/policy"), UNREADABLE, "",
		    "cannot be written");
	expect_says(RUN("export", "nobody", "/nonexistent/policy"), REFUSED, "", "nobody");
	/* as it was */
	snprintf(with_leftovers, sizeof(with_leftovers), "%s/earlier", d->directory);
	expect_says(RUN("export", "guest", with_leftovers, "--at", "2"), DONE,
		    "Commit              2", "");
	expect_says(RUN("export", "guest", "/tmp/never", "--at", "99"), REFUSED, "",
		    "there is no commit 99");
	free(bytes);
	free(again);
}
END_TEST

START_TEST(what_was_exported_can_be_imported_and_nothing_else)
{
	struct simulated_vmm *other =
		simulated_vmm_start(d, &(struct simulated_vmm_options){ .name = "other" });
	char path[128], spoilt[128];
	size_t size;
	uint8_t *bytes;

	snprintf(path, sizeof(path), "%s/policy", d->directory);
	snprintf(spoilt, sizeof(spoilt), "%s/spoilt", d->directory);
	expect_says(RUN("export", "guest", path), DONE, "", "");
	expect_says(RUN("import", "other", path), DONE, "In force at commit", "");
	for (uint64_t gfn = 0; gfn < 100; gfn++)
		ck_assert_uint_eq(simulated_vmm_page(guest, 0, gfn),
				  simulated_vmm_page(other, 0, gfn));
	bytes = read_file(path, &size);
	for (int i = 0; i < 3; i++) {
		size_t at = (size_t[]){ 0, 100, size - 1 }[i];

		bytes[at] ^= 1;
		write_file(spoilt, bytes, size);
		bytes[at] ^= 1;
		expect_says(RUN("journal", "verify", spoilt), DAMAGED, "damaged", "");
		expect_says(RUN("import", "other", spoilt), DAMAGED, "", "cannot be imported");
	}
	write_file(spoilt, bytes, size - 1);
	expect_says(RUN("journal", "verify", spoilt), DAMAGED, "damaged", "");
	expect_says(RUN("import", "other", "/nonexistent"), UNREADABLE, "", "cannot be read");
	expect_says(RUN("import", "other", d->directory), UNREADABLE, "", "cannot be read");
	expect_says(RUN("import", "nobody", path), REFUSED, "", "nobody");
	simulated_vmm_stop(other);
	free(bytes);
}
END_TEST

START_TEST(an_import_that_is_refused_says_why)
{
	struct simulated_vmm *small = simulated_vmm_start(
		d, &(struct simulated_vmm_options){ .name = "small", .n_pages = 100 });
	char path[128];

	snprintf(path, sizeof(path), "%s/policy", d->directory);
	expect_says(RUN("export", "guest", path), DONE, "", "");
	expect_says(RUN("import", "small", path), REFUSED, "", "other RAM: GFN 0x64");
	simulated_vmm_stop(small);
}
END_TEST

int main(void)
{
	TCase *shown = harness_make_case("shown", 40), *verified = harness_make_case("verify", 60);
	TCase *moved = harness_make_case("export and import", 40);

	tcase_add_checked_fixture(shown, start, stop);
	tcase_add_test(shown, every_command_shows_what_there_is);
	tcase_add_test(shown, as_json_the_answers_are_for_programs);
	tcase_add_test(shown, a_past_of_many_runs_comes_whole);
	tcase_add_test(shown, what_cannot_be_asked_is_said_why);
	tcase_add_checked_fixture(verified, start, stop);
	tcase_add_test(verified, a_journal_that_is_whole_ends_with_0);
	tcase_add_test(verified, a_journal_of_a_daemon_at_work_can_be_verified);
	tcase_add_test(verified, a_torn_tail_is_no_damage);
	tcase_add_test(verified, damage_ends_with_4_and_says_where_and_what_to_do);
	tcase_add_test(verified, a_file_that_has_another_name_is_damage);
	tcase_add_test(verified, what_cannot_be_read_ends_with_5);
	tcase_add_test(verified, damage_counts_for_more_than_what_cannot_be_read);
	tcase_add_checked_fixture(moved, start, stop);
	tcase_add_test(moved, an_export_is_a_file_that_is_whole_and_never_another_one);
	tcase_add_test(moved, what_was_exported_can_be_imported_and_nothing_else);
	tcase_add_test(moved, an_import_that_is_refused_says_why);
	return harness_run("kvmattrctl journal", (TCase *const[]){ shown, verified, moved, NULL });
}
