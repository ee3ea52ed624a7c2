/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that lives through its daemon's deaths: a VMM and three agents at once, through libkvmattr
 * alone, against a simulated kernel.
 *
 * Every answer is foretold and compared: its status, how many elements are in force, and that the
 * kernel enforces these at that very moment.  At the end the daemon's account of every page, the
 * simulated kernel's page table and a flat array to which each update was done as it was answered
 * have to be the same.  An update done twice would show: layers are enabled and pages locked once.
 */
#ifndef CRASH_GUEST_H
#define CRASH_GUEST_H

#include <stdbool.h>
#include <stdint.h>

struct guest_options {
	const char *agent_socket;
	unsigned int n_bursts;         /* of each agent */
	unsigned int pages_per_update; /* at most */
	bool sockets_end;              /* with the daemon: there is nobody to keep them for it */
};

/* Lives, in the calling process.  Returns 0; otherwise what was wrong was told on standard error. */
int guest_live(const struct guest_options *options);

#endif
