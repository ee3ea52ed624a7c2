/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs of pages, as several methods answer them: asked for until there are no more, and written as
 * one table.
 */
#ifndef KVMATTRCTL_RUNS_H
#define KVMATTRCTL_RUNS_H

#include "client/kvmattrctl-command.h"

#include <json-c/json_types.h>

/* What a walk through runs asks, and what it shows. */
struct run_walk {
	const char *method;
	const char *subject; /* the parameter that the first argument is: "vm", "journal" */
	/* Adds what else there is to ask; first: the first answer, or NULL.  May be NULL. */
	void (*ask)(const struct command_input *input, struct json_object *params,
		    struct json_object *first);
	/* Writes what stands before the runs. */
	void (*begin)(const struct command_input *input, struct json_object *first);
	/* The columns begin with the four of RUN_COLUMNS, which are written by the walk. */
	const struct writer_column *columns;
	size_t n_columns;
	/* Writes the others. */
	void (*write)(struct writer *writer, struct json_object *run);
	const char *nothing; /* what is said where there are no runs */
};

#define RUN_COLUMNS                                                                     \
	{ "gpa", "FROM", WRITER_COLUMN_NUMBER }, { "end", "TO", WRITER_COLUMN_NUMBER }, \
		{ "pages", "PAGES", WRITER_COLUMN_NUMBER },                             \
	{                                                                               \
		"bytes", "SIZE", WRITER_COLUMN_NUMBER                                   \
	}

/* With --vtl, --from and --to, as far as the command has them. */
enum ctl_exit runs_walk(const struct command_input *input, const struct run_walk *walk);
/* The parameters of such a call. */
struct json_object *runs_params(const struct command_input *input, const char *subject);

#endif
