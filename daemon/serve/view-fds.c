/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "view-fds.h"

#include "daemon/allocate.h"
#include "executor-link.h"
#include "thread.h"
#include "vm-fd.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((format(printf, 4, 5))) static enum kvmattr_status refuse(char *text,
									size_t text_size,
									enum kvmattr_status status,
									const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, text_size, format, arguments);
	va_end(arguments);
	return status;
}

static bool has_fd(const struct hosted_vm *hosted, int fd)
{
	for (unsigned int i = 0; i < hosted->n_views; i++)
		if (hosted->view_fds[i] >= 0 && vm_fd_is_same(hosted->view_fds[i], fd))
			return true;
	return false;
}

bool view_fds_has_any(const struct hosted_vm *hosted, const struct seqpacket_fds *fds)
{
	for (size_t i = 0; i < fds->n; i++)
		if (has_fd(hosted, fds->fd[i]))
			return true;
	return false;
}

static const struct hosted_vm *find_by_fd(const struct daemon *daemon, int fd)
{
	const struct hosted_vm *hosted;

	LIST_FOREACH (hosted, &daemon->vms, list)
		if (has_fd(hosted, fd))
			return hosted;
	LIST_FOREACH (hosted, &daemon->released_vms, list)
		if (executor_link_has_calls(hosted->executor) && has_fd(hosted, fd))
			return hosted;
	return NULL;
}

static enum kvmattr_status check_vms(const struct daemon *daemon, const struct wire_view *views,
				     unsigned int n, const int *fds, bool *ret_is_simulated,
				     char *text, size_t size)
{
	enum vm_fd_kind first = VM_FD_NONE;
	unsigned int vtls = 0;

	for (unsigned int i = 0; i < n; i++) {
		char why[160];
		const struct hosted_vm *other;
		enum vm_fd_kind kind = vm_fd_identify(fds[i], why, sizeof(why));

		if (vtls >> views[i].vtl & 1)
			return refuse(text, size, KVMATTR_INVALID_PARAMETER, "VTL %u has two views",
				      views[i].vtl);
		vtls |= 1u << views[i].vtl;
		if (kind != VM_FD_KVM && kind != VM_FD_SIMULATED)
			return refuse(text, size, KVMATTR_NOT_A_VM,
				      "the fd for VTL %u is no VM (anon_inode:kvm-vm): %s",
				      views[i].vtl, why);
		if (kind == VM_FD_SIMULATED && !daemon->allow_simulated)
			return refuse(
				text, size, KVMATTR_NOT_A_VM,
				"the fd for VTL %u is a simulated VM, which this daemon takes only "
				"with --allow-simulated",
				views[i].vtl);
		if (i && kind != first)
			return refuse(text, size, KVMATTR_INVALID_PARAMETER,
				      "the views are partly simulated");
		first = kind;
		other = find_by_fd(daemon, fds[i]);
		if (other)
			return refuse(
				text, size, KVMATTR_VM_EXISTS,
				other->is_released
					? "the VM of VTL %u was '%s', whose executor still makes calls: "
					  "close that registration's executor and try again"
					: "the VM of VTL %u is registered already, as '%s'",
				views[i].vtl, other->name);
		for (unsigned int j = 0; j < i; j++)
			if (vm_fd_is_same(fds[i], fds[j]))
				return refuse(text, size, KVMATTR_INVALID_PARAMETER,
					      "VTL %u and VTL %u have the same VM", views[j].vtl,
					      views[i].vtl);
	}
	if (!(vtls & 1))
		return refuse(text, size, KVMATTR_INVALID_PARAMETER, "there is no view of VTL 0");
	*ret_is_simulated = first == VM_FD_SIMULATED;
	return KVMATTR_OK;
}

static enum kvmattr_status check_statistics(const struct wire_view *views, unsigned int n,
					    const int *fds, char *text, size_t size)
{
	for (unsigned int i = 0; i < n; i++) {
		char why[160];

		if (views[i].has_stats &&
		    vm_fd_identify(*fds++, why, sizeof(why)) != VM_FD_STATISTICS)
			return refuse(
				text, size, KVMATTR_INVALID_PARAMETER,
				"view.has_stats: the second fd for VTL %u holds no statistics of a "
				"VM (anon_inode:kvm-vm-stats): %s",
				views[i].vtl, why);
	}
	return KVMATTR_OK;
}

const char *view_fds_check_number(const struct wire_view *views, unsigned int n,
				  const struct seqpacket_fds *fds)
{
	return fds->n == 1 + n + wire_count_stats(views, n) && vm_fd_is_seqpacket(fds->fd[0])
		       ? NULL
		       : "file descriptors (an executor's SOCK_SEQPACKET socket, then one VM for "
			 "each view, then the statistics of each that has them)";
}

enum kvmattr_status view_fds_check(const struct daemon *daemon, const struct wire_view *views,
				   unsigned int n, const struct seqpacket_fds *fds,
				   bool *ret_is_simulated, char *text, size_t size)
{
	enum kvmattr_status status =
		check_vms(daemon, views, n, fds->fd + 1, ret_is_simulated, text, size);

	return status ? status : check_statistics(views, n, fds->fd + 1 + n, text, size);
}

int view_fds_take(struct hosted_vm *hosted, const struct wire_view *views,
		  struct seqpacket_fds *fds)
{
	size_t next_stats = 1 + hosted->n_views;

	for (unsigned int i = 0; i < hosted->n_views; i++) {
		hosted->view_fds[i] = seqpacket_fds_take(fds, 1 + i);
		if (views[i].has_stats)
			hosted->stats_fds[i] = seqpacket_fds_take(fds, next_stats++);
	}
	return seqpacket_fds_take(fds, 0);
}

struct closing {
	unsigned int n;
	int fds[2 * KVMATTR_N_VTLS];
};

static void *close_all(void *argument)
{
	struct closing *closing = argument;

	while (closing->n)
		close(closing->fds[--closing->n]);
	free(closing);
	return NULL;
}

static void add(struct closing *closing, int *fd)
{
	if (*fd >= 0)
		closing->fds[closing->n++] = *fd;
	*fd = -1;
}

/*
 * The last descriptor of a VM whose VMM is dead is the end of the guest: KVM frees all of its
 * memory within close(), which nobody else is to wait for.
 */
void view_fds_close(struct hosted_vm *hosted)
{
	struct closing *closing = allocate_one(struct closing);

	for (unsigned int i = 0; i < KVMATTR_N_VTLS; i++) {
		add(closing, &hosted->view_fds[i]);
		add(closing, &hosted->stats_fds[i]);
	}
	if (!closing->n || thread_start(close_all, closing, NULL) < 0)
		close_all(closing);
}
