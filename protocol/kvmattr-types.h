/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The words that every part of kvmattr speaks: page numbers, protections, visibility, statuses.
 *
 * Installed beside kvmattr.h.  It knows no socket and no KVM: how a protection is written in
 * one of KVM's dialects is in kvm-abi.h, how it crosses a socket in wire.h.
 */
#ifndef KVMATTR_TYPES_H
#define KVMATTR_TYPES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Pages are 4 KiB.  A GPA is an address in bytes; a GFN is a page number, GPA >> 12. */
#define KVMATTR_PAGE_SHIFT 12
#define KVMATTR_PAGE_SIZE  (UINT64_C(1) << KVMATTR_PAGE_SHIFT)
/* GFNs are below this: x86 has at most 52 bits of physical address (SDM vol. 3A, 4.1.4). */
#define KVMATTR_GFN_LIMIT (UINT64_C(1) << 40)

/* VTLs are 0 to 15 (TLFS, Virtual Secure Mode: "up to 16 levels"). */
#define KVMATTR_N_VTLS 16

/* A VM's name: 1 to 63 of [A-Za-z0-9._-], not starting with '.' or '-', NUL-terminated. */
#define KVMATTR_NAME_SIZE 64

/* A protection: the low four bits of HV_MAP_GPA_FLAGS (TLFS, hypercall data types). */
#define KVMATTR_READ           0x1u
#define KVMATTR_WRITE          0x2u
#define KVMATTR_KERNEL_EXECUTE 0x4u
#define KVMATTR_USER_EXECUTE   0x8u
#define KVMATTR_EXECUTE        (KVMATTR_KERNEL_EXECUTE | KVMATTR_USER_EXECUTE)
#define KVMATTR_PROTECTION     0xfu

#define KVMATTR_NONE 0x0u
#define KVMATTR_R    KVMATTR_READ
#define KVMATTR_RX   (KVMATTR_READ | KVMATTR_EXECUTE)
#define KVMATTR_RW   (KVMATTR_READ | KVMATTR_WRITE)
#define KVMATTR_RWX  (KVMATTR_READ | KVMATTR_WRITE | KVMATTR_EXECUTE)

/* Effective attributes of a page: a protection, and this bit where the page is private. */
#define KVMATTR_PRIVATE 0x10u

/* A set of VTLs, bit t for VTL t; this one means "all below the imposing layer that have a view". */
#define KVMATTR_ALL_LOWER 0xffffu

/* Pages gfn to gfn + n_pages - 1. */
struct kvmattr_range {
	uint64_t gfn;
	uint64_t n_pages;
};

/* The dialects of KVM's memory attributes (doc/kvm-abi.md). */
enum kvmattr_abi {
	KVMATTR_ABI_PROBE = 0, /* as a pin: whatever the probe finds */
	KVMATTR_ABI_MAINLINE = 1,
	KVMATTR_ABI_DENY = 2,
	KVMATTR_ABI_V10 = 3,
	KVMATTR_ABI_V10NA = 4,
	KVMATTR_N_ABIS
};

/* What an update does.  Every change of policy is an update, and has a place in the VM's one order. */
enum kvmattr_update_kind {
	KVMATTR_PROTECT = 1,        /* pages or ranges: layer, restricted, protection */
	KVMATTR_SET_VISIBILITY = 2, /* pages or ranges: value 1 private, 0 shared */
	KVMATTR_LOCK = 3,           /* pages or ranges; owner only; counted, up to 255 */
	KVMATTR_UNLOCK = 4,         /* pages or ranges; owner only */
	KVMATTR_ADD_RAM = 5,        /* ranges; owner only; value 1 private, 0 shared */
	KVMATTR_REMOVE_RAM = 6,     /* ranges; owner only */
	KVMATTR_ENABLE_LAYER = 7,   /* no elements: layer, protection (the default), mbec */
	KVMATTR_RESET_LAYER = 8,    /* no elements: layer */
	KVMATTR_RESET_VM = 9,       /* no elements; owner only */
	KVMATTR_N_UPDATE_KINDS
};

/*
 * Outcomes that a caller must handle.  Positive, so that one int can also carry a negative
 * errno for a fault of the machine.  X(NAME, value, "what it means").
 */
#define KVMATTR_STATUSES(X)                                                            \
	X(OK, 0, "done")                                                               \
	X(INVALID_PARAMETER, 1, "a parameter is not valid")                            \
	X(ACCESS_DENIED, 2, "this peer may not do that")                               \
	X(INVALID_VTL_STATE, 3, "the layer is not enabled, or the VTL has no view")    \
	X(UNSUPPORTED, 4, "this kernel cannot enforce it")                             \
	X(OPERATION_DENIED, 5, "the page is locked")                                   \
	X(VM_EXISTS, 6, "the name or the VM is registered already")                    \
	X(NOT_A_VM, 7, "the file descriptor is not a VM")                              \
	X(NO_VM, 8, "there is no such VM, or it is gone")                              \
	X(ABI_MISMATCH, 9, "the kernel speaks another dialect than the pinned one")    \
	X(INSUFFICIENT_MEMORY, 10, "the kernel has no memory for it")                  \
	X(KERNEL_REFUSED, 11, "the kernel refused the call")                           \
	X(EXECUTOR_STUCK, 12, "the executor does not answer; nothing can be enforced") \
	X(LIMIT_EXCEEDED, 13, "a limit of the daemon is reached")                      \
	X(PROTOCOL_ERROR, 14, "the message breaks the protocol")                       \
	X(VERSION_MISMATCH, 15, "no common protocol version")                          \
	X(JOURNAL_FAILED, 16, "the journal cannot be written; nothing was changed")    \
	X(NO_SESSION, 17, "there is no such session to resume")

enum kvmattr_status {
#define X(name, value, text) KVMATTR_##name = value,
	KVMATTR_STATUSES(X)
#undef X
		KVMATTR_N_STATUSES
};

/* Is it a name that a VM can have?  Any thread. */
int kvmattr_is_vm_name(const char *name);
/* "ACCESS_DENIED" and the like; NULL for a number that is no status.  Static; any thread. */
const char *kvmattr_status_name(int status);
/* A sentence for people.  For a negative number, what strerror() says.  Static; any thread. */
const char *kvmattr_status_text(int status);
/* "mainline", "deny", "v10", "v10na", "probe"; NULL otherwise.  Static; any thread. */
const char *kvmattr_abi_name(unsigned int abi);
/* The number for such a name, or -1. */
int kvmattr_abi_from_name(const char *name);
/*
 * A protection in words of at most 4 letters: "none", "r", "rx", "rw", "rwx"; "rk" and the like
 * where kernel and user execute differ.  Static; any thread.
 */
const char *kvmattr_protection_name(unsigned int protection);
/* The protection for such a name, or -1. */
int kvmattr_protection_from_name(const char *name);

#ifdef __cplusplus
}
#endif

#endif
