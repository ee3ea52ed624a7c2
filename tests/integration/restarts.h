/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One daemon after the other in the same place, and what the latest one says of the VMs that an
 * earlier one had: over its control socket, and in its journals' files.
 */
#ifndef INTEGRATION_RESTARTS_H
#define INTEGRATION_RESTARTS_H

#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/raw-peer.h"

#include <stdbool.h>
#include <stdint.h>

/* How long a VM may be there that is to be released at once: no grace is waited for (30 s). */
#define GONE_MS 5000

/* The daemon that runs, and a client of its control socket. */
extern struct kvmattrd *d;
extern struct control_client *control;

/* configuration: a file's text, or NULL. */
void start(const char *configuration);
void kill_daemon(void);
/* The next one, in the same place. */
void launch(const char *configuration);
/* Both. */
void restart(void);
void stop(void);

void expect_vm(const char *name, const char *state, bool is_recovered);
/* What layer 1 imposes on VTL 0 at a page, and where that comes from. */
void expect_layer(const char *vm, uint64_t gfn, const char *protection, const char *source);
int64_t commit_of(const char *vm);

/* A VM whose owner had two updates answered: layer 1 is enabled, pages 5 and 6 are read-only. */
struct raw_vm make_vm(const char *name);

/* The directory of the only journal of that VM; "": there is none.  Until the next call. */
const char *journal_of(const char *vm);
/* The first segment of it. */
const char *segment_of(const char *vm);

#endif
