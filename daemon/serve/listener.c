/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "listener.h"

#include "authority.h"
#include "daemon/allocate.h"
#include "daemon/log.h"
#include "protocol/seqpacket.h"
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long the door stays shut when there are no file descriptors left for another peer. */
#define SHUT_MS 200

struct listener {
	struct daemon *daemon;
	int socket;
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

	log_write(LOG_LEVEL_WARNING,
		  "cannot take in a peer for %d ms: %s; raise LimitNOFILE if this "
		  "goes on",
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

static void accept_peer(evutil_socket_t socket, short events, void *argument)
{
	struct listener *listener = argument;
	struct daemon *daemon = listener->daemon;
	int peer = accept4(socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	char text[WIRE_TEXT_SIZE];

	(void)events;
	if (peer < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			shut(listener, errno);
		return; /* any other error is the peer's, who went away */
	}
	if (daemon->n_sessions >= daemon->limits.max_sessions)
		refuse(peer, "the daemon has as many sessions as it may (max-sessions)");
	else if (!users_allow(daemon, authority_identify(peer).uid, USER_NEW_SESSION, text,
			      sizeof(text)))
		refuse(peer, text);
	else
		session_new(daemon, peer, NULL, NULL);
}

struct listener *listener_new(struct daemon *daemon, int listening_socket)
{
	struct listener *listener = allocate_one(struct listener);

	listener->daemon = daemon;
	listener->socket = listening_socket;
	listener->readable = event_new(daemon->base, listening_socket, EV_READ | EV_PERSIST,
				       accept_peer, listener);
	listener->reopen = event_new(daemon->base, -1, 0, reopen, listener);
	event_add(listener->readable, NULL);
	return listener;
}

void listener_free(struct listener *listener)
{
	if (!listener)
		return;
	event_free(listener->readable);
	event_free(listener->reopen);
	close(listener->socket);
	free(listener);
}
