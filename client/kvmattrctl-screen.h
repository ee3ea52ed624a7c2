/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The terminal as a screen that is drawn anew again and again, and given back as it was.
 *
 * Whoever watches wants out at once: keys and signals arrive at one descriptor, which others that
 * wait can watch, too.  Where stdout is no terminal there is no screen, but the signals that end the
 * program are taken all the same, so that what was written ends with a line.
 */
#ifndef KVMATTRCTL_SCREEN_H
#define KVMATTRCTL_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

enum screen_event {
	SCREEN_TIMEOUT,
	SCREEN_CHANGED, /* its size, or it was away: draw anew */
	SCREEN_QUIT,    /* q, ^C, or a signal that ends programs */
};

/* Takes over the terminal if that is wanted and can be.  It is given back at the end in any case. */
void screen_open(bool is_wanted);
void screen_close(void);
bool screen_is_there(void);
/* Readable when there is something for screen_wait() to take. */
int screen_fd(void);
/* Waits for an event, or until then (CLOCK_MONOTONIC). */
enum screen_event screen_wait(uint64_t until_ms);
uint64_t screen_now_ms(void);
void screen_size(unsigned int *ret_columns, unsigned int *ret_rows);
/* Shows these lines from the top, each cut at the edge, and nothing else. */
void screen_show(const char *lines);

#endif
