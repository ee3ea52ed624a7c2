/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "directories.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LOCK_FILE "kvmattrd.lock"

static int lock(const char *directory, const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	char pid[16] = "";
	ssize_t n;
	int r;

	if (fd < 0) {
		r = -errno;
		log_write(LOG_LEVEL_ERROR,
			  "cannot open %s: %s; is the directory writable for this user?", path,
			  strerror(-r));
		return r;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		r = -errno;
		n = pread(fd, pid, sizeof(pid) - 1, 0);
		pid[n > 0 ? n : 0] = '\0';
		pid[strcspn(pid, "\n")] = '\0';
		log_write(
			LOG_LEVEL_ERROR,
			"another kvmattrd (PID %s) holds %s; stop it, or give this one a directory of "
			"its own",
			*pid ? pid : "unknown", directory);
		close(fd);
		return r;
	}
	snprintf(pid, sizeof(pid), "%d\n", getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, strlen(pid), 0) < 0)
		log_write(LOG_LEVEL_WARNING, "cannot write %s: %s", path, strerror(errno));
	return fd;
}

int directory_hold(const char *path, mode_t mode)
{
	char *lock_path;
	int r;

	if (mkdir(path, mode) < 0 && errno != EEXIST) {
		r = -errno;
		log_write(LOG_LEVEL_ERROR, "cannot make the directory %s: %s", path, strerror(-r));
		return r;
	}
	if (asprintf(&lock_path, "%s/" LOCK_FILE, path) < 0)
		return -ENOMEM;
	r = lock(path, lock_path);
	free(lock_path);
	return r;
}

static int listen_at(const struct sockaddr_un *address, int type, mode_t mode)
{
	int r, fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	/* Nobody connects before listen(), so the mode holds for everyone. */
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
	    chmod(address->sun_path, mode) < 0 || listen(fd, SOMAXCONN) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

int directory_listen(const char *path, const char *name, int type, mode_t mode)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", path, name);
	int fd;

	if (n < 0 || (size_t)n >= sizeof(address.sun_path)) {
		log_write(
			LOG_LEVEL_ERROR,
			"the path %s/%s is too long for a socket (%zu bytes at most); use a shorter "
			"runtime directory",
			path, name, sizeof(address.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	directory_remove_socket(path, name);
	fd = listen_at(&address, type, mode);
	if (fd < 0)
		log_write(LOG_LEVEL_ERROR, "cannot listen on %s: %s", address.sun_path,
			  strerror(-fd));
	return fd;
}

void directory_remove_socket(const char *path, const char *name)
{
	struct stat status;
	char *file;

	if (asprintf(&file, "%s/%s", path, name) < 0)
		return;
	if (!lstat(file, &status) && S_ISSOCK(status.st_mode))
		unlink(file);
	free(file);
}
