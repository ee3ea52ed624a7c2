/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/kvmattrctl-writer.h"

#include "client/kvmattrctl-terminal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void writer_end(struct writer *writer)
{
	writer->form->end(writer);
	writer->form->free(writer);
}

void writer_discard(struct writer *writer)
{
	writer->form->free(writer);
}

void writer_begin_object(struct writer *writer, const char *key, const char *title)
{
	writer->form->begin_object(writer, key, title);
}

void writer_end_object(struct writer *writer)
{
	writer->form->end_object(writer);
}

void writer_begin_table(struct writer *writer, const char *key, const char *title,
			const struct writer_column *columns, size_t n_columns)
{
	writer->form->begin_table(writer, key, title, columns, n_columns);
}

void writer_begin_row(struct writer *writer)
{
	writer->form->begin_row(writer);
}

void writer_end_table(struct writer *writer)
{
	writer->form->end_table(writer);
}

void writer_say(struct writer *writer, const char *format, ...)
{
	va_list arguments;
	char *line;

	va_start(arguments, format);
	if (vasprintf(&line, format, arguments) < 0)
		terminal_there(NULL);
	va_end(arguments);
	writer->form->say(writer, line);
	free(line);
}

void writer_nothing(struct writer *writer, const char *key, const char *label)
{
	writer->form->value(writer, key, label, &(struct writer_value){ .kind = WRITER_NOTHING });
}

void writer_text(struct writer *writer, const char *key, const char *label, const char *text)
{
	writer_text_toned(writer, key, label, text, WRITER_PLAIN);
}

void writer_text_toned(struct writer *writer, const char *key, const char *label, const char *text,
		       enum writer_tone tone)
{
	writer->form->value(
		writer, key, label,
		&(struct writer_value){ .kind = WRITER_TEXT, .tone = tone, .text = text });
}

void writer_boolean(struct writer *writer, const char *key, const char *label, bool boolean)
{
	writer_boolean_toned(writer, key, label, boolean, WRITER_PLAIN);
}

void writer_boolean_toned(struct writer *writer, const char *key, const char *label, bool boolean,
			  enum writer_tone tone)
{
	writer->form->value(
		writer, key, label,
		&(struct writer_value){ .kind = WRITER_BOOLEAN, .tone = tone, .number = boolean });
}

void writer_number(struct writer *writer, const char *key, const char *label, uint64_t number)
{
	writer->form->value(writer, key, label,
			    &(struct writer_value){ .kind = WRITER_NUMBER, .number = number });
}

void writer_integer(struct writer *writer, const char *key, const char *label, int64_t number)
{
	writer->form->value(
		writer, key, label,
		&(struct writer_value){ .kind = WRITER_INTEGER, .number = (uint64_t)number });
}

void writer_id(struct writer *writer, const char *key, const char *label, uint64_t id)
{
	writer->form->value(writer, key, label,
			    &(struct writer_value){ .kind = WRITER_ID, .number = id });
}

void writer_bytes(struct writer *writer, const char *key, const char *label, uint64_t bytes)
{
	writer->form->value(writer, key, label,
			    &(struct writer_value){ .kind = WRITER_BYTES, .number = bytes });
}

void writer_address(struct writer *writer, const char *key, const char *label, uint64_t address)
{
	writer->form->value(writer, key, label,
			    &(struct writer_value){ .kind = WRITER_ADDRESS, .number = address });
}

void writer_duration(struct writer *writer, const char *key, const char *label, uint64_t us)
{
	writer->form->value(writer, key, label,
			    &(struct writer_value){ .kind = WRITER_DURATION, .number = us });
}

void writer_ratio(struct writer *writer, const char *key, const char *label, double ratio)
{
	writer->form->value(writer, key, label,
			    &(struct writer_value){ .kind = WRITER_RATIO, .ratio = ratio });
}

void writer_share(struct writer *writer, const char *key, const char *label, double share)
{
	writer->form->value(writer, key, label,
			    &(struct writer_value){ .kind = WRITER_SHARE, .ratio = share });
}

void writer_vtls(struct writer *writer, const char *key, const char *label, uint32_t vtls)
{
	writer->form->value(writer, key, label,
			    &(struct writer_value){ .kind = WRITER_VTLS, .number = vtls });
}
