/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The elements of an update, as they came over the wire and as the journal keeps them: one after
 * the other, or as runs.
 *
 * A list of pages is mostly runs.  The policy judges and changes the pages of a run together, so
 * whoever applies a list goes by runs; where a run is forbidden, by single elements, since nothing
 * of it was changed.
 */
#ifndef KVMATTRD_ELEMENTS_H
#define KVMATTRD_ELEMENTS_H

#include "protocol/kvmattr-types.h"

struct elements {
	const uint8_t *bytes;
	uint32_t n;   /* 0 with WIRE_FORM_NONE */
	uint8_t form; /* enum wire_form */
};

/* An update without elements still is one thing to do. */
uint32_t elements_count(struct elements elements);
/* The i-th; {0, 0} for an update without elements. */
struct kvmattr_range elements_at(struct elements elements, uint32_t i);
/* As many from the i-th on, at least one and at most at_most, as are one range of pages. */
struct kvmattr_range elements_run(struct elements elements, uint32_t i, uint64_t at_most,
				  uint32_t *ret_n);

#endif
