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
 * lies in the thing that it is for, and is released with it.  There is a user here as long as it has
 * a charge.  A limit that is lowered takes nothing away from anyone.
 *
 * What a restart of the daemon leaves behind is charged without a question: it was allowed once.
 */
#ifndef KVMATTRD_USERS_H
#define KVMATTRD_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct daemon;
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
	USER_N_THINGS
};

/* All 0: none. */
struct user_charge {
	struct user *user;
	enum user_thing thing;
};

/* All 0: nobody has anything. */
struct users {
	void *tree; /* tsearch()'s, of struct user by UID */
};

/*
 * Whether the user may have one more of a thing.  If not, text says so, for the peer.
 *
 * Sessions that are awaited keep their places, and whoever comes back to one has to connect first:
 * so a user may have as many new sessions as there are awaited ones of it, whatever the limit.
 */
__attribute__((warn_unused_result)) bool users_allow(const struct daemon *daemon, uid_t uid,
						     enum user_thing thing, char *text,
						     size_t size);

/* The user has a thing, instead of what the charge was for until now. */
void users_charge(struct users *users, uid_t uid, enum user_thing thing,
		  struct user_charge *charge);
/* A charge of none is fine. */
void users_release(struct users *users, struct user_charge *charge);

#endif
