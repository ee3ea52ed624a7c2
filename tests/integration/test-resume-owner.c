/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Owners that come back to their VMs after a restart of the daemon: what they bring, what they are
 * told, and what waits for them.
 */
#include "tests/integration/lone-agent.h"

#include <check.h>
#include <signal.h>
#include <unistd.h>

/* ---- Owners ---------------------------------------------------------------------------------- */

START_TEST(updates_of_agents_that_are_back_first_wait_for_the_owner)
{
	start_guest(NULL);
	restart();
	resume_agent(0, 0);
	send_update(1, 10);
	raw_expect_alive(agent);
	ck_assert(is_silent(agent));
	raw_vm_resume(&vm, d, 1, 1);
	expect_done(1, 10, 2);
	stop_guest();
}
END_TEST

START_TEST(updates_wait_while_the_executor_that_came_back_is_busy)
{
	start_guest(NULL);
	kill_daemon();
	launch("[limits]\nexecutor-deadline-ms = 2000\n");
	resume_agent(0, 0);
	raw_vm_send_resume(&vm, d, 1);
	ck_assert_uint_eq(raw_receive_resumed(vm.owner).settled, 1);
	send_update(1, 10);
	EVENTUALLY(10000, kvmattrd_has_logged(d, "has not answered the probe for 2000 ms"));
	raw_expect_alive(vm.owner);
	ck_assert(is_silent(agent));
	raw_vm_answer_probe(&vm);
	expect_done(1, 10, 2);
	stop_guest();
}
END_TEST

START_TEST(an_owner_is_told_again_what_its_registration_was_answered)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct wire_resumed resumed;
	size_t n;

	start_guest(NULL);
	restart();
	raw_vm_send_resume(&vm, d, 1);
	n = raw_receive_type(vm.owner, WIRE_RESUMED, message, NULL);
	ck_assert_ptr_null(wire_get_resumed(message, n, &resumed));
	ck_assert_uint_eq(resumed.executor, WIRE_EXECUTOR_VMM);
	ck_assert_uint_eq(resumed.n_views, 2);
	for (uint32_t i = 0; i < 2; i++) {
		struct wire_view view;

		ck_assert_ptr_null(wire_at_resumed_view(message, i, &view));
		ck_assert_uint_eq(view.vtl, i);
		ck_assert_uint_eq(view.abi, KVMATTR_ABI_DENY);
		ck_assert_uint_eq(view.supported, 15);
	}
	stop_guest();
}
END_TEST

/* An owner's RESUME, with the executor's socket and these views. */
static int send_owner_resume(const struct wire_view *views, uint32_t n_views, const int *view_fds)
{
	struct {
		struct wire_resume head;
		struct wire_view views[3];
	} message = { .head = raw_make_resume(&vm.welcome, 1) };
	int socket = raw_greet(d), fds[4];

	fds[0] = socket_for_executor();
	message.head.n_views = n_views;
	message.head.header.size =
		(uint32_t)(sizeof(message.head) + n_views * sizeof(message.views[0]));
	for (uint32_t i = 0; i < n_views; i++) {
		message.views[i] = views[i];
		fds[1 + i] = view_fds[i];
	}
	raw_send_with_fds(socket, &message, message.head.header.size, fds,
			  n_views ? 1 + n_views : 0);
	close(fds[0]);
	return socket;
}

START_TEST(an_owner_that_brings_something_else_is_refused_and_may_come_again)
{
	static const struct {
		const char *what;
		struct wire_view views[3];
		uint32_t n_views;
		int place[3]; /* in the fds below */
		enum kvmattr_status status;
	} cases[] = {
		{ "other views", { { 0 } }, 0, { 0 }, KVMATTR_INVALID_PARAMETER },
		{ "other views", { { .vtl = 0 } }, 1, { 0 }, KVMATTR_INVALID_PARAMETER },
		{ "other views",
		  { { .vtl = 1 }, { .vtl = 0 } },
		  2,
		  { 0, 1 },
		  KVMATTR_INVALID_PARAMETER },
		{ "other views",
		  { { .vtl = 0 }, { .vtl = 1 }, { .vtl = 2 } },
		  3,
		  { 0, 1, 2 },
		  KVMATTR_INVALID_PARAMETER },
		{ "spoke deny",
		  { { .vtl = 0, .abi = KVMATTR_ABI_MAINLINE }, { .vtl = 1 } },
		  2,
		  { 0, 1 },
		  KVMATTR_ABI_MISMATCH },
		{ "have the same VM",
		  { { .vtl = 0 }, { .vtl = 1 } },
		  2,
		  { 0, 0 },
		  KVMATTR_INVALID_PARAMETER },
		{ "is no VM", { { .vtl = 0 }, { .vtl = 1 } }, 2, { 0, 3 }, KVMATTR_NOT_A_VM },
		{ "is registered already",
		  { { .vtl = 0 }, { .vtl = 1 } },
		  2,
		  { 0, 2 },
		  KVMATTR_VM_EXISTS },
	};
	struct raw_vm other;
	int fds[4], view_fds[3], socket;

	start_guest(NULL);
	restart();
	other = raw_vm_start(d, "other");
	fds[0] = vm.fds[0];
	fds[1] = vm.fds[1];
	fds[2] = other.fds[0];
	fds[3] = agent;
	for (int i = 0; i < 3; i++)
		view_fds[i] = fds[cases[_i].place[i]];
	socket = send_owner_resume(cases[_i].views, cases[_i].n_views, view_fds);
	raw_expect_refusal(socket, RESUME_ID, cases[_i].status, cases[_i].what);
	close(socket);
	raw_vm_resume(&vm, d, 1, 1);
	raw_expect_alive(vm.owner);
	raw_vm_close(&other);
	stop_guest();
}
END_TEST

START_TEST(an_owner_that_leaves_after_it_came_back_takes_its_vm_along)
{
	start_guest(NULL);
	restart();
	resume_agent(0, 0);
	raw_vm_resume(&vm, d, 1, 1);
	raw_vm_close(&vm);
	raw_expect_closed(agent, KVMATTR_NO_VM, "VM 'guest' is gone");
	agent = vm.owner = vm.executor = vm.fds[0] = vm.fds[1] = -1;
	ck_assert(!control_has_vm(control, "guest"));
	stop_guest();
}
END_TEST

/* The daemon hears of the end when it answers; and of the process, which lives on, nothing more. */
START_TEST(an_owner_that_asks_and_leaves_before_the_answer_takes_its_vm_along)
{
	struct {
		struct wire_resume head;
		struct wire_view views[2];
	} message = { .views = { { .vtl = 0 }, { .vtl = 1 } } };
	int socket, fds[3];
	unsigned int n_fds;

	start_guest(NULL);
	restart();
	message.head = raw_make_resume(&vm.welcome, 1);
	message.head.header.size = sizeof(message);
	message.head.n_views = 2;
	fds[0] = socket_for_executor();
	fds[1] = vm.fds[0];
	fds[2] = vm.fds[1];
	/* An answer: this connection is among what is counted. */
	ck_assert(control_has_vm(control, "guest"));
	n_fds = kvmattrd_count_fds(d);
	socket = raw_greet(d);
	ck_assert_int_eq(kill(d->pid, SIGSTOP), 0);
	raw_send_with_fds(socket, &message, sizeof(message), fds, 3);
	close(socket);
	close(fds[0]);
	ck_assert_int_eq(kill(d->pid, SIGCONT), 0);
	EVENTUALLY(GONE_MS, !control_has_vm(control, "guest"));
	/* Those of its journal, and the process's that was watched while it was away, are closed. */
	EVENTUALLY(GONE_MS, kvmattrd_count_fds(d) + 4 == n_fds);
	stop_guest();
}
END_TEST

int main(void)
{
	TCase *owners = harness_make_case("owners", 20);

	tcase_add_test(owners, updates_of_agents_that_are_back_first_wait_for_the_owner);
	tcase_add_test(owners, updates_wait_while_the_executor_that_came_back_is_busy);
	tcase_add_test(owners, an_owner_is_told_again_what_its_registration_was_answered);
	tcase_add_loop_test(
		owners, an_owner_that_brings_something_else_is_refused_and_may_come_again, 0, 8);
	tcase_add_test(owners, an_owner_that_leaves_after_it_came_back_takes_its_vm_along);
	tcase_add_test(owners, an_owner_that_asks_and_leaves_before_the_answer_takes_its_vm_along);
	return harness_run("resume of owners", (TCase *const[]){ owners, NULL });
}
