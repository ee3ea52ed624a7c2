/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "question.h"

#include "archivist.h"
#include "daemon/allocate.h"
#include "json-put.h"
#include "memory.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* How long states are kept that nobody has asked for again. */
#define KEEP_S 10

/* What the past may take of the daemon's memory, and what it needs to be looked at. */
#define PAST_PART 4
#define MIN_BYTES (UINT64_C(4) << 20)
/* Policies at a time: two states that are kept, and one on its way, in or out. */
#define N_COPIES 3

struct questions {
	struct daemon *daemon;
	struct user_charge charge;  /* for all of it, whoever asks */
	uint64_t max_map_bytes;     /* of a policy */
	struct past_states *states; /* the archivist's while a question is under way */
	unsigned int n_under_way;
	bool is_over; /* freed with the last question */
	struct event *forget;
};

static void hold(struct questions *questions, uint64_t n_bytes)
{
	users_hold(&questions->daemon->users, &questions->charge, n_bytes);
}

static void forget(evutil_socket_t unused, short events, void *context)
{
	struct questions *questions = context;

	(void)unused;
	(void)events;
	if (questions->n_under_way)
		return;
	past_states_clear(questions->states);
	hold(questions, 0);
	memory_give_back_soon(questions->daemon->memory);
}

struct questions *questions_new(struct daemon *daemon)
{
	struct questions *questions = allocate_one(struct questions);

	questions->daemon = daemon;
	questions->states = past_states_new();
	users_charge(&daemon->users, geteuid(), USER_PAST, &questions->charge);
	questions->forget = event_new(daemon->base, -1, 0, forget, questions);
	if (!questions->forget) {
		questions_free(questions);
		return NULL;
	}
	return questions;
}

void questions_free(struct questions *questions)
{
	if (!questions)
		return;
	if (questions->forget)
		event_free(questions->forget);
	questions->forget = NULL;
	questions->is_over = true;
	users_release(&questions->daemon->users, &questions->charge);
	if (questions->n_under_way)
		return;
	past_states_free(questions->states);
	free(questions);
}

void question_refuse(struct jsonrpc_answer *answer, const char *journal, int r,
		     const struct journal_error *error)
{
	enum kvmattr_status status = r == -ENOENT   ? KVMATTR_NO_VM
				     : r == -ERANGE ? KVMATTR_INVALID_PARAMETER
				     : r == -ENXIO  ? KVMATTR_INVALID_VTL_STATE
				     : r == -E2BIG  ? KVMATTR_LIMIT_EXCEEDED
						    : KVMATTR_JOURNAL_FAILED;

	if (r == -ENOENT && !*error->file)
		method_refuse(answer, status,
			      "there is no journal %s; journal.list has all there are", journal);
	else if (*error->file)
		method_refuse(answer, status, "journal %s: %s at %" PRIu64 ": %s", journal,
			      error->file, error->offset, error->text);
	else
		method_refuse(answer, status, "journal %s: %s", journal, error->text);
	if (!*error->file)
		return;
	json_put_text(answer->data, "file", error->file);
	json_put_number(answer->data, "offset", error->offset);
}

/* ---- One question -------------------------------------------------------------------------- */

static bool is_in_vain(void *context)
{
	return archivist_is_cancelled(context);
}

/* Making a long answer, and printing it, takes longer than the event loop has time for. */
static void print_answer(struct question *question)
{
	struct jsonrpc_answer answer = { 0 };

	question->kind->answer(question, &answer);
	question->printed = json_print(answer.result);
}

static void run(void *context, struct archivist_job *job)
{
	struct question *question = context;

	question->source.is_cancelled = is_in_vain;
	question->source.context = job;
	question->result = question->kind->work(question);
	if (question->result == 0 && !question->kind->asks_daemon)
		print_answer(question);
}

/* The peer is gone. */
static void cancel(void *context)
{
	struct question *question = context;

	question->peer = NULL;
	archivist_cancel(question->job);
}

static void release(struct questions *questions)
{
	static const struct timeval keep = { KEEP_S, 0 };

	questions->n_under_way--;
	if (questions->is_over) {
		questions_free(questions);
	} else if (!questions->n_under_way) {
		hold(questions, past_states_memory(questions->states));
		event_add(questions->forget, &keep);
	}
}

static void done(void *context, bool was_run)
{
	struct question *question = context;
	struct questions *questions = question->questions;
	struct jsonrpc_answer answer = { 0 };

	if (question->peer && !was_run)
		method_refuse(&answer, KVMATTR_JOURNAL_FAILED,
			      "nobody has looked: the daemon stops, or has no thread for it; ask "
			      "again");
	else if (question->peer && question->result < 0)
		question_refuse(&answer, question->journal, question->result, &question->error);
	else if (question->peer && question->printed.text)
		json_put_printed(method_result(&answer), &question->printed);
	else if (question->peer)
		question->kind->answer(question, &answer);
	if (question->peer)
		method_finish(question->peer, &answer);
	free(question->printed.text);
	question->kind->free(question);
	release(questions);
}

/*
 * While questions are under way, which are answered one after the other, all of them hold what the
 * largest of them may take; in between, what the states do that are kept.
 */
static bool reserve(struct questions *questions, char *text, size_t size)
{
	const struct daemon *daemon = questions->daemon;
	const uint64_t n_held = questions->charge.n_bytes;
	uint64_t n_bytes = memory_room(daemon, geteuid()) + n_held;

	if (questions->n_under_way)
		return true;
	if (n_bytes > daemon->limits.max_memory_bytes / PAST_PART)
		n_bytes = daemon->limits.max_memory_bytes / PAST_PART;
	/* a policy may be a little above the limit when it is reached */
	if (n_bytes > N_COPIES * 2 * daemon->limits.max_map_bytes)
		n_bytes = N_COPIES * 2 * daemon->limits.max_map_bytes;
	if (n_bytes < MIN_BYTES &&
	    !memory_allow(daemon, geteuid(), MIN_BYTES - n_held, text, size, NULL))
		return false;
	hold(questions, n_bytes);
	questions->max_map_bytes = n_bytes / N_COPIES;
	return true;
}

void question_ask(const struct method_call *call, struct question *question,
		  const struct question_kind *kind, const char *journal,
		  struct jsonrpc_answer *answer)
{
	struct questions *questions = call->peer->questions;
	char text[256];

	question->kind = kind;
	if (!reserve(questions, text, sizeof(text))) {
		method_refuse(answer, KVMATTR_LIMIT_EXCEEDED, "nobody looks at the past now: %s",
			      text);
		kind->free(question);
		return;
	}
	question->questions = questions;
	question->peer = call->peer;
	question->states = questions->states;
	if (journal)
		snprintf(question->journal, sizeof(question->journal), "%s", journal);
	question->source = (struct past_source){
		.parent_fd = call->daemon->journals.directory_fd,
		.name = question->journal,
		.max_map_bytes = questions->max_map_bytes,
	};
	questions->n_under_way++;
	method_answer_later(call, cancel, question);
	question->job = archivist_submit(call->daemon->journals.archivist, ARCHIVIST_AWAITED,
					 call->peer->who.uid, run, done, question);
}
