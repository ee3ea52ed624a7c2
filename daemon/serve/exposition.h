/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Metrics as Prometheus reads them: its text format, version 0.0.4.
 *
 *	# HELP kvmattr_pages_total Pages of the elements that came into force.
 *	# TYPE kvmattr_pages_total counter
 *	kvmattr_pages_total{vm="demo"} 4096
 *
 * Knows how a line is written, not which there are.  The source:
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */
#ifndef KVMATTRD_EXPOSITION_H
#define KVMATTRD_EXPOSITION_H

#include "daemon/latency.h"

#include <stddef.h>
#include <stdint.h>

#define EXPOSITION_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* All 0: empty. */
struct exposition {
	char *text; /* whoever has it frees it */
	size_t n;
	size_t capacity;
};

enum exposition_type { EXPOSITION_COUNTER, EXPOSITION_GAUGE, EXPOSITION_HISTOGRAM };

struct exposition_label {
	const char *name; /* NULL behind the last */
	const char *value;
};

/* A family begins; all of its samples follow before the next one's. */
void exposition_family(struct exposition *exposition, const char *name, enum exposition_type type,
		       const char *help);

/* A sample each; labels NULL: none. */
void exposition_number(struct exposition *exposition, const char *name,
		       const struct exposition_label *labels, uint64_t number);
/* In seconds, to the microsecond. */
void exposition_us(struct exposition *exposition, const char *name,
		   const struct exposition_label *labels, uint64_t us);

/* A histogram's samples, in seconds: buckets at powers of two of a microsecond, sum and count. */
#define EXPOSITION_MIN_LIMIT_LOG2 3  /* 8 us */
#define EXPOSITION_MAX_LIMIT_LOG2 25 /* 33 s */
void exposition_latency(struct exposition *exposition, const char *name,
			const struct exposition_label *labels, const struct latency *latency);

#endif
