/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registrations of what is no VM, is one already, or cannot be one; and executor's sockets that
 * are none.  Each gets its own status and text, and the peer may try again.
 */
#include "tests/integration/raw-peer.h"
#include "tests/integration/siege.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define REGISTRATION_ID 77 /* of raw_make_register() */

/* The descriptors of a good registration: the executor's socket, two views. */
struct offer {
	int peer;
	int executor; /* our end */
	int fds[3];
};

static struct offer make_offer(const struct kvmattrd *d)
{
	struct offer offer = { .peer = raw_greet(d) };
	int sockets[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	offer.executor = sockets[0];
	offer.fds[0] = sockets[1];
	offer.fds[1] = raw_make_vm_fd();
	offer.fds[2] = raw_make_vm_fd();
	return offer;
}

static void replace(struct offer *offer, int i, int fd)
{
	ck_assert_int_ge(fd, 0);
	close(offer->fds[i]);
	offer->fds[i] = fd;
}

static void send_offer(const struct offer *offer, const struct raw_register *message)
{
	raw_send_with_fds(offer->peer, message, sizeof(*message), offer->fds, 3);
}

static void end_offer(struct offer *offer)
{
	if (offer->peer >= 0)
		close(offer->peer);
	close(offer->executor);
	for (int i = 0; i < 3; i++)
		close(offer->fds[i]);
}

/* The peer that was refused may do better. */
static void expect_good_registration(const struct kvmattrd *d, int peer)
{
	struct raw_register message = raw_make_register("hostile");
	struct offer offer = make_offer(d);
	struct raw_vm vm;

	close(offer.peer);
	offer.peer = -1;
	raw_send_with_fds(peer, &message, sizeof(message), offer.fds, 3);
	vm = (struct raw_vm){ .owner = peer, .executor = offer.executor, .fds = { -1, -1 } };
	raw_vm_answer_probe(&vm);
	raw_vm_finish(&vm);
	raw_expect_alive(peer);
	end_offer(&offer);
}

/* ---- What is no VM ------------------------------------------------------------------------- */

static int make_pipe(void)
{
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	close(ends[1]);
	return ends[0];
}

static int make_listener(void)
{
	const struct sockaddr_un unnamed = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* With the family alone, the kernel finds a name. */
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&unnamed, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	return fd;
}

static int make_file_with_a_name(void)
{
	char path[] = "/tmp/kvmattr-simvm-XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	return fd;
}

static int make_null(void)
{
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int make_eventfd(void)
{
	return eventfd(0, EFD_CLOEXEC);
}

static int make_epoll(void)
{
	return epoll_create1(EPOLL_CLOEXEC);
}

static int make_directory(void)
{
	return open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int make_other_memfd(void)
{
	return memfd_create("another", MFD_CLOEXEC);
}

static int make_similar_memfd(void)
{
	return memfd_create("kvmattr-simvmx", MFD_CLOEXEC);
}

static int make_socket(void)
{
	return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
}

static const struct {
	int (*make)(void);
	const char *part;
} no_vms[] = {
	{ make_pipe, "it is 'pipe:[" },
	{ make_listener, "it is 'socket:[" },
	{ make_socket, "it is 'socket:[" },
	{ make_file_with_a_name, "it is '/tmp/kvmattr-simvm-" },
	{ make_null, "it is '/dev/null'" },
	{ make_eventfd, "it is 'anon_inode:[eventfd]'" },
	{ make_epoll, "it is 'anon_inode:[eventpoll]'" },
	{ make_directory, "it is '/'" },
	{ make_other_memfd, "it is '/memfd:another" },
	{ make_similar_memfd, "it is '/memfd:kvmattr-simvmx" },
};

START_TEST(what_is_no_vm_is_refused_and_called_by_its_name)
{
	struct siege siege = siege_begin(NULL);
	struct raw_register message = raw_make_register("hostile");

	for (int view = 0; view < 2; view++) {
		struct offer offer = make_offer(siege.daemon);

		replace(&offer, 1 + view, no_vms[_i].make());
		send_offer(&offer, &message);
		raw_expect_refusal(offer.peer, REGISTRATION_ID, KVMATTR_NOT_A_VM, no_vms[_i].part);
		expect_good_registration(siege.daemon, offer.peer);
		end_offer(&offer);
	}
	siege_end(&siege);
}
END_TEST

START_TEST(a_name_that_is_none_is_refused_with_the_rule)
{
	static const char *const names[] = { "",    ".",   "..",        "-x",  ".hidden",
					     "a b", "a/b", "../../etc", "a:b", "%s%n" };
	struct siege siege = siege_begin(NULL);
	struct raw_register message = raw_make_register(names[_i]);
	struct offer offer = make_offer(siege.daemon);

	send_offer(&offer, &message);
	raw_expect_refusal(offer.peer, REGISTRATION_ID, KVMATTR_INVALID_PARAMETER,
			   "is no name for a VM: 1 to 63 letters");
	expect_good_registration(siege.daemon, offer.peer);
	end_offer(&offer);
	siege_end(&siege);
}
END_TEST

START_TEST(simulated_vms_are_refused_where_they_are_not_allowed)
{
	struct kvmattrd *d = kvmattrd_prepare();
	struct raw_register message = raw_make_register("hostile");
	struct offer offer;

	kvmattrd_launch_strict(d);
	offer = make_offer(d);
	send_offer(&offer, &message);
	raw_expect_refusal(offer.peer, REGISTRATION_ID, KVMATTR_NOT_A_VM, "--allow-simulated");
	end_offer(&offer);
	kvmattrd_stop(d);
}
END_TEST

/* ---- What is registered already ------------------------------------------------------------ */

START_TEST(a_name_and_a_vm_can_be_registered_once)
{
	struct siege siege = siege_begin(NULL);
	struct raw_vm vm = raw_vm_start(siege.daemon, "taken");
	struct raw_register message = raw_make_register("taken");
	struct offer offer = make_offer(siege.daemon);
	char owner[32];

	snprintf(owner, sizeof(owner), "(PID %d)", getpid());
	send_offer(&offer, &message);
	raw_expect_refusal(offer.peer, REGISTRATION_ID, KVMATTR_VM_EXISTS, owner);
	message = raw_make_register("bystander");
	send_offer(&offer, &message);
	raw_expect_refusal(offer.peer, REGISTRATION_ID, KVMATTR_VM_EXISTS,
			   "a VM named 'bystander' is registered already");
	/* Its VM under another name, and at another VTL. */
	message = raw_make_register("other");
	replace(&offer, 2, fcntl(vm.fds[0], F_DUPFD_CLOEXEC, 3));
	send_offer(&offer, &message);
	raw_expect_refusal(offer.peer, REGISTRATION_ID, KVMATTR_VM_EXISTS,
			   "the VM of VTL 1 is registered already, as 'taken'");
	/* A second VM on the same connection. */
	message = raw_make_register("second");
	raw_send_with_fds(vm.owner, &message, sizeof(message), offer.fds, 3);
	raw_expect_refusal(vm.owner, REGISTRATION_ID, KVMATTR_VM_EXISTS,
			   "this connection has a VM already");
	raw_expect_alive(vm.owner);
	end_offer(&offer);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

START_TEST(a_name_whose_registration_is_under_way_is_taken)
{
	struct siege siege = siege_begin(NULL);
	struct raw_register message = raw_make_register("slow");
	struct raw_vm vm = raw_vm_begin(siege.daemon, &message);
	struct offer offer = make_offer(siege.daemon);

	send_offer(&offer, &message);
	raw_expect_refusal(offer.peer, REGISTRATION_ID, KVMATTR_VM_EXISTS, "'slow'");
	raw_vm_answer_probe(&vm);
	raw_vm_finish(&vm);
	end_offer(&offer);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

START_TEST(an_agent_cannot_register_a_vm_on_its_socket)
{
	struct siege siege = siege_begin(NULL);
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
	int agent = raw_vm_open_agent(&vm, 1, 0);
	struct raw_register message = raw_make_register("agents");
	struct offer offer = make_offer(siege.daemon);

	raw_send_with_fds(agent, &message, sizeof(message), offer.fds, 3);
	raw_expect_refusal(agent, REGISTRATION_ID, KVMATTR_VM_EXISTS, "has a VM already");
	raw_expect_alive(agent);
	close(agent);
	end_offer(&offer);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

/* ---- Views and RAM ------------------------------------------------------------------------- */

START_TEST(views_have_each_a_vtl_and_a_vm_of_their_own_and_vtl_0_is_among_them)
{
	struct siege siege = siege_begin(NULL);
	struct raw_register message = raw_make_register("hostile");
	struct offer offer = make_offer(siege.daemon);

	message.views[1].vtl = 0;
	send_offer(&offer, &message);
	raw_expect_refusal(offer.peer, REGISTRATION_ID, KVMATTR_INVALID_PARAMETER,
			   "VTL 0 has two views");
	message.views[0].vtl = 2;
	message.views[1].vtl = 1;
	send_offer(&offer, &message);
	raw_expect_refusal(offer.peer, REGISTRATION_ID, KVMATTR_INVALID_PARAMETER,
			   "no view of VTL 0");
	message = raw_make_register("hostile");
	replace(&offer, 2, fcntl(offer.fds[1], F_DUPFD_CLOEXEC, 3));
	send_offer(&offer, &message);
	raw_expect_refusal(offer.peer, REGISTRATION_ID, KVMATTR_INVALID_PARAMETER,
			   "VTL 0 and VTL 1 have the same VM");
	expect_good_registration(siege.daemon, offer.peer);
	end_offer(&offer);
	siege_end(&siege);
}
END_TEST

/* A registration with two ranges of RAM. */
struct two_ranges {
	struct wire_register head;
	struct wire_view views[2];
	struct wire_ram ram[2];
};

static const struct {
	struct wire_ram ram[2];
	const char *part;
} bad_ram[] = {
	{ { { .gfn = 0, .n_pages = 16 }, { .gfn = 15, .n_pages = 16 } }, "GFN 0xf is RAM already" },
	{ { { .gfn = 0, .n_pages = 16 }, { .gfn = 0, .n_pages = 16, .private = 1 } },
	  "is RAM already" },
	{ { { .gfn = 8, .n_pages = 1 }, { .gfn = 0, .n_pages = KVMATTR_GFN_LIMIT } },
	  "is RAM already" },
	{ { { .gfn = 0, .n_pages = 16 }, { .gfn = UINT64_MAX, .n_pages = 2 } },
	  "past the last GFN" },
	{ { { .gfn = 0, .n_pages = 16 }, { .gfn = 16, .n_pages = UINT64_MAX } },
	  "past the last GFN" },
	{ { { .gfn = 0, .n_pages = 16 }, { .gfn = 16, .n_pages = UINT64_MAX - 15 } },
	  "past the last GFN" },
	{ { { .gfn = 0, .n_pages = 16 }, { .gfn = KVMATTR_GFN_LIMIT, .n_pages = 1 } },
	  "past the last GFN" },
	{ { { .gfn = 0, .n_pages = 16 }, { .gfn = UINT64_C(1) << 52, .n_pages = 1 } },
	  "past the last GFN" },
	{ { { .gfn = 0, .n_pages = 0 }, { .gfn = 16, .n_pages = 1 } }, "no pages" },
};

START_TEST(ram_that_overlaps_or_wraps_or_is_empty_is_invalid)
{
	struct siege siege = siege_begin(NULL);
	struct raw_register good = raw_make_register("hostile");
	struct two_ranges message = { .head = good.head,
				      .views = { good.views[0], good.views[1] } };
	struct offer offer = make_offer(siege.daemon);
	struct raw_vm vm = { .owner = offer.peer, .executor = offer.executor };

	message.head.header.size = sizeof(message);
	message.head.n_ram = 2;
	memcpy(message.ram, bad_ram[_i].ram, sizeof(message.ram));
	raw_send_with_fds(offer.peer, &message, sizeof(message), offer.fds, 3);
	raw_vm_answer_probe(&vm);
	/* Up to the range that is wrong, RAM may have been told already. */
	raw_vm_answer_calls_until(&vm, offer.peer);
	raw_expect_refusal(offer.peer, REGISTRATION_ID, KVMATTR_INVALID_PARAMETER,
			   bad_ram[_i].part);
	expect_good_registration(siege.daemon, offer.peer);
	end_offer(&offer);
	siege_end(&siege);
}
END_TEST

/* ---- Descriptors --------------------------------------------------------------------------- */

START_TEST(too_few_or_too_many_descriptors_break_the_protocol)
{
	static const size_t numbers[] = { 0, 1, 2, 4, 17, 18, SEQPACKET_MAX_FDS };
	struct siege siege = siege_begin(NULL);
	struct raw_register message = raw_make_register("hostile");
	struct offer offer = make_offer(siege.daemon);
	int fds[SEQPACKET_MAX_FDS];

	memcpy(fds, offer.fds, sizeof(offer.fds));
	for (size_t i = 3; i < numbers[_i]; i++)
		fds[i] = raw_make_vm_fd();
	raw_send_with_fds(offer.peer, &message, sizeof(message), fds, numbers[_i]);
	for (size_t i = 3; i < numbers[_i]; i++)
		close(fds[i]);
	raw_expect_broken(offer.peer, "file descriptors");
	offer.peer = -1;
	end_offer(&offer);
	siege_end(&siege);
}
END_TEST

static int make_stream(void)
{
	int sockets[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	close(sockets[1]);
	return sockets[0];
}

static int make_datagram(void)
{
	int sockets[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets), 0);
	close(sockets[1]);
	return sockets[0];
}

static int make_tcp(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

START_TEST(what_is_no_seqpacket_socket_is_no_executors)
{
	static int (*const make[])(void) = { make_stream,   make_datagram, make_tcp,
					     make_listener, make_pipe,     make_null,
					     make_eventfd,  raw_make_vm_fd };
	struct siege siege = siege_begin(NULL);
	struct raw_register message = raw_make_register("hostile");
	struct offer offer = make_offer(siege.daemon);

	replace(&offer, 0, make[_i]());
	send_offer(&offer, &message);
	raw_expect_broken(offer.peer, "an executor's SOCK_SEQPACKET socket");
	offer.peer = -1;
	end_offer(&offer);
	siege_end(&siege);
}
END_TEST

static int make_closed_seqpacket(void)
{
	int sockets[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	close(sockets[1]);
	return sockets[0];
}

static int make_seqpacket_listener(void)
{
	const struct sockaddr_un unnamed = { .sun_family = AF_UNIX };
	int fd = make_socket();

	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&unnamed, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	return fd;
}

START_TEST(an_executors_socket_that_nobody_holds_fails_the_registration)
{
	static int (*const make[])(void) = { make_closed_seqpacket, make_socket,
					     make_seqpacket_listener };
	struct siege siege = siege_begin(NULL);
	struct raw_register message = raw_make_register("hostile");
	struct offer offer = make_offer(siege.daemon);

	replace(&offer, 0, make[_i]());
	send_offer(&offer, &message);
	raw_expect_refusal(offer.peer, REGISTRATION_ID, KVMATTR_NO_VM, "executor");
	expect_good_registration(siege.daemon, offer.peer);
	end_offer(&offer);
	siege_end(&siege);
}
END_TEST

START_TEST(the_daemons_own_socket_is_no_executor)
{
	struct siege siege = siege_begin(NULL);
	struct raw_register message = raw_make_register("hostile");
	struct offer offer = make_offer(siege.daemon);

	/* It would ask itself, and tell itself that this is no hello. */
	replace(&offer, 0, raw_connect(siege.daemon));
	send_offer(&offer, &message);
	raw_expect_refusal(offer.peer, REGISTRATION_ID, KVMATTR_NO_VM, "executor");
	expect_good_registration(siege.daemon, offer.peer);
	end_offer(&offer);
	siege_end(&siege);
}
END_TEST

int main(void)
{
	TCase *no_vm = harness_make_case("no VM", 20);
	TCase *taken = harness_make_case("taken", 20);
	TCase *parts = harness_make_case("views and RAM", 20);
	TCase *descriptors = harness_make_case("descriptors", 20);

	tcase_add_loop_test(no_vm, what_is_no_vm_is_refused_and_called_by_its_name, 0, N(no_vms));
	tcase_add_loop_test(no_vm, a_name_that_is_none_is_refused_with_the_rule, 0, 10);
	tcase_add_test(no_vm, simulated_vms_are_refused_where_they_are_not_allowed);
	tcase_add_test(taken, a_name_and_a_vm_can_be_registered_once);
	tcase_add_test(taken, a_name_whose_registration_is_under_way_is_taken);
	tcase_add_test(taken, an_agent_cannot_register_a_vm_on_its_socket);
	tcase_add_test(parts, views_have_each_a_vtl_and_a_vm_of_their_own_and_vtl_0_is_among_them);
	tcase_add_loop_test(parts, ram_that_overlaps_or_wraps_or_is_empty_is_invalid, 0,
			    N(bad_ram));
	tcase_add_loop_test(descriptors, too_few_or_too_many_descriptors_break_the_protocol, 0, 7);
	tcase_add_loop_test(descriptors, what_is_no_seqpacket_socket_is_no_executors, 0, 8);
	tcase_add_loop_test(descriptors,
			    an_executors_socket_that_nobody_holds_fails_the_registration, 0, 3);
	tcase_add_test(descriptors, the_daemons_own_socket_is_no_executor);
	return harness_run("hostile registrations",
			   (TCase *const[]){ no_vm, taken, parts, descriptors, NULL });
}
