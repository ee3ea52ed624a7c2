/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "elements.h"

#include "protocol/wire.h"

uint32_t elements_count(struct elements elements)
{
	return elements.form == WIRE_FORM_NONE ? 1 : elements.n;
}

struct kvmattr_range elements_at(struct elements elements, uint32_t i)
{
	switch (elements.form) {
	case WIRE_FORM_PAGES:
		return (struct kvmattr_range){ wire_page_at(elements.bytes, i), 1 };
	case WIRE_FORM_RANGES:
		return wire_range_at(elements.bytes, i);
	default:
		return (struct kvmattr_range){ 0, 0 };
	}
}

struct kvmattr_range elements_run(struct elements elements, uint32_t i, uint64_t at_most,
				  uint32_t *ret_n)
{
	struct kvmattr_range range = elements_at(elements, i);
	uint32_t n = 1;

	if (elements.form == WIRE_FORM_PAGES)
		while (n < at_most && i + n < elements.n &&
		       wire_page_at(elements.bytes, i + n) == range.gfn + n)
			n++;
	if (n > 1)
		range.n_pages = n;
	*ret_n = n;
	return range;
}
