/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include "openrpc.h"

#include "events.h"
#include "json-put.h"
#include "methods.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

/* As strings these are what method-arguments.c takes. */
#define ADDRESS_TAKEN "^0[xX][0-9a-fA-F]+$"
#define PLACE_TAKEN   "^[0-9]{1,19}:[0-9]{1,19}$"
/* kvmattr_is_vm_name() */
#define VM_NAME "^[A-Za-z0-9_][A-Za-z0-9._-]{0,62}$"
/* And this is what json_put_address() writes. */
#define ADDRESS_WRITTEN "^0x[0-9a-f]+$"

static void put_reference(struct json_object *object, const char *kind, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "#/components/%s/%s", kind, name);
	json_put_text(object, "$ref", path);
}

static void put_type(struct json_object *schema, const char *type, bool is_nullable)
{
	struct json_object *types;

	if (!is_nullable) {
		json_put_text(schema, "type", type);
		return;
	}
	types = json_put_new_array(schema, "type");
	json_put_next_text(types, type);
	json_put_next_text(types, "null");
}

static void put_choices(struct json_object *schema, const char *const *choices, bool is_nullable)
{
	struct json_object *words = json_put_new_array(schema, "enum");

	while (*choices)
		json_put_next_text(words, *choices++);
	if (is_nullable)
		json_object_array_add(words, NULL);
}

static void put_integer(struct json_object *schema, uint64_t minimum, uint64_t maximum)
{
	json_put_text(schema, "type", "integer");
	json_put_number(schema, "minimum", minimum);
	json_put_number(schema, "maximum", maximum);
}

/* ---- Parameters ---------------------------------------------------------------------------- */

static void put_parameter_schema(struct json_object *schema,
				 const struct method_parameter *parameter)
{
	switch (parameter->type) {
	case METHOD_VM:
	case METHOD_JOURNAL:
		json_put_text(schema, "type", "string");
		return;
	case METHOD_NAME:
		json_put_text(schema, "type", "string");
		json_put_text(schema, "pattern", VM_NAME);
		return;
	case METHOD_INTEGER:
		put_integer(schema, parameter->minimum, parameter->maximum);
		return;
	case METHOD_ADDRESS:
	case METHOD_PLACE:
	case METHOD_VTLS:
	case METHOD_RANGES:
		put_reference(schema, "schemas", method_type_name(parameter->type));
		return;
	case METHOD_DATA:
		json_put_text(schema, "type", "string");
		json_put_text(schema, "contentEncoding", "base64");
		return;
	case METHOD_BOOLEAN:
		json_put_text(schema, "type", "boolean");
		return;
	case METHOD_CHOICE:
		put_choices(schema, parameter->choices, false);
		return;
	case METHOD_CHOICES:
		json_put_text(schema, "type", "array");
		put_choices(json_put_new(schema, "items"), parameter->choices, false);
		return;
	}
	abort();
}

static void put_parameter(struct json_object *descriptor, const struct method_parameter *parameter)
{
	json_put_text(descriptor, "name", parameter->name);
	json_put_text(descriptor, "summary", parameter->summary);
	json_put_boolean(descriptor, "required", parameter->is_required);
	put_parameter_schema(json_put_new(descriptor, "schema"), parameter);
}

/* What several methods take. */
static void put_schemas(struct json_object *schemas)
{
	struct json_object *schema, *properties, *required;

	schema = json_put_new(schemas, method_type_name(METHOD_ADDRESS));
	json_put_text(schema, "description", "a guest's address, in bytes");
	schema = json_put_new_array(schema, "oneOf");
	properties = json_put_next(schema);
	json_put_text(properties, "type", "string");
	json_put_text(properties, "pattern", ADDRESS_TAKEN);
	put_integer(json_put_next(schema), 0, KVMATTR_GFN_LIMIT << KVMATTR_PAGE_SHIFT);

	schema = json_put_new(schemas, method_type_name(METHOD_PLACE));
	json_put_text(schema, "description", "where an earlier answer said to go on");
	json_put_text(schema, "type", "string");
	json_put_text(schema, "pattern", PLACE_TAKEN);

	schema = json_put_new(schemas, method_type_name(METHOD_VTLS));
	json_put_text(schema, "description", "a set of VTLs");
	json_put_text(schema, "type", "array");
	put_integer(json_put_new(schema, "items"), 0, KVMATTR_N_VTLS - 1);

	schema = json_put_new(schemas, method_type_name(METHOD_RANGES));
	json_put_text(schema, "description", "runs of pages");
	json_put_text(schema, "type", "array");
	json_put_number(schema, "minItems", 1);
	json_put_number(schema, "maxItems", METHOD_MAX_RANGES);
	schema = json_put_new(schema, "items");
	json_put_text(schema, "type", "object");
	properties = json_put_new(schema, "properties");
	put_reference(json_put_new(properties, "gpa"), "schemas", method_type_name(METHOD_ADDRESS));
	put_integer(json_put_new(properties, "pages"), 1, KVMATTR_GFN_LIMIT);
	required = json_put_new_array(schema, "required");
	json_put_next_text(required, "gpa");
	json_put_next_text(required, "pages");
	json_put_boolean(schema, "additionalProperties", false);
}

/* ---- Results ------------------------------------------------------------------------------- */

static void put_members(struct json_object *schema, const struct method_member *members,
			bool is_nullable);

static void put_value_schema(struct json_object *schema, const struct method_member *member,
			     bool is_nullable)
{
	switch (member->value) {
	case VALUE_TEXT:
		put_type(schema, "string", is_nullable);
		return;
	case VALUE_NUMBER:
		put_type(schema, "integer", is_nullable);
		json_put_number(schema, "minimum", 0);
		return;
	case VALUE_INTEGER:
		put_type(schema, "integer", is_nullable);
		return;
	case VALUE_FRACTION:
		put_type(schema, "number", is_nullable);
		return;
	case VALUE_BOOLEAN:
		put_type(schema, "boolean", is_nullable);
		return;
	case VALUE_ADDRESS:
		put_type(schema, "string", is_nullable);
		json_put_text(schema, "pattern", ADDRESS_WRITTEN);
		return;
	case VALUE_CHOICE:
		put_choices(schema, member->choices, is_nullable);
		return;
	case VALUE_OBJECT:
		put_members(schema, member->members, is_nullable);
		return;
	case VALUE_COUNTS:
		put_type(schema, "object", is_nullable);
		schema = json_put_new(schema, "additionalProperties");
		put_type(schema, "integer", false);
		json_put_number(schema, "minimum", 0);
		return;
	case VALUE_DOCUMENT:
		put_type(schema, "object", is_nullable);
		return;
	case VALUE_INCLUDED:
		break; /* put_properties() has taken it apart */
	}
	abort();
}

static void put_member_schema(struct json_object *schema, const struct method_member *member)
{
	bool is_nullable = member->flags & VALUE_NULLABLE;

	if (member->summary)
		json_put_text(schema, "description", member->summary);
	if (member->flags & VALUE_ARRAY) {
		put_type(schema, "array", is_nullable);
		put_value_schema(json_put_new(schema, "items"), member, false);
	} else {
		put_value_schema(schema, member, is_nullable);
	}
}

static void put_properties(struct json_object *properties, struct json_object *required,
			   const struct method_member *member)
{
	for (; member->name; member++) {
		if (member->value == VALUE_INCLUDED) {
			put_properties(properties, required, member->members);
			continue;
		}
		put_member_schema(json_put_new(properties, member->name), member);
		if (!(member->flags & VALUE_OPTIONAL))
			json_put_next_text(required, member->name);
	}
}

static void put_members(struct json_object *schema, const struct method_member *members,
			bool is_nullable)
{
	struct json_object *properties, *required;

	put_type(schema, "object", is_nullable);
	properties = json_put_new(schema, "properties");
	required = json_put_new_array(schema, "required");
	put_properties(properties, required, members);
	json_put_boolean(schema, "additionalProperties", false);
}

/* ---- Errors -------------------------------------------------------------------------------- */

#define INVALID_PARAMS "INVALID_PARAMS"

static void put_error(struct json_object *errors, const char *name, int code, const char *message)
{
	struct json_object *error = json_put_new(errors, name);

	json_put_integer(error, "code", code);
	json_put_text(error, "message", message);
}

/* Those that are about a whole request, -32700 and the like, are JSON-RPC's and no method's. */
static void put_errors(struct json_object *errors)
{
	put_error(errors, INVALID_PARAMS, JSONRPC_INVALID_PARAMS, "Invalid params");
	for (int status = KVMATTR_OK + 1; status < KVMATTR_N_STATUSES; status++)
		put_error(errors, kvmattr_status_name(status), JSONRPC_SERVER_ERROR - status,
			  kvmattr_status_text(status));
}

static void put_error_references(struct json_object *errors)
{
	put_reference(json_put_next(errors), "errors", INVALID_PARAMS);
	for (int status = KVMATTR_OK + 1; status < KVMATTR_N_STATUSES; status++)
		put_reference(json_put_next(errors), "errors", kvmattr_status_name(status));
}

/* ---- Events -------------------------------------------------------------------------------- */

/* OpenRPC has no words for what a server sends by itself. */
static void put_events(struct json_object *array)
{
	static const char *const summaries[N_EVENTS] = {
#define X(name, text, summary) [EVENT_##name] = summary,
		EVENTS(X)
#undef X
	};

	for (unsigned int i = 0; i < N_EVENTS; i++) {
		struct json_object *event = json_put_next(array);

		json_put_text(event, "name", event_names[i]);
		json_put_text(event, "summary", summaries[i]);
		put_members(json_put_new(event, "data"), event_members[i], false);
	}
}

/* ---- The document -------------------------------------------------------------------------- */

static void put_method(struct json_object *object, const struct method *method)
{
	struct json_object *array, *result;

	json_put_text(object, "name", method->name);
	json_put_text(object, "summary", method->summary);
	json_put_text(object, "x-role", method_role_name(method->role));
	json_put_text(object, "paramStructure", "either");
	array = json_put_new_array(object, "params");
	for (const struct method_parameter *p = method->parameters; p->name; p++)
		put_parameter(json_put_next(array), p);
	result = json_put_new(object, "result");
	json_put_text(result, "name", "result");
	put_members(json_put_new(result, "schema"), method->members, false);
	put_error_references(json_put_new_array(object, "errors"));
}

struct json_object *openrpc_document(void)
{
	struct json_object *document = json_put_there(json_object_new_object());
	struct json_object *info, *methods, *components;

	json_put_text(document, "openrpc", "1.4.1");
	info = json_put_new(document, "info");
	json_put_text(info, "title", PACKAGE_NAME);
	json_put_text(info, "version", PACKAGE_VERSION);
	json_put_text(info, "description",
		      "The control socket of kvmattrd, which keeps per-page memory attributes for "
		      "Hyper-V VTLs on KVM; see kvmattr-rpc(7)");
	methods = json_put_new_array(document, "methods");
	for (const struct method *const *room = methods_rooms; *room; room++)
		for (const struct method *method = *room; method->name; method++)
			put_method(json_put_next(methods), method);
	components = json_put_new(document, "components");
	put_schemas(json_put_new(components, "schemas"));
	put_errors(json_put_new(components, "errors"));
	put_events(json_put_new_array(document, "x-events"));
	return document;
}
