/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "users.h"

#include "daemon.h"
#include "daemon/allocate.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct user {
	uid_t uid;
	unsigned int n[USER_N_THINGS];
};

static int compare(const void *one, const void *other)
{
	const struct user *a = one, *b = other;

	return (a->uid > b->uid) - (a->uid < b->uid);
}

/* NULL: it has nothing. */
static struct user *find(const struct users *users, uid_t uid)
{
	const struct user key = { .uid = uid };
	struct user *const *node = tfind(&key, &users->tree, compare);

	return node ? *node : NULL;
}

static struct user *make(struct users *users, uid_t uid)
{
	struct user *user = allocate_one(struct user);

	user->uid = uid;
	if (!tsearch(user, &users->tree, compare)) {
		fputs("kvmattrd: out of memory for another user; give the service more memory and "
		      "start it again\n",
		      stderr);
		abort();
	}
	return user;
}

/* How many of that kind there are, and may be, for a user; and its words. */
struct quota {
	unsigned int n;
	unsigned int max;
	const char *things;
	const char *setting;
};

static struct quota quota_of(const struct daemon_limits *limits, const struct user *user,
			     enum user_thing thing)
{
	switch (thing) {
	case USER_VM:
		return (struct quota){ user->n[USER_VM], limits->max_vms_per_user, "VMs",
				       "max-vms-per-user" };
	case USER_CLIENT:
		return (struct quota){ user->n[USER_CLIENT], limits->max_clients_per_user,
				       "connections to the control socket",
				       "max-clients-per-user" };
	default:
		return (struct quota){ user->n[USER_SESSION] + user->n[USER_NEW_SESSION] +
					       user->n[USER_AWAITED_SESSION],
				       limits->max_sessions_per_user, "sessions",
				       "max-sessions-per-user" };
	}
}

static bool may_come_back(const struct user *user, enum user_thing thing)
{
	return thing == USER_NEW_SESSION &&
	       user->n[USER_NEW_SESSION] < user->n[USER_AWAITED_SESSION];
}

bool users_allow(const struct daemon *daemon, uid_t uid, enum user_thing thing, char *text,
		 size_t size)
{
	const struct user *user = find(&daemon->users, uid);
	struct quota quota;

	/* every limit is 1 at least */
	if (!user || uid == 0 || uid == geteuid())
		return true;
	quota = quota_of(&daemon->limits, user, thing);
	if (quota.n < quota.max || may_come_back(user, thing))
		return true;
	snprintf(text, size, "user %u has %u %s, and may have %u (%s)", uid, quota.n, quota.things,
		 quota.max, quota.setting);
	return false;
}

void users_charge(struct users *users, uid_t uid, enum user_thing thing, struct user_charge *charge)
{
	struct user *user = find(users, uid);

	if (!user)
		user = make(users, uid);
	user->n[thing]++;
	users_release(users, charge);
	*charge = (struct user_charge){ user, thing };
}

static bool has_anything(const struct user *user)
{
	for (unsigned int i = 0; i < USER_N_THINGS; i++)
		if (user->n[i])
			return true;
	return false;
}

void users_release(struct users *users, struct user_charge *charge)
{
	struct user *user = charge->user;

	if (!user)
		return;
	charge->user = NULL;
	user->n[charge->thing]--;
	if (has_anything(user))
		return;
	tdelete(user, &users->tree, compare);
	free(user);
}
