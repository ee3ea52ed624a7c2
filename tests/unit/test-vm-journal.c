/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hosted VM's journal with durability "process": what was recorded is there, what could not be
 * is not, and there is a way on.
 */
#include "daemon/allocate.h"
#include "daemon/serve/archivist.h"
#include "daemon/serve/journal-notes.h"
#include "tests/unit/faulty-io.h"
#include "tests/unit/journal-checks.h"
#include "tests/unit/journal-story.h"
#include "tests/unit/journaled-vm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* So long that there is no other, and no checkpoint. */
#define ONE_SEGMENT ((uint64_t)64 << 20)
#define NO_LIMIT    UINT64_MAX

static struct journaled_vm vm;

static unsigned int count_journals(void)
{
	int fd = openat(vm.journals.directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fdopendir(fd);
	struct dirent *entry;
	unsigned int n = 0;

	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory)))
		n += entry->d_name[0] != '.';
	closedir(directory);
	return n;
}

/* ---- What is recorded ------------------------------------------------------------------------ */

START_TEST(what_was_recorded_is_what_is_replayed)
{
	journaled_vm_begin(&vm, DURABILITY_PROCESS, ONE_SEGMENT, NO_LIMIT, seeded_suite_random(_i));
	ck_assert_int_eq(journaled_vm_create(&vm), 0);
	for (int i = 0; i < 30; i++) {
		journaled_vm_go_on(&vm, 10);
		ck_assert_uint_eq(vm.acknowledged, vm.commit);
		journaled_vm_expect(&vm);
		if (random_one_in(&vm.random, 3)) { /* the next daemon */
			journaled_vm_close(&vm, KVMATTR_OK);
			journaled_vm_expect(&vm);
			ck_assert_int_eq(journaled_vm_reopen(&vm), 0);
		}
	}
	ck_assert_uint_eq(vm.n_troubles, 0);
	journaled_vm_expect_history(&vm);
	journaled_vm_end(&vm);
}
END_TEST

static uint64_t session_of(const struct vm_update *update)
{
	return *(const uint64_t *)update->origin;
}

/* Has the journal record what a BATCH of the story says, and, if it is so, that it is in force. */
static void tell_batch(const struct journal_record *record, const struct vm_in_force *in_force)
{
	struct vm_record_batch head;
	struct vm_update *updates;
	struct vm_part *parts;
	uint64_t *sessions, number;
	size_t offset = sizeof(head);
	struct vm_batch batch;

	ck_assert_ptr_null(vm_record_get_batch(record->payload, record->header.size, &head));
	updates = allocate_zeroed(head.n_parts, sizeof(*updates));
	parts = allocate_zeroed(head.n_parts, sizeof(*parts));
	sessions = allocate_zeroed(head.n_parts, sizeof(*sessions));
	for (uint32_t i = 0; i < head.n_parts; i++) {
		const uint8_t *elements;
		struct vm_record_part part;
		const char *text;

		ck_assert_ptr_null(vm_record_next_part(record->payload, record->header.size,
						       &offset, &part, &text, &elements));
		sessions[i] = part.session;
		updates[i] = (struct vm_update){
			.origin = &sessions[i],
			.element = {
				.kind = (enum kvmattr_update_kind)part.update.kind,
				.layer = part.update.layer,
				.value = part.update.value,
				.restricted = part.update.restricted,
				.mbec = part.update.mbec,
			},
			.form = part.update.form,
			.n_elements = part.update.form == WIRE_FORM_NONE ? 0 : part.n_total,
			/* those before it are elsewhere: nobody may look at them */
			.elements = elements - part.first * wire_element_size(part.update.form),
			.seqno = part.seqno,
			.status = (enum kvmattr_status)part.status,
			.text = part.status ? strndup(text, part.text_size) : NULL,
		};
		parts[i] = (struct vm_part){ &updates[i], part.first, part.n };
	}
	batch = (struct vm_batch){ head.commit, parts, head.n_parts };
	ck_assert_int_eq(vm_journal_record(vm.journal, &batch, in_force, session_of, &number), 0);
	for (uint32_t i = 0; i < head.n_parts; i++)
		free(updates[i].text);
	free(updates);
	free(parts);
	free(sessions);
}

static struct vm_in_force in_force_of(const struct journal_record *record)
{
	struct vm_record_in_force in_force;

	ck_assert_ptr_null(vm_record_get_in_force(record->payload, record->header.size, &in_force));
	return (struct vm_in_force){ in_force.commit, in_force.flags & VM_RECORD_ALL_KNOWN };
}

static void tell_refused(const struct journal_record *record)
{
	struct vm_record_refused refused;
	struct vm_update update;

	ck_assert_ptr_null(vm_record_get_refused(record->payload, record->header.size, &refused));
	update = (struct vm_update){ .seqno = refused.failure.seqno,
				     .n_in_force = refused.failure.n_in_force };
	vm_journal_note_refused(vm.journal, refused.session, &update,
				(enum kvmattr_status)refused.failure.status, refused.failure.text);
}

static void tell(const struct story *story, size_t *i)
{
	const struct journal_record record = story_record(story, *i);
	struct vm_record_session_closed closed;
	struct vm_record_session session;
	struct vm_in_force in_force;
	struct journal_record next;
	uint64_t number;

	switch (record.header.type) {
	case VM_RECORD_SESSION:
		ck_assert_ptr_null(
			vm_record_get_session(record.payload, record.header.size, &session));
		ck_assert_int_eq(vm_journal_write_session(vm.journal, &session), 0);
		break;
	case VM_RECORD_SESSION_CLOSED:
		ck_assert_ptr_null(
			vm_record_get_session_closed(record.payload, record.header.size, &closed));
		vm_journal_note_session_closed(vm.journal, closed.id);
		break;
	case VM_RECORD_READY:
		ck_assert_int_eq(vm_journal_write_ready(vm.journal), 0);
		break;
	case VM_RECORD_BATCH:
		if (!story->records[*i].ends_write) { /* it needed no call */
			next = story_record(story, ++*i);
			in_force = in_force_of(&next);
			tell_batch(&record, &in_force);
		} else {
			tell_batch(&record, NULL);
		}
		break;
	case VM_RECORD_IN_FORCE:
		in_force = in_force_of(&record);
		ck_assert_int_eq(
			vm_journal_record(vm.journal, NULL, &in_force, session_of, &number), 0);
		break;
	case VM_RECORD_REFUSED:
		tell_refused(&record);
		break;
	default:
		ck_abort_msg("record type %u", record.header.type);
	}
}

START_TEST(a_record_holds_what_the_story_tells_byte_by_byte)
{
	struct story *story = allocate_one(struct story);
	struct journal_error error = { 0 };
	struct journal_reader *reader;
	struct journal_record record;

	story_begin(story, seeded_suite_random(_i));
	for (int i = 0; i < 400; i++)
		story_go_on(story);
	journaled_vm_begin(&vm, DURABILITY_PROCESS, ONE_SEGMENT, NO_LIMIT, 1);
	ck_assert_int_eq(vm_journal_create(&vm.journals, &story->facts, story->views,
					   &story->sessions[0].facts, NULL, NULL, &vm.journal),
			 0);
	/* REGISTERED and the owner's SESSION, which may have got a name later */
	for (size_t i = 2; i < story->n_records; i++) {
		tell(story, &i);
		ck_assert_int_eq(journaled_vm_flush(&vm), 0);
	}
	ck_assert_int_eq(journal_reader_open(vm.journals.directory_fd, vm_journal_name(vm.journal),
					     (struct journal_position){ 3 }, &reader, &error),
			 0);
	for (size_t i = 2; i < story->n_records; i++) {
		const struct journal_record told = story_record(story, i);

		ck_assert_int_eq(journal_read(reader, &record, &error), JOURNAL_RECORD);
		EXPECT(record.header.type == told.header.type &&
			       record.header.size == told.header.size &&
			       memcmp(record.payload, told.payload, told.header.size) == 0,
		       "record %zu, of type %u", i + 1, told.header.type);
	}
	ck_assert_int_eq(journal_read(reader, &record, &error), JOURNAL_END);
	journal_reader_free(reader);
	story_end(story);
	free(story);
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(a_batch_of_very_many_updates_is_one_record)
{
	enum { N_UPDATES = 100000 };
	struct vm_update update = { .element = { .kind = KVMATTR_PROTECT },
				    .form = WIRE_FORM_PAGES,
				    .n_elements = 1,
				    .elements = (const uint8_t *)"\1\0\0\0\0\0\0",
				    .status = KVMATTR_ACCESS_DENIED,
				    .origin = &(uint64_t){ 0 } };
	struct vm_part *parts = allocate(N_UPDATES * sizeof(*parts));
	struct vm_batch batch = { 1, parts, N_UPDATES };
	char text[WIRE_TEXT_SIZE + 100];
	uint64_t number;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	update.text = text;
	for (size_t i = 0; i < N_UPDATES; i++)
		parts[i] = (struct vm_part){ &update, 0, 0 };
	journaled_vm_begin(&vm, DURABILITY_PROCESS, ONE_SEGMENT, NO_LIMIT, 1);
	ck_assert_int_eq(journaled_vm_create(&vm), 0);
	ck_assert_int_eq(vm_journal_record(vm.journal, &batch, NULL, session_of, &number), 0);
	/* 56 bytes, and 255 of the text in 256 */
	ck_assert_uint_gt(vm_journal_status(vm.journal).journal.n_bytes,
			  N_UPDATES * (uint64_t)(56 + 256));
	ck_assert_uint_eq(vm_journal_status(vm.journal).journal.next_number, 5);
	free(parts);
	journaled_vm_expect(&vm); /* it was taken back */
	journaled_vm_end(&vm);
}
END_TEST

/* ---- What cannot be written ------------------------------------------------------------------ */

/* The journal is made, in spite of a call that fails. */
static unsigned int create_after_failures(void)
{
	unsigned int n_failed = 0;

	while (journaled_vm_create(&vm) < 0) {
		if (vm.journal) { /* only READY was not written */
			while (vm_journal_write_ready(vm.journal) < 0)
				if (++n_failed > 3)
					faulty_io_fail(OF_THIS_THREAD, 0, FAIL_ONCE, 0);
			break;
		}
		if (++n_failed > 3)
			faulty_io_fail(OF_THIS_THREAD, 0, FAIL_ONCE, 0);
	}
	return n_failed;
}

/* What could not be removed when it came to nothing, can be now.  How many there were. */
static unsigned int remove_remains(void)
{
	int fd = openat(vm.journals.directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fdopendir(fd);
	struct journal_error error;
	struct dirent *entry;
	unsigned int n = 0;

	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory))) {
		if (entry->d_name[0] == '.' || !strcmp(entry->d_name, vm.name))
			continue;
		ck_assert_int_eq(vm_journal_remove(&vm.journals, entry->d_name, &error), 0);
		n++;
	}
	closedir(directory);
	return n;
}

/* Returns false when there is no such call any more. */
static bool try_call(enum fault fault, unsigned int at, unsigned int *n_failed)
{
	unsigned int n_calls, n_removed, n_failed_here = 0;

	journaled_vm_begin(&vm, DURABILITY_PROCESS, 4000, NO_LIMIT, seeded_suite_random(1000));
	faulty_io_fail(OF_THIS_THREAD, at, fault, at % 2 ? ENOSPC : EIO);
	n_failed_here += create_after_failures();
	for (int i = 0; i < 25; i++) {
		if (journaled_vm_step(&vm) < 0 && ++n_failed_here > 3)
			faulty_io_fail(OF_THIS_THREAD, 0, FAIL_ONCE, 0);
		ck_assert_uint_eq(vm.acknowledged, vm.commit);
	}
	n_calls = faulty_io_n_calls();
	*n_failed += n_failed_here > 0;
	faulty_io_fail(OF_THIS_THREAD, 0, FAIL_ONCE, 0);
	journaled_vm_expect_commit(&vm);
	journaled_vm_go_on(&vm, 5);
	journaled_vm_expect(&vm);
	ck_assert_uint_eq(vm.n_troubles, vm.n_ends);
	journaled_vm_close(&vm, KVMATTR_OK);
	ck_assert_int_eq(journaled_vm_reopen(&vm), 0);
	journaled_vm_go_on(&vm, 5);
	journaled_vm_expect(&vm);
	n_removed = remove_remains();
	/* what could not be made is not there, or was not removed because nothing could be */
	ck_assert_uint_eq(count_journals(), 1);
	ck_assert(n_removed == 0 || fault == FAIL_TWICE || fault == FAIL_FROM_HERE ||
		  fault == HALF_FROM_HERE);
	journaled_vm_end(&vm);
	return n_failed_here || n_calls >= at;
}

START_TEST(whichever_call_fails_what_was_recorded_is_there_and_what_was_not_is_not)
{
	unsigned int at = 1, n_failed = 0;

	while (try_call((enum fault)_i, at, &n_failed))
		at++;
	printf("# fault %d: %u calls failed in turn, %u were noticed\n", _i, at - 1, n_failed);
	fflush(stdout);
	ck_assert_uint_gt(at, 40);
	if (_i != SHORT_FROM_HERE)
		ck_assert_uint_gt(n_failed, 30);
}
END_TEST

START_TEST(while_the_disk_is_full_it_says_so_once_and_once_that_it_is_over)
{
	journaled_vm_begin(&vm, DURABILITY_PROCESS, ONE_SEGMENT, NO_LIMIT, seeded_suite_random(_i));
	ck_assert_int_eq(journaled_vm_create(&vm), 0);
	for (unsigned int i = 1; i <= 3; i++) {
		journaled_vm_go_on(&vm, 20);
		faulty_io_fail(OF_THIS_THREAD, 1, i % 2 ? FAIL_FROM_HERE : HALF_FROM_HERE, ENOSPC);
		for (int k = 0; k < 20; k++)
			ck_assert_int_eq(journaled_vm_step(&vm), -ENOSPC);
		ck_assert_uint_eq(vm.n_troubles, i);
		ck_assert_ptr_nonnull(strstr(vm.trouble, strerror(ENOSPC)));
		ck_assert_ptr_nonnull(strstr(vm.trouble, vm.name));
		ck_assert_int_eq(vm_journal_status(vm.journal).error, ENOSPC);
		faulty_io_fail(OF_THIS_THREAD, 0, FAIL_ONCE, 0);
		journaled_vm_expect_commit(&vm);
		ck_assert_uint_eq(vm.n_ends, i - 1);
		journaled_vm_go_on(&vm, 1);
		ck_assert_uint_eq(vm.n_ends, i);
		ck_assert_int_eq(vm_journal_status(vm.journal).error, 0);
		journaled_vm_expect(&vm);
	}
	journaled_vm_end(&vm);
}
END_TEST

/* ---- Notes ----------------------------------------------------------------------------------- */

START_TEST(notes_do_not_wait_for_a_batch_when_they_are_many)
{
	struct vm_update update = { 0 };

	journaled_vm_begin(&vm, DURABILITY_PROCESS, ONE_SEGMENT, NO_LIMIT, 1);
	ck_assert_int_eq(journaled_vm_create(&vm), 0);
	for (update.seqno = 1; update.seqno <= 1000; update.seqno++) {
		vm_journal_note_refused(vm.journal, 1, &update, KVMATTR_EXECUTOR_STUCK, "stuck");
		ck_assert_uint_gt(vm_journal_status(vm.journal).journal.next_number + 300,
				  update.seqno);
	}
	ck_assert_uint_gt(vm_journal_status(vm.journal).journal.next_number, 700);
	ck_assert_uint_lt(faulty_io_n_calls(), 50);
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(while_nothing_can_be_written_the_oldest_notes_are_dropped_and_it_shows)
{
	enum { N_REFUSED = 3 * JOURNAL_NOTES_MAX_REFUSED };
	const struct replay_request request = { .limit = REPLAY_ALL };
	struct vm_record_session agent = { .id = 2, .role = WIRE_ROLE_AGENT, .vtl = 1 };
	struct vm_update update = { 0 };
	struct replay_session *session;
	struct journal_error error;
	struct replay_report report;
	struct replay replay;

	journaled_vm_begin(&vm, DURABILITY_PROCESS, ONE_SEGMENT, NO_LIMIT, 1);
	ck_assert_int_eq(journaled_vm_create(&vm), 0);
	ck_assert_int_eq(vm_journal_write_session(vm.journal, &agent), 0);
	faulty_io_fail(OF_THIS_THREAD, 1, FAIL_FROM_HERE, ENOSPC);
	ck_assert_int_eq(vm_journal_write_ready(vm.journal), -ENOSPC);
	vm_journal_note_session_closed(vm.journal, 2);
	for (update.seqno = 1; update.seqno <= N_REFUSED; update.seqno++)
		vm_journal_note_refused(vm.journal, 1, &update, KVMATTR_JOURNAL_FAILED, "full");
	faulty_io_fail(OF_THIS_THREAD, 0, FAIL_ONCE, 0);
	ck_assert_int_eq(journaled_vm_flush(&vm), 0);

	replay_init(&replay);
	ck_assert_int_eq(journal_replay(vm.journals.directory_fd, vm.name, &request, &replay,
					&report, &error),
			 0);
	ck_assert_ptr_null(replay_find_session(&replay, 2)); /* its end was not dropped */
	session = replay_find_session(&replay, 1);
	ck_assert_uint_eq(session->settled_seqno, N_REFUSED);
	ck_assert_uint_le(session->n_failures, JOURNAL_NOTES_MAX_REFUSED);
	ck_assert_uint_gt(session->n_failures, JOURNAL_NOTES_MAX_REFUSED / 2);
	ck_assert_uint_eq(session->forgotten_seqno, N_REFUSED - session->n_failures);
	ck_assert_uint_eq(session->failures[0].seqno, session->forgotten_seqno + 1);
	replay_destroy(&replay);
	journaled_vm_end(&vm);
}
END_TEST

/* ---- Beginning and end ----------------------------------------------------------------------- */

START_TEST(a_journal_is_named_for_its_vm_and_its_life)
{
	char digits[17] = "";

	journaled_vm_begin(&vm, DURABILITY_PROCESS, ONE_SEGMENT, NO_LIMIT, 1);
	ck_assert_int_eq(journaled_vm_create(&vm), 0);
	for (int i = 0; i < 8; i++)
		snprintf(digits + 2 * i, 3, "%02x", vm_journal_identity(vm.journal)->life_id[i]);
	ck_assert(strncmp(vm.name, "vm.", 3) == 0);
	ck_assert_str_eq(vm.name + 3, digits);
	ck_assert(vm_journal_is_name(vm.name));
	ck_assert(memcmp(vm_journal_identity(vm.journal)->boot_id, vm.journals.boot_id, 16) == 0);
	ck_assert(!vm_journal_is_name("vm"));
	ck_assert(!vm_journal_is_name("vm."));
	ck_assert(!vm_journal_is_name("vm.0123456789abcde"));
	ck_assert(!vm_journal_is_name("vm.0123456789abcdef0"));
	ck_assert(!vm_journal_is_name("vm.0123456789abcdeF"));
	ck_assert(!vm_journal_is_name(".0123456789abcdef"));
	ck_assert(!vm_journal_is_name("vm.0123456789abcdef.removed"));
	ck_assert(vm_journal_is_name("a.b.0123456789abcdef"));
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(a_registration_that_comes_to_nothing_leaves_nothing)
{
	bool is_power = _i;

	journaled_vm_begin(&vm, is_power ? DURABILITY_POWER : DURABILITY_PROCESS, ONE_SEGMENT,
			   NO_LIMIT, 1);
	ck_assert_int_eq(journaled_vm_create(&vm), 0);
	ck_assert_uint_eq(count_journals(), 1);
	vm_journal_discard(vm.journal);
	vm.journal = NULL;
	while (count_journals())
		journaled_vm_await(&vm);
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(a_released_vms_journal_says_why)
{
	const struct replay_request request = { .limit = REPLAY_ALL };
	struct journal_error error;
	struct replay_report report;
	struct replay replay;

	journaled_vm_begin(&vm, _i ? DURABILITY_POWER : DURABILITY_PROCESS, ONE_SEGMENT, NO_LIMIT,
			   seeded_suite_random(_i));
	ck_assert_int_eq(journaled_vm_create(&vm), 0);
	journaled_vm_go_on(&vm, 10);
	journaled_vm_close(&vm, KVMATTR_NO_VM);
	replay_init(&replay);
	ck_assert_int_eq(journal_replay(vm.journals.directory_fd, vm.name, &request, &replay,
					&report, &error),
			 0);
	ck_assert(replay.is_released);
	ck_assert_uint_eq(replay.released.status, KVMATTR_NO_VM);
	ck_assert_str_eq(replay.released.text, "the test is over");
	replay_destroy(&replay);
	journaled_vm_expect(&vm);
	journaled_vm_end(&vm);
}
END_TEST

START_TEST(a_journal_that_changed_since_it_was_read_is_not_gone_on_with)
{
	const struct replay_request request = { .limit = REPLAY_ALL };
	struct journal_error error = { 0 };
	struct replay_report report;
	struct vm_journal *journal;
	struct replay replay;

	journaled_vm_begin(&vm, DURABILITY_PROCESS, ONE_SEGMENT, NO_LIMIT, seeded_suite_random(0));
	ck_assert_int_eq(journaled_vm_create(&vm), 0);
	journaled_vm_go_on(&vm, 5);
	replay_init(&replay);
	ck_assert_int_eq(journal_replay(vm.journals.directory_fd, vm.name, &request, &replay,
					&report, &error),
			 0);
	journaled_vm_go_on(&vm, 5);
	journaled_vm_close(&vm, KVMATTR_OK);
	ck_assert_int_eq(
		vm_journal_reopen(&vm.journals, vm.name, &replay, NULL, NULL, &journal, &error),
		-EBADMSG);
	ck_assert_uint_gt(strlen(error.text), 0);
	ck_assert_int_eq(vm_journal_reopen(&vm.journals, "vm.0000000000000000", &replay, NULL, NULL,
					   &journal, &error),
			 -ENOENT);
	replay_destroy(&replay);
	ck_assert_int_eq(journaled_vm_reopen(&vm), 0);
	journaled_vm_go_on(&vm, 5);
	journaled_vm_expect(&vm);
	journaled_vm_end(&vm);
}
END_TEST

int main(void)
{
	TCase *records = tcase_create("records");
	TCase *faults = tcase_create("faults");
	TCase *notes = tcase_create("notes");
	TCase *lives = tcase_create("lives");
	TCase *const cases[] = { records, faults, notes, lives, NULL };

	for (size_t i = 0; cases[i]; i++)
		tcase_add_checked_fixture(cases[i], journaled_vm_fixture_begin,
					  journaled_vm_fixture_end);
	tcase_add_loop_test(records, what_was_recorded_is_what_is_replayed, 0, 8);
	tcase_add_loop_test(records, a_record_holds_what_the_story_tells_byte_by_byte, 0, 8);
	tcase_add_test(records, a_batch_of_very_many_updates_is_one_record);
	tcase_add_loop_test(faults,
			    whichever_call_fails_what_was_recorded_is_there_and_what_was_not_is_not,
			    0, N_FAULTS);
	tcase_add_loop_test(faults, while_the_disk_is_full_it_says_so_once_and_once_that_it_is_over,
			    0, 3);
	tcase_add_test(notes, notes_do_not_wait_for_a_batch_when_they_are_many);
	tcase_add_test(notes,
		       while_nothing_can_be_written_the_oldest_notes_are_dropped_and_it_shows);
	tcase_add_test(lives, a_journal_is_named_for_its_vm_and_its_life);
	tcase_add_loop_test(lives, a_registration_that_comes_to_nothing_leaves_nothing, 0, 2);
	tcase_add_loop_test(lives, a_released_vms_journal_says_why, 0, 2);
	tcase_add_test(lives, a_journal_that_changed_since_it_was_read_is_not_gone_on_with);
	return seeded_suite_run("vm-journal", cases);
}
