/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fold: effective attributes of a view, from the layers above it and the visibility.
 *
 * effective(t, page) = visibility(page) and the intersection over enabled layers k > t of what k
 * allows VTL t there.  Pages that are not RAM are KVM's default: all allowed, shared.
 */
#ifndef KVMATTRD_FOLD_H
#define KVMATTRD_FOLD_H

#include "policy.h"

/* Pages from one on, at most a leaf's or all equal, and what they are to be. */
struct fold_span {
	uint64_t end; /* first GFN behind the span */
	bool is_uniform;
	uint8_t value;                           /* where uniform */
	uint8_t bytes[ATTRIBUTE_MAP_LEAF_PAGES]; /* otherwise; [0] is the asked GFN */
};

/* The effective attributes of pages from gfn on; the span ends at limit at most. */
void fold_effective(const struct policy *policy, const struct view *view, uint64_t gfn,
		    uint64_t limit, struct fold_span *ret_span);
uint8_t fold_effective_at(const struct policy *policy, const struct view *view, uint64_t gfn);
/* The protections that layer imposes on VTL t, from gfn on: explicit or the default. */
void fold_layer(const struct policy *policy, unsigned int layer, unsigned int restricted_vtl,
		uint64_t gfn, uint64_t limit, struct fold_span *ret_span);

struct fold_explanation {
	uint8_t attributes; /* effective */
	uint16_t denying;   /* set of the layers that deny the access */
	uint8_t layer;      /* the highest of them, 0 if there is none: where the intercept goes */
};

/* access: KVMATTR_READ, KVMATTR_WRITE, KVMATTR_EXECUTE bits. */
struct fold_explanation fold_explain(const struct policy *policy, const struct view *view,
				     uint64_t gfn, unsigned int access);

#endif
