/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl map show: guest memory as a picture in a terminal.
 *
 * A guest has millions of pages, a terminal a few thousand cells, and what matters is rare: a
 * few restricted pages among many that are not.  So a cell has two things to say: by its colour
 * or its letter, which protection restricts most of its pages; by how full it is, how much of
 * it is restricted at all.
 */
#include "client/kvmattrctl-picture.h"

#include "client/kvmattrctl-terminal.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Rows of the picture at depth 0: with the legend, a screen of 24 lines or a little more. */
#define ROWS 20u
/* The same of a file, which scrolls, and the cells of its rows. */
#define SVG_ROWS  64u
#define SVG_WIDTH 128u
/* Cells, however deep: more is no picture. */
#define MAX_CELLS 65536u

/* In a terminal's sixteen colours. */
static const char *const colors[N_MARKS] = {
	[MARK_NONE] = "\033[31m", [MARK_R] = "\033[33m",     [MARK_RX] = "\033[32m",
	[MARK_RW] = "\033[36m",   [MARK_OTHER] = "\033[35m", [MARK_RWX] = "\033[90m",
};

/* Cells of a power of two, so that rows begin at round addresses. */
static void divide(struct picture *picture)
{
	const struct command_input *input = picture->input;
	uint64_t n_pages = picture->range.end - picture->range.start, row_pages;
	unsigned int n_rows = input->svg ? SVG_ROWS : ROWS;

	picture->label_width = (unsigned int)snprintf(NULL, 0, "0x%" PRIx64,
						      picture->range.end << CELL_PAGE_SHIFT);
	picture->width = input->width;
	if (!picture->width && input->svg)
		picture->width = SVG_WIDTH;
	if (!picture->width) {
		/* with a space and a frame */
		unsigned int taken = picture->label_width + 3;

		for (picture->width = 16; 2 * picture->width + taken <= terminal_width();
		     picture->width *= 2)
			;
	}
	picture->range.cell_pages = 1;
	while (picture->range.cell_pages * picture->width * n_rows < n_pages)
		picture->range.cell_pages *= 2;
	for (unsigned int i = 0; i < input->depth && picture->range.cell_pages > 1 &&
				 n_pages / picture->range.cell_pages < MAX_CELLS / 2;
	     i++)
		picture->range.cell_pages /= 2;
	row_pages = picture->range.cell_pages * picture->width;
	picture->range.start -= picture->range.start % picture->range.cell_pages;
	n_pages = picture->range.end - picture->range.start;
	picture->n_cells = (n_pages + row_pages - 1) / row_pages * picture->width;
	/* not past the last address there is */
	while (picture->n_cells &&
	       picture->range.start + picture->n_cells * picture->range.cell_pages > UINT64_C(1)
											     << 40)
		picture->n_cells--;
}

/* A cell as a character, without its colour. */
static const char *draw_cell(const struct cell *cell, bool has_blocks, char letter[2])
{
	static const char *const blocks[] = {
		[FULL_NOTHING] = "·",    [FULL_UNDER_1] = "·", [FULL_UNDER_10] = "░",
		[FULL_UP_TO_HALF] = "▒", [FULL_MORE] = "▓",    [FULL_ALL] = "█",
	};
	enum fullness full = cell_fullness(cell);
	char capital = cell_marks[cell_mark(cell)].letter;

	letter[1] = '\0';
	if (!cell->n_ram)
		letter[0] = ' ';
	else if (cell->n_unknown)
		letter[0] = '?';
	else if (has_blocks)
		return blocks[full];
	else if (full == FULL_NOTHING)
		letter[0] = '.';
	else if (full == FULL_UNDER_1)
		letter[0] = ':';
	else
		letter[0] = (char)(full >= FULL_MORE ? capital : capital + 'a' - 'A');
	return letter;
}

static const char *cell_color(const struct cell *cell)
{
	if (!terminal_has_color() || !cell->n_ram)
		return "";
	return cell->n_unknown ? "\033[1;31m" : colors[cell_mark(cell)];
}

static bool has_blocks(void)
{
	return terminal_has_color() && terminal_has_unicode();
}

static void draw_row(const struct picture *picture, size_t first)
{
	const char *color = "", *edge = terminal_has_unicode() ? "│" : "|";
	char *line = NULL, label[24];
	size_t size;
	FILE *stream = terminal_there(open_memstream(&line, &size));

	snprintf(label, sizeof(label), "0x%" PRIx64,
		 (picture->range.start + first * picture->range.cell_pages) << CELL_PAGE_SHIFT);
	fprintf(stream, "%*s %s", (int)picture->label_width, label, edge);
	for (size_t i = first; i < first + picture->width && i < picture->n_cells; i++) {
		const struct cell *cell = &picture->cells[i];
		const char *its_color = cell_color(cell);
		char letter[2];

		if (strcmp(color, its_color) != 0)
			fprintf(stream, "%s%s", *color ? "\033[0m" : "", its_color);
		color = its_color;
		fputs(draw_cell(cell, has_blocks(), letter), stream);
	}
	fprintf(stream, "%s%s", *color ? "\033[0m" : "", edge);
	fclose(stream);
	writer_say(picture->input->writer, "%s", line);
	free(line);
}

bool picture_row_has_ram(const struct picture *picture, size_t first)
{
	for (size_t i = first; i < first + picture->width && i < picture->n_cells; i++)
		if (picture->cells[i].n_ram)
			return true;
	return false;
}

static void draw(const struct picture *picture)
{
	size_t n_empty = 0;

	for (size_t first = 0; first < picture->n_cells; first += picture->width) {
		if (!picture_row_has_ram(picture, first)) {
			/* of many rows without RAM, one line */
			if (!n_empty++)
				writer_say(picture->input->writer, "%*s  no RAM",
					   (int)picture->label_width, "...");
			continue;
		}
		n_empty = 0;
		draw_row(picture, first);
	}
}

static const struct writer_column legend_columns[] = {
	{ NULL, "MARK", WRITER_COLUMN_TEXT },
	{ "protection", "PROTECTION", WRITER_COLUMN_TEXT },
	{ "meaning", "MEANING", WRITER_COLUMN_TEXT },
	{ "pages", "PAGES", WRITER_COLUMN_NUMBER },
	{ "bytes", "SIZE", WRITER_COLUMN_NUMBER },
	{ "share", "SHARE", WRITER_COLUMN_NUMBER },
};

static void write_legend(const struct picture *picture)
{
	static const enum writer_tone tones[N_MARKS] = {
		[MARK_NONE] = WRITER_BAD, [MARK_R] = WRITER_WARNING, [MARK_RX] = WRITER_GOOD,
		[MARK_RW] = WRITER_COOL,  [MARK_RWX] = WRITER_DIM,
	};
	struct writer *writer = picture->input->writer;
	char text[64];

	writer_begin_table(writer, "protections", "Legend", legend_columns, COUNT(legend_columns));
	for (int mark = 0; mark < N_MARKS; mark++) {
		uint64_t n = picture->total.pages[mark];

		if (!n && mark == MARK_OTHER)
			continue;
		writer_begin_row(writer);
		if (has_blocks())
			snprintf(text, sizeof(text), "%s", mark == MARK_RWX ? "·" : "█");
		else if (mark == MARK_RWX)
			snprintf(text, sizeof(text), ".");
		else
			snprintf(text, sizeof(text), "%c %c", cell_marks[mark].letter,
				 cell_marks[mark].letter + 'a' - 'A');
		writer_text_toned(writer, NULL, NULL, text, tones[mark]);
		writer_text(writer, NULL, NULL, cell_marks[mark].name);
		writer_text(writer, NULL, NULL, cell_marks[mark].meaning);
		writer_number(writer, NULL, NULL, n);
		writer_bytes(writer, NULL, NULL, n << CELL_PAGE_SHIFT);
		writer_share(writer, NULL, NULL,
			     picture->total.n_ram ? (double)n / (double)picture->total.n_ram : 0);
	}
	writer_end_table(writer);
}

/* Where to zoom in for instance: the row with the most restricted pages. */
static void write_hints(const struct picture *picture)
{
	struct writer *writer = picture->input->writer;
	uint64_t row_pages = picture->range.cell_pages * picture->width, most = 0,
		 start = picture->range.start;
	char size[32], row_size[32], number[32];
	char *name = terminal_safe(picture->input->arguments[0]);

	for (size_t first = 0; first < picture->n_cells; first += picture->width) {
		struct cell row = { 0 };

		for (size_t i = first; i < first + picture->width && i < picture->n_cells; i++)
			cell_add(&row, &picture->cells[i]);
		if (row.n_ram - row.pages[MARK_RWX] > most) {
			most = row.n_ram - row.pages[MARK_RWX];
			start = picture->range.start + first * picture->range.cell_pages;
		}
	}
	writer_say(writer, "\nOne cell is %s (%s %s), one row %s.",
		   terminal_size(size, picture->range.cell_pages << CELL_PAGE_SHIFT),
		   terminal_number(number, picture->range.cell_pages),
		   picture->range.cell_pages == 1 ? "page" : "pages",
		   terminal_size(row_size, row_pages << CELL_PAGE_SHIFT));
	if (has_blocks())
		writer_say(
			writer,
			"Its colour is what most of its restricted pages have.  Restricted are:\n"
			"a coloured · under 1 %% of the cell, ░ under 10 %%, ▒ up to half, ▓ more, "
			"█ all.");
	else
		writer_say(writer,
			   "Its letter is what most of its restricted pages have: a capital, more\n"
			   "than half of the cell; a small one, up to half; a colon, under 1 %%.");
	if (picture->total.n_unknown)
		writer_say(writer, "?: it is not known what KVM enforces on %s of these pages.",
			   terminal_number(number, picture->total.n_unknown));
	if (picture->total.n_pending)
		writer_say(writer, "On %s pages this is not in force yet: it is on its way to KVM.",
			   terminal_number(number, picture->total.n_pending));
	if (picture->total.n_private)
		writer_say(writer, "%s pages are private, all others shared with the host.",
			   terminal_number(number, picture->total.n_private));
	if (picture->range.cell_pages > 1)
		writer_say(writer,
			   "Zoom%s:\nkvmattrctl map show %s --from 0x%" PRIx64 " --to 0x%" PRIx64,
			   picture->input->depth ? "" : " with --depth 1, or", name,
			   start << CELL_PAGE_SHIFT, (start + row_pages) << CELL_PAGE_SHIFT);
	else
		writer_say(writer, "Why a page is what it is: kvmattrctl explain %s 0x%" PRIx64,
			   name, start << CELL_PAGE_SHIFT);
	free(name);
}

static const struct writer_column cell_columns[] = {
	{ "gpa", NULL, WRITER_COLUMN_NUMBER },     { "ram", NULL, WRITER_COLUMN_NUMBER },
	{ "none", NULL, WRITER_COLUMN_NUMBER },    { "r", NULL, WRITER_COLUMN_NUMBER },
	{ "rx", NULL, WRITER_COLUMN_NUMBER },      { "rw", NULL, WRITER_COLUMN_NUMBER },
	{ "other", NULL, WRITER_COLUMN_NUMBER },   { "rwx", NULL, WRITER_COLUMN_NUMBER },
	{ "private", NULL, WRITER_COLUMN_NUMBER }, { "pending", NULL, WRITER_COLUMN_NUMBER },
	{ "unknown", NULL, WRITER_COLUMN_NUMBER },
};

/* The picture for programs: the cells that have RAM. */
static void write_cells(const struct picture *picture)
{
	struct writer *writer = picture->input->writer;

	writer_begin_table(writer, "cells", NULL, cell_columns, COUNT(cell_columns));
	for (size_t i = 0; i < picture->n_cells; i++) {
		const struct cell *cell = &picture->cells[i];

		if (!cell->n_ram)
			continue;
		writer_begin_row(writer);
		writer_address(writer, NULL, NULL,
			       (picture->range.start + i * picture->range.cell_pages)
				       << CELL_PAGE_SHIFT);
		writer_number(writer, NULL, NULL, cell->n_ram);
		for (int mark = 0; mark < N_MARKS; mark++)
			writer_number(writer, NULL, NULL, cell->pages[mark]);
		writer_number(writer, NULL, NULL, cell->n_private);
		writer_number(writer, NULL, NULL, cell->n_pending);
		writer_number(writer, NULL, NULL, cell->n_unknown);
	}
	writer_end_table(writer);
}

static void show(const struct picture *picture)
{
	const struct command_input *input = picture->input;
	struct writer *writer = input->writer;
	char size[32], *name = terminal_safe(input->arguments[0]);
	bool is_there = picture->total.n_ram > 0;

	writer_begin_object(writer, NULL, NULL);
	writer_say(writer,
		   "Memory of VM %s as VTL %u has it: %s of RAM from 0x%" PRIx64 " to 0x%" PRIx64
		   "\n",
		   name, input->vtl, terminal_size(size, picture->total.n_ram << CELL_PAGE_SHIFT),
		   picture->range.start << CELL_PAGE_SHIFT, picture->range.end << CELL_PAGE_SHIFT);
	free(name);
	writer_text(writer, "vm", NULL, input->arguments[0]);
	writer_number(writer, "vtl", NULL, input->vtl);
	writer_number(writer, "commit", NULL, picture->range.commit);
	writer_address(writer, "from", NULL, picture->range.start << CELL_PAGE_SHIFT);
	writer_address(writer, "to", NULL, picture->range.end << CELL_PAGE_SHIFT);
	writer_number(writer, "cell_pages", NULL, picture->range.cell_pages);
	writer_number(writer, "width", NULL, picture->width);
	if (!input->is_for_people)
		write_cells(picture);
	else if (is_there)
		draw(picture);
	else
		writer_say(writer, "There is no RAM.");
	if (is_there || !input->is_for_people)
		write_legend(picture);
	if (is_there)
		write_hints(picture);
	writer_end_object(writer);
}

enum ctl_exit command_map_show(const struct command_input *input)
{
	struct picture picture = { .input = input };
	enum ctl_exit exit_code = cells_find_range(input, &picture.range);

	if (exit_code != CTL_OK)
		return exit_code;
	divide(&picture);
	picture.cells = terminal_there(calloc(picture.n_cells + 1, sizeof(*picture.cells)));
	exit_code = cells_count(input, &picture.range, picture.cells, picture.n_cells);
	for (size_t i = 0; i < picture.n_cells; i++)
		cell_add(&picture.total, &picture.cells[i]);
	if (exit_code == CTL_OK && input->svg)
		exit_code = picture_write_svg(&picture, input->svg);
	else if (exit_code == CTL_OK)
		show(&picture);
	free(picture.cells);
	return exit_code;
}
