/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that kvmattrctl reads and writes whole.
 */
#ifndef KVMATTRCTL_FILE_H
#define KVMATTRCTL_FILE_H

#include <stddef.h>
#include <stdint.h>

/* Reads a regular file; the caller frees *ret.  0 or a negative errno. */
__attribute__((warn_unused_result)) int file_read(const char *path, uint8_t **ret,
						  size_t *ret_size);
/*
 * Makes a file that is there whole, and on the disk, or not at all.  -EEXIST if there is one of
 * that name, which stays.  0 or a negative errno.
 */
__attribute__((warn_unused_result)) int file_make(const char *path, const uint8_t *data,
						  size_t size);
/*
 * The same in place of the regular file that may be there, for whomever umask(2) lets read it.
 * -EEXIST if something else is there: a directory, a link, a device.  0 or a negative errno.
 */
__attribute__((warn_unused_result)) int file_replace(const char *path, const uint8_t *data,
						     size_t size);

#endif
