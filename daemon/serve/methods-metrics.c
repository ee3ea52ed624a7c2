/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon.metrics: what metrics.h writes, as an answer.
 */
#include "control.h"
#include "json-put.h"
#include "method-words.h"
#include "methods.h"
#include "metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void method_daemon_metrics(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct method_argument *cursor = method_argument(call, "cursor");
	struct metrics_place place = { cursor->number, cursor->second };
	struct exposition exposition = { 0 };
	struct json_object *result;
	bool has_more;

	if (!metrics_has_place(place)) {
		method_refuse(answer, KVMATTR_INVALID_PARAMETER,
			      "the cursor %" PRIu64 ":%" PRIu64 " is not from an earlier answer of "
			      "this daemon: begin without one",
			      place.family, place.vm);
		return;
	}
	has_more =
		metrics_write(call->daemon, control_statistics(call->control), &place, &exposition);
	result = method_result(answer);
	json_put_text(result, "content_type", EXPOSITION_CONTENT_TYPE);
	json_put_text(result, "text", exposition.text ? exposition.text : "");
	if (has_more) {
		char text[48];

		snprintf(text, sizeof(text), "%" PRIu64 ":%" PRIu64, place.family, place.vm);
		json_put_text(result, "cursor", text);
	}
	free(exposition.text);
}

/* ---- The table ----------------------------------------------------------------------------- */

static const struct method_member metrics_members[] = {
	{ .name = "content_type", .value = VALUE_TEXT, .summary = "of the text, for HTTP" },
	{ .name = "text",
	  .value = VALUE_TEXT,
	  .summary = "lines; with those of the answers that follow, one exposition" },
	PLACE_MEMBER,
	{},
};

const struct method metrics_methods[] = {
	{
		.name = "daemon.metrics",
		.summary = "The daemon and its VMs as metrics, in Prometheus' text format",
		.members = metrics_members,
		.run = method_daemon_metrics,
		.parameters = { { .name = "cursor",
				  .type = METHOD_PLACE,
				  .summary = "an earlier answer's cursor: go on there" } },
	},
	{},
};
