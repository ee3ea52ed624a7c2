/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "json-text.h"

#include "daemon/allocate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum place {
	BETWEEN, /* no text has begun */
	INSIDE,  /* an array or an object is open */
	WORD,    /* a number, true, false or null that is a whole text */
	STRING,
	ESCAPED,  /* behind a backslash */
	SKIPPING, /* to the end of the line */
};

/* Only as far as json-c does not look (json-text.h). */
enum number {
	NO_NUMBER,
	NUMBER_MINUS, /* a digit has to follow */
	NUMBER_ZERO,  /* no digit may follow */
	NUMBER_POINT, /* a digit has to follow */
	NUMBER_E,     /* a sign may follow, as nowhere else */
	NUMBER_REST,
};

#define TOO_LONG "the request is longer than max_request_bytes in daemon.get"
#define TOO_DEEP "nested deeper than max_request_depth in daemon.get"
#define NO_UTF8  "a string is not UTF-8"

void json_text_init(struct json_text *text, size_t max_size, size_t max_values)
{
	*text = (struct json_text){ .max_size = max_size, .max_values = max_values };
}

void json_text_destroy(struct json_text *text)
{
	free(text->bytes);
	text->bytes = NULL;
}

static void forget(struct json_text *text)
{
	size_t max_size = text->max_size, max_values = text->max_values;

	free(text->bytes);
	json_text_init(text, max_size, max_values);
}

void json_text_skip_line(struct json_text *text)
{
	forget(text);
	text->place = SKIPPING;
}

/*
 * The first byte of a sequence says how many follow and where the first of these may lie: the
 * limits that keep out overlong forms, surrogates and what is past U+10FFFF (RFC 3629, 4).
 */
static bool utf8_begin(struct json_text *text, uint8_t byte)
{
	text->utf8_low = 0x80;
	text->utf8_high = 0xbf;
	if (byte >= 0xc2 && byte <= 0xdf) {
		text->utf8_left = 1;
	} else if (byte >= 0xe0 && byte <= 0xef) {
		text->utf8_left = 2;
		if (byte == 0xe0)
			text->utf8_low = 0xa0;
		else if (byte == 0xed)
			text->utf8_high = 0x9f;
	} else if (byte >= 0xf0 && byte <= 0xf4) {
		text->utf8_left = 3;
		if (byte == 0xf0)
			text->utf8_low = 0x90;
		else if (byte == 0xf4)
			text->utf8_high = 0x8f;
	} else {
		return false;
	}
	return true;
}

static bool utf8_step(struct json_text *text, uint8_t byte)
{
	if (!text->utf8_left)
		return byte < 0x80 || utf8_begin(text, byte);
	if (byte < text->utf8_low || byte > text->utf8_high)
		return false;
	text->utf8_left--;
	text->utf8_low = 0x80;
	text->utf8_high = 0xbf;
	return true;
}

bool json_text_is_utf8(const char *bytes, size_t n)
{
	struct json_text text = { 0 };

	for (size_t i = 0; i < n; i++)
		if (!utf8_step(&text, (uint8_t)bytes[i]))
			return false;
	return text.utf8_left == 0;
}

static bool hex_step(struct json_text *text, uint8_t byte)
{
	bool is_hex = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f') ||
		      (byte >= 'A' && byte <= 'F');

	text->hex_is_zero = text->hex_is_zero && byte == '0';
	text->hex_left--;
	if (!text->hex_left && text->hex_is_zero)
		text->string_has_nul = true;
	return is_hex;
}

static bool string_step(struct json_text *text, uint8_t byte, const char **ret_reason)
{
	if (text->place == ESCAPED) {
		if (!strchr("\"\\/bfnrtu", byte) || !byte)
			return false;
		if (byte == 'u') {
			text->hex_left = 4;
			text->hex_is_zero = true;
		}
		text->place = STRING;
		return true;
	}
	if (text->hex_left)
		return hex_step(text, byte);
	if (byte < 0x20) {
		*ret_reason = "a control character in a string; write it as \\u00XX";
		return false;
	}
	if (!utf8_step(text, byte)) {
		*ret_reason = NO_UTF8;
		return false;
	}
	if (byte == '\\')
		text->place = ESCAPED;
	else if (byte == '"')
		text->place = text->depth ? INSIDE : BETWEEN;
	return true;
}

static bool number_step(struct json_text *text, uint8_t byte)
{
	bool is_digit = byte >= '0' && byte <= '9';

	switch ((enum number)text->number) {
	case NUMBER_MINUS:
		if (!is_digit)
			return false;
		text->number = byte == '0' ? NUMBER_ZERO : NUMBER_REST;
		return true;
	case NUMBER_POINT:
		text->number = NUMBER_REST;
		return is_digit;
	case NUMBER_ZERO:
		if (is_digit)
			return false;
		break;
	case NO_NUMBER:
		if (byte == '-')
			text->number = NUMBER_MINUS;
		else if (byte == '0')
			text->number = NUMBER_ZERO;
		else if (is_digit)
			text->number = NUMBER_REST;
		return true;
	case NUMBER_E:
		text->number = NUMBER_REST;
		return is_digit || byte == '+' || byte == '-';
	case NUMBER_REST:
		break;
	}
	if (byte == '.')
		text->number = NUMBER_POINT;
	else if (byte == 'e' || byte == 'E')
		text->number = NUMBER_E;
	else
		text->number = is_digit ? NUMBER_REST : NO_NUMBER;
	return byte != '+' && byte != '-';
}

static bool count_value(struct json_text *text, const char **ret_reason)
{
	if (text->n_values++ < text->max_values)
		return true;
	*ret_reason = "more values than max_request_values in daemon.get";
	return false;
}

static bool open_container(struct json_text *text, bool is_object, const char **ret_reason)
{
	if (text->depth == JSON_TEXT_MAX_DEPTH) {
		*ret_reason = TOO_DEEP;
		return false;
	}
	if (!count_value(text, ret_reason))
		return false;
	if (is_object)
		text->containers |= UINT32_C(1) << text->depth;
	else
		text->containers &= ~(UINT32_C(1) << text->depth);
	text->depth++;
	text->place = INSIDE;
	return true;
}

static bool close_container(struct json_text *text, bool is_object)
{
	if (!text->depth || (text->containers >> (text->depth - 1) & 1) != is_object)
		return false;
	text->depth--;
	if (!text->depth)
		text->place = BETWEEN;
	return true;
}

/* A byte outside of strings; white space before a text does not get here. */
static bool structure_step(struct json_text *text, uint8_t byte, const char **ret_reason)
{
	if (!number_step(text, byte))
		return false;
	switch (byte) {
	case '{':
		return open_container(text, true, ret_reason);
	case '[':
		return open_container(text, false, ret_reason);
	case '}':
		return close_container(text, true);
	case ']':
		return close_container(text, false);
	case '"':
		text->place = STRING;
		text->string_has_nul = false;
		return true;
	case ':':
		if (text->string_has_nul)
			*ret_reason = "\\u0000 in a member's name";
		text->n_members++;
		return text->depth && !text->string_has_nul;
	case ',':
		return text->depth && count_value(text, ret_reason);
	case ' ':
	case '\t':
	case '\r':
	case '\n':
		return text->depth != 0;
	default:
		if (!text->depth)
			text->place = WORD;
		/* what numbers, true, false and null consist of; json-c puts them together */
		return byte && strchr("0123456789+-.eEtrufalsn", byte) != NULL;
	}
}

static bool is_space(uint8_t byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static bool ends_word(uint8_t byte)
{
	return is_space(byte) || byte == '{' || byte == '[' || byte == '"';
}

static bool word_may_end(const struct json_text *text)
{
	return text->number != NUMBER_MINUS && text->number != NUMBER_POINT;
}

static void keep(struct json_text *text, const char *bytes, size_t n)
{
	if (text->n + n + 1 > text->capacity) {
		while (text->n + n + 1 > text->capacity)
			text->capacity = text->capacity ? 2 * text->capacity : 256;
		text->bytes = allocate_again(text->bytes, text->capacity, 1);
	}
	memcpy(text->bytes + text->n, bytes, n);
	text->n += n;
	text->bytes[text->n] = '\0';
}

/* The text that began before or within these bytes, up to its end. */
static enum json_text_result feed_text(struct json_text *text, const char *bytes, size_t n,
				       size_t *ret_taken, const char **ret_reason)
{
	size_t i = 0;

	while (i < n) {
		uint8_t byte = (uint8_t)bytes[i];
		bool in_string = text->place == STRING || text->place == ESCAPED;
		bool is_fine;

		if (text->place == WORD && ends_word(byte) && word_may_end(text)) {
			text->place = BETWEEN;
			break;
		}
		if (text->n + i == text->max_size) {
			*ret_reason = TOO_LONG;
			is_fine = false;
		} else if (in_string) {
			is_fine = string_step(text, byte, ret_reason);
		} else {
			is_fine = structure_step(text, byte, ret_reason);
		}
		if (!is_fine) {
			/* the byte that is wrong may be the one that ends the line */
			*ret_taken = i;
			json_text_skip_line(text);
			return JSON_TEXT_REFUSED;
		}
		i++;
		if (text->place == BETWEEN)
			break;
	}
	keep(text, bytes, i);
	*ret_taken = i;
	return text->place == BETWEEN ? JSON_TEXT_COMPLETE : JSON_TEXT_MORE;
}

enum json_text_result json_text_feed(struct json_text *text, const char *bytes, size_t n,
				     size_t *ret_taken, const char **ret_reason)
{
	enum json_text_result result;
	size_t skipped = 0;

	*ret_reason = NULL;
	if (text->place == SKIPPING) {
		const char *newline = memchr(bytes, '\n', n);

		if (!newline) {
			*ret_taken = n;
			return JSON_TEXT_MORE;
		}
		skipped = (size_t)(newline - bytes) + 1;
		text->place = BETWEEN;
	}
	if (text->place == BETWEEN) {
		while (skipped < n && is_space((uint8_t)bytes[skipped]))
			skipped++;
		if (text->bytes)
			forget(text);
		if (skipped == n) {
			*ret_taken = n;
			return JSON_TEXT_MORE;
		}
	}
	result = feed_text(text, bytes + skipped, n - skipped, ret_taken, ret_reason);
	*ret_taken += skipped;
	return result;
}

enum json_text_result json_text_end(struct json_text *text, const char **ret_reason)
{
	enum place place = text->place;

	*ret_reason = NULL;
	if (place == WORD && word_may_end(text)) {
		text->place = BETWEEN;
		return JSON_TEXT_COMPLETE;
	}
	if (place == BETWEEN || place == SKIPPING)
		return JSON_TEXT_MORE;
	*ret_reason = "the connection ended in the middle of a request";
	forget(text);
	return JSON_TEXT_REFUSED;
}
