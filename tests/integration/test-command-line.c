/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrd's command line and configuration: what it takes, what it says to what it does not take,
 * how it starts and how it ends.
 */
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/program.h"
#include "tests/integration/simulated-vmm.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define USAGE_ERROR 64 /* EX_USAGE, as argp has it */
#define MAX_WORDS   48

/* kvmattrd with these arguments, behind the wrapper if there is one.  The result is static. */
static const char *const *kvmattrd_with(const char *const *arguments)
{
	static const char *argv[MAX_WORDS];
	static char words[1024];
	const char *wrapper = getenv("KVMATTR_TEST_WRAPPER");
	int n = 0;

	snprintf(words, sizeof(words), "%s", wrapper ? wrapper : "");
	for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
		argv[n++] = word;
	argv[n++] = KVMATTRD_PROGRAM;
	while (*arguments && n < MAX_WORDS - 1)
		argv[n++] = *arguments++;
	argv[n] = NULL;
	return argv;
}

#define RUN(...) program_run(kvmattrd_with((const char *const[]){ __VA_ARGS__, NULL }))

static struct kvmattrd *d;

static void prepare(void)
{
	d = kvmattrd_prepare();
}

static void discard(void)
{
	kvmattrd_discard(d);
}

static void expect_says(struct program_result result, int status, const char *out, const char *err)
{
	expect_result(&result, status, out, err);
	program_forget(&result);
}

/* ---- Options ------------------------------------------------------------------------------- */

START_TEST(help_names_every_option)
{
	static const char *const options[] = { "--foreground", "--runtime-dir",     "--state-dir",
					       "--config",     "--allow-simulated", "--log-level" };
	struct program_result result = RUN("--help");

	for (int i = 0; i < N(options); i++)
		expect_result(&result, 0, options[i], "");
	program_forget(&result);
	expect_says(RUN("--version"), 0, "kvmattrd", "");
}
END_TEST

START_TEST(a_wrong_command_line_is_refused_with_what_is_right)
{
	static const struct {
		const char *argument;
		const char *part;
	} wrong[] = { { "--no-such-option", "unrecognized option" },
		      { "--log-level=loud", "no log level 'loud': error, warning, info or debug" },
		      { "--runtime-dir", "requires an argument" },
		      { "word", "kvmattrd" } };

	expect_says(RUN(wrong[_i].argument), USAGE_ERROR, "", wrong[_i].part);
}
END_TEST

/* ---- Configuration ------------------------------------------------------------------------- */

static const char *write_file(const char *name, const char *text)
{
	static char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", d->directory, name);
	file = fopen(path, "we");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	fclose(file);
	return path;
}

static const struct {
	const char *text;
	const char *place; /* behind the file's name */
	const char *part;
} bad_files[] = {
	{ "[limits]\nmax-vms = 0\n", ":2: ", "max-vms = 0 is not valid: it takes a number from 1" },
	{ "[limits]\n\n# no\nmax-vms = x\n", ":4: ", "max-vms = x is not valid" },
	{ "[limits]\nmax-vms = -1\n", ":2: ", "max-vms = -1 is not valid" },
	{ "[limits]\nmax-vms = 1 2\n", ":2: ", "max-vms = 1 2 is not valid" },
	{ "[limits]\nmax-vms = 99999999999999999999999\n", ":2: ", "is not valid" },
	{ "[limits]\nmax-vms =\n", ":2: ", "is not valid" },
	{ "[limits]\nmax-vm = 1\n", ":2: ", "there is no setting 'max-vm' in section [limits]" },
	{ "[limit]\nmax-vms = 1\n", ":2: ", "there is no setting 'max-vms' in section [limit]" },
	{ "max-vms = 1\n", ":1: ", "there is no setting 'max-vms' in section []" },
	{ "[limits]\nexecutor-deadline-ms = 9\n", ":2: ", "a number from 10 to 600000" },
	{ "[daemon]\nallow-simulated = true\n", ":2: ", "it takes yes or no" },
	{ "[daemon]\nlog-level = 3\n", ":2: ", "it takes error, warning, info or debug" },
	{ "[daemon]\nsocket-mode = 888\n", ":2: ", "an octal mode such as 0660" },
	{ "[daemon]\nsocket-mode = 01777\n", ":2: ", "an octal mode such as 0660" },
	{ "[daemon]\nsocket-group = no such group\n",
	  ":2: ", "a group that there is, by name or number" },
	{ "[daemon]\nsocket-group = 4294967295\n", ":2: ", "a group that there is" },
	{ "[daemon]\nsocket-group =\n", ":2: ", "a group that there is" },
	{ "[daemon]\nruntime-dir = run\n", ":2: ", "an absolute path" },
	{ "[daemon]\nwhat is this\n", ":2: ", "neither [section] nor key = value" },
	{ "[daemon\nlog-level = info\n", ":1: ", "neither [section] nor key = value" },
};

START_TEST(a_wrong_configuration_is_refused_with_file_and_line_and_what_is_allowed)
{
	const char *path = write_file("bad.conf", bad_files[_i].text);
	struct program_result result =
		RUN("-f", "--config", path, "-r", d->runtime_dir, "--state-dir", d->state_dir);
	char place[128];

	snprintf(place, sizeof(place), "%s%s", path, bad_files[_i].place);
	expect_result(&result, 1, "", place);
	expect_result(&result, 1, "", bad_files[_i].part);
	program_forget(&result);
	/* It was looked at before anything was done. */
	ck_assert_int_eq(access(d->runtime_dir, F_OK), -1);
}
END_TEST

START_TEST(all_that_is_wrong_in_a_configuration_is_said_at_once)
{
	const char *path = write_file("bad.conf", "[limits]\nmax-vms = 0\nmax-sessions = 0\n");
	struct program_result result =
		RUN("-f", "--config", path, "-r", d->runtime_dir, "--state-dir", d->state_dir);

	expect_result(&result, 1, "", ":2: max-vms");
	expect_result(&result, 1, "", ":3: max-sessions");
	program_forget(&result);
}
END_TEST

START_TEST(a_configuration_that_cannot_be_read_is_named)
{
	char text[128];

	snprintf(text, sizeof(text), "cannot read the configuration %s: Is a directory",
		 d->directory);
	expect_says(RUN("-f", "--config", "/nowhere/kvmattrd.conf", "-r", d->runtime_dir,
			"--state-dir", d->state_dir),
		    1, "", "cannot read the configuration /nowhere/kvmattrd.conf: No such file");
	expect_says(RUN("-f", "--config", d->directory, "-r", d->runtime_dir, "--state-dir",
			d->state_dir),
		    1, "", text);
}
END_TEST

START_TEST(the_configuration_holds_and_the_command_line_goes_first)
{
	char text[512];
	struct stat status;
	struct control_client *control;
	struct json_object *result;

	snprintf(text, sizeof(text),
		 "; a comment\n[daemon]\nruntime-dir = %s/other\nsocket-mode = 0600\n"
		 "log-level = error\n[limits]\nmax-vms = 12\n",
		 d->directory);
	kvmattrd_launch(d, text);
	ck_assert_int_eq(stat(d->agent_socket, &status), 0);
	ck_assert_int_eq(status.st_mode & 07777, 0600);
	ck_assert_int_eq(stat(d->control_socket, &status), 0);
	ck_assert_int_eq(status.st_mode & 07777, 0600);
	/* The harness asks for debug. */
	EVENTUALLY(2000, kvmattrd_has_logged(d, "serves in"));
	control = control_connect(d);
	result = control_call(control, "daemon.get", "{}");
	ck_assert_int_eq(json_number_at(result, "limits.max_vms"), 12);
	json_object_put(result);
	control_close(control);
	kvmattrd_stop(d);
}
END_TEST

/* ---- Directories --------------------------------------------------------------------------- */

START_TEST(a_second_daemon_says_who_holds_the_directory_and_leaves_the_first_alone)
{
	struct simulated_vmm *vmm;
	char holder[128], elsewhere[64];

	kvmattrd_launch(d, NULL);
	vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	snprintf(holder, sizeof(holder), "another kvmattrd (PID %d) holds %s", d->pid,
		 d->runtime_dir);
	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", d->directory);
	expect_says(RUN("-f", "-r", d->runtime_dir, "--state-dir", elsewhere), 1, "", holder);
	snprintf(holder, sizeof(holder), "another kvmattrd (PID %d) holds %s", d->pid,
		 d->state_dir);
	expect_says(RUN("-f", "-r", elsewhere, "--state-dir", d->state_dir), 1, "", holder);
	/* In the background, too, where the parent's status is all that a script sees. */
	expect_says(RUN("-r", d->runtime_dir, "--state-dir", elsewhere), 1, "", "another kvmattrd");

	expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, 1, KVMATTR_R, 0));
	expect_pages(vmm, 0, 0, vmm->n_pages, KVMATTR_R);
	simulated_vmm_stop(vmm);
	vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(sockets_that_a_killed_daemon_left_behind_are_replaced)
{
	int status;

	kvmattrd_launch(d, NULL);
	ck_assert_int_eq(kill(d->pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(d->pid, &status, 0), d->pid);
	ck_assert_int_eq(access(d->agent_socket, F_OK), 0);
	ck_assert_int_eq(access(d->control_socket, F_OK), 0);
	kvmattrd_launch(d, NULL);
	simulated_vmm_stop(simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 }));
	kvmattrd_stop(d);
}
END_TEST

START_TEST(what_is_no_socket_is_not_removed_for_one)
{
	char path[64], text[8] = "";
	int fd;

	ck_assert_int_eq(mkdir(d->runtime_dir, 0755), 0);
	snprintf(path, sizeof(path), "run/%s", _i ? "control.sock" : "agent.sock");
	write_file(path, "mine");
	expect_says(RUN("-f", "-r", d->runtime_dir, "--state-dir", d->state_dir), 1, "",
		    "cannot listen on");
	fd = open(_i ? d->control_socket : d->agent_socket, O_RDONLY);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(read(fd, text, sizeof(text) - 1), 4);
	ck_assert_str_eq(text, "mine");
	close(fd);
}
END_TEST

START_TEST(a_path_that_is_too_long_for_a_socket_is_said_to_be)
{
	char path[200];
	size_t n = (size_t)snprintf(path, sizeof(path), "%s/", d->directory);

	memset(path + n, 'x', sizeof(path) - n - 1);
	path[sizeof(path) - 1] = '\0';
	expect_says(RUN("-f", "-r", path, "--state-dir", d->state_dir), 1, "",
		    "too long for a socket (107 bytes at most)");
}
END_TEST

START_TEST(a_directory_that_cannot_be_made_is_named)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/not/there", d->directory);
	expect_says(RUN("-f", "-r", path, "--state-dir", d->state_dir), 1, "",
		    "cannot make the directory");
	expect_says(RUN("-f", "-r", d->runtime_dir, "--state-dir", path), 1, "", path);
	/* A file is no directory. */
	write_file("file", "");
	snprintf(path, sizeof(path), "%s/file", d->directory);
	expect_says(RUN("-f", "-r", path, "--state-dir", d->state_dir), 1, "", path);
}
END_TEST

/* ---- Starting and stopping ----------------------------------------------------------------- */

START_TEST(in_the_background_it_serves_when_the_command_returns_and_stops_when_told)
{
	struct control_client *control;
	struct json_object *result;
	pid_t pid;
	int status = -1;

	/* Whoever loses its parent becomes our child. */
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	expect_says(RUN("-r", d->runtime_dir, "--state-dir", d->state_dir), 0, "", "");
	control = control_connect(d);
	result = control_call(control, "daemon.get", "{}");
	pid = (pid_t)json_number_at(result, "pid");
	json_object_put(result);
	control_close(control);
	ck_assert_int_eq(getpgid(pid), pid); /* no terminal's signal reaches it */
	ck_assert_int_eq(kill(pid, SIGTERM), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	ck_assert_int_eq(access(d->agent_socket, F_OK), -1);
	ck_assert_int_eq(access(d->control_socket, F_OK), -1);
}
END_TEST

START_TEST(a_signal_to_stop_is_obeyed_with_vms_and_clients_about)
{
	struct simulated_vmm *vmm;
	struct control_client *control;
	struct kvmattr *agent;
	int status = -1;

	/* Nobody waits for another daemon. */
	kvmattrd_launch(d, "[limits]\nowner-grace-ms = 0\n");
	vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	agent = simulated_vmm_open_agent(vmm, 1, 0);
	control = control_connect(d);
	simulated_vmm_close_gate(vmm);
	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	ck_assert_int_eq(kill(d->pid, _i ? SIGINT : SIGTERM), 0);
	ck_assert_int_eq(waitpid(d->pid, &status, 0), d->pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	expect_refusal(agent, protect_range(agent, 1, KVMATTR_R, 0, 1), -EPIPE,
		       "kvmattrd closed the connection");
	ck_assert_ptr_null(control_receive(control));
	ck_assert(kvmattrd_has_logged(d, "stopping: "));
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	control_close(control);
	d->pid = -1;
}
END_TEST

/* What else it says there, of descriptors, is not this test's. */
static void expect_notice(int notify, const char *part)
{
	char message[256];

	do {
		memset(message, 0, sizeof(message));
		ck_assert_int_gt(recv(notify, message, sizeof(message) - 1, 0), 0);
	} while (!strncmp(message, "FDSTORE", 7) || !strncmp(message, "STATUS", 6));
	ck_assert_msg(strstr(message, part), "%s", message);
}

START_TEST(under_systemd_it_stays_in_the_foreground_and_says_when_it_serves)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char variable[128];
	struct program program;
	struct program_result result;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", d->directory);
	ck_assert_int_eq(bind(notify, (struct sockaddr *)&address, sizeof(address)), 0);
	snprintf(variable, sizeof(variable), "NOTIFY_SOCKET=%s", address.sun_path);
	program = program_start((const char *const[]){ "env", variable, KVMATTRD_PROGRAM, "-r",
						       d->runtime_dir, "--state-dir", d->state_dir,
						       NULL });
	expect_notice(notify, "READY=1");
	control_close(control_connect(d));
	ck_assert(!program_has_ended(&program));
	ck_assert_int_eq(kill(program.pid, SIGTERM), 0);
	expect_notice(notify, "STOPPING=1");
	result = program_wait(&program);
	expect_result(&result, 0, "", "");
	program_forget(&result);
	close(notify);
}
END_TEST

int main(void)
{
	TCase *options = harness_make_case("options", 20);
	TCase *configuration = harness_make_case("configuration", 20);
	TCase *launched = harness_make_case("launched", 20);
	TCase *directories = harness_make_case("directories", 20);

	tcase_add_test(options, help_names_every_option);
	tcase_add_loop_test(options, a_wrong_command_line_is_refused_with_what_is_right, 0, 4);
	tcase_add_checked_fixture(configuration, prepare, discard);
	tcase_add_loop_test(configuration,
			    a_wrong_configuration_is_refused_with_file_and_line_and_what_is_allowed,
			    0, N(bad_files));
	tcase_add_test(configuration, all_that_is_wrong_in_a_configuration_is_said_at_once);
	tcase_add_test(configuration, a_configuration_that_cannot_be_read_is_named);
	tcase_add_checked_fixture(launched, prepare, NULL); /* kvmattrd_stop() cleans up */
	tcase_add_test(launched, the_configuration_holds_and_the_command_line_goes_first);
	tcase_add_test(launched,
		       a_second_daemon_says_who_holds_the_directory_and_leaves_the_first_alone);
	tcase_add_test(launched, sockets_that_a_killed_daemon_left_behind_are_replaced);
	tcase_add_checked_fixture(directories, prepare, discard);
	tcase_add_loop_test(directories, what_is_no_socket_is_not_removed_for_one, 0, 2);
	tcase_add_test(directories, a_path_that_is_too_long_for_a_socket_is_said_to_be);
	tcase_add_test(directories, a_directory_that_cannot_be_made_is_named);
	tcase_add_test(directories,
		       in_the_background_it_serves_when_the_command_returns_and_stops_when_told);
	tcase_add_loop_test(directories, a_signal_to_stop_is_obeyed_with_vms_and_clients_about, 0,
			    2);
	tcase_add_test(directories,
		       under_systemd_it_stays_in_the_foreground_and_says_when_it_serves);
	return harness_run("command line",
			   (TCase *const[]){ options, configuration, launched, directories, NULL });
}
