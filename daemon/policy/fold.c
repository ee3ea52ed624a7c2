/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fold.h"

#include <assert.h>
#include <string.h>

static struct attribute_span layer_span(const struct layer *layer, unsigned int vtl, uint64_t gfn,
					uint64_t limit)
{
	if (!layer->restricted[vtl])
		return (struct attribute_span){ .end = limit };
	return attribute_map_span(layer->restricted[vtl], gfn, limit);
}

static uint8_t layer_protection(const struct layer *layer, uint8_t entry)
{
	return entry & LAYER_HAS_ENTRY ? entry & KVMATTR_PROTECTION : layer->default_protection;
}

/* What a page is before any layer restricts it. */
static uint8_t unrestricted(uint8_t page)
{
	return KVMATTR_RWX | (page & PAGE_IS_PRIVATE);
}

/* A uniform span as bytes, so that it can be combined with others. */
static void spread(struct fold_span *span, uint64_t gfn)
{
	if (span->is_uniform)
		memset(span->bytes, span->value, span->end - gfn);
	span->is_uniform = false;
}

/* The loops over bytes: restrict and no branches, so that they are vectorized. */
static void restrict_bytes(uint8_t *restrict bytes, const uint8_t *restrict entries, size_t n,
			   uint8_t by_default)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t is_explicit = (uint8_t) - (entries[i] >> 7);

		bytes[i] &= (uint8_t)((entries[i] & is_explicit) | (by_default & ~is_explicit) |
				      KVMATTR_PRIVATE);
	}
}
_Static_assert(LAYER_HAS_ENTRY == 0x80, "restrict_bytes() shifts it");

static void restrict_equally(uint8_t *bytes, size_t n, uint8_t mask)
{
	for (size_t i = 0; i < n; i++)
		bytes[i] &= mask;
}

static void unrestrict_bytes(uint8_t *restrict bytes, const uint8_t *restrict pages, size_t n)
{
	for (size_t i = 0; i < n; i++)
		bytes[i] = unrestricted(pages[i]);
}

static void leave_out_bytes(uint8_t *restrict bytes, const uint8_t *restrict pages, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t is_ram = (uint8_t) - (pages[i] & PAGE_IS_RAM);

		bytes[i] = (uint8_t)((bytes[i] & is_ram) | (KVMATTR_RWX & ~is_ram));
	}
}
_Static_assert(PAGE_IS_RAM == 1, "leave_out_bytes() negates it");

/* Cuts the span where this layer's ends, and intersects it with what the layer allows. */
static void intersect(struct fold_span *span, uint64_t gfn, const struct layer *layer,
		      unsigned int vtl)
{
	struct attribute_span entries = layer_span(layer, vtl, gfn, span->end);

	span->end = entries.end;
	if (entries.bytes) {
		spread(span, gfn);
		restrict_bytes(span->bytes, entries.bytes, span->end - gfn,
			       layer->default_protection);
		return;
	}
	entries.value = layer_protection(layer, entries.value) | KVMATTR_PRIVATE;
	if (span->is_uniform)
		span->value &= entries.value;
	else
		restrict_equally(span->bytes, span->end - gfn, entries.value);
}

static void start(struct fold_span *span, uint64_t gfn, const struct attribute_span *pages)
{
	span->end = pages->end;
	span->is_uniform = !pages->bytes;
	span->value = unrestricted(pages->value);
	if (pages->bytes)
		unrestrict_bytes(span->bytes, pages->bytes, span->end - gfn);
}

/* Layers hold for RAM; whatever else is in the span is KVM's default. */
static void leave_out_what_is_not_ram(struct fold_span *span, uint64_t gfn,
				      const struct attribute_span *pages)
{
	if (pages->bytes) {
		leave_out_bytes(span->bytes, pages->bytes, span->end - gfn);
	} else if (!(pages->value & PAGE_IS_RAM)) {
		span->is_uniform = true;
		span->value = KVMATTR_RWX;
	}
}

void fold_effective(const struct policy *policy, const struct view *view, uint64_t gfn,
		    uint64_t limit, struct fold_span *ret_span)
{
	struct attribute_span pages = attribute_map_span(&policy->pages, gfn, limit);

	start(ret_span, gfn, &pages);
	for (unsigned int k = view->vtl + 1u; k < KVMATTR_N_VTLS; k++)
		if (policy->layers[k].enabled)
			intersect(ret_span, gfn, &policy->layers[k], view->vtl);
	leave_out_what_is_not_ram(ret_span, gfn, &pages);
}

uint8_t fold_effective_at(const struct policy *policy, const struct view *view, uint64_t gfn)
{
	uint8_t page = attribute_map_get(&policy->pages, gfn);
	uint8_t value = unrestricted(page);

	if (!(page & PAGE_IS_RAM))
		return KVMATTR_RWX;
	for (unsigned int k = view->vtl + 1u; k < KVMATTR_N_VTLS; k++) {
		const struct layer *layer = &policy->layers[k];
		const struct attribute_map *map = layer->restricted[view->vtl];

		if (layer->enabled)
			value &= layer_protection(layer, map ? attribute_map_get(map, gfn) : 0) |
				 KVMATTR_PRIVATE;
	}
	return value;
}

void fold_layer(const struct policy *policy, unsigned int layer, unsigned int restricted_vtl,
		uint64_t gfn, uint64_t limit, struct fold_span *ret_span)
{
	struct attribute_span pages = attribute_map_span(&policy->pages, gfn, limit);

	assert(layer < KVMATTR_N_VTLS && restricted_vtl < layer);
	start(ret_span, gfn, &pages);
	if (policy->layers[layer].enabled)
		intersect(ret_span, gfn, &policy->layers[layer], restricted_vtl);
	leave_out_what_is_not_ram(ret_span, gfn, &pages);
	if (ret_span->is_uniform)
		ret_span->value &= KVMATTR_PROTECTION;
	else
		restrict_equally(ret_span->bytes, ret_span->end - gfn, KVMATTR_PROTECTION);
}

struct fold_explanation fold_explain(const struct policy *policy, const struct view *view,
				     uint64_t gfn, unsigned int access)
{
	struct fold_explanation ret = { .attributes = fold_effective_at(policy, view, gfn) };

	if (!(attribute_map_get(&policy->pages, gfn) & PAGE_IS_RAM))
		return ret;
	for (unsigned int k = view->vtl + 1u; k < KVMATTR_N_VTLS; k++) {
		const struct layer *layer = &policy->layers[k];
		const struct attribute_map *map = layer->restricted[view->vtl];
		uint8_t entry = map ? attribute_map_get(map, gfn) : 0;

		/* Higher VTLs supersede lower ones (TLFS, Memory Access Protection Hierarchy). */
		if (layer->enabled && access & ~layer_protection(layer, entry)) {
			ret.denying |= (uint16_t)(1u << k);
			ret.layer = (uint8_t)k;
		}
	}
	return ret;
}
