/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agents of a simulated VM: each a process that holds a delegated socket and nothing else.
 *
 * An agent adopts its socket, waits for the start, and sends its lists of the trace, pipelined, in
 * order.  What became of each list it notes in memory that it shares with the VMM; that is all
 * they share, so an agent lives and dies as a real one does.  When the VM goes away under it, it
 * says so on standard error itself, because the VMM may be what died.
 */
#ifndef SIMVM_AGENTS_H
#define SIMVM_AGENTS_H

#include "client/simvm-trace.h"

#include <kvmattr.h>

#include <stddef.h>
#include <stdint.h>

struct simvm_agents;

#define SIMVM_UNANSWERED (-1)

/* What the daemon said of a list. */
struct simvm_outcome {
	int32_t status; /* enum kvmattr_status, or SIMVM_UNANSWERED */
	uint32_t n_in_force;
};

/* So far. */
struct simvm_progress {
	uint64_t updates; /* answered */
	uint64_t failures;
	uint64_t pages;  /* in force */
	uint64_t commit; /* the highest */
};

/*
 * Starts trace->n_agents processes; the i-th has sockets[i], all of which are closed here.
 * pipeline: at most so many updates of an agent are under way; 0: as many as the daemon takes.
 * The trace is shared as it is and stays the caller's.  Returns when all of them have said hello
 * to the daemon; 0, or a negative errno: -EPIPE if one of them could not.
 */
__attribute__((warn_unused_result)) int simvm_agents_start(const struct simvm_trace *trace,
							   const int *sockets,
							   unsigned int pipeline,
							   struct simvm_agents **ret);
/* Lets them loose. */
void simvm_agents_go(struct simvm_agents *agents);
/* Polls as a hangup (POLLHUP) when all of them have ended. */
int simvm_agents_fd(const struct simvm_agents *agents);
/* Reaps them; returns how many ended because the daemon or the VM was gone. */
unsigned int simvm_agents_wait(struct simvm_agents *agents);
/* Kills those that have not ended. */
void simvm_agents_free(struct simvm_agents *agents);

struct simvm_progress simvm_agents_progress(const struct simvm_agents *agents);
const struct simvm_outcome *simvm_agents_outcome(const struct simvm_agents *agents, size_t list);
/* From simvm_agents_go() to the last answer, or to now while there are answers to come. */
uint64_t simvm_agents_elapsed_ns(const struct simvm_agents *agents);

/* The first failures of each agent, with their texts; NULL when there is no i-th. */
struct simvm_failure {
	unsigned int agent;
	size_t list;
	int status;
	uint32_t n_in_force;
	char text[128];
};
const struct simvm_failure *simvm_agents_failure(const struct simvm_agents *agents, size_t i);

#endif
