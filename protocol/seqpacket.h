/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whole messages with file descriptors over a SOCK_SEQPACKET socket.
 *
 * The one place that calls sendmsg() and recvmsg(), so that no descriptor is leaked, none is
 * inherited across exec, and a message that does not fit is an error instead of a shorter message.
 */
#ifndef KVMATTR_SEQPACKET_H
#define KVMATTR_SEQPACKET_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

/* As many descriptors as the kernel lets one message carry (SCM_MAX_FD): none is ever cut off. */
#define SEQPACKET_MAX_FDS 253

struct seqpacket_fds {
	size_t n;
	int fd[SEQPACKET_MAX_FDS];
};

/*
 * Sends one message of n_parts parts, with n_fds descriptors, which stay the caller's.
 * flags: MSG_DONTWAIT or 0.  Returns 0, or -EAGAIN, -EPIPE, -EMSGSIZE and the like.
 */
__attribute__((warn_unused_result)) int seqpacket_send(int socket, const struct iovec *parts,
						       size_t n_parts, const int *fds, size_t n_fds,
						       int flags);

/*
 * Receives one message.  The descriptors that came with it are the caller's from then on
 * (seqpacket_fds_close()); there are none unless the result is positive.  Returns the message's
 * size in bytes; 0 when the peer has closed and all that it said is received; -EAGAIN; -EMSGSIZE
 * for a message larger than the buffer; -EBADMSG for an empty one; -EMFILE where this process may
 * not open so many descriptors as came with it (the message is lost).
 */
__attribute__((warn_unused_result)) ssize_t seqpacket_receive(int socket, void *buffer, size_t size,
							      struct seqpacket_fds *ret_fds,
							      int flags);

/* Takes out the i-th descriptor: it is the caller's, and seqpacket_fds_close() leaves it alone. */
int seqpacket_fds_take(struct seqpacket_fds *fds, size_t i);
/* Closes those that were not taken. */
void seqpacket_fds_close(struct seqpacket_fds *fds);

#endif
