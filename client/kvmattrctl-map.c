/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl map effective, map layer, map explain.
 */
#include "client/kvmattrctl-page.h"
#include "client/kvmattrctl-runs.h"
#include "client/kvmattrctl-terminal.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void begin_map(const struct command_input *input, struct json_object *first)
{
	writer_text(input->writer, "vm", NULL, answer_text(first, "vm"));
	writer_number(input->writer, "vtl", NULL, answer_number(first, "vtl"));
}

static const struct writer_column effective_columns[] = {
	RUN_COLUMNS,
	{ "protection", "PROTECTION", WRITER_COLUMN_TEXT },
	{ "visibility", "VISIBILITY", WRITER_COLUMN_TEXT },
	{ "state", "STATE", WRITER_COLUMN_TEXT },
};

static enum writer_tone state_tone(const char *state)
{
	return !strcmp(state, "in-force")  ? WRITER_PLAIN
	       : !strcmp(state, "pending") ? WRITER_WARNING
					   : WRITER_BAD;
}

static void write_effective(struct writer *writer, struct json_object *run)
{
	const char *state = answer_text(run, "state");

	writer_text(writer, NULL, NULL, answer_text(run, "protection"));
	writer_text(writer, NULL, NULL, answer_text(run, "visibility"));
	writer_text_toned(writer, NULL, NULL, state, state_tone(state));
}

enum ctl_exit command_map_effective(const struct command_input *input)
{
	return runs_walk(input, &(struct run_walk){
					.method = "map.effective",
					.subject = "vm",
					.begin = begin_map,
					.columns = effective_columns,
					.n_columns = COUNT(effective_columns),
					.write = write_effective,
					.nothing = "There is no RAM.",
				});
}

static const struct writer_column layer_columns[] = {
	RUN_COLUMNS,
	{ "protection", "PROTECTION", WRITER_COLUMN_TEXT },
	{ "source", "SOURCE", WRITER_COLUMN_TEXT },
};

static void write_layer(struct writer *writer, struct json_object *run)
{
	const char *source = answer_text(run, "source");

	writer_text(writer, NULL, NULL, answer_text(run, "protection"));
	writer_text_toned(writer, NULL, NULL, source,
			  strcmp(source, "default") ? WRITER_PLAIN : WRITER_DIM);
}

static void ask_layer(const struct command_input *input, struct json_object *params,
		      struct json_object *first)
{
	(void)first;
	params_add_number(params, "layer", (uint64_t)atoi(input->arguments[1]));
}

static void begin_layer(const struct command_input *input, struct json_object *first)
{
	begin_map(input, first);
	writer_text(input->writer, "default", NULL, answer_text(first, "default"));
}

enum ctl_exit command_map_layer(const struct command_input *input)
{
	const char *layer = input->arguments[1];

	if (strspn(layer, "0123456789") != strlen(layer) || strlen(layer) > 2 || atoi(layer) < 1 ||
	    atoi(layer) > 15) {
		terminal_complain("LAYER has to be the VTL that imposes it, a number from 1 to 15, "
				  "not '%s'",
				  layer);
		return CTL_USAGE;
	}
	return runs_walk(input, &(struct run_walk){
					.method = "map.layer",
					.subject = "vm",
					.ask = ask_layer,
					.begin = begin_layer,
					.columns = layer_columns,
					.n_columns = COUNT(layer_columns),
					.write = write_layer,
					.nothing = "There is no RAM.",
				});
}

static const struct writer_column access_columns[] = {
	{ "access", "ACCESS", WRITER_COLUMN_TEXT },
	{ "allowed", "ALLOWED", WRITER_COLUMN_TEXT },
	{ "denying", "DENIED BY LAYER", WRITER_COLUMN_TEXT },
	{ "intercept", "INTERCEPT GOES TO VTL", WRITER_COLUMN_TEXT },
};

static const struct writer_column verdict_columns[] = {
	{ "layer", "LAYER", WRITER_COLUMN_NUMBER },
	{ "protection", "ALLOWS", WRITER_COLUMN_TEXT },
	{ "source", NULL, WRITER_COLUMN_TEXT },
	{ NULL, "BECAUSE", WRITER_COLUMN_TEXT },
};

static const char *access_name(const char *access)
{
	return !strcmp(access, "r")   ? "read"
	       : !strcmp(access, "w") ? "write"
	       : !strcmp(access, "x") ? "execute"
				      : access;
}

static void write_accesses(struct writer *writer, struct json_object *answer, unsigned int vtl)
{
	char title[48];
	size_t n;
	struct json_object *accesses = answer_array(answer, "accesses", &n);

	snprintf(title, sizeof(title), "What VTL %u may do", vtl);
	writer_begin_table(writer, "accesses", title, access_columns, COUNT(access_columns));
	for (size_t i = 0; i < n; i++) {
		struct json_object *access = json_object_array_get_idx(accesses, i);
		bool is_allowed = answer_boolean(access, "allowed");

		writer_begin_row(writer);
		writer_text(writer, NULL, NULL, access_name(answer_text(access, "access")));
		writer_boolean_toned(writer, NULL, NULL, is_allowed,
				     is_allowed ? WRITER_GOOD : WRITER_BAD);
		writer_vtls(writer, NULL, NULL, answer_vtls(access, "denying"));
		if (answer_is_null(access, "intercept"))
			writer_nothing(writer, NULL, NULL);
		else
			writer_number(writer, NULL, NULL, answer_number(access, "intercept"));
	}
	writer_end_table(writer);
}

static void write_verdicts(struct writer *writer, struct json_object *answer)
{
	size_t n;
	struct json_object *layers = answer_array(answer, "layers", &n);

	writer_begin_table(writer, "layers", n ? "What each layer allows here" : NULL,
			   verdict_columns, COUNT(verdict_columns));
	for (size_t i = 0; i < n; i++) {
		struct json_object *layer = json_object_array_get_idx(layers, i);

		writer_begin_row(writer);
		writer_number(writer, NULL, NULL, answer_number(layer, "layer"));
		writer_text(writer, NULL, NULL, answer_text(layer, "protection"));
		writer_text(writer, NULL, NULL, answer_text(layer, "source"));
		writer_text(writer, NULL, NULL,
			    strcmp(answer_text(layer, "source"), "default")
				    ? "it was set for this page"
				    : "it is the layer's default");
	}
	writer_end_table(writer);
	if (!n && answer_boolean(answer, "ram"))
		writer_say(writer,
			   "\nNo layer above this VTL is enabled, so nothing is restricted.");
}

/* "in force: KVM enforces this on every vCPU" */
static void write_state(struct writer *writer, struct json_object *answer)
{
	const char *state = answer_text(answer, "state");
	const char *applied = answer_text(answer, "applied");
	char *text = terminal_safe(answer_text(answer, "state_text"));

	writer_say(writer, "\nState: %s.", text);
	if (!strcmp(state, "pending") && *applied) {
		free(text);
		text = terminal_safe(applied);
		writer_say(writer, "Until then, KVM allows what it was told last: %s.", text);
	}
	free(text);
	writer_text(writer, "state", NULL, state);
	writer_text(writer, "state_text", NULL, answer_text(answer, "state_text"));
	if (*applied)
		writer_text(writer, "applied", NULL, applied);
	else
		writer_nothing(writer, "applied", NULL);
}

static void write_page(struct writer *writer, struct json_object *answer, uint64_t gpa)
{
	char *vm = terminal_safe(answer_text(answer, "vm"));
	char *protection = terminal_safe(answer_text(answer, "protection"));
	char *visibility = terminal_safe(answer_text(answer, "visibility"));
	uint64_t vtl = answer_number(answer, "vtl"), n_locks = answer_number(answer, "locks");

	if (answer_boolean(answer, "ram"))
		writer_say(writer,
			   "Page 0x%" PRIx64 " of VM %s, as VTL %" PRIu64 " has it: %s, %s%s", gpa,
			   vm, vtl, protection, visibility,
			   n_locks ? ", locked: nobody may change it" : "");
	else
		writer_say(writer, "Page 0x%" PRIx64 " of VM %s is no RAM", gpa, vm);
	writer_text(writer, "vm", NULL, answer_text(answer, "vm"));
	writer_number(writer, "vtl", NULL, vtl);
	writer_address(writer, "gpa", NULL, gpa);
	writer_boolean(writer, "ram", NULL, answer_boolean(answer, "ram"));
	writer_text(writer, "protection", NULL, answer_text(answer, "protection"));
	writer_text(writer, "visibility", NULL, answer_text(answer, "visibility"));
	writer_number(writer, "locks", NULL, n_locks);
	free(vm);
	free(protection);
	free(visibility);
}

enum ctl_exit command_map_explain(const struct command_input *input)
{
	struct page_question question = { .method = "map.explain", .subject = "vm" };
	enum ctl_exit exit_code = page_ask(input, &question);

	if (exit_code != CTL_OK)
		return exit_code;
	writer_begin_object(input->writer, NULL, NULL);
	write_page(input->writer, question.answer, question.gpa);
	write_accesses(input->writer, question.answer, input->vtl);
	write_verdicts(input->writer, question.answer);
	write_state(input->writer, question.answer);
	writer_end_object(input->writer);
	json_object_put(question.answer);
	return CTL_OK;
}
