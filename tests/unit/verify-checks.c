/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/verify-checks.h"

#include <check.h>
#include <stdbool.h>
#include <string.h>

struct verify_report report;
struct journal_error error;

void verify_start(void)
{
	scratch_make();
}

void verify_stop(void)
{
	past_end();
	scratch_remove();
}

void verify_now(const char *name)
{
	int r = verify_journal(scratch_fd, name, 0, NULL, &report, &error);

	ck_assert_msg(r == 0, "%d: %s: %s", r, error.file, error.text);
}

void expect_whole(void)
{
	ck_assert_msg(!report.n_problems, "%s at %llu: %s", report.problems[0].file,
		      (unsigned long long)report.problems[0].offset, report.problems[0].text);
	ck_assert_uint_eq(report.resumed_at, 0);
}

void expect_problem(const char *file, const char *part)
{
	bool is_there = false;

	for (uint64_t i = 0; i < report.n_problems && i < VERIFY_MAX_PROBLEMS; i++) {
		const struct journal_error *problem = &report.problems[i];

		is_there |= !strcmp(problem->file, file) && strstr(problem->text, part);
		ck_assert_uint_gt(strlen(problem->text), 20);
	}
	ck_assert_msg(is_there, "%llu problems, the first: %s at %llu: %s; none with %s: %s",
		      (unsigned long long)report.n_problems, report.problems[0].file,
		      (unsigned long long)report.problems[0].offset, report.problems[0].text, file,
		      part);
}
