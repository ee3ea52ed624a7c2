/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How large a running daemon is, seen from outside: memory and descriptors.
 */
#ifndef BENCH_DAEMON_SIZE_H
#define BENCH_DAEMON_SIZE_H

#include <stdbool.h>
#include <sys/types.h>

struct daemon_size {
	long kib; /* resident */
	long highest_kib;
	unsigned int n_fds;
};

struct daemon_size daemon_size_now(pid_t pid);

/* Waits until it has no more than that.  False, with a message, if that is not so in time. */
bool daemon_size_await_fds(pid_t pid, unsigned int n_fds, unsigned int timeout_ms);
bool daemon_size_await_memory(pid_t pid, long kib, unsigned int timeout_ms);

#endif
