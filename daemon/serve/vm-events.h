/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens to a hosted VM, told as events (events.h): when it is worth one, and what that says.
 *
 * Nobody who has something to tell has to know whether anybody listens.  Things that happen now and
 * then are told always, so that they can be had afterwards.  What happens all the time is told only
 * while somebody wants it, and summed up: batches come together for a second, of faults there are so
 * many in a second and the rest is counted.
 */
#ifndef KVMATTRD_VM_EVENTS_H
#define KVMATTRD_VM_EVENTS_H

#include "daemon.h"

struct event_filter;
struct fold_explanation;
struct wire_explain;

/* Published in daemon.get: at most one batch.committed in so long, so many fault.explained in 1 s. */
#define VM_EVENTS_BATCH_INTERVAL_MS 1000u
#define VM_EVENTS_MAX_FAULTS        100u

/* What has to be remembered of one VM for it. */
struct vm_events *vm_events_new(struct hosted_vm *hosted);
/* NULL is fine. */
void vm_events_free(struct vm_events *events);

/* A VM that is ready, and its owner's session with it; for a recovered one, before it goes on. */
void vm_events_registered(const struct hosted_vm *hosted);
/* As it was doomed; its state machine is gone, its sessions are closed after this. */
void vm_events_released(const struct hosted_vm *hosted);
/* vm_ops' report. */
void vm_events_report(const struct hosted_vm *hosted, const char *text);
void vm_events_frozen(const struct hosted_vm *hosted, bool is_frozen);
/* Something is wrong with a journal, or is not any more; the VM may not be hosted. */
void vm_events_journal(struct daemon *daemon, const char *vm, bool is_trouble, const char *text);

/* An update of the VM is in force as a whole. */
void vm_events_updated(const struct hosted_vm *hosted, const struct vm_update *update);
/* Batches may have come into force. */
void vm_events_settled(const struct hosted_vm *hosted);
/*
 * Somebody is about to subscribe with this filter: batches are counted from now on where nobody
 * wanted them before.
 */
void vm_events_prepare(struct daemon *daemon, const struct event_filter *filter);

/* An owner's or an agent's. */
void vm_events_session_opened(const struct session *session, bool is_resumed);
/* While it still has its VM. */
void vm_events_session_closed(const struct session *session, const char *text);
/* Its VMM was answered. */
void vm_events_explained(const struct session *session, const struct wire_explain *explain,
			 const struct fold_explanation *explanation);

#endif
