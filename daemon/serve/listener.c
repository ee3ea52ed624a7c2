/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "listener.h"

#include "authority.h"
#include "daemon/allocate.h"
#include "protocol/seqpacket.h"
#include "refusals.h"
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long the door stays shut when there are no file descriptors left for another peer. */
#define SHUT_MS 200

/* Peers that are taken in, or turned away, in one turn. */
#define PEERS_IN_A_ROW 16

struct listener {
	struct daemon *daemon;
	int socket;
	listener_take_in take_in;
	void *context;
	struct turn turn;
	struct event *readable;
	struct event *reopen;
};

static void refuse(int peer, const char *text)
{
	struct wire_notice notice = { .status = KVMATTR_LIMIT_EXCEEDED, .closing = 1 };
	struct iovec part = { &notice, sizeof(notice) };

	notice.header = wire_header_make(WIRE_ERROR, sizeof(notice), 0);
	snprintf(notice.text, sizeof(notice.text), "%s", text);
	(void)!seqpacket_send(peer, &part, 1, NULL, 0, MSG_DONTWAIT);
	close(peer);
}

static void shut(struct listener *listener, int error)
{
	const struct timeval pause = { 0, SHUT_MS * 1000 };

	refusals_log(listener->daemon->refusals, REFUSAL_OUT_OF_DESCRIPTORS, LOG_ABOUT_NOTHING,
		     "cannot take in a peer for %d ms: %s; raise LimitNOFILE if this goes on",
		     SHUT_MS, strerror(error));
	event_del(listener->readable);
	event_add(listener->reopen, &pause);
}

static void reopen(evutil_socket_t unused, short events, void *argument)
{
	struct listener *listener = argument;

	(void)unused;
	(void)events;
	event_add(listener->readable, NULL);
}

void listener_take_in_session(void *argument, struct authority_peer *peer)
{
	struct daemon *daemon = argument;
	char text[WIRE_TEXT_SIZE];

	if (users_allow(daemon, peer->pid, peer->uid, USER_NEW_SESSION, text, sizeof(text)))
		session_new(daemon, peer->socket, NULL, NULL);
	else
		refuse(peer->socket, text);
}

/*
 * Whose time the door takes is known when they are through it.  So it has a part of its own, as
 * large as a user's, and they have that much less of theirs.
 */
static void admit(struct listener *listener, int socket, uint64_t *since_us)
{
	struct authority_peer peer = authority_identify(socket);
	uint64_t now_us;

	listener->take_in(listener->context, &peer);
	now_us = clock_now_us(CLOCK_MONOTONIC);
	users_bill(&listener->daemon->users, peer.uid, now_us - *since_us);
	*since_us = now_us;
}

static void accept_peers(void *argument)
{
	struct listener *listener = argument;
	uint64_t since_us = clock_now_us(CLOCK_MONOTONIC);

	for (int i = 0; i < PEERS_IN_A_ROW; i++) {
		int peer = accept4(listener->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (peer >= 0) {
			admit(listener, peer, &since_us);
		} else {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM)
				shut(listener, errno);
			return; /* any other error is the peer's, who went away */
		}
	}
}

static void peers_are_there(evutil_socket_t socket, short events, void *argument)
{
	struct listener *listener = argument;

	(void)socket;
	(void)events;
	turn_ask(&listener->daemon->turns, &listener->turn);
}

struct listener *listener_new(struct daemon *daemon, int listening_socket, listener_take_in take_in,
			      void *context)
{
	struct listener *listener = allocate_one(struct listener);

	listener->daemon = daemon;
	listener->socket = listening_socket;
	listener->take_in = take_in;
	listener->context = context;
	turn_init(&daemon->turns, &listener->turn, NULL, accept_peers, listener);
	listener->readable = event_new(daemon->base, listening_socket, EV_READ | EV_PERSIST,
				       peers_are_there, listener);
	listener->reopen = event_new(daemon->base, -1, 0, reopen, listener);
	event_add(listener->readable, NULL);
	return listener;
}

void listener_free(struct listener *listener)
{
	if (!listener)
		return;
	turn_end(&listener->daemon->turns, &listener->turn);
	event_free(listener->readable);
	event_free(listener->reopen);
	close(listener->socket);
	free(listener);
}
