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

#define JOURNAL_PARAMETER                                                            \
	{                                                                            \
		.name = "journal", .type = METHOD_JOURNAL, .is_required = true,      \
		.summary = "the name of a VM that is registered, or of a journal's " \
			   "directory, as journal.list has it"                       \
	}
#define COMMIT_PARAMETER(its_name, required, its_summary)                                        \
	{                                                                                        \
		.name = its_name, .type = METHOD_INTEGER, .is_required = required, .minimum = 1, \
		.maximum = INT64_MAX, .summary = its_summary                                     \
	}
#define PLACE_PARAMETER                                                                        \
	{                                                                                      \
		.name = "cursor", .type = METHOD_PLACE,                                        \
		.summary = "an earlier answer's cursor: go on there; all else as in that call" \
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
			"max_map_mib, owner_grace_ms, max_clients, max_request_bytes, max_request_depth, max_batch, max_runs, "
			"max_buckets}, "
			"journals: {directory, durability (process or power), segment_bytes, "
			"max_bytes, past_journals, unrecovered: array of {vm, journal, file, "
			"offset, text}}, "
			"counters: {vms, sessions, vms_registered, vms_recovered, vms_released, clients, "
			"clients_accepted, clients_refused, calls}",
		.run = method_daemon_get,
	},
	{
		.name = "vm.list",
		.summary = "The VMs that are registered, one line's worth each",
		.result = "vms: array of {name, simulated, state, degraded, unknown_pages, commit, "
			  "queue, executor, ram_pages, private_pages, views, layers, sessions, "
			  "detached_sessions (whose peers have not come back since the daemon was "
			  "restarted), registered_us, recovered, journal}; views and layers are "
			  "arrays of VTLs",
		.run = method_vm_list,
	},
	{
		.name = "vm.get",
		.summary = "One VM: its views, RAM, layers and sessions, and the state it is in",
		.result = "all that vm.list has of it, and ram: {pages, private_pages, start, end, "
			  "ranges: array of {gpa, pages}, more (ranges than are listed)}, "
			  "views: array of {vtl, abi, supported}, layers: array of {layer, mbec, "
			  "default, restricts}, sessions: array of {id, role, vtl, rights, peer, "
			  "pid, uid, state (connected, detached or restarting), connected, "
			  "in_flight, last_seqno, messages}, memory_bytes",
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
	{
		.name = "journal.status",
		.summary = "The journal of a VM: how long it is, how far back it goes, how it does",
		.result =
			"vm, journal (its directory's name), durability (process or power), "
			"segments, bytes (checkpoints included), first_number and next_number (of "
			"records), durable_number (the last that is on the disk; null with process), "
			"first_commit and commit (the first and the last that can be asked for), "
			"checkpoints, checkpoint_bytes, checkpoint (the last one's record, or null), "
			"checkpointing, trouble (text, or null)",
		.run = method_journal_status,
		.parameters = { VM_PARAMETER },
	},
	{
		.name = "journal.list",
		.summary = "All journals: of the VMs that are registered, and of those that were",
		.result =
			"journals: array of {journal, vm, life, this_boot, state (live, open, "
			"unfinished, released, other-boot or damaged), registered_us, commit, "
			"commit_us, bytes, released: {status, text} of one that was, damage: {file, "
			"offset, text} of one that is}; times and commit are null or 0 where not "
			"looked for or not known",
		.run = method_journal_list,
	},
	{
		.name = "journal.log",
		.summary = "What happened to a VM, line by line: updates, sessions, refusals",
		.result = "journal, lines: array of {record, type, time_us, commit (or null), "
			  "session (its number, or null), text}, cursor where there is more",
		.run = method_journal_log,
		.parameters = { JOURNAL_PARAMETER,
				COMMIT_PARAMETER("from", false,
						 "from this commit on; from the start if left out"),
				PLACE_PARAMETER, LIMIT_PARAMETER },
	},
	{
		.name = "journal.state_at",
		.summary = "What a VTL was allowed as of a commit: runs of equal attributes",
		.result = "journal, vtl, commit, time_us, runs: array of {gpa, pages, protection, "
			  "visibility (private or shared)}, cursor where there is more; RAM only",
		.run = method_journal_state_at,
		.parameters = { JOURNAL_PARAMETER,
				COMMIT_PARAMETER("commit", false,
						 "as of this one; of the last if left out"),
				VTL_PARAMETER, START_PARAMETER, END_PARAMETER, CURSOR_PARAMETER,
				LIMIT_PARAMETER },
	},
	{
		.name = "journal.diff",
		.summary = "What changed for a VTL between two commits",
		.result =
			"journal, vtl, from and to: {commit, time_us}, runs: array of {gpa, pages, "
			"before, after: {protection, visibility}, or null where it is no RAM}, "
			"cursor where there is more; only pages that differ",
		.run = method_journal_diff,
		.parameters = { JOURNAL_PARAMETER, COMMIT_PARAMETER("from", true, "one commit"),
				COMMIT_PARAMETER("to", false, "the other; the last if left out"),
				VTL_PARAMETER, START_PARAMETER, END_PARAMETER, CURSOR_PARAMETER,
				LIMIT_PARAMETER },
	},
	{
		.name = "journal.blame",
		.summary = "Who made a page what it is: all that set it, the newest first",
		.result =
			"journal, vtl, gpa, commit (the last), now: {protection, visibility} or null "
			"where it is no RAM, from_commit (what came up to it is not known any more; "
			"0: all is), entries: array of {commit, time_us, origin (session, "
			"registration or import), session: {id, role, vtl, peer, pid, uid} or null, "
			"update, kind, "
			"layer, protection, visibility, gpa, pages (each null where the kind has "
			"none), before, after (as now)}, cursor where there is more",
		.run = method_journal_blame,
		.parameters = { JOURNAL_PARAMETER,
				{ .name = "gpa",
				  .type = METHOD_ADDRESS,
				  .is_required = true,
				  .summary = "any address in the page" },
				VTL_PARAMETER,
				PLACE_PARAMETER,
				{ .name = "limit",
				  .type = METHOD_INTEGER,
				  .minimum = 1,
				  .maximum = METHODS_MAX_RUNS,
				  .summary = "at most so many in the answer; 16 if left out" } },
	},
	{
		.name = "vm.export",
		.summary = "The whole policy of a VM as of one commit, piece by piece",
		.result =
			"vm, commit, size (of the whole, in bytes), offset, data (base64), cursor "
			"where there is more; the pieces together are what vm.import takes",
		.run = method_vm_export,
		.parameters = { VM_PARAMETER,
				{ .name = "cursor",
				  .type = METHOD_PLACE,
				  .summary =
					  "an earlier answer's cursor, for the next piece; \"N:0\" "
					  "begins with commit N instead of the last" } },
	},
	{
		.name = "vm.import",
		.summary = "Makes a VM's policy one that was exported; its RAM has to be the same",
		.result =
			"of a piece: vm, received (bytes so far); of the last one, when all is in "
			"force: vm, commit, updates, from_vm, from_commit, from_us",
		.role = METHOD_OPERATOR,
		.run = method_vm_import,
		.parameters = { VM_PARAMETER,
				{ .name = "size",
				  .type = METHOD_INTEGER,
				  .is_required = true,
				  .minimum = 1,
				  .maximum = METHODS_MAX_IMPORT,
				  .summary = "bytes of the whole" },
				{ .name = "offset",
				  .type = METHOD_INTEGER,
				  .is_required = true,
				  .maximum = METHODS_MAX_IMPORT,
				  .summary = "where this piece goes; 0 begins anew" },
				{ .name = "data",
				  .type = METHOD_DATA,
				  .is_required = true,
				  .summary = "the piece, which goes on where the one before it "
					     "ended" } },
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

bool methods_dispatch(struct daemon *daemon, const struct control *control,
		      struct method_peer *peer, const char *name, struct json_object *params,
		      struct jsonrpc_answer *answer)
{
	struct method_call call = { .daemon = daemon, .control = control, .peer = peer };

	for (size_t i = 0; i < N_METHODS && !call.method; i++)
		if (!strcmp(methods[i].name, name))
			call.method = &methods[i];
	if (!call.method) {
		jsonrpc_refuse(answer, JSONRPC_METHOD_NOT_FOUND, NULL, "Method not found");
		return true;
	}
	if (call.method->role == METHOD_OPERATOR && !peer->is_operator) {
		method_refuse(answer, KVMATTR_ACCESS_DENIED,
			      "%s is for operators: call it as root, or as the user that the "
			      "daemon runs as",
			      call.method->name);
		return true;
	}
	if (method_take_arguments(&call, params, answer))
		call.method->run(&call, answer);
	method_drop_arguments(&call);
	return !peer->is_waiting;
}
