/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon says of itself and its VMs at one moment, and what went on since an earlier one.
 *
 * The daemon counts from the registration of a VM, or from its own start where it recovered one.
 * So rates are differences of two samples, and there are none across a restart.
 */
#ifndef KVMATTRCTL_SAMPLE_H
#define KVMATTRCTL_SAMPLE_H

#include "client/kvmattrctl-rpc.h"
#include "daemon/latency.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The counters that become rates. */
enum figure { FIGURE_UPDATES, FIGURE_PAGES, FIGURE_CALLS, FIGURE_BATCHES, N_FIGURES };

struct sample_vm {
	char *name;
	char *life; /* its journal's name: one for each registration */
	char *state;
	bool is_degraded;
	bool is_frozen;
	uint64_t n_unknown; /* pages of which it is not known what KVM enforces */
	uint64_t queue;
	uint64_t n_sessions;
	uint64_t n_detached;
	uint64_t n_failed; /* updates, as counted */
	uint64_t counted[N_FIGURES];
	uint64_t since_us;      /* since when is counted */
	struct latency latency; /* of updates, from receipt to answer, as counted */
	uint64_t batch_us_total;
	uint64_t batch_us_max; /* as counted: of all batches */
	char *journal_trouble; /* NULL: none */

	/* Since the earlier sample. */
	bool has_rates;
	double rates[N_FIGURES]; /* a second */
	uint64_t n_batches;
	uint64_t batch_us_mean; /* if there were any */
	uint64_t n_updates;     /* that were answered */
	uint64_t p50_us;        /* of these, if there were any */
	uint64_t p90_us;
	uint64_t p99_us;
	bool max_is_new; /* the longest of all was one of these */
};

struct sample {
	uint64_t taken_us;    /* CLOCK_MONOTONIC */
	uint64_t clock_us;    /* since 1970 */
	uint64_t interval_us; /* since the earlier one; 0: there is none */
	bool is_restarted;    /* the daemon, since the earlier one */
	char *version;
	uint64_t pid;
	uint64_t started_us;
	uint64_t uptime_us;
	uint64_t n_daemon_vms; /* of all VMs, watched or not */
	uint64_t n_daemon_sessions;
	struct sample_vm *vms; /* those in trouble first, those that are frozen, the busiest */
	size_t n_vms;
};

/*
 * Takes a sample, of the VM of that name or of all (NULL), and compares it with an earlier one,
 * which may be NULL.  A VM that is not there is not in it.  CTL_OK: *ret is the caller's.
 */
__attribute__((warn_unused_result)) enum ctl_exit sample_take(struct rpc *rpc, const char *vm,
							      const struct sample *earlier,
							      struct sample **ret);
void sample_free(struct sample *sample);

bool sample_vm_is_in_trouble(const struct sample_vm *vm);
/* "stuck", "degraded" or "frozen" where it is, the gravest first; else its state. */
const char *sample_vm_state(const struct sample_vm *vm);

#endif
