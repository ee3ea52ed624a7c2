/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions about the past: asked by a call, worked out in the archivist's thread from the
 * journal's files, answered when that is done.
 *
 * The event loop neither reads files nor waits for who does.  A peer that goes away takes its
 * question along.  States of the past that were asked for are kept for the next question, which is
 * mostly about the rest of the same one, and forgotten when nobody asks any more.
 */
#ifndef KVMATTRD_QUESTION_H
#define KVMATTRD_QUESTION_H

#include "daemon/journal/past.h"
#include "json-put.h"
#include "method.h"

struct archivist_job;

/* All that are under way, and what they share. */
struct questions *questions_new(struct daemon *daemon);
/* Nobody asks any more; what is under way goes to its end.  NULL is fine. */
void questions_free(struct questions *questions);

struct question;

struct question_kind {
	/* In the archivist's thread: 0, or a negative errno with question->error. */
	int (*work)(struct question *question);
	/* If that went well, in the same thread; or, if it asks_daemon, in the event loop. */
	void (*answer)(struct question *question, struct jsonrpc_answer *answer);
	bool asks_daemon;
	/* Releases what the kind has put into the question, and the question. */
	void (*free)(struct question *question);
};

/* The head of each kind's own structure. */
struct question {
	const struct question_kind *kind;
	char journal[VM_JOURNAL_NAME_SIZE]; /* that is asked; "": all */
	/* For work. */
	struct past_source source;
	struct past_states *states;
	struct journal_error error;
	/* The maker's. */
	struct questions *questions;
	struct method_peer *peer; /* NULL: gone */
	struct archivist_job *job;
	int result;
	struct json_printed printed; /* the answer, where it was made in the thread */
};

/*
 * Asks: the call is answered later, or refused if there is no memory for it, and the question is no
 * longer the caller's.  question comes zeroed but for what is the kind's; journal is copied, NULL:
 * all.
 */
void question_ask(const struct method_call *call, struct question *question,
		  const struct question_kind *kind, const char *journal,
		  struct jsonrpc_answer *answer);

/* What error says about a journal, as a refusal; r is negative. */
void question_refuse(struct jsonrpc_answer *answer, const char *journal, int r,
		     const struct journal_error *error);

#endif
