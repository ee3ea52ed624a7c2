/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two daemons, and a VM's policy on its way from the one to the other: "guest" is here with
 * something of everything, and may be registered there without.
 */
#ifndef INTEGRATION_MIGRATION_H
#define INTEGRATION_MIGRATION_H

#include "daemon/policy/image.h"
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/simulated-vmm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGES 4096 /* of the guest */

extern struct kvmattrd *here, *there;
extern struct control_client *control_here, *control_there;
extern struct simulated_vmm *source, *target; /* target: NULL until it is started */
extern struct kvmattr *source_agent;          /* the source's, of VTL 2 */

/* What the source is, for a target that may take its policy. */
extern const struct simulated_vmm_options three_views;

/* For a fixture. */
void migration_start(void);
void migration_stop(void);
void migration_start_target(const struct simulated_vmm_options *options);

/* All pieces, from that cursor on if there is one. */
struct image migration_export(struct control_client *control, const char *cursor);
/* The call for a piece, as JSON text; the caller's to free. */
char *migration_piece(const struct image *image, size_t offset, size_t n);
/* In pieces of so many bytes; the last one's result. */
struct json_object *migration_import(struct control_client *control, const struct image *image,
				     size_t piece_size);
void migration_expect_refused(const struct image *image, int code, const char *part);

int64_t migration_commit(struct control_client *control);
/* The policies' images are the same, whatever the commits. */
bool migration_is_same_policy(const struct image *one, const struct image *other);
/* Every page of every view is the same in both simulated kernels, and as the daemon says. */
void migration_expect_same_kernels(void);

#endif
