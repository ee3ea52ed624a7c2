/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Layers over sockets: what each imposes, who may change which, what they are together; against a
 * random history in flat arrays, too.
 */
#include "tests/integration/harness.h"
#include "tests/integration/simulated-vmm.h"

#include <kvmattr.h>

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* ---- Layers -------------------------------------------------------------------------------- */

START_TEST(the_default_of_a_layer_holds_for_ram_that_has_no_entry)
{
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);

	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RX, 0));
	expect_pages(vmm, 0, 0, vmm->n_pages, KVMATTR_RX);
	expect_ok(agent, protect_range(agent, 1, KVMATTR_RW, 100, 10));
	expect_pages(vmm, 0, 0, 100, KVMATTR_RX);
	expect_pages(vmm, 0, 100, 10, KVMATTR_RW);
	expect_pages(vmm, 0, 110, vmm->n_pages - 110, KVMATTR_RX);
	expect_refusal(agent, kvmattr_enable_layer(agent, 1, KVMATTR_R, 0),
		       KVMATTR_INVALID_VTL_STATE, "layer 1 is enabled already");
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(a_layer_that_is_not_enabled_or_a_vtl_without_a_view_is_an_invalid_vtl_state)
{
	const struct kvmattr_range range = { 0, 1 };
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	struct kvmattr *owner = vmm->owner;

	expect_refusal(owner, protect_range(owner, 1, KVMATTR_R, 0, 1), KVMATTR_INVALID_VTL_STATE,
		       "layer 1 is not enabled");
	expect_refusal(owner, kvmattr_reset_layer(owner, 3), KVMATTR_INVALID_VTL_STATE,
		       "layer 3 is not enabled");
	expect_ok(owner, kvmattr_enable_layer(owner, 3, KVMATTR_RWX, 0));
	expect_refusal(owner, kvmattr_protect_ranges(owner, 3, 0x4, KVMATTR_R, &range, 1, NULL),
		       KVMATTR_INVALID_VTL_STATE, "views only for 0x3");
	expect_refusal(owner, kvmattr_protect_ranges(owner, 3, 0x8, KVMATTR_R, &range, 1, NULL),
		       KVMATTR_INVALID_PARAMETER, "restricted VTLs");
	expect_pages(vmm, 0, 0, vmm->n_pages, KVMATTR_RWX);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(an_agent_changes_layers_up_to_its_vtl_and_never_one_above)
{
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm =
		simulated_vmm_start(d, &(struct simulated_vmm_options){ .n_views = 3 });
	struct kvmattr *agent1 = simulated_vmm_open_agent(vmm, 1, 0);
	struct kvmattr *agent2 = simulated_vmm_open_agent(vmm, 2, 0);

	expect_refusal(agent1, kvmattr_enable_layer(agent1, 2, KVMATTR_RWX, 0),
		       KVMATTR_ACCESS_DENIED, "VTL 1 may not change layer 2");
	expect_ok(agent2, kvmattr_enable_layer(agent2, 2, KVMATTR_RWX, 0));
	expect_ok(agent2, kvmattr_enable_layer(agent2, 1, KVMATTR_RWX, 0));
	expect_refusal(agent1, protect_range(agent1, 2, KVMATTR_R, 0, 1), KVMATTR_ACCESS_DENIED,
		       "VTL 1 may not change layer 2");
	expect_refusal(agent1, kvmattr_reset_layer(agent1, 2), KVMATTR_ACCESS_DENIED,
		       "VTL 1 may not change layer 2");
	expect_pages(vmm, 0, 0, vmm->n_pages, KVMATTR_RWX);
	expect_ok(agent2, protect_range(agent2, 1, KVMATTR_R, 0, 1));
	expect_pages(vmm, 0, 0, 1, KVMATTR_R);
	expect_ok(agent1, kvmattr_reset_layer(agent1, 1));
	expect_pages(vmm, 0, 0, 1, KVMATTR_RWX);
	expect_ok(vmm->owner, protect_range(vmm->owner, 2, KVMATTR_R, 5, 1));
	expect_pages(vmm, 1, 5, 1, KVMATTR_R);
	kvmattr_close(agent1);
	kvmattr_close(agent2);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(vtl_2_restricts_vtls_0_and_1_apart_and_layers_intersect)
{
	const struct kvmattr_range range = { 0, 16 }, second = { 8, 16 };
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm =
		simulated_vmm_start(d, &(struct simulated_vmm_options){ .n_views = 3 });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 2, 0);

	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	expect_ok(agent, kvmattr_enable_layer(agent, 2, KVMATTR_RWX, 0));
	expect_ok(agent, kvmattr_protect_ranges(agent, 2, 0x1, KVMATTR_RX, &range, 1, NULL));
	expect_ok(agent, kvmattr_protect_ranges(agent, 2, 0x2, KVMATTR_RW, &range, 1, NULL));
	expect_pages(vmm, 0, 0, 16, KVMATTR_RX);
	expect_pages(vmm, 1, 0, 16, KVMATTR_RW);
	expect_ok(agent, kvmattr_protect_ranges(agent, 1, 0x1, KVMATTR_RW, &second, 1, NULL));
	expect_pages(vmm, 0, 0, 8, KVMATTR_RX);
	expect_pages(vmm, 0, 8, 8, KVMATTR_R);
	expect_pages(vmm, 0, 16, 8, KVMATTR_RW);
	expect_pages(vmm, 1, 0, 16, KVMATTR_RW);
	expect_pages(vmm, 2, 0, vmm->n_pages, KVMATTR_RWX);
	/* Layers are independent: one goes, the other stands. */
	expect_ok(agent, kvmattr_reset_layer(agent, 2));
	expect_pages(vmm, 0, 0, 8, KVMATTR_RWX);
	expect_pages(vmm, 0, 8, 16, KVMATTR_RW);
	expect_pages(vmm, 1, 0, vmm->n_pages, KVMATTR_RWX);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(explain_names_the_highest_vtl_that_denies_an_access_and_all_that_do)
{
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm =
		simulated_vmm_start(d, &(struct simulated_vmm_options){ .n_views = 3 });
	struct kvmattr *owner = vmm->owner;
	struct kvmattr_explanation why;

	expect_ok(owner, kvmattr_enable_layer(owner, 1, KVMATTR_RWX, 0));
	expect_ok(owner, kvmattr_enable_layer(owner, 2, KVMATTR_RWX, 0));
	expect_ok(owner, protect_range(owner, 1, KVMATTR_R, 4, 1));
	expect_ok(owner, protect_range(owner, 2, KVMATTR_RW, 4, 1));

	expect_ok(owner, kvmattr_explain(owner, 0, 4, KVMATTR_EXECUTE, &why));
	ck_assert_int_eq(why.allowed, 0);
	ck_assert_uint_eq(why.layer, 2);
	ck_assert_uint_eq(why.denying, 0x6);
	ck_assert_uint_eq(why.attributes, KVMATTR_R);
	ck_assert_int_eq(why.state, KVMATTR_IN_FORCE);
	expect_ok(owner, kvmattr_explain(owner, 0, 4, KVMATTR_WRITE, &why));
	ck_assert_int_eq(why.allowed, 0);
	ck_assert_uint_eq(why.layer, 1);
	ck_assert_uint_eq(why.denying, 0x2);
	expect_ok(owner, kvmattr_explain(owner, 0, 4, KVMATTR_READ, &why));
	ck_assert_int_eq(why.allowed, 1);
	ck_assert_uint_eq(why.denying, 0);
	expect_ok(owner, kvmattr_explain(owner, 1, 4, KVMATTR_WRITE, &why));
	ck_assert_int_eq(why.allowed, 1);
	expect_ok(owner, kvmattr_explain(owner, 1, 4, KVMATTR_EXECUTE, &why));
	ck_assert_uint_eq(why.layer, 2);
	expect_refusal(owner, kvmattr_explain(owner, 0, vmm->n_pages, KVMATTR_READ, &why),
		       KVMATTR_INVALID_PARAMETER, "not RAM");
	expect_refusal(owner, kvmattr_explain(owner, 7, 0, KVMATTR_READ, &why),
		       KVMATTR_INVALID_VTL_STATE, "VM 'guest' has no view of VTL 7");
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(mbec_allows_what_the_kernel_can_tell_apart_and_refuses_the_rest)
{
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	struct kvmattr *owner = vmm->owner;
	const unsigned int kernel_only = KVMATTR_READ | KVMATTR_KERNEL_EXECUTE;
	const unsigned int user_only = KVMATTR_READ | KVMATTR_USER_EXECUTE;

	/* Without MBEC, kernel execute governs both, and user execute is ignored. */
	expect_ok(owner, kvmattr_enable_layer(owner, 1, KVMATTR_RWX, 0));
	expect_ok(owner, protect_range(owner, 1, kernel_only, 0, 4));
	expect_pages(vmm, 0, 0, 4, KVMATTR_RX);
	expect_ok(owner, protect_range(owner, 1, user_only, 4, 4));
	expect_pages(vmm, 0, 4, 4, KVMATTR_R);
	expect_ok(owner, kvmattr_reset_layer(owner, 1));

	expect_ok(owner, kvmattr_enable_layer(owner, 1, KVMATTR_RWX, 1));
	expect_refusal(owner, protect_range(owner, 1, kernel_only, 0, 4), KVMATTR_INVALID_PARAMETER,
		       "kernel execute comes with user execute");
	expect_refusal(owner, protect_range(owner, 1, user_only, 0, 4), KVMATTR_UNSUPPORTED,
		       "user from kernel execute");
	expect_pages(vmm, 0, 0, vmm->n_pages, KVMATTR_RWX);
	expect_ok(owner, protect_range(owner, 1, KVMATTR_RX, 0, 4));
	expect_pages(vmm, 0, 0, 4, KVMATTR_RX);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(protections_that_do_not_exist_are_invalid)
{
	static const unsigned int wrong[] = { KVMATTR_WRITE, KVMATTR_EXECUTE,
					      KVMATTR_WRITE | KVMATTR_EXECUTE, 0x10, 0x80 };
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	struct kvmattr *owner = vmm->owner;

	expect_refusal(owner, kvmattr_enable_layer(owner, 1, wrong[_i], 0),
		       KVMATTR_INVALID_PARAMETER, "protection");
	expect_ok(owner, kvmattr_enable_layer(owner, 1, KVMATTR_RWX, 0));
	expect_refusal(owner, protect_range(owner, 1, wrong[_i], 0, 4), KVMATTR_INVALID_PARAMETER,
		       "protection");
	expect_pages(vmm, 0, 0, vmm->n_pages, KVMATTR_RWX);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

/* ---- Against an oracle --------------------------------------------------------------------- */

enum { ORACLE_VTLS = 4, ORACLE_PAGES = 2048 };

/* What each layer imposes on each VTL, page by page; RWX where it imposes nothing. */
struct oracle {
	uint8_t layers[ORACLE_VTLS][ORACLE_VTLS][ORACLE_PAGES];
};

static unsigned int oracle_effective(const struct oracle *oracle, unsigned int vtl, uint64_t gfn)
{
	unsigned int protection = KVMATTR_RWX;

	for (unsigned int k = vtl + 1; k < ORACLE_VTLS; k++)
		protection &= oracle->layers[k][vtl][gfn];
	return protection;
}

static const unsigned int protections[] = { KVMATTR_NONE, KVMATTR_R, KVMATTR_RX, KVMATTR_RW,
					    KVMATTR_RWX };

/* One update over random pages, to the VM and to the oracle. */
static void do_random_update(struct kvmattr *owner, struct oracle *oracle, uint64_t *seed)
{
	unsigned int layer = 1 + (unsigned int)(next_random(seed) % (ORACLE_VTLS - 1));
	unsigned int set = 1 + (unsigned int)(next_random(seed) % ((1u << layer) - 1));
	unsigned int protection = protections[next_random(seed) % N(protections)];
	struct kvmattr_range range = { .gfn = next_random(seed) % ORACLE_PAGES };

	range.n_pages = 1 + next_random(seed) % (next_random(seed) % 4 ? 8 : ORACLE_PAGES);
	if (range.n_pages > ORACLE_PAGES - range.gfn)
		range.n_pages = ORACLE_PAGES - range.gfn;
	if (next_random(seed) % 50 == 0) {
		expect_ok(owner, kvmattr_reset_layer(owner, layer));
		expect_ok(owner, kvmattr_enable_layer(owner, layer, KVMATTR_RWX, 0));
		memset(oracle->layers[layer], KVMATTR_RWX, sizeof(oracle->layers[layer]));
		return;
	}
	expect_ok(owner, kvmattr_protect_ranges(owner, layer, set, protection, &range, 1, NULL));
	for (unsigned int t = 0; t < layer; t++)
		if (set >> t & 1)
			memset(oracle->layers[layer][t] + range.gfn, (int)protection,
			       range.n_pages);
}

static void compare_with_oracle(const struct simulated_vmm *vmm, const struct oracle *oracle,
				uint64_t gfn)
{
	struct kvmattr_explanation why;

	for (unsigned int vtl = 0; vtl < ORACLE_VTLS; vtl++) {
		uint16_t denying = 0;

		for (unsigned int k = vtl + 1; k < ORACLE_VTLS; k++)
			if (!(oracle->layers[k][vtl][gfn] & KVMATTR_WRITE))
				denying |= (uint16_t)(1u << k);
		expect_ok(vmm->owner, kvmattr_explain(vmm->owner, vtl, gfn, KVMATTR_WRITE, &why));
		ck_assert_uint_eq(why.attributes, oracle_effective(oracle, vtl, gfn));
		ck_assert_uint_eq(why.denying, denying);
		ck_assert_int_eq(why.allowed, !denying);
		ck_assert_int_eq(why.state, KVMATTR_IN_FORCE);
	}
}

START_TEST(a_random_history_over_four_vtls_is_what_flat_arrays_say)
{
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm =
		simulated_vmm_start(d, &(struct simulated_vmm_options){ .n_views = ORACLE_VTLS,
									.n_pages = ORACLE_PAGES });
	struct oracle *oracle = malloc(sizeof(*oracle));
	uint64_t seed = (uint64_t)_i + 1;

	memset(oracle, KVMATTR_RWX, sizeof(*oracle));
	for (unsigned int k = 1; k < ORACLE_VTLS; k++)
		expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, k, KVMATTR_RWX, 0));
	for (int round = 0; round < 300; round++) {
		do_random_update(vmm->owner, oracle, &seed);
		for (int i = 0; i < 3; i++)
			compare_with_oracle(vmm, oracle, next_random(&seed) % ORACLE_PAGES);
	}
	for (unsigned int vtl = 0; vtl < ORACLE_VTLS; vtl++) {
		for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++)
			expect_pages(vmm, vtl, gfn, 1, oracle_effective(oracle, vtl, gfn));
		expect_agreement(vmm, vmm->owner, vtl);
	}
	free(oracle);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

int main(void)
{
	TCase *layers = harness_make_case("layers", 20);

	tcase_add_test(layers, the_default_of_a_layer_holds_for_ram_that_has_no_entry);
	tcase_add_test(layers,
		       a_layer_that_is_not_enabled_or_a_vtl_without_a_view_is_an_invalid_vtl_state);
	tcase_add_test(layers, an_agent_changes_layers_up_to_its_vtl_and_never_one_above);
	tcase_add_test(layers, vtl_2_restricts_vtls_0_and_1_apart_and_layers_intersect);
	tcase_add_test(layers, explain_names_the_highest_vtl_that_denies_an_access_and_all_that_do);
	tcase_add_test(layers, mbec_allows_what_the_kernel_can_tell_apart_and_refuses_the_rest);
	tcase_add_loop_test(layers, protections_that_do_not_exist_are_invalid, 0, 5);
	tcase_add_loop_test(layers, a_random_history_over_four_vtls_is_what_flat_arrays_say, 0, 3);
	return harness_run("layers", (TCase *const[]){ layers, NULL });
}
