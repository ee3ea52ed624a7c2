/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parts of a VM's description that more than one command shows.
 */
#ifndef KVMATTRCTL_VM_H
#define KVMATTRCTL_VM_H

#include "client/kvmattrctl-writer.h"

#include <json-c/json_types.h>

/* The columns that vm_write_state() fills in a table. */
#define VM_STATE_COLUMNS                                                                 \
	{ "state", NULL, WRITER_COLUMN_TEXT }, { "degraded", NULL, WRITER_COLUMN_TEXT }, \
		{ "frozen", NULL, WRITER_COLUMN_TEXT },                                  \
	{                                                                                \
		NULL, "STATE", WRITER_COLUMN_TEXT                                        \
	}

/* Of a VM as vm.list or vm.get has it; for people: "idle", "degraded", "stuck" and the like. */
void vm_write_state(struct writer *writer, struct json_object *vm);
/* Of a VM as stats.get has it; below 0 where retries took more calls than merging saved. */
void vm_write_calls_saved(struct writer *writer, struct json_object *statistics);

#endif
