/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a VM has RAM, for people: ranges in the order of addresses, and the whole extent.
 *
 * The policy knows RAM page by page; a guest has a few ranges of it, which hardly ever change.  So
 * what was found is kept until they do.
 */
#ifndef KVMATTRD_RAM_H
#define KVMATTRD_RAM_H

#include "daemon/policy/policy.h"

#include <stdbool.h>
#include <stdint.h>

/* Ranges that are listed. */
#define RAM_RANGES 64u

/* What is known of it; zeroed: nothing so far. */
struct ram {
	uint64_t version;            /* of the policy's RAM */
	struct kvmattr_range extent; /* from the first page to the last, holes included */
	struct kvmattr_range ranges[RAM_RANGES];
	unsigned int n_ranges;
	bool has_more;
};

/* Looks through the policy if its RAM is not what is known of it.  Returns ram. */
const struct ram *ram_look(struct ram *ram, const struct policy *policy);

#endif
