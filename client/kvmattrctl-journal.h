/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parts of what the journal says that more than one command shows.
 */
#ifndef KVMATTRCTL_JOURNAL_H
#define KVMATTRCTL_JOURNAL_H

#include "client/kvmattrctl-writer.h"

#include <json-c/json_types.h>

/*
 * Two columns: microseconds for programs, "2026-01-31 12:00:00" for people; nothing if it is not
 * known.
 */
void journal_write_time(struct writer *writer, struct json_object *object, const char *key);
/* A page's, of an object's member: "rx, private"; "no RAM". */
void journal_write_attributes(struct writer *writer, const char *key, const char *label,
			      struct json_object *object, const char *name);

#endif
