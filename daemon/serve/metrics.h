/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a monitoring system is told: families of metrics, of the daemon and of each of its VMs.
 *
 * A table; the help of each family is its documentation.  Piece by piece, because many VMs have
 * much to say and looking must not disturb: a piece ends behind any VM of any family, and the
 * pieces together are one exposition even if VMs come and go between them.  For that a family's VMs
 * are written from the newest to the oldest: one that comes, maybe under the name of one that was
 * written before it went, is in the families that begin after it.
 *
 * Counters begin with the VM, or with the daemon that recovered it, and never go back.
 */
#ifndef KVMATTRD_METRICS_H
#define KVMATTRD_METRICS_H

#include "daemon.h"
#include "exposition.h"

#include <stdbool.h>
#include <stdint.h>

struct control_statistics;

/* A piece is ended by the first VM that brings it there. */
#define METRICS_MAX_PIECE (64u * 1024)
#define METRICS_MAX_US    500u

/* Where to go on; all 0: the start. */
struct metrics_place {
	uint64_t family;
	uint64_t vm; /* number of the last one that was written there; 0: none was */
};

/* There may be such a place. */
bool metrics_has_place(struct metrics_place place);

/* Writes a piece from the place on.  Returns whether more follows, at *place then. */
__attribute__((warn_unused_result)) bool metrics_write(const struct daemon *daemon,
						       const struct control_statistics *control,
						       struct metrics_place *place,
						       struct exposition *exposition);

#endif
