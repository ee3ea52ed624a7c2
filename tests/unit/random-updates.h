/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Updates of every kind, as busy agents and hostile ones could send them, in the oracle's pages.
 *
 * Most of them are allowed or nearly so: with layers 1 to 4, views below, and pages that lie close
 * enough together to meet again and again.
 */
#ifndef RANDOM_UPDATES_H
#define RANDOM_UPDATES_H

#include "daemon/policy/policy.h"

#include <stdint.h>

struct policy_actor random_actor(uint64_t *random);
struct policy_element random_element(uint64_t *random);
/* Pages in the oracle's array, or some that cannot be. */
struct kvmattr_range random_range(uint64_t *random);

/* The views of the i-th of these mixes of dialects; returns how many.  VTLs 0, 1, 3 and so on. */
#define N_VIEW_MIXES 8
unsigned int view_mix(unsigned int i, struct view *ret_views);

#endif
