/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A journal's directory: which names are its own, and that what is opened there is ours alone.
 *
 * A name that ends in ".journal" has to be a segment's; "<segment>.new" is a segment that was
 * being made when the daemon died; every other name is somebody else's (a checkpoint's, say) and
 * left alone, until the journal is removed.  Knows files' names, owners and modes; not what is in
 * them.
 */
#ifndef KVMATTRD_JOURNAL_DIRECTORY_H
#define KVMATTRD_JOURNAL_DIRECTORY_H

#include "journal.h"

/* "0123456789abcdef.journal", or that with ".new" behind it. */
#define JOURNAL_NEW_NAME_LEN (JOURNAL_SEGMENT_NAME_LEN + 4)

void journal_segment_name(uint64_t first_number, char name[JOURNAL_SEGMENT_NAME_LEN + 1]);
void journal_new_name(uint64_t first_number, char name[JOURNAL_NEW_NAME_LEN + 1]);

/* Fills in an error, the text from a format; returns -error. */
__attribute__((format(printf, 5, 6))) int journal_error_set(struct journal_error *ret, int error,
							    const char *file, uint64_t offset,
							    const char *format, ...);

/* Opens the directory, if it is ours alone.  0 or a negative errno with *ret_error. */
__attribute__((warn_unused_result)) int journal_directory_open(int parent_fd, const char *name,
							       int *ret_fd,
							       struct journal_error *ret_error);
/*
 * The first numbers of all segments, sorted; the caller frees *ret_numbers, which is NULL if there
 * is none.  0 or a negative errno with *ret_error.
 */
__attribute__((warn_unused_result)) int journal_directory_list(int directory_fd,
							       uint64_t **ret_numbers,
							       size_t *ret_n,
							       struct journal_error *ret_error);
/* The same of all names that end in suffix: ".journal", ".checkpoint". */
__attribute__((warn_unused_result)) int journal_directory_list_numbers(
	int directory_fd, const char *suffix, uint64_t **ret_numbers, size_t *ret_n,
	struct journal_error *ret_error);
/* Removes segments that were never finished. */
__attribute__((warn_unused_result)) int journal_directory_remove_unfinished(
	int directory_fd, struct journal_error *ret_error);
/*
 * Removes a journal: its directory and what is a journal's in it, checkpoints included.  First the
 * directory gets a name with this suffix, which is no journal's; one that has it already is removed
 * as well.  0 or a negative errno with *ret_error; -ENOTEMPTY where there is something else in it:
 * then nothing was done.
 */
#define JOURNAL_REMOVED_SUFFIX ".removed"
__attribute__((warn_unused_result)) int journal_directory_remove(int parent_fd, const char *name,
								 struct journal_error *ret_error);
/*
 * Opens a file of the journal, to read (O_RDONLY) or to go on with (O_RDWR), if it is ours alone.
 * Its size in *ret_size.  0 or a negative errno with *ret_error; -ENOENT if it is not there.
 */
__attribute__((warn_unused_result)) int journal_file_open(int directory_fd, const char *name,
							  int access, int *ret_fd,
							  uint64_t *ret_size,
							  struct journal_error *ret_error);
__attribute__((warn_unused_result)) int journal_segment_open(int directory_fd,
							     uint64_t first_number, int access,
							     int *ret_fd, uint64_t *ret_size,
							     struct journal_error *ret_error);

#endif
