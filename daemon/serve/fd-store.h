/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The service manager's store of file descriptors: what keeps a restart of the daemon from being
 * noticed.
 *
 * systemd holds on to the descriptors that it is sent, each under a name, while it starts the daemon
 * again, and hands them to the next one (sd_pid_notify_with_fds(3), FileDescriptorStoreMax= in
 * systemd.service(5)).  So a peer's connection does not end with the process at its other end, and a
 * connection that nobody accepts waits.  Sockets of socket units come in by the same door.
 *
 * Nothing relies on it.  What is sent is not confirmed, and systemd closes without a word what it has
 * no room for; so whoever takes a descriptor has to do without it as well, and whatever comes back
 * is looked at before it is used.  Outside of a service manager nothing is kept.
 *
 * Descriptors that are no sockets travel in an envelope: a socket in which they lie as a message.
 * Where the kernel has no kcmp(), systemd tells files apart by their inode, and all of KVM's have the
 * same one (same_fd() in its src/basic/fd-util.c): of two views it would keep the first.
 *
 * All names of a VM begin with that of its journal and a slash.  A name has 1 to 200 printable ASCII
 * characters other than ':'.  NULL for the store is fine everywhere: then there is none.
 */
#ifndef KVMATTRD_FD_STORE_H
#define KVMATTRD_FD_STORE_H

#include "vm-fd.h"

#include <stdbool.h>

struct fd_store;

/* Takes in all that the manager handed over.  NULL if there is no manager and nothing came. */
struct fd_store *fd_store_new(void);
/* Closes what was not taken.  What the manager keeps it keeps. */
void fd_store_free(struct fd_store *store);
/* Will the manager hand to the next daemon what this one has it keep? */
bool fd_store_outlives_us(const struct fd_store *store);

/*
 * Has the manager keep a duplicate of fd, which stays the caller's, under that name, instead of what
 * it kept under it before; a socket that it keeps there already it goes on keeping.  If that cannot
 * be had, the log says so.
 */
void fd_store_keep(struct fd_store *store, const char *name, int fd);
/* Has the manager let go of what it keeps under that name. */
void fd_store_forget(struct fd_store *store, const char *name);
/* Of all that belongs to the VM with that journal, what came back and was not taken included. */
void fd_store_forget_vm(struct fd_store *store, const char *journal);

/*
 * What came back under that name and is what it is to be; the caller's from then on, close-on-exec,
 * and kept by the manager as before.  -1: nothing did.  Something else under that name is closed
 * and forgotten, and the log says so.
 *
 * A connected UNIX SOCK_SEQPACKET socket, non-blocking.  Its other end may be closed.
 */
__attribute__((warn_unused_result)) int fd_store_take(struct fd_store *store, const char *name);
/* A VM, or statistics, of that kind. */
__attribute__((warn_unused_result)) int fd_store_take_vm(struct fd_store *store, const char *name,
							 enum vm_fd_kind kind);
/* A UNIX socket of that type, non-blocking, that listens at path, where a socket is. */
__attribute__((warn_unused_result)) int fd_store_take_listener(struct fd_store *store,
							       const char *name, int type,
							       const char *path);
/* The end of recovery: what nobody took is closed and forgotten, and the log says so. */
void fd_store_forget_untaken(struct fd_store *store);

#endif
