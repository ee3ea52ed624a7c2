/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "users.h"

#include "daemon.h"
#include "daemon/allocate.h"
#include "refusals.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct user {
	uid_t uid;
	unsigned int n[USER_N_THINGS];
	uint64_t n_bytes[USER_N_THINGS];
	struct turn share;     /* of the loop's time: its VMs, and these two */
	struct turn clients;   /* of the control socket */
	struct turn newcomers; /* sessions that have no VM */
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
	turn_init(users->turns, &user->share, NULL, NULL, NULL);
	turn_init(users->turns, &user->clients, &user->share, NULL, NULL);
	turn_init(users->turns, &user->newcomers, &user->share, NULL, NULL);
	return user;
}

static void unmake(struct users *users, struct user *user)
{
	turn_end(users->turns, &user->newcomers);
	turn_end(users->turns, &user->clients);
	turn_end(users->turns, &user->share);
	tdelete(user, &users->tree, compare);
	free(user);
}

/* What a peer does to have one. */
static const char *const ways_to[USER_N_THINGS] = {
	[USER_VM] = "REGISTER",
	[USER_SESSION] = "OPEN_AGENT",
	[USER_NEW_SESSION] = "the agent socket",
	[USER_AWAITED_SESSION] = "the agent socket",
	[USER_CLIENT] = "the control socket",
};

/* How many of that kind there are, and may be; and its words. */
struct quota {
	unsigned int n;
	unsigned int max;
	const char *things;
	const char *setting;
};

/* Of all users together. */
static struct quota total_of(const struct daemon *daemon, enum user_thing thing)
{
	switch (thing) {
	case USER_VM:
		return (struct quota){ daemon->n_vms + daemon->n_released_vms,
				       daemon->limits.max_vms, "VMs", "max-vms" };
	case USER_CLIENT:
		return (struct quota){ 0, 1, NULL, NULL }; /* the control socket's matter */
	default:
		return (struct quota){ daemon->n_sessions, daemon->limits.max_sessions, "sessions",
				       "max-sessions" };
	}
}

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

void users_log_limit(const struct daemon *daemon, pid_t pid, uid_t uid, const char *what,
		     const char *setting, const char *text)
{
	const struct log_about about = {
		.has_peer = true,
		.pid = pid,
		.uid = uid,
		.method = what,
		.status = kvmattr_status_name(KVMATTR_LIMIT_EXCEEDED),
		.setting = setting,
	};

	refusals_log(daemon->refusals, REFUSAL_LIMIT_REACHED, about,
		     "refused: %s, to PID %d, UID %u: %s", what, (int)pid, uid, text);
}

bool users_allow(const struct daemon *daemon, pid_t pid, uid_t uid, enum user_thing thing,
		 char *text, size_t size)
{
	const struct user *user = find(&daemon->users, uid);
	struct quota quota = total_of(daemon, thing);

	if (quota.n >= quota.max) {
		snprintf(text, size, "the daemon has %u %s, as many as it may (%s)", quota.n,
			 quota.things, quota.setting);
		users_log_limit(daemon, pid, uid, ways_to[thing], quota.setting, text);
		return false;
	}
	/* every limit is 1 at least */
	if (!user || uid == 0 || uid == geteuid())
		return true;
	quota = quota_of(&daemon->limits, user, thing);
	if (quota.n < quota.max || may_come_back(user, thing))
		return true;
	snprintf(text, size, "user %u has %u %s, and may have %u (%s)", uid, quota.n, quota.things,
		 quota.max, quota.setting);
	users_log_limit(daemon, pid, uid, ways_to[thing], quota.setting, text);
	return false;
}

void users_charge(struct users *users, uid_t uid, enum user_thing thing, struct user_charge *charge)
{
	struct user *user = find(users, uid);
	const uint64_t n_bytes = charge->n_bytes;

	if (!user)
		user = make(users, uid);
	user->n[thing]++;
	users_release(users, charge);
	*charge = (struct user_charge){ .user = user, .thing = thing };
	users_hold(users, charge, n_bytes);
}

void users_hold(struct users *users, struct user_charge *charge, uint64_t n_bytes)
{
	struct user *user = charge->user;

	if (!user)
		return;
	user->n_bytes[charge->thing] += n_bytes - charge->n_bytes;
	users->n_bytes[charge->thing] += n_bytes - charge->n_bytes;
	charge->n_bytes = n_bytes;
}

const uint64_t *users_held(const struct users *users, uid_t uid)
{
	static const uint64_t nothing[USER_N_THINGS];
	const struct user *user = find(users, uid);

	return user ? user->n_bytes : nothing;
}

uid_t users_uid(const struct user_charge *charge)
{
	return charge->user->uid;
}

struct turn *users_share(const struct user_charge *charge)
{
	switch (charge->thing) {
	case USER_VM:
		return &charge->user->share;
	case USER_CLIENT:
		return &charge->user->clients;
	default:
		return &charge->user->newcomers;
	}
}

void users_bill(const struct users *users, uid_t uid, uint64_t used_us)
{
	struct user *user = find(users, uid);

	if (user)
		turn_bill(&user->newcomers, used_us);
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
	users_hold(users, charge, 0);
	charge->user = NULL;
	user->n[charge->thing]--;
	if (!has_anything(user))
		unmake(users, user);
}
