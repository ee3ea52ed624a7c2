/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/pretended-vm.h"

#include "tests/unit/libkvmattr-checks.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

const uint8_t pretended_vtls[KVMATTR_N_VTLS] = { 0, 1 };

struct pretended_call pretended_calls[64];
unsigned int n_pretended_calls;
char pretended_caller[16];
bool pretended_caller_takes_signals;
atomic_bool is_slow_call_held;
atomic_bool is_in_slow_call;
atomic_bool is_slow_call_done;

static void probe(void *context, uint32_t view, int *ret_v10_errno, uint64_t *ret_v10_supported,
		  int *ret_cap_errno, uint64_t *ret_cap)
{
	ck_assert_ptr_eq(context, pretended_calls);
	*ret_v10_errno = view ? ENOTTY : 0;
	*ret_v10_supported = view ? 0 : 0xf;
	*ret_cap_errno = 0;
	*ret_cap = view ? 0x7 : 0;
}

static int set_attributes(void *context, uint32_t view, enum kvmattr_abi abi, uint64_t *gpa,
			  uint64_t *size, uint64_t attributes)
{
	uint64_t part = *size > KVMATTR_PAGE_SIZE ? *size / 2 : *size;
	sigset_t blocked;

	ck_assert_ptr_eq(context, pretended_calls);
	if (*gpa == PRETENDED_BAD_GPA)
		return ENOMEM;
	if (*gpa == PRETENDED_SLOW_GPA) {
		is_in_slow_call = true;
		do
			usleep(100000);
		while (is_slow_call_held);
		is_slow_call_done = true;
	}
	pthread_getname_np(pthread_self(), pretended_caller, sizeof(pretended_caller));
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	pretended_caller_takes_signals =
		!sigismember(&blocked, SIGUSR1) || !sigismember(&blocked, SIGTERM);
	pretended_calls[n_pretended_calls++] =
		(struct pretended_call){ view, abi, *gpa, part, attributes };
	*gpa += part;
	*size -= part;
	return 0;
}

const struct kvmattr_executor_ops pretended_ops = {
	.probe = probe,
	.set_attributes = set_attributes,
	.context = pretended_calls,
};

static int view_fds[PRETENDED_N_VIEWS] = { -1, -1 };

struct kvmattr_vm pretended_vm_make(struct kvmattr_view views[PRETENDED_N_VIEWS])
{
	n_pretended_calls = 0;
	for (int i = 0; i < PRETENDED_N_VIEWS; i++) {
		view_fds[i] = memfd_create("view", MFD_CLOEXEC);
		ck_assert_int_ge(view_fds[i], 0);
		ck_assert_int_eq(ftruncate(view_fds[i], (i + 1) * 4096), 0);
		views[i] = (struct kvmattr_view){ .vtl = pretended_vtls[i], .fd = view_fds[i] };
	}
	return (struct kvmattr_vm){ .name = "win",
				    .views = views,
				    .n_views = PRETENDED_N_VIEWS,
				    .simulated = &pretended_ops };
}

void pretended_vm_close(void)
{
	for (int i = 0; i < PRETENDED_N_VIEWS; i++)
		close(view_fds[i]);
}

void pretended_vm_register(struct kvmattr *c, struct kvmattr_registration *ret)
{
	struct kvmattr_view views[PRETENDED_N_VIEWS];
	struct kvmattr_vm vm = pretended_vm_make(views);

	ck_assert_int_eq(kvmattr_register(c, &vm, ret), 0);
	pretended_vm_close();
}

void pretended_vm_be_registered(struct scripted_daemon *d, enum wire_executor executor)
{
	uint64_t id;

	daemon_welcome_nobody(d, ANY_WINDOW);
	daemon_receive_registration(d);
	id = d->header.id;
	daemon_send_registered(d, id, PRETENDED_N_VIEWS, pretended_vtls, KVMATTR_ABI_DENY,
			       executor);
}

const struct wire_call two_calls[2] = {
	{ .gpa = 0x1000, .size = 0x2000, .attributes = 5, .target = 1, .abi = KVMATTR_ABI_DENY },
	{ .gpa = PRETENDED_BAD_GPA, .size = 0x1000, .target = 0, .abi = KVMATTR_ABI_V10 },
};

void make_two_calls(struct scripted_daemon *d)
{
	struct wire_called called = daemon_call(d, two_calls, 2);

	MUST(called.n_done == 1 && called.error == ENOMEM && !called.partial);
}

void expect_two_calls(void)
{
	ck_assert_uint_eq(n_pretended_calls, 2);
	ck_assert_uint_eq(pretended_calls[0].view, 1);
	ck_assert_int_eq(pretended_calls[0].abi, KVMATTR_ABI_DENY);
	ck_assert_uint_eq(pretended_calls[0].gpa, 0x1000);
	ck_assert_uint_eq(pretended_calls[0].attributes, 5);
	ck_assert_uint_eq(pretended_calls[1].gpa, 0x2000);
	ck_assert_uint_eq(pretended_calls[1].size, 0x1000);
}
