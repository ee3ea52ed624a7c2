/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon is killed and started again by a service manager that kept its descriptors: no
 * connection ends, no peer has to do anything but RESUME.  And where not all came back, or nothing,
 * everyone comes back all the same.
 */
#include "tests/integration/control-client.h"
#include "tests/integration/fake-manager.h"
#include "tests/integration/harness.h"
#include "tests/integration/raw-peer.h"
#include "tests/integration/simulated-vmm.h"
#include "tests/integration/vmm-process.h"

#include <kvmattr.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOON_MS 5000
/* The sockets that listen. */
#define N_LISTENERS 2u
/* A VM of two views with its executor, its owner and one agent. */
#define N_OF_VM 5u

static struct kvmattrd *d;
static struct fake_manager *manager;

static void start(void)
{
	d = kvmattrd_prepare();
	manager = fake_manager_new(d->directory);
	d->manager = manager;
	kvmattrd_launch(d, NULL);
	ck_assert_uint_eq(fake_manager_count(manager, "*"), N_LISTENERS);
}

static void restart(void)
{
	kvmattrd_kill(d);
	kvmattrd_launch(d, NULL);
}

static void stop(void)
{
	EVENTUALLY(SOON_MS, fake_manager_count(manager, "*") == N_LISTENERS);
	kvmattrd_terminate(d);
	fake_manager_free(manager);
	kvmattrd_discard(d);
}

static bool is_silent(int socket)
{
	struct pollfd look = { .fd = socket, .events = POLLIN };

	return poll(&look, 1, 0) == 0;
}

/* ---- On the wire ----------------------------------------------------------------------------- */

/* Receives RESTARTED; the answer to it is the caller's to send. */
static struct wire_resume receive_restarted(int socket, const struct wire_welcome *welcome,
					    uint64_t answered)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct wire_resume resume = raw_make_resume(welcome, answered);
	struct wire_restarted restarted;
	size_t n = raw_receive_type(socket, WIRE_RESTARTED, message, NULL);

	ck_assert_ptr_null(wire_get_restarted(message, n, &restarted));
	resume.restarted = restarted.header.id;
	return resume;
}

/* RESTARTED is all that is there; RESUME, and the session goes on where it was. */
static void expect_restarted(int socket, const struct wire_welcome *welcome, uint64_t answered)
{
	const struct wire_resume resume = receive_restarted(socket, welcome, answered);

	raw_send(socket, &resume, sizeof(resume));
	ck_assert_uint_eq(raw_receive_resumed(socket).settled, answered);
	ck_assert(is_silent(socket));
}

START_TEST(peers_notice_nothing_but_restarted)
{
	struct wire_welcome welcome;
	struct raw_update update;
	struct raw_vm vm;
	int agent;

	start();
	vm = raw_vm_start(d, "guest");
	agent = raw_vm_open_welcomed_agent(&vm, 1, 0, &welcome);
	ck_assert_uint_eq(fake_manager_count(manager, "*"), N_LISTENERS + N_OF_VM);
	ck_assert_uint_eq(fake_manager_count(manager, "guest.*/*"), N_OF_VM);
	for (uint64_t life = 0; life < 3; life++) {
		update = raw_make_update(life + 1);
		raw_send(agent, &update, sizeof(update));
		raw_vm_answer_calls_until(&vm, agent);
		ck_assert_uint_eq(raw_receive_answer(agent, life + 1, NULL), 0);
		restart();
		raw_vm_answer_probe(&vm);
		expect_restarted(vm.owner, &vm.welcome, 1);
		expect_restarted(agent, &welcome, life + 1);
		ck_assert(is_silent(vm.executor));
		ck_assert_uint_eq(fake_manager_count(manager, "*"), N_LISTENERS + N_OF_VM);
	}
	close(agent);
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(what_was_said_to_a_daemon_that_died_is_not_said_to_the_next_one)
{
	struct wire_welcome welcome;
	struct wire_resume resume;
	struct raw_update update = raw_make_update(1);
	struct raw_vm vm;
	int agent;

	start();
	vm = raw_vm_start(d, "guest");
	agent = raw_vm_open_welcomed_agent(&vm, 1, 0, &welcome);
	restart();
	raw_vm_answer_probe(&vm);
	resume = receive_restarted(agent, &welcome, 0);
	/* Sent to nobody, and read by the daemon after. */
	kvmattrd_kill(d);
	raw_send(agent, &resume, sizeof(resume));
	raw_send(agent, &update, sizeof(update));
	kvmattrd_launch(d, NULL);
	raw_vm_answer_probe(&vm);
	expect_restarted(agent, &welcome, 0);
	raw_send(agent, &update, sizeof(update));
	raw_vm_answer_calls_until(&vm, agent);
	ck_assert_uint_eq(raw_receive_answer(agent, 1, NULL), 0);
	close(agent);
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(who_connects_while_there_is_no_daemon_is_served_by_the_next_one)
{
	struct control_client *control;
	struct json_object *result;
	struct wire_hello hello = raw_make_hello();
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	int peer;

	start();
	kvmattrd_kill(d);
	peer = raw_connect(d);
	raw_send(peer, &hello, sizeof(hello));
	control = control_connect(d);
	control_send(control, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.list\"}\n", 44);
	kvmattrd_launch(d, NULL);
	raw_receive_type(peer, WIRE_WELCOME, message, NULL);
	result = control_receive(control);
	ck_assert(json_has(result, "result.vms"));
	json_object_put(result);
	control_close(control);
	close(peer);
	stop();
}
END_TEST

/* ---- Through libkvmattr ---------------------------------------------------------------------- */

START_TEST(a_vmm_under_load_does_not_notice_that_daemons_are_killed)
{
	struct bystander *bystander;

	start();
	bystander = bystander_start(d);
	for (int i = 0; i < 10; i++) {
		restart();
		bystander_expect_progress(bystander);
		ck_assert_uint_eq(fake_manager_count(manager, "*"), N_LISTENERS + N_OF_VM);
	}
	bystander_stop(bystander);
	stop();
}
END_TEST

START_TEST(an_orderly_restart_is_a_pause_like_any_other)
{
	struct bystander *bystander;

	start();
	bystander = bystander_start(d);
	for (int i = 0; i < 3; i++) {
		kvmattrd_terminate(d);
		ck_assert_uint_eq(fake_manager_count(manager, "*"), N_LISTENERS + N_OF_VM);
		kvmattrd_launch(d, NULL);
		bystander_expect_progress(bystander);
	}
	bystander_stop(bystander);
	stop();
}
END_TEST

static const char *const lost[] = {
	"*",
	"guest.*/*",
	"guest.*/executor",
	"guest.*/view0",
	"guest.*/view1",
	"guest.*/session*",
	"agent.sock",
	"control.sock",
};

START_TEST(what_did_not_come_back_is_made_up_for_by_connecting_anew)
{
	struct simulated_vmm *vmm;
	struct kvmattr *agent;

	start();
	vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	agent = simulated_vmm_open_agent(vmm, 1, 0);
	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	expect_ok(agent, protect_range(agent, 1, KVMATTR_RX, 0, 64));
	kvmattrd_kill(d);
	fake_manager_lose(manager, lost[_i]);
	kvmattrd_launch(d, NULL);
	expect_ok(agent, protect_range(agent, 1, KVMATTR_R, 32, 64));
	expect_ok(vmm->owner, protect_range(vmm->owner, 1, KVMATTR_RW, 64, 64));
	expect_pages(vmm, 0, 0, 32, KVMATTR_RX);
	expect_pages(vmm, 0, 32, 32, KVMATTR_R);
	expect_pages(vmm, 0, 64, 64, KVMATTR_RW);
	expect_agreement(vmm, agent, 0);
	/* All of it is kept again, and comes back the next time. */
	EVENTUALLY(SOON_MS, fake_manager_count(manager, "*") == N_LISTENERS + N_OF_VM);
	restart();
	expect_ok(agent, protect_range(agent, 1, KVMATTR_RW, 32, 64));
	expect_agreement(vmm, vmm->owner, 0);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	stop();
}
END_TEST

START_TEST(a_manager_that_is_full_costs_a_reconnection_and_nothing_else)
{
	struct bystander *bystander;

	start();
	fake_manager_limit(manager, N_LISTENERS + (unsigned int)_i);
	bystander = bystander_start(d);
	for (int i = 0; i < 3; i++) {
		restart();
		bystander_expect_progress(bystander);
		ck_assert_uint_le(fake_manager_count(manager, "*"), N_LISTENERS + (unsigned int)_i);
	}
	bystander_stop(bystander);
	stop();
}
END_TEST

/* ---- What is let go of ----------------------------------------------------------------------- */

START_TEST(an_agent_that_goes_and_a_vm_that_is_released_leave_nothing_in_the_store)
{
	struct simulated_vmm *vmm;
	struct kvmattr *agent;

	start();
	vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	agent = simulated_vmm_open_agent(vmm, 1, 0);
	ck_assert_uint_eq(fake_manager_count(manager, "guest.*/session*"), 2);
	restart();
	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	kvmattr_close(agent);
	EVENTUALLY(SOON_MS, fake_manager_count(manager, "guest.*/session*") == 1);
	simulated_vmm_stop(vmm);
	EVENTUALLY(SOON_MS, fake_manager_count(manager, "guest.*") == 0);
	stop();
}
END_TEST

START_TEST(a_vmm_that_dies_while_there_is_no_daemon_leaves_nothing_in_the_store)
{
	struct vmm_process vmm;

	start();
	vmm = vmm_process_start(d, &(struct simulated_vmm_options){ 0 });
	ck_assert_uint_eq(fake_manager_count(manager, "guest.*"), N_OF_VM);
	kvmattrd_kill(d);
	ck_assert_int_eq(kill(vmm.pid, SIGKILL), 0);
	ck_assert_int_eq(waitid(P_PID, (id_t)vmm.pid, NULL, WEXITED | WNOWAIT), 0);
	kvmattrd_launch(d, NULL);
	EVENTUALLY(SOON_MS, fake_manager_count(manager, "guest.*") == 0);
	expect_refusal(vmm.agent, protect_range(vmm.agent, 1, KVMATTR_R, 0, 1), -EPIPE, "");
	vmm_process_end(&vmm);
	simulated_vmm_stop(simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 }));
	stop();
}
END_TEST

START_TEST(what_came_back_of_a_vm_that_nobody_knows_is_closed)
{
	int ends[2];

	start();
	kvmattrd_kill(d);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	fake_manager_keep(manager, "stranger.0123456789abcdef/session7", ends[0]);
	close(ends[0]);
	kvmattrd_launch(d, NULL);
	EVENTUALLY(SOON_MS, !is_silent(ends[1]));
	ck_assert(kvmattrd_has_logged(d, "'stranger.0123456789abcdef/session7' came back"));
	close(ends[1]);
	stop();
}
END_TEST

START_TEST(what_came_back_and_is_not_what_it_was_is_not_used)
{
	struct simulated_vmm *vmm;
	struct kvmattr *agent;
	char name[64];

	start();
	vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	agent = simulated_vmm_open_agent(vmm, 1, 0);
	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	kvmattrd_kill(d);
	/* One is in the place of another. */
	fake_manager_name(manager, "guest.*/executor", name, sizeof(name));
	fake_manager_lose(manager, name);
	fake_manager_keep(manager, name, simvm_kernel_fd(vmm->kernel, 0));
	kvmattrd_launch(d, NULL);
	ck_assert(kvmattrd_has_logged(d, "/executor' came back from the service manager and is not "
					 "what it is to be"));
	expect_ok(agent, protect_range(agent, 1, KVMATTR_R, 0, 8));
	expect_agreement(vmm, agent, 0);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	stop();
}
END_TEST

int main(void)
{
	TCase *wire = harness_make_case("on the wire", 20);
	TCase *library = harness_make_case("through the library", 60);
	TCase *gone = harness_make_case("what is let go of", 20);

	tcase_add_test(wire, peers_notice_nothing_but_restarted);
	tcase_add_test(wire, what_was_said_to_a_daemon_that_died_is_not_said_to_the_next_one);
	tcase_add_test(wire, who_connects_while_there_is_no_daemon_is_served_by_the_next_one);
	tcase_add_test(library, a_vmm_under_load_does_not_notice_that_daemons_are_killed);
	tcase_add_test(library, an_orderly_restart_is_a_pause_like_any_other);
	tcase_add_loop_test(library, what_did_not_come_back_is_made_up_for_by_connecting_anew, 0,
			    N(lost));
	tcase_add_loop_test(library, a_manager_that_is_full_costs_a_reconnection_and_nothing_else,
			    0, (int)N_OF_VM);
	tcase_add_test(gone,
		       an_agent_that_goes_and_a_vm_that_is_released_leave_nothing_in_the_store);
	tcase_add_test(gone, a_vmm_that_dies_while_there_is_no_daemon_leaves_nothing_in_the_store);
	tcase_add_test(gone, what_came_back_of_a_vm_that_nobody_knows_is_closed);
	tcase_add_test(gone, what_came_back_and_is_not_what_it_was_is_not_used);
	return harness_run("fd store, restart", (TCase *const[]){ wire, library, gone, NULL });
}
