/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Records that cannot follow what was before, though each of them is well-formed: damage, with
 * file, offset and what is wrong.
 */
#include "tests/unit/replay-checks.h"
#include "tests/unit/seeded-suite.h"

/* ---- The order of records ---------------------------------------------------------------------- */

START_TEST(whatever_stands_before_the_registration_is_damage)
{
	expect_damage_here(take_session(1, WIRE_ROLE_OWNER, 0, 0), "no VM was registered");
	expect_damage_here(take_ready(), "no VM was registered");
	expect_damage_here(take_released(), "no VM was registered");
	batch_begin(1);
	batch_add_pages(0, 1, 0, 1, 1);
	expect_damage_here(take_batch(), "no VM was registered");
}
END_TEST

START_TEST(a_vm_is_registered_once)
{
	ck_assert_int_eq(take_registered(&deny_view, 1), 0);
	expect_damage_here(take_registered(&deny_view, 1), "registered already");
}
END_TEST

START_TEST(whatever_stands_behind_the_release_is_damage)
{
	ck_assert_int_eq(take_released(), 0);
	expect_damage_here(take_released(), "released before it");
	expect_damage_here(take_session(9, WIRE_ROLE_AGENT, 1, 0), "released before it");
	expect_damage_here(take_pages(AGENT, 1, 0, 1, 1), "released before it");
}
END_TEST

START_TEST(records_that_are_missing_or_doubled_are_damage)
{
	const struct vm_record_session_closed closed = { AGENT };

	expect_damage(take_record_numbered(replay.number + 2, VM_RECORD_SESSION_CLOSED, &closed,
					   sizeof(closed)),
		      replay.number + 2, "some are missing or doubled");
	expect_damage(take_record_numbered(replay.number, VM_RECORD_SESSION_CLOSED, &closed,
					   sizeof(closed)),
		      replay.number, "some are missing or doubled");
}
END_TEST

START_TEST(a_journal_does_not_begin_in_its_middle)
{
	const struct vm_record_session session = { .id = 1, .role = WIRE_ROLE_OWNER };

	expect_damage(take_record_numbered(2, VM_RECORD_SESSION, &session, sizeof(session)), 2,
		      "record 1 was to come");
}
END_TEST

START_TEST(a_type_that_is_not_known_is_said_to_be_so)
{
	expect_damage_here(take_record(9, NULL, 0), "type 9 is not known to this version");
	expect_damage_here(take_record(0, NULL, 0), "type 0 is not known to this version");
	expect_damage_here(take_record(UINT16_MAX, NULL, 0), "type 65535 is not known");
}
END_TEST

START_TEST(a_field_that_makes_no_sense_is_named)
{
	expect_damage_here(take_record(VM_RECORD_BATCH, "", 1), "its field size is not valid");
	expect_damage_here(take_record(VM_RECORD_READY, "", 1), "its field size is not valid");
	expect_damage_here(take_session(0, WIRE_ROLE_AGENT, 1, 0), "its field id is not valid");
	batch_begin(2);
	batch_add_pages(AGENT, 1, 0, 1, 1);
	batch_add_pages(AGENT, 2, 1, 1, 1);
	expect_damage_here(take_batch(), "the field part.first of part 1 is not valid");
	replay_start_vm();
	batch_begin(2);
	batch_add_pages(AGENT, 1, 0, 1, 1);
	batch_add(&batch, 8);
	expect_damage_here(take_batch(), "its field size is not valid");
}
END_TEST

START_TEST(a_vm_is_ready_once)
{
	expect_damage_here(take_ready(), "ready already");
}
END_TEST

/* ---- Views ------------------------------------------------------------------------------------- */

START_TEST(views_that_no_vm_can_have_are_damage)
{
	const struct wire_view twice[] = { deny_view, deny_view };
	const struct wire_view no_vtl_0 = { .vtl = 1, .abi = KVMATTR_ABI_DENY, .supported = 15 };
	const struct wire_view no_kernel = { .abi = KVMATTR_ABI_MAINLINE, .supported = 0 };

	expect_damage_here(take_registered(twice, 2), "VTL 0 has two views");
	replay_start();
	expect_damage_here(take_registered(&no_vtl_0, 1), "VTL 0 has no view");
	replay_start();
	expect_damage_here(take_registered(&no_kernel, 1), "no kernel speaks mainline");
}
END_TEST

/* ---- Sessions ---------------------------------------------------------------------------------- */

START_TEST(a_session_keeps_its_rights)
{
	ck_assert_int_eq(take_session(AGENT, WIRE_ROLE_AGENT, 1, 0), 0);
	expect_damage_here(take_session(AGENT, WIRE_ROLE_AGENT, 2, 0), "other rights than it had");
	expect_damage_here(take_session(AGENT, WIRE_ROLE_OWNER, 0, 0), "other rights than it had");
	expect_damage_here(take_session(AGENT, WIRE_ROLE_AGENT, 1, WIRE_RIGHT_VISIBILITY),
			   "other rights than it had");
}
END_TEST

START_TEST(the_ids_of_sessions_rise)
{
	expect_damage_here(take_session(AGENT - 2, WIRE_ROLE_AGENT, 1, 0),
			   "session 3 begins behind session 5");
	ck_assert_int_eq(take_closed(AGENT), 0);
	expect_damage_here(take_session(AGENT, WIRE_ROLE_AGENT, 1, 0),
			   "session 5 begins behind session 5");
	ck_assert_int_eq(take_session(AGENT + 1, WIRE_ROLE_AGENT, 1, 0), 0);
}
END_TEST

START_TEST(a_session_that_is_not_there_says_nothing)
{
	expect_damage_here(take_closed(77), "there is no session 77");
	expect_damage_here(take_refused(77, 1, 0), "there is no session 77");
	expect_damage_here(take_pages(77, 1, 0, 1, 1), "there is no session 77");
	ck_assert_int_eq(take_closed(AGENT), 0);
	expect_damage_here(take_closed(AGENT), "there is no session 5, or it was closed");
	expect_damage_here(take_refused(AGENT, 1, 0), "there is no session 5");
	expect_damage_here(take_pages(AGENT, 1, 0, 1, 1), "there is no session 5");
}
END_TEST

START_TEST(a_session_that_was_closed_has_nothing_under_way)
{
	batch_begin(2);
	batch_add_pages(AGENT, 1, 0, 1, 1);
	ck_assert_int_eq(take_batch(), 0);
	ck_assert_int_eq(take_closed(AGENT), 0);
	expect_damage(take_in_force(2, 0), replay.number - 1,
		      "was closed before it came into force");
}
END_TEST

/* ---- Commits ----------------------------------------------------------------------------------- */

START_TEST(commits_rise_by_one)
{
	batch_begin(1);
	batch_add_pages(AGENT, 1, 0, 1, 1);
	expect_damage_here(take_batch(), "commit 1, but the last in force is 1");
	batch_begin(3);
	batch_add_pages(AGENT, 1, 0, 1, 1);
	expect_damage_here(take_batch(), "commit 3, but the last in force is 1");
}
END_TEST

START_TEST(what_comes_into_force_is_the_batch_before_it)
{
	expect_damage_here(take_in_force(2, 0), "no batch that could come into force");
	batch_begin(2);
	batch_add_pages(AGENT, 1, 0, 1, 1);
	ck_assert_int_eq(take_batch(), 0);
	expect_damage_here(take_in_force(3, 0), "commit 3, but the batch before it is 2");
	ck_assert_int_eq(take_in_force(2, 0), 0);
	expect_damage_here(take_in_force(2, 0), "no batch that could come into force");
}
END_TEST

START_TEST(a_batch_of_which_an_update_ended_elsewhere_does_not_come_into_force)
{
	batch_begin(2);
	batch_add_pages(OWNER, 2, 0, 1, 1);
	batch_add_pages(AGENT, 1, 0, 1, 1);
	ck_assert_int_eq(take_batch(), 0);
	ck_assert_int_eq(take_refused(AGENT, 1, 0), 0);
	ck_assert_ptr_null(replay.batch);
	expect_damage_here(take_in_force(2, 0), "no batch that could come into force");
}
END_TEST

/* The batch is what is wrong, not the record that says that it came into force. */
START_TEST(what_the_policy_forbids_cannot_have_come_into_force)
{
	const uint64_t gfns[] = { 998, 999, 1000 };

	batch_begin(2);
	batch_add_pages(AGENT, 1, 0, 1, 1);
	batch_add_part((struct vm_record_part){ .session = AGENT,
						.seqno = 2,
						.n = 3,
						.n_total = 3,
						.update = { .kind = KVMATTR_PROTECT,
							    .form = WIRE_FORM_PAGES,
							    .layer = 1,
							    .value = KVMATTR_R,
							    .restricted = 1,
							    .n_elements = 3 } },
		       gfns);
	ck_assert_int_eq(take_batch(), 0);
	expect_damage(take_in_force(2, 0), replay.number,
		      "element 0 of update 2 of session 5 cannot have come into force: GFN 0x3e8");
}
END_TEST

START_TEST(an_agent_cannot_have_done_what_only_the_owner_may)
{
	batch_begin(2);
	batch_add_part((struct vm_record_part){ .session = AGENT,
						.seqno = 1,
						.n = 1,
						.n_total = 1,
						.update = { .kind = KVMATTR_RESET_VM } },
		       NULL);
	ck_assert_int_eq(take_batch(), 0);
	expect_damage(take_in_force(2, 0), replay.number, "only the VM's owner may");

	replay_start_vm();
	batch_begin(2);
	batch_add_part((struct vm_record_part){ .session = AGENT,
						.seqno = 1,
						.n = 1,
						.n_total = 1,
						.update = { .kind = KVMATTR_ENABLE_LAYER,
							    .layer = 2,
							    .value = KVMATTR_RWX } },
		       NULL);
	ck_assert_int_eq(take_batch(), 0);
	expect_damage(take_in_force(2, 0), replay.number, "VTL 1 may not change layer 2");
}
END_TEST

/* ---- Updates ----------------------------------------------------------------------------------- */

START_TEST(an_update_is_settled_once)
{
	ck_assert_int_eq(take_pages(AGENT, 1, 0, 1, 1), 0);
	expect_damage_here(take_pages(AGENT, 1, 0, 1, 1),
			   "update 1 of session 5 is settled already");
	expect_damage_here(take_refused(AGENT, 1, 0), "update 1 of session 5 is settled already");
	ck_assert_int_eq(take_refused(AGENT, 2, 0), 0);
	expect_damage_here(take_pages(AGENT, 2, 0, 1, 1), "is settled already");
	replay_start_vm();
	expect_damage_here(take_pages(AGENT, 0, 0, 1, 1), "is settled already");
	batch_begin(2);
	batch_add_pages(AGENT, 3, 0, 1, 1);
	batch_add_pages(AGENT, 3, 0, 1, 1);
	expect_damage_here(take_batch(), "is settled already");
}
END_TEST

START_TEST(an_update_begins_with_its_first_element)
{
	expect_damage_here(take_pages(AGENT, 1, 1, 1, 2),
			   "update 1 of session 5 begins in its middle");
	replay_start_vm();
	ck_assert_int_eq(take_pages(AGENT, 1, 0, 2, 5), 0);
	expect_damage_here(take_pages(AGENT, 2, 2, 2, 5), "begins in its middle");
}
END_TEST

START_TEST(an_update_goes_on_where_it_ended)
{
	static const uint32_t wrong[] = { 0, 1, 3 };

	for (size_t i = 0; i < N(wrong); i++) {
		replay_start_vm();
		ck_assert_int_eq(take_pages(AGENT, 1, 0, 2, 5), 0);
		expect_damage_here(take_pages(AGENT, 1, wrong[i], 2, 5),
				   "does not go on where it ended");
	}
	replay_start_vm();
	ck_assert_int_eq(take_pages(AGENT, 1, 0, 2, 5), 0);
	ck_assert_int_eq(take_pages(AGENT, 1, 2, 3, 5), 0);
	ck_assert_uint_eq(replay_find_session(&replay, AGENT)->settled_seqno, 1);
}
END_TEST

START_TEST(an_update_goes_on_as_what_it_was)
{
	ck_assert_int_eq(take_pages(AGENT, 1, 0, 2, 5), 0);
	expect_damage_here(take_pages(AGENT, 1, 2, 2, 6), "goes on as another one");
	for (size_t field = 0; field < 6; field++) {
		struct wire_update *update;

		replay_start_vm();
		ck_assert_int_eq(take_pages(AGENT, 1, 0, 2, 5), 0);
		batch_begin(3);
		batch_add_pages(AGENT, 1, 2, 2, 5);
		update = (struct wire_update *)(batch.bytes + sizeof(struct vm_record_batch) +
						offsetof(struct vm_record_part, update));
		if (field == 0)
			update->kind = KVMATTR_LOCK;
		else if (field == 1)
			update->layer = 2;
		else if (field == 2)
			update->value = KVMATTR_RW;
		else if (field == 3)
			update->restricted = 1;
		else if (field == 4)
			update->mbec = 1;
		if (field < 5)
			expect_damage_here(take_batch(), "goes on as another one");
		else
			ck_assert_int_eq(take_batch(), 0);
	}
}
END_TEST

START_TEST(an_update_has_one_part_in_a_batch)
{
	batch_begin(2);
	batch_add_pages(AGENT, 1, 0, 2, 5);
	batch_add_pages(AGENT, 1, 2, 3, 5);
	expect_damage_here(take_batch(), "has two parts in a batch");
}
END_TEST

START_TEST(a_refusal_knows_how_many_elements_are_in_force)
{
	expect_damage_here(take_refused(AGENT, 1, 1), "other elements in force than it says");
	ck_assert_int_eq(take_pages(AGENT, 1, 0, 2, 5), 0);
	expect_damage_here(take_refused(AGENT, 1, 0), "other elements in force than it says");
	expect_damage_here(take_refused(AGENT, 2, 2), "other elements in force than it says");
	ck_assert_int_eq(take_refused(AGENT, 1, 2), 0);
}
END_TEST

/* ---- What is no damage ------------------------------------------------------------------------- */

START_TEST(a_refusal_of_another_session_leaves_a_batch_open)
{
	ck_assert_int_eq(take_session(AGENT + 1, WIRE_ROLE_AGENT, 1, 0), 0);
	batch_begin(2);
	batch_add_pages(AGENT, 1, 0, 1, 1);
	ck_assert_int_eq(take_batch(), 0);
	ck_assert_int_eq(take_refused(AGENT + 1, 1, 0), 0);
	ck_assert_int_eq(take_refused(0, 1, 0), 0);
	ck_assert_uint_eq(replay.settled, replay.number - 3);
	ck_assert_int_eq(take_in_force(2, 0), 0);
	ck_assert_uint_eq(replay.settled, replay.number);
}
END_TEST

/* It was never applied, so nobody has said that there are such pages. */
START_TEST(a_batch_that_was_taken_back_may_hold_pages_that_cannot_be)
{
	static const struct kvmattr_range ranges[] = {
		{ KVMATTR_GFN_LIMIT - 1, 2 },      { KVMATTR_GFN_LIMIT, 1 },
		{ UINT64_MAX, UINT64_MAX },        { 0, KVMATTR_GFN_LIMIT + 1 },
		{ 1, KVMATTR_GFN_LIMIT },          { KVMATTR_GFN_LIMIT, 0 },
		{ KVMATTR_GFN_LIMIT, UINT64_MAX }, { 70, 7 },
	};

	batch_begin(2);
	batch_add_part((struct vm_record_part){ .session = OWNER,
						.seqno = 2,
						.n = N(ranges),
						.n_total = N(ranges),
						.update = { .kind = KVMATTR_ADD_RAM,
							    .form = WIRE_FORM_RANGES,
							    .n_elements = N(ranges) } },
		       ranges);
	ck_assert_int_eq(take_batch(), 0);
	replay_end(&replay);
	ck_assert_uint_eq(replay.doubtful.n, 1);
	ck_assert_uint_eq(replay.doubtful.range[0].gfn, 70);
	ck_assert_uint_eq(replay.doubtful.range[0].n_pages, 7);
}
END_TEST

START_TEST(nobody_looks_at_the_seqnos_of_the_registration)
{
	ck_assert_int_eq(take_pages(0, 7, 0, 1, 1), 0);
	ck_assert_int_eq(take_pages(0, 7, 3, 1, 4), 0);
	ck_assert_int_eq(take_pages(0, 1, 0, 1, 1), 0);
	ck_assert_int_eq(take_refused(0, 7, 3), 0);
	ck_assert_uint_eq(replay.commit, 4);
}
END_TEST

START_TEST(seqnos_between_that_are_missing_are_settled_and_their_failures_forgotten)
{
	const struct replay_session *agent;

	ck_assert_int_eq(take_pages(AGENT, 4, 0, 1, 1), 0);
	agent = replay_find_session(&replay, AGENT);
	ck_assert_uint_eq(agent->settled_seqno, 4);
	ck_assert_uint_eq(agent->forgotten_seqno, 3);
	ck_assert_int_eq(take_refused(AGENT, 9, 0), 0);
	ck_assert_uint_eq(agent->settled_seqno, 9);
	ck_assert_uint_eq(agent->forgotten_seqno, 8);
	ck_assert_uint_eq(agent->n_failures, 1);
	ck_assert_int_eq(take_pages(AGENT, UINT64_MAX, 0, 1, 2), 0);
	ck_assert_uint_eq(agent->settled_seqno, UINT64_MAX - 1);
	ck_assert_uint_eq(agent->forgotten_seqno, UINT64_MAX - 1);
	ck_assert_int_eq(take_pages(AGENT, UINT64_MAX, 1, 1, 2), 0);
	expect_damage_here(take_pages(AGENT, 0, 0, 1, 1), "is settled already");
	expect_damage_here(take_pages(AGENT, UINT64_MAX, 0, 1, 1), "is settled already");
}
END_TEST

START_TEST(an_update_that_was_begun_is_given_up_when_a_later_one_comes)
{
	const struct replay_session *agent;

	ck_assert_int_eq(take_pages(AGENT, 1, 0, 2, 5), 0);
	ck_assert_int_eq(take_pages(AGENT, 3, 0, 1, 4), 0);
	agent = replay_find_session(&replay, AGENT);
	ck_assert_uint_eq(agent->settled_seqno, 2);
	ck_assert_uint_eq(agent->forgotten_seqno, 2);
	ck_assert_uint_eq(agent->n_in_force, 1);
	ck_assert_uint_eq(agent->next_n_total, 4);
	expect_damage_here(take_pages(AGENT, 1, 2, 3, 5), "is settled already");
}
END_TEST

int main(void)
{
	TCase *empty = tcase_create("no VM yet");
	TCase *vm = tcase_create("a VM");
	TCase *const cases[] = { empty, vm, NULL };

	tcase_add_checked_fixture(empty, replay_start, replay_stop);
	tcase_add_test(empty, whatever_stands_before_the_registration_is_damage);
	tcase_add_test(empty, a_vm_is_registered_once);
	tcase_add_test(empty, a_journal_does_not_begin_in_its_middle);
	tcase_add_test(empty, views_that_no_vm_can_have_are_damage);

	tcase_add_checked_fixture(vm, replay_start_vm, replay_stop);
	tcase_add_test(vm, whatever_stands_behind_the_release_is_damage);
	tcase_add_test(vm, records_that_are_missing_or_doubled_are_damage);
	tcase_add_test(vm, a_type_that_is_not_known_is_said_to_be_so);
	tcase_add_test(vm, a_field_that_makes_no_sense_is_named);
	tcase_add_test(vm, a_vm_is_ready_once);
	tcase_add_test(vm, a_session_keeps_its_rights);
	tcase_add_test(vm, the_ids_of_sessions_rise);
	tcase_add_test(vm, a_session_that_is_not_there_says_nothing);
	tcase_add_test(vm, a_session_that_was_closed_has_nothing_under_way);
	tcase_add_test(vm, commits_rise_by_one);
	tcase_add_test(vm, what_comes_into_force_is_the_batch_before_it);
	tcase_add_test(vm, a_batch_of_which_an_update_ended_elsewhere_does_not_come_into_force);
	tcase_add_test(vm, what_the_policy_forbids_cannot_have_come_into_force);
	tcase_add_test(vm, an_agent_cannot_have_done_what_only_the_owner_may);
	tcase_add_test(vm, an_update_is_settled_once);
	tcase_add_test(vm, an_update_begins_with_its_first_element);
	tcase_add_test(vm, an_update_goes_on_where_it_ended);
	tcase_add_test(vm, an_update_goes_on_as_what_it_was);
	tcase_add_test(vm, an_update_has_one_part_in_a_batch);
	tcase_add_test(vm, a_refusal_knows_how_many_elements_are_in_force);
	tcase_add_test(vm, a_refusal_of_another_session_leaves_a_batch_open);
	tcase_add_test(vm, a_batch_that_was_taken_back_may_hold_pages_that_cannot_be);
	tcase_add_test(vm, nobody_looks_at_the_seqnos_of_the_registration);
	tcase_add_test(vm,
		       seqnos_between_that_are_missing_are_settled_and_their_failures_forgotten);
	tcase_add_test(vm, an_update_that_was_begun_is_given_up_when_a_later_one_comes);
	return seeded_suite_run("replay-damage", cases);
}
