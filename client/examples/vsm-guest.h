/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest as one VTL sees it: a KVM VM with one vCPU that reads, writes and executes a byte of
 * guest memory when told, and says whether KVM let it.
 *
 * Two of these share one RAM: a guest with two VTLs.  The guest is the judge of what is enforced,
 * since KVM has no call that reads attributes back; so an access counts as allowed only if its
 * effect was seen, and as stopped only if there was none.
 *
 * Knows KVM, and nothing of kvmattrd.  A guest is used by one thread at a time, the counter's
 * thread apart.
 */
#ifndef VSM_GUEST_H
#define VSM_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#define GUEST_CHECK_RESULT __attribute__((warn_unused_result))

/* Guest physical memory from address 0 on, at most 2 GiB; page 1 holds the guests' code. */
struct guest_ram {
	uint8_t *bytes;
	uint64_t n_pages;
};

/* Where the guests' code is.  Restrict it, and the guest does not get as far as an access. */
#define GUEST_CODE_GFN UINT64_C(1)

/* Zeroed memory in huge pages where the host has them.  For guest_ram_unmap(). */
GUEST_CHECK_RESULT int guest_ram_map(uint64_t n_pages, struct guest_ram *ret_ram);
void guest_ram_unmap(struct guest_ram *ram);

struct guest;

/*
 * Makes a VM of that KVM type over ram, which has to stay until guest_free().  kvm is /dev/kvm,
 * and stays the caller's.  Returns 0 or a negative errno: -EINVAL if KVM has no such type.
 */
GUEST_CHECK_RESULT int guest_new(int kvm, unsigned int type, const struct guest_ram *ram,
				 struct guest **ret_guest);
void guest_free(struct guest *guest);
/* The KVM VM: what is registered at the daemon.  The guest's. */
int guest_fd(const struct guest *guest);

enum guest_result {
	GUEST_ALLOWED,
	GUEST_STOPPED, /* KVM_EXIT_MEMORY_FAULT */
	GUEST_ASTRAY,  /* anything else: text says what */
};

struct guest_outcome {
	enum guest_result result;
	/* Where it was stopped, as the exit says: */
	uint64_t gpa;
	unsigned int access; /* KVMATTR_READ, KVMATTR_WRITE or KVMATTR_EXECUTE */
	bool is_private;     /* the page is private, and has no private memory */
	bool is_lost;        /* of GUEST_ASTRAY: the vCPU ended in yet another way */
	char text[96];
};

/*
 * Lets the vCPU access one byte: access is KVMATTR_READ, KVMATTR_WRITE or KVMATTR_EXECUTE.  QEMU's
 * emulation of SVM loses its way now and then, whatever KVM's attributes: the vCPU shuts down, or is
 * stopped where it never was.  An access that ends so is tried again, twice.
 */
struct guest_outcome guest_try(struct guest *guest, unsigned int access, uint64_t gpa);
/* How many tries ended so before one that did not. */
unsigned int guest_n_lost(const struct guest *guest);

/*
 * Lets the vCPU count in the 32 bits at gpa, in a thread, until KVM stops it or
 * guest_finish_counter() does, which says how it ended: stopped there, or allowed to the end.
 * No guest_try() in between.
 */
GUEST_CHECK_RESULT int guest_start_counter(struct guest *guest, uint64_t gpa);
uint32_t guest_read_counter(const struct guest *guest);
/* Waits at most timeout_s seconds for KVM to stop the vCPU, then tells it to end. */
struct guest_outcome guest_finish_counter(struct guest *guest, unsigned int timeout_s);

#endif
