/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One walk through an answer, several forms of output.
 *
 * A command says what there is: objects with named values, tables with rows, sentences for
 * people.  The form decides what becomes of it: text shows labels, titles and sentences, and
 * tables with libsmartcols; JSON has the names, plain numbers, and no sentences.  To add a form is
 * to add a struct writer_form; no command changes.
 */
#ifndef KVMATTRCTL_WRITER_H
#define KVMATTRCTL_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum writer_kind {
	WRITER_NOTHING,  /* "-", null */
	WRITER_TEXT,     /* of the daemon's or the program's own: made safe where it is shown */
	WRITER_BOOLEAN,  /* "yes" or "no", true or false */
	WRITER_NUMBER,   /* "16,384", 16384 */
	WRITER_INTEGER,  /* the same, and below 0 */
	WRITER_ID,       /* "16384", 16384: of a process, a user */
	WRITER_BYTES,    /* "64 MiB", 67108864 */
	WRITER_ADDRESS,  /* "0x1f000" in both: JSON numbers stop at 2^53 */
	WRITER_DURATION, /* of microseconds: "3.2 ms", 3200 */
	WRITER_RATIO,    /* "12.50", 12.5 */
	WRITER_SHARE,    /* "12.50 %", 0.125 */
	WRITER_VTLS,     /* a set: "1 2", [1, 2] */
};

/* How a value strikes the eye, where there is colour. */
enum writer_tone {
	WRITER_PLAIN,
	WRITER_GOOD,
	WRITER_WARNING,
	WRITER_BAD,
	WRITER_COOL,
	WRITER_DIM,
};

/* What stands before and behind words of that tone on a terminal; "" where there is no colour. */
const char *writer_tone_start(enum writer_tone tone);
const char *writer_tone_end(enum writer_tone tone);

struct writer_value {
	enum writer_kind kind;
	enum writer_tone tone;
	const char *text;
	uint64_t number;
	double ratio;
};

/* Kinds of columns. */
#define WRITER_COLUMN_TEXT   0x0u
#define WRITER_COLUMN_NUMBER 0x1u /* to the right */
#define WRITER_COLUMN_WORDS  0x2u /* text that goes on below where the terminal is narrow */
/* Beside these: left out for people whose terminal is too narrow; the last such column first. */
#define WRITER_COLUMN_IF_ROOM 0x4u

struct writer_column {
	const char *key;   /* in JSON; NULL: it is for people alone */
	const char *title; /* for people; NULL: it is for programs alone */
	unsigned int kind; /* WRITER_COLUMN_ */
};

struct writer;

struct writer_form {
	/* A group of values; title may be NULL.  The outermost is begun by the command, too. */
	void (*begin_object)(struct writer *writer, const char *key, const char *title);
	void (*end_object)(struct writer *writer);
	/* Rows, each with a value for each column in their order.  columns outlive the table. */
	void (*begin_table)(struct writer *writer, const char *key, const char *title,
			    const struct writer_column *columns, size_t n_columns);
	void (*begin_row)(struct writer *writer);
	void (*end_table)(struct writer *writer);
	/* Within a table, key and label are the column's.  NULL as in struct writer_column. */
	void (*value)(struct writer *writer, const char *key, const char *label,
		      const struct writer_value *value);
	/* A line as it is. */
	void (*say)(struct writer *writer, const char *line);
	void (*end)(struct writer *writer);
	void (*free)(struct writer *writer);
};

struct writer {
	const struct writer_form *form;
};

struct writer *writer_new_text(void);
struct writer *writer_new_json(void);
/* Writes what is still held, and frees. */
void writer_end(struct writer *writer);
/* Frees without writing anything: the command failed. */
void writer_discard(struct writer *writer);

void writer_begin_object(struct writer *writer, const char *key, const char *title);
void writer_end_object(struct writer *writer);
void writer_begin_table(struct writer *writer, const char *key, const char *title,
			const struct writer_column *columns, size_t n_columns);
void writer_begin_row(struct writer *writer);
void writer_end_table(struct writer *writer);
__attribute__((format(printf, 2, 3))) void writer_say(struct writer *writer, const char *format,
						      ...);

void writer_nothing(struct writer *writer, const char *key, const char *label);
void writer_text(struct writer *writer, const char *key, const char *label, const char *text);
void writer_text_toned(struct writer *writer, const char *key, const char *label, const char *text,
		       enum writer_tone tone);
void writer_boolean(struct writer *writer, const char *key, const char *label, bool boolean);
void writer_boolean_toned(struct writer *writer, const char *key, const char *label, bool boolean,
			  enum writer_tone tone);
void writer_number(struct writer *writer, const char *key, const char *label, uint64_t number);
void writer_integer(struct writer *writer, const char *key, const char *label, int64_t number);
void writer_id(struct writer *writer, const char *key, const char *label, uint64_t id);
void writer_bytes(struct writer *writer, const char *key, const char *label, uint64_t bytes);
void writer_address(struct writer *writer, const char *key, const char *label, uint64_t address);
void writer_duration(struct writer *writer, const char *key, const char *label, uint64_t us);
void writer_ratio(struct writer *writer, const char *key, const char *label, double ratio);
void writer_share(struct writer *writer, const char *key, const char *label, double share);
void writer_vtls(struct writer *writer, const char *key, const char *label, uint32_t vtls);

#endif
