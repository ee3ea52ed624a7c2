/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy.h"

#include "daemon/allocate.h"
#include "fold.h"
#include "request.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

struct policy *policy_new(const struct view *views, unsigned int n_views)
{
	struct policy *policy = allocate_one(struct policy);

	policy->views = allocate_zeroed(n_views, sizeof(*views));
	policy->n_views = n_views;
	memset(policy->view_of_vtl, -1, sizeof(policy->view_of_vtl));
	attribute_map_init(&policy->pages, 0);
	attribute_map_init(&policy->lock_counts, 0);
	for (unsigned int i = 0; i < n_views; i++) {
		assert(views[i].vtl < KVMATTR_N_VTLS && policy->view_of_vtl[views[i].vtl] < 0);
		policy->views[i].vtl = views[i].vtl;
		policy->views[i].dialect = views[i].dialect;
		/* Outside RAM, KVM's default. */
		attribute_map_init(&policy->views[i].applied, KVMATTR_RWX);
		policy->view_of_vtl[views[i].vtl] = (int8_t)i;
	}
	assert(policy->view_of_vtl[0] >= 0);
	return policy;
}

void policy_free(struct policy *policy)
{
	if (!policy)
		return;
	attribute_map_destroy(&policy->pages);
	attribute_map_destroy(&policy->lock_counts);
	for (unsigned int k = 0; k < KVMATTR_N_VTLS; k++)
		for (unsigned int t = 0; t < KVMATTR_N_VTLS; t++) {
			if (!policy->layers[k].restricted[t])
				continue;
			attribute_map_destroy(policy->layers[k].restricted[t]);
			free(policy->layers[k].restricted[t]);
		}
	for (unsigned int i = 0; i < policy->n_views; i++)
		attribute_map_destroy(&policy->views[i].applied);
	free(policy->views);
	free(policy);
}

size_t policy_memory(const struct policy *policy)
{
	size_t size =
		attribute_map_memory(&policy->pages) + attribute_map_memory(&policy->lock_counts);

	for (unsigned int k = 0; k < KVMATTR_N_VTLS; k++)
		for (unsigned int t = 0; t < KVMATTR_N_VTLS; t++)
			if (policy->layers[k].restricted[t])
				size += attribute_map_memory(policy->layers[k].restricted[t]);
	for (unsigned int i = 0; i < policy->n_views; i++)
		size += attribute_map_memory(&policy->views[i].applied);
	return size;
}

/* Every kind of update: what it needs, and what does it. */
static const struct kind {
	const char *name;
	enum kvmattr_status (*apply)(struct policy_request *request);
	bool is_owners;
	bool has_range;
	bool has_layer;
	bool has_restricted;
	uint8_t max_value;
} kinds[KVMATTR_N_UPDATE_KINDS] = {
	[KVMATTR_PROTECT] = { "protect", request_protect, .has_range = true, .has_layer = true,
			      .has_restricted = true, .max_value = UINT8_MAX },
	[KVMATTR_SET_VISIBILITY] = { "set visibility", request_set_visibility, .has_range = true,
				     .max_value = 1 },
	[KVMATTR_LOCK] = { "lock", request_lock, .is_owners = true, .has_range = true },
	[KVMATTR_UNLOCK] = { "unlock", request_unlock, .is_owners = true, .has_range = true },
	[KVMATTR_ADD_RAM] = { "add RAM", request_add_ram, .is_owners = true, .has_range = true,
			      .max_value = 1 },
	[KVMATTR_REMOVE_RAM] = { "remove RAM", request_remove_ram, .is_owners = true,
				 .has_range = true },
	[KVMATTR_ENABLE_LAYER] = { "enable a layer", request_enable_layer, .has_layer = true,
				   .max_value = UINT8_MAX },
	[KVMATTR_RESET_LAYER] = { "reset a layer", request_reset_layer, .has_layer = true },
	[KVMATTR_RESET_VM] = { "reset the VM", request_reset_vm, .is_owners = true },
};

static enum kvmattr_status check_form(const struct policy_request *request, const struct kind *kind)
{
	const struct policy_element *element = request->element;
	struct kvmattr_range range = element->range;

	if (kind->has_range != (range.n_pages > 0))
		return request_refuse(request, KVMATTR_INVALID_PARAMETER,
				      kind->has_range ? "an update to %s needs pages"
						      : "an update to %s takes no pages",
				      kind->name);
	if (range.gfn > KVMATTR_GFN_LIMIT || range.n_pages > KVMATTR_GFN_LIMIT - range.gfn)
		return request_refuse(request, KVMATTR_INVALID_PARAMETER,
				      "GFN 0x%" PRIx64 " and %" PRIu64
				      " pages from it reach past the last GFN, "
				      "0x%" PRIx64,
				      range.gfn, range.n_pages, KVMATTR_GFN_LIMIT - 1);
	if (!kind->has_layer && element->layer)
		return request_refuse(request, KVMATTR_INVALID_PARAMETER,
				      "an update to %s takes no layer, so it has to be 0",
				      kind->name);
	if (!kind->has_restricted && element->restricted)
		return request_refuse(
			request, KVMATTR_INVALID_PARAMETER,
			"an update to %s takes no restricted VTLs, so they have to be 0",
			kind->name);
	if (element->value > kind->max_value)
		return request_refuse(request, KVMATTR_INVALID_PARAMETER,
				      "an update to %s takes a value of at most %u, not %u",
				      kind->name, kind->max_value, element->value);
	if (element->mbec && element->kind != KVMATTR_ENABLE_LAYER)
		return request_refuse(
			request, KVMATTR_INVALID_PARAMETER,
			"an update to %s takes no mbec: it is chosen when a layer is enabled",
			kind->name);
	return KVMATTR_OK;
}

enum kvmattr_status policy_apply(struct policy *policy, const struct policy_actor *actor,
				 const struct policy_element *element, struct policy_undo_log *log,
				 struct page_ranges *touched, char *text, size_t text_size)
{
	struct policy_request request = {
		.policy = policy,
		.actor = actor,
		.element = element,
		.log = log,
		.touched = touched,
		.text = text,
		.text_size = text_size,
	};
	const struct kind *kind = &kinds[element->kind];
	enum kvmattr_status status;

	assert(element->kind > 0 && element->kind < KVMATTR_N_UPDATE_KINDS);
	if (kind->is_owners && !actor->is_owner)
		return request_refuse(&request, KVMATTR_ACCESS_DENIED, "only the VM's owner may %s",
				      kind->name);
	status = check_form(&request, kind);
	return status ? status : kind->apply(&request);
}

/* About as many leaves as what is told has: what the maps differ in is mostly in the same. */
static size_t expected_leaves(const struct policy *policy, const struct view *view)
{
	size_t n = policy->pages.n_leaves;

	for (unsigned int k = view->vtl + 1u; k < KVMATTR_N_VTLS; k++) {
		const struct attribute_map *map = policy->layers[k].restricted[view->vtl];

		if (map && map->n_leaves > n)
			n = map->n_leaves;
	}
	return n;
}

static void assume_applied(const struct policy *policy, struct view *view)
{
	struct fold_span span;

	attribute_map_destroy(&view->applied);
	attribute_map_init(&view->applied, KVMATTR_RWX);
	attribute_map_expect(&view->applied, expected_leaves(policy, view));
	for (uint64_t gfn = 0; gfn < KVMATTR_GFN_LIMIT; gfn = span.end) {
		fold_effective(policy, view, gfn, KVMATTR_GFN_LIMIT, &span);
		if (span.is_uniform)
			attribute_map_set_range(&view->applied, gfn, span.end - gfn, span.value);
		else
			attribute_map_set_bytes(&view->applied, gfn, span.end - gfn, span.bytes);
	}
}

void policy_assume_applied(struct policy *policy)
{
	for (unsigned int v = 0; v < policy->n_views; v++)
		assume_applied(policy, &policy->views[v]);
}

void policy_forget_applied(struct policy *policy, const struct page_ranges *ranges)
{
	for (unsigned int v = 0; v < policy->n_views; v++)
		for (size_t i = 0; i < ranges->n; i++)
			attribute_map_set_range(&policy->views[v].applied, ranges->range[i].gfn,
						ranges->range[i].n_pages, APPLIED_UNKNOWN);
}

unsigned int policy_count_affected_views(const struct policy *policy,
					 const struct policy_element *element)
{
	unsigned int n = 0;

	if (!kinds[element->kind].has_restricted)
		return policy->n_views;
	for (unsigned int i = 0; i < policy->n_views; i++)
		n += policy->views[i].vtl < element->layer &&
		     element->restricted >> policy->views[i].vtl & 1;
	return n;
}
