/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a VM has RAM, for people: ranges in the order of addresses, and the whole extent.
 *
 * The policy knows RAM page by page; a guest has a few ranges of it.  Only looks.
 */
#ifndef KVMATTRD_RAM_H
#define KVMATTRD_RAM_H

#include "daemon/policy/policy.h"

#include <stdbool.h>
#include <stdint.h>

/* The first range of RAM from gfn on; false if there is none. */
bool ram_next_range(const struct policy *policy, uint64_t gfn, struct kvmattr_range *ret_range);
/* From the first page of RAM to the last, holes included; no pages if there is no RAM. */
struct kvmattr_range ram_extent(const struct policy *policy);

#endif
