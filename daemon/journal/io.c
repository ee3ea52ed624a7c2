/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int open_at(int directory_fd, const char *name, int flags, mode_t mode)
{
	return openat(directory_fd, name, flags, mode);
}

struct journal_io journal_io = {
	.mkdirat = mkdirat,
	.openat = open_at,
	.renameat2 = renameat2,
	.unlinkat = unlinkat,
	.fstat = fstat,
	.pread = pread,
	.pwrite = pwrite,
	.ftruncate = ftruncate,
	.fdatasync = fdatasync,
	.fsync = fsync,
};

int journal_io_write(int fd, const void *data, size_t size, uint64_t offset)
{
	const uint8_t *bytes = data;

	while (size > 0) {
		ssize_t n = journal_io.pwrite(fd, bytes, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		bytes += n;
		size -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

ssize_t journal_io_read(int fd, void *buffer, size_t size, uint64_t offset)
{
	uint8_t *bytes = buffer;
	size_t n_read = 0;

	while (n_read < size) {
		ssize_t n = journal_io.pread(fd, bytes + n_read, size - n_read,
					     (off_t)(offset + n_read));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		n_read += (size_t)n;
	}
	return (ssize_t)n_read;
}
