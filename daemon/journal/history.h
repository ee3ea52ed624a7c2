/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happened, line by line: a journal's records for people.
 *
 * A batch has a line for each of its parts, which stand where it is known that it came into force;
 * one that was taken back has a single line.  A batch without an ending has none yet.  What is said
 * comes from the records alone: nothing is applied.
 */
#ifndef KVMATTRD_HISTORY_H
#define KVMATTRD_HISTORY_H

#include "past.h"

#define HISTORY_TEXT_SIZE 512

struct history_line {
	uint64_t number; /* of the record */
	uint64_t time_us;
	uint64_t commit;  /* of a batch; else 0 */
	uint64_t session; /* whose; 0: nobody's, or the registration's */
	uint16_t type;    /* enum vm_record_type */
	bool is_taken_back;
	char text[HISTORY_TEXT_SIZE];
};

/* Where to go on: so many lines behind the start of that record.  Zeroed: at the beginning. */
struct history_place {
	uint64_t number;
	uint64_t n_lines;
};

/*
 * At most max lines from that place on.  from_commit, if it is not 0 and the place is the
 * beginning: from that commit on.  *ret_next is where to go on if *ret_has_more.  0 or a negative
 * errno: -EBADMSG for damage, -ERANGE if the place is not in the journal any more.
 */
__attribute__((warn_unused_result)) int history_read(
	const struct past_source *source, uint64_t from_commit, struct history_place place,
	struct history_line *ret_lines, size_t max, size_t *ret_n, struct history_place *ret_next,
	bool *ret_has_more, struct journal_error *ret_error);

#endif
