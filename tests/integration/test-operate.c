/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What operators do to a VM, with its owner and its agents at work: it is frozen and thawed,
 * verified and released, and whoever waits is answered, whatever becomes of the VM meanwhile.
 *
 * Updates by operators are in test-operate-updates.c.
 */
#include "tests/integration/restarts.h"
#include "tests/integration/simulated-vmm.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATUS(name) (-32000 - KVMATTR_##name)
#define PAGES        4096
#define N_AGENTS     2
#define GUEST        "{\"vm\":\"guest\"}"

static struct simulated_vmm *vmm;
static struct kvmattr *agents[N_AGENTS]; /* of VTL 1 and VTL 2 */
static const struct simulated_vmm_options three_views = { .n_views = 3 };

static void start_guest(void)
{
	start(NULL);
	vmm = simulated_vmm_start(d, &three_views);
	for (unsigned int i = 0; i < N_AGENTS; i++) {
		agents[i] = simulated_vmm_open_agent(vmm, i + 1, 0);
		expect_ok(agents[i], kvmattr_enable_layer(agents[i], i + 1, KVMATTR_RWX, 0));
	}
}

static void stop_guest(void)
{
	for (unsigned int i = 0; i < N_AGENTS; i++)
		kvmattr_close(agents[i]);
	simulated_vmm_stop(vmm);
	stop();
}

/* Calls that are not waited for; the answer is control_receive()'s. */
static struct control_client *begin_call(const char *method, const char *params)
{
	struct control_client *client = control_connect(d);
	char line[256];

	snprintf(line, sizeof(line),
		 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}\n", method,
		 params);
	control_send(client, line, strlen(line));
	return client;
}

/* Its result; what it is refused with, as the status, if there is one. */
static struct json_object *end_call(struct control_client *client, int code, const char *part)
{
	struct json_object *answer = control_receive(client);

	ck_assert_ptr_nonnull(answer);
	if (code) {
		ck_assert_int_eq(json_number_at(answer, "error.code"), code);
		ck_assert_msg(strstr(json_text_at(answer, "error.message"), part), "%s",
			      json_object_to_json_string(answer));
	} else {
		ck_assert_msg(!json_has(answer, "error"), "%s", json_object_to_json_string(answer));
	}
	control_close(client);
	return answer;
}

static bool is_guest(const char *member, bool value)
{
	struct json_object *guest = control_call(control, "vm.get", GUEST);
	bool is_so = json_boolean_at(guest, member) == value;

	json_object_put(guest);
	return is_so;
}

static int64_t number_of_guest(const char *member)
{
	struct json_object *guest = control_call(control, "vm.get", GUEST);
	int64_t number = json_number_at(guest, member);

	json_object_put(guest);
	return number;
}

static int64_t freeze(void)
{
	struct json_object *answer = control_call(control, "vm.freeze", GUEST);
	int64_t commit = json_number_at(answer, "commit");

	ck_assert(json_boolean_at(answer, "frozen"));
	ck_assert_str_eq(json_text_at(answer, "vm"), "guest");
	json_object_put(answer);
	return commit;
}

static int64_t thaw(void)
{
	struct json_object *answer = control_call(control, "vm.thaw", GUEST);
	int64_t queue = json_number_at(answer, "queue");

	ck_assert(!json_boolean_at(answer, "frozen"));
	json_object_put(answer);
	return queue;
}

/* ---- Agents at work ------------------------------------------------------------------------ */

#define N_UPDATES 300

static unsigned int n_done, n_failed;

static void count(void *unused, const struct kvmattr_answer *answer)
{
	(void)unused;
	n_done++;
	n_failed += answer->status != KVMATTR_OK;
}

static void submit(struct kvmattr *agent, unsigned int layer, unsigned int protection, uint64_t gfn)
{
	const struct kvmattr_update update = {
		.kind = KVMATTR_PROTECT,
		.layer = (uint8_t)layer,
		.value = (uint8_t)protection,
		.restricted = KVMATTR_ALL_LOWER,
		.gfns = &gfn,
		.n = 1,
	};

	expect_ok(agent, kvmattr_submit(agent, &update, count, NULL, NULL));
}

/* Each agent has pages of its own. */
static void submit_many(unsigned int protection)
{
	for (unsigned int i = 0; i < N_AGENTS; i++) {
		for (uint64_t n = 0; n < N_UPDATES; n++)
			submit(agents[i], i + 1, protection, i * 1000 + 2 * n);
		expect_ok(agents[i], kvmattr_flush(agents[i]));
	}
}

static void wait_for_agents(void)
{
	for (unsigned int i = 0; i < N_AGENTS; i++)
		expect_ok(agents[i], kvmattr_wait(agents[i]));
}

static void expect_protected(unsigned int protection)
{
	for (unsigned int i = 0; i < N_AGENTS; i++)
		for (uint64_t n = 0; n < N_UPDATES; n++)
			expect_pages(vmm, 0, i * 1000 + 2 * n, 1, protection);
}

/* An update is on its way into KVM, and does not get there. */
static void hold_an_update(void)
{
	simulated_vmm_close_gate(vmm);
	submit(agents[0], 1, KVMATTR_R, 3000);
	expect_ok(agents[0], kvmattr_flush(agents[0]));
	simulated_vmm_await_call(vmm);
}

/* ---- Freezing ------------------------------------------------------------------------------ */

static char *export_guest(void)
{
	struct json_object *answer = control_call(control, "vm.export", GUEST);
	char *text = strdup(json_object_to_json_string(answer));

	ck_assert(!json_has(answer, "cursor"));
	json_object_put(answer);
	return text;
}

START_TEST(a_frozen_vm_stays_as_it_is_under_load_and_nothing_is_lost)
{
	struct json_object *frozen;
	char *export, *again;
	int64_t commit;

	submit_many(KVMATTR_R);
	commit = freeze();
	submit_many(KVMATTR_RX);
	EVENTUALLY(5000, number_of_guest("queue") >= N_AGENTS * N_UPDATES);
	ck_assert(is_guest("frozen", true));
	export = export_guest();
	ck_assert_int_eq(number_of_guest("commit"), commit);
	again = export_guest();
	ck_assert_str_eq(export, again);
	frozen = json_tokener_parse(export);
	ck_assert_int_eq(json_number_at(frozen, "commit"), commit);
	json_object_put(frozen);
	free(export);
	free(again);
	ck_assert_int_ge(thaw(), N_AGENTS * N_UPDATES);
	wait_for_agents();
	ck_assert_uint_eq(n_done, 2 * N_AGENTS * N_UPDATES);
	ck_assert_uint_eq(n_failed, 0);
	expect_protected(KVMATTR_RX);
	for (unsigned int vtl = 0; vtl < 3; vtl++)
		expect_agreement(vmm, vmm->owner, vtl);
	ck_assert(is_guest("frozen", false));
}
END_TEST

START_TEST(a_freeze_is_answered_when_the_batch_under_way_is_in_force)
{
	int64_t commit = number_of_guest("commit");
	struct control_client *freezing;
	struct json_object *answer;

	hold_an_update();
	freezing = begin_call("vm.freeze", GUEST);
	EVENTUALLY(5000, is_guest("frozen", true));
	ck_assert_int_eq(number_of_guest("commit"), commit);
	simulated_vmm_open_gate(vmm);
	answer = end_call(freezing, 0, "");
	ck_assert_int_eq(json_number_at(answer, "result.commit"), commit + 1);
	json_object_put(answer);
	expect_ok(agents[0], kvmattr_wait(agents[0]));
	expect_pages(vmm, 0, 3000, 1, KVMATTR_R);
	/* once more is nothing new */
	ck_assert_int_eq(freeze(), commit + 1);
	thaw();
}
END_TEST

START_TEST(who_waits_for_a_freeze_that_is_thawed_is_told)
{
	struct control_client *freezing;

	hold_an_update();
	freezing = begin_call("vm.freeze", GUEST);
	EVENTUALLY(5000, is_guest("frozen", true));
	thaw();
	json_object_put(end_call(freezing, STATUS(OPERATION_DENIED), "another operator thawed it"));
	simulated_vmm_open_gate(vmm);
	expect_ok(agents[0], kvmattr_wait(agents[0]));
	/* and a thaw of what is not frozen does nothing */
	ck_assert_int_eq(thaw(), 0);
}
END_TEST

START_TEST(a_freeze_does_not_outlive_the_daemon_and_what_waited_is_done_then)
{
	freeze();
	submit_many(KVMATTR_R);
	EVENTUALLY(5000, number_of_guest("queue") >= N_AGENTS * N_UPDATES);
	restart();
	wait_for_agents();
	ck_assert_uint_eq(n_done, N_AGENTS * N_UPDATES);
	ck_assert_uint_eq(n_failed, 0);
	ck_assert(is_guest("frozen", false));
	expect_protected(KVMATTR_R);
}
END_TEST

/* ---- Verifying ----------------------------------------------------------------------------- */

static const struct verified_guest {
	enum kvmattr_abi abi;
	unsigned int n_views;
	unsigned int protection; /* that this kernel can enforce; RWX: none */
} verified_guests[] = {
	{ KVMATTR_ABI_DENY, 3, KVMATTR_NONE },
	{ KVMATTR_ABI_V10NA, 2, KVMATTR_NONE },
	{ KVMATTR_ABI_V10, 2, KVMATTR_RX },
	{ KVMATTR_ABI_MAINLINE, 1, KVMATTR_RWX },
};

static uint8_t *page_table(unsigned int view)
{
	return (uint8_t *)(uintptr_t)simvm_kernel_pages(vmm->kernel, view);
}

/* Every page is something else than it was, behind everybody's back. */
static void spoil_kernel(unsigned int n_views)
{
	for (unsigned int v = 0; v < n_views; v++)
		for (uint64_t gfn = 0; gfn < PAGES; gfn++)
			page_table(v)[gfn] ^= SIMVM_KERNEL_DENY_WRITE | SIMVM_KERNEL_PRIVATE;
}

START_TEST(whatever_became_of_the_kernel_a_verification_mends_it)
{
	const struct verified_guest *guest = &verified_guests[_i];
	const struct simulated_vmm_options options = {
		.name = "second",
		.abi = guest->abi,
		.n_views = guest->n_views,
	};
	uint8_t before[3][PAGES];
	struct json_object *answer;

	simulated_vmm_stop(vmm);
	vmm = simulated_vmm_start(d, &options);
	if (guest->protection != KVMATTR_RWX) {
		expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, 1, KVMATTR_RWX, 0));
		for (uint64_t gfn = 0; gfn < 1200; gfn += 3)
			expect_ok(vmm->owner,
				  protect_range(vmm->owner, 1, guest->protection, gfn, 1));
	}
	expect_ok(vmm->owner, set_visibility_of(vmm->owner, 1, 2000, 100));
	for (unsigned int v = 0; v < guest->n_views; v++)
		memcpy(before[v], page_table(v), PAGES);
	spoil_kernel(guest->n_views);
	answer = control_call(control, "vm.verify", "{\"vm\":\"second\"}");
	ck_assert_str_eq(json_text_at(answer, "vm"), "second");
	ck_assert_int_eq(json_number_at(answer, "pages"), (int64_t)guest->n_views * PAGES);
	ck_assert_int_ge(json_number_at(answer, "calls"), guest->n_views);
	ck_assert_int_eq(json_number_at(answer, "unknown_pages"), 0);
	json_object_put(answer);
	for (unsigned int v = 0; v < guest->n_views; v++) {
		ck_assert_mem_eq(before[v], page_table(v), PAGES);
		expect_agreement(vmm, vmm->owner, v);
	}
}
END_TEST

START_TEST(what_kvm_refuses_is_said_and_mended_when_it_can_be)
{
	struct json_object *answer;

	simulated_vmm_fail(vmm, EFAULT);
	answer = control_call(control, "vm.verify", GUEST);
	ck_assert_int_eq(json_number_at(answer, "unknown_pages"), 3 * (int64_t)PAGES);
	json_object_put(answer);
	ck_assert(is_guest("degraded", true));
	simulated_vmm_fail(vmm, 0);
	EVENTUALLY(20000, is_guest("degraded", false));
	answer = control_call(control, "vm.verify", GUEST);
	ck_assert_int_eq(json_number_at(answer, "unknown_pages"), 0);
	json_object_put(answer);
}
END_TEST

START_TEST(a_verification_is_the_only_one_and_goes_on_without_whoever_asked_for_it)
{
	struct control_client *verifying;

	simulated_vmm_close_gate(vmm);
	verifying = begin_call("vm.verify", GUEST);
	simulated_vmm_await_call(vmm);
	spoil_kernel(3);
	control_expect_error(control, "vm.verify", GUEST, STATUS(OPERATION_DENIED), "under way");
	control_close(verifying);
	simulated_vmm_open_gate(vmm);
	EVENTUALLY(5000, kvmattrd_has_logged(d, "KVM was told anew of 12288 pages"));
	expect_pages(vmm, 0, 0, PAGES, KVMATTR_RWX);
}
END_TEST

/* ---- Releasing ----------------------------------------------------------------------------- */

START_TEST(a_released_vm_is_gone_and_everyone_is_told_by_whom)
{
	int64_t commit = number_of_guest("commit");
	struct json_object *answer;
	char params[64], who[64];

	snprintf(params, sizeof(params), "{\"vm\":\"guest\",\"commit\":%d}", (int)commit + 1);
	control_expect_error(control, "vm.release", params, STATUS(OPERATION_DENIED),
			     "it is not released");
	ck_assert(control_has_vm(control, "guest"));
	answer = control_call(control, "vm.release", "{\"vm\":\"guest\",\"commit\":%d}",
			      (int)commit);
	ck_assert_int_eq(json_number_at(answer, "commit"), commit);
	json_object_put(answer);
	ck_assert(!control_has_vm(control, "guest"));
	snprintf(who, sizeof(who), "an operator (PID %d, UID %u) released it", getpid(), getuid());
	expect_refusal(vmm->owner, protect_range(vmm->owner, 1, KVMATTR_R, 1, 1), -EPIPE, who);
	expect_refusal(agents[0], protect_range(agents[0], 1, KVMATTR_R, 1, 1), -EPIPE, who);
	EVENTUALLY(5000, kvmattrd_has_logged(d, who));
}
END_TEST

START_TEST(whatever_is_asked_of_a_vm_behind_its_release_is_refused)
{
	static const char *const calls[] = {
		"vm.freeze\",\"params\":" GUEST,
		"vm.thaw\",\"params\":" GUEST,
		"vm.verify\",\"params\":" GUEST,
		"vm.release\",\"params\":" GUEST,
		"vm.update\",\"params\":{\"vm\":\"guest\",\"kind\":\"reset-vm\"}",
	};
	struct json_object *answers;
	char line[1024] =
		"[{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"vm.release\",\"params\":" GUEST "}";

	for (int i = 0; i < N(calls); i++)
		snprintf(line + strlen(line), sizeof(line) - strlen(line),
			 ",{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"%s}", i + 1, calls[i]);
	strcat(line, "]");
	answers = control_ask(control, line);
	ck_assert(json_has(answers, "0.result"));
	for (int i = 0; i < N(calls); i++) {
		char path[32];

		snprintf(path, sizeof(path), "%d.error.code", i + 1);
		ck_assert_int_eq(json_number_at(answers, path), STATUS(NO_VM));
	}
	json_object_put(answers);
}
END_TEST

START_TEST(whoever_waits_when_the_vm_goes_is_answered)
{
	struct control_client *freezing, *verifying, *updating, *gone;

	hold_an_update();
	freezing = begin_call("vm.freeze", GUEST);
	verifying = begin_call("vm.verify", GUEST);
	updating = begin_call("vm.update", "{\"vm\":\"guest\",\"kind\":\"reset-vm\"}");
	gone = begin_call("vm.update", "{\"vm\":\"guest\",\"kind\":\"reset-vm\"}");
	EVENTUALLY(5000, number_of_guest("queue") == 2);
	EVENTUALLY(5000, is_guest("frozen", true));
	control_expect_error(control, "vm.verify", GUEST, STATUS(OPERATION_DENIED), "under way");
	control_close(gone);
	json_object_put(control_call(control, "vm.release", GUEST));
	json_object_put(end_call(freezing, STATUS(NO_VM), "released it"));
	json_object_put(end_call(verifying, STATUS(NO_VM), "released it"));
	json_object_put(end_call(updating, STATUS(NO_VM), "released it"));
	simulated_vmm_open_gate(vmm);
	json_object_put(control_call(control, "vm.list", "{}"));
}
END_TEST

START_TEST(who_goes_away_while_it_waits_is_no_concern)
{
	struct control_client *clients[4];

	hold_an_update();
	clients[0] = begin_call("vm.freeze", GUEST);
	EVENTUALLY(5000, is_guest("frozen", true));
	clients[1] = begin_call("vm.verify", GUEST);
	clients[2] = begin_call("vm.update",
				"{\"vm\":\"guest\",\"kind\":\"protect\",\"layer\":2,\"protection\":"
				"\"none\",\"ranges\":[{\"gpa\":\"0x5000\",\"pages\":2}]}");
	clients[3] = begin_call("vm.freeze", GUEST);
	EVENTUALLY(5000, number_of_guest("queue") == 1);
	for (int i = 0; i < N(clients); i++)
		control_close(clients[i]);
	simulated_vmm_open_gate(vmm);
	expect_ok(agents[0], kvmattr_wait(agents[0]));
	EVENTUALLY(5000, kvmattrd_has_logged(d, "frozen with commit"));
	ck_assert_int_eq(number_of_guest("queue"), 1); /* the freeze is nobody's, and holds */
	thaw();
	EVENTUALLY(5000, simulated_vmm_page(vmm, 0, 6) == KVMATTR_NONE);
}
END_TEST

/* ---- Who may ------------------------------------------------------------------------------- */

START_TEST(only_operators_may)
{
	static const char *const methods[] = { "vm.freeze", "vm.thaw", "vm.verify", "vm.release" };
	pid_t child;
	int status;

	if (geteuid() != 0) {
		puts("# skipped: only_operators_may: not root, so no other user can be had");
		return;
	}
	ck_assert_int_eq(chmod(d->directory, 0755), 0);
	ck_assert_int_eq(chmod(d->runtime_dir, 0755), 0);
	ck_assert_int_eq(chmod(d->control_socket, 0666), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		struct control_client *other;

		if (setresuid(65534, 65534, 65534) < 0)
			_exit(1);
		other = control_connect(d);
		json_object_put(control_call(other, "vm.get", GUEST));
		for (int i = 0; i < N(methods); i++)
			control_expect_error(other, methods[i], GUEST, STATUS(ACCESS_DENIED),
					     "for operators");
		control_expect_error(other, "vm.update", "{\"vm\":\"guest\",\"kind\":\"reset-vm\"}",
				     STATUS(ACCESS_DENIED), "for operators");
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert(is_guest("frozen", false));
}
END_TEST

int main(void)
{
	TCase *freezing = harness_make_case("freezing", 40);
	TCase *verifying = harness_make_case("verifying", 40);
	TCase *releasing = harness_make_case("releasing", 40);
	TCase *const all[] = { freezing, verifying, releasing, NULL };

	for (size_t i = 0; all[i]; i++)
		tcase_add_checked_fixture(all[i], start_guest, stop_guest);
	tcase_add_test(freezing, a_frozen_vm_stays_as_it_is_under_load_and_nothing_is_lost);
	tcase_add_test(freezing, a_freeze_is_answered_when_the_batch_under_way_is_in_force);
	tcase_add_test(freezing, who_waits_for_a_freeze_that_is_thawed_is_told);
	tcase_add_test(freezing, a_freeze_does_not_outlive_the_daemon_and_what_waited_is_done_then);
	tcase_add_loop_test(verifying, whatever_became_of_the_kernel_a_verification_mends_it, 0,
			    N(verified_guests));
	tcase_add_test(verifying, what_kvm_refuses_is_said_and_mended_when_it_can_be);
	tcase_add_test(verifying,
		       a_verification_is_the_only_one_and_goes_on_without_whoever_asked_for_it);
	tcase_add_test(releasing, a_released_vm_is_gone_and_everyone_is_told_by_whom);
	tcase_add_test(releasing, whatever_is_asked_of_a_vm_behind_its_release_is_refused);
	tcase_add_test(releasing, whoever_waits_when_the_vm_goes_is_answered);
	tcase_add_test(releasing, who_goes_away_while_it_waits_is_no_concern);
	tcase_add_test(releasing, only_operators_may);
	return harness_run("operate", all);
}
