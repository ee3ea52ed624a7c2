/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "exposition.h"

#include "daemon/allocate.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define US_PER_S UINT64_C(1000000)

__attribute__((format(printf, 2, 3))) static void add(struct exposition *exposition,
						      const char *format, ...)
{
	size_t room = exposition->capacity - exposition->n;
	va_list arguments, again;
	size_t n;

	va_start(arguments, format);
	va_copy(again, arguments);
	n = (size_t)vsnprintf(exposition->text ? exposition->text + exposition->n : NULL, room,
			      format, arguments);
	if (n >= room) {
		exposition->capacity = 2 * exposition->capacity + n + 1;
		exposition->text =
			allocate_again(exposition->text, exposition->capacity, sizeof(char));
		vsnprintf(exposition->text + exposition->n, n + 1, format, again);
	}
	exposition->n += n;
	va_end(again);
	va_end(arguments);
}

/* Help and labels: backslash and line feed are escaped, in labels the quotation mark, too. */
static void add_escaped(struct exposition *exposition, const char *text, const char *special)
{
	while (*text) {
		size_t n = strcspn(text, special);

		add(exposition, "%.*s", (int)n, text);
		text += n;
		if (!*text)
			break;
		if (*text == '\n')
			add(exposition, "\\n");
		else
			add(exposition, "\\%c", *text);
		text++;
	}
}

/* {vm="demo",le="0.5"}; nothing without labels.  limit: of a histogram's bucket, or NULL. */
static void add_labels(struct exposition *exposition, const struct exposition_label *labels,
		       const char *limit)
{
	const char *before = "{";

	for (; labels && labels->name; labels++) {
		add(exposition, "%s%s=\"", before, labels->name);
		add_escaped(exposition, labels->value, "\\\"\n");
		add(exposition, "\"");
		before = ",";
	}
	if (limit) {
		add(exposition, "%sle=\"%s\"", before, limit);
		before = ",";
	}
	if (*before == ',')
		add(exposition, "}");
}

void exposition_family(struct exposition *exposition, const char *name, enum exposition_type type,
		       const char *help)
{
	static const char *const types[] = {
		[EXPOSITION_COUNTER] = "counter",
		[EXPOSITION_GAUGE] = "gauge",
		[EXPOSITION_HISTOGRAM] = "histogram",
	};

	add(exposition, "# HELP %s ", name);
	add_escaped(exposition, help, "\\\n");
	add(exposition, "\n# TYPE %s %s\n", name, types[type]);
}

void exposition_number(struct exposition *exposition, const char *name,
		       const struct exposition_label *labels, uint64_t number)
{
	add(exposition, "%s", name);
	add_labels(exposition, labels, NULL);
	add(exposition, " %" PRIu64 "\n", number);
}

static void add_us(struct exposition *exposition, const char *name, const char *suffix,
		   const struct exposition_label *labels, uint64_t us)
{
	add(exposition, "%s%s", name, suffix);
	add_labels(exposition, labels, NULL);
	add(exposition, " %" PRIu64 ".%06" PRIu64 "\n", us / US_PER_S, us % US_PER_S);
}

void exposition_us(struct exposition *exposition, const char *name,
		   const struct exposition_label *labels, uint64_t us)
{
	add_us(exposition, name, "", labels, us);
}

static void add_bucket(struct exposition *exposition, const char *name,
		       const struct exposition_label *labels, const char *limit, uint64_t n)
{
	add(exposition, "%s_bucket", name);
	add_labels(exposition, labels, limit);
	add(exposition, " %" PRIu64 "\n", n);
}

void exposition_latency(struct exposition *exposition, const char *name,
			const struct exposition_label *labels, const struct latency *latency)
{
	unsigned int bucket = 0;
	uint64_t n = 0;

	for (unsigned int log2 = EXPOSITION_MIN_LIMIT_LOG2; log2 <= EXPOSITION_MAX_LIMIT_LOG2;
	     log2++) {
		const uint64_t limit_us = UINT64_C(1) << log2;
		char limit[32];

		/* A time in whole microseconds was up to one longer. */
		for (; latency_limit_us(bucket) < limit_us; bucket++)
			n += latency->buckets[bucket];
		snprintf(limit, sizeof(limit), "%" PRIu64 ".%06" PRIu64, limit_us / US_PER_S,
			 limit_us % US_PER_S);
		add_bucket(exposition, name, labels, limit, n);
	}
	add_bucket(exposition, name, labels, "+Inf", latency->n);
	add_us(exposition, name, "_sum", labels, latency->total_us);
	add(exposition, "%s_count", name);
	add_labels(exposition, labels, NULL);
	add(exposition, " %" PRIu64 "\n", latency->n);
}
