/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A policy under test: one for each test, and what the tests of its rules do over and over.
 *
 * Every refusal is checked to have changed nothing, whatever the test is about, and at the end of
 * each test everything that was applied is taken back, which has to lead to an empty policy.
 */
#ifndef POLICY_CHECKS_H
#define POLICY_CHECKS_H

#include "daemon/policy/fold.h"
#include "daemon/policy/policy.h"

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pages 0 to RAM_PAGES - 1 are RAM, once checks_add_ram() was called; four leaves and a bit. */
#define RAM_PAGES      2100u
#define SNAPSHOT_PAGES 2560u

/* What the first pages of a policy's maps hold, the layers' fields and the counts. */
struct policy_snapshot {
	uint8_t *bytes;
	size_t n;
	size_t capacity;
};
struct policy_snapshot policy_snapshot_take(const struct policy *policy, uint64_t n_pages);
void policy_snapshot_free(struct policy_snapshot *snapshot);
bool policy_snapshot_equal(const struct policy_snapshot *a, const struct policy_snapshot *b);

/* A dialect as the probe of a kernel that has all of it shows it. */
struct dialect probed_dialect(enum kvmattr_abi abi);

extern const struct policy_actor owner;
struct policy_actor agent_of(uint8_t vtl, uint32_t rights);

/* Of the test that runs. */
extern struct policy *policy;
extern struct page_ranges touched;
extern char refusal_text[256];

/* A case whose tests begin with checks_start(), for deny and VTLs 0 to 2, and end with checks. */
TCase *policy_checks_make_case(const char *name);
/* Begins anew: views of VTLs 0 to n_views - 1, which speak abi, and no RAM. */
void checks_start(enum kvmattr_abi abi, unsigned int n_views);
void checks_start_with(const struct view *views, unsigned int n_views);
/* For cases that are not made by policy_checks_make_case(). */
void checks_stop(void);
void checks_add_ram(bool is_private);

/* Elements. */
struct policy_element protect(uint8_t layer, uint16_t restricted, uint8_t protection, uint64_t gfn,
			      uint64_t n_pages);
struct policy_element enable(uint8_t layer, uint8_t default_protection, bool mbec);
struct policy_element reset_layer(uint8_t layer);
struct policy_element pages_update(enum kvmattr_update_kind kind, uint8_t value, uint64_t gfn,
				   uint64_t n_pages);

/* Applies an element, which has to end with that status. */
void expect(struct policy_actor actor, struct policy_element element, enum kvmattr_status status);
/* The owner does it. */
void apply(struct policy_element element);
/* The owner may not. */
void refuse(struct policy_element element, enum kvmattr_status status);

/* Effective attributes of these pages of the view of that VTL, asked in each of the ways. */
void expect_effective(unsigned int vtl, uint64_t gfn, uint64_t n_pages, uint8_t attributes);
/* What a layer imposes on a VTL. */
void expect_imposed(unsigned int layer, unsigned int vtl, uint64_t gfn, uint64_t n_pages,
		    uint8_t protection);
/* Exactly these pages were touched since the last look. */
void expect_touched(uint64_t gfn, uint64_t n_pages);

#endif
