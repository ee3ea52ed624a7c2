/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl, asked about a daemon of the test's.
 */
#ifndef INTEGRATION_CTL_PROGRAM_H
#define INTEGRATION_CTL_PROGRAM_H

#include "tests/integration/harness.h"
#include "tests/integration/program.h"

#include <json-c/json_types.h>

/* What it exits with, as its manual has it. */
enum {
	CTL_DONE = 0,
	CTL_IS_REFUSED = 1,
	CTL_WRONG_COMMAND_LINE = 2,
	CTL_NO_DAEMON = 3,
	CTL_IS_DAMAGED = 4,
	CTL_IS_UNREADABLE = 5,
	CTL_IS_DEGRADED = 6
};

/* Its command line with these arguments, which end with NULL; until the next call. */
const char *const *ctl_command_line(const struct kvmattrd *daemon, const char *const *arguments);
#define CTL(daemon, ...) ctl_command_line(daemon, (const char *const[]){ __VA_ARGS__, NULL })

/* It ends so, and says that on standard output and error. */
void ctl_expect(const char *const *command_line, int status, const char *out, const char *err);
/* It ends so, and what it says is JSON; the caller's to release. */
struct json_object *ctl_expect_json(const char *const *command_line, int status);
/* It succeeds, and the same. */
struct json_object *ctl_json(const char *const *command_line);

#endif
