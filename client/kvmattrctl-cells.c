/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/kvmattrctl-cells.h"

#include "client/kvmattrctl-terminal.h"

#include <json-c/json.h>
#include <string.h>

/* Parts that the daemon counts in one call. */
#define CELLS_PER_CALL 1024u

const struct cell_words cell_marks[N_MARKS] = {
	[MARK_NONE] = { "none", "no access", 'N' },
	[MARK_R] = { "r", "read only", 'R' },
	[MARK_RX] = { "rx", "read and execute", 'X' },
	[MARK_RW] = { "rw", "read and write", 'W' },
	[MARK_OTHER] = { "other", "user and kernel execute differ", 'O' },
	[MARK_RWX] = { "rwx", "not restricted", '.' },
};

void cell_add(struct cell *sum, const struct cell *cell)
{
	for (int mark = 0; mark < N_MARKS; mark++)
		sum->pages[mark] += cell->pages[mark];
	sum->n_ram += cell->n_ram;
	sum->n_private += cell->n_private;
	sum->n_pending += cell->n_pending;
	sum->n_unknown += cell->n_unknown;
}

enum mark cell_mark_of(const char *name)
{
	for (enum mark mark = 0; mark < N_MARKS; mark++)
		if (!strcmp(cell_marks[mark].name, name))
			return mark;
	return MARK_OTHER;
}

static struct cell read_bucket(struct json_object *bucket)
{
	struct json_object *pages = answer_object(bucket, "pages");
	struct cell cell = {
		.n_private = answer_number(bucket, "private"),
		.n_pending = answer_number(bucket, "pending"),
		.n_unknown = answer_number(bucket, "unknown"),
	};

	if (!pages)
		return cell;
	json_object_object_foreach(pages, name, value)
	{
		uint64_t n = json_object_is_type(value, json_type_int)
				     ? json_object_get_uint64(value)
				     : 0;

		cell.pages[cell_mark_of(name)] += n;
		cell.n_ram += n;
	}
	return cell;
}

/* Counts some of the cells; an answer that ran out of time is gone on with. */
static enum ctl_exit count_some(const struct command_input *input, struct cell_range *range,
				size_t first, size_t n_cells, struct cell *cells)
{
	uint64_t start = range->start + first * range->cell_pages;
	uint64_t end = start + n_cells * range->cell_pages, cursor = 0, next = 0;
	enum ctl_exit exit_code = CTL_OK;

	do {
		struct json_object *params = params_about("vm", input->arguments[0]);
		struct json_object *answer = NULL, *buckets;
		size_t n;

		params_add_number(params, "vtl", input->vtl);
		params_add_number(params, "buckets", n_cells);
		params_add_address(params, "start", start << CELL_PAGE_SHIFT);
		params_add_address(params, "end", end << CELL_PAGE_SHIFT);
		if (cursor)
			params_add_address(params, "cursor", cursor);
		exit_code = rpc_call(input->rpc, "map.summary", params, &answer);
		if (exit_code != CTL_OK)
			return exit_code;
		range->commit = answer_number(answer, "commit");
		buckets = answer_array(answer, "buckets", &n);
		for (size_t i = 0; i < n; i++) {
			struct json_object *bucket = json_object_array_get_idx(buckets, i);
			uint64_t number = answer_number(bucket, "bucket");
			struct cell cell = read_bucket(bucket);

			if (number < n_cells)
				cell_add(&cells[first + number], &cell);
		}
		next = 0;
		if (answer_address(answer, "cursor", &next) && next <= cursor)
			exit_code = rpc_nonsense(input->rpc, "it does not get on");
		cursor = next;
		json_object_put(answer);
	} while (exit_code == CTL_OK && cursor);
	return exit_code;
}

enum ctl_exit cells_count(const struct command_input *input, struct cell_range *range,
			  struct cell *cells, size_t n_cells)
{
	enum ctl_exit exit_code = CTL_OK;

	for (size_t first = 0; first < n_cells && exit_code == CTL_OK; first += CELLS_PER_CALL)
		exit_code = count_some(
			input, range, first,
			n_cells - first < CELLS_PER_CALL ? n_cells - first : CELLS_PER_CALL, cells);
	return exit_code;
}

enum ctl_exit cells_find_range(const struct command_input *input, struct cell_range *ret)
{
	struct json_object *vm = NULL, *ram;
	uint64_t start = 0, end = 0;
	enum ctl_exit exit_code =
		rpc_call(input->rpc, "vm.get", params_about("vm", input->arguments[0]), &vm);

	if (exit_code != CTL_OK)
		return exit_code;
	ram = answer_object(vm, "ram");
	if (!answer_address(ram, "start", &start) || !answer_address(ram, "end", &end))
		exit_code = rpc_nonsense(input->rpc, "vm.get does not say where RAM is");
	json_object_put(vm);
	if (input->has_from)
		start = input->from;
	if (input->has_to)
		end = input->to;
	/* no more than x86 has of it, whatever anyone says */
	if (end > UINT64_C(1) << 52)
		end = UINT64_C(1) << 52;
	ret->start = start >> CELL_PAGE_SHIFT;
	ret->end = (end + (UINT64_C(1) << CELL_PAGE_SHIFT) - 1) >> CELL_PAGE_SHIFT;
	if (ret->end < ret->start)
		ret->end = ret->start;
	return exit_code;
}

enum mark cell_mark(const struct cell *cell)
{
	enum mark best = MARK_RWX;

	for (enum mark mark = 0; mark < MARK_RWX; mark++)
		if (cell->pages[mark] &&
		    (best == MARK_RWX || cell->pages[mark] > cell->pages[best]))
			best = mark;
	return best;
}

enum fullness cell_fullness(const struct cell *cell)
{
	uint64_t n = cell->n_ram - cell->pages[MARK_RWX];

	if (!n || n == cell->n_ram)
		return n ? FULL_ALL : FULL_NOTHING;
	return n * 2 > cell->n_ram      ? FULL_MORE
	       : n * 10 >= cell->n_ram  ? FULL_UP_TO_HALF
	       : n * 100 >= cell->n_ram ? FULL_UNDER_10
					: FULL_UNDER_1;
}
