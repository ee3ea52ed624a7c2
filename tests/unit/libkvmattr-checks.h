/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of libkvmattr do over and over: connect, submit, look at what was completed. */
#ifndef LIBKVMATTR_CHECKS_H
#define LIBKVMATTR_CHECKS_H

#include "protocol/wire.h"
#include "tests/unit/scripted-daemon.h"

#include <kvmattr.h>

#include <check.h>
#include <stddef.h>
#include <stdint.h>

#define N(array)    ((int)(sizeof(array) / sizeof(*(array))))
#define ANY_WINDOW  1024
#define MAX_RECORDS 8192

/* What a completion was told. */
struct completion {
	uintptr_t context;
	uint64_t seqno;
	uint64_t commit;
	int status;
	uint32_t n_in_force;
	char text[128];
};

/* In their order. */
extern struct completion completions[MAX_RECORDS];
extern size_t n_completions;

/* GFNs for updates: 7, 3, 5, 9, and zeros. */
extern const uint64_t gfns[KVMATTR_MAX_PAGES];

/* A test case whose tests have to leave no descriptor open, whatever their daemon did. */
TCase *checks_make_case(const char *name);
/* Runs them with TAP output; cases ends with NULL.  Returns main()'s result. */
int checks_run(const char *name, TCase *const *cases);

struct kvmattr *connect_to(const struct scripted_daemon *daemon);
/* kvmattr_message() says this, among other things. */
void expect_message(const struct kvmattr *c, const char *part);

/* Of this process. */
int n_threads(void);

/* A kvmattr_done that appends to completions. */
void record(void *context, const struct kvmattr_answer *answer);
/* RX for the first n of gfns. */
struct kvmattr_update protect_pages(uint32_t n);
/* Submits so many updates of n_pages each; over the test, their contexts are 1, 2 and so on. */
void submit(struct kvmattr *c, size_t n, uint32_t n_pages);
/* Exactly the first n were completed, in order, with that status. */
void expect_completions(size_t n, int status);

struct wire_failure failure(uint64_t seqno, enum kvmattr_status status, uint32_t n_in_force,
			    const char *text);

#endif
