/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What updates do beside protections, seen in the kernel's page table: visibility, locks, RAM that
 * comes and goes, and resets.
 */
#include "tests/integration/harness.h"
#include "tests/integration/simulated-vmm.h"

#include <kvmattr.h>

#include <check.h>

#define SHARED  KVMATTR_RWX
#define PRIVATE (KVMATTR_RWX | KVMATTR_PRIVATE)

static int lock(struct kvmattr *owner, uint64_t gfn, uint64_t n_pages)
{
	return kvmattr_lock(owner, &(struct kvmattr_range){ gfn, n_pages }, 1, NULL);
}

static int unlock(struct kvmattr *owner, uint64_t gfn, uint64_t n_pages)
{
	return kvmattr_unlock(owner, &(struct kvmattr_range){ gfn, n_pages }, 1, NULL);
}

static int add_ram(struct kvmattr *owner, uint64_t gfn, uint64_t n_pages, int is_private)
{
	return kvmattr_add_ram(owner, &(struct kvmattr_range){ gfn, n_pages }, 1, is_private, NULL);
}

static int remove_ram(struct kvmattr *owner, uint64_t gfn, uint64_t n_pages)
{
	return kvmattr_remove_ram(owner, &(struct kvmattr_range){ gfn, n_pages }, 1, NULL);
}

static struct kvmattrd *d;
static struct simulated_vmm *vmm;

static void start_with(const struct simulated_vmm_options *options)
{
	d = kvmattrd_start(NULL);
	vmm = simulated_vmm_start(d, options);
}

static void stop(void)
{
	for (unsigned int i = 0; i < vmm->n_views; i++)
		expect_agreement(vmm, vmm->owner, vmm->vtls[i]);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}

/* ---- Visibility ---------------------------------------------------------------------------- */

START_TEST(visibility_is_the_owners_and_that_of_agents_with_the_right)
{
	struct kvmattr *with, *without;

	start_with(&(struct simulated_vmm_options){ 0 });
	with = simulated_vmm_open_agent(vmm, 1, KVMATTR_RIGHT_VISIBILITY);
	without = simulated_vmm_open_agent(vmm, 1, 0);
	expect_refusal(without, set_visibility_of(without, 1, 0, 8), KVMATTR_ACCESS_DENIED,
		       "VTL 1 was not granted visibility");
	expect_pages(vmm, 0, 0, 8, SHARED);
	expect_ok(with, set_visibility_of(with, 1, 0, 8));
	expect_pages(vmm, 0, 0, 8, PRIVATE);
	expect_pages(vmm, 1, 0, 8, PRIVATE);
	expect_refusal(without, set_visibility_of(without, 0, 0, 8), KVMATTR_ACCESS_DENIED,
		       "VTL 1 was not granted visibility");
	expect_ok(vmm->owner, set_visibility_of(vmm->owner, 0, 0, 4));
	expect_pages(vmm, 0, 0, 4, SHARED);
	expect_pages(vmm, 0, 4, 4, PRIVATE);
	kvmattr_close(with);
	kvmattr_close(without);
	stop();
}
END_TEST

START_TEST(ram_may_be_private_from_the_start)
{
	start_with(&(struct simulated_vmm_options){ .is_private = true });
	expect_pages(vmm, 0, 0, vmm->n_pages, PRIVATE);
	expect_pages(vmm, 1, 0, vmm->n_pages, PRIVATE);
	stop();
}
END_TEST

START_TEST(protections_survive_both_conversions)
{
	struct kvmattr *owner;

	start_with(&(struct simulated_vmm_options){ 0 });
	owner = vmm->owner;
	/* Private pages are rwx or nothing in this dialect, so that is what they keep. */
	expect_ok(owner, kvmattr_enable_layer(owner, 1, KVMATTR_RX, 0));
	expect_ok(owner, protect_range(owner, 1, KVMATTR_RWX, 2, 4));
	expect_ok(owner, set_visibility_of(owner, 1, 2, 4));
	expect_pages(vmm, 0, 2, 4, PRIVATE);
	expect_pages(vmm, 1, 2, 4, PRIVATE);
	expect_ok(owner, set_visibility_of(owner, 0, 2, 4));
	expect_pages(vmm, 0, 2, 4, SHARED);
	expect_pages(vmm, 0, 0, 2, KVMATTR_RX);
	expect_pages(vmm, 0, 6, 2, KVMATTR_RX);
	stop();
}
END_TEST

/* v10's bits can say it, but the kernel does not do it: tests/kernel has the same. */
START_TEST(what_the_kernel_refuses_though_its_bits_can_say_it_is_unsupported_and_undone)
{
	struct kvmattr *owner;

	start_with(&(struct simulated_vmm_options){ .abi = KVMATTR_ABI_V10 + (_i ? 1 : 0) });
	owner = vmm->owner;
	expect_ok(owner, kvmattr_enable_layer(owner, 1, KVMATTR_RWX, 0));
	expect_ok(owner, set_visibility_of(owner, 1, 4, 4));
	expect_ok(owner, protect_range(owner, 1, KVMATTR_R, 10, 2));
	expect_refusal(owner, protect_range(owner, 1, KVMATTR_R, 0, 16), KVMATTR_UNSUPPORTED,
		       "cannot enforce");
	expect_pages(vmm, 0, 0, 4, SHARED);
	expect_pages(vmm, 0, 4, 4, PRIVATE);
	expect_pages(vmm, 0, 8, 2, SHARED);
	expect_pages(vmm, 0, 10, 2, KVMATTR_R);
	expect_pages(vmm, 0, 12, 4, SHARED);
	expect_refusal(owner, set_visibility_of(owner, 1, 8, 8), KVMATTR_UNSUPPORTED,
		       "cannot enforce");
	expect_pages(vmm, 0, 8, 2, SHARED);
	expect_pages(vmm, 0, 10, 2, KVMATTR_R);
	expect_pages(vmm, 1, 8, 8, SHARED);
	stop();
}
END_TEST

START_TEST(what_deny_bits_cannot_say_of_private_pages_is_refused_both_ways)
{
	struct kvmattr *owner;

	start_with(&(struct simulated_vmm_options){ .abi = KVMATTR_ABI_DENY });
	owner = vmm->owner;
	expect_ok(owner, kvmattr_enable_layer(owner, 1, KVMATTR_RWX, 0));
	expect_ok(owner, set_visibility_of(owner, 1, 0, 4));
	expect_refusal(owner, protect_range(owner, 1, KVMATTR_R, 0, 4), KVMATTR_UNSUPPORTED,
		       "cannot enforce r on private memory");
	expect_pages(vmm, 0, 0, 4, PRIVATE);
	expect_ok(owner, protect_range(owner, 1, KVMATTR_R, 8, 4));
	expect_refusal(owner, set_visibility_of(owner, 1, 8, 4), KVMATTR_UNSUPPORTED,
		       "cannot enforce r on private memory");
	expect_pages(vmm, 0, 8, 4, KVMATTR_R);
	stop();
}
END_TEST

/* ---- Locks --------------------------------------------------------------------------------- */

START_TEST(a_locked_page_cannot_be_changed_until_the_last_lock_is_gone)
{
	struct kvmattr *owner, *agent;

	start_with(&(struct simulated_vmm_options){ 0 });
	owner = vmm->owner;
	agent = simulated_vmm_open_agent(vmm, 1, KVMATTR_RIGHT_VISIBILITY);
	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	expect_ok(owner, lock(owner, 4, 4));
	expect_ok(owner, lock(owner, 6, 4));
	expect_refusal(agent, protect_range(agent, 1, KVMATTR_R, 0, 16), KVMATTR_OPERATION_DENIED,
		       "GFN 0x4 is locked");
	expect_refusal(agent, set_visibility_of(agent, 1, 9, 1), KVMATTR_OPERATION_DENIED,
		       "GFN 0x9 is locked");
	expect_refusal(owner, protect_range(owner, 1, KVMATTR_R, 7, 1), KVMATTR_OPERATION_DENIED,
		       "GFN 0x7 is locked");
	expect_refusal(owner, remove_ram(owner, 0, 16), KVMATTR_OPERATION_DENIED,
		       "GFN 0x4 is locked");
	expect_pages(vmm, 0, 0, 16, SHARED);
	expect_ok(owner, unlock(owner, 4, 4));
	expect_ok(agent, protect_range(agent, 1, KVMATTR_R, 4, 2));
	expect_refusal(agent, protect_range(agent, 1, KVMATTR_R, 6, 1), KVMATTR_OPERATION_DENIED,
		       "GFN 0x6 is locked");
	expect_ok(owner, unlock(owner, 6, 4));
	expect_ok(agent, protect_range(agent, 1, KVMATTR_R, 0, 16));
	expect_pages(vmm, 0, 0, 16, KVMATTR_R);
	expect_refusal(owner, unlock(owner, 6, 1), KVMATTR_INVALID_PARAMETER,
		       "GFN 0x6 is not locked");
	kvmattr_close(agent);
	stop();
}
END_TEST

START_TEST(locks_are_counted_up_to_255)
{
	struct kvmattr *owner;

	start_with(&(struct simulated_vmm_options){ 0 });
	owner = vmm->owner;
	for (int i = 0; i < 255; i++)
		expect_ok(owner, lock(owner, 7, 1));
	expect_refusal(owner, lock(owner, 0, 16), KVMATTR_LIMIT_EXCEEDED,
		       "GFN 0x7 is locked 255 times");
	for (int i = 0; i < 255; i++)
		expect_ok(owner, unlock(owner, 7, 1));
	expect_refusal(owner, unlock(owner, 7, 1), KVMATTR_INVALID_PARAMETER, "is not locked");
	stop();
}
END_TEST

START_TEST(what_only_the_owner_may_do_is_denied_to_agents)
{
	struct kvmattr *agent;
	int fd;

	start_with(&(struct simulated_vmm_options){ 0 });
	agent = simulated_vmm_open_agent(vmm, 15, KVMATTR_RIGHT_VISIBILITY);
	expect_refusal(agent, lock(agent, 0, 1), KVMATTR_ACCESS_DENIED, "only the VM's owner");
	expect_refusal(agent, unlock(agent, 0, 1), KVMATTR_ACCESS_DENIED, "only the VM's owner");
	expect_refusal(agent, add_ram(agent, vmm->n_pages, 1, 0), KVMATTR_ACCESS_DENIED,
		       "only the VM's owner");
	expect_refusal(agent, remove_ram(agent, 0, 1), KVMATTR_ACCESS_DENIED,
		       "only the VM's owner");
	expect_refusal(agent, kvmattr_reset_vm(agent), KVMATTR_ACCESS_DENIED,
		       "only the VM's owner");
	expect_refusal(agent, kvmattr_open_agent(agent, 1, 0, &fd), KVMATTR_ACCESS_DENIED,
		       "only a VM's owner");
	kvmattr_close(agent);
	stop();
}
END_TEST

/* ---- RAM ----------------------------------------------------------------------------------- */

START_TEST(ram_that_is_added_gets_the_defaults_of_the_layers)
{
	struct kvmattr *owner;

	start_with(&(struct simulated_vmm_options){ .kernel_pages = 8192 });
	owner = vmm->owner;
	expect_ok(owner, kvmattr_enable_layer(owner, 1, KVMATTR_RX, 0));
	expect_refusal(owner, protect_range(owner, 1, KVMATTR_R, 5000, 1),
		       KVMATTR_INVALID_PARAMETER, "GFN 0x1388 is not RAM");
	expect_pages(vmm, 0, 4096, 4096, SHARED);
	expect_ok(owner, add_ram(owner, 5000, 100, 0));
	expect_pages(vmm, 0, 4096, 904, SHARED);
	expect_pages(vmm, 0, 5000, 100, KVMATTR_RX);
	expect_pages(vmm, 1, 5000, 100, SHARED);
	expect_refusal(owner, add_ram(owner, 5099, 2, 0), KVMATTR_INVALID_PARAMETER,
		       "GFN 0x13eb is RAM already");
	expect_ok(owner, protect_range(owner, 1, KVMATTR_R, 5000, 1));
	expect_pages(vmm, 0, 5000, 1, KVMATTR_R);
	stop();
}
END_TEST

START_TEST(ram_that_is_removed_goes_back_to_the_kernels_default_and_its_protections_are_forgotten)
{
	struct kvmattr_explanation why;
	struct kvmattr *owner;

	start_with(&(struct simulated_vmm_options){ 0 });
	owner = vmm->owner;
	expect_ok(owner, kvmattr_enable_layer(owner, 1, KVMATTR_RWX, 0));
	expect_ok(owner, protect_range(owner, 1, KVMATTR_R, 96, 64));
	expect_ok(owner, remove_ram(owner, 128, 64));
	expect_pages(vmm, 0, 96, 32, KVMATTR_R);
	expect_pages(vmm, 0, 128, 64, SHARED);
	expect_refusal(owner, protect_range(owner, 1, KVMATTR_R, 191, 1), KVMATTR_INVALID_PARAMETER,
		       "is not RAM");
	expect_refusal(owner, kvmattr_explain(owner, 0, 128, KVMATTR_READ, &why),
		       KVMATTR_INVALID_PARAMETER, "not RAM");
	expect_refusal(owner, remove_ram(owner, 128, 1), KVMATTR_INVALID_PARAMETER, "is not RAM");
	expect_ok(owner, add_ram(owner, 128, 64, 1));
	expect_pages(vmm, 0, 128, 64, PRIVATE);
	expect_refusal(owner, add_ram(owner, UINT64_MAX - 1, 8, 0), KVMATTR_INVALID_PARAMETER,
		       "past the last GFN");
	stop();
}
END_TEST

START_TEST(a_query_leaves_out_what_is_no_ram)
{
	const struct kvmattr_range all = { 0, 4096 };
	struct kvmattr_run runs[8];
	size_t n = 0;
	uint64_t next = 0;

	start_with(&(struct simulated_vmm_options){ 0 });
	expect_ok(vmm->owner, remove_ram(vmm->owner, 100, 50));
	expect_ok(vmm->owner, kvmattr_query(vmm->owner, 0, all, runs, 8, &n, &next));
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(next, 4096);
	ck_assert_uint_eq(runs[0].range.gfn, 0);
	ck_assert_uint_eq(runs[0].range.n_pages, 100);
	ck_assert_uint_eq(runs[1].range.gfn, 150);
	ck_assert_uint_eq(runs[1].range.n_pages, 4096 - 150);
	/* One run at a time gets there, too. */
	expect_ok(vmm->owner, kvmattr_query(vmm->owner, 0, all, runs, 1, &n, &next));
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(next, 100);
	stop();
}
END_TEST

/* ---- Resets -------------------------------------------------------------------------------- */

START_TEST(a_reset_layer_imposes_nothing_and_may_be_enabled_anew_with_another_default)
{
	struct kvmattr *owner;

	start_with(&(struct simulated_vmm_options){ .n_views = 3 });
	owner = vmm->owner;
	expect_ok(owner, kvmattr_enable_layer(owner, 1, KVMATTR_RX, 0));
	expect_ok(owner, kvmattr_enable_layer(owner, 2, KVMATTR_RW, 0));
	expect_ok(owner, protect_range(owner, 1, KVMATTR_NONE, 10, 10));
	expect_pages(vmm, 0, 0, 10, KVMATTR_R);
	expect_pages(vmm, 0, 10, 10, KVMATTR_NONE);
	expect_ok(owner, kvmattr_reset_layer(owner, 1));
	expect_pages(vmm, 0, 0, vmm->n_pages, KVMATTR_RW);
	expect_pages(vmm, 1, 0, vmm->n_pages, KVMATTR_RW);
	expect_refusal(owner, protect_range(owner, 1, KVMATTR_R, 0, 1), KVMATTR_INVALID_VTL_STATE,
		       "layer 1 is not enabled");
	expect_ok(owner, kvmattr_enable_layer(owner, 1, KVMATTR_R, 0));
	expect_pages(vmm, 0, 0, vmm->n_pages, KVMATTR_R);
	expect_pages(vmm, 1, 0, vmm->n_pages, KVMATTR_RW);
	stop();
}
END_TEST

START_TEST(a_reset_vm_has_no_layers_and_no_locks_and_the_visibility_that_it_began_with)
{
	struct kvmattr *owner;

	start_with(&(struct simulated_vmm_options){
		.abi = KVMATTR_ABI_V10NA, .is_private = true, .kernel_pages = 8192 });
	owner = vmm->owner;
	expect_ok(owner, add_ram(owner, 4096, 64, 0));
	expect_ok(owner, kvmattr_enable_layer(owner, 1, KVMATTR_RWX, 0));
	expect_ok(owner, set_visibility_of(owner, 0, 0, 128));
	expect_ok(owner, set_visibility_of(owner, 1, 4096, 32));
	expect_ok(owner, protect_range(owner, 1, KVMATTR_NONE, 64, 64));
	expect_pages(vmm, 0, 64, 64, KVMATTR_NONE);
	expect_ok(owner, lock(owner, 64, 4));
	expect_ok(owner, kvmattr_reset_vm(owner));
	expect_pages(vmm, 0, 0, 4096, PRIVATE);
	expect_pages(vmm, 1, 0, 4096, PRIVATE);
	expect_pages(vmm, 0, 4096, 64, SHARED);
	expect_refusal(owner, protect_range(owner, 1, KVMATTR_R, 0, 1), KVMATTR_INVALID_VTL_STATE,
		       "layer 1 is not enabled");
	expect_refusal(owner, unlock(owner, 64, 1), KVMATTR_INVALID_PARAMETER, "is not locked");
	expect_ok(owner, kvmattr_enable_layer(owner, 1, KVMATTR_RWX, 0));
	expect_ok(owner, protect_range(owner, 1, KVMATTR_R, 4100, 4));
	expect_pages(vmm, 0, 4100, 4, KVMATTR_R);
	stop();
}
END_TEST

int main(void)
{
	TCase *visibility = harness_make_case("visibility", 20);
	TCase *locks = harness_make_case("locks", 20);
	TCase *ram = harness_make_case("RAM", 20);
	TCase *resets = harness_make_case("resets", 20);

	tcase_add_test(visibility, visibility_is_the_owners_and_that_of_agents_with_the_right);
	tcase_add_test(visibility, ram_may_be_private_from_the_start);
	tcase_add_loop_test(
		visibility,
		what_the_kernel_refuses_though_its_bits_can_say_it_is_unsupported_and_undone, 0, 2);
	tcase_add_test(visibility, protections_survive_both_conversions);
	tcase_add_test(visibility, what_deny_bits_cannot_say_of_private_pages_is_refused_both_ways);
	tcase_add_test(locks, a_locked_page_cannot_be_changed_until_the_last_lock_is_gone);
	tcase_add_test(locks, locks_are_counted_up_to_255);
	tcase_add_test(locks, what_only_the_owner_may_do_is_denied_to_agents);
	tcase_add_test(ram, ram_that_is_added_gets_the_defaults_of_the_layers);
	tcase_add_test(
		ram,
		ram_that_is_removed_goes_back_to_the_kernels_default_and_its_protections_are_forgotten);
	tcase_add_test(ram, a_query_leaves_out_what_is_no_ram);
	tcase_add_test(resets,
		       a_reset_layer_imposes_nothing_and_may_be_enabled_anew_with_another_default);
	tcase_add_test(resets,
		       a_reset_vm_has_no_layers_and_no_locks_and_the_visibility_that_it_began_with);
	return harness_run("updates", (TCase *const[]){ visibility, locks, ram, resets, NULL });
}
