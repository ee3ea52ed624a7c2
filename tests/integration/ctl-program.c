/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/ctl-program.h"

#include <check.h>
#include <json-c/json.h>

#define MAX_WORDS 24

const char *const *ctl_command_line(const struct kvmattrd *daemon, const char *const *arguments)
{
	static const char *argv[MAX_WORDS];
	int n = 0;

	argv[n++] = KVMATTRCTL_PROGRAM;
	argv[n++] = "--runtime-dir";
	argv[n++] = daemon->runtime_dir;
	while (*arguments && n < MAX_WORDS - 1)
		argv[n++] = *arguments++;
	argv[n] = NULL;
	return argv;
}

void ctl_expect(const char *const *command_line, int status, const char *out, const char *err)
{
	struct program_result result = program_run(command_line);

	expect_result(&result, status, out, err);
	program_forget(&result);
}

struct json_object *ctl_expect_json(const char *const *command_line, int status)
{
	struct program_result result = program_run(command_line);
	struct json_object *object = json_tokener_parse(result.out);

	ck_assert_msg(result.status == status && object, "it ended with %d: %s%s", result.status,
		      result.out, result.err);
	program_forget(&result);
	return object;
}

struct json_object *ctl_json(const char *const *command_line)
{
	return ctl_expect_json(command_line, CTL_DONE);
}
