/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the rooms of a VM share: vm.c, which moves it, step by step; vm-batch.c, which takes updates
 * into the layers and back; vm-plan.c, which has KVM told; vm-answer.c, which ends updates;
 * vm-verify.c, which tells KVM what it was told; vm-memory.c, which asks for memory; vm-inspect.c,
 * which only looks.
 */
#ifndef KVMATTRD_VM_PRIVATE_H
#define KVMATTRD_VM_PRIVATE_H

#include "vm.h"

/*
 * What is to be done next.  A step takes some 100 us at most, whatever peers made of guest memory;
 * between two of them the VM can give way, and everyone may look at it.
 */
enum vm_step {
	STEP_WAIT,      /* nothing, until somebody says something */
	STEP_NEXT,      /* what there is to do is found out */
	STEP_FORM,      /* updates are taken into the layers */
	STEP_PLAN,      /* calls are looked for */
	STEP_NOTE,      /* what the executor did is noted */
	STEP_LOSE,      /* what it may have done is marked as unknown */
	STEP_TAKE_BACK, /* the batch comes out of the layers */
	STEP_FORGET,    /* how it would, since it stands */
	STEP_REFUSE,    /* stuck: what waits is refused */
};

struct vm {
	char *name;
	struct policy *policy;
	struct vm_limits limits;
	const struct vm_ops *ops;
	void *context;
	enum vm_state state;
	bool is_frozen;

	enum vm_step step;
	bool is_running;    /* steps are being made */
	bool is_giving_way; /* none is, until vm_turn() */
	uint64_t looked_us; /* at the clock */
	uint64_t turn_us;   /* used since vm_turn() */

	struct vm_update_queue waiting; /* of the first, elements may be in the batch */
	size_t n_waiting;
	struct vm_update_queue batch; /* whose elements, the last that count, are in the layers */
	struct vm_update_queue ended; /* to be answered, in this order, when they may be */

	struct vm_part
		*parts; /* of the batch, in the order of the updates; kept for the next one */
	size_t n_parts;
	size_t parts_capacity;
	uint64_t n_batch_elements;
	uint64_t n_batch_pages; /* of these elements, as they were asked for */
	uint64_t n_batch_bytes; /* of its record, at most */
	uint64_t batch_limit;   /* elements; small while looking for one that KVM refuses */
	uint64_t batch_started_us;
	struct { /* of the update whose elements are being taken: the first that waits */
		bool is_open;
		uint32_t first;   /* element of its part */
		uint64_t longest; /* elements taken together */
		struct kvmattr_range range;
		uint32_t n; /* elements that the range is of; 0: none are on their way */
		struct policy_progress progress;
	} part;
	struct policy_undo_log *undo; /* what the batch changed in the policy */
	struct page_ranges touched;   /* and which pages */

	uint64_t room; /* bytes of memory that it may take before it asks again */

	struct plan plan;
	struct page_ranges *planned; /* the pages it is for: touched or unknown */
	uint64_t pages_per_call;     /* at most */
	bool is_begun;               /* the executor was told of it */
	size_t n_calls_done;
	struct { /* what the executor said of the calls from n_calls_done on: not noted so far */
		size_t n_done;
		int error;
		uint64_t n_partial;
	} outcome;
	size_t n_lost;        /* calls from n_calls_done on that were marked as unknown */
	size_t n_ranges_lost; /* and planned ranges */
	bool is_getting_stuck;
	bool has_answered_late;
	unsigned int n_retries; /* of the call that is next */
	unsigned int n_refused; /* calls of an undo or a repair, gone on behind */
	bool is_backing_off;    /* the timer is for a retry, not for the executor's deadline */
	int refusal;            /* the errno that KVM refused the batch under way with */
	uint64_t refused_gfn;
	int journal_error; /* the errno that the journal refused it with, or 0 */

	struct page_ranges unknown; /* pages of which some may not be as they are to be */
	bool is_degraded;
	bool has_tried_repair; /* since the last batch */
	unsigned int repair_ms;
	uint64_t repair_pages; /* of one call of the next repair */

	struct { /* vm_verify()'s */
		bool is_under_way;
		bool is_behind_batch; /* had its turn; now a batch, if one waits */
		uint64_t gfn;         /* RAM from here on is still to be told */
		uint64_t end;         /* behind the pages that were chosen */
		uint64_t n_at_once;   /* pages */
		uint64_t n_pages;     /* that were told */
		uint64_t n_calls;
	} verification;

	uint64_t commit;
	uint64_t recorded; /* the number to be durable before what is in force may be answered */
	uint64_t durable;
	struct vm_statistics statistics;
};

/* An update without elements has one. */
uint32_t vm_update_n_elements(const struct vm_update *update);

/* ---- vm.c ------------------------------------------------------------------------------------ */

/* Steps are made until there is nothing to do, or the VM's turn is over. */
void vm_run(struct vm *vm);
/* There may be something to do: if the VM is idle, or stuck, it sees to it. */
void vm_wake(struct vm *vm);
/* Nothing is under way, in KVM or in the layers: what comes next is found out. */
void vm_become_idle(struct vm *vm);
/* KVM may enforce something else than the policy says on some page, or does not any more. */
void vm_set_degraded(struct vm *vm, bool is_degraded);
/* So many pages may be looked at one by one in a step, */
uint64_t vm_pages_per_step(const struct vm *vm);
/* or so much be done of what takes about as long as 32 pages: changes, calls, updates. */
size_t vm_things_per_step(const struct vm *vm);

/* ---- vm-batch.c ------------------------------------------------------------------------------ */

/* A new batch, of nothing so far. */
void vm_batch_begin(struct vm *vm);
/*
 * A step: takes some of what waits into the layers, in order.  Returns whether that is as far as
 * one batch goes: at least one part.
 */
__attribute__((warn_unused_result)) bool vm_batch_form(struct vm *vm);
/*
 * Writes the batch down, if it is not, and whether it is in force.  Returns whether the journal
 * took it; if not, its errno is in vm->journal_error.
 */
__attribute__((warn_unused_result)) bool vm_batch_record(struct vm *vm, bool is_in_force);
/* Everything in the batch is in force: it stands, and its updates end. */
void vm_batch_commit(struct vm *vm);
/*
 * A step: takes some of it back.  Returns whether that is all: then its updates wait again, in
 * their order, without the elements it held.
 */
__attribute__((warn_unused_result)) bool vm_batch_take_back(struct vm *vm);
/* Its updates wait again, whatever is in the layers. */
void vm_batch_requeue(struct vm *vm);
/* It was taken back because of the journal: its updates are refused. */
void vm_batch_fail(struct vm *vm);

/* ---- vm-plan.c ------------------------------------------------------------------------------- */

/* A plan for these pages is to be made: the VM's state says what it is for. */
void vm_plan_begin(struct vm *vm, struct page_ranges *pages, uint64_t pages_per_call, bool is_anew);
/* Steps of a plan. */
void vm_plan_look(struct vm *vm);
void vm_plan_note(struct vm *vm);
void vm_plan_lose(struct vm *vm);
/* The batch that it was for is out of the layers. */
void vm_plan_taken_back(struct vm *vm);
/* The executor is told what is left of this part of it. */
void vm_plan_execute(struct vm *vm);
/* The executor does not answer in time. */
void vm_plan_get_stuck(struct vm *vm);
/* A step, as long as it does not: refuses some of what waits. */
void vm_plan_refuse(struct vm *vm);

/* ---- vm-answer.c ----------------------------------------------------------------------------- */

/* The update ends, as its status and text say; answered when that number is durable. */
void vm_end_update(struct vm *vm, struct vm_update *update, uint64_t answer_behind);
/* Nothing of the update is in the layers but what is in force. */
void vm_refuse(struct vm *vm, struct vm_update *update, enum kvmattr_status status,
	       const char *text);
/* So for the first n that wait. */
void vm_refuse_waiting(struct vm *vm, size_t n, enum kvmattr_status status, const char *text);
/* Is there one that has ended, and may be answered because what it says is durable? */
bool vm_can_answer(const struct vm *vm);
/* A step: answers some, in their order. */
void vm_answer_some(struct vm *vm);
/* The VM goes: answers all that was submitted. */
void vm_answer_the_rest(struct vm *vm, const char *text);

/* ---- Other rooms ----------------------------------------------------------------------------- */

/*
 * Whether the update's next element, whose range is filled in, may take what it needs.  If not,
 * text says so, for the peer.
 */
__attribute__((warn_unused_result)) bool vm_may_grow(struct vm *vm, const struct vm_update *update,
						     char *text, size_t size);
/* Nothing is under way: what a long batch needed is not kept. */
void vm_trim(struct vm *vm);

/*
 * Chooses the next pages that are to be verified: vm->touched.  Returns false if there are none
 * left.
 */
__attribute__((warn_unused_result)) bool vm_verification_choose(struct vm *vm);
/* The plan for them is made.  Returns whether it is long, and fewer pages are to be chosen. */
__attribute__((warn_unused_result)) bool vm_verification_is_long(struct vm *vm);
/* The plan's calls from vm->n_calls_done on, n of them, were made. */
void vm_verification_count(struct vm *vm, size_t n);
/* If one is under way, that is it. */
void vm_verification_end(struct vm *vm, enum kvmattr_status status, const char *text);

/* The next pages from *gfn on that are RAM, up to *ret_end; false if there are none below limit. */
bool vm_find_ram(const struct policy *policy, uint64_t *gfn, uint64_t limit, uint64_t *ret_end);

#endif
