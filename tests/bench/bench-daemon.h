/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A daemon that is measured: a directory of its own under /tmp, started there, and ended.
 *
 * What goes wrong here ends the bench, with a message.  The daemon dies with the bench.
 */
#ifndef BENCH_DAEMON_H
#define BENCH_DAEMON_H

#include <sys/types.h>

struct bench_place {
	char directory[40];
	char runtime_dir[48];
	char state_dir[48];
	char agent_socket[64];
	char control_socket[64];
	char configuration[64]; /* the daemon's file of settings */
};

/* The daemon there tells of nothing but errors. */
void bench_place_make(struct bench_place *place);
/* Other settings, with sections, as in kvmattrd.conf(5). */
void bench_place_configure(const struct bench_place *place, const char *settings);
void bench_place_remove(const struct bench_place *place);

/* A child that is killed when we end. */
pid_t bench_fork(void);

/*
 * Starts program there; simulated VMs are welcome.  before() is called in its process before it is
 * the daemon, unless it is NULL.
 */
pid_t bench_daemon_start(const struct bench_place *place, const char *program,
			 void (*before)(void *context), void *context);
/* Waits until it listens. */
void bench_daemon_await(const struct bench_place *place);
/* With SIGTERM or SIGKILL. */
void bench_daemon_end(pid_t pid, int number);

#endif
