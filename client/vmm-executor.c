/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The executor of an owner: carries out its VM's calls in this process, and sees to the link when
 * the application does not.
 *
 * A thread of the library's own serves it, or the application's event loop, or, without a thread,
 * calls of the owner's connection that wait.  Whoever does is one at a time, so that a call of a
 * daemon that died is over before the first of its successor is made: what the dead one had asked
 * and was not begun is dropped with its socket, and its successor repairs what it does not know.
 *
 * A VMM may make no call for days.  So whoever serves also has an eye on the link, without a cost
 * while all is well: that the daemon is another one shows here, by the end of the executor's socket
 * or by a second PROBE.  Then the link is driven from here, when no call of the application is,
 * until it is up again.  What is the application's is left to it: answers, and that the connection
 * broke.
 *
 * Locks are taken in this order: serving, use, sockets.  No callback is called from here.
 */
#include "client/connection.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of poll_fd: two sockets of the executor, the connection's poll_fd, its socket. */
#define MAX_EVENTS 4

/* ---- What it does to a target -------------------------------------------------------------- */

static void probe(void *context, uint32_t target, struct wire_probe_result *ret)
{
	struct vmm_executor *executor = context;
	const struct kvmattr_executor_ops *ops = &executor->simulated;
	int v10_errno = 0, cap_errno = 0;
	uint64_t v10_supported = 0, cap = 0;

	if (target == 0)
		executor->n_probes++;
	if (!executor->is_simulated) {
		executor_kvm_ops.probe(executor->view_fds, target, ret);
		return;
	}
	ops->probe(ops->context, target, &v10_errno, &v10_supported, &cap_errno, &cap);
	*ret = (struct wire_probe_result){ .v10_supported = v10_supported,
					   .v10_errno = v10_errno,
					   .cap_errno = cap_errno,
					   .cap = cap };
}

static int set_attributes(void *context, uint32_t target, enum kvmattr_abi abi, uint64_t *gpa,
			  uint64_t *size, uint64_t attributes)
{
	struct vmm_executor *executor = context;
	const struct kvmattr_executor_ops *ops = &executor->simulated;

	return executor->is_simulated
		       ? ops->set_attributes(ops->context, target, abi, gpa, size, attributes)
		       : executor_kvm_ops.set_attributes(executor->view_fds, target, abi, gpa, size,
							 attributes);
}

static const struct executor_ops ops = {
	.probe = probe,
	.set_attributes = set_attributes,
};

/* ---- Its sockets --------------------------------------------------------------------------- */

void vmm_executor_init(struct kvmattr *c)
{
	struct vmm_executor *executor = &c->executor;

	pthread_mutex_init(&executor->serving, NULL);
	pthread_mutex_init(&executor->sockets, NULL);
	pthread_mutex_init(&executor->use, NULL);
	executor->loop.socket = executor->socket = executor->next_socket = executor->poll_fd = -1;
	for (size_t i = 0; i < WIRE_MAX_FDS; i++)
		executor->offered[i] = -1;
	for (size_t i = 0; i < KVMATTR_N_VTLS; i++)
		executor->view_fds[i] = -1;
}

int vmm_executor_open(struct kvmattr *c)
{
	struct vmm_executor *executor = &c->executor;

	executor->loop = (struct executor){
		.socket = -1, .n_targets = executor->n_views, .ops = &ops, .context = executor
	};
	executor->is_watchful = false;
	memcpy(executor->offered + 1, executor->view_fds,
	       executor->n_views * sizeof(executor->view_fds[0]));
	memcpy(executor->offered + 1 + executor->n_views, executor->stats_fds,
	       executor->n_stats * sizeof(executor->stats_fds[0]));
	executor->n_offered = 1 + executor->n_views + executor->n_stats;
	executor->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (executor->poll_fd < 0)
		return -errno;
	return vmm_executor_offer(c);
}

/* Whatever else holds it open: a child of fork() for one. */
static void hang_up(const struct vmm_executor *executor, int *socket)
{
	if (*socket < 0)
		return;
	epoll_ctl(executor->poll_fd, EPOLL_CTL_DEL, *socket, NULL);
	shutdown(*socket, SHUT_RDWR);
	close(*socket);
	*socket = -1;
}

void vmm_executor_close_offer(struct kvmattr *c)
{
	if (c->executor.offered[0] >= 0)
		close(c->executor.offered[0]);
	c->executor.offered[0] = -1;
}

bool vmm_executor_is_served(const struct kvmattr *c)
{
	return !c->is_owner || !c->executor.registration.executor_in_daemon ||
	       c->executor.has_thread;
}

int vmm_executor_offer(struct kvmattr *c)
{
	struct vmm_executor *executor = &c->executor;
	struct epoll_event event = { .events = EPOLLIN };
	int ends[2], r = 0;

	vmm_executor_close_offer(c);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -errno;
	if (!vmm_executor_is_served(c)) {
		close(ends[0]); /* the daemon asks for one, and has no use for it */
		executor->offered[0] = ends[1];
		return 0;
	}
	pthread_mutex_lock(&executor->sockets);
	hang_up(executor, &executor->next_socket);
	if (epoll_ctl(executor->poll_fd, EPOLL_CTL_ADD, ends[0], &event)) {
		r = -errno;
	} else {
		executor->next_socket = ends[0];
		/* Wakes who waits for the dead daemon's next message. */
		if (executor->socket >= 0)
			shutdown(executor->socket, SHUT_RDWR);
	}
	pthread_mutex_unlock(&executor->sockets);
	if (r) {
		close(ends[0]);
		close(ends[1]);
		return r;
	}
	executor->offered[0] = ends[1];
	return 0;
}

/* Whoever serves goes over to the socket that was offered last. */
static void take_next_socket(struct vmm_executor *executor)
{
	pthread_mutex_lock(&executor->sockets);
	if (executor->next_socket >= 0 && !executor->is_stopping) {
		hang_up(executor, &executor->socket);
		executor->socket = executor->loop.socket = executor->next_socket;
		executor->next_socket = -1;
		executor->n_probes = 0;
	}
	pthread_mutex_unlock(&executor->sockets);
}

static void hang_up_served(struct vmm_executor *executor)
{
	pthread_mutex_lock(&executor->sockets);
	hang_up(executor, &executor->socket);
	executor->loop.socket = -1;
	pthread_mutex_unlock(&executor->sockets);
}

void vmm_executor_retire(struct kvmattr *c)
{
	struct vmm_executor *executor = &c->executor;

	take_next_socket(executor);
	hang_up_served(executor);
	executor->is_watchful = true; /* that is all there is to do */
}

void vmm_executor_close(struct kvmattr *c)
{
	struct vmm_executor *executor = &c->executor;
	int *const fds[] = { &executor->socket, &executor->next_socket, &executor->poll_fd,
			     &executor->offered[0] };

	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
	for (size_t i = 0; i < KVMATTR_N_VTLS; i++) {
		if (executor->view_fds[i] >= 0)
			close(executor->view_fds[i]);
		executor->view_fds[i] = -1;
	}
	while (executor->n_stats)
		close(executor->stats_fds[--executor->n_stats]);
	executor->loop.socket = -1;
}

/* ---- The link, between the application's calls --------------------------------------------- */

/* Once: whoever serves is woken, and looks. */
static void watch(const struct vmm_executor *executor, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events | EPOLLONESHOT };

	if (epoll_ctl(executor->poll_fd, EPOLL_CTL_MOD, fd, &event) && errno == ENOENT)
		/* Without memory for it, the application's next call sees to the link. */
		(void)epoll_ctl(executor->poll_fd, EPOLL_CTL_ADD, fd, &event);
}

/* Under use.  reads: a message will do, not only the end. */
static void watch_link(const struct kvmattr *c, bool reads)
{
	if (c->broken || c->link.state != LINK_UP)
		watch(&c->executor, c->poll_fd, EPOLLIN);
	else
		watch(&c->executor, c->socket, EPOLLRDHUP | (reads ? EPOLLIN : 0));
}

void vmm_executor_forget_link(struct kvmattr *c)
{
	if (c->executor.poll_fd >= 0)
		epoll_ctl(c->executor.poll_fd, EPOLL_CTL_DEL, c->socket, NULL);
}

void vmm_executor_keep_off(struct kvmattr *c)
{
	pthread_mutex_lock(&c->executor.use);
	c->executor.is_in_use = true;
	pthread_mutex_unlock(&c->executor.use);
}

void vmm_executor_let_on(struct kvmattr *c)
{
	struct vmm_executor *executor = &c->executor;

	pthread_mutex_lock(&executor->use);
	executor->is_in_use = false;
	if (executor->wants_link)
		watch_link(c, executor->awaits_restart);
	executor->wants_link = false;
	pthread_mutex_unlock(&executor->use);
}

/* Under serving, or the thread: the link may need somebody. */
static void become_watchful(struct vmm_executor *executor)
{
	executor->is_watchful = true;
	pthread_mutex_lock(&executor->use);
	executor->wants_link = true;
	pthread_mutex_unlock(&executor->use);
}

/* Gets on with the link.  Returns false when the daemon has let go of the VM. */
static bool see_to_link(struct kvmattr *c)
{
	struct vmm_executor *executor = &c->executor;
	bool is_over = false;

	pthread_mutex_lock(&executor->use);
	if (executor->is_in_use) {
		/* It is not known what that call has taken: whatever there is, is looked at after it. */
		executor->wants_link = true;
		executor->awaits_restart = true;
	} else {
		bool has_seen_all = resume_drive(c);
		bool has_socket = executor->loop.socket >= 0;

		executor->awaits_restart = executor->n_probes > 1 + c->link.n_restarts;
		executor->wants_link = !has_seen_all;
		executor->is_watchful =
			!has_socket ||
			(!c->broken && (c->link.state != LINK_UP || executor->awaits_restart));
		if (executor->is_watchful && !c->broken)
			watch_link(c, executor->awaits_restart && has_seen_all);
		is_over = c->broken && !has_socket;
	}
	pthread_mutex_unlock(&executor->use);
	return !is_over;
}

/* ---- Serving ------------------------------------------------------------------------------- */

/* One message.  Returns whether there was one. */
static bool serve_one(struct vmm_executor *executor, int flags)
{
	uint64_t n_probes;
	int r;

	take_next_socket(executor);
	if (executor->loop.socket < 0)
		return false;
	n_probes = executor->n_probes;
	r = executor_dispatch(&executor->loop, flags);
	if (r == -EAGAIN)
		return false;
	if (r <= 0) {
		/* Whatever it was: the daemon is to see at once that nobody is here. */
		hang_up_served(executor);
		become_watchful(executor);
	} else if (executor->n_probes > n_probes && n_probes) {
		become_watchful(executor);
	}
	return r > 0;
}

int vmm_executor_to_serve(const struct kvmattr *c)
{
	return vmm_executor_is_served(c) && !c->executor.has_thread ? c->executor.poll_fd : -1;
}

void vmm_executor_serve(struct kvmattr *c)
{
	pthread_mutex_lock(&c->executor.serving);
	serve_one(&c->executor, MSG_DONTWAIT);
	pthread_mutex_unlock(&c->executor.serving);
}

static bool is_stopping(struct vmm_executor *executor)
{
	bool is;

	pthread_mutex_lock(&executor->sockets);
	is = executor->is_stopping;
	pthread_mutex_unlock(&executor->sockets);
	return is;
}

static void *run(void *context)
{
	struct kvmattr *c = context;
	struct vmm_executor *executor = &c->executor;
	struct epoll_event events[MAX_EVENTS];

	pthread_setname_np(pthread_self(), "kvmattr-exec");
	while (!is_stopping(executor)) {
		if (!executor->is_watchful) {
			serve_one(executor, 0);
			continue;
		}
		if (!see_to_link(c))
			break;
		if (executor->is_watchful)
			epoll_wait(executor->poll_fd, events, MAX_EVENTS, -1);
		serve_one(executor, MSG_DONTWAIT);
	}
	return NULL;
}

static int start_thread(struct kvmattr *c)
{
	struct vmm_executor *executor = &c->executor;
	sigset_t all, before;
	int r;

	if (!c->is_owner || executor->has_thread)
		return connection_refuse(
			c, KVMATTR_INVALID_PARAMETER,
			executor->has_thread ? "the executor's thread runs already"
					     : "the executor of no VM: kvmattr_register() first");

	/* The VMM's signals are for the VMM's threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&executor->thread, NULL, run, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return connection_break(c, -r, KVMATTR_NO_VM,
					"cannot start the executor's thread: %s", strerror(r));
	executor->has_thread = true;
	return 0;
}

int kvmattr_start_executor(struct kvmattr *c)
{
	int r = connection_enter(c);

	return r ? r : connection_leave(c, start_thread(c));
}

void vmm_executor_stop(struct kvmattr *c)
{
	struct vmm_executor *executor = &c->executor;

	if (!executor->has_thread)
		return;
	/* Wakes it, whatever it waits for. */
	pthread_mutex_lock(&executor->sockets);
	executor->is_stopping = true;
	if (executor->socket >= 0)
		shutdown(executor->socket, SHUT_RDWR);
	pthread_mutex_unlock(&executor->sockets);
	resume_ring(c);
	watch(executor, c->poll_fd, EPOLLIN);
	pthread_join(executor->thread, NULL);
	executor->has_thread = false;
}

int kvmattr_executor_fd(const struct kvmattr *c)
{
	return vmm_executor_to_serve(c);
}

int kvmattr_dispatch_executor(struct kvmattr *c)
{
	struct vmm_executor *executor = &c->executor;
	struct epoll_event events[MAX_EVENTS];
	bool has_served = false, is_over;

	if (vmm_executor_to_serve(c) < 0)
		return 0; /* in the daemon, or in the library's thread */
	pthread_mutex_lock(&executor->serving);
	while (serve_one(executor, MSG_DONTWAIT))
		has_served = true;
	/* It was the link, then; what was watched once is seen now. */
	if (!has_served)
		epoll_wait(executor->poll_fd, events, MAX_EVENTS, 0);
	is_over = executor->is_watchful && !see_to_link(c);
	pthread_mutex_unlock(&executor->serving);
	return is_over ? -EPIPE : 0;
}
