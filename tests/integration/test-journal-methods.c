/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the control socket says of the past, against what was done: journal.status, list, log,
 * state_at, diff and blame.
 */
#include "tests/integration/known-guest.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Status and list ----------------------------------------------------------------------- */

START_TEST(the_status_says_how_the_journal_does)
{
	struct json_object *status =
		control_call(known.control, "journal.status", "{\"vm\":\"guest\"}");

	ck_assert_str_eq(json_text_at(status, "vm"), "guest");
	ck_assert_uint_eq(strlen(known.journal), strlen("guest.0123456789abcdef"));
	ck_assert_str_eq(json_text_at(status, "durability"), "process");
	ck_assert_int_eq(json_number_at(status, "segments"), 1);
	ck_assert_int_gt(json_number_at(status, "bytes"), 500);
	ck_assert_int_eq(json_number_at(status, "first_number"), 1);
	/* two records for each commit, and others */
	ck_assert_int_gt(json_number_at(status, "next_number"), 2 * KNOWN_LAST_COMMIT);
	ck_assert_int_eq(json_number_at(status, "first_commit"), 1);
	ck_assert_int_eq(json_number_at(status, "commit"), KNOWN_LAST_COMMIT);
	ck_assert_int_eq(json_number_at(status, "checkpoints"), 0);
	ck_assert_ptr_null(json_at(status, "checkpoint"));
	ck_assert_ptr_null(json_at(status, "durable_number"));
	ck_assert_ptr_null(json_at(status, "trouble"));
	json_object_put(status);
}
END_TEST

START_TEST(with_power_the_status_says_what_is_on_the_disk)
{
	struct json_object *status;

	known.daemon = kvmattrd_start("[journal]\ndurability = power\n");
	known.control = control_connect(known.daemon);
	known.vmm = simulated_vmm_start(known.daemon, &(struct simulated_vmm_options){ 0 });
	known.agent = simulated_vmm_open_agent(known.vmm, 1, 0);
	known.second = NULL;
	expect_ok(known.agent, kvmattr_enable_layer(known.agent, 1, KVMATTR_RWX, 0));
	status = control_call(known.control, "journal.status", "{\"vm\":\"guest\"}");
	ck_assert_str_eq(json_text_at(status, "durability"), "power");
	/* what was answered is there */
	ck_assert_int_ge(json_number_at(status, "durable_number"), 2);
	ck_assert_int_lt(json_number_at(status, "durable_number"),
			 json_number_at(status, "next_number"));
	json_object_put(status);
}
END_TEST

static struct json_object *entry_of(struct json_object *list, const char *name)
{
	struct json_object *journals = json_at(list, "journals");

	for (size_t i = 0; i < json_object_array_length(journals); i++) {
		struct json_object *entry = json_object_array_get_idx(journals, i);

		if (!strcmp(json_text_at(entry, "journal"), name))
			return entry;
	}
	ck_abort_msg("%s is not listed", name);
}

START_TEST(the_list_has_journals_of_vms_that_are_there_and_that_are_gone)
{
	struct json_object *list = control_call(known.control, "journal.list", "{}"), *entry;

	ck_assert_uint_eq(json_object_array_length(json_at(list, "journals")), 1);
	entry = entry_of(list, known.journal);
	ck_assert_str_eq(json_text_at(entry, "vm"), "guest");
	ck_assert_str_eq(json_text_at(entry, "life"), known.journal + strlen("guest."));
	ck_assert_str_eq(json_text_at(entry, "state"), "live");
	ck_assert(json_boolean_at(entry, "this_boot"));
	ck_assert_int_eq(json_number_at(entry, "commit"), KNOWN_LAST_COMMIT);
	ck_assert_int_gt(json_number_at(entry, "registered_us"), 0);
	json_object_put(list);

	known_guest_release();
	list = control_call(known.control, "journal.list", "{}");
	entry = entry_of(list, known.journal);
	ck_assert_str_eq(json_text_at(entry, "state"), "released");
	ck_assert_int_eq(json_number_at(entry, "commit"), KNOWN_LAST_COMMIT);
	ck_assert_str_eq(json_text_at(entry, "released.status"), "NO_VM");
	ck_assert_uint_gt(strlen(json_text_at(entry, "released.text")), 5);
	ck_assert_int_gt(json_number_at(entry, "bytes"), 500);
	json_object_put(list);
}
END_TEST

/* ---- journal.log --------------------------------------------------------------------------- */

/* All lines, at most limit in an answer, as one array. */
static struct json_object *read_log(const char *name, unsigned int from, unsigned int limit)
{
	struct json_object *lines = json_object_new_array();
	char cursor[64] = "", since[32] = "";

	if (from)
		snprintf(since, sizeof(since), ",\"from\":%u", from);
	do {
		struct json_object *answer = control_call(known.control, "journal.log",
							  "{\"journal\":\"%s\",\"limit\":%u%s%s}",
							  name, limit, since, cursor);
		struct json_object *some = json_at(answer, "lines");

		ck_assert_uint_le(json_object_array_length(some), limit);
		for (size_t i = 0; i < json_object_array_length(some); i++)
			json_object_array_add(lines,
					      json_object_get(json_object_array_get_idx(some, i)));
		*cursor = '\0';
		if (json_has(answer, "cursor"))
			snprintf(cursor, sizeof(cursor), ",\"cursor\":\"%s\"",
				 json_text_at(answer, "cursor"));
		json_object_put(answer);
	} while (*cursor);
	return lines;
}

static struct json_object *line_of_commit(struct json_object *lines, int64_t commit)
{
	for (size_t i = 0; i < json_object_array_length(lines); i++) {
		struct json_object *line = json_object_array_get_idx(lines, i);

		if (json_at(line, "commit") && json_number_at(line, "commit") == commit)
			return line;
	}
	ck_abort_msg("commit %d has no line", (int)commit);
}

START_TEST(the_log_says_what_happened_in_its_order)
{
	static const char *const texts[] = {
		NULL,
		"4096 pages from 0x0 became RAM",
		"layer 1 enabled, rwx by default, without MBEC",
		"layer 1 allows VTL 0 rx on 16 pages from 0x10000",
		"layer 1 allows VTL 0 none on 8 pages from 0x20000",
		"10 pages from 0x64000 made private",
		"1 page from 0x32000 locked",
		"layer 1 allows VTL 0 rw on 1 page from 0x14000",
	};
	struct json_object *lines = read_log("guest", 0, 1000);
	int64_t record = 0;

	for (int commit = 1; commit <= KNOWN_LAST_COMMIT; commit++)
		ck_assert_str_eq(json_text_at(line_of_commit(lines, commit), "text"),
				 texts[commit]);
	ck_assert_ptr_null(json_at(line_of_commit(lines, 1), "session"));
	ck_assert(json_number_at(line_of_commit(lines, 3), "session") !=
		  json_number_at(line_of_commit(lines, 7), "session"));
	for (size_t i = 0; i < json_object_array_length(lines); i++) {
		struct json_object *line = json_object_array_get_idx(lines, i);

		ck_assert_int_ge(json_number_at(line, "record"), record);
		record = json_number_at(line, "record");
		ck_assert_int_gt(json_number_at(line, "time_us"), 0);
	}
	json_object_put(lines);
}
END_TEST

START_TEST(the_log_is_the_same_line_by_line)
{
	struct json_object *whole = read_log("guest", 0, 1000), *single = read_log("guest", 0, 1);
	struct json_object *few = read_log(known.journal, 0, 3);

	ck_assert_str_eq(json_object_to_json_string(whole), json_object_to_json_string(single));
	ck_assert_str_eq(json_object_to_json_string(whole), json_object_to_json_string(few));
	json_object_put(whole);
	json_object_put(single);
	json_object_put(few);
}
END_TEST

START_TEST(the_log_begins_where_it_is_asked_to)
{
	struct json_object *lines = read_log("guest", 5, 2);

	ck_assert_int_eq(json_number_at(json_object_array_get_idx(lines, 0), "commit"), 5);
	ck_assert_ptr_nonnull(line_of_commit(lines, 7));
	json_object_put(lines);
	lines = read_log("guest", 99, 10);
	ck_assert_uint_eq(json_object_array_length(lines), 0);
	json_object_put(lines);
}
END_TEST

START_TEST(refusals_and_sessions_are_in_the_log)
{
	struct json_object *lines;
	const char *text;

	expect_status(known.second, protect_range(known.second, 1, KVMATTR_R, 50, 1),
		      KVMATTR_OPERATION_DENIED);
	kvmattr_close(known.second);
	known.second = NULL;
	EVENTUALLY(5000, ({
			   struct json_object *now = read_log("guest", 0, 1000);
			   bool is_there = strstr(json_object_to_json_string(now),
						  "the session was closed");

			   /* it goes with the next write */
			   expect_ok(known.agent, protect_range(known.agent, 1, KVMATTR_R, 60, 1));
			   json_object_put(now);
			   is_there;
		   }));
	lines = read_log("guest", 0, 1000);
	text = json_object_to_json_string(lines);
	ck_assert_ptr_nonnull(strstr(text, "OPERATION_DENIED"));
	ck_assert_ptr_nonnull(strstr(text, "the registration is complete"));
	ck_assert_ptr_nonnull(strstr(text, "an agent of VTL 1 that may change visibility"));
	json_object_put(lines);
}
END_TEST

/* ---- journal.state_at, journal.diff -------------------------------------------------------- */

START_TEST(every_commits_state_can_be_asked_for)
{
	for (int commit = 1; commit <= KNOWN_LAST_COMMIT; commit++)
		known_guest_expect_state_at("guest", commit, 1000);
	for (int commit = KNOWN_LAST_COMMIT; commit; commit--)
		known_guest_expect_state_at(known.journal, commit, 2);
}
END_TEST

START_TEST(the_past_of_a_vm_that_is_gone_can_be_asked_by_its_journals_name)
{
	known_guest_release();
	for (int commit = 1; commit <= KNOWN_LAST_COMMIT; commit += 2)
		known_guest_expect_state_at(known.journal, commit, 1000);
	control_expect_error(known.control, "journal.state_at", "{\"journal\":\"guest\"}",
			     -32000 - KVMATTR_NO_VM, "journal.list");
}
END_TEST

START_TEST(without_a_commit_it_is_the_last)
{
	struct json_object *answer =
		control_call(known.control, "journal.state_at", "{\"journal\":\"guest\"}");

	ck_assert_int_eq(json_number_at(answer, "commit"), KNOWN_LAST_COMMIT);
	json_object_put(answer);
	expect_ok(known.agent, protect_range(known.agent, 1, KVMATTR_R, 300, 1));
	answer = control_call(known.control, "journal.state_at", "{\"journal\":\"guest\"}");
	ck_assert_int_eq(json_number_at(answer, "commit"), KNOWN_LAST_COMMIT + 1);
	json_object_put(answer);
}
END_TEST

START_TEST(a_part_of_memory_can_be_asked_for)
{
	struct json_object *answer =
		control_call(known.control, "journal.state_at",
			     "{\"journal\":\"guest\",\"start\":\"0x13000\",\"end\":\"0x15fff\"}");

	ck_assert_uint_eq(json_object_array_length(json_at(answer, "runs")), 3);
	ck_assert_uint_eq(json_address_at(answer, "runs.0.gpa"), 0x13000);
	ck_assert_int_eq(json_number_at(answer, "runs.0.pages"), 1);
	ck_assert_str_eq(json_text_at(answer, "runs.1.protection"), "rw");
	ck_assert_uint_eq(json_address_at(answer, "runs.2.gpa"), 0x15000);
	json_object_put(answer);
}
END_TEST

START_TEST(a_difference_is_what_was_done_between)
{
	const struct kvmattr_range hole = { 4000, 4 };
	struct json_object *answer = control_call(known.control, "journal.diff",
						  "{\"journal\":\"guest\",\"from\":3,\"to\":7}");

	ck_assert_int_eq(json_number_at(answer, "from.commit"), 3);
	ck_assert_int_eq(json_number_at(answer, "to.commit"), 7);
	ck_assert_int_ge(json_number_at(answer, "to.time_us"),
			 json_number_at(answer, "from.time_us"));
	ck_assert_uint_eq(json_object_array_length(json_at(answer, "runs")), 3);
	ck_assert_uint_eq(json_address_at(answer, "runs.0.gpa"), 0x14000);
	ck_assert_str_eq(json_text_at(answer, "runs.0.before.protection"), "rx");
	ck_assert_str_eq(json_text_at(answer, "runs.0.after.protection"), "rw");
	ck_assert_uint_eq(json_address_at(answer, "runs.1.gpa"), 0x20000);
	ck_assert_int_eq(json_number_at(answer, "runs.1.pages"), 8);
	ck_assert_str_eq(json_text_at(answer, "runs.2.before.visibility"), "shared");
	ck_assert_str_eq(json_text_at(answer, "runs.2.after.visibility"), "private");
	json_object_put(answer);

	/* to the last, and RAM that is gone */
	expect_ok(known.vmm->owner, kvmattr_remove_ram(known.vmm->owner, &hole, 1, NULL));
	answer = control_call(known.control, "journal.diff", "{\"journal\":\"guest\",\"from\":7}");
	ck_assert_uint_eq(json_object_array_length(json_at(answer, "runs")), 1);
	ck_assert_int_eq(json_number_at(answer, "runs.0.pages"), 4);
	ck_assert_ptr_null(json_at(answer, "runs.0.after"));
	ck_assert_str_eq(json_text_at(answer, "runs.0.before.protection"), "rwx");
	json_object_put(answer);

	/* backwards, and none */
	answer = control_call(known.control, "journal.diff",
			      "{\"journal\":\"guest\",\"from\":4,\"to\":3}");
	ck_assert_str_eq(json_text_at(answer, "runs.0.before.protection"), "none");
	ck_assert_str_eq(json_text_at(answer, "runs.0.after.protection"), "rwx");
	json_object_put(answer);
	answer = control_call(known.control, "journal.diff",
			      "{\"journal\":\"guest\",\"from\":4,\"to\":4}");
	ck_assert_uint_eq(json_object_array_length(json_at(answer, "runs")), 0);
	ck_assert(!json_has(answer, "cursor"));
	json_object_put(answer);
}
END_TEST

/* ---- journal.blame ------------------------------------------------------------------------- */

START_TEST(who_set_a_page_is_told_the_newest_first)
{
	struct json_object *answer = control_call(known.control, "journal.blame",
						  "{\"journal\":\"guest\",\"gpa\":\"0x14abc\"}");

	ck_assert_uint_eq(json_address_at(answer, "gpa"), 0x14000);
	ck_assert_int_eq(json_number_at(answer, "commit"), KNOWN_LAST_COMMIT);
	ck_assert_int_eq(json_number_at(answer, "from_commit"), 0);
	ck_assert_str_eq(json_text_at(answer, "now.protection"), "rw");
	ck_assert_uint_eq(json_object_array_length(json_at(answer, "entries")), 4);
	ck_assert_int_eq(json_number_at(answer, "entries.0.commit"), 7);
	ck_assert_str_eq(json_text_at(answer, "entries.0.kind"), "protect");
	ck_assert_str_eq(json_text_at(answer, "entries.0.protection"), "rw");
	ck_assert_str_eq(json_text_at(answer, "entries.0.before.protection"), "rx");
	ck_assert_str_eq(json_text_at(answer, "entries.0.after.protection"), "rw");
	ck_assert_str_eq(json_text_at(answer, "entries.0.origin"), "session");
	ck_assert_int_eq(json_number_at(answer, "entries.0.session.pid"), getpid());
	ck_assert_int_eq(json_number_at(answer, "entries.0.session.vtl"), 1);
	ck_assert_uint_gt(strlen(json_text_at(answer, "entries.0.session.peer")), 0);
	ck_assert_int_eq(json_number_at(answer, "entries.1.commit"), 3);
	ck_assert_uint_eq(json_address_at(answer, "entries.1.gpa"), 0x10000);
	ck_assert_int_eq(json_number_at(answer, "entries.1.pages"), 16);
	ck_assert_int_eq(json_number_at(answer, "entries.1.update"), 2);
	ck_assert_str_eq(json_text_at(answer, "entries.2.kind"), "enable-layer");
	ck_assert_ptr_null(json_at(answer, "entries.2.gpa"));
	ck_assert_str_eq(json_text_at(answer, "entries.3.kind"), "add-ram");
	ck_assert_str_eq(json_text_at(answer, "entries.3.origin"), "registration");
	ck_assert_ptr_null(json_at(answer, "entries.3.session"));
	ck_assert_ptr_null(json_at(answer, "entries.3.before"));
	ck_assert(!json_has(answer, "cursor"));
	json_object_put(answer);

	/* of VTL 1, which nobody restricts */
	answer = control_call(known.control, "journal.blame",
			      "{\"journal\":\"guest\",\"gpa\":\"0x14000\",\"vtl\":1}");
	ck_assert_uint_eq(json_object_array_length(json_at(answer, "entries")), 1);
	json_object_put(answer);
}
END_TEST

START_TEST(blame_comes_in_pieces)
{
	static const int64_t commits[] = { 7, 3, 2, 1 };
	char cursor[64] = "";

	for (int i = 0; i < N(commits); i++) {
		struct json_object *answer =
			control_call(known.control, "journal.blame",
				     "{\"journal\":\"%s\",\"gpa\":\"0x14000\",\"limit\":1%s}",
				     known.journal, cursor);

		ck_assert_uint_eq(json_object_array_length(json_at(answer, "entries")), 1);
		ck_assert_int_eq(json_number_at(answer, "entries.0.commit"), commits[i]);
		ck_assert(json_has(answer, "cursor") == (i < N(commits) - 1));
		if (json_has(answer, "cursor"))
			snprintf(cursor, sizeof(cursor), ",\"cursor\":\"%s\"",
				 json_text_at(answer, "cursor"));
		json_object_put(answer);
	}
}
END_TEST

START_TEST(a_page_that_was_never_ram_has_nobody_to_blame)
{
	struct json_object *answer = control_call(
		known.control, "journal.blame", "{\"journal\":\"guest\",\"gpa\":\"0x100000000\"}");

	ck_assert_uint_eq(json_object_array_length(json_at(answer, "entries")), 0);
	ck_assert_ptr_null(json_at(answer, "now"));
	json_object_put(answer);
}
END_TEST

START_TEST(the_past_goes_on_over_a_restart_of_the_daemon)
{
	control_close(known.control);
	kvmattrd_kill(known.daemon);
	kvmattrd_launch(known.daemon, NULL);
	known.control = control_connect(known.daemon);
	for (int commit = 1; commit <= KNOWN_LAST_COMMIT; commit++)
		known_guest_expect_state_at(known.journal, commit, 1000);
	EVENTUALLY(10000, control_has_vm(known.control, "guest"));
	expect_ok(known.agent, protect_range(known.agent, 1, KVMATTR_R, 500, 1));
	known_guest_expect_state_at("guest", KNOWN_LAST_COMMIT, 1000);
}
END_TEST

int main(void)
{
	TCase *lists = harness_make_case("status and list", 20);
	TCase *power = harness_make_case("power", 20);
	TCase *logs = harness_make_case("log", 30);
	TCase *states = harness_make_case("states", 30);

	tcase_add_checked_fixture(lists, known_guest_start, known_guest_stop);
	tcase_add_test(lists, the_status_says_how_the_journal_does);
	tcase_add_test(lists, the_list_has_journals_of_vms_that_are_there_and_that_are_gone);
	tcase_add_checked_fixture(power, NULL, known_guest_stop);
	tcase_add_test(power, with_power_the_status_says_what_is_on_the_disk);
	tcase_add_checked_fixture(logs, known_guest_start, known_guest_stop);
	tcase_add_test(logs, the_log_says_what_happened_in_its_order);
	tcase_add_test(logs, the_log_is_the_same_line_by_line);
	tcase_add_test(logs, the_log_begins_where_it_is_asked_to);
	tcase_add_test(logs, refusals_and_sessions_are_in_the_log);
	tcase_add_checked_fixture(states, known_guest_start, known_guest_stop);
	tcase_add_test(states, every_commits_state_can_be_asked_for);
	tcase_add_test(states, the_past_of_a_vm_that_is_gone_can_be_asked_by_its_journals_name);
	tcase_add_test(states, without_a_commit_it_is_the_last);
	tcase_add_test(states, a_part_of_memory_can_be_asked_for);
	tcase_add_test(states, a_difference_is_what_was_done_between);
	tcase_add_test(states, who_set_a_page_is_told_the_newest_first);
	tcase_add_test(states, blame_comes_in_pieces);
	tcase_add_test(states, a_page_that_was_never_ram_has_nobody_to_blame);
	tcase_add_test(states, the_past_goes_on_over_a_restart_of_the_daemon);
	return harness_run("journal methods", (TCase *const[]){ lists, power, logs, states, NULL });
}
