/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Agents that are never idle, and what they were told.
 *
 * Each is a process with pages of its own.  It protects some, one update after the other or many at
 * once, and writes down what the answers say is in force, how many there were, and how long it ever
 * waited for one.  That is in memory that all processes of the load share.
 */
#ifndef SYSTEMD_LOAD_AGENTS_H
#define SYSTEMD_LOAD_AGENTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define LOAD_RAM_PAGES UINT64_C(16384)
#define LOAD_N_AGENTS  4
#define LOAD_N_BUSY    (LOAD_N_AGENTS + 1) /* and the owner */
#define LOAD_OWNER     LOAD_N_AGENTS
/* The agents' pages, one's behind the other's. */
#define LOAD_FIRST_GFN       UINT64_C(0x400)
#define LOAD_PAGES_PER_AGENT UINT64_C(1024)
#define LOAD_MAX_ROUNDS      1000

struct load_shared {
	_Atomic unsigned int round; /* 0: before the first disturbance */
	_Atomic bool is_to_stop;
	struct {
		_Atomic uint64_t n_answers;
		_Atomic uint64_t n_failures;
		char failure[200]; /* the first one */
		_Atomic uint32_t
			longest_us[LOAD_MAX_ROUNDS + 1]; /* between two answers, by round */
	} busy[LOAD_N_BUSY];
	/* In force, as the last answer has it.  Each byte is one agent's, or the owner's. */
	uint8_t protections[LOAD_RAM_PAGES];
};

/* Made before the first agent is started; for all of them. */
extern struct load_shared *load_shared;
void load_share(void);

/* Who is measured. */
struct load_watch {
	unsigned int i; /* in busy */
	uint64_t last_us;
};
/* Something was answered. */
void load_note_answer(struct load_watch *watch);
void load_note_failure(struct load_watch *watch, int status, const char *text);

/*
 * Starts the i-th agent.  It begins when it gets its socket over the channel, and ends when
 * is_to_stop is set, or at its first failure.
 */
pid_t load_start_agent(unsigned int i, int *ret_channel);

uint64_t load_now_us(void);
/* 0 to below - 1; *state is not 0. */
uint64_t load_draw(uint64_t *state, uint64_t below);

#endif
