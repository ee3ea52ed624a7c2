/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Replaying a journal from its files: which checkpoint to begin with, and the log behind it.
 *
 * The daemon may be writing it meanwhile, and retiring what is old: the oldest checkpoint first,
 * then the segments that only it needed.  What was chosen and then is not there any more is no
 * damage: all begins anew, with what is there now.
 */
#include "checkpoint.h"
#include "directory.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

/* How often all begins anew: the daemon retires something when it has written some MiB. */
#define N_ATTEMPTS 8

#define KEEP_THEM "; keep the files, and register the VM anew"

/* One attempt. */
struct attempt {
	int parent_fd;
	const char *name;
	int directory_fd;
	const struct replay_request *request;
	struct replay *replay;
	uint64_t first_segment; /* 0: there is none */
	struct checkpoint_name *checkpoints;
	size_t n_checkpoints;
	struct replay_report report;
	struct journal_error *ret_error;
};

static int look_at_log(struct attempt *attempt)
{
	uint64_t *numbers;
	size_t n;
	int r = journal_directory_list(attempt->directory_fd, &numbers, &n, attempt->ret_error);

	if (r < 0)
		return r;
	attempt->first_segment = n ? numbers[0] : 0;
	free(numbers);
	return 0;
}

static int cancel(const struct attempt *attempt)
{
	const struct replay_request *request = attempt->request;

	if (!request->is_cancelled || !request->is_cancelled(request->context))
		return 0;
	return journal_error_set(attempt->ret_error, ECANCELED, "", 0,
				 "nobody waits for the journal to be read any more");
}

/* ---- The log -------------------------------------------------------------------------------- */

static bool is_reached(const struct attempt *attempt)
{
	switch (attempt->request->limit) {
	case REPLAY_TO_COMMIT:
		return attempt->replay->commit == attempt->request->at;
	case REPLAY_TO_NUMBER:
		return attempt->replay->number == attempt->request->at;
	case REPLAY_ALL:
		break;
	}
	return false;
}

static int not_there_yet(const struct attempt *attempt)
{
	const struct replay *replay = attempt->replay;

	if (attempt->request->limit == REPLAY_TO_COMMIT)
		return journal_error_set(attempt->ret_error, ERANGE, "", 0,
					 "there is no commit %" PRIu64 " yet: the last is %" PRIu64,
					 attempt->request->at, replay->commit);
	return journal_error_set(attempt->ret_error, ERANGE, "", 0,
				 "there is no record %" PRIu64 " yet: the last is %" PRIu64,
				 attempt->request->at, replay->number);
}

static int ends_too_early(const struct attempt *attempt, uint64_t checkpoint)
{
	return journal_error_set(attempt->ret_error, EBADMSG, "", 0,
				 "the log ends before record %" PRIu64
				 ", with which a checkpoint ends: records are missing" KEEP_THEM,
				 checkpoint);
}

/* What was said of a write that is not whole stays in *ret_error, behind a replay of all. */
static int end_of_log(struct attempt *attempt, bool is_torn)
{
	const size_t n = attempt->n_checkpoints;
	const struct replay *replay = attempt->replay;

	if (!replay->number)
		return journal_error_set(attempt->ret_error, ENODATA, "", 0,
					 "nothing was recorded here: the directory can be removed");
	if (attempt->request->limit != REPLAY_ALL)
		return not_there_yet(attempt);
	if (n && attempt->checkpoints[n - 1].number > replay->number)
		return ends_too_early(attempt, attempt->checkpoints[n - 1].number);
	attempt->report.is_torn = is_torn;
	replay_end(attempt->replay);
	return 0;
}

static int replay_log(struct attempt *attempt, struct journal_reader *reader)
{
	struct journal_record record;
	int r = 0;

	if (attempt->request->begins)
		attempt->request->begins(attempt->request->context);
	while (r == 0 && !is_reached(attempt)) {
		r = cancel(attempt);
		if (r < 0)
			break;
		switch (journal_read(reader, &record, attempt->ret_error)) {
		case JOURNAL_RECORD:
			r = replay_take(attempt->replay, &record, attempt->ret_error);
			attempt->report.n_records++;
			break;
		case JOURNAL_END:
			return end_of_log(attempt, false);
		case JOURNAL_TORN:
			return end_of_log(attempt, true);
		case JOURNAL_DAMAGED:
			r = -attempt->ret_error->error;
			break;
		}
	}
	if (r == 0 && !attempt->replay->batch)
		replay_end(attempt->replay);
	return r;
}

/* ---- Where to begin ------------------------------------------------------------------------- */

/* The replay is empty, again if need be. */
static void begin(struct attempt *attempt)
{
	struct replay *replay = attempt->replay;
	const uint64_t max_map_bytes = replay->max_map_bytes;

	replay_destroy(replay);
	replay_init(replay);
	replay->max_map_bytes = max_map_bytes;
	replay->observer = attempt->request->observer;
}

/* Opens the log behind a checkpoint, or from its start for 0; -ESTALE: it was there just now. */
static int open_log(struct attempt *attempt, uint64_t checkpoint, struct journal_reader **ret)
{
	struct journal_error stale;
	int r;

	if (checkpoint && !attempt->first_segment)
		return ends_too_early(attempt, checkpoint);
	if (attempt->first_segment > checkpoint + 1)
		return journal_error_set(attempt->ret_error, EBADMSG, "", 0,
					 "the log begins with record %" PRIu64
					 ", but the last checkpoint before it ends with record "
					 "%" PRIu64 ": those between are missing" KEEP_THEM,
					 attempt->first_segment, checkpoint);
	r = journal_reader_open(attempt->parent_fd, attempt->name,
				(struct journal_position){ checkpoint + 1 }, ret,
				attempt->ret_error);
	if (r != -ERANGE && r != -ENOENT)
		return r;
	stale = *attempt->ret_error;
	stale.error = ESTALE;
	if (r == -ERANGE) { /* before the first record, or behind the last? */
		r = look_at_log(attempt);
		if (r < 0)
			return r;
		if (attempt->first_segment <= checkpoint + 1)
			return ends_too_early(attempt, checkpoint);
	}
	*attempt->ret_error = stale;
	return -ESTALE;
}

/*
 * Replays from a checkpoint, or from the start for 0.  Returns 1 with *ret_error if the checkpoint
 * is damaged, so that another one has to be tried.
 */
static int replay_from(struct attempt *attempt, uint64_t checkpoint)
{
	struct journal_reader *reader;
	int r;

	begin(attempt);
	r = open_log(attempt, checkpoint, &reader);
	if (r < 0)
		return r;
	attempt->report.identity = *journal_reader_identity(reader);
	attempt->report.checkpoint = checkpoint;
	attempt->report.n_records = 0;
	if (checkpoint) {
		r = checkpoint_read(attempt->directory_fd, &attempt->report.identity, checkpoint,
				    attempt->replay, attempt->ret_error);
		if (r == -ENOENT)
			r = -(attempt->ret_error->error = ESTALE);
		else if (r == -EXDEV)
			r = -(attempt->ret_error->error = EBADMSG);
		else if (r == -EBADMSG)
			r = 1;
	}
	if (r == 0)
		r = cancel(attempt);
	if (r == 0)
		r = replay_log(attempt, reader);
	journal_reader_free(reader);
	return r;
}

/* Can what is asked for be had from this checkpoint on? */
static bool is_fit(const struct replay_request *request, const struct checkpoint_name *checkpoint)
{
	switch (request->limit) {
	case REPLAY_TO_COMMIT:
		return checkpoint->commit <= request->at;
	case REPLAY_TO_NUMBER:
		return checkpoint->number <= request->at;
	case REPLAY_ALL:
		break;
	}
	return true;
}

/* There is nothing to begin with, or nothing that would lead to what was asked for. */
static int refuse(const struct attempt *attempt)
{
	const struct checkpoint_name *oldest = attempt->checkpoints;

	if (attempt->report.passed_over.error) {
		*attempt->ret_error = attempt->report.passed_over;
		return -attempt->ret_error->error;
	}
	if (!attempt->n_checkpoints)
		return journal_error_set(attempt->ret_error, EBADMSG, "", 0,
					 "the log begins with record %" PRIu64
					 ", and there is no checkpoint before it: those before it "
					 "are missing" KEEP_THEM,
					 attempt->first_segment);
	return journal_error_set(attempt->ret_error, ERANGE, "", 0,
				 "%s %" PRIu64 " is not in the journal any more: its oldest "
				 "checkpoint is of %s %" PRIu64,
				 attempt->request->limit == REPLAY_TO_COMMIT ? "commit" : "record",
				 attempt->request->at,
				 attempt->request->limit == REPLAY_TO_COMMIT ? "commit" : "record",
				 attempt->request->limit == REPLAY_TO_COMMIT ? oldest->commit
									     : oldest->number);
}

/*
 * The newest checkpoint that is fit, an older one if that is damaged, at last the log's start; the
 * other way round for who wants to see all that happened.
 */
static int replay_from_best(struct attempt *attempt)
{
	const bool is_from_start = attempt->request->is_from_start;
	const size_t n = attempt->n_checkpoints;
	const bool has_start = attempt->first_segment == 1 || (!attempt->first_segment && !n);
	int r = 1;

	if (is_from_start && has_start)
		return replay_from(attempt, 0);
	for (size_t i = 0; r == 1 && i < n; i++) {
		const struct checkpoint_name *checkpoint =
			&attempt->checkpoints[is_from_start ? i : n - 1 - i];

		if (!is_fit(attempt->request, checkpoint))
			continue;
		r = replay_from(attempt, checkpoint->number);
		if (r == 1 && !attempt->report.passed_over.error)
			attempt->report.passed_over = *attempt->ret_error;
	}
	if (r == 1 && has_start)
		r = replay_from(attempt, 0);
	if (r == 1)
		return refuse(attempt);
	/* where what was passed over would have helped, it is what is to be mended */
	if (r == -EBADMSG && attempt->report.passed_over.error)
		*attempt->ret_error = attempt->report.passed_over;
	return r;
}

/* -ESTALE: what was there is not there any more. */
static int replay_once(struct attempt *attempt)
{
	/* In this order: what is retired meanwhile is not taken for what is missing. */
	int r = look_at_log(attempt);

	if (r == 0)
		r = checkpoint_list(attempt->directory_fd, &attempt->checkpoints,
				    &attempt->n_checkpoints, attempt->ret_error);
	if (r < 0)
		return r;
	r = replay_from_best(attempt);
	free(attempt->checkpoints);
	return r;
}

int journal_replay(int parent_fd, const char *name, const struct replay_request *request,
		   struct replay *replay, struct replay_report *ret_report,
		   struct journal_error *ret_error)
{
	int directory_fd, r;

	if (request->limit != REPLAY_ALL && !request->at)
		return journal_error_set(ret_error, ERANGE, "", 0,
					 "commits and records are numbered from 1 on");
	r = journal_directory_open(parent_fd, name, &directory_fd, ret_error);
	if (r < 0)
		return r;
	for (int i = 0; i < N_ATTEMPTS; i++) {
		struct attempt attempt = {
			.parent_fd = parent_fd,
			.name = name,
			.directory_fd = directory_fd,
			.request = request,
			.replay = replay,
			.ret_error = ret_error,
		};

		r = replay_once(&attempt);
		if (r == 0)
			*ret_report = attempt.report;
		if (r != -ESTALE)
			break;
	}
	close(directory_fd);
	return r;
}
