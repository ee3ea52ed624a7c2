/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "directories.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
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
		log_with_id(
			LOG_ID_DIRECTORY_HELD, LOG_ABOUT_NOTHING,
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

/* Nobody connects before listen(): so from the first connection on, these hold for everyone. */
static int set_access(const char *path, const struct directory_access *access)
{
	int r;

	if (access->group != (gid_t)-1 && lchown(path, (uid_t)-1, access->group) < 0) {
		r = -errno;
		log_write(
			LOG_LEVEL_ERROR,
			"%s cannot be group %u's (socket-group): %s; a daemon that is not root can "
			"only give it to a group that it is in",
			path, access->group, strerror(-r));
		return r;
	}
	return chmod(path, access->mode) < 0 ? -errno : 0;
}

static int listen_at(const struct sockaddr_un *address, int type,
		     const struct directory_access *access)
{
	int r = 0, fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	r = set_access(address->sun_path, access);
	if (r == 0 && listen(fd, SOMAXCONN) < 0)
		r = -errno;
	if (r < 0) {
		unlink(address->sun_path);
		close(fd);
		return r;
	}
	return fd;
}

/* A socket whose listener is gone refuses connections. */
static bool is_listened_on(const struct sockaddr_un *address, int type)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error;

	if (fd < 0)
		return false;
	error = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? errno : 0;
	close(fd);
	/* taken in; not yet, because others wait as well; or another type of socket */
	return !error || error == EAGAIN || error == EPROTOTYPE;
}

int directory_listen(const char *path, const char *name, int type,
		     const struct directory_access *access)
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
	if (is_listened_on(&address, type)) {
		log_write(
			LOG_LEVEL_ERROR,
			"another program listens on %s; if that is systemd, for a socket unit, have "
			"it stopped (systemctl stop), or give this daemon a directory of its own",
			address.sun_path);
		return -EADDRINUSE;
	}
	directory_remove_socket(path, name);
	fd = listen_at(&address, type, access);
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
