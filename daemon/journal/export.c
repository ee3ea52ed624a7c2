/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "export.h"

#include <errno.h>
#include <isa-l/crc.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

_Static_assert(offsetof(struct export_header, commit) == 80, "layout");
_Static_assert(offsetof(struct export_header, header_crc) == 108, "layout");

/* What ISA-L takes at a time: it counts in int. */
#define CRC_STEP ((size_t)1 << 30)

/* ISA-L leaves the customary inversions, before and after, to us.  It does not write to bytes. */
static uint32_t crc32c(const uint8_t *bytes, size_t size)
{
	uint32_t crc = UINT32_MAX;

	for (size_t n; size; bytes += n, size -= n) {
		n = size < CRC_STEP ? size : CRC_STEP;
		crc = crc32_iscsi((unsigned char *)bytes, (int)n, crc);
	}
	return ~crc;
}

void export_write(const struct replay *state, struct image *image)
{
	size_t start = image->size, begin = start + sizeof(struct export_header);
	struct export_header header = {
		.magic = EXPORT_MAGIC,
		.format = EXPORT_FORMAT,
		.commit = state->commit,
		.commit_us = state->commit_us,
	};

	memcpy(header.name, state->facts.name, strnlen(state->facts.name, sizeof(header.name) - 1));
	image_add(image, &header, sizeof(header));
	policy_image_write(state->policy, image);
	header.image_size = image->size - begin;
	header.crc = crc32c(image->data + begin, image->size - begin);
	header.header_crc =
		crc32c((const uint8_t *)&header, offsetof(struct export_header, header_crc));
	memcpy(image->data + start, &header, sizeof(header));
}

/* What is wrong with an export, and where. */
struct problem {
	size_t *ret_offset;
	char *text;
	size_t text_size;
};

__attribute__((format(printf, 4, 5))) static int refuse(const struct problem *problem, int error,
							size_t offset, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(problem->text, problem->text_size, format, arguments);
	va_end(arguments);
	*problem->ret_offset = offset;
	return -error;
}

static bool is_padded_name(const char *name)
{
	size_t length = strnlen(name, KVMATTR_NAME_SIZE);

	for (size_t i = length; i < KVMATTR_NAME_SIZE; i++)
		if (name[i])
			return false;
	return length < KVMATTR_NAME_SIZE && kvmattr_is_vm_name(name);
}

static int check_header(const struct export_header *header, const struct problem *problem)
{
	const size_t end = offsetof(struct export_header, header_crc);

	if (header->magic != EXPORT_MAGIC)
		return refuse(problem, EBADMSG, 0,
			      "it does not begin as an export does: is it one?");
	if (header->header_crc != crc32c((const uint8_t *)header, end))
		return refuse(problem, EBADMSG, end,
			      "its header does not match its checksum: export it again");
	if (header->format != EXPORT_FORMAT)
		return refuse(problem, EPROTO, offsetof(struct export_header, format),
			      "its format is %u, of which this version knows nothing: use a later "
			      "one, or export with this one",
			      header->format);
	if (header->reserved)
		return refuse(problem, EBADMSG, offsetof(struct export_header, reserved),
			      "a reserved field of its header is not 0: export it again");
	if (!is_padded_name(header->name))
		return refuse(problem, EBADMSG, offsetof(struct export_header, name),
			      "the name in its header is none of a VM: export it again");
	return 0;
}

int export_check(const uint8_t *data, size_t size, struct export_header *ret, size_t *ret_offset,
		 char *text, size_t text_size)
{
	const struct problem problem = { ret_offset, text, text_size };
	struct export_header header;
	int r;

	if (size < sizeof(header))
		return refuse(&problem, EBADMSG, size,
			      "it ends within its header: is it an export, and whole?");
	memcpy(&header, data, sizeof(header));
	r = check_header(&header, &problem);
	if (r < 0)
		return r;
	if (header.image_size != size - sizeof(header))
		return refuse(&problem, EBADMSG, size,
			      "it has %zu bytes behind its header, which says %llu: copy it "
			      "again, or export it again",
			      size - sizeof(header), (unsigned long long)header.image_size);
	if (header.crc != crc32c(data + sizeof(header), size - sizeof(header)))
		return refuse(&problem, EBADMSG, offsetof(struct export_header, crc),
			      "its content does not match its checksum: copy it again, or export "
			      "it again");
	*ret = header;
	return 0;
}
