/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl: look into kvmattrd from a terminal.
 *
 * This room finds the command and runs it.  The commands are in kvmattrctl-commands.c, the options,
 * which may stand before or behind a command's words, in kvmattrctl-options.c.
 */
#include "config.h"

#include "client/kvmattrctl-command.h"
#include "client/kvmattrctl-options.h"
#include "client/kvmattrctl-terminal.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((visibility("default"))) const char *argp_program_version =
	"kvmattrctl " PACKAGE_VERSION;

/* The command that these words begin with; *ret_n_words is how many of them are its name. */
static const struct command *find_command(int n, char **words, unsigned int *ret_n_words)
{
	const struct command *command = n > 1 ? command_find(words[0], words[1]) : NULL;

	*ret_n_words = command ? 2 : 1;
	return command ? command : command_find(NULL, words[0]);
}

/* Says which commands begin with that word; if none does, where all of them are. */
static void refuse_word(const struct argp_state *state, const char *first)
{
	char *list = NULL, *safe = terminal_safe(first);
	size_t size, n = 0;
	char *second = state->next < state->argc ? terminal_safe(state->argv[state->next]) : NULL;
	FILE *stream = terminal_there(open_memstream(&list, &size));

	for (const struct command *command = commands; command->words; command++) {
		const char *space = strchr(command->words, ' ');

		if (space && strlen(first) == (size_t)(space - command->words) &&
		    !strncmp(first, command->words, strlen(first)))
			fprintf(stream, "%s%s", n++ ? ", " : "", command->words);
	}
	fclose(stream);
	terminal_there(list);
	if (n)
		argp_error(state, "'%s%s%s' is no command; there are: %s", safe, second ? " " : "",
			   second ? second : "", list);
	else
		argp_error(state, "there is no command '%s'; --help lists all", safe);
	free(list);
	free(safe);
	free(second);
}

static error_t parse_main(int key, char *argument, struct argp_state *state)
{
	struct command_line *line = state->input;
	unsigned int n_words = 0;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = line;
		break;
	case ARGP_KEY_ARG:
		line->command = find_command(state->argc - state->next + 1,
					     state->argv + state->next - 1, &n_words);
		if (!line->command) {
			refuse_word(state, argument);
			return EINVAL;
		}
		/* from the last of its words on: that one takes the place of the program's name */
		state->next += (int)n_words - 1;
		options_parse_rest(line, state->argc - state->next + 1,
				   state->argv + state->next - 1, state->name);
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
		fprintf(stream, "  %-31s%s\n", words, command->summary);
	}
	fputs("\nEach has its own --help.\n\n"
	      "Exit status:\n"
	      "  0  done\n"
	      "  1  the daemon refused it, or the output could not be written\n"
	      "  2  the command line is wrong\n"
	      "  3  the daemon cannot be reached, or does not answer in time\n"
	      "  4  a journal or an export is damaged\n"
	      "  5  a file cannot be read or written\n"
	      "  6  vm verify: KVM does not enforce all of it\n",
	      stream);
	fclose(stream);
	return doc;
}

/* That something is damaged or degraded is a result, too. */
static bool has_result(enum ctl_exit exit_code)
{
	return exit_code == CTL_OK || exit_code == CTL_DAMAGED || exit_code == CTL_UNREADABLE ||
	       exit_code == CTL_DEGRADED;
}

static enum ctl_exit run(struct command_line *line)
{
	struct command_input *input = &line->input;
	char *path = command_socket_path(line->runtime_dir, line->socket_path);
	enum ctl_exit exit_code;

	input->rpc = rpc_new(path, line->timeout_s * 1000);
	input->is_for_people = !line->as_json && !input->is_raw;
	input->writer = input->is_for_people ? writer_new_text() : writer_new_json();
	if (input->is_raw)
		rpc_show_raw(input->rpc);
	exit_code = line->command->run(input);
	/* raw answers have been shown themselves */
	if (!input->is_raw && has_result(exit_code))
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
	struct command_line line = options_defaults(argc);
	char *doc = make_main_doc();
	const struct argp argp = {
		.parser = parse_main,
		.args_doc = "COMMAND [ARGUMENT...]",
		.doc = doc,
		.children = children,
	};
	enum ctl_exit exit_code;

	argp_err_exit_status = CTL_USAGE;
	terminal_init(TERMINAL_AUTO);
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &line);
	free(doc);
	terminal_init(line.color);
	exit_code = run(&line);
	options_free(&line);
	/* what could not be written was not done */
	if (fflush(stdout) == EOF || ferror(stdout)) {
		fprintf(stderr, "kvmattrctl: cannot write the output: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	return (int)exit_code;
}
