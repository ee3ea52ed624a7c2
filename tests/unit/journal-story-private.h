/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the rooms of a story share: journal-story.c has its records and sessions, and what happens
 * next; journal-story-batches.c the updates that are sent and the batches that they become.
 */
#ifndef JOURNAL_STORY_PRIVATE_H
#define JOURNAL_STORY_PRIVATE_H

#include "tests/unit/journal-story.h"
#include "tests/unit/seeded-suite.h"

static inline bool one_in(struct story *story, uint64_t n)
{
	return random_one_in(&story->random, n);
}

static inline uint64_t below(struct story *story, uint64_t bound)
{
	return random_below(&story->random, bound);
}

/* ---- journal-story.c --------------------------------------------------------------------------- */

/* Returns its number.  It is a write of its own. */
uint64_t story_add_record(struct story *story, enum vm_record_type type, const void *payload,
			  size_t size);
/* The last record is one at which no batch may be open. */
void story_note_settled(struct story *story);

/* One that is open; the owner's is among them. */
struct story_session *story_any_session(struct story *story);
/* The update's elements up to n_in_force are in force, and it is not settled yet. */
void story_go_on_in(struct story_session *session, const struct story_update *update);
void story_settle_in(struct story_session *session, const struct story_update *update,
		     const char *text);

/* ---- journal-story-batches.c ------------------------------------------------------------------- */

void story_add_update(struct story *story, struct story_session *session,
		      struct policy_element element);
/* As few or as many as it takes for batches of every kind. */
void story_send_updates(struct story *story);
/* The i-th that waits is gone, for whatever reason. */
void story_remove_waiting(struct story *story, size_t i);

/* Of the updates that wait, with room for so many elements. */
void story_begin_batch(struct story *story, uint32_t room);
void story_come_into_force(struct story *story, bool is_all_known);
/* All of it waits again, without what it had in the batch. */
void story_take_back(struct story *story);
/* The batch before, if it is open, was taken back: in KVM there may be anything. */
void story_give_up_batch(struct story *story);

#endif
