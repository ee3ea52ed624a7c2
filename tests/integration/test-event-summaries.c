/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens all the time, as subscribers are told of it: batches and faults, summed up.
 */
#include "tests/integration/event-client.h"
#include "tests/integration/restarts.h"
#include "tests/integration/simulated-vmm.h"

#include <check.h>
#include <unistd.h>

static const struct simulated_vmm_options guest = { 0 };

static void stop_guest(struct simulated_vmm *vmm, struct event_client *events)
{
	events_expect_none(events);
	events_end(events);
	simulated_vmm_stop(vmm);
	stop();
}

/* ---- Batches --------------------------------------------------------------------------------- */

/* All that was done is told, in how many pieces ever, none of them within a second of another. */
START_TEST(batches_are_summed_up_once_a_second_and_nothing_is_left_out)
{
	enum { N_UPDATES = 400 };
	struct simulated_vmm *vmm;
	struct event_client events;
	struct json_object *stats;
	int64_t updates = 0, pages = 0, batches = 0, calls = 0, commit = 0, told_us = 0, n = 0;

	start(NULL);
	events = events_begin(d, "{\"events\":[\"batch.committed\"]}");
	vmm = simulated_vmm_start(d, &guest);
	expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, 1, KVMATTR_RWX, 0));
	for (uint64_t i = 0; i < N_UPDATES; i++) {
		expect_ok(vmm->owner, protect_range(vmm->owner, 1, KVMATTR_R, 2 * i, 1 + i % 2));
		if (i % 100 == 50)
			usleep(400000);
	}
	while (commit < 2 + N_UPDATES) {
		struct json_object *params = events_receive(&events), *data;

		ck_assert_str_eq(json_text_at(params, "event"), "batch.committed");
		ck_assert_str_eq(json_text_at(params, "vm"), "guest");
		/* the first may have been told late, the second in time */
		if (told_us)
			ck_assert_int_ge(json_number_at(params, "time_us") - told_us, 500000);
		told_us = json_number_at(params, "time_us");
		data = json_at(params, "data");
		ck_assert_int_eq(json_number_at(data, "first_commit"), commit + 1);
		commit = json_number_at(data, "commit");
		batches += json_number_at(data, "batches");
		updates += json_number_at(data, "updates");
		pages += json_number_at(data, "pages");
		calls += json_number_at(data, "calls");
		n++;
		json_object_put(params);
	}
	ck_assert_int_eq(commit, 2 + N_UPDATES);
	ck_assert_int_eq(batches, 2 + N_UPDATES);
	/* the registration's RAM, the layer; every other update was of two pages */
	ck_assert_int_eq(updates, 2 + N_UPDATES);
	ck_assert_int_eq(pages, 4096 + N_UPDATES + N_UPDATES / 2);
	stats = control_call(control, "stats.get", "{}");
	ck_assert_int_eq(calls, json_number_at(stats, "vms.0.calls"));
	json_object_put(stats);
	ck_assert_int_gt(n, 1);
	stop_guest(vmm, &events);
}
END_TEST

START_TEST(batches_of_before_a_subscription_are_not_told)
{
	struct simulated_vmm *vmm;
	struct event_client events;

	start(NULL);
	vmm = simulated_vmm_start(d, &guest);
	expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, 1, KVMATTR_RWX, 0));
	events = events_begin(d, "{\"events\":[\"batch.committed\"],\"vm\":\"guest\"}");
	expect_ok(vmm->owner, protect_range(vmm->owner, 1, KVMATTR_R, 7, 3));
	events_expect(&events, "batch.committed", "guest",
		      "{\"batches\":1,\"updates\":1,\"pages\":3,\"calls\":1,\"first_commit\":3,"
		      "\"commit\":3}");
	stop_guest(vmm, &events);
}
END_TEST

/* ---- Faults ---------------------------------------------------------------------------------- */

static void explain(struct simulated_vmm *vmm, uint64_t gfn, unsigned int access, int is_allowed)
{
	struct kvmattr_explanation explanation;

	expect_ok(vmm->owner, kvmattr_explain(vmm->owner, 0, gfn, access, &explanation));
	ck_assert_int_eq(explanation.allowed, is_allowed);
}

static struct simulated_vmm *start_protected_guest(void)
{
	struct simulated_vmm *vmm;

	start(NULL);
	vmm = simulated_vmm_start(d, &guest);
	for (unsigned int layer = 1; layer < 4; layer++)
		expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, layer, KVMATTR_RWX, 0));
	expect_ok(vmm->owner, protect_range(vmm->owner, 1, KVMATTR_R, 16, 1));
	expect_ok(vmm->owner, protect_range(vmm->owner, 3, KVMATTR_RX, 16, 1));
	return vmm;
}

START_TEST(a_fault_that_was_explained_is_told_with_who_denies_it)
{
	struct simulated_vmm *vmm = start_protected_guest();
	struct event_client events;

	explain(vmm, 16, KVMATTR_WRITE, false); /* for nobody */
	events = events_begin(d, "{\"events\":[\"fault.explained\"]}");
	explain(vmm, 16, KVMATTR_WRITE, false);
	events_expect(&events, "fault.explained", "guest",
		      "{\"vtl\":0,\"gpa\":\"0x10000\",\"access\":\"w\",\"allowed\":false,"
		      "\"denying\":[1,3],\"suppressed\":0}");
	explain(vmm, 16, KVMATTR_READ | KVMATTR_EXECUTE, false);
	events_expect(&events, "fault.explained", "guest",
		      "{\"vtl\":0,\"gpa\":\"0x10000\",\"access\":\"rx\",\"allowed\":false,"
		      "\"denying\":[1],\"suppressed\":0}");
	explain(vmm, 17, KVMATTR_WRITE, true);
	events_expect(&events, "fault.explained", "guest",
		      "{\"vtl\":0,\"gpa\":\"0x11000\",\"access\":\"w\",\"allowed\":true,"
		      "\"denying\":[],\"suppressed\":0}");
	stop_guest(vmm, &events);
}
END_TEST

/* As many as there are faults, told or counted; and no more a second than are bearable. */
START_TEST(a_storm_of_faults_is_counted_rather_than_told)
{
	enum { N_FAULTS = 1000, MAX_PER_S = 100 };
	struct simulated_vmm *vmm = start_protected_guest();
	struct event_client events = events_begin(d, "{\"events\":[\"fault.explained\"]}");
	uint64_t started_ms = harness_now_ms(), flooded_ms;
	int64_t n_told = 0, n_counted = 0;

	for (int i = 0; i < N_FAULTS; i++)
		explain(vmm, 16, KVMATTR_WRITE, false);
	flooded_ms = harness_now_ms();
	/* of the next second */
	while (harness_now_ms() - flooded_ms < 1100)
		harness_pause();
	explain(vmm, 16, KVMATTR_WRITE, false);
	while (n_told + n_counted < N_FAULTS + 1) {
		struct json_object *told = events_expect_any(&events, "fault.explained", "guest");

		n_told++;
		n_counted += json_number_at(told, "suppressed");
		json_object_put(told);
	}
	ck_assert_int_eq(n_told + n_counted, N_FAULTS + 1);
	ck_assert_int_le(n_told, MAX_PER_S * (2 + (int64_t)(harness_now_ms() - started_ms) / 1000));
	stop_guest(vmm, &events);
}
END_TEST

int main(void)
{
	TCase *batches = harness_make_case("batches", 30);
	TCase *faults = harness_make_case("faults", 30);

	tcase_add_test(batches, batches_are_summed_up_once_a_second_and_nothing_is_left_out);
	tcase_add_test(batches, batches_of_before_a_subscription_are_not_told);
	tcase_add_test(faults, a_fault_that_was_explained_is_told_with_who_denies_it);
	tcase_add_test(faults, a_storm_of_faults_is_counted_rather_than_told);
	return harness_run("event summaries", (TCase *const[]){ batches, faults, NULL });
}
