/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include "session.h"

#include "daemon/allocate.h"
#include "daemon/log.h"
#include "hosted-vm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5; bookworm's libc does not know it */
#endif

/* Messages that one peer may have handled in a row before the others have their turn. */
#define MESSAGES_IN_A_ROW 8
#define SHORT_MESSAGE     4096
/* What updates under way may hold, of one session and of all sessions of one VM. */
#define MAX_SESSION_BYTES (4u << 20)
#define MAX_VM_BYTES      (64u << 20)
#define MAX_FAILURES_IN_ANSWER \
	((WIRE_MAX_MESSAGE - sizeof(struct wire_answer)) / sizeof(struct wire_failure))

static void receive(int socket, short events, void *argument);
static void send_unsent(int socket, short events, void *argument);

static void identify_peer(struct session *session, const struct session *opener)
{
	struct ucred credentials;
	socklen_t size = sizeof(credentials);

	if (opener) {
		session->pid = opener->pid;
		session->uid = opener->uid;
	} else if (!getsockopt(session->socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size)) {
		session->pid = credentials.pid;
		session->uid = credentials.uid;
	}
}

struct session *session_new(struct daemon *daemon, int socket, struct hosted_vm *hosted,
			    const struct policy_actor *actor)
{
	struct session *session = allocate_one(struct session);

	session->daemon = daemon;
	session->id = ++daemon->next_session_id;
	session->socket = socket;
	session->unsent_fd = -1;
	session->pidfd = -1;
	identify_peer(session, hosted ? hosted->owner : NULL);
	session->readable = event_new(daemon->base, socket, EV_READ | EV_PERSIST, receive, session);
	session->writable = event_new(daemon->base, socket, EV_WRITE, send_unsent, session);
	event_add(session->readable, NULL);
	daemon->n_sessions++;
	if (actor)
		session->actor = *actor;
	session->hosted = hosted;
	TAILQ_INSERT_TAIL(hosted ? &hosted->sessions : &daemon->unbound_sessions, session, list);
	if (hosted)
		hosted->n_sessions++;
	return session;
}

/* A VMM may have handed its connection on, by a fork for one: its own end counts, too. */
static void peer_exited(int pidfd, short events, void *argument)
{
	(void)pidfd;
	(void)events;
	session_close(argument, KVMATTR_NO_VM, "the VMM's process has ended");
}

static void watch_peer(struct session *session)
{
	socklen_t size = sizeof(session->pidfd);

	if (getsockopt(session->socket, SOL_SOCKET, SO_PEERPIDFD, &session->pidfd, &size) < 0)
		session->pidfd = session->pid > 0 ? pidfd_open(session->pid, 0) : -1;
	if (session->pidfd < 0)
		return; /* the connection is still watched */
	session->peer_exit =
		event_new(session->daemon->base, session->pidfd, EV_READ, peer_exited, session);
	event_add(session->peer_exit, NULL);
}

static void stop_watching_peer(struct session *session)
{
	if (session->peer_exit)
		event_free(session->peer_exit);
	session->peer_exit = NULL;
	if (session->pidfd >= 0)
		close(session->pidfd);
	session->pidfd = -1;
}

static void unlist(struct session *session)
{
	if (session->hosted) {
		TAILQ_REMOVE(&session->hosted->sessions, session, list);
		session->hosted->n_sessions--;
	} else {
		TAILQ_REMOVE(&session->daemon->unbound_sessions, session, list);
	}
}

static void peer_hung_up(int socket, short events, void *argument)
{
	(void)socket;
	(void)events;
	session_close(argument, KVMATTR_NO_VM, "the peer closed the connection");
}

static void stop_watching_for_hang_up(struct session *session)
{
	if (session->hang_up)
		event_free(session->hang_up);
	session->hang_up = NULL;
}

void session_bind(struct session *session, struct hosted_vm *hosted)
{
	unlist(session);
	session->hosted = hosted;
	session->actor = (struct policy_actor){ .is_owner = hosted };
	if (hosted) {
		TAILQ_INSERT_HEAD(&hosted->sessions, session, list);
		hosted->n_sessions++;
		session->is_registering = true;
		session->hang_up = event_new(session->daemon->base, session->socket, EV_CLOSED,
					     peer_hung_up, session);
		event_add(session->hang_up, NULL);
		watch_peer(session);
	} else {
		TAILQ_INSERT_TAIL(&session->daemon->unbound_sessions, session, list);
		stop_watching_peer(session);
	}
}

/* When they are fewer, hosted-vm.c has all its sessions look again. */
static bool is_vm_full(struct hosted_vm *hosted)
{
	if (!hosted || hosted->n_bytes < MAX_VM_BYTES)
		return false;
	hosted->is_full = true;
	return true;
}

static bool may_be_read(const struct session *session)
{
	return session->socket >= 0 && !session->unsent && !session->is_registering &&
	       session->n_bytes < MAX_SESSION_BYTES && !is_vm_full(session->hosted) &&
	       session->n_unsettled + session->n_failures <
		       session->daemon->limits.max_updates_in_flight;
}

static void read_or_pause(struct session *session)
{
	bool is_read;

	if (session->socket < 0)
		return;
	is_read = event_pending(session->readable, EV_READ, NULL);
	if (may_be_read(session) && !is_read)
		event_add(session->readable, NULL);
	else if (!may_be_read(session) && is_read)
		event_del(session->readable);
}

void session_resume(struct session *session)
{
	session->is_registering = false;
	stop_watching_for_hang_up(session);
	read_or_pause(session);
}

static struct wire_notice notice_make(uint16_t type, uint64_t id, enum kvmattr_status status,
				      bool closing, const char *text)
{
	struct wire_notice notice = { .status = status, .closing = closing };

	notice.header = wire_header_make(type, sizeof(notice), id);
	snprintf(notice.text, sizeof(notice.text), "%s", text);
	return notice;
}

void session_refuse(struct session *session, uint64_t id, enum kvmattr_status status,
		    const char *text)
{
	struct wire_notice notice = notice_make(WIRE_ERROR, id, status, false, text);

	log_write(LOG_LEVEL_DEBUG, "session %" PRIu64 " (%s, PID %d): refused: %s", session->id,
		  session->peer, session->pid, text);
	session_reply(session, &notice, sizeof(notice), -1);
}

void session_close(struct session *session, enum kvmattr_status status, const char *text)
{
	struct hosted_vm *owned = session->actor.is_owner ? session->hosted : NULL;
	struct wire_notice notice = notice_make(
		status == KVMATTR_PROTOCOL_ERROR ? WIRE_ERROR : WIRE_BYE, 0, status, true, text);
	struct iovec part = { &notice, sizeof(notice) };

	if (session->socket < 0)
		return;
	/* The last words; a peer that has no room for them sees the connection close. */
	(void)!seqpacket_send(session->socket, &part, 1, NULL, 0, MSG_DONTWAIT);
	log_write(status == KVMATTR_PROTOCOL_ERROR ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG,
		  "session %" PRIu64 " (%s, PID %d) closed: %s", session->id, session->peer,
		  session->pid, text);
	event_free(session->readable);
	event_free(session->writable);
	stop_watching_for_hang_up(session);
	stop_watching_peer(session);
	close(session->socket);
	session->socket = -1;
	unlist(session);
	session->hosted = NULL;
	session->daemon->n_sessions--;
	TAILQ_INSERT_TAIL(&session->daemon->closed_sessions, session, list);
	event_active(session->daemon->reaper, EV_TIMEOUT, 0);
	if (owned) {
		owned->owner = NULL;
		hosted_vm_doom(owned, KVMATTR_NO_VM, text);
	}
}

static void session_free(struct session *session)
{
	if (session->unsent_fd >= 0)
		close(session->unsent_fd);
	free(session->unsent);
	free(session->failures);
	free(session);
}

void session_reap(struct daemon *daemon)
{
	struct session *session, *next;

	for (session = TAILQ_FIRST(&daemon->closed_sessions); session; session = next) {
		next = TAILQ_NEXT(session, list);
		if (session->n_unsettled)
			continue;
		TAILQ_REMOVE(&daemon->closed_sessions, session, list);
		session_free(session);
	}
}

static void wait_for_room(struct session *session)
{
	event_add(session->writable, NULL);
	read_or_pause(session);
}

void session_reply(struct session *session, const void *message, size_t size, int fd)
{
	struct iovec part = { (void *)message, size };
	int r = -EAGAIN;

	if (session->socket >= 0 && !session->unsent)
		r = seqpacket_send(session->socket, &part, 1, &fd, fd >= 0, MSG_DONTWAIT);
	if (r == -EAGAIN && session->socket >= 0 && !session->unsent) {
		session->unsent = memcpy(allocate(size), message, size);
		session->unsent_size = size;
		session->unsent_fd = fd;
		wait_for_room(session);
		return;
	}
	if (fd >= 0)
		close(fd);
	if (r < 0)
		session_close(session, KVMATTR_NO_VM, "the peer takes no answers any more");
}

static void send_unsent(int socket, short events, void *argument)
{
	struct session *session = argument;
	struct iovec part = { session->unsent, session->unsent_size };
	int r;

	(void)events;
	if (session->unsent) {
		r = seqpacket_send(socket, &part, 1, &session->unsent_fd, session->unsent_fd >= 0,
				   MSG_DONTWAIT);
		if (r == -EAGAIN) {
			wait_for_room(session);
			return;
		}
		if (session->unsent_fd >= 0)
			close(session->unsent_fd);
		session->unsent_fd = -1;
		free(session->unsent);
		session->unsent = NULL;
		if (r < 0) {
			session_close(session, KVMATTR_NO_VM, "the peer takes no answers any more");
			return;
		}
	}
	session_flush(session);
}

void session_settle(struct session *session, uint64_t seqno, uint64_t commit, uint32_t n_in_force,
		    enum kvmattr_status status, const char *text)
{
	session->n_unsettled--;
	session->settled_seqno = seqno;
	session->commit = commit;
	if (session->socket < 0) {
		if (!session->n_unsettled)
			event_active(session->daemon->reaper, EV_TIMEOUT, 0);
		return;
	}
	if (status != KVMATTR_OK) {
		struct wire_failure failure = { .seqno = seqno,
						.status = status,
						.n_in_force = n_in_force };

		snprintf(failure.text, sizeof(failure.text), "%s", text);
		allocate_room(session->failures, session->n_failures, session->failures_capacity);
		session->failures[session->n_failures++] = failure;
	}
}

/* One answer; its failures, if they are too many for it, say how far it reaches. */
static int send_answer(struct session *session)
{
	size_t n = session->n_failures < MAX_FAILURES_IN_ANSWER ? session->n_failures
								: MAX_FAILURES_IN_ANSWER;
	uint64_t last =
		n < session->n_failures ? session->failures[n - 1].seqno : session->settled_seqno;
	struct wire_answer answer = { .commit = session->commit, .n_failures = (uint32_t)n };
	struct iovec parts[] = {
		{ &answer, sizeof(answer) },
		{ session->failures, n * sizeof(*session->failures) },
	};
	int r;

	answer.header = wire_header_make(WIRE_ANSWER, parts[0].iov_len + parts[1].iov_len, last);
	r = seqpacket_send(session->socket, parts, n ? 2 : 1, NULL, 0, MSG_DONTWAIT);
	if (r < 0)
		return r;
	session->answered_seqno = last;
	session->n_failures -= n;
	if (session->n_failures)
		memmove(session->failures, session->failures + n,
			session->n_failures * sizeof(*session->failures));
	return 0;
}

void session_flush(struct session *session)
{
	int r = 0;

	while (session->socket >= 0 && !r && session->answered_seqno < session->settled_seqno)
		r = send_answer(session);
	if (r == -EAGAIN)
		event_add(session->writable, NULL);
	else if (r < 0)
		session_close(session, KVMATTR_NO_VM, "the peer takes no answers any more");
	read_or_pause(session);
}

static void welcome(struct session *session, const struct wire_hello *hello)
{
	const struct hosted_vm *hosted = session->hosted;
	struct wire_welcome reply = {
		.version = WIRE_VERSION,
		.role = hosted ? WIRE_ROLE_AGENT : WIRE_ROLE_NONE,
		.vtl = session->actor.vtl,
		.rights = session->actor.rights,
		.max_message = WIRE_MAX_MESSAGE,
		.max_updates_in_flight = session->daemon->limits.max_updates_in_flight,
		.session = session->id,
		.daemon = PACKAGE_VERSION,
	};

	reply.header = wire_header_make(WIRE_WELCOME, sizeof(reply), hello->header.id);
	if (hosted)
		snprintf(reply.vm, sizeof(reply.vm), "%s", hosted->name);
	memcpy(session->peer, hello->peer, sizeof(session->peer));
	session->is_greeted = true;
	log_write(LOG_LEVEL_DEBUG, "session %" PRIu64 " opened: %s, PID %d, UID %u", session->id,
		  session->peer, session->pid, session->uid);
	session_reply(session, &reply, sizeof(reply), -1);
}

static const char *take_hello(struct session *session, const struct wire_header *header,
			      const void *data, size_t size)
{
	struct wire_hello hello;
	const char *bad = header->type == WIRE_HELLO ? wire_get_hello(data, size, &hello)
						     : "header.type (hello comes first)";
	char text[WIRE_TEXT_SIZE];

	if (bad)
		return bad;
	if (hello.version_min > WIRE_VERSION || hello.version_max < WIRE_VERSION) {
		snprintf(text, sizeof(text),
			 "this daemon speaks version %u of the protocol, the peer %u to %u",
			 WIRE_VERSION, hello.version_min, hello.version_max);
		session_close(session, KVMATTR_VERSION_MISMATCH, text);
		return NULL;
	}
	welcome(session, &hello);
	return NULL;
}

static void take(struct session *session, const void *data, size_t size, struct seqpacket_fds *fds)
{
	struct wire_header header;
	const char *bad = wire_get_header(data, size, &header);
	char text[WIRE_TEXT_SIZE];

	session->n_messages++;
	if (!bad)
		bad = session->is_greeted
			      ? session_handle_request(session, &header, data, size, fds)
			      : take_hello(session, &header, data, size);
	if (!bad && fds->n)
		for (size_t i = 0; i < fds->n && !bad; i++)
			bad = fds->fd[i] >= 0 ? "file descriptors (none belong to this message)"
					      : NULL;
	if (!bad)
		return;
	snprintf(text, sizeof(text), "protocol broken: field %s is not valid", bad);
	session_close(session, KVMATTR_PROTOCOL_ERROR, text);
}

static void receive(int socket, short events, void *argument)
{
	struct session *session = argument;

	(void)events;
	for (int i = 0; i < MESSAGES_IN_A_ROW && may_be_read(session); i++) {
		uint8_t *buffer = session->daemon->receive_buffer;
		struct seqpacket_fds fds;
		ssize_t n = seqpacket_receive(socket, buffer, WIRE_MAX_MESSAGE, &fds, MSG_DONTWAIT);

		if (n == -EAGAIN)
			break;
		if (n == -EMSGSIZE || n == -EBADMSG) {
			session_close(session, KVMATTR_PROTOCOL_ERROR,
				      "protocol broken: a message has 16 to 65536 bytes");
			return;
		}
		if (n == -EMFILE) {
			session_close(session, KVMATTR_LIMIT_EXCEEDED,
				      "the daemon has no file descriptors left for this message's; "
				      "raise LimitNOFILE");
			return;
		}
		if (n <= 0) {
			session_close(session, KVMATTR_NO_VM, "the peer closed the connection");
			return;
		}
		take(session, buffer, (size_t)n, &fds);
		seqpacket_fds_close(&fds);
		/* A peer with more to say packs it: behind a short message there is none to look for. */
		if (n < SHORT_MESSAGE)
			break;
	}
	read_or_pause(session);
}
