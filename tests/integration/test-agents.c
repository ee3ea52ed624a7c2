/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many updates under way, and many agents: pipelines, event loops, agents in processes of their
 * own, each of which checks every answer against the page table it shares with the VMM.
 */
#include "tests/integration/harness.h"
#include "tests/integration/simulated-vmm.h"

#include <kvmattr.h>

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const enum kvmattr_abi abis[] = { KVMATTR_ABI_MAINLINE, KVMATTR_ABI_DENY, KVMATTR_ABI_V10,
					 KVMATTR_ABI_V10NA };

/* ---- Pipelines ----------------------------------------------------------------------------- */

struct pipeline {
	uint64_t n_done;
	uint64_t last_seqno;
	uint64_t last_commit;
	uint64_t n_failed;
};

static void note(void *context, const struct kvmattr_answer *answer)
{
	struct pipeline *pipeline = context;

	ck_assert_uint_eq(answer->seqno, ++pipeline->n_done);
	ck_assert_uint_ge(answer->commit, pipeline->last_commit);
	pipeline->last_seqno = answer->seqno;
	pipeline->last_commit = answer->commit;
	pipeline->n_failed += answer->status != KVMATTR_OK;
}

static struct kvmattr_update protect_page(const uint64_t *gfn, unsigned int protection)
{
	return (struct kvmattr_update){ .kind = KVMATTR_PROTECT,
					.layer = 1,
					.value = (uint8_t)protection,
					.restricted = KVMATTR_ALL_LOWER,
					.gfns = gfn,
					.n = 1 };
}

START_TEST(pipelined_updates_take_effect_in_their_order)
{
	enum { N_UPDATES = 20000, N_PAGES = 37 };
	static const unsigned int values[] = { KVMATTR_R, KVMATTR_RX, KVMATTR_RW };
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);
	struct pipeline pipeline = { 0 };
	unsigned int expected[N_PAGES] = { 0 };
	uint64_t seed = 7;

	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	pipeline.n_done = 1; /* that was the first */
	for (int i = 0; i < N_UPDATES; i++) {
		uint64_t gfn = next_random(&seed) % N_PAGES;
		unsigned int value = values[next_random(&seed) % N(values)];
		struct kvmattr_update update = protect_page(&gfn, value);

		expect_ok(agent, kvmattr_submit(agent, &update, note, &pipeline, NULL));
		expected[gfn] = value;
	}
	expect_ok(agent, kvmattr_wait(agent));
	ck_assert_uint_eq(kvmattr_in_flight(agent), 0);
	ck_assert_uint_eq(pipeline.last_seqno, N_UPDATES + 1);
	ck_assert_uint_eq(pipeline.n_failed, 0);
	for (uint64_t gfn = 0; gfn < N_PAGES; gfn++)
		expect_pages(vmm, 0, gfn, 1, expected[gfn]);
	/* Thousands share a few calls: the same pages came up hundreds of times. */
	ck_assert_uint_lt(simvm_kernel_statistics(vmm->kernel).calls, N_UPDATES / 4);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(a_failure_among_pipelined_updates_is_its_own_and_the_others_are_in_force)
{
	enum { N_UPDATES = 3000 };
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);
	struct pipeline pipeline = { .n_done = 1 };
	uint64_t n_wrong = 0;

	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	for (uint64_t i = 0; i < N_UPDATES; i++) {
		/* Every seventh is outside of RAM. */
		uint64_t gfn = i % 7 == 3 ? vmm->n_pages + i : i;
		struct kvmattr_update update = protect_page(&gfn, KVMATTR_R);

		n_wrong += gfn >= vmm->n_pages;
		expect_ok(agent, kvmattr_submit(agent, &update, note, &pipeline, NULL));
	}
	expect_ok(agent, kvmattr_wait(agent));
	ck_assert_uint_eq(pipeline.n_failed, n_wrong);
	for (uint64_t gfn = 0; gfn < N_UPDATES; gfn++)
		expect_pages(vmm, 0, gfn, 1, gfn % 7 == 3 ? KVMATTR_RWX : KVMATTR_R);
	expect_agreement(vmm, agent, 0);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(what_arrives_while_a_batch_is_under_way_is_one_next_batch)
{
	enum { N_UPDATES = 1000 };
	static const struct kvmattr_update enable = { .kind = KVMATTR_ENABLE_LAYER,
						      .layer = 1,
						      .value = KVMATTR_RWX };
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);
	struct pipeline pipeline = { .n_done = 1 };
	uint64_t first = 4000, calls;
	struct kvmattr_update update = protect_page(&first, KVMATTR_R);
	struct kvmattr_answer enabled;
	struct kvmattr_explanation why;

	expect_ok(agent, kvmattr_do_update(agent, &enable, &enabled));
	calls = simvm_kernel_statistics(vmm->kernel).calls;
	simulated_vmm_close_gate(vmm);
	expect_ok(agent, kvmattr_submit(agent, &update, note, &pipeline, NULL));
	expect_ok(agent, kvmattr_flush(agent));
	simulated_vmm_await_call(vmm);
	for (uint64_t gfn = 0; gfn < N_UPDATES; gfn++) {
		update = protect_page(&gfn, KVMATTR_RX);
		expect_ok(agent, kvmattr_submit(agent, &update, note, &pipeline, NULL));
	}
	/* The daemon has them all when it answers a question behind them: none is in force yet. */
	expect_ok(agent, kvmattr_explain(agent, 0, 4000, KVMATTR_WRITE, &why));
	ck_assert_int_eq(why.state, KVMATTR_PENDING);
	ck_assert_int_eq(why.allowed, 0);
	ck_assert_uint_eq(kvmattr_in_flight(agent), N_UPDATES + 1);
	ck_assert_uint_eq(pipeline.n_done, 1);
	simulated_vmm_open_gate(vmm);
	expect_ok(agent, kvmattr_wait(agent));
	ck_assert_uint_eq(pipeline.n_failed, 0);
	expect_pages(vmm, 0, 0, N_UPDATES, KVMATTR_RX);
	expect_pages(vmm, 0, 4000, 1, KVMATTR_R);
	ck_assert_uint_eq(simvm_kernel_statistics(vmm->kernel).calls, calls + 2);
	ck_assert_uint_eq(pipeline.last_commit, enabled.commit + 2);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

/* ---- Event loops --------------------------------------------------------------------------- */

START_TEST(one_thread_drives_the_executor_and_its_agent_from_an_event_loop)
{
	enum { N_UPDATES = 2000 };
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm =
		simulated_vmm_start(d, &(struct simulated_vmm_options){ .has_no_thread = true });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);
	struct pipeline pipeline = { .n_done = 0 };
	uint64_t submitted = 0;

	/* The owner's waiting calls serve the executor themselves. */
	expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, 1, KVMATTR_RWX, 0));
	ck_assert_int_ge(kvmattr_executor_fd(vmm->owner), 0);
	while (pipeline.n_done < N_UPDATES) {
		struct pollfd fds[] = {
			{ .fd = kvmattr_executor_fd(vmm->owner), .events = POLLIN },
			{ .fd = kvmattr_fd(agent), .events = POLLIN },
		};

		while (submitted < N_UPDATES && kvmattr_in_flight(agent) < 64) {
			uint64_t gfn = submitted++ % vmm->n_pages;
			struct kvmattr_update update = protect_page(&gfn, KVMATTR_RX);

			expect_ok(agent, kvmattr_submit(agent, &update, note, &pipeline, NULL));
		}
		expect_ok(agent, kvmattr_flush(agent));
		ck_assert_int_gt(poll(fds, 2, 5000 * (int)harness_patience()), 0);
		if (fds[0].revents)
			expect_ok(vmm->owner, kvmattr_dispatch_executor(vmm->owner));
		if (fds[1].revents)
			expect_ok(agent, kvmattr_dispatch(agent));
	}
	ck_assert_uint_eq(pipeline.n_failed, 0);
	expect_pages(vmm, 0, 0, N_UPDATES, KVMATTR_RX);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(an_event_loop_is_told_when_the_daemon_goes_for_good)
{
	struct kvmattrd *d = kvmattrd_start("[limits]\nowner-grace-ms = 0\n");
	struct simulated_vmm *vmm =
		simulated_vmm_start(d, &(struct simulated_vmm_options){ .has_no_thread = true });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);
	struct pollfd fds[] = {
		{ .fd = kvmattr_executor_fd(vmm->owner), .events = POLLIN },
		{ .fd = kvmattr_fd(vmm->owner), .events = POLLIN },
		{ .fd = kvmattr_fd(agent), .events = POLLIN },
	};

	kvmattrd_stop(d);
	ck_assert_int_eq(poll(fds, 3, 5000), 3);
	ck_assert_int_eq(kvmattr_dispatch_executor(vmm->owner), -EPIPE);
	expect_refusal(vmm->owner, kvmattr_dispatch(vmm->owner), -EPIPE,
		       "kvmattrd closed the connection");
	expect_refusal(agent, kvmattr_dispatch(agent), -EPIPE, "kvmattrd closed the connection");
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
}
END_TEST

/* ---- Agents in processes of their own ------------------------------------------------------ */

#define AGENT_ROUNDS 400

/* A value that every dialect can say of a page of the kernel that it speaks to. */
static unsigned int random_value(enum kvmattr_abi abi, uint64_t *seed)
{
	static const unsigned int protections[] = { KVMATTR_R, KVMATTR_RX, KVMATTR_RW,
						    KVMATTR_RWX };

	return abi == KVMATTR_ABI_MAINLINE ? (unsigned int)(next_random(seed) % 2)
					   : protections[next_random(seed) % N(protections)];
}

static unsigned int effective_of(enum kvmattr_abi abi, unsigned int value)
{
	return abi != KVMATTR_ABI_MAINLINE ? value
	       : value                     ? KVMATTR_RWX | KVMATTR_PRIVATE
					   : KVMATTR_RWX;
}

/* Changes pages of its own, n_agents apart, and looks at each as soon as it is answered. */
static int run_agent(const struct simulated_vmm *vmm, enum kvmattr_abi abi, int fd, unsigned int i,
		     unsigned int n_agents)
{
	uint64_t seed = i + 1, n_own = vmm->n_pages / n_agents;
	uint8_t *oracle = malloc(n_own);
	struct kvmattr *agent = NULL;

	if (!oracle || kvmattr_adopt(fd, "own-process", &agent))
		return 2;
	memset(oracle, KVMATTR_RWX, n_own);
	for (int round = 0; round < AGENT_ROUNDS; round++) {
		unsigned int value = random_value(abi, &seed);
		uint64_t gfns[16], n = 1 + next_random(&seed) % N(gfns);
		struct kvmattr_update update = {
			.kind = abi == KVMATTR_ABI_MAINLINE ? KVMATTR_SET_VISIBILITY
							    : KVMATTR_PROTECT,
			.layer = abi == KVMATTR_ABI_MAINLINE ? 0 : 1,
			.restricted = abi == KVMATTR_ABI_MAINLINE ? 0 : KVMATTR_ALL_LOWER,
			.value = (uint8_t)value,
			.gfns = gfns,
			.n = (uint32_t)n,
		};

		for (uint64_t j = 0; j < n; j++) {
			uint64_t own = next_random(&seed) % n_own;

			gfns[j] = own * n_agents + i;
			oracle[own] = (uint8_t)effective_of(abi, value);
		}
		if (kvmattr_do_update(agent, &update, NULL)) {
			fprintf(stderr, "agent %u: %s\n", i, kvmattr_message(agent));
			return 3;
		}
		for (uint64_t j = 0; j < n; j++)
			if (simulated_vmm_page(vmm, 0, gfns[j]) != effective_of(abi, value))
				return 4;
	}
	for (uint64_t own = 0; own < n_own; own++)
		if (simulated_vmm_page(vmm, 0, own * n_agents + i) != oracle[own])
			return 5;
	kvmattr_close(agent);
	free(oracle);
	return 0;
}

static void run_agents(enum kvmattr_abi abi, unsigned int n_agents)
{
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm = simulated_vmm_start(
		d, &(struct simulated_vmm_options){ .abi = abi, .n_pages = 4096 });
	pid_t pids[16];

	if (abi != KVMATTR_ABI_MAINLINE)
		expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, 1, KVMATTR_RWX, 0));
	for (unsigned int i = 0; i < n_agents; i++) {
		int fd = -1;

		expect_ok(vmm->owner,
			  kvmattr_open_agent(vmm->owner, 1, KVMATTR_RIGHT_VISIBILITY, &fd));
		pids[i] = fork();
		ck_assert_int_ge(pids[i], 0);
		if (!pids[i])
			_exit(run_agent(vmm, abi, fd, i, n_agents));
		close(fd);
	}
	for (unsigned int i = 0; i < n_agents; i++) {
		int status = 0;

		ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
		ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status),
			      "agent %u ended with 0x%x: 3 it was refused, 4 an answer was not in "
			      "force, 5 a page is not what it was last told",
			      i, status);
	}
	for (unsigned int vtl = 0; vtl < 2; vtl++)
		expect_agreement(vmm, vmm->owner, vtl);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}

START_TEST(agents_in_4_processes_find_every_answer_in_force_in_each_dialect)
{
	run_agents(abis[_i], 4);
}
END_TEST

START_TEST(agents_in_16_processes_find_every_answer_in_force)
{
	run_agents(KVMATTR_ABI_DENY, 16);
}
END_TEST

START_TEST(an_agent_that_is_killed_leaves_its_updates_and_everyone_else_alone)
{
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct simulated_vmm *vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	unsigned int n_fds;
	int fd = -1;
	pid_t pid;

	expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, 1, KVMATTR_RWX, 0));
	n_fds = kvmattrd_count_fds(d);
	expect_ok(vmm->owner, kvmattr_open_agent(vmm->owner, 1, 0, &fd));
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		struct kvmattr *agent = NULL;

		if (kvmattr_adopt(fd, "short-lived", &agent) ||
		    protect_range(agent, 1, KVMATTR_R, 0, 64))
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	close(fd);
	{
		int status = 0;

		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFSIGNALED(status));
	}
	EVENTUALLY(5000, kvmattrd_count_fds(d) <= n_fds);
	expect_pages(vmm, 0, 0, 64, KVMATTR_R);
	expect_ok(vmm->owner, protect_range(vmm->owner, 1, KVMATTR_RX, 32, 64));
	expect_pages(vmm, 0, 0, 32, KVMATTR_R);
	expect_pages(vmm, 0, 32, 64, KVMATTR_RX);
	simulated_vmm_stop(vmm);
	kvmattrd_stop(d);
}
END_TEST

int main(void)
{
	TCase *pipelines = harness_make_case("pipelines", 20);
	TCase *loops = harness_make_case("event loops", 20);
	TCase *processes = harness_make_case("processes", 60);

	tcase_add_test(pipelines, pipelined_updates_take_effect_in_their_order);
	tcase_add_test(pipelines,
		       a_failure_among_pipelined_updates_is_its_own_and_the_others_are_in_force);
	tcase_add_test(pipelines, what_arrives_while_a_batch_is_under_way_is_one_next_batch);
	tcase_add_test(loops, one_thread_drives_the_executor_and_its_agent_from_an_event_loop);
	tcase_add_test(loops, an_event_loop_is_told_when_the_daemon_goes_for_good);
	tcase_add_loop_test(processes,
			    agents_in_4_processes_find_every_answer_in_force_in_each_dialect, 0,
			    N(abis));
	tcase_add_test(processes, agents_in_16_processes_find_every_answer_in_force);
	tcase_add_test(processes,
		       an_agent_that_is_killed_leaves_its_updates_and_everyone_else_alone);
	return harness_run("agents", (TCase *const[]){ pipelines, loops, processes, NULL });
}
