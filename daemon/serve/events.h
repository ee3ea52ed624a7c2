/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens to VMs, as it happens, for whoever has subscribed.
 *
 * Every event has a number, one more than that of the event before it, whatever its VM and kind.
 * The last ones are kept, as the lines that subscribers get, so that who comes back after a short
 * while can go on where it was.
 *
 * Nobody is waited for, and nothing is queued for anybody: a subscription is a place among the
 * events that are kept, which are the same for all.  Who reads slowly is behind.  When an event that
 * it has asked for is not kept any more, it has missed that one; it is told how many these were, and
 * then its subscription is over.
 *
 * What may happen a hundred thousand times a second is for its maker to sum up (vm-events.h), who
 * also looks first whether anybody wants it.  Knows no VM and no socket.  One thread.
 */
#ifndef KVMATTRD_EVENTS_H
#define KVMATTRD_EVENTS_H

#include "protocol/kvmattr-types.h"

#include <json-c/json_types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(NAME, "name", "what happened"); what an event's data holds is in methods-event.c. */
#define EVENTS(X)                                                                              \
	X(VM_REGISTERED, "vm.registered", "a VM was registered, or recovered after a restart") \
	X(VM_RELEASED, "vm.released", "a VM is gone")                                          \
	X(VM_DEGRADED, "vm.degraded", "KVM may not enforce what the policy says")              \
	X(VM_RECOVERED, "vm.recovered", "KVM enforces again what the policy says")             \
	X(VM_FROZEN, "vm.frozen", "no update is carried out until the VM is thawed")           \
	X(VM_THAWED, "vm.thawed", "updates are carried out again")                             \
	X(LAYER_ENABLED, "layer.enabled", "a layer is in force")                               \
	X(LAYER_RESET, "layer.reset", "a layer imposes nothing any more")                      \
	X(SESSION_OPENED, "session.opened", "an owner or an agent is there, or came back")     \
	X(SESSION_CLOSED, "session.closed", "an owner or an agent is gone")                    \
	X(BATCH_COMMITTED, "batch.committed", "batches came into force: a second's worth")     \
	X(FAULT_EXPLAINED, "fault.explained", "a VMM was told who denies an access")           \
	X(JOURNAL_TROUBLE, "journal.trouble", "a journal cannot be written, or is damaged")    \
	X(JOURNAL_WELL, "journal.well", "a trouble of a journal is over")

enum event_kind {
#define X(name, text, summary) EVENT_##name,
	EVENTS(X)
#undef X
		N_EVENTS
};

/* Their names, in that order, NULL behind the last: the choices of a method's parameter. */
extern const char *const event_names[];

/* So many events are kept, and so many bytes of them; daemon.get publishes both. */
#define EVENTS_MAX_KEPT       4096u
#define EVENTS_MAX_KEPT_BYTES (1024u * 1024)

struct events;

struct events *events_new(void);
/* No subscription is left (asserted).  NULL is fine. */
void events_free(struct events *events);

/* It has happened, to the VM of that name.  data (an object) is the callee's from then on. */
void events_emit(struct events *events, enum event_kind kind, const char *vm,
		 struct json_object *data);
/* Has somebody asked for these, of this VM?  One load and a branch if nobody has, of any VM. */
bool events_are_wanted(const struct events *events, enum event_kind kind, const char *vm);

struct events_status {
	uint64_t next;     /* number of the next event; the first one of the daemon's life is 1 */
	uint64_t oldest;   /* of those that are kept; next if there is none */
	uint64_t n_missed; /* that subscribers had asked for, of all subscriptions */
	unsigned int n_subscriptions;
};
struct events_status events_status(const struct events *events);

/* ---- Subscriptions --------------------------------------------------------------------------- */

struct event_filter {
	uint64_t kinds;             /* set, bit k for enum event_kind k */
	char vm[KVMATTR_NAME_SIZE]; /* of this VM, registered or not; "": of all */
};

struct subscription;

/*
 * From event number first on, as far as those are kept.  wake is told when there is a line to be had
 * where there was none, and when events are being missed; it is not to change events or
 * subscriptions.  There are to be few subscriptions: each event is held against each of them.
 */
struct subscription *events_subscribe(struct events *events, const struct event_filter *filter,
				      uint64_t first, void (*wake)(void *context), void *context);
/* NULL is fine. */
void subscription_free(struct subscription *subscription);
/*
 * The next line, with its newline, which is there until the next call of this room; NULL: none for
 * now.  Once events were missed, the line that says so is the last.
 */
const char *subscription_next(struct subscription *subscription, size_t *ret_size);
/* Events were missed, and the last line is still to be had. */
bool subscription_has_missed(const struct subscription *subscription);
/* The last line was had: nothing comes any more. */
bool subscription_is_over(const struct subscription *subscription);

#endif
