/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rpc.methods, rpc.discover: what can be called, in short and in full.
 */
#include "daemon/allocate.h"
#include "json-put.h"
#include "methods.h"
#include "openrpc.h"

#include <assert.h>
#include <json-c/json.h>
#include <json-c/printbuf.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

/* A member inside of members inside of members; a static table is not deeper. */
#define MAX_PATH 128

static void put_words(struct json_object *object, const char *const *words)
{
	struct json_object *array = json_put_new_array(object, "choices");

	while (*words)
		json_put_next_text(array, *words++);
}

static void put_parameter(struct json_object *object, const struct method_parameter *parameter)
{
	json_put_text(object, "name", parameter->name);
	json_put_text(object, "type", method_type_name(parameter->type));
	json_put_boolean(object, "required", parameter->is_required);
	if (parameter->type == METHOD_INTEGER) {
		json_put_number(object, "minimum", parameter->minimum);
		json_put_number(object, "maximum", parameter->maximum);
	}
	if (parameter->choices)
		put_words(object, parameter->choices);
	json_put_text(object, "summary", parameter->summary);
}

/* The members of an answer in one list, each by its path: vms[].name. */
static void put_members(struct json_object *array, const struct method_member *member,
			const char *outer)
{
	for (; member->name; member++) {
		char path[MAX_PATH];
		struct json_object *object;

		if (member->value == VALUE_INCLUDED) {
			put_members(array, member->members, outer);
			continue;
		}
		snprintf(path, sizeof(path), "%s%s%s", outer, member->name,
			 member->flags & VALUE_ARRAY ? "[]" : "");
		object = json_put_next(array);
		json_put_text(object, "name", path);
		json_put_text(object, "type", method_value_name(member->value));
		json_put_boolean(object, "required", !(member->flags & VALUE_OPTIONAL));
		json_put_boolean(object, "nullable", member->flags & VALUE_NULLABLE);
		if (member->choices)
			put_words(object, member->choices);
		if (member->summary)
			json_put_text(object, "summary", member->summary);
		if (!member->members)
			continue;
		snprintf(path, sizeof(path), "%s%s%s.", outer, member->name,
			 member->flags & VALUE_ARRAY ? "[]" : "");
		put_members(array, member->members, path);
	}
}

static struct json_object *list_methods(void)
{
	struct json_object *list = json_put_there(json_object_new_object());
	struct json_object *array = json_put_new_array(list, "methods");

	for (const struct method *const *room = methods_rooms; *room; room++) {
		for (const struct method *method = *room; method->name; method++) {
			struct json_object *object = json_put_next(array), *parameters;

			json_put_text(object, "name", method->name);
			json_put_text(object, "summary", method->summary);
			json_put_text(object, "role", method_role_name(method->role));
			parameters = json_put_new_array(object, "parameters");
			for (const struct method_parameter *p = method->parameters; p->name; p++)
				put_parameter(json_put_next(parameters), p);
			put_members(json_put_new_array(object, "result"), method->members, "");
		}
	}
	return list;
}

/* ---- What is kept -------------------------------------------------------------------------- */

/*
 * An answer that is always the same.  To make it takes a millisecond of the event loop's and
 * megabytes of small objects; as text it is some 100 KiB.  So it is made with the first call.
 */
static void answer_kept(struct json_printed *kept, struct json_object *(*make)(void),
			struct jsonrpc_answer *answer)
{
	if (!kept->text) {
		*kept = json_print(make());
		malloc_trim(0);
	}
	json_put_printed(method_result(answer), kept);
}

static void method_rpc_methods(const struct method_call *call, struct jsonrpc_answer *answer)
{
	static struct json_printed list;

	(void)call;
	answer_kept(&list, list_methods, answer);
}

static void method_rpc_discover(const struct method_call *call, struct jsonrpc_answer *answer)
{
	static struct json_printed document;

	(void)call;
	answer_kept(&document, openrpc_document, answer);
}

/* ---- The table ----------------------------------------------------------------------------- */

static const char *const role_words[] = { "observer", "operator", NULL };

static const struct method_member parameter_members[] = {
	{ .name = "name", .value = VALUE_TEXT },
	{ .name = "type", .value = VALUE_TEXT },
	{ .name = "required", .value = VALUE_BOOLEAN },
	{ .name = "minimum",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_OPTIONAL,
	  .summary = "of an integer" },
	{ .name = "maximum",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_OPTIONAL,
	  .summary = "of an integer" },
	{ .name = "choices",
	  .value = VALUE_TEXT,
	  .flags = VALUE_OPTIONAL | VALUE_ARRAY,
	  .summary = "where there is a choice" },
	{ .name = "summary", .value = VALUE_TEXT },
	{},
};

static const struct method_member member_members[] = {
	{ .name = "name", .value = VALUE_TEXT, .summary = "where it is: vms[].name" },
	{ .name = "type", .value = VALUE_TEXT },
	{ .name = "required", .value = VALUE_BOOLEAN, .summary = "false: it may be missing" },
	{ .name = "nullable", .value = VALUE_BOOLEAN, .summary = "it may be null" },
	{ .name = "choices",
	  .value = VALUE_TEXT,
	  .flags = VALUE_OPTIONAL | VALUE_ARRAY,
	  .summary = "where there is a choice" },
	{ .name = "summary",
	  .value = VALUE_TEXT,
	  .flags = VALUE_OPTIONAL,
	  .summary = "where the name does not say it all" },
	{},
};

static const struct method_member described_method_members[] = {
	{ .name = "name", .value = VALUE_TEXT },
	{ .name = "summary", .value = VALUE_TEXT },
	{ .name = "role",
	  .value = VALUE_CHOICE,
	  .choices = role_words,
	  .summary = "who may call it" },
	{ .name = "parameters",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = parameter_members,
	  .summary = "in their order" },
	{ .name = "result",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = member_members,
	  .summary = "the members of the answer, those of members included" },
	{},
};

static const struct method_member rpc_methods_members[] = {
	{ .name = "methods",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = described_method_members },
	{},
};

static const struct method_member rpc_discover_members[] = {
	{ .name = "openrpc", .value = VALUE_TEXT, .summary = "the specification's version" },
	{ .name = "info", .value = VALUE_DOCUMENT },
	{ .name = "methods", .value = VALUE_DOCUMENT, .flags = VALUE_ARRAY },
	{ .name = "components", .value = VALUE_DOCUMENT },
	{ .name = "x-events",
	  .value = VALUE_DOCUMENT,
	  .flags = VALUE_ARRAY,
	  .summary = "an event's name, what it means, and the schema of its data" },
	{},
};

const struct method rpc_methods[] = {
	{
		.name = "rpc.discover",
		.summary = "An OpenRPC document: every method, parameter, result and error",
		.members = rpc_discover_members,
		.run = method_rpc_discover,
	},
	{
		.name = "rpc.methods",
		.summary =
			"The methods of this socket, with their parameters and results, in short",
		.members = rpc_methods_members,
		.run = method_rpc_methods,
	},
	{},
};
