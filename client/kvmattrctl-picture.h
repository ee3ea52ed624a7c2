/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory as a picture: cells that have been counted, for whoever draws them.
 */
#ifndef KVMATTRCTL_PICTURE_H
#define KVMATTRCTL_PICTURE_H

#include "client/kvmattrctl-command.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PICTURE_PAGE_SHIFT 12

/* The protections that are told apart, most restricting first; others are MARK_OTHER. */
enum mark { MARK_NONE, MARK_R, MARK_RX, MARK_RW, MARK_OTHER, MARK_RWX, N_MARKS };

struct picture_mark {
	const char *name;
	const char *meaning;
};
extern const struct picture_mark picture_marks[N_MARKS];

/* How much of a cell's RAM is restricted. */
enum fullness {
	FULL_NOTHING,
	FULL_UNDER_1,
	FULL_UNDER_10,
	FULL_UP_TO_HALF,
	FULL_MORE,
	FULL_ALL,
	N_FULLNESSES
};

/* A part of the address space, or several: numbers of pages. */
struct cell {
	uint64_t pages[N_MARKS];
	uint64_t n_ram;
	uint64_t n_private;
	uint64_t n_pending;
	uint64_t n_unknown;
};

struct picture {
	const struct command_input *input;
	uint64_t start; /* GFNs */
	uint64_t end;
	uint64_t cell_pages;
	unsigned int width;       /* cells in a row */
	unsigned int label_width; /* of an address */
	size_t n_cells;
	struct cell *cells;
	struct cell total;
	uint64_t commit;
};

void picture_add_cell(struct cell *sum, const struct cell *cell);
/* The protection that restricts most of its pages; MARK_RWX: none does. */
enum mark picture_mark(const struct cell *cell);
enum fullness picture_fullness(const struct cell *cell);
/* Of the row that begins with that cell. */
bool picture_row_has_ram(const struct picture *picture, size_t first);

/* kvmattrctl-picture-svg.c: the picture as an SVG file; says what is wrong if it cannot. */
__attribute__((warn_unused_result)) enum ctl_exit picture_write_svg(const struct picture *picture,
								    const char *path);

#endif
