/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log.get_level, log.set_level: how much is written to the log, until the daemon ends.
 */
#include "daemon/log.h"
#include "json-put.h"
#include "methods.h"

static const char *const level_names[] = { "error", "warning", "info", "debug", NULL };

static void method_log_get_level(const struct method_call *call, struct jsonrpc_answer *answer)
{
	(void)call;
	json_put_text(method_result(answer), "level", log_level_name(log_get_level()));
}

static void method_log_set_level(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const enum log_level before = log_get_level();
	const enum log_level level =
		(enum log_level)log_level_from_name(level_names[method_number(call, "level", 0)]);
	const bool is_louder = level > before;
	struct json_object *result;

	/* Written while the one or the other lets it through. */
	if (is_louder)
		log_set_level(level);
	log_with_id(LOG_ID_OPERATOR_ACTED, method_about(call, NULL),
		    "log level %s, was %s, set by uid %u, PID %d", log_level_name(level),
		    log_level_name(before), call->peer->who.uid, call->peer->who.pid);
	log_set_level(level);
	result = method_result(answer);
	json_put_text(result, "level", log_level_name(level));
	json_put_text(result, "before", log_level_name(before));
}

/* ---- The table ----------------------------------------------------------------------------- */

static const struct method_member get_level_members[] = {
	{ .name = "level", .value = VALUE_CHOICE, .choices = level_names },
	{},
};

static const struct method_member set_level_members[] = {
	{ .name = "level", .value = VALUE_CHOICE, .choices = level_names },
	{ .name = "before", .value = VALUE_CHOICE, .choices = level_names },
	{},
};

const struct method log_methods[] = {
	{
		.name = "log.get_level",
		.summary = "The least grave of what is written to the log",
		.members = get_level_members,
		.run = method_log_get_level,
	},
	{
		.name = "log.set_level",
		.summary = "Changes that, until the daemon ends or is told otherwise",
		.role = METHOD_OPERATOR,
		.members = set_level_members,
		.run = method_log_set_level,
		.parameters = { { .name = "level",
				  .type = METHOD_CHOICE,
				  .is_required = true,
				  .choices = level_names,
				  .summary = "this and everything graver is written" } },
	},
	{},
};
