/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON-RPC requests in a stream of bytes: where they begin and end, and what a peer that means no
 * good can send instead.
 */
#include "tests/unit/jsonrpc-peer.h"

#include "daemon/serve/json-text.h"

#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(requests_may_follow_each_other_without_a_newline)
{
	peer_expect(CALL("1") CALL("2") " \t\r\n" CALL("3") "[" CALL("4") "]1 2\"x\"",
		    RESULT("null", "1") "\n" RESULT("null", "2") "\n" RESULT(
			    "null", "3") "\n"
					 "[" RESULT("null", "4") "]\n" INVALID_REQUEST
								 "\n" INVALID_REQUEST
								 "\n" INVALID_REQUEST "\n");
}
END_TEST

START_TEST(after_a_parse_error_the_next_line_is_looked_at_anew)
{
	peer_expect("{\"a\":} " CALL("1") "\n" CALL("2") "\n",
		    PARSE_ERROR("") "\n" RESULT("null", "2") "\n");
	peer_expect("GET / HTTP/1.1\r\n" CALL("3") "\n",
		    PARSE_ERROR("") "\n" RESULT("null", "3") "\n");
	peer_expect(
		"\"a\n" CALL("4") "\n",
		PARSE_ERROR(",\"data\":\"a control character in a string; write it as \\\\u00XX\"") "\n" RESULT(
			"null", "4") "\n");
	peer_expect("[1,]\n\n\n" CALL("5"), PARSE_ERROR("") "\n" RESULT("null", "5") "\n");
}
END_TEST

START_TEST(what_json_forbids_is_a_parse_error)
{
	static const char *const texts[] = {
		"[NaN]",
		"[Infinity]",
		"[-Infinity]",
		"NaN",
		"nan",
		"[nan]",
		"[01]",
		"[00]",
		"[-01]",
		"[-.5]",
		"[.5]",
		"[1.]",
		"[1.e5]",
		"[+1]",
		"[0x10]",
		"[1e]",
		"[--1]",
		"[1-1]",
		"[-]",
		"{'a':1}",
		"['a']",
		"{a:1}",
		"[1,]",
		"{\"a\":1,}",
		"[,1]",
		"{,}",
		"[1 2]",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1 \"b\":2}",
		"[TRUE]",
		"[tru]",
		"[nulll]",
		"[1true]",
		"// x",
		"[/* x */]",
		"]",
		"}",
		",",
		":",
		"[}",
		"{]",
		"[\"\\x\"]",
		"[\"\\u12g4\"]",
		"[1]]",
		"\f[1]",
		"\v[1]",
		"0.",
		"\xef\xbb\xbf[]",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char text[64];

		snprintf(text, sizeof(text), "%s\n", texts[i]);
		peer_forget();
		peer_send(text, strlen(text));
		ck_assert_msg(strstr(peer.answers, "-32700") != NULL, "%s got %s", texts[i],
			      peer.answers);
		ck_assert_uint_eq(peer.n_calls, 0);
	}
	peer_expect_bytes("[\0]\n", 4, PARSE_ERROR("") "\n");
}
END_TEST

START_TEST(a_string_that_is_not_utf8_is_refused)
{
	static const char *const strings[] = {
		"\xff",
		"\x80",
		"\xc3",
		"\xc3(",
		"\xc0\x80",
		"\xc1\xbf",
		"\xe0\x9f\xbf",
		"\xe2\x82",
		"\xed\xa0\x80",
		"\xed\xbf\xbf",
		"\xf0\x8f\xbf\xbf",
		"\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80",
	};

	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
		char text[128];

		snprintf(text, sizeof(text),
			 "{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":[\"%s\"],\"id\":1}\n",
			 strings[i]);
		peer_expect(text, PARSE_ERROR(",\"data\":\"a string is not UTF-8\"") "\n");
		ck_assert_uint_eq(peer.n_calls, 0);
	}
}
END_TEST

START_TEST(a_string_in_utf8_goes_through_unchanged)
{
	static const char text[] =
		"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":[\"\x7f é € 😀 "
		"\xf4\x8f\xbf\xbf\",{\"ключ\":\"\\u0000\"}],\"id\":1}\n";

	peer_expect(text,
		    RESULT("[\"\x7f é € 😀 \xf4\x8f\xbf\xbf\",{\"ключ\":\"\\u0000\"}]", "1") "\n");
}
END_TEST

START_TEST(a_name_that_holds_a_nul_is_refused)
{
	peer_expect(
		"{\"jsonrpc\":\"2.0\",\"method\\u0000\":\"x\",\"method\":\"update\",\"id\":1}\n",
		PARSE_ERROR(",\"data\":\"\\\\u0000 in a member's name\"") "\n");
}
END_TEST

/* A call of echo whose params, an array, are n deep. */
static char *nested_call(unsigned int n)
{
	char *text = malloc(2 * n + 100), *at = text;

	ck_assert_ptr_nonnull(text);
	at += sprintf(at, "{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1,\"params\":");
	memset(at, '[', n);
	memset(at + n, ']', n);
	strcpy(at + 2 * n, "}\n");
	return text;
}

START_TEST(a_request_nested_as_deep_as_allowed_is_answered)
{
	char *text = nested_call(JSON_TEXT_MAX_DEPTH - 1);

	peer_send(text, strlen(text));
	ck_assert_uint_eq(peer.n_calls, 1);
	ck_assert_ptr_nonnull(strstr(peer.answers, "\"result\":[[["));
	free(text);
}
END_TEST

START_TEST(a_request_nested_deeper_is_refused)
{
	static const unsigned int depths[] = { JSON_TEXT_MAX_DEPTH, 33, 100, 100000 };

	for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
		char *text = nested_call(depths[i]);

		peer_expect(text, PARSE_ERROR(",\"data\":\"nested deeper than max_request_depth in "
					      "daemon.get\"") "\n");
		ck_assert_uint_eq(peer.n_calls, 0);
		free(text);
	}
}
END_TEST

/* A call of echo that is size bytes long. */
static char *long_call(size_t size)
{
	static const char begin[] =
		"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1,\"params\":[\"";
	char *text = malloc(size + 1);

	ck_assert_ptr_nonnull(text);
	memset(text, 'x', size);
	memcpy(text, begin, strlen(begin));
	strcpy(text + size - 3, "\"]}");
	return text;
}

START_TEST(a_request_as_long_as_allowed_is_answered)
{
	char *text = long_call(JSONRPC_MAX_REQUEST);

	peer_send(text, strlen(text));
	ck_assert_uint_eq(peer.n_calls, 1);
	ck_assert_uint_gt(peer.n, JSONRPC_MAX_REQUEST / 2);
	free(text);
}
END_TEST

START_TEST(a_request_that_is_longer_is_refused_and_skipped)
{
	char *text = long_call(JSONRPC_MAX_REQUEST + 1);

	peer_send(text, strlen(text));
	ck_assert_str_eq(peer.answers,
			 PARSE_ERROR(",\"data\":\"the request is longer than max_request_bytes in "
				     "daemon.get\"") "\n");
	for (int i = 0; i < 20; i++)
		peer_send(text, strlen(text));
	peer_forget();
	peer_send("\n" CALL("1"), strlen("\n" CALL("1")));
	ck_assert_str_eq(peer.answers, RESULT("null", "1") "\n");
	free(text);
}
END_TEST

/* Long ones are parsed piece by piece: wherever that cuts, nothing becomes of it. */
START_TEST(a_long_request_is_understood_as_it_was_written)
{
	static const char begin[] =
		"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1,\"params\":[";
	static const char *const values[] = { "\"\u20ac\"", "\"\U0001f600\"", "-12.5e3",
					      "true",       "{\"a\":null}",   "\"\\\\\\\"\"" };
	static char text[3 * 65536], params[2 * 65536], answer[3 * 65536];
	size_t n = 0;

	/* each shift moves all behind it past the cuts */
	n += (size_t)sprintf(params, "\"%*s\"", _i, "");
	while (n < 65536)
		for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
			n += (size_t)sprintf(params + n, ",%s", values[i]);
	sprintf(text, "%s%s]}\n", begin, params);
	sprintf(answer, RESULT("[%s]", "1") "\n", params);
	peer_send(text, strlen(text));
	ck_assert_str_eq(peer.answers, answer);
}
END_TEST

/* A call whose commas and opening brackets are so many. */
static char *call_of_values(unsigned int n)
{
	static const char begin[] =
		"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1,\"params\":[0";
	char *text = malloc(sizeof(begin) + 2 * n + 4);

	ck_assert_ptr_nonnull(text);
	strcpy(text, begin);
	for (unsigned int i = 5; i < n; i++)
		memcpy(text + strlen(begin) + 2 * (i - 5), ",0", 3);
	return strcat(text, "]}\n");
}

/* json-c takes the digits before the sign for the number where it is given them by themselves. */
START_TEST(a_number_with_a_sign_in_it_is_refused_wherever_a_long_request_is_cut)
{
	static const char head[] = "{\"jsonrpc\":\"2.0\",\"method\":\"update\",\"id\":1,";
	static const char tail[] = "\"params\":[7,12-5]}\n";
	const size_t n = 8100 + (size_t)_i + sizeof(tail) - 1;
	char *text = malloc(n + 1);

	ck_assert_ptr_nonnull(text);
	memset(text, ' ', n);
	memcpy(text, head, sizeof(head) - 1);
	memcpy(text + n - (sizeof(tail) - 1), tail, sizeof(tail));
	peer_send(text, n);
	ck_assert_str_eq(peer.answers, PARSE_ERROR("") "\n");
	ck_assert_uint_eq(peer.n_calls, 0);
	free(text);
}
END_TEST

START_TEST(a_request_may_have_as_many_values_as_allowed_and_no_more)
{
	char *text = call_of_values(JSONRPC_MAX_VALUES);

	peer_send(text, strlen(text));
	ck_assert_uint_eq(peer.n_calls, 1);
	free(text);
	text = call_of_values(JSONRPC_MAX_VALUES + 1);
	peer_expect(text, PARSE_ERROR(",\"data\":\"more values than max_request_values in "
				      "daemon.get\"") "\n");
	free(text);
}
END_TEST

START_TEST(a_peer_may_leave_while_its_request_is_parsed)
{
	char *text = long_call(JSONRPC_MAX_REQUEST);

	ck_assert_uint_eq(jsonrpc_feed(peer.rpc, text, strlen(text)), strlen(text));
	ck_assert(jsonrpc_has_work(peer.rpc));
	jsonrpc_work(peer.rpc);
	ck_assert(jsonrpc_has_work(peer.rpc));
	ck_assert_uint_eq(peer.n_calls, 0);
	free(text);
}
END_TEST

START_TEST(a_batch_may_hold_as_many_calls_as_allowed_and_no_more)
{
	char *text = malloc(64 * (JSONRPC_MAX_BATCH + 2)), *at = text;
	unsigned int n_answers = 0;

	ck_assert_ptr_nonnull(text);
	at += sprintf(at, "[");
	for (unsigned int i = 0; i < JSONRPC_MAX_BATCH; i++)
		at += sprintf(at, "%s" CALL("%u"), i ? "," : "", i);
	strcpy(at, "]\n");
	peer_send(text, strlen(text));
	ck_assert_uint_eq(peer.n_calls, JSONRPC_MAX_BATCH);
	for (const char *p = peer.answers; (p = strstr(p, "\"id\":")); p++)
		n_answers++;
	ck_assert_uint_eq(n_answers, JSONRPC_MAX_BATCH);
	strcpy(at, ",1]\n");
	peer_expect(text,
		    INVALID_REQUEST_OF(",\"data\":\"more calls than max_batch in daemon.get\"",
				       "null") "\n");
	ck_assert_uint_eq(peer.n_calls, 0);
	free(text);
}
END_TEST

START_TEST(the_calls_of_a_batch_are_made_one_at_a_time)
{
	static const char batch[] = "[" CALL("1") "," CALL("2") "," CALL("3") "]" CALL("4");
	size_t taken = jsonrpc_feed(peer.rpc, batch, strlen(batch));

	for (unsigned int i = 1; i <= 3; i++) {
		ck_assert(jsonrpc_has_work(peer.rpc));
		ck_assert_uint_eq(jsonrpc_feed(peer.rpc, batch + taken, strlen(batch) - taken), 0);
		jsonrpc_work(peer.rpc);
		ck_assert_uint_eq(peer.n_calls, i);
	}
	ck_assert(!jsonrpc_has_work(peer.rpc));
	peer_send(batch + taken, strlen(batch) - taken);
	ck_assert_str_eq(peer.answers, "[" RESULT("null", "1") "," RESULT("null", "2") "," RESULT(
					       "null", "3") "]\n" RESULT("null", "4") "\n");
}
END_TEST

START_TEST(a_peer_may_leave_in_the_middle_of_a_batch)
{
	static const char batch[] = "[" CALL("1") "," CALL("2") "]";

	jsonrpc_feed(peer.rpc, batch, strlen(batch));
	jsonrpc_work(peer.rpc);
	ck_assert_uint_eq(peer.n_calls, 1);
}
END_TEST

START_TEST(the_end_of_the_stream_ends_a_number_but_not_an_object)
{
	peer_send("12", 2);
	ck_assert_str_eq(peer.answers, "");
	jsonrpc_end(peer.rpc);
	ck_assert(jsonrpc_has_work(peer.rpc));
	jsonrpc_work(peer.rpc);
	ck_assert_str_eq(peer.answers, INVALID_REQUEST "\n");
	peer_forget();
	jsonrpc_end(peer.rpc);
	ck_assert_str_eq(peer.answers, "");
	peer_send("{\"jsonrpc\":\"2.0\"", 16);
	jsonrpc_end(peer.rpc);
	ck_assert_str_eq(peer.answers, PARSE_ERROR(",\"data\":\"the connection ended in the middle "
						   "of a request\"") "\n");
}
END_TEST

START_TEST(noise_is_answered_by_errors_and_nothing_else)
{
	static const char alphabet[] = "{}[]:,\"\\u0019-+.eE \n\ttrufalsn\xc3\xa9\xff/'";
	uint64_t state = 0x9e3779b97f4a7c15;
	struct json_tokener *tokener;

	for (unsigned int i = 0; i < 200000; i++) {
		char byte;

		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		byte = alphabet[(state >> 20) % (sizeof(alphabet) - 1)];
		peer_send(&byte, 1);
	}
	ck_assert_uint_eq(peer.n_calls, 0);
	ck_assert_uint_gt(peer.n, 0);
	/* every line is JSON */
	tokener = json_tokener_new();
	for (char *line = strtok(peer.answers, "\n"); line; line = strtok(NULL, "\n")) {
		struct json_object *object;

		json_tokener_reset(tokener);
		object = json_tokener_parse_ex(tokener, line, (int)strlen(line) + 1);
		ck_assert_ptr_nonnull(object);
		json_object_put(object);
	}
	json_tokener_free(tokener);
}
END_TEST

static TCase *tests_of_the_stream(void)
{
	TCase *tests = tcase_create("stream");

	tcase_set_timeout(tests, 120); /* under valgrind */
	tcase_add_test(tests, requests_may_follow_each_other_without_a_newline);
	tcase_add_test(tests, after_a_parse_error_the_next_line_is_looked_at_anew);
	tcase_add_test(tests, what_json_forbids_is_a_parse_error);
	tcase_add_test(tests, a_string_that_is_not_utf8_is_refused);
	tcase_add_test(tests, a_string_in_utf8_goes_through_unchanged);
	tcase_add_test(tests, a_name_that_holds_a_nul_is_refused);
	tcase_add_test(tests, a_request_nested_as_deep_as_allowed_is_answered);
	tcase_add_test(tests, a_request_nested_deeper_is_refused);
	tcase_add_test(tests, a_request_as_long_as_allowed_is_answered);
	tcase_add_test(tests, a_request_that_is_longer_is_refused_and_skipped);
	tcase_add_loop_test(tests, a_long_request_is_understood_as_it_was_written, 0, 40);
	tcase_add_loop_test(tests,
			    a_number_with_a_sign_in_it_is_refused_wherever_a_long_request_is_cut, 0,
			    100);
	tcase_add_test(tests, a_request_may_have_as_many_values_as_allowed_and_no_more);
	tcase_add_test(tests, a_peer_may_leave_while_its_request_is_parsed);
	tcase_add_test(tests, a_batch_may_hold_as_many_calls_as_allowed_and_no_more);
	tcase_add_test(tests, the_calls_of_a_batch_are_made_one_at_a_time);
	tcase_add_test(tests, a_peer_may_leave_in_the_middle_of_a_batch);
	tcase_add_test(tests, the_end_of_the_stream_ends_a_number_but_not_an_object);
	tcase_add_test(tests, noise_is_answered_by_errors_and_nothing_else);
	return tests;
}

int main(void)
{
	TCase *cases[] = { tests_of_the_stream() };

	return peer_run_tests("jsonrpc stream", cases, sizeof(cases) / sizeof(cases[0]));
}
