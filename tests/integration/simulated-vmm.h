/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VMM in the test's own process: libkvmattr in front, a simulated kernel behind.
 *
 * What is tested is between the two: an answer that says "in force" is held against the flat page
 * table of the simulated kernel (client/simvm-kernel.h) at that very moment.  The page table is
 * shared memory, so processes that a test forks can look, too.
 */
#ifndef INTEGRATION_SIMULATED_VMM_H
#define INTEGRATION_SIMULATED_VMM_H

#include "client/simvm-kernel.h"
#include "tests/integration/harness.h"

#include <kvmattr.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct simulated_vmm {
	struct simvm_kernel *kernel;
	struct kvmattr *owner;
	struct kvmattr_registration registration;
	unsigned int n_views;
	uint8_t vtls[KVMATTR_N_VTLS]; /* of the views */
	uint64_t n_pages;             /* the simulated kernel's, and RAM unless said otherwise */

	/* While it is closed, the executor's calls wait in front of the kernel. */
	struct kvmattr_executor_ops kernel_ops;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool gate_is_closed;
	unsigned int n_at_gate;
	int error;                        /* that calls fail with, if it is not 0 */
	unsigned int delay_ms;            /* of every call, before it is made */
	struct kvmattr_range error_range; /* those that protect a page of it; all if it is empty */
};

struct simulated_vmm_options {
	const char *name;     /* NULL: "guest" */
	enum kvmattr_abi abi; /* 0: deny */
	enum kvmattr_abi pin;
	unsigned int n_views;         /* 0: 2 */
	uint8_t vtls[KVMATTR_N_VTLS]; /* all 0: 0 to n_views - 1 */
	uint64_t n_pages;             /* 0: 4096 */
	bool is_private;              /* RAM, from the start */
	bool has_no_ram;
	bool has_no_thread;    /* whoever waits serves the executor */
	const char *faults;    /* as kvmattr-simvm's --fault has them */
	uint64_t kernel_pages; /* 0: n_pages; more, for RAM that is added later */
};

/* Makes the kernel and connects; simulated_vmm_register() is to come. */
struct simulated_vmm *simulated_vmm_connect(const struct kvmattrd *daemon,
					    const struct simulated_vmm_options *options);
/* Returns kvmattr_register()'s result. */
int simulated_vmm_register(struct simulated_vmm *vmm, const struct simulated_vmm_options *options);
/* Both, the executor's thread, and all of it succeeds. */
struct simulated_vmm *simulated_vmm_start(const struct kvmattrd *daemon,
					  const struct simulated_vmm_options *options);
void simulated_vmm_stop(struct simulated_vmm *vmm);

/* An agent of this VMM in this process. */
struct kvmattr *simulated_vmm_open_agent(struct simulated_vmm *vmm, unsigned int vtl,
					 unsigned int rights);

/* Has the executor's calls wait; returns at once. */
void simulated_vmm_close_gate(struct simulated_vmm *vmm);
/* Waits until one waits there. */
void simulated_vmm_await_call(struct simulated_vmm *vmm);
void simulated_vmm_open_gate(struct simulated_vmm *vmm);
/* From now on every call fails with this errno; with 0, as the kernel has it. */
void simulated_vmm_fail(struct simulated_vmm *vmm, int error);
/* Only those that would restrict (deny bits) a page of the range. */
void simulated_vmm_fail_at(struct simulated_vmm *vmm, int error, uint64_t gfn, uint64_t n_pages);

/* What the simulated kernel enforces on a page: a protection and KVMATTR_PRIVATE. */
unsigned int simulated_vmm_page(const struct simulated_vmm *vmm, unsigned int vtl, uint64_t gfn);

/* The kernel enforces these attributes on all of these pages. */
#define expect_pages(vmm, vtl, gfn, n_pages, attributes) \
	simulated_vmm_expect(__FILE__, __LINE__, vmm, vtl, gfn, n_pages, attributes)
void simulated_vmm_expect(const char *file, int line, const struct simulated_vmm *vmm,
			  unsigned int vtl, uint64_t gfn, uint64_t n_pages,
			  unsigned int attributes);

/* The query over this connection says what the kernel enforces, in force on every page of RAM. */
void expect_agreement(const struct simulated_vmm *vmm, struct kvmattr *connection,
		      unsigned int vtl);

/* ---- Updates in one line ------------------------------------------------------------------- */

/* A result that is a status, and the message of the connection that it came from. */
#define expect_status(connection, result, status) \
	check_status(__FILE__, __LINE__, connection, result, status, "")
/* The message holds part, too. */
#define expect_refusal(connection, result, status, part) \
	check_status(__FILE__, __LINE__, connection, result, status, part)
void check_status(const char *file, int line, const struct kvmattr *connection, int result,
		  int status, const char *part);

#define expect_ok(connection, result) expect_status(connection, result, KVMATTR_OK)

/* Layer 1 or another imposes a protection on pages gfn to gfn + n_pages - 1 of all VTLs below. */
int protect_range(struct kvmattr *connection, unsigned int layer, unsigned int protection,
		  uint64_t gfn, uint64_t n_pages);
int set_visibility_of(struct kvmattr *connection, int is_private, uint64_t gfn, uint64_t n_pages);

/* Small, fast, and the same everywhere from one seed: xorshift64*. */
uint64_t next_random(uint64_t *state);

#endif
