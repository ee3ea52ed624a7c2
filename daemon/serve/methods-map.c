/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * map.effective, map.layer, map.summary, map.explain.
 */
#include "json-put.h"
#include "map-walk.h"
#include "method-words.h"
#include "methods.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>

static const char *state_name(unsigned int state)
{
	switch (state) {
	case WIRE_IN_FORCE:
		return "in-force";
	case WIRE_PENDING:
		return "pending";
	default:
		return "unknown";
	}
}

static const char *visibility_name(unsigned int attributes)
{
	return attributes & KVMATTR_PRIVATE ? "private" : "shared";
}

/* The view of the VTL that was asked for; NULL if the VM has none, and the call is refused. */
static const struct view *find_view(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct hosted_vm *hosted = method_vm(call, "vm");
	const struct policy *policy = vm_policy(hosted->vm);
	unsigned int vtl = (unsigned int)method_number(call, "vtl", 0);
	char views[KVMATTR_N_VTLS * 4] = "";
	size_t length = 0;

	if (policy->view_of_vtl[vtl] >= 0)
		return &policy->views[policy->view_of_vtl[vtl]];
	for (unsigned int i = 0; i < policy->n_views; i++)
		length += (size_t)snprintf(views + length, sizeof(views) - length, "%s%u",
					   i ? ", " : "", policy->views[i].vtl);
	method_refuse(answer, KVMATTR_INVALID_VTL_STATE,
		      "VM %s has no view of VTL %u; it has views of: %s", hosted->name, vtl, views);
	return NULL;
}

/* The pages that were asked for, of RAM's extent where nothing was said. */
static bool take_range(const struct method_call *call, struct kvmattr_range *ret_range,
		       struct jsonrpc_answer *answer)
{
	struct hosted_vm *hosted = method_vm(call, "vm");
	struct kvmattr_range extent = { 0 };
	uint64_t start, end;

	if (!method_is_given(call, "start") || !method_is_given(call, "end"))
		extent = ram_look(&hosted->ram_known, vm_policy(hosted->vm))->extent;
	start = method_number(call, "start", extent.gfn << KVMATTR_PAGE_SHIFT);
	end = method_number(call, "end", (extent.gfn + extent.n_pages) << KVMATTR_PAGE_SHIFT);
	/* nothing was said about the end, and RAM ends before the start */
	if (!method_is_given(call, "end") && end < start)
		end = start;
	if (end < start) {
		method_refuse(answer, KVMATTR_INVALID_PARAMETER,
			      "VM %s: the end, 0x%" PRIx64 ", is below the start, 0x%" PRIx64,
			      hosted->name, end, start);
		return false;
	}
	ret_range->gfn = start >> KVMATTR_PAGE_SHIFT;
	ret_range->n_pages = ((end + KVMATTR_PAGE_SIZE - 1) >> KVMATTR_PAGE_SHIFT) - ret_range->gfn;
	return true;
}

/* A walk through the pages that were asked for, from the cursor on if there is one. */
static bool begin_walk(const struct method_call *call, unsigned int layer,
		       const struct kvmattr_range *range, struct map_walk *ret_walk,
		       struct jsonrpc_answer *answer)
{
	const struct hosted_vm *hosted = method_vm(call, "vm");
	uint64_t end = range->gfn + range->n_pages;
	uint64_t gfn = range->gfn;

	if (method_is_given(call, "cursor")) {
		gfn = method_number(call, "cursor", 0) >> KVMATTR_PAGE_SHIFT;
		if (gfn < range->gfn || gfn > end) {
			method_refuse(answer, KVMATTR_INVALID_PARAMETER,
				      "VM %s: the cursor, 0x%" PRIx64
				      ", is outside of start and end; it goes with the start and "
				      "end of the call that it came from",
				      hosted->name, method_number(call, "cursor", 0));
			return false;
		}
	}
	map_walk_begin(ret_walk, hosted->vm, (unsigned int)method_number(call, "vtl", 0), layer,
		       gfn, end, METHODS_MAX_WALK_US);
	return true;
}

static void put_cursor(struct json_object *result, const struct map_walk *walk)
{
	if (walk->gfn < walk->end)
		json_put_address(result, "cursor", walk->gfn << KVMATTR_PAGE_SHIFT);
}

static struct json_object *put_run(struct json_object *runs, const struct vm_run *run)
{
	struct json_object *object = json_put_next(runs);

	json_put_address(object, "gpa", run->gfn << KVMATTR_PAGE_SHIFT);
	json_put_number(object, "pages", run->n_pages);
	json_put_text(object, "protection",
		      kvmattr_protection_name(run->attributes & KVMATTR_PROTECTION));
	return object;
}

static void method_map_effective(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct hosted_vm *hosted = method_vm(call, "vm");
	uint64_t limit = method_number(call, "limit", METHODS_DEFAULT_RUNS);
	struct json_object *result, *runs, *object;
	struct kvmattr_range range;
	struct map_walk walk;
	struct vm_run run;

	if (!find_view(call, answer) || !take_range(call, &range, answer) ||
	    !begin_walk(call, 0, &range, &walk, answer))
		return;
	result = method_result(answer);
	json_put_text(result, "vm", hosted->name);
	json_put_number(result, "vtl", method_number(call, "vtl", 0));
	json_put_number(result, "commit", vm_commit(hosted->vm));
	runs = json_put_new_array(result, "runs");
	for (uint64_t i = 0; i < limit && map_walk_next(&walk, &run); i++) {
		object = put_run(runs, &run);
		json_put_text(object, "visibility", visibility_name(run.attributes));
		json_put_text(object, "state", state_name(run.state));
	}
	put_cursor(result, &walk);
}

/* The layer that was asked for; NULL if it imposes nothing on that VTL, and the call is refused. */
static const struct layer *find_layer(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct hosted_vm *hosted = method_vm(call, "vm");
	const struct policy *policy = vm_policy(hosted->vm);
	unsigned int k = (unsigned int)method_number(call, "layer", 0);
	unsigned int vtl = (unsigned int)method_number(call, "vtl", 0);
	char layers[KVMATTR_N_VTLS * 4] = "";
	size_t length = 0;

	if (k <= vtl) {
		method_refuse(
			answer, KVMATTR_INVALID_PARAMETER,
			"VM %s: layer %u imposes nothing on VTL %u: a layer restricts the VTLs "
			"below it",
			hosted->name, k, vtl);
		return NULL;
	}
	if (policy->layers[k].enabled)
		return &policy->layers[k];
	for (unsigned int i = 1; i < KVMATTR_N_VTLS; i++)
		if (policy->layers[i].enabled)
			length += (size_t)snprintf(layers + length, sizeof(layers) - length, "%s%u",
						   length ? ", " : "", i);
	method_refuse(answer, KVMATTR_INVALID_VTL_STATE,
		      "VM %s: layer %u is not enabled; enabled: %s", hosted->name, k,
		      length ? layers : "none");
	return NULL;
}

static void method_map_layer(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct hosted_vm *hosted = method_vm(call, "vm");
	uint64_t limit = method_number(call, "limit", METHODS_DEFAULT_RUNS);
	uint64_t k = method_number(call, "layer", 0);
	struct json_object *result, *runs, *object;
	const struct layer *layer;
	struct kvmattr_range range;
	struct map_walk walk;
	struct vm_run run;

	if (!find_view(call, answer))
		return;
	layer = find_layer(call, answer);
	if (!layer || !take_range(call, &range, answer) ||
	    !begin_walk(call, (unsigned int)k, &range, &walk, answer))
		return;
	result = method_result(answer);
	json_put_text(result, "vm", hosted->name);
	json_put_number(result, "layer", k);
	json_put_number(result, "vtl", method_number(call, "vtl", 0));
	json_put_number(result, "commit", vm_commit(hosted->vm));
	json_put_text(result, "default", kvmattr_protection_name(layer->default_protection));
	json_put_boolean(result, "mbec", layer->mbec);
	runs = json_put_new_array(result, "runs");
	for (uint64_t i = 0; i < limit && map_walk_next(&walk, &run); i++) {
		object = put_run(runs, &run);
		json_put_text(object, "source", run.state ? "explicit" : "default");
	}
	put_cursor(result, &walk);
}

static void put_bucket(struct json_object *buckets, uint64_t number, uint64_t gfn,
		       const struct map_count *count)
{
	struct json_object *object, *pages;

	if (!count->n_ram)
		return;
	object = json_put_next(buckets);
	json_put_number(object, "bucket", number);
	json_put_address(object, "gpa", gfn << KVMATTR_PAGE_SHIFT);
	pages = json_put_new(object, "pages");
	for (unsigned int protection = 0; protection <= KVMATTR_PROTECTION; protection++)
		if (count->protections[protection])
			json_put_number(pages, kvmattr_protection_name(protection),
					count->protections[protection]);
	json_put_number(object, "private", count->n_private);
	json_put_number(object, "pending", count->n_pending);
	json_put_number(object, "unknown", count->n_unknown);
}

static void method_map_summary(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct hosted_vm *hosted = method_vm(call, "vm");
	uint64_t n_buckets = method_number(call, "buckets", METHODS_DEFAULT_BUCKETS);
	struct json_object *result, *buckets;
	struct kvmattr_range range;
	struct map_walk walk;
	bool has_time = true;
	uint64_t size;

	if (!find_view(call, answer) || !take_range(call, &range, answer) ||
	    !begin_walk(call, 0, &range, &walk, answer))
		return;
	size = range.n_pages ? (range.n_pages + n_buckets - 1) / n_buckets : 1;
	result = method_result(answer);
	json_put_text(result, "vm", hosted->name);
	json_put_number(result, "vtl", method_number(call, "vtl", 0));
	json_put_number(result, "commit", vm_commit(hosted->vm));
	json_put_address(result, "start", range.gfn << KVMATTR_PAGE_SHIFT);
	json_put_address(result, "end", (range.gfn + range.n_pages) << KVMATTR_PAGE_SHIFT);
	json_put_number(result, "bucket_pages", size);
	buckets = json_put_new_array(result, "buckets");
	while (has_time && walk.gfn < walk.end) {
		uint64_t number = (walk.gfn - range.gfn) / size;
		uint64_t gfn = range.gfn + number * size;
		uint64_t limit = gfn + size < walk.end ? gfn + size : walk.end;
		struct map_count count = { 0 };

		has_time = map_walk_count(&walk, limit, &count);
		put_bucket(buckets, number, gfn, &count);
	}
	put_cursor(result, &walk);
}

static const struct {
	const char *name;
	unsigned int access;
} accesses[] = {
	{ "r", KVMATTR_READ },
	{ "w", KVMATTR_WRITE },
	{ "x", KVMATTR_EXECUTE },
};

static void put_accesses(struct json_object *array, const struct policy *policy,
			 const struct view *view, uint64_t gfn, unsigned int asked)
{
	for (size_t i = 0; i < sizeof(accesses) / sizeof(accesses[0]); i++) {
		struct fold_explanation explanation;
		struct json_object *object, *denying;

		if ((accesses[i].access & asked) != accesses[i].access)
			continue;
		explanation = fold_explain(policy, view, gfn, accesses[i].access);
		object = json_put_next(array);
		json_put_text(object, "access", accesses[i].name);
		json_put_boolean(object, "allowed", !explanation.denying);
		denying = json_put_new_array(object, "denying");
		for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++)
			if (explanation.denying >> k & 1)
				json_put_next_number(denying, k);
		if (explanation.denying)
			json_put_number(object, "intercept", explanation.layer);
		else
			json_put(object, "intercept", NULL);
	}
}

static void put_layers_at(struct json_object *array, const struct hosted_vm *hosted,
			  const struct view *view, uint64_t gfn)
{
	const struct policy *policy = vm_policy(hosted->vm);

	for (unsigned int k = view->vtl + 1u; k < KVMATTR_N_VTLS; k++) {
		struct json_object *object;
		struct map_walk walk;
		struct vm_run run;

		if (!policy->layers[k].enabled)
			continue;
		map_walk_begin(&walk, hosted->vm, view->vtl, k, gfn, gfn + 1, METHODS_MAX_WALK_US);
		if (!map_walk_next(&walk, &run))
			continue; /* no RAM: layers hold for RAM only */
		object = json_put_next(array);
		json_put_number(object, "layer", k);
		json_put_text(object, "protection", kvmattr_protection_name(run.attributes));
		json_put_text(object, "source", run.state ? "explicit" : "default");
		json_put_boolean(object, "mbec", policy->layers[k].mbec);
	}
}

static const char *state_text(bool is_ram, unsigned int state)
{
	if (!is_ram)
		return "this is no RAM of the VM: no layer holds here, and KVM has its default";
	switch (state) {
	case WIRE_IN_FORCE:
		return "KVM enforces this on every vCPU";
	case WIRE_PENDING:
		return "accepted, and on its way to KVM";
	default:
		return "it is not known what KVM enforces here: a call failed half-way; it is "
		       "tried again until KVM takes it";
	}
}

static void method_map_explain(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct hosted_vm *hosted = method_vm(call, "vm");
	const struct policy *policy = vm_policy(hosted->vm);
	const struct view *view = find_view(call, answer);
	uint64_t gfn = method_number(call, "gpa", 0) >> KVMATTR_PAGE_SHIFT;
	unsigned int asked = method_is_given(call, "access")
				     ? accesses[method_number(call, "access", 0)].access
				     : KVMATTR_PROTECTION;
	struct json_object *result;
	uint8_t attributes, applied;
	struct vm_run run = { 0 };
	bool is_ram;

	if (!view)
		return;
	if (gfn >= KVMATTR_GFN_LIMIT) {
		method_refuse(answer, KVMATTR_INVALID_PARAMETER,
			      "VM %s: there are no pages from 0x%" PRIx64 " on", hosted->name,
			      KVMATTR_GFN_LIMIT << KVMATTR_PAGE_SHIFT);
		return;
	}
	is_ram = vm_next_run(hosted->vm, view->vtl, gfn, gfn + 1, &run);
	attributes = fold_effective_at(policy, view, gfn);
	applied = attribute_map_get(&view->applied, gfn);
	result = method_result(answer);
	json_put_text(result, "vm", hosted->name);
	json_put_number(result, "vtl", view->vtl);
	json_put_address(result, "gpa", gfn << KVMATTR_PAGE_SHIFT);
	json_put_number(result, "commit", vm_commit(hosted->vm));
	json_put_boolean(result, "ram", is_ram);
	json_put_text(result, "protection",
		      kvmattr_protection_name(attributes & KVMATTR_PROTECTION));
	json_put_text(result, "visibility", visibility_name(attributes));
	json_put_number(result, "locks", attribute_map_get(&policy->lock_counts, gfn));
	json_put_text(result, "state", state_name(run.state));
	json_put_text(result, "state_text", state_text(is_ram, run.state));
	if (applied & APPLIED_UNKNOWN)
		json_put(result, "applied", NULL);
	else
		json_put_text(result, "applied",
			      kvmattr_protection_name(applied & KVMATTR_PROTECTION));
	put_layers_at(json_put_new_array(result, "layers"), hosted, view, gfn);
	put_accesses(json_put_new_array(result, "accesses"), policy, view, gfn, asked);
}

/* ---- The table ----------------------------------------------------------------------------- */

static const char *const state_words[] = { "in-force", "pending", "unknown", NULL };
static const char *const source_words[] = { "explicit", "default", NULL };
/* As in accesses[]. */
static const char *const access_words[] = { "r", "w", "x", NULL };

#define STATE_MEMBER                                                            \
	{                                                                       \
		.name = "state", .value = VALUE_CHOICE, .choices = state_words, \
		.summary = "whether KVM enforces it"                            \
	}
#define SOURCE_MEMBER                                                             \
	{                                                                         \
		.name = "source", .value = VALUE_CHOICE, .choices = source_words, \
		.summary = "the page's own entry, or the layer's default"         \
	}

static const struct method_member effective_run_members[] = {
	GPA_MEMBER, PAGES_MEMBER, PROTECTION_MEMBER, VISIBILITY_MEMBER, STATE_MEMBER, {},
};

static const struct method_member effective_members[] = {
	VM_MEMBER,
	VTL_MEMBER,
	COMMIT_MEMBER,
	{ .name = "runs",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = effective_run_members,
	  .summary = "RAM only" },
	CURSOR_MEMBER,
	{},
};

static const struct method_member layer_run_members[] = {
	GPA_MEMBER, PAGES_MEMBER, PROTECTION_MEMBER, SOURCE_MEMBER, {},
};

static const struct method_member layer_members[] = {
	VM_MEMBER,
	{ .name = "layer", .value = VALUE_NUMBER, .summary = "the VTL that imposes" },
	VTL_MEMBER,
	COMMIT_MEMBER,
	{ .name = "default",
	  .value = VALUE_CHOICE,
	  .choices = method_protections,
	  .summary = "for RAM without a protection of its own" },
	{ .name = "mbec",
	  .value = VALUE_BOOLEAN,
	  .summary = "kernel and user execute are two things" },
	{ .name = "runs",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = layer_run_members,
	  .summary = "RAM only" },
	CURSOR_MEMBER,
	{},
};

static const struct method_member bucket_members[] = {
	{ .name = "bucket", .value = VALUE_NUMBER, .summary = "its number from start" },
	{ .name = "gpa", .value = VALUE_ADDRESS },
	{ .name = "pages", .value = VALUE_COUNTS, .summary = "of each protection" },
	{ .name = "private", .value = VALUE_NUMBER, .summary = "pages" },
	{ .name = "pending", .value = VALUE_NUMBER, .summary = "pages on their way to KVM" },
	{ .name = "unknown",
	  .value = VALUE_NUMBER,
	  .summary = "pages of which it is not known what KVM enforces" },
	{},
};

static const struct method_member summary_members[] = {
	VM_MEMBER,
	VTL_MEMBER,
	COMMIT_MEMBER,
	{ .name = "start", .value = VALUE_ADDRESS },
	{ .name = "end", .value = VALUE_ADDRESS },
	{ .name = "bucket_pages", .value = VALUE_NUMBER, .summary = "in each part" },
	{ .name = "buckets",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = bucket_members,
	  .summary = "parts without RAM are left out" },
	{ .name = "cursor",
	  .value = VALUE_ADDRESS,
	  .flags = VALUE_OPTIONAL,
	  .summary = "where there is more: where to go on; a part that is cut there comes again, "
		     "with the rest of its pages" },
	{},
};

static const struct method_member explained_layer_members[] = {
	{ .name = "layer", .value = VALUE_NUMBER, .summary = "the VTL that imposes" },
	PROTECTION_MEMBER,
	SOURCE_MEMBER,
	{ .name = "mbec", .value = VALUE_BOOLEAN },
	{},
};

static const struct method_member access_members[] = {
	{ .name = "access", .value = VALUE_CHOICE, .choices = access_words },
	{ .name = "allowed", .value = VALUE_BOOLEAN },
	{ .name = "denying", .value = VALUE_NUMBER, .flags = VALUE_ARRAY, .summary = "layers" },
	{ .name = "intercept",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_NULLABLE,
	  .summary = "the VTL that gets it, or null" },
	{},
};

static const struct method_member explain_members[] = {
	VM_MEMBER,
	VTL_MEMBER,
	{ .name = "gpa", .value = VALUE_ADDRESS, .summary = "of the page" },
	COMMIT_MEMBER,
	{ .name = "ram", .value = VALUE_BOOLEAN, .summary = "whether this is RAM" },
	{ .name = "protection",
	  .value = VALUE_CHOICE,
	  .choices = method_protections,
	  .summary = "the effective one" },
	VISIBILITY_MEMBER,
	{ .name = "locks", .value = VALUE_NUMBER, .summary = "that the owner has put on it" },
	STATE_MEMBER,
	{ .name = "state_text", .value = VALUE_TEXT, .summary = "the same, for people" },
	{ .name = "applied",
	  .value = VALUE_CHOICE,
	  .flags = VALUE_NULLABLE,
	  .choices = method_protections,
	  .summary = "what KVM was last told; null where that is not known" },
	{ .name = "layers",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = explained_layer_members,
	  .summary = "that restrict the VTL; empty where there is no RAM" },
	{ .name = "accesses",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = access_members },
	{},
};

const struct method map_methods[] = {
	{
		.name = "map.effective",
		.summary = "What a VTL may do with its memory: runs of equal effective attributes",
		.members = effective_members,
		.run = method_map_effective,
		.parameters = { VM_PARAMETER, VTL_PARAMETER, START_PARAMETER, END_PARAMETER,
				CURSOR_PARAMETER, LIMIT_PARAMETER },
	},
	{
		.name = "map.layer",
		.summary = "What one layer imposes on a VTL, page by page or by its default",
		.members = layer_members,
		.run = method_map_layer,
		.parameters = { VM_PARAMETER,
				{ .name = "layer",
				  .type = METHOD_INTEGER,
				  .is_required = true,
				  .minimum = 1,
				  .maximum = KVMATTR_N_VTLS - 1,
				  .summary = "the VTL that imposes" },
				VTL_PARAMETER,
				START_PARAMETER,
				END_PARAMETER,
				CURSOR_PARAMETER,
				LIMIT_PARAMETER },
	},
	{
		.name = "map.summary",
		.summary =
			"A VTL's memory in equal parts: how many pages of each protection in each",
		.members = summary_members,
		.run = method_map_summary,
		.parameters = { VM_PARAMETER,
				VTL_PARAMETER,
				START_PARAMETER,
				END_PARAMETER,
				CURSOR_PARAMETER,
				{ .name = "buckets",
				  .type = METHOD_INTEGER,
				  .minimum = 1,
				  .maximum = METHODS_MAX_BUCKETS,
				  .summary = "into how many parts; 256 if left out" } },
	},
	{
		.name = "map.explain",
		.summary = "One page: who allows and who denies it, why, and what KVM enforces",
		.members = explain_members,
		.run = method_map_explain,
		.parameters = { VM_PARAMETER,
				PAGE_PARAMETER,
				VTL_PARAMETER,
				{ .name = "access",
				  .type = METHOD_CHOICE,
				  .choices = access_words,
				  .summary = "only this one; r, w and x if left out" } },
	},
	{},
};
