/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions about the past that cannot be answered, and that questions which take their time keep
 * nobody waiting but who asks.
 */
#include "tests/integration/known-guest.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define INVALID_PARAMS (-32602)
#define STATUS(name)   (-32000 - KVMATTR_##name)

/* ---- What cannot be asked ------------------------------------------------------------------ */

START_TEST(a_journals_name_leads_nowhere_else)
{
	static const char *const names[] = {
		"\"\"",
		"\".\"",
		"\"..\"",
		"\"../guest\"",
		"\"/etc/passwd\"",
		"\"guest/..\"",
		"\"guest/0000000000000001.journal\"",
		"\"../vms/guest.0123456789abcdef\"",
		"\"guest.0123456789abcdef/..\"",
		"\"guest.0123456789ABCDEF\"",
		"\"guest.0123456789abcdef\\u0000\"",
		"\"guest\\u0000\"",
		"\"%s%s%s%n\"",
	};
	char params[160];

	for (int i = 0; i < N(names); i++) {
		snprintf(params, sizeof(params), "{\"journal\":%s}", names[i]);
		control_expect_error(known.control, "journal.state_at", params, STATUS(NO_VM),
				     "no VM is named");
		control_expect_error(known.control, "journal.log", params, STATUS(NO_VM),
				     "journal.list");
	}
	control_expect_error(known.control, "journal.log",
			     "{\"journal\":\"guest.0123456789abcdef\"}", STATUS(NO_VM),
			     "there is no journal guest.0123456789abcdef");
	control_expect_error(known.control, "journal.log", "{\"journal\":5}", INVALID_PARAMS,
			     "params.journal");
	control_expect_error(known.control, "journal.log", "{\"journal\":null}", INVALID_PARAMS,
			     "params.journal");
	control_expect_error(known.control, "journal.log", "{}", INVALID_PARAMS, "is missing");
}
END_TEST

START_TEST(what_is_not_there_or_makes_no_sense_is_refused)
{
	static const struct {
		const char *method, *params;
		int code;
		const char *part;
	} refused[] = {
		{ "journal.state_at", "{\"journal\":\"guest\",\"commit\":0}", INVALID_PARAMS,
		  "params.commit" },
		{ "journal.state_at", "{\"journal\":\"guest\",\"commit\":-1}", INVALID_PARAMS,
		  "params.commit" },
		{ "journal.state_at", "{\"journal\":\"guest\",\"commit\":8}",
		  STATUS(INVALID_PARAMETER), "there is no commit 8 yet: the last is 7" },
		{ "journal.state_at", "{\"journal\":\"guest\",\"commit\":9223372036854775807}",
		  STATUS(INVALID_PARAMETER), "there is no commit" },
		{ "journal.state_at", "{\"journal\":\"guest\",\"commit\":\"1\"}", INVALID_PARAMS,
		  "params.commit" },
		{ "journal.state_at", "{\"journal\":\"guest\",\"vtl\":7}",
		  STATUS(INVALID_VTL_STATE), "no view of VTL 7; it has views of: 0, 1" },
		{ "journal.state_at", "{\"journal\":\"guest\",\"vtl\":16}", INVALID_PARAMS,
		  "params.vtl" },
		{ "journal.state_at",
		  "{\"journal\":\"guest\",\"start\":\"0x5000\",\"end\":\"0x1000\"}",
		  STATUS(INVALID_PARAMETER), "is below the start" },
		{ "journal.state_at",
		  "{\"journal\":\"guest\",\"start\":\"0x5000\",\"cursor\":\"0x1000\"}",
		  STATUS(INVALID_PARAMETER), "the cursor" },
		{ "journal.state_at", "{\"journal\":\"guest\",\"limit\":0}", INVALID_PARAMS,
		  "params.limit" },
		{ "journal.state_at", "{\"journal\":\"guest\",\"limit\":1025}", INVALID_PARAMS,
		  "params.limit" },
		{ "journal.state_at", "{\"journal\":\"guest\",\"page\":1}", INVALID_PARAMS,
		  "is no parameter of" },
		{ "journal.diff", "{\"journal\":\"guest\"}", INVALID_PARAMS, "params.from" },
		{ "journal.diff", "{\"journal\":\"guest\",\"from\":1,\"to\":99}",
		  STATUS(INVALID_PARAMETER), "there is no commit 99 yet" },
		{ "journal.blame", "{\"journal\":\"guest\"}", INVALID_PARAMS, "params.gpa" },
		{ "journal.blame", "{\"journal\":\"guest\",\"gpa\":\"0x10000000000000\"}",
		  STATUS(INVALID_PARAMETER), "there are no pages" },
		{ "journal.blame", "{\"journal\":\"guest\",\"gpa\":0,\"cursor\":\"1\"}",
		  INVALID_PARAMS, "params.cursor" },
		{ "journal.log", "{\"journal\":\"guest\",\"cursor\":\"1:\"}", INVALID_PARAMS,
		  "params.cursor" },
		{ "journal.log", "{\"journal\":\"guest\",\"cursor\":\"1:2:3\"}", INVALID_PARAMS,
		  "params.cursor" },
		{ "journal.log", "{\"journal\":\"guest\",\"cursor\":\"-1:2\"}", INVALID_PARAMS,
		  "params.cursor" },
		{ "journal.log", "{\"journal\":\"guest\",\"cursor\":\"99999999999999999999:1\"}",
		  INVALID_PARAMS, "params.cursor" },
		{ "journal.log", "{\"journal\":\"guest\",\"cursor\":12}", INVALID_PARAMS,
		  "params.cursor" },
		{ "journal.status", "{\"vm\":\"nobody\"}", STATUS(NO_VM), "nobody" },
		{ "journal.list", "{\"vm\":\"guest\"}", INVALID_PARAMS, "is no parameter of" },
	};

	for (int i = 0; i < N(refused); i++)
		control_expect_error(known.control, refused[i].method, refused[i].params,
				     refused[i].code, refused[i].part);
}
END_TEST

START_TEST(a_damaged_journal_is_said_to_be_with_file_and_offset)
{
	struct json_object *list;
	char path[256], params[256];
	FILE *file;
	int byte;

	known_guest_release();
	snprintf(path, sizeof(path), "%s/vms/%s/0000000000000001.journal", known.daemon->state_dir,
		 known.journal);
	file = fopen(path, "r+");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fseek(file, 200, SEEK_SET), 0);
	byte = fgetc(file);
	ck_assert_int_eq(fseek(file, 200, SEEK_SET), 0);
	fputc(byte ^ 1, file);
	fclose(file);
	snprintf(params, sizeof(params), "{\"journal\":\"%s\"}", known.journal);
	control_expect_error(known.control, "journal.state_at", params, STATUS(JOURNAL_FAILED),
			     "\"file\":\"0000000000000001.journal\"");
	control_expect_error(known.control, "journal.state_at", params, STATUS(JOURNAL_FAILED),
			     "\"offset\":");
	list = control_call(known.control, "journal.list", "{}");
	ck_assert_str_eq(json_text_at(list, "journals.0.state"), "damaged");
	ck_assert_str_eq(json_text_at(list, "journals.0.damage.file"), "0000000000000001.journal");
	json_object_put(list);
}
END_TEST

/* ---- Waiting ------------------------------------------------------------------------------- */

#define LOG_CALL(id)                      \
	"{\"jsonrpc\":\"2.0\",\"id\":" id \
	",\"method\":\"journal.log\",\"params\":{\"journal\":\"guest\",\"limit\":1}}"
#define GET_CALL(id) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"daemon.get\"}"

START_TEST(answers_come_in_the_order_of_the_calls_whoever_works_them_out)
{
	static const char calls[] = LOG_CALL("1") GET_CALL("2") LOG_CALL("3") GET_CALL("4");

	control_send(known.control, calls, strlen(calls));
	for (int i = 1; i <= 4; i++) {
		struct json_object *answer = control_receive(known.control);

		ck_assert_int_eq(json_number_at(answer, "id"), i);
		ck_assert(json_has(answer, "result"));
		json_object_put(answer);
	}
}
END_TEST

START_TEST(a_batch_waits_for_what_is_answered_later)
{
	struct json_object *answers = control_ask(
		known.control,
		"[" GET_CALL("1") "," LOG_CALL("2") "," GET_CALL("3") "," LOG_CALL("4") "]");

	ck_assert_uint_eq(json_object_array_length(answers), 4);
	for (size_t i = 0; i < 4; i++) {
		struct json_object *answer = json_object_array_get_idx(answers, i);

		ck_assert_int_eq(json_number_at(answer, "id"), (int64_t)i + 1);
		ck_assert(json_has(answer, i % 2 ? "result.lines" : "result.version"));
	}
	json_object_put(answers);
}
END_TEST

START_TEST(a_notification_is_worked_out_and_not_answered)
{
	static const char calls[] =
		"{\"jsonrpc\":\"2.0\",\"method\":\"journal.list\"}" GET_CALL("7");
	struct json_object *answer;

	control_send(known.control, calls, strlen(calls));
	answer = control_receive(known.control);
	ck_assert_int_eq(json_number_at(answer, "id"), 7);
	json_object_put(answer);
}
END_TEST

START_TEST(who_shuts_down_its_side_is_still_answered)
{
	struct control_client *other = control_connect(known.daemon);
	struct json_object *answer;

	control_send(other, LOG_CALL("5"), strlen(LOG_CALL("5")));
	ck_assert_int_eq(shutdown(other->socket, SHUT_WR), 0);
	answer = control_receive(other);
	ck_assert_ptr_nonnull(answer);
	ck_assert_int_eq(json_number_at(answer, "id"), 5);
	json_object_put(answer);
	ck_assert_ptr_null(control_receive(other));
	control_close(other);
}
END_TEST

START_TEST(who_goes_away_takes_its_question_along)
{
	static const char *const calls[] = {
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"journal.state_at\",\"params\":{"
		"\"journal\":\"guest\",\"commit\":3}}",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"journal.blame\",\"params\":{"
		"\"journal\":\"guest\",\"gpa\":0}}",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"journal.list\"}",
		LOG_CALL("1"),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.export\",\"params\":{\"vm\":\"guest\"}}",
		"[" LOG_CALL("1") "," LOG_CALL("2") "," LOG_CALL("3") "]",
	};
	struct daemon_state before = daemon_state_now(known.daemon, known.control);
	struct control_client *others[30];

	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < N(others); i++) {
			const char *call = calls[(round + i) % N(calls)];

			others[i] = control_connect(known.daemon);
			control_send(others[i], call, strlen(call));
		}
		for (int i = 0; i < N(others); i++)
			control_close(others[i]);
		expect_state(known.daemon, known.control, &before);
	}
	known_guest_expect_state_at("guest", 4, 1000);
}
END_TEST

START_TEST(many_ask_at_once_and_all_are_answered)
{
	struct control_client *others[40];
	char call[256];

	for (int i = 0; i < N(others); i++) {
		others[i] = control_connect(known.daemon);
		snprintf(call, sizeof(call),
			 "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"journal.state_at\","
			 "\"params\":{\"journal\":\"guest\",\"commit\":%d}}",
			 i, 1 + i % KNOWN_LAST_COMMIT);
		control_send(others[i], call, strlen(call));
	}
	/* and nobody else waits */
	json_object_put(control_call(known.control, "daemon.get", "{}"));
	for (int i = 0; i < N(others); i++) {
		struct json_object *answer = control_receive(others[i]);

		ck_assert_int_eq(json_number_at(answer, "id"), i);
		ck_assert_int_eq(json_number_at(answer, "result.commit"),
				 1 + i % KNOWN_LAST_COMMIT);
		json_object_put(answer);
		control_close(others[i]);
	}
}
END_TEST

START_TEST(a_daemon_that_is_asked_to_stop_meanwhile_stops)
{
	struct control_client *others[20];

	for (int i = 0; i < N(others); i++) {
		others[i] = control_connect(known.daemon);
		control_send(others[i], LOG_CALL("1"), strlen(LOG_CALL("1")));
	}
	for (int i = 0; i < N(others); i += 2)
		control_close(others[i]);
	kvmattrd_terminate(known.daemon);
	for (int i = 1; i < N(others); i += 2)
		control_close(others[i]);
	/* the next one answers before the fixture asks it to stop */
	kvmattrd_launch(known.daemon, NULL);
	control_close(known.control);
	known.control = control_connect(known.daemon);
	json_object_put(control_call(known.control, "daemon.get", "{}"));
}
END_TEST

int main(void)
{
	TCase *refusals = harness_make_case("refusals", 30);
	TCase *waiting = harness_make_case("waiting", 40);

	tcase_add_checked_fixture(refusals, known_guest_start, known_guest_stop);
	tcase_add_test(refusals, a_journals_name_leads_nowhere_else);
	tcase_add_test(refusals, what_is_not_there_or_makes_no_sense_is_refused);
	tcase_add_test(refusals, a_damaged_journal_is_said_to_be_with_file_and_offset);
	tcase_add_checked_fixture(waiting, known_guest_start, known_guest_stop);
	tcase_add_test(waiting, answers_come_in_the_order_of_the_calls_whoever_works_them_out);
	tcase_add_test(waiting, a_batch_waits_for_what_is_answered_later);
	tcase_add_test(waiting, a_notification_is_worked_out_and_not_answered);
	tcase_add_test(waiting, who_shuts_down_its_side_is_still_answered);
	tcase_add_test(waiting, who_goes_away_takes_its_question_along);
	tcase_add_test(waiting, many_ask_at_once_and_all_are_answered);
	tcase_add_test(waiting, a_daemon_that_is_asked_to_stop_meanwhile_stops);
	return harness_run("journal questions", (TCase *const[]){ refusals, waiting, NULL });
}
