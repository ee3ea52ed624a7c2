/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/bench/other-user.h"

#include <err.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANYBODY       61099
#define HIGH_PRIORITY (-10)

const char *other_user_why_not(const char *program)
{
	int status = 0;
	pid_t child;

	if (geteuid() != 0)
		return "not root, so no other user can be had";
	child = fork();
	if (!child) {
		other_user_become(ANYBODY);
		_exit(access(program, X_OK) < 0);
	}
	waitpid(child, &status, 0);
	return status ? "another user may not execute the daemon where it is" : NULL;
}

void other_user_become(uid_t uid)
{
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		err(EXIT_FAILURE, "cannot be user %u", (unsigned int)uid);
	/* what bench_fork() asked for does not survive a change of user */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void other_user_go_first(void)
{
	if (setpriority(PRIO_PROCESS, 0, HIGH_PRIORITY) < 0)
		err(EXIT_FAILURE, "setpriority");
}
