/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket from outside: a request is a line, its answer another; and the daemon's own
 * numbers, which have to be what they were once a peer is gone.
 */
#ifndef INTEGRATION_CONTROL_CLIENT_H
#define INTEGRATION_CONTROL_CLIENT_H

#include "tests/integration/harness.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct control_client {
	int socket;
	FILE *input;
	unsigned int last_id;
};

struct control_client *control_connect(const struct kvmattrd *daemon);
void control_close(struct control_client *client);

/* Bytes as they are. */
void control_send(struct control_client *client, const char *bytes, size_t n);
/* The next line, parsed; NULL at the end of the stream.  The caller's to release. */
struct json_object *control_receive(struct control_client *client);
/* Sends a line and receives one. */
struct json_object *control_ask(struct control_client *client, const char *line);

/* The result of a call that succeeds; params as JSON text.  The caller's to release. */
__attribute__((format(printf, 3, 4))) struct json_object *control_call(
	struct control_client *client, const char *method, const char *params, ...);
/* A call that is refused with that code, and says part. */
void control_expect_error(struct control_client *client, const char *method, const char *params,
			  int code, const char *part);

/* What is at "vms.0.name"; the test fails where there is nothing. */
struct json_object *json_at(struct json_object *object, const char *path);
bool json_has(struct json_object *object, const char *path);
int64_t json_number_at(struct json_object *object, const char *path);
bool json_boolean_at(struct json_object *object, const char *path);
const char *json_text_at(struct json_object *object, const char *path);
/* An address: "0x..." */
uint64_t json_address_at(struct json_object *object, const char *path);

/* What peers may have left behind. */
struct daemon_state {
	unsigned int n_fds;
	int64_t n_vms;
	int64_t n_sessions;
};

struct daemon_state daemon_state_now(const struct kvmattrd *daemon, struct control_client *client);
/* Soon everything is as it was then. */
void expect_state(const struct kvmattrd *daemon, struct control_client *client,
		  const struct daemon_state *before);

/* A VM of that name is registered, or not. */
bool control_has_vm(struct control_client *client, const char *name);

#endif
