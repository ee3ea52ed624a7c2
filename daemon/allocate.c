/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "allocate.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void *there_or_not(void *memory, size_t size)
{
	if (!memory) {
		fprintf(stderr,
			"kvmattrd: out of memory (%zu bytes); give the service more memory "
			"and start it again\n",
			size);
		abort();
	}
	return memory;
}

void *allocate(size_t size)
{
	return there_or_not(malloc(size ? size : 1), size);
}

void *allocate_zeroed(size_t n, size_t size)
{
	return there_or_not(calloc(n ? n : 1, size ? size : 1), n * size);
}

void *allocate_again(void *old, size_t n, size_t size)
{
	return there_or_not(reallocarray(old, n ? n : 1, size ? size : 1), n * size);
}

char *allocate_string(const char *text)
{
	return there_or_not(strdup(text), strlen(text) + 1);
}
