/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The main path: a VM is registered, its agents protect pages, and an answer means that the kernel
 * enforces it; the daemon's answers to questions say the same as the kernel's page table.
 *
 * What layers are to each other is in test-layers.c; what updates do beside protections in
 * test-updates.c; many agents at once in test-agents.c.
 */
#include "tests/integration/harness.h"
#include "tests/integration/simulated-vmm.h"

#include <kvmattr.h>

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const enum kvmattr_abi abis[] = { KVMATTR_ABI_MAINLINE, KVMATTR_ABI_DENY, KVMATTR_ABI_V10,
					 KVMATTR_ABI_V10NA };
static const unsigned int protections[] = { KVMATTR_NONE, KVMATTR_R, KVMATTR_RX, KVMATTR_RW,
					    KVMATTR_RWX };

static bool can_say(enum kvmattr_abi abi, unsigned int protection)
{
	switch (abi) {
	case KVMATTR_ABI_MAINLINE:
		return protection == KVMATTR_RWX;
	case KVMATTR_ABI_V10:
		return protection != KVMATTR_NONE;
	default:
		return true;
	}
}

/* ---- Registration -------------------------------------------------------------------------- */

START_TEST(a_registered_vm_gets_the_dialect_that_its_kernel_speaks)
{
	static const uint64_t supported[] = { 0x8, 0xf, 0xf, 0x1f };
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm = simulated_vmm_start(
		d, &(struct simulated_vmm_options){ .abi = abis[_i], .pin = abis[_i] });

	ck_assert_int_eq(vmm->registration.executor_in_daemon, 0);
	ck_assert_uint_eq(vmm->registration.n_views, 2);
	for (unsigned int i = 0; i < 2; i++) {
		ck_assert_uint_eq(vmm->registration.views[i].vtl, i);
		ck_assert_int_eq(vmm->registration.views[i].abi, abis[_i]);
		ck_assert_uint_eq(vmm->registration.views[i].supported, supported[_i]);
	}
	expect_pages(vmm, 0, 0, vmm->n_pages, KVMATTR_RWX);
	expect_agreement(vmm, vmm->owner, 0);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(a_pin_that_contradicts_the_kernel_is_refused_with_both_names)
{
	enum kvmattr_abi pin = abis[(_i + 1) % N(abis)];
	const struct simulated_vmm_options options = { .abi = abis[_i], .pin = pin };
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm = simulated_vmm_connect(d, &options);

	expect_refusal(vmm->owner, simulated_vmm_register(vmm, &options), KVMATTR_ABI_MISMATCH,
		       kvmattr_abi_name(pin));
	expect_refusal(vmm->owner, simulated_vmm_register(vmm, &options), KVMATTR_ABI_MISMATCH,
		       kvmattr_abi_name(abis[_i]));
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(a_kernel_without_attributes_is_refused_saying_what_is_missing_and_may_be_tried_again)
{
	struct simulated_vmm_options options = { .abi = KVMATTR_ABI_DENY };
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm = simulated_vmm_connect(d, &options);
	struct simvm_kernel *good = vmm->kernel;
	const struct simvm_kernel_options without = { .abi = SIMVM_ABI_NONE,
						      .n_views = 2,
						      .n_pages = vmm->n_pages };

	ck_assert_int_eq(simvm_kernel_new(&without, &vmm->kernel), 0);
	vmm->kernel_ops = simvm_kernel_executor_ops(vmm->kernel);
	expect_refusal(vmm->owner, simulated_vmm_register(vmm, &options), KVMATTR_UNSUPPORTED,
		       "KVM_CAP_MEMORY_ATTRIBUTES is 0");
	simvm_kernel_free(vmm->kernel);

	vmm->kernel = good;
	vmm->kernel_ops = simvm_kernel_executor_ops(good);
	expect_ok(vmm->owner, simulated_vmm_register(vmm, &options));
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(a_name_that_was_let_go_can_be_registered_at_once)
{
	struct kvmattrd *d = kvmattrd_start(NULL);

	for (int i = 0; i < 20; i++)
		simulated_vmm_stop(simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 }));
	kvmattrd_stop(d);
}
END_TEST

/* ---- In force ------------------------------------------------------------------------------ */

START_TEST(an_answer_means_that_the_kernel_enforces_it_now)
{
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm =
		simulated_vmm_start(d, &(struct simulated_vmm_options){ .abi = abis[_i] });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, KVMATTR_RIGHT_VISIBILITY);
	uint64_t seed = 1;

	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	for (int round = 0; round < 200; round++) {
		unsigned int protection = protections[next_random(&seed) % N(protections)];
		uint64_t gfn = next_random(&seed) % (vmm->n_pages - 64);
		uint64_t n = 1 + next_random(&seed) % 64;

		if (abis[_i] == KVMATTR_ABI_MAINLINE) {
			expect_ok(agent, set_visibility_of(agent, round % 2, gfn, n));
			expect_pages(vmm, 0, gfn, n,
				     KVMATTR_RWX | (round % 2 ? KVMATTR_PRIVATE : 0));
			expect_pages(vmm, 1, gfn, n,
				     KVMATTR_RWX | (round % 2 ? KVMATTR_PRIVATE : 0));
		} else if (can_say(abis[_i], protection)) {
			expect_ok(agent, protect_range(agent, 1, protection, gfn, n));
			expect_pages(vmm, 0, gfn, n, protection);
		}
	}
	if (abis[_i] != KVMATTR_ABI_MAINLINE)
		expect_pages(vmm, 1, 0, vmm->n_pages, KVMATTR_RWX);
	for (unsigned int vtl = 0; vtl < 2; vtl++)
		expect_agreement(vmm, agent, vtl);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(what_a_dialect_cannot_say_is_unsupported_and_changes_nothing)
{
	enum kvmattr_abi abi = abis[_i / N(protections)];
	unsigned int protection = protections[_i % N(protections)];
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm =
		simulated_vmm_start(d, &(struct simulated_vmm_options){ .abi = abi });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);
	uint64_t calls;

	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	calls = simvm_kernel_statistics(vmm->kernel).calls;
	if (can_say(abi, protection)) {
		expect_ok(agent, protect_range(agent, 1, protection, 8, 8));
		expect_pages(vmm, 0, 8, 8, protection);
	} else {
		expect_refusal(agent, protect_range(agent, 1, protection, 8, 8),
			       KVMATTR_UNSUPPORTED, kvmattr_protection_name(protection));
		expect_refusal(agent, protect_range(agent, 1, protection, 8, 8),
			       KVMATTR_UNSUPPORTED, kvmattr_abi_name(abi));
		expect_pages(vmm, 0, 0, vmm->n_pages, KVMATTR_RWX);
		ck_assert_uint_eq(simvm_kernel_statistics(vmm->kernel).calls, calls);
	}
	expect_agreement(vmm, agent, 0);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(a_list_of_pages_in_any_order_is_done_page_by_page)
{
	static const uint64_t gfns[] = { 4095, 0, 7, 6, 5, 513, 512, 511, 7, 1000 };
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);
	size_t n_in_force = 0;

	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	expect_ok(agent, kvmattr_protect(agent, 1, KVMATTR_ALL_LOWER, KVMATTR_R, gfns, N(gfns),
					 &n_in_force));
	ck_assert_uint_eq(n_in_force, N(gfns));
	for (uint64_t gfn = 0; gfn < vmm->n_pages; gfn++) {
		bool is_listed = false;

		for (int i = 0; i < N(gfns); i++)
			is_listed |= gfns[i] == gfn;
		expect_pages(vmm, 0, gfn, 1, is_listed ? KVMATTR_R : KVMATTR_RWX);
	}
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(an_update_stops_at_its_first_element_that_fails_and_what_is_before_it_is_in_force)
{
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);
	const uint64_t gfns[] = { 10, 20, vmm->n_pages, 30 };
	size_t n_in_force = 99;

	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	expect_refusal(
		agent,
		kvmattr_protect(agent, 1, KVMATTR_ALL_LOWER, KVMATTR_R, gfns, N(gfns), &n_in_force),
		KVMATTR_INVALID_PARAMETER, "GFN 0x1000 is not RAM");
	ck_assert_uint_eq(n_in_force, 2);
	expect_pages(vmm, 0, 10, 1, KVMATTR_R);
	expect_pages(vmm, 0, 20, 1, KVMATTR_R);
	expect_pages(vmm, 0, 30, 1, KVMATTR_RWX);
	expect_agreement(vmm, agent, 0);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(a_long_list_is_done_whole_over_many_messages)
{
	enum { N_GFNS = 20000 };
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm =
		simulated_vmm_start(d, &(struct simulated_vmm_options){ .n_pages = 2 * N_GFNS });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);
	uint64_t *gfns = calloc(N_GFNS, sizeof(*gfns));
	size_t n_in_force = 0;

	for (uint64_t i = 0; i < N_GFNS; i++)
		gfns[i] = 2 * i;
	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	expect_ok(agent, kvmattr_protect(agent, 1, KVMATTR_ALL_LOWER, KVMATTR_RX, gfns, N_GFNS,
					 &n_in_force));
	ck_assert_uint_eq(n_in_force, N_GFNS);
	for (uint64_t i = 0; i < N_GFNS; i++) {
		expect_pages(vmm, 0, 2 * i, 1, KVMATTR_RX);
		expect_pages(vmm, 0, 2 * i + 1, 1, KVMATTR_RWX);
	}
	expect_agreement(vmm, agent, 0);
	free(gfns);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

/* ---- Several VMs --------------------------------------------------------------------------- */

START_TEST(several_vms_with_the_same_pages_have_nothing_to_do_with_each_other)
{
	enum { N_VMS = 8 };
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmms[N_VMS];
	struct kvmattr *agents[N_VMS];

	for (int i = 0; i < N_VMS; i++) {
		char name[8];

		snprintf(name, sizeof(name), "vm%d", i);
		vmms[i] = simulated_vmm_start(
			d, &(struct simulated_vmm_options){
				   .name = name, .abi = abis[1 + i % 3], .n_pages = 512 });
		agents[i] = simulated_vmm_open_agent(vmms[i], 1, 0);
		expect_ok(agents[i], kvmattr_enable_layer(agents[i], 1, KVMATTR_RWX, 0));
	}
	for (uint64_t gfn = 0; gfn < 64; gfn++)
		for (unsigned int i = 0; i < N_VMS; i++)
			expect_ok(agents[i], protect_range(agents[i], 1,
							   protections[1 + (i + gfn) % 4], gfn, 1));
	simulated_vmm_stop(vmms[0]);
	for (unsigned int i = 1; i < N_VMS; i++) {
		for (uint64_t gfn = 0; gfn < 64; gfn++)
			expect_pages(vmms[i], 0, gfn, 1, protections[1 + (i + gfn) % 4]);
		expect_pages(vmms[i], 0, 64, 512 - 64, KVMATTR_RWX);
		expect_agreement(vmms[i], agents[i], 0);
	}
	expect_refusal(agents[0], protect_range(agents[0], 1, KVMATTR_R, 0, 1), -EPIPE,
		       "VM 'vm0' is gone");
	for (int i = 0; i < N_VMS; i++) {
		kvmattr_close(agents[i]);
		if (i)
			simulated_vmm_stop(vmms[i]);
	}
	kvmattrd_stop(d);
}
END_TEST

int main(void)
{
	TCase *registration = harness_make_case("registration", 20);
	TCase *in_force = harness_make_case("in force", 20);
	TCase *several = harness_make_case("several VMs", 20);

	tcase_add_loop_test(registration, a_registered_vm_gets_the_dialect_that_its_kernel_speaks,
			    0, N(abis));
	tcase_add_loop_test(registration,
			    a_pin_that_contradicts_the_kernel_is_refused_with_both_names, 0,
			    N(abis));
	tcase_add_test(
		registration,
		a_kernel_without_attributes_is_refused_saying_what_is_missing_and_may_be_tried_again);
	tcase_add_test(registration, a_name_that_was_let_go_can_be_registered_at_once);

	tcase_add_loop_test(in_force, an_answer_means_that_the_kernel_enforces_it_now, 0, N(abis));
	tcase_add_loop_test(in_force, what_a_dialect_cannot_say_is_unsupported_and_changes_nothing,
			    0, N(abis) * N(protections));
	tcase_add_test(in_force, a_list_of_pages_in_any_order_is_done_page_by_page);
	tcase_add_test(
		in_force,
		an_update_stops_at_its_first_element_that_fails_and_what_is_before_it_is_in_force);
	tcase_add_test(in_force, a_long_list_is_done_whole_over_many_messages);

	tcase_add_test(several, several_vms_with_the_same_pages_have_nothing_to_do_with_each_other);
	return harness_run("main path", (TCase *const[]){ registration, in_force, several, NULL });
}
