/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A story (journal-story.h) told into a journal's files, with checkpoints where the test wants
 * them, and replayed from there: what comes of it is compared with a straight replay of them.
 */
#ifndef TOLD_JOURNAL_H
#define TOLD_JOURNAL_H

#include "daemon/journal/checkpoint.h"
#include "tests/unit/journal-story.h"

#include <check.h>

#define TOLD_MAX_CHECKPOINTS 8

/* Of the test that runs: the journal "vm" in the scratch directory. */
struct told {
	struct story story;
	struct journal *journal;
	int folder_fd;
	struct {
		uint64_t number, commit;
	} checkpoints[TOLD_MAX_CHECKPOINTS]; /* the oldest first */
	size_t n_checkpoints;

	/* What the last journal_replay() made. */
	struct replay replay;
	struct replay_report report;
	struct journal_error error;
};
extern struct told told;

/* A case whose tests have a scratch directory, and nothing told yet. */
TCase *told_make_case(const char *name);

/* A journal without a record, instead of the one that was there. */
void told_begin_journal(uint64_t random);
/* A journal with that many checkpoints, and a log before and behind each. */
void told_make_journal(uint64_t random, unsigned int n);
/* So many more writes. */
void told_go_on(unsigned int n_writes);
/* Where no batch is open, which may take some more writes. */
void told_make_checkpoint(void);
/* The daemon drops the oldest checkpoint and what only that one needs. */
void told_retire_one(void);
void told_checkpoint_file(size_t i, char name[CHECKPOINT_NAME_LEN + 1]);
/* The i-th checkpoint is not one any more. */
void told_spoil(size_t i);
/* The number of the newest checkpoint up to there, or 0. */
uint64_t told_best_for(uint64_t number);

/* Into told.replay; the result is journal_replay()'s. */
int told_replay_it(struct replay_request request);
int told_replay_all(void);
int told_replay_to(enum replay_limit limit, uint64_t at);
/* It has to be 0. */
void told_must(int r);
/* It has to be -error_number, and the error's text has why in it. */
void told_expect_refused_with(int r, int error_number, const char *why);

/* What the records up to that number come to, ended where no batch is open; for the other one. */
struct replay *told_straight_to(uint64_t number, const struct replay_observer *observer);
void told_free_replay(struct replay *straight);
/*
 * told.replay is what a straight one up to its number is, in all that a checkpoint would hold.
 * is_ended: there was nothing behind it.
 */
void told_expect_straight(bool is_ended);

/* Who saw which steps since it began. */
struct told_watch {
	unsigned int n_begun;
	unsigned int n_before;
	struct {
		uint64_t commit, seqno;
		uint32_t place;
	} seen[4000];
	size_t n;
};

int told_replay_from_start(struct told_watch *watch);
/* All steps behind the checkpoint that it began with, and no others. */
void told_expect_all_seen(const struct told_watch *watch);

#endif
