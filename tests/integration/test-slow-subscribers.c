/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Subscribers that do not read, or hardly: what they can make the daemon hold, how they are told
 * what they missed, and that nobody else notices.
 */
#include "daemon/serve/control.h"
#include "daemon/serve/events.h"
#include "daemon/serve/jsonrpc.h"
#include "tests/integration/event-client.h"
#include "tests/integration/siege.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of which each makes two events: more than are kept, with what the sockets' buffers hold, too. */
#define N_FLOOD 4000

#define KINDS    "\"events\":[\"vm.frozen\",\"vm.thawed\"]"
#define OF_GUEST "{" KINDS ",\"vm\":\"guest\"}"

static struct siege siege;
static struct simulated_vmm *vmm;

static void start(void)
{
	siege = siege_begin(NULL);
	vmm = simulated_vmm_start(siege.daemon, &(struct simulated_vmm_options){ 0 });
}

static void stop(void)
{
	simulated_vmm_stop(vmm);
	siege_end(&siege);
}

/* Of the calls that a batch may have. */
#define MAX_PAIRS (JSONRPC_MAX_BATCH / 2)

/*
 * So many times two events, as fast as the daemon makes them: in a few large batches of calls, so
 * that it takes no time to speak of, however long a test waits for its turn on this machine.
 */
static void flood(unsigned int n)
{
	static const char pair[] = ",{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.freeze\","
				   "\"params\":[\"guest\"]}"
				   ",{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"vm.thaw\","
				   "\"params\":[\"guest\"]}";
	static char batch[MAX_PAIRS * sizeof(pair) + 2];

	while (n) {
		const unsigned int n_pairs = n < MAX_PAIRS ? n : MAX_PAIRS;
		struct json_object *answers;
		char *end = batch;

		for (unsigned int i = 0; i < n_pairs; i++)
			end = stpcpy(end, pair);
		*batch = '[';
		strcpy(end, "]");
		answers = control_ask(siege.control, batch);
		ck_assert_uint_eq(json_object_array_length(answers), 2 * n_pairs);
		for (size_t i = 0; i < 2 * n_pairs; i++)
			ck_assert(json_has(json_object_array_get_idx(answers, i), "result"));
		json_object_put(answers);
		n -= n_pairs;
	}
}

/* Sends as much as the daemon takes. */
static void send_what_goes(int socket, const char *text)
{
	while (send(socket, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
		;
	ck_assert(errno == EAGAIN || errno == EPIPE || errno == ECONNRESET);
}

/* The daemon has closed the connection: there is an end to what comes. */
static void expect_end(struct control_client *client)
{
	char bytes[65536];
	ssize_t n;

	do
		n = recv(client->socket, bytes, sizeof(bytes), 0);
	while (n > 0);
	ck_assert(!n || errno == ECONNRESET);
}

static int64_t counter(const char *path)
{
	struct json_object *daemon = control_call(siege.control, "daemon.get", "{}");
	int64_t number = json_number_at(daemon, path);

	json_object_put(daemon);
	return number;
}

/* ---- One that falls behind ------------------------------------------------------------------- */

/*
 * Up to where it fell behind it gets every event, then how many it missed and which; from there on
 * it can have the rest, and nothing is told twice or not at all.
 */
START_TEST(one_that_fell_behind_is_told_exactly_what_it_missed)
{
	struct event_client events = events_begin(siege.daemon, OF_GUEST);
	struct json_object *line, *answer;
	int64_t number = 0, first = 0, missed = 0, last = 0;

	flood(N_FLOOD);
	while (!missed) {
		line = control_receive(events.control);
		ck_assert_ptr_nonnull(line);
		if (!strcmp(json_text_at(line, "method"), "event.missed")) {
			ck_assert_int_eq(json_object_object_length(json_at(line, "params")), 3);
			first = json_number_at(line, "params.first");
			last = json_number_at(line, "params.last");
			missed = json_number_at(line, "params.missed");
		} else {
			ck_assert_str_eq(json_text_at(line, "method"), "event");
			if (number)
				ck_assert_int_eq(json_number_at(line, "params.number"), number + 1);
			number = json_number_at(line, "params.number");
		}
		json_object_put(line);
	}
	ck_assert_int_gt(number, 100);
	ck_assert_int_eq(first, number + 1);
	ck_assert_int_eq(missed, last - first + 1);
	ck_assert_int_eq(last + EVENTS_MAX_KEPT, events.next - 1 + 2 * N_FLOOD);
	/* It is over. */
	flood(1);
	events_expect_none(&events);
	answer = control_call(events.control, "event.unsubscribe", "{}");
	ck_assert(!json_boolean_at(answer, "subscribed"));
	json_object_put(answer);
	answer = control_call(events.control, "event.subscribe", "{" KINDS ",\"since\":%ld}",
			      last + 1);
	/* the last two have pushed out two more */
	ck_assert_int_eq(json_number_at(answer, "missed"), 2);
	json_object_put(answer);
	events.last_number = last + 2;
	for (unsigned int i = 0; i < EVENTS_MAX_KEPT; i++) {
		number = events.last_number;
		json_object_put(events_receive(&events));
		ck_assert_int_eq(events.last_number, number + 1);
	}
	events_expect_none(&events);
	events_end(&events);
}
END_TEST

/* What others do does not count, however much it is. */
START_TEST(one_whom_the_flood_does_not_concern_misses_nothing)
{
	struct event_client events =
		events_begin(siege.daemon, "{\"events\":[\"session.opened\"]}");
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);

	flood(N_FLOOD);
	kvmattr_close(agent);
	agent = simulated_vmm_open_agent(vmm, 1, 0);
	for (int i = 0; i < 2; i++)
		json_object_put(events_expect_any(&events, "session.opened", "guest"));
	events_expect_none(&events);
	kvmattr_close(agent);
	events_end(&events);
}
END_TEST

/* ---- Those that never read ------------------------------------------------------------------- */

/*
 * One only never reads, one makes calls all the while, one reads a byte now and then, for which the
 * daemon cannot send anything.  One who reads is not concerned.
 */
START_TEST(those_that_do_not_read_are_disconnected)
{
	static const char calls[] = "[{\"jsonrpc\":\"2.0\",\"method\":\"rpc.methods\",\"id\":1},"
				    "{\"jsonrpc\":\"2.0\",\"method\":\"rpc.methods\",\"id\":2}]\n";
	struct event_client silent = events_begin(siege.daemon, OF_GUEST),
			    calling = events_begin(siege.daemon, OF_GUEST),
			    slow = events_begin(siege.daemon, OF_GUEST),
			    alive = events_begin(siege.daemon, OF_GUEST);
	long before_kib = kvmattrd_resident_kib(siege.daemon);
	char byte;

	for (int i = 0; i < N_FLOOD; i++) {
		if (i % 100 == 0)
			send_what_goes(calling.control->socket, calls);
		flood(1);
		json_object_put(events_expect_any(&alive, "vm.frozen", "guest"));
		json_object_put(events_expect_any(&alive, "vm.thawed", "guest"));
	}
	if (harness_patience() == 1)
		ck_assert_int_lt(kvmattrd_resident_kib(siege.daemon) - before_kib, 8 * 1024);
	EVENTUALLY(CONTROL_MISSED_GRACE_MS + 10000, recv(slow.control->socket, &byte, 1, 0) == 1 &&
							    counter("counters.clients") == 2);
	ck_assert(kvmattrd_has_logged(siege.daemon, "has not read them; it is disconnected"));
	expect_end(silent.control);
	expect_end(calling.control);
	expect_end(slow.control);
	events_expect_none(&alive);
	events_end(&silent);
	events_end(&calling);
	events_end(&slow);
	events_end(&alive);
}
END_TEST

START_TEST(as_many_as_there_may_be_that_never_read_hold_little_memory)
{
	enum { N_DEAD = CONTROL_MAX_CLIENTS - 1 };
	struct event_client dead[N_DEAD];
	long before_kib = kvmattrd_resident_kib(siege.daemon);

	for (int i = 0; i < N_DEAD; i++)
		dead[i] = events_begin(siege.daemon, OF_GUEST);
	flood(N_FLOOD);
	bystander_expect_progress(siege.bystander);
	/* what they may leave unread, and what is kept for all of them, with what that costs */
	if (harness_patience() == 1)
		ck_assert_int_lt(kvmattrd_resident_kib(siege.daemon) - before_kib,
				 N_DEAD * 2 * (long)CONTROL_MAX_UNREAD / 1024 +
					 4 * (long)EVENTS_MAX_KEPT_BYTES / 1024);
	for (int i = 0; i < N_DEAD; i++)
		events_end(&dead[i]);
}
END_TEST

/* ---- Those that do read ---------------------------------------------------------------------- */

START_TEST(as_many_as_there_may_be_that_read_are_all_told_all)
{
	enum { N_ALIVE = CONTROL_MAX_CLIENTS - 1, N_ROUNDS = 150 };
	struct event_client alive[N_ALIVE];

	for (int i = 0; i < N_ALIVE; i++)
		alive[i] = events_begin(siege.daemon, OF_GUEST);
	flood(N_ROUNDS);
	for (int i = 0; i < N_ALIVE; i++) {
		for (int j = 0; j < N_ROUNDS; j++) {
			json_object_put(events_expect_any(&alive[i], "vm.frozen", "guest"));
			json_object_put(events_expect_any(&alive[i], "vm.thawed", "guest"));
		}
		events_expect_none(&alive[i]);
	}
	for (int i = 0; i < N_ALIVE; i++)
		events_end(&alive[i]);
}
END_TEST

/* A batch's answers are one line, which takes its time; every line is an event's or a batch's. */
START_TEST(no_event_cuts_into_an_answer)
{
	enum { N_CALLS = 200, N_BATCHES = 20 };
	struct event_client events = events_begin(siege.daemon, OF_GUEST);
	int n_events = 0, n_batches = 0;
	char *batch = calloc(N_CALLS, 64), *end = batch;

	for (int i = 0; i < N_CALLS; i++)
		end += sprintf(end, "%c{\"jsonrpc\":\"2.0\",\"method\":\"daemon.get\",\"id\":%d}",
			       i ? ',' : '[', i);
	strcpy(end, "]\n");
	for (int i = 0; i < N_BATCHES; i++) {
		control_send(events.control, batch, strlen(batch));
		flood(20);
		while (n_batches <= i || n_events < 2 * 20 * (i + 1)) {
			struct json_object *line = control_receive(events.control);

			ck_assert_ptr_nonnull(line);
			if (json_object_is_type(line, json_type_array)) {
				ck_assert_int_eq(json_object_array_length(line), N_CALLS);
				for (int j = 0; j < N_CALLS; j++)
					ck_assert_int_eq(json_number_at(json_object_array_get_idx(
										line, (size_t)j),
									"id"),
							 j);
				n_batches++;
			} else {
				ck_assert_str_eq(json_text_at(line, "method"), "event");
				n_events++;
			}
			json_object_put(line);
		}
	}
	ck_assert_int_eq(n_events, 2 * 20 * N_BATCHES);
	free(batch);
	events_end(&events);
}
END_TEST

START_TEST(one_that_has_shut_down_its_side_is_not_told_any_more)
{
	struct event_client events = events_begin(siege.daemon, OF_GUEST);

	ck_assert_int_eq(shutdown(events.control->socket, SHUT_WR), 0);
	ck_assert_ptr_null(control_receive(events.control));
	flood(1);
	events_end(&events);
}
END_TEST

int main(void)
{
	TCase *behind = harness_make_case("behind", 40);
	TCase *dead = harness_make_case("dead", 60);
	TCase *alive = harness_make_case("alive", 40);

	tcase_add_checked_fixture(behind, start, stop);
	tcase_add_checked_fixture(dead, start, stop);
	tcase_add_checked_fixture(alive, start, stop);
	tcase_add_test(behind, one_that_fell_behind_is_told_exactly_what_it_missed);
	tcase_add_test(behind, one_whom_the_flood_does_not_concern_misses_nothing);
	tcase_add_test(dead, those_that_do_not_read_are_disconnected);
	tcase_add_test(dead, as_many_as_there_may_be_that_never_read_hold_little_memory);
	tcase_add_test(alive, as_many_as_there_may_be_that_read_are_all_told_all);
	tcase_add_test(alive, no_event_cuts_into_an_answer);
	tcase_add_test(alive, one_that_has_shut_down_its_side_is_not_told_any_more);
	return harness_run("slow subscribers", (TCase *const[]){ behind, dead, alive, NULL });
}
