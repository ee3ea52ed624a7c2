/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/bench/peaceful.h"

#include "tests/bench/bench-guest.h"
#include "tests/bench/other-user.h"
#include "tests/bench/samples.h"

#include <err.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_VALUES  500000u
#define TRACE_PAGES 3000000
#define RAM_PAGES   (UINT64_C(1) << 18)

/* Shared with those who note. */
struct notes {
	_Atomic int time; /* enum peaceful_time */
	_Atomic unsigned int n_periods;
	struct {
		size_t n;
		double values[MAX_VALUES];
	} figures[PEACEFUL_N_TIMES][PEACEFUL_N_FIGURES];
};

enum { AGENT, CLIENT, ECHO, ECHO_CLIENT, TRACE, N_PROCESSES };

struct peaceful {
	const struct bench_place *place;
	uid_t uid;
	struct notes *notes;
	pid_t pids[N_PROCESSES]; /* 0: it does not run */
};

/* ---- Notes --------------------------------------------------------------------------------- */

void peaceful_note_as(struct peaceful *peaceful, enum peaceful_time time)
{
	peaceful->notes->time = (int)time;
	peaceful->notes->n_periods++;
}

/* Of what began when it was that time. */
static void note(struct notes *notes, int time, enum peaceful_figure figure, double value)
{
	size_t n;

	if (time == PEACEFUL_UNNOTED)
		return;
	n = notes->figures[time][figure].n;
	if (n < MAX_VALUES) {
		notes->figures[time][figure].values[n] = value;
		notes->figures[time][figure].n = n + 1;
	}
}

struct peaceful_figures peaceful_figures(struct peaceful *peaceful, enum peaceful_time time,
					 enum peaceful_figure figure)
{
	double *values = peaceful->notes->figures[time][figure].values;
	size_t n = peaceful->notes->figures[time][figure].n;

	samples_sort(values, n);
	return (struct peaceful_figures){ n, values };
}

/* ---- An agent and a client ----------------------------------------------------------------- */

/* Does it when it is due, and notes how long it took. */
__attribute__((noreturn)) static void repeat(struct notes *notes, enum peaceful_figure figure,
					     void (*act)(void *context), void *context)
{
	const double period_us = 1e6 / PEACEFUL_PER_SECOND;

	for (double now_us, due_us = samples_now_us();; due_us += period_us) {
		int time;

		while ((now_us = samples_now_us()) > due_us)
			due_us += period_us;
		nanosleep(&(struct timespec){ .tv_nsec = (long)((due_us - now_us) * 1e3) }, NULL);
		time = notes->time;
		act(context);
		note(notes, time, figure, samples_now_us() - due_us);
	}
}

static void update_a_page(void *agent)
{
	static unsigned int turn;
	uint64_t gfn = 4711;

	bench_check(agent,
		    kvmattr_protect(agent, 1, KVMATTR_ALL_LOWER,
				    turn++ % 2 ? KVMATTR_R : KVMATTR_RX, &gfn, 1, NULL),
		    "kvmattr_protect()");
}

__attribute__((noreturn)) static void be_an_agent(const struct peaceful *peaceful)
{
	struct bench_guest guest;

	bench_guest_start(&guest, peaceful->place, RAM_PAGES, NULL);
	repeat(peaceful->notes, PEACEFUL_UPDATE, update_a_page, bench_guest_open_agent(&guest));
}

static void ask_for_status(void *context)
{
	static const char request[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon.get\"}\n";
	static char answer[1 << 16];
	int fd = *(int *)context;
	ssize_t n;

	if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) != sizeof(request) - 1)
		err(EXIT_FAILURE, "a peaceful client cannot ask");
	do {
		n = recv(fd, answer, sizeof(answer) - 1, 0);
		if (n <= 0)
			errx(EXIT_FAILURE, "a peaceful client is not answered");
	} while (answer[n - 1] != '\n');
	answer[n] = '\0';
	if (strstr(answer, "\"error\":"))
		errx(EXIT_FAILURE, "a peaceful client is refused: %s", answer);
}

__attribute__((noreturn)) static void be_a_client(const struct peaceful *peaceful)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", peaceful->place->control_socket);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		err(EXIT_FAILURE, "%s", address.sun_path);
	repeat(peaceful->notes, PEACEFUL_STATUS, ask_for_status, &fd);
}

/* ---- The machine alone --------------------------------------------------------------------- */

__attribute__((noreturn)) static void be_an_echo(int fd)
{
	char byte;

	while (read(fd, &byte, 1) == 1)
		if (write(fd, &byte, 1) != 1)
			err(EXIT_FAILURE, "an echo cannot answer");
	exit(EXIT_SUCCESS);
}

static void ask_echo(void *context)
{
	int fd = *(int *)context;
	char byte = 0;

	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		errx(EXIT_FAILURE, "an echo does not answer");
}

/* ---- The boot trace ------------------------------------------------------------------------ */

/* kvmattr-simvm's report has the rate. */
static double play_trace(const struct bench_place *place, const char *simvm)
{
	char command[512], line[256];
	double rate = 0;
	FILE *report;

	snprintf(command, sizeof(command), "'%s' --runtime-dir '%s' --pages %d --progress never",
		 simvm, place->runtime_dir, TRACE_PAGES);
	report = popen(command, "r");
	if (!report)
		err(EXIT_FAILURE, "%s", simvm);
	while (fgets(line, sizeof(line), report))
		if (sscanf(line, "Pages a second %lf", &rate) == 1)
			continue;
	if (pclose(report) || rate <= 0)
		errx(EXIT_FAILURE, "the boot trace has failed: %s", command);
	return rate;
}

__attribute__((noreturn)) static void be_a_vmm(const struct peaceful *peaceful, const char *simvm)
{
	const struct notes *notes = peaceful->notes;

	for (;;) {
		unsigned int period = notes->n_periods;
		int time = notes->time;
		double rate = play_trace(peaceful->place, simvm);

		if (period == notes->n_periods)
			note(peaceful->notes, time, PEACEFUL_TRACE, rate);
	}
}

/* ---- Their processes ----------------------------------------------------------------------- */

/* True in the child, who is the user, and whose children die with it. */
static bool fork_one(struct peaceful *peaceful, unsigned int which)
{
	pid_t pid = bench_fork();

	if (pid) {
		peaceful->pids[which] = pid;
		return false;
	}
	setpgid(0, 0);
	if (which != TRACE)
		other_user_go_first();
	other_user_become(peaceful->uid);
	return true;
}

static void start_echo(struct peaceful *peaceful)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		err(EXIT_FAILURE, "socketpair");
	if (fork_one(peaceful, ECHO)) {
		close(pair[0]);
		be_an_echo(pair[1]);
	}
	close(pair[1]);
	if (fork_one(peaceful, ECHO_CLIENT))
		repeat(peaceful->notes, PEACEFUL_ECHO, ask_echo, &pair[0]);
	close(pair[0]);
}

struct peaceful *peaceful_start(const struct bench_place *place, uid_t uid)
{
	struct peaceful *peaceful = calloc(1, sizeof(*peaceful));

	if (!peaceful)
		err(EXIT_FAILURE, "no memory");
	peaceful->place = place;
	peaceful->uid = uid;
	peaceful->notes = mmap(NULL, sizeof(*peaceful->notes), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (peaceful->notes == MAP_FAILED)
		err(EXIT_FAILURE, "no memory");
	peaceful_note_as(peaceful, PEACEFUL_UNNOTED);
	if (fork_one(peaceful, AGENT))
		be_an_agent(peaceful);
	if (fork_one(peaceful, CLIENT))
		be_a_client(peaceful);
	start_echo(peaceful);
	return peaceful;
}

void peaceful_start_trace(struct peaceful *peaceful, const char *simvm)
{
	if (fork_one(peaceful, TRACE))
		be_a_vmm(peaceful, simvm);
}

static void end(struct peaceful *peaceful, unsigned int which)
{
	if (!peaceful->pids[which])
		return;
	kill(-peaceful->pids[which], SIGKILL);
	waitpid(peaceful->pids[which], NULL, 0);
	peaceful->pids[which] = 0;
}

void peaceful_stop_trace(struct peaceful *peaceful)
{
	end(peaceful, TRACE);
}

bool peaceful_are_there(struct peaceful *peaceful)
{
	for (unsigned int i = 0; i < N_PROCESSES; i++)
		if (peaceful->pids[i] && waitpid(peaceful->pids[i], NULL, WNOHANG) != 0) {
			peaceful->pids[i] = 0;
			warnx("one who was peaceful has ended");
			return false;
		}
	return true;
}

bool peaceful_stop(struct peaceful *peaceful)
{
	bool were_there = peaceful_are_there(peaceful);

	for (unsigned int i = 0; i < N_PROCESSES; i++)
		end(peaceful, i);
	return were_there;
}

void peaceful_free(struct peaceful *peaceful)
{
	munmap(peaceful->notes, sizeof(*peaceful->notes));
	free(peaceful);
}
