/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMs in processes of their own: one that a test may stop or kill, and one that only wants to be
 * left in peace.
 *
 * The bystander registers a VM of its own and protects pages, one after the other, as long as it
 * runs; each answer has to be in force and to come soon.  Whatever a test does to the daemon
 * meanwhile, the bystander is not to notice.
 */
#ifndef INTEGRATION_VMM_PROCESS_H
#define INTEGRATION_VMM_PROCESS_H

#include "tests/integration/simulated-vmm.h"

#include <sys/types.h>

struct vmm_process {
	pid_t pid;
	struct kvmattr *agent; /* of VTL 1, in the test's process */
};

/* Starts a simulated VMM, enables its layer 1, and becomes VTL 1's agent. */
struct vmm_process vmm_process_start(const struct kvmattrd *daemon,
				     const struct simulated_vmm_options *options);
/* Kills it if it is there, and closes the agent. */
void vmm_process_end(struct vmm_process *vmm);

struct bystander;

struct bystander *bystander_start(const struct kvmattrd *daemon);
/* So many updates that it had answered so far. */
uint64_t bystander_count(const struct bystander *bystander);
/* It gets on: more updates are answered from now on. */
void bystander_expect_progress(const struct bystander *bystander);
/* All was well until the end. */
void bystander_stop(struct bystander *bystander);

#endif
