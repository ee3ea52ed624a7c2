/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hosted-vm.h"

#include "daemon/allocate.h"
#include "daemon/log.h"
#include "executor-link.h"
#include "fd-store.h"
#include "protocol/executor.h"
#include "registration.h"
#include "session.h"
#include "vm-snapshot.h"

#include <assert.h>
#include <inttypes.h>
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
}

static void set_timer(struct event *timer, unsigned int timeout_ms)
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

	set_timer(hosted->timer, timeout_ms);
}

static void do_report(void *context, bool is_trouble, const char *text)
{
	const struct hosted_vm *hosted = context;

	log_vm(is_trouble ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, hosted->name, "%s", text);
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

const struct vm_journal_ops hosted_vm_journal_ops = {
	.durable = do_durable,
	.trouble = do_report,
	.snapshot = vm_snapshot,
};

void hosted_vm_update(struct hosted_vm *hosted, const struct policy_element *element,
		      const struct kvmattr_range *ranges, uint32_t n, hosted_vm_update_done done,
		      void *context)
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
	update->element = *element;
	update->form = n ? WIRE_FORM_RANGES : WIRE_FORM_NONE;
	update->n_elements = n;
	update->elements = message->data;
	update->seqno = ++hosted->last_own_seqno;
	update->received_us = clock_now_us(CLOCK_MONOTONIC);
	vm_submit(hosted->vm, update);
}

/* ---- The executor ---------------------------------------------------------------------------- */

bool hosted_vm_has_owner(const struct hosted_vm *hosted)
{
	return hosted->owner && hosted->owner->state != SESSION_DETACHED;
}

static void give_up_owner(struct hosted_vm *hosted)
{
	char text[WIRE_TEXT_SIZE];

	snprintf(text, sizeof(text),
		 "its owner (PID %d) has not come back within %u ms of the daemon's restart "
		 "(owner-grace-ms)",
		 hosted->owner ? hosted->owner->pid : 0, hosted->daemon->limits.owner_grace_ms);
	hosted_vm_doom(hosted, KVMATTR_NO_VM, text);
}

/* Too long without an answer to a probe, or without an owner. */
static void lose_patience(evutil_socket_t unused, short events, void *argument)
{
	struct hosted_vm *hosted = argument;
	char text[WIRE_TEXT_SIZE];

	(void)unused;
	(void)events;
	if (!hosted->is_ready) {
		hosted_vm_doom(hosted, KVMATTR_EXECUTOR_STUCK,
			       "the VMM's executor did not answer the probe in time");
	} else if (!hosted_vm_has_owner(hosted)) {
		give_up_owner(hosted);
	} else if (vm_state(hosted->vm) == VM_WAITING) {
		snprintf(text, sizeof(text),
			 "the VMM's executor has not answered the probe for %u ms; updates wait "
			 "until it does",
			 hosted->daemon->limits.vm.executor_deadline_ms);
		do_report(hosted, true, text);
	}
}

void hosted_vm_await_owner(struct hosted_vm *hosted)
{
	const unsigned int grace_ms = hosted->daemon->limits.owner_grace_ms;

	if (grace_ms)
		set_timer(hosted->patience, grace_ms);
	else
		give_up_owner(hosted);
}

void hosted_vm_owner_is_back(struct hosted_vm *hosted)
{
	set_timer(hosted->patience, vm_state(hosted->vm) == VM_WAITING
					    ? hosted->daemon->limits.vm.executor_deadline_ms
					    : 0);
}

/*
 * What each view's kernel speaks.  Returns false, with status and text, if one of them cannot
 * enforce anything, or not what it could before the restart.
 */
static bool decide_dialects(struct hosted_vm *hosted, const struct wire_probe_result *results,
			    struct view *views, enum kvmattr_status *ret_status, char *text,
			    size_t text_size)
{
	for (unsigned int i = 0; i < hosted->n_views; i++) {
		const struct wire_view *known = &hosted->views[i];
		struct dialect *dialect = &views[i].dialect;
		char why[WIRE_TEXT_SIZE - 32];
		int status = dialect_decide(&results[i], (enum kvmattr_abi)known->abi, dialect, why,
					    sizeof(why));

		if (!status && hosted->is_ready && dialect->supported != known->supported) {
			status = KVMATTR_ABI_MISMATCH;
			snprintf(why, sizeof(why),
				 "its kernel takes the attribute bits 0x%" PRIx64
				 ", before the daemon's restart it took 0x%" PRIx64,
				 dialect->supported, known->supported);
		}
		if (status) {
			snprintf(text, text_size, "view of VTL %u: %s", known->vtl, why);
			*ret_status = (enum kvmattr_status)status;
			return false;
		}
		views[i].vtl = known->vtl;
	}
	return true;
}

/* There is an executor, and this is what the kernel speaks to it. */
static void go_on(struct hosted_vm *hosted, const struct view *views)
{
	if (!hosted->is_ready) {
		registration_go_on(hosted, views);
		return;
	}
	if (hosted_vm_has_owner(hosted))
		set_timer(hosted->patience, 0);
	log_vm(LOG_LEVEL_INFO, hosted->name, "goes on after the restart: executor in the %s",
	       hosted->executor_place == WIRE_EXECUTOR_DAEMON ? "daemon" : "VMM");
	vm_start(hosted->vm);
}

static void vmm_probed(void *context, const struct wire_probe_result *results)
{
	struct hosted_vm *hosted = context;
	struct view views[KVMATTR_N_VTLS] = { 0 };
	enum kvmattr_status status;
	char text[WIRE_TEXT_SIZE];

	if (hosted->is_released) {
		event_active(hosted->doom, EV_TIMEOUT, 0);
		return;
	}
	if (hosted->is_doomed)
		return;
	if (!hosted->is_ready)
		set_timer(hosted->patience, 0);
	if (decide_dialects(hosted, results, views, &status, text, sizeof(text)))
		go_on(hosted, views);
	else
		hosted_vm_doom(hosted, status, text);
}

static void calls_done(void *context, size_t n_done, int error, uint64_t n_partial)
{
	struct hosted_vm *hosted = context;

	if (hosted->is_released)
		event_active(hosted->doom, EV_TIMEOUT, 0);
	else if (!hosted->is_doomed)
		vm_calls_done(hosted->vm, n_done, error, n_partial);
}

static void executor_gone(void *context, const char *why)
{
	struct hosted_vm *hosted = context;

	if (hosted->is_released)
		event_active(hosted->doom, EV_TIMEOUT, 0);
	else
		hosted_vm_doom(hosted, KVMATTR_NO_VM, why);
}

static const struct executor_link_ops executor_ops = {
	.probed = vmm_probed,
	.called = calls_done,
	.gone = executor_gone,
};

bool hosted_vm_find_executor_here(struct hosted_vm *hosted)
{
	struct wire_probe_result results[KVMATTR_N_VTLS];
	struct view views[KVMATTR_N_VTLS] = { 0 };
	enum kvmattr_status status;
	char text[WIRE_TEXT_SIZE];

	for (uint32_t i = 0; i < hosted->n_views; i++)
		executor_kvm_ops.probe(hosted->view_fds, i, &results[i]);
	if (!decide_dialects(hosted, results, views, &status, text, sizeof(text)))
		return false;
	if (executor_link_new_thread(hosted->daemon->base, hosted->view_fds, hosted->n_views,
				     &executor_ops, hosted, &hosted->executor) < 0)
		return false;
	hosted->executor_place = WIRE_EXECUTOR_DAEMON;
	go_on(hosted, views);
	return true;
}

void hosted_vm_find_executor(struct hosted_vm *hosted, int vmm_executor_socket, bool is_restored)
{
	if (hosted_vm_find_executor_here(hosted)) {
		close(vmm_executor_socket);
		return;
	}
	hosted->executor_place = WIRE_EXECUTOR_VMM;
	hosted->executor = executor_link_new(hosted->daemon->base, vmm_executor_socket,
					     hosted->n_views, is_restored, &executor_ops, hosted);
	if (!hosted->is_ready)
		set_timer(hosted->patience, hosted->daemon->limits.vm.executor_deadline_ms);
	executor_link_probe(hosted->executor);
}

const char *hosted_vm_fd_name(const struct hosted_vm *hosted, unsigned int view, char *name,
			      size_t size)
{
	snprintf(name, size, "%s/view%u", vm_journal_name(hosted->journal),
		 hosted->views[view].vtl);
	return name;
}

const char *hosted_vm_executor_fd_name(const struct hosted_vm *hosted, char *name, size_t size)
{
	snprintf(name, size, "%s/executor", vm_journal_name(hosted->journal));
	return name;
}

void hosted_vm_keep_fds(const struct hosted_vm *hosted)
{
	struct fd_store *store = hosted->daemon->fd_store;
	char name[HOSTED_VM_FD_NAME_SIZE];

	for (unsigned int i = 0; i < hosted->n_views; i++)
		fd_store_keep(store, hosted_vm_fd_name(hosted, i, name, sizeof(name)),
			      hosted->view_fds[i]);
	if (hosted->executor_place == WIRE_EXECUTOR_VMM)
		fd_store_keep(store, hosted_vm_executor_fd_name(hosted, name, sizeof(name)),
			      executor_link_socket(hosted->executor));
}

void hosted_vm_forget_fds(const struct hosted_vm *hosted)
{
	struct fd_store *store = hosted->daemon->fd_store;
	char name[HOSTED_VM_FD_NAME_SIZE];

	for (unsigned int i = 0; i < hosted->n_views; i++)
		fd_store_forget(store, hosted_vm_fd_name(hosted, i, name, sizeof(name)));
	fd_store_forget(store, hosted_vm_executor_fd_name(hosted, name, sizeof(name)));
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
	snprintf(hosted->name, sizeof(hosted->name), "%s", name);
	for (unsigned int i = 0; i < KVMATTR_N_VTLS; i++)
		hosted->view_fds[i] = -1;
	TAILQ_INIT(&hosted->sessions);
	TAILQ_INIT(&hosted->closed_sessions);
	hosted->timer = event_new(daemon->base, -1, 0, vm_timed_out, hosted);
	hosted->patience = event_new(daemon->base, -1, 0, lose_patience, hosted);
	hosted->doom = event_new(daemon->base, -1, 0, release_doomed, hosted);
	LIST_INSERT_HEAD(&daemon->vms, hosted, list);
	daemon->n_vms++;
	return hosted;
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
	for (unsigned int i = 0; i < KVMATTR_N_VTLS; i++)
		if (hosted->view_fds[i] >= 0)
			close(hosted->view_fds[i]);
	event_free(hosted->doom);
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
		log_vm(LOG_LEVEL_INFO, hosted->name, "released: %s", hosted->doom_text);
	} else {
		log_vm(LOG_LEVEL_WARNING, hosted->name, "registration failed: %s",
		       hosted->doom_text);
	}
	end_journal(hosted);
	vm_free(hosted->vm, hosted->doom_text);
	hosted->vm = NULL;
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
	vm_free(hosted->vm, "");
	hosted->vm = NULL;
	executor_link_leave(hosted->executor);
	free(hosted->ram);
	hosted_vm_free(hosted);
}
