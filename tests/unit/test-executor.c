/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The executor's loop, message by message over a real socket, on a target that does what the test
 * says and writes down every call: what it does, and what it cannot be made to do.
 */
#include "protocol/executor.h"
#include "protocol/kvm-abi.h"
#include "protocol/seqpacket.h"
#include "tests/unit/seeded-suite.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAGE UINT64_C(4096)

struct made {
	uint32_t target;
	enum kvmattr_abi abi;
	uint64_t gpa, size, attributes;
};

/* What calls were made, and what becomes of them. */
static struct {
	struct made made[64];
	unsigned int n_made;
	unsigned int n_probed;
	uint64_t at_most;        /* pages of one call; 0: all of them */
	unsigned int fail_after; /* calls, with this error */
	int error;
	uint64_t progress_of_failure; /* pages */
	unsigned int n_interruptions; /* EINTR so often first */
	bool is_idle;                 /* neither progress nor error */
} target;

static int sockets[2];
static struct executor executor;
static int n_fds_before;

static void fake_probe(void *context, uint32_t place, struct wire_probe_result *ret)
{
	ck_assert_ptr_eq(context, &target);
	target.n_probed++;
	ret->v10_supported = 100 + place;
	ret->v10_errno = (int32_t)place;
	ret->cap = 200 + place;
	ret->cap_errno = 7;
}

static int fake_set(void *context, uint32_t place, enum kvmattr_abi abi, uint64_t *gpa,
		    uint64_t *size, uint64_t attributes)
{
	uint64_t done = *size;

	ck_assert_ptr_eq(context, &target);
	ck_assert_uint_lt(target.n_made, N(target.made));
	target.made[target.n_made++] = (struct made){ place, abi, *gpa, *size, attributes };
	if (target.n_interruptions) {
		target.n_interruptions--;
		return EINTR;
	}
	if (target.is_idle)
		return 0;
	if (target.error && target.n_made > target.fail_after) {
		*gpa += target.progress_of_failure * PAGE;
		*size -= target.progress_of_failure * PAGE;
		return target.error;
	}
	if (target.at_most && done > target.at_most * PAGE)
		done = target.at_most * PAGE;
	*gpa += done;
	*size -= done;
	return 0;
}

static const struct executor_ops fake_ops = { .probe = fake_probe, .set_attributes = fake_set };

static int n_open_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int n = 0;

	ck_assert_ptr_nonnull(directory);
	while (readdir(directory))
		n++;
	closedir(directory);
	return n;
}

static void start(void)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets), 0);
	memset(&target, 0, sizeof(target));
	executor = (struct executor){
		.socket = sockets[1], .n_targets = 3, .ops = &fake_ops, .context = &target
	};
	n_fds_before = n_open_fds();
}

static void no_fd_is_left_open(void)
{
	ck_assert_int_eq(n_open_fds(), n_fds_before);
	close(sockets[0]);
	close(sockets[1]);
}

static void send_fds(const void *data, size_t size, const int *fds, size_t n_fds)
{
	struct iovec part = { (void *)data, size };

	ck_assert_int_eq(seqpacket_send(sockets[0], &part, 1, fds, n_fds, MSG_DONTWAIT), 0);
}

static size_t receive(void *buffer, size_t size)
{
	struct seqpacket_fds fds;
	ssize_t n = seqpacket_receive(sockets[0], buffer, size, &fds, MSG_DONTWAIT);

	ck_assert_int_gt(n, 0);
	ck_assert_uint_eq(fds.n, 0);
	return (size_t)n;
}

static void expect_no_answer(void)
{
	struct seqpacket_fds fds;
	char byte;

	ck_assert_int_eq(seqpacket_receive(sockets[0], &byte, 1, &fds, MSG_DONTWAIT), -EAGAIN);
}

struct calls {
	struct wire_calls head;
	struct wire_call call[8];
};

/* Pages 0x10 to 0x13 of target 0, 0x20 to 0x27 of target 1, and so on: four more each time. */
static struct calls make_calls(uint32_t n, size_t *ret_size)
{
	struct calls calls = { .head.n_calls = n };

	*ret_size = sizeof(calls.head) + n * sizeof(calls.call[0]);
	calls.head.header = wire_header_make(WIRE_CALLS, *ret_size, 99);
	for (uint32_t i = 0; i < n; i++)
		calls.call[i] = (struct wire_call){ .gpa = (i + 1) * 16 * PAGE,
						    .size = (i + 1) * 4 * PAGE,
						    .attributes = i + 1,
						    .target = (uint16_t)(i % 3),
						    .abi = KVMATTR_ABI_DENY };
	return calls;
}

/* So many calls, which have to be answered so. */
static void call(uint32_t n, uint32_t n_done, int error, uint64_t n_partial)
{
	struct wire_called called;
	size_t size;
	struct calls calls = make_calls(n, &size);
	char answer[sizeof(called) + 1];

	send_fds(&calls, size, NULL, 0);
	ck_assert_int_eq(executor_dispatch(&executor, MSG_DONTWAIT), 1);
	size = receive(answer, sizeof(answer));
	ck_assert_ptr_null(wire_get_called(answer, size, &called));
	ck_assert_uint_eq(called.header.type, WIRE_CALLED);
	ck_assert_uint_eq(called.header.size, sizeof(called));
	ck_assert_uint_eq(called.header.id, 99);
	ck_assert_uint_eq(called.n_done, n_done);
	ck_assert_int_eq(called.error, error);
	ck_assert_uint_eq(called.partial, n_partial * PAGE);
	expect_no_answer();
}

START_TEST(calls_are_made_as_they_are_told_and_in_their_order)
{
	size_t size;
	struct calls calls = make_calls(8, &size);

	call(8, 8, 0, 0);
	ck_assert_uint_eq(target.n_made, 8);
	for (size_t i = 0; i < 8; i++) {
		ck_assert_uint_eq(target.made[i].target, calls.call[i].target);
		ck_assert_uint_eq(target.made[i].abi, KVMATTR_ABI_DENY);
		ck_assert_uint_eq(target.made[i].gpa, calls.call[i].gpa);
		ck_assert_uint_eq(target.made[i].size, calls.call[i].size);
		ck_assert_uint_eq(target.made[i].attributes, calls.call[i].attributes);
	}
}
END_TEST

START_TEST(partial_progress_is_gone_on_with_from_where_it_stopped)
{
	target.at_most = 3;
	call(2, 2, 0, 0);
	/* 3 + 1, then 3 + 3 + 2 */
	ck_assert_uint_eq(target.n_made, 5);
	ck_assert_uint_eq(target.made[1].gpa, 0x13 * PAGE);
	ck_assert_uint_eq(target.made[1].size, PAGE);
	ck_assert_uint_eq(target.made[4].gpa, 0x26 * PAGE);
	ck_assert_uint_eq(target.made[4].size, 2 * PAGE);
	ck_assert_uint_eq(target.made[4].attributes, 2);
}
END_TEST

START_TEST(a_call_that_makes_no_progress_ends_with_eio)
{
	target.is_idle = true;
	call(2, 0, EIO, 0);
	ck_assert_uint_eq(target.n_made, 1);
}
END_TEST

START_TEST(an_interrupted_call_is_made_again)
{
	target.n_interruptions = 5;
	call(1, 1, 0, 0);
	ck_assert_uint_eq(target.n_made, 6);
}
END_TEST

START_TEST(the_first_call_that_fails_ends_them_and_what_was_done_is_said)
{
	target.error = ENOMEM;
	target.fail_after = (unsigned int)_i;
	call(6, (uint32_t)_i, ENOMEM, 0);
	ck_assert_uint_eq(target.n_made, (unsigned int)_i + 1);
}
END_TEST

START_TEST(what_is_done_of_a_failed_call_is_said)
{
	/* Calls of 4 and 8 pages, three at a time: the second one fails at its third part. */
	target.at_most = 3;
	target.error = EFAULT;
	target.fail_after = 4;
	call(3, 1, EFAULT, 6);
	ck_assert_uint_eq(target.n_made, 5);
	/* A call that fails and moves on nevertheless. */
	memset(&target, 0, sizeof(target));
	target.error = EFAULT;
	target.progress_of_failure = 2;
	call(3, 0, EFAULT, 2);
}
END_TEST

START_TEST(a_probe_asks_every_target_once)
{
	struct wire_probe probe = { .n_targets = 3 };
	char answer[1000];
	struct wire_probed probed;
	struct wire_probe_result result;
	size_t size;

	probe.header = wire_header_make(WIRE_PROBE, sizeof(probe), 5);
	send_fds(&probe, sizeof(probe), NULL, 0);
	ck_assert_int_eq(executor_dispatch(&executor, MSG_DONTWAIT), 1);
	size = receive(answer, sizeof(answer));
	ck_assert_ptr_null(wire_get_probed(answer, size, &probed));
	ck_assert_uint_eq(probed.header.type, WIRE_PROBED);
	ck_assert_uint_eq(probed.header.id, 5);
	ck_assert_uint_eq(probed.n_targets, 3);
	ck_assert_uint_eq(target.n_probed, 3);
	for (uint32_t i = 0; i < 3; i++) {
		ck_assert_ptr_null(wire_at_probe_result(answer, i, &result));
		ck_assert_uint_eq(result.v10_supported, 100 + i);
		ck_assert_int_eq(result.v10_errno, (int)i);
		ck_assert_uint_eq(result.cap, 200 + i);
		ck_assert_int_eq(result.cap_errno, 7);
	}
	ck_assert_uint_eq(target.n_made, 0);
}
END_TEST

START_TEST(a_probe_of_other_targets_than_there_are_is_refused)
{
	struct wire_probe probe = { .n_targets = _i ? 2 : 4 };

	probe.header = wire_header_make(WIRE_PROBE, sizeof(probe), 5);
	send_fds(&probe, sizeof(probe), NULL, 0);
	ck_assert_int_eq(executor_dispatch(&executor, MSG_DONTWAIT), -EPROTO);
	ck_assert_uint_eq(target.n_probed, 0);
	expect_no_answer();
}
END_TEST

/* Whatever is wrong with one of the calls, none is made: not those before it, either. */
START_TEST(hostile_calls_are_refused_without_any_call_made)
{
	static const struct {
		struct wire_call call;
		const char *what;
	} hostile[] = {
		{ { 0, PAGE, 0, 3, KVMATTR_ABI_DENY, 0 }, "a target that there is not" },
		{ { 0, PAGE, 0, 65535, KVMATTR_ABI_DENY, 0 }, "the last target" },
		{ { 1, PAGE, 0, 0, KVMATTR_ABI_DENY, 0 }, "an unaligned address" },
		{ { 0, PAGE + 8, 0, 0, KVMATTR_ABI_DENY, 0 }, "an unaligned size" },
		{ { 0, 0, 0, 0, KVMATTR_ABI_DENY, 0 }, "no pages" },
		{ { 0 - PAGE, 2 * PAGE, 0, 0, KVMATTR_ABI_DENY, 0 }, "an end that wraps" },
		{ { 0, PAGE, 0, 0, 0, 0 }, "no ABI" },
		{ { 0, PAGE, 0, 0, KVMATTR_N_ABIS, 0 }, "an unknown ABI" },
		{ { 0, PAGE, 0, 0, KVMATTR_ABI_DENY, 1 }, "a reserved field" },
	};
	size_t size;
	struct calls calls = make_calls(4, &size);

	calls.call[_i % 4] = hostile[_i / 4].call;
	ck_assert_int_lt(_i / 4, (int)N(hostile));
	send_fds(&calls, size, NULL, 0);
	ck_assert_int_eq(executor_dispatch(&executor, MSG_DONTWAIT), -EPROTO);
	ck_assert_msg(!target.n_made, "%s: %u call(s) made", hostile[_i / 4].what, target.n_made);
	expect_no_answer();
}
END_TEST

START_TEST(a_message_that_is_none_is_refused)
{
	size_t size;
	struct calls calls = make_calls(4, &size), bad = calls;

	bad.head.n_calls = 5;
	send_fds(&bad, size, NULL, 0);
	ck_assert_int_eq(executor_dispatch(&executor, MSG_DONTWAIT), -EPROTO);
	send_fds(&calls, size - 1, NULL, 0);
	ck_assert_int_eq(executor_dispatch(&executor, MSG_DONTWAIT), -EPROTO);
	send_fds("x", 1, NULL, 0);
	ck_assert_int_eq(executor_dispatch(&executor, MSG_DONTWAIT), -EPROTO);
	bad = calls;
	bad.head.header.type = WIRE_UPDATE; /* of another socket */
	send_fds(&bad, size, NULL, 0);
	ck_assert_int_eq(executor_dispatch(&executor, MSG_DONTWAIT), -EPROTO);
	bad.head.header.type = WIRE_CALLED;
	send_fds(&bad, size, NULL, 0);
	ck_assert_int_eq(executor_dispatch(&executor, MSG_DONTWAIT), -EPROTO);
	ck_assert_uint_eq(target.n_made, 0);
	expect_no_answer();
}
END_TEST

START_TEST(descriptors_in_a_message_are_closed)
{
	int fds[3] = { 0, 1, 2 };
	struct wire_called called;
	size_t size;
	struct calls calls = make_calls(1, &size);

	send_fds(&calls, size, fds, 3);
	ck_assert_int_eq(executor_dispatch(&executor, MSG_DONTWAIT), 1);
	receive(&called, sizeof(called));
	ck_assert_int_eq(n_open_fds(), n_fds_before);
	send_fds("x", 1, fds, 3);
	ck_assert_int_eq(executor_dispatch(&executor, MSG_DONTWAIT), -EPROTO);
	ck_assert_int_eq(n_open_fds(), n_fds_before);
	send_fds("", 0, fds, 3);
	ck_assert_int_eq(executor_dispatch(&executor, MSG_DONTWAIT), -EBADMSG);
	ck_assert_int_eq(n_open_fds(), n_fds_before);
}
END_TEST

START_TEST(without_a_message_there_is_nothing_to_do)
{
	ck_assert_int_eq(executor_dispatch(&executor, MSG_DONTWAIT), -EAGAIN);
	close(sockets[0]);
	ck_assert_int_eq(executor_dispatch(&executor, MSG_DONTWAIT), 0);
	ck_assert_int_eq(executor_dispatch(&executor, 0), 0);
	sockets[0] = -1;
	n_fds_before--;
}
END_TEST

START_TEST(an_answer_that_nobody_takes_is_an_error)
{
	size_t size;
	struct calls calls = make_calls(1, &size);

	send_fds(&calls, size, NULL, 0);
	close(sockets[0]);
	sockets[0] = -1;
	n_fds_before--;
	ck_assert_int_eq(executor_dispatch(&executor, MSG_DONTWAIT), -EPIPE);
}
END_TEST

START_TEST(random_messages_make_no_call_outside_of_the_targets)
{
	uint64_t random = seeded_suite_random(_i);

	for (unsigned int round = 0; round < 2000; round++) {
		size_t size;
		uint32_t n = 1 + (uint32_t)random_below(&random, 8);
		struct calls calls = make_calls(n, &size);
		uint8_t *bytes = (uint8_t *)&calls;
		char answer[100];
		int r;

		for (uint64_t i = random_below(&random, 4); i; i--)
			bytes[random_below(&random, size)] = (uint8_t)random_below(&random, 256);
		target.n_made = 0;
		send_fds(&calls, size, NULL, 0);
		r = executor_dispatch(&executor, MSG_DONTWAIT);
		ck_assert(r == 1 || r == -EPROTO);
		if (r == 1)
			receive(answer, sizeof(answer));
		else
			ck_assert_uint_eq(target.n_made, 0);
		for (unsigned int i = 0; i < target.n_made; i++) {
			ck_assert_uint_lt(target.made[i].target, 3);
			ck_assert_uint_eq(target.made[i].gpa % PAGE, 0);
			ck_assert_uint_eq(target.made[i].size % PAGE, 0);
			ck_assert_uint_gt(target.made[i].gpa + target.made[i].size,
					  target.made[i].gpa);
		}
	}
}
END_TEST

/* KVM's own calls, on an fd that is no VM. */
START_TEST(what_is_no_vm_answers_kvms_calls_with_an_errno)
{
	int fd = dup(sockets[0]);
	struct wire_probe_result result;
	uint64_t gpa = 0, size = PAGE;

	executor_kvm_ops.probe(&fd, 0, &result);
	ck_assert_int_eq(result.v10_errno, ENOTTY);
	ck_assert_int_eq(result.cap_errno, ENOTTY);
	ck_assert_uint_eq(result.v10_supported, 0);
	ck_assert_uint_eq(result.cap, 0);
	for (unsigned int abi = 1; abi < KVMATTR_N_ABIS; abi++)
		ck_assert_int_eq(executor_kvm_ops.set_attributes(&fd, 0, (enum kvmattr_abi)abi,
								 &gpa, &size, 7),
				 ENOTTY);
	ck_assert_int_eq(executor_kvm_ops.set_attributes(&fd, 0, KVMATTR_ABI_PROBE, &gpa, &size, 7),
			 EINVAL);
	ck_assert_uint_eq(gpa, 0);
	ck_assert_uint_eq(size, PAGE);
	close(fd);
}
END_TEST

int main(void)
{
	TCase *calls = tcase_create("calls");
	TCase *hostile = tcase_create("hostile");

	tcase_add_checked_fixture(calls, start, no_fd_is_left_open);
	tcase_add_checked_fixture(hostile, start, no_fd_is_left_open);
	tcase_add_test(calls, calls_are_made_as_they_are_told_and_in_their_order);
	tcase_add_test(calls, partial_progress_is_gone_on_with_from_where_it_stopped);
	tcase_add_test(calls, a_call_that_makes_no_progress_ends_with_eio);
	tcase_add_test(calls, an_interrupted_call_is_made_again);
	tcase_add_loop_test(calls, the_first_call_that_fails_ends_them_and_what_was_done_is_said, 0,
			    6);
	tcase_add_test(calls, what_is_done_of_a_failed_call_is_said);
	tcase_add_test(calls, a_probe_asks_every_target_once);
	tcase_add_test(calls, without_a_message_there_is_nothing_to_do);
	tcase_add_test(calls, an_answer_that_nobody_takes_is_an_error);
	tcase_add_test(calls, what_is_no_vm_answers_kvms_calls_with_an_errno);
	tcase_add_loop_test(hostile, a_probe_of_other_targets_than_there_are_is_refused, 0, 2);
	tcase_add_loop_test(hostile, hostile_calls_are_refused_without_any_call_made, 0, 36);
	tcase_add_test(hostile, a_message_that_is_none_is_refused);
	tcase_add_test(hostile, descriptors_in_a_message_are_closed);
	tcase_add_loop_test(hostile, random_messages_make_no_call_outside_of_the_targets, 0, 4);
	return seeded_suite_run("executor", (TCase *[]){ calls, hostile, NULL });
}
