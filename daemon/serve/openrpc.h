/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The methods as an OpenRPC document: for programs that make clients, tests or pages of it.
 *
 * Everything in it comes from the table (methods.h): whatever dispatch takes and methods answer is
 * described, and nothing else.  A result's schema forbids members that are not described.
 */
#ifndef KVMATTRD_OPENRPC_H
#define KVMATTRD_OPENRPC_H

#include <json-c/json_types.h>

/* The caller's. */
struct json_object *openrpc_document(void);

#endif
