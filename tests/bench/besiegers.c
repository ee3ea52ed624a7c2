/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/bench/besiegers.h"

#include "tests/bench/besieger.h"
#include "tests/bench/other-user.h"

#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOWEST_PRIORITY 19

static const struct {
	const char *name, *summary;
	void (*besiege)(struct besieger *besieger);
} kinds[BESIEGERS_N_KINDS] = {
	{ "crowd", "connect to both sockets, and go or stay", besiege_in_a_crowd },
	{ "garbage", "half a message and less, with descriptors", besiege_with_garbage },
	{ "json", "deep, huge, wrong, thousands, a byte at a time", besiege_with_json },
	{ "deaf", "ask for much and for events, never read", besiege_without_reading },
	{ "restless", "register a VM and go, or never finish", besiege_by_coming_and_going },
	{ "greedy", "the dearest updates of VMs of 64 GiB", besiege_with_large_maps },
	{ "liars", "executors: late, wrong, too much", besiege_with_false_answers },
	{ "askers", "questions that take long, floods of updates", besiege_with_questions },
};

struct besiegers {
	const struct bench_place *place;
	uid_t uid;
	cpu_set_t cpus;
	struct besieger_count *counts; /* by kind; shared with them */
	unsigned int n;
	pid_t *pids;
};

const char *besiegers_kind_name(unsigned int kind)
{
	return kinds[kind].name;
}

const char *besiegers_kind_summary(unsigned int kind)
{
	return kinds[kind].summary;
}

int besiegers_find_kind(const char *name)
{
	for (unsigned int kind = 0; kind < BESIEGERS_N_KINDS; kind++)
		if (!strcmp(kinds[kind].name, name))
			return (int)kind;
	return -1;
}

/* ---- Their processes ----------------------------------------------------------------------- */

struct besiegers *besiegers_new(const struct bench_place *place, uid_t uid, const cpu_set_t *cpus)
{
	struct besiegers *besiegers = calloc(1, sizeof(*besiegers));

	if (!besiegers)
		err(EXIT_FAILURE, "no memory");
	besiegers->place = place;
	besiegers->uid = uid;
	besiegers->cpus = *cpus;
	besiegers->counts = mmap(NULL, BESIEGERS_N_KINDS * sizeof(*besiegers->counts),
				 PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (besiegers->counts == MAP_FAILED)
		err(EXIT_FAILURE, "no memory");
	return besiegers;
}

void besiegers_free(struct besiegers *besiegers)
{
	munmap(besiegers->counts, BESIEGERS_N_KINDS * sizeof(*besiegers->counts));
	free(besiegers);
}

/* The i-th of them. */
__attribute__((noreturn)) static void be_a_besieger(const struct besiegers *besiegers,
						    unsigned int kind, unsigned int number)
{
	struct besieger besieger = {
		.place = besiegers->place,
		.number = number,
		.random = (uint64_t)getpid() * UINT64_C(0x9E3779B97F4A7C15) + 1,
		.count = &besiegers->counts[kind],
	};

	if (sched_setaffinity(0, sizeof(besiegers->cpus), &besiegers->cpus) < 0 ||
	    nice(LOWEST_PRIORITY) < 0)
		err(EXIT_FAILURE, "a besieger cannot step back");
	other_user_become(besiegers->uid);
	signal(SIGPIPE, SIG_IGN);
	kinds[kind].besiege(&besieger);
	_exit(EXIT_FAILURE);
}

void besiegers_start(struct besiegers *besiegers, unsigned int n, unsigned int chosen)
{
	unsigned int numbers[BESIEGERS_N_KINDS] = { 0 };

	besiegers->pids = calloc(n, sizeof(*besiegers->pids));
	if (!besiegers->pids)
		err(EXIT_FAILURE, "no memory");
	for (unsigned int kind = 0; besiegers->n < n; kind = (kind + 1) % BESIEGERS_N_KINDS) {
		pid_t pid;

		if (!(chosen & 1u << kind))
			continue;
		pid = bench_fork();
		if (!pid)
			be_a_besieger(besiegers, kind, numbers[kind]);
		numbers[kind]++;
		besiegers->pids[besiegers->n++] = pid;
	}
}

bool besiegers_stop(struct besiegers *besiegers)
{
	bool is_well = true;

	for (unsigned int i = 0; i < besiegers->n; i++)
		kill(besiegers->pids[i], SIGKILL);
	for (unsigned int i = 0; i < besiegers->n; i++) {
		int status = 0;

		waitpid(besiegers->pids[i], &status, 0);
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			continue;
		warnx("a besieger has ended by itself, with 0x%x", (unsigned int)status);
		is_well = false;
	}
	free(besiegers->pids);
	besiegers->pids = NULL;
	besiegers->n = 0;
	return is_well;
}

uint64_t besiegers_attacks(const struct besiegers *besiegers, unsigned int kind)
{
	return besiegers->counts[kind].n_attacks;
}

uint64_t besiegers_refusals(const struct besiegers *besiegers, unsigned int kind)
{
	return besiegers->counts[kind].n_refused;
}

/* ---- What each has ------------------------------------------------------------------------- */

void besieger_count_attack(struct besieger *besieger)
{
	besieger->count->n_attacks++;
}

void besieger_count_refusals(struct besieger *besieger, uint64_t n)
{
	besieger->count->n_refused += n;
}

void besieger_count_errors(struct besieger *besieger, const char *answer)
{
	for (const char *at = answer; (at = strstr(at, "\"error\":")); at++)
		besieger_count_refusals(besieger, 1);
}

/* xorshift64* */
uint64_t besieger_throw(struct besieger *besieger, uint64_t limit)
{
	besieger->random ^= besieger->random >> 12;
	besieger->random ^= besieger->random << 25;
	besieger->random ^= besieger->random >> 27;
	return (besieger->random * UINT64_C(0x2545F4914F6CDD1D) >> 32) % limit;
}

void besieger_rest(unsigned int ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L }, NULL);
}

static int connect_to(const char *path, int type)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

int besieger_connect_agent(const struct besieger *besieger)
{
	return connect_to(besieger->place->agent_socket, SOCK_SEQPACKET);
}

int besieger_connect_control(const struct besieger *besieger)
{
	return connect_to(besieger->place->control_socket, SOCK_STREAM);
}
