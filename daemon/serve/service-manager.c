/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service-manager.h"

#include "daemon.h"
#include "daemon/allocate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

/* The status is told at most so often; a thousand VMs that come at once are one line. */
#define STATUS_PAUSE_US 200000

struct service_manager {
	struct daemon *daemon;
	struct event *feed;   /* the watchdog; NULL: nobody watches */
	struct event *status; /* pending: it is to be told */
	char told[160];
};

static void tell_status(struct service_manager *manager)
{
	const struct daemon *daemon = manager->daemon;
	const struct hosted_vm *hosted;
	unsigned int n_degraded = 0, n_waiting = 0;
	char text[sizeof(manager->told)];
	int n;

	LIST_FOREACH (hosted, &daemon->vms, list) {
		if (!hosted->vm)
			continue;
		n_degraded += vm_is_degraded(hosted->vm);
		n_waiting += vm_state(hosted->vm) == VM_WAITING;
	}
	n = snprintf(text, sizeof(text), "%u VMs, %u sessions", daemon->n_vms, daemon->n_sessions);
	if (n_degraded)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "; degraded: %u", n_degraded);
	if (n_waiting)
		snprintf(text + n, sizeof(text) - (size_t)n, "; waiting for their owners: %u",
			 n_waiting);
	if (!strcmp(text, manager->told))
		return;
	memcpy(manager->told, text, sizeof(text));
	sd_notifyf(0, "STATUS=%s", text);
}

static void on_status(evutil_socket_t unused, short events, void *context)
{
	(void)unused;
	(void)events;
	tell_status(context);
}

static void on_feed(evutil_socket_t unused, short events, void *context)
{
	(void)unused;
	(void)events;
	sd_notify(0, "WATCHDOG=1");
	tell_status(context);
}

static void feed_in_time(struct service_manager *manager)
{
	struct timeval interval;
	uint64_t watchdog_us;

	if (sd_watchdog_enabled(0, &watchdog_us) <= 0)
		return;
	/* Twice as often as is asked for: sd_watchdog_enabled(3). */
	interval = (struct timeval){ (time_t)(watchdog_us / 2 / 1000000),
				     (suseconds_t)(watchdog_us / 2 % 1000000) };
	manager->feed = event_new(manager->daemon->base, -1, EV_PERSIST, on_feed, manager);
	event_add(manager->feed, &interval);
}

struct service_manager *service_manager_new(struct daemon *daemon)
{
	struct service_manager *manager = allocate_one(struct service_manager);

	manager->daemon = daemon;
	manager->status = event_new(daemon->base, -1, 0, on_status, manager);
	feed_in_time(manager);
	return manager;
}

void service_manager_free(struct service_manager *manager)
{
	if (!manager)
		return;
	sd_notify(0, "STOPPING=1\nSTATUS=Stopping; VMs stay as they are");
	if (manager->feed)
		event_free(manager->feed);
	event_free(manager->status);
	free(manager);
}

void service_manager_tell_ready(struct service_manager *manager)
{
	sd_notify(0, "READY=1");
	tell_status(manager);
}

void service_manager_tell_reloading(struct service_manager *manager)
{
	/* What Type=notify-reload (systemd 253) wants to know beside it; 252 passes over that. */
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_now_us(CLOCK_MONOTONIC));
	*manager->told = '\0';
}

void service_manager_notice(struct service_manager *manager)
{
	static const struct timeval pause = { 0, STATUS_PAUSE_US };

	if (manager && !event_pending(manager->status, EV_TIMEOUT, NULL))
		event_add(manager->status, &pause);
}
