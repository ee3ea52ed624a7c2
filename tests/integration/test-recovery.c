/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A daemon that is killed and started again on the same directories: which VMs are there, and as
 * what.
 */
#include "tests/integration/restarts.h"
#include "tests/integration/vmm-process.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char impatient[] = "[limits]\nowner-grace-ms = 200\n";

/* ---- What comes back ----------------------------------------------------------------------- */

START_TEST(a_vm_is_there_again_as_its_last_answer_left_it)
{
	struct raw_vm vm;
	int64_t commit;

	start(NULL);
	vm = make_vm("guest");
	commit = commit_of("guest");
	restart();
	expect_vm("guest", "waiting", true);
	ck_assert_int_eq(commit_of("guest"), commit);
	expect_layer("guest", 5, "r", "explicit");
	expect_layer("guest", 7, "rwx", "default");
	raw_vm_resume(&vm, d, 2, 2);
	raw_expect_alive(vm.owner);
	expect_vm("guest", "idle", true);
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(nothing_is_told_to_kvm_again_that_it_is_known_to_hold)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct raw_update update = raw_make_update(3);
	struct wire_calls calls;
	struct wire_call call;
	struct raw_vm vm;
	size_t n;

	start(NULL);
	vm = make_vm("guest");
	restart();
	raw_vm_resume(&vm, d, 2, 2);
	/* The first calls that come are those of the next update. */
	update.gfns[0] = 100;
	update.gfns[1] = 101;
	raw_send(vm.owner, &update, sizeof(update));
	n = raw_receive_type(vm.executor, WIRE_CALLS, message, NULL);
	ck_assert_ptr_null(wire_get_calls(message, n, &calls));
	ck_assert_uint_eq(calls.n_calls, 1);
	ck_assert_ptr_null(wire_at_call(message, 0, &call));
	ck_assert_uint_eq(call.gpa, 100 << KVMATTR_PAGE_SHIFT);
	ck_assert_uint_eq(call.size, 2 << KVMATTR_PAGE_SHIFT);
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(a_batch_whose_end_is_not_known_is_taken_back_in_kvm_and_done_when_it_is_sent_again)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct raw_update update = raw_make_update(2);
	struct raw_vm vm;

	start(NULL);
	vm = raw_vm_start(d, "guest");
	raw_send(vm.owner, &update, sizeof(update));
	raw_receive_type(vm.executor, WIRE_CALLS, message, NULL); /* and no answer to it */
	restart();
	raw_vm_resume(&vm, d, 1, 1);
	ck_assert_uint_eq(raw_vm_take_calls(&vm, 5, 0), 0); /* rwx denies nothing */
	raw_send(vm.owner, &update, sizeof(update));
	ck_assert_uint_eq(raw_vm_take_calls(&vm, 5, 0), 6); /* r denies write and execute */
	ck_assert_uint_eq(raw_receive_answer(vm.owner, 2, NULL), 0);
	expect_layer("guest", 5, "r", "explicit");
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(an_orderly_stop_leaves_vms_to_the_next_daemon_and_tells_nobody_that_they_are_gone)
{
	uint8_t message[WIRE_MAX_MESSAGE];
	struct raw_vm vm;

	start(NULL);
	vm = make_vm("guest");
	control_close(control);
	kvmattrd_terminate(d);
	ck_assert_uint_eq(raw_receive(vm.owner, message), 0);
	ck_assert_uint_eq(raw_receive(vm.executor, message), 0);
	launch(NULL);
	expect_vm("guest", "waiting", true);
	raw_vm_resume(&vm, d, 2, 2);
	raw_expect_alive(vm.owner);
	expect_layer("guest", 5, "r", "explicit");
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(a_vm_comes_back_however_often_the_daemon_dies)
{
	struct raw_vm vm;
	uint64_t seqno = 2;

	start(NULL);
	vm = make_vm("guest");
	for (uint64_t i = 0; i < 5; i++) {
		struct raw_update update = raw_make_update(seqno + 1);

		restart();
		raw_vm_resume(&vm, d, seqno, seqno);
		update.gfns[0] = 100 + 2 * i;
		update.gfns[1] = 101 + 2 * i;
		raw_send(vm.owner, &update, sizeof(update));
		raw_vm_answer_calls(&vm);
		ck_assert_uint_eq(raw_receive_answer(vm.owner, ++seqno, NULL), 0);
	}
	restart();
	for (uint64_t gfn = 100; gfn < 110; gfn++)
		expect_layer("guest", gfn, "r", "explicit");
	expect_layer("guest", 110, "rwx", "default");
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(names_and_sessions_of_vms_that_came_back_are_not_given_to_others)
{
	struct raw_register registration = raw_make_register("guest");
	struct wire_welcome welcome;
	struct raw_vm vm, other;
	int fd;

	start(NULL);
	vm = make_vm("guest");
	restart();
	other = raw_vm_begin(d, &registration);
	raw_expect_refusal(other.owner, registration.head.header.id, KVMATTR_VM_EXISTS,
			   "waits for it to come back");
	fd = raw_connect(d);
	welcome = raw_say_hello(fd);
	ck_assert_uint_gt(welcome.session, vm.welcome.session);
	close(fd);
	raw_vm_close(&other);
	raw_vm_close(&vm);
	stop();
}
END_TEST

/* ---- What does not ------------------------------------------------------------------------- */

/* VMs that this daemon has released, with all that goes with it. */
static int64_t count_released(void)
{
	struct json_object *answer = control_call(control, "daemon.get", "{}");
	int64_t n = json_number_at(answer, "counters.vms_released");

	json_object_put(answer);
	return n;
}

START_TEST(a_vm_that_was_released_stays_released)
{
	struct raw_vm vm;

	start(NULL);
	vm = make_vm("guest");
	raw_vm_close(&vm);
	EVENTUALLY(GONE_MS, count_released() == 1);
	restart();
	ck_assert(!control_has_vm(control, "guest"));
	vm = make_vm("guest");
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(a_registration_that_was_not_completed_leaves_nothing)
{
	struct raw_register registration = raw_make_register("guest");
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct raw_vm vm;

	start(NULL);
	registration.ram[0].private = 1; /* so that there is something to tell KVM */
	vm = raw_vm_begin(d, &registration);
	raw_vm_answer_probe(&vm);
	raw_receive_type(vm.executor, WIRE_CALLS, message, NULL);
	ck_assert_str_ne(journal_of("guest"), "");
	restart();
	ck_assert(!control_has_vm(control, "guest"));
	ck_assert_str_eq(journal_of("guest"), "");
	raw_vm_close(&vm);
	vm = make_vm("guest");
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(a_vm_whose_owner_does_not_come_back_in_time_is_released)
{
	struct raw_vm vm;

	start(NULL);
	vm = make_vm("guest");
	kill_daemon();
	launch(impatient);
	EVENTUALLY(GONE_MS, count_released() == 1);
	ck_assert(kvmattrd_has_logged(d, "has not come back within 200 ms"));
	raw_vm_send_resume(&vm, d, 2);
	raw_expect_refusal(vm.owner, 0x2E5, KVMATTR_NO_SESSION, "no such session");
	restart();
	ck_assert(!control_has_vm(control, "guest"));
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(a_vm_whose_owner_came_back_in_time_stays)
{
	const unsigned int grace_ms = 3000 * harness_patience();
	char patient[64];
	struct raw_vm vm;
	uint64_t until_ms;

	snprintf(patient, sizeof(patient), "[limits]\nowner-grace-ms = %u\n", grace_ms);
	start(NULL);
	vm = make_vm("guest");
	kill_daemon();
	launch(patient);
	raw_vm_resume(&vm, d, 2, 2);
	until_ms = harness_now_ms() + grace_ms + 100;
	while (harness_now_ms() < until_ms)
		harness_pause();
	raw_expect_alive(vm.owner);
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(a_vm_whose_vmm_died_while_the_daemon_was_away_is_released_at_once)
{
	struct vmm_process vmm;

	start(NULL);
	vmm = vmm_process_start(d, &(struct simulated_vmm_options){ .name = "guest" });
	kill_daemon();
	vmm_process_end(&vmm);
	launch(NULL);
	EVENTUALLY(GONE_MS, !control_has_vm(control, "guest"));
	ck_assert(kvmattrd_has_logged(d, "ended while the daemon was away"));
	stop();
}
END_TEST

START_TEST(a_vm_whose_kernel_speaks_something_else_now_is_released)
{
	struct {
		struct wire_probed head;
		struct wire_probe_result results[2];
	} reply = { .results = { { .v10_errno = 25, .cap = 8 }, { .v10_errno = 25, .cap = 8 } } };
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct raw_vm vm;

	start(NULL);
	vm = make_vm("guest");
	restart();
	raw_vm_send_resume(&vm, d, 2);
	raw_receive_resumed(vm.owner);
	raw_receive_type(vm.executor, WIRE_PROBE, message, NULL);
	reply.head.header = wire_header_make(WIRE_PROBED, sizeof(reply),
					     ((const struct wire_header *)message)->id);
	reply.head.n_targets = 2;
	raw_send(vm.executor, &reply, sizeof(reply));
	raw_expect_closed(vm.owner, KVMATTR_NO_VM, "view of VTL 0");
	vm.owner = -1;
	ck_assert(!control_has_vm(control, "guest"));
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(the_later_one_of_two_vms_with_one_name_is_the_one)
{
	char journal[400], aside[128], command[1200];
	struct raw_vm vm, later;

	/* The first one's end is taken out of its journal, as if the disk had been full. */
	start(NULL);
	vm = make_vm("guest");
	snprintf(journal, sizeof(journal), "%s", journal_of("guest"));
	snprintf(aside, sizeof(aside), "%s/aside", d->directory);
	snprintf(command, sizeof(command), "cp -a %s %s", journal, aside);
	ck_assert_int_eq(system(command), 0);
	raw_vm_close(&vm);
	EVENTUALLY(GONE_MS, !control_has_vm(control, "guest"));
	later = raw_vm_start(d, "guest");
	kill_daemon();
	snprintf(command, sizeof(command), "rm -r %s && mv %s %s", journal, aside, journal);
	ck_assert_int_eq(system(command), 0);

	launch(NULL);
	expect_layer("guest", 5, "rwx", "default");
	raw_vm_resume(&later, d, 1, 1);
	raw_expect_alive(later.owner);
	restart();
	expect_layer("guest", 5, "rwx", "default");
	raw_vm_close(&later);
	stop();
}
END_TEST

int main(void)
{
	TCase *back = harness_make_case("what comes back", 20);
	TCase *gone = harness_make_case("what does not", 20);

	tcase_add_test(back, a_vm_is_there_again_as_its_last_answer_left_it);
	tcase_add_test(back, nothing_is_told_to_kvm_again_that_it_is_known_to_hold);
	tcase_add_test(
		back,
		a_batch_whose_end_is_not_known_is_taken_back_in_kvm_and_done_when_it_is_sent_again);
	tcase_add_test(
		back,
		an_orderly_stop_leaves_vms_to_the_next_daemon_and_tells_nobody_that_they_are_gone);
	tcase_add_test(back, a_vm_comes_back_however_often_the_daemon_dies);
	tcase_add_test(back, names_and_sessions_of_vms_that_came_back_are_not_given_to_others);
	tcase_add_test(gone, a_vm_that_was_released_stays_released);
	tcase_add_test(gone, a_registration_that_was_not_completed_leaves_nothing);
	tcase_add_test(gone, a_vm_whose_owner_does_not_come_back_in_time_is_released);
	tcase_add_test(gone, a_vm_whose_owner_came_back_in_time_stays);
	tcase_add_test(gone, a_vm_whose_vmm_died_while_the_daemon_was_away_is_released_at_once);
	tcase_add_test(gone, a_vm_whose_kernel_speaks_something_else_now_is_released);
	tcase_add_test(gone, the_later_one_of_two_vms_with_one_name_is_the_one);
	return harness_run("recovery", (TCase *const[]){ back, gone, NULL });
}
