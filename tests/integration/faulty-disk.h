/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk that cannot be synced when a test wants it: fdatasync() and fsync() of the daemons that are
 * launched from its beginning on fail, until it is well again.
 */
#ifndef INTEGRATION_FAULTY_DISK_H
#define INTEGRATION_FAULTY_DISK_H

#include <stdbool.h>

/* Returns false where the kernel cannot have a process answer another's calls; then nothing is done. */
__attribute__((warn_unused_result)) bool faulty_disk_begin(void);
/* From now on they fail with this errno; 0: the disk is well. */
void faulty_disk_set(int error);

#endif
