/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "executor-link.h"

#include "daemon/allocate.h"
#include "protocol/executor.h"
#include "protocol/seqpacket.h"
#include "thread.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* Pages of one message: what an executor is silent for stays well below its deadline. */
#define MAX_PAGES_PER_MESSAGE (UINT64_C(1) << 20)

enum request { REQUEST_NONE, REQUEST_PROBE, REQUEST_CALLS };

struct executor_link {
	int socket;
	uint32_t n_targets;
	const struct executor_link_ops *ops;
	void *context;
	struct turns *turns;
	struct turn turn;
	struct event *readable;
	enum request request; /* under way */
	bool is_restored;     /* and has not answered a probe of ours */
	uint64_t id;          /* of the request */
	uint32_t n_calls;     /* of the request */
	uint64_t *sizes;      /* of these calls, in bytes: what a failed one can have done of it */
	const char *why_gone;
	char what_broke[96]; /* why_gone, where a field was wrong */
	uint8_t *buffer;     /* WIRE_MAX_MESSAGE bytes, for both directions */
};

static void receive(void *argument);

static void can_be_received(int socket, short events, void *argument)
{
	struct executor_link *link = argument;

	(void)socket;
	(void)events;
	turn_ask(link->turns, &link->turn);
}

struct executor_link *executor_link_new(struct daemon *daemon, struct turn *share, int socket,
					uint32_t n_targets, bool is_restored,
					const struct executor_link_ops *ops, void *context)
{
	struct executor_link *link = allocate_one(struct executor_link);
	const int room = 4 * (int)WIRE_MAX_MESSAGE;

	link->socket = socket;
	link->n_targets = n_targets;
	link->ops = ops;
	link->context = context;
	link->is_restored = is_restored;
	/* No answer to what was asked before is taken for one to what we ask. */
	if (is_restored && getrandom(&link->id, sizeof(link->id), 0) != sizeof(link->id))
		abort();
	link->sizes = allocate_zeroed(WIRE_MAX_CALLS, sizeof(*link->sizes));
	link->buffer = allocate(WIRE_MAX_MESSAGE);
	/* Whatever the VMM set it to; if it fails, sending will say so. */
	(void)setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	link->turns = &daemon->turns;
	turn_init(link->turns, &link->turn, share, receive, link);
	link->readable =
		event_new(daemon->base, socket, EV_READ | EV_PERSIST, can_be_received, link);
	event_add(link->readable, NULL);
	return link;
}

void executor_link_leave(struct executor_link *link)
{
	if (!link)
		return;
	turn_end(link->turns, &link->turn);
	event_free(link->readable);
	close(link->socket);
	free(link->sizes);
	free(link->buffer);
	free(link);
}

void executor_link_free(struct executor_link *link)
{
	/* Wakes who waits on the other end, though the service manager may have ours, too. */
	if (link)
		shutdown(link->socket, SHUT_RDWR);
	executor_link_leave(link);
}

int executor_link_socket(const struct executor_link *link)
{
	return link->socket;
}

bool executor_link_has_spoken(const struct executor_link *link)
{
	char byte;

	return link &&
	       (recv(link->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN);
}

bool executor_link_has_calls(const struct executor_link *link)
{
	/*
	 * An answer that is there, though not received yet, and the end both say that it is done.
	 */
	return link && (link->request == REQUEST_CALLS || link->is_restored) && !link->why_gone &&
	       !executor_link_has_spoken(link);
}

void executor_link_hang_up(struct executor_link *link)
{
	shutdown(link->socket, SHUT_WR);
}

/* Told from the event loop, not from within whatever the caller is doing. */
static void lose(struct executor_link *link, const char *why)
{
	if (link->why_gone)
		return;
	link->why_gone = why;
	turn_ask_later(&link->turn);
}

static void request(struct executor_link *link, enum request kind, size_t size)
{
	struct iovec part = { link->buffer, size };

	assert(link->request == REQUEST_NONE);
	link->request = kind;
	if (seqpacket_send(link->socket, &part, 1, NULL, 0, MSG_DONTWAIT) < 0)
		lose(link, "the executor's socket takes no message");
}

void executor_link_probe(struct executor_link *link)
{
	struct wire_probe probe = { .n_targets = link->n_targets };

	probe.header = wire_header_make(WIRE_PROBE, sizeof(probe), ++link->id);
	memcpy(link->buffer, &probe, sizeof(probe));
	request(link, REQUEST_PROBE, sizeof(probe));
}

void executor_link_call(struct executor_link *link, const struct plan *plan, size_t first,
			const struct policy *policy)
{
	struct wire_calls calls = { 0 };
	size_t size = sizeof(calls);
	uint64_t n_pages = 0;

	for (size_t i = first; i < plan->n_calls && calls.n_calls < WIRE_MAX_CALLS; i++) {
		const struct plan_call *from = &plan->calls[i];
		const struct dialect *dialect = &policy->views[from->view].dialect;
		struct wire_call call = {
			.gpa = from->gfn << KVMATTR_PAGE_SHIFT,
			.size = from->n_pages << KVMATTR_PAGE_SHIFT,
			.attributes = dialect->bits[from->attributes],
			.target = from->view,
			.abi = (uint16_t)dialect->abi,
		};

		assert(dialect_can_express(dialect, from->attributes));
		n_pages += from->n_pages;
		if (calls.n_calls && n_pages > MAX_PAGES_PER_MESSAGE)
			break;
		link->sizes[calls.n_calls++] = call.size;
		memcpy(link->buffer + size, &call, sizeof(call));
		size += sizeof(call);
	}
	link->n_calls = calls.n_calls;
	calls.header = wire_header_make(WIRE_CALLS, size, ++link->id);
	memcpy(link->buffer, &calls, sizeof(calls));
	request(link, REQUEST_CALLS, size);
}

static const char *take_probed(struct executor_link *link, size_t size)
{
	struct wire_probe_result results[KVMATTR_N_VTLS];
	struct wire_probed probed;
	const char *bad = wire_get_probed(link->buffer, size, &probed);

	if (!bad && probed.n_targets != link->n_targets)
		bad = "n_targets";
	for (uint32_t i = 0; !bad && i < probed.n_targets; i++)
		bad = wire_at_probe_result(link->buffer, i, &results[i]);
	if (bad)
		return bad;
	link->request = REQUEST_NONE;
	link->is_restored = false;
	link->ops->probed(link->context, results);
	return NULL;
}

static const char *take_called(struct executor_link *link, size_t size)
{
	struct wire_called called;
	const char *bad = wire_get_called(link->buffer, size, &called);

	if (bad)
		return bad;
	/* All done, or all up to one that failed and is not done whole. */
	if (called.n_done > link->n_calls ||
	    (called.n_done == link->n_calls) != (called.error == 0))
		return "n_done";
	if (called.error ? called.partial >= link->sizes[called.n_done] : called.partial)
		return "partial";
	link->request = REQUEST_NONE;
	link->ops->called(link->context, called.n_done, called.error,
			  called.partial >> KVMATTR_PAGE_SHIFT);
	return NULL;
}

static const char *take(struct executor_link *link, size_t size)
{
	struct wire_header header;
	const char *bad = wire_get_header(link->buffer, size, &header);

	if (bad)
		return bad;
	if (link->is_restored && (header.type != WIRE_PROBED || header.id != link->id))
		return NULL;
	if (header.id != link->id)
		return "header.id";
	if (header.type == WIRE_PROBED && link->request == REQUEST_PROBE)
		return take_probed(link, size);
	if (header.type == WIRE_CALLED && link->request == REQUEST_CALLS)
		return take_called(link, size);
	return "header.type";
}

static void break_off(struct executor_link *link, const char *field)
{
	snprintf(link->what_broke, sizeof(link->what_broke),
		 "the executor broke the protocol: field %s is not valid", field);
	link->why_gone = link->what_broke;
}

static void receive(void *argument)
{
	struct executor_link *link = argument;
	struct seqpacket_fds fds;
	const char *bad;
	ssize_t n;

	if (!link->why_gone) {
		n = seqpacket_receive(link->socket, link->buffer, WIRE_MAX_MESSAGE, &fds,
				      MSG_DONTWAIT);
		if (n == -EAGAIN)
			return;
		if (n == -EMSGSIZE || n == -EBADMSG) {
			break_off(link, "header.size");
		} else if (n <= 0) {
			link->why_gone = "the VMM has ended, or closed its executor's socket";
		} else {
			seqpacket_fds_close(&fds);
			bad = take(link, (size_t)n);
			if (bad)
				break_off(link, bad);
		}
	}
	if (link->why_gone) {
		event_del(link->readable);
		link->ops->gone(link->context, link->why_gone);
	}
}

struct thread {
	struct executor executor;
	int fds[KVMATTR_N_VTLS];
};

static void *run_thread(void *argument)
{
	struct thread *thread = argument;

	while (executor_dispatch(&thread->executor, 0) > 0)
		;
	close(thread->executor.socket);
	for (uint32_t i = 0; i < thread->executor.n_targets; i++)
		close(thread->fds[i]);
	free(thread);
	return NULL;
}

int executor_link_new_thread(struct daemon *daemon, struct turn *share, const int *fds,
			     uint32_t n_targets, const struct executor_link_ops *ops, void *context,
			     struct executor_link **ret)
{
	struct thread *thread;
	int sockets[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return -errno;
	thread = allocate_one(struct thread);
	thread->executor = (struct executor){
		.socket = sockets[1],
		.n_targets = 0,
		.ops = &executor_kvm_ops,
		.context = thread->fds,
	};
	for (r = 0; !r && thread->executor.n_targets < n_targets;) {
		int fd = fcntl(fds[thread->executor.n_targets], F_DUPFD_CLOEXEC, 3);

		if (fd < 0)
			r = -errno;
		else
			thread->fds[thread->executor.n_targets++] = fd;
	}
	/* It ends when the link closes its end; nobody waits for a call that KVM still makes. */
	if (!r)
		r = thread_start(run_thread, thread, NULL);
	if (r < 0) {
		for (uint32_t i = 0; i < thread->executor.n_targets; i++)
			close(thread->fds[i]);
		free(thread);
		close(sockets[0]);
		close(sockets[1]);
		return r;
	}
	*ret = executor_link_new(daemon, share, sockets[0], n_targets, false, ops, context);
	return 0;
}
