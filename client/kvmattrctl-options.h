/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The options of kvmattrctl's command line: which there are, whose they are, what they may be.
 */
#ifndef KVMATTRCTL_OPTIONS_H
#define KVMATTRCTL_OPTIONS_H

#include "client/kvmattrctl-command.h"
#include "client/kvmattrctl-terminal.h"

#include <argp.h>
#include <stdbool.h>

/* The command line, as far as it has been understood. */
struct command_line {
	const char *runtime_dir;
	const char *socket_path;
	bool as_json;
	enum terminal_color color;
	unsigned int timeout_s;
	const struct command *command;
	struct command_input input;
};

/* One that says nothing yet, with room for the arguments of so many words. */
struct command_line options_defaults(int argc);
void options_free(struct command_line *line);

/* With every command; its input is a struct command_line. */
extern const struct argp global_argp;
/* The rest of a command line, from behind the command's words on; program: how we were called. */
void options_parse_rest(struct command_line *line, int argc, char **argv, const char *program);

#endif
