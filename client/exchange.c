/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What goes to the daemon and what comes from it.
 *
 * Everything that comes comes through connection_take(), and is checked before it is believed: a
 * daemon that breaks the protocol ends the connection, never the VMM.  What goes is what is due at
 * that moment, whatever has become of the daemon since: messages of updates that it was not handed
 * yet, then the request that is waited for.
 */
#include "client/connection.h"

#include "protocol/seqpacket.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define REQUEST_ID_BIT (UINT64_C(1) << 63)

uint64_t connection_next_id(struct kvmattr *c)
{
	return REQUEST_ID_BIT | ++c->last_request;
}

/* ---- What comes ---------------------------------------------------------------------------- */

static int take_notice(struct kvmattr *c, const struct wire_header *header)
{
	struct wire_notice notice;
	const char *wrong = wire_get_notice(c->received, header->size, &notice);
	const char *text;

	if (wrong)
		return connection_break_protocol(c, header->type, wrong);
	text = *notice.text ? notice.text : kvmattr_status_text((int)notice.status);

	if (header->type == WIRE_BYE || notice.closing) {
		if (resume_is_put_off(c, &notice))
			return 0;
		c->notice_status = (int)notice.status;
		return connection_break(c, -EPIPE,
					notice.status ? (enum kvmattr_status)notice.status
						      : KVMATTR_NO_VM,
					"%s", text);
	}
	if (!notice.status)
		return connection_break_protocol(c, header->type, "status");
	if (c->link.state != LINK_UP)
		return resume_take_refusal(c, &notice, text);
	if (c->request.state != REQUEST_AWAITED || header->id != c->request.id)
		return connection_break_protocol(c, header->type, "header.id");
	connection_say(c, "%s", text);
	c->request.status = (int)notice.status;
	c->request.state = REQUEST_REFUSED;
	return 0;
}

static int take_reply(struct kvmattr *c, const struct wire_header *header,
		      struct seqpacket_fds *fds)
{
	if (c->request.state != REQUEST_AWAITED || header->type != c->request.reply_type)
		return connection_break_protocol(c, header->type, "header.type");
	/* To the first of several hellos, which a daemon that restarted found in its socket. */
	if (header->type == WIRE_WELCOME && c->link.n_restarts && header->id < c->request.id &&
	    header->id >= REQUEST_ID_BIT)
		return 0;
	if (header->id != c->request.id)
		return connection_break_protocol(c, header->type, "header.id");
	if (fds->n != c->request.n_reply_fds)
		return connection_break_protocol(c, header->type, "the number of descriptors");
	if (fds->n)
		c->request.reply_fd = seqpacket_fds_take(fds, 0);
	c->request.reply_size = header->size;
	c->request.state = REQUEST_ANSWERED;
	return 0;
}

static int take_message(struct kvmattr *c, const struct wire_header *header,
			struct seqpacket_fds *fds)
{
	bool is_up = c->link.state == LINK_UP;

	switch (header->type) {
	case WIRE_WELCOME:
	case WIRE_REGISTERED:
	case WIRE_RUNS:
	case WIRE_EXPLAINED:
	case WIRE_AGENT_OPENED:
		if (is_up)
			return take_reply(c, header, fds);
		break;
	default:
		break;
	}
	if (fds->n)
		return connection_break_protocol(c, header->type, "the number of descriptors");
	switch (header->type) {
	case WIRE_ERROR:
	case WIRE_BYE:
		return take_notice(c, header);
	case WIRE_RESTARTED:
		return resume_after_restart(c, header);
	case WIRE_ANSWER:
		if (is_up && c->is_driven)
			return 0; /* see look_ahead() */
		if (is_up)
			return updates_take_answer(c, header->size);
		break;
	default:
		break;
	}
	return is_up ? connection_break_protocol(c, header->type, "header.type")
		     : resume_take(c, header);
}

int connection_take(struct kvmattr *c, int flags)
{
	__attribute__((cleanup(seqpacket_fds_close))) struct seqpacket_fds fds;
	struct wire_header header;
	const char *wrong;
	ssize_t n;

	fds.n = 0;
	if (c->broken)
		return c->broken;
	if (c->link.state != LINK_UP)
		flags = MSG_DONTWAIT;
	n = c->socket < 0
		    ? -EAGAIN
		    : seqpacket_receive(c->socket, c->received, sizeof(c->received), &fds, flags);
	if (n == -EAGAIN)
		return c->link.state == LINK_UP ? -EAGAIN : resume_wait(c);
	if (n == 0)
		return resume_after_loss(c);
	if (n == -EMSGSIZE || n == -EBADMSG)
		return connection_break_protocol(c, 0, "the size");
	if (n < 0)
		return connection_break(c, (int)n, KVMATTR_NO_VM,
					"cannot receive from kvmattrd: %s", strerror((int)-n));
	wrong = wire_get_header(c->received, (size_t)n, &header);
	if (wrong)
		return connection_break_protocol(c, 0, wrong);
	return take_message(c, &header, &fds);
}

/* ---- What goes ----------------------------------------------------------------------------- */

/* The socket took no message: -EAGAIN, or it has ended. */
static int take_refusal_to_send(struct kvmattr *c, int r)
{
	if (r == -EAGAIN)
		return -EAGAIN;
	if (r != -EPIPE && r != -ECONNRESET)
		return connection_break(c, r, KVMATTR_NO_VM, "cannot send to kvmattrd: %s",
					strerror(-r));
	/* It has closed: what it said before is still there to be read, and then the end. */
	do
		r = connection_take(c, MSG_DONTWAIT);
	while (!r && c->link.state == LINK_UP);
	if (r == -EAGAIN && c->link.state == LINK_UP)
		r = resume_after_loss(c); /* it only does not read any more */
	return r ? r : -EAGAIN;
}

static int push_updates(struct kvmattr *c)
{
	struct wire_update_list head;
	struct iovec parts[2];
	size_t n_parts;

	while ((n_parts = outbox_next(&c->outbox, &head, parts))) {
		int r = seqpacket_send(c->socket, parts, n_parts, NULL, 0, MSG_DONTWAIT);

		if (r)
			return take_refusal_to_send(c, r);
		outbox_hand_over(&c->outbox);
	}
	return 0;
}

static int push_request(struct kvmattr *c)
{
	struct connection_request *request = &c->request;
	struct wire_header header;
	size_t size = 0;
	int r;

	if (request->state != REQUEST_UNSENT)
		return 0;
	for (size_t i = 0; i < request->n_parts; i++)
		size += request->parts[i].iov_len;
	request->id = connection_next_id(c);
	header = wire_header_make(request->type, size, request->id);
	memcpy(request->parts[0].iov_base, &header, sizeof(header));
	r = seqpacket_send(c->socket, request->parts, request->n_parts, request->fds,
			   request->n_fds, MSG_DONTWAIT);
	if (r)
		return take_refusal_to_send(c, r);
	request->state = REQUEST_AWAITED;
	return 0;
}

int connection_push(struct kvmattr *c)
{
	int r;

	if (c->broken)
		return c->broken;
	if (c->link.state != LINK_UP)
		return -EAGAIN;
	r = push_updates(c);
	return r ? r : push_request(c);
}

/* ---- Waiting ------------------------------------------------------------------------------- */

/* Whoever waits serves the executor meanwhile. */
static int poll_link(struct kvmattr *c, bool wants_room)
{
	bool is_up = c->link.state == LINK_UP;
	struct pollfd polls[2] = {
		{ .fd = is_up ? c->socket : c->poll_fd, .events = POLLIN },
		{ .fd = vmm_executor_to_serve(c), .events = POLLIN },
	};

	if (is_up && wants_room)
		polls[0].events |= POLLOUT;
	if (poll(polls, 2, -1) < 0 && errno != EINTR)
		return connection_break(c, -errno, KVMATTR_NO_VM, "cannot wait for kvmattrd: %s",
					strerror(errno));
	if (polls[1].revents)
		vmm_executor_serve(c);
	return 0;
}

int connection_wait_for_room(struct kvmattr *c)
{
	int r = poll_link(c, true);

	/* The daemon may be waiting for us to read before it reads on. */
	if (!r)
		r = connection_take(c, MSG_DONTWAIT);
	return r == -EAGAIN ? 0 : r;
}

int connection_wait(struct kvmattr *c)
{
	for (;;) {
		int r = connection_push(c);
		bool wants_room = r == -EAGAIN;

		if (r && r != -EAGAIN)
			return r;
		/* The usual case is one system call, unless the caller made the socket non-blocking. */
		r = connection_take(c,
				    wants_room || vmm_executor_to_serve(c) >= 0 ? MSG_DONTWAIT : 0);
		if (r != -EAGAIN)
			return r;
		r = poll_link(c, wants_room);
		if (r)
			return r;
	}
}

int connection_request(struct kvmattr *c, uint16_t type, const struct iovec *parts, size_t n_parts,
		       const int *fds, size_t n_fds, uint16_t reply_type, int *ret_fd)
{
	struct connection_request *request = &c->request;
	int r;

	/* In the order in which the caller asked. */
	r = updates_send(c);
	if (r)
		return r;
	*request = (struct connection_request){ .state = REQUEST_UNSENT,
						.type = type,
						.reply_type = reply_type,
						.parts = parts,
						.n_parts = n_parts,
						.fds = fds,
						.n_fds = n_fds,
						.n_reply_fds = ret_fd ? 1 : 0,
						.reply_fd = -1 };
	do
		r = connection_wait(c);
	while (!r && (request->state == REQUEST_UNSENT || request->state == REQUEST_AWAITED));
	if (!r && request->state == REQUEST_REFUSED)
		r = request->status;
	else if (!r && ret_fd)
		*ret_fd = request->reply_fd;
	request->state = REQUEST_NONE; /* its parts are the caller's */
	return r;
}
