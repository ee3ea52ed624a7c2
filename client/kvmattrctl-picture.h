/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory as a picture: cells that have been counted, for whoever draws them.
 */
#ifndef KVMATTRCTL_PICTURE_H
#define KVMATTRCTL_PICTURE_H

#include "client/kvmattrctl-cells.h"
#include "client/kvmattrctl-command.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct picture {
	const struct command_input *input;
	struct cell_range range;
	unsigned int width;       /* cells in a row */
	unsigned int label_width; /* of an address */
	size_t n_cells;
	struct cell *cells;
	struct cell total;
};

/* Of the row that begins with that cell. */
bool picture_row_has_ram(const struct picture *picture, size_t first);

/* kvmattrctl-picture-svg.c: the picture as an SVG file; says what is wrong if it cannot. */
__attribute__((warn_unused_result)) enum ctl_exit picture_write_svg(const struct picture *picture,
								    const char *path);

#endif
