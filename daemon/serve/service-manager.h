/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the service manager is told: that the daemon serves, how it does, that its loop still turns.
 *
 * The watchdog is fed by an event of the loop, so a loop that is held up is one that is not fed; only
 * where the manager asks for it (WatchdogSec=) does anything wake up for that.  The status line is
 * sent when it has changed: when VMs come and go, and each time the watchdog is fed.
 *
 * Descriptors are the store's (fd-store.h).  Without a manager nothing happens.
 */
#ifndef KVMATTRD_SERVICE_MANAGER_H
#define KVMATTRD_SERVICE_MANAGER_H

struct daemon;
struct service_manager;

/* The daemon is about to serve; to be freed before it is. */
struct service_manager *service_manager_new(struct daemon *daemon);
/* The end.  NULL is fine. */
void service_manager_free(struct service_manager *manager);

void service_manager_tell_ready(struct service_manager *manager);
/* New settings are being read; ready is said again behind that. */
void service_manager_tell_reloading(struct service_manager *manager);
/* VMs came or went: soon, and once for many, the status is told anew.  NULL is fine. */
void service_manager_notice(struct service_manager *manager);

#endif
