/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/other-users.h"

#include <grp.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

const char *other_users_why_not(void)
{
	pid_t child;
	int status = 0;

	if (geteuid() != 0)
		return "not root, so no other user can be had";
	child = fork();
	if (!child)
		_exit(setgroups(0, NULL) < 0 || setgid(DAEMON_ID) < 0 || setuid(DAEMON_ID) < 0 ||
		      access(KVMATTRD_PROGRAM, X_OK) < 0);
	waitpid(child, &status, 0);
	return status ? "another user may not execute the daemon where it is" : NULL;
}

struct kvmattrd *other_users_start(const char *configuration)
{
	struct kvmattrd *d = kvmattrd_prepare();

	umask(022);
	ck_assert_int_eq(chmod(d->directory, 0755), 0);
	ck_assert_int_eq(chown(d->directory, DAEMON_ID, DAEMON_ID), 0);
	d->uid = DAEMON_ID;
	kvmattrd_launch(d, configuration);
	return d;
}

struct control_client *control_connect_as(const struct kvmattrd *d, uid_t uid, gid_t gid)
{
	struct control_client *client;

	ck_assert_int_eq(setgroups(0, NULL), 0);
	ck_assert_int_eq(setegid(gid), 0);
	ck_assert_int_eq(seteuid(uid), 0);
	client = control_connect(d);
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(setegid(0), 0);
	return client;
}
