/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/jsonrpc-peer.h"

#include "tests/unit/example-methods.h"

#include <stdlib.h>
#include <string.h>

static bool dispatch(void *context, const char *method, struct json_object *params,
		     struct jsonrpc_answer *answer)
{
	(void)context;
	peer.n_calls++;
	return example_methods_dispatch(method, params, answer);
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
