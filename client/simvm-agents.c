/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/simvm-agents.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FAILURES_KEPT 4

/* One agent's part of the shared memory, apart from its neighbours' cache lines. */
struct agent_record {
	_Alignas(128) _Atomic uint64_t updates;
	_Atomic uint64_t failures;
	_Atomic uint64_t pages;
	_Atomic uint64_t commit;
	_Atomic uint64_t end_ns;
	struct simvm_failure kept[FAILURES_KEPT];
};

struct simvm_agents {
	const struct simvm_trace *trace;
	unsigned int pipeline;
	struct agent_record *records;
	struct simvm_outcome *outcomes; /* one for each list */
	size_t shared_size;
	unsigned int n_started;
	pid_t *pids; /* 0 once reaped */
	int report;  /* agents write a byte when they are ready; a hangup when all have ended */
	int start;   /* closed to let them loose */
	uint64_t start_ns;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- In the agent's process ---------------------------------------------------------------- */

struct agent {
	struct simvm_agents *agents;
	unsigned int number;
	struct kvmattr *connection;
	struct agent_record *record;
	size_t next_sent;     /* lists looked through, of all agents */
	size_t next_answered; /* answers come in the order of submission */
	char gone[128];       /* "", or why there is no VM any more */
};

/* The agent's first list from place i on. */
static size_t next_list(const struct agent *agent, size_t i)
{
	const struct simvm_trace *trace = agent->agents->trace;

	while (i < trace->n_lists && trace->lists[i].agent != agent->number)
		i++;
	return i;
}

static void add(_Atomic uint64_t *number, uint64_t n)
{
	/* The agent is the only writer. */
	atomic_store_explicit(number, atomic_load_explicit(number, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static void keep_failure(struct agent *agent, size_t list, const struct kvmattr_answer *answer)
{
	uint64_t n = atomic_load_explicit(&agent->record->failures, memory_order_relaxed);

	if (n < FAILURES_KEPT) {
		struct simvm_failure *kept = &agent->record->kept[n];

		kept->agent = agent->number;
		kept->list = list;
		kept->status = answer->status;
		kept->n_in_force = answer->n_in_force;
		snprintf(kept->text, sizeof(kept->text), "%s", answer->text);
	}
	add(&agent->record->failures, 1);
}

static void note_answer(void *context, const struct kvmattr_answer *answer)
{
	struct agent *agent = context;
	size_t list = next_list(agent, agent->next_answered);

	agent->next_answered = list + 1;
	agent->agents->outcomes[list].n_in_force = answer->n_in_force;
	agent->agents->outcomes[list].status = answer->status;
	if (answer->status != KVMATTR_OK)
		keep_failure(agent, list, answer);
	if (answer->status == KVMATTR_NO_VM)
		snprintf(agent->gone, sizeof(agent->gone), "%s", answer->text);
	add(&agent->record->pages, answer->n_in_force);
	add(&agent->record->updates, 1);
	if (answer->commit > atomic_load_explicit(&agent->record->commit, memory_order_relaxed))
		atomic_store_explicit(&agent->record->commit, answer->commit, memory_order_relaxed);
}

/*
 * Waits until at most half of the pipeline is full, so that the next message is worth sending.
 * Without a limit of ours, kvmattr_submit() waits where the daemon's is reached.
 */
static int make_room(struct agent *agent)
{
	unsigned int pipeline = agent->agents->pipeline;
	int r;

	if (!pipeline || kvmattr_in_flight(agent->connection) < pipeline)
		return 0;
	r = kvmattr_flush(agent->connection);
	while (r == 0 && kvmattr_in_flight(agent->connection) > pipeline / 2) {
		struct pollfd poll_fd = { .fd = kvmattr_fd(agent->connection), .events = POLLIN };

		if (poll(&poll_fd, 1, -1) < 0 && errno != EINTR)
			return -errno;
		r = kvmattr_dispatch(agent->connection);
	}
	return r;
}

static int send_lists(struct agent *agent)
{
	const struct simvm_trace *trace = agent->agents->trace;
	int r;

	for (size_t i = next_list(agent, 0); i < trace->n_lists; i = next_list(agent, i + 1)) {
		const struct simvm_list *list = &trace->lists[i];
		struct kvmattr_update update = {
			.kind = trace->kind,
			.value = list->value,
			.gfns = trace->gfns + list->first,
			.n = list->n,
		};

		if (trace->kind == KVMATTR_PROTECT) {
			update.layer = 1;
			update.restricted = KVMATTR_ALL_LOWER;
		}
		r = make_room(agent);
		if (r == 0)
			r = kvmattr_submit(agent->connection, &update, note_answer, agent, NULL);
		if (r != 0)
			return r;
	}
	return kvmattr_wait(agent->connection);
}

/*
 * The VMM's other descriptors are none of the agent's business; and were the owner's connection
 * held here, the daemon would not see it close when the VMM dies.
 */
static void close_all_but(int a, int b, int c)
{
	int keep[] = { a, b, c };
	unsigned int from = STDERR_FILENO + 1;

	for (int i = 0; i < 3; i++)
		for (int j = i + 1; j < 3; j++)
			if (keep[j] < keep[i]) {
				int smaller = keep[j];

				keep[j] = keep[i];
				keep[i] = smaller;
			}
	for (int i = 0; i < 3; i++) {
		if ((unsigned int)keep[i] > from)
			(void)close_range(from, (unsigned int)keep[i] - 1, 0);
		from = (unsigned int)keep[i] + 1;
	}
	(void)close_range(from, ~0u, 0);
}

static void complain(const struct agent *agent, const char *what, int r)
{
	const char *message = kvmattr_message(agent->connection);

	fprintf(stderr, "kvmattr-simvm: agent %u: %s: %s\n", agent->number, what,
		*message ? message : kvmattr_status_text(r));
}

static int run_agent(struct agent *agent, int socket, int report, int start)
{
	char name[40];
	char nothing;
	int r;

	snprintf(name, sizeof(name), "simvm-agent-%u", agent->number);
	r = kvmattr_adopt(socket, name, &agent->connection);
	if (r != 0) {
		complain(agent, "the daemon does not take it as an agent", r);
		return EXIT_FAILURE;
	}
	if (write(report, "", 1) != 1)
		return EXIT_FAILURE;
	while (read(start, &nothing, 1) < 0 && errno == EINTR)
		;
	r = send_lists(agent);
	if (r != 0)
		complain(agent, "its updates were not all answered", r);
	else if (*agent->gone)
		fprintf(stderr, "kvmattr-simvm: agent %u: its updates were in vain: %s\n",
			agent->number, agent->gone);
	atomic_store(&agent->record->end_ns, now_ns());
	kvmattr_close(agent->connection);
	return r == 0 && !*agent->gone ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- In the VMM's -------------------------------------------------------------------------- */

static int allocate_records(struct simvm_agents *agents)
{
	const struct simvm_trace *trace = agents->trace;
	size_t records_size = trace->n_agents * sizeof(struct agent_record);
	uint8_t *shared;

	agents->shared_size = records_size + trace->n_lists * sizeof(struct simvm_outcome);
	shared = mmap(NULL, agents->shared_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared == MAP_FAILED)
		return -errno;
	agents->records = (struct agent_record *)shared;
	agents->outcomes = (struct simvm_outcome *)(shared + records_size);
	for (size_t i = 0; i < trace->n_lists; i++)
		agents->outcomes[i].status = SIMVM_UNANSWERED;
	agents->pids = calloc(trace->n_agents, sizeof(*agents->pids));
	return agents->pids ? 0 : -ENOMEM;
}

static int fork_agent(struct simvm_agents *agents, unsigned int number, int socket, int report,
		      int start)
{
	struct agent agent = {
		.agents = agents,
		.number = number,
		.record = &agents->records[number],
	};
	sigset_t none;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid > 0) {
		agents->pids[number] = pid;
		agents->n_started++;
		return 0;
	}
	/* The VMM takes SIGINT and SIGTERM from its own loop; an agent simply ends. */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	close_all_but(socket, report, start);
	_exit(run_agent(&agent, socket, report, start));
}

/* Before the start there is no reason to end but a failure. */
static bool has_one_ended(const struct simvm_agents *agents)
{
	for (unsigned int i = 0; i < agents->n_started; i++) {
		siginfo_t info = { .si_pid = 0 };

		if (waitid(P_PID, (id_t)agents->pids[i], &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
		    info.si_pid)
			return true;
	}
	return false;
}

/* Each writes one byte. */
static int wait_until_ready(struct simvm_agents *agents)
{
	unsigned int n_ready = 0;

	while (n_ready < agents->n_started) {
		struct pollfd poll_fd = { .fd = agents->report, .events = POLLIN };
		char ready[64];
		ssize_t n;

		if (poll(&poll_fd, 1, 50) == 0) {
			if (has_one_ended(agents))
				return -EPIPE;
			continue;
		}
		n = read(agents->report, ready, sizeof(ready));
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EPIPE;
		if (n > 0)
			n_ready += (unsigned int)n;
	}
	return 0;
}

static int start_all(struct simvm_agents *agents, const int *sockets)
{
	int report[2], start[2];
	int r = 0;

	if (pipe2(report, O_CLOEXEC) < 0)
		return -errno;
	agents->report = report[0];
	if (pipe2(start, O_CLOEXEC) < 0) {
		r = -errno;
		close(report[1]);
		return r;
	}
	agents->start = start[1];
	for (unsigned int i = 0; r == 0 && i < agents->trace->n_agents; i++)
		r = fork_agent(agents, i, sockets[i], report[1], start[0]);
	close(report[1]);
	close(start[0]);
	return r;
}

int simvm_agents_start(const struct simvm_trace *trace, const int *sockets, unsigned int pipeline,
		       struct simvm_agents **ret)
{
	struct simvm_agents *agents = calloc(1, sizeof(*agents));
	int r = -ENOMEM;

	if (agents) {
		agents->trace = trace;
		agents->pipeline = pipeline;
		agents->report = agents->start = -1;
		r = allocate_records(agents);
	}
	if (r == 0)
		r = start_all(agents, sockets);
	for (unsigned int i = 0; i < trace->n_agents; i++)
		close(sockets[i]);
	if (r == 0)
		r = wait_until_ready(agents);
	if (r < 0) {
		simvm_agents_free(agents);
		return r;
	}
	*ret = agents;
	return 0;
}

void simvm_agents_go(struct simvm_agents *agents)
{
	agents->start_ns = now_ns();
	close(agents->start);
	agents->start = -1;
}

int simvm_agents_fd(const struct simvm_agents *agents)
{
	return agents->report;
}

unsigned int simvm_agents_wait(struct simvm_agents *agents)
{
	unsigned int n_failed = 0;

	for (unsigned int i = 0; i < agents->n_started; i++) {
		int status = 0;

		if (!agents->pids[i])
			continue;
		while (waitpid(agents->pids[i], &status, 0) < 0 && errno == EINTR)
			;
		agents->pids[i] = 0;
		n_failed += !WIFEXITED(status) || WEXITSTATUS(status) != EXIT_SUCCESS;
	}
	return n_failed;
}

void simvm_agents_free(struct simvm_agents *agents)
{
	if (!agents)
		return;
	for (unsigned int i = 0; i < agents->n_started; i++)
		if (agents->pids[i])
			kill(agents->pids[i], SIGKILL);
	(void)simvm_agents_wait(agents);
	if (agents->report >= 0)
		close(agents->report);
	if (agents->start >= 0)
		close(agents->start);
	if (agents->records)
		munmap(agents->records, agents->shared_size);
	free(agents->pids);
	free(agents);
}

struct simvm_progress simvm_agents_progress(const struct simvm_agents *agents)
{
	struct simvm_progress sum = { .updates = 0 };

	for (unsigned int i = 0; i < agents->trace->n_agents; i++) {
		const struct agent_record *record = &agents->records[i];
		uint64_t commit = atomic_load_explicit(&record->commit, memory_order_relaxed);

		sum.updates += atomic_load_explicit(&record->updates, memory_order_relaxed);
		sum.failures += atomic_load_explicit(&record->failures, memory_order_relaxed);
		sum.pages += atomic_load_explicit(&record->pages, memory_order_relaxed);
		if (commit > sum.commit)
			sum.commit = commit;
	}
	return sum;
}

const struct simvm_outcome *simvm_agents_outcome(const struct simvm_agents *agents, size_t list)
{
	return &agents->outcomes[list];
}

uint64_t simvm_agents_elapsed_ns(const struct simvm_agents *agents)
{
	uint64_t last = agents->start_ns;

	for (unsigned int i = 0; i < agents->trace->n_agents; i++) {
		uint64_t ns = atomic_load(&agents->records[i].end_ns);

		if (!ns) /* still at it */
			return now_ns() - agents->start_ns;
		if (ns > last)
			last = ns;
	}
	return last - agents->start_ns;
}

const struct simvm_failure *simvm_agents_failure(const struct simvm_agents *agents, size_t i)
{
	for (unsigned int a = 0; a < agents->trace->n_agents; a++) {
		uint64_t n = atomic_load(&agents->records[a].failures);

		if (n > FAILURES_KEPT)
			n = FAILURES_KEPT;
		if (i < n)
			return &agents->records[a].kept[i];
		i -= n;
	}
	return NULL;
}
