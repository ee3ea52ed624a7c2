/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The outbox: what was put in comes out in whole messages, in order, as often as it has to.
 */
#include "client/outbox.h"
#include "tests/unit/seeded-suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ELEMENTS 8184

/* The number of elements, and the first of them, say which update it is. */
static uint32_t n_elements(uint64_t seqno)
{
	return seqno % 13 == 0 ? MAX_ELEMENTS : (uint32_t)(seqno * 7919 % 700);
}

static size_t size_of(uint64_t seqno)
{
	return sizeof(struct wire_update) + n_elements(seqno) * sizeof(uint64_t);
}

static void put(struct outbox *o, uint64_t seqno)
{
	static uint64_t pages[MAX_ELEMENTS];
	struct wire_update update = { .kind = KVMATTR_PROTECT,
				      .form = n_elements(seqno) ? WIRE_FORM_PAGES : WIRE_FORM_NONE,
				      .layer = (uint8_t)(seqno & 0xf),
				      .n_elements = n_elements(seqno) };

	if (!outbox_has_room(o, size_of(seqno)))
		outbox_seal(o);
	for (uint32_t i = 0; i < update.n_elements; i++)
		pages[i] = seqno << 20 | i;
	EXPECT(!outbox_add(o, &update, pages, update.n_elements * sizeof(*pages)), "no memory");
}

/* Looks at the next message: it begins with that seqno; its last one is returned, or 0. */
static uint64_t look(const struct outbox *o, uint64_t first)
{
	static uint8_t message[WIRE_MAX_MESSAGE];
	struct wire_update_list head, list;
	struct iovec parts[2];
	size_t n_parts = outbox_next(o, &head, parts), size = 0, offset = sizeof(head);

	if (!n_parts)
		return 0;
	for (size_t i = 0; i < n_parts; i++) {
		ck_assert_uint_le(size + parts[i].iov_len, sizeof(message));
		memcpy(message + size, parts[i].iov_base, parts[i].iov_len);
		size += parts[i].iov_len;
	}
	ck_assert_ptr_null(wire_get_header(message, size, &list.header));
	ck_assert_ptr_null(wire_get_update_list(message, size, &list));
	ck_assert_uint_eq(list.header.id, first);
	ck_assert_uint_gt(list.n_updates, 0);
	for (uint32_t i = 0; i < list.n_updates; i++) {
		uint64_t seqno = first + i;
		struct wire_update update;
		const uint8_t *elements;
		const char *bad =
			wire_next_update(message, list.header.size, &offset, &update, &elements);

		EXPECT(!bad, "update %lu: %s is wrong", seqno, bad);
		EXPECT(update.n_elements == n_elements(seqno) && update.layer == (seqno & 0xf),
		       "this is not update %lu", seqno);
		for (uint32_t j = 0; j < update.n_elements; j++)
			EXPECT(wire_page_at(elements, j) == (seqno << 20 | j),
			       "element %u of update %lu is another one", j, seqno);
	}
	ck_assert_uint_eq(offset, list.header.size);
	return first + list.n_updates - 1;
}

START_TEST(a_message_is_as_full_as_it_can_be)
{
	struct wire_update update = { .kind = KVMATTR_PROTECT,
				      .form = WIRE_FORM_PAGES,
				      .n_elements = 100 };
	static const uint64_t pages[100];
	struct outbox o;

	ck_assert_int_eq(outbox_open(&o), 0);
	for (int i = 0; i < 80; i++) {
		ck_assert(outbox_has_room(&o, sizeof(update) + sizeof(pages)));
		ck_assert_int_eq(outbox_add(&o, &update, pages, sizeof(pages)), 0);
	}
	ck_assert(!outbox_has_room(&o, sizeof(update) + sizeof(pages)));
	outbox_close(&o);
}
END_TEST

START_TEST(it_is_full_before_it_takes_all_memory)
{
	struct outbox o;
	uint64_t seqno = 0;

	ck_assert_int_eq(outbox_open(&o), 0);
	while (!outbox_is_full(&o)) {
		put(&o, ++seqno);
		ck_assert_uint_lt(seqno, 100000);
	}
	ck_assert_uint_le(seqno * 350 * sizeof(uint64_t), 64u << 20);
	outbox_seal(&o);
	while (look(&o, o.handed + 1))
		outbox_hand_over(&o);
	ck_assert_uint_eq(o.handed, seqno);
	outbox_release(&o, seqno);
	ck_assert(!outbox_is_full(&o));
	ck_assert_uint_eq(o.n_chunks, 1);
	outbox_close(&o);
}
END_TEST

START_TEST(one_message_at_a_time_stays_where_it_is)
{
	struct outbox o;
	struct wire_update_list head;
	struct iovec parts[2];
	const void *first = NULL;

	ck_assert_int_eq(outbox_open(&o), 0);
	for (uint64_t seqno = 1; seqno <= 1000; seqno++) {
		put(&o, seqno);
		outbox_seal(&o);
		ck_assert_uint_eq(outbox_next(&o, &head, parts), 1);
		first = first ? first : parts[0].iov_base;
		ck_assert_ptr_eq(parts[0].iov_base, first);
		ck_assert_uint_eq(look(&o, seqno), seqno);
		outbox_hand_over(&o);
		ck_assert_uint_eq(outbox_next(&o, &head, parts), 0);
		outbox_release(&o, seqno);
	}
	outbox_close(&o);
}
END_TEST

/* All that a connection can do to it, in any order; answered <= settled <= handed. */
START_TEST(what_was_put_in_comes_out_until_it_is_answered)
{
	uint64_t random = seeded_suite_random(_i);
	uint64_t submitted = 0, handed = 0, answered = 0;
	struct outbox o;

	ck_assert_int_eq(outbox_open(&o), 0);
	for (int step = 0; step < 3000; step++) {
		uint64_t what = random_below(&random, 100);

		if (what < 50 && !outbox_is_full(&o)) {
			put(&o, ++submitted);
		} else if (what < 60) {
			outbox_seal(&o);
		} else if (what < 80) {
			uint64_t last = look(&o, handed + 1);

			if (last) {
				outbox_hand_over(&o);
				handed = last;
			} else {
				ck_assert_uint_eq(handed, o.sealed);
			}
		} else if (what < 95) {
			answered += random_below(&random, handed - answered + 1);
			outbox_release(&o, answered);
		} else {
			handed = answered + random_below(&random, handed - answered + 1);
			outbox_rewind(&o, handed);
		}
		ck_assert_uint_eq(o.handed, handed);
		ck_assert_uint_le(o.sealed, submitted);
	}
	outbox_seal(&o);
	while (handed < submitted) {
		handed = look(&o, handed + 1);
		ck_assert_uint_gt(handed, 0);
		outbox_hand_over(&o);
	}
	outbox_release(&o, submitted);
	ck_assert_uint_eq(o.n_chunks, 1);
	outbox_close(&o);
}
END_TEST

int main(void)
{
	TCase *all = tcase_create("outbox");

	tcase_add_test(all, a_message_is_as_full_as_it_can_be);
	tcase_add_test(all, it_is_full_before_it_takes_all_memory);
	tcase_add_test(all, one_message_at_a_time_stays_where_it_is);
	tcase_add_loop_test(all, what_was_put_in_comes_out_until_it_is_answered, 0, 20);
	return seeded_suite_run("outbox", (TCase *[]){ all, NULL });
}
