/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The owner of a VM: hands it over, and carries out its calls.
 *
 * KVM takes a VM's calls only in the VMM's address space, so the executor runs here: inside
 * kvmattr_register() at first, then in a thread of its own or driven by the VMM's event loop.
 * Without a thread, calls of this connection that wait serve it too: the daemon answers many
 * requests only when the executor has done its part, and both may be in one thread's hands.
 *
 * The executor keeps duplicates of the views' descriptors.  A number that the VMM closed and
 * that came to name another VM would have its attributes set on the wrong guest.
 */
#include "client/connection.h"

#include "protocol/seqpacket.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void simulated_probe(void *context, uint32_t target, struct wire_probe_result *ret)
{
	const struct kvmattr_executor_ops *ops = context;
	int v10_errno = 0, cap_errno = 0;
	uint64_t v10_supported = 0, cap = 0;

	ops->probe(ops->context, target, &v10_errno, &v10_supported, &cap_errno, &cap);
	*ret = (struct wire_probe_result){ .v10_supported = v10_supported,
					   .v10_errno = v10_errno,
					   .cap_errno = cap_errno,
					   .cap = cap };
}

static int simulated_set_attributes(void *context, uint32_t target, enum kvmattr_abi abi,
				    uint64_t *gpa, uint64_t *size, uint64_t attributes)
{
	const struct kvmattr_executor_ops *ops = context;

	return ops->set_attributes(ops->context, target, abi, gpa, size, attributes);
}

static const struct executor_ops simulated_ops = {
	.probe = simulated_probe,
	.set_attributes = simulated_set_attributes,
};

void owner_init_executor(struct kvmattr *c)
{
	pthread_mutex_init(&c->executor.lock, NULL);
	c->executor.loop.socket = -1;
	for (size_t i = 0; i < KVMATTR_N_VTLS; i++)
		c->executor.view_fds[i] = -1;
}

static void forget_executor(struct owner_executor *executor)
{
	if (executor->loop.socket >= 0)
		close(executor->loop.socket);
	executor->loop.socket = -1;
	for (size_t i = 0; i < KVMATTR_N_VTLS; i++) {
		if (executor->view_fds[i] >= 0)
			close(executor->view_fds[i]);
		executor->view_fds[i] = -1;
	}
	executor->is_over = false;
}

void owner_stop_executor(struct kvmattr *c)
{
	if (!c->executor.has_thread)
		return;
	shutdown(c->executor.loop.socket, SHUT_RDWR); /* wakes it, whatever it waits for */
	pthread_join(c->executor.thread, NULL);
	c->executor.has_thread = false;
}

void owner_close_executor(struct kvmattr *c)
{
	forget_executor(&c->executor);
	pthread_mutex_destroy(&c->executor.lock);
}

/* Makes this side of the executor; *ret_socket is the daemon's side, and the caller's to close. */
static int make_executor(struct kvmattr *c, const struct kvmattr_vm *vm, int *ret_socket)
{
	struct owner_executor *executor = &c->executor;
	int sockets[2];

	for (size_t i = 0; i < vm->n_views; i++) {
		executor->view_fds[i] = fcntl(vm->views[i].fd, F_DUPFD_CLOEXEC, 0);
		if (executor->view_fds[i] >= 0)
			continue;
		if (errno == EBADF)
			return connection_refuse(c, KVMATTR_NOT_A_VM,
						 "VM %s: view %zu (VTL %u): %d is no open file "
						 "descriptor",
						 vm->name, i, vm->views[i].vtl, vm->views[i].fd);
		return connection_break(c, -errno, KVMATTR_NO_VM,
					"VM %s: cannot duplicate the fd of VTL %u: %s", vm->name,
					vm->views[i].vtl, strerror(errno));
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return connection_break(c, -errno, KVMATTR_NO_VM,
					"VM %s: cannot make the executor's socket: %s", vm->name,
					strerror(errno));
	executor->loop = (struct executor){ .socket = sockets[0],
					    .n_targets = (uint32_t)vm->n_views,
					    .ops = &executor_kvm_ops,
					    .context = executor->view_fds };
	if (vm->simulated) {
		executor->simulated = *vm->simulated;
		executor->loop.ops = &simulated_ops;
		executor->loop.context = &executor->simulated;
	}
	*ret_socket = sockets[1];
	return 0;
}

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

/* Sends the registration and waits; meanwhile the executor is served. */
static int request_registration(struct kvmattr *c, const struct kvmattr_vm *vm, int daemon_socket)
{
	struct wire_register head = { .n_views = (uint32_t)vm->n_views,
				      .n_ram = (uint32_t)vm->n_ram };
	struct wire_view views[KVMATTR_N_VTLS];
	struct wire_ram ram[WIRE_MAX_RAM];
	int fds[WIRE_MAX_FDS] = { daemon_socket };
	struct iovec parts[] = {
		{ &head, sizeof(head) },
		{ views, vm->n_views * sizeof(*views) },
		{ ram, vm->n_ram * sizeof(*ram) },
	};

	memcpy(head.name, vm->name, strlen(vm->name));
	for (size_t i = 0; i < vm->n_views; i++) {
		views[i] = (struct wire_view){ .vtl = vm->views[i].vtl,
					       .abi = (uint8_t)vm->views[i].pin };
		fds[1 + i] = c->executor.view_fds[i];
	}
	for (size_t i = 0; i < vm->n_ram; i++)
		ram[i] = (struct wire_ram){ .gfn = vm->ram[i].range.gfn,
					    .n_pages = vm->ram[i].range.n_pages,
					    .private = vm->ram[i].is_private ? 1 : 0 };
	return connection_request(c, WIRE_REGISTER, parts, 3, fds, 1 + vm->n_views, WIRE_REGISTERED,
				  NULL);
}

static int take_registration(struct kvmattr *c, const struct kvmattr_vm *vm,
			     struct kvmattr_registration *ret)
{
	struct kvmattr_registration registration = { .n_views = vm->n_views };
	struct wire_registered reply;
	const char *wrong = wire_get_registered(c->received, c->request.size, &reply);

	if (!wrong && reply.n_views != vm->n_views)
		wrong = "n_views";
	for (uint32_t i = 0; !wrong && i < reply.n_views; i++) {
		struct wire_view view;

		wrong = wire_at_registered_view(c->received, i, &view);
		if (wrong)
			break;
		if (view.vtl != vm->views[i].vtl)
			wrong = "view.vtl";
		if (vm->views[i].pin && view.abi != vm->views[i].pin)
			wrong = "view.abi";
		registration.views[i].vtl = view.vtl;
		registration.views[i].abi = (enum kvmattr_abi)view.abi;
		registration.views[i].supported = view.supported;
	}
	if (wrong)
		return connection_break_protocol(c, WIRE_REGISTERED, wrong);

	registration.executor_in_daemon = reply.executor == WIRE_EXECUTOR_DAEMON;
	if (registration.executor_in_daemon)
		forget_executor(&c->executor);
	c->is_owner = true;
	c->has_vm = true;
	if (ret)
		*ret = registration;
	return 0;
}

int kvmattr_register(struct kvmattr *c, const struct kvmattr_vm *vm,
		     struct kvmattr_registration *ret)
{
	int daemon_socket = -1;
	int r;

	if (c->broken)
		return c->broken;
	r = check_vm(c, vm);
	if (r)
		return r;
	r = make_executor(c, vm, &daemon_socket);
	if (!r)
		r = request_registration(c, vm, daemon_socket);
	if (!r)
		r = take_registration(c, vm, ret);
	if (daemon_socket >= 0)
		close(daemon_socket);
	if (r)
		forget_executor(&c->executor);
	return r;
}

/* One message, if there is one.  Returns 1, 0 if there was none, or -EPIPE: it is over. */
static int serve_one(struct owner_executor *executor)
{
	int r = -EPIPE;

	pthread_mutex_lock(&executor->lock);
	if (!executor->is_over) {
		r = executor_dispatch(&executor->loop, MSG_DONTWAIT);
		if (r == -EAGAIN) {
			r = 0;
		} else if (r <= 0) {
			/* Whatever it was: the daemon is to see at once that nobody is here. */
			shutdown(executor->loop.socket, SHUT_RDWR);
			executor->is_over = true;
			r = -EPIPE;
		}
	}
	pthread_mutex_unlock(&executor->lock);
	return r;
}

int owner_executor_to_serve(struct kvmattr *c)
{
	struct owner_executor *executor = &c->executor;
	bool is_over;

	if (executor->loop.socket < 0 || executor->has_thread)
		return -1;
	pthread_mutex_lock(&executor->lock);
	is_over = executor->is_over;
	pthread_mutex_unlock(&executor->lock);
	return is_over ? -1 : executor->loop.socket;
}

void owner_serve_executor(struct kvmattr *c)
{
	/* That it is over is told by the connection's own socket, with the reason. */
	serve_one(&c->executor);
}

static void *run_executor(void *context)
{
	struct executor *loop = context;

	pthread_setname_np(pthread_self(), "kvmattr-exec");
	while (executor_dispatch(loop, 0) > 0)
		;
	shutdown(loop->socket, SHUT_RDWR);
	return NULL;
}

int kvmattr_start_executor(struct kvmattr *c)
{
	struct owner_executor *executor = &c->executor;
	sigset_t all, before;
	int r;

	if (c->broken)
		return c->broken;
	if (!c->is_owner || executor->has_thread)
		return connection_refuse(
			c, KVMATTR_INVALID_PARAMETER,
			executor->has_thread ? "the executor's thread runs already"
					     : "the executor of no VM: kvmattr_register() first");
	if (executor->loop.socket < 0)
		return 0; /* it is in the daemon */

	/* The VMM's signals are for the VMM's threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&executor->thread, NULL, run_executor, &executor->loop);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return connection_break(c, -r, KVMATTR_NO_VM,
					"cannot start the executor's thread: %s", strerror(r));
	executor->has_thread = true;
	return 0;
}

int kvmattr_executor_fd(const struct kvmattr *c)
{
	return c->executor.has_thread ? -1 : c->executor.loop.socket;
}

int kvmattr_dispatch_executor(struct kvmattr *c)
{
	int r;

	if (kvmattr_executor_fd(c) < 0)
		return 0; /* in the daemon, or in the library's thread */
	while ((r = serve_one(&c->executor)) > 0)
		;
	return r;
}

int kvmattr_open_agent(struct kvmattr *c, unsigned int vtl, unsigned int rights, int *ret_fd)
{
	struct wire_open_agent request = { .vtl = vtl, .rights = rights };
	struct iovec part = { &request, sizeof(request) };

	return connection_request(c, WIRE_OPEN_AGENT, &part, 1, NULL, 0, WIRE_AGENT_OPENED, ret_fd);
}
