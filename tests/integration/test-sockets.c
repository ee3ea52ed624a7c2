/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sockets that the daemon opens: whose they are, who may connect, and which ones it replaces.
 */
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/other-users.h"
#include "tests/integration/program.h"

#include <check.h>
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 10000
/* A group that the daemon is not in, and that has no name. */
#define GROUP_ID 61021

static struct kvmattrd *d;

/* ---- Groups --------------------------------------------------------------------------------- */

static void expect_group(gid_t gid)
{
	struct stat agent, control;

	ck_assert_int_eq(stat(d->agent_socket, &agent), 0);
	ck_assert_int_eq(stat(d->control_socket, &control), 0);
	ck_assert_uint_eq(agent.st_gid, gid);
	ck_assert_uint_eq(control.st_gid, gid);
	ck_assert_uint_eq(agent.st_mode & 0777, 0660);
	ck_assert_uint_eq(control.st_mode & 0777, 0660);
}

/* 0, or the errno with which a process of that user, in that group alone, fails to connect. */
static int connect_as(uid_t uid, gid_t gid)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	pid_t child = fork();
	int status;

	if (child) {
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert(WIFEXITED(status));
		return WEXITSTATUS(status);
	}
	memcpy(address.sun_path, d->control_socket, strlen(d->control_socket));
	if (setgroups(0, NULL) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
		_exit(255);
	_exit(connect(socket(AF_UNIX, SOCK_STREAM, 0), (const struct sockaddr *)&address,
		      sizeof(address)) < 0
		      ? errno
		      : 0);
}

static void start_with_group(const char *group)
{
	char text[128];

	snprintf(text, sizeof(text), "[daemon]\nsocket-group = %s\n", group);
	d = kvmattrd_prepare();
	ck_assert_int_eq(chmod(d->directory, 0755), 0);
	kvmattrd_launch(d, text);
}

START_TEST(the_sockets_are_of_the_group_that_is_named_and_its_members_connect)
{
	start_with_group("61021");
	expect_group(GROUP_ID);
	ck_assert_int_eq(connect_as(61002, GROUP_ID), 0);
	ck_assert_int_eq(connect_as(61002, 61002), EACCES);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(the_group_may_have_a_name)
{
	const struct group *group = getgrgid(65534);

	if (!group) {
		puts("# skipped: the_group_may_have_a_name: 65534 has no name here");
		return;
	}
	start_with_group(group->gr_name);
	expect_group(65534);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(without_a_group_the_sockets_are_of_the_daemons)
{
	d = other_users_start(NULL);
	expect_group(DAEMON_ID);
	kvmattrd_stop(d);
}
END_TEST

/* A daemon of DAEMON_ID's with this group for its sockets, and in another one besides. */
static struct program start_as_other(const char *group)
{
	char script[512];
	const char *const argv[] = { "sh", "-c", script, NULL };

	snprintf(script, sizeof(script),
		 "printf '[daemon]\\nsocket-group = %s\\n' >%s/group.conf && exec "
		 "setpriv --reuid %d --regid %d --groups %d %s -f -r %s --state-dir %s "
		 "-c %s/group.conf",
		 group, d->directory, DAEMON_ID, DAEMON_ID, GROUP_ID, KVMATTRD_PROGRAM,
		 d->runtime_dir, d->state_dir, d->directory);
	return program_start(argv);
}

START_TEST(who_is_not_root_can_name_a_group_that_it_is_in_and_no_other)
{
	struct program_result result;
	struct program program;

	d = kvmattrd_prepare();
	ck_assert_int_eq(chmod(d->directory, 0755), 0);
	ck_assert_int_eq(chown(d->directory, DAEMON_ID, DAEMON_ID), 0);
	program = start_as_other("61022");
	result = program_wait(&program);
	expect_result(&result, EXIT_FAILURE, "",
		      "agent.sock cannot be group 61022's (socket-group)");
	expect_result(&result, EXIT_FAILURE, "", "a group that it is in");
	program_forget(&result);
	ck_assert_int_lt(access(d->agent_socket, F_OK), 0);
	program = start_as_other("61021");
	EVENTUALLY(PATIENCE_MS, program_has_said(&program, "serves in"));
	expect_group(GROUP_ID);
	kill(program.pid, SIGTERM);
	result = program_wait(&program);
	expect_result(&result, EXIT_SUCCESS, "", "stopping");
	program_forget(&result);
	kvmattrd_discard(d);
}
END_TEST

START_TEST(another_group_takes_a_restart)
{
	start_with_group("61021");
	kvmattrd_reload(d, "[daemon]\nsocket-group = 61022\n");
	EVENTUALLY(PATIENCE_MS, kvmattrd_has_logged(d, "settings were read anew"));
	ck_assert(kvmattrd_has_logged(d, "[daemon] socket-group is another one now: that takes a "
					 "restart"));
	expect_group(GROUP_ID);
	kvmattrd_stop(d);
}
END_TEST

/* ---- Sockets of others ---------------------------------------------------------------------- */

static struct program_result run_daemon(void)
{
	const char *const argv[] = { KVMATTRD_PROGRAM, "-f",         "-r", d->runtime_dir,
				     "--state-dir",    d->state_dir, NULL };

	return program_run(argv);
}

static int listen_on(const char *path, int type)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, path, strlen(path));
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	return fd;
}

static const struct {
	bool is_control;
	int type;
} listeners[] = { { false, SOCK_SEQPACKET }, { true, SOCK_STREAM }, { false, SOCK_STREAM } };

START_TEST(a_socket_on_which_somebody_listens_is_not_taken_away)
{
	const char *path;
	struct program_result result;
	struct stat before, after;
	int listener;

	d = kvmattrd_prepare();
	path = listeners[_i].is_control ? d->control_socket : d->agent_socket;
	ck_assert_int_eq(mkdir(d->runtime_dir, 0755), 0);
	listener = listen_on(path, listeners[_i].type);
	ck_assert_int_eq(stat(path, &before), 0);
	for (int i = 0; i < 3; i++) { /* also when its queue is full */
		result = run_daemon();
		expect_result(&result, EXIT_FAILURE, "", "another program listens on");
		expect_result(&result, EXIT_FAILURE, "", path);
		program_forget(&result);
	}
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_uint_eq(after.st_ino, before.st_ino);
	/* Of those that it made itself nothing is left. */
	ck_assert_int_lt(
		access(listeners[_i].is_control ? d->agent_socket : d->control_socket, F_OK), 0);
	close(listener);
	/* Now nobody does. */
	kvmattrd_launch(d, NULL);
	control_close(control_connect(d));
	kvmattrd_stop(d);
}
END_TEST

int main(void)
{
	TCase *groups = harness_make_case("groups", 60);
	TCase *others = harness_make_case("sockets of others", 60);
	TCase *const cases[] = { others, groups, NULL };
	const char *why = other_users_why_not();

	if (why) {
		printf("# skipped: groups: %s\n", why);
	} else {
		tcase_add_test(groups,
			       the_sockets_are_of_the_group_that_is_named_and_its_members_connect);
		tcase_add_test(groups, the_group_may_have_a_name);
		tcase_add_test(groups, without_a_group_the_sockets_are_of_the_daemons);
		tcase_add_test(groups, who_is_not_root_can_name_a_group_that_it_is_in_and_no_other);
		tcase_add_test(groups, another_group_takes_a_restart);
	}
	tcase_add_loop_test(others, a_socket_on_which_somebody_listens_is_not_taken_away, 0,
			    N(listeners));
	return harness_run("sockets", cases);
}
