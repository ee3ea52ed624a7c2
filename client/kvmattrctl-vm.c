/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl vm list, vm get, vm views, vm layers, vm sessions, sessions.
 */
#include "client/kvmattrctl-vm.h"

#include "client/kvmattrctl-command.h"
#include "client/kvmattrctl-terminal.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

void vm_write_state(struct writer *writer, struct json_object *vm)
{
	const char *state = answer_text(vm, "state");
	bool is_degraded = answer_boolean(vm, "degraded"), is_stuck = !strcmp(state, "stuck");
	bool is_frozen = answer_boolean(vm, "frozen");

	writer_text(writer, "state", NULL, state);
	writer_boolean(writer, "degraded", NULL, is_degraded);
	writer_boolean(writer, "frozen", NULL, is_frozen);
	writer_text_toned(writer, NULL, "State",
			  is_stuck      ? state
			  : is_degraded ? "degraded"
			  : is_frozen   ? "frozen"
					: state,
			  is_degraded || is_stuck ? WRITER_BAD
			  : is_frozen             ? WRITER_WARNING
						  : WRITER_GOOD);
}

static const struct writer_column list_columns[] = {
	{ "name", "VM", WRITER_COLUMN_TEXT },
	VM_STATE_COLUMNS,
	{ "ram_bytes", "RAM", WRITER_COLUMN_NUMBER },
	{ "private_bytes", NULL, WRITER_COLUMN_NUMBER },
	{ "views", "VTLS", WRITER_COLUMN_TEXT },
	{ "layers", "LAYERS", WRITER_COLUMN_TEXT },
	{ "sessions", "SESSIONS", WRITER_COLUMN_NUMBER },
	{ "detached_sessions", NULL, WRITER_COLUMN_NUMBER },
	{ "commit", "COMMIT", WRITER_COLUMN_NUMBER },
	{ "queue", NULL, WRITER_COLUMN_NUMBER },
	{ "executor", "EXECUTOR", WRITER_COLUMN_TEXT | WRITER_COLUMN_IF_ROOM },
	{ "simulated", "SIMULATED", WRITER_COLUMN_TEXT | WRITER_COLUMN_IF_ROOM },
	{ "unknown_pages", NULL, WRITER_COLUMN_NUMBER },
	{ "recovered", NULL, WRITER_COLUMN_TEXT },
	{ "journal", NULL, WRITER_COLUMN_TEXT },
};

enum ctl_exit command_vm_list(const struct command_input *input)
{
	struct writer *writer = input->writer;
	struct json_object *list = NULL, *vms;
	enum ctl_exit exit_code = rpc_call(input->rpc, "vm.list", NULL, &list);
	size_t n;

	if (exit_code != CTL_OK)
		return exit_code;
	vms = answer_array(list, "vms", &n);
	writer_begin_object(writer, NULL, NULL);
	if (!n)
		writer_say(writer, "No VM is registered.");
	writer_begin_table(writer, "vms", NULL, list_columns, COUNT(list_columns));
	for (size_t i = 0; i < n; i++) {
		struct json_object *vm = json_object_array_get_idx(vms, i);

		writer_begin_row(writer);
		writer_text(writer, NULL, NULL, answer_text(vm, "name"));
		vm_write_state(writer, vm);
		writer_bytes(writer, NULL, NULL, answer_number(vm, "ram_pages") << 12);
		writer_bytes(writer, NULL, NULL, answer_number(vm, "private_pages") << 12);
		writer_vtls(writer, NULL, NULL, answer_vtls(vm, "views"));
		writer_vtls(writer, NULL, NULL, answer_vtls(vm, "layers"));
		writer_number(writer, NULL, NULL, answer_number(vm, "sessions"));
		writer_number(writer, NULL, NULL, answer_number(vm, "detached_sessions"));
		writer_number(writer, NULL, NULL, answer_number(vm, "commit"));
		writer_number(writer, NULL, NULL, answer_number(vm, "queue"));
		writer_text(writer, NULL, NULL, answer_text(vm, "executor"));
		writer_boolean(writer, NULL, NULL, answer_boolean(vm, "simulated"));
		writer_number(writer, NULL, NULL, answer_number(vm, "unknown_pages"));
		writer_boolean(writer, NULL, NULL, answer_boolean(vm, "recovered"));
		writer_text(writer, NULL, NULL, answer_text(vm, "journal"));
	}
	writer_end_table(writer);
	writer_end_object(writer);
	json_object_put(list);
	return CTL_OK;
}

static const struct writer_column view_columns[] = {
	{ "vtl", "VTL", WRITER_COLUMN_NUMBER },
	{ "abi", "KVM'S DIALECT", WRITER_COLUMN_TEXT },
	{ "supported", "ATTRIBUTE BITS", WRITER_COLUMN_TEXT },
};

static const struct writer_column ram_columns[] = {
	{ "gpa", "FROM", WRITER_COLUMN_NUMBER },
	{ "end", "TO", WRITER_COLUMN_NUMBER },
	{ "pages", "PAGES", WRITER_COLUMN_NUMBER },
	{ "bytes", "SIZE", WRITER_COLUMN_NUMBER },
};

static const struct writer_column layer_columns[] = {
	{ "layer", "LAYER", WRITER_COLUMN_NUMBER },
	{ "restricts", "RESTRICTS VTL", WRITER_COLUMN_TEXT },
	{ "default", "DEFAULT", WRITER_COLUMN_TEXT },
	{ "mbec", "MBEC", WRITER_COLUMN_TEXT },
};

/* The first is for sessions of many VMs; those of one do without it. */
static const struct writer_column session_columns[] = {
	{ "vm", "VM", WRITER_COLUMN_TEXT },
	{ "id", "SESSION", WRITER_COLUMN_NUMBER },
	{ "role", "ROLE", WRITER_COLUMN_TEXT },
	{ "vtl", "VTL", WRITER_COLUMN_NUMBER },
	{ "peer", "PEER", WRITER_COLUMN_TEXT },
	{ "pid", "PROCESS", WRITER_COLUMN_NUMBER },
	{ "uid", "USER", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
	{ "in_flight", "IN FLIGHT", WRITER_COLUMN_NUMBER },
	{ "last_seqno", "LAST UPDATE", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
	{ "state", "STATE", WRITER_COLUMN_TEXT },
};

static void write_views(struct writer *writer, struct json_object *vm)
{
	size_t n;
	struct json_object *views = answer_array(vm, "views", &n);

	writer_begin_table(writer, "views", "Views", view_columns, COUNT(view_columns));
	for (size_t i = 0; i < n; i++) {
		struct json_object *view = json_object_array_get_idx(views, i);

		writer_begin_row(writer);
		writer_number(writer, NULL, NULL, answer_number(view, "vtl"));
		writer_text(writer, NULL, NULL, answer_text(view, "abi"));
		writer_text(writer, NULL, NULL, answer_text(view, "supported"));
	}
	writer_end_table(writer);
}

static void write_ram(struct writer *writer, struct json_object *ram)
{
	size_t n;
	struct json_object *ranges = answer_array(ram, "ranges", &n);

	writer_begin_table(writer, "ram", n ? "RAM" : NULL, ram_columns, COUNT(ram_columns));
	for (size_t i = 0; i < n; i++) {
		struct json_object *range = json_object_array_get_idx(ranges, i);
		uint64_t n_pages = answer_number(range, "pages"), gpa = 0;

		if (!answer_address(range, "gpa", &gpa))
			continue;
		writer_begin_row(writer);
		writer_address(writer, NULL, NULL, gpa);
		writer_address(writer, NULL, NULL, gpa + (n_pages << 12));
		writer_number(writer, NULL, NULL, n_pages);
		writer_bytes(writer, NULL, NULL, n_pages << 12);
	}
	writer_end_table(writer);
	if (answer_boolean(ram, "more"))
		writer_say(writer, "... and more ranges behind these");
}

static void write_layers(struct writer *writer, struct json_object *vm)
{
	size_t n;
	struct json_object *layers = answer_array(vm, "layers", &n);

	if (!n)
		writer_say(writer, "\nNo layer is enabled: no agent has imposed anything yet.");
	writer_begin_table(writer, "layers", n ? "Layers" : NULL, layer_columns,
			   COUNT(layer_columns));
	for (size_t i = 0; i < n; i++) {
		struct json_object *layer = json_object_array_get_idx(layers, i);

		writer_begin_row(writer);
		writer_number(writer, NULL, NULL, answer_number(layer, "layer"));
		writer_vtls(writer, NULL, NULL, answer_vtls(layer, "restricts"));
		writer_text(writer, NULL, NULL, answer_text(layer, "default"));
		writer_boolean(writer, NULL, NULL, answer_boolean(layer, "mbec"));
	}
	writer_end_table(writer);
}

static enum writer_tone session_tone(const char *state)
{
	return strcmp(state, "connected") ? WRITER_WARNING : WRITER_PLAIN;
}

/* Rows for the sessions of one VM; name: that VM's where the table has a column for it. */
static void write_session_rows(struct writer *writer, struct json_object *vm, const char *name)
{
	size_t n;
	struct json_object *sessions = answer_array(vm, "sessions", &n);

	for (size_t i = 0; i < n; i++) {
		struct json_object *session = json_object_array_get_idx(sessions, i);
		const char *state = answer_text(session, "state");

		writer_begin_row(writer);
		if (name)
			writer_text(writer, NULL, NULL, name);
		writer_id(writer, NULL, NULL, answer_number(session, "id"));
		writer_text(writer, NULL, NULL, answer_text(session, "role"));
		if (answer_is_null(session, "vtl"))
			writer_nothing(writer, NULL, NULL);
		else
			writer_number(writer, NULL, NULL, answer_number(session, "vtl"));
		writer_text(writer, NULL, NULL, answer_text(session, "peer"));
		writer_id(writer, NULL, NULL, answer_number(session, "pid"));
		writer_id(writer, NULL, NULL, answer_number(session, "uid"));
		writer_number(writer, NULL, NULL, answer_number(session, "in_flight"));
		writer_id(writer, NULL, NULL, answer_number(session, "last_seqno"));
		writer_text_toned(writer, NULL, NULL, state, session_tone(state));
	}
}

static void write_sessions(struct writer *writer, struct json_object *vm)
{
	writer_begin_table(writer, "sessions", "Sessions", session_columns + 1,
			   COUNT(session_columns) - 1);
	write_session_rows(writer, vm, NULL);
	writer_end_table(writer);
}

static enum ctl_exit get_vm(const struct command_input *input, const char *name,
			    struct json_object **ret_vm)
{
	return rpc_call(input->rpc, "vm.get", params_about("vm", name), ret_vm);
}

enum ctl_exit command_vm_get(const struct command_input *input)
{
	struct writer *writer = input->writer;
	struct json_object *vm = NULL;
	enum ctl_exit exit_code = get_vm(input, input->arguments[0], &vm);
	char registered[64];

	if (exit_code != CTL_OK)
		return exit_code;
	writer_begin_object(writer, NULL, NULL);
	writer_text(writer, "name", "VM", answer_text(vm, "name"));
	vm_write_state(writer, vm);
	writer_number(writer, "unknown_pages", "Unknown pages", answer_number(vm, "unknown_pages"));
	writer_number(writer, "commit", "Commit", answer_number(vm, "commit"));
	writer_number(writer, "queue", "Waiting updates", answer_number(vm, "queue"));
	writer_bytes(writer, "ram_bytes", "RAM", answer_number(vm, "ram_pages") << 12);
	writer_bytes(writer, "private_bytes", "of this, private",
		     answer_number(vm, "private_pages") << 12);
	writer_text(writer, "executor", NULL, answer_text(vm, "executor"));
	writer_text(writer, NULL, "Calls are made by",
		    !strcmp(answer_text(vm, "executor"), "daemon") ? "the daemon" : "the VMM");
	writer_boolean(writer, "simulated", "Simulated", answer_boolean(vm, "simulated"));
	writer_number(writer, "registered_us", NULL, answer_number(vm, "registered_us"));
	writer_text(writer, NULL, "Registered",
		    terminal_time(registered, answer_number(vm, "registered_us")));
	writer_boolean(writer, "recovered", "Recovered", answer_boolean(vm, "recovered"));
	writer_text(writer, "journal", "Journal", answer_text(vm, "journal"));
	writer_bytes(writer, "memory_bytes", "Daemon's memory", answer_number(vm, "memory_bytes"));
	write_views(writer, vm);
	write_ram(writer, answer_object(vm, "ram"));
	write_layers(writer, vm);
	write_sessions(writer, vm);
	writer_end_object(writer);
	json_object_put(vm);
	return CTL_OK;
}

/* The sessions of all VMs.  One that was released since they were listed has none any more. */
static enum ctl_exit write_all_sessions(const struct command_input *input, struct json_object *vms,
					size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *name = answer_text(json_object_array_get_idx(vms, i), "name");
		struct json_object *vm = NULL;
		enum ctl_exit exit_code;
		char *why;

		terminal_keep_complaints(true);
		exit_code = get_vm(input, name, &vm);
		terminal_keep_complaints(false);
		why = terminal_take_complaint();
		if (exit_code == CTL_UNREACHABLE && why)
			terminal_complain("%s", why);
		free(why);
		if (exit_code == CTL_UNREACHABLE)
			return exit_code;
		write_session_rows(input->writer, vm, name);
		json_object_put(vm);
	}
	return CTL_OK;
}

enum ctl_exit command_sessions(const struct command_input *input)
{
	struct json_object *vm = NULL, *list = NULL, *vms = NULL;
	struct writer *writer = input->writer;
	const char *name = input->arguments[0];
	enum ctl_exit exit_code =
		name ? get_vm(input, name, &vm) : rpc_call(input->rpc, "vm.list", NULL, &list);
	size_t n = 0;

	if (exit_code != CTL_OK)
		return exit_code;
	vms = answer_array(list, "vms", &n);
	writer_begin_object(writer, NULL, NULL);
	if (!name && !n)
		writer_say(writer, "No VM is registered, and so nobody is connected.");
	writer_begin_table(writer, "sessions", NULL, session_columns, COUNT(session_columns));
	if (name)
		write_session_rows(writer, vm, name);
	else
		exit_code = write_all_sessions(input, vms, n);
	writer_end_table(writer);
	writer_end_object(writer);
	json_object_put(vm);
	json_object_put(list);
	return exit_code;
}

/* One of a VM's lists by itself. */
static enum ctl_exit write_list(const struct command_input *input, const char *method,
				void (*write)(struct writer *writer, struct json_object *vm))
{
	struct json_object *answer = NULL;
	enum ctl_exit exit_code =
		rpc_call(input->rpc, method, params_about("vm", input->arguments[0]), &answer);

	if (exit_code != CTL_OK)
		return exit_code;
	writer_begin_object(input->writer, NULL, NULL);
	writer_text(input->writer, "vm", NULL, answer_text(answer, "vm"));
	write(input->writer, answer);
	writer_end_object(input->writer);
	json_object_put(answer);
	return CTL_OK;
}

enum ctl_exit command_vm_views(const struct command_input *input)
{
	return write_list(input, "vm.views", write_views);
}

enum ctl_exit command_vm_layers(const struct command_input *input)
{
	return write_list(input, "vm.layers", write_layers);
}

enum ctl_exit command_vm_sessions(const struct command_input *input)
{
	return write_list(input, "vm.sessions", write_sessions);
}
