/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hosted-vm.h"

#include "daemon/allocate.h"
#include "daemon/log.h"
#include "executor-link.h"
#include "fd-store.h"
#include "hosted-vm-private.h"
#include "memory.h"
#include "operation.h"
#include "refusals.h"
#include "service-manager.h"
#include "session.h"
#include "view-fds.h"
#include "vm-events.h"
#include "vm-shape.h"
#include "vm-snapshot.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- What the VM's state machine needs of the world --------------------------------------- */

static void timer_expired(evutil_socket_t unused, short events, void *argument)
{
	struct hosted_vm *hosted = argument;

	(void)unused;
	(void)events;
	turn_ask(&hosted->daemon->turns, &hosted->timed_out);
}

static void time_out(void *argument)
{
	const struct hosted_vm *hosted = argument;

	if (!hosted_vm_has_to_hear_first(hosted, hosted->timer))
		vm_timer(hosted->vm);
}

static void go_on(void *argument)
{
	const struct hosted_vm *hosted = argument;

	vm_turn(hosted->vm);
}

static uint64_t session_of(const struct vm_update *update)
{
	const struct update_message *message = update->origin;

	return message->session ? message->session->id : 0;
}

static uint64_t memory_of(const struct hosted_vm *hosted)
{
	return HOSTED_VM_BYTES + vm_memory(hosted->vm) + vm_journal_memory(hosted->journal);
}

/* What the VM takes now is what its owner's user has. */
static void do_measure(void *context)
{
	struct hosted_vm *hosted = context;

	if (hosted->journal)
		users_hold(&hosted->daemon->users, &hosted->charge, memory_of(hosted));
}

static bool do_may_grow(void *context, uint64_t n_bytes, char *text, size_t size)
{
	struct hosted_vm *hosted = context;
	struct daemon *daemon = hosted->daemon;
	const uint64_t max_map_bytes = daemon->limits.max_map_bytes, n_held = memory_of(hosted);

	users_hold(&daemon->users, &hosted->charge, n_held);
	if (policy_memory(vm_policy(hosted->vm)) >= max_map_bytes) {
		snprintf(text, size,
			 "the VM's maps hold %" PRIu64 " MiB, as much as they may (max-map-mib); "
			 "reset a layer",
			 max_map_bytes >> 20);
		return false;
	}
	if (!memory_allow(daemon, users_uid(&hosted->charge), n_bytes, text, size, NULL))
		return false;
	users_hold(&daemon->users, &hosted->charge, n_held + n_bytes);
	return true;
}

static int do_record(void *context, const struct vm_batch *batch,
		     const struct vm_in_force *in_force, uint64_t *ret_durable)
{
	const struct hosted_vm *hosted = context;

	return vm_journal_record(hosted->journal, batch, in_force, session_of, ret_durable);
}

static void do_refused(void *context, const struct vm_update *update, enum kvmattr_status status,
		       const char *text)
{
	const struct hosted_vm *hosted = context;

	vm_journal_note_refused(hosted->journal, session_of(update), update, status, text);
}

static void do_execute(void *context, const struct plan *plan, size_t first)
{
	struct hosted_vm *hosted = context;

	executor_link_call(hosted->executor, plan, first, vm_policy(hosted->vm));
}

static void do_settled(void *context)
{
	struct hosted_vm *hosted = context;
	struct session *session, *next;
	bool was_full = hosted->is_full;

	hosted->is_full = false;
	for (session = TAILQ_FIRST(&hosted->sessions); session; session = next) {
		next = TAILQ_NEXT(session, list);
		if (was_full || session->answered_seqno < session->settled_seqno)
			session_flush(session);
	}
	vm_events_settled(hosted);
}

static void do_still(void *context)
{
	operations_still(context);
}

static void do_verified(void *context, const struct vm_verification *verification)
{
	operations_verified(context, verification);
}

void hosted_vm_set_timer(struct event *timer, unsigned int timeout_ms)
{
	const struct timeval timeout = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };

	if (timeout_ms)
		event_add(timer, &timeout);
	else
		event_del(timer);
}

static void do_give_way(void *context)
{
	struct hosted_vm *hosted = context;

	turn_ask_later(&hosted->own);
}

static void do_set_timer(void *context, unsigned int timeout_ms)
{
	struct hosted_vm *hosted = context;

	turn_forget(&hosted->timed_out);
	hosted_vm_set_timer(hosted->timer, timeout_ms);
}

static void do_report(void *context, enum vm_report report, const char *text)
{
	static const enum log_id ids[] = {
		[VM_REPORT_DEGRADED] = LOG_ID_VM_DEGRADED,
		[VM_REPORT_ENFORCED] = LOG_ID_VM_ENFORCED,
		[VM_REPORT_STUCK] = LOG_ID_EXECUTOR_STUCK,
		[VM_REPORT_ANSWERS] = LOG_ID_EXECUTOR_ANSWERS,
	};
	const struct hosted_vm *hosted = context;

	log_with_id(ids[report], LOG_ABOUT_VM(hosted->name), "%s", text);
	vm_events_report(hosted, text);
}

static uint64_t do_now_us(void *context)
{
	(void)context;
	return clock_now_us(CLOCK_MONOTONIC);
}

/* An update of a peer is over. */
static void settle(struct hosted_vm *hosted, struct session *session,
		   const struct vm_update *update, enum kvmattr_status status, const char *text)
{
	session_settle(session, update->seqno, update->commit, update->n_in_force, status, text);
	if (session->state != SESSION_CLOSED || session->n_unsettled)
		return;
	/* Closed meanwhile: with the last update of it, it is over, in the journal as well. */
	if (hosted->journal)
		vm_journal_note_session_closed(hosted->journal, session->id);
	TAILQ_REMOVE(&hosted->closed_sessions, session, list);
	session_hand_to_reaper(session);
}

static void do_answer(void *context, struct vm_update *update, enum kvmattr_status status,
		      const char *text)
{
	struct hosted_vm *hosted = context;
	struct update_message *message = update->origin;
	struct session *session = message->session;

	if (status == KVMATTR_OK)
		vm_events_updated(hosted, update);
	if (session)
		settle(hosted, session, update, status, text);
	else
		message->done(message->context, status, update->n_in_force, update->commit, text);
	if (--message->n_unsettled)
		return;
	hosted->n_bytes -= message->n_bytes;
	if (session) {
		session->n_bytes -= message->n_bytes;
		memory_charge_session(session);
		TAILQ_REMOVE(&session->messages, message, list);
	}
	free(message->data);
	free(message);
}

const struct vm_ops hosted_vm_ops = {
	.record = do_record,
	.refused = do_refused,
	.execute = do_execute,
	.answer = do_answer,
	.settled = do_settled,
	.still = do_still,
	.verified = do_verified,
	.give_way = do_give_way,
	.set_timer = do_set_timer,
	.report = do_report,
	.now_us = do_now_us,
	.measure = do_measure,
	.may_grow = do_may_grow,
};

static void do_durable(void *context, uint64_t number)
{
	struct hosted_vm *hosted = context;

	if (hosted->vm)
		vm_durable(hosted->vm, number);
	if (!hosted->recovered_number || hosted->recovered_number > number)
		return;
	hosted->recovered_number = 0;
	do_settled(hosted);
}

static void do_journal_trouble(void *context, bool is_trouble, const char *text)
{
	const struct hosted_vm *hosted = context;

	log_with_id(is_trouble ? LOG_ID_JOURNAL_TROUBLE : LOG_ID_JOURNAL_WELL,
		    LOG_ABOUT_VM(hosted->name), "%s", text);
	vm_events_journal(hosted->daemon, hosted->name, is_trouble, text);
}

const struct vm_journal_ops hosted_vm_journal_ops = {
	.durable = do_durable,
	.trouble = do_journal_trouble,
	.snapshot = vm_snapshot,
};

void hosted_vm_update(struct hosted_vm *hosted, bool is_operators,
		      const struct policy_element *element, const struct kvmattr_range *ranges,
		      uint32_t n, hosted_vm_update_done done, void *context)
{
	struct update_message *message =
		allocate_zeroed(1, sizeof(*message) + sizeof(message->updates[0]));
	struct vm_update *update = &message->updates[0];

	assert(hosted->vm && !hosted->is_doomed);
	message->done = done;
	message->context = context;
	message->n_updates = message->n_unsettled = 1;
	message->data = allocate(n * sizeof(*ranges));
	if (n)
		memcpy(message->data, ranges, n * sizeof(*ranges));
	update->origin = message;
	update->actor.is_owner = true;
	update->actor.is_operator = is_operators;
	update->element = *element;
	update->form = n ? WIRE_FORM_RANGES : WIRE_FORM_NONE;
	update->n_elements = n;
	update->elements = message->data;
	update->seqno = ++hosted->last_own_seqno;
	update->received_us = clock_now_us(CLOCK_MONOTONIC);
	vm_submit(hosted->vm, update);
}

/* ---- Beginning and end ----------------------------------------------------------------------- */

static void release_doomed(void *argument);

struct hosted_vm *hosted_vm_new(struct daemon *daemon, const char *name)
{
	struct hosted_vm *hosted = allocate_one(struct hosted_vm);

	hosted->daemon = daemon;
	hosted->number = ++daemon->last_vm_number;
	hosted->statistics_since_us = clock_now_us(CLOCK_REALTIME);
	snprintf(hosted->name, sizeof(hosted->name), "%s", name);
	for (unsigned int i = 0; i < KVMATTR_N_VTLS; i++)
		hosted->view_fds[i] = hosted->stats_fds[i] = -1;
	TAILQ_INIT(&hosted->sessions);
	TAILQ_INIT(&hosted->closed_sessions);
	LIST_INIT(&hosted->operations);
	turn_init(&daemon->turns, &hosted->share, NULL, NULL, NULL);
	turn_init(&daemon->turns, &hosted->end, &hosted->share, release_doomed, hosted);
	turn_init(&daemon->turns, &hosted->timed_out, &hosted->share, time_out, hosted);
	turn_init(&daemon->turns, &hosted->own, &hosted->share, go_on, hosted);
	hosted->timer = event_new(daemon->base, -1, 0, timer_expired, hosted);
	hosted->patience = event_new(daemon->base, -1, 0, hosted_vm_lose_patience, hosted);
	hosted->agents_patience =
		event_new(daemon->base, -1, 0, hosted_vm_lose_patience_with_agents, hosted);
	hosted->events = vm_events_new(hosted);
	LIST_INSERT_HEAD(&daemon->vms, hosted, list);
	daemon->n_vms++;
	return hosted;
}

void hosted_vm_charge(struct hosted_vm *hosted)
{
	turn_move(&hosted->share, &hosted->daemon->turns.whole);
	users_charge(&hosted->daemon->users, hosted->owner->uid, USER_VM, &hosted->charge);
	turn_move(&hosted->share, users_share(&hosted->charge));
	users_hold(&hosted->daemon->users, &hosted->charge,
		   hosted->vm ? memory_of(hosted) : HOSTED_VM_BYTES);
}

void hosted_vm_doom(struct hosted_vm *hosted, enum kvmattr_status status, const char *text)
{
	if (hosted->is_doomed)
		return;
	hosted->is_doomed = true;
	hosted->doom_status = status;
	snprintf(hosted->doom_text, sizeof(hosted->doom_text), "%s", text);
	turn_ask_later(&hosted->end);
}

static void tell_sessions(struct hosted_vm *hosted)
{
	struct session *session;
	char text[2 * WIRE_TEXT_SIZE];

	snprintf(text, sizeof(text), "VM '%s' is gone: %s", hosted->name, hosted->doom_text);
	if (!hosted->is_ready && hosted->owner) {
		/*
		 * The registration failed: that is the answer to it, and the owner may try again.
		 */
		session = hosted->owner;
		session_bind(session, NULL);
		session_read_again(session);
		session_refuse(session, hosted->registration_id, hosted->doom_status,
			       hosted->doom_text);
	}
	while ((session = TAILQ_FIRST(&hosted->sessions)))
		session_close(session, KVMATTR_NO_VM, text);
}

static void free_timers(struct hosted_vm *hosted)
{
	turn_end(&hosted->daemon->turns, &hosted->timed_out);
	turn_end(&hosted->daemon->turns, &hosted->own);
	event_free(hosted->timer);
	event_free(hosted->patience);
	event_free(hosted->agents_patience);
}

/* The last of it: what holds the guest's memory. */
static void free_rest(struct hosted_vm *hosted)
{
	view_fds_close(hosted);
	turn_end(&hosted->daemon->turns, &hosted->end);
	turn_end(&hosted->daemon->turns, &hosted->share);
	users_release(&hosted->daemon->users, &hosted->charge);
	vm_events_free(hosted->events);
	vm_shape_free(hosted->shape);
	LIST_REMOVE(hosted, list);
	free(hosted);
}

void hosted_vm_free(struct hosted_vm *hosted)
{
	hosted->daemon->n_vms--;
	free_timers(hosted);
	free_rest(hosted);
}

/* Before anyone is told: what a former life of the daemon would find is that the VM is gone. */
static void end_journal(struct hosted_vm *hosted)
{
	struct vm_journal *journal = hosted->journal;

	if (!journal)
		return;
	fd_store_forget_vm(hosted->daemon->fd_store, vm_journal_name(journal));
	hosted->journal = NULL;
	if (hosted->is_ready)
		vm_journal_close(journal, users_uid(&hosted->charge), hosted->doom_status,
				 hosted->doom_text);
	else
		vm_journal_discard(journal);
}

/* Nobody's any more: the name is free, everyone who had to do with it is told. */
static void let_go(struct hosted_vm *hosted)
{
	const struct log_about about = { .vm = hosted->name,
					 .status = kvmattr_status_name(hosted->doom_status) };
	struct daemon *daemon = hosted->daemon;

	if (hosted->is_ready) {
		daemon->vms_released++;
		service_manager_notice(daemon->manager);
		log_with_id(LOG_ID_VM_RELEASED, about, "released: %s", hosted->doom_text);
	} else {
		refusals_log(daemon->refusals, REFUSAL_REGISTRATION_REFUSED, about,
			     "registration failed: %s", hosted->doom_text);
	}
	end_journal(hosted);
	if (hosted->vm)
		vm_end(hosted->vm, hosted->doom_text);
	hosted->ended = hosted->vm;
	hosted->vm = NULL;
	operations_end(hosted);
	if (hosted->is_ready)
		vm_events_released(hosted);
	tell_sessions(hosted);
	free_timers(hosted);
	free(hosted->ram);
	LIST_REMOVE(hosted, list);
	daemon->n_vms--;
	LIST_INSERT_HEAD(&daemon->released_vms, hosted, list);
	daemon->n_released_vms++;
	hosted->is_released = true;
}

/* The maps of a large guest are some ten thousand pieces, and most of what the daemon holds. */
static bool free_some_of_ended(struct hosted_vm *hosted)
{
	if (hosted->ended && vm_free_some(hosted->ended))
		hosted->ended = NULL;
	return !hosted->ended;
}

static void free_released(struct hosted_vm *hosted)
{
	struct daemon *daemon = hosted->daemon;

	while (!free_some_of_ended(hosted))
		;
	executor_link_free(hosted->executor);
	daemon->n_released_vms--;
	free_rest(hosted);
	memory_give_back_soon(daemon->memory);
}

/*
 * An executor carries on with the calls of the message that it has.  Until it is done, and has
 * another turn asked for, the same VM is not registered anew: they would overwrite what it is told
 * then.
 */
void hosted_vm_let_go(struct hosted_vm *hosted)
{
	if (hosted->is_released)
		return;
	let_go(hosted);
	if (executor_link_has_calls(hosted->executor))
		executor_link_hang_up(hosted->executor);
}

/* In turns, because there may be much to free. */
static void release_doomed(void *argument)
{
	struct hosted_vm *hosted = argument;

	hosted_vm_let_go(hosted);
	if (!free_some_of_ended(hosted))
		turn_ask_later(&hosted->end);
	else if (!executor_link_has_calls(hosted->executor))
		free_released(hosted);
}

void hosted_vm_release(struct hosted_vm *hosted)
{
	bool is_to_end = hosted->is_released;

	hosted_vm_let_go(hosted);
	if (is_to_end || !executor_link_has_calls(hosted->executor))
		free_released(hosted);
}

void hosted_vm_suspend(struct hosted_vm *hosted)
{
	struct vm_journal *journal = hosted->journal;
	struct session *session;

	hosted->is_doomed = true; /* whatever an update's end leads to, it is too late for it */
	hosted->journal = NULL;
	if (journal && hosted->is_ready)
		vm_journal_close(journal, users_uid(&hosted->charge), KVMATTR_OK, "");
	else if (journal)
		vm_journal_discard(journal);
	while ((session = TAILQ_FIRST(&hosted->sessions)))
		session_drop(session);
	hosted->owner = NULL;
	vm_free(hosted->vm, "the daemon stops");
	hosted->vm = NULL;
	executor_link_leave(hosted->executor);
	free(hosted->ram);
	hosted_vm_free(hosted);
}
