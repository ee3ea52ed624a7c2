/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "session-told.h"

#include "json-put.h"
#include "session.h"

#include "daemon/allocate.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

struct session_told {
	struct json_object *object;
	/* its members */
	struct json_object *in_flight, *last_seqno, *messages;
	/* what of the others may change: as told */
	enum session_state state;
	bool is_connected;
	int32_t pid;
	uint32_t uid;
	char peer[sizeof(((struct session *)NULL)->peer)];
};

static const char *state_name(enum session_state state)
{
	static const char *const names[] = {
		[SESSION_CONNECTED] = "connected",
		[SESSION_DETACHED] = "detached",
		[SESSION_RESTARTING] = "restarting",
		[SESSION_CLOSED] = "closed",
	};

	return names[state];
}

static void put_actor(struct json_object *object, const struct policy_actor *actor)
{
	struct json_object *rights;

	json_put_text(object, "role", actor->is_owner ? "owner" : "agent");
	if (actor->is_owner) {
		json_put(object, "vtl", NULL);
		return;
	}
	json_put_number(object, "vtl", actor->vtl);
	rights = json_put_new_array(object, "rights");
	if (actor->rights & WIRE_RIGHT_VISIBILITY)
		json_put_next_text(rights, "visibility");
}

static struct json_object *put_changing_number(struct json_object *object, const char *name)
{
	struct json_object *number = json_put_there(json_object_new_uint64(0));

	json_put(object, name, number);
	return number;
}

static struct session_told *describe(const struct session *session)
{
	struct session_told *told = allocate_one(struct session_told);
	struct json_object *object = json_put_there(json_object_new_object());

	told->object = object;
	told->state = session->state;
	told->is_connected = session->socket >= 0;
	told->pid = session->pid;
	told->uid = session->uid;
	memcpy(told->peer, session->peer, sizeof(told->peer));
	json_put_number(object, "id", session->id);
	put_actor(object, &session->actor);
	json_put_text(object, "peer", told->peer);
	json_put_integer(object, "pid", told->pid);
	json_put_number(object, "uid", told->uid);
	json_put_text(object, "state", state_name(told->state));
	json_put_boolean(object, "connected", told->is_connected);
	told->in_flight = put_changing_number(object, "in_flight");
	told->last_seqno = put_changing_number(object, "last_seqno");
	told->messages = put_changing_number(object, "messages");
	return told;
}

/* A session's id and actor are for life. */
static bool is_as_told(const struct session *session, const struct session_told *told)
{
	return told->state == session->state && told->is_connected == (session->socket >= 0) &&
	       told->pid == session->pid && told->uid == session->uid &&
	       !strcmp(told->peer, session->peer);
}

struct json_object *session_told(struct session *session)
{
	struct session_told *told = session->told;

	if (told && !is_as_told(session, told)) {
		session_told_free(told);
		told = NULL;
	}
	if (!told)
		session->told = told = describe(session);
	json_object_set_uint64(told->in_flight, session->n_unsettled);
	json_object_set_uint64(told->last_seqno, session->last_seqno);
	json_object_set_uint64(told->messages, session->n_messages);
	return json_object_get(told->object);
}

void session_told_free(struct session_told *told)
{
	if (!told)
		return;
	json_object_put(told->object);
	free(told);
}
