/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/kvmattrctl-runs.h"

#include "client/kvmattrctl-terminal.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>

/* Runs in one answer: as many as the daemon gives. */
#define RUNS_PER_CALL 1024

struct json_object *runs_params(const struct command_input *input, const char *subject)
{
	struct json_object *params = params_about(subject, input->arguments[0]);

	params_add_number(params, "vtl", input->vtl);
	if (input->has_from)
		params_add_address(params, "start", input->from);
	if (input->has_to)
		params_add_address(params, "end", input->to);
	return params;
}

static void write_run(struct writer *writer, struct json_object *run, uint64_t gpa)
{
	uint64_t n_pages = answer_number(run, "pages");

	writer_begin_row(writer);
	writer_address(writer, NULL, NULL, gpa);
	writer_address(writer, NULL, NULL, gpa + (n_pages << 12));
	writer_number(writer, NULL, NULL, n_pages);
	writer_bytes(writer, NULL, NULL, n_pages << 12);
}

/* The runs of one answer; *cursor is where to go on, *ret_more whether there is more. */
static enum ctl_exit write_runs(const struct command_input *input, const struct run_walk *walk,
				struct json_object *answer, uint64_t *cursor, bool *ret_more,
				size_t *n_runs)
{
	uint64_t next = 0, gpa = 0;
	size_t n;
	struct json_object *runs = answer_array(answer, "runs", &n);

	for (size_t i = 0; i < n; i++) {
		struct json_object *run = json_object_array_get_idx(runs, i);

		if (!answer_address(run, "gpa", &gpa))
			return rpc_nonsense(input->rpc, "a run has no address");
		write_run(input->writer, run, gpa);
		walk->write(input->writer, run);
	}
	*n_runs += n;
	*ret_more = answer_address(answer, "cursor", &next);
	if (*ret_more && next <= *cursor)
		return rpc_nonsense(input->rpc, "it does not get on");
	*cursor = next;
	return CTL_OK;
}

enum ctl_exit runs_walk(const struct command_input *input, const struct run_walk *walk)
{
	struct json_object *first = NULL;
	struct writer *writer = input->writer;
	enum ctl_exit exit_code = CTL_OK;
	uint64_t cursor = 0;
	bool has_more = true;
	size_t n_runs = 0;

	while (exit_code == CTL_OK && has_more) {
		struct json_object *params = runs_params(input, walk->subject), *answer = NULL;

		params_add_number(params, "limit", RUNS_PER_CALL);
		if (walk->ask)
			walk->ask(input, params, first);
		if (first)
			params_add_address(params, "cursor", cursor);
		exit_code = rpc_call(input->rpc, walk->method, params, &answer);
		if (exit_code != CTL_OK)
			break;
		if (!first) {
			first = json_object_get(answer);
			writer_begin_object(writer, NULL, NULL);
			walk->begin(input, first);
			writer_begin_table(writer, "runs", NULL, walk->columns, walk->n_columns);
		}
		exit_code = write_runs(input, walk, answer, &cursor, &has_more, &n_runs);
		json_object_put(answer);
	}
	if (exit_code == CTL_OK) {
		if (!n_runs)
			writer_say(writer, "%s", walk->nothing);
		writer_end_table(writer);
		writer_end_object(writer);
	}
	json_object_put(first);
	return exit_code;
}
