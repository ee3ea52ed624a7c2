/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * No user can use up what all share: the limits by user, tried by connections of real users.
 */
#include "tests/integration/limited-users.h"
#include "tests/integration/scrape.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];

/* ---- Users ---------------------------------------------------------------------------------- */

static int greet_as(uid_t uid)
{
	int socket;

	as(uid);
	socket = raw_greet(d);
	as(0);
	return socket;
}

static struct raw_vm start_vm_as(uid_t uid, const char *name)
{
	struct raw_vm vm;

	as(uid);
	vm = raw_vm_start(d, name);
	as(0);
	return vm;
}

static void expect_vm_refused(uid_t uid, const char *name, enum kvmattr_status status,
			      const char *part)
{
	const struct raw_register registration = raw_make_register(name);

	expect_refused_as(uid, &registration, status, part);
}

/* Why the agent socket does not take in that user, or NULL if it does.  Until the next call. */
static const char *why_no_session(uid_t uid)
{
	const struct wire_hello hello = raw_make_hello();
	struct wire_header header;
	struct wire_notice notice;
	static char text[WIRE_TEXT_SIZE];
	size_t n;
	int socket;

	as(uid);
	socket = raw_connect(d);
	as(0);
	raw_send(socket, &hello, sizeof(hello));
	n = raw_receive(socket, message);
	ck_assert_ptr_null(wire_get_header(message, n, &header));
	close(socket);
	if (header.type == WIRE_WELCOME)
		return NULL;
	ck_assert_ptr_null(wire_get_notice(message, n, &notice));
	ck_assert_uint_eq(notice.status, KVMATTR_LIMIT_EXCEEDED);
	snprintf(text, sizeof(text), "%s", notice.text);
	return text;
}

static void expect_no_session(uid_t uid)
{
	const char *why = why_no_session(uid);

	ck_assert_ptr_nonnull(why);
	ck_assert_msg(strstr(why, "max-sessions-per-user"), "%s", why);
}

static void ask_for_agent(const struct raw_vm *vm, uint64_t id)
{
	const struct wire_open_agent open = {
		.header = wire_header_make(WIRE_OPEN_AGENT, sizeof(open), id),
		.vtl = 1,
	};

	raw_send(vm->owner, &open, sizeof(open));
}

/* ---- While it runs -------------------------------------------------------------------------- */

START_TEST(a_user_has_so_many_sessions_and_others_go_on)
{
	enum { N_MORE = 6 };
	static const uid_t unlimited[] = { 0, DAEMON_ID };
	int ann[2], more[N_MORE];

	start_with("max-sessions-per-user = 2\n");
	for (int i = 0; i < N(ann); i++)
		ann[i] = greet_as(ANN);
	for (int i = 0; i < 100; i++)
		expect_no_session(ANN);
	close(greet_as(BEN));
	for (int user = 0; user < N(unlimited); user++) {
		for (int i = 0; i < N_MORE; i++)
			more[i] = greet_as(unlimited[user]);
		for (int i = 0; i < N_MORE; i++)
			close(more[i]);
	}
	EVENTUALLY(PATIENCE_MS, number_of("counters.sessions") == N(ann));
	expect_no_session(ANN);
	close(ann[0]);
	EVENTUALLY(PATIENCE_MS, !why_no_session(ANN));
	close(ann[1]);
	EVENTUALLY(PATIENCE_MS, number_of("counters.sessions") == 0);
	stop();
}
END_TEST

START_TEST(an_agent_counts_for_the_user_of_the_owner_who_opened_its_socket)
{
	struct raw_vm vm;
	int agents[2], places[3];

	start_with("max-sessions-per-user = 3\n");
	vm = start_vm_as(ANN, "guest");
	for (int i = 0; i < N(agents); i++)
		agents[i] = raw_vm_open_agent(&vm, 1, 0);
	ask_for_agent(&vm, 77);
	raw_expect_refusal(vm.owner, 77, KVMATTR_LIMIT_EXCEEDED, "max-sessions-per-user");
	expect_no_session(ANN);
	raw_expect_alive(agents[0]);
	close(agents[0]);
	EVENTUALLY(PATIENCE_MS, number_of("counters.sessions") == 2);
	agents[0] = raw_vm_open_agent(&vm, 1, 0);
	expect_no_session(ANN);
	for (int i = 0; i < N(agents); i++)
		close(agents[i]);
	raw_vm_close(&vm);
	EVENTUALLY(PATIENCE_MS, number_of("counters.sessions") == 0);
	for (int i = 0; i < N(places); i++)
		places[i] = greet_as(ANN);
	expect_no_session(ANN);
	for (int i = 0; i < N(places); i++)
		close(places[i]);
	stop();
}
END_TEST

START_TEST(a_closed_session_counts_until_its_updates_are_settled)
{
	const struct raw_update update = raw_make_update(1);
	struct raw_vm vm;
	int agent;

	start_with("max-sessions-per-user = 2\n");
	vm = start_vm_as(ANN, "guest");
	agent = raw_vm_open_agent(&vm, 1, 0);
	raw_send(agent, &update, sizeof(update));
	close(agent);
	EVENTUALLY(PATIENCE_MS, number_of("counters.sessions") == 1);
	expect_no_session(ANN);
	raw_vm_answer_calls(&vm);
	EVENTUALLY(PATIENCE_MS, !why_no_session(ANN));
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(a_user_has_so_many_VMs_and_others_go_on)
{
	struct raw_vm anns, bens, roots[2];

	start_with("max-vms-per-user = 1\n");
	anns = start_vm_as(ANN, "ann-1");
	expect_vm_refused(ANN, "ann-2", KVMATTR_LIMIT_EXCEEDED, "max-vms-per-user");
	bens = start_vm_as(BEN, "ben-1");
	roots[0] = start_vm_as(0, "root-1");
	roots[1] = start_vm_as(0, "root-2");
	raw_expect_alive(anns.owner);
	expect_vm_refused(BEN, "ben-2", KVMATTR_LIMIT_EXCEEDED, "max-vms-per-user");
	raw_vm_close(&anns);
	EVENTUALLY(PATIENCE_MS, number_of("counters.vms") == 3);
	anns = start_vm_as(ANN, "ann-2");
	raw_vm_close(&anns);
	raw_vm_close(&bens);
	raw_vm_close(&roots[0]);
	raw_vm_close(&roots[1]);
	stop();
}
END_TEST

START_TEST(registrations_that_fail_use_up_nothing)
{
	const struct raw_register registration = raw_make_register("ann");
	struct raw_vm bens, anns;

	start_with("max-vms-per-user = 1\n");
	bens = start_vm_as(BEN, "guest");
	for (int i = 0; i < 3; i++)
		expect_vm_refused(ANN, "guest", KVMATTR_VM_EXISTS, "guest");
	for (int i = 0; i < 3; i++) {
		anns = begin_vm_as(ANN, &registration);
		close(anns.executor); /* instead of an answer to the probe */
		anns.executor = -1;
		raw_receive_type(anns.owner, WIRE_ERROR, message, NULL);
		ck_assert_uint_ne(((const struct wire_notice *)message)->status,
				  KVMATTR_LIMIT_EXCEEDED);
		raw_vm_close(&anns);
	}
	anns = start_vm_as(ANN, "ann");
	raw_vm_close(&anns);
	raw_vm_close(&bens);
	stop();
}
END_TEST

/* Connects to the control socket, and is told that it is one too many. */
static void expect_client_refused(uid_t uid)
{
	struct control_client *client = control_connect_as(d, uid, uid);
	struct json_object *answer = control_receive(client);

	ck_assert_ptr_nonnull(answer);
	ck_assert_int_eq(json_number_at(answer, "error.code"), -32000 - KVMATTR_LIMIT_EXCEEDED);
	ck_assert_ptr_nonnull(
		strstr(json_text_at(answer, "error.message"), "max-clients-per-user"));
	json_object_put(answer);
	ck_assert_ptr_null(control_receive(client));
	control_close(client);
}

/* Connects, and has an answer. */
static struct control_client *be_client(uid_t uid)
{
	struct control_client *client = control_connect_as(d, uid, uid);

	json_object_put(control_call(client, "vm.list", "{}"));
	return client;
}

START_TEST(a_user_has_so_many_clients_and_others_go_on)
{
	struct control_client *ann[2], *ben, *roots[5];

	start_with("max-clients-per-user = 2\n");
	for (int i = 0; i < N(ann); i++)
		ann[i] = be_client(ANN);
	for (int i = 0; i < 100; i++)
		expect_client_refused(ANN);
	ben = be_client(BEN);
	for (int i = 0; i < N(roots); i++)
		roots[i] = be_client(0);
	json_object_put(control_call(ann[0], "vm.list", "{}"));
	control_close(ben);
	EVENTUALLY(PATIENCE_MS, number_of("counters.clients") == 1 + N(roots) + N(ann));
	expect_client_refused(ANN);
	control_close(ann[0]);
	EVENTUALLY(PATIENCE_MS, number_of("counters.clients") == 1 + N(roots) + 1);
	ann[0] = be_client(ANN);
	expect_client_refused(ANN);
	for (int i = 0; i < N(ann); i++)
		control_close(ann[i]);
	for (int i = 0; i < N(roots); i++)
		control_close(roots[i]);
	stop();
}
END_TEST

START_TEST(a_limit_that_is_lowered_closes_nothing)
{
	struct raw_vm vms[2];
	int agent;

	start_with("");
	vms[0] = start_vm_as(ANN, "one");
	vms[1] = start_vm_as(ANN, "two");
	agent = raw_vm_open_agent(&vms[0], 1, 0);
	reload_with("max-sessions-per-user = 1\n", "limits.max_sessions_per_user", 1);
	expect_no_session(ANN);
	ck_assert_ptr_null(why_no_session(BEN));
	reload_with("max-vms-per-user = 1\n", "limits.max_vms_per_user", 1);
	expect_vm_refused(ANN, "three", KVMATTR_LIMIT_EXCEEDED, "max-vms-per-user");
	raw_expect_alive(agent);
	raw_expect_alive(vms[0].owner);
	raw_expect_alive(vms[1].owner);
	raw_vm_close(&vms[0]);
	close(agent);
	EVENTUALLY(PATIENCE_MS, number_of("counters.vms") == 1);
	expect_vm_refused(ANN, "three", KVMATTR_LIMIT_EXCEEDED, "max-vms-per-user");
	raw_vm_close(&vms[1]);
	EVENTUALLY(PATIENCE_MS, number_of("counters.vms") == 0);
	vms[0] = start_vm_as(ANN, "three");
	raw_vm_close(&vms[0]);
	stop();
}
END_TEST

/* ---- What is told of it --------------------------------------------------------------------- */

/* That ann was refused this, by this setting, stands in the log. */
static void expect_logged(const char *what, const char *setting)
{
	char *log = kvmattrd_read_log(d), *rest = NULL;
	char begin[128], end[64];
	bool is_there = false;

	snprintf(begin, sizeof(begin), "kvmattrd: warning: refused: %s, to PID %d, UID %d: ", what,
		 getpid(), ANN);
	snprintf(end, sizeof(end), "(%s)", setting);
	for (char *line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		is_there |= !strncmp(line, begin, strlen(begin)) && strstr(line, end);
	free(log);
	ck_assert_msg(is_there, "the log has no \"%s ... %s\"", begin, end);
}

/* How many refusals of ann's sessions the log has lines of, and how many it says were left out. */
static void count_refusals(unsigned int *ret_lines, unsigned int *ret_left_out)
{
	char *log = kvmattrd_read_log(d), *rest = NULL;

	*ret_lines = *ret_left_out = 0;
	for (char *line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		unsigned int n;

		if (strstr(line, "refused: the agent socket, to PID "))
			++*ret_lines;
		else if (sscanf(line, "kvmattrd: warning: %u more refusals", &n) == 1 &&
			 strstr(line, "(limit)"))
			*ret_left_out += n;
	}
	free(log);
}

static double refusals_counted(const char *reason)
{
	struct scrape *scrape = scrape_metrics(control);
	char series[64];
	double n;

	snprintf(series, sizeof(series), "kvmattr_refusals_total{reason=\"%s\"}", reason);
	n = scrape_value(scrape, series);
	scrape_free(scrape);
	return n;
}

START_TEST(whoever_is_refused_for_a_limit_is_in_the_log_with_its_setting_and_counted)
{
	struct control_client *client;
	struct raw_vm vm;
	int session;

	start_with("max-vms-per-user = 1\nmax-sessions-per-user = 2\nmax-clients-per-user = 1\n");
	vm = start_vm_as(ANN, "one");
	expect_vm_refused(ANN, "two", KVMATTR_LIMIT_EXCEEDED, "max-vms-per-user");
	expect_logged("REGISTER", "max-vms-per-user");
	EVENTUALLY(PATIENCE_MS, number_of("counters.sessions") == 1);
	session = greet_as(ANN);
	expect_no_session(ANN);
	expect_logged("the agent socket", "max-sessions-per-user");
	ask_for_agent(&vm, 77);
	raw_expect_refusal(vm.owner, 77, KVMATTR_LIMIT_EXCEEDED, "max-sessions-per-user");
	expect_logged("OPEN_AGENT", "max-sessions-per-user");
	client = be_client(ANN);
	expect_client_refused(ANN);
	expect_logged("the control socket", "max-clients-per-user");
	ck_assert(refusals_counted("limit") == 4);
	ck_assert(refusals_counted("access") == 0);
	control_close(client);
	close(session);
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(limits_of_all_users_together_are_told_of_likewise)
{
	struct raw_vm vm;

	start_with("max-vms = 1\nmax-sessions = 2\n");
	vm = start_vm_as(BEN, "one");
	expect_vm_refused(ANN, "two", KVMATTR_LIMIT_EXCEEDED, "max-vms");
	expect_logged("REGISTER", "max-vms");
	EVENTUALLY(PATIENCE_MS, number_of("counters.sessions") == 1);
	reload_with("max-vms = 1\nmax-sessions = 1\n", "limits.max_sessions", 1);
	ck_assert_ptr_nonnull(strstr(why_no_session(ANN), "max-sessions"));
	expect_logged("the agent socket", "max-sessions");
	ck_assert(refusals_counted("limit") == 2);
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(a_flood_of_refusals_is_counted_instead_of_logged_and_hides_no_other_kind)
{
	enum { N_REFUSED = 300 };
	unsigned int n_lines = 0, n_left_out = 0;
	int session;

	start_with("max-sessions-per-user = 1\n");
	session = greet_as(ANN);
	for (int i = 0; i < N_REFUSED; i++)
		expect_no_session(ANN);
	expect_vm_refused(BEN, "-no-name", KVMATTR_INVALID_PARAMETER, "-no-name");
	ck_assert(kvmattrd_has_logged(d, "VM '-no-name': registration by"));
	ck_assert(refusals_counted("limit") == N_REFUSED);
	ck_assert(refusals_counted("registration") == 1);
	EVENTUALLY(PATIENCE_MS * 2,
		   (count_refusals(&n_lines, &n_left_out), n_lines + n_left_out == N_REFUSED));
	ck_assert_uint_ge(n_lines, 10);
	ck_assert_uint_gt(n_left_out, 0);
	close(session);
	stop();
}
END_TEST

/* ---- After a restart ------------------------------------------------------------------------ */

START_TEST(what_a_restart_leaves_behind_counts_for_its_user)
{
	static const char limits[] = "max-vms-per-user = 1\nmax-sessions-per-user = 3\n";
	struct raw_vm vm, bens;

	start_with(limits);
	vm = start_vm_as(ANN, "guest");
	restart_with(limits);
	expect_vm_refused(ANN, "another", KVMATTR_LIMIT_EXCEEDED, "max-vms-per-user");
	bens = start_vm_as(BEN, "another");
	as(ANN);
	raw_vm_resume(&vm, d, 1, 1);
	as(0);
	expect_vm_refused(ANN, "a-third", KVMATTR_LIMIT_EXCEEDED, "max-vms-per-user");
	raw_vm_close(&vm);
	EVENTUALLY(PATIENCE_MS, number_of("counters.vms") == 1);
	vm = start_vm_as(ANN, "a-third");
	raw_vm_close(&vm);
	raw_vm_close(&bens);
	stop();
}
END_TEST

START_TEST(sessions_come_back_though_their_user_has_as_many_as_it_may)
{
	struct wire_welcome welcome;
	struct raw_vm vm;
	int agent, idle[2];

	start_with("");
	vm = start_vm_as(ANN, "guest");
	agent = raw_vm_open_welcomed_agent(&vm, 1, 0, &welcome);
	/* Fewer than there are. */
	restart_with("max-sessions-per-user = 1\n");
	for (int i = 0; i < N(idle); i++)
		idle[i] = greet_as(ANN); /* as whoever is about to come back */
	expect_no_session(ANN);
	for (int i = 0; i < N(idle); i++)
		close(idle[i]);
	EVENTUALLY(PATIENCE_MS, number_of("counters.sessions") == 0);
	as(ANN);
	raw_vm_resume(&vm, d, 1, 1);
	close(agent);
	agent = raw_resume(d, &welcome, 0, 0);
	as(0);
	raw_expect_alive(vm.owner);
	raw_expect_alive(agent);
	expect_no_session(ANN);
	close(agent);
	raw_vm_close(&vm);
	EVENTUALLY(PATIENCE_MS, !why_no_session(ANN));
	stop();
}
END_TEST

START_TEST(a_session_that_is_taken_up_by_another_user_is_that_users)
{
	static const char limits[] = "max-vms-per-user = 1\nmax-sessions-per-user = 1\n";
	struct raw_vm vm, anns;

	start_with(limits);
	vm = start_vm_as(ANN, "guest");
	restart_with(limits);
	as(BEN);
	raw_vm_resume(&vm, d, 1, 1);
	as(0);
	expect_no_session(BEN);
	anns = start_vm_as(ANN, "another");
	raw_vm_close(&anns);
	raw_vm_close(&vm);
	stop();
}
END_TEST

int main(void)
{
	TCase *running = harness_make_case("while it runs", 60);
	TCase *restarted = harness_make_case("after a restart", 60);
	TCase *told = harness_make_case("what is told of it", 60);
	TCase *const cases[] = { running, told, restarted, NULL };
	const char *why = other_users_why_not();

	if (why) {
		printf("1..0 # SKIP %s\n", why);
		return EXIT_SUCCESS;
	}
	tcase_add_test(running, a_user_has_so_many_sessions_and_others_go_on);
	tcase_add_test(running, an_agent_counts_for_the_user_of_the_owner_who_opened_its_socket);
	tcase_add_test(running, a_closed_session_counts_until_its_updates_are_settled);
	tcase_add_test(running, a_user_has_so_many_VMs_and_others_go_on);
	tcase_add_test(running, registrations_that_fail_use_up_nothing);
	tcase_add_test(running, a_user_has_so_many_clients_and_others_go_on);
	tcase_add_test(running, a_limit_that_is_lowered_closes_nothing);
	tcase_add_test(told,
		       whoever_is_refused_for_a_limit_is_in_the_log_with_its_setting_and_counted);
	tcase_add_test(told, limits_of_all_users_together_are_told_of_likewise);
	tcase_add_test(told,
		       a_flood_of_refusals_is_counted_instead_of_logged_and_hides_no_other_kind);
	tcase_add_test(restarted, what_a_restart_leaves_behind_counts_for_its_user);
	tcase_add_test(restarted, sessions_come_back_though_their_user_has_as_many_as_it_may);
	tcase_add_test(restarted, a_session_that_is_taken_up_by_another_user_is_that_users);
	return harness_run("quotas", cases);
}
