/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The form for programs: one JSON object.
 */
#include "client/kvmattrctl-terminal.h"
#include "client/kvmattrctl-writer.h"

#include <assert.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>

#define MAX_DEPTH 8

struct json_writer {
	struct writer writer;
	struct json_object *open[MAX_DEPTH]; /* the outermost first; an array is a table */
	size_t depth;
	const struct writer_column *columns; /* of the table */
	struct json_object *row;
	size_t column;
};

static struct json_writer *json_writer(struct writer *writer)
{
	return (struct json_writer *)writer;
}

static void add(struct json_object *object, const char *key, struct json_object *value)
{
	if (json_object_object_add(object, key, value) < 0)
		terminal_there(NULL);
}

static void open_in(struct json_writer *json, const char *key, struct json_object *made)
{
	terminal_there(made);
	assert(json->depth < MAX_DEPTH && !json->columns);
	if (json->depth)
		add(json->open[json->depth - 1], key, made);
	json->open[json->depth++] = made;
}

static void begin_object(struct writer *writer, const char *key, const char *title)
{
	(void)title;
	open_in(json_writer(writer), key, json_object_new_object());
}

static void end_object(struct writer *writer)
{
	struct json_writer *json = json_writer(writer);

	assert(json->depth);
	/* the outermost stays until the end */
	if (json->depth > 1)
		json->depth--;
}

static void begin_table(struct writer *writer, const char *key, const char *title,
			const struct writer_column *columns, size_t n_columns)
{
	struct json_writer *json = json_writer(writer);

	(void)title;
	(void)n_columns;
	open_in(json, key, json_object_new_array());
	json->columns = columns;
}

static void begin_row(struct writer *writer)
{
	struct json_writer *json = json_writer(writer);

	json->row = terminal_there(json_object_new_object());
	json->column = 0;
	if (json_object_array_add(json->open[json->depth - 1], json->row) < 0)
		terminal_there(NULL);
}

static void end_table(struct writer *writer)
{
	struct json_writer *json = json_writer(writer);

	json->columns = NULL;
	json->row = NULL;
	json->depth--;
}

static struct json_object *new_vtls(uint64_t vtls)
{
	struct json_object *array = terminal_there(json_object_new_array());

	for (int vtl = 0; vtl < 32; vtl++)
		if (vtls >> vtl & 1 &&
		    json_object_array_add(array, terminal_there(json_object_new_int(vtl))) < 0)
			terminal_there(NULL);
	return array;
}

static struct json_object *new_value(const struct writer_value *value)
{
	char address[24];

	switch (value->kind) {
	case WRITER_NOTHING:
		return NULL;
	case WRITER_TEXT:
		return terminal_there(json_object_new_string(value->text));
	case WRITER_BOOLEAN:
		return terminal_there(json_object_new_boolean(value->number != 0));
	case WRITER_NUMBER:
	case WRITER_ID:
	case WRITER_BYTES:
	case WRITER_DURATION:
		return terminal_there(json_object_new_uint64(value->number));
	case WRITER_INTEGER:
		return terminal_there(json_object_new_int64((int64_t)value->number));
	case WRITER_ADDRESS:
		snprintf(address, sizeof(address), "0x%" PRIx64, value->number);
		return terminal_there(json_object_new_string(address));
	case WRITER_RATIO:
	case WRITER_SHARE:
		return terminal_there(json_object_new_double(value->ratio));
	case WRITER_VTLS:
		return new_vtls(value->number);
	}
	abort();
}

static void write_value(struct writer *writer, const char *key, const char *label,
			const struct writer_value *value)
{
	struct json_writer *json = json_writer(writer);

	(void)label;
	if (json->columns)
		key = json->columns[json->column++].key;
	if (key)
		add(json->columns ? json->row : json->open[json->depth - 1], key, new_value(value));
}

static void say(struct writer *writer, const char *line)
{
	(void)writer;
	(void)line;
}

static void end(struct writer *writer)
{
	struct json_writer *json = json_writer(writer);

	if (json->open[0])
		terminal_write_json(stdout, json->open[0]);
}

static void free_writer(struct writer *writer)
{
	json_object_put(json_writer(writer)->open[0]);
	free(writer);
}

static const struct writer_form json_form = {
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

struct writer *writer_new_json(void)
{
	struct json_writer *json = terminal_there(calloc(1, sizeof(*json)));

	json->writer.form = &json_form;
	/* 12.5 rather than all digits of what comes nearest to it */
	if (json_c_set_serialization_double_format("%.6g", JSON_C_OPTION_GLOBAL) < 0)
		terminal_there(NULL);
	return &json->writer;
}
