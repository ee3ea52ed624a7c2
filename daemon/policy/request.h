/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One element of an update on its way through its checks into the maps: private to the policy.
 *
 * What the kinds of update have in common: saying no, finding the first page that stands in the
 * way, and changing pages so that it can be taken back.  Each kind is a few functions: what is
 * checked and done of its pages, so many at a time, and what is checked and done but once.  Nothing
 * is changed before the last check has passed.
 */
#ifndef KVMATTRD_POLICY_REQUEST_H
#define KVMATTRD_POLICY_REQUEST_H

#include "policy.h"

struct policy_request {
	struct policy *policy;
	const struct policy_actor *actor;
	const struct policy_element *element;
	struct policy_undo_log *log;
	struct page_ranges *touched;
	char *text; /* why not, for people */
	size_t text_size;
	/* Found out by its kind's check(). */
	uint8_t protection;
	uint16_t restricted;
};

/* Writes the text, and returns status. */
__attribute__((format(printf, 3, 4))) enum kvmattr_status request_refuse(
	const struct policy_request *request, enum kvmattr_status status, const char *format, ...);
enum kvmattr_status request_refuse_inexpressible(const struct policy_request *request,
						 const struct view *view, uint8_t attributes);
/* KVMATTR_OK if all these pages are RAM, KVMATTR_INVALID_PARAMETER otherwise. */
enum kvmattr_status request_check_ram(const struct policy_request *request,
				      struct kvmattr_range range);
/* The same, and KVMATTR_OPERATION_DENIED if one is locked. */
enum kvmattr_status request_check_changeable(const struct policy_request *request,
					     struct kvmattr_range range);

/* The first page of a range whose bits of mask are not those of wanted. */
bool request_find_page(const struct attribute_map *map, struct kvmattr_range range, uint8_t mask,
		       uint8_t wanted, uint64_t *ret_gfn);
/*
 * Changes the pages of a range from what they are to (what they are & keep) + add, writes down
 * what they were, and returns the number of those that changed.
 */
uint64_t request_change_pages(struct policy_request *request, struct attribute_map *map,
			      struct kvmattr_range range, uint8_t keep, uint8_t add);

/*
 * Changes each of n pages, all in one leaf, to a value of its own, writes down what they were, and
 * returns the number of those that changed.
 */
uint64_t request_change_bytes(struct policy_request *request, struct attribute_map *map,
			      uint64_t gfn, size_t n, const uint8_t *values);

/*
 * A kind of update.  Its functions are called in this order, those for pages for one stretch of
 * them after the other: of the element's range, or of all there are where it has none.  NULL:
 * nothing to do.
 */
struct request_kind {
	/* What does not hang on single pages.  It is asked again with each step of the element. */
	enum kvmattr_status (*check)(struct policy_request *request);
	enum kvmattr_status (*check_pages)(const struct policy_request *request,
					   struct kvmattr_range range);
	/* All that is to be done once: nothing stands in the way. */
	void (*begin)(struct policy_request *request);
	void (*change_pages)(struct policy_request *request, struct kvmattr_range range);
};
extern const struct request_kind request_protect, request_enable_layer, request_reset_layer,
	request_reset_vm, request_set_visibility, request_lock, request_unlock, request_add_ram,
	request_remove_ram;

#endif
