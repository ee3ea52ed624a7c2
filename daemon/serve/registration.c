/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "registration.h"

#include "authority.h"
#include "daemon/allocate.h"
#include "daemon/log.h"
#include "hosted-vm.h"
#include "memory.h"
#include "recovery.h"
#include "refusals.h"
#include "service-manager.h"
#include "session.h"
#include "view-fds.h"
#include "vm-events.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- From its end to its beginning ----------------------------------------------------------- */

static void tell_owner(struct hosted_vm *hosted)
{
	struct {
		struct wire_registered head;
		struct wire_view views[KVMATTR_N_VTLS];
	} reply = { 0 };
	size_t size = sizeof(reply.head) + hosted->n_views * sizeof(reply.views[0]);

	reply.head.header = wire_header_make(WIRE_REGISTERED, size, hosted->registration_id);
	reply.head.executor = hosted->executor_place;
	reply.head.n_views = hosted->n_views;
	memcpy(reply.views, hosted->views, hosted->n_views * sizeof(reply.views[0]));
	session_read_again(hosted->owner);
	session_reply(hosted->owner, &reply, size, -1);
}

static void doom_for_journal(struct hosted_vm *hosted, int error)
{
	char text[WIRE_TEXT_SIZE];

	snprintf(text, sizeof(text),
		 "its journal cannot be written in %s: %s; see to that on the host and try again",
		 hosted->daemon->journals_path, strerror(error));
	hosted_vm_doom(hosted, KVMATTR_JOURNAL_FAILED, text);
}

static void finish(struct hosted_vm *hosted)
{
	int r = vm_journal_write_ready(hosted->journal);

	if (r < 0) {
		doom_for_journal(hosted, -r);
		return;
	}
	hosted->is_ready = true;
	hosted->daemon->vms_registered++;
	service_manager_notice(hosted->daemon->manager);
	hosted_vm_keep_fds(hosted);
	session_keep_fd(hosted->owner);
	vm_events_registered(hosted);
	vm_events_session_opened(hosted->owner, false);
	log_with_id(LOG_ID_VM_REGISTERED, session_about(hosted->owner),
		    "registered by %s (PID %d): %u view(s), %" PRIu64
		    " pages of RAM, %s, executor in the %s, journal %s",
		    hosted->owner->peer, hosted->owner->pid, hosted->n_views,
		    vm_policy(hosted->vm)->n_ram_pages, kvmattr_abi_name(hosted->views[0].abi),
		    hosted->executor_place == WIRE_EXECUTOR_DAEMON ? "daemon" : "VMM",
		    vm_journal_name(hosted->journal));
	tell_owner(hosted);
}

static void ram_added(void *context, enum kvmattr_status status, uint32_t n_in_force,
		      uint64_t commit, const char *text)
{
	struct hosted_vm *hosted = context;

	(void)n_in_force;
	(void)commit;
	if (status)
		hosted_vm_doom(hosted, status, text);
	else if (!--hosted->n_ram_updates && !hosted->is_doomed)
		finish(hosted);
}

/* The RAM that is private from the start, or that is not.  The caller frees it. */
static struct kvmattr_range *select_ram(const struct hosted_vm *hosted, uint32_t private,
					uint32_t *ret_n)
{
	struct kvmattr_range *ranges = allocate_zeroed(hosted->n_ram, sizeof(*ranges));
	uint32_t n = 0;

	for (uint32_t i = 0; i < hosted->n_ram; i++)
		if (hosted->ram[i].private == private)
			ranges[n++] = (struct kvmattr_range){ hosted->ram[i].gfn,
							      hosted->ram[i].n_pages };
	*ret_n = n;
	return ranges;
}

static void add_ram(struct hosted_vm *hosted)
{
	struct kvmattr_range *ranges[2];
	uint32_t n[2];

	for (uint32_t private = 0; private < 2; private ++)
		ranges[private] = select_ram(hosted, private, &n[private]);
	hosted->n_ram_updates = !!n[0] + !!n[1];
	if (!hosted->n_ram_updates)
		finish(hosted);
	for (uint32_t private = 0; private < 2; private ++) {
		const struct policy_element element = { .kind = KVMATTR_ADD_RAM,
							.value = (uint8_t) private };

		if (n[private] && !hosted->is_doomed)
			hosted_vm_update(hosted, false, &element, ranges[private], n[private],
					 ram_added, hosted);
		free(ranges[private]);
	}
}

static int begin_journal(struct hosted_vm *hosted)
{
	const struct vm_record_session owner = session_facts(hosted->owner);
	struct vm_record_registered facts = {
		.n_views = hosted->n_views,
		.is_simulated = hosted->is_simulated,
		.executor = (uint8_t)hosted->executor_place,
	};

	memcpy(facts.name, hosted->name, sizeof(facts.name));
	return vm_journal_create(&hosted->daemon->journals, &facts, hosted->views, &owner,
				 &hosted_vm_journal_ops, hosted, &hosted->journal);
}

void registration_go_on(struct hosted_vm *hosted, const struct view *views)
{
	int r;

	for (unsigned int i = 0; i < hosted->n_views; i++) {
		hosted->views[i].abi = (uint8_t)views[i].dialect.abi;
		hosted->views[i].supported = views[i].dialect.supported;
	}
	r = begin_journal(hosted);
	if (r < 0) {
		doom_for_journal(hosted, -r);
		return;
	}
	hosted->vm = vm_new(hosted->name, policy_new(views, hosted->n_views),
			    &hosted->daemon->limits.vm, &hosted_vm_ops, hosted);
	vm_start(hosted->vm);
	add_ram(hosted);
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

/* It counts who made the connection, whoever sends over it. */
static bool may_register(const struct session *session, char *text, size_t size)
{
	struct authority *authority = session->daemon->authority;
	struct authority_peer peer = authority_identify(session->socket);

	if (authority_allows(authority, AUTHORITY_REGISTER, &peer))
		return true;
	authority_deny(authority, AUTHORITY_REGISTER, &peer, "REGISTER", text, size);
	return false;
}

static enum kvmattr_status check_name(struct daemon *daemon, const char *name, char *text,
				      size_t size)
{
	const struct hosted_vm *hosted;

	if (!kvmattr_is_vm_name(name))
		return refuse(
			text, size, KVMATTR_INVALID_PARAMETER,
			"'%s' is no name for a VM: 1 to 63 letters, digits, '.', '_' and '-', the "
			"first no '.' or '-'",
			name);
	LIST_FOREACH (hosted, &daemon->vms, list)
		if (!strcmp(hosted->name, name))
			return refuse(text, size, KVMATTR_VM_EXISTS,
				      "a VM named '%s' is registered already (PID %d)%s", name,
				      hosted->owner ? hosted->owner->pid : 0,
				      hosted_vm_has_owner(hosted)
					      ? "; end that VMM, or choose another name"
					      : "; the daemon was restarted and waits for it to "
						"come back");
	if (recovery_find_unrecovered(daemon, name, text, size))
		return KVMATTR_VM_EXISTS;
	return KVMATTR_OK;
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

/* Takes what the message brought; nothing of it was refused. */
static struct hosted_vm *take_in(struct session *owner, const struct wire_register *message,
				 const struct wire_view *views, const struct wire_ram *ram)
{
	struct hosted_vm *hosted = hosted_vm_new(owner->daemon, message->name);

	hosted->registration_id = message->header.id;
	hosted->n_views = message->n_views;
	memcpy(hosted->views, views, message->n_views * sizeof(views[0]));
	for (uint32_t i = 0; i < message->n_views; i++)
		hosted->views[i].has_stats = 0; /* as it is told on, and in the journal */
	hosted->n_ram = message->n_ram;
	hosted->ram = allocate_zeroed(message->n_ram, sizeof(ram[0]));
	memcpy(hosted->ram, ram, message->n_ram * sizeof(ram[0]));
	hosted->registered_us = clock_now_us(CLOCK_REALTIME);
	hosted->owner = owner;
	session_bind(owner, hosted);
	hosted_vm_charge(hosted);
	return hosted;
}

static bool has_lost_owner(const struct hosted_vm *hosted)
{
	return hosted->owner && session_has_hung_up(hosted->owner);
}

/*
 * A VMM that ended its VM, or lost it, and registers it anew does not have to wait for the turns in
 * which the old owner would be heard to be gone, and the old VM be released.
 */
static void let_go_of_former(struct daemon *daemon, const char *name,
			     const struct seqpacket_fds *fds)
{
	struct hosted_vm *hosted, *next;

	for (hosted = LIST_FIRST(&daemon->vms); hosted; hosted = next) {
		next = LIST_NEXT(hosted, list);
		/* in this order: to compare descriptors takes long, and there may be thousands */
		if (!hosted->is_doomed && !has_lost_owner(hosted))
			continue;
		if (strcmp(hosted->name, name) != 0 && !view_fds_has_any(hosted, fds))
			continue;
		if (!hosted->is_doomed)
			session_close(hosted->owner, KVMATTR_NO_VM,
				      "the peer closed the connection");
		hosted_vm_let_go(hosted);
	}
}

static enum kvmattr_status check_parts(struct session *owner, const struct wire_register *message,
				       const struct wire_view *views, struct seqpacket_fds *fds,
				       bool *ret_is_simulated, char *text, size_t size)
{
	struct log_about about = session_about(owner);
	enum kvmattr_status status;

	let_go_of_former(owner->daemon, message->name, fds);
	status = check_name(owner->daemon, message->name, text, size);

	if (!status)
		status = view_fds_check(owner->daemon, views, message->n_views, fds,
					ret_is_simulated, text, size);
	if (!status)
		return KVMATTR_OK;
	about.vm = message->name;
	about.status = kvmattr_status_name(status);
	refusals_log(owner->daemon->refusals, REFUSAL_REGISTRATION_REFUSED, about,
		     "registration by %s (PID %d) refused: %s", owner->peer, owner->pid, text);
	return status;
}

/* For a VM with some RAM; how much its maps take is seen when they are there. */
static bool has_memory(const struct session *owner, char *text, size_t size)
{
	const uint64_t n_bytes = HOSTED_VM_BYTES + (UINT64_C(1) << 20);
	const char *setting;

	if (memory_allow(owner->daemon, owner->uid, n_bytes, text, size, &setting))
		return true;
	users_log_limit(owner->daemon, owner->pid, owner->uid, "REGISTER", setting, text);
	return false;
}

/* Whether there is to be such a VM.  What is refused is logged; text: why, for the peer. */
static enum kvmattr_status check(struct session *owner, const struct wire_register *message,
				 const struct wire_view *views, struct seqpacket_fds *fds,
				 bool *ret_is_simulated, char *text, size_t size)
{
	if (!may_register(owner, text, size))
		return KVMATTR_ACCESS_DENIED;
	if (!users_allow(owner->daemon, owner->pid, owner->uid, USER_VM, text, size))
		return KVMATTR_LIMIT_EXCEEDED;
	if (!has_memory(owner, text, size))
		return KVMATTR_LIMIT_EXCEEDED;
	return check_parts(owner, message, views, fds, ret_is_simulated, text, size);
}

const char *registration_begin(struct session *owner, const void *data, size_t size,
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
	if (!bad)
		bad = view_fds_check_number(views, message.n_views, fds);
	if (bad)
		return bad;

	status = check(owner, &message, views, fds, &is_simulated, text, sizeof(text));
	if (status) {
		seqpacket_fds_close(fds);
		session_refuse(owner, message.header.id, status, text);
		return NULL;
	}
	hosted = take_in(owner, &message, views, ram);
	hosted->is_simulated = is_simulated;
	hosted_vm_find_executor(hosted, view_fds_take(hosted, views, fds), false);
	return NULL;
}
