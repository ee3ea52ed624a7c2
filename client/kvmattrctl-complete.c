/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl complete: what a command line may go on with.
 *
 * The shells' files (client/completion/) ask this program, so that what they offer cannot differ
 * from what it takes: commands and options come from the tables, VMs, journals, layers, methods
 * and the words that these take from the daemon.  Somebody waits at a prompt, so the daemon gets a moment, and nothing is ever
 * said on stderr.  A line is a word, or a word, a tab and what it is; ":files" alone on a line asks
 * the shell for the names of files.
 */
#include "client/kvmattrctl-command.h"
#include "client/kvmattrctl-terminal.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For each call to the daemon; there are two at most. */
#define PATIENCE_MS 250

/* A command line as far as it has been typed. */
struct typed {
	const struct command *command; /* NULL: not yet */
	const char *first;             /* the first word of a command of two, or NULL */
	const char **arguments;
	unsigned int n_arguments;
	const char *runtime_dir;
	const char *socket_path;
	const struct argp_option *option; /* the value of which is next, or NULL */
	bool has_only_arguments;          /* behind -- */
	bool is_wrong;                    /* there is no such command */
	struct rpc *rpc;
};

static bool begins_with(const char *text, const char *start)
{
	return !strncmp(text, start, strlen(start));
}

/* Each name once, if it goes on with what has been typed. */
static void offer(const char *name, const char *what, const char *typed)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789._-=";
	char *safe;

	/* nothing that a shell or a terminal would take for more than a word */
	if (!begins_with(name, typed) || !*name || name[strspn(name, plain)])
		return;
	safe = terminal_safe(what ? what : "");
	printf("%s%s%s\n", name, *safe ? "\t" : "", safe);
	free(safe);
}

/* ---- From the tables ----------------------------------------------------------------------- */

static bool is_first_word(const char *word)
{
	for (const struct command *command = commands; command->words; command++)
		if (begins_with(command->words, word) && command->words[strlen(word)] == ' ')
			return true;
	return false;
}

static void offer_commands(const struct typed *typed, const char *word)
{
	char last[32] = "";

	for (const struct command *command = commands; command->words; command++) {
		const char *space = strchr(command->words, ' ');
		char first[32];

		if (typed->first) {
			if (space && strlen(typed->first) == (size_t)(space - command->words) &&
			    begins_with(command->words, typed->first))
				offer(space + 1, command->summary, word);
			continue;
		}
		if (!space) {
			offer(command->words, command->summary, word);
			continue;
		}
		/* those of two words stand together in the table */
		snprintf(first, sizeof(first), "%.*s", (int)(space - command->words),
			 command->words);
		if (strcmp(first, last) != 0)
			offer(first, "...", word);
		snprintf(last, sizeof(last), "%s", first);
	}
}

static void offer_options(const struct typed *typed, const char *word)
{
	const struct argp_option *option;
	char name[40];

	for (size_t i = 0; (option = command_option(typed->command, i)); i++) {
		snprintf(name, sizeof(name), "--%s%s", option->name, option->arg ? "=" : "");
		offer(name, option->doc, word);
	}
	offer("--help", "what there is", word);
	offer("--usage", "the same, in short", word);
	offer("--version", "the version", word);
}

/* The option of that name, "--vtl" or "--vtl=3" or "-t". */
static const struct argp_option *find_option(const struct typed *typed, const char *word)
{
	const struct argp_option *option;
	size_t n = strcspn(word, "=");

	for (size_t i = 0; (option = command_option(typed->command, i)); i++)
		if ((word[1] == '-' && strlen(option->name) + 2 == n &&
		     !strncmp(word + 2, option->name, n - 2)) ||
		    (word[1] != '-' && word[1] == option->key))
			return option;
	return NULL;
}

/* ---- From the daemon ----------------------------------------------------------------------- */

static struct json_object *ask(const struct typed *typed, const char *method, const char *vm)
{
	struct json_object *params = vm ? params_about("vm", vm) : NULL, *answer = NULL;

	return rpc_call(typed->rpc, method, params, &answer) == CTL_OK ? answer : NULL;
}

/* The elements of an array in an answer, each by a name and what it is. */
static void offer_all(struct json_object *answer, const char *array_name, const char *name,
		      const char *what, const char *word)
{
	size_t n;
	struct json_object *array = answer_array(answer, array_name, &n);

	for (size_t i = 0; i < n; i++) {
		struct json_object *element = json_object_array_get_idx(array, i);

		offer(answer_text(element, name), answer_text(element, what), word);
	}
	json_object_put(answer);
}

static void offer_layers(const struct typed *typed, const char *word)
{
	struct json_object *vm = ask(typed, "vm.get", typed->arguments[0]);
	size_t n;
	struct json_object *layers = answer_array(vm, "layers", &n);

	for (size_t i = 0; i < n; i++) {
		struct json_object *layer = json_object_array_get_idx(layers, i);
		char number[24];

		snprintf(number, sizeof(number), "%u", (unsigned int)answer_number(layer, "layer"));
		offer(number, answer_text(layer, "default"), word);
	}
	json_object_put(vm);
}

/* What a method takes for a parameter of its; the daemon says that of itself. */
static void offer_choices(const struct typed *typed, const char *method, const char *parameter,
			  const char *word)
{
	struct json_object *answer = ask(typed, "rpc.methods", NULL);
	size_t n_methods, n_parameters, n_choices;
	struct json_object *methods = answer_array(answer, "methods", &n_methods);

	for (size_t i = 0; i < n_methods; i++) {
		struct json_object *one = json_object_array_get_idx(methods, i);
		struct json_object *parameters = answer_array(one, "parameters", &n_parameters);

		for (size_t k = 0; k < n_parameters; k++) {
			struct json_object *its = json_object_array_get_idx(parameters, k);
			struct json_object *choices = answer_array(its, "choices", &n_choices);

			if (strcmp(answer_text(one, "name"), method) != 0 ||
			    strcmp(answer_text(its, "name"), parameter) != 0)
				continue;
			for (size_t c = 0; c < n_choices; c++) {
				const char *choice = json_object_get_string(
					json_object_array_get_idx(choices, c));

				offer(choice ? choice : "", NULL, word);
			}
		}
	}
	json_object_put(answer);
}

/* Words of a command line that one of the daemon's parameters has, too. */
static const struct {
	const char *word; /* an argument's, or that of an option's value */
	const char *method;
	const char *parameter;
} words[] = {
	{ "KIND", "vm.update", "kind" },
	{ "PROTECTION", "vm.update", "protection" },
	{ "VISIBILITY", "vm.update", "visibility" },
	{ "EVENT", "event.subscribe", "events" },
	{ "[LEVEL]", "log.set_level", "level" },
	{ "r|w|x", "map.explain", "access" },
};

static void offer_words(const struct typed *typed, const char *name, const char *word)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(words[i].word, name))
			offer_choices(typed, words[i].method, words[i].parameter, word);
}

/* ---- What is next -------------------------------------------------------------------------- */

/* The word of the command's description that names its argument of that number. */
static char *name_argument(const struct command *command, unsigned int number)
{
	char *all = terminal_there(strdup(command->arguments ? command->arguments : ""));
	char *state = NULL, *name = strtok_r(all, " ", &state), *last = name, *found;

	while (name && number--) {
		last = name;
		name = strtok_r(NULL, " ", &state);
	}
	/* the last of them may come again */
	if (!name && last && strstr(last, "..."))
		name = last;
	found = terminal_there(strdup(name ? name : ""));
	free(all);
	return found;
}

static void offer_arguments(const struct typed *typed, const char *word)
{
	char *name = name_argument(typed->command, typed->n_arguments);

	if (typed->n_arguments >= typed->command->n_most) {
		free(name);
		return;
	}
	if (!strcmp(name, "VM") || !strcmp(name, "[VM]") || !strcmp(name, "JOURNAL"))
		offer_all(ask(typed, "vm.list", NULL), "vms", "name", "state", word);
	if (!strcmp(name, "JOURNAL"))
		offer_all(ask(typed, "journal.list", NULL), "journals", "journal", "state", word);
	else if (!strcmp(name, "LAYER"))
		offer_layers(typed, word);
	else if (!strcmp(name, "METHOD"))
		offer_all(ask(typed, "rpc.methods", NULL), "methods", "name", "summary", word);
	else if (strstr(name, "FILE"))
		puts(":files");
	else
		offer_words(typed, name, word);
	free(name);
}

static void offer_values(const struct typed *typed, const char *word)
{
	const char *arg = typed->option->arg;

	if (!strcmp(arg, "WHEN")) {
		offer("auto", NULL, word);
		offer("always", NULL, word);
		offer("never", NULL, word);
	} else if (!strcmp(arg, "FILE") || !strcmp(arg, "DIR") || !strcmp(arg, "PATH")) {
		puts(":files");
	} else {
		offer_words(typed, arg, word);
	}
}

static void take_value(struct typed *typed, const char *value)
{
	if (!strcmp(typed->option->name, "runtime-dir"))
		typed->runtime_dir = value;
	else if (!strcmp(typed->option->name, "socket"))
		typed->socket_path = value;
	typed->option = NULL;
}

static void take_option(struct typed *typed, const char *word)
{
	const char *value = word[1] == '-' ? strchr(word, '=') : word[2] ? word + 1 : NULL;

	typed->option = find_option(typed, word);
	if (!typed->option || !typed->option->arg)
		typed->option = NULL;
	else if (value)
		take_value(typed, value + 1);
}

static void take_word(struct typed *typed, const char *word)
{
	if (typed->option) {
		take_value(typed, word);
	} else if (!typed->has_only_arguments && !strcmp(word, "--")) {
		typed->has_only_arguments = true;
	} else if (!typed->has_only_arguments && word[0] == '-' && word[1]) {
		take_option(typed, word);
	} else if (typed->command) {
		typed->arguments[typed->n_arguments++] = word;
	} else {
		typed->command = command_find(typed->first, word);
		if (!typed->command && !typed->first && is_first_word(word))
			typed->first = word;
		else if (!typed->command)
			typed->is_wrong = true;
	}
}

static void offer_next(struct typed *typed, const char *word)
{
	bool is_option = !typed->has_only_arguments && *word == '-';

	if (!typed->option && is_option && strchr(word, '=')) {
		/* what stands before the = is the shell's to put there again */
		typed->option = find_option(typed, word);
		word = strchr(word, '=') + 1;
		if (!typed->option || !typed->option->arg)
			return;
	}
	if (typed->option)
		offer_values(typed, word);
	else if (is_option)
		offer_options(typed, word);
	else if (typed->command)
		offer_arguments(typed, word);
	else if (!typed->is_wrong)
		offer_commands(typed, word);
}

enum ctl_exit command_complete(const struct command_input *input)
{
	struct typed typed = { 0 };
	const char *word = "";
	char *path;

	if (!input->n_arguments)
		return CTL_OK;
	typed.arguments = terminal_there(calloc(input->n_arguments + 1, sizeof(*typed.arguments)));
	for (unsigned int i = 0; i + 1 < input->n_arguments; i++)
		take_word(&typed, input->arguments[i]);
	word = input->arguments[input->n_arguments - 1];
	path = typed.runtime_dir || typed.socket_path
		       ? command_socket_path(typed.runtime_dir, typed.socket_path)
		       : terminal_there(strdup(rpc_path(input->rpc)));
	typed.rpc = rpc_new(path, PATIENCE_MS);
	terminal_keep_complaints(true);
	offer_next(&typed, word);
	free(terminal_take_complaint());
	terminal_keep_complaints(false);
	rpc_free(typed.rpc);
	free(path);
	free(typed.arguments);
	return CTL_OK;
}
