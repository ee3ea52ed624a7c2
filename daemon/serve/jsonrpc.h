/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON-RPC 2.0: requests as bytes in, answers as bytes out.
 *
 * One object for one peer.  It takes bytes in any pieces, finds the requests in them (json-text.h)
 * and has each call made by the dispatch function.  Nothing happens by itself: the caller feeds
 * bytes, and has one call made at a time, or some of a long request parsed, so that a batch of a
 * thousand calls can be interrupted for others, and its answers need never be held all at once.
 *
 *	while (there is room for answers && !jsonrpc_is_waiting(rpc))
 *		if (jsonrpc_has_work(rpc))
 *			jsonrpc_work(rpc);
 *		else
 *			taken += jsonrpc_feed(rpc, bytes + taken, n - taken);
 *
 * A call may be answered later.  Until then no other one of this peer is made, in a batch or not:
 * so its answers stay in the order of its calls, and it never has more than one under way.
 *
 * Every answer is a line.  What is no JSON gets its error, the rest of the line is skipped, and
 * the next line is looked at anew.  Knows no socket and no method.
 */
#ifndef KVMATTRD_JSONRPC_H
#define KVMATTRD_JSONRPC_H

#include <json-c/json_types.h>
#include <stdbool.h>
#include <stddef.h>

/* What one peer may send at a time; daemon.get publishes it. */
#define JSONRPC_MAX_REQUEST (256u * 1024)
/* Counted by their commas and opening brackets; most of a request's cost is a tree of them. */
#define JSONRPC_MAX_VALUES 16384u
#define JSONRPC_MAX_BATCH  1000u

/* Error codes of the specification, section 5.1. */
enum jsonrpc_code {
	JSONRPC_PARSE_ERROR = -32700,
	JSONRPC_INVALID_REQUEST = -32600,
	JSONRPC_METHOD_NOT_FOUND = -32601,
	JSONRPC_INVALID_PARAMS = -32602,
	JSONRPC_INTERNAL_ERROR = -32603,
	JSONRPC_SERVER_ERROR = -32000, /* and 99 below it: the server's own */
};

#define JSONRPC_MESSAGE_SIZE 512

/* What became of a call. */
struct jsonrpc_answer {
	struct json_object *result; /* if code is 0; NULL is null */
	int code;
	char message[JSONRPC_MESSAGE_SIZE];
	struct json_object *data; /* of an error, or NULL */
};

struct jsonrpc_ops {
	/*
	 * Makes the call; what is in the answer is this room's to release.  params is an array,
	 * an object, or NULL where there are none.  Returns false if the answer comes later, by
	 * jsonrpc_finish().
	 */
	bool (*dispatch)(void *context, const char *method, struct json_object *params,
			 struct jsonrpc_answer *answer);
	/* Takes bytes that are to go to the peer. */
	void (*write)(void *context, const char *bytes, size_t n);
	/*
	 * May a request take so many bytes of memory, until there is no work and none that waits?
	 * If not, it is refused.  NULL: it may.
	 */
	bool (*may_hold)(void *context, size_t n_bytes);
};

struct jsonrpc;

/* ops stays the caller's and outlives the object. */
struct jsonrpc *jsonrpc_new(const struct jsonrpc_ops *ops, void *context);
void jsonrpc_free(struct jsonrpc *rpc);

/*
 * Takes bytes, at most to the end of one request, and returns how many: 0 while there is work, or a
 * call is not answered.
 */
size_t jsonrpc_feed(struct jsonrpc *rpc, const char *bytes, size_t n);
/* The peer sends no more; not while there is work, or a call is not answered. */
void jsonrpc_end(struct jsonrpc *rpc);
/* Whether a request is still to be parsed, or calls of it to be made; and some of that. */
bool jsonrpc_has_work(const struct jsonrpc *rpc);
void jsonrpc_work(struct jsonrpc *rpc);
/* Whether the last call is to be answered later, and answering it; not from within dispatch. */
bool jsonrpc_is_waiting(const struct jsonrpc *rpc);
void jsonrpc_finish(struct jsonrpc *rpc, struct jsonrpc_answer *answer);

/*
 * Whether a line of answers has been begun and not ended: those of a batch come one by one.  The
 * caller's own lines wait until then.
 */
bool jsonrpc_is_within_line(const struct jsonrpc *rpc);

/* Makes answer an error; data is the answer's, and may be NULL. */
__attribute__((format(printf, 4, 5))) void jsonrpc_refuse(struct jsonrpc_answer *answer, int code,
							  struct json_object *data,
							  const char *format, ...);

#endif
