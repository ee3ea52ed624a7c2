/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include "metrics.h"

#include "control.h"
#include "memory.h"
#include "recovery.h"
#include "refusals.h"
#include "session.h"

#include <stddef.h>
#include <stdio.h>

struct family {
	const char *name;
	enum exposition_type type;
	const char *help;
	/* One of the two writes the samples: all of them, or a VM's. */
	void (*put)(struct exposition *exposition, const struct family *family,
		    const struct daemon *daemon, const struct control_statistics *control);
	void (*put_vm)(struct exposition *exposition, const struct family *family,
		       const struct hosted_vm *hosted);
	/* Of put_number, put_vm_number and put_vm_counter: where it is. */
	uint64_t (*number)(const struct daemon *daemon, const struct control_statistics *control);
	uint64_t (*vm_number)(const struct hosted_vm *hosted);
	size_t counter; /* in struct vm_statistics */
};

/* ---- The daemon ------------------------------------------------------------------------------ */

static void put_build(struct exposition *exposition, const struct family *family,
		      const struct daemon *daemon, const struct control_statistics *control)
{
	const struct exposition_label labels[] = { { "version", PACKAGE_VERSION }, { NULL, NULL } };

	(void)daemon;
	(void)control;
	exposition_number(exposition, family->name, labels, 1);
}

static void put_start_time(struct exposition *exposition, const struct family *family,
			   const struct daemon *daemon, const struct control_statistics *control)
{
	(void)control;
	exposition_us(exposition, family->name, NULL, daemon->started_us);
}

static void put_number(struct exposition *exposition, const struct family *family,
		       const struct daemon *daemon, const struct control_statistics *control)
{
	exposition_number(exposition, family->name, NULL, family->number(daemon, control));
}

#define DAEMON_NUMBER(name, value)                                     \
	static uint64_t name(const struct daemon *daemon,              \
			     const struct control_statistics *control) \
	{                                                              \
		(void)daemon;                                          \
		(void)control;                                         \
		return value;                                          \
	}

DAEMON_NUMBER(vms, daemon->n_vms)
DAEMON_NUMBER(max_vms, daemon->limits.max_vms)
DAEMON_NUMBER(sessions, daemon->n_sessions)
DAEMON_NUMBER(max_sessions, daemon->limits.max_sessions)
DAEMON_NUMBER(memory, memory_held(daemon))
DAEMON_NUMBER(max_memory, daemon->limits.max_memory_bytes)
DAEMON_NUMBER(vms_registered, daemon->vms_registered)
DAEMON_NUMBER(vms_recovered, daemon->vms_recovered)
DAEMON_NUMBER(vms_released, daemon->vms_released)
DAEMON_NUMBER(clients, control->clients)
DAEMON_NUMBER(clients_accepted, control->clients_accepted)
DAEMON_NUMBER(clients_refused, control->clients_refused)
DAEMON_NUMBER(clients_too_slow, control->clients_too_slow)
DAEMON_NUMBER(calls, control->calls)

static uint64_t unrecovered(const struct daemon *daemon, const struct control_statistics *control)
{
	const struct unrecovered *each;
	uint64_t n = 0;

	(void)control;
	LIST_FOREACH (each, &daemon->unrecovered, list)
		n++;
	return n;
}

static void put_refusals(struct exposition *exposition, const struct family *family,
			 const struct daemon *daemon, const struct control_statistics *control)
{
	(void)control;
	for (unsigned int i = 0; i < N_REFUSALS; i++) {
		const struct exposition_label labels[] = { { "reason", refusal_names[i] },
							   { NULL, NULL } };

		exposition_number(exposition, family->name, labels,
				  refusals_count(daemon->refusals, i));
	}
}

static void put_turns(struct exposition *exposition, const struct family *family,
		      const struct daemon *daemon, const struct control_statistics *control)
{
	(void)control;
	exposition_latency(exposition, family->name, NULL, &daemon->turns.lengths);
}

/* ---- A VM ------------------------------------------------------------------------------------ */

#define VM_LABELS(hosted) \
	((const struct exposition_label[]){ { "vm", (hosted)->name }, { NULL, NULL } })

static void put_vm_number(struct exposition *exposition, const struct family *family,
			  const struct hosted_vm *hosted)
{
	exposition_number(exposition, family->name, VM_LABELS(hosted), family->vm_number(hosted));
}

static void put_vm_counter(struct exposition *exposition, const struct family *family,
			   const struct hosted_vm *hosted)
{
	const char *statistics = (const char *)vm_statistics(hosted->vm);

	exposition_number(exposition, family->name, VM_LABELS(hosted),
			  *(const uint64_t *)(const void *)(statistics + family->counter));
}

static void put_vm_info(struct exposition *exposition, const struct family *family,
			const struct hosted_vm *hosted)
{
	const struct exposition_label labels[] = {
		{ "vm", hosted->name },
		{ "executor", hosted->executor_place == WIRE_EXECUTOR_DAEMON ? "daemon" : "vmm" },
		{ "simulated", hosted->is_simulated ? "true" : "false" },
		{ "journal", vm_journal_name(hosted->journal) },
		{ NULL, NULL },
	};

	exposition_number(exposition, family->name, labels, 1);
}

static void put_view_info(struct exposition *exposition, const struct family *family,
			  const struct hosted_vm *hosted)
{
	const struct policy *policy = vm_policy(hosted->vm);

	for (unsigned int i = 0; i < policy->n_views; i++) {
		const char *abi = kvmattr_abi_name(policy->views[i].dialect.abi);
		char vtl[4];
		const struct exposition_label labels[] = {
			{ "vm", hosted->name },
			{ "vtl", vtl },
			{ "abi", abi ? abi : "unknown" },
			{ NULL, NULL },
		};

		snprintf(vtl, sizeof(vtl), "%u", policy->views[i].vtl % KVMATTR_N_VTLS);
		exposition_number(exposition, family->name, labels, 1);
	}
}

static void put_layer_info(struct exposition *exposition, const struct family *family,
			   const struct hosted_vm *hosted)
{
	const struct policy *policy = vm_policy(hosted->vm);

	for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++) {
		const struct layer *layer = &policy->layers[k];
		char name[4];
		const struct exposition_label labels[] = {
			{ "vm", hosted->name },
			{ "layer", name },
			{ "default", kvmattr_protection_name(layer->default_protection) },
			{ "mbec", layer->mbec ? "true" : "false" },
			{ NULL, NULL },
		};

		snprintf(name, sizeof(name), "%u", k);
		if (layer->enabled)
			exposition_number(exposition, family->name, labels, 1);
	}
}

static void put_registered_time(struct exposition *exposition, const struct family *family,
				const struct hosted_vm *hosted)
{
	exposition_us(exposition, family->name, VM_LABELS(hosted), hosted->registered_us);
}

static void put_batch_time(struct exposition *exposition, const struct family *family,
			   const struct hosted_vm *hosted)
{
	exposition_us(exposition, family->name, VM_LABELS(hosted),
		      vm_statistics(hosted->vm)->batch_us_total);
}

static void put_latency(struct exposition *exposition, const struct family *family,
			const struct hosted_vm *hosted)
{
	exposition_latency(exposition, family->name, VM_LABELS(hosted),
			   &vm_statistics(hosted->vm)->latency);
}

#define VM_NUMBER(name, value)                               \
	static uint64_t name(const struct hosted_vm *hosted) \
	{                                                    \
		return value;                                \
	}

VM_NUMBER(degraded, vm_is_degraded(hosted->vm))
VM_NUMBER(frozen, vm_is_frozen(hosted->vm))
VM_NUMBER(waiting, vm_state(hosted->vm) == VM_WAITING)
VM_NUMBER(stuck, vm_state(hosted->vm) == VM_STUCK)
VM_NUMBER(vm_sessions, hosted->n_sessions)
VM_NUMBER(unknown_pages, vm_unknown_pages(hosted->vm))
VM_NUMBER(queue, vm_queue_length(hosted->vm))
VM_NUMBER(ram_bytes, vm_policy(hosted->vm)->n_ram_pages << KVMATTR_PAGE_SHIFT)
VM_NUMBER(private_bytes, vm_policy(hosted->vm)->n_private_pages << KVMATTR_PAGE_SHIFT)
VM_NUMBER(map_bytes, policy_memory(vm_policy(hosted->vm)))
VM_NUMBER(vm_memory_bytes, vm_memory(hosted->vm))
VM_NUMBER(commit, vm_commit(hosted->vm))
VM_NUMBER(journal_trouble, vm_journal_status(hosted->journal).error != 0)
VM_NUMBER(journal_segments, vm_journal_status(hosted->journal).journal.n_segments)
VM_NUMBER(journal_checkpoints, vm_journal_status(hosted->journal).n_checkpoints)

static uint64_t journal_bytes(const struct hosted_vm *hosted)
{
	const struct vm_journal_status status = vm_journal_status(hosted->journal);

	return status.journal.n_bytes + status.checkpoint_bytes;
}

static uint64_t journal_records(const struct hosted_vm *hosted)
{
	return vm_journal_status(hosted->journal).journal.next_number - 1;
}

static uint64_t undurable_records(const struct hosted_vm *hosted)
{
	const struct vm_journal_status status = vm_journal_status(hosted->journal);
	const uint64_t last_number = status.journal.next_number - 1;

	/* Who does not wait for the disk is not behind. */
	if (status.durability == DURABILITY_PROCESS || status.durable_number > last_number)
		return 0;
	return last_number - status.durable_number;
}

static uint64_t detached_sessions(const struct hosted_vm *hosted)
{
	const struct session *session;
	uint64_t n = 0;

	TAILQ_FOREACH (session, &hosted->sessions, list)
		n += session->state == SESSION_DETACHED;
	return n;
}

/* ---- The families ---------------------------------------------------------------------------- */

/* What begins the name of each; the rest says what is counted, and ends with the unit. */
#define NAMED(its_name, its_type, its_help) \
	.name = "kvmattr_" its_name, .type = EXPOSITION_##its_type, .help = its_help
#define OF_DAEMON(name, type, its_number, help)                                  \
	{                                                                        \
		NAMED(name, type, help), .put = put_number, .number = its_number \
	}
#define OF_VM(name, type, its_number, help)                                               \
	{                                                                                 \
		NAMED(name, type, help), .put_vm = put_vm_number, .vm_number = its_number \
	}
#define COUNTED(name, member, help)                                                          \
	{                                                                                    \
		.counter = offsetof(struct vm_statistics, member), .put_vm = put_vm_counter, \
		NAMED(name, COUNTER, help)                                                   \
	}
#define PUT(name, type, its_put, help)                  \
	{                                               \
		NAMED(name, type, help), .put = its_put \
	}
#define PUT_VM(name, type, its_put, help)                  \
	{                                                  \
		NAMED(name, type, help), .put_vm = its_put \
	}

static const struct family families[] = {
	PUT("build_info", GAUGE, put_build, "The daemon's version; always 1."),
	PUT("start_time_seconds", GAUGE, put_start_time,
	    "When the daemon was started, since the epoch."),
	OF_DAEMON("vms", GAUGE, vms, "VMs that the daemon hosts, those being registered included."),
	OF_DAEMON("vms_max", GAUGE, max_vms, "How many it may host (max-vms)."),
	OF_DAEMON("vms_registered_total", COUNTER, vms_registered, "VMs that were registered."),
	OF_DAEMON("vms_recovered_total", COUNTER, vms_recovered,
		  "VMs that were recovered from their journals when the daemon was started."),
	OF_DAEMON("vms_released_total", COUNTER, vms_released, "VMs that are gone."),
	OF_DAEMON("journals_unrecovered", GAUGE, unrecovered,
		  "Journals of VMs that could not be recovered; daemon.get says why."),
	OF_DAEMON("sessions", GAUGE, sessions, "Connections to the agent socket."),
	OF_DAEMON("sessions_max", GAUGE, max_sessions, "How many there may be (max-sessions)."),
	OF_DAEMON("memory_bytes", GAUGE, memory,
		  "Memory that peers make the daemon hold; daemon.get says for what."),
	OF_DAEMON("memory_max_bytes", GAUGE, max_memory, "How much it may be (max-memory-mib)."),
	PUT("turn_seconds", HISTOGRAM, put_turns,
	    "How long peers' work kept the event loop, piece by piece."),
	OF_DAEMON("control_clients", GAUGE, clients, "Connections to the control socket."),
	OF_DAEMON("control_clients_accepted_total", COUNTER, clients_accepted,
		  "Connections to the control socket that were accepted."),
	OF_DAEMON("control_clients_refused_total", COUNTER, clients_refused,
		  "Connections to the control socket that were refused: too many at once."),
	OF_DAEMON("control_clients_too_slow_total", COUNTER, clients_too_slow,
		  "Subscribers to events that were disconnected because they did not read."),
	PUT("refusals_total", COUNTER, put_refusals,
	    "What peers asked for and were not given, by reason; the log says who asked for what."),
	OF_DAEMON("control_calls_total", COUNTER, calls, "Calls made on the control socket."),

	PUT_VM("vm_info", GAUGE, put_vm_info,
	       "Who carries out the VM's calls, and where its journal is; always 1."),
	PUT_VM("vm_view_info", GAUGE, put_view_info,
	       "A VTL's view of the VM and the dialect of its KVM; always 1."),
	PUT_VM("vm_layer_info", GAUGE, put_layer_info,
	       "A layer that is enabled, and what it allows where it has no entry; always 1."),
	PUT_VM("vm_registered_time_seconds", GAUGE, put_registered_time,
	       "When the VM was registered, since the epoch."),
	OF_VM("vm_degraded", GAUGE, degraded,
	      "1: KVM may not enforce what the policy says, on the unknown pages."),
	OF_VM("vm_frozen", GAUGE, frozen, "1: updates wait until the VM is thawed."),
	OF_VM("vm_waiting", GAUGE, waiting,
	      "1: no executor is there, so updates wait; after a restart, for the owner."),
	OF_VM("vm_stuck", GAUGE, stuck, "1: the executor does not answer in time."),
	OF_VM("vm_sessions", GAUGE, vm_sessions, "Sessions of the VM's owner and agents."),
	OF_VM("vm_detached_sessions", GAUGE, detached_sessions,
	      "Sessions whose peers have not come back since the daemon was restarted."),
	OF_VM("vm_unknown_pages", GAUGE, unknown_pages,
	      "Pages, of all views, of which it is not known that KVM enforces the policy."),
	OF_VM("vm_ram_bytes", GAUGE, ram_bytes, "The VM's RAM."),
	OF_VM("vm_private_bytes", GAUGE, private_bytes, "RAM that is private."),
	OF_VM("vm_map_bytes", GAUGE, map_bytes, "Memory that the VM's maps take in the daemon."),
	OF_VM("vm_memory_bytes", GAUGE, vm_memory_bytes,
	      "Memory that the VM takes in the daemon, its maps included, or may come to take."),
	OF_VM("vm_commit", GAUGE, commit, "Number of the last batch that came into force."),

	OF_VM("updates_queued", GAUGE, queue, "Updates that wait for the batch under way."),
	COUNTED("updates_total", updates, "Updates that were answered."),
	COUNTED("updates_failed_total", updates_failed,
		"Updates that were answered with an error; some of their elements may be in force."),
	PUT_VM("update_seconds", HISTOGRAM, put_latency,
	       "How long updates took, from their receipt to the answer."),
	COUNTED("elements_total", elements, "Elements of updates that came into force."),
	COUNTED("pages_total", pages, "Pages of these elements."),
	COUNTED("batches_total", batches, "Batches of updates that were carried out."),
	PUT_VM("batch_seconds_total", COUNTER, put_batch_time,
	       "How long they took, from the first call to the last answer."),
	COUNTED("kvm_calls_total", calls, "Calls of KVM that were made."),
	COUNTED("kvm_call_pages_total", call_pages, "Pages that they covered."),
	COUNTED("kvm_calls_unmerged_total", calls_unmerged,
		"Calls that it takes to merge only the consecutive pages of each list."),
	COUNTED("kvm_calls_refused_total", refusals, "Calls that KVM refused."),
	COUNTED("kvm_calls_retried_total", retries, "Calls made again after a transient error."),

	OF_VM("journal_trouble", GAUGE, journal_trouble,
	      "1: the VM's journal could not be written the last time, so updates fail."),
	OF_VM("journal_bytes", GAUGE, journal_bytes,
	      "Bytes of the VM's journal, checkpoints included."),
	OF_VM("journal_segments", GAUGE, journal_segments, "Segments of the VM's journal."),
	OF_VM("journal_checkpoints", GAUGE, journal_checkpoints, "Its checkpoints."),
	OF_VM("journal_records_total", COUNTER, journal_records,
	      "Records that were written, by former lives of the daemon too."),
	OF_VM("journal_undurable_records", GAUGE, undurable_records,
	      "Records written that are not on the disk so far; 0 with durability process."),
};

#define N_FAMILIES (sizeof(families) / sizeof(families[0]))

static bool is_shown(const struct hosted_vm *hosted)
{
	return hosted->is_ready && !hosted->is_doomed;
}

bool metrics_has_place(struct metrics_place place)
{
	return place.family < N_FAMILIES && (!place.vm || families[place.family].put_vm);
}

/* From the newest VM on that is older than number; 0: from the newest.  False if not all fit. */
static bool put_vms(struct exposition *exposition, const struct family *family,
		    const struct daemon *daemon, uint64_t until_us, uint64_t *number)
{
	const struct hosted_vm *hosted;

	/* The list has the newest first. */
	LIST_FOREACH (hosted, &daemon->vms, list) {
		if (!is_shown(hosted) || (*number && hosted->number >= *number))
			continue;
		if (*number && (exposition->n >= METRICS_MAX_PIECE ||
				clock_now_us(CLOCK_MONOTONIC) >= until_us))
			return false;
		family->put_vm(exposition, family, hosted);
		*number = hosted->number;
	}
	return true;
}

bool metrics_write(const struct daemon *daemon, const struct control_statistics *control,
		   struct metrics_place *place, struct exposition *exposition)
{
	const uint64_t until_us = clock_now_us(CLOCK_MONOTONIC) + METRICS_MAX_US;

	for (; place->family < N_FAMILIES; place->family++, place->vm = 0) {
		const struct family *family = &families[place->family];

		if (!place->vm)
			exposition_family(exposition, family->name, family->type, family->help);
		if (family->put)
			family->put(exposition, family, daemon, control);
		else if (!put_vms(exposition, family, daemon, until_us, &place->vm))
			return true;
	}
	return false;
}
