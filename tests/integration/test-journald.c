/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon tells journald, and what becomes of the daemon when journald does not listen.
 *
 * journald is played by the test: it has the socket's place in a file system of its own, which the
 * test and its daemon see.
 */
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/program.h"
#include "tests/integration/raw-peer.h"
#include "tests/integration/simulated-vmm.h"

#include <check.h>
#include <endian.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 10000

/* The ids, as they were given out once (daemon/log-ids.h). */
#define STARTED              "02f1436b131942859817e7f8cd1bfa99"
#define STOPPING             "4a69a24ee5504544b190a3861e3cd031"
#define VM_REGISTERED        "7a59466d767b4ad48f9518f20ffe085f"
#define VM_RELEASED          "2003a3b1555b4790bf673b1c4be98bf1"
#define OPERATOR_ACTED       "16fd6ba8d3054524a23e9ca7ce0502e2"
#define REGISTRATION_REFUSED "49d2f143f167423585abab2413555dea"
#define PROTOCOL_BROKEN      "73429236a4dd4c6bb9bea3199ade7ed8"
#define LINES_LOST           "53adc08fd096458fbb53b5575fc4e9ae"

static struct kvmattrd *d;
static struct program program; /* the daemon */
static int journal;

/* ---- journald -------------------------------------------------------------------------------- */

static bool make_place(void)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("none", "/run", "tmpfs", 0, NULL) == 0 && mkdir("/run/systemd", 0755) == 0 &&
	       mkdir("/run/systemd/journal", 0755) == 0;
}

static const char *why_not(void)
{
	pid_t child = fork();
	int status = 0;

	if (!child)
		_exit(make_place() ? 0 : 1);
	waitpid(child, &status, 0);
	return status ? "no mount may be made, so there is no place for a journald" : NULL;
}

static void start_journald(void)
{
	const struct sockaddr_un address = { .sun_family = AF_UNIX,
					     .sun_path = "/run/systemd/journal/socket" };

	d = kvmattrd_prepare();
	ck_assert(make_place());
	journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(journal, (const struct sockaddr *)&address, sizeof(address)), 0);
}

static char entry[4096];
static size_t n_entry;

/* Takes the next entry; false: there is none for so long. */
static bool take_entry(unsigned int timeout_ms)
{
	struct pollfd look = { .fd = journal, .events = POLLIN };
	ssize_t n;

	if (poll(&look, 1, (int)(timeout_ms * harness_patience())) != 1)
		return false;
	n = recv(journal, entry, sizeof(entry), 0);
	ck_assert_int_gt(n, 0);
	n_entry = (size_t)n;
	return true;
}

/*
 * A field of the entry, which is read by https://systemd.io/JOURNAL_NATIVE_PROTOCOL/; "" if it has
 * none.  Until the next call but three.
 */
static const char *field(const char *name)
{
	static char values[4][2048];
	static int turn;
	char *value = values[turn++ % N(values)];

	*value = '\0';
	for (size_t i = 0; i < n_entry;) {
		const char *line = entry + i;
		const char *end = memchr(line, '\n', n_entry - i);
		const char *equals, *text;
		size_t n_name, n_value;

		ck_assert_ptr_nonnull(end);
		equals = memchr(line, '=', (size_t)(end - line));
		if (equals) {
			n_name = (size_t)(equals - line);
			text = equals + 1;
			n_value = (size_t)(end - text);
		} else {
			uint64_t size;

			ck_assert_uint_le((size_t)(end + 1 - entry) + sizeof(size), n_entry);
			memcpy(&size, end + 1, sizeof(size));
			n_name = (size_t)(end - line);
			text = end + 1 + sizeof(size);
			n_value = (size_t)le64toh(size);
			ck_assert_uint_lt((size_t)(text - entry) + n_value, n_entry);
			ck_assert_int_eq(text[n_value], '\n');
		}
		i = (size_t)(text + n_value + 1 - entry);
		if (n_name != strlen(name) || memcmp(line, name, n_name) != 0)
			continue;
		ck_assert_msg(!*value, "%s is there twice", name);
		ck_assert_uint_lt(n_value, sizeof(values[0]));
		memcpy(value, text, n_value);
		value[n_value] = '\0';
	}
	return value;
}

static void expect_field(const char *name, const char *expected)
{
	const char *value = field(name);

	ck_assert_msg(!strcmp(value, expected), "%s is '%s', not '%s', in \"%s\"", name, value,
		      expected, field("MESSAGE"));
}

static void expect_field_number(const char *name, long expected)
{
	char text[24];

	snprintf(text, sizeof(text), "%ld", expected);
	expect_field(name, text);
}

/* Passes over all entries up to the one with that id. */
static void expect_entry(const char *id)
{
	do
		ck_assert_msg(take_entry(PATIENCE_MS), "journald was not told of %s", id);
	while (strcmp(field("MESSAGE_ID"), id) != 0);
}

/* ---- The daemon ------------------------------------------------------------------------------ */

/* As systemd starts it: what its standard error is, stands in the environment. */
static void start_daemon(void)
{
	char script[512];
	const char *const argv[] = { "sh", "-c", script, NULL };

	snprintf(script, sizeof(script),
		 "JOURNAL_STREAM=$(stat -L -c %%d:%%i /proc/self/fd/2) exec %s -f "
		 "--allow-simulated -r %s --state-dir %s",
		 KVMATTRD_PROGRAM, d->runtime_dir, d->state_dir);
	program = program_start(argv);
}

static void start(void)
{
	start_journald();
	start_daemon();
	expect_entry(STARTED);
}

static void end(void)
{
	struct program_result result;

	kill(program.pid, SIGTERM);
	result = program_wait(&program);
	expect_result(&result, 0, "", "");
	ck_assert_str_eq(result.err, ""); /* not there as well */
	program_forget(&result);
}

static void stop(void)
{
	end();
	expect_entry(STOPPING);
	kvmattrd_discard(d);
}

/* ---- What it is told ------------------------------------------------------------------------- */

START_TEST(a_VM_has_its_name_its_session_and_its_owner_in_fields)
{
	struct simulated_vmm *vmm;

	start();
	expect_field("PRIORITY", "6");
	expect_field("SYSLOG_IDENTIFIER", "kvmattrd");
	expect_field("KVMATTR_VM", "");
	ck_assert_ptr_nonnull(strstr(field("MESSAGE"), "serves in"));
	vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	expect_entry(VM_REGISTERED);
	expect_field("KVMATTR_VM", "guest");
	expect_field("PRIORITY", "6");
	expect_field_number("KVMATTR_PEER_PID", getpid());
	expect_field_number("KVMATTR_PEER_UID", getuid());
	expect_field("KVMATTR_SESSION", "1");
	ck_assert_ptr_nonnull(strstr(field("MESSAGE"), "VM 'guest': registered by"));
	simulated_vmm_stop(vmm);
	expect_entry(VM_RELEASED);
	expect_field("KVMATTR_VM", "guest");
	expect_field("KVMATTR_PEER_PID", "");
	stop();
}
END_TEST

START_TEST(what_an_operator_did_says_who_it_was_and_with_which_method)
{
	struct control_client *control;

	start();
	control = control_connect(d);
	json_object_put(control_call(control, "log.set_level", "{\"level\": \"debug\"}"));
	expect_entry(OPERATOR_ACTED);
	expect_field("KVMATTR_METHOD", "log.set_level");
	expect_field_number("KVMATTR_PEER_PID", getpid());
	expect_field_number("KVMATTR_PEER_UID", getuid());
	expect_field("KVMATTR_VM", "");
	control_close(control);
	stop();
}
END_TEST

START_TEST(what_a_peer_was_refused_says_whom_and_why)
{
	struct raw_register message = raw_make_register("-no-name");
	struct raw_vm vm;

	start();
	vm = raw_vm_begin(d, &message);
	raw_expect_refusal(vm.owner, message.head.header.id, KVMATTR_INVALID_PARAMETER, "-no-name");
	expect_entry(REGISTRATION_REFUSED);
	expect_field("PRIORITY", "4");
	expect_field("KVMATTR_VM", "-no-name");
	expect_field("KVMATTR_STATUS", "INVALID_PARAMETER");
	expect_field_number("KVMATTR_PEER_PID", getpid());
	raw_send(vm.owner, "0123456789abcdef", 16);
	expect_entry(PROTOCOL_BROKEN);
	expect_field("KVMATTR_STATUS", "PROTOCOL_ERROR");
	expect_field_number("KVMATTR_PEER_PID", getpid());
	raw_vm_close(&vm);
	stop();
}
END_TEST

/* ---- A journald that does not listen --------------------------------------------------------- */

/* Each of these is a line of the log. */
static void make_lines(struct control_client *control, int n)
{
	for (int i = 0; i < n; i++)
		json_object_put(control_call(control, "log.set_level", "{\"level\": \"debug\"}"));
}

/* More than a socket holds. */
#define MANY 2000

START_TEST(a_journald_that_hangs_holds_nobody_up_and_is_told_how_much_it_missed)
{
	struct control_client *control;
	unsigned long n_lost = 0;
	int n_taken = 0;

	start();
	control = control_connect(d);
	make_lines(control, MANY);
	while (take_entry(0))
		n_taken += !strcmp(field("MESSAGE_ID"), OPERATOR_ACTED);
	ck_assert_int_lt(n_taken, MANY);
	make_lines(control, 1);
	expect_entry(LINES_LOST);
	ck_assert_int_eq(sscanf(field("MESSAGE"), "%lu lines are missing", &n_lost), 1);
	/* Lines of another kind, of clients that come and go, may be among them. */
	ck_assert_uint_ge(n_lost, (unsigned long)(MANY - n_taken));
	expect_entry(OPERATOR_ACTED);
	control_close(control);
	stop();
}
END_TEST

START_TEST(without_a_journald_it_serves_all_the_same)
{
	struct control_client *control;

	start();
	ck_assert_int_eq(unlink("/run/systemd/journal/socket"), 0);
	close(journal);
	control = control_connect(d);
	make_lines(control, 10);
	simulated_vmm_stop(simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 }));
	control_close(control);
	end();
	kvmattrd_discard(d);
}
END_TEST

START_TEST(a_journald_that_comes_back_is_told_again)
{
	const struct sockaddr_un address = { .sun_family = AF_UNIX,
					     .sun_path = "/run/systemd/journal/socket" };
	struct control_client *control;

	start();
	close(journal);
	control = control_connect(d);
	make_lines(control, 10);
	ck_assert_int_eq(unlink("/run/systemd/journal/socket"), 0);
	journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(journal, (const struct sockaddr *)&address, sizeof(address)), 0);
	make_lines(control, 1);
	expect_entry(LINES_LOST);
	ck_assert_ptr_nonnull(strstr(field("MESSAGE"), "10 lines are missing"));
	expect_entry(OPERATOR_ACTED);
	control_close(control);
	stop();
}
END_TEST

int main(void)
{
	TCase *told = harness_make_case("what it is told", 60);
	TCase *deaf = harness_make_case("a journald that does not listen", 60);
	TCase *const cases[] = { told, deaf, NULL };
	const char *why = why_not();

	if (why) {
		printf("1..0 # SKIP %s\n", why);
		return EXIT_SUCCESS;
	}
	tcase_add_test(told, a_VM_has_its_name_its_session_and_its_owner_in_fields);
	tcase_add_test(told, what_an_operator_did_says_who_it_was_and_with_which_method);
	tcase_add_test(told, what_a_peer_was_refused_says_whom_and_why);
	tcase_add_test(deaf, a_journald_that_hangs_holds_nobody_up_and_is_told_how_much_it_missed);
	tcase_add_test(deaf, without_a_journald_it_serves_all_the_same);
	tcase_add_test(deaf, a_journald_that_comes_back_is_told_again);
	return harness_run("journald", cases);
}
