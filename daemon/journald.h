/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entries for the system's journal, made of fields, in journald's native protocol
 * (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/).
 *
 * sd_journal_send(3) says the same and waits until journald takes it.  The event loop cannot: a
 * journald that is stopped, or whose disk is full, would keep every guest waiting, and a peer that
 * makes the daemon log much would hold up all others.  So an entry that is not taken at once is
 * lost.
 *
 * Any thread.
 */
#ifndef KVMATTRD_JOURNALD_H
#define KVMATTRD_JOURNALD_H

#include <stdbool.h>
#include <stddef.h>

/* All 0: no field so far.  Fields beyond the size are left out. */
struct journald_entry {
	size_t n;
	char bytes[2048];
};

/* Is it journald that standard error goes to? */
bool journald_has_stderr(void);

/* name: as systemd.journal-fields(7) has it, in capital letters.  The value may hold any bytes. */
__attribute__((format(printf, 3, 4))) void journald_put(struct journald_entry *entry,
							const char *name, const char *format, ...);
/* To be called before the sandbox is entered; again does no harm. */
void journald_open(void);
/* Returns whether journald has taken it. */
__attribute__((warn_unused_result)) bool journald_send(const struct journald_entry *entry);

#endif
