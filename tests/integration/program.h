/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program that a test runs: what it is told, what it says, and how it ends.
 *
 * It dies with the test.  What it says is kept in memory, so it never waits for a reader.
 */
#ifndef INTEGRATION_PROGRAM_H
#define INTEGRATION_PROGRAM_H

#include "tests/integration/harness.h"

#include <sys/types.h>

struct program {
	pid_t pid;
	int out;
	int err;
};

struct program_result {
	int status; /* of its exit, or the negative number of the signal that ended it */
	char *out;
	char *err;
};

/* argv ends with NULL. */
struct program program_start(const char *const *argv);
bool program_has_ended(const struct program *program);
/* It has said that by now, on standard output or error. */
bool program_has_said(const struct program *program, const char *part);
/* Waits for its end. */
struct program_result program_wait(struct program *program);
/* Both. */
struct program_result program_run(const char *const *argv);
void program_forget(struct program_result *result);

/* It ended so, and said that. */
void expect_result(const struct program_result *result, int status, const char *out_part,
		   const char *err_part);

#endif
