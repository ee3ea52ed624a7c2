/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the rooms of a VM share: vm.c, which moves it; vm-batch.c, which takes updates into the
 * layers and back; vm-answer.c, which ends them; vm-verify.c, which tells KVM what it was told;
 * vm-inspect.c, which only looks.
 */
#ifndef KVMATTRD_VM_PRIVATE_H
#define KVMATTRD_VM_PRIVATE_H

#include "vm.h"

struct vm {
	char *name;
	struct policy *policy;
	struct vm_limits limits;
	const struct vm_ops *ops;
	void *context;
	enum vm_state state;
	bool is_frozen;

	struct vm_update_queue waiting; /* of the first, elements may be in the batch */
	size_t n_waiting;
	struct vm_update_queue batch; /* whose elements, the last that count, are in the layers */
	struct vm_update_queue ended; /* to be answered, in this order, when they may be */
	bool is_answering;

	struct vm_part
		*parts; /* of the batch, in the order of the updates; kept for the next one */
	size_t n_parts;
	size_t parts_capacity;
	uint64_t n_batch_elements;
	uint64_t n_batch_pages; /* of these elements, as they were asked for */
	uint64_t n_batch_bytes; /* of its record, at most */
	uint64_t batch_limit;   /* elements; small while looking for one that KVM refuses */
	uint64_t batch_started_us;
	struct policy_undo_log *undo; /* what the batch changed in the policy */
	struct page_ranges touched;   /* and which pages */

	uint64_t turn_started_us;
	uint64_t turn_used_us; /* by batches that needed no call */
	bool is_giving_way;    /* idle, but the timer has to come first */
	uint64_t n_applied;    /* elements, ever */
	bool are_maps_full;    /* when last measured */

	struct plan plan;
	struct page_ranges *planned; /* the pages it is for: touched or unknown */
	uint64_t pages_per_call;     /* at most */
	size_t n_calls_done;
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

/* Takes what waits into the layers, in order, as far as one batch goes: at least one part. */
void vm_batch_form(struct vm *vm);
/* Takes it all back: its updates wait again, in their order, without the elements it held. */
void vm_batch_take_back(struct vm *vm);
/* An update's elements in the layers are in force from now on. */
void vm_batch_stand(struct vm *vm, struct vm_update *update);

/* The update ends, as its status and text say; answered when that number is durable. */
void vm_end_update(struct vm *vm, struct vm_update *update, uint64_t answer_behind);
/* Nothing of the update is in the layers but what is in force. */
void vm_refuse(struct vm *vm, struct vm_update *update, enum kvmattr_status status,
	       const char *text);
/* So for the first n that wait, which are answered. */
void vm_refuse_waiting(struct vm *vm, size_t n, enum kvmattr_status status, const char *text);
/* Answers what has ended, in that order, as far as what it says is durable. */
void vm_answer_ended(struct vm *vm, uint64_t now_us);
/* The VM goes: answers all that was submitted. */
void vm_answer_the_rest(struct vm *vm, const char *text);

/* Whatever is to be done next is, if nothing is under way. */
void vm_go_on(struct vm *vm);
/*
 * Makes the plan for the next pages that are to be verified: vm->touched.  Returns false if there are
 * none left.
 */
__attribute__((warn_unused_result)) bool vm_verification_plan(struct vm *vm);
/* The plan's calls from vm->n_calls_done on, n of them, were made. */
void vm_verification_count(struct vm *vm, size_t n);
/* If one is under way, that is it. */
void vm_verification_end(struct vm *vm, enum kvmattr_status status, const char *text);

/* The next pages from *gfn on that are RAM, up to *ret_end; false if there are none below limit. */
bool vm_find_ram(const struct policy *policy, uint64_t *gfn, uint64_t limit, uint64_t *ret_end);

#endif
