/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm-shape.h"

#include "daemon.h"
#include "json-put.h"

#include "daemon/allocate.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

/* Of all that is told: what another text would come from.  Zeroed, padding included. */
struct facts {
	uint64_t ram_version;
	uint64_t n_private_pages;
	unsigned int n_views;
	struct {
		enum kvmattr_abi abi;
		uint8_t vtl;
		uint64_t supported;
	} views[KVMATTR_N_VTLS];
	struct {
		bool enabled;
		bool mbec;
		uint8_t default_protection;
	} layers[KVMATTR_N_VTLS];
};

struct vm_shape {
	struct facts facts; /* of which the text is */
	struct json_printed ram;
	struct json_printed views;
	struct json_printed layers;
};

static void gather(const struct policy *policy, struct facts *facts)
{
	memset(facts, 0, sizeof(*facts));
	facts->ram_version = policy->ram_version;
	facts->n_private_pages = policy->n_private_pages;
	facts->n_views = policy->n_views;
	for (unsigned int i = 0; i < policy->n_views; i++) {
		facts->views[i].abi = policy->views[i].dialect.abi;
		facts->views[i].vtl = policy->views[i].vtl;
		facts->views[i].supported = policy->views[i].dialect.supported;
	}
	for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++) {
		facts->layers[k].enabled = policy->layers[k].enabled;
		facts->layers[k].mbec = policy->layers[k].mbec;
		facts->layers[k].default_protection = policy->layers[k].default_protection;
	}
}

/* How much RAM there is and where: the first ranges of it, and where it begins and ends. */
static struct json_object *describe_ram(struct hosted_vm *hosted)
{
	const struct policy *policy = vm_policy(hosted->vm);
	const struct ram *ram = ram_look(&hosted->ram_known, policy);
	const struct kvmattr_range *extent = &ram->extent;
	struct json_object *object = json_put_there(json_object_new_object()), *ranges;

	json_put_number(object, "pages", policy->n_ram_pages);
	json_put_number(object, "private_pages", policy->n_private_pages);
	json_put_address(object, "start", extent->gfn << KVMATTR_PAGE_SHIFT);
	json_put_address(object, "end", (extent->gfn + extent->n_pages) << KVMATTR_PAGE_SHIFT);
	ranges = json_put_new_array(object, "ranges");
	for (unsigned int i = 0; i < ram->n_ranges; i++) {
		struct json_object *range = json_put_next(ranges);

		json_put_address(range, "gpa", ram->ranges[i].gfn << KVMATTR_PAGE_SHIFT);
		json_put_number(range, "pages", ram->ranges[i].n_pages);
	}
	json_put_boolean(object, "more", ram->has_more);
	return object;
}

static struct json_object *describe_views(const struct facts *facts)
{
	struct json_object *views = json_put_there(json_object_new_array());

	for (unsigned int i = 0; i < facts->n_views; i++) {
		struct json_object *view = json_put_next(views);
		const char *abi = kvmattr_abi_name(facts->views[i].abi);

		json_put_number(view, "vtl", facts->views[i].vtl);
		json_put_text(view, "abi", abi ? abi : "unknown");
		json_put_address(view, "supported", facts->views[i].supported);
	}
	return views;
}

static struct json_object *describe_layers(const struct facts *facts)
{
	struct json_object *layers = json_put_there(json_object_new_array());

	for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++) {
		struct json_object *object, *restricts;

		if (!facts->layers[k].enabled)
			continue;
		object = json_put_next(layers);
		json_put_number(object, "layer", k);
		json_put_boolean(object, "mbec", facts->layers[k].mbec);
		json_put_text(object, "default",
			      kvmattr_protection_name(facts->layers[k].default_protection));
		restricts = json_put_new_array(object, "restricts");
		for (unsigned int i = 0; i < facts->n_views; i++)
			if (facts->views[i].vtl < k)
				json_put_next_number(restricts, facts->views[i].vtl);
	}
	return layers;
}

static void forget(struct vm_shape *shape)
{
	free(shape->ram.text);
	free(shape->views.text);
	free(shape->layers.text);
}

static const struct vm_shape *look(struct hosted_vm *hosted)
{
	struct vm_shape *shape = hosted->shape;
	struct facts facts;

	gather(vm_policy(hosted->vm), &facts);
	if (shape && !memcmp(&shape->facts, &facts, sizeof(facts)))
		return shape;
	if (shape)
		forget(shape);
	else
		hosted->shape = shape = allocate_one(struct vm_shape);
	memcpy(&shape->facts, &facts, sizeof(facts));
	shape->ram = json_print(describe_ram(hosted));
	shape->views = json_print(describe_views(&facts));
	shape->layers = json_print(describe_layers(&facts));
	return shape;
}

static void put(struct json_object *object, const char *name, const struct json_printed *printed)
{
	json_put_printed(json_put_new(object, name), printed);
}

void vm_shape_put_ram(struct hosted_vm *hosted, struct json_object *object)
{
	put(object, "ram", &look(hosted)->ram);
}

void vm_shape_put_views(struct hosted_vm *hosted, struct json_object *object)
{
	put(object, "views", &look(hosted)->views);
}

void vm_shape_put_layers(struct hosted_vm *hosted, struct json_object *object)
{
	put(object, "layers", &look(hosted)->layers);
}

void vm_shape_free(struct vm_shape *shape)
{
	if (!shape)
		return;
	forget(shape);
	free(shape);
}
