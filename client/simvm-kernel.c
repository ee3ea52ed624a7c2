/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/simvm-kernel.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE_MASK (KVMATTR_PAGE_SIZE - 1)

_Static_assert(SIMVM_KERNEL_DENY_READ == KVM_ABI_DENY_READ &&
		       SIMVM_KERNEL_DENY_WRITE == KVM_ABI_DENY_WRITE &&
		       SIMVM_KERNEL_DENY_EXECUTE == KVM_ABI_DENY_EXECUTE &&
		       SIMVM_KERNEL_PRIVATE == KVM_ABI_PRIVATE,
	       "a page's byte is what the upstream call is given");

struct simulated_view {
	int fd;
	uint8_t *pages;
};

struct simvm_kernel {
	enum kvmattr_abi abi;
	uint64_t n_pages;
	struct simvm_faults faults;
	unsigned int n_views;
	struct simulated_view views[KVMATTR_N_VTLS];

	/* Written by the executor's thread, read by anyone who wants to show progress. */
	_Atomic uint64_t calls;
	_Atomic uint64_t refused;
	_Atomic uint64_t without_effect;
	_Atomic uint64_t pages;
	_Atomic uint64_t pages_outside;

	pthread_mutex_t lock;
	pthread_cond_t released;
	bool is_released;
};

/* ---- Life ---------------------------------------------------------------------------------- */

static int view_open(struct simulated_view *view, uint64_t n_pages)
{
	view->fd = memfd_create(SIMVM_FD_NAME, MFD_CLOEXEC);
	if (view->fd < 0)
		return -errno;
	if (ftruncate(view->fd, (off_t)n_pages) < 0)
		return -errno;
	view->pages = mmap(NULL, n_pages, PROT_READ | PROT_WRITE, MAP_SHARED, view->fd, 0);
	if (view->pages == MAP_FAILED) {
		view->pages = NULL;
		return -errno;
	}
	return 0;
}

int simvm_kernel_new(const struct simvm_kernel_options *options, struct simvm_kernel **ret)
{
	struct simvm_kernel *kernel;
	pthread_condattr_t monotonic;

	if (!options->n_views || options->n_views > KVMATTR_N_VTLS || !options->n_pages ||
	    options->n_pages > KVMATTR_GFN_LIMIT || options->abi >= KVMATTR_N_ABIS)
		return -EINVAL;
	kernel = calloc(1, sizeof(*kernel));
	if (!kernel)
		return -ENOMEM;
	kernel->abi = options->abi;
	kernel->n_pages = options->n_pages;
	if (options->faults)
		kernel->faults = *options->faults;
	pthread_mutex_init(&kernel->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&kernel->released, &monotonic);
	pthread_condattr_destroy(&monotonic);
	while (kernel->n_views < options->n_views) {
		int r = view_open(&kernel->views[kernel->n_views++], kernel->n_pages);

		if (r < 0) {
			simvm_kernel_free(kernel);
			return r;
		}
	}
	*ret = kernel;
	return 0;
}

void simvm_kernel_free(struct simvm_kernel *kernel)
{
	if (!kernel)
		return;
	for (unsigned int i = 0; i < kernel->n_views; i++) {
		if (kernel->views[i].pages)
			munmap(kernel->views[i].pages, kernel->n_pages);
		if (kernel->views[i].fd >= 0)
			close(kernel->views[i].fd);
	}
	pthread_cond_destroy(&kernel->released);
	pthread_mutex_destroy(&kernel->lock);
	free(kernel);
}

int simvm_kernel_fd(const struct simvm_kernel *kernel, unsigned int view)
{
	assert(view < kernel->n_views);
	return kernel->views[view].fd;
}

/* ---- What the kernel supports -------------------------------------------------------------- */

static bool is_v10(enum kvmattr_abi abi)
{
	return abi == KVMATTR_ABI_V10 || abi == KVMATTR_ABI_V10NA;
}

/* The patch's kvm_supported_mem_attributes(): v10 kernels, too, answer it in deny bits. */
uint64_t simvm_kernel_capability(const struct simvm_kernel *kernel)
{
	switch (kernel->abi) {
	case KVMATTR_ABI_MAINLINE:
		return KVM_ABI_PRIVATE;
	case KVMATTR_ABI_DENY:
	case KVMATTR_ABI_V10:
	case KVMATTR_ABI_V10NA:
		return KVM_ABI_PRIVATE | KVM_ABI_DENY_ALL;
	default:
		return 0;
	}
}

int simvm_kernel_v10_supported(const struct simvm_kernel *kernel, uint64_t *ret)
{
	if (!is_v10(kernel->abi))
		return ENOTTY;
	*ret = KVM_ABI_PRIVATE | KVM_ABI_V10_RWX;
	if (kernel->abi == KVMATTR_ABI_V10NA)
		*ret |= KVM_ABI_V10_NO_ACCESS;
	return 0;
}

/* ---- What it does when told ---------------------------------------------------------------- */

/* kvm_vm_set_mem_attributes(), as far as it can be seen: the value of all pages is overwritten. */
static void overwrite(struct simvm_kernel *kernel, unsigned int view, uint64_t start, uint64_t end,
		      uint8_t value)
{
	uint8_t *pages = kernel->views[view].pages;
	uint64_t ram_end = end < kernel->n_pages ? end : kernel->n_pages;
	uint64_t n_outside = end - start;
	bool has_effect = false;

	if (start < ram_end) {
		n_outside -= ram_end - start;
		for (uint64_t gfn = start; gfn < ram_end; gfn++) {
			has_effect |= pages[gfn] != value;
			pages[gfn] = value;
		}
	}
	atomic_fetch_add_explicit(&kernel->pages, end - start, memory_order_relaxed);
	atomic_fetch_add_explicit(&kernel->pages_outside, n_outside, memory_order_relaxed);
	if (!has_effect)
		atomic_fetch_add_explicit(&kernel->without_effect, 1, memory_order_relaxed);
}

/* The patched kvm_vm_ioctl_set_mem_attributes(), check by check. */
static int set_upstream(struct simvm_kernel *kernel, unsigned int view,
			const struct kvm_abi_memory_attributes *argument)
{
	uint64_t deny = argument->attributes & KVM_ABI_DENY_ALL;

	if (argument->flags)
		return EINVAL;
	if (argument->attributes & ~simvm_kernel_capability(kernel))
		return EINVAL;
	if ((deny & KVM_ABI_DENY_READ) && deny != KVM_ABI_DENY_ALL)
		return EINVAL;
	if ((argument->attributes & KVM_ABI_PRIVATE) && deny)
		return EINVAL;
	if (!argument->size || argument->address + argument->size < argument->address)
		return EINVAL;
	if ((argument->address & PAGE_MASK) || (argument->size & PAGE_MASK))
		return EINVAL;
	overwrite(kernel, view, argument->address >> KVMATTR_PAGE_SHIFT,
		  (argument->address + argument->size) >> KVMATTR_PAGE_SHIFT,
		  (uint8_t)argument->attributes);
	return 0;
}

/* The patch's kvm_vm_ioctl_set_mem_attributes_v10(): allow bits, of which none is the default. */
static int set_v10(struct simvm_kernel *kernel, unsigned int view,
		   struct kvm_abi_memory_attributes *argument)
{
	struct kvm_abi_memory_attributes part = *argument;
	uint64_t chunk = kernel->faults.partial_pages;
	int r;

	if (chunk && part.size >> KVMATTR_PAGE_SHIFT >= chunk)
		part.size = chunk << KVMATTR_PAGE_SHIFT;
	if (kernel->abi == KVMATTR_ABI_V10NA && part.attributes == KVM_ABI_V10_NO_ACCESS)
		part.attributes = KVM_ABI_DENY_ALL;
	else if (part.attributes & ~(KVM_ABI_PRIVATE | KVM_ABI_V10_RWX))
		return EINVAL;
	else if (part.attributes & KVM_ABI_V10_RWX)
		part.attributes ^= KVM_ABI_V10_RWX;
	r = set_upstream(kernel, view, &part);
	if (r)
		return r;
	argument->address += part.size;
	argument->size -= part.size;
	return 0;
}

/* ---- Faults -------------------------------------------------------------------------------- */

static void sleep_us(uint64_t us)
{
	struct timespec left = { .tv_sec = (time_t)(us / 1000000),
				 .tv_nsec = (long)(us % 1000000 * 1000) };

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
		;
}

/* Answers nobody until released, or for so long. */
static void play_dead(struct simvm_kernel *kernel, uint64_t timeout_ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(timeout_ms / 1000);
	until.tv_nsec += (long)(timeout_ms % 1000 * 1000000);
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_mutex_lock(&kernel->lock);
	while (!kernel->is_released) {
		if (!timeout_ms)
			pthread_cond_wait(&kernel->released, &kernel->lock);
		else if (pthread_cond_timedwait(&kernel->released, &kernel->lock, &until) ==
			 ETIMEDOUT)
			break;
	}
	pthread_mutex_unlock(&kernel->lock);
}

static bool is_released(struct simvm_kernel *kernel)
{
	bool released;

	pthread_mutex_lock(&kernel->lock);
	released = kernel->is_released;
	pthread_mutex_unlock(&kernel->lock);
	return released;
}

void simvm_kernel_release(struct simvm_kernel *kernel)
{
	pthread_mutex_lock(&kernel->lock);
	kernel->is_released = true;
	pthread_cond_broadcast(&kernel->released);
	pthread_mutex_unlock(&kernel->lock);
}

/* The first half of the call is done; its second half, and everything after it, never is. */
static void die(struct simvm_kernel *kernel, unsigned int view, enum kvmattr_abi abi,
		const struct kvm_abi_memory_attributes *argument)
{
	struct kvm_abi_memory_attributes half = *argument;

	half.size = (half.size / 2) & ~PAGE_MASK;
	if (half.size)
		(void)(is_v10(abi) ? set_v10(kernel, view, &half)
				   : set_upstream(kernel, view, &half));
	kill(getpid(), SIGKILL);
	abort(); /* not reached: SIGKILL is delivered before kill() returns */
}

/* ---- The calls ----------------------------------------------------------------------------- */

static int set_or_fail(struct simvm_kernel *kernel, unsigned int view, enum kvmattr_abi abi,
		       struct kvm_abi_memory_attributes *argument, uint64_t call)
{
	const struct simvm_fault *fault = simvm_faults_at(&kernel->faults, call);

	if (kernel->faults.slow_us)
		sleep_us(kernel->faults.slow_us);
	if (fault && fault->kind == SIMVM_FAULT_DEAD)
		play_dead(kernel, fault->timeout_ms);
	if (is_released(kernel))
		return EIO;
	/* kvm_vm_ioctl(): of the two ioctls, a kernel has the one of its dialect. */
	if (is_v10(abi) != is_v10(kernel->abi))
		return ENOTTY;
	if (fault && fault->kind == SIMVM_FAULT_EXIT)
		die(kernel, view, abi, argument);
	if (fault && fault->kind == SIMVM_FAULT_ERROR)
		return fault->error;
	return is_v10(abi) ? set_v10(kernel, view, argument) : set_upstream(kernel, view, argument);
}

int simvm_kernel_set(struct simvm_kernel *kernel, unsigned int view, enum kvmattr_abi abi,
		     struct kvm_abi_memory_attributes *argument)
{
	uint64_t call = atomic_fetch_add_explicit(&kernel->calls, 1, memory_order_relaxed) + 1;
	int r;

	assert(view < kernel->n_views);
	r = set_or_fail(kernel, view, abi, argument, call);
	if (r)
		atomic_fetch_add_explicit(&kernel->refused, 1, memory_order_relaxed);
	return r;
}

static void executor_probe(void *context, uint32_t view, int *ret_v10_errno,
			   uint64_t *ret_v10_supported, int *ret_cap_errno, uint64_t *ret_cap)
{
	struct simvm_kernel *kernel = context;

	(void)view;
	*ret_v10_supported = 0;
	*ret_v10_errno = simvm_kernel_v10_supported(kernel, ret_v10_supported);
	*ret_cap_errno = 0;
	*ret_cap = simvm_kernel_capability(kernel);
}

static int executor_set(void *context, uint32_t view, enum kvmattr_abi abi, uint64_t *gpa,
			uint64_t *size, uint64_t attributes)
{
	struct kvm_abi_memory_attributes argument = { .address = *gpa,
						      .size = *size,
						      .attributes = attributes };
	int r = simvm_kernel_set(context, view, abi, &argument);

	if (r)
		return r;
	if (!is_v10(abi)) { /* the upstream call is done whole and says nothing */
		argument.address += argument.size;
		argument.size = 0;
	}
	*gpa = argument.address;
	*size = argument.size;
	return 0;
}

struct kvmattr_executor_ops simvm_kernel_executor_ops(struct simvm_kernel *kernel)
{
	return (struct kvmattr_executor_ops){
		.probe = executor_probe,
		.set_attributes = executor_set,
		.context = kernel,
	};
}

/* ---- Looking in ---------------------------------------------------------------------------- */

const uint8_t *simvm_kernel_pages(const struct simvm_kernel *kernel, unsigned int view)
{
	assert(view < kernel->n_views);
	return kernel->views[view].pages;
}

uint8_t simvm_kernel_effective(uint8_t page)
{
	unsigned int attributes = KVMATTR_RWX;

	if (page & SIMVM_KERNEL_DENY_READ)
		attributes &= ~KVMATTR_READ;
	if (page & SIMVM_KERNEL_DENY_WRITE)
		attributes &= ~KVMATTR_WRITE;
	if (page & SIMVM_KERNEL_DENY_EXECUTE)
		attributes &= ~KVMATTR_EXECUTE;
	if (page & SIMVM_KERNEL_PRIVATE)
		attributes |= KVMATTR_PRIVATE;
	return (uint8_t)attributes;
}

struct simvm_kernel_statistics simvm_kernel_statistics(const struct simvm_kernel *kernel)
{
	return (struct simvm_kernel_statistics){
		.calls = atomic_load_explicit(&kernel->calls, memory_order_relaxed),
		.refused = atomic_load_explicit(&kernel->refused, memory_order_relaxed),
		.without_effect =
			atomic_load_explicit(&kernel->without_effect, memory_order_relaxed),
		.pages = atomic_load_explicit(&kernel->pages, memory_order_relaxed),
		.pages_outside = atomic_load_explicit(&kernel->pages_outside, memory_order_relaxed),
	};
}
