/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a hostile user can do to everyone else: 64 clients of eight kinds (besieger.h) beside a
 * boot trace, an agent that makes one update at a time, and a client that asks daemon.get.
 *
 * The peer is the same without them; rounds with and without alternate.  A bare process that only
 * echoes is asked beside it all: what it is late by is the machine's doing.  The daemon is as it is by
 * default, but for its sockets, which all may open; it, the peaceful and the hostile are three
 * users.  What the others lose is to be the daemon's doing, not the scheduler's: the besiegers have
 * the lowest priority, and where there are three CPUs one of their own; the daemon and those whose
 * answers are timed go before the boot trace.  That is so in all rounds.
 *
 * Nothing is asserted about time.  It fails if the daemon dies, if who is peaceful is refused or
 * cut off, if a kind of besieger did not come to attack, and if the daemon, once they are gone,
 * does not come down to the descriptors and the memory that it had.
 *
 * Usage: bench-siege [--seconds=N] [--clients=N] [--kinds=NAME,…] KVMATTRD KVMATTR-SIMVM
 */
#include "tests/bench/bench-daemon.h"
#include "tests/bench/besiegers.h"
#include "tests/bench/daemon-size.h"
#include "tests/bench/other-user.h"
#include "tests/bench/peaceful.h"
#include "tests/bench/samples.h"

#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_SECONDS 60
#define N_ROUNDS        3
#define N_OF_A_KIND     8u
#define ALL_KINDS       ((1u << BESIEGERS_N_KINDS) - 1)

#define DAEMON_UID   61001
#define PEACEFUL_UID 61002
#define HOSTILE_UID  61003

#define WARM_UP_S   2u
#define CLEAR_UP_S  1u
#define CLEAR_UP_MS 30000u /* until the daemon has let go of what the besiegers had */
#define REST_S      6u     /* longer than it waits before it gives memory back to the system */
#define TRACE_FDS   20u    /* what the boot trace takes of descriptors, between rounds */
/*
 * How much more memory than before the daemon may have afterwards: pieces of what the C library's
 * arenas had at their highest, between what lives on.
 */
#define MORE_KIB (32l << 10)

#define LOG_BYTES 8192 /* that are told of it where something went wrong */

static const char settings[] = "[daemon]\nsocket-mode = 0666\n";

struct options {
	unsigned int seconds;
	unsigned int n_clients;
	unsigned int kinds; /* bits */
	const char *program, *simvm;
};

static struct bench_place place;
static pid_t daemon_pid; /* 0: it has died */

/* ---- The command line ---------------------------------------------------------------------- */

__attribute__((noreturn)) static void say_usage(void)
{
	fprintf(stderr, "usage: bench-siege [--seconds=N] [--clients=N] [--kinds=NAME,…] "
			"KVMATTRD KVMATTR-SIMVM\nkinds:\n");
	for (unsigned int kind = 0; kind < BESIEGERS_N_KINDS; kind++)
		fprintf(stderr, "  %-9s %s\n", besiegers_kind_name(kind),
			besiegers_kind_summary(kind));
	exit(2);
}

static unsigned int take_kinds(char *names)
{
	unsigned int kinds = 0;

	for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
		int kind = besiegers_find_kind(name);

		if (kind < 0)
			say_usage();
		kinds |= 1u << kind;
	}
	return kinds;
}

static struct options take_options(int argc, char **argv)
{
	static const struct option known[] = { { "seconds", required_argument, NULL, 's' },
					       { "clients", required_argument, NULL, 'c' },
					       { "kinds", required_argument, NULL, 'k' },
					       { NULL, 0, NULL, 0 } };
	struct options options = { .seconds = DEFAULT_SECONDS, .kinds = ALL_KINDS };
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
		switch (option) {
		case 's':
			options.seconds = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'c':
			options.n_clients = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'k':
			options.kinds = take_kinds(optarg);
			break;
		default:
			say_usage();
		}
	if (argc - optind != 2 || !options.kinds || options.seconds < N_ROUNDS)
		say_usage();
	if (!options.n_clients)
		options.n_clients = N_OF_A_KIND * (unsigned int)__builtin_popcount(options.kinds);
	options.program = argv[optind];
	options.simvm = argv[optind + 1];
	return options;
}

/* ---- CPUs ---------------------------------------------------------------------------------- */

/* Leaves the last CPU to the besiegers, if there are three. */
static cpu_set_t divide_cpus(void)
{
	cpu_set_t ours, theirs;
	int last = -1;

	if (sched_getaffinity(0, sizeof(ours), &ours) < 0)
		err(EXIT_FAILURE, "sched_getaffinity");
	if (CPU_COUNT(&ours) < 3)
		return ours;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &ours))
			last = cpu;
	CPU_ZERO(&theirs);
	CPU_SET(last, &theirs);
	CPU_CLR(last, &ours);
	if (sched_setaffinity(0, sizeof(ours), &ours) < 0)
		err(EXIT_FAILURE, "sched_setaffinity");
	return theirs;
}

/* ---- The daemon ---------------------------------------------------------------------------- */

static int open_log(int flags)
{
	char path[64];
	int log;

	snprintf(path, sizeof(path), "%s/log", place.directory);
	log = open(path, flags | O_CLOEXEC, 0644);
	if (log < 0)
		err(EXIT_FAILURE, "%s", path);
	return log;
}

static void be_the_daemons_user(void *context)
{
	(void)context;
	if (dup2(open_log(O_WRONLY | O_CREAT | O_APPEND), STDERR_FILENO) < 0)
		err(EXIT_FAILURE, "dup2");
	other_user_go_first();
	other_user_become(DAEMON_UID);
}

static void start_daemon(const char *program)
{
	bench_place_make(&place);
	bench_place_configure(&place, settings);
	if (chmod(place.directory, 0755) < 0 || chown(place.directory, DAEMON_UID, DAEMON_UID) < 0)
		err(EXIT_FAILURE, "%s", place.directory);
	umask(022);
	daemon_pid = bench_daemon_start(&place, program, be_the_daemons_user, NULL);
	bench_daemon_await(&place);
}

/* The end of it. */
static void tell_log(void)
{
	char text[LOG_BYTES];
	int log = open_log(O_RDONLY);
	off_t size = lseek(log, 0, SEEK_END);
	ssize_t n = pread(log, text, sizeof(text),
			  size > (off_t)sizeof(text) ? size - (off_t)sizeof(text) : 0);

	fprintf(stderr, "The daemon's log ends with:\n%.*s\n", n > 0 ? (int)n : 0, text);
	close(log);
}

/* False, from then on, if it has died. */
static bool daemon_is_there(void)
{
	int status;

	if (daemon_pid && waitpid(daemon_pid, &status, WNOHANG) != 0) {
		warnx("the daemon has died, with 0x%x", (unsigned int)status);
		daemon_pid = 0;
	}
	return daemon_pid != 0;
}

/* ---- Rounds -------------------------------------------------------------------------------- */

static bool pass(unsigned int seconds, struct peaceful *peaceful)
{
	for (; seconds; seconds--) {
		sleep(1);
		if (!daemon_is_there() || !peaceful_are_there(peaceful))
			return false;
	}
	return true;
}

static bool be_besieged(const struct options *options, struct besiegers *besiegers,
			struct peaceful *peaceful, unsigned int seconds, unsigned int n_fds)
{
	bool is_well;

	besiegers_start(besiegers, options->n_clients, options->kinds);
	peaceful_note_as(peaceful, PEACEFUL_BESIEGED);
	is_well = pass(seconds, peaceful);
	peaceful_note_as(peaceful, PEACEFUL_UNNOTED);
	return besiegers_stop(besiegers) && is_well &&
	       daemon_size_await_fds(daemon_pid, n_fds + TRACE_FDS, CLEAR_UP_MS) &&
	       pass(CLEAR_UP_S, peaceful);
}

static bool alternate(const struct options *options, struct besiegers *besiegers,
		      struct peaceful *peaceful, unsigned int n_fds)
{
	unsigned int seconds = options->seconds / N_ROUNDS;

	for (unsigned int round = 0; round < N_ROUNDS; round++) {
		peaceful_note_as(peaceful, PEACEFUL_ALONE);
		if (!pass(seconds, peaceful))
			return false;
		peaceful_note_as(peaceful, PEACEFUL_UNNOTED);
		if (!be_besieged(options, besiegers, peaceful, seconds, n_fds))
			return false;
	}
	return true;
}

/* ---- What is told -------------------------------------------------------------------------- */

static double quantile(struct peaceful_figures figures, double part)
{
	return samples_quantile(figures.values, figures.n, part);
}

static void tell_trace(struct peaceful *peaceful)
{
	struct peaceful_figures alone = peaceful_figures(peaceful, PEACEFUL_ALONE, PEACEFUL_TRACE);
	struct peaceful_figures besieged =
		peaceful_figures(peaceful, PEACEFUL_BESIEGED, PEACEFUL_TRACE);
	double rate = quantile(alone, 0.5);

	printf("  %-36s %9s %9s %9s\n", "the boot trace, million pages/s", "median", "slowest",
	       "times");
	printf("  %-36s %9.2f %9.2f %9zu\n", "without them (peer)", rate / 1e6,
	       quantile(alone, 0) / 1e6, alone.n);
	printf("  %-36s %9.2f %9.2f %9zu", "with them", quantile(besieged, 0.5) / 1e6,
	       quantile(besieged, 0) / 1e6, besieged.n);
	if (alone.n && besieged.n)
		printf("  ratio %.3f\n", quantile(besieged, 0.5) / rate);
	else
		printf("  (none began and ended within a round)\n");
}

static void tell_latency(struct peaceful *peaceful, enum peaceful_figure figure, const char *what)
{
	static const char *const times[] = { "without them (peer)", "with them" };

	printf("  %-36s %9s %9s %9s\n", what, "p50", "p99", "longest");
	for (unsigned int time = 0; time < PEACEFUL_N_TIMES; time++) {
		struct peaceful_figures figures =
			peaceful_figures(peaceful, (enum peaceful_time)time, figure);

		printf("  %-36s %9.3f %9.3f %9.3f  (%zu)\n", times[time],
		       quantile(figures, 0.5) / 1e3, quantile(figures, 0.99) / 1e3,
		       quantile(figures, 1) / 1e3, figures.n);
	}
}

/* False if a kind has not attacked at all. */
static bool tell_besiegers(const struct besiegers *besiegers, unsigned int kinds)
{
	bool have_all_attacked = true;

	printf("  %-56s %12s %12s\n", "besiegers", "attacks", "refused");
	for (unsigned int kind = 0; kind < BESIEGERS_N_KINDS; kind++) {
		uint64_t n_attacks = besiegers_attacks(besiegers, kind);

		if (!(kinds & 1u << kind))
			continue;
		printf("  %-9s %-46s %12lu %12lu\n", besiegers_kind_name(kind),
		       besiegers_kind_summary(kind), n_attacks,
		       besiegers_refusals(besiegers, kind));
		if (!n_attacks) {
			warnx("the %s have not attacked", besiegers_kind_name(kind));
			have_all_attacked = false;
		}
	}
	return have_all_attacked;
}

/* ---- The siege ----------------------------------------------------------------------------- */

/* The daemon has its memory and its descriptors back. */
static bool is_as_before(const struct daemon_size *before, struct peaceful *peaceful)
{
	bool has_fds = daemon_size_await_fds(daemon_pid, before->n_fds, CLEAR_UP_MS);
	bool has_memory = pass(REST_S, peaceful) &&
			  daemon_size_await_memory(daemon_pid, before->kib + MORE_KIB, CLEAR_UP_MS);
	struct daemon_size after = daemon_size_now(daemon_pid);

	printf("  the daemon: %.1f MiB before, %.1f at most, %.1f afterwards; %u, %u descriptors\n",
	       (double)before->kib / 1024, (double)after.highest_kib / 1024,
	       (double)after.kib / 1024, before->n_fds, after.n_fds);
	return has_fds && has_memory;
}

static bool besiege(const struct options *options)
{
	cpu_set_t their_cpus = divide_cpus();
	struct besiegers *besiegers;
	struct peaceful *peaceful;
	struct daemon_size before;
	bool is_well;

	start_daemon(options->program);
	besiegers = besiegers_new(&place, HOSTILE_UID, &their_cpus);
	peaceful = peaceful_start(&place, PEACEFUL_UID);
	is_well = pass(WARM_UP_S, peaceful);
	if (is_well) {
		before = daemon_size_now(daemon_pid);
		peaceful_start_trace(peaceful, options->simvm);
		is_well = pass(WARM_UP_S, peaceful) &&
			  alternate(options, besiegers, peaceful, before.n_fds);
		peaceful_stop_trace(peaceful);
		is_well = is_well && is_as_before(&before, peaceful);
	}
	is_well &= peaceful_stop(peaceful);
	tell_trace(peaceful);
	tell_latency(peaceful, PEACEFUL_UPDATE, "one update alone, answered, ms");
	tell_latency(peaceful, PEACEFUL_STATUS, "daemon.get, ms");
	tell_latency(peaceful, PEACEFUL_ECHO, "a bare process that echoes, ms");
	is_well &= tell_besiegers(besiegers, options->kinds);
	peaceful_free(peaceful);
	besiegers_free(besiegers);
	return is_well;
}

int main(int argc, char **argv)
{
	struct options options = take_options(argc, argv);
	const char *why_not = other_user_why_not(options.program);
	bool is_well;

	if (why_not) {
		printf("siege: skipped: %s\n", why_not);
		return EXIT_SUCCESS;
	}
	printf("siege: %u hostile clients for %u s, in %d rounds that alternate with peace\n",
	       options.n_clients, options.seconds, N_ROUNDS);
	fflush(stdout);
	is_well = besiege(&options);
	if (!is_well)
		tell_log();
	if (daemon_is_there())
		bench_daemon_end(daemon_pid, SIGTERM);
	bench_place_remove(&place);
	return is_well ? EXIT_SUCCESS : EXIT_FAILURE;
}
