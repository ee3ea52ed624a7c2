/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/simvm-report.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <libsmartcols/libsmartcols.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum field_type { FIELD_TEXT, FIELD_NUMBER, FIELD_REAL };

/* One row of the table, one member of the JSON object. */
struct field {
	const char *key;
	const char *label; /* NULL: for programs alone, or in another's note */
	enum field_type type;
	const char *text;
	uint64_t number;
	double real;
	char note[96]; /* for people */
};

#define MAX_FIELDS 32

struct fields {
	struct field field[MAX_FIELDS];
	size_t n;
};

/* ---- The fields ---------------------------------------------------------------------------- */

static struct field *add(struct fields *fields, enum field_type type, const char *key,
			 const char *label)
{
	struct field *field = &fields->field[fields->n++];

	if (fields->n == MAX_FIELDS)
		abort();
	memset(field, 0, sizeof(*field));
	field->type = type;
	field->key = key;
	field->label = label;
	return field;
}

/* The note of the field that was added last. */
__attribute__((format(printf, 2, 3))) static void note(struct fields *fields, const char *format,
						       ...)
{
	struct field *field = &fields->field[fields->n - 1];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(field->note, sizeof(field->note), format, arguments);
	va_end(arguments);
}

static const char *values_note(const struct simvm_report *report)
{
	if (report->trace->kind == KVMATTR_SET_VISIBILITY)
		return "private and shared: this KVM knows no protections";
	if (!strcmp(report->abi, "v10"))
		return "r, rx, rw: this KVM cannot say none";
	return "none, r, rx, rw";
}

static uint32_t longest_list(const struct simvm_trace *trace)
{
	uint32_t longest = 0;

	for (size_t i = 0; i < trace->n_lists; i++)
		if (trace->lists[i].n > longest)
			longest = trace->lists[i].n;
	return longest;
}

static void add_calls(struct fields *fields, const struct simvm_report *report)
{
	/* Protections bring calls for VTL 0, visibility for every view. */
	unsigned int n_views = report->trace->kind == KVMATTR_PROTECT ? 1 : report->n_views;
	uint64_t unmerged = simvm_trace_calls_unmerged(report->trace) * n_views;
	uint64_t calls = report->kernel.calls;
	double ratio = unmerged ? (double)calls / (double)unmerged : 0;

	add(fields, FIELD_NUMBER, "calls_before_trace", "KVM calls before")->number =
		report->calls_before_trace;
	note(fields, "registration and layer 1; --fault counts them");
	add(fields, FIELD_NUMBER, "calls", "KVM calls")->number = calls;
	note(fields, "%" PRIu64 " of them refused, %" PRIu64 " without effect",
	     report->kernel.refused, report->kernel.without_effect);
	add(fields, FIELD_NUMBER, "calls_unmerged", "Calls, list by list")->number = unmerged;
	note(fields, "merging only the consecutive pages of each list");
	if (report->comparison.has_oracle) {
		add(fields, FIELD_NUMBER, "calls_fewest", "Calls, at the fewest")->number =
			report->comparison.calls_fewest * n_views;
		note(fields, "all updates in one batch");
	}
	add(fields, FIELD_NUMBER, "calls_saved", "Calls saved")->number =
		unmerged > calls ? unmerged - calls : 0;
	note(fields, "%.1f %% of list by list were made", ratio * 100);
	add(fields, FIELD_REAL, "calls_ratio", NULL)->real = ratio;
}

static void add_trace(struct fields *fields, const struct simvm_report *report)
{
	double elapsed_s = report->elapsed_s;
	uint64_t rate = elapsed_s > 0 ? (uint64_t)((double)report->done.pages / elapsed_s) : 0;

	add(fields, FIELD_NUMBER, "seed", NULL)->number = report->seed;
	add(fields, FIELD_TEXT, "trace_hash", NULL)->text = report->trace_hash;
	add(fields, FIELD_NUMBER, "agents", "Agents")->number = report->trace->n_agents;
	note(fields, "seed %" PRIu64 ", trace %s", report->seed, report->trace_hash);
	add(fields, FIELD_NUMBER, "updates", "Updates")->number = report->done.updates;
	note(fields, "lists of at most %" PRIu32 " pages", longest_list(report->trace));
	add(fields, FIELD_NUMBER, "updates_failed", "Failed updates")->number =
		report->done.failures;
	add(fields, FIELD_NUMBER, "agents_lost", NULL)->number = report->agents_lost;
	add(fields, FIELD_NUMBER, "pages", "Pages")->number = report->done.pages;
	note(fields, "%s", values_note(report));
	add(fields, FIELD_NUMBER, "batches", "Batches")->number = report->batches;
	note(fields, "%.1f updates each",
	     report->batches ? (double)report->done.updates / (double)report->batches : 0);
	add_calls(fields, report);
	add(fields, FIELD_REAL, "elapsed_s", "Seconds")->real = elapsed_s;
	note(fields, "from the first update to the last answer");
	add(fields, FIELD_NUMBER, "pages_per_s", "Pages a second")->number = rate;
}

static void add_all(struct fields *fields, const struct simvm_report *report)
{
	const struct simvm_comparison *c = &report->comparison;

	fields->n = 0;
	add(fields, FIELD_TEXT, "vm", "VM")->text = report->vm;
	note(fields, "%" PRIu64 " MiB of RAM, KVM of the %s kind", report->ram_bytes >> 20,
	     report->abi);
	add(fields, FIELD_TEXT, "abi", NULL)->text = report->abi;
	add(fields, FIELD_NUMBER, "ram_bytes", NULL)->number = report->ram_bytes;
	add(fields, FIELD_NUMBER, "views", "Views")->number = report->n_views;
	note(fields, "one for each VTL");
	if (report->agents)
		add_trace(fields, report);
	add(fields, FIELD_NUMBER, "pages_compared", "Pages compared")->number = c->compared;
	note(fields, "all RAM, all views");
	add(fields, FIELD_NUMBER, "pages_differ_from_daemon", NULL)->number = c->differ_from_daemon;
	add(fields, FIELD_NUMBER, "pages_not_known_to_daemon", NULL)->number =
		c->not_known_to_daemon;
	if (c->has_oracle)
		add(fields, FIELD_NUMBER, "pages_differ_from_trace", NULL)->number =
			c->differ_from_oracle;
	add(fields, FIELD_NUMBER, "pages_told_outside_ram", NULL)->number =
		report->kernel.pages_outside;
}

/* ---- For people ---------------------------------------------------------------------------- */

static void set_cell(struct libscols_line *line, size_t column, const char *text)
{
	if (scols_line_set_data(line, column, text) != 0)
		abort(); /* of memory alone */
}

static void print_table(const struct fields *fields, FILE *stream)
{
	struct libscols_table *table = scols_new_table();

	if (!table || !scols_table_new_column(table, "WHAT", 0, 0) ||
	    !scols_table_new_column(table, "VALUE", 0, SCOLS_FL_RIGHT) ||
	    !scols_table_new_column(table, "NOTE", 0, 0))
		abort(); /* of memory alone */
	scols_table_enable_noheadings(table, 1);
	scols_table_set_stream(table, stream);
	for (size_t i = 0; i < fields->n; i++) {
		const struct field *field = &fields->field[i];
		struct libscols_line *line;
		char number[32];

		if (!field->label)
			continue;
		line = scols_table_new_line(table, NULL);
		if (!line)
			abort();
		if (field->type == FIELD_REAL)
			snprintf(number, sizeof(number), "%.3f", field->real);
		else
			snprintf(number, sizeof(number), "%" PRIu64, field->number);
		set_cell(line, 0, field->label);
		set_cell(line, 1, field->type == FIELD_TEXT ? field->text : number);
		set_cell(line, 2, field->note);
	}
	scols_print_table(table);
	fputc('\n', stream);
	scols_unref_table(table);
}

static const char *status_name(int status)
{
	const char *name = kvmattr_status_name(status);

	return name ? name : "?";
}

static void print_failures(const struct simvm_report *report, FILE *stream)
{
	const struct simvm_failure *failure;
	uint64_t n = 0;

	for (; (failure = simvm_agents_failure(report->agents, n)); n++)
		fprintf(stream,
			"agent %u: list %zu: %" PRIu32 " of %" PRIu32 " pages in force: %s: %s\n",
			failure->agent, failure->list, failure->n_in_force,
			report->trace->lists[failure->list].n, status_name(failure->status),
			failure->text);
	if (report->done.failures > n)
		fprintf(stream, "... and %" PRIu64 " failures more\n", report->done.failures - n);
	if (report->agents_lost)
		fprintf(stream,
			"%u agents lost the daemon: which of their updates are in force is not known\n",
			report->agents_lost);
}

bool simvm_report_is_well(const struct simvm_report *report)
{
	const struct simvm_comparison *c = &report->comparison;

	return !c->differ_from_daemon && !c->differ_from_oracle && !c->not_known_to_daemon &&
	       !report->kernel.pages_outside && !report->agents_lost;
}

void simvm_report_print_verdict(const struct simvm_report *report, FILE *stream)
{
	const struct simvm_comparison *c = &report->comparison;

	fprintf(stream, "%" PRIu64 " pages differ", c->differ_from_daemon + c->differ_from_oracle);
	if (c->not_known_to_daemon)
		fprintf(stream, ", %" PRIu64 " are not known to the daemon",
			c->not_known_to_daemon);
	if (report->kernel.pages_outside)
		fprintf(stream, ", %" PRIu64 " were told outside RAM",
			report->kernel.pages_outside);
	if (report->agents_lost)
		fprintf(stream, ", %u agents were lost", report->agents_lost);
	fputc('\n', stream);
}

void simvm_report_print(const struct simvm_report *report, FILE *stream)
{
	const struct simvm_comparison *c = &report->comparison;
	struct fields fields;

	add_all(&fields, report);
	print_table(&fields, stream);
	if (report->agents)
		print_failures(report, stream);
	fprintf(stream, "KVM against the daemon: %" PRIu64 " pages differ\n",
		c->differ_from_daemon);
	if (c->has_oracle)
		fprintf(stream, "KVM against the trace: %" PRIu64 " pages differ\n",
			c->differ_from_oracle);
	simvm_report_print_verdict(report, stream);
}

/* ---- For programs -------------------------------------------------------------------------- */

static void put(struct json_object *object, const char *key, struct json_object *value)
{
	if (!value || json_object_object_add(object, key, value) != 0)
		abort(); /* of memory alone */
}

static struct json_object *failures_json(const struct simvm_report *report)
{
	struct json_object *array = json_object_new_array();
	const struct simvm_failure *failure;

	if (!array)
		abort();
	for (size_t i = 0; (failure = simvm_agents_failure(report->agents, i)); i++) {
		struct json_object *object = json_object_new_object();

		if (!object || json_object_array_add(array, object) != 0)
			abort();
		put(object, "agent", json_object_new_int64(failure->agent));
		put(object, "list", json_object_new_uint64(failure->list));
		put(object, "pages", json_object_new_int64(report->trace->lists[failure->list].n));
		put(object, "pages_in_force", json_object_new_int64(failure->n_in_force));
		put(object, "status", json_object_new_string(status_name(failure->status)));
		put(object, "text", json_object_new_string(failure->text));
	}
	return array;
}

void simvm_report_print_json(const struct simvm_report *report, FILE *stream)
{
	struct json_object *object = json_object_new_object();
	struct fields fields;

	if (!object)
		abort();
	add_all(&fields, report);
	for (size_t i = 0; i < fields.n; i++) {
		const struct field *field = &fields.field[i];

		if (field->type == FIELD_TEXT)
			put(object, field->key, json_object_new_string(field->text));
		else if (field->type == FIELD_NUMBER)
			put(object, field->key, json_object_new_uint64(field->number));
		else
			put(object, field->key, json_object_new_double(field->real));
	}
	if (report->agents)
		put(object, "failures", failures_json(report));
	put(object, "well", json_object_new_boolean(simvm_report_is_well(report)));
	fprintf(stream, "%s\n",
		json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY |
							       JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}
