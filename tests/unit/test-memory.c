/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who holds how much memory, and who may have more, against plain sums over all charges.
 */
#include "daemon/serve/memory.h"
#include "tests/unit/seeded-suite.h"

#include <event2/event.h>
#include <string.h>
#include <unistd.h>

#define N_STEPS  20000
#define N_THINGS 40u
#define MIB      (UINT64_C(1) << 20)

/* Users 0 and 1: root, and whose the daemon is. */
static uid_t uids[5];

static struct daemon d;

static struct thing {
	struct user_charge charge;
	bool is_there;
	uid_t uid;
	enum user_thing kind;
	uint64_t n_bytes;
} things[N_THINGS];

static void setup(void)
{
	uids[1] = geteuid();
	for (uid_t i = 2; i < N(uids); i++)
		uids[i] = 61000 + i;
	memset(&d, 0, sizeof(d));
	memset(things, 0, sizeof(things));
	d.base = event_base_new();
	turns_init(&d.turns, NULL);
	d.users.turns = &d.turns;
	d.memory = memory_new(&d);
	d.limits.max_memory_bytes = 64 * MIB;
	d.limits.max_memory_bytes_per_user = 32 * MIB;
	d.limits.max_updates_in_flight = 16;
}

static void teardown(void)
{
	memory_free(d.memory);
	event_base_free(d.base);
}

/* ---- The sums ------------------------------------------------------------------------------- */

static bool is_connected(enum user_thing kind)
{
	return kind == USER_SESSION || kind == USER_NEW_SESSION;
}

static bool is_session(enum user_thing kind)
{
	return is_connected(kind) || kind == USER_AWAITED_SESSION;
}

static uint64_t sum_of_user(uid_t uid, enum user_thing kind)
{
	uint64_t n_bytes = 0;

	for (unsigned int i = 0; i < N_THINGS; i++)
		if (things[i].is_there && things[i].uid == uid && things[i].kind == kind)
			n_bytes += things[i].n_bytes;
	return n_bytes;
}

static uint64_t sum_of_all(enum user_thing kind)
{
	uint64_t n_bytes = 0;

	for (unsigned int i = 0; i < N_THINGS; i++)
		if (things[i].is_there && (things[i].kind == kind ||
					   (kind == USER_SESSION && is_session(things[i].kind))))
			n_bytes += things[i].n_bytes;
	return n_bytes;
}

/* Of everything but sessions with a connection. */
static uint64_t sum_of_rest(const uid_t *uid)
{
	uint64_t n_bytes = 0;

	for (unsigned int i = 0; i < N_THINGS; i++)
		if (things[i].is_there && !is_connected(things[i].kind) &&
		    (!uid || things[i].uid == *uid))
			n_bytes += things[i].n_bytes;
	return n_bytes;
}

static uint64_t left(uint64_t limit, uint64_t held)
{
	const uint64_t max = limit - limit / 8;

	return held < max ? max - held : 0;
}

static uint64_t room_of(uid_t uid)
{
	const uint64_t whole = left(d.limits.max_memory_bytes, sum_of_rest(NULL));
	const uint64_t of_user = left(d.limits.max_memory_bytes_per_user, sum_of_rest(&uid));

	return uid == 0 || uid == geteuid() || whole < of_user ? whole : of_user;
}

static void expect_sums(void)
{
	uint64_t all = 0;

	for (unsigned int u = 0; u < N(uids); u++) {
		const uid_t uid = uids[u];
		const uint64_t room = room_of(uid);
		const char *setting = NULL;
		char text[256] = "";

		for (unsigned int kind = 0; kind < USER_N_THINGS; kind++)
			EXPECT(users_held(&d.users, uid)[kind] == sum_of_user(uid, kind),
			       "user %u, kind %u", uid, kind);
		EXPECT(memory_room(&d, uid) == room, "room of user %u", uid);
		EXPECT(memory_allow(&d, uid, room, text, sizeof(text), &setting) && !*text,
		       "user %u may have what there is", uid);
		EXPECT(!memory_allow(&d, uid, room + 1, text, sizeof(text), &setting) &&
			       strstr(text, setting),
		       "user %u may have more than there is: %s", uid, text);
	}
	for (unsigned int kind = 0; kind < USER_N_THINGS; kind++)
		if (kind != USER_NEW_SESSION && kind != USER_AWAITED_SESSION) {
			EXPECT(memory_held_by(&d, kind) == sum_of_all(kind), "kind %u", kind);
			all += sum_of_all(kind);
		}
	EXPECT(memory_held(&d) == all, "all of it");
}

/* ---- Random charges ------------------------------------------------------------------------- */

static void charge(struct thing *thing, uint64_t *random)
{
	thing->is_there = true;
	thing->uid = uids[random_below(random, N(uids))];
	thing->kind = (enum user_thing)random_below(random, USER_N_THINGS);
	users_charge(&d.users, thing->uid, thing->kind, &thing->charge);
}

static void hold(struct thing *thing, uint64_t *random)
{
	if (thing->is_there)
		thing->n_bytes = random_below(random, 4 * MIB);
	users_hold(&d.users, &thing->charge, random_one_in(random, 2) ? thing->n_bytes : 0);
	users_hold(&d.users, &thing->charge, thing->n_bytes);
}

static void release(struct thing *thing)
{
	users_release(&d.users, &thing->charge);
	thing->is_there = false;
	thing->n_bytes = 0;
}

START_TEST(what_is_held_and_may_be_is_what_all_charges_add_up_to)
{
	uint64_t random = seeded_suite_random(_i);

	for (int step = 0; step < N_STEPS; step++) {
		struct thing *thing = &things[random_below(&random, N_THINGS)];

		switch (random_below(&random, 4)) {
		case 0:
			charge(thing, &random); /* with what it holds already */
			break;
		case 1:
			release(thing);
			break;
		default:
			hold(thing, &random);
		}
		if (random_one_in(&random, 100)) {
			d.limits.max_memory_bytes = (16 + random_below(&random, 200)) * MIB;
			d.limits.max_memory_bytes_per_user =
				(16 + random_below(&random, 200)) * MIB;
		}
		expect_sums();
	}
	for (unsigned int i = 0; i < N_THINGS; i++)
		release(&things[i]);
	expect_sums();
	ck_assert_ptr_null(d.users.tree);
}
END_TEST

/* ---- Sessions ------------------------------------------------------------------------------- */

static struct session make_session(uid_t uid)
{
	struct session session = { .daemon = &d, .uid = uid, .socket = -1 };

	users_charge(&d.users, uid, USER_SESSION, &session.charge);
	return session;
}

static void set_bytes(struct session *session, size_t n_bytes)
{
	session->n_bytes = n_bytes;
	memory_charge_session(session);
}

START_TEST(a_session_is_read_while_there_is_room_for_its_messages)
{
	enum { N_SESSIONS = 16 };
	struct session anns[N_SESSIONS], ben = make_session(uids[3]);
	struct user_charge vm = { 0 };

	for (int i = 0; i < N_SESSIONS; i++) {
		anns[i] = make_session(uids[2]);
		ck_assert(memory_lets_read(&anns[i]));
		/* an eighth of 32 MiB, and of that a sixteenth */
		set_bytes(&anns[i], 4 * MIB / N_SESSIONS - 1);
		ck_assert(memory_lets_read(&anns[i]));
		set_bytes(&anns[i], 4 * MIB / N_SESSIONS);
		ck_assert(!memory_lets_read(&anns[i]));
	}
	/* now none of hers is, however little it has itself; and another user's is */
	set_bytes(&anns[0], 0);
	set_bytes(&anns[1], MIB / 2);
	ck_assert(!memory_lets_read(&anns[0]));
	ck_assert(memory_lets_read(&ben));
	set_bytes(&anns[1], 0);
	ck_assert(memory_lets_read(&anns[0]));
	ck_assert(!memory_lets_keep(&anns[0]));
	ck_assert(memory_lets_keep(&ben));
	/* what her VMs hold has nothing to do with it */
	users_charge(&d.users, uids[2], USER_VM, &vm);
	users_hold(&d.users, &vm, 60 * MIB);
	ck_assert(memory_lets_read(&anns[0]));
	ck_assert_uint_eq(memory_room(&d, uids[2]), 0);
	users_release(&d.users, &vm);
	for (int i = 0; i < N_SESSIONS; i++)
		users_release(&d.users, &anns[i].charge);
	users_release(&d.users, &ben.charge);
	ck_assert_uint_eq(memory_held(&d), 0);
}
END_TEST

int main(void)
{
	TCase *charges = tcase_create("charges"), *sessions = tcase_create("sessions");

	tcase_add_checked_fixture(charges, setup, teardown);
	tcase_add_checked_fixture(sessions, setup, teardown);
	tcase_add_loop_test(charges, what_is_held_and_may_be_is_what_all_charges_add_up_to, 0, 3);
	tcase_add_test(sessions, a_session_is_read_while_there_is_room_for_its_messages);
	return seeded_suite_run("memory", (TCase *const[]){ charges, sessions, NULL });
}
