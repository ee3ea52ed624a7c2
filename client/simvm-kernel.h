/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A simulated KVM: what it was told of every page, and the rules by which it lets itself be told.
 *
 * Each view is a flat array of one byte a page, as plain as can be, because it is what everything
 * cleverer is compared with.  It stands in for the page table that a kernel builds from the
 * attributes.  The rules of each dialect are those of tests/kernel/kvm-memory-attributes.patch and
 * of virt/kvm/kvm_main.c below it: which ioctl exists, which values are EINVAL, what moves
 * `address` and `size`.  As in KVM, pages that are no RAM may be told, too; they are counted.
 *
 * A view's file descriptor is a memfd named "kvmattr-simvm", by which the daemon knows it as
 * simulated; the array lives in it, so a fork does not copy it.
 *
 * Faults (simvm-faults.h) happen here.  Knows no daemon.  The calls come from one thread at a
 * time, the executor's; everything else may be asked from any thread, the pages while no call is
 * under way.
 */
#ifndef SIMVM_KERNEL_H
#define SIMVM_KERNEL_H

#include "client/simvm-faults.h"
#include "protocol/kvm-abi.h"

#include <kvmattr.h>

#include <stddef.h>
#include <stdint.h>

#define SIMVM_FD_NAME "kvmattr-simvm"

/* As an ABI: KVM's default VM type, for which there are no memory attributes at all. */
#define SIMVM_ABI_NONE KVMATTR_ABI_PROBE

/* A byte of a page table: what the kernel holds, in deny bits, whatever the dialect. */
#define SIMVM_KERNEL_DENY_READ    0x1u
#define SIMVM_KERNEL_DENY_WRITE   0x2u
#define SIMVM_KERNEL_DENY_EXECUTE 0x4u
#define SIMVM_KERNEL_PRIVATE      0x8u

struct simvm_kernel;

struct simvm_kernel_options {
	enum kvmattr_abi abi; /* or SIMVM_ABI_NONE */
	unsigned int n_views;
	uint64_t n_pages;                  /* of RAM, from GFN 0 on */
	const struct simvm_faults *faults; /* copied; NULL for none */
};

/* Since the start. */
struct simvm_kernel_statistics {
	uint64_t calls;
	uint64_t refused;        /* answered with an errno */
	uint64_t without_effect; /* changed no page */
	uint64_t pages;          /* that calls covered */
	uint64_t pages_outside;  /* of these, no RAM */
};

/* Returns 0 or a negative errno.  *ret is for simvm_kernel_free(). */
__attribute__((warn_unused_result)) int simvm_kernel_new(const struct simvm_kernel_options *options,
							 struct simvm_kernel **ret);
void simvm_kernel_free(struct simvm_kernel *kernel);

/* The view's file descriptor; the kernel's. */
int simvm_kernel_fd(const struct simvm_kernel *kernel, unsigned int view);

/* What kvmattr_register() is given. */
struct kvmattr_executor_ops simvm_kernel_executor_ops(struct simvm_kernel *kernel);

/* KVM_CHECK_EXTENSION of KVM_CAP_MEMORY_ATTRIBUTES on a view. */
uint64_t simvm_kernel_capability(const struct simvm_kernel *kernel);
/* v10's KVM_GET_SUPPORTED_MEMORY_ATTRIBUTES: 0 or a positive errno. */
int simvm_kernel_v10_supported(const struct simvm_kernel *kernel, uint64_t *ret);
/*
 * The ioctl of that dialect that sets attributes: KVM_SET_MEMORY_ATTRIBUTES for mainline and deny,
 * v10's for the others.  Returns 0 or a positive errno.
 */
int simvm_kernel_set(struct simvm_kernel *kernel, unsigned int view, enum kvmattr_abi abi,
		     struct kvm_abi_memory_attributes *argument);

/* The n_pages bytes of a view's page table. */
const uint8_t *simvm_kernel_pages(const struct simvm_kernel *kernel, unsigned int view);
/* The effective attributes that such a byte enforces: a protection and KVMATTR_PRIVATE. */
uint8_t simvm_kernel_effective(uint8_t page);

struct simvm_kernel_statistics simvm_kernel_statistics(const struct simvm_kernel *kernel);

/* A dead executor comes back, to be joined: its call fails with EIO, as all later ones do. */
void simvm_kernel_release(struct simvm_kernel *kernel);

#endif
