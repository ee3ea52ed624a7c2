/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What goes into a VM's journal with its next write: notes of updates that were refused and of
 * sessions that were closed, in their order.
 *
 * They wait in memory, for as long as the journal cannot be written, so they are bounded.  The
 * oldest about updates are dropped: a gap in a session's numbers says as much as is needed, that
 * these were refused.  Those about sessions stay: there are no more of them than sessions in the
 * journal.
 */
#ifndef KVMATTRD_JOURNAL_NOTES_H
#define KVMATTRD_JOURNAL_NOTES_H

#include "daemon/journal/vm-records.h"

#include <stddef.h>

#define JOURNAL_NOTES_MAX_REFUSED 8192u

struct journal_note {
	uint64_t id; /* rises */
	uint16_t type;
	union {
		struct vm_record_refused refused;
		struct vm_record_session_closed session_closed;
	};
};

/* A zeroed structure is empty. */
struct journal_notes {
	struct journal_note *note;
	size_t n;
	size_t capacity;
	size_t n_refused;
	uint64_t last_id;
};

void journal_notes_destroy(struct journal_notes *notes);
void journal_notes_add_refused(struct journal_notes *notes,
			       const struct vm_record_refused *refused);
void journal_notes_add_session_closed(struct journal_notes *notes, uint64_t session);
/* They are in the journal: all up to that id. */
void journal_notes_forget(struct journal_notes *notes, uint64_t id);

#endif
