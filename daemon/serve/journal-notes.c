/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "journal-notes.h"

#include "daemon/allocate.h"

#include <stdbool.h>

/* Those of which there were many are not kept room for. */
#define KEPT_CAPACITY 512u

void journal_notes_destroy(struct journal_notes *notes)
{
	free(notes->note);
	*notes = (struct journal_notes){ .last_id = notes->last_id };
}

/* Drops so many of the oldest about updates: many at a time, so that it is seldom. */
static void drop_refused(struct journal_notes *notes, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < notes->n; i++) {
		bool is_dropped = n > 0 && notes->note[i].type == VM_RECORD_REFUSED;

		if (is_dropped)
			n--;
		else
			notes->note[kept++] = notes->note[i];
	}
	notes->n_refused -= notes->n - kept;
	notes->n = kept;
}

static struct journal_note *add(struct journal_notes *notes, uint16_t type)
{
	struct journal_note *note;

	allocate_room(notes->note, notes->n, notes->capacity);
	note = &notes->note[notes->n++];
	*note = (struct journal_note){ .id = ++notes->last_id, .type = type };
	return note;
}

void journal_notes_add_refused(struct journal_notes *notes, const struct vm_record_refused *refused)
{
	if (notes->n_refused == JOURNAL_NOTES_MAX_REFUSED)
		drop_refused(notes, JOURNAL_NOTES_MAX_REFUSED / 4);
	add(notes, VM_RECORD_REFUSED)->refused = *refused;
	notes->n_refused++;
}

void journal_notes_add_session_closed(struct journal_notes *notes, uint64_t session)
{
	add(notes, VM_RECORD_SESSION_CLOSED)->session_closed.id = session;
}

void journal_notes_forget(struct journal_notes *notes, uint64_t id)
{
	size_t kept = 0;

	notes->n_refused = 0;
	for (size_t i = 0; i < notes->n; i++) {
		if (notes->note[i].id <= id)
			continue;
		notes->n_refused += notes->note[i].type == VM_RECORD_REFUSED;
		notes->note[kept++] = notes->note[i];
	}
	notes->n = kept;
	if (!kept && notes->capacity > KEPT_CAPACITY)
		journal_notes_destroy(notes);
}
