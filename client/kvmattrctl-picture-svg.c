/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl map show --svg: guest memory as a file that a browser shows.
 *
 * It is the terminal's picture, finer, and needs nothing beside itself: no script, no font, no
 * link.  Neighbours in a row that look alike are one rectangle, so a guest of which little is
 * restricted makes a small file; what is in a rectangle stands in its title, which browsers show
 * where the pointer rests.  Colours are told apart by those who see few of them (after Okabe and
 * Ito), and those of paper and ink follow the reader's choice of light or dark.
 */
#include "client/kvmattrctl-file.h"
#include "client/kvmattrctl-picture.h"
#include "client/kvmattrctl-terminal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* In SVG's user units, which are pixels until somebody zooms. */
#define MARGIN         24u
#define HEAD_HEIGHT    76u
#define MAP_WIDTH      896u
#define MAX_CELL_WIDTH 28u
#define ROW_HEIGHT     11u
#define LETTER_WIDTH   8u /* of an address; monospace, 12 high */
#define LEGEND_ROW     22u
#define LEGEND_WIDTH   660u
#define SWATCH         14u

static const char *const fills[N_MARKS] = {
	[MARK_NONE] = "#b5232c", [MARK_R] = "#e69f00",     [MARK_RX] = "#009e73",
	[MARK_RW] = "#3b86d1",   [MARK_OTHER] = "#b565a7", [MARK_RWX] = "#8a8f98",
};

/* Of a rectangle: how much of it is restricted. */
static const char *const opacities[N_FULLNESSES] = {
	[FULL_NOTHING] = "0.22",    [FULL_UNDER_1] = "0.40", [FULL_UNDER_10] = "0.55",
	[FULL_UP_TO_HALF] = "0.70", [FULL_MORE] = "0.85",    [FULL_ALL] = "1",
};

struct svg {
	const struct picture *picture;
	FILE *stream;
	unsigned int cell_width;
	unsigned int left; /* of the map */
	unsigned int y;    /* how far down the file has got */
};

/* Text as it stands in XML; what XML cannot hold has become a question mark. */
static void put_text(FILE *stream, const char *text)
{
	char *safe = terminal_safe(text);

	for (const char *at = safe; *at; at++) {
		if (*at == '&')
			fputs("&amp;", stream);
		else if (*at == '<')
			fputs("&lt;", stream);
		else if (*at == '>')
			fputs("&gt;", stream);
		else if (*at == '"')
			fputs("&quot;", stream);
		else
			fputc(*at, stream);
	}
	free(safe);
}

static void put_style(const struct svg *svg)
{
	fputs("<style>\n"
	      "svg { --paper: #ffffff; --ink: #1b1f24; --faint: #59636e; --edge: #d1d9e0; }\n"
	      "@media (prefers-color-scheme: dark) {\n"
	      "svg { --paper: #0d1117; --ink: #f0f6fc; --faint: #9198a1; --edge: #3d444d; } }\n"
	      "text { fill: #1b1f24; fill: var(--ink); font: 13px system-ui, sans-serif; }\n"
	      ".title { font-size: 18px; font-weight: 600; }\n"
	      ".faint { fill: #59636e; fill: var(--faint); }\n"
	      ".gpa { fill: #59636e; fill: var(--faint); font: 11px ui-monospace, monospace; "
	      "text-anchor: end; }\n"
	      ".number { text-anchor: end; }\n"
	      ".paper { fill: #ffffff; fill: var(--paper); }\n"
	      ".edge { fill: none; stroke: #d1d9e0; stroke: var(--edge); }\n"
	      ".unknown { fill: url(#unknown); }\n",
	      svg->stream);
	for (int mark = 0; mark < N_MARKS; mark++)
		fprintf(svg->stream, ".%s { fill: %s; }\n", cell_marks[mark].name, fills[mark]);
	for (int full = 0; full < N_FULLNESSES; full++)
		fprintf(svg->stream, ".f%d { fill-opacity: %s; }\n", full, opacities[full]);
	fputs("rect:hover { stroke: #1b1f24; stroke: var(--ink); }\n"
	      ".paper:hover, .edge:hover { stroke: none; }\n"
	      "</style>\n"
	      "<defs><pattern id=\"unknown\" width=\"6\" height=\"6\" "
	      "patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">"
	      "<rect width=\"6\" height=\"6\" fill=\"#ffffff\"/>"
	      "<rect width=\"3\" height=\"6\" fill=\"#d6006c\"/></pattern></defs>\n",
	      svg->stream);
}

static void put_head(const struct svg *svg, unsigned int width, unsigned int height)
{
	const struct picture *picture = svg->picture;
	FILE *stream = svg->stream;
	char size[32], cell[32], row[32], now[64];

	fprintf(stream,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
		"viewBox=\"0 0 %u %u\" role=\"img\">\n<title>Memory of VM ",
		width, height, width, height);
	put_text(stream, picture->input->arguments[0]);
	fprintf(stream, " as VTL %u has it, commit %" PRIu64 "</title>\n", picture->input->vtl,
		picture->range.commit);
	put_style(svg);
	fprintf(stream,
		"<rect class=\"paper\" width=\"%u\" height=\"%u\"/>\n"
		"<text class=\"title\" x=\"%u\" y=\"36\">Memory of VM ",
		width, height, MARGIN);
	put_text(stream, picture->input->arguments[0]);
	fprintf(stream,
		" as VTL %u has it</text>\n<text class=\"faint\" x=\"%u\" y=\"58\">%s of RAM from "
		"0x%" PRIx64 " to 0x%" PRIx64 " as of commit %" PRIu64 ", %s; a cell is %s, a row "
		"%s</text>\n",
		picture->input->vtl, MARGIN,
		terminal_size(size, picture->total.n_ram << CELL_PAGE_SHIFT),
		picture->range.start << CELL_PAGE_SHIFT, picture->range.end << CELL_PAGE_SHIFT,
		picture->range.commit, terminal_time(now, (uint64_t)time(NULL) * 1000000),
		terminal_size(cell, picture->range.cell_pages << CELL_PAGE_SHIFT),
		terminal_size(row, (picture->range.cell_pages * picture->width)
					   << CELL_PAGE_SHIFT));
}

/* "0x0 to 0x5a000, 360 KiB; none: 51 pages (1.25 %); ..." */
static void put_tooltip(const struct svg *svg, size_t first, size_t end, const struct cell *sum)
{
	const struct picture *picture = svg->picture;
	FILE *stream = svg->stream;
	char size[32], number[32];

	fprintf(stream, "<title>0x%" PRIx64 " to 0x%" PRIx64 ", %s",
		(picture->range.start + first * picture->range.cell_pages) << CELL_PAGE_SHIFT,
		(picture->range.start + end * picture->range.cell_pages) << CELL_PAGE_SHIFT,
		terminal_size(size, ((end - first) * picture->range.cell_pages)
					    << CELL_PAGE_SHIFT));
	for (int mark = 0; mark < N_MARKS; mark++)
		if (sum->pages[mark])
			fprintf(stream, "\n%s: %s %s (%.2f %%)", cell_marks[mark].name,
				terminal_number(number, sum->pages[mark]),
				sum->pages[mark] == 1 ? "page" : "pages",
				100 * (double)sum->pages[mark] / (double)sum->n_ram);
	if (sum->n_private)
		fprintf(stream, "\nprivate: %s", terminal_number(number, sum->n_private));
	if (sum->n_pending)
		fprintf(stream, "\nnot in force yet: %s", terminal_number(number, sum->n_pending));
	if (sum->n_unknown)
		fprintf(stream, "\nnot known what KVM enforces: %s",
			terminal_number(number, sum->n_unknown));
	fputs("</title>", stream);
}

static bool look_alike(const struct cell *a, const struct cell *b)
{
	return a->n_ram && b->n_ram && !a->n_unknown == !b->n_unknown &&
	       cell_mark(a) == cell_mark(b) && cell_fullness(a) == cell_fullness(b);
}

static void put_row(const struct svg *svg, size_t first)
{
	const struct picture *picture = svg->picture;
	size_t end = first + picture->width, next;

	if (end > picture->n_cells)
		end = picture->n_cells;
	fprintf(svg->stream, "<text class=\"gpa\" x=\"%u\" y=\"%u\">0x%" PRIx64 "</text>\n",
		svg->left - LETTER_WIDTH, svg->y + ROW_HEIGHT - 2,
		(picture->range.start + first * picture->range.cell_pages) << CELL_PAGE_SHIFT);
	for (size_t i = first; i < end; i = next) {
		const struct cell *cell = &picture->cells[i];
		struct cell sum = *cell;

		for (next = i + 1; next < end && look_alike(cell, &picture->cells[next]); next++)
			cell_add(&sum, &picture->cells[next]);
		if (!cell->n_ram)
			continue;
		fprintf(svg->stream, "<rect class=\"");
		if (cell->n_unknown)
			fputs("unknown", svg->stream);
		else
			fprintf(svg->stream, "%s f%d", cell_marks[cell_mark(cell)].name,
				(int)cell_fullness(cell));
		fprintf(svg->stream, "\" x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\">",
			svg->left + (unsigned int)(i - first) * svg->cell_width, svg->y,
			(unsigned int)(next - i) * svg->cell_width, ROW_HEIGHT - 1);
		put_tooltip(svg, i, next, &sum);
		fputs("</rect>\n", svg->stream);
	}
}

/* Many rows without RAM are one line of words. */
static void put_map(struct svg *svg)
{
	const struct picture *picture = svg->picture;
	bool was_empty = false;

	for (size_t first = 0; first < picture->n_cells; first += picture->width) {
		bool is_empty = !picture_row_has_ram(picture, first);

		if (is_empty && was_empty)
			continue;
		was_empty = is_empty;
		if (is_empty)
			fprintf(svg->stream,
				"<text class=\"faint\" x=\"%u\" y=\"%u\">no RAM</text>\n",
				svg->left, svg->y + ROW_HEIGHT - 1);
		else
			put_row(svg, first);
		svg->y += ROW_HEIGHT;
	}
}

static void put_swatch(const struct svg *svg, unsigned int x, const char *mark, int full)
{
	fprintf(svg->stream,
		"<rect class=\"%s f%d\" x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\"/>", mark, full,
		x, svg->y, SWATCH, SWATCH);
}

static void put_protections(struct svg *svg)
{
	const struct picture *picture = svg->picture;
	char number[32], size[32];

	for (int mark = 0; mark < N_MARKS; mark++) {
		uint64_t n = picture->total.pages[mark];

		if (!n && mark == MARK_OTHER)
			continue;
		put_swatch(svg, MARGIN, cell_marks[mark].name,
			   mark == MARK_RWX ? FULL_NOTHING : FULL_ALL);
		fprintf(svg->stream,
			"<text x=\"%u\" y=\"%u\">%s</text><text class=\"faint\" x=\"%u\" "
			"y=\"%u\">%s</text><text class=\"number\" x=\"%u\" y=\"%u\">%s %s</text>"
			"<text class=\"number faint\" x=\"%u\" y=\"%u\">%s</text>"
			"<text class=\"number faint\" x=\"%u\" y=\"%u\">%.2f %%</text>\n",
			MARGIN + 24, svg->y + 12, cell_marks[mark].name, MARGIN + 80, svg->y + 12,
			cell_marks[mark].meaning, MARGIN + 440, svg->y + 12,
			terminal_number(number, n), n == 1 ? "page" : "pages", MARGIN + 540,
			svg->y + 12, terminal_size(size, n << CELL_PAGE_SHIFT), MARGIN + 640,
			svg->y + 12,
			picture->total.n_ram ? 100 * (double)n / (double)picture->total.n_ram : 0);
		svg->y += LEGEND_ROW;
	}
}

static void put_fullnesses(struct svg *svg)
{
	static const char *const words[N_FULLNESSES] = {
		[FULL_NOTHING] = "nothing",     [FULL_UNDER_1] = "under 1 %",
		[FULL_UNDER_10] = "under 10 %", [FULL_UP_TO_HALF] = "up to half",
		[FULL_MORE] = "more",           [FULL_ALL] = "all",
	};

	fprintf(svg->stream,
		"<text class=\"faint\" x=\"%u\" y=\"%u\">The colour is what most restricted pages "
		"of a cell have; how strong it is, how much of the cell is restricted:</text>\n",
		MARGIN, svg->y + 16);
	svg->y += LEGEND_ROW + 4;
	for (int full = FULL_NOTHING; full < N_FULLNESSES; full++) {
		unsigned int x = MARGIN + (unsigned int)full * 108;

		put_swatch(svg, x, cell_marks[full ? MARK_RX : MARK_RWX].name, full);
		fprintf(svg->stream, "<text class=\"faint\" x=\"%u\" y=\"%u\">%s</text>\n", x + 20,
			svg->y + 12, words[full]);
	}
	svg->y += LEGEND_ROW;
}

static void put_line(struct svg *svg, uint64_t n, const char *words)
{
	char number[32];

	if (!n)
		return;
	fprintf(svg->stream, "<text x=\"%u\" y=\"%u\">%s %s %s</text>\n", MARGIN, svg->y + 14,
		terminal_number(number, n), n == 1 ? "page" : "pages", words);
	svg->y += LEGEND_ROW;
}

static void put_legend(struct svg *svg)
{
	const struct cell *total = &svg->picture->total;
	char number[32];

	svg->y += MARGIN;
	put_protections(svg);
	put_fullnesses(svg);
	if (total->n_unknown) {
		fprintf(svg->stream,
			"<rect class=\"unknown\" x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\"/>"
			"<text x=\"%u\" y=\"%u\">it is not known what KVM enforces on %s of these "
			"pages</text>\n",
			MARGIN, svg->y, SWATCH, SWATCH, MARGIN + 24, svg->y + 12,
			terminal_number(number, total->n_unknown));
		svg->y += LEGEND_ROW;
	}
	put_line(svg, total->n_pending, "on which this is not in force yet, on its way to KVM");
	put_line(svg, total->n_private, "private, all others shared with the host");
}

/* The whole file; the caller's to free. */
static char *draw(const struct picture *picture, size_t *ret_size)
{
	struct svg svg = { .picture = picture, .y = HEAD_HEIGHT };
	char *body = NULL, *file = NULL;
	size_t body_size;
	unsigned int width;

	svg.cell_width = MAP_WIDTH / picture->width;
	if (svg.cell_width < 1)
		svg.cell_width = 1;
	if (svg.cell_width > MAX_CELL_WIDTH)
		svg.cell_width = MAX_CELL_WIDTH;
	svg.left = MARGIN + (picture->label_width + 1) * LETTER_WIDTH;
	width = svg.left + picture->width * svg.cell_width + MARGIN;
	if (width < LEGEND_WIDTH + 2 * MARGIN)
		width = LEGEND_WIDTH + 2 * MARGIN;
	svg.stream = terminal_there(open_memstream(&body, &body_size));
	put_map(&svg);
	put_legend(&svg);
	fclose(svg.stream);
	/* the head says how high it is */
	svg.stream = terminal_there(open_memstream(&file, ret_size));
	put_head(&svg, width, svg.y + MARGIN);
	terminal_there(body);
	fwrite(body, 1, body_size, svg.stream);
	fputs("</svg>\n", svg.stream);
	fclose(svg.stream);
	free(body);
	return terminal_there(file);
}

enum ctl_exit picture_write_svg(const struct picture *picture, const char *path)
{
	struct writer *writer = picture->input->writer;
	char *file, *safe, written[32];
	size_t size;
	int r;

	file = draw(picture, &size);
	r = file_replace(path, (const uint8_t *)file, size);
	free(file);
	if (r < 0) {
		terminal_complain("cannot write %s: %s.\n%s", path, strerror(-r),
				  r == -EEXIST ? "It is no regular file: say another name."
					       : "Say a file in a directory that this user may "
						 "write to, on a disk with room.");
		return CTL_UNREADABLE;
	}
	safe = terminal_safe(path);
	writer_begin_object(writer, NULL, NULL);
	writer_say(writer, "%s: %s; open it in a browser.", safe, terminal_size(written, size));
	writer_text(writer, "vm", NULL, picture->input->arguments[0]);
	writer_number(writer, "vtl", NULL, picture->input->vtl);
	writer_number(writer, "commit", NULL, picture->range.commit);
	writer_text(writer, "file", NULL, path);
	writer_bytes(writer, "bytes", NULL, size);
	writer_end_object(writer);
	free(safe);
	return CTL_OK;
}
