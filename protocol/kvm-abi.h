/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KVM's memory attributes, in each dialect that a kernel may speak; and its statistics of a VM.
 *
 * Distributions' kernel headers have some of these symbols or none, and never those of the
 * series that were not merged, so the numbers are kept here, under names that cannot clash.
 * Sources: include/uapi/linux/kvm.h of Linux 6.8 (mainline); "KVM: x86: Introduce memory
 * attributes for VSM", June 2024 (deny); "KVM: mm: fd-based approach for supporting KVM",
 * version 10, December 2022 (v10); the NO_ACCESS bit that VSM's developers asked of it (v10na);
 * Documentation/virt/kvm/api.rst, 4.133, of Linux 5.14 (KVM_GET_STATS_FD).
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

/*
 * A descriptor from which a VM's statistics are read (5.14).  It starts with a header, which says
 * where the descriptors of the statistics are, and where their values.
 */
#define KVM_ABI_GET_STATS_FD _IO(KVM_ABI_IO, 0xce)

struct kvm_abi_stats_header {
	uint32_t flags; /* 0 */
	uint32_t name_size;
	uint32_t num_desc;
	uint32_t id_offset;
	uint32_t desc_offset;
	uint32_t data_offset;
};
_Static_assert(sizeof(struct kvm_abi_stats_header) == 24, "KVM's own layout");

/* Followed by name_size bytes of name, NUL-terminated. */
struct kvm_abi_stats_desc {
	uint32_t flags;
	int16_t exponent;
	uint16_t size;        /* values of 8 bytes */
	uint32_t offset;      /* of the first, in bytes from data_offset on */
	uint32_t bucket_size; /* of a linear histogram */
};
_Static_assert(sizeof(struct kvm_abi_stats_desc) == 16, "KVM's own layout");

/* What a statistic is, in its flags */
#define KVM_ABI_STATS_TYPE        0xFu
#define KVM_ABI_STATS_CUMULATIVE  0u
#define KVM_ABI_STATS_INSTANT     1u
#define KVM_ABI_STATS_PEAK        2u
#define KVM_ABI_STATS_LINEAR_HIST 3u
#define KVM_ABI_STATS_LOG_HIST    4u

#endif
