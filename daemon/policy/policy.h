/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one VM's guest memory is to be: RAM, visibility, locks, and the layers of every VTL; and,
 * beside it, what each view's KVM was last told.
 *
 * A layer is what VTL k imposes on the VTLs below it: for each of them a map of explicit
 * protections, and one default for the rest of RAM.  Layers never touch each other; what a view
 * gets is their intersection (fold.h), and what KVM has to be told is the difference between
 * that and what it was told (plan.h).
 *
 * Every change goes through policy_apply(), one element of an update at a time, and is written
 * down so that policy_undo() can take it back.  What may take long can be done in steps, between
 * which the policy is only looked at.  Pure: no system call, no clock, no other thread.
 */
#ifndef KVMATTRD_POLICY_H
#define KVMATTRD_POLICY_H

#include "attribute-map.h"
#include "dialect.h"
#include "page-ranges.h"
#include "protocol/kvmattr-types.h"

#include <stdbool.h>

/* A byte of policy.pages: what a page is, whoever looks at it. */
#define PAGE_IS_RAM      0x01u
#define PAGE_IS_LOCKED   0x02u
#define PAGE_WAS_PRIVATE 0x04u           /* from the start: what a reset of the VM goes back to */
#define PAGE_IS_PRIVATE  KVMATTR_PRIVATE /* the same bit as in effective attributes */

/* A byte of a layer's map: an explicit protection, or 0 where the layer's default holds. */
#define LAYER_HAS_ENTRY 0x80u

/* A byte of view.applied: effective attributes, or this where it is not known what KVM holds. */
#define APPLIED_UNKNOWN 0x80u

struct layer {
	bool enabled;
	bool mbec;
	uint8_t default_protection;
	/* For restricted VTL t; NULL until the first entry. */
	struct attribute_map *restricted[KVMATTR_N_VTLS];
};

struct view {
	uint8_t vtl;
	struct dialect dialect;
	struct attribute_map applied; /* what KVM was last told, page by page */
};

struct policy {
	struct attribute_map pages;
	struct attribute_map lock_counts;
	struct layer layers[KVMATTR_N_VTLS]; /* [0] imposes nothing and stays disabled */
	struct view *views;
	unsigned int n_views;
	int8_t view_of_vtl[KVMATTR_N_VTLS]; /* place in views, or -1 */
	uint64_t n_ram_pages;
	uint64_t n_private_pages;
	uint64_t ram_version; /* from 1 on; another one whenever other pages may be RAM */
};

/* Who asks. */
struct policy_actor {
	bool is_owner;
	uint8_t vtl;      /* of an agent */
	uint32_t rights;  /* of an agent: WIRE_RIGHT_ */
	bool is_operator; /* who has the rights of the owner, and is somebody else */
};

/* One element of an update: a range of pages, or nothing for the kinds that have no elements. */
struct policy_element {
	enum kvmattr_update_kind kind;
	uint8_t layer;
	uint8_t value; /* a protection, or 1 for private */
	uint16_t restricted;
	bool mbec;
	struct kvmattr_range range;
};

/* How far an element is that is applied in steps.  A zeroed structure: at its beginning. */
struct policy_progress {
	bool is_checked; /* nothing stands in the way of it */
	bool is_applied;
	uint64_t n_pages; /* of its first that were checked, or then changed */
};

/* What was changed, to be taken back. */
struct policy_undo_log;

struct policy_undo_log *policy_undo_log_new(void);
void policy_undo_log_free(struct policy_undo_log *log);
/* Forgets what is written: it stands. */
void policy_undo_log_clear(struct policy_undo_log *log);
/*
 * The same in steps: about n changes, or leaves of maps that are gone.  Returns whether that is
 * all.
 */
__attribute__((warn_unused_result)) bool policy_undo_log_clear_some(struct policy_undo_log *log,
								    size_t n);
/* How many changes are written: what a batch costs in time and memory, however few its elements. */
size_t policy_undo_log_size(const struct policy_undo_log *log);
/* Bytes of memory that it takes, with the maps that were replaced. */
size_t policy_undo_log_memory(const struct policy_undo_log *log);

/* The views come with their VTL and dialect; VTL 0 is among them (asserted).  Copied. */
struct policy *policy_new(const struct view *views, unsigned int n_views);
void policy_free(struct policy *policy);
/* The same in steps: about n leaves of its maps.  Returns whether it is gone. */
__attribute__((warn_unused_result)) bool policy_free_some(struct policy *policy, size_t n);

/*
 * Checks one element and applies it.  KVMATTR_OK: it is applied, its pages are added to touched
 * and what it changed to log.  Any other status: nothing is changed, and text says why.
 */
__attribute__((warn_unused_result)) enum kvmattr_status policy_apply(
	struct policy *policy, const struct policy_actor *actor,
	const struct policy_element *element, struct policy_undo_log *log,
	struct page_ranges *touched, char *text, size_t text_size);

/*
 * The same in steps, each of which looks at max_pages pages of RAM at most: called again with the
 * same arguments until progress says that it is applied, or it is refused.  All is checked before
 * anything is changed.
 */
__attribute__((warn_unused_result)) enum kvmattr_status policy_apply_some(
	struct policy *policy, const struct policy_actor *actor,
	const struct policy_element *element, struct policy_progress *progress, uint64_t max_pages,
	struct policy_undo_log *log, struct page_ranges *touched, char *text, size_t text_size);

/* Takes back all that log holds, last first, and clears it. */
void policy_undo(struct policy *policy, struct policy_undo_log *log);
/* The same in steps: the last n changes.  Returns whether these were all. */
__attribute__((warn_unused_result)) bool policy_undo_some(struct policy *policy,
							  struct policy_undo_log *log, size_t n);

/* From now on KVM counts as having been told all that it is to be told, on every page. */
void policy_assume_applied(struct policy *policy);
/*
 * From now on it is not known what KVM holds on these pages, in any view.  RAM or not: it may have
 * been told of pages that are RAM no more.  Of pages that never were, it would be told for nothing.
 */
void policy_forget_applied(struct policy *policy, const struct page_ranges *ranges);

/* How many views' KVMs an element may have to be told to. */
unsigned int policy_count_affected_views(const struct policy *policy,
					 const struct policy_element *element);

/* Without mode-based execute control, kernel execute stands for both. */
uint8_t policy_normal_protection(uint8_t protection, bool mbec);

/* Bytes of memory that the maps hold. */
size_t policy_memory(const struct policy *policy);
/*
 * That they may come to hold by updates that name no pages: a view's map has a leaf wherever what
 * it is told has one, and a reset of a layer may uncover what is below.
 */
size_t policy_memory_at_most(const struct policy *policy);

#endif
