/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stats.get and stats.reset: what was counted since when, and how long updates took; and the log's
 * level, which is changed while the daemon runs.
 */
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/simulated-vmm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define INVALID_PARAMS (-32602)

static struct kvmattrd *d;
static struct control_client *control;
static struct simulated_vmm *guest, *other;

static void start(void)
{
	d = kvmattrd_start(NULL);
	control = control_connect(d);
	guest = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	other = simulated_vmm_start(
		d, &(struct simulated_vmm_options){ .name = "other", .n_pages = 64 });
	expect_ok(guest->owner, kvmattr_enable_layer(guest->owner, 1, KVMATTR_RWX, 0));
}

static void stop(void)
{
	simulated_vmm_stop(guest);
	simulated_vmm_stop(other);
	control_close(control);
	kvmattrd_stop(d);
}

/* Of "guest", as "updates" or "latency.max_us". */
static int64_t number(const char *path)
{
	struct json_object *result = control_call(control, "stats.get", "{\"vm\":\"guest\"}");
	int64_t number = json_number_at(json_at(result, "vms.0"), path);

	json_object_put(result);
	return number;
}

static void protect_pages(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		expect_ok(guest->owner, protect_range(guest->owner, 1, KVMATTR_R, 2 * i, 1));
}

/* ---- Latency --------------------------------------------------------------------------------- */

START_TEST(every_update_that_is_answered_is_in_one_bucket)
{
	struct json_object *result, *buckets;
	int64_t n = 0;

	protect_pages(20);
	result = control_call(control, "stats.get", "{\"vm\":\"guest\"}");
	buckets = json_at(result, "vms.0.latency.buckets");
	for (size_t i = 0; i < json_object_array_length(buckets); i++)
		n += json_object_get_int64(json_object_array_get_idx(buckets, i));
	ck_assert_int_ge(n, 21);
	ck_assert_int_eq(n, json_number_at(result, "vms.0.latency.updates"));
	ck_assert_int_eq(n, json_number_at(result, "vms.0.updates"));
	json_object_put(result);
}
END_TEST

START_TEST(an_update_that_waits_for_the_kernel_is_in_a_bucket_beyond_its_wait)
{
	const unsigned int delay_ms = 50;
	struct json_object *result, *limits;
	size_t n_buckets;

	guest->delay_ms = delay_ms;
	protect_pages(1);
	guest->delay_ms = 0;
	result = control_call(control, "stats.get", "{\"vm\":\"guest\"}");
	ck_assert_int_ge(json_number_at(result, "vms.0.latency.max_us"), delay_ms * 1000);
	ck_assert_int_ge(json_number_at(result, "vms.0.latency.total_us"), delay_ms * 1000);
	ck_assert_int_ge(json_number_at(result, "vms.0.latency.p999_us"), delay_ms * 1000);
	limits = json_at(result, "latency_limits_us");
	n_buckets = json_object_array_length(json_at(result, "vms.0.latency.buckets"));
	ck_assert_uint_eq(json_object_array_length(limits), 255);
	ck_assert_int_ge(json_object_get_int64(json_object_array_get_idx(limits, n_buckets - 1)),
			 json_number_at(result, "vms.0.latency.max_us"));
	json_object_put(result);
}
END_TEST

START_TEST(quantiles_rise_to_the_maximum)
{
	static const char *const paths[] = { "latency.p50_us", "latency.p90_us", "latency.p99_us",
					     "latency.p999_us", "latency.max_us" };
	struct json_object *result;

	protect_pages(50);
	result = control_call(control, "stats.get", "{\"vm\":\"guest\"}");
	for (int i = 1; i < N(paths); i++)
		ck_assert_int_le(json_number_at(json_at(result, "vms.0"), paths[i - 1]),
				 json_number_at(json_at(result, "vms.0"), paths[i]));
	json_object_put(result);
}
END_TEST

START_TEST(of_all_vms_there_are_no_buckets)
{
	struct json_object *result = control_call(control, "stats.get", "{}");

	ck_assert_uint_eq(json_object_array_length(json_at(result, "vms")), 2);
	ck_assert(json_has(result, "vms.0.latency.p50_us"));
	ck_assert(!json_has(result, "vms.0.latency.buckets"));
	ck_assert(!json_has(result, "latency_limits_us"));
	json_object_put(result);
}
END_TEST

/* ---- Beginning anew -------------------------------------------------------------------------- */

static int64_t since_us(const char *vm)
{
	struct json_object *result = control_call(control, "stats.get", "{\"vm\":\"%s\"}", vm);
	int64_t since = json_number_at(result, "vms.0.since_us");

	json_object_put(result);
	return since;
}

START_TEST(after_a_reset_all_is_counted_from_nothing)
{
	static const char *const paths[] = {
		"updates",        "updates_failed",  "elements",         "pages",
		"batches",        "calls",           "call_pages",       "calls_unmerged",
		"calls_saved",    "refusals",        "retries",          "batch_us_total",
		"batch_us_max",   "latency.updates", "latency.total_us", "latency.max_us",
		"latency.p50_us", "latency.p999_us",
	};
	struct json_object *result;

	guest->delay_ms = 50;
	protect_pages(1);
	guest->delay_ms = 0;
	expect_status(guest->owner, protect_range(guest->owner, 1, KVMATTR_R, 5000, 1),
		      KVMATTR_INVALID_PARAMETER);
	result = control_call(control, "stats.reset", "{\"vm\":\"guest\"}");
	ck_assert_uint_eq(json_object_array_length(json_at(result, "vms")), 1);
	ck_assert_str_eq(json_text_at(result, "vms.0"), "guest");
	json_object_put(result);
	for (int i = 0; i < N(paths); i++)
		ck_assert_msg(number(paths[i]) == 0, "%s is not 0", paths[i]);
	result = control_call(control, "stats.get", "{\"vm\":\"guest\"}");
	ck_assert_uint_eq(json_object_array_length(json_at(result, "vms.0.latency.buckets")), 0);
	json_object_put(result);

	protect_pages(3);
	ck_assert_int_eq(number("updates"), 3);
	ck_assert_int_eq(number("updates_failed"), 0);
	ck_assert_int_eq(number("pages"), 3);
	ck_assert_int_eq(number("latency.updates"), 3);
	ck_assert_int_gt(number("latency.max_us"), 0);
	ck_assert_int_lt(number("latency.max_us"), number("latency.total_us") + 1);
}
END_TEST

START_TEST(a_reset_is_of_the_vm_that_it_names_and_says_since_when)
{
	const int64_t guests = since_us("guest"), others = since_us("other");

	json_object_put(control_call(control, "stats.reset", "{\"vm\":\"other\"}"));
	ck_assert_int_eq(since_us("guest"), guests);
	ck_assert_int_gt(since_us("other"), others);
	ck_assert_int_gt(number("updates"), 0);
	ck_assert(kvmattrd_has_logged(d, "VM 'other': counted anew"));
	ck_assert(!kvmattrd_has_logged(d, "VM 'guest': counted anew"));
}
END_TEST

START_TEST(a_reset_without_a_name_is_of_all_vms)
{
	struct json_object *result = control_call(control, "stats.reset", "{}");

	ck_assert_uint_eq(json_object_array_length(json_at(result, "vms")), 2);
	json_object_put(result);
	ck_assert_int_eq(number("updates"), 0);
}
END_TEST

START_TEST(a_recovered_vm_is_counted_since_the_daemon_is_there)
{
	const int64_t before = since_us("guest");

	protect_pages(5);
	control_close(control);
	kvmattrd_kill(d);
	kvmattrd_launch(d, NULL);
	control = control_connect(d);
	protect_pages(1);
	ck_assert_int_gt(since_us("guest"), before);
	ck_assert_int_le(number("updates"), 2);
	ck_assert_int_gt(number("uptime_us"), 0);
}
END_TEST

/* ---- The log's level ------------------------------------------------------------------------- */

static void expect_level(const char *level)
{
	struct json_object *result = control_call(control, "log.get_level", "{}");

	ck_assert_str_eq(json_text_at(result, "level"), level);
	json_object_put(result);
}

static void set_level(const char *level, const char *before)
{
	struct json_object *result =
		control_call(control, "log.set_level", "{\"level\":\"%s\"}", level);

	ck_assert_str_eq(json_text_at(result, "level"), level);
	ck_assert_str_eq(json_text_at(result, "before"), before);
	json_object_put(result);
	expect_level(level);
}

/* Whoever opens a session is logged with level debug. */
static bool logs_sessions(void)
{
	char *before = kvmattrd_read_log(d), *after;
	bool has;

	kvmattr_close(simulated_vmm_open_agent(guest, 1, 0));
	after = kvmattrd_read_log(d);
	has = strstr(after + strlen(before), "session") != NULL;
	free(before);
	free(after);
	return has;
}

START_TEST(the_level_says_what_is_logged_from_then_on)
{
	/* as the tests' daemons are started */
	expect_level("debug");
	ck_assert(logs_sessions());
	set_level("info", "debug");
	ck_assert(!logs_sessions());
	set_level("debug", "info");
	ck_assert(logs_sessions());
}
END_TEST

START_TEST(a_change_of_the_level_is_logged_with_who_wanted_it)
{
	char expected[128];

	set_level("error", "debug");
	snprintf(expected, sizeof(expected),
		 "info: log level error, was debug, set by uid %u, PID %d", getuid(), getpid());
	ck_assert_msg(kvmattrd_has_logged(d, expected), "not logged: %s", expected);
	set_level("warning", "error");
	ck_assert(!kvmattrd_has_logged(d, "log level warning"));
	set_level("info", "warning");
	ck_assert(kvmattrd_has_logged(d, "log level info, was warning"));
}
END_TEST

START_TEST(a_level_that_there_is_not_is_refused)
{
	control_expect_error(control, "log.set_level", "{\"level\":\"notice\"}", INVALID_PARAMS,
			     "params.level");
	control_expect_error(control, "log.set_level", "{}", INVALID_PARAMS, "is missing");
	expect_level("debug");
}
END_TEST

/* ---- Who may --------------------------------------------------------------------------------- */

START_TEST(looking_is_for_everyone_and_changing_for_operators)
{
	static const struct {
		const char *name, *role;
	} expected[] = {
		{ "stats.get", "observer" },      { "stats.reset", "operator" },
		{ "daemon.metrics", "observer" }, { "log.get_level", "observer" },
		{ "log.set_level", "operator" },
	};
	struct json_object *result = control_call(control, "rpc.methods", "{}");
	struct json_object *methods = json_at(result, "methods");
	int n = 0;

	for (size_t i = 0; i < json_object_array_length(methods); i++) {
		struct json_object *method = json_object_array_get_idx(methods, i);

		for (int e = 0; e < N(expected); e++) {
			if (strcmp(json_text_at(method, "name"), expected[e].name) != 0)
				continue;
			ck_assert_str_eq(json_text_at(method, "role"), expected[e].role);
			n++;
		}
	}
	ck_assert_int_eq(n, N(expected));
	json_object_put(result);
}
END_TEST

int main(void)
{
	TCase *latency = harness_make_case("latency", 20);
	TCase *reset = harness_make_case("reset", 20);
	TCase *levels = harness_make_case("levels", 20);

	tcase_add_checked_fixture(latency, start, stop);
	tcase_add_test(latency, every_update_that_is_answered_is_in_one_bucket);
	tcase_add_test(latency, an_update_that_waits_for_the_kernel_is_in_a_bucket_beyond_its_wait);
	tcase_add_test(latency, quantiles_rise_to_the_maximum);
	tcase_add_test(latency, of_all_vms_there_are_no_buckets);
	tcase_add_checked_fixture(reset, start, stop);
	tcase_add_test(reset, after_a_reset_all_is_counted_from_nothing);
	tcase_add_test(reset, a_reset_is_of_the_vm_that_it_names_and_says_since_when);
	tcase_add_test(reset, a_reset_without_a_name_is_of_all_vms);
	tcase_add_test(reset, a_recovered_vm_is_counted_since_the_daemon_is_there);
	tcase_add_checked_fixture(levels, start, stop);
	tcase_add_test(levels, the_level_says_what_is_logged_from_then_on);
	tcase_add_test(levels, a_change_of_the_level_is_logged_with_who_wanted_it);
	tcase_add_test(levels, a_level_that_there_is_not_is_refused);
	tcase_add_test(levels, looking_is_for_everyone_and_changing_for_operators);
	return harness_run("stats", (TCase *const[]){ latency, reset, levels, NULL });
}
