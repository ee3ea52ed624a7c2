/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A well-formed message of each type, with all its parts, and one reader for all of them.
 */
#ifndef WIRE_MESSAGES_H
#define WIRE_MESSAGES_H

#include "protocol/wire.h"

#include <stddef.h>
#include <stdint.h>

/* A message on the heap, as long as it is, so that reading past it is seen. */
struct bytes {
	uint8_t *data;
	size_t size;
};

struct bytes bytes_zero(size_t size);

/* Those that have parts. */
struct register_message {
	struct wire_register m;
	struct wire_view views[2];
	struct wire_ram ram[2];
};
struct registered_message {
	struct wire_registered m;
	struct wire_view views[2];
};
struct resume_message {
	struct wire_resume m;
	struct wire_view views[2];
};
struct resumed_message {
	struct wire_resumed m;
	struct wire_view views[2];
};
struct update_message {
	struct wire_update_list m;
	struct wire_update pages;
	uint64_t gfns[3];
	struct wire_update ranges;
	struct kvmattr_range range[2];
	struct wire_update reset;
};
struct answer_message {
	struct wire_answer m;
	struct wire_failure failures[2];
};
struct runs_message {
	struct wire_runs m;
	struct wire_run runs[2];
};
struct probed_message {
	struct wire_probed m;
	struct wire_probe_result results[2];
};
struct calls_message {
	struct wire_calls m;
	struct wire_call calls[2];
};

extern const struct update_message updates;
extern const struct calls_message calls;

#define N_MESSAGES 22
extern const struct wire_message {
	uint16_t type;
	const char *name;
	const void *message;
	size_t size;
} messages[N_MESSAGES];

/* The place of a type among the messages. */
size_t message_find(uint16_t type);
/* The i-th of them with its header, cut or extended to size. */
struct bytes message_make(size_t i, size_t size);
/* Reads all of a message: NULL, or the name of the field that is wrong. */
const char *message_read(uint16_t type, const void *data, size_t size);

#endif
