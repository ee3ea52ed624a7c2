/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a batch changed in a policy, so that it can be taken back: last change first.
 *
 * The undo log belongs to policy.c, which writes it as it changes things; whoever drives a policy
 * only keeps, clears or undoes it (policy.h).
 */
#ifndef KVMATTRD_UNDO_LOG_H
#define KVMATTRD_UNDO_LOG_H

#include "policy.h"

/* Pages gfn to gfn + n_pages - 1 of map held value. */
void undo_log_add_pages(struct policy_undo_log *log, struct attribute_map *map, uint64_t gfn,
			uint64_t n_pages, uint8_t value);
/* The n pages from gfn on, all in one leaf, held these values. */
void undo_log_add_bytes(struct policy_undo_log *log, struct attribute_map *map, uint64_t gfn,
			size_t n, const uint8_t *values);
/* The whole map held what old holds, which is the log's from then on. */
void undo_log_add_map(struct policy_undo_log *log, struct attribute_map *map,
		      struct attribute_map old);
/* The layer was as it is now, its maps aside. */
void undo_log_add_layer(struct policy_undo_log *log, struct layer *layer);
/* The policy's counts were as they are now. */
void undo_log_add_counts(struct policy_undo_log *log, struct policy *policy);

#endif
