/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Figures that were measured, and what is told of many: their median and other quantiles.
 */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

#include <stddef.h>

/* Monotonic. */
double samples_now_us(void);

void samples_sort(double *samples, size_t n);
/* Of samples that are sorted: the one below which that part of them is; 0.5 for their median. */
double samples_quantile(const double *samples, size_t n, double part);
/* Sorts them. */
double samples_median(double *samples, size_t n);

#endif
