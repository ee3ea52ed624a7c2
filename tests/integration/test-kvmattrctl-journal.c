/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl journal, export and import: what people and programs see, and what becomes of files
 * that were spoilt, with the exit status that the manual has for it.
 */
#include "tests/integration/ctl-guest.h"
#include "tests/integration/terminal-program.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT "0000000000000001.journal"

static char journal[128], vms[64], directory[256], file[320];

static void start(void)
{
	struct json_object *status;

	ctl_guest_start_protected();
	status = control_call(control, "journal.status", "{\"vm\":\"guest\"}");
	snprintf(journal, sizeof(journal), "%s", json_text_at(status, "journal"));
	json_object_put(status);
	snprintf(vms, sizeof(vms), "%s/vms", d->state_dir);
	snprintf(directory, sizeof(directory), "%s/%s", vms, journal);
	snprintf(file, sizeof(file), "%s/" SEGMENT, directory);
}

static void stop(void)
{
	if (d->pid > 0) {
		ctl_guest_stop();
		return;
	}
	simulated_vmm_stop(guest);
	control_close(control);
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

	ctl_expect(CTL(d, "journal", "status", "guest"), CTL_DONE, "Last commit         4", "");
	ctl_expect(CTL(d, "journal", "list"), CTL_DONE, journal, "");
	ctl_expect(CTL(d, "journal", "list"), CTL_DONE, "live", "");
	ctl_expect(CTL(d, "journal", "log", "guest"), CTL_DONE,
		   "layer 1 allows VTL 0 rx on 16 pages from 0x10000", "");
	ctl_expect(CTL(d, "journal", "log", journal, "--since", "4", "--limit", "1"), CTL_DONE,
		   "none on 8 pages", "");
	ctl_expect(CTL(d, "journal", "show", "guest", "--at", "3"), CTL_DONE,
		   "what VTL 0 was allowed as of commit 3", "");
	ctl_expect(CTL(d, "journal", "show", "guest", "--at", "3"), CTL_DONE,
		   "0x10000    0x20000     16    64 KiB  rx          shared", "");
	ctl_expect(CTL(d, "journal", "diff", "guest", "3"), CTL_DONE,
		   "0x20000  0x28000      8  32 KiB  rwx     none", "");
	ctl_expect(CTL(d, "journal", "diff", journal, "1", "2"), CTL_DONE, "to 2", "");
	ctl_expect(CTL(d, "journal", "blame", "guest", "0x21000"), CTL_DONE,
		   "It is now           none", "");
	ctl_expect(CTL(d, "journal", "blame", "guest", "0x21000"), CTL_DONE,
		   "protect none, layer 1      rwx     none", "");
	ctl_expect(CTL(d, "journal", "blame", "guest", "0x21000", "--limit", "1"), CTL_DONE,
		   "--limit shows more", "");
	ctl_expect(CTL(d, "journal", "blame", "guest", "4G"), CTL_DONE, "Nobody has set it", "");
	snprintf(expected, sizeof(expected), "%s  whole", journal);
	ctl_expect(CTL(d, "journal", "verify", vms), CTL_DONE, expected, "");
}
END_TEST

START_TEST(as_json_the_answers_are_for_programs)
{
	struct json_object *answer = ctl_json(CTL(d, "--json", "journal", "status", "guest"));

	ck_assert_int_eq(json_number_at(answer, "commit"), 4);
	json_object_put(answer);
	answer = ctl_json(CTL(d, "--json", "journal", "list"));
	ck_assert_str_eq(json_text_at(answer, "journals.0.journal"), journal);
	json_object_put(answer);
	answer = ctl_json(
		CTL(d, "--json", "journal", "log", "guest", "--since", "3", "--limit", "1"));
	ck_assert_int_eq(json_number_at(answer, "lines.0.commit"), 3);
	ck_assert(json_boolean_at(answer, "more"));
	json_object_put(answer);
	answer = ctl_json(CTL(d, "--json", "journal", "show", "guest", "--at", "4", "--from",
			      "0x20000", "--to", "0x28000"));
	ck_assert_uint_eq(json_object_array_length(json_at(answer, "runs")), 1);
	ck_assert_str_eq(json_text_at(answer, "runs.0.protection"), "none");
	ck_assert_int_eq(json_number_at(answer, "commit"), 4);
	json_object_put(answer);
	answer = ctl_json(CTL(d, "--json", "journal", "diff", "guest", "2", "4"));
	ck_assert_uint_eq(json_object_array_length(json_at(answer, "runs")), 2);
	ck_assert_str_eq(json_text_at(answer, "runs.0.after"), "rx");
	json_object_put(answer);
	answer = ctl_json(CTL(d, "--json", "journal", "blame", "guest", "0x10000"));
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
	answer = ctl_json(CTL(d, "--json", "journal", "show", "guest"));
	ck_assert_uint_gt(json_object_array_length(json_at(answer, "runs")), 4000);
	json_object_put(answer);
	answer = ctl_json(CTL(d, "--json", "journal", "diff", "guest", "4", "5"));
	ck_assert_uint_eq(json_object_array_length(json_at(answer, "runs")), (size_t)N(gfns));
	json_object_put(answer);
	answer = ctl_json(CTL(d, "--json", "journal", "log", "guest"));
	ck_assert(!json_boolean_at(answer, "more"));
	json_object_put(answer);
}
END_TEST

START_TEST(what_cannot_be_asked_is_said_why)
{
	ctl_expect(CTL(d, "journal", "show", "nobody"), CTL_IS_REFUSED, "",
		   "no VM is named \"nobody\"");
	ctl_expect(CTL(d, "journal", "show", "../vms"), CTL_IS_REFUSED, "", "journal.list");
	ctl_expect(CTL(d, "journal", "show", "guest", "--at", "77"), CTL_IS_REFUSED, "",
		   "there is no commit 77 yet: the last is 4");
	ctl_expect(CTL(d, "journal", "log", "guest", "--since", "77"), CTL_DONE,
		   "Nothing has happened since then.", "");
	ctl_expect(CTL(d, "journal", "diff", "guest", "4", "4"), CTL_DONE, "Nothing changed.", "");
	ctl_expect(CTL(d, "journal", "show", "guest", "--from", "1G"), CTL_DONE,
		   "There was no RAM.", "");
	ctl_expect(CTL(d, "journal", "show", "guest", "--at", "0"), CTL_WRONG_COMMAND_LINE, "",
		   "--at");
	ctl_expect(CTL(d, "journal", "diff", "guest"), CTL_WRONG_COMMAND_LINE, "",
		   "something is missing");
	ctl_expect(CTL(d, "journal", "diff", "guest", "x"), CTL_WRONG_COMMAND_LINE, "",
		   "a commit is a number");
	ctl_expect(CTL(d, "journal", "diff", "guest", "1", "2", "3"), CTL_WRONG_COMMAND_LINE, "",
		   "too many");
	ctl_expect(CTL(d, "journal", "blame", "guest", "here"), CTL_WRONG_COMMAND_LINE, "", "GPA");
	ctl_expect(CTL(d, "journal", "verify"), CTL_WRONG_COMMAND_LINE, "", "something is missing");
	ctl_expect(CTL(d, "journal", "frob"), CTL_WRONG_COMMAND_LINE, "", "journal verify");
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
	ctl_expect(CTL(d, "journal", "verify", directory), CTL_DONE, "whole", "");
	/* a part of it says nothing by itself */
	ctl_expect(CTL(d, "journal", "verify", file), CTL_DONE, "whole", "");
	answer = ctl_json(CTL(d, "--json", "journal", "verify", vms));
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
		ctl_expect(CTL(d, "journal", "verify", directory), CTL_DONE, "", "");
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
		ctl_expect(CTL(d, "journal", "verify", vms), CTL_DONE, "torn", "");
		ctl_expect(CTL(d, "journal", "verify", vms), CTL_DONE, SEGMENT, "");
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
		ctl_expect(CTL(d, "journal", "verify", vms), CTL_IS_DAMAGED, SEGMENT, "");
		ctl_expect(CTL(d, "journal", "verify", vms), CTL_IS_DAMAGED, "damaged", "");
		answer = ctl_expect_json(CTL(d, "--json", "journal", "verify", directory),
					 CTL_IS_DAMAGED);
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
	ctl_expect(CTL(d, "journal", "verify", vms), CTL_IS_DAMAGED, "damaged", "");
	free(bytes);
}
END_TEST

START_TEST(a_file_that_has_another_name_is_damage)
{
	char other[400];

	leave_files();
	snprintf(other, sizeof(other), "%s/old.journal", directory);
	ck_assert_int_eq(rename(file, other), 0);
	ctl_expect(CTL(d, "journal", "verify", directory), CTL_IS_DAMAGED, "old.journal", "");
}
END_TEST

START_TEST(what_cannot_be_read_ends_with_5)
{
	char path[400];

	leave_files();
	ctl_expect(CTL(d, "journal", "verify", "/nonexistent/x"), CTL_IS_UNREADABLE,
		   "cannot be found", "");
	ctl_expect(CTL(d, "journal", "verify", "/dev/null"), CTL_IS_UNREADABLE, "unreadable", "");
	ck_assert_int_eq(chmod(directory, 0755), 0);
	ctl_expect(CTL(d, "journal", "verify", directory), CTL_IS_UNREADABLE, "lets others in", "");
	ck_assert_int_eq(chmod(directory, 0700), 0);
	ck_assert_int_eq(chmod(file, 0644), 0);
	ctl_expect(CTL(d, "journal", "verify", directory), CTL_IS_UNREADABLE, "lets others in", "");
	ck_assert_int_eq(chmod(file, 0600), 0);
	snprintf(path, sizeof(path), "%s/link", vms);
	ck_assert_int_eq(rename(file, path), 0);
	ck_assert_int_eq(symlink(path, file), 0);
	ctl_expect(CTL(d, "journal", "verify", directory), CTL_IS_UNREADABLE, SEGMENT, "");
}
END_TEST

START_TEST(nobody_is_told_to_remove_or_change_a_directory_that_is_no_journal)
{
	const char *const directories[] = { d->runtime_dir, d->state_dir, d->directory, "/" };

	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
		ctl_expect(CTL(d, "journal", "verify", directories[i]), CTL_IS_UNREADABLE,
			   "this is no journal, and there are none in it", "");
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
	ctl_expect(CTL(d, "journal", "verify", "/nonexistent", vms, "/dev/null"), CTL_IS_DAMAGED,
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
	ctl_expect(CTL(d, "export", "guest", path), CTL_DONE, "Commit              4", "");
	bytes = read_file(path, &size);
	ctl_expect(CTL(d, "export", "guest", path), CTL_IS_UNREADABLE, "", "is there already");
	again = read_file(path, &size_again);
	ck_assert_uint_eq(size, size_again);
	ck_assert_mem_eq(bytes, again, size);
	ctl_expect(CTL(d, "journal", "verify", path), CTL_DONE, "whole", "");
	/* nothing is left beside it */
	listing = opendir(d->directory);
	while ((entry = readdir(listing)))
		ck_assert_msg(strncmp(entry->d_name, "policy.", 7) != 0, "%s", entry->d_name);
	closedir(listing);
	ctl_expect(CTL(d, "export", "guest", "/nonexistent/policy"), CTL_IS_UNREADABLE, "",
		   "cannot be written");
	ctl_expect(CTL(d, "export", "nobody", "/nonexistent/policy"), CTL_IS_REFUSED, "", "nobody");
	/* as it was */
	snprintf(with_leftovers, sizeof(with_leftovers), "%s/earlier", d->directory);
	ctl_expect(CTL(d, "export", "guest", with_leftovers, "--at", "2"), CTL_DONE,
		   "Commit              2", "");
	ctl_expect(CTL(d, "export", "guest", "/tmp/never", "--at", "99"), CTL_IS_REFUSED, "",
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
	ctl_expect(CTL(d, "export", "guest", path), CTL_DONE, "", "");
	ctl_expect(CTL(d, "import", "other", path), CTL_DONE, "In force at commit", "");
	for (uint64_t gfn = 0; gfn < 100; gfn++)
		ck_assert_uint_eq(simulated_vmm_page(guest, 0, gfn),
				  simulated_vmm_page(other, 0, gfn));
	bytes = read_file(path, &size);
	for (int i = 0; i < 3; i++) {
		size_t at = (size_t[]){ 0, 100, size - 1 }[i];

		bytes[at] ^= 1;
		write_file(spoilt, bytes, size);
		bytes[at] ^= 1;
		ctl_expect(CTL(d, "journal", "verify", spoilt), CTL_IS_DAMAGED, "damaged", "");
		ctl_expect(CTL(d, "import", "other", spoilt), CTL_IS_DAMAGED, "",
			   "cannot be imported");
	}
	write_file(spoilt, bytes, size - 1);
	ctl_expect(CTL(d, "journal", "verify", spoilt), CTL_IS_DAMAGED, "damaged", "");
	ctl_expect(CTL(d, "import", "other", "/nonexistent"), CTL_IS_UNREADABLE, "",
		   "cannot be read");
	ctl_expect(CTL(d, "import", "other", d->directory), CTL_IS_UNREADABLE, "",
		   "cannot be read");
	ctl_expect(CTL(d, "import", "nobody", path), CTL_IS_REFUSED, "", "nobody");
	simulated_vmm_stop(other);
	free(bytes);
}
END_TEST

START_TEST(on_a_terminal_it_says_what_an_import_does_and_asks)
{
	struct terminal_program program;
	char path[128];

	snprintf(path, sizeof(path), "%s/policy", d->directory);
	ctl_expect(CTL(d, "export", "guest", path), CTL_DONE, "", "");
	program = terminal_program_start(CTL(d, "import", "guest", path), 80, 24);
	EVENTUALLY(5000, terminal_program_has_said(&program, 0, "VM guest will be reset"));
	terminal_program_type(&program, "n\n");
	ck_assert_int_eq(terminal_program_wait(&program), CTL_IS_REFUSED);
	terminal_program_forget(&program);
	ctl_expect(CTL(d, "journal", "status", "guest"), CTL_DONE, "Last commit         4", "");
}
END_TEST

START_TEST(an_import_that_is_refused_says_why)
{
	struct simulated_vmm *small = simulated_vmm_start(
		d, &(struct simulated_vmm_options){ .name = "small", .n_pages = 100 });
	char path[128];

	snprintf(path, sizeof(path), "%s/policy", d->directory);
	ctl_expect(CTL(d, "export", "guest", path), CTL_DONE, "", "");
	ctl_expect(CTL(d, "import", "small", path), CTL_IS_REFUSED, "", "other RAM: GFN 0x64");
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
	tcase_add_test(verified, nobody_is_told_to_remove_or_change_a_directory_that_is_no_journal);
	tcase_add_test(verified, damage_counts_for_more_than_what_cannot_be_read);
	tcase_add_checked_fixture(moved, start, stop);
	tcase_add_test(moved, an_export_is_a_file_that_is_whole_and_never_another_one);
	tcase_add_test(moved, what_was_exported_can_be_imported_and_nothing_else);
	tcase_add_test(moved, on_a_terminal_it_says_what_an_import_does_and_asks);
	tcase_add_test(moved, an_import_that_is_refused_says_why);
	return harness_run("kvmattrctl journal", (TCase *const[]){ shown, verified, moved, NULL });
}
