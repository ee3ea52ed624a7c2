/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls that are answered later: what waits for them, and that the order of answers stays.
 */
#include "tests/unit/jsonrpc-peer.h"

#include <json-c/json.h>
#include <string.h>

#define LATER(id)          "{\"jsonrpc\":\"2.0\",\"method\":\"later\",\"id\":" id "}"
#define LATER_NOTIFICATION "{\"jsonrpc\":\"2.0\",\"method\":\"later\"}"

static size_t send_text(const char *text)
{
	return peer_send(text, strlen(text));
}

static void answer_with(int64_t number)
{
	struct jsonrpc_answer answer = { .result = json_object_new_int64(number) };

	ck_assert(jsonrpc_is_waiting(peer.rpc));
	jsonrpc_finish(peer.rpc, &answer);
}

START_TEST(a_call_is_answered_when_it_is_finished)
{
	send_text(LATER("7"));
	ck_assert(jsonrpc_is_waiting(peer.rpc));
	ck_assert(!jsonrpc_has_work(peer.rpc));
	ck_assert_str_eq(peer.answers, "");
	answer_with(42);
	ck_assert_str_eq(peer.answers, RESULT("42", "7") "\n");
	ck_assert(!jsonrpc_is_waiting(peer.rpc));
	peer_expect(CALL("8"), RESULT("null", "8") "\n");
}
END_TEST

START_TEST(it_may_be_answered_with_an_error)
{
	struct jsonrpc_answer answer = { 0 };

	send_text(LATER("\"x\""));
	jsonrpc_refuse(&answer, -32001, json_object_new_string("why"), "not to be had");
	jsonrpc_finish(peer.rpc, &answer);
	ck_assert_str_eq(peer.answers, "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32001,"
				       "\"message\":\"not to be had\",\"data\":\"why\"},"
				       "\"id\":\"x\"}\n");
}
END_TEST

START_TEST(nothing_more_is_taken_of_the_peer_until_then)
{
	const char *text = LATER("1") CALL("2");
	size_t n = send_text(text);

	ck_assert_uint_eq(n, strlen(LATER("1")));
	ck_assert_uint_eq(jsonrpc_feed(peer.rpc, text + n, strlen(text) - n), 0);
	ck_assert_uint_eq(peer.n_calls, 1);
	answer_with(1);
	send_text(text + n);
	ck_assert_str_eq(peer.answers, RESULT("1", "1") "\n" RESULT("null", "2") "\n");
}
END_TEST

START_TEST(a_batch_waits_for_each_of_its_calls_and_keeps_their_order)
{
	send_text("[" CALL("1") "," LATER("2") "," CALL("3") "," LATER("4") "]");
	ck_assert_uint_eq(peer.n_calls, 2);
	answer_with(22);
	ck_assert(!jsonrpc_is_waiting(peer.rpc));
	send_text("");
	ck_assert_uint_eq(peer.n_calls, 4);
	answer_with(44);
	ck_assert(!jsonrpc_has_work(peer.rpc));
	ck_assert_str_eq(peer.answers, "[" RESULT("null", "1") "," RESULT("22", "2") "," RESULT(
					       "null", "3") "," RESULT("44", "4") "]\n");
	peer_expect(CALL("5"), RESULT("null", "5") "\n");
}
END_TEST

/* Then its caller may write lines of its own. */
START_TEST(a_line_is_open_from_the_first_answer_of_a_batch_to_the_last)
{
	ck_assert(!jsonrpc_is_within_line(peer.rpc));
	send_text(LATER("1"));
	ck_assert(!jsonrpc_is_within_line(peer.rpc));
	answer_with(1);
	ck_assert(!jsonrpc_is_within_line(peer.rpc));
	send_text("[" LATER("2") "," LATER("3") "," LATER_NOTIFICATION "]");
	ck_assert(!jsonrpc_is_within_line(peer.rpc));
	for (int i = 2; i < 4; i++) {
		answer_with(i);
		send_text("");
		ck_assert(jsonrpc_is_within_line(peer.rpc));
	}
	answer_with(0);
	ck_assert(!jsonrpc_is_within_line(peer.rpc));
	ck_assert_str_eq(peer.answers,
			 RESULT("1", "1") "\n[" RESULT("2", "2") "," RESULT("3", "3") "]\n");
}
END_TEST

START_TEST(a_notification_waits_and_is_not_answered)
{
	size_t n = send_text(LATER_NOTIFICATION CALL("2"));

	answer_with(1);
	ck_assert_str_eq(peer.answers, "");
	send_text(&(LATER_NOTIFICATION CALL("2"))[n]);
	ck_assert_str_eq(peer.answers, RESULT("null", "2") "\n");
	peer_forget();
	send_text("[" LATER_NOTIFICATION "," LATER_NOTIFICATION "]");
	answer_with(1);
	send_text("");
	answer_with(1);
	ck_assert_str_eq(peer.answers, "");
}
END_TEST

START_TEST(a_peer_may_go_while_its_call_is_not_answered)
{
	send_text("[" CALL("1") "," LATER("2") "," CALL("3") "]");
	ck_assert(jsonrpc_is_waiting(peer.rpc));
	ck_assert_str_eq(peer.answers, "[" RESULT("null", "1"));
	/* the fixture frees it: nothing is to be leaked or touched */
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("later");

	tcase_add_test(tests, a_call_is_answered_when_it_is_finished);
	tcase_add_test(tests, it_may_be_answered_with_an_error);
	tcase_add_test(tests, nothing_more_is_taken_of_the_peer_until_then);
	tcase_add_test(tests, a_batch_waits_for_each_of_its_calls_and_keeps_their_order);
	tcase_add_test(tests, a_line_is_open_from_the_first_answer_of_a_batch_to_the_last);
	tcase_add_test(tests, a_notification_waits_and_is_not_answered);
	tcase_add_test(tests, a_peer_may_go_while_its_call_is_not_answered);
	return peer_run_tests("jsonrpc later", &tests, 1);
}
