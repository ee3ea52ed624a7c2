/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every hostile client has: where the daemon is, what it counts, and its dice.
 *
 * A besieger is a process of its own that attacks without an end, until it is killed.  Whatever
 * the daemon does to it, it tries again; so nothing here ends it but what it lacks itself.  It
 * counts each attack that it made, and how many of them it saw refused: a refusal is an error that
 * was answered, an update that was not done, or a connection that the daemon closed.
 */
#ifndef BENCH_BESIEGER_H
#define BENCH_BESIEGER_H

#include "tests/bench/bench-daemon.h"

#include <stdint.h>

/* Of all besiegers of one kind. */
struct besieger_count {
	_Atomic uint64_t n_attacks;
	_Atomic uint64_t n_refused;
};

struct besieger {
	const struct bench_place *place;
	unsigned int number; /* among those of its kind, from 0 on */
	uint64_t random;
	struct besieger_count *count;
};

void besieger_count_attack(struct besieger *besieger);
void besieger_count_refusals(struct besieger *besieger, uint64_t n);
/* Those in what the control socket has answered. */
void besieger_count_errors(struct besieger *besieger, const char *answer);

/* A number below limit. */
uint64_t besieger_throw(struct besieger *besieger, uint64_t limit);
void besieger_rest(unsigned int ms);

/* Waits until the daemon takes it; -1 if it does not. */
int besieger_connect_agent(const struct besieger *besieger);
int besieger_connect_control(const struct besieger *besieger);

/* ---- The eight kinds ----------------------------------------------------------------------- */

/* Connects to both sockets: every other one goes at once, every other one holds all it can. */
void besiege_in_a_crowd(struct besieger *besieger);
/* Sends the agent socket what is no message, or only half of one, with descriptors. */
void besiege_with_garbage(struct besieger *besieger);
/* Sends the control socket JSON that is deep, huge, wrong, too much at once, or too slow. */
void besiege_with_json(struct besieger *besieger);
/* Asks for much, and for all events, and never reads. */
void besiege_without_reading(struct besieger *besieger);
/* Registers VMs and leaves, in every state that a registration has. */
void besiege_by_coming_and_going(struct besieger *besieger);
/* Has a VM of 64 GiB, and makes of its own maps what is dearest for the daemon. */
void besiege_with_large_maps(struct besieger *besieger);
/* Has a VM whose executor answers late, wrongly, or what nobody asked. */
void besiege_with_false_answers(struct besieger *besieger);
/* Asks what takes long to answer; every other one floods the daemon with updates. */
void besiege_with_questions(struct besieger *besieger);

#endif
