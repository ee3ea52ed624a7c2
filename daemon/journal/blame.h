/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who made a page what it is: every element of a batch in force that set what holds there.
 *
 * That is, for one VTL's view of one page: protections set by a layer above it, layers enabled and
 * reset, visibility, locks, RAM added and removed.  Also those that set what was there already.
 * History reaches back as far as the journal does: to the registration, or to its oldest
 * checkpoint.
 */
#ifndef KVMATTRD_BLAME_H
#define KVMATTRD_BLAME_H

#include "past.h"

/* A place among a page's entries: the i-th of one commit. */
struct blame_place {
	uint64_t commit;
	uint64_t i;
};

struct blame_entry {
	struct blame_place place;
	uint64_t time_us;
	bool has_session;
	bool is_operators; /* without a session: an operator's, */
	bool is_import;    /* an import's, or else the registration's */
	struct vm_record_session session;
	uint64_t seqno;
	struct policy_element element; /* its range holds the page, if its kind has ranges */
	uint8_t before;                /* the page's effective attributes, or PAST_NO_RAM */
	uint8_t after;
};

struct blame_question {
	uint64_t gfn;
	unsigned int vtl;
	struct blame_place older_than; /* only these; commit 0: all */
};

struct blame_answer {
	size_t n;
	bool has_more;        /* older ones */
	uint64_t from_commit; /* history begins behind this commit; 0: with the registration */
	uint64_t commit;      /* the last there is */
	uint8_t now;          /* as of it */
};

/* The newest entries first, at most max.  0, or as journal_replay(), or past_check_view(). */
__attribute__((warn_unused_result)) int blame_page(const struct past_source *source,
						   const struct blame_question *question,
						   struct blame_entry *ret_entries, size_t max,
						   struct blame_answer *ret,
						   struct journal_error *ret_error);

#endif
