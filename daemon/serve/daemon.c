/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon.h"

#include "authority.h"
#include "daemon/allocate.h"
#include "events.h"
#include "hosted-vm.h"
#include "memory.h"
#include "recovery.h"
#include "refusals.h"
#include "session.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

uint64_t clock_now_us(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t now_us(void)
{
	return clock_now_us(CLOCK_MONOTONIC);
}

static void reap(evutil_socket_t unused, short events, void *argument)
{
	(void)unused;
	(void)events;
	session_reap(argument);
}

void daemon_init(struct daemon *daemon, struct event_base *base)
{
	daemon->base = base;
	turns_init(&daemon->turns, now_us);
	daemon->users.turns = &daemon->turns;
	LIST_INIT(&daemon->vms);
	LIST_INIT(&daemon->released_vms);
	LIST_INIT(&daemon->unrecovered);
	TAILQ_INIT(&daemon->unbound_sessions);
	TAILQ_INIT(&daemon->closed_sessions);
	daemon->reaper = event_new(base, -1, 0, reap, daemon);
	daemon->receive_buffer = allocate(WIRE_MAX_MESSAGE);
	daemon->events = events_new();
	daemon->refusals = refusals_new(base);
	daemon->authority = authority_new(daemon->refusals);
	daemon->memory = memory_new(daemon);
	daemon->started_us = clock_now_us(CLOCK_REALTIME);
	/* The kernel's generator is up long before any guest is, and so many bytes come whole. */
	if (getrandom(&daemon->life, sizeof(daemon->life), 0) != sizeof(daemon->life))
		abort();
	daemon->life |= 1;
}

int daemon_loop(struct daemon *daemon)
{
	struct turns *turns = &daemon->turns;
	int r = 0;

	while (r == 0 && !event_base_got_break(daemon->base)) {
		r = event_base_loop(daemon->base,
				    EVLOOP_ONCE | (turns_are_waiting(turns) ? EVLOOP_NONBLOCK : 0));
		turns_run(turns);
	}
	return r < 0 ? -EIO : 0;
}

void daemon_destroy(struct daemon *daemon)
{
	struct hosted_vm *hosted;
	struct session *session;

	while ((hosted = LIST_FIRST(&daemon->vms)))
		if (hosted->is_doomed)
			hosted_vm_release(hosted);
		else
			hosted_vm_suspend(hosted);
	while ((hosted = LIST_FIRST(&daemon->released_vms)))
		hosted_vm_release(hosted);
	while ((session = TAILQ_FIRST(&daemon->unbound_sessions)))
		session_drop(session);
	session_reap(daemon);
	recovery_forget_unrecovered(daemon);
	event_free(daemon->reaper);
	events_free(daemon->events);
	authority_free(daemon->authority);
	memory_free(daemon->memory);
	daemon->memory = NULL; /* the archivist's jobs end behind this */
	refusals_free(daemon->refusals);
	free(daemon->receive_buffer);
}

struct hosted_vm *daemon_find_vm(struct daemon *daemon, const char *name)
{
	struct hosted_vm *hosted;

	LIST_FOREACH (hosted, &daemon->vms, list)
		if (hosted->is_ready && !strcmp(hosted->name, name))
			return hosted;
	return NULL;
}
