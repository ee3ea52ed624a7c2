/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A past (past-checks.h) whose journal is verified, and what came out. */
#ifndef VERIFY_CHECKS_H
#define VERIFY_CHECKS_H

#include "daemon/journal/verify.h"
#include "tests/unit/past-checks.h"

/* Of the last verify_journal(). */
extern struct verify_report report;
extern struct journal_error error;

/* A fixture. */
void verify_start(void);
void verify_stop(void);

/* Reads all of it, which has to be possible. */
void verify_now(const char *name);
void expect_whole(void);
/* There is a problem with that file, which says what to do. */
void expect_problem(const char *file, const char *part);

#endif
