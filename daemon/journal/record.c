/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "record.h"

#include <assert.h>
#include <errno.h>
#include <isa-l/crc.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the journal is little-endian");
_Static_assert(offsetof(struct journal_segment_header, identity) == 16, "layout");
_Static_assert(offsetof(struct journal_segment_header, first_number) == 48, "layout");
_Static_assert(offsetof(struct journal_segment_header, crc) == 60, "layout");
_Static_assert(offsetof(struct journal_record_header, size) == 16, "layout");
_Static_assert(offsetof(struct journal_record_header, type) == 20, "layout");
_Static_assert(offsetof(struct journal_record_header, flags) == 22, "layout");
_Static_assert(offsetof(struct journal_record_header, crc) == 24, "layout");
_Static_assert(offsetof(struct journal_record_header, header_crc) == 28, "layout");

/* ISA-L leaves the customary inversions, before and after, to us.  It does not write to bytes. */
static uint32_t crc32c(uint32_t crc, const void *bytes, size_t size)
{
	assert(size <= JOURNAL_MAX_PAYLOAD);
	return ~crc32_iscsi((unsigned char *)bytes, (int)size, ~crc);
}

struct journal_segment_header journal_segment_header_make(const struct journal_identity *identity,
							  uint64_t first_number)
{
	struct journal_segment_header header = {
		.magic = JOURNAL_MAGIC,
		.format = JOURNAL_FORMAT,
		.identity = *identity,
		.first_number = first_number,
	};

	header.crc = crc32c(0, &header, offsetof(struct journal_segment_header, crc));
	return header;
}

int journal_segment_header_get(const void *bytes, struct journal_segment_header *ret,
			       const char **ret_text)
{
	struct journal_segment_header header;

	memcpy(&header, bytes, sizeof(header));
	if (header.magic != JOURNAL_MAGIC) {
		*ret_text = "it does not begin as a journal does";
		return -EBADMSG;
	}
	/* Later formats keep the header's size and checksum, so that they can be told from damage. */
	if (header.crc != crc32c(0, &header, offsetof(struct journal_segment_header, crc))) {
		*ret_text = "its header does not match its checksum";
		return -EBADMSG;
	}
	if (header.format != JOURNAL_FORMAT) {
		*ret_text = "its format is not known to this version of kvmattrd";
		return -EPROTO;
	}
	if (header.reserved || header.reserved2) {
		*ret_text = "reserved fields of its header are not 0";
		return -EBADMSG;
	}
	*ret = header;
	return 0;
}

/* What the payload's checksum starts with, so that it fits only in its place. */
static uint32_t crc_of_place(const struct journal_identity *identity,
			     const struct journal_record_header *header, size_t size)
{
	return crc32c(crc32c(0, identity, sizeof(*identity)), header, size);
}

struct journal_record_header journal_record_header_make(const struct journal_identity *identity,
							uint64_t number, uint64_t time_us,
							uint16_t type, uint16_t flags,
							const void *payload, size_t size)
{
	struct journal_record_header header = {
		.number = number,
		.time_us = time_us,
		.size = (uint32_t)size,
		.type = type,
		.flags = flags,
	};

	assert(size <= JOURNAL_MAX_PAYLOAD);
	header.crc = crc_of_place(identity, &header, offsetof(struct journal_record_header, crc));
	header.crc = crc32c(header.crc, payload, size);
	header.header_crc =
		crc_of_place(identity, &header, offsetof(struct journal_record_header, header_crc));
	return header;
}

const char *journal_record_header_get(const struct journal_identity *identity, const void *bytes,
				      struct journal_record_header *ret)
{
	struct journal_record_header header;

	memcpy(&header, bytes, sizeof(header));
	if (header.header_crc !=
	    crc_of_place(identity, &header, offsetof(struct journal_record_header, header_crc)))
		return "its header does not match its checksum";
	if (header.size > JOURNAL_MAX_PAYLOAD)
		return "it is longer than a record can be";
	if (header.flags & ~JOURNAL_RECORD_MORE)
		return "it has flags that are not known";
	*ret = header;
	return NULL;
}

const char *journal_payload_check(const struct journal_identity *identity,
				  const struct journal_record_header *header,
				  const uint8_t *payload)
{
	size_t padded = journal_record_size(header->size) - sizeof(*header);
	uint32_t crc = crc_of_place(identity, header, offsetof(struct journal_record_header, crc));

	if (header->crc != crc32c(crc, payload, header->size))
		return "its payload does not match its checksum";
	for (size_t i = header->size; i < padded; i++)
		if (payload[i])
			return "its padding is not 0";
	return NULL;
}
