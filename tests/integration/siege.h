/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A daemon that is about to be mistreated, and what may not suffer from it.
 *
 * A bystander works on all the while.  In the end the daemon has as many descriptors, VMs and
 * sessions as before, and stops when it is asked to.
 */
#ifndef INTEGRATION_SIEGE_H
#define INTEGRATION_SIEGE_H

#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/vmm-process.h"

struct siege {
	struct kvmattrd *daemon;
	struct control_client *control;
	struct bystander *bystander;
	struct daemon_state before;
};

/* configuration: a file's text, or NULL. */
struct siege siege_begin(const char *configuration);
void siege_end(struct siege *siege);

#endif
