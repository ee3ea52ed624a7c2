/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/systemd/load-agents.h"

#include "protocol/seqpacket.h"

#include <kvmattr.h>

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_PAGES 8 /* of an update */
#define BURST     32
#define PAUSE_NS  500000

struct load_shared *load_shared;

void load_share(void)
{
	load_shared = mmap(NULL, sizeof(*load_shared), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (load_shared == MAP_FAILED)
		err(EXIT_FAILURE, "mmap");
}

uint64_t load_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Something was answered: how long was it since the last time? */
void load_note_answer(struct load_watch *watch)
{
	uint64_t now = load_now_us(), gap = now - watch->last_us;
	_Atomic uint32_t *longest = &load_shared->busy[watch->i].longest_us[load_shared->round];

	watch->last_us = now;
	if (gap > *longest)
		*longest = (uint32_t)gap;
	load_shared->busy[watch->i].n_answers++;
}

void load_note_failure(struct load_watch *watch, int status, const char *text)
{
	if (!load_shared->busy[watch->i].n_failures++)
		snprintf(load_shared->busy[watch->i].failure, sizeof(load_shared->busy[0].failure),
			 "%s (%s)", kvmattr_status_text(status), text);
}

struct agent {
	struct kvmattr *connection;
	struct load_watch watch;
	uint64_t random;
};

/* An update that is under way. */
struct wish {
	struct agent *agent;
	uint8_t protection;
	uint32_t n;
	uint64_t gfns[MAX_PAGES];
};

uint64_t load_draw(uint64_t *state, uint64_t below)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state % below;
}

static void make_wish(struct agent *agent, struct wish *wish)
{
	static const uint8_t protections[] = { KVMATTR_R, KVMATTR_RX, KVMATTR_RW, KVMATTR_RWX };

	wish->agent = agent;
	wish->protection = protections[load_draw(&agent->random, 4)];
	wish->n = 1 + (uint32_t)load_draw(&agent->random, MAX_PAGES);
	for (uint32_t i = 0; i < wish->n; i++)
		wish->gfns[i] = LOAD_FIRST_GFN + agent->watch.i * LOAD_PAGES_PER_AGENT +
				load_draw(&agent->random, LOAD_PAGES_PER_AGENT);
}

static void wish_is_done(const struct wish *wish, int status, const char *text)
{
	load_note_answer(&wish->agent->watch);
	if (status)
		load_note_failure(&wish->agent->watch, status, text);
	for (uint32_t i = 0; i < wish->n && !status; i++)
		load_shared->protections[wish->gfns[i]] = wish->protection;
}

static void update_one(struct agent *agent)
{
	struct wish wish;
	int r;

	make_wish(agent, &wish);
	r = kvmattr_protect(agent->connection, 1, KVMATTR_ALL_LOWER, wish.protection, wish.gfns,
			    wish.n, NULL);
	wish_is_done(&wish, r, kvmattr_message(agent->connection));
}

static void burst_answered(void *context, const struct kvmattr_answer *answer)
{
	wish_is_done(context, answer->status, answer->text);
}

static void update_many(struct agent *agent)
{
	struct wish wishes[BURST];
	int r = 0;

	for (unsigned int i = 0; i < BURST && !r; i++) {
		struct kvmattr_update update = { .kind = KVMATTR_PROTECT,
						 .layer = 1,
						 .restricted = KVMATTR_ALL_LOWER };

		make_wish(agent, &wishes[i]);
		update.value = wishes[i].protection;
		update.gfns = wishes[i].gfns;
		update.n = wishes[i].n;
		r = kvmattr_submit(agent->connection, &update, burst_answered, &wishes[i], NULL);
	}
	if (!r)
		r = kvmattr_wait(agent->connection);
	if (r)
		load_note_failure(&agent->watch, r, kvmattr_message(agent->connection));
}

static bool is_over(unsigned int i)
{
	return load_shared->is_to_stop || load_shared->busy[i].n_failures;
}

__attribute__((noreturn)) static void be_an_agent(unsigned int i, int channel)
{
	struct agent agent = { .watch.i = i, .random = 0x9e3779b97f4a7c15 * (i + 1) };
	struct seqpacket_fds fds;
	char byte;
	int r = -EPIPE;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (seqpacket_receive(channel, &byte, 1, &fds, 0) == 1 && fds.n == 1)
		r = kvmattr_adopt(seqpacket_fds_take(&fds, 0), "load-agent", &agent.connection);
	agent.watch.last_us = load_now_us();
	if (r)
		load_note_failure(&agent.watch, r, kvmattr_message(NULL));
	while (!is_over(i)) {
		if (load_draw(&agent.random, 8))
			update_one(&agent);
		else
			update_many(&agent);
		nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
	}
	kvmattr_close(agent.connection);
	_exit(EXIT_SUCCESS);
}

pid_t load_start_agent(unsigned int i, int *ret_channel)
{
	int channel[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0)
		err(EXIT_FAILURE, "socketpair");
	pid = fork();
	if (pid < 0)
		err(EXIT_FAILURE, "fork");
	if (!pid) {
		close(channel[0]);
		be_an_agent(i, channel[1]);
	}
	close(channel[1]);
	*ret_channel = channel[0];
	return pid;
}
