/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Going on with a session when the daemon is another process.
 *
 * The daemon may die and come back; its journal says what it had settled.  There are two ways on:
 * the socket ends, and another one is connected; or systemd kept the socket, and the new daemon
 * says RESTARTED on it.
 *
 *	up ──the socket ends──► down ──connected──► greeting ──WELCOME──► resuming ──RESUMED──► up
 *	 │                      ▲ │ ▲                  │                     │
 *	 │                      └─┘ └────────── the socket ends ─────────────┘
 *	 └──RESTARTED──► resuming
 *
 * It is a machine that takes a step when a message comes, or the time: nothing here waits.  Whoever
 * makes a call that waits drives it, or the application's event loop, or whoever serves the
 * executor of an owner that is idle.  When it is up again, the request that is waited for and what
 * the daemon has not settled of the updates are due again; what it has, it answers from its journal.
 * Each update is answered once, whatever the daemon claims: claims that cannot be true end the
 * connection.
 */
#include "client/connection.h"

#include "protocol/seqpacket.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS      UINT64_C(1000000)
#define FIRST_DELAY_NS NS_PER_MS
#define LAST_DELAY_NS  (250 * NS_PER_MS)
#define NEVER          UINT64_MAX
#define AT_ONCE        1 /* a time that is past */

/* ---- Time ---------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void set_timer(struct kvmattr *c, uint64_t at_ns)
{
	struct itimerspec at = { .it_value.tv_sec = 0 };

	if (at_ns != NEVER) {
		at.it_value.tv_sec = (time_t)(at_ns / 1000000000u);
		at.it_value.tv_nsec = (long)(at_ns % 1000000000u);
	}
	/* Its arguments are right, so it cannot fail. */
	timerfd_settime(c->link.timer, TFD_TIMER_ABSTIME, &at, NULL);
}

int resume_open(struct kvmattr *c)
{
	struct epoll_event event = { .events = EPOLLIN };

	c->link.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (c->link.timer < 0 || epoll_ctl(c->poll_fd, EPOLL_CTL_ADD, c->link.timer, &event))
		return connection_break(c, -errno, KVMATTR_NO_VM,
					"cannot make a connection's timer: %s", strerror(errno));
	return 0;
}

void resume_close(struct kvmattr *c)
{
	if (c->link.timer >= 0)
		close(c->link.timer);
}

void resume_ring(struct kvmattr *c)
{
	if (c->link.timer >= 0)
		set_timer(c, AT_ONCE);
}

/* ---- Down ---------------------------------------------------------------------------------- */

void resume_note_welcome(struct kvmattr *c, const struct wire_welcome *welcome)
{
	struct link *link = &c->link;

	link->session = welcome->session;
	memcpy(link->token, welcome->token, sizeof(link->token));
	memcpy(link->path, welcome->agent_socket, sizeof(link->path));
	link->within_ms = welcome->resume_within_ms;
}

static bool has_session(const struct kvmattr *c)
{
	return c->has_vm || c->is_registering;
}

/* The link was up until now. */
static void begin(struct kvmattr *c, bool is_new)
{
	struct link *link = &c->link;

	link->lost_ns = now_ns();
	link->deadline_ns = link->within_ms ? link->lost_ns + link->within_ms * NS_PER_MS : NEVER;
	link->delay_ns = FIRST_DELAY_NS;
	link->is_new = is_new;
	link->why = "it does not answer";
	if (c->request.state == REQUEST_AWAITED)
		c->request.state = REQUEST_UNSENT;
}

static int give_up(struct kvmattr *c)
{
	const struct link *link = &c->link;
	unsigned long long ms = (now_ns() - link->lost_ns) / NS_PER_MS;

	if (!link->is_new)
		return connection_break(c, -EPIPE, KVMATTR_NO_VM,
					"kvmattrd restarted, and has not taken up this session "
					"again for %llu ms; its log may say why, and protections "
					"hold as they were last set until the VM is gone",
					ms);
	return connection_break(
		c, -EPIPE, KVMATTR_NO_VM,
		"kvmattrd went away %llu ms ago and is not back at %s: %s; start it "
		"again; protections hold as they were last set until the VM is gone",
		ms, link->path, link->why);
}

static int try_again_later(struct kvmattr *c, const char *why)
{
	struct link *link = &c->link;

	connection_drop_socket(c);
	link->state = LINK_DOWN;
	link->is_new = true;
	link->why = why;
	link->retry_ns = now_ns() + link->delay_ns;
	link->delay_ns = 2 * link->delay_ns < LAST_DELAY_NS ? 2 * link->delay_ns : LAST_DELAY_NS;
	set_timer(c, link->retry_ns < link->deadline_ns ? link->retry_ns : link->deadline_ns);
	return 0;
}

static int connect_anew(struct kvmattr *c)
{
	struct wire_hello hello = connection_make_hello(c);
	struct iovec part = { &hello, sizeof(hello) };
	struct link *link = &c->link;
	int fd, r;

	r = connection_open_socket(link->path, SOCK_NONBLOCK, &fd);
	if (r)
		return try_again_later(c, strerror(-r));
	/* From here on who waits may wait in recvmsg(). */
	(void)fcntl(fd, F_SETFL, 0);
	r = connection_set_socket(c, fd);
	if (r)
		return r;
	link->request_id = connection_next_id(c);
	hello.header = wire_header_make(WIRE_HELLO, sizeof(hello), link->request_id);
	link->state = LINK_GREETING;
	link->why = "it does not answer";
	set_timer(c, link->deadline_ns);
	/* If it fails, the socket has ended: what is received says so, perhaps with a reason. */
	(void)!seqpacket_send(fd, &part, 1, NULL, 0, MSG_DONTWAIT);
	return 0;
}

static int connection_lost(struct kvmattr *c)
{
	return connection_break(c, -EPIPE, KVMATTR_NO_VM,
				"kvmattrd closed the connection without saying why; its log may, "
				"and protections hold as they were last set until the VM is gone");
}

int resume_after_loss(struct kvmattr *c)
{
	struct link *link = &c->link;

	if (!has_session(c) || !*link->path || !link->within_ms)
		return connection_lost(c);
	if (link->state != LINK_UP)
		return try_again_later(c, "it closed the connection");
	begin(c, true);
	connection_drop_socket(c);
	link->n_restarts = 0;
	link->restarted = 0;
	link->state = LINK_DOWN;
	return connect_anew(c);
}

/* ---- Resuming ------------------------------------------------------------------------------ */

/* -EAGAIN: as soon as there is room in the socket. */
static int send_resume(struct kvmattr *c)
{
	struct link *link = &c->link;
	struct vmm_executor *executor = &c->executor;
	bool brings_views = link->is_new && (c->is_owner || c->is_registering);
	struct wire_resume resume = { .session = link->session,
				      .answered = c->updates.answered,
				      .restarted = link->restarted,
				      .n_views = brings_views ? executor->n_views : 0 };
	struct iovec parts[2] = {
		{ &resume, sizeof(resume) },
		{ executor->views, resume.n_views * sizeof(*executor->views) },
	};
	int r;

	if (brings_views) {
		r = vmm_executor_offer(c);
		if (r)
			return try_again_later(c, strerror(-r));
	}
	memcpy(resume.token, link->token, sizeof(resume.token));
	link->request_id = connection_next_id(c);
	resume.header =
		wire_header_make(WIRE_RESUME, sizeof(resume) + parts[1].iov_len, link->request_id);
	r = seqpacket_send(c->socket, parts, brings_views ? 2 : 1, executor->offered,
			   brings_views ? executor->n_offered : 0, MSG_DONTWAIT);
	vmm_executor_close_offer(c);
	/* Of any other error, what is received says more. */
	link->is_sent = r != -EAGAIN;
	connection_watch_room(c, !link->is_sent);
	return link->is_sent ? 0 : -EAGAIN;
}

static int begin_resuming(struct kvmattr *c)
{
	int r;

	c->link.state = LINK_RESUMING;
	set_timer(c, c->link.deadline_ns);
	r = send_resume(c);
	return r == -EAGAIN ? 0 : r;
}

int resume_after_restart(struct kvmattr *c, const struct wire_header *header)
{
	struct wire_restarted restarted;
	const char *wrong = wire_get_restarted(c->received, header->size, &restarted);
	struct link *link = &c->link;

	if (wrong)
		return connection_break_protocol(c, header->type, wrong);
	link->n_restarts++;
	link->restarted = header->id;
	if (link->state == LINK_UP && !has_session(c)) {
		if (c->request.state != REQUEST_AWAITED || c->request.type != WIRE_HELLO)
			return connection_lost(c);
		/* An agent's socket whose hello an earlier daemon took: greeted again, then resumed. */
		c->request.state = REQUEST_UNSENT;
		return 0;
	}
	if (link->state == LINK_UP) {
		begin(c, false);
		return begin_resuming(c);
	}
	if (link->state != LINK_RESUMING)
		return connection_break_protocol(c, header->type, "header.type");
	/* The socket is known to be the session's, and so is what came with a RESUME on it. */
	link->is_new = false;
	return begin_resuming(c);
}

int resume_after_greeting(struct kvmattr *c)
{
	if (!c->link.n_restarts || !has_session(c))
		return 0;
	begin(c, false);
	return begin_resuming(c);
}

int resume_wait(struct kvmattr *c)
{
	struct link *link = &c->link;
	uint64_t now = now_ns();

	if (now >= link->deadline_ns)
		return give_up(c);
	if (link->state == LINK_DOWN && now >= link->retry_ns)
		return connect_anew(c);
	if (link->state == LINK_RESUMING && !link->is_sent)
		return send_resume(c);
	return -EAGAIN;
}

static int take_welcome(struct kvmattr *c, const struct wire_header *header)
{
	struct link *link = &c->link;
	struct wire_welcome welcome;
	const char *wrong = connection_get_welcome(c, header->size, &welcome);

	if (!wrong && header->id != link->request_id)
		wrong = "header.id";
	if (wrong)
		return connection_break_protocol(c, header->type, wrong);
	link->new_session = welcome.session;
	memcpy(link->new_token, welcome.token, sizeof(link->new_token));
	link->within_ms = welcome.resume_within_ms;
	updates_limit(c, welcome.max_updates_in_flight);
	return begin_resuming(c);
}

static void come_up(struct kvmattr *c)
{
	c->link.state = LINK_UP;
	set_timer(c, NEVER);
}

/* What is due goes out as far as the socket takes it; the rest when somebody pushes on. */
static int push_on(struct kvmattr *c)
{
	int r = connection_push(c);

	if (c->link.state == LINK_UP)
		connection_watch_room(c, r == -EAGAIN);
	return r == -EAGAIN ? 0 : r;
}

/* The registration was complete when the daemon died: its answer is this. */
static void answer_registration(struct kvmattr *c, const struct wire_header *header)
{
	c->request.reply_type = WIRE_RESUMED;
	c->request.reply_size = header->size;
	c->request.state = REQUEST_ANSWERED;
}

static int take_resumed(struct kvmattr *c, const struct wire_header *header)
{
	struct link *link = &c->link;
	struct wire_resumed resumed;
	const char *wrong = wire_get_resumed(c->received, header->size, &resumed);

	if (!wrong && (header->id != link->request_id || !link->is_sent))
		wrong = "header.id";
	/* It has what was answered and what a daemon had settled before, and nothing that none got. */
	if (!wrong && (resumed.settled < c->updates.answered || resumed.settled < link->settled ||
		       resumed.settled > c->outbox.handed))
		wrong = "settled";
	if (!wrong && (resumed.executor != 0) != (c->is_owner || c->is_registering))
		wrong = "executor";
	if (!wrong && c->is_owner)
		wrong = owner_check_resumed(c, &resumed);
	if (wrong)
		return connection_break_protocol(c, header->type, wrong);
	link->settled = resumed.settled;
	outbox_rewind(&c->outbox, resumed.settled);
	come_up(c);
	if (c->is_registering)
		answer_registration(c, header);
	return push_on(c);
}

int resume_take(struct kvmattr *c, const struct wire_header *header)
{
	if (header->type == WIRE_WELCOME && c->link.state == LINK_GREETING)
		return take_welcome(c, header);
	if (header->type == WIRE_RESUMED && c->link.state == LINK_RESUMING)
		return take_resumed(c, header);
	return connection_break_protocol(c, header->type, "header.type");
}

/* The registration had not come far enough to be known: it begins anew, as this session's. */
static int register_again(struct kvmattr *c)
{
	struct link *link = &c->link;
	int r;

	if (link->is_new) {
		link->session = link->new_session;
		memcpy(link->token, link->new_token, sizeof(link->token));
	}
	r = vmm_executor_offer(c);
	if (r)
		return connection_break(c, r, KVMATTR_NO_VM,
					"cannot make the executor's socket again: %s",
					strerror(-r));
	come_up(c);
	return push_on(c);
}

/* Whoever took the room may not keep it; and the session waits, as long as the VM does. */
bool resume_is_put_off(struct kvmattr *c, const struct wire_notice *notice)
{
	const struct link *link = &c->link;

	return link->state != LINK_UP && link->is_new && notice->status == KVMATTR_LIMIT_EXCEEDED &&
	       !try_again_later(c, "it has no room for this session so far (max-sessions, "
				   "max-sessions-per-user, LimitNOFILE)");
}

int resume_take_refusal(struct kvmattr *c, const struct wire_notice *notice, const char *text)
{
	const struct link *link = &c->link;

	if (link->state != LINK_RESUMING || notice->header.id != link->request_id || !link->is_sent)
		return connection_break_protocol(c, notice->header.type, "header.id");
	if (c->is_registering && notice->status == KVMATTR_NO_SESSION)
		return register_again(c);
	return connection_break(c, -EPIPE, (enum kvmattr_status)notice->status,
				"the connection to kvmattrd was lost, and it does not take up this "
				"session again: %s",
				text);
}

/* ---- For an application that makes no call --------------------------------------------------- */

enum next { NOTHING, FOR_THE_LINK, FOR_THE_APPLICATION };

/*
 * What has come, unread.  An answer is the application's, unless the socket has ended behind it:
 * then the next daemon answers again, or it does not matter any more.
 */
static enum next look_ahead(const struct kvmattr *c)
{
	struct pollfd end = { .fd = c->socket, .events = POLLRDHUP };
	struct wire_header header;
	ssize_t n = recv(c->socket, &header, sizeof(header), MSG_PEEK | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? NOTHING : FOR_THE_LINK;
	if ((size_t)n < sizeof(header) || header.type != WIRE_ANSWER || poll(&end, 1, 0) == 1)
		return FOR_THE_LINK;
	return FOR_THE_APPLICATION;
}

bool resume_drive(struct kvmattr *c)
{
	enum next next = FOR_THE_LINK;
	int r = 0;

	c->is_driven = true;
	while (!r && !c->broken && next == FOR_THE_LINK) {
		if (c->link.state == LINK_UP)
			next = look_ahead(c);
		if (next == FOR_THE_LINK)
			r = connection_take(c, MSG_DONTWAIT);
	}
	c->is_driven = false;
	return next != FOR_THE_APPLICATION;
}
