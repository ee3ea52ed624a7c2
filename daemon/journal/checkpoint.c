/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A checkpoint's file is a header, with a checksum of its own, and a body (checkpoint-body.h),
 * whose checksum is in the header: so that a header can be believed without reading the rest, and a
 * later format be told from damage.
 */
#include "checkpoint.h"

#include "checkpoint-body.h"
#include "daemon/allocate.h"
#include "directory.h"
#include "io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <isa-l/crc.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHECKPOINT_MAGIC  UINT64_C(0x3143525454414d4b) /* "KMATTRC1" */
#define CHECKPOINT_FORMAT 1u

#define SUFFIX     ".checkpoint"
#define NEW_SUFFIX SUFFIX ".new"
/* With NEW_SUFFIX. */
#define NEW_NAME_LEN (CHECKPOINT_NAME_LEN + 4)

/* Far more than any policy takes; a file says what it likes. */
#define MAX_SIZE (UINT64_C(1) << 36)
/* How often the directory is listed again, while the daemon removes what was in it. */
#define N_LOOKS 8

#define CANNOT_READ "cannot read it: %s; try again when the disk is well"
#define KEEP_IT     "; keep the file, and if the VM is not recovered without it, register it anew"

struct checkpoint_header {
	uint64_t magic;
	uint32_t format;
	uint32_t reserved;
	struct journal_identity identity;
	uint64_t number;     /* of the last record that it includes */
	uint64_t commit;     /* the last that it includes */
	uint64_t size;       /* of the file, in bytes */
	uint32_t crc;        /* CRC32C of what is behind the header */
	uint32_t header_crc; /* CRC32C of the bytes before it */
};
_Static_assert(sizeof(struct checkpoint_header) == 80, "layout");
_Static_assert(offsetof(struct checkpoint_header, header_crc) == 76, "layout");

/* ISA-L leaves the customary inversions to us, and takes an int for the size. */
static uint32_t crc32c(const uint8_t *bytes, size_t size)
{
	uint32_t crc = ~UINT32_C(0);

	while (size) {
		size_t n = size < INT_MAX ? size : INT_MAX;

		crc = crc32_iscsi((unsigned char *)bytes, (int)n, crc);
		bytes += n;
		size -= n;
	}
	return ~crc;
}

static uint32_t crc_of_header(const struct checkpoint_header *header)
{
	return crc32c((const uint8_t *)header, offsetof(struct checkpoint_header, header_crc));
}

/* name: room for NEW_NAME_LEN + 1. */
static void make_name(uint64_t number, const char *suffix, char *name)
{
	snprintf(name, NEW_NAME_LEN + 1, "%016" PRIx64 "%s", number, suffix);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void make_bytes(const struct journal_identity *identity, const struct replay *replay,
		       struct image *bytes)
{
	struct checkpoint_header header = {
		.magic = CHECKPOINT_MAGIC,
		.format = CHECKPOINT_FORMAT,
		.identity = *identity,
		.number = replay->number,
		.commit = replay->commit,
	};

	image_add(bytes, &header, sizeof(header));
	checkpoint_body_add(replay, bytes);
	header.size = bytes->size;
	header.crc = crc32c(bytes->data + sizeof(header), bytes->size - sizeof(header));
	header.header_crc = crc_of_header(&header);
	memcpy(bytes->data, &header, sizeof(header));
}

/* Makes a file of these bytes that is on the disk when this returns 0. */
static int write_file(int directory_fd, const char *name, const struct image *bytes)
{
	int fd, r;

	/* it is there if an earlier attempt failed, and removing what it left did, too */
	if (journal_io.unlinkat(directory_fd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = journal_io.openat(directory_fd, name,
			       O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = journal_io_write(fd, bytes->data, bytes->size, 0);
	if (r == 0 && journal_io.fsync(fd) < 0)
		r = -errno;
	close(fd);
	return r;
}

int checkpoint_write(int directory_fd, const struct journal_identity *identity,
		     const struct replay *replay, uint64_t *ret_size)
{
	char name[NEW_NAME_LEN + 1], new_name[NEW_NAME_LEN + 1];
	struct image bytes = { 0 };
	uint64_t size;
	int r;

	assert(replay->policy && replay->number && !replay->batch &&
	       replay->settled == replay->number);
	make_name(replay->number, SUFFIX, name);
	make_name(replay->number, NEW_SUFFIX, new_name);
	make_bytes(identity, replay, &bytes);
	size = bytes.size;
	r = size > MAX_SIZE ? -EFBIG : write_file(directory_fd, new_name, &bytes);
	image_destroy(&bytes);
	if (r == 0 && journal_io.renameat2(directory_fd, new_name, directory_fd, name, 0) < 0)
		r = -errno;
	if (r < 0) {
		journal_io.unlinkat(directory_fd, new_name, 0);
		return r;
	}
	if (journal_io.fsync(directory_fd) < 0)
		return -errno;
	*ret_size = size;
	return 0;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static int check_header(const struct checkpoint_header *header, uint64_t number, const char *file,
			struct journal_error *ret_error)
{
	if (header->magic != CHECKPOINT_MAGIC)
		return journal_error_set(ret_error, EBADMSG, file, 0,
					 "it does not begin as a checkpoint does" KEEP_IT);
	if (header->header_crc != crc_of_header(header))
		return journal_error_set(ret_error, EBADMSG, file, 0,
					 "its header does not match its checksum" KEEP_IT);
	if (header->format != CHECKPOINT_FORMAT)
		return journal_error_set(ret_error, EPROTO, file,
					 offsetof(struct checkpoint_header, format),
					 "its format, %" PRIu32 ", is not known to this version of "
					 "kvmattrd; use the version that wrote it, or a later one",
					 header->format);
	if (header->reserved)
		return journal_error_set(ret_error, EBADMSG, file,
					 offsetof(struct checkpoint_header, reserved),
					 "reserved fields of its header are not 0" KEEP_IT);
	if (header->number != number)
		return journal_error_set(ret_error, EBADMSG, file,
					 offsetof(struct checkpoint_header, number),
					 "it ends with record %" PRIu64 ", as its name does not "
					 "say: give it its own name back",
					 header->number);
	return 0;
}

/* Reads the header of a file of size bytes, and checks it. */
static int read_header(int fd, uint64_t size, const struct journal_identity *identity,
		       uint64_t number, const char *file, struct checkpoint_header *ret,
		       struct journal_error *ret_error)
{
	ssize_t n = journal_io_read(fd, ret, sizeof(*ret), 0);
	int r;

	if (n < 0)
		return journal_error_set(ret_error, (int)-n, file, 0, CANNOT_READ,
					 strerror((int)-n));
	if ((size_t)n < sizeof(*ret))
		return journal_error_set(ret_error, EBADMSG, file, (uint64_t)n,
					 "it ends within its header" KEEP_IT);
	r = check_header(ret, number, file, ret_error);
	if (r < 0)
		return r;
	if (memcmp(&ret->identity, identity, sizeof(*identity)) != 0)
		return journal_error_set(ret_error, EXDEV, file,
					 offsetof(struct checkpoint_header, identity),
					 "it belongs to another journal: put it back where it came "
					 "from");
	if (ret->size != size || size < sizeof(*ret) || size > MAX_SIZE)
		return journal_error_set(ret_error, EBADMSG, file, size,
					 "it has %" PRIu64 " bytes, its header says %" PRIu64
					 ", and a checkpoint has %zu to %" PRIu64 KEEP_IT,
					 size, ret->size, sizeof(*ret), MAX_SIZE);
	return 0;
}

/* Reads all of the file that the header is of, for the caller to free, and checks the rest. */
static int read_bytes(int fd, const struct checkpoint_header *header, const char *file,
		      uint8_t **ret, struct journal_error *ret_error)
{
	/* whatever size a file says it has, the daemon is not to die of it */
	uint8_t *bytes = malloc(header->size);
	ssize_t n;

	if (!bytes)
		return journal_error_set(ret_error, ENOMEM, file, 0,
					 "there is no memory for its %" PRIu64
					 " bytes: give the service more",
					 header->size);
	n = journal_io_read(fd, bytes, header->size, 0);
	if (n >= 0 && (uint64_t)n == header->size && memcmp(bytes, header, sizeof(*header)) == 0 &&
	    header->crc == crc32c(bytes + sizeof(*header), header->size - sizeof(*header))) {
		*ret = bytes;
		return 0;
	}
	free(bytes);
	if (n < 0)
		return journal_error_set(ret_error, (int)-n, file, 0, CANNOT_READ,
					 strerror((int)-n));
	return journal_error_set(ret_error, EBADMSG, file, sizeof(*header),
				 "it does not match its checksum" KEEP_IT);
}

int checkpoint_read(int directory_fd, const struct journal_identity *identity, uint64_t number,
		    struct replay *replay, struct journal_error *ret_error)
{
	struct checkpoint_header header;
	char file[NEW_NAME_LEN + 1];
	uint8_t *bytes = NULL;
	uint64_t size;
	int fd, r;

	make_name(number, SUFFIX, file);
	r = journal_file_open(directory_fd, file, O_RDONLY, &fd, &size, ret_error);
	if (r < 0)
		return r;
	r = read_header(fd, size, identity, number, file, &header, ret_error);
	if (r == 0)
		r = read_bytes(fd, &header, file, &bytes, ret_error);
	close(fd);
	if (r == 0)
		r = checkpoint_body_read(bytes, size, sizeof(header), file, replay, ret_error);
	free(bytes);
	if (r < 0)
		return r;
	replay->number = replay->settled = header.number;
	replay->commit = header.commit;
	return 0;
}

/* ---- Names ----------------------------------------------------------------------------------- */

/* Looks at one; 0, or a negative errno with *ret_error. */
static int look(int directory_fd, uint64_t number, struct checkpoint_name *ret,
		struct journal_error *ret_error)
{
	struct checkpoint_header header = { 0 };
	struct journal_error not_well;
	char file[NEW_NAME_LEN + 1];
	uint64_t size;
	ssize_t n;
	int fd, r;

	make_name(number, SUFFIX, file);
	r = journal_file_open(directory_fd, file, O_RDONLY, &fd, &size, ret_error);
	if (r < 0)
		return r;
	n = journal_io_read(fd, &header, sizeof(header), 0);
	close(fd);
	if (n < 0)
		return journal_error_set(ret_error, (int)-n, file, 0, CANNOT_READ,
					 strerror((int)-n));
	*ret = (struct checkpoint_name){ .number = number, .size = size };
	if (check_header(&header, number, file, &not_well) == 0)
		ret->commit = header.commit;
	return 0;
}

/* -ENOENT: one that was there is not any more. */
static int list(int directory_fd, struct checkpoint_name **ret, size_t *ret_n,
		struct journal_error *ret_error)
{
	struct checkpoint_name *names = NULL;
	uint64_t *numbers;
	size_t n;
	int r = journal_directory_list_numbers(directory_fd, SUFFIX, &numbers, &n, ret_error);

	if (r < 0)
		return r;
	if (n)
		names = allocate_zeroed(n, sizeof(*names));
	for (size_t i = 0; r == 0 && i < n; i++)
		r = look(directory_fd, numbers[i], &names[i], ret_error);
	free(numbers);
	if (r < 0) {
		free(names);
		return r;
	}
	*ret = names;
	*ret_n = n;
	return 0;
}

int checkpoint_list(int directory_fd, struct checkpoint_name **ret, size_t *ret_n,
		    struct journal_error *ret_error)
{
	int n_looks = 0, r;

	do /* what was removed just now may have made room for another one */
		r = list(directory_fd, ret, ret_n, ret_error);
	while (r == -ENOENT && ++n_looks < N_LOOKS);
	return r;
}

int checkpoint_remove(int directory_fd, uint64_t number)
{
	char name[NEW_NAME_LEN + 1];

	make_name(number, SUFFIX, name);
	return journal_io.unlinkat(directory_fd, name, 0) < 0 ? -errno : 0;
}

int checkpoint_remove_unfinished(int directory_fd, struct journal_error *ret_error)
{
	uint64_t *numbers = NULL;
	size_t n;
	int r = journal_directory_list_numbers(directory_fd, NEW_SUFFIX, &numbers, &n, ret_error);

	for (size_t i = 0; r == 0 && i < n; i++) {
		char name[NEW_NAME_LEN + 1];

		make_name(numbers[i], NEW_SUFFIX, name);
		if (journal_io.unlinkat(directory_fd, name, 0) < 0 && errno != ENOENT)
			r = journal_error_set(
				ret_error, errno, name, 0,
				"cannot remove this checkpoint, which was never finished: %s",
				strerror(errno));
	}
	free(numbers);
	return r;
}
