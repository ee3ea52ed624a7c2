/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One method of the control socket: how it is described, and how a call's parameters become
 * arguments that its function can rely on.
 *
 * Nothing reaches a function that its description does not allow: unknown parameters are refused
 * by name, wrong types by path, numbers by their range, VMs that are not there by saying which are.
 * What is described is also what rpc.methods says, so the two cannot differ.
 *
 * A function answers at once, or says that it will answer later: then its peer waits, and nobody
 * else.
 */
#ifndef KVMATTRD_METHOD_H
#define KVMATTRD_METHOD_H

#include "authority.h"
#include "daemon.h"
#include "daemon/log.h"
#include "jsonrpc.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct control;

enum method_type {
	METHOD_VM,      /* the name of a VM that is registered */
	METHOD_INTEGER, /* from minimum to maximum */
	METHOD_ADDRESS, /* "0x…" or an integer, in bytes, up to the end of guest memory */
	METHOD_NAME,    /* a name that a VM may have, whether it is registered or not */
	METHOD_JOURNAL, /* the name of a VM that is registered, or of a journal's directory */
	METHOD_PLACE,   /* "12:3": where an answer said to go on; two numbers */
	METHOD_DATA,    /* bytes in base64 */
	METHOD_BOOLEAN, /* true or false; as a number */
	METHOD_CHOICE,  /* one of the parameter's choices; as a number: its place among them */
	METHOD_CHOICES, /* an array of them; as a number: a set, bit i for place i */
	METHOD_VTLS,    /* an array of VTLs; as a number: a set, bit t for VTL t */
	METHOD_RANGES,  /* an array of {"gpa": address, "pages": number}, whole pages; not empty */
};

struct method_parameter {
	const char *name; /* NULL behind the last */
	enum method_type type;
	bool is_required;
	uint64_t minimum; /* of METHOD_INTEGER */
	uint64_t maximum;
	const char *const *choices; /* of METHOD_CHOICE and METHOD_CHOICES; NULL behind the last */
	const char *summary;
};

#define METHOD_MAX_PARAMETERS 8
/* Of a METHOD_RANGES. */
#define METHOD_MAX_RANGES 4092u

/* What a member of an answer is.  rpc.discover publishes it as JSON Schema. */
enum method_value {
	VALUE_TEXT,
	VALUE_NUMBER,   /* an integer from 0 up */
	VALUE_INTEGER,  /* one that may be below 0 */
	VALUE_FRACTION, /* any number */
	VALUE_BOOLEAN,
	VALUE_ADDRESS,  /* "0x1f000" */
	VALUE_CHOICE,   /* one of choices */
	VALUE_OBJECT,   /* with these members, and no others */
	VALUE_COUNTS,   /* an object: a number for each name */
	VALUE_DOCUMENT, /* an object that others define */
	VALUE_INCLUDED, /* no member of its own: members are the outer object's */
};

#define VALUE_OPTIONAL 0x1u /* may be missing */
#define VALUE_NULLABLE 0x2u /* may be null */
#define VALUE_ARRAY    0x4u /* an array of such values */

struct method_member {
	const char *name; /* NULL behind the last; "" for VALUE_INCLUDED */
	enum method_value value;
	unsigned int flags;
	const char *summary;                 /* NULL where the name says it all */
	const char *const *choices;          /* NULL behind the last */
	const struct method_member *members; /* of VALUE_OBJECT and VALUE_INCLUDED */
};

/* Who may call it: whom the daemon's settings name (authority.h). */
enum method_role { METHOD_OBSERVER, METHOD_OPERATOR };

struct method_argument {
	bool is_given;
	uint64_t number;
	uint64_t second; /* of METHOD_PLACE */
	struct hosted_vm *hosted;
	char name[KVMATTR_NAME_SIZE]; /* of METHOD_NAME */
	char journal
		[VM_JOURNAL_NAME_SIZE]; /* a directory's name; whether it is there is not known */
	uint8_t *data;                  /* the call's, until it is made */
	size_t n_data;
	struct kvmattr_range *ranges; /* the same */
	size_t n_ranges;
};

struct method;
struct questions;
struct import;
struct subscription;

/* Whoever calls, from one connection. */
struct method_peer {
	struct authority_peer who;
	struct questions *questions;       /* of all peers: what they ask about the past */
	struct import *import;             /* that is being received from this one, or NULL */
	struct subscription *subscription; /* what this one is told of, or NULL */
	/* A call that was made and not answered. */
	bool is_waiting;
	void (*cancel)(void *context);
	void *context;
	/* The maker's: sends the answer, and what the subscription has. */
	void (*finish)(struct method_peer *peer, struct jsonrpc_answer *answer);
	void (*wake)(void *peer);
};

struct method_call {
	struct daemon *daemon;
	const struct control *control;
	struct method_peer *peer;
	const struct method *method;
	struct method_argument arguments[METHOD_MAX_PARAMETERS];
};

struct method {
	const char *name;
	const char *summary;                 /* one line */
	const struct method_member *members; /* of the result, which is an object */
	enum method_role role;
	/* Fills in the answer's result, or refuses, or answers later. */
	void (*run)(const struct method_call *call, struct jsonrpc_answer *answer);
	struct method_parameter parameters[METHOD_MAX_PARAMETERS + 1];
};

/* Turns params (an object, an array in the table's order, or NULL) into the call's arguments. */
__attribute__((warn_unused_result)) bool method_take_arguments(struct method_call *call,
							       struct json_object *params,
							       struct jsonrpc_answer *answer);

/* Releases what method_take_arguments() has made. */
void method_drop_arguments(struct method_call *call);

/* The argument of that name, which is in the method's description (asserted). */
bool method_is_given(const struct method_call *call, const char *name);
uint64_t method_number(const struct method_call *call, const char *name, uint64_t otherwise);
/* All of it. */
const struct method_argument *method_argument(const struct method_call *call, const char *name);
/* NULL if it was not given; of METHOD_JOURNAL, if it is no VM's that is registered. */
struct hosted_vm *method_vm(const struct method_call *call, const char *name);
/* Who calls which method, for the log; vm: what it acts on, or NULL. */
struct log_about method_about(const struct method_call *call, const struct hosted_vm *vm);

/*
 * The call is answered by method_finish(), not from within run.  cancel is told if the peer goes
 * before that: then there is nobody to answer, and peer is not to be touched any more.
 */
void method_answer_later(const struct method_call *call, void (*cancel)(void *context),
			 void *context);
void method_finish(struct method_peer *peer, struct jsonrpc_answer *answer);

/* "address" and the like. */
const char *method_type_name(enum method_type type);
/* The same of what is answered. */
const char *method_value_name(enum method_value value);
/* "observer" or "operator". */
const char *method_role_name(enum method_role role);

/* An error that has a status: code -32000 less the status, its name among the data. */
__attribute__((format(printf, 3, 4))) void method_refuse(struct jsonrpc_answer *answer,
							 enum kvmattr_status status,
							 const char *format, ...);

/* Starts the answer's result: an object. */
struct json_object *method_result(struct jsonrpc_answer *answer);

#endif
