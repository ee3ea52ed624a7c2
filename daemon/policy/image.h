/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A policy as bytes: what a checkpoint holds, and what one daemon exports and another imports.
 *
 * RAM, visibility, locks, layers and the views with their dialects; not what KVM was told.  The
 * same policy gives the same bytes, whatever led to it.  Little-endian; doc/kvmattr-journal.5.scd
 * has the layout.  Reading believes nothing: whatever a policy could not have come to be is
 * refused, so a policy that was read is as good as one that grew from updates.
 */
#ifndef KVMATTRD_IMAGE_H
#define KVMATTRD_IMAGE_H

#include "policy.h"

#include <stddef.h>

/* Bytes that grow.  A zeroed structure is empty. */
struct image {
	uint8_t *data;
	size_t size;
	size_t capacity;
};

void image_destroy(struct image *image);
/* Adds bytes at the end. */
void image_add(struct image *image, const void *data, size_t size);

/* Adds the policy's image at the end. */
void policy_image_write(const struct policy *policy, struct image *image);
/*
 * Makes the policy that size bytes of an image describe; all of them are used.  max_map_bytes: what
 * its maps may need of memory, about; 0: no limit.  What KVM was told is not known from it:
 * policy_assume_applied().  Returns 0, or -EBADMSG for bytes that are no policy's image, -EPROTO
 * for a later version, -E2BIG for one that needs more memory: then *ret_offset and text say where
 * and why.
 */
__attribute__((warn_unused_result)) int policy_image_read(const uint8_t *data, size_t size,
							  size_t max_map_bytes, struct policy **ret,
							  size_t *ret_offset, char *text,
							  size_t text_size);

#endif
