/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The methods of the control socket: one table.
 *
 * Dispatch, the check of parameters and rpc.methods all read it; to add a method, add an entry
 * and its function.  Methods look, but for those of role operator, which also act.  What one of
 * them does in one go is bounded, in time as in the size of its answer; the rest is had by calling
 * it again with the cursor of the answer.  What takes files is done in the archivist's thread and
 * answered later (question.h, import.h).
 */
#ifndef KVMATTRD_METHODS_H
#define KVMATTRD_METHODS_H

#include "method.h"

/* Makes one call.  Returns false if peer waits for its answer now. */
bool methods_dispatch(struct daemon *daemon, const struct control *control,
		      struct method_peer *peer, const char *name, struct json_object *params,
		      struct jsonrpc_answer *answer);

/* Runs in one answer. */
#define METHODS_DEFAULT_RUNS 256u
#define METHODS_MAX_RUNS     1024u
/* What somebody did to a page, in one answer; at most METHODS_MAX_RUNS. */
#define METHODS_DEFAULT_BLAME 16u
/* Bytes of an import, where max-map-mib sets no lower limit. */
#define METHODS_MAX_IMPORT (UINT64_C(4) << 30)
/* Parts of the address space in one picture. */
#define METHODS_DEFAULT_BUCKETS 256u
#define METHODS_MAX_BUCKETS     4096u
/* How long one call may walk through guest memory before it answers with a cursor. */
#define METHODS_MAX_WALK_US 2000u

/* methods-daemon.c: the daemon itself */
void method_daemon_get(const struct method_call *call, struct jsonrpc_answer *answer);
/* methods-vm.c: what VMs are there and how they do */
void method_vm_list(const struct method_call *call, struct jsonrpc_answer *answer);
void method_vm_get(const struct method_call *call, struct jsonrpc_answer *answer);
void method_stats_get(const struct method_call *call, struct jsonrpc_answer *answer);
/* methods-map.c: guest memory as protections */
void method_map_effective(const struct method_call *call, struct jsonrpc_answer *answer);
void method_map_layer(const struct method_call *call, struct jsonrpc_answer *answer);
void method_map_summary(const struct method_call *call, struct jsonrpc_answer *answer);
void method_map_explain(const struct method_call *call, struct jsonrpc_answer *answer);
/* methods-journal.c: which journals there are, and what is in them */
void method_journal_status(const struct method_call *call, struct jsonrpc_answer *answer);
void method_journal_list(const struct method_call *call, struct jsonrpc_answer *answer);
void method_journal_log(const struct method_call *call, struct jsonrpc_answer *answer);
/* methods-past.c: what stood at a commit, what changed, and who it was */
void method_journal_state_at(const struct method_call *call, struct jsonrpc_answer *answer);
void method_journal_diff(const struct method_call *call, struct jsonrpc_answer *answer);
void method_journal_blame(const struct method_call *call, struct jsonrpc_answer *answer);
/* methods-export.c: a policy on its way out, and in */
void method_vm_export(const struct method_call *call, struct jsonrpc_answer *answer);
void method_vm_import(const struct method_call *call, struct jsonrpc_answer *answer);

#endif
