/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is asked of the daemon and of the guest, one story after another; vsm-check.h compares.
 */
#ifndef VSM_CASES_H
#define VSM_CASES_H

#include "vsm-vmm.h"

/* A VM on which KVM holds no attributes is refused, and the refusal says what is missing. */
void cases_refuse_ordinary_vm(const char *agent_socket, const char *name,
			      const struct guest *guest);
/* A VM that is pinned to another dialect than the kernel's (abi; -1: not known) is refused. */
void cases_refuse_wrong_pin(const char *agent_socket, const char *name, const struct guest *guest,
			    int abi);
/*
 * Everything else, on a registered VM whose agent has its socket; at the end the agent is gone.
 * expected_abi: enum kvmattr_abi or -1; expected_executor: "vmm", "daemon" or NULL.
 */
void cases_run(struct vmm *vmm, int expected_abi, const char *expected_executor);
#endif
