/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/event-client.h"

#include <check.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct event_client events_begin(const struct kvmattrd *d, const char *params, ...)
{
	struct event_client client = { .control = control_connect(d) };
	struct json_object *answer;
	va_list arguments;
	char *text;

	va_start(arguments, params);
	ck_assert_int_gt(vasprintf(&text, params, arguments), 0);
	va_end(arguments);
	answer = control_call(client.control, "event.subscribe", "%s", text);
	client.next = json_number_at(answer, "next");
	client.started_us = json_number_at(answer, "started_us");
	json_object_put(answer);
	free(text);
	return client;
}

void events_end(struct event_client *client)
{
	control_close(client->control);
}

struct json_object *events_receive(struct event_client *client)
{
	struct json_object *line = control_receive(client->control), *params;

	ck_assert_msg(line, "no event, but the end");
	ck_assert_str_eq(json_text_at(line, "jsonrpc"), "2.0");
	ck_assert_msg(json_has(line, "method") && !json_has(line, "id") &&
			      !strcmp(json_text_at(line, "method"), "event"),
		      "this is no event: %s", json_object_to_json_string(line));
	params = json_object_get(json_at(line, "params"));
	json_object_put(line);
	ck_assert_int_eq(json_object_object_length(params), 5);
	ck_assert_int_gt(json_number_at(params, "number"), client->last_number);
	ck_assert_int_gt(json_number_at(params, "time_us"), 0);
	client->last_number = json_number_at(params, "number");
	return params;
}

struct json_object *events_expect_any(struct event_client *client, const char *event,
				      const char *vm)
{
	struct json_object *params = events_receive(client), *data;
	const char *text = json_object_to_json_string(params);

	ck_assert_msg(!strcmp(json_text_at(params, "event"), event), "no %s, but %s", event, text);
	ck_assert_msg(!strcmp(json_text_at(params, "vm"), vm), "not of %s, but %s", vm, text);
	data = json_object_get(json_at(params, "data"));
	json_object_put(params);
	return data;
}

int64_t events_expect(struct event_client *client, const char *event, const char *vm,
		      const char *data, ...)
{
	struct json_object *told = events_expect_any(client, event, vm), *expected;
	va_list arguments;
	char *text;

	va_start(arguments, data);
	ck_assert_int_gt(vasprintf(&text, data, arguments), 0);
	va_end(arguments);
	expected = json_tokener_parse(text);
	ck_assert_msg(expected, "this is no JSON: %s", text);
	ck_assert_msg(json_object_equal(told, expected), "%s says %s, not %s", event,
		      json_object_to_json_string(told), text);
	free(text);
	json_object_put(expected);
	json_object_put(told);
	return client->last_number;
}

void events_expect_none(struct event_client *client)
{
	struct json_object *methods = control_call(client->control, "rpc.methods", "{}");

	json_object_put(methods);
}
