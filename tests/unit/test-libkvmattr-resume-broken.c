/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libkvmattr and daemons that come back with claims that cannot be true, that refuse, that do not
 * come back at all; and what an application may do meanwhile.
 */
#include "tests/unit/libkvmattr-checks.h"
#include "tests/unit/scripted-daemon.h"

#include <kvmattr.h>

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NEW_SOCKET, SAME_SOCKET, N_WAYS };

/* Dies, and comes back as far as the peer's RESUME. */
static struct wire_resume come_back(struct scripted_daemon *d, int way)
{
	if (way == SAME_SOCKET)
		return daemon_restart(d);
	daemon_die(d);
	return daemon_welcome_back(d, 0);
}

/* Ten updates are handed over, of which two are answered; one more is not flushed. */
static struct kvmattr *hand_over_ten(const struct scripted_daemon *d)
{
	struct kvmattr *c = connect_to(d);

	submit(c, 10, 2);
	ck_assert_int_eq(kvmattr_flush(c), 0);
	submit(c, 1, 2);
	return c;
}

static void take_ten(struct scripted_daemon *d)
{
	daemon_welcome(d, ANY_WINDOW);
	daemon_receive_updates(d, 10);
	daemon_send_answer(d, 2, 1, NULL, 0);
}

/* As an event loop does; what was not flushed stays where it is. */
static int dispatch_to_the_end(struct kvmattr *c)
{
	struct pollfd readable = { .fd = kvmattr_fd(c), .events = POLLIN };
	int r = 0;

	while (!r) {
		ck_assert_int_eq(poll(&readable, 1, -1), 1);
		r = kvmattr_dispatch(c);
	}
	return r;
}

/* Two are in force, the others ended with the connection; and each once. */
static void expect_the_end(struct kvmattr *c, int status)
{
	int r;

	ck_assert_uint_eq(n_completions, 11);
	for (size_t i = 0; i < 11; i++) {
		ck_assert_uint_eq(completions[i].context, i + 1);
		ck_assert_int_eq(completions[i].status, i < 2 ? KVMATTR_OK : status);
	}
	ck_assert_uint_eq(kvmattr_in_flight(c), 0);
	r = kvmattr_wait(c);
	ck_assert_int_lt(r, 0);
	ck_assert_int_eq(kvmattr_dispatch(c), r);
	kvmattr_close(c);
	ck_assert_uint_eq(n_completions, 11);
}

/* ---- Claims that cannot be true ------------------------------------------------------------ */

static const char *const wrong_claims[] = {
	"settled in its RESUMED", /* less than what was answered */
	"settled in its RESUMED", /* more than was handed over */
	"settled in its RESUMED", /* more than anybody submitted */
	"header.id in its RESUMED",
	"executor in its RESUMED", /* an agent has none */
	"n_views in its RESUMED",
	"executor in its RESUMED",
	"header.size in its RESUMED",
	"number of descriptors in its RESUMED",
	"header.type in its ANSWER", /* before RESUMED */
	"header.type in its WELCOME",
	"header.type in its REGISTERED",
	"header.type in its EXPLAINED",
	"header.type in its message of type 999",
	"header.id in its ERROR", /* a refusal of something else */
	"status in its ERROR",
	"header.id in its RESTARTED",
	/* behind a RESUMED that claims 5 */
	"header.type in its RESUMED",  /* another one */
	"header.id in its ANSWER",     /* for more than it settled, which was not handed over yet */
	"failure.seqno in its ANSWER", /* for an update that was answered before */
	"header.type in its WELCOME",
};
#define FIRST_BEHIND_RESUMED 17

static void claim_wrongly_before_resumed(struct scripted_daemon *d, int claim)
{
	struct {
		struct wire_resumed head;
		struct wire_view view;
	} m = { .head = { .settled = 5 }, .view = { .abi = KVMATTR_ABI_DENY } };
	size_t size = sizeof(m.head), n_fds = 0;
	uint16_t type = WIRE_RESUMED;
	uint64_t id = d->header.id;

	/* clang-format off */
	switch (claim) {
	case 0: m.head.settled = 1; break;
	case 1: m.head.settled = 11; break;
	case 2: m.head.settled = UINT64_MAX; break;
	case 3: id++; break;
	case 4: m.head.executor = WIRE_EXECUTOR_VMM; m.head.n_views = 1; size = sizeof(m); break;
	case 5: m.head.n_views = 1; size = sizeof(m); break;
	case 6: m.head.executor = 3; break;
	case 7: size = sizeof(m); break;
	case 8: n_fds = 1; break;
	case 9: type = WIRE_ANSWER; id = 5; break;
	case 10: type = WIRE_WELCOME; break;
	case 11: type = WIRE_REGISTERED; break;
	case 12: type = WIRE_EXPLAINED; break;
	case 13: type = 999; break;
	case 14: daemon_send_notice(d, WIRE_ERROR, id + 1, KVMATTR_NO_SESSION, false, ""); return;
	case 15: daemon_send_notice(d, WIRE_ERROR, id, KVMATTR_OK, false, ""); return;
	case 16: type = WIRE_RESTARTED; id = 0; size = sizeof(struct wire_restarted); break;
	}
	/* clang-format on */
	m.head.header = wire_header_make(type, size, id);
	daemon_send_with_fds(d, &m, size, &d->listener, n_fds);
}

static void claim_wrongly(struct scripted_daemon *d)
{
	int way = d->variant % N_WAYS, claim = d->variant / N_WAYS;
	struct wire_failure f = failure(2, KVMATTR_ACCESS_DENIED, 0, "no");

	take_ten(d);
	MUST(come_back(d, way).answered == 2);
	if (claim < FIRST_BEHIND_RESUMED) {
		claim_wrongly_before_resumed(d, claim);
		return;
	}
	daemon_send_resumed(d, 5);
	if (claim == 17)
		daemon_send_resumed(d, 5);
	if (claim == 18)
		daemon_send_answer(d, 11, 2, NULL, 0);
	if (claim == 19)
		daemon_send_answer(d, 5, 2, &f, 1);
	if (claim == 20) {
		struct wire_welcome welcome = daemon_make_welcome(d, ANY_WINDOW);

		daemon_send(d, &welcome, sizeof(welcome));
	}
	daemon_receive(d, WIRE_UPDATE); /* of a peer that has not looked yet */
}

START_TEST(a_claim_that_cannot_be_true_ends_the_connection_and_puts_nothing_in_force)
{
	struct scripted_daemon *d = daemon_start_resumable(claim_wrongly, _i, NULL);
	struct kvmattr *c = hand_over_ten(d);

	ck_assert_int_eq(dispatch_to_the_end(c), -EPROTO);
	expect_message(c, wrong_claims[_i / N_WAYS]);
	expect_the_end(c, KVMATTR_PROTOCOL_ERROR);
	daemon_end(d);
}
END_TEST

static void claim_less_the_second_time(struct scripted_daemon *d)
{
	take_ten(d);
	come_back(d, d->variant);
	daemon_send_resumed(d, 7);
	come_back(d, d->variant);
	daemon_send_resumed(d, 6);
}

START_TEST(what_one_daemon_had_settled_its_successor_has_not_forgotten)
{
	struct scripted_daemon *d = daemon_start_resumable(claim_less_the_second_time, _i, NULL);
	struct kvmattr *c = hand_over_ten(d);

	ck_assert_int_eq(kvmattr_wait(c), -EPROTO);
	expect_message(c, "settled in its RESUMED");
	expect_the_end(c, KVMATTR_PROTOCOL_ERROR);
	daemon_end(d);
}
END_TEST

static const char *const wrong_greetings[] = {
	"version in its WELCOME",    "header.id in its WELCOME",    "header.type in its RESUMED",
	"header.type in its ANSWER", "agent_socket in its WELCOME", "header.type in its RESTARTED",
};

static void greet_wrongly(struct scripted_daemon *d)
{
	struct wire_welcome welcome;

	take_ten(d);
	daemon_die(d);
	daemon_accept(d);
	daemon_receive_hello(d);
	welcome = daemon_make_welcome(d, ANY_WINDOW);
	/* clang-format off */
	switch (d->variant) {
	case 0: welcome.version++; break;
	case 1: welcome.header.id++; break;
	case 2: daemon_send_resumed(d, 5); return;
	case 3: daemon_send_answer(d, 5, 1, NULL, 0); return;
	case 4: strcpy(welcome.agent_socket, "here"); break;
	case 5: daemon_send_restarted(d); return;
	}
	/* clang-format on */
	daemon_send(d, &welcome, sizeof(welcome));
}

START_TEST(a_wrong_greeting_when_it_comes_back_ends_the_connection)
{
	struct scripted_daemon *d = daemon_start_resumable(greet_wrongly, _i, NULL);
	struct kvmattr *c = hand_over_ten(d);

	ck_assert_int_eq(kvmattr_wait(c), -EPROTO);
	expect_message(c, wrong_greetings[_i]);
	expect_the_end(c, KVMATTR_PROTOCOL_ERROR);
	daemon_end(d);
}
END_TEST

/* ---- Refusals ------------------------------------------------------------------------------ */

static const struct {
	uint16_t type;
	enum kvmattr_status status;
	bool closing;
	bool before_resume;
} refusals[] = {
	{ WIRE_ERROR, KVMATTR_NO_SESSION, false, false },
	{ WIRE_ERROR, KVMATTR_ACCESS_DENIED, false, false },
	{ WIRE_ERROR, KVMATTR_PROTOCOL_ERROR, true, false },
	{ WIRE_BYE, KVMATTR_NO_VM, true, false },
	{ WIRE_ERROR, KVMATTR_PROTOCOL_ERROR, true, true },
	{ WIRE_BYE, KVMATTR_VERSION_MISMATCH, true, true },
	{ WIRE_BYE, KVMATTR_NO_VM, true, true },
};

static void refuse(struct scripted_daemon *d)
{
	take_ten(d);
	if (refusals[d->variant].before_resume) {
		daemon_die(d);
		daemon_accept(d);
		daemon_receive_hello(d);
	} else {
		come_back(d, d->variant % N_WAYS);
	}
	daemon_send_notice(d, refusals[d->variant].type,
			   refusals[d->variant].closing ? 0 : d->header.id,
			   refusals[d->variant].status, refusals[d->variant].closing,
			   "because of the weather");
}

START_TEST(a_daemon_that_does_not_take_the_session_up_again_says_why)
{
	struct scripted_daemon *d = daemon_start_resumable(refuse, _i, NULL);
	struct kvmattr *c = hand_over_ten(d);

	ck_assert_int_eq(kvmattr_wait(c), -EPIPE);
	expect_message(c, "because of the weather");
	expect_the_end(c, (int)refusals[_i].status);
	daemon_end(d);
}
END_TEST

/* ---- Not coming back ----------------------------------------------------------------------- */

enum { NOBODY_LISTENS, NO_SOCKET, SILENT, SILENT_ON_SAME_SOCKET, HANGS_UP, N_ABSENCES };

static const char *const absences[] = { "Connection refused", "No such file or directory",
					"it does not answer", "has not taken up this session again",
					"it closed the connection" };

static void stay_away(struct scripted_daemon *d)
{
	struct pollfd peer = { .fd = -1, .events = POLLRDHUP };

	d->resume_within_ms = 300;
	take_ten(d);
	switch (d->variant) {
	case NOBODY_LISTENS:
		close(d->listener);
		d->listener = -1;
		daemon_die(d);
		break;
	case NO_SOCKET:
		daemon_stop_listening(d);
		daemon_die(d);
		break;
	case SILENT:
		daemon_die(d);
		daemon_accept(d);
		peer.fd = d->peer;
		MUST(poll(&peer, 1, -1) == 1);
		break;
	case SILENT_ON_SAME_SOCKET:
		daemon_restart(d);
		peer.fd = d->peer;
		MUST(poll(&peer, 1, -1) == 1);
		break;
	case HANGS_UP:
		/* Until the peer has done with it: the test closes it then, unanswered. */
		daemon_die(d);
		for (int i = 0; i < 5; i++) {
			daemon_accept(d);
			daemon_die(d);
		}
		daemon_stop_listening(d);
		break;
	}
}

START_TEST(a_daemon_that_does_not_come_back_is_given_up_in_the_end)
{
	struct scripted_daemon *d = daemon_start_resumable(stay_away, _i, NULL);
	struct kvmattr *c = hand_over_ten(d);
	struct pollfd readable = { .fd = kvmattr_fd(c), .events = POLLIN };

	ck_assert_int_eq(kvmattr_wait(c), -EPIPE);
	if (_i != HANGS_UP)
		expect_message(c, absences[_i]);
	expect_message(c, "protections hold as they were last set");
	ck_assert_int_eq(poll(&readable, 1, 0), 1); /* for an event loop that has not heard of it */
	expect_the_end(c, KVMATTR_NO_VM);
	if (_i == NOBODY_LISTENS)
		unlink(d->path);
	daemon_end(d);
}
END_TEST

static void be_lost_for_good(struct scripted_daemon *d)
{
	struct wire_welcome welcome;

	daemon_receive_hello(d);
	welcome = daemon_make_welcome(d, ANY_WINDOW);
	welcome.role = WIRE_ROLE_AGENT;
	if (d->variant)
		memset(welcome.agent_socket, 0, sizeof(welcome.agent_socket));
	else
		welcome.resume_within_ms = 0;
	daemon_send(d, &welcome, sizeof(welcome));
	daemon_receive_updates(d, 10);
	/* On the socket that it has, both come back. */
	daemon_restart(d);
	daemon_send_resumed(d, 2);
	daemon_send_answer(d, 2, 2, NULL, 0);
	d->last_seqno = 2;
	daemon_receive_updates(d, 11);
}

START_TEST(a_daemon_that_says_no_time_or_no_path_comes_back_on_the_same_socket_or_not_at_all)
{
	struct scripted_daemon *d = daemon_start_resumable(be_lost_for_good, _i, NULL);
	struct kvmattr *c = hand_over_ten(d);

	ck_assert_int_eq(kvmattr_wait(c), -EPIPE);
	expect_message(c, "without saying why");
	expect_the_end(c, KVMATTR_NO_VM);
	daemon_end(d);
}
END_TEST

int main(void)
{
	TCase *claims = checks_make_case("claims");
	TCase *refusals_case = checks_make_case("refusals");
	TCase *absences_case = checks_make_case("absences");

	tcase_add_loop_test(
		claims, a_claim_that_cannot_be_true_ends_the_connection_and_puts_nothing_in_force,
		0, N_WAYS * N(wrong_claims));
	tcase_add_loop_test(claims, what_one_daemon_had_settled_its_successor_has_not_forgotten, 0,
			    N_WAYS);
	tcase_add_loop_test(claims, a_wrong_greeting_when_it_comes_back_ends_the_connection, 0,
			    N(wrong_greetings));
	tcase_add_loop_test(refusals_case,
			    a_daemon_that_does_not_take_the_session_up_again_says_why, 0,
			    N(refusals));
	tcase_add_loop_test(absences_case, a_daemon_that_does_not_come_back_is_given_up_in_the_end,
			    0, N_ABSENCES);
	tcase_add_loop_test(
		absences_case,
		a_daemon_that_says_no_time_or_no_path_comes_back_on_the_same_socket_or_not_at_all,
		0, 2);
	return checks_run("libkvmattr-resume-broken",
			  (TCase *[]){ claims, refusals_case, absences_case, NULL });
}
