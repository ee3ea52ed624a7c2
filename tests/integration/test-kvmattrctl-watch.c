/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl watch and sessions: on a terminal, in a pipe and as JSON, and through a restart.
 */
#include "tests/integration/ctl-guest.h"
#include "tests/integration/terminal-program.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What xterm takes for its other screen, and for its first one again. */
#define OTHER_SCREEN "\033[?1049h"
#define FIRST_SCREEN "\033[?1049l"
#define SHOW_CURSOR  "\033[?25h"
#define WRAP_LINES   "\033[?7h"
#define NEW_LINE     "\033[2K"

static void start(void)
{
	ck_assert_int_eq(unsetenv("NO_COLOR"), 0);
	ctl_guest_start();
}

/* ---- On a terminal ------------------------------------------------------------------------- */

static struct terminal_program watch_on_terminal(unsigned int columns, unsigned int rows)
{
	struct terminal_program program =
		terminal_program_start(CTL(d, "watch", "--interval", "0.1"), columns, rows);

	EVENTUALLY(5000, terminal_program_has_said(&program, 0, "q ends it"));
	return program;
}

static void expect_end(struct terminal_program *program, int status)
{
	const char *back;

	ck_assert_int_eq(terminal_program_wait(program), status);
	back = strstr(program->said, FIRST_SCREEN);
	ck_assert_ptr_nonnull(strstr(program->said, OTHER_SCREEN));
	ck_assert_msg(back && !strcmp(back, FIRST_SCREEN), "it wrote on after it was through");
	ck_assert_ptr_nonnull(strstr(program->said, SHOW_CURSOR));
	ck_assert_ptr_nonnull(strstr(program->said, WRAP_LINES));
	terminal_program_forget(program);
}

START_TEST(q_ends_it_and_the_terminal_is_as_it_was)
{
	struct terminal_program program = watch_on_terminal(80, 24);

	terminal_program_type(&program, "q");
	expect_end(&program, CTL_DONE);
}
END_TEST

START_TEST(an_interrupt_from_the_keyboard_ends_it_likewise)
{
	struct terminal_program program = watch_on_terminal(80, 24);

	terminal_program_type(&program, "\003");
	expect_end(&program, CTL_DONE);
}
END_TEST

START_TEST(a_signal_to_terminate_ends_it_likewise)
{
	struct terminal_program program = watch_on_terminal(80, 24);

	ck_assert_int_eq(kill(program.pid, SIGTERM), 0);
	expect_end(&program, CTL_DONE);
}
END_TEST

START_TEST(q_ends_it_at_once_also_while_the_daemon_does_not_answer)
{
	struct terminal_program program = watch_on_terminal(80, 24);
	uint64_t stopped_ms;

	ck_assert_int_eq(kill(d->pid, SIGSTOP), 0);
	/* It waits for an answer now, for the 5 seconds that are the default. */
	for (stopped_ms = harness_now_ms(); harness_now_ms() < stopped_ms + 300;)
		harness_pause();
	terminal_program_type(&program, "q");
	ck_assert_int_eq(terminal_program_wait(&program), CTL_DONE);
	ck_assert_ptr_null(strstr(program.said, "has not answered"));
	terminal_program_forget(&program);
	ck_assert_int_eq(kill(d->pid, SIGCONT), 0);
}
END_TEST

/* Characters that show, from a line's start to the next one's, or to the end of the picture. */
static unsigned int count_shown(const char *line)
{
	unsigned int n = 0;

	for (; *line && *line != '\r' && strncmp(line, "\033[H", 3) != 0; line++) {
		if (*line == '\033')
			line += strcspn(line, "mJKHhl");
		else if (((unsigned char)*line & 0xc0) != 0x80)
			n++;
	}
	return n;
}

static void expect_fits(const struct terminal_program *program, unsigned int columns,
			unsigned int rows)
{
	const char *frame = program->said;
	unsigned int n_frames = 0;

	while ((frame = strstr(frame, "\033[H" NEW_LINE))) {
		const char *next = strstr(frame + 1, "\033[H"), *line = frame;
		unsigned int n_lines = 0;

		while ((line = strstr(line, NEW_LINE)) && (!next || line < next)) {
			line += strlen(NEW_LINE);
			n_lines++;
			ck_assert_msg(count_shown(line) <= columns, "%u columns: %.300s",
				      count_shown(line), line);
		}
		ck_assert_uint_le(n_lines, rows);
		n_frames++;
		frame++;
	}
	ck_assert_uint_gt(n_frames, 0);
}

static const struct {
	unsigned int columns;
	unsigned int rows;
} sizes[] = { { 80, 24 }, { 200, 50 }, { 149, 10 }, { 150, 10 }, { 30, 4 }, { 1, 1 } };

START_TEST(one_screenful_whatever_its_size_and_however_many_vms_there_are)
{
	struct simulated_vmm *others[12];
	struct terminal_program program;
	char name[64];

	for (int i = 0; i < N(others); i++) {
		snprintf(name, sizeof(name), "vm-%d-%s", i, "with-a-name-as-long-as-names-may-be");
		others[i] = simulated_vmm_start(d, &(struct simulated_vmm_options){ .name = name });
	}
	program = terminal_program_start(CTL(d, "watch", "--interval", "0.1", "--count", "3"),
					 sizes[_i].columns, sizes[_i].rows);
	ck_assert_int_eq(terminal_program_wait(&program), CTL_DONE);
	expect_fits(&program, sizes[_i].columns, sizes[_i].rows);
	if (sizes[_i].rows == 10)
		ck_assert_ptr_nonnull(strstr(program.said, "... and 8 more VMs"));
	terminal_program_forget(&program);
	for (int i = 0; i < N(others); i++)
		simulated_vmm_stop(others[i]);
}
END_TEST

START_TEST(another_size_of_the_terminal_is_drawn_at_once)
{
	struct terminal_program program =
		terminal_program_start(CTL(d, "watch", "--interval", "3600"), 80, 24);

	EVENTUALLY(5000, terminal_program_has_said(&program, 0, "UPD/S"));
	ck_assert(!terminal_program_has_said(&program, 0, "BATCHES/S"));
	terminal_program_resize(&program, 200, 24);
	EVENTUALLY(5000, terminal_program_has_said(&program, 0, "BATCHES/S"));
	terminal_program_type(&program, "q");
	expect_end(&program, CTL_DONE);
}
END_TEST

START_TEST(a_restart_of_the_daemon_is_said_and_it_goes_on)
{
	struct terminal_program program = watch_on_terminal(100, 24);
	size_t from;

	kvmattrd_kill(d);
	EVENTUALLY(5000,
		   terminal_program_has_said(&program, 0, "The daemon has not answered since"));
	from = program.n;
	kvmattrd_launch(d, NULL);
	EVENTUALLY(5000, terminal_program_has_said(&program, from, "The daemon was restarted"));
	from = program.n;
	/* And its VM is shown again. */
	EVENTUALLY(5000, terminal_program_has_said(&program, from, "guest"));
	terminal_program_type(&program, "q");
	expect_end(&program, CTL_DONE);
}
END_TEST

START_TEST(pages_that_are_not_known_stand_in_the_table_and_in_words)
{
	struct terminal_program program;

	/* The kernel refuses everything, also to take back what it has of a batch. */
	simulated_vmm_fail(guest, EIO);
	ck_assert_int_ne(protect_range(guest->owner, 1, KVMATTR_R, 8, 4), KVMATTR_OK);
	program = watch_on_terminal(80, 24);
	EVENTUALLY(5000, terminal_program_has_said(&program, 0,
						   "it is not known what KVM enforces on 4 pages"));
	EVENTUALLY(5000, terminal_program_has_said(&program, 0, "degraded"));
	simulated_vmm_fail(guest, 0);
	terminal_program_type(&program, "q");
	expect_end(&program, CTL_DONE);
}
END_TEST

START_TEST(a_frozen_vm_comes_first_and_it_is_said_how_it_goes_on)
{
	struct simulated_vmm *other =
		simulated_vmm_start(d, &(struct simulated_vmm_options){ .name = "a-calm-one" });
	struct terminal_program program;
	const char *frozen, *calm;

	ctl_expect(CTL(d, "vm", "freeze", "guest"), CTL_DONE, "", "");
	program = watch_on_terminal(80, 24);
	EVENTUALLY(5000, terminal_program_has_said(&program, 0, "kvmattrctl vm thaw guest"));
	EVENTUALLY(5000, terminal_program_has_said(&program, 0, "a-calm-one"));
	frozen = strstr(program.said, "frozen");
	calm = strstr(program.said, "a-calm-one");
	ck_assert_ptr_nonnull(calm);
	ck_assert_ptr_nonnull(frozen);
	ck_assert(frozen < calm);
	terminal_program_type(&program, "q");
	expect_end(&program, CTL_DONE);
	ctl_expect(CTL(d, "vm", "thaw", "guest"), CTL_DONE, "", "");
	simulated_vmm_stop(other);
}
END_TEST

/* ---- Colour -------------------------------------------------------------------------------- */

static bool has_color(const char *variable, const char *value, const char *option)
{
	struct terminal_program program;
	const char *script = "export \"$1=$2\"; shift 2; exec \"$@\"";
	bool has;

	program = terminal_program_start(
		(const char *const[]){ "sh", "-c", script, "sh", variable, value,
				       KVMATTRCTL_PROGRAM, "--runtime-dir", d->runtime_dir, option,
				       "map", "show", "guest", NULL },
		80, 24);
	ck_assert_int_eq(terminal_program_wait(&program), CTL_DONE);
	has = strchr(program.said, '\033');
	terminal_program_forget(&program);
	return has;
}

START_TEST(there_is_colour_where_the_terminal_has_it_and_nobody_objects)
{
	ck_assert(has_color("TERM", "xterm-256color", "--color=auto"));
	ck_assert(has_color("TERM", "linux", "--color=auto"));
	ck_assert(!has_color("TERM", "dumb", "--color=auto"));
	ck_assert(!has_color("TERM", "", "--color=auto"));
	ck_assert(!has_color("TERM", "xterm-mono", "--color=auto"));
	ck_assert(!has_color("TERM", "vt100", "--color=auto"));
	ck_assert(!has_color("NO_COLOR", "1", "--color=auto"));
	ck_assert(has_color("NO_COLOR", "", "--color=auto"));
	ck_assert(has_color("NO_COLOR", "1", "--color=always"));
	ck_assert(!has_color("COLUMNS", "80", "--color=never"));
}
END_TEST

START_TEST(the_screen_itself_is_without_colour_where_nobody_wants_it)
{
	struct terminal_program program = terminal_program_start(
		CTL(d, "--color=never", "watch", "--interval", "0.1", "--count", "2"), 80, 24);

	ck_assert_int_eq(terminal_program_wait(&program), CTL_DONE);
	ck_assert_ptr_null(strstr(program.said, "\033[3"));
	ck_assert_ptr_null(strstr(program.said, "\033[9"));
	terminal_program_forget(&program);
}
END_TEST

/* ---- In a pipe, and as JSON ---------------------------------------------------------------- */

START_TEST(in_a_pipe_each_interval_is_a_line_for_each_vm)
{
	struct program_result result =
		program_run(CTL(d, "watch", "guest", "--interval", "0.1", "--count", "3"));
	unsigned int n = 0;

	expect_result(&result, CTL_DONE, "UPDATES/S", "");
	ck_assert_ptr_null(strchr(result.out, '\033'));
	for (const char *at = result.out; (at = strchr(at, '\n')); at++)
		n++;
	ck_assert_uint_eq(n, 1 + 3);
	program_forget(&result);
}
END_TEST

/* The last whole line so far, as JSON; NULL: there is none yet. */
static struct json_object *last_object(const struct program_result *result)
{
	char *end = strrchr(result->out, '\n'), *start;

	if (!end)
		return NULL;
	*end = '\0';
	start = strrchr(result->out, '\n');
	return json_tokener_parse(start ? start + 1 : result->out);
}

/* Of an interval in which there were updates, none took longer than the longest. */
static void expect_latencies(struct json_object *object)
{
	if (!json_at(object, "vms.0.latency_p50_us")) {
		ck_assert_double_eq(json_object_get_double(json_at(object, "vms.0.updates_per_s")),
				    0);
		return;
	}
	ck_assert_int_gt(json_number_at(object, "vms.0.latency_p50_us"), 0);
	ck_assert_int_le(json_number_at(object, "vms.0.latency_p50_us"),
			 json_number_at(object, "vms.0.latency_p99_us"));
	ck_assert_int_le(json_number_at(object, "vms.0.latency_p99_us"),
			 json_number_at(object, "vms.0.latency_max_us"));
}

START_TEST(as_json_each_interval_is_an_object_with_rates)
{
	struct program program =
		program_start(CTL(d, "--json", "watch", "--interval", "0.2", "--count", "4"));
	struct program_result result;
	struct json_object *object, *rate;
	double n_updates = 0, n_batches = 0;
	uint64_t n_done = 0;
	char *state = NULL;

	/* As many as there is time for, until it ends; it counts those between its samples. */
	while (!program_has_ended(&program)) {
		expect_ok(guest->owner, protect_range(guest->owner, 1,
						      n_done % 2 ? KVMATTR_R : KVMATTR_RX, 16, 16));
		n_done++;
	}
	result = program_wait(&program);
	ck_assert_int_eq(result.status, CTL_DONE);
	ck_assert_str_eq(result.err, "");
	for (char *line = strtok_r(result.out, "\n", &state); line;
	     line = strtok_r(NULL, "\n", &state)) {
		double seconds;

		object = json_tokener_parse(line);
		ck_assert_ptr_nonnull(object);
		ck_assert_str_eq(json_text_at(object, "vms.0.vm"), "guest");
		seconds = (double)json_number_at(object, "interval_us") / 1e6;
		rate = json_at(object, "vms.0.updates_per_s");
		ck_assert(json_object_is_type(rate, json_type_double));
		n_updates += json_object_get_double(rate) * seconds;
		rate = json_at(object, "vms.0.batches_per_s");
		n_batches += json_object_get_double(rate) * seconds;
		ck_assert(!json_boolean_at(object, "daemon.restarted"));
		expect_latencies(object);
		json_object_put(object);
	}
	program_forget(&result);
	/* One at a time, each update is a batch; rates are rounded to a tenth. */
	ck_assert_double_gt(n_updates, 0);
	ck_assert_double_le(n_updates, (double)n_done + 1);
	ck_assert_double_eq_tol(n_updates, n_batches, 2);
}
END_TEST

START_TEST(as_json_a_daemon_that_is_away_is_null_and_its_return_a_restart)
{
	struct program program = program_start(CTL(d, "--json", "watch", "--interval", "0.1"));
	struct program_result result;
	struct json_object *object;

	EVENTUALLY(5000, program_has_said(&program, "\"restarted\":false"));
	kvmattrd_kill(d);
	EVENTUALLY(5000, program_has_said(&program, "\"daemon\":null"));
	kvmattrd_launch(d, NULL);
	EVENTUALLY(5000, program_has_said(&program, "\"restarted\":true"));
	ck_assert_int_eq(kill(program.pid, SIGINT), 0);
	result = program_wait(&program);
	expect_result(&result, CTL_DONE, "\"trouble\":\"", "");
	/* It ended with a whole object. */
	ck_assert_int_eq(result.out[strlen(result.out) - 1], '\n');
	object = last_object(&result);
	ck_assert_ptr_nonnull(json_at(object, "vms"));
	json_object_put(object);
	program_forget(&result);
}
END_TEST

START_TEST(what_cannot_be_watched_is_said_at_the_start)
{
	ctl_expect((const char *const[]){ KVMATTRCTL_PROGRAM, "--runtime-dir", "/nowhere", "watch",
					  NULL },
		   CTL_NO_DAEMON, "", "Is kvmattrd running?");
	ctl_expect(CTL(d, "watch", "nobody"), CTL_IS_REFUSED, "", "registered (1): guest");
	ctl_expect(CTL(d, "watch", "--interval", "0"), CTL_WRONG_COMMAND_LINE, "",
		   "seconds from 0.1 to 3600");
	ctl_expect(CTL(d, "watch", "--interval", "inf"), CTL_WRONG_COMMAND_LINE, "",
		   "seconds from 0.1 to 3600");
}
END_TEST

/* ---- Sessions ------------------------------------------------------------------------------ */

START_TEST(sessions_are_shown_of_one_vm_and_of_all)
{
	struct kvmattr *agent = simulated_vmm_open_agent(guest, 1, 0);
	struct simulated_vmm *other =
		simulated_vmm_start(d, &(struct simulated_vmm_options){ .name = "other" });
	struct program_result result;
	struct json_object *object;

	result = program_run(CTL(d, "--json", "sessions"));
	object = json_tokener_parse(result.out);
	ck_assert_uint_eq(json_object_array_length(json_at(object, "sessions")), 3);
	json_object_put(object);
	program_forget(&result);

	result = program_run(CTL(d, "--json", "sessions", "guest"));
	object = json_tokener_parse(result.out);
	ck_assert_uint_eq(json_object_array_length(json_at(object, "sessions")), 2);
	ck_assert_str_eq(json_text_at(object, "sessions.0.vm"), "guest");
	ck_assert_str_eq(json_text_at(object, "sessions.0.role"), "owner");
	ck_assert_str_eq(json_text_at(object, "sessions.1.role"), "agent");
	ck_assert_str_eq(json_text_at(object, "sessions.1.state"), "connected");
	json_object_put(object);
	program_forget(&result);

	ctl_expect(CTL(d, "sessions"), CTL_DONE, "connected", "");
	ctl_expect(CTL(d, "sessions", "nobody"), CTL_IS_REFUSED, "", "guest");
	kvmattr_close(agent);
	simulated_vmm_stop(other);
}
END_TEST

int main(void)
{
	TCase *screens = harness_make_case("screens", 30);
	TCase *colors = harness_make_case("colours", 30);
	TCase *programs = harness_make_case("programs", 30);

	tcase_add_checked_fixture(screens, start, ctl_guest_stop);
	tcase_add_test(screens, q_ends_it_and_the_terminal_is_as_it_was);
	tcase_add_test(screens, an_interrupt_from_the_keyboard_ends_it_likewise);
	tcase_add_test(screens, a_signal_to_terminate_ends_it_likewise);
	tcase_add_test(screens, q_ends_it_at_once_also_while_the_daemon_does_not_answer);
	tcase_add_loop_test(screens, one_screenful_whatever_its_size_and_however_many_vms_there_are,
			    0, N(sizes));
	tcase_add_test(screens, another_size_of_the_terminal_is_drawn_at_once);
	tcase_add_test(screens, a_restart_of_the_daemon_is_said_and_it_goes_on);
	tcase_add_test(screens, pages_that_are_not_known_stand_in_the_table_and_in_words);
	tcase_add_test(screens, a_frozen_vm_comes_first_and_it_is_said_how_it_goes_on);
	tcase_add_checked_fixture(colors, start, ctl_guest_stop);
	tcase_add_test(colors, there_is_colour_where_the_terminal_has_it_and_nobody_objects);
	tcase_add_test(colors, the_screen_itself_is_without_colour_where_nobody_wants_it);
	tcase_add_checked_fixture(programs, start, ctl_guest_stop);
	tcase_add_test(programs, in_a_pipe_each_interval_is_a_line_for_each_vm);
	tcase_add_test(programs, as_json_each_interval_is_an_object_with_rates);
	tcase_add_test(programs, as_json_a_daemon_that_is_away_is_null_and_its_return_a_restart);
	tcase_add_test(programs, what_cannot_be_watched_is_said_at_the_start);
	tcase_add_test(programs, sessions_are_shown_of_one_vm_and_of_all);
	return harness_run("kvmattrctl watch", (TCase *const[]){ screens, colors, programs, NULL });
}
