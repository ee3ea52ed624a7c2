/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattr-simvm's command line.
 */
#ifndef SIMVM_OPTIONS_H
#define SIMVM_OPTIONS_H

#include "client/simvm-faults.h"

#include <kvmattr.h>

#include <stdbool.h>
#include <stdint.h>

enum simvm_progress_when { SIMVM_PROGRESS_AUTO, SIMVM_PROGRESS_ALWAYS, SIMVM_PROGRESS_NEVER };

struct simvm_options {
	const char *socket;
	const char *runtime_dir;
	const char *name;
	uint64_t ram_bytes;
	uint64_t n_views;
	enum kvmattr_abi abi;
	enum kvmattr_abi pin;
	bool has_trace;
	uint64_t n_pages;
	uint64_t n_agents;
	uint64_t seed;
	uint64_t pipeline;
	struct simvm_faults faults;
	bool stay;
	bool quiet;
	bool json;
	enum simvm_progress_when progress;
};

/* Says what is wrong and exits (64) if something is; also after --help and --version. */
void simvm_options_parse(int argc, char **argv, struct simvm_options *ret);

#endif
