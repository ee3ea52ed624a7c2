/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "session-resume.h"

#include "daemon/allocate.h"
#include "daemon/log.h"
#include "daemon/policy/elements.h"
#include "hosted-vm.h"
#include "memory.h"
#include "refusals.h"
#include "view-fds.h"
#include "vm-events.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Seqnos that a journal that could not be written may lack, at most. */
#define MAX_GAP (UINT64_C(1) << 32)

/* A RESUME message. */
struct resumption {
	struct wire_resume message;
	struct wire_view views[KVMATTR_N_VTLS];
	struct seqpacket_fds *fds;
};

/* ---- Recovery -------------------------------------------------------------------------------- */

struct session *session_recover(struct hosted_vm *hosted, struct replay_session *recorded)
{
	const struct vm_record_session *facts = &recorded->facts;
	const struct policy_actor actor = {
		.is_owner = facts->role == WIRE_ROLE_OWNER,
		.vtl = facts->vtl,
		.rights = facts->rights,
	};
	struct session *session = session_new_detached(hosted->daemon, facts->id, hosted, &actor);

	memcpy(session->token, facts->token, sizeof(session->token));
	memcpy(session->peer, facts->peer, sizeof(session->peer));
	session->pid = facts->pid;
	session->uid = facts->uid;
	session_charge(session);
	session->last_seqno = recorded->settled_seqno;
	session->settled_seqno = recorded->settled_seqno;
	session->answered_seqno = recorded->settled_seqno;
	session->commit = vm_commit(hosted->vm);
	session->has_old_answers = true;
	session->n_begun = recorded->n_in_force;
	session->begun = recorded->next;
	session->begun_n_total = recorded->next_n_total;
	session->failures = recorded->failures;
	session->n_failures = recorded->n_failures;
	session->n_told_failures = recorded->n_failures;
	session->failures_capacity = recorded->failures_capacity;
	session->forgotten_seqno = recorded->forgotten_seqno;
	recorded->failures = NULL;
	recorded->n_failures = 0;
	recorded->failures_capacity = 0;
	memory_charge_session(session);
	return session;
}

void session_restore_connection(struct session *session, int socket)
{
	struct wire_restarted restarted;

	session_connect(session, socket);
	session->state = SESSION_RESTARTING;
	restarted.header =
		wire_header_make(WIRE_RESTARTED, sizeof(restarted), session->daemon->life);
	session_reply_soon(session, &restarted, sizeof(restarted), -1);
}

/* ---- Whose session -------------------------------------------------------------------------- */

/* Takes as long whatever the difference is. */
static bool is_token_of(const struct session *session, const uint8_t *token)
{
	unsigned int difference = 0;

	for (size_t i = 0; i < WIRE_TOKEN_SIZE; i++)
		difference |= session->token[i] ^ token[i];
	return !difference;
}

/*
 * One that waits for its peer to connect.  Two VMs may have sessions with the same id, where the
 * journal of one could not be read for a while.
 */
static struct session *find_detached(const struct daemon *daemon, const struct wire_resume *message)
{
	struct hosted_vm *hosted;
	struct session *session;

	LIST_FOREACH (hosted, &daemon->vms, list)
		if (!hosted->is_doomed)
			TAILQ_FOREACH (session, &hosted->sessions, list)
				if (session->state == SESSION_DETACHED &&
				    session->id == message->session &&
				    is_token_of(session, message->token))
					return session;
	return NULL;
}

/*
 * The session that waits for this peer; NULL, whatever the reason, if none does.  Never one that is
 * connected: not over its own connection either, or its peer could take back the seqnos of updates
 * that are under way.
 */
static struct session *find_target(struct session *session, const struct wire_resume *message)
{
	if (session->state == SESSION_RESTARTING)
		return session->id == message->session && is_token_of(session, message->token)
			       ? session
			       : NULL;
	return session->hosted ? NULL : find_detached(session->daemon, message);
}

/* ---- What an owner brings ------------------------------------------------------------------- */

static bool are_as_recorded(const struct hosted_vm *hosted, const struct resumption *resumption)
{
	if (resumption->message.n_views != hosted->n_views)
		return false;
	for (unsigned int i = 0; i < hosted->n_views; i++)
		if (resumption->views[i].vtl != hosted->views[i].vtl)
			return false;
	return true;
}

static enum kvmattr_status check_views(const struct hosted_vm *hosted,
				       const struct resumption *resumption, char *text, size_t size)
{
	enum kvmattr_status status;
	bool is_simulated = false;

	if (!are_as_recorded(hosted, resumption)) {
		snprintf(text, size,
			 "VM '%s' was registered with other views: an owner brings those of the "
			 "registration, in its order",
			 hosted->name);
		return KVMATTR_INVALID_PARAMETER;
	}
	for (unsigned int i = 0; i < hosted->n_views; i++)
		if (resumption->views[i].abi != KVMATTR_ABI_PROBE &&
		    resumption->views[i].abi != hosted->views[i].abi) {
			snprintf(text, size, "the kernel of VTL %u spoke %s, not %s",
				 hosted->views[i].vtl, kvmattr_abi_name(hosted->views[i].abi),
				 kvmattr_abi_name(resumption->views[i].abi));
			return KVMATTR_ABI_MISMATCH;
		}
	status = view_fds_check(hosted->daemon, resumption->views, hosted->n_views, resumption->fds,
				&is_simulated, text, size);
	if (!status && is_simulated != hosted->is_simulated) {
		snprintf(text, size, "VM '%s' was %s simulated", hosted->name,
			 hosted->is_simulated ? "" : "not");
		return KVMATTR_NOT_A_VM;
	}
	return status;
}

static void take_fds(struct hosted_vm *hosted, const struct resumption *resumption)
{
	hosted_vm_find_executor(hosted, view_fds_take(hosted, resumption->views, resumption->fds),
				false);
	hosted_vm_keep_fds(hosted);
}

/* ---- RESUME --------------------------------------------------------------------------------- */

/* Whoever took away a journal's end would bring this about as well: so it is said. */
static void say_if_behind(const struct session *session, uint64_t answered)
{
	if (answered > session->settled_seqno)
		log_vm(LOG_LEVEL_INFO, session->hosted->name,
		       "session %" PRIu64 " (%s, PID %d) has answers up to seqno %" PRIu64
		       ", its journal up to %" PRIu64
		       ": those between are taken for refusals that were not written down",
		       session->id, session->peer, session->pid, answered, session->settled_seqno);
}

/* What the peer has, and what it is told again. */
static void take_up(struct session *session, uint64_t answered)
{
	session->has_old_answers = answered < session->settled_seqno;
	/* Refused while the journal could not be written, and the peer was told so. */
	if (answered > session->settled_seqno) {
		session->settled_seqno = answered;
		session->n_begun = 0;
	}
	session->last_seqno = session->settled_seqno;
	session->answered_seqno = answered;
	session->n_told_failures = 0;
	while (session->n_told_failures < session->n_failures &&
	       session->failures[session->n_told_failures].seqno <= answered)
		session->n_told_failures++;
	session->state = SESSION_CONNECTED;
	session->is_greeted = true;
}

static void tell_resumed(struct session *session, uint64_t id)
{
	struct {
		struct wire_resumed head;
		struct wire_view views[KVMATTR_N_VTLS];
	} reply = { .head.settled = session->settled_seqno };
	const struct hosted_vm *hosted = session->hosted;
	size_t size = sizeof(reply.head);

	if (session->actor.is_owner) {
		reply.head.executor = hosted->executor_place;
		reply.head.n_views = hosted->n_views;
		memcpy(reply.views, hosted->views, hosted->n_views * sizeof(reply.views[0]));
		size += hosted->n_views * sizeof(reply.views[0]);
	}
	reply.head.header = wire_header_make(WIRE_RESUMED, size, id);
	session_reply(session, &reply, size, -1);
}

/* The peer may be another process than it was.  For people: nothing depends on it. */
static void record_peer(const struct session *session)
{
	const struct vm_record_session facts = session_facts(session);

	(void)!vm_journal_write_session(session->hosted->journal, &facts);
}

static void go_on(struct session *session, struct session *target,
		  const struct resumption *resumption)
{
	struct hosted_vm *hosted = target->hosted;
	bool is_new_connection = target != session;

	if (is_new_connection) {
		session_take_connection(target, session);
		record_peer(target);
		session_keep_fd(target);
	}
	say_if_behind(target, resumption->message.answered);
	take_up(target, resumption->message.answered);
	log_vm(target->actor.is_owner ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, hosted->name,
	       "session %" PRIu64 " (%s, PID %d) goes on over %s connection, behind seqno %" PRIu64,
	       target->id, target->peer, target->pid, is_new_connection ? "a new" : "its old",
	       target->settled_seqno);
	vm_events_session_opened(target, true);
	if (target->actor.is_owner) {
		if (is_new_connection)
			take_fds(hosted, resumption);
		hosted_vm_owner_is_back(hosted);
	}
	tell_resumed(target, resumption->message.header.id);
	session_flush(target);
	/* It may have hung up meanwhile, and is over then: nobody would end the watch any more. */
	if (is_new_connection && target->actor.is_owner && target->state == SESSION_CONNECTED &&
	    !session_watch_peer(target))
		session_close(target, KVMATTR_NO_VM, "the VMM's process has ended");
}

/* Why it cannot be, or KVMATTR_OK. */
static enum kvmattr_status check(const struct session *session, const struct session *target,
				 const struct resumption *resumption, char *text, size_t size)
{
	if (!target) {
		snprintf(text, size, "%s", kvmattr_status_text(KVMATTR_NO_SESSION));
		return KVMATTR_NO_SESSION;
	}
	if (resumption->message.answered < target->forgotten_seqno) {
		snprintf(text, size,
			 "what became of the updates up to seqno %" PRIu64
			 " is not known any more, and the peer lacks answers of them",
			 target->forgotten_seqno);
		return KVMATTR_NO_SESSION;
	}
	if (target != session && target->actor.is_owner)
		return check_views(target->hosted, resumption, text, size);
	return KVMATTR_OK;
}

static const char *parse(const void *data, size_t size, struct resumption *resumption)
{
	struct wire_resume *message = &resumption->message;
	const struct seqpacket_fds *fds = resumption->fds;
	const char *bad = wire_get_resume(data, size, message);

	for (uint32_t i = 0; !bad && i < message->n_views; i++)
		bad = wire_at_resume_view(data, i, &resumption->views[i]);
	if (bad)
		return bad;
	if (message->n_views)
		return view_fds_check_number(resumption->views, message->n_views, fds);
	return fds->n ? "file descriptors (there are none without views)" : NULL;
}

const char *session_take_resume(struct session *session, const void *data, size_t size,
				struct seqpacket_fds *fds)
{
	struct resumption resumption = { .fds = fds };
	const char *bad = parse(data, size, &resumption);
	const uint64_t answered = resumption.message.answered;
	struct log_about about = session_about(session);
	struct session *target;
	enum kvmattr_status status;
	char text[WIRE_TEXT_SIZE];

	if (bad)
		return bad;
	if (session->state == SESSION_RESTARTING &&
	    resumption.message.restarted != session->daemon->life) {
		/* It was meant for a daemon that came and went; the peer is told of this one. */
		seqpacket_fds_close(fds);
		return NULL;
	}
	if (session->state != SESSION_RESTARTING && resumption.message.restarted)
		return "restarted";
	target = find_target(session, &resumption.message);
	if (target && answered > target->settled_seqno &&
	    (answered - target->settled_seqno > MAX_GAP || answered > UINT64_MAX / 4))
		return "answered";
	if (target && fds->n && (target == session || !target->actor.is_owner))
		return "n_views (only an owner on a new connection brings views)";
	status = check(session, target, &resumption, text, sizeof(text));
	if (!status) {
		go_on(session, target, &resumption);
		return NULL;
	}
	seqpacket_fds_close(fds);
	/* A registration that a restart cut short looks for its session, too, and finds none. */
	about.status = kvmattr_status_name(status);
	refusals_log(session->daemon->refusals, REFUSAL_RESUMPTION_REFUSED, about,
		     "session %" PRIu64 " (%s, PID %d) cannot go on as session %" PRIu64 ": %s",
		     session->id, session->peer, session->pid, resumption.message.session, text);
	session_refuse(session, resumption.message.header.id, status, text);
	return NULL;
}

/* ---- The update that was begun -------------------------------------------------------------- */

static bool is_same_kind(const struct wire_update *one, const struct wire_update *other)
{
	return one->kind == other->kind && one->form == other->form && one->layer == other->layer &&
	       one->value == other->value && one->restricted == other->restricted &&
	       one->mbec == other->mbec;
}

const char *session_check_begun(const struct session *session, const struct wire_update *update,
				const uint8_t *bytes, uint32_t *ret_n_in_force)
{
	const struct elements elements = { .bytes = bytes,
					   .n = update->n_elements,
					   .form = update->form };

	if (!session->n_begun) {
		*ret_n_in_force = 0;
		return NULL;
	}
	if (!is_same_kind(update, &session->begun))
		return "update (another one was begun with this seqno)";
	if (elements_count(elements) != session->begun_n_total ||
	    session->n_begun >= session->begun_n_total)
		return "n_elements (another update was begun with this seqno)";
	/* They were checked then, if it is the same update: which only its sender knows. */
	for (uint32_t i = 0; i < session->n_begun; i++) {
		struct kvmattr_range range = elements_at(elements, i);

		if (range.gfn > KVMATTR_GFN_LIMIT || range.n_pages > KVMATTR_GFN_LIMIT - range.gfn)
			return "elements (others were begun with this seqno)";
	}
	*ret_n_in_force = session->n_begun;
	return NULL;
}
