/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What looking costs those who are looked at, and how long who looks has to wait.
 *
 * First a long boot trace through the real daemon, now alone, and now with 1,000 vm.get a second
 * beside it, from one client, and from 63 in turn.  The peer is the trace alone.  What of the
 * difference is the machine's, whose CPUs all these processes share, tells the same client when it
 * asks another daemon, which has nothing else to do.  This changes every tenth of a second, because
 * machines do not stay as fast as they are for longer: each stretch that is looked at is compared
 * with the two before and behind it, and what counts is the ratio of the means, with its standard
 * error.
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
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_ROUNDS 6
#define MAX_ROUNDS     99
#define PER_SECOND     1000u
#define TRACE_PAGES    40000000
#define TRACE_RAM      "256G" /* has room for so many */
#define STRETCH_US     100000
#define MAX_STRETCHES  2000

static struct bench_place place, other_place;

/* ---- The boot trace, looked at ------------------------------------------------------------- */

enum watching { ALONE, ONE_CLIENT, MANY_CLIENTS, OTHER_DAEMON, N_WATCHINGS };

#define VM_GET(vm) \
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.get\",\"params\":{\"vm\":\"" vm "\"}}\n"

static const struct {
	const char *name;
	const char *request;
	unsigned int n_clients;
} watchings[N_WATCHINGS] = {
	[ALONE] = { "the trace alone (peer)", NULL, 0 },
	[ONE_CLIENT] = { "1,000 vm.get a second, one client", VM_GET("simvm"), 1 },
	[MANY_CLIENTS] = { "the same from 63 clients", VM_GET("simvm"), 63 },
	[OTHER_DAEMON] = { "one client, of another daemon", VM_GET("bench"), 1 },
};

/* Of a trace, from one look at how far it is to the next. */
struct stretch {
	enum watching watching;
	double rate; /* protections of a page a second */
	struct observations seen;
};

static struct stretch stretches[MAX_STRETCHES];
static size_t n_stretches;

struct progress {
	double us; /* when */
	double n;  /* elements of updates in force */
};

/* Of the trace's VM, which may not be there yet, or any more. */
static struct progress look(int control)
{
	static const char request[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats.get\","
				      "\"params\":{\"vm\":\"simvm\"}}\n";
	static const char member[] = "\"elements\":";
	static char answer[65536];
	const char *elements;
	size_t n = 0;
	ssize_t got;

	if (send(control, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request))
		err(EXIT_FAILURE, "cannot send to the daemon");
	do {
		got = recv(control, answer + n, sizeof(answer) - 1 - n, 0);
		if (got <= 0)
			err(EXIT_FAILURE, "the daemon does not answer");
		n += (size_t)got;
	} while (answer[n - 1] != '\n');
	answer[n] = '\0';
	elements = strstr(answer, member);
	return (struct progress){ .us = samples_now_us(),
				  .n = elements ? strtod(elements + strlen(member), NULL) : 0 };
}

/* Returns whether the trace went on all the time. */
static bool measure_stretch(struct observer *observer, int control, enum watching watching,
			    struct stretch *ret)
{
	unsigned int n_clients = watchings[watching].n_clients;
	struct progress first, last;

	if (n_clients)
		observer_start(observer, watchings[watching].request, n_clients, PER_SECOND);
	first = look(control);
	usleep(STRETCH_US);
	last = look(control);
	*ret = (struct stretch){ .watching = watching,
				 .rate = (last.n - first.n) / (last.us - first.us) * 1e6 };
	if (n_clients)
		ret->seen = observer_stop(observer);
	return first.n > 0 && last.n > first.n;
}

static void drop_last(void)
{
	if (n_stretches < 2)
		errx(EXIT_FAILURE, "the trace is too short");
	free(stretches[--n_stretches].seen.us);
}

/* Until its updates have begun. */
static void await_trace(int control)
{
	double start_us = samples_now_us();

	while (look(control).n < TRACE_PAGES / 40.) {
		if (samples_now_us() - start_us > 60e6)
			errx(EXIT_FAILURE, "the trace does not begin");
		usleep(1000);
	}
}

/*
 * One trace, from when its updates have begun: alone, looked at in one way, alone, looked at in the
 * next, and so on.  What its end cut is left out.
 */
static void measure_round(const char *simvm, struct observer *const observers[], int control)
{
	char command[512], line[256];
	bool goes_on = true;
	FILE *report;

	snprintf(command, sizeof(command),
		 "'%s' --runtime-dir '%s' --ram " TRACE_RAM " --pages %d --progress never", simvm,
		 place.runtime_dir, TRACE_PAGES);
	report = popen(command, "r");
	if (!report)
		err(EXIT_FAILURE, "%s", simvm);
	await_trace(control);
	for (unsigned int i = 0; goes_on; i++) {
		enum watching watching = i % 2 ? ONE_CLIENT + i / 2 % (N_WATCHINGS - 1) : ALONE;

		if (n_stretches == MAX_STRETCHES)
			errx(EXIT_FAILURE, "a trace has no end");
		goes_on = measure_stretch(observers[watching], control, watching,
					  &stretches[n_stretches++]);
	}
	/* the last one that was whole may be the one in which the last update was sent */
	drop_last();
	drop_last();
	if (stretches[n_stretches - 1].watching != ALONE)
		drop_last();
	while (fgets(line, sizeof(line), report))
		continue;
	if (pclose(report) || strcmp(line, "0 pages differ\n"))
		errx(EXIT_FAILURE, "the trace has failed: %s", command);
}

/* All answers of that watching together, sorted. */
static struct observations join(enum watching watching)
{
	struct observations all = { .n = 0 };

	for (size_t i = 0; i < n_stretches; i++)
		if (stretches[i].watching == watching)
			all.n += stretches[i].seen.n;
	all.us = calloc(all.n + 1, sizeof(*all.us));
	if (!all.us)
		err(EXIT_FAILURE, "no memory");
	all.n = 0;
	for (size_t i = 0; i < n_stretches; i++) {
		const struct observations *seen = &stretches[i].seen;

		if (stretches[i].watching != watching || !seen->n)
			continue;
		memcpy(all.us + all.n, seen->us, seen->n * sizeof(*all.us));
		all.n += seen->n;
	}
	samples_sort(all.us, all.n);
	return all;
}

/*
 * How the rates of stretches compare with those before and behind them; the standard error of a
 * ratio of means.
 */
static double ratio_of(const double *rates, const double *peers, size_t n, double *ret_error)
{
	double sum = 0, peers_sum = 0, squares = 0, ratio;

	for (size_t i = 0; i < n; i++) {
		sum += rates[i];
		peers_sum += peers[i];
	}
	ratio = sum / peers_sum;
	for (size_t i = 0; i < n; i++)
		squares += (rates[i] - ratio * peers[i]) * (rates[i] - ratio * peers[i]);
	*ret_error = sqrt(squares / (double)(n - 1) * (double)n) / peers_sum;
	return ratio;
}

static void tell_watching(enum watching watching)
{
	static double rates[MAX_STRETCHES], peers[MAX_STRETCHES];
	struct observations all;
	double ratio, error;
	size_t n = 0;

	for (size_t i = 0; i < n_stretches; i++) {
		if (stretches[i].watching != watching)
			continue;
		if (watching != ALONE)
			peers[n] = (stretches[i - 1].rate + stretches[i + 1].rate) / 2;
		rates[n++] = stretches[i].rate;
	}
	if (watching == ALONE) {
		printf("  %-34s %7.2f\n", watchings[watching].name, samples_median(rates, n) / 1e6);
		return;
	}
	ratio = ratio_of(rates, peers, n, &error);
	all = join(watching);
	/* sorts them */
	printf("  %-34s %7.2f", watchings[watching].name, samples_median(rates, n) / 1e6);
	printf(" %7.3f +- %5.3f %9.2f %9.2f\n", ratio, error,
	       samples_quantile(all.us, all.n, 0.5) / 1e3,
	       samples_quantile(all.us, all.n, 0.99) / 1e3);
	free(all.us);
}

static void measure_trace(const char *simvm, unsigned int n_rounds)
{
	struct observer *here = observer_connect(&place, watchings[MANY_CLIENTS].n_clients);
	struct observer *there = observer_connect(&other_place, 1);
	struct observer *const observers[N_WATCHINGS] = {
		[ONE_CLIENT] = here,
		[MANY_CLIENTS] = here,
		[OTHER_DAEMON] = there,
	};
	int control = observer_dial(&place);

	for (unsigned int i = 0; i < n_rounds; i++)
		measure_round(simvm, observers, control);
	close(control);
	observer_free(here);
	observer_free(there);
	printf("the boot trace, %d protections in each of %u rounds, looked at every other %d ms\n",
	       TRACE_PAGES, n_rounds, STRETCH_US / 1000);
	printf("  %-34s %7s %16s %9s %9s\n", "", "M", "ratio", "an answer", "");
	printf("  %-34s %7s %16s %9s %9s\n", "", "pages/s", "+- std. error", "p50, ms", "p99, ms");
	for (unsigned int watching = 0; watching < N_WATCHINGS; watching++)
		tell_watching(watching);
	for (size_t i = 0; i < n_stretches; i++)
		free(stretches[i].seen.us);
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
	int fd = observer_dial(&place);
	size_t n = 0;
	ssize_t got;

	(void)context;
	for (unsigned int i = 0; i < 1000; i++)
		n += (size_t)sprintf(request + n, "%c%s", i ? ',' : '[', call);
	n += (size_t)sprintf(request + n, "]\n");
	if (send(fd, request, n, MSG_NOSIGNAL) != (ssize_t)n)
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
	pid_t daemon_pid, other_pid;
	struct bench_guest guest;

	if (argc < 3 || argc > 4 || n_rounds < 1 || n_rounds > MAX_ROUNDS)
		errx(2, "usage: bench-observe KVMATTRD KVMATTR-SIMVM [ROUNDS]");
	bench_place_make(&place);
	bench_place_make(&other_place);
	daemon_pid = bench_daemon_start(&place, argv[1], NULL, NULL);
	other_pid = bench_daemon_start(&other_place, argv[1], NULL, NULL);
	bench_daemon_await(&place);
	bench_daemon_await(&other_place);
	bench_guest_start(&guest, &other_place, RAM_PAGES, NULL);
	measure_trace(argv[2], (unsigned int)n_rounds);
	bench_guest_end(&guest);
	bench_daemon_end(other_pid, SIGTERM);
	bench_place_remove(&other_place);
	measure_statuses();
	bench_daemon_end(daemon_pid, SIGTERM);
	bench_place_remove(&place);
	return EXIT_SUCCESS;
}
