/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A subscriber: what the daemon tells it, event by event, and that nothing is missing between two.
 */
#ifndef INTEGRATION_EVENT_CLIENT_H
#define INTEGRATION_EVENT_CLIENT_H

#include "tests/integration/control-client.h"

struct event_client {
	struct control_client *control;
	int64_t last_number; /* of the event that was received last, or 0 */
	int64_t next;        /* what the subscription was answered */
	int64_t started_us;
};

/* Connects and subscribes; params as JSON text. */
__attribute__((format(printf, 2, 3))) struct event_client events_begin(
	const struct kvmattrd *daemon, const char *params, ...);
void events_end(struct event_client *client);

/*
 * The next event's params: numbers rise, times too.  The test fails where the next line is none.  The
 * caller's to release.
 */
struct json_object *events_receive(struct event_client *client);
/* The next event is that one, of that VM, with exactly these data.  Returns its number. */
__attribute__((format(printf, 4, 5))) int64_t events_expect(struct event_client *client,
							    const char *event, const char *vm,
							    const char *data, ...);
/* The same, where data are not known beforehand; they are the caller's to release. */
struct json_object *events_expect_any(struct event_client *client, const char *event,
				      const char *vm);
/* Nothing was told that was not received: an answer asked for now is the next line. */
void events_expect_none(struct event_client *client);

#endif
