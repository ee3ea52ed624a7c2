/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The methods of the control socket: one table, in rooms.
 *
 * Dispatch, the check of parameters, rpc.methods, rpc.discover and the manual page all read it; to
 * add a method, add a row to its room's array, and its function.  Methods look, but for those of
 * role operator, which also act.  What one of them does in one go is bounded, in time as in the
 * size of its answer; the rest is had by calling it again with the cursor of the answer.  What
 * takes files is done in the archivist's thread and answered later (question.h, import.h).
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
#define METHODS_MAX_BUCKETS     1024u
/* How long one call may walk through guest memory before it answers with a cursor. */
#define METHODS_MAX_WALK_US 2000u

/* All of them: NULL behind the last room, and in each a method without a name behind the last. */
extern const struct method *const methods_rooms[];

extern const struct method rpc_methods[];     /* what can be called */
extern const struct method daemon_methods[];  /* the daemon itself */
extern const struct method vm_methods[];      /* what VMs are there and how they do */
extern const struct method kvm_methods[];     /* what KVM itself counts */
extern const struct method stats_methods[];   /* what was counted */
extern const struct method metrics_methods[]; /* the same, for a monitoring system */
extern const struct method log_methods[];     /* what is written to the log */
extern const struct method operate_methods[]; /* what operators do to a VM */
extern const struct method map_methods[];     /* guest memory as protections */
extern const struct method journal_methods[]; /* which journals there are, what is in them */
extern const struct method past_methods[];    /* what stood at a commit, changed, and who it was */
extern const struct method export_methods[];  /* a policy on its way out, and in */
extern const struct method event_methods[];   /* what happens, as it happens */

/* What the data of each kind of event holds, in the order of enum event_kind. */
extern const struct method_member *const event_members[];

#endif
