/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A peer of JSON-RPC for tests: what it sends, and what it gets of the methods in
 * example-methods.h.
 */
#ifndef JSONRPC_PEER_H
#define JSONRPC_PEER_H

#include "daemon/serve/jsonrpc.h"

#include <check.h>
#include <stddef.h>

/* A peer's connection: what was written to it, and what was called. */
struct peer {
	struct jsonrpc *rpc;
	char *answers;
	size_t n;
	size_t capacity;
	unsigned int n_calls;
};

/* The peer of the test that runs. */
extern struct peer peer;

void peer_connect(void);
void peer_disconnect(void);
/*
 * Sends bytes and has all calls made that are in them, up to one of "later", which jsonrpc_finish()
 * has to answer.  Returns how many bytes were taken.
 */
size_t peer_send(const char *bytes, size_t n);
/* Forgets the answers and the number of calls. */
void peer_forget(void);
/* The bytes get these answers, whole and byte by byte. */
void peer_expect_bytes(const char *bytes, size_t n, const char *answers);
void peer_expect(const char *text, const char *answers);

/* Runs the cases, each test with a connected peer; returns main()'s result. */
int peer_run_tests(const char *name, TCase *const *cases, size_t n_cases);

#define PARSE_ERROR(data)                                                                  \
	"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32700,\"message\":\"Parse error\"" data \
	"},\"id\":null}"
#define INVALID_REQUEST_OF(data, id)                                                           \
	"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32600,\"message\":\"Invalid Request\"" data \
	"},\"id\":" id "}"
#define INVALID_REQUEST    INVALID_REQUEST_OF("", "null")
#define RESULT(result, id) "{\"jsonrpc\":\"2.0\",\"result\":" result ",\"id\":" id "}"
#define CALL(id)           "{\"jsonrpc\":\"2.0\",\"method\":\"update\",\"id\":" id "}"

#endif
