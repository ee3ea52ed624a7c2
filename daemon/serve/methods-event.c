/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * event.subscribe, event.unsubscribe: who wants to be told of what happens.
 */
#include "events.h"
#include "json-put.h"
#include "method-words.h"
#include "methods.h"
#include "vm-events.h"

#include <inttypes.h>
#include <string.h>

/* ---- What events say ------------------------------------------------------------------------- */

static const char *const executors[] = { "daemon", "vmm", NULL };
static const char *const roles[] = { "owner", "agent", NULL };

#define TEXT_MEMBER(its_summary)                                            \
	{                                                                   \
		.name = "text", .value = VALUE_TEXT, .summary = its_summary \
	}
#define LAYER_MEMBER                                                                      \
	{                                                                                 \
		.name = "layer", .value = VALUE_NUMBER, .summary = "the VTL that imposes" \
	}
#define UPDATE_COMMIT_MEMBER                               \
	{                                                  \
		.name = "commit", .value = VALUE_NUMBER,   \
		.summary = "with which it came into force" \
	}

static const struct method_member registered_members[] = {
	{ .name = "pid", .value = VALUE_INTEGER, .summary = "the owner's" },
	{ .name = "uid", .value = VALUE_NUMBER },
	{ .name = "views", .value = VALUE_NUMBER, .flags = VALUE_ARRAY, .summary = "their VTLs" },
	{ .name = "ram_pages", .value = VALUE_NUMBER },
	{ .name = "executor", .value = VALUE_CHOICE, .choices = executors },
	{ .name = "recovered",
	  .value = VALUE_BOOLEAN,
	  .summary = "by this daemon, from the journal of an earlier one" },
	{}
};

static const struct method_member released_members[] = {
	{ .name = "status", .value = VALUE_TEXT, .summary = "its name, as agents are told" },
	TEXT_MEMBER("why"),
	{}
};

static const struct method_member degraded_members[] = { TEXT_MEMBER(NULL),
							 { .name = "unknown_pages",
							   .value = VALUE_NUMBER,
							   .summary =
								   "as in vm.list, at that time" },
							 {} };

static const struct method_member frozen_members[] = { COMMIT_MEMBER, {} };

static const struct method_member layer_enabled_members[] = { LAYER_MEMBER,
							      PROTECTION_MEMBER,
							      { .name = "mbec",
								.value = VALUE_BOOLEAN },
							      UPDATE_COMMIT_MEMBER,
							      {} };

static const struct method_member layer_reset_members[] = { LAYER_MEMBER,
							    UPDATE_COMMIT_MEMBER,
							    {} };

static const struct method_member session_members[] = {
	{ .name = "id", .value = VALUE_NUMBER },
	{ .name = "role", .value = VALUE_CHOICE, .choices = roles },
	{ .name = "vtl",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_NULLABLE,
	  .summary = "an agent's; null for an owner" },
	{}
};

static const struct method_member session_opened_members[] = {
	{ .name = "", .value = VALUE_INCLUDED, .members = session_members },
	{ .name = "pid", .value = VALUE_INTEGER },
	{ .name = "uid", .value = VALUE_NUMBER },
	{ .name = "resumed",
	  .value = VALUE_BOOLEAN,
	  .summary = "the peer came back after a restart of the daemon" },
	{}
};

static const struct method_member session_closed_members[] = {
	{ .name = "", .value = VALUE_INCLUDED, .members = session_members }, TEXT_MEMBER("why"), {}
};

static const struct method_member batch_members[] = {
	{ .name = "batches", .value = VALUE_NUMBER },
	{ .name = "updates", .value = VALUE_NUMBER, .summary = "answered as done meanwhile" },
	{ .name = "pages", .value = VALUE_NUMBER, .summary = "of the elements in force" },
	{ .name = "calls", .value = VALUE_NUMBER, .summary = "that KVM was told" },
	{ .name = "first_commit",
	  .value = VALUE_NUMBER,
	  .summary = "one more than the commit of the event before, if nothing is missing" },
	{ .name = "commit", .value = VALUE_NUMBER, .summary = "the last one" },
	{}
};

static const struct method_member fault_members[] = {
	{ .name = "vtl", .value = VALUE_NUMBER, .summary = "the VTL that was denied, or allowed" },
	{ .name = "gpa", .value = VALUE_ADDRESS, .summary = "of the page" },
	{ .name = "access", .value = VALUE_TEXT, .summary = "letters out of rwx" },
	{ .name = "allowed", .value = VALUE_BOOLEAN },
	{ .name = "denying",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_ARRAY,
	  .summary = "the layers that deny it" },
	{ .name = "suppressed",
	  .value = VALUE_NUMBER,
	  .summary = "faults of this VM since the event before that were only counted" },
	{}
};

static const struct method_member journal_members[] = { TEXT_MEMBER("what to do about it, too"),
							{} };

const struct method_member *const event_members[N_EVENTS] = {
	[EVENT_VM_REGISTERED] = registered_members,
	[EVENT_VM_RELEASED] = released_members,
	[EVENT_VM_DEGRADED] = degraded_members,
	[EVENT_VM_RECOVERED] = degraded_members,
	[EVENT_VM_FROZEN] = frozen_members,
	[EVENT_VM_THAWED] = frozen_members,
	[EVENT_LAYER_ENABLED] = layer_enabled_members,
	[EVENT_LAYER_RESET] = layer_reset_members,
	[EVENT_SESSION_OPENED] = session_opened_members,
	[EVENT_SESSION_CLOSED] = session_closed_members,
	[EVENT_BATCH_COMMITTED] = batch_members,
	[EVENT_FAULT_EXPLAINED] = fault_members,
	[EVENT_JOURNAL_TROUBLE] = journal_members,
	[EVENT_JOURNAL_WELL] = journal_members,
};

/* ---- Who is told ----------------------------------------------------------------------------- */

#define ALL_KINDS ((UINT64_C(1) << N_EVENTS) - 1)

static void event_subscribe(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct daemon *daemon = call->daemon;
	struct method_peer *peer = call->peer;
	const struct events_status status = events_status(daemon->events);
	uint64_t since = method_number(call, "since", status.next);
	struct event_filter filter = { .kinds = method_number(call, "events", ALL_KINDS) };
	struct subscription *subscription;
	struct json_object *result;

	if (since > status.next) {
		method_refuse(answer, KVMATTR_INVALID_PARAMETER,
			      "event %" PRIu64 " is not the next one, %" PRIu64
			      " is; numbers begin anew with the daemon: subscribe without since",
			      since, status.next);
		return;
	}
	memcpy(filter.vm, method_argument(call, "vm")->name, sizeof(filter.vm));
	/* the new one first: what is counted for the old one goes on being counted */
	vm_events_prepare(daemon, &filter);
	subscription = events_subscribe(daemon->events, &filter, since, peer->wake, peer);
	subscription_free(peer->subscription);
	peer->subscription = subscription;
	result = method_result(answer);
	json_put_number(result, "next", status.next);
	if (status.oldest < status.next)
		json_put_number(result, "oldest", status.oldest);
	else
		json_put(result, "oldest", NULL);
	json_put_number(result, "missed", since < status.oldest ? status.oldest - since : 0);
	json_put_number(result, "started_us", daemon->started_us);
}

static void event_unsubscribe(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct method_peer *peer = call->peer;

	json_put_boolean(method_result(answer), "subscribed", peer->subscription);
	subscription_free(peer->subscription);
	peer->subscription = NULL;
}

static const struct method_member subscribe_members[] = {
	{ .name = "next", .value = VALUE_NUMBER, .summary = "the number of the next event" },
	{ .name = "oldest",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_NULLABLE,
	  .summary = "of the events that are still kept; null before the first one" },
	{ .name = "missed",
	  .value = VALUE_NUMBER,
	  .summary = "events since that number that are not kept any more, of all kinds and VMs" },
	{ .name = "started_us",
	  .value = VALUE_NUMBER,
	  .summary = "of this daemon; if it is not what it was, numbers have begun anew" },
	{}
};

static const struct method_member unsubscribe_members[] = {
	{ .name = "subscribed", .value = VALUE_BOOLEAN, .summary = "until now" }, {}
};

const struct method event_methods[] = {
	{
		.name = "event.subscribe",
		.summary =
			"Has what happens told over this connection from now on, as notifications",
		.members = subscribe_members,
		.run = event_subscribe,
		.parameters = { { .name = "events",
				  .type = METHOD_CHOICES,
				  .choices = event_names,
				  .summary = "only these kinds; all if left out" },
				{ .name = "vm",
				  .type = METHOD_NAME,
				  .summary = "only this VM, which may be gone or yet to come; all "
					     "VMs if left out" },
				{ .name = "since",
				  .type = METHOD_INTEGER,
				  .minimum = 1,
				  .maximum = INT64_MAX,
				  .summary = "first the events from this number on, as far as they "
					     "are kept" } },
	},
	{
		.name = "event.unsubscribe",
		.summary = "Has nothing told any more over this connection",
		.members = unsubscribe_members,
		.run = event_unsubscribe,
	},
	{}
};
