/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An attribute map as bytes, and what is read on the way back: private to the image.
 *
 * A map is a list of spans, in the order of their pages; what is in none of them holds 0.  A span
 * is some leaves whose pages are all equal, or one leaf: as the runs that differ from its first
 * page where they are few, else byte by byte.  The same map gives the same bytes, and no others
 * are read.
 */
#ifndef KVMATTRD_IMAGE_MAP_H
#define KVMATTRD_IMAGE_MAP_H

#include "image.h"

/* An image on its way in. */
struct image_reading {
	const uint8_t *data;
	size_t size;
	size_t at;         /* of what is read next */
	size_t bytes_left; /* of memory, for maps */
	/* Where what is wrong is told. */
	size_t *ret_offset;
	char *text;
	size_t text_size;
};

/* Says what is wrong with the image, and where; returns -EBADMSG. */
__attribute__((format(printf, 3, 4))) int image_refuse(const struct image_reading *reading,
						       size_t offset, const char *format, ...);
/* Copies what is next.  0, or -EBADMSG if there is not so much: then ret is all 0. */
__attribute__((warn_unused_result)) int image_take(struct image_reading *reading, void *ret,
						   size_t size);

/* Adds the spans of a map to an image; returns how many. */
uint32_t image_add_spans(struct image *image, const struct attribute_map *map);

/* Some pages that were read: all equal, or a leaf. */
struct image_pages {
	size_t offset; /* in the image */
	uint64_t gfn;
	uint64_t n_pages;
	const uint8_t *bytes; /* of the leaf; NULL where all hold value */
	uint8_t value;
};

struct image_map_rules {
	bool is_value[256]; /* may a page hold it? */
	/* Has to return 0 for pages that may be so in this place, else image_refuse(). */
	int (*check)(void *context, const struct image_pages *pages);
	void *context;
};

/* Reads so many spans, at least one, into a map that holds 0 everywhere.  0, -EBADMSG or -E2BIG. */
__attribute__((warn_unused_result)) int image_read_spans(struct image_reading *reading,
							 uint32_t n_spans,
							 const struct image_map_rules *rules,
							 struct attribute_map *map);

#endif
