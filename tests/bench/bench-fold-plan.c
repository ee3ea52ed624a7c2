/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fold and plan over all of a 64 GiB guest with three layers.
 *
 * "Every other page different" can mean two things, and both are measured: the layers differ from
 * page to page and KVM was told all of it, so that the whole guest is folded and compared and the
 * plan is empty; and nothing of it was told yet, so that the plan has a call for every page.
 * The peer, in the same run: the same intersection over flat arrays, a loop that the compiler
 * vectorizes, which keeps nothing, plans nothing, and costs a byte a page and map.
 */
#include "daemon/allocate.h"
#include "daemon/policy/plan.h"
#include "protocol/kvm-abi.h"
#include "tests/bench/samples.h"

#include <stdio.h>
#include <string.h>

#define RAM_PAGES   (UINT64_C(64) << 18)
#define N_LAYERS    3u
#define REPETITIONS 7

static const struct policy_actor owner = { .is_owner = true };

static double now_ms(void)
{
	return samples_now_us() / 1e3;
}

static void apply(struct policy *policy, struct policy_element element)
{
	struct policy_undo_log *log = policy_undo_log_new();
	struct page_ranges touched = { 0 };
	char text[256];

	if (policy_apply(policy, &owner, &element, log, &touched, text, sizeof(text))) {
		fprintf(stderr, "bench-fold-plan: %s\n", text);
		exit(1);
	}
	policy_undo_log_free(log);
	page_ranges_destroy(&touched);
}

/* VTL 0's view; layers 1 to 3 with a protection of their own on every other page. */
static struct policy *make_policy(void)
{
	static const uint8_t protections[] = { KVMATTR_RX, KVMATTR_RW, KVMATTR_R };
	const struct wire_probe_result probe = { .v10_errno = 25,
						 .cap = KVM_ABI_PRIVATE | KVM_ABI_DENY_ALL };
	struct view view = { .vtl = 0 };
	struct policy *policy;
	char text[256];

	if (dialect_decide(&probe, KVMATTR_ABI_PROBE, &view.dialect, text, sizeof(text)))
		exit(1);
	policy = policy_new(&view, 1);
	apply(policy,
	      (struct policy_element){ .kind = KVMATTR_ADD_RAM, .range = { 0, RAM_PAGES } });
	for (uint8_t k = 1; k <= N_LAYERS; k++) {
		struct attribute_map *map = allocate_one(struct attribute_map);

		apply(policy, (struct policy_element){ .kind = KVMATTR_ENABLE_LAYER,
						       .layer = k,
						       .value = KVMATTR_RWX });
		/* Page by page through policy_apply() would take a minute to set up. */
		attribute_map_init(map, 0);
		for (uint64_t gfn = k & 1; gfn < RAM_PAGES; gfn += 2)
			attribute_map_set(map, gfn, LAYER_HAS_ENTRY | protections[k - 1]);
		policy->layers[k].restricted[0] = map;
	}
	return policy;
}

/* Plans all of it, in parts, and notes each as done, which is not counted. */
static double tell(struct plan *plan, struct policy *policy, const struct page_ranges *touched,
		   size_t *ret_n_calls)
{
	struct page_ranges unknown = { 0 };
	double took = 0, start = now_ms();

	*ret_n_calls = 0;
	for (plan_make(plan, policy, touched, 65536); plan->n_calls;
	     plan_continue(plan, policy, touched, 65536)) {
		took += now_ms() - start;
		*ret_n_calls += plan->n_calls;
		plan_applied(plan, policy, 0, plan->n_calls, false, 0, &unknown);
		start = now_ms();
	}
	page_ranges_destroy(&unknown);
	return took + now_ms() - start;
}

static void forget(struct policy *policy)
{
	attribute_map_destroy(&policy->views[0].applied);
	attribute_map_init(&policy->views[0].applied, KVMATTR_RWX);
	attribute_map_set_range(&policy->views[0].applied, 0, RAM_PAGES, APPLIED_UNKNOWN);
}

static void intersect_flat(uint8_t *restrict out, uint8_t *const *layers, uint64_t n)
{
	const uint8_t *a = layers[0], *b = layers[1], *c = layers[2];

	for (uint64_t i = 0; i < n; i++)
		out[i] = a[i] & b[i] & c[i];
}

int main(void)
{
	const struct kvmattr_range all = { 0, RAM_PAGES };
	struct page_ranges touched = { 0 };
	double telling[REPETITIONS], comparing[REPETITIONS], flat[REPETITIONS];
	struct policy *policy = make_policy();
	struct plan plan = { 0 };
	uint8_t *layers[N_LAYERS], *out = allocate(RAM_PAGES);
	size_t n_calls = 0;

	for (unsigned int k = 0; k < N_LAYERS; k++)
		memset(layers[k] = allocate(RAM_PAGES), (int)k, RAM_PAGES);
	memset(out, 1, RAM_PAGES);
	page_ranges_add(&touched, all.gfn, all.n_pages);

	for (int i = 0; i < REPETITIONS; i++) {
		forget(policy);
		telling[i] = tell(&plan, policy, &touched, &n_calls);
	}
	for (int i = 0; i < REPETITIONS; i++) {
		double start = now_ms();

		plan_make(&plan, policy, &touched, 65536);
		comparing[i] = now_ms() - start;
		if (plan.n_calls)
			exit(1);
		start = now_ms();
		intersect_flat(out, layers, RAM_PAGES);
		flat[i] = now_ms() - start;
	}

	printf("fold and plan, 64 GiB, 3 layers, every other page different, median of %d\n",
	       REPETITIONS);
	printf("  %8.1f ms  KVM was told all of it: an empty plan\n",
	       samples_median(comparing, REPETITIONS));
	printf("  %8.1f ms  nothing was told: %zu calls\n", samples_median(telling, REPETITIONS),
	       n_calls);
	printf("  %8.1f ms  three flat arrays intersected (peer)\n",
	       samples_median(flat, REPETITIONS));
	plan_destroy(&plan);
	policy_free(policy);
	page_ranges_destroy(&touched);
	for (unsigned int k = 0; k < N_LAYERS; k++)
		free(layers[k]);
	free(out);
	return 0;
}
