/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm.list, vm.get, stats.get.
 */
#include "json-put.h"
#include "methods.h"
#include "ram.h"
#include "session.h"

#include <json-c/json.h>

/* Ranges of RAM that vm.get lists. */
#define MAX_RAM_RANGES 64u

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

void method_vm_list(const struct method_call *call, struct jsonrpc_answer *answer)
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

/* How much RAM there is and where: the first ranges of it, and where it begins and ends. */
static void put_ram(struct json_object *ram, const struct policy *policy)
{
	struct kvmattr_range range = ram_extent(policy);
	struct json_object *ranges;
	uint64_t gfn = 0;
	unsigned int n = 0;

	json_put_number(ram, "pages", policy->n_ram_pages);
	json_put_number(ram, "private_pages", policy->n_private_pages);
	json_put_address(ram, "start", range.gfn << KVMATTR_PAGE_SHIFT);
	json_put_address(ram, "end", (range.gfn + range.n_pages) << KVMATTR_PAGE_SHIFT);
	ranges = json_put_new_array(ram, "ranges");
	for (; ram_next_range(policy, gfn, &range) && n < MAX_RAM_RANGES; n++) {
		struct json_object *object = json_put_next(ranges);

		json_put_address(object, "gpa", range.gfn << KVMATTR_PAGE_SHIFT);
		json_put_number(object, "pages", range.n_pages);
		gfn = range.gfn + range.n_pages;
	}
	json_put_boolean(ram, "more", ram_next_range(policy, gfn, &range));
}

static void put_views(struct json_object *views, const struct policy *policy)
{
	for (unsigned int i = 0; i < policy->n_views; i++) {
		struct json_object *view = json_put_next(views);
		const struct dialect *dialect = &policy->views[i].dialect;
		const char *abi = kvmattr_abi_name(dialect->abi);

		json_put_number(view, "vtl", policy->views[i].vtl);
		json_put_text(view, "abi", abi ? abi : "unknown");
		json_put_address(view, "supported", dialect->supported);
	}
}

static void put_layers(struct json_object *layers, const struct policy *policy)
{
	for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++) {
		const struct layer *layer = &policy->layers[k];
		struct json_object *object, *restricts;

		if (!layer->enabled)
			continue;
		object = json_put_next(layers);
		json_put_number(object, "layer", k);
		json_put_boolean(object, "mbec", layer->mbec);
		json_put_text(object, "default",
			      kvmattr_protection_name(layer->default_protection));
		restricts = json_put_new_array(object, "restricts");
		for (unsigned int i = 0; i < policy->n_views; i++)
			if (policy->views[i].vtl < k)
				json_put_next_number(restricts, policy->views[i].vtl);
	}
}

static const char *session_state_name(const struct session *session)
{
	static const char *const names[] = {
		[SESSION_CONNECTED] = "connected",
		[SESSION_DETACHED] = "detached",
		[SESSION_RESTARTING] = "restarting",
		[SESSION_CLOSED] = "closed",
	};

	return names[session->state];
}

static void put_session(struct json_object *object, const struct session *session)
{
	json_put_number(object, "id", session->id);
	json_put_text(object, "role", session->actor.is_owner ? "owner" : "agent");
	if (session->actor.is_owner) {
		json_put(object, "vtl", NULL);
	} else {
		struct json_object *rights;

		json_put_number(object, "vtl", session->actor.vtl);
		rights = json_put_new_array(object, "rights");
		if (session->actor.rights & WIRE_RIGHT_VISIBILITY)
			json_put_next_text(rights, "visibility");
	}
	json_put_text(object, "peer", session->peer);
	json_put_integer(object, "pid", session->pid);
	json_put_number(object, "uid", session->uid);
	json_put_text(object, "state", session_state_name(session));
	json_put_boolean(object, "connected", session->socket >= 0);
	json_put_number(object, "in_flight", session->n_unsettled);
	json_put_number(object, "last_seqno", session->last_seqno);
	json_put_number(object, "messages", session->n_messages);
}

void method_vm_get(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct hosted_vm *hosted = method_vm(call, "vm");
	const struct policy *policy = vm_policy(hosted->vm);
	struct json_object *result = method_result(answer), *sessions;
	const struct session *session;

	put_at_a_glance(result, hosted);
	put_ram(json_put_new(result, "ram"), policy);
	put_views(json_put_new_array(result, "views"), policy);
	put_layers(json_put_new_array(result, "layers"), policy);
	sessions = json_put_new_array(result, "sessions");
	TAILQ_FOREACH (session, &hosted->sessions, list)
		put_session(json_put_next(sessions), session);
	json_put_number(result, "memory_bytes", policy_memory(policy));
}

static void put_statistics(struct json_object *object, const struct hosted_vm *hosted)
{
	const struct vm_statistics *statistics = vm_statistics(hosted->vm);
	uint64_t now_us = clock_now_us(CLOCK_REALTIME);

	json_put_text(object, "vm", hosted->name);
	json_put_number(object, "uptime_us",
			now_us > hosted->registered_us ? now_us - hosted->registered_us : 0);
	json_put_number(object, "updates", statistics->updates);
	json_put_number(object, "updates_failed", statistics->updates_failed);
	json_put_number(object, "elements", statistics->elements);
	json_put_number(object, "pages", statistics->pages);
	json_put_number(object, "batches", statistics->batches);
	json_put_number(object, "calls", statistics->calls);
	json_put_number(object, "call_pages", statistics->call_pages);
	json_put_number(object, "calls_unmerged", statistics->calls_unmerged);
	/* may be below 0: after retries and undone batches */
	json_put_integer(object, "calls_saved",
			 (int64_t)statistics->calls_unmerged - (int64_t)statistics->calls);
	json_put_number(object, "refusals", statistics->refusals);
	json_put_number(object, "retries", statistics->retries);
	json_put_number(object, "batch_us_total", statistics->batch_us_total);
	json_put_number(object, "batch_us_max", statistics->batch_us_max);
	json_put_number(object, "queue", vm_queue_length(hosted->vm));
	json_put_number(object, "unknown_pages", vm_unknown_pages(hosted->vm));
}

void method_stats_get(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct json_object *vms = json_put_new_array(method_result(answer), "vms");
	const struct hosted_vm *asked = method_vm(call, "vm"), *hosted;

	LIST_FOREACH (hosted, &call->daemon->vms, list)
		if (hosted->is_ready && !hosted->is_doomed && (!asked || hosted == asked))
			put_statistics(json_put_next(vms), hosted);
}
