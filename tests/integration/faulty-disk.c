/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The test's process and all that it starts have a seccomp filter, by which the kernel asks a thread
 * of the test what becomes of a sync: it is made, or fails without being made.
 */
#include "tests/integration/faulty-disk.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdatomic.h>
#include <string.h>

static int listener;
static atomic_int sync_error;

static void *answer_on_and_on(void *data)
{
	struct seccomp_notif *call;
	struct seccomp_notif_resp *answer;

	(void)data;
	ck_assert_int_eq(seccomp_notify_alloc(&call, &answer), 0);
	for (;;) {
		memset(call, 0, sizeof(*call));
		/* whoever is killed meanwhile waits for no answer */
		if (seccomp_notify_receive(listener, call) < 0)
			continue;
		*answer = (struct seccomp_notif_resp){ .id = call->id, .error = -sync_error };
		if (!answer->error)
			answer->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		(void)!seccomp_notify_respond(listener, answer);
	}
	return NULL;
}

bool faulty_disk_begin(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	pthread_t thread;
	bool has_listener;

	ck_assert_ptr_nonnull(filter);
	ck_assert_int_eq(seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(fdatasync), 0), 0);
	ck_assert_int_eq(seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(fsync), 0), 0);
	has_listener = seccomp_load(filter) == 0;
	if (has_listener)
		listener = seccomp_notify_fd(filter);
	seccomp_release(filter);
	if (has_listener)
		ck_assert_int_eq(pthread_create(&thread, NULL, answer_on_and_on, NULL), 0);
	return has_listener;
}

void faulty_disk_set(int error)
{
	sync_error = error;
}
