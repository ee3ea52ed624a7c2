/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A suite whose random choices come from one seed, which it prints.
 *
 * KVMATTR_TEST_SEED in the environment chooses it; otherwise it is another one each time.
 */
#ifndef SEEDED_SUITE_H
#define SEEDED_SUITE_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

#define N(array) (sizeof(array) / sizeof(*(array)))

/* For loops over pages: ck_assert_msg() writes to a file each time that it holds. */
#define EXPECT(condition, ...)                     \
	do {                                       \
		if (!(condition))                  \
			ck_abort_msg(__VA_ARGS__); \
	} while (0)

/* Runs the cases with TAP output; cases ends with NULL.  Returns main()'s result. */
int seeded_suite_run(const char *name, TCase *const *cases);

/* The state of a generator for a test's i-th run: from the seed, and another one for each i. */
uint64_t seeded_suite_random(int i);
/* 0 to bound - 1; bound is not 0. */
uint64_t random_below(uint64_t *random, uint64_t bound);
/* True once in so many times. */
bool random_one_in(uint64_t *random, uint64_t n);

#endif
