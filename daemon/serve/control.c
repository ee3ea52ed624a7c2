/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "control.h"

#include "events.h"
#include "import.h"
#include "jsonrpc.h"
#include "listener.h"
#include "memory.h"
#include "methods.h"
#include "question.h"

#include "daemon/allocate.h"
#include "daemon/log.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long calls of one client are made in a turn. */
#define TURN_US 250u
/* Bytes of a client that are read ahead of the request that is being answered. */
#define READ_AHEAD (64u * 1024)
/* Bytes of memory that a request may take and is not charged for. */
#define SHORT_REQUEST (128u * 1024)
/* Of an error's line that answers no call. */
#define ERROR_SIZE 512

struct client {
	TAILQ_ENTRY(client) list;
	struct control *control;
	struct bufferevent *connection;
	struct evbuffer *unsent; /* made in this turn */
	struct jsonrpc *rpc;
	struct method_peer peer;
	struct user_charge charge;
	struct turn turn;              /* asked for where there may be something to do */
	struct event *missed_too_long; /* pending while it has missed events and was not told */
	bool is_paused;                /* it is not read: what was read ahead comes first */
	bool is_ended; /* the peer has shut down its side; what it asked is still answered */
};

TAILQ_HEAD(client_list, client);

struct control {
	struct daemon *daemon;
	struct listener *listener;
	struct client_list clients;
	struct questions *questions;
	struct control_statistics statistics;
};

static bool client_dispatch(void *context, const char *method, struct json_object *params,
			    struct jsonrpc_answer *answer)
{
	struct client *client = context;
	struct control *control = client->control;

	control->statistics.calls++;
	return methods_dispatch(control->daemon, control, &client->peer, method, params, answer);
}

static void client_write(void *context, const char *bytes, size_t n)
{
	struct client *client = context;
	struct evbuffer *output = bufferevent_get_output(client->connection);

	/* behind what waits already, which is together in larger pieces */
	if (evbuffer_add(evbuffer_get_length(output) ? output : client->unsent, bytes, n) < 0) {
		fputs("kvmattrd: out of memory for an answer on the control socket; "
		      "give the service more memory and start it again\n",
		      stderr);
		abort();
	}
}

/* What short requests take is no matter: there are so few clients. */
static bool client_may_hold(void *context, size_t n_bytes)
{
	struct client *client = context;
	struct daemon *daemon = client->control->daemon;
	char text[256];

	if (n_bytes <= SHORT_REQUEST)
		return true;
	if (!memory_allow(daemon, client->peer.who.uid, n_bytes, text, sizeof(text), NULL))
		return false;
	users_hold(&daemon->users, &client->charge, n_bytes);
	return true;
}

static const struct jsonrpc_ops client_ops = {
	.dispatch = client_dispatch,
	.write = client_write,
	.may_hold = client_may_hold,
};

static void client_free(struct client *client)
{
	struct control *control = client->control;

	/* first: what is cancelled below may be an event */
	subscription_free(client->peer.subscription);
	TAILQ_REMOVE(&control->clients, client, list);
	control->statistics.clients--;
	turn_end(&control->daemon->turns, &client->turn);
	users_release(&control->daemon->users, &client->charge);
	if (client->peer.is_waiting)
		client->peer.cancel(client->peer.context);
	import_free(client->peer.import);
	event_free(client->missed_too_long);
	evbuffer_free(client->unsent);
	bufferevent_free(client->connection);
	jsonrpc_free(client->rpc);
	free(client);
}

static struct client *client_of(void *peer)
{
	return (struct client *)((char *)peer - offsetof(struct client, peer));
}

/* The answer to a call that was made some time ago. */
static void client_finish(struct method_peer *peer, struct jsonrpc_answer *answer)
{
	struct client *client = client_of(peer);

	jsonrpc_finish(client->rpc, answer);
	turn_ask_later(&client->turn);
}

static size_t client_unread(const struct client *client)
{
	return evbuffer_get_length(client->unsent) +
	       evbuffer_get_length(bufferevent_get_output(client->connection));
}

static bool client_is_full(const struct client *client)
{
	return client_unread(client) >= CONTROL_MAX_UNREAD;
}

/*
 * At the end of a turn: what the socket takes at once goes without waiting for it to be writable,
 * which costs more than the answer itself.  A connection that is broken is the bufferevent's to
 * find out.
 */
static void client_send(struct client *client)
{
	if (!evbuffer_get_length(client->unsent))
		return;
	if (!evbuffer_get_length(bufferevent_get_output(client->connection)))
		evbuffer_write(client->unsent, bufferevent_getfd(client->connection));
	if (evbuffer_get_length(client->unsent))
		bufferevent_write_buffer(client->connection, client->unsent);
}

static const struct timeval missed_grace = { CONTROL_MISSED_GRACE_MS / 1000,
					     CONTROL_MISSED_GRACE_MS % 1000 * 1000 };

/* There are events for it, or it misses some. */
static void client_wake(void *peer)
{
	struct client *client = client_of(peer);
	const struct subscription *subscription = client->peer.subscription;

	if (subscription && subscription_has_missed(subscription))
		evtimer_add(client->missed_too_long, &missed_grace);
	turn_ask_later(&client->turn);
}

static void on_missed_too_long(evutil_socket_t unused, short events, void *context)
{
	struct client *client = context;

	(void)unused;
	(void)events;
	if (!client->peer.subscription || !subscription_has_missed(client->peer.subscription))
		return;
	if (!client_unread(client)) {
		/* it reads; what it waits for is the rest of a batch's answers */
		evtimer_add(client->missed_too_long, &missed_grace);
		return;
	}
	log_with_id(
		LOG_ID_SUBSCRIBER_DROPPED, authority_about(&client->peer.who, "event.subscribe"),
		"a client of the control socket (PID %d) that subscribed to events has not read "
		"them; it is disconnected",
		client->peer.who.pid);
	client->control->statistics.clients_too_slow++;
	client_free(client);
}

/* An error that answers no call.  text needs no escapes in JSON. */
static int print_error(char *line, size_t size, enum kvmattr_status status, const char *text)
{
	return snprintf(line, size,
			"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":%d,\"message\":\"%s\","
			"\"data\":{\"status\":\"%s\"}},\"id\":null}\n",
			JSONRPC_SERVER_ERROR - (int)status, text, kvmattr_status_name(status));
}

static void client_end_subscription(struct client *client)
{
	subscription_free(client->peer.subscription);
	client->peer.subscription = NULL;
	evtimer_del(client->missed_too_long);
}

/* By other settings than those under which it subscribed. */
static bool client_may_be_told(struct client *client)
{
	struct authority *authority = client->control->daemon->authority;
	char line[ERROR_SIZE], text[256];

	if (authority_allows(authority, AUTHORITY_OBSERVE, &client->peer.who))
		return true;
	authority_deny(authority, AUTHORITY_OBSERVE, &client->peer.who, "event.subscribe", text,
		       sizeof(text));
	client_write(client, line,
		     (size_t)print_error(line, sizeof(line), KVMATTR_ACCESS_DENIED, text));
	return false;
}

/* One event, if it may go now.  Returns whether something was said. */
static bool client_tell(struct client *client)
{
	struct subscription *subscription = client->peer.subscription;
	const char *line;
	size_t size;

	if (!subscription || jsonrpc_is_within_line(client->rpc))
		return false;
	line = subscription_next(subscription, &size);
	if (!line)
		return false;
	if (!client_may_be_told(client)) {
		client_end_subscription(client);
		return true;
	}
	client_write(client, line, size);
	if (subscription_is_over(subscription))
		client_end_subscription(client);
	return true;
}

/*
 * One event; and one call, or the bytes up to the next one.  Returns false when there is nothing to
 * do for now.
 */
static bool client_step(struct client *client)
{
	struct evbuffer *input = bufferevent_get_input(client->connection);
	size_t n = evbuffer_get_contiguous_space(input);
	bool was_told;

	if (client_is_full(client))
		return false;
	was_told = client_tell(client);
	if (jsonrpc_is_waiting(client->rpc))
		return was_told;
	if (jsonrpc_has_work(client->rpc)) {
		jsonrpc_work(client->rpc);
		return true;
	}
	if (!n)
		return was_told;
	n = jsonrpc_feed(client->rpc, (const char *)evbuffer_pullup(input, (ev_ssize_t)n), n);
	evbuffer_drain(input, n);
	return true;
}

static bool client_has_hung_up(const struct client *client)
{
	struct pollfd fd = { .fd = bufferevent_getfd(client->connection) };

	return poll(&fd, 1, 0) > 0 && fd.revents & (POLLHUP | POLLERR);
}

/* Nothing is to be done: wait for more, for the peer to read, or it is over. */
static void client_rest(struct client *client)
{
	if (client_is_full(client) || !client->is_ended)
		return;
	if (jsonrpc_is_waiting(client->rpc)) {
		/* who has shut down one side waits for its answer; who has closed does not */
		if (client_has_hung_up(client))
			client_free(client);
		return;
	}
	/* a number without a newline behind it is a request, too */
	jsonrpc_end(client->rpc);
	client_send(client);
	if (jsonrpc_has_work(client->rpc))
		turn_ask_later(&client->turn);
	else if (!client_unread(client))
		client_free(client);
}

/*
 * As much is read ahead as may be: above the watermark, libevent would call on_read() again and
 * again until something is taken, which may be when the peer has read its answers.
 */
static void client_read_or_pause(struct client *client)
{
	bool is_full = evbuffer_get_length(bufferevent_get_input(client->connection)) >= READ_AHEAD;

	if (is_full != client->is_paused)
		(is_full ? bufferevent_disable : bufferevent_enable)(client->connection, EV_READ);
	client->is_paused = is_full;
}

/*
 * Some steps of one client.  Where they leave it with nothing to do, it asks for no other turn
 * until something comes.
 */
static void client_take_turn(void *context)
{
	struct client *client = context;
	uint64_t end_us = clock_now_us(CLOCK_MONOTONIC) + TURN_US;
	bool has_more, was_full;

	do
		has_more = client_step(client);
	while (has_more && clock_now_us(CLOCK_MONOTONIC) < end_us);
	if (!jsonrpc_has_work(client->rpc) && !jsonrpc_is_waiting(client->rpc))
		users_hold(&client->control->daemon->users, &client->charge, 0);
	client_read_or_pause(client);
	was_full = client_is_full(client);
	client_send(client);
	if (has_more || (was_full && !client_is_full(client)))
		turn_ask_later(&client->turn);
	else
		client_rest(client);
}

static void on_read(struct bufferevent *connection, void *context)
{
	struct client *client = context;

	(void)connection;
	client_read_or_pause(client);
	turn_ask(&client->control->daemon->turns, &client->turn);
}

/* The peer has read so much that little is left. */
static void on_write(struct bufferevent *connection, void *context)
{
	struct client *client = context;

	(void)connection;
	turn_ask_later(&client->turn);
}

static void on_event(struct bufferevent *connection, short events, void *context)
{
	struct client *client = context;

	(void)connection;
	if (events & BEV_EVENT_ERROR) {
		client_free(client);
	} else if (events & BEV_EVENT_EOF) {
		client->is_ended = true;
		/* or what is told would have no end, either */
		subscription_free(client->peer.subscription);
		client->peer.subscription = NULL;
		turn_ask_later(&client->turn);
	}
}

/* Says why, as far as the socket takes it at once. */
static void refuse_client(struct control *control, evutil_socket_t socket,
			  enum kvmattr_status status, const char *text)
{
	char line[ERROR_SIZE];
	int n = print_error(line, sizeof(line), status, text);

	control->statistics.clients_refused++;
	if (send(socket, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EAGAIN)
		errno = 0; /* it is closed either way */
	close(socket);
}

static bool is_room(const struct control *control, const struct authority_peer *peer, char *text,
		    size_t size)
{
	if (control->statistics.clients < CONTROL_MAX_CLIENTS)
		return users_allow(control->daemon, peer->pid, peer->uid, USER_CLIENT, text, size);
	snprintf(text, size,
		 "there are %u connections already, as many as there may be; close one and try "
		 "again",
		 CONTROL_MAX_CLIENTS);
	users_log_limit(control->daemon, peer->pid, peer->uid, "the control socket", NULL, text);
	return false;
}

/* Who may do nothing here takes no place from others. */
static bool is_admitted(struct control *control, struct authority_peer *peer)
{
	struct authority *authority = control->daemon->authority;
	char text[256];

	if (!authority_allows(authority, AUTHORITY_OBSERVE, peer)) {
		authority_deny(authority, AUTHORITY_OBSERVE, peer, "the control socket", text,
			       sizeof(text));
		refuse_client(control, peer->socket, KVMATTR_ACCESS_DENIED, text);
		return false;
	}
	if (is_room(control, peer, text, sizeof(text)))
		return true;
	refuse_client(control, peer->socket, KVMATTR_LIMIT_EXCEEDED, text);
	return false;
}

static void take_in(void *context, struct authority_peer *peer)
{
	struct control *control = context;
	struct client *client;

	if (!is_admitted(control, peer))
		return;
	client = allocate_one(struct client);
	client->control = control;
	client->unsent = evbuffer_new();
	if (client->unsent)
		client->connection = bufferevent_socket_new(control->daemon->base, peer->socket,
							    BEV_OPT_CLOSE_ON_FREE);
	if (!client->connection) {
		if (client->unsent)
			evbuffer_free(client->unsent);
		free(client);
		refuse_client(control, peer->socket, KVMATTR_LIMIT_EXCEEDED,
			      "there is no memory left");
		return;
	}
	client->rpc = jsonrpc_new(&client_ops, client);
	client->missed_too_long = evtimer_new(control->daemon->base, on_missed_too_long, client);
	client->peer = (struct method_peer){
		.who = *peer,
		.questions = control->questions,
		.finish = client_finish,
		.wake = client_wake,
	};
	TAILQ_INSERT_TAIL(&control->clients, client, list);
	control->statistics.clients++;
	users_charge(&control->daemon->users, peer->uid, USER_CLIENT, &client->charge);
	turn_init(&control->daemon->turns, &client->turn, users_share(&client->charge),
		  client_take_turn, client);
	turn_be_patient(&client->turn);
	control->statistics.clients_accepted++;
	bufferevent_setcb(client->connection, on_read, on_write, on_event, client);
	bufferevent_setwatermark(client->connection, EV_READ, 0, READ_AHEAD);
	bufferevent_setwatermark(client->connection, EV_WRITE, CONTROL_MAX_UNREAD / 2, 0);
	bufferevent_enable(client->connection, EV_READ | EV_WRITE);
}

int control_new(struct daemon *daemon, int listening_socket, struct control **ret)
{
	struct control *control = allocate_one(struct control);

	control->daemon = daemon;
	TAILQ_INIT(&control->clients);
	control->questions = questions_new(daemon);
	if (!control->questions) {
		close(listening_socket);
		control_free(control);
		return -ENOMEM;
	}
	control->listener = listener_new(daemon, listening_socket, take_in, control);
	*ret = control;
	return 0;
}

void control_free(struct control *control)
{
	struct client *client;

	if (!control)
		return;
	listener_free(control->listener);
	while ((client = TAILQ_FIRST(&control->clients)))
		client_free(client);
	questions_free(control->questions);
	free(control);
}

const struct control_statistics *control_statistics(const struct control *control)
{
	return &control->statistics;
}
