/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dialect.h"

#include "protocol/kvm-abi.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Protections that exist: reading comes with all others, and KVM has one execute bit. */
static bool is_known_to_kvm(unsigned int protection)
{
	unsigned int execute = protection & KVMATTR_EXECUTE;

	return (execute == 0 || execute == KVMATTR_EXECUTE) &&
	       (!protection || protection & KVMATTR_READ);
}

/*
 * Deny bits.  The June 2024 series refuses a denied read without the other two, and PRIVATE with
 * any deny bit (kvm_vm_ioctl_set_mem_attributes()).  mainline is the same with PRIVATE alone.
 */
static bool say_in_deny_bits(unsigned int attributes, uint64_t *ret_bits)
{
	bool private = attributes & KVMATTR_PRIVATE;
	uint64_t deny = 0;

	if (!(attributes & KVMATTR_READ))
		deny |= KVM_ABI_DENY_ALL;
	if (!(attributes & KVMATTR_WRITE))
		deny |= KVM_ABI_DENY_WRITE;
	if (!(attributes & KVMATTR_EXECUTE))
		deny |= KVM_ABI_DENY_EXECUTE;
	*ret_bits = deny | (private ? KVM_ABI_PRIVATE : 0);
	return !(private && deny);
}

/*
 * Allow bits.  0 is v10's default, everything allowed; no access can only be said with the
 * NO_ACCESS bit of v10na, which stands alone.
 */
static bool say_in_allow_bits(unsigned int attributes, uint64_t supported, uint64_t *ret_bits)
{
	bool private = attributes & KVMATTR_PRIVATE;
	uint64_t allow = 0;

	if (attributes & KVMATTR_READ)
		allow |= KVM_ABI_V10_READ;
	if (attributes & KVMATTR_WRITE)
		allow |= KVM_ABI_V10_WRITE;
	if (attributes & KVMATTR_EXECUTE)
		allow |= KVM_ABI_V10_EXECUTE;

	if (!allow) {
		*ret_bits = KVM_ABI_V10_NO_ACCESS;
		return !private;
	}
	/* A kernel that has PRIVATE alone knows no allow bits; one that has them is told all three. */
	if (allow == KVM_ABI_V10_RWX && (!private || (supported & KVM_ABI_V10_RWX) == 0))
		allow = 0;
	*ret_bits = allow | (private ? KVM_ABI_PRIVATE : 0);
	return true;
}

/* Of the kernels that answer v10's supported-bits call, which are told what is allowed. */
static bool allows(enum kvmattr_abi abi)
{
	return abi == KVMATTR_ABI_V10 || abi == KVMATTR_ABI_V10NA;
}

/* What a kernel with these attribute bits speaks, by what it was that told them. */
static enum kvmattr_abi abi_by_bits(bool is_v10, uint64_t supported)
{
	if (is_v10)
		return supported & KVM_ABI_V10_NO_ACCESS ? KVMATTR_ABI_V10NA : KVMATTR_ABI_V10;
	return supported & KVM_ABI_DENY_ALL ? KVMATTR_ABI_DENY : KVMATTR_ABI_MAINLINE;
}

static void translate_all(struct dialect *dialect)
{
	dialect->expressible = 0;
	for (unsigned int a = 0; a < DIALECT_N_ATTRIBUTES; a++) {
		bool can = allows(dialect->abi)
				   ? say_in_allow_bits(a, dialect->supported, &dialect->bits[a])
				   : say_in_deny_bits(a, &dialect->bits[a]);

		if (can && is_known_to_kvm(a & KVMATTR_PROTECTION) &&
		    !(dialect->bits[a] & ~dialect->supported))
			dialect->expressible |= UINT32_C(1) << a;
	}
	/*
	 * Private memory whose layers are reset has to be all allowed again; where some bits of v10
	 * are missing, so that this cannot be said, there is no private memory.
	 */
	if (!dialect_can_express(dialect, KVMATTR_RWX | KVMATTR_PRIVATE))
		dialect->expressible &= (UINT32_C(1) << KVMATTR_PRIVATE) - 1;
}

static void explain_what_is_missing(const struct wire_probe_result *probe, char *text, size_t size)
{
	if (probe->cap_errno == EIO)
		snprintf(
			text, size,
			"KVM answers EIO: it takes a VM's calls only in the process that created the VM; "
			"run the executor there");
	else if (probe->cap_errno)
		snprintf(
			text, size,
			"KVM_CHECK_EXTENSION fails with %s: the file descriptor takes no KVM calls",
			strerrorname_np(probe->cap_errno) ? strerrorname_np(probe->cap_errno)
							  : "an unknown error");
	else
		snprintf(
			text, size,
			"the kernel has no memory attributes for this VM "
			"(KVM_CAP_MEMORY_ATTRIBUTES is 0): it needs Linux 6.8 with "
			"CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES and a VM type that has them, such as "
			"KVM_X86_SW_PROTECTED_VM");
}

int dialect_decide(const struct wire_probe_result *probe, enum kvmattr_abi pin,
		   struct dialect *ret_dialect, char *text, size_t text_size)
{
	struct dialect dialect = { 0 };

	if (!probe->v10_errno && probe->v10_supported) {
		dialect.supported = probe->v10_supported;
	} else if (probe->v10_errno && !probe->cap_errno && probe->cap) {
		dialect.supported = probe->cap;
	} else {
		explain_what_is_missing(probe, text, text_size);
		return KVMATTR_UNSUPPORTED;
	}
	dialect.abi = abi_by_bits(!probe->v10_errno, dialect.supported);
	if (pin != KVMATTR_ABI_PROBE && pin != dialect.abi) {
		snprintf(text, text_size,
			 "pinned to %s, but the kernel speaks %s (attribute bits 0x%llx); "
			 "correct the pin or leave it out",
			 kvmattr_abi_name(pin), kvmattr_abi_name(dialect.abi),
			 (unsigned long long)dialect.supported);
		return KVMATTR_ABI_MISMATCH;
	}
	translate_all(&dialect);
	*ret_dialect = dialect;
	return KVMATTR_OK;
}

bool dialect_restore(enum kvmattr_abi abi, uint64_t supported, struct dialect *ret_dialect)
{
	struct dialect dialect = { .abi = abi, .supported = supported };

	if (!supported || abi != abi_by_bits(allows(abi), supported))
		return false;
	translate_all(&dialect);
	*ret_dialect = dialect;
	return true;
}
