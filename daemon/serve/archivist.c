/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "archivist.h"

#include "daemon/allocate.h"
#include "daemon/log.h"
#include "thread.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <unistd.h>

/* Nicer than the daemon by. */
#define BACKGROUND_NICE 10

struct archivist_job {
	TAILQ_ENTRY(archivist_job) queue;
	struct archivist *archivist;
	struct worker *worker;
	void (*run)(void *context, struct archivist_job *job);
	void (*done)(void *context, bool was_run);
	void *context;
	uid_t user;
	uint64_t round;  /* in each, a user has one job at most */
	bool is_waiting; /* under the lock */
	bool was_run;
	bool is_cancelled; /* atomic */
};
TAILQ_HEAD(archivist_jobs, archivist_job);

struct worker {
	struct archivist *archivist;
	pthread_t thread;
	bool has_thread;
	bool is_background;
	pthread_cond_t wake;
	struct archivist_jobs waiting; /* by their rounds */
	struct archivist_job *running;
	uint64_t round; /* of the last that was begun */
};

struct archivist {
	struct event_base *base;
	int event_fd;
	struct event *on_done;
	pthread_mutex_t lock; /* for what follows */
	struct worker workers[2];
	struct archivist_jobs over; /* of which nobody was told yet */
	bool is_stopping;
};

/* ---- In the threads ------------------------------------------------------------------------- */

/* This thread alone; where it is refused, the work is done all the same. */
static void give_way(void)
{
	const struct sched_param parameters = { 0 };

	(void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &parameters);
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(),
			  getpriority(PRIO_PROCESS, (id_t)gettid()) + BACKGROUND_NICE);
}

/* Under the lock: to be told from the event loop. */
static void end_job(struct archivist_job *job)
{
	struct archivist *archivist = job->archivist;
	const uint64_t one = 1;

	TAILQ_INSERT_TAIL(&archivist->over, job, queue);
	(void)!write(archivist->event_fd, &one, sizeof(one));
}

static struct archivist_job *begin_job(struct worker *worker)
{
	struct archivist_job *job = TAILQ_FIRST(&worker->waiting);

	if (job) {
		TAILQ_REMOVE(&worker->waiting, job, queue);
		job->is_waiting = false;
		worker->round = job->round;
	}
	worker->running = job;
	return job;
}

static void *work(void *data)
{
	struct worker *worker = data;
	struct archivist *archivist = worker->archivist;
	struct archivist_job *job;

	if (worker->is_background)
		give_way();
	pthread_mutex_lock(&archivist->lock);
	for (;;) {
		while (!(job = begin_job(worker)) && !archivist->is_stopping)
			pthread_cond_wait(&worker->wake, &archivist->lock);
		if (!job)
			break;
		pthread_mutex_unlock(&archivist->lock);
		job->run(job->context, job);
		pthread_mutex_lock(&archivist->lock);
		worker->running = NULL;
		job->was_run = true;
		end_job(job);
	}
	pthread_mutex_unlock(&archivist->lock);
	return NULL;
}

bool archivist_is_cancelled(const struct archivist_job *job)
{
	return __atomic_load_n(&job->is_cancelled, __ATOMIC_RELAXED);
}

/* ---- In the event loop ---------------------------------------------------------------------- */

static struct archivist_job *take_over(struct archivist *archivist)
{
	struct archivist_job *job;

	pthread_mutex_lock(&archivist->lock);
	job = TAILQ_FIRST(&archivist->over);
	if (job)
		TAILQ_REMOVE(&archivist->over, job, queue);
	pthread_mutex_unlock(&archivist->lock);
	return job;
}

/* Whoever is told may submit and cancel others.  Returns false if nobody is to be told. */
static bool tell_one(struct archivist *archivist)
{
	struct archivist_job *job = take_over(archivist);

	if (!job)
		return false;
	job->done(job->context, job->was_run);
	free(job);
	return true;
}

/* One at a time: the event comes again for the others. */
static void on_done(evutil_socket_t fd, short events, void *data)
{
	uint64_t one;

	(void)events;
	(void)!read(fd, &one, sizeof(one));
	tell_one(data);
}

struct archivist *archivist_new(struct event_base *base)
{
	struct archivist *archivist;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);

	if (fd < 0)
		return NULL;
	archivist = allocate_one(struct archivist);
	archivist->base = base;
	archivist->event_fd = fd;
	archivist->on_done = event_new(base, fd, EV_READ | EV_PERSIST, on_done, archivist);
	event_add(archivist->on_done, NULL);
	pthread_mutex_init(&archivist->lock, NULL);
	TAILQ_INIT(&archivist->over);
	for (int i = 0; i < 2; i++) {
		struct worker *worker = &archivist->workers[i];

		worker->archivist = archivist;
		worker->is_background = i == ARCHIVIST_BACKGROUND;
		pthread_cond_init(&worker->wake, NULL);
		TAILQ_INIT(&worker->waiting);
	}
	return archivist;
}

/* Under the lock. */
static void put_in_line(struct worker *worker, struct archivist_job *job)
{
	struct archivist_job *other;

	job->round = worker->round;
	if (worker->running && worker->running->user == job->user)
		job->round++;
	TAILQ_FOREACH (other, &worker->waiting, queue)
		if (other->user == job->user)
			job->round = other->round + 1;
	TAILQ_FOREACH (other, &worker->waiting, queue)
		if (other->round > job->round)
			break;
	if (other)
		TAILQ_INSERT_BEFORE(other, job, queue);
	else
		TAILQ_INSERT_TAIL(&worker->waiting, job, queue);
	job->is_waiting = true;
	pthread_cond_signal(&worker->wake);
}

/* Where there is no thread to be had, the loop has to wait for the work. */
static void run_here(struct archivist_job *job, int error)
{
	log_write(LOG_LEVEL_WARNING,
		  "cannot start a thread: %s; everything waits while the work is done without one: "
		  "raise the limit (TasksMax=, RLIMIT_NPROC)",
		  strerror(error));
	job->run(job->context, job);
	job->was_run = true;
}

struct archivist_job *archivist_submit(struct archivist *archivist,
				       enum archivist_priority priority, uid_t user,
				       void (*run)(void *context, struct archivist_job *job),
				       void (*done)(void *context, bool was_run), void *context)
{
	struct worker *worker = &archivist->workers[priority];
	struct archivist_job *job = allocate_one(struct archivist_job);
	int error = 0;

	job->archivist = archivist;
	job->worker = worker;
	job->run = run;
	job->done = done;
	job->context = context;
	job->user = user;
	if (!worker->has_thread && !archivist->is_stopping)
		error = -thread_start(work, worker, &worker->thread);
	if (!error && !archivist->is_stopping)
		worker->has_thread = true;
	if (error)
		run_here(job, error);
	pthread_mutex_lock(&archivist->lock);
	if (error || archivist->is_stopping)
		end_job(job);
	else
		put_in_line(worker, job);
	pthread_mutex_unlock(&archivist->lock);
	return job;
}

/* Under the lock. */
static void cancel(struct archivist_job *job)
{
	__atomic_store_n(&job->is_cancelled, true, __ATOMIC_RELAXED);
	if (!job->is_waiting)
		return;
	TAILQ_REMOVE(&job->worker->waiting, job, queue);
	job->is_waiting = false;
	end_job(job);
}

void archivist_cancel(struct archivist_job *job)
{
	struct archivist *archivist = job->archivist;

	pthread_mutex_lock(&archivist->lock);
	cancel(job);
	pthread_mutex_unlock(&archivist->lock);
}

static void stop(struct archivist *archivist)
{
	struct archivist_job *job;

	pthread_mutex_lock(&archivist->lock);
	archivist->is_stopping = true;
	for (int i = 0; i < 2; i++) {
		struct worker *worker = &archivist->workers[i];

		while ((job = TAILQ_FIRST(&worker->waiting)))
			cancel(job);
		if (worker->running)
			cancel(worker->running);
		pthread_cond_signal(&worker->wake);
	}
	pthread_mutex_unlock(&archivist->lock);
	for (int i = 0; i < 2; i++)
		if (archivist->workers[i].has_thread)
			pthread_join(archivist->workers[i].thread, NULL);
}

void archivist_free(struct archivist *archivist)
{
	if (!archivist)
		return;
	stop(archivist);
	while (tell_one(archivist))
		;
	for (int i = 0; i < 2; i++)
		pthread_cond_destroy(&archivist->workers[i].wake);
	pthread_mutex_destroy(&archivist->lock);
	event_free(archivist->on_done);
	close(archivist->event_fd);
	free(archivist);
}
