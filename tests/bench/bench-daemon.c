/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/bench/bench-daemon.h"

#include <err.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_MS 10000

void bench_place_make(struct bench_place *place)
{
	snprintf(place->directory, sizeof(place->directory), "/tmp/kvmattr-bench.XXXXXX");
	if (!mkdtemp(place->directory))
		err(EXIT_FAILURE, "%s", place->directory);
	snprintf(place->runtime_dir, sizeof(place->runtime_dir), "%s/run", place->directory);
	snprintf(place->state_dir, sizeof(place->state_dir), "%s/state", place->directory);
	snprintf(place->agent_socket, sizeof(place->agent_socket), "%s/agent.sock",
		 place->runtime_dir);
	snprintf(place->control_socket, sizeof(place->control_socket), "%s/control.sock",
		 place->runtime_dir);
	snprintf(place->configuration, sizeof(place->configuration), "%s/kvmattrd.conf",
		 place->directory);
	bench_place_configure(place, "[daemon]\nlog-level = error\n");
}

void bench_place_configure(const struct bench_place *place, const char *settings)
{
	FILE *file = fopen(place->configuration, "we");

	if (!file || fputs(settings, file) < 0 || fclose(file) != 0)
		err(EXIT_FAILURE, "%s", place->configuration);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
	(void)status;
	(void)type;
	(void)where;
	return remove(path);
}

void bench_place_remove(const struct bench_place *place)
{
	if (nftw(place->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0)
		warn("%s is left behind", place->directory);
}

pid_t bench_fork(void)
{
	pid_t pid = fork();

	if (pid < 0)
		err(EXIT_FAILURE, "fork");
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

pid_t bench_daemon_start(const struct bench_place *place, const char *program,
			 void (*before)(void *context), void *context)
{
	pid_t pid = bench_fork();

	if (pid)
		return pid;
	if (before)
		before(context);
	execl(program, program, "--foreground", "--allow-simulated", "--config",
	      place->configuration, "--runtime-dir", place->runtime_dir, "--state-dir",
	      place->state_dir, (char *)NULL);
	err(EXIT_FAILURE, "%s", program);
}

void bench_daemon_await(const struct bench_place *place)
{
	struct stat status;

	for (int ms = 0; stat(place->control_socket, &status) < 0; ms++) {
		if (ms == START_MS)
			errx(EXIT_FAILURE, "the daemon does not start");
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}

void bench_daemon_end(pid_t pid, int number)
{
	kill(pid, number);
	waitpid(pid, NULL, 0);
}
