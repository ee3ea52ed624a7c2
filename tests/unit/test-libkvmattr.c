/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libkvmattr against a scripted daemon: connecting, and being taken or not.
 *
 * Updates are in test-libkvmattr-updates.c, daemons that go away or break the protocol in
 * test-libkvmattr-broken.c, the owner's side with its executor in test-libkvmattr-owner.c.
 */
#include "tests/unit/libkvmattr-checks.h"
#include "tests/unit/scripted-daemon.h"

#include <kvmattr.h>

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void greet_and_see_off(struct scripted_daemon *d)
{
	struct wire_hello hello;

	daemon_welcome(d, ANY_WINDOW);
	MUST(!wire_get_hello(d->message, d->header.size, &hello));
	MUST(!strcmp(hello.peer, "test"));
	daemon_receive_goodbye(d);
}

START_TEST(a_connection_says_who_it_is_and_says_goodbye)
{
	struct scripted_daemon *d = daemon_start(greet_and_see_off, 0);
	struct kvmattr *c = connect_to(d);

	ck_assert_str_eq(kvmattr_message(c), "");
	ck_assert_uint_eq(kvmattr_in_flight(c), 0);
	ck_assert_int_eq(fcntl(kvmattr_fd(c), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

START_TEST(the_environment_says_where_the_socket_is)
{
	struct scripted_daemon *d = daemon_start(greet_and_see_off, 0);
	struct kvmattr *c = NULL;

	ck_assert_int_eq(setenv("KVMATTR_RUNTIME_DIR", d->directory, 1), 0);
	ck_assert_int_eq(kvmattr_connect(NULL, "test", &c), 0);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

START_TEST(a_daemon_that_is_not_there_is_an_errno_and_said_in_words)
{
	struct kvmattr *c = NULL;
	char path[200];

	ck_assert_int_eq(kvmattr_connect("/nowhere/agent.sock", "test", &c), -ENOENT);
	expect_message(NULL, "/nowhere/agent.sock");
	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	ck_assert_int_eq(kvmattr_connect(path, "test", &c), -ENAMETOOLONG);
	expect_message(NULL, "107 bytes");
	ck_assert_int_eq(kvmattr_adopt(-1, "test", &c), -EBADF);
	ck_assert_ptr_null(c);
}
END_TEST

static void see_close(struct scripted_daemon *d)
{
	daemon_receive_end(d, d->peer);
}

START_TEST(a_name_that_does_not_fit_is_refused_before_anything_is_sent)
{
	struct scripted_daemon *d = daemon_start(see_close, 0);
	struct kvmattr *c = NULL;

	ck_assert_int_eq(kvmattr_connect(d->path, "a name of forty bytes, which is one more", &c),
			 KVMATTR_INVALID_PARAMETER);
	expect_message(NULL, "39");
	daemon_end(d);
}
END_TEST

static const struct {
	uint16_t type;
	enum kvmattr_status status;
	bool closing;
} refusals[] = {
	{ WIRE_ERROR, KVMATTR_VERSION_MISMATCH, true },
	{ WIRE_ERROR, KVMATTR_ACCESS_DENIED, false },
	{ WIRE_BYE, KVMATTR_LIMIT_EXCEEDED, true },
};

static void refuse_hello(struct scripted_daemon *d)
{
	daemon_receive_hello(d);
	daemon_send_notice(d, refusals[d->variant].type, d->header.id, refusals[d->variant].status,
			   refusals[d->variant].closing, "not\x1b[31m you\n");
}

START_TEST(a_refused_hello_is_the_daemons_status_and_words_without_their_control_characters)
{
	struct scripted_daemon *d = daemon_start(refuse_hello, _i);
	struct kvmattr *c = NULL;

	ck_assert_int_eq(kvmattr_connect(d->path, "test", &c), refusals[_i].status);
	ck_assert_str_eq(kvmattr_message(NULL), "not [31m you ");
	ck_assert_ptr_null(c);
	daemon_end(d);
}
END_TEST

static const char *const wrong_welcomes[] = {
	"version in its WELCOME",
	"max_message in its WELCOME",
	"max_updates_in_flight in its WELCOME",
	"role in its WELCOME",
	"header.size in its WELCOME", /* cut off */
	"header.id in its WELCOME",
	"header.type in its RUNS",
	"header.type in its message of type 999",
	"in its ANSWER",
	"header in its message",
	"header.size in its message",
	"the number of descriptors in its WELCOME",
	"header.reserved in its message",
	"the size in its message", /* larger than any message */
};

static void welcome_wrongly(struct scripted_daemon *d)
{
	static uint8_t huge[WIRE_MAX_MESSAGE + 1];
	struct wire_welcome m;
	size_t size = sizeof(m), n_fds = 0;

	daemon_receive_hello(d);
	m = daemon_make_welcome(d, ANY_WINDOW);
	/* clang-format off */
	switch (d->variant) {
	case 0: m.version = 2; break;
	case 1: m.max_message = 4096; break;
	case 2: m.max_updates_in_flight = 0; break;
	case 3: m.role = 77; break;
	case 4: m.header.size = (uint32_t)(size = 100); break;
	case 5: m.header.id++; break;
	case 6: m.header.type = WIRE_RUNS; break;
	case 7: m.header.type = 999; break;
	case 8: m.header.type = WIRE_ANSWER; m.header.size = (uint32_t)(size = 32); break;
	case 9: size = 3; break;
	case 10: size--; break;
	case 11: n_fds = 1; break;
	case 12: m.header.reserved = 1; break;
	}
	/* clang-format on */
	if (d->variant == 13)
		daemon_send(d, huge, sizeof(huge));
	else
		daemon_send_with_fds(d, &m, size, &d->listener, n_fds);
}

START_TEST(a_welcome_that_breaks_the_protocol_is_EPROTO_and_the_field_is_named)
{
	struct scripted_daemon *d = daemon_start(welcome_wrongly, _i);
	struct kvmattr *c = NULL;

	ck_assert_int_eq(kvmattr_connect(d->path, "test", &c), -EPROTO);
	expect_message(NULL, wrong_welcomes[_i]);
	ck_assert_ptr_null(c);
	daemon_end(d);
}
END_TEST

static void close_at_once(struct scripted_daemon *d)
{
	daemon_receive_hello(d);
}

START_TEST(a_daemon_that_closes_instead_of_a_welcome_is_EPIPE)
{
	struct scripted_daemon *d = daemon_start(close_at_once, 0);
	struct kvmattr *c = NULL;

	ck_assert_int_eq(kvmattr_connect(d->path, "test", &c), -EPIPE);
	expect_message(NULL, "closed the connection");
	daemon_end(d);
}
END_TEST

static void answer_one_of_the_parent(struct scripted_daemon *d)
{
	daemon_welcome(d, ANY_WINDOW);
	daemon_receive_updates(d, 1); /* the child's goodbye would come first */
	daemon_send_answer(d, 1, 1, NULL, 0);
	daemon_receive_goodbye(d);
}

START_TEST(a_child_that_closes_what_it_inherited_does_not_say_goodbye_for_its_parent)
{
	struct scripted_daemon *d = daemon_start(answer_one_of_the_parent, 0);
	struct kvmattr *c = connect_to(d);
	int status;
	pid_t child;

	submit(c, 1, 1);
	fflush(NULL);
	child = fork();
	if (!child) {
		kvmattr_close(c);
		if (n_completions)
			_exit(1);
		/* Not a mere exit: leak checkers would ask the child for its parent's memory. */
		execl("/bin/true", "true", NULL);
		_exit(2);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(kvmattr_wait(c), 0);
	expect_completions(1, KVMATTR_OK);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

int main(void)
{
	TCase *connecting = checks_make_case("connecting");

	tcase_add_test(connecting, a_connection_says_who_it_is_and_says_goodbye);
	tcase_add_test(connecting, the_environment_says_where_the_socket_is);
	tcase_add_test(connecting, a_daemon_that_is_not_there_is_an_errno_and_said_in_words);
	tcase_add_test(connecting, a_name_that_does_not_fit_is_refused_before_anything_is_sent);
	tcase_add_loop_test(
		connecting,
		a_refused_hello_is_the_daemons_status_and_words_without_their_control_characters, 0,
		N(refusals));
	tcase_add_loop_test(connecting,
			    a_welcome_that_breaks_the_protocol_is_EPROTO_and_the_field_is_named, 0,
			    N(wrong_welcomes));
	tcase_add_test(connecting, a_daemon_that_closes_instead_of_a_welcome_is_EPIPE);
	tcase_add_test(connecting,
		       a_child_that_closes_what_it_inherited_does_not_say_goodbye_for_its_parent);
	return checks_run("libkvmattr", (TCase *[]){ connecting, NULL });
}
