/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A simulated VM in the bench's own process, registered with the daemon that is measured; its
 * executor has a thread of its own, its layer 1 is enabled.
 *
 * What goes wrong here ends the bench, with a message.
 */
#ifndef BENCH_GUEST_H
#define BENCH_GUEST_H

#include "client/simvm-kernel.h"
#include "tests/bench/bench-daemon.h"

#include <kvmattr.h>

#include <stdint.h>

struct bench_guest {
	struct simvm_kernel *kernel;
	struct kvmattr *owner;
};

/* Two views; its name is "bench".  faults: of its KVM, or NULL. */
void bench_guest_start(struct bench_guest *guest, const struct bench_place *place, uint64_t n_pages,
		       const struct simvm_faults *faults);
void bench_guest_end(struct bench_guest *guest);

/* VTL 1's, in this process. */
struct kvmattr *bench_guest_open_agent(struct bench_guest *guest);

/* A result of libkvmattr's that has to be 0. */
void bench_check(const struct kvmattr *connection, int result, const char *what);

#endif
