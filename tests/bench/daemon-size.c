/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/bench/daemon-size.h"

#include <dirent.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAUSE_MS 10u

static long read_status(pid_t pid, const char *name)
{
	char path[32], line[128];
	long kib = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	if (!file)
		err(EXIT_FAILURE, "%s", path);
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			kib = strtol(line + strlen(name), NULL, 10);
	fclose(file);
	return kib;
}

static unsigned int count_fds(pid_t pid)
{
	unsigned int n = 0;
	char path[32];
	DIR *directory;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	directory = opendir(path);
	if (!directory)
		err(EXIT_FAILURE, "%s", path);
	for (const struct dirent *entry; (entry = readdir(directory));)
		n += entry->d_name[0] != '.';
	closedir(directory);
	return n;
}

struct daemon_size daemon_size_now(pid_t pid)
{
	return (struct daemon_size){ .kib = read_status(pid, "VmRSS:"),
				     .highest_kib = read_status(pid, "VmHWM:"),
				     .n_fds = count_fds(pid) };
}

static void pause_a_while(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = PAUSE_MS * 1000000 }, NULL);
}

bool daemon_size_await_fds(pid_t pid, unsigned int n_fds, unsigned int timeout_ms)
{
	for (unsigned int ms = 0; ms < timeout_ms; ms += PAUSE_MS) {
		if (count_fds(pid) <= n_fds)
			return true;
		pause_a_while();
	}
	warnx("the daemon has %u descriptors, not %u", count_fds(pid), n_fds);
	return false;
}

bool daemon_size_await_memory(pid_t pid, long kib, unsigned int timeout_ms)
{
	for (unsigned int ms = 0; ms < timeout_ms; ms += PAUSE_MS) {
		if (read_status(pid, "VmRSS:") <= kib)
			return true;
		pause_a_while();
	}
	warnx("the daemon has %ld KiB of memory, not %ld", read_status(pid, "VmRSS:"), kib);
	return false;
}
