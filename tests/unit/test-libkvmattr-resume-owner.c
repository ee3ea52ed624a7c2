/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libkvmattr's owner and a daemon that dies and comes back: the executor in a thread, in an event
 * loop and inside the calls; a VMM that is idle; and a registration that is interrupted.
 */
#include "tests/unit/libkvmattr-checks.h"
#include "tests/unit/mortal-daemon.h"
#include "tests/unit/pretended-vm.h"
#include "tests/unit/scripted-daemon.h"

#include <kvmattr.h>

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Between the test and its daemon. */
static atomic_bool is_ready, is_done;

static void await(atomic_bool *flag)
{
	while (!atomic_load(flag))
		usleep(1000);
}

/* Ways to come back. */
enum { NEW_SOCKET, SAME_SOCKET, N_WAYS };

static void come_back(struct scripted_daemon *d, int way, uint64_t settled)
{
	if (way == SAME_SOCKET) {
		daemon_restart(d);
	} else {
		daemon_die(d);
		daemon_welcome_back(d, PRETENDED_N_VIEWS);
	}
	daemon_send_owner_resumed(d, settled, PRETENDED_N_VIEWS, pretended_vtls, KVMATTR_ABI_DENY,
				  WIRE_EXECUTOR_VMM);
}

static void probe(struct scripted_daemon *d)
{
	struct wire_probe_result results[PRETENDED_N_VIEWS];

	daemon_probe(d, PRETENDED_N_VIEWS, results);
	MUST(results[1].cap == 7);
}

/* ---- At every moment ----------------------------------------------------------------------- */

enum { IN_A_THREAD, IN_AN_EVENT_LOOP, IN_ANOTHERS_EVENT_LOOP, IN_THE_CALLS, N_PLACES };

#define N_UPDATES 40

static void submit_mortal(struct kvmattr *c, uint64_t seqno)
{
	uint64_t pages[MORTAL_MAX_PAGES];
	struct kvmattr_update update = mortal_update(seqno, pages);

	ck_assert_int_eq(kvmattr_submit(c, &update, record, (void *)(uintptr_t)seqno, NULL), 0);
}

static void play_blocking(struct kvmattr *c)
{
	for (uint64_t seqno = 1; seqno <= N_UPDATES; seqno++) {
		submit_mortal(c, seqno);
		if (seqno % 8 == 0)
			ck_assert_int_eq(kvmattr_flush(c), 0);
		if (seqno % 16 == 0)
			usleep(100); /* others may look at the link */
	}
	ck_assert_int_eq(kvmattr_wait(c), 0);
}

static void play_event_loop(struct kvmattr *c)
{
	struct pollfd readable[] = {
		{ .fd = kvmattr_fd(c), .events = POLLIN },
		{ .fd = kvmattr_executor_fd(c), .events = POLLIN },
	};

	for (uint64_t seqno = 1; seqno <= N_UPDATES; seqno++)
		submit_mortal(c, seqno);
	ck_assert_int_eq(kvmattr_flush(c), 0);
	while (kvmattr_in_flight(c)) {
		ck_assert_int_ge(poll(readable, 2, -1), 1);
		if (readable[1].revents)
			ck_assert_int_eq(kvmattr_dispatch_executor(c), 0);
		if (readable[0].revents)
			ck_assert_int_eq(kvmattr_dispatch(c), 0);
	}
	ck_assert_int_eq(kvmattr_fd(c), readable[0].fd);
	ck_assert_int_eq(kvmattr_executor_fd(c), readable[1].fd);
}

static void *loop_beside(void *context)
{
	struct kvmattr *c = context;
	struct pollfd readable = { .fd = kvmattr_executor_fd(c), .events = POLLIN };

	while (!atomic_load(&is_done)) {
		if (poll(&readable, 1, 10) == 1)
			ck_assert_int_eq(kvmattr_dispatch_executor(c), 0);
	}
	return NULL;
}

static bool survive(struct mortal_daemon m, int place)
{
	struct scripted_daemon *d = daemon_start_resumable(mortal_daemon_script, 0, &m);
	struct kvmattr *c = connect_to(d);
	struct kvmattr_explanation explanation;
	pthread_t loop;

	n_completions = 0;
	is_done = false;
	pretended_vm_register(c, NULL);
	if (place == IN_A_THREAD)
		ck_assert_int_eq(kvmattr_start_executor(c), 0);
	if (place == IN_ANOTHERS_EVENT_LOOP)
		ck_assert_int_eq(pthread_create(&loop, NULL, loop_beside, c), 0);
	if (place == IN_AN_EVENT_LOOP)
		play_event_loop(c);
	else
		play_blocking(c);
	ck_assert_int_eq(kvmattr_explain(c, 0, N_UPDATES, KVMATTR_READ, &explanation), 0);
	is_done = true;
	if (place == IN_ANOTHERS_EVENT_LOOP)
		pthread_join(loop, NULL);
	kvmattr_close(c);
	daemon_end(d);

	ck_assert_uint_eq(n_completions, N_UPDATES);
	for (uint64_t seqno = 1; seqno <= N_UPDATES; seqno++) {
		uint32_t n_in_force;

		ck_assert_uint_eq(completions[seqno - 1].seqno, seqno);
		ck_assert_int_eq(completions[seqno - 1].status,
				 (int)mortal_outcome(seqno, &n_in_force));
		ck_assert_uint_eq(completions[seqno - 1].n_in_force, n_in_force);
	}
	return m.n_deaths == (m.dies_at ? 1u : 0u) + (m.dies_again_at ? 1u : 0u);
}

START_TEST(an_owner_survives_a_daemon_that_dies_at_any_moment_wherever_its_executor_is)
{
	struct mortal_daemon m = { .death = (enum death)(_i / N_PLACES),
				   .n_views = PRETENDED_N_VIEWS,
				   .window = ANY_WINDOW,
				   .last_question = N_UPDATES };

	for (m.dies_again_at = 0; m.dies_again_at <= 3; m.dies_again_at++) {
		for (m.dies_at = 1; survive(m, _i % N_PLACES); m.dies_at++)
			;
		ck_assert_uint_gt(m.dies_at, 10);
	}
}
END_TEST

/* ---- A VMM that is idle -------------------------------------------------------------------- */

static void find_it_idle(struct scripted_daemon *d)
{
	pretended_vm_be_registered(d, WIRE_EXECUTOR_VMM);
	probe(d);
	await(&is_ready);
	for (int i = 0; i < 3; i++) {
		come_back(d, d->variant, 0);
		probe(d);
	}
	make_two_calls(d);
	is_done = true;
	daemon_receive_updates(d, 1);
	daemon_send_answer(d, 1, 1, NULL, 0);
	daemon_receive_goodbye(d);
}

static void find_it_idle_on_the_same_socket(struct scripted_daemon *d)
{
	pretended_vm_be_registered(d, WIRE_EXECUTOR_VMM);
	probe(d);
	await(&is_ready);
	for (int i = 0; i < 3; i++) {
		daemon_send_restarted(d);
		probe(d); /* it tells whoever serves the executor */
		daemon_receive_resume(d, 0);
		daemon_send_owner_resumed(d, 0, PRETENDED_N_VIEWS, pretended_vtls, KVMATTR_ABI_DENY,
					  WIRE_EXECUTOR_VMM);
	}
	make_two_calls(d);
	is_done = true;
	daemon_receive_updates(d, 1);
	daemon_send_answer(d, 1, 1, NULL, 0);
	daemon_receive_goodbye(d);
}

static struct scripted_daemon *start_idle(int way)
{
	is_ready = is_done = false;
	return daemon_start_resumable(
		way == SAME_SOCKET ? find_it_idle_on_the_same_socket : find_it_idle, way, NULL);
}

START_TEST(the_executors_thread_resumes_an_owner_whose_vmm_makes_no_call)
{
	struct scripted_daemon *d = start_idle(_i);
	struct kvmattr *c = connect_to(d);

	pretended_vm_register(c, NULL);
	ck_assert_int_eq(kvmattr_start_executor(c), 0);
	is_ready = true;
	await(&is_done);
	ck_assert_int_eq(kvmattr_reset_vm(c), 0);
	ck_assert_str_eq(kvmattr_message(c), "");
	kvmattr_close(c);
	daemon_end(d);
	expect_two_calls();
	ck_assert_str_eq(pretended_caller, "kvmattr-exec");
}
END_TEST

START_TEST(an_event_loop_that_only_serves_the_executor_resumes_the_owner)
{
	struct scripted_daemon *d = start_idle(_i);
	struct kvmattr *c = connect_to(d);
	struct pollfd readable = { .events = POLLIN };

	pretended_vm_register(c, NULL);
	readable.fd = kvmattr_executor_fd(c);
	is_ready = true;
	while (!is_done) {
		if (poll(&readable, 1, 10) == 1)
			ck_assert_int_eq(kvmattr_dispatch_executor(c), 0);
	}
	ck_assert_int_eq(kvmattr_reset_vm(c), 0);
	kvmattr_close(c);
	daemon_end(d);
	expect_two_calls();
}
END_TEST

static void execute_in_the_daemon(struct scripted_daemon *d)
{
	pretended_vm_be_registered(d, WIRE_EXECUTOR_DAEMON);
	await(&is_ready);
	daemon_die(d);
	daemon_welcome_back(d, PRETENDED_N_VIEWS);
	daemon_send_owner_resumed(d, 0, PRETENDED_N_VIEWS, pretended_vtls, KVMATTR_ABI_DENY,
				  WIRE_EXECUTOR_DAEMON);
	is_done = true;
	daemon_receive_updates(d, 1);
	daemon_send_answer(d, 1, 1, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(where_the_executor_is_in_the_daemon_the_thread_resumes_the_owner_nevertheless)
{
	struct scripted_daemon *d = daemon_start_resumable(execute_in_the_daemon, 0, NULL);
	struct kvmattr *c = connect_to(d);

	is_ready = is_done = false;
	pretended_vm_register(c, NULL);
	ck_assert_int_eq(kvmattr_start_executor(c), 0);
	is_ready = true;
	await(&is_done);
	ck_assert_int_eq(kvmattr_reset_vm(c), 0);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

/* Answers that the application has not taken: the next daemon gives them again. */
static void leave_an_answer(struct scripted_daemon *d)
{
	pretended_vm_be_registered(d, WIRE_EXECUTOR_VMM);
	probe(d);
	daemon_receive_updates(d, 3);
	daemon_send_answer(d, 2, 1, NULL, 0);
	await(&is_ready);
	daemon_die(d);
	MUST(daemon_welcome_back(d, PRETENDED_N_VIEWS).answered == 0);
	daemon_send_owner_resumed(d, 2, PRETENDED_N_VIEWS, pretended_vtls, KVMATTR_ABI_DENY,
				  WIRE_EXECUTOR_VMM);
	probe(d);
	d->last_seqno = 2;
	daemon_receive_updates(d, 3);
	is_done = true;
	daemon_send_answer(d, 2, 1, NULL, 0);
	daemon_send_answer(d, 3, 2, NULL, 0);
	daemon_receive_goodbye(d);
}

static pthread_t completing_thread;

static void note_thread(void *context, const struct kvmattr_answer *answer)
{
	completing_thread = pthread_self();
	record(context, answer);
}

static void submit_noting_thread(struct kvmattr *c, uintptr_t n)
{
	struct kvmattr_update update = protect_pages(1);

	for (uintptr_t i = 1; i <= n; i++)
		ck_assert_int_eq(kvmattr_submit(c, &update, note_thread, (void *)i, NULL), 0);
	ck_assert_int_eq(kvmattr_flush(c), 0);
}

START_TEST(what_the_application_has_not_looked_at_is_completed_once_and_by_itself)
{
	struct scripted_daemon *d = daemon_start_resumable(leave_an_answer, 0, NULL);
	struct kvmattr *c = connect_to(d);

	is_ready = is_done = false;
	pretended_vm_register(c, NULL);
	ck_assert_int_eq(kvmattr_start_executor(c), 0);
	submit_noting_thread(c, 3);
	is_ready = true;
	await(&is_done);
	ck_assert_uint_eq(n_completions, 0);
	ck_assert_int_eq(kvmattr_wait(c), 0);
	expect_completions(3, KVMATTR_OK);
	ck_assert(pthread_equal(completing_thread, pthread_self()));
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

/* On the same socket, an answer in front of RESTARTED is the application's to take. */
static void restart_behind_an_answer(struct scripted_daemon *d)
{
	pretended_vm_be_registered(d, WIRE_EXECUTOR_VMM);
	probe(d);
	daemon_receive_updates(d, 1);
	daemon_send_answer(d, 1, 1, NULL, 0);
	daemon_send_restarted(d);
	probe(d);
	daemon_receive_nothing(d);
	is_done = true;
	MUST(daemon_receive_resume(d, 0).answered == 1);
	daemon_send_owner_resumed(d, 1, PRETENDED_N_VIEWS, pretended_vtls, KVMATTR_ABI_DENY,
				  WIRE_EXECUTOR_VMM);
	probe(d);
	is_ready = true;
	daemon_receive_goodbye(d);
}

START_TEST(an_answer_before_the_restart_is_left_to_the_application)
{
	struct scripted_daemon *d = daemon_start_resumable(restart_behind_an_answer, 0, NULL);
	struct kvmattr *c = connect_to(d);

	is_ready = is_done = false;
	pretended_vm_register(c, NULL);
	ck_assert_int_eq(kvmattr_start_executor(c), 0);
	submit_noting_thread(c, 1);
	await(&is_done);
	ck_assert_uint_eq(n_completions, 0);
	ck_assert_int_eq(kvmattr_wait(c), 0);
	expect_completions(1, KVMATTR_OK);
	await(&is_ready); /* that call did not look further: the thread did, after it */
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

enum { NOT_BACK, REFUSED, GOODBYE, BROKEN_PROTOCOL, N_ENDS };

static const struct {
	int result;
	int status;
	const char *message;
} ends[] = {
	{ -EPIPE, KVMATTR_NO_VM, "is not back" },
	{ -EPIPE, KVMATTR_NO_SESSION, "no session 77" },
	{ -EPIPE, KVMATTR_NO_VM, "VM win was released" },
	{ -EPROTO, KVMATTR_PROTOCOL_ERROR, "view.abi in its RESUMED" },
};

static void end_it_while_idle(struct scripted_daemon *d)
{
	d->resume_within_ms = d->variant == NOT_BACK ? 100 : d->resume_within_ms;
	pretended_vm_be_registered(d, WIRE_EXECUTOR_VMM);
	probe(d);
	daemon_receive_updates(d, 2);
	await(&is_ready);
	switch (d->variant) {
	case NOT_BACK:
		daemon_stop_listening(d);
		break;
	case REFUSED:
		daemon_die(d);
		daemon_welcome_back(d, PRETENDED_N_VIEWS);
		daemon_send_notice(d, WIRE_ERROR, d->header.id, KVMATTR_NO_SESSION, false,
				   "no session 77");
		break;
	case GOODBYE:
		close(d->executor);
		d->executor = -1;
		daemon_send_answer(d, 1, 1, NULL, 0);
		daemon_send_notice(d, WIRE_BYE, 0, KVMATTR_NO_VM, true, "VM win was released");
		break;
	case BROKEN_PROTOCOL:
		daemon_die(d);
		daemon_welcome_back(d, PRETENDED_N_VIEWS);
		daemon_send_owner_resumed(d, 0, PRETENDED_N_VIEWS, pretended_vtls, KVMATTR_ABI_V10,
					  WIRE_EXECUTOR_VMM);
		break;
	}
}

START_TEST(an_end_that_the_executors_thread_met_is_told_by_the_next_call)
{
	struct scripted_daemon *d = daemon_start_resumable(end_it_while_idle, _i, NULL);
	struct kvmattr *c = connect_to(d);
	struct pollfd readable = { .fd = kvmattr_fd(c), .events = POLLIN };
	int n_before;

	is_ready = false;
	pretended_vm_register(c, NULL);
	n_before = n_threads(); /* the daemon's is one of them */
	ck_assert_int_eq(kvmattr_start_executor(c), 0);
	submit_noting_thread(c, 2);
	is_ready = true;
	daemon_end(d);
	while (n_threads() >= n_before) /* until the executor's has met that end */
		usleep(1000);
	ck_assert_uint_eq(n_completions, 0);
	ck_assert_str_eq(kvmattr_message(c), "");
	ck_assert_uint_eq(kvmattr_in_flight(c), 2);
	ck_assert_int_eq(poll(&readable, 1, -1), 1);
	ck_assert_int_eq(kvmattr_dispatch(c), ends[_i].result);
	expect_message(c, ends[_i].message);
	ck_assert_uint_eq(n_completions, 2);
	ck_assert_int_eq(completions[1].status, ends[_i].status);
	ck_assert(pthread_equal(completing_thread, pthread_self()));
	kvmattr_close(c);
	ck_assert_uint_eq(n_completions, 2);
}
END_TEST

START_TEST(an_event_loop_hears_of_the_end_from_the_executor_too)
{
	struct scripted_daemon *d = daemon_start_resumable(end_it_while_idle, _i, NULL);
	struct kvmattr *c = connect_to(d);
	struct pollfd readable = { .events = POLLIN };
	int r = 0;

	is_ready = false;
	pretended_vm_register(c, NULL);
	readable.fd = kvmattr_executor_fd(c);
	submit_noting_thread(c, 2);
	is_ready = true;
	while (!r) {
		ck_assert_int_eq(poll(&readable, 1, -1), 1);
		r = kvmattr_dispatch_executor(c);
	}
	ck_assert_int_eq(r, -EPIPE);
	ck_assert_int_eq(kvmattr_dispatch_executor(c), -EPIPE);
	ck_assert_uint_eq(n_completions, 0);
	ck_assert_int_eq(kvmattr_wait(c), ends[_i].result);
	expect_message(c, ends[_i].message);
	ck_assert_uint_eq(n_completions, 2);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

int main(void)
{
	TCase *moments = checks_make_case("every moment");
	TCase *idle = checks_make_case("idle");

	tcase_add_loop_test(
		moments,
		an_owner_survives_a_daemon_that_dies_at_any_moment_wherever_its_executor_is, 0,
		N_DEATHS * N_PLACES);
	tcase_add_loop_test(idle, the_executors_thread_resumes_an_owner_whose_vmm_makes_no_call, 0,
			    N_WAYS);
	tcase_add_loop_test(idle, an_event_loop_that_only_serves_the_executor_resumes_the_owner, 0,
			    N_WAYS);
	tcase_add_test(
		idle,
		where_the_executor_is_in_the_daemon_the_thread_resumes_the_owner_nevertheless);
	tcase_add_test(idle,
		       what_the_application_has_not_looked_at_is_completed_once_and_by_itself);
	tcase_add_test(idle, an_answer_before_the_restart_is_left_to_the_application);
	tcase_add_loop_test(idle, an_end_that_the_executors_thread_met_is_told_by_the_next_call, 0,
			    N_ENDS);
	tcase_add_loop_test(idle, an_event_loop_hears_of_the_end_from_the_executor_too, 0, N_ENDS);
	return checks_run("libkvmattr-resume-owner", (TCase *[]){ moments, idle, NULL });
}
