/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hosted VM's checkpoints: when they are made, and what is given up for them.
 *
 * As a rule the archivist makes them from the files, as of the last record at which no batch was
 * open, and so sees on the way whether the files are well.  Where they may not be, a checkpoint is
 * made of the policy in memory: a new segment is begun, and whoever starts from that checkpoint
 * needs nothing before it.
 */
#include "archivist.h"
#include "daemon/allocate.h"
#include "daemon/journal/directory.h"
#include "journal-syncer.h"
#include "vm-journal-private.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* How long after an attempt to cover the log the next one is made: twice as long each time. */
#define COVER_MIN_MS 10u
#define COVER_MAX_MS 10000u

struct checkpoint_job {
	struct vm_journal *journal;
	struct archivist_job *job; /* the event loop's */
	/* What run needs. */
	int parent_fd;
	char name[VM_JOURNAL_NAME_SIZE];
	struct journal_identity identity;
	bool is_of_memory;
	struct journal *renewed; /* with "power": its new segment goes to the disk first */
	struct image image;      /* of the policy in memory */
	struct replay replay;    /* all but its policy, of memory */
	struct vm_checkpoint it; /* its number; run fills in the rest */
	/* What is known when it is there. */
	uint64_t n_bytes;   /* were written then */
	uint64_t last_note; /* that was noted then */
	struct archivist_job *running;
	/* How it ended. */
	int r;
	bool is_damage; /* found in the log, as error says */
	struct journal_error error;
	struct journal_error passed_over; /* a checkpoint that could not be used; error 0: none */
};

/* ---- In the archivist's thread -------------------------------------------------------------- */

static bool is_cancelled(void *context)
{
	return archivist_is_cancelled(((struct checkpoint_job *)context)->running);
}

/* Not the machine's want, which passes, but what the files hold. */
static bool is_damage(int error)
{
	return error != ECANCELED && error != ENOMEM && error != EMFILE && error != ENFILE;
}

static int replay_files(struct checkpoint_job *job)
{
	const struct replay_request request = {
		.limit = REPLAY_TO_NUMBER,
		.at = job->it.number,
		.is_cancelled = is_cancelled,
		.context = job,
	};
	struct replay_report report;
	int r;

	r = journal_replay(job->parent_fd, job->name, &request, &job->replay, &report, &job->error);
	if (r == 0 && (memcmp(&report.identity, &job->identity, sizeof(job->identity)) != 0 ||
		       job->replay.settled != job->it.number))
		r = journal_error_set(&job->error, EBADMSG, "", 0,
				      "what is there is not what was written: find out who else "
				      "writes there");
	else if (r == 0)
		job->passed_over = report.passed_over;
	job->is_damage = r < 0 && is_damage(-r);
	return r;
}

static int read_image(struct checkpoint_job *job)
{
	char text[WIRE_TEXT_SIZE];
	size_t offset;
	int r = policy_image_read(job->image.data, job->image.size, 0, &job->replay.policy, &offset,
				  text, sizeof(text));

	image_destroy(&job->image);
	if (r < 0)
		return journal_error_set(&job->error, -r, "", offset, "%s", text);
	job->replay.number = job->replay.settled = job->it.number;
	return 0;
}

/* Whoever finds a checkpoint of memory finds the segment behind it as well. */
static int write_checkpoint(struct checkpoint_job *job)
{
	int fd, r = journal_directory_open(job->parent_fd, job->name, &fd, &job->error);

	if (r < 0)
		return r;
	if (job->renewed)
		r = journal_sync(job->renewed);
	if (r == 0)
		r = checkpoint_write(fd, &job->identity, &job->replay, &job->it.size);
	/* It may have its name and not be on the disk: nobody is to rely on it, or keep count. */
	if (r < 0 && !job->is_of_memory)
		(void)!checkpoint_remove(fd, job->it.number);
	close(fd);
	if (r < 0)
		return journal_error_set(&job->error, -r, "", 0, "%s", strerror(-r));
	job->it.commit = job->replay.commit;
	return 0;
}

static void run(void *context, struct archivist_job *archivist_job)
{
	struct checkpoint_job *job = context;

	job->running = archivist_job;
	job->r = job->is_of_memory ? read_image(job) : replay_files(job);
	if (job->r == 0)
		job->r = write_checkpoint(job);
	replay_destroy(&job->replay);
	replay_init(&job->replay);
}

/* ---- Retention ------------------------------------------------------------------------------ */

static const struct vm_checkpoint *last_checkpoint(const struct vm_journal *journal)
{
	return journal->n_checkpoints ? &journal->checkpoints[journal->n_checkpoints - 1] : NULL;
}

static void add_checkpoint(struct vm_journal *journal, const struct vm_checkpoint *it)
{
	assert(!journal->n_checkpoints || last_checkpoint(journal)->number <= it->number);
	if (journal->n_checkpoints && last_checkpoint(journal)->number == it->number)
		journal->n_checkpoints--; /* it replaced that one */
	allocate_room(journal->checkpoints, journal->n_checkpoints, journal->checkpoints_capacity);
	journal->checkpoints[journal->n_checkpoints++] = *it;
}

static bool is_too_large(const struct vm_journal *journal)
{
	uint64_t n_bytes = journal_status(journal->journal).n_bytes;

	for (size_t i = 0; i < journal->n_checkpoints; i++)
		n_bytes += journal->checkpoints[i].size;
	return n_bytes > journal->journals->max_size;
}

static int forget_oldest(struct vm_journal *journal)
{
	int r = checkpoint_remove(journal->directory_fd, journal->checkpoints[0].number);

	if (r < 0 && r != -ENOENT)
		return r;
	journal->n_checkpoints--;
	memmove(journal->checkpoints, journal->checkpoints + 1,
		journal->n_checkpoints * sizeof(*journal->checkpoints));
	return 0;
}

/*
 * Gives up history, from the oldest place to start from to the next, while there is another: first
 * the place, then the records that only it needs, so that at any time each checkpoint has all
 * records behind it.  Record 1 is such a place as well.
 */
static int retain(struct vm_journal *journal)
{
	uint64_t before;
	int r = 0;

	while (r == 0 && journal->n_checkpoints >= 2 && is_too_large(journal)) {
		before = journal_status(journal->journal).n_bytes;
		r = journal_retire(journal->journal, journal->checkpoints[0].number + 1);
		if (r == 0 && journal_status(journal->journal).n_bytes == before)
			r = forget_oldest(journal);
	}
	return r;
}

/* ---- When it is made ------------------------------------------------------------------------ */

static bool needs_cover(const struct vm_journal *journal)
{
	return journal->sync_error || journal->is_damaged;
}

static void say_failure(struct vm_journal *journal, const struct checkpoint_job *job)
{
	const struct journal_error *error = &job->error;

	if (job->is_damage)
		vm_journal_say(
			journal, true,
			"the journal %s is damaged: %s at %" PRIu64 ": %s; the VM goes on, but "
			"could not be recovered from it: a checkpoint of what is in force is "
			"made to replace it; see to the disk",
			journal->name, *error->file ? error->file : "directory", error->offset,
			error->text);
	else if (!journal->is_checkpoint_missing)
		vm_journal_say(
			journal, true,
			"no checkpoint of the journal %s can be made: %s; it grows until one "
			"can be: see to the state directory",
			journal->name, error->text);
	if (job->is_damage)
		journal->is_damaged = true;
	else
		journal->is_checkpoint_missing = true;
}

static void take_failure(struct vm_journal *journal, const struct checkpoint_job *job)
{
	journal->checkpoint_bytes = job->n_bytes;
	if (job->r != -ECANCELED)
		say_failure(journal, job);
}

/* Whatever was wrong with the log before it, nobody needs that any more. */
static void take_cover(struct vm_journal *journal, const struct checkpoint_job *job)
{
	journal_notes_forget(&journal->notes, job->last_note);
	if (journal->settled < job->it.number) {
		journal->settled = job->it.number;
		journal->settled_bytes = job->n_bytes;
	}
	if (journal->last_number == job->it.number)
		journal->is_batch_open = false;
	if (journal->is_damaged)
		vm_journal_say(journal, false,
			       "a checkpoint covers what is damaged in the journal %s: only its "
			       "history ends there",
			       journal->name);
	if (journal->sync_error) {
		vm_journal_say(journal, false,
			       "the journal %s goes on in a new segment, behind a checkpoint",
			       journal->name);
		journal_syncer_resume(journal->syncer);
	} else {
		journal->cover_ms = 0;
	}
	journal->is_damaged = false;
	journal->sync_error = 0;
}

static void take_success(struct vm_journal *journal, const struct checkpoint_job *job)
{
	int r;

	add_checkpoint(journal, &job->it);
	journal->checkpoint_bytes = job->n_bytes;
	if (job->passed_over.error)
		vm_journal_say(
			journal, true,
			"the checkpoint %s of the journal %s cannot be used: %s; an older one "
			"and the log stood in for it, and a new one was made: see to the disk",
			job->passed_over.file, journal->name, job->passed_over.text);
	if (journal->is_checkpoint_missing)
		vm_journal_say(journal, false, "checkpoints of the journal %s are made again",
			       journal->name);
	journal->is_checkpoint_missing = false;
	if (job->is_of_memory)
		take_cover(journal, job);
	r = retain(journal);
	if (r < 0)
		vm_journal_say(journal, true,
			       "the oldest history of the journal %s cannot be removed: %s; see to "
			       "the state directory",
			       journal->name, strerror(-r));
}

static void free_job(struct checkpoint_job *job)
{
	image_destroy(&job->image);
	replay_destroy(&job->replay);
	free(job);
}

/*
 * One at a time, or all VMs were in memory twice: the next one that waits need not wait any longer.
 */
static void end_covering(struct vm_journals *journals, bool is_well)
{
	struct vm_journal *journal;

	journals->is_covering = false;
	LIST_FOREACH (journal, &journals->open, open)
		if (is_well && !journal->is_closed && !journal->job && needs_cover(journal)) {
			journal->cover_ms = 0;
			vm_journal_cover(journal);
			return;
		}
}

static void done(void *context, bool was_run)
{
	struct checkpoint_job *job = context;
	struct vm_journal *journal = job->journal;
	struct vm_journals *journals = journal->journals;
	const bool is_of_memory = job->is_of_memory, is_well = was_run && job->r == 0;

	journal->job = NULL;
	if (was_run && !journal->is_closed) {
		if (job->r < 0)
			take_failure(journal, job);
		else
			take_success(journal, job);
	}
	free_job(job);
	if (!journal->is_closed && needs_cover(journal))
		vm_journal_cover(journal);
	vm_journal_job_over(journal);
	if (is_of_memory)
		end_covering(journals, is_well);
}

static struct checkpoint_job *new_job(struct vm_journal *journal, uint64_t number, uint64_t n_bytes)
{
	struct checkpoint_job *job = allocate_one(struct checkpoint_job);

	job->journal = journal;
	job->parent_fd = journal->journals->directory_fd;
	memcpy(job->name, journal->name, sizeof(job->name));
	job->identity = *journal_identity(journal->journal);
	job->it.number = number;
	job->n_bytes = n_bytes;
	replay_init(&job->replay);
	return job;
}

static void submit(struct vm_journal *journal, struct checkpoint_job *job,
		   enum archivist_priority priority)
{
	journal->job = job;
	job->job =
		archivist_submit(journal->journals->archivist, priority, geteuid(), run, done, job);
}

/* What is older than a checkpoint is to be on the disk when that is. */
void vm_journal_consider_checkpoint(struct vm_journal *journal)
{
	const struct vm_checkpoint *last = last_checkpoint(journal);
	uint64_t room = journal->journals->segment_size;

	if (last && last->size > room)
		room = last->size;
	if (journal->job || needs_cover(journal) || journal->is_closed)
		return;
	if (!journal->due && journal->settled_bytes > journal->checkpoint_bytes + room) {
		journal->due = journal->settled;
		journal->due_bytes = journal->settled_bytes;
	}
	if (!journal->due || (journal->syncer && journal->durable < journal->due))
		return;
	submit(journal, new_job(journal, journal->due, journal->due_bytes), ARCHIVIST_BACKGROUND);
	journal->due = 0;
}

/* ---- Of the policy in memory ---------------------------------------------------------------- */

/* Begins a new segment and takes down what is in force before it. */
static int make_cover(struct vm_journal *journal)
{
	struct checkpoint_job *job;
	const struct policy *policy;
	int r = 0;

	if (journal->journals->is_covering)
		return -EAGAIN;
	/*
	 * what was noted belongs before it; if it cannot be written, the checkpoint speaks for it
	 */
	if (!journal->sync_error)
		r = vm_journal_write_notes(journal);
	if (r < 0)
		return r;
	job = new_job(journal, journal->last_number, journal->n_bytes);
	job->is_of_memory = true;
	job->renewed = journal->syncer ? journal->journal : NULL;
	job->last_note = journal->notes.last_id;
	policy = journal->ops->snapshot(journal->context, &job->replay);
	r = policy ? journal_renew(journal->journal) : -EAGAIN;
	if (r < 0) {
		free_job(job);
		return r;
	}
	policy_image_write(policy, &job->image);
	journal->journals->is_covering = true;
	journal->due = 0;
	submit(journal, job, ARCHIVIST_AWAITED);
	return 0;
}

static void on_cover(evutil_socket_t fd, short events, void *data)
{
	struct vm_journal *journal = data;

	(void)fd;
	(void)events;
	if (!needs_cover(journal))
		return;
	if (journal->job)
		archivist_cancel(journal->job->job);
	else if (make_cover(journal) < 0)
		vm_journal_cover(journal);
}

void vm_journal_cover(struct vm_journal *journal)
{
	const struct timeval delay = {
		.tv_sec = journal->cover_ms / 1000,
		.tv_usec = journal->cover_ms % 1000 * 1000,
	};

	if (!journal->cover)
		journal->cover = evtimer_new(journal->journals->base, on_cover, journal);
	evtimer_add(journal->cover, &delay);
	journal->cover_ms *= 2;
	if (journal->cover_ms < COVER_MIN_MS)
		journal->cover_ms = COVER_MIN_MS;
	if (journal->cover_ms > COVER_MAX_MS)
		journal->cover_ms = COVER_MAX_MS;
}

/* ---- Beginning and end ---------------------------------------------------------------------- */

int vm_journal_find_checkpoints(struct vm_journal *journal, struct journal_error *ret_error)
{
	struct checkpoint_name *names;
	uint64_t last = 0;
	size_t n;
	int r = checkpoint_remove_unfinished(journal->directory_fd, ret_error);

	if (r == 0)
		r = checkpoint_list(journal->directory_fd, &names, &n, ret_error);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		const struct vm_checkpoint it = {
			.number = names[i].number,
			.size = names[i].size,
			.commit = names[i].commit,
		};

		add_checkpoint(journal, &it);
		last = it.number;
	}
	free(names);
	/* of what was written before, as much counts as the segments behind the last one have */
	journal->n_bytes = journal->settled_bytes = journal_bytes_behind(journal->journal, last);
	return 0;
}

void vm_journal_stop_checkpoints(struct vm_journal *journal)
{
	if (journal->cover)
		evtimer_del(journal->cover);
	if (journal->job)
		archivist_cancel(journal->job->job);
}
