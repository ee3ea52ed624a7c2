/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/scripted-daemon.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define QUIET_MS    50
#define PATIENCE_MS 60000

const uint8_t daemon_token[WIRE_TOKEN_SIZE] = "a token of 16 b";

void daemon_give_up(const char *file, int line, const char *condition)
{
	fprintf(stderr, "# %s:%d: the daemon's script expected: %s\n", file, line, condition);
	abort();
}

static void *run(void *context)
{
	struct scripted_daemon *daemon = context;

	daemon_accept(daemon);
	daemon->script(daemon);
	daemon_die(daemon);
	seqpacket_fds_close(&daemon->fds);
	return NULL;
}

void daemon_listen(struct scripted_daemon *daemon)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strcpy(address.sun_path, daemon->path);
	daemon->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	MUST(daemon->listener >= 0);
	MUST(!bind(daemon->listener, (struct sockaddr *)&address, sizeof(address)));
	MUST(!listen(daemon->listener, 1));
}

void daemon_stop_listening(struct scripted_daemon *daemon)
{
	close(daemon->listener);
	MUST(!unlink(daemon->path));
	daemon->listener = -1;
}

void daemon_accept(struct scripted_daemon *daemon)
{
	daemon->peer = accept4(daemon->listener, NULL, NULL, SOCK_CLOEXEC);
	MUST(daemon->peer >= 0);
}

void daemon_die(struct scripted_daemon *daemon)
{
	if (daemon->executor >= 0)
		close(daemon->executor);
	if (daemon->peer >= 0)
		close(daemon->peer);
	daemon->executor = daemon->peer = -1;
}

static struct scripted_daemon *start(void (*script)(struct scripted_daemon *), int variant,
				     void *context, uint32_t resume_within_ms)
{
	struct scripted_daemon *daemon = calloc(1, sizeof(*daemon));

	MUST(daemon);
	daemon->script = script;
	daemon->variant = variant;
	daemon->context = context;
	daemon->resume_within_ms = resume_within_ms;
	daemon->executor = -1;
	strcpy(daemon->directory, "/tmp/test-libkvmattr-XXXXXX");
	MUST(mkdtemp(daemon->directory));
	snprintf(daemon->path, sizeof(daemon->path), "%s/agent.sock", daemon->directory);
	daemon_listen(daemon);
	MUST(!pthread_create(&daemon->thread, NULL, run, daemon));
	return daemon;
}

struct scripted_daemon *daemon_start(void (*script)(struct scripted_daemon *), int variant)
{
	return start(script, variant, NULL, 0);
}

struct scripted_daemon *daemon_start_resumable(void (*script)(struct scripted_daemon *),
					       int variant, void *context)
{
	return start(script, variant, context, PATIENCE_MS);
}

void daemon_end(struct scripted_daemon *daemon)
{
	MUST(!pthread_join(daemon->thread, NULL));
	if (daemon->listener >= 0)
		daemon_stop_listening(daemon);
	rmdir(daemon->directory);
	free(daemon);
}

unsigned int daemon_receive_any(struct scripted_daemon *daemon, int from)
{
	ssize_t n;

	seqpacket_fds_close(&daemon->fds);
	n = seqpacket_receive(from, daemon->message, sizeof(daemon->message), &daemon->fds, 0);
	MUST(n >= 0);
	if (!n)
		return 0;
	MUST(!wire_get_header(daemon->message, (size_t)n, &daemon->header));
	return daemon->header.type;
}

void daemon_receive_from(struct scripted_daemon *daemon, int from, unsigned int type)
{
	MUST(daemon_receive_any(daemon, from) == type);
}

void daemon_receive(struct scripted_daemon *daemon, unsigned int type)
{
	daemon_receive_from(daemon, daemon->peer, type);
}

void daemon_receive_nothing(struct scripted_daemon *daemon)
{
	struct pollfd readable = { .fd = daemon->peer, .events = POLLIN };

	MUST(poll(&readable, 1, QUIET_MS) == 0);
}

void daemon_receive_end(struct scripted_daemon *daemon, int from)
{
	seqpacket_fds_close(&daemon->fds);
	MUST(seqpacket_receive(from, daemon->message, sizeof(daemon->message), &daemon->fds, 0) ==
	     0);
}

void daemon_receive_goodbye(struct scripted_daemon *daemon)
{
	struct wire_notice bye;

	daemon_receive(daemon, WIRE_BYE);
	MUST(!wire_get_notice(daemon->message, daemon->header.size, &bye));
	MUST(bye.status == KVMATTR_OK);
	daemon_receive_end(daemon, daemon->peer);
}

void daemon_receive_updates(struct scripted_daemon *daemon, uint64_t seqno)
{
	while (daemon->last_seqno < seqno) {
		struct wire_update_list list;
		struct wire_update update;
		const uint8_t *elements;
		size_t offset = sizeof(list);

		daemon_receive(daemon, WIRE_UPDATE);
		MUST(!wire_get_update_list(daemon->message, daemon->header.size, &list));
		MUST(list.header.id == daemon->last_seqno + 1);
		for (uint32_t i = 0; i < list.n_updates; i++)
			MUST(!wire_next_update(daemon->message, daemon->header.size, &offset,
					       &update, &elements));
		MUST(offset == daemon->header.size);
		daemon->last_seqno += list.n_updates;
		daemon->n_update_messages++;
	}
	MUST(daemon->last_seqno == seqno);
}

void daemon_receive_hello(struct scripted_daemon *daemon)
{
	struct wire_hello hello;

	daemon_receive(daemon, WIRE_HELLO);
	MUST(!wire_get_hello(daemon->message, daemon->header.size, &hello));
	MUST(hello.version_min <= WIRE_VERSION && hello.version_max >= WIRE_VERSION);
}

void daemon_receive_registration(struct scripted_daemon *daemon)
{
	struct wire_register registration;
	struct wire_view views[KVMATTR_N_VTLS];

	daemon_receive(daemon, WIRE_REGISTER);
	MUST(!wire_get_register(daemon->message, daemon->header.size, &registration));
	for (uint32_t i = 0; i < registration.n_views; i++)
		MUST(!wire_at_register_view(daemon->message, &registration, i, &views[i]));
	MUST(daemon->fds.n ==
	     1 + registration.n_views + wire_count_stats(views, registration.n_views));
	if (daemon->executor >= 0)
		close(daemon->executor);
	daemon->executor = seqpacket_fds_take(&daemon->fds, 0);
}

void daemon_send_with_fds(struct scripted_daemon *daemon, const void *message, size_t size,
			  const int *fds, size_t n_fds)
{
	struct iovec part = { (void *)message, size };

	MUST(!seqpacket_send(daemon->peer, &part, 1, fds, n_fds, 0));
}

void daemon_send(struct scripted_daemon *daemon, const void *message, size_t size)
{
	daemon_send_with_fds(daemon, message, size, NULL, 0);
}

struct wire_welcome daemon_make_welcome(const struct scripted_daemon *daemon,
					uint32_t max_updates_in_flight)
{
	struct wire_welcome welcome = {
		.header = wire_header_make(WIRE_WELCOME, sizeof(welcome), daemon->header.id),
		.version = WIRE_VERSION,
		.max_message = WIRE_MAX_MESSAGE,
		.max_updates_in_flight = max_updates_in_flight,
		.session = DAEMON_SESSION,
		.daemon = "scripted",
		.resume_within_ms = daemon->resume_within_ms,
	};

	memcpy(welcome.token, daemon_token, sizeof(welcome.token));
	if (daemon->resume_within_ms)
		strcpy(welcome.agent_socket, daemon->path);
	return welcome;
}

void daemon_welcome_nobody(struct scripted_daemon *daemon, uint32_t max_updates_in_flight)
{
	struct wire_welcome welcome;

	daemon_receive_hello(daemon);
	welcome = daemon_make_welcome(daemon, max_updates_in_flight);
	daemon_send(daemon, &welcome, sizeof(welcome));
}

void daemon_welcome(struct scripted_daemon *daemon, uint32_t max_updates_in_flight)
{
	struct wire_welcome welcome;

	daemon_receive_hello(daemon);
	welcome = daemon_make_welcome(daemon, max_updates_in_flight);
	welcome.role = WIRE_ROLE_AGENT;
	welcome.vtl = 1;
	strcpy(welcome.vm, "win");
	daemon_send(daemon, &welcome, sizeof(welcome));
}

void daemon_send_notice(struct scripted_daemon *daemon, uint16_t type, uint64_t id,
			enum kvmattr_status status, bool closing, const char *text)
{
	struct wire_notice notice = { .header = wire_header_make(type, sizeof(notice), id),
				      .status = status,
				      .closing = closing };

	snprintf(notice.text, sizeof(notice.text), "%s", text);
	daemon_send(daemon, &notice, sizeof(notice));
}

void daemon_send_answer(struct scripted_daemon *daemon, uint64_t seqno, uint64_t commit,
			const struct wire_failure *failures, uint32_t n_failures)
{
	size_t size = sizeof(struct wire_answer) + n_failures * sizeof(*failures);
	struct wire_answer answer = { .header = wire_header_make(WIRE_ANSWER, size, seqno),
				      .commit = commit,
				      .n_failures = n_failures };
	uint8_t message[WIRE_MAX_MESSAGE];

	memcpy(message, &answer, sizeof(answer));
	if (n_failures)
		memcpy(message + sizeof(answer), failures, n_failures * sizeof(*failures));
	daemon_send(daemon, message, size);
}

void daemon_send_registered(struct scripted_daemon *daemon, uint64_t id, uint32_t n_views,
			    const uint8_t *vtls, enum kvmattr_abi abi, enum wire_executor executor)
{
	struct {
		struct wire_registered head;
		struct wire_view views[KVMATTR_N_VTLS];
	} message = { .head = { .executor = executor, .n_views = n_views } };
	size_t size = sizeof(message.head) + n_views * sizeof(message.views[0]);

	message.head.header = wire_header_make(WIRE_REGISTERED, size, id);
	for (uint32_t i = 0; i < n_views; i++)
		message.views[i] =
			(struct wire_view){ .vtl = vtls[i], .abi = (uint8_t)abi, .supported = 0xf };
	daemon_send(daemon, &message, size);
}

static struct wire_resume get_resume(const struct scripted_daemon *daemon)
{
	struct wire_resume resume;

	MUST(daemon->header.type == WIRE_RESUME);
	MUST(!wire_get_resume(daemon->message, daemon->header.size, &resume));
	MUST(resume.session == DAEMON_SESSION);
	MUST(!memcmp(resume.token, daemon_token, sizeof(resume.token)));
	return resume;
}

static struct wire_resume take_resume(struct scripted_daemon *daemon, uint32_t n_views)
{
	struct wire_resume resume = get_resume(daemon);
	struct wire_view views[KVMATTR_N_VTLS];

	MUST(resume.restarted == daemon->life);
	MUST(resume.n_views == n_views);
	for (uint32_t i = 0; i < n_views; i++)
		MUST(!wire_at_resume_view(daemon->message, i, &views[i]));
	MUST(daemon->fds.n == (n_views ? 1 + n_views + wire_count_stats(views, n_views) : 0));
	if (n_views) {
		if (daemon->executor >= 0)
			close(daemon->executor);
		daemon->executor = seqpacket_fds_take(&daemon->fds, 0);
	}
	return resume;
}

struct wire_resume daemon_receive_resume(struct scripted_daemon *daemon, uint32_t n_views)
{
	MUST(daemon_receive_any(daemon, daemon->peer));
	return take_resume(daemon, n_views);
}

void daemon_send_owner_resumed(struct scripted_daemon *daemon, uint64_t settled, uint32_t n_views,
			       const uint8_t *vtls, enum kvmattr_abi abi,
			       enum wire_executor executor)
{
	struct {
		struct wire_resumed head;
		struct wire_view views[KVMATTR_N_VTLS];
	} message = { .head = { .settled = settled, .executor = executor, .n_views = n_views } };
	size_t size = sizeof(message.head) + n_views * sizeof(message.views[0]);

	message.head.header = wire_header_make(WIRE_RESUMED, size, daemon->header.id);
	for (uint32_t i = 0; i < n_views; i++)
		message.views[i] =
			(struct wire_view){ .vtl = vtls[i], .abi = (uint8_t)abi, .supported = 0xf };
	daemon_send(daemon, &message, size);
}

void daemon_send_resumed(struct scripted_daemon *daemon, uint64_t settled)
{
	daemon_send_owner_resumed(daemon, settled, 0, NULL, KVMATTR_ABI_PROBE,
				  (enum wire_executor)0);
}

struct wire_resume daemon_welcome_back(struct scripted_daemon *daemon, uint32_t n_views)
{
	daemon->life = 0;
	daemon_accept(daemon);
	daemon_welcome_nobody(daemon, DAEMON_WINDOW);
	return daemon_receive_resume(daemon, n_views);
}

void daemon_send_restarted(struct scripted_daemon *daemon)
{
	struct wire_restarted restarted = {
		.header = wire_header_make(WIRE_RESTARTED, sizeof(restarted), ++daemon->life)
	};

	daemon_send(daemon, &restarted, sizeof(restarted));
}

struct wire_resume daemon_restart(struct scripted_daemon *daemon)
{
	unsigned int type;

	daemon_send_restarted(daemon);
	/* A RESUME may be the answer to the life before, which did not read it. */
	do
		type = daemon_receive_any(daemon, daemon->peer);
	while (type && (type != WIRE_RESUME || get_resume(daemon).restarted != daemon->life));
	return take_resume(daemon, 0);
}

void daemon_probe(struct scripted_daemon *daemon, uint32_t n_targets,
		  struct wire_probe_result *ret_results)
{
	struct wire_probe probe = { .header = wire_header_make(WIRE_PROBE, sizeof(probe), 11),
				    .n_targets = n_targets };
	struct iovec part = { &probe, sizeof(probe) };
	struct wire_probed probed;

	MUST(!seqpacket_send(daemon->executor, &part, 1, NULL, 0, 0));
	daemon_receive_from(daemon, daemon->executor, WIRE_PROBED);
	MUST(daemon->header.id == 11);
	MUST(!wire_get_probed(daemon->message, daemon->header.size, &probed));
	MUST(probed.n_targets == n_targets);
	for (uint32_t i = 0; i < n_targets; i++)
		MUST(!wire_at_probe_result(daemon->message, i, &ret_results[i]));
}

struct wire_called daemon_call(struct scripted_daemon *daemon, const struct wire_call *calls,
			       uint32_t n_calls)
{
	size_t size = sizeof(struct wire_calls) + n_calls * sizeof(*calls);
	struct wire_calls head = { .header = wire_header_make(WIRE_CALLS, size, 12),
				   .n_calls = n_calls };
	struct iovec parts[] = { { &head, sizeof(head) },
				 { (void *)calls, n_calls * sizeof(*calls) } };
	struct wire_called called;

	MUST(!seqpacket_send(daemon->executor, parts, 2, NULL, 0, 0));
	daemon_receive_from(daemon, daemon->executor, WIRE_CALLED);
	MUST(daemon->header.id == 12);
	MUST(!wire_get_called(daemon->message, daemon->header.size, &called));
	return called;
}
