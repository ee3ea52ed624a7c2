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
	policy->ram_version = 1;
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
	while (policy && !policy_free_some(policy, SIZE_MAX))
		;
}

static bool free_some_of_layer(struct layer *layer, size_t *n)
{
	for (unsigned int t = 0; t < KVMATTR_N_VTLS; t++) {
		if (!layer->restricted[t])
			continue;
		if (!attribute_map_destroy_some(layer->restricted[t], n))
			return false;
		free(layer->restricted[t]);
		layer->restricted[t] = NULL;
	}
	return true;
}

bool policy_free_some(struct policy *policy, size_t n)
{
	if (!attribute_map_destroy_some(&policy->pages, &n) ||
	    !attribute_map_destroy_some(&policy->lock_counts, &n))
		return false;
	for (unsigned int k = 0; k < KVMATTR_N_VTLS; k++)
		if (!free_some_of_layer(&policy->layers[k], &n))
			return false;
	for (unsigned int i = 0; i < policy->n_views; i++)
		if (!attribute_map_destroy_some(&policy->views[i].applied, &n))
			return false;
	free(policy->views);
	free(policy);
	return true;
}

size_t policy_memory(const struct policy *policy)
{
	size_t size =
		attribute_map_memory(&policy->pages) + attribute_map_memory(&policy->lock_counts);

	for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++)
		for (unsigned int t = 0; t < k; t++)
			if (policy->layers[k].restricted[t])
				size += attribute_map_memory(policy->layers[k].restricted[t]);
	for (unsigned int i = 0; i < policy->n_views; i++)
		size += attribute_map_memory(&policy->views[i].applied);
	return size;
}

/* Of what a view is told: RAM, and what the layers above it impose on it. */
static size_t memory_of_wanted(const struct policy *policy, const struct view *view)
{
	size_t size = attribute_map_memory(&policy->pages);

	for (unsigned int k = view->vtl + 1u; k < KVMATTR_N_VTLS; k++)
		if (policy->layers[k].restricted[view->vtl])
			size += attribute_map_memory(policy->layers[k].restricted[view->vtl]);
	return size;
}

size_t policy_memory_at_most(const struct policy *policy)
{
	size_t size = policy_memory(policy);

	for (unsigned int i = 0; i < policy->n_views; i++) {
		const struct view *view = &policy->views[i];
		size_t is = attribute_map_memory(&view->applied);
		size_t may_be = memory_of_wanted(policy, view);

		size += may_be > is ? may_be - is : 0;
	}
	return size;
}

/* Every kind of update: what it needs, and what does it. */
static const struct kind {
	const char *name;
	const struct request_kind *request;
	bool is_owners;
	bool has_range;
	bool has_layer;
	bool has_restricted;
	uint8_t max_value;
} kinds[KVMATTR_N_UPDATE_KINDS] = {
	[KVMATTR_PROTECT] = { "protect", &request_protect, .has_range = true, .has_layer = true,
			      .has_restricted = true, .max_value = UINT8_MAX },
	[KVMATTR_SET_VISIBILITY] = { "set visibility", &request_set_visibility, .has_range = true,
				     .max_value = 1 },
	[KVMATTR_LOCK] = { "lock", &request_lock, .is_owners = true, .has_range = true },
	[KVMATTR_UNLOCK] = { "unlock", &request_unlock, .is_owners = true, .has_range = true },
	[KVMATTR_ADD_RAM] = { "add RAM", &request_add_ram, .is_owners = true, .has_range = true,
			      .max_value = 1 },
	[KVMATTR_REMOVE_RAM] = { "remove RAM", &request_remove_ram, .is_owners = true,
				 .has_range = true },
	[KVMATTR_ENABLE_LAYER] = { "enable a layer", &request_enable_layer, .has_layer = true,
				   .max_value = UINT8_MAX },
	[KVMATTR_RESET_LAYER] = { "reset a layer", &request_reset_layer, .has_layer = true },
	[KVMATTR_RESET_VM] = { "reset the VM", &request_reset_vm, .is_owners = true },
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

/*
 * The next pages of an element, as far as they are to be looked at together: behind progress, up to
 * max_pages of RAM.  What is not RAM is skipped where it costs nothing.
 */
static struct kvmattr_range next_pages(const struct policy *policy, struct kvmattr_range all,
				       const struct policy_progress *progress, uint64_t max_pages)
{
	struct kvmattr_range next = { all.gfn + progress->n_pages,
				      all.n_pages - progress->n_pages };
	struct attribute_span span;

	if (next.n_pages <= max_pages)
		return next;
	span = attribute_map_span(&policy->pages, next.gfn, next.gfn + next.n_pages);
	if (span.bytes || span.value & PAGE_IS_RAM || span.end - next.gfn < max_pages)
		next.n_pages = max_pages;
	else
		next.n_pages = span.end - next.gfn;
	return next;
}

/* Checks some more pages; then, behind the last, does what is to be done once. */
static enum kvmattr_status check_some(struct policy_request *request,
				      const struct request_kind *kind, struct kvmattr_range all,
				      struct policy_progress *progress, uint64_t max_pages)
{
	struct kvmattr_range next = next_pages(request->policy, all, progress, max_pages);
	enum kvmattr_status status = KVMATTR_OK;

	if (kind->check_pages) {
		status = kind->check_pages(request, next);
		progress->n_pages += next.n_pages;
	}
	if (status || (kind->check_pages && progress->n_pages < all.n_pages))
		return status;
	progress->is_checked = true;
	progress->n_pages = 0;
	if (kind->begin)
		kind->begin(request);
	return KVMATTR_OK;
}

static void change_some(struct policy_request *request, const struct request_kind *kind,
			struct kvmattr_range all, struct policy_progress *progress,
			uint64_t max_pages)
{
	struct kvmattr_range next = next_pages(request->policy, all, progress, max_pages);

	if (kind->change_pages) {
		kind->change_pages(request, next);
		progress->n_pages += next.n_pages;
	}
	progress->is_applied = !kind->change_pages || progress->n_pages == all.n_pages;
}

enum kvmattr_status policy_apply_some(struct policy *policy, const struct policy_actor *actor,
				      const struct policy_element *element,
				      struct policy_progress *progress, uint64_t max_pages,
				      struct policy_undo_log *log, struct page_ranges *touched,
				      char *text, size_t text_size)
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
	struct kvmattr_range all = element->range;
	enum kvmattr_status status;

	assert(element->kind > 0 && element->kind < KVMATTR_N_UPDATE_KINDS);
	if (kind->is_owners && !actor->is_owner)
		return request_refuse(&request, KVMATTR_ACCESS_DENIED, "only the VM's owner may %s",
				      kind->name);
	status = check_form(&request, kind);
	if (!status && kind->request->check)
		status = kind->request->check(&request);
	if (status)
		return status;
	if (!kind->has_range)
		all = (struct kvmattr_range){ 0, KVMATTR_GFN_LIMIT };
	if (!progress->is_checked)
		status = check_some(&request, kind->request, all, progress, max_pages);
	if (!status && progress->is_checked)
		change_some(&request, kind->request, all, progress, max_pages);
	return status;
}

enum kvmattr_status policy_apply(struct policy *policy, const struct policy_actor *actor,
				 const struct policy_element *element, struct policy_undo_log *log,
				 struct page_ranges *touched, char *text, size_t text_size)
{
	struct policy_progress progress = { 0 };

	return policy_apply_some(policy, actor, element, &progress, UINT64_MAX, log, touched, text,
				 text_size);
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
