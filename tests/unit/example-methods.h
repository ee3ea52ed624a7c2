/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The methods that the examples of the JSON-RPC 2.0 specification call, section 7: subtract, sum,
 * get_data and notifications; and some of the tests' own: echo, fail, and later, which is answered
 * by whoever called it.
 */
#ifndef EXAMPLE_METHODS_H
#define EXAMPLE_METHODS_H

#include "daemon/serve/jsonrpc.h"

/* As jsonrpc_ops.dispatch has it. */
bool example_methods_dispatch(const char *method, struct json_object *params,
			      struct jsonrpc_answer *answer);

#endif
