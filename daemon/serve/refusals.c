/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "refusals.h"

#include "daemon/allocate.h"

#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>

const char *const refusal_names[] = {
#define X(name, text) text,
	REFUSALS(X)
#undef X
};

static const enum log_id ids[] = {
#define X(name, text) LOG_ID_##name,
	REFUSALS(X)
#undef X
};

/* Those of a kind. */
struct tally {
	uint64_t n;
	unsigned int n_in_window;
};

struct refusals {
	struct tally tallies[N_REFUSALS];
	struct event *window_end; /* pending while there is a window */
};

static void end_window(evutil_socket_t unused, short events, void *context)
{
	struct refusals *refusals = context;

	(void)unused;
	(void)events;
	for (unsigned int i = 0; i < N_REFUSALS; i++) {
		struct tally *tally = &refusals->tallies[i];

		if (tally->n_in_window > REFUSALS_LOGGED)
			log_with_id(LOG_ID_REFUSALS_LEFT_OUT, LOG_ABOUT_NOTHING,
				    "%u more refusals in the last %d s were not logged one by one "
				    "(%s)",
				    tally->n_in_window - REFUSALS_LOGGED, REFUSALS_WINDOW_S,
				    refusal_names[i]);
		tally->n_in_window = 0;
	}
}

struct refusals *refusals_new(struct event_base *base)
{
	struct refusals *refusals = allocate_one(struct refusals);

	refusals->window_end = evtimer_new(base, end_window, refusals);
	return refusals;
}

void refusals_free(struct refusals *refusals)
{
	if (!refusals)
		return;
	event_free(refusals->window_end);
	free(refusals);
}

void refusals_log(struct refusals *refusals, enum refusal kind, struct log_about about,
		  const char *format, ...)
{
	static const struct timeval window = { REFUSALS_WINDOW_S, 0 };
	struct tally *tally = &refusals->tallies[kind];
	char text[512];
	va_list arguments;

	tally->n++;
	if (!evtimer_pending(refusals->window_end, NULL))
		evtimer_add(refusals->window_end, &window);
	if (++tally->n_in_window > REFUSALS_LOGGED)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	log_with_id(ids[kind], about, "%s", text);
}

uint64_t refusals_count(const struct refusals *refusals, enum refusal kind)
{
	return refusals->tallies[kind].n;
}
