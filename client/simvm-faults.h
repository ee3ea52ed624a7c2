/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What goes wrong in a simulated kernel, and at which of its calls.
 *
 * A list of faults is written on the command line, separated by commas:
 *
 *	enomem@N  eagain@N  einval@N    call N, and only it, fails so and does nothing
 *	enomem@N:M ...                  the M calls from N on
 *	dead@N                          the executor stops answering at call N
 *	dead@N:MS                       and goes on with it after MS milliseconds
 *	exit@N                          the VMM is killed in the middle of call N
 *	partial=PAGES                   a v10 call does at most so many pages
 *	slow=USEC                       every call takes so long, at least
 *
 * Calls are counted from 1, over all views, from the registration on; a call made again counts
 * again.  This room knows when what is to happen; making it happen is the kernel's.
 */
#ifndef SIMVM_FAULTS_H
#define SIMVM_FAULTS_H

#include <stddef.h>
#include <stdint.h>

enum simvm_fault_kind {
	SIMVM_FAULT_ERROR, /* the call fails with an errno */
	SIMVM_FAULT_DEAD,
	SIMVM_FAULT_EXIT,
};

struct simvm_fault {
	enum simvm_fault_kind kind;
	int error;           /* SIMVM_FAULT_ERROR: a positive errno */
	uint64_t first;      /* call */
	uint64_t n_calls;    /* 1 but for SIMVM_FAULT_ERROR */
	uint64_t timeout_ms; /* SIMVM_FAULT_DEAD: 0 for ever */
};

#define SIMVM_MAX_FAULTS 32

struct simvm_faults {
	struct simvm_fault fault[SIMVM_MAX_FAULTS];
	size_t n;
	uint64_t partial_pages; /* 0: a call is done whole */
	uint64_t slow_us;
};

/*
 * Adds the faults of a list to those that are there.  Returns 0, or -EINVAL: then text says which
 * one is wrong and what it should look like, and *faults is as it was.
 */
__attribute__((warn_unused_result)) int simvm_faults_parse(const char *list,
							   struct simvm_faults *faults, char *text,
							   size_t text_size);

/* What happens at that call: the first of the list that is about it, or NULL. */
const struct simvm_fault *simvm_faults_at(const struct simvm_faults *faults, uint64_t call);

#endif
