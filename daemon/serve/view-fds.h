/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file descriptors that an owner brings for its views, when it registers a VM and when it comes
 * back to one: is every one of them a VM of its own, or KVM's statistics of one?
 *
 * What reads from a descriptor of statistics relies on this: a file of any other kind could have
 * the daemon wait for ever.
 */
#ifndef KVMATTRD_VIEW_FDS_H
#define KVMATTRD_VIEW_FDS_H

#include "daemon.h"
#include "protocol/seqpacket.h"

/* Is there an executor's socket, and then as many as these views say?  Else what is wrong. */
const char *view_fds_check_number(const struct wire_view *views, unsigned int n,
				  const struct seqpacket_fds *fds);
/*
 * Are they VMs, all real or all simulated, that nobody else has registered, each with a VTL of its
 * own, VTL 0 among them; and then statistics?  Otherwise text says what is wrong.
 */
__attribute__((warn_unused_result)) enum kvmattr_status view_fds_check(
	const struct daemon *daemon, const struct wire_view *views, unsigned int n,
	const struct seqpacket_fds *fds, bool *ret_is_simulated, char *text, size_t text_size);
/* Takes them out of fds: they are the hosted VM's; and returns the executor's socket. */
__attribute__((warn_unused_result)) int view_fds_take(struct hosted_vm *hosted,
						      const struct wire_view *views,
						      struct seqpacket_fds *fds);
/* Is any of these a VM of a view of this one? */
bool view_fds_has_any(const struct hosted_vm *hosted, const struct seqpacket_fds *fds);
/* Closes them, all that there are. */
void view_fds_close(struct hosted_vm *hosted);

#endif
