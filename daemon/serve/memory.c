/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "memory.h"

#include "daemon/allocate.h"
#include "hosted-vm.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

/* The sessions' part of each limit. */
#define SESSIONS_PART 8
/* Of that, what one VM's sessions and one session may have, and how much there is to it at most. */
#define VM_PART           4
#define SESSION_PART      16
#define MAX_VM_BYTES      (UINT64_C(64) << 20)
#define MAX_SESSION_BYTES (UINT64_C(4) << 20)

struct memory {
	struct daemon *daemon;
	struct session_list short_of_it; /* sessions that are not read, the longest first */
	struct event *again;
	struct event *give_back;
};

/* Since something large was freed last. */
static const struct timeval quiet = { 5, 0 };

static void give_back(evutil_socket_t unused, short events, void *argument)
{
	(void)unused;
	(void)events;
	(void)argument;
	malloc_trim(0);
}

static void look_again(evutil_socket_t unused, short events, void *argument)
{
	struct memory *memory = argument;
	struct session *session, *next;

	(void)unused;
	(void)events;
	for (session = TAILQ_FIRST(&memory->short_of_it); session; session = next) {
		next = TAILQ_NEXT(session, short_of_memory);
		session_read_or_pause(session);
	}
}

struct memory *memory_new(struct daemon *daemon)
{
	struct memory *memory = allocate_one(struct memory);

	memory->daemon = daemon;
	TAILQ_INIT(&memory->short_of_it);
	memory->again = event_new(daemon->base, -1, 0, look_again, memory);
	memory->give_back = evtimer_new(daemon->base, give_back, NULL);
	return memory;
}

void memory_free(struct memory *memory)
{
	if (!memory)
		return;
	event_free(memory->again);
	event_free(memory->give_back);
	free(memory);
}

void memory_look_again(struct memory *memory)
{
	if (!TAILQ_EMPTY(&memory->short_of_it))
		event_active(memory->again, EV_TIMEOUT, 0);
}

/* ---- What is held ---------------------------------------------------------------------------- */

uint64_t memory_held_by(const struct daemon *daemon, enum user_thing thing)
{
	const uint64_t *n_bytes = daemon->users.n_bytes;

	return thing == USER_SESSION ? n_bytes[USER_SESSION] + n_bytes[USER_NEW_SESSION] +
					       n_bytes[USER_AWAITED_SESSION]
				     : n_bytes[thing];
}

uint64_t memory_held(const struct daemon *daemon)
{
	uint64_t n_bytes = 0;

	for (unsigned int i = 0; i < USER_N_THINGS; i++)
		n_bytes += daemon->users.n_bytes[i];
	return n_bytes;
}

/* Of a part of the limits: held by all and by one user, and how much may be. */
struct account {
	uint64_t held, max;
	uint64_t held_by_user, max_by_user;
};

static bool is_limited(uid_t uid)
{
	return uid != 0 && uid != geteuid();
}

static struct account account_of(const struct daemon *daemon, uid_t uid, bool is_sessions)
{
	const struct daemon_limits *limits = &daemon->limits;
	const uint64_t *held_by_user = users_held(&daemon->users, uid);
	struct account account = {
		.max = limits->max_memory_bytes / SESSIONS_PART,
		.max_by_user = is_limited(uid) ? limits->max_memory_bytes_per_user / SESSIONS_PART
					       : UINT64_MAX,
	};

	if (!is_sessions) {
		account.max = limits->max_memory_bytes - account.max;
		if (is_limited(uid))
			account.max_by_user =
				limits->max_memory_bytes_per_user - account.max_by_user;
	}
	for (unsigned int i = 0; i < USER_N_THINGS; i++) {
		if ((i == USER_SESSION || i == USER_NEW_SESSION) != is_sessions)
			continue;
		account.held += daemon->users.n_bytes[i];
		account.held_by_user += held_by_user[i];
	}
	return account;
}

static uint64_t left(uint64_t max, uint64_t held)
{
	return held < max ? max - held : 0;
}

static uint64_t room_in(const struct account *account)
{
	const uint64_t whole = left(account->max, account->held);
	const uint64_t users = left(account->max_by_user, account->held_by_user);

	return users < whole ? users : whole;
}

/* ---- All but sessions ------------------------------------------------------------------------ */

uint64_t memory_room(const struct daemon *daemon, uid_t uid)
{
	const struct account account = account_of(daemon, uid, false);

	return room_in(&account);
}

bool memory_allow(const struct daemon *daemon, uid_t uid, uint64_t n_bytes, char *text, size_t size,
		  const char **ret_setting)
{
	const struct account account = account_of(daemon, uid, false);
	const bool is_users = left(account.max_by_user, account.held_by_user) < n_bytes;

	if (room_in(&account) >= n_bytes)
		return true;
	/* the answer to an update has room for 111 bytes of it */
	if (is_users)
		snprintf(text, size,
			 "user %u holds %" PRIu64 " of %" PRIu64
			 " MiB (7/8 of max-memory-mib-per-user); reset a layer or release a VM",
			 uid, account.held_by_user >> 20, account.max_by_user >> 20);
	else
		snprintf(text, size,
			 "the daemon holds %" PRIu64 " of %" PRIu64
			 " MiB (7/8 of max-memory-mib); reset a layer or release a VM",
			 account.held >> 20, account.max >> 20);
	if (ret_setting)
		*ret_setting = is_users ? "max-memory-mib-per-user" : "max-memory-mib";
	return false;
}

/* ---- Sessions -------------------------------------------------------------------------------- */

void memory_charge_session(struct session *session)
{
	struct memory *memory = session->daemon->memory;
	const uint64_t before = session->charge.n_bytes;
	const uint64_t n_bytes = session->n_bytes +
				 session->failures_capacity * sizeof(*session->failures) +
				 (session->unsent ? session->unsent_size : 0);

	users_hold(&session->daemon->users, &session->charge, n_bytes);
	if (n_bytes < before)
		memory_look_again(memory);
}

static uint64_t min(uint64_t one, uint64_t other)
{
	return one < other ? one : other;
}

/* What may be under way of all sessions of the user. */
static uint64_t users_part(const struct account *account)
{
	return min(account->max, account->max_by_user);
}

bool memory_lets_read(const struct session *session)
{
	const struct account account = account_of(session->daemon, session->uid, true);

	return room_in(&account) &&
	       session->n_bytes < min(MAX_SESSION_BYTES, users_part(&account) / SESSION_PART);
}

bool memory_lets_keep(const struct session *session)
{
	const struct account account = account_of(session->daemon, session->uid, true);

	return account.held < account.max / 2 && account.held_by_user < account.max_by_user / 2;
}

bool memory_lets_read_vm(const struct hosted_vm *hosted)
{
	const struct account account = account_of(hosted->daemon, users_uid(&hosted->charge), true);

	return hosted->n_bytes < min(MAX_VM_BYTES, users_part(&account) / VM_PART);
}

void memory_await(struct session *session, bool is_read)
{
	struct session_list *list = &session->daemon->memory->short_of_it;
	const bool is_short = !is_read && session->socket >= 0 && !memory_lets_read(session);

	if (is_short == session->is_short_of_memory)
		return; /* in its place */
	session->is_short_of_memory = is_short;
	if (is_short)
		TAILQ_INSERT_TAIL(list, session, short_of_memory);
	else
		TAILQ_REMOVE(list, session, short_of_memory);
}

void memory_give_back_soon(struct memory *memory)
{
	if (memory)
		event_add(memory->give_back, &quiet);
}
