/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "latency.h"

#include <assert.h>

/* Of a time, its highest bit and the three below it choose the bucket. */
#define STEP_BITS 3
#define N_STEPS   (1u << STEP_BITS)
/* Below it, every microsecond has a bucket. */
#define N_EXACT 16u
/* Its highest bit. */
#define EXACT_BIT 4u

#define MILLION 1000000u

static unsigned int bucket_of(uint64_t us)
{
	unsigned int highest, bucket;

	if (us < N_EXACT)
		return (unsigned int)us;
	highest = 63u - (unsigned int)__builtin_clzll(us);
	bucket = N_EXACT + (highest - EXACT_BIT) * N_STEPS +
		 (unsigned int)(us >> (highest - STEP_BITS) & (N_STEPS - 1));
	return bucket < LATENCY_N_BUCKETS ? bucket : LATENCY_N_BUCKETS - 1;
}

uint64_t latency_limit_us(unsigned int bucket)
{
	unsigned int highest, step;

	assert(bucket < LATENCY_N_BUCKETS);
	if (bucket < N_EXACT)
		return bucket;
	if (bucket == LATENCY_N_BUCKETS - 1)
		return UINT64_MAX;
	highest = EXACT_BIT + (bucket - N_EXACT) / N_STEPS;
	step = (bucket - N_EXACT) % N_STEPS;
	return ((uint64_t)(N_STEPS + step + 1) << (highest - STEP_BITS)) - 1;
}

void latency_add(struct latency *latency, uint64_t us)
{
	latency->n++;
	latency->total_us += us;
	if (us > latency->max_us)
		latency->max_us = us;
	latency->buckets[bucket_of(us)]++;
}

void latency_subtract(struct latency *latency, const struct latency *earlier)
{
	latency->n -= earlier->n;
	latency->total_us -= earlier->total_us;
	for (unsigned int i = 0; i < LATENCY_N_BUCKETS; i++)
		latency->buckets[i] -= earlier->buckets[i];
}

uint64_t latency_quantile_us(const struct latency *latency, unsigned int per_million)
{
	uint64_t rank, n = 0;

	assert(per_million <= MILLION);
	if (!latency->n)
		return 0;
	/* Of n times in their order, the one of this place, from 1 on: so many are not longer. */
	rank = latency->n / MILLION * per_million +
	       (latency->n % MILLION * per_million + MILLION - 1) / MILLION;
	if (!rank)
		rank = 1;
	for (unsigned int i = 0; i < LATENCY_N_BUCKETS; i++) {
		uint64_t limit_us = latency_limit_us(i);

		n += latency->buckets[i];
		if (n >= rank)
			return limit_us < latency->max_us ? limit_us : latency->max_us;
	}
	return latency->max_us;
}
