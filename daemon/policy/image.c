/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An image is a header, the views, the layers, then the maps that hold anything: pages, lock
 * counts, and each layer's for each VTL that it restricts.
 *
 * What is checked on reading is what holds for every policy that updates can bring about, and
 * whatever passes can be brought about by updates: entries and locks on RAM alone, locked pages
 * that are counted, protections that every kernel concerned can enforce, private pages only where
 * it can enforce these on private memory, too.
 */
#include "image.h"

#include "daemon/allocate.h"
#include "fold.h"
#include "image-map.h"
#include "request.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define IMAGE_MAGIC  UINT32_C(0x49504d4b) /* "KMPI" */
#define IMAGE_FORMAT 1u

/* Followed by n_views struct wire_view, KVMATTR_N_VTLS struct image_layer, n_maps maps. */
struct image_header {
	uint32_t magic;
	uint32_t format;
	uint32_t n_views;
	uint32_t n_maps;
};
_Static_assert(sizeof(struct image_header) == 16, "layout");

/* [0] and those that are not enabled are all 0. */
struct image_layer {
	uint8_t enabled;
	uint8_t mbec;
	uint8_t default_protection;
	uint8_t reserved;
};
_Static_assert(sizeof(struct image_layer) == 4, "layout");

enum image_map_kind { IMAGE_PAGES = 0, IMAGE_LOCK_COUNTS = 1, IMAGE_LAYER = 2 };

/* Followed by its spans.  Maps come in the order of kind, layer and VTL. */
struct image_map {
	uint8_t kind;       /* enum image_map_kind */
	uint8_t layer;      /* of IMAGE_LAYER, else 0 */
	uint8_t restricted; /* of IMAGE_LAYER: the VTL, else 0 */
	uint8_t reserved;
	uint32_t n_spans; /* not 0: a map that holds nothing is left out */
};
_Static_assert(sizeof(struct image_map) == 8, "layout");

/* ---- Writing -------------------------------------------------------------------------------- */

void image_destroy(struct image *image)
{
	free(image->data);
	*image = (struct image){ 0 };
}

void image_add(struct image *image, const void *data, size_t size)
{
	size_t capacity = image->capacity ? image->capacity : 4096;

	while (capacity - image->size < size)
		capacity *= 2;
	if (capacity != image->capacity) {
		image->data = allocate_again(image->data, capacity, 1);
		image->capacity = capacity;
	}
	if (size)
		memcpy(image->data + image->size, data, size);
	image->size += size;
}

/* Returns how many maps were added: none if it holds nothing. */
static uint32_t add_map(struct image *image, const struct attribute_map *map,
			struct image_map header)
{
	const size_t at = image->size;

	image_add(image, &header, sizeof(header));
	header.n_spans = image_add_spans(image, map);
	if (!header.n_spans) {
		image->size = at;
		return 0;
	}
	memcpy(image->data + at, &header, sizeof(header));
	return 1;
}

static uint32_t add_maps(struct image *image, const struct policy *policy)
{
	uint32_t n = add_map(image, &policy->pages, (struct image_map){ .kind = IMAGE_PAGES });

	n += add_map(image, &policy->lock_counts, (struct image_map){ .kind = IMAGE_LOCK_COUNTS });
	for (uint8_t k = 1; k < KVMATTR_N_VTLS; k++)
		for (uint8_t t = 0; t < k; t++)
			if (policy->layers[k].restricted[t])
				n += add_map(image, policy->layers[k].restricted[t],
					     (struct image_map){ .kind = IMAGE_LAYER,
								 .layer = k,
								 .restricted = t });
	return n;
}

void policy_image_write(const struct policy *policy, struct image *image)
{
	struct image_header header = {
		.magic = IMAGE_MAGIC,
		.format = IMAGE_FORMAT,
		.n_views = policy->n_views,
	};
	const size_t at = image->size;

	image_add(image, &header, sizeof(header));
	for (unsigned int i = 0; i < policy->n_views; i++) {
		const struct wire_view view = {
			.vtl = policy->views[i].vtl,
			.abi = (uint8_t)policy->views[i].dialect.abi,
			.supported = policy->views[i].dialect.supported,
		};

		image_add(image, &view, sizeof(view));
	}
	for (unsigned int k = 0; k < KVMATTR_N_VTLS; k++) {
		const struct image_layer layer = {
			.enabled = policy->layers[k].enabled,
			.mbec = policy->layers[k].mbec,
			.default_protection = policy->layers[k].default_protection,
		};

		image_add(image, &layer, sizeof(layer));
	}
	header.n_maps = add_maps(image, policy);
	memcpy(image->data + at, &header, sizeof(header));
}

/* ---- Reading: views and layers -------------------------------------------------------------- */

static int read_views(struct image_reading *reading, uint32_t n_views, struct policy **ret)
{
	struct view views[KVMATTR_N_VTLS] = { 0 };
	unsigned int set = 0;

	if (n_views > KVMATTR_N_VTLS)
		return image_refuse(reading, offsetof(struct image_header, n_views),
				    "a policy has no %u views", n_views);
	for (uint32_t i = 0; i < n_views; i++) {
		const size_t at = reading->at;
		struct wire_view view;
		int r = image_take(reading, &view, sizeof(view));

		if (r < 0)
			return r;
		if (view.vtl >= KVMATTR_N_VTLS || set >> view.vtl & 1)
			return image_refuse(reading, at,
					    "VTL %u is none, or has a view before this one",
					    view.vtl);
		if (view.has_stats || view.reserved || view.reserved2)
			return image_refuse(reading, at, "reserved fields of a view are not 0");
		if (!dialect_restore(view.abi, view.supported, &views[i].dialect))
			return image_refuse(
				reading, at,
				"no kernel speaks dialect %u with attribute bits 0x%" PRIx64,
				view.abi, view.supported);
		views[i].vtl = view.vtl;
		set |= 1u << view.vtl;
	}
	if (!(set & 1))
		return image_refuse(reading, offsetof(struct image_header, n_views),
				    "there is no view of VTL 0");
	*ret = policy_new(views, n_views);
	return 0;
}

/* Can the kernels of all VTLs below the layer enforce it?  There is one of VTL 0. */
static bool is_expressible_below(const struct policy *policy, unsigned int layer,
				 unsigned int protection)
{
	if (protection & ~KVMATTR_PROTECTION)
		return false;
	for (unsigned int i = 0; i < policy->n_views; i++)
		if (policy->views[i].vtl < layer &&
		    !dialect_can_express(&policy->views[i].dialect, protection))
			return false;
	return true;
}

static int read_layers(struct image_reading *reading, struct policy *policy)
{
	for (unsigned int k = 0; k < KVMATTR_N_VTLS; k++) {
		struct layer *layer = &policy->layers[k];
		const size_t at = reading->at;
		struct image_layer read;
		int r = image_take(reading, &read, sizeof(read));

		if (r < 0)
			return r;
		if (read.enabled > (k > 0) || read.mbec > read.enabled || read.reserved ||
		    (!read.enabled && read.default_protection))
			return image_refuse(reading, at, "layer %u: no layer is like this", k);
		if (read.enabled && !is_expressible_below(policy, k, read.default_protection))
			return image_refuse(reading, at,
					    "layer %u: its default protection, 0x%x, cannot be "
					    "enforced by the kernels of the VTLs below",
					    k, read.default_protection);
		layer->enabled = read.enabled;
		layer->mbec = read.mbec;
		layer->default_protection = read.default_protection;
	}
	return 0;
}

/* ---- Reading: maps -------------------------------------------------------------------------- */

/* What image_read_spans() asks about. */
struct map_reading {
	struct image_reading *reading;
	struct policy *policy;
	uint64_t n_locked;  /* pages that say so */
	uint64_t n_counted; /* pages of which locks are counted */
	uint8_t said;       /* by any page of itself */
	uint8_t needed_bit; /* of a page, to hold something in the map under way */
};

/* Counts pages that say this or that of themselves. */
static int check_pages(void *context, const struct image_pages *pages)
{
	struct map_reading *map = context;
	const uint8_t *page = pages->bytes ? pages->bytes : &pages->value;
	const size_t n_looked = pages->bytes ? ATTRIBUTE_MAP_LEAF_PAGES : 1;
	const uint64_t n = pages->n_pages / n_looked;
	uint32_t n_ram = 0, n_private = 0, n_locked = 0;
	uint8_t said = 0;

	for (size_t i = 0; i < n_looked; i++) {
		n_ram += (page[i] & PAGE_IS_RAM) != 0;
		n_private += (page[i] & PAGE_IS_PRIVATE) != 0;
		n_locked += (page[i] & PAGE_IS_LOCKED) != 0;
		said |= page[i];
	}
	map->policy->n_ram_pages += n * n_ram;
	map->policy->ram_version++;
	map->policy->n_private_pages += n * n_private;
	map->n_locked += n * n_locked;
	map->said |= said;
	return 0;
}

/* The first page of a leaf that holds something, but has not the bit in page that this takes. */
static bool find_misplaced(const struct image_pages *leaf, const uint8_t *page, uint8_t needed_bit,
			   uint64_t *ret_gfn)
{
	unsigned int is_misplaced = 0, i = 0;

	for (; i < ATTRIBUTE_MAP_LEAF_PAGES; i++)
		is_misplaced |= (leaf->bytes[i] != 0) & !(page[i] & needed_bit);
	if (!is_misplaced)
		return false;
	for (i = 0; !leaf->bytes[i] || page[i] & needed_bit;)
		i++;
	*ret_gfn = leaf->gfn + i;
	return true;
}

/* Entries of a layer need RAM, counts need locked pages. */
static int check_places(void *context, const struct image_pages *pages)
{
	const struct map_reading *map = context;
	const struct kvmattr_range range = { pages->gfn, pages->n_pages };
	const uint8_t bit = map->needed_bit;
	struct attribute_span span;
	uint64_t gfn;

	/* mostly it is all RAM, whatever is in the map */
	if (!request_find_page(&map->policy->pages, range, bit, bit, &gfn))
		return 0;
	if (pages->bytes) {
		uint8_t equal[ATTRIBUTE_MAP_LEAF_PAGES];

		span = attribute_map_span(&map->policy->pages, pages->gfn,
					  pages->gfn + pages->n_pages);
		if (!span.bytes)
			span.bytes = memset(equal, span.value, sizeof(equal));
		if (!find_misplaced(pages, span.bytes, bit, &gfn))
			return 0;
	}
	return image_refuse(
		map->reading, pages->offset,
		bit == PAGE_IS_RAM ? "GFN 0x%" PRIx64 " is not RAM, but a layer has an entry for it"
				   : "GFN 0x%" PRIx64 " is not locked, but its locks are counted",
		gfn);
}

static int check_counts(void *context, const struct image_pages *pages)
{
	struct map_reading *map = context;

	if (!pages->bytes)
		map->n_counted += pages->n_pages;
	for (size_t i = 0; pages->bytes && i < ATTRIBUTE_MAP_LEAF_PAGES; i++)
		map->n_counted += pages->bytes[i] != 0;
	return check_places(context, pages);
}

static bool is_page(unsigned int value)
{
	return value & PAGE_IS_RAM &&
	       !(value & ~(PAGE_IS_RAM | PAGE_IS_LOCKED | PAGE_WAS_PRIVATE | PAGE_IS_PRIVATE));
}

static bool is_entry(unsigned int value, const struct dialect *dialect)
{
	return value & LAYER_HAS_ENTRY && !(value & ~(LAYER_HAS_ENTRY | KVMATTR_PROTECTION)) &&
	       dialect_can_express(dialect, value & KVMATTR_PROTECTION);
}

static struct image_map_rules make_rules(struct map_reading *map, const struct image_map *header)
{
	const struct policy *policy = map->policy;
	struct image_map_rules rules = { .context = map };
	const struct view *view = &policy->views[policy->view_of_vtl[header->restricted]];

	rules.check = header->kind == IMAGE_PAGES         ? check_pages
		      : header->kind == IMAGE_LOCK_COUNTS ? check_counts
							  : check_places;
	map->needed_bit = header->kind == IMAGE_LAYER ? PAGE_IS_RAM : PAGE_IS_LOCKED;
	for (unsigned int v = 0; v < 256; v++)
		rules.is_value[v] =
			!v || (header->kind == IMAGE_PAGES         ? is_page(v)
			       : header->kind == IMAGE_LOCK_COUNTS ? true
								   : is_entry(v, &view->dialect));
	return rules;
}

static struct attribute_map *new_map(void)
{
	struct attribute_map *map = allocate_one(struct attribute_map);

	attribute_map_init(map, 0);
	return map;
}

/* Which map is it?  NULL: there cannot be one, and why is told. */
static struct attribute_map *choose_map(const struct image_reading *reading, struct policy *policy,
					const struct image_map *header, size_t at)
{
	struct layer *layer = &policy->layers[header->layer % KVMATTR_N_VTLS];
	const bool is_layers = header->kind == IMAGE_LAYER;

	if (header->kind > IMAGE_LAYER || header->reserved || !header->n_spans ||
	    header->layer >= KVMATTR_N_VTLS ||
	    (!is_layers && (header->layer || header->restricted))) {
		(void)image_refuse(reading, at, "no map begins like this");
		return NULL;
	}
	if (!is_layers)
		return header->kind == IMAGE_PAGES ? &policy->pages : &policy->lock_counts;
	if (!layer->enabled) {
		(void)image_refuse(reading, at, "layer %u is not enabled, but has entries",
				   header->layer);
		return NULL;
	}
	if (header->restricted >= header->layer || policy->view_of_vtl[header->restricted] < 0) {
		(void)image_refuse(reading, at,
				   "layer %u has entries for VTL %u, which is not below it or has "
				   "no view",
				   header->layer, header->restricted);
		return NULL;
	}
	return layer->restricted[header->restricted] = new_map();
}

/* Reads the map behind *before, which it becomes. */
static int read_map(struct map_reading *reading, struct image_map *before, bool is_first)
{
	const size_t at = reading->reading->at;
	struct image_map_rules rules;
	struct attribute_map *map;
	struct image_map header;
	int r = image_take(reading->reading, &header, sizeof(header));

	if (r < 0)
		return r;
	if (!is_first && memcmp(&header, before, offsetof(struct image_map, reserved)) <= 0)
		return image_refuse(reading->reading, at,
				    "the map before this one is not before it");
	map = choose_map(reading->reading, reading->policy, &header, at);
	if (!map)
		return -EBADMSG;
	*before = header;
	rules = make_rules(reading, &header);
	return image_read_spans(reading->reading, header.n_spans, &rules, map);
}

/* The effective attributes of all pages of a view, as a set. */
static uint32_t find_attributes(const struct policy *policy, const struct view *view)
{
	struct fold_span span;
	uint32_t found = 0;

	for (uint64_t gfn = 0; gfn < KVMATTR_GFN_LIMIT; gfn = span.end) {
		fold_effective(policy, view, gfn, KVMATTR_GFN_LIMIT, &span);
		if (span.is_uniform)
			found |= UINT32_C(1) << span.value;
		for (uint64_t i = 0; !span.is_uniform && i < span.end - gfn; i++)
			found |= UINT32_C(1) << span.bytes[i];
	}
	return found;
}

/*
 * What the layers impose can be enforced on shared memory: that was checked of each protection.
 * On private memory fewer can, and there what counts is what comes of all layers.
 */
static int check_private_pages(const struct image_reading *reading, const struct policy *policy)
{
	for (unsigned int i = 0; i < policy->n_views; i++) {
		const struct view *view = &policy->views[i];
		uint32_t found = UINT32_C(1) << (KVMATTR_RWX | KVMATTR_PRIVATE);

		if (policy->n_private_pages)
			found |= find_attributes(policy, view);
		if (found & ~view->dialect.expressible)
			return image_refuse(reading, reading->size,
					    "private pages have attributes that the kernel of "
					    "VTL %u (%s, attribute bits 0x%" PRIx64
					    ") cannot enforce",
					    view->vtl, kvmattr_abi_name(view->dialect.abi),
					    view->dialect.supported);
	}
	return 0;
}

static int read_maps(struct image_reading *reading, uint32_t n_maps, struct policy *policy)
{
	struct map_reading maps = { .reading = reading, .policy = policy };
	struct image_map header = { 0 };
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < n_maps; i++)
		r = read_map(&maps, &header, i == 0);
	if (r == 0 && reading->at != reading->size)
		r = image_refuse(reading, reading->at,
				 "%zu bytes are left over behind the policy's image",
				 reading->size - reading->at);
	if (r == 0 && maps.n_locked != maps.n_counted)
		r = image_refuse(reading, reading->size,
				 "%" PRIu64 " pages are locked, but locks are counted of %" PRIu64,
				 maps.n_locked, maps.n_counted);
	if (r == 0 && maps.said & (PAGE_IS_PRIVATE | PAGE_WAS_PRIVATE))
		r = check_private_pages(reading, policy);
	return r;
}

static int read_header(struct image_reading *reading, struct image_header *ret)
{
	int r = image_take(reading, ret, sizeof(*ret));

	if (r < 0)
		return r;
	if (ret->magic != IMAGE_MAGIC)
		return image_refuse(reading, 0, "this is no image of a policy");
	if (ret->format != IMAGE_FORMAT) {
		(void)image_refuse(reading, offsetof(struct image_header, format),
				   "the policy's image has format %u, of another version: this "
				   "one knows %u",
				   ret->format, IMAGE_FORMAT);
		return -EPROTO;
	}
	return 0;
}

int policy_image_read(const uint8_t *data, size_t size, size_t max_map_bytes, struct policy **ret,
		      size_t *ret_offset, char *text, size_t text_size)
{
	struct image_reading reading = {
		.data = data,
		.size = size,
		.bytes_left = max_map_bytes ? max_map_bytes : SIZE_MAX,
		.ret_offset = ret_offset,
		.text = text,
		.text_size = text_size,
	};
	struct policy *policy = NULL;
	struct image_header header;
	int r = read_header(&reading, &header);

	if (r == 0)
		r = read_views(&reading, header.n_views, &policy);
	if (r == 0)
		r = read_layers(&reading, policy);
	if (r == 0)
		r = read_maps(&reading, header.n_maps, policy);
	if (r < 0) {
		policy_free(policy);
		return r;
	}
	*ret = policy;
	return 0;
}
