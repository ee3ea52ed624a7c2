/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/libkvmattr-checks.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct completion completions[MAX_RECORDS];
size_t n_completions;
const uint64_t gfns[KVMATTR_MAX_PAGES] = { 7, 3, 5, 9 };

static uintptr_t last_context;
static int n_fds_before;

static int n_entries(const char *path)
{
	DIR *directory = opendir(path);
	int n = 0;

	ck_assert_ptr_nonnull(directory);
	for (const struct dirent *entry; (entry = readdir(directory));)
		n += entry->d_name[0] != '.';
	closedir(directory);
	return n;
}

int n_threads(void)
{
	return n_entries("/proc/self/task");
}

static void start(void)
{
	n_fds_before = n_entries("/proc/self/fd");
	n_completions = 0; /* where tests are not forked */
	last_context = 0;
}

static void no_fd_is_left_open(void)
{
	ck_assert_int_eq(n_entries("/proc/self/fd"), n_fds_before);
}

TCase *checks_make_case(const char *name)
{
	TCase *tests = tcase_create(name);

	tcase_set_timeout(tests, 60); /* valgrind */
	tcase_add_checked_fixture(tests, start, no_fd_is_left_open);
	return tests;
}

int checks_run(const char *name, TCase *const *cases)
{
	Suite *suite = suite_create(name);
	SRunner *runner = srunner_create(suite);
	int n_failed;

	for (; *cases; cases++)
		suite_add_tcase(suite, *cases);
	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

struct kvmattr *connect_to(const struct scripted_daemon *daemon)
{
	struct kvmattr *c = NULL;

	ck_assert_int_eq(kvmattr_connect(daemon->path, "test", &c), 0);
	ck_assert_ptr_nonnull(c);
	return c;
}

void expect_message(const struct kvmattr *c, const char *part)
{
	ck_assert_msg(strstr(kvmattr_message(c), part), "\"%s\" does not say \"%s\"",
		      kvmattr_message(c), part);
}

void record(void *context, const struct kvmattr_answer *answer)
{
	struct completion *completion = &completions[n_completions];

	ck_assert_uint_lt(n_completions, MAX_RECORDS);
	n_completions++;
	*completion = (struct completion){ .context = (uintptr_t)context,
					   .seqno = answer->seqno,
					   .commit = answer->commit,
					   .status = answer->status,
					   .n_in_force = answer->n_in_force };
	snprintf(completion->text, sizeof(completion->text), "%s", answer->text);
}

struct kvmattr_update protect_pages(uint32_t n)
{
	return (struct kvmattr_update){ .kind = KVMATTR_PROTECT,
					.layer = 1,
					.value = KVMATTR_RX,
					.restricted = KVMATTR_ALL_LOWER,
					.gfns = gfns,
					.n = n };
}

void submit(struct kvmattr *c, size_t n, uint32_t n_pages)
{
	struct kvmattr_update update = protect_pages(n_pages);

	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(kvmattr_submit(c, &update, record, (void *)++last_context, NULL),
				 0);
}

void expect_completions(size_t n, int status)
{
	ck_assert_uint_eq(n_completions, n);
	for (size_t i = 0; i < n; i++) {
		ck_assert_uint_eq(completions[i].context, i + 1);
		ck_assert_uint_eq(completions[i].seqno, i + 1);
		ck_assert_int_eq(completions[i].status, status);
	}
}

struct wire_failure failure(uint64_t seqno, enum kvmattr_status status, uint32_t n_in_force,
			    const char *text)
{
	struct wire_failure f = { .seqno = seqno, .status = status, .n_in_force = n_in_force };

	snprintf(f.text, sizeof(f.text), "%s", text);
	return f;
}
