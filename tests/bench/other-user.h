/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * To be another user, who need not have a name.  Takes root.
 */
#ifndef BENCH_OTHER_USER_H
#define BENCH_OTHER_USER_H

#include <sys/types.h>

/* Why there cannot be other users here who may execute program, or NULL. */
const char *other_user_why_not(const char *program);
/* The calling process is this user from now on, in the group of the same number alone; it dies with
 * its parent as before.  Ends the process, with a message, where that fails. */
void other_user_become(uid_t uid);
/* The calling process goes before others where CPUs are short; to be called as root, by who is
 * measured. */
void other_user_go_first(void);

#endif
