/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl: look into kvmattrd from a terminal.
 *
 * This room has the command line; the commands are in kvmattrctl-commands.c.  Options may stand
 * before or behind a command's words.
 */
#include "config.h"

#include "client/kvmattrctl-command.h"
#include "client/kvmattrctl-terminal.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_RUNTIME_DIR "/run/kvmattrd"
#define DEFAULT_TIMEOUT_S   5
#define MAX_TIMEOUT_S       86400
#define DEFAULT_INTERVAL_MS 2000

__attribute__((visibility("default"))) const char *argp_program_version =
	"kvmattrctl " PACKAGE_VERSION;

enum option_key {
	OPTION_JSON = 256,
	OPTION_COLOR,
	OPTION_VTL,
	OPTION_FROM,
	OPTION_TO,
	OPTION_ACCESS,
	OPTION_DEPTH,
	OPTION_WIDTH,
	OPTION_AT,
	OPTION_SINCE,
	OPTION_LIMIT,
	OPTION_SVG,
	OPTION_INTERVAL,
	OPTION_COUNT,
};

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
	{ "timeout", 't', "SECONDS", 0, "how long to wait for an answer (5)", 10 },
	{ "color", OPTION_COLOR, "WHEN", 0,
	  "auto (in a terminal, and NO_COLOR is not set), always or never", 10 },
	{ 0 },
};

static const struct argp global_argp = { .options = global_options, .parser = parse_global };

static error_t parse_for_command(int key, char *argument, struct argp_state *state)
{
	struct command_line *line = state->input;
	struct command_input *input = &line->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = line;
		break;
	case OPTION_VTL:
		input->vtl = (unsigned int)parse_number(state, "vtl", argument, 0, 15);
		break;
	case OPTION_FROM:
		input->from = parse_address(state, "from", argument);
		input->has_from = true;
		break;
	case OPTION_TO:
		input->to = parse_address(state, "to", argument);
		input->has_to = true;
		break;
	case OPTION_ACCESS:
		if (strcmp(argument, "r") != 0 && strcmp(argument, "w") != 0 &&
		    strcmp(argument, "x") != 0)
			argp_error(state, "--access has to be r, w or x");
		input->access = argument;
		break;
	case OPTION_DEPTH:
		input->depth =
			(unsigned int)parse_number(state, "depth", argument, 0, COMMAND_MAX_DEPTH);
		break;
	case OPTION_WIDTH:
		input->width = (unsigned int)parse_number(state, "width", argument, 1, 1024);
		break;
	case OPTION_AT:
		input->at = parse_number(state, "at", argument, 1, INT64_MAX);
		break;
	case OPTION_SINCE:
		input->since = parse_number(state, "since", argument, 1, INT64_MAX);
		break;
	case OPTION_LIMIT:
		input->limit = parse_number(state, "limit", argument, 1, INT64_MAX);
		break;
	case OPTION_SVG:
		input->svg = argument;
		break;
	case OPTION_INTERVAL:
		input->interval_ms = parse_seconds(state, "interval", argument);
		break;
	case OPTION_COUNT:
		input->count = parse_number(state, "count", argument, 1, INT64_MAX);
		break;
	case ARGP_KEY_ARG:
		if (input->n_arguments == line->command->n_most)
			argp_error(state, "too many arguments");
		input->arguments[input->n_arguments++] = argument;
		break;
	case ARGP_KEY_END:
		if (input->n_arguments < line->command->n_least)
			argp_error(state, "something is missing; it takes: %s",
				   line->command->arguments);
		if (input->has_from && input->has_to && input->to <= input->from)
			argp_error(state, "--to has to be above --from");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
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
	{ COMMAND_AT, { "at", OPTION_AT, "COMMIT", 0, "as of this commit (the last)", 0 } },
	{ COMMAND_SINCE,
	  { "since", OPTION_SINCE, "COMMIT", 0, "from this commit on (the first there is)", 0 } },
	{ COMMAND_LIMIT, { "limit", OPTION_LIMIT, "N", 0, "at most N lines", 0 } },
	{ COMMAND_SVG,
	  { "svg", OPTION_SVG, "FILE", 0, "into a file that browsers show, finer, with tooltips",
	    0 } },
	{ COMMAND_WATCH,
	  { "interval", OPTION_INTERVAL, "SECONDS", 0, "how long to wait, 0.1 to 3600 (2)", 0 } },
	{ COMMAND_WATCH,
	  { "count", OPTION_COUNT, "N", 0, "end after N intervals (when told to)", 0 } },
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

static unsigned int count_words(const char *words)
{
	return strchr(words, ' ') ? 2 : 1;
}

/* The rest of the command line, from behind the command's words on. */
static void parse_rest(struct command_line *line, int argc, char **argv, const char *program)
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

/* The command of these words; *ret_n_words is how many of them are its name. */
static const struct command *find_command(int n, char **words, unsigned int *ret_n_words)
{
	for (const struct command *command = commands; command->words; command++) {
		const char *space = strchr(command->words, ' ');
		size_t first = space ? (size_t)(space - command->words) : strlen(command->words);

		if (n < (int)count_words(command->words) || strlen(words[0]) != first ||
		    strncmp(words[0], command->words, first) != 0 ||
		    (space && strcmp(words[1], space + 1) != 0))
			continue;
		*ret_n_words = count_words(command->words);
		return command;
	}
	return NULL;
}

/* "map show, map effective": what may follow a first word; all commands if none begins so. */
static char *list_commands(const char *first)
{
	char *list = NULL;
	size_t size, n = 0;
	FILE *stream = terminal_there(open_memstream(&list, &size));

	for (int pass = 0; pass < 2 && !n; pass++) {
		for (const struct command *command = commands; command->words; command++) {
			const char *space = strchr(command->words, ' ');

			if (!pass && (!space || strlen(first) != (size_t)(space - command->words) ||
				      strncmp(first, command->words, strlen(first)) != 0))
				continue;
			fprintf(stream, "%s%s", n++ ? ", " : "", command->words);
		}
	}
	fclose(stream);
	return list;
}

static error_t parse_main(int key, char *argument, struct argp_state *state)
{
	struct command_line *line = state->input;
	unsigned int n_words = 0;
	char *list, *safe;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = line;
		break;
	case ARGP_KEY_ARG:
		line->command = find_command(state->argc - state->next + 1,
					     state->argv + state->next - 1, &n_words);
		if (!line->command) {
			list = list_commands(argument);
			safe = terminal_safe(argument);
			argp_error(state, "there is no command '%s%s'; there are: %s", safe,
				   state->next < state->argc ? " ..." : "", list);
			free(list);
			free(safe);
			return EINVAL;
		}
		/* from the last of its words on: that one takes the place of the program's name */
		state->next += (int)n_words - 1;
		parse_rest(line, state->argc - state->next + 1, state->argv + state->next - 1,
			   state->name);
		state->next = state->argc;
		break;
	case ARGP_KEY_NO_ARGS:
		argp_usage(state);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static char *make_main_doc(void)
{
	char *doc = NULL;
	size_t size;
	FILE *stream = terminal_there(open_memstream(&doc, &size));

	fputs("Looks into kvmattrd, the daemon that keeps the memory policies of VSM guests, and "
	      "into its journals."
	      "\vCommands:\n",
	      stream);
	for (const struct command *command = commands; command->words; command++) {
		char words[64];

		snprintf(words, sizeof(words), "%s %s", command->words,
			 command->arguments ? command->arguments : "");
		fprintf(stream, "  %-37s%s\n", words, command->summary);
	}
	fputs("\nEach has its own --help.\n\n"
	      "Exit status:\n"
	      "  0  done\n"
	      "  1  the daemon refused it, or the output could not be written\n"
	      "  2  the command line is wrong\n"
	      "  3  the daemon cannot be reached, or does not answer in time\n"
	      "  4  a journal or an export is damaged\n"
	      "  5  a file cannot be read or written\n",
	      stream);
	fclose(stream);
	return doc;
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

static enum ctl_exit run(struct command_line *line)
{
	struct command_input *input = &line->input;
	char *path = command_socket_path(line->runtime_dir, line->socket_path);
	enum ctl_exit exit_code;

	input->rpc = rpc_new(path, line->timeout_s * 1000);
	input->writer = line->as_json ? writer_new_json() : writer_new_text();
	input->is_for_people = !line->as_json;
	exit_code = line->command->run(input);
	/* that something is damaged is a result, too */
	if (exit_code == CTL_OK || exit_code == CTL_DAMAGED || exit_code == CTL_UNREADABLE)
		writer_end(input->writer);
	else
		writer_discard(input->writer);
	rpc_free(input->rpc);
	free(path);
	return exit_code;
}

int main(int argc, char **argv)
{
	const struct argp_child children[] = { { &global_argp, 0, NULL, 0 }, { 0 } };
	struct command_line line = {
		.timeout_s = DEFAULT_TIMEOUT_S,
		.input.interval_ms = DEFAULT_INTERVAL_MS,
	};
	char *doc = make_main_doc();
	const struct argp argp = {
		.parser = parse_main,
		.args_doc = "COMMAND [ARGUMENT...]",
		.doc = doc,
		.children = children,
	};
	enum ctl_exit exit_code;

	/* no more arguments than there are words, and NULLs behind them */
	line.input.arguments =
		terminal_there(calloc((size_t)argc + 2, sizeof(*line.input.arguments)));
	argp_err_exit_status = CTL_USAGE;
	terminal_init(TERMINAL_AUTO);
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &line);
	free(doc);
	terminal_init(line.color);
	exit_code = run(&line);
	free(line.input.arguments);
	/* what could not be written was not done */
	if (fflush(stdout) == EOF || ferror(stdout)) {
		fprintf(stderr, "kvmattrctl: cannot write the output: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	return (int)exit_code;
}
