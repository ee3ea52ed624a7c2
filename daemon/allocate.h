/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that is there or the daemon is not.
 *
 * A daemon that is refused memory half-way through an update could only guess what to undo with
 * the memory it does not have.  It ends instead, saying so: the VMs' owners see their connection
 * close, as after any crash.  What peers can make the daemon allocate is bounded elsewhere.
 */
#ifndef KVMATTRD_ALLOCATE_H
#define KVMATTRD_ALLOCATE_H

#include <stddef.h>
#include <stdlib.h>

/* As malloc(), calloc(), reallocarray() and strdup(), but never NULL. */
__attribute__((malloc, returns_nonnull)) void *allocate(size_t size);
__attribute__((malloc, returns_nonnull)) void *allocate_zeroed(size_t n, size_t size);
__attribute__((returns_nonnull)) void *allocate_again(void *old, size_t n, size_t size);
__attribute__((malloc, returns_nonnull)) char *allocate_string(const char *text);

/*
 * A large page of the machine, where it has one, else as many small ones: all 0.  It goes back to
 * the system when it is freed.
 */
#define LARGE_PAGE_SIZE ((size_t)2 << 20)
__attribute__((returns_nonnull)) void *allocate_large_page(void);
void free_large_page(void *page);

#define allocate_one(type) ((type *)allocate_zeroed(1, sizeof(type)))

/* Doubles an array when it is full: array is a pointer, n its length, capacity what it holds. */
#define allocate_room(array, n, capacity)                                                \
	do {                                                                             \
		if ((n) == (capacity)) {                                                 \
			(capacity) = (capacity) ? 2 * (capacity) : 16;                   \
			(array) = allocate_again((array), (capacity), sizeof(*(array))); \
		}                                                                        \
	} while (0)

#endif
