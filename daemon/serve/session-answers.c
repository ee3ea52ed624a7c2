/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a session tells its peer of its updates: how far they are settled, and which were not done
 * whole.
 */
#include "session.h"

#include "daemon/allocate.h"
#include "memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FAILURES_IN_ANSWER \
	((WIRE_MAX_MESSAGE - sizeof(struct wire_answer)) / sizeof(struct wire_failure))

void session_settle(struct session *session, uint64_t seqno, uint64_t commit, uint32_t n_in_force,
		    enum kvmattr_status status, const char *text)
{
	session->n_unsettled--;
	session->settled_seqno = seqno;
	session->commit = commit;
	if (status != KVMATTR_OK) {
		struct wire_failure failure = { .seqno = seqno,
						.status = status,
						.n_in_force = n_in_force };

		snprintf(failure.text, sizeof(failure.text), "%s", text);
		session_note_failure(session, &failure);
	}
}

/* Of those that were told, the first n. */
static void forget_failures(struct session *session, size_t n)
{
	if (!n)
		return;
	session->forgotten_seqno = session->failures[n - 1].seqno;
	session->n_failures -= n;
	session->n_told_failures -= n;
	memmove(session->failures, session->failures + n,
		session->n_failures * sizeof(*session->failures));
}

/*
 * Those that were told are kept for as long as the peer may not have read it: should the journal
 * have to be written anew, they go into it.
 */
static void forget_old_failures(struct session *session)
{
	size_t n = 0;

	while (n < session->n_told_failures &&
	       session->settled_seqno - session->failures[n].seqno >=
		       session->daemon->limits.max_updates_in_flight)
		n++;
	forget_failures(session, n);
}

/* Where memory is short, they are not kept beyond that: it is the journal's copy that counts. */
static void forget_told_failures(struct session *session)
{
	forget_failures(session, session->n_told_failures);
	if (session->n_failures)
		return;
	free(session->failures);
	session->failures = NULL;
	session->failures_capacity = 0;
	memory_charge_session(session);
}

void session_note_failure(struct session *session, const struct wire_failure *failure)
{
	/* Only now and then, and so that half of the room is free behind it. */
	if (session->n_failures == session->failures_capacity) {
		forget_old_failures(session);
		if (session->n_failures >= session->failures_capacity / 2) {
			session->failures_capacity = 2 * session->failures_capacity + 16;
			session->failures =
				allocate_again(session->failures, session->failures_capacity,
					       sizeof(*session->failures));
			memory_charge_session(session);
		}
	}
	session->failures[session->n_failures++] = *failure;
}

/* One answer; its failures, if they are too many for it, say how far it reaches. */
static int send_answer(struct session *session)
{
	size_t n_untold = session->n_failures - session->n_told_failures;
	const struct wire_failure *failures =
		n_untold ? &session->failures[session->n_told_failures] : NULL;
	size_t n = n_untold < MAX_FAILURES_IN_ANSWER ? n_untold : MAX_FAILURES_IN_ANSWER;
	uint64_t last = n < n_untold ? failures[n - 1].seqno : session->settled_seqno;
	struct wire_answer answer = { .commit = session->commit, .n_failures = (uint32_t)n };
	struct iovec parts[] = {
		{ &answer, sizeof(answer) },
		{ (void *)failures, n * sizeof(*failures) },
	};
	int r;

	answer.header = wire_header_make(WIRE_ANSWER, parts[0].iov_len + parts[1].iov_len, last);
	r = seqpacket_send(session->socket, parts, n ? 2 : 1, NULL, 0, MSG_DONTWAIT);
	if (r < 0)
		return r;
	session->answered_seqno = last;
	session->n_told_failures += n;
	if (n && !memory_lets_keep(session))
		forget_told_failures(session);
	return 0;
}

static bool has_to_answer(const struct session *session)
{
	if (session->socket < 0 || session->answered_seqno >= session->settled_seqno)
		return false;
	/* Behind what was said before, as RESUMED: send_unsent() comes here again. */
	if (session->unsent)
		return false;
	/* What a dead daemon wrote may not be on the disk: when it is, all are flushed. */
	return !session->has_old_answers || !session->hosted->recovered_number;
}

void session_flush(struct session *session)
{
	int r = 0;

	while (!r && has_to_answer(session))
		r = send_answer(session);
	if (r == -EAGAIN)
		event_add(session->writable, NULL);
	else if (r < 0)
		session_close(session, KVMATTR_NO_VM, "the peer takes no answers any more");
	session_read_or_pause(session);
}
