/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a hosted VM says of itself to a journal that is written anew: of each session, what is
 * settled, what of the next update is in force, and which updates failed.
 */
#include "daemon/allocate.h"
#include "daemon/serve/hosted-vm.h"
#include "daemon/serve/session.h"
#include "daemon/serve/vm-snapshot.h"
#include "tests/integration/harness.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct daemon house;
static struct event_base *base;
static struct hosted_vm *hosted;
static struct replay replay;

/* ---- A VM that carries nothing out ----------------------------------------------------------- */

static int record(void *context, const struct vm_batch *batch, const struct vm_in_force *in_force,
		  uint64_t *ret_durable)
{
	(void)context;
	(void)batch;
	(void)in_force;
	*ret_durable = 0;
	return 0;
}

static void execute(void *context, const struct plan *plan, size_t first)
{
	(void)context;
	(void)plan;
	(void)first;
}

static void answer(void *context, struct vm_update *update, enum kvmattr_status status,
		   const char *text)
{
	(void)context;
	(void)update;
	(void)status;
	(void)text;
}

static void settled(void *context)
{
	(void)context;
}

static void set_timer(void *context, unsigned int timeout_ms)
{
	(void)context;
	(void)timeout_ms;
}

static uint64_t now_us(void *context)
{
	(void)context;
	return 0;
}

static const struct vm_ops ops = {
	.record = record,
	.execute = execute,
	.answer = answer,
	.settled = settled,
	.set_timer = set_timer,
	.now_us = now_us,
};

static void set_up(void)
{
	const struct vm_limits limits = { .max_pages_per_call = 64,
					  .max_elements_per_batch = 64,
					  .executor_deadline_ms = 1000 };
	struct view view = { .vtl = 0 };

	ck_assert(dialect_restore(KVMATTR_ABI_DENY, 15, &view.dialect));
	base = event_base_new();
	house = (struct daemon){ .limits.max_updates_in_flight = 64, .last_session_id = 9 };
	daemon_init(&house, base);
	hosted = hosted_vm_new(&house, "guest");
	hosted->n_views = 1;
	hosted->views[0] = (struct wire_view){ .abi = KVMATTR_ABI_DENY, .supported = 15 };
	hosted->executor_place = WIRE_EXECUTOR_VMM;
	hosted->is_simulated = true;
	hosted->is_ready = true;
	hosted->registered_us = 4711;
	hosted->vm = vm_new("guest", policy_new(&view, 1), &limits, &ops, NULL);
	replay_init(&replay);
}

static void tear_down(void)
{
	struct session *session;

	replay_destroy(&replay);
	while ((session = TAILQ_FIRST(&hosted->sessions))) {
		struct update_message *message;

		while ((message = TAILQ_FIRST(&session->messages))) {
			TAILQ_REMOVE(&session->messages, message, list);
			free(message);
		}
		session_drop(session);
	}
	vm_free(hosted->vm, "");
	hosted_vm_free(hosted);
	daemon_destroy(&house);
	event_base_free(base);
}

/* ---- Its sessions ---------------------------------------------------------------------------- */

static struct session *add_agent(uint64_t id, uint64_t settled_seqno)
{
	const struct policy_actor actor = { .vtl = 1, .rights = WIRE_RIGHT_VISIBILITY };
	struct session *session = session_new_detached(&house, id, hosted, &actor);

	session->settled_seqno = settled_seqno;
	session->answered_seqno = settled_seqno;
	session->pid = 77;
	strcpy(session->peer, "agent");
	return session;
}

/* A message of n updates of three pages each. */
static struct update_message *add_message(struct session *session, uint64_t seqno, uint32_t n)
{
	static const uint64_t gfns[3] = { 1, 2, 3 };
	struct update_message *message =
		allocate_zeroed(1, sizeof(*message) + n * sizeof(message->updates[0]));

	message->session = session;
	message->n_updates = message->n_unsettled = n;
	for (uint32_t i = 0; i < n; i++) {
		struct vm_update *update = &message->updates[i];

		update->origin = message;
		update->element.kind = KVMATTR_PROTECT;
		update->element.layer = 1;
		update->element.value = KVMATTR_R;
		update->element.restricted = 1;
		update->form = WIRE_FORM_PAGES;
		update->n_elements = 3;
		update->elements = (const uint8_t *)gfns;
		update->seqno = seqno + i;
	}
	TAILQ_INSERT_TAIL(&session->messages, message, list);
	return message;
}

static void add_failure(struct session *session, uint64_t seqno)
{
	session_note_failure(
		session, &(struct wire_failure){ .seqno = seqno, .status = KVMATTR_ACCESS_DENIED });
}

static const struct replay_session *snapshot_of(uint64_t id)
{
	ck_assert_ptr_eq(vm_snapshot(hosted, &replay), vm_policy(hosted->vm));
	for (size_t i = 0; i < replay.n_sessions; i++)
		if (replay.sessions[i].facts.id == id)
			return &replay.sessions[i];
	ck_abort_msg("session %lu is not there", id);
}

/* ---- Tests ----------------------------------------------------------------------------------- */

START_TEST(the_vm_is_as_it_was_registered)
{
	vm_restore(hosted->vm, 12, &(struct page_ranges){ 0 }, 0);
	ck_assert_ptr_eq(vm_snapshot(hosted, &replay), vm_policy(hosted->vm));
	ck_assert_str_eq(replay.facts.name, "guest");
	ck_assert_uint_eq(replay.facts.n_views, 1);
	ck_assert_uint_eq(replay.facts.executor, WIRE_EXECUTOR_VMM);
	ck_assert_uint_eq(replay.facts.is_simulated, 1);
	ck_assert_uint_eq(replay.views[0].abi, KVMATTR_ABI_DENY);
	ck_assert_uint_eq(replay.views[0].supported, 15);
	ck_assert_uint_eq(replay.registered_us, 4711);
	ck_assert(replay.is_ready && !replay.is_released);
	ck_assert_uint_eq(replay.commit, 12);
	ck_assert_uint_eq(replay.max_session, 9);
	ck_assert_uint_eq(replay.doubtful.n, 0);
}
END_TEST

START_TEST(sessions_come_in_the_order_of_their_ids_closed_ones_with_updates_under_way_among_them)
{
	struct session *closed;

	add_agent(7, 0);
	closed = add_agent(5, 0);
	add_agent(3, 0);
	closed->n_unsettled = 1; /* as if the VM had one */
	session_drop(closed);
	ck_assert_ptr_eq(vm_snapshot(hosted, &replay), vm_policy(hosted->vm));
	ck_assert_uint_eq(replay.n_sessions, 3);
	ck_assert_uint_eq(replay.sessions[0].facts.id, 3);
	ck_assert_uint_eq(replay.sessions[1].facts.id, 5);
	ck_assert_uint_eq(replay.sessions[2].facts.id, 7);
	ck_assert_uint_eq(replay.sessions[2].facts.role, WIRE_ROLE_AGENT);
	ck_assert_uint_eq(replay.sessions[2].facts.vtl, 1);
	ck_assert_uint_eq(replay.sessions[2].facts.rights, WIRE_RIGHT_VISIBILITY);
	ck_assert_int_eq(replay.sessions[2].facts.pid, 77);
	ck_assert_str_eq(replay.sessions[2].facts.peer, "agent");
	TAILQ_REMOVE(&hosted->closed_sessions, closed, list);
	session_hand_to_reaper(closed);
}
END_TEST

START_TEST(failures_are_there_whether_the_peer_was_told_or_not)
{
	struct session *session = add_agent(3, 20);
	const struct replay_session *seen;

	add_failure(session, 4);
	add_failure(session, 8);
	session->n_told_failures = 1;
	session->forgotten_seqno = 2;
	seen = snapshot_of(3);
	ck_assert_uint_eq(seen->settled_seqno, 20);
	ck_assert_uint_eq(seen->forgotten_seqno, 2);
	ck_assert_uint_eq(seen->n_failures, 2);
	ck_assert_uint_eq(seen->failures[0].seqno, 4);
	ck_assert_uint_eq(seen->failures[1].seqno, 8);
	ck_assert_uint_eq(seen->n_in_force, 0);
}
END_TEST

START_TEST(updates_that_wait_for_the_disk_are_settled)
{
	struct session *session = add_agent(3, 20);
	struct update_message *first = add_message(session, 20, 2);
	struct update_message *second = add_message(session, 22, 2);
	const struct replay_session *seen;

	first->updates[0].n_in_force = 3; /* answered already: its message is not over */
	first->updates[1].n_in_force = 3;
	second->updates[0].n_in_force = 1;
	second->updates[0].status = KVMATTR_OPERATION_DENIED;
	second->updates[0].text = allocate_string("the page is locked");
	seen = snapshot_of(3);
	ck_assert_uint_eq(seen->settled_seqno, 22);
	ck_assert_uint_eq(seen->n_failures, 1);
	ck_assert_uint_eq(seen->failures[0].seqno, 22);
	ck_assert_uint_eq(seen->failures[0].status, KVMATTR_OPERATION_DENIED);
	ck_assert_uint_eq(seen->failures[0].n_in_force, 1);
	ck_assert_str_eq(seen->failures[0].text, "the page is locked");
	ck_assert_uint_eq(seen->n_in_force, 0);
	ck_assert_uint_eq(seen->next_n_total, 0);
	free(second->updates[0].text);
}
END_TEST

START_TEST(of_the_next_update_it_is_said_what_it_is_and_how_much_is_in_force)
{
	struct session *session = add_agent(3, 20);
	struct update_message *message = add_message(session, 21, 3);
	const struct replay_session *seen;

	message->updates[0].n_in_force = 3;
	message->updates[1].n_in_force = 2;
	seen = snapshot_of(3);
	ck_assert_uint_eq(seen->settled_seqno, 21);
	ck_assert_uint_eq(seen->n_in_force, 2);
	ck_assert_uint_eq(seen->next_n_total, 3);
	ck_assert_uint_eq(seen->next.kind, KVMATTR_PROTECT);
	ck_assert_uint_eq(seen->next.form, WIRE_FORM_PAGES);
	ck_assert_uint_eq(seen->next.layer, 1);
	ck_assert_uint_eq(seen->next.value, KVMATTR_R);
	ck_assert_uint_eq(seen->next.restricted, 1);
	ck_assert_uint_eq(seen->next.n_elements, 0);
}
END_TEST

START_TEST(what_was_begun_before_a_restart_and_not_sent_again_is_not_lost)
{
	struct session *session = add_agent(3, 20);
	const struct replay_session *seen;

	session->n_begun = 5;
	session->begun_n_total = 8;
	session->begun = (struct wire_update){ .kind = KVMATTR_PROTECT, .layer = 2 };
	seen = snapshot_of(3);
	ck_assert_uint_eq(seen->settled_seqno, 20);
	ck_assert_uint_eq(seen->n_in_force, 5);
	ck_assert_uint_eq(seen->next_n_total, 8);
	ck_assert_uint_eq(seen->next.layer, 2);
}
END_TEST

START_TEST(there_is_none_while_the_layers_hold_a_batch_that_is_not_in_force)
{
	static const struct kvmattr_range ram = { 0, 16 };
	struct vm_update update = { .actor.is_owner = true,
				    .element = { .kind = KVMATTR_ADD_RAM, .value = 1 },
				    .form = WIRE_FORM_RANGES,
				    .n_elements = 1,
				    .elements = (const uint8_t *)&ram };

	vm_start(hosted->vm);
	vm_submit(hosted->vm, &update);
	ck_assert_int_eq(vm_state(hosted->vm), VM_EXECUTING);
	ck_assert_ptr_null(vm_snapshot(hosted, &replay));
	vm_calls_done(hosted->vm, 1, 0, 0);
	ck_assert_int_eq(vm_state(hosted->vm), VM_IDLE);
	ck_assert_ptr_eq(vm_snapshot(hosted, &replay), vm_policy(hosted->vm));
	ck_assert_uint_eq(replay.commit, 1);
}
END_TEST

START_TEST(failures_that_no_peer_can_lack_are_forgotten)
{
	struct session *session = add_agent(3, 0);
	const struct replay_session *seen;

	/* All are told at once; so many as may be under way can be unread. */
	for (uint64_t seqno = 1; seqno <= 1000; seqno++) {
		session->settled_seqno = seqno;
		add_failure(session, seqno);
		session->n_told_failures = session->n_failures;
	}
	seen = snapshot_of(3);
	ck_assert_uint_ge(seen->n_failures, house.limits.max_updates_in_flight);
	ck_assert_uint_le(seen->n_failures, 4 * house.limits.max_updates_in_flight);
	ck_assert_uint_eq(seen->forgotten_seqno, 1000 - seen->n_failures);
	ck_assert_uint_eq(seen->failures[0].seqno, seen->forgotten_seqno + 1);
	ck_assert_uint_eq(seen->failures[seen->n_failures - 1].seqno, 1000);
}
END_TEST

int main(void)
{
	TCase *tests = harness_make_case("snapshot", 10);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, the_vm_is_as_it_was_registered);
	tcase_add_test(
		tests,
		sessions_come_in_the_order_of_their_ids_closed_ones_with_updates_under_way_among_them);
	tcase_add_test(tests, failures_are_there_whether_the_peer_was_told_or_not);
	tcase_add_test(tests, updates_that_wait_for_the_disk_are_settled);
	tcase_add_test(tests, of_the_next_update_it_is_said_what_it_is_and_how_much_is_in_force);
	tcase_add_test(tests, what_was_begun_before_a_restart_and_not_sent_again_is_not_lost);
	tcase_add_test(tests, there_is_none_while_the_layers_hold_a_batch_that_is_not_in_force);
	tcase_add_test(tests, failures_that_no_peer_can_lack_are_forgotten);
	return harness_run("VM snapshot", (TCase *const[]){ tests, NULL });
}
