/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Connect, hello, requests and their answers, close.
 *
 * Everything that comes from the daemon comes through connection_take(), and is checked before
 * it is believed: a daemon that breaks the protocol ends the connection, never the VMM.
 */
#include "client/connection.h"

#include "protocol/seqpacket.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Requests have ids that no seqno has, so that a refusal says which of them it is about. */
#define REQUEST_ID_BIT (UINT64_C(1) << 63)

/* Why this thread's last kvmattr_connect() or kvmattr_adopt() failed: there is no connection that
 * could say it. */
static _Thread_local char connect_message[CONNECTION_MESSAGE_SIZE];

/* The text may hold the daemon's or a caller's bytes, and will stand on terminals and in logs. */
__attribute__((format(printf, 2, 0))) static void write_message(
	char ret_message[CONNECTION_MESSAGE_SIZE], const char *format, va_list arguments)
{
	char text[CONNECTION_MESSAGE_SIZE]; /* an argument may be the message itself */

	vsnprintf(text, sizeof(text), format, arguments);
	for (char *at = text; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = ' ';
	memcpy(ret_message, text, sizeof(text));
}

void connection_say(struct kvmattr *c, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_message(c->message, format, arguments);
	va_end(arguments);
}

int connection_refuse(struct kvmattr *c, enum kvmattr_status status, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_message(c->message, format, arguments);
	va_end(arguments);
	return status;
}

int connection_break(struct kvmattr *c, int error, enum kvmattr_status status, const char *format,
		     ...)
{
	va_list arguments;

	assert(error < 0);
	if (c->broken)
		return c->broken;
	va_start(arguments, format);
	write_message(c->message, format, arguments);
	va_end(arguments);
	c->broken = error;
	updates_abandon(c, status);
	return error;
}

static const char *message_name(unsigned int type)
{
	switch (type) {
	case WIRE_WELCOME:
		return "WELCOME";
	case WIRE_ERROR:
		return "ERROR";
	case WIRE_BYE:
		return "BYE";
	case WIRE_REGISTERED:
		return "REGISTERED";
	case WIRE_ANSWER:
		return "ANSWER";
	case WIRE_RUNS:
		return "RUNS";
	case WIRE_EXPLAINED:
		return "EXPLAINED";
	case WIRE_AGENT_OPENED:
		return "AGENT_OPENED";
	default:
		return NULL;
	}
}

int connection_break_protocol(struct kvmattr *c, unsigned int type, const char *field)
{
	const char *name = message_name(type);
	char number[32];

	if (!name && type) {
		snprintf(number, sizeof(number), "message of type %u", type);
		name = number;
	}
	return connection_break(c, -EPROTO, KVMATTR_PROTOCOL_ERROR,
				"kvmattrd broke the protocol: %s in its %s is wrong; "
				"are kvmattrd and libkvmattr of the same release?",
				field, name ? name : "message");
}

static int connection_lost(struct kvmattr *c)
{
	return connection_break(c, -EPIPE, KVMATTR_NO_VM,
				"kvmattrd closed the connection without saying why; its log may, "
				"and protections hold as they were last set until the VM is gone");
}

static int take_notice(struct kvmattr *c, const struct wire_header *header)
{
	struct wire_notice notice;
	const char *wrong = wire_get_notice(c->received, header->size, &notice);
	const char *text;

	if (wrong)
		return connection_break_protocol(c, header->type, wrong);
	text = *notice.text ? notice.text : kvmattr_status_text((int)notice.status);

	if (header->type == WIRE_BYE || notice.closing) {
		c->notice_status = (int)notice.status;
		return connection_break(c, -EPIPE,
					notice.status ? (enum kvmattr_status)notice.status
						      : KVMATTR_NO_VM,
					"%s", text);
	}
	if (c->request.state != REQUEST_AWAITED || header->id != c->request.id)
		return connection_break_protocol(c, header->type, "header.id");
	if (!notice.status)
		return connection_break_protocol(c, header->type, "status");
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
	if (header->id != c->request.id)
		return connection_break_protocol(c, header->type, "header.id");
	if (fds->n != c->request.n_fds)
		return connection_break_protocol(c, header->type, "the number of descriptors");
	if (fds->n)
		c->request.fd = seqpacket_fds_take(fds, 0);
	c->request.size = header->size;
	c->request.state = REQUEST_ANSWERED;
	return 0;
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
	n = seqpacket_receive(c->socket, c->received, sizeof(c->received), &fds, flags);
	if (n == -EAGAIN)
		return -EAGAIN;
	if (n == 0)
		return connection_lost(c);
	if (n == -EMSGSIZE || n == -EBADMSG)
		return connection_break_protocol(c, 0, "the size");
	if (n < 0)
		return connection_break(c, (int)n, KVMATTR_NO_VM,
					"cannot receive from kvmattrd: %s", strerror((int)-n));
	wrong = wire_get_header(c->received, (size_t)n, &header);
	if (wrong)
		return connection_break_protocol(c, 0, wrong);

	switch (header.type) {
	case WIRE_WELCOME:
	case WIRE_REGISTERED:
	case WIRE_RUNS:
	case WIRE_EXPLAINED:
	case WIRE_AGENT_OPENED:
		return take_reply(c, &header, &fds);
	case WIRE_ANSWER:
	case WIRE_ERROR:
	case WIRE_BYE:
		if (fds.n)
			return connection_break_protocol(c, header.type,
							 "the number of descriptors");
		return header.type == WIRE_ANSWER ? updates_take_answer(c, header.size)
						  : take_notice(c, &header);
	default:
		return connection_break_protocol(c, header.type, "header.type");
	}
}

/* Waits until the connection's socket is ready; whoever waits serves the executor meanwhile. */
static int poll_socket(struct kvmattr *c, short events)
{
	for (;;) {
		struct pollfd polls[2] = {
			{ .fd = c->socket, .events = events },
			{ .fd = owner_executor_to_serve(c), .events = POLLIN },
		};

		if (poll(polls, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return connection_break(c, -errno, KVMATTR_NO_VM,
						"cannot wait for kvmattrd: %s", strerror(errno));
		}
		if (polls[1].revents)
			owner_serve_executor(c);
		if (polls[0].revents)
			return 0;
	}
}

int connection_wait(struct kvmattr *c)
{
	/* The usual case is one system call, unless the caller made the socket non-blocking. */
	int flags = owner_executor_to_serve(c) < 0 ? 0 : MSG_DONTWAIT;

	for (;;) {
		int r = connection_take(c, flags);

		if (r != -EAGAIN)
			return r;
		r = poll_socket(c, POLLIN);
		if (r)
			return r;
	}
}

int connection_send(struct kvmattr *c, const struct iovec *parts, size_t n_parts, const int *fds,
		    size_t n_fds)
{
	int r;

	if (c->broken)
		return c->broken;
	for (;;) {
		r = seqpacket_send(c->socket, parts, n_parts, fds, n_fds, MSG_DONTWAIT);
		if (r != -EAGAIN)
			break;
		/* The daemon may be waiting for us to read before it reads on. */
		r = poll_socket(c, POLLIN | POLLOUT);
		if (r)
			return r;
		r = connection_take(c, MSG_DONTWAIT);
		if (r && r != -EAGAIN)
			return r;
	}
	if (r == -EPIPE || r == -ECONNRESET) {
		/* It has closed: what it said before is still there to be read. */
		while (!(r = connection_take(c, MSG_DONTWAIT)))
			;
		return r == -EAGAIN ? connection_lost(c) : r;
	}
	return r ? connection_break(c, r, KVMATTR_NO_VM, "cannot send to kvmattrd: %s",
				    strerror(-r))
		 : 0;
}

int connection_request(struct kvmattr *c, uint16_t type, const struct iovec *parts, size_t n_parts,
		       const int *fds, size_t n_fds, uint16_t reply_type, int *ret_fd)
{
	struct wire_header header;
	size_t size = 0;
	int r;

	/* In the order in which the caller asked. */
	r = updates_send(c);
	if (r)
		return r;
	for (size_t i = 0; i < n_parts; i++)
		size += parts[i].iov_len;
	c->request = (struct connection_request){ .id = REQUEST_ID_BIT | ++c->last_request,
						  .reply_type = reply_type,
						  .n_fds = ret_fd ? 1 : 0,
						  .fd = -1 };
	header = wire_header_make(type, size, c->request.id);
	memcpy(parts[0].iov_base, &header, sizeof(header));

	r = connection_send(c, parts, n_parts, fds, n_fds);
	if (r)
		return r;
	c->request.state = REQUEST_AWAITED;
	while (c->request.state == REQUEST_AWAITED) {
		r = connection_wait(c);
		if (r)
			return r;
	}
	if (c->request.state == REQUEST_REFUSED)
		return c->request.status;
	if (ret_fd)
		*ret_fd = c->request.fd;
	return 0;
}

static int say_hello(struct kvmattr *c, const char *name)
{
	struct wire_hello hello = { .magic = WIRE_MAGIC,
				    .version_min = WIRE_VERSION,
				    .version_max = WIRE_VERSION };
	struct iovec part = { &hello, sizeof(hello) };
	struct wire_welcome welcome;
	const char *wrong;
	int r;

	if (!name || strlen(name) >= sizeof(hello.peer))
		return connection_refuse(c, KVMATTR_INVALID_PARAMETER,
					 "a peer's name has at most %zu bytes",
					 sizeof(hello.peer) - 1);
	/* The daemon takes printable ASCII only; the name is for people. */
	for (size_t i = 0; name[i]; i++)
		hello.peer[i] = (char)(name[i] >= 0x20 && name[i] <= 0x7e ? name[i] : '?');

	r = connection_request(c, WIRE_HELLO, &part, 1, NULL, 0, WIRE_WELCOME, NULL);
	if (r < 0 && c->notice_status)
		return c->notice_status; /* refused, in so many words */
	if (r)
		return r;
	wrong = wire_get_welcome(c->received, c->request.size, &welcome);
	if (!wrong && welcome.version != WIRE_VERSION)
		wrong = "version";
	if (wrong)
		return connection_break_protocol(c, WIRE_WELCOME, wrong);
	c->has_vm = welcome.role != WIRE_ROLE_NONE;
	return updates_open(c, welcome.max_updates_in_flight);
}

/* Lets go of everything without a word. */
static void connection_free(struct kvmattr *c)
{
	owner_close_executor(c);
	updates_close(c);
	close(c->socket);
	free(c);
}

__attribute__((format(printf, 2, 3))) static int cannot_connect(int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_message(connect_message, format, arguments);
	va_end(arguments);
	return error;
}

int kvmattr_adopt(int fd, const char *name, struct kvmattr **ret)
{
	struct kvmattr *c;
	int r;

	/* It may have come through an exec; from here on no other program is to have it. */
	if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return cannot_connect(-EBADF, "the agent's socket is not an open descriptor");
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return cannot_connect(-ENOMEM, "no memory for a connection to kvmattrd");
	}
	c->socket = fd;
	c->process = getpid();
	owner_init_executor(c);
	r = say_hello(c, name);
	if (r) {
		cannot_connect(r, "%s", c->message);
		connection_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

/* Where the agent socket is. */
static int find_socket(const char *path, struct sockaddr_un *ret)
{
	const char *directory = path ? NULL : secure_getenv("KVMATTR_RUNTIME_DIR");
	int n;

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	n = directory && *directory
		    ? snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/agent.sock", directory)
		    : snprintf(ret->sun_path, sizeof(ret->sun_path), "%s",
			       path ? path : KVMATTR_AGENT_SOCKET);
	if (n < 0 || (size_t)n >= sizeof(ret->sun_path))
		return cannot_connect(-ENAMETOOLONG,
				      "the agent socket's path is longer than %zu bytes; choose a "
				      "shorter directory",
				      sizeof(ret->sun_path) - 1);
	return 0;
}

int kvmattr_connect(const char *path, const char *name, struct kvmattr **ret)
{
	struct sockaddr_un address;
	int fd, r;

	r = find_socket(path, &address);
	if (r)
		return r;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return cannot_connect(-errno, "cannot make a socket: %s", strerror(errno));
	do
		r = connect(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
	while (r == -EINTR);
	if (r) {
		close(fd);
		return cannot_connect(r,
				      "cannot connect to kvmattrd at %s: %s; is it running, and "
				      "may this user use the socket?",
				      address.sun_path, strerror(-r));
	}
	return kvmattr_adopt(fd, name, ret);
}

static void say_goodbye(struct kvmattr *c)
{
	struct wire_notice bye = { .header = wire_header_make(WIRE_BYE, sizeof(bye), 0),
				   .closing = 1 };
	struct iovec part = { &bye, sizeof(bye) };

	/* A courtesy: that the socket closes says the same. */
	if (seqpacket_send(c->socket, &part, 1, NULL, 0, MSG_DONTWAIT))
		return;
}

void kvmattr_close(struct kvmattr *c)
{
	if (!c)
		return;
	/* In a child of fork() the connection is the parent's, and so is the executor's thread. */
	if (c->process == getpid()) {
		if (!c->broken)
			say_goodbye(c);
		owner_stop_executor(c);
		connection_break(c, -EPIPE, KVMATTR_NO_VM,
				 "the connection was closed before the answer came; whether the "
				 "update is in force is not known");
	}
	connection_free(c);
}

const char *kvmattr_message(const struct kvmattr *c)
{
	return c ? c->message : connect_message;
}

int kvmattr_fd(const struct kvmattr *c)
{
	return c->socket;
}
