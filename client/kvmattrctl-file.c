/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/kvmattrctl-file.h"

#include "client/kvmattrctl-terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_all(int fd, uint8_t **ret, size_t *ret_size)
{
	struct stat status;
	size_t n = 0, size;
	uint8_t *data;

	if (fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	size = (size_t)status.st_size;
	data = terminal_there(malloc(size ? size : 1));
	while (n < size) {
		ssize_t got = read(fd, data + n, size - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			int error = got < 0 ? errno : EIO;

			free(data);
			return -error;
		}
		n += (size_t)got;
	}
	*ret = data;
	*ret_size = size;
	return 0;
}

int file_read(const char *path, uint8_t **ret, size_t *ret_size)
{
	/* a FIFO would keep us waiting */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int r;

	if (fd < 0)
		return -errno;
	r = read_all(fd, ret, ret_size);
	close(fd);
	return r;
}

static int write_all(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		size -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int sync_directory(const char *path)
{
	char *copy = terminal_there(strdup(path));
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

	if (fd < 0 || fsync(fd) < 0)
		r = -errno;
	if (fd >= 0)
		close(fd);
	free(copy);
	return r;
}

/* flags of renameat2(); mode 0: for nobody else */
static int make_file(const char *path, const uint8_t *data, size_t size, mode_t mode,
		     unsigned int flags)
{
	char *unfinished = NULL;
	int fd, r;

	if (asprintf(&unfinished, "%s.XXXXXX", path) < 0)
		terminal_there(NULL);
	fd = mkostemp(unfinished, O_CLOEXEC);
	if (fd < 0) {
		r = -errno;
		free(unfinished);
		return r;
	}
	r = write_all(fd, data, size);
	if (!r && mode && fchmod(fd, mode) < 0)
		r = -errno;
	if (close(fd) < 0 && !r)
		r = -errno;
	if (!r && renameat2(AT_FDCWD, unfinished, AT_FDCWD, path, flags) < 0)
		r = -errno;
	if (r < 0)
		unlink(unfinished);
	else
		r = sync_directory(path);
	free(unfinished);
	return r;
}

int file_make(const char *path, const uint8_t *data, size_t size)
{
	return make_file(path, data, size, 0, RENAME_NOREPLACE);
}

int file_replace(const char *path, const uint8_t *data, size_t size)
{
	struct stat status;
	mode_t mask = umask(0);

	umask(mask);
	if (lstat(path, &status) == 0 && !S_ISREG(status.st_mode))
		return -EEXIST;
	return make_file(path, data, size, 0666 & ~mask, 0);
}
