/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl against a daemon whose state is known, against none, and against one that lies.
 */
#include "tests/integration/ctl-guest.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- For people ---------------------------------------------------------------------------- */

START_TEST(every_command_shows_what_there_is)
{
	ctl_expect(CTL(d, "status"), CTL_DONE, "guest", "");
	ctl_expect(CTL(d, "vm", "list"), CTL_DONE, "guest  idle   16 MiB  0 1", "");
	ctl_expect(CTL(d, "vm", "get", "guest"), CTL_DONE, "deny", "");
	ctl_expect(CTL(d, "map", "show", "guest"), CTL_DONE,
		   "Memory of VM guest as VTL 0 has it: 16 MiB", "");
	ctl_expect(CTL(d, "map", "effective", "guest"), CTL_DONE,
		   "KiB  rx          shared      in-force", "");
	ctl_expect(CTL(d, "map", "layer", "guest", "1"), CTL_DONE, "none", "");
	ctl_expect(CTL(d, "map", "explain", "guest", "0x10000"), CTL_DONE, "rx", "");
	ctl_expect(CTL(d, "explain", "guest", "0x10fff"), CTL_DONE,
		   "Page 0x10000 of VM guest, as VTL 0 has it: rx, shared", "");
	ctl_expect(CTL(d, "explain", "guest", "0x10000"), CTL_DONE,
		   "write    no       1                1", "");
	ctl_expect(CTL(d, "stats"), CTL_DONE, "guest", "");
	ctl_expect(CTL(d, "stats", "guest"), CTL_DONE, "guest", "");
	ctl_expect(CTL(d, "ping"), CTL_DONE, "", "");
}
END_TEST

START_TEST(every_command_has_a_help_of_its_own)
{
	static const char *const commands[][2] = {
		{ "status", NULL },      { "vm", "list" },       { "vm", "get" },
		{ "map", "show" },       { "map", "effective" }, { "map", "layer" },
		{ "map", "explain" },    { "explain", NULL },    { "stats", NULL },
		{ "journal", "status" }, { "journal", "list" },  { "journal", "log" },
		{ "journal", "show" },   { "journal", "diff" },  { "journal", "blame" },
		{ "journal", "verify" }, { "export", NULL },     { "import", NULL },
		{ "rpc", NULL },         { "ping", NULL },       { "sessions", NULL },
		{ "watch", NULL },       { "complete", NULL },
	};
	/* argp loses what it makes of a command without options (glibc, argp-help.c, hol_free()). */
	ck_assert_int_eq(setenv("ASAN_OPTIONS", "detect_leaks=0", 1), 0);
	ctl_expect(commands[_i][1] ? CTL(d, commands[_i][0], commands[_i][1], "--help")
				   : CTL(d, commands[_i][0], "--help"),
		   CTL_DONE, "Usage: ", "");
}
END_TEST

START_TEST(color_is_as_it_is_asked_for)
{
	struct program_result result = program_run(CTL(d, "--color=never", "map", "show", "guest"));

	ck_assert_ptr_null(strchr(result.out, '\x1b'));
	program_forget(&result);
	ctl_expect(CTL(d, "--color=always", "map", "show", "guest"), CTL_DONE, "\x1b[", "");
	/* A file is no terminal. */
	result = program_run(CTL(d, "map", "show", "guest"));
	ck_assert_ptr_null(strchr(result.out, '\x1b'));
	program_forget(&result);
}
END_TEST

/* ---- For programs -------------------------------------------------------------------------- */

START_TEST(as_json_the_answers_are_the_control_sockets)
{
	struct json_object *answer = ctl_json(CTL(d, "--json", "vm", "list"));

	ck_assert_str_eq(json_text_at(answer, "vms.0.name"), "guest");
	ck_assert_int_eq(json_number_at(answer, "vms.0.ram_bytes"), 16 << 20);
	ck_assert_str_eq(json_text_at(answer, "vms.0.state"), "idle");
	json_object_put(answer);

	answer = ctl_json(CTL(d, "--json", "map", "effective", "guest"));
	ck_assert_uint_eq(json_object_array_length(json_at(answer, "runs")), 4);
	ck_assert_str_eq(json_text_at(answer, "runs.1.protection"), "rx");
	ck_assert_str_eq(json_text_at(answer, "runs.2.protection"), "none");
	json_object_put(answer);

	answer = ctl_json(CTL(d, "--json", "explain", "guest", "0x20000"));
	ck_assert_str_eq(json_text_at(answer, "protection"), "none");
	ck_assert(!json_boolean_at(answer, "accesses.0.allowed"));
	ck_assert_int_eq(json_number_at(answer, "accesses.0.intercept"), 1);
	json_object_put(answer);
}
END_TEST

START_TEST(one_call_of_the_control_socket_is_made_as_it_is)
{
	struct program_result result = program_run(CTL(d, "rpc", "vm.get", "{\"vm\":\"guest\"}"));
	struct json_object *answer = json_tokener_parse(result.out);

	ck_assert_msg(result.status == CTL_DONE && answer, "%s%s", result.out, result.err);
	ck_assert_str_eq(json_text_at(answer, "name"), "guest");
	json_object_put(answer);
	program_forget(&result);
	ctl_expect(CTL(d, "rpc", "vm.nothing"), CTL_IS_REFUSED, "", "has no such method");
	ctl_expect(CTL(d, "rpc", "vm.list", "{\"name\": 1}"), CTL_IS_REFUSED, "",
		   "name is no parameter of vm.list");
	ctl_expect(CTL(d, "rpc", "vm.get", "{\"vm\":"), CTL_WRONG_COMMAND_LINE, "", "JSON");
}
END_TEST

START_TEST(a_map_of_many_runs_comes_whole)
{
	enum { N_GFNS = 2000 };
	static uint64_t gfns[N_GFNS];
	struct json_object *answer;

	for (uint64_t i = 0; i < N_GFNS; i++)
		gfns[i] = 2 * i;
	expect_ok(guest->owner, kvmattr_protect(guest->owner, 1, KVMATTR_ALL_LOWER, KVMATTR_R, gfns,
						N_GFNS, NULL));
	answer = ctl_json(CTL(d, "--json", "map", "effective", "guest"));
	ck_assert_uint_ge(json_object_array_length(json_at(answer, "runs")), 2 * N_GFNS - 1);
	json_object_put(answer);
}
END_TEST

START_TEST(where_there_is_no_ram_it_says_so)
{
	ctl_expect(CTL(d, "map", "show", "guest", "--from", "1G"), CTL_DONE, "There is no RAM.",
		   "");
	ctl_expect(CTL(d, "map", "summary", "guest", "--from", "1G"), CTL_DONE, "There is no RAM.",
		   "");
	ctl_expect(CTL(d, "map", "effective", "guest", "--from", "1G"), CTL_DONE,
		   "There is no RAM.", "");
	ctl_expect(CTL(d, "explain", "guest", "1G"), CTL_DONE,
		   "Page 0x40000000 of VM guest is no RAM", "");
}
END_TEST

/* ---- Refusals ------------------------------------------------------------------------------ */

START_TEST(what_cannot_be_done_has_its_status_and_says_why)
{
	ctl_expect(CTL(d, "vm", "get", "nobody"), CTL_IS_REFUSED, "", "registered (1): guest");
	ctl_expect(CTL(d, "map", "show", "guest", "--vtl", "7"), CTL_IS_REFUSED, "",
		   "no view of VTL 7");
	ctl_expect(CTL(d, "map", "layer", "guest", "2"), CTL_IS_REFUSED, "",
		   "layer 2 is not enabled");
	ctl_expect(CTL(d, "frobnicate"), CTL_WRONG_COMMAND_LINE, "",
		   "there is no command 'frobnicate'");
	ctl_expect(CTL(d, "vm"), CTL_WRONG_COMMAND_LINE, "", "vm list");
	ctl_expect(CTL(d, "vm", "get"), CTL_WRONG_COMMAND_LINE, "", "kvmattrctl");
	ctl_expect(CTL(d, "explain", "guest", "here"), CTL_WRONG_COMMAND_LINE, "", "here");
	ctl_expect(CTL(d, "--no-such-option"), CTL_WRONG_COMMAND_LINE, "", "unrecognized option");
}
END_TEST

START_TEST(output_that_cannot_be_written_is_an_error)
{
	char command[512];

	snprintf(command, sizeof(command), "%s --runtime-dir %s vm list >/dev/full",
		 KVMATTRCTL_PROGRAM, d->runtime_dir);
	ctl_expect((const char *const[]){ "sh", "-c", command, NULL }, CTL_IS_REFUSED, "",
		   "kvmattrctl");
}
END_TEST

START_TEST(without_a_daemon_it_says_where_it_looked_and_what_to_do)
{
	struct program_result result = program_run((const char *const[]){
		KVMATTRCTL_PROGRAM, "--runtime-dir", "/nowhere", "vm", "list", NULL });

	expect_result(&result, CTL_NO_DAEMON, "", "/nowhere/control.sock");
	expect_result(&result, CTL_NO_DAEMON, "", "Is kvmattrd running?");
	program_forget(&result);
}
END_TEST

/* ---- Something else at the other end ------------------------------------------------------- */

/* Reads the client's request and says this; then waits for it to go. */
static void answer_as_impostor(int client, const char *answer, size_t n)
{
	char request[4096];

	(void)!recv(client, request, sizeof(request), 0);
	for (ssize_t sent; n; answer += sent, n -= (size_t)sent) {
		sent = send(client, answer, n, MSG_NOSIGNAL);
		if (sent <= 0)
			break;
	}
	while (recv(client, request, sizeof(request), 0) > 0)
		;
	close(client);
}

/* Takes one client after the other. */
static pid_t start_impostor(const char *answer, size_t n)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	ck_assert_int_eq(mkdir(d->runtime_dir, 0700), 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", d->control_socket);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		harness_die_with_parent();
		for (;;)
			answer_as_impostor(accept(listener, NULL, NULL), answer, n);
	}
	close(listener);
	return pid;
}

static const char *const impostors[] = {
	"", /* silence */
	"nonsense\n",
	"{}\n",
	"[]\n",
	"7\n",
	"{\"jsonrpc\":\"2.0\",\"id\":4711,\"result\":{\"vms\":[]}}\n",
	"{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":{\"vms\":[]}}\n",
	"{\"jsonrpc\":\"2.0\",\"id\":1}\n",
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-1,\"message\":\"\\u001b[31mred\\n\"}}\n",
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32008,\"message\":\"\\u009b2J\"}}\n",
};

/* Whether the terminal is left alone. */
static void expect_plain(const char *text)
{
	ck_assert_ptr_null(strchr(text, '\x1b'));
	ck_assert_ptr_null(strstr(text, "\xc2\x9b")); /* the same, as one character */
}

static struct program_result ask_impostor(const char *answer)
{
	pid_t impostor = start_impostor(answer, strlen(answer));
	struct program_result result = program_run(CTL(d, "--timeout", "1", "vm", "list"));

	kill(impostor, SIGKILL);
	expect_plain(result.out);
	expect_plain(result.err);
	return result;
}

START_TEST(an_answer_that_is_none_is_an_error)
{
	struct program_result result;

	d = kvmattrd_prepare();
	result = ask_impostor(impostors[_i]);
	ck_assert_msg(result.status == CTL_IS_REFUSED || result.status == CTL_NO_DAEMON,
		      "it ended with %d: %s%s", result.status, result.out, result.err);
	ck_assert_uint_gt(strlen(result.err), 0);
	program_forget(&result);
	kvmattrd_discard(d);
}
END_TEST

START_TEST(names_that_would_command_a_terminal_do_not)
{
	struct program_result result;

	d = kvmattrd_prepare();
	result = ask_impostor("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"vms\":[{\"name\":"
			      "\"\\u001b[2J\\u009b2J\",\"state\":\"\\u001b[31m\"}]}}\n");
	program_forget(&result);
	kvmattrd_discard(d);
}
END_TEST

/* It does without a daemon that has not answered after a quarter of a second. */
static bool offers_anything(void)
{
	struct program_result result = program_run(CTL(d, "complete", "--", "vm", "get", ""));
	bool does = *result.out;

	if (does)
		ck_assert_str_eq(result.out, "fine\t?[31m\n");
	program_forget(&result);
	return does;
}

START_TEST(names_that_would_command_a_shell_are_not_offered)
{
	static const char answer[] =
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"vms\":[{\"name\":\"$(reboot)\"},"
		"{\"name\":\"\\u001b[2J\"},{\"name\":\"a b\"},{\"name\":\"fine\",\"state\":\"\\u001b[31m\"},"
		"{\"name\":\"\"}]}}\n";
	pid_t impostor;

	d = kvmattrd_prepare();
	impostor = start_impostor(answer, strlen(answer));
	EVENTUALLY(5000, offers_anything());
	kill(impostor, SIGKILL);
	kvmattrd_discard(d);
}
END_TEST

int main(void)
{
	TCase *people = harness_make_case("people", 20);
	TCase *programs = harness_make_case("programs", 20);
	TCase *refusals = harness_make_case("refusals", 20);
	TCase *lies = harness_make_case("impostors", 20);

	tcase_add_checked_fixture(people, ctl_guest_start_protected, ctl_guest_stop);
	tcase_add_test(people, every_command_shows_what_there_is);
	tcase_add_loop_test(people, every_command_has_a_help_of_its_own, 0, 23);
	tcase_add_test(people, color_is_as_it_is_asked_for);
	tcase_add_checked_fixture(programs, ctl_guest_start_protected, ctl_guest_stop);
	tcase_add_test(programs, as_json_the_answers_are_the_control_sockets);
	tcase_add_test(programs, one_call_of_the_control_socket_is_made_as_it_is);
	tcase_add_test(programs, a_map_of_many_runs_comes_whole);
	tcase_add_test(programs, where_there_is_no_ram_it_says_so);
	tcase_add_checked_fixture(refusals, ctl_guest_start_protected, ctl_guest_stop);
	tcase_add_test(refusals, what_cannot_be_done_has_its_status_and_says_why);
	tcase_add_test(refusals, output_that_cannot_be_written_is_an_error);
	tcase_add_test(refusals, without_a_daemon_it_says_where_it_looked_and_what_to_do);
	tcase_add_loop_test(lies, an_answer_that_is_none_is_an_error, 0, N(impostors));
	tcase_add_test(lies, names_that_would_command_a_terminal_do_not);
	tcase_add_test(lies, names_that_would_command_a_shell_are_not_offered);
	return harness_run("kvmattrctl",
			   (TCase *const[]){ people, programs, refusals, lies, NULL });
}
