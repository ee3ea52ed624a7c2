/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text that a monitoring system reads, against what it is to be, letter by letter; and a
 * histogram's buckets against the times themselves.
 */
#include "daemon/serve/exposition.h"
#include "tests/unit/seeded-suite.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct exposition exposition;

static void begin(void)
{
	exposition = (struct exposition){ 0 };
}

static void end(void)
{
	free(exposition.text);
}

START_TEST(a_family_is_its_help_its_type_and_its_samples)
{
	const struct exposition_label none[] = { { NULL, NULL } };
	const struct exposition_label two[] = { { "vm", "demo" }, { "vtl", "1" }, { NULL, NULL } };

	exposition_family(&exposition, "a_total", EXPOSITION_COUNTER, "What a is.");
	exposition_number(&exposition, "a_total", NULL, 0);
	exposition_number(&exposition, "a_total", none, 7);
	exposition_number(&exposition, "a_total", two, UINT64_MAX);
	exposition_family(&exposition, "b_seconds", EXPOSITION_GAUGE, "What b is.");
	exposition_us(&exposition, "b_seconds", two, 1);
	exposition_us(&exposition, "b_seconds", NULL, 1700000000000042);
	exposition_family(&exposition, "c", EXPOSITION_HISTOGRAM, "What c is.");
	ck_assert_str_eq(exposition.text, "# HELP a_total What a is.\n"
					  "# TYPE a_total counter\n"
					  "a_total 0\n"
					  "a_total 7\n"
					  "a_total{vm=\"demo\",vtl=\"1\"} 18446744073709551615\n"
					  "# HELP b_seconds What b is.\n"
					  "# TYPE b_seconds gauge\n"
					  "b_seconds{vm=\"demo\",vtl=\"1\"} 0.000001\n"
					  "b_seconds 1700000000.000042\n"
					  "# HELP c What c is.\n"
					  "# TYPE c histogram\n");
	ck_assert_uint_eq(exposition.n, strlen(exposition.text));
}
END_TEST

START_TEST(what_would_end_a_label_or_a_line_is_escaped)
{
	const struct exposition_label awkward[] = { { "a", "\\\"\n" },
						    { "b", "\n\nx" },
						    { "c", "" },
						    { "d", "\xc3\xa4{}," },
						    { NULL, NULL } };

	exposition_family(&exposition, "a", EXPOSITION_GAUGE, "One\\two\n\"three\"");
	exposition_number(&exposition, "a", awkward, 1);
	ck_assert_str_eq(exposition.text,
			 "# HELP a One\\\\two\\n\"three\"\n"
			 "# TYPE a gauge\n"
			 "a{a=\"\\\\\\\"\\n\",b=\"\\n\\nx\",c=\"\",d=\"\xc3\xa4{},\"} 1\n");
}
END_TEST

START_TEST(text_of_any_length_is_there_whole)
{
	char value[3000], *expected;

	for (size_t n = 0; n < sizeof(value); n += 1 + n / 8) {
		const struct exposition_label label[] = { { "l", value }, { NULL, NULL } };

		memset(value, 'v', n);
		value[n] = '\0';
		exposition.n = 0;
		exposition_number(&exposition, "name", label, n);
		ck_assert_int_gt(asprintf(&expected, "name{l=\"%s\"} %zu\n", value, n), 0);
		ck_assert_str_eq(exposition.text, expected);
		free(expected);
	}
}
END_TEST

/* The value of the line that begins so. */
static uint64_t value_of(const char *series)
{
	const char *line = strstr(exposition.text, series);

	ck_assert_msg(line, "no %s in %s", series, exposition.text);
	return strtoull(line + strlen(series), NULL, 10);
}

START_TEST(a_bucket_has_all_that_took_less_than_its_limit)
{
	const struct exposition_label vm[] = { { "vm", "demo" }, { NULL, NULL } };
	uint64_t random = seeded_suite_random(_i), times[1000], total_us = 0;
	struct latency latency = { 0 };
	char series[80];

	for (size_t i = 0; i < N(times); i++) {
		times[i] = random_below(&random, UINT64_C(1) << random_below(&random, 32));
		/* the edges of the buckets, too */
		if (random_one_in(&random, 4))
			times[i] = (UINT64_C(1) << random_below(&random, 32)) -
				   random_below(&random, 2);
		total_us += times[i];
		latency_add(&latency, times[i]);
	}
	exposition_latency(&exposition, "t", vm, &latency);
	for (unsigned int log2 = EXPOSITION_MIN_LIMIT_LOG2; log2 <= EXPOSITION_MAX_LIMIT_LOG2;
	     log2++) {
		const uint64_t limit_us = UINT64_C(1) << log2;
		uint64_t n = 0;

		for (size_t i = 0; i < N(times); i++)
			n += times[i] < limit_us;
		snprintf(series, sizeof(series),
			 "t_bucket{vm=\"demo\",le=\"%" PRIu64 ".%06" PRIu64 "\"} ",
			 limit_us / 1000000, limit_us % 1000000);
		ck_assert_uint_eq(value_of(series), n);
	}
	ck_assert_uint_eq(value_of("t_bucket{vm=\"demo\",le=\"+Inf\"} "), N(times));
	ck_assert_uint_eq(value_of("t_count{vm=\"demo\"} "), N(times));
	ck_assert_uint_eq(value_of("t_sum{vm=\"demo\"} "), total_us / 1000000);
}
END_TEST

int main(void)
{
	TCase *text = tcase_create("text");
	TCase *histograms = tcase_create("histograms");

	tcase_add_checked_fixture(text, begin, end);
	tcase_add_test(text, a_family_is_its_help_its_type_and_its_samples);
	tcase_add_test(text, what_would_end_a_label_or_a_line_is_escaped);
	tcase_add_test(text, text_of_any_length_is_there_whole);
	tcase_add_checked_fixture(histograms, begin, end);
	tcase_add_loop_test(histograms, a_bucket_has_all_that_took_less_than_its_limit, 0, 10);
	return seeded_suite_run("exposition", (TCase *[]){ text, histograms, NULL });
}
