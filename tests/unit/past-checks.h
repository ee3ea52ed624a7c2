/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A journal with a past: a story (journal-story.h) in the files of a scratch directory, with
 * checkpoints among its segments, and some of it retired if that is wanted.
 */
#ifndef PAST_CHECKS_H
#define PAST_CHECKS_H

#include "daemon/journal/past.h"
#include "tests/unit/journal-checks.h"
#include "tests/unit/journal-story.h"

#define PAST_NAME "guest.0123456789abcdef"

struct past_journal {
	struct story story;
	struct journal *journal;
	int directory_fd;
	uint64_t checkpoints[64]; /* numbers; those that are there */
	size_t n_checkpoints;
	uint64_t first_commit; /* that can be asked for */
	uint64_t first_kept;   /* and of which the story has kept what the oracle was */
	uint64_t
		first_number; /* of a record from which on all is replayed; 1: nothing was retired */
};

/* Of the test that runs; scratch_make() came before. */
extern struct past_journal past;
extern struct past_source past_source;

/* A journal of so many writes behind the registration; retires: its beginning is gone. */
void past_begin(uint64_t random, unsigned int n_writes, bool retires);
/* More of it. */
void past_go_on(unsigned int n_writes);
/* A checkpoint now, once no batch is open. */
void past_checkpoint(void);
void past_end(void);

/* The place of a VTL's view in the oracle, or -1. */
int oracle_view(const struct oracle *oracle, unsigned int vtl);
/* What a page is for that view: effective attributes, or PAST_NO_RAM. */
uint8_t oracle_attributes(const struct oracle *oracle, int view, uint64_t gfn);

#endif
