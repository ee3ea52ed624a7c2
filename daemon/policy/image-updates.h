/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A policy taken apart into the updates that make it: how what one daemon has exported comes into
 * force in a VM of another.
 *
 * They begin with RESET_VM, so what the VM had before does not matter, and end with the locks,
 * under which nothing changes any more.  RAM is the VMM's to say and stays as it is: it has to be
 * the same.  Where a layer's default cannot be told to KVM for private memory, pages that are
 * private from the start are shared while the layers are put in place, and private again after.
 *
 * Update by update, so that a policy in which every page differs needs no more memory than one
 * that is all alike.
 */
#ifndef KVMATTRD_IMAGE_UPDATES_H
#define KVMATTRD_IMAGE_UPDATES_H

#include "policy.h"

#include <stdbool.h>
#include <stddef.h>

/* The members are the maker's. */
struct image_updates {
	const struct policy *from;
	bool is_detour; /* private memory is shared meanwhile */
	enum {
		IMAGE_RESET,
		IMAGE_SHARE,
		IMAGE_LAYERS,
		IMAGE_MAKE_PRIVATE,
		IMAGE_LOCK,
		IMAGE_END
	} phase;
	unsigned int layer;
	uint16_t vtls_done; /* of the layer */
	unsigned int value; /* byte of the map */
	struct policy_element element;
	const struct attribute_map *map; /* whose pages are the elements; NULL: there are none */
	bool is_told;                    /* an update without elements */
	uint64_t gfn;                    /* where to go on in it */
	bool values[256];                /* that are in the map */
	bool wanted[256];                /* whose pages are the elements */
};

/*
 * Could VM to have the policy from?  The same RAM, private from the start where from has it so, and
 * a view for each of from's.  What the kernel cannot enforce is not looked for: policy_apply()
 * says it.  KVMATTR_OK, or KVMATTR_INVALID_PARAMETER or KVMATTR_INVALID_VTL_STATE with text.
 */
__attribute__((warn_unused_result)) enum kvmattr_status image_updates_check(
	const struct policy *from, const struct policy *to, char *text, size_t text_size);

/* from stays as it is until the last update; to is looked at here alone. */
void image_updates_begin(struct image_updates *updates, const struct policy *from,
			 const struct policy *to);
/*
 * The next update: its parameters, and up to max ranges as its elements, none for the kinds that
 * have none.  false: there is no other.
 */
bool image_updates_next(struct image_updates *updates, struct policy_element *ret_element,
			struct kvmattr_range *ret_ranges, uint32_t max, uint32_t *ret_n);

#endif
