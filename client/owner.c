/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The owner of a VM: hands it over.
 *
 * KVM takes a VM's calls only in the VMM's address space, so the executor runs here: inside
 * kvmattr_register() at first, then as vmm-executor.c says.
 *
 * The library keeps duplicates of the views' descriptors, for the executor and for a daemon that
 * comes back with nothing.  A number that the VMM closed and that came to name another VM would
 * have its attributes set on the wrong guest.  It keeps KVM's statistics of the views, too, which
 * are for the daemon alone: they can be read in any process, but only here can they be had.
 */
#include "client/connection.h"

#include "protocol/kvm-abi.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

static int check_vm(struct kvmattr *c, const struct kvmattr_vm *vm)
{
	if (c->is_owner)
		return connection_refuse(c, KVMATTR_VM_EXISTS,
					 "this connection owns a VM already; register VM %s on a "
					 "connection of its own",
					 vm->name ? vm->name : "");
	if (!vm->name || !*vm->name || strlen(vm->name) >= KVMATTR_NAME_SIZE)
		return connection_refuse(c, KVMATTR_INVALID_PARAMETER,
					 "a VM needs a name of 1 to %d bytes",
					 KVMATTR_NAME_SIZE - 1);
	if (!vm->n_views || vm->n_views > KVMATTR_N_VTLS)
		return connection_refuse(c, KVMATTR_INVALID_PARAMETER,
					 "VM %s: %zu views: it has 1 to %d, one for each VTL",
					 vm->name, vm->n_views, KVMATTR_N_VTLS);
	for (size_t i = 0; i < vm->n_views; i++)
		if (vm->views[i].vtl >= KVMATTR_N_VTLS ||
		    (unsigned int)vm->views[i].pin >= KVMATTR_N_ABIS)
			return connection_refuse(c, KVMATTR_INVALID_PARAMETER,
						 "VM %s: view %zu: VTL %u or ABI %d does not exist",
						 vm->name, i, vm->views[i].vtl,
						 (int)vm->views[i].pin);
	if (vm->n_ram > WIRE_MAX_RAM)
		return connection_refuse(c, KVMATTR_INVALID_PARAMETER,
					 "VM %s: %zu RAM ranges: register %u at most and add the "
					 "others with kvmattr_add_ram()",
					 vm->name, vm->n_ram, WIRE_MAX_RAM);
	return 0;
}

/* Where the kernel has none (before 5.14) the daemon does without. */
static void take_stats(struct vmm_executor *executor, size_t view)
{
	int fd = ioctl(executor->view_fds[view], KVM_ABI_GET_STATS_FD, 0);

	if (fd < 0)
		return;
	executor->views[view].has_stats = 1;
	executor->stats_fds[executor->n_stats++] = fd;
}

/* What the library keeps of it. */
static int take_views(struct kvmattr *c, const struct kvmattr_vm *vm)
{
	struct vmm_executor *executor = &c->executor;
	int r;

	for (size_t i = 0; i < vm->n_views; i++) {
		executor->views[i] = (struct wire_view){ .vtl = vm->views[i].vtl,
							 .abi = (uint8_t)vm->views[i].pin };
		executor->view_fds[i] = fcntl(vm->views[i].fd, F_DUPFD_CLOEXEC, 0);
		if (executor->view_fds[i] >= 0) {
			if (!vm->simulated)
				take_stats(executor, i);
			continue;
		}
		if (errno == EBADF)
			return connection_refuse(c, KVMATTR_NOT_A_VM,
						 "VM %s: view %zu (VTL %u): %d is no open file "
						 "descriptor",
						 vm->name, i, vm->views[i].vtl, vm->views[i].fd);
		return connection_break(c, -errno, KVMATTR_NO_VM,
					"VM %s: cannot duplicate the fd of VTL %u: %s", vm->name,
					vm->views[i].vtl, strerror(errno));
	}
	executor->n_views = (uint32_t)vm->n_views;
	executor->is_simulated = vm->simulated;
	if (vm->simulated)
		executor->simulated = *vm->simulated;
	r = vmm_executor_open(c);
	if (r)
		return connection_break(c, r, KVMATTR_NO_VM,
					"VM %s: cannot make the executor's descriptors: %s",
					vm->name, strerror(-r));
	return 0;
}

/* Sends the registration and waits; meanwhile the executor is served. */
static int request_registration(struct kvmattr *c, const struct kvmattr_vm *vm)
{
	struct wire_register head = { .n_views = (uint32_t)vm->n_views,
				      .n_ram = (uint32_t)vm->n_ram };
	struct wire_ram ram[WIRE_MAX_RAM];
	struct iovec parts[] = {
		{ &head, sizeof(head) },
		{ c->executor.views, vm->n_views * sizeof(*c->executor.views) },
		{ ram, vm->n_ram * sizeof(*ram) },
	};
	int r;

	memcpy(head.name, vm->name, strlen(vm->name));
	for (size_t i = 0; i < vm->n_ram; i++)
		ram[i] = (struct wire_ram){ .gfn = vm->ram[i].range.gfn,
					    .n_pages = vm->ram[i].range.n_pages,
					    .private = vm->ram[i].is_private ? 1 : 0 };
	c->is_registering = true;
	r = connection_request(c, WIRE_REGISTER, parts, 3, c->executor.offered,
			       c->executor.n_offered, WIRE_REGISTERED, NULL);
	c->is_registering = false;
	vmm_executor_close_offer(c);
	return r;
}

/* REGISTERED, or RESUMED of a registration that was complete when the daemon died. */
static const char *get_registration(const struct kvmattr *c, enum wire_executor *ret_executor,
				    uint32_t *ret_n_views)
{
	struct wire_registered registered;
	struct wire_resumed resumed;
	const char *wrong;

	if (c->request.reply_type == WIRE_RESUMED) {
		wrong = wire_get_resumed(c->received, c->request.reply_size, &resumed);
		if (wrong)
			return wrong;
		*ret_executor = (enum wire_executor)resumed.executor;
		*ret_n_views = resumed.n_views;
		return NULL;
	}
	wrong = wire_get_registered(c->received, c->request.reply_size, &registered);
	if (wrong)
		return wrong;
	*ret_executor = (enum wire_executor)registered.executor;
	*ret_n_views = registered.n_views;
	return NULL;
}

static const char *get_view(const struct kvmattr *c, uint32_t i, struct wire_view *ret)
{
	const struct wire_view *asked = &c->executor.views[i];
	const char *wrong = c->request.reply_type == WIRE_RESUMED
				    ? wire_at_resumed_view(c->received, i, ret)
				    : wire_at_registered_view(c->received, i, ret);

	if (wrong)
		return wrong;
	if (ret->vtl != asked->vtl)
		return "view.vtl";
	return asked->abi && ret->abi != asked->abi ? "view.abi" : NULL;
}

static int take_registration(struct kvmattr *c, struct kvmattr_registration *ret)
{
	struct kvmattr_registration registration = { .n_views = c->executor.n_views };
	enum wire_executor executor = WIRE_EXECUTOR_VMM;
	uint32_t n_views = 0;
	const char *wrong = get_registration(c, &executor, &n_views);

	if (!wrong && n_views != registration.n_views)
		wrong = "n_views";
	for (uint32_t i = 0; !wrong && i < n_views; i++) {
		struct wire_view view = { 0 };

		wrong = get_view(c, i, &view);
		registration.views[i].vtl = view.vtl;
		registration.views[i].abi = (enum kvmattr_abi)view.abi;
		registration.views[i].supported = view.supported;
	}
	if (wrong)
		return connection_break_protocol(c, c->request.reply_type, wrong);

	registration.executor_in_daemon = executor == WIRE_EXECUTOR_DAEMON;
	c->executor.registration = registration;
	if (registration.executor_in_daemon)
		vmm_executor_retire(c);
	c->is_owner = true;
	c->has_vm = true;
	if (ret)
		*ret = registration;
	return 0;
}

const char *owner_check_resumed(const struct kvmattr *c, const struct wire_resumed *resumed)
{
	const struct kvmattr_registration *registration = &c->executor.registration;

	/* The kernel may take the daemon's calls now, or not any more: but nobody serves one here. */
	if (resumed->executor == WIRE_EXECUTOR_VMM && !vmm_executor_is_served(c))
		return "executor";
	if (resumed->n_views != registration->n_views)
		return "n_views";
	for (uint32_t i = 0; i < resumed->n_views; i++) {
		struct wire_view view;
		const char *wrong = wire_at_resumed_view(c->received, i, &view);

		if (wrong)
			return wrong;
		if (view.vtl != registration->views[i].vtl)
			return "view.vtl";
		if (view.abi != registration->views[i].abi)
			return "view.abi";
	}
	return NULL;
}

static int register_vm(struct kvmattr *c, const struct kvmattr_vm *vm,
		       struct kvmattr_registration *ret)
{
	int r;

	r = check_vm(c, vm);
	if (r)
		return r;
	r = take_views(c, vm);
	if (!r)
		r = request_registration(c, vm);
	if (!r)
		r = take_registration(c, ret);
	if (r)
		vmm_executor_close(c);
	return r;
}

int kvmattr_register(struct kvmattr *c, const struct kvmattr_vm *vm,
		     struct kvmattr_registration *ret)
{
	int r = connection_enter(c);

	return r ? r : connection_leave(c, register_vm(c, vm, ret));
}

int kvmattr_open_agent(struct kvmattr *c, unsigned int vtl, unsigned int rights, int *ret_fd)
{
	struct wire_open_agent request = { .vtl = vtl, .rights = rights };
	struct iovec part = { &request, sizeof(request) };
	int r = connection_enter(c);

	return r ? r
		 : connection_leave(c, connection_request(c, WIRE_OPEN_AGENT, &part, 1, NULL, 0,
							  WIRE_AGENT_OPENED, ret_fd));
}
