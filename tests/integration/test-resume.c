/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sessions over a restart of the daemon: who may go on with one, which answers are told again, and
 * what is done again and what is not.
 */
#include "tests/integration/event-client.h"
#include "tests/integration/lone-agent.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Answers --------------------------------------------------------------------------------- */

START_TEST(a_peer_that_has_all_answers_goes_on_with_the_next_seqno)
{
	start_guest(NULL);
	do_update(1, 10);
	do_update(2, 20);
	restart();
	resume_agent(2, 2);
	raw_vm_resume(&vm, d, 1, 1);
	do_update(3, 30);
	raw_expect_alive(agent);
	stop_guest();
}
END_TEST

START_TEST(a_peer_gets_the_answers_that_it_lacks_as_they_were)
{
	struct wire_failure failure = { 0 };

	start_guest(NULL);
	do_update(1, 10);
	send_update(2, 5000); /* is no RAM */
	ck_assert_uint_eq(raw_receive_answer(agent, 2, NULL), 1);
	do_update(3, 30);
	restart();
	resume_agent((uint64_t)_i, 3);
	if (_i < 3)
		ck_assert_uint_eq(raw_receive_answer(agent, 3, &failure), _i < 2);
	if (_i < 2) {
		ck_assert_uint_eq(failure.seqno, 2);
		ck_assert_uint_eq(failure.status, KVMATTR_INVALID_PARAMETER);
		ck_assert_str_eq(failure.text, "GFN 0x1388 is not RAM of the VM");
	}
	raw_vm_resume(&vm, d, 1, 1);
	do_update(4, 40);
	stop_guest();
}
END_TEST

START_TEST(a_seqno_that_was_settled_is_not_taken_again)
{
	start_guest(NULL);
	do_update(1, 10);
	restart();
	resume_agent(0, 1);
	ck_assert_uint_eq(raw_receive_answer(agent, 1, NULL), 0);
	send_update(1, 10);
	raw_expect_broken(agent, "header.id");
	agent = -1;
	stop_guest();
}
END_TEST

START_TEST(updates_that_were_not_settled_are_unknown_and_done_when_they_are_sent_again)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];

	start_guest(NULL);
	send_update(1, 10); /* in its batch, alone */
	raw_receive_type(vm.executor, WIRE_CALLS, message, NULL);
	send_update(2, 20);
	send_update(3, 30);
	raw_expect_alive(agent); /* they are there */
	restart();
	resume_agent(0, 0);
	raw_vm_resume(&vm, d, 1, 1);
	ck_assert_uint_eq(raw_vm_answer_calls(&vm), 2); /* the first one's pages, in both views */
	do_update(1, 10);
	do_update(2, 20);
	do_update(3, 30);
	stop_guest();
}
END_TEST

START_TEST(answers_that_were_told_again_are_told_again_after_another_restart)
{
	start_guest(NULL);
	do_update(1, 10);
	for (int i = 0; i < 3; i++) {
		restart();
		resume_agent(0, 1);
		ck_assert_uint_eq(raw_receive_answer(agent, 1, NULL), 0);
	}
	raw_vm_resume(&vm, d, 1, 1);
	do_update(2, 20);
	stop_guest();
}
END_TEST

/* ---- An update that was begun ---------------------------------------------------------------- */

/* Of two elements, of which the first is in force and the second on its way. */
static struct raw_update begin_update(void)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct raw_update update = raw_make_update(1);

	start_guest("[limits]\nmax-elements-per-batch = 1\n");
	update.gfns[0] = 10;
	update.gfns[1] = 20;
	raw_send(agent, &update, sizeof(update));
	expect_done(0, 10, 1);
	raw_receive_type(vm.executor, WIRE_CALLS, message, NULL);
	restart();
	resume_agent(0, 0);
	raw_vm_resume(&vm, d, 1, 1);
	ck_assert_uint_eq(raw_vm_answer_calls(&vm), 2); /* page 20, in both views */
	return update;
}

START_TEST(an_update_of_which_the_first_elements_are_in_force_goes_on_behind_them)
{
	struct raw_update update = begin_update();

	raw_send(agent, &update, sizeof(update));
	expect_done(1, 20, 1);
	do_update(2, 30);
	stop_guest();
}
END_TEST

START_TEST(an_update_that_is_begun_and_is_gone_on_with_is_whole_after_another_restart)
{
	struct raw_update update = begin_update();

	raw_send(agent, &update, sizeof(update));
	expect_done(1, 20, 1);
	restart();
	resume_agent(0, 1);
	ck_assert_uint_eq(raw_receive_answer(agent, 1, NULL), 0);
	stop_guest();
}
END_TEST

START_TEST(another_update_than_the_one_that_was_begun_is_refused)
{
	struct raw_update update = begin_update();

	switch (_i) {
	case 0:
		update.update.value = KVMATTR_RX;
		break;
	case 1:
		update.update.restricted = 1;
		break;
	case 2:
		update.update.n_elements = 1;
		update.head.header.size -= 8;
		break;
	case 3:
		update.update.kind = KVMATTR_SET_VISIBILITY;
		update.update.value = update.update.layer = 0;
		update.update.restricted = 0;
		break;
	case 4:
		update.gfns[0] = KVMATTR_GFN_LIMIT;
		break;
	case 5:
		update.update.form = WIRE_FORM_RANGES;
		update.update.n_elements = 1;
		break;
	}
	raw_send(agent, &update, update.head.header.size);
	raw_expect_broken(agent, "begun with this seqno");
	agent = -1;
	raw_expect_alive(vm.owner);
	stop_guest();
}
END_TEST

/* ---- Whose session --------------------------------------------------------------------------- */

START_TEST(nobody_goes_on_with_a_session_without_its_token)
{
	struct wire_welcome wrong;
	int socket;

	start_guest(NULL);
	do_update(1, 10);
	restart();
	for (size_t i = 0; i < WIRE_TOKEN_SIZE; i++) {
		wrong = agent_welcome;
		wrong.token[i] ^= 1;
		socket = raw_send_resume(d, &wrong, 1);
		raw_expect_refusal(socket, RESUME_ID, KVMATTR_NO_SESSION,
				   kvmattr_status_text(KVMATTR_NO_SESSION));
		close(socket);
	}
	resume_agent(1, 1);
	stop_guest();
}
END_TEST

START_TEST(
	a_session_that_is_connected_a_session_that_is_not_there_and_a_wrong_token_are_refused_alike)
{
	struct wire_welcome wrong;
	struct wire_resume resume;
	int socket;

	start_guest(NULL);
	/* Of the same daemon, too. */
	socket = raw_send_resume(d, &agent_welcome, 0);
	raw_expect_refusal(socket, RESUME_ID, KVMATTR_NO_SESSION, "there is no such session");
	restart();
	resume_agent(0, 0);
	close(socket);
	socket = raw_send_resume(d, &agent_welcome, 0);
	raw_expect_refusal(socket, RESUME_ID, KVMATTR_NO_SESSION, "there is no such session");
	/* The connection goes on, and may ask for another one. */
	wrong = vm.welcome;
	wrong.session = 4711;
	resume = raw_make_resume(&wrong, 0);
	raw_send(socket, &resume, sizeof(resume));
	raw_expect_refusal(socket, RESUME_ID, KVMATTR_NO_SESSION, "there is no such session");
	wrong = agent_welcome;
	wrong.token[0] ^= 1;
	resume = raw_make_resume(&wrong, 0);
	raw_send(socket, &resume, sizeof(resume));
	raw_expect_refusal(socket, RESUME_ID, KVMATTR_NO_SESSION, "there is no such session");
	close(socket);
	/* One that has a session needs no other. */
	resume = raw_make_resume(&vm.welcome, 0);
	raw_send(agent, &resume, sizeof(resume));
	raw_expect_refusal(agent, RESUME_ID, KVMATTR_NO_SESSION, "there is no such session");
	raw_expect_alive(agent);
	stop_guest();
}
END_TEST

/* It would take its seqnos back, below updates that are under way and in the journal. */
START_TEST(a_connected_session_is_not_resumed_over_its_own_connection_and_its_journal_stays_whole)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct wire_resume resume;

	start_guest(NULL);
	send_update(1, 10);
	raw_receive_type(vm.executor, WIRE_CALLS, message, NULL);
	for (uint64_t answered = 0; answered < 3; answered++) {
		resume = raw_make_resume(&agent_welcome, answered);
		raw_send(agent, &resume, sizeof(resume));
		raw_expect_refusal(agent, RESUME_ID, KVMATTR_NO_SESSION,
				   "there is no such session");
	}
	send_update(1, 20); /* of no use to anyone but a journal's enemy */
	raw_expect_broken(agent, "header.id");
	agent = -1;
	restart();
	resume_agent(0, 0);
	raw_vm_resume(&vm, d, 1, 1);
	stop_guest();
}
END_TEST

START_TEST(a_resume_that_breaks_the_protocol_costs_the_connection_and_not_the_session)
{
	struct {
		struct wire_resume head;
		struct wire_view view;
	} with_view;
	struct wire_resume resume;
	int socket, fds[2];

	start_guest(NULL);
	do_update(1, 10);
	restart();
	socket = raw_greet(d);
	resume = raw_make_resume(&agent_welcome, UINT64_MAX);
	raw_send(socket, &resume, sizeof(resume));
	raw_expect_broken(socket, "answered");

	socket = raw_greet(d);
	resume = raw_make_resume(&agent_welcome, 1);
	resume.reserved = 1;
	raw_send(socket, &resume, sizeof(resume));
	raw_expect_broken(socket, "reserved");

	socket = raw_greet(d);
	resume.reserved = 0;
	fds[0] = raw_make_vm_fd();
	raw_send_with_fds(socket, &resume, sizeof(resume), fds, 1);
	raw_expect_broken(socket, "file descriptors");
	close(fds[0]);

	socket = raw_greet(d);
	with_view.head = resume;
	with_view.head.header.size = sizeof(with_view);
	with_view.head.n_views = 1;
	with_view.view = (struct wire_view){ 0 };
	fds[1] = raw_make_vm_fd();
	fds[0] = socket_for_executor();
	raw_send_with_fds(socket, &with_view, sizeof(with_view), fds, 2);
	raw_expect_broken(socket, "n_views");
	close(fds[0]);
	close(fds[1]);

	socket = raw_connect(d);
	raw_send(socket, &resume, sizeof(resume));
	raw_expect_broken(socket, "hello comes first");
	resume_agent(1, 1);
	stop_guest();
}
END_TEST

START_TEST(agents_that_do_not_come_back_are_shown_as_detached_and_disturb_nobody)
{
	start_guest(NULL);
	restart();
	ck_assert(is_session(agent_welcome.session, "detached"));
	ck_assert(is_session(vm.welcome.session, "detached"));
	raw_vm_resume(&vm, d, 1, 1);
	ck_assert(is_session(agent_welcome.session, "detached"));
	ck_assert(is_session(vm.welcome.session, "connected"));
	raw_expect_alive(vm.owner);
	resume_agent(0, 0);
	ck_assert(is_session(agent_welcome.session, "connected"));
	stop_guest();
}
END_TEST

START_TEST(an_agent_that_was_closed_is_no_session_any_more)
{
	int socket;

	start_guest(NULL);
	close(agent);
	agent = -1;
	EVENTUALLY(5000, is_session(agent_welcome.session, "gone"));
	restart();
	ck_assert(is_session(agent_welcome.session, "gone"));
	socket = raw_send_resume(d, &agent_welcome, 0);
	raw_expect_refusal(socket, RESUME_ID, KVMATTR_NO_SESSION, "there is no such session");
	close(socket);
	stop_guest();
}
END_TEST

/* As much as a test needs to have the others come back. */
#define GRACE_MS 500

START_TEST(agents_that_do_not_come_back_within_their_grace_are_closed_and_others_stay)
{
	struct wire_welcome gone;
	struct event_client events;
	char configuration[60];
	int other, socket;

	start_guest(NULL);
	do_update(1, 10);
	other = raw_vm_open_welcomed_agent(&vm, 2, 0, &gone);
	kill_daemon();
	close(other);
	snprintf(configuration, sizeof(configuration), "[limits]\nagent-grace-ms = %u\n",
		 GRACE_MS * harness_patience());
	launch(configuration);
	resume_agent(0, 1);
	ck_assert_uint_eq(raw_receive_answer(agent, 1, NULL), 0);
	raw_vm_resume(&vm, d, 1, 1);
	ck_assert(is_session(gone.session, "detached"));
	events = events_begin(d, "{\"events\":[\"session.closed\"]}");
	EVENTUALLY(10000, is_session(gone.session, "gone"));
	json_object_put(events_expect_any(&events, "session.closed", "guest"));
	socket = raw_send_resume(d, &gone, 0);
	raw_expect_refusal(socket, RESUME_ID, KVMATTR_NO_SESSION, "there is no such session");
	close(socket);
	do_update(2, 20);
	events_expect_none(&events);
	events_end(&events);
	restart();
	ck_assert(is_session(gone.session, "gone"));
	resume_agent(2, 2);
	stop_guest();
}
END_TEST

START_TEST(sockets_for_agents_that_are_opened_later_have_ids_of_their_own)
{
	struct wire_welcome welcome;
	int later;

	start_guest(NULL);
	restart();
	raw_vm_resume(&vm, d, 1, 1);
	resume_agent(0, 0);
	later = raw_vm_open_welcomed_agent(&vm, 1, 0, &welcome);
	ck_assert_uint_gt(welcome.session, agent_welcome.session);
	ck_assert_uint_gt(welcome.session, vm.welcome.session);
	ck_assert_int_ne(memcmp(welcome.token, agent_welcome.token, WIRE_TOKEN_SIZE), 0);
	close(later);
	stop_guest();
}
END_TEST

/* A daemon that could not read a journal did not know which ids are taken. */
START_TEST(sessions_of_two_vms_with_the_same_id_are_told_apart_by_their_tokens)
{
	struct wire_welcome other_welcome;
	struct raw_vm other;
	int other_agent;
	char *journal;

	start_guest(NULL);
	do_update(1, 10);
	ck_assert_int_gt(asprintf(&journal, "%s", journal_of("guest")), 0);
	kill_daemon();
	ck_assert_int_eq(chmod(journal, 0755), 0);
	launch(NULL);
	other = raw_vm_start(d, "other");
	other_agent = raw_vm_open_welcomed_agent(&other, 1, 0, &other_welcome);
	ck_assert_uint_eq(other_welcome.session, agent_welcome.session);
	kill_daemon();
	ck_assert_int_eq(chmod(journal, 0700), 0);
	launch(NULL);
	resume_agent(1, 1);
	close(other_agent);
	other_agent = raw_resume(d, &other_welcome, 0, 0);
	raw_vm_resume(&vm, d, 1, 1);
	raw_vm_resume(&other, d, 1, 1);
	do_update(2, 20);
	raw_expect_alive(other_agent);
	close(other_agent);
	raw_vm_close(&other);
	free(journal);
	stop_guest();
}
END_TEST

START_TEST(every_welcome_says_how_to_go_on)
{
	struct wire_welcome welcome;
	int socket;

	start_guest("[limits]\nowner-grace-ms = 12345\n");
	socket = raw_connect(d);
	welcome = raw_say_hello(socket);
	ck_assert_str_eq(welcome.agent_socket, d->agent_socket);
	ck_assert_uint_eq(welcome.resume_within_ms, 12345);
	ck_assert_str_eq(agent_welcome.agent_socket, d->agent_socket);
	ck_assert_uint_eq(agent_welcome.resume_within_ms, 12345);
	ck_assert_int_ne(memcmp(welcome.token, agent_welcome.token, WIRE_TOKEN_SIZE), 0);
	close(socket);
	stop_guest();
}
END_TEST

int main(void)
{
	TCase *answers = harness_make_case("answers", 20);
	TCase *begun = harness_make_case("an update that was begun", 20);
	TCase *whose = harness_make_case("whose session", 20);

	tcase_add_test(answers, a_peer_that_has_all_answers_goes_on_with_the_next_seqno);
	tcase_add_loop_test(answers, a_peer_gets_the_answers_that_it_lacks_as_they_were, 0, 4);
	tcase_add_test(answers, a_seqno_that_was_settled_is_not_taken_again);
	tcase_add_test(answers,
		       updates_that_were_not_settled_are_unknown_and_done_when_they_are_sent_again);
	tcase_add_test(answers, answers_that_were_told_again_are_told_again_after_another_restart);
	tcase_add_test(begun,
		       an_update_of_which_the_first_elements_are_in_force_goes_on_behind_them);
	tcase_add_test(begun,
		       an_update_that_is_begun_and_is_gone_on_with_is_whole_after_another_restart);
	tcase_add_loop_test(begun, another_update_than_the_one_that_was_begun_is_refused, 0, 6);
	tcase_add_test(whose, nobody_goes_on_with_a_session_without_its_token);
	tcase_add_test(
		whose,
		a_session_that_is_connected_a_session_that_is_not_there_and_a_wrong_token_are_refused_alike);
	tcase_add_test(
		whose,
		a_connected_session_is_not_resumed_over_its_own_connection_and_its_journal_stays_whole);
	tcase_add_test(whose,
		       a_resume_that_breaks_the_protocol_costs_the_connection_and_not_the_session);
	tcase_add_test(whose,
		       agents_that_do_not_come_back_are_shown_as_detached_and_disturb_nobody);
	tcase_add_test(whose, an_agent_that_was_closed_is_no_session_any_more);
	tcase_add_test(whose,
		       agents_that_do_not_come_back_within_their_grace_are_closed_and_others_stay);
	tcase_add_test(whose, sockets_for_agents_that_are_opened_later_have_ids_of_their_own);
	tcase_add_test(whose, sessions_of_two_vms_with_the_same_id_are_told_apart_by_their_tokens);
	tcase_add_test(whose, every_welcome_says_how_to_go_on);
	return harness_run("resume", (TCase *const[]){ answers, begun, whose, NULL });
}
