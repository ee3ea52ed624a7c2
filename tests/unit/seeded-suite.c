/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/seeded-suite.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static uint64_t seed;

static uint64_t choose_seed(void)
{
	const char *text = getenv("KVMATTR_TEST_SEED");
	uint32_t chosen = 0;

	if (text)
		return strtoull(text, NULL, 0);
	if (getrandom(&chosen, sizeof(chosen), 0) != (ssize_t)sizeof(chosen))
		perror("getrandom");
	return chosen;
}

int seeded_suite_run(const char *name, TCase *const *cases)
{
	Suite *suite = suite_create(name);
	SRunner *runner = srunner_create(suite);
	int n_failed;

	seed = choose_seed();
	printf("# seed %" PRIu64 "\n", seed);
	fflush(stdout); /* the tests are forked */
	for (; *cases; cases++) {
		tcase_set_timeout(*cases, 300); /* valgrind */
		suite_add_tcase(suite, *cases);
	}
	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

uint64_t seeded_suite_random(int i)
{
	return seed + (uint64_t)i * UINT64_C(0x632be59bd9b4e019);
}

uint64_t random_below(uint64_t *random, uint64_t bound) /* SplitMix64 */
{
	uint64_t x = *random += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return (x ^ x >> 31) % bound;
}

bool random_one_in(uint64_t *random, uint64_t n)
{
	return random_below(random, n) == 0;
}
