/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm.list, vm.get, vm.views, vm.layers, vm.sessions.
 */
#include "json-put.h"
#include "method-words.h"
#include "methods.h"
#include "session-told.h"
#include "session.h"
#include "vm-shape.h"

#include <json-c/json.h>

static const char *executor_name(enum wire_executor place)
{
	return place == WIRE_EXECUTOR_DAEMON ? "daemon" : "vmm";
}

static void put_at_a_glance(struct json_object *object, const struct hosted_vm *hosted)
{
	const struct policy *policy = vm_policy(hosted->vm);

	json_put_text(object, "name", hosted->name);
	json_put_boolean(object, "simulated", hosted->is_simulated);
	json_put_text(object, "state", vm_state_name(hosted->vm));
	json_put_boolean(object, "degraded", vm_is_degraded(hosted->vm));
	json_put_boolean(object, "frozen", vm_is_frozen(hosted->vm));
	json_put_number(object, "unknown_pages", vm_unknown_pages(hosted->vm));
	json_put_number(object, "commit", vm_commit(hosted->vm));
	json_put_number(object, "queue", vm_queue_length(hosted->vm));
	json_put_text(object, "executor", executor_name(hosted->executor_place));
	json_put_number(object, "ram_pages", policy->n_ram_pages);
	json_put_number(object, "private_pages", policy->n_private_pages);
	json_put_number(object, "registered_us", hosted->registered_us);
	json_put_boolean(object, "recovered", hosted->is_recovered);
	json_put_text(object, "journal", vm_journal_name(hosted->journal));
}

/* After a restart of the daemon: those whose peers have not come back so far. */
static unsigned int count_detached(const struct hosted_vm *hosted)
{
	const struct session *session;
	unsigned int n = 0;

	TAILQ_FOREACH (session, &hosted->sessions, list)
		n += session->state == SESSION_DETACHED;
	return n;
}

static void method_vm_list(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct json_object *vms = json_put_new_array(method_result(answer), "vms");
	const struct hosted_vm *hosted;

	LIST_FOREACH (hosted, &call->daemon->vms, list) {
		const struct policy *policy;
		struct json_object *object, *array;

		if (!hosted->is_ready || hosted->is_doomed)
			continue;
		policy = vm_policy(hosted->vm);
		object = json_put_next(vms);
		put_at_a_glance(object, hosted);
		array = json_put_new_array(object, "views");
		for (unsigned int i = 0; i < policy->n_views; i++)
			json_put_next_number(array, policy->views[i].vtl);
		array = json_put_new_array(object, "layers");
		for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++)
			if (policy->layers[k].enabled)
				json_put_next_number(array, k);
		json_put_number(object, "sessions", hosted->n_sessions);
		json_put_number(object, "detached_sessions", count_detached(hosted));
	}
}

static void put_sessions(struct json_object *sessions, const struct hosted_vm *hosted)
{
	struct session *session;

	TAILQ_FOREACH (session, &hosted->sessions, list)
		json_put_next_made(sessions, session_told(session));
}

static void method_vm_get(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct hosted_vm *hosted = method_vm(call, "vm");
	struct json_object *result = method_result(answer);

	put_at_a_glance(result, hosted);
	vm_shape_put_ram(hosted, result);
	vm_shape_put_views(hosted, result);
	vm_shape_put_layers(hosted, result);
	put_sessions(json_put_new_array(result, "sessions"), hosted);
	json_put_number(result, "memory_bytes", vm_memory(hosted->vm));
}

static void method_vm_views(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct hosted_vm *hosted = method_vm(call, "vm");
	struct json_object *result = method_result(answer);

	json_put_text(result, "vm", hosted->name);
	vm_shape_put_views(hosted, result);
}

static void method_vm_layers(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct hosted_vm *hosted = method_vm(call, "vm");
	struct json_object *result = method_result(answer);

	json_put_text(result, "vm", hosted->name);
	vm_shape_put_layers(hosted, result);
}

static void method_vm_sessions(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct hosted_vm *hosted = method_vm(call, "vm");
	struct json_object *result = method_result(answer);

	json_put_text(result, "vm", hosted->name);
	put_sessions(json_put_new_array(result, "sessions"), hosted);
}

/* ---- The table ----------------------------------------------------------------------------- */

static const char *const state_words[] = {
	"waiting", "idle", "executing", "undoing", "repairing", "stuck", "verifying", NULL,
};

static const char *const executor_words[] = { "vmm", "daemon", NULL };

static const struct method_member glance_members[] = {
	{ .name = "name", .value = VALUE_TEXT },
	{ .name = "simulated", .value = VALUE_BOOLEAN, .summary = "there is no KVM behind it" },
	{ .name = "state",
	  .value = VALUE_CHOICE,
	  .choices = state_words,
	  .summary = "what is done for it now" },
	{ .name = "degraded",
	  .value = VALUE_BOOLEAN,
	  .summary = "KVM may not enforce what the policy says" },
	{ .name = "frozen", .value = VALUE_BOOLEAN, .summary = "updates wait until it is thawed" },
	{ .name = "unknown_pages",
	  .value = VALUE_NUMBER,
	  .summary = "of which it is not known what KVM enforces" },
	COMMIT_MEMBER,
	{ .name = "queue", .value = VALUE_NUMBER, .summary = "updates that wait" },
	{ .name = "executor",
	  .value = VALUE_CHOICE,
	  .choices = executor_words,
	  .summary = "who makes the calls to KVM" },
	{ .name = "ram_pages", .value = VALUE_NUMBER },
	{ .name = "private_pages", .value = VALUE_NUMBER },
	{ .name = "registered_us",
	  .value = VALUE_NUMBER,
	  .summary = "microseconds since the start of 1970" },
	{ .name = "recovered",
	  .value = VALUE_BOOLEAN,
	  .summary = "it was registered with an earlier life of the daemon" },
	{ .name = "journal",
	  .value = VALUE_TEXT,
	  .summary = "the name of its journal's directory" },
	{},
};

static const struct method_member listed_vm_members[] = {
	{ .name = "", .value = VALUE_INCLUDED, .members = glance_members },
	{ .name = "views",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_ARRAY,
	  .summary = "VTLs that have one" },
	{ .name = "layers",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_ARRAY,
	  .summary = "that are enabled, by the VTL that imposes" },
	{ .name = "sessions", .value = VALUE_NUMBER, .summary = "the owner's and the agents'" },
	{ .name = "detached_sessions",
	  .value = VALUE_NUMBER,
	  .summary = "those of them whose peers have not come back since the daemon was "
		     "restarted" },
	{},
};

static const struct method_member vm_list_members[] = {
	{ .name = "vms",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = listed_vm_members },
	{},
};

static const struct method_member ram_range_members[] = {
	GPA_MEMBER,
	PAGES_MEMBER,
	{},
};

static const struct method_member ram_members[] = {
	{ .name = "pages", .value = VALUE_NUMBER },
	{ .name = "private_pages", .value = VALUE_NUMBER },
	{ .name = "start", .value = VALUE_ADDRESS },
	{ .name = "end", .value = VALUE_ADDRESS, .summary = "behind the last page" },
	{ .name = "ranges",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = ram_range_members,
	  .summary = "the first 64" },
	{ .name = "more", .value = VALUE_BOOLEAN, .summary = "ranges than are listed" },
	{},
};

static const struct method_member view_members[] = {
	{ .name = "vtl", .value = VALUE_NUMBER, .summary = "whose view it is" },
	{ .name = "abi",
	  .value = VALUE_TEXT,
	  .summary = "the dialect in which KVM takes attributes" },
	{ .name = "supported",
	  .value = VALUE_ADDRESS,
	  .summary = "the attributes that KVM knows, as the bits of that dialect" },
	{},
};

static const struct method_member layer_members[] = {
	{ .name = "layer", .value = VALUE_NUMBER, .summary = "the VTL that imposes" },
	{ .name = "mbec",
	  .value = VALUE_BOOLEAN,
	  .summary = "kernel and user execute are two things" },
	{ .name = "default",
	  .value = VALUE_CHOICE,
	  .choices = method_protections,
	  .summary = "for RAM without a protection of its own" },
	{ .name = "restricts",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_ARRAY,
	  .summary = "VTLs below it that have views" },
	{},
};

static const char *const role_words[] = { "owner", "agent", NULL };
static const char *const right_words[] = { "visibility", NULL };
static const char *const session_state_words[] = { "connected", "detached", "restarting", NULL };

static const struct method_member session_members[] = {
	{ .name = "id", .value = VALUE_NUMBER },
	{ .name = "role", .value = VALUE_CHOICE, .choices = role_words },
	{ .name = "vtl",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_NULLABLE,
	  .summary = "for which an agent speaks; null for the owner" },
	{ .name = "rights",
	  .value = VALUE_CHOICE,
	  .flags = VALUE_ARRAY | VALUE_OPTIONAL,
	  .choices = right_words,
	  .summary = "what an agent may beyond its VTL's layers" },
	{ .name = "peer", .value = VALUE_TEXT, .summary = "what it calls itself" },
	{ .name = "pid", .value = VALUE_INTEGER },
	{ .name = "uid", .value = VALUE_NUMBER },
	{ .name = "state", .value = VALUE_CHOICE, .choices = session_state_words },
	{ .name = "connected", .value = VALUE_BOOLEAN },
	{ .name = "in_flight", .value = VALUE_NUMBER, .summary = "updates that are not answered" },
	{ .name = "last_seqno", .value = VALUE_NUMBER },
	{ .name = "messages", .value = VALUE_NUMBER, .summary = "that it has sent" },
	{},
};

static const struct method_member vm_get_members[] = {
	{ .name = "", .value = VALUE_INCLUDED, .members = glance_members },
	{ .name = "ram", .value = VALUE_OBJECT, .members = ram_members },
	{ .name = "views", .value = VALUE_OBJECT, .flags = VALUE_ARRAY, .members = view_members },
	{ .name = "layers",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = layer_members,
	  .summary = "that are enabled" },
	{ .name = "sessions",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = session_members,
	  .summary = "the owner's and the agents'" },
	{ .name = "memory_bytes", .value = VALUE_NUMBER, .summary = "that it takes in the daemon" },
	{},
};

static const struct method_member vm_views_members[] = {
	VM_MEMBER,
	{ .name = "views", .value = VALUE_OBJECT, .flags = VALUE_ARRAY, .members = view_members },
	{},
};

static const struct method_member vm_layers_members[] = {
	VM_MEMBER,
	{ .name = "layers",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = layer_members,
	  .summary = "that are enabled" },
	{},
};

static const struct method_member vm_sessions_members[] = {
	VM_MEMBER,
	{ .name = "sessions",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = session_members,
	  .summary = "the owner's and the agents'" },
	{},
};

const struct method vm_methods[] = {
	{
		.name = "vm.list",
		.summary = "The VMs that are registered, one line's worth each",
		.members = vm_list_members,
		.run = method_vm_list,
	},
	{
		.name = "vm.get",
		.summary = "One VM: its views, RAM, layers and sessions, and the state it is in",
		.members = vm_get_members,
		.run = method_vm_get,
		.parameters = { VM_PARAMETER },
	},
	{
		.name = "vm.views",
		.summary = "A VM's views: what each VTL's KVM speaks and knows",
		.members = vm_views_members,
		.run = method_vm_views,
		.parameters = { VM_PARAMETER },
	},
	{
		.name = "vm.layers",
		.summary = "A VM's layers: what each VTL imposes where nothing else is said",
		.members = vm_layers_members,
		.run = method_vm_layers,
		.parameters = { VM_PARAMETER },
	},
	{
		.name = "vm.sessions",
		.summary = "Who is connected to a VM, or is to come back: its owner and its agents",
		.members = vm_sessions_members,
		.run = method_vm_sessions,
		.parameters = { VM_PARAMETER },
	},
	{},
};
