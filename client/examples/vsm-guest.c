/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One VTL's KVM VM: see vsm-guest.h. */
#include "vsm-guest.h"

#include "protocol/kvm-abi.h"

#include <kvmattr-types.h>

#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define HUGE_PAGE (UINT64_C(2) << 20)

/* Places in the code page. */
#define CODE_READ    0x1000u
#define CODE_WRITE   0x1010u
#define CODE_EXECUTE 0x1020u
#define CODE_COUNT   0x1030u
#define COUNT_ENDS   0x1ff0u /* the counter ends when this byte is not 0 */

#define HLT 0xf4

/* Of an access during which the vCPU loses its way. */
#define MAX_TRIES 3

/* 32-bit code; ebx holds the address to access. */
static const uint8_t code_read[] = { 0x8a, 0x03, HLT };  /* mov al, [ebx]; hlt */
static const uint8_t code_write[] = { 0x88, 0x03, HLT }; /* mov [ebx], al; hlt */
static const uint8_t code_execute[] = { 0xff, 0xe3 };    /* jmp ebx, to a hlt */
/* 1: inc dword [ebx]; cmp byte [edx], 0; je 1b; hlt */
static const uint8_t code_count[] = { 0xff, 0x03, 0x80, 0x3a, 0x00, 0x74, 0xf9, HLT };

/* What KVM_EXIT_MEMORY_FAULT puts into kvm_run; bookworm's headers do not have it. */
struct memory_fault {
	uint64_t flags;
	uint64_t gpa;
	uint64_t size;
};

struct guest {
	const struct guest_ram *ram;
	int vm;
	int vcpu;
	struct kvm_run *run;
	size_t run_size;
	struct kvm_sregs flat; /* protected mode, no paging, segments of 4 GiB */
	uint8_t marker;        /* another byte for each access */
	unsigned int n_lost;
	uint64_t counter_gpa;
	pthread_t counter;
	struct guest_outcome counter_outcome;
};

int guest_ram_map(uint64_t n_pages, struct guest_ram *ret_ram)
{
	uint64_t size = n_pages * KVMATTR_PAGE_SIZE;
	uint8_t *area = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t skip;

	if (area == MAP_FAILED)
		return -errno;
	/* KVM maps huge pages into the guest only where both addresses are aligned alike. */
	skip = -(uintptr_t)area % HUGE_PAGE;
	if (skip)
		munmap(area, skip);
	munmap(area + skip + size, HUGE_PAGE - skip);
	*ret_ram = (struct guest_ram){ .bytes = area + skip, .n_pages = n_pages };
	(void)madvise(ret_ram->bytes, size, MADV_HUGEPAGE); /* a host without them does as well */
	memset(ret_ram->bytes, 0, size);
	memcpy(ret_ram->bytes + CODE_READ, code_read, sizeof(code_read));
	memcpy(ret_ram->bytes + CODE_WRITE, code_write, sizeof(code_write));
	memcpy(ret_ram->bytes + CODE_EXECUTE, code_execute, sizeof(code_execute));
	memcpy(ret_ram->bytes + CODE_COUNT, code_count, sizeof(code_count));
	return 0;
}

void guest_ram_unmap(struct guest_ram *ram)
{
	if (ram->bytes)
		munmap(ram->bytes, ram->n_pages * KVMATTR_PAGE_SIZE);
	ram->bytes = NULL;
}

static void guest_make_flat(struct kvm_sregs *sregs)
{
	struct kvm_segment data = {
		.limit = UINT32_MAX,
		.selector = 0x10,
		.type = 3,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
	struct kvm_segment code = data;

	code.selector = 0x8;
	code.type = 11;
	sregs->cs = code;
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->cr0 |= 1; /* PE */
}

static int guest_make_vcpu(struct guest *guest, int kvm)
{
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	void *run;

	if (size < 0)
		return -errno;
	guest->vcpu = ioctl(guest->vm, KVM_CREATE_VCPU, 0);
	if (guest->vcpu < 0)
		return -errno;
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, guest->vcpu, 0);
	if (run == MAP_FAILED)
		return -errno;
	guest->run = run;
	guest->run_size = (size_t)size;
	if (ioctl(guest->vcpu, KVM_GET_SREGS, &guest->flat))
		return -errno;
	guest_make_flat(&guest->flat);
	return 0;
}

int guest_new(int kvm, unsigned int type, const struct guest_ram *ram, struct guest **ret_guest)
{
	struct kvm_userspace_memory_region slot = {
		.memory_size = ram->n_pages * KVMATTR_PAGE_SIZE,
		.userspace_addr = (uintptr_t)ram->bytes,
	};
	struct guest *guest = calloc(1, sizeof(*guest));
	int r;

	if (!guest)
		return -ENOMEM;
	guest->ram = ram;
	guest->vcpu = -1;
	guest->vm = ioctl(kvm, KVM_CREATE_VM, (unsigned long)type);
	if (guest->vm < 0 || ioctl(guest->vm, KVM_SET_USER_MEMORY_REGION, &slot))
		r = -errno;
	else
		r = guest_make_vcpu(guest, kvm);
	if (r) {
		guest_free(guest);
		return r;
	}
	*ret_guest = guest;
	return 0;
}

void guest_free(struct guest *guest)
{
	if (!guest)
		return;
	if (guest->run)
		munmap(guest->run, guest->run_size);
	if (guest->vcpu >= 0)
		close(guest->vcpu);
	if (guest->vm >= 0)
		close(guest->vm);
	free(guest);
}

int guest_fd(const struct guest *guest)
{
	return guest->vm;
}

__attribute__((format(printf, 1, 2))) static struct guest_outcome guest_astray(const char *format,
									       ...)
{
	struct guest_outcome outcome = { .result = GUEST_ASTRAY };
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(outcome.text, sizeof(outcome.text), format, arguments);
	va_end(arguments);
	return outcome;
}

static unsigned int guest_fault_access(uint64_t flags)
{
	switch (flags & ~KVM_ABI_MEMORY_FAULT_PRIVATE) {
	case KVM_ABI_MEMORY_FAULT_READ:
		return KVMATTR_READ;
	case KVM_ABI_MEMORY_FAULT_WRITE:
		return KVMATTR_WRITE;
	case KVM_ABI_MEMORY_FAULT_EXECUTE:
		return KVMATTR_EXECUTE;
	default:
		return 0;
	}
}

/* Runs the vCPU from ip on until it halts or KVM stops it. */
static struct guest_outcome guest_run(struct guest *guest, const struct kvm_regs *regs)
{
	struct memory_fault fault;
	int error;

	if (ioctl(guest->vcpu, KVM_SET_SREGS, &guest->flat) ||
	    ioctl(guest->vcpu, KVM_SET_REGS, regs))
		return guest_astray("the vCPU's registers cannot be set: %s", strerror(errno));
	error = ioctl(guest->vcpu, KVM_RUN, 0) ? errno : 0;
	if (!error && guest->run->exit_reason == KVM_EXIT_HLT)
		return (struct guest_outcome){ .result = GUEST_ALLOWED };
	if (error != EFAULT || guest->run->exit_reason != KVM_ABI_EXIT_MEMORY_FAULT) {
		struct guest_outcome lost =
			guest_astray("the vCPU ended with exit %u (%s)", guest->run->exit_reason,
				     error ? strerror(error) : "no error");

		lost.is_lost = true;
		return lost;
	}
	memcpy(&fault, &guest->run->hw, sizeof(fault)); /* the exit's own part of kvm_run */
	return (struct guest_outcome){
		.result = GUEST_STOPPED,
		.gpa = fault.gpa,
		.access = guest_fault_access(fault.flags),
		.is_private = fault.flags & KVM_ABI_MEMORY_FAULT_PRIVATE,
	};
}

static struct guest_outcome guest_try_read(struct guest *guest, uint64_t gpa)
{
	struct kvm_regs regs = { .rip = CODE_READ, .rbx = gpa, .rflags = 2 };
	struct guest_outcome outcome;

	guest->ram->bytes[gpa] = guest->marker;
	outcome = guest_run(guest, &regs);
	if (outcome.result != GUEST_ALLOWED)
		return outcome;
	if (ioctl(guest->vcpu, KVM_GET_REGS, &regs) || (regs.rax & 0xff) != guest->marker)
		return guest_astray("it read 0x%llx where there is 0x%x", regs.rax & 0xff,
				    guest->marker);
	return outcome;
}

static struct guest_outcome guest_try_write(struct guest *guest, uint64_t gpa)
{
	struct kvm_regs regs = { .rip = CODE_WRITE, .rbx = gpa, .rflags = 2 };
	struct guest_outcome outcome;
	bool is_written;

	regs.rax = guest->marker;
	guest->ram->bytes[gpa] = (uint8_t)~guest->marker;
	outcome = guest_run(guest, &regs);
	is_written = *(volatile uint8_t *)&guest->ram->bytes[gpa] == guest->marker;
	if (outcome.result == GUEST_ALLOWED && !is_written)
		return guest_astray("it wrote, and the byte is not there");
	if (outcome.result == GUEST_STOPPED && is_written)
		return guest_astray("it was stopped, and the byte is written nevertheless");
	return outcome;
}

static struct guest_outcome guest_try_execute(struct guest *guest, uint64_t gpa)
{
	struct kvm_regs regs = { .rip = CODE_EXECUTE, .rbx = gpa, .rflags = 2 };
	struct guest_outcome outcome;

	guest->ram->bytes[gpa] = HLT;
	outcome = guest_run(guest, &regs);
	if (outcome.result != GUEST_ALLOWED)
		return outcome;
	if (ioctl(guest->vcpu, KVM_GET_REGS, &regs) || regs.rip != gpa + 1)
		return guest_astray("it halted at 0x%llx", regs.rip);
	return outcome;
}

static struct guest_outcome guest_try_once(struct guest *guest, unsigned int access, uint64_t gpa)
{
	guest->marker++;
	switch (access) {
	case KVMATTR_READ:
		return guest_try_read(guest, gpa);
	case KVMATTR_WRITE:
		return guest_try_write(guest, gpa);
	default:
		assert(access == KVMATTR_EXECUTE);
		return guest_try_execute(guest, gpa);
	}
}

static bool guest_is_lost(const struct guest_outcome *outcome, unsigned int access, uint64_t gpa)
{
	return outcome->is_lost || (outcome->result == GUEST_STOPPED &&
				    (outcome->gpa / KVMATTR_PAGE_SIZE != gpa / KVMATTR_PAGE_SIZE ||
				     outcome->access != access));
}

struct guest_outcome guest_try(struct guest *guest, unsigned int access, uint64_t gpa)
{
	struct guest_outcome outcome;

	assert(gpa < guest->ram->n_pages * KVMATTR_PAGE_SIZE);
	for (unsigned int i = 0; i < MAX_TRIES; i++) {
		outcome = guest_try_once(guest, access, gpa);
		if (!guest_is_lost(&outcome, access, gpa)) {
			guest->n_lost += i;
			break;
		}
	}
	return outcome;
}

unsigned int guest_n_lost(const struct guest *guest)
{
	return guest->n_lost;
}

static void *guest_count(void *context)
{
	struct guest *guest = context;
	struct kvm_regs regs = {
		.rip = CODE_COUNT, .rbx = guest->counter_gpa, .rdx = COUNT_ENDS, .rflags = 2
	};

	guest->counter_outcome = guest_run(guest, &regs);
	return NULL;
}

int guest_start_counter(struct guest *guest, uint64_t gpa)
{
	guest->counter_gpa = gpa;
	memset(guest->ram->bytes + gpa, 0, sizeof(uint32_t));
	guest->ram->bytes[COUNT_ENDS] = 0;
	return -pthread_create(&guest->counter, NULL, guest_count, guest);
}

uint32_t guest_read_counter(const struct guest *guest)
{
	return *(volatile uint32_t *)(guest->ram->bytes + guest->counter_gpa);
}

struct guest_outcome guest_finish_counter(struct guest *guest, unsigned int timeout_s)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += timeout_s;
	if (pthread_timedjoin_np(guest->counter, NULL, &end)) {
		*(volatile uint8_t *)(guest->ram->bytes + COUNT_ENDS) = 1;
		pthread_join(guest->counter, NULL);
	}
	return guest->counter_outcome;
}
