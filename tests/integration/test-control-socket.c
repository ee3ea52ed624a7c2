/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON-RPC 2.0 on the real control socket, as its specification has it, and clients that are slow,
 * many, or up to no good.
 */
#include "tests/integration/siege.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- The specification's own examples, with methods that there are ------------------------- */

#define ERROR(code, message, id)                                                   \
	"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":" code ",\"message\":\"" message \
	"\"},\"id\":" id "}"
#define INVALID ERROR("-32600", "Invalid Request", "null")
#define PARSE   ERROR("-32700", "Parse error", "null")

static const struct {
	const char *request;
	const char *answer; /* NULL: none */
} examples[] = {
	{ "{\"jsonrpc\": \"2.0\", \"method\": \"foobar\", \"id\": \"1\"}",
	  ERROR("-32601", "Method not found", "\"1\"") },
	{ "{\"jsonrpc\": \"2.0\", \"method\": \"update\", \"params\": [1,2,3,4,5]}", NULL },
	{ "{\"jsonrpc\": \"2.0\", \"method\": \"foobar\"}", NULL },
	{ "{\"jsonrpc\": \"2.0\", \"method\": \"foobar, \"params\": \"bar\", \"baz]", PARSE },
	{ "{\"jsonrpc\": \"2.0\", \"method\": 1, \"params\": \"bar\"}", INVALID },
	{ "[{\"jsonrpc\": \"2.0\", \"method\": \"sum\", \"params\": [1,2,4], \"id\": \"1\"},"
	  "{\"jsonrpc\": \"2.0\", \"method\"]",
	  PARSE },
	{ "[]", INVALID },
	{ "[1]", "[" INVALID "]" },
	{ "[1,2,3]", "[" INVALID "," INVALID "," INVALID "]" },
	{ "[{\"jsonrpc\": \"2.0\", \"method\": \"notify_sum\", \"params\": [1,2,4]},"
	  "{\"jsonrpc\": \"2.0\", \"method\": \"notify_hello\", \"params\": [7]}]",
	  NULL },
	{ "[{\"jsonrpc\": \"2.0\", \"method\": \"foo.get\", \"params\": {\"name\": \"myself\"}, "
	  "\"id\": \"5\"},{\"jsonrpc\": \"2.0\", \"method\": \"notify_hello\", \"params\": [7]},"
	  "{\"foo\": \"boo\"},"
	  "{\"jsonrpc\": \"2.0\", \"method\": \"vm.list\", \"id\": \"9\"}]",
	  "[" ERROR("-32601", "Method not found", "\"5\"") "," INVALID
							   ",{\"jsonrpc\":\"2.0\",\"result\":{"
							   "\"vms\":[]},\"id\":\"9\"}]" },
	{ "{\"jsonrpc\":\"2.0\",\"method\":\"vm.list\",\"id\":null}",
	  "{\"jsonrpc\":\"2.0\",\"result\":{\"vms\":[]},\"id\":null}" },
	{ "{\"jsonrpc\":\"2.0\",\"method\":\"vm.list\",\"id\":9007199254740993}",
	  "{\"jsonrpc\":\"2.0\",\"result\":{\"vms\":[]},\"id\":9007199254740993}" },
	{ "{\"id\":-1,\"params\":[],\"method\":\"vm.list\",\"jsonrpc\":\"2.0\"}",
	  "{\"jsonrpc\":\"2.0\",\"result\":{\"vms\":[]},\"id\":-1}" },
	{ "true", INVALID },
	{ "null", INVALID },
	{ "\"vm.list\"", INVALID },
	{ "nonsense", PARSE },
};

/* Asks something else behind it, so that no answer shows as well as one. */
static void expect_answer(struct control_client *client, const char *answer)
{
	static const char probe[] = "{\"jsonrpc\":\"2.0\",\"method\":\"vm.list\",\"id\":\"end\"}\n";
	struct json_object *received;

	control_send(client, probe, strlen(probe));
	received = control_receive(client);
	ck_assert_ptr_nonnull(received);
	if (answer) {
		struct json_object *expected = json_tokener_parse(answer);
		const char *text = json_object_to_json_string(received);

		/* What is beside the specification's members is ours to say. */
		if (json_object_is_type(received, json_type_object) && json_has(received, "error"))
			json_object_object_del(json_at(received, "error"), "data");
		if (json_object_is_type(received, json_type_array))
			for (size_t i = 0; i < json_object_array_length(received); i++) {
				struct json_object *one = json_object_array_get_idx(received, i);

				if (json_has(one, "error"))
					json_object_object_del(json_at(one, "error"), "data");
			}
		ck_assert_msg(json_object_equal(received, expected), "%s is not %s", text, answer);
		json_object_put(expected);
		json_object_put(received);
		received = control_receive(client);
	}
	ck_assert_str_eq(json_text_at(received, "id"), "end");
	json_object_put(received);
}

START_TEST(an_example_of_the_specification_is_answered_as_it_says)
{
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct control_client *client = control_connect(d);

	control_send(client, examples[_i].request, strlen(examples[_i].request));
	control_send(client, "\n", 1);
	expect_answer(client, examples[_i].answer);
	control_close(client);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(requests_may_come_in_any_pieces_and_any_number_at_once)
{
	enum { N_REQUESTS = 500 };
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct control_client *client = control_connect(d);
	char request[96], *all = calloc(N_REQUESTS, sizeof(request));
	struct json_object *answer;
	size_t n = 0;

	/* A byte at a time. */
	snprintf(request, sizeof(request),
		 "{\"jsonrpc\":\"2.0\",\"method\":\"vm.list\",\"id\":\"\\u00fc\"}\n");
	for (const char *at = request; *at; at++)
		control_send(client, at, 1);
	answer = control_receive(client);
	ck_assert_str_eq(json_text_at(answer, "id"), "ü");
	json_object_put(answer);
	/* Hundreds together, with and without white space between them. */
	for (int i = 0; i < N_REQUESTS; i++)
		n += (size_t)snprintf(all + n, sizeof(request),
				      "{\"jsonrpc\":\"2.0\",\"method\":\"daemon.get\",\"id\":%d}%s",
				      i, i % 3 ? "" : "\r\n\t ");
	control_send(client, all, n);
	for (int i = 0; i < N_REQUESTS; i++) {
		answer = control_receive(client);
		ck_assert_int_eq(json_number_at(answer, "id"), i);
		json_object_put(answer);
	}
	free(all);
	control_close(client);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(a_client_that_shuts_down_its_side_still_gets_its_answers)
{
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct control_client *client = control_connect(d);
	static const char request[] = "{\"jsonrpc\":\"2.0\",\"method\":\"vm.list\",\"id\":1}";
	struct json_object *answer;

	control_send(client, request, strlen(request));
	ck_assert_int_eq(shutdown(client->socket, SHUT_WR), 0);
	answer = control_receive(client);
	ck_assert_int_eq(json_number_at(answer, "id"), 1);
	json_object_put(answer);
	ck_assert_ptr_null(control_receive(client));
	control_close(client);
	kvmattrd_stop(d);
}
END_TEST

/* ---- Up to no good ------------------------------------------------------------------------- */

static char *repeat(const char *text, size_t n)
{
	size_t length = strlen(text);
	char *all = malloc(n * length + 1);

	ck_assert_ptr_nonnull(all);
	for (size_t i = 0; i < n; i++)
		memcpy(all + i * length, text, length);
	all[n * length] = '\0';
	return all;
}

START_TEST(what_is_too_long_or_too_deep_or_no_text_is_refused_and_the_next_line_is_read)
{
	struct siege siege = siege_begin(NULL);
	struct control_client *client = control_connect(siege.daemon);
	const struct {
		const char *piece;
		size_t n;
	} hostile[] = {
		{ "[", 100000 }, { "{\"a\":", 1000 }, { "x", 1000000 },   { "\"\\ud800\",", 10 },
		{ "\xff", 10 },  { "\xc0\x80", 10 },  { "{\"a\":1}", 1 }, { "[1,", 200000 },
	};

	for (int i = 0; i < N(hostile); i++) {
		char *text = repeat(hostile[i].piece, hostile[i].n);
		static const char probe[] =
			"\n{\"jsonrpc\":\"2.0\",\"method\":\"vm.list\",\"id\":\"end\"}\n";
		bool has_error = false;

		control_send(client, text, strlen(text));
		control_send(client, probe, strlen(probe));
		for (;;) {
			struct json_object *answer = control_receive(client);
			bool is_end;

			ck_assert_msg(answer, "the daemon hung up after %s", hostile[i].piece);
			is_end = json_has(answer, "result");
			has_error |= json_has(answer, "error");
			json_object_put(answer);
			if (is_end)
				break;
		}
		ck_assert_msg(has_error, "%s was not refused", hostile[i].piece);
		free(text);
	}
	control_close(client);
	siege_end(&siege);
}
END_TEST

START_TEST(a_batch_has_at_most_a_thousand_calls)
{
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct control_client *client = control_connect(d);
	char *calls = repeat("{\"jsonrpc\":\"2.0\",\"method\":\"vm.list\",\"id\":1},", 1001);
	size_t n = strlen(calls), one = n / 1001;
	struct json_object *answer;

	calls[n - 1] = ']';
	control_send(client, "[", 1);
	control_send(client, calls, n);
	control_send(client, "\n", 1);
	answer = control_receive(client);
	ck_assert_int_eq(json_number_at(answer, "error.code"), -32600);
	json_object_put(answer);
	control_send(client, "[", 1);
	control_send(client, calls + one, n - one);
	control_send(client, "\n", 1);
	answer = control_receive(client);
	ck_assert_uint_eq(json_object_array_length(answer), 1000);
	json_object_put(answer);
	free(calls);
	control_close(client);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(a_client_that_does_not_read_is_kept_waiting_and_nobody_else)
{
	static const char request[] = "{\"jsonrpc\":\"2.0\",\"method\":\"map.summary\",\"id\":1,"
				      "\"params\":{\"vm\":\"bystander\",\"buckets\":1024}}\n";
	struct siege siege = siege_begin(NULL);
	struct control_client *slow = control_connect(siege.daemon);
	unsigned int sent = 0;
	size_t answered = 0;

	for (; sent < 20000; sent++) {
		struct pollfd writable = { .fd = slow->socket, .events = POLLOUT };

		if (poll(&writable, 1, 100) == 0)
			break;
		/* A line at a time fits where anything does. */
		if (send(slow->socket, request, strlen(request), MSG_DONTWAIT | MSG_NOSIGNAL) !=
		    (ssize_t)strlen(request))
			break;
	}
	ck_assert_uint_lt(sent, 20000);
	for (int i = 0; i < 50; i++)
		json_object_put(control_call(siege.control, "vm.list", "{}"));
	bystander_expect_progress(siege.bystander);
	/* It gets what it asked for when it reads. */
	while (answered < 20) {
		struct json_object *answer = control_receive(slow);

		ck_assert_ptr_nonnull(answer);
		ck_assert(json_has(answer, "result.buckets"));
		json_object_put(answer);
		answered++;
	}
	control_close(slow);
	siege_end(&siege);
}
END_TEST

START_TEST(clients_over_the_limit_are_told_so)
{
	enum { MAX_CLIENTS = 64 };
	struct siege siege = siege_begin(NULL);
	struct control_client *clients[MAX_CLIENTS - 1];

	for (int i = 0; i < MAX_CLIENTS - 1; i++) {
		clients[i] = control_connect(siege.daemon);
		json_object_put(control_call(clients[i], "vm.list", "{}"));
	}
	for (int i = 0; i < 500; i++) {
		struct control_client *one_more = control_connect(siege.daemon);
		struct json_object *answer = control_receive(one_more);

		ck_assert_str_eq(json_text_at(answer, "error.data.status"), "LIMIT_EXCEEDED");
		json_object_put(answer);
		ck_assert_ptr_null(control_receive(one_more));
		control_close(one_more);
	}
	for (int i = 0; i < MAX_CLIENTS - 1; i++)
		control_close(clients[i]);
	siege_end(&siege);
}
END_TEST

START_TEST(clients_that_leave_in_the_middle_of_anything_leave_nothing_behind)
{
	static const char request[] = "{\"jsonrpc\":\"2.0\",\"method\":\"rpc.methods\",\"id\":1}\n";
	struct siege siege = siege_begin(NULL);

	for (size_t n = 0; n < 300; n++) {
		struct control_client *client = control_connect(siege.daemon);

		/* One that comes too soon after the others may find no place, and be told so. */
		for (size_t i = 0; i < n % 5; i++)
			(void)!send(client->socket, request, strlen(request), MSG_NOSIGNAL);
		(void)!send(client->socket, request, n % strlen(request), MSG_NOSIGNAL);
		control_close(client);
	}
	siege_end(&siege);
}
END_TEST

START_TEST(a_client_of_the_agent_socket_and_one_of_the_control_socket_cannot_be_confused)
{
	struct siege siege = siege_begin(NULL);
	struct control_client *client = control_connect(siege.daemon);
	static const char hello[64] = { 1, 0, 0, 0, 64 };
	struct json_object *answer;

	control_send(client, hello, sizeof(hello));
	control_send(client, "\n", 1);
	answer = control_receive(client);
	ck_assert_int_eq(json_number_at(answer, "error.code"), -32700);
	json_object_put(answer);
	control_close(client);
	siege_end(&siege);
}
END_TEST

int main(void)
{
	TCase *rpc = harness_make_case("JSON-RPC", 20);
	TCase *hostile = harness_make_case("clients", 30);

	tcase_add_loop_test(rpc, an_example_of_the_specification_is_answered_as_it_says, 0,
			    N(examples));
	tcase_add_test(rpc, requests_may_come_in_any_pieces_and_any_number_at_once);
	tcase_add_test(rpc, a_client_that_shuts_down_its_side_still_gets_its_answers);
	tcase_add_test(rpc, a_batch_has_at_most_a_thousand_calls);
	tcase_add_test(
		hostile,
		what_is_too_long_or_too_deep_or_no_text_is_refused_and_the_next_line_is_read);
	tcase_add_test(hostile, a_client_that_does_not_read_is_kept_waiting_and_nobody_else);
	tcase_add_test(hostile, clients_over_the_limit_are_told_so);
	tcase_add_test(hostile, clients_that_leave_in_the_middle_of_anything_leave_nothing_behind);
	tcase_add_test(
		hostile,
		a_client_of_the_agent_socket_and_one_of_the_control_socket_cannot_be_confused);
	return harness_run("control socket", (TCase *const[]){ rpc, hostile, NULL });
}
