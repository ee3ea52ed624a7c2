/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/kvmattrctl-terminal.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static struct {
	bool has_color;
	bool has_unicode;
	unsigned int width;
	bool is_bounded;
	uint64_t percent; /* that progress has shown, and one; 0: there is none */
	bool keeps_complaints;
	char *complaint; /* kept; NULL: none */
} terminal = { .width = 80 };

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), n_end = strlen(end);

	return n >= n_end && !strcmp(text + n - n_end, end);
}

/*
 * Whether a terminal of that type has colours.  Nearly all have; those that have not are named so
 * in the terminfo database, or are the VT series up to the 420.
 */
static bool type_has_color(const char *type)
{
	return type && *type && strcmp(type, "dumb") != 0 && strcmp(type, "unknown") != 0 &&
	       !ends_with(type, "-m") && !ends_with(type, "-mono") &&
	       !(type[0] == 'v' && type[1] == 't' && type[2] >= '1' && type[2] <= '4' &&
		 !strstr(type, "color"));
}

static void set_width(unsigned int width)
{
	terminal.width = width;
	terminal.is_bounded = true;
}

void terminal_init(enum terminal_color color)
{
	const char *no_color = getenv("NO_COLOR");
	const char *columns = getenv("COLUMNS");
	struct winsize size;

	setlocale(LC_CTYPE, "");
	terminal.has_unicode = !strcmp(nl_langinfo(CODESET), "UTF-8");
	if (color == TERMINAL_AUTO)
		terminal.has_color = isatty(STDOUT_FILENO) && !(no_color && *no_color) &&
				     type_has_color(getenv("TERM"));
	else
		terminal.has_color = color == TERMINAL_ALWAYS;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
		set_width(size.ws_col);
	else if (columns && atoi(columns) > 0 && atoi(columns) <= 10000)
		set_width((unsigned int)atoi(columns));
}

bool terminal_has_color(void)
{
	return terminal.has_color;
}

bool terminal_has_unicode(void)
{
	return terminal.has_unicode;
}

unsigned int terminal_width(void)
{
	return terminal.width;
}

bool terminal_is_bounded(void)
{
	return terminal.is_bounded;
}

void *terminal_there(void *memory)
{
	if (!memory) {
		fputs("kvmattrctl: out of memory\n", stderr);
		exit(EXIT_FAILURE);
	}
	return memory;
}

/*
 * The character at bytes, of n that are left, and its length.  What is not UTF-8 is one byte long
 * and U+FFFD.
 */
static uint32_t decode(const unsigned char *bytes, size_t n, size_t *ret_length)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length = bytes[0] < 0x80   ? 1
			: bytes[0] < 0xc0 ? 0
			: bytes[0] < 0xe0 ? 2
			: bytes[0] < 0xf0 ? 3
			: bytes[0] < 0xf8 ? 4
					  : 0;
	uint32_t character;

	*ret_length = 1;
	if (length == 1)
		return bytes[0];
	if (!length || length > n)
		return 0xfffd;
	character = bytes[0] & (0xffu >> (length + 1));
	for (size_t i = 1; i < length; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0xfffd;
		character = character << 6 | (bytes[i] & 0x3f);
	}
	if (character < least[length] || character > 0x10ffff ||
	    (character >= 0xd800 && character <= 0xdfff))
		return 0xfffd;
	*ret_length = length;
	return character;
}

/* Controls (C0, C1), line separators, and what turns or hides text (Unicode TR 36, TR 9). */
static bool is_harmful(uint32_t character)
{
	return character < 0x20 || (character >= 0x7f && character <= 0x9f) || character == 0xad ||
	       character == 0x61c || (character >= 0x200b && character <= 0x200f) ||
	       (character >= 0x2028 && character <= 0x202e) ||
	       (character >= 0x2060 && character <= 0x206f) || character == 0xfeff ||
	       (character >= 0xfff9 && character <= 0xfffd) || character >= 0xe0000;
}

static char *make_safe(const char *text, bool keep_newlines)
{
	size_t n = strlen(text), length;
	char *safe = terminal_there(malloc(n + 1)), *at = safe;

	for (size_t i = 0; i < n; i += length) {
		uint32_t character = decode((const unsigned char *)text + i, n - i, &length);

		if (keep_newlines && character == '\n') {
			*at++ = '\n';
		} else if (is_harmful(character) || (character >= 0x80 && !terminal.has_unicode)) {
			*at++ = '?';
		} else {
			memcpy(at, text + i, length);
			at += length;
		}
	}
	*at = '\0';
	return safe;
}

char *terminal_safe(const char *text)
{
	return make_safe(text, false);
}

/* What must not reach a terminal as JSON's escapes; newlines stay, as they stand between values. */
static void write_escaped(FILE *stream, const char *text, size_t n)
{
	size_t length;

	for (size_t i = 0; i < n; i += length) {
		uint32_t character = decode((const unsigned char *)text + i, n - i, &length);

		/* json-c has escaped C0; its own newlines are the only ones */
		if (character == '\n' || !is_harmful(character))
			fwrite(text + i, 1, length, stream);
		else if (character < 0x10000)
			fprintf(stream, "\\u%04" PRIx32, character);
		else
			fprintf(stream, "\\u%04" PRIx32 "\\u%04" PRIx32,
				0xd800 + ((character - 0x10000) >> 10),
				0xdc00 + ((character - 0x10000) & 0x3ff));
	}
}

static void write_json(FILE *stream, struct json_object *object, int flags)
{
	const char *text =
		json_object_to_json_string_ext(object, flags | JSON_C_TO_STRING_NOSLASHESCAPE);

	terminal_there((void *)(uintptr_t)text);
	write_escaped(stream, text, strlen(text));
	fputc('\n', stream);
}

void terminal_write_raw(FILE *stream, const char *json, size_t n)
{
	if (isatty(fileno(stream)))
		write_escaped(stream, json, n);
	else
		fwrite(json, 1, n, stream);
	fflush(stream);
}

void terminal_write_json(FILE *stream, struct json_object *object)
{
	write_json(stream, object, JSON_C_TO_STRING_PRETTY);
}

void terminal_write_json_line(FILE *stream, struct json_object *object)
{
	write_json(stream, object, JSON_C_TO_STRING_PLAIN);
}

void terminal_keep_complaints(bool keep)
{
	terminal.keeps_complaints = keep;
}

char *terminal_take_complaint(void)
{
	char *complaint = terminal.complaint;

	terminal.complaint = NULL;
	return complaint;
}

void terminal_complain(const char *format, ...)
{
	va_list arguments;
	char *text, *safe;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		terminal_there(NULL);
	va_end(arguments);
	safe = make_safe(text, true);
	free(text);
	if (terminal.keeps_complaints) {
		free(terminal.complaint);
		terminal.complaint = safe;
		return;
	}
	terminal_end_progress();
	fflush(stdout);
	fprintf(stderr, "kvmattrctl: %s\n", safe);
	free(safe);
}

const char *terminal_number(char *buffer, uint64_t number)
{
	char digits[24];
	size_t n = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, number);
	char *at = buffer;

	for (size_t i = 0; i < n; i++) {
		if (i && (n - i) % 3 == 0)
			*at++ = ',';
		*at++ = digits[i];
	}
	*at = '\0';
	return buffer;
}

const char *terminal_size(char *buffer, uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned int unit = 0;
	uint64_t tenths;

	while (unit + 1 < sizeof(units) / sizeof(units[0]) && bytes >= UINT64_C(1)
									       << (10 * (unit + 1)))
		unit++;
	/* in tenths of the unit, rounded down */
	tenths = unit ? (bytes >> (10 * (unit - 1))) * 10 >> 10 : bytes * 10;
	if (tenths % 10)
		snprintf(buffer, 32, "%" PRIu64 ".%u %s", tenths / 10, (unsigned int)(tenths % 10),
			 units[unit]);
	else
		snprintf(buffer, 32, "%" PRIu64 " %s", tenths / 10, units[unit]);
	return buffer;
}

const char *terminal_duration(char *buffer, uint64_t us)
{
	uint64_t s = us / 1000000;

	if (us < 1000)
		snprintf(buffer, 32, "%" PRIu64 " us", us);
	else if (us < 1000000)
		snprintf(buffer, 32, "%" PRIu64 ".%" PRIu64 " ms", us / 1000, us / 100 % 10);
	else if (s < 60)
		snprintf(buffer, 32, "%" PRIu64 ".%" PRIu64 " s", s, us / 100000 % 10);
	else if (s < 3600)
		snprintf(buffer, 32, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buffer, 32, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
	else
		snprintf(buffer, 32, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
	return buffer;
}

const char *terminal_time(char *buffer, uint64_t us)
{
	time_t s = (time_t)(us / 1000000);
	struct tm parts;

	if (!localtime_r(&s, &parts) || !strftime(buffer, 64, "%F %T", &parts))
		snprintf(buffer, 64, "%" PRIu64, us);
	return buffer;
}

void terminal_progress(const char *what, uint64_t n, uint64_t total)
{
	uint64_t percent = total ? (n < total ? n : total) * 100 / total : 100;
	char *safe;

	if (!isatty(STDERR_FILENO) || terminal.percent == percent + 1)
		return;
	terminal.percent = percent + 1;
	safe = terminal_safe(what);
	fprintf(stderr, "\r%s: %" PRIu64 " %%\033[K", safe, percent);
	fflush(stderr);
	free(safe);
}

void terminal_end_progress(void)
{
	if (terminal.percent)
		fputs("\r\033[K", stderr);
	terminal.percent = 0;
}
