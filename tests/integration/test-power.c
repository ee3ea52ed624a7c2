/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Durability "power": what a peer is answered is on the disk, whoever wrote it, and however often
 * the disk fails; who cannot be answered is told why, or waits.
 */
#include "tests/integration/faulty-disk.h"
#include "tests/integration/lone-agent.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TROUBLE_MS 10000
#define POWER      "[journal]\ndurability = power\n"

/* False where there is no such disk; then the test is skipped. */
static bool has_faulty_disk(void)
{
	bool has = faulty_disk_begin();

	if (!has)
		puts("# skipped: a disk that fails: something keeps the test from answering "
		     "others' system calls (seccomp notifications, Linux 5.5)");
	return has;
}

/* The next daemon, while the disk cannot be synced; and it knows. */
static void restart_on_failing_disk(void)
{
	kill_daemon();
	faulty_disk_set(EIO);
	launch(POWER);
	EVENTUALLY(TROUBLE_MS, kvmattrd_has_logged(d, "could not be put on the disk"));
}

START_TEST(recorded_answers_wait_until_what_the_dead_daemon_wrote_is_on_the_disk)
{
	if (!has_faulty_disk())
		return;
	start_guest(POWER);
	do_update(1, 10);
	restart_on_failing_disk();
	resume_agent(0, 1);
	raw_expect_alive(agent); /* no answer came before */
	raw_vm_resume(&vm, d, 0, 1);
	raw_expect_alive(vm.owner);
	ck_assert(is_silent(agent));
	faulty_disk_set(0);
	ck_assert_uint_eq(raw_receive_answer(agent, 1, NULL), 0);
	ck_assert_uint_eq(raw_receive_answer(vm.owner, 1, NULL), 0);
	do_update(2, 20);
	stop_guest();
}
END_TEST

START_TEST(who_lacks_no_answer_is_told_at_once_why_nothing_more_can_be_done)
{
	struct wire_failure failure = { 0 };

	if (!has_faulty_disk())
		return;
	start_guest(POWER);
	do_update(1, 10);
	restart_on_failing_disk();
	raw_vm_resume(&vm, d, 1, 1);
	resume_agent(1, 1);
	send_update(2, 20);
	ck_assert_uint_eq(raw_receive_answer(agent, 2, &failure), 1);
	ck_assert_int_eq(failure.status, KVMATTR_JOURNAL_FAILED);
	ck_assert_ptr_nonnull(strstr(failure.text, strerror(EIO)));
	expect_layer("guest", 20, "rwx", "default");
	faulty_disk_set(0);
	EVENTUALLY(TROUBLE_MS, kvmattrd_has_logged(d, "goes on in a new segment"));
	do_update(3, 30);
	stop_guest();
}
END_TEST

int main(void)
{
	TCase *disk = harness_make_case("disk", 60);
	TCase *const cases[] = { disk, NULL };

	tcase_add_test(disk, recorded_answers_wait_until_what_the_dead_daemon_wrote_is_on_the_disk);
	tcase_add_test(disk, who_lacks_no_answer_is_told_at_once_why_nothing_more_can_be_done);
	return harness_run("power", cases);
}
