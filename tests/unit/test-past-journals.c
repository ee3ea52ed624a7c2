/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Journals of VMs that are gone: as many are kept as the operator wants, the newest, and nothing
 * else is ever removed.
 */
#include "daemon/journal/directory.h"
#include "daemon/serve/archivist.h"
#include "tests/unit/faulty-io.h"
#include "tests/unit/journal-checks.h"
#include "tests/unit/journaled-vm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ONE_SEGMENT ((uint64_t)64 << 20)
#define NO_LIMIT    UINT64_MAX
#define N_PAST      8u

static struct journaled_vm vm;
static char names[N_PAST][VM_JOURNAL_NAME_SIZE]; /* the oldest first */

static void begin(void)
{
	scratch_make();
	faulty_io_install();
	journaled_vm_begin(&vm, DURABILITY_PROCESS, ONE_SEGMENT, NO_LIMIT, seeded_suite_random(0));
}

static void end(void)
{
	journaled_vm_end(&vm);
	faulty_io_remove();
	scratch_clear("vms");
	scratch_remove();
}

static bool is_there(const char *name)
{
	return faccessat(vm.journals.directory_fd, name, F_OK, 0) == 0;
}

static unsigned int count_entries(void)
{
	int fd = openat(vm.journals.directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fdopendir(fd);
	struct dirent *entry;
	unsigned int n = 0;

	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory)))
		n += entry->d_name[0] != '.';
	closedir(directory);
	return n;
}

/* When it ended, as the files say: i seconds after the others' beginning. */
static void set_end(const char *name, unsigned int i)
{
	const struct timespec times[2] = { { 1000000 + i, 0 }, { 1000000 + i, 500 } };
	int fd = openat(vm.journals.directory_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ck_assert_int_eq(utimensat(fd, "0000000000000001.journal", times, 0), 0);
	close(fd);
}

static void make_journal(char name[VM_JOURNAL_NAME_SIZE], enum kvmattr_status status)
{
	ck_assert_int_eq(journaled_vm_create(&vm), 0);
	snprintf(name, VM_JOURNAL_NAME_SIZE, "%s", vm_journal_name(vm.journal));
	journaled_vm_close(&vm, status);
}

/* In an order of their own, so that no other order can stand for it. */
static void make_past_journals(void)
{
	static const unsigned int order[N_PAST] = { 3, 0, 6, 5, 1, 7, 4, 2 };

	vm.journals.max_past = 1000;
	for (unsigned int i = 0; i < N_PAST; i++) {
		make_journal(names[order[i]], KVMATTR_NO_VM);
		set_end(names[order[i]], order[i]);
	}
	ck_assert_uint_eq(count_entries(), N_PAST);
}

static void forget(unsigned int max_past)
{
	vm.journals.max_past = max_past;
	vm_journals_forget_past(&vm.journals);
	while (vm.journals.forgetting)
		journaled_vm_await(&vm);
}

static void expect_newest(unsigned int n)
{
	for (unsigned int i = 0; i < N_PAST; i++)
		ck_assert_int_eq(is_there(names[i]), i >= N_PAST - n);
}

START_TEST(the_newest_are_kept_as_many_as_are_wanted)
{
	make_past_journals();
	for (unsigned int n = N_PAST + 1; n <= N_PAST + 1; n--) {
		forget(n);
		expect_newest(n < N_PAST ? n : N_PAST);
	}
	ck_assert_uint_eq(count_entries(), 0);
}
END_TEST

START_TEST(when_a_vm_is_gone_the_oldest_goes_for_it)
{
	char name[VM_JOURNAL_NAME_SIZE];

	make_past_journals();
	vm.journals.max_past = N_PAST;
	make_journal(name, KVMATTR_NO_VM);
	while (vm.journals.forgetting)
		journaled_vm_await(&vm);
	ck_assert(is_there(name));
	expect_newest(N_PAST - 1);
}
END_TEST

/* One user has three, the oldest of all; another one has had more come and go since. */
START_TEST(nobodys_vms_drive_out_what_is_kept_of_another_user)
{
	vm.journals.max_past = 1000;
	for (unsigned int i = 0; i < N_PAST; i++) {
		vm.uid = i < 3 ? 1001 : 1002;
		make_journal(names[i], KVMATTR_NO_VM);
		set_end(names[i], i);
	}
	/* until they have as many, the other one's go; then the oldest of all */
	for (unsigned int n = N_PAST; n >= 6; n--) {
		forget(n);
		for (unsigned int i = 0; i < N_PAST; i++)
			ck_assert_int_eq(is_there(names[i]), i < 3 || i >= 3 + N_PAST - n);
	}
	forget(5);
	ck_assert(!is_there(names[0]));
	forget(2);
	ck_assert(is_there(names[2]) && is_there(names[N_PAST - 1]));
	ck_assert_uint_eq(count_entries(), 2);
	vm.uid = 0;
}
END_TEST

START_TEST(what_is_not_past_is_never_removed)
{
	char stopped[VM_JOURNAL_NAME_SIZE], damaged[VM_JOURNAL_NAME_SIZE];
	char path[VM_JOURNAL_NAME_SIZE + 32];
	int fd;

	make_past_journals();
	make_journal(stopped, KVMATTR_OK); /* the next daemon goes on with it */
	make_journal(damaged, KVMATTR_NO_VM);
	snprintf(path, sizeof(path), "%s/0000000000000001.journal", damaged);
	fd = openat(vm.journals.directory_fd, path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, "x", 1, lseek(fd, 0, SEEK_END) - 100), 1);
	close(fd);
	ck_assert_int_eq(mkdirat(vm.journals.directory_fd, "empty.0123456789abcdef", 0700), 0);
	ck_assert_int_eq(mkdirat(vm.journals.directory_fd, "somebody's", 0700), 0);
	ck_assert_int_eq(mkdirat(vm.journals.directory_fd, "else.removed", 0700), 0);
	ck_assert_int_eq(journaled_vm_create(&vm), 0); /* a VM that is hosted */
	forget(0);
	expect_newest(0);
	ck_assert_uint_eq(count_entries(), 6);
	ck_assert(is_there(stopped) && is_there(damaged) && is_there(vm.name));
	journaled_vm_go_on(&vm, 10);
	journaled_vm_expect(&vm);
}
END_TEST

START_TEST(a_journal_of_another_boot_is_past)
{
	char running[VM_JOURNAL_NAME_SIZE];

	make_past_journals();
	make_journal(running, KVMATTR_OK);
	vm.journals.boot_id[5] ^= 1; /* the host was booted again */
	forget(N_PAST + 1);
	expect_newest(N_PAST);
	ck_assert(is_there(running));
	forget(1);
	expect_newest(0);
	ck_assert(is_there(running));
	forget(0);
	ck_assert_uint_eq(count_entries(), 0);
}
END_TEST

START_TEST(where_something_else_lies_in_it_all_of_it_is_kept)
{
	struct journal_error error = { 0 };
	char path[VM_JOURNAL_NAME_SIZE + 32];
	struct stat status;

	make_past_journals();
	snprintf(path, sizeof(path), "%s/notes.txt", names[2]);
	close(openat(vm.journals.directory_fd, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	ck_assert_int_eq(vm_journal_remove(&vm.journals, names[2], &error), -ENOTEMPTY);
	ck_assert_str_eq(error.file, "notes.txt");
	forget(0);
	ck_assert_uint_eq(count_entries(), 1);
	ck_assert(is_there(names[2]) && is_there(path));
	snprintf(path, sizeof(path), "%s/0000000000000001.journal", names[2]);
	ck_assert_int_eq(fstatat(vm.journals.directory_fd, path, &status, 0), 0);
	ck_assert_int_gt(status.st_size, 64);
}
END_TEST

START_TEST(what_was_being_removed_when_the_daemon_died_is_removed)
{
	char renamed[VM_JOURNAL_NAME_SIZE + 16];

	make_past_journals();
	snprintf(renamed, sizeof(renamed), "%s%s", names[7], JOURNAL_REMOVED_SUFFIX);
	ck_assert_int_eq(
		renameat(vm.journals.directory_fd, names[7], vm.journals.directory_fd, renamed), 0);
	ck_assert(!vm_journal_is_name(renamed));
	forget(N_PAST);
	ck_assert(!is_there(renamed));
	ck_assert_uint_eq(count_entries(), N_PAST - 1);
}
END_TEST

START_TEST(whichever_call_fails_a_journal_is_whole_or_on_its_way_out)
{
	unsigned int at = 1, n_calls;

	do {
		char name[VM_JOURNAL_NAME_SIZE], renamed[VM_JOURNAL_NAME_SIZE + 16];

		vm.journals.max_past = 1000;
		make_journal(name, KVMATTR_NO_VM);
		snprintf(vm.name, sizeof(vm.name), "%s", name);
		snprintf(renamed, sizeof(renamed), "%s%s", name, JOURNAL_REMOVED_SUFFIX);
		faulty_io_fail(OF_OTHER_THREADS, at, (enum fault)_i, EIO);
		forget(0);
		n_calls = faulty_io_n_calls();
		faulty_io_fail(OF_OTHER_THREADS, 0, FAIL_ONCE, 0);
		if (is_there(name)) /* nobody began to remove it */
			journaled_vm_expect_commit(&vm);
		ck_assert_uint_eq(count_entries(), is_there(name) || is_there(renamed));
		forget(0);
		ck_assert_uint_eq(count_entries(), 0);
	} while (n_calls >= at++);
	printf("# fault %d: %u calls failed in turn\n", _i, at - 2);
	fflush(stdout);
	ck_assert_uint_gt(at, 10);
}
END_TEST

START_TEST(others_may_not_look_into_the_directory)
{
	struct vm_journals journals = vm.journals;
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", scratch_fd);
	ck_assert_int_eq(fchmod(vm.journals.directory_fd, 0755), 0);
	ck_assert_int_eq(vm_journals_open(&journals, path), -EPERM);
	ck_assert_int_eq(fchmod(vm.journals.directory_fd, 0700), 0);
	ck_assert_int_eq(vm_journals_open(&journals, path), 0);
	ck_assert(memcmp(journals.boot_id, vm.journals.boot_id, 16) == 0);
	vm_journals_close(&journals);
	ck_assert_int_eq(vm_journals_open(&journals, "/nowhere"), -ENOENT);
}
END_TEST

int main(void)
{
	TCase *past = tcase_create("past");

	tcase_add_checked_fixture(past, begin, end);
	tcase_add_test(past, the_newest_are_kept_as_many_as_are_wanted);
	tcase_add_test(past, when_a_vm_is_gone_the_oldest_goes_for_it);
	tcase_add_test(past, nobodys_vms_drive_out_what_is_kept_of_another_user);
	tcase_add_test(past, what_is_not_past_is_never_removed);
	tcase_add_test(past, a_journal_of_another_boot_is_past);
	tcase_add_test(past, where_something_else_lies_in_it_all_of_it_is_kept);
	tcase_add_test(past, what_was_being_removed_when_the_daemon_died_is_removed);
	tcase_add_loop_test(past, whichever_call_fails_a_journal_is_whole_or_on_its_way_out, 0,
			    N_FAULTS);
	tcase_add_test(past, others_may_not_look_into_the_directory);
	return seeded_suite_run("past-journals", (TCase *[]){ past, NULL });
}
