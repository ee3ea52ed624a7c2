/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From JSON to the arguments of a call: every value is what its parameter says, or the call is
 * refused, with the path of the value and what it has to be.
 */
#include "method.h"

#include "daemon/allocate.h"
#include "daemon/journal/base64.h"
#include "daemon/journal/catalogue.h"
#include "json-put.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* VMs that are named to someone who asked for another. */
#define MAX_NAMES 12

/* What a peer's text may show of itself in an error. */
#define SHOWN "%.64s"

/* How a parameter is named in an error: params.vtl, or params[1] (vtl). */
struct path {
	char text[128];
};

static const char *json_type_name(struct json_object *value)
{
	switch (json_object_get_type(value)) {
	case json_type_null:
		return "null";
	case json_type_boolean:
		return "a boolean";
	case json_type_double:
		return "a fraction";
	case json_type_int:
		return "an integer";
	case json_type_object:
		return "an object";
	case json_type_array:
		return "an array";
	case json_type_string:
		return "a string";
	}
	abort();
}

__attribute__((format(printf, 3, 4))) static bool refuse_params(struct jsonrpc_answer *answer,
								const char *path,
								const char *format, ...)
{
	struct json_object *data = json_put_there(json_object_new_object());
	char reason[JSONRPC_MESSAGE_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	json_put_text(data, "path", path);
	json_put_text(data, "reason", reason);
	jsonrpc_refuse(answer, JSONRPC_INVALID_PARAMS, data, "Invalid params");
	return false;
}

/* There is no VM of that name: says so, and which there are. */
static bool refuse_vm(const struct method_call *call, const char *name,
		      struct jsonrpc_answer *answer)
{
	char names[320] = "";
	size_t n = 0, length = 0;
	const struct hosted_vm *hosted;

	LIST_FOREACH (hosted, &call->daemon->vms, list) {
		if (!hosted->is_ready || hosted->is_doomed)
			continue;
		n++;
		if (n > MAX_NAMES || length + strlen(hosted->name) + 3 > sizeof(names))
			continue;
		length += (size_t)snprintf(names + length, sizeof(names) - length, "%s%s",
					   length ? ", " : "", hosted->name);
	}
	if (!n)
		method_refuse(answer, KVMATTR_NO_VM,
			      "no VM is named \"" SHOWN "\"; no VM is registered at all", name);
	else
		method_refuse(answer, KVMATTR_NO_VM,
			      "no VM is named \"" SHOWN "\"; registered (%zu): %s%s", name, n,
			      names, n > MAX_NAMES ? ", and more: vm.list has them all" : "");
	return false;
}

static bool take_vm(struct method_call *call, struct json_object *value, const char *path,
		    struct method_argument *argument, struct jsonrpc_answer *answer)
{
	const char *name;

	if (!json_object_is_type(value, json_type_string))
		return refuse_params(answer, path, "has to be the name of a VM, is %s",
				     json_type_name(value));
	name = json_object_get_string(value);
	if (strlen(name) == (size_t)json_object_get_string_len(value))
		argument->hosted = daemon_find_vm(call->daemon, name);
	if (!argument->hosted)
		return refuse_vm(call, name, answer);
	return true;
}

/* Without NULs: what follows one would be looked at by nobody. */
static const char *plain_text(struct json_object *value)
{
	const char *text = json_object_get_string(value);

	return strlen(text) == (size_t)json_object_get_string_len(value) ? text : NULL;
}

static bool take_name(struct json_object *value, const char *path, struct method_argument *argument,
		      struct jsonrpc_answer *answer)
{
	const char *name = json_object_is_type(value, json_type_string) ? plain_text(value) : NULL;

	if (!name || !kvmattr_is_vm_name(name))
		return refuse_params(
			answer, path,
			"has to be a name that a VM may have: 1 to 63 letters, digits, "
			"'.', '_' and '-', the first no '.' or '-'");
	snprintf(argument->name, sizeof(argument->name), "%s", name);
	return true;
}

/* The VM of that name that is registered, with its journal. */
static struct hosted_vm *find_open(struct daemon *daemon, const char *name)
{
	struct hosted_vm *hosted = daemon_find_vm(daemon, name);

	return hosted && hosted->journal ? hosted : NULL;
}

/*
 * A directory's name has a form that decides: whatever a VM is called, it cannot stand in for a
 * journal, nor can a name lead out of the directory of journals.
 */
static bool take_journal(struct method_call *call, struct json_object *value, const char *path,
			 struct method_argument *argument, struct jsonrpc_answer *answer)
{
	char vm[KVMATTR_NAME_SIZE];
	const char *name;

	if (!json_object_is_type(value, json_type_string))
		return refuse_params(answer, path,
				     "has to be the name of a VM or of a journal, is %s",
				     json_type_name(value));
	name = plain_text(value);
	if (name && catalogue_is_name(name, vm)) {
		snprintf(argument->journal, sizeof(argument->journal), "%s", name);
		argument->hosted = find_open(call->daemon, vm);
		if (argument->hosted &&
		    strcmp(vm_journal_name(argument->hosted->journal), name) != 0)
			argument->hosted = NULL;
		return true;
	}
	argument->hosted = name ? find_open(call->daemon, name) : NULL;
	if (!argument->hosted) {
		method_refuse(answer, KVMATTR_NO_VM,
			      "no VM is named \"" SHOWN "\"; the journal of one that is gone goes "
			      "by its directory's name: journal.list (kvmattrctl journal list) has "
			      "them all",
			      json_object_get_string(value));
		return false;
	}
	snprintf(argument->journal, sizeof(argument->journal), "%s",
		 vm_journal_name(argument->hosted->journal));
	return true;
}

static bool take_integer(const struct method_parameter *parameter, struct json_object *value,
			 const char *path, struct method_argument *argument,
			 struct jsonrpc_answer *answer)
{
	if (!json_object_is_type(value, json_type_int))
		return refuse_params(answer, path,
				     "has to be an integer from %" PRIu64 " to %" PRIu64 ", is %s",
				     parameter->minimum, parameter->maximum, json_type_name(value));
	argument->number = json_object_get_uint64(value);
	if (json_object_get_int64(value) < 0 || argument->number < parameter->minimum ||
	    argument->number > parameter->maximum)
		return refuse_params(
			answer, path, "has to be from %" PRIu64 " to %" PRIu64 ", is " SHOWN,
			parameter->minimum, parameter->maximum, json_object_get_string(value));
	return true;
}

/* "0x" and hexadecimal digits, nothing else. */
static bool parse_hex(const char *text, size_t n, uint64_t *ret)
{
	char *end;

	if (strlen(text) != n || n < 3 || text[0] != '0' || (text[1] != 'x' && text[1] != 'X') ||
	    strspn(text + 2, "0123456789abcdefABCDEF") != n - 2)
		return false;
	errno = 0;
	*ret = strtoull(text + 2, &end, 16);
	return errno == 0;
}

static bool take_address(struct json_object *value, const char *path,
			 struct method_argument *argument, struct jsonrpc_answer *answer)
{
	const uint64_t limit = KVMATTR_GFN_LIMIT << KVMATTR_PAGE_SHIFT;

	switch (json_object_get_type(value)) {
	case json_type_int:
		argument->number = json_object_get_int64(value) < 0 ? UINT64_MAX
								    : json_object_get_uint64(value);
		break;
	case json_type_string:
		if (parse_hex(json_object_get_string(value),
			      (size_t)json_object_get_string_len(value), &argument->number))
			break;
		return refuse_params(answer, path,
				     "has to be an address such as \"0x1f000\", is \"" SHOWN "\"",
				     json_object_get_string(value));
	default:
		return refuse_params(answer, path,
				     "has to be an address, as a string such as \"0x1f000\" or as "
				     "an integer, is %s",
				     json_type_name(value));
	}
	if (argument->number > limit)
		return refuse_params(answer, path,
				     "has to be an address from 0 to 0x%" PRIx64 ", is " SHOWN,
				     limit, json_object_get_string(value));
	return true;
}

static bool take_boolean(struct json_object *value, const char *path,
			 struct method_argument *argument, struct jsonrpc_answer *answer)
{
	if (!json_object_is_type(value, json_type_boolean))
		return refuse_params(answer, path, "has to be true or false, is %s",
				     json_type_name(value));
	argument->number = json_object_get_boolean(value);
	return true;
}

/* "r", "w" or "x" */
static const char *list_choices(const char *const *choices, char *text, size_t size)
{
	size_t length = 0;

	*text = '\0';
	for (size_t i = 0; choices[i]; i++) {
		const char *glue = !i ? "" : choices[i + 1] ? ", " : " or ";
		int n = snprintf(text + length, size - length, "%s\"%s\"", glue, choices[i]);

		if (n < 0 || (size_t)n >= size - length)
			break;
		length += (size_t)n;
	}
	return text;
}

static bool take_choice(const struct method_parameter *parameter, struct json_object *value,
			const char *path, uint64_t *ret, struct jsonrpc_answer *answer)
{
	const char *text = json_object_is_type(value, json_type_string) ? plain_text(value) : NULL;
	char known[320];

	for (size_t i = 0; text && parameter->choices[i]; i++) {
		if (!strcmp(parameter->choices[i], text)) {
			*ret = i;
			return true;
		}
	}
	list_choices(parameter->choices, known, sizeof(known));
	if (text)
		return refuse_params(answer, path, "has to be %s, is \"" SHOWN "\"", known, text);
	return refuse_params(answer, path, "has to be %s, is %s", known, json_type_name(value));
}

/* An element of an array that is a parameter. */
static struct path element_path(const char *path, size_t i)
{
	struct path element;

	snprintf(element.text, sizeof(element.text), "%.80s[%zu]", path, i);
	return element;
}

static struct path member_path(const char *path, const char *name)
{
	struct path member;

	snprintf(member.text, sizeof(member.text), "%.90s.%.32s", path, name);
	return member;
}

static bool take_choices(const struct method_parameter *parameter, struct json_object *value,
			 const char *path, struct method_argument *argument,
			 struct jsonrpc_answer *answer)
{
	if (!json_object_is_type(value, json_type_array))
		return refuse_params(answer, path, "has to be an array, is %s",
				     json_type_name(value));
	for (size_t i = 0; i < json_object_array_length(value); i++) {
		uint64_t place;

		if (!take_choice(parameter, json_object_array_get_idx(value, i),
				 element_path(path, i).text, &place, answer))
			return false;
		argument->number |= UINT64_C(1) << place;
	}
	return true;
}

static bool take_vtls(struct json_object *value, const char *path, struct method_argument *argument,
		      struct jsonrpc_answer *answer)
{
	static const struct method_parameter vtl = { .maximum = KVMATTR_N_VTLS - 1 };

	if (!json_object_is_type(value, json_type_array))
		return refuse_params(answer, path, "has to be an array of VTLs, is %s",
				     json_type_name(value));
	for (size_t i = 0; i < json_object_array_length(value); i++) {
		struct method_argument element = { 0 };

		if (!take_integer(&vtl, json_object_array_get_idx(value, i),
				  element_path(path, i).text, &element, answer))
			return false;
		argument->number |= UINT64_C(1) << element.number;
	}
	return true;
}

/* {"gpa": address, "pages": number} */
static bool take_range(struct json_object *value, const char *path, struct kvmattr_range *ret,
		       struct jsonrpc_answer *answer)
{
	static const struct method_parameter n_pages = { .minimum = 1,
							 .maximum = KVMATTR_GFN_LIMIT };
	const struct path gpa_path = member_path(path, "gpa");
	const struct path pages_path = member_path(path, "pages");
	struct method_argument gpa = { 0 }, pages = { 0 };
	struct json_object *member = NULL;

	if (!json_object_is_type(value, json_type_object))
		return refuse_params(
			answer, path,
			"has to be such as {\"gpa\": \"0x1f000\", \"pages\": 1}, is %s",
			json_type_name(value));
	json_object_object_foreach(value, name, unused)
	{
		(void)unused;
		if (strcmp(name, "gpa") != 0 && strcmp(name, "pages") != 0)
			return refuse_params(answer, member_path(path, name).text,
					     "a range has no such member; it has: gpa, pages");
	}
	if (!json_object_object_get_ex(value, "gpa", &member))
		return refuse_params(answer, gpa_path.text, "is missing: where the range begins");
	if (!take_address(member, gpa_path.text, &gpa, answer))
		return false;
	if (gpa.number & (KVMATTR_PAGE_SIZE - 1))
		return refuse_params(answer, gpa_path.text,
				     "has to be where a page begins, is 0x%" PRIx64, gpa.number);
	if (!json_object_object_get_ex(value, "pages", &member))
		return refuse_params(answer, pages_path.text, "is missing: how many pages");
	if (!take_integer(&n_pages, member, pages_path.text, &pages, answer))
		return false;
	*ret = (struct kvmattr_range){ gpa.number >> KVMATTR_PAGE_SHIFT, pages.number };
	return true;
}

static bool take_ranges(struct json_object *value, const char *path,
			struct method_argument *argument, struct jsonrpc_answer *answer)
{
	size_t n;

	if (!json_object_is_type(value, json_type_array))
		return refuse_params(answer, path, "has to be an array of ranges, is %s",
				     json_type_name(value));
	n = json_object_array_length(value);
	if (!n || n > METHOD_MAX_RANGES)
		return refuse_params(answer, path, "has to have 1 to %u ranges, has %zu",
				     METHOD_MAX_RANGES, n);
	argument->ranges = allocate_zeroed(n, sizeof(*argument->ranges));
	argument->n_ranges = n;
	for (size_t i = 0; i < n; i++)
		if (!take_range(json_object_array_get_idx(value, i), element_path(path, i).text,
				&argument->ranges[i], answer))
			return false;
	return true;
}

/* Decimal digits, up to the end or to the character given. */
static const char *parse_number(const char *text, char end, uint64_t *ret)
{
	size_t n = strspn(text, "0123456789");

	if (!n || n > 19 || text[n] != end)
		return NULL;
	*ret = strtoull(text, NULL, 10);
	return text + n;
}

static bool take_place(struct json_object *value, const char *path,
		       struct method_argument *argument, struct jsonrpc_answer *answer)
{
	const char *text = json_object_is_type(value, json_type_string) ? plain_text(value) : NULL;

	if (text)
		text = parse_number(text, ':', &argument->number);
	if (!text || !parse_number(text + 1, '\0', &argument->second))
		return refuse_params(answer, path,
				     "has to be two numbers such as \"12:3\", as an earlier answer "
				     "had them");
	return true;
}

static bool take_data(struct json_object *value, const char *path, struct method_argument *argument,
		      struct jsonrpc_answer *answer)
{
	size_t length;

	if (!json_object_is_type(value, json_type_string))
		return refuse_params(answer, path, "has to be bytes in base64, is %s",
				     json_type_name(value));
	length = (size_t)json_object_get_string_len(value);
	argument->data = allocate(BASE64_MAX_SIZE(length));
	if (!base64_decode(json_object_get_string(value), length, argument->data,
			   &argument->n_data))
		return refuse_params(answer, path,
				     "has to be base64 with padding and without line breaks");
	return true;
}

static bool take_argument(struct method_call *call, size_t i, struct json_object *value,
			  const char *path, struct jsonrpc_answer *answer)
{
	const struct method_parameter *parameter = &call->method->parameters[i];
	struct method_argument *argument = &call->arguments[i];

	/* null for what may be left out is how positional parameters leave it out */
	if (!value && !parameter->is_required)
		return true;
	argument->is_given = true;
	switch (parameter->type) {
	case METHOD_VM:
		return take_vm(call, value, path, argument, answer);
	case METHOD_INTEGER:
		return take_integer(parameter, value, path, argument, answer);
	case METHOD_ADDRESS:
		return take_address(value, path, argument, answer);
	case METHOD_NAME:
		return take_name(value, path, argument, answer);
	case METHOD_JOURNAL:
		return take_journal(call, value, path, argument, answer);
	case METHOD_PLACE:
		return take_place(value, path, argument, answer);
	case METHOD_DATA:
		return take_data(value, path, argument, answer);
	case METHOD_BOOLEAN:
		return take_boolean(value, path, argument, answer);
	case METHOD_CHOICE:
		return take_choice(parameter, value, path, &argument->number, answer);
	case METHOD_CHOICES:
		return take_choices(parameter, value, path, argument, answer);
	case METHOD_VTLS:
		return take_vtls(value, path, argument, answer);
	case METHOD_RANGES:
		return take_ranges(value, path, argument, answer);
	}
	abort();
}

static size_t count_parameters(const struct method *method)
{
	size_t n = 0;

	while (method->parameters[n].name)
		n++;
	return n;
}

static bool take_positional(struct method_call *call, struct json_object *params,
			    struct jsonrpc_answer *answer)
{
	size_t n = json_object_array_length(params), n_known = count_parameters(call->method);
	struct path path;

	if (n > n_known) {
		snprintf(path.text, sizeof(path.text), "params[%zu]", n_known);
		return refuse_params(answer, path.text, "%s takes at most %zu parameters, not %zu",
				     call->method->name, n_known, n);
	}
	for (size_t i = 0; i < n; i++) {
		snprintf(path.text, sizeof(path.text), "params[%zu] (%s)", i,
			 call->method->parameters[i].name);
		if (!take_argument(call, i, json_object_array_get_idx(params, i), path.text,
				   answer))
			return false;
	}
	return true;
}

/* "vm, vtl, start" */
static const char *list_parameters(const struct method *method, char *text, size_t size)
{
	size_t length = 0;

	*text = '\0';
	for (const struct method_parameter *p = method->parameters; p->name; p++) {
		int n = snprintf(text + length, size - length, "%s%s", length ? ", " : "", p->name);

		if (n < 0 || (size_t)n >= size - length)
			break;
		length += (size_t)n;
	}
	return length ? text : "none";
}

static bool take_named(struct method_call *call, struct json_object *params,
		       struct jsonrpc_answer *answer)
{
	struct path path;
	char known[160];

	json_object_object_foreach(params, name, value)
	{
		size_t i = 0;

		while (call->method->parameters[i].name &&
		       strcmp(call->method->parameters[i].name, name) != 0)
			i++;
		snprintf(path.text, sizeof(path.text), "params." SHOWN, name);
		if (!call->method->parameters[i].name)
			return refuse_params(answer, path.text,
					     "is no parameter of %s, which has: %s",
					     call->method->name,
					     list_parameters(call->method, known, sizeof(known)));
		if (!take_argument(call, i, value, path.text, answer))
			return false;
	}
	return true;
}

bool method_take_arguments(struct method_call *call, struct json_object *params,
			   struct jsonrpc_answer *answer)
{
	struct path path;

	if (json_object_is_type(params, json_type_array)) {
		if (!take_positional(call, params, answer))
			return false;
	} else if (params && !take_named(call, params, answer)) {
		return false;
	}
	for (size_t i = 0; call->method->parameters[i].name; i++) {
		const struct method_parameter *parameter = &call->method->parameters[i];

		if (!parameter->is_required || call->arguments[i].is_given)
			continue;
		snprintf(path.text, sizeof(path.text), "params.%s", parameter->name);
		return refuse_params(answer, path.text, "is missing: %s", parameter->summary);
	}
	return true;
}

void method_drop_arguments(struct method_call *call)
{
	for (size_t i = 0; i < METHOD_MAX_PARAMETERS; i++) {
		free(call->arguments[i].data);
		free(call->arguments[i].ranges);
	}
}
