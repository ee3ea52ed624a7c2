/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon.get.
 */
#include "config.h"

#include "control.h"
#include "json-put.h"
#include "json-text.h"
#include "methods.h"
#include "recovery.h"

#include <json-c/json.h>
#include <unistd.h>

static void put_limits(struct json_object *limits, const struct daemon_limits *daemon)
{
	json_put_number(limits, "max_vms", daemon->max_vms);
	json_put_number(limits, "max_sessions", daemon->max_sessions);
	json_put_number(limits, "max_updates_in_flight", daemon->max_updates_in_flight);
	json_put_number(limits, "max_pages_per_call", daemon->vm.max_pages_per_call);
	json_put_number(limits, "max_elements_per_batch", daemon->vm.max_elements_per_batch);
	json_put_number(limits, "executor_deadline_ms", daemon->vm.executor_deadline_ms);
	json_put_number(limits, "max_map_mib", daemon->vm.max_map_bytes >> 20);
	json_put_number(limits, "owner_grace_ms", daemon->owner_grace_ms);
	json_put_number(limits, "max_clients", CONTROL_MAX_CLIENTS);
	json_put_number(limits, "max_request_bytes", JSONRPC_MAX_REQUEST);
	json_put_number(limits, "max_request_depth", JSON_TEXT_MAX_DEPTH);
	json_put_number(limits, "max_batch", JSONRPC_MAX_BATCH);
	json_put_number(limits, "max_runs", METHODS_MAX_RUNS);
	json_put_number(limits, "max_buckets", METHODS_MAX_BUCKETS);
}

static void put_journals(struct json_object *object, const struct daemon *daemon)
{
	const struct vm_journals *journals = &daemon->journals;
	const struct unrecovered *unrecovered;
	struct json_object *array;

	json_put_text(object, "directory", daemon->journals_path);
	json_put_text(object, "durability",
		      journals->durability == DURABILITY_POWER ? "power" : "process");
	json_put_number(object, "segment_bytes", journals->segment_size);
	json_put_number(object, "max_bytes", journals->max_size);
	json_put_number(object, "past_journals", journals->max_past);
	array = json_put_new_array(object, "unrecovered");
	LIST_FOREACH (unrecovered, &daemon->unrecovered, list) {
		struct json_object *entry = json_put_next(array);

		json_put_text(entry, "vm", unrecovered->vm);
		json_put_text(entry, "journal", unrecovered->journal);
		json_put_text(entry, "file", unrecovered->error.file);
		json_put_number(entry, "offset", unrecovered->error.offset);
		json_put_text(entry, "text", unrecovered->error.text);
	}
}

void method_daemon_get(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct daemon *daemon = call->daemon;
	const struct control_statistics *control = control_statistics(call->control);
	struct json_object *result = method_result(answer), *counters;
	uint64_t now_us = clock_now_us(CLOCK_REALTIME);

	json_put_text(result, "version", PACKAGE_VERSION);
	json_put_integer(result, "pid", getpid());
	json_put_number(result, "started_us", daemon->started_us);
	json_put_number(result, "uptime_us",
			now_us > daemon->started_us ? now_us - daemon->started_us : 0);
	json_put_boolean(result, "allow_simulated", daemon->allow_simulated);
	put_limits(json_put_new(result, "limits"), &daemon->limits);
	put_journals(json_put_new(result, "journals"), daemon);
	counters = json_put_new(result, "counters");
	json_put_number(counters, "vms", daemon->n_vms);
	json_put_number(counters, "sessions", daemon->n_sessions);
	json_put_number(counters, "vms_registered", daemon->vms_registered);
	json_put_number(counters, "vms_recovered", daemon->vms_recovered);
	json_put_number(counters, "vms_released", daemon->vms_released);
	json_put_number(counters, "clients", control->clients);
	json_put_number(counters, "clients_accepted", control->clients_accepted);
	json_put_number(counters, "clients_refused", control->clients_refused);
	json_put_number(counters, "calls", control->calls);
}
