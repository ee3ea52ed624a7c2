/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The policy model once more, as plain as it can be: an array of pages, each with all that is to
 * be known about it, and every question answered page by page.
 *
 * Written from the design's text (its sections 2 and 4), not from the daemon's code, which is
 * compared with it.  It keeps no maps, merges nothing, and knows no undo: a copy is an undo.
 */
#ifndef POLICY_ORACLE_H
#define POLICY_ORACLE_H

#include "daemon/policy/policy.h"

#include <stdbool.h>
#include <stdint.h>

/* Seven leaves and a bit; what lies behind is never RAM. */
#define ORACLE_PAGES 3700u
#define ORACLE_VIEWS 4u

#define ORACLE_NO_ENTRY (-1)

struct oracle_page {
	bool is_ram, is_private, was_private;
	uint8_t n_locks;
	int8_t entry[KVMATTR_N_VTLS][ORACLE_VIEWS]; /* of a layer for a view: protection or none */
};

struct oracle_layer {
	bool enabled, mbec;
	uint8_t by_default;
};

struct oracle {
	unsigned int n_views;
	struct {
		uint8_t vtl;
		enum kvmattr_abi abi;
	} views[ORACLE_VIEWS];
	struct oracle_layer layers[KVMATTR_N_VTLS];
	struct oracle_page pages[ORACLE_PAGES];
};

/* No RAM, no layer.  The views' VTLs and dialects are the policy's. */
void oracle_init(struct oracle *oracle, const struct policy *policy);

/* Can a kernel of that dialect enforce these effective attributes? */
bool oracle_can_enforce(enum kvmattr_abi abi, unsigned int attributes);

/*
 * Every rule that an element breaks: a set of statuses, bit s for status s; 0: it has to be done.
 * Which of several broken rules is told is nobody's business.
 */
uint32_t oracle_judge(const struct oracle *oracle, const struct policy_actor *actor,
		      const struct policy_element *element);
/* Does what an element says that breaks no rule. */
void oracle_apply(struct oracle *oracle, const struct policy_element *element);

/* What the page is for the view: a protection and KVMATTR_PRIVATE. */
uint8_t oracle_effective(const struct oracle *oracle, unsigned int view, uint64_t gfn);
/* What a layer alone allows the view on that page. */
uint8_t oracle_imposed(const struct oracle *oracle, unsigned int layer, unsigned int view,
		       uint64_t gfn);

/* The policy holds exactly what the oracle does: pages, locks, layers, counts.  A Check assertion. */
void oracle_expect_same(const struct oracle *oracle, const struct policy *policy);
/* All the folds of the policy say what the oracle says, from some page on, for some accesses. */
void oracle_expect_same_fold(const struct oracle *oracle, const struct policy *policy,
			     uint64_t *random);

#endif
