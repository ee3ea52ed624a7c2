/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl's line to the daemon: one call, one answer, within a time.
 *
 * What comes back is as little trusted as anything that comes over a socket: it is parsed
 * strictly, bounded, and its members are read through functions that have an answer for those
 * that are missing or of another type.
 */
#ifndef KVMATTRCTL_RPC_H
#define KVMATTRCTL_RPC_H

#include <json-c/json_types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What kvmattrctl exits with; --help says the same. */
enum ctl_exit {
	CTL_OK = 0,
	CTL_REFUSED = 1,     /* the daemon refused it */
	CTL_USAGE = 2,       /* the command line is wrong */
	CTL_UNREACHABLE = 3, /* the daemon cannot be reached, or makes no sense */
	CTL_DAMAGED = 4,     /* a journal or an export is damaged */
	CTL_UNREADABLE = 5,  /* a file cannot be read or written */
	CTL_DEGRADED = 6,    /* KVM does not enforce all that it was told */
};

struct rpc;

/* path is copied.  Connects with the first call, and anew with the first after one that failed. */
struct rpc *rpc_new(const char *path, unsigned int timeout_ms);
void rpc_free(struct rpc *rpc);
/* From now on, calls are waited for so long at least. */
void rpc_be_patient(struct rpc *rpc, unsigned int timeout_s);
/*
 * From now on, a call ends as CTL_UNREACHABLE, with nothing said, as soon as fd is readable: whoever
 * waits for the user must not be kept by the daemon.  fd stays the caller's.
 */
void rpc_yield_to(struct rpc *rpc, int fd);
/* From now on, each line that the daemon sends is written to stdout as it is. */
void rpc_show_raw(struct rpc *rpc);
const char *rpc_path(const struct rpc *rpc);

/*
 * Makes a call.  params is the callee's from then on, and may be NULL.  CTL_OK: *ret_result is the
 * caller's.  Otherwise why not and what to do was said on stderr.
 */
__attribute__((warn_unused_result)) enum ctl_exit rpc_call(struct rpc *rpc, const char *method,
							   struct json_object *params,
							   struct json_object **ret_result);
/*
 * Waits, for as long as it takes, for what the daemon says without being asked: a notification.
 * Only after a call, on the connection of which it comes.  CTL_OK: *ret is the caller's.
 */
__attribute__((warn_unused_result)) enum ctl_exit rpc_receive(struct rpc *rpc,
							      struct json_object **ret);
/* The daemon's answer is not what this kvmattrctl understands: says so, returns CTL_UNREACHABLE. */
enum ctl_exit rpc_nonsense(const struct rpc *rpc, const char *what);

/* Parameters of a call: new ones with a text, {"vm": "demo"}; and more for those that there are. */
struct json_object *params_about(const char *name, const char *text);
void params_add(struct json_object *params, const char *name, struct json_object *value);
void params_add_text(struct json_object *params, const char *name, const char *text);
void params_add_number(struct json_object *params, const char *name, uint64_t number);
void params_add_address(struct json_object *params, const char *name, uint64_t address);

/* Members of an answer; "" or 0 or false or NULL for what is not there or has another type. */
const char *answer_text(struct json_object *object, const char *name);
uint64_t answer_number(struct json_object *object, const char *name);
int64_t answer_integer(struct json_object *object, const char *name);
bool answer_boolean(struct json_object *object, const char *name);
bool answer_is_null(struct json_object *object, const char *name);
/* "0x1f000" */
bool answer_address(struct json_object *object, const char *name, uint64_t *ret_address);
/* An array's elements; none if it is not there. */
struct json_object *answer_array(struct json_object *object, const char *name, size_t *ret_n);
/* An array of VTLs, as a set. */
uint32_t answer_vtls(struct json_object *object, const char *name);
struct json_object *answer_object(struct json_object *object, const char *name);

#endif
