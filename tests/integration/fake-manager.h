/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A service manager for tests: takes what a daemon tells systemd (sd_notify(3)), keeps descriptors
 * for it, and hands them to the next daemon, as systemd 252 does.
 *
 * It is a process of its own, which listens all the time and dies with the process that made it.
 * Every process that descends from that one may call these functions.  Whatever was sent before a
 * call was taken in by the time it looks.  What cannot go wrong and does ends the calling process
 * with a message.
 */
#ifndef INTEGRATION_FAKE_MANAGER_H
#define INTEGRATION_FAKE_MANAGER_H

#include <stddef.h>

struct fake_manager;

/* Its socket is in that directory. */
struct fake_manager *fake_manager_new(const char *directory);
/* Lets go of everything.  For the process that made it.  NULL is fine. */
void fake_manager_free(struct fake_manager *manager);

/*
 * For the process that is about to become the daemon: the descriptors that are kept are 3 and the
 * following, instead of what had these numbers, and the environment says so.
 */
void fake_manager_pass(struct fake_manager *manager);
/* Waits until everything is taken in that was sent so far. */
void fake_manager_settle(struct fake_manager *manager);

/* Descriptors that are kept under names like this: fnmatch(3), "*" for all. */
unsigned int fake_manager_count(struct fake_manager *manager, const char *pattern);
/* The name of one of them, of which there has to be one. */
void fake_manager_name(struct fake_manager *manager, const char *pattern, char *ret, size_t size);
/* How often it was told READY=1. */
unsigned int fake_manager_count_ready(struct fake_manager *manager);

/* Keeps at most so many from now on, and closes without a word what comes beyond. */
void fake_manager_limit(struct fake_manager *manager, unsigned int max);
/* Keeps it, as if a daemon had sent it; fd stays the caller's. */
void fake_manager_keep(struct fake_manager *manager, const char *name, int fd);
/* Lets go of what has a name like this: of all of it ("*") as systemd does when a unit is stopped. */
void fake_manager_lose(struct fake_manager *manager, const char *pattern);

#endif
