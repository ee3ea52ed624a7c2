/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "seqpacket.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SCM_PIDFD
#define SCM_PIDFD 4 /* Linux 6.5; bookworm's libc does not know it */
#endif

union control {
	struct cmsghdr header; /* for alignment */
	char bytes[CMSG_SPACE(SEQPACKET_MAX_FDS * sizeof(int))];
};

int seqpacket_send(int socket, const struct iovec *parts, size_t n_parts, const int *fds,
		   size_t n_fds, int flags)
{
	union control control;
	struct msghdr message = { .msg_iov = (struct iovec *)parts, .msg_iovlen = n_parts };
	ssize_t n;

	assert(n_fds <= SEQPACKET_MAX_FDS);
	if (n_fds) {
		struct cmsghdr *header;

		memset(&control, 0, sizeof(control));
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
	}
	do
		n = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/*
 * The sender's pidfd, installed here because somebody set SO_PASSPIDFD: whoever made the socket
 * and handed it to us can, at any time.
 */
static void close_pidfd(struct cmsghdr *header)
{
	int pidfd;

	memcpy(&pidfd, CMSG_DATA(header), sizeof(pidfd));
	if (pidfd >= 0)
		close(pidfd);
}

/* Every descriptor in the message becomes ours, whatever the kind of message. */
static void collect_fds(struct msghdr *message, struct seqpacket_fds *fds)
{
	struct cmsghdr *header;

	for (header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
		size_t n;

		if (header->cmsg_level != SOL_SOCKET)
			continue;
		if (header->cmsg_type == SCM_PIDFD && header->cmsg_len >= CMSG_LEN(sizeof(int)))
			close_pidfd(header);
		if (header->cmsg_type != SCM_RIGHTS)
			continue;
		n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		assert(fds->n + n <= SEQPACKET_MAX_FDS);
		memcpy(fds->fd + fds->n, CMSG_DATA(header), n * sizeof(int));
		fds->n += n;
	}
}

static ssize_t receive_once(int socket, void *buffer, size_t size, struct seqpacket_fds *fds,
			    int flags)
{
	union control control;
	struct iovec part = { buffer, size };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);

	fds->n = 0;
	if (n < 0)
		return -errno;
	collect_fds(&message, fds);
	if (n == 0 || message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		seqpacket_fds_close(fds);
	/* There is room for all that a message can carry: only their numbers can be lacking. */
	if (message.msg_flags & MSG_CTRUNC)
		return -EMFILE;
	return message.msg_flags & MSG_TRUNC ? -EMSGSIZE : n;
}

ssize_t seqpacket_receive(int socket, void *buffer, size_t size, struct seqpacket_fds *ret_fds,
			  int flags)
{
	bool is_end = false;

	for (;;) {
		ssize_t n = receive_once(socket, buffer, size, ret_fds, flags);

		/* A peer that closes with our messages unread: told once, before what it said. */
		if (n == -EINTR || n == -ECONNRESET)
			continue;
		if (n == -EAGAIN && is_end)
			return -EBADMSG;
		if (n || is_end)
			return n;
		/*
		 * When the last message and the end come just after the queue was found empty, the end
		 * is told first (unix_dgram_recvmsg() in net/unix/af_unix.c): only the second time is
		 * it the end.  An empty message looks the same the first time.
		 */
		is_end = true;
		flags |= MSG_DONTWAIT;
	}
}

int seqpacket_fds_take(struct seqpacket_fds *fds, size_t i)
{
	int fd;

	assert(i < fds->n);
	fd = fds->fd[i];
	fds->fd[i] = -1;
	return fd;
}

void seqpacket_fds_close(struct seqpacket_fds *fds)
{
	for (size_t i = 0; i < fds->n; i++)
		if (fds->fd[i] >= 0)
			close(fds->fd[i]);
	fds->n = 0;
}
