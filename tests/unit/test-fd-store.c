/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store of file descriptors: what comes back in the daemon's next life, and what does not.
 */
#include "tests/unit/fd-store-lives.h"
#include "tests/unit/seeded-suite.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

/* ---- What comes back ------------------------------------------------------------------------- */

START_TEST(without_a_service_manager_there_is_no_store_and_nobody_has_to_care)
{
	struct fd_store *store = fd_store_new();

	ck_assert_ptr_null(store);
	ck_assert(!fd_store_outlives_us(store));
	fd_store_keep(store, "guest.0123/session1", lives.theirs);
	ck_assert_int_eq(fd_store_take(store, "guest.0123/session1"), -1);
	ck_assert_int_eq(fd_store_take_vm(store, "guest.0123/view0", VM_FD_KVM), -1);
	ck_assert_int_eq(fd_store_take_listener(store, "agent.sock", SOCK_STREAM, "/x"), -1);
	fd_store_forget(store, "guest.0123/session1");
	fd_store_forget_vm(store, "guest.0123");
	fd_store_forget_untaken(store);
	fd_store_free(store);
}
END_TEST

static void expect_text(int socket, const char *text)
{
	char received[16] = "";

	ck_assert_int_eq(recv(socket, received, sizeof(received) - 1, 0), (int)strlen(text));
	ck_assert_str_eq(received, text);
}

static void keep_connection(struct fd_store *store)
{
	fd_store_keep(store, "guest.0123/session1", lives.theirs);
}

static void answer_on_connection(struct fd_store *store)
{
	int socket = fd_store_take(store, "guest.0123/session1");
	char byte;

	MUST(socket >= 0);
	MUST(fcntl(socket, F_GETFD) == FD_CLOEXEC);
	MUST(fcntl(socket, F_GETFL) & O_NONBLOCK);
	MUST(recv(socket, &byte, 1, 0) == 1);
	MUST(send(socket, "answer", 6, 0) == 6);
	MUST(recv(socket, &byte, 1, 0) < 0 && errno == EAGAIN);
	fd_store_forget_untaken(store);
}

START_TEST(a_connection_comes_back_in_every_life_and_its_peer_does_not_notice)
{
	live(keep_connection);
	for (int i = 0; i < 3; i++) {
		ck_assert(has_peer(lives.ours));
		ck_assert_int_eq(send(lives.ours, "?", 1, 0), 1);
		live(answer_on_connection);
		expect_text(lives.ours, "answer");
		ck_assert_str_eq(lives.said, "");
	}
	ck_assert(has_peer(lives.ours));
	ck_assert_uint_eq(fake_manager_count(lives.manager, "*"), 1);
}
END_TEST

static void take_and_forget(struct fd_store *store)
{
	int socket = fd_store_take(store, "guest.0123/session1");

	MUST(socket >= 0);
	MUST(fd_store_take(store, "guest.0123/session1") < 0);
	fd_store_forget(store, "guest.0123/session1");
	MUST(send(socket, "bye", 3, 0) == 3);
	close(socket);
}

START_TEST(what_is_forgotten_is_gone_with_the_life)
{
	live(keep_connection);
	live(take_and_forget);
	expect_text(lives.ours, "bye");
	ck_assert(!has_peer(lives.ours));
	ck_assert_uint_eq(fake_manager_count(lives.manager, "*"), 0);
	ck_assert_str_eq(lives.said, "");
}
END_TEST

static void hear_the_end(struct fd_store *store)
{
	int socket = fd_store_take(store, "guest.0123/session1");
	char text[16];

	MUST(recv(socket, text, sizeof(text), 0) == 4);
	MUST(recv(socket, text, sizeof(text), 0) == 0);
}

START_TEST(a_peer_that_hung_up_meanwhile_is_heard_to_its_end)
{
	live(keep_connection);
	ck_assert_int_eq(send(lives.ours, "last", 4, 0), 4);
	close(lives.ours);
	live(hear_the_end);
	lives.ours = -1;
}
END_TEST

static int connect_to(const char *path, int type)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void keep_listener(struct fd_store *store)
{
	int fd = listen_at(lives.socket_path, SOCK_SEQPACKET);

	MUST(fd_store_take_listener(store, "agent.sock", SOCK_SEQPACKET, lives.socket_path) < 0);
	MUST(fd >= 0);
	fd_store_keep(store, "agent.sock", fd);
}

static void accept_one(struct fd_store *store)
{
	int fd = fd_store_take_listener(store, "agent.sock", SOCK_SEQPACKET, lives.socket_path),
	    peer;

	MUST(fd >= 0);
	MUST(fcntl(fd, F_GETFD) == FD_CLOEXEC);
	peer = accept(fd, NULL, NULL);
	MUST(send(peer, "welcome", 7, 0) == 7);
	MUST(accept(fd, NULL, NULL) < 0 && errno == EAGAIN); /* it does not block */
}

START_TEST(who_connects_while_there_is_no_daemon_waits_for_the_next_one)
{
	int peer;

	live(keep_listener);
	peer = connect_to(lives.socket_path, SOCK_SEQPACKET);
	live(accept_one);
	expect_text(peer, "welcome");
	close(peer);
}
END_TEST

START_TEST(a_socket_of_a_socket_unit_is_taken_like_one_that_came_back)
{
	int listener = listen_at(lives.socket_path, SOCK_SEQPACKET), peer;

	fake_manager_keep(lives.manager, "agent.sock", listener);
	peer = connect_to(lives.socket_path, SOCK_SEQPACKET);
	live(accept_one);
	expect_text(peer, "welcome");
	close(peer);
	close(listener);
}
END_TEST

static int make_vm(const char *name, const char *text)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	MUST(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	return fd;
}

static void keep_views(struct fd_store *store)
{
	fd_store_keep(store, "guest.0123/view0", make_vm("kvmattr-simvm", "first"));
	fd_store_keep(store, "guest.0123/view1", make_vm("kvmattr-simvm", "second"));
}

static void check_view(struct fd_store *store, const char *name, const char *text)
{
	int fd = fd_store_take_vm(store, name, VM_FD_SIMULATED);
	char content[16] = "";

	MUST(fd >= 0);
	MUST(fcntl(fd, F_GETFD) == FD_CLOEXEC);
	MUST(pread(fd, content, sizeof(content), 0) == (ssize_t)strlen(text));
	MUST(!strcmp(content, text));
}

static void check_views(struct fd_store *store)
{
	check_view(store, "guest.0123/view1", "second");
	check_view(store, "guest.0123/view0", "first");
	fd_store_forget_untaken(store);
}

START_TEST(views_come_back_each_under_its_name_in_every_life)
{
	live(keep_views);
	for (int i = 0; i < 3; i++) {
		live(check_views);
		ck_assert_str_eq(lives.said, "");
	}
}
END_TEST

/* ---- What is let go of ----------------------------------------------------------------------- */

/* A life in which nobody takes or puts anything. */
static void end_recovery(struct fd_store *store)
{
	fd_store_forget_untaken(store);
}

START_TEST(what_nobody_takes_is_closed_and_forgotten_and_the_log_says_so)
{
	live(keep_connection);
	live(end_recovery);
	expect_said("'guest.0123/session1' came back from the service manager and belongs to "
		    "nothing any more");
	ck_assert(!has_peer(lives.ours));
	ck_assert_uint_eq(fake_manager_count(lives.manager, "*"), 0);
}
END_TEST

static void keep_two_vms(struct fd_store *store)
{
	keep_views(store);
	keep_connection(store);
	fd_store_keep(store, "guest.01234/view0", make_vm("kvmattr-simvm", "another"));
	fd_store_keep(store, "agent.sock", listen_at(lives.socket_path, SOCK_SEQPACKET));
}

static void forget_one_vm(struct fd_store *store)
{
	MUST(fd_store_take_vm(store, "guest.0123/view1", VM_FD_SIMULATED) >= 0);
	fd_store_forget_vm(store, "guest.0123");
	MUST(fd_store_take_vm(store, "guest.0123/view0", VM_FD_SIMULATED) < 0);
	check_view(store, "guest.01234/view0", "another");
}

START_TEST(a_vm_is_forgotten_with_all_it_has_and_no_other)
{
	live(keep_two_vms);
	ck_assert_uint_eq(fake_manager_count(lives.manager, "*"), 5);
	live(forget_one_vm);
	ck_assert_uint_eq(fake_manager_count(lives.manager, "*"), 2);
	ck_assert_uint_eq(fake_manager_count(lives.manager, "guest.01234/view0"), 1);
	ck_assert_uint_eq(fake_manager_count(lives.manager, "agent.sock"), 1);
	ck_assert(!has_peer(lives.ours));
}
END_TEST

static void keep_connection_again(struct fd_store *store)
{
	fd_store_keep(store, "guest.0123/session1", fd_store_take(store, "guest.0123/session1"));
}

START_TEST(a_connection_that_is_kept_is_not_let_go_of_to_be_kept_again)
{
	live(keep_connection);
	fake_manager_limit(lives.manager, 0);
	live(keep_connection_again);
	ck_assert(has_peer(lives.ours));
}
END_TEST

static void keep_again(struct fd_store *store)
{
	int socket = fd_store_take(store, "guest.0123/session1");
	int view = fd_store_take_vm(store, "guest.0123/view0", VM_FD_SIMULATED);

	fd_store_keep(store, "guest.0123/session1", socket);
	fd_store_keep(store, "guest.0123/view0", view);
	fd_store_keep(store, "guest.0123/view1", make_vm("kvmattr-simvm", "second"));
}

START_TEST(what_is_kept_again_is_kept_once)
{
	live(keep_two_vms);
	live(keep_again);
	ck_assert_uint_eq(fake_manager_count(lives.manager, "*"), 5);
	live(check_views);
	ck_assert(!has_peer(lives.ours)); /* nobody took it */
}
END_TEST

static void keep_something_else(struct fd_store *store)
{
	int ends[2];

	MUST(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends));
	MUST(send(ends[1], "?", 1, 0) == 1);
	fd_store_keep(store, "guest.0123/session1", ends[0]);
}

START_TEST(what_is_kept_under_a_name_takes_the_place_of_what_was)
{
	live(keep_connection);
	live(keep_something_else);
	ck_assert_uint_eq(fake_manager_count(lives.manager, "*"), 1);
	ck_assert(!has_peer(lives.ours));
}
END_TEST

static unsigned int count_open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 100; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void keep_take_and_forget(struct fd_store *store)
{
	unsigned int n = count_open_fds();
	int view = make_vm("kvmattr-simvm", "third");

	fd_store_keep(store, "guest.0123/view2", view);
	close(view);
	MUST(count_open_fds() == n);
	view = fd_store_take_vm(store, "guest.0123/view0", VM_FD_SIMULATED);
	MUST(count_open_fds() == n); /* its envelope is gone */
	close(view);
	fd_store_forget_vm(store, "guest.0123");
	MUST(count_open_fds() == n - 3); /* with what was not taken: view1 and the connection */
}

START_TEST(no_descriptor_is_left_open)
{
	live(keep_two_vms);
	live(keep_take_and_forget);
}
END_TEST

/* ---- When there is no room ------------------------------------------------------------------- */

static void keep_three(struct fd_store *store)
{
	keep_views(store);
	keep_connection(store);
}

static void find_two(struct fd_store *store)
{
	check_view(store, "guest.0123/view0", "first");
	check_view(store, "guest.0123/view1", "second");
	MUST(fd_store_take(store, "guest.0123/session1") < 0);
	fd_store_forget_untaken(store);
}

START_TEST(what_a_full_manager_closed_without_a_word_just_does_not_come_back)
{
	fake_manager_limit(lives.manager, 2);
	live(keep_three);
	ck_assert(!has_peer(lives.ours));
	live(find_two);
	ck_assert_str_eq(lives.said, "");
}
END_TEST

START_TEST(a_manager_that_says_how_much_it_keeps_is_not_sent_more)
{
	setenv("FDSTORE", "2", 1);
	live(keep_three);
	expect_said("the service manager has no room for 'guest.0123/session1'");
	ck_assert_uint_eq(fake_manager_count(lives.manager, "*"), 2);
	live(find_two);
}
END_TEST

START_TEST(a_manager_that_says_that_it_keeps_nothing_is_sent_nothing)
{
	char notify[64];
	struct fd_store *store;

	snprintf(notify, sizeof(notify), "%s/notify", lives.directory);
	setenv("NOTIFY_SOCKET", notify, 1);
	setenv("FDSTORE", "0", 1);
	store = fd_store_new();
	ck_assert(!fd_store_outlives_us(store));
	fd_store_keep(store, "guest.0123/session1", lives.theirs);
	ck_assert_uint_eq(fake_manager_count(lives.manager, "*"), 0);
	fd_store_free(store);
}
END_TEST

static void keep_many(struct fd_store *store)
{
	char name[201];
	int ends[2];

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%0200d", i);
		MUST(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends));
		fd_store_keep(store, name, ends[0]);
		close(ends[0]);
		close(ends[1]);
	}
}

static void keep_and_forget_many(struct fd_store *store)
{
	char name[201];

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%0200d", i);
		fd_store_keep(store, name, lives.theirs);
		fd_store_forget(store, name);
	}
	keep_connection(store);
}

START_TEST(what_is_forgotten_makes_room)
{
	live(keep_and_forget_many);
	ck_assert_str_eq(lives.said, "");
	ck_assert_uint_eq(fake_manager_count(lives.manager, "*"), 1);
}
END_TEST

START_TEST(never_is_more_kept_than_execve_takes_the_names_of)
{
	int status;
	pid_t pid;

	live(keep_many);
	expect_said("the service manager has no room for ");
	ck_assert_uint_gt(fake_manager_count(lives.manager, "*"), 600);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		fake_manager_pass(lives.manager);
		execl("/bin/true", "true", NULL);
		_exit(EXIT_FAILURE);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && !WEXITSTATUS(status));
}
END_TEST

int main(void)
{
	TCase *back = tcase_create("what comes back"), *gone = tcase_create("what is let go of");
	TCase *full = tcase_create("no room");

	tcase_add_checked_fixture(back, lives_begin, lives_end);
	tcase_add_test(back, without_a_service_manager_there_is_no_store_and_nobody_has_to_care);
	tcase_add_test(back, a_connection_comes_back_in_every_life_and_its_peer_does_not_notice);
	tcase_add_test(back, what_is_forgotten_is_gone_with_the_life);
	tcase_add_test(back, a_peer_that_hung_up_meanwhile_is_heard_to_its_end);
	tcase_add_test(back, who_connects_while_there_is_no_daemon_waits_for_the_next_one);
	tcase_add_test(back, a_socket_of_a_socket_unit_is_taken_like_one_that_came_back);
	tcase_add_test(back, views_come_back_each_under_its_name_in_every_life);
	tcase_add_checked_fixture(gone, lives_begin, lives_end);
	tcase_add_test(gone, what_nobody_takes_is_closed_and_forgotten_and_the_log_says_so);
	tcase_add_test(gone, a_vm_is_forgotten_with_all_it_has_and_no_other);
	tcase_add_test(gone, a_connection_that_is_kept_is_not_let_go_of_to_be_kept_again);
	tcase_add_test(gone, what_is_kept_again_is_kept_once);
	tcase_add_test(gone, what_is_kept_under_a_name_takes_the_place_of_what_was);
	tcase_add_test(gone, no_descriptor_is_left_open);
	tcase_add_checked_fixture(full, lives_begin, lives_end);
	tcase_add_test(full, what_a_full_manager_closed_without_a_word_just_does_not_come_back);
	tcase_add_test(full, a_manager_that_says_how_much_it_keeps_is_not_sent_more);
	tcase_add_test(full, a_manager_that_says_that_it_keeps_nothing_is_sent_nothing);
	tcase_add_test(full, what_is_forgotten_makes_room);
	tcase_add_test(full, never_is_more_kept_than_execve_takes_the_names_of);
	return seeded_suite_run("fd store", (TCase *const[]){ back, gone, full, NULL });
}
