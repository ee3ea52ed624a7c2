/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long updates stand still when the daemon is killed under load and started again at once: from
 * an agent's last answer before to its first one after, the longest of four agents.
 *
 * With a service manager that keeps the daemon's descriptors, and without, when all peers connect
 * anew.  Peer: how long the same daemon takes from its start to its first answer where there is
 * nothing to recover.
 */
#include "client/simvm-kernel.h"
#include "tests/integration/fake-manager.h"

#include <kvmattr.h>

#include <err.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define N_AGENTS        4
#define N_ROUNDS        31
#define PAGES_PER_AGENT UINT64_C(65536)
#define PAGES_PER_LIST  8
#define CALM_MS         100 /* between two kills */
#define ANSWERS_AFTER   20  /* by which an agent has shown that it goes on */

static const char *program;
static char directory[] = "/tmp/kvmattrd-bench-XXXXXX";
static char runtime_dir[64], state_dir[64], agent_socket[80];

struct agent {
	struct kvmattr *connection;
	pthread_t thread;
	uint64_t first;
	_Atomic unsigned int n_answers; /* in this round */
	_Atomic uint64_t longest_us;    /* between two of them */
};

static struct agent agents[N_AGENTS];
static _Atomic bool is_over;

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* ---- The daemon ------------------------------------------------------------------------------ */

static pid_t start_daemon(struct fake_manager *manager)
{
	pid_t pid;

	if (manager)
		fake_manager_settle(manager);
	pid = fork();
	if (pid < 0)
		err(EXIT_FAILURE, "fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (manager)
		fake_manager_pass(manager);
	execl(program, program, "--foreground", "--allow-simulated", "--log-level", "error",
	      "--runtime-dir", runtime_dir, "--state-dir", state_dir, (char *)NULL);
	_exit(127);
}

static void end_daemon(pid_t pid, int number)
{
	kill(pid, number);
	waitpid(pid, NULL, 0);
}

/* Until it answers. */
static struct kvmattr *connect_to_daemon(void)
{
	struct kvmattr *connection;

	while (kvmattr_connect(agent_socket, "bench", &connection))
		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	return connection;
}

/* ---- The load -------------------------------------------------------------------------------- */

static void check(struct kvmattr *connection, int result, const char *what)
{
	if (result)
		errx(EXIT_FAILURE, "%s: %d: %s", what, result, kvmattr_message(connection));
}

static void *run_agent(void *context)
{
	struct agent *agent = context;
	uint64_t last_us = now_us(), next = 0;

	for (unsigned int n = 0; !is_over; n++) {
		uint64_t gfns[PAGES_PER_LIST], us;

		for (unsigned int i = 0; i < PAGES_PER_LIST; i++)
			gfns[i] = agent->first + next++ % PAGES_PER_AGENT;
		check(agent->connection,
		      kvmattr_protect(agent->connection, 1, 0x1, n % 2 ? KVMATTR_READ : KVMATTR_RX,
				      gfns, PAGES_PER_LIST, NULL),
		      "kvmattr_protect()");
		us = now_us() - last_us;
		last_us += us;
		if (us > agent->longest_us)
			agent->longest_us = us;
		agent->n_answers++;
	}
	return NULL;
}

static struct kvmattr *start_guest(struct simvm_kernel *kernel)
{
	const struct kvmattr_executor_ops executor = simvm_kernel_executor_ops(kernel);
	const struct kvmattr_view view = { .fd = simvm_kernel_fd(kernel, 0) };
	const struct kvmattr_ram ram = { .range = { 0, N_AGENTS * PAGES_PER_AGENT } };
	const struct kvmattr_vm vm = { .name = "bench",
				       .views = &view,
				       .n_views = 1,
				       .ram = &ram,
				       .n_ram = 1,
				       .simulated = &executor };
	struct kvmattr *owner = connect_to_daemon();

	check(owner, kvmattr_register(owner, &vm, NULL), "kvmattr_register()");
	check(owner, kvmattr_start_executor(owner), "kvmattr_start_executor()");
	check(owner, kvmattr_enable_layer(owner, 1, KVMATTR_RWX, 0), "kvmattr_enable_layer()");
	is_over = false;
	for (unsigned int i = 0; i < N_AGENTS; i++) {
		int fd;

		check(owner, kvmattr_open_agent(owner, 1, 0, &fd), "kvmattr_open_agent()");
		check(NULL, kvmattr_adopt(fd, "agent", &agents[i].connection), "kvmattr_adopt()");
		agents[i].first = i * PAGES_PER_AGENT;
		if (pthread_create(&agents[i].thread, NULL, run_agent, &agents[i]))
			errx(EXIT_FAILURE, "cannot start a thread");
	}
	return owner;
}

static void end_guest(struct kvmattr *owner)
{
	is_over = true;
	for (unsigned int i = 0; i < N_AGENTS; i++) {
		pthread_join(agents[i].thread, NULL);
		kvmattr_close(agents[i].connection);
	}
	kvmattr_close(owner);
}

static void await_answers(void)
{
	for (unsigned int i = 0; i < N_AGENTS; i++)
		while (agents[i].n_answers < ANSWERS_AFTER)
			pause_ms(1);
}

/* ---- Figures --------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	const uint64_t *one = a, *other = b;

	return (*one > *other) - (*one < *other);
}

static uint64_t tell(const char *what, uint64_t *us)
{
	qsort(us, N_ROUNDS, sizeof(*us), compare);
	printf("%-58s %7.1f %7.1f %7.1f ms\n", what, (double)us[0] / 1000,
	       (double)us[N_ROUNDS / 2] / 1000, (double)us[N_ROUNDS - 1] / 1000);
	return us[N_ROUNDS / 2];
}

static uint64_t measure_starts(void)
{
	uint64_t us[N_ROUNDS];

	for (unsigned int i = 0; i < N_ROUNDS; i++) {
		uint64_t start = now_us();
		pid_t daemon = start_daemon(NULL);

		kvmattr_close(connect_to_daemon());
		us[i] = now_us() - start;
		end_daemon(daemon, SIGTERM);
	}
	return tell("peer: a start with nothing to recover", us);
}

static uint64_t measure_kills(const char *what, bool has_manager)
{
	struct simvm_kernel_options options = { .abi = KVMATTR_ABI_DENY,
						.n_views = 1,
						.n_pages = N_AGENTS * PAGES_PER_AGENT };
	struct fake_manager *manager = has_manager ? fake_manager_new(directory) : NULL;
	struct simvm_kernel *kernel;
	struct kvmattr *owner;
	uint64_t us[N_ROUNDS] = { 0 };
	pid_t daemon = start_daemon(manager);

	if (simvm_kernel_new(&options, &kernel))
		errx(EXIT_FAILURE, "cannot make a simulated kernel");
	owner = start_guest(kernel);
	for (unsigned int round = 0; round < N_ROUNDS; round++) {
		pause_ms(CALM_MS);
		for (unsigned int i = 0; i < N_AGENTS; i++)
			agents[i].longest_us = 0;
		end_daemon(daemon, SIGKILL);
		for (unsigned int i = 0; i < N_AGENTS; i++)
			agents[i].n_answers = 0;
		daemon = start_daemon(manager);
		await_answers();
		for (unsigned int i = 0; i < N_AGENTS; i++)
			if (agents[i].longest_us > us[round])
				us[round] = agents[i].longest_us;
	}
	end_guest(owner);
	end_daemon(daemon, SIGTERM);
	simvm_kernel_free(kernel);
	fake_manager_free(manager);
	return tell(what, us);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
	(void)status;
	(void)type;
	(void)where;
	return remove(path);
}

int main(int argc, char **argv)
{
	uint64_t start, kept, anew;

	if (argc != 2)
		errx(EXIT_FAILURE, "usage: %s KVMATTRD", argv[0]);
	program = argv[1];
	if (!mkdtemp(directory))
		err(EXIT_FAILURE, "%s", directory);
	snprintf(runtime_dir, sizeof(runtime_dir), "%s/run", directory);
	snprintf(state_dir, sizeof(state_dir), "%s/state", directory);
	snprintf(agent_socket, sizeof(agent_socket), "%s/agent.sock", runtime_dir);

	printf("The daemon killed %d times under %d agents, and started at once\n", N_ROUNDS,
	       N_AGENTS);
	printf("%-58s %7s %7s %7s\n", "how long updates stand still", "min", "median", "max");
	start = measure_starts();
	kept = measure_kills("a service manager keeps the descriptors", true);
	anew = measure_kills("nobody does: all connect anew", false);
	printf("ratios of the medians: %.2f with, %.2f without\n", (double)kept / (double)start,
	       (double)anew / (double)start);
	nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return EXIT_SUCCESS;
}
