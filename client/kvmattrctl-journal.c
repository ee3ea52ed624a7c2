/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl journal status, list, log, show, diff: the past, as the daemon tells it.
 */
#include "client/kvmattrctl-journal.h"

#include "client/kvmattrctl-runs.h"
#include "client/kvmattrctl-terminal.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Lines in one answer: as many as the daemon gives. */
#define LINES_PER_CALL 1024u

/* A name with a number that may not be known. */
static void write_optional(struct writer *writer, struct json_object *object, const char *key,
			   const char *label)
{
	if (answer_is_null(object, key))
		writer_nothing(writer, key, label);
	else
		writer_number(writer, key, label, answer_number(object, key));
}

/* ---- journal status ------------------------------------------------------------------------ */

enum ctl_exit command_journal_status(const struct command_input *input)
{
	struct json_object *params = terminal_there(json_object_new_object()), *status = NULL;
	struct writer *writer = input->writer;
	enum ctl_exit exit_code;
	const char *trouble;

	params_add_text(params, "vm", input->arguments[0]);
	exit_code = rpc_call(input->rpc, "journal.status", params, &status);
	if (exit_code != CTL_OK)
		return exit_code;
	trouble = answer_text(status, "trouble");
	writer_begin_object(writer, NULL, NULL);
	writer_text(writer, "vm", "VM", answer_text(status, "vm"));
	writer_text(writer, "journal", "Journal", answer_text(status, "journal"));
	writer_text(writer, "durability", "Durability", answer_text(status, "durability"));
	writer_number(writer, "first_commit", "First commit kept",
		      answer_number(status, "first_commit"));
	writer_number(writer, "commit", "Last commit", answer_number(status, "commit"));
	writer_bytes(writer, "bytes", "Size", answer_number(status, "bytes"));
	writer_number(writer, "segments", "Segments", answer_number(status, "segments"));
	writer_number(writer, "first_number", "First record",
		      answer_number(status, "first_number"));
	writer_number(writer, "next_number", "Next record", answer_number(status, "next_number"));
	write_optional(writer, status, "durable_number", "On the disk up to");
	writer_number(writer, "checkpoints", "Checkpoints", answer_number(status, "checkpoints"));
	writer_bytes(writer, "checkpoint_bytes", "of size",
		     answer_number(status, "checkpoint_bytes"));
	write_optional(writer, status, "checkpoint", "the last at record");
	writer_boolean(writer, "checkpointing", "Making another",
		       answer_boolean(status, "checkpointing"));
	if (*trouble)
		writer_text_toned(writer, "trouble", "Trouble", trouble, WRITER_BAD);
	else
		writer_nothing(writer, "trouble", "Trouble");
	writer_end_object(writer);
	json_object_put(status);
	return CTL_OK;
}

/* ---- journal list -------------------------------------------------------------------------- */

static const struct writer_column list_columns[] = {
	{ "journal", "JOURNAL", WRITER_COLUMN_TEXT },
	{ "vm", NULL, WRITER_COLUMN_TEXT },
	{ "life", NULL, WRITER_COLUMN_TEXT },
	{ "state", "STATE", WRITER_COLUMN_TEXT },
	{ "this_boot", NULL, WRITER_COLUMN_TEXT },
	{ "registered_us", NULL, WRITER_COLUMN_NUMBER },
	{ NULL, "REGISTERED", WRITER_COLUMN_TEXT },
	{ "commit", "COMMITS", WRITER_COLUMN_NUMBER },
	{ "commit_us", NULL, WRITER_COLUMN_NUMBER },
	{ NULL, "LAST COMMIT", WRITER_COLUMN_TEXT | WRITER_COLUMN_IF_ROOM },
	{ "bytes", "SIZE", WRITER_COLUMN_NUMBER },
	{ "why", NULL, WRITER_COLUMN_TEXT },
};

void journal_write_time(struct writer *writer, struct json_object *object, const char *key)
{
	uint64_t us = answer_number(object, key);
	char text[64];

	if (us) {
		writer_number(writer, NULL, NULL, us);
		writer_text(writer, NULL, NULL, terminal_time(text, us));
	} else {
		writer_nothing(writer, NULL, NULL);
		writer_nothing(writer, NULL, NULL);
	}
}

static enum writer_tone state_tone(const char *state)
{
	return !strcmp(state, "live")      ? WRITER_GOOD
	       : !strcmp(state, "damaged") ? WRITER_BAD
	       : !strcmp(state, "open")    ? WRITER_WARNING
					   : WRITER_DIM;
}

/* Why a VM was released, or what is wrong with its journal; the caller's to free. */
static char *why(struct json_object *journal)
{
	struct json_object *released = answer_object(journal, "released");
	struct json_object *damage = answer_object(journal, "damage");
	char *text = NULL;
	int n = 0;

	if (released)
		n = asprintf(&text, "%s: %s", answer_text(released, "status"),
			     answer_text(released, "text"));
	else if (damage && *answer_text(damage, "file"))
		n = asprintf(&text, "%s at %" PRIu64 ": %s", answer_text(damage, "file"),
			     answer_number(damage, "offset"), answer_text(damage, "text"));
	else
		n = asprintf(&text, "%s", damage ? answer_text(damage, "text") : "");
	if (n < 0)
		terminal_there(NULL);
	return text;
}

static void write_journal(struct writer *writer, struct json_object *journal)
{
	const char *state = answer_text(journal, "state");
	char *reason = why(journal);

	writer_begin_row(writer);
	writer_text(writer, NULL, NULL, answer_text(journal, "journal"));
	writer_text(writer, NULL, NULL, answer_text(journal, "vm"));
	writer_text(writer, NULL, NULL, answer_text(journal, "life"));
	writer_text_toned(writer, NULL, NULL, state, state_tone(state));
	writer_boolean(writer, NULL, NULL, answer_boolean(journal, "this_boot"));
	journal_write_time(writer, journal, "registered_us");
	writer_number(writer, NULL, NULL, answer_number(journal, "commit"));
	journal_write_time(writer, journal, "commit_us");
	writer_bytes(writer, NULL, NULL, answer_number(journal, "bytes"));
	if (*reason)
		writer_text(writer, NULL, NULL, reason);
	else
		writer_nothing(writer, NULL, NULL);
	free(reason);
}

enum ctl_exit command_journal_list(const struct command_input *input)
{
	struct json_object *list = NULL, *journals;
	struct writer *writer = input->writer;
	enum ctl_exit exit_code = rpc_call(input->rpc, "journal.list", NULL, &list);
	size_t n;

	if (exit_code != CTL_OK)
		return exit_code;
	journals = answer_array(list, "journals", &n);
	writer_begin_object(writer, NULL, NULL);
	if (!n)
		writer_say(writer, "There is no journal: no VM was ever registered.");
	writer_begin_table(writer, "journals", NULL, list_columns, COUNT(list_columns));
	for (size_t i = 0; i < n; i++)
		write_journal(writer, json_object_array_get_idx(journals, i));
	writer_end_table(writer);
	for (size_t i = 0; i < n; i++) {
		struct json_object *journal = json_object_array_get_idx(journals, i);
		char *name = terminal_safe(answer_text(journal, "journal")), *text = why(journal);
		char *safe = terminal_safe(text);

		if (answer_object(journal, "damage"))
			writer_say(writer, "\n%s is damaged: %s", name, safe);
		free(name);
		free(text);
		free(safe);
	}
	writer_end_object(writer);
	json_object_put(list);
	return CTL_OK;
}

/* ---- journal log --------------------------------------------------------------------------- */

static const struct writer_column log_columns[] = {
	{ "record", NULL, WRITER_COLUMN_NUMBER },
	{ "type", NULL, WRITER_COLUMN_TEXT },
	{ "commit", "COMMIT", WRITER_COLUMN_NUMBER },
	{ "time_us", NULL, WRITER_COLUMN_NUMBER },
	{ NULL, "TIME", WRITER_COLUMN_TEXT },
	{ "session", "SESSION", WRITER_COLUMN_NUMBER },
	{ "text", "WHAT HAPPENED", WRITER_COLUMN_WORDS },
};

static void write_line(struct writer *writer, struct json_object *line)
{
	writer_begin_row(writer);
	writer_number(writer, NULL, NULL, answer_number(line, "record"));
	writer_text(writer, NULL, NULL, answer_text(line, "type"));
	if (answer_is_null(line, "commit"))
		writer_nothing(writer, NULL, NULL);
	else
		writer_number(writer, NULL, NULL, answer_number(line, "commit"));
	journal_write_time(writer, line, "time_us");
	if (answer_is_null(line, "session"))
		writer_nothing(writer, NULL, NULL);
	else
		writer_id(writer, NULL, NULL, answer_number(line, "session"));
	writer_text(writer, NULL, NULL, answer_text(line, "text"));
}

/* One answer's lines, and the cursor behind them, which is the caller's; NULL: there are no more. */
static enum ctl_exit write_lines(const struct command_input *input, uint64_t *left, char **cursor)
{
	struct json_object *params = terminal_there(json_object_new_object()), *answer = NULL;
	struct json_object *lines;
	enum ctl_exit exit_code;
	const char *next;
	size_t n;

	params_add_text(params, "journal", input->arguments[0]);
	params_add_number(params, "limit", *left < LINES_PER_CALL ? *left : LINES_PER_CALL);
	if (input->since)
		params_add_number(params, "from", input->since);
	if (*cursor)
		params_add_text(params, "cursor", *cursor);
	exit_code = rpc_call(input->rpc, "journal.log", params, &answer);
	if (exit_code != CTL_OK)
		return exit_code;
	lines = answer_array(answer, "lines", &n);
	for (size_t i = 0; i < n; i++)
		write_line(input->writer, json_object_array_get_idx(lines, i));
	*left -= n < *left ? n : *left;
	next = answer_text(answer, "cursor");
	if (*next && *cursor && !strcmp(next, *cursor))
		exit_code = rpc_nonsense(input->rpc, "it does not get on");
	free(*cursor);
	*cursor = *next ? terminal_there(strdup(next)) : NULL;
	json_object_put(answer);
	return exit_code;
}

enum ctl_exit command_journal_log(const struct command_input *input)
{
	uint64_t left = input->limit ? input->limit : UINT64_MAX;
	struct writer *writer = input->writer;
	enum ctl_exit exit_code = CTL_OK;
	char *cursor = NULL;

	writer_begin_object(writer, NULL, NULL);
	writer_text(writer, "journal", NULL, input->arguments[0]);
	writer_begin_table(writer, "lines", NULL, log_columns, COUNT(log_columns));
	do
		exit_code = write_lines(input, &left, &cursor);
	while (exit_code == CTL_OK && cursor && left);
	if (exit_code == CTL_OK) {
		if (left == (input->limit ? input->limit : UINT64_MAX))
			writer_say(writer, "Nothing has happened since then.");
		writer_end_table(writer);
		writer_boolean(writer, "more", NULL, cursor != NULL);
		writer_end_object(writer);
	}
	free(cursor);
	return exit_code;
}

/* ---- journal show, journal diff ------------------------------------------------------------ */

static const struct writer_column show_columns[] = {
	RUN_COLUMNS,
	{ "protection", "PROTECTION", WRITER_COLUMN_TEXT },
	{ "visibility", "VISIBILITY", WRITER_COLUMN_TEXT },
};

/* What the first answer was about, the following are, too. */
static void ask_for_state(const struct command_input *input, struct json_object *params,
			  struct json_object *first)
{
	uint64_t commit = first ? answer_number(first, "commit") : input->at;

	if (commit)
		params_add_number(params, "commit", commit);
}

static void begin_state(const struct command_input *input, struct json_object *first)
{
	struct writer *writer = input->writer;
	uint64_t commit = answer_number(first, "commit"), us = answer_number(first, "time_us");
	char text[64], *journal = terminal_safe(answer_text(first, "journal"));

	writer_say(writer, "%s, what VTL %" PRIu64 " was allowed as of commit %" PRIu64 " (%s)\n",
		   journal, answer_number(first, "vtl"), commit, terminal_time(text, us));
	free(journal);
	writer_text(writer, "journal", NULL, answer_text(first, "journal"));
	writer_number(writer, "vtl", NULL, answer_number(first, "vtl"));
	writer_number(writer, "commit", NULL, commit);
	writer_number(writer, "time_us", NULL, us);
}

static void write_state(struct writer *writer, struct json_object *run)
{
	writer_text(writer, NULL, NULL, answer_text(run, "protection"));
	writer_text(writer, NULL, NULL, answer_text(run, "visibility"));
}

enum ctl_exit command_journal_show(const struct command_input *input)
{
	return runs_walk(input, &(struct run_walk){
					.method = "journal.state_at",
					.subject = "journal",
					.ask = ask_for_state,
					.begin = begin_state,
					.columns = show_columns,
					.n_columns = COUNT(show_columns),
					.write = write_state,
					.nothing = "There was no RAM.",
				});
}

static const struct writer_column diff_columns[] = {
	RUN_COLUMNS,
	{ "before", "BEFORE", WRITER_COLUMN_TEXT },
	{ "after", "AFTER", WRITER_COLUMN_TEXT },
};

void journal_write_attributes(struct writer *writer, const char *key, const char *label,
			      struct json_object *object, const char *name)
{
	struct json_object *attributes = answer_object(object, name);
	bool is_private = !strcmp(answer_text(attributes, "visibility"), "private");
	char text[64] = "no RAM";

	if (attributes)
		snprintf(text, sizeof(text), "%.16s%s", answer_text(attributes, "protection"),
			 is_private ? ", private" : "");
	writer_text(writer, key, label, text);
}

static void ask_for_diff(const struct command_input *input, struct json_object *params,
			 struct json_object *first)
{
	uint64_t from = 0, to = 0;

	/* looked at before */
	(void)!command_parse_commit(input->arguments[1], &from);
	if (first)
		to = answer_number(answer_object(first, "to"), "commit");
	else if (input->arguments[2])
		(void)!command_parse_commit(input->arguments[2], &to);
	params_add_number(params, "from", from);
	if (to)
		params_add_number(params, "to", to);
}

static void begin_diff(const struct command_input *input, struct json_object *first)
{
	struct json_object *from = answer_object(first, "from"), *to = answer_object(first, "to");
	struct writer *writer = input->writer;
	char from_text[64], to_text[64], *journal = terminal_safe(answer_text(first, "journal"));

	writer_say(writer,
		   "%s, what changed for VTL %" PRIu64 " from commit %" PRIu64 " (%s) to %" PRIu64
		   " (%s)\n",
		   journal, answer_number(first, "vtl"), answer_number(from, "commit"),
		   terminal_time(from_text, answer_number(from, "time_us")),
		   answer_number(to, "commit"),
		   terminal_time(to_text, answer_number(to, "time_us")));
	free(journal);
	writer_text(writer, "journal", NULL, answer_text(first, "journal"));
	writer_number(writer, "vtl", NULL, answer_number(first, "vtl"));
	writer_number(writer, "from", NULL, answer_number(from, "commit"));
	writer_number(writer, "to", NULL, answer_number(to, "commit"));
}

static void write_difference(struct writer *writer, struct json_object *run)
{
	journal_write_attributes(writer, NULL, NULL, run, "before");
	journal_write_attributes(writer, NULL, NULL, run, "after");
}

enum ctl_exit command_journal_diff(const struct command_input *input)
{
	uint64_t commit;

	for (unsigned int i = 1; i < input->n_arguments; i++)
		if (!command_parse_commit(input->arguments[i], &commit))
			return CTL_USAGE;
	return runs_walk(input, &(struct run_walk){
					.method = "journal.diff",
					.subject = "journal",
					.ask = ask_for_diff,
					.begin = begin_diff,
					.columns = diff_columns,
					.n_columns = COUNT(diff_columns),
					.write = write_difference,
					.nothing = "Nothing changed.",
				});
}
