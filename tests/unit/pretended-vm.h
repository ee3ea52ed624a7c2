/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM with two views that is no VM: its executor only writes down what it was told to do.
 */
#ifndef PRETENDED_VM_H
#define PRETENDED_VM_H

#include "tests/unit/scripted-daemon.h"

#include <kvmattr.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PRETENDED_N_VIEWS 2
extern const uint8_t pretended_vtls[KVMATTR_N_VTLS]; /* 0, 1 */

struct pretended_call {
	uint32_t view;
	enum kvmattr_abi abi;
	uint64_t gpa;
	uint64_t size;
	uint64_t attributes;
};

/* What it was told; half of what is left at a time, and nothing (ENOMEM) at PRETENDED_BAD_GPA. */
extern struct pretended_call pretended_calls[64];
extern unsigned int n_pretended_calls;
extern char pretended_caller[16];           /* the thread's name */
extern bool pretended_caller_takes_signals; /* SIGUSR1 or SIGTERM */
#define PRETENDED_BAD_GPA 0xbad000
/* A call here takes 100 ms, and longer while it is held. */
#define PRETENDED_SLOW_GPA 0x510000
extern atomic_bool is_slow_call_held;
extern atomic_bool is_in_slow_call;
extern atomic_bool is_slow_call_done;

/* What its views say to probes: v10 with 0xf and no capability; no v10, and capability 7. */
extern const struct kvmattr_executor_ops pretended_ops;

/* The views' descriptors are memfds of 1 and 2 pages, until pretended_vm_close(). */
struct kvmattr_vm pretended_vm_make(struct kvmattr_view views[PRETENDED_N_VIEWS]);
void pretended_vm_close(void);
/* Registers it, and closes the descriptors. */
void pretended_vm_register(struct kvmattr *c, struct kvmattr_registration *ret);

/* For scripts.  Welcomes its owner and takes the registration. */
void pretended_vm_be_registered(struct scripted_daemon *daemon, enum wire_executor executor);
/* Two calls, of which the first is done in two steps, and the second refused. */
extern const struct wire_call two_calls[2];
void make_two_calls(struct scripted_daemon *daemon);
/* For the test: they were made, and nothing else. */
void expect_two_calls(void);

#endif
