/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What looking costs those who are looked at, and how long who looks has to wait.
 *
 * First the boot trace through the real daemon, ten times as long as elsewhere, alone and with
 * 1,000 vm.get a second beside it: from one client, and from 64 in turn.  The peer is the trace
 * alone; the rounds alternate, and what counts is the median of their ratios.  How much of the
 * daemon's CPU a vm.get takes is told, too: it is what the trace lacks where the daemon is what
 * it waits for, and hardly depends on what else this machine does.
 *
 * Then daemon.get alone (the peer), while a batch of a million pages is under way, and while 100 MB
 * are answered to somebody who reads slowly.
 *
 * Usage: bench-observe KVMATTRD KVMATTR-SIMVM [ROUNDS]
 */
#include "tests/bench/bench-daemon.h"
#include "tests/bench/bench-guest.h"
#include "tests/bench/observer.h"
#include "tests/bench/samples.h"

#include <kvmattr.h>

#include <err.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_ROUNDS 9
#define MAX_ROUNDS     99
#define PER_SECOND     1000u
#define TRACE_PAGES    3000000

static struct bench_place place;
static pid_t daemon_pid;

/* ---- The boot trace, looked at ------------------------------------------------------------- */

enum watching { ALONE, ONE_CLIENT, MANY_CLIENTS, N_WATCHINGS };

static const struct {
	const char *name;
	unsigned int n_clients;
} watchings[N_WATCHINGS] = {
	[ALONE] = { "the trace alone (peer)", 0 },
	[ONE_CLIENT] = { "1,000 vm.get a second, one client", 1 },
	[MANY_CLIENTS] = { "the same from 64 clients", 64 },
};

struct trace_run {
	double rate;   /* pages a second */
	double cpu_us; /* of the daemon */
	size_t n_asked;
	struct observations seen;
};

static double daemon_cpu_us(void)
{
	struct timespec used;
	clockid_t clock;

	if (clock_getcpuclockid(daemon_pid, &clock) || clock_gettime(clock, &used) < 0)
		errx(EXIT_FAILURE, "the daemon is gone");
	return (double)used.tv_sec * 1e6 + (double)used.tv_nsec / 1e3;
}

/* kvmattr-simvm's report has the rate. */
static double play_trace(const char *simvm)
{
	char command[512], line[256];
	double rate = 0;
	FILE *report;

	snprintf(command, sizeof(command), "'%s' --runtime-dir '%s' --pages %d --progress never",
		 simvm, place.runtime_dir, TRACE_PAGES);
	report = popen(command, "r");
	if (!report)
		err(EXIT_FAILURE, "%s", simvm);
	while (fgets(line, sizeof(line), report))
		if (sscanf(line, "Pages a second %lf", &rate) == 1)
			continue;
	if (pclose(report) || rate <= 0)
		errx(EXIT_FAILURE, "the trace has failed: %s", command);
	return rate;
}

static void run_trace(const char *simvm, struct observer *observer, unsigned int n_clients,
		      struct trace_run *ret)
{
	static const char request[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.get\","
				      "\"params\":{\"vm\":\"simvm\"}}\n";

	ret->cpu_us = -daemon_cpu_us();
	if (n_clients)
		observer_start(observer, request, n_clients, PER_SECOND);
	ret->rate = play_trace(simvm);
	if (n_clients)
		ret->seen = observer_stop(observer);
	ret->cpu_us += daemon_cpu_us();
}

/* All rounds' answers together. */
static struct observations join(struct trace_run *runs, unsigned int n)
{
	struct observations all = { .n = 0 };

	for (unsigned int i = 0; i < n; i++)
		all.n += runs[i].seen.n;
	all.us = calloc(all.n + 1, sizeof(*all.us));
	if (!all.us)
		err(EXIT_FAILURE, "no memory");
	all.n = 0;
	for (unsigned int i = 0; i < n; i++) {
		if (runs[i].seen.n)
			memcpy(all.us + all.n, runs[i].seen.us, runs[i].seen.n * sizeof(*all.us));
		all.n += runs[i].seen.n;
		free(runs[i].seen.us);
	}
	samples_sort(all.us, all.n);
	return all;
}

static void tell_watching(enum watching watching, struct trace_run (*runs)[MAX_ROUNDS],
			  unsigned int n_rounds)
{
	double rates[MAX_ROUNDS], ratios[MAX_ROUNDS], costs[MAX_ROUNDS];
	struct observations all;

	for (unsigned int i = 0; i < n_rounds; i++) {
		const struct trace_run *run = &runs[watching][i];

		rates[i] = run->rate;
		ratios[i] = run->rate / runs[ALONE][i].rate;
		if (run->seen.n_asked)
			costs[i] =
				(run->cpu_us - runs[ALONE][i].cpu_us) / (double)run->seen.n_asked;
	}
	printf("  %-34s %7.2f", watchings[watching].name, samples_median(rates, n_rounds) / 1e6);
	if (watching == ALONE) {
		printf("\n");
		return;
	}
	all = join(runs[watching], n_rounds);
	printf(" %8.3f %8.1f %9.2f %9.2f\n", samples_median(ratios, n_rounds),
	       samples_median(costs, n_rounds), samples_quantile(all.us, all.n, 0.5) / 1e3,
	       samples_quantile(all.us, all.n, 0.99) / 1e3);
	free(all.us);
}

static void measure_trace(const char *simvm, unsigned int n_rounds)
{
	static struct trace_run runs[N_WATCHINGS][MAX_ROUNDS];
	struct observer *observer = observer_connect(&place, watchings[MANY_CLIENTS].n_clients);

	/* each comes first as often as the others */
	for (unsigned int i = 0; i < n_rounds; i++)
		for (unsigned int j = 0; j < N_WATCHINGS; j++) {
			unsigned int watching = (i + j) % N_WATCHINGS;

			run_trace(simvm, observer, watchings[watching].n_clients,
				  &runs[watching][i]);
		}
	observer_free(observer);
	printf("the boot trace, %d protections, looked at; medians of %u alternating rounds\n",
	       TRACE_PAGES, n_rounds);
	printf("  %-34s %7s %8s %8s %9s %9s\n", "", "M", "ratio", "daemon's", "an answer", "");
	printf("  %-34s %7s %8s %8s %9s %9s\n", "", "pages/s", "", "us each", "p50, ms", "p99, ms");
	for (unsigned int watching = 0; watching < N_WATCHINGS; watching++)
		tell_watching(watching, runs, n_rounds);
}

/* ---- daemon.get beside something large ----------------------------------------------------- */

#define N_UPDATES  8u /* of one batch; the first goes before them, alone */
#define RUN_PAGES  32u
#define RUN_STRIDE 64u
#define RAM_PAGES  ((N_UPDATES + 1) * KVMATTR_MAX_RANGES * RUN_STRIDE)

static void note_commit(void *context, const struct kvmattr_answer *answer)
{
	if (answer->status)
		errx(EXIT_FAILURE, "an update was refused: %s", answer->text);
	*(uint64_t *)context = answer->commit;
}

/* While the first update is under way, the others gather to one batch of a million pages. */
static void protect_a_million(void *context)
{
	static struct kvmattr_range ranges[N_UPDATES + 1][KVMATTR_MAX_RANGES];
	struct kvmattr *agent = bench_guest_open_agent(context);
	uint64_t first = 0, last = 0;

	for (unsigned int i = 0; i <= N_UPDATES; i++) {
		struct kvmattr_update update = { .kind = KVMATTR_PROTECT,
						 .layer = 1,
						 .value = KVMATTR_R,
						 .restricted = KVMATTR_ALL_LOWER,
						 .ranges = ranges[i],
						 .n = KVMATTR_MAX_RANGES };

		for (uint64_t j = 0; j < KVMATTR_MAX_RANGES; j++)
			ranges[i][j] =
				(struct kvmattr_range){ (i * KVMATTR_MAX_RANGES + j) * RUN_STRIDE,
							RUN_PAGES };
		bench_check(agent,
			    kvmattr_submit(agent, &update, note_commit, i ? &last : &first, NULL),
			    "kvmattr_submit()");
	}
	bench_check(agent, kvmattr_wait(agent), "kvmattr_wait()");
	kvmattr_close(agent);
	if (last != first + 1)
		warnx("the million pages came in %d batches", (int)(last - first));
}

static size_t answer_size; /* of what read_slowly() read */

/* One request whose answer is 100 MB, read at some 50 MB/s. */
static void read_slowly(void *context)
{
	static const char call[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"map.effective\","
				   "\"params\":{\"vm\":\"bench\",\"vtl\":0,\"limit\":1024}}";
	static char request[1000 * sizeof(call) + 3], piece[65536];
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t n = 0;
	ssize_t got;

	(void)context;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", place.control_socket);
	for (unsigned int i = 0; i < 1000; i++)
		n += (size_t)sprintf(request + n, "%c%s", i ? ',' : '[', call);
	n += (size_t)sprintf(request + n, "]\n");
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    send(fd, request, n, MSG_NOSIGNAL) != (ssize_t)n)
		err(EXIT_FAILURE, "%s", place.control_socket);
	answer_size = 0;
	do {
		got = recv(fd, piece, sizeof(piece), 0);
		if (got <= 0)
			err(EXIT_FAILURE, "the answer ends early");
		answer_size += (size_t)got;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	} while (piece[got - 1] != '\n');
	close(fd);
}

static void idle(void *context)
{
	(void)context;
	sleep(1);
}

static void measure_status(const char *what, void (*meanwhile)(void *), struct bench_guest *guest)
{
	static const char request[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon.get\"}\n";
	struct observer *observer = observer_connect(&place, 1);
	struct observations seen;

	observer_start(observer, request, 1, PER_SECOND);
	meanwhile(guest);
	seen = observer_stop(observer);
	observer_free(observer);
	samples_sort(seen.us, seen.n);
	printf("  %-50s %8.2f %8.2f %8.2f  (%zu)\n", what,
	       samples_quantile(seen.us, seen.n, 0.5) / 1e3,
	       samples_quantile(seen.us, seen.n, 0.99) / 1e3,
	       samples_quantile(seen.us, seen.n, 1) / 1e3, seen.n);
	free(seen.us);
}

static void measure_statuses(void)
{
	/* whose KVM takes its time for a call */
	const struct simvm_faults slow = { .slow_us = 1 };
	struct bench_guest guest;

	bench_guest_start(&guest, &place, RAM_PAGES, &slow);
	printf("daemon.get, 1,000 a second, ms                           p50      p99  longest\n");
	measure_status("nothing else (peer)", idle, &guest);
	measure_status("a batch of a million pages under way", protect_a_million, &guest);
	measure_status("a long answer to somebody who reads slowly", read_slowly, &guest);
	printf("  (that answer had %.0f MB)\n", (double)answer_size / 1e6);
	bench_guest_end(&guest);
}

int main(int argc, char **argv)
{
	int n_rounds = argc == 4 ? atoi(argv[3]) : DEFAULT_ROUNDS;

	if (argc < 3 || argc > 4 || n_rounds < 1 || n_rounds > MAX_ROUNDS)
		errx(2, "usage: bench-observe KVMATTRD KVMATTR-SIMVM [ROUNDS]");
	bench_place_make(&place);
	daemon_pid = bench_daemon_start(&place, argv[1], NULL, NULL);
	bench_daemon_await(&place);
	measure_trace(argv[2], (unsigned int)n_rounds);
	measure_statuses();
	bench_daemon_end(daemon_pid, SIGTERM);
	bench_place_remove(&place);
	return EXIT_SUCCESS;
}
