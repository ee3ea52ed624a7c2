/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The world (vm-world.h) of most tests of a VM's state machine, as a fixture: the deny dialect, views
 * of VTL 0, 1 and 3.
 */
#ifndef DENY_WORLD_H
#define DENY_WORLD_H

#include "tests/unit/policy-checks.h" /* owner */
#include "tests/unit/vm-world.h"

extern struct world *world;

void deny_world_start(void);
void deny_world_stop(void);
/* Another one, with these limits. */
void deny_world_restart(const struct vm_limits *limits);

#endif
