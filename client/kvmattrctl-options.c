/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/kvmattrctl-options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_RUNTIME_DIR "/run/kvmattrd"
#define DEFAULT_TIMEOUT_S   5
#define MAX_TIMEOUT_S       86400
#define DEFAULT_INTERVAL_MS 2000

/* Options without a letter; each means the same wherever it may stand. */
enum option_key {
	OPTION_JSON = 256,
	OPTION_RAW,
	OPTION_COLOR,
	OPTION_VTL,
	OPTION_FROM,
	OPTION_TO,
	OPTION_ACCESS,
	OPTION_DEPTH,
	OPTION_WIDTH,
	OPTION_BUCKETS,
	OPTION_AT,
	OPTION_SINCE,
	OPTION_LIMIT,
	OPTION_SVG,
	OPTION_INTERVAL,
	OPTION_COUNT,
	OPTION_EVENT,
	OPTION_RESET,
	OPTION_COMMIT,
	OPTION_YES,
	OPTION_LAYER,
	OPTION_PROTECTION,
	OPTION_VISIBILITY,
	OPTION_RESTRICTS,
	OPTION_MBEC,
	OPTION_RANGE,
};

/* ---- What may stand behind them ------------------------------------------------------------ */

static uint64_t parse_number(struct argp_state *state, const char *option, const char *text,
			     uint64_t least, uint64_t most)
{
	char *end;
	unsigned long long number;

	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno || *end || end == text || *text == '-' || number < least || number > most) {
		char *safe = terminal_safe(text);

		argp_error(state,
			   "--%s has to be a number from %" PRIu64 " to %" PRIu64 ", not '%s'",
			   option, least, most, safe);
		free(safe);
	}
	return number;
}

bool command_parse_address(const char *text, uint64_t *ret_address)
{
	static const char units[] = "KMGT";
	unsigned long long address;
	unsigned int shift = 0;
	const char *unit;
	char *end;
	bool is_hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');

	if (!is_hex && (*text < '0' || *text > '9'))
		return false;
	errno = 0;
	address = strtoull(text, &end, is_hex ? 16 : 10);
	if (errno || (is_hex && end <= text + 2))
		return false;
	if (*end && (unit = strchr(units, *end))) {
		shift = 10 * (unsigned int)(unit - units + 1);
		end++;
	}
	if (*end || address > UINT64_MAX >> shift)
		return false;
	*ret_address = address << shift;
	return true;
}

/* Seconds, "2" or "0.5", as milliseconds. */
static unsigned int parse_seconds(struct argp_state *state, const char *option, const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	/* no sign, no exponent, no infinity; and none of that is within the limits */
	if (strspn(text, "0123456789.") != strlen(text) || *end || end == text || seconds < 0.1 ||
	    seconds > 3600) {
		char *safe = terminal_safe(text);

		argp_error(state, "--%s has to be seconds from 0.1 to 3600, not '%s'", option,
			   safe);
		free(safe);
	}
	return (unsigned int)(seconds * 1000);
}

static uint64_t parse_address(struct argp_state *state, const char *option, const char *text)
{
	uint64_t address = 0;

	if (!command_parse_address(text, &address)) {
		char *safe = terminal_safe(text);

		argp_error(state,
			   "--%s has to be an address such as 0x1f000, 4096 or 512M, not "
			   "'%s'",
			   option, safe);
		free(safe);
	}
	return address;
}

bool command_parse_commit(const char *text, uint64_t *ret_commit)
{
	char *end;
	unsigned long long commit;

	errno = 0;
	commit = strtoull(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || !commit || commit > INT64_MAX) {
		terminal_complain("a commit is a number from 1 on, as journal log shows them, not "
				  "'%s'",
				  text);
		return false;
	}
	*ret_commit = commit;
	return true;
}

/* "0,1" or "0 1", as a set. */
static unsigned int parse_vtls(struct argp_state *state, const char *option, const char *text)
{
	unsigned int vtls = 0, vtl;
	const char *at = text;
	int n;

	while (sscanf(at, " %2u%n", &vtl, &n) == 1 && vtl < 16) {
		vtls |= 1u << vtl;
		at += n;
		at += *at == ',';
	}
	if (*at || !vtls) {
		char *safe = terminal_safe(text);

		argp_error(state, "--%s has to be VTLs from 0 to 15, such as 0,1, not '%s'", option,
			   safe);
		free(safe);
	}
	return vtls;
}

/* "0x1f000" or "0x1f000:16": the address of the first page, and how many there are. */
static struct command_range parse_range(struct argp_state *state, const char *text)
{
	struct command_range range = { .n_pages = 1 };
	char *start = terminal_there(strdup(text)), *colon = strchr(start, ':');

	if (colon) {
		*colon = '\0';
		range.n_pages = parse_number(state, "range", colon + 1, 1, UINT64_C(1) << 40);
	}
	range.gpa = parse_address(state, "range", start);
	free(start);
	return range;
}

/* ---- With every command -------------------------------------------------------------------- */

static error_t parse_global(int key, char *argument, struct argp_state *state)
{
	struct command_line *line = state->input;

	switch (key) {
	case 'r':
		line->runtime_dir = argument;
		break;
	case 's':
		line->socket_path = argument;
		break;
	case 't':
		line->timeout_s =
			(unsigned int)parse_number(state, "timeout", argument, 1, MAX_TIMEOUT_S);
		break;
	case OPTION_JSON:
		line->as_json = true;
		break;
	case OPTION_RAW:
		line->input.is_raw = true;
		break;
	case OPTION_COLOR:
		if (!strcmp(argument, "auto"))
			line->color = TERMINAL_AUTO;
		else if (!strcmp(argument, "always"))
			line->color = TERMINAL_ALWAYS;
		else if (!strcmp(argument, "never"))
			line->color = TERMINAL_NEVER;
		else
			argp_error(state, "--color has to be auto, always or never");
		break;
	case ARGP_KEY_END:
		if (line->as_json && line->input.is_raw)
			argp_error(state, "--json or --raw, not both");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp_option global_options[] = {
	{ "runtime-dir", 'r', "DIR", 0,
	  "where the daemon has its sockets ($KVMATTR_RUNTIME_DIR, or " DEFAULT_RUNTIME_DIR ")",
	  10 },
	{ "socket", 's', "PATH", 0, "the control socket itself", 10 },
	{ "json", OPTION_JSON, NULL, 0, "for programs: the answer as JSON", 10 },
	{ "raw", OPTION_RAW, NULL, 0,
	  "for programs: what the daemon answers, as it was received, an answer a line", 10 },
	{ "timeout", 't', "SECONDS", 0, "how long to wait for an answer (5)", 10 },
	{ "color", OPTION_COLOR, "WHEN", 0,
	  "auto (in a terminal, and NO_COLOR is not set), always or never", 10 },
	{ 0 },
};

const struct argp global_argp = { .options = global_options, .parser = parse_global };

/* ---- With some ----------------------------------------------------------------------------- */

/* Which part of memory, of the past, of what goes on.  Returns false if it is none of these. */
static bool parse_which(struct command_input *input, int key, char *argument,
			struct argp_state *state)
{
	switch (key) {
	case OPTION_VTL:
		input->vtl = (unsigned int)parse_number(state, "vtl", argument, 0, 15);
		return true;
	case OPTION_FROM:
		input->from = parse_address(state, "from", argument);
		input->has_from = true;
		return true;
	case OPTION_TO:
		input->to = parse_address(state, "to", argument);
		input->has_to = true;
		return true;
	case OPTION_ACCESS:
		if (strcmp(argument, "r") != 0 && strcmp(argument, "w") != 0 &&
		    strcmp(argument, "x") != 0)
			argp_error(state, "--access has to be r, w or x");
		input->access = argument;
		return true;
	case OPTION_AT:
		input->at = parse_number(state, "at", argument, 1, INT64_MAX);
		return true;
	case OPTION_SINCE:
		input->since = parse_number(state, "since", argument, 1, INT64_MAX);
		return true;
	case OPTION_EVENT:
		input->events = terminal_there(
			reallocarray(input->events, input->n_events + 1, sizeof(*input->events)));
		input->events[input->n_events++] = argument;
		return true;
	default:
		return false;
	}
}

/* How much of it, and how it is shown. */
static bool parse_how(struct command_input *input, int key, char *argument,
		      struct argp_state *state)
{
	switch (key) {
	case OPTION_DEPTH:
		input->depth =
			(unsigned int)parse_number(state, "depth", argument, 0, COMMAND_MAX_DEPTH);
		return true;
	case OPTION_WIDTH:
		input->width = (unsigned int)parse_number(state, "width", argument, 1, 1024);
		return true;
	case OPTION_BUCKETS:
		input->n_buckets = (unsigned int)parse_number(state, "buckets", argument, 1, 1024);
		return true;
	case OPTION_LIMIT:
		input->limit = parse_number(state, "limit", argument, 1, INT64_MAX);
		return true;
	case OPTION_SVG:
		input->svg = argument;
		return true;
	case OPTION_INTERVAL:
		input->interval_ms = parse_seconds(state, "interval", argument);
		return true;
	case OPTION_COUNT:
		input->count = parse_number(state, "count", argument, 1, INT64_MAX);
		return true;
	case OPTION_RESET:
		input->reset = true;
		return true;
	case OPTION_COMMIT:
		input->commit = parse_number(state, "commit", argument, 1, INT64_MAX);
		return true;
	case OPTION_YES:
		input->is_sure = true;
		return true;
	default:
		return false;
	}
}

static bool parse_update(struct command_update *update, int key, char *argument,
			 struct argp_state *state)
{
	switch (key) {
	case OPTION_LAYER:
		update->layer = (unsigned int)parse_number(state, "layer", argument, 1, 15);
		return true;
	case OPTION_PROTECTION:
		update->protection = argument;
		return true;
	case OPTION_VISIBILITY:
		update->visibility = argument;
		return true;
	case OPTION_RESTRICTS:
		update->restricts = parse_vtls(state, "restricts", argument);
		return true;
	case OPTION_MBEC:
		update->mbec = true;
		return true;
	case OPTION_RANGE:
		update->ranges = terminal_there(reallocarray(update->ranges, update->n_ranges + 1,
							     sizeof(*update->ranges)));
		update->ranges[update->n_ranges++] = parse_range(state, argument);
		return true;
	default:
		return false;
	}
}

static error_t parse_for_command(int key, char *argument, struct argp_state *state)
{
	struct command_line *line = state->input;
	struct command_input *input = &line->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = line;
		return 0;
	case ARGP_KEY_ARG:
		if (input->n_arguments == line->command->n_most)
			argp_error(state, "too many arguments");
		input->arguments[input->n_arguments++] = argument;
		return 0;
	case ARGP_KEY_END:
		if (input->n_arguments < line->command->n_least)
			argp_error(state, "something is missing; it takes: %s",
				   line->command->arguments);
		if (input->has_from && input->has_to && input->to <= input->from)
			argp_error(state, "--to has to be above --from");
		if (input->is_raw && line->command->asks_nobody)
			argp_error(state, "there is no daemon's answer for --raw to show");
		return 0;
	default:
		return parse_which(input, key, argument, state) ||
				       parse_how(input, key, argument, state) ||
				       parse_update(&input->update, key, argument, state)
			       ? 0
			       : ARGP_ERR_UNKNOWN;
	}
}

/* Options of commands, and whose they are. */
static const struct {
	unsigned int of;
	struct argp_option option;
} command_options[] = {
	{ COMMAND_VTL,
	  { "vtl", OPTION_VTL, "N", 0, "the VTL whose view of memory is meant (0)", 0 } },
	{ COMMAND_RANGE,
	  { "from", OPTION_FROM, "GPA", 0, "from the page of this address (the first of RAM)",
	    0 } },
	{ COMMAND_RANGE,
	  { "to", OPTION_TO, "GPA", 0, "up to, not including, this address (the end of RAM)", 0 } },
	{ COMMAND_ACCESS,
	  { "access", OPTION_ACCESS, "r|w|x", 0, "only this access (all three)", 0 } },
	{ COMMAND_ZOOM,
	  { "depth", OPTION_DEPTH, "N", 0, "twice the rows N times, 0 to 8 (0: one screen)", 0 } },
	{ COMMAND_ZOOM,
	  { "width", OPTION_WIDTH, "CELLS", 0, "cells in a row (as many as fit)", 0 } },
	{ COMMAND_BUCKETS,
	  { "buckets", OPTION_BUCKETS, "N", 0, "into N parts, 1 to 1024 (16)", 0 } },
	{ COMMAND_AT, { "at", OPTION_AT, "COMMIT", 0, "as of this commit (the last)", 0 } },
	{ COMMAND_SINCE,
	  { "since", OPTION_SINCE, "COMMIT", 0, "from this commit on (the first there is)", 0 } },
	{ COMMAND_EVENTS,
	  { "since", OPTION_SINCE, "NUMBER", 0, "also those that came before, from this one on",
	    0 } },
	{ COMMAND_LIMIT, { "limit", OPTION_LIMIT, "N", 0, "at most N lines", 0 } },
	{ COMMAND_SVG,
	  { "svg", OPTION_SVG, "FILE", 0, "into a file that browsers show, finer, with tooltips",
	    0 } },
	{ COMMAND_WATCH,
	  { "interval", OPTION_INTERVAL, "SECONDS", 0, "how long to wait, 0.1 to 3600 (2)", 0 } },
	{ COMMAND_WATCH,
	  { "count", OPTION_COUNT, "N", 0, "end after N intervals (when told to)", 0 } },
	{ COMMAND_EVENTS,
	  { "event", OPTION_EVENT, "EVENT", 0, "this kind only, or these: may come again (all)",
	    0 } },
	{ COMMAND_EVENTS,
	  { "count", OPTION_COUNT, "N", 0, "end after N events (when told to)", 0 } },
	{ COMMAND_RESET,
	  { "reset", OPTION_RESET, NULL, 0, "begin anew with 0, and show nothing", 0 } },
	{ COMMAND_SURE,
	  { "yes", OPTION_YES, NULL, 0, "do not ask, on a terminal, whether that is meant", 0 } },
	{ COMMAND_IF_COMMIT,
	  { "commit", OPTION_COMMIT, "COMMIT", 0, "only if this is its last one", 0 } },
	{ COMMAND_UPDATE,
	  { "layer", OPTION_LAYER, "N", 0, "the VTL that imposes it, 1 to 15", 0 } },
	{ COMMAND_UPDATE,
	  { "protection", OPTION_PROTECTION, "PROTECTION", 0, "what the layer allows", 0 } },
	{ COMMAND_UPDATE,
	  { "visibility", OPTION_VISIBILITY, "VISIBILITY", 0, "shared or private", 0 } },
	{ COMMAND_UPDATE,
	  { "restricts", OPTION_RESTRICTS, "VTLS", 0, "on these VTLs, such as 0,1 (all lower)",
	    0 } },
	{ COMMAND_UPDATE,
	  { "mbec", OPTION_MBEC, NULL, 0, "kernel and user execute are told apart", 0 } },
	{ COMMAND_UPDATE,
	  { "range", OPTION_RANGE, "GPA[:PAGES]", 0,
	    "so many pages from there on (1); may come again", 0 } },
};

#define N_COMMAND_OPTIONS (sizeof(command_options) / sizeof(command_options[0]))

const struct argp_option *command_option(const struct command *command, size_t index)
{
	for (size_t i = 0; command && i < N_COMMAND_OPTIONS; i++)
		if (command->options & command_options[i].of && !index--)
			return &command_options[i].option;
	for (const struct argp_option *option = global_options; option->name; option++)
		if (!index--)
			return option;
	return NULL;
}

void options_parse_rest(struct command_line *line, int argc, char **argv, const char *program)
{
	const struct command *command = line->command;
	struct argp_option options[N_COMMAND_OPTIONS + 1] = { 0 };
	const struct argp_child children[] = {
		{ &global_argp, 0, "With every command:", 0 },
		{ 0 },
	};
	struct argp argp = {
		.options = options,
		.parser = parse_for_command,
		.args_doc = command->arguments,
		.children = children,
	};
	size_t n = 0;
	char *doc = NULL, *name = NULL, *word;

	for (size_t i = 0; i < N_COMMAND_OPTIONS; i++)
		if (command->options & command_options[i].of)
			options[n++] = command_options[i].option;
	if (asprintf(&doc, "kvmattrctl %s: %s.%s%s", command->words, command->summary,
		     command->text ? "\v" : "", command->text ? command->text : "") < 0 ||
	    asprintf(&name, "%s %s", program, command->words) < 0)
		terminal_there(NULL);
	argp.doc = doc;
	/* whoever parses the whole line still looks at this word */
	word = argv[0];
	argv[0] = name;
	argp_parse(&argp, argc, argv, 0, NULL, line);
	argv[0] = word;
	free(doc);
	free(name);
}

char *command_socket_path(const char *runtime_dir, const char *socket_path)
{
	const char *dir = runtime_dir;
	char *path;

	if (socket_path)
		return terminal_there(strdup(socket_path));
	if (!dir)
		dir = getenv("KVMATTR_RUNTIME_DIR");
	if (!dir || !*dir)
		dir = DEFAULT_RUNTIME_DIR;
	if (asprintf(&path, "%s/control.sock", dir) < 0)
		terminal_there(NULL);
	return path;
}

struct command_line options_defaults(int argc)
{
	struct command_line line = {
		.timeout_s = DEFAULT_TIMEOUT_S,
		.input.interval_ms = DEFAULT_INTERVAL_MS,
	};

	/* no more arguments than there are words, and NULLs behind them */
	line.input.arguments =
		terminal_there(calloc((size_t)argc + 2, sizeof(*line.input.arguments)));
	return line;
}

void options_free(struct command_line *line)
{
	free(line->input.arguments);
	free(line->input.events);
	free(line->input.update.ranges);
}
