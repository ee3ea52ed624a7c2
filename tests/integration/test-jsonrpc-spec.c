/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every example of the JSON-RPC 2.0 specification, section 7, in its order and to the byte
 * (https://www.jsonrpc.org/specification), over a real socket.
 *
 * The daemon has no "subtract".  So this is its control socket as it is (control.c, jsonrpc.c) with
 * other methods behind it: those that the examples call.  What the daemon says to examples that
 * need no method is in test-control-socket.c.
 */
#include "tests/integration/harness.h"
#include "tests/unit/example-methods.h"

#include "daemon/serve/control.h"
#include "daemon/serve/methods.h"

#include <event2/event.h>
#include <json-c/json.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* In place of the daemon's: control.c finds this one first. */
bool methods_dispatch(struct daemon *daemon, const struct control *control,
		      struct method_peer *peer, const char *name, struct json_object *params,
		      struct jsonrpc_answer *answer)
{
	(void)daemon;
	(void)control;
	(void)peer;
	return example_methods_dispatch(name, params, answer);
}

/* ---- The examples -------------------------------------------------------------------------- */

static const struct {
	const char *title;
	const char *request;
	const char *answer; /* as it is printed; "": nothing is returned */
} examples[] = {
	{ "rpc call with positional parameters",
	  "{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": [42, 23], \"id\": 1}",
	  "{\"jsonrpc\": \"2.0\", \"result\": 19, \"id\": 1}" },
	{ "rpc call with positional parameters",
	  "{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": [23, 42], \"id\": 2}",
	  "{\"jsonrpc\": \"2.0\", \"result\": -19, \"id\": 2}" },
	{ "rpc call with named parameters",
	  "{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", "
	  "\"params\": {\"subtrahend\": 23, \"minuend\": 42}, \"id\": 3}",
	  "{\"jsonrpc\": \"2.0\", \"result\": 19, \"id\": 3}" },
	{ "rpc call with named parameters",
	  "{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", "
	  "\"params\": {\"minuend\": 42, \"subtrahend\": 23}, \"id\": 4}",
	  "{\"jsonrpc\": \"2.0\", \"result\": 19, \"id\": 4}" },
	{ "a Notification",
	  "{\"jsonrpc\": \"2.0\", \"method\": \"update\", \"params\": [1,2,3,4,5]}", "" },
	{ "a Notification", "{\"jsonrpc\": \"2.0\", \"method\": \"foobar\"}", "" },
	{ "rpc call of non-existent method",
	  "{\"jsonrpc\": \"2.0\", \"method\": \"foobar\", \"id\": \"1\"}",
	  "{\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32601, \"message\": \"Method not "
	  "found\"}, \"id\": \"1\"}" },
	{ "rpc call with invalid JSON",
	  "{\"jsonrpc\": \"2.0\", \"method\": \"foobar, \"params\": \"bar\", \"baz]",
	  "{\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32700, \"message\": \"Parse error\"}, "
	  "\"id\": null}" },
	{ "rpc call with invalid Request object",
	  "{\"jsonrpc\": \"2.0\", \"method\": 1, \"params\": \"bar\"}",
	  "{\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32600, \"message\": \"Invalid "
	  "Request\"}, \"id\": null}" },
	{ "rpc call Batch, invalid JSON",
	  "[\n"
	  "  {\"jsonrpc\": \"2.0\", \"method\": \"sum\", \"params\": [1,2,4], \"id\": \"1\"},\n"
	  "  {\"jsonrpc\": \"2.0\", \"method\"\n"
	  "]",
	  "{\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32700, \"message\": \"Parse error\"}, "
	  "\"id\": null}" },
	{ "rpc call with an empty Array", "[]",
	  "{\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32600, \"message\": \"Invalid "
	  "Request\"}, \"id\": null}" },
	{ "rpc call with an invalid Batch (but not empty)", "[1]",
	  "[\n"
	  "  {\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32600, \"message\": \"Invalid "
	  "Request\"}, \"id\": null}\n"
	  "]" },
	{ "rpc call with invalid Batch", "[1,2,3]",
	  "[\n"
	  "  {\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32600, \"message\": \"Invalid "
	  "Request\"}, \"id\": null},\n"
	  "  {\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32600, \"message\": \"Invalid "
	  "Request\"}, \"id\": null},\n"
	  "  {\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32600, \"message\": \"Invalid "
	  "Request\"}, \"id\": null}\n"
	  "]" },
	{ "rpc call Batch",
	  "[\n"
	  "        {\"jsonrpc\": \"2.0\", \"method\": \"sum\", \"params\": [1,2,4], "
	  "\"id\": \"1\"},\n"
	  "        {\"jsonrpc\": \"2.0\", \"method\": \"notify_hello\", \"params\": [7]},\n"
	  "        {\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": [42,23], "
	  "\"id\": \"2\"},\n"
	  "        {\"foo\": \"boo\"},\n"
	  "        {\"jsonrpc\": \"2.0\", \"method\": \"foo.get\", "
	  "\"params\": {\"name\": \"myself\"}, \"id\": \"5\"},\n"
	  "        {\"jsonrpc\": \"2.0\", \"method\": \"get_data\", \"id\": \"9\"} \n"
	  "    ]",
	  "[\n"
	  "        {\"jsonrpc\": \"2.0\", \"result\": 7, \"id\": \"1\"},\n"
	  "        {\"jsonrpc\": \"2.0\", \"result\": 19, \"id\": \"2\"},\n"
	  "        {\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32600, \"message\": \"Invalid "
	  "Request\"}, \"id\": null},\n"
	  "        {\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32601, \"message\": \"Method not "
	  "found\"}, \"id\": \"5\"},\n"
	  "        {\"jsonrpc\": \"2.0\", \"result\": [\"hello\", 5], \"id\": \"9\"}\n"
	  "    ]" },
	{ "rpc call Batch (all notifications)",
	  "[\n"
	  "        {\"jsonrpc\": \"2.0\", \"method\": \"notify_sum\", \"params\": [1,2,4]},\n"
	  "        {\"jsonrpc\": \"2.0\", \"method\": \"notify_hello\", \"params\": [7]}\n"
	  "    ]",
	  "" },
};

/* ---- The server ---------------------------------------------------------------------------- */

static struct sockaddr_un address;
static socklen_t address_size;
static pid_t server;

static void serve(int listening_socket)
{
	struct daemon daemon = { .limits.max_memory_bytes = UINT64_MAX };
	struct event_base *base = event_base_new();
	struct control *control;

	harness_die_with_parent();
	signal(SIGPIPE, SIG_IGN);
	if (!base)
		_exit(EXIT_FAILURE);
	/* as the user who runs the test, who may do everything */
	daemon_init(&daemon, base);
	if (control_new(&daemon, listening_socket, &control) == 0)
		(void)!daemon_loop(&daemon);
	_exit(EXIT_FAILURE);
}

/* At an address that the kernel chooses. */
static void start(void)
{
	int listening_socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	address.sun_family = AF_UNIX;
	ck_assert_int_eq(bind(listening_socket, (struct sockaddr *)&address, sizeof(sa_family_t)),
			 0);
	address_size = sizeof(address);
	ck_assert_int_eq(getsockname(listening_socket, (struct sockaddr *)&address, &address_size),
			 0);
	ck_assert_int_eq(listen(listening_socket, 1), 0);
	server = fork();
	ck_assert_int_ge(server, 0);
	if (!server)
		serve(listening_socket);
	close(listening_socket);
}

static void stop(void)
{
	ck_assert_int_eq(kill(server, SIGKILL), 0);
	ck_assert_int_eq(waitpid(server, NULL, 0), server);
}

/* All that comes back before the server hangs up, which it does when all is answered. */
static void ask(const char *request, char *answers, size_t size)
{
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t length = strlen(request), n = 0;
	ssize_t received;

	ck_assert_int_eq(connect(client, (struct sockaddr *)&address, address_size), 0);
	ck_assert_int_eq(send(client, request, length, MSG_NOSIGNAL), (ssize_t)length);
	ck_assert_int_eq(send(client, "\n", 1, MSG_NOSIGNAL), 1);
	ck_assert_int_eq(shutdown(client, SHUT_WR), 0);
	while (n < size - 1 && (received = recv(client, answers + n, size - 1 - n, 0)) > 0)
		n += (size_t)received;
	answers[n] = '\0';
	close(client);
}

START_TEST(an_example_is_answered_as_the_specification_prints_it)
{
	const char *expected = "";
	struct json_object *printed = NULL;
	char answers[2048];
	size_t n;

	ask(examples[_i].request, answers, sizeof(answers));
	n = strlen(answers);
	if (*examples[_i].answer) {
		/*
		 * The white space of its pages is theirs, and a newline ends every answer of ours.
		 */
		printed = json_tokener_parse(examples[_i].answer);
		ck_assert_ptr_nonnull(printed);
		expected = json_object_to_json_string_ext(printed, JSON_C_TO_STRING_PLAIN);
		ck_assert_msg(n && answers[n - 1] == '\n', "%s: %s", examples[_i].title, answers);
		answers[n - 1] = '\0';
	}
	ck_assert_msg(!strcmp(answers, expected), "%s: not %s, but %s", examples[_i].title,
		      expected, answers);
	json_object_put(printed);
}
END_TEST

int main(void)
{
	TCase *section_7 = harness_make_case("section 7", 20);

	tcase_add_checked_fixture(section_7, start, stop);
	tcase_add_loop_test(section_7, an_example_is_answered_as_the_specification_prints_it, 0,
			    N(examples));
	return harness_run("JSON-RPC's examples", (TCase *const[]){ section_7, NULL });
}
