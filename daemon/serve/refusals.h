/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What peers asked for and were not given: logged, with who asked for what and why not, and
 * counted.
 *
 * A peer can be refused as often as it likes, and whoever reads the log is not to drown in that: of
 * each kind some lines are written in a few seconds, and then how many more there would have been.
 *
 * Knows no peer; what it is told is for whoever refuses.  One thread.
 */
#ifndef KVMATTRD_REFUSALS_H
#define KVMATTRD_REFUSALS_H

#include "daemon/log.h"

#include <stdint.h>

struct event_base;

/* X(NAME, "name"); each is a line of that name in log-ids.h. */
#define REFUSALS(X)                                                                        \
	X(ACCESS_DENIED, "access")              /* section [authority] does not list it */ \
	X(LIMIT_REACHED, "limit")               /* as much as section [limits] allows */   \
	X(REGISTRATION_REFUSED, "registration") /* such a VM cannot be had */              \
	X(RESUMPTION_REFUSED, "resumption")     /* there is no such session */             \
	X(PROTOCOL_BROKEN, "protocol")          /* a message that is none */               \
	X(OUT_OF_DESCRIPTORS, "descriptors")    /* none was left for it */

enum refusal {
#define X(name, text) REFUSAL_##name,
	REFUSALS(X)
#undef X
		N_REFUSALS
};

/* Their names, in that order. */
extern const char *const refusal_names[];

/* Lines of a kind that are written in so long a time. */
#define REFUSALS_LOGGED   10u
#define REFUSALS_WINDOW_S 5

struct refusals;

struct refusals *refusals_new(struct event_base *base);
/* NULL is fine. */
void refusals_free(struct refusals *refusals);

__attribute__((format(printf, 4, 5))) void refusals_log(struct refusals *refusals,
							enum refusal kind, struct log_about about,
							const char *format, ...);
/* So many there were, logged or not. */
uint64_t refusals_count(const struct refusals *refusals, enum refusal kind);

#endif
