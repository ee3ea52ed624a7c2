/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What kvmattrctl watch knows at one moment, for whoever shows it.
 */
#ifndef KVMATTRCTL_WATCH_H
#define KVMATTRCTL_WATCH_H

#include "client/kvmattrctl-command.h"
#include "client/kvmattrctl-sample.h"

#include <stdbool.h>
#include <stdint.h>

struct watch {
	const struct command_input *input;
	struct sample *sample; /* the last one */
	bool is_there;         /* the daemon; if not, sample is how it was */
	char *notice;          /* the last news of it, or NULL */
	char *why;             /* it is not there, as the command line would say it; or NULL */
	uint64_t n_shown;      /* intervals, as lines */
};

/* A sentence for where there is no VM to show. */
const char *watch_nobody(const struct watch *watch);

/* kvmattrctl-watch-screen.c: one screenful, for the terminal as it is now. */
void watch_draw(const struct watch *watch);

#endif
