/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verify.h"

#include "daemon/allocate.h"
#include "directory.h"
#include "replay-compare.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Records between two reports of progress. */
#define RECORDS_PER_REPORT 256u

struct verification {
	int parent_fd;
	int directory_fd;
	const char *name;
	uint64_t max_map_bytes;
	const struct verify_progress *progress;
	uint64_t n_done; /* bytes */
	struct verify_report *report;
	uint64_t *segments; /* first numbers */
	size_t n_segments;
	struct checkpoint_name *checkpoints;
	size_t n_checkpoints;
	size_t next; /* of these to be looked at */
	struct journal_reader *reader;
	struct replay replay;
	uint64_t counted_commit; /* commits up to it are counted */
};

static void note_problem(struct verification *v, const struct journal_error *error)
{
	struct verify_report *report = v->report;

	if (report->n_problems < VERIFY_MAX_PROBLEMS)
		report->problems[report->n_problems] = *error;
	report->n_problems++;
}

static void tell_progress(struct verification *v, uint64_t n_bytes)
{
	v->n_done += n_bytes;
	if (v->progress && v->progress->tell)
		v->progress->tell(v->progress->context, v->n_done, v->report->n_bytes);
}

static void begin_replay(struct verification *v, struct replay *replay)
{
	replay_init(replay);
	replay->max_map_bytes = v->max_map_bytes;
}

/* ---- Checkpoints --------------------------------------------------------------------------- */

static void checkpoint_file_name(uint64_t number, char name[CHECKPOINT_NAME_LEN + 1])
{
	snprintf(name, CHECKPOINT_NAME_LEN + 1, "%016" PRIx64 ".checkpoint", number);
}

/*
 * Reads the next checkpoint.  1: *ret is it, and the caller's.  0: there is none, or it is no good,
 * which was noted.  Negative: it cannot be read.
 */
static int read_checkpoint(struct verification *v, struct replay *ret,
			   struct journal_error *ret_error)
{
	const struct checkpoint_name *checkpoint = &v->checkpoints[v->next++];
	int r;

	begin_replay(v, ret);
	r = checkpoint_read(v->directory_fd, &v->report->identity, checkpoint->number, ret,
			    ret_error);
	tell_progress(v, checkpoint->size);
	if (r == 0) {
		v->report->n_checkpoints++;
		return 1;
	}
	replay_destroy(ret);
	/* a daemon that writes this journal may have retired it by now */
	if (r == -ENOENT)
		return 0;
	if (r != -EBADMSG && r != -E2BIG && r != -EXDEV)
		return r;
	note_problem(v, ret_error);
	return 0;
}

/* The daemon has made it from its memory if a segment begins right behind it. */
static bool may_be_from_memory(const struct verification *v, uint64_t number)
{
	for (size_t i = 0; i < v->n_segments; i++)
		if (v->segments[i] == number + 1)
			return true;
	return false;
}

static void count_commits(struct verification *v)
{
	struct verify_report *report = v->report;

	if (v->replay.commit <= v->counted_commit)
		return;
	if (!report->n_commits)
		report->first_commit = v->counted_commit + 1;
	report->n_commits += v->replay.commit - v->counted_commit;
	report->last_commit = v->replay.commit;
	v->counted_commit = v->replay.commit;
}

/* From here on, what the checkpoint says holds. */
static void go_on_with(struct verification *v, struct replay *checkpoint)
{
	count_commits(v);
	replay_destroy(&v->replay);
	v->replay = *checkpoint;
	v->counted_commit = v->replay.commit;
}

/* The log was replayed up to where the next checkpoint was made. */
static int compare_with_checkpoint(struct verification *v, struct journal_error *ret_error)
{
	uint64_t number = v->checkpoints[v->next].number;
	struct journal_error error;
	struct replay checkpoint;
	const char *difference;
	int r = read_checkpoint(v, &checkpoint, ret_error);
	char file[CHECKPOINT_NAME_LEN + 1];

	if (r <= 0)
		return r;
	replay_end(&v->replay);
	difference = replay_compare(&v->replay, &checkpoint, may_be_from_memory(v, number));
	if (difference) {
		checkpoint_file_name(number, file);
		journal_error_set(&error, EBADMSG, file, 0,
				  "it does not say what the log up to it says: %s differs; keep "
				  "the files and report this, it should not happen",
				  difference);
		note_problem(v, &error);
	} else {
		v->report->n_compared++;
	}
	go_on_with(v, &checkpoint);
	return 0;
}

/* ---- The log ------------------------------------------------------------------------------- */

enum outcome { REACHED, ENDED, BROKEN };

static void count_record(struct verify_report *report, const struct journal_record *record)
{
	if (!report->n_records) {
		report->first_number = record->header.number;
		report->first_us = record->header.time_us;
	}
	report->n_records++;
	report->last_number = record->header.number;
	report->last_us = record->header.time_us;
}

/* Reads on, up to the record with that number.  Negative: the log cannot be read. */
static int read_up_to(struct verification *v, uint64_t number, struct journal_error *ret_error)
{
	struct journal_record record;

	for (unsigned int i = 1; v->replay.number < number; i++) {
		enum journal_read found = journal_read(v->reader, &record, ret_error);

		switch (found) {
		case JOURNAL_END:
			return ENDED;
		case JOURNAL_TORN:
			v->report->is_torn = true;
			v->report->torn = *ret_error;
			return ENDED;
		case JOURNAL_DAMAGED:
			return ret_error->error == EBADMSG ? BROKEN : -ret_error->error;
		case JOURNAL_RECORD:
			break;
		}
		count_record(v->report, &record);
		/* a log may begin before the checkpoint that it is needed behind */
		if (record.header.number > v->replay.number &&
		    replay_take(&v->replay, &record, ret_error) < 0)
			return BROKEN;
		v->n_done += journal_record_size(record.header.size);
		if (i % RECORDS_PER_REPORT == 0)
			tell_progress(v, 0);
	}
	return REACHED;
}

static int open_reader(struct verification *v, uint64_t number, struct journal_error *ret_error)
{
	journal_reader_free(v->reader);
	v->reader = NULL;
	return journal_reader_open(v->parent_fd, v->name, (struct journal_position){ number },
				   &v->reader, ret_error);
}

/* The segment in which a record is or will be; 0: there is none. */
static uint64_t segment_of(const struct verification *v, uint64_t number)
{
	uint64_t segment = 0;

	for (size_t i = 0; i < v->n_segments && v->segments[i] <= number; i++)
		segment = v->segments[i];
	return segment;
}

/*
 * Behind damage in a segment: from the next checkpoint on whose records are in a later one.  1:
 * there is one; 0: there is none; negative: it cannot be read.
 */
static int resume(struct verification *v, uint64_t broken, struct journal_error *ret_error)
{
	while (v->next < v->n_checkpoints) {
		uint64_t behind = v->checkpoints[v->next].number + 1;
		struct replay checkpoint;
		int r = read_checkpoint(v, &checkpoint, ret_error);

		if (r < 0)
			return r;
		if (r == 0)
			continue;
		if (segment_of(v, behind) <= broken) {
			replay_destroy(&checkpoint);
			continue;
		}
		go_on_with(v, &checkpoint);
		v->report->resumed_at = behind;
		r = open_reader(v, behind, ret_error);
		return r < 0 ? r : 1;
	}
	return 0;
}

/* The log ends before a checkpoint says that it was. */
static void miss_records(struct verification *v)
{
	uint64_t number = v->checkpoints[v->n_checkpoints - 1].number;
	struct journal_error error;
	char file[CHECKPOINT_NAME_LEN + 1];

	checkpoint_file_name(number, file);
	journal_error_set(&error, EBADMSG, file, 0,
			  "it was made of record %" PRIu64 ", but the log ends with record "
			  "%" PRIu64 ": records are missing from the end; keep the files, and "
			  "register the VM anew",
			  number, v->report->last_number);
	note_problem(v, &error);
}

static int read_log(struct verification *v, struct journal_error *ret_error)
{
	for (;;) {
		bool has_next = v->next < v->n_checkpoints;
		int r = read_up_to(v, has_next ? v->checkpoints[v->next].number : UINT64_MAX,
				   ret_error);

		if (r == BROKEN) {
			note_problem(v, ret_error);
			r = resume(v, segment_of(v, v->report->last_number + 1), ret_error);
			if (r <= 0)
				return r;
		} else if (r == REACHED) {
			r = compare_with_checkpoint(v, ret_error);
			if (r < 0)
				return r;
		} else {
			if (r == ENDED && has_next)
				miss_records(v);
			return r < 0 ? r : 0;
		}
	}
}

/* ---- The journal --------------------------------------------------------------------------- */

/* Where to begin: with the first record, or with the oldest checkpoint that is good. */
static int begin(struct verification *v, struct journal_error *ret_error)
{
	struct replay checkpoint;
	struct journal_error error;
	char file[JOURNAL_SEGMENT_NAME_LEN + 1];

	begin_replay(v, &v->replay);
	if (v->segments[0] == 1)
		return 0;
	while (v->next < v->n_checkpoints) {
		bool is_followed = v->checkpoints[v->next].number + 1 >= v->segments[0];
		int r = read_checkpoint(v, &checkpoint, ret_error);

		if (r < 0)
			return r;
		if (r && is_followed) {
			go_on_with(v, &checkpoint);
			return 0;
		}
		if (r)
			replay_destroy(&checkpoint);
	}
	journal_segment_name(v->segments[0], file);
	journal_error_set(&error, EBADMSG, file, 0,
			  "the log begins with record %" PRIu64 ", and there is no good checkpoint "
			  "to begin with; keep the files, and register the VM anew",
			  v->segments[0]);
	note_problem(v, &error);
	return 1;
}

static int look_at_files(struct verification *v, struct journal_error *ret_error)
{
	struct verify_report *report = v->report;
	char file[JOURNAL_SEGMENT_NAME_LEN + 1];
	struct stat status;
	int r = journal_directory_list(v->directory_fd, &v->segments, &v->n_segments, ret_error);

	if (r == 0)
		r = checkpoint_list(v->directory_fd, &v->checkpoints, &v->n_checkpoints, ret_error);
	if (r < 0)
		return r;
	report->n_segments = v->n_segments;
	for (size_t i = 0; i < v->n_segments; i++) {
		journal_segment_name(v->segments[i], file);
		if (fstatat(v->directory_fd, file, &status, AT_SYMLINK_NOFOLLOW) == 0)
			report->n_bytes += (uint64_t)status.st_size;
	}
	for (size_t i = 0; i < v->n_checkpoints; i++)
		report->n_bytes += v->checkpoints[i].size;
	return 0;
}

/*
 * Opens the journal where it begins, or, if that is damaged, behind the first checkpoint that does
 * not need it.  1: there is nothing that can be read.
 */
static int open_first(struct verification *v, struct journal_error *ret_error)
{
	/* says that nothing was recorded if there is no segment */
	int r = open_reader(v, 0, ret_error);

	for (size_t i = 1; r == -EBADMSG && i < v->n_segments; i++) {
		note_problem(v, ret_error);
		r = open_reader(v, v->segments[i], ret_error);
	}
	if (r < 0)
		return r;
	v->report->identity = *journal_reader_identity(v->reader);
	if (!v->report->n_problems)
		return begin(v, ret_error);
	begin_replay(v, &v->replay);
	r = resume(v, v->segments[v->report->n_problems - 1], ret_error);
	return r < 0 ? r : !r;
}

static int verify(struct verification *v, struct journal_error *ret_error)
{
	int r = look_at_files(v, ret_error);

	if (r == 0)
		r = open_first(v, ret_error);
	if (r == 0)
		r = read_log(v, ret_error);
	if (r == 0 && !v->report->n_records && !v->report->n_problems)
		r = journal_error_set(ret_error, ENODATA, "", 0,
				      "nothing was recorded here: the directory can be removed");
	if (r >= 0) {
		count_commits(v);
		v->report->is_released = v->replay.is_released;
		snprintf(v->report->vm, sizeof(v->report->vm), "%s", v->replay.facts.name);
		tell_progress(v, v->report->n_bytes - v->n_done);
	}
	replay_destroy(&v->replay);
	return r < 0 ? r : 0;
}

int verify_journal(int parent_fd, const char *name, uint64_t max_map_bytes,
		   const struct verify_progress *progress, struct verify_report *ret,
		   struct journal_error *ret_error)
{
	struct verify_report report = { 0 };
	struct verification v = {
		.parent_fd = parent_fd,
		.name = name,
		.max_map_bytes = max_map_bytes,
		.progress = progress,
		.report = &report,
	};
	int r = journal_directory_open(parent_fd, name, &v.directory_fd, ret_error);

	if (r < 0)
		return r;
	r = verify(&v, ret_error);
	if (r == -EBADMSG) {
		note_problem(&v, ret_error);
		r = 0;
	}
	journal_reader_free(v.reader);
	free(v.segments);
	free(v.checkpoints);
	close(v.directory_fd);
	if (r == 0)
		*ret = report;
	return r;
}
