/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm-journals.h"

#include "archivist.h"
#include "daemon/allocate.h"
#include "daemon/journal/directory.h"
#include "daemon/journal/io.h"
#include "daemon/journal/vm-records.h"
#include "daemon/log.h"
#include "vm-journal-private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIRECTORY "vms"
#define N_DIGITS  16

/* ---- The directory -------------------------------------------------------------------------- */

/* "01234567-89ab-cdef-0123-456789abcdef\n" */
static int read_boot_id(uint8_t ret[16])
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
	char text[64] = "";
	size_t n = 0;

	if (!file)
		return -errno;
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	for (const char *at = text; *at && *at != '\n' && n < 16; at += 2) {
		if (*at == '-')
			at++;
		if (sscanf(at, "%2hhx", &ret[n++]) != 1)
			return -EINVAL;
	}
	return n == 16 ? 0 : -EINVAL;
}

static int open_directory(int state_fd, const char *state_dir, int *ret_fd)
{
	struct journal_error error;
	int r;

	if (mkdirat(state_fd, DIRECTORY, 0700) < 0 && errno != EEXIST) {
		r = -errno;
		log_write(LOG_LEVEL_ERROR, "cannot make the directory %s/" DIRECTORY ": %s",
			  state_dir, strerror(-r));
		return r;
	}
	r = journal_directory_open(state_fd, DIRECTORY, ret_fd, &error);
	if (r < 0)
		log_write(LOG_LEVEL_ERROR, "cannot keep journals in %s/" DIRECTORY ": %s",
			  state_dir, error.text);
	return r;
}

int vm_journals_open(struct vm_journals *journals, const char *state_dir)
{
	int state_fd, r = read_boot_id(journals->boot_id);

	if (r < 0) {
		log_write(LOG_LEVEL_ERROR,
			  "cannot read /proc/sys/kernel/random/boot_id: %s; journals of this boot "
			  "cannot be told from older ones: is /proc mounted?",
			  strerror(-r));
		return r;
	}
	state_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (state_fd < 0) {
		r = -errno;
		log_write(LOG_LEVEL_ERROR, "cannot open the directory %s: %s", state_dir,
			  strerror(-r));
		return r;
	}
	r = open_directory(state_fd, state_dir, &journals->directory_fd);
	close(state_fd);
	LIST_INIT(&journals->open);
	journals->is_covering = false;
	journals->forgetting = NULL;
	journals->forget_again = false;
	return r;
}

void vm_journals_close(struct vm_journals *journals)
{
	close(journals->directory_fd);
	journals->directory_fd = -1;
}

void vm_journal_make_name(const char *vm, const struct journal_identity *identity,
			  char name[VM_JOURNAL_NAME_SIZE])
{
	int n = snprintf(name, VM_JOURNAL_NAME_SIZE, "%s.", vm);

	for (int i = 0; i < N_DIGITS / 2; i++)
		n += snprintf(name + n, VM_JOURNAL_NAME_SIZE - (size_t)n, "%02x",
			      identity->life_id[i]);
}

bool vm_journal_is_name(const char *name)
{
	const char *dot = strrchr(name, '.');
	char vm[KVMATTR_NAME_SIZE];

	if (!dot || (size_t)(dot - name) >= sizeof(vm) ||
	    strspn(dot + 1, "0123456789abcdef") != N_DIGITS || dot[1 + N_DIGITS])
		return false;
	memcpy(vm, name, (size_t)(dot - name));
	vm[dot - name] = '\0';
	return kvmattr_is_vm_name(vm);
}

int vm_journal_remove(const struct vm_journals *journals, const char *name,
		      struct journal_error *ret_error)
{
	return journal_directory_remove(journals->directory_fd, name, ret_error);
}

/* ---- Past journals: in the archivist's thread ------------------------------------------------ */

/* Of a VM that was not released, but ended with another boot. */
#define UID_UNKNOWN UINT32_MAX

struct past_journal {
	char name[VM_JOURNAL_NAME_SIZE];
	uint32_t uid;          /* of the user that had the VM */
	struct timespec ended; /* when its last segment was written last */
};

struct forgetting {
	struct vm_journals *journals; /* for the event loop */
	struct archivist_job *job;
	int directory_fd;
	uint8_t boot_id[16];
	size_t max_past;
	char (*open)[VM_JOURNAL_NAME_SIZE]; /* these are not past */
	size_t n_open;
	struct past_journal *past;
	size_t n_past;
	size_t past_capacity;
};

/* Does the segment end with RELEASED?  Only where it does is that record the journal's last. */
static bool ends_with_released(int fd, uint64_t size, const struct journal_identity *identity,
			       struct vm_record_released *ret)
{
	const size_t payload_size = sizeof(*ret);
	uint8_t bytes[sizeof(struct journal_record_header) + sizeof(*ret)];
	struct journal_record_header header;

	_Static_assert(sizeof(struct vm_record_released) % 8 == 0, "it has no padding");
	return size >= sizeof(struct journal_segment_header) + sizeof(bytes) &&
	       journal_io.pread(fd, bytes, sizeof(bytes), (off_t)(size - sizeof(bytes))) ==
		       (ssize_t)sizeof(bytes) &&
	       !journal_record_header_get(identity, bytes, &header) &&
	       header.type == VM_RECORD_RELEASED && header.size == payload_size &&
	       !journal_payload_check(identity, &header, bytes + sizeof(header)) &&
	       !vm_record_get_released(bytes + sizeof(header), payload_size, ret);
}

/* Looks at the last segment of a journal.  What cannot be read is not past: it is kept. */
static bool is_segment_past(const struct forgetting *forgetting, int fd, uint64_t size,
			    uint32_t *ret_uid)
{
	struct vm_record_released released;
	uint8_t bytes[sizeof(struct journal_segment_header)];
	struct journal_segment_header header;
	const char *text;

	if (journal_io.pread(fd, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes) ||
	    journal_segment_header_get(bytes, &header, &text) < 0)
		return false;
	if (ends_with_released(fd, size, &header.identity, &released)) {
		*ret_uid = released.uid;
		return true;
	}
	*ret_uid = UID_UNKNOWN;
	return memcmp(header.identity.boot_id, forgetting->boot_id, sizeof(forgetting->boot_id));
}

static bool is_past(const struct forgetting *forgetting, const char *name, struct past_journal *ret)
{
	struct journal_error error;
	uint64_t *numbers = NULL, size;
	struct stat status;
	int directory_fd, fd;
	bool is_it = false;
	size_t n = 0;

	if (journal_directory_open(forgetting->directory_fd, name, &directory_fd, &error) < 0)
		return false;
	if (journal_directory_list(directory_fd, &numbers, &n, &error) == 0 && n > 0 &&
	    journal_segment_open(directory_fd, numbers[n - 1], O_RDONLY, &fd, &size, &error) == 0) {
		is_it = is_segment_past(forgetting, fd, size, &ret->uid) &&
			journal_io.fstat(fd, &status) == 0;
		close(fd);
	}
	if (is_it)
		ret->ended = status.st_mtim;
	free(numbers);
	close(directory_fd);
	return is_it;
}

static bool is_open(const struct forgetting *forgetting, const char *name)
{
	for (size_t i = 0; i < forgetting->n_open; i++)
		if (!strcmp(forgetting->open[i], name))
			return true;
	return false;
}

static void remove_journal(const struct forgetting *forgetting, const char *name)
{
	struct journal_error error;

	if (journal_directory_remove(forgetting->directory_fd, name, &error) < 0)
		log_write(LOG_LEVEL_WARNING, "cannot remove the past journal %s: %s%s%s", name,
			  error.file, *error.file ? ": " : "", error.text);
}

static bool is_half_removed(const char *name)
{
	const char *dot = strrchr(name, '.');
	char journal[VM_JOURNAL_NAME_SIZE];

	if (!dot || strcmp(dot, JOURNAL_REMOVED_SUFFIX) || (size_t)(dot - name) >= sizeof(journal))
		return false;
	memcpy(journal, name, (size_t)(dot - name));
	journal[dot - name] = '\0';
	return vm_journal_is_name(journal);
}

static void look_at(struct forgetting *forgetting, const char *name)
{
	struct past_journal past;

	if (is_half_removed(name))
		remove_journal(forgetting, name);
	if (!vm_journal_is_name(name) || is_open(forgetting, name) ||
	    !is_past(forgetting, name, &past))
		return;
	memcpy(past.name, name, strlen(name) + 1);
	allocate_room(forgetting->past, forgetting->n_past, forgetting->past_capacity);
	forgetting->past[forgetting->n_past++] = past;
}

static bool is_older(const struct past_journal *one, const struct past_journal *other)
{
	const struct timespec *a = &one->ended, *b = &other->ended;

	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

/* By user, then by age: the oldest first. */
static int compare(const void *a, const void *b)
{
	const struct past_journal *x = a, *y = b;

	if (x->uid != y->uid)
		return x->uid < y->uid ? -1 : 1;
	return is_older(y, x) - is_older(x, y);
}

/* What is kept of one user's: from the first on, n of them. */
struct users_past {
	const struct past_journal *first;
	size_t n;
};

static size_t group_by_user(const struct forgetting *forgetting, struct users_past *users)
{
	size_t n_users = 0;

	for (size_t i = 0; i < forgetting->n_past; i++) {
		if (!i || forgetting->past[i].uid != forgetting->past[i - 1].uid)
			users[n_users++].first = &forgetting->past[i];
		users[n_users - 1].n++;
	}
	return n_users;
}

/* The one with the most; of several, the one whose oldest is the oldest of theirs. */
static struct users_past *find_largest(struct users_past *users, size_t n_users)
{
	struct users_past *largest = users;

	for (size_t i = 1; i < n_users; i++)
		if (users[i].n > largest->n || (users[i].n && users[i].n == largest->n &&
						is_older(users[i].first, largest->first)))
			largest = &users[i];
	return largest;
}

/* One user's VMs, however many come and go, drive out nothing that is kept of another's. */
static void remove_oldest(const struct forgetting *forgetting, struct archivist_job *job)
{
	struct users_past *users = allocate_zeroed(forgetting->n_past, sizeof(*users));
	size_t n_users = group_by_user(forgetting, users);

	for (size_t n = forgetting->n_past; n > forgetting->max_past; n--) {
		struct users_past *largest = find_largest(users, n_users);

		if (archivist_is_cancelled(job))
			break;
		remove_journal(forgetting, largest->first->name);
		largest->first++;
		largest->n--;
	}
	free(users);
}

static void run(void *context, struct archivist_job *job)
{
	struct forgetting *forgetting = context;
	int fd = openat(forgetting->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!directory) {
		log_write(LOG_LEVEL_WARNING, "cannot list the past journals: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return;
	}
	while (!archivist_is_cancelled(job) && (entry = readdir(directory)))
		look_at(forgetting, entry->d_name);
	closedir(directory);
	if (forgetting->n_past <= forgetting->max_past)
		return;
	qsort(forgetting->past, forgetting->n_past, sizeof(*forgetting->past), compare);
	remove_oldest(forgetting, job);
}

/* ---- Past journals: in the event loop ------------------------------------------------------- */

static void done(void *context, bool was_run)
{
	struct forgetting *forgetting = context;
	struct vm_journals *journals = forgetting->journals;

	free(forgetting->past);
	free(forgetting->open);
	free(forgetting);
	journals->forgetting = NULL;
	if (was_run && journals->forget_again)
		vm_journals_forget_past(journals);
}

static void take_down_open(struct forgetting *forgetting, const struct vm_journals *journals)
{
	const struct vm_journal *journal;
	size_t n = 0;

	LIST_FOREACH (journal, &journals->open, open)
		n++;
	forgetting->open = allocate(n * sizeof(*forgetting->open));
	LIST_FOREACH (journal, &journals->open, open)
		memcpy(forgetting->open[forgetting->n_open++], journal->name,
		       sizeof(journal->name));
}

void vm_journals_forget_past(struct vm_journals *journals)
{
	struct forgetting *forgetting;

	journals->forget_again = journals->forgetting != NULL;
	if (journals->forgetting)
		return;
	forgetting = allocate_one(struct forgetting);
	forgetting->journals = journals;
	forgetting->directory_fd = journals->directory_fd;
	memcpy(forgetting->boot_id, journals->boot_id, sizeof(forgetting->boot_id));
	forgetting->max_past = journals->max_past;
	take_down_open(forgetting, journals);
	journals->forgetting = archivist_submit(journals->archivist, ARCHIVIST_BACKGROUND,
						geteuid(), run, done, forgetting);
}
