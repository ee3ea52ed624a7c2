/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does a checkpoint say what the log up to it says?
 */
#ifndef KVMATTRD_REPLAY_COMPARE_H
#define KVMATTRD_REPLAY_COMPARE_H

#include "replay.h"

/*
 * Both as replay_end() leaves them.  NULL, or in words what differs (static).  A checkpoint that may
 * have been made from the daemon's memory can know what could not be written into the log any more:
 * of sessions, that more is settled or that they are gone; of doubtful pages, that they are fewer.
 */
const char *replay_compare(const struct replay *log, const struct replay *checkpoint,
			   bool may_be_from_memory);

#endif
