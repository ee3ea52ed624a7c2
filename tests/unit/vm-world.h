/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The world that a VM's state machine is given in tests: a kernel that is a flat array, an executor
 * that answers when it is told to, a journal (world-journal.h), a clock that stands still, and
 * faults as the test likes.
 *
 * Whatever a test is about, the world checks what always has to hold: one plan at a time, recorded
 * before it is begun, answers in the order of the updates, and none before what it answers is in
 * force and recorded; and of every page, that the kernel holds what the VM believes it to hold, if
 * it believes anything, and nothing else than it held before the batch that is under way or is to
 * hold after it.
 */
#ifndef VM_WORLD_H
#define VM_WORLD_H

#include "daemon/vm.h"
#include "tests/unit/policy-oracle.h"
#include "tests/unit/world-journal.h"

#include <stdbool.h>
#include <stdint.h>

#define WORLD_MAX_UPDATES 10000u

/* What became of an update; all the updates of a world are numbered from 0 on. */
struct world_update {
	bool is_answered;
	enum kvmattr_status status;
	uint32_t n_in_force;
	uint32_t n_elements;
	char text[WIRE_TEXT_SIZE];
	uint64_t commit;
	/* A copy of what was submitted. */
	struct policy_actor actor;
	struct policy_element element;
	struct kvmattr_range *ranges;
	uint8_t form;
};

/* What the kernel does to a call: 0 and nothing, or an errno, after some of its pages. */
struct world;
typedef int (*world_fault)(struct world *world, const struct plan_call *call, uint64_t *ret_n_done);

struct world {
	struct vm *vm;
	struct vm_limits limits;
	bool is_dying; /* nobody hears the VM any more */
	struct world_journal journal;
	struct oracle oracle; /* all that was answered, applied in its order */
	uint8_t kernel[ORACLE_VIEWS][ORACLE_PAGES];
	/* What it held before the batch or the repair under way, is to hold after it, or undone. */
	uint8_t before[ORACLE_VIEWS][ORACLE_PAGES], after[ORACLE_VIEWS][ORACLE_PAGES];
	uint8_t undone[ORACLE_VIEWS][ORACLE_PAGES];

	bool is_spoilt[ORACLE_VIEWS][ORACLE_PAGES]; /* by world_spoil(), and not told since */

	struct plan_call *calls; /* under way */
	size_t n_calls;
	size_t n_calls_at_most; /* taken of a plan at a time; 0: all */
	bool is_executing;

	world_fault fault;
	struct { /* for the faults below */
		unsigned int view;
		uint64_t gfn;
		unsigned int n; /* calls that are let through first, or that fail */
		int error;
	} faulty;
	bool does_more_than_it_says; /* of a call that fails */
	uint64_t random;

	bool is_giving_way;
	unsigned int timer_ms; /* 0: none is set */
	uint64_t now_us;
	uint64_t us_per_look; /* the clock moves by so much when it is looked at */

	struct world_update updates[WORLD_MAX_UPDATES];
	unsigned int n_updates;
	unsigned int n_answered;
	unsigned int n_plans; /* execute() was asked so often */
	unsigned int n_calls_made;
	unsigned int n_faults;
	uint64_t n_retries;
	unsigned int n_settled;
	bool is_still; /* as it said, until world_thaw() */
	unsigned int n_verifying;
	struct vm_verification verification; /* the last one's; without its text */
	unsigned int n_troubles;             /* reports of trouble, and of its end */
	unsigned int n_reliefs;
	char report[WIRE_TEXT_SIZE];
	void (*on_answer)(struct world *world, unsigned int id); /* may be NULL */
	bool is_answering;
};

/* Of views_mix() i; RAM as in the oracle's histories, all layers below 4 enabled with RWX. */
struct world *world_new(unsigned int mix, const struct vm_limits *limits);
/* Everything that is not answered will be, with NO_VM. */
void world_free(struct world *world);
extern const struct vm_limits world_limits;

/* Submits an update; returns its number.  Lists become pages, where pages is true. */
unsigned int world_submit(struct world *world, const struct policy_actor *actor,
			  const struct policy_element *element, const struct kvmattr_range *ranges,
			  uint32_t n_ranges, bool pages);
/* The same update once more, to a VM that was not there when its first elements came into force. */
void world_resubmit(struct world *world, unsigned int id, uint32_t n_in_force);
/* The owner protects n pages from gfn on, each an element, for layer 1. */
unsigned int world_protect(struct world *world, uint8_t protection, uint64_t gfn, uint32_t n);

/* A page is something else, and nobody tells the VM. */
void world_spoil(struct world *world, unsigned int view, uint64_t gfn, uint8_t attributes);
void world_thaw(struct world *world);
/* vm_verify() takes it on. */
void world_verify(struct world *world);

/* The executor carries out what it was told, up to a fault, and answers. */
void world_execute(struct world *world);
/* The same, but nobody hears the answer; to be said later. */
struct world_outcome {
	size_t n_done;
	int error;
	uint64_t n_partial;
};
struct world_outcome world_execute_silently(struct world *world);
void world_say(struct world *world, struct world_outcome outcome);
/* The time that the VM asked for comes. */
void world_fire_timer(struct world *world);
/* The turn that it gave way for. */
void world_turn(struct world *world);
/* Turns, until it has no more to do of itself. */
void world_take_turns(struct world *world);
/*
 * The executor, the timer and the disk, until nothing is under way; the timer only where a test
 * lets it.
 */
void world_settle(struct world *world);

/* A VM ends without a word, and another one is there, which waits for vm_start(). */
void world_end_life(struct world *world);
void world_begin_life(struct world *world, struct policy *policy);
/* The answer is given: by the VM, or from the journal. */
void world_answer(struct world *world, unsigned int id, enum kvmattr_status status,
		  uint32_t n_in_force, const char *text);

/* Faults. */
int world_no_fault(struct world *world, const struct plan_call *call, uint64_t *ret_n_done);
/* After n calls, one fails, half-way. */
int world_fail_once(struct world *world, const struct plan_call *call, uint64_t *ret_n_done);
/* The next n calls fail. */
int world_fail_some(struct world *world, const struct plan_call *call, uint64_t *ret_n_done);
/* Every call that would change the page fails, before that page. */
int world_fail_page(struct world *world, const struct plan_call *call, uint64_t *ret_n_done);
/* Any call that covers the page fails, whatever it would do. */
int world_fail_page_always(struct world *world, const struct plan_call *call, uint64_t *ret_n_done);

/* What a page is for the kernel. */
uint8_t world_kernel(const struct world *world, unsigned int view, uint64_t gfn);
/* Checks: answered so. */
void world_expect(const struct world *world, unsigned int id, enum kvmattr_status status,
		  uint32_t n_in_force);
void world_expect_pending(const struct world *world, unsigned int id);
/* Checks: where the VM says that what it says is in force, it is. */
void world_expect_states(const struct world *world);
/* Nothing is under way, nothing unknown, and the kernel enforces what the oracle says. */
void world_expect_all_in_force(struct world *world);

#endif
