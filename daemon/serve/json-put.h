/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Members of JSON objects, put there in one line each and never silently missing.
 *
 * json-c answers a lack of memory with NULL, which as a member would read as null: a lie.  Memory
 * is there or the daemon is not (allocate.h).  Names are string constants that are new in their
 * object, unless it is said otherwise.  Text may come from a peer: what is not UTF-8 in it is
 * replaced, so that every answer is JSON.
 */
#ifndef KVMATTRD_JSON_PUT_H
#define KVMATTRD_JSON_PUT_H

#include <json-c/json_types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What json-c made, which is there; ends the daemon where it is NULL. */
struct json_object *json_put_there(struct json_object *made);

/* value is the object's from then on; NULL is null. */
void json_put(struct json_object *object, const char *name, struct json_object *value);
void json_put_text(struct json_object *object, const char *name, const char *text);
void json_put_number(struct json_object *object, const char *name, uint64_t number);
void json_put_integer(struct json_object *object, const char *name, int64_t number);
void json_put_boolean(struct json_object *object, const char *name, bool boolean);
/* A guest's address, in bytes: "0x1f000", because JSON numbers stop at 2^53. */
void json_put_address(struct json_object *object, const char *name, uint64_t address);
/* Under a name that comes from elsewhere: it is copied, and replaces one that is there. */
void json_put_count(struct json_object *object, const char *name, uint64_t number);
/* A new object or array as a member; it stays the outer one's. */
struct json_object *json_put_new(struct json_object *object, const char *name);
struct json_object *json_put_new_array(struct json_object *object, const char *name);
/* A new object at the end of an array; it stays the array's. */
struct json_object *json_put_next(struct json_object *array);
/* One that was made elsewhere; it is the array's from then on. */
void json_put_next_made(struct json_object *array, struct json_object *made);
void json_put_next_text(struct json_object *array, const char *text);
void json_put_next_number(struct json_object *array, uint64_t number);

/* JSON as text: made once, or elsewhere than in the event loop, which it would keep for long. */
struct json_printed {
	char *text; /* the holder's to free */
	size_t n;
};

/* The object, which is released, as text. */
struct json_printed json_print(struct json_object *object);
/*
 * The object, which is empty, prints as that from then on; the text lives longer than the object.
 */
void json_put_printed(struct json_object *object, const struct json_printed *printed);

#endif
