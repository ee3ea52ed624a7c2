/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file descriptors that an owner brings for its views, when it registers a VM and when it comes
 * back to one: is every one of them a VM of its own?
 */
#ifndef KVMATTRD_VIEW_FDS_H
#define KVMATTRD_VIEW_FDS_H

#include "daemon.h"

/*
 * Are they VMs, all real or all simulated, that nobody else has registered, each with a VTL of its
 * own, VTL 0 among them?  Otherwise text says what is wrong.
 */
__attribute__((warn_unused_result)) enum kvmattr_status view_fds_check(
	const struct daemon *daemon, const struct wire_view *views, unsigned int n, const int *fds,
	bool *ret_is_simulated, char *text, size_t text_size);

#endif
