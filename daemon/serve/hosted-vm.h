/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM that the daemon hosts, between its beginning (registration.h, recovery.h) and its end.
 *
 * What its state machine needs of the world is here: its executor, its journal, its sessions, the
 * time.  The kernel is asked which dialect each view speaks, first from here: where KVM takes the
 * daemon's calls, the executor is a thread of the daemon.  Everywhere else it is the VMM's, which
 * is asked the same over its socket.
 *
 * A VM that has to go is doomed first and released from the event loop, when nothing of it is on
 * the stack.  A VM that is suspended is left as it is, for the next daemon.
 */
#ifndef KVMATTRD_HOSTED_VM_H
#define KVMATTRD_HOSTED_VM_H

#include "daemon.h"
#include "protocol/seqpacket.h"

typedef void (*hosted_vm_update_done)(void *context, enum kvmattr_status status,
				      uint32_t n_in_force, uint64_t commit, const char *text);

/* A batch of updates as one message brought them; freed when all are settled. */
struct update_message {
	TAILQ_ENTRY(update_message) list; /* in its session's */
	struct session *session;          /* NULL: the daemon's own, of one update */
	hosted_vm_update_done done;       /* of the daemon's own */
	void *context;
	uint32_t n_updates;
	uint32_t n_unsettled;
	size_t n_bytes; /* that it is charged with; 0 for the daemon's own */
	void *data;     /* what the updates' elements point into */
	struct vm_update updates[];
};

/* Memory that each takes whatever its size: most of it is the buffers of its executor's link. */
#define HOSTED_VM_BYTES (UINT64_C(128) << 10)

/* Of this name, in the daemon's list, with nothing in it. */
struct hosted_vm *hosted_vm_new(struct daemon *daemon, const char *name);
/* Takes away one that never had a state machine or a session. */
void hosted_vm_free(struct hosted_vm *hosted);
/* Its owner's user has it from now on. */
void hosted_vm_charge(struct hosted_vm *hosted);

/* For vm_new() and the vm_journal_ functions; their context is the hosted VM. */
extern const struct vm_ops hosted_vm_ops;
extern const struct vm_journal_ops hosted_vm_journal_ops;

/*
 * Has an update carried out that the daemon itself asks for, or an operator of it, with the owner's
 * rights; session 0 in the journal.  ranges (n of them, WIRE_FORM_RANGES; none: WIRE_FORM_NONE) are
 * copied.  done is told exactly once, later or before this returns, also when the VM goes.  The VM
 * has its state machine and is not doomed (asserted).
 */
void hosted_vm_update(struct hosted_vm *hosted, bool is_operators,
		      const struct policy_element *element, const struct kvmattr_range *ranges,
		      uint32_t n, hosted_vm_update_done done, void *context);

/*
 * Finds out who carries out the calls on view_fds, and what each view's kernel speaks: then the
 * registration goes on, or the recovered VM.  vmm_executor_socket becomes the hosted VM's.
 * is_restored: an earlier daemon spoke on it.
 */
void hosted_vm_find_executor(struct hosted_vm *hosted, int vmm_executor_socket, bool is_restored);
/* The same, if it can be here; false if it cannot. */
bool hosted_vm_find_executor_here(struct hosted_vm *hosted);

/* Has the service manager keep the descriptors (views, executor, statistics), or let go of them. */
void hosted_vm_keep_fds(const struct hosted_vm *hosted);
void hosted_vm_forget_fds(const struct hosted_vm *hosted);
/* The name under which it does. */
const char *hosted_vm_fd_name(const struct hosted_vm *hosted, unsigned int view, char *name,
			      size_t size);
const char *hosted_vm_stats_fd_name(const struct hosted_vm *hosted, unsigned int view, char *name,
				    size_t size);
const char *hosted_vm_executor_fd_name(const struct hosted_vm *hosted, char *name, size_t size);
#define HOSTED_VM_FD_NAME_SIZE (VM_JOURNAL_NAME_SIZE + 32)

/* Is its owner there, or is it a recovered one whose owner has not come back so far? */
bool hosted_vm_has_owner(const struct hosted_vm *hosted);
/* A recovered VM's owner has owner-grace-ms to come back. */
void hosted_vm_await_owner(struct hosted_vm *hosted);
/* It has. */
void hosted_vm_owner_is_back(struct hosted_vm *hosted);
/* A recovered VM's agents have agent-grace-ms, if that is not 0: who has not come back is closed. */
void hosted_vm_await_agents(struct hosted_vm *hosted);

/* Has the VM released soon; everyone who has to do with it is told why. */
void hosted_vm_doom(struct hosted_vm *hosted, enum kvmattr_status status, const char *text);
/*
 * Has one that is doomed gone now, for everyone else: its name and its VMs are free.  What is left of
 * it is freed in its turns.
 */
void hosted_vm_let_go(struct hosted_vm *hosted);
/*
 * Releases it at once; if its executor still has calls to make, its file descriptors only when
 * those are made, or when called again: for the daemon's end.
 */
void hosted_vm_release(struct hosted_vm *hosted);
/* The daemon ends: nobody is told, KVM keeps what it was told, the next daemon recovers it. */
void hosted_vm_suspend(struct hosted_vm *hosted);

#endif
