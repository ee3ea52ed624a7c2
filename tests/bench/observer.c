/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/bench/observer.h"

#include "tests/bench/samples.h"

#include <err.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_ANSWER  65536u
#define MAX_SAMPLES 1000000u

struct client {
	int socket;
	uint64_t n_answered; /* of its requests, which are every n_clients-th */
	size_t n_read;       /* of an answer that is not whole */
	char read[MAX_ANSWER];
};

struct observer {
	const char *request;
	size_t request_size;
	double period_us;
	double start_us;
	int timer;
	int epoll;
	pthread_t thread;
	_Atomic bool is_over;
	uint64_t n_due;
	uint64_t n_answered;
	struct observations kept;
	size_t n_until_idle;    /* kept up to the last answer that spoke of a queue */
	unsigned int n_clients; /* that take turns */
	unsigned int n_connected;
	struct client clients[];
};

/* ---- One answer ---------------------------------------------------------------------------- */

static bool speaks_of_queue(const char *answer)
{
	static const char member[] = "\"queue\":";
	const char *queue = strstr(answer, member);

	return queue && strtoul(queue + strlen(member), NULL, 10);
}

static void keep(struct observer *observer, const char *answer, double us)
{
	struct observations *kept = &observer->kept;

	if (strstr(answer, "\"error\":") || kept->n == MAX_SAMPLES)
		return;
	if (speaks_of_queue(answer)) {
		if (!observer->n_until_idle)
			kept->n = 0;
		kept->us[kept->n++] = us;
		observer->n_until_idle = kept->n;
	} else {
		kept->us[kept->n++] = us;
	}
}

/* ---- Requests and answers ------------------------------------------------------------------ */

static void ask(const struct observer *observer, const struct client *client)
{
	if (send(client->socket, observer->request, observer->request_size, MSG_NOSIGNAL) !=
	    (ssize_t)observer->request_size)
		err(EXIT_FAILURE, "cannot send to the daemon");
}

/* answer: one line, without its newline. */
static void take_answer(struct observer *observer, struct client *client, const char *answer)
{
	uint64_t number =
		client->n_answered++ * observer->n_clients + (uint64_t)(client - observer->clients);

	observer->n_answered++;
	keep(observer, answer,
	     samples_now_us() - observer->start_us - (double)(number + 1) * observer->period_us);
}

static void take_answers(struct observer *observer, struct client *client)
{
	char *answer = client->read, *end;
	ssize_t n = recv(client->socket, client->read + client->n_read,
			 sizeof(client->read) - 1 - client->n_read, 0);

	if (n <= 0)
		err(EXIT_FAILURE, "the daemon does not answer");
	client->n_read += (size_t)n;
	client->read[client->n_read] = '\0';
	for (; (end = strchr(answer, '\n')); answer = end + 1) {
		*end = '\0';
		take_answer(observer, client, answer);
	}
	client->n_read -= (size_t)(answer - client->read);
	memmove(client->read, answer, client->n_read);
}

static void take_turns(struct observer *observer)
{
	uint64_t n;

	if (read(observer->timer, &n, sizeof(n)) != sizeof(n))
		err(EXIT_FAILURE, "the timer");
	if (observer->is_over)
		return;
	for (; n; n--)
		ask(observer, &observer->clients[observer->n_due++ % observer->n_clients]);
}

static void *observe(void *context)
{
	struct observer *observer = context;

	while (!observer->is_over || observer->n_answered < observer->n_due) {
		struct epoll_event events[16];
		int n = epoll_wait(observer->epoll, events, 16, -1);

		for (int i = 0; i < n; i++)
			if (events[i].data.ptr)
				take_answers(observer, events[i].data.ptr);
			else
				take_turns(observer);
	}
	return NULL;
}

/* ---- From outside -------------------------------------------------------------------------- */

static void watch(struct observer *observer, int fd, struct client *client)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };

	if (epoll_ctl(observer->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		err(EXIT_FAILURE, "epoll_ctl");
}

int observer_dial(const struct bench_place *place)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", place->control_socket);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		err(EXIT_FAILURE, "%s", place->control_socket);
	return fd;
}

struct observer *observer_connect(const struct bench_place *place, unsigned int n_clients)
{
	struct observer *observer =
		calloc(1, sizeof(*observer) + n_clients * sizeof(*observer->clients));

	if (!observer)
		err(EXIT_FAILURE, "no memory");
	observer->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	observer->epoll = epoll_create1(EPOLL_CLOEXEC);
	watch(observer, observer->timer, NULL);
	for (observer->n_connected = 0; observer->n_connected < n_clients;) {
		struct client *client = &observer->clients[observer->n_connected++];

		client->socket = observer_dial(place);
		watch(observer, client->socket, client);
	}
	return observer;
}

void observer_free(struct observer *observer)
{
	for (unsigned int i = 0; i < observer->n_connected; i++)
		close(observer->clients[i].socket);
	close(observer->timer);
	close(observer->epoll);
	free(observer);
}

void observer_start(struct observer *observer, const char *request, unsigned int n_clients,
		    unsigned int per_second)
{
	struct itimerspec period = { .it_interval.tv_nsec = 1000000000 / (long)per_second };

	period.it_value = period.it_interval;
	observer->request = request;
	observer->request_size = strlen(request);
	observer->period_us = 1e6 / per_second;
	observer->n_clients = n_clients;
	for (unsigned int i = 0; i < n_clients; i++)
		observer->clients[i].n_answered = 0;
	observer->n_due = observer->n_answered = 0;
	observer->is_over = false;
	observer->n_until_idle = 0;
	observer->kept = (struct observations){ .us = calloc(MAX_SAMPLES, sizeof(double)) };
	if (!observer->kept.us)
		err(EXIT_FAILURE, "no memory");
	observer->start_us = samples_now_us();
	if (timerfd_settime(observer->timer, 0, &period, NULL) < 0 ||
	    pthread_create(&observer->thread, NULL, observe, observer))
		errx(EXIT_FAILURE, "cannot start an observer");
}

struct observations observer_stop(struct observer *observer)
{
	struct observations kept;

	observer->is_over = true;
	pthread_join(observer->thread, NULL);
	kept = observer->kept;
	kept.n_asked = observer->n_due;
	if (observer->n_until_idle)
		kept.n = observer->n_until_idle;
	return kept;
}
