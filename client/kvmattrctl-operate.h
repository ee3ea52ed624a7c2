/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How commands act upon a VM, and ask before they do.
 */
#ifndef KVMATTRCTL_OPERATE_H
#define KVMATTRCTL_OPERATE_H

#include "client/kvmattrctl-command.h"

#include <json-c/json_types.h>
#include <stdbool.h>

/* Says on a terminal what will come of it, and asks; true in a pipe, and with --yes. */
__attribute__((warn_unused_result, format(printf, 2, 3))) bool operate_is_meant(
	const struct command_input *input, const char *consequence, ...);
/* A call that is answered when it is done, whenever that is; as rpc_call(). */
__attribute__((warn_unused_result)) enum ctl_exit operate_call(const struct command_input *input,
							       const char *method,
							       struct json_object *params,
							       struct json_object **ret_answer);

#endif
