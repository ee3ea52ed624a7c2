/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An event of the daemon's as a sentence.
 */
#ifndef KVMATTRCTL_EVENT_TEXT_H
#define KVMATTRCTL_EVENT_TEXT_H

#include "client/kvmattrctl-writer.h"

#include <json-c/json_types.h>

/*
 * What happened, of an event's params; the caller's to free, and not made safe yet.  *ret_tone is
 * how grave it is.  One that this kvmattrctl does not know is its name and its data.
 */
char *event_text(struct json_object *params, enum writer_tone *ret_tone);

#endif
