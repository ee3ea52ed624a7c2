/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fd-store.h"

#include "daemon/allocate.h"
#include "daemon/log.h"
#include "protocol/seqpacket.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define MAX_NAME    200
#define MAX_MESSAGE 512 /* with a socket unit's name of up to 255 */
/*
 * All names together come back as one variable of the environment, and execve() takes no string
 * above 128 KiB (MAX_ARG_STRLEN in include/uapi/linux/binfmts.h): with more of them the daemon
 * could not be started again at all.  The rest is for the variable's name and for socket units.
 */
#define MAX_NAME_BYTES ((128u - 4u) * 1024)

/* What the manager keeps, or handed over. */
struct entry {
	char *name;
	int fd;      /* came back and was not taken; or -1 */
	ino_t inode; /* of a socket; else 0 */
};

struct fd_store {
	struct entry *entries;
	size_t n;
	size_t capacity;
	size_t name_bytes; /* with what separates them */
	uint64_t max;      /* entries */
	bool was_full;     /* which is said once */
};

/* ---- Start and end --------------------------------------------------------------------------- */

/* systemd says how many it keeps from version 254 on. */
static uint64_t limit_of_manager(void)
{
	const char *text = getenv("FDSTORE");
	char *end;
	unsigned long long limit;

	if (!text)
		return UINT64_MAX;
	errno = 0;
	limit = strtoull(text, &end, 10);
	return errno || end == text || *end ? UINT64_MAX : limit;
}

static ino_t inode_of_socket(int fd)
{
	struct stat status;

	return !fstat(fd, &status) && S_ISSOCK(status.st_mode) ? status.st_ino : 0;
}

static void add(struct fd_store *store, const char *name, int fd, ino_t inode)
{
	allocate_room(store->entries, store->n, store->capacity);
	store->entries[store->n++] = (struct entry){ allocate_string(name), fd, inode };
	store->name_bytes += strlen(name) + 1;
}

struct fd_store *fd_store_new(void)
{
	struct fd_store *store;
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);

	if (n < 0)
		log_write(LOG_LEVEL_WARNING,
			  "what the service manager handed over cannot be taken: %s; peers have to "
			  "connect anew",
			  strerror(-n));
	if (n <= 0 && !getenv("NOTIFY_SOCKET"))
		return NULL;
	store = allocate_one(struct fd_store);
	store->max = limit_of_manager();
	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;

		add(store, names[i], fd, inode_of_socket(fd));
		free(names[i]);
	}
	free(names);
	return store;
}

void fd_store_free(struct fd_store *store)
{
	if (!store)
		return;
	for (size_t i = 0; i < store->n; i++) {
		if (store->entries[i].fd >= 0)
			close(store->entries[i].fd);
		free(store->entries[i].name);
	}
	free(store->entries);
	free(store);
}

bool fd_store_outlives_us(const struct fd_store *store)
{
	return store && store->max && getenv("NOTIFY_SOCKET");
}

/* ---- Forgetting ------------------------------------------------------------------------------ */

static struct entry *find(struct fd_store *store, const char *name)
{
	for (size_t i = 0; i < store->n; i++)
		if (!strcmp(store->entries[i].name, name))
			return &store->entries[i];
	return NULL;
}

/* Tells the manager; what it has under a name it lets go of all at once. */
static void remove_entry(struct fd_store *store, struct entry *entry)
{
	char message[MAX_MESSAGE];
	int r;

	snprintf(message, sizeof(message), "FDSTOREREMOVE=1\nFDNAME=%s", entry->name);
	r = sd_notify(0, message);
	if (r < 0)
		log_write(LOG_LEVEL_WARNING,
			  "the service manager cannot be told to let go of '%s': %s; it may keep "
			  "what it is alive until the service is stopped",
			  entry->name, strerror(-r));
	if (entry->fd >= 0)
		close(entry->fd);
	store->name_bytes -= strlen(entry->name) + 1;
	free(entry->name);
	*entry = store->entries[--store->n];
}

void fd_store_forget(struct fd_store *store, const char *name)
{
	struct entry *entry = store ? find(store, name) : NULL;

	if (entry)
		remove_entry(store, entry);
}

void fd_store_forget_vm(struct fd_store *store, const char *journal)
{
	size_t length = strlen(journal);

	for (size_t i = store ? store->n : 0; i-- > 0;) {
		const char *name = store->entries[i].name;

		if (!strncmp(name, journal, length) && name[length] == '/')
			remove_entry(store, &store->entries[i]);
	}
}

void fd_store_forget_untaken(struct fd_store *store)
{
	for (size_t i = store ? store->n : 0; i-- > 0;) {
		if (store->entries[i].fd < 0)
			continue;
		log_write(
			LOG_LEVEL_INFO,
			"'%s' came back from the service manager and belongs to nothing any more: "
			"closed",
			store->entries[i].name);
		remove_entry(store, &store->entries[i]);
	}
}

/* ---- Keeping --------------------------------------------------------------------------------- */

static bool is_name(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (name[i] <= ' ' || name[i] > '~' || name[i] == ':')
			return false;
	return n > 0 && n <= MAX_NAME;
}

/* A socket in which fd lies as a message.  Returns it, or a negative errno. */
static int put_in_envelope(int fd)
{
	const char byte = 0;
	struct iovec part = { (void *)&byte, 1 };
	int ends[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	r = seqpacket_send(ends[0], &part, 1, &fd, 1, MSG_DONTWAIT);
	close(ends[0]);
	if (r < 0)
		close(ends[1]);
	return r < 0 ? r : ends[1];
}

/*
 * FDPOLL=0: systemd is not to watch it.  What a peer said before it closed, and that it did, is for
 * the next daemon to hear; and nobody can keep the service manager busy with it.
 */
static int send_to_manager(const char *name, int fd)
{
	char message[MAX_MESSAGE];

	snprintf(message, sizeof(message), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
	return sd_pid_notify_with_fds(0, 0, message, &fd, 1);
}

static bool has_room(struct fd_store *store, const char *name)
{
	if (store->n < store->max && store->name_bytes + strlen(name) + 1 <= MAX_NAME_BYTES)
		return true;
	if (!store->was_full)
		log_with_id(
			LOG_ID_FD_STORE_FULL, LOG_ABOUT_NOTHING,
			"the service manager has no room for '%s' and what comes behind it: it "
			"keeps %zu descriptors with %zu bytes of names; peers that are not kept "
			"connect anew when the daemon is restarted; raise FileDescriptorStoreMax "
			"(names have %u bytes at most)",
			name, store->n, store->name_bytes, MAX_NAME_BYTES);
	store->was_full = true;
	return false;
}

void fd_store_keep(struct fd_store *store, const char *name, int fd)
{
	const struct entry *entry;
	ino_t inode = inode_of_socket(fd);
	int sent, r;

	assert(is_name(name));
	if (!fd_store_outlives_us(store))
		return;
	entry = find(store, name);
	if (entry && inode && entry->inode == inode)
		return;
	fd_store_forget(store, name);
	if (!has_room(store, name))
		return;
	r = sent = inode ? fd : put_in_envelope(fd);
	if (r >= 0)
		r = send_to_manager(name, sent);
	if (sent >= 0 && sent != fd)
		close(sent);
	if (r < 0)
		log_write(
			LOG_LEVEL_WARNING,
			"the service manager cannot be given '%s': %s; when the daemon is restarted "
			"the peer has to connect anew",
			name, strerror(-r));
	else
		add(store, name, -1, inode);
}

/* ---- Taking ---------------------------------------------------------------------------------- */

static int int_option(int fd, int option)
{
	int value = -1;
	socklen_t size = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &size) ? -1 : value;
}

/* Each says what is wrong with a descriptor, or NULL. */

static const char *check_connected(int fd)
{
	struct sockaddr_un peer;
	socklen_t size = sizeof(peer);

	if (!vm_fd_is_seqpacket(fd))
		return "it is no UNIX SOCK_SEQPACKET socket";
	if (int_option(fd, SO_ACCEPTCONN) != 0)
		return "it is a socket that listens";
	if (getpeername(fd, (struct sockaddr *)&peer, &size) < 0)
		return "it is a socket that is not connected";
	return NULL;
}

static const char *check_listener(int fd, int type, const char *path)
{
	struct sockaddr_un address = { 0 };
	socklen_t size = sizeof(address) - 1; /* the rest is NUL */
	struct stat status;

	if (int_option(fd, SO_TYPE) != type)
		return "it is no socket of that type";
	if (int_option(fd, SO_ACCEPTCONN) != 1)
		return "it is a socket that does not listen";
	if (getsockname(fd, (struct sockaddr *)&address, &size) < 0 ||
	    strcmp(address.sun_path, path))
		return "it is a socket that listens elsewhere";
	if (lstat(path, &status) < 0 || !S_ISSOCK(status.st_mode))
		return "it is a socket whose file is gone";
	return NULL;
}

/* Looks into an envelope, which stays as it is; *ret_fd is the caller's. */
static const char *check_vm(int envelope, enum vm_fd_kind kind, int *ret_fd, char *text,
			    size_t text_size)
{
	struct seqpacket_fds fds;
	enum vm_fd_kind found;
	char byte;

	if (!vm_fd_is_seqpacket(envelope))
		return "it is no envelope";
	if (seqpacket_receive(envelope, &byte, 1, &fds, MSG_PEEK | MSG_DONTWAIT) != 1)
		return "it is an envelope that cannot be opened";
	if (fds.n != 1) {
		seqpacket_fds_close(&fds);
		return "it is an envelope with more or less than one descriptor";
	}
	found = vm_fd_identify(fds.fd[0], text, text_size);
	if (found == kind) {
		*ret_fd = seqpacket_fds_take(&fds, 0);
		return NULL;
	}
	seqpacket_fds_close(&fds);
	return text;
}

/* The entry of that name that waits to be taken: of several the first, which is a socket unit's. */
static struct entry *find_untaken(struct fd_store *store, const char *name)
{
	for (size_t i = 0; store && i < store->n; i++)
		if (store->entries[i].fd >= 0 && !strcmp(store->entries[i].name, name))
			return &store->entries[i];
	return NULL;
}

static int refuse(struct fd_store *store, struct entry *entry, const char *wrong)
{
	log_write(LOG_LEVEL_WARNING,
		  "'%s' came back from the service manager and is not what it is to be: %s; "
		  "closed, as if it had not come",
		  entry->name, wrong);
	remove_entry(store, entry);
	return -1;
}

/* It is the caller's from now on. */
static int hand_over(struct entry *entry)
{
	int fd = entry->fd;

	entry->fd = -1;
	/* A socket unit's is blocking, and so may be what a VMM gave us; close-on-exec it is. */
	(void)!fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return fd;
}

int fd_store_take(struct fd_store *store, const char *name)
{
	struct entry *entry = find_untaken(store, name);
	const char *wrong = entry ? check_connected(entry->fd) : NULL;

	if (!entry)
		return -1;
	return wrong ? refuse(store, entry, wrong) : hand_over(entry);
}

int fd_store_take_vm(struct fd_store *store, const char *name, enum vm_fd_kind kind)
{
	struct entry *entry = find_untaken(store, name);
	const char *wrong;
	char text[192];
	int fd = -1;

	if (!entry)
		return -1;
	wrong = check_vm(entry->fd, kind, &fd, text, sizeof(text));
	if (wrong)
		return refuse(store, entry, wrong);
	close(entry->fd);
	entry->fd = -1;
	return fd;
}

int fd_store_take_listener(struct fd_store *store, const char *name, int type, const char *path)
{
	struct entry *entry = find_untaken(store, name);
	const char *wrong = entry ? check_listener(entry->fd, type, path) : NULL;

	if (!entry)
		return -1;
	return wrong ? refuse(store, entry, wrong) : hand_over(entry);
}
