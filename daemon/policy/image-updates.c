/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "image-updates.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What the VMM says when it adds RAM. */
#define PAGE_OF_VMM (PAGE_IS_RAM | PAGE_WAS_PRIVATE)

static const char *ram_name(uint8_t page)
{
	return !(page & PAGE_IS_RAM)     ? "no RAM"
	       : page & PAGE_WAS_PRIVATE ? "RAM that is private from the start"
					 : "RAM that is shared from the start";
}

static uint8_t byte_of(const struct attribute_span *span, uint64_t i)
{
	return span->bytes ? span->bytes[i] : span->value;
}

/* The first page whose bits of mask differ between two maps. */
static bool find_difference(const struct attribute_map *a, const struct attribute_map *b,
			    uint8_t mask, uint64_t *ret_gfn)
{
	for (uint64_t gfn = 0, end; gfn < KVMATTR_GFN_LIMIT; gfn = end) {
		struct attribute_span of_a = attribute_map_span(a, gfn, KVMATTR_GFN_LIMIT);
		struct attribute_span of_b = attribute_map_span(b, gfn, of_a.end);
		uint64_t n = of_a.bytes || of_b.bytes ? of_b.end - gfn : 1;

		end = of_b.end;
		for (uint64_t i = 0; i < n; i++) {
			if ((byte_of(&of_a, i) ^ byte_of(&of_b, i)) & mask) {
				*ret_gfn = gfn + i;
				return true;
			}
		}
	}
	return false;
}

enum kvmattr_status image_updates_check(const struct policy *from, const struct policy *to,
					char *text, size_t text_size)
{
	uint64_t gfn;

	for (unsigned int i = 0; i < from->n_views; i++) {
		if (to->view_of_vtl[from->views[i].vtl] >= 0)
			continue;
		snprintf(text, text_size,
			 "the policy is for a VM with a view of VTL %u, which this one has not",
			 from->views[i].vtl);
		return KVMATTR_INVALID_VTL_STATE;
	}
	if (find_difference(&from->pages, &to->pages, PAGE_OF_VMM, &gfn)) {
		snprintf(text, text_size,
			 "the policy is for a VM with other RAM: GFN 0x%" PRIx64
			 " is %s there, and %s here",
			 gfn, ram_name(attribute_map_get(&from->pages, gfn)),
			 ram_name(attribute_map_get(&to->pages, gfn)));
		return KVMATTR_INVALID_PARAMETER;
	}
	return KVMATTR_OK;
}

/* Is there a layer that cannot be enabled while there is private memory? */
static bool needs_detour(const struct policy *from, const struct policy *to)
{
	for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++) {
		if (!from->layers[k].enabled)
			continue;
		for (unsigned int i = 0; i < to->n_views; i++)
			if (to->views[i].vtl < k &&
			    !dialect_can_express(&to->views[i].dialect,
						 from->layers[k].default_protection |
							 KVMATTR_PRIVATE))
				return true;
	}
	return false;
}

void image_updates_begin(struct image_updates *updates, const struct policy *from,
			 const struct policy *to)
{
	*updates = (struct image_updates){
		.from = from,
		.is_detour = needs_detour(from, to),
		.phase = IMAGE_RESET,
		.element = { .kind = KVMATTR_RESET_VM },
	};
}

/* ---- Which pages --------------------------------------------------------------------------- */

/* The pages of a map that hold a byte for which the bits of mask are those of wanted. */
static void select_pages(struct image_updates *updates, const struct attribute_map *map,
			 unsigned int mask, unsigned int wanted)
{
	updates->map = map;
	updates->gfn = 0;
	for (unsigned int byte = 0; byte < 256; byte++)
		updates->wanted[byte] = (byte & mask) == wanted;
}

/* The bytes that a map holds somewhere. */
static void look_for_values(struct image_updates *updates, const struct attribute_map *map)
{
	struct attribute_span span;

	memset(updates->values, 0, sizeof(updates->values));
	for (uint64_t gfn = 0; gfn < KVMATTR_GFN_LIMIT; gfn = span.end) {
		span = attribute_map_span(map, gfn, KVMATTR_GFN_LIMIT);
		for (uint64_t i = 0; i < (span.bytes ? span.end - gfn : 1); i++)
			updates->values[byte_of(&span, i)] = true;
	}
	updates->value = 0;
}

/* Ranges of wanted pages, from where the last were found on. */
static uint32_t find_ranges(struct image_updates *updates, struct kvmattr_range *ret_ranges,
			    uint32_t max)
{
	struct kvmattr_range *range = NULL;
	uint32_t n = 0;

	while (updates->gfn < KVMATTR_GFN_LIMIT) {
		struct attribute_span span =
			attribute_map_span(updates->map, updates->gfn, KVMATTR_GFN_LIMIT);
		uint64_t step = span.bytes ? 1 : span.end - updates->gfn;

		for (uint64_t gfn = updates->gfn; gfn < span.end; gfn += step) {
			if (!updates->wanted[byte_of(&span, gfn - updates->gfn)]) {
				range = NULL;
			} else if (range) {
				range->n_pages += step;
			} else if (n == max) {
				updates->gfn = gfn;
				return n;
			} else {
				range = &ret_ranges[n++];
				*range = (struct kvmattr_range){ gfn, step };
			}
		}
		updates->gfn = span.end;
	}
	return n;
}

/* ---- Which update comes next --------------------------------------------------------------- */

static bool next_layer(struct image_updates *updates)
{
	const struct layer *layer;

	do {
		if (++updates->layer == KVMATTR_N_VTLS)
			return false;
		layer = &updates->from->layers[updates->layer];
	} while (!layer->enabled);
	updates->vtls_done = 0;
	updates->map = NULL;
	updates->is_told = false;
	updates->element = (struct policy_element){
		.kind = KVMATTR_ENABLE_LAYER,
		.layer = (uint8_t)updates->layer,
		.value = layer->default_protection,
		.mbec = layer->mbec,
	};
	return true;
}

/* The next VTL that the layer restricts page by page, and all for which it does the same. */
static bool next_restricted(struct image_updates *updates)
{
	struct attribute_map *const *maps = updates->from->layers[updates->layer].restricted;
	unsigned int t = 0;
	uint16_t set;
	uint64_t gfn;

	while (t < updates->layer && (updates->vtls_done >> t & 1 || !maps[t]))
		t++;
	if (t == updates->layer)
		return false;
	set = (uint16_t)(1u << t);
	for (unsigned int other = t + 1; other < updates->layer; other++)
		if (maps[other] && !find_difference(maps[t], maps[other], UINT8_MAX, &gfn))
			set |= (uint16_t)(1u << other);
	updates->vtls_done |= set;
	look_for_values(updates, maps[t]);
	updates->map = maps[t];
	updates->element = (struct policy_element){
		.kind = KVMATTR_PROTECT,
		.layer = (uint8_t)updates->layer,
		.restricted = set,
	};
	return true;
}

static bool next_protection(struct image_updates *updates)
{
	while (updates->value < UINT8_MAX) {
		updates->value++;
		if (!updates->values[updates->value])
			continue;
		assert(updates->value & LAYER_HAS_ENTRY);
		select_pages(updates, updates->map, UINT8_MAX, updates->value);
		updates->element.value = updates->value & KVMATTR_PROTECTION;
		return true;
	}
	return false;
}

static bool next_of_layers(struct image_updates *updates)
{
	if (updates->map && next_protection(updates))
		return true;
	/* a map without entries has no protection */
	while (updates->layer && next_restricted(updates))
		if (next_protection(updates))
			return true;
	return next_layer(updates);
}

/* A page is locked as often as it was: once with all that are locked at least so often. */
static bool next_lock(struct image_updates *updates)
{
	unsigned int count = ++updates->value, most = UINT8_MAX;

	while (most && !updates->values[most])
		most--;
	if (count > most)
		return false;
	updates->element = (struct policy_element){ .kind = KVMATTR_LOCK };
	select_pages(updates, &updates->from->lock_counts, 0, 0);
	memset(updates->wanted, 0, count * sizeof(updates->wanted[0]));
	return true;
}

static void begin_visibility(struct image_updates *updates, bool private)
{
	unsigned int mask = PAGE_OF_VMM | PAGE_IS_PRIVATE, wanted = PAGE_IS_RAM;

	wanted |= private ? PAGE_IS_PRIVATE : PAGE_WAS_PRIVATE;
	/* with a detour, all that is private in the end, and all that is so from the start */
	if (updates->is_detour)
		mask = wanted;
	updates->element = (struct policy_element){
		.kind = KVMATTR_SET_VISIBILITY,
		.value = private,
	};
	select_pages(updates, &updates->from->pages, mask, wanted);
}

/* Goes on to what may be the next update. */
static void advance(struct image_updates *updates)
{
	switch (updates->phase) {
	case IMAGE_RESET:
		updates->phase = IMAGE_SHARE;
		begin_visibility(updates, false);
		return;
	case IMAGE_SHARE:
		updates->phase = IMAGE_LAYERS;
		updates->map = NULL;
		/* fall through */
	case IMAGE_LAYERS:
		if (next_of_layers(updates))
			return;
		updates->phase = IMAGE_MAKE_PRIVATE;
		begin_visibility(updates, true);
		return;
	case IMAGE_MAKE_PRIVATE:
		updates->phase = IMAGE_LOCK;
		look_for_values(updates, &updates->from->lock_counts);
		/* fall through */
	case IMAGE_LOCK:
		if (!next_lock(updates))
			updates->phase = IMAGE_END;
		return;
	case IMAGE_END:
		return;
	}
}

bool image_updates_next(struct image_updates *updates, struct policy_element *ret_element,
			struct kvmattr_range *ret_ranges, uint32_t max, uint32_t *ret_n)
{
	assert(max);
	while (updates->phase != IMAGE_END) {
		uint32_t n = updates->map ? find_ranges(updates, ret_ranges, max) : 0;

		if (n || (!updates->map && !updates->is_told)) {
			updates->is_told = true;
			*ret_element = updates->element;
			*ret_n = n;
			return true;
		}
		advance(updates);
	}
	return false;
}
