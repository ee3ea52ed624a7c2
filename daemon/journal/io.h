/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The system calls that a journal makes, in a table: a test puts its own there, to see what
 * happens when they fail.
 */
#ifndef KVMATTRD_JOURNAL_IO_H
#define KVMATTRD_JOURNAL_IO_H

#include <sys/stat.h>
#include <sys/types.h>

struct journal_io {
	int (*mkdirat)(int directory_fd, const char *name, mode_t mode);
	int (*openat)(int directory_fd, const char *name, int flags, mode_t mode);
	int (*renameat2)(int old_directory_fd, const char *old_name, int new_directory_fd,
			 const char *new_name, unsigned int flags);
	int (*unlinkat)(int directory_fd, const char *name, int flags);
	int (*fstat)(int fd, struct stat *ret);
	ssize_t (*pread)(int fd, void *buffer, size_t size, off_t offset);
	ssize_t (*pwrite)(int fd, const void *data, size_t size, off_t offset);
	int (*ftruncate)(int fd, off_t size);
	int (*fdatasync)(int fd);
	int (*fsync)(int fd);
};

/* The kernel's, until a test changes it; not while a journal is in use in another thread. */
extern struct journal_io journal_io;

#endif
