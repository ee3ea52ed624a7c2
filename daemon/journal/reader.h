/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the writer asks a reader that came to the journal's end: where that is.
 */
#ifndef KVMATTRD_JOURNAL_READER_H
#define KVMATTRD_JOURNAL_READER_H

#include "journal.h"

struct journal_place {
	uint64_t segment; /* its first number */
	uint64_t number;  /* of the next record */
	uint64_t offset;  /* where in the segment it goes */
	uint64_t size;    /* of the segment; more than offset: the last write is torn */
};

struct journal_place journal_reader_place(const struct journal_reader *reader);

#endif
