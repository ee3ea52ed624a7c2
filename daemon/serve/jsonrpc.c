/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "jsonrpc.h"

#include "json-put.h"
#include "json-text.h"

#include "daemon/allocate.h"

#include <assert.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Of a request, that are parsed in one go: a millisecond or two, where it is worst. */
#define BYTES_AT_ONCE 8192u

struct jsonrpc {
	const struct jsonrpc_ops *ops;
	void *context;
	struct json_text text;
	/* the request that is being parsed, or whose calls are being made */
	bool has_request;
	struct json_tokener *tokener; /* kept from one short request to the next */
	bool is_parsing;
	size_t n_parsed;
	bool is_waiting; /* the call that was made last is to be answered later */
	bool is_batch;
	struct json_object *request;
	size_t next;      /* call of the batch */
	size_t n_answers; /* of the batch, so far */
};

struct jsonrpc *jsonrpc_new(const struct jsonrpc_ops *ops, void *context)
{
	struct jsonrpc *rpc = allocate_one(struct jsonrpc);

	rpc->ops = ops;
	rpc->context = context;
	json_text_init(&rpc->text, JSONRPC_MAX_REQUEST, JSONRPC_MAX_VALUES);
	return rpc;
}

static void forget_tokener(struct jsonrpc *rpc)
{
	if (rpc->tokener)
		json_tokener_free(rpc->tokener);
	rpc->tokener = NULL;
}

void jsonrpc_free(struct jsonrpc *rpc)
{
	if (!rpc)
		return;
	forget_tokener(rpc);
	json_object_put(rpc->request);
	json_text_destroy(&rpc->text);
	free(rpc);
}

void jsonrpc_refuse(struct jsonrpc_answer *answer, int code, struct json_object *data,
		    const char *format, ...)
{
	va_list arguments;

	answer->code = code;
	answer->data = data;
	va_start(arguments, format);
	vsnprintf(answer->message, sizeof(answer->message), format, arguments);
	va_end(arguments);
}

/* The errors that the specification names, in its words; detail says more where there is more. */
static void refuse_standard(struct jsonrpc_answer *answer, enum jsonrpc_code code,
			    const char *detail)
{
	const char *message = code == JSONRPC_PARSE_ERROR       ? "Parse error"
			      : code == JSONRPC_INVALID_REQUEST ? "Invalid Request"
								: "Method not found";

	jsonrpc_refuse(answer, code, detail ? json_put_there(json_object_new_string(detail)) : NULL,
		       "%s", message);
}

static void write_object(struct jsonrpc *rpc, struct json_object *object)
{
	size_t n;
	const char *bytes = json_object_to_json_string_length(
		object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &n);

	json_put_there(object);
	assert(bytes);
	rpc->ops->write(rpc->context, bytes, n);
}

/* Writes the answer and releases what it holds; id stays the caller's. */
static void write_answer(struct jsonrpc *rpc, struct jsonrpc_answer *answer, struct json_object *id)
{
	struct json_object *object = json_put_there(json_object_new_object());

	if (rpc->is_batch)
		rpc->ops->write(rpc->context, rpc->n_answers ? "," : "[", 1);
	rpc->n_answers++;

	json_put_text(object, "jsonrpc", "2.0");
	if (answer->code) {
		struct json_object *error = json_put_new(object, "error");

		json_put_integer(error, "code", answer->code);
		json_put_text(error, "message", answer->message);
		if (answer->data)
			json_put(error, "data", answer->data);
	} else {
		json_put(object, "result", answer->result);
	}
	json_put(object, "id", json_object_get(id));
	write_object(rpc, object);
	json_object_put(object);
	if (!rpc->is_batch)
		rpc->ops->write(rpc->context, "\n", 1);
}

static bool is_string(struct json_object *object, const char *text)
{
	return json_object_is_type(object, json_type_string) &&
	       (size_t)json_object_get_string_len(object) == strlen(text) &&
	       !strcmp(json_object_get_string(object), text);
}

/*
 * An id of which its answer can bear the very value.  json-c makes of integers past 64 bits the
 * nearest that it can hold, so these two stand for others.
 */
static bool is_id(struct json_object *id)
{
	switch (json_object_get_type(id)) {
	case json_type_null:
	case json_type_string:
	case json_type_double:
		return true;
	case json_type_int:
		return json_object_get_uint64(id) != UINT64_MAX &&
		       json_object_get_int64(id) != INT64_MIN;
	default:
		return false;
	}
}

/* Checks a call's envelope.  NULL: it is fine.  Otherwise detail, or "" if there is none. */
static const char *check_call(struct json_object *call, struct json_object **ret_method,
			      struct json_object **ret_params)
{
	struct json_object *version = NULL;

	if (!json_object_is_type(call, json_type_object))
		return "";
	if (!json_object_object_get_ex(call, "method", ret_method) ||
	    !json_object_is_type(*ret_method, json_type_string))
		return "";
	if (!json_object_object_get_ex(call, "jsonrpc", &version) || !is_string(version, "2.0"))
		return "jsonrpc: has to be \"2.0\"";
	if (strlen(json_object_get_string(*ret_method)) !=
	    (size_t)json_object_get_string_len(*ret_method))
		return "method: holds a NUL";
	if (json_object_object_get_ex(call, "params", ret_params) &&
	    !json_object_is_type(*ret_params, json_type_object) &&
	    !json_object_is_type(*ret_params, json_type_array))
		return "params: has to be an array or an object";
	return NULL;
}

/* What became of a call that was made; a notification's is nobody's. */
static void conclude(struct jsonrpc *rpc, struct json_object *call, struct jsonrpc_answer *answer)
{
	struct json_object *id = NULL;

	if (json_object_object_get_ex(call, "id", &id)) {
		write_answer(rpc, answer, id);
		return;
	}
	json_object_put(answer->result);
	json_object_put(answer->data);
}

/* Returns false if the answer comes later. */
static bool make_call(struct jsonrpc *rpc, struct json_object *call)
{
	struct json_object *id = NULL, *method = NULL, *params = NULL;
	struct jsonrpc_answer answer = { 0 };
	const char *wrong = check_call(call, &method, &params);

	if (json_object_is_type(call, json_type_object) &&
	    json_object_object_get_ex(call, "id", &id) && !is_id(id)) {
		id = NULL;
		if (!wrong)
			wrong = "id: has to be a string, a number that fits 64 bits, or null";
	}
	if (wrong) {
		refuse_standard(&answer, JSONRPC_INVALID_REQUEST, *wrong ? wrong : NULL);
		write_answer(rpc, &answer, id);
		return true;
	}
	if (!rpc->ops->dispatch(rpc->context, json_object_get_string(method), params, &answer))
		return false;
	conclude(rpc, call, &answer);
	return true;
}

/* An error that belongs to no call. */
static void refuse_request(struct jsonrpc *rpc, enum jsonrpc_code code, const char *detail)
{
	struct jsonrpc_answer answer = { 0 };

	rpc->is_batch = false;
	refuse_standard(&answer, code, detail);
	write_answer(rpc, &answer, NULL);
}

/* Up to where it is parsed next: json-c takes no UTF-8 sequence that is cut. */
static size_t next_cut(const struct json_text *text, size_t from)
{
	size_t cut = from + BYTES_AT_ONCE;

	if (cut >= text->n)
		return text->n + 1; /* with the NUL behind it, as the end of a number */
	while (((uint8_t)text->bytes[cut] & 0xc0) == 0x80)
		cut--;
	return cut;
}

/*
 * Parses some of the text.  Returns whether it is whole, or wrong, and there is no more to be
 * parsed; *ret is the request, or NULL.
 */
static bool parse_some(struct jsonrpc *rpc, struct json_object **ret, bool *ret_is_wrong)
{
	struct json_text *text = &rpc->text;
	size_t cut = next_cut(text, rpc->n_parsed);
	struct json_object *object = json_tokener_parse_ex(
		rpc->tokener, text->bytes + rpc->n_parsed, (int)(cut - rpc->n_parsed));
	enum json_tokener_error error = json_tokener_get_error(rpc->tokener);
	size_t end = rpc->n_parsed + json_tokener_get_parse_end(rpc->tokener);

	rpc->n_parsed = cut;
	if (error == json_tokener_continue && cut <= text->n)
		return false;
	*ret_is_wrong = error != json_tokener_success || end < text->n;
	if (*ret_is_wrong)
		json_object_put(object);
	else
		*ret = object;
	rpc->is_parsing = false;
	json_tokener_reset(rpc->tokener);
	if (text->n > BYTES_AT_ONCE)
		forget_tokener(rpc); /* has room for the longest string */
	return true;
}

/* In all objects of the tree, which is at most JSON_TEXT_MAX_DEPTH deep. */
static size_t count_members(struct json_object *object)
{
	size_t n = 0;

	if (json_object_is_type(object, json_type_array))
		for (size_t i = 0; i < json_object_array_length(object); i++)
			n += count_members(json_object_array_get_idx(object, i));
	if (!json_object_is_type(object, json_type_object))
		return n;
	json_object_object_foreach(object, name, value)
	{
		(void)name;
		n += 1 + count_members(value);
	}
	return n;
}

/* It is parsed.  Returns why its calls cannot be made, "" for a reason that goes without saying. */
static const char *check_request(const struct jsonrpc *rpc, struct json_object *request)
{
	size_t n;

	/* one of them would go unseen, and readers differ in which */
	if (count_members(request) != rpc->text.n_members)
		return "two members of one object have the same name";
	if (!json_object_is_type(request, json_type_array))
		return NULL;
	n = json_object_array_length(request);
	if (n > JSONRPC_MAX_BATCH)
		return "more calls than max_batch in daemon.get";
	return n ? NULL : "";
}

static void go_on_parsing(struct jsonrpc *rpc)
{
	struct json_object *request = NULL;
	const char *wrong;
	bool is_no_json;

	if (!parse_some(rpc, &request, &is_no_json))
		return;
	if (is_no_json) {
		rpc->has_request = false;
		json_text_skip_line(&rpc->text);
		refuse_request(rpc, JSONRPC_PARSE_ERROR, NULL);
		return;
	}
	wrong = check_request(rpc, request);
	if (wrong) {
		rpc->has_request = false;
		refuse_request(rpc, JSONRPC_INVALID_REQUEST, *wrong ? wrong : NULL);
		json_object_put(request);
		return;
	}
	rpc->is_batch = json_object_is_type(request, json_type_array);
	rpc->request = request;
	rpc->next = 0;
	rpc->n_answers = 0;
}

/* What json-c makes of a text, at most: an empty object has room for members. */
static size_t memory_of(const struct json_text *text)
{
	return 2 * text->n + text->n_values * (size_t)1024;
}

static void make_tokener(struct jsonrpc *rpc)
{
	/* json-c counts what is in the innermost container as a level too */
	rpc->tokener = json_tokener_new_ex(JSON_TEXT_MAX_DEPTH + 1);
	if (!rpc->tokener)
		json_put_there(NULL);
	json_tokener_set_flags(rpc->tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
}

static void begin_request(struct jsonrpc *rpc)
{
	if (rpc->ops->may_hold && !rpc->ops->may_hold(rpc->context, memory_of(&rpc->text))) {
		refuse_request(rpc, JSONRPC_INVALID_REQUEST,
			       "there is no memory for so many values (max_memory_mib in "
			       "daemon.get): ask for less at a time");
		return;
	}
	if (!rpc->tokener)
		make_tokener(rpc);
	rpc->has_request = true;
	rpc->is_parsing = true;
	rpc->is_batch = false;
	rpc->n_parsed = 0;
	go_on_parsing(rpc);
}

static void take(struct jsonrpc *rpc, enum json_text_result result, const char *reason)
{
	if (result == JSON_TEXT_COMPLETE)
		begin_request(rpc);
	else if (result == JSON_TEXT_REFUSED)
		refuse_request(rpc, JSONRPC_PARSE_ERROR, reason);
}

size_t jsonrpc_feed(struct jsonrpc *rpc, const char *bytes, size_t n)
{
	const char *reason = NULL;
	enum json_text_result result;
	size_t taken = 0;

	if (rpc->has_request || !n)
		return 0;
	result = json_text_feed(&rpc->text, bytes, n, &taken, &reason);
	take(rpc, result, reason);
	return taken;
}

void jsonrpc_end(struct jsonrpc *rpc)
{
	const char *reason = NULL;
	enum json_text_result result;

	assert(!rpc->has_request);
	result = json_text_end(&rpc->text, &reason);
	take(rpc, result, reason);
}

bool jsonrpc_has_work(const struct jsonrpc *rpc)
{
	return rpc->has_request && !rpc->is_waiting;
}

bool jsonrpc_is_waiting(const struct jsonrpc *rpc)
{
	return rpc->is_waiting;
}

bool jsonrpc_is_within_line(const struct jsonrpc *rpc)
{
	return rpc->has_request && rpc->is_batch && rpc->n_answers;
}

static struct json_object *current_call(const struct jsonrpc *rpc)
{
	return rpc->is_batch ? json_object_array_get_idx(rpc->request, rpc->next) : rpc->request;
}

/* The current call is over: on to the next of a batch, or the request is, too. */
static void go_on(struct jsonrpc *rpc)
{
	if (rpc->is_batch) {
		rpc->next++;
		if (rpc->next < json_object_array_length(rpc->request))
			return;
		if (rpc->n_answers)
			rpc->ops->write(rpc->context, "]\n", 2);
	}
	json_object_put(rpc->request);
	rpc->request = NULL;
	rpc->has_request = false;
}

void jsonrpc_work(struct jsonrpc *rpc)
{
	assert(jsonrpc_has_work(rpc));
	if (rpc->is_parsing) {
		go_on_parsing(rpc);
		return;
	}
	rpc->is_waiting = !make_call(rpc, current_call(rpc));
	if (!rpc->is_waiting)
		go_on(rpc);
}

void jsonrpc_finish(struct jsonrpc *rpc, struct jsonrpc_answer *answer)
{
	assert(rpc->is_waiting);
	rpc->is_waiting = false;
	conclude(rpc, current_call(rpc), answer);
	go_on(rpc);
}
