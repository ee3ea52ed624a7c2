/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon as a service: what it tells its manager, and settings that change while it runs.
 */
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/program.h"
#include "tests/integration/simulated-vmm.h"

#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 10000

/* ---- The manager ------------------------------------------------------------------------------ */

static struct kvmattrd *d;
static int notified;
static char notify_variable[128]; /* NOTIFY_SOCKET=... */

/* Where the daemon's manager would be, and a daemon's place. */
static void listen_to_it(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	d = kvmattrd_prepare();
	notified = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", d->directory);
	ck_assert_int_eq(bind(notified, (struct sockaddr *)&address, sizeof(address)), 0);
	snprintf(notify_variable, sizeof(notify_variable), "NOTIFY_SOCKET=%s", address.sun_path);
}

/* The next thing that it is told, line by line; "" if there is none for so long. */
static const char *next_word(unsigned int timeout_ms)
{
	static char text[512];
	struct pollfd look = { .fd = notified, .events = POLLIN };
	ssize_t n = 0;

	if (poll(&look, 1, (int)(timeout_ms * harness_patience())) == 1)
		n = recv(notified, text, sizeof(text) - 1, 0);
	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	return text;
}

/* Waits until it is told that; whatever comes before is passed over. */
static void expect_word(const char *part)
{
	const char *word;

	do {
		word = next_word(PATIENCE_MS);
		ck_assert_msg(*word, "nobody was told %s", part);
	} while (!strstr(word, part));
}

/* With this variable for it, too, or NULL. */
static struct program start(const char *variable)
{
	const char *const argv[] = {
		"env",
		notify_variable,
		variable ? variable : notify_variable,
		KVMATTRD_PROGRAM,
		"--foreground",
		"--allow-simulated",
		"--runtime-dir",
		d->runtime_dir,
		"--state-dir",
		d->state_dir,
		NULL,
	};

	return program_start(argv);
}

static void end(struct program *program)
{
	struct program_result result;

	kill(program->pid, SIGTERM);
	result = program_wait(program);
	expect_result(&result, 0, "", "stopping");
	program_forget(&result);
	expect_word("STOPPING=1");
	kvmattrd_discard(d);
}

START_TEST(the_manager_is_told_of_readiness_of_VMs_as_they_come_and_go_and_of_the_end)
{
	struct program program = start(NULL);
	struct simulated_vmm *vmm;

	expect_word("READY=1");
	expect_word("STATUS=0 VMs, 0 sessions");
	vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	expect_word("STATUS=1 VMs, 1 sessions");
	simulated_vmm_stop(vmm);
	expect_word("STATUS=0 VMs");
	end(&program);
}
END_TEST

START_TEST(a_loop_that_turns_feeds_the_watchdog_and_one_that_does_not_does_not)
{
	struct program program = start("WATCHDOG_USEC=400000");

	expect_word("READY=1");
	for (int i = 0; i < 3; i++)
		expect_word("WATCHDOG=1");
	kill(program.pid, SIGSTOP);
	while (*next_word(1000)) /* what was under way */
		;
	ck_assert_str_eq(next_word(1000), "");
	kill(program.pid, SIGCONT);
	expect_word("WATCHDOG=1");
	end(&program);
}
END_TEST

START_TEST(without_a_watchdog_nothing_is_said_while_nothing_happens)
{
	struct program program = start(NULL);

	expect_word("STATUS=0 VMs");
	ck_assert_str_eq(next_word(1500), "");
	end(&program);
}
END_TEST

/* ---- Settings --------------------------------------------------------------------------------- */

static void reload_settings(const char *text, const char *said)
{
	kvmattrd_reload(d, text);
	EVENTUALLY(PATIENCE_MS, kvmattrd_has_logged(d, said));
}

static int64_t limit_of(struct control_client *control, const char *name)
{
	struct json_object *answer = control_call(control, "daemon.get", "{}");
	char path[64];
	int64_t value;

	snprintf(path, sizeof(path), "limits.%s", name);
	value = json_number_at(answer, path);
	json_object_put(answer);
	return value;
}

START_TEST(settings_that_are_read_anew_hold_from_then_on)
{
	struct simulated_vmm_options second = { .name = "second" };
	struct simulated_vmm *one, *two;
	struct control_client *control;

	d = kvmattrd_start("[limits]\nmax-vms = 1\n");
	control = control_connect(d);
	one = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	two = simulated_vmm_connect(d, &second);
	expect_refusal(two->owner, simulated_vmm_register(two, &second), KVMATTR_LIMIT_EXCEEDED,
		       "max-vms");
	reload_settings("[limits]\nmax-vms = 2\n", "settings were read anew");
	ck_assert_int_eq(limit_of(control, "max_vms"), 2);
	expect_ok(two->owner, simulated_vmm_register(two, &second));
	simulated_vmm_stop(two);
	simulated_vmm_stop(one);
	control_close(control);
	kvmattrd_stop(d);
}
END_TEST

static int64_t calls_of(struct control_client *control)
{
	struct json_object *answer = control_call(control, "stats.get", "{\"vm\": \"guest\"}");
	int64_t n = json_number_at(answer, "vms.0.calls");

	json_object_put(answer);
	return n;
}

START_TEST(limits_of_VMs_hold_for_those_that_are_there)
{
	struct simulated_vmm *vmm;
	struct control_client *control;
	int64_t before;

	d = kvmattrd_start("[limits]\nmax-pages-per-call = 4096\n");
	control = control_connect(d);
	vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, 1, KVMATTR_RWX, 0));
	before = calls_of(control);
	expect_ok(vmm->owner, protect_range(vmm->owner, 1, KVMATTR_R, 0, 64));
	ck_assert_int_eq(calls_of(control), before + 1);
	reload_settings("[limits]\nmax-pages-per-call = 16\n", "settings were read anew");
	expect_ok(vmm->owner, protect_range(vmm->owner, 1, KVMATTR_RX, 0, 64));
	ck_assert_int_eq(calls_of(control), before + 5);
	expect_pages(vmm, 0, 0, 64, KVMATTR_RX);
	simulated_vmm_stop(vmm);
	control_close(control);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(settings_that_are_wrong_are_named_and_nothing_of_them_holds)
{
	struct control_client *control;

	d = kvmattrd_start("[limits]\nmax-vms = 7\n");
	control = control_connect(d);
	reload_settings("[limits]\nmax-sessions = 9\nmax-vms = none\n", "stay as they were");
	ck_assert(kvmattrd_has_logged(d, "kvmattrd.conf:3"));
	ck_assert(kvmattrd_has_logged(d, "1 to 65536"));
	ck_assert_int_eq(limit_of(control, "max_vms"), 7);
	ck_assert_int_eq(limit_of(control, "max_sessions"), 8192);
	control_close(control);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(a_setting_that_takes_a_restart_is_named_and_the_others_hold)
{
	struct control_client *control;

	d = kvmattrd_start("[journal]\ndurability = process\n");
	control = control_connect(d);
	reload_settings("[journal]\ndurability = power\n[limits]\nmax-vms = 3\n",
			"settings were read anew");
	ck_assert(kvmattrd_has_logged(d, "[journal] durability is another one now: that takes a "
					 "restart"));
	ck_assert_int_eq(limit_of(control, "max_vms"), 3);
	control_close(control);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(without_a_file_there_is_nothing_to_read_and_the_daemon_goes_on)
{
	d = kvmattrd_start(NULL);
	kill(d->pid, SIGHUP);
	EVENTUALLY(PATIENCE_MS, kvmattrd_has_logged(d, "there is no file, see --config"));
	kvmattrd_stop(d);
}
END_TEST

START_TEST(the_manager_is_told_of_a_reload_and_of_its_end)
{
	struct program program = start(NULL);

	expect_word("READY=1");
	kill(program.pid, SIGHUP);
	expect_word("RELOADING=1");
	expect_word("READY=1");
	end(&program);
}
END_TEST

int main(void)
{
	TCase *manager = harness_make_case("manager", 60);
	TCase *settings = harness_make_case("settings", 60);
	TCase *const cases[] = { manager, settings, NULL };

	tcase_add_checked_fixture(manager, listen_to_it, NULL); /* end() cleans up */
	tcase_add_test(manager,
		       the_manager_is_told_of_readiness_of_VMs_as_they_come_and_go_and_of_the_end);
	tcase_add_test(manager,
		       a_loop_that_turns_feeds_the_watchdog_and_one_that_does_not_does_not);
	tcase_add_test(manager, without_a_watchdog_nothing_is_said_while_nothing_happens);
	tcase_add_test(manager, the_manager_is_told_of_a_reload_and_of_its_end);
	tcase_add_test(settings, settings_that_are_read_anew_hold_from_then_on);
	tcase_add_test(settings, limits_of_VMs_hold_for_those_that_are_there);
	tcase_add_test(settings, settings_that_are_wrong_are_named_and_nothing_of_them_holds);
	tcase_add_test(settings, a_setting_that_takes_a_restart_is_named_and_the_others_hold);
	tcase_add_test(settings, without_a_file_there_is_nothing_to_read_and_the_daemon_goes_on);
	return harness_run("service", cases);
}
