/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What updates do to the layers: protect pages, enable a layer, reset one, reset all.
 */
#include "daemon/allocate.h"
#include "fold.h"
#include "request.h"
#include "undo-log.h"

#include <inttypes.h>

static const struct kvmattr_range everything = { 0, KVMATTR_GFN_LIMIT };

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

/* Which protections there are (TLFS, HvCallModifyVtlProtectionMask): none, R, RX, RW, RWX. */
static enum kvmattr_status check_protection(const struct policy_request *request, bool mbec,
					    uint8_t *ret_protection)
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
	*ret_protection = protection;
	return KVMATTR_OK;
}

/*
 * Can the views in set be told this protection, wherever a range is private or shared?  What can
 * be said for each of several layers can be said for their intersection, too: the sets of
 * protections that the dialects have are closed under it.
 */
static enum kvmattr_status check_expressible(const struct policy_request *request, uint16_t set,
					     struct kvmattr_range range, uint8_t protection)
{
	const struct policy *policy = request->policy;
	uint64_t gfn;
	bool has_private = policy->n_private_pages &&
			   request_find_page(&policy->pages, range, PAGE_IS_PRIVATE, 0, &gfn);

	for (unsigned int i = 0; i < policy->n_views; i++) {
		const struct view *view = &policy->views[i];

		if (!(set >> view->vtl & 1))
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

static enum kvmattr_status resolve_restricted(const struct policy_request *request,
					      uint16_t *ret_set)
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
	*ret_set = (uint16_t)set;
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

enum kvmattr_status request_protect(struct policy_request *request)
{
	const struct policy_element *element = request->element;
	struct layer *layer;
	enum kvmattr_status status = check_layer(request);
	uint8_t protection;
	uint16_t set = 0;

	if (status)
		return status;
	layer = &request->policy->layers[element->layer];
	if (!layer->enabled)
		return request_refuse(request, KVMATTR_INVALID_VTL_STATE, "layer %u is not enabled",
				      element->layer);
	status = check_protection(request, layer->mbec, &protection);
	if (!status)
		status = resolve_restricted(request, &set);
	if (!status)
		status = request_check_changeable(request);
	if (!status)
		status = check_expressible(request, set, element->range, protection);
	if (status)
		return status;

	for (unsigned int t = 0; set >> t; t++)
		if (set >> t & 1)
			request_change_pages(request, layer_map(layer, t), element->range, 0,
					     LAYER_HAS_ENTRY | protection);
	/* Even where nothing changed: KVM may not hold yet what stands here, after a refusal. */
	page_ranges_add(request->touched, element->range.gfn, element->range.n_pages);
	return KVMATTR_OK;
}

static enum kvmattr_status refuse_locked(const struct policy_request *request, uint64_t gfn)
{
	return request_refuse(request, KVMATTR_OPERATION_DENIED,
			      "GFN 0x%" PRIx64 " is locked by the VM's owner, and layer %u would "
			      "change it",
			      gfn, request->element->layer);
}

/* The first locked page that the layer restricts for VTL t. */
static bool find_locked(const struct policy *policy, unsigned int layer, unsigned int t,
			uint64_t *ret_gfn)
{
	struct fold_span imposed;

	for (uint64_t gfn = 0; gfn < KVMATTR_GFN_LIMIT; gfn = imposed.end) {
		struct attribute_span pages;
		size_t n;

		fold_layer(policy, layer, t, gfn, KVMATTR_GFN_LIMIT, &imposed);
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

enum kvmattr_status request_enable_layer(struct policy_request *request)
{
	const struct policy_element *element = request->element;
	enum kvmattr_status status = check_layer(request);
	struct layer *layer;
	uint8_t protection;
	uint64_t gfn;

	if (status)
		return status;
	layer = &request->policy->layers[element->layer];
	if (layer->enabled)
		return request_refuse(
			request, KVMATTR_INVALID_VTL_STATE,
			"layer %u is enabled already; its default holds until it is reset",
			element->layer);
	status = check_protection(request, element->mbec, &protection);
	if (!status)
		status = check_expressible(request,
					   vtls_with_views_below(request->policy, element->layer),
					   everything, protection);
	if (status)
		return status;
	if (protection != KVMATTR_RWX &&
	    request_find_page(&request->policy->pages, everything, PAGE_IS_LOCKED, 0, &gfn))
		return refuse_locked(request, gfn);
	undo_log_add_layer(request->log, layer);
	layer->enabled = true;
	layer->mbec = element->mbec;
	layer->default_protection = protection;
	if (protection != KVMATTR_RWX)
		page_ranges_add(request->touched, everything.gfn, everything.n_pages);
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
	page_ranges_add(request->touched, everything.gfn, everything.n_pages);
}

enum kvmattr_status request_reset_layer(struct policy_request *request)
{
	const struct policy *policy = request->policy;
	enum kvmattr_status status = check_layer(request);
	struct layer *layer;
	uint64_t gfn;

	if (status)
		return status;
	layer = &request->policy->layers[request->element->layer];
	if (!layer->enabled)
		return request_refuse(request, KVMATTR_INVALID_VTL_STATE, "layer %u is not enabled",
				      request->element->layer);
	for (unsigned int t = 0; t < request->element->layer; t++)
		if (policy->view_of_vtl[t] >= 0 &&
		    find_locked(policy, request->element->layer, t, &gfn))
			return refuse_locked(request, gfn);
	clear_layer(request, layer);
	return KVMATTR_OK;
}

/* No layers, no locks, and every page as private as it was when it became RAM. */
enum kvmattr_status request_reset_vm(struct policy_request *request)
{
	struct policy *policy = request->policy;
	uint64_t gfn, end;

	for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++)
		if (policy->layers[k].enabled)
			clear_layer(request, &policy->layers[k]);
	empty_map(request, &policy->lock_counts);

	undo_log_add_counts(request->log, policy);
	request_change_pages(request, &policy->pages, everything,
			     (uint8_t) ~(PAGE_IS_LOCKED | PAGE_IS_PRIVATE), 0);
	policy->n_private_pages = 0;
	for (gfn = 0; request_find_page(&policy->pages,
					(struct kvmattr_range){ gfn, KVMATTR_GFN_LIMIT - gfn },
					PAGE_WAS_PRIVATE, 0, &gfn);
	     gfn = end) {
		struct kvmattr_range rest = { gfn, KVMATTR_GFN_LIMIT - gfn };

		if (!request_find_page(&policy->pages, rest, PAGE_WAS_PRIVATE, PAGE_WAS_PRIVATE,
				       &end))
			end = KVMATTR_GFN_LIMIT;
		rest.n_pages = end - gfn;
		policy->n_private_pages += request_change_pages(
			request, &policy->pages, rest, (uint8_t)~PAGE_IS_PRIVATE, PAGE_IS_PRIVATE);
		if (end == KVMATTR_GFN_LIMIT)
			break;
	}
	page_ranges_add(request->touched, everything.gfn, everything.n_pages);
	return KVMATTR_OK;
}
