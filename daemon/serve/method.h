/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One method of the control socket: how it is described, and how a call's parameters become
 * arguments that its function can rely on.
 *
 * Nothing reaches a function that its description does not allow: unknown parameters are refused
 * by name, wrong types by path, numbers by their range, VMs that are not there by saying which are.
 * What is described is also what rpc.methods says, so the two cannot differ.
 */
#ifndef KVMATTRD_METHOD_H
#define KVMATTRD_METHOD_H

#include "daemon.h"
#include "jsonrpc.h"

#include <stdbool.h>
#include <stdint.h>

struct control;

enum method_type {
	METHOD_VM,      /* the name of a VM that is registered */
	METHOD_INTEGER, /* from minimum to maximum */
	METHOD_ADDRESS, /* "0x…" or an integer, in bytes, up to the end of guest memory */
	METHOD_ACCESS,  /* "r", "w" or "x"; as a number: KVMATTR_READ, _WRITE or _EXECUTE */
};

struct method_parameter {
	const char *name; /* NULL behind the last */
	enum method_type type;
	bool is_required;
	uint64_t minimum; /* of METHOD_INTEGER */
	uint64_t maximum;
	const char *summary;
};

#define METHOD_MAX_PARAMETERS 8

/* Who may call it.  Whoever can open the control socket is an observer. */
enum method_role { METHOD_OBSERVER, METHOD_OPERATOR };

struct method_argument {
	bool is_given;
	uint64_t number;
	struct hosted_vm *hosted;
};

struct method;

struct method_call {
	struct daemon *daemon;
	const struct control *control;
	const struct method *method;
	struct method_argument arguments[METHOD_MAX_PARAMETERS];
};

struct method {
	const char *name;
	const char *summary; /* one line */
	const char *result;  /* its members */
	enum method_role role;
	/* Fills in the answer's result, or refuses. */
	void (*run)(const struct method_call *call, struct jsonrpc_answer *answer);
	struct method_parameter parameters[METHOD_MAX_PARAMETERS + 1];
};

/* Turns params (an object, an array in the table's order, or NULL) into the call's arguments. */
__attribute__((warn_unused_result)) bool method_take_arguments(struct method_call *call,
							       struct json_object *params,
							       struct jsonrpc_answer *answer);

/* The argument of that name, which is in the method's description (asserted). */
bool method_is_given(const struct method_call *call, const char *name);
uint64_t method_number(const struct method_call *call, const char *name, uint64_t otherwise);
/* NULL if it was not given. */
struct hosted_vm *method_vm(const struct method_call *call, const char *name);

/* "address" and the like. */
const char *method_type_name(enum method_type type);

/* An error that has a status: code -32000 less the status, its name among the data. */
__attribute__((format(printf, 3, 4))) void method_refuse(struct jsonrpc_answer *answer,
							 enum kvmattr_status status,
							 const char *format, ...);

/* Starts the answer's result: an object. */
struct json_object *method_result(struct jsonrpc_answer *answer);

#endif
