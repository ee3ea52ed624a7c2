/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KVM's memory attributes, in each dialect that a kernel may speak.
 *
 * Distributions' kernel headers have some of these symbols or none, and never those of the
 * series that were not merged, so the numbers are kept here, under names that cannot clash.
 * Sources: include/uapi/linux/kvm.h of Linux 6.8 (mainline); "KVM: x86: Introduce memory
 * attributes for VSM", June 2024 (deny); "KVM: mm: fd-based approach for supporting KVM",
 * version 10, December 2022 (v10); the NO_ACCESS bit that VSM's developers asked of it (v10na).
 */
#ifndef KVMATTR_KVM_ABI_H
#define KVMATTR_KVM_ABI_H

#include <stdint.h>
#include <sys/ioctl.h>

#define KVM_ABI_IO 0xAE

/* The argument of every dialect's call: bytes, page-aligned; attributes overwrite the whole value. */
struct kvm_abi_memory_attributes {
	uint64_t address;
	uint64_t size;
	uint64_t attributes;
	uint64_t flags;
};
_Static_assert(sizeof(struct kvm_abi_memory_attributes) == 32, "KVM's own layout");

/* mainline and deny */
#define KVM_ABI_SET_MEMORY_ATTRIBUTES _IOW(KVM_ABI_IO, 0xd2, struct kvm_abi_memory_attributes)
#define KVM_ABI_CHECK_EXTENSION       _IO(KVM_ABI_IO, 0x03)
#define KVM_ABI_CAP_MEMORY_ATTRIBUTES 233

/* v10 and v10na; the call moves address and size past what it has done */
#define KVM_ABI_V10_GET_SUPPORTED_MEMORY_ATTRIBUTES _IOR(KVM_ABI_IO, 0xd2, uint64_t)
#define KVM_ABI_V10_SET_MEMORY_ATTRIBUTES           _IOWR(KVM_ABI_IO, 0xd3, struct kvm_abi_memory_attributes)

/* deny bits */
#define KVM_ABI_DENY_READ    (UINT64_C(1) << 0)
#define KVM_ABI_DENY_WRITE   (UINT64_C(1) << 1)
#define KVM_ABI_DENY_EXECUTE (UINT64_C(1) << 2)
#define KVM_ABI_DENY_ALL     (UINT64_C(7))
/* v10's allow bits stand in the same places */
#define KVM_ABI_V10_READ      (UINT64_C(1) << 0)
#define KVM_ABI_V10_WRITE     (UINT64_C(1) << 1)
#define KVM_ABI_V10_EXECUTE   (UINT64_C(1) << 2)
#define KVM_ABI_V10_RWX       (UINT64_C(7))
#define KVM_ABI_V10_NO_ACCESS (UINT64_C(1) << 4)
/* in all of them */
#define KVM_ABI_PRIVATE (UINT64_C(1) << 3)

/* What a stopped access looks like to the VMM */
#define KVM_ABI_EXIT_MEMORY_FAULT    39
#define KVM_ABI_MEMORY_FAULT_READ    (UINT64_C(1) << 0)
#define KVM_ABI_MEMORY_FAULT_WRITE   (UINT64_C(1) << 1)
#define KVM_ABI_MEMORY_FAULT_EXECUTE (UINT64_C(1) << 2)
#define KVM_ABI_MEMORY_FAULT_PRIVATE (UINT64_C(1) << 3)

/* The only VM type on which a stock kernel has memory attributes without confidential hardware */
#define KVM_ABI_X86_SW_PROTECTED_VM 1

#endif
