/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/image-checks.h"

#include "daemon/allocate.h"
#include "daemon/policy/image.h"
#include "tests/unit/policy-checks.h"
#include "tests/unit/seeded-suite.h"

#include <errno.h>
#include <string.h>

void images_must(struct policy *of, struct policy_element element)
{
	struct policy_undo_log *undo = policy_undo_log_new();
	struct page_ranges touched_pages = { 0 };
	char text[WIRE_TEXT_SIZE] = "";

	EXPECT(policy_apply(of, &owner, &element, undo, &touched_pages, text, sizeof(text)) ==
		       KVMATTR_OK,
	       "a policy that cannot have come to be: %s", text);
	policy_undo_log_free(undo);
	page_ranges_destroy(&touched_pages);
}

/* The longest run of equal bytes from gfn on. */
static struct kvmattr_range run_at(const struct attribute_map *map, uint64_t gfn,
				   uint8_t *ret_value)
{
	struct attribute_span span = attribute_map_span(map, gfn, KVMATTR_GFN_LIMIT);
	uint64_t end = gfn;

	*ret_value = span.bytes ? span.bytes[0] : span.value;
	if (!span.bytes)
		return (struct kvmattr_range){ gfn, span.end - gfn };
	while (end < span.end && span.bytes[end - gfn] == *ret_value)
		end++;
	return (struct kvmattr_range){ gfn, end - gfn };
}

/* Calls f for each run of bytes that are not 0. */
static void for_each_run(const struct attribute_map *map,
			 void (*f)(void *context, struct kvmattr_range range, uint8_t value),
			 void *context)
{
	struct kvmattr_range range;

	for (uint64_t gfn = 0; gfn < KVMATTR_GFN_LIMIT; gfn += range.n_pages) {
		uint8_t value;

		range = run_at(map, gfn, &value);
		if (value)
			f(context, range, value);
	}
}

struct making {
	struct policy *of;
	uint8_t layer;
	uint8_t vtl;
};

static void add_ram(void *context, struct kvmattr_range range, uint8_t value)
{
	struct making *making = context;
	bool was_private = value & PAGE_WAS_PRIVATE;

	images_must(making->of,
		    pages_update(KVMATTR_ADD_RAM, was_private, range.gfn, range.n_pages));
	if (was_private)
		images_must(making->of,
			    pages_update(KVMATTR_SET_VISIBILITY, 0, range.gfn, range.n_pages));
}

static void make_private(void *context, struct kvmattr_range range, uint8_t value)
{
	struct making *making = context;

	if (value & PAGE_IS_PRIVATE)
		images_must(making->of,
			    pages_update(KVMATTR_SET_VISIBILITY, 1, range.gfn, range.n_pages));
}

static void protect_pages(void *context, struct kvmattr_range range, uint8_t value)
{
	struct making *making = context;

	images_must(making->of, protect(making->layer, (uint16_t)(1u << making->vtl),
					value & KVMATTR_PROTECTION, range.gfn, range.n_pages));
}

static void lock_pages(void *context, struct kvmattr_range range, uint8_t value)
{
	struct making *making = context;

	while (value--)
		images_must(making->of, pages_update(KVMATTR_LOCK, 0, range.gfn, range.n_pages));
}

/* Makes a policy's like by updates alone. */
static struct policy *make_alike(const struct policy *from)
{
	struct making making = { .of = policy_new(from->views, from->n_views) };

	for_each_run(&from->pages, add_ram, &making);
	for (making.layer = 0; making.layer < KVMATTR_N_VTLS; making.layer++) {
		const struct layer *layer = &from->layers[making.layer];

		if (layer->enabled)
			images_must(making.of,
				    enable(making.layer, layer->default_protection, layer->mbec));
		for (making.vtl = 0; making.vtl < KVMATTR_N_VTLS; making.vtl++)
			if (layer->restricted[making.vtl])
				for_each_run(layer->restricted[making.vtl], protect_pages, &making);
	}
	for_each_run(&from->pages, make_private, &making);
	for_each_run(&from->lock_counts, lock_pages, &making);
	return making.of;
}

bool images_expect_refused_or_good(const uint8_t *data, size_t size)
{
	/* in a room of its own size, so that whoever reads behind it is found */
	uint8_t *exact = allocate(size);
	char text[WIRE_TEXT_SIZE] = "";
	struct policy *read = NULL, *made;
	struct image again = { 0 };
	size_t offset = SIZE_MAX;
	int r;

	memcpy(exact, data, size);
	r = policy_image_read(exact, size, 0, &read, &offset, text, sizeof(text));
	free(exact);
	if (r < 0) {
		EXPECT((r == -EBADMSG || r == -EPROTO) && !read && offset <= size &&
			       strlen(text) > 10,
		       "%d at %zu: %s", r, offset, text);
		return false;
	}
	made = make_alike(read);
	policy_image_write(made, &again);
	EXPECT(again.size == size && memcmp(again.data, data, size) == 0,
	       "an image that the policy would not be written as");
	image_destroy(&again);
	policy_free(made);
	policy_free(read);
	return true;
}
