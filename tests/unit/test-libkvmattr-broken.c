/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libkvmattr and daemons that go away, refuse, or break the protocol; and questions, whose
 * answers are the more to be doubted.
 */
#include "tests/unit/libkvmattr-checks.h"
#include "tests/unit/scripted-daemon.h"

#include <kvmattr.h>

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

/* ---- The end of a connection --------------------------------------------------------------- */

/* From now on every call says the same, and completes nothing twice. */
static void expect_broken(struct kvmattr *c, int error)
{
	const struct kvmattr_range range = { 0, 1 };
	struct kvmattr_update update = protect_pages(1);
	struct kvmattr_explanation explanation;
	struct kvmattr_run run;
	size_t before = n_completions, n = 7;
	char message[256];
	uint64_t next;
	int fd;

	snprintf(message, sizeof(message), "%s", kvmattr_message(c));
	ck_assert_int_eq(kvmattr_submit(c, &update, record, NULL, NULL), error);
	ck_assert_int_eq(kvmattr_do_update(c, &update, NULL), error);
	ck_assert_int_eq(kvmattr_flush(c), error);
	ck_assert_int_eq(kvmattr_wait(c), error);
	ck_assert_int_eq(kvmattr_dispatch(c), error);
	ck_assert_int_eq(kvmattr_protect(c, 1, 1, KVMATTR_R, gfns, 1, &n), error);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(kvmattr_query(c, 0, range, &run, 1, &n, &next), error);
	ck_assert_int_eq(kvmattr_explain(c, 0, 1, KVMATTR_READ, &explanation), error);
	ck_assert_int_eq(kvmattr_open_agent(c, 1, 0, &fd), error);
	ck_assert_uint_eq(kvmattr_in_flight(c), 0);
	ck_assert_uint_eq(n_completions, before);
	ck_assert_str_eq(kvmattr_message(c), message);
}

static void close_with_updates_under_way(struct scripted_daemon *d)
{
	daemon_welcome(d, ANY_WINDOW);
	daemon_receive_updates(d, 10);
	daemon_send_answer(d, 4, 1, NULL, 0);
}

START_TEST(a_daemon_that_closes_leaves_no_update_without_an_outcome)
{
	struct scripted_daemon *d = daemon_start(close_with_updates_under_way, 0);
	struct kvmattr *c = connect_to(d);

	submit(c, 10, 1);
	ck_assert_int_eq(kvmattr_wait(c), -EPIPE);
	expect_message(c, "without saying why");
	ck_assert_uint_eq(n_completions, 10);
	for (size_t i = 0; i < 10; i++) {
		ck_assert_uint_eq(completions[i].seqno, i + 1);
		ck_assert_int_eq(completions[i].status, i < 4 ? KVMATTR_OK : KVMATTR_NO_VM);
		ck_assert_uint_eq(completions[i].n_in_force, i < 4 ? 1 : 0);
	}
	expect_broken(c, -EPIPE);
	kvmattr_close(c);
	ck_assert_uint_eq(n_completions, 10);
	daemon_end(d);
}
END_TEST

static const struct {
	uint16_t type;
	enum kvmattr_status status;
	bool closing;
	int expected;
	const char *text, *expected_text;
} endings[] = {
	{ WIRE_BYE, KVMATTR_EXECUTOR_STUCK, true, KVMATTR_EXECUTOR_STUCK, "VM win is stuck",
	  "VM win is stuck" },
	{ WIRE_BYE, KVMATTR_OK, false, KVMATTR_NO_VM, "the owner is gone", "the owner is gone" },
	{ WIRE_BYE, KVMATTR_NO_VM, true, KVMATTR_NO_VM, "", "there is no such VM" },
	{ WIRE_ERROR, KVMATTR_PROTOCOL_ERROR, true, KVMATTR_PROTOCOL_ERROR, "update.kind is wrong",
	  "update.kind is wrong" },
};

static void say_goodbye_first(struct scripted_daemon *d)
{
	daemon_welcome(d, ANY_WINDOW);
	daemon_receive_updates(d, 3);
	daemon_send_notice(d, endings[d->variant].type, 0, endings[d->variant].status,
			   endings[d->variant].closing, endings[d->variant].text);
}

START_TEST(a_daemons_last_words_are_the_outcome_of_what_was_under_way)
{
	struct scripted_daemon *d = daemon_start(say_goodbye_first, _i);
	struct kvmattr *c = connect_to(d);

	submit(c, 3, 1);
	ck_assert_int_eq(kvmattr_wait(c), -EPIPE);
	expect_message(c, endings[_i].expected_text);
	expect_completions(3, endings[_i].expected);
	ck_assert_str_eq(completions[2].text, kvmattr_message(c));
	expect_broken(c, -EPIPE);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

enum { MEET_CLOSED, MEET_RESET_SENDING, MEET_RESET_RECEIVING, N_UNHEARD };

/* Leaves an update unread, so that the peer's next call meets a reset, or just a closed socket. */
static void say_goodbye_unheard(struct scripted_daemon *d)
{
	struct pollfd readable = { .fd = d->peer, .events = POLLIN };

	daemon_welcome(d, ANY_WINDOW);
	if (d->variant != MEET_CLOSED)
		MUST(poll(&readable, 1, -1) == 1);
	daemon_send_notice(d, WIRE_BYE, 0, KVMATTR_NO_VM, true, "shutting down");
}

START_TEST(last_words_are_heard_though_the_socket_is_closed_already)
{
	struct scripted_daemon *d = daemon_start(say_goodbye_unheard, _i);
	struct kvmattr *c = connect_to(d);

	submit(c, 1, 1);
	if (_i != MEET_CLOSED)
		ck_assert_int_eq(kvmattr_flush(c), 0);
	daemon_end(d);
	submit(c, 1, 1);
	ck_assert_int_eq(_i == MEET_RESET_RECEIVING ? kvmattr_dispatch(c) : kvmattr_flush(c),
			 -EPIPE);
	ck_assert_str_eq(kvmattr_message(c), "shutting down");
	expect_completions(2, KVMATTR_NO_VM);
	kvmattr_close(c);
}
END_TEST

/* ---- Answers that break the protocol ------------------------------------------------------- */

static const char *const wrong_answers[] = {
	"header.id in its ANSWER",     /* to an update that was not sent */
	"header.id in its ANSWER",     /* to none */
	"failure.seqno in its ANSWER", /* twice the same */
	"failure.seqno in its ANSWER", /* not answered yet */
	"failure.seqno in its ANSWER", /* long answered */
	"failure.n_in_force in its ANSWER",
	"failure.status in its ANSWER",
	"failure.status in its ANSWER",
	"failure.text in its ANSWER",
	"reserved in its ANSWER",
	"n_failures in its ANSWER",
	"header.size in its ANSWER",
	"the number of descriptors in its ANSWER",
	"header.id in its ERROR", /* a refusal of no request */
	"status in its BYE",
	"text in its BYE",
	"header.size in its message",
	"header in its message",
	"header.type in its EXPLAINED",         /* nobody asked */
	"header.type in its message of type 7", /* a peer's own type */
	"the size in its message",              /* an empty one, with a descriptor */
};

static void answer_wrongly(struct scripted_daemon *d)
{
	struct {
		struct wire_answer head;
		struct wire_failure failures[2];
	} m = { .head = { .n_failures = 2 },
		.failures = { failure(7, KVMATTR_ACCESS_DENIED, 0, "no"),
			      failure(8, KVMATTR_ACCESS_DENIED, 2, "no") } };
	struct wire_notice notice = { .status = KVMATTR_NO_VM, .closing = 1 };
	size_t size = sizeof(m), n_fds = 0;
	const void *message = &m;

	daemon_welcome(d, ANY_WINDOW);
	daemon_receive_updates(d, 10);
	daemon_send_answer(d, 2, 1, NULL, 0);
	m.head.header = wire_header_make(WIRE_ANSWER, size, 9);
	notice.header = wire_header_make(WIRE_BYE, sizeof(notice), 0);
	if (d->variant >= 13 && d->variant <= 15) {
		message = &notice;
		size = sizeof(notice);
	}
	/* clang-format off */
	switch (d->variant) {
	case 0: m.head.header.id = 11; break;
	case 1: m.head.header.id = 2; break;
	case 2: m.failures[1].seqno = 7; break;
	case 3: m.failures[1].seqno = 10; break;
	case 4: m.failures[0].seqno = 2; break;
	case 5: m.failures[1].n_in_force = 3; break;
	case 6: m.failures[0].status = KVMATTR_OK; break;
	case 7: m.failures[0].status = KVMATTR_N_STATUSES; break;
	case 8: memset(m.failures[1].text, 'x', sizeof(m.failures[1].text)); break;
	case 9: m.head.reserved = 1; break;
	case 10: m.head.n_failures = UINT32_MAX; break;
	case 11: m.head.header.size = (uint32_t)(size = 24); break;
	case 12: n_fds = 1; break;
	case 13: notice.header.type = WIRE_ERROR; notice.closing = 0; break;
	case 14: notice.status = KVMATTR_N_STATUSES; break;
	case 15: memset(notice.text, 'x', sizeof(notice.text)); break;
	case 16: size--; break;
	case 17: size = 15; break;
	case 18: m.head.header.type = WIRE_EXPLAINED; break;
	case 19: m.head.header.type = WIRE_UPDATE; break;
	case 20: size = 0; n_fds = 1; break;
	}
	/* clang-format on */
	daemon_send_with_fds(d, message, size, &d->listener, n_fds);
	if (!size)
		daemon_receive_end(d, d->peer); /* of a peer that is still there */
}

START_TEST(an_answer_that_breaks_the_protocol_puts_no_update_in_force)
{
	struct scripted_daemon *d = daemon_start(answer_wrongly, _i);
	struct kvmattr *c = connect_to(d);
	int r = 0;

	submit(c, 10, 2);
	ck_assert_int_eq(kvmattr_flush(c), 0);
	submit(c, 1, 2); /* not sent: nobody may answer it */
	while (!r)
		r = kvmattr_dispatch(c);
	ck_assert_int_eq(r, -EPROTO);
	expect_message(c, wrong_answers[_i]);
	expect_message(c, "kvmattrd broke the protocol");
	ck_assert_uint_eq(n_completions, 11);
	for (size_t i = 0; i < 11; i++)
		ck_assert_int_eq(completions[i].status,
				 i < 2 ? KVMATTR_OK : KVMATTR_PROTOCOL_ERROR);
	expect_broken(c, -EPROTO);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

/* ---- Questions ----------------------------------------------------------------------------- */

static void refuse_the_first_question(struct scripted_daemon *d)
{
	struct wire_explained explained = {
		.gfn = 0x1234,
		.layer = 2,
		.denying = 0x6,
		.attributes = KVMATTR_R | KVMATTR_PRIVATE,
		.state = WIRE_PENDING,
	};
	struct wire_explain explain;

	daemon_welcome(d, ANY_WINDOW);
	daemon_receive(d, WIRE_EXPLAIN);
	daemon_send_notice(d, WIRE_ERROR, d->header.id, KVMATTR_INVALID_VTL_STATE, false,
			   "VM win has no view of VTL 3");
	daemon_receive(d, WIRE_EXPLAIN);
	MUST(!wire_get_explain(d->message, d->header.size, &explain));
	MUST(explain.vtl == 1 && explain.gfn == 0x1234 && explain.access == KVMATTR_WRITE);
	explained.header = wire_header_make(WIRE_EXPLAINED, sizeof(explained), d->header.id);
	daemon_send(d, &explained, sizeof(explained));
	daemon_receive_goodbye(d);
}

START_TEST(a_refused_question_leaves_the_connection_as_good_as_before)
{
	struct scripted_daemon *d = daemon_start(refuse_the_first_question, 0);
	struct kvmattr *c = connect_to(d);
	struct kvmattr_explanation e = { .layer = 99 };

	ck_assert_int_eq(kvmattr_explain(c, 3, 0x1234, KVMATTR_WRITE, &e),
			 KVMATTR_INVALID_VTL_STATE);
	ck_assert_str_eq(kvmattr_message(c), "VM win has no view of VTL 3");
	ck_assert_uint_eq(e.layer, 99);
	ck_assert_int_eq(kvmattr_explain(c, 1, 0x1234, KVMATTR_WRITE, &e), 0);
	ck_assert_int_eq(e.allowed, 0);
	ck_assert_uint_eq(e.layer, 2);
	ck_assert_uint_eq(e.denying, 0x6);
	ck_assert_uint_eq(e.attributes, KVMATTR_R | KVMATTR_PRIVATE);
	ck_assert_int_eq(e.state, KVMATTR_PENDING);

	/* What would not fit the fields is not cut off to something that does. */
	ck_assert_int_eq(kvmattr_explain(c, 256, 1, KVMATTR_READ, &e), KVMATTR_INVALID_PARAMETER);
	ck_assert_int_eq(kvmattr_explain(c, 0, 1, 0x101, &e), KVMATTR_INVALID_PARAMETER);
	ck_assert_int_eq(kvmattr_explain(c, 0, 1, 0, &e), KVMATTR_INVALID_PARAMETER);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void explain_something_else(struct scripted_daemon *d)
{
	struct wire_explained explained = { .gfn = d->variant ? 5 : 6,
					    .attributes = d->variant ? 0x20 : 0 };

	daemon_welcome(d, ANY_WINDOW);
	daemon_receive(d, WIRE_EXPLAIN);
	explained.header = wire_header_make(WIRE_EXPLAINED, sizeof(explained), d->header.id);
	daemon_send(d, &explained, sizeof(explained));
}

START_TEST(an_explanation_of_another_page_or_with_unknown_attributes_is_EPROTO)
{
	struct scripted_daemon *d = daemon_start(explain_something_else, _i);
	struct kvmattr *c = connect_to(d);
	struct kvmattr_explanation e;

	ck_assert_int_eq(kvmattr_explain(c, 0, 5, KVMATTR_READ, &e), -EPROTO);
	expect_message(c, _i ? "attributes in its EXPLAINED" : "gfn in its EXPLAINED");
	expect_broken(c, -EPROTO);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static const char *const wrong_runs[] = {
	NULL,                      /* right */
	"next_gfn in its RUNS",    /* no progress: asked for ever */
	"next_gfn in its RUNS",    /* past the end */
	"run.gfn in its RUNS",     /* before the range */
	"run.gfn in its RUNS",     /* out of order */
	"run.n_pages in its RUNS", /* past next_gfn, wrapping around */
	"run.n_pages in its RUNS", /* empty */
	"run.attributes in its RUNS",
	"run.state in its RUNS",
	"n_runs in its RUNS", /* more than there is room for */
	"reserved in its RUNS",
};

static void send_runs(struct scripted_daemon *d)
{
	struct {
		struct wire_runs head;
		struct wire_run runs[3];
	} m = { .head = { .next_gfn = 160, .commit = 9, .n_runs = 2 },
		.runs = { { 100, 20, KVMATTR_RX, WIRE_IN_FORCE },
			  { 130, 30, KVMATTR_PRIVATE, WIRE_UNKNOWN } } };
	size_t size = sizeof(m.head) + 2 * sizeof(m.runs[0]);
	struct wire_query query;

	daemon_welcome(d, ANY_WINDOW);
	daemon_receive(d, WIRE_QUERY);
	MUST(!wire_get_query(d->message, d->header.size, &query));
	MUST(query.gfn == 100 && query.n_pages == 100 && query.vtl == 1 && query.max_runs == 2);
	/* clang-format off */
	switch (d->variant) {
	case 1: m.head.next_gfn = 100; m.head.n_runs = 0; size = sizeof(m.head); break;
	case 2: m.head.next_gfn = 201; break;
	case 3: m.runs[0].gfn = 99; break;
	case 4: m.runs[1].gfn = 119; break;
	case 5: m.runs[1].n_pages = UINT64_MAX - 2; break;
	case 6: m.runs[0].n_pages = 0; break;
	case 7: m.runs[0].attributes = 0x100; break;
	case 8: m.runs[1].state = 3; break;
	case 9: m.head.n_runs = 3; size += sizeof(m.runs[0]); break;
	case 10: m.head.reserved = 1; break;
	}
	/* clang-format on */
	m.head.header = wire_header_make(WIRE_RUNS, size, d->header.id);
	daemon_send(d, &m, size);
	if (!d->variant)
		daemon_receive_goodbye(d);
}

START_TEST(runs_are_in_order_and_in_the_range_that_was_asked_or_EPROTO)
{
	struct scripted_daemon *d = daemon_start(send_runs, _i);
	struct kvmattr *c = connect_to(d);
	struct kvmattr_run runs[2] = { 0 };
	uint64_t next = 0;
	size_t n = 0;
	int r = kvmattr_query(c, 1, (struct kvmattr_range){ 100, 100 }, runs, 2, &n, &next);

	if (wrong_runs[_i]) {
		ck_assert_int_eq(r, -EPROTO);
		expect_message(c, wrong_runs[_i]);
		ck_assert_uint_eq(n, 0);
	} else {
		ck_assert_int_eq(r, 0);
		ck_assert_uint_eq(n, 2);
		ck_assert_uint_eq(next, 160);
		ck_assert_uint_eq(runs[1].range.gfn, 130);
		ck_assert_uint_eq(runs[1].range.n_pages, 30);
		ck_assert_uint_eq(runs[0].attributes, KVMATTR_RX);
		ck_assert_uint_eq(runs[1].attributes, KVMATTR_PRIVATE);
		ck_assert_int_eq(runs[0].state, KVMATTR_IN_FORCE);
		ck_assert_int_eq(runs[1].state, KVMATTR_UNKNOWN);
	}
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void hear_nothing(struct scripted_daemon *d)
{
	daemon_welcome(d, ANY_WINDOW);
	daemon_receive_goodbye(d);
}

START_TEST(a_question_that_makes_no_sense_is_refused_and_not_sent)
{
	struct scripted_daemon *d = daemon_start(hear_nothing, 0);
	struct kvmattr *c = connect_to(d);
	const struct kvmattr_range wrong[] = {
		{ 0, 0 }, { KVMATTR_GFN_LIMIT, 1 }, { KVMATTR_GFN_LIMIT - 1, 2 }, { 1, UINT64_MAX }
	};
	struct kvmattr_run run;
	uint64_t next;
	size_t n;

	for (int i = 0; i < N(wrong); i++)
		ck_assert_int_eq(kvmattr_query(c, 0, wrong[i], &run, 1, &n, &next),
				 KVMATTR_INVALID_PARAMETER);
	ck_assert_int_eq(kvmattr_query(c, 16, (struct kvmattr_range){ 0, 1 }, &run, 1, &n, &next),
			 KVMATTR_INVALID_PARAMETER);
	ck_assert_int_eq(kvmattr_query(c, 0, (struct kvmattr_range){ 0, 1 }, &run, 0, &n, &next),
			 KVMATTR_INVALID_PARAMETER);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

int main(void)
{
	TCase *endings_case = checks_make_case("the end of a connection");
	TCase *answers = checks_make_case("answers");
	TCase *questions = checks_make_case("questions");

	tcase_add_test(endings_case, a_daemon_that_closes_leaves_no_update_without_an_outcome);
	tcase_add_loop_test(endings_case,
			    a_daemons_last_words_are_the_outcome_of_what_was_under_way, 0,
			    N(endings));
	tcase_add_loop_test(endings_case, last_words_are_heard_though_the_socket_is_closed_already,
			    0, N_UNHEARD);
	tcase_add_loop_test(answers, an_answer_that_breaks_the_protocol_puts_no_update_in_force, 0,
			    N(wrong_answers));
	tcase_add_test(questions, a_refused_question_leaves_the_connection_as_good_as_before);
	tcase_add_loop_test(questions,
			    an_explanation_of_another_page_or_with_unknown_attributes_is_EPROTO, 0,
			    2);
	tcase_add_loop_test(questions, runs_are_in_order_and_in_the_range_that_was_asked_or_EPROTO,
			    0, N(wrong_runs));
	tcase_add_test(questions, a_question_that_makes_no_sense_is_refused_and_not_sent);
	return checks_run("libkvmattr-broken",
			  (TCase *[]){ endings_case, answers, questions, NULL });
}
