/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "events.h"

#include "daemon.h"
#include "daemon/allocate.h"
#include "json-put.h"

#include <assert.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

const char *const event_names[] = {
#define X(name, text, summary) text,
	EVENTS(X)
#undef X
		NULL,
};

struct kept_event {
	TAILQ_ENTRY(kept_event) list;
	uint64_t number;
	enum event_kind kind;
	char vm[KVMATTR_NAME_SIZE];
	size_t size;
	char line[];
};

struct subscription {
	LIST_ENTRY(subscription) list;
	struct events *events;
	struct event_filter filter;
	void (*wake)(void *context);
	void *context;
	struct kept_event *next; /* one that it has asked for; NULL: there is none so far */
	/* Events that it has asked for and that were dropped while they were its next. */
	uint64_t n_missed;
	uint64_t first_missed;
	uint64_t last_missed;
	bool is_over;
	char last_line[192];
};

struct events {
	uint64_t wanted; /* set of the kinds that any subscription has asked for */
	uint64_t next_number;
	uint64_t n_missed;
	TAILQ_HEAD(, kept_event) kept; /* the oldest first */
	size_t n_kept;
	size_t n_bytes; /* of their lines */
	LIST_HEAD(, subscription) subscriptions;
	unsigned int n_subscriptions;
};

static_assert(N_EVENTS <= 64, "sets of kinds have 64 bits");

struct events *events_new(void)
{
	struct events *events = allocate_one(struct events);

	events->next_number = 1;
	TAILQ_INIT(&events->kept);
	LIST_INIT(&events->subscriptions);
	return events;
}

void events_free(struct events *events)
{
	struct kept_event *event;

	if (!events)
		return;
	assert(LIST_EMPTY(&events->subscriptions));
	while ((event = TAILQ_FIRST(&events->kept))) {
		TAILQ_REMOVE(&events->kept, event, list);
		free(event);
	}
	free(events);
}

struct events_status events_status(const struct events *events)
{
	const struct kept_event *oldest = TAILQ_FIRST(&events->kept);

	return (struct events_status){
		.next = events->next_number,
		.oldest = oldest ? oldest->number : events->next_number,
		.n_missed = events->n_missed,
		.n_subscriptions = events->n_subscriptions,
	};
}

/* ---- What a subscription asks for ------------------------------------------------------------ */

static bool wants(const struct subscription *subscription, enum event_kind kind, const char *vm)
{
	const struct event_filter *filter = &subscription->filter;

	return filter->kinds >> kind & 1 && (!*filter->vm || !strcmp(filter->vm, vm));
}

bool events_are_wanted(const struct events *events, enum event_kind kind, const char *vm)
{
	const struct subscription *subscription;

	if (!(events->wanted >> kind & 1))
		return false;
	LIST_FOREACH (subscription, &events->subscriptions, list)
		if (wants(subscription, kind, vm))
			return true;
	return false;
}

static void note_wanted(struct events *events)
{
	const struct subscription *subscription;

	events->wanted = 0;
	LIST_FOREACH (subscription, &events->subscriptions, list)
		events->wanted |= subscription->filter.kinds;
}

/* This event, or the first one behind it, that the subscription asks for. */
static struct kept_event *find_wanted(const struct subscription *subscription,
				      struct kept_event *event)
{
	while (event && !wants(subscription, event->kind, event->vm))
		event = TAILQ_NEXT(event, list);
	return event;
}

/* ---- What happens ---------------------------------------------------------------------------- */

static void miss(struct subscription *subscription)
{
	struct kept_event *event = subscription->next;

	subscription->next = find_wanted(subscription, TAILQ_NEXT(event, list));
	subscription->events->n_missed++;
	subscription->last_missed = event->number;
	if (subscription->n_missed++)
		return;
	subscription->first_missed = event->number;
	subscription->wake(subscription->context);
}

static void drop_oldest(struct events *events)
{
	struct kept_event *event = TAILQ_FIRST(&events->kept);
	struct subscription *subscription;

	LIST_FOREACH (subscription, &events->subscriptions, list)
		if (subscription->next == event)
			miss(subscription);
	TAILQ_REMOVE(&events->kept, event, list);
	events->n_kept--;
	events->n_bytes -= event->size;
	free(event);
}

static struct kept_event *make_event(uint64_t number, enum event_kind kind, const char *vm,
				     struct json_object *data)
{
	struct json_object *line = json_put_there(json_object_new_object()), *params;
	struct kept_event *event;
	const char *text;
	size_t size;

	json_put_text(line, "jsonrpc", "2.0");
	json_put_text(line, "method", "event");
	params = json_put_new(line, "params");
	json_put_number(params, "number", number);
	json_put_number(params, "time_us", clock_now_us(CLOCK_REALTIME));
	json_put_text(params, "event", event_names[kind]);
	json_put_text(params, "vm", vm);
	json_put(params, "data", data);
	text = json_object_to_json_string_length(
		line, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
	assert(text);
	event = allocate_zeroed(1, sizeof(*event) + size + 1);
	event->number = number;
	event->kind = kind;
	snprintf(event->vm, sizeof(event->vm), "%s", vm);
	memcpy(event->line, text, size);
	event->line[size] = '\n';
	event->size = size + 1;
	json_object_put(line);
	return event;
}

void events_emit(struct events *events, enum event_kind kind, const char *vm,
		 struct json_object *data)
{
	struct kept_event *event = make_event(events->next_number++, kind, vm, data);
	struct subscription *subscription;

	TAILQ_INSERT_TAIL(&events->kept, event, list);
	events->n_kept++;
	events->n_bytes += event->size;
	LIST_FOREACH (subscription, &events->subscriptions, list) {
		if (subscription->next || !wants(subscription, kind, vm))
			continue;
		subscription->next = event;
		subscription->wake(subscription->context);
	}
	while (events->n_kept > EVENTS_MAX_KEPT || events->n_bytes > EVENTS_MAX_KEPT_BYTES)
		drop_oldest(events);
}

/* ---- One subscription ------------------------------------------------------------------------ */

struct subscription *events_subscribe(struct events *events, const struct event_filter *filter,
				      uint64_t first, void (*wake)(void *context), void *context)
{
	struct subscription *subscription = allocate_one(struct subscription);
	struct kept_event *event = NULL;

	subscription->events = events;
	subscription->filter = *filter;
	subscription->wake = wake;
	subscription->context = context;
	if (first < events->next_number)
		event = TAILQ_FIRST(&events->kept);
	while (event && event->number < first)
		event = TAILQ_NEXT(event, list);
	subscription->next = find_wanted(subscription, event);
	LIST_INSERT_HEAD(&events->subscriptions, subscription, list);
	events->n_subscriptions++;
	note_wanted(events);
	if (subscription->next)
		wake(context);
	return subscription;
}

void subscription_free(struct subscription *subscription)
{
	struct events *events;

	if (!subscription)
		return;
	events = subscription->events;
	LIST_REMOVE(subscription, list);
	events->n_subscriptions--;
	note_wanted(events);
	free(subscription);
}

static const char *say_missed(struct subscription *subscription, size_t *ret_size)
{
	int size = snprintf(subscription->last_line, sizeof(subscription->last_line),
			    "{\"jsonrpc\":\"2.0\",\"method\":\"event.missed\",\"params\":{"
			    "\"missed\":%" PRIu64 ",\"first\":%" PRIu64 ",\"last\":%" PRIu64 "}}\n",
			    subscription->n_missed, subscription->first_missed,
			    subscription->last_missed);

	*ret_size = (size_t)size;
	subscription->is_over = true;
	return subscription->last_line;
}

const char *subscription_next(struct subscription *subscription, size_t *ret_size)
{
	const struct kept_event *event = subscription->next;

	if (subscription->is_over)
		return NULL;
	if (subscription->n_missed)
		return say_missed(subscription, ret_size);
	if (!event)
		return NULL;
	subscription->next = find_wanted(subscription, TAILQ_NEXT(event, list));
	*ret_size = event->size;
	return event->line;
}

bool subscription_has_missed(const struct subscription *subscription)
{
	return subscription->n_missed && !subscription->is_over;
}

bool subscription_is_over(const struct subscription *subscription)
{
	return subscription->is_over;
}
