/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON-RPC as bytes in and bytes out: every example of section 7 of the specification, and what
 * a peer that means no good can send.
 */
#include "daemon/serve/json-put.h"
#include "daemon/serve/json-text.h"
#include "daemon/serve/jsonrpc.h"

#include <check.h>
#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A peer's connection: what was written to it, and what was called. */
struct peer {
	struct jsonrpc *rpc;
	char *answers;
	size_t n;
	size_t capacity;
	unsigned int n_calls;
};

static void answer_integer(struct jsonrpc_answer *answer, int64_t number)
{
	answer->result = json_object_new_int64(number);
}

static int64_t integer_at(struct json_object *params, size_t i, const char *name)
{
	struct json_object *value = NULL;

	if (json_object_is_type(params, json_type_array))
		value = json_object_array_get_idx(params, i);
	else
		json_object_object_get_ex(params, name, &value);
	return json_object_get_int64(value);
}

/* The methods that the specification's examples call. */
static void dispatch(void *context, const char *method, struct json_object *params,
		     struct jsonrpc_answer *answer)
{
	struct peer *peer = context;

	peer->n_calls++;
	if (!strcmp(method, "subtract")) {
		answer_integer(answer, integer_at(params, 0, "minuend") -
					       integer_at(params, 1, "subtrahend"));
	} else if (!strcmp(method, "sum")) {
		int64_t sum = 0;

		for (size_t i = 0; i < json_object_array_length(params); i++)
			sum += integer_at(params, i, NULL);
		answer_integer(answer, sum);
	} else if (!strcmp(method, "get_data")) {
		answer->result = json_object_new_array();
		json_put_next_text(answer->result, "hello");
		json_put_next_number(answer->result, 5);
	} else if (!strcmp(method, "echo")) {
		answer->result = json_object_get(params);
	} else if (!strcmp(method, "update") || !strcmp(method, "notify_hello") ||
		   !strcmp(method, "notify_sum")) {
		answer->result = NULL;
	} else if (!strcmp(method, "fail")) {
		jsonrpc_refuse(answer, JSONRPC_SERVER_ERROR - 8, json_object_new_string("why"),
			       "no VM is named \"%s\"", "x");
	} else {
		jsonrpc_refuse(answer, JSONRPC_METHOD_NOT_FOUND, NULL, "Method not found");
	}
}

static void take_bytes(void *context, const char *bytes, size_t n)
{
	struct peer *peer = context;

	if (peer->n + n + 1 > peer->capacity) {
		peer->capacity = 2 * (peer->n + n + 1);
		peer->answers = realloc(peer->answers, peer->capacity);
		ck_assert_ptr_nonnull(peer->answers);
	}
	memcpy(peer->answers + peer->n, bytes, n);
	peer->n += n;
	peer->answers[peer->n] = '\0';
}

static const struct jsonrpc_ops ops = { .dispatch = dispatch, .write = take_bytes };

static struct peer peer;

static void connect_peer(void)
{
	memset(&peer, 0, sizeof(peer));
	peer.rpc = jsonrpc_new(&ops, &peer);
	take_bytes(&peer, "", 0);
}

static void disconnect_peer(void)
{
	jsonrpc_free(peer.rpc);
	free(peer.answers);
}

static void send_bytes(const char *bytes, size_t n)
{
	for (size_t taken = 0; taken < n;) {
		if (jsonrpc_has_work(peer.rpc)) {
			ck_assert_uint_eq(jsonrpc_feed(peer.rpc, bytes + taken, n - taken), 0);
			jsonrpc_work(peer.rpc);
		} else {
			taken += jsonrpc_feed(peer.rpc, bytes + taken, n - taken);
		}
	}
	while (jsonrpc_has_work(peer.rpc))
		jsonrpc_work(peer.rpc);
}

static void forget_answers(void)
{
	peer.n = 0;
	peer.answers[0] = '\0';
	peer.n_calls = 0;
}

/* The bytes get these answers, whole and byte by byte. */
static void expect_bytes(const char *bytes, size_t n, const char *answers)
{
	forget_answers();
	send_bytes(bytes, n);
	ck_assert_str_eq(peer.answers, answers);
	forget_answers();
	for (size_t i = 0; i < n; i++)
		send_bytes(bytes + i, 1);
	ck_assert_str_eq(peer.answers, answers);
}

static void expect(const char *text, const char *answers)
{
	expect_bytes(text, strlen(text), answers);
}

#define PARSE_ERROR(data)                                                                  \
	"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32700,\"message\":\"Parse error\"" data \
	"},\"id\":null}"
#define INVALID_REQUEST_OF(data, id)                                                           \
	"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32600,\"message\":\"Invalid Request\"" data \
	"},\"id\":" id "}"
#define INVALID_REQUEST    INVALID_REQUEST_OF("", "null")
#define RESULT(result, id) "{\"jsonrpc\":\"2.0\",\"result\":" result ",\"id\":" id "}"

/* ---- Section 7 of the specification, example by example ------------------------------------- */

START_TEST(positional_parameters_are_answered)
{
	expect("{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": [42, 23], \"id\": 1}\n",
	       RESULT("19", "1") "\n");
	expect("{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": [23, 42], \"id\": 2}\n",
	       RESULT("-19", "2") "\n");
}
END_TEST

START_TEST(named_parameters_are_answered_in_any_order)
{
	expect("{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", "
	       "\"params\": {\"subtrahend\": 23, \"minuend\": 42}, \"id\": 3}\n",
	       RESULT("19", "3") "\n");
	expect("{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", "
	       "\"params\": {\"minuend\": 42, \"subtrahend\": 23}, \"id\": 4}\n",
	       RESULT("19", "4") "\n");
}
END_TEST

START_TEST(a_notification_is_never_answered)
{
	expect("{\"jsonrpc\": \"2.0\", \"method\": \"update\", \"params\": [1,2,3,4,5]}\n", "");
	ck_assert_uint_eq(peer.n_calls, 1);
	expect("{\"jsonrpc\": \"2.0\", \"method\": \"foobar\"}\n", "");
	ck_assert_uint_eq(peer.n_calls, 1);
	expect("{\"jsonrpc\": \"2.0\", \"method\": \"fail\"}\n", "");
}
END_TEST

START_TEST(a_method_that_is_not_there_is_said_not_to_be_found)
{
	expect("{\"jsonrpc\": \"2.0\", \"method\": \"foobar\", \"id\": \"1\"}\n",
	       "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32601,\"message\":\"Method not found\"},"
	       "\"id\":\"1\"}\n");
}
END_TEST

START_TEST(broken_json_is_a_parse_error)
{
	expect("{\"jsonrpc\": \"2.0\", \"method\": \"foobar, \"params\": \"bar\", \"baz]\n",
	       PARSE_ERROR("") "\n");
	ck_assert_uint_eq(peer.n_calls, 0);
}
END_TEST

START_TEST(an_object_that_is_no_request_is_an_invalid_request)
{
	expect("{\"jsonrpc\": \"2.0\", \"method\": 1, \"params\": \"bar\"}\n",
	       INVALID_REQUEST "\n");
}
END_TEST

START_TEST(a_batch_of_broken_json_is_one_parse_error)
{
	expect("[\n"
	       "  {\"jsonrpc\": \"2.0\", \"method\": \"sum\", \"params\": [1,2,4], \"id\": \"1\"},\n"
	       "  {\"jsonrpc\": \"2.0\", \"method\"\n"
	       "]\n",
	       PARSE_ERROR("") "\n");
	ck_assert_uint_eq(peer.n_calls, 0);
}
END_TEST

START_TEST(an_empty_batch_is_one_invalid_request)
{
	expect("[]\n", INVALID_REQUEST "\n");
}
END_TEST

START_TEST(a_batch_of_what_are_no_requests_is_answered_for_each)
{
	expect("[1]\n", "[" INVALID_REQUEST "]\n");
	expect("[1,2,3]\n", "[" INVALID_REQUEST "," INVALID_REQUEST "," INVALID_REQUEST "]\n");
}
END_TEST

START_TEST(a_batch_is_answered_in_its_order_without_its_notifications)
{
	expect("[\n"
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
	expect("[\n"
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
		expect(request, answer);
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
		expect(request,
		       INVALID_REQUEST_OF(",\"data\":\"id: has to be a string, a number that fits "
					  "64 bits, or null\"",
					  "null") "\n");
		ck_assert_uint_eq(peer.n_calls, 0);
	}
}
END_TEST

START_TEST(an_invalid_request_is_told_its_id_and_what_is_wrong)
{
	expect("{\"jsonrpc\":\"1.0\",\"method\":\"update\",\"id\":1}\n",
	       INVALID_REQUEST_OF(",\"data\":\"jsonrpc: has to be \\\"2.0\\\"\"", "1") "\n");
	expect("{\"jsonrpc\":2.0,\"method\":\"update\",\"id\":2}\n",
	       INVALID_REQUEST_OF(",\"data\":\"jsonrpc: has to be \\\"2.0\\\"\"", "2") "\n");
	expect("{\"jsonrpc\":\"2.0\\u0000\",\"method\":\"update\",\"id\":3}\n",
	       INVALID_REQUEST_OF(",\"data\":\"jsonrpc: has to be \\\"2.0\\\"\"", "3") "\n");
	expect("{\"jsonrpc\":\"2.0\",\"method\":\"update\",\"params\":null,\"id\":4}\n",
	       INVALID_REQUEST_OF(",\"data\":\"params: has to be an array or an object\"",
				  "4") "\n");
	expect("{\"jsonrpc\":\"2.0\",\"method\":\"upd\\u0000ate\",\"id\":5}\n",
	       INVALID_REQUEST_OF(",\"data\":\"method: holds a NUL\"", "5") "\n");
	expect("{\"jsonrpc\":\"2.0\",\"id\":6}\n", INVALID_REQUEST_OF("", "6") "\n");
}
END_TEST

START_TEST(a_text_that_is_no_object_and_no_array_is_an_invalid_request)
{
	static const char *const texts[] = { "1", "-0.5e3", "\"sum\"", "true", "false", "null" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char text[32];

		snprintf(text, sizeof(text), "%s\n", texts[i]);
		expect(text, INVALID_REQUEST "\n");
	}
	expect("[null]\n", "[" INVALID_REQUEST "]\n");
	expect("[[],{}]\n", "[" INVALID_REQUEST "," INVALID_REQUEST "]\n");
}
END_TEST

START_TEST(an_error_bears_its_code_message_and_data)
{
	expect("{\"jsonrpc\":\"2.0\",\"method\":\"fail\",\"id\":1}\n",
	       "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32008,\"message\":\"no VM is named "
	       "\\\"x\\\"\",\"data\":\"why\"},\"id\":1}\n");
}
END_TEST

START_TEST(of_members_with_one_name_the_last_counts)
{
	expect("{\"jsonrpc\":\"2.0\",\"method\":\"foobar\",\"method\":\"sum\",\"params\":[9],"
	       "\"params\":[1,2],\"id\":1,\"id\":2}\n",
	       RESULT("3", "2") "\n");
}
END_TEST

/* ---- The stream ----------------------------------------------------------------------------- */

#define CALL(id) "{\"jsonrpc\":\"2.0\",\"method\":\"update\",\"id\":" id "}"

START_TEST(requests_may_follow_each_other_without_a_newline)
{
	expect(CALL("1") CALL("2") " \t\r\n" CALL("3") "[" CALL("4") "]1 2\"x\"",
	       RESULT("null", "1") "\n" RESULT("null", "2") "\n" RESULT(
		       "null", "3") "\n"
				    "[" RESULT("null", "4") "]\n" INVALID_REQUEST
							    "\n" INVALID_REQUEST
							    "\n" INVALID_REQUEST "\n");
}
END_TEST

START_TEST(after_a_parse_error_the_next_line_is_looked_at_anew)
{
	expect("{\"a\":} " CALL("1") "\n" CALL("2") "\n",
	       PARSE_ERROR("") "\n" RESULT("null", "2") "\n");
	expect("GET / HTTP/1.1\r\n" CALL("3") "\n", PARSE_ERROR("") "\n" RESULT("null", "3") "\n");
	expect("\"a\n" CALL("4") "\n",
	       PARSE_ERROR(",\"data\":\"a control character in a string; write it as \\\\u00XX\"") "\n" RESULT(
		       "null", "4") "\n");
	expect("[1,]\n\n\n" CALL("5"), PARSE_ERROR("") "\n" RESULT("null", "5") "\n");
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
		forget_answers();
		send_bytes(text, strlen(text));
		ck_assert_msg(strstr(peer.answers, "-32700") != NULL, "%s got %s", texts[i],
			      peer.answers);
		ck_assert_uint_eq(peer.n_calls, 0);
	}
	expect_bytes("[\0]\n", 4, PARSE_ERROR("") "\n");
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
		expect(text, PARSE_ERROR(",\"data\":\"a string is not UTF-8\"") "\n");
		ck_assert_uint_eq(peer.n_calls, 0);
	}
}
END_TEST

START_TEST(a_string_in_utf8_goes_through_unchanged)
{
	static const char text[] =
		"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":[\"\x7f é € 😀 "
		"\xf4\x8f\xbf\xbf\",{\"ключ\":\"\\u0000\"}],\"id\":1}\n";

	expect(text, RESULT("[\"\x7f é € 😀 \xf4\x8f\xbf\xbf\",{\"ключ\":\"\\u0000\"}]", "1") "\n");
}
END_TEST

START_TEST(a_name_that_holds_a_nul_is_refused)
{
	expect("{\"jsonrpc\":\"2.0\",\"method\\u0000\":\"x\",\"method\":\"update\",\"id\":1}\n",
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

	send_bytes(text, strlen(text));
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

		expect(text, PARSE_ERROR(",\"data\":\"nested deeper than max_request_depth in "
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

	send_bytes(text, strlen(text));
	ck_assert_uint_eq(peer.n_calls, 1);
	ck_assert_uint_gt(peer.n, JSONRPC_MAX_REQUEST / 2);
	free(text);
}
END_TEST

START_TEST(a_request_that_is_longer_is_refused_and_skipped)
{
	char *text = long_call(JSONRPC_MAX_REQUEST + 1);

	send_bytes(text, strlen(text));
	ck_assert_str_eq(peer.answers,
			 PARSE_ERROR(",\"data\":\"the request is longer than max_request_bytes in "
				     "daemon.get\"") "\n");
	for (int i = 0; i < 20; i++)
		send_bytes(text, strlen(text));
	forget_answers();
	send_bytes("\n" CALL("1"), strlen("\n" CALL("1")));
	ck_assert_str_eq(peer.answers, RESULT("null", "1") "\n");
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
	send_bytes(text, strlen(text));
	ck_assert_uint_eq(peer.n_calls, JSONRPC_MAX_BATCH);
	for (const char *p = peer.answers; (p = strstr(p, "\"id\":")); p++)
		n_answers++;
	ck_assert_uint_eq(n_answers, JSONRPC_MAX_BATCH);
	strcpy(at, ",1]\n");
	expect(text, INVALID_REQUEST_OF(",\"data\":\"more calls than max_batch in daemon.get\"",
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
	send_bytes(batch + taken, strlen(batch) - taken);
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
	send_bytes("12", 2);
	ck_assert_str_eq(peer.answers, "");
	jsonrpc_end(peer.rpc);
	ck_assert(jsonrpc_has_work(peer.rpc));
	jsonrpc_work(peer.rpc);
	ck_assert_str_eq(peer.answers, INVALID_REQUEST "\n");
	forget_answers();
	jsonrpc_end(peer.rpc);
	ck_assert_str_eq(peer.answers, "");
	send_bytes("{\"jsonrpc\":\"2.0\"", 16);
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
		send_bytes(&byte, 1);
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
	tcase_add_test(tests, of_members_with_one_name_the_last_counts);
	tcase_add_test(tests, text_of_a_peer_that_is_not_utf8_is_made_so);
	return tests;
}

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
	tcase_add_test(tests, a_batch_may_hold_as_many_calls_as_allowed_and_no_more);
	tcase_add_test(tests, the_calls_of_a_batch_are_made_one_at_a_time);
	tcase_add_test(tests, a_peer_may_leave_in_the_middle_of_a_batch);
	tcase_add_test(tests, the_end_of_the_stream_ends_a_number_but_not_an_object);
	tcase_add_test(tests, noise_is_answered_by_errors_and_nothing_else);
	return tests;
}

int main(void)
{
	TCase *cases[] = { tests_of_section_7(), tests_of_envelopes(), tests_of_the_stream() };
	Suite *suite = suite_create("jsonrpc");
	SRunner *runner;
	int n_failed;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tcase_add_checked_fixture(cases[i], connect_peer, disconnect_peer);
		suite_add_tcase(suite, cases[i]);
	}
	runner = srunner_create(suite);
	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
