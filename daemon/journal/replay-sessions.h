/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sessions of a replay: which of their updates are settled, and how.  Private to replay.c.
 *
 * A session's updates are settled in order.  What a batch says of them is checked when the batch is
 * taken, and holds when it comes into force.
 */
#ifndef KVMATTRD_REPLAY_SESSIONS_H
#define KVMATTRD_REPLAY_SESSIONS_H

#include "replay.h"

void replay_sessions_destroy(struct replay *replay);
/* Its id is above all that ever were. */
void replay_session_add(struct replay *replay, const struct vm_record_session *facts);
void replay_session_close(struct replay *replay, struct replay_session *session);
/* Only what is to be kept is there behind it. */
void replay_sessions_trim(struct replay *replay);

/*
 * Does the part of a batch follow what is settled, and what the batch's parts before it settle?
 * NULL, or what is wrong with its update (static).
 */
const char *replay_session_check_part(struct replay_session *session,
				      const struct vm_record_part *part, uint64_t batch_number);
/* The part is in force. */
void replay_session_settle_part(struct replay_session *session, const struct vm_record_part *part,
				const char *text);

/* The same for an update that ended outside of a batch. */
const char *replay_session_check_refused(const struct replay_session *session,
					 const struct wire_failure *failure);
void replay_session_settle_refused(struct replay_session *session,
				   const struct wire_failure *failure);

#endif
