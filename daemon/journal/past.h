/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What stood at a commit, and what changed between two: a journal's past as runs of pages.
 *
 * A past state is a replay up to that commit.  The last ones are kept, since who asks for a part of
 * it asks for the next part soon.  blame.h says who made it so, history.h what happened, export.h
 * takes it elsewhere.
 *
 * Knows the journal's files, and no daemon.  One thread at a time.
 */
#ifndef KVMATTRD_PAST_H
#define KVMATTRD_PAST_H

#include "checkpoint.h"

#include <stdbool.h>

/* "NAME.0123456789abcdef": a journal's directory. */
#define PAST_NAME_SIZE (KVMATTR_NAME_SIZE + 17)

/* Which journal is asked. */
struct past_source {
	int parent_fd; /* of the directory in which its directory is */
	const char *name;
	uint64_t max_map_bytes; /* what a policy's maps may need, as in struct replay */
	/* Asked now and then: true ends it with -ECANCELED.  May be NULL. */
	bool (*is_cancelled)(void *context);
	void *context;
};

/* The states that were asked for last, two of them. */
struct past_states;

struct past_states *past_states_new(void);
void past_states_free(struct past_states *states);
/* Bytes of memory that they take. */
size_t past_states_memory(const struct past_states *states);
/* Forgets them. */
void past_states_clear(struct past_states *states);

/*
 * The state as of a commit, or of the last there is (0); it is valid until another state than this
 * one and the one before it is asked for.  0, or as journal_replay().
 */
__attribute__((warn_unused_result)) int past_state_at(struct past_states *states,
						      const struct past_source *source,
						      uint64_t commit, const struct replay **ret,
						      struct journal_error *ret_error);

/* In place of effective attributes, where there is no RAM. */
#define PAST_NO_RAM 0xffu

struct past_run {
	uint64_t gfn;
	uint64_t n_pages;
	uint8_t before; /* effective attributes, or PAST_NO_RAM */
	uint8_t after;
};

/*
 * The runs of a range, whose end is at most KVMATTR_GFN_LIMIT, in which a VTL's effective
 * attributes differ between two policies; with before NULL, all RAM of after (and the runs' before
 * is their after).  At most max; *ret_next is where to go on, the range's end if that is all.  Both
 * have a view of vtl (asserted).
 */
size_t past_runs(const struct policy *before, const struct policy *after, unsigned int vtl,
		 struct kvmattr_range range, struct past_run *ret_runs, size_t max,
		 uint64_t *ret_next);

/* Every page that is RAM in one of both: from the first to the last; before may be NULL. */
struct kvmattr_range past_extent(const struct policy *before, const struct policy *after);

/* 0 if the policy has a view of vtl, else -ENXIO with *ret_error. */
__attribute__((warn_unused_result)) int past_check_view(const struct policy *policy,
							unsigned int vtl,
							struct journal_error *ret_error);

#endif
