/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program that a test runs on a terminal of a certain size, as a person would.
 *
 * All that it writes is kept, control sequences included; it dies with the test.
 */
#ifndef INTEGRATION_TERMINAL_PROGRAM_H
#define INTEGRATION_TERMINAL_PROGRAM_H

#include "tests/integration/harness.h"

#include <stddef.h>
#include <sys/types.h>
#include <termios.h>

struct terminal_program {
	pid_t pid;
	int terminal; /* its other end */
	struct termios before;
	char *said;
	size_t n; /* bytes */
};

/* argv ends with NULL.  TERM is xterm-256color, the locale UTF-8; the rest is as in the test. */
struct terminal_program terminal_program_start(const char *const *argv, unsigned int columns,
					       unsigned int rows);
/* Whether it has said that, from a number of bytes on. */
bool terminal_program_has_said(struct terminal_program *program, size_t from, const char *part);
void terminal_program_type(const struct terminal_program *program, const char *keys);
void terminal_program_resize(const struct terminal_program *program, unsigned int columns,
			     unsigned int rows);
/* Waits for its end; the terminal is as it was before.  Returns its status, as program_wait(). */
int terminal_program_wait(struct terminal_program *program);
/* Frees what it has said. */
void terminal_program_forget(struct terminal_program *program);

#endif
