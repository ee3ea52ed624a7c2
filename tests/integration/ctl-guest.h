/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A daemon and a VM, "guest", of which kvmattrctl is asked.
 */
#ifndef INTEGRATION_CTL_GUEST_H
#define INTEGRATION_CTL_GUEST_H

#include "tests/integration/control-client.h"
#include "tests/integration/ctl-program.h"
#include "tests/integration/simulated-vmm.h"

/* Of the test that runs; for a fixture. */
extern struct kvmattrd *d; /* restarts.h */
extern struct control_client *control;
extern struct simulated_vmm *guest;

/* 16 MiB of RAM, and layer 1 with rwx: at commit 2. */
void ctl_guest_start(void);
/* The same; and rx on pages 16 to 31, then none on 32 to 39: at commit 4. */
void ctl_guest_start_protected(void);
void ctl_guest_stop(void);

#endif
