/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Connect, hello, close; what is said about the connection, and how it ends.
 */
#include "client/connection.h"

#include "protocol/seqpacket.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

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
	write_message(c->is_driven ? c->end_message : c->message, format, arguments);
	va_end(arguments);
	c->broken = error;
	c->end_status = status;
	resume_ring(c);
	if (c->is_driven)
		c->is_end_untold = true;
	else
		updates_abandon(c, status);
	return error;
}

/* It broke while the application was elsewhere. */
static void tell_end(struct kvmattr *c)
{
	memcpy(c->message, c->end_message, sizeof(c->message));
	c->is_end_untold = false;
	updates_abandon(c, c->end_status);
}

int connection_enter(struct kvmattr *c)
{
	if (c->is_owner)
		vmm_executor_keep_off(c);
	if (!c->broken)
		return 0;
	if (c->is_end_untold)
		tell_end(c);
	return connection_leave(c, c->broken);
}

int connection_leave(struct kvmattr *c, int r)
{
	if (c->is_owner)
		vmm_executor_let_on(c);
	return r;
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
	case WIRE_RESTARTED:
		return "RESTARTED";
	case WIRE_RESUMED:
		return "RESUMED";
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

int connection_set_socket(struct kvmattr *c, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	assert(c->socket < 0);
	if (epoll_ctl(c->poll_fd, EPOLL_CTL_ADD, fd, &event)) {
		int error = errno;

		close(fd);
		return connection_break(c, -error, KVMATTR_NO_VM,
					"cannot watch the socket of kvmattrd: %s", strerror(error));
	}
	c->socket = fd;
	c->watches_room = false;
	return 0;
}

void connection_drop_socket(struct kvmattr *c)
{
	if (c->socket < 0)
		return;
	/* A child of fork() may hold it open: that it is closed here would not take it out. */
	epoll_ctl(c->poll_fd, EPOLL_CTL_DEL, c->socket, NULL);
	vmm_executor_forget_link(c);
	close(c->socket);
	c->socket = -1;
}

void connection_watch_room(struct kvmattr *c, bool wants_room)
{
	struct epoll_event event = { .events = EPOLLIN | (wants_room ? EPOLLOUT : 0) };

	if (c->socket < 0 || c->watches_room == wants_room)
		return;
	if (!epoll_ctl(c->poll_fd, EPOLL_CTL_MOD, c->socket, &event))
		c->watches_room = wants_room;
}

struct wire_hello connection_make_hello(const struct kvmattr *c)
{
	struct wire_hello hello = { .magic = WIRE_MAGIC,
				    .version_min = WIRE_VERSION,
				    .version_max = WIRE_VERSION };

	_Static_assert(sizeof(hello.peer) == sizeof(c->name), "copied whole");
	memcpy(hello.peer, c->name, sizeof(hello.peer));
	return hello;
}

const char *connection_get_welcome(struct kvmattr *c, size_t size, struct wire_welcome *ret)
{
	const char *wrong = wire_get_welcome(c->received, size, ret);

	return !wrong && ret->version != WIRE_VERSION ? "version" : wrong;
}

static int take_name(struct kvmattr *c, const char *name)
{
	if (!name || strlen(name) >= sizeof(c->name))
		return connection_refuse(c, KVMATTR_INVALID_PARAMETER,
					 "a peer's name has at most %zu bytes",
					 sizeof(c->name) - 1);
	/* The daemon takes printable ASCII only; the name is for people. */
	for (size_t i = 0; name[i]; i++)
		c->name[i] = (char)(name[i] >= 0x20 && name[i] <= 0x7e ? name[i] : '?');
	return 0;
}

static int say_hello(struct kvmattr *c)
{
	struct wire_hello hello = connection_make_hello(c);
	struct iovec part = { &hello, sizeof(hello) };
	struct wire_welcome welcome;
	const char *wrong;
	int r;

	r = connection_request(c, WIRE_HELLO, &part, 1, NULL, 0, WIRE_WELCOME, NULL);
	if (r < 0 && c->notice_status)
		return c->notice_status; /* refused, in so many words */
	if (r)
		return r;
	wrong = connection_get_welcome(c, c->request.reply_size, &welcome);
	if (wrong)
		return connection_break_protocol(c, WIRE_WELCOME, wrong);
	c->has_vm = welcome.role != WIRE_ROLE_NONE;
	resume_note_welcome(c, &welcome);
	r = updates_open(c, welcome.max_updates_in_flight);
	if (!r)
		r = resume_after_greeting(c);
	while (!r && c->link.state != LINK_UP)
		r = connection_wait(c);
	return r;
}

/* What a connection holds but its socket. */
static int open_connection(struct kvmattr *c)
{
	c->socket = -1;
	c->link.timer = -1;
	c->process = getpid();
	vmm_executor_init(c);
	c->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (c->poll_fd < 0)
		return connection_break(c, -errno, KVMATTR_NO_VM,
					"cannot make a connection's descriptors: %s",
					strerror(errno));
	return resume_open(c);
}

/* Lets go of everything without a word. */
static void connection_free(struct kvmattr *c)
{
	vmm_executor_close(c);
	updates_close(c);
	resume_close(c);
	if (c->poll_fd >= 0)
		close(c->poll_fd);
	if (c->socket >= 0)
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

/* path: of the socket that fd was connected to, or "". */
static int adopt(int fd, const char *name, const char *path, struct kvmattr **ret)
{
	struct kvmattr *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		close(fd);
		return cannot_connect(-ENOMEM, "no memory for a connection to kvmattrd");
	}
	r = open_connection(c);
	if (r)
		close(fd);
	else
		r = connection_set_socket(c, fd);
	if (!r)
		r = take_name(c, name);
	if (!r)
		r = say_hello(c);
	if (r) {
		cannot_connect(r, "%s", c->message);
		connection_free(c);
		return r;
	}
	/* Where the daemon was reached, it will be again; a relative path depends on who asks. */
	if (*path == '/' && *c->link.path)
		memcpy(c->link.path, path, strlen(path) + 1);
	*ret = c;
	return 0;
}

int kvmattr_adopt(int fd, const char *name, struct kvmattr **ret)
{
	/* It may have come through an exec; from here on no other program is to have it. */
	if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return cannot_connect(-EBADF, "the agent's socket is not an open descriptor");
	return adopt(fd, name, "", ret);
}

int connection_open_socket(const char *path, int flags, int *ret_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, r;

	assert(strlen(path) < sizeof(address.sun_path));
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0);
	if (fd < 0)
		return -errno;
	do
		r = connect(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
	while (r == -EINTR);
	if (r) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

/* Where the agent socket is. */
static int find_socket(const char *path, char ret_path[WIRE_PATH_SIZE])
{
	const char *directory = path ? NULL : secure_getenv("KVMATTR_RUNTIME_DIR");
	int n;

	n = directory && *directory
		    ? snprintf(ret_path, WIRE_PATH_SIZE, "%s/agent.sock", directory)
		    : snprintf(ret_path, WIRE_PATH_SIZE, "%s", path ? path : KVMATTR_AGENT_SOCKET);
	if (n < 0 || n >= WIRE_PATH_SIZE)
		return cannot_connect(-ENAMETOOLONG,
				      "the agent socket's path is longer than %d bytes; choose a "
				      "shorter directory",
				      WIRE_PATH_SIZE - 1);
	return 0;
}

int kvmattr_connect(const char *path, const char *name, struct kvmattr **ret)
{
	char found[WIRE_PATH_SIZE];
	int fd, r;

	r = find_socket(path, found);
	if (r)
		return r;
	r = connection_open_socket(found, 0, &fd);
	if (r)
		return cannot_connect(r,
				      "cannot connect to kvmattrd at %s: %s; is it running, and "
				      "may this user use the socket?",
				      found, strerror(-r));
	return adopt(fd, name, found, ret);
}

static void say_goodbye(struct kvmattr *c)
{
	struct wire_notice bye = { .header = wire_header_make(WIRE_BYE, sizeof(bye), 0),
				   .closing = 1 };
	struct iovec part = { &bye, sizeof(bye) };

	/* A courtesy: that the socket closes says the same. */
	if (c->socket < 0 || seqpacket_send(c->socket, &part, 1, NULL, 0, MSG_DONTWAIT))
		return;
}

void kvmattr_close(struct kvmattr *c)
{
	if (!c)
		return;
	/* In a child of fork() the connection is the parent's, and so is the executor's thread. */
	if (c->process == getpid()) {
		if (!connection_enter(c))
			say_goodbye(c);
		vmm_executor_stop(c);
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
	return c->poll_fd;
}
