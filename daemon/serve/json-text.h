/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where one JSON text ends and the next begins, in bytes that arrive in any pieces.
 *
 * json-c parses what this room hands over whole.  Two of its habits make that necessary.  Given a
 * text in pieces, it takes a UTF-8 sequence that is cut in two for a broken one, and 12-5 that is
 * cut before its sign for 12.  And its strict mode (0.16) lets pass what RFC 8259 forbids: NaN and
 * Infinity, names in single quotes, control characters in strings, 00, -01, -.5 and 1., overlong
 * UTF-8 and surrogates in UTF-8; of a name that holds \u0000 it keeps what comes before.  All of
 * that is refused here, and so is what is too long or too deep, before it has cost anything.  Of an
 * object's members with one name json-c keeps the last and does not say so; whoever has the tree
 * can tell by the number of members.
 *
 * It builds no tree and knows no JSON-RPC.
 */
#ifndef KVMATTRD_JSON_TEXT_H
#define KVMATTRD_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_TEXT_MAX_DEPTH 32 /* a bit each in containers, below */

struct json_text {
	size_t max_size;
	size_t max_values;
	char *bytes; /* of the text so far, the white space around it left out */
	size_t n;
	size_t capacity;
	size_t n_values;     /* so many at most: commas and opening brackets */
	size_t n_members;    /* of all its objects, as they were written */
	uint32_t containers; /* bit d: at depth d an object is open, not an array */
	unsigned int depth;
	uint8_t place;     /* what the next byte belongs to */
	uint8_t number;    /* how far a number has got */
	uint8_t utf8_left; /* bytes of a sequence that are to come */
	uint8_t utf8_low;  /* the next of them is from here */
	uint8_t utf8_high; /* to here */
	uint8_t hex_left;  /* digits of a \u escape that are to come */
	bool hex_is_zero;
	bool string_has_nul; /* the last string */
};

enum json_text_result {
	JSON_TEXT_MORE,     /* all bytes are taken, and the text goes on, or none has begun */
	JSON_TEXT_COMPLETE, /* bytes and n are the text, NUL-terminated, until the next call */
	JSON_TEXT_REFUSED,  /* the rest of the line will be skipped */
};

void json_text_init(struct json_text *text, size_t max_size, size_t max_values);
void json_text_destroy(struct json_text *text);

/*
 * Takes bytes until a text is complete or refused; *ret_taken says how many.  Of what was refused
 * *ret_reason (static) says why; NULL: it is no JSON, and there is no more to say.
 */
__attribute__((warn_unused_result)) enum json_text_result json_text_feed(struct json_text *text,
									 const char *bytes,
									 size_t n,
									 size_t *ret_taken,
									 const char **ret_reason);
/* No byte comes any more: COMPLETE where that ends a number or a word, REFUSED for half a text. */
__attribute__((warn_unused_result)) enum json_text_result json_text_end(struct json_text *text,
									const char **ret_reason);
/* Gives up the text and the rest of its line: what json-c says of a complete one that is wrong. */
void json_text_skip_line(struct json_text *text);

/* Whether these bytes are UTF-8, by the definition of RFC 3629. */
bool json_text_is_utf8(const char *bytes, size_t n);

#endif
