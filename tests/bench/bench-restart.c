/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long updates stand still when the daemon is killed under load and started again at once: from
 * an agent's last answer before to its first one after, the longest of four agents.
 *
 * With a service manager that keeps the daemon's descriptors, and without, when all peers connect
 * anew.  Peer: how long the same daemon takes from its start to its first answer where there is
 * nothing to recover.
 */
#include "tests/bench/bench-daemon.h"
#include "tests/bench/bench-guest.h"
#include "tests/bench/samples.h"
#include "tests/integration/fake-manager.h"

#include <kvmattr.h>

#include <err.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define N_AGENTS        4
#define N_ROUNDS        31
#define PAGES_PER_AGENT UINT64_C(65536)
#define PAGES_PER_LIST  8
#define CALM_MS         100 /* between two kills */
#define ANSWERS_AFTER   20  /* by which an agent has shown that it goes on */

static const char *program;
static struct bench_place place;

struct agent {
	struct kvmattr *connection;
	pthread_t thread;
	uint64_t first;
	_Atomic unsigned int n_answers; /* in this round */
	_Atomic double longest_us;      /* between two of them */
};

static struct agent agents[N_AGENTS];
static _Atomic bool is_over;

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* ---- The daemon ------------------------------------------------------------------------------ */

static void pass_descriptors(void *manager)
{
	fake_manager_pass(manager);
}

static pid_t start_daemon(struct fake_manager *manager)
{
	if (!manager)
		return bench_daemon_start(&place, program, NULL, NULL);
	fake_manager_settle(manager);
	return bench_daemon_start(&place, program, pass_descriptors, manager);
}

/* Until it answers. */
static struct kvmattr *connect_to_daemon(void)
{
	struct kvmattr *connection;

	while (kvmattr_connect(place.agent_socket, "bench", &connection))
		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	return connection;
}

/* ---- The load -------------------------------------------------------------------------------- */

static void *run_agent(void *context)
{
	struct agent *agent = context;
	double last_us = samples_now_us();
	uint64_t next = 0;

	for (unsigned int n = 0; !is_over; n++) {
		uint64_t gfns[PAGES_PER_LIST];
		double us;

		for (unsigned int i = 0; i < PAGES_PER_LIST; i++)
			gfns[i] = agent->first + next++ % PAGES_PER_AGENT;
		bench_check(agent->connection,
			    kvmattr_protect(agent->connection, 1, 0x1,
					    n % 2 ? KVMATTR_READ : KVMATTR_RX, gfns, PAGES_PER_LIST,
					    NULL),
			    "kvmattr_protect()");
		us = samples_now_us() - last_us;
		last_us += us;
		if (us > agent->longest_us)
			agent->longest_us = us;
		agent->n_answers++;
	}
	return NULL;
}

static void start_agents(struct bench_guest *guest)
{
	is_over = false;
	for (unsigned int i = 0; i < N_AGENTS; i++) {
		agents[i].connection = bench_guest_open_agent(guest);
		agents[i].first = i * PAGES_PER_AGENT;
		if (pthread_create(&agents[i].thread, NULL, run_agent, &agents[i]))
			errx(EXIT_FAILURE, "cannot start a thread");
	}
}

static void end_agents(void)
{
	is_over = true;
	for (unsigned int i = 0; i < N_AGENTS; i++) {
		pthread_join(agents[i].thread, NULL);
		kvmattr_close(agents[i].connection);
	}
}

static void await_answers(void)
{
	for (unsigned int i = 0; i < N_AGENTS; i++)
		while (agents[i].n_answers < ANSWERS_AFTER)
			pause_ms(1);
}

/* ---- Figures --------------------------------------------------------------------------------- */

/* Returns the median. */
static double tell(const char *what, double *us)
{
	samples_sort(us, N_ROUNDS);
	printf("%-58s %7.1f %7.1f %7.1f ms\n", what, us[0] / 1000, us[N_ROUNDS / 2] / 1000,
	       us[N_ROUNDS - 1] / 1000);
	return us[N_ROUNDS / 2];
}

static double measure_starts(void)
{
	double us[N_ROUNDS];

	for (unsigned int i = 0; i < N_ROUNDS; i++) {
		double start = samples_now_us();
		pid_t daemon = start_daemon(NULL);

		kvmattr_close(connect_to_daemon());
		us[i] = samples_now_us() - start;
		bench_daemon_end(daemon, SIGTERM);
	}
	return tell("peer: a start with nothing to recover", us);
}

static double measure_kills(const char *what, bool has_manager)
{
	struct fake_manager *manager = has_manager ? fake_manager_new(place.directory) : NULL;
	pid_t daemon = start_daemon(manager);
	double us[N_ROUNDS] = { 0 };
	struct bench_guest guest;

	kvmattr_close(connect_to_daemon());
	bench_guest_start(&guest, &place, N_AGENTS * PAGES_PER_AGENT, NULL);
	start_agents(&guest);
	for (unsigned int round = 0; round < N_ROUNDS; round++) {
		pause_ms(CALM_MS);
		for (unsigned int i = 0; i < N_AGENTS; i++)
			agents[i].longest_us = 0;
		bench_daemon_end(daemon, SIGKILL);
		for (unsigned int i = 0; i < N_AGENTS; i++)
			agents[i].n_answers = 0;
		daemon = start_daemon(manager);
		await_answers();
		for (unsigned int i = 0; i < N_AGENTS; i++)
			if (agents[i].longest_us > us[round])
				us[round] = agents[i].longest_us;
	}
	end_agents();
	bench_guest_end(&guest);
	bench_daemon_end(daemon, SIGTERM);
	fake_manager_free(manager);
	return tell(what, us);
}

int main(int argc, char **argv)
{
	double start, kept, anew;

	if (argc != 2)
		errx(EXIT_FAILURE, "usage: %s KVMATTRD", argv[0]);
	program = argv[1];
	bench_place_make(&place);
	printf("The daemon killed %d times under %d agents, and started at once\n", N_ROUNDS,
	       N_AGENTS);
	printf("%-58s %7s %7s %7s\n", "how long updates stand still", "min", "median", "max");
	start = measure_starts();
	kept = measure_kills("a service manager keeps the descriptors", true);
	anew = measure_kills("nobody does: all connect anew", false);
	printf("ratios of the medians: %.2f with, %.2f without\n", kept / start, anew / start);
	bench_place_remove(&place);
	return EXIT_SUCCESS;
}
