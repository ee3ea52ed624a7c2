/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libkvmattr's owner against a scripted daemon: registering a VM, and the executor in each of its
 * places, inside a call, in a thread, in an event loop, in the daemon.
 */
#include "tests/unit/libkvmattr-checks.h"
#include "tests/unit/pretended-vm.h"
#include "tests/unit/scripted-daemon.h"

#include <kvmattr.h>

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Registering --------------------------------------------------------------------------- */

static void check_registration(struct scripted_daemon *d)
{
	struct wire_probe_result results[2];
	struct wire_register m;
	struct wire_view view;
	struct wire_ram ram;
	struct stat file;
	uint64_t id;

	daemon_welcome_nobody(d, ANY_WINDOW);
	daemon_receive_registration(d);
	id = d->header.id;
	MUST(!wire_get_register(d->message, d->header.size, &m));
	MUST(!strcmp(m.name, "win") && m.n_views == 2 && m.n_ram == 2);
	for (uint32_t i = 0; i < 2; i++) {
		MUST(!wire_at_register_view(d->message, &m, i, &view));
		MUST(view.vtl == i && view.abi == (i ? KVMATTR_ABI_DENY : KVMATTR_ABI_PROBE));
		MUST(!view.has_stats); /* it is no real one */
		MUST(!fstat(d->fds.fd[1 + i], &file) && file.st_size == (i + 1) * 4096);
	}
	MUST(!wire_at_register_ram(d->message, &m, 0, &ram));
	MUST(ram.gfn == 0 && ram.n_pages == 256 && ram.private == 1);
	MUST(!wire_at_register_ram(d->message, &m, 1, &ram));
	MUST(ram.gfn == 512 && ram.n_pages == 1024 && ram.private == 0);

	daemon_probe(d, 2, results);
	MUST(!results[0].v10_errno && results[0].v10_supported == 0xf && !results[0].cap);
	MUST(results[1].v10_errno == ENOTTY && !results[1].cap_errno && results[1].cap == 7);
	make_two_calls(d);
	daemon_send_registered(d, id, 2, pretended_vtls, KVMATTR_ABI_DENY, WIRE_EXECUTOR_VMM);
	daemon_receive_goodbye(d);
}

START_TEST(registering_hands_everything_over_and_carries_out_the_calls_meanwhile)
{
	const struct kvmattr_ram ram[] = { { { 0, 256 }, 1 }, { { 512, 1024 }, 0 } };
	struct scripted_daemon *d = daemon_start(check_registration, 0);
	struct kvmattr *c = connect_to(d);
	struct kvmattr_registration found;
	struct kvmattr_view views[2];
	struct kvmattr_vm vm = pretended_vm_make(views);

	views[1].pin = KVMATTR_ABI_DENY;
	vm.ram = ram;
	vm.n_ram = 2;
	ck_assert_int_eq(kvmattr_executor_fd(c), -1);
	ck_assert_int_eq(kvmattr_register(c, &vm, &found), 0);
	pretended_vm_close();
	ck_assert_int_eq(found.executor_in_daemon, 0);
	ck_assert_uint_eq(found.n_views, 2);
	ck_assert_uint_eq(found.views[1].vtl, 1);
	ck_assert_int_eq(found.views[0].abi, KVMATTR_ABI_DENY);
	ck_assert_uint_eq(found.views[1].supported, 0xf);
	expect_two_calls();

	ck_assert_int_eq(kvmattr_register(c, &vm, NULL), KVMATTR_VM_EXISTS);
	expect_message(c, "VM win");
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void refuse_the_first(struct scripted_daemon *d)
{
	daemon_welcome_nobody(d, ANY_WINDOW);
	daemon_receive_registration(d);
	daemon_send_notice(d, WIRE_ERROR, d->header.id, KVMATTR_NOT_A_VM, false,
			   "VM win: view 1 is not a KVM VM; pass the fd of KVM_CREATE_VM");
	daemon_receive_registration(d);
	daemon_send_registered(d, d->header.id, 2, pretended_vtls, KVMATTR_ABI_DENY,
			       WIRE_EXECUTOR_VMM);
	daemon_receive_goodbye(d);
}

START_TEST(a_refused_registration_says_why_and_may_be_tried_again)
{
	struct scripted_daemon *d = daemon_start(refuse_the_first, 0);
	struct kvmattr *c = connect_to(d);
	struct kvmattr_view views[2];
	struct kvmattr_vm vm = pretended_vm_make(views);

	ck_assert_int_eq(kvmattr_start_executor(c), KVMATTR_INVALID_PARAMETER);
	ck_assert_int_eq(kvmattr_reset_vm(c), KVMATTR_NO_VM);
	expect_message(c, "kvmattr_register()");
	ck_assert_int_eq(kvmattr_register(c, &vm, NULL), KVMATTR_NOT_A_VM);
	expect_message(c, "pass the fd of KVM_CREATE_VM");
	ck_assert_int_eq(kvmattr_executor_fd(c), -1);
	ck_assert_int_eq(kvmattr_register(c, &vm, NULL), 0);
	ck_assert_int_ge(kvmattr_executor_fd(c), 0);
	pretended_vm_close();
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void hear_nothing(struct scripted_daemon *d)
{
	daemon_welcome_nobody(d, ANY_WINDOW);
	daemon_receive_goodbye(d);
}

START_TEST(what_cannot_be_a_vm_is_refused_and_not_sent)
{
	static const char long_name[] =
		"a-name-of-sixty-four-bytes-that-is-longer-than-a-name-may-be-here";
	struct scripted_daemon *d = daemon_start(hear_nothing, 0);
	struct kvmattr *c = connect_to(d);
	struct kvmattr_view views[2];
	struct kvmattr_vm vm = pretended_vm_make(views);
	struct kvmattr_vm wrong[] = { vm, vm, vm, vm, vm };

	wrong[0].name = NULL;
	wrong[1].name = long_name;
	wrong[2].n_views = 0;
	wrong[3].n_views = 17;
	wrong[4].n_ram = 1025;
	for (int i = 0; i < N(wrong); i++)
		ck_assert_int_eq(kvmattr_register(c, &wrong[i], NULL), KVMATTR_INVALID_PARAMETER);
	views[1].vtl = 16;
	ck_assert_int_eq(kvmattr_register(c, &vm, NULL), KVMATTR_INVALID_PARAMETER);
	views[1].vtl = 1;
	views[1].pin = KVMATTR_N_ABIS;
	ck_assert_int_eq(kvmattr_register(c, &vm, NULL), KVMATTR_INVALID_PARAMETER);
	views[1].pin = KVMATTR_ABI_PROBE;
	pretended_vm_close();
	ck_assert_int_eq(kvmattr_register(c, &vm, NULL), KVMATTR_NOT_A_VM);
	expect_message(c, "VM win: view 0 (VTL 0)");
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static const char *const wrong_registered[] = {
	"view.vtl in its REGISTERED", "n_views in its REGISTERED",
	"view.abi in its REGISTERED", /* not the pinned one */
	"executor in its REGISTERED", "header.type in its AGENT_OPENED",
};

static void register_wrongly(struct scripted_daemon *d)
{
	static const uint8_t swapped[] = { 1, 0 };
	struct wire_header other;

	daemon_welcome_nobody(d, ANY_WINDOW);
	daemon_receive_registration(d);
	other = wire_header_make(WIRE_AGENT_OPENED, sizeof(other), d->header.id);
	if (d->variant == 4)
		daemon_send(d, &other, sizeof(other));
	else
		daemon_send_registered(d, d->header.id, d->variant == 1 ? 1 : 2,
				       d->variant == 0 ? swapped : pretended_vtls,
				       d->variant == 2 ? KVMATTR_ABI_V10 : KVMATTR_ABI_DENY,
				       d->variant == 3 ? 9 : WIRE_EXECUTOR_VMM);
}

START_TEST(a_registration_of_something_else_than_was_asked_is_EPROTO)
{
	struct scripted_daemon *d = daemon_start(register_wrongly, _i);
	struct kvmattr *c = connect_to(d);
	struct kvmattr_view views[2];
	struct kvmattr_vm vm = pretended_vm_make(views);

	views[1].pin = KVMATTR_ABI_DENY;
	ck_assert_int_eq(kvmattr_register(c, &vm, NULL), -EPROTO);
	expect_message(c, wrong_registered[_i]);
	ck_assert_int_eq(kvmattr_start_executor(c), -EPROTO);
	pretended_vm_close();
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

/* ---- The executor -------------------------------------------------------------------------- */

static void call_the_thread(struct scripted_daemon *d)
{
	pretended_vm_be_registered(d, WIRE_EXECUTOR_VMM);
	daemon_receive_updates(d, 1); /* the thread runs */
	make_two_calls(d);
	daemon_send_answer(d, 1, 1, NULL, 0);
	daemon_receive_goodbye(d);
	/* The executor's end is closed as well. */
	daemon_receive_end(d, d->executor);
}

START_TEST(the_executors_thread_takes_no_signals_and_is_joined_by_close)
{
	struct scripted_daemon *d = daemon_start(call_the_thread, 0);
	struct kvmattr *c = connect_to(d);
	int n_before = n_threads();

	pretended_vm_register(c, NULL);
	ck_assert_int_eq(kvmattr_start_executor(c), 0);
	ck_assert_int_eq(n_threads(), n_before + 1);
	ck_assert_int_eq(kvmattr_executor_fd(c), -1);
	ck_assert_int_eq(kvmattr_dispatch_executor(c), 0);
	ck_assert_int_eq(kvmattr_start_executor(c), KVMATTR_INVALID_PARAMETER);
	ck_assert_int_eq(kvmattr_reset_vm(c), 0);
	kvmattr_close(c);
	expect_two_calls();
	ck_assert_str_eq(pretended_caller, "kvmattr-exec");
	ck_assert(!pretended_caller_takes_signals);
	daemon_end(d);
}
END_TEST

static void make_a_slow_call(struct scripted_daemon *d)
{
	struct {
		struct wire_calls head;
		struct wire_call call;
	} m = { .head = { .n_calls = 1 },
		.call = { .gpa = PRETENDED_SLOW_GPA, .size = 0x1000, .abi = KVMATTR_ABI_DENY } };
	struct iovec part = { &m, sizeof(m) };

	pretended_vm_be_registered(d, WIRE_EXECUTOR_VMM);
	daemon_receive_updates(d, 1); /* the thread runs */
	m.head.header = wire_header_make(WIRE_CALLS, sizeof(m), 1);
	MUST(!seqpacket_send(d->executor, &part, 1, NULL, 0, 0));
	daemon_receive_goodbye(d);
}

START_TEST(close_waits_for_the_call_that_the_executors_thread_is_making)
{
	struct scripted_daemon *d = daemon_start(make_a_slow_call, 0);
	struct kvmattr *c = connect_to(d);

	pretended_vm_register(c, NULL);
	ck_assert_int_eq(kvmattr_start_executor(c), 0);
	submit(c, 1, 1);
	ck_assert_int_eq(kvmattr_flush(c), 0);
	while (!is_in_slow_call)
		usleep(1000);
	kvmattr_close(c);
	ck_assert(is_slow_call_done);
	daemon_end(d);
}
END_TEST

static void call_the_event_loop(struct scripted_daemon *d)
{
	pretended_vm_be_registered(d, WIRE_EXECUTOR_VMM);
	make_two_calls(d);
	close(d->executor);
	d->executor = -1;
	daemon_send_notice(d, WIRE_BYE, 0, KVMATTR_NO_VM, true, "VM win was released");
}

START_TEST(an_event_loop_can_drive_the_executor_until_the_daemon_lets_go)
{
	struct scripted_daemon *d = daemon_start(call_the_event_loop, 0);
	struct kvmattr *c = connect_to(d);
	struct pollfd readable = { .events = POLLIN };
	int r = 0;

	pretended_vm_register(c, NULL);
	readable.fd = kvmattr_executor_fd(c);
	ck_assert_int_ge(readable.fd, 0);
	while (!r) {
		ck_assert_int_eq(poll(&readable, 1, -1), 1);
		r = kvmattr_dispatch_executor(c);
	}
	ck_assert_int_eq(r, -EPIPE);
	ck_assert_int_eq(kvmattr_dispatch_executor(c), -EPIPE);
	expect_two_calls();
	/* A call that waits is not kept busy by the executor's end. */
	ck_assert_int_eq(kvmattr_reset_vm(c), -EPIPE);
	expect_message(c, "VM win was released");
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void call_before_answering(struct scripted_daemon *d)
{
	pretended_vm_be_registered(d, WIRE_EXECUTOR_VMM);
	daemon_receive_updates(d, 1);
	make_two_calls(d);
	daemon_send_answer(d, 1, 1, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(an_owner_without_an_executors_thread_carries_out_calls_while_it_waits)
{
	struct scripted_daemon *d = daemon_start(call_before_answering, 0);
	struct kvmattr *c = connect_to(d);

	pretended_vm_register(c, NULL);
	ck_assert_int_eq(kvmattr_reset_vm(c), 0);
	expect_two_calls();
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void *drive_the_executor(void *context)
{
	struct kvmattr *c = context;
	struct pollfd readable = { .fd = kvmattr_executor_fd(c), .events = POLLIN };
	int r;

	do {
		poll(&readable, 1, -1);
		r = kvmattr_dispatch_executor(c);
	} while (!r);
	return NULL;
}

static void call_and_answer_often(struct scripted_daemon *d)
{
	const struct wire_call refused = two_calls[1];

	pretended_vm_be_registered(d, WIRE_EXECUTOR_VMM);
	for (uint64_t seqno = 1; seqno <= 200; seqno++) {
		daemon_receive_updates(d, seqno);
		MUST(daemon_call(d, &refused, 1).error == ENOMEM);
		daemon_send_answer(d, seqno, seqno, NULL, 0);
	}
	close(d->executor);
	d->executor = -1;
	daemon_send_notice(d, WIRE_BYE, 0, KVMATTR_NO_VM, true, "VM win was released");
}

START_TEST(an_event_loop_in_one_thread_and_the_owner_in_another_may_both_drive_the_executor)
{
	struct scripted_daemon *d = daemon_start(call_and_answer_often, 0);
	struct kvmattr *c = connect_to(d);
	pthread_t loop;

	pretended_vm_register(c, NULL);
	ck_assert_int_eq(pthread_create(&loop, NULL, drive_the_executor, c), 0);
	for (int i = 0; i < 200; i++)
		ck_assert_int_eq(kvmattr_reset_vm(c), 0);
	pthread_join(loop, NULL);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void execute_in_the_daemon(struct scripted_daemon *d)
{
	pretended_vm_be_registered(d, WIRE_EXECUTOR_DAEMON);
	daemon_receive_end(d, d->executor);
	daemon_receive_goodbye(d);
}

START_TEST(an_executor_in_the_daemon_leaves_nothing_to_do_here)
{
	struct scripted_daemon *d = daemon_start(execute_in_the_daemon, 0);
	struct kvmattr *c = connect_to(d);
	struct kvmattr_registration found;

	pretended_vm_register(c, &found);
	ck_assert_int_eq(found.executor_in_daemon, 1);
	ck_assert_int_eq(kvmattr_executor_fd(c), -1);
	ck_assert_int_eq(kvmattr_dispatch_executor(c), 0);
	if (_i) /* which has an eye on the link */
		ck_assert_int_eq(kvmattr_start_executor(c), 0);
	ck_assert_int_eq(kvmattr_executor_fd(c), -1);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void probe_kvm_later(struct scripted_daemon *d)
{
	struct wire_probe_result results[2];
	struct wire_called called;

	pretended_vm_be_registered(d, WIRE_EXECUTOR_VMM);
	daemon_receive_updates(d, 1); /* its views are closed by now */
	daemon_probe(d, 2, results);
	for (int i = 0; i < 2; i++)
		MUST(results[i].v10_errno == ENOTTY && results[i].cap_errno == ENOTTY);
	called = daemon_call(d, two_calls, 1);
	MUST(!called.n_done && called.error == ENOTTY);
	daemon_send_answer(d, 1, 1, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(a_vmm_that_closes_its_views_early_leaves_the_executor_what_it_needs)
{
	struct scripted_daemon *d = daemon_start(probe_kvm_later, 0);
	struct kvmattr *c = connect_to(d);
	struct kvmattr_view views[2];
	struct kvmattr_vm vm = pretended_vm_make(views);

	vm.simulated = NULL; /* KVM's own calls, on memfds: ENOTTY, and EBADF if they were closed */
	ck_assert_int_eq(kvmattr_register(c, &vm, NULL), 0);
	pretended_vm_close();
	ck_assert_int_eq(kvmattr_reset_vm(c), 0);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void send_the_executor_garbage(struct scripted_daemon *d)
{
	struct wire_header garbage = wire_header_make(WIRE_CALLED, sizeof(garbage), 1);
	struct iovec part = { &garbage, sizeof(garbage) };

	pretended_vm_be_registered(d, WIRE_EXECUTOR_VMM);
	MUST(!seqpacket_send(d->executor, &part, 1, NULL, 0, 0));
	daemon_receive_end(d, d->executor);
	daemon_receive_updates(d, 1);
	daemon_send_answer(d, 1, 1, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(an_executor_that_is_told_nonsense_hangs_up_at_once)
{
	struct scripted_daemon *d = daemon_start(send_the_executor_garbage, 0);
	struct kvmattr *c = connect_to(d);

	pretended_vm_register(c, NULL);
	if (_i)
		ck_assert_int_eq(kvmattr_start_executor(c), 0);
	ck_assert_int_eq(kvmattr_reset_vm(c), 0);
	ck_assert_uint_eq(n_pretended_calls, 0);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

/* ---- Agents -------------------------------------------------------------------------------- */

static void open_agent(struct scripted_daemon *d)
{
	struct {
		struct wire_header header;
	} opened;
	struct wire_open_agent request;
	int sockets[2];

	pretended_vm_be_registered(d, WIRE_EXECUTOR_DAEMON);
	daemon_receive(d, WIRE_OPEN_AGENT);
	MUST(!wire_get_open_agent(d->message, d->header.size, &request));
	MUST(request.vtl == 1 && request.rights == WIRE_RIGHT_VISIBILITY);
	MUST(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets));
	opened.header = wire_header_make(WIRE_AGENT_OPENED, sizeof(opened), d->header.id);
	daemon_send_with_fds(d, &opened, sizeof(opened), &sockets[1], 1);
	close(sockets[1]);

	/* From here on the agent is the peer. */
	close(d->peer);
	d->peer = sockets[0];
	daemon_welcome(d, ANY_WINDOW);
	daemon_receive_updates(d, 1);
	daemon_send_answer(d, 1, 1, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(an_agents_socket_can_be_handed_on_and_adopted)
{
	struct scripted_daemon *d = daemon_start(open_agent, 0);
	struct kvmattr *owner = connect_to(d), *agent = NULL;
	int fd = -1;

	pretended_vm_register(owner, NULL);
	ck_assert_int_eq(kvmattr_open_agent(owner, 1, KVMATTR_RIGHT_VISIBILITY, &fd), 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fcntl(fd, F_SETFD, 0), 0);          /* as for an exec */
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0); /* as an event loop may */
	ck_assert_int_eq(kvmattr_adopt(fd, "agent", &agent), 0);
	ck_assert_int_eq(fcntl(kvmattr_fd(agent), F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(kvmattr_protect(agent, 1, KVMATTR_ALL_LOWER, KVMATTR_RX, gfns, 4, NULL),
			 0);
	kvmattr_close(agent);
	kvmattr_close(owner);
	daemon_end(d);
}
END_TEST

static void open_agent_wrongly(struct scripted_daemon *d)
{
	struct wire_header opened;
	int fds[2];

	daemon_welcome_nobody(d, ANY_WINDOW);
	daemon_receive(d, WIRE_OPEN_AGENT);
	opened = wire_header_make(WIRE_AGENT_OPENED, sizeof(opened), d->header.id);
	fds[0] = fds[1] = d->listener;
	daemon_send_with_fds(d, &opened, sizeof(opened), fds, (size_t)d->variant);
}

START_TEST(an_agents_socket_that_comes_not_at_all_or_twice_is_EPROTO)
{
	struct scripted_daemon *d = daemon_start(open_agent_wrongly, 2 * _i);
	struct kvmattr *c = connect_to(d);
	int fd = -7;

	ck_assert_int_eq(kvmattr_open_agent(c, 1, 0, &fd), -EPROTO);
	expect_message(c, "number of descriptors in its AGENT_OPENED");
	ck_assert_int_eq(fd, -7);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

int main(void)
{
	TCase *registering = checks_make_case("registering");
	TCase *executor = checks_make_case("executor");
	TCase *agents = checks_make_case("agents");

	tcase_add_test(registering,
		       registering_hands_everything_over_and_carries_out_the_calls_meanwhile);
	tcase_add_test(registering, a_refused_registration_says_why_and_may_be_tried_again);
	tcase_add_test(registering, what_cannot_be_a_vm_is_refused_and_not_sent);
	tcase_add_loop_test(registering, a_registration_of_something_else_than_was_asked_is_EPROTO,
			    0, N(wrong_registered));
	tcase_add_test(executor, the_executors_thread_takes_no_signals_and_is_joined_by_close);
	tcase_add_test(executor, close_waits_for_the_call_that_the_executors_thread_is_making);
	tcase_add_test(executor, an_event_loop_can_drive_the_executor_until_the_daemon_lets_go);
	tcase_add_test(executor,
		       an_owner_without_an_executors_thread_carries_out_calls_while_it_waits);
	tcase_add_test(
		executor,
		an_event_loop_in_one_thread_and_the_owner_in_another_may_both_drive_the_executor);
	tcase_add_loop_test(executor, an_executor_in_the_daemon_leaves_nothing_to_do_here, 0, 2);
	tcase_add_test(executor,
		       a_vmm_that_closes_its_views_early_leaves_the_executor_what_it_needs);
	tcase_add_loop_test(executor, an_executor_that_is_told_nonsense_hangs_up_at_once, 0, 2);
	tcase_add_test(agents, an_agents_socket_can_be_handed_on_and_adopted);
	tcase_add_loop_test(agents, an_agents_socket_that_comes_not_at_all_or_twice_is_EPROTO, 0,
			    2);
	return checks_run("libkvmattr-owner", (TCase *[]){ registering, executor, agents, NULL });
}
