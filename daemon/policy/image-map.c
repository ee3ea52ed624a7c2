/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "image-map.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LEAF_PAGES ATTRIBUTE_MAP_LEAF_PAGES

enum span_form {
	SPAN_UNIFORM = 0, /* n_leaves leaves of value; the longest such span there is */
	SPAN_RUNS = 1,    /* one leaf of value, but for n_runs runs, which follow; in order */
	SPAN_BYTES = 2,   /* one leaf of which more runs differ from its first page; bytes follow */
};

struct span {
	uint64_t gfn; /* a leaf's first */
	uint32_t n_leaves;
	uint8_t form;    /* enum span_form */
	uint8_t value;   /* of SPAN_RUNS: what the leaf's first page holds; 0 for SPAN_BYTES */
	uint16_t n_runs; /* of SPAN_RUNS, 1 to MAX_RUNS; else 0 */
};
_Static_assert(sizeof(struct span) == 16, "layout");

/* A run is a word: what its pages hold, which page of the leaf is the first, how many follow it. */
#define RUN_PLACE_SHIFT 8
#define RUN_MORE_SHIFT  20
#define RUN_PLACE_MASK  (LEAF_PAGES - 1)
#define RUN_RESERVED    UINT32_C(0xe00e0000)
#define MAX_RUNS        64u

_Static_assert((0xffu | RUN_PLACE_MASK << RUN_PLACE_SHIFT | RUN_PLACE_MASK << RUN_MORE_SHIFT) ==
		       (uint32_t)~RUN_RESERVED,
	       "a run's fields");
_Static_assert(MAX_RUNS * sizeof(uint32_t) <= LEAF_PAGES / 2, "runs save space");

/* ---- Runs ------------------------------------------------------------------------------------ */

/* The first page of a leaf from i on that does not hold value, or the leaf's end. */
static inline unsigned int find_other(const uint8_t *page, unsigned int i, uint8_t value)
{
	for (; i + 8 <= LEAF_PAGES; i += 8) {
		uint64_t word;

		memcpy(&word, page + i, sizeof(word));
		word ^= value * UINT64_C(0x0101010101010101);
		if (word)
			return i + (unsigned int)__builtin_ctzll(word) / 8;
	}
	while (i < LEAF_PAGES && page[i] == value)
		i++;
	return i;
}

/* The runs in which a leaf differs from its first page.  Returns how many; MAX_RUNS + 1: more. */
static unsigned int find_runs(const uint8_t *page, uint32_t *ret_runs)
{
	unsigned int n = 0, end;

	for (unsigned int i = find_other(page, 1, page[0]); i < LEAF_PAGES;
	     i = find_other(page, end, page[0])) {
		end = find_other(page, i + 1, page[i]);
		if (n == MAX_RUNS)
			return n + 1;
		ret_runs[n++] = page[i] | i << RUN_PLACE_SHIFT | (end - i - 1) << RUN_MORE_SHIFT;
	}
	return n;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void add_leaf(struct image *image, uint64_t gfn, const uint8_t *page)
{
	struct span span = { .gfn = gfn, .n_leaves = 1 };
	uint32_t runs[MAX_RUNS];
	unsigned int n_runs = find_runs(page, runs);

	if (n_runs > MAX_RUNS) {
		span.form = SPAN_BYTES;
		image_add(image, &span, sizeof(span));
		image_add(image, page, LEAF_PAGES);
	} else {
		span.form = SPAN_RUNS;
		span.value = page[0];
		span.n_runs = (uint16_t)n_runs;
		image_add(image, &span, sizeof(span));
		image_add(image, runs, n_runs * sizeof(*runs));
	}
}

/* Returns how many spans that were: none where there is nothing but 0. */
static uint32_t add_uniform(struct image *image, const struct span *span)
{
	if (!span->value)
		return 0;
	image_add(image, span, sizeof(*span));
	return 1;
}

uint32_t image_add_spans(struct image *image, const struct attribute_map *map)
{
	struct span uniform = { 0 }; /* not yet added, since it may get longer */
	struct attribute_span found;
	uint32_t n_spans = 0;

	for (uint64_t gfn = 0; gfn < KVMATTR_GFN_LIMIT; gfn = found.end) {
		found = attribute_map_span(map, gfn, KVMATTR_GFN_LIMIT);
		if (found.bytes || found.value != uniform.value) {
			n_spans += add_uniform(image, &uniform);
			uniform = (struct span){ .gfn = gfn };
		}
		if (found.bytes) {
			add_leaf(image, gfn, found.bytes);
			n_spans++;
		} else {
			uniform.value = found.value;
			uniform.n_leaves += (uint32_t)((found.end - gfn) / LEAF_PAGES);
		}
	}
	return n_spans + add_uniform(image, &uniform);
}

/* ---- Reading --------------------------------------------------------------------------------- */

int image_refuse(const struct image_reading *reading, size_t offset, const char *format, ...)
{
	va_list arguments;

	*reading->ret_offset = offset;
	va_start(arguments, format);
	vsnprintf(reading->text, reading->text_size, format, arguments);
	va_end(arguments);
	return -EBADMSG;
}

int image_take(struct image_reading *reading, void *ret, size_t size)
{
	if (reading->size - reading->at < size) {
		memset(ret, 0, size);
		return image_refuse(reading, reading->size, "the policy's image ends too early");
	}
	memcpy(ret, reading->data + reading->at, size);
	reading->at += size;
	return 0;
}

static int refuse_value(const struct image_reading *reading, size_t offset, uint64_t gfn,
			uint8_t value)
{
	return image_refuse(reading, offset, "GFN 0x%" PRIx64 ": nothing holds 0x%x here", gfn,
			    value);
}

/* What is next, if it is all there; NULL: it is not. */
static const uint8_t *take_all(struct image_reading *reading, size_t size)
{
	const uint8_t *taken = reading->data + reading->at;

	if (reading->size - reading->at < size) {
		(void)image_refuse(reading, reading->size, "the policy's image ends too early");
		return NULL;
	}
	reading->at += size;
	return taken;
}

static int read_runs(struct image_reading *reading, const struct image_map_rules *rules,
		     const struct span *span, uint8_t *page)
{
	const size_t at = reading->at;
	const uint8_t *bytes = take_all(reading, span->n_runs * sizeof(uint32_t));
	unsigned int end = 1;

	if (!bytes)
		return -EBADMSG;
	memset(page, span->value, LEAF_PAGES);
	for (size_t i = 0; i < span->n_runs; i++) {
		const size_t offset = i * sizeof(uint32_t);
		unsigned int place, n;
		uint8_t value;
		uint32_t run;

		memcpy(&run, bytes + offset, sizeof(run));
		value = (uint8_t)run;
		place = run >> RUN_PLACE_SHIFT & RUN_PLACE_MASK;
		n = (run >> RUN_MORE_SHIFT & RUN_PLACE_MASK) + 1;
		/* as find_runs() finds them: not two for what is one, none for what the leaf says */
		if (run & RUN_RESERVED || place < end || n > LEAF_PAGES - place ||
		    value == span->value || (place == end && value == page[place - 1]))
			return image_refuse(reading, at + offset,
					    "GFN 0x%" PRIx64 ": 0x%x is no run of its leaf",
					    span->gfn, run);
		if (!rules->is_value[value])
			return refuse_value(reading, at + offset, span->gfn + place, value);
		if (n == 1)
			page[place] = value;
		else
			memset(page + place, value, n);
		end = place + n;
	}
	return 0;
}

/* As find_runs() counts them; without branches, so that it is vectorized. */
static unsigned int count_runs(const uint8_t *page)
{
	uint16_t n = 0;

	for (unsigned int i = 1; i < LEAF_PAGES; i++)
		n = (uint16_t)(n + ((page[i] != page[i - 1]) & (page[i] != page[0])));
	return n;
}

static int read_bytes(struct image_reading *reading, const struct image_map_rules *rules,
		      const struct span *span, const uint8_t **ret_page)
{
	const size_t at = reading->at;
	const uint8_t *page = take_all(reading, LEAF_PAGES);
	bool is_good = true;

	if (!page)
		return -EBADMSG;
	if (count_runs(page) <= MAX_RUNS)
		return image_refuse(reading, at,
				    "GFN 0x%" PRIx64 ": a leaf of few runs is not written so",
				    span->gfn);
	for (unsigned int i = 0; i < LEAF_PAGES; i++)
		is_good &= rules->is_value[page[i]];
	for (unsigned int i = 0; !is_good; i++)
		if (!rules->is_value[page[i]])
			return refuse_value(reading, at + i, span->gfn + i, page[i]);
	*ret_page = page;
	return 0;
}

static uint64_t span_end(const struct span *span)
{
	return span->gfn + (uint64_t)span->n_leaves * LEAF_PAGES;
}

/* Is what the form needs there, and nothing else? */
static bool has_form(const struct span *span)
{
	switch (span->form) {
	case SPAN_UNIFORM:
		return span->value && !span->n_runs;
	case SPAN_RUNS:
		return span->n_leaves == 1 && span->n_runs && span->n_runs <= MAX_RUNS;
	case SPAN_BYTES:
		return span->n_leaves == 1 && !span->value && !span->n_runs;
	default:
		return false;
	}
}

/* Can this span, which begins at offset at, be the one behind last? */
static int check_span(const struct image_reading *reading, const struct image_map_rules *rules,
		      const struct span *last, const struct span *span, size_t at)
{
	if (span->gfn >= KVMATTR_GFN_LIMIT || span->gfn % LEAF_PAGES || !span->n_leaves ||
	    span->n_leaves > (KVMATTR_GFN_LIMIT - span->gfn) / LEAF_PAGES || !has_form(span))
		return image_refuse(reading, at, "no span of a map begins like this");
	if (span->gfn < span_end(last))
		return image_refuse(reading, at,
				    "GFN 0x%" PRIx64 ": the span before this one is not before it",
				    span->gfn);
	if (span->form == SPAN_UNIFORM && last->form == SPAN_UNIFORM &&
	    span->gfn == span_end(last) && span->value == last->value)
		return image_refuse(reading, at, "GFN 0x%" PRIx64 ": two spans for what is one",
				    span->gfn);
	if (!rules->is_value[span->value])
		return refuse_value(reading, at, span->gfn, span->value);
	return 0;
}

/* Reads the span behind *last, which it becomes. */
static int read_span(struct image_reading *reading, const struct image_map_rules *rules,
		     struct span *last, struct attribute_map *map)
{
	uint8_t leaf[LEAF_PAGES];
	struct image_pages pages = { .offset = reading->at };
	struct span span;
	int r = image_take(reading, &span, sizeof(span));

	if (r == 0)
		r = check_span(reading, rules, last, &span, pages.offset);
	if (r == 0 && span.form == SPAN_RUNS) {
		r = read_runs(reading, rules, &span, leaf);
		pages.bytes = leaf;
	} else if (r == 0 && span.form == SPAN_BYTES) {
		r = read_bytes(reading, rules, &span, &pages.bytes);
	}
	if (r < 0)
		return r;
	pages.gfn = span.gfn;
	pages.n_pages = (uint64_t)span.n_leaves * LEAF_PAGES;
	pages.value = span.value;
	r = rules->check(rules->context, &pages);
	if (r < 0)
		return r;
	if (pages.bytes)
		attribute_map_set_bytes(map, span.gfn, LEAF_PAGES, pages.bytes);
	else
		attribute_map_set_range(map, span.gfn, pages.n_pages, span.value);
	*last = span;
	return 0;
}

int image_read_spans(struct image_reading *reading, uint32_t n_spans,
		     const struct image_map_rules *rules, struct attribute_map *map)
{
	struct span last = { 0 };
	int r = 0;

	attribute_map_expect(map, n_spans); /* mostly leaves, where they are many */
	for (uint32_t i = 0; r == 0 && i < n_spans; i++) {
		r = read_span(reading, rules, &last, map);
		if (r == 0 && attribute_map_memory(map) > reading->bytes_left) {
			(void)image_refuse(reading, reading->at,
					   "the policy needs more memory than its maps may have");
			r = -E2BIG;
		}
	}
	reading->bytes_left -= r == 0 ? attribute_map_memory(map) : 0;
	return r;
}
