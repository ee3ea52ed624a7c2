/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a checkpoint's file holds behind its header: private to checkpoint.c.
 *
 * Facts, the registration with its views, the sessions with their failures, the doubtful ranges,
 * the policy's image.  The same replay gives the same bytes, and whatever a replay could not have
 * come to be is refused, checksum or not.  Knows bytes, no files.
 */
#ifndef KVMATTRD_CHECKPOINT_BODY_H
#define KVMATTRD_CHECKPOINT_BODY_H

#include "replay.h"

void checkpoint_body_add(const struct replay *replay, struct image *bytes);
/*
 * Fills an empty replay, but for its numbers, from the bytes of a file from offset on.  0, or with
 * *ret_error -EBADMSG, -EPROTO (of the image's format) or -E2BIG (max_map_bytes).
 */
__attribute__((warn_unused_result)) int checkpoint_body_read(const uint8_t *file_bytes, size_t size,
							     size_t offset, const char *file,
							     struct replay *replay,
							     struct journal_error *ret_error);

#endif
