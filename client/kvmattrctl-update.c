/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl vm update: one update of a VM, as its owner could make it.
 *
 * Which kinds there are and what each needs is the daemon's to say; here is only what a command
 * line can get wrong by itself.
 */
#include "client/kvmattrctl-command.h"
#include "client/kvmattrctl-operate.h"
#include "client/kvmattrctl-terminal.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_restricts(struct json_object *params, unsigned int vtls)
{
	struct json_object *array = terminal_there(json_object_new_array());

	for (int vtl = 0; vtl < 16; vtl++)
		if (vtls >> vtl & 1 &&
		    json_object_array_add(array, terminal_there(json_object_new_int(vtl))) < 0)
			terminal_there(NULL);
	params_add(params, "restricts", array);
}

static void add_ranges(struct json_object *params, const struct command_update *update)
{
	struct json_object *array = terminal_there(json_object_new_array());

	for (size_t i = 0; i < update->n_ranges; i++) {
		struct json_object *range = terminal_there(json_object_new_object());

		params_add_address(range, "gpa", update->ranges[i].gpa);
		params_add_number(range, "pages", update->ranges[i].n_pages);
		if (json_object_array_add(array, range) < 0)
			terminal_there(NULL);
	}
	params_add(params, "ranges", array);
}

static struct json_object *make_params(const struct command_input *input)
{
	const struct command_update *update = &input->update;
	struct json_object *params = params_about("vm", input->arguments[0]);

	params_add_text(params, "kind", input->arguments[1]);
	if (update->layer)
		params_add_number(params, "layer", update->layer);
	if (update->protection)
		params_add_text(params, "protection", update->protection);
	if (update->visibility)
		params_add_text(params, "visibility", update->visibility);
	if (update->restricts)
		add_restricts(params, update->restricts);
	if (update->mbec)
		params_add(params, "mbec", json_object_new_boolean(true));
	if (update->n_ranges)
		add_ranges(params, update);
	return params;
}

/* Kinds that take away what agents have built up; for one of them, that. */
static const char *consequence_of(const char *kind)
{
	return !strcmp(kind, "reset-vm")
		       ? "all layers will be reset: nothing is protected any more."
	       : !strcmp(kind, "reset-layer")
		       ? "the layer will be reset: what it imposes is not protected any more."
	       : !strcmp(kind, "remove-ram")
		       ? "the policy of these pages will be forgotten: they are no RAM any more."
		       : NULL;
}

static bool is_update_meant(const struct command_input *input)
{
	const char *consequence = consequence_of(input->arguments[1]);
	char *name = terminal_safe(input->arguments[0]);
	bool is_meant = !consequence || operate_is_meant(input, "VM %s: %s", name, consequence);

	free(name);
	return is_meant;
}

enum ctl_exit command_vm_update(const struct command_input *input)
{
	struct writer *writer = input->writer;
	struct json_object *answer = NULL;
	enum ctl_exit exit_code;
	uint64_t n_elements;
	char number[32];

	for (size_t i = 0; i < input->update.n_ranges; i++)
		if (input->update.ranges[i].gpa & 0xfff) {
			terminal_complain("no page begins at 0x%" PRIx64 "; the one that it is in "
					  "begins at 0x%" PRIx64 ".",
					  input->update.ranges[i].gpa,
					  input->update.ranges[i].gpa & ~UINT64_C(0xfff));
			return CTL_USAGE;
		}
	if (!is_update_meant(input))
		return CTL_REFUSED;
	exit_code = operate_call(input, "vm.update", make_params(input), &answer);
	if (exit_code != CTL_OK)
		return exit_code;
	n_elements = answer_number(answer, "elements");
	writer_begin_object(writer, NULL, NULL);
	writer_say(writer, "In force in every view as of commit %" PRIu64 ": %s %s.",
		   answer_number(answer, "commit"), terminal_number(number, n_elements),
		   n_elements == 1 ? "element" : "elements");
	writer_text(writer, "vm", NULL, answer_text(answer, "vm"));
	writer_number(writer, "commit", NULL, answer_number(answer, "commit"));
	writer_number(writer, "elements", NULL, n_elements);
	writer_end_object(writer);
	json_object_put(answer);
	return CTL_OK;
}
