/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The simulated kernel against tables written from the kernel's source: what each dialect's calls
 * take and refuse, how far they get, and that faults hit the calls they name and no others.
 */
#include "client/simvm-faults.h"
#include "client/simvm-kernel.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE    KVMATTR_PAGE_SIZE
#define N_PAGES 256u

#define NR UINT64_C(1)
#define NW UINT64_C(2)
#define NX UINT64_C(4)
#define P  UINT64_C(8) /* private, in all dialects */
#define R  UINT64_C(1) /* v10's allow bits */
#define W  UINT64_C(2)
#define X  UINT64_C(4)
#define NA UINT64_C(16)

static struct simvm_kernel *kernel_new(enum kvmattr_abi abi, const char *faults)
{
	struct simvm_faults parsed = { .n = 0 };
	struct simvm_kernel_options options = {
		.abi = abi,
		.n_views = 2,
		.n_pages = N_PAGES,
		.faults = &parsed,
	};
	struct simvm_kernel *kernel;
	char text[256];

	ck_assert_msg(simvm_faults_parse(faults, &parsed, text, sizeof(text)) == 0, "%s", text);
	ck_assert_int_eq(simvm_kernel_new(&options, &kernel), 0);
	return kernel;
}

/* One page at GFN 4 of view 0. */
static int set_one(struct simvm_kernel *kernel, enum kvmattr_abi abi, uint64_t attributes)
{
	struct kvm_abi_memory_attributes argument = { 4 * PAGE, PAGE, attributes, 0 };

	return simvm_kernel_set(kernel, 0, abi, &argument);
}

static uint8_t page_of(const struct simvm_kernel *kernel, unsigned int view, uint64_t gfn)
{
	return simvm_kernel_effective(simvm_kernel_pages(kernel, view)[gfn]);
}

/* ---- What a kernel says that it can -------------------------------------------------------- */

START_TEST(the_probes_answer_as_each_kernel_does)
{
	static const struct {
		enum kvmattr_abi abi;
		uint64_t cap;
		int v10_errno;
		uint64_t v10_supported;
	} kernels[] = {
		{ SIMVM_ABI_NONE, 0, ENOTTY, 0 },
		{ KVMATTR_ABI_MAINLINE, P, ENOTTY, 0 },
		{ KVMATTR_ABI_DENY, P | NR | NW | NX, ENOTTY, 0 },
		{ KVMATTR_ABI_V10, P | NR | NW | NX, 0, P | R | W | X },
		{ KVMATTR_ABI_V10NA, P | NR | NW | NX, 0, P | R | W | X | NA },
	};
	struct simvm_kernel *kernel = kernel_new(kernels[_i].abi, "");
	struct kvmattr_executor_ops ops = simvm_kernel_executor_ops(kernel);

	for (uint32_t view = 0; view < 2; view++) {
		int v10_errno = -1, cap_errno = -1;
		uint64_t v10_supported = 77, cap = 77;

		ops.probe(ops.context, view, &v10_errno, &v10_supported, &cap_errno, &cap);
		ck_assert_int_eq(v10_errno, kernels[_i].v10_errno);
		ck_assert_uint_eq(v10_supported, kernels[_i].v10_supported);
		ck_assert_int_eq(cap_errno, 0);
		ck_assert_uint_eq(cap, kernels[_i].cap);
	}
	simvm_kernel_free(kernel);
}
END_TEST

/* ---- Which values it takes ----------------------------------------------------------------- */

#define EVERY   32u /* values 0 to 31; all above are refused everywhere */
#define PRIVATE (KVMATTR_RWX | KVMATTR_PRIVATE)
#define NOTHING 0x80u /* taken, and no access is left: 0 is for what is refused */

/* What a page is when it was told that value, or 0 where the kernel refuses it. */
static const uint8_t mainline_takes[EVERY] = {
	[0] = KVMATTR_RWX,
	[P] = PRIVATE,
};
static const uint8_t deny_takes[EVERY] = {
	[0] = KVMATTR_RWX,     [NW] = KVMATTR_RX,        [NX] = KVMATTR_RW,
	[NW | NX] = KVMATTR_R, [NR | NW | NX] = NOTHING, [P] = PRIVATE,
};
static const uint8_t v10_takes[EVERY] = {
	[0] = KVMATTR_RWX,         [R] = KVMATTR_R, [R | X] = KVMATTR_RX,      [R | W] = KVMATTR_RW,
	[R | W | X] = KVMATTR_RWX, [P] = PRIVATE,   [P | R | W | X] = PRIVATE,
};
static const uint8_t v10na_takes[EVERY] = {
	[0] = KVMATTR_RWX,         [R] = KVMATTR_R, [R | X] = KVMATTR_RX,      [R | W] = KVMATTR_RW,
	[R | W | X] = KVMATTR_RWX, [P] = PRIVATE,   [P | R | W | X] = PRIVATE, [NA] = NOTHING,
};
static const uint8_t none_takes[EVERY] = {
	[0] = KVMATTR_RWX,
};

static const struct {
	enum kvmattr_abi abi;
	const uint8_t *takes;
} dialects[] = {
	{ SIMVM_ABI_NONE, none_takes },     { KVMATTR_ABI_MAINLINE, mainline_takes },
	{ KVMATTR_ABI_DENY, deny_takes },   { KVMATTR_ABI_V10, v10_takes },
	{ KVMATTR_ABI_V10NA, v10na_takes },
};

START_TEST(each_dialect_takes_the_values_of_its_table_and_refuses_all_others)
{
	enum kvmattr_abi abi = dialects[_i].abi;

	for (unsigned int before = 0; before < EVERY; before++) {
		if (!dialects[_i].takes[before])
			continue;
		for (uint64_t value = 0; value < 64; value++) {
			struct simvm_kernel *kernel = kernel_new(abi, "");
			uint8_t expected = value < EVERY ? dialects[_i].takes[value] : 0;
			uint8_t was;

			ck_assert_int_eq(set_one(kernel, abi, before), 0);
			was = page_of(kernel, 0, 4);
			ck_assert_int_eq(set_one(kernel, abi, value), expected ? 0 : EINVAL);
			if (!expected)
				ck_assert_uint_eq(page_of(kernel, 0, 4), was);
			else
				ck_assert_uint_eq(page_of(kernel, 0, 4),
						  expected == NOTHING ? KVMATTR_NONE : expected);
			simvm_kernel_free(kernel);
		}
	}
}
END_TEST

START_TEST(high_bits_are_refused_in_every_dialect)
{
	struct simvm_kernel *kernel = kernel_new(dialects[_i].abi, "");

	for (unsigned int bit = 5; bit < 64; bit++)
		ck_assert_int_eq(set_one(kernel, dialects[_i].abi, UINT64_C(1) << bit), EINVAL);
	simvm_kernel_free(kernel);
}
END_TEST

START_TEST(the_other_dialects_ioctl_does_not_exist)
{
	static const bool is_v10[] = { false, false, false, true, true };
	struct simvm_kernel *kernel = kernel_new(dialects[_i].abi, "");

	for (int abi = KVMATTR_ABI_MAINLINE; abi < KVMATTR_N_ABIS; abi++)
		ck_assert_int_eq(set_one(kernel, abi, 0),
				 (abi >= KVMATTR_ABI_V10) == is_v10[_i] ? 0 : ENOTTY);
	simvm_kernel_free(kernel);
}
END_TEST

START_TEST(ranges_and_flags_are_checked_as_in_kvm)
{
	static const struct {
		uint64_t address, size, flags;
		int error;
	} calls[] = {
		{ 0, PAGE, 0, 0 },
		{ 0, PAGE, 1, EINVAL },
		{ 0, 0, 0, EINVAL },
		{ 1, PAGE, 0, EINVAL },
		{ 0, PAGE + 1, 0, EINVAL },
		{ PAGE / 2, PAGE / 2, 0, EINVAL },
		{ UINT64_MAX & ~(PAGE - 1), PAGE, 0, EINVAL }, /* the end is 0: it wraps */
		{ UINT64_MAX & ~(PAGE - 1), 2 * PAGE, 0, EINVAL },
		{ PAGE, UINT64_MAX & ~(PAGE - 1), 0, EINVAL },
		{ 1000 * N_PAGES * PAGE, PAGE, 0, 0 }, /* KVM does not ask for a memslot */
	};
	static const enum kvmattr_abi abis[] = { KVMATTR_ABI_MAINLINE, KVMATTR_ABI_DENY,
						 KVMATTR_ABI_V10, KVMATTR_ABI_V10NA };
	struct simvm_kernel *kernel = kernel_new(abis[_i], "");

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct kvm_abi_memory_attributes argument = { calls[i].address, calls[i].size, P,
							      calls[i].flags };

		ck_assert_int_eq(simvm_kernel_set(kernel, 0, abis[_i], &argument), calls[i].error);
		if (calls[i].error) { /* nothing moves where nothing was done */
			ck_assert_uint_eq(argument.address, calls[i].address);
			ck_assert_uint_eq(argument.size, calls[i].size);
		}
	}
	ck_assert_uint_eq(simvm_kernel_statistics(kernel).calls, 10);
	ck_assert_uint_eq(simvm_kernel_statistics(kernel).refused, 8);
	ck_assert_uint_eq(simvm_kernel_statistics(kernel).pages_outside, 1);
	simvm_kernel_free(kernel);
}
END_TEST

/* ---- What a call does ---------------------------------------------------------------------- */

START_TEST(a_call_overwrites_all_of_its_pages_and_no_others_of_no_other_view)
{
	struct simvm_kernel *kernel = kernel_new(KVMATTR_ABI_DENY, "");
	struct kvm_abi_memory_attributes all = { 0, N_PAGES * PAGE, NW, 0 };
	struct kvm_abi_memory_attributes some = { 10 * PAGE, 20 * PAGE, NX, 0 };

	ck_assert_int_eq(simvm_kernel_set(kernel, 0, KVMATTR_ABI_DENY, &all), 0);
	ck_assert_int_eq(simvm_kernel_set(kernel, 0, KVMATTR_ABI_DENY, &some), 0);
	for (uint64_t gfn = 0; gfn < N_PAGES; gfn++) {
		ck_assert_uint_eq(page_of(kernel, 0, gfn),
				  gfn >= 10 && gfn < 30 ? KVMATTR_RW : KVMATTR_RX);
		ck_assert_uint_eq(page_of(kernel, 1, gfn), KVMATTR_RWX);
	}
	ck_assert_uint_eq(simvm_kernel_statistics(kernel).pages, N_PAGES + 20);
	ck_assert_uint_eq(simvm_kernel_statistics(kernel).without_effect, 0);
	ck_assert_int_eq(simvm_kernel_set(kernel, 0, KVMATTR_ABI_DENY, &some), 0);
	ck_assert_uint_eq(simvm_kernel_statistics(kernel).without_effect, 1);
	simvm_kernel_free(kernel);
}
END_TEST

START_TEST(a_v10_call_reports_its_progress_until_the_size_is_zero)
{
	struct simvm_kernel *kernel = kernel_new(KVMATTR_ABI_V10, "partial=7");
	struct kvm_abi_memory_attributes argument = { 3 * PAGE, 17 * PAGE, R, 0 };
	static const uint64_t left[] = { 10, 3, 0 };

	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_eq(simvm_kernel_set(kernel, 0, KVMATTR_ABI_V10, &argument), 0);
		ck_assert_uint_eq(argument.size, left[i] * PAGE);
		ck_assert_uint_eq(argument.address, (20 - left[i]) * PAGE);
		for (uint64_t gfn = 0; gfn < N_PAGES; gfn++)
			ck_assert_uint_eq(page_of(kernel, 0, gfn),
					  gfn >= 3 && gfn < 20 - left[i] ? KVMATTR_R : KVMATTR_RWX);
	}
	simvm_kernel_free(kernel);
}
END_TEST

START_TEST(the_executor_moves_past_a_whole_call_in_every_dialect)
{
	static const enum kvmattr_abi abis[] = { KVMATTR_ABI_MAINLINE, KVMATTR_ABI_DENY,
						 KVMATTR_ABI_V10, KVMATTR_ABI_V10NA };
	struct simvm_kernel *kernel = kernel_new(abis[_i], "einval@2");
	struct kvmattr_executor_ops ops = simvm_kernel_executor_ops(kernel);
	uint64_t gpa = 5 * PAGE, size = 3 * PAGE;

	ck_assert_int_eq(ops.set_attributes(ops.context, 1, abis[_i], &gpa, &size, P), 0);
	ck_assert_uint_eq(gpa, 8 * PAGE);
	ck_assert_uint_eq(size, 0);
	size = PAGE;
	ck_assert_int_eq(ops.set_attributes(ops.context, 1, abis[_i], &gpa, &size, P), EINVAL);
	ck_assert_uint_eq(gpa, 8 * PAGE);
	ck_assert_uint_eq(size, PAGE);
	for (uint64_t gfn = 0; gfn < N_PAGES; gfn++)
		ck_assert_uint_eq(page_of(kernel, 1, gfn),
				  gfn >= 5 && gfn < 8 ? PRIVATE : KVMATTR_RWX);
	simvm_kernel_free(kernel);
}
END_TEST

START_TEST(a_views_fd_is_a_memfd_of_the_name_by_which_the_daemon_knows_it)
{
	struct simvm_kernel *kernel = kernel_new(KVMATTR_ABI_DENY, "");

	for (unsigned int view = 0; view < 2; view++) {
		char path[64], name[64];
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", simvm_kernel_fd(kernel, view));
		n = readlink(path, name, sizeof(name) - 1);
		ck_assert_int_gt(n, 0);
		name[n] = '\0';
		ck_assert_str_eq(name, "/memfd:kvmattr-simvm (deleted)");
		ck_assert_int_eq(fcntl(simvm_kernel_fd(kernel, view), F_GETFD), FD_CLOEXEC);
	}
	ck_assert_int_ne(simvm_kernel_fd(kernel, 0), simvm_kernel_fd(kernel, 1));
	simvm_kernel_free(kernel);
}
END_TEST

/* ---- Faults -------------------------------------------------------------------------------- */

START_TEST(faults_hit_exactly_the_calls_they_name_and_change_nothing)
{
	static const int expected[] = { 0,      EINVAL, 0,      ENOMEM, ENOMEM, ENOMEM,
					EAGAIN, 0,      EAGAIN, 0,      0 };
	struct simvm_kernel *kernel =
		kernel_new(KVMATTR_ABI_DENY, "enomem@4:3,einval@2,eagain@7,eagain@9:1");

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		uint64_t value = i % 2 ? NW : NX;
		uint8_t was = page_of(kernel, 0, 4);

		ck_assert_int_eq(set_one(kernel, KVMATTR_ABI_DENY, value), expected[i]);
		ck_assert_uint_eq(page_of(kernel, 0, 4), expected[i] ? was
							 : i % 2     ? KVMATTR_RX
								     : KVMATTR_RW);
	}
	simvm_kernel_free(kernel);
}
END_TEST

START_TEST(a_slow_call_takes_as_long_as_was_asked)
{
	struct simvm_kernel *kernel = kernel_new(KVMATTR_ABI_DENY, "slow=20000");
	struct timespec before, after;
	int64_t ms;

	clock_gettime(CLOCK_MONOTONIC, &before);
	ck_assert_int_eq(set_one(kernel, KVMATTR_ABI_DENY, NW), 0);
	clock_gettime(CLOCK_MONOTONIC, &after);
	ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
	ck_assert_int_ge(ms, 19);
	simvm_kernel_free(kernel);
}
END_TEST

static void *call_twice(void *context)
{
	static int results[2];

	results[0] = set_one(context, KVMATTR_ABI_DENY, NW);
	results[1] = set_one(context, KVMATTR_ABI_DENY, NX);
	return results;
}

START_TEST(a_dead_executor_answers_nothing_until_it_is_released_and_does_nothing_then)
{
	struct simvm_kernel *kernel = kernel_new(KVMATTR_ABI_DENY, "dead@1");
	struct timespec soon;
	pthread_t thread;
	void *results;

	ck_assert_int_eq(pthread_create(&thread, NULL, call_twice, kernel), 0);
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_nsec += 50 * 1000000;
	soon.tv_sec += soon.tv_nsec / 1000000000;
	soon.tv_nsec %= 1000000000;
	ck_assert_int_eq(pthread_timedjoin_np(thread, &results, &soon), ETIMEDOUT);
	simvm_kernel_release(kernel);
	ck_assert_int_eq(pthread_join(thread, &results), 0);
	ck_assert_int_eq(((int *)results)[0], EIO);
	ck_assert_int_eq(((int *)results)[1], EIO);
	ck_assert_uint_eq(page_of(kernel, 0, 4), KVMATTR_RWX);
	simvm_kernel_free(kernel);
}
END_TEST

START_TEST(an_executor_that_is_dead_for_a_while_does_its_call_late)
{
	struct simvm_kernel *kernel = kernel_new(KVMATTR_ABI_DENY, "dead@1:30");
	struct timespec before, after;
	int64_t ms;

	clock_gettime(CLOCK_MONOTONIC, &before);
	ck_assert_int_eq(set_one(kernel, KVMATTR_ABI_DENY, NW), 0);
	clock_gettime(CLOCK_MONOTONIC, &after);
	ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
	ck_assert_int_ge(ms, 29);
	ck_assert_uint_eq(page_of(kernel, 0, 4), KVMATTR_RX);
	simvm_kernel_free(kernel);
}
END_TEST

START_TEST(exit_kills_the_vmm_in_the_middle_of_the_call)
{
	struct simvm_kernel *kernel = kernel_new(KVMATTR_ABI_DENY, "exit@2");
	struct kvm_abi_memory_attributes argument = { 0, 10 * PAGE, NW, 0 };
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) { /* the tables are shared memory: the parent sees what was done */
		if (set_one(kernel, KVMATTR_ABI_DENY, 0) == 0)
			(void)simvm_kernel_set(kernel, 0, KVMATTR_ABI_DENY, &argument);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGKILL);
	for (uint64_t gfn = 0; gfn < N_PAGES; gfn++)
		ck_assert_uint_eq(page_of(kernel, 0, gfn), gfn < 5 ? KVMATTR_RX : KVMATTR_RWX);
	simvm_kernel_free(kernel);
}
END_TEST

START_TEST(a_fault_list_says_each_fault_once)
{
	struct simvm_faults faults = { .n = 0 };
	char text[256];

	ck_assert_int_eq(simvm_faults_parse("enomem@3,eagain@10:4,partial=16,slow=5", &faults, text,
					    sizeof(text)),
			 0);
	ck_assert_int_eq(simvm_faults_parse("dead@20:100,exit@30", &faults, text, sizeof(text)), 0);
	ck_assert_uint_eq(faults.n, 4);
	ck_assert_uint_eq(faults.partial_pages, 16);
	ck_assert_uint_eq(faults.slow_us, 5);
	for (uint64_t call = 1; call < 40; call++) {
		const struct simvm_fault *fault = simvm_faults_at(&faults, call);

		if (call == 3)
			ck_assert_int_eq(fault->error, ENOMEM);
		else if (call >= 10 && call < 14)
			ck_assert_int_eq(fault->error, EAGAIN);
		else if (call == 20)
			ck_assert_uint_eq(fault->timeout_ms, 100);
		else if (call == 30)
			ck_assert_int_eq(fault->kind, SIMVM_FAULT_EXIT);
		else
			ck_assert_ptr_null(fault);
	}
}
END_TEST

static const char *const bad_faults[] = {
	"enomem",    "enomem@",    "enomem@0",     "enomem@x",  "enomem@-1",
	"enomem@1:", "enomem@1:0", "enomem@1:2:3", "eno@1",     "enomemx@1",
	"exit@3:2",  "dead",       "partial",      "partial=",  "partial=0",
	"partial=x", "slow=1x",    "fast=1",       "enomem@ 1", "enomem@1,,slow=1",
	",enomem@1", "@1",         "einval=3",     "slow@1",    "enomem@99999999999999999999999",
	"enomem@1 ",
};

START_TEST(a_wrong_fault_is_refused_whole_and_named)
{
	struct simvm_faults faults = { .n = 0 };
	char text[256] = "";

	ck_assert_int_eq(simvm_faults_parse(bad_faults[_i], &faults, text, sizeof(text)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(text, "is no fault"));
	ck_assert_uint_eq(faults.n, 0);
	ck_assert_uint_eq(faults.slow_us, 0);
	ck_assert_uint_eq(faults.partial_pages, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("simulated kernel");
	TCase *rules = tcase_create("rules");
	TCase *faults = tcase_create("faults");
	SRunner *runner = srunner_create(suite);
	const int n_dialects = sizeof(dialects) / sizeof(dialects[0]);
	int n_failed;

	tcase_add_loop_test(rules, the_probes_answer_as_each_kernel_does, 0, n_dialects);
	tcase_add_loop_test(rules,
			    each_dialect_takes_the_values_of_its_table_and_refuses_all_others, 0,
			    n_dialects);
	tcase_add_loop_test(rules, high_bits_are_refused_in_every_dialect, 0, n_dialects);
	tcase_add_loop_test(rules, the_other_dialects_ioctl_does_not_exist, 0, n_dialects);
	tcase_add_loop_test(rules, ranges_and_flags_are_checked_as_in_kvm, 0, 4);
	tcase_add_test(rules, a_call_overwrites_all_of_its_pages_and_no_others_of_no_other_view);
	tcase_add_test(rules, a_v10_call_reports_its_progress_until_the_size_is_zero);
	tcase_add_loop_test(rules, the_executor_moves_past_a_whole_call_in_every_dialect, 0, 4);
	tcase_add_test(rules, a_views_fd_is_a_memfd_of_the_name_by_which_the_daemon_knows_it);
	suite_add_tcase(suite, rules);

	tcase_add_test(faults, faults_hit_exactly_the_calls_they_name_and_change_nothing);
	tcase_add_test(faults, a_slow_call_takes_as_long_as_was_asked);
	tcase_add_test(faults,
		       a_dead_executor_answers_nothing_until_it_is_released_and_does_nothing_then);
	tcase_add_test(faults, an_executor_that_is_dead_for_a_while_does_its_call_late);
	tcase_add_test(faults, exit_kills_the_vmm_in_the_middle_of_the_call);
	tcase_add_test(faults, a_fault_list_says_each_fault_once);
	tcase_add_loop_test(faults, a_wrong_fault_is_refused_whole_and_named, 0,
			    sizeof(bad_faults) / sizeof(bad_faults[0]));
	suite_add_tcase(suite, faults);

	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
