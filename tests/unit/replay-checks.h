/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A replay under test: one for each test, fed with records made by hand.
 *
 * Each record has a place in a file of its own, so that damage can be looked for where it is.
 */
#ifndef REPLAY_CHECKS_H
#define REPLAY_CHECKS_H

#include "daemon/journal/replay.h"

/* Of the test that runs. */
extern struct replay replay;
extern struct journal_error replay_error; /* of the record that was refused last */

/* Anew, where there was one: behind an error nothing else can be done with it. */
void replay_start(void);
void replay_stop(void);
/* A VM of 1000 pages with layer 1, its owner and an agent of VTL 1; the last commit is 1. */
void replay_start_vm(void);
#define OWNER 4
#define AGENT 5

extern const struct wire_view deny_view; /* of VTL 0 */

/* Each hands the next record to the replay, and returns what that says. */
int take_record(unsigned int type, const void *payload, size_t size);
int take_record_numbered(uint64_t number, unsigned int type, const void *payload, size_t size);
int take_registered(const struct wire_view *views, uint32_t n_views);
int take_session(uint64_t id, enum wire_role role, uint8_t vtl, uint32_t rights);
int take_closed(uint64_t id);
int take_ready(void);
int take_in_force(uint64_t commit, uint32_t flags);
int take_refused(uint64_t session, uint64_t seqno, uint32_t n_in_force);
int take_released(void);

/* A BATCH that is being put together. */
extern struct batch_builder {
	struct vm_record_batch head;
	uint8_t bytes[4096];
	size_t size;
} batch;
void batch_begin(uint64_t commit);
void batch_add(const void *bytes, size_t size);
void batch_add_part(struct vm_record_part part, const void *elements);
/* Elements first to first + n - 1 of an update that makes n_total pages from 10 on read-only. */
void batch_add_pages(uint64_t session, uint64_t seqno, uint32_t first, uint32_t n,
		     uint32_t n_total);
int take_batch(void);
/* A batch of one such part, and that it came into force. */
int take_pages(uint64_t session, uint64_t seqno, uint32_t first, uint32_t n, uint32_t n_total);

/* What was refused is damage, in the record with that number, and the text says so. */
void expect_damage(int r, uint64_t number, const char *text);
/* In the record that came last. */
void expect_damage_here(int r, const char *text);

#endif
