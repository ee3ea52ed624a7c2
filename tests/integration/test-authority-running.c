/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may do what, while the daemon runs: settings that are read anew, and what it costs the others
 * when somebody is denied.
 */
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/other-users.h"
#include "tests/integration/simulated-vmm.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char settings[] = "[daemon]\n"
			       "socket-mode = 0666\n"
			       "[authority]\n"
			       "observe = uid:61002\n";

static struct kvmattrd *d;

static void expect_refused_at_the_door(uid_t uid)
{
	struct control_client *client = control_connect_as(d, uid, uid);
	struct json_object *answer = control_receive(client);

	ck_assert_ptr_nonnull(answer);
	ck_assert_int_eq(json_number_at(answer, "error.code"), ACCESS_DENIED);
	ck_assert_str_eq(json_text_at(answer, "error.data.status"), "ACCESS_DENIED");
	ck_assert_ptr_null(json_at(answer, "id"));
	json_object_put(answer);
	ck_assert_ptr_null(control_receive(client));
	control_close(client);
}

static void reload(const char *text, const char *said)
{
	char configuration[256];

	snprintf(configuration, sizeof(configuration),
		 "[daemon]\nsocket-mode = 0666\n[authority]\n%s", text);
	ck_assert_int_eq(truncate(d->log_path, 0), 0);
	kvmattrd_reload(d, configuration);
	EVENTUALLY(5000, kvmattrd_has_logged(d, said));
}

#define READ_ANEW "settings were read anew"

START_TEST(settings_that_are_read_anew_hold_for_calls_of_connections_that_are_there)
{
	struct control_client *client;

	d = other_users_start("[daemon]\nsocket-mode = 0666\n[authority]\noperate = uid:61002\n");
	client = control_connect_as(d, 61002, 61002);
	json_object_put(control_call(client, "log.set_level", "{\"level\":\"debug\"}"));
	reload("operate = uid:61003\n", READ_ANEW);
	json_object_put(control_call(client, "daemon.get", "{}"));
	control_expect_error(client, "stats.reset", "{}", ACCESS_DENIED, "for operators");
	reload("observe =\n", READ_ANEW);
	control_expect_error(client, "daemon.get", "{}", ACCESS_DENIED, "for observers");
	control_expect_error(client, "rpc.methods", "{}", ACCESS_DENIED, "for observers");
	control_expect_error(client, "no.such", "{}", -32601, "not found");
	expect_refused_at_the_door(61002);
	/* what is wrong changes nothing */
	reload("observe = all\noperate = everyone\n", "the settings stay as they were");
	control_expect_error(client, "daemon.get", "{}", ACCESS_DENIED, "for observers");
	reload("observe = uid:61002\n", READ_ANEW);
	json_object_put(control_call(client, "daemon.get", "{}"));
	control_close(client);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(who_may_not_observe_any_more_is_told_of_no_more_events)
{
	struct control_client *client, *root;
	struct json_object *line;

	d = other_users_start("[daemon]\nsocket-mode = 0666\n");
	client = control_connect_as(d, 61002, 61002);
	root = control_connect(d);
	json_object_put(control_call(client, "event.subscribe",
				     "{\"events\": [\"vm.registered\", \"vm.released\"]}"));
	simulated_vmm_stop(simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 }));
	line = control_receive(client);
	ck_assert_str_eq(json_text_at(line, "params.event"), "vm.registered");
	json_object_put(line);
	line = control_receive(client);
	ck_assert_str_eq(json_text_at(line, "params.event"), "vm.released");
	json_object_put(line);
	reload("observe = uid:61003\n", READ_ANEW);
	simulated_vmm_stop(simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 }));
	line = control_receive(client);
	ck_assert_int_eq(json_number_at(line, "error.code"), ACCESS_DENIED);
	json_object_put(line);
	/* Its calls go on to be answered, and nothing comes in between. */
	control_expect_error(client, "vm.list", "{}", ACCESS_DENIED, "for observers");
	control_close(client);
	control_close(root);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(those_who_are_denied_take_no_connection_from_others)
{
	enum { N_CLIENTS = 200 };
	struct control_client *root, *clients[N_CLIENTS];

	d = other_users_start(settings);
	for (int i = 0; i < N_CLIENTS; i++)
		clients[i] = control_connect_as(d, 65534, 65534);
	root = control_connect(d);
	json_object_put(control_call(root, "daemon.get", "{}"));
	for (int i = 0; i < N_CLIENTS; i++)
		control_close(clients[i]);
	control_close(root);
	kvmattrd_stop(d);
}
END_TEST

/* How many denials the log has lines of, and how many it says were left out. */
static void count_denials(unsigned int *ret_lines, unsigned int *ret_left_out)
{
	char *log = kvmattrd_read_log(d), *rest = NULL;

	*ret_lines = *ret_left_out = 0;
	for (char *line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		unsigned int n;

		if (strstr(line, "denied: stats.reset, to PID ") && strstr(line, "UID 61002") &&
		    strstr(line, "'operate'"))
			++*ret_lines;
		else if (sscanf(line, "kvmattrd: warning: %u more refusals", &n) == 1)
			*ret_left_out += n;
	}
	free(log);
}

START_TEST(denials_are_logged_with_their_reason_and_a_flood_of_them_is_counted)
{
	enum { N_CALLS = 2000 };
	struct control_client *client;
	uint64_t began_ms = harness_now_ms();
	unsigned int n_lines, n_left_out, n_windows;

	d = other_users_start(settings);
	client = control_connect_as(d, 61002, 61002);
	for (int i = 0; i < N_CALLS; i++)
		control_expect_error(client, "stats.reset", "{}", ACCESS_DENIED, "for operators");
	EVENTUALLY(10000, (count_denials(&n_lines, &n_left_out), n_lines + n_left_out == N_CALLS));
	n_windows = (unsigned int)(harness_now_ms() - began_ms) / 5000 + 1;
	ck_assert_uint_ge(n_lines, 10);
	ck_assert_uint_le(n_lines, 10 * n_windows);
	control_close(client);
	kvmattrd_stop(d);
}
END_TEST

int main(void)
{
	TCase *running = harness_make_case("while it runs", 60);
	TCase *const cases[] = { running, NULL };
	const char *why = other_users_why_not();

	if (why) {
		printf("1..0 # SKIP %s\n", why);
		return EXIT_SUCCESS;
	}
	tcase_add_test(running,
		       settings_that_are_read_anew_hold_for_calls_of_connections_that_are_there);
	tcase_add_test(running, who_may_not_observe_any_more_is_told_of_no_more_events);
	tcase_add_test(running, those_who_are_denied_take_no_connection_from_others);
	tcase_add_test(running,
		       denials_are_logged_with_their_reason_and_a_flood_of_them_is_counted);
	return harness_run("authority while it runs", cases);
}
