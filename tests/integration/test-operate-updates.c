/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm.update: an operator's updates mean what the owner's mean, are refused as those are, and are in
 * the journal like any other.
 */
#include "tests/integration/restarts.h"
#include "tests/integration/simulated-vmm.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUS(name) (-32000 - KVMATTR_##name)

static struct simulated_vmm *vmm;

static void start_guest(void)
{
	const struct simulated_vmm_options options = { .n_views = 3, .kernel_pages = 5000 };

	start(NULL);
	vmm = simulated_vmm_start(d, &options);
}

static void stop_guest(void)
{
	simulated_vmm_stop(vmm);
	stop();
}

/* An update that is done; returns its commit. */
static int64_t update(const char *params, int64_t n_elements)
{
	struct json_object *answer =
		control_call(control, "vm.update", "{\"vm\":\"guest\",%s}", params);
	int64_t commit = json_number_at(answer, "commit");

	ck_assert_str_eq(json_text_at(answer, "vm"), "guest");
	ck_assert_int_eq(json_number_at(answer, "elements"), n_elements);
	ck_assert_int_eq(commit, commit_of("guest"));
	json_object_put(answer);
	return commit;
}

#define ONE_RANGE(gpa, pages) "\"ranges\":[{\"gpa\":\"" gpa "\",\"pages\":" pages "}]"
#define PROTECT(protection)   "\"kind\":\"protect\",\"layer\":1,\"protection\":\"" protection "\","

/* A refusal; its data say how many elements are in force. */
static void expect_refused(const char *params, int status, int n_in_force, const char *part)
{
	char all[1024], in_force[32];

	snprintf(all, sizeof(all), "{\"vm\":\"guest\",%s}", params);
	snprintf(in_force, sizeof(in_force), "\"in_force\":%d", n_in_force);
	control_expect_error(control, "vm.update", all, status, part);
	control_expect_error(control, "vm.update", all, status, in_force);
}

static void enable_layers(void)
{
	update("\"kind\":\"enable-layer\",\"layer\":1,\"protection\":\"rwx\"", 1);
	update("\"kind\":\"enable-layer\",\"layer\":2,\"protection\":\"rwx\",\"mbec\":false", 1);
}

START_TEST(every_kind_does_what_the_owners_does)
{
	int64_t commit = commit_of("guest");

	enable_layers();
	ck_assert_int_eq(update(PROTECT("r") ONE_RANGE("0x10000", "16"), 1), commit + 3);
	expect_pages(vmm, 0, 16, 16, KVMATTR_R);
	expect_pages(vmm, 1, 16, 16, KVMATTR_RWX);
	update("\"kind\":\"protect\",\"layer\":2,\"protection\":\"rx\",\"restricts\":[1],"
	       "\"ranges\":[{\"gpa\":4096,\"pages\":1},{\"gpa\":\"0x3000\",\"pages\":2}]",
	       2);
	expect_pages(vmm, 0, 1, 4, KVMATTR_RWX);
	expect_pages(vmm, 1, 1, 1, KVMATTR_RX);
	expect_pages(vmm, 1, 2, 1, KVMATTR_RWX);
	expect_pages(vmm, 1, 3, 2, KVMATTR_RX);
	update("\"kind\":\"protect\",\"layer\":2,\"protection\":\"none\"," ONE_RANGE("0x64000",
										     "1"),
	       1);
	expect_pages(vmm, 0, 100, 1, KVMATTR_NONE);
	expect_pages(vmm, 1, 100, 1, KVMATTR_NONE);
	update("\"kind\":\"set-visibility\",\"visibility\":\"private\"," ONE_RANGE("0xc8000", "5"),
	       1);
	expect_pages(vmm, 2, 200, 5, KVMATTR_RWX | KVMATTR_PRIVATE);
	update("\"kind\":\"set-visibility\",\"visibility\":\"shared\"," ONE_RANGE("0xc8000", "4"),
	       1);
	expect_pages(vmm, 2, 200, 4, KVMATTR_RWX);
	update("\"kind\":\"lock\"," ONE_RANGE("0x12c000", "1"), 1);
	expect_status(vmm->owner, protect_range(vmm->owner, 1, KVMATTR_R, 300, 1),
		      KVMATTR_OPERATION_DENIED);
	update("\"kind\":\"unlock\"," ONE_RANGE("0x12c000", "1"), 1);
	expect_ok(vmm->owner, protect_range(vmm->owner, 1, KVMATTR_R, 300, 1));
	update("\"kind\":\"add-ram\"," ONE_RANGE("0x1000000", "3"), 1);
	expect_pages(vmm, 0, 4096, 3, KVMATTR_RWX);
	update("\"kind\":\"add-ram\",\"visibility\":\"private\"," ONE_RANGE("0x1003000", "3"), 1);
	expect_pages(vmm, 0, 4099, 3, KVMATTR_RWX | KVMATTR_PRIVATE);
	update("\"kind\":\"remove-ram\"," ONE_RANGE("0x1004000", "2"), 1);
	expect_pages(vmm, 0, 4100, 2, KVMATTR_RWX);
	update("\"kind\":\"reset-layer\",\"layer\":1", 1);
	expect_pages(vmm, 0, 16, 16, KVMATTR_RWX);
	expect_pages(vmm, 1, 100, 1, KVMATTR_NONE);
	update("\"kind\":\"reset-vm\"", 1);
	expect_pages(vmm, 1, 0, 4096, KVMATTR_RWX);
	for (unsigned int vtl = 0; vtl < 3; vtl++)
		expect_agreement(vmm, vmm->owner, vtl);
}
END_TEST

START_TEST(what_the_owner_would_be_refused_is_refused_and_what_came_before_is_in_force)
{
	enable_layers();
	expect_refused(
		"\"kind\":\"protect\",\"layer\":3,\"protection\":\"r\"," ONE_RANGE("0x0", "1"),
		STATUS(INVALID_VTL_STATE), 0, "layer 3");
	expect_refused(PROTECT("w") ONE_RANGE("0x0", "1"), STATUS(INVALID_PARAMETER), 0, "");
	expect_refused(PROTECT("r") "\"restricts\":[]," ONE_RANGE("0x0", "1"),
		       STATUS(INVALID_PARAMETER), 0, "");
	expect_refused(PROTECT("r") "\"restricts\":[1]," ONE_RANGE("0x0", "1"),
		       STATUS(INVALID_PARAMETER), 0, "");
	expect_refused(PROTECT("r") "\"ranges\":[{\"gpa\":\"0x2000\",\"pages\":2},"
				    "{\"gpa\":\"0x10000000\",\"pages\":1}]",
		       STATUS(INVALID_PARAMETER), 1, "RAM");
	expect_pages(vmm, 0, 2, 2, KVMATTR_R);
	update("\"kind\":\"lock\"," ONE_RANGE("0x5000", "1"), 1);
	expect_refused(PROTECT("r") "\"ranges\":[{\"gpa\":\"0x4000\",\"pages\":1},"
				    "{\"gpa\":\"0x5000\",\"pages\":1}]",
		       STATUS(OPERATION_DENIED), 1, "locked");
	simulated_vmm_fail_at(vmm, ENOMEM, 700, 1);
	expect_refused(PROTECT("none") ONE_RANGE("0x2bc000", "1"), STATUS(INSUFFICIENT_MEMORY), 0,
		       "GFN 0x2bc");
	simulated_vmm_fail(vmm, 0);
	for (unsigned int vtl = 0; vtl < 3; vtl++)
		expect_agreement(vmm, vmm->owner, vtl);
}
END_TEST

START_TEST(a_parameter_too_few_or_too_many_is_named_and_nothing_is_done)
{
	static const struct {
		const char *params, *part;
	} wrong[] = {
		{ "\"kind\":\"protect\",\"protection\":\"r\"," ONE_RANGE("0x0", "1"),
		  "protect needs its layer" },
		{ "\"kind\":\"protect\",\"layer\":1," ONE_RANGE("0x0", "1"),
		  "protect needs its protection" },
		{ PROTECT("r") "\"mbec\":true," ONE_RANGE("0x0", "1"), "protect has no mbec" },
		{ "\"kind\":\"protect\",\"layer\":1,\"protection\":\"r\"", "needs its ranges" },
		{ "\"kind\":\"set-visibility\"," ONE_RANGE("0x0", "1"), "needs its visibility" },
		{ "\"kind\":\"lock\",\"layer\":1," ONE_RANGE("0x0", "1"), "lock has no layer" },
		{ "\"kind\":\"remove-ram\",\"visibility\":\"shared\"," ONE_RANGE("0x0", "1"),
		  "remove-ram has no visibility" },
		{ "\"kind\":\"enable-layer\",\"layer\":1", "needs its protection" },
		{ "\"kind\":\"enable-layer\",\"layer\":1,\"protection\":\"r\",\"restricts\":[0]",
		  "enable-layer has no restricts" },
		{ "\"kind\":\"reset-layer\"", "needs its layer" },
		{ "\"kind\":\"reset-vm\",\"layer\":1", "reset-vm has no layer" },
		{ "\"kind\":\"reset-vm\"," ONE_RANGE("0x0", "1"), "reset-vm has no ranges" },
	};
	int64_t commit = commit_of("guest");

	for (int i = 0; i < N(wrong); i++)
		expect_refused(wrong[i].params, STATUS(INVALID_PARAMETER), 0, wrong[i].part);
	ck_assert_int_eq(commit_of("guest"), commit);
}
END_TEST

static int64_t queue_length(void)
{
	struct json_object *guest = control_call(control, "vm.get", "{\"vm\":\"guest\"}");
	int64_t n = json_number_at(guest, "queue");

	json_object_put(guest);
	return n;
}

#define RESET_LINE                                                           \
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.update\",\"params\":" \
	"{\"vm\":\"guest\",\"kind\":\"reset-vm\"}}\n"

/* False where as many updates are under way as there may be. */
static bool resets(void)
{
	struct json_object *answer = control_ask(control, RESET_LINE);
	bool does = !json_has(answer, "error");

	if (!does)
		ck_assert_int_eq(json_number_at(answer, "error.code"), STATUS(LIMIT_EXCEEDED));
	json_object_put(answer);
	return does;
}

START_TEST(peers_that_go_away_cannot_pile_up_updates)
{
	enum { MAX = 64 };
	struct json_object *answer = control_call(control, "vm.freeze", "{\"vm\":\"guest\"}");

	json_object_put(answer);
	for (int i = 1; i <= MAX; i++) {
		struct control_client *client = control_connect(d);

		control_send(client, RESET_LINE, strlen(RESET_LINE));
		EVENTUALLY(5000, queue_length() == i);
		control_close(client);
	}
	control_expect_error(control, "vm.update", "{\"vm\":\"guest\",\"kind\":\"reset-vm\"}",
			     STATUS(LIMIT_EXCEEDED), "64 updates of operators");
	answer = control_call(control, "vm.thaw", "{\"vm\":\"guest\"}");
	ck_assert_int_eq(json_number_at(answer, "queue"), MAX);
	json_object_put(answer);
	EVENTUALLY(10000, resets());
}
END_TEST

START_TEST(an_update_is_in_the_journal_and_there_behind_a_crash)
{
	struct json_object *blame;

	for (int life = 0; life < 3; life++) {
		char protect[160];

		if (!life)
			enable_layers();
		snprintf(protect, sizeof(protect), PROTECT("r") ONE_RANGE("0x%x000", "1"),
			 10 + life);
		update(protect, 1);
		/* of one of which only a part is done */
		expect_refused(PROTECT("r") "\"ranges\":[{\"gpa\":\"0x2000\",\"pages\":2},"
					    "{\"gpa\":\"0x10000000\",\"pages\":1}]",
			       STATUS(INVALID_PARAMETER), 1, "RAM");
		restart();
		expect_ok(vmm->owner, protect_range(vmm->owner, 1, KVMATTR_RX, 500, 1));
		for (int i = 0; i <= life; i++)
			expect_layer("guest", (uint64_t)(10 + i), "r", "explicit");
		expect_agreement(vmm, vmm->owner, 0);
	}
	blame = control_call(control, "journal.blame",
			     "{\"journal\":\"guest\",\"vtl\":0,\"gpa\":\"0xa000\"}");
	ck_assert_str_eq(json_text_at(blame, "entries.0.kind"), "protect");
	ck_assert_str_eq(json_text_at(blame, "entries.0.origin"), "operator");
	ck_assert(!json_has(blame, "entries.0.session.id"));
	json_object_put(blame);
}
END_TEST

int main(void)
{
	TCase *updates = harness_make_case("updates", 40);
	TCase *const all[] = { updates, NULL };

	tcase_add_checked_fixture(updates, start_guest, stop_guest);
	tcase_add_test(updates, every_kind_does_what_the_owners_does);
	tcase_add_test(updates,
		       what_the_owner_would_be_refused_is_refused_and_what_came_before_is_in_force);
	tcase_add_test(updates, a_parameter_too_few_or_too_many_is_named_and_nothing_is_done);
	tcase_add_test(updates, peers_that_go_away_cannot_pile_up_updates);
	tcase_add_test(updates, an_update_is_in_the_journal_and_there_behind_a_crash);
	return harness_run("operate-updates", all);
}
