/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a journal's files hold, byte by byte; doc/kvmattr-journal.5.scd is the same in prose.
 *
 * A VM's journal is a directory of segments, each a header and records one behind the other.
 * A record's header has a checksum of its own, so that its size can be believed before its payload
 * is looked at: that is what tells a record that was being written when the daemon died (the file
 * ends within it) from one that was damaged (it is all there and does not add up).  The first is
 * cut off; the second stops the reading.
 *
 * Records that are written together are there together or not at all: each but the last of them
 * says that more follows.  A write that failed half-way is not whole even if it cannot be cut off.
 *
 * The checksums start from the journal's identity and the record's number, so that a record from
 * another VM, from an earlier life of this one, or from another place does not add up either.
 *
 * Little-endian, 8-byte aligned, reserved fields 0.  Knows bytes, no files.
 */
#ifndef KVMATTRD_JOURNAL_RECORD_H
#define KVMATTRD_JOURNAL_RECORD_H

#include <stddef.h>
#include <stdint.h>

#define JOURNAL_MAGIC            UINT64_C(0x314a525454414d4b) /* "KMATTRJ1" */
#define JOURNAL_FORMAT           1u
#define JOURNAL_MAX_PAYLOAD      (UINT32_C(64) << 20)
#define JOURNAL_SEGMENT_NAME_LEN 24 /* "%016x.journal", by the first record's number */

/* Whose journal it is: one registration of one VM in one boot of the host. */
struct journal_identity {
	uint8_t boot_id[16]; /* /proc/sys/kernel/random/boot_id */
	uint8_t life_id[16]; /* random, one for each registration */
};
_Static_assert(sizeof(struct journal_identity) == 32, "layout");

struct journal_segment_header {
	uint64_t magic;
	uint32_t format;
	uint32_t reserved;
	struct journal_identity identity;
	uint64_t first_number;
	uint32_t reserved2;
	uint32_t crc; /* CRC32C of the bytes before it */
};
_Static_assert(sizeof(struct journal_segment_header) == 64, "layout");

#define JOURNAL_RECORD_MORE 1u /* the next record was written together with this one */

/* The payload follows, then zeros up to a multiple of 8 bytes. */
struct journal_record_header {
	uint64_t number;     /* rises by one, across segments */
	uint64_t time_us;    /* CLOCK_REALTIME when it was written */
	uint32_t size;       /* of the payload, in bytes */
	uint16_t type;       /* the journal's user knows which */
	uint16_t flags;      /* JOURNAL_RECORD_… */
	uint32_t crc;        /* CRC32C of identity, the header's other fields and the payload */
	uint32_t header_crc; /* CRC32C of identity and the header's bytes before it */
};
_Static_assert(sizeof(struct journal_record_header) == 32, "layout");

/* Makes a segment's header. */
struct journal_segment_header journal_segment_header_make(const struct journal_identity *identity,
							  uint64_t first_number);
/*
 * Copies a segment's header from bytes and checks it.  Returns 0; -EBADMSG for damage, -EPROTO for
 * a format that is not known: then *ret_text says what is wrong (static).
 */
__attribute__((warn_unused_result)) int journal_segment_header_get(
	const void *bytes, struct journal_segment_header *ret, const char **ret_text);
/* Makes a record's header over a payload of size bytes, at most JOURNAL_MAX_PAYLOAD (asserted). */
struct journal_record_header journal_record_header_make(const struct journal_identity *identity,
							uint64_t number, uint64_t time_us,
							uint16_t type, uint16_t flags,
							const void *payload, size_t size);
/* Copies a record's header and checks it.  Returns NULL, or what is wrong (static). */
const char *journal_record_header_get(const struct journal_identity *identity, const void *bytes,
				      struct journal_record_header *ret);
/* Does this payload, with its padding, belong to that header?  NULL, or what is wrong (static). */
const char *journal_payload_check(const struct journal_identity *identity,
				  const struct journal_record_header *header,
				  const uint8_t *payload);
/* Bytes of a record in its file: header, payload, padding. */
static inline size_t journal_record_size(size_t payload_size)
{
	return sizeof(struct journal_record_header) + ((payload_size + 7) & ~(size_t)7);
}

#endif
