/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base64.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const uint8_t *bytes, size_t n, char *ret_text)
{
	for (size_t i = 0; i < n; i += 3) {
		size_t left = n - i;
		uint32_t group = (uint32_t)bytes[i] << 16;

		group |= left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
		group |= left > 2 ? bytes[i + 2] : 0;
		*ret_text++ = alphabet[group >> 18];
		*ret_text++ = alphabet[group >> 12 & 63];
		*ret_text++ = left > 1 ? alphabet[group >> 6 & 63] : '=';
		*ret_text++ = left > 2 ? alphabet[group & 63] : '=';
	}
	*ret_text = '\0';
}

/* A character's six bits; 64 or more for what is none. */
static uint32_t value_of(char character)
{
	const char *at = character ? strchr(alphabet, character) : NULL;

	return at ? (uint32_t)(at - alphabet) : 64;
}

bool base64_decode(const char *text, size_t length, uint8_t *ret_bytes, size_t *ret_n)
{
	size_t padding = 0, n = 0;

	if (length % 4)
		return false;
	while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
		padding++;
	for (size_t i = 0; i < length; i += 4) {
		size_t n_padded = i + 4 == length ? padding : 0;
		uint32_t group = 0;

		for (size_t j = 0; j < 4; j++) {
			uint32_t value = j < 4 - n_padded ? value_of(text[i + j]) : 0;

			if (value > 63)
				return false;
			group = group << 6 | value;
		}
		if (group & ((UINT32_C(1) << 8 * n_padded) - 1))
			return false;
		ret_bytes[n++] = (uint8_t)(group >> 16);
		if (n_padded < 2)
			ret_bytes[n++] = (uint8_t)(group >> 8);
		if (n_padded < 1)
			ret_bytes[n++] = (uint8_t)group;
	}
	*ret_n = n;
	return true;
}
