/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A daemon with limits, and users who share it, none of whom it is.  Takes root (other-users.h).
 */
#ifndef INTEGRATION_LIMITED_USERS_H
#define INTEGRATION_LIMITED_USERS_H

#include "tests/integration/control-client.h"
#include "tests/integration/other-users.h"
#include "tests/integration/restarts.h"

#include <stdint.h>
#include <sys/types.h>

#define PATIENCE_MS 5000
/* Two who share it. */
#define ANN 61011
#define BEN 61012

/* limits: lines of that section.  control is root's; stop() ends it (restarts.h). */
void start_with(const char *limits);
/* Kills it; the next one has these limits. */
void restart_with(const char *limits);
/* These limits hold from now on: daemon.get has this value at path. */
void reload_with(const char *limits, const char *path, int64_t value);

/* What daemon.get has at path. */
int64_t number_of(const char *path);

/* Whoever connects from now on is that user; as(0) is root again. */
void as(uid_t uid);
/* The registration is sent; what comes of it is the caller's to see. */
struct raw_vm begin_vm_as(uid_t uid, const struct raw_register *registration);
/* It is refused, with that status and a text that holds part. */
void expect_refused_as(uid_t uid, const struct raw_register *registration,
		       enum kvmattr_status status, const char *part);

#endif
