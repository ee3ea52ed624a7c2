/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The archivist's jobs: where they run, in which order, and that everyone is told once.
 */
#include "daemon/serve/archivist.h"

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_JOBS 40

struct test_job {
	struct archivist_job *job;
	bool waits;            /* in run, until it is let go on */
	bool waits_for_cancel; /* in run */
	void (*then)(void);    /* in done */
	/* What happened. */
	unsigned int n_runs, n_told;
	bool was_run;
	pid_t thread;
	int policy, nice;
	bool are_signals_blocked;
};

static struct event_base *base;
static struct archivist *archivist;
static pthread_t loop_thread;
static struct test_job jobs[N_JOBS];
static sem_t begun, go_on;

/* The order in which they were run and told; run's under the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct test_job *ran[N_JOBS], *told[N_JOBS];
static size_t n_ran, n_told;

static void run(void *context, struct archivist_job *archivist_job)
{
	struct test_job *job = context;
	sigset_t blocked;

	ck_assert(!pthread_equal(pthread_self(), loop_thread));
	pthread_mutex_lock(&lock);
	ran[n_ran++] = job;
	pthread_mutex_unlock(&lock);
	job->n_runs++;
	job->thread = gettid();
	job->policy = sched_getscheduler(0);
	job->nice = getpriority(PRIO_PROCESS, (id_t)gettid());
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	job->are_signals_blocked = sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGINT);
	sem_post(&begun);
	if (job->waits)
		while (sem_wait(&go_on) < 0)
			;
	while (job->waits_for_cancel && !archivist_is_cancelled(archivist_job))
		sched_yield();
}

static void done(void *context, bool was_run)
{
	struct test_job *job = context;

	ck_assert(pthread_equal(pthread_self(), loop_thread));
	job->n_told++;
	job->was_run = was_run;
	told[n_told++] = job;
	if (job->then)
		job->then();
}

static void submit_for(uid_t user, struct test_job *job)
{
	job->job = archivist_submit(archivist, ARCHIVIST_AWAITED, user, run, done, job);
}

static void submit(struct test_job *job, enum archivist_priority priority)
{
	job->job = archivist_submit(archivist, priority, geteuid(), run, done, job);
}

static void await(const struct test_job *job)
{
	while (!job->n_told)
		event_base_loop(base, EVLOOP_ONCE);
}

static unsigned int count_threads(void)
{
	unsigned int n = 0;
	char line[128];
	FILE *file = fopen("/proc/self/status", "re");

	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "Threads: %u", &n) == 1)
			break;
	fclose(file);
	return n;
}

static void begin(void)
{
	base = event_base_new();
	archivist = archivist_new(base);
	ck_assert_ptr_nonnull(archivist);
	loop_thread = pthread_self();
	sem_init(&begun, 0, 0);
	sem_init(&go_on, 0, 0);
	memset(jobs, 0, sizeof(jobs));
	n_ran = n_told = 0;
}

static void end(void)
{
	archivist_free(archivist);
	event_base_free(base);
	sem_destroy(&begun);
	sem_destroy(&go_on);
}

START_TEST(there_is_no_thread_before_there_is_a_job)
{
	unsigned int n_threads = count_threads();

	archivist_free(archivist);
	archivist = archivist_new(base);
	ck_assert_uint_eq(count_threads(), n_threads);
	submit(&jobs[0], ARCHIVIST_AWAITED);
	await(&jobs[0]);
	ck_assert_uint_gt(count_threads(), n_threads);
	n_threads = count_threads();
	submit(&jobs[1], ARCHIVIST_AWAITED);
	await(&jobs[1]);
	ck_assert_int_eq(jobs[0].thread, jobs[1].thread);
	ck_assert_uint_eq(count_threads(), n_threads);
}
END_TEST

START_TEST(a_job_is_run_in_a_thread_that_no_signal_is_for_and_told_in_the_loops)
{
	submit(&jobs[0], ARCHIVIST_AWAITED);
	ck_assert_uint_eq(jobs[0].n_told, 0);
	await(&jobs[0]);
	ck_assert(jobs[0].was_run);
	ck_assert_uint_eq(jobs[0].n_runs, 1);
	ck_assert(jobs[0].are_signals_blocked);
}
END_TEST

START_TEST(what_can_be_done_any_time_gives_way)
{
	const int nice = getpriority(PRIO_PROCESS, 0);

	submit(&jobs[0], ARCHIVIST_AWAITED);
	submit(&jobs[1], ARCHIVIST_BACKGROUND);
	await(&jobs[0]);
	await(&jobs[1]);
	ck_assert_int_eq(jobs[0].policy, sched_getscheduler(0));
	ck_assert_int_eq(jobs[0].nice, nice);
	ck_assert_int_eq(jobs[1].policy, SCHED_BATCH);
	ck_assert_int_eq(jobs[1].nice, nice + 10 < 19 ? nice + 10 : 19);
	ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), nice);
}
END_TEST

START_TEST(jobs_of_a_kind_are_done_one_after_the_other_in_their_order)
{
	for (size_t i = 0; i < N_JOBS; i++)
		submit(&jobs[i], _i ? ARCHIVIST_BACKGROUND : ARCHIVIST_AWAITED);
	await(&jobs[N_JOBS - 1]);
	ck_assert_uint_eq(n_ran, N_JOBS);
	for (size_t i = 0; i < N_JOBS; i++) {
		ck_assert_ptr_eq(ran[i], &jobs[i]);
		ck_assert_ptr_eq(told[i], &jobs[i]);
		ck_assert_uint_eq(jobs[i].n_told, 1);
	}
}
END_TEST

START_TEST(users_take_turns)
{
	static const struct {
		uid_t user;
		size_t place; /* in the order in which they are run */
	} lines[] = { { 1, 0 }, { 1, 3 }, { 1, 6 }, { 1, 8 }, { 2, 1 },
		      { 2, 4 }, { 3, 2 }, { 3, 5 }, { 3, 7 }, { 3, 9 } };
	const size_t n = sizeof(lines) / sizeof(*lines);

	jobs[0].waits = true;
	submit_for(lines[0].user, &jobs[0]);
	sem_wait(&begun);
	for (size_t i = 1; i < n; i++)
		submit_for(lines[i].user, &jobs[i]);
	sem_post(&go_on);
	for (size_t i = 0; i < n; i++)
		await(&jobs[i]);
	for (size_t i = 0; i < n; i++)
		ck_assert_ptr_eq(ran[lines[i].place], &jobs[i]);
}
END_TEST

START_TEST(who_comes_later_is_not_behind_all_that_another_has)
{
	for (size_t i = 0; i < 3; i++)
		jobs[i].waits = true;
	for (size_t i = 0; i < 10; i++)
		submit_for(1, &jobs[i]);
	sem_wait(&begun);
	sem_post(&go_on);
	sem_wait(&begun);
	submit_for(2, &jobs[10]);
	submit_for(2, &jobs[11]);
	sem_post(&go_on);
	sem_post(&go_on);
	await(&jobs[9]);
	ck_assert_ptr_eq(ran[2], &jobs[10]);
	ck_assert_ptr_eq(ran[3], &jobs[2]);
	ck_assert_ptr_eq(ran[4], &jobs[11]);
	ck_assert_ptr_eq(ran[5], &jobs[3]);
}
END_TEST

START_TEST(what_somebody_waits_for_does_not_wait_for_the_rest)
{
	jobs[0].waits = true;
	submit(&jobs[0], ARCHIVIST_BACKGROUND);
	sem_wait(&begun);
	submit(&jobs[1], ARCHIVIST_BACKGROUND);
	submit(&jobs[2], ARCHIVIST_AWAITED);
	await(&jobs[2]);
	ck_assert_uint_eq(jobs[0].n_told + jobs[1].n_told, 0);
	sem_post(&go_on);
	await(&jobs[1]);
	ck_assert_uint_eq(jobs[0].n_told, 1);
}
END_TEST

START_TEST(a_job_that_was_cancelled_before_it_began_is_told_and_not_run)
{
	jobs[0].waits = true;
	submit(&jobs[0], ARCHIVIST_AWAITED);
	sem_wait(&begun);
	submit(&jobs[1], ARCHIVIST_AWAITED);
	submit(&jobs[2], ARCHIVIST_AWAITED);
	archivist_cancel(jobs[1].job);
	archivist_cancel(jobs[1].job);
	ck_assert_uint_eq(jobs[1].n_told, 0); /* not from within */
	await(&jobs[1]);
	ck_assert(!jobs[1].was_run);
	ck_assert_uint_eq(jobs[0].n_told, 0);
	sem_post(&go_on);
	await(&jobs[2]);
	ck_assert_uint_eq(jobs[1].n_runs, 0);
	ck_assert_uint_eq(jobs[1].n_told, 1);
	ck_assert(jobs[2].was_run);
}
END_TEST

START_TEST(a_job_that_runs_sees_that_it_was_cancelled)
{
	jobs[0].waits_for_cancel = true;
	submit(&jobs[0], ARCHIVIST_AWAITED);
	sem_wait(&begun);
	archivist_cancel(jobs[0].job);
	await(&jobs[0]);
	ck_assert(jobs[0].was_run);
	ck_assert_uint_eq(jobs[0].n_told, 1);
}
END_TEST

static void submit_the_second(void)
{
	submit(&jobs[1], ARCHIVIST_BACKGROUND);
}

START_TEST(whoever_is_told_may_ask_for_more)
{
	jobs[0].then = submit_the_second;
	submit(&jobs[0], ARCHIVIST_AWAITED);
	await(&jobs[1]);
	ck_assert(jobs[1].was_run);
	ck_assert_uint_eq(jobs[0].n_told, 1);
}
END_TEST

START_TEST(at_the_end_everyone_is_told_and_who_asks_for_more_is_too)
{
	jobs[0].waits_for_cancel = true;
	jobs[2].then = submit_the_second;
	submit(&jobs[0], ARCHIVIST_AWAITED);
	sem_wait(&begun);
	submit(&jobs[2], ARCHIVIST_AWAITED);
	archivist_free(archivist);
	archivist = NULL;
	ck_assert(jobs[0].was_run);
	for (size_t i = 0; i < 3; i++)
		ck_assert_uint_eq(jobs[i].n_told, 1);
	ck_assert_uint_eq(jobs[1].n_runs + jobs[2].n_runs, 0);
	ck_assert(!jobs[1].was_run && !jobs[2].was_run);
}
END_TEST

/* In a process of its own, which must not start threads. */
static void work_without_threads(void)
{
	struct rlimit none = { 0, 0 };

	/* root may have as many as it likes */
	if (geteuid() == 0)
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &none), 0);
	loop_thread = (pthread_t)0; /* for run: there is no other */
	submit(&jobs[0], ARCHIVIST_AWAITED);
	ck_assert_uint_eq(jobs[0].n_runs, 1);
	ck_assert_uint_eq(jobs[0].n_told, 0);
	loop_thread = pthread_self();
	await(&jobs[0]);
	ck_assert(jobs[0].was_run);
	ck_assert_int_eq(jobs[0].thread, getpid());
}

START_TEST(without_a_thread_the_loop_does_it)
{
	pid_t child = fork();
	int status;

	ck_assert_int_ge(child, 0);
	if (!child) {
		work_without_threads();
		_exit(EXIT_SUCCESS);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("archivist");
	TCase *all = tcase_create("jobs");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(all, begin, end);
	tcase_add_test(all, there_is_no_thread_before_there_is_a_job);
	tcase_add_test(all, a_job_is_run_in_a_thread_that_no_signal_is_for_and_told_in_the_loops);
	tcase_add_test(all, what_can_be_done_any_time_gives_way);
	tcase_add_loop_test(all, jobs_of_a_kind_are_done_one_after_the_other_in_their_order, 0, 2);
	tcase_add_test(all, users_take_turns);
	tcase_add_test(all, who_comes_later_is_not_behind_all_that_another_has);
	tcase_add_test(all, what_somebody_waits_for_does_not_wait_for_the_rest);
	tcase_add_test(all, a_job_that_was_cancelled_before_it_began_is_told_and_not_run);
	tcase_add_test(all, a_job_that_runs_sees_that_it_was_cancelled);
	tcase_add_test(all, whoever_is_told_may_ask_for_more);
	tcase_add_test(all, at_the_end_everyone_is_told_and_who_asks_for_more_is_too);
	tcase_add_test(all, without_a_thread_the_loop_does_it);
	suite_add_tcase(suite, all);
	runner = srunner_create(suite);
	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
