/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/limited-users.h"

#include <check.h>
#include <stdio.h>
#include <unistd.h>

/* ---- The daemon ----------------------------------------------------------------------------- */

/* Until the next call. */
static const char *settings_with(const char *limits)
{
	static char text[512];
	int n = snprintf(text, sizeof(text), "[daemon]\nsocket-mode = 0666\n[limits]\n%s", limits);

	ck_assert_int_lt(n, (int)sizeof(text));
	return text;
}

void start_with(const char *limits)
{
	d = other_users_start(settings_with(limits));
	control = control_connect(d);
}

void restart_with(const char *limits)
{
	kill_daemon();
	launch(settings_with(limits));
}

void reload_with(const char *limits, const char *path, int64_t value)
{
	kvmattrd_reload(d, settings_with(limits));
	EVENTUALLY(PATIENCE_MS, number_of(path) == value);
}

int64_t number_of(const char *path)
{
	struct json_object *daemon = control_call(control, "daemon.get", "{}");
	int64_t n = json_number_at(daemon, path);

	json_object_put(daemon);
	return n;
}

/* ---- Users ---------------------------------------------------------------------------------- */

void as(uid_t uid)
{
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(setegid(uid), 0);
	ck_assert_int_eq(seteuid(uid), 0);
}

struct raw_vm begin_vm_as(uid_t uid, const struct raw_register *registration)
{
	struct raw_vm vm;

	as(uid);
	vm = raw_vm_begin(d, registration);
	as(0);
	return vm;
}

void expect_refused_as(uid_t uid, const struct raw_register *registration,
		       enum kvmattr_status status, const char *part)
{
	struct raw_vm vm = begin_vm_as(uid, registration);

	raw_expect_refusal(vm.owner, registration->head.header.id, status, part);
	raw_vm_close(&vm);
}
