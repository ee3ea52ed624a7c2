/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libkvmattr's owner when the daemon dies in the middle of a call to its executor, of the
 * registration, or while the owner goes itself.
 */
#include "tests/unit/libkvmattr-checks.h"
#include "tests/unit/pretended-vm.h"
#include "tests/unit/scripted-daemon.h"

#include <kvmattr.h>

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_bool is_ready;

static void await(atomic_bool *flag)
{
	while (!atomic_load(flag))
		usleep(1000);
}

static void send_resumed(struct scripted_daemon *d, enum wire_executor executor)
{
	daemon_send_owner_resumed(d, 0, PRETENDED_N_VIEWS, pretended_vtls, KVMATTR_ABI_DENY,
				  executor);
}

static void probe(struct scripted_daemon *d)
{
	struct wire_probe_result results[PRETENDED_N_VIEWS];

	daemon_probe(d, PRETENDED_N_VIEWS, results);
	MUST(results[1].cap == 7);
}

/* ---- In the middle of a call --------------------------------------------------------------- */

static void send_calls(struct scripted_daemon *d, uint64_t gpa)
{
	struct {
		struct wire_calls head;
		struct wire_call call;
	} m = { .head = { .n_calls = 1 },
		.call = { .gpa = gpa, .size = 0x1000, .abi = KVMATTR_ABI_DENY } };
	struct iovec part = { &m, sizeof(m) };

	m.head.header = wire_header_make(WIRE_CALLS, sizeof(m), 1);
	MUST(!seqpacket_send(d->executor, &part, 1, NULL, 0, 0));
}

static void die_during_a_call(struct scripted_daemon *d)
{
	pretended_vm_be_registered(d, WIRE_EXECUTOR_VMM);
	probe(d);
	daemon_receive_updates(d, 1); /* somebody serves the executor */
	send_calls(d, PRETENDED_SLOW_GPA);
	await(&is_in_slow_call);
	daemon_die(d);
	daemon_welcome_back(d, PRETENDED_N_VIEWS);
	/* The peer did not wait for it, but it does. */
	is_slow_call_held = false;
	send_resumed(d, WIRE_EXECUTOR_VMM);
	probe(d);
	/* Now nothing that the dead one asked is made any more. */
	MUST(is_slow_call_done);
	make_two_calls(d);
	daemon_receive(d, WIRE_UPDATE);
	daemon_send_answer(d, 1, 1, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(a_call_of_the_dead_daemon_is_over_when_its_successors_probe_is_answered)
{
	struct scripted_daemon *d;
	struct kvmattr *c;

	is_in_slow_call = is_slow_call_done = false;
	is_slow_call_held = true;
	d = daemon_start_resumable(die_during_a_call, 0, NULL);
	c = connect_to(d);
	pretended_vm_register(c, NULL);
	ck_assert_int_eq(kvmattr_start_executor(c), 0);
	ck_assert_int_eq(kvmattr_reset_vm(c), 0);
	kvmattr_close(c);
	daemon_end(d);
	ck_assert_uint_eq(n_pretended_calls, 3);
}
END_TEST

static void die_with_calls_unread(struct scripted_daemon *d)
{
	pretended_vm_be_registered(d, WIRE_EXECUTOR_VMM);
	probe(d);
	daemon_receive_updates(d, 1);
	send_calls(d, PRETENDED_SLOW_GPA);
	await(&is_in_slow_call);
	send_calls(d, 0x7000);
	daemon_die(d);
	daemon_welcome_back(d, PRETENDED_N_VIEWS);
	send_resumed(d, WIRE_EXECUTOR_VMM);
	probe(d);
	daemon_receive(d, WIRE_UPDATE);
	daemon_send_answer(d, 1, 1, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(what_the_dead_daemon_had_asked_and_was_not_begun_is_not_done)
{
	struct scripted_daemon *d;
	struct kvmattr *c;

	is_in_slow_call = is_slow_call_done = false;
	d = daemon_start_resumable(die_with_calls_unread, 0, NULL);
	c = connect_to(d);
	pretended_vm_register(c, NULL);
	ck_assert_int_eq(kvmattr_start_executor(c), 0);
	ck_assert_int_eq(kvmattr_reset_vm(c), 0);
	kvmattr_close(c);
	daemon_end(d);
	ck_assert_uint_eq(n_pretended_calls, 1);
	ck_assert_uint_eq(pretended_calls[0].gpa, PRETENDED_SLOW_GPA);
}
END_TEST

static const char *const wrong_executors[] = {
	"executor in its RESUMED", /* which nobody serves here */
	"executor in its RESUMED", /* not an owner's */
	"view.vtl in its RESUMED", "view.abi in its RESUMED", "n_views in its RESUMED",
};

static void resume_another_vm(struct scripted_daemon *d)
{
	static const uint8_t swapped[] = { 1, 0 };

	pretended_vm_be_registered(d, d->variant ? WIRE_EXECUTOR_VMM : WIRE_EXECUTOR_DAEMON);
	daemon_receive_updates(d, 1);
	daemon_die(d);
	daemon_welcome_back(d, PRETENDED_N_VIEWS);
	if (d->variant == 1)
		daemon_send_resumed(d, 0);
	else
		daemon_send_owner_resumed(d, 0, d->variant == 4 ? 1 : PRETENDED_N_VIEWS,
					  d->variant == 2 ? swapped : pretended_vtls,
					  d->variant == 3 ? KVMATTR_ABI_V10 : KVMATTR_ABI_DENY,
					  WIRE_EXECUTOR_VMM);
}

START_TEST(a_daemon_that_comes_back_with_another_vm_is_EPROTO)
{
	struct scripted_daemon *d = daemon_start_resumable(resume_another_vm, _i, NULL);
	struct kvmattr *c = connect_to(d);

	pretended_vm_register(c, NULL);
	ck_assert_int_eq(kvmattr_reset_vm(c), -EPROTO);
	expect_message(c, wrong_executors[_i]);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

/* Another kernel setting than before. */
static void move_the_executor(struct scripted_daemon *d)
{
	bool was_here = d->variant;

	pretended_vm_be_registered(d, was_here ? WIRE_EXECUTOR_VMM : WIRE_EXECUTOR_DAEMON);
	daemon_receive_updates(d, 1);
	daemon_die(d);
	daemon_welcome_back(d, PRETENDED_N_VIEWS);
	send_resumed(d, was_here ? WIRE_EXECUTOR_DAEMON : WIRE_EXECUTOR_VMM);
	if (was_here) {
		close(d->executor);
		d->executor = -1;
	} else {
		probe(d);
		make_two_calls(d);
	}
	daemon_receive(d, WIRE_UPDATE);
	daemon_send_answer(d, 1, 1, NULL, 0);
	/* And back again. */
	daemon_die(d);
	daemon_welcome_back(d, PRETENDED_N_VIEWS);
	daemon_send_owner_resumed(d, 1, PRETENDED_N_VIEWS, pretended_vtls, KVMATTR_ABI_DENY,
				  was_here ? WIRE_EXECUTOR_VMM : WIRE_EXECUTOR_DAEMON);
	if (was_here) {
		probe(d);
		make_two_calls(d);
	}
	daemon_receive_updates(d, 2);
	daemon_send_answer(d, 2, 2, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(the_executor_may_have_moved_when_the_daemon_comes_back)
{
	struct scripted_daemon *d = daemon_start_resumable(move_the_executor, _i, NULL);
	struct kvmattr *c = connect_to(d);

	pretended_vm_register(c, NULL);
	ck_assert_int_eq(kvmattr_start_executor(c), 0);
	ck_assert_int_eq(kvmattr_reset_vm(c), 0);
	ck_assert_int_eq(kvmattr_reset_vm(c), 0);
	expect_two_calls();
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

/* ---- In the middle of the registration ----------------------------------------------------- */

enum { DIES, DIES_KNOWING, RESTARTS_KNOWING, RESTARTS_FORGETFUL, REFUSES, N_INTERRUPTIONS };

static void register_at_last(struct scripted_daemon *d)
{
	struct wire_register m;
	struct wire_ram ram;
	uint64_t id;

	daemon_receive_registration(d);
	id = d->header.id;
	MUST(!wire_get_register(d->message, d->header.size, &m));
	MUST(!strcmp(m.name, "win") && m.n_views == PRETENDED_N_VIEWS && m.n_ram == 1);
	MUST(!wire_at_register_ram(d->message, &m, 0, &ram) && ram.n_pages == 256);
	probe(d);
	daemon_send_registered(d, id, PRETENDED_N_VIEWS, pretended_vtls, KVMATTR_ABI_DENY,
			       WIRE_EXECUTOR_VMM);
}

static void forget(struct scripted_daemon *d, enum kvmattr_status status)
{
	daemon_send_notice(d, WIRE_ERROR, d->header.id, status, false, "no session 77");
}

static void interrupt_registration(struct scripted_daemon *d)
{
	daemon_welcome_nobody(d, ANY_WINDOW);
	daemon_receive_registration(d);
	probe(d);
	if (d->variant == RESTARTS_KNOWING || d->variant == RESTARTS_FORGETFUL) {
		daemon_restart(d);
	} else {
		/* Once more while it comes back. */
		daemon_die(d);
		daemon_welcome_back(d, PRETENDED_N_VIEWS);
		daemon_die(d);
		daemon_welcome_back(d, PRETENDED_N_VIEWS);
	}
	switch (d->variant) {
	case DIES:
	case RESTARTS_FORGETFUL:
		forget(d, KVMATTR_NO_SESSION);
		register_at_last(d);
		break;
	case DIES_KNOWING:
	case RESTARTS_KNOWING:
		send_resumed(d, WIRE_EXECUTOR_VMM);
		break;
	case REFUSES:
		forget(d, KVMATTR_ACCESS_DENIED);
		return;
	}
	probe(d);
	make_two_calls(d);
	daemon_receive_updates(d, 1);
	daemon_send_answer(d, 1, 1, NULL, 0);
	/* From now on it is the session of the connection on which it registered. */
	daemon_die(d);
	daemon_welcome_back(d, PRETENDED_N_VIEWS);
	daemon_send_owner_resumed(d, 1, PRETENDED_N_VIEWS, pretended_vtls, KVMATTR_ABI_DENY,
				  WIRE_EXECUTOR_VMM);
	daemon_receive_updates(d, 2);
	daemon_send_answer(d, 2, 2, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(a_registration_is_resumed_or_begun_anew)
{
	const struct kvmattr_ram ram = { { 0, 256 }, 1 };
	struct scripted_daemon *d = daemon_start_resumable(interrupt_registration, _i, NULL);
	struct kvmattr *c = connect_to(d);
	struct kvmattr_registration found = { 0 };
	struct kvmattr_view views[PRETENDED_N_VIEWS];
	struct kvmattr_vm vm = pretended_vm_make(views);

	vm.ram = &ram;
	vm.n_ram = 1;
	if (_i == REFUSES) {
		ck_assert_int_eq(kvmattr_register(c, &vm, &found), -EPIPE);
		expect_message(c, "no session 77");
	} else {
		ck_assert_int_eq(kvmattr_register(c, &vm, &found), 0);
		ck_assert_uint_eq(found.n_views, 2);
		ck_assert_uint_eq(found.views[1].vtl, 1);
		ck_assert_int_eq(found.views[1].abi, KVMATTR_ABI_DENY);
		ck_assert_uint_eq(found.views[1].supported, 0xf);
		ck_assert_int_eq(found.executor_in_daemon, 0);
		ck_assert_int_eq(kvmattr_reset_vm(c), 0);
		expect_two_calls();
		ck_assert_int_eq(kvmattr_reset_vm(c), 0);
	}
	pretended_vm_close();
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void change_the_session(struct scripted_daemon *d)
{
	struct wire_welcome welcome;
	struct wire_resume resume;

	daemon_welcome_nobody(d, ANY_WINDOW);
	daemon_receive_registration(d);
	daemon_die(d);
	daemon_accept(d);
	daemon_receive_hello(d);
	welcome = daemon_make_welcome(d, ANY_WINDOW);
	welcome.session = 99;
	welcome.token[0] = 0xff;
	daemon_send(d, &welcome, sizeof(welcome));
	daemon_receive_resume(d, PRETENDED_N_VIEWS); /* of the first session */
	forget(d, KVMATTR_NO_SESSION);
	daemon_receive_registration(d);
	daemon_send_registered(d, d->header.id, PRETENDED_N_VIEWS, pretended_vtls, KVMATTR_ABI_DENY,
			       WIRE_EXECUTOR_VMM);
	daemon_receive_updates(d, 1);
	daemon_die(d);
	daemon_accept(d);
	daemon_welcome_nobody(d, ANY_WINDOW);
	daemon_receive(d, WIRE_RESUME); /* of the one on whose connection it was registered */
	MUST(!wire_get_resume(d->message, d->header.size, &resume));
	MUST(resume.session == 99 && resume.token[0] == 0xff);
	send_resumed(d, WIRE_EXECUTOR_VMM);
	daemon_receive(d, WIRE_UPDATE);
	daemon_send_answer(d, 1, 1, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(a_registration_that_was_begun_anew_belongs_to_the_new_session)
{
	struct scripted_daemon *d = daemon_start_resumable(change_the_session, 0, NULL);
	struct kvmattr *c = connect_to(d);

	pretended_vm_register(c, NULL);
	ck_assert_int_eq(kvmattr_reset_vm(c), 0);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

/* ---- While the owner goes ------------------------------------------------------------------ */

static void be_away_for_good(struct scripted_daemon *d)
{
	pretended_vm_be_registered(d, WIRE_EXECUTOR_VMM);
	probe(d);
	daemon_receive_updates(d, 1);
	if (d->variant == 0)
		daemon_stop_listening(d);
	daemon_die(d);
	if (d->variant == 1) {
		daemon_accept(d);
		daemon_receive_hello(d);
	}
	if (d->variant == 2)
		daemon_welcome_back(d, PRETENDED_N_VIEWS);
	is_ready = true;
	if (d->variant)
		daemon_receive_goodbye(d);
	if (d->variant == 2)
		daemon_receive_end(d, d->executor);
}

START_TEST(close_joins_the_thread_that_looks_for_the_daemon)
{
	struct scripted_daemon *d = daemon_start_resumable(be_away_for_good, _i, NULL);
	struct kvmattr *c = connect_to(d);

	is_ready = false;
	pretended_vm_register(c, NULL);
	ck_assert_int_eq(kvmattr_start_executor(c), 0);
	submit(c, 1, 1);
	ck_assert_int_eq(kvmattr_flush(c), 0);
	await(&is_ready);
	usleep(_i * 2000); /* it may be at anything */
	kvmattr_close(c);
	expect_completions(1, KVMATTR_NO_VM);
	daemon_end(d);
}
END_TEST

START_TEST(a_child_closes_what_the_thread_of_its_parent_is_using)
{
	struct scripted_daemon *d = daemon_start_resumable(be_away_for_good, 0, NULL);
	struct kvmattr *c = connect_to(d);
	int status;
	pid_t child;

	is_ready = false;
	pretended_vm_register(c, NULL);
	ck_assert_int_eq(kvmattr_start_executor(c), 0);
	submit(c, 1, 1);
	ck_assert_int_eq(kvmattr_flush(c), 0);
	await(&is_ready);
	fflush(NULL);
	for (int i = 0; i < 20; i++) {
		child = fork();
		if (!child) {
			alarm(10);
			kvmattr_close(c);
			execl("/bin/true", "true", NULL);
			_exit(2);
		}
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_int_eq(status, 0);
	}
	kvmattr_close(c);
	expect_completions(1, KVMATTR_NO_VM);
	daemon_end(d);
}
END_TEST

int main(void)
{
	TCase *calls = checks_make_case("calls");
	TCase *registering = checks_make_case("registering");
	TCase *going = checks_make_case("going");

	tcase_add_test(calls,
		       a_call_of_the_dead_daemon_is_over_when_its_successors_probe_is_answered);
	tcase_add_test(calls, what_the_dead_daemon_had_asked_and_was_not_begun_is_not_done);
	tcase_add_loop_test(calls, a_daemon_that_comes_back_with_another_vm_is_EPROTO, 0,
			    N(wrong_executors));
	tcase_add_loop_test(calls, the_executor_may_have_moved_when_the_daemon_comes_back, 0, 2);
	tcase_add_loop_test(registering, a_registration_is_resumed_or_begun_anew, 0,
			    N_INTERRUPTIONS);
	tcase_add_test(registering, a_registration_that_was_begun_anew_belongs_to_the_new_session);
	tcase_add_loop_test(going, close_joins_the_thread_that_looks_for_the_daemon, 0, 3);
	tcase_add_test(going, a_child_closes_what_the_thread_of_its_parent_is_using);
	return checks_run("libkvmattr-resume-executor",
			  (TCase *[]){ calls, registering, going, NULL });
}
