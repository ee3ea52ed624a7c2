/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's memory: how much of it all that peers bring about may take, of all users together
 * (max-memory-mib) and of each (max-memory-mib-per-user).
 *
 * Whatever has a size that peers decide is charged to its user by whoever holds it (users.h): a VM,
 * with its maps and its batch (daemon/vm-memory.c); a session, with its messages under way and the
 * answers that are kept; what is imported; a long request of the control socket; what is looked up
 * of the past.  Whatever is to grow asks here first.
 *
 * An eighth of each limit is for sessions that have a connection, and for nothing else, so that a
 * peer is heard however much its user's VMs hold: how else could it give something back?  Where
 * that eighth is taken, sessions are not read until some of it is free.
 *
 * Nothing is charged for what has a bound of its own: a session without messages (some kilobytes,
 * max-sessions), a client of the control socket and what it has not read (a megabyte, of 64),
 * events that are kept (a megabyte or two), one checkpoint at a time that is made from files and
 * one that is made of memory (each twice what the maps of its VM take).  What a batch needs besides
 * the maps is charged when it is there.  What a restart leaves behind is charged without a
 * question, and a limit that is lowered takes nothing away.
 *
 * Root and the daemon's own user are held to the total only.
 */
#ifndef KVMATTRD_MEMORY_H
#define KVMATTRD_MEMORY_H

#include "session.h"

struct memory;

struct memory *memory_new(struct daemon *daemon);
/* When there are no sessions any more.  NULL is fine. */
void memory_free(struct memory *memory);

/* What things of one kind take; USER_SESSION: all sessions. */
uint64_t memory_held_by(const struct daemon *daemon, enum user_thing thing);
/* What all things take. */
uint64_t memory_held(const struct daemon *daemon);

/* ---- All but sessions ------------------------------------------------------------------------ */

/* How many more bytes a user may have. */
uint64_t memory_room(const struct daemon *daemon, uid_t uid);
/*
 * Whether it may have so many more.  If not, text says so, for the peer, and *ret_setting, unless
 * it is NULL, which limit that is.
 */
__attribute__((warn_unused_result)) bool memory_allow(const struct daemon *daemon, uid_t uid,
						      uint64_t n_bytes, char *text, size_t size,
						      const char **ret_setting);

/* ---- Sessions -------------------------------------------------------------------------------- */

/* The session's messages under way, its answers and what it has not sent are what they are now. */
void memory_charge_session(struct session *session);
/* Is there memory for another message of its? */
bool memory_lets_read(const struct session *session);
/* For answers that may be kept? */
bool memory_lets_keep(const struct session *session);
/* Of its VM: may it have more messages under way? */
bool memory_lets_read_vm(const struct hosted_vm *hosted);
/* The session is not read, or it is: where memory is the reason, it is looked at again in time. */
void memory_await(struct session *session, bool is_read);
/* The limits are others: who waits is looked at again. */
void memory_look_again(struct memory *memory);

/*
 * Something large was freed: when nothing is for some seconds, the system has it back.  NULL: the
 * daemon ends, and so it has.
 */
void memory_give_back_soon(struct memory *memory);

#endif
