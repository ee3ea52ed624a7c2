/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/faulty-io.h"

#include "daemon/journal/io.h"

#include "daemon/allocate.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_FILES 1024

/* A name that was in a directory when that was synced last. */
struct synced_name {
	ino_t directory;
	char name[64];
};

struct synced_file {
	ino_t inode;
	off_t size;
};

static struct {
	struct journal_io real;
	pthread_t thread;

	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t changed;
	enum fault_thread of;
	enum fault fault;
	int error;
	unsigned int at;
	unsigned int n_calls;
	bool are_syncs_held;
	unsigned int n_held;
	unsigned int n_failing_syncs;
	int sync_error;
	unsigned int n_syncs;
	void (*on_unlink)(void);
	struct synced_file files[MAX_FILES];
	size_t n_files;
	struct synced_name names[MAX_FILES];
	size_t n_names;
} io = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* ---- Which call fails ------------------------------------------------------------------------ */

static bool fails_at(unsigned int call)
{
	switch (io.fault) {
	case FAIL_ONCE:
		return call == io.at;
	case FAIL_TWICE:
		return call == io.at || call == io.at + 1;
	case FAIL_FROM_HERE:
		return call >= io.at;
	case HALF_ONCE:
		return call == io.at + 1;
	case HALF_FROM_HERE:
		return call > io.at;
	case SHORT_FROM_HERE:
	case N_FAULTS:
		break;
	}
	return false;
}

static size_t short_size(unsigned int call, size_t size)
{
	if (io.fault < HALF_ONCE || size < 2 || call < io.at)
		return size;
	if (io.fault == SHORT_FROM_HERE)
		return 1 + size / 16;
	return call == io.at ? size / 2 : size;
}

/* Counts a call; false with errno if it fails.  *size is what it may do. */
static bool may(size_t *size)
{
	enum fault_thread thread =
		pthread_equal(io.thread, pthread_self()) ? OF_THIS_THREAD : OF_OTHER_THREADS;
	bool may_it = true;

	pthread_mutex_lock(&io.lock);
	if (thread == io.of) {
		unsigned int call = ++io.n_calls;

		if (io.at) {
			may_it = !fails_at(call);
			*size = short_size(call, *size);
		}
	}
	if (!may_it)
		errno = io.error;
	pthread_mutex_unlock(&io.lock);
	return may_it;
}

#define DO(call)                   \
	do {                       \
		size_t unused = 0; \
		if (!may(&unused)) \
			return -1; \
		return call;       \
	} while (0)

static int faulty_mkdirat(int fd, const char *name, mode_t mode)
{
	DO(io.real.mkdirat(fd, name, mode));
}

static int faulty_renameat2(int old_fd, const char *old_name, int fd, const char *name,
			    unsigned int flags)
{
	DO(io.real.renameat2(old_fd, old_name, fd, name, flags));
}

static int faulty_unlinkat(int fd, const char *name, int flags)
{
	void (*on_unlink)(void);
	size_t unused = 0;
	int r;

	if (!may(&unused))
		return -1;
	r = io.real.unlinkat(fd, name, flags);
	pthread_mutex_lock(&io.lock);
	on_unlink = io.on_unlink;
	pthread_mutex_unlock(&io.lock);
	if (r == 0 && on_unlink)
		on_unlink();
	return r;
}

static int faulty_fstat(int fd, struct stat *ret)
{
	DO(io.real.fstat(fd, ret));
}

static int faulty_ftruncate(int fd, off_t size)
{
	DO(io.real.ftruncate(fd, size));
}

static ssize_t faulty_pread(int fd, void *buffer, size_t size, off_t offset)
{
	return may(&size) ? io.real.pread(fd, buffer, size, offset) : -1;
}

static ssize_t faulty_pwrite(int fd, const void *data, size_t size, off_t offset)
{
	return may(&size) ? io.real.pwrite(fd, data, size, offset) : -1;
}

/* ---- The disk -------------------------------------------------------------------------------- */

static void note_file(ino_t inode, off_t size)
{
	size_t i = 0;

	while (i < io.n_files && io.files[i].inode != inode)
		i++;
	if (i == io.n_files)
		ck_assert_uint_lt(io.n_files++, MAX_FILES);
	io.files[i] = (struct synced_file){ inode, size };
}

static int faulty_openat(int directory_fd, const char *name, int flags, mode_t mode)
{
	size_t unused = 0;
	struct stat status;
	int fd;

	if (!may(&unused))
		return -1;
	/* a new file's inode may have been another file's: nobody looks between */
	pthread_mutex_lock(&io.lock);
	fd = io.real.openat(directory_fd, name, flags, mode);
	if (fd >= 0 && flags & O_CREAT) {
		ck_assert_int_eq(fstat(fd, &status), 0);
		note_file(status.st_ino, 0);
	}
	pthread_mutex_unlock(&io.lock);
	return fd;
}

static void note_names(int fd, ino_t inode)
{
	DIR *directory = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *entry;
	size_t kept = 0;

	ck_assert_ptr_nonnull(directory);
	for (size_t i = 0; i < io.n_names; i++)
		if (io.names[i].directory != inode)
			io.names[kept++] = io.names[i];
	io.n_names = kept;
	while ((entry = readdir(directory))) {
		ck_assert_uint_lt(io.n_names, MAX_FILES);
		io.names[io.n_names].directory = inode;
		snprintf(io.names[io.n_names++].name, sizeof(io.names[0].name), "%.63s",
			 entry->d_name);
	}
	closedir(directory);
}

/* What is there when a sync begins is on the disk when it has ended: on this one, at once. */
static int sync_with(int (*sync)(int fd), int fd)
{
	struct stat status;
	int r;

	ck_assert_int_eq(fstat(fd, &status), 0);
	if (S_ISDIR(status.st_mode)) {
		pthread_mutex_lock(&io.lock);
		note_names(fd, status.st_ino);
		pthread_mutex_unlock(&io.lock);
	}
	r = sync(fd);
	pthread_mutex_lock(&io.lock);
	if (r == 0 && !S_ISDIR(status.st_mode))
		note_file(status.st_ino, status.st_size);
	pthread_mutex_unlock(&io.lock);
	return r;
}

static int just_sync(int fd)
{
	(void)fd;
	return 0;
}

static int faulty_fsync(int fd)
{
	DO(sync_with(just_sync, fd));
}

/* Held up behind its beginning: what is written meanwhile does not go with it. */
static int held_sync(int fd)
{
	int error = 0;

	(void)fd;

	pthread_mutex_lock(&io.lock);
	io.n_syncs++;
	if (io.n_failing_syncs) {
		io.n_failing_syncs--;
		error = io.sync_error;
	}
	io.n_held++;
	pthread_cond_broadcast(&io.changed);
	while (io.are_syncs_held)
		pthread_cond_wait(&io.changed, &io.lock);
	io.n_held--;
	pthread_mutex_unlock(&io.lock);
	errno = error;
	return error ? -1 : 0;
}

static int faulty_fdatasync(int fd)
{
	DO(sync_with(held_sync, fd));
}

static off_t size_on_disk(ino_t inode)
{
	for (size_t i = 0; i < io.n_files; i++)
		if (io.files[i].inode == inode)
			return io.files[i].size;
	return 0;
}

static void copy_synced(int from_fd, int to_fd, const char *name)
{
	int from = openat(from_fd, name, O_RDONLY | O_CLOEXEC), to;
	struct stat status;
	uint8_t *bytes;
	off_t size;

	if (from < 0) { /* it was removed since */
		ck_assert_int_eq(errno, ENOENT);
		return;
	}
	ck_assert_int_eq(fstat(from, &status), 0);
	size = size_on_disk(status.st_ino);
	ck_assert_int_le(size, status.st_size);
	bytes = allocate((size_t)size);
	ck_assert_int_eq(pread(from, bytes, (size_t)size, 0), size);
	to = openat(to_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ck_assert_int_ge(to, 0);
	ck_assert_int_eq(write(to, bytes, (size_t)size), size);
	close(to);
	close(from);
	free(bytes);
}

static bool is_name_on_disk(ino_t directory, const char *name)
{
	for (size_t i = 0; i < io.n_names; i++)
		if (io.names[i].directory == directory && !strcmp(io.names[i].name, name))
			return true;
	return false;
}

void faulty_io_lose_power(int parent_fd, const char *name, const char *copy)
{
	int from, to;
	struct stat parent, status;

	ck_assert_int_eq(mkdirat(parent_fd, copy, 0700), 0);
	from = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	to = openat(parent_fd, copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert(from >= 0 && to >= 0);
	ck_assert(fstat(parent_fd, &parent) == 0 && fstat(from, &status) == 0);
	pthread_mutex_lock(&io.lock);
	if (is_name_on_disk(parent.st_ino, name))
		for (size_t i = 0; i < io.n_names; i++)
			if (io.names[i].directory == status.st_ino && io.names[i].name[0] != '.')
				copy_synced(from, to, io.names[i].name);
	pthread_mutex_unlock(&io.lock);
	close(from);
	close(to);
}

/* ---- What a test says ------------------------------------------------------------------------ */

void faulty_io_install(void)
{
	io.real = journal_io;
	io.thread = pthread_self();
	io.n_files = io.n_names = 0;
	io.at = io.n_calls = io.n_syncs = io.n_failing_syncs = 0;
	io.are_syncs_held = false;
	io.on_unlink = NULL;
	journal_io = (struct journal_io){
		.mkdirat = faulty_mkdirat,
		.openat = faulty_openat,
		.renameat2 = faulty_renameat2,
		.unlinkat = faulty_unlinkat,
		.fstat = faulty_fstat,
		.pread = faulty_pread,
		.pwrite = faulty_pwrite,
		.ftruncate = faulty_ftruncate,
		.fdatasync = faulty_fdatasync,
		.fsync = faulty_fsync,
	};
}

void faulty_io_remove(void)
{
	journal_io = io.real;
}

void faulty_io_fail(enum fault_thread thread, unsigned int at, enum fault fault, int error)
{
	pthread_mutex_lock(&io.lock);
	io.of = thread;
	io.at = at;
	io.fault = fault;
	io.error = error;
	io.n_calls = 0;
	pthread_mutex_unlock(&io.lock);
}

unsigned int faulty_io_n_calls(void)
{
	unsigned int n;

	pthread_mutex_lock(&io.lock);
	n = io.n_calls;
	pthread_mutex_unlock(&io.lock);
	return n;
}

void faulty_io_hold_syncs(bool are_held)
{
	pthread_mutex_lock(&io.lock);
	io.are_syncs_held = are_held;
	pthread_cond_broadcast(&io.changed);
	pthread_mutex_unlock(&io.lock);
}

void faulty_io_await_held_sync(void)
{
	pthread_mutex_lock(&io.lock);
	while (!io.n_held)
		pthread_cond_wait(&io.changed, &io.lock);
	pthread_mutex_unlock(&io.lock);
}

void faulty_io_fail_syncs(unsigned int n, int error)
{
	pthread_mutex_lock(&io.lock);
	io.n_failing_syncs = n;
	io.sync_error = error;
	pthread_mutex_unlock(&io.lock);
}

unsigned int faulty_io_n_syncs(void)
{
	unsigned int n;

	pthread_mutex_lock(&io.lock);
	n = io.n_syncs;
	pthread_mutex_unlock(&io.lock);
	return n;
}

void faulty_io_on_unlink(void (*on_unlink)(void))
{
	pthread_mutex_lock(&io.lock);
	io.on_unlink = on_unlink;
	pthread_mutex_unlock(&io.lock);
}
