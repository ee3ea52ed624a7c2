/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "allocate.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static void *there_or_not(void *memory, size_t size)
{
	if (!memory) {
		fprintf(stderr, "%s: out of memory (%zu bytes); give it more and start it again\n",
			program_invocation_short_name, size);
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

void *allocate_large_page(void)
{
	/* twice as much has it in it somewhere */
	uint8_t *memory = mmap(NULL, 2 * LARGE_PAGE_SIZE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *page;
	size_t before;

	memory = there_or_not(memory == MAP_FAILED ? NULL : memory, LARGE_PAGE_SIZE);
	before = -(uintptr_t)memory & (LARGE_PAGE_SIZE - 1);
	page = memory + before;
	if (before)
		munmap(memory, before);
	munmap(page + LARGE_PAGE_SIZE, LARGE_PAGE_SIZE - before);
	/* where it is refused, small pages do */
	(void)madvise(page, LARGE_PAGE_SIZE, MADV_HUGEPAGE);
	return page;
}

void free_large_page(void *page)
{
	munmap(page, LARGE_PAGE_SIZE);
}
