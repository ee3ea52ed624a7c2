/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's directories: made if missing, and held by one daemon at a time.
 *
 * A lock file says whose a directory is.  Only who holds the lock removes a socket that an earlier
 * daemon left behind, so a second daemon can never take the first one's away; nor is a socket
 * removed on which somebody else listens, as systemd does for a service that it has not started
 * yet.
 */
#ifndef KVMATTRD_DIRECTORIES_H
#define KVMATTRD_DIRECTORIES_H

#include <sys/types.h>

/*
 * Makes path, with this mode, unless it is there, and locks it for this process.  Returns a file
 * descriptor to keep open for as long, or a negative errno, which has been logged.
 */
__attribute__((warn_unused_result)) int directory_hold(const char *path, mode_t mode);

/* Who may connect to a socket. */
struct directory_access {
	mode_t mode;
	gid_t group; /* of the file; -1: as the kernel has it */
};

/*
 * Listens on a socket of that type (SOCK_SEQPACKET, SOCK_STREAM) at path/name, in a directory
 * that is held.  A socket that is there is replaced, unless somebody listens on it.  Returns the
 * socket, or a negative errno, which has been logged.
 */
__attribute__((warn_unused_result)) int directory_listen(const char *path, const char *name,
							 int type,
							 const struct directory_access *access);
/* Removes the socket file. */
void directory_remove_socket(const char *path, const char *name);

#endif
