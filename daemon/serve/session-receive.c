/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a session receives: messages from its socket, hello first, each to whoever handles it.
 */
#include "config.h"

#include "daemon/log.h"
#include "refusals.h"
#include "session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Messages that one peer may have handled in a row before the others have their turn. */
#define MESSAGES_IN_A_ROW 8
#define SHORT_MESSAGE     4096

/* For people only: what happens when it cannot be written, the journal has said. */
static void note_peer(struct session *session)
{
	struct vm_record_session facts = session_facts(session);

	if (session->hosted && session->hosted->journal)
		(void)!vm_journal_write_session(session->hosted->journal, &facts);
}

static void welcome(struct session *session, const struct wire_hello *hello)
{
	const struct hosted_vm *hosted = session->hosted;
	const bool is_agent = hosted && !session->actor.is_owner;
	struct wire_welcome reply = {
		.version = WIRE_VERSION,
		.role = is_agent ? WIRE_ROLE_AGENT : WIRE_ROLE_NONE,
		.vtl = session->actor.vtl,
		.rights = session->actor.rights,
		.max_message = WIRE_MAX_MESSAGE,
		.max_updates_in_flight = session->daemon->limits.max_updates_in_flight,
		.session = session->id,
		.daemon = PACKAGE_VERSION,
		.resume_within_ms = session->daemon->limits.owner_grace_ms,
	};

	reply.header = wire_header_make(WIRE_WELCOME, sizeof(reply), hello->header.id);
	memcpy(reply.token, session->token, sizeof(reply.token));
	memcpy(reply.agent_socket, session->daemon->agent_socket, sizeof(reply.agent_socket));
	if (is_agent)
		snprintf(reply.vm, sizeof(reply.vm), "%s", hosted->name);
	memcpy(session->peer, hello->peer, sizeof(session->peer));
	session->is_greeted = true;
	note_peer(session);
	log_write(LOG_LEVEL_DEBUG, "session %" PRIu64 " opened: %s, PID %d, UID %u", session->id,
		  session->peer, session->pid, session->uid);
	session_reply(session, &reply, sizeof(reply), -1);
}

static const char *take_hello(struct session *session, const struct wire_header *header,
			      const void *data, size_t size)
{
	struct wire_hello hello;
	const char *bad = header->type == WIRE_HELLO ? wire_get_hello(data, size, &hello)
						     : "header.type (hello comes first)";
	char text[WIRE_TEXT_SIZE];

	if (bad)
		return bad;
	if (hello.version_min > WIRE_VERSION || hello.version_max < WIRE_VERSION) {
		snprintf(text, sizeof(text),
			 "this daemon speaks version %u of the protocol, the peer %u to %u",
			 WIRE_VERSION, hello.version_min, hello.version_max);
		session_close(session, KVMATTR_VERSION_MISMATCH, text);
		return NULL;
	}
	welcome(session, &hello);
	return NULL;
}

/*
 * On a connection that came back, what is there of before the restart may be in the journal or may
 * not: nothing of it counts until the peer resumes.
 */
static bool is_discarded(const struct session *session, const struct wire_header *header)
{
	return session->state == SESSION_RESTARTING && header->type != WIRE_RESUME &&
	       header->type != WIRE_HELLO;
}

/* First of all; and after a restart, of which a peer may learn before it was welcomed. */
static bool is_hello_due(const struct session *session, const struct wire_header *header)
{
	if (session->state == SESSION_RESTARTING)
		return header->type == WIRE_HELLO;
	return !session->is_greeted;
}

static const char *take(struct session *session, const void *data, size_t size,
			struct seqpacket_fds *fds)
{
	struct wire_header header;
	const char *bad = wire_get_header(data, size, &header);

	session->n_messages++;
	if (bad || is_discarded(session, &header))
		return bad;
	bad = is_hello_due(session, &header)
		      ? take_hello(session, &header, data, size)
		      : session_handle_request(session, &header, data, size, fds);
	for (size_t i = 0; i < fds->n && !bad; i++)
		if (fds->fd[i] >= 0)
			bad = "file descriptors (none belong to this message)";
	return bad;
}

static void take_or_close(struct session *session, const void *data, size_t size,
			  struct seqpacket_fds *fds)
{
	const char *bad = take(session, data, size, fds);
	char text[WIRE_TEXT_SIZE];

	seqpacket_fds_close(fds);
	if (!bad)
		return;
	snprintf(text, sizeof(text), "protocol broken: field %s is not valid", bad);
	session_close(session, KVMATTR_PROTOCOL_ERROR, text);
}

void session_receive(void *argument)
{
	struct session *session = argument;

	for (int i = 0; i < MESSAGES_IN_A_ROW && session_may_be_read(session); i++) {
		uint8_t *buffer = session->daemon->receive_buffer;
		struct seqpacket_fds fds;
		ssize_t n = seqpacket_receive(session->socket, buffer, WIRE_MAX_MESSAGE, &fds,
					      MSG_DONTWAIT);

		if (n == -EAGAIN)
			break;
		if (n == -EMSGSIZE || n == -EBADMSG) {
			session_close(session, KVMATTR_PROTOCOL_ERROR,
				      "protocol broken: a message has 16 to 65536 bytes");
			return;
		}
		if (n == -EMFILE) {
			static const char text[] = "the daemon has no file descriptors left for "
						   "this message's; raise LimitNOFILE";

			refusals_log(session->daemon->refusals, REFUSAL_OUT_OF_DESCRIPTORS,
				     session_about(session), "session %" PRIu64 ": %s", session->id,
				     text);
			session_close(session, KVMATTR_LIMIT_EXCEEDED, text);
			return;
		}
		if (n <= 0) {
			session_close(session, KVMATTR_NO_VM, "the peer closed the connection");
			return;
		}
		take_or_close(session, buffer, (size_t)n, &fds);
		/*
		 * A peer with more to say packs it: behind a short message there is none to look
		 * for.
		 */
		if (n < SHORT_MESSAGE)
			break;
	}
	session_read_or_pause(session);
}
