/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An export: a VM's whole policy as of one commit, in a file that another daemon can import.
 *
 *	offset  size  field
 *	     0     8  magic       the characters KMATTRX1
 *	     8     4  format      1
 *	    12     4  reserved    0
 *	    16    64  name        the VM's, NUL-terminated, NULs behind it
 *	    80     8  commit      as of which it is
 *	    88     8  commit_us   when that was: microseconds since 1970, UTC; 0 for commit 0
 *	    96     8  image_size  bytes behind the header
 *	   104     4  crc         CRC32C of the image
 *	   108     4  header_crc  CRC32C of the 108 bytes before it
 *	   112        image       the policy's (daemon/policy/image.h), as in a checkpoint
 *
 * Little-endian.  Later formats keep the header's size and the places of magic, format and
 * header_crc.  The same commit of the same VM gives the same bytes.
 *
 * Knows bytes; every one of them may be hostile.
 */
#ifndef KVMATTRD_EXPORT_H
#define KVMATTRD_EXPORT_H

#include "daemon/policy/image.h"
#include "replay.h"

#define EXPORT_MAGIC  UINT64_C(0x3158525454414d4b) /* "KMATTRX1" */
#define EXPORT_FORMAT 1u

struct export_header {
	uint64_t magic;
	uint32_t format;
	uint32_t reserved;
	char name[KVMATTR_NAME_SIZE];
	uint64_t commit;
	uint64_t commit_us;
	uint64_t image_size;
	uint32_t crc;
	uint32_t header_crc;
};
_Static_assert(sizeof(struct export_header) == 112, "layout");

/* Adds the state's export at the end. */
void export_write(const struct replay *state, struct image *image);
/*
 * Checks size bytes of an export, all of which are used, and copies the header; the image is behind
 * it.  0, or -EBADMSG for what is none, or -EPROTO for one of a later version: then *ret_offset and
 * text say where and why.
 */
__attribute__((warn_unused_result)) int export_check(const uint8_t *data, size_t size,
						     struct export_header *ret, size_t *ret_offset,
						     char *text, size_t text_size);

#endif
