/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "journald.h"

#include <endian.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static const struct sockaddr_un address = {
	.sun_family = AF_UNIX,
	.sun_path = "/run/systemd/journal/socket",
};
/* Not connected: journald may be another one by the next entry. */
static int datagrams = -1;

/* systemd says in $JOURNAL_STREAM which file is the journal's (systemd.exec(5)). */
bool journald_has_stderr(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t device, inode;
	struct stat status;

	return stream && sscanf(stream, "%" SCNuMAX ":%" SCNuMAX, &device, &inode) == 2 &&
	       !fstat(2, &status) && status.st_dev == device && status.st_ino == inode;
}

void journald_put(struct journald_entry *entry, const char *name, const char *format, ...)
{
	const size_t n_name = strlen(name), n_left = sizeof(entry->bytes) - entry->n;
	/* Name, newline, the value's size, the value, newline: for values of any bytes. */
	const size_t n_before = n_name + 1 + sizeof(uint64_t);
	char *place = entry->bytes + entry->n;
	va_list arguments;
	uint64_t size;
	int n = -1;

	va_start(arguments, format);
	if (n_left > n_before)
		n = vsnprintf(place + n_before, n_left - n_before, format, arguments);
	va_end(arguments);
	/* What would be its final NUL is the newline's place. */
	if (n < 0 || (size_t)n >= n_left - n_before)
		return;
	memcpy(place, name, n_name);
	place[n_name] = '\n';
	size = htole64((uint64_t)n);
	memcpy(place + n_name + 1, &size, sizeof(size));
	place[n_before + (size_t)n] = '\n';
	entry->n += n_before + (size_t)n + 1;
}

void journald_open(void)
{
	if (datagrams < 0)
		datagrams = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

bool journald_send(const struct journald_entry *entry)
{
	return datagrams >= 0 &&
	       sendto(datagrams, entry->bytes, entry->n, MSG_DONTWAIT | MSG_NOSIGNAL,
		      (const struct sockaddr *)&address, sizeof(address)) >= 0;
}
