/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One VM: the order of its updates, the batch that is under way, and what became of it.
 *
 * A VM is a state machine.  In come updates, what the executor says, the time; out go calls to
 * carry out and answers.  It reaches the world only through struct vm_ops, so that a test can
 * run it whole, with faults from a seed.
 *
 *	waiting ──start──► idle ──update──► executing ──all done──► idle, or the next batch
 *	                    │                  │
 *	                    │                  ├─ KVM refuses a call ─► undoing ──► the same updates,
 *	                    │                  │                              half as many at a time
 *	                    │                  └─ the journal does not take its end ─► undoing ──► idle
 *	                    └─ no answer in time ─► stuck ──answer──► repairing ──► idle
 *	idle ──asked to verify──► verifying ──► idle, between two batches
 *
 * One batch is under way at a time; what arrives meanwhile is the next.  When KVM refuses a call,
 * the batch is taken back, in the layers and in KVM, and tried again half as long: the element
 * that cannot be done ends up alone and fails alone, everything else is done.  Pages of which it
 * is not known what KVM holds are in every plan until it is known; the VM is degraded until then.
 *
 * A batch is written into the journal before its first call, and that it is in force before anyone
 * is answered.  One of which the journal does not take the one or the other is taken back, and its
 * updates are refused; the next batch tries again, so the VM goes on by itself when the journal
 * does. Where answers have to wait for the disk, the next batches do not.
 *
 * A frozen VM begins no batch: what arrives waits, and the commit number stays what it is.  Repairs
 * go on, since a protection that is not in force is worse than a VM that is not quite still.
 *
 * What is to be done at once may take long, whatever state the VM is in: an element may be about
 * all pages of a large guest, each unlike the next.  So all of it is done in short steps, and after
 * a millisecond of them the VM gives way: it goes on with vm_turn(), and until then it takes what
 * it is told and does nothing about it.  Between two steps everyone may look at it.  From the first
 * element that a batch takes into the layers until it is in force, or is out of the layers again,
 * the VM is "executing": only then are they something else than vm_commit() says.
 *
 * Knows no socket, no libevent, no JSON, no file.  One thread.
 */
#ifndef KVMATTRD_VM_H
#define KVMATTRD_VM_H

#include "latency.h"
#include "policy/fold.h"
#include "policy/plan.h"
#include "policy/policy.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct vm;
struct vm_update;

/* Elements of one update that a batch takes into the layers. */
struct vm_part {
	const struct vm_update
		*update; /* its status and text: of the element refused behind them */
	uint32_t first;  /* place of the first in the update */
	uint32_t n;      /* an update without elements has one */
};

/* A batch as it is written into the journal. */
struct vm_batch {
	uint64_t commit; /* that it has if it comes into force */
	const struct vm_part *parts;
	size_t n_parts;
};

/* That it came into force. */
struct vm_in_force {
	uint64_t commit;
	bool is_all_known; /* KVM is known to hold what it is to hold, on every page */
};

/* What came of vm_verify(). */
struct vm_verification {
	enum kvmattr_status status; /* KVMATTR_OK: it has been through all of RAM */
	const char *text;           /* why it has not, or "" */
	uint64_t n_pages;           /* that KVM took, in all views */
	uint64_t n_calls;
};

/* What a VM has to say of itself. */
enum vm_report {
	VM_REPORT_DEGRADED, /* what KVM enforces on some pages is not known */
	VM_REPORT_ENFORCED, /* it is again, of all of them */
	VM_REPORT_STUCK,    /* the executor does not answer in time */
	VM_REPORT_ANSWERS,  /* it does again */
};

/* What a VM needs of the world.  context is the VM's. */
struct vm_ops {
	/*
	 * Writes into the journal, in one go: all that was noted by refused() before; a batch that
	 * is about to be carried out, or NULL; that the last one, or with a batch that one, which
	 * needed no call, came into force, or NULL.  Returns 0, or a negative errno: then nothing
	 * of it is written, and the batch is taken back.  *ret_durable: the number, which never
	 * falls, that vm_durable() will be told when whoever waits for it may be answered; 0: at
	 * once.
	 */
	int (*record)(void *context, const struct vm_batch *batch,
		      const struct vm_in_force *in_force, uint64_t *ret_durable);
	/*
	 * An update ends with this status outside of a batch that came into force: noted, and
	 * written with the next record().  Called before its answer().  Noted are the last of each
	 * session, as many as may be unanswered, and no more: while the journal cannot be written,
	 * everything ends so.
	 */
	void (*refused)(void *context, const struct vm_update *update, enum kvmattr_status status,
			const char *text);
	/*
	 * Carry out some of plan's calls from first on, at least one: answered, later and never
	 * from within, by vm_calls_done().  The plan stays as it is until execute has returned.
	 */
	void (*execute)(void *context, const struct plan *plan, size_t first);
	/*
	 * The update is settled: in force whole (KVMATTR_OK), or its first n_in_force elements.  In
	 * the order of submission.  It is the callee's to free.
	 */
	void (*answer)(void *context, struct vm_update *update, enum kvmattr_status status,
		       const char *text);
	/* All that can be answered now has been: a good moment to send. */
	void (*settled)(void *context);
	/* Call vm_turn(), not from within, when others have had their turn. */
	void (*give_way)(void *context);
	/*
	 * Call vm_timer() in so many milliseconds, instead of any earlier request; 0: never mind.
	 */
	void (*set_timer)(void *context, unsigned int timeout_ms);
	/* It is frozen, and nothing is under way (any more); may be told more than once. */
	void (*still)(void *context);
	/* The verification that vm_verify() began is over; told once. */
	void (*verified)(void *context, const struct vm_verification *verification);
	/* What the VM can do has changed; text: a sentence for the log. */
	void (*report)(void *context, enum vm_report report, const char *text);
	uint64_t (*now_us)(void *context); /* monotonic */
	/* vm_memory() may be another by now: told at the end of each turn.  Both may be NULL. */
	void (*measure)(void *context);
	/*
	 * May the VM take so many more bytes than vm_memory() says now?  They are its own until it
	 * asks again, or is measured.  If not, text says so, for the peer, and the element that
	 * needs them is refused.
	 */
	bool (*may_grow)(void *context, uint64_t n_bytes, char *text, size_t size);
};

struct vm_limits {
	uint64_t max_pages_per_call;
	uint64_t max_elements_per_batch;
	unsigned int executor_deadline_ms;
	uint32_t
		pages_per_step; /* that are looked at one by one; 0: as many as take about 100 us */
};

/* One update on its way.  Made by whoever received it, answered once. */
struct vm_update {
	TAILQ_ENTRY(vm_update) queue;
	void *origin; /* the maker's */
	struct policy_actor actor;
	struct policy_element
		element;         /* kind and parameters; range is filled in for each element */
	uint8_t form;            /* enum wire_form */
	uint32_t n_elements;     /* 0 with WIRE_FORM_NONE */
	const uint8_t *elements; /* as received; valid as long as the update */
	uint64_t seqno;
	uint64_t received_us;
	/* Elements that stand.  The maker's until the update is submitted: 0, or what of it came into
	 * force in a former life of the daemon, which is not all (asserted).  Then the VM's. */
	uint32_t n_in_force;
	/* The VM's. */
	uint32_t n_applied;         /* elements in the layers, of the batch under way too */
	enum kvmattr_status status; /* why an element was refused */
	char *text;
	uint64_t commit;        /* of the VM when the update ended */
	uint64_t answer_behind; /* the number that has to be durable before it is answered */
};
TAILQ_HEAD(vm_update_queue, vm_update);

enum vm_state {
	VM_WAITING, /* for an executor */
	VM_IDLE,
	VM_EXECUTING, /* the policy is not that of vm_commit() */
	VM_UNDOING,
	VM_REPAIRING,
	VM_VERIFYING,
	VM_STUCK,
};

/* Numbers since the registration. */
struct vm_statistics {
	uint64_t updates; /* answered */
	uint64_t updates_failed;
	uint64_t elements; /* in force */
	uint64_t pages;    /* of these elements */
	uint64_t batches;
	uint64_t calls;      /* made, of all plans */
	uint64_t call_pages; /* that they covered */
	uint64_t
		calls_unmerged; /* what it takes to merge only the consecutive pages of each list */
	uint64_t refusals;      /* calls that KVM refused */
	uint64_t retries;       /* calls made again after a transient error */
	uint64_t batch_us_total; /* from the first call to the last answer */
	uint64_t batch_us_max;
	struct latency latency; /* of updates: from received_us to the answer */
};

/*
 * In VM_WAITING: updates are taken, none is carried out before vm_start().  policy is the VM's from
 * then on.  name is copied.
 */
struct vm *vm_new(const char *name, struct policy *policy, const struct vm_limits *limits,
		  const struct vm_ops *ops, void *context);
/*
 * Goes on where a former life of the daemon ended, before vm_start(): this was its last commit, and
 * of these pages it is not known what KVM holds (copied).  recorded: what came into force then is
 * durable when vm_durable() is told this number; 0: it is.
 */
void vm_restore(struct vm *vm, uint64_t commit, const struct page_ranges *unknown,
		uint64_t recorded);
/* Others than it was made with, from the next batch on. */
void vm_set_limits(struct vm *vm, const struct vm_limits *limits);
/* There is an executor from now on. */
void vm_start(struct vm *vm);
/*
 * Answers what is queued, and what is in force but not durable, with KVMATTR_NO_VM and text.  None
 * of that is recorded.  The VM asks the world for nothing any more; what is left is to free it.
 */
void vm_end(struct vm *vm, const char *text);
/* Frees some of a VM that has ended: about 100 us of it.  Returns whether it is gone. */
__attribute__((warn_unused_result)) bool vm_free_some(struct vm *vm);
/* Both, in one go. */
void vm_free(struct vm *vm, const char *text);

/* Takes an update into the order and, if nothing is under way, starts it.  The update is the
 * VM's until it is answered, which may be before this returns. */
void vm_submit(struct vm *vm, struct vm_update *update);
/*
 * What became of the calls that execute was told: n_done done, then, if error is not 0, one that
 * KVM refused with that errno after n_partial of its pages.
 */
void vm_calls_done(struct vm *vm, size_t n_done, int error, uint64_t n_partial);
void vm_timer(struct vm *vm);
/* The turn that it gave way for: it goes on. */
void vm_turn(struct vm *vm);
/* The longest times among the statistics begin anew. */
void vm_forget_maxima(struct vm *vm);
/* All that was recorded up to this number is on the disk: what waited for it is answered. */
void vm_durable(struct vm *vm, uint64_t number);

/*
 * From now on no batch is begun; the one that is under way goes to its end, in force or taken back.
 * still() is told when it has.
 */
void vm_freeze(struct vm *vm);
void vm_thaw(struct vm *vm);

/*
 * Tells KVM all anew: what every page of RAM is to be, in every view, whatever it was told before.
 * Some pages at a time, and a batch between them if one waits.  KVMATTR_OK: verified() is told when
 * it is over, which may be before this returns.  KVMATTR_OPERATION_DENIED: one is under way
 * already; KVMATTR_EXECUTOR_STUCK: it could not begin.
 */
__attribute__((warn_unused_result)) enum kvmattr_status vm_verify(struct vm *vm);

/*
 * Bytes of memory that the VM takes, or may come to take by updates that name no pages, which are
 * never refused for it.
 */
uint64_t vm_memory(const struct vm *vm);

/* Looking in. */
const char *vm_name(const struct vm *vm);
const struct policy *vm_policy(const struct vm *vm);
const struct vm_statistics *vm_statistics(const struct vm *vm);
uint64_t vm_commit(const struct vm *vm);
enum vm_state vm_state(const struct vm *vm);
const char *vm_state_name(const struct vm *vm);
bool vm_is_frozen(const struct vm *vm);
/* It is frozen and no batch is under way: vm_commit() stays what it is. */
bool vm_is_still(const struct vm *vm);
/* Some page may not be enforced as the policy says, and KVM did not take the repair so far. */
bool vm_is_degraded(const struct vm *vm);
/*
 * Pages, of all views, of which KVM holds something else or it is not known what.  Where finding
 * out would take long, more: as many as there can be.
 */
uint64_t vm_unknown_pages(const struct vm *vm);
/*
 * Adds the pages of which KVM may hold something else than the policy says, for a checkpoint, and
 * normalizes.  Not in VM_EXECUTING (asserted): the policy is not that of vm_commit() then.
 */
void vm_add_doubtful_pages(const struct vm *vm, struct page_ranges *pages);
size_t vm_queue_length(const struct vm *vm);

/*
 * Pages of a view from gfn on that have equal effective attributes and state, RAM only.  Returns
 * false if there is none below limit.  state: enum wire_page_state.
 */
struct vm_run {
	uint64_t gfn;
	uint64_t n_pages;
	uint8_t attributes;
	uint8_t state;
};
bool vm_next_run(const struct vm *vm, unsigned int vtl, uint64_t gfn, uint64_t limit,
		 struct vm_run *ret_run);

#endif
