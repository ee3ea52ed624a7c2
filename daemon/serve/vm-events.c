/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm-events.h"

#include "daemon/allocate.h"
#include "daemon/policy/fold.h"
#include "events.h"
#include "json-put.h"
#include "session.h"

#include <json-c/json.h>
#include <string.h>

#define SECOND_US UINT64_C(1000000)

/* What batches add to, as of one moment. */
struct batch_counts {
	uint64_t commit;
	uint64_t batches;
	uint64_t updates;
	uint64_t pages;
	uint64_t calls;
};

struct vm_events {
	struct hosted_vm *hosted;
	uint16_t layers; /* set of those that are enabled, as far as was told */
	bool is_degraded;
	struct batch_counts told;
	uint64_t told_us;    /* monotonic */
	struct event *timer; /* pending only while there are batches to be told */
	uint64_t faults_since_us;
	unsigned int n_faults;
	uint64_t n_suppressed;
};

static bool are_wanted(const struct hosted_vm *hosted, enum event_kind kind)
{
	return events_are_wanted(hosted->daemon->events, kind, hosted->name);
}

static struct json_object *new_data(void)
{
	return json_put_there(json_object_new_object());
}

static void emit(const struct hosted_vm *hosted, enum event_kind kind, struct json_object *data)
{
	events_emit(hosted->daemon->events, kind, hosted->name, data);
}

/* The places of a set's bits. */
static void put_set(struct json_object *data, const char *name, uint16_t set)
{
	struct json_object *array = json_put_new_array(data, name);

	for (unsigned int i = 0; i < KVMATTR_N_VTLS; i++)
		if (set >> i & 1)
			json_put_next_number(array, i);
}

/* ---- The VM as a whole ----------------------------------------------------------------------- */

void vm_events_registered(const struct hosted_vm *hosted)
{
	const struct policy *policy = vm_policy(hosted->vm);
	struct json_object *data = new_data();
	uint16_t vtls = 0;

	for (unsigned int i = 0; i < policy->n_views; i++)
		vtls |= (uint16_t)(1u << policy->views[i].vtl);
	for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++)
		if (policy->layers[k].enabled)
			hosted->events->layers |= (uint16_t)(1u << k);
	json_put_integer(data, "pid", hosted->owner->pid);
	json_put_number(data, "uid", hosted->owner->uid);
	put_set(data, "views", vtls);
	json_put_number(data, "ram_pages", policy->n_ram_pages);
	json_put_text(data, "executor",
		      hosted->executor_place == WIRE_EXECUTOR_DAEMON ? "daemon" : "vmm");
	json_put_boolean(data, "recovered", hosted->is_recovered);
	emit(hosted, EVENT_VM_REGISTERED, data);
}

void vm_events_released(const struct hosted_vm *hosted)
{
	struct json_object *data = new_data();

	json_put_text(data, "status", kvmattr_status_name(hosted->doom_status));
	json_put_text(data, "text", hosted->doom_text);
	emit(hosted, EVENT_VM_RELEASED, data);
}

void vm_events_report(const struct hosted_vm *hosted, const char *text)
{
	bool is_degraded = vm_is_degraded(hosted->vm);
	struct json_object *data;

	/* of what is reported, there is more than the two changes that are events */
	if (!hosted->is_ready || is_degraded == hosted->events->is_degraded)
		return;
	hosted->events->is_degraded = is_degraded;
	data = new_data();
	json_put_text(data, "text", text);
	json_put_number(data, "unknown_pages", vm_unknown_pages(hosted->vm));
	emit(hosted, is_degraded ? EVENT_VM_DEGRADED : EVENT_VM_RECOVERED, data);
}

void vm_events_frozen(const struct hosted_vm *hosted, bool is_frozen)
{
	struct json_object *data = new_data();

	json_put_number(data, "commit", vm_commit(hosted->vm));
	emit(hosted, is_frozen ? EVENT_VM_FROZEN : EVENT_VM_THAWED, data);
}

void vm_events_journal(struct daemon *daemon, const char *vm, bool is_trouble, const char *text)
{
	struct json_object *data = new_data();

	json_put_text(data, "text", text);
	events_emit(daemon->events, is_trouble ? EVENT_JOURNAL_TROUBLE : EVENT_JOURNAL_WELL, vm,
		    data);
}

/* ---- Layers ---------------------------------------------------------------------------------- */

static void layer_enabled(const struct hosted_vm *hosted, const struct vm_update *update)
{
	const struct policy_element *element = &update->element;
	struct json_object *data = new_data();

	hosted->events->layers |= (uint16_t)(1u << element->layer);
	json_put_number(data, "layer", element->layer);
	json_put_text(
		data, "protection",
		kvmattr_protection_name(policy_normal_protection(element->value, element->mbec)));
	json_put_boolean(data, "mbec", element->mbec);
	json_put_number(data, "commit", update->commit);
	emit(hosted, EVENT_LAYER_ENABLED, data);
}

static void layers_reset(const struct hosted_vm *hosted, uint16_t layers, uint64_t commit)
{
	layers &= hosted->events->layers;
	hosted->events->layers &= (uint16_t)~layers;
	for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++) {
		struct json_object *data;

		if (!(layers >> k & 1))
			continue;
		data = new_data();
		json_put_number(data, "layer", k);
		json_put_number(data, "commit", commit);
		emit(hosted, EVENT_LAYER_RESET, data);
	}
}

void vm_events_updated(const struct hosted_vm *hosted, const struct vm_update *update)
{
	switch (update->element.kind) {
	case KVMATTR_ENABLE_LAYER:
		layer_enabled(hosted, update);
		break;
	case KVMATTR_RESET_LAYER:
		layers_reset(hosted, (uint16_t)(1u << update->element.layer), update->commit);
		break;
	case KVMATTR_RESET_VM:
		layers_reset(hosted, UINT16_MAX, update->commit);
		break;
	default:
		break;
	}
}

/* ---- Batches --------------------------------------------------------------------------------- */

static struct batch_counts count_batches(const struct vm *vm)
{
	const struct vm_statistics *statistics = vm_statistics(vm);

	return (struct batch_counts){
		.commit = vm_commit(vm),
		.batches = statistics->batches,
		.updates = statistics->updates - statistics->updates_failed,
		.pages = statistics->pages,
		.calls = statistics->calls,
	};
}

static void tell_batches(struct vm_events *events, uint64_t now_us)
{
	const struct batch_counts told = events->told, now = count_batches(events->hosted->vm);
	struct json_object *data = new_data();

	json_put_number(data, "batches", now.batches - told.batches);
	json_put_number(data, "updates", now.updates - told.updates);
	json_put_number(data, "pages", now.pages - told.pages);
	json_put_number(data, "calls", now.calls - told.calls);
	json_put_number(data, "first_commit", told.commit + 1);
	json_put_number(data, "commit", now.commit);
	events->told = now;
	events->told_us = now_us;
	emit(events->hosted, EVENT_BATCH_COMMITTED, data);
}

void vm_events_settled(const struct hosted_vm *hosted)
{
	struct vm_events *events = hosted->events;
	uint64_t now_us, due_us;
	struct timeval rest;

	if (!are_wanted(hosted, EVENT_BATCH_COMMITTED))
		return;
	if (!hosted->is_ready || vm_commit(hosted->vm) == events->told.commit)
		return;
	now_us = clock_now_us(CLOCK_MONOTONIC);
	due_us = events->told_us + VM_EVENTS_BATCH_INTERVAL_MS * UINT64_C(1000);
	if (now_us >= due_us || hosted->is_doomed) {
		tell_batches(events, now_us);
		return;
	}
	if (evtimer_pending(events->timer, NULL))
		return;
	rest = (struct timeval){ .tv_sec = (time_t)((due_us - now_us) / SECOND_US),
				 .tv_usec = (suseconds_t)((due_us - now_us) % SECOND_US) };
	evtimer_add(events->timer, &rest);
}

static void on_timer(evutil_socket_t unused, short what, void *context)
{
	const struct vm_events *events = context;

	(void)unused;
	(void)what;
	if (events->hosted->vm)
		vm_events_settled(events->hosted);
}

void vm_events_prepare(struct daemon *daemon, const struct event_filter *filter)
{
	struct hosted_vm *hosted;

	if (!(filter->kinds >> EVENT_BATCH_COMMITTED & 1))
		return;
	LIST_FOREACH (hosted, &daemon->vms, list)
		if (hosted->is_ready && hosted->vm && !are_wanted(hosted, EVENT_BATCH_COMMITTED))
			hosted->events->told = count_batches(hosted->vm);
}

struct vm_events *vm_events_new(struct hosted_vm *hosted)
{
	struct vm_events *events = allocate_one(struct vm_events);

	events->hosted = hosted;
	events->timer = evtimer_new(hosted->daemon->base, on_timer, events);
	return events;
}

void vm_events_free(struct vm_events *events)
{
	if (!events)
		return;
	event_free(events->timer);
	free(events);
}

/* ---- Sessions -------------------------------------------------------------------------------- */

static void put_session(struct json_object *data, const struct session *session)
{
	bool is_owner = session->actor.is_owner;

	json_put_number(data, "id", session->id);
	json_put_text(data, "role", is_owner ? "owner" : "agent");
	if (is_owner)
		json_put(data, "vtl", NULL);
	else
		json_put_number(data, "vtl", session->actor.vtl);
}

void vm_events_session_opened(const struct session *session, bool is_resumed)
{
	struct json_object *data = new_data();

	put_session(data, session);
	json_put_integer(data, "pid", session->pid);
	json_put_number(data, "uid", session->uid);
	json_put_boolean(data, "resumed", is_resumed);
	emit(session->hosted, EVENT_SESSION_OPENED, data);
}

void vm_events_session_closed(const struct session *session, const char *text)
{
	struct json_object *data;

	/* a registration that fails opened nothing */
	if (!session->hosted || !session->hosted->is_ready)
		return;
	data = new_data();
	put_session(data, session);
	json_put_text(data, "text", text);
	emit(session->hosted, EVENT_SESSION_CLOSED, data);
}

/* ---- Faults ---------------------------------------------------------------------------------- */

/* "rw" */
static void put_access(struct json_object *data, unsigned int access)
{
	char text[4];
	size_t n = 0;

	if (access & KVMATTR_READ)
		text[n++] = 'r';
	if (access & KVMATTR_WRITE)
		text[n++] = 'w';
	if (access & KVMATTR_EXECUTE)
		text[n++] = 'x';
	text[n] = '\0';
	json_put_text(data, "access", text);
}

/* Whether there is room for one more in this second; otherwise it is counted. */
static bool may_tell_fault(struct vm_events *events)
{
	uint64_t now_us = clock_now_us(CLOCK_MONOTONIC);

	if (now_us - events->faults_since_us >= SECOND_US) {
		events->faults_since_us = now_us;
		events->n_faults = 0;
	}
	if (events->n_faults == VM_EVENTS_MAX_FAULTS) {
		events->n_suppressed++;
		return false;
	}
	events->n_faults++;
	return true;
}

void vm_events_explained(const struct session *session, const struct wire_explain *explain,
			 const struct fold_explanation *explanation)
{
	struct hosted_vm *hosted = session->hosted;
	struct json_object *data;

	if (!are_wanted(hosted, EVENT_FAULT_EXPLAINED) || !may_tell_fault(hosted->events))
		return;
	data = new_data();
	json_put_number(data, "vtl", explain->vtl);
	json_put_address(data, "gpa", explain->gfn << KVMATTR_PAGE_SHIFT);
	put_access(data, explain->access);
	json_put_boolean(data, "allowed", !explanation->denying);
	put_set(data, "denying", explanation->denying);
	json_put_number(data, "suppressed", hosted->events->n_suppressed);
	hosted->events->n_suppressed = 0;
	emit(hosted, EVENT_FAULT_EXPLAINED, data);
}
