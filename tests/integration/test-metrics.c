/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon.metrics: what a monitoring system is told is well-formed whatever happens meanwhile, and
 * it is what the other methods say.
 */
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/raw-peer.h"
#include "tests/integration/scrape.h"
#include "tests/integration/simulated-vmm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INVALID_PARAMETER (-32000 - KVMATTR_INVALID_PARAMETER)

/* Of 63 characters, as many as a name may have, and of every kind that it may have. */
#define LONG_NAME "_9.-zZ-a-name-as-long-as-a-name-may-be-and.not.one_letter-more-"

static struct kvmattrd *d;
static struct control_client *control;
static struct simulated_vmm *guest, *other;
static struct kvmattr *agent;

static void start(void)
{
	d = kvmattrd_start(NULL);
	control = control_connect(d);
	guest = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	other = simulated_vmm_start(d, &(struct simulated_vmm_options){ .name = LONG_NAME,
									.abi = KVMATTR_ABI_V10NA,
									.n_views = 3,
									.n_pages = 64 });
	agent = simulated_vmm_open_agent(guest, 1, 0);
	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	expect_ok(agent, protect_range(agent, 1, KVMATTR_RX, 16, 16));
}

static void stop(void)
{
	kvmattr_close(agent);
	simulated_vmm_stop(guest);
	simulated_vmm_stop(other);
	control_close(control);
	kvmattrd_stop(d);
}

/* ---- What it says ---------------------------------------------------------------------------- */

/* kvmattr_NAME{vm="guest"}; until the next call. */
static const char *of_guest(const char *name)
{
	static char series[128];

	snprintf(series, sizeof(series), "kvmattr_%s{vm=\"guest\"}", name);
	return series;
}

static void expect_guest(const struct scrape *scrape, const char *name, double value)
{
	const double told = scrape_value(scrape, of_guest(name));

	ck_assert_msg(told == value, "%s is %f, not %f", name, told, value);
}

/* One number of the guest's, as another method says it. */
struct same_number {
	const char *name;
	const char *path;
};

static void expect_same(const struct scrape *scrape, struct json_object *answer,
			const struct same_number *numbers, int n)
{
	for (int i = 0; i < n; i++)
		expect_guest(scrape, numbers[i].name,
			     (double)json_number_at(answer, numbers[i].path));
	json_object_put(answer);
}

static double seconds_at(struct json_object *answer, const char *path)
{
	return (double)json_number_at(answer, path) / 1e6;
}

START_TEST(the_counters_of_a_vm_are_those_of_stats_get)
{
	static const struct same_number numbers[] = {
		{ "updates_total", "vms.0.updates" },
		{ "updates_failed_total", "vms.0.updates_failed" },
		{ "elements_total", "vms.0.elements" },
		{ "pages_total", "vms.0.pages" },
		{ "batches_total", "vms.0.batches" },
		{ "kvm_calls_total", "vms.0.calls" },
		{ "kvm_call_pages_total", "vms.0.call_pages" },
		{ "kvm_calls_unmerged_total", "vms.0.calls_unmerged" },
		{ "kvm_calls_refused_total", "vms.0.refusals" },
		{ "kvm_calls_retried_total", "vms.0.retries" },
		{ "update_seconds_count", "vms.0.latency.updates" },
		{ "updates_queued", "vms.0.queue" },
		{ "vm_unknown_pages", "vms.0.unknown_pages" },
	};
	struct json_object *statistics;
	struct scrape *scrape;

	simulated_vmm_fail_at(guest, ENOMEM, 20, 1);
	expect_status(agent, protect_range(agent, 1, KVMATTR_R, 20, 1),
		      KVMATTR_INSUFFICIENT_MEMORY);
	simulated_vmm_fail(guest, 0);
	expect_ok(agent, protect_range(agent, 1, KVMATTR_R, 200, 30));
	scrape = scrape_metrics(control);
	statistics = control_call(control, "stats.get", "{\"vm\":\"guest\"}");
	ck_assert_double_eq_tol(scrape_value(scrape, of_guest("update_seconds_sum")),
				seconds_at(statistics, "vms.0.latency.total_us"), 1e-7);
	ck_assert_double_eq_tol(scrape_value(scrape, of_guest("batch_seconds_total")),
				seconds_at(statistics, "vms.0.batch_us_total"), 1e-7);
	expect_same(scrape, statistics, numbers, N(numbers));
	expect_guest(scrape, "updates_failed_total", 1);
	ck_assert_double_gt(scrape_value(scrape, of_guest("kvm_calls_refused_total")), 0);
	scrape_free(scrape);
}
END_TEST

START_TEST(the_gauges_of_a_vm_are_those_of_vm_get_and_journal_status)
{
	static const struct same_number of_vm[] = { { "vm_commit", "commit" },
						    { "vm_memory_bytes", "memory_bytes" } };
	static const struct same_number of_journal[] = { { "journal_bytes", "bytes" },
							 { "journal_segments", "segments" },
							 { "journal_checkpoints", "checkpoints" } };
	const struct kvmattr_range hole = { 1000, 24 };
	struct json_object *vm;
	struct scrape *scrape;
	char info[256];

	expect_ok(guest->owner, set_visibility_of(guest->owner, 1, 100, 10));
	expect_ok(guest->owner, kvmattr_remove_ram(guest->owner, &hole, 1, NULL));
	scrape = scrape_metrics(control);
	vm = control_call(control, "vm.get", "{\"vm\":\"guest\"}");
	snprintf(info, sizeof(info),
		 "kvmattr_vm_info{vm=\"guest\",executor=\"vmm\",simulated=\"true\",journal=\"%s\"}",
		 json_text_at(vm, "journal"));
	ck_assert_double_eq(scrape_value(scrape, info), 1);
	ck_assert_double_eq_tol(scrape_value(scrape, of_guest("vm_registered_time_seconds")),
				seconds_at(vm, "registered_us"), 1e-5);
	expect_same(scrape, vm, of_vm, N(of_vm));
	expect_same(scrape, control_call(control, "journal.status", "{\"vm\":\"guest\"}"),
		    of_journal, N(of_journal));
	expect_guest(scrape, "vm_ram_bytes", (4096 - 24) * KVMATTR_PAGE_SIZE);
	expect_guest(scrape, "vm_private_bytes", 10 * KVMATTR_PAGE_SIZE);
	expect_guest(scrape, "vm_sessions", 2);
	expect_guest(scrape, "vm_detached_sessions", 0);
	expect_guest(scrape, "journal_trouble", 0);
	expect_guest(scrape, "journal_undurable_records", 0);
	scrape_free(scrape);
}
END_TEST

START_TEST(views_and_layers_are_there_with_what_they_are)
{
	struct scrape *scrape = scrape_metrics(control);

	ck_assert(scrape_has(scrape, "kvmattr_vm_view_info{vm=\"guest\",vtl=\"1\",abi=\"deny\"}"));
	ck_assert(scrape_has(scrape,
			     "kvmattr_vm_view_info{vm=\"" LONG_NAME "\",vtl=\"2\",abi=\"v10na\"}"));
	ck_assert(!scrape_has(scrape, "kvmattr_vm_view_info{vm=\"guest\",vtl=\"2\",abi=\"deny\"}"));
	ck_assert(scrape_has(scrape, "kvmattr_vm_layer_info{vm=\"guest\",layer=\"1\","
				     "default=\"rwx\",mbec=\"false\"}"));
	ck_assert_ptr_null(strstr(scrape->text, "kvmattr_vm_layer_info{vm=\"" LONG_NAME));
	scrape_free(scrape);
}
END_TEST

static int64_t count_vms(void)
{
	struct json_object *daemon = control_call(control, "daemon.get", "{}");
	int64_t n = json_number_at(daemon, "counters.vms");

	json_object_put(daemon);
	return n;
}

START_TEST(the_daemons_numbers_are_those_of_daemon_get)
{
	static const struct same_number numbers[] = {
		{ "kvmattr_vms", "counters.vms" },
		{ "kvmattr_vms_max", "limits.max_vms" },
		{ "kvmattr_sessions", "counters.sessions" },
		{ "kvmattr_sessions_max", "limits.max_sessions" },
		{ "kvmattr_vms_registered_total", "counters.vms_registered" },
		{ "kvmattr_vms_recovered_total", "counters.vms_recovered" },
		{ "kvmattr_vms_released_total", "counters.vms_released" },
		{ "kvmattr_control_clients", "counters.clients" },
		{ "kvmattr_control_clients_accepted_total", "counters.clients_accepted" },
		{ "kvmattr_control_clients_refused_total", "counters.clients_refused" },
	};
	struct json_object *daemon;
	struct scrape *scrape;
	char build[64];

	simulated_vmm_stop(other);
	EVENTUALLY(5000, count_vms() == 1);
	other = simulated_vmm_start(d, &(struct simulated_vmm_options){ .name = "again" });
	scrape = scrape_metrics(control);
	daemon = control_call(control, "daemon.get", "{}");
	for (int i = 0; i < N(numbers); i++)
		ck_assert_double_eq(scrape_value(scrape, numbers[i].name),
				    (double)json_number_at(daemon, numbers[i].path));
	snprintf(build, sizeof(build), "kvmattr_build_info{version=\"%s\"}",
		 json_text_at(daemon, "version"));
	ck_assert_double_eq(scrape_value(scrape, build), 1);
	ck_assert_double_eq_tol(scrape_value(scrape, "kvmattr_start_time_seconds"),
				seconds_at(daemon, "started_us"), 1e-5);
	json_object_put(daemon);
	scrape_free(scrape);
}
END_TEST

START_TEST(trouble_shows_at_the_vm_that_has_it_until_it_is_over)
{
	struct scrape *before = scrape_metrics(control), *scrape;

	expect_guest(before, "vm_degraded", 0);
	simulated_vmm_fail(guest, ENOMEM);
	expect_status(agent, protect_range(agent, 1, KVMATTR_R, 100, 8),
		      KVMATTR_INSUFFICIENT_MEMORY);
	scrape = scrape_metrics(control);
	expect_guest(scrape, "vm_degraded", 1);
	ck_assert_double_gt(scrape_value(scrape, of_guest("vm_unknown_pages")), 0);
	ck_assert_double_eq(scrape_value(scrape, "kvmattr_vm_degraded{vm=\"" LONG_NAME "\"}"), 0);
	scrape_expect_nothing_fell(before, scrape);
	scrape_free(scrape);
	simulated_vmm_fail(guest, 0);
	expect_ok(agent, protect_range(agent, 1, KVMATTR_R, 300, 1));
	scrape = scrape_metrics(control);
	expect_guest(scrape, "vm_degraded", 0);
	expect_guest(scrape, "vm_unknown_pages", 0);
	scrape_free(scrape);
	scrape_free(before);
}
END_TEST

START_TEST(a_vm_that_is_being_registered_is_counted_and_has_nothing_to_say_so_far)
{
	const struct raw_register message = raw_make_register("early");
	struct raw_vm vm = raw_vm_begin(d, &message);
	struct scrape *scrape;

	EVENTUALLY(5000, count_vms() == 3);
	scrape = scrape_metrics(control);
	ck_assert_ptr_null(strstr(scrape->text, "early"));
	scrape_free(scrape);
	json_object_put(control_call(control, "stats.reset", "{}"));
	raw_vm_answer_probe(&vm);
	raw_vm_finish(&vm);
	scrape = scrape_metrics(control);
	ck_assert_double_eq(scrape_value(scrape, "kvmattr_vm_degraded{vm=\"early\"}"), 0);
	scrape_free(scrape);
	raw_vm_close(&vm);
}
END_TEST

START_TEST(a_vm_that_is_frozen_says_so)
{
	struct scrape *scrape;

	json_object_put(control_call(control, "vm.freeze", "{\"vm\":\"guest\"}"));
	scrape = scrape_metrics(control);
	expect_guest(scrape, "vm_frozen", 1);
	ck_assert_double_eq(scrape_value(scrape, "kvmattr_vm_frozen{vm=\"" LONG_NAME "\"}"), 0);
	scrape_free(scrape);
	json_object_put(control_call(control, "vm.thaw", "{\"vm\":\"guest\"}"));
	scrape = scrape_metrics(control);
	expect_guest(scrape, "vm_frozen", 0);
	scrape_free(scrape);
}
END_TEST

START_TEST(a_reset_of_the_statistics_does_not_reach_the_metrics)
{
	struct scrape *before = scrape_metrics(control), *after;

	json_object_put(control_call(control, "stats.reset", "{}"));
	after = scrape_metrics(control);
	scrape_expect_nothing_fell(before, after);
	ck_assert_double_gt(scrape_value(after, of_guest("updates_total")), 0);
	scrape_free(before);
	scrape_free(after);
}
END_TEST

START_TEST(a_daemon_that_recovers_a_vm_begins_to_count_and_says_so)
{
	struct scrape *before = scrape_metrics(control), *after;

	control_close(control);
	kvmattrd_kill(d);
	kvmattrd_launch(d, NULL);
	control = control_connect(d);
	expect_ok(agent, protect_range(agent, 1, KVMATTR_R, 400, 1));
	after = scrape_metrics(control);
	ck_assert_double_eq(scrape_value(after, "kvmattr_vms_recovered_total"), 2);
	ck_assert_double_gt(scrape_value(after, "kvmattr_start_time_seconds"),
			    scrape_value(before, "kvmattr_start_time_seconds"));
	ck_assert_double_lt(scrape_value(after, of_guest("updates_total")),
			    scrape_value(before, of_guest("updates_total")));
	ck_assert_double_gt(scrape_value(after, of_guest("journal_records_total")),
			    scrape_value(before, of_guest("journal_records_total")));
	ck_assert_double_lt(scrape_value(after, of_guest("vm_registered_time_seconds")),
			    scrape_value(after, "kvmattr_start_time_seconds"));
	scrape_free(before);
	scrape_free(after);
}
END_TEST

START_TEST(without_vms_there_are_all_families_and_the_daemons_samples)
{
	struct scrape *scrape;

	kvmattr_close(agent);
	simulated_vmm_stop(guest);
	simulated_vmm_stop(other);
	EVENTUALLY(5000, count_vms() == 0);
	scrape = scrape_metrics(control);
	ck_assert_double_eq(scrape_value(scrape, "kvmattr_vms"), 0);
	ck_assert_ptr_nonnull(strstr(scrape->text, "# TYPE kvmattr_update_seconds histogram\n"));
	ck_assert_ptr_null(strstr(scrape->text, "{vm="));
	scrape_free(scrape);
	guest = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	other = simulated_vmm_start(d, &(struct simulated_vmm_options){ .name = "other" });
	agent = simulated_vmm_open_agent(guest, 1, 0);
}
END_TEST

/* ---- Many VMs, in pieces --------------------------------------------------------------------- */

#define N_VMS 70
/* One VM's samples of a family may come behind the limit, and what JSON adds is not counted. */
#define MAX_PIECE (64 * 1024 + 8 * 1024)

static struct simulated_vmm *many[N_VMS];

static struct simulated_vmm *start_one_of_many(int i)
{
	char name[32];

	snprintf(name, sizeof(name), "vm-%d-of-many-others", i);
	return simulated_vmm_start(
		d, &(struct simulated_vmm_options){ .name = name, .n_views = 1, .n_pages = 8 });
}

static void start_many(void)
{
	d = kvmattrd_start(NULL);
	control = control_connect(d);
	for (int i = 0; i < N_VMS; i++)
		many[i] = start_one_of_many(i);
}

static void stop_many(void)
{
	for (int i = 0; i < N_VMS; i++)
		simulated_vmm_stop(many[i]);
	control_close(control);
	kvmattrd_stop(d);
}

START_TEST(the_pieces_of_many_vms_are_bounded_and_one_exposition)
{
	struct scrape *first = scrape_metrics(control), *second;

	ck_assert_uint_gt(first->n_pieces, 2);
	ck_assert_uint_le(first->longest, MAX_PIECE);
	ck_assert_double_eq(scrape_value(first, "kvmattr_vms"), N_VMS);
	for (int i = 0; i < N_VMS; i++) {
		char series[80];

		snprintf(series, sizeof(series),
			 "kvmattr_journal_segments{vm=\"vm-%d-of-many-others\"}", i);
		ck_assert_double_eq(scrape_value(first, series), 1);
	}
	second = scrape_metrics(control);
	ck_assert_uint_eq(second->n_samples, first->n_samples);
	scrape_expect_nothing_fell(first, second);
	scrape_free(first);
	scrape_free(second);
}
END_TEST

static bool is_gone(const char *name)
{
	return !control_has_vm(control, name);
}

/* The oldest, the newest, one in the middle: gone, and there again under the same name. */
static void have_vms_come_and_go(unsigned int piece)
{
	const int chosen[] = { 0, N_VMS / 2, N_VMS - 1, (int)(piece * 7 % N_VMS) };

	for (int i = 0; i < N(chosen); i++) {
		char name[32];

		snprintf(name, sizeof(name), "vm-%d-of-many-others", chosen[i]);
		simulated_vmm_stop(many[chosen[i]]);
		EVENTUALLY(5000, is_gone(name));
		many[chosen[i]] = start_one_of_many(chosen[i]);
	}
}

START_TEST(vms_that_come_and_go_between_pieces_neither_break_it_nor_are_there_twice)
{
	struct scrape *scrape = scrape_metrics_between(control, have_vms_come_and_go);

	ck_assert_uint_gt(scrape->n_pieces, 2);
	scrape_free(scrape);
}
END_TEST

static void have_the_first_half_go(unsigned int piece)
{
	for (int i = 0; piece == 1 && i < N_VMS / 2; i++) {
		simulated_vmm_stop(many[i]);
		many[i] = NULL;
	}
	EVENTUALLY(5000, is_gone("vm-0-of-many-others"));
}

START_TEST(what_is_left_when_many_go_between_pieces_is_still_well_formed)
{
	struct scrape *scrape = scrape_metrics_between(control, have_the_first_half_go);

	ck_assert_double_eq(
		scrape_value(scrape, "kvmattr_journal_trouble{vm=\"vm-69-of-many-others\"}"), 0);
	scrape_free(scrape);
	for (int i = 0; i < N_VMS / 2; i++)
		many[i] = start_one_of_many(i);
}
END_TEST

START_TEST(a_cursor_that_no_answer_had_is_refused)
{
	control_expect_error(control, "daemon.metrics", "{\"cursor\":\"1000:1\"}",
			     INVALID_PARAMETER, "begin without one");
	control_expect_error(control, "daemon.metrics", "{\"cursor\":\"0:1\"}", INVALID_PARAMETER,
			     "begin without one");
	control_expect_error(control, "daemon.metrics", "{\"cursor\":\"9223372036854775807:0\"}",
			     INVALID_PARAMETER, "begin without one");
}
END_TEST

int main(void)
{
	TCase *numbers = harness_make_case("numbers", 20);
	TCase *pieces = harness_make_case("pieces", 60);

	tcase_add_checked_fixture(numbers, start, stop);
	tcase_add_test(numbers, the_counters_of_a_vm_are_those_of_stats_get);
	tcase_add_test(numbers, the_gauges_of_a_vm_are_those_of_vm_get_and_journal_status);
	tcase_add_test(numbers, views_and_layers_are_there_with_what_they_are);
	tcase_add_test(numbers, the_daemons_numbers_are_those_of_daemon_get);
	tcase_add_test(numbers, trouble_shows_at_the_vm_that_has_it_until_it_is_over);
	tcase_add_test(numbers,
		       a_vm_that_is_being_registered_is_counted_and_has_nothing_to_say_so_far);
	tcase_add_test(numbers, a_vm_that_is_frozen_says_so);
	tcase_add_test(numbers, a_reset_of_the_statistics_does_not_reach_the_metrics);
	tcase_add_test(numbers, a_daemon_that_recovers_a_vm_begins_to_count_and_says_so);
	tcase_add_test(numbers, without_vms_there_are_all_families_and_the_daemons_samples);
	tcase_add_test(numbers, a_cursor_that_no_answer_had_is_refused);
	tcase_add_checked_fixture(pieces, start_many, stop_many);
	tcase_add_test(pieces, the_pieces_of_many_vms_are_bounded_and_one_exposition);
	tcase_add_test(pieces,
		       vms_that_come_and_go_between_pieces_neither_break_it_nor_are_there_twice);
	tcase_add_test(pieces, what_is_left_when_many_go_between_pieces_is_still_well_formed);
	return harness_run("metrics", (TCase *const[]){ numbers, pieces, NULL });
}
