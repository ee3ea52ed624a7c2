/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon gives up before it listens to anyone: capabilities, every system call and every
 * file that it has no use for, and what a core dump would tell of its guests.
 *
 * Whoever makes it do something that it was not written to do gets no further than its journals
 * and the sockets that it has.  systemd's unit does the same from outside, where there is systemd;
 * this goes with the daemon, wherever it is started.
 *
 * Threads take it over from who makes them, so it has to be entered before the first one is made.
 * There is no way out.
 */
#ifndef KVMATTRD_SANDBOX_H
#define KVMATTRD_SANDBOX_H

#include <stdbool.h>

/* Where it goes on to have something to do. */
struct sandbox_places {
	const char *state_dir;
	const char *runtime_dir; /* only to remove what is in it */
	const char *config;      /* a file to be read anew, or NULL */
};

/* False where the runtime of the compiler's sanitizers is built in, which cannot live there. */
extern const bool sandbox_is_built_in;

/*
 * Returns 0, or a negative errno, which has been logged: then part of it may be in force.  A kernel
 * that has no Landlock is no error.
 */
__attribute__((warn_unused_result)) int sandbox_enter(const struct sandbox_places *places);

#endif
