/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The besiegers: hostile processes of eight kinds, that one user has.
 *
 * They run at the lowest priority and on one CPU of their own where there are enough of them, so
 * that what others lose is the daemon's doing, not the scheduler's.
 */
#ifndef BENCH_BESIEGERS_H
#define BENCH_BESIEGERS_H

#include "tests/bench/bench-daemon.h"

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BESIEGERS_N_KINDS 8u

struct besiegers;

/* Nobody attacks yet.  uid: whose they are; cpus: where they run. */
struct besiegers *besiegers_new(const struct bench_place *place, uid_t uid, const cpu_set_t *cpus);
void besiegers_free(struct besiegers *besiegers);

const char *besiegers_kind_name(unsigned int kind);
/* What it does, in some words. */
const char *besiegers_kind_summary(unsigned int kind);
/* By its name; -1 if there is none. */
int besiegers_find_kind(const char *name);

/* n processes, of the kinds whose bits are set in turn. */
void besiegers_start(struct besiegers *besiegers, unsigned int n, unsigned int kinds);
/* Kills them in the middle of it.  False, with a message, if one of them had ended by itself. */
bool besiegers_stop(struct besiegers *besiegers);

uint64_t besiegers_attacks(const struct besiegers *besiegers, unsigned int kind);
uint64_t besiegers_refusals(const struct besiegers *besiegers, unsigned int kind);

#endif
