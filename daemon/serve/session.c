/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "session.h"

#include "authority.h"
#include "daemon/allocate.h"
#include "daemon/log.h"
#include "fd-store.h"
#include "hosted-vm.h"
#include "memory.h"
#include "refusals.h"
#include "session-told.h"
#include "vm-events.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

static void send_unsent(int socket, short events, void *argument);

static void identify_peer(struct session *session, int socket, const struct session *opener)
{
	if (opener) {
		session->pid = opener->pid;
		session->uid = opener->uid;
	} else {
		const struct authority_peer peer = authority_identify(socket);

		session->pid = peer.pid;
		session->uid = peer.uid;
	}
}

static struct session *make(struct daemon *daemon, uint64_t id, struct hosted_vm *hosted,
			    const struct policy_actor *actor)
{
	struct session *session = allocate_one(struct session);

	session->daemon = daemon;
	session->id = id;
	session->socket = -1;
	session->unsent_fd = -1;
	session->pidfd = -1;
	TAILQ_INIT(&session->messages);
	if (actor)
		session->actor = *actor;
	session->hosted = hosted;
	TAILQ_INSERT_TAIL(hosted ? &hosted->sessions : &daemon->unbound_sessions, session, list);
	if (hosted)
		hosted->n_sessions++;
	return session;
}

void session_charge(struct session *session)
{
	enum user_thing thing = USER_SESSION;

	if (session->state == SESSION_DETACHED)
		thing = USER_AWAITED_SESSION;
	else if (!session->hosted)
		thing = USER_NEW_SESSION;
	users_charge(&session->daemon->users, session->uid, thing, &session->charge);
}

/* Whose time its messages take. */
static struct turn *share_of(struct session *session)
{
	return session->hosted ? &session->hosted->share : users_share(&session->charge);
}

static void can_be_received(int socket, short events, void *argument)
{
	struct session *session = argument;

	(void)socket;
	(void)events;
	turn_ask(&session->daemon->turns, &session->turn);
	/* That it has something to say is known until its turn comes: thousands may wait. */
	if (session->turn.is_waiting)
		event_del(session->readable);
}

void session_connect(struct session *session, int socket)
{
	struct event_base *base = session->daemon->base;

	session->socket = socket;
	session->readable = event_new(base, socket, EV_READ | EV_PERSIST, can_be_received, session);
	session->writable = event_new(base, socket, EV_WRITE, send_unsent, session);
	event_add(session->readable, NULL);
	session->daemon->n_sessions++;
	session->state = SESSION_CONNECTED;
	session_charge(session);
	turn_init(&session->daemon->turns, &session->turn, share_of(session), session_receive,
		  session);
}

struct session *session_new(struct daemon *daemon, int socket, struct hosted_vm *hosted,
			    const struct policy_actor *actor)
{
	struct session *session = make(daemon, ++daemon->last_session_id, hosted, actor);

	identify_peer(session, socket, hosted ? hosted->owner : NULL);
	session_connect(session, socket);
	/* The kernel's generator is up long before any guest is, and so many bytes come whole. */
	if (getrandom(session->token, sizeof(session->token), 0) != sizeof(session->token))
		abort();
	return session;
}

struct session *session_new_detached(struct daemon *daemon, uint64_t id, struct hosted_vm *hosted,
				     const struct policy_actor *actor)
{
	struct session *session = make(daemon, id, hosted, actor);

	session->state = SESSION_DETACHED;
	return session;
}

struct vm_record_session session_facts(const struct session *session)
{
	struct vm_record_session facts = {
		.id = session->id,
		.role = session->actor.is_owner ? WIRE_ROLE_OWNER : WIRE_ROLE_AGENT,
		.vtl = session->actor.vtl,
		.rights = session->actor.rights,
		.pid = session->pid,
		.uid = session->uid,
	};

	memcpy(facts.token, session->token, sizeof(facts.token));
	memcpy(facts.peer, session->peer, sizeof(facts.peer));
	return facts;
}

/* A VMM may have handed its connection on, by a fork for one: its own end counts, too. */
static void peer_exited(int pidfd, short events, void *argument)
{
	(void)pidfd;
	(void)events;
	session_close(argument, KVMATTR_NO_VM, "the VMM's process has ended");
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

bool session_watch_peer(struct session *session)
{
	/* Without a connection, as after a restart, its PID is all there is to go by. */
	bool has_socket = session->socket >= 0;
	int pidfd = has_socket ? authority_open_pidfd(session->socket) : -ENOPROTOOPT;

	stop_watching_peer(session);
	if (pidfd == -ENOPROTOOPT && session->pid > 0) {
		pidfd = pidfd_open(session->pid, 0);
		pidfd = pidfd < 0 ? -errno : pidfd;
	}
	if (pidfd < 0)
		return pidfd != -ESRCH; /* a connection is still watched */
	session->pidfd = pidfd;
	session->peer_exit =
		event_new(session->daemon->base, session->pidfd, EV_READ, peer_exited, session);
	event_add(session->peer_exit, NULL);
	return true;
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
		(void)session_watch_peer(session); /* its connection says so, too */
	} else {
		TAILQ_INSERT_TAIL(&session->daemon->unbound_sessions, session, list);
		stop_watching_peer(session);
	}
	session_charge(session);
	turn_move(&session->turn, share_of(session));
}

/* When they are fewer, hosted-vm.c has all its sessions look again. */
static bool is_vm_full(struct hosted_vm *hosted)
{
	if (!hosted || memory_lets_read_vm(hosted))
		return false;
	hosted->is_full = true;
	return true;
}

bool session_may_be_read(const struct session *session)
{
	return session->socket >= 0 && !session->unsent && !session->is_registering &&
	       memory_lets_read(session) && !is_vm_full(session->hosted) &&
	       session->n_unsettled + session->n_failures - session->n_told_failures <
		       session->daemon->limits.max_updates_in_flight;
}

void session_read_or_pause(struct session *session)
{
	bool is_read, may_be_read;

	if (session->socket < 0)
		return;
	is_read = event_pending(session->readable, EV_READ, NULL);
	may_be_read = session_may_be_read(session);
	if (may_be_read && !is_read && !session->turn.is_waiting)
		event_add(session->readable, NULL);
	else if (!may_be_read && is_read)
		event_del(session->readable);
	memory_await(session, may_be_read);
}

void session_read_again(struct session *session)
{
	session->is_registering = false;
	stop_watching_for_hang_up(session);
	session_read_or_pause(session);
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

/* Takes the connection off the session; it is the caller's then. */
static int disconnect(struct session *session)
{
	int socket = session->socket;

	turn_end(&session->daemon->turns, &session->turn);
	event_free(session->readable);
	event_free(session->writable);
	stop_watching_for_hang_up(session);
	session->socket = -1;
	memory_await(session, false);
	session->daemon->n_sessions--;
	return socket;
}

void session_hand_to_reaper(struct session *session)
{
	users_release(&session->daemon->users, &session->charge);
	memory_look_again(session->daemon->memory);
	TAILQ_INSERT_TAIL(&session->daemon->closed_sessions, session, list);
	event_active(session->daemon->reaper, EV_TIMEOUT, 0);
}

/* Where updates are under way, its VM hands it to the reaper when they are settled. */
static void end(struct session *session)
{
	stop_watching_peer(session);
	unlist(session);
	session->state = SESSION_CLOSED;
	if (session->n_unsettled)
		TAILQ_INSERT_TAIL(&session->hosted->closed_sessions, session, list);
	else
		session_hand_to_reaper(session);
	session->hosted = NULL;
}

void session_drop(struct session *session)
{
	if (session->socket >= 0)
		close(disconnect(session));
	end(session);
}

void session_take_connection(struct session *session, struct session *from)
{
	memcpy(session->peer, from->peer, sizeof(session->peer));
	session->pid = from->pid;
	session->uid = from->uid;
	session->is_greeted = true;
	if (session->socket >= 0)
		close(disconnect(session));
	session_connect(session, disconnect(from));
	if (session->actor.is_owner)
		hosted_vm_charge(session->hosted);
	end(from);
}

const char *session_fd_name(const struct session *session, char *name, size_t size)
{
	snprintf(name, size, "%s/session%" PRIu64, vm_journal_name(session->hosted->journal),
		 session->id);
	return name;
}

void session_keep_fd(const struct session *session)
{
	char name[SESSION_FD_NAME_SIZE];

	fd_store_keep(session->daemon->fd_store, session_fd_name(session, name, sizeof(name)),
		      session->socket);
}

/* The last words; a peer that has no room for them sees the connection close. */
static void say_goodbye(struct session *session, enum kvmattr_status status, const char *text)
{
	struct wire_notice notice = notice_make(
		status == KVMATTR_PROTOCOL_ERROR ? WIRE_ERROR : WIRE_BYE, 0, status, true, text);
	struct iovec part = { &notice, sizeof(notice) };
	int socket = disconnect(session);

	(void)!seqpacket_send(socket, &part, 1, NULL, 0, MSG_DONTWAIT);
	shutdown(socket, SHUT_RDWR); /* the service manager may have it, too, for a moment */
	close(socket);
}

/* No journal: its VM is being released, and all of it forgotten together. */
static void forget(struct session *session)
{
	char name[SESSION_FD_NAME_SIZE];

	if (!session->hosted || !session->hosted->journal)
		return;
	fd_store_forget(session->daemon->fd_store, session_fd_name(session, name, sizeof(name)));
	if (!session->actor.is_owner && !session->n_unsettled)
		vm_journal_note_session_closed(session->hosted->journal, session->id);
}

struct log_about session_about(const struct session *session)
{
	return (struct log_about){
		.vm = session->hosted ? session->hosted->name : NULL,
		.session = session->id,
		.has_peer = true,
		.pid = session->pid,
		.uid = session->uid,
	};
}

static void log_end(const struct session *session, enum kvmattr_status status, const char *text)
{
	struct log_about about = session_about(session);

	about.status = kvmattr_status_name(status);
	if (status == KVMATTR_PROTOCOL_ERROR)
		refusals_log(session->daemon->refusals, REFUSAL_PROTOCOL_BROKEN, about,
			     "session %" PRIu64 " (%s, PID %d) closed: %s", session->id,
			     session->peer, session->pid, text);
	else
		log_write(LOG_LEVEL_DEBUG, "session %" PRIu64 " (%s, PID %d) closed: %s",
			  session->id, session->peer, session->pid, text);
}

void session_close(struct session *session, enum kvmattr_status status, const char *text)
{
	struct hosted_vm *owned = session->actor.is_owner ? session->hosted : NULL;

	if (session->state == SESSION_CLOSED)
		return;
	log_end(session, status, text);
	if (session->socket >= 0)
		say_goodbye(session, status, text);
	vm_events_session_closed(session, text);
	forget(session);
	end(session);
	if (owned) {
		owned->owner = NULL;
		hosted_vm_doom(owned, KVMATTR_NO_VM, text);
	}
}

bool session_has_hung_up(const struct session *session)
{
	struct pollfd fd = { .fd = session->socket };

	return poll(&fd, 1, 0) > 0 && fd.revents & POLLHUP;
}

static void session_free(struct session *session)
{
	if (session->unsent_fd >= 0)
		close(session->unsent_fd);
	free(session->unsent);
	free(session->failures);
	session_told_free(session->told);
	free(session);
}

void session_reap(struct daemon *daemon)
{
	struct session *session;

	while ((session = TAILQ_FIRST(&daemon->closed_sessions))) {
		TAILQ_REMOVE(&daemon->closed_sessions, session, list);
		session_free(session);
	}
}

void session_reply_soon(struct session *session, const void *message, size_t size, int fd)
{
	session->unsent = memcpy(allocate(size), message, size);
	session->unsent_size = size;
	session->unsent_fd = fd;
	memory_charge_session(session);
	event_add(session->writable, NULL);
	session_read_or_pause(session);
}

void session_reply(struct session *session, const void *message, size_t size, int fd)
{
	struct iovec part = { (void *)message, size };
	int r = -EAGAIN;

	if (session->socket >= 0 && !session->unsent)
		r = seqpacket_send(session->socket, &part, 1, &fd, fd >= 0, MSG_DONTWAIT);
	if (r == -EAGAIN && session->socket >= 0 && !session->unsent) {
		session_reply_soon(session, message, size, fd);
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
			event_add(session->writable, NULL);
			return;
		}
		if (session->unsent_fd >= 0)
			close(session->unsent_fd);
		session->unsent_fd = -1;
		free(session->unsent);
		session->unsent = NULL;
		memory_charge_session(session);
		if (r < 0) {
			session_close(session, KVMATTR_NO_VM, "the peer takes no answers any more");
			return;
		}
	}
	session_flush(session);
}
