/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What comes back from the service manager under a name and is not what it is to be.
 */
#include "protocol/seqpacket.h"
#include "tests/unit/fd-store-lives.h"
#include "tests/unit/seeded-suite.h"

#include <sys/mman.h>
#include <sys/socket.h>

static int make_memfd(void)
{
	return memfd_create("kvmattr-simvm", 0);
}

static int make_stream(void)
{
	int ends[2] = { -1, -1 };

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	return ends[0];
}

static int make_pair(void)
{
	int ends[2] = { -1, -1 };

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	return ends[0];
}

static int make_unconnected(void)
{
	return socket(AF_UNIX, SOCK_SEQPACKET, 0);
}

static int make_inet(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int make_listener(void)
{
	return listen_at(lives.socket_path, SOCK_SEQPACKET);
}

static int make_stream_listener(void)
{
	return listen_at(lives.socket_path, SOCK_STREAM);
}

static int make_listener_elsewhere(void)
{
	char path[80];
	int fd;

	snprintf(path, sizeof(path), "%s-too", lives.socket_path);
	fd = listen_at(path, SOCK_SEQPACKET);
	unlink(path);
	return fd;
}

static int make_listener_without_file(void)
{
	int fd = listen_at(lives.socket_path, SOCK_SEQPACKET);

	unlink(lives.socket_path);
	return fd;
}

static int make_envelope(const int *fds, size_t n)
{
	struct iovec part = { (void *)"x", 1 };
	int ends[2] = { -1, -1 };

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	ck_assert_int_eq(seqpacket_send(ends[1], &part, 1, fds, n, 0), 0);
	return ends[0];
}

static int make_envelope_of_two(void)
{
	return make_envelope((const int[]){ make_memfd(), make_memfd() }, 2);
}

static int make_envelope_of_another_file(void)
{
	return make_envelope((const int[]){ memfd_create("another", 0) }, 1);
}

static int make_envelope_of_a_simulated_vm(void)
{
	return make_envelope((const int[]){ make_memfd() }, 1);
}

static void take_connection(struct fd_store *store)
{
	MUST(fd_store_take(store, "it") < 0);
}

static void take_listener(struct fd_store *store)
{
	MUST(fd_store_take_listener(store, "it", SOCK_SEQPACKET, lives.socket_path) < 0);
}

static void take_simulated_vm(struct fd_store *store)
{
	MUST(fd_store_take_vm(store, "it", VM_FD_SIMULATED) < 0);
}

static void take_real_vm(struct fd_store *store)
{
	MUST(fd_store_take_vm(store, "it", VM_FD_KVM) < 0);
}

static const struct {
	int (*make)(void);
	void (*take)(struct fd_store *store);
	const char *said;
} wrong[] = {
	{ make_memfd, take_connection, "no UNIX SOCK_SEQPACKET socket" },
	{ make_stream, take_connection, "no UNIX SOCK_SEQPACKET socket" },
	{ make_inet, take_connection, "no UNIX SOCK_SEQPACKET socket" },
	{ make_listener, take_connection, "a socket that listens" },
	{ make_unconnected, take_connection, "a socket that is not connected" },
	{ make_memfd, take_listener, "no socket of that type" },
	{ make_inet, take_listener, "no socket of that type" },
	{ make_stream_listener, take_listener, "no socket of that type" },
	{ make_pair, take_listener, "a socket that does not listen" },
	{ make_unconnected, take_listener, "a socket that does not listen" },
	{ make_listener_elsewhere, take_listener, "a socket that listens elsewhere" },
	{ make_listener_without_file, take_listener, "a socket whose file is gone" },
	{ make_memfd, take_simulated_vm, "no envelope" },
	{ make_stream, take_simulated_vm, "no envelope" },
	{ make_pair, take_simulated_vm, "an envelope that cannot be opened" },
	{ make_listener, take_simulated_vm, "an envelope that cannot be opened" },
	{ make_envelope_of_two, take_simulated_vm, "more or less than one descriptor" },
	{ make_envelope_of_another_file, take_simulated_vm, "it is '/memfd:another (deleted)'" },
	{ make_envelope_of_a_simulated_vm, take_real_vm, "it is '/memfd:kvmattr-simvm" },
};

START_TEST(what_is_not_what_it_is_to_be_is_closed_and_forgotten_and_the_log_says_why)
{
	int fd = wrong[_i].make();

	ck_assert_int_ge(fd, 0);
	fake_manager_keep(lives.manager, "it", fd);
	close(fd);
	ck_assert_uint_eq(fake_manager_count(lives.manager, "*"), 1);
	live(wrong[_i].take);
	expect_said("'it' came back from the service manager and is not what it is to be: it ");
	expect_said(wrong[_i].said);
	ck_assert_uint_eq(fake_manager_count(lives.manager, "*"), 0);
}
END_TEST

static void take_once(struct fd_store *store)
{
	MUST(fd_store_take(store, "it") >= 0);
	fd_store_forget_untaken(store);
}

START_TEST(of_two_under_one_name_one_is_taken_and_the_other_closed)
{
	fake_manager_keep(lives.manager, "it", make_pair());
	fake_manager_keep(lives.manager, "it", make_pair());
	live(take_once);
	expect_said("belongs to nothing any more");
}
END_TEST

int main(void)
{
	TCase *odd = tcase_create("what is wrong");

	tcase_add_checked_fixture(odd, lives_begin, lives_end);
	tcase_add_loop_test(
		odd, what_is_not_what_it_is_to_be_is_closed_and_forgotten_and_the_log_says_why, 0,
		N(wrong));
	tcase_add_test(odd, of_two_under_one_name_one_is_taken_and_the_other_closed);
	return seeded_suite_run("fd store, wrong", (TCase *const[]){ odd, NULL });
}
