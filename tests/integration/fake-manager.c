/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/fake-manager.h"

#include "protocol/seqpacket.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_FD  3 /* SD_LISTEN_FDS_START */
#define NAME_SIZE 256

struct fake_manager {
	pid_t pid;
	struct sockaddr_un notify;   /* where daemons send their messages */
	struct sockaddr_un requests; /* where the functions below connect, each for itself */
};

enum request_kind {
	REQUEST_SETTLE,
	REQUEST_PASS, /* answered by a message for each descriptor, and one without at the end */
	REQUEST_COUNT,
	REQUEST_NAME,
	REQUEST_COUNT_READY,
	REQUEST_LIMIT,
	REQUEST_KEEP, /* with a descriptor */
	REQUEST_LOSE,
};

/* In both directions. */
struct request {
	enum request_kind kind;
	unsigned int number;
	char name[NAME_SIZE];
};

/* As many as a manager keeps, twice for a moment. */
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		err(EXIT_FAILURE, "fake manager");
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- The manager's process ------------------------------------------------------------------- */

struct kept {
	struct kept *next;
	int fd;
	bool is_polled; /* let go of when its other end hangs up */
	char name[NAME_SIZE];
};

/* This process is nothing else. */
static struct kept *all_kept; /* the newest first, as with systemd */
static unsigned int n_kept;
static unsigned int max_kept = 4096;
static unsigned int n_ready;

static bool is_same_file(int one, int other)
{
	return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, one, other) == 0;
}

/* fd is the manager's from then on. */
static void keep(const char *name, int fd, bool is_polled)
{
	struct kept *kept;

	for (kept = all_kept; kept && !is_same_file(kept->fd, fd); kept = kept->next)
		;
	if (kept || n_kept >= max_kept) {
		close(fd);
		return;
	}
	kept = calloc(1, sizeof(*kept));
	if (!kept)
		err(EXIT_FAILURE, "fake manager");
	kept->fd = fd;
	kept->is_polled = is_polled;
	snprintf(kept->name, sizeof(kept->name), "%s", name);
	kept->next = all_kept;
	all_kept = kept;
	n_kept++;
}

static void lose_where(bool (*is_lost)(const struct kept *kept, const char *name), const char *name)
{
	struct kept **at = &all_kept, *kept;

	while ((kept = *at)) {
		if (!is_lost(kept, name)) {
			at = &kept->next;
			continue;
		}
		*at = kept->next;
		close(kept->fd);
		free(kept);
		n_kept--;
	}
}

static bool has_hung_up(const struct kept *kept, const char *unused)
{
	struct pollfd look = { .fd = kept->fd };

	(void)unused;
	return kept->is_polled && poll(&look, 1, 0) == 1 && look.revents & (POLLHUP | POLLERR);
}

static bool has_name(const struct kept *kept, const char *name)
{
	return !strcmp(kept->name, name);
}

static bool has_name_like(const struct kept *kept, const char *pattern)
{
	return !fnmatch(pattern, kept->name, 0);
}

/* What is behind "NAME=" in a message of lines, in ret; returns whether it is there. */
static bool find_line(const char *message, const char *key, char ret[NAME_SIZE])
{
	size_t length = strlen(key);

	for (const char *line = message; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, length))
			continue;
		snprintf(ret, NAME_SIZE, "%.*s", (int)strcspn(line + length, "\n"), line + length);
		return true;
	}
	return false;
}

static bool has_line(const char *message, const char *key, const char *value)
{
	char text[NAME_SIZE];

	return find_line(message, key, text) && !strcmp(text, value);
}

static void take_message(const char *message, struct seqpacket_fds *fds)
{
	char name[NAME_SIZE] = "stored";
	bool is_named = find_line(message, "FDNAME=", name);

	n_ready += has_line(message, "READY=", "1");
	if (has_line(message, "FDSTOREREMOVE=", "1") && is_named)
		lose_where(has_name, name);
	if (has_line(message, "FDSTORE=", "1"))
		for (size_t i = 0; i < fds->n; i++)
			keep(name, seqpacket_fds_take(fds, i), !has_line(message, "FDPOLL=", "0"));
}

/* Datagrams are messages, too. */
static void take_messages(int notify)
{
	char message[4096];
	struct seqpacket_fds fds;
	ssize_t n;

	while ((n = seqpacket_receive(notify, message, sizeof(message) - 1, &fds, MSG_DONTWAIT)) >
	       0) {
		message[n] = '\0';
		take_message(message, &fds);
		seqpacket_fds_close(&fds);
	}
	lose_where(has_hung_up, NULL);
}

/* Whoever asked may be gone. */
static void answer(int peer, struct request *request, int fd)
{
	struct iovec part = { request, sizeof(*request) };

	(void)!seqpacket_send(peer, &part, 1, &fd, fd >= 0, 0);
}

static void pass_all(int peer, struct request *request)
{
	for (const struct kept *kept = all_kept; kept; kept = kept->next) {
		memcpy(request->name, kept->name, sizeof(request->name));
		answer(peer, request, kept->fd);
	}
}

static void tell_name(struct request *request)
{
	const struct kept *kept = all_kept;

	while (kept && !has_name_like(kept, request->name))
		kept = kept->next;
	snprintf(request->name, sizeof(request->name), "%s", kept ? kept->name : "");
}

static void serve_request(int peer, struct request *request, struct seqpacket_fds *fds)
{
	switch (request->kind) {
	case REQUEST_SETTLE:
		break;
	case REQUEST_PASS:
		pass_all(peer, request);
		break;
	case REQUEST_COUNT:
		request->number = 0;
		for (const struct kept *kept = all_kept; kept; kept = kept->next)
			request->number += has_name_like(kept, request->name);
		break;
	case REQUEST_NAME:
		tell_name(request);
		break;
	case REQUEST_COUNT_READY:
		request->number = n_ready;
		break;
	case REQUEST_LIMIT:
		max_kept = request->number;
		break;
	case REQUEST_KEEP:
		keep(request->name, seqpacket_fds_take(fds, 0), false);
		break;
	case REQUEST_LOSE:
		lose_where(has_name_like, request->name);
		break;
	}
	answer(peer, request, -1);
}

static void serve_peer(int notify, int peer)
{
	struct request request;
	struct seqpacket_fds fds;

	if (seqpacket_receive(peer, &request, sizeof(request), &fds, 0) != sizeof(request))
		return;
	/* What came before the request. */
	take_messages(notify);
	serve_request(peer, &request, &fds);
	seqpacket_fds_close(&fds);
}

__attribute__((noreturn)) static void be_the_manager(int notify, int requests)
{
	struct pollfd polls[] = { { .fd = notify, .events = POLLIN },
				  { .fd = requests, .events = POLLIN } };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Whose connections end is not to depend on this process. */
	for (int fd = STDERR_FILENO + 1; fd < requests; fd++)
		if (fd != notify)
			close(fd);
	close_range((unsigned int)requests + 1, ~0u, 0);
	raise_fd_limit();
	for (;;) {
		int peer;

		if (poll(polls, 2, -1) < 0 && errno != EINTR)
			err(EXIT_FAILURE, "fake manager");
		take_messages(notify);
		peer = accept4(requests, NULL, NULL, SOCK_CLOEXEC);
		if (peer < 0)
			continue;
		serve_peer(notify, peer);
		close(peer);
	}
}

/* ---- Everybody else -------------------------------------------------------------------------- */

static int bind_to(struct sockaddr_un *address, int type, const char *directory, const char *name)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int n = snprintf(address->sun_path, sizeof(address->sun_path), "%s/%s", directory, name);

	if (n < 0 || (size_t)n >= sizeof(address->sun_path))
		errx(EXIT_FAILURE, "fake manager: the path %s is too long", directory);
	address->sun_family = AF_UNIX;
	unlink(address->sun_path);
	if (fd < 0 || bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		err(EXIT_FAILURE, "fake manager: %s", address->sun_path);
	return fd;
}

struct fake_manager *fake_manager_new(const char *directory)
{
	struct fake_manager *manager = calloc(1, sizeof(*manager));
	int notify, requests;

	if (!manager)
		err(EXIT_FAILURE, "fake manager");
	notify = bind_to(&manager->notify, SOCK_DGRAM, directory, "notify");
	requests = bind_to(&manager->requests, SOCK_SEQPACKET, directory, "fake-manager");
	if (listen(requests, SOMAXCONN) < 0)
		err(EXIT_FAILURE, "fake manager");
	manager->pid = fork();
	if (manager->pid < 0)
		err(EXIT_FAILURE, "fake manager");
	if (!manager->pid)
		be_the_manager(notify, requests);
	close(notify);
	close(requests);
	return manager;
}

void fake_manager_free(struct fake_manager *manager)
{
	if (!manager)
		return;
	kill(manager->pid, SIGKILL);
	waitpid(manager->pid, NULL, 0);
	unlink(manager->notify.sun_path);
	unlink(manager->requests.sun_path);
	free(manager);
}

/* Returns the connection on which it was sent. */
static int send_request(const struct fake_manager *manager, enum request_kind kind,
			const char *name, unsigned int number, int fd)
{
	struct request request = { .kind = kind, .number = number };
	struct iovec part = { &request, sizeof(request) };
	int peer = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(request.name, sizeof(request.name), "%s", name);
	if (connect(peer, (const struct sockaddr *)&manager->requests, sizeof(manager->requests)) <
		    0 ||
	    seqpacket_send(peer, &part, 1, &fd, fd >= 0, 0) < 0)
		errx(EXIT_FAILURE, "the fake manager is gone");
	return peer;
}

/* Receives one answer; returns the descriptor that came with it, or -1. */
static int receive_answer(int peer, struct request *ret_answer)
{
	struct seqpacket_fds fds;

	if (seqpacket_receive(peer, ret_answer, sizeof(*ret_answer), &fds, 0) !=
	    sizeof(*ret_answer))
		errx(EXIT_FAILURE, "the fake manager is gone");
	return fds.n ? seqpacket_fds_take(&fds, 0) : -1;
}

/* Receives the only answer. */
static struct request receive_only_answer(int peer)
{
	struct request answer;

	(void)receive_answer(peer, &answer);
	close(peer);
	return answer;
}

static unsigned int ask(struct fake_manager *manager, enum request_kind kind, const char *name,
			unsigned int number, int fd)
{
	return receive_only_answer(send_request(manager, kind, name, number, fd)).number;
}

void fake_manager_settle(struct fake_manager *manager)
{
	(void)ask(manager, REQUEST_SETTLE, "", 0, -1);
}

unsigned int fake_manager_count(struct fake_manager *manager, const char *pattern)
{
	return ask(manager, REQUEST_COUNT, pattern, 0, -1);
}

void fake_manager_name(struct fake_manager *manager, const char *pattern, char *ret, size_t size)
{
	struct request answer =
		receive_only_answer(send_request(manager, REQUEST_NAME, pattern, 0, -1));
	int n = snprintf(ret, size, "%s", answer.name);

	if (!*answer.name || n < 0 || (size_t)n >= size)
		errx(EXIT_FAILURE, "the fake manager keeps nothing like '%s'", pattern);
}

unsigned int fake_manager_count_ready(struct fake_manager *manager)
{
	return ask(manager, REQUEST_COUNT_READY, "", 0, -1);
}

void fake_manager_limit(struct fake_manager *manager, unsigned int max)
{
	(void)ask(manager, REQUEST_LIMIT, "", max, -1);
}

void fake_manager_keep(struct fake_manager *manager, const char *name, int fd)
{
	(void)ask(manager, REQUEST_KEEP, name, 0, fd);
}

void fake_manager_lose(struct fake_manager *manager, const char *pattern)
{
	(void)ask(manager, REQUEST_LOSE, pattern, 0, -1);
}

static void set_variable(const char *name, const char *value)
{
	if (setenv(name, value, 1) < 0)
		err(EXIT_FAILURE, "setenv");
}

static void set_number(const char *name, int number)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", number);
	set_variable(name, text);
}

/* To consecutive numbers, by way of numbers behind all of these. */
static void place(int *fds, int n)
{
	for (int i = 0; i < n; i++) {
		int moved = fcntl(fds[i], F_DUPFD_CLOEXEC, FIRST_FD + n);

		if (moved < 0)
			err(EXIT_FAILURE, "fake manager");
		close(fds[i]);
		fds[i] = moved;
	}
	for (int i = 0; i < n; i++) {
		if (dup2(fds[i], FIRST_FD + i) < 0)
			err(EXIT_FAILURE, "fake manager");
		close(fds[i]);
	}
}

void fake_manager_pass(struct fake_manager *manager)
{
	struct request request;
	char *names = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&names, &size);
	int *fds = NULL, fd, n = 0, peer;

	if (!stream)
		err(EXIT_FAILURE, "fake manager");
	raise_fd_limit();
	peer = send_request(manager, REQUEST_PASS, "", 0, -1);
	while ((fd = receive_answer(peer, &request)) >= 0) {
		fds = reallocarray(fds, (size_t)n + 1, sizeof(*fds));
		if (!fds)
			err(EXIT_FAILURE, "fake manager");
		fds[n++] = fd;
		fprintf(stream, "%s%s", n > 1 ? ":" : "", request.name);
	}
	if (fclose(stream))
		err(EXIT_FAILURE, "fake manager");
	close(peer);
	place(fds, n);
	free(fds);

	set_variable("NOTIFY_SOCKET", manager->notify.sun_path);
	if (n) {
		set_number("LISTEN_PID", getpid());
		set_number("LISTEN_FDS", n);
		set_variable("LISTEN_FDNAMES", names);
	}
	free(names);
}
