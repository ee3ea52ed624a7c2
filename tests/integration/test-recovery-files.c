/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Journals that cannot be gone on with as they are, and disks that take nothing: what is recovered,
 * what is left alone, what is refused.
 */
#include "daemon/journal/journal.h"
#include "daemon/journal/vm-records.h"
#include "tests/integration/restarts.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a segment of a journal holds before its first record. */
#define SEGMENT_HEADER sizeof(struct journal_segment_header)

struct bytes {
	uint8_t *data;
	size_t size;
};

static struct bytes read_file(const char *path)
{
	struct bytes bytes = { 0 };
	struct stat status;
	int fd = open(path, O_RDONLY);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &status), 0);
	bytes.size = (size_t)status.st_size;
	bytes.data = malloc(bytes.size);
	ck_assert_int_eq(read(fd, bytes.data, bytes.size), status.st_size);
	close(fd);
	return bytes;
}

static void write_file(const char *path, const struct bytes *bytes)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes->data, bytes->size), (ssize_t)bytes->size);
	close(fd);
}

static void flip(const char *path, size_t offset)
{
	struct bytes bytes = read_file(path);

	ck_assert_uint_lt(offset, bytes.size);
	bytes.data[offset] ^= 0x10;
	write_file(path, &bytes);
	free(bytes.data);
}

static void expect_unchanged(const char *path, const struct bytes *before)
{
	struct bytes now = read_file(path);

	ck_assert_uint_eq(now.size, before->size);
	ck_assert_mem_eq(now.data, before->data, now.size);
	free(now.data);
}

/* ---- Files that are not as they were -------------------------------------------------------- */

START_TEST(a_last_write_that_is_not_whole_is_cut_off_and_said)
{
	struct raw_vm vm;
	struct bytes segment;

	start(NULL);
	vm = make_vm("guest");
	kill_daemon();
	segment = read_file(segment_of("guest"));
	ck_assert_int_eq(truncate(segment_of("guest"), (off_t)segment.size - 3), 0);
	launch(NULL);
	expect_vm("guest", "waiting", true);
	ck_assert(kvmattrd_has_logged(d,
				      "VM 'guest': the last write into its journal was not whole"));
	/* The end of the batch was in it: so the batch is not in force, and KVM is told again. */
	expect_layer("guest", 5, "rwx", "default");
	raw_vm_resume(&vm, d, 1, 1);
	ck_assert_uint_eq(raw_vm_take_calls(&vm, 5, 0), 0);
	raw_expect_alive(vm.owner);
	restart();
	expect_vm("guest", "waiting", true);
	free(segment.data);
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(a_damaged_journal_stops_its_own_vm_and_is_left_as_it_is)
{
	struct raw_register registration = raw_make_register("guest");
	struct raw_vm vm, neighbour, other;
	struct bytes damaged;
	char path[440], command[1000];

	start(NULL);
	vm = make_vm("guest");
	neighbour = make_vm("neighbour");
	kill_daemon();
	snprintf(path, sizeof(path), "%s", segment_of("guest"));
	flip(path, SEGMENT_HEADER + 40);
	damaged = read_file(path);
	launch(NULL);
	ck_assert(!control_has_vm(control, "guest"));
	expect_vm("neighbour", "waiting", true);
	ck_assert(kvmattrd_has_logged(d, "error: VM 'guest': not recovered: "));
	ck_assert(kvmattrd_has_logged(d, "0000000000000001.journal, offset 64"));

	other = raw_vm_begin(d, &registration);
	raw_expect_refusal(other.owner, registration.head.header.id, KVMATTR_VM_EXISTS,
			   "0000000000000001.journal, offset 64");
	raw_vm_close(&other);
	raw_vm_resume(&neighbour, d, 2, 2);
	raw_expect_alive(neighbour.owner);
	restart();
	expect_unchanged(path, &damaged);
	snprintf(command, sizeof(command), "mv %s %s/aside", journal_of("guest"), d->directory);
	ck_assert_int_eq(system(command), 0);
	other = make_vm("guest");
	raw_vm_close(&other);
	free(damaged.data);
	raw_vm_close(&vm);
	raw_vm_close(&neighbour);
	stop();
}
END_TEST

START_TEST(a_journal_whose_header_cannot_be_read_stops_its_own_vm)
{
	struct raw_vm vm, neighbour;

	start(NULL);
	vm = make_vm("guest");
	neighbour = make_vm("neighbour");
	kill_daemon();
	flip(segment_of("guest"), (size_t)_i);
	launch(NULL);
	ck_assert(!control_has_vm(control, "guest"));
	expect_vm("neighbour", "waiting", true);
	ck_assert(kvmattrd_has_logged(d, "error: VM 'guest': not recovered: "));
	raw_vm_close(&vm);
	raw_vm_close(&neighbour);
	stop();
}
END_TEST

/* Makes a segment something that the daemon would not have made. */
static void spoil(const char *path, int how)
{
	char other[500];

	switch (how) {
	case 0:
		ck_assert_int_eq(chmod(path, 0640), 0);
		return;
	case 1:
		/* only root can give a file away */
		ck_assert_int_eq(geteuid() ? chmod(path, 0602) : chown(path, 65534, (gid_t)-1), 0);
		return;
	case 2:
		snprintf(other, sizeof(other), "%s/elsewhere", d->directory);
		ck_assert_int_eq(rename(path, other), 0);
		ck_assert_int_eq(symlink(other, path), 0);
		return;
	default:
		ck_assert_int_eq(unlink(path), 0);
		ck_assert_int_eq(mkfifo(path, 0600), 0);
		return;
	}
}

START_TEST(a_journal_of_which_a_file_is_not_the_daemons_alone_stops_its_own_vm)
{
	struct raw_vm vm, neighbour;

	start(NULL);
	vm = make_vm("guest");
	neighbour = make_vm("neighbour");
	kill_daemon();
	spoil(segment_of("guest"), _i);
	launch(NULL);
	ck_assert(!control_has_vm(control, "guest"));
	expect_vm("neighbour", "waiting", true);
	ck_assert(kvmattrd_has_logged(d, "error: VM 'guest': not recovered: "));
	raw_vm_close(&vm);
	raw_vm_close(&neighbour);
	stop();
}
END_TEST

/*
 * Somebody kept a copy of it, which is behind by now: its name comes before the other's, or behind.
 */
START_TEST(a_copy_of_a_journal_is_left_alone_and_its_vm_goes_on_from_the_original)
{
	static const char *const copies[] = { "guest.0000000000000000", "guest.ffffffffffffffff" };
	struct raw_update update = raw_make_update(3);
	char command[1000];
	struct raw_vm vm;

	start(NULL);
	vm = make_vm("guest");
	snprintf(command, sizeof(command), "cp -a %s %s/copy", journal_of("guest"), d->directory);
	ck_assert_int_eq(system(command), 0);
	update.gfns[0] = 100;
	update.gfns[1] = 101;
	raw_send(vm.owner, &update, sizeof(update));
	raw_vm_answer_calls(&vm);
	ck_assert_uint_eq(raw_receive_answer(vm.owner, 3, NULL), 0);
	kill_daemon();
	snprintf(command, sizeof(command), "mv %s/copy %s/vms/%s", d->directory, d->state_dir,
		 copies[_i]);
	ck_assert_int_eq(system(command), 0);
	launch(NULL);
	expect_vm("guest", "waiting", true);
	expect_layer("guest", 100, "r", "explicit");
	ck_assert(kvmattrd_has_logged(d, copies[_i]));
	raw_vm_resume(&vm, d, 3, 3);
	raw_expect_alive(vm.owner);
	raw_vm_close(&vm);
	stop();
}
END_TEST

/* Whoever can write there could have all later sessions, of all VMs, begin with 0 again. */
START_TEST(a_journal_with_a_session_that_no_daemon_comes_to_stops_its_own_vm)
{
	struct vm_record_session last = { .id = UINT64_MAX, .role = WIRE_ROLE_AGENT };
	const struct iovec part = { &last, sizeof(last) };
	struct raw_vm vm, other;
	struct journal *journal;
	struct journal_error error;
	char path[64];
	uint64_t n_cut;
	int fd;

	start(NULL);
	vm = make_vm("guest");
	kill_daemon();
	snprintf(path, sizeof(path), "%s/vms", d->state_dir);
	fd = open(path, O_RDONLY | O_DIRECTORY);
	ck_assert_int_eq(journal_reopen(fd, strrchr(journal_of("guest"), '/') + 1,
					(struct journal_options){ .segment_size = 1 << 20 },
					&journal, &n_cut, &error),
			 0);
	journal_append(journal, VM_RECORD_SESSION, 1, &part, 1);
	ck_assert_int_eq(journal_write(journal), 0);
	journal_free(journal);
	close(fd);
	launch(NULL);
	ck_assert(!control_has_vm(control, "guest"));
	ck_assert(kvmattrd_has_logged(d, "error: VM 'guest': not recovered: "));
	other = make_vm("other");
	restart();
	expect_vm("other", "waiting", true);
	raw_vm_close(&other);
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(the_journal_of_another_boot_is_history)
{
	const struct journal_identity another = { .boot_id = { 1, 2, 3 }, .life_id = { 4, 5 } };
	struct vm_record_registered facts = { .name = "guest", .n_views = 1, .executor = 1 };
	struct wire_view view = { .abi = KVMATTR_ABI_DENY, .supported = 15 };
	struct iovec parts[] = { { &facts, sizeof(facts) }, { &view, sizeof(view) } };
	struct journal *journal;
	struct bytes before;
	struct raw_vm vm;
	char path[128];
	int directory;

	start(NULL);
	kill_daemon();
	snprintf(path, sizeof(path), "%s/vms", d->state_dir);
	directory = open(path, O_PATH | O_DIRECTORY);
	ck_assert_int_ge(directory, 0);
	ck_assert_int_eq(journal_create(directory, "guest.0405000000000000", &another,
					(struct journal_options){ .segment_size = 1 << 20 },
					&journal),
			 0);
	journal_append(journal, VM_RECORD_REGISTERED, 1, parts, 2);
	journal_append(journal, VM_RECORD_READY, 1, NULL, 0);
	ck_assert_int_eq(journal_write(journal), 0);
	journal_free(journal);
	close(directory);
	before = read_file(segment_of("guest"));
	launch(NULL);
	ck_assert(!control_has_vm(control, "guest"));
	expect_unchanged(segment_of("guest"), &before);
	vm = make_vm("guest");
	raw_vm_close(&vm);
	free(before.data);
	stop();
}
END_TEST

START_TEST(whatever_else_lies_among_the_journals_is_left_alone)
{
	char path[128];
	struct stat status;
	struct raw_vm vm;
	int fd;

	start(NULL);
	vm = make_vm("guest");
	kill_daemon();
	snprintf(path, sizeof(path), "%s/vms/lost+found", d->state_dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/vms/notes", d->state_dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	launch(NULL);
	expect_vm("guest", "waiting", true);
	ck_assert_int_eq(stat(path, &status), 0);
	raw_vm_close(&vm);
	stop();
}
END_TEST

/* A disk that is full, as far as the daemon can tell; and one that is not. */
static void fill_disk(bool is_full)
{
	const struct rlimit limit = { .rlim_cur = is_full ? 0 : RLIM_INFINITY,
				      .rlim_max = RLIM_INFINITY };

	ck_assert_int_eq(prlimit(d->pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

START_TEST(a_registration_that_cannot_be_written_down_is_refused_and_leaves_nothing)
{
	struct raw_register registration = raw_make_register("guest");
	struct raw_vm vm;

	start(NULL);
	fill_disk(true);
	vm = raw_vm_begin(d, &registration);
	raw_vm_answer_probe(&vm);
	raw_expect_refusal(vm.owner, registration.head.header.id, KVMATTR_JOURNAL_FAILED,
			   "its journal cannot be written");
	raw_vm_close(&vm);
	ck_assert(!control_has_vm(control, "guest"));
	ck_assert_str_eq(journal_of("guest"), "");
	fill_disk(false);
	vm = make_vm("guest");
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(updates_that_cannot_be_written_down_change_nothing_and_later_ones_are_taken_again)
{
	struct wire_open_agent open = { .header =
						wire_header_make(WIRE_OPEN_AGENT, sizeof(open), 5),
					.vtl = 1 };
	struct raw_update update = raw_make_update(3);
	struct wire_failure failure = { 0 };
	struct raw_vm vm;

	start(NULL);
	vm = make_vm("guest");
	fill_disk(true);
	update.gfns[0] = 100;
	update.gfns[1] = 101;
	raw_send(vm.owner, &update, sizeof(update));
	ck_assert_uint_eq(raw_receive_answer(vm.owner, 3, &failure), 1);
	ck_assert_uint_eq(failure.status, KVMATTR_JOURNAL_FAILED);
	expect_layer("guest", 100, "rwx", "default");
	raw_send(vm.owner, &open, sizeof(open));
	raw_expect_refusal(vm.owner, 5, KVMATTR_JOURNAL_FAILED, "cannot be written");
	fill_disk(false);
	update.head.header.id = 4;
	raw_send(vm.owner, &update, sizeof(update));
	raw_vm_answer_calls(&vm);
	ck_assert_uint_eq(raw_receive_answer(vm.owner, 4, NULL), 0);
	restart();
	expect_layer("guest", 100, "r", "explicit");
	/* What was refused is told again to a peer that has not heard it. */
	raw_vm_send_resume(&vm, d, 2);
	ck_assert_uint_eq(raw_receive_resumed(vm.owner).settled, 4);
	ck_assert_uint_eq(raw_receive_answer(vm.owner, 4, &failure), 1);
	ck_assert_uint_eq(failure.seqno, 3);
	ck_assert_uint_eq(failure.status, KVMATTR_JOURNAL_FAILED);
	raw_vm_answer_probe(&vm);
	raw_expect_alive(vm.owner);
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(what_was_refused_while_nothing_could_be_written_need_not_be_known_after_a_restart)
{
	struct raw_update update = raw_make_update(3);
	struct wire_failure failure = { 0 };
	struct raw_vm vm;

	start(NULL);
	vm = make_vm("guest");
	fill_disk(true);
	raw_send(vm.owner, &update, sizeof(update));
	ck_assert_uint_eq(raw_receive_answer(vm.owner, 3, &failure), 1);
	kill_daemon();
	launch(NULL);
	raw_vm_resume(&vm, d, 3, 3);
	ck_assert(kvmattrd_has_logged(d, "has answers up to seqno 3, its journal up to 2"));
	update.head.header.id = 4;
	update.gfns[0] = 100;
	update.gfns[1] = 101;
	raw_send(vm.owner, &update, sizeof(update));
	raw_vm_answer_calls(&vm);
	ck_assert_uint_eq(raw_receive_answer(vm.owner, 4, NULL), 0);
	restart();
	expect_layer("guest", 100, "r", "explicit");
	raw_vm_resume(&vm, d, 4, 4);
	raw_expect_alive(vm.owner);
	raw_vm_close(&vm);
	stop();
}
END_TEST

int main(void)
{
	TCase *files = harness_make_case("files", 20);

	tcase_add_test(files, a_last_write_that_is_not_whole_is_cut_off_and_said);
	tcase_add_test(files, a_damaged_journal_stops_its_own_vm_and_is_left_as_it_is);
	tcase_add_loop_test(files, a_journal_whose_header_cannot_be_read_stops_its_own_vm, 0,
			    (int)SEGMENT_HEADER);
	tcase_add_loop_test(
		files, a_journal_of_which_a_file_is_not_the_daemons_alone_stops_its_own_vm, 0, 4);
	tcase_add_loop_test(files,
			    a_copy_of_a_journal_is_left_alone_and_its_vm_goes_on_from_the_original,
			    0, 2);
	tcase_add_test(files, a_journal_with_a_session_that_no_daemon_comes_to_stops_its_own_vm);
	tcase_add_test(files, the_journal_of_another_boot_is_history);
	tcase_add_test(files, whatever_else_lies_among_the_journals_is_left_alone);
	tcase_add_test(files,
		       a_registration_that_cannot_be_written_down_is_refused_and_leaves_nothing);
	tcase_add_test(
		files,
		updates_that_cannot_be_written_down_change_nothing_and_later_ones_are_taken_again);
	tcase_add_test(
		files,
		what_was_refused_while_nothing_could_be_written_need_not_be_known_after_a_restart);
	return harness_run("recovery of files", (TCase *const[]){ files, NULL });
}
