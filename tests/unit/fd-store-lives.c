/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/fd-store-lives.h"

#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

struct lives lives;

void lives_begin(void)
{
	int ends[2];

	strcpy(lives.directory, "/tmp/test-fd-store-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(lives.directory));
	snprintf(lives.socket_path, sizeof(lives.socket_path), "%s/agent.sock", lives.directory);
	lives.manager = fake_manager_new(lives.directory);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	lives.ours = ends[0];
	lives.theirs = ends[1];
	unsetenv("NOTIFY_SOCKET");
	unsetenv("LISTEN_FDS");
}

void lives_end(void)
{
	fake_manager_free(lives.manager);
	unlink(lives.socket_path);
	ck_assert_int_eq(rmdir(lives.directory), 0);
	free(lives.said);
	close(lives.ours);
}

static void read_log(int log)
{
	struct stat status;

	ck_assert_int_eq(fstat(log, &status), 0);
	free(lives.said);
	lives.said = calloc(1, (size_t)status.st_size + 1);
	ck_assert_ptr_nonnull(lives.said);
	ck_assert_int_eq(pread(log, lives.said, (size_t)status.st_size, 0), status.st_size);
	close(log);
}

void live(void (*life)(struct fd_store *store))
{
	int status, log = memfd_create("log", MFD_CLOEXEC);
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		struct fd_store *store;

		dup2(log, STDERR_FILENO);
		fake_manager_pass(lives.manager);
		store = fd_store_new();
		MUST(store);
		MUST(fd_store_outlives_us(store));
		life(store);
		fd_store_free(store);
		_exit(EXIT_SUCCESS);
	}
	if (lives.theirs >= 0)
		close(lives.theirs);
	lives.theirs = -1;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	read_log(log);
	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "%s", lives.said);
	fake_manager_settle(lives.manager);
}

void expect_said(const char *part)
{
	ck_assert_msg(strstr(lives.said, part), "the log does not say '%s':\n%s", part, lives.said);
}

bool has_peer(int socket)
{
	struct pollfd look = { .fd = socket };

	return poll(&look, 1, 0) == 0;
}

int listen_at(const char *path, int type)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 4) < 0)
		return -1;
	return fd;
}
