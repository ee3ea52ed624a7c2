/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What kvmattrctl writes to a terminal, and what it must never write there.
 *
 * Names come from other programs.  A control character among them could move the cursor, change
 * the title or answer a query in the user's name; a bidirectional override could show a name as
 * another.  Whatever is not plainly visible becomes a question mark, in text; in JSON, an escape.
 */
#ifndef KVMATTRCTL_TERMINAL_H
#define KVMATTRCTL_TERMINAL_H

#include <json-c/json_types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum terminal_color { TERMINAL_AUTO, TERMINAL_ALWAYS, TERMINAL_NEVER };

/* Looks at the locale, the terminal and the environment; before anything is written. */
void terminal_init(enum terminal_color color);
/* Whether colours are wanted: asked for, or stdout is a terminal that has them, without NO_COLOR. */
bool terminal_has_color(void);
/* Whether stdout takes block characters: UTF-8, by the locale. */
bool terminal_has_unicode(void);
/* Columns of stdout; 80 if it is no terminal and COLUMNS does not say. */
unsigned int terminal_width(void);
/* Whether that is so, by a terminal or by COLUMNS: what is wider has no room. */
bool terminal_is_bounded(void);

/* Memory that was got, or the end of the program. */
void *terminal_there(void *memory);

/* text with what must not reach a terminal replaced; the caller's to free. */
char *terminal_safe(const char *text);
/* Writes JSON in which what must not reach a terminal is an escape. */
void terminal_write_json(FILE *stream, struct json_object *object);
/* The same, all in one line. */
void terminal_write_json_line(FILE *stream, struct json_object *object);
/*
 * Writes n bytes of JSON as they are; but where stdout is a terminal, what must not reach one is an
 * escape, which means the same.
 */
void terminal_write_raw(FILE *stream, const char *json, size_t n);
/* Says on stderr what went wrong: "kvmattrctl: ..."; made safe as a whole, newlines kept. */
__attribute__((format(printf, 1, 2))) void terminal_complain(const char *format, ...);
/* Whether complaints are kept from now on, where stderr would be in the way; the last one only. */
void terminal_keep_complaints(bool keep);
/* The one that is kept, made safe, or NULL; the caller's to free.  It is kept no longer. */
char *terminal_take_complaint(void);

/* "16,777,216"; the buffer holds 32 bytes. */
const char *terminal_number(char *buffer, uint64_t number);
/* "64 GiB", "1.5 MiB", "4 KiB"; the buffer holds 32 bytes. */
const char *terminal_size(char *buffer, uint64_t bytes);
/* "3.2 ms", "4 min 12 s"; the buffer holds 32 bytes. */
const char *terminal_duration(char *buffer, uint64_t us);
/* "2026-01-31 12:00:00", of microseconds since 1970, in local time; the buffer holds 64 bytes. */
const char *terminal_time(char *buffer, uint64_t us);

/*
 * Says on stderr, if that is a terminal, how far what takes its time is: so many of total.  The
 * line is gone with terminal_end_progress().
 */
void terminal_progress(const char *what, uint64_t n, uint64_t total);
void terminal_end_progress(void);

#endif
