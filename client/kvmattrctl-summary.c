/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl map summary, map layers: guest memory in numbers of pages.
 */
#include "client/kvmattrctl-cells.h"
#include "client/kvmattrctl-command.h"
#include "client/kvmattrctl-terminal.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- map summary --------------------------------------------------------------------------- */

#define DEFAULT_PARTS 16u
/* Letters of a bar; each stands for a sixteenth of a part. */
#define BAR_LENGTH 16u

static const struct writer_column part_columns[] = {
	{ "gpa", "FROM", WRITER_COLUMN_NUMBER },
	{ "end", "TO", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
	{ "ram", "RAM", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
	{ "none", "NONE", WRITER_COLUMN_NUMBER },
	{ "r", "R", WRITER_COLUMN_NUMBER },
	{ "rx", "RX", WRITER_COLUMN_NUMBER },
	{ "rw", "RW", WRITER_COLUMN_NUMBER },
	{ "other", "OTHER", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
	{ "rwx", "RWX", WRITER_COLUMN_NUMBER },
	{ NULL, "SHARES", WRITER_COLUMN_TEXT },
	{ "private", "PRIVATE", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
	{ "pending", "PENDING", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
	{ "unknown", "UNKNOWN", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
};

/*
 * A part as letters, in the order of the marks.  A protection that few pages have still gets one, a
 * small one, at the cost of the one that has most: it is the rare ones that are looked for.
 */
static void make_bar(const struct cell *cell, char bar[BAR_LENGTH + 1])
{
	unsigned int lengths[N_MARKS] = { 0 }, most = 0, sum = 0, n = 0;

	for (unsigned int mark = 0; mark < N_MARKS; mark++) {
		lengths[mark] = (unsigned int)(cell->pages[mark] * BAR_LENGTH / cell->n_ram);
		if (cell->pages[mark] && !lengths[mark])
			lengths[mark] = 1;
		if (cell->pages[mark] > cell->pages[most])
			most = mark;
		sum += lengths[mark];
	}
	lengths[most] = lengths[most] + BAR_LENGTH - sum;
	for (unsigned int mark = 0; mark < N_MARKS; mark++) {
		bool is_rare = cell->pages[mark] * BAR_LENGTH < cell->n_ram;
		char letter = cell_marks[mark].letter;

		if (is_rare && letter != '.')
			letter = (char)(letter + 'a' - 'A');
		for (unsigned int i = 0; i < lengths[mark]; i++)
			bar[n++] = letter;
	}
	bar[n] = '\0';
}

static void write_part(struct writer *writer, uint64_t gfn, uint64_t end, const struct cell *cell)
{
	char bar[BAR_LENGTH + 1];

	make_bar(cell, bar);
	writer_begin_row(writer);
	writer_address(writer, NULL, NULL, gfn << CELL_PAGE_SHIFT);
	writer_address(writer, NULL, NULL, end << CELL_PAGE_SHIFT);
	writer_number(writer, NULL, NULL, cell->n_ram);
	for (int mark = 0; mark < N_MARKS; mark++)
		writer_number(writer, NULL, NULL, cell->pages[mark]);
	writer_text(writer, NULL, NULL, bar);
	writer_number(writer, NULL, NULL, cell->n_private);
	writer_number(writer, NULL, NULL, cell->n_pending);
	writer_number(writer, NULL, NULL, cell->n_unknown);
}

static void write_parts(const struct command_input *input, const struct cell_range *range,
			const struct cell *cells, size_t n)
{
	struct writer *writer = input->writer;

	writer_begin_table(writer, "parts", NULL, part_columns, COUNT(part_columns));
	for (size_t i = 0; i < n; i++) {
		uint64_t gfn = range->start + i * range->cell_pages;
		uint64_t end = gfn + range->cell_pages;

		if (cells[i].n_ram)
			write_part(writer, gfn, end < range->end ? end : range->end, &cells[i]);
	}
	writer_end_table(writer);
}

static void write_total(const struct command_input *input, const struct cell *total)
{
	struct writer *writer = input->writer;
	char number[32];

	writer_begin_object(writer, "total", NULL);
	writer_number(writer, "ram", NULL, total->n_ram);
	for (int mark = 0; mark < N_MARKS; mark++)
		writer_number(writer, cell_marks[mark].name, NULL, total->pages[mark]);
	writer_number(writer, "private", NULL, total->n_private);
	writer_number(writer, "pending", NULL, total->n_pending);
	writer_number(writer, "unknown", NULL, total->n_unknown);
	writer_end_object(writer);
	if (!total->n_ram) {
		writer_say(writer, "There is no RAM.");
		return;
	}
	writer_say(writer,
		   "\nNumbers are pages of 4 KiB.  SHARES are sixteenths: N none, R r, X rx, "
		   "W rw,\n. not restricted; a small letter is less than one.");
	if (total->n_private)
		writer_say(writer, "%s pages are private, all others shared with the host.",
			   terminal_number(number, total->n_private));
	if (total->n_pending)
		writer_say(writer, "On %s pages this is not in force yet: it is on its way to KVM.",
			   terminal_number(number, total->n_pending));
	if (total->n_unknown)
		writer_say(writer, "It is not known what KVM enforces on %s of these pages.",
			   terminal_number(number, total->n_unknown));
}

static void write_summary(const struct command_input *input, const struct cell_range *range,
			  const struct cell *cells, size_t n)
{
	struct writer *writer = input->writer;
	char ram[32], part[32], *name = terminal_safe(input->arguments[0]);
	struct cell total = { 0 };

	for (size_t i = 0; i < n; i++)
		cell_add(&total, &cells[i]);
	writer_begin_object(writer, NULL, NULL);
	writer_say(writer, "Memory of VM %s as VTL %u has it: %s of RAM, in parts of %s\n", name,
		   input->vtl, terminal_size(ram, total.n_ram << CELL_PAGE_SHIFT),
		   terminal_size(part, range->cell_pages << CELL_PAGE_SHIFT));
	free(name);
	writer_text(writer, "vm", NULL, input->arguments[0]);
	writer_number(writer, "vtl", NULL, input->vtl);
	writer_number(writer, "commit", NULL, range->commit);
	writer_address(writer, "from", NULL, range->start << CELL_PAGE_SHIFT);
	writer_address(writer, "to", NULL, range->end << CELL_PAGE_SHIFT);
	writer_number(writer, "part_pages", NULL, range->cell_pages);
	write_parts(input, range, cells, n);
	write_total(input, &total);
	writer_end_object(writer);
}

enum ctl_exit command_map_summary(const struct command_input *input)
{
	uint64_t n = input->n_buckets ? input->n_buckets : DEFAULT_PARTS, n_pages;
	struct cell_range range = { 0 };
	enum ctl_exit exit_code = cells_find_range(input, &range);
	struct cell *cells;

	if (exit_code != CTL_OK)
		return exit_code;
	n_pages = range.end - range.start;
	range.cell_pages = n_pages > n ? (n_pages + n - 1) / n : 1;
	n = (n_pages + range.cell_pages - 1) / range.cell_pages;
	cells = terminal_there(calloc(n + 1, sizeof(*cells)));
	exit_code = cells_count(input, &range, cells, n);
	if (exit_code == CTL_OK)
		write_summary(input, &range, cells, n);
	free(cells);
	return exit_code;
}

/* ---- map layers ---------------------------------------------------------------------------- */

/* Runs in one answer: as many as the daemon gives. */
#define RUNS_PER_CALL 1024u

static const struct writer_column layer_columns[] = {
	{ "layer", "LAYER", WRITER_COLUMN_NUMBER },
	{ "vtl", "ON VTL", WRITER_COLUMN_NUMBER },
	{ "mbec", "MBEC", WRITER_COLUMN_TEXT | WRITER_COLUMN_IF_ROOM },
	{ "none", "NONE", WRITER_COLUMN_NUMBER },
	{ "r", "R", WRITER_COLUMN_NUMBER },
	{ "rx", "RX", WRITER_COLUMN_NUMBER },
	{ "rw", "RW", WRITER_COLUMN_NUMBER },
	{ "other", "OTHER", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
	{ "rwx", "RWX", WRITER_COLUMN_NUMBER },
	{ "default", "DEFAULT", WRITER_COLUMN_TEXT },
	{ "default_pages", "ALL OTHERS", WRITER_COLUMN_NUMBER },
};

/* What a layer imposes on one VTL: pages by the protection that was set for them. */
struct imposed {
	struct cell set;
	uint64_t n_default;
};

static void count_runs(struct json_object *answer, struct imposed *imposed)
{
	size_t n;
	struct json_object *runs = answer_array(answer, "runs", &n);

	for (size_t i = 0; i < n; i++) {
		struct json_object *run = json_object_array_get_idx(runs, i);
		uint64_t n_pages = answer_number(run, "pages");

		if (strcmp(answer_text(run, "source"), "explicit") != 0)
			imposed->n_default += n_pages;
		else
			imposed->set.pages[cell_mark_of(answer_text(run, "protection"))] += n_pages;
	}
}

static enum ctl_exit count_layer(const struct command_input *input, uint64_t layer,
				 unsigned int vtl, struct imposed *imposed)
{
	uint64_t cursor = 0, next = 0;
	enum ctl_exit exit_code;

	do {
		struct json_object *params = params_about("vm", input->arguments[0]);
		struct json_object *answer = NULL;

		params_add_number(params, "layer", layer);
		params_add_number(params, "vtl", vtl);
		params_add_number(params, "limit", RUNS_PER_CALL);
		if (cursor)
			params_add_address(params, "cursor", cursor);
		exit_code = rpc_call(input->rpc, "map.layer", params, &answer);
		if (exit_code != CTL_OK)
			return exit_code;
		count_runs(answer, imposed);
		next = 0;
		if (answer_address(answer, "cursor", &next) && next <= cursor)
			exit_code = rpc_nonsense(input->rpc, "it does not get on");
		cursor = next;
		json_object_put(answer);
	} while (exit_code == CTL_OK && cursor);
	return exit_code;
}

/* One row for each VTL that the layer restricts. */
static enum ctl_exit write_layer(const struct command_input *input, struct json_object *layer)
{
	struct writer *writer = input->writer;
	uint32_t restricts = answer_vtls(layer, "restricts");

	for (unsigned int vtl = 0; vtl < 16; vtl++) {
		struct imposed imposed = { 0 };
		enum ctl_exit exit_code;

		if (!(restricts >> vtl & 1))
			continue;
		exit_code = count_layer(input, answer_number(layer, "layer"), vtl, &imposed);
		if (exit_code != CTL_OK)
			return exit_code;
		writer_begin_row(writer);
		writer_number(writer, NULL, NULL, answer_number(layer, "layer"));
		writer_number(writer, NULL, NULL, vtl);
		writer_boolean(writer, NULL, NULL, answer_boolean(layer, "mbec"));
		for (int mark = 0; mark < N_MARKS; mark++)
			writer_number(writer, NULL, NULL, imposed.set.pages[mark]);
		writer_text(writer, NULL, NULL, answer_text(layer, "default"));
		writer_number(writer, NULL, NULL, imposed.n_default);
	}
	return CTL_OK;
}

enum ctl_exit command_map_layers(const struct command_input *input)
{
	struct json_object *answer = NULL, *layers;
	struct writer *writer = input->writer;
	char *name = terminal_safe(input->arguments[0]);
	enum ctl_exit exit_code =
		rpc_call(input->rpc, "vm.layers", params_about("vm", input->arguments[0]), &answer);
	size_t n;

	layers = answer_array(answer, "layers", &n);
	writer_begin_object(writer, NULL, NULL);
	writer_text(writer, "vm", NULL, answer_text(answer, "vm"));
	if (exit_code == CTL_OK && n)
		writer_say(writer, "Pages of VM %s by what each layer set for them\n", name);
	else if (exit_code == CTL_OK)
		writer_say(writer, "No layer of VM %s is enabled: nothing is imposed.", name);
	writer_begin_table(writer, "layers", NULL, layer_columns, COUNT(layer_columns));
	for (size_t i = 0; i < n && exit_code == CTL_OK; i++)
		exit_code = write_layer(input, json_object_array_get_idx(layers, i));
	if (exit_code == CTL_OK) {
		writer_end_table(writer);
		writer_end_object(writer);
	}
	free(name);
	json_object_put(answer);
	return exit_code;
}
