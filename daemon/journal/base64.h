/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes as text: base64 of RFC 4648, section 4, with padding and without line breaks.
 */
#ifndef KVMATTRD_BASE64_H
#define KVMATTRD_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Characters of n bytes, and at most how many bytes are in n characters. */
#define BASE64_LENGTH(n)   (((n) + 2) / 3 * 4)
#define BASE64_MAX_SIZE(n) ((n) / 4 * 3)

/* text has room for BASE64_LENGTH(n) characters and a NUL. */
void base64_encode(const uint8_t *bytes, size_t n, char *ret_text);
/*
 * bytes has room for BASE64_MAX_SIZE(length).  Returns false for what an encoder would not write:
 * other characters, a length that is no multiple of 4, bits behind the end that are not 0.
 */
__attribute__((warn_unused_result)) bool base64_decode(const char *text, size_t length,
						       uint8_t *ret_bytes, size_t *ret_n);

#endif
