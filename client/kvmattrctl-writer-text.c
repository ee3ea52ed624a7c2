/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The form for people: labelled values, tables, sentences.
 */
#include "client/kvmattrctl-terminal.h"
#include "client/kvmattrctl-writer.h"

#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <string.h>

/* Where values begin, behind their labels. */
#define LABEL_WIDTH 20
/* Rows that are held before they are written; a table may be longer than memory. */
#define MAX_HELD_ROWS 10000

struct text_writer {
	struct writer writer;
	bool has_written;
	struct libscols_table *table;
	const struct writer_column *columns;
	size_t n_columns;
	struct libscols_line *row;
	size_t column;     /* of the row, as the command counts */
	size_t shown;      /* of these, as people count */
	size_t n_rows;     /* held */
	bool has_headings; /* they were written */
};

static struct text_writer *text_writer(struct writer *writer)
{
	return (struct text_writer *)writer;
}

static void write_title(struct text_writer *text, const char *title)
{
	char *safe;

	if (!title)
		return;
	safe = terminal_safe(title);
	printf("%s%s%s%s\n", text->has_written ? "\n" : "", terminal_has_color() ? "\033[1m" : "",
	       safe, terminal_has_color() ? "\033[0m" : "");
	free(safe);
	text->has_written = true;
}

static void begin_object(struct writer *writer, const char *key, const char *title)
{
	(void)key;
	write_title(text_writer(writer), title);
}

static void end_object(struct writer *writer)
{
	(void)writer;
}

static bool may_any_wrap(const struct text_writer *text)
{
	for (size_t i = 0; i < text->n_columns; i++)
		if (text->columns[i].kind == WRITER_COLUMN_WORDS)
			return true;
	return false;
}

static int flags_of(const struct writer_column *column)
{
	return column->kind == WRITER_COLUMN_NUMBER  ? SCOLS_FL_RIGHT
	       : column->kind == WRITER_COLUMN_WORDS ? SCOLS_FL_WRAP
						     : 0;
}

static void new_table(struct text_writer *text)
{
	text->table = terminal_there(scols_new_table());
	scols_table_enable_colors(text->table, terminal_has_color());
	scols_table_enable_noheadings(text->table, text->has_headings);
	scols_table_set_column_separator(text->table, "  ");
	/* a number or an address that is cut is worse than a line that wraps */
	if (!may_any_wrap(text))
		scols_table_set_termforce(text->table, SCOLS_TERMFORCE_NEVER);
	for (size_t i = 0; i < text->n_columns; i++)
		if (text->columns[i].title)
			terminal_there(scols_table_new_column(text->table, text->columns[i].title,
							      0, flags_of(&text->columns[i])));
}

static void write_rows(struct text_writer *text)
{
	if (text->n_rows)
		scols_print_table(text->table);
	text->has_headings = text->has_headings || text->n_rows;
	text->n_rows = 0;
	scols_unref_table(text->table);
	text->table = NULL;
}

static void begin_table(struct writer *writer, const char *key, const char *title,
			const struct writer_column *columns, size_t n_columns)
{
	struct text_writer *text = text_writer(writer);

	(void)key;
	write_title(text, title);
	text->columns = columns;
	text->n_columns = n_columns;
	text->has_headings = false;
	new_table(text);
}

static void begin_row(struct writer *writer)
{
	struct text_writer *text = text_writer(writer);

	if (text->n_rows == MAX_HELD_ROWS) {
		write_rows(text);
		new_table(text);
	}
	text->row = terminal_there(scols_table_new_line(text->table, NULL));
	text->n_rows++;
	text->column = 0;
	text->shown = 0;
}

static void end_table(struct writer *writer)
{
	struct text_writer *text = text_writer(writer);

	text->has_written = text->has_written || text->n_rows;
	write_rows(text);
}

/* The value as text, the caller's to free. */
static char *format_value(const struct writer_value *value)
{
	char buffer[64] = "";
	size_t n = 0;

	switch (value->kind) {
	case WRITER_NOTHING:
		return terminal_safe("-");
	case WRITER_TEXT:
		return terminal_safe(value->text);
	case WRITER_BOOLEAN:
		return terminal_safe(value->number ? "yes" : "no");
	case WRITER_NUMBER:
		return terminal_safe(terminal_number(buffer, value->number));
	case WRITER_INTEGER:
		if ((int64_t)value->number >= 0)
			return terminal_safe(terminal_number(buffer, value->number));
		buffer[0] = '-';
		terminal_number(buffer + 1, 0 - value->number);
		return terminal_safe(buffer);
	case WRITER_ID:
		snprintf(buffer, sizeof(buffer), "%" PRIu64, value->number);
		return terminal_safe(buffer);
	case WRITER_BYTES:
		return terminal_safe(terminal_size(buffer, value->number));
	case WRITER_ADDRESS:
		snprintf(buffer, sizeof(buffer), "0x%" PRIx64, value->number);
		return terminal_safe(buffer);
	case WRITER_DURATION:
		return terminal_safe(terminal_duration(buffer, value->number));
	case WRITER_RATIO:
		snprintf(buffer, sizeof(buffer), "%.2f", value->ratio);
		return terminal_safe(buffer);
	case WRITER_SHARE:
		snprintf(buffer, sizeof(buffer), "%.2f %%", 100 * value->ratio);
		return terminal_safe(buffer);
	case WRITER_VTLS:
		for (int vtl = 0; vtl < 16; vtl++)
			if (value->number >> vtl & 1)
				n += (size_t)snprintf(buffer + n, sizeof(buffer) - n, "%s%d",
						      n ? " " : "", vtl);
		return terminal_safe(n ? buffer : "-");
	}
	abort();
}

static const char *tone_sequence(enum writer_tone tone)
{
	static const char *const sequences[] = {
		[WRITER_PLAIN] = "",           [WRITER_GOOD] = "\033[32m",
		[WRITER_WARNING] = "\033[33m", [WRITER_BAD] = "\033[31m",
		[WRITER_COOL] = "\033[36m",    [WRITER_DIM] = "\033[90m",
	};

	return terminal_has_color() ? sequences[tone] : "";
}

static void write_cell(struct text_writer *text, const struct writer_value *value, const char *safe)
{
	struct libscols_cell *cell;

	if (!text->columns[text->column++].title)
		return;
	cell = terminal_there(scols_line_get_cell(text->row, text->shown++));
	if (scols_cell_set_data(cell, safe) < 0)
		terminal_there(NULL);
	if (*tone_sequence(value->tone) &&
	    scols_cell_set_color(cell, tone_sequence(value->tone)) < 0)
		terminal_there(NULL);
}

static void write_value(struct writer *writer, const char *key, const char *label,
			const struct writer_value *value)
{
	struct text_writer *text = text_writer(writer);
	char *safe = format_value(value);

	(void)key;
	if (text->table) {
		write_cell(text, value, safe);
	} else if (label) {
		printf("%-*s%s%s%s\n", LABEL_WIDTH, label, tone_sequence(value->tone), safe,
		       *tone_sequence(value->tone) ? "\033[0m" : "");
		text->has_written = true;
	}
	free(safe);
}

static void say(struct writer *writer, const char *line)
{
	puts(line);
	text_writer(writer)->has_written = true;
}

static void end(struct writer *writer)
{
	(void)writer;
}

static void free_writer(struct writer *writer)
{
	scols_unref_table(text_writer(writer)->table);
	free(writer);
}

static const struct writer_form text_form = {
	.begin_object = begin_object,
	.end_object = end_object,
	.begin_table = begin_table,
	.begin_row = begin_row,
	.end_table = end_table,
	.value = write_value,
	.say = say,
	.end = end,
	.free = free_writer,
};

struct writer *writer_new_text(void)
{
	struct text_writer *text = terminal_there(calloc(1, sizeof(*text)));

	text->writer.form = &text_form;
	return &text->writer;
}
