/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/jsonrpc-peer.h"

#include "daemon/serve/json-put.h"

#include <json-c/json.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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
static bool dispatch(void *context, const char *method, struct json_object *params,
		     struct jsonrpc_answer *answer)
{
	(void)context;
	peer.n_calls++;
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
	} else if (!strcmp(method, "later")) {
		return false;
	} else if (!strcmp(method, "fail")) {
		jsonrpc_refuse(answer, JSONRPC_SERVER_ERROR - 8, json_object_new_string("why"),
			       "no VM is named \"%s\"", "x");
	} else {
		jsonrpc_refuse(answer, JSONRPC_METHOD_NOT_FOUND, NULL, "Method not found");
	}
	return true;
}

static void take_bytes(void *context, const char *bytes, size_t n)
{
	(void)context;
	if (peer.n + n + 1 > peer.capacity) {
		peer.capacity = 2 * (peer.n + n + 1);
		peer.answers = realloc(peer.answers, peer.capacity);
		ck_assert_ptr_nonnull(peer.answers);
	}
	memcpy(peer.answers + peer.n, bytes, n);
	peer.n += n;
	peer.answers[peer.n] = '\0';
}

static const struct jsonrpc_ops ops = { .dispatch = dispatch, .write = take_bytes };

struct peer peer;

void peer_connect(void)
{
	memset(&peer, 0, sizeof(peer));
	peer.rpc = jsonrpc_new(&ops, &peer);
	take_bytes(&peer, "", 0);
}

void peer_disconnect(void)
{
	jsonrpc_free(peer.rpc);
	free(peer.answers);
}

size_t peer_send(const char *bytes, size_t n)
{
	size_t taken = 0;

	while (taken < n && !jsonrpc_is_waiting(peer.rpc)) {
		if (jsonrpc_has_work(peer.rpc)) {
			ck_assert_uint_eq(jsonrpc_feed(peer.rpc, bytes + taken, n - taken), 0);
			jsonrpc_work(peer.rpc);
		} else {
			taken += jsonrpc_feed(peer.rpc, bytes + taken, n - taken);
		}
	}
	while (jsonrpc_has_work(peer.rpc))
		jsonrpc_work(peer.rpc);
	return taken;
}

void peer_forget(void)
{
	peer.n = 0;
	peer.answers[0] = '\0';
	peer.n_calls = 0;
}

void peer_expect_bytes(const char *bytes, size_t n, const char *answers)
{
	peer_forget();
	peer_send(bytes, n);
	ck_assert_str_eq(peer.answers, answers);
	peer_forget();
	for (size_t i = 0; i < n; i++)
		peer_send(bytes + i, 1);
	ck_assert_str_eq(peer.answers, answers);
}

void peer_expect(const char *text, const char *answers)
{
	peer_expect_bytes(text, strlen(text), answers);
}

int peer_run_tests(const char *name, TCase *const *cases, size_t n_cases)
{
	Suite *suite = suite_create(name);
	SRunner *runner;
	int n_failed;

	for (size_t i = 0; i < n_cases; i++) {
		tcase_add_checked_fixture(cases[i], peer_connect, peer_disconnect);
		suite_add_tcase(suite, cases[i]);
	}
	runner = srunner_create(suite);
	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
