/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What updates do to the layers: protect pages, enable a layer, reset one, reset all.
 */
#include "daemon/allocate.h"
#include "fold.h"
#include "request.h"
#include "undo-log.h"

#include <inttypes.h>

static enum kvmattr_status check_layer(const struct policy_request *request)
{
	unsigned int layer = request->element->layer;

	if (layer < 1 || layer >= KVMATTR_N_VTLS)
		return request_refuse(request, KVMATTR_INVALID_PARAMETER,
				      "layer %u is not one: VTLs 1 to 15 impose", layer);
	if (!request->actor->is_owner && request->actor->vtl < layer)
		return request_refuse(request, KVMATTR_ACCESS_DENIED,
				      "VTL %u may not change layer %u, which is above it",
				      request->actor->vtl, layer);
	return KVMATTR_OK;
}

uint8_t policy_normal_protection(uint8_t protection, bool mbec)
{
	if (mbec)
		return protection;
	return protection & KVMATTR_KERNEL_EXECUTE ? protection | KVMATTR_USER_EXECUTE
						   : protection & (uint8_t)~KVMATTR_USER_EXECUTE;
}

/*
 * Which protections there are (TLFS, HvCallModifyVtlProtectionMask): none, R, RX, RW, RWX.  What is
 * asked for becomes the request's.
 */
static enum kvmattr_status check_protection(struct policy_request *request, bool mbec)
{
	uint8_t protection = request->element->value;

	if (protection & ~KVMATTR_PROTECTION)
		return request_refuse(request, KVMATTR_INVALID_PARAMETER,
				      "protection 0x%x has unknown bits", protection);
	protection = policy_normal_protection(protection, mbec);
	if (protection & ~KVMATTR_READ && !(protection & KVMATTR_READ))
		return request_refuse(request, KVMATTR_INVALID_PARAMETER,
				      "protection %s: write and execute come with read only",
				      kvmattr_protection_name(protection));
	if ((protection & KVMATTR_EXECUTE) == KVMATTR_KERNEL_EXECUTE)
		return request_refuse(request, KVMATTR_INVALID_PARAMETER,
				      "protection %s: kernel execute comes with user execute",
				      kvmattr_protection_name(protection));
	if ((protection & KVMATTR_EXECUTE) == KVMATTR_USER_EXECUTE)
		return request_refuse(request, KVMATTR_UNSUPPORTED,
				      "protection %s: no KVM tells user from kernel execute",
				      kvmattr_protection_name(protection));
	request->protection = protection;
	return KVMATTR_OK;
}

/*
 * Can the restricted VTLs' views be told the protection, for shared pages and, if there are any,
 * for private ones?  What can be said for each of several layers can be said for their
 * intersection, too: the sets of protections that the dialects have are closed under it.
 */
static enum kvmattr_status check_expressible(const struct policy_request *request, bool has_private)
{
	const struct policy *policy = request->policy;
	uint8_t protection = request->protection;

	for (unsigned int i = 0; i < policy->n_views; i++) {
		const struct view *view = &policy->views[i];

		if (!(request->restricted >> view->vtl & 1))
			continue;
		if (!dialect_can_express(&view->dialect, protection))
			return request_refuse_inexpressible(request, view, protection);
		if (has_private &&
		    !dialect_can_express(&view->dialect, protection | KVMATTR_PRIVATE))
			return request_refuse_inexpressible(request, view,
							    protection | KVMATTR_PRIVATE);
	}
	return KVMATTR_OK;
}

static uint16_t vtls_with_views_below(const struct policy *policy, unsigned int layer)
{
	uint16_t set = 0;

	for (unsigned int t = 0; t < layer; t++)
		if (policy->view_of_vtl[t] >= 0)
			set |= (uint16_t)(1u << t);
	return set;
}

static enum kvmattr_status resolve_restricted(struct policy_request *request)
{
	unsigned int layer = request->element->layer, set = request->element->restricted;
	uint16_t with_views = vtls_with_views_below(request->policy, layer);

	if (set == KVMATTR_ALL_LOWER)
		set = with_views;
	if (!set || set >> layer)
		return request_refuse(
			request, KVMATTR_INVALID_PARAMETER,
			"restricted VTLs 0x%x: a layer restricts VTLs below it, here those below %u",
			set, layer);
	if (set & ~with_views)
		return request_refuse(
			request, KVMATTR_INVALID_VTL_STATE,
			"restricted VTLs 0x%x: the VM has views only for 0x%x of those below VTL %u",
			set, with_views, layer);
	request->restricted = (uint16_t)set;
	return KVMATTR_OK;
}

static struct attribute_map *layer_map(struct layer *layer, unsigned int vtl)
{
	if (!layer->restricted[vtl]) {
		layer->restricted[vtl] = allocate_one(struct attribute_map);
		attribute_map_init(layer->restricted[vtl], 0);
	}
	return layer->restricted[vtl];
}

/* ---- Protecting pages ----------------------------------------------------------------------- */

static enum kvmattr_status protect_check(struct policy_request *request)
{
	const struct layer *layer;
	enum kvmattr_status status = check_layer(request);

	if (status)
		return status;
	layer = &request->policy->layers[request->element->layer];
	if (!layer->enabled)
		return request_refuse(request, KVMATTR_INVALID_VTL_STATE, "layer %u is not enabled",
				      request->element->layer);
	status = check_protection(request, layer->mbec);
	return status ? status : resolve_restricted(request);
}

static enum kvmattr_status protect_check_pages(const struct policy_request *request,
					       struct kvmattr_range range)
{
	const struct policy *policy = request->policy;
	enum kvmattr_status status = request_check_changeable(request, range);
	uint64_t gfn;

	if (status)
		return status;
	return check_expressible(request, policy->n_private_pages &&
						  request_find_page(&policy->pages, range,
								    PAGE_IS_PRIVATE, 0, &gfn));
}

static void protect_begin(struct policy_request *request)
{
	struct kvmattr_range range = request->element->range;

	/* Even where nothing changes: KVM may not hold yet what stands here, after a refusal. */
	page_ranges_add(request->touched, range.gfn, range.n_pages);
}

static void protect_change_pages(struct policy_request *request, struct kvmattr_range range)
{
	struct layer *layer = &request->policy->layers[request->element->layer];

	for (unsigned int t = 0; request->restricted >> t; t++)
		if (request->restricted >> t & 1)
			request_change_pages(request, layer_map(layer, t), range, 0,
					     LAYER_HAS_ENTRY | request->protection);
}

const struct request_kind request_protect = {
	.check = protect_check,
	.check_pages = protect_check_pages,
	.begin = protect_begin,
	.change_pages = protect_change_pages,
};

/* ---- Enabling a layer ----------------------------------------------------------------------- */

static enum kvmattr_status refuse_locked(const struct policy_request *request, uint64_t gfn)
{
	return request_refuse(request, KVMATTR_OPERATION_DENIED,
			      "GFN 0x%" PRIx64 " is locked by the VM's owner, and layer %u would "
			      "change it",
			      gfn, request->element->layer);
}

static enum kvmattr_status enable_check(struct policy_request *request)
{
	const struct policy_element *element = request->element;
	enum kvmattr_status status = check_layer(request);

	if (status)
		return status;
	if (request->policy->layers[element->layer].enabled)
		return request_refuse(
			request, KVMATTR_INVALID_VTL_STATE,
			"layer %u is enabled already; its default holds until it is reset",
			element->layer);
	status = check_protection(request, element->mbec);
	if (status)
		return status;
	request->restricted = vtls_with_views_below(request->policy, element->layer);
	return check_expressible(request, request->policy->n_private_pages);
}

static enum kvmattr_status enable_check_pages(const struct policy_request *request,
					      struct kvmattr_range range)
{
	uint64_t gfn;

	if (request->protection != KVMATTR_RWX &&
	    request_find_page(&request->policy->pages, range, PAGE_IS_LOCKED, 0, &gfn))
		return refuse_locked(request, gfn);
	return KVMATTR_OK;
}

static void touch_everything(struct policy_request *request)
{
	page_ranges_add(request->touched, 0, KVMATTR_GFN_LIMIT);
}

static void enable_begin(struct policy_request *request)
{
	struct layer *layer = &request->policy->layers[request->element->layer];

	undo_log_add_layer(request->log, layer);
	layer->enabled = true;
	layer->mbec = request->element->mbec;
	layer->default_protection = request->protection;
	if (request->protection != KVMATTR_RWX)
		touch_everything(request);
}

const struct request_kind request_enable_layer = {
	.check = enable_check,
	.check_pages = enable_check_pages,
	.begin = enable_begin,
};

/* ---- Resetting ------------------------------------------------------------------------------ */

/* The first locked page of a range that the layer restricts for VTL t. */
static bool find_locked(const struct policy *policy, unsigned int layer, unsigned int t,
			struct kvmattr_range range, uint64_t *ret_gfn)
{
	uint64_t gfn = range.gfn, limit = range.gfn + range.n_pages;

	for (struct fold_span imposed; gfn < limit; gfn = imposed.end) {
		struct attribute_span pages;
		size_t n;

		fold_layer(policy, layer, t, gfn, limit, &imposed);
		pages = attribute_map_span(&policy->pages, gfn, imposed.end);
		n = imposed.is_uniform && !pages.bytes ? 1 : imposed.end - gfn;
		if (!pages.bytes && !(pages.value & PAGE_IS_LOCKED))
			continue;
		for (size_t i = 0; i < n; i++) {
			uint8_t page = pages.bytes ? pages.bytes[i] : pages.value;
			uint8_t protection = imposed.is_uniform ? imposed.value : imposed.bytes[i];

			if (page & PAGE_IS_LOCKED && protection != KVMATTR_RWX) {
				*ret_gfn = gfn + i;
				return true;
			}
		}
	}
	return false;
}

static enum kvmattr_status reset_layer_check(struct policy_request *request)
{
	enum kvmattr_status status = check_layer(request);

	if (status)
		return status;
	if (!request->policy->layers[request->element->layer].enabled)
		return request_refuse(request, KVMATTR_INVALID_VTL_STATE, "layer %u is not enabled",
				      request->element->layer);
	return KVMATTR_OK;
}

static enum kvmattr_status reset_layer_check_pages(const struct policy_request *request,
						   struct kvmattr_range range)
{
	const struct policy *policy = request->policy;
	unsigned int layer = request->element->layer;
	uint64_t gfn;

	for (unsigned int t = 0; t < layer; t++)
		if (policy->view_of_vtl[t] >= 0 && find_locked(policy, layer, t, range, &gfn))
			return refuse_locked(request, gfn);
	return KVMATTR_OK;
}

static void empty_map(struct policy_request *request, struct attribute_map *map)
{
	undo_log_add_map(request->log, map, *map);
	attribute_map_init(map, 0);
}

static void clear_layer(struct policy_request *request, struct layer *layer)
{
	undo_log_add_layer(request->log, layer);
	layer->enabled = false;
	layer->mbec = false;
	layer->default_protection = KVMATTR_NONE;
	for (unsigned int t = 0; t < KVMATTR_N_VTLS; t++)
		if (layer->restricted[t])
			empty_map(request, layer->restricted[t]);
}

static void reset_layer_begin(struct policy_request *request)
{
	clear_layer(request, &request->policy->layers[request->element->layer]);
	touch_everything(request);
}

const struct request_kind request_reset_layer = {
	.check = reset_layer_check,
	.check_pages = reset_layer_check_pages,
	.begin = reset_layer_begin,
};

/* No layers, no locks, and every page as private as it was when it became RAM. */
static void reset_vm_begin(struct policy_request *request)
{
	struct policy *policy = request->policy;

	for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++)
		if (policy->layers[k].enabled)
			clear_layer(request, &policy->layers[k]);
	empty_map(request, &policy->lock_counts);
	undo_log_add_counts(request->log, policy);
	policy->n_private_pages = 0;
	touch_everything(request);
}

static uint8_t page_from_the_start(uint8_t page)
{
	page &= (uint8_t) ~(PAGE_IS_LOCKED | PAGE_IS_PRIVATE);
	return page & PAGE_WAS_PRIVATE ? page | PAGE_IS_PRIVATE : page;
}

static void reset_vm_change_pages(struct policy_request *request, struct kvmattr_range range)
{
	struct policy *policy = request->policy;
	uint64_t gfn = range.gfn, limit = range.gfn + range.n_pages;

	for (struct attribute_span span; gfn < limit; gfn = span.end) {
		uint8_t values[ATTRIBUTE_MAP_LEAF_PAGES];
		uint64_t n;

		span = attribute_map_span(&policy->pages, gfn, limit);
		n = span.end - gfn;
		for (size_t i = 0; i < (span.bytes ? n : 1); i++) {
			values[i] = page_from_the_start(span.bytes ? span.bytes[i] : span.value);
			policy->n_private_pages +=
				values[i] & PAGE_IS_PRIVATE ? span.bytes ? 1 : n : 0;
		}
		if (span.bytes)
			request_change_bytes(request, &policy->pages, gfn, n, values);
		else
			request_change_pages(request, &policy->pages,
					     (struct kvmattr_range){ gfn, n }, 0, values[0]);
	}
}

const struct request_kind request_reset_vm = {
	.begin = reset_vm_begin,
	.change_pages = reset_vm_change_pages,
};
