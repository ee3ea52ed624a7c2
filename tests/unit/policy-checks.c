/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/policy-checks.h"

#include "tests/unit/seeded-suite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct policy_actor owner = { .is_owner = true };
struct policy *policy;
struct page_ranges touched;
char refusal_text[256];

static struct policy_undo_log *undo;
static struct policy_snapshot empty;

/* ---- Snapshots ------------------------------------------------------------------------------ */

static uint8_t *append_room(struct policy_snapshot *snapshot, size_t n)
{
	if (snapshot->n + n > snapshot->capacity) {
		snapshot->capacity = 2 * (snapshot->n + n);
		snapshot->bytes = realloc(snapshot->bytes, snapshot->capacity);
		ck_assert_ptr_nonnull(snapshot->bytes);
	}
	snapshot->n += n;
	return snapshot->bytes + snapshot->n - n;
}

static void append(struct policy_snapshot *snapshot, const void *bytes, size_t n)
{
	memcpy(append_room(snapshot, n), bytes, n);
}

static void append_map(struct policy_snapshot *snapshot, const struct attribute_map *map,
		       uint64_t n_pages)
{
	uint8_t *bytes = append_room(snapshot, n_pages);

	if (!map)
		memset(bytes, 0, n_pages);
	for (uint64_t gfn = 0; map && gfn < n_pages;) {
		struct attribute_span span = attribute_map_span(map, gfn, n_pages);

		if (span.bytes)
			memcpy(bytes + gfn, span.bytes, span.end - gfn);
		else
			memset(bytes + gfn, span.value, span.end - gfn);
		gfn = span.end;
	}
}

struct policy_snapshot policy_snapshot_take(const struct policy *of, uint64_t n_pages)
{
	struct policy_snapshot ret = { 0 };

	append(&ret, &of->n_ram_pages, sizeof(of->n_ram_pages));
	append(&ret, &of->n_private_pages, sizeof(of->n_private_pages));
	append_map(&ret, &of->pages, n_pages);
	append_map(&ret, &of->lock_counts, n_pages);
	for (unsigned int k = 1; k < KVMATTR_N_VTLS; k++) {
		const struct layer *layer = &of->layers[k];

		append(&ret, &layer->enabled, sizeof(layer->enabled));
		append(&ret, &layer->mbec, sizeof(layer->mbec));
		append(&ret, &layer->default_protection, sizeof(layer->default_protection));
		/* A map is made once and then stays, so only those that restrict a view. */
		for (unsigned int v = 0; v < of->n_views; v++)
			if (of->views[v].vtl < k)
				append_map(&ret, layer->restricted[of->views[v].vtl], n_pages);
	}
	return ret;
}

void policy_snapshot_free(struct policy_snapshot *snapshot)
{
	free(snapshot->bytes);
	*snapshot = (struct policy_snapshot){ 0 };
}

bool policy_snapshot_equal(const struct policy_snapshot *a, const struct policy_snapshot *b)
{
	return a->n == b->n && !memcmp(a->bytes, b->bytes, a->n);
}

/* ---- The policy under test ------------------------------------------------------------------ */

struct dialect probed_dialect(enum kvmattr_abi abi)
{
	static const struct wire_probe_result probes[KVMATTR_N_ABIS] = {
		[KVMATTR_ABI_MAINLINE] = { .v10_errno = ENOTTY, .cap = 0x8 },
		[KVMATTR_ABI_DENY] = { .v10_errno = ENOTTY, .cap = 0xf },
		[KVMATTR_ABI_V10] = { .v10_supported = 0xf, .cap = 0xf },
		[KVMATTR_ABI_V10NA] = { .v10_supported = 0x1f, .cap = 0xf },
	};
	struct dialect dialect;
	char text[WIRE_TEXT_SIZE];

	ck_assert_int_eq(dialect_decide(&probes[abi], abi, &dialect, text, sizeof(text)), 0);
	return dialect;
}

void checks_stop(void)
{
	policy_free(policy);
	policy = NULL;
	policy_undo_log_free(undo);
	undo = NULL;
	page_ranges_destroy(&touched);
	policy_snapshot_free(&empty);
}

void checks_start_with(const struct view *views, unsigned int n_views)
{
	checks_stop();
	policy = policy_new(views, n_views);
	undo = policy_undo_log_new();
	empty = policy_snapshot_take(policy, SNAPSHOT_PAGES);
}

void checks_start(enum kvmattr_abi abi, unsigned int n_views)
{
	struct view views[KVMATTR_N_VTLS] = { 0 };

	for (unsigned int t = 0; t < n_views; t++) {
		views[t].vtl = (uint8_t)t;
		views[t].dialect = probed_dialect(abi);
	}
	checks_start_with(views, n_views);
}

static void start(void)
{
	checks_start(KVMATTR_ABI_DENY, 3);
}

static void everything_is_taken_back(void)
{
	struct policy_snapshot now;

	policy_undo(policy, undo);
	now = policy_snapshot_take(policy, SNAPSHOT_PAGES);
	ck_assert_msg(policy_snapshot_equal(&now, &empty), "undoing it all leaves something");
	policy_snapshot_free(&now);
	checks_stop();
}

TCase *policy_checks_make_case(const char *name)
{
	TCase *tests = tcase_create(name);

	tcase_add_checked_fixture(tests, start, everything_is_taken_back);
	return tests;
}

void checks_add_ram(bool is_private)
{
	apply(pages_update(KVMATTR_ADD_RAM, is_private, 0, RAM_PAGES));
	page_ranges_clear(&touched);
}

/* ---- Elements and actors -------------------------------------------------------------------- */

struct policy_actor agent_of(uint8_t vtl, uint32_t rights)
{
	return (struct policy_actor){ .vtl = vtl, .rights = rights };
}

struct policy_element protect(uint8_t layer, uint16_t restricted, uint8_t protection, uint64_t gfn,
			      uint64_t n_pages)
{
	return (struct policy_element){ .kind = KVMATTR_PROTECT,
					.layer = layer,
					.restricted = restricted,
					.value = protection,
					.range = { gfn, n_pages } };
}

struct policy_element enable(uint8_t layer, uint8_t default_protection, bool mbec)
{
	return (struct policy_element){ .kind = KVMATTR_ENABLE_LAYER,
					.layer = layer,
					.value = default_protection,
					.mbec = mbec };
}

struct policy_element reset_layer(uint8_t layer)
{
	return (struct policy_element){ .kind = KVMATTR_RESET_LAYER, .layer = layer };
}

struct policy_element pages_update(enum kvmattr_update_kind kind, uint8_t value, uint64_t gfn,
				   uint64_t n_pages)
{
	return (struct policy_element){ .kind = kind, .value = value, .range = { gfn, n_pages } };
}

void expect(struct policy_actor actor, struct policy_element element, enum kvmattr_status status)
{
	struct policy_snapshot before = policy_snapshot_take(policy, SNAPSHOT_PAGES), after;
	size_t n_touched = touched.n;
	enum kvmattr_status got;

	refusal_text[0] = '\0';
	got = policy_apply(policy, &actor, &element, undo, &touched, refusal_text,
			   sizeof(refusal_text));
	ck_assert_msg(got == status, "%s instead of %s: %s", kvmattr_status_name(got),
		      kvmattr_status_name(status), refusal_text);
	after = policy_snapshot_take(policy, SNAPSHOT_PAGES);
	if (status) {
		ck_assert_msg(policy_snapshot_equal(&before, &after),
			      "a refusal changed something");
		ck_assert_uint_eq(touched.n, n_touched);
		ck_assert_uint_gt(strlen(refusal_text), 10);
	}
	policy_snapshot_free(&before);
	policy_snapshot_free(&after);
}

void apply(struct policy_element element)
{
	expect(owner, element, KVMATTR_OK);
}

void refuse(struct policy_element element, enum kvmattr_status status)
{
	expect(owner, element, status);
}

/* ---- What to look at ------------------------------------------------------------------------ */

static uint8_t at(const struct fold_span *span, uint64_t i)
{
	return span->is_uniform ? span->value : span->bytes[i];
}

void expect_effective(unsigned int vtl, uint64_t gfn, uint64_t n_pages, uint8_t attributes)
{
	const struct view *view = &policy->views[policy->view_of_vtl[vtl]];
	uint64_t limit = gfn + n_pages;
	struct fold_span span;

	for (; gfn < limit; gfn = span.end) {
		fold_effective(policy, view, gfn, limit, &span);
		ck_assert(span.end > gfn && span.end <= limit);
		for (uint64_t i = 0; i < span.end - gfn; i++) {
			EXPECT(at(&span, i) == attributes, "GFN 0x%x is 0x%x, not 0x%x",
			       (unsigned int)(gfn + i), at(&span, i), attributes);
			EXPECT(fold_effective_at(policy, view, gfn + i) == attributes &&
				       fold_explain(policy, view, gfn + i, 0).attributes ==
					       attributes,
			       "GFN 0x%x by itself", (unsigned int)(gfn + i));
		}
	}
}

void expect_imposed(unsigned int layer, unsigned int vtl, uint64_t gfn, uint64_t n_pages,
		    uint8_t protection)
{
	uint64_t limit = gfn + n_pages;
	struct fold_span span;

	for (; gfn < limit; gfn = span.end) {
		fold_layer(policy, layer, vtl, gfn, limit, &span);
		ck_assert(span.end > gfn && span.end <= limit);
		for (uint64_t i = 0; i < span.end - gfn; i++)
			EXPECT(at(&span, i) == protection, "GFN 0x%x", (unsigned int)(gfn + i));
	}
}

void expect_touched(uint64_t gfn, uint64_t n_pages)
{
	page_ranges_normalize(&touched);
	if (!n_pages) {
		ck_assert_uint_eq(touched.n, 0);
		return;
	}
	ck_assert_uint_eq(touched.n, 1);
	ck_assert_uint_eq(touched.range[0].gfn, gfn);
	ck_assert_uint_eq(touched.range[0].n_pages, n_pages);
	page_ranges_clear(&touched);
}
