/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kills the daemon at every system call that touches its journal, its sockets or any other
 * descriptor, one run for each, and starts it again under a guest that goes on meanwhile (guest.h).
 *
 * The calls are counted, not chosen: run k kills at the k-th, until a run comes to its end alive.
 * Every such run is one line of TAP.  What has to hold after each: the guest saw nothing but a
 * pause, got every answer that was foretold, and finds its protections in force; and in the journal
 * that is left no element of an update came into force twice.
 */
#include "daemon/journal/checkpoint.h"
#include "tests/crash/guest.h"
#include "tests/crash/tracer.h"
#include "tests/integration/fake-manager.h"

#include <kvmattr.h>

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Longer than any run takes that does not hang. */
#define RUN_TIMEOUT_S 120

/* In what manner the daemon lives and dies. */
static const struct manner {
	const char *name;
	const char *configuration;
	bool has_fd_store;      /* peers keep their sockets; otherwise they connect anew */
	bool kills_second_life; /* the first life ends half-way; it is the second that is counted */
	unsigned int n_bursts;
	unsigned int pages_per_update;
} manners[] = {
	{ "peers connect anew", "", false, false, 12, 8 },
	{ "fd store", "", true, false, 12, 8 },
	{ "durability power", "[journal]\ndurability = power\n", false, false, 8, 8 },
	{ "checkpoints", "[journal]\nsegment-mib = 1\nmax-mib = 1\n", false, false, 6, 8000 },
	{ "dies again while it recovers", "", false, true, 6, 8 },
	{ "dies again, with its fd store", "", true, true, 6, 8 },
};
#define N_MANNERS (sizeof(manners) / sizeof(*manners))

/* What the workers share. */
struct shared {
	uint64_t next_kill; /* to be tried */
	uint64_t n_points;  /* of this manner, so far: kills that happened */
	uint64_t n_alive;   /* runs that came to their end without */
	uint64_t n_failed;
	uint64_t first_life; /* where the first life ends if it is the second that is counted */
	uint64_t by_call[512];
	uint64_t n_lines;
};

struct run {
	const struct manner *manner;
	const struct shared *shared;
	char directory[64];
	char runtime_dir[80];
	char state_dir[80];
	char agent_socket[96];
	char configuration[96];
	char log[80];
	struct fake_manager *manager;
	struct tracer daemon;
	pid_t guest;
};

/* ---- Files ----------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
	(void)status;
	(void)type;
	(void)where;
	return remove(path);
}

static void prepare_directory(struct run *run)
{
	FILE *file;

	snprintf(run->directory, sizeof(run->directory), "/tmp/kvmattrd-crash-XXXXXX");
	if (!mkdtemp(run->directory))
		err(EXIT_FAILURE, "%s", run->directory);
	snprintf(run->runtime_dir, sizeof(run->runtime_dir), "%s/run", run->directory);
	snprintf(run->state_dir, sizeof(run->state_dir), "%s/state", run->directory);
	snprintf(run->agent_socket, sizeof(run->agent_socket), "%s/agent.sock", run->runtime_dir);
	snprintf(run->configuration, sizeof(run->configuration), "%s/conf", run->directory);
	snprintf(run->log, sizeof(run->log), "%s/log", run->directory);
	file = fopen(run->configuration, "we");
	if (!file || fputs(run->manner->configuration, file) < 0 || fclose(file))
		err(EXIT_FAILURE, "%s", run->configuration);
}

static void show_log(const struct run *run)
{
	FILE *log = fopen(run->log, "re");
	char line[1024];

	while (log && fgets(line, sizeof(line), log))
		fprintf(stderr, "# %s", line);
	if (log)
		fclose(log);
}

/* ---- The daemon and the guest --------------------------------------------------------------- */

static void pass_descriptors(void *context)
{
	const struct run *run = context;

	if (run->manager)
		fake_manager_pass(run->manager);
}

/* Another life of the daemon, that ends at its kill_at-th call; 0: when it is asked to. */
static void start_daemon(struct run *run, uint64_t kill_at)
{
	const char *program = getenv("KVMATTRD");
	char *arguments[] = {
		(char *)(program && *program ? program : "daemon/kvmattrd"),
		(char *)"--foreground",
		(char *)"--allow-simulated",
		(char *)"--runtime-dir",
		run->runtime_dir,
		(char *)"--state-dir",
		run->state_dir,
		(char *)"--config",
		run->configuration,
		NULL,
	};

	if (run->manager)
		fake_manager_settle(run->manager);
	tracer_start(&run->daemon, arguments, run->log, pass_descriptors, run, kill_at);
}

static void start_guest(struct run *run)
{
	const struct guest_options options = {
		.agent_socket = run->agent_socket,
		.n_bursts = run->manner->n_bursts,
		.pages_per_update = run->manner->pages_per_update,
		.sockets_end = !run->manner->has_fd_store,
	};

	run->guest = fork();
	if (run->guest < 0)
		err(EXIT_FAILURE, "fork");
	if (run->guest)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	_exit(guest_live(&options));
}

static bool ended_well(int status)
{
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

/* ---- What the journal says afterwards -------------------------------------------------------- */

/* An element that came into force. */
struct element {
	uint64_t session;
	uint64_t seqno;
	uint64_t place;
};

struct elements {
	struct element *element;
	size_t n;
	size_t capacity;
};

static void note_element(struct elements *elements, struct element element)
{
	if (elements->n == elements->capacity) {
		elements->capacity = elements->capacity ? 2 * elements->capacity : 4096;
		elements->element = reallocarray(elements->element, elements->capacity,
						 sizeof(*elements->element));
		if (!elements->element)
			err(EXIT_FAILURE, "elements");
	}
	elements->element[elements->n++] = element;
}

static void note_step(void *context, const struct replay_step *step)
{
	for (uint64_t i = 0; i < step->n; i++)
		note_element(context, (struct element){
					      .session = step->session ? step->session->id : 0,
					      .seqno = step->seqno,
					      .place = step->place + i,
				      });
}

static int compare_elements(const void *a, const void *b)
{
	const struct element *one = a, *other = b;

	if (one->session != other->session)
		return one->session < other->session ? -1 : 1;
	if (one->seqno != other->seqno)
		return one->seqno < other->seqno ? -1 : 1;
	return (one->place > other->place) - (one->place < other->place);
}

static bool are_unique(struct elements *elements)
{
	qsort(elements->element, elements->n, sizeof(*elements->element), compare_elements);
	for (size_t i = 1; i < elements->n; i++)
		/* The registration's own have no numbers. */
		if (elements->element[i].session &&
		    !compare_elements(&elements->element[i - 1], &elements->element[i])) {
			fprintf(stderr,
				"# session %" PRIu64 ", seqno %" PRIu64 ", element %" PRIu64
				" came into force twice\n",
				elements->element[i].session, elements->element[i].seqno,
				elements->element[i].place);
			return false;
		}
	return true;
}

static bool check_journal(int parent_fd, const char *name)
{
	struct elements elements = { 0 };
	const struct replay_request request = {
		.limit = REPLAY_ALL,
		.is_from_start = true,
		.observer = { .before = NULL, .after = note_step, .context = &elements },
	};
	struct replay_report report;
	struct journal_error error;
	struct replay replay;
	bool is_good = false;
	int r;

	replay_init(&replay);
	r = journal_replay(parent_fd, name, &request, &replay, &report, &error);
	if (r < 0)
		fprintf(stderr, "# the journal %s cannot be replayed: %s, offset %" PRIu64 ": %s\n",
			name, error.file, error.offset, error.text);
	else
		is_good = are_unique(&elements);
	replay_destroy(&replay);
	free(elements.element);
	return is_good;
}

static bool check_journals(const struct run *run)
{
	char path[96];
	struct dirent *entry;
	bool is_good = true;
	DIR *directory;

	snprintf(path, sizeof(path), "%s/vms", run->state_dir);
	directory = opendir(path);
	if (!directory)
		err(EXIT_FAILURE, "%s", path);
	while ((entry = readdir(directory)))
		if (entry->d_name[0] != '.')
			is_good &= check_journal(dirfd(directory), entry->d_name);
	closedir(directory);
	return is_good;
}

/* ---- A run ----------------------------------------------------------------------------------- */

static void start_lives(struct run *run, uint64_t kill_at)
{
	if (!run->manner->kills_second_life) {
		start_daemon(run, kill_at);
		start_guest(run);
		return;
	}
	start_daemon(run, run->shared->first_life);
	start_guest(run);
	tracer_wait(&run->daemon);
	start_daemon(run, kill_at);
}

/* Waits for the guest, whichever daemon it has by then. */
static bool wait_for_guest(struct run *run)
{
	int status;

	if (waitpid(run->guest, &status, 0) < 0)
		err(EXIT_FAILURE, "waitpid");
	return ended_well(status);
}

/* The daemon that is left stops when it is asked to. */
static bool stop_daemon(struct run *run, struct tracer_report *ret_report)
{
	kill(run->daemon.program, SIGTERM);
	*ret_report = tracer_wait(&run->daemon);
	return ret_report->call >= 0 || ended_well(ret_report->status);
}

/* Until it answers. */
static void await_daemon(const struct run *run)
{
	struct kvmattr *connection;

	while (kvmattr_connect(run->agent_socket, "check-crash", &connection))
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	kvmattr_close(connection);
}

/* One life of the guest.  The daemon is killed at its kill_at-th call, unless it is through before. */
static bool live(struct run *run, uint64_t kill_at, struct tracer_report *ret_killed)
{
	struct tracer_report last;
	bool is_good = true;

	start_lives(run, kill_at);
	if (!tracer_ends_before(&run->daemon, run->guest)) {
		is_good = wait_for_guest(run);
		is_good &= stop_daemon(run, ret_killed);
		if (ret_killed->call < 0)
			return is_good;
		start_daemon(run, 0);
	} else {
		*ret_killed = tracer_wait(&run->daemon);
		if (ret_killed->call < 0)
			fprintf(stderr, "# the daemon ended by itself, with status 0x%x\n",
				ret_killed->status);
		start_daemon(run, 0);
		is_good = wait_for_guest(run) && ret_killed->call >= 0;
	}
	await_daemon(run);
	is_good &= stop_daemon(run, &last);
	return is_good;
}

static bool run_once(const struct manner *manner, const struct shared *shared, uint64_t kill_at,
		     struct tracer_report *ret_killed)
{
	struct run run = { .manner = manner, .shared = shared };
	bool is_good;

	prepare_directory(&run);
	if (manner->has_fd_store)
		run.manager = fake_manager_new(run.directory);
	is_good = live(&run, kill_at, ret_killed);
	is_good &= check_journals(&run);
	if (!is_good)
		show_log(&run);
	fake_manager_free(run.manager);
	nftw(run.directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return is_good;
}

/* ---- All of them ----------------------------------------------------------------------------- */

/* What a run's process hands to its worker. */
struct result {
	struct tracer_report killed;
	bool is_good;
};

/* In a process of its own: if it hangs, it ends, and everything that it started with it. */
static struct result run_apart(const struct manner *manner, const struct shared *shared,
			       uint64_t kill_at)
{
	struct result result = { .killed.call = -1 };
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0)
		err(EXIT_FAILURE, "pipe2");
	child = fork();
	if (child < 0)
		err(EXIT_FAILURE, "fork");
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(RUN_TIMEOUT_S);
		result.is_good = run_once(manner, shared, kill_at, &result.killed);
		_exit(write(ends[1], &result, sizeof(result)) != sizeof(result));
	}
	close(ends[1]);
	if (read(ends[0], &result, sizeof(result)) != sizeof(result))
		fprintf(stderr, "# the run did not come to its end\n");
	close(ends[0]);
	waitpid(child, NULL, 0);
	return result;
}

static void tell(struct shared *shared, const struct manner *manner, uint64_t kill_at,
		 const struct result *result)
{
	uint64_t line = __atomic_add_fetch(&shared->n_lines, 1, __ATOMIC_RELAXED);

	if (result->killed.call < 0 && result->is_good)
		printf("ok %" PRIu64 " - %s: through after %" PRIu64 " calls\n", line, manner->name,
		       result->killed.n_calls);
	else
		printf("%s %" PRIu64 " - %s: killed before call %" PRIu64 ", %s\n",
		       result->is_good ? "ok" : "not ok", line, manner->name, kill_at,
		       result->killed.call < 0 ? "?" : tracer_call_name(result->killed.call));
	fflush(stdout);
}

/* Until as many runs as there are workers have come to their end alive. */
static void work(struct shared *shared, const struct manner *manner, uint64_t n_workers)
{
	while (__atomic_load_n(&shared->n_alive, __ATOMIC_RELAXED) < n_workers) {
		uint64_t kill_at = __atomic_add_fetch(&shared->next_kill, 1, __ATOMIC_RELAXED);
		struct result result = run_apart(manner, shared, kill_at);

		if (!result.is_good)
			__atomic_add_fetch(&shared->n_failed, 1, __ATOMIC_RELAXED);
		if (result.killed.call >= 0) {
			__atomic_add_fetch(&shared->n_points, 1, __ATOMIC_RELAXED);
			__atomic_add_fetch(&shared->by_call[result.killed.call], 1,
					   __ATOMIC_RELAXED);
		} else {
			__atomic_add_fetch(&shared->n_alive, 1, __ATOMIC_RELAXED);
		}
		tell(shared, manner, kill_at, &result);
	}
}

/* Where the first life ends if it is not the one that is counted: half-way. */
static uint64_t find_half_way(const struct shared *shared, struct manner manner)
{
	struct result result;

	manner.kills_second_life = false;
	result = run_apart(&manner, shared, 0);
	if (!result.is_good)
		errx(EXIT_FAILURE, "%s: fails without a crash", manner.name);
	return result.killed.n_calls / 2;
}

static void enumerate(struct shared *shared, const struct manner *manner, uint64_t n_workers)
{
	shared->next_kill = shared->n_alive = 0;
	if (manner->kills_second_life)
		shared->first_life = find_half_way(shared, *manner);
	for (uint64_t i = 0; i < n_workers; i++) {
		pid_t worker = fork();

		if (worker < 0)
			err(EXIT_FAILURE, "fork");
		if (worker)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		work(shared, manner, n_workers);
		_exit(EXIT_SUCCESS);
	}
	while (wait(NULL) > 0 || errno == EINTR)
		;
}

static void tell_total(const struct shared *shared)
{
	printf("# %" PRIu64 " crash points:", shared->n_points);
	for (size_t i = 0; i < sizeof(shared->by_call) / sizeof(*shared->by_call); i++)
		if (shared->by_call[i])
			printf(" %s %" PRIu64, tracer_call_name((int64_t)i), shared->by_call[i]);
	printf("\n1..%" PRIu64 "\n", shared->n_lines);
}

/* Without arguments all; "MANNER" one manner, counted from 1; "MANNER CALL" a single run of it. */
int main(int argc, char **argv)
{
	long n_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t first = argc > 1 ? strtoul(argv[1], NULL, 10) - 1 : 0;
	size_t end = argc > 1 ? first + 1 : N_MANNERS;
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		err(EXIT_FAILURE, "mmap");
	if (first >= N_MANNERS)
		errx(EXIT_FAILURE, "there are manners 1 to %zu", N_MANNERS);
	if (argc > 2) {
		uint64_t kill_at = strtoull(argv[2], NULL, 10);
		struct result result;

		if (manners[first].kills_second_life)
			shared->first_life = find_half_way(shared, manners[first]);
		result = run_apart(&manners[first], shared, kill_at);
		tell(shared, &manners[first], kill_at, &result);
		return result.is_good ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	for (size_t i = first; i < end; i++)
		enumerate(shared, &manners[i], n_cpus > 0 ? (uint64_t)n_cpus : 1);
	tell_total(shared);
	return shared->n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
