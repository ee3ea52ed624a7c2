/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/replay-checks.h"

#include "daemon/allocate.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#define FIRST_OFFSET 64
#define SPACING      1000 /* from record to record, whatever they hold */

struct replay replay;
struct journal_error replay_error;

void replay_start(void)
{
	replay_destroy(&replay);
	replay_init(&replay);
	replay_error = (struct journal_error){ 0 };
}

void replay_stop(void)
{
	replay_destroy(&replay);
}

static uint64_t offset_of(uint64_t number)
{
	return FIRST_OFFSET + SPACING * number;
}

int take_record_numbered(uint64_t number, unsigned int type, const void *payload, size_t size)
{
	/* On the heap and as long as it is, so that reading past it is seen. */
	uint8_t *bytes = size ? memcpy(allocate(size), payload, size) : allocate(1);
	const struct journal_record record = {
		.header = { .number = number,
			    .time_us = 100 * number,
			    .size = (uint32_t)size,
			    .type = (uint16_t)type },
		.payload = bytes,
		.file = "0000000000000001.journal",
		.offset = offset_of(number),
	};
	int r = replay_take(&replay, &record, &replay_error);

	free(bytes);
	return r;
}

int take_record(unsigned int type, const void *payload, size_t size)
{
	return take_record_numbered(replay.number + 1, type, payload, size);
}

int take_registered(const struct wire_view *views, uint32_t n_views)
{
	struct {
		struct vm_record_registered head;
		struct wire_view views[KVMATTR_N_VTLS];
	} record = { .head = {
			     .name = "guest", .n_views = n_views, .executor = WIRE_EXECUTOR_VMM } };

	memcpy(record.views, views, n_views * sizeof(*views));
	return take_record(VM_RECORD_REGISTERED, &record,
			   sizeof(record.head) + n_views * sizeof(*views));
}

int take_session(uint64_t id, enum wire_role role, uint8_t vtl, uint32_t rights)
{
	const struct vm_record_session session = {
		.id = id, .role = (uint8_t)role, .vtl = vtl, .rights = rights
	};

	return take_record(VM_RECORD_SESSION, &session, sizeof(session));
}

int take_closed(uint64_t id)
{
	const struct vm_record_session_closed closed = { id };

	return take_record(VM_RECORD_SESSION_CLOSED, &closed, sizeof(closed));
}

int take_in_force(uint64_t commit, uint32_t flags)
{
	const struct vm_record_in_force in_force = { commit, flags, 0 };

	return take_record(VM_RECORD_IN_FORCE, &in_force, sizeof(in_force));
}

int take_refused(uint64_t session, uint64_t seqno, uint32_t n_in_force)
{
	const struct vm_record_refused refused = {
		session, { seqno, KVMATTR_KERNEL_REFUSED, n_in_force, "KVM refused it" }
	};

	return take_record(VM_RECORD_REFUSED, &refused, sizeof(refused));
}

int take_released(void)
{
	const struct vm_record_released released = { KVMATTR_NO_VM, 0, "the owner is gone" };

	return take_record(VM_RECORD_RELEASED, &released, sizeof(released));
}

int take_ready(void)
{
	return take_record(VM_RECORD_READY, NULL, 0);
}

struct batch_builder batch;

void batch_begin(uint64_t commit)
{
	batch.head = (struct vm_record_batch){ .commit = commit };
	batch.size = sizeof(batch.head);
}

void batch_add(const void *bytes, size_t size)
{
	ck_assert_uint_le(size, sizeof(batch.bytes) - batch.size);
	if (size)
		memcpy(batch.bytes + batch.size, bytes, size);
	batch.size += size;
}

void batch_add_part(struct vm_record_part part, const void *elements)
{
	batch.head.n_parts++;
	batch_add(&part, sizeof(part));
	batch_add(elements, part.update.n_elements * wire_element_size(part.update.form));
}

void batch_add_pages(uint64_t session, uint64_t seqno, uint32_t first, uint32_t n, uint32_t n_total)
{
	uint64_t gfns[32];
	const struct vm_record_part part = {
		.session = session,
		.seqno = seqno,
		.first = first,
		.n = n,
		.n_total = n_total,
		.update = { .kind = KVMATTR_PROTECT,
			    .form = WIRE_FORM_PAGES,
			    .layer = 1,
			    .value = KVMATTR_R,
			    .restricted = KVMATTR_ALL_LOWER,
			    .n_elements = n },
	};

	for (uint32_t i = 0; i < n; i++)
		gfns[i] = 10 + first + i;
	batch_add_part(part, gfns);
}

int take_batch(void)
{
	memcpy(batch.bytes, &batch.head, sizeof(batch.head));
	return take_record(VM_RECORD_BATCH, batch.bytes, batch.size);
}

int take_pages(uint64_t session, uint64_t seqno, uint32_t first, uint32_t n, uint32_t n_total)
{
	int r;

	batch_begin(replay.commit + 1);
	batch_add_pages(session, seqno, first, n, n_total);
	r = take_batch();
	return r < 0 ? r : take_in_force(batch.head.commit, VM_RECORD_ALL_KNOWN);
}

const struct wire_view deny_view = { .abi = KVMATTR_ABI_DENY, .supported = 15 };

void replay_start_vm(void)
{
	const struct kvmattr_range ram = { 0, 1000 };

	replay_start();
	ck_assert_int_eq(take_registered(&deny_view, 1), 0);
	ck_assert_int_eq(take_session(OWNER, WIRE_ROLE_OWNER, 0, 0), 0);
	batch_begin(1);
	batch_add_part((struct vm_record_part){ .seqno = 1,
						.n = 1,
						.n_total = 1,
						.update = { .kind = KVMATTR_ADD_RAM,
							    .form = WIRE_FORM_RANGES,
							    .n_elements = 1 } },
		       &ram);
	batch_add_part((struct vm_record_part){ .session = OWNER,
						.seqno = 1,
						.n = 1,
						.n_total = 1,
						.update = { .kind = KVMATTR_ENABLE_LAYER,
							    .layer = 1,
							    .value = KVMATTR_RWX } },
		       NULL);
	ck_assert_int_eq(take_batch(), 0);
	ck_assert_int_eq(take_in_force(1, VM_RECORD_ALL_KNOWN), 0);
	ck_assert_int_eq(take_ready(), 0);
	ck_assert_int_eq(take_session(AGENT, WIRE_ROLE_AGENT, 1, 0), 0);
}

void expect_damage(int r, uint64_t number, const char *text)
{
	ck_assert_int_eq(r, -EBADMSG);
	ck_assert_int_eq(replay_error.error, EBADMSG);
	ck_assert_str_eq(replay_error.file, "0000000000000001.journal");
	ck_assert_uint_eq(replay_error.offset, offset_of(number));
	ck_assert_msg(strstr(replay_error.text, text), "\"%s\" has no \"%s\"", replay_error.text,
		      text);
	ck_assert_ptr_nonnull(strstr(replay_error.text, "register the VM anew"));
}

void expect_damage_here(int r, const char *text)
{
	expect_damage(r, replay.number + 1, text);
}
