/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/example-methods.h"

#include "daemon/serve/json-put.h"

#include <json-c/json.h>
#include <stdint.h>
#include <string.h>

static void answer_integer(struct jsonrpc_answer *answer, int64_t number)
{
	answer->result = json_object_new_int64(number);
}

static int64_t integer_at(struct json_object *params, size_t i, const char *name)
{
	struct json_object *value = NULL;

	if (json_object_is_type(params, json_type_array))
		value = json_object_array_get_idx(params, i);
	else
		json_object_object_get_ex(params, name, &value);
	return json_object_get_int64(value);
}

bool example_methods_dispatch(const char *method, struct json_object *params,
			      struct jsonrpc_answer *answer)
{
	if (!strcmp(method, "subtract")) {
		answer_integer(answer, integer_at(params, 0, "minuend") -
					       integer_at(params, 1, "subtrahend"));
	} else if (!strcmp(method, "sum")) {
		int64_t sum = 0;

		for (size_t i = 0; i < json_object_array_length(params); i++)
			sum += integer_at(params, i, NULL);
		answer_integer(answer, sum);
	} else if (!strcmp(method, "get_data")) {
		answer->result = json_object_new_array();
		json_put_next_text(answer->result, "hello");
		json_put_next_number(answer->result, 5);
	} else if (!strcmp(method, "echo")) {
		answer->result = json_object_get(params);
	} else if (!strcmp(method, "update") || !strcmp(method, "notify_hello") ||
		   !strcmp(method, "notify_sum")) {
		answer->result = NULL;
	} else if (!strcmp(method, "later")) {
		return false;
	} else if (!strcmp(method, "fail")) {
		jsonrpc_refuse(answer, JSONRPC_SERVER_ERROR - 8, json_object_new_string("why"),
			       "no VM is named \"%s\"", "x");
	} else {
		jsonrpc_refuse(answer, JSONRPC_METHOD_NOT_FOUND, NULL, "Method not found");
	}
	return true;
}
