/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stats.get, stats.reset: what was counted of each VM.
 *
 * A reset is for people who look: it changes what is subtracted here.  The counters themselves, and
 * with them daemon.metrics, never go back.
 */
#include "daemon/log.h"
#include "json-put.h"
#include "method-words.h"
#include "methods.h"

#include <json-c/json.h>

#define PER_MILLION(percent) ((unsigned int)((percent)*10000))

/* Since the VM is hosted or the last reset. */
static struct vm_statistics count_since(const struct hosted_vm *hosted)
{
	const struct vm_statistics *before = &hosted->statistics_before;
	struct vm_statistics statistics = *vm_statistics(hosted->vm);

	statistics.updates -= before->updates;
	statistics.updates_failed -= before->updates_failed;
	statistics.elements -= before->elements;
	statistics.pages -= before->pages;
	statistics.batches -= before->batches;
	statistics.calls -= before->calls;
	statistics.call_pages -= before->call_pages;
	statistics.calls_unmerged -= before->calls_unmerged;
	statistics.refusals -= before->refusals;
	statistics.retries -= before->retries;
	statistics.batch_us_total -= before->batch_us_total;
	latency_subtract(&statistics.latency, &before->latency);
	return statistics;
}

static void put_buckets(struct json_object *buckets, const struct latency *latency)
{
	unsigned int n = LATENCY_N_BUCKETS;

	while (n && !latency->buckets[n - 1])
		n--;
	for (unsigned int i = 0; i < n; i++)
		json_put_next_number(buckets, latency->buckets[i]);
}

static void put_latency(struct json_object *object, const struct latency *latency)
{
	json_put_number(object, "updates", latency->n);
	json_put_number(object, "total_us", latency->total_us);
	json_put_number(object, "max_us", latency->max_us);
	json_put_number(object, "p50_us", latency_quantile_us(latency, PER_MILLION(50)));
	json_put_number(object, "p90_us", latency_quantile_us(latency, PER_MILLION(90)));
	json_put_number(object, "p99_us", latency_quantile_us(latency, PER_MILLION(99)));
	json_put_number(object, "p999_us", latency_quantile_us(latency, PER_MILLION(99.9)));
}

static void put_statistics(struct json_object *object, const struct hosted_vm *hosted,
			   bool with_buckets)
{
	const struct vm_statistics statistics = count_since(hosted);
	uint64_t now_us = clock_now_us(CLOCK_REALTIME);
	struct json_object *latency;

	json_put_text(object, "vm", hosted->name);
	json_put_number(object, "uptime_us",
			now_us > hosted->registered_us ? now_us - hosted->registered_us : 0);
	json_put_number(object, "since_us", hosted->statistics_since_us);
	json_put_number(object, "updates", statistics.updates);
	json_put_number(object, "updates_failed", statistics.updates_failed);
	json_put_number(object, "elements", statistics.elements);
	json_put_number(object, "pages", statistics.pages);
	json_put_number(object, "batches", statistics.batches);
	json_put_number(object, "calls", statistics.calls);
	json_put_number(object, "call_pages", statistics.call_pages);
	json_put_number(object, "calls_unmerged", statistics.calls_unmerged);
	/* may be below 0: after retries and undone batches */
	json_put_integer(object, "calls_saved",
			 (int64_t)statistics.calls_unmerged - (int64_t)statistics.calls);
	json_put_number(object, "refusals", statistics.refusals);
	json_put_number(object, "retries", statistics.retries);
	json_put_number(object, "batch_us_total", statistics.batch_us_total);
	json_put_number(object, "batch_us_max", statistics.batch_us_max);
	latency = json_put_new(object, "latency");
	put_latency(latency, &statistics.latency);
	if (with_buckets)
		put_buckets(json_put_new_array(latency, "buckets"), &statistics.latency);
	json_put_number(object, "queue", vm_queue_length(hosted->vm));
	json_put_number(object, "unknown_pages", vm_unknown_pages(hosted->vm));
}

static bool is_asked_for(const struct hosted_vm *hosted, const struct hosted_vm *asked)
{
	return hosted->is_ready && !hosted->is_doomed && (!asked || hosted == asked);
}

static void method_stats_get(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct hosted_vm *asked = method_vm(call, "vm"), *hosted;
	struct json_object *result = method_result(answer), *array;

	array = json_put_new_array(result, "vms");
	LIST_FOREACH (hosted, &call->daemon->vms, list)
		if (is_asked_for(hosted, asked))
			put_statistics(json_put_next(array), hosted, asked != NULL);
	if (!asked)
		return;
	array = json_put_new_array(result, "latency_limits_us");
	for (unsigned int i = 0; i < LATENCY_N_BUCKETS - 1; i++)
		json_put_next_number(array, latency_limit_us(i));
}

static void method_stats_reset(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct json_object *vms = json_put_new_array(method_result(answer), "vms");
	const struct hosted_vm *asked = method_vm(call, "vm");
	struct hosted_vm *hosted;

	LIST_FOREACH (hosted, &call->daemon->vms, list) {
		if (!is_asked_for(hosted, asked))
			continue;
		hosted->statistics_before = *vm_statistics(hosted->vm);
		hosted->statistics_since_us = clock_now_us(CLOCK_REALTIME);
		vm_forget_maxima(hosted->vm);
		json_put_next_text(vms, hosted->name);
		log_with_id(LOG_ID_OPERATOR_ACTED, method_about(call, hosted),
			    "counted anew for stats.get, as uid %u, PID %d wanted",
			    call->peer->who.uid, call->peer->who.pid);
	}
}

/* ---- The table ----------------------------------------------------------------------------- */

static const struct method_member latency_members[] = {
	{ .name = "updates", .value = VALUE_NUMBER },
	{ .name = "total_us", .value = VALUE_NUMBER, .summary = "of all together" },
	{ .name = "max_us", .value = VALUE_NUMBER },
	{ .name = "p50_us",
	  .value = VALUE_NUMBER,
	  .summary = "what half of them took at most; as the next ones, up to an eighth too high" },
	{ .name = "p90_us", .value = VALUE_NUMBER },
	{ .name = "p99_us", .value = VALUE_NUMBER },
	{ .name = "p999_us", .value = VALUE_NUMBER },
	{ .name = "buckets",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_ARRAY | VALUE_OPTIONAL,
	  .summary = "of one VM: how many fell into each bucket, as far as there are any" },
	{},
};

static const struct method_member statistics_members[] = {
	VM_MEMBER,
	{ .name = "uptime_us", .value = VALUE_NUMBER, .summary = "since it was registered" },
	{ .name = "since_us",
	  .value = VALUE_NUMBER,
	  .summary = "since when is counted, in microseconds since the start of 1970: the "
		     "registration, the recovery or the last stats.reset" },
	{ .name = "updates", .value = VALUE_NUMBER, .summary = "that were answered" },
	{ .name = "updates_failed", .value = VALUE_NUMBER, .summary = "of them" },
	{ .name = "elements", .value = VALUE_NUMBER, .summary = "that came into force" },
	{ .name = "pages", .value = VALUE_NUMBER, .summary = "of these elements" },
	{ .name = "batches", .value = VALUE_NUMBER },
	{ .name = "calls", .value = VALUE_NUMBER, .summary = "to KVM" },
	{ .name = "call_pages", .value = VALUE_NUMBER, .summary = "in these calls" },
	{ .name = "calls_unmerged",
	  .value = VALUE_NUMBER,
	  .summary = "that it takes to merge only the consecutive pages of each list" },
	{ .name = "calls_saved",
	  .value = VALUE_INTEGER,
	  .summary = "below 0 after retries and undone batches" },
	{ .name = "refusals", .value = VALUE_NUMBER, .summary = "by the kernel" },
	{ .name = "retries", .value = VALUE_NUMBER, .summary = "after a transient error" },
	{ .name = "batch_us_total",
	  .value = VALUE_NUMBER,
	  .summary = "from the first call of each batch to its last answer" },
	{ .name = "batch_us_max", .value = VALUE_NUMBER },
	{ .name = "latency",
	  .value = VALUE_OBJECT,
	  .members = latency_members,
	  .summary = "of updates, from the receipt to the answer" },
	{ .name = "queue", .value = VALUE_NUMBER, .summary = "updates that wait now" },
	{ .name = "unknown_pages",
	  .value = VALUE_NUMBER,
	  .summary = "of which it is not known what KVM enforces now" },
	{},
};

static const struct method_member stats_get_members[] = {
	{ .name = "vms",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = statistics_members },
	{ .name = "latency_limits_us",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_ARRAY | VALUE_OPTIONAL,
	  .summary = "of one VM: the longest time that falls into each bucket; the last, which is "
		     "not here, takes all that is longer" },
	{},
};

static const struct method_member stats_reset_members[] = {
	{ .name = "vms",
	  .value = VALUE_TEXT,
	  .flags = VALUE_ARRAY,
	  .summary = "the names of those that are counted anew" },
	{},
};

#define VM_OR_ALL_PARAMETER                                           \
	{                                                             \
		.name = "vm", .type = METHOD_VM,                      \
		.summary = "the VM's name; all VMs if it is left out" \
	}

const struct method stats_methods[] = {
	{
		.name = "stats.get",
		.summary = "What was counted since the registration or the last reset",
		.members = stats_get_members,
		.run = method_stats_get,
		.parameters = { VM_OR_ALL_PARAMETER },
	},
	{
		.name = "stats.reset",
		.summary = "Begins to count anew, for stats.get; the metrics go on",
		.role = METHOD_OPERATOR,
		.members = stats_reset_members,
		.run = method_stats_reset,
		.parameters = { VM_OR_ALL_PARAMETER },
	},
	{},
};
