/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VTL 1's agent: a process of its own that asks for VTL 1's protections.
 *
 * It stands for a secure kernel, or the paravisor that serves it.  It is started before the VM is
 * made and holds nothing of it: no VM, no guest memory, not the owner's connection.  All its
 * authority is the socket that the VMM hands it, from kvmattr_open_agent().  What the guest's
 * VTL 1 would ask with a hypercall comes over a second socket, from the VMM.
 */
#ifndef VSM_AGENT_H
#define VSM_AGENT_H

#include <kvmattr.h>

#include <stdint.h>
#include <sys/types.h>

struct agent {
	pid_t pid;
	int socket;
};

#define AGENT_MAX_PAGES  512u
#define AGENT_MAX_RANGES 32u

/* What VTL 1 asks for. */
struct agent_request {
	uint8_t kind;  /* KVMATTR_ENABLE_LAYER, _RESET_LAYER, _PROTECT or _SET_VISIBILITY */
	uint8_t value; /* a protection, or 1 for private */
	uint16_t n_pages;
	uint16_t n_ranges;
	union { /* whichever of them is not 0; visibility is set for ranges */
		uint64_t gfns[AGENT_MAX_PAGES];
		struct kvmattr_range ranges[AGENT_MAX_RANGES];
	};
};

struct agent_answer {
	int32_t status;      /* what the library returned */
	uint64_t n_in_force; /* of the pages or ranges */
	char text[200];      /* kvmattr_message() */
};

/* Starts the process.  Call it before there are threads.  0 or a negative errno. */
__attribute__((warn_unused_result)) int agent_start(struct agent *ret_agent);
/* Closes the agent's sockets, and waits for the process to end. */
void agent_stop(struct agent *agent);

/* Hands the agent the socket that it is to speak on; fd stays the caller's. */
__attribute__((warn_unused_result)) int agent_hand_over(const struct agent *agent, int fd);
/* Sends a request; the answer can be received when agent->socket is readable. */
__attribute__((warn_unused_result)) int agent_send(const struct agent *agent,
						   const struct agent_request *request);
__attribute__((warn_unused_result)) int agent_receive(const struct agent *agent,
						      struct agent_answer *ret_answer);

#endif
