/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "methods.h"

#include "json-put.h"

#include <json-c/json.h>
#include <string.h>

static void method_rpc_methods(const struct method_call *call, struct jsonrpc_answer *answer);

#define VM_PARAMETER                                                                             \
	{                                                                                        \
		.name = "vm", .type = METHOD_VM, .is_required = true, .summary = "the VM's name" \
	}
#define VTL_PARAMETER                                                                  \
	{                                                                              \
		.name = "vtl", .type = METHOD_INTEGER, .maximum = KVMATTR_N_VTLS - 1,  \
		.summary = "the VTL that is restricted, and has a view; 0 if left out" \
	}
#define START_PARAMETER                                                                     \
	{                                                                                   \
		.name = "start", .type = METHOD_ADDRESS,                                    \
		.summary = "from the page of this address on; the first of RAM if left out" \
	}
#define END_PARAMETER                                                                       \
	{                                                                                   \
		.name = "end", .type = METHOD_ADDRESS,                                      \
		.summary = "up to, not including, this address; the end of RAM if left out" \
	}
#define CURSOR_PARAMETER                                                                       \
	{                                                                                      \
		.name = "cursor", .type = METHOD_ADDRESS,                                      \
		.summary = "an earlier answer's cursor: go on there; all else as in that call" \
	}
#define LIMIT_PARAMETER                                                          \
	{                                                                        \
		.name = "limit", .type = METHOD_INTEGER, .minimum = 1,           \
		.maximum = METHODS_MAX_RUNS,                                     \
		.summary = "at most so many runs in the answer; 256 if left out" \
	}

static const struct method methods[] = {
	{
		.name = "rpc.methods",
		.summary = "The methods of this socket, with their parameters and results",
		.result = "methods: array of {name, summary, role, result, "
			  "parameters: array of {name, type, required, minimum, maximum, summary}}",
		.run = method_rpc_methods,
	},
	{
		.name = "daemon.get",
		.summary = "The daemon: version, uptime, limits and counters",
		.result =
			"version, pid, started_us (since 1970), uptime_us, allow_simulated, "
			"limits: {max_vms, max_sessions, max_updates_in_flight, "
			"max_pages_per_call, max_elements_per_batch, executor_deadline_ms, "
			"max_map_mib, max_clients, max_request_bytes, max_request_depth, max_batch, max_runs, "
			"max_buckets}, "
			"counters: {vms, sessions, vms_registered, vms_released, clients, "
			"clients_accepted, clients_refused, calls}",
		.run = method_daemon_get,
	},
	{
		.name = "vm.list",
		.summary = "The VMs that are registered, one line's worth each",
		.result = "vms: array of {name, simulated, state, degraded, unknown_pages, commit, "
			  "queue, executor, ram_pages, private_pages, views, layers, sessions, "
			  "registered_us}; views and layers are arrays of VTLs",
		.run = method_vm_list,
	},
	{
		.name = "vm.get",
		.summary = "One VM: its views, RAM, layers and sessions, and the state it is in",
		.result = "all that vm.list has of it, and ram: {pages, private_pages, start, end, "
			  "ranges: array of {gpa, pages}, more (ranges than are listed)}, "
			  "views: array of {vtl, abi, supported}, layers: array of {layer, mbec, "
			  "default, restricts}, sessions: array of {id, role, vtl, rights, peer, "
			  "pid, uid, connected, in_flight, last_seqno, messages}, memory_bytes",
		.run = method_vm_get,
		.parameters = { VM_PARAMETER },
	},
	{
		.name = "map.effective",
		.summary = "What a VTL may do with its memory: runs of equal effective attributes",
		.result = "vm, vtl, commit, runs: array of {gpa, pages, protection, visibility "
			  "(private or shared), state (in-force, pending or unknown)}, "
			  "cursor where there is more; RAM only",
		.run = method_map_effective,
		.parameters = { VM_PARAMETER, VTL_PARAMETER, START_PARAMETER, END_PARAMETER,
				CURSOR_PARAMETER, LIMIT_PARAMETER },
	},
	{
		.name = "map.layer",
		.summary = "What one layer imposes on a VTL, page by page or by its default",
		.result = "vm, layer, vtl, commit, default, mbec, runs: array of {gpa, pages, "
			  "protection, source (explicit or default)}, cursor where there is more; "
			  "RAM only",
		.run = method_map_layer,
		.parameters = { VM_PARAMETER,
				{ .name = "layer",
				  .type = METHOD_INTEGER,
				  .is_required = true,
				  .minimum = 1,
				  .maximum = KVMATTR_N_VTLS - 1,
				  .summary = "the VTL that imposes" },
				VTL_PARAMETER,
				START_PARAMETER,
				END_PARAMETER,
				CURSOR_PARAMETER,
				LIMIT_PARAMETER },
	},
	{
		.name = "map.summary",
		.summary =
			"A VTL's memory in equal parts: how many pages of each protection in each",
		.result =
			"vm, vtl, commit, start, end, bucket_pages, buckets: array of {bucket (its "
			"number from start), gpa, pages: {PROTECTION: number, ...}, private, "
			"pending, unknown}; parts without RAM are left out; cursor where there is "
			"more: a part that is cut there comes again, with the rest of its pages",
		.run = method_map_summary,
		.parameters = { VM_PARAMETER,
				VTL_PARAMETER,
				START_PARAMETER,
				END_PARAMETER,
				CURSOR_PARAMETER,
				{ .name = "buckets",
				  .type = METHOD_INTEGER,
				  .minimum = 1,
				  .maximum = METHODS_MAX_BUCKETS,
				  .summary = "into how many parts; 256 if left out" } },
	},
	{
		.name = "map.explain",
		.summary = "One page: who allows and who denies it, why, and what KVM enforces",
		.result =
			"vm, vtl, gpa, commit, ram, protection (effective), visibility, locks, "
			"state (in-force, pending or unknown), state_text, applied (what KVM was "
			"last told; null if not known), layers: array of {layer, protection, "
			"source (explicit or default), mbec}, accesses: array of {access, allowed, "
			"denying: array of layers, intercept (the VTL that gets it, or null)}",
		.run = method_map_explain,
		.parameters = { VM_PARAMETER,
				{ .name = "gpa",
				  .type = METHOD_ADDRESS,
				  .is_required = true,
				  .summary = "any address in the page" },
				VTL_PARAMETER,
				{ .name = "access",
				  .type = METHOD_ACCESS,
				  .summary = "only this one; r, w and x if left out" } },
	},
	{
		.name = "stats.get",
		.summary = "Numbers since the registration, of one VM or of all",
		.result = "vms: array of {vm, uptime_us, updates, updates_failed, elements, pages, "
			  "batches, calls, call_pages, calls_unmerged, calls_saved, refusals, "
			  "retries, batch_us_total, batch_us_max, queue, unknown_pages}",
		.run = method_stats_get,
		.parameters = { { .name = "vm",
				  .type = METHOD_VM,
				  .summary = "the VM's name; all VMs if left out" } },
	},
};

#define N_METHODS (sizeof(methods) / sizeof(methods[0]))

static void put_parameter(struct json_object *array, const struct method_parameter *parameter)
{
	struct json_object *object = json_put_next(array);

	json_put_text(object, "name", parameter->name);
	json_put_text(object, "type", method_type_name(parameter->type));
	json_put_boolean(object, "required", parameter->is_required);
	if (parameter->type == METHOD_INTEGER) {
		json_put_number(object, "minimum", parameter->minimum);
		json_put_number(object, "maximum", parameter->maximum);
	}
	json_put_text(object, "summary", parameter->summary);
}

static void method_rpc_methods(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct json_object *array = json_put_new_array(method_result(answer), "methods");

	(void)call;
	for (size_t i = 0; i < N_METHODS; i++) {
		struct json_object *object = json_put_next(array);
		struct json_object *parameters;

		json_put_text(object, "name", methods[i].name);
		json_put_text(object, "summary", methods[i].summary);
		json_put_text(object, "role",
			      methods[i].role == METHOD_OPERATOR ? "operator" : "observer");
		json_put_text(object, "result", methods[i].result);
		parameters = json_put_new_array(object, "parameters");
		for (const struct method_parameter *p = methods[i].parameters; p->name; p++)
			put_parameter(parameters, p);
	}
}

void methods_dispatch(struct daemon *daemon, const struct control *control, const char *name,
		      struct json_object *params, struct jsonrpc_answer *answer)
{
	struct method_call call = { .daemon = daemon, .control = control };

	for (size_t i = 0; i < N_METHODS && !call.method; i++)
		if (!strcmp(methods[i].name, name))
			call.method = &methods[i];
	if (!call.method) {
		jsonrpc_refuse(answer, JSONRPC_METHOD_NOT_FOUND, NULL, "Method not found");
		return;
	}
	if (method_take_arguments(&call, params, answer))
		call.method->run(&call, answer);
}
