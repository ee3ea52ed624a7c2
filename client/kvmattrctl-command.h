/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a command of kvmattrctl is, and what it is given.
 *
 * A command asks the daemon and walks through the answer with the writer.  The table in
 * kvmattrctl-commands.c holds them all; parsing and --help come from it.
 */
#ifndef KVMATTRCTL_COMMAND_H
#define KVMATTRCTL_COMMAND_H

#include "client/kvmattrctl-rpc.h"
#include "client/kvmattrctl-writer.h"

#include <stdbool.h>
#include <stdint.h>

/* Options that commands share, each with one meaning.  A command has a set of them. */
#define COMMAND_VTL    0x01u
#define COMMAND_RANGE  0x02u /* --from, --to */
#define COMMAND_ACCESS 0x04u
#define COMMAND_ZOOM   0x08u /* --depth, --width */

#define COMMAND_MAX_ARGUMENTS 2
#define COMMAND_MAX_DEPTH     8

struct command_input {
	struct rpc *rpc;
	struct writer *writer;
	bool is_for_people;                           /* not JSON */
	const char *arguments[COMMAND_MAX_ARGUMENTS]; /* NULL: not given */
	unsigned int vtl;
	bool has_from;
	bool has_to;
	uint64_t from;
	uint64_t to;
	const char *access; /* "r", "w", "x", or NULL */
	unsigned int depth;
	unsigned int width; /* cells; 0: as many as fit */
};

struct command {
	const char *words;     /* "map show" */
	const char *arguments; /* "VM GPA"; those in [] may be left out */
	const char *summary;   /* one line */
	const char *text;      /* more, for its --help; or NULL */
	unsigned int options;  /* COMMAND_ */
	unsigned int n_least;  /* arguments */
	unsigned int n_most;
	enum ctl_exit (*run)(const struct command_input *input);
};

/* Ends with one that has no words. */
extern const struct command commands[];

/* "0x1f000", "4096", "512M", "4G" */
__attribute__((warn_unused_result)) bool command_parse_address(const char *text,
							       uint64_t *ret_address);

/* kvmattrctl-daemon.c, -vm.c, -map.c, -picture.c */
enum ctl_exit command_status(const struct command_input *input);
enum ctl_exit command_ping(const struct command_input *input);
enum ctl_exit command_rpc(const struct command_input *input);
enum ctl_exit command_vm_list(const struct command_input *input);
enum ctl_exit command_vm_get(const struct command_input *input);
enum ctl_exit command_stats(const struct command_input *input);
enum ctl_exit command_map_effective(const struct command_input *input);
enum ctl_exit command_map_layer(const struct command_input *input);
enum ctl_exit command_map_explain(const struct command_input *input);
enum ctl_exit command_map_show(const struct command_input *input);

#endif
