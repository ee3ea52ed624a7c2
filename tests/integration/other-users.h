/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A daemon that is not root's, and peers of it that are not, either.  Takes root.
 *
 * Numbers suffice: a user or group need not have a name.
 */
#ifndef INTEGRATION_OTHER_USERS_H
#define INTEGRATION_OTHER_USERS_H

#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"

#include <kvmattr-types.h>
#include <sys/types.h>

/* Whose the daemon is, and its group. */
#define DAEMON_ID 61001
/* The code of an error that has this status. */
#define ACCESS_DENIED (-32000 - KVMATTR_ACCESS_DENIED)

/* Why there cannot be other users here, or NULL. */
const char *other_users_why_not(void);
/* The daemon, in a place where everyone reaches its sockets; their mode is the configuration's. */
struct kvmattrd *other_users_start(const char *configuration);
/* A connection that this user, in that group and no others, has made. */
struct control_client *control_connect_as(const struct kvmattrd *daemon, uid_t uid, gid_t gid);

#endif
