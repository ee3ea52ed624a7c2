/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is a file descriptor that a peer sent a VM, or KVM's statistics of one, and is it a VM that is
 * registered already?
 */
#ifndef KVMATTRD_VM_FD_H
#define KVMATTRD_VM_FD_H

#include <stdbool.h>
#include <stddef.h>

enum vm_fd_kind { VM_FD_NONE, VM_FD_KVM, VM_FD_SIMULATED, VM_FD_STATISTICS };

/*
 * What fd is, by the name that the kernel gives it, which text says.  A simulated VM is a memfd
 * named "kvmattr-simvm".  Nothing is asked of fd itself, which may be a file that never answers.
 */
enum vm_fd_kind vm_fd_identify(int fd, char *text, size_t text_size);
/* Are both the same open file?  false where the kernel cannot tell. */
bool vm_fd_is_same(int one, int other);
/* Is it one end of a UNIX SOCK_SEQPACKET pair? */
bool vm_fd_is_seqpacket(int fd);

#endif
