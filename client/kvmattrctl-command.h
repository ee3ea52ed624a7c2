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

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Options that commands share, each with one meaning.  A command has a set of them. */
#define COMMAND_VTL       0x001u
#define COMMAND_RANGE     0x002u /* --from, --to */
#define COMMAND_ACCESS    0x004u
#define COMMAND_ZOOM      0x008u /* --depth, --width */
#define COMMAND_AT        0x010u
#define COMMAND_SINCE     0x020u
#define COMMAND_LIMIT     0x040u
#define COMMAND_SVG       0x080u
#define COMMAND_WATCH     0x100u /* --interval, --count */
#define COMMAND_BUCKETS   0x200u
#define COMMAND_EVENTS    0x400u /* --event, --since, --count */
#define COMMAND_RESET     0x800u
#define COMMAND_SURE      0x1000u /* --yes */
#define COMMAND_IF_COMMIT 0x2000u /* --commit */
#define COMMAND_UPDATE    0x4000u /* --layer and what else an update has */

/* n_most of a command that takes as many arguments as there are. */
#define COMMAND_MANY      UINT32_MAX
#define COMMAND_MAX_DEPTH 8

/* What vm update is given; what was not is 0 or NULL. */
struct command_update {
	unsigned int layer;
	const char *protection;
	const char *visibility;
	unsigned int restricts; /* a set of VTLs */
	bool mbec;
	struct command_range {
		uint64_t gpa;
		uint64_t n_pages;
	} * ranges;
	size_t n_ranges;
};

struct command_input {
	struct rpc *rpc;
	struct writer *writer;
	bool is_for_people;     /* neither JSON nor raw */
	bool is_raw;            /* what comes is shown by rpc, and nothing else */
	const char **arguments; /* behind the last, at least two NULLs */
	unsigned int n_arguments;
	unsigned int vtl;
	bool has_from;
	bool has_to;
	uint64_t from;
	uint64_t to;
	const char *access; /* "r", "w", "x", or NULL */
	unsigned int depth;
	unsigned int width;     /* cells; 0: as many as fit */
	unsigned int n_buckets; /* 0: not given */
	uint64_t at;            /* commit; 0: the last */
	uint64_t since;         /* commit or event; 0: the first, or those to come */
	uint64_t limit;         /* 0: not given */
	const char *svg;        /* a file's path, or NULL */
	unsigned int interval_ms;
	uint64_t count;      /* intervals, events; 0: no end */
	const char **events; /* their names; none: all */
	size_t n_events;
	bool reset;
	bool is_sure;
	uint64_t commit; /* 0: whichever */
	struct command_update update;
};

struct command {
	const char *words;     /* "map show" */
	const char *arguments; /* "VM GPA"; those in [] may be left out */
	const char *summary;   /* one line */
	const char *text;      /* more, for its --help; or NULL */
	unsigned int options;  /* COMMAND_ */
	unsigned int n_least;  /* arguments */
	unsigned int n_most;
	bool asks_nobody; /* what it says comes from no daemon */
	enum ctl_exit (*run)(const struct command_input *input);
};

/* Ends with one that has no words. */
extern const struct command commands[];
/* The command of these words, "map" and "show", or of one, NULL and "explain"; NULL: there is none. */
const struct command *command_find(const char *first, const char *last);

/* "0x1f000", "4096", "512M", "4G" */
__attribute__((warn_unused_result)) bool command_parse_address(const char *text,
							       uint64_t *ret_address);

/* A commit's number; says so and returns false if it is none. */
__attribute__((warn_unused_result)) bool command_parse_commit(const char *text,
							      uint64_t *ret_commit);

/*
 * The options of a command (NULL: of none), and those of every command, one by one: NULL behind the
 * last.
 */
const struct argp_option *command_option(const struct command *command, size_t index);
/* Where the control socket is, by these options, which may be NULL; the caller's to free. */
char *command_socket_path(const char *runtime_dir, const char *socket_path);

/* Each in the room that is named after its first word, or after what it does: map show, -picture.c. */
enum ctl_exit command_status(const struct command_input *input);
enum ctl_exit command_ping(const struct command_input *input);
enum ctl_exit command_rpc(const struct command_input *input);
enum ctl_exit command_vm_list(const struct command_input *input);
enum ctl_exit command_vm_get(const struct command_input *input);
enum ctl_exit command_vm_views(const struct command_input *input);
enum ctl_exit command_vm_layers(const struct command_input *input);
enum ctl_exit command_vm_sessions(const struct command_input *input);
enum ctl_exit command_vm_kvm_stats(const struct command_input *input);
enum ctl_exit command_vm_freeze(const struct command_input *input);
enum ctl_exit command_vm_thaw(const struct command_input *input);
enum ctl_exit command_vm_verify(const struct command_input *input);
enum ctl_exit command_vm_release(const struct command_input *input);
enum ctl_exit command_vm_update(const struct command_input *input);
enum ctl_exit command_sessions(const struct command_input *input);
enum ctl_exit command_stats(const struct command_input *input);
enum ctl_exit command_metrics(const struct command_input *input);
enum ctl_exit command_log_level(const struct command_input *input);
enum ctl_exit command_watch(const struct command_input *input);
enum ctl_exit command_events(const struct command_input *input);
enum ctl_exit command_map_effective(const struct command_input *input);
enum ctl_exit command_map_summary(const struct command_input *input);
enum ctl_exit command_map_layers(const struct command_input *input);
enum ctl_exit command_map_layer(const struct command_input *input);
enum ctl_exit command_map_explain(const struct command_input *input);
enum ctl_exit command_map_show(const struct command_input *input);
enum ctl_exit command_journal_status(const struct command_input *input);
enum ctl_exit command_journal_list(const struct command_input *input);
enum ctl_exit command_journal_log(const struct command_input *input);
enum ctl_exit command_journal_show(const struct command_input *input);
enum ctl_exit command_journal_blame(const struct command_input *input);
enum ctl_exit command_journal_diff(const struct command_input *input);
enum ctl_exit command_journal_verify(const struct command_input *input);
enum ctl_exit command_export(const struct command_input *input);
enum ctl_exit command_import(const struct command_input *input);
enum ctl_exit command_complete(const struct command_input *input);

#endif
