/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of a journaled VM say, against what it has in memory.
 */
#include "daemon/allocate.h"
#include "tests/unit/faulty-io.h"
#include "tests/unit/journal-checks.h"
#include "tests/unit/journaled-vm.h"

#include <check.h>
#include <errno.h>
#include <string.h>

static void replay_it(struct journaled_vm *vm, const char *name,
		      const struct replay_request *request, struct replay *replay)
{
	struct journal_error error = { 0 };
	struct replay_report report;
	int r;

	replay_init(replay);
	replay->observer = request->observer;
	r = journal_replay(vm->journals.directory_fd, name, request, replay, &report, &error);
	EXPECT(r == 0, "%d: %s at %ju: %s", r, error.file, (uintmax_t)error.offset, error.text);
	EXPECT(!report.passed_over.error, "%s: %s", report.passed_over.file,
	       report.passed_over.text);
}

static void expect_image(const struct policy *policy, const struct image *expected)
{
	struct image image = { 0 };

	policy_image_write(policy, &image);
	ck_assert(image.size == expected->size &&
		  memcmp(image.data, expected->data, image.size) == 0);
	image_destroy(&image);
}

static void expect_failures(const struct replay_session *is, const struct replay_session *expected)
{
	size_t k = 0;

	/* those that were dropped, and only those, are missing */
	while (k < expected->n_failures && expected->failures[k].seqno <= is->forgotten_seqno &&
	       (!is->n_failures || expected->failures[k].seqno < is->failures[0].seqno))
		k++;
	for (size_t i = 0; i < is->n_failures; i++, k++) {
		ck_assert_uint_lt(k, expected->n_failures);
		ck_assert(memcmp(&is->failures[i], &expected->failures[k],
				 sizeof(is->failures[i])) == 0);
	}
	ck_assert_uint_eq(k, expected->n_failures);
}

static void expect_session(const struct replay_session *is, const struct replay_session *expected)
{
	ck_assert_ptr_nonnull(is);
	ck_assert(memcmp(&is->facts, &expected->facts, sizeof(is->facts)) == 0);
	ck_assert_uint_eq(is->settled_seqno, expected->settled_seqno);
	ck_assert_uint_eq(is->n_in_force, expected->n_in_force);
	ck_assert_uint_eq(is->next_n_total, expected->next_n_total);
	ck_assert(memcmp(&is->next, &expected->next, sizeof(is->next)) == 0);
	expect_failures(is, expected);
}

void journaled_vm_expect_commit(struct journaled_vm *vm)
{
	const struct replay_request request = { .limit = REPLAY_ALL };
	struct replay replay;

	replay_it(vm, vm->name, &request, &replay);
	ck_assert_str_eq(replay.facts.name, vm->facts.name);
	ck_assert(replay.is_ready);
	ck_assert_uint_eq(replay.commit, vm->commit);
	expect_image(replay.policy, &vm->history[vm->commit]);
	replay_destroy(&replay);
}

void journaled_vm_expect(struct journaled_vm *vm)
{
	const struct replay_request request = { .limit = REPLAY_ALL };
	struct replay replay;
	size_t n = 0;

	if (vm->journal)
		ck_assert_int_eq(journaled_vm_flush(vm), 0);
	journaled_vm_expect_commit(vm);
	replay_it(vm, vm->name, &request, &replay);
	ck_assert_uint_eq(replay.max_session, vm->max_session);
	for (int i = 0; i < JOURNALED_SESSIONS; i++) {
		const struct replay_session *session = &vm->sessions[i];

		if (!session->facts.id)
			continue;
		n++;
		expect_session(replay_find_session(&replay, session->facts.id), session);
	}
	ck_assert_uint_eq(replay.n_sessions, n);
	replay_destroy(&replay);
}

/* At each commit's first step, the policy is what the one before left. */
struct watch {
	struct journaled_vm *vm;
	struct replay *replay;
	uint64_t last;
};

static void watch(void *context, const struct replay_step *step)
{
	struct watch *watched = context;

	if (step->commit == watched->last)
		return;
	watched->last = step->commit;
	expect_image(watched->replay->policy, &watched->vm->history[step->commit - 1]);
}

void journaled_vm_expect_history(struct journaled_vm *vm)
{
	struct replay replay;
	struct watch watched = { .vm = vm, .replay = &replay };
	const struct replay_request request = {
		.limit = REPLAY_ALL,
		.is_from_start = true,
		.observer = { .before = watch, .context = &watched },
	};

	replay_it(vm, vm->name, &request, &replay);
	ck_assert_uint_eq(replay.commit, vm->commit);
	expect_image(replay.policy, &vm->history[vm->commit]);
	replay_destroy(&replay);
}

uint64_t journaled_vm_expect_first_commit(struct journaled_vm *vm)
{
	uint64_t first = vm_journal_status(vm->journal).first_commit;
	struct replay_request request = { .limit = REPLAY_TO_COMMIT, .at = first };
	struct journal_error error;
	struct replay_report report;
	struct replay replay;

	replay_it(vm, vm->name, &request, &replay);
	ck_assert_uint_eq(replay.commit, first);
	expect_image(replay.policy, &vm->history[first]);
	replay_destroy(&replay);
	if (first == 1)
		return first;
	request.at = first - 1;
	replay_init(&replay);
	ck_assert_int_eq(journal_replay(vm->journals.directory_fd, vm->name, &request, &replay,
					&report, &error),
			 -ERANGE);
	replay_destroy(&replay);
	return first;
}

void journaled_vm_expect_disk(struct journaled_vm *vm)
{
	const struct replay_request request = { .limit = REPLAY_ALL };
	struct replay replay;

	faulty_io_lose_power(vm->journals.directory_fd, vm->name, "lost");
	if (vm->acknowledged) {
		replay_it(vm, "lost", &request, &replay);
		ck_assert_uint_ge(replay.commit, vm->acknowledged);
		ck_assert_uint_le(replay.commit, vm->commit);
		expect_image(replay.policy, &vm->history[replay.commit]);
		replay_destroy(&replay);
	}
	{
		int parent_fd = scratch_fd;

		scratch_fd = vm->journals.directory_fd;
		scratch_clear("lost");
		scratch_fd = parent_fd;
	}
}

void journaled_vm_fixture_begin(void)
{
	scratch_make();
	faulty_io_install();
}

void journaled_vm_fixture_end(void)
{
	faulty_io_remove();
	scratch_clear("vms");
	scratch_remove();
}
