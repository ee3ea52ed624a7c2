/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm-fd.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef F_DUPFD_QUERY
#define F_DUPFD_QUERY 1027 /* Linux 6.10; bookworm's headers do not know it */
#endif

enum vm_fd_kind vm_fd_identify(int fd, char *text, size_t text_size)
{
	char link[32], name[128];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name, sizeof(name) - 1);
	if (n < 0) {
		snprintf(text, text_size, "cannot tell what it is: /proc is not readable");
		return VM_FD_NONE;
	}
	name[n] = '\0';
	for (char *c = name; *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
	snprintf(text, text_size, "it is '%s'", name);
	/* kvm_create_vm() in virt/kvm/kvm_main.c: anon_inode_getfile("kvm-vm", …). */
	if (!strcmp(name, "anon_inode:kvm-vm"))
		return VM_FD_KVM;
	/* kvm_vm_ioctl_get_stats_fd() in the same file. */
	if (!strcmp(name, "anon_inode:kvm-vm-stats"))
		return VM_FD_STATISTICS;
	/* memfd_create() in mm/memfd.c: a file without a link, so the kernel calls it deleted. */
	if (!strcmp(name, "/memfd:kvmattr-simvm (deleted)"))
		return VM_FD_SIMULATED;
	return VM_FD_NONE;
}

bool vm_fd_is_same(int one, int other)
{
	int r = fcntl(one, F_DUPFD_QUERY, other);
	pid_t self;

	if (r >= 0)
		return r;
	/* Older kernels can tell as well, in several times as long, if they were built so. */
	self = getpid();
	return syscall(SYS_kcmp, self, self, KCMP_FILE, one, other) == 0;
}

bool vm_fd_is_seqpacket(int fd)
{
	int domain, type;
	socklen_t size = sizeof(int);

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) && domain == AF_UNIX &&
	       !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_SEQPACKET;
}
