/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VTL 1's agent: see vsm-agent.h. */
#include "vsm-agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define AGENT_VTL 1

/* ---- In the agent's process ---------------------------------------------------------------- */

static int agent_receive_fd(int socket)
{
	char byte;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.room,
		.msg_controllen = sizeof(control.room),
	};
	struct cmsghdr *c;
	int fd;

	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1)
		return -EPIPE;
	c = CMSG_FIRSTHDR(&message);
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* The library's calls by name: this is what an agent looks like. */
static void agent_serve(struct kvmattr *vtl1, const struct agent_request *request,
			struct agent_answer *ret_answer)
{
	size_t n_in_force = 0;
	int r = -EINVAL;

	switch (request->kind) {
	case KVMATTR_ENABLE_LAYER:
		r = kvmattr_enable_layer(vtl1, AGENT_VTL, request->value, 0);
		break;
	case KVMATTR_RESET_LAYER:
		r = kvmattr_reset_layer(vtl1, AGENT_VTL);
		break;
	case KVMATTR_PROTECT:
		if (request->n_pages)
			r = kvmattr_protect(vtl1, AGENT_VTL, KVMATTR_ALL_LOWER, request->value,
					    request->gfns, request->n_pages, &n_in_force);
		else
			r = kvmattr_protect_ranges(vtl1, AGENT_VTL, KVMATTR_ALL_LOWER,
						   request->value, request->ranges,
						   request->n_ranges, &n_in_force);
		break;
	case KVMATTR_SET_VISIBILITY:
		r = kvmattr_set_visibility(vtl1, request->value, request->ranges, request->n_ranges,
					   &n_in_force);
		break;
	}
	*ret_answer = (struct agent_answer){ .status = r, .n_in_force = n_in_force };
	snprintf(ret_answer->text, sizeof(ret_answer->text), "%s", kvmattr_message(vtl1));
}

static int agent_main(int socket)
{
	struct agent_request request;
	struct agent_answer answer;
	struct kvmattr *vtl1;
	int fd = agent_receive_fd(socket), r;

	if (fd < 0)
		return EXIT_FAILURE;
	r = kvmattr_adopt(fd, "vsm-vmm VTL 1", &vtl1);
	if (r) {
		fprintf(stderr, "vsm-vmm: the agent's socket cannot be adopted: %s\n",
			kvmattr_message(NULL));
		return EXIT_FAILURE;
	}
	while (recv(socket, &request, sizeof(request), 0) == sizeof(request)) {
		agent_serve(vtl1, &request, &answer);
		if (send(socket, &answer, sizeof(answer), MSG_NOSIGNAL) != sizeof(answer))
			break;
	}
	kvmattr_close(vtl1);
	return EXIT_SUCCESS;
}

/* ---- In the VMM ---------------------------------------------------------------------------- */

int agent_start(struct agent *ret_agent)
{
	int sockets[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return -errno;
	pid = fork();
	if (pid < 0) {
		int error = errno;

		close(sockets[0]);
		close(sockets[1]);
		return -error;
	}
	if (pid == 0) {
		close(sockets[0]);
		_exit(agent_main(sockets[1]));
	}
	close(sockets[1]);
	*ret_agent = (struct agent){ .pid = pid, .socket = sockets[0] };
	return 0;
}

void agent_stop(struct agent *agent)
{
	if (agent->pid <= 0)
		return;
	close(agent->socket);
	waitpid(agent->pid, NULL, 0);
	agent->pid = 0;
}

int agent_hand_over(const struct agent *agent, int fd)
{
	char byte = 0;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.room,
		.msg_controllen = sizeof(control.room),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(agent->socket, &message, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

int agent_send(const struct agent *agent, const struct agent_request *request)
{
	return send(agent->socket, request, sizeof(*request), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int agent_receive(const struct agent *agent, struct agent_answer *ret_answer)
{
	ssize_t n = recv(agent->socket, ret_answer, sizeof(*ret_answer), 0);

	if (n < 0)
		return -errno;
	return n == sizeof(*ret_answer) ? 0 : -EPIPE; /* 0 bytes: the agent has ended */
}
