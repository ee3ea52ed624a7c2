/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl journal blame: who made a page what it is.
 */
#include "client/kvmattrctl-journal.h"
#include "client/kvmattrctl-page.h"
#include "client/kvmattrctl-terminal.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct writer_column blame_columns[] = {
	{ "commit", "COMMIT", WRITER_COLUMN_NUMBER }, { "time_us", NULL, WRITER_COLUMN_NUMBER },
	{ NULL, "TIME", WRITER_COLUMN_TEXT },         { "origin", NULL, WRITER_COLUMN_TEXT },
	{ "session", NULL, WRITER_COLUMN_NUMBER },    { "peer", NULL, WRITER_COLUMN_TEXT },
	{ "pid", NULL, WRITER_COLUMN_NUMBER },        { NULL, "WHO", WRITER_COLUMN_WORDS },
	{ "update", NULL, WRITER_COLUMN_NUMBER },     { "kind", NULL, WRITER_COLUMN_TEXT },
	{ "layer", NULL, WRITER_COLUMN_NUMBER },      { "protection", NULL, WRITER_COLUMN_TEXT },
	{ NULL, "WHAT", WRITER_COLUMN_WORDS },        { "before", "BEFORE", WRITER_COLUMN_TEXT },
	{ "after", "AFTER", WRITER_COLUMN_TEXT },
};

/* "vsm-agent, process 1234, as VTL 1" */
static void write_who(struct writer *writer, struct json_object *entry)
{
	struct json_object *session = answer_object(entry, "session");
	const char *origin = answer_text(entry, "origin");
	const char *peer = answer_text(session, "peer");
	bool is_owner = !strcmp(answer_text(session, "role"), "owner");
	char text[160];

	writer_text(writer, NULL, NULL, origin);
	if (!session) {
		for (int i = 0; i < 3; i++)
			writer_nothing(writer, NULL, NULL);
		writer_text(writer, NULL, NULL,
			    !strcmp(origin, "import")     ? "an import"
			    : !strcmp(origin, "operator") ? "an operator"
							  : "the registration");
		return;
	}
	writer_id(writer, NULL, NULL, answer_number(session, "id"));
	writer_text(writer, NULL, NULL, peer);
	writer_id(writer, NULL, NULL, answer_number(session, "pid"));
	if (is_owner)
		snprintf(text, sizeof(text), "%.60s, process %" PRIu64 ", the owner", peer,
			 answer_number(session, "pid"));
	else
		snprintf(text, sizeof(text), "%.60s, process %" PRIu64 ", as VTL %" PRIu64, peer,
			 answer_number(session, "pid"), answer_number(session, "vtl"));
	writer_text(writer, NULL, NULL, text);
}

/* "protect rx, layer 1" */
static void write_what(struct writer *writer, struct json_object *entry)
{
	const char *kind = answer_text(entry, "kind");
	const char *protection = answer_text(entry, "protection");
	const char *visibility = answer_text(entry, "visibility");
	char text[160], layer[32] = "";

	writer_id(writer, NULL, NULL, answer_number(entry, "update"));
	writer_text(writer, NULL, NULL, kind);
	if (answer_is_null(entry, "layer")) {
		writer_nothing(writer, NULL, NULL);
	} else {
		snprintf(layer, sizeof(layer), ", layer %" PRIu64, answer_number(entry, "layer"));
		writer_number(writer, NULL, NULL, answer_number(entry, "layer"));
	}
	if (*protection)
		writer_text(writer, NULL, NULL, protection);
	else
		writer_nothing(writer, NULL, NULL);
	snprintf(text, sizeof(text), "%.40s%s%.16s%s", kind, *protection || *visibility ? " " : "",
		 *protection ? protection : visibility, layer);
	writer_text(writer, NULL, NULL, text);
}

static void write_blame(struct writer *writer, struct json_object *entry)
{
	writer_begin_row(writer);
	writer_number(writer, NULL, NULL, answer_number(entry, "commit"));
	journal_write_time(writer, entry, "time_us");
	write_who(writer, entry);
	write_what(writer, entry);
	journal_write_attributes(writer, NULL, NULL, entry, "before");
	journal_write_attributes(writer, NULL, NULL, entry, "after");
}

static void write_blames(const struct command_input *input, struct json_object *answer,
			 uint64_t gpa)
{
	struct writer *writer = input->writer;
	uint64_t from = answer_number(answer, "from_commit");
	char *journal = terminal_safe(answer_text(answer, "journal"));
	size_t n;
	struct json_object *entries = answer_array(answer, "entries", &n);

	writer_say(writer, "Page 0x%" PRIx64 " of %s, for VTL %u", gpa, journal, input->vtl);
	free(journal);
	writer_text(writer, "journal", NULL, answer_text(answer, "journal"));
	writer_address(writer, "gpa", NULL, gpa);
	writer_number(writer, "vtl", NULL, input->vtl);
	writer_number(writer, "commit", NULL, answer_number(answer, "commit"));
	journal_write_attributes(writer, "now", "It is now", answer, "now");
	writer_number(writer, "from_commit", NULL, from);
	writer_begin_table(writer, "entries", n ? "Who set it, the newest first" : NULL,
			   blame_columns, COUNT(blame_columns));
	for (size_t i = 0; i < n; i++)
		write_blame(writer, json_object_array_get_idx(entries, i));
	writer_end_table(writer);
	if (!n)
		writer_say(writer, "\nNobody has set it%s.",
			   from ? " as far as the journal reaches back" : "");
	if (*answer_text(answer, "cursor"))
		writer_say(writer, "... and others before these: --limit shows more");
	else if (from)
		writer_say(writer, "What came up to commit %" PRIu64 " is not kept any more.",
			   from);
	writer_boolean(writer, "more", NULL, *answer_text(answer, "cursor"));
}

enum ctl_exit command_journal_blame(const struct command_input *input)
{
	struct page_question question = { .method = "journal.blame", .subject = "journal" };
	enum ctl_exit exit_code = page_ask(input, &question);

	if (exit_code != CTL_OK)
		return exit_code;
	writer_begin_object(input->writer, NULL, NULL);
	write_blames(input, question.answer, question.gpa);
	writer_end_object(input->writer);
	json_object_put(question.answer);
	return CTL_OK;
}
