/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of a hosted VM's journal, and what its disk says.
 */
#include "vm-journal.h"

#include "archivist.h"
#include "daemon/allocate.h"
#include "daemon/journal/directory.h"
#include "daemon/log.h"
#include "journal-syncer.h"
#include "vm-journal-private.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

void vm_journal_say(struct vm_journal *journal, bool is_trouble, const char *format, ...)
{
	char text[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (journal->is_closed)
		log_with_id(is_trouble ? LOG_ID_JOURNAL_TROUBLE : LOG_ID_JOURNAL_WELL,
			    LOG_ABOUT_VM(journal->vm), "%s", text);
	else
		journal->ops->trouble(journal->context, is_trouble, text);
}

/* ---- The disk ------------------------------------------------------------------------------- */

static void sync_failed(struct vm_journal *journal, int error)
{
	vm_journal_say(
		journal, true,
		"the journal %s could not be put on the disk: %s; updates are refused until a "
		"checkpoint of what is in force is there: see to the disk",
		journal->name, strerror(error));
	journal->sync_error = error;
	vm_journal_cover(journal);
}

static void on_synced(void *data, uint64_t number, int error)
{
	struct vm_journal *journal = data;

	if (journal->is_closed)
		return;
	if (error && !journal->sync_error)
		sync_failed(journal, error);
	if (number <= journal->durable)
		return;
	journal->durable = number;
	if (!journal->sync_error)
		journal->cover_ms = 0;
	vm_journal_consider_checkpoint(journal);
	journal->ops->durable(journal->context, number);
}

/* ---- Opening and closing -------------------------------------------------------------------- */

static struct vm_journal *new_vm_journal(struct vm_journals *journals, const char *vm,
					 const struct vm_journal_ops *ops, void *context)
{
	struct vm_journal *journal = allocate_one(struct vm_journal);

	journal->journals = journals;
	journal->directory_fd = -1;
	journal->ops = ops;
	journal->context = context;
	snprintf(journal->vm, sizeof(journal->vm), "%s", vm);
	LIST_INSERT_HEAD(&journals->open, journal, open);
	return journal;
}

static struct journal_options options_of(const struct vm_journals *journals)
{
	return (struct journal_options){
		.segment_size = journals->segment_size,
		.is_synced = journals->durability == DURABILITY_POWER,
	};
}

/* What reaches the disk and the files: may take its time. */
static void close_files(struct vm_journal *journal)
{
	struct journal_error error;

	if (journal->syncer)
		journal_syncer_finish(journal->syncer);
	journal_free(journal->journal);
	journal->journal = NULL;
	if (journal->directory_fd >= 0)
		close(journal->directory_fd);
	journal->directory_fd = -1;
	if (journal->is_discarded &&
	    vm_journal_remove(journal->journals, journal->name, &error) < 0)
		log_vm(LOG_LEVEL_WARNING, journal->vm,
		       "the journal %s, of a registration that came to nothing, cannot be removed: "
		       "%s%s%s; the next daemon will try again",
		       journal->name, error.file, *error.file ? ": " : "", error.text);
}

static void free_vm_journal(struct vm_journal *journal)
{
	journal_syncer_free(journal->syncer);
	if (journal->cover)
		event_free(journal->cover);
	journal_notes_destroy(&journal->notes);
	free(journal->parts);
	free(journal->vectors);
	free(journal->checkpoints);
	free(journal);
}

/* One that nobody was given. */
static void give_up(struct vm_journal *journal)
{
	LIST_REMOVE(journal, open);
	journal->is_closed = true;
	close_files(journal);
	free_vm_journal(journal);
}

static int open_files(struct vm_journal *journal, struct journal_error *ret_error)
{
	int r = journal_directory_open(journal->journals->directory_fd, journal->name,
				       &journal->directory_fd, ret_error);

	if (r < 0 || journal->journals->durability != DURABILITY_POWER)
		return r;
	r = journal_syncer_start(journal->journals->base, journal->journal, on_synced, journal,
				 &journal->syncer);
	if (r < 0)
		return journal_error_set(ret_error, -r, "", 0,
					 "cannot start a thread that puts it on the disk: %s",
					 strerror(-r));
	return 0;
}

static int create(struct vm_journal *journal, const struct vm_record_registered *facts,
		  const struct wire_view *views, const struct vm_record_session *owner)
{
	struct vm_journals *journals = journal->journals;
	struct journal_identity identity;
	struct journal_error error;
	int r;

	memcpy(identity.boot_id, journals->boot_id, sizeof(identity.boot_id));
	if (getrandom(identity.life_id, sizeof(identity.life_id), 0) !=
	    (ssize_t)sizeof(identity.life_id))
		return -EIO;
	vm_journal_make_name(journal->vm, &identity, journal->name);
	r = journal_create(journals->directory_fd, journal->name, &identity, options_of(journals),
			   &journal->journal);
	if (r < 0)
		return r;
	journal->is_discarded = true; /* until it is all there */
	r = open_files(journal, &error);
	if (r == 0)
		r = vm_journal_write_registered(journal, facts, views, owner);
	journal->is_discarded = r < 0;
	return r;
}

int vm_journal_create(struct vm_journals *journals, const struct vm_record_registered *facts,
		      const struct wire_view *views, const struct vm_record_session *owner,
		      const struct vm_journal_ops *ops, void *context, struct vm_journal **ret)
{
	struct vm_journal *journal = new_vm_journal(journals, facts->name, ops, context);
	int r = create(journal, facts, views, owner);

	if (r < 0) {
		give_up(journal);
		return r;
	}
	*ret = journal;
	return 0;
}

static int reopen(struct vm_journal *journal, const struct replay *replay,
		  struct journal_error *ret_error)
{
	struct vm_journals *journals = journal->journals;
	uint64_t n_cut;
	int r;

	r = journal_reopen(journals->directory_fd, journal->name, options_of(journals),
			   &journal->journal, &n_cut, ret_error);
	if (r < 0)
		return r;
	journal->last_number = journal_status(journal->journal).next_number - 1;
	if (journal->last_number != replay->number)
		return journal_error_set(ret_error, EBADMSG, "", 0,
					 "it ends with record %" PRIu64 ", but with %" PRIu64
					 " when it was read before: find out who else writes there",
					 journal->last_number, replay->number);
	if (n_cut)
		log_vm(LOG_LEVEL_WARNING, journal->vm,
		       "%" PRIu64 " bytes of the journal %s were cut off: the last write was not "
		       "whole, and nobody was answered for it",
		       n_cut, journal->name);
	r = open_files(journal, ret_error);
	if (r == 0)
		r = vm_journal_find_checkpoints(journal, ret_error);
	if (r < 0)
		return r;
	journal->settled = replay->settled;
	journal->is_batch_open = replay->settled < replay->number;
	if (journal->syncer) {
		/*
		 * What the dead daemon wrote may be in the kernel's memory only.  Here, so that not
		 * all segments of all VMs are open at once; if it fails, so does the thread's next
		 * one, and that is covered.
		 */
		(void)!journal_sync(journal->journal);
		journal_syncer_want(journal->syncer, journal->last_number);
	}
	return 0;
}

int vm_journal_reopen(struct vm_journals *journals, const char *name, const struct replay *replay,
		      const struct vm_journal_ops *ops, void *context, struct vm_journal **ret,
		      struct journal_error *ret_error)
{
	struct vm_journal *journal = new_vm_journal(journals, replay->facts.name, ops, context);
	int r;

	if ((size_t)snprintf(journal->name, sizeof(journal->name), "%s", name) >=
	    sizeof(journal->name))
		r = journal_error_set(ret_error, ENAMETOOLONG, "", 0,
				      "'%s' is no name of a journal", name);
	else
		r = reopen(journal, replay, ret_error);
	if (r < 0) {
		give_up(journal);
		return r;
	}
	*ret = journal;
	return 0;
}

static void run_closing(void *context, struct archivist_job *job)
{
	(void)job;
	close_files(context);
}

static void closing_done(void *context, bool was_run)
{
	struct vm_journal *journal = context;

	if (!was_run)
		close_files(journal);
	free_vm_journal(journal);
}

void vm_journal_job_over(struct vm_journal *journal)
{
	if (journal->is_closed)
		archivist_submit(journal->journals->archivist, ARCHIVIST_AWAITED, geteuid(),
				 run_closing, closing_done, journal);
}

/* From here on nobody is told of it any more. */
static void begin_closing(struct vm_journal *journal)
{
	LIST_REMOVE(journal, open);
	journal->is_closed = true;
	vm_journal_stop_checkpoints(journal);
	if (!journal->job)
		vm_journal_job_over(journal);
}

/*
 * What comes last goes to the kernel even where the disk has failed: for the next daemon.  What was
 * noted since may be in a checkpoint by now, and must not come behind that.
 */
static int write_last(struct vm_journal *journal, uid_t uid, enum kvmattr_status status,
		      const char *text)
{
	int r;

	if (!status)
		return journal->sync_error ? 0 : vm_journal_write_notes(journal);
	if (journal->sync_error) {
		r = journal_renew(journal->journal);
		if (r < 0)
			return r;
		journal->sync_error = 0;
		journal_notes_forget(&journal->notes, journal->notes.last_id);
	}
	return vm_journal_write_released(journal, uid, status, text);
}

void vm_journal_close(struct vm_journal *journal, uid_t uid, enum kvmattr_status status,
		      const char *text)
{
	struct vm_journals *journals = journal->journals;
	int r;

	journal->is_closed = true;
	r = write_last(journal, uid, status, text);
	if (r < 0 && status)
		log_vm(LOG_LEVEL_WARNING, journal->vm,
		       "the journal %s cannot be written: %s; the next daemon will not know that "
		       "this VM is gone, and wait for its owner",
		       journal->name, strerror(-r));
	begin_closing(journal);
	vm_journals_forget_past(journals);
}

void vm_journal_discard(struct vm_journal *journal)
{
	journal->is_discarded = true;
	begin_closing(journal);
}

/* ---- Looking in ----------------------------------------------------------------------------- */

const char *vm_journal_name(const struct vm_journal *journal)
{
	return journal->name;
}

const struct journal_identity *vm_journal_identity(const struct vm_journal *journal)
{
	return journal_identity(journal->journal);
}

uint64_t vm_journal_recorded(const struct vm_journal *journal)
{
	return journal->syncer ? journal->last_number : 0;
}

struct vm_journal_status vm_journal_status(const struct vm_journal *journal)
{
	struct vm_journal_status status = {
		.journal = journal_status(journal->journal),
		.durability = journal->journals->durability,
		.durable_number = journal->durable,
		.n_checkpoints = journal->n_checkpoints,
		.is_checkpointing = journal->job != NULL,
		.error = journal->sync_error ? journal->sync_error : journal->write_error,
	};

	for (size_t i = 0; i < journal->n_checkpoints; i++)
		status.checkpoint_bytes += journal->checkpoints[i].size;
	if (journal->n_checkpoints)
		status.checkpoint = journal->checkpoints[journal->n_checkpoints - 1].number;
	status.first_commit = status.journal.first_number == 1 || !journal->n_checkpoints
				      ? 1
				      : journal->checkpoints[0].commit;
	return status;
}
