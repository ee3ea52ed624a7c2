/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory counted part by part, as the daemon sums it up.
 *
 * A cell is a part of the address space: how many of its pages have which protection.  This room
 * counts; what is made of the numbers is for others.
 */
#ifndef KVMATTRCTL_CELLS_H
#define KVMATTRCTL_CELLS_H

#include "client/kvmattrctl-command.h"

#include <stddef.h>
#include <stdint.h>

#define CELL_PAGE_SHIFT 12

/* The protections that are told apart, most restricting first; others are MARK_OTHER. */
enum mark { MARK_NONE, MARK_R, MARK_RX, MARK_RW, MARK_OTHER, MARK_RWX, N_MARKS };

struct cell_words {
	const char *name;
	const char *meaning;
	char letter;
};
extern const struct cell_words cell_marks[N_MARKS];

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

/* Cells side by side. */
struct cell_range {
	uint64_t start; /* GFNs */
	uint64_t end;
	uint64_t cell_pages;
	uint64_t commit; /* as of which they were counted */
};

/* What was asked for by --from and --to, else all RAM; how it is divided is for the caller. */
__attribute__((warn_unused_result)) enum ctl_exit cells_find_range(
	const struct command_input *input, struct cell_range *ret);
/* Counts so many cells, which are 0, from the start of the range on. */
__attribute__((warn_unused_result)) enum ctl_exit cells_count(const struct command_input *input,
							      struct cell_range *range,
							      struct cell *cells, size_t n_cells);

void cell_add(struct cell *sum, const struct cell *cell);
/* The mark of a protection by its name. */
enum mark cell_mark_of(const char *name);
/* The protection that restricts most of its pages; MARK_RWX: none does. */
enum mark cell_mark(const struct cell *cell);
enum fullness cell_fullness(const struct cell *cell);

#endif
