/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/kvmattrctl-event-text.h"

#include "client/kvmattrctl-rpc.h"
#include "client/kvmattrctl-terminal.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *plural(uint64_t n, const char *one, const char *many)
{
	return n == 1 ? one : many;
}

static void put_numbers(FILE *stream, struct json_object *data, const char *name)
{
	size_t n;
	struct json_object *array = answer_array(data, name, &n);

	for (size_t i = 0; i < n; i++)
		fprintf(stream, "%s%" PRIu64, i ? ", " : "",
			json_object_get_uint64(json_object_array_get_idx(array, i)));
}

static void say_registered(FILE *stream, struct json_object *data)
{
	char size[32];

	fprintf(stream, "%s: %s of RAM, VTLs ",
		answer_boolean(data, "recovered") ? "recovered after a restart" : "registered",
		terminal_size(size, answer_number(data, "ram_pages") << 12));
	put_numbers(stream, data, "views");
	fprintf(stream, "; process %" PRIu64 "%s", answer_number(data, "pid"),
		strcmp(answer_text(data, "executor"), "daemon") ? ""
								: "; the daemon makes the calls");
}

static void say_released(FILE *stream, struct json_object *data)
{
	fprintf(stream, "released: %s", answer_text(data, "text"));
}

static void say_degraded(FILE *stream, struct json_object *data)
{
	const char *text = answer_text(data, "text");
	uint64_t n = answer_number(data, "unknown_pages");
	char number[32];

	/* the daemon's words begin with it, too */
	if (!strncmp(text, "degraded: ", strlen("degraded: ")))
		text += strlen("degraded: ");
	fprintf(stream, "DEGRADED: %s", text);
	if (n)
		fprintf(stream, " (%s %s of which it is not known what KVM enforces)",
			terminal_number(number, n), plural(n, "page", "pages"));
}

static void say_recovered(FILE *stream, struct json_object *data)
{
	(void)data;
	fputs("well again: KVM enforces what the policy says", stream);
}

static void say_frozen(FILE *stream, struct json_object *data)
{
	fprintf(stream, "frozen at commit %" PRIu64 ": updates wait until it is thawed",
		answer_number(data, "commit"));
}

static void say_thawed(FILE *stream, struct json_object *data)
{
	fprintf(stream, "thawed: updates go on from commit %" PRIu64,
		answer_number(data, "commit"));
}

static void say_layer_enabled(FILE *stream, struct json_object *data)
{
	fprintf(stream, "layer %" PRIu64 " is in force: %s by default%s (commit %" PRIu64 ")",
		answer_number(data, "layer"), answer_text(data, "protection"),
		answer_boolean(data, "mbec") ? ", with MBEC" : "", answer_number(data, "commit"));
}

static void say_layer_reset(FILE *stream, struct json_object *data)
{
	fprintf(stream, "layer %" PRIu64 " was reset: it imposes nothing (commit %" PRIu64 ")",
		answer_number(data, "layer"), answer_number(data, "commit"));
}

/* "agent for VTL 1", "owner" */
static void put_role(FILE *stream, struct json_object *data)
{
	fputs(answer_text(data, "role"), stream);
	if (!answer_is_null(data, "vtl"))
		fprintf(stream, " for VTL %" PRIu64, answer_number(data, "vtl"));
}

static void say_session_opened(FILE *stream, struct json_object *data)
{
	fprintf(stream, "session %" PRIu64 " %s: ", answer_number(data, "id"),
		answer_boolean(data, "resumed") ? "is back" : "opened");
	put_role(stream, data);
	fprintf(stream, ", process %" PRIu64 ", user %" PRIu64, answer_number(data, "pid"),
		answer_number(data, "uid"));
}

static void say_session_closed(FILE *stream, struct json_object *data)
{
	fprintf(stream, "session %" PRIu64 " closed: ", answer_number(data, "id"));
	put_role(stream, data);
	if (*answer_text(data, "text"))
		fprintf(stream, "; %s", answer_text(data, "text"));
}

static void say_committed(FILE *stream, struct json_object *data)
{
	uint64_t n_batches = answer_number(data, "batches"), n = answer_number(data, "updates");
	uint64_t n_pages = answer_number(data, "pages"), n_calls = answer_number(data, "calls");
	uint64_t first = answer_number(data, "first_commit"), last = answer_number(data, "commit");
	char updates[32], pages[32], calls[32];

	fprintf(stream, "%s %s on %s %s in force by %s %s, ", terminal_number(updates, n),
		plural(n, "update", "updates"), terminal_number(pages, n_pages),
		plural(n_pages, "page", "pages"), terminal_number(calls, n_calls),
		plural(n_calls, "call", "calls"));
	if (n_batches == 1 || first == last)
		fprintf(stream, "commit %" PRIu64, last);
	else
		fprintf(stream, "commits %" PRIu64 " to %" PRIu64, first, last);
}

static void say_explained(FILE *stream, struct json_object *data)
{
	const char *access = answer_text(data, "access");
	uint64_t n = answer_number(data, "suppressed"), gpa = 0;
	size_t n_denying;
	char number[32];

	if (!answer_address(data, "gpa", &gpa))
		gpa = answer_number(data, "gpa");
	answer_array(data, "denying", &n_denying);
	fprintf(stream, "VTL %" PRIu64 ", %s at 0x%" PRIx64 ": ", answer_number(data, "vtl"),
		!strcmp(access, "r")   ? "read"
		: !strcmp(access, "w") ? "write"
		: !strcmp(access, "x") ? "execute"
				       : access,
		gpa);
	if (n_denying) {
		fprintf(stream, "denied by %s ", plural(n_denying, "layer", "layers"));
		put_numbers(stream, data, "denying");
	} else {
		fputs("no layer denies it", stream);
	}
	if (n)
		fprintf(stream, " (and %s more that are not shown)", terminal_number(number, n));
}

static void say_trouble(FILE *stream, struct json_object *data)
{
	fprintf(stream, "TROUBLE with the journal: %s", answer_text(data, "text"));
}

static void say_well(FILE *stream, struct json_object *data)
{
	fprintf(stream, "the journal is well again%s%s", *answer_text(data, "text") ? ": " : "",
		answer_text(data, "text"));
}

static const struct {
	const char *name;
	enum writer_tone tone;
	void (*say)(FILE *stream, struct json_object *data);
} kinds[] = {
	{ "vm.registered", WRITER_GOOD, say_registered },
	{ "vm.released", WRITER_WARNING, say_released },
	{ "vm.degraded", WRITER_BAD, say_degraded },
	{ "vm.recovered", WRITER_GOOD, say_recovered },
	{ "vm.frozen", WRITER_WARNING, say_frozen },
	{ "vm.thawed", WRITER_GOOD, say_thawed },
	{ "layer.enabled", WRITER_COOL, say_layer_enabled },
	{ "layer.reset", WRITER_WARNING, say_layer_reset },
	{ "session.opened", WRITER_PLAIN, say_session_opened },
	{ "session.closed", WRITER_PLAIN, say_session_closed },
	{ "batch.committed", WRITER_DIM, say_committed },
	{ "fault.explained", WRITER_PLAIN, say_explained },
	{ "journal.trouble", WRITER_BAD, say_trouble },
	{ "journal.well", WRITER_GOOD, say_well },
};

char *event_text(struct json_object *params, enum writer_tone *ret_tone)
{
	struct json_object *data = answer_object(params, "data");
	const char *name = answer_text(params, "event");
	size_t size, kind = 0, n_kinds = sizeof(kinds) / sizeof(kinds[0]);
	char *text = NULL;
	FILE *stream = terminal_there(open_memstream(&text, &size));

	while (kind < n_kinds && strcmp(kinds[kind].name, name) != 0)
		kind++;
	*ret_tone = kind < n_kinds ? kinds[kind].tone : WRITER_PLAIN;
	if (kind < n_kinds)
		kinds[kind].say(stream, data);
	else
		fprintf(stream, "%s %s", name,
			json_object_to_json_string_ext(data, JSON_C_TO_STRING_PLAIN));
	fclose(stream);
	return terminal_there(text);
}
