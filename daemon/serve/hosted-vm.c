/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hosted-vm.h"

#include "daemon/allocate.h"
#include "daemon/log.h"
#include "executor-link.h"
#include "protocol/executor.h"
#include "session.h"
#include "vm-fd.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void release_doomed(evutil_socket_t unused, short events, void *argument);

/* ---- What the VM's state machine needs of the world --------------------------------------- */

static void vm_timed_out(evutil_socket_t unused, short events, void *argument)
{
	struct hosted_vm *hosted = argument;

	(void)unused;
	(void)events;
	if (hosted->vm)
		vm_timer(hosted->vm);
	else
		hosted_vm_doom(hosted, KVMATTR_EXECUTOR_STUCK,
			       "the VMM's executor did not answer the probe in time");
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

static void do_set_timer(void *context, unsigned int timeout_ms)
{
	struct hosted_vm *hosted = context;
	struct timeval timeout = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };

	if (timeout_ms)
		event_add(hosted->timer, &timeout);
	else
		event_del(hosted->timer);
}

static void do_report(void *context, bool is_trouble, const char *text)
{
	struct hosted_vm *hosted = context;

	log_vm(is_trouble ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, hosted->name, "%s", text);
}

static uint64_t do_now_us(void *context)
{
	(void)context;
	return clock_now_us(CLOCK_MONOTONIC);
}

static void finish_registration(struct hosted_vm *hosted);

static void do_answer(void *context, struct vm_update *update, enum kvmattr_status status,
		      const char *text)
{
	struct hosted_vm *hosted = context;
	struct update_message *message = update->origin;
	bool is_last = !--message->n_unsettled;

	if (message->session) {
		session_settle(message->session, update->seqno, vm_commit(hosted->vm),
			       update->n_in_force, status, text);
	} else if (status != KVMATTR_OK) {
		hosted_vm_doom(hosted, status, text);
	} else if (!--hosted->n_ram_updates) {
		finish_registration(hosted);
	}
	if (is_last) {
		hosted->n_bytes -= message->n_bytes;
		if (message->session)
			message->session->n_bytes -= message->n_bytes;
		free(message->data);
		free(message);
	}
}

static const struct vm_ops vm_ops = {
	.execute = do_execute,
	.answer = do_answer,
	.settled = do_settled,
	.set_timer = do_set_timer,
	.report = do_report,
	.now_us = do_now_us,
};

/* ---- Registration, from its end to its beginning ------------------------------------------- */

static void finish_registration(struct hosted_vm *hosted)
{
	struct {
		struct wire_registered head;
		struct wire_view views[KVMATTR_N_VTLS];
	} reply = { 0 };
	size_t size = sizeof(reply.head) + hosted->n_views * sizeof(reply.views[0]);

	if (hosted->is_doomed)
		return;
	hosted->is_ready = true;
	hosted->daemon->vms_registered++;
	reply.head.header = wire_header_make(WIRE_REGISTERED, size, hosted->registration_id);
	reply.head.executor = hosted->executor_place;
	reply.head.n_views = hosted->n_views;
	memcpy(reply.views, hosted->views, hosted->n_views * sizeof(reply.views[0]));
	log_vm(LOG_LEVEL_INFO, hosted->name,
	       "registered by %s (PID %d): %u view(s), %" PRIu64
	       " pages of RAM, %s, executor in the %s",
	       hosted->owner->peer, hosted->owner->pid, hosted->n_views,
	       vm_policy(hosted->vm)->n_ram_pages, kvmattr_abi_name(hosted->views[0].abi),
	       hosted->executor_place == WIRE_EXECUTOR_DAEMON ? "daemon" : "VMM");
	session_resume(hosted->owner);
	session_reply(hosted->owner, &reply, size, -1);
}

/* The RAM that is private from the start, or that is not, as an update of the registration. */
static struct update_message *make_ram_update(const struct hosted_vm *hosted, uint32_t private)
{
	struct update_message *message =
		allocate_zeroed(1, sizeof(*message) + sizeof(message->updates[0]));
	struct vm_update *update = &message->updates[0];
	struct kvmattr_range *ranges = allocate_zeroed(hosted->n_ram, sizeof(*ranges));

	for (uint32_t i = 0; i < hosted->n_ram; i++)
		if (hosted->ram[i].private == private)
			ranges[update->n_elements++] =
				(struct kvmattr_range){ hosted->ram[i].gfn,
							hosted->ram[i].n_pages };
	message->data = ranges;
	message->n_unsettled = 1;
	update->origin = message;
	update->actor.is_owner = true;
	update->element.kind = KVMATTR_ADD_RAM;
	update->element.value = (uint8_t) private;
	update->form = WIRE_FORM_RANGES;
	update->elements = (const uint8_t *)ranges;
	return message;
}

static void add_ram(struct hosted_vm *hosted)
{
	struct update_message *messages[2];
	unsigned int n = 0;

	for (uint32_t private = 0; private < 2; private ++) {
		messages[n] = make_ram_update(hosted, private);
		if (messages[n]->updates[0].n_elements) {
			n++;
			continue;
		}
		free(messages[n]->data);
		free(messages[n]);
	}
	if (!n)
		finish_registration(hosted);
	hosted->n_ram_updates = n;
	for (unsigned int i = 0; i < n; i++)
		vm_submit(hosted->vm, &messages[i]->updates[0]);
}

/*
 * What each view's kernel speaks.  Returns false, with status and text, if one of them cannot
 * enforce anything.
 */
static bool decide_dialects(struct hosted_vm *hosted, const struct wire_probe_result *results,
			    struct view *views, enum kvmattr_status *ret_status, char *text,
			    size_t text_size)
{
	for (unsigned int i = 0; i < hosted->n_views; i++) {
		char why[WIRE_TEXT_SIZE - 32];
		int status = dialect_decide(&results[i], (enum kvmattr_abi)hosted->views[i].abi,
					    &views[i].dialect, why, sizeof(why));

		if (status) {
			snprintf(text, text_size, "view of VTL %u: %s", hosted->views[i].vtl, why);
			*ret_status = (enum kvmattr_status)status;
			return false;
		}
		views[i].vtl = hosted->views[i].vtl;
	}
	return true;
}

static void start_vm(struct hosted_vm *hosted, const struct view *views)
{
	for (unsigned int i = 0; i < hosted->n_views; i++) {
		hosted->views[i].abi = (uint8_t)views[i].dialect.abi;
		hosted->views[i].supported = views[i].dialect.supported;
	}
	hosted->vm = vm_new(hosted->name, policy_new(views, hosted->n_views),
			    &hosted->daemon->limits.vm, &vm_ops, hosted);
	add_ram(hosted);
}

static void vmm_probed(void *context, const struct wire_probe_result *results)
{
	struct hosted_vm *hosted = context;
	struct view views[KVMATTR_N_VTLS] = { 0 };
	enum kvmattr_status status;
	char text[WIRE_TEXT_SIZE];

	if (hosted->is_doomed)
		return;
	do_set_timer(hosted, 0);
	if (decide_dialects(hosted, results, views, &status, text, sizeof(text)))
		start_vm(hosted, views);
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

/* Does KVM take our own calls on all views?  Then the executor is here, and the VM starts. */
static bool start_with_executor_here(struct hosted_vm *hosted)
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
	start_vm(hosted, views);
	return true;
}

static void start(struct hosted_vm *hosted, int vmm_executor_socket)
{
	if (start_with_executor_here(hosted)) {
		close(vmm_executor_socket);
		return;
	}
	hosted->executor_place = WIRE_EXECUTOR_VMM;
	hosted->executor = executor_link_new(hosted->daemon->base, vmm_executor_socket,
					     hosted->n_views, &executor_ops, hosted);
	do_set_timer(hosted, hosted->daemon->limits.vm.executor_deadline_ms);
	executor_link_probe(hosted->executor);
}

__attribute__((format(printf, 4, 5))) static enum kvmattr_status refuse(char *text,
									size_t text_size,
									enum kvmattr_status status,
									const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, text_size, format, arguments);
	va_end(arguments);
	return status;
}

static bool has_fd(const struct hosted_vm *hosted, int fd)
{
	for (unsigned int i = 0; i < hosted->n_views; i++)
		if (vm_fd_is_same(hosted->view_fds[i], fd))
			return true;
	return false;
}

static const struct hosted_vm *find_by_fd(const struct daemon *daemon, int fd)
{
	const struct hosted_vm *hosted;

	LIST_FOREACH (hosted, &daemon->vms, list)
		if (has_fd(hosted, fd))
			return hosted;
	LIST_FOREACH (hosted, &daemon->released_vms, list)
		if (executor_link_has_calls(hosted->executor) && has_fd(hosted, fd))
			return hosted;
	return NULL;
}

/* Is every view a VM of its own, all real or all simulated, with a VTL of its own? */
static enum kvmattr_status check_views(const struct daemon *daemon, const struct wire_view *views,
				       unsigned int n, const int *fds, bool *ret_is_simulated,
				       char *text, size_t size)
{
	enum vm_fd_kind first = VM_FD_NONE;
	unsigned int vtls = 0;

	for (unsigned int i = 0; i < n; i++) {
		char why[160];
		const struct hosted_vm *other;
		enum vm_fd_kind kind = vm_fd_identify(fds[i], why, sizeof(why));

		if (vtls >> views[i].vtl & 1)
			return refuse(text, size, KVMATTR_INVALID_PARAMETER, "VTL %u has two views",
				      views[i].vtl);
		vtls |= 1u << views[i].vtl;
		if (kind == VM_FD_NONE)
			return refuse(text, size, KVMATTR_NOT_A_VM,
				      "the fd for VTL %u is no VM: %s", views[i].vtl, why);
		if (kind == VM_FD_SIMULATED && !daemon->allow_simulated)
			return refuse(
				text, size, KVMATTR_NOT_A_VM,
				"the fd for VTL %u is a simulated VM, which this daemon takes only "
				"with --allow-simulated",
				views[i].vtl);
		if (i && kind != first)
			return refuse(text, size, KVMATTR_INVALID_PARAMETER,
				      "the views are partly simulated");
		first = kind;
		other = find_by_fd(daemon, fds[i]);
		if (other)
			return refuse(
				text, size, KVMATTR_VM_EXISTS,
				other->is_released
					? "the VM of VTL %u was '%s', whose executor still makes calls: "
					  "close that registration's executor and try again"
					: "the VM of VTL %u is registered already, as '%s'",
				views[i].vtl, other->name);
		for (unsigned int j = 0; j < i; j++)
			if (vm_fd_is_same(fds[i], fds[j]))
				return refuse(text, size, KVMATTR_INVALID_PARAMETER,
					      "VTL %u and VTL %u have the same VM", views[j].vtl,
					      views[i].vtl);
	}
	if (!(vtls & 1))
		return refuse(text, size, KVMATTR_INVALID_PARAMETER, "there is no view of VTL 0");
	*ret_is_simulated = first == VM_FD_SIMULATED;
	return KVMATTR_OK;
}

static enum kvmattr_status check_name(const struct daemon *daemon, const char *name, char *text,
				      size_t size)
{
	const struct hosted_vm *hosted;

	if (!kvmattr_is_vm_name(name))
		return refuse(
			text, size, KVMATTR_INVALID_PARAMETER,
			"'%s' is no name for a VM: 1 to 63 letters, digits, '.', '_' and '-', the "
			"first no '.' or '-'",
			name);
	if (daemon->n_vms + daemon->n_released_vms >= daemon->limits.max_vms)
		return refuse(text, size, KVMATTR_LIMIT_EXCEEDED,
			      "the daemon hosts %u VMs, as many as it may (max-vms)",
			      daemon->n_vms);
	LIST_FOREACH (hosted, &daemon->vms, list)
		if (!strcmp(hosted->name, name))
			return refuse(text, size, KVMATTR_VM_EXISTS,
				      "a VM named '%s' is registered already (PID %d)", name,
				      hosted->owner ? hosted->owner->pid : 0);
	return KVMATTR_OK;
}

static struct hosted_vm *hosted_vm_new(struct session *owner, const struct wire_register *message)
{
	struct hosted_vm *hosted = allocate_one(struct hosted_vm);
	struct daemon *daemon = owner->daemon;

	hosted->daemon = daemon;
	snprintf(hosted->name, sizeof(hosted->name), "%s", message->name);
	hosted->registration_id = message->header.id;
	hosted->n_views = message->n_views;
	hosted->n_ram = message->n_ram;
	hosted->registered_us = clock_now_us(CLOCK_REALTIME);
	hosted->owner = owner;
	TAILQ_INIT(&hosted->sessions);
	hosted->timer = event_new(daemon->base, -1, 0, vm_timed_out, hosted);
	hosted->doom = event_new(daemon->base, -1, 0, release_doomed, hosted);
	LIST_INSERT_HEAD(&daemon->vms, hosted, list);
	daemon->n_vms++;
	return hosted;
}

static const char *parse_parts(const void *data, const struct wire_register *message,
			       struct wire_view *views, struct wire_ram *ram)
{
	const char *bad = NULL;

	for (uint32_t i = 0; i < message->n_views && !bad; i++)
		bad = wire_at_register_view(data, message, i, &views[i]);
	for (uint32_t i = 0; i < message->n_ram && !bad; i++)
		bad = wire_at_register_ram(data, message, i, &ram[i]);
	return bad;
}

const char *hosted_vm_register(struct session *owner, const void *data, size_t size,
			       struct seqpacket_fds *fds)
{
	struct wire_view views[KVMATTR_N_VTLS];
	struct wire_ram ram[WIRE_MAX_RAM];
	struct wire_register message;
	const char *bad = wire_get_register(data, size, &message);
	struct hosted_vm *hosted;
	enum kvmattr_status status;
	char text[WIRE_TEXT_SIZE];
	bool is_simulated = false;

	if (!bad)
		bad = parse_parts(data, &message, views, ram);
	if (!bad && (fds->n != 1 + message.n_views || !vm_fd_is_seqpacket(fds->fd[0])))
		bad = "file descriptors (an executor's SOCK_SEQPACKET socket, then one VM for each view)";
	if (bad)
		return bad;

	status = check_name(owner->daemon, message.name, text, sizeof(text));
	if (!status)
		status = check_views(owner->daemon, views, message.n_views, fds->fd + 1,
				     &is_simulated, text, sizeof(text));
	if (status) {
		seqpacket_fds_close(fds);
		log_vm(LOG_LEVEL_WARNING, message.name, "registration by %s (PID %d) refused: %s",
		       owner->peer, owner->pid, text);
		session_refuse(owner, message.header.id, status, text);
		return NULL;
	}

	hosted = hosted_vm_new(owner, &message);
	hosted->is_simulated = is_simulated;
	memcpy(hosted->views, views, message.n_views * sizeof(views[0]));
	hosted->ram = allocate_zeroed(message.n_ram, sizeof(ram[0]));
	memcpy(hosted->ram, ram, message.n_ram * sizeof(ram[0]));
	for (uint32_t i = 0; i < message.n_views; i++)
		hosted->view_fds[i] = seqpacket_fds_take(fds, 1 + i);
	session_bind(owner, hosted);
	start(hosted, seqpacket_fds_take(fds, 0));
	return NULL;
}

/* ---- Release --------------------------------------------------------------------------------- */

void hosted_vm_doom(struct hosted_vm *hosted, enum kvmattr_status status, const char *text)
{
	if (hosted->is_doomed)
		return;
	hosted->is_doomed = true;
	hosted->doom_status = status;
	snprintf(hosted->doom_text, sizeof(hosted->doom_text), "%s", text);
	event_active(hosted->doom, EV_TIMEOUT, 0);
}

static void release_doomed(evutil_socket_t unused, short events, void *argument)
{
	(void)unused;
	(void)events;
	hosted_vm_release(argument);
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
		session_resume(session);
		session_refuse(session, hosted->registration_id, hosted->doom_status,
			       hosted->doom_text);
	}
	while ((session = TAILQ_FIRST(&hosted->sessions)))
		session_close(session, KVMATTR_NO_VM, text);
}

/* The last of it: what holds the guest's memory. */
static void free_released(struct hosted_vm *hosted)
{
	executor_link_free(hosted->executor);
	for (unsigned int i = 0; i < hosted->n_views; i++)
		close(hosted->view_fds[i]);
	event_free(hosted->doom);
	LIST_REMOVE(hosted, list);
	hosted->daemon->n_released_vms--;
	free(hosted);
	/* A VM's maps are most of what the daemon holds, in small pieces: give them back. */
	malloc_trim(0);
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
	vm_free(hosted->vm, hosted->doom_text);
	hosted->vm = NULL;
	tell_sessions(hosted);
	event_free(hosted->timer);
	free(hosted->ram);
	LIST_REMOVE(hosted, list);
	daemon->n_vms--;
	LIST_INSERT_HEAD(&daemon->released_vms, hosted, list);
	daemon->n_released_vms++;
	hosted->is_released = true;
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
