/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Journals in a directory of their own, and what has to be in them.
 *
 * A model is what was written: each record's bytes follow from its salt, so that a record can be
 * compared with what it has to be without keeping it.  The files of a journal can be taken into
 * memory, changed there, and put down as another journal.
 */
#ifndef JOURNAL_CHECKS_H
#define JOURNAL_CHECKS_H

#include "daemon/journal/journal.h"
#include "tests/unit/seeded-suite.h"

/* The directory in which journals are made: a fixture makes and removes it. */
extern int scratch_fd;
void scratch_make(void);
void scratch_remove(void);
/* Removes a journal, or whatever has that name. */
void scratch_clear(const char *name);

extern const struct journal_identity some_identity;

/* CRC32C by its definition, bit by bit; crc: 0, or of the bytes before. */
uint32_t crc32c_by_hand(const void *data, size_t size, uint32_t crc);

/* ---- What was written ------------------------------------------------------------------------ */

struct model_record {
	uint64_t time_us;
	uint64_t salt; /* its bytes */
	uint32_t size;
	uint16_t type;
	bool ends_write;
};

/* The i-th is number i + 1. */
struct model {
	struct model_record *records;
	size_t n;         /* with what is only gathered */
	size_t n_written; /* as journal_write() said */
	size_t capacity;
};

void model_destroy(struct model *model);
/* Gathers a record of that size, its other parts chosen at random. */
void model_append(struct model *model, struct journal *journal, size_t size, uint64_t *random);
/* Writes what was gathered, and takes down what came of it. */
int model_write(struct model *model, struct journal *journal);
/* Gathers and writes n records of at most max_size bytes. */
int model_write_some(struct model *model, struct journal *journal, size_t n, size_t max_size,
		     uint64_t *random);
void expect_record(const struct model *model, const struct journal_record *record);
/*
 * Reads from the start, or from the position given, expecting each record to be the model's.
 * Returns how the reading ended, or JOURNAL_DAMAGED if there was none; *ret_n is the number of the
 * last record.
 */
enum journal_read read_journal(const struct model *model, const char *name, uint64_t first,
			       uint64_t *ret_n, struct journal_error *ret_error);
/* Everything that was written can be read, and nothing else. */
void expect_journal(const struct model *model, const char *name);

/* ---- Files ------------------------------------------------------------------------------------ */

struct file {
	char name[64];
	uint8_t *bytes;
	size_t size;
};

#define MAX_FILES 64

/* Sorted by name. */
struct files {
	struct file file[MAX_FILES];
	size_t n;
};

struct files files_take(const char *name);
void files_put(const struct files *files, const char *name);
void files_destroy(struct files *files);
bool files_are_equal(const struct files *a, const struct files *b);
/* Puts one file down, over the one that is there. */
void file_put(const char *name, const char *file, const void *bytes, size_t size);

/* ---- What is refused ------------------------------------------------------------------------- */

/* Reading gives n_before records and this error, with this file and offset. */
void expect_refused(const struct model *model, const char *name, int error_number, const char *file,
		    uint64_t offset, uint64_t n_before);
/* It cannot be gone on with, for this reason, and trying to changes nothing. */
void expect_left_alone(const char *name, int error_number);

/* A small journal of three segments, and its model: writes of one and of several records. */
void make_small_journal(const char *name, struct model *model, uint64_t *random);

#endif
