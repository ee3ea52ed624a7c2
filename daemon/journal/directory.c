/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "directory.h"

#include "daemon/allocate.h"
#include "io.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT_SUFFIX    ".journal"
#define CHECKPOINT_SUFFIX ".checkpoint"
#define NEW_SUFFIX        ".new"
#define N_DIGITS          16

_Static_assert(N_DIGITS + sizeof(SEGMENT_SUFFIX) - 1 == JOURNAL_SEGMENT_NAME_LEN, "name");

void journal_segment_name(uint64_t first_number, char name[JOURNAL_SEGMENT_NAME_LEN + 1])
{
	snprintf(name, JOURNAL_SEGMENT_NAME_LEN + 1, "%016" PRIx64 SEGMENT_SUFFIX, first_number);
}

void journal_new_name(uint64_t first_number, char name[JOURNAL_NEW_NAME_LEN + 1])
{
	snprintf(name, JOURNAL_NEW_NAME_LEN + 1, "%016" PRIx64 SEGMENT_SUFFIX NEW_SUFFIX,
		 first_number);
}

int journal_error_set(struct journal_error *ret, int error, const char *file, uint64_t offset,
		      const char *format, ...)
{
	va_list arguments;

	assert(error > 0);
	*ret = (struct journal_error){ .error = error, .offset = offset };
	snprintf(ret->file, sizeof(ret->file), "%s", file);
	va_start(arguments, format);
	vsnprintf(ret->text, sizeof(ret->text), format, arguments);
	va_end(arguments);
	return -error;
}

/* Whose it is and who else may touch it; name is "" for the directory. */
static int check_owner(const struct stat *status, const char *name, struct journal_error *ret_error)
{
	if (status->st_uid != geteuid())
		return journal_error_set(ret_error, EPERM, name, 0,
					 "it belongs to UID %u, not to %u, as whom this runs: find "
					 "out who put it there, or run as its owner",
					 status->st_uid, geteuid());
	if (status->st_mode & 077)
		return journal_error_set(ret_error, EPERM, name, 0,
					 "its mode %04o lets others in: find out who may have "
					 "changed it, then chmod it to %s",
					 status->st_mode & 07777, *name ? "0600" : "0700");
	return 0;
}

static int open_directory(int parent_fd, const char *name)
{
	int fd = journal_io.openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
				   0);

	return fd < 0 ? -errno : fd;
}

int journal_directory_open(int parent_fd, const char *name, int *ret_fd,
			   struct journal_error *ret_error)
{
	struct stat status;
	int fd, r;

	if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return journal_error_set(ret_error, EINVAL, "", 0,
					 "'%s' is no name of a directory: give one without slashes",
					 name);
	fd = open_directory(parent_fd, name);
	if (fd == -ELOOP || fd == -ENOTDIR)
		return journal_error_set(ret_error, -fd, "", 0,
					 "%s is no directory: a journal is one, and no link", name);
	if (fd < 0)
		return journal_error_set(ret_error, -fd, "", 0, "cannot open the directory %s: %s",
					 name, strerror(-fd));
	if (journal_io.fstat(fd, &status) < 0)
		r = journal_error_set(ret_error, errno, "", 0, "cannot look at it: %s",
				      strerror(errno));
	else
		r = check_owner(&status, "", ret_error);
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static bool ends_in(const char *name, const char *suffix)
{
	size_t n = strlen(name), n_suffix = strlen(suffix);

	return n >= n_suffix && strcmp(name + n - n_suffix, suffix) == 0;
}

/* The number that a name begins with, if the suffix is all that follows; else 0. */
static uint64_t number_in(const char *name, const char *suffix)
{
	uint64_t number = 0;

	if (strspn(name, "0123456789abcdef") != N_DIGITS || strcmp(name + N_DIGITS, suffix) != 0)
		return 0;
	for (size_t i = 0; i < N_DIGITS; i++)
		number = number << 4 |
			 (uint64_t)(name[i] <= '9' ? name[i] - '0' : name[i] - 'a' + 10);
	return number;
}

/* Calls visit for each name; it returns 0 to go on. */
static int visit_names(int directory_fd,
		       int (*visit)(int directory_fd, const char *name, void *data,
				    struct journal_error *ret_error),
		       void *data, struct journal_error *ret_error)
{
	int fd = open_directory(directory_fd, "."), r = 0;
	struct dirent *entry;
	DIR *directory;

	directory = fd < 0 ? NULL : fdopendir(fd);
	if (!directory) {
		r = fd < 0 ? -fd : errno;
		if (fd >= 0)
			close(fd);
		return journal_error_set(ret_error, r, "", 0, "cannot list the directory: %s",
					 strerror(r));
	}
	while (r == 0 && (errno = 0, entry = readdir(directory)))
		r = visit(directory_fd, entry->d_name, data, ret_error);
	if (r == 0 && errno)
		r = journal_error_set(ret_error, errno, "", 0, "cannot list the directory: %s",
				      strerror(errno));
	closedir(directory);
	return r;
}

struct numbers {
	const char *suffix;
	uint64_t *number;
	size_t n;
	size_t capacity;
};

static int add_number(int directory_fd, const char *name, void *data,
		      struct journal_error *ret_error)
{
	struct numbers *numbers = data;
	uint64_t number;

	(void)directory_fd;
	if (!ends_in(name, numbers->suffix))
		return 0;
	number = number_in(name, numbers->suffix);
	if (!number)
		return journal_error_set(
			ret_error, EBADMSG, name, 0,
			"it is named like a part of the journal, but not as one is named; give it "
			"its own name back, or take it out of the directory");
	allocate_room(numbers->number, numbers->n, numbers->capacity);
	numbers->number[numbers->n++] = number;
	return 0;
}

static int compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int journal_directory_list_numbers(int directory_fd, const char *suffix, uint64_t **ret_numbers,
				   size_t *ret_n, struct journal_error *ret_error)
{
	struct numbers numbers = { .suffix = suffix };
	int r = visit_names(directory_fd, add_number, &numbers, ret_error);

	if (r < 0) {
		free(numbers.number);
		return r;
	}
	if (numbers.n)
		qsort(numbers.number, numbers.n, sizeof(*numbers.number), compare_numbers);
	*ret_numbers = numbers.number;
	*ret_n = numbers.n;
	return 0;
}

int journal_directory_list(int directory_fd, uint64_t **ret_numbers, size_t *ret_n,
			   struct journal_error *ret_error)
{
	return journal_directory_list_numbers(directory_fd, SEGMENT_SUFFIX, ret_numbers, ret_n,
					      ret_error);
}

static int remove_if_unfinished(int directory_fd, const char *name, void *data,
				struct journal_error *ret_error)
{
	(void)data;
	if (!number_in(name, SEGMENT_SUFFIX NEW_SUFFIX))
		return 0;
	if (journal_io.unlinkat(directory_fd, name, 0) < 0)
		return journal_error_set(ret_error, errno, name, 0,
					 "cannot remove this segment, which was never finished: %s",
					 strerror(errno));
	return 0;
}

int journal_directory_remove_unfinished(int directory_fd, struct journal_error *ret_error)
{
	return visit_names(directory_fd, remove_if_unfinished, NULL, ret_error);
}

/* ---- Removing all of it --------------------------------------------------------------------- */

static bool is_own(const char *name)
{
	return number_in(name, SEGMENT_SUFFIX) || number_in(name, SEGMENT_SUFFIX NEW_SUFFIX) ||
	       number_in(name, CHECKPOINT_SUFFIX) || number_in(name, CHECKPOINT_SUFFIX NEW_SUFFIX);
}

static int refuse_foreign(int directory_fd, const char *name, void *data,
			  struct journal_error *ret_error)
{
	(void)directory_fd;
	(void)data;
	if (is_own(name) || !strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	return journal_error_set(
		ret_error, ENOTEMPTY, name, 0,
		"it is no journal's: take it out of the directory, or remove both");
}

static int remove_own(int directory_fd, const char *name, void *data,
		      struct journal_error *ret_error)
{
	(void)data;
	if (!is_own(name) || journal_io.unlinkat(directory_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	return journal_error_set(ret_error, errno, name, 0, "cannot remove it: %s",
				 strerror(errno));
}

static int set_aside(int parent_fd, const char *name, const char *removed_name,
		     struct journal_error *ret_error)
{
	if (strcmp(name, removed_name) == 0 ||
	    journal_io.renameat2(parent_fd, name, parent_fd, removed_name, RENAME_NOREPLACE) == 0)
		return 0;
	return journal_error_set(ret_error, errno, "", 0,
				 "cannot rename the directory %s to %s: %s", name, removed_name,
				 strerror(errno));
}

int journal_directory_remove(int parent_fd, const char *name, struct journal_error *ret_error)
{
	char removed_name[NAME_MAX + 1];
	int fd, r;

	if ((size_t)snprintf(removed_name, sizeof(removed_name), "%s%s", name,
			     ends_in(name, JOURNAL_REMOVED_SUFFIX) ? "" : JOURNAL_REMOVED_SUFFIX) >=
	    sizeof(removed_name))
		return journal_error_set(ret_error, ENAMETOOLONG, "", 0, "%s is too long a name",
					 name);
	r = journal_directory_open(parent_fd, name, &fd, ret_error);
	if (r < 0)
		return r;
	r = visit_names(fd, refuse_foreign, NULL, ret_error);
	if (r == 0)
		r = set_aside(parent_fd, name, removed_name, ret_error);
	if (r == 0)
		r = visit_names(fd, remove_own, NULL, ret_error);
	if (r == 0 && journal_io.unlinkat(parent_fd, removed_name, AT_REMOVEDIR) < 0)
		r = journal_error_set(ret_error, errno, "", 0, "cannot remove the directory %s: %s",
				      removed_name, strerror(errno));
	/*
	 * While fd is open, the directory's own blocks stay: they are given up by close(), and not
	 * under the lock of the parent, in which somebody may be waiting to make another.
	 */
	close(fd);
	return r;
}

/* ---- Files ---------------------------------------------------------------------------------- */

static int check_file(const struct stat *status, const char *name, struct journal_error *ret_error)
{
	if (!S_ISREG(status->st_mode))
		return journal_error_set(ret_error, EPERM, name, 0,
					 "it is no regular file: find out who put it there");
	if (status->st_nlink > 1)
		return journal_error_set(ret_error, EPERM, name, 0,
					 "it has %ju names: whoever holds another could change it; "
					 "remove the others",
					 (uintmax_t)status->st_nlink);
	return check_owner(status, name, ret_error);
}

int journal_file_open(int directory_fd, const char *name, int access, int *ret_fd,
		      uint64_t *ret_size, struct journal_error *ret_error)
{
	struct stat status;
	int fd, r;

	/* Not to wait for whoever would open the other end, were it a FIFO. */
	fd = journal_io.openat(directory_fd, name,
			       access | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0 && errno == ELOOP)
		return journal_error_set(ret_error, EPERM, name, 0,
					 "it is a link: find out who put it there");
	if (fd < 0)
		return journal_error_set(ret_error, errno, name, 0, "cannot open it: %s",
					 strerror(errno));
	if (journal_io.fstat(fd, &status) < 0)
		r = journal_error_set(ret_error, errno, name, 0, "cannot look at it: %s",
				      strerror(errno));
	else
		r = check_file(&status, name, ret_error);
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	*ret_size = (uint64_t)status.st_size;
	return 0;
}

int journal_segment_open(int directory_fd, uint64_t first_number, int access, int *ret_fd,
			 uint64_t *ret_size, struct journal_error *ret_error)
{
	char name[JOURNAL_SEGMENT_NAME_LEN + 1];

	journal_segment_name(first_number, name);
	return journal_file_open(directory_fd, name, access, ret_fd, ret_size, ret_error);
}
