/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/bench/bench-guest.h"

#include <err.h>
#include <stdlib.h>

void bench_check(const struct kvmattr *connection, int result, const char *what)
{
	if (result)
		errx(EXIT_FAILURE, "%s: %d: %s", what, result, kvmattr_message(connection));
}

void bench_guest_start(struct bench_guest *guest, const struct bench_place *place, uint64_t n_pages,
		       const struct simvm_faults *faults)
{
	const struct simvm_kernel_options options = {
		.abi = KVMATTR_ABI_DENY, .n_views = 2, .n_pages = n_pages, .faults = faults
	};
	const struct kvmattr_ram ram = { .range = { 0, n_pages } };
	struct kvmattr_view views[2] = { { .vtl = 0 }, { .vtl = 1 } };
	struct kvmattr_executor_ops executor;
	const struct kvmattr_vm vm = { .name = "bench",
				       .views = views,
				       .n_views = 2,
				       .ram = &ram,
				       .n_ram = 1,
				       .simulated = &executor };
	struct kvmattr *owner;

	if (simvm_kernel_new(&options, &guest->kernel))
		errx(EXIT_FAILURE, "cannot make a simulated kernel");
	executor = simvm_kernel_executor_ops(guest->kernel);
	for (unsigned int i = 0; i < 2; i++)
		views[i].fd = simvm_kernel_fd(guest->kernel, i);
	bench_check(NULL, kvmattr_connect(place->agent_socket, "bench", &owner),
		    "kvmattr_connect()");
	bench_check(owner, kvmattr_register(owner, &vm, NULL), "kvmattr_register()");
	bench_check(owner, kvmattr_start_executor(owner), "kvmattr_start_executor()");
	bench_check(owner, kvmattr_enable_layer(owner, 1, KVMATTR_RWX, 0),
		    "kvmattr_enable_layer()");
	guest->owner = owner;
}

void bench_guest_end(struct bench_guest *guest)
{
	kvmattr_close(guest->owner);
	simvm_kernel_free(guest->kernel);
}

struct kvmattr *bench_guest_open_agent(struct bench_guest *guest)
{
	struct kvmattr *agent;
	int fd;

	bench_check(guest->owner, kvmattr_open_agent(guest->owner, 1, 0, &fd),
		    "kvmattr_open_agent()");
	bench_check(NULL, kvmattr_adopt(fd, "agent", &agent), "kvmattr_adopt()");
	return agent;
}
