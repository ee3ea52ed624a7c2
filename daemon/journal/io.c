/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io.h"

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
