/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libkvmattr and a daemon that dies and comes back: at any moment, in every way, and the application
 * notices a pause.
 *
 * Daemons that come back with claims that cannot be true, or not at all, are in
 * test-libkvmattr-resume-broken.c, owners with their executors in test-libkvmattr-resume-owner.c.
 */
#include "tests/unit/libkvmattr-checks.h"
#include "tests/unit/mortal-daemon.h"
#include "tests/unit/scripted-daemon.h"

#include <kvmattr.h>

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Between the test and its daemon. */
static atomic_bool is_filled, is_told;

/* ---- At every moment ----------------------------------------------------------------------- */

#define N_UPDATES 40
#define QUESTION  23

static void submit_mortal(struct kvmattr *c, uint64_t seqno)
{
	uint64_t pages[MORTAL_MAX_PAGES], submitted = 0;
	struct kvmattr_update update = mortal_update(seqno, pages);

	ck_assert_int_eq(kvmattr_submit(c, &update, record, (void *)(uintptr_t)seqno, &submitted),
			 0);
	ck_assert_uint_eq(submitted, seqno);
}

static void ask(struct kvmattr *c, uint64_t gfn)
{
	struct kvmattr_explanation explanation = { 0 };

	ck_assert_int_eq(kvmattr_explain(c, 0, gfn, KVMATTR_WRITE, &explanation), 0);
	ck_assert_uint_eq(explanation.denying, mortal_denying(gfn));
}

/* Every call waits. */
static void play_blocking(struct kvmattr *c)
{
	for (uint64_t seqno = 1; seqno <= N_UPDATES; seqno++) {
		submit_mortal(c, seqno);
		if (seqno % 4 == 0)
			ck_assert_int_eq(kvmattr_flush(c), 0);
		if (seqno == QUESTION)
			ask(c, seqno);
	}
	ck_assert_int_eq(kvmattr_wait(c), 0);
}

/* Nothing waits but poll(). */
static void play_event_loop(struct kvmattr *c)
{
	struct pollfd readable = { .fd = kvmattr_fd(c), .events = POLLIN };
	uint64_t seqno = 0;

	while (seqno < N_UPDATES || kvmattr_in_flight(c)) {
		while (seqno < N_UPDATES && kvmattr_in_flight(c) < 20) {
			submit_mortal(c, ++seqno);
			if (seqno % 4 == 0)
				ck_assert_int_eq(kvmattr_flush(c), 0);
		}
		ck_assert_int_eq(poll(&readable, 1, -1), 1);
		ck_assert_int_eq(kvmattr_dispatch(c), 0);
	}
	ck_assert_int_eq(kvmattr_fd(c), readable.fd);
}

static void expect_every_outcome_once(void)
{
	ck_assert_uint_eq(n_completions, N_UPDATES);
	for (uint64_t seqno = 1; seqno <= N_UPDATES; seqno++) {
		const struct completion *done = &completions[seqno - 1];
		uint32_t n_in_force;
		int status = mortal_outcome(seqno, &n_in_force);

		ck_assert_uint_eq(done->context, seqno);
		ck_assert_uint_eq(done->seqno, seqno);
		ck_assert_int_eq(done->status, status);
		ck_assert_uint_eq(done->n_in_force, n_in_force);
		ck_assert_uint_ge(done->commit, mortal_commit(seqno));
	}
}

/* Returns whether the daemon died as often as it was to. */
static bool survive(struct mortal_daemon m, void (*play)(struct kvmattr *))
{
	struct scripted_daemon *d = daemon_start_resumable(mortal_daemon_script, 0, &m);
	struct kvmattr *c = connect_to(d);

	n_completions = 0;
	play(c);
	ask(c, N_UPDATES);
	kvmattr_close(c);
	daemon_end(d);
	expect_every_outcome_once();
	return m.n_deaths == (m.dies_at ? 1u : 0u) + (m.dies_again_at ? 1u : 0u);
}

static void (*const plays[])(struct kvmattr *) = { play_blocking, play_event_loop };
#define N_PLAYS       N(plays)
#define N_DEATH_CASES (N_DEATHS * N_PLAYS)

START_TEST(a_daemon_that_dies_at_any_moment_is_a_pause)
{
	struct mortal_daemon m = { .death = (enum death)(_i / N_PLAYS),
				   .window = 32,
				   .last_question = N_UPDATES };

	ck_assert(survive(m, plays[_i % N_PLAYS]));
	for (m.dies_at = 1; survive(m, plays[_i % N_PLAYS]); m.dies_at++)
		;
	/* The last one was after the last moment of the conversation. */
	ck_assert_uint_gt(m.dies_at, 30);
}
END_TEST

START_TEST(a_daemon_that_dies_again_while_it_comes_back_is_a_longer_pause)
{
	struct mortal_daemon m = { .death = (enum death)(_i / N_PLAYS),
				   .window = 32,
				   .last_question = N_UPDATES };

	for (m.dies_again_at = 1; m.dies_again_at <= 5; m.dies_again_at++) {
		for (m.dies_at = 1; survive(m, plays[_i % N_PLAYS]); m.dies_at++)
			;
		ck_assert_uint_gt(m.dies_at, 25);
	}
}
END_TEST

/* ---- Sockets that are full ------------------------------------------------------------------ */

#define N_LARGE 60 /* full messages: twenty times what a socket holds */

static void answer_all_large(struct scripted_daemon *d)
{
	daemon_receive_updates(d, N_LARGE);
	daemon_send_answer(d, N_LARGE, 2, NULL, 0);
	daemon_receive_goodbye(d);
}

static void die_with_many_unanswered(struct scripted_daemon *d)
{
	daemon_welcome(d, ANY_WINDOW);
	daemon_receive_updates(d, N_LARGE);
	d->last_seqno = 1;
	if (d->variant % 2)
		daemon_restart(d);
	else {
		daemon_die(d);
		daemon_welcome_back(d, 0);
	}
	daemon_send_resumed(d, d->last_seqno);
	daemon_send_answer(d, d->last_seqno, 1, NULL, 0);
	answer_all_large(d);
}

static void dispatch_until_answered(struct kvmattr *c)
{
	struct pollfd readable = { .fd = kvmattr_fd(c), .events = POLLIN };

	while (kvmattr_in_flight(c)) {
		ck_assert_int_eq(poll(&readable, 1, -1), 1);
		ck_assert_int_eq(kvmattr_dispatch(c), 0);
	}
	/* It does not go on asking for attention. */
	ck_assert_int_eq(poll(&readable, 1, 0), 0);
}

START_TEST(more_than_a_socket_holds_is_sent_again_as_it_takes_it)
{
	struct scripted_daemon *d = daemon_start_resumable(die_with_many_unanswered, _i, NULL);
	struct kvmattr *c = connect_to(d);

	submit(c, N_LARGE, KVMATTR_MAX_PAGES);
	ck_assert_int_eq(kvmattr_flush(c), 0);
	if (_i < 2)
		ck_assert_int_eq(kvmattr_wait(c), 0);
	else
		dispatch_until_answered(c);
	expect_completions(N_LARGE, KVMATTR_OK);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

#define N_FILL 4 /* full messages leave no room in a socket, for RESUME neither */

static void restart_with_a_full_socket(struct scripted_daemon *d)
{
	daemon_welcome(d, ANY_WINDOW);
	daemon_receive_updates(d, 1);
	daemon_send_answer(d, 1, 1, NULL, 0);
	while (!atomic_load(&is_filled))
		usleep(1000);
	daemon_send_restarted(d);
	while (!atomic_load(&is_told))
		usleep(1000);
	/* What is in the socket is discarded, though the next message but these is RESUME. */
	for (int i = 0; i < N_FILL; i++)
		daemon_receive(d, WIRE_UPDATE);
	daemon_receive_resume(d, 0);
	daemon_send_resumed(d, 1);
	daemon_receive_updates(d, 1 + N_FILL);
	daemon_send_answer(d, 1 + N_FILL, 2, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(resume_waits_for_room_in_the_socket)
{
	struct scripted_daemon *d = daemon_start_resumable(restart_with_a_full_socket, 0, NULL);
	struct kvmattr *c = connect_to(d);
	struct pollfd readable = { .fd = kvmattr_fd(c), .events = POLLIN };

	is_filled = is_told = false;
	submit(c, 1, 1);
	ck_assert_int_eq(kvmattr_wait(c), 0);
	submit(c, N_FILL, KVMATTR_MAX_PAGES);
	ck_assert_int_eq(kvmattr_flush(c), 0);
	is_filled = true;
	ck_assert_int_eq(poll(&readable, 1, -1), 1);
	ck_assert_int_eq(kvmattr_dispatch(c), 0);
	ck_assert_int_eq(poll(&readable, 1, 0), 0);
	is_told = true;
	if (_i)
		ck_assert_int_eq(kvmattr_wait(c), 0);
	else
		dispatch_until_answered(c);
	expect_completions(1 + N_FILL, KVMATTR_OK);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

/* ---- What an application may do meanwhile ---------------------------------------------------- */

static void be_away_until_told(struct scripted_daemon *d)
{
	daemon_welcome(d, 8);
	daemon_receive_updates(d, 2);
	daemon_die(d);
	while (!atomic_load(&is_filled))
		usleep(1000);
	daemon_welcome_back(d, 0);
	daemon_send_resumed(d, 0);
	d->last_seqno = 0;
	daemon_receive_updates(d, 8);
	daemon_send_answer(d, 8, 1, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(nothing_but_a_full_window_makes_an_event_loop_wait)
{
	struct scripted_daemon *d = daemon_start_resumable(be_away_until_told, 0, NULL);
	struct kvmattr *c = connect_to(d);
	struct pollfd readable = { .fd = kvmattr_fd(c), .events = POLLIN };

	is_filled = false;
	submit(c, 2, 1);
	ck_assert_int_eq(kvmattr_flush(c), 0);
	ck_assert_int_eq(poll(&readable, 1, -1), 1);
	ck_assert_int_eq(kvmattr_dispatch(c), 0); /* it is away: connected, and not answered */
	for (int i = 0; i < 6; i++) {
		submit(c, 1, KVMATTR_MAX_PAGES);
		ck_assert_int_eq(kvmattr_flush(c), 0);
		ck_assert_int_eq(kvmattr_dispatch(c), 0);
	}
	ck_assert_uint_eq(n_completions, 0);
	is_filled = true;
	dispatch_until_answered(c);
	expect_completions(8, KVMATTR_OK);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

enum { CLOSE_DOWN, CLOSE_GREETING, CLOSE_RESUMING, CLOSE_RESTARTED, N_CLOSES };

static void come_back_too_late(struct scripted_daemon *d)
{
	daemon_welcome(d, ANY_WINDOW);
	daemon_receive_updates(d, 2);
	if (d->variant == CLOSE_DOWN)
		daemon_stop_listening(d);
	if (d->variant == CLOSE_RESTARTED)
		daemon_restart(d);
	else
		daemon_die(d);
	if (d->variant == CLOSE_GREETING) {
		daemon_accept(d);
		daemon_receive_hello(d);
	}
	if (d->variant == CLOSE_RESUMING)
		daemon_welcome_back(d, 0);
	is_filled = true;
	if (d->peer >= 0)
		daemon_receive_goodbye(d);
}

START_TEST(close_waits_for_no_daemon_and_completes_what_is_under_way)
{
	struct scripted_daemon *d = daemon_start_resumable(come_back_too_late, _i, NULL);
	struct kvmattr *c = connect_to(d);

	is_filled = false;
	submit(c, 2, 1);
	ck_assert_int_eq(kvmattr_flush(c), 0);
	while (!is_filled)
		ck_assert_int_eq(kvmattr_dispatch(c), 0);
	ck_assert_int_eq(kvmattr_dispatch(c), 0);
	kvmattr_close(c);
	expect_completions(2, KVMATTR_NO_VM);
	daemon_end(d);
}
END_TEST

static void resume_after_a_fork(struct scripted_daemon *d)
{
	daemon_welcome(d, ANY_WINDOW);
	daemon_receive_updates(d, 2);
	while (!atomic_load(&is_filled))
		usleep(1000);
	daemon_die(d);
	daemon_welcome_back(d, 0);
	daemon_send_resumed(d, 0);
	daemon_receive(d, WIRE_UPDATE);
	daemon_send_answer(d, 2, 1, NULL, 0);
	daemon_receive_goodbye(d);
}

/* The child has all of the connection's descriptors, and so keeps open what is closed here. */
START_TEST(a_child_that_lives_on_does_not_hold_up_its_parent)
{
	struct scripted_daemon *d = daemon_start_resumable(resume_after_a_fork, 0, NULL);
	struct kvmattr *c = connect_to(d);
	int status, ends[2];
	pid_t child;
	char byte;

	is_filled = false;
	submit(c, 2, 1);
	ck_assert_int_eq(kvmattr_flush(c), 0);
	ck_assert_int_eq(pipe(ends), 0);
	fflush(NULL);
	child = fork();
	if (!child) {
		close(ends[1]);
		close(d->peer); /* that is the daemon's */
		if (read(ends[0], &byte, 1) != 0)
			_exit(1);
		kvmattr_close(c);
		execl("/bin/true", "true", NULL);
		_exit(2);
	}
	close(ends[0]);
	is_filled = true;
	dispatch_until_answered(c);
	expect_completions(2, KVMATTR_OK);
	close(ends[1]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(kvmattr_dispatch(c), 0);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void greet_an_agent_of_before(struct scripted_daemon *d)
{
	struct wire_welcome welcome;

	/* The hello is taken by the one that died, or not. */
	if (d->variant)
		daemon_receive_hello(d);
	daemon_send_restarted(d);
	if (!d->variant)
		daemon_welcome(d, ANY_WINDOW);
	daemon_receive_hello(d);
	welcome = daemon_make_welcome(d, ANY_WINDOW);
	welcome.role = WIRE_ROLE_AGENT;
	daemon_send(d, &welcome, sizeof(welcome));
	MUST(daemon_receive_resume(d, 0).answered == 0);
	daemon_send_resumed(d, 0);
	daemon_receive_updates(d, 1);
	daemon_send_answer(d, 1, 1, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(an_agents_socket_that_is_older_than_the_daemon_is_greeted_and_resumed)
{
	struct scripted_daemon *d = daemon_start_resumable(greet_an_agent_of_before, _i, NULL);
	struct kvmattr *c = connect_to(d);

	submit(c, 1, 1);
	ck_assert_int_eq(kvmattr_wait(c), 0);
	expect_completions(1, KVMATTR_OK);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void shrink_the_window(struct scripted_daemon *d)
{
	daemon_welcome(d, 8);
	daemon_receive_updates(d, 1);
	daemon_die(d);
	daemon_accept(d);
	daemon_welcome_nobody(d, 2);
	daemon_receive_resume(d, 0);
	daemon_send_resumed(d, 1);
	daemon_send_answer(d, 1, 1, NULL, 0);
	for (uint64_t seqno = 3; seqno <= 9; seqno += 2) {
		daemon_receive_updates(d, seqno);
		daemon_receive_nothing(d);
		daemon_send_answer(d, seqno, seqno, NULL, 0);
	}
	daemon_receive_goodbye(d);
}

START_TEST(a_daemon_that_takes_fewer_updates_when_it_comes_back_gets_no_more)
{
	struct scripted_daemon *d = daemon_start_resumable(shrink_the_window, 0, NULL);
	struct kvmattr *c = connect_to(d);

	submit(c, 1, 1);
	ck_assert_int_eq(kvmattr_wait(c), 0);
	submit(c, 8, 1);
	ck_assert_int_eq(kvmattr_wait(c), 0);
	expect_completions(9, KVMATTR_OK);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

/* Everybody comes back at once; some have connected before, or have others' descriptors open. */
static void have_no_room(struct scripted_daemon *d)
{
	daemon_welcome(d, ANY_WINDOW);
	daemon_receive_updates(d, 2);
	for (int i = 0; i < 3; i++) {
		daemon_die(d);
		if (d->variant) {
			daemon_welcome_back(d, 0);
		} else {
			daemon_accept(d);
			daemon_receive_hello(d);
		}
		daemon_send_notice(d, WIRE_ERROR, 0, KVMATTR_LIMIT_EXCEEDED, true, "it is full");
	}
	daemon_die(d);
	daemon_welcome_back(d, 0);
	daemon_send_resumed(d, 1);
	daemon_send_answer(d, 1, 1, NULL, 0);
	d->last_seqno = 1;
	daemon_receive_updates(d, 2);
	daemon_send_answer(d, 2, 2, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(a_daemon_that_has_no_room_while_everybody_comes_back_is_asked_again)
{
	struct scripted_daemon *d = daemon_start_resumable(have_no_room, _i, NULL);
	struct kvmattr *c = connect_to(d);

	submit(c, 2, 1);
	ck_assert_int_eq(kvmattr_wait(c), 0);
	expect_completions(2, KVMATTR_OK);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

int main(void)
{
	TCase *moments = checks_make_case("every moment");
	TCase *full = checks_make_case("full sockets");
	TCase *meanwhile = checks_make_case("meanwhile");

	tcase_add_loop_test(moments, a_daemon_that_dies_at_any_moment_is_a_pause, 0, N_DEATH_CASES);
	tcase_add_loop_test(moments, a_daemon_that_dies_again_while_it_comes_back_is_a_longer_pause,
			    0, N_DEATH_CASES);
	tcase_add_loop_test(full, more_than_a_socket_holds_is_sent_again_as_it_takes_it, 0, 4);
	tcase_add_loop_test(full, resume_waits_for_room_in_the_socket, 0, 2);
	tcase_add_test(meanwhile, nothing_but_a_full_window_makes_an_event_loop_wait);
	tcase_add_loop_test(meanwhile, close_waits_for_no_daemon_and_completes_what_is_under_way, 0,
			    N_CLOSES);
	tcase_add_test(meanwhile, a_child_that_lives_on_does_not_hold_up_its_parent);
	tcase_add_loop_test(meanwhile,
			    an_agents_socket_that_is_older_than_the_daemon_is_greeted_and_resumed,
			    0, 2);
	tcase_add_test(meanwhile,
		       a_daemon_that_takes_fewer_updates_when_it_comes_back_gets_no_more);
	tcase_add_loop_test(meanwhile,
			    a_daemon_that_has_no_room_while_everybody_comes_back_is_asked_again, 0,
			    2);
	return checks_run("libkvmattr-resume", (TCase *[]){ moments, full, meanwhile, NULL });
}
