/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a greeted peer may ask: one function for each message, one table of them.
 */
#include "session.h"

#include "daemon/allocate.h"
#include "daemon/log.h"
#include "hosted-vm.h"
#include "map-walk.h"
#include "memory.h"
#include "refusals.h"
#include "registration.h"
#include "session-resume.h"
#include "vm-events.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_RUNS ((WIRE_MAX_MESSAGE - sizeof(struct wire_runs)) / sizeof(struct wire_run))

/* How long one query may take of the others' time; the peer goes on where its answer ends. */
#define MAX_QUERY_US 1000

/* That an update takes besides its elements, with the text that may end it. */
#define BYTES_OF_UPDATE (sizeof(struct vm_update) + WIRE_TEXT_SIZE)

struct message {
	struct wire_header header;
	const void *data;
	size_t size;
	struct seqpacket_fds *fds;
};

static const char *take_register(struct session *session, const struct message *message)
{
	if (session->hosted) {
		seqpacket_fds_close(message->fds); /* they do belong to this message */
		session_refuse(session, message->header.id, KVMATTR_VM_EXISTS,
			       "this connection has a VM already; use another one for another VM");
		return NULL;
	}
	return registration_begin(session, message->data, message->size, message->fds);
}

/* All of the message is checked before any of it is submitted. */
static const char *parse_updates(struct session *session, const struct wire_update_list *list,
				 struct update_message *parsed, size_t size)
{
	size_t offset = sizeof(*list);
	uint64_t received_us = clock_now_us(CLOCK_MONOTONIC);

	for (uint32_t i = 0; i < list->n_updates; i++) {
		struct vm_update *update = &parsed->updates[i];
		struct wire_update from;
		const char *bad =
			wire_next_update(parsed->data, size, &offset, &from, &update->elements);

		if (bad)
			return bad;
		update->origin = parsed;
		update->actor = session->actor;
		update->element = (struct policy_element){
			.kind = (enum kvmattr_update_kind)from.kind,
			.layer = from.layer,
			.value = from.value,
			.restricted = from.restricted,
			.mbec = from.mbec,
		};
		update->form = from.form;
		update->n_elements = from.n_elements;
		update->seqno = list->header.id + i;
		update->received_us = received_us;
		bad = i ? NULL
			: session_check_begun(session, &from, update->elements,
					      &update->n_in_force);
		if (bad)
			return bad;
	}
	return offset == size ? NULL : "n_updates";
}

static const char *take_updates(struct session *session, const struct message *message)
{
	struct wire_update_list list;
	struct update_message *parsed;
	struct vm *vm;
	const char *bad = wire_get_update_list(message->data, message->size, &list);

	if (bad)
		return bad;
	if (!session->hosted)
		return "header.type (updates need a VM)";
	if (list.header.id != session->last_seqno + 1)
		return "header.id (seqnos rise by one)";
	parsed = allocate_zeroed(1, sizeof(*parsed) + list.n_updates * sizeof(parsed->updates[0]));
	parsed->data = memcpy(allocate(message->size), message->data, message->size);
	bad = parse_updates(session, &list, parsed, message->size);
	if (bad) {
		free(parsed->data);
		free(parsed);
		return bad;
	}
	parsed->session = session;
	parsed->n_updates = parsed->n_unsettled = list.n_updates;
	parsed->n_bytes = message->size + list.n_updates * BYTES_OF_UPDATE;
	TAILQ_INSERT_TAIL(&session->messages, parsed, list);
	session->n_begun = 0;
	session->n_bytes += parsed->n_bytes;
	session->hosted->n_bytes += parsed->n_bytes;
	memory_charge_session(session);
	session->n_unsettled += list.n_updates;
	session->last_seqno += list.n_updates;
	/* The session may be closed meanwhile, and all freed with the last update: not the VM. */
	vm = session->hosted->vm;
	for (uint32_t i = 0; i < list.n_updates; i++)
		vm_submit(vm, &parsed->updates[i]);
	return NULL;
}

/* A VTL of the session's VM that has a view; refuses the request otherwise. */
static const struct vm *find_view(struct session *session, uint64_t id, unsigned int vtl)
{
	char text[WIRE_TEXT_SIZE];

	if (!session->hosted) {
		session_refuse(session, id, KVMATTR_NO_VM,
			       "this connection has no VM: register one, or use an agent's socket");
		return NULL;
	}
	if (vtl >= KVMATTR_N_VTLS || vm_policy(session->hosted->vm)->view_of_vtl[vtl] < 0) {
		snprintf(text, sizeof(text), "VM '%s' has no view of VTL %u", session->hosted->name,
			 vtl);
		session_refuse(session, id, KVMATTR_INVALID_VTL_STATE, text);
		return NULL;
	}
	return session->hosted->vm;
}

static const char *take_query(struct session *session, const struct message *message)
{
	struct {
		struct wire_runs head;
		struct wire_run runs[MAX_RUNS];
	} reply;
	struct wire_query query;
	const char *bad = wire_get_query(message->data, message->size, &query);
	const struct vm *vm;
	struct map_walk walk;
	struct vm_run run;
	uint64_t limit;
	size_t max_runs, size;

	if (bad)
		return bad;
	vm = find_view(session, query.header.id, query.vtl);
	if (!vm)
		return NULL;
	if (query.gfn > KVMATTR_GFN_LIMIT || query.n_pages > KVMATTR_GFN_LIMIT - query.gfn) {
		session_refuse(session, query.header.id, KVMATTR_INVALID_PARAMETER,
			       "the range reaches past the last GFN");
		return NULL;
	}
	limit = query.gfn + query.n_pages;
	max_runs = query.max_runs && query.max_runs < MAX_RUNS ? query.max_runs : MAX_RUNS;
	reply.head = (struct wire_runs){ .commit = vm_commit(vm) };
	map_walk_begin(&walk, vm, query.vtl, 0, query.gfn, limit, MAX_QUERY_US);
	while (reply.head.n_runs < max_runs && map_walk_next(&walk, &run))
		reply.runs[reply.head.n_runs++] = (struct wire_run){
			.gfn = run.gfn,
			.n_pages = run.n_pages,
			.attributes = run.attributes,
			.state = run.state,
		};
	reply.head.next_gfn = walk.gfn;
	size = sizeof(reply.head) + reply.head.n_runs * sizeof(reply.runs[0]);
	reply.head.header = wire_header_make(WIRE_RUNS, size, query.header.id);
	session_reply(session, &reply, size, -1);
	return NULL;
}

static const char *take_explain(struct session *session, const struct message *message)
{
	struct wire_explained reply = { 0 };
	struct fold_explanation explanation;
	struct wire_explain explain;
	const char *bad = wire_get_explain(message->data, message->size, &explain);
	const struct vm *vm;
	struct vm_run run;

	if (bad)
		return bad;
	vm = find_view(session, explain.header.id, explain.vtl);
	if (!vm)
		return NULL;
	if (explain.gfn >= KVMATTR_GFN_LIMIT ||
	    !vm_next_run(vm, explain.vtl, explain.gfn, explain.gfn + 1, &run)) {
		session_refuse(session, explain.header.id, KVMATTR_INVALID_PARAMETER,
			       "the page is not RAM of the VM");
		return NULL;
	}
	explanation = fold_explain(vm_policy(vm),
				   &vm_policy(vm)->views[vm_policy(vm)->view_of_vtl[explain.vtl]],
				   explain.gfn, explain.access);
	vm_events_explained(session, &explain, &explanation);
	reply.header = wire_header_make(WIRE_EXPLAINED, sizeof(reply), explain.header.id);
	reply.gfn = explain.gfn;
	reply.allowed = !explanation.denying;
	reply.layer = explanation.layer;
	reply.denying = explanation.denying;
	reply.attributes = explanation.attributes;
	reply.state = run.state;
	session_reply(session, &reply, sizeof(reply), -1);
	return NULL;
}

static const char *take_open_agent(struct session *session, const struct message *message)
{
	struct wire_header reply;
	struct wire_open_agent open;
	struct policy_actor actor;
	const char *bad = wire_get_open_agent(message->data, message->size, &open);
	struct vm_record_session facts;
	struct session *agent;
	char text[WIRE_TEXT_SIZE];
	int sockets[2], r;

	if (bad)
		return bad;
	if (!session->hosted || !session->actor.is_owner) {
		session_refuse(session, open.header.id, KVMATTR_ACCESS_DENIED,
			       "only a VM's owner opens sockets for its agents");
		return NULL;
	}
	if (open.vtl >= KVMATTR_N_VTLS || open.rights & ~WIRE_RIGHTS) {
		session_refuse(session, open.header.id, KVMATTR_INVALID_PARAMETER,
			       "an agent speaks for VTL 0 to 15, with rights that exist");
		return NULL;
	}
	if (!users_allow(session->daemon, session->pid, session->uid, USER_SESSION, text,
			 sizeof(text))) {
		session_refuse(session, open.header.id, KVMATTR_LIMIT_EXCEEDED, text);
		return NULL;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
		refusals_log(session->daemon->refusals, REFUSAL_OUT_OF_DESCRIPTORS,
			     session_about(session),
			     "there are no file descriptors left for an agent's socket; raise "
			     "LimitNOFILE");
		session_refuse(session, open.header.id, KVMATTR_LIMIT_EXCEEDED,
			       "the daemon has no file descriptors left");
		return NULL;
	}
	actor = (struct policy_actor){ .vtl = (uint8_t)open.vtl, .rights = open.rights };
	agent = session_new(session->daemon, sockets[0], session->hosted, &actor);
	facts = session_facts(agent);
	r = vm_journal_write_session(session->hosted->journal, &facts);
	if (r < 0) {
		session_drop(agent);
		close(sockets[1]);
		snprintf(text, sizeof(text), "the journal of VM '%s' cannot be written: %s",
			 session->hosted->name, strerror(-r));
		session_refuse(session, open.header.id, KVMATTR_JOURNAL_FAILED, text);
		return NULL;
	}
	session_keep_fd(agent);
	vm_events_session_opened(agent, false);
	reply = wire_header_make(WIRE_AGENT_OPENED, sizeof(reply), open.header.id);
	session_reply(session, &reply, sizeof(reply), sockets[1]);
	return NULL;
}

static const char *take_resume(struct session *session, const struct message *message)
{
	return session_take_resume(session, message->data, message->size, message->fds);
}

static const char *take_bye(struct session *session, const struct message *message)
{
	struct wire_notice bye;
	const char *bad = wire_get_notice(message->data, message->size, &bye);

	if (bad)
		return bad;
	session_close(session, KVMATTR_NO_VM, "the peer said goodbye");
	return NULL;
}

static const struct {
	enum wire_type type;
	const char *(*take)(struct session *session, const struct message *message);
} requests[] = {
	{ WIRE_UPDATE, take_updates },        { WIRE_EXPLAIN, take_explain },
	{ WIRE_QUERY, take_query },           { WIRE_REGISTER, take_register },
	{ WIRE_OPEN_AGENT, take_open_agent }, { WIRE_BYE, take_bye },
	{ WIRE_RESUME, take_resume },
};

const char *session_handle_request(struct session *session, const struct wire_header *header,
				   const void *data, size_t size, struct seqpacket_fds *fds)
{
	const struct message message = { *header, data, size, fds };

	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++)
		if (requests[i].type == header->type)
			return requests[i].take(session, &message);
	return "header.type";
}
