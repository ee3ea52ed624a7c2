/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The system calls that a journal makes, in a table: a test puts its own there, to see what
 * happens when they fail.  Beside it, reading and writing all of something with them.
 */
#ifndef KVMATTRD_JOURNAL_IO_H
#define KVMATTRD_JOURNAL_IO_H

#include <stdint.h>
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

/* Writes size bytes.  0 or a negative errno; then some of them may be there. */
__attribute__((warn_unused_result)) int journal_io_write(int fd, const void *data, size_t size,
							 uint64_t offset);
/* Reads size bytes, fewer only where the file ends.  Their number, or a negative errno. */
__attribute__((warn_unused_result)) ssize_t journal_io_read(int fd, void *buffer, size_t size,
							    uint64_t offset);

#endif
