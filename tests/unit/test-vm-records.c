/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the records of a VM's journal say is read as it was written, and what makes no sense is
 * refused by the name of its field.
 */
#include "daemon/allocate.h"
#include "daemon/journal/vm-records.h"
#include "tests/unit/seeded-suite.h"

#include <stdio.h>
#include <string.h>

/* ---- A record of each type, with all its parts ------------------------------------------------ */

struct registered_record {
	struct vm_record_registered head;
	struct wire_view views[2];
};
static const struct registered_record registered = {
	{ .name = "guest-1", .n_views = 2, .is_simulated = 1, .executor = WIRE_EXECUTOR_DAEMON },
	{ { .vtl = 0, .abi = KVMATTR_ABI_DENY, .supported = 15 },
	  { .vtl = 3, .abi = KVMATTR_ABI_MAINLINE, .supported = 8 } },
};

static const struct vm_record_session session = {
	.id = 7,
	.token = { 1, 2, 3 },
	.role = WIRE_ROLE_AGENT,
	.vtl = 1,
	.rights = WIRE_RIGHT_VISIBILITY,
	.pid = 1234,
	.uid = 1000,
	.peer = "agent",
};
static const struct vm_record_session_closed closed = { 7 };

/* A part of each form; the second was refused behind its elements, with a text. */
struct batch_record {
	struct vm_record_batch head;
	struct vm_record_part pages;
	uint64_t gfns[3];
	struct vm_record_part ranges;
	char text[16];
	struct kvmattr_range range[1];
	struct vm_record_part reset;
	struct vm_record_part refused;
	char reason[8];
};
static const struct batch_record batch = {
	{ .commit = 12, .n_parts = 4 },
	{ .session = 7,
	  .seqno = 3,
	  .first = 2,
	  .n_total = 9,
	  .n = 3,
	  .update = { .kind = KVMATTR_PROTECT,
		      .form = WIRE_FORM_PAGES,
		      .layer = 1,
		      .value = KVMATTR_R,
		      .restricted = KVMATTR_ALL_LOWER,
		      .n_elements = 3 } },
	{ 5, 6, 9 },
	{ .session = 8,
	  .seqno = 1,
	  .n_total = 2,
	  .n = 1,
	  .status = KVMATTR_OPERATION_DENIED,
	  .update = { .kind = KVMATTR_ADD_RAM, .form = WIRE_FORM_RANGES, .n_elements = 1 },
	  .text_size = 14 },
	"page is locked",
	{ { 100, 20 } },
	{ .session = 8, .seqno = 2, .n_total = 1, .n = 1, .update = { .kind = KVMATTR_RESET_VM } },
	{ .session = 8,
	  .seqno = 3,
	  .n_total = 1,
	  .status = KVMATTR_ACCESS_DENIED,
	  .update = { .kind = KVMATTR_RESET_LAYER, .layer = 1 },
	  .text_size = 8 },
	{ 'n', 'o', 't', ' ', 'y', 'o', 'u', '!' },
};

static const struct vm_record_in_force in_force = { 12, VM_RECORD_ALL_KNOWN, 0 };
static const struct vm_record_refused refused = {
	7, { .seqno = 4, .status = KVMATTR_EXECUTOR_STUCK, .n_in_force = 1, .text = "stuck" }
};
static const struct vm_record_released released = { KVMATTR_NO_VM, 0, "the owner is gone" };

static const struct record {
	enum vm_record_type type;
	const void *payload;
	size_t size;
} records[] = {
	{ VM_RECORD_REGISTERED, &registered, sizeof(registered) },
	{ VM_RECORD_SESSION, &session, sizeof(session) },
	{ VM_RECORD_SESSION_CLOSED, &closed, sizeof(closed) },
	{ VM_RECORD_BATCH, &batch, sizeof(batch) },
	{ VM_RECORD_IN_FORCE, &in_force, sizeof(in_force) },
	{ VM_RECORD_REFUSED, &refused, sizeof(refused) },
	{ VM_RECORD_RELEASED, &released, sizeof(released) },
};

/* On the heap and as long as it is, so that reading past it is seen. */
static uint8_t *copy(const void *payload, size_t size, size_t room)
{
	uint8_t *bytes = allocate_zeroed(1, room);

	if (room < size)
		size = room;
	memcpy(bytes, payload, size);
	return bytes;
}

static const struct record *record_of(enum vm_record_type type)
{
	const struct record *record = records;

	while (record->type != type)
		record++;
	return record;
}

/* Has to be within the record. */
static void expect_within(const void *part, size_t part_size, const void *data, size_t size)
{
	const uint8_t *bytes = data, *at = part;

	ck_assert(at >= bytes && at <= bytes + size && part_size <= size - (size_t)(at - bytes));
}

static const char *read_batch(const void *data, size_t size)
{
	struct vm_record_batch head;
	struct vm_record_part part;
	const uint8_t *elements;
	const char *bad = vm_record_get_batch(data, size, &head), *text;
	size_t offset = sizeof(head);

	for (uint32_t i = 0; !bad && i < head.n_parts; i++) {
		bad = vm_record_next_part(data, size, &offset, &part, &text, &elements);
		if (bad)
			return bad;
		expect_within(text, part.text_size, data, size);
		expect_within(elements,
			      part.update.n_elements * wire_element_size(part.update.form), data,
			      size);
		ck_assert_uint_le(offset, size);
	}
	return bad ? bad : offset == size ? NULL : "behind the last part";
}

static const char *read_registered(const void *data, size_t size)
{
	struct vm_record_registered head;
	struct wire_view view;
	const char *bad = vm_record_get_registered(data, size, &head);

	for (uint32_t i = 0; !bad && i < head.n_views; i++)
		bad = vm_record_at_view(data, i, &view);
	return bad;
}

/* All of a record: NULL, or the name of the field that is wrong. */
static const char *read_record(enum vm_record_type type, const void *data, size_t size)
{
	union {
		struct vm_record_session session;
		struct vm_record_session_closed closed;
		struct vm_record_in_force in_force;
		struct vm_record_refused refused;
		struct vm_record_released released;
	} got;

	switch (type) {
	case VM_RECORD_REGISTERED:
		return read_registered(data, size);
	case VM_RECORD_SESSION:
		return vm_record_get_session(data, size, &got.session);
	case VM_RECORD_SESSION_CLOSED:
		return vm_record_get_session_closed(data, size, &got.closed);
	case VM_RECORD_BATCH:
		return read_batch(data, size);
	case VM_RECORD_IN_FORCE:
		return vm_record_get_in_force(data, size, &got.in_force);
	case VM_RECORD_REFUSED:
		return vm_record_get_refused(data, size, &got.refused);
	case VM_RECORD_RELEASED:
		return vm_record_get_released(data, size, &got.released);
	default:
		ck_abort_msg("type %d is not read", type);
	}
}

START_TEST(a_well_formed_record_of_each_type_is_taken)
{
	for (size_t i = 0; i < N(records); i++) {
		uint8_t *bytes = copy(records[i].payload, records[i].size, records[i].size);
		const char *bad = read_record(records[i].type, bytes, records[i].size);

		ck_assert_msg(!bad, "%s: %s", vm_record_type_name(records[i].type), bad);
		free(bytes);
	}
}
END_TEST

START_TEST(a_record_of_any_other_size_is_refused)
{
	for (size_t i = 0; i < N(records); i++)
		for (size_t size = 0; size < records[i].size + 80; size++) {
			uint8_t *bytes = copy(records[i].payload, records[i].size, size);

			ck_assert_msg(size == records[i].size ||
					      read_record(records[i].type, bytes, size),
				      "%s of %zu bytes is taken",
				      vm_record_type_name(records[i].type), size);
			free(bytes);
		}
}
END_TEST

/* A part with a text in front of its elements, the last of its record. */
START_TEST(elements_that_do_not_fit_the_record_are_refused)
{
	const size_t whole = offsetof(struct batch_record, reset);

	for (size_t size = offsetof(struct batch_record, range); size <= whole; size++) {
		uint8_t *bytes = copy(&batch, size, size);
		size_t offset = offsetof(struct batch_record, ranges);
		struct vm_record_part part;
		const uint8_t *elements;
		const char *text, *bad;

		bad = vm_record_next_part(bytes, size, &offset, &part, &text, &elements);
		if (size < whole)
			ck_assert_str_eq(bad, "part.update.n_elements");
		else
			ck_assert_ptr_null(bad);
		free(bytes);
	}
}
END_TEST

/* ---- What is read ------------------------------------------------------------------------------- */

START_TEST(the_parts_of_a_batch_are_read_with_their_texts_and_elements)
{
	struct vm_record_part part;
	const uint8_t *elements;
	const char *text;
	size_t offset = sizeof(batch.head);

	ck_assert_ptr_null(
		vm_record_next_part(&batch, sizeof(batch), &offset, &part, &text, &elements));
	ck_assert_mem_eq(&part, &batch.pages, sizeof(part));
	ck_assert_uint_eq(offset, offsetof(struct batch_record, ranges));
	ck_assert_uint_eq(wire_page_at(elements, 2), 9);
	ck_assert_int_eq(vm_record_part_is_last(&part), 0);

	ck_assert_ptr_null(
		vm_record_next_part(&batch, sizeof(batch), &offset, &part, &text, &elements));
	ck_assert_mem_eq(&part, &batch.ranges, sizeof(part));
	ck_assert_mem_eq(text, "page is locked", part.text_size);
	ck_assert_uint_eq(wire_range_at(elements, 0).n_pages, 20);
	ck_assert_int_eq(vm_record_part_is_last(&part), 1);

	ck_assert_ptr_null(
		vm_record_next_part(&batch, sizeof(batch), &offset, &part, &text, &elements));
	ck_assert_mem_eq(&part, &batch.reset, sizeof(part));
	ck_assert_int_eq(vm_record_part_is_last(&part), 1);

	ck_assert_ptr_null(
		vm_record_next_part(&batch, sizeof(batch), &offset, &part, &text, &elements));
	ck_assert_mem_eq(&part, &batch.refused, sizeof(part));
	ck_assert_mem_eq(text, "not you!", part.text_size);
	ck_assert_int_eq(vm_record_part_is_last(&part), 1);
	ck_assert_uint_eq(offset, sizeof(batch));
}
END_TEST

START_TEST(a_part_with_the_last_element_or_a_refused_one_is_its_updates_last)
{
	struct vm_record_part part = { .first = 2, .n = 3, .n_total = 6 };

	ck_assert_int_eq(vm_record_part_is_last(&part), 0);
	part.status = KVMATTR_UNSUPPORTED;
	ck_assert_int_eq(vm_record_part_is_last(&part), 1);
	part.status = 0;
	part.n_total = 5;
	ck_assert_int_eq(vm_record_part_is_last(&part), 1);
}
END_TEST

START_TEST(each_type_has_a_name_and_no_other_number_has)
{
	static const char *const names[] = {
		"REGISTERED", "SESSION",  "SESSION_CLOSED", "READY",
		"BATCH",      "IN_FORCE", "REFUSED",        "RELEASED"
	};

	for (unsigned int i = 0; i < N(names); i++)
		ck_assert_str_eq(vm_record_type_name(i + 1), names[i]);
	ck_assert_ptr_null(vm_record_type_name(0));
	ck_assert_ptr_null(vm_record_type_name(N(names) + 1));
	ck_assert_ptr_null(vm_record_type_name(UINT32_MAX));
}
END_TEST

/* ---- A field that makes no sense ---------------------------------------------------------------- */

/* So many bytes at an offset of a record become value; then it is refused by that name. */
static const struct wrong {
	enum vm_record_type type;
	size_t offset;
	size_t size;
	uint64_t value;
	const char *field;
} wrongs[] = {
#define FIELD(type, structure, field, value, name)                                        \
	{                                                                                 \
		VM_RECORD_##type, offsetof(struct structure, field),                      \
			sizeof(((struct structure *)0)->field), (uint64_t)(value), (name) \
	}
#define REGISTERED(field, value, name) FIELD(REGISTERED, registered_record, field, value, name)
#define SESSION(field, value, name)    FIELD(SESSION, vm_record_session, field, value, name)
#define BATCH(field, value, name)      FIELD(BATCH, batch_record, field, value, name)
	REGISTERED(head.name[0], 0, "name"),
	REGISTERED(head.name[0], '-', "name"),
	REGISTERED(head.name[1], '/', "name"),
	REGISTERED(head.name[1], 0x1b, "name"),
	REGISTERED(head.n_views, 0, "n_views"),
	REGISTERED(head.n_views, 1, "size"),
	REGISTERED(head.n_views, 3, "size"),
	REGISTERED(head.n_views, KVMATTR_N_VTLS + 1, "n_views"),
	REGISTERED(head.n_views, UINT32_MAX, "n_views"),
	REGISTERED(head.is_simulated, 2, "is_simulated"),
	REGISTERED(head.executor, 0, "executor"),
	REGISTERED(head.executor, 3, "executor"),
	REGISTERED(head.reserved, 1, "reserved"),
	REGISTERED(views[1].vtl, KVMATTR_N_VTLS, "view.vtl"),
	REGISTERED(views[0].abi, KVMATTR_ABI_PROBE, "view.abi"),
	REGISTERED(views[1].abi, KVMATTR_N_ABIS, "view.abi"),
	REGISTERED(views[0].has_stats, 1, "view.has_stats"),
	REGISTERED(views[0].reserved, 1, "view.reserved"),
	REGISTERED(views[1].reserved2, 1, "view.reserved"),
	SESSION(id, 0, "id"),
	SESSION(role, WIRE_ROLE_NONE, "role"),
	SESSION(role, WIRE_ROLE_AGENT + 1, "role"),
	SESSION(role, WIRE_ROLE_OWNER, "vtl"), /* has none */
	SESSION(vtl, KVMATTR_N_VTLS, "vtl"),
	SESSION(reserved, 1, "reserved"),
	SESSION(rights, 2, "rights"),
	SESSION(pid, -1, "pid"),
	SESSION(peer[0], '\n', "peer"),
	SESSION(peer[2], 0x80, "peer"),
	FIELD(SESSION_CLOSED, vm_record_session_closed, id, 0, "id"),
	BATCH(head.commit, 0, "commit"),
	BATCH(head.n_parts, 0, "n_parts"),
	BATCH(head.n_parts, 3, "behind the last part"),
	BATCH(head.n_parts, 5, "n_parts"),
	BATCH(head.n_parts, UINT32_MAX, "n_parts"),
	BATCH(head.reserved, 1, "reserved"),
	BATCH(pages.first, 7, "part.n"),
	BATCH(pages.first, 9, "part.first"),
	BATCH(pages.first, UINT32_MAX, "part.first"),
	BATCH(pages.n_total, 4, "part.n"),
	BATCH(pages.n_total, 2, "part.first"),
	BATCH(pages.n_total, 0, "part.n_total"),
	BATCH(pages.n, 2, "part.update.n_elements"),
	BATCH(pages.n, 4, "part.update.n_elements"),
	BATCH(pages.status, KVMATTR_N_STATUSES, "part.status"),
	BATCH(pages.text_size, 1, "part.text_size"), /* nothing was refused */
	BATCH(pages.flags, 1, "part.flags"),         /* of a session */
	BATCH(pages.flags, 2, "part.flags"),
	BATCH(pages.update.kind, 0, "part.update.kind"),
	BATCH(pages.update.kind, KVMATTR_N_UPDATE_KINDS, "part.update.kind"),
	BATCH(pages.update.form, WIRE_FORM_RANGES + 1, "part.update.form"),
	BATCH(pages.update.form, WIRE_FORM_NONE, "part.update.n_elements"),
	BATCH(pages.update.mbec, 2, "part.update.mbec"),
	BATCH(pages.update.reserved, 1, "part.update.reserved"),
	BATCH(pages.update.reserved2, 1, "part.update.reserved"),
	BATCH(pages.update.n_elements, 4, "part.update.n_elements"),
	BATCH(pages.update.n_elements, 0, "part.update.n_elements"),
	BATCH(ranges.n_total, 1, "part.status"), /* behind its last element there is none */
	BATCH(ranges.text_size, 13, "part.text"),
	BATCH(ranges.text_size, 15, "part.text"),
	BATCH(ranges.text_size, WIRE_TEXT_SIZE, "part.text_size"),
	BATCH(ranges.text_size, UINT32_MAX, "part.text_size"),
	BATCH(text[3], 0, "part.text"),
	BATCH(text[15], 1, "part.text"),
	BATCH(reset.n_total, 2, "part.n_total"),
	BATCH(reset.n, 0, "part.n"),
	BATCH(reset.n, 2, "part.n"),
	BATCH(reset.status, KVMATTR_UNSUPPORTED, "part.status"),
	BATCH(reset.first, 1, "part.first"),
	BATCH(reset.update.n_elements, 1, "part.update.n_elements"),
	BATCH(refused.n, 1, "part.status"),
	BATCH(refused.status, 0, "part.n"),
	BATCH(refused.text_size, 9, "part.text_size"), /* ends behind the record */
	BATCH(refused.text_size, 0, "behind the last part"),
	FIELD(IN_FORCE, vm_record_in_force, commit, 0, "commit"),
	FIELD(IN_FORCE, vm_record_in_force, flags, 2, "flags"),
	FIELD(IN_FORCE, vm_record_in_force, reserved, 1, "reserved"),
	FIELD(REFUSED, vm_record_refused, failure.status, 0, "failure.status"),
	FIELD(REFUSED, vm_record_refused, failure.status, KVMATTR_N_STATUSES, "failure.status"),
	FIELD(RELEASED, vm_record_released, status, 0, "status"),
	FIELD(RELEASED, vm_record_released, status, UINT32_MAX, "status"),
};

START_TEST(a_field_that_makes_no_sense_is_named)
{
	const struct wrong *wrong = &wrongs[_i];
	const struct record *record = record_of(wrong->type);
	uint8_t *bytes = copy(record->payload, record->size, record->size);
	const char *bad;

	memcpy(bytes + wrong->offset, &wrong->value, wrong->size);
	bad = read_record(wrong->type, bytes, record->size);
	ck_assert_msg(bad && !strcmp(bad, wrong->field),
		      "%s, bytes at %zu 0x%llx: %s instead of %s", vm_record_type_name(wrong->type),
		      wrong->offset, (unsigned long long)wrong->value, bad ? bad : "taken",
		      wrong->field);
	free(bytes);
}
END_TEST

START_TEST(a_text_without_an_end_is_refused)
{
	static const struct {
		enum vm_record_type type;
		size_t offset, size;
		const char *field;
	} texts[] = {
		{ VM_RECORD_REGISTERED, offsetof(struct vm_record_registered, name), 64, "name" },
		{ VM_RECORD_SESSION, offsetof(struct vm_record_session, peer), 40, "peer" },
		{ VM_RECORD_REFUSED, offsetof(struct vm_record_refused, failure.text), 112,
		  "failure.text" },
		{ VM_RECORD_RELEASED, offsetof(struct vm_record_released, text), 256, "text" },
	};

	for (size_t i = 0; i < N(texts); i++) {
		const struct record *record = record_of(texts[i].type);
		uint8_t *bytes = copy(record->payload, record->size, record->size);

		memset(bytes + texts[i].offset, 'a', texts[i].size);
		ck_assert_str_eq(read_record(texts[i].type, bytes, record->size), texts[i].field);
		bytes[texts[i].offset + texts[i].size - 1] = 0;
		ck_assert_ptr_null(read_record(texts[i].type, bytes, record->size));
		free(bytes);
	}
}
END_TEST

/* The sanitizers and valgrind see to it that nothing beside it is read. */
START_TEST(whatever_a_record_holds_it_is_taken_or_refused)
{
	uint64_t random = seeded_suite_random(_i);
	unsigned int n_taken = 0, n_refused = 0;

	for (int round = 0; round < 20000; round++) {
		const struct record *record = &records[random_below(&random, N(records))];
		size_t size = random_one_in(&random, 4) ? random_below(&random, record->size + 60)
							: record->size;
		uint8_t *bytes = copy(record->payload, record->size, size);

		for (uint64_t n = random_below(&random, 4); n-- && size;)
			bytes[random_below(&random, size)] =
				(uint8_t)(random_one_in(&random, 2) ? random_below(&random, 256)
								    : random_below(&random, 4));
		if (read_record(record->type, bytes, size))
			n_refused++;
		else
			n_taken++;
		free(bytes);
	}
	ck_assert_uint_gt(n_taken, 0);
	ck_assert_uint_gt(n_refused, 0);
}
END_TEST

int main(void)
{
	TCase *reading = tcase_create("reading");
	TCase *refusing = tcase_create("refusing");
	TCase *const cases[] = { reading, refusing, NULL };

	tcase_add_test(reading, a_well_formed_record_of_each_type_is_taken);
	tcase_add_test(reading, the_parts_of_a_batch_are_read_with_their_texts_and_elements);
	tcase_add_test(reading, a_part_with_the_last_element_or_a_refused_one_is_its_updates_last);
	tcase_add_test(reading, each_type_has_a_name_and_no_other_number_has);
	tcase_add_test(refusing, a_record_of_any_other_size_is_refused);
	tcase_add_loop_test(refusing, a_field_that_makes_no_sense_is_named, 0, N(wrongs));
	tcase_add_test(refusing, elements_that_do_not_fit_the_record_are_refused);
	tcase_add_test(refusing, a_text_without_an_end_is_refused);
	tcase_add_loop_test(refusing, whatever_a_record_holds_it_is_taken_or_refused, 0, 4);
	return seeded_suite_run("vm-records", cases);
}
