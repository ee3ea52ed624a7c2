/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl events: what happened and what happens, through gaps and restarts.
 */
#include "tests/integration/ctl-guest.h"

#include <check.h>
#include <errno.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static int64_t count_subscriptions(void)
{
	struct json_object *daemon = control_call(control, "daemon.get", "{}");
	int64_t n = json_number_at(daemon, "counters.subscriptions");

	json_object_put(daemon);
	return n;
}

static void freeze_and_thaw(void)
{
	json_object_put(control_call(control, "vm.freeze", "{\"vm\": \"guest\"}"));
	json_object_put(control_call(control, "vm.thaw", "{\"vm\": \"guest\"}"));
}

/* It has been told to end, and does. */
static void expect_end(struct program *program, const char *out)
{
	struct program_result result;

	ck_assert_int_eq(kill(program->pid, SIGINT), 0);
	result = program_wait(program);
	expect_result(&result, CTL_DONE, out, "");
	program_forget(&result);
}

/* ---- What there is to be seen -------------------------------------------------------------- */

START_TEST(what_happened_before_is_told_in_sentences_on_request)
{
	struct program_result result =
		program_run(CTL(d, "events", "guest", "--since", "1", "--count", "3"));

	expect_result(&result, CTL_DONE, "guest: registered: 16 MiB of RAM, VTLs 0, 1", "");
	expect_result(&result, CTL_DONE, "guest: session 1 opened: owner, process", "");
	expect_result(&result, CTL_DONE, "guest: layer 1 is in force: rwx by default (commit 2)",
		      "");
	ck_assert_ptr_null(strchr(result.out, '\033'));
	program_forget(&result);
}
END_TEST

START_TEST(what_happens_is_told_as_it_happens_until_it_is_interrupted)
{
	struct program program = program_start(CTL(d, "events"));

	EVENTUALLY(5000, count_subscriptions() == 1);
	ck_assert(!program_has_said(&program, "registered"));
	freeze_and_thaw();
	EVENTUALLY(5000, program_has_said(&program, "guest: frozen at commit 2"));
	EVENTUALLY(5000, program_has_said(&program, "guest: thawed"));
	expect_end(&program, "updates go on from commit 2");
}
END_TEST

START_TEST(only_the_kinds_and_the_vm_that_were_asked_for_are_told)
{
	struct program_result result;

	freeze_and_thaw();
	result = program_run(CTL(d, "events", "--event", "vm.thawed", "--event", "layer.enabled",
				 "--since", "1", "--count", "2"));
	expect_result(&result, CTL_DONE, "layer 1 is in force", "");
	expect_result(&result, CTL_DONE, "thawed", "");
	ck_assert_ptr_null(strstr(result.out, "frozen"));
	ck_assert_ptr_null(strstr(result.out, "session"));
	program_forget(&result);
	ctl_expect(CTL(d, "events", "--event", "vm.exploded"), CTL_IS_REFUSED, "", "vm.registered");
}
END_TEST

START_TEST(as_json_each_event_is_an_object_in_one_line)
{
	struct program_result result =
		program_run(CTL(d, "--json", "events", "--since", "1", "--count", "3"));
	char *state = NULL, *line = strtok_r(result.out, "\n", &state);
	int64_t n = 0;

	for (; line; line = strtok_r(NULL, "\n", &state)) {
		struct json_object *event = json_tokener_parse(line);

		ck_assert_msg(event, "%s is no JSON", line);
		ck_assert_int_eq(json_number_at(event, "number"), ++n);
		ck_assert_str_eq(json_text_at(event, "vm"), "guest");
		json_object_put(event);
	}
	ck_assert_int_eq(n, 3);
	program_forget(&result);
}
END_TEST

START_TEST(raw_is_what_the_daemon_sent_line_by_line)
{
	struct program_result result =
		program_run(CTL(d, "--raw", "events", "--since", "1", "--count", "1"));

	expect_result(&result, CTL_DONE, "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{",
		      "");
	program_forget(&result);
}
END_TEST

/* ---- What is not --------------------------------------------------------------------------- */

START_TEST(a_restart_of_the_daemon_is_said_and_nothing_of_the_new_one_is_missed)
{
	struct program program = program_start(CTL(d, "events"));

	EVENTUALLY(5000, count_subscriptions() == 1);
	kvmattrd_kill(d);
	EVENTUALLY(5000, program_has_said(&program, "asking again until it answers"));
	kvmattrd_launch(d, NULL);
	EVENTUALLY(5000, program_has_said(&program, "The daemon was restarted, as process"));
	EVENTUALLY(5000, program_has_said(&program, "guest: recovered after a restart"));
	expect_end(&program, "------");
	control_close(control);
	control = control_connect(d);
}
END_TEST

START_TEST(events_that_were_read_too_slowly_are_missed_and_it_goes_on_behind_them)
{
	struct program program = program_start(CTL(d, "events"));

	EVENTUALLY(5000, count_subscriptions() == 1);
	ck_assert_int_eq(kill(program.pid, SIGSTOP), 0);
	/* more than the daemon keeps, and all buffers on the way */
	for (int i = 0; i < 6000; i++)
		freeze_and_thaw();
	ck_assert_int_eq(kill(program.pid, SIGCONT), 0);
	EVENTUALLY(20000, program_has_said(&program, "were missed, from"));
	expect_ok(guest->owner, kvmattr_reset_layer(guest->owner, 1));
	EVENTUALLY(20000, program_has_said(&program, "layer 1 was reset"));
	expect_end(&program, "they were read too slowly");
}
END_TEST

START_TEST(numbers_that_are_still_to_come_are_refused)
{
	ctl_expect(CTL(d, "events", "--since", "100000"), CTL_IS_REFUSED, "", "100000");
}
END_TEST

int main(void)
{
	TCase *seen = harness_make_case("seen", 30);
	TCase *missed = harness_make_case("missed", 60);

	tcase_add_checked_fixture(seen, ctl_guest_start, ctl_guest_stop);
	tcase_add_test(seen, what_happened_before_is_told_in_sentences_on_request);
	tcase_add_test(seen, what_happens_is_told_as_it_happens_until_it_is_interrupted);
	tcase_add_test(seen, only_the_kinds_and_the_vm_that_were_asked_for_are_told);
	tcase_add_test(seen, as_json_each_event_is_an_object_in_one_line);
	tcase_add_test(seen, raw_is_what_the_daemon_sent_line_by_line);
	tcase_add_checked_fixture(missed, ctl_guest_start, ctl_guest_stop);
	tcase_add_test(missed,
		       a_restart_of_the_daemon_is_said_and_nothing_of_the_new_one_is_missed);
	tcase_add_test(missed,
		       events_that_were_read_too_slowly_are_missed_and_it_goes_on_behind_them);
	tcase_add_test(missed, numbers_that_are_still_to_come_are_refused);
	return harness_run("kvmattrctl events", (TCase *const[]){ seen, missed, NULL });
}
