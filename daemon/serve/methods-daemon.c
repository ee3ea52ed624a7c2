/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon.get.
 */
#include "config.h"

#include "control.h"
#include "daemon/log.h"
#include "events.h"
#include "fd-store.h"
#include "json-put.h"
#include "json-text.h"
#include "memory.h"
#include "method-words.h"
#include "methods.h"
#include "operation.h"
#include "recovery.h"
#include "vm-events.h"

#include <json-c/json.h>
#include <unistd.h>

/* An import becomes a VM's policy, and that has its own limit. */
static uint64_t max_import(const struct daemon_limits *daemon)
{
	uint64_t max_bytes = daemon->max_map_bytes;

	return max_bytes && max_bytes < METHODS_MAX_IMPORT ? max_bytes : METHODS_MAX_IMPORT;
}

static void put_limits(struct json_object *limits, const struct daemon_limits *daemon)
{
	json_put_number(limits, "max_vms", daemon->max_vms);
	json_put_number(limits, "max_sessions", daemon->max_sessions);
	json_put_number(limits, "max_vms_per_user", daemon->max_vms_per_user);
	json_put_number(limits, "max_sessions_per_user", daemon->max_sessions_per_user);
	json_put_number(limits, "max_clients_per_user", daemon->max_clients_per_user);
	json_put_number(limits, "max_updates_in_flight", daemon->max_updates_in_flight);
	json_put_number(limits, "max_pages_per_call", daemon->vm.max_pages_per_call);
	json_put_number(limits, "max_elements_per_batch", daemon->vm.max_elements_per_batch);
	json_put_number(limits, "executor_deadline_ms", daemon->vm.executor_deadline_ms);
	json_put_number(limits, "max_map_mib", daemon->max_map_bytes >> 20);
	json_put_number(limits, "max_memory_mib", daemon->max_memory_bytes >> 20);
	json_put_number(limits, "max_memory_mib_per_user", daemon->max_memory_bytes_per_user >> 20);
	json_put_number(limits, "owner_grace_ms", daemon->owner_grace_ms);
	json_put_number(limits, "agent_grace_ms", daemon->agent_grace_ms);
	json_put_number(limits, "max_clients", CONTROL_MAX_CLIENTS);
	json_put_number(limits, "max_unread_bytes", CONTROL_MAX_UNREAD);
	json_put_number(limits, "max_request_bytes", JSONRPC_MAX_REQUEST);
	json_put_number(limits, "max_request_values", JSONRPC_MAX_VALUES);
	json_put_number(limits, "max_request_depth", JSON_TEXT_MAX_DEPTH);
	json_put_number(limits, "max_batch", JSONRPC_MAX_BATCH);
	json_put_number(limits, "max_ranges", METHOD_MAX_RANGES);
	json_put_number(limits, "max_operator_updates", OPERATION_MAX_UPDATES);
	json_put_number(limits, "max_runs", METHODS_MAX_RUNS);
	json_put_number(limits, "max_buckets", METHODS_MAX_BUCKETS);
	json_put_number(limits, "max_walk_us", METHODS_MAX_WALK_US);
	json_put_number(limits, "max_import_bytes", max_import(daemon));
	json_put_number(limits, "max_events_kept", EVENTS_MAX_KEPT);
	json_put_number(limits, "max_event_bytes_kept", EVENTS_MAX_KEPT_BYTES);
	json_put_number(limits, "missed_grace_ms", CONTROL_MISSED_GRACE_MS);
	json_put_number(limits, "batch_event_interval_ms", VM_EVENTS_BATCH_INTERVAL_MS);
	json_put_number(limits, "max_fault_events_per_s", VM_EVENTS_MAX_FAULTS);
}

static void put_capabilities(struct json_object *array, const struct daemon *daemon)
{
	json_put_next_text(array, "events");
	json_put_next_text(array, "kvm-statistics");
	if (fd_store_outlives_us(daemon->fd_store))
		json_put_next_text(array, "fd-store");
	if (daemon->allow_simulated)
		json_put_next_text(array, "simulated-vms");
}

static void put_abis(struct json_object *array)
{
	for (unsigned int abi = KVMATTR_ABI_PROBE + 1; abi < KVMATTR_N_ABIS; abi++)
		json_put_next_text(array, kvmattr_abi_name(abi));
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

static void put_memory(struct json_object *memory, const struct daemon *daemon)
{
	json_put_number(memory, "held_bytes", memory_held(daemon));
	json_put_number(memory, "limit_bytes", daemon->limits.max_memory_bytes);
	json_put_number(memory, "vms_bytes", memory_held_by(daemon, USER_VM));
	json_put_number(memory, "sessions_bytes", memory_held_by(daemon, USER_SESSION));
	json_put_number(memory, "requests_bytes", memory_held_by(daemon, USER_CLIENT));
	json_put_number(memory, "imports_bytes", memory_held_by(daemon, USER_IMPORT));
	json_put_number(memory, "past_bytes", memory_held_by(daemon, USER_PAST));
}

static void put_loop(struct json_object *loop, const struct latency *turns)
{
	json_put_number(loop, "turns", turns->n);
	json_put_number(loop, "p50_us", latency_quantile_us(turns, 500000));
	json_put_number(loop, "p99_us", latency_quantile_us(turns, 990000));
	json_put_number(loop, "longest_us", turns->max_us);
}

static void put_counters(struct json_object *counters, const struct method_call *call)
{
	const struct daemon *daemon = call->daemon;
	const struct control_statistics *control = control_statistics(call->control);
	const struct events_status events = events_status(daemon->events);

	json_put_number(counters, "vms", daemon->n_vms);
	json_put_number(counters, "sessions", daemon->n_sessions);
	json_put_number(counters, "vms_registered", daemon->vms_registered);
	json_put_number(counters, "vms_recovered", daemon->vms_recovered);
	json_put_number(counters, "vms_released", daemon->vms_released);
	json_put_number(counters, "clients", control->clients);
	json_put_number(counters, "clients_accepted", control->clients_accepted);
	json_put_number(counters, "clients_refused", control->clients_refused);
	json_put_number(counters, "clients_too_slow", control->clients_too_slow);
	json_put_number(counters, "calls", control->calls);
	json_put_number(counters, "events", events.next - 1);
	json_put_number(counters, "events_missed", events.n_missed);
	json_put_number(counters, "subscriptions", events.n_subscriptions);
}

static void method_daemon_get(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct daemon *daemon = call->daemon;
	struct json_object *result = method_result(answer);
	uint64_t now_us = clock_now_us(CLOCK_REALTIME);

	json_put_text(result, "version", PACKAGE_VERSION);
	json_put_integer(result, "pid", getpid());
	json_put_number(result, "started_us", daemon->started_us);
	json_put_number(result, "uptime_us",
			now_us > daemon->started_us ? now_us - daemon->started_us : 0);
	json_put_boolean(result, "allow_simulated", daemon->allow_simulated);
	json_put_text(result, "log_level", log_level_name(log_get_level()));
	put_capabilities(json_put_new_array(result, "capabilities"), daemon);
	put_abis(json_put_new_array(result, "abis"));
	put_limits(json_put_new(result, "limits"), &daemon->limits);
	put_journals(json_put_new(result, "journals"), daemon);
	put_memory(json_put_new(result, "memory"), daemon);
	put_loop(json_put_new(result, "loop"), &daemon->turns.lengths);
	put_counters(json_put_new(result, "counters"), call);
}

/* ---- The table ----------------------------------------------------------------------------- */

static const struct method_member limit_members[] = {
	{ .name = "max_vms", .value = VALUE_NUMBER, .summary = "VMs that are registered" },
	{ .name = "max_sessions",
	  .value = VALUE_NUMBER,
	  .summary = "connections to the agent socket" },
	{ .name = "max_vms_per_user", .value = VALUE_NUMBER, .summary = "VMs of one user" },
	{ .name = "max_sessions_per_user",
	  .value = VALUE_NUMBER,
	  .summary = "sessions of one user on the agent socket" },
	{ .name = "max_clients_per_user",
	  .value = VALUE_NUMBER,
	  .summary = "connections of one user to the control socket" },
	{ .name = "max_updates_in_flight", .value = VALUE_NUMBER, .summary = "of one session" },
	{ .name = "max_pages_per_call",
	  .value = VALUE_NUMBER,
	  .summary = "in one call to KVM, which holds its lock for the whole call" },
	{ .name = "max_elements_per_batch",
	  .value = VALUE_NUMBER,
	  .summary = "of the updates that are carried out together" },
	{ .name = "executor_deadline_ms",
	  .value = VALUE_NUMBER,
	  .summary = "how long an executor may take for one batch" },
	{ .name = "max_map_mib", .value = VALUE_NUMBER, .summary = "memory for one VM's policy" },
	{ .name = "max_memory_mib",
	  .value = VALUE_NUMBER,
	  .summary = "memory for all that peers bring about" },
	{ .name = "max_memory_mib_per_user",
	  .value = VALUE_NUMBER,
	  .summary = "of this, for one user" },
	{ .name = "owner_grace_ms",
	  .value = VALUE_NUMBER,
	  .summary = "how long owners may take to come back after a restart of the daemon" },
	{ .name = "agent_grace_ms",
	  .value = VALUE_NUMBER,
	  .summary = "the same for agents; 0: as long as their VM is there" },
	{ .name = "max_clients",
	  .value = VALUE_NUMBER,
	  .summary = "connections to the control socket" },
	{ .name = "max_unread_bytes",
	  .value = VALUE_NUMBER,
	  .summary = "of answers that a client has not read: beyond that its calls wait" },
	{ .name = "max_request_bytes", .value = VALUE_NUMBER, .summary = "of one request" },
	{ .name = "max_request_values",
	  .value = VALUE_NUMBER,
	  .summary = "of one request: its commas and opening brackets" },
	{ .name = "max_request_depth",
	  .value = VALUE_NUMBER,
	  .summary = "arrays and objects inside one another in a request" },
	{ .name = "max_batch", .value = VALUE_NUMBER, .summary = "calls in one batch" },
	{ .name = "max_ranges", .value = VALUE_NUMBER, .summary = "in one call of vm.update" },
	{ .name = "max_operator_updates",
	  .value = VALUE_NUMBER,
	  .summary = "vm.update of one VM that are under way" },
	{ .name = "max_runs", .value = VALUE_NUMBER, .summary = "runs or lines in one answer" },
	{ .name = "max_buckets",
	  .value = VALUE_NUMBER,
	  .summary = "parts in one answer of map.summary" },
	{ .name = "max_walk_us",
	  .value = VALUE_NUMBER,
	  .summary = "how long one call may walk through guest memory" },
	{ .name = "max_import_bytes", .value = VALUE_NUMBER, .summary = "of one import" },
	{ .name = "max_events_kept",
	  .value = VALUE_NUMBER,
	  .summary = "that a subscriber may be behind" },
	{ .name = "max_event_bytes_kept", .value = VALUE_NUMBER, .summary = "the same, in bytes" },
	{ .name = "missed_grace_ms",
	  .value = VALUE_NUMBER,
	  .summary = "within which who missed events has to read that it did" },
	{ .name = "batch_event_interval_ms",
	  .value = VALUE_NUMBER,
	  .summary = "between two batch.committed of a VM" },
	{ .name = "max_fault_events_per_s",
	  .value = VALUE_NUMBER,
	  .summary = "fault.explained of a VM" },
	{},
};

static const struct method_member unrecovered_members[] = {
	{ .name = "vm", .value = VALUE_TEXT, .summary = "the VM's name, which is taken" },
	{ .name = "journal", .value = VALUE_TEXT, .summary = "its directory's name" },
	{ .name = "file", .value = VALUE_TEXT, .summary = "in that directory; may be empty" },
	{ .name = "offset", .value = VALUE_NUMBER, .summary = "of the damage, in the file" },
	{ .name = "text", .value = VALUE_TEXT, .summary = "what is wrong" },
	{},
};

static const struct method_member journals_members[] = {
	{ .name = "directory", .value = VALUE_TEXT, .summary = "where the journals are" },
	{ .name = "durability",
	  .value = VALUE_CHOICE,
	  .choices = method_durabilities,
	  .summary = "what an answered update survives" },
	{ .name = "segment_bytes", .value = VALUE_NUMBER, .summary = "of one file of a journal" },
	{ .name = "max_bytes",
	  .value = VALUE_NUMBER,
	  .summary = "of one journal, where its history can be given up" },
	{ .name = "past_journals",
	  .value = VALUE_NUMBER,
	  .summary = "how many are kept of VMs that are gone" },
	{ .name = "unrecovered",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = unrecovered_members,
	  .summary = "journals of VMs that could not be recovered" },
	{},
};

static const struct method_member memory_members[] = {
	{ .name = "held_bytes",
	  .value = VALUE_NUMBER,
	  .summary = "that peers have brought about, or that may come of it" },
	{ .name = "limit_bytes", .value = VALUE_NUMBER, .summary = "max_memory_mib" },
	{ .name = "vms_bytes", .value = VALUE_NUMBER, .summary = "of this, VMs: maps and batches" },
	{ .name = "sessions_bytes",
	  .value = VALUE_NUMBER,
	  .summary = "messages under way, and answers" },
	{ .name = "requests_bytes",
	  .value = VALUE_NUMBER,
	  .summary = "long requests of the control socket" },
	{ .name = "imports_bytes", .value = VALUE_NUMBER, .summary = "imports under way" },
	{ .name = "past_bytes",
	  .value = VALUE_NUMBER,
	  .summary = "questions about the past, and what is kept for the next one" },
	{},
};

static const struct method_member counter_members[] = {
	{ .name = "vms", .value = VALUE_NUMBER, .summary = "that there are" },
	{ .name = "sessions", .value = VALUE_NUMBER, .summary = "that are connected" },
	{ .name = "vms_registered", .value = VALUE_NUMBER, .summary = "since the start" },
	{ .name = "vms_recovered", .value = VALUE_NUMBER, .summary = "since the start" },
	{ .name = "vms_released", .value = VALUE_NUMBER, .summary = "since the start" },
	{ .name = "clients",
	  .value = VALUE_NUMBER,
	  .summary = "that are connected to the control socket" },
	{ .name = "clients_accepted", .value = VALUE_NUMBER, .summary = "since the start" },
	{ .name = "clients_refused", .value = VALUE_NUMBER, .summary = "since the start" },
	{ .name = "clients_too_slow",
	  .value = VALUE_NUMBER,
	  .summary = "disconnected, since the start, because they did not read their events" },
	{ .name = "calls", .value = VALUE_NUMBER, .summary = "of methods, since the start" },
	{ .name = "events", .value = VALUE_NUMBER, .summary = "since the start" },
	{ .name = "events_missed",
	  .value = VALUE_NUMBER,
	  .summary = "by subscribers that had asked for them, since the start" },
	{ .name = "subscriptions", .value = VALUE_NUMBER, .summary = "that there are" },
	{},
};

static const struct method_member loop_members[] = {
	{ .name = "turns",
	  .value = VALUE_NUMBER,
	  .summary = "pieces of peers' work that the event loop has done" },
	{ .name = "p50_us", .value = VALUE_NUMBER, .summary = "that half of them took at most" },
	{ .name = "p99_us", .value = VALUE_NUMBER, .summary = "that 99 of 100 took at most" },
	{ .name = "longest_us",
	  .value = VALUE_NUMBER,
	  .summary = "that the longest took, in which nobody else was heard" },
	{},
};

/* As enum log_level has them, and as put_capabilities() puts them. */
static const char *const level_words[] = { "error", "warning", "info", "debug", NULL };
static const char *const capability_words[] = {
	"events", "kvm-statistics", "fd-store", "simulated-vms", NULL,
};

static const struct method_member daemon_get_members[] = {
	{ .name = "version", .value = VALUE_TEXT },
	{ .name = "pid", .value = VALUE_INTEGER },
	{ .name = "started_us",
	  .value = VALUE_NUMBER,
	  .summary = "microseconds since the start of 1970" },
	{ .name = "uptime_us", .value = VALUE_NUMBER },
	{ .name = "allow_simulated",
	  .value = VALUE_BOOLEAN,
	  .summary = "whether simulated VMs may be registered" },
	{ .name = "log_level", .value = VALUE_CHOICE, .choices = level_words },
	{ .name = "capabilities",
	  .value = VALUE_CHOICE,
	  .flags = VALUE_ARRAY,
	  .choices = capability_words,
	  .summary = "what there is in this build, on this host, with this configuration" },
	{ .name = "abis",
	  .value = VALUE_TEXT,
	  .flags = VALUE_ARRAY,
	  .summary = "the dialects of KVM that this build speaks" },
	{ .name = "limits", .value = VALUE_OBJECT, .members = limit_members },
	{ .name = "journals", .value = VALUE_OBJECT, .members = journals_members },
	{ .name = "memory", .value = VALUE_OBJECT, .members = memory_members },
	{ .name = "loop", .value = VALUE_OBJECT, .members = loop_members },
	{ .name = "counters", .value = VALUE_OBJECT, .members = counter_members },
	{},
};

const struct method daemon_methods[] = {
	{
		.name = "daemon.get",
		.summary = "The daemon: version, capabilities, limits, uptime and counters",
		.members = daemon_get_members,
		.run = method_daemon_get,
	},
	{},
};
