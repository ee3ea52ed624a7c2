/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/policy-oracle.h"

#include "daemon/policy/fold.h"
#include "tests/unit/seeded-suite.h"

#include <string.h>

#define BROKEN(name) (UINT32_C(1) << KVMATTR_##name)

void oracle_init(struct oracle *oracle, const struct policy *policy)
{
	memset(oracle, 0, sizeof(*oracle));
	ck_assert_uint_le(policy->n_views, ORACLE_VIEWS);
	oracle->n_views = policy->n_views;
	for (unsigned int v = 0; v < policy->n_views; v++) {
		oracle->views[v].vtl = policy->views[v].vtl;
		oracle->views[v].abi = policy->views[v].dialect.abi;
	}
	for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++)
		memset(oracle->pages[gfn].entry, ORACLE_NO_ENTRY, sizeof(oracle->pages[gfn].entry));
}

/* ---- What a page is ---------------------------------------------------------------------------- */

uint8_t oracle_imposed(const struct oracle *oracle, unsigned int layer, unsigned int view,
		       uint64_t gfn)
{
	const struct oracle_page *page = &oracle->pages[gfn];

	if (!page->is_ram || !oracle->layers[layer].enabled || layer <= oracle->views[view].vtl)
		return KVMATTR_RWX;
	if (page->entry[layer][view] != ORACLE_NO_ENTRY)
		return (uint8_t)page->entry[layer][view];
	return oracle->layers[layer].by_default;
}

uint8_t oracle_effective(const struct oracle *oracle, unsigned int view, uint64_t gfn)
{
	uint8_t ret = KVMATTR_RWX;

	for (unsigned int layer = 1; layer < KVMATTR_N_VTLS; layer++)
		ret &= oracle_imposed(oracle, layer, view, gfn);
	return ret | (oracle->pages[gfn].is_private ? KVMATTR_PRIVATE : 0);
}

bool oracle_can_enforce(enum kvmattr_abi abi, unsigned int attributes)
{
	bool private = attributes & KVMATTR_PRIVATE;

	switch (attributes & ~KVMATTR_PRIVATE) {
	case KVMATTR_RWX:
		return true;
	case KVMATTR_R:
	case KVMATTR_RW:
	case KVMATTR_RX:
		return abi == KVMATTR_ABI_V10 || abi == KVMATTR_ABI_V10NA ||
		       (abi == KVMATTR_ABI_DENY && !private);
	case KVMATTR_NONE:
		return !private && (abi == KVMATTR_ABI_DENY || abi == KVMATTR_ABI_V10NA);
	default:
		return false;
	}
}

/* ---- What an element may do --------------------------------------------------------------------- */

static bool is_on_pages(enum kvmattr_update_kind kind)
{
	return kind == KVMATTR_PROTECT || kind == KVMATTR_SET_VISIBILITY || kind == KVMATTR_LOCK ||
	       kind == KVMATTR_UNLOCK || kind == KVMATTR_ADD_RAM || kind == KVMATTR_REMOVE_RAM;
}

static bool is_on_a_layer(enum kvmattr_update_kind kind)
{
	return kind == KVMATTR_PROTECT || kind == KVMATTR_ENABLE_LAYER ||
	       kind == KVMATTR_RESET_LAYER;
}

static uint32_t judge_actor(const struct policy_actor *actor, const struct policy_element *element)
{
	bool may;

	switch (element->kind) {
	case KVMATTR_PROTECT:
	case KVMATTR_ENABLE_LAYER:
	case KVMATTR_RESET_LAYER:
		may = element->layer <= actor->vtl;
		break;
	case KVMATTR_SET_VISIBILITY:
		may = actor->rights & WIRE_RIGHT_VISIBILITY;
		break;
	default:
		may = false;
	}
	return may || actor->is_owner ? 0 : BROKEN(ACCESS_DENIED);
}

static uint32_t judge_form(const struct policy_element *element)
{
	const struct kvmattr_range *range = &element->range;
	bool has_protection =
		element->kind == KVMATTR_PROTECT || element->kind == KVMATTR_ENABLE_LAYER;
	bool has_visibility =
		element->kind == KVMATTR_SET_VISIBILITY || element->kind == KVMATTR_ADD_RAM;
	bool is_good = is_on_pages(element->kind)
			       ? range->n_pages > 0 && range->gfn < KVMATTR_GFN_LIMIT &&
					 range->n_pages <= KVMATTR_GFN_LIMIT - range->gfn
			       : range->n_pages == 0;

	if (is_on_a_layer(element->kind))
		is_good &= element->layer >= 1 && element->layer < KVMATTR_N_VTLS;
	else
		is_good &= element->layer == 0;
	if (element->kind != KVMATTR_PROTECT)
		is_good &= element->restricted == 0;
	if (element->kind != KVMATTR_ENABLE_LAYER)
		is_good &= !element->mbec;
	if (!has_protection)
		is_good &= element->value <= (has_visibility ? 1 : 0);
	return is_good ? 0 : BROKEN(INVALID_PARAMETER);
}

/* Which protection that is, or why it is none. */
static uint32_t judge_protection(unsigned int value, bool mbec, uint8_t *ret_protection)
{
	bool kernel = value & KVMATTR_KERNEL_EXECUTE, user = value & KVMATTR_USER_EXECUTE;

	if (!mbec)
		user = kernel;
	if (value > KVMATTR_PROTECTION || (kernel && !user))
		return BROKEN(INVALID_PARAMETER);
	if (!(value & KVMATTR_READ) && (value & KVMATTR_WRITE || kernel || user))
		return BROKEN(INVALID_PARAMETER);
	if (user && !kernel)
		return BROKEN(UNSUPPORTED);
	*ret_protection = (uint8_t)((value & KVMATTR_RW) | (kernel ? KVMATTR_EXECUTE : 0));
	return 0;
}

static bool is_restricted(const struct oracle *oracle, const struct policy_element *element,
			  unsigned int view)
{
	unsigned int vtl = oracle->views[view].vtl;

	return vtl < element->layer &&
	       (element->kind == KVMATTR_ENABLE_LAYER || element->restricted >> vtl & 1);
}

static uint32_t judge_restricted(const struct oracle *oracle, const struct policy_element *element)
{
	uint32_t with_views = 0, below = (UINT32_C(1) << element->layer) - 1;

	for (unsigned int v = 0; v < oracle->n_views; v++)
		with_views |= UINT32_C(1) << oracle->views[v].vtl;
	if (element->restricted == KVMATTR_ALL_LOWER)
		return with_views & below ? 0 : BROKEN(INVALID_PARAMETER);
	if (!element->restricted || element->restricted & ~below)
		return BROKEN(INVALID_PARAMETER);
	return element->restricted & ~with_views ? BROKEN(INVALID_VTL_STATE) : 0;
}

static const struct oracle_page *page_at(const struct oracle *oracle, uint64_t gfn)
{
	static const struct oracle_page no_ram = { 0 };

	return gfn < ORACLE_PAGES ? &oracle->pages[gfn] : &no_ram;
}

/* As far as a range can matter: nothing behind the array is RAM. */
static uint64_t end_of(const struct policy_element *element)
{
	uint64_t end = element->range.gfn + element->range.n_pages;

	return end <= ORACLE_PAGES ? end : ORACLE_PAGES + 1;
}

static uint32_t judge_pages(const struct oracle *oracle, const struct policy_element *element)
{
	uint64_t gfn = element->range.gfn;
	uint32_t broken = 0;

	do {
		const struct oracle_page *page = page_at(oracle, gfn);

		if (page->is_ram != (element->kind != KVMATTR_ADD_RAM))
			broken |= BROKEN(INVALID_PARAMETER);
		if (element->kind == KVMATTR_UNLOCK && !page->n_locks)
			broken |= BROKEN(INVALID_PARAMETER);
		if (element->kind == KVMATTR_LOCK && page->n_locks == 255)
			broken |= BROKEN(LIMIT_EXCEEDED);
		if (page->n_locks && element->kind != KVMATTR_LOCK &&
		    element->kind != KVMATTR_UNLOCK)
			broken |= BROKEN(OPERATION_DENIED);
	} while (++gfn < end_of(element));
	return broken;
}

/* What the kernels could not enforce if it were done; protection: of what is imposed. */
static uint32_t judge_kernels(const struct oracle *oracle, const struct policy_element *element,
			      uint8_t protection)
{
	bool is_default = element->kind == KVMATTR_ENABLE_LAYER;
	uint64_t gfn = is_default ? 0 : element->range.gfn;
	uint64_t end = is_default ? ORACLE_PAGES : end_of(element);

	for (unsigned int v = 0; v < oracle->n_views; v++) {
		enum kvmattr_abi abi = oracle->views[v].abi;

		if (!is_restricted(oracle, element, v))
			continue;
		if (!oracle_can_enforce(abi, protection))
			return BROKEN(UNSUPPORTED);
		for (uint64_t g = gfn; g < end; g++)
			if (page_at(oracle, g)->is_private &&
			    !oracle_can_enforce(abi, protection | KVMATTR_PRIVATE))
				return BROKEN(UNSUPPORTED);
	}
	return 0;
}

/* A layer that is enabled with a default, or reset, changes no page that is locked. */
static uint32_t judge_locked_pages(const struct oracle *oracle,
				   const struct policy_element *element, uint8_t by_default)
{
	for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++)
		for (unsigned int v = 0; v < oracle->n_views; v++) {
			uint8_t other = element->kind == KVMATTR_RESET_LAYER
						? oracle_imposed(oracle, element->layer, v, gfn)
						: by_default;

			if (page_at(oracle, gfn)->n_locks &&
			    oracle->views[v].vtl < element->layer && other != KVMATTR_RWX)
				return BROKEN(OPERATION_DENIED);
		}
	return 0;
}

static uint32_t judge_layer(const struct oracle *oracle, const struct policy_element *element)
{
	const struct oracle_layer *layer = &oracle->layers[element->layer];
	bool is_protect = element->kind == KVMATTR_PROTECT;
	uint8_t protection = 0;
	uint32_t broken = 0;

	if (layer->enabled != (element->kind != KVMATTR_ENABLE_LAYER))
		broken |= BROKEN(INVALID_VTL_STATE);
	if (element->kind == KVMATTR_RESET_LAYER)
		return broken | judge_locked_pages(oracle, element, 0);
	broken |= judge_protection(element->value, is_protect ? layer->mbec : element->mbec,
				   &protection);
	if (is_protect)
		broken |= judge_restricted(oracle, element);
	if (broken)
		return broken;
	return judge_kernels(oracle, element, protection) |
	       (is_protect ? 0 : judge_locked_pages(oracle, element, protection));
}

static uint32_t judge_visibility(const struct oracle *oracle, const struct policy_element *element)
{
	uint32_t broken = 0;

	for (uint64_t gfn = element->range.gfn; gfn < end_of(element) && gfn < ORACLE_PAGES; gfn++)
		for (unsigned int v = 0; v < oracle->n_views; v++) {
			uint8_t now = oracle_effective(oracle, v, gfn);

			if (element->value &&
			    !oracle_can_enforce(oracle->views[v].abi, now | KVMATTR_PRIVATE))
				broken |= BROKEN(UNSUPPORTED);
			if (!element->value && oracle->views[v].vtl == 0 && now & KVMATTR_PRIVATE &&
			    (now & KVMATTR_RW) != KVMATTR_RW)
				broken |= BROKEN(ACCESS_DENIED);
		}
	return broken;
}

static uint32_t judge_new_ram(const struct oracle *oracle, const struct policy_element *element)
{
	for (unsigned int v = 0; v < oracle->n_views; v++) {
		uint8_t attributes = element->value ? KVMATTR_RWX | KVMATTR_PRIVATE : KVMATTR_RWX;

		for (unsigned int k = oracle->views[v].vtl + 1u; k < KVMATTR_N_VTLS; k++)
			if (oracle->layers[k].enabled)
				attributes &= oracle->layers[k].by_default | KVMATTR_PRIVATE;
		if (!oracle_can_enforce(oracle->views[v].abi, attributes))
			return BROKEN(UNSUPPORTED);
	}
	return 0;
}

uint32_t oracle_judge(const struct oracle *oracle, const struct policy_actor *actor,
		      const struct policy_element *element)
{
	uint32_t broken = judge_actor(actor, element) | judge_form(element);

	if (broken & BROKEN(INVALID_PARAMETER))
		return broken; /* there is no saying what it means */
	if (is_on_pages(element->kind))
		broken |= judge_pages(oracle, element);
	if (is_on_a_layer(element->kind))
		broken |= judge_layer(oracle, element);
	if (element->kind == KVMATTR_SET_VISIBILITY)
		broken |= judge_visibility(oracle, element);
	if (element->kind == KVMATTR_ADD_RAM)
		broken |= judge_new_ram(oracle, element);
	return broken;
}

/* ---- What it does ------------------------------------------------------------------------------- */

static void forget_layer(struct oracle *oracle, unsigned int k)
{
	oracle->layers[k] = (struct oracle_layer){ 0 };
	for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++)
		memset(oracle->pages[gfn].entry[k], ORACLE_NO_ENTRY, ORACLE_VIEWS);
}

static void apply_to_page(struct oracle *oracle, const struct policy_element *element,
			  struct oracle_page *page)
{
	uint8_t protection = 0;

	switch (element->kind) {
	case KVMATTR_PROTECT:
		judge_protection(element->value, oracle->layers[element->layer].mbec, &protection);
		for (unsigned int v = 0; v < oracle->n_views; v++)
			if (is_restricted(oracle, element, v))
				page->entry[element->layer][v] = (int8_t)protection;
		break;
	case KVMATTR_SET_VISIBILITY:
		page->is_private = element->value;
		break;
	case KVMATTR_LOCK:
		page->n_locks++;
		break;
	case KVMATTR_UNLOCK:
		page->n_locks--;
		break;
	case KVMATTR_ADD_RAM:
		page->is_ram = true;
		page->is_private = page->was_private = element->value;
		break;
	case KVMATTR_REMOVE_RAM:
		page->is_ram = page->is_private = page->was_private = false;
		memset(page->entry, ORACLE_NO_ENTRY, sizeof(page->entry));
		break;
	default:
		ck_abort_msg("kind %d has no pages", element->kind);
	}
}

void oracle_apply(struct oracle *oracle, const struct policy_element *element)
{
	struct oracle_layer *layer = &oracle->layers[element->layer];

	switch (element->kind) {
	case KVMATTR_ENABLE_LAYER:
		judge_protection(element->value, element->mbec, &layer->by_default);
		layer->enabled = true;
		layer->mbec = element->mbec;
		return;
	case KVMATTR_RESET_LAYER:
		forget_layer(oracle, element->layer);
		return;
	case KVMATTR_RESET_VM:
		for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++)
			forget_layer(oracle, k);
		for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++) {
			oracle->pages[gfn].n_locks = 0;
			oracle->pages[gfn].is_private = oracle->pages[gfn].was_private;
		}
		return;
	default:
		for (uint64_t i = 0; i < element->range.n_pages; i++)
			apply_to_page(oracle, element, &oracle->pages[element->range.gfn + i]);
	}
}

/* ---- Comparing ---------------------------------------------------------------------------------- */

static void expect_same_page(const struct oracle_page *page, const struct policy *policy,
			     uint64_t gfn)
{
	uint8_t got = attribute_map_get(&policy->pages, gfn);
	uint8_t wanted = (page->is_ram ? PAGE_IS_RAM : 0) | (page->n_locks ? PAGE_IS_LOCKED : 0) |
			 (page->is_private ? PAGE_IS_PRIVATE : 0) |
			 (page->was_private ? PAGE_WAS_PRIVATE : 0);

	EXPECT(got == wanted, "page 0x%x is 0x%x, not 0x%x", (unsigned int)gfn, got, wanted);
	got = attribute_map_get(&policy->lock_counts, gfn);
	EXPECT(got == page->n_locks, "page 0x%x is locked %u times, not %u", (unsigned int)gfn, got,
	       page->n_locks);
}

static void expect_same_layer(const struct oracle *oracle, const struct policy *policy,
			      unsigned int k)
{
	const struct layer *layer = &policy->layers[k];

	ck_assert_int_eq(layer->enabled, oracle->layers[k].enabled);
	if (layer->enabled) {
		ck_assert_int_eq(layer->mbec, oracle->layers[k].mbec);
		ck_assert_uint_eq(layer->default_protection, oracle->layers[k].by_default);
	}
	for (unsigned int v = 0; v < oracle->n_views; v++) {
		const struct attribute_map *map = layer->restricted[oracle->views[v].vtl];

		for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++) {
			int entry = oracle->pages[gfn].entry[k][v];
			uint8_t wanted =
				entry == ORACLE_NO_ENTRY ? 0 : (uint8_t)(LAYER_HAS_ENTRY | entry);

			EXPECT((map ? attribute_map_get(map, gfn) : 0) == wanted,
			       "layer %u, view %u, page 0x%x", k, v, (unsigned int)gfn);
		}
	}
}

void oracle_expect_same(const struct oracle *oracle, const struct policy *policy)
{
	uint64_t n_ram = 0, n_private = 0;

	for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++) {
		expect_same_page(&oracle->pages[gfn], policy, gfn);
		n_ram += oracle->pages[gfn].is_ram;
		n_private += oracle->pages[gfn].is_private;
	}
	ck_assert_uint_eq(policy->n_ram_pages, n_ram);
	ck_assert_uint_eq(policy->n_private_pages, n_private);
	for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++)
		expect_same_layer(oracle, policy, k);
}

/* From start to its end, a span of a fold says what is wanted of each page. */
static void expect_same_span(const struct fold_span *span, uint64_t start, const uint8_t *wanted)
{
	EXPECT(span->end > start && span->end <= ORACLE_PAGES &&
		       (span->is_uniform || span->end - start <= ATTRIBUTE_MAP_LEAF_PAGES),
	       "a span from 0x%x to 0x%x", (unsigned int)start, (unsigned int)span->end);
	for (uint64_t gfn = start; gfn < span->end; gfn++) {
		uint8_t got = span->is_uniform ? span->value : span->bytes[gfn - start];

		EXPECT(got == wanted[gfn], "page 0x%x is folded to 0x%x, not 0x%x",
		       (unsigned int)gfn, got, wanted[gfn]);
	}
}

static void expect_same_explanation(const struct oracle *oracle, const struct policy *policy,
				    unsigned int view, uint64_t gfn, unsigned int access)
{
	struct fold_explanation got = fold_explain(policy, &policy->views[view], gfn, access);
	unsigned int denying = 0, highest = 0;

	for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++)
		if (access & ~oracle_imposed(oracle, k, view, gfn)) {
			denying |= 1u << k;
			highest = k;
		}
	EXPECT(got.attributes == oracle_effective(oracle, view, gfn) && got.denying == denying &&
		       got.layer == highest,
	       "page 0x%x is explained by 0x%x, %u instead of 0x%x, %u", (unsigned int)gfn,
	       got.denying, got.layer, denying, highest);
}

static void expect_same_layer_fold(const struct oracle *oracle, const struct policy *policy,
				   unsigned int layer, unsigned int view, uint64_t start)
{
	uint8_t wanted[ORACLE_PAGES];
	struct fold_span span;

	for (uint64_t gfn = start; gfn < ORACLE_PAGES; gfn++)
		wanted[gfn] = oracle_imposed(oracle, layer, view, gfn);
	for (uint64_t gfn = start; gfn < ORACLE_PAGES; gfn = span.end) {
		fold_layer(policy, layer, policy->views[view].vtl, gfn, ORACLE_PAGES, &span);
		expect_same_span(&span, gfn, wanted);
	}
}

void oracle_expect_same_fold(const struct oracle *oracle, const struct policy *policy,
			     uint64_t *random)
{
	uint64_t start = random_below(random, 2) * random_below(random, ORACLE_PAGES);

	for (unsigned int v = 0; v < oracle->n_views; v++) {
		const struct view *view = &policy->views[v];
		unsigned int access = (unsigned int)random_below(random, KVMATTR_PROTECTION + 1);
		uint8_t wanted[ORACLE_PAGES];
		struct fold_span span;

		for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++) {
			wanted[gfn] = oracle_effective(oracle, v, gfn);
			EXPECT(fold_effective_at(policy, view, gfn) == wanted[gfn],
			       "page 0x%x is not 0x%x", (unsigned int)gfn, wanted[gfn]);
			EXPECT(oracle_can_enforce(oracle->views[v].abi, wanted[gfn]),
			       "page 0x%x is to be 0x%x, which its kernel cannot enforce",
			       (unsigned int)gfn, wanted[gfn]);
			expect_same_explanation(oracle, policy, v, gfn, access);
		}
		for (uint64_t gfn = start; gfn < ORACLE_PAGES; gfn = span.end) {
			fold_effective(policy, view, gfn, ORACLE_PAGES, &span);
			expect_same_span(&span, gfn, wanted);
		}
		for (unsigned int k = view->vtl + 1u; k < KVMATTR_N_VTLS; k++)
			expect_same_layer_fold(oracle, policy, k, v, start);
	}
}
