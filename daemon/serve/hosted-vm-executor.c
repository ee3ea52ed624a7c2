/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who carries out a hosted VM's calls, what its kernel speaks, and how long one waits for it, for
 * the owner, and for agents.
 */
#include "hosted-vm.h"

#include "daemon/log.h"
#include "executor-link.h"
#include "fd-store.h"
#include "hosted-vm-private.h"
#include "protocol/executor.h"
#include "registration.h"
#include "session.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* What lies in a socket is received soon, but others have their turns before. */
#define HEARD_WITHIN_MS 1

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

bool hosted_vm_has_to_hear_first(const struct hosted_vm *hosted, struct event *timer)
{
	if (!executor_link_has_spoken(hosted->executor))
		return false;
	hosted_vm_set_timer(timer, HEARD_WITHIN_MS);
	return true;
}

void hosted_vm_lose_patience(evutil_socket_t unused, short events, void *argument)
{
	struct hosted_vm *hosted = argument;
	char text[WIRE_TEXT_SIZE];

	(void)unused;
	(void)events;
	if (!hosted->is_ready) {
		if (hosted_vm_has_to_hear_first(hosted, hosted->patience))
			return;
		hosted_vm_doom(hosted, KVMATTR_EXECUTOR_STUCK,
			       "the VMM's executor did not answer the probe in time");
	} else if (!hosted_vm_has_owner(hosted)) {
		give_up_owner(hosted);
	} else if (vm_state(hosted->vm) == VM_WAITING) {
		snprintf(text, sizeof(text),
			 "the VMM's executor has not answered the probe for %u ms; updates wait "
			 "until it does",
			 hosted->daemon->limits.vm.executor_deadline_ms);
		log_vm(LOG_LEVEL_WARNING, hosted->name, "%s", text);
	}
}

void hosted_vm_await_owner(struct hosted_vm *hosted)
{
	const unsigned int grace_ms = hosted->daemon->limits.owner_grace_ms;

	if (grace_ms)
		hosted_vm_set_timer(hosted->patience, grace_ms);
	else
		give_up_owner(hosted);
}

void hosted_vm_owner_is_back(struct hosted_vm *hosted)
{
	hosted_vm_set_timer(hosted->patience,
			    vm_state(hosted->vm) == VM_WAITING
				    ? hosted->daemon->limits.vm.executor_deadline_ms
				    : 0);
}

void hosted_vm_lose_patience_with_agents(evutil_socket_t unused, short events, void *argument)
{
	struct hosted_vm *hosted = argument;
	struct session *session, *next;
	char text[WIRE_TEXT_SIZE];

	(void)unused;
	(void)events;
	snprintf(text, sizeof(text),
		 "it has not come back within %u ms of the daemon's restart (agent-grace-ms)",
		 hosted->daemon->limits.agent_grace_ms);
	for (session = TAILQ_FIRST(&hosted->sessions); session; session = next) {
		next = TAILQ_NEXT(session, list);
		if (session->state == SESSION_DETACHED && !session->actor.is_owner)
			session_close(session, KVMATTR_NO_SESSION, text);
	}
}

void hosted_vm_await_agents(struct hosted_vm *hosted)
{
	hosted_vm_set_timer(hosted->agents_patience, hosted->daemon->limits.agent_grace_ms);
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
		hosted_vm_set_timer(hosted->patience, 0);
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
		turn_ask_later(&hosted->end);
		return;
	}
	if (hosted->is_doomed)
		return;
	if (!hosted->is_ready)
		hosted_vm_set_timer(hosted->patience, 0);
	if (decide_dialects(hosted, results, views, &status, text, sizeof(text)))
		go_on(hosted, views);
	else
		hosted_vm_doom(hosted, status, text);
}

static void calls_done(void *context, size_t n_done, int error, uint64_t n_partial)
{
	struct hosted_vm *hosted = context;

	if (hosted->is_released)
		turn_ask_later(&hosted->end);
	else if (!hosted->is_doomed)
		vm_calls_done(hosted->vm, n_done, error, n_partial);
}

static void executor_gone(void *context, const char *why)
{
	struct hosted_vm *hosted = context;

	if (hosted->is_released)
		turn_ask_later(&hosted->end);
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
	if (executor_link_new_thread(hosted->daemon, &hosted->share, hosted->view_fds,
				     hosted->n_views, &executor_ops, hosted, &hosted->executor) < 0)
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
	hosted->executor = executor_link_new(hosted->daemon, &hosted->share, vmm_executor_socket,
					     hosted->n_views, is_restored, &executor_ops, hosted);
	if (!hosted->is_ready)
		hosted_vm_set_timer(hosted->patience,
				    hosted->daemon->limits.vm.executor_deadline_ms);
	executor_link_probe(hosted->executor);
}

const char *hosted_vm_fd_name(const struct hosted_vm *hosted, unsigned int view, char *name,
			      size_t size)
{
	snprintf(name, size, "%s/view%u", vm_journal_name(hosted->journal),
		 hosted->views[view].vtl);
	return name;
}

const char *hosted_vm_stats_fd_name(const struct hosted_vm *hosted, unsigned int view, char *name,
				    size_t size)
{
	snprintf(name, size, "%s/stats%u", vm_journal_name(hosted->journal),
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
	for (unsigned int i = 0; i < hosted->n_views; i++)
		if (hosted->stats_fds[i] >= 0)
			fd_store_keep(store, hosted_vm_stats_fd_name(hosted, i, name, sizeof(name)),
				      hosted->stats_fds[i]);
}

void hosted_vm_forget_fds(const struct hosted_vm *hosted)
{
	struct fd_store *store = hosted->daemon->fd_store;
	char name[HOSTED_VM_FD_NAME_SIZE];

	for (unsigned int i = 0; i < hosted->n_views; i++) {
		fd_store_forget(store, hosted_vm_fd_name(hosted, i, name, sizeof(name)));
		fd_store_forget(store, hosted_vm_stats_fd_name(hosted, i, name, sizeof(name)));
	}
	fd_store_forget(store, hosted_vm_executor_fd_name(hosted, name, sizeof(name)));
}
