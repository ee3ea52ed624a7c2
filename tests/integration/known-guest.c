/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/known-guest.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

struct known_guest known;

void known_guest_start(void)
{
	const struct kvmattr_range locked = { 50, 1 };
	struct json_object *status;

	known.daemon = kvmattrd_start(NULL);
	known.control = control_connect(known.daemon);
	known.vmm = simulated_vmm_start(known.daemon, &(struct simulated_vmm_options){ 0 });
	known.agent = simulated_vmm_open_agent(known.vmm, 1, KVMATTR_RIGHT_VISIBILITY);
	expect_ok(known.agent, kvmattr_enable_layer(known.agent, 1, KVMATTR_RWX, 0));
	expect_ok(known.agent, protect_range(known.agent, 1, KVMATTR_RX, 16, 16));
	expect_ok(known.agent, protect_range(known.agent, 1, KVMATTR_NONE, 32, 8));
	expect_ok(known.agent, set_visibility_of(known.agent, 1, 100, 10));
	expect_ok(known.vmm->owner, kvmattr_lock(known.vmm->owner, &locked, 1, NULL));
	known.second = simulated_vmm_open_agent(known.vmm, 1, 0);
	expect_ok(known.second, protect_range(known.second, 1, KVMATTR_RW, 20, 1));
	status = control_call(known.control, "journal.status", "{\"vm\":\"guest\"}");
	snprintf(known.journal, sizeof(known.journal), "%s", json_text_at(status, "journal"));
	json_object_put(status);
}

void known_guest_stop(void)
{
	if (known.vmm) {
		kvmattr_close(known.agent);
		kvmattr_close(known.second);
		simulated_vmm_stop(known.vmm);
	}
	control_close(known.control);
	kvmattrd_stop(known.daemon);
}

/* In the list of journals. */
static bool is_journal_released(void)
{
	struct json_object *list = control_call(known.control, "journal.list", "{}");
	struct json_object *journals = json_at(list, "journals");
	bool is = false;

	for (size_t i = 0; i < json_object_array_length(journals); i++) {
		struct json_object *entry = json_object_array_get_idx(journals, i);

		is |= !strcmp(json_text_at(entry, "journal"), known.journal) &&
		      !strcmp(json_text_at(entry, "state"), "released");
	}
	json_object_put(list);
	return is;
}

void known_guest_release(void)
{
	kvmattr_close(known.agent);
	kvmattr_close(known.second);
	simulated_vmm_stop(known.vmm);
	known.vmm = NULL;
	/* Nobody sees the VM any more before its journal is ended, which takes a turn. */
	EVENTUALLY(5000, is_journal_released());
}

/* ---- States --------------------------------------------------------------------------------- */

#define PAGES 4096
enum { PRIVATE = 0x10, NO_RAM = 0xff };

/* By hand, what commit n made of the pages. */
static void expected_state(int commit, unsigned int pages[PAGES])
{
	for (int i = 0; i < PAGES; i++) {
		pages[i] = KVMATTR_RWX;
		if (commit >= 3 && i >= 16 && i < 32)
			pages[i] = KVMATTR_RX;
		if (commit >= 4 && i >= 32 && i < 40)
			pages[i] = KVMATTR_NONE;
		if (commit >= 5 && i >= 100 && i < 110)
			pages[i] |= PRIVATE;
		if (commit >= 7 && i == 20)
			pages[i] = KVMATTR_RW;
	}
}

static unsigned int attributes_of(struct json_object *object)
{
	int protection;

	if (!object)
		return NO_RAM;
	protection = kvmattr_protection_from_name(json_text_at(object, "protection"));
	ck_assert_int_ge(protection, 0);
	return (unsigned int)protection |
	       (strcmp(json_text_at(object, "visibility"), "private") ? 0 : PRIVATE);
}

void known_guest_expect_state_at(const char *name, int commit, unsigned int limit)
{
	unsigned int expected[PAGES], found[PAGES];
	char cursor[64] = "";

	expected_state(commit, expected);
	memset(found, 0xee, sizeof(found));
	do {
		struct json_object *answer =
			control_call(known.control, "journal.state_at",
				     "{\"journal\":\"%s\",\"commit\":%d,\"limit\":%u%s}", name,
				     commit, limit, cursor);
		struct json_object *runs = json_at(answer, "runs");

		ck_assert_int_eq(json_number_at(answer, "commit"), commit);
		ck_assert_str_eq(json_text_at(answer, "journal"), known.journal);
		for (size_t i = 0; i < json_object_array_length(runs); i++) {
			struct json_object *run = json_object_array_get_idx(runs, i);
			uint64_t gfn = json_address_at(run, "gpa") >> 12;

			for (int64_t j = 0; j < json_number_at(run, "pages"); j++)
				found[gfn + (uint64_t)j] = attributes_of(run);
		}
		*cursor = '\0';
		if (json_has(answer, "cursor"))
			snprintf(cursor, sizeof(cursor), ",\"cursor\":\"%s\"",
				 json_text_at(answer, "cursor"));
		json_object_put(answer);
	} while (*cursor);
	for (int i = 0; i < PAGES; i++)
		ck_assert_msg(found[i] == expected[i], "commit %d, page %d: 0x%x, not 0x%x", commit,
			      i, found[i], expected[i]);
}
