/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long things took: a histogram whose buckets grow with the time, so that a percentile is at
 * most an eighth too high, from a microsecond to hours.
 *
 * Plain numbers: copied, subtracted, compared like any others.  No clock of its own.
 */
#ifndef KVMATTRD_LATENCY_H
#define KVMATTRD_LATENCY_H

#include <stdint.h>

/* Eight buckets for each power of two; the first sixteen are a microsecond wide. */
#define LATENCY_N_BUCKETS 256u

struct latency {
	uint64_t n;
	uint64_t total_us;
	uint64_t max_us;
	uint64_t buckets[LATENCY_N_BUCKETS];
};

void latency_add(struct latency *latency, uint64_t us);
/* Leaves what was added since it was as earlier; max_us stays. */
void latency_subtract(struct latency *latency, const struct latency *earlier);
/* The longest time, in us, that falls into a bucket; UINT64_MAX for the last. */
uint64_t latency_limit_us(unsigned int bucket);
/* What so many of a million took at most, from 0 to 1,000,000; 0 if nothing was added. */
uint64_t latency_quantile_us(const struct latency *latency, unsigned int per_million);

#endif
