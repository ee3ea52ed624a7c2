/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every message of the protocol: well-formed it is taken, with a byte less or more it is refused,
 * and no bytes whatever do harm.
 */
#include "tests/unit/seeded-suite.h"
#include "tests/unit/wire-messages.h"

#include <stdlib.h>
#include <string.h>

START_TEST(a_well_formed_message_is_taken)
{
	struct bytes whole = message_make((size_t)_i, messages[_i].size);
	const char *bad = message_read(messages[_i].type, whole.data, whole.size);

	ck_assert_msg(!bad, "%s: %s is wrong", messages[_i].name, bad);
	free(whole.data);
}
END_TEST

START_TEST(a_message_cut_anywhere_is_refused)
{
	for (size_t size = 0; size < messages[_i].size; size++) {
		struct bytes cut = message_make((size_t)_i, size);

		ck_assert_msg(message_read(messages[_i].type, cut.data, cut.size),
			      "%s of %zu bytes instead of %zu was taken", messages[_i].name, size,
			      messages[_i].size);
		free(cut.data);
	}
}
END_TEST

START_TEST(a_message_with_bytes_behind_it_is_refused)
{
	for (size_t more = 1; more < 300; more++) {
		struct bytes extended = message_make((size_t)_i, messages[_i].size + more);

		if (messages[_i].type != WIRE_AGENT_OPENED)
			ck_assert_msg(message_read(messages[_i].type, extended.data, extended.size),
				      "%s with %zu more bytes was taken", messages[_i].name, more);
		free(extended.data);
	}
}
END_TEST

START_TEST(a_header_that_lies_about_the_size_is_refused)
{
	struct bytes whole = message_make((size_t)_i, messages[_i].size);
	static const uint32_t wrong[] = { 0, 1, 15, 16, WIRE_MAX_MESSAGE, UINT32_MAX };
	struct wire_header header, ignored;

	for (size_t w = 0; w < N(wrong); w++) {
		memcpy(&header, whole.data, sizeof(header));
		header.size = wrong[w];
		memcpy(whole.data, &header, sizeof(header));
		if (wrong[w] != whole.size)
			ck_assert_str_eq(wire_get_header(whole.data, whole.size, &ignored),
					 "header.size");
	}
	free(whole.data);
}
END_TEST

/* ---- Limits ---------------------------------------------------------------------------------------- */

START_TEST(a_message_may_be_as_large_as_its_parts_at_their_limits)
{
	struct bytes large = bytes_zero(WIRE_MAX_MESSAGE);
	struct wire_calls most = { .n_calls = WIRE_MAX_CALLS };
	struct wire_register m = { .name = "a", .n_views = KVMATTR_N_VTLS, .n_ram = WIRE_MAX_RAM };
	struct wire_update_list list = { .n_updates = 1 };
	struct wire_update update = { .kind = KVMATTR_PROTECT, .form = WIRE_FORM_PAGES };
	size_t size;

	size = sizeof(most) + WIRE_MAX_CALLS * sizeof(struct wire_call);
	most.header = wire_header_make(WIRE_CALLS, size, 1);
	memcpy(large.data, &most, sizeof(most));
	for (size_t i = 0; i < WIRE_MAX_CALLS; i++)
		memcpy(large.data + sizeof(most) + i * sizeof(struct wire_call), &calls.calls[0],
		       sizeof(struct wire_call));
	ck_assert_ptr_null(message_read(WIRE_CALLS, large.data, size));

	memset(large.data, 0, large.size);
	size = sizeof(m) + m.n_views * sizeof(struct wire_view) + m.n_ram * sizeof(struct wire_ram);
	ck_assert_uint_le(size, WIRE_MAX_MESSAGE);
	m.header = wire_header_make(WIRE_REGISTER, size, 1);
	memcpy(large.data, &m, sizeof(m));
	ck_assert_ptr_null(message_read(WIRE_REGISTER, large.data, size));

	size = sizeof(list) + sizeof(update);
	update.n_elements = (uint32_t)((WIRE_MAX_MESSAGE - size) / sizeof(uint64_t));
	size += update.n_elements * sizeof(uint64_t);
	list.header = wire_header_make(WIRE_UPDATE, size, 1);
	memcpy(large.data, &list, sizeof(list));
	memcpy(large.data + sizeof(list), &update, sizeof(update));
	ck_assert_ptr_null(message_read(WIRE_UPDATE, large.data, size));
	free(large.data);
}
END_TEST

START_TEST(elements_are_read_as_they_were_written)
{
	const uint8_t *pages = (const uint8_t *)updates.gfns;
	const uint8_t *ranges = (const uint8_t *)updates.range;
	uint8_t unaligned[1 + sizeof(updates.range)];

	ck_assert_uint_eq(wire_page_at(pages, 0), 5);
	ck_assert_uint_eq(wire_page_at(pages, 2), UINT64_MAX);
	ck_assert_uint_eq(wire_range_at(ranges, 0).n_pages, 6);
	ck_assert_uint_eq(wire_range_at(ranges, 1).gfn, UINT64_MAX);
	memcpy(unaligned + 1, ranges, sizeof(updates.range));
	ck_assert_uint_eq(wire_range_at(unaligned + 1, 0).gfn, 5);
	ck_assert_uint_eq(wire_element_size(WIRE_FORM_NONE), 0);
	ck_assert_uint_eq(wire_element_size(WIRE_FORM_PAGES), 8);
	ck_assert_uint_eq(wire_element_size(WIRE_FORM_RANGES), 16);
	ck_assert_uint_eq(wire_element_size(3), 0);
}
END_TEST

/* ---- Anything at all ------------------------------------------------------------------------------- */

/* The sanitizers and valgrind see a byte read that is not there. */
START_TEST(random_bytes_do_no_harm)
{
	uint64_t random = seeded_suite_random(_i);

	for (unsigned int round = 0; round < 3000; round++) {
		size_t size = random_below(&random, random_one_in(&random, 10) ? 3000 : 200);
		struct bytes any = bytes_zero(size);

		for (size_t i = 0; i < size; i++)
			any.data[i] =
				random_one_in(&random, 3) ? 0 : (uint8_t)random_below(&random, 256);
		if (size >= sizeof(struct wire_header)) {
			struct wire_header header =
				wire_header_make(messages[_i].type, size, random);

			memcpy(any.data, &header, sizeof(header));
		}
		(void)message_read(messages[_i].type, any.data, any.size);
		free(any.data);
	}
}
END_TEST

START_TEST(a_message_with_some_bytes_changed_does_no_harm)
{
	uint64_t random = seeded_suite_random(100 + _i);

	for (unsigned int round = 0; round < 3000; round++) {
		struct bytes whole = message_make((size_t)_i, messages[_i].size);

		for (uint64_t n = 1 + random_below(&random, 4); n; n--)
			whole.data[random_below(&random, whole.size)] =
				random_one_in(&random, 2) ? 0xff
							  : (uint8_t)random_below(&random, 256);
		(void)message_read(messages[_i].type, whole.data, whole.size);
		free(whole.data);
	}
}
END_TEST

int main(void)
{
	TCase *whole = tcase_create("whole");
	TCase *limits = tcase_create("limits");
	TCase *anything = tcase_create("anything");

	tcase_add_loop_test(whole, a_well_formed_message_is_taken, 0, N_MESSAGES);
	tcase_add_loop_test(whole, a_message_cut_anywhere_is_refused, 0, N_MESSAGES);
	tcase_add_loop_test(whole, a_message_with_bytes_behind_it_is_refused, 0, N_MESSAGES);
	tcase_add_loop_test(whole, a_header_that_lies_about_the_size_is_refused, 0, N_MESSAGES);
	tcase_add_test(limits, a_message_may_be_as_large_as_its_parts_at_their_limits);
	tcase_add_test(limits, elements_are_read_as_they_were_written);
	tcase_add_loop_test(anything, random_bytes_do_no_harm, 0, N_MESSAGES);
	tcase_add_loop_test(anything, a_message_with_some_bytes_changed_does_no_harm, 0,
			    N_MESSAGES);
	return seeded_suite_run("wire", (TCase *[]){ whole, limits, anything, NULL });
}
