/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "json-put.h"

#include "json-text.h"

#include "daemon/allocate.h"

#include <assert.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

struct json_object *json_put_there(struct json_object *made)
{
	if (!made) {
		fputs("kvmattrd: out of memory for an answer on the control socket; "
		      "give the service more memory and start it again\n",
		      stderr);
		abort();
	}
	return made;
}

void json_put(struct json_object *object, const char *name, struct json_object *value)
{
	if (json_object_object_add_ex(object, name, value,
				      JSON_C_OBJECT_ADD_KEY_IS_NEW |
					      JSON_C_OBJECT_ADD_CONSTANT_KEY) < 0)
		json_put_there(NULL);
}

/* A string for JSON: what is not UTF-8 has all its bytes past ASCII replaced. */
static struct json_object *new_text(const char *text)
{
	size_t n = strlen(text);
	struct json_object *made;
	char *copy;

	if (json_text_is_utf8(text, n))
		return json_put_there(json_object_new_string_len(text, (int)n));
	copy = allocate_string(text);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)copy[i] >= 0x80)
			copy[i] = '?';
	made = json_put_there(json_object_new_string_len(copy, (int)n));
	free(copy);
	return made;
}

void json_put_text(struct json_object *object, const char *name, const char *text)
{
	json_put(object, name, new_text(text));
}

void json_put_number(struct json_object *object, const char *name, uint64_t number)
{
	json_put(object, name, json_put_there(json_object_new_uint64(number)));
}

void json_put_integer(struct json_object *object, const char *name, int64_t number)
{
	json_put(object, name, json_put_there(json_object_new_int64(number)));
}

void json_put_boolean(struct json_object *object, const char *name, bool boolean)
{
	json_put(object, name, json_put_there(json_object_new_boolean(boolean)));
}

void json_put_address(struct json_object *object, const char *name, uint64_t address)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, address);
	json_put_text(object, name, text);
}

void json_put_count(struct json_object *object, const char *name, uint64_t number)
{
	if (json_object_object_add(object, name, json_put_there(json_object_new_uint64(number))) <
	    0)
		json_put_there(NULL);
}

struct json_object *json_put_new(struct json_object *object, const char *name)
{
	struct json_object *made = json_put_there(json_object_new_object());

	json_put(object, name, made);
	return made;
}

struct json_object *json_put_new_array(struct json_object *object, const char *name)
{
	struct json_object *made = json_put_there(json_object_new_array());

	json_put(object, name, made);
	return made;
}

void json_put_next_made(struct json_object *array, struct json_object *made)
{
	if (json_object_array_add(array, made) < 0)
		json_put_there(NULL);
}

struct json_object *json_put_next(struct json_object *array)
{
	struct json_object *made = json_put_there(json_object_new_object());

	json_put_next_made(array, made);
	return made;
}

void json_put_next_text(struct json_object *array, const char *text)
{
	json_put_next_made(array, new_text(text));
}

void json_put_next_number(struct json_object *array, uint64_t number)
{
	json_put_next_made(array, json_put_there(json_object_new_uint64(number)));
}

struct json_printed json_print(struct json_object *object)
{
	struct json_printed printed;
	const char *text = json_object_to_json_string_length(
		object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &printed.n);

	assert(text);
	printed.text = memcpy(allocate(printed.n + 1), text, printed.n + 1);
	json_object_put(object);
	return printed;
}

static int write_printed(struct json_object *object, struct printbuf *bytes, int level, int flags)
{
	const struct json_printed *printed = json_object_get_userdata(object);

	(void)level;
	(void)flags;
	return printbuf_memappend(bytes, printed->text, (int)printed->n);
}

void json_put_printed(struct json_object *object, const struct json_printed *printed)
{
	json_object_set_serializer(object, write_printed, (void *)printed, NULL);
}
