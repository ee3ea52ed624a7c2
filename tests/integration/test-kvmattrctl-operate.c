/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl where it acts: on a VM, on the daemon's log, on what is counted.
 */
#include "tests/integration/ctl-guest.h"
#include "tests/integration/terminal-program.h"

#include <check.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

static int64_t count_waiting(void)
{
	struct json_object *vm = control_call(control, "vm.get", "{\"vm\": \"guest\"}");
	int64_t n = json_number_at(vm, "queue");

	json_object_put(vm);
	return n;
}

/* ---- A VM ---------------------------------------------------------------------------------- */

START_TEST(a_frozen_vm_shows_it_and_its_updates_wait_until_it_is_thawed)
{
	struct program update;
	struct program_result result;

	ctl_expect(CTL(d, "vm", "freeze", "guest"), CTL_DONE, "VM guest is frozen at commit 2", "");
	ctl_expect(CTL(d, "vm", "list"), CTL_DONE, "guest  frozen", "");
	update = program_start(CTL(d, "vm", "update", "guest", "protect", "--layer", "1",
				   "--protection", "r", "--range", "0x3000"));
	EVENTUALLY(5000, count_waiting() == 1);
	expect_pages(guest, 0, 3, 1, KVMATTR_RWX);
	ctl_expect(CTL(d, "vm", "thaw", "guest"), CTL_DONE, "1 update has waited", "");
	result = program_wait(&update);
	expect_result(&result, CTL_DONE, "as of commit 3: 1 element", "");
	program_forget(&result);
	expect_pages(guest, 0, 3, 1, KVMATTR_R);
	ctl_expect(CTL(d, "vm", "list"), CTL_DONE, "guest  idle", "");
}
END_TEST

START_TEST(an_update_is_in_force_when_it_returns)
{
	ctl_expect(CTL(d, "vm", "update", "guest", "protect", "--layer", "1", "--protection", "rx",
		       "--range", "0x10000:16", "--range", "64K:2", "--range", "1M"),
		   CTL_DONE, "as of commit 3: 3 elements", "");
	expect_pages(guest, 0, 16, 16, KVMATTR_RX);
	expect_pages(guest, 0, 256, 1, KVMATTR_RX);
	expect_pages(guest, 0, 257, 1, KVMATTR_RWX);
	ctl_expect(CTL(d, "vm", "update", "guest", "set-visibility", "--visibility", "private",
		       "--range", "2M:4"),
		   CTL_DONE, "commit 4", "");
	expect_pages(guest, 0, 512, 4, KVMATTR_RWX | KVMATTR_PRIVATE);
	ctl_expect(CTL(d, "vm", "update", "guest", "reset-layer", "--layer", "1"), CTL_DONE,
		   "commit 5", "");
	expect_pages(guest, 0, 16, 16, KVMATTR_RWX);
	ctl_expect(CTL(d, "journal", "log", "guest", "--since", "5"), CTL_DONE,
		   "layer 1 reset, asked for by an operator", "");
}
END_TEST

START_TEST(an_update_that_cannot_be_made_is_said_why_and_changes_nothing)
{
	static const struct {
		const char *arguments[8];
		int status;
		const char *part;
	} wrong[] = {
		{ { "explode" }, CTL_IS_REFUSED, "\"reset-vm\"" },
		{ { "protect", "--layer", "1", "--protection", "rx" }, CTL_IS_REFUSED, "ranges" },
		{ { "protect", "--range", "0x1001" }, CTL_WRONG_COMMAND_LINE, "begins at 0x1000" },
		{ { "protect", "--range", "page" }, CTL_WRONG_COMMAND_LINE, "such as 0x1f000" },
		{ { "protect", "--range", "0x1000:0" }, CTL_WRONG_COMMAND_LINE, "from 1 to" },
		{ { "protect", "--restricts", "0,16" }, CTL_WRONG_COMMAND_LINE, "such as 0,1" },
		{ { "protect", "--layer", "0" }, CTL_WRONG_COMMAND_LINE, "from 1 to 15" },
		{ { "enable-layer", "--layer", "1", "--protection", "r" },
		  CTL_IS_REFUSED,
		  "enabled already" },
	};
	const char *const *argv =
		CTL(d, "vm", "update", "guest", wrong[_i].arguments[0],
		    wrong[_i].arguments[1] ? wrong[_i].arguments[1] : "--", wrong[_i].arguments[2],
		    wrong[_i].arguments[3], wrong[_i].arguments[4]);

	ctl_expect(argv, wrong[_i].status, "", wrong[_i].part);
	expect_pages(guest, 0, 0, 4096, KVMATTR_RWX);
}
END_TEST

START_TEST(a_verified_vm_is_told_again_and_enforces_it_all)
{
	struct json_object *answer = ctl_json(CTL(d, "--json", "vm", "verify", "guest"));

	/* two views of 4096 pages */
	ck_assert_int_eq(json_number_at(answer, "pages"), 2 * 4096);
	ck_assert_int_eq(json_number_at(answer, "unknown_pages"), 0);
	json_object_put(answer);
	ctl_expect(CTL(d, "vm", "verify", "guest"), CTL_DONE, "It enforces all of it.", "");
}
END_TEST

START_TEST(a_verification_that_kvm_refuses_has_a_status_of_its_own)
{
	struct program_result result;

	simulated_vmm_fail(guest, EFAULT);
	ctl_expect(CTL(d, "vm", "verify", "guest"), CTL_IS_DEGRADED,
		   "Of 8,192 pages it is not known what KVM enforces", "");
	result = program_run(CTL(d, "--json", "vm", "verify", "guest"));
	expect_result(&result, CTL_IS_DEGRADED, "\"unknown_pages\":8192", "");
	program_forget(&result);
	simulated_vmm_fail(guest, 0);
}
END_TEST

START_TEST(a_vm_is_released_without_a_question_where_nobody_could_answer)
{
	ctl_expect(CTL(d, "vm", "release", "guest", "--commit", "77"), CTL_IS_REFUSED, "",
		   "not 77");
	ck_assert(control_has_vm(control, "guest"));
	ctl_expect(CTL(d, "vm", "release", "guest"), CTL_DONE, "VM guest is released, at commit 2",
		   "");
	EVENTUALLY(5000, !control_has_vm(control, "guest"));
}
END_TEST

static int release_on_terminal(const char *keys)
{
	struct terminal_program program =
		terminal_program_start(CTL(d, "vm", "release", "guest"), 80, 24);
	int status;

	EVENTUALLY(5000, terminal_program_has_said(&program, 0, "Do that? [y/N]"));
	terminal_program_type(&program, keys);
	status = terminal_program_wait(&program);
	terminal_program_forget(&program);
	return status;
}

START_TEST(on_a_terminal_it_says_what_a_release_does_and_asks)
{
	ck_assert_int_eq(release_on_terminal("n\n"), CTL_IS_REFUSED);
	ck_assert_int_eq(release_on_terminal("\n"), CTL_IS_REFUSED);
	ck_assert(control_has_vm(control, "guest"));
	ck_assert_int_eq(release_on_terminal("y\n"), CTL_DONE);
	EVENTUALLY(5000, !control_has_vm(control, "guest"));
}
END_TEST

/* ---- What there is of a VM ----------------------------------------------------------------- */

START_TEST(views_layers_and_sessions_are_shown_by_themselves)
{
	struct json_object *answer;

	ctl_expect(CTL(d, "vm", "views", "guest"), CTL_DONE, "deny", "");
	ctl_expect(CTL(d, "vm", "layers", "guest"), CTL_DONE, "    1  0              rwx", "");
	ctl_expect(CTL(d, "vm", "sessions", "guest"), CTL_DONE, "owner", "");
	ctl_expect(CTL(d, "vm", "kvm-stats", "guest"), CTL_DONE, "a simulated VM has none", "");
	ctl_expect(CTL(d, "vm", "views", "nobody"), CTL_IS_REFUSED, "", "registered (1): guest");
	answer = ctl_json(CTL(d, "--json", "vm", "views", "guest"));
	ck_assert_int_eq(json_number_at(answer, "views.1.vtl"), 1);
	json_object_put(answer);
}
END_TEST

START_TEST(pages_are_counted_by_part_and_by_layer)
{
	struct json_object *answer;

	expect_ok(guest->owner, protect_range(guest->owner, 1, KVMATTR_RX, 16, 16));
	expect_ok(guest->owner, protect_range(guest->owner, 1, KVMATTR_NONE, 2048, 8));
	answer = ctl_json(CTL(d, "--json", "map", "summary", "guest", "--buckets", "4"));
	ck_assert_uint_eq(json_object_array_length(json_at(answer, "parts")), 4);
	ck_assert_int_eq(json_number_at(answer, "parts.0.rx"), 16);
	ck_assert_int_eq(json_number_at(answer, "parts.0.rwx"), 1024 - 16);
	ck_assert_int_eq(json_number_at(answer, "parts.2.none"), 8);
	ck_assert_int_eq(json_number_at(answer, "total.rwx"), 4096 - 16 - 8);
	json_object_put(answer);
	/* a small letter: less than a sixteenth of the part */
	ctl_expect(CTL(d, "map", "summary", "guest", "--buckets", "4"), CTL_DONE,
		   "x...............", "");
	ctl_expect(CTL(d, "map", "summary", "guest", "--from", "64K", "--to", "128K", "--buckets",
		       "1"),
		   CTL_DONE, "XXXXXXXXXXXXXXXX", "");
	answer = ctl_json(CTL(d, "--json", "map", "layers", "guest"));
	ck_assert_uint_eq(json_object_array_length(json_at(answer, "layers")), 1);
	ck_assert_int_eq(json_number_at(answer, "layers.0.rx"), 16);
	ck_assert_int_eq(json_number_at(answer, "layers.0.none"), 8);
	ck_assert_int_eq(json_number_at(answer, "layers.0.default_pages"), 4096 - 16 - 8);
	json_object_put(answer);
}
END_TEST

static bool has_column(const char *title, unsigned int columns)
{
	struct terminal_program program =
		terminal_program_start(CTL(d, "journal", "list"), columns, 24);
	bool has;

	ck_assert_int_eq(terminal_program_wait(&program), CTL_DONE);
	ck_assert_ptr_nonnull(strstr(program.said, "live"));
	has = strstr(program.said, title);
	terminal_program_forget(&program);
	return has;
}

START_TEST(a_table_that_is_too_wide_does_without_its_least_important_columns)
{
	ck_assert(has_column("REGISTERED", 70));
	ck_assert(!has_column("LAST COMMIT", 70));
	ck_assert(has_column("LAST COMMIT", 200));
	/* a pipe has no width */
	ctl_expect(CTL(d, "journal", "list"), CTL_DONE, "LAST COMMIT", "");
}
END_TEST

/* ---- The daemon ---------------------------------------------------------------------------- */

START_TEST(the_log_level_is_shown_and_changed)
{
	ctl_expect(CTL(d, "log-level", "warning"), CTL_DONE, "The log's level is warning; it was",
		   "");
	ctl_expect(CTL(d, "log-level"), CTL_DONE, "warning\n", "");
	ctl_expect(CTL(d, "log-level", "loud"), CTL_IS_REFUSED, "", "\"debug\"");
}
END_TEST

START_TEST(metrics_are_text_as_it_is)
{
	struct program_result result = program_run(CTL(d, "metrics"));

	ck_assert_int_eq(result.status, CTL_DONE);
	ck_assert_int_eq(strncmp(result.out, "# HELP ", 7), 0);
	ck_assert_ptr_nonnull(strstr(result.out, "vm=\"guest\""));
	program_forget(&result);
}
END_TEST

START_TEST(what_is_counted_begins_anew_with_a_reset)
{
	struct json_object *before, *after;

	before = ctl_json(CTL(d, "--json", "stats", "guest"));
	ck_assert_int_gt(json_number_at(before, "updates"), 0);
	ck_assert_int_gt(json_number_at(before, "latency_max_us"), 0);
	json_object_put(before);
	ctl_expect(CTL(d, "stats", "--reset", "guest"), CTL_DONE,
		   "VM guest is counted anew from now on.", "");
	after = ctl_json(CTL(d, "--json", "stats", "guest"));
	ck_assert_int_eq(json_number_at(after, "updates"), 0);
	ck_assert_int_eq(json_number_at(after, "latency_max_us"), 0);
	json_object_put(after);
}
END_TEST

/* ---- Raw ----------------------------------------------------------------------------------- */

START_TEST(raw_is_what_the_socket_says_and_refusals_keep_their_status)
{
	struct program_result result = program_run(CTL(d, "--raw", "vm", "views", "guest"));
	struct json_object *expected = control_ask(
		control, "{\"jsonrpc\":\"2.0\",\"method\":\"vm.views\",\"params\":{\"vm\":"
			 "\"guest\"},\"id\":1}");
	struct json_object *answer = json_tokener_parse(result.out);

	ck_assert_int_eq(result.status, CTL_DONE);
	ck_assert_int_eq(json_object_equal(answer, expected), 1);
	/* as it was received: in one line */
	ck_assert_ptr_eq(strchr(result.out, '\n'), result.out + strlen(result.out) - 1);
	program_forget(&result);
	json_object_put(answer);
	json_object_put(expected);
	ctl_expect(CTL(d, "--raw", "vm", "get", "nobody"), CTL_IS_REFUSED,
		   "\"error\":", "the daemon refused");
	/* one line for each of its three calls */
	result = program_run(CTL(d, "--raw", "status"));
	ck_assert_ptr_nonnull(strstr(result.out, "\"id\":3}\n"));
	program_forget(&result);
	ctl_expect(CTL(d, "--raw", "--json", "status"), CTL_WRONG_COMMAND_LINE, "", "not both");
	ctl_expect(CTL(d, "--raw", "journal", "verify", "/"), CTL_WRONG_COMMAND_LINE, "",
		   "no daemon's answer");
}
END_TEST

int main(void)
{
	TCase *vms = harness_make_case("VMs", 30);
	TCase *daemon = harness_make_case("daemon", 30);

	tcase_add_checked_fixture(vms, ctl_guest_start, ctl_guest_stop);
	tcase_add_test(vms, a_frozen_vm_shows_it_and_its_updates_wait_until_it_is_thawed);
	tcase_add_test(vms, an_update_is_in_force_when_it_returns);
	tcase_add_loop_test(vms, an_update_that_cannot_be_made_is_said_why_and_changes_nothing, 0,
			    8);
	tcase_add_test(vms, a_verified_vm_is_told_again_and_enforces_it_all);
	tcase_add_test(vms, a_verification_that_kvm_refuses_has_a_status_of_its_own);
	tcase_add_test(vms, a_vm_is_released_without_a_question_where_nobody_could_answer);
	tcase_add_test(vms, on_a_terminal_it_says_what_a_release_does_and_asks);
	tcase_add_test(vms, views_layers_and_sessions_are_shown_by_themselves);
	tcase_add_test(vms, pages_are_counted_by_part_and_by_layer);
	tcase_add_test(vms, a_table_that_is_too_wide_does_without_its_least_important_columns);
	tcase_add_checked_fixture(daemon, ctl_guest_start, ctl_guest_stop);
	tcase_add_test(daemon, the_log_level_is_shown_and_changed);
	tcase_add_test(daemon, metrics_are_text_as_it_is);
	tcase_add_test(daemon, what_is_counted_begins_anew_with_a_reset);
	tcase_add_test(daemon, raw_is_what_the_socket_says_and_refusals_keep_their_status);
	return harness_run("kvmattrctl operates", (TCase *const[]){ vms, daemon, NULL });
}
