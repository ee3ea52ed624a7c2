/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libkvmattr against a scripted daemon: updates that go well or fail one by one, alone and many at a
 * time.
 */
#include "tests/unit/libkvmattr-checks.h"
#include "tests/unit/scripted-daemon.h"

#include <kvmattr.h>

#include <check.h>
#include <poll.h>
#include <string.h>

static void check_one_update(struct scripted_daemon *d)
{
	struct wire_update_list list;
	struct wire_update update;
	const uint8_t *elements;
	size_t offset = sizeof(list);

	daemon_welcome(d, ANY_WINDOW);
	daemon_receive_updates(d, 1);
	MUST(!wire_get_update_list(d->message, d->header.size, &list));
	MUST(list.n_updates == 1);
	MUST(!wire_next_update(d->message, d->header.size, &offset, &update, &elements));
	MUST(update.kind == KVMATTR_PROTECT && update.form == WIRE_FORM_PAGES);
	MUST(update.layer == 1 && update.value == KVMATTR_RX);
	MUST(update.restricted == KVMATTR_ALL_LOWER && !update.mbec);
	MUST(update.n_elements == 4 && !memcmp(elements, gfns, 4 * sizeof(*gfns)));
	daemon_send_answer(d, 1, 77, NULL, 0);

	daemon_receive_updates(d, 2);
	daemon_send_answer(d, 2, 78,
			   &(struct wire_failure){ .seqno = 2,
						   .status = KVMATTR_OPERATION_DENIED,
						   .n_in_force = 3,
						   .text = "GFN 0x9 is locked" },
			   1);
	daemon_receive_goodbye(d);
}

START_TEST(one_update_goes_out_as_it_is_and_its_outcome_comes_back)
{
	struct scripted_daemon *d = daemon_start(check_one_update, 0);
	struct kvmattr *c = connect_to(d);
	struct kvmattr_update update = protect_pages(4);
	struct kvmattr_answer answer;

	ck_assert_int_eq(kvmattr_do_update(c, &update, &answer), KVMATTR_OK);
	ck_assert_uint_eq(answer.seqno, 1);
	ck_assert_uint_eq(answer.commit, 77);
	ck_assert_uint_eq(answer.n_in_force, 4);
	ck_assert_str_eq(answer.text, "");

	ck_assert_int_eq(kvmattr_do_update(c, &update, &answer), KVMATTR_OPERATION_DENIED);
	ck_assert_uint_eq(answer.seqno, 2);
	ck_assert_uint_eq(answer.n_in_force, 3);
	ck_assert_str_eq(answer.text, "GFN 0x9 is locked");
	ck_assert_str_eq(kvmattr_message(c), "GFN 0x9 is locked");
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void answer_a_thousand(struct scripted_daemon *d)
{
	const struct wire_failure some[] = {
		failure(501, KVMATTR_ACCESS_DENIED, 0, "first"),
		failure(502, KVMATTR_KERNEL_REFUSED, 1, ""),
		failure(999, KVMATTR_OPERATION_DENIED, 1, "last but one"),
	};

	daemon_welcome(d, ANY_WINDOW);
	daemon_receive_updates(d, 1000);
	daemon_send_answer(d, 1, 10, NULL, 0);
	daemon_send_answer(d, 500, 20, NULL, 0);
	daemon_send_answer(d, 1000, 30, some, 3);
	daemon_receive_goodbye(d);
}

START_TEST(an_answer_covers_all_updates_up_to_its_id_and_they_complete_in_order)
{
	struct scripted_daemon *d = daemon_start(answer_a_thousand, 0);
	struct kvmattr *c = connect_to(d);

	submit(c, 1000, 2);
	ck_assert_uint_eq(kvmattr_in_flight(c), 1000);
	ck_assert_int_eq(kvmattr_wait(c), 0);
	ck_assert_uint_eq(kvmattr_in_flight(c), 0);
	ck_assert_uint_eq(n_completions, 1000);
	for (size_t i = 0; i < 1000; i++) {
		const struct completion *done = &completions[i];
		int status = i == 500   ? KVMATTR_ACCESS_DENIED
			     : i == 501 ? KVMATTR_KERNEL_REFUSED
			     : i == 998 ? KVMATTR_OPERATION_DENIED
					: KVMATTR_OK;

		ck_assert_uint_eq(done->context, i + 1);
		ck_assert_uint_eq(done->seqno, i + 1);
		ck_assert_uint_eq(done->commit, i < 1 ? 10 : i < 500 ? 20 : 30);
		ck_assert_int_eq(done->status, status);
		ck_assert_uint_eq(done->n_in_force, i == 500 ? 0 : status ? 1 : 2);
		if (!status)
			ck_assert_str_eq(done->text, "");
	}
	ck_assert_str_eq(completions[500].text, "first");
	ck_assert_str_eq(completions[501].text, kvmattr_status_text(KVMATTR_KERNEL_REFUSED));
	ck_assert_str_eq(completions[998].text, "last but one");
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void count_the_window(struct scripted_daemon *d)
{
	daemon_welcome(d, 4);
	daemon_receive_updates(d, 4);
	daemon_receive_nothing(d); /* more than four may not be under way */
	daemon_send_answer(d, 1, 1, NULL, 0);
	daemon_receive_updates(d, 5);
	daemon_receive_nothing(d);
	daemon_send_answer(d, 5, 2, NULL, 0);
	daemon_receive_updates(d, 9);
	daemon_receive_nothing(d);
	daemon_send_answer(d, 9, 3, NULL, 0);
	daemon_receive_updates(d, 10);
	daemon_send_answer(d, 10, 4, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(no_more_updates_are_under_way_than_the_daemon_takes)
{
	struct scripted_daemon *d = daemon_start(count_the_window, 0);
	struct kvmattr *c = connect_to(d);

	submit(c, 10, 1);
	ck_assert_uint_le(kvmattr_in_flight(c), 4);
	ck_assert_int_eq(kvmattr_wait(c), 0);
	expect_completions(10, KVMATTR_OK);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void count_messages(struct scripted_daemon *d)
{
	daemon_welcome(d, ANY_WINDOW);
	/* 80 times 16 + 100 * 8 bytes and a head fit one message, not 81 times. */
	daemon_receive_updates(d, 80);
	MUST(d->n_update_messages == 1);
	daemon_receive_updates(d, 160);
	daemon_receive_updates(d, 200);
	MUST(d->n_update_messages == 3);
	daemon_send_answer(d, 200, 1, NULL, 0);
	daemon_receive_updates(d, 201);
	MUST(d->header.size == 24 + 16 + 8 * KVMATTR_MAX_PAGES);
	daemon_send_answer(d, 201, 2, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(updates_are_packed_into_messages_as_large_as_they_may_be)
{
	struct scripted_daemon *d = daemon_start(count_messages, 0);
	struct kvmattr *c = connect_to(d);

	submit(c, 200, 100);
	ck_assert_int_eq(kvmattr_wait(c), 0);
	submit(c, 1, KVMATTR_MAX_PAGES);
	ck_assert_int_eq(kvmattr_wait(c), 0);
	expect_completions(201, KVMATTR_OK);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

/* Does not read while it answers, as a daemon may whose peer does not read. */
static void answer_before_reading_on(struct scripted_daemon *d)
{
	daemon_welcome(d, 65536);
	daemon_receive_updates(d, 4000);
	for (uint64_t seqno = 1; seqno <= 4000; seqno++) {
		struct wire_failure f = failure(seqno, KVMATTR_ACCESS_DENIED, 0, "no");

		daemon_send_answer(d, seqno, 1, &f, 1);
	}
	daemon_receive_updates(d, 4100);
	daemon_send_answer(d, 4100, 2, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(sending_to_a_daemon_that_waits_for_us_to_read_does_not_deadlock)
{
	struct scripted_daemon *d = daemon_start(answer_before_reading_on, 0);
	struct kvmattr *c = connect_to(d);

	submit(c, 4000, 1);
	ck_assert_int_eq(kvmattr_flush(c), 0);
	submit(c, 100, KVMATTR_MAX_PAGES); /* thirty times what a socket holds */
	ck_assert_int_eq(kvmattr_wait(c), 0);
	ck_assert_uint_eq(n_completions, 4100);
	for (size_t i = 0; i < 4100; i++)
		ck_assert_int_eq(completions[i].status, i < 4000 ? KVMATTR_ACCESS_DENIED : 0);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void answer_before_explaining(struct scripted_daemon *d)
{
	struct wire_explained explained = { .gfn = 5, .allowed = 1 };

	daemon_welcome(d, ANY_WINDOW);
	daemon_receive_updates(d, 3);
	daemon_receive(d, WIRE_EXPLAIN);
	explained.header = wire_header_make(WIRE_EXPLAINED, sizeof(explained), d->header.id);
	daemon_send_answer(d, 2, 1, NULL, 0);
	daemon_send(d, &explained, sizeof(explained));
	daemon_receive_nothing(d);
	daemon_send_answer(d, 3, 2, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(a_question_sends_the_updates_before_it_and_delivers_what_is_answered_meanwhile)
{
	struct scripted_daemon *d = daemon_start(answer_before_explaining, 0);
	struct kvmattr *c = connect_to(d);
	struct kvmattr_explanation explanation;
	struct pollfd readable = { .fd = kvmattr_fd(c), .events = POLLIN };

	submit(c, 3, 1);
	ck_assert_int_eq(kvmattr_explain(c, 0, 5, KVMATTR_READ, &explanation), 0);
	ck_assert_int_eq(explanation.allowed, 1);
	expect_completions(2, KVMATTR_OK);
	/* Nothing is there yet: the daemon listens for a while before it answers the third. */
	ck_assert_int_eq(kvmattr_dispatch(c), 0);
	expect_completions(2, KVMATTR_OK);
	ck_assert_int_eq(poll(&readable, 1, -1), 1);
	ck_assert_int_eq(kvmattr_dispatch(c), 0);
	expect_completions(3, KVMATTR_OK);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void wait_for_goodbye(struct scripted_daemon *d)
{
	daemon_welcome(d, ANY_WINDOW);
	daemon_receive_updates(d, 2);
	daemon_receive_goodbye(d); /* and not the third update, which was not flushed */
}

START_TEST(closing_completes_what_is_under_way_as_not_known)
{
	struct scripted_daemon *d = daemon_start(wait_for_goodbye, 0);
	struct kvmattr *c = connect_to(d);

	submit(c, 2, 1);
	ck_assert_int_eq(kvmattr_flush(c), 0);
	submit(c, 1, 1);
	kvmattr_close(c);
	expect_completions(3, KVMATTR_NO_VM);
	ck_assert_ptr_nonnull(strstr(completions[0].text, "not known"));
	daemon_end(d);
}
END_TEST

static void answer_update_by_update(struct scripted_daemon *d)
{
	struct wire_failure f = failure(2, KVMATTR_OPERATION_DENIED, 10, "locked");

	daemon_welcome(d, ANY_WINDOW);
	daemon_receive_updates(d, 1);
	daemon_receive_nothing(d);
	daemon_send_answer(d, 1, 1, NULL, 0);
	daemon_receive_updates(d, 2);
	daemon_send_answer(d, 2, 2, &f, 1);
	daemon_receive_goodbye(d);
}

START_TEST(a_long_list_ends_with_the_first_of_its_updates_that_fails)
{
	static uint64_t many[2 * KVMATTR_MAX_PAGES + 5];
	struct scripted_daemon *d = daemon_start(answer_update_by_update, 0);
	struct kvmattr *c = connect_to(d);
	size_t n = 99;

	ck_assert_int_eq(kvmattr_protect(c, 1, KVMATTR_ALL_LOWER, KVMATTR_RX, many, 0, &n), 0);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(kvmattr_protect(c, 1, KVMATTR_ALL_LOWER, KVMATTR_RX, many,
					 2 * KVMATTR_MAX_PAGES + 5, &n),
			 KVMATTR_OPERATION_DENIED);
	ck_assert_uint_eq(n, KVMATTR_MAX_PAGES + 10);
	ck_assert_str_eq(kvmattr_message(c), "locked");
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void take_every_kind(struct scripted_daemon *d)
{
	static const struct wire_update expected[] = {
		{ .kind = KVMATTR_ENABLE_LAYER, .layer = 2, .value = KVMATTR_RWX, .mbec = 1 },
		{ .kind = KVMATTR_RESET_LAYER, .layer = 2 },
		{ .kind = KVMATTR_RESET_VM },
		{ .kind = KVMATTR_PROTECT, .form = 2, .layer = 3, .value = 1, .restricted = 6 },
		{ .kind = KVMATTR_SET_VISIBILITY, .form = 2, .value = 1 },
		{ .kind = KVMATTR_LOCK, .form = 2 },
		{ .kind = KVMATTR_UNLOCK, .form = 2 },
		{ .kind = KVMATTR_ADD_RAM, .form = 2, .value = 1 },
		{ .kind = KVMATTR_REMOVE_RAM, .form = 2 },
	};

	daemon_welcome(d, ANY_WINDOW);
	for (size_t i = 0; i < 9; i++) {
		struct wire_update update, want = expected[i];
		const uint8_t *elements;
		size_t offset = sizeof(struct wire_update_list);

		daemon_receive_updates(d, i + 1);
		MUST(!wire_next_update(d->message, d->header.size, &offset, &update, &elements));
		want.n_elements = want.form ? 2 : 0;
		MUST(!memcmp(&update, &want, sizeof(want)));
		if (want.form) {
			MUST(wire_range_at(elements, 1).gfn == 30);
			MUST(wire_range_at(elements, 1).n_pages == 4);
		}
		daemon_send_answer(d, i + 1, i, NULL, 0);
	}
	daemon_receive_goodbye(d);
}

START_TEST(every_kind_of_update_has_a_name_and_goes_out_as_that_kind)
{
	const struct kvmattr_range ranges[] = { { 10, 2 }, { 30, 4 } };
	struct scripted_daemon *d = daemon_start(take_every_kind, 0);
	struct kvmattr *c = connect_to(d);
	size_t n = 0;

	ck_assert_int_eq(kvmattr_enable_layer(c, 2, KVMATTR_RWX, 1), 0);
	ck_assert_int_eq(kvmattr_reset_layer(c, 2), 0);
	ck_assert_int_eq(kvmattr_reset_vm(c), 0);
	ck_assert_int_eq(kvmattr_protect_ranges(c, 3, 6, KVMATTR_R, ranges, 2, &n), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_int_eq(kvmattr_set_visibility(c, 5, ranges, 2, NULL), 0);
	ck_assert_int_eq(kvmattr_lock(c, ranges, 2, NULL), 0);
	ck_assert_int_eq(kvmattr_unlock(c, ranges, 2, NULL), 0);
	ck_assert_int_eq(kvmattr_add_ram(c, ranges, 2, 1, NULL), 0);
	ck_assert_int_eq(kvmattr_remove_ram(c, ranges, 2, &n), 0);
	ck_assert_uint_eq(n, 2);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

static void take_only_a_question(struct scripted_daemon *d)
{
	daemon_welcome(d, ANY_WINDOW);
	daemon_receive(d, WIRE_QUERY);
	daemon_send_notice(d, WIRE_ERROR, d->header.id, KVMATTR_NO_VM, false, "no such VM");
	daemon_receive_goodbye(d);
}

START_TEST(what_cannot_be_an_update_is_refused_and_not_sent)
{
	const struct kvmattr_range range = { 1, 1 };
	struct scripted_daemon *d = daemon_start(take_only_a_question, 0);
	struct kvmattr *c = connect_to(d);
	struct kvmattr_update wrong[] = { protect_pages(1), protect_pages(1),
					  protect_pages(0), protect_pages(KVMATTR_MAX_PAGES + 1),
					  protect_pages(1), protect_pages(1) };
	struct kvmattr_run run;
	uint64_t next;
	size_t n = 7;

	wrong[0].kind = KVMATTR_N_UPDATE_KINDS;
	wrong[1].ranges = &range;
	wrong[4].gfns = NULL;
	wrong[5].kind = (enum kvmattr_update_kind)0;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		ck_assert_int_eq(kvmattr_submit(c, &wrong[i], record, NULL, NULL),
				 KVMATTR_INVALID_PARAMETER);
		ck_assert_str_ne(kvmattr_message(c), "");
	}
	wrong[0] = protect_pages(1);
	ck_assert_int_eq(kvmattr_submit(c, wrong, NULL, NULL, NULL), KVMATTR_INVALID_PARAMETER);
	ck_assert_int_eq(kvmattr_protect(c, 256 + 1, 1, KVMATTR_R, gfns, 1, &n),
			 KVMATTR_INVALID_PARAMETER);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(kvmattr_protect(c, 1, 0x10001, KVMATTR_R, gfns, 1, &n),
			 KVMATTR_INVALID_PARAMETER);
	ck_assert_int_eq(kvmattr_protect(c, 1, 1, 0x101, gfns, 1, &n), KVMATTR_INVALID_PARAMETER);
	ck_assert_int_eq(kvmattr_enable_layer(c, 257, KVMATTR_R, 0), KVMATTR_INVALID_PARAMETER);
	ck_assert_int_eq(kvmattr_reset_layer(c, 257), KVMATTR_INVALID_PARAMETER);

	ck_assert_int_eq(kvmattr_query(c, 0, range, &run, 1, &n, &next), KVMATTR_NO_VM);
	ck_assert_uint_eq(n_completions, 0);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

int main(void)
{
	TCase *updates = checks_make_case("updates");

	tcase_add_test(updates, one_update_goes_out_as_it_is_and_its_outcome_comes_back);
	tcase_add_test(updates,
		       an_answer_covers_all_updates_up_to_its_id_and_they_complete_in_order);
	tcase_add_test(updates, no_more_updates_are_under_way_than_the_daemon_takes);
	tcase_add_test(updates, updates_are_packed_into_messages_as_large_as_they_may_be);
	tcase_add_test(updates, sending_to_a_daemon_that_waits_for_us_to_read_does_not_deadlock);
	tcase_add_test(
		updates,
		a_question_sends_the_updates_before_it_and_delivers_what_is_answered_meanwhile);
	tcase_add_test(updates, closing_completes_what_is_under_way_as_not_known);
	tcase_add_test(updates, a_long_list_ends_with_the_first_of_its_updates_that_fails);
	tcase_add_test(updates, every_kind_of_update_has_a_name_and_goes_out_as_that_kind);
	tcase_add_test(updates, what_cannot_be_an_update_is_refused_and_not_sent);
	return checks_run("libkvmattr-updates", (TCase *[]){ updates, NULL });
}
