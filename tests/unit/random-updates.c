/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/random-updates.h"

#include "tests/unit/policy-checks.h"
#include "tests/unit/policy-oracle.h"
#include "tests/unit/seeded-suite.h"

#include <string.h>

static const uint8_t protections[] = {
	KVMATTR_NONE, KVMATTR_R,   KVMATTR_R,
	KVMATTR_RX,   KVMATTR_RW,  KVMATTR_RW,
	KVMATTR_RWX,  KVMATTR_RWX, KVMATTR_READ | KVMATTR_KERNEL_EXECUTE
};

struct policy_actor random_actor(uint64_t *random)
{
	return (struct policy_actor){
		.is_owner = !random_one_in(random, 5),
		.vtl = (uint8_t)random_below(random, 6),
		.rights = random_one_in(random, 2) ? WIRE_RIGHT_VISIBILITY : 0,
	};
}

/* What wraps, is empty or lies where no RAM is. */
static struct kvmattr_range hostile_range(uint64_t *random)
{
	static const uint64_t numbers[] = { 0,
					    1,
					    ORACLE_PAGES - 1,
					    ORACLE_PAGES,
					    KVMATTR_GFN_LIMIT - 1,
					    KVMATTR_GFN_LIMIT,
					    UINT64_MAX - 1,
					    UINT64_MAX };
	uint64_t gfn = numbers[random_below(random, N(numbers))];

	return (struct kvmattr_range){ gfn, numbers[random_below(random, N(numbers))] };
}

struct kvmattr_range random_range(uint64_t *random)
{
	static const uint64_t longest[] = { 1, 1, 8, 8, 40, 700 };
	uint64_t gfn, n_pages = 1 + random_below(random, longest[random_below(random, 6)]);

	if (random_one_in(random, 30))
		return hostile_range(random);
	switch (random_below(random, 4)) {
	case 0: /* whole leaves */
		gfn = 512 * random_below(random, ORACLE_PAGES / 512);
		if (random_one_in(random, 3))
			n_pages = 512 * (1 + random_below(random, 2));
		break;
	case 1: /* around a leaf's end */
		gfn = 512 * (1 + random_below(random, ORACLE_PAGES / 512)) -
		      random_below(random, 8);
		break;
	case 2: /* where it is crowded */
		gfn = 1000 + random_below(random, 100);
		break;
	default:
		gfn = random_below(random, ORACLE_PAGES);
	}
	if (n_pages > ORACLE_PAGES - gfn)
		n_pages = ORACLE_PAGES - gfn;
	return (struct kvmattr_range){ gfn, n_pages };
}

static enum kvmattr_update_kind random_kind(uint64_t *random)
{
	static const struct {
		enum kvmattr_update_kind kind;
		unsigned int weight;
	} kinds[] = {
		{ KVMATTR_PROTECT, 230 },     { KVMATTR_SET_VISIBILITY, 60 },
		{ KVMATTR_LOCK, 14 },         { KVMATTR_UNLOCK, 20 },
		{ KVMATTR_ADD_RAM, 40 },      { KVMATTR_REMOVE_RAM, 12 },
		{ KVMATTR_ENABLE_LAYER, 40 }, { KVMATTR_RESET_LAYER, 6 },
		{ KVMATTR_RESET_VM, 1 },
	};
	const unsigned int total = 423;
	uint64_t at = random_below(random, total);
	size_t i = 0;

	for (; at >= kinds[i].weight; i++)
		at -= kinds[i].weight;
	return kinds[i].kind;
}

static uint16_t random_restricted(uint64_t *random, unsigned int layer)
{
	switch (random_below(random, 8)) {
	case 0:
		return (uint16_t)random_below(random, 0x10000);
	case 1:
	case 2:
		return (uint16_t)(random_below(random, UINT64_C(1) << layer));
	case 3:
		return 1;
	default:
		return KVMATTR_ALL_LOWER;
	}
}

static void spoil(struct policy_element *element, uint64_t *random)
{
	switch (random_below(random, 5)) {
	case 0:
		element->value = (uint8_t)random_below(random, 256);
		break;
	case 1:
		element->layer = (uint8_t)random_below(random, 20);
		break;
	case 2:
		element->restricted = (uint16_t)random_below(random, 0x10000);
		break;
	case 3:
		element->mbec = !element->mbec;
		break;
	case 4:
		element->range.n_pages = random_below(random, 2);
		break;
	}
}

struct policy_element random_element(uint64_t *random)
{
	struct policy_element element = { .kind = random_kind(random) };

	if (element.kind <= KVMATTR_REMOVE_RAM)
		element.range = random_range(random);
	if (element.kind == KVMATTR_PROTECT || element.kind == KVMATTR_ENABLE_LAYER ||
	    element.kind == KVMATTR_RESET_LAYER)
		element.layer = (uint8_t)(1 + random_below(random, 4));
	if (element.kind == KVMATTR_PROTECT)
		element.restricted = random_restricted(random, element.layer);
	if (element.kind == KVMATTR_PROTECT || element.kind == KVMATTR_ENABLE_LAYER)
		element.value = protections[random_below(random, N(protections))];
	if (element.kind == KVMATTR_ENABLE_LAYER) {
		element.mbec = random_one_in(random, 3);
		if (!random_one_in(random, 3))
			element.value = KVMATTR_RWX;
	}
	if (element.kind == KVMATTR_SET_VISIBILITY || element.kind == KVMATTR_ADD_RAM)
		element.value = (uint8_t)random_one_in(random, 3);
	if (random_one_in(random, 25))
		spoil(&element, random);
	/* The oracle has no page there, so it must not become RAM. */
	if (element.kind == KVMATTR_ADD_RAM && element.range.gfn < KVMATTR_GFN_LIMIT &&
	    element.range.n_pages <= KVMATTR_GFN_LIMIT - element.range.gfn &&
	    element.range.gfn + element.range.n_pages > ORACLE_PAGES)
		element.range = (struct kvmattr_range){ ORACLE_PAGES - 1, 1 };
	return element;
}

unsigned int view_mix(unsigned int i, struct view *ret_views)
{
	static const uint8_t vtls[ORACLE_VIEWS] = { 0, 1, 3, 2 };
	static const enum kvmattr_abi mixes[N_VIEW_MIXES][ORACLE_VIEWS] = {
		{ KVMATTR_ABI_MAINLINE, KVMATTR_ABI_MAINLINE, KVMATTR_ABI_MAINLINE },
		{ KVMATTR_ABI_DENY, KVMATTR_ABI_DENY, KVMATTR_ABI_DENY },
		{ KVMATTR_ABI_V10, KVMATTR_ABI_V10, KVMATTR_ABI_V10 },
		{ KVMATTR_ABI_V10NA, KVMATTR_ABI_V10NA, KVMATTR_ABI_V10NA },
		{ KVMATTR_ABI_DENY, KVMATTR_ABI_V10, KVMATTR_ABI_V10NA },
		{ KVMATTR_ABI_V10NA },
		{ KVMATTR_ABI_DENY, KVMATTR_ABI_DENY, KVMATTR_ABI_DENY, KVMATTR_ABI_DENY },
		{ KVMATTR_ABI_V10, KVMATTR_ABI_MAINLINE },
	};
	unsigned int n = 0;

	for (; n < ORACLE_VIEWS && mixes[i][n]; n++) {
		memset(&ret_views[n], 0, sizeof(ret_views[n]));
		ret_views[n].vtl = vtls[n];
		ret_views[n].dialect = probed_dialect(mixes[i][n]);
	}
	return n;
}
