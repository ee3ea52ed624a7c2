/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "journal-syncer.h"

#include "daemon/allocate.h"
#include "thread.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct journal_syncer {
	struct journal *journal;
	void (*told)(void *context, uint64_t number, int error);
	void *context;
	int event_fd;
	struct event *on_synced;
	pthread_t thread;
	bool has_thread;

	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t wake;
	uint64_t wanted;
	uint64_t synced;
	int error; /* of the last sync: then there is no other */
	bool is_finishing;
};

/* ---- In the thread -------------------------------------------------------------------------- */

static bool has_work(const struct journal_syncer *syncer)
{
	return syncer->wanted > syncer->synced && !syncer->error;
}

static void *sync_on_and_on(void *data)
{
	struct journal_syncer *syncer = data;
	const uint64_t one = 1;

	pthread_mutex_lock(&syncer->lock);
	for (;;) {
		uint64_t number;
		int r;

		while (!has_work(syncer) && !syncer->is_finishing)
			pthread_cond_wait(&syncer->wake, &syncer->lock);
		if (!has_work(syncer))
			break;
		number = syncer->wanted;
		pthread_mutex_unlock(&syncer->lock);
		r = journal_sync(syncer->journal);
		pthread_mutex_lock(&syncer->lock);
		if (r == 0)
			syncer->synced = number;
		syncer->error = -r;
		(void)!write(syncer->event_fd, &one, sizeof(one));
	}
	pthread_mutex_unlock(&syncer->lock);
	return NULL;
}

/* ---- In the event loop ---------------------------------------------------------------------- */

static void on_synced(evutil_socket_t fd, short events, void *data)
{
	struct journal_syncer *syncer = data;
	uint64_t n, number;
	int error;

	(void)events;
	(void)!read(fd, &n, sizeof(n));
	pthread_mutex_lock(&syncer->lock);
	number = syncer->synced;
	error = syncer->error;
	pthread_mutex_unlock(&syncer->lock);
	syncer->told(syncer->context, number, error);
}

int journal_syncer_start(struct event_base *base, struct journal *journal,
			 void (*told)(void *context, uint64_t number, int error), void *context,
			 struct journal_syncer **ret)
{
	int r, fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct journal_syncer *syncer;

	if (fd < 0)
		return -errno;
	syncer = allocate_one(struct journal_syncer);
	syncer->journal = journal;
	syncer->told = told;
	syncer->context = context;
	syncer->event_fd = fd;
	syncer->on_synced = event_new(base, fd, EV_READ | EV_PERSIST, on_synced, syncer);
	event_add(syncer->on_synced, NULL);
	pthread_mutex_init(&syncer->lock, NULL);
	pthread_cond_init(&syncer->wake, NULL);
	r = thread_start(sync_on_and_on, syncer, &syncer->thread);
	if (r < 0) {
		journal_syncer_free(syncer);
		return r;
	}
	syncer->has_thread = true;
	*ret = syncer;
	return 0;
}

void journal_syncer_want(struct journal_syncer *syncer, uint64_t number)
{
	pthread_mutex_lock(&syncer->lock);
	syncer->wanted = number;
	pthread_cond_signal(&syncer->wake);
	pthread_mutex_unlock(&syncer->lock);
}

void journal_syncer_resume(struct journal_syncer *syncer)
{
	pthread_mutex_lock(&syncer->lock);
	syncer->error = 0;
	pthread_cond_signal(&syncer->wake);
	pthread_mutex_unlock(&syncer->lock);
}

void journal_syncer_finish(struct journal_syncer *syncer)
{
	pthread_mutex_lock(&syncer->lock);
	syncer->is_finishing = true;
	pthread_cond_signal(&syncer->wake);
	pthread_mutex_unlock(&syncer->lock);
	if (syncer->has_thread)
		pthread_join(syncer->thread, NULL);
	syncer->has_thread = false;
}

void journal_syncer_free(struct journal_syncer *syncer)
{
	if (!syncer)
		return;
	journal_syncer_finish(syncer);
	event_free(syncer->on_synced);
	close(syncer->event_fd);
	pthread_cond_destroy(&syncer->wake);
	pthread_mutex_destroy(&syncer->lock);
	free(syncer);
}
