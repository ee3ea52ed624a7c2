/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What updates do to pages beside the layers: visibility, locks, what is RAM.
 */
#include "fold.h"
#include "request.h"
#include "undo-log.h"

#include <inttypes.h>

/* ---- Visibility ----------------------------------------------------------------------------- */

/* May the pages of the range that are not private become so, under what the layers impose? */
static enum kvmattr_status check_becoming_private(const struct policy_request *request,
						  struct kvmattr_range range)
{
	const struct policy *policy = request->policy;

	for (unsigned int v = 0; v < policy->n_views; v++) {
		const struct view *view = &policy->views[v];
		uint64_t gfn = range.gfn, limit = range.gfn + range.n_pages;
		struct fold_span span;

		for (; gfn < limit; gfn = span.end) {
			fold_effective(policy, view, gfn, limit, &span);
			for (size_t i = 0; i < (span.is_uniform ? 1 : span.end - gfn); i++) {
				uint8_t attributes = KVMATTR_PRIVATE |
						     (span.is_uniform ? span.value : span.bytes[i]);

				if (!dialect_can_express(&view->dialect, attributes))
					return request_refuse_inexpressible(request, view,
									    attributes);
			}
		}
	}
	return KVMATTR_OK;
}

/* VTL 0 has to be able to read and write what it is to share with the host. */
static enum kvmattr_status check_becoming_shared(const struct policy_request *request,
						 struct kvmattr_range range)
{
	const struct policy *policy = request->policy;
	const struct view *view = &policy->views[policy->view_of_vtl[0]];
	uint64_t gfn = range.gfn, limit = range.gfn + range.n_pages;
	struct fold_span span;

	for (; gfn < limit; gfn = span.end) {
		fold_effective(policy, view, gfn, limit, &span);
		for (size_t i = 0; i < (span.is_uniform ? 1 : span.end - gfn); i++) {
			uint8_t attributes = span.is_uniform ? span.value : span.bytes[i];

			if (attributes & KVMATTR_PRIVATE && (attributes & KVMATTR_RW) != KVMATTR_RW)
				return request_refuse(request, KVMATTR_ACCESS_DENIED,
						      "GFN 0x%" PRIx64
						      " is %s for VTL 0: private memory needs "
						      "read and write there to become shared",
						      gfn + i, kvmattr_protection_name(attributes));
		}
	}
	return KVMATTR_OK;
}

static enum kvmattr_status visibility_check(struct policy_request *request)
{
	if (!request->actor->is_owner && !(request->actor->rights & WIRE_RIGHT_VISIBILITY))
		return request_refuse(request, KVMATTR_ACCESS_DENIED,
				      "this agent of VTL %u was not granted visibility changes",
				      request->actor->vtl);
	return KVMATTR_OK;
}

static enum kvmattr_status visibility_check_pages(const struct policy_request *request,
						  struct kvmattr_range range)
{
	enum kvmattr_status status = request_check_changeable(request, range);

	if (status)
		return status;
	return request->element->value ? check_becoming_private(request, range)
				       : check_becoming_shared(request, range);
}

/* The counts will change, and these pages are to be looked at. */
static void begin(struct policy_request *request)
{
	struct kvmattr_range range = request->element->range;

	undo_log_add_counts(request->log, request->policy);
	page_ranges_add(request->touched, range.gfn, range.n_pages);
}

static void visibility_change_pages(struct policy_request *request, struct kvmattr_range range)
{
	struct policy *policy = request->policy;
	bool private = request->element->value;
	uint64_t n_changed =
		request_change_pages(request, &policy->pages, range, (uint8_t)~PAGE_IS_PRIVATE,
				     private ? PAGE_IS_PRIVATE : 0);

	policy->n_private_pages += private ? n_changed : -n_changed;
}

const struct request_kind request_set_visibility = {
	.check = visibility_check,
	.check_pages = visibility_check_pages,
	.begin = begin,
	.change_pages = visibility_change_pages,
};

/* ---- Locks ---------------------------------------------------------------------------------- */

static enum kvmattr_status lock_check_pages(const struct policy_request *request,
					    struct kvmattr_range range)
{
	enum kvmattr_status status = request_check_ram(request, range);
	uint64_t gfn = range.gfn, limit = range.gfn + range.n_pages;

	if (status)
		return status;
	for (struct attribute_span span; gfn < limit; gfn = span.end) {
		span = attribute_map_span(&request->policy->lock_counts, gfn, limit);
		for (size_t i = 0; i < (span.bytes ? span.end - gfn : 1); i++)
			if ((span.bytes ? span.bytes[i] : span.value) == UINT8_MAX)
				return request_refuse(request, KVMATTR_LIMIT_EXCEEDED,
						      "GFN 0x%" PRIx64 " is locked 255 times",
						      gfn + i);
	}
	return KVMATTR_OK;
}

static void lock_change_pages(struct policy_request *request, struct kvmattr_range range)
{
	struct policy *policy = request->policy;

	request_change_pages(request, &policy->lock_counts, range, UINT8_MAX, 1);
	request_change_pages(request, &policy->pages, range, (uint8_t)~PAGE_IS_LOCKED,
			     PAGE_IS_LOCKED);
}

const struct request_kind request_lock = {
	.check_pages = lock_check_pages,
	.change_pages = lock_change_pages,
};

static enum kvmattr_status unlock_check_pages(const struct policy_request *request,
					      struct kvmattr_range range)
{
	uint64_t gfn;

	if (request_find_page(&request->policy->pages, range, PAGE_IS_LOCKED, PAGE_IS_LOCKED, &gfn))
		return request_refuse(request, KVMATTR_INVALID_PARAMETER,
				      "GFN 0x%" PRIx64 " is not locked", gfn);
	return KVMATTR_OK;
}

/* Where the last lock went, the pages can be changed again. */
static void unlock_uncounted(struct policy_request *request, struct kvmattr_range range)
{
	struct policy *policy = request->policy;
	uint64_t gfn = range.gfn, limit = range.gfn + range.n_pages;

	for (struct attribute_span counts; gfn < limit; gfn = counts.end) {
		uint8_t values[ATTRIBUTE_MAP_LEAF_PAGES];

		counts = attribute_map_span(&policy->lock_counts, gfn, limit);
		if (!counts.bytes && !counts.value)
			request_change_pages(request, &policy->pages,
					     (struct kvmattr_range){ gfn, counts.end - gfn },
					     (uint8_t)~PAGE_IS_LOCKED, 0);
		if (!counts.bytes)
			continue;
		for (size_t i = 0; i < counts.end - gfn; i++) {
			values[i] = attribute_map_get(&policy->pages, gfn + i);
			if (!counts.bytes[i])
				values[i] &= (uint8_t)~PAGE_IS_LOCKED;
		}
		request_change_bytes(request, &policy->pages, gfn, counts.end - gfn, values);
	}
}

static void unlock_change_pages(struct policy_request *request, struct kvmattr_range range)
{
	request_change_pages(request, &request->policy->lock_counts, range, UINT8_MAX, (uint8_t)-1);
	unlock_uncounted(request, range);
}

const struct request_kind request_unlock = {
	.check_pages = unlock_check_pages,
	.change_pages = unlock_change_pages,
};

/* ---- RAM ------------------------------------------------------------------------------------ */

static enum kvmattr_status add_ram_check(struct policy_request *request)
{
	const struct policy *policy = request->policy;

	for (unsigned int v = 0; v < policy->n_views; v++) {
		const struct view *view = &policy->views[v];
		uint8_t attributes = KVMATTR_RWX | (request->element->value ? KVMATTR_PRIVATE : 0);

		for (unsigned int k = view->vtl + 1u; k < KVMATTR_N_VTLS; k++)
			if (policy->layers[k].enabled)
				attributes &=
					policy->layers[k].default_protection | KVMATTR_PRIVATE;
		if (!dialect_can_express(&view->dialect, attributes))
			return request_refuse_inexpressible(request, view, attributes);
	}
	return KVMATTR_OK;
}

static enum kvmattr_status add_ram_check_pages(const struct policy_request *request,
					       struct kvmattr_range range)
{
	uint64_t gfn;

	if (request_find_page(&request->policy->pages, range, PAGE_IS_RAM, 0, &gfn))
		return request_refuse(request, KVMATTR_INVALID_PARAMETER,
				      "GFN 0x%" PRIx64 " is RAM already", gfn);
	return KVMATTR_OK;
}

static void add_ram_change_pages(struct policy_request *request, struct kvmattr_range range)
{
	struct policy *policy = request->policy;
	bool private = request->element->value;

	request_change_pages(request, &policy->pages, range, 0,
			     PAGE_IS_RAM | (private ? PAGE_IS_PRIVATE | PAGE_WAS_PRIVATE : 0));
	policy->n_ram_pages += range.n_pages;
	policy->ram_version++;
	policy->n_private_pages += private ? range.n_pages : 0;
	/* What was set there before we were told of it cannot be asked. */
	for (unsigned int v = 0; v < policy->n_views; v++)
		attribute_map_set_range(&policy->views[v].applied, range.gfn, range.n_pages,
					APPLIED_UNKNOWN);
}

const struct request_kind request_add_ram = {
	.check = add_ram_check,
	.check_pages = add_ram_check_pages,
	.begin = begin,
	.change_pages = add_ram_change_pages,
};

static void remove_ram_change_pages(struct policy_request *request, struct kvmattr_range range)
{
	struct policy *policy = request->policy;
	uint64_t gfn = range.gfn, limit = range.gfn + range.n_pages;

	for (struct attribute_span span; gfn < limit; gfn = span.end) {
		span = attribute_map_span(&policy->pages, gfn, limit);
		if (!span.bytes)
			policy->n_private_pages -=
				span.value & PAGE_IS_PRIVATE ? span.end - gfn : 0;
		for (size_t i = 0; span.bytes && i < span.end - gfn; i++)
			policy->n_private_pages -= !!(span.bytes[i] & PAGE_IS_PRIVATE);
	}
	policy->n_ram_pages -= range.n_pages;
	policy->ram_version++;
	request_change_pages(request, &policy->pages, range, 0, 0);
	for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++)
		for (unsigned int t = 0; t < k; t++)
			if (policy->layers[k].restricted[t])
				request_change_pages(request, policy->layers[k].restricted[t],
						     range, 0, 0);
}

const struct request_kind request_remove_ram = {
	.check_pages = request_check_changeable,
	.begin = begin,
	.change_pages = remove_ram_change_pages,
};
