/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The form for people: labelled values, tables, sentences.
 */
#include "client/kvmattrctl-terminal.h"
#include "client/kvmattrctl-writer.h"

#include <assert.h>
#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

/* Where values begin, behind their labels. */
#define LABEL_WIDTH 20
/* Rows that are held before they are written; a table may be longer than memory. */
#define MAX_HELD_ROWS 10000
#define MAX_COLUMNS   32
/* Columns of words are not made narrower. */
#define MIN_WORDS_WIDTH 12
/* Blanks between columns. */
#define SEPARATOR "  "

struct text_writer {
	struct writer writer;
	bool has_written;
	struct libscols_table *table;
	const struct writer_column *columns;
	size_t n_columns;
	struct libscols_line *row;
	size_t column; /* of the row, as the command counts */
	size_t shown;  /* of these, as people count */
	size_t n_rows; /* held */
	size_t widths
		[MAX_COLUMNS]; /* of the columns, by the command's count; those that are hidden: 0 */
	bool has_headings;     /* they were written */
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

static int flags_of(const struct writer_column *column)
{
	return column->kind & WRITER_COLUMN_NUMBER  ? SCOLS_FL_RIGHT
	       : column->kind & WRITER_COLUMN_WORDS ? SCOLS_FL_WRAP
						    : 0;
}

/* Columns of a terminal that a text takes. */
static size_t width_of(const char *text)
{
	wchar_t wide[512];
	size_t n = mbstowcs(wide, text, sizeof(wide) / sizeof(wide[0]));
	int width = n < sizeof(wide) / sizeof(wide[0]) ? wcswidth(wide, n) : -1;

	return width < 0 ? strlen(text) : (size_t)width;
}

static void new_table(struct text_writer *text)
{
	text->table = terminal_there(scols_new_table());
	scols_table_enable_colors(text->table, terminal_has_color());
	scols_table_enable_noheadings(text->table, text->has_headings);
	scols_table_set_column_separator(text->table, SEPARATOR);
	/* a number or an address that is cut is worse than a line that wraps */
	scols_table_set_termforce(text->table, SCOLS_TERMFORCE_NEVER);
	for (size_t i = 0; i < text->n_columns; i++)
		if (text->columns[i].title)
			terminal_there(scols_table_new_column(text->table, text->columns[i].title,
							      0, flags_of(&text->columns[i])));
}

static size_t table_width(const struct text_writer *text)
{
	size_t width = 0;

	for (size_t i = 0; i < text->n_columns; i++)
		if (text->widths[i])
			width += text->widths[i] + (width ? strlen(SEPARATOR) : 0);
	return width;
}

/* What there is no room for.  What the first rows had not, the following have not, either. */
static void hide_columns(struct text_writer *text)
{
	if (!terminal_is_bounded() || text->has_headings)
		return;
	for (size_t i = text->n_columns; i-- && table_width(text) > terminal_width();)
		if (text->columns[i].kind & WRITER_COLUMN_IF_ROOM)
			text->widths[i] = 0;
}

/* Columns of words get less than they need where the table is too wide, the widest ones first. */
static void narrow_columns(struct text_writer *text)
{
	while (terminal_is_bounded() && table_width(text) > terminal_width()) {
		size_t widest = text->n_columns;

		for (size_t i = 0; i < text->n_columns; i++)
			if (text->columns[i].kind & WRITER_COLUMN_WORDS &&
			    text->widths[i] > MIN_WORDS_WIDTH &&
			    (widest == text->n_columns || text->widths[i] > text->widths[widest]))
				widest = i;
		if (widest == text->n_columns)
			return;
		text->widths[widest]--;
	}
}

/* A new line instead of each blank behind which a word would run over; bytes are characters enough. */
static void fold(char *words, size_t width)
{
	char *line = words, *blank = NULL;

	for (char *at = words; *at; at++) {
		if (*at == ' ')
			blank = at;
		if ((size_t)(at - line) < width || !blank)
			continue;
		*blank = '\n';
		line = blank + 1;
		blank = NULL;
	}
}

static void fold_cells(struct text_writer *text, struct libscols_column *column, size_t shown,
		       size_t width)
{
	struct libscols_line *row;

	if (scols_column_set_safechars(column, "\n") < 0 ||
	    scols_column_set_wrapfunc(column, scols_wrapnl_chunksize, scols_wrapnl_nextchunk,
				      NULL) < 0)
		terminal_there(NULL);
	for (size_t i = 0; (row = scols_table_get_line(text->table, i)); i++) {
		struct libscols_cell *cell = terminal_there(scols_line_get_cell(row, shown));
		const char *data = scols_cell_get_data(cell);
		char *words = terminal_there(strdup(data ? data : ""));

		fold(words, width);
		if (scols_cell_refer_data(cell, words) < 0)
			terminal_there(NULL);
	}
}

static void write_rows(struct text_writer *text)
{
	struct libscols_column *column;
	size_t shown = 0;

	hide_columns(text);
	narrow_columns(text);
	for (size_t i = 0; i < text->n_columns; i++) {
		if (!text->columns[i].title)
			continue;
		column = terminal_there(scols_table_get_column(text->table, shown));
		if (text->columns[i].kind & WRITER_COLUMN_WORDS && terminal_is_bounded())
			fold_cells(text, column, shown, text->widths[i]);
		shown++;
		if (!text->widths[i] && scols_column_set_flags(column, flags_of(&text->columns[i]) |
									       SCOLS_FL_HIDDEN) < 0)
			terminal_there(NULL);
	}
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
	assert(n_columns <= MAX_COLUMNS);
	text->columns = columns;
	text->n_columns = n_columns;
	text->has_headings = false;
	for (size_t i = 0; i < n_columns; i++)
		text->widths[i] = columns[i].title ? width_of(columns[i].title) : 0;
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

const char *writer_tone_start(enum writer_tone tone)
{
	static const char *const sequences[] = {
		[WRITER_PLAIN] = "",           [WRITER_GOOD] = "\033[32m",
		[WRITER_WARNING] = "\033[33m", [WRITER_BAD] = "\033[31m",
		[WRITER_COOL] = "\033[36m",    [WRITER_DIM] = "\033[90m",
	};

	return terminal_has_color() ? sequences[tone] : "";
}

const char *writer_tone_end(enum writer_tone tone)
{
	return *writer_tone_start(tone) ? "\033[0m" : "";
}

static void write_cell(struct text_writer *text, const struct writer_value *value, const char *safe)
{
	size_t width = width_of(safe), column = text->column++;
	struct libscols_cell *cell;

	if (!text->columns[column].title)
		return;
	/* those that are hidden already stay so */
	if (text->widths[column] && width > text->widths[column])
		text->widths[column] = width;
	cell = terminal_there(scols_line_get_cell(text->row, text->shown++));
	if (scols_cell_set_data(cell, safe) < 0)
		terminal_there(NULL);
	if (*writer_tone_start(value->tone) &&
	    scols_cell_set_color(cell, writer_tone_start(value->tone)) < 0)
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
		printf("%-*s%s%s%s\n", LABEL_WIDTH, label, writer_tone_start(value->tone), safe,
		       writer_tone_end(value->tone));
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
