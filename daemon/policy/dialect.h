/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How effective attributes are said to one view's KVM, and whether they can be said at all.
 *
 * The same bits deny in one dialect and allow in another, so the dialect comes from what the
 * kernel answered to a probe; then all 32 values that a page can have are translated once, and
 * the rest of the daemon only asks the table.  What the table does not hold is refused.
 */
#ifndef KVMATTRD_DIALECT_H
#define KVMATTRD_DIALECT_H

#include "protocol/kvmattr-types.h"
#include "protocol/wire.h"

#include <stdbool.h>
#include <stddef.h>

#define DIALECT_N_ATTRIBUTES 32 /* a protection and KVMATTR_PRIVATE */

struct dialect {
	enum kvmattr_abi abi;
	uint64_t supported;   /* bits of the kernel's attributes */
	uint32_t expressible; /* set of effective attributes that the kernel can enforce */
	uint64_t bits[DIALECT_N_ATTRIBUTES]; /* what to tell it for each of these */
};

/*
 * The dialect that a probe's answer shows.  pin: KVMATTR_ABI_PROBE, or what it has to be.
 * Returns KVMATTR_OK, KVMATTR_UNSUPPORTED (no memory attributes there) or KVMATTR_ABI_MISMATCH;
 * then text says what was missing and why.
 */
__attribute__((warn_unused_result)) int dialect_decide(const struct wire_probe_result *probe,
						       enum kvmattr_abi pin,
						       struct dialect *ret_dialect, char *text,
						       size_t text_size);

/*
 * The dialect that an earlier probe has shown.  Returns false if no kernel speaks abi with these
 * supported bits.
 */
__attribute__((warn_unused_result)) bool dialect_restore(enum kvmattr_abi abi, uint64_t supported,
							 struct dialect *ret_dialect);

static inline bool dialect_can_express(const struct dialect *dialect, unsigned int attributes)
{
	return dialect->expressible >> attributes & 1;
}

#endif
