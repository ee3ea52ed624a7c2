/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl map show --svg: a file that holds what there is, is there whole, and takes nobody's
 * place but a file's.
 */
#include "tests/integration/ctl-guest.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[80];

/* 4096 pages, a cell each, 128 in a row. */
static void start(void)
{
	ctl_guest_start_protected();
	/* beside the daemon's own directories, gone with them */
	snprintf(path, sizeof(path), "%s/guest.svg", d->state_dir);
}

static void stop(void)
{
	unlink(path);
	ctl_guest_stop();
}

static void expect_draws(const char *vm, const char *file, int status, const char *err)
{
	ctl_expect(CTL(d, "map", "show", vm, "--svg", file), status, "", err);
}

static char *read_file(void)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;

	ck_assert_ptr_nonnull(file);
	ck_assert_int_gt(getdelim(&text, &size, '\0', file), 0);
	fclose(file);
	return text;
}

static unsigned int count(const char *text, const char *part)
{
	unsigned int n = 0;

	while ((text = strstr(text, part))) {
		text += strlen(part);
		n++;
	}
	return n;
}

START_TEST(runs_that_look_alike_are_one_rectangle_each_with_what_is_in_it)
{
	char *svg;

	expect_draws("guest", path, CTL_DONE, "");
	svg = read_file();
	ck_assert_int_eq(strncmp(svg, "<?xml", 5), 0);
	ck_assert_ptr_nonnull(strstr(svg, "Memory of VM guest as VTL 0 has it"));
	ck_assert_ptr_nonnull(strstr(svg, "as of commit 4"));
	/* In the map, whose rectangles have titles: rwx, rx, none and rwx again in the first of 32
	   rows; one in every other. */
	ck_assert_uint_eq(count(svg, "\"><title>0x"), 4 + 31);
	ck_assert_ptr_nonnull(
		strstr(svg, "<title>0x10000 to 0x20000, 64 KiB\nrx: 16 pages (100.00 %)</title>"));
	ck_assert_ptr_nonnull(
		strstr(svg, "<title>0x20000 to 0x28000, 32 KiB\nnone: 8 pages (100.00 %)</title>"));
	ck_assert_ptr_nonnull(strstr(svg, "0xf80000</text>"));
	ck_assert_ptr_nonnull(strstr(svg, "prefers-color-scheme: dark"));
	/* Nothing is fetched, nothing is run. */
	ck_assert_ptr_null(strstr(svg, "href"));
	ck_assert_ptr_null(strstr(svg, "<script"));
	ck_assert_str_eq(svg + strlen(svg) - 7, "</svg>\n");
	free(svg);
}
END_TEST

START_TEST(a_file_that_is_there_is_replaced_and_nothing_is_left_beside_it)
{
	struct dirent *entry;
	struct stat status;
	DIR *directory;
	unsigned int n = 0;
	FILE *file = fopen(path, "we");

	ck_assert_ptr_nonnull(file);
	fputs("what was there before", file);
	fclose(file);
	umask(027);
	expect_draws("guest", path, CTL_DONE, "");
	ck_assert_int_eq(stat(path, &status), 0);
	ck_assert_int_gt(status.st_size, 1000);
	ck_assert_int_eq(status.st_mode & 0777, 0640);
	directory = opendir(d->state_dir);
	while ((entry = readdir(directory)))
		n += !strncmp(entry->d_name, "guest.svg", 9);
	closedir(directory);
	ck_assert_uint_eq(n, 1);
}
END_TEST

START_TEST(what_is_no_regular_file_is_left_alone)
{
	struct stat status;

	ck_assert_int_eq(symlink("/dev/null", path), 0);
	expect_draws("guest", path, CTL_IS_UNREADABLE, "no regular file");
	ck_assert_int_eq(lstat(path, &status), 0);
	ck_assert(S_ISLNK(status.st_mode));
	expect_draws("guest", d->state_dir, CTL_IS_UNREADABLE, "no regular file");
	expect_draws("guest", "/nowhere/guest.svg", CTL_IS_UNREADABLE, "/nowhere/guest.svg");
}
END_TEST

START_TEST(where_the_daemon_refuses_there_is_no_file)
{
	expect_draws("nobody", path, CTL_IS_REFUSED, "guest");
	ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

int main(void)
{
	TCase *pictures = harness_make_case("pictures", 20);

	tcase_add_checked_fixture(pictures, start, stop);
	tcase_add_test(pictures, runs_that_look_alike_are_one_rectangle_each_with_what_is_in_it);
	tcase_add_test(pictures, a_file_that_is_there_is_replaced_and_nothing_is_left_beside_it);
	tcase_add_test(pictures, what_is_no_regular_file_is_left_alone);
	tcase_add_test(pictures, where_the_daemon_refuses_there_is_no_file);
	return harness_run("kvmattrctl map show --svg", (TCase *const[]){ pictures, NULL });
}
