/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The users, and what each has of the things that all share: VMs, sessions on the agent socket,
 * clients of the control socket.
 *
 * The daemon's totals keep it within bounds; the limits by user keep one user from taking all of
 * them, so that there is something left for the others.  A user is a UID, as the kernel noted it
 * when the peer connected.  Root and the user that the daemon runs as are counted, too, but these
 * limits are not theirs: others' programs never take an operator's share.  The totals hold for all.
 *
 * Whoever lets a peer have something asks users_allow() first, and charges the user then.  A charge
 * lies in the thing that it is for, and is released with it.  There is a user here as long as it
 * has a charge.  A limit that is lowered takes nothing away from anyone.
 *
 * What a restart of the daemon leaves behind is charged without a question: it was allowed once.
 */
#ifndef KVMATTRD_USERS_H
#define KVMATTRD_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct daemon;
struct turn;
struct turns;
struct user;

enum user_thing {
	USER_VM,
	/* These three are sessions, under one limit.  With a VM, its owner's or an agent's: */
	USER_SESSION,
	/* a connection that has no VM so far; */
	USER_NEW_SESSION,
	/* one of before a restart, whose peer has not come back yet. */
	USER_AWAITED_SESSION,
	USER_CLIENT,
	/* These two are counted by their memory alone: a policy that is being imported; */
	USER_IMPORT,
	/* what is looked up of the past, for whoever asks: the daemon's own user's. */
	USER_PAST,
	USER_N_THINGS
};

/* All 0: none. */
struct user_charge {
	struct user *user;
	enum user_thing thing;
	uint64_t n_bytes; /* of memory that the thing takes */
};

/* All 0: nobody has anything. */
struct users {
	void *tree; /* tsearch()'s, of struct user by UID */
	struct turns *turns;
	uint64_t n_bytes[USER_N_THINGS]; /* of memory, that all of them take */
};

/*
 * Whether the user, here with this process, may have one more of a thing.  If not, that is logged,
 * and text says why, for the peer.
 *
 * Sessions that are awaited keep their places, and whoever comes back to one has to connect first:
 * so a user may have as many new sessions as there are awaited ones of it, whatever the limit.
 */
__attribute__((warn_unused_result)) bool users_allow(const struct daemon *daemon, pid_t pid,
						     uid_t uid, enum user_thing thing, char *text,
						     size_t size);

/*
 * Logs that a process was refused what it asked for, a method or message, for this setting
 * (refusals.h); text: why.
 */
void users_log_limit(const struct daemon *daemon, pid_t pid, uid_t uid, const char *what,
		     const char *setting, const char *text);

/* The user has a thing, instead of what the charge was for until now. */
void users_charge(struct users *users, uid_t uid, enum user_thing thing,
		  struct user_charge *charge);
/* Whose time of the event loop the thing takes; as long as it is charged for. */
struct turn *users_share(const struct user_charge *charge);
/*
 * The thing takes so many bytes of memory from now on.  Whether it may is asked elsewhere
 * (memory.h). A charge of none is fine.
 */
void users_hold(struct users *users, struct user_charge *charge, uint64_t n_bytes);
/* How many bytes things of each kind take, of one user; until it has more or less. */
const uint64_t *users_held(const struct users *users, uid_t uid);
uid_t users_uid(const struct user_charge *charge);
/* The user, if it has anything, has used some of that time by coming in or being turned away. */
void users_bill(const struct users *users, uid_t uid, uint64_t used_us);
/* A charge of none is fine. */
void users_release(struct users *users, struct user_charge *charge);

#endif
