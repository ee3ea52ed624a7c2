/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may do what: register a VM, observe, operate.
 *
 * For each of these rights a setting lists who has it, by user, by group, or by the systemd unit
 * that the peer runs in.  Root and the user that the daemon runs as have all of them, whatever is
 * listed, so that no setting locks out whoever could mend it; and who operates observes, too.
 *
 * Who a peer is the kernel noted when it connected, and that is what counts, whoever holds the
 * connection by now.  Nothing of it is kept here but the verdict, which holds until other settings
 * are there: so a peer costs the same, however many groups it has and however often it asks.
 *
 * Sockets that were opened for agents, and sessions that are resumed with their token, are no
 * matter of this room: whoever holds the descriptor, or knows the token, has the right.
 */
#ifndef KVMATTRD_AUTHORITY_H
#define KVMATTRD_AUTHORITY_H

#include "daemon/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct authority;
struct refusals;

enum authority_right {
	AUTHORITY_REGISTER,
	AUTHORITY_OBSERVE,
	AUTHORITY_OPERATE,
	AUTHORITY_N_RIGHTS
};

/* ---- Settings -------------------------------------------------------------------------------- */

/* Who has a right, as a setting lists them.  NULL: nobody. */
struct authority_list;

/* What a list is made of, for people. */
#define AUTHORITY_WORDS "all, user:NAME, uid:N, group:NAME, gid:N and unit:NAME"

/*
 * Adds the words of a text to *list.  Names are looked up now, which may wait for other programs.
 * Returns false when a word is not valid: then wrong says which and why, and *list is as it was.
 */
__attribute__((warn_unused_result)) bool authority_list_add(struct authority_list **list,
							    const char *text, char *wrong,
							    size_t size);
struct authority_list *authority_list_all(void);
struct authority_list *authority_list_copy(const struct authority_list *list);
void authority_list_free(struct authority_list *list);

/* ---- Peers ----------------------------------------------------------------------------------- */

/* Who is at the other end of a socket. */
struct authority_peer {
	int socket; /* connected; not this room's */
	pid_t pid;  /* 0: not known, or in a PID namespace that we do not see */
	uid_t uid;  /* -1: not known */
	gid_t gid;
	/* What came of it, by these settings. */
	uint64_t verdict_of;
	unsigned int rights; /* bit i for enum authority_right i */
	int unit_error; /* why its unit is not known, where that was asked for: an errno, or 0 */
};

struct authority_peer authority_identify(int socket);
/* For the log: this peer, and the method or message that it asked for. */
struct log_about authority_about(const struct authority_peer *peer, const char *what);
/*
 * A descriptor of the process that connected, or a negative errno: -ESRCH if it has ended,
 * -ENOPROTOOPT before Linux 6.5.
 * Unlike its PID it cannot come to mean another process.
 */
__attribute__((warn_unused_result)) int authority_open_pidfd(int socket);

bool authority_allows(const struct authority *authority, enum authority_right right,
		      struct authority_peer *peer);

/* ---- The daemon's ---------------------------------------------------------------------------- */

/* Nobody but root and the daemon's own user has any right, until authority_set(). */
struct authority *authority_new(struct refusals *refusals);
void authority_free(struct authority *authority);
/*
 * Who has a right from now on.  The list is the caller's, and stays as it is until the next call.
 */
void authority_set(struct authority *authority, enum authority_right right,
		   const struct authority_list *list);

/*
 * Logs that the peer was denied what it asked for, a method or message (refusals.h), and writes why
 * into text, for the peer.
 */
void authority_deny(struct authority *authority, enum authority_right right,
		    const struct authority_peer *peer, const char *what, char *text, size_t size);

#endif
