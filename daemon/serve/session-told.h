/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session as vm.get and vm.sessions tell of it.
 *
 * Its object is kept: all but three numbers hardly ever change, and an answer to a thousand
 * questions a second would otherwise consist of making and freeing objects.
 */
#ifndef KVMATTRD_SESSION_TOLD_H
#define KVMATTRD_SESSION_TOLD_H

struct json_object;
struct session;
struct session_told;

/*
 * As it is now, and the caller's to release; it is printed before the session has its next turn.
 */
struct json_object *session_told(struct session *session);

/* NULL: nobody has asked for it. */
void session_told_free(struct session_told *told);

#endif
