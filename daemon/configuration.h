/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the operator decided: built-in values, then the configuration file, then the command line.
 *
 * One table holds every setting with its place, its limits and what it means; the file is read by
 * it, and kvmattrd.conf's manual page follows it.
 */
#ifndef KVMATTRD_CONFIGURATION_H
#define KVMATTRD_CONFIGURATION_H

#include "log.h"

#include <stdbool.h>
#include <stdint.h>

struct authority_list;

struct configuration {
	char *runtime_dir;
	char *state_dir;
	bool allow_simulated;
	bool sandbox;
	uint64_t log_level; /* enum log_level */
	uint64_t socket_mode;
	uint64_t socket_group; /* a gid; (gid_t)-1: none was named */
	uint64_t max_vms;
	uint64_t max_sessions;
	uint64_t max_vms_per_user;
	uint64_t max_sessions_per_user;
	uint64_t max_clients_per_user;
	uint64_t max_updates_in_flight;
	uint64_t max_elements_per_batch;
	uint64_t max_pages_per_call;
	uint64_t executor_deadline_ms;
	uint64_t max_map_mib;
	uint64_t max_memory_mib; /* 0: was not set */
	uint64_t max_memory_mib_per_user;
	uint64_t owner_grace_ms;
	uint64_t agent_grace_ms;
	struct authority_list *may_register;
	struct authority_list *may_observe;
	struct authority_list *may_operate;
	uint64_t durability; /* enum durability */
	uint64_t journal_segment_mib;
	uint64_t journal_mib;
	uint64_t past_journals;
};

void configuration_init(struct configuration *configuration);
void configuration_destroy(struct configuration *configuration);
/*
 * Reads a file over what is there.  Returns 0, or a negative errno: then what is wrong was logged
 * with file, line and key, and nothing was changed.
 */
__attribute__((warn_unused_result)) int configuration_read(struct configuration *configuration,
							   const char *path);
/*
 * What holds: half of the machine's memory, and half of that for each user, unless they were set.
 */
uint64_t configuration_memory_mib(const struct configuration *configuration);
uint64_t configuration_memory_mib_per_user(const struct configuration *configuration);
/* What is another one in from, but for settings that take a restart: these the log names. */
void configuration_take_over(struct configuration *configuration, struct configuration *from);

#endif
