/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl status, ping, log-level, metrics, rpc.
 */
#include "client/kvmattrctl-command.h"
#include "client/kvmattrctl-terminal.h"
#include "client/kvmattrctl-vm.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct writer_column status_columns[] = {
	{ "name", "VM", WRITER_COLUMN_TEXT },
	VM_STATE_COLUMNS,
	{ "ram_bytes", "RAM", WRITER_COLUMN_NUMBER },
	{ "views", "VTLS", WRITER_COLUMN_TEXT },
	{ "layers", "LAYERS", WRITER_COLUMN_TEXT },
	{ "sessions", NULL, WRITER_COLUMN_NUMBER },
	{ "updates", "UPDATES", WRITER_COLUMN_NUMBER },
	{ "pages", "PAGES", WRITER_COLUMN_NUMBER },
	{ "calls", "CALLS", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
	{ "calls_saved", "SAVED", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
};

/* The statistics of the VM of that name, or NULL. */
static struct json_object *find_statistics(struct json_object *statistics, const char *name)
{
	size_t n;
	struct json_object *vms = answer_array(statistics, "vms", &n);

	for (size_t i = 0; i < n; i++) {
		struct json_object *vm = json_object_array_get_idx(vms, i);

		if (!strcmp(answer_text(vm, "vm"), name))
			return vm;
	}
	return NULL;
}

static void write_vms(struct writer *writer, struct json_object *list,
		      struct json_object *statistics)
{
	size_t n;
	struct json_object *vms = answer_array(list, "vms", &n);

	if (!n)
		writer_say(writer,
			   "\nNo VM is registered.  A VMM registers its VM with libkvmattr; "
			   "kvmattr-simvm is one to try it with.");
	writer_begin_table(writer, "vms", n ? "VMs" : NULL, status_columns,
			   sizeof(status_columns) / sizeof(status_columns[0]));
	for (size_t i = 0; i < n; i++) {
		struct json_object *vm = json_object_array_get_idx(vms, i);
		struct json_object *numbers = find_statistics(statistics, answer_text(vm, "name"));

		writer_begin_row(writer);
		writer_text(writer, NULL, NULL, answer_text(vm, "name"));
		vm_write_state(writer, vm);
		writer_bytes(writer, NULL, NULL, answer_number(vm, "ram_pages") << 12);
		writer_vtls(writer, NULL, NULL, answer_vtls(vm, "views"));
		writer_vtls(writer, NULL, NULL, answer_vtls(vm, "layers"));
		writer_number(writer, NULL, NULL, answer_number(vm, "sessions"));
		writer_number(writer, NULL, NULL, answer_number(numbers, "updates"));
		writer_number(writer, NULL, NULL, answer_number(numbers, "pages"));
		writer_number(writer, NULL, NULL, answer_number(numbers, "calls"));
		vm_write_calls_saved(writer, numbers);
	}
	writer_end_table(writer);
}

static const struct writer_column unrecovered_columns[] = {
	{ "vm", "VM", WRITER_COLUMN_TEXT },         { "journal", "JOURNAL", WRITER_COLUMN_TEXT },
	{ "file", "FILE", WRITER_COLUMN_TEXT },     { "offset", "OFFSET", WRITER_COLUMN_NUMBER },
	{ "text", "WHY NOT", WRITER_COLUMN_WORDS },
};

/* VMs that could not be recovered from their journals: their owners find out, and so should we. */
static void write_unrecovered(struct writer *writer, struct json_object *journals)
{
	size_t n;
	struct json_object *unrecovered = answer_array(journals, "unrecovered", &n);

	writer_begin_table(writer, "unrecovered", n ? "VMs that could not be recovered" : NULL,
			   unrecovered_columns,
			   sizeof(unrecovered_columns) / sizeof(unrecovered_columns[0]));
	for (size_t i = 0; i < n; i++) {
		struct json_object *journal = json_object_array_get_idx(unrecovered, i);

		writer_begin_row(writer);
		writer_text(writer, NULL, NULL, answer_text(journal, "vm"));
		writer_text(writer, NULL, NULL, answer_text(journal, "journal"));
		writer_text(writer, NULL, NULL, answer_text(journal, "file"));
		writer_id(writer, NULL, NULL, answer_number(journal, "offset"));
		writer_text(writer, NULL, NULL, answer_text(journal, "text"));
	}
	writer_end_table(writer);
}

enum ctl_exit command_status(const struct command_input *input)
{
	struct json_object *daemon = NULL, *list = NULL, *statistics = NULL, *counters, *memory;
	struct writer *writer = input->writer;
	char uptime[32], *version;
	enum ctl_exit exit_code = rpc_call(input->rpc, "daemon.get", NULL, &daemon);

	if (exit_code == CTL_OK)
		exit_code = rpc_call(input->rpc, "vm.list", NULL, &list);
	if (exit_code == CTL_OK)
		exit_code = rpc_call(input->rpc, "stats.get", NULL, &statistics);
	if (exit_code != CTL_OK)
		goto out;
	counters = answer_object(daemon, "counters");
	version = terminal_safe(answer_text(daemon, "version"));
	writer_begin_object(writer, NULL, NULL);
	writer_say(writer,
		   "kvmattrd %s, process %" PRIu64 ", up for %s; VMs: %" PRIu64
		   ", sessions: %" PRIu64 "%s",
		   version, answer_number(daemon, "pid"),
		   terminal_duration(uptime, answer_number(daemon, "uptime_us")),
		   answer_number(counters, "vms"), answer_number(counters, "sessions"),
		   answer_boolean(daemon, "allow_simulated") ? "\nSimulated VMs are allowed." : "");
	writer_text(writer, "version", NULL, answer_text(daemon, "version"));
	writer_id(writer, "pid", NULL, answer_number(daemon, "pid"));
	writer_duration(writer, "uptime_us", NULL, answer_number(daemon, "uptime_us"));
	writer_boolean(writer, "allow_simulated", NULL, answer_boolean(daemon, "allow_simulated"));
	memory = answer_object(daemon, "memory");
	writer_bytes(writer, "memory_bytes", "Memory", answer_number(memory, "held_bytes"));
	writer_bytes(writer, "max_memory_bytes", "of at most",
		     answer_number(memory, "limit_bytes"));
	write_vms(writer, list, statistics);
	write_unrecovered(writer, answer_object(daemon, "journals"));
	writer_end_object(writer);
	free(version);
out:
	json_object_put(daemon);
	json_object_put(list);
	json_object_put(statistics);
	return exit_code;
}

enum ctl_exit command_ping(const struct command_input *input)
{
	struct json_object *daemon = NULL;
	struct timespec before, after;
	enum ctl_exit exit_code;
	char duration[32], *version;
	uint64_t us;

	clock_gettime(CLOCK_MONOTONIC, &before);
	exit_code = rpc_call(input->rpc, "daemon.get", NULL, &daemon);
	clock_gettime(CLOCK_MONOTONIC, &after);
	if (exit_code != CTL_OK)
		return exit_code;
	us = (uint64_t)((after.tv_sec - before.tv_sec) * 1000000 +
			(after.tv_nsec - before.tv_nsec) / 1000);
	version = terminal_safe(answer_text(daemon, "version"));
	writer_begin_object(input->writer, NULL, NULL);
	writer_say(input->writer, "kvmattrd %s at %s answered in %s", version, rpc_path(input->rpc),
		   terminal_duration(duration, us));
	writer_text(input->writer, "version", NULL, answer_text(daemon, "version"));
	writer_text(input->writer, "socket", NULL, rpc_path(input->rpc));
	writer_duration(input->writer, "answered_us", NULL, us);
	writer_end_object(input->writer);
	free(version);
	json_object_put(daemon);
	return CTL_OK;
}

enum ctl_exit command_log_level(const struct command_input *input)
{
	const char *level = input->arguments[0], *before;
	struct json_object *params = level ? params_about("level", level) : NULL, *answer = NULL;
	enum ctl_exit exit_code =
		rpc_call(input->rpc, level ? "log.set_level" : "log.get_level", params, &answer);
	char *is, *was;

	if (exit_code != CTL_OK)
		return exit_code;
	before = answer_text(answer, "before");
	is = terminal_safe(answer_text(answer, "level"));
	was = terminal_safe(before);
	writer_begin_object(input->writer, NULL, NULL);
	writer_say(input->writer, *was ? "The log's level is %s; it was %s." : "%s", is, was);
	writer_text(input->writer, "level", NULL, answer_text(answer, "level"));
	if (*before)
		writer_text(input->writer, "before", NULL, before);
	writer_end_object(input->writer);
	free(is);
	free(was);
	json_object_put(answer);
	return CTL_OK;
}

/* Text in the form that others defined, piece by piece; a writer has nothing to add to it. */
enum ctl_exit command_metrics(const struct command_input *input)
{
	enum ctl_exit exit_code = CTL_OK;
	char *cursor = NULL;

	do {
		struct json_object *params = cursor ? params_about("cursor", cursor) : NULL;
		struct json_object *answer = NULL;
		const char *next;

		exit_code = rpc_call(input->rpc, "daemon.metrics", params, &answer);
		if (exit_code != CTL_OK)
			break;
		if (!input->is_raw)
			fputs(answer_text(answer, "text"), stdout);
		next = answer_text(answer, "cursor");
		if (*next && cursor && !strcmp(next, cursor))
			exit_code = rpc_nonsense(input->rpc, "it does not get on");
		free(cursor);
		cursor = *next ? terminal_there(strdup(next)) : NULL;
		json_object_put(answer);
	} while (exit_code == CTL_OK && cursor);
	free(cursor);
	return exit_code;
}

/* Parameters as they were typed. */
static bool parse_parameters(const char *text, struct json_object **ret)
{
	struct json_tokener *tokener = terminal_there(json_tokener_new());
	struct json_object *object;
	bool is_fine;

	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	object = json_tokener_parse_ex(tokener, text, (int)strlen(text) + 1);
	is_fine = json_tokener_get_error(tokener) == json_tokener_success &&
		  (json_object_is_type(object, json_type_object) ||
		   json_object_is_type(object, json_type_array));
	if (!is_fine) {
		terminal_complain(
			"the parameters have to be a JSON object or array%s%s.\n"
			"For instance: kvmattrctl rpc vm.get '{\"vm\": \"demo\"}'",
			object ? "" : ": ",
			object ? "" : json_tokener_error_desc(json_tokener_get_error(tokener)));
		json_object_put(object);
	} else {
		*ret = object;
	}
	json_tokener_free(tokener);
	return is_fine;
}

enum ctl_exit command_rpc(const struct command_input *input)
{
	struct json_object *params = NULL, *result = NULL;
	enum ctl_exit exit_code;

	if (input->arguments[1] && !parse_parameters(input->arguments[1], &params))
		return CTL_USAGE;
	exit_code = rpc_call(input->rpc, input->arguments[0], params, &result);
	if (exit_code != CTL_OK)
		return exit_code;
	/* as it is, whatever the form */
	if (!input->is_raw)
		terminal_write_json(stdout, result);
	json_object_put(result);
	return CTL_OK;
}
