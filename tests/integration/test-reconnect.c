/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libkvmattr and a daemon that is killed again and again: a VMM and its agents under load notice a
 * pause, every update is done once and completed once, and an idle VMM keeps its VM.
 *
 * The test's first thread kills daemons and starts them: they die with it.  The others say
 * nothing to Check while all is well, since it would hold a lock that a fork takes along.
 */
#include "tests/integration/restarts.h"
#include "tests/integration/simulated-vmm.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define N_AGENTS    3
#define N_KILLS     12
#define N_PAGES     4096
#define AGENT_PAGES (N_PAGES / 4) /* each agent has its own; the last quarter is the owner's */
#define IN_FLIGHT   200
#define MIN_UPDATES 100 /* of each, however little of the time it had */

static const unsigned int protections[] = { KVMATTR_NONE, KVMATTR_R, KVMATTR_RX, KVMATTR_RW };

/* Kills it so often while it is at work, and starts another one at once or a little later. */
static void kill_often(void)
{
	uint64_t seed = 7;

	for (int i = 0; i < N_KILLS; i++) {
		for (uint64_t n = next_random(&seed) % 40; n; n--)
			harness_pause();
		kill_daemon();
		for (uint64_t n = next_random(&seed) % 3 ? 0 : 20; n; n--)
			harness_pause();
		launch(NULL);
	}
}

/* ---- One who protects pages ---------------------------------------------------------------- */

struct protector {
	struct kvmattr *connection;
	uint64_t first_gfn;
	uint64_t seed;
	uint64_t n_submitted;
	uint64_t n_completed;
	uint8_t expected[AGENT_PAGES];
	pthread_t thread;
};

static atomic_bool is_to_stop;

static void count(void *context, const struct kvmattr_answer *answer)
{
	struct protector *protector = context;

	if (answer->status)
		ck_abort_msg("update %lu: %s", answer->seqno, answer->text);
	/* In order, and each once. */
	if (answer->seqno != ++protector->n_completed)
		ck_abort_msg("completion %lu is of update %lu", protector->n_completed,
			     answer->seqno);
}

static void submit_one(struct protector *protector)
{
	uint64_t gfns[16];
	struct kvmattr_update update = { .kind = KVMATTR_PROTECT,
					 .layer = 1,
					 .restricted = KVMATTR_ALL_LOWER,
					 .gfns = gfns,
					 .n = 1 + (uint32_t)(next_random(&protector->seed) % 16) };

	update.value = (uint8_t)protections[next_random(&protector->seed) % N(protections)];
	for (uint32_t i = 0; i < update.n; i++) {
		uint64_t page = next_random(&protector->seed) % AGENT_PAGES;

		gfns[i] = protector->first_gfn + page;
		protector->expected[page] = update.value;
	}
	expect_ok(protector->connection,
		  kvmattr_submit(protector->connection, &update, count, protector, NULL));
	protector->n_submitted++;
}

static void protector_init(struct protector *protector, struct simulated_vmm *vmm, unsigned int i)
{
	memset(protector, 0, sizeof(*protector));
	protector->connection = simulated_vmm_open_agent(vmm, 1, 0);
	protector->first_gfn = (uint64_t)i * AGENT_PAGES;
	protector->seed = 100 + i;
	memset(protector->expected, KVMATTR_RWX, sizeof(protector->expected));
}

static void expect_all_done(struct protector *protector, const struct simulated_vmm *vmm)
{
	ck_assert_uint_gt(protector->n_submitted, MIN_UPDATES);
	ck_assert_uint_eq(protector->n_completed, protector->n_submitted);
	for (uint64_t page = 0; page < AGENT_PAGES; page++) {
		unsigned int enforced = simulated_vmm_page(vmm, 0, protector->first_gfn + page);

		if (enforced != protector->expected[page])
			ck_abort_msg("GFN %lu: the kernel enforces 0x%x, not 0x%x",
				     protector->first_gfn + page, enforced,
				     protector->expected[page]);
	}
	kvmattr_close(protector->connection);
}

static void *protect(void *context)
{
	struct protector *protector = context;

	while (!atomic_load(&is_to_stop) || protector->n_submitted <= MIN_UPDATES) {
		for (int i = 0; i < 50; i++)
			submit_one(protector);
		if (next_random(&protector->seed) % 2)
			expect_ok(protector->connection, kvmattr_flush(protector->connection));
		else
			expect_ok(protector->connection, kvmattr_wait(protector->connection));
	}
	expect_ok(protector->connection, kvmattr_wait(protector->connection));
	return NULL;
}

/* ---- One whose updates cannot be done twice without a trace ---------------------------------- */

struct locker {
	struct kvmattr *connection;
	unsigned int n_locks[AGENT_PAGES];
	uint64_t n_completed;
	pthread_t thread;
};

static void count_lock(void *context, const struct kvmattr_answer *answer)
{
	struct locker *locker = context;

	if (answer->status)
		ck_abort_msg("lock %lu: %s", answer->seqno, answer->text);
	locker->n_completed++;
}

static void submit_lock(struct locker *locker, enum kvmattr_update_kind kind, uint64_t page)
{
	struct kvmattr_range range = { 3 * AGENT_PAGES + page, 1 };
	struct kvmattr_update update = { .kind = kind, .ranges = &range, .n = 1 };

	expect_ok(locker->connection,
		  kvmattr_submit(locker->connection, &update, count_lock, locker, NULL));
}

static void *lock_pages(void *context)
{
	struct locker *locker = context;
	uint64_t seed = 5, n = 0;

	while (!atomic_load(&is_to_stop)) {
		uint64_t page = next_random(&seed) % AGENT_PAGES;

		if (locker->n_locks[page] < 200) {
			submit_lock(locker, KVMATTR_LOCK, page);
			locker->n_locks[page]++;
			n++;
		}
		if (n % 20 == 0)
			expect_ok(locker->connection, kvmattr_wait(locker->connection));
	}
	expect_ok(locker->connection, kvmattr_wait(locker->connection));
	if (locker->n_completed != n)
		ck_abort_msg("%lu of %lu locks were completed", locker->n_completed, n);
	return NULL;
}

/* Unlocked as often as it was locked, a page is free; and not before. */
static void expect_locked_once_each(struct locker *locker)
{
	for (uint64_t page = 0; page < AGENT_PAGES; page++) {
		uint64_t gfn = 3 * AGENT_PAGES + page;
		struct kvmattr_range range = { gfn, 1 };
		unsigned int n = locker->n_locks[page];

		for (unsigned int i = 0; i < n; i++)
			submit_lock(locker, KVMATTR_UNLOCK, page);
		expect_ok(locker->connection, kvmattr_wait(locker->connection));
		expect_status(locker->connection,
			      kvmattr_unlock(locker->connection, &range, 1, NULL),
			      KVMATTR_INVALID_PARAMETER);
	}
}

/* ---- Under load ---------------------------------------------------------------------------- */

static struct simulated_vmm *start_vmm(bool has_no_thread)
{
	struct simulated_vmm *vmm = simulated_vmm_start(
		d, &(struct simulated_vmm_options){ .n_pages = N_PAGES,
						    .has_no_thread = has_no_thread });

	expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, 1, KVMATTR_RWX, 0));
	return vmm;
}

START_TEST(every_update_is_done_once_and_completed_once_however_often_the_daemon_dies)
{
	static struct protector protectors[N_AGENTS];
	static struct locker locker;
	struct simulated_vmm *vmm;

	start(NULL);
	vmm = start_vmm(false);
	is_to_stop = false;
	memset(&locker, 0, sizeof(locker));
	locker.connection = vmm->owner;
	for (unsigned int i = 0; i < N_AGENTS; i++)
		protector_init(&protectors[i], vmm, i);
	for (unsigned int i = 0; i < N_AGENTS; i++)
		ck_assert_int_eq(
			pthread_create(&protectors[i].thread, NULL, protect, &protectors[i]), 0);
	ck_assert_int_eq(pthread_create(&locker.thread, NULL, lock_pages, &locker), 0);
	kill_often();
	is_to_stop = true;
	for (unsigned int i = 0; i < N_AGENTS; i++)
		pthread_join(protectors[i].thread, NULL);
	pthread_join(locker.thread, NULL);
	expect_agreement(vmm, vmm->owner, 0);
	expect_locked_once_each(&locker);
	for (unsigned int i = 0; i < N_AGENTS; i++)
		expect_all_done(&protectors[i], vmm);
	simulated_vmm_stop(vmm);
	stop();
}
END_TEST

struct event_loop {
	struct simulated_vmm *vmm;
	struct protector protector;
	pthread_t thread;
};

/* The VMM's one thread polls, and waits for nothing else. */
static void *run_event_loop(void *context)
{
	struct event_loop *loop = context;
	struct kvmattr *owner = loop->vmm->owner, *agent = loop->protector.connection;
	struct pollfd fds[] = {
		{ .fd = kvmattr_executor_fd(owner), .events = POLLIN },
		{ .fd = kvmattr_fd(owner), .events = POLLIN },
		{ .fd = kvmattr_fd(agent), .events = POLLIN },
	};

	while (!atomic_load(&is_to_stop) || kvmattr_in_flight(agent)) {
		while (!atomic_load(&is_to_stop) && kvmattr_in_flight(agent) < IN_FLIGHT)
			submit_one(&loop->protector);
		expect_ok(agent, kvmattr_flush(agent));
		if (poll(fds, N(fds), 100) < 0)
			ck_abort_msg("poll: %s", strerror(errno));
		if (fds[0].revents)
			expect_ok(owner, kvmattr_dispatch_executor(owner));
		if (fds[1].revents)
			expect_ok(owner, kvmattr_dispatch(owner));
		if (fds[2].revents)
			expect_ok(agent, kvmattr_dispatch(agent));
	}
	return NULL;
}

START_TEST(an_event_loop_survives_daemons_that_die)
{
	static struct event_loop loop;

	start(NULL);
	loop.vmm = start_vmm(true);
	protector_init(&loop.protector, loop.vmm, 0);
	is_to_stop = false;
	ck_assert_int_eq(pthread_create(&loop.thread, NULL, run_event_loop, &loop), 0);
	kill_often();
	is_to_stop = true;
	pthread_join(loop.thread, NULL);
	expect_agreement(loop.vmm, loop.vmm->owner, 0);
	expect_all_done(&loop.protector, loop.vmm);
	simulated_vmm_stop(loop.vmm);
	stop();
}
END_TEST

/* ---- Without load -------------------------------------------------------------------------- */

static bool is_owner_connected(void)
{
	struct json_object *result = control_call(control, "vm.get", "{\"vm\":\"guest\"}");
	bool is = !strcmp(json_text_at(result, "sessions.0.role"), "owner") &&
		  json_boolean_at(result, "sessions.0.connected");

	json_object_put(result);
	return is;
}

START_TEST(an_idle_vmm_keeps_its_vm)
{
	struct simulated_vmm *vmm;
	struct kvmattr *agent;

	start(NULL);
	vmm = start_vmm(false);
	agent = simulated_vmm_open_agent(vmm, 1, 0);
	expect_ok(agent, protect_range(agent, 1, KVMATTR_R, 10, 5));
	for (int i = 0; i < 3; i++) {
		restart();
		/* Nobody makes a call: the owner is back, the agent need not be. */
		EVENTUALLY(5000, is_owner_connected());
	}
	expect_ok(agent, protect_range(agent, 1, KVMATTR_RX, 12, 5));
	expect_pages(vmm, 0, 10, 2, KVMATTR_R);
	expect_pages(vmm, 0, 12, 5, KVMATTR_RX);
	expect_ok(vmm->owner, kvmattr_reset_layer(vmm->owner, 1));
	expect_pages(vmm, 0, 0, N_PAGES, KVMATTR_RWX);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	stop();
}
END_TEST

START_TEST(questions_and_requests_wait_for_the_daemon)
{
	struct kvmattr_explanation explanation;
	struct simulated_vmm *vmm;
	struct kvmattr *agent;

	start(NULL);
	vmm = start_vmm(false);
	expect_ok(vmm->owner, protect_range(vmm->owner, 1, KVMATTR_NONE, 7, 1));
	restart();
	agent = simulated_vmm_open_agent(vmm, 1, 0);
	restart();
	expect_ok(agent, kvmattr_explain(agent, 0, 7, KVMATTR_WRITE, &explanation));
	ck_assert_uint_eq(explanation.layer, 1);
	restart();
	expect_agreement(vmm, agent, 0);
	expect_agreement(vmm, vmm->owner, 1);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	stop();
}
END_TEST

START_TEST(a_daemon_that_does_not_come_back_in_time_is_given_up)
{
	struct simulated_vmm *vmm;
	struct kvmattr *agent;

	start("[limits]\nowner-grace-ms = 300\n");
	vmm = start_vmm(false);
	agent = simulated_vmm_open_agent(vmm, 1, 0);
	kill_daemon();
	expect_refusal(agent, protect_range(agent, 1, KVMATTR_R, 10, 5), -EPIPE, "is not back at");
	expect_refusal(vmm->owner, kvmattr_reset_vm(vmm->owner), -EPIPE, d->agent_socket);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	launch(NULL);
	stop();
}
END_TEST

int main(void)
{
	TCase *load = harness_make_case("under load", 120);
	TCase *quiet = harness_make_case("without load", 60);

	tcase_add_test(load,
		       every_update_is_done_once_and_completed_once_however_often_the_daemon_dies);
	tcase_add_test(load, an_event_loop_survives_daemons_that_die);
	tcase_add_test(quiet, an_idle_vmm_keeps_its_vm);
	tcase_add_test(quiet, questions_and_requests_wait_for_the_daemon);
	tcase_add_test(quiet, a_daemon_that_does_not_come_back_in_time_is_given_up);
	return harness_run("reconnect", (TCase *[]){ load, quiet, NULL });
}
