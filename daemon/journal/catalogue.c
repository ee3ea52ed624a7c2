/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "catalogue.h"

#include "daemon/allocate.h"
#include "directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Behind the VM's name: a dot and the first bytes of the registration's identity. */
#define LIFE_DIGITS 16

const char *catalogue_state_name(enum catalogue_state state)
{
	static const char *const names[] = {
		[CATALOGUE_LIVE] = "live",
		[CATALOGUE_OPEN] = "open",
		[CATALOGUE_UNFINISHED] = "unfinished",
		[CATALOGUE_RELEASED] = "released",
		[CATALOGUE_OTHER_BOOT] = "other-boot",
		[CATALOGUE_DAMAGED] = "damaged",
	};

	return names[state];
}

bool catalogue_is_name(const char *name, char ret_vm[KVMATTR_NAME_SIZE])
{
	size_t length = strnlen(name, PAST_NAME_SIZE), n_vm;
	char vm[KVMATTR_NAME_SIZE];

	if (length == PAST_NAME_SIZE || length < LIFE_DIGITS + 2)
		return false;
	n_vm = length - LIFE_DIGITS - 1;
	if (n_vm >= sizeof(vm) || name[n_vm] != '.' ||
	    strspn(name + n_vm + 1, "0123456789abcdef") != LIFE_DIGITS)
		return false;
	memcpy(vm, name, n_vm);
	vm[n_vm] = '\0';
	if (!kvmattr_is_vm_name(vm))
		return false;
	memcpy(ret_vm, vm, sizeof(vm));
	return true;
}

/* Lists a directory's names; the caller closes *ret.  0 or a negative errno. */
static int open_listing(int directory_fd, DIR **ret, struct journal_error *ret_error)
{
	int fd = openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), error;
	DIR *listing = fd < 0 ? NULL : fdopendir(fd);

	if (listing) {
		*ret = listing;
		return 0;
	}
	error = errno;
	if (fd >= 0)
		close(fd);
	return journal_error_set(ret_error, error, "", 0, "cannot list the directory: %s",
				 strerror(error));
}

/* ---- One journal --------------------------------------------------------------------------- */

static int add_sizes(int parent_fd, struct catalogue_entry *entry)
{
	struct dirent *file;
	struct stat status;
	DIR *listing;
	int fd, r = journal_directory_open(parent_fd, entry->name, &fd, &entry->error);

	if (r < 0)
		return r;
	r = open_listing(fd, &listing, &entry->error);
	close(fd);
	if (r < 0)
		return r;
	while ((file = readdir(listing)))
		if (fstatat(dirfd(listing), file->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(status.st_mode))
			entry->n_bytes += (uint64_t)status.st_size;
	closedir(listing);
	return 0;
}

/* Which boot it is of; a journal that has no header to say so is unfinished. */
static int look_at_identity(const struct catalogue_source *source, struct catalogue_entry *entry)
{
	struct journal_reader *reader;
	int r = journal_reader_open(source->parent_fd, entry->name, (struct journal_position){ 0 },
				    &reader, &entry->error);

	if (r < 0)
		return r;
	entry->is_of_this_boot = !memcmp(journal_reader_identity(reader)->boot_id, source->boot_id,
					 sizeof(((struct journal_identity *)0)->boot_id));
	journal_reader_free(reader);
	return 0;
}

static void describe(struct catalogue_entry *entry, const struct replay *replay)
{
	entry->registered_us = replay->registered_us;
	entry->commit = replay->commit;
	entry->commit_us = replay->commit_us;
	entry->released = replay->released;
	entry->state = replay->is_released       ? CATALOGUE_RELEASED
		       : !entry->is_of_this_boot ? CATALOGUE_OTHER_BOOT
		       : !replay->is_ready       ? CATALOGUE_UNFINISHED
						 : CATALOGUE_OPEN;
}

static int replay_whole(const struct catalogue_source *source, struct catalogue_entry *entry)
{
	const struct replay_request request = {
		.limit = REPLAY_ALL,
		.is_cancelled = source->is_cancelled,
		.context = source->context,
	};
	struct replay_report report;
	struct replay replay;
	int r;

	replay_init(&replay);
	replay.max_map_bytes = source->max_map_bytes;
	r = journal_replay(source->parent_fd, entry->name, &request, &replay, &report,
			   &entry->error);
	if (r == 0)
		describe(entry, &replay);
	replay_destroy(&replay);
	return r;
}

/* 0, or -ECANCELED: whatever is wrong with the journal is the entry's. */
static int look(const struct catalogue_source *source, struct catalogue_entry *entry)
{
	int r = add_sizes(source->parent_fd, entry);

	if (r == 0)
		r = look_at_identity(source, entry);
	if (r == 0 && source->is_live && source->is_live(source->context, entry->name)) {
		entry->state = CATALOGUE_LIVE;
		return 0;
	}
	if (r == 0)
		r = replay_whole(source, entry);
	if (r == -ENODATA)
		entry->state = CATALOGUE_UNFINISHED;
	else if (r < 0)
		entry->state = CATALOGUE_DAMAGED;
	return r == -ECANCELED ? r : 0;
}

/* ---- All of them --------------------------------------------------------------------------- */

struct list {
	struct catalogue_entry *entry;
	size_t n;
	size_t capacity;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct catalogue_entry *)a)->name,
		      ((const struct catalogue_entry *)b)->name);
}

static int list_names(int parent_fd, struct list *list, struct journal_error *ret_error)
{
	char vm[KVMATTR_NAME_SIZE];
	struct dirent *file;
	DIR *listing;
	int r = open_listing(parent_fd, &listing, ret_error);

	if (r < 0)
		return r;
	while ((errno = 0, file = readdir(listing))) {
		struct catalogue_entry *entry;

		if (!catalogue_is_name(file->d_name, vm))
			continue;
		allocate_room(list->entry, list->n, list->capacity);
		entry = &list->entry[list->n++];
		*entry = (struct catalogue_entry){ 0 };
		memcpy(entry->name, file->d_name, strlen(file->d_name) + 1); /* it has room */
		memcpy(entry->vm, vm, sizeof(vm));
	}
	if (errno)
		r = journal_error_set(ret_error, errno, "", 0, "cannot list the directory: %s",
				      strerror(errno));
	closedir(listing);
	return r;
}

int catalogue_list(const struct catalogue_source *source, struct catalogue_entry **ret,
		   size_t *ret_n, struct journal_error *ret_error)
{
	struct list list = { 0 };
	int r = list_names(source->parent_fd, &list, ret_error);

	if (list.n)
		qsort(list.entry, list.n, sizeof(*list.entry), by_name);
	for (size_t i = 0; i < list.n && r == 0; i++) {
		r = look(source, &list.entry[i]);
		list.entry[i].life = list.entry[i].name + strlen(list.entry[i].name) - LIFE_DIGITS;
		if (r < 0)
			*ret_error = list.entry[i].error;
	}
	if (r < 0) {
		free(list.entry);
		return r;
	}
	*ret = list.entry;
	*ret_n = list.n;
	return 0;
}
