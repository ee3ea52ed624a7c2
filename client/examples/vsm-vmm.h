/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VMM whose guest has VTL 0 and VTL 1: what its rooms share.
 *
 * vsm-vmm.c is the VMM, and the example of a VMM's side of libkvmattr; vsm-agent.c is the
 * example of an agent's side; vsm-guest.c is KVM.  vsm-cases.c asks whether what the agent was
 * promised holds in the guest, vsm-check.c compares (and asks, as a VMM does when its guest was
 * stopped, which VTL gets the intercept), and vsm-model.c says what should hold; vsm-statistics.c
 * asks what KVM itself has counted meanwhile.
 */
#ifndef VSM_VMM_H
#define VSM_VMM_H

#include "vsm-agent.h"
#include "vsm-guest.h"

#include <kvmattr.h>

#include <stdbool.h>

#define VMM_N_VTLS 2

struct vmm {
	const char *name;
	const char *agent_socket;   /* the daemon's; NULL: the library's default */
	const char *control_socket; /* the daemon's; NULL: KVM's statistics are not asked for */
	struct guest_ram ram;
	struct guest *vtl[VMM_N_VTLS];
	struct kvmattr *owner;
	struct kvmattr_registration registration;
	bool runs_loop; /* drives the executor from its own event loop */
	struct agent agent;
};

/* "vmm-thread", "vmm-loop" or "daemon": who carries out the calls. */
const char *vmm_executor_name(const struct vmm *vmm);

/*
 * Has the agent do what VTL 1 asks, and carries on with the executor's work meanwhile.  Returns 0
 * when there is an answer, or a negative errno: the agent, the executor or the daemon is gone.
 */
__attribute__((warn_unused_result)) int vmm_serve_hypercall(struct vmm *vmm,
							    const struct agent_request *request,
							    struct agent_answer *ret_answer);

#endif
