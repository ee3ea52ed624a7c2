/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recovery.h"

#include "daemon/allocate.h"
#include "daemon/journal/checkpoint.h"
#include "daemon/journal/directory.h"
#include "daemon/log.h"
#include "executor-link.h"
#include "fd-store.h"
#include "hosted-vm.h"
#include "session-resume.h"
#include "vm-events.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A policy grew under max-map-mib, which may have been lowered since; it is no licence for all. */
#define MAX_MAP_FACTOR 4
/* The next session's number is above all that were recorded, of all VMs, and is not to wrap. */
#define MAX_SESSION (UINT64_MAX / 2)

/* ---- Journals that stay where they are ------------------------------------------------------ */

/* What comes before the dot: the VM's name. */
static void name_vm(const char *journal, char *vm, size_t size)
{
	const char *dot = strrchr(journal, '.');

	snprintf(vm, size, "%.*s", (int)(dot - journal), journal);
}

static void give_up(struct daemon *daemon, const char *journal, const struct journal_error *error)
{
	struct unrecovered *unrecovered = allocate_one(struct unrecovered);
	char text[1024];

	snprintf(unrecovered->journal, sizeof(unrecovered->journal), "%s", journal);
	name_vm(journal, unrecovered->vm, sizeof(unrecovered->vm));
	unrecovered->error = *error;
	LIST_INSERT_HEAD(&daemon->unrecovered, unrecovered, list);
	snprintf(text, sizeof(text), "not recovered from %s: %s, offset %" PRIu64 ": %s", journal,
		 error->file, error->offset, error->text);
	vm_events_journal(daemon, unrecovered->vm, true, text);
	log_with_id(
		LOG_ID_VM_NOT_RECOVERED, LOG_ABOUT_VM(unrecovered->vm),
		"not recovered: %s/%s/%s, offset %" PRIu64
		": %s.  Nothing of it is changed.  KVM keeps what it was told last; the name is taken "
		"until the journal is moved away, then the VM can be registered anew",
		daemon->journals_path, journal, error->file, error->offset, error->text);
}

bool recovery_find_unrecovered(struct daemon *daemon, const char *vm, char *text, size_t text_size)
{
	struct unrecovered *unrecovered, *next;

	for (unrecovered = LIST_FIRST(&daemon->unrecovered); unrecovered; unrecovered = next) {
		struct stat status;

		next = LIST_NEXT(unrecovered, list);
		if (strcmp(unrecovered->vm, vm))
			continue;
		if (!fstatat(daemon->journals.directory_fd, unrecovered->journal, &status,
			     AT_SYMLINK_NOFOLLOW)) {
			snprintf(
				text, text_size,
				"the journal of an earlier VM '%s' cannot be read; move %s/%s away "
				"(%s, offset %" PRIu64 ")",
				vm, daemon->journals_path, unrecovered->journal,
				unrecovered->error.file, unrecovered->error.offset);
			return true;
		}
		LIST_REMOVE(unrecovered, list);
		free(unrecovered);
	}
	return false;
}

void recovery_forget_unrecovered(struct daemon *daemon)
{
	struct unrecovered *unrecovered;

	while ((unrecovered = LIST_FIRST(&daemon->unrecovered))) {
		LIST_REMOVE(unrecovered, list);
		free(unrecovered);
	}
}

/* ---- What the service manager kept ---------------------------------------------------------- */

/* An owner comes back with all that is its own, or has to come by itself. */
struct belongings {
	int connection;
	int executor; /* -1 where it is in the daemon */
	int views[KVMATTR_N_VTLS];
	int stats[KVMATTR_N_VTLS]; /* -1; it goes on without them */
};

static int take_connection(const struct session *session)
{
	char name[SESSION_FD_NAME_SIZE];

	return fd_store_take(session->daemon->fd_store,
			     session_fd_name(session, name, sizeof(name)));
}

static bool take_belongings(const struct hosted_vm *hosted, struct belongings *belongings)
{
	const enum vm_fd_kind kind = hosted->is_simulated ? VM_FD_SIMULATED : VM_FD_KVM;
	struct fd_store *store = hosted->daemon->fd_store;
	char name[HOSTED_VM_FD_NAME_SIZE];
	bool is_whole;

	belongings->connection = take_connection(hosted->owner);
	is_whole = belongings->connection >= 0;
	belongings->executor = -1;
	if (hosted->executor_place == WIRE_EXECUTOR_VMM) {
		belongings->executor = fd_store_take(
			store, hosted_vm_executor_fd_name(hosted, name, sizeof(name)));
		is_whole &= belongings->executor >= 0;
	}
	for (unsigned int i = 0; i < hosted->n_views; i++) {
		belongings->views[i] = fd_store_take_vm(
			store, hosted_vm_fd_name(hosted, i, name, sizeof(name)), kind);
		is_whole &= belongings->views[i] >= 0;
		belongings->stats[i] = fd_store_take_vm(
			store, hosted_vm_stats_fd_name(hosted, i, name, sizeof(name)),
			VM_FD_STATISTICS);
	}
	return is_whole;
}

/* The other end is to see it at once, though the service manager still has ours for a moment. */
static void hang_up(int socket)
{
	if (socket < 0)
		return;
	shutdown(socket, SHUT_RDWR);
	close(socket);
}

static void give_back(const struct hosted_vm *hosted, const struct belongings *belongings)
{
	char name[SESSION_FD_NAME_SIZE];

	hosted_vm_forget_fds(hosted);
	fd_store_forget(hosted->daemon->fd_store,
			session_fd_name(hosted->owner, name, sizeof(name)));
	hang_up(belongings->connection);
	hang_up(belongings->executor);
	for (unsigned int i = 0; i < hosted->n_views; i++) {
		if (belongings->views[i] >= 0)
			close(belongings->views[i]);
		if (belongings->stats[i] >= 0)
			close(belongings->stats[i]);
	}
}

/*
 * Puts the owner and the executor back in their places; false if they have to come by themselves.
 */
static bool restore_owner(struct hosted_vm *hosted)
{
	struct belongings belongings;
	bool is_here = hosted->executor_place == WIRE_EXECUTOR_DAEMON;

	if (!take_belongings(hosted, &belongings) ||
	    (hosted->is_simulated && !hosted->daemon->allow_simulated)) {
		give_back(hosted, &belongings);
		return false;
	}
	memcpy(hosted->view_fds, belongings.views, hosted->n_views * sizeof(belongings.views[0]));
	if (is_here && !hosted_vm_find_executor_here(hosted)) {
		for (unsigned int i = 0; i < hosted->n_views; i++)
			hosted->view_fds[i] = -1;
		give_back(hosted, &belongings);
		return false;
	}
	memcpy(hosted->stats_fds, belongings.stats, hosted->n_views * sizeof(belongings.stats[0]));
	session_restore_connection(hosted->owner, belongings.connection);
	if (!is_here)
		hosted_vm_find_executor(hosted, belongings.executor, true);
	return true;
}

/* Returns how many of the VM's sessions have their connections back. */
static unsigned int restore_connections(struct hosted_vm *hosted)
{
	struct session *session;
	unsigned int n = restore_owner(hosted);

	TAILQ_FOREACH (session, &hosted->sessions, list) {
		int socket = session == hosted->owner ? -1 : take_connection(session);

		if (socket < 0)
			continue;
		session_restore_connection(session, socket);
		n++;
	}
	return n;
}

/* ---- One VM --------------------------------------------------------------------------------- */

static void recover_sessions(struct hosted_vm *hosted, struct replay *replay)
{
	for (size_t i = 0; i < replay->n_sessions; i++) {
		struct session *session = session_recover(hosted, &replay->sessions[i]);

		if (session->actor.is_owner)
			hosted->owner = session;
	}
	hosted_vm_charge(hosted);
	if (replay->max_session > hosted->daemon->last_session_id)
		hosted->daemon->last_session_id = replay->max_session;
}

/* The VM as it was recorded; the policy is taken out of the replay. */
static void bring_back(struct hosted_vm *hosted, struct replay *replay)
{
	hosted->is_ready = true;
	hosted->is_recovered = true;
	hosted->is_simulated = replay->facts.is_simulated;
	hosted->executor_place = (enum wire_executor)replay->facts.executor;
	hosted->n_views = replay->facts.n_views;
	memcpy(hosted->views, replay->views, hosted->n_views * sizeof(replay->views[0]));
	hosted->registered_us = replay->registered_us;
	hosted->vm = vm_new(hosted->name, replay->policy, &hosted->daemon->limits.vm,
			    &hosted_vm_ops, hosted);
	replay->policy = NULL;
	hosted->recovered_number = vm_journal_recorded(hosted->journal);
	vm_restore(hosted->vm, replay->commit, &replay->doubtful, hosted->recovered_number);
	recover_sessions(hosted, replay);
	hosted->daemon->vms_recovered++;
}

static void let_go_on(struct hosted_vm *hosted)
{
	unsigned int n_connected;

	vm_events_registered(hosted);
	n_connected = restore_connections(hosted);

	log_with_id(
		LOG_ID_VM_RECOVERED, LOG_ABOUT_VM(hosted->name),
		"recovered as of commit %" PRIu64
		" from %s: %u session(s), %u of them still connected, pages to be told again: %" PRIu64,
		vm_commit(hosted->vm), vm_journal_name(hosted->journal), hosted->n_sessions,
		n_connected, vm_unknown_pages(hosted->vm));
	if (hosted_vm_has_owner(hosted)) {
		if (!session_watch_peer(hosted->owner))
			session_close(hosted->owner, KVMATTR_NO_VM, "the VMM's process has ended");
	} else if (session_watch_peer(hosted->owner)) {
		log_vm(LOG_LEVEL_INFO, hosted->name,
		       "waits up to %u ms for its owner %s (PID %d) to come back",
		       hosted->daemon->limits.owner_grace_ms, hosted->owner->peer,
		       hosted->owner->pid);
		hosted_vm_await_owner(hosted);
	} else {
		session_close(hosted->owner, KVMATTR_NO_VM,
			      "the VMM's process ended while the daemon was away");
	}
	hosted_vm_await_agents(hosted);
}

/* The owner's session, or 0. */
static uint64_t find_owner(const struct replay *replay)
{
	for (size_t i = 0; i < replay->n_sessions; i++)
		if (replay->sessions[i].facts.role == WIRE_ROLE_OWNER)
			return replay->sessions[i].facts.id;
	return 0;
}

/*
 * Two VMs of one name: the first one was released, but its journal could not be told so.  Sessions
 * are numbered in the order in which they come, whatever the clock says.  Returns false if it is
 * this one.
 */
static bool is_last_of_its_name(struct daemon *daemon, const struct replay *replay)
{
	static const char text[] = "a VM of the same name was registered later";
	struct hosted_vm *other;

	LIST_FOREACH (other, &daemon->vms, list)
		if (!strcmp(other->name, replay->facts.name))
			break;
	if (!other)
		return true;
	if (other->owner && other->owner->id > find_owner(replay))
		return false;
	hosted_vm_doom(other, KVMATTR_NO_VM, text);
	hosted_vm_release(other);
	return true;
}

/* What a VM that is to be served has. */
static int check_sessions(const struct replay *replay, struct journal_error *ret_error)
{
	if (!find_owner(replay))
		return journal_error_set(ret_error, EBADMSG, "", 0,
					 "no session is the VM's owner's");
	if (replay->max_session > MAX_SESSION)
		return journal_error_set(ret_error, EBADMSG, "", 0,
					 "no daemon has had as many sessions as %" PRIu64,
					 replay->max_session);
	return 0;
}

static int host(struct daemon *daemon, const char *journal, struct replay *replay,
		struct journal_error *ret_error)
{
	struct hosted_vm *hosted;
	bool is_last;
	int r = check_sessions(replay, ret_error);

	if (r < 0)
		return r;
	is_last = is_last_of_its_name(daemon, replay);
	hosted = hosted_vm_new(daemon, replay->facts.name);
	r = vm_journal_reopen(&daemon->journals, journal, replay, &hosted_vm_journal_ops, hosted,
			      &hosted->journal, ret_error);
	if (r < 0) {
		hosted_vm_free(hosted);
		return r;
	}
	bring_back(hosted, replay);
	if (is_last) {
		let_go_on(hosted);
	} else {
		hosted_vm_doom(hosted, KVMATTR_NO_VM, "a VM of the same name was registered later");
		hosted_vm_release(hosted);
	}
	return 0;
}

/* ---- One journal ---------------------------------------------------------------------------- */

static bool is_of_this_boot(const struct daemon *daemon, const char *journal)
{
	struct journal_reader *reader;
	struct journal_error error;
	bool is;

	if (journal_reader_open(daemon->journals.directory_fd, journal,
				(struct journal_position){ 0 }, &reader, &error) < 0)
		return true; /* as far as that can be told */
	is = !memcmp(journal_reader_identity(reader)->boot_id, daemon->journals.boot_id,
		     sizeof(daemon->journals.boot_id));
	journal_reader_free(reader);
	return is;
}

/* Its last segment says so, if all is well with it; whoever replays it learns the rest. */
static bool is_released(const struct daemon *daemon, const char *journal)
{
	struct journal_position position = { 0 };
	struct journal_reader *reader;
	struct journal_record record;
	struct journal_error error;
	uint64_t *numbers = NULL;
	bool is = false;
	size_t n = 0;
	int fd;

	if (journal_directory_open(daemon->journals.directory_fd, journal, &fd, &error) < 0)
		return false;
	if (!journal_directory_list(fd, &numbers, &n, &error) && n)
		position.number = numbers[n - 1];
	free(numbers);
	close(fd);
	if (!n || journal_reader_open(daemon->journals.directory_fd, journal, position, &reader,
				      &error) < 0)
		return false;
	while (journal_read(reader, &record, &error) == JOURNAL_RECORD)
		is = record.header.type == VM_RECORD_RELEASED;
	journal_reader_free(reader);
	return is;
}

static void remove_unfinished(struct daemon *daemon, const char *journal)
{
	struct journal_error error;

	if (vm_journal_remove(&daemon->journals, journal, &error) < 0)
		log_write(LOG_LEVEL_WARNING,
			  "%s/%s is of a registration that was not completed, and cannot be "
			  "removed: %s",
			  daemon->journals_path, journal, error.text);
	else
		log_write(LOG_LEVEL_INFO, "removed %s/%s, of a registration that was not completed",
			  daemon->journals_path, journal);
}

static void say_what_was_passed_over(const char *vm, const struct replay_report *report,
				     const struct journal_error *torn)
{
	if (report->is_torn)
		log_with_id(
			LOG_ID_JOURNAL_CUT, LOG_ABOUT_VM(vm),
			"the last write into its journal was not whole, as happens when the daemon "
			"dies; it is cut off at %s, offset %" PRIu64
			".  Nothing that was answered is lost",
			torn->file, torn->offset);
	if (report->passed_over.error)
		log_with_id(LOG_ID_CHECKPOINT_DAMAGED, LOG_ABOUT_VM(vm),
			    "its last checkpoint is damaged (%s, offset %" PRIu64
			    ": %s); an older one and the log say the same",
			    report->passed_over.file, report->passed_over.offset,
			    report->passed_over.text);
}

/*
 * A copy says the same as the original, or what that said once: whoever has the same VM's name by
 * its records is not to take its place.
 */
static int check_name(const char *journal, const struct replay *replay,
		      const struct replay_report *report, struct journal_error *ret_error)
{
	char name[VM_JOURNAL_NAME_SIZE];

	vm_journal_make_name(replay->facts.name, &report->identity, name);
	if (!strcmp(journal, name))
		return 0;
	return journal_error_set(ret_error, EBADMSG, "", 0,
				 "it was written as %s, and is a copy of that or was renamed: take "
				 "it out of the directory, or give it its own name back and start "
				 "the daemon again",
				 name);
}

/* error: on entry, where the last write is torn, if the report says so. */
static int recover_vm(struct daemon *daemon, const char *journal, struct replay *replay,
		      const struct replay_report *report, struct journal_error *error)
{
	int r = check_name(journal, replay, report, error);

	if (r < 0)
		return r;
	say_what_was_passed_over(replay->facts.name, report, error);
	return host(daemon, journal, replay, error);
}

/* Returns whether the journal is past. */
static bool recover(struct daemon *daemon, const char *journal)
{
	const struct replay_request request = { .limit = REPLAY_ALL };
	struct replay_report report = { 0 };
	struct journal_error error = { 0 };
	struct replay replay;
	int r;

	if (!is_of_this_boot(daemon, journal) || is_released(daemon, journal))
		return true;
	replay_init(&replay);
	replay.max_map_bytes = MAX_MAP_FACTOR * daemon->limits.max_map_bytes;
	r = journal_replay(daemon->journals.directory_fd, journal, &request, &replay, &report,
			   &error);
	if (r == -ENODATA || (!r && !replay.is_ready)) {
		remove_unfinished(daemon, journal);
	} else if (!r && !replay.is_released) {
		r = recover_vm(daemon, journal, &replay, &report, &error);
	}
	if (r < 0 && r != -ENODATA)
		give_up(daemon, journal, &error);
	replay_destroy(&replay);
	return false;
}

/* ---- All of them ---------------------------------------------------------------------------- */

static int is_journal(const struct dirent *entry)
{
	return vm_journal_is_name(entry->d_name);
}

int recovery_run(struct daemon *daemon)
{
	struct dirent **entries;
	int n = scandirat(daemon->journals.directory_fd, ".", &entries, is_journal, alphasort);
	bool has_past = false;

	if (n < 0) {
		n = -errno;
		log_write(LOG_LEVEL_ERROR,
			  "cannot look for the journals of an earlier daemon's VMs in %s: %s; see "
			  "to that, and start again",
			  daemon->journals_path, strerror(-n));
		return n;
	}
	for (int i = 0; i < n; i++) {
		has_past |= recover(daemon, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	if (has_past)
		vm_journals_forget_past(&daemon->journals);
	return 0;
}
