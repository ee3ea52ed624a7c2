/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * KVM's statistics of a VM's views, over REGISTER, RESUME and the service manager's store to
 * stats.kvm; and whatever else a peer may bring in their place.
 *
 * The VM is a simulated one.  Its statistics are a real VM's where KVM makes one here, which the
 * daemon reads though it is another process than the one that made it.
 */
#include "protocol/kvm-abi.h"
#include "tests/integration/fake-manager.h"
#include "tests/integration/raw-peer.h"
#include "tests/integration/restarts.h"
#include "tests/integration/siege.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define REGISTRATION_ID 77 /* of raw_make_register() */
#define RESUME_ID       0x2E5
#define SOON_MS         5000

/* ---- A VM with statistics -------------------------------------------------------------------- */

/* Of a VM that is gone but for this; -1 where there can be none. */
static int open_real(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = kvm < 0 ? -1 : ioctl(kvm, _IO(KVM_ABI_IO, 0x01), 0); /* KVM_CREATE_VM */
	int stats = vm < 0 ? -1 : ioctl(vm, KVM_ABI_GET_STATS_FD, 0);

	if (vm >= 0)
		close(vm);
	if (kvm >= 0)
		close(kvm);
	return stats;
}

static bool has_real(const char *test)
{
	int fd = open_real();

	if (fd < 0)
		printf("# skipped: %s: KVM makes no VM here, or has no KVM_GET_STATS_FD\n", test);
	else
		close(fd);
	return fd >= 0;
}

/*
 * Sends a message that brings two views, and the fds of these statistics behind theirs, on the
 * owner's connection.  The executor's socket is a new one.
 */
static void send_views(struct raw_vm *vm, const void *message, size_t size, const int *stats,
		       size_t n_stats)
{
	int sockets[2], fds[5] = { -1, vm->fds[0], vm->fds[1] };

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	vm->executor = sockets[0];
	fds[0] = sockets[1];
	memcpy(fds + 3, stats, n_stats * sizeof(*stats));
	raw_send_with_fds(vm->owner, message, size, fds, 3 + n_stats);
	close(sockets[1]);
}

/* views: a set of those that have statistics. */
static struct raw_vm begin(const struct kvmattrd *daemon, unsigned int views, const int *stats,
			   size_t n_stats)
{
	struct raw_register message = raw_make_register("guest");
	struct raw_vm vm = { .owner = raw_connect(daemon),
			     .fds = { raw_make_vm_fd(), raw_make_vm_fd() } };

	for (unsigned int i = 0; i < 2; i++)
		message.views[i].has_stats = views >> i & 1;
	vm.welcome = raw_say_hello(vm.owner);
	send_views(&vm, &message, sizeof(message), stats, n_stats);
	return vm;
}

/* A VM with a real one's statistics for these views. */
static struct raw_vm make_vm_with_statistics(const struct kvmattrd *daemon, unsigned int views)
{
	int stats[2] = { -1, -1 };
	size_t n = 0;
	struct raw_vm vm;

	for (unsigned int i = 0; i < 2; i++)
		if (views >> i & 1)
			stats[n++] = open_real();
	vm = begin(daemon, views, stats, n);
	for (size_t i = 0; i < n; i++)
		close(stats[i]);
	raw_vm_answer_probe(&vm);
	raw_vm_finish(&vm);
	return vm;
}

/* On a new connection. */
static void send_resume(struct raw_vm *vm, const struct kvmattrd *daemon, unsigned int views,
			const int *stats, size_t n_stats)
{
	struct {
		struct wire_resume head;
		struct wire_view views[2];
	} message = { .head = raw_make_resume(&vm->welcome, 0),
		      .views = { { .vtl = 0, .has_stats = views & 1 },
				 { .vtl = 1, .has_stats = views >> 1 & 1 } } };

	message.head.header.size = sizeof(message);
	message.head.n_views = 2;
	close(vm->owner);
	close(vm->executor);
	vm->owner = raw_greet(daemon);
	send_views(vm, &message, sizeof(message), stats, n_stats);
}

/* ---- What stats.kvm says ---------------------------------------------------------------------- */

/* why: what is said of a view that has none; NULL: it has KVM's. */
static void expect_view(struct json_object *result, unsigned int view, const char *why)
{
	struct json_object *of_view;
	char path[32];

	snprintf(path, sizeof(path), "views.%u", view);
	of_view = json_at(result, path);
	ck_assert_int_eq(json_number_at(of_view, "vtl"), view);
	ck_assert_uint_eq(json_object_array_length(json_at(of_view, "histograms")), 0);
	if (why) {
		ck_assert_ptr_null(json_at(of_view, "statistics"));
		ck_assert_msg(strstr(json_text_at(of_view, "text"), why), "not '%s' but '%s'", why,
			      json_text_at(of_view, "text"));
	} else {
		ck_assert_ptr_null(json_at(of_view, "text"));
		/* In virt/kvm/kvm_main.c, for every architecture. */
		ck_assert_int_ge(json_number_at(of_view, "statistics.remote_tlb_flush"), 0);
	}
}

static void expect_statistics(struct control_client *client, const char *why_0, const char *why_1)
{
	struct json_object *result = control_call(client, "stats.kvm", "{\"vm\":\"guest\"}");

	ck_assert_str_eq(json_text_at(result, "vm"), "guest");
	ck_assert_uint_eq(json_object_array_length(json_at(result, "views")), 2);
	expect_view(result, 0, why_0);
	expect_view(result, 1, why_1);
	json_object_put(result);
}

#define SIMULATED "a simulated VM has none"
#define AWAY      "the VM's owner has not come back so far"

START_TEST(without_statistics_stats_kvm_says_so_and_why)
{
	struct raw_vm vm;

	start(NULL);
	vm = raw_vm_start(d, "guest");
	expect_statistics(control, SIMULATED, SIMULATED);
	restart();
	expect_statistics(control, AWAY, AWAY);
	raw_vm_resume(&vm, d, 1, 1);
	expect_statistics(control, SIMULATED, SIMULATED);
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(the_statistics_of_the_views_that_have_them_are_read_until_the_vm_goes)
{
	if (!has_real("the_statistics_of_the_views_that_have_them_are_read_until_the_vm_goes"))
		return;
	for (unsigned int views = 1; views < 4; views++) {
		struct siege siege = siege_begin(NULL);
		struct raw_vm vm = make_vm_with_statistics(siege.daemon, views);

		expect_statistics(siege.control, views & 1 ? NULL : SIMULATED,
				  views & 2 ? NULL : SIMULATED);
		raw_vm_close(&vm);
		/* The descriptors are gone, too. */
		siege_end(&siege);
	}
}
END_TEST

START_TEST(an_owner_that_comes_back_brings_them_again)
{
	struct raw_vm vm;
	int stats;

	if (!has_real("an_owner_that_comes_back_brings_them_again"))
		return;
	start(NULL);
	vm = make_vm_with_statistics(d, 3);
	expect_statistics(control, NULL, NULL);
	restart();
	expect_statistics(control, AWAY, AWAY);
	stats = open_real();
	send_resume(&vm, d, 2, &stats, 1);
	close(stats);
	raw_receive_resumed(vm.owner);
	raw_vm_answer_probe(&vm);
	expect_statistics(control, SIMULATED, NULL);
	raw_vm_close(&vm);
	stop();
}
END_TEST

/* ---- The service manager's store ------------------------------------------------------------- */

static void start_with_manager(void)
{
	d = kvmattrd_prepare();
	d->manager = fake_manager_new(d->directory);
	launch(NULL);
}

static void stop_with_manager(struct raw_vm *vm)
{
	raw_vm_close(vm);
	EVENTUALLY(SOON_MS, fake_manager_count(d->manager, "guest.*") == 0);
	control_close(control);
	kvmattrd_terminate(d);
	fake_manager_free(d->manager);
	kvmattrd_discard(d);
}

START_TEST(the_service_manager_keeps_them_and_lets_go_of_them_with_the_vm)
{
	struct raw_vm vm;

	if (!has_real("the_service_manager_keeps_them_and_lets_go_of_them_with_the_vm"))
		return;
	start_with_manager();
	vm = make_vm_with_statistics(d, 2);
	for (int life = 0; life < 2; life++) {
		ck_assert_uint_eq(fake_manager_count(d->manager, "guest.*/stats*"), 1);
		ck_assert_uint_eq(fake_manager_count(d->manager, "guest.*/stats1"), 1);
		expect_statistics(control, SIMULATED, NULL);
		restart();
	}
	expect_statistics(control, SIMULATED, NULL);
	stop_with_manager(&vm);
}
END_TEST

START_TEST(a_vm_whose_statistics_did_not_come_back_goes_on_without_them)
{
	char name[256];
	struct raw_vm vm;

	if (!has_real("a_vm_whose_statistics_did_not_come_back_goes_on_without_them"))
		return;
	start_with_manager();
	vm = make_vm_with_statistics(d, 3);
	fake_manager_name(d->manager, "guest.*/stats1", name, sizeof(name));
	fake_manager_lose(d->manager, "guest.*/stats?");
	fake_manager_keep(d->manager, name, vm.fds[1]);
	restart();
	expect_statistics(control, SIMULATED, SIMULATED);
	ck_assert(kvmattrd_has_logged(d, "/stats1' came back from the service manager and is not"));
	stop_with_manager(&vm);
}
END_TEST

/* ---- What holds none ------------------------------------------------------------------------- */

/* Its other end says nothing: who reads from it waits for ever. */
static int make_pipe(void)
{
	static int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	return ends[0];
}

static int make_socket(void)
{
	static int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	return ends[0];
}

static int make_epoll(void)
{
	return epoll_create1(EPOLL_CLOEXEC);
}

static int make_memfd_of_that_name(void)
{
	return memfd_create("anon_inode:kvm-vm-stats", MFD_CLOEXEC);
}

static int make_directory(void)
{
	return open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static const struct {
	int (*make)(void);
	const char *part;
} no_statistics[] = {
	{ make_pipe, "it is 'pipe:[" },
	{ make_socket, "it is 'socket:[" },
	{ make_epoll, "it is 'anon_inode:[eventpoll]'" },
	{ raw_make_vm_fd, "it is '/memfd:kvmattr-simvm (deleted)'" },
	{ make_memfd_of_that_name, "it is '/memfd:anon_inode:kvm-vm-stats (deleted)'" },
	{ make_directory, "it is '/'" },
};

START_TEST(what_holds_no_statistics_is_refused_by_the_name_of_the_field)
{
	int fd = no_statistics[_i].make();

	ck_assert_int_ge(fd, 0);
	for (unsigned int view = 0; view < 2; view++) {
		struct siege siege = siege_begin(NULL);
		struct raw_vm vm = begin(siege.daemon, 1u << view, &fd, 1);
		char said[128];

		snprintf(said, sizeof(said),
			 "view.has_stats: the second fd for VTL %u holds no statistics of a "
			 "VM (anon_inode:kvm-vm-stats): %s",
			 view, no_statistics[_i].part);
		raw_expect_refusal(vm.owner, REGISTRATION_ID, KVMATTR_INVALID_PARAMETER, said);
		raw_vm_close(&vm);
		siege_end(&siege);
	}
	close(fd);
}
END_TEST

START_TEST(an_owner_that_comes_back_is_refused_what_holds_no_statistics_and_may_come_again)
{
	int fd = no_statistics[_i].make();
	struct raw_vm vm;

	start(NULL);
	vm = raw_vm_start(d, "guest");
	restart();
	send_resume(&vm, d, 1, &fd, 1);
	raw_expect_refusal(vm.owner, RESUME_ID, KVMATTR_INVALID_PARAMETER, no_statistics[_i].part);
	close(fd);
	expect_statistics(control, AWAY, AWAY);
	raw_vm_resume(&vm, d, 1, 1);
	raw_expect_alive(vm.owner);
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(another_number_of_descriptors_than_the_views_say_breaks_the_protocol)
{
	static const struct {
		unsigned int views;
		size_t n;
	} cases[] = { { 0, 1 }, { 1, 0 }, { 2, 2 }, { 3, 1 }, { 3, 0 } };
	const int fds[2] = { raw_make_vm_fd(), raw_make_vm_fd() };
	struct siege siege = siege_begin(NULL);

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct raw_vm vm = begin(siege.daemon, cases[i].views, fds, cases[i].n);

		raw_expect_broken(vm.owner, "then the statistics of each that has them");
		vm.owner = -1;
		raw_vm_close(&vm);
	}
	close(fds[0]);
	close(fds[1]);
	siege_end(&siege);
}
END_TEST

int main(void)
{
	TCase *tests = harness_make_case("KVM's statistics", 60);
	TCase *wrong = harness_make_case("what holds none", 60);

	tcase_add_test(tests, without_statistics_stats_kvm_says_so_and_why);
	tcase_add_test(tests,
		       the_statistics_of_the_views_that_have_them_are_read_until_the_vm_goes);
	tcase_add_test(tests, an_owner_that_comes_back_brings_them_again);
	tcase_add_test(tests, the_service_manager_keeps_them_and_lets_go_of_them_with_the_vm);
	tcase_add_test(tests, a_vm_whose_statistics_did_not_come_back_goes_on_without_them);
	tcase_add_loop_test(wrong, what_holds_no_statistics_is_refused_by_the_name_of_the_field, 0,
			    N(no_statistics));
	tcase_add_loop_test(
		wrong,
		an_owner_that_comes_back_is_refused_what_holds_no_statistics_and_may_come_again, 0,
		N(no_statistics));
	tcase_add_test(wrong, another_number_of_descriptors_than_the_views_say_breaks_the_protocol);
	return harness_run("KVM's statistics", (TCase *[]){ tests, wrong, NULL });
}
