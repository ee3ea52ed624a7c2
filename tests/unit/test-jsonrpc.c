/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON-RPC as bytes in and bytes out: every example of section 7 of the specification, and what
 * may be wrong with a request that is JSON.
 */
#include "tests/unit/jsonrpc-peer.h"

#include "daemon/serve/json-put.h"

#include <json-c/json.h>
#include <stdio.h>

/* ---- Section 7 of the specification, example by example ------------------------------------- */

START_TEST(positional_parameters_are_answered)
{
	peer_expect(
		"{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": [42, 23], \"id\": 1}\n",
		RESULT("19", "1") "\n");
	peer_expect(
		"{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": [23, 42], \"id\": 2}\n",
		RESULT("-19", "2") "\n");
}
END_TEST

START_TEST(named_parameters_are_answered_in_any_order)
{
	peer_expect("{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", "
		    "\"params\": {\"subtrahend\": 23, \"minuend\": 42}, \"id\": 3}\n",
		    RESULT("19", "3") "\n");
	peer_expect("{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", "
		    "\"params\": {\"minuend\": 42, \"subtrahend\": 23}, \"id\": 4}\n",
		    RESULT("19", "4") "\n");
}
END_TEST

START_TEST(a_notification_is_never_answered)
{
	peer_expect("{\"jsonrpc\": \"2.0\", \"method\": \"update\", \"params\": [1,2,3,4,5]}\n",
		    "");
	ck_assert_uint_eq(peer.n_calls, 1);
	peer_expect("{\"jsonrpc\": \"2.0\", \"method\": \"foobar\"}\n", "");
	ck_assert_uint_eq(peer.n_calls, 1);
	peer_expect("{\"jsonrpc\": \"2.0\", \"method\": \"fail\"}\n", "");
}
END_TEST

START_TEST(a_method_that_is_not_there_is_said_not_to_be_found)
{
	peer_expect(
		"{\"jsonrpc\": \"2.0\", \"method\": \"foobar\", \"id\": \"1\"}\n",
		"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32601,\"message\":\"Method not found\"},"
		"\"id\":\"1\"}\n");
}
END_TEST

START_TEST(broken_json_is_a_parse_error)
{
	peer_expect("{\"jsonrpc\": \"2.0\", \"method\": \"foobar, \"params\": \"bar\", \"baz]\n",
		    PARSE_ERROR("") "\n");
	ck_assert_uint_eq(peer.n_calls, 0);
}
END_TEST

START_TEST(an_object_that_is_no_request_is_an_invalid_request)
{
	peer_expect("{\"jsonrpc\": \"2.0\", \"method\": 1, \"params\": \"bar\"}\n",
		    INVALID_REQUEST "\n");
}
END_TEST

START_TEST(a_batch_of_broken_json_is_one_parse_error)
{
	peer_expect(
		"[\n"
		"  {\"jsonrpc\": \"2.0\", \"method\": \"sum\", \"params\": [1,2,4], \"id\": \"1\"},\n"
		"  {\"jsonrpc\": \"2.0\", \"method\"\n"
		"]\n",
		PARSE_ERROR("") "\n");
	ck_assert_uint_eq(peer.n_calls, 0);
}
END_TEST

START_TEST(an_empty_batch_is_one_invalid_request)
{
	peer_expect("[]\n", INVALID_REQUEST "\n");
}
END_TEST

START_TEST(a_batch_of_what_are_no_requests_is_answered_for_each)
{
	peer_expect("[1]\n", "[" INVALID_REQUEST "]\n");
	peer_expect("[1,2,3]\n", "[" INVALID_REQUEST "," INVALID_REQUEST "," INVALID_REQUEST "]\n");
}
END_TEST

START_TEST(a_batch_is_answered_in_its_order_without_its_notifications)
{
	peer_expect(
		"[\n"
		"  {\"jsonrpc\": \"2.0\", \"method\": \"sum\", \"params\": [1,2,4], \"id\": \"1\"},\n"
		"  {\"jsonrpc\": \"2.0\", \"method\": \"notify_hello\", \"params\": [7]},\n"
		"  {\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": [42,23], "
		"\"id\": \"2\"},\n"
		"  {\"foo\": \"boo\"},\n"
		"  {\"jsonrpc\": \"2.0\", \"method\": \"foo.get\", "
		"\"params\": {\"name\": \"myself\"}, \"id\": \"5\"},\n"
		"  {\"jsonrpc\": \"2.0\", \"method\": \"get_data\", \"id\": \"9\"}\n"
		"]\n",
		"[" RESULT("7", "\"1\"") "," RESULT(
			"19",
			"\"2\"") "," INVALID_REQUEST ","
				 "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32601,\"message\":\"Method not found\"},"
				 "\"id\":\"5\"}," RESULT("[\"hello\",5]", "\"9\"") "]\n");
	ck_assert_uint_eq(peer.n_calls, 5);
}
END_TEST

START_TEST(a_batch_of_notifications_is_not_answered)
{
	peer_expect("[\n"
		    "  {\"jsonrpc\": \"2.0\", \"method\": \"notify_sum\", \"params\": [1,2,4]},\n"
		    "  {\"jsonrpc\": \"2.0\", \"method\": \"notify_hello\", \"params\": [7]}\n"
		    "]\n",
		    "");
	ck_assert_uint_eq(peer.n_calls, 2);
}
END_TEST

/* ---- Envelopes ------------------------------------------------------------------------------ */

START_TEST(an_id_comes_back_as_it_was_sent)
{
	static const char *const ids[] = {
		"0",
		"-1",
		"9007199254740993",
		"18446744073709551614",
		"-9223372036854775807",
		"1.5",
		"1e3",
		"1e999",
		"null",
		"\"\"",
		"\"a\\u0000b\"",
		"\"é€😀\"",
		"\"\\\"\\\\\"",
	};

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		char request[160], answer[160];

		snprintf(request, sizeof(request),
			 "{\"jsonrpc\":\"2.0\",\"method\":\"update\",\"id\":%s}\n", ids[i]);
		snprintf(answer, sizeof(answer), RESULT("null", "%s") "\n", ids[i]);
		peer_expect(request, answer);
	}
}
END_TEST

START_TEST(an_id_that_cannot_come_back_as_it_was_sent_is_refused)
{
	static const char *const ids[] = {
		"{}", "[]", "[1]", "true", "99999999999999999999999", "-99999999999999999999999",
	};

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		char request[160];

		snprintf(request, sizeof(request),
			 "{\"jsonrpc\":\"2.0\",\"method\":\"update\",\"id\":%s}\n", ids[i]);
		peer_expect(
			request,
			INVALID_REQUEST_OF(",\"data\":\"id: has to be a string, a number that fits "
					   "64 bits, or null\"",
					   "null") "\n");
		ck_assert_uint_eq(peer.n_calls, 0);
	}
}
END_TEST

START_TEST(an_invalid_request_is_told_its_id_and_what_is_wrong)
{
	peer_expect("{\"jsonrpc\":\"1.0\",\"method\":\"update\",\"id\":1}\n",
		    INVALID_REQUEST_OF(",\"data\":\"jsonrpc: has to be \\\"2.0\\\"\"", "1") "\n");
	peer_expect("{\"jsonrpc\":2.0,\"method\":\"update\",\"id\":2}\n",
		    INVALID_REQUEST_OF(",\"data\":\"jsonrpc: has to be \\\"2.0\\\"\"", "2") "\n");
	peer_expect("{\"jsonrpc\":\"2.0\\u0000\",\"method\":\"update\",\"id\":3}\n",
		    INVALID_REQUEST_OF(",\"data\":\"jsonrpc: has to be \\\"2.0\\\"\"", "3") "\n");
	peer_expect("{\"jsonrpc\":\"2.0\",\"method\":\"update\",\"params\":null,\"id\":4}\n",
		    INVALID_REQUEST_OF(",\"data\":\"params: has to be an array or an object\"",
				       "4") "\n");
	peer_expect("{\"jsonrpc\":\"2.0\",\"method\":\"upd\\u0000ate\",\"id\":5}\n",
		    INVALID_REQUEST_OF(",\"data\":\"method: holds a NUL\"", "5") "\n");
	peer_expect("{\"jsonrpc\":\"2.0\",\"id\":6}\n", INVALID_REQUEST_OF("", "6") "\n");
}
END_TEST

START_TEST(a_text_that_is_no_object_and_no_array_is_an_invalid_request)
{
	static const char *const texts[] = { "1", "-0.5e3", "\"sum\"", "true", "false", "null" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char text[32];

		snprintf(text, sizeof(text), "%s\n", texts[i]);
		peer_expect(text, INVALID_REQUEST "\n");
	}
	peer_expect("[null]\n", "[" INVALID_REQUEST "]\n");
	peer_expect("[[],{}]\n", "[" INVALID_REQUEST "," INVALID_REQUEST "]\n");
}
END_TEST

START_TEST(an_error_bears_its_code_message_and_data)
{
	peer_expect("{\"jsonrpc\":\"2.0\",\"method\":\"fail\",\"id\":1}\n",
		    "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32008,\"message\":\"no VM is named "
		    "\\\"x\\\"\",\"data\":\"why\"},\"id\":1}\n");
}
END_TEST

START_TEST(two_members_with_one_name_are_an_invalid_request)
{
	static const char *const texts[] = {
		"{\"jsonrpc\":\"2.0\",\"method\":\"update\",\"id\":1,\"id\":1}\n",
		"{\"jsonrpc\":\"2.0\",\"method\":\"fail\",\"method\":\"update\",\"id\":1}\n",
		"{\"jsonrpc\":\"2.0\",\"method\":\"update\",\"id\":1,\"\\u0069d\":2}\n",
		"{\"jsonrpc\":\"2.0\",\"method\":\"update\",\"id\":1,"
		"\"params\":{\"a\":1,\"b\":2,\"a\":1}}\n",
		"{\"jsonrpc\":\"2.0\",\"method\":\"update\",\"id\":1,"
		"\"params\":[[{\"a\":{\"b\":{},\"b\":{}}}]]}\n",
		"{\"jsonrpc\":\"2.0\",\"method\":\"update\",\"id\":1,\"params\":{\"\":1,\"\":1}}\n",
		"[" CALL("1") "," CALL("2") ",{\"a\":null,\"a\":null}]\n",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		peer_expect(texts[i],
			    INVALID_REQUEST_OF(",\"data\":\"two members of one object have the "
					       "same name\"",
					       "null") "\n");
		ck_assert_uint_eq(peer.n_calls, 0);
	}
}
END_TEST

START_TEST(members_with_one_name_may_be_in_several_objects)
{
	peer_expect(
		"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1,\"params\":"
		"[{\"a\":{\"a\":{\"a\":1}}},{\"a\":\":\",\"A\":[{\"a\":1},{\"a\":1}],\":\":{}}]}"
		"[" CALL("2") "," CALL("3") "]\n",
		RESULT("[{\"a\":{\"a\":{\"a\":1}}},{\"a\":\":\",\"A\":[{\"a\":1},{\"a\":1}],"
		       "\":\":{}}]",
		       "1") "\n"
			    "[" RESULT("null", "2") "," RESULT("null", "3") "]\n");
}
END_TEST

START_TEST(text_of_a_peer_that_is_not_utf8_is_made_so)
{
	struct json_object *object = json_object_new_object();

	json_put_text(object, "fine", "é \x1b");
	json_put_text(object, "broken", "a\xffz\xc3");
	ck_assert_str_eq(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN),
			 "{\"fine\":\"é \\u001b\",\"broken\":\"a?z?\"}");
	json_object_put(object);
}
END_TEST

static TCase *tests_of_section_7(void)
{
	TCase *tests = tcase_create("section 7");

	tcase_add_test(tests, positional_parameters_are_answered);
	tcase_add_test(tests, named_parameters_are_answered_in_any_order);
	tcase_add_test(tests, a_notification_is_never_answered);
	tcase_add_test(tests, a_method_that_is_not_there_is_said_not_to_be_found);
	tcase_add_test(tests, broken_json_is_a_parse_error);
	tcase_add_test(tests, an_object_that_is_no_request_is_an_invalid_request);
	tcase_add_test(tests, a_batch_of_broken_json_is_one_parse_error);
	tcase_add_test(tests, an_empty_batch_is_one_invalid_request);
	tcase_add_test(tests, a_batch_of_what_are_no_requests_is_answered_for_each);
	tcase_add_test(tests, a_batch_is_answered_in_its_order_without_its_notifications);
	tcase_add_test(tests, a_batch_of_notifications_is_not_answered);
	return tests;
}

static TCase *tests_of_envelopes(void)
{
	TCase *tests = tcase_create("envelopes");

	tcase_add_test(tests, an_id_comes_back_as_it_was_sent);
	tcase_add_test(tests, an_id_that_cannot_come_back_as_it_was_sent_is_refused);
	tcase_add_test(tests, an_invalid_request_is_told_its_id_and_what_is_wrong);
	tcase_add_test(tests, a_text_that_is_no_object_and_no_array_is_an_invalid_request);
	tcase_add_test(tests, an_error_bears_its_code_message_and_data);
	tcase_add_test(tests, two_members_with_one_name_are_an_invalid_request);
	tcase_add_test(tests, members_with_one_name_may_be_in_several_objects);
	tcase_add_test(tests, text_of_a_peer_that_is_not_utf8_is_made_so);
	return tests;
}

int main(void)
{
	TCase *cases[] = { tests_of_section_7(), tests_of_envelopes() };

	return peer_run_tests("jsonrpc", cases, sizeof(cases) / sizeof(cases[0]));
}
