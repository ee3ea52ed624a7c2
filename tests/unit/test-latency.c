/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A histogram of times against all of the times in an array, sorted.
 */
#include "daemon/latency.h"
#include "tests/unit/seeded-suite.h"

#include <stdint.h>
#include <stdlib.h>

#define N_TIMES 5000u
/* The last bucket's start: what is longer is not told apart. */
#define LONGEST_US ((UINT64_C(15) << 30) - 1)

static const unsigned int quantiles[] = { 0, 1, 500000, 900000, 990000, 999000, 999999, 1000000 };

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Any magnitude is as likely as any other. */
static uint64_t random_time(uint64_t *random)
{
	return random_below(random, LONGEST_US >> random_below(random, 34)) + 1;
}

static uint64_t sum(const struct latency *latency)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < LATENCY_N_BUCKETS; i++)
		n += latency->buckets[i];
	return n;
}

/* The time that so many of a million of the sorted ones do not exceed: the least such. */
static uint64_t quantile(const uint64_t *sorted, size_t n, unsigned int per_million)
{
	size_t i = 0;

	while ((i + 1) * UINT64_C(1000000) < n * (uint64_t)per_million)
		i++;
	return sorted[i];
}

static void expect_quantiles(const struct latency *latency, const uint64_t *sorted, size_t n)
{
	for (size_t i = 0; i < N(quantiles); i++) {
		const uint64_t exact = quantile(sorted, n, quantiles[i]);
		const uint64_t told = latency_quantile_us(latency, quantiles[i]);

		EXPECT(told >= exact && told - exact <= exact / 8,
		       "%u of a million: %llu is told for %llu", quantiles[i],
		       (unsigned long long)told, (unsigned long long)exact);
	}
}

START_TEST(a_quantile_is_that_of_the_sorted_times_or_up_to_an_eighth_more)
{
	uint64_t random = seeded_suite_random(_i), total_us = 0;
	const size_t n = 1 + random_below(&random, _i % 2 ? 20 : N_TIMES);
	struct latency latency = { 0 };
	uint64_t times[N_TIMES];

	for (size_t i = 0; i < n; i++) {
		times[i] = random_time(&random);
		total_us += times[i];
		latency_add(&latency, times[i]);
	}
	qsort(times, n, sizeof(*times), compare);
	ck_assert_uint_eq(latency.n, n);
	ck_assert_uint_eq(sum(&latency), n);
	ck_assert_uint_eq(latency.total_us, total_us);
	ck_assert_uint_eq(latency.max_us, times[n - 1]);
	expect_quantiles(&latency, times, n);
	ck_assert_uint_eq(latency_quantile_us(&latency, 1000000), times[n - 1]);
}
END_TEST

START_TEST(a_time_is_within_its_buckets_limit_and_above_the_one_before)
{
	uint64_t random = seeded_suite_random(_i);

	for (unsigned int i = 0; i < 10000; i++) {
		const uint64_t us = random_below(&random, 4) ? random_time(&random) : i;
		struct latency latency = { 0 };
		unsigned int bucket = 0;

		latency_add(&latency, us);
		while (!latency.buckets[bucket])
			bucket++;
		EXPECT(us <= latency_limit_us(bucket), "%llu is in bucket %u",
		       (unsigned long long)us, bucket);
		EXPECT(bucket == 0 || us > latency_limit_us(bucket - 1), "%llu is in bucket %u",
		       (unsigned long long)us, bucket);
	}
}
END_TEST

START_TEST(limits_rise_by_an_eighth_at_most_and_meet_every_power_of_two)
{
	unsigned int n_powers = 0;

	ck_assert_uint_eq(latency_limit_us(0), 0);
	for (unsigned int i = 1; i < LATENCY_N_BUCKETS - 1; i++) {
		const uint64_t before = latency_limit_us(i - 1), limit = latency_limit_us(i);

		ck_assert_uint_gt(limit, before);
		ck_assert_uint_le(limit - before, 1 + before / 8);
		n_powers += ((limit + 1) & limit) == 0;
	}
	ck_assert_uint_eq(n_powers, 33); /* 2 us to 2^33 us */
	ck_assert_uint_eq(latency_limit_us(LATENCY_N_BUCKETS - 1), UINT64_MAX);
}
END_TEST

START_TEST(the_longest_times_are_all_in_the_last_bucket)
{
	static const uint64_t times[] = { LONGEST_US + 1, UINT64_C(1) << 34, UINT64_C(1) << 40,
					  UINT64_MAX / 8 };
	struct latency latency = { 0 };

	for (size_t i = 0; i < N(times); i++)
		latency_add(&latency, times[i]);
	ck_assert_uint_eq(latency.buckets[LATENCY_N_BUCKETS - 1], N(times));
	ck_assert_uint_eq(latency_quantile_us(&latency, 500000), UINT64_MAX / 8);
}
END_TEST

START_TEST(what_is_left_after_subtraction_was_added_since)
{
	uint64_t random = seeded_suite_random(_i);
	struct latency all = { 0 }, earlier, since = { 0 };

	for (unsigned int i = 0; i < 1000; i++)
		latency_add(&all, random_time(&random));
	earlier = all;
	for (unsigned int i = 0; i < 1000; i++) {
		const uint64_t us = random_time(&random);

		latency_add(&all, us);
		latency_add(&since, us);
	}
	latency_subtract(&all, &earlier);
	ck_assert_uint_eq(all.n, since.n);
	ck_assert_uint_eq(all.total_us, since.total_us);
	for (unsigned int i = 0; i < LATENCY_N_BUCKETS; i++)
		ck_assert_uint_eq(all.buckets[i], since.buckets[i]);
}
END_TEST

START_TEST(of_nothing_every_quantile_is_nothing)
{
	const struct latency latency = { 0 };

	for (size_t i = 0; i < N(quantiles); i++)
		ck_assert_uint_eq(latency_quantile_us(&latency, quantiles[i]), 0);
}
END_TEST

int main(void)
{
	TCase *times = tcase_create("times");

	tcase_add_loop_test(times, a_quantile_is_that_of_the_sorted_times_or_up_to_an_eighth_more,
			    0, 100);
	tcase_add_loop_test(times, a_time_is_within_its_buckets_limit_and_above_the_one_before, 0,
			    4);
	tcase_add_test(times, limits_rise_by_an_eighth_at_most_and_meet_every_power_of_two);
	tcase_add_test(times, the_longest_times_are_all_in_the_last_bucket);
	tcase_add_loop_test(times, what_is_left_after_subtraction_was_added_since, 0, 4);
	tcase_add_test(times, of_nothing_every_quantile_is_nothing);
	return seeded_suite_run("latency", (TCase *[]){ times, NULL });
}
