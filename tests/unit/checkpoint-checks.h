/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A checkpoint under test: of a story, in a directory of its own, written and read again.
 */
#ifndef CHECKPOINT_CHECKS_H
#define CHECKPOINT_CHECKS_H

#include "daemon/journal/checkpoint.h"
#include "tests/unit/journal-checks.h"
#include "tests/unit/journal-story.h"

#define HEADER_SIZE 80u

/* Of the test that runs. */
extern struct story checkpoint_story;
extern struct replay checkpoint_told; /* what was replayed of the story */
extern int checkpoint_folder_fd;      /* "vm" in the scratch directory */

/* A case whose tests have an empty directory. */
TCase *checkpoint_make_case(const char *name);

/* What comes of a story of about so many writes, at which no batch is open. */
void checkpoint_tell(uint64_t random, unsigned int n_writes);
/* Writes it; returns how many bytes that were. */
uint64_t checkpoint_write_told(void);
void checkpoint_make_name(uint64_t number, char name[CHECKPOINT_NAME_LEN + 1]);

/* A replay with what the checkpoint has; NULL: it is refused, and *ret_error says why. */
struct replay *checkpoint_read_it(uint64_t number, struct journal_error *ret_error);
void checkpoint_free_replay(struct replay *replay);

/* A small one, written, and what its file is. */
extern struct files checkpoint_files;
extern char checkpoint_file[CHECKPOINT_NAME_LEN + 1];
void checkpoint_make_small(uint64_t random);

#endif
