/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages with file descriptors over a real socket: whose they are, and that none is left open.
 */
#include "protocol/seqpacket.h"
#include "protocol/wire.h"
#include "tests/unit/seeded-suite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int ends[2];
static int n_fds_before;

static int n_open_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int n = 0;

	ck_assert_ptr_nonnull(directory);
	while (readdir(directory))
		n++;
	closedir(directory);
	return n;
}

static void open_ends(void)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	n_fds_before = n_open_fds();
}

static void no_fd_is_left_open(void)
{
	ck_assert_int_eq(n_open_fds(), n_fds_before);
	close(ends[0]);
	close(ends[1]);
}

static void close_end(int i)
{
	close(ends[i]);
	ends[i] = -1;
	n_fds_before--;
}

static int send_bytes(const void *data, size_t size, const int *fds, size_t n_fds)
{
	struct iovec part = { (void *)data, size };

	return seqpacket_send(ends[0], &part, 1, fds, n_fds, MSG_DONTWAIT);
}

static ino_t inode(int fd)
{
	struct stat status;

	ck_assert_int_eq(fstat(fd, &status), 0);
	return status.st_ino;
}

START_TEST(a_message_arrives_whole_from_all_its_parts)
{
	char letters[] = "abcde";
	struct iovec parts[3] = { { letters, 2 }, { letters, 0 }, { letters + 2, 3 } };
	struct seqpacket_fds fds;
	char buffer[16];

	ck_assert_int_eq(seqpacket_send(ends[0], parts, 3, NULL, 0, 0), 0);
	ck_assert_int_eq(send_bytes("fg", 2, NULL, 0), 0);
	ck_assert_int_eq(seqpacket_receive(ends[1], buffer, sizeof(buffer), &fds, 0), 5);
	ck_assert_mem_eq(buffer, "abcde", 5);
	ck_assert_uint_eq(fds.n, 0);
	ck_assert_int_eq(seqpacket_receive(ends[1], buffer, 2, &fds, 0), 2); /* fits exactly */
	ck_assert_mem_eq(buffer, "fg", 2);
}
END_TEST

START_TEST(fds_arrive_in_their_order_and_are_closed_on_exec)
{
	int sent[SEQPACKET_MAX_FDS];
	struct seqpacket_fds fds;
	char byte;
	size_t n = (size_t)_i;

	for (size_t i = 0; i < n; i++) {
		sent[i] = memfd_create("sent", 0); /* not close-on-exec here */
		ck_assert_int_ge(sent[i], 0);
	}
	ck_assert_int_eq(send_bytes("x", 1, sent, n), 0);
	ck_assert_int_eq(seqpacket_receive(ends[1], &byte, 1, &fds, 0), 1);
	ck_assert_uint_eq(fds.n, n);
	for (size_t i = 0; i < n; i++) {
		ck_assert_uint_eq(inode(fds.fd[i]), inode(sent[i])); /* the sender's stay open */
		ck_assert_int_eq(fcntl(fds.fd[i], F_GETFD), FD_CLOEXEC);
		close(sent[i]);
	}
	seqpacket_fds_close(&fds);
	ck_assert_uint_eq(fds.n, 0);
}
END_TEST

START_TEST(a_descriptor_that_was_taken_is_not_closed_with_the_others)
{
	int sent[3] = { 0, 1, 2 }, taken;
	struct seqpacket_fds fds;
	char byte;

	ck_assert_int_eq(send_bytes("x", 1, sent, 3), 0);
	ck_assert_int_eq(seqpacket_receive(ends[1], &byte, 1, &fds, 0), 1);
	taken = seqpacket_fds_take(&fds, 1);
	seqpacket_fds_close(&fds);
	ck_assert_int_eq(n_open_fds(), n_fds_before + 1);
	ck_assert_int_ge(fcntl(taken, F_GETFD), 0);
	close(taken);
}
END_TEST

START_TEST(a_descriptor_that_is_not_there_cannot_be_taken)
{
	struct seqpacket_fds fds = { .n = 1, .fd = { -1 } };

	seqpacket_fds_take(&fds, 1);
}
END_TEST

START_TEST(a_message_that_does_not_fit_is_an_error_and_its_fds_are_closed)
{
	int sent[2] = { 0, 1 };
	struct seqpacket_fds fds;
	char buffer[8];

	ck_assert_int_eq(send_bytes("123456789", 9, sent, 2), 0);
	ck_assert_int_eq(send_bytes("next", 4, NULL, 0), 0);
	ck_assert_int_eq(seqpacket_receive(ends[1], buffer, sizeof(buffer), &fds, 0), -EMSGSIZE);
	ck_assert_int_eq(n_open_fds(), n_fds_before);
	ck_assert_int_eq(seqpacket_receive(ends[1], buffer, sizeof(buffer), &fds, 0), 4);
	ck_assert_mem_eq(buffer, "next", 4);
}
END_TEST

/* valgrind keeps the limit on descriptors to itself: the kernel finds room all the same. */
static bool is_under_valgrind(void)
{
	const char *preloaded = getenv("LD_PRELOAD");

	return preloaded && strstr(preloaded, "vgpreload");
}

START_TEST(fds_for_which_there_is_no_room_are_an_error_and_none_is_left_open)
{
	struct rlimit before, few;
	int sent[8] = { 0, 0, 0, 0, 0, 0, 0, 0 };
	struct seqpacket_fds fds;
	char byte;
	int lowest = dup(0);

	close(lowest);
	ck_assert_int_eq(send_bytes("x", 1, sent, 8), 0);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = (rlim_t)lowest + 3;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	ck_assert_int_eq(seqpacket_receive(ends[1], &byte, 1, &fds, 0), -EMFILE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
}
END_TEST

/* No message of the protocol is empty, and on this kind of socket an empty one looks like the end. */
START_TEST(an_empty_message_is_an_error_and_its_fds_are_closed)
{
	int sent[2] = { 0, 1 };
	struct seqpacket_fds fds;
	char byte;
	size_t n_fds = (size_t)_i;

	ck_assert_int_eq(send_bytes("", 0, sent, n_fds), 0);
	ck_assert_int_eq(seqpacket_receive(ends[1], &byte, 1, &fds, _i ? MSG_DONTWAIT : 0),
			 -EBADMSG);
	ck_assert_int_eq(n_open_fds(), n_fds_before);
	ck_assert_int_eq(send_bytes("", 0, sent, n_fds), 0);
	ck_assert_int_eq(send_bytes("", 0, sent, n_fds), 0);
	ck_assert_int_le(seqpacket_receive(ends[1], &byte, 1, &fds, 0), 0);
}
END_TEST

START_TEST(what_a_peer_said_is_received_even_if_it_left_without_reading)
{
	struct seqpacket_fds fds;
	char byte = 0;
	struct iovec part = { &byte, 1 };

	ck_assert_int_eq(seqpacket_send(ends[1], &part, 1, NULL, 0, 0), 0);
	ck_assert_int_eq(send_bytes("x", 1, NULL, 0), 0);
	close_end(0);
	ck_assert_int_eq(seqpacket_receive(ends[1], &byte, 1, &fds, 0), 1);
	ck_assert_int_eq(byte, 'x');
	ck_assert_int_eq(seqpacket_receive(ends[1], &byte, 1, &fds, 0), 0);
}
END_TEST

START_TEST(nothing_to_receive_is_eagain)
{
	struct seqpacket_fds fds;
	char byte;

	ck_assert_int_eq(seqpacket_receive(ends[1], &byte, 1, &fds, MSG_DONTWAIT), -EAGAIN);
}
END_TEST

START_TEST(no_room_to_send_is_eagain_and_what_was_sent_is_whole)
{
	static char large[WIRE_MAX_MESSAGE], received[WIRE_MAX_MESSAGE];
	struct seqpacket_fds fds;
	unsigned int n_sent = 0, n_received = 0;
	int r;

	memset(large, 'x', sizeof(large));
	while (!(r = send_bytes(large, sizeof(large), NULL, 0)))
		n_sent++;
	ck_assert_int_eq(r, -EAGAIN);
	ck_assert_uint_gt(n_sent, 0);
	while ((r = (int)seqpacket_receive(ends[1], received, sizeof(received), &fds,
					   MSG_DONTWAIT)) > 0) {
		ck_assert_int_eq(r, sizeof(large));
		ck_assert_mem_eq(received, large, sizeof(large));
		n_received++;
	}
	ck_assert_uint_eq(n_received, n_sent);
}
END_TEST

START_TEST(what_was_sent_is_received_before_the_end)
{
	struct seqpacket_fds fds;
	char byte;

	ck_assert_int_eq(send_bytes("x", 1, NULL, 0), 0);
	close_end(0);
	ck_assert_int_eq(seqpacket_receive(ends[1], &byte, 1, &fds, 0), 1);
	ck_assert_int_eq(seqpacket_receive(ends[1], &byte, 1, &fds, 0), 0);
}
END_TEST

/* The test would die of SIGPIPE. */
START_TEST(sending_to_a_closed_peer_is_an_error_and_no_signal)
{
	signal(SIGPIPE, SIG_DFL);
	close_end(1);
	ck_assert_int_eq(send_bytes("x", 1, NULL, 0), -EPIPE);
}
END_TEST

START_TEST(a_bad_descriptor_is_an_error_in_either_direction)
{
	int bad = -1;
	struct seqpacket_fds fds;
	char byte = 0;
	struct iovec part = { &byte, 1 };

	ck_assert_int_eq(seqpacket_send(-1, &part, 1, NULL, 0, 0), -EBADF);
	ck_assert_int_eq(seqpacket_receive(-1, &byte, 1, &fds, 0), -EBADF);
	ck_assert_int_eq(send_bytes("x", 1, &bad, 1), -EBADF);
}
END_TEST

int main(void)
{
	TCase *all = tcase_create("seqpacket");
	TCase *assertions = tcase_create("assertions");

	tcase_add_checked_fixture(all, open_ends, no_fd_is_left_open);
	tcase_add_test(all, a_message_arrives_whole_from_all_its_parts);
	tcase_add_loop_test(all, fds_arrive_in_their_order_and_are_closed_on_exec, 1, 4);
	tcase_add_loop_test(all, fds_arrive_in_their_order_and_are_closed_on_exec,
			    SEQPACKET_MAX_FDS, SEQPACKET_MAX_FDS + 1);
	tcase_add_test(all, a_descriptor_that_was_taken_is_not_closed_with_the_others);
	tcase_add_test(all, a_message_that_does_not_fit_is_an_error_and_its_fds_are_closed);
	if (!is_under_valgrind())
		tcase_add_test(all,
			       fds_for_which_there_is_no_room_are_an_error_and_none_is_left_open);
	tcase_add_loop_test(all, an_empty_message_is_an_error_and_its_fds_are_closed, 0, 3);
	tcase_add_test(all, nothing_to_receive_is_eagain);
	tcase_add_test(all, no_room_to_send_is_eagain_and_what_was_sent_is_whole);
	tcase_add_test(all, what_was_sent_is_received_before_the_end);
	tcase_add_test(all, what_a_peer_said_is_received_even_if_it_left_without_reading);
	tcase_add_test(all, sending_to_a_closed_peer_is_an_error_and_no_signal);
	tcase_add_test(all, a_bad_descriptor_is_an_error_in_either_direction);
	tcase_add_test_raise_signal(assertions, a_descriptor_that_is_not_there_cannot_be_taken,
				    SIGABRT);
	return seeded_suite_run("seqpacket", (TCase *[]){ all, assertions, NULL });
}
