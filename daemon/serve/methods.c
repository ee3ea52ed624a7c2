/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "methods.h"

#include <string.h>

const struct method *const methods_rooms[] = {
	rpc_methods,   daemon_methods, vm_methods,  operate_methods, stats_methods, metrics_methods,
	log_methods,   kvm_methods,    map_methods, journal_methods, past_methods,  export_methods,
	event_methods, NULL,
};

static const struct method *find_method(const char *name)
{
	for (const struct method *const *room = methods_rooms; *room; room++)
		for (const struct method *method = *room; method->name; method++)
			if (!strcmp(method->name, name))
				return method;
	return NULL;
}

static bool may_call(const struct method_call *call, struct jsonrpc_answer *answer)
{
	enum authority_right right =
		call->method->role == METHOD_OPERATOR ? AUTHORITY_OPERATE : AUTHORITY_OBSERVE;
	char text[JSONRPC_MESSAGE_SIZE];

	if (authority_allows(call->daemon->authority, right, &call->peer->who))
		return true;
	authority_deny(call->daemon->authority, right, &call->peer->who, call->method->name, text,
		       sizeof(text));
	method_refuse(answer, KVMATTR_ACCESS_DENIED, "%s", text);
	return false;
}

bool methods_dispatch(struct daemon *daemon, const struct control *control,
		      struct method_peer *peer, const char *name, struct json_object *params,
		      struct jsonrpc_answer *answer)
{
	struct method_call call = {
		.daemon = daemon,
		.control = control,
		.peer = peer,
		.method = find_method(name),
	};

	if (!call.method) {
		jsonrpc_refuse(answer, JSONRPC_METHOD_NOT_FOUND, NULL, "Method not found");
		return true;
	}
	if (!may_call(&call, answer))
		return true;
	if (method_take_arguments(&call, params, answer))
		call.method->run(&call, answer);
	method_drop_arguments(&call);
	return !peer->is_waiting;
}
