/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Three accounts of the same guest, compared page by page and view by view: what the simulated
 * kernel holds, what the daemon says, and what the trace must have come to.
 *
 * The third is an oracle: a flat array to which every update was done, as far as the daemon said
 * that it is in force.  It holds because no page belongs to two agents (simvm-trace.h).  Pages
 * that the daemon does not claim to know are counted, and compared with nobody.
 */
#ifndef SIMVM_COMPARE_H
#define SIMVM_COMPARE_H

#include "client/simvm-agents.h"
#include "client/simvm-kernel.h"
#include "client/simvm-trace.h"

#include <kvmattr.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct simvm_comparison {
	uint64_t compared; /* pages, of all views */
	bool has_oracle;   /* no agent lost its connection: what was in force is known */
	uint64_t differ_from_oracle;
	uint64_t differ_from_daemon;
	uint64_t not_known_to_daemon; /* pages that it calls pending or unknown */
	uint64_t calls_fewest;        /* for one view, to get there in one batch; with the oracle */
};

/*
 * Compares the kernel's n_views views (view t is VTL t) of n_pages pages each with the daemon's,
 * asked over owner, and, with agents that have all ended well, with their trace's oracle; agents
 * and trace may be NULL.  The first pages that differ are told on standard error.  Returns 0, or
 * what kvmattr_query() returned, or -ENOMEM.
 */
__attribute__((warn_unused_result)) int simvm_compare(struct kvmattr *owner,
						      const struct simvm_kernel *kernel,
						      unsigned int n_views, uint64_t n_pages,
						      const struct simvm_trace *trace,
						      const struct simvm_agents *agents,
						      struct simvm_comparison *ret);

#endif
