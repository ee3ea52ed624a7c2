/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens when KVM refuses, wants to be asked again, does half of it, or is slow: nothing that
 * was answered is wrong, only what cannot be done fails, and a bystander does not notice.
 *
 * VMMs that do not answer or die are in test-vmm-death.c.
 */
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/program.h"
#include "tests/integration/simulated-vmm.h"
#include "tests/integration/vmm-process.h"

#include <kvmattr.h>

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- A boot, with faults ------------------------------------------------------------------- */

static const char *const abi_names[] = { "mainline", "deny", "v10", "v10na" };

static const struct {
	const char *list;
	int first_call; /* that is to fail; the trace has to get there */
	bool is_v10s;
} faults[] = {
	{ "slow=1", 1, false },
	{ "enomem@3", 3, false },
	{ "enomem@17", 17, false },
	{ "enomem@200", 200, false },
	{ "enomem@20:100", 120, false },
	{ "eagain@3", 3, false },
	{ "eagain@30:5", 35, false },
	{ "eagain@30:20", 50, false },
	{ "einval@3", 3, false },
	{ "einval@50:3", 53, false },
	{ "slow=300", 1, false },
	{ "enomem@30,eagain@60:3,einval@90:2,enomem@150:30", 180, false },
	{ "dead@60:150", 60, false },
	{ "partial=1", 1, true },
	{ "partial=7", 1, true },
	{ "partial=64,enomem@600:3,eagain@700:3", 703, true },
};

static struct json_object *run_boot(const struct kvmattrd *d, const char *abi, const char *list)
{
	const char *const argv[] = {
		SIMVM_PROGRAM, "--runtime-dir", d->runtime_dir, "--abi",  abi,
		"--ram",       "64M",           "--pages",      "8000",   "--pipeline",
		"64",          "--fault",       list,           "--json", NULL
	};
	struct program_result result = program_run(argv);
	struct json_object *report = json_tokener_parse(result.out);

	ck_assert_msg(report && result.status == 0, "it ended with %d: %s%s", result.status,
		      result.out, result.err);
	program_forget(&result);
	return report;
}

START_TEST(a_boot_with_faults_ends_with_no_page_that_differs_in_each_dialect)
{
	const char *abi = abi_names[_i % N(abi_names)];
	const char *list = faults[_i / N(abi_names)].list;
	struct kvmattrd *d;
	struct bystander *bystander;
	struct json_object *report;

	if (faults[_i / N(abi_names)].is_v10s && strncmp(abi, "v10", 3) != 0)
		return; /* the upstream call is done whole or not at all */
	d = kvmattrd_start(NULL);
	bystander = bystander_start(d);
	report = run_boot(d, abi, list);
	ck_assert(json_boolean_at(report, "well"));
	ck_assert_int_eq(json_number_at(report, "agents_lost"), 0);
	ck_assert_int_eq(json_number_at(report, "pages_differ_from_daemon"), 0);
	ck_assert_int_eq(json_number_at(report, "pages_differ_from_trace"), 0);
	ck_assert_int_eq(json_number_at(report, "pages_not_known_to_daemon"), 0);
	ck_assert_int_ge(json_number_at(report, "calls_before_trace") +
				 json_number_at(report, "calls"),
			 faults[_i / N(abi_names)].first_call);
	/* A call that fails once is made again; what fails is what the kernel goes on to refuse. */
	if (!strchr(list, ':') || !strncmp(list, "eagain@30:5", 11) || !strncmp(list, "dead", 4))
		ck_assert_int_le(json_number_at(report, "updates_failed"), 1);
	json_object_put(report);
	bystander_stop(bystander);
	kvmattrd_stop(d);
}
END_TEST

/* ---- One refusal, looked at closely -------------------------------------------------------- */

static const struct {
	int error;
	enum kvmattr_status status;
	const char *name;
} refusals[] = {
	{ ENOMEM, KVMATTR_INSUFFICIENT_MEMORY, "ENOMEM" },
	{ EINVAL, KVMATTR_UNSUPPORTED, "EINVAL" },
	{ EIO, KVMATTR_KERNEL_REFUSED, "EIO" },
	{ EAGAIN, KVMATTR_KERNEL_REFUSED, "EAGAIN" },
};

struct outcomes {
	int status[600];
	size_t n;
};

static void note(void *context, const struct kvmattr_answer *answer)
{
	struct outcomes *outcomes = context;

	outcomes->status[outcomes->n++] = answer->status;
}

START_TEST(of_many_updates_in_a_batch_only_the_one_that_the_kernel_refuses_fails)
{
	enum { N_UPDATES = 600, REFUSED = 421 };
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);
	struct outcomes outcomes = { 0 };

	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	expect_ok(agent, protect_range(agent, 1, KVMATTR_RX, REFUSED * 2, 1));
	simulated_vmm_fail_at(vmm, refusals[_i].error, REFUSED * 2 + 1, 1);
	for (uint64_t i = 0; i < N_UPDATES; i++) {
		const struct kvmattr_range range = { i * 2, 2 };
		const struct kvmattr_update update = { .kind = KVMATTR_PROTECT,
						       .layer = 1,
						       .value = KVMATTR_R,
						       .restricted = KVMATTR_ALL_LOWER,
						       .ranges = &range,
						       .n = 1 };

		expect_ok(agent, kvmattr_submit(agent, &update, note, &outcomes, NULL));
	}
	expect_ok(agent, kvmattr_wait(agent));
	ck_assert_uint_eq(outcomes.n, N_UPDATES);
	for (uint64_t i = 0; i < N_UPDATES; i++)
		ck_assert_int_eq(outcomes.status[i], i == REFUSED ? (int)refusals[_i].status : 0);
	expect_pages(vmm, 0, 0, REFUSED * 2, KVMATTR_R);
	/* As it was before. */
	expect_pages(vmm, 0, REFUSED * 2, 1, KVMATTR_RX);
	expect_pages(vmm, 0, REFUSED * 2 + 1, 1, KVMATTR_RWX);
	expect_pages(vmm, 0, REFUSED * 2 + 2, (N_UPDATES - REFUSED - 1) * 2, KVMATTR_R);
	expect_agreement(vmm, agent, 0);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(a_refused_element_ends_its_update_and_says_where_and_with_what_the_kernel_refused)
{
	static const uint64_t gfns[] = { 5, 10, 15, 20 };
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);
	size_t n_in_force = 99;
	int r;

	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	simulated_vmm_fail_at(vmm, refusals[_i].error, 15, 1);
	r = kvmattr_protect(agent, 1, KVMATTR_ALL_LOWER, KVMATTR_R, gfns, N(gfns), &n_in_force);
	expect_refusal(agent, r, (int)refusals[_i].status, "GFN 0xf");
	expect_refusal(agent, r, (int)refusals[_i].status, refusals[_i].name);
	ck_assert_uint_eq(n_in_force, 2);
	expect_pages(vmm, 0, 5, 1, KVMATTR_R);
	expect_pages(vmm, 0, 10, 1, KVMATTR_R);
	expect_pages(vmm, 0, 15, 6, KVMATTR_RWX);
	simulated_vmm_fail(vmm, 0);
	expect_ok(agent, protect_range(agent, 1, KVMATTR_R, 15, 1));
	expect_agreement(vmm, agent, 0);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(a_kernel_that_wants_to_be_asked_again_is_asked_again_and_nobody_is_told)
{
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct control_client *control = control_connect(d);
	struct simulated_vmm *vmm =
		simulated_vmm_start(d, &(struct simulated_vmm_options){ .faults = "eagain@3:6" });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);
	struct json_object *stats;

	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	for (uint64_t gfn = 0; gfn < 8; gfn++)
		expect_ok(agent, protect_range(agent, 1, KVMATTR_R, gfn * 2, 1));
	stats = control_call(control, "stats.get", "{\"vm\":\"guest\"}");
	ck_assert_int_eq(json_number_at(stats, "vms.0.retries"), 6);
	ck_assert_int_eq(json_number_at(stats, "vms.0.refusals"), 0);
	ck_assert_int_eq(json_number_at(stats, "vms.0.updates_failed"), 0);
	json_object_put(stats);
	expect_agreement(vmm, agent, 0);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	control_close(control);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(a_registration_that_the_kernel_refuses_is_answered_so_and_may_be_tried_again)
{
	const struct simulated_vmm_options options = { .is_private = true };
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct control_client *control = control_connect(d);
	struct daemon_state before = daemon_state_now(d, control);
	struct simulated_vmm *vmm = simulated_vmm_connect(d, &options);

	simulated_vmm_fail(vmm, ENOMEM);
	expect_refusal(vmm->owner, simulated_vmm_register(vmm, &options),
		       KVMATTR_INSUFFICIENT_MEMORY, "ENOMEM");
	ck_assert(!control_has_vm(control, "guest"));
	simulated_vmm_fail(vmm, 0);
	expect_ok(vmm->owner, simulated_vmm_register(vmm, &options));
	expect_pages(vmm, 0, 0, vmm->n_pages, KVMATTR_RWX | KVMATTR_PRIVATE);
	simulated_vmm_stop(vmm);
	expect_state(d, control, &before);
	control_close(control);
	kvmattrd_stop(d);
}
END_TEST

/* ---- Degraded, and recovered --------------------------------------------------------------- */

static bool is_degraded(struct control_client *control)
{
	struct json_object *vm = control_call(control, "vm.get", "{\"vm\":\"guest\"}");
	bool degraded = json_boolean_at(vm, "degraded");

	/* The one goes with the other. */
	ck_assert_int_eq(json_number_at(vm, "unknown_pages") > 0, degraded);
	json_object_put(vm);
	return degraded;
}

START_TEST(a_vm_whose_kernel_takes_not_even_the_undoing_is_degraded_until_it_does)
{
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct control_client *control = control_connect(d);
	struct bystander *bystander = bystander_start(d);
	struct simulated_vmm *vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);
	struct kvmattr_explanation why;
	struct json_object *page;

	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	expect_ok(agent, protect_range(agent, 1, KVMATTR_RX, 100, 4));
	ck_assert(!is_degraded(control));
	simulated_vmm_fail(vmm, ENOMEM);
	expect_refusal(agent, protect_range(agent, 1, KVMATTR_R, 100, 8),
		       KVMATTR_INSUFFICIENT_MEMORY, "ENOMEM");
	ck_assert(is_degraded(control));
	ck_assert(kvmattrd_has_logged(d, "VM 'guest': degraded"));
	expect_ok(agent, kvmattr_explain(agent, 0, 100, KVMATTR_WRITE, &why));
	ck_assert_int_eq(why.state, KVMATTR_UNKNOWN);
	ck_assert_uint_eq(why.attributes, KVMATTR_RX);
	page = control_call(control, "map.explain", "{\"vm\":\"guest\",\"gpa\":\"0x64000\"}");
	ck_assert_str_eq(json_text_at(page, "state"), "unknown");
	ck_assert(json_has(page, "applied") && !json_at(page, "applied"));
	json_object_put(page);
	expect_ok(agent, kvmattr_explain(agent, 0, 99, KVMATTR_WRITE, &why));
	ck_assert_int_eq(why.state, KVMATTR_IN_FORCE);
	bystander_expect_progress(bystander);

	simulated_vmm_fail(vmm, 0);
	/* By itself, within a few seconds; an update would bring it about at once. */
	EVENTUALLY(6000, !is_degraded(control));
	ck_assert(kvmattrd_has_logged(d, "VM 'guest': recovered"));
	expect_pages(vmm, 0, 100, 4, KVMATTR_RX);
	expect_pages(vmm, 0, 104, 4, KVMATTR_RWX);
	expect_agreement(vmm, agent, 0);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	bystander_stop(bystander);
	control_close(control);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(the_next_update_repairs_what_is_not_known)
{
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct control_client *control = control_connect(d);
	struct simulated_vmm *vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);

	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	simulated_vmm_fail(vmm, ENOMEM);
	for (int i = 0; i < 5; i++)
		expect_status(agent, protect_range(agent, 1, KVMATTR_R, 100, 8),
			      KVMATTR_INSUFFICIENT_MEMORY);
	ck_assert(is_degraded(control));
	simulated_vmm_fail(vmm, 0);
	expect_ok(agent, protect_range(agent, 1, KVMATTR_RX, 2000, 1));
	ck_assert(!is_degraded(control));
	expect_pages(vmm, 0, 100, 8, KVMATTR_RWX);
	expect_agreement(vmm, agent, 0);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	control_close(control);
	kvmattrd_stop(d);
}
END_TEST

int main(void)
{
	TCase *boots = harness_make_case("boots", 30);
	TCase *refused = harness_make_case("refusals", 20);
	TCase *degraded = harness_make_case("degraded", 20);

	tcase_add_loop_test(boots,
			    a_boot_with_faults_ends_with_no_page_that_differs_in_each_dialect, 0,
			    N(faults) * N(abi_names));
	tcase_add_loop_test(refused,
			    of_many_updates_in_a_batch_only_the_one_that_the_kernel_refuses_fails,
			    0, N(refusals));
	tcase_add_loop_test(
		refused,
		a_refused_element_ends_its_update_and_says_where_and_with_what_the_kernel_refused,
		0, N(refusals));
	tcase_add_test(refused,
		       a_kernel_that_wants_to_be_asked_again_is_asked_again_and_nobody_is_told);
	tcase_add_test(
		refused,
		a_registration_that_the_kernel_refuses_is_answered_so_and_may_be_tried_again);
	tcase_add_test(degraded,
		       a_vm_whose_kernel_takes_not_even_the_undoing_is_degraded_until_it_does);
	tcase_add_test(degraded, the_next_update_repairs_what_is_not_known);
	return harness_run("faults", (TCase *const[]){ boots, refused, degraded, NULL });
}
