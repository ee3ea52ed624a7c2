/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a run of the simulated VM came to, as a table for people or as JSON for programs.
 *
 * Both are written from one list of fields.  The table ends with the line `0 pages differ` if,
 * and only if, all is well.
 */
#ifndef SIMVM_REPORT_H
#define SIMVM_REPORT_H

#include "client/simvm-agents.h"
#include "client/simvm-compare.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct simvm_report {
	const char *vm;
	const char *abi;
	uint64_t ram_bytes;
	unsigned int n_views;
	struct simvm_comparison comparison;
	struct simvm_kernel_statistics kernel; /* during the trace, but pages_outside: ever */

	const struct simvm_agents *agents; /* NULL, and nothing below, if there was no trace */
	const struct simvm_trace *trace;
	uint64_t seed;
	char trace_hash[19]; /* 0x... */
	struct simvm_progress done;
	unsigned int agents_lost; /* for which the daemon or the VM was gone */
	uint64_t batches;
	uint64_t calls_before_trace; /* to register, and to enable layer 1 */
	double elapsed_s;
};

/* Every page is as everyone says, and every agent came to its end. */
bool simvm_report_is_well(const struct simvm_report *report);

void simvm_report_print(const struct simvm_report *report, FILE *stream);
/* The table's last line alone. */
void simvm_report_print_verdict(const struct simvm_report *report, FILE *stream);
void simvm_report_print_json(const struct simvm_report *report, FILE *stream);

#endif
