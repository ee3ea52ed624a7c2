/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon's rooms share: its event loop, its limits, and the VMs that are registered.
 *
 * A hosted VM is a VM's state machine (vm.h) and what ties it to the world: its owner's session,
 * its agents' sessions, the executor, the file descriptors of its views, its journal.
 */
#ifndef KVMATTRD_DAEMON_H
#define KVMATTRD_DAEMON_H

#include "daemon/vm.h"
#include "protocol/wire.h"
#include "ram.h"
#include "turns.h"
#include "users.h"
#include "vm-journal.h"

#include <event2/event.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <time.h>

struct authority;
struct refusals;
struct session;
struct events;
struct memory;
struct executor_link;
struct fd_store;
struct service_manager;
struct operation;
struct unrecovered;
struct vm_events;
TAILQ_HEAD(session_list, session);

struct hosted_vm {
	LIST_ENTRY(hosted_vm) list;
	struct daemon *daemon;
	uint64_t number; /* among all of this life of the daemon, from 1 on */
	char name[KVMATTR_NAME_SIZE];
	bool is_simulated;
	bool is_ready;     /* registration is complete: the owner was told */
	bool is_recovered; /* from the journal of a former life of the daemon */
	bool is_released; /* nobody's any more, but its executor has calls that it may still make */
	bool is_doomed;   /* to be released as soon as nothing of it is on the stack */
	enum kvmattr_status doom_status;
	char doom_text[WIRE_TEXT_SIZE];
	struct turn share;         /* of the loop's time: all that is done for this VM */
	struct turn end;           /* its release */
	struct turn timed_out;     /* the state machine's timer */
	struct turn own;           /* where the state machine goes on */
	struct user_charge charge; /* the owner's, as long as it has descriptors here */
	struct vm *vm;    /* NULL until the executor has answered the probe of a registration */
	struct vm *ended; /* what is still to be freed of it, when it is released */
	struct vm_journal *journal; /* as long as vm */
	uint64_t recovered_number;  /* of its last record of a former life; 0: it is durable */
	unsigned int n_views;
	struct wire_view views[KVMATTR_N_VTLS]; /* the pins; once probed, abi and supported bits */
	int view_fds[KVMATTR_N_VTLS];  /* -1: of a recovered VM whose owner has not come back */
	int stats_fds[KVMATTR_N_VTLS]; /* KVM's statistics of the views; -1: there are none */
	struct ram ram_known;          /* for whoever looks */
	struct vm_shape *shape;        /* the same */
	struct wire_ram *ram;          /* to be added when the probe is through */
	uint32_t n_ram;
	unsigned int n_ram_updates; /* of the registration, under way */
	uint64_t last_own_seqno;    /* of the updates that are nobody's session's */
	uint64_t registration_id;   /* of the owner's message */
	enum wire_executor executor_place;
	struct executor_link *executor; /* NULL as the fds are -1 */
	struct vm_events *events;
	struct session *owner;        /* of a recovered VM, maybe without a connection so far */
	struct session_list sessions; /* the owner's and the agents' */
	unsigned int n_sessions;
	struct session_list closed_sessions; /* which have updates under way */
	size_t n_bytes;                      /* of the messages whose updates are under way */
	bool is_full;                        /* a session is not read because of them */
	LIST_HEAD(, operation) operations;   /* of operators, under way */
	unsigned int n_operator_updates;     /* among them */
	bool is_still;                       /* it was told that the frozen VM is at rest */
	struct event *timer;                 /* the state machine's */
	struct event
		*patience; /* with an executor that is probed, or an owner that may come back */
	struct event *agents_patience; /* with agents that may come back */
	uint64_t registered_us;        /* CLOCK_REALTIME */
	/* What stats.get subtracts: as of the last stats.reset, or 0 since the VM is hosted. */
	struct vm_statistics statistics_before;
	uint64_t statistics_since_us; /* CLOCK_REALTIME */
};

struct daemon_limits {
	struct vm_limits vm;
	unsigned int max_vms;
	unsigned int max_sessions;
	unsigned int max_vms_per_user;
	unsigned int max_sessions_per_user;
	unsigned int max_clients_per_user;  /* of the control socket */
	unsigned int max_updates_in_flight; /* of one session */
	uint64_t max_map_bytes;             /* of one VM */
	uint64_t max_memory_bytes;          /* of all that peers bring about */
	uint64_t max_memory_bytes_per_user;
	unsigned int owner_grace_ms; /* for owners, after a restart of the daemon */
	unsigned int agent_grace_ms; /* for agents; 0: as long as their VM is there */
};

struct daemon {
	struct event_base *base;
	struct turns turns;
	struct daemon_limits limits;
	bool allow_simulated;
	char agent_socket[WIRE_PATH_SIZE]; /* absolute; "": too long to be told */
	struct vm_journals journals;
	char *journals_path;             /* where they are, for people */
	struct fd_store *fd_store;       /* NULL: nobody keeps descriptors for us */
	struct service_manager *manager; /* NULL: it does not serve yet, or any more */
	struct events *events;
	struct authority *authority;
	struct refusals *refusals;
	struct users users;
	struct memory *memory;
	LIST_HEAD(, hosted_vm) vms; /* the newest first */
	unsigned int n_vms;
	uint64_t last_vm_number;
	LIST_HEAD(, hosted_vm) released_vms; /* of which the file descriptors are still taken */
	unsigned int n_released_vms;
	struct session_list unbound_sessions; /* of peers that own or speak for nothing */
	struct session_list closed_sessions;  /* which have nothing under way: the reaper's */
	struct event *reaper;
	unsigned int n_sessions; /* that are connected */
	uint8_t *receive_buffer; /* WIRE_MAX_MESSAGE bytes */
	uint64_t last_session_id;
	LIST_HEAD(, unrecovered) unrecovered; /* journals of VMs that could not be recovered */
	uint64_t started_us;                  /* CLOCK_REALTIME */
	uint64_t life; /* random, not 0: which process this is; for RESTARTED */
	/* Since the start, VMs that are gone included. */
	uint64_t vms_registered;
	uint64_t vms_recovered;
	uint64_t vms_released;
};

/*
 * Sets up what the members above need; limits, allow_simulated, agent_socket, journals,
 * journals_path and fd_store are the caller's to set, and to clean up.
 */
void daemon_init(struct daemon *daemon, struct event_base *base);
/*
 * Events, and in turns what they brought, until event_base_loopbreak().  Returns 0 or a negative
 * errno.
 */
__attribute__((warn_unused_result)) int daemon_loop(struct daemon *daemon);
/*
 * Stops: every connection is closed without a word, every VM is left as it is, for the next daemon
 * to recover.
 */
void daemon_destroy(struct daemon *daemon);

/* Microseconds of CLOCK_MONOTONIC or CLOCK_REALTIME. */
uint64_t clock_now_us(clockid_t clock);

/* The VM of that name that is ready, or NULL. */
struct hosted_vm *daemon_find_vm(struct daemon *daemon, const char *name);

#endif
