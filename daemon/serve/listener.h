/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent socket's door: takes in peers as sessions, up to a limit.
 */
#ifndef KVMATTRD_LISTENER_H
#define KVMATTRD_LISTENER_H

#include "daemon.h"

struct listener;

/* Serves a listening SOCK_SEQPACKET socket, which is the listener's from then on. */
struct listener *listener_new(struct daemon *daemon, int listening_socket);
void listener_free(struct listener *listener);

#endif
