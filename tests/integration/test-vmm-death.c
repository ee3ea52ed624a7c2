/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMMs that do not answer, and VMMs that die: agents are told, the VM is gone within a second, its
 * name is free, nothing is left behind, and a bystander does not notice.
 */
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/program.h"
#include "tests/integration/raw-peer.h"
#include "tests/integration/simulated-vmm.h"
#include "tests/integration/vmm-process.h"

#include <kvmattr.h>

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* In issue and manual alike: how long a dead VMM's VM may be there. */
#define GONE_MS 1000

/* Soon over, and long for the executors that do answer, on a loaded machine. */
#define DEADLINE_MS 2000
static const char impatient[] = "[limits]\nexecutor-deadline-ms = 2000\n";

/* A daemon that is watched, and everything that is not to suffer. */
static struct kvmattrd *d;
static struct control_client *control;
static struct bystander *bystander;
static struct daemon_state before;

static void start(const char *configuration)
{
	d = kvmattrd_start(configuration);
	control = control_connect(d);
	bystander = bystander_start(d);
	before = daemon_state_now(d, control);
}

static void stop(void)
{
	expect_state(d, control, &before);
	bystander_stop(bystander);
	control_close(control);
	kvmattrd_stop(d);
}

static void expect_name_is_free(void)
{
	EVENTUALLY(GONE_MS, !control_has_vm(control, "guest"));
	simulated_vmm_stop(simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 }));
}

/* ---- Agents with updates under way --------------------------------------------------------- */

struct outcomes {
	size_t n_ok;
	size_t n_gone;
	size_t n_other;
};

static void note(void *context, const struct kvmattr_answer *answer)
{
	struct outcomes *outcomes = context;

	if (answer->status == KVMATTR_OK)
		outcomes->n_ok++;
	else if (answer->status == KVMATTR_NO_VM)
		outcomes->n_gone++;
	else
		outcomes->n_other++;
}

static void submit_some(struct kvmattr *agent, size_t n, struct outcomes *outcomes)
{
	for (uint64_t i = 0; i < n; i++) {
		const uint64_t gfn = 2 * i;
		const struct kvmattr_update update = { .kind = KVMATTR_PROTECT,
						       .layer = 1,
						       .value = KVMATTR_R,
						       .restricted = KVMATTR_ALL_LOWER,
						       .gfns = &gfn,
						       .n = 1 };

		expect_ok(agent, kvmattr_submit(agent, &update, note, outcomes, NULL));
	}
	expect_ok(agent, kvmattr_flush(agent));
}

/* Its updates are answered, and then the connection says why it ends. */
static void expect_told(struct kvmattr *agent)
{
	int r = kvmattr_wait(agent);

	ck_assert_msg(r == 0 || r == -EPIPE, "%d: %s", r, kvmattr_message(agent));
	EVENTUALLY(GONE_MS, kvmattr_dispatch(agent) == -EPIPE);
	expect_refusal(agent, kvmattr_flush(agent), -EPIPE, "VM 'guest' is gone: ");
	ck_assert_uint_eq(kvmattr_in_flight(agent), 0);
}

START_TEST(agents_of_a_vmm_that_is_killed_mid_batch_are_told_within_a_second)
{
	struct vmm_process vmm;
	struct outcomes outcomes = { 0 };
	uint64_t killed_ms;

	start(NULL);
	vmm = vmm_process_start(d, &(struct simulated_vmm_options){ .faults = "dead@5" });
	submit_some(vmm.agent, 500, &outcomes);
	EVENTUALLY(2000, kvmattrd_count_fds(d) > before.n_fds);
	killed_ms = harness_now_ms();
	ck_assert_int_eq(kill(vmm.pid, SIGKILL), 0);
	expect_told(vmm.agent);
	ck_assert_uint_lt(harness_now_ms() - killed_ms, GONE_MS * harness_patience());
	/* The first may have been done, alone in its batch; the others are known to be lost. */
	ck_assert_uint_le(outcomes.n_ok, 1);
	ck_assert_uint_eq(outcomes.n_ok + outcomes.n_gone, 500);
	expect_name_is_free();
	vmm_process_end(&vmm);
	stop();
}
END_TEST

START_TEST(a_vmm_that_dies_in_the_middle_of_a_call_is_gone_within_a_second)
{
	static const char *const calls[] = { "exit@3", "exit@4", "exit@17", "exit@100" };
	struct program simvm;
	struct program_result result;

	start(NULL);
	simvm = program_start((const char *const[]){ SIMVM_PROGRAM, "--runtime-dir", d->runtime_dir,
						     "--ram", "64M", "--pages", "8000", "--name",
						     "guest", "--fault", calls[_i], NULL });
	result = program_wait(&simvm);
	ck_assert_int_eq(result.status, -SIGKILL);
	EVENTUALLY(GONE_MS, !control_has_vm(control, "guest"));
	program_forget(&result);
	expect_name_is_free();
	stop();
}
END_TEST

START_TEST(agents_of_a_vmm_that_dies_say_that_their_vm_is_gone_and_why)
{
	struct program simvm;
	struct program_result result;

	start(NULL);
	simvm = program_start((const char *const[]){
		SIMVM_PROGRAM, "--runtime-dir", d->runtime_dir, "--ram", "64M", "--pages", "8000",
		"--name", "guest", "--agents", "3", "--fault", "exit@20", NULL });
	result = program_wait(&simvm);
	program_forget(&result);
	EVENTUALLY(GONE_MS, kvmattrd_has_logged(d, "VM 'guest': released: "));
	stop();
}
END_TEST

START_TEST(a_vmm_is_gone_with_its_process_though_another_holds_its_sockets)
{
	struct vmm_process vmm;
	int status;
	pid_t heir;

	start(NULL);
	/* The VMM forks, as its first act, a child that keeps all it has; then it is killed. */
	heir = fork();
	ck_assert_int_ge(heir, 0);
	if (!heir) {
		struct simulated_vmm *own = simulated_vmm_start(
			d, &(struct simulated_vmm_options){ .has_no_thread = true });

		(void)own;
		if (!fork())
			for (;;)
				pause();
		kill(getpid(), SIGKILL);
	}
	ck_assert_int_eq(waitpid(heir, &status, 0), heir);
	expect_name_is_free();
	/* An agent's socket, too, outlives the VMM; it says what became of the VM. */
	vmm = vmm_process_start(d, &(struct simulated_vmm_options){ 0 });
	ck_assert_int_eq(kill(vmm.pid, SIGKILL), 0);
	EVENTUALLY(GONE_MS, kvmattr_dispatch(vmm.agent) == -EPIPE);
	expect_refusal(vmm.agent, protect_range(vmm.agent, 1, KVMATTR_R, 0, 1), -EPIPE,
		       "VM 'guest' is gone: ");
	vmm_process_end(&vmm);
	stop();
}
END_TEST

START_TEST(an_owner_that_says_goodbye_with_updates_under_way_takes_the_vm_along)
{
	struct simulated_vmm *vmm;
	struct kvmattr *agent;
	struct outcomes outcomes = { 0 };

	start(NULL);
	vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	agent = simulated_vmm_open_agent(vmm, 1, 0);
	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	simulated_vmm_close_gate(vmm);
	submit_some(agent, 100, &outcomes);
	simulated_vmm_await_call(vmm);
	simulated_vmm_stop(vmm);
	expect_told(agent);
	ck_assert_uint_eq(outcomes.n_ok + outcomes.n_gone, 100);
	kvmattr_close(agent);
	expect_name_is_free();
	stop();
}
END_TEST

START_TEST(a_vmm_whose_executor_goes_is_told_and_its_vm_is_gone)
{
	struct raw_vm vm;
	int agent;

	start(NULL);
	vm = raw_vm_start(d, "guest");
	agent = raw_vm_open_agent(&vm, 1, 0);
	close(vm.executor);
	raw_expect_closed(agent, KVMATTR_NO_VM,
			  "the VMM has ended, or closed its executor's socket");
	raw_expect_closed(vm.owner, KVMATTR_NO_VM,
			  "the VMM has ended, or closed its executor's socket");
	vm.owner = vm.executor = -1;
	raw_vm_close(&vm);
	expect_name_is_free();
	stop();
}
END_TEST

/* ---- Executors that do not answer ---------------------------------------------------------- */

static bool is_in_state(const char *vm, const char *state)
{
	struct json_object *result = control_call(control, "vm.get", "{\"vm\":\"%s\"}", vm);
	bool is = !strcmp(json_text_at(result, "state"), state);

	json_object_put(result);
	return is;
}

START_TEST(updates_are_refused_while_the_executor_is_stuck_and_all_is_repaired_when_it_answers)
{
	struct simulated_vmm *vmm;
	struct kvmattr *agent;
	struct kvmattr_explanation why;
	uint64_t started_ms;

	start(impatient);
	vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	agent = simulated_vmm_open_agent(vmm, 1, 0);
	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	expect_ok(agent, protect_range(agent, 1, KVMATTR_RX, 0, 8));
	simulated_vmm_close_gate(vmm);
	started_ms = harness_now_ms();
	expect_refusal(agent, protect_range(agent, 1, KVMATTR_R, 4, 8), KVMATTR_EXECUTOR_STUCK,
		       "has not answered for 2000 ms");
	ck_assert_uint_ge(harness_now_ms() - started_ms, DEADLINE_MS - 10);
	started_ms = harness_now_ms();
	expect_refusal(agent, protect_range(agent, 1, KVMATTR_R, 64, 8), KVMATTR_EXECUTOR_STUCK,
		       "has not answered for 2000 ms");
	ck_assert_uint_lt(harness_now_ms() - started_ms, DEADLINE_MS * harness_patience());
	ck_assert(is_in_state("guest", "stuck"));
	ck_assert(!is_in_state("bystander", "stuck"));
	ck_assert(kvmattrd_has_logged(d, "VM 'guest': the executor has not answered"));
	expect_ok(agent, kvmattr_explain(agent, 0, 4, KVMATTR_WRITE, &why));
	ck_assert_int_eq(why.state, KVMATTR_UNKNOWN);
	ck_assert_uint_eq(why.attributes, KVMATTR_RX);
	bystander_expect_progress(bystander);

	/* The call that was waiting is made after all; the refused update is not to stay. */
	simulated_vmm_open_gate(vmm);
	EVENTUALLY(5000, kvmattrd_has_logged(d, "VM 'guest': recovered"));
	EVENTUALLY(5000, is_in_state("guest", "idle"));
	expect_pages(vmm, 0, 0, 8, KVMATTR_RX);
	expect_pages(vmm, 0, 8, vmm->n_pages - 8, KVMATTR_RWX);
	expect_ok(agent, protect_range(agent, 1, KVMATTR_R, 4, 8));
	expect_pages(vmm, 0, 4, 8, KVMATTR_R);
	expect_agreement(vmm, agent, 0);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	stop();
}
END_TEST

START_TEST(a_vmm_that_is_stopped_and_goes_on_finds_its_vm_as_it_was_told)
{
	struct vmm_process vmm;

	start(impatient);
	vmm = vmm_process_start(d, &(struct simulated_vmm_options){ 0 });
	expect_ok(vmm.agent, protect_range(vmm.agent, 1, KVMATTR_R, 0, 8));
	ck_assert_int_eq(kill(vmm.pid, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(vmm.pid, NULL, WUNTRACED), vmm.pid); /* it takes its time */
	for (int i = 0; i < 3; i++)
		expect_refusal(vmm.agent, protect_range(vmm.agent, 1, KVMATTR_RX, 0, 8),
			       KVMATTR_EXECUTOR_STUCK, "answer");
	bystander_expect_progress(bystander);
	ck_assert_int_eq(kill(vmm.pid, SIGCONT), 0);
	EVENTUALLY(5000, is_in_state("guest", "idle"));
	expect_ok(vmm.agent, protect_range(vmm.agent, 1, KVMATTR_RX, 0, 8));
	vmm_process_end(&vmm);
	expect_name_is_free();
	stop();
}
END_TEST

START_TEST(a_vmm_that_is_killed_while_its_executor_is_stuck_is_gone_within_a_second)
{
	struct vmm_process vmm;

	start(impatient);
	vmm = vmm_process_start(d, &(struct simulated_vmm_options){ .faults = "dead@3" });
	expect_refusal(vmm.agent, protect_range(vmm.agent, 1, KVMATTR_RX, 0, 8),
		       KVMATTR_EXECUTOR_STUCK, "has not answered");
	vmm_process_end(&vmm);
	expect_name_is_free();
	stop();
}
END_TEST

START_TEST(a_boot_over_a_dead_executor_is_told_so_and_no_page_is_called_what_it_is_not)
{
	struct program_result result;
	struct json_object *report;

	start(impatient);
	result = program_run((const char *const[]){ SIMVM_PROGRAM, "--runtime-dir", d->runtime_dir,
						    "--ram", "64M", "--pages", "8000", "--pipeline",
						    "16", "--fault", "dead@20", "--json", NULL });
	report = json_tokener_parse(result.out);
	ck_assert_msg(report, "%s%s", result.out, result.err);
	ck_assert_int_eq(result.status, 1);
	ck_assert_int_gt(json_number_at(report, "updates_failed"), 0);
	ck_assert_str_eq(json_text_at(report, "failures.0.status"), "EXECUTOR_STUCK");
	ck_assert_int_eq(json_number_at(report, "agents_lost"), 0);
	ck_assert_int_eq(json_number_at(report, "pages_differ_from_daemon"), 0);
	ck_assert_int_gt(json_number_at(report, "pages_not_known_to_daemon"), 0);
	json_object_put(report);
	program_forget(&result);
	EVENTUALLY(GONE_MS, !control_has_vm(control, "simvm"));
	stop();
}
END_TEST

START_TEST(a_registration_whose_executor_never_answers_ends_at_the_deadline)
{
	const struct simulated_vmm_options options = { .is_private = true };
	struct simulated_vmm *vmm;

	start(impatient);
	vmm = simulated_vmm_connect(d, &options);
	/* In the thread that registers: the answer is read only when the call is through. */
	vmm->delay_ms = DEADLINE_MS + 1000;
	expect_refusal(vmm->owner, simulated_vmm_register(vmm, &options), KVMATTR_EXECUTOR_STUCK,
		       "has not answered for 2000 ms");
	vmm->delay_ms = 0;
	expect_ok(vmm->owner, simulated_vmm_register(vmm, &options));
	expect_pages(vmm, 0, 0, vmm->n_pages, KVMATTR_RWX | KVMATTR_PRIVATE);
	simulated_vmm_stop(vmm);
	stop();
}
END_TEST

/* Both are told to the daemon while it cannot listen: whatever it sees to first, it is the new one's. */
START_TEST(a_vm_can_be_registered_anew_as_soon_as_its_owner_is_gone)
{
	struct raw_register registration = raw_make_register("guest");
	struct raw_vm old, new;
	int sockets[2];

	start(NULL);
	for (int i = 0; i < 20; i++) {
		old = raw_vm_start(d, "guest");
		new = (struct raw_vm){ .owner = raw_greet(d),
				       .fds = { dup(old.fds[0]), dup(old.fds[1]) } };
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
		new.executor = sockets[0];
		ck_assert_int_eq(kill(d->pid, SIGSTOP), 0);
		raw_vm_close(&old);
		raw_send_with_fds(new.owner, &registration, sizeof(registration),
				  (int[]){ sockets[1], new.fds[0], new.fds[1] }, 3);
		ck_assert_int_eq(kill(d->pid, SIGCONT), 0);
		close(sockets[1]);
		raw_vm_answer_probe(&new);
		raw_vm_finish(&new);
		raw_vm_close(&new);
		EVENTUALLY(GONE_MS, !control_has_vm(control, "guest"));
	}
	stop();
}
END_TEST

int main(void)
{
	TCase *death = harness_make_case("death", 20);
	TCase *silence = harness_make_case("silence", 20);

	tcase_add_test(death, agents_of_a_vmm_that_is_killed_mid_batch_are_told_within_a_second);
	tcase_add_loop_test(death, a_vmm_that_dies_in_the_middle_of_a_call_is_gone_within_a_second,
			    0, 4);
	tcase_add_test(death, agents_of_a_vmm_that_dies_say_that_their_vm_is_gone_and_why);
	tcase_add_test(death, a_vmm_is_gone_with_its_process_though_another_holds_its_sockets);
	tcase_add_test(death, an_owner_that_says_goodbye_with_updates_under_way_takes_the_vm_along);
	tcase_add_test(death, a_vmm_whose_executor_goes_is_told_and_its_vm_is_gone);
	tcase_add_test(death, a_vm_can_be_registered_anew_as_soon_as_its_owner_is_gone);
	tcase_add_test(
		silence,
		updates_are_refused_while_the_executor_is_stuck_and_all_is_repaired_when_it_answers);
	tcase_add_test(silence, a_vmm_that_is_stopped_and_goes_on_finds_its_vm_as_it_was_told);
	tcase_add_test(silence,
		       a_vmm_that_is_killed_while_its_executor_is_stuck_is_gone_within_a_second);
	tcase_add_test(silence,
		       a_boot_over_a_dead_executor_is_told_so_and_no_page_is_called_what_it_is_not);
	tcase_add_test(silence, a_registration_whose_executor_never_answers_ends_at_the_deadline);
	return harness_run("VMM death", (TCase *const[]){ death, silence, NULL });
}
