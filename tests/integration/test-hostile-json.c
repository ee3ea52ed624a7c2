/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What bad input gets on the control socket: the standard error or a bounded refusal, every time,
 * and the daemon is as it was before.
 *
 * What is refused byte by byte is in tests/unit/test-jsonrpc-stream.c, what the parameters of the
 * methods do not take in tests/clients/parameters.py.
 */
#include "tests/integration/siege.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PARSE_ERROR     (-32700)
#define INVALID_REQUEST (-32600)
#define INVALID_PARAMS  (-32602)

/* A request, in one piece with the text of its params. */
#define CALL(method, params) \
	"{\"jsonrpc\":\"2.0\",\"method\":\"" method "\",\"params\":" params ",\"id\":1}"
#define NO_VERSION "\"method\":\"vm.list\",\"id\":1}"

#define DEEP      "[[[[[[[[[[["
#define MAX_BATCH 1000

/* The daemon has not much more than before. */
static void expect_memory(const struct siege *siege, long before_kib, long growth_kib)
{
	long now_kib = kvmattrd_resident_kib(siege->daemon);

	/* valgrind's and the sanitizers' own does not count */
	if (harness_patience() == 1)
		ck_assert_msg(now_kib < before_kib + growth_kib, "%ld KiB, before it was %ld",
			      now_kib, before_kib);
}

/* ---- One request --------------------------------------------------------------------------- */

static const struct {
	const char *request;
	int code;
} wrong[] = {
	/* no JSON */
	{ "{\"jsonrpc\":\"2.0\",\"method\":}", PARSE_ERROR },
	{ "vm.list", PARSE_ERROR },
	{ "{\"jsonrpc\":\"2.0\",\"method\":\"vm.li\xff\"}", PARSE_ERROR },
	{ CALL("vm.get", "[\"\xed\xa0\x80\"]"), PARSE_ERROR },
	{ CALL("vm.list", "[NaN]"), PARSE_ERROR },
	/* nested too deep */
	{ CALL("vm.list", DEEP DEEP DEEP), PARSE_ERROR },
	/* wrong versions and wrong types */
	{ "{\"jsonrpc\":\"1.0\"," NO_VERSION, INVALID_REQUEST },
	{ "{\"jsonrpc\":2.0," NO_VERSION, INVALID_REQUEST },
	{ "{\"jsonrpc\":\"2.00\"," NO_VERSION, INVALID_REQUEST },
	{ "{" NO_VERSION, INVALID_REQUEST },
	{ "{\"jsonrpc\":\"2.0\",\"method\":[\"vm.list\"],\"id\":1}", INVALID_REQUEST },
	{ "{\"jsonrpc\":\"2.0\",\"method\":\"vm.list\",\"id\":{}}", INVALID_REQUEST },
	{ CALL("vm.list", "7"), INVALID_REQUEST },
	{ CALL("vm.get", "{\"vm\":7}"), INVALID_PARAMS },
	{ CALL("vm.get", "{\"vm\":\"bystander\",\"no-such-thing\":1}"), INVALID_PARAMS },
	/* members that are there twice */
	{ "{\"jsonrpc\":\"2.0\",\"method\":\"vm.nothing\",\"method\":\"vm.list\",\"id\":1}",
	  INVALID_REQUEST },
	{ CALL("vm.get", "{\"vm\":\"nobody\",\"vm\":\"bystander\"}"), INVALID_REQUEST },
	/* numbers past 64 bits */
	{ "{\"jsonrpc\":\"2.0\",\"method\":\"vm.list\",\"id\":18446744073709551616}",
	  INVALID_REQUEST },
	{ CALL("map.effective", "{\"vm\":\"bystander\",\"limit\":18446744073709551617}"),
	  INVALID_PARAMS },
	{ CALL("map.effective", "{\"vm\":\"bystander\",\"start\":99999999999999999999}"),
	  INVALID_PARAMS },
	{ CALL("map.effective", "{\"vm\":\"bystander\",\"start\":\"0x10000000000000000\"}"),
	  INVALID_PARAMS },
	{ CALL("map.effective", "{\"vm\":\"bystander\",\"limit\":1e999}"), INVALID_PARAMS },
	{ CALL("map.effective", "{\"vm\":\"bystander\",\"vtl\":-99999999999999999999}"),
	  INVALID_PARAMS },
};

static void expect_code(struct control_client *client, const char *request, int code)
{
	struct json_object *answer = control_ask(client, request);

	ck_assert_msg(json_has(answer, "error.code") &&
			      json_number_at(answer, "error.code") == code,
		      "%s got %s", request, json_object_to_json_string(answer));
	json_object_put(answer);
}

START_TEST(what_is_wrong_with_a_request_has_its_error_every_time)
{
	enum { N_TIMES = 2000 };
	struct siege siege = siege_begin(NULL);
	struct control_client *client = control_connect(siege.daemon);
	long before_kib = kvmattrd_resident_kib(siege.daemon);

	for (int i = 0; i < N_TIMES; i++)
		expect_code(client, wrong[_i].request, wrong[_i].code);
	json_object_put(control_call(client, "vm.list", "{}"));
	expect_memory(&siege, before_kib, 1024);
	control_close(client);
	siege_end(&siege);
}
END_TEST

START_TEST(what_is_too_large_has_one_error_and_is_not_kept)
{
	enum { SIZE = 32 << 20 };
	struct siege siege = siege_begin(NULL);
	struct control_client *client = control_connect(siege.daemon);
	long before_kib = kvmattrd_resident_kib(siege.daemon);
	char *text = malloc(SIZE);

	memset(text, 'x', SIZE);
	text[0] = '"';
	text[SIZE - 1] = '\0';
	expect_code(client, text, PARSE_ERROR);
	json_object_put(control_call(client, "vm.list", "{}"));
	expect_memory(&siege, before_kib, 2048);
	free(text);
	control_close(client);
	siege_end(&siege);
}
END_TEST

/* ---- Many calls ---------------------------------------------------------------------------- */

/* "[call,call,…]", n of them. */
static char *make_batch(const char *call, size_t n)
{
	size_t length = strlen(call) + 1;
	char *batch = malloc(n * length + 2);

	ck_assert_ptr_nonnull(batch);
	for (size_t i = 0; i < n; i++)
		sprintf(batch + i * length, "%c%s", i ? ',' : '[', call);
	strcpy(batch + n * length, "]");
	return batch;
}

/* More calls than a batch may have, and more than a request may have values. */
START_TEST(a_batch_of_thousands_is_refused_whole)
{
	struct siege siege = siege_begin(NULL);
	struct control_client *client = control_connect(siege.daemon);
	long before_kib = kvmattrd_resident_kib(siege.daemon);
	const struct {
		const char *call;
		size_t n;
	} batches[] = { { CALL("vm.list", "[]"), 4000 }, { "{}", 80000 }, { "1", 130000 } };

	for (int i = 0; i < N(batches); i++) {
		char *batch = make_batch(batches[i].call, batches[i].n);

		for (int j = 0; j < 10; j++)
			expect_code(client, batch, PARSE_ERROR);
		free(batch);
	}
	json_object_put(control_call(client, "vm.list", "{}"));
	expect_memory(&siege, before_kib, 16 * 1024);
	control_close(client);
	siege_end(&siege);
}
END_TEST

/* Each batch has half a megabyte of answers. */
START_TEST(whoever_sends_batches_and_never_reads_costs_no_more_than_the_limits)
{
	struct siege siege = siege_begin(NULL);
	struct control_client *client = control_connect(siege.daemon);
	long before_kib = kvmattrd_resident_kib(siege.daemon);
	char *batch = make_batch(CALL("daemon.get", "[]"), MAX_BATCH);
	size_t n = 0, length = strlen(batch);
	ssize_t sent;

	/* Until the socket has been full for a while: the daemon does not read on. */
	for (int n_full = 0; n_full < 200;) {
		sent = send(client->socket, batch + n % length, length - n % length,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent > 0) {
			n += (size_t)sent;
			n_full = 0;
			ck_assert_uint_lt(n, 64 << 20);
			continue;
		}
		ck_assert_int_eq(errno, EAGAIN);
		n_full++;
		harness_pause();
	}
	expect_memory(&siege, before_kib, 4096);
	json_object_put(control_call(siege.control, "vm.list", "{}"));
	bystander_expect_progress(siege.bystander);
	free(batch);
	control_close(client);
	siege_end(&siege);
}
END_TEST

/* ---- Slow ones ----------------------------------------------------------------------------- */

enum { N_SLOW = 40 };

START_TEST(who_sends_byte_by_byte_keeps_nobody_waiting_and_is_answered_in_the_end)
{
	static const char request[] = CALL("vm.list", "{}") "\n";
	struct siege siege = siege_begin(NULL);
	struct control_client *slow[N_SLOW];

	for (int i = 0; i < N_SLOW; i++)
		slow[i] = control_connect(siege.daemon);
	for (const char *at = request; *at; at++) {
		for (int i = 0; i < N_SLOW; i++)
			control_send(slow[i], at, 1);
		json_object_put(control_call(siege.control, "vm.list", "{}"));
		bystander_expect_progress(siege.bystander);
	}
	for (int i = 0; i < N_SLOW; i++) {
		struct json_object *answer = control_receive(slow[i]);

		ck_assert(json_has(answer, "result.vms"));
		json_object_put(answer);
		control_close(slow[i]);
	}
	siege_end(&siege);
}
END_TEST

START_TEST(requests_that_are_never_finished_cost_no_more_than_the_limits)
{
	enum { SIZE = 250 * 1024 };
	struct siege siege = siege_begin(NULL);
	struct control_client *slow[N_SLOW];
	long before_kib = kvmattrd_resident_kib(siege.daemon);
	char *text = malloc(SIZE);

	memset(text, 'x', SIZE);
	text[0] = '"';
	for (int i = 0; i < N_SLOW; i++) {
		slow[i] = control_connect(siege.daemon);
		control_send(slow[i], text, SIZE);
	}
	json_object_put(control_call(siege.control, "vm.list", "{}"));
	/* a request, what is read ahead of it, and the allocator's share */
	expect_memory(&siege, before_kib, N_SLOW * (256 + 64) * 2);
	for (int i = 0; i < N_SLOW; i++)
		control_close(slow[i]);
	free(text);
	siege_end(&siege);
}
END_TEST

int main(void)
{
	TCase *requests = harness_make_case("requests", 30);
	TCase *many = harness_make_case("many calls", 30);
	TCase *slow = harness_make_case("slow", 30);

	tcase_add_loop_test(requests, what_is_wrong_with_a_request_has_its_error_every_time, 0,
			    N(wrong));
	tcase_add_test(requests, what_is_too_large_has_one_error_and_is_not_kept);
	tcase_add_test(many, a_batch_of_thousands_is_refused_whole);
	tcase_add_test(many, whoever_sends_batches_and_never_reads_costs_no_more_than_the_limits);
	tcase_add_test(slow,
		       who_sends_byte_by_byte_keeps_nobody_waiting_and_is_answered_in_the_end);
	tcase_add_test(slow, requests_that_are_never_finished_cost_no_more_than_the_limits);
	return harness_run("hostile JSON", (TCase *const[]){ requests, many, slow, NULL });
}
