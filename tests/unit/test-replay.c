/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM as its records say: stories replayed and compared with the oracle at every write, and
 * stories spoilt, which are refused or lead to a state that a VM can have.
 */
#include "daemon/allocate.h"
#include "daemon/policy/fold.h"
#include "tests/unit/journal-story.h"
#include "tests/unit/seeded-suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct story story;
static struct replay replay;
static struct journal_error error;

/* Anew, where there was one. */
static void begin(void)
{
	replay_destroy(&replay);
	replay_init(&replay);
}

static void end(void)
{
	replay_destroy(&replay);
	story_end(&story);
}

/* ---- Stories -------------------------------------------------------------------------------- */

START_TEST(at_every_write_of_a_story_the_replay_is_what_was_told)
{
	story_begin(&story, seeded_suite_random(_i));
	for (int i = 0; i < 100; i++) {
		story_replay(&story, &replay);
		story_expect(&story, &replay, false);
		ck_assert_uint_eq(policy_undo_log_size(replay.undo), 0);
		story_go_on(&story);
	}
	story_release(&story);
	story_replay(&story, &replay);
	story_expect(&story, &replay, false);
	replay_end(&replay);
	story_expect(&story, &replay, true);
}
END_TEST

START_TEST(wherever_the_records_end_a_batch_that_is_open_was_taken_back)
{
	unsigned int n_open = 0;

	story_begin(&story, seeded_suite_random(_i));
	for (int i = 0; i < 40; i++) {
		story_go_on(&story);
		n_open += story.is_open;
		begin();
		story_replay(&story, &replay);
		replay_end(&replay);
		story_expect(&story, &replay, true);
		ck_assert_ptr_null(replay.batch);
	}
	ck_assert_uint_gt(n_open, 0);
}
END_TEST

/* What the daemon writes behind a recovery follows what it found. */
START_TEST(a_batch_follows_one_that_was_open_when_the_daemon_died)
{
	story_begin(&story, seeded_suite_random(_i));
	do
		story_go_on(&story);
	while (!story.is_open);
	story_replay(&story, &replay);
	ck_assert_uint_eq(replay.settled, replay.number - 1);
	while (story.is_open || story.commit < 20)
		story_go_on(&story);
	story_replay(&story, &replay);
	ck_assert_uint_eq(replay.settled, story.settled);
	story_expect(&story, &replay, false);
}
END_TEST

/* ---- Observers ------------------------------------------------------------------------------ */

static struct {
	struct oracle oracle; /* what the steps alone say */
	uint64_t n_steps, commit, seqno, session;
	uint32_t place;
	bool is_within;
} watched;

static void expect_same_effects(const struct replay_step *step, const char *when)
{
	const struct kvmattr_range range = step->element->range;

	if (!range.n_pages)
		return;
	for (unsigned int v = 0; v < watched.oracle.n_views; v++) {
		uint8_t got = fold_effective_at(replay.policy, &replay.policy->views[v],
						range.gfn + range.n_pages - 1);
		uint8_t wanted =
			oracle_effective(&watched.oracle, v, range.gfn + range.n_pages - 1);

		EXPECT(got == wanted, "%s: view %u is 0x%x, not 0x%x", when, v, got, wanted);
	}
}

static void expect_next_place(const struct replay_step *step)
{
	uint64_t session = step->session ? step->session->id : 0;

	uint32_t place = 0;

	if (step->commit == watched.commit && session == watched.session &&
	    step->seqno == watched.seqno) {
		place = watched.place;
	} else if (session) {
		const struct replay_session *begun = replay_find_session(&replay, session);

		place = step->seqno == begun->settled_seqno + 1 ? begun->n_in_force : 0;
	}
	if (session) /* an import's seqnos mean nothing */
		ck_assert_uint_eq(step->place, place);
	ck_assert_uint_ge(step->n, 1);
	ck_assert_uint_le(step->n, step->element->range.n_pages ? UINT32_MAX : 1);
	ck_assert_uint_eq(step->commit, replay.commit + 1);
	watched.commit = step->commit;
	watched.session = session;
	watched.seqno = step->seqno;
	watched.place = step->place + step->n;
}

static void before(void *context, const struct replay_step *step)
{
	ck_assert_ptr_eq(context, &watched);
	ck_assert(!watched.is_within);
	watched.is_within = true;
	expect_next_place(step);
	expect_same_effects(step, "before");
	if (step->session)
		ck_assert_ptr_eq(step->session,
				 &replay_find_session(&replay, step->session->id)->facts);
}

static void after(void *context, const struct replay_step *step)
{
	ck_assert_ptr_eq(context, &watched);
	ck_assert(watched.is_within);
	watched.is_within = false;
	watched.n_steps++;
	oracle_apply(&watched.oracle, step->element);
	expect_same_effects(step, "after");
}

START_TEST(an_observer_sees_each_range_before_and_after_it_comes_into_force)
{
	static struct oracle nothing; /* no RAM, no layers: from before the first record */
	struct replay registered;
	struct journal_record first;

	story_begin(&story, seeded_suite_random(_i));
	replay_init(&registered);
	first = story_record(&story, 0);
	ck_assert_int_eq(replay_take(&registered, &first, &error), 0);
	oracle_init(&nothing, registered.policy);
	replay_destroy(&registered);
	watched.oracle = nothing;
	while (story.commit < 100)
		story_go_on(&story);
	replay.observer = (struct replay_observer){ before, after, &watched };
	story_replay(&story, &replay);
	ck_assert_uint_gt(watched.n_steps, 50);
	oracle_expect_same(&watched.oracle, replay.policy);
}
END_TEST

/* ---- Limits --------------------------------------------------------------------------------- */

static int take(enum vm_record_type type, const void *payload, size_t size)
{
	const struct journal_record record = {
		.header = { .number = replay.number + 1,
			    .size = (uint32_t)size,
			    .type = (uint16_t)type },
		.payload = payload,
		.file = "story",
		.offset = replay.number * 64,
	};

	return replay_take(&replay, &record, &error);
}

static void take_refusals(uint64_t session, uint64_t first, uint64_t n)
{
	for (uint64_t seqno = first; seqno < first + n; seqno++) {
		const struct vm_record_refused refused = {
			session, { seqno, KVMATTR_EXECUTOR_STUCK, 0, "stuck" }
		};

		ck_assert_int_eq(take(VM_RECORD_REFUSED, &refused, sizeof(refused)), 0);
	}
}

/* story_begin() leaves the owner with no update. */
START_TEST(the_failures_of_the_last_65536_seqnos_are_kept)
{
	const struct replay_session *session;
	uint64_t n = 3 * REPLAY_MAX_FAILURES + 5;

	story_begin(&story, seeded_suite_random(0));
	story_replay(&story, &replay);
	take_refusals(replay.sessions[0].facts.id, 1, n);
	session = &replay.sessions[0];
	ck_assert_uint_le(session->failures_capacity, 4 * REPLAY_MAX_FAILURES);
	replay_end(&replay);
	session = &replay.sessions[0];
	ck_assert_uint_eq(session->settled_seqno, n);
	ck_assert_uint_eq(session->n_failures, REPLAY_MAX_FAILURES);
	ck_assert_uint_eq(session->forgotten_seqno, n - REPLAY_MAX_FAILURES);
	for (uint64_t i = 0; i < REPLAY_MAX_FAILURES; i++)
		ck_assert_uint_eq(session->failures[i].seqno, n - REPLAY_MAX_FAILURES + 1 + i);
}
END_TEST

START_TEST(a_failure_is_forgotten_when_65536_seqnos_are_settled_behind_it)
{
	uint64_t id;

	for (unsigned int is_one_more = 0; is_one_more < 2; is_one_more++) {
		story_begin(&story, seeded_suite_random(0));
		story_replay(&story, &replay);
		id = replay.sessions[0].facts.id;
		take_refusals(id, 1, 1);
		/* a gap: the failures between are not known, so only this one is left to forget */
		take_refusals(id, REPLAY_MAX_FAILURES + is_one_more, 1);
		replay_end(&replay);
		ck_assert_uint_eq(replay.sessions[0].n_failures, 2 - is_one_more);
		end();
		begin();
	}
}
END_TEST

static void open_sessions(uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		const struct vm_record_session session = { .id = first + i,
							   .role = WIRE_ROLE_AGENT };

		ck_assert_int_eq(take(VM_RECORD_SESSION, &session, sizeof(session)), 0);
	}
}

static void close_session(uint64_t id)
{
	const struct vm_record_session_closed closed = { id };

	ck_assert_int_eq(take(VM_RECORD_SESSION_CLOSED, &closed, sizeof(closed)), 0);
}

/* With a square in its costs this would not end within the test's time. */
START_TEST(sessions_that_were_closed_leave_nothing_behind_but_the_highest_id)
{
	const uint64_t n = 300000, first = 1000;

	story_begin(&story, seeded_suite_random(0));
	story_replay(&story, &replay);
	open_sessions(first, n);
	for (uint64_t i = 0; i < n; i += 2)
		close_session(first + i);
	ck_assert_ptr_null(replay_find_session(&replay, first));
	ck_assert_ptr_null(replay_find_session(&replay, first + n));
	ck_assert_ptr_nonnull(replay_find_session(&replay, first + 1));
	ck_assert_ptr_nonnull(replay_find_session(&replay, first + n - 1));
	for (uint64_t i = 1; i < n; i += 2)
		close_session(first + i);
	ck_assert_uint_le(replay.n_sessions, 3);
	replay_end(&replay);
	ck_assert_uint_eq(replay.n_sessions, 1);
	ck_assert_uint_eq(replay.sessions[0].facts.id, story.sessions[0].facts.id);
	ck_assert_uint_eq(replay.max_session, first + n - 1);
}
END_TEST

/* A batch of the registration: protects single pages, far from each other. */
static int protect_pages(uint64_t commit, uint64_t first, uint32_t n, uint64_t step, uint32_t flags)
{
	struct vm_record_batch batch = { .commit = commit, .n_parts = 1 };
	struct vm_record_part part = { .n = n,
				       .n_total = n,
				       .update = { .kind = KVMATTR_PROTECT,
						   .form = WIRE_FORM_PAGES,
						   .layer = 1,
						   .value = KVMATTR_RWX,
						   .restricted = KVMATTR_ALL_LOWER,
						   .n_elements = n } };
	struct vm_record_in_force in_force = { .commit = commit, .flags = flags };
	struct image payload = { 0 };
	int r;

	image_add(&payload, &batch, sizeof(batch));
	image_add(&payload, &part, sizeof(part));
	for (uint32_t i = 0; i < n; i++) {
		uint64_t gfn = first + i * step;

		image_add(&payload, &gfn, sizeof(gfn));
	}
	r = take(VM_RECORD_BATCH, payload.data, payload.size);
	image_destroy(&payload);
	return r < 0 ? r : take(VM_RECORD_IN_FORCE, &in_force, sizeof(in_force));
}

static void begin_large_vm(uint64_t ram_pages)
{
	const struct {
		struct vm_record_registered head;
		struct wire_view view;
	} registered = {
		{ .name = "large", .n_views = 1, .executor = WIRE_EXECUTOR_VMM },
		{ .abi = KVMATTR_ABI_DENY, .supported = 15 },
	};
	const struct {
		struct vm_record_batch head;
		struct vm_record_part ram;
		struct kvmattr_range range;
		struct vm_record_part enable;
	} batch = {
		{ .commit = 1, .n_parts = 2 },
		{ .n = 1,
		  .n_total = 1,
		  .update = { .kind = KVMATTR_ADD_RAM,
			      .form = WIRE_FORM_RANGES,
			      .n_elements = 1 } },
		{ 0, ram_pages },
		{ .n = 1,
		  .n_total = 1,
		  .update = { .kind = KVMATTR_ENABLE_LAYER, .layer = 1, .value = KVMATTR_RWX } },
	};
	const struct vm_record_in_force in_force = { 1, VM_RECORD_ALL_KNOWN, 0 };

	ck_assert_int_eq(take(VM_RECORD_REGISTERED, &registered, sizeof(registered)), 0);
	ck_assert_int_eq(take(VM_RECORD_BATCH, &batch, sizeof(batch)), 0);
	ck_assert_int_eq(take(VM_RECORD_IN_FORCE, &in_force, sizeof(in_force)), 0);
}

START_TEST(maps_that_need_more_memory_than_they_may_are_refused)
{
	begin_large_vm(UINT64_C(1) << 32);
	replay.max_map_bytes = 4 << 20;
	ck_assert_int_eq(protect_pages(2, 0, 500, 512, VM_RECORD_ALL_KNOWN), 0);
	ck_assert_int_eq(protect_pages(3, UINT64_C(1) << 30, 20000, 512 * 512, 0), -E2BIG);
	ck_assert_int_eq(error.error, E2BIG);
	ck_assert_ptr_nonnull(strstr(error.text, "more than 4 MiB; give it more (max-map-mib,"));
	ck_assert_uint_le(policy_memory(replay.policy), 8 << 20);
}
END_TEST

/* The same pages over and over, in a VM that is degraded all the time. */
START_TEST(pages_that_are_doubtful_for_long_are_written_down_once)
{
	const uint32_t n = 3000;
	uint64_t commit = 1;

	begin_large_vm(1 << 20);
	for (int i = 0; i < 300; i++)
		ck_assert_int_eq(protect_pages(++commit, i % 2, n, 4, 0), 0);
	ck_assert_uint_le(replay.doubtful.n, 8 * n);
	replay_end(&replay);
	ck_assert_uint_eq(replay.doubtful.n, n);
	ck_assert_uint_eq(page_ranges_count(&replay.doubtful), 2 * n);
}
END_TEST

START_TEST(what_was_doubtful_is_forgotten_once_all_is_known)
{
	begin_large_vm(1 << 20);
	ck_assert_int_eq(protect_pages(2, 0, 10, 2, 0), 0);
	ck_assert_uint_eq(replay.doubtful.n, 10);
	ck_assert_int_eq(protect_pages(3, 100, 1, 1, VM_RECORD_ALL_KNOWN), 0);
	replay_end(&replay);
	ck_assert_uint_eq(replay.doubtful.n, 0);
}
END_TEST

START_TEST(a_replay_of_nothing_can_be_ended)
{
	replay_end(&replay);
	ck_assert_uint_eq(replay.facts.n_views, 0);
	ck_assert_ptr_null(replay.policy);
}
END_TEST

/* ---- Spoilt stories ------------------------------------------------------------------------- */

/* The records of a story, to be spoilt; each payload on the heap and as long as it is. */
static struct spoilt {
	uint8_t *payload;
	uint32_t size;
	uint16_t type;
} spoilt[2048];
static size_t n_spoilt;

static void copy_story(void)
{
	n_spoilt = story.n_records;
	ck_assert_uint_lt(n_spoilt, N(spoilt) - 8);
	for (size_t i = 0; i < n_spoilt; i++) {
		struct journal_record record = story_record(&story, i);

		spoilt[i].size = record.header.size;
		spoilt[i].type = record.header.type;
		spoilt[i].payload = allocate(record.header.size);
		memcpy(spoilt[i].payload, record.payload, record.header.size);
	}
}

static void free_spoilt(void)
{
	for (size_t i = 0; i < n_spoilt; i++)
		free(spoilt[i].payload);
	n_spoilt = 0;
}

static void resize(struct spoilt *record, uint32_t size)
{
	uint8_t *payload = allocate_zeroed(1, size);

	memcpy(payload, record->payload, size < record->size ? size : record->size);
	free(record->payload);
	record->payload = payload;
	record->size = size;
}

static void insert(size_t at, const struct spoilt *record)
{
	struct spoilt copy = *record;

	copy.payload = memcpy(allocate(copy.size), record->payload, copy.size);
	memmove(&spoilt[at + 1], &spoilt[at], (n_spoilt - at) * sizeof(*spoilt));
	spoilt[at] = copy;
	n_spoilt++;
}

static void drop(size_t at)
{
	free(spoilt[at].payload);
	n_spoilt--;
	memmove(&spoilt[at], &spoilt[at + 1], (n_spoilt - at) * sizeof(*spoilt));
}

/* Checksums that were right: as if a madman had written the journal. */
static void spoil(uint64_t *random)
{
	size_t at = random_below(random, n_spoilt), other = random_below(random, n_spoilt);
	struct spoilt *record = &spoilt[at], swapped;

	switch (random_below(random, 10)) {
	case 0:
		insert(other, record);
		return;
	case 1:
		drop(at);
		return;
	case 2:
		swapped = spoilt[at];
		spoilt[at] = spoilt[other];
		spoilt[other] = swapped;
		return;
	case 3:
		record->type = (uint16_t)random_below(random, 11);
		return;
	case 4:
		resize(record, (uint32_t)random_below(random, record->size + 40));
		return;
	case 5: /* a field of another value */
		if (record->size >= 4)
			record->payload[random_below(random, record->size / 4) * 4] =
				(uint8_t)random_below(random, 8);
		return;
	default: /* a bit */
		if (record->size)
			record->payload[random_below(random, record->size)] ^=
				(uint8_t)(1u << random_below(random, 8));
	}
}

static int replay_spoilt(void)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n_spoilt; i++) {
		r = take((enum vm_record_type)spoilt[i].type, spoilt[i].payload, spoilt[i].size);
		if (r == 0)
			continue;
		ck_assert_msg(r == -EBADMSG || r == -E2BIG, "%d: %s", r, error.text);
		ck_assert_int_eq(error.error, -r);
		ck_assert_str_eq(error.file, "story");
		ck_assert_uint_le(error.offset, i * 64);
		ck_assert_uint_gt(strlen(error.text), 0);
	}
	return r;
}

/* What is left can be had of a VM: counts that add up, all that KVM was told expressible. */
static void expect_sound(void)
{
	const struct policy *policy = replay.policy;
	struct fold_span span;

	replay_end(&replay);
	if (!policy)
		return;
	for (unsigned int v = 0; v < policy->n_views; v++)
		for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn = span.end) {
			fold_effective(policy, &policy->views[v], gfn, ORACLE_PAGES, &span);
			for (size_t i = 0; i < (span.is_uniform ? 1 : span.end - gfn); i++)
				ck_assert(dialect_can_express(&policy->views[v].dialect,
							      span.is_uniform ? span.value
									      : span.bytes[i]));
		}
	for (size_t i = 0; i < replay.n_sessions; i++) {
		const struct replay_session *session = &replay.sessions[i];

		ck_assert(!i || session[-1].facts.id < session->facts.id);
		for (size_t f = 0; f < session->n_failures; f++) {
			ck_assert_uint_le(session->failures[f].seqno, session->settled_seqno);
			ck_assert(!f ||
				  session->failures[f - 1].seqno < session->failures[f].seqno);
		}
	}
}

START_TEST(a_spoilt_story_is_refused_or_a_state_that_a_vm_can_have)
{
	uint64_t random = seeded_suite_random(_i);
	unsigned int n_taken = 0, n_refused = 0;

	story_begin(&story, seeded_suite_random(_i));
	while (story.commit < 30)
		story_go_on(&story);
	for (int round = 0; round < 400; round++) {
		copy_story();
		for (uint64_t n = 1 + random_below(&random, 3); n--;)
			spoil(&random);
		begin();
		replay.max_map_bytes = 16 << 20;
		if (replay_spoilt() == 0) {
			n_taken++;
			expect_sound();
		} else {
			n_refused++;
		}
		free_spoilt();
	}
	ck_assert_uint_gt(n_taken, 0);
	ck_assert_uint_gt(n_refused, 0);
	printf("# 400 spoilt stories: %u refused\n", n_refused);
	fflush(stdout);
}
END_TEST

int main(void)
{
	TCase *stories = tcase_create("stories");
	TCase *limits = tcase_create("limits");
	TCase *spoiling = tcase_create("spoilt stories");
	TCase *const cases[] = { stories, limits, spoiling, NULL };

	for (size_t i = 0; cases[i]; i++)
		tcase_add_checked_fixture(cases[i], begin, end);
	tcase_add_loop_test(stories, at_every_write_of_a_story_the_replay_is_what_was_told, 0, 30);
	tcase_add_loop_test(stories, wherever_the_records_end_a_batch_that_is_open_was_taken_back,
			    0, 20);
	tcase_add_loop_test(stories, a_batch_follows_one_that_was_open_when_the_daemon_died, 0, 10);
	tcase_add_loop_test(
		stories, an_observer_sees_each_range_before_and_after_it_comes_into_force, 0, 10);
	tcase_add_test(limits, the_failures_of_the_last_65536_seqnos_are_kept);
	tcase_add_test(limits, a_failure_is_forgotten_when_65536_seqnos_are_settled_behind_it);
	tcase_add_test(limits, sessions_that_were_closed_leave_nothing_behind_but_the_highest_id);
	tcase_add_test(limits, maps_that_need_more_memory_than_they_may_are_refused);
	tcase_add_test(limits, pages_that_are_doubtful_for_long_are_written_down_once);
	tcase_add_test(limits, what_was_doubtful_is_forgotten_once_all_is_known);
	tcase_add_test(limits, a_replay_of_nothing_can_be_ended);
	tcase_add_loop_test(spoiling, a_spoilt_story_is_refused_or_a_state_that_a_vm_can_have, 0,
			    10);
	return seeded_suite_run("replay", cases);
}
