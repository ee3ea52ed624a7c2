/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A door: takes in the peers that connect to a listening socket, some at a time, so that a crowd in
 * front of it keeps nobody inside from anything.
 */
#ifndef KVMATTRD_LISTENER_H
#define KVMATTRD_LISTENER_H

#include "authority.h"
#include "daemon.h"

struct listener;

/* A connection, not blocking; its socket is the callee's from then on. */
typedef void (*listener_take_in)(void *context, struct authority_peer *peer);

/* The listening socket is the listener's from then on. */
struct listener *listener_new(struct daemon *daemon, int listening_socket, listener_take_in take_in,
			      void *context);
/* NULL is fine. */
void listener_free(struct listener *listener);

/* The agent socket's door: a struct daemon takes a peer in as a session, up to its limits. */
void listener_take_in_session(void *daemon, struct authority_peer *peer);

#endif
