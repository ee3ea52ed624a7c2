/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/bench/samples.h"

#include <stdlib.h>
#include <time.h>

double samples_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double one = *(const double *)a, other = *(const double *)b;

	return (one > other) - (one < other);
}

void samples_sort(double *samples, size_t n)
{
	qsort(samples, n, sizeof(*samples), compare);
}

double samples_quantile(const double *samples, size_t n, double part)
{
	size_t i = (size_t)((double)n * part);

	if (!n)
		return 0;
	return samples[i < n ? i : n - 1];
}

double samples_median(double *samples, size_t n)
{
	samples_sort(samples, n);
	return samples_quantile(samples, n, 0.5);
}
