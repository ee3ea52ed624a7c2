/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hosted-vm.h"

#include "daemon/allocate.h"
#include "daemon/log.h"
#include "executor-link.h"
#include "fd-store.h"
#include "hosted-vm-private.h"
#include "operation.h"
#include "service-manager.h"
#include "session.h"
#include "vm-events.h"
#include "vm-snapshot.h"

#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- What the VM's state machine needs of the world --------------------------------------- */

static void vm_timed_out(evutil_socket_t unused, short events, void *argument)
{
	const struct hosted_vm *hosted = argument;

	(void)unused;
	(void)events;
	vm_timer(hosted->vm);
}

static uint64_t session_of(const struct vm_update *update)
{
	const struct update_message *message = update->origin;

	return message->session ? message->session->id : 0;
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

static void do_set_timer(void *context, unsigned int timeout_ms)
{
	const struct hosted_vm *hosted = context;

	hosted_vm_set_timer(hosted->timer, timeout_ms);
}

static void do_report(void *context, bool is_trouble, const char *text)
{
	const struct hosted_vm *hosted = context;

	log_vm(is_trouble ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, hosted->name, "%s", text);
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
	.set_timer = do_set_timer,
	.report = do_report,
	.now_us = do_now_us,
};

static void do_durable(void *context, uint64_t number)
{
	const struct hosted_vm *hosted = context;

	if (hosted->vm)
		vm_durable(hosted->vm, number);
}

static void do_journal_trouble(void *context, bool is_trouble, const char *text)
{
	const struct hosted_vm *hosted = context;

	log_vm(is_trouble ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, hosted->name, "%s", text);
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

static void release_doomed(evutil_socket_t unused, short events, void *argument)
{
	(void)unused;
	(void)events;
	hosted_vm_release(argument);
}

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
	hosted->timer = event_new(daemon->base, -1, 0, vm_timed_out, hosted);
	hosted->patience = event_new(daemon->base, -1, 0, hosted_vm_lose_patience, hosted);
	hosted->doom = event_new(daemon->base, -1, 0, release_doomed, hosted);
	hosted->events = vm_events_new(hosted);
	LIST_INSERT_HEAD(&daemon->vms, hosted, list);
	daemon->n_vms++;
	return hosted;
}

void hosted_vm_charge(struct hosted_vm *hosted)
{
	users_charge(&hosted->daemon->users, hosted->owner->uid, USER_VM, &hosted->charge);
}

void hosted_vm_doom(struct hosted_vm *hosted, enum kvmattr_status status, const char *text)
{
	if (hosted->is_doomed)
		return;
	hosted->is_doomed = true;
	hosted->doom_status = status;
	snprintf(hosted->doom_text, sizeof(hosted->doom_text), "%s", text);
	event_active(hosted->doom, EV_TIMEOUT, 0);
}

static void tell_sessions(struct hosted_vm *hosted)
{
	struct session *session;
	char text[2 * WIRE_TEXT_SIZE];

	snprintf(text, sizeof(text), "VM '%s' is gone: %s", hosted->name, hosted->doom_text);
	if (!hosted->is_ready && hosted->owner) {
		/* The registration failed: that is the answer to it, and the owner may try again. */
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
	event_free(hosted->timer);
	event_free(hosted->patience);
}

/* The last of it: what holds the guest's memory. */
static void free_rest(struct hosted_vm *hosted)
{
	for (unsigned int i = 0; i < KVMATTR_N_VTLS; i++) {
		if (hosted->view_fds[i] >= 0)
			close(hosted->view_fds[i]);
		if (hosted->stats_fds[i] >= 0)
			close(hosted->stats_fds[i]);
	}
	event_free(hosted->doom);
	users_release(&hosted->daemon->users, &hosted->charge);
	vm_events_free(hosted->events);
	LIST_REMOVE(hosted, list);
	free(hosted);
	/* A VM's maps are most of what the daemon holds, in small pieces: give them back. */
	malloc_trim(0);
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
		vm_journal_close(journal, hosted->doom_status, hosted->doom_text);
	else
		vm_journal_discard(journal);
}

/* Nobody's any more: the name is free, everyone who had to do with it is told. */
static void let_go(struct hosted_vm *hosted)
{
	struct daemon *daemon = hosted->daemon;

	if (hosted->is_ready) {
		daemon->vms_released++;
		service_manager_notice(daemon->manager);
		log_vm(LOG_LEVEL_INFO, hosted->name, "released: %s", hosted->doom_text);
	} else {
		log_vm(LOG_LEVEL_WARNING, hosted->name, "registration failed: %s",
		       hosted->doom_text);
	}
	end_journal(hosted);
	vm_free(hosted->vm, hosted->doom_text);
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

static void free_released(struct hosted_vm *hosted)
{
	executor_link_free(hosted->executor);
	hosted->daemon->n_released_vms--;
	free_rest(hosted);
}

void hosted_vm_release(struct hosted_vm *hosted)
{
	if (!hosted->is_released) {
		let_go(hosted);
		/*
		 * An executor carries on with the calls of the message that it has.  Until it is done,
		 * the same VM is not registered anew: they would overwrite what it is told then.
		 */
		if (executor_link_has_calls(hosted->executor)) {
			executor_link_hang_up(hosted->executor);
			return;
		}
	}
	free_released(hosted);
}

void hosted_vm_suspend(struct hosted_vm *hosted)
{
	struct vm_journal *journal = hosted->journal;
	struct session *session;

	hosted->is_doomed = true; /* whatever an update's end leads to, it is too late for it */
	hosted->journal = NULL;
	if (journal && hosted->is_ready)
		vm_journal_close(journal, KVMATTR_OK, "");
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
