/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/deny-world.h"

#include "tests/unit/seeded-suite.h"

#define DENY 1 /* among the mixes of views */

struct world *world;

void deny_world_start(void)
{
	world = world_new(DENY, &world_limits);
	world->random = seeded_suite_random(0);
}

void deny_world_stop(void)
{
	world_free(world);
}

void deny_world_restart(const struct vm_limits *limits)
{
	world_free(world);
	world = world_new(DENY, limits);
}
