/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A walk through guest memory, run by run, that ends before it takes too long.
 *
 * The runs are a view's effective attributes, or what one layer imposes.  Where the walk stopped,
 * be it that its time was up or that the caller had enough, another can go on: what is known of a
 * VM between two walks is its commit number, not a snapshot.  RAM only.
 */
#ifndef KVMATTRD_MAP_WALK_H
#define KVMATTRD_MAP_WALK_H

#include "daemon/vm.h"

struct map_walk {
	const struct vm *vm;
	unsigned int vtl;
	unsigned int layer;
	uint64_t gfn; /* where to go on */
	uint64_t end;
	uint64_t deadline_us;
	unsigned int n_steps;
};

/*
 * layer: 0 for effective attributes.  vtl has a view; a layer is enabled and above it.  At least
 * some steps are made, however little max_us is, so that who goes on gets on.
 */
void map_walk_begin(struct map_walk *walk, const struct vm *vm, unsigned int vtl,
		    unsigned int layer, uint64_t gfn, uint64_t end, uint64_t max_us);
/*
 * The next run.  Of a layer, state is 1 where the protection is explicit, 0 where it is the
 * default.  False: no RAM is left up to end (then gfn is end), or the time is up.
 */
bool map_walk_next(struct map_walk *walk, struct vm_run *ret_run);

/* What there is in some pages. */
struct map_count {
	uint64_t protections[KVMATTR_PROTECTION + 1]; /* pages that have it */
	uint64_t n_ram;
	uint64_t n_private;
	uint64_t n_pending;
	uint64_t n_unknown;
};

/*
 * Counts a view's pages up to limit, at most the walk's end, adding to count.  False: the time is
 * up before.  Where most pages differ from the next, this is many times as fast as going by runs.
 */
bool map_walk_count(struct map_walk *walk, uint64_t limit, struct map_count *count);

#endif
