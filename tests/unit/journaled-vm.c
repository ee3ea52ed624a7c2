/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/journaled-vm.h"

#include "daemon/allocate.h"
#include "daemon/serve/archivist.h"
#include "tests/unit/faulty-io.h"
#include "tests/unit/journal-checks.h"
#include "tests/unit/random-updates.h"
#include "tests/unit/seeded-suite.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static uint64_t below(struct journaled_vm *vm, uint64_t bound)
{
	return random_below(&vm->random, bound);
}

static bool one_in(struct journaled_vm *vm, uint64_t n)
{
	return random_one_in(&vm->random, n);
}

/* ---- What the journal tells ------------------------------------------------------------------ */

static void durable(void *context, uint64_t number)
{
	struct journaled_vm *vm = context;
	size_t kept = 0;

	ck_assert_uint_gt(number, vm->durable);
	vm->durable = number;
	for (size_t i = 0; i < vm->n_waits; i++)
		if (vm->waits[i].number <= number)
			vm->acknowledged = vm->waits[i].commit;
		else
			vm->waits[kept++] = vm->waits[i];
	vm->n_waits = kept;
}

static void trouble(void *context, bool is_trouble, const char *text)
{
	struct journaled_vm *vm = context;

	if (is_trouble)
		vm->n_troubles++;
	else
		vm->n_ends++;
	ck_assert_uint_gt(strlen(text), 0);
	snprintf(vm->trouble, sizeof(vm->trouble), "%s", text);
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = ((const struct replay_session *)a)->facts.id;
	uint64_t y = ((const struct replay_session *)b)->facts.id;

	return (x > y) - (x < y);
}

static const struct policy *snapshot(void *context, struct replay *replay)
{
	struct journaled_vm *vm = context;

	ck_assert_uint_eq(replay->n_sessions, 0);
	if (vm->is_executing)
		return NULL;
	vm->n_snapshots++;
	replay->facts = vm->facts;
	memcpy(replay->views, vm->views, sizeof(vm->views));
	replay->registered_us = 1;
	replay->is_ready = true;
	replay->commit = vm->commit;
	replay->max_session = vm->max_session;
	for (int i = 0; i < JOURNALED_SESSIONS; i++) {
		struct replay_session *copy, *session = &vm->sessions[i];

		if (!session->facts.id)
			continue;
		allocate_room(replay->sessions, replay->n_sessions, replay->sessions_capacity);
		copy = &replay->sessions[replay->n_sessions++];
		*copy = *session;
		copy->failures_capacity = session->n_failures;
		copy->failures = allocate(session->n_failures * sizeof(*session->failures));
		for (size_t k = 0; k < session->n_failures; k++)
			copy->failures[k] = session->failures[k];
	}
	qsort(replay->sessions, replay->n_sessions, sizeof(*replay->sessions), compare_ids);
	return vm->policy;
}

static const struct vm_journal_ops ops = {
	.durable = durable,
	.trouble = trouble,
	.snapshot = snapshot,
};

void journaled_vm_pump(struct journaled_vm *vm)
{
	event_base_loop(vm->base, EVLOOP_NONBLOCK);
}

void journaled_vm_await(struct journaled_vm *vm)
{
	event_base_loop(vm->base, EVLOOP_ONCE);
}

void journaled_vm_await_checkpoint(struct journaled_vm *vm)
{
	while (vm_journal_status(vm->journal).is_checkpointing)
		journaled_vm_await(vm);
}

void journaled_vm_await_disk(struct journaled_vm *vm)
{
	while (vm->durable + 1 < vm_journal_status(vm->journal).journal.next_number)
		journaled_vm_await(vm);
}

/* ---- Beginning and end ----------------------------------------------------------------------- */

static void take_history(struct journaled_vm *vm)
{
	struct image image = { 0 };

	policy_image_write(vm->policy, &image);
	allocate_room(vm->history, vm->n_history, vm->history_capacity);
	vm->history[vm->n_history++] = image;
}

static void make_policy(struct journaled_vm *vm)
{
	struct view views[KVMATTR_N_VTLS];
	unsigned int n = view_mix((unsigned int)below(vm, N_VIEW_MIXES), views);

	snprintf(vm->facts.name, sizeof(vm->facts.name), "vm");
	vm->facts.n_views = n;
	vm->facts.is_simulated = 1;
	vm->facts.executor = WIRE_EXECUTOR_VMM;
	for (unsigned int i = 0; i < n; i++)
		vm->views[i] = (struct wire_view){ .vtl = views[i].vtl,
						   .abi = (uint8_t)views[i].dialect.abi,
						   .supported = views[i].dialect.supported };
	vm->policy = policy_new(views, n);
	vm->undo = policy_undo_log_new();
	take_history(vm);
}

void journaled_vm_begin(struct journaled_vm *vm, enum durability durability, uint64_t segment_size,
			uint64_t max_size, uint64_t random)
{
	char path[32];

	*vm = (struct journaled_vm){ .random = random, .base = event_base_new() };
	vm->journals = (struct vm_journals){
		.base = vm->base,
		.archivist = archivist_new(vm->base),
		.durability = durability,
		.segment_size = segment_size,
		.max_size = max_size,
		.max_past = 100,
	};
	snprintf(path, sizeof(path), "/proc/self/fd/%d", scratch_fd);
	ck_assert_int_eq(vm_journals_open(&vm->journals, path), 0);
	make_policy(vm);
}

int journaled_vm_create(struct journaled_vm *vm)
{
	struct vm_record_session *owner = &vm->sessions[0].facts;
	int r;

	owner->id = vm->max_session = 1;
	owner->role = WIRE_ROLE_OWNER;
	r = vm_journal_create(&vm->journals, &vm->facts, vm->views, owner, &ops, vm, &vm->journal);
	if (r < 0)
		return r;
	snprintf(vm->name, sizeof(vm->name), "%s", vm_journal_name(vm->journal));
	return vm_journal_write_ready(vm->journal);
}

/* All in the directory of journals; those who test what is left there look before. */
static void remove_journals(struct journaled_vm *vm)
{
	int parent_fd = scratch_fd, fd = dup(vm->journals.directory_fd);
	DIR *directory = fdopendir(fd);
	struct dirent *entry;

	ck_assert_ptr_nonnull(directory);
	rewinddir(directory);
	scratch_fd = vm->journals.directory_fd;
	while ((entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			scratch_clear(entry->d_name);
	scratch_fd = parent_fd;
	closedir(directory);
}

void journaled_vm_end(struct journaled_vm *vm)
{
	if (vm->journal)
		vm_journal_close(vm->journal, vm->uid, KVMATTR_OK, "");
	archivist_free(vm->journals.archivist);
	remove_journals(vm);
	vm_journals_close(&vm->journals);
	event_base_free(vm->base);
	policy_free(vm->policy);
	policy_undo_log_free(vm->undo);
	page_ranges_destroy(&vm->touched);
	for (size_t i = 0; i < vm->n_history; i++)
		image_destroy(&vm->history[i]);
	free(vm->history);
	free(vm->waits);
	for (int i = 0; i < JOURNALED_SESSIONS; i++)
		free(vm->sessions[i].failures);
	*vm = (struct journaled_vm){ 0 };
}

static void archive(void *context, struct archivist_job *job)
{
	(void)context;
	(void)job;
}

static void archived(void *context, bool was_run)
{
	(void)was_run;
	*(bool *)context = true;
}

void journaled_vm_close(struct journaled_vm *vm, enum kvmattr_status status)
{
	vm_journal_close(vm->journal, vm->uid, status, "the test is over");
	vm->journal = NULL;
	/* its own jobs come before these: what it does in the background, and when that is over */
	for (int i = 0; i < 2; i++) {
		bool is_over = false;

		archivist_submit(vm->journals.archivist, ARCHIVIST_BACKGROUND, geteuid(), archive,
				 archived, &is_over);
		while (!is_over)
			journaled_vm_await(vm);
		is_over = false;
		archivist_submit(vm->journals.archivist, ARCHIVIST_AWAITED, geteuid(), archive,
				 archived, &is_over);
		while (!is_over)
			journaled_vm_await(vm);
	}
}

int journaled_vm_reopen(struct journaled_vm *vm)
{
	const struct replay_request request = { .limit = REPLAY_ALL };
	struct journal_error error = { 0 };
	struct replay_report report;
	struct replay replay;
	int r;

	replay_init(&replay);
	r = journal_replay(vm->journals.directory_fd, vm->name, &request, &replay, &report, &error);
	if (r == 0)
		r = vm_journal_reopen(&vm->journals, vm->name, &replay, &ops, vm, &vm->journal,
				      &error);
	if (r < 0)
		snprintf(vm->trouble, sizeof(vm->trouble), "%.64s: %.200s", error.file, error.text);
	vm->durable = 0;
	replay_destroy(&replay);
	return r;
}

/* ---- Updates --------------------------------------------------------------------------------- */

static struct replay_session *any_session(struct journaled_vm *vm, size_t *ret)
{
	do
		*ret = below(vm, JOURNALED_SESSIONS);
	while (!vm->sessions[*ret].facts.id);
	return &vm->sessions[*ret];
}

static void put_elements(struct journaled_vm *vm, struct journaled_update *update)
{
	struct kvmattr_range range = update->it.element.range;

	for (uint32_t i = 0; i < update->it.n_elements; i++) {
		if (update->it.form == WIRE_FORM_PAGES)
			memcpy(update->elements + i * sizeof(range.gfn), &range.gfn,
			       sizeof(range.gfn));
		else
			memcpy(update->elements + i * sizeof(range), &range, sizeof(range));
		if (one_in(vm, 3) || update->it.form == WIRE_FORM_RANGES)
			range = random_range(&vm->random);
		else
			range.gfn++;
	}
}

static void receive_update(struct journaled_vm *vm)
{
	struct journaled_update *update = &vm->waiting[vm->n_waiting++];
	struct policy_element element = random_element(&vm->random);
	size_t i;

	*update = (struct journaled_update){ .session = any_session(vm, &i) };
	update->it.seqno = ++vm->last_seqnos[i];
	update->it.actor = (struct policy_actor){
		.is_owner = update->session->facts.role == WIRE_ROLE_OWNER,
		.vtl = update->session->facts.vtl,
		.rights = update->session->facts.rights,
	};
	if (element.kind == KVMATTR_ADD_RAM || element.kind == KVMATTR_REMOVE_RAM) {
		update->it.form = WIRE_FORM_RANGES;
		update->it.n_elements = 1;
	} else if (element.kind < KVMATTR_ENABLE_LAYER) {
		update->it.form = one_in(vm, 2) ? WIRE_FORM_PAGES : WIRE_FORM_RANGES;
		update->it.n_elements = (uint32_t)(1 + below(vm, JOURNALED_ELEMENTS));
	}
	update->it.element = element;
	put_elements(vm, update);
}

static uint32_t n_total(const struct vm_update *update)
{
	return update->form == WIRE_FORM_NONE ? 1 : update->n_elements;
}

static struct kvmattr_range element_at(const struct vm_update *update, uint32_t i)
{
	if (update->form == WIRE_FORM_NONE)
		return (struct kvmattr_range){ 0, 0 };
	if (update->form == WIRE_FORM_RANGES)
		return wire_range_at(update->elements, i);
	return (struct kvmattr_range){ wire_page_at(update->elements, i), 1 };
}

/* Takes at most so many of its elements into the policy. */
static struct vm_part take_in(struct journaled_vm *vm, struct journaled_update *update,
			      uint32_t at_most)
{
	struct vm_part part = { .update = &update->it, .first = update->it.n_in_force };

	update->it.elements = update->elements;
	while (part.n < at_most && part.first + part.n < n_total(&update->it)) {
		struct policy_element element = update->it.element;

		element.range = element_at(&update->it, part.first + part.n);
		update->it.status = policy_apply(vm->policy, &update->it.actor, &element, vm->undo,
						 &vm->touched, update->text, sizeof(update->text));
		if (update->it.status) {
			update->it.text = update->text;
			break;
		}
		part.n++;
	}
	return part;
}

/* ---- What became of them --------------------------------------------------------------------- */

static void settle(struct replay_session *session, const struct vm_update *update,
		   enum kvmattr_status status, uint32_t n_in_force, const char *text)
{
	struct wire_failure failure = { update->seqno, status, n_in_force, "" };

	session->settled_seqno = update->seqno;
	session->n_in_force = 0;
	session->next_n_total = 0;
	session->next = (struct wire_update){ 0 };
	if (!status)
		return;
	snprintf(failure.text, sizeof(failure.text), "%s", text);
	allocate_room(session->failures, session->n_failures, session->failures_capacity);
	session->failures[session->n_failures++] = failure;
}

static void begin(struct replay_session *session, struct vm_update *update, uint32_t n_in_force)
{
	update->n_in_force = n_in_force;
	session->n_in_force = n_in_force;
	session->next_n_total = n_total(update);
	session->next = (struct wire_update){ .kind = (uint8_t)update->element.kind,
					      .form = update->form,
					      .layer = update->element.layer,
					      .value = update->element.value,
					      .restricted = update->element.restricted,
					      .mbec = update->element.mbec };
}

static void forget_first(struct journaled_vm *vm, size_t n)
{
	vm->n_waiting -= n;
	memmove(vm->waiting, vm->waiting + n, vm->n_waiting * sizeof(*vm->waiting));
}

static uint64_t session_of(const struct vm_update *update)
{
	return ((const struct journaled_update *)update)->session->facts.id;
}

/* The batch is taken back, and its first n updates are refused. */
static void refuse(struct journaled_vm *vm, size_t n, enum kvmattr_status status)
{
	const char *text = kvmattr_status_text(status);

	policy_undo(vm->policy, vm->undo);
	for (size_t i = 0; i < n; i++) {
		struct journaled_update *update = &vm->waiting[i];

		vm_journal_note_refused(vm->journal, session_of(&update->it), &update->it, status,
					text);
		settle(update->session, &update->it, status, update->it.n_in_force, text);
	}
	forget_first(vm, n);
	for (size_t i = 0; i < vm->n_waiting; i++)
		vm->waiting[i].it.status = KVMATTR_OK;
}

static void stand(struct journaled_vm *vm, const struct vm_part *parts, size_t n,
		  uint64_t durable_number)
{
	size_t n_settled = 0;

	policy_undo_log_clear(vm->undo);
	vm->commit++;
	for (size_t i = 0; i < n; i++) {
		struct journaled_update *update = &vm->waiting[i];
		uint32_t n_in_force = parts[i].first + parts[i].n;

		if (!update->it.status && n_in_force < n_total(&update->it)) {
			begin(update->session, &update->it, n_in_force);
			continue;
		}
		settle(update->session, &update->it, update->it.status, n_in_force, update->text);
		n_settled++;
	}
	forget_first(vm, n_settled);
	take_history(vm);
	allocate_room(vm->waits, vm->n_waits, vm->waits_capacity);
	vm->waits[vm->n_waits++] = (struct journaled_wait){ vm->commit, durable_number };
	if (!durable_number) {
		vm->acknowledged = vm->commit;
		vm->n_waits = 0;
	}
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static int open_session(struct journaled_vm *vm, size_t i)
{
	struct vm_record_session facts = {
		.id = vm->max_session + 1,
		.role = WIRE_ROLE_AGENT,
		.vtl = (uint8_t)(1 + below(vm, 4)),
		.rights = (uint32_t)below(vm, 2) * WIRE_RIGHT_VISIBILITY,
		.peer = "agent",
	};
	int r = vm_journal_write_session(vm->journal, &facts);

	if (r < 0)
		return r;
	vm->max_session++;
	vm->sessions[i].facts = facts;
	vm->last_seqnos[i] = 0;
	return 0;
}

static void close_session(struct journaled_vm *vm, size_t i)
{
	for (size_t k = 0; k < vm->n_waiting; k++)
		if (vm->waiting[k].session == &vm->sessions[i])
			return;
	vm_journal_note_session_closed(vm->journal, vm->sessions[i].facts.id);
	free(vm->sessions[i].failures);
	vm->sessions[i] = (struct replay_session){ 0 };
}

static int step_session(struct journaled_vm *vm)
{
	size_t i = 1 + below(vm, JOURNALED_SESSIONS - 1);

	if (!vm->sessions[i].facts.id)
		return open_session(vm, i);
	close_session(vm, i);
	return 0;
}

static void execute_slowly(struct journaled_vm *vm)
{
	faulty_io_hold_syncs(false);
	while (vm->n_troubles == vm->n_ends)
		journaled_vm_await(vm);
	vm->is_slow = false;
}

static int step_batch(struct journaled_vm *vm)
{
	struct vm_part parts[JOURNALED_WAITING];
	struct vm_batch batch = { .commit = vm->commit + 1, .parts = parts };
	struct vm_in_force in_force = { .commit = vm->commit + 1, .is_all_known = !one_in(vm, 4) };
	bool needs_no_call = one_in(vm, 6);
	uint64_t number;
	int r;

	while (batch.n_parts < vm->n_waiting) {
		struct vm_part part =
			take_in(vm, &vm->waiting[batch.n_parts],
				one_in(vm, 4) ? 1 + (uint32_t)below(vm, 4) : JOURNALED_ELEMENTS);

		parts[batch.n_parts++] = part;
		if (!part.update->status && part.first + part.n < n_total(part.update))
			break; /* the next one waits for the rest of it */
	}
	r = vm_journal_record(vm->journal, &batch, needs_no_call ? &in_force : NULL, session_of,
			      &number);
	if (r == 0 && !needs_no_call) {
		vm->is_executing = true;
		if (vm->is_slow)
			execute_slowly(vm);
		journaled_vm_pump(vm);
		vm->is_executing = false;
		if (one_in(vm, 10)) { /* it is taken back, and one update goes no further */
			refuse(vm, 1, KVMATTR_INSUFFICIENT_MEMORY);
			return 0;
		}
		r = vm_journal_record(vm->journal, NULL, &in_force, session_of, &number);
	}
	if (r < 0)
		refuse(vm, batch.n_parts, KVMATTR_JOURNAL_FAILED);
	else
		stand(vm, parts, batch.n_parts, number);
	return r;
}

int journaled_vm_step(struct journaled_vm *vm)
{
	int r = 0;

	journaled_vm_pump(vm);
	if (one_in(vm, 8))
		r = step_session(vm);
	while (!vm->n_waiting || (vm->n_waiting < JOURNALED_WAITING && one_in(vm, 2)))
		receive_update(vm);
	return r < 0 ? r : step_batch(vm);
}

void journaled_vm_go_on(struct journaled_vm *vm, unsigned int n_steps)
{
	while (n_steps--)
		ck_assert_int_eq(journaled_vm_step(vm), 0);
}

uint64_t journaled_vm_owner(const struct vm_update *update)
{
	(void)update;
	return 1;
}

int journaled_vm_flush(struct journaled_vm *vm)
{
	uint64_t number;

	return vm_journal_record(vm->journal, NULL, NULL, session_of, &number);
}
