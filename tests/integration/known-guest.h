/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A daemon, and a VM of which every commit is known to the page: what tests ask about the past of.
 */
#ifndef INTEGRATION_KNOWN_GUEST_H
#define INTEGRATION_KNOWN_GUEST_H

#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/simulated-vmm.h"

/*
 * Each update of "guest" is a commit of its own, as it was waited for:
 *	1 RAM, 4096 pages; 2 layer 1 enabled, rwx; 3 rx on 16 to 31; 4 none on 32 to 39;
 *	5 100 to 109 private; 6 page 50 locked; 7 rw on page 20, by another agent
 */
#define KNOWN_LAST_COMMIT 7

struct known_guest {
	struct kvmattrd *daemon;
	struct control_client *control;
	struct simulated_vmm *vmm; /* NULL: it was released */
	struct kvmattr *agent;
	struct kvmattr *second;
	char journal[128]; /* its directory's name */
};

/* Of the test that runs; for a fixture. */
extern struct known_guest known;
void known_guest_start(void);
void known_guest_stop(void);
/* The VM is gone: what is left is its journal, which says so. */
void known_guest_release(void);

/* journal.state_at says what stood at the commit, whether asked at once or a few runs at a time. */
void known_guest_expect_state_at(const char *name, int commit, unsigned int limit);

#endif
