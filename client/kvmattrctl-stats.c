/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl stats, vm kvm-stats: what the daemon has counted of its VMs, and what KVM has.
 */
#include "client/kvmattrctl-command.h"
#include "client/kvmattrctl-terminal.h"
#include "client/kvmattrctl-vm.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

void vm_write_calls_saved(struct writer *writer, struct json_object *statistics)
{
	writer_integer(writer, "calls_saved", "Calls saved",
		       answer_integer(statistics, "calls_saved"));
}

/* The order of statistics in both of their shapes. */
static const struct writer_column statistics_columns[] = {
	{ "vm", "VM", WRITER_COLUMN_TEXT },
	{ "updates", "UPDATES", WRITER_COLUMN_NUMBER },
	{ "updates_failed", "FAILED", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
	{ "pages", "PAGES", WRITER_COLUMN_NUMBER },
	{ "batches", "BATCHES", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
	{ "calls", "CALLS", WRITER_COLUMN_NUMBER },
	{ "calls_saved", "SAVED", WRITER_COLUMN_NUMBER },
	{ "pages_per_call", "PAGES/CALL", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
	{ "batch_mean_us", "BATCH", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
	{ "batch_max_us", "LONGEST", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
	{ "latency_p50_us", "P50", WRITER_COLUMN_NUMBER },
	{ "latency_p90_us", NULL, WRITER_COLUMN_NUMBER },
	{ "latency_p99_us", "P99", WRITER_COLUMN_NUMBER },
	{ "latency_p999_us", NULL, WRITER_COLUMN_NUMBER },
	{ "latency_max_us", "MAX", WRITER_COLUMN_NUMBER },
};

static const struct writer_column reset_columns[] = {
	{ "vm", NULL, WRITER_COLUMN_TEXT },
};

static double ratio(uint64_t dividend, uint64_t divisor)
{
	return divisor ? (double)dividend / (double)divisor : 0;
}

/* How long updates took, from their receipt to the answer. */
static void write_latency(struct writer *writer, struct json_object *latency)
{
	writer_duration(writer, "latency_p50_us", "Latency, p50", answer_number(latency, "p50_us"));
	writer_duration(writer, "latency_p90_us", "p90", answer_number(latency, "p90_us"));
	writer_duration(writer, "latency_p99_us", "p99", answer_number(latency, "p99_us"));
	writer_duration(writer, "latency_p999_us", "p99.9", answer_number(latency, "p999_us"));
	writer_duration(writer, "latency_max_us", "longest", answer_number(latency, "max_us"));
}

static void write_statistics(struct writer *writer, struct json_object *vm)
{
	uint64_t n_batches = answer_number(vm, "batches"), n_calls = answer_number(vm, "calls");

	writer_text(writer, "vm", "VM", answer_text(vm, "vm"));
	writer_number(writer, "updates", "Updates", answer_number(vm, "updates"));
	writer_number(writer, "updates_failed", "of these, failed",
		      answer_number(vm, "updates_failed"));
	writer_number(writer, "pages", "Pages", answer_number(vm, "pages"));
	writer_number(writer, "batches", "Batches", n_batches);
	writer_number(writer, "calls", "Calls to KVM", n_calls);
	vm_write_calls_saved(writer, vm);
	writer_ratio(writer, "pages_per_call", "Pages per call",
		     ratio(answer_number(vm, "call_pages"), n_calls));
	writer_duration(writer, "batch_mean_us", "Batch, mean",
			(uint64_t)ratio(answer_number(vm, "batch_us_total"), n_batches));
	writer_duration(writer, "batch_max_us", "Batch, longest",
			answer_number(vm, "batch_us_max"));
	write_latency(writer, answer_object(vm, "latency"));
}

/* What there is only room for when it is about one VM. */
static void write_more_statistics(struct writer *writer, struct json_object *vm)
{
	char since[64];

	writer_ratio(writer, "updates_per_batch", "Updates per batch",
		     ratio(answer_number(vm, "updates"), answer_number(vm, "batches")));
	writer_number(writer, "calls_unmerged", "Calls, unmerged",
		      answer_number(vm, "calls_unmerged"));
	writer_number(writer, "refusals", "Refused by KVM", answer_number(vm, "refusals"));
	writer_number(writer, "retries", "Tried again", answer_number(vm, "retries"));
	writer_number(writer, "queue", "Waiting updates", answer_number(vm, "queue"));
	writer_number(writer, "unknown_pages", "Unknown pages", answer_number(vm, "unknown_pages"));
	writer_duration(writer, "uptime_us", "Registered for", answer_number(vm, "uptime_us"));
	writer_number(writer, "since_us", NULL, answer_number(vm, "since_us"));
	writer_text(writer, NULL, "Counted since",
		    terminal_time(since, answer_number(vm, "since_us")));
}

static enum ctl_exit reset(const struct command_input *input)
{
	struct json_object *params = NULL, *answer = NULL, *vms;
	struct writer *writer = input->writer;
	enum ctl_exit exit_code;
	size_t n;

	if (input->arguments[0])
		params = params_about("vm", input->arguments[0]);
	exit_code = rpc_call(input->rpc, "stats.reset", params, &answer);
	if (exit_code != CTL_OK)
		return exit_code;
	vms = answer_array(answer, "vms", &n);
	writer_begin_object(writer, NULL, NULL);
	if (!n)
		writer_say(writer, "No VM is registered.");
	writer_begin_table(writer, "vms", NULL, reset_columns, COUNT(reset_columns));
	for (size_t i = 0; i < n; i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(vms, i));
		char *safe = terminal_safe(name ? name : "");

		writer_say(writer, "VM %s is counted anew from now on.", safe);
		writer_begin_row(writer);
		writer_text(writer, NULL, NULL, name ? name : "");
		free(safe);
	}
	writer_end_table(writer);
	writer_end_object(writer);
	json_object_put(answer);
	return CTL_OK;
}

enum ctl_exit command_stats(const struct command_input *input)
{
	struct json_object *params = NULL, *statistics = NULL, *vms;
	struct writer *writer = input->writer;
	enum ctl_exit exit_code;
	size_t n;

	if (input->reset)
		return reset(input);
	if (input->arguments[0])
		params = params_about("vm", input->arguments[0]);
	exit_code = rpc_call(input->rpc, "stats.get", params, &statistics);
	if (exit_code != CTL_OK)
		return exit_code;
	vms = answer_array(statistics, "vms", &n);
	if (input->arguments[0] && n != 1) {
		json_object_put(statistics);
		return rpc_nonsense(input->rpc, "it is not about one VM");
	}
	writer_begin_object(writer, NULL, NULL);
	if (input->arguments[0]) {
		write_statistics(writer, json_object_array_get_idx(vms, 0));
		write_more_statistics(writer, json_object_array_get_idx(vms, 0));
	} else {
		if (!n)
			writer_say(writer, "No VM is registered.");
		writer_begin_table(writer, "vms", NULL, statistics_columns,
				   COUNT(statistics_columns));
		for (size_t i = 0; i < n; i++) {
			writer_begin_row(writer);
			write_statistics(writer, json_object_array_get_idx(vms, i));
		}
		writer_end_table(writer);
	}
	writer_end_object(writer);
	json_object_put(statistics);
	return CTL_OK;
}

/* ---- KVM's own ----------------------------------------------------------------------------- */

static const struct writer_column kvm_columns[] = {
	{ "vtl", "VTL", WRITER_COLUMN_NUMBER },
	{ "name", "STATISTIC", WRITER_COLUMN_TEXT },
	{ "value", "VALUE", WRITER_COLUMN_NUMBER },
};

static const struct writer_column histogram_columns[] = {
	{ "vtl", "VTL", WRITER_COLUMN_NUMBER },
	{ "name", "HISTOGRAM", WRITER_COLUMN_TEXT },
	{ "from", "FROM", WRITER_COLUMN_NUMBER },
	{ "count", "COUNT", WRITER_COLUMN_NUMBER },
};

static const struct writer_column lack_columns[] = {
	{ "vtl", "VTL", WRITER_COLUMN_NUMBER },
	{ "text", "WHY IT HAS NONE", WRITER_COLUMN_WORDS },
};

static void write_counts(struct writer *writer, struct json_object *view)
{
	struct json_object *statistics = answer_object(view, "statistics");

	if (!statistics)
		return;
	json_object_object_foreach(statistics, name, value)
	{
		writer_begin_row(writer);
		writer_number(writer, NULL, NULL, answer_number(view, "vtl"));
		writer_text(writer, NULL, NULL, name);
		writer_number(writer, NULL, NULL, json_object_get_uint64(value));
	}
}

/* A row for each bucket that is not empty; without a size, they double from 1 on. */
static void write_histograms(struct writer *writer, struct json_object *view)
{
	size_t n, n_counts;
	struct json_object *histograms = answer_array(view, "histograms", &n);

	for (size_t i = 0; i < n; i++) {
		struct json_object *histogram = json_object_array_get_idx(histograms, i);
		struct json_object *counts = answer_array(histogram, "counts", &n_counts);
		uint64_t size = answer_number(histogram, "bucket_size");

		for (size_t k = 0; k < n_counts && k <= 64; k++) {
			uint64_t count =
				json_object_get_uint64(json_object_array_get_idx(counts, k));

			if (!count)
				continue;
			writer_begin_row(writer);
			writer_number(writer, NULL, NULL, answer_number(view, "vtl"));
			writer_text(writer, NULL, NULL, answer_text(histogram, "name"));
			writer_number(writer, NULL, NULL,
				      size ? k * size
				      : k  ? UINT64_C(1) << (k - 1)
					   : 0);
			writer_number(writer, NULL, NULL, count);
		}
	}
}

static void write_lack(struct writer *writer, struct json_object *view)
{
	if (answer_object(view, "statistics"))
		return;
	writer_begin_row(writer);
	writer_number(writer, NULL, NULL, answer_number(view, "vtl"));
	writer_text(writer, NULL, NULL, answer_text(view, "text"));
}

/* A table of what each view has of it; its columns' titles only where there is any. */
static void write_of_views(struct writer *writer, struct json_object *views, size_t n,
			   const char *key, const struct writer_column *columns, size_t n_columns,
			   void (*write)(struct writer *writer, struct json_object *view))
{
	writer_begin_table(writer, key, NULL, columns, n_columns);
	for (size_t i = 0; i < n; i++)
		write(writer, json_object_array_get_idx(views, i));
	writer_end_table(writer);
}

enum ctl_exit command_vm_kvm_stats(const struct command_input *input)
{
	struct json_object *answer = NULL, *views;
	struct writer *writer = input->writer;
	enum ctl_exit exit_code =
		rpc_call(input->rpc, "stats.kvm", params_about("vm", input->arguments[0]), &answer);
	size_t n;

	if (exit_code != CTL_OK)
		return exit_code;
	views = answer_array(answer, "views", &n);
	writer_begin_object(writer, NULL, NULL);
	writer_text(writer, "vm", NULL, answer_text(answer, "vm"));
	write_of_views(writer, views, n, "statistics", kvm_columns, COUNT(kvm_columns),
		       write_counts);
	write_of_views(writer, views, n, "histograms", histogram_columns, COUNT(histogram_columns),
		       write_histograms);
	write_of_views(writer, views, n, "without", lack_columns, COUNT(lack_columns), write_lack);
	writer_end_object(writer);
	json_object_put(answer);
	return CTL_OK;
}
