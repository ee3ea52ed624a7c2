/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What should hold: VTL 1's layer over VTL 0 and the pages' visibility, as two flat arrays.
 *
 * Written from the policy's rules, not from the daemon's code, and too slow and too large for
 * anything but a small guest: it is what the guest and the daemon are compared with.
 */
#ifndef VSM_MODEL_H
#define VSM_MODEL_H

#include "vsm-agent.h"

#include <kvmattr.h>

#include <stdbool.h>
#include <stdint.h>

struct model {
	enum kvmattr_abi abi;
	uint64_t n_pages;
	bool is_enabled; /* the layer */
	uint8_t default_protection;
	uint8_t *entries;    /* explicit protections; MODEL_NO_ENTRY where the default holds */
	uint8_t *visibility; /* KVMATTR_PRIVATE or 0 */
};

#define MODEL_NO_ENTRY 0xffu

__attribute__((warn_unused_result)) int model_init(struct model *model, enum kvmattr_abi abi,
						   uint64_t n_pages);
void model_destroy(struct model *model);

struct model_verdict {
	int status;          /* enum kvmattr_status */
	uint64_t n_in_force; /* elements, from the first; 0 for a request that has none */
};

/* Does what VTL 1 asks, as far as the rules and the kernel's dialect let it. */
struct model_verdict model_apply(struct model *model, const struct agent_request *request);
/* What view vtl may do with a page: a protection, and KVMATTR_PRIVATE. */
uint8_t model_attributes(const struct model *model, unsigned int vtl, uint64_t gfn);
/* Whether a kernel of that dialect enforces these attributes; an update that needs it to and finds
 * that it does not is KVMATTR_UNSUPPORTED, be it the daemon that knows or KVM that refuses. */
bool model_can_enforce(const struct model *model, uint8_t attributes);

#endif
