/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "method.h"

#include "json-put.h"

#include <assert.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *method_type_name(enum method_type type)
{
	switch (type) {
	case METHOD_VM:
		return "vm";
	case METHOD_INTEGER:
		return "integer";
	case METHOD_ADDRESS:
		return "address";
	case METHOD_NAME:
		return "name";
	case METHOD_JOURNAL:
		return "journal";
	case METHOD_PLACE:
		return "place";
	case METHOD_DATA:
		return "base64";
	case METHOD_BOOLEAN:
		return "boolean";
	case METHOD_CHOICE:
		return "choice";
	case METHOD_CHOICES:
		return "choices";
	case METHOD_VTLS:
		return "vtls";
	case METHOD_RANGES:
		return "ranges";
	}
	abort();
}

const char *method_value_name(enum method_value value)
{
	switch (value) {
	case VALUE_TEXT:
		return "text";
	case VALUE_NUMBER:
		return "number";
	case VALUE_INTEGER:
		return "integer";
	case VALUE_FRACTION:
		return "fraction";
	case VALUE_BOOLEAN:
		return "boolean";
	case VALUE_ADDRESS:
		return "address";
	case VALUE_CHOICE:
		return "choice";
	case VALUE_OBJECT:
		return "object";
	case VALUE_COUNTS:
		return "counts";
	case VALUE_DOCUMENT:
		return "document";
	case VALUE_INCLUDED:
		break; /* is no member of its own */
	}
	abort();
}

const char *method_role_name(enum method_role role)
{
	return role == METHOD_OPERATOR ? "operator" : "observer";
}

void method_refuse(struct jsonrpc_answer *answer, enum kvmattr_status status, const char *format,
		   ...)
{
	struct json_object *data = json_put_there(json_object_new_object());
	char message[JSONRPC_MESSAGE_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	json_put_text(data, "status", kvmattr_status_name(status));
	jsonrpc_refuse(answer, JSONRPC_SERVER_ERROR - (int)status, data, "%s", message);
}

struct json_object *method_result(struct jsonrpc_answer *answer)
{
	answer->result = json_put_there(json_object_new_object());
	return answer->result;
}

const struct method_argument *method_argument(const struct method_call *call, const char *name)
{
	for (size_t i = 0; call->method->parameters[i].name; i++)
		if (!strcmp(call->method->parameters[i].name, name))
			return &call->arguments[i];
	fprintf(stderr, "kvmattrd: %s asks for its parameter %s, which its table does not have\n",
		call->method->name, name);
	abort();
}

bool method_is_given(const struct method_call *call, const char *name)
{
	return method_argument(call, name)->is_given;
}

uint64_t method_number(const struct method_call *call, const char *name, uint64_t otherwise)
{
	const struct method_argument *argument = method_argument(call, name);

	return argument->is_given ? argument->number : otherwise;
}

struct hosted_vm *method_vm(const struct method_call *call, const char *name)
{
	return method_argument(call, name)->hosted;
}

struct log_about method_about(const struct method_call *call, const struct hosted_vm *vm)
{
	struct log_about about = authority_about(&call->peer->who, call->method->name);

	about.vm = vm ? vm->name : NULL;
	return about;
}

void method_answer_later(const struct method_call *call, void (*cancel)(void *context),
			 void *context)
{
	struct method_peer *peer = call->peer;

	assert(!peer->is_waiting);
	peer->is_waiting = true;
	peer->cancel = cancel;
	peer->context = context;
}

void method_finish(struct method_peer *peer, struct jsonrpc_answer *answer)
{
	assert(peer->is_waiting);
	peer->is_waiting = false;
	peer->finish(peer, answer);
}
