/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The boot trace: what a VTL 1 does to VTL 0's memory while a guest starts, from a seed.
 *
 * Its definition is a sentence: 64 regions, each with a cursor that advances page by page in runs
 * (median 64 pages); agents take turns at the cursors and send lists of 1 to 510 pages (median 8)
 * cut from these runs; one page in ten is a lone one anywhere; a fifth of the pages is protected a
 * second time (RW, then RX or R); none 10 %, R 25 %, RX 25 %, RW 40 %.  A sentence can be read in
 * more than one way.  This is how it is read here:
 *
 * - The number of protections counts pages in lists, second times included: 300,000 protections
 *   are 250,000 pages of which 50,000 are protected twice.  The shares are of protections, too,
 *   and exact: runs draw their protection from an urn that holds one slip for each page.
 * - Regions split RAM evenly; a cursor starts where its region does and leaves no gap.
 * - A run is a stretch of one cursor with one protection.  It ends after each page with the same
 *   probability: half of all runs are shorter than 64 pages.
 * - Turns go round the cursors, and at each cursor round the agents: lists that follow each other
 *   in a run come from different agents.
 * - A list is cut from one run and has its protection.  It is at least x pages long with
 *   probability 17/(15 + 2x), up to 510, which is what a rep hypercall's page holds; cut off where
 *   the run ends, half are shorter than 8 pages, and some are full.
 * - A lone page stands in a list in the place of a run's page, one place in ten; the run goes on
 *   behind it.  It is drawn from all RAM that no cursor comes to and no other lone page has.
 * - A run that is protected twice is RW until its end is reached; then its lists, lone pages
 *   included, are sent once more, by the same agents, as RX or R.
 *
 * So every page belongs to one agent, which sends its protections in order, and what a page is in
 * the end does not depend on how the agents' updates interleave: a replay into a flat array is an
 * oracle.
 *
 * Where the kernel cannot say "no access" (v10), the others share its part.  Where it knows
 * private and shared alone (mainline), the pages become private, and those of the second time
 * shared again: 5/6 and 1/6 of all.
 *
 * A lone page needs a call whoever merges, so that even one batch of everything needs 0.38 of the
 * calls that merging only the consecutive pages of each list needs (tests/unit/test-simvm-trace.c
 * has the figures).
 *
 * Integers only, and a generator of its own: the same on every machine.  Pure; no I/O.
 */
#ifndef SIMVM_TRACE_H
#define SIMVM_TRACE_H

#include <kvmattr.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIMVM_TRACE_N_REGIONS  64u
#define SIMVM_TRACE_LIST_PAGES 510u

struct simvm_trace_options {
	uint64_t seed;
	uint64_t ram_pages; /* from GFN 0 on */
	uint64_t n_protections;
	unsigned int n_agents;
	enum kvmattr_abi abi; /* what the VM's kernel can be told */
};

/* One update: n pages of simvm_trace.gfns from first on. */
struct simvm_list {
	uint64_t first;
	uint32_t n;
	uint32_t run;
	uint16_t agent;
	uint8_t value; /* of the update: a protection, or 1 for private */
	bool again;    /* the second time */
};

struct simvm_trace {
	enum kvmattr_update_kind kind; /* KVMATTR_PROTECT or KVMATTR_SET_VISIBILITY */
	struct simvm_list *lists;      /* in the order of their turns */
	size_t n_lists;
	uint64_t *gfns; /* each page once */
	size_t n_gfns;
	size_t n_lone;
	size_t n_runs;
	uint64_t n_protections;
	uint64_t ram_pages;
	unsigned int n_agents;
};

/*
 * Returns 0, -ENOMEM, or -EINVAL if such a trace does not fit: then text says what would.
 * *ret is for simvm_trace_destroy().
 */
__attribute__((warn_unused_result)) int simvm_trace_generate(
	const struct simvm_trace_options *options, struct simvm_trace *ret, char *text,
	size_t text_size);
void simvm_trace_destroy(struct simvm_trace *trace);

/* The same for equal traces, on every machine. */
uint64_t simvm_trace_hash(const struct simvm_trace *trace);

/* The effective attributes that an update with that value brings about. */
uint8_t simvm_trace_effective(const struct simvm_trace *trace, uint8_t value);
/* Does the first n_in_force pages of a list to a flat array of effective attributes. */
void simvm_trace_replay(const struct simvm_trace *trace, size_t list, uint32_t n_in_force,
			uint8_t *oracle);

/* For one view: the calls it takes to merge only the consecutive pages of each list, */
uint64_t simvm_trace_calls_unmerged(const struct simvm_trace *trace);
/* and the fewest that bring n_pages from all open and shared to what the oracle holds. */
uint64_t simvm_trace_calls_fewest(const uint8_t *oracle, uint64_t n_pages);

#endif
