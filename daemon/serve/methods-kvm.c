/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stats.kvm.
 */
#include "json-put.h"
#include "kvm-stats.h"
#include "method-words.h"
#include "methods.h"

#include <json-c/json.h>

/* Why a view has none. */
static const char *explain_lack(const struct hosted_vm *hosted, unsigned int view)
{
	if (hosted->view_fds[view] < 0)
		return "the VM's owner has not come back so far since the daemon was restarted";
	if (hosted->is_simulated)
		return "a simulated VM has none";
	return "the VM's owner did not bring them, as libkvmattr does where the kernel has them "
	       "(Linux 5.14); or the service manager had no room for them when the daemon was "
	       "restarted";
}

static void put_histogram(struct json_object *histograms, const struct kvm_statistic *statistic)
{
	struct json_object *object = json_put_next(histograms);
	struct json_object *counts;

	json_put_text(object, "name", statistic->name);
	if (statistic->kind == KVM_STATISTIC_LINEAR)
		json_put_number(object, "bucket_size", statistic->bucket_size);
	else
		json_put(object, "bucket_size", NULL);
	counts = json_put_new_array(object, "counts");
	for (uint32_t i = 0; i < statistic->n_values; i++)
		json_put_next_number(counts, statistic->values[i]);
}

static void put_statistics(struct json_object *view, const struct kvm_stats *stats)
{
	struct json_object *numbers = json_put_new(view, "statistics");
	struct json_object *histograms = json_put_new_array(view, "histograms");

	for (size_t i = 0; i < stats->n; i++) {
		const struct kvm_statistic *statistic = &stats->all[i];

		if (statistic->kind == KVM_STATISTIC_NUMBER)
			json_put_count(numbers, statistic->name, statistic->values[0]);
		else
			put_histogram(histograms, statistic);
	}
	json_put(view, "text", NULL);
}

static void put_lack(struct json_object *view, const char *why)
{
	json_put(view, "statistics", NULL);
	json_put_new_array(view, "histograms");
	json_put_text(view, "text", why);
}

static void method_stats_kvm(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct hosted_vm *hosted = method_vm(call, "vm");
	struct json_object *result = method_result(answer);
	struct json_object *views;

	json_put_text(result, "vm", hosted->name);
	views = json_put_new_array(result, "views");
	for (unsigned int i = 0; i < hosted->n_views; i++) {
		struct json_object *view = json_put_next(views);
		struct kvm_stats stats;
		char why[256];

		json_put_number(view, "vtl", hosted->views[i].vtl);
		if (hosted->stats_fds[i] < 0) {
			put_lack(view, explain_lack(hosted, i));
		} else if (!kvm_stats_read(hosted->stats_fds[i], &stats, why, sizeof(why))) {
			put_lack(view, why);
		} else {
			put_statistics(view, &stats);
			kvm_stats_destroy(&stats);
		}
	}
}

static const struct method_member histogram_members[] = {
	{ .name = "name", .value = VALUE_TEXT },
	{ .name = "bucket_size",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_NULLABLE,
	  .summary =
		  "bucket i counts values from i times this up; null: the first counts 0, bucket "
		  "i values from 2^(i-1) up" },
	{ .name = "counts", .value = VALUE_NUMBER, .flags = VALUE_ARRAY },
	{},
};

static const struct method_member view_members[] = {
	VTL_MEMBER,
	{ .name = "statistics",
	  .value = VALUE_COUNTS,
	  .flags = VALUE_NULLABLE,
	  .summary = "by KVM's names, in KVM's units; null: there are none, see text" },
	{ .name = "histograms",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .summary = "the statistics that are not one number",
	  .members = histogram_members },
	{ .name = "text",
	  .value = VALUE_TEXT,
	  .flags = VALUE_NULLABLE,
	  .summary = "why there are no statistics" },
	{},
};

static const struct method_member stats_kvm_members[] = {
	VM_MEMBER,
	{ .name = "views", .value = VALUE_OBJECT, .flags = VALUE_ARRAY, .members = view_members },
	{},
};

const struct method kvm_methods[] = {
	{
		.name = "stats.kvm",
		.summary =
			"What KVM itself counts of each view's VM: TLB flushes, mapped pages and "
			"more",
		.members = stats_kvm_members,
		.run = method_stats_kvm,
		.parameters = { VM_PARAMETER },
	},
	{},
};
