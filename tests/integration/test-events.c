/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon tells its subscribers: each kind of event is brought about, and what it says is
 * held against what was done.
 */
#include "tests/integration/event-client.h"
#include "tests/integration/restarts.h"
#include "tests/integration/simulated-vmm.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define STATUS(name) (-32000 - KVMATTR_##name)

/* All that happens now and then. */
#define RARE_KINDS                                                                        \
	"\"events\":[\"vm.registered\",\"vm.released\",\"vm.degraded\",\"vm.recovered\"," \
	"\"layer.enabled\",\"layer.reset\",\"session.opened\",\"session.closed\","        \
	"\"journal.trouble\",\"journal.well\"]"
#define RARE "{" RARE_KINDS "}"

static const struct simulated_vmm_options guest = { 0 };

/* Ids of the VM's sessions are as vm.get has them. */
static int64_t session_id(const char *role)
{
	struct json_object *vm = control_call(control, "vm.get", "{\"vm\":\"guest\"}");
	struct json_object *sessions = json_at(vm, "sessions");
	int64_t id = 0;

	for (size_t i = 0; i < json_object_array_length(sessions); i++) {
		struct json_object *session = json_object_array_get_idx(sessions, i);

		if (!strcmp(json_text_at(session, "role"), role))
			id = json_number_at(session, "id");
	}
	json_object_put(vm);
	ck_assert_int_gt(id, 0);
	return id;
}

/* Of the guest's journal, without the way to it. */
static const char *journal_name(void)
{
	return strrchr(journal_of("guest"), '/') + 1;
}

static void expect_registered(struct event_client *events, const char *name)
{
	events_expect(events, "vm.registered", name,
		      "{\"pid\":%d,\"uid\":%u,\"views\":[0,1],\"ram_pages\":4096,"
		      "\"executor\":\"vmm\",\"recovered\":false}",
		      getpid(), getuid());
	json_object_put(events_expect_any(events, "session.opened", name));
}

/* A guest whose events so far were received. */
static struct simulated_vmm *start_guest(struct event_client *events)
{
	struct simulated_vmm *vmm;

	start(NULL);
	*events = events_begin(d, RARE);
	vmm = simulated_vmm_start(d, &guest);
	expect_registered(events, "guest");
	return vmm;
}

static void stop_guest(struct simulated_vmm *vmm, struct event_client *events)
{
	events_expect_none(events);
	events_end(events);
	simulated_vmm_stop(vmm);
	stop();
}

/*
 * A VMM that ends says goodbye and closes its executor's socket.  Which of these the daemon hears
 * first is why the VM goes, and whether that is told before the end of the owner's session; its
 * agents' sessions end because the VM does.
 */
static void expect_end(struct event_client *events, int64_t owner_id, int64_t agent_id)
{
	const int64_t first = events->last_number + 1, n = agent_id ? 3 : 2;
	int64_t released = 0, owner_closed = 0, agent_closed = 0;
	char reason[256] = "", told[256] = "";

	while (events->last_number < first + n - 1) {
		struct json_object *event = events_receive(events);
		const char *text = json_text_at(event, "data.text");

		ck_assert_str_eq(json_text_at(event, "vm"), "guest");
		if (!strcmp(json_text_at(event, "event"), "vm.released")) {
			released = json_number_at(event, "number");
			ck_assert_str_eq(json_text_at(event, "data.status"), "NO_VM");
			snprintf(reason, sizeof(reason), "VM 'guest' is gone: %s", text);
		} else if (json_number_at(event, "data.id") == owner_id) {
			owner_closed = json_number_at(event, "number");
			ck_assert_str_eq(json_text_at(event, "event"), "session.closed");
			ck_assert_str_eq(json_text_at(event, "data.role"), "owner");
		} else {
			agent_closed = json_number_at(event, "number");
			ck_assert_str_eq(json_text_at(event, "event"), "session.closed");
			ck_assert_str_eq(json_text_at(event, "data.role"), "agent");
			ck_assert_int_eq(json_number_at(event, "data.id"), agent_id);
			snprintf(told, sizeof(told), "%s", text);
		}
		json_object_put(event);
	}
	ck_assert(released && owner_closed && !agent_closed == !agent_id);
	if (agent_id) {
		ck_assert_int_gt(agent_closed, released);
		ck_assert_str_eq(told, reason);
	}
}

/* ---- VMs, sessions, layers ------------------------------------------------------------------- */

START_TEST(a_vm_and_its_sessions_are_told_from_their_beginning_to_their_end)
{
	struct event_client events;
	struct simulated_vmm *vmm;
	struct kvmattr *agent;
	int64_t owner_id, agent_id, first;

	start(NULL);
	events = events_begin(d, RARE);
	ck_assert_int_eq(events.next, 1);
	vmm = simulated_vmm_start(d, &guest);
	owner_id = session_id("owner");
	first = events_expect(&events, "vm.registered", "guest",
			      "{\"pid\":%d,\"uid\":%u,\"views\":[0,1],\"ram_pages\":4096,"
			      "\"executor\":\"vmm\",\"recovered\":false}",
			      getpid(), getuid());
	ck_assert_int_eq(first, 1);
	events_expect(&events, "session.opened", "guest",
		      "{\"id\":%ld,\"role\":\"owner\",\"vtl\":null,\"pid\":%d,\"uid\":%u,"
		      "\"resumed\":false}",
		      owner_id, getpid(), getuid());
	agent = simulated_vmm_open_agent(vmm, 1, 0);
	agent_id = session_id("agent");
	events_expect(&events, "session.opened", "guest",
		      "{\"id\":%ld,\"role\":\"agent\",\"vtl\":1,\"pid\":%d,\"uid\":%u,"
		      "\"resumed\":false}",
		      agent_id, getpid(), getuid());
	kvmattr_close(agent);
	events_expect(&events, "session.closed", "guest",
		      "{\"id\":%ld,\"role\":\"agent\",\"vtl\":1,\"text\":\"the peer said "
		      "goodbye\"}",
		      agent_id);
	simulated_vmm_stop(vmm);
	expect_end(&events, owner_id, 0);
	ck_assert_int_eq(events.last_number, first + 5);
	events_expect_none(&events);
	events_end(&events);
	stop();
}
END_TEST

START_TEST(an_agent_whose_vm_goes_is_told_of_behind_the_vm)
{
	struct event_client events;
	struct simulated_vmm *vmm = start_guest(&events);
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);
	int64_t owner_id = session_id("owner"), agent_id = session_id("agent");

	json_object_put(events_expect_any(&events, "session.opened", "guest"));
	simulated_vmm_stop(vmm);
	expect_end(&events, owner_id, agent_id);
	events_expect_none(&events);
	kvmattr_close(agent);
	events_end(&events);
	stop();
}
END_TEST

START_TEST(a_registration_that_fails_is_no_event)
{
	const struct simulated_vmm_options pinned = { .pin = KVMATTR_ABI_MAINLINE };
	struct event_client events;
	struct simulated_vmm *vmm;

	start(NULL);
	events = events_begin(d, "{}");
	vmm = simulated_vmm_connect(d, &pinned);
	expect_status(vmm->owner, simulated_vmm_register(vmm, &pinned), KVMATTR_ABI_MISMATCH);
	simulated_vmm_stop(vmm);
	EVENTUALLY(2000, !control_has_vm(control, "guest"));
	events_expect_none(&events);
	events_end(&events);
	stop();
}
END_TEST

START_TEST(a_layer_is_told_when_it_is_in_force_and_when_it_is_not_any_more)
{
	struct event_client events;
	struct simulated_vmm *vmm = start_guest(&events);
	struct kvmattr *owner = vmm->owner;

	expect_ok(owner, kvmattr_enable_layer(owner, 1, KVMATTR_RWX, 0));
	events_expect(&events, "layer.enabled", "guest",
		      "{\"layer\":1,\"protection\":\"rwx\",\"mbec\":false,\"commit\":2}");
	/* What is refused is nobody's business. */
	expect_status(owner, kvmattr_enable_layer(owner, 1, KVMATTR_R, 0),
		      KVMATTR_INVALID_VTL_STATE);
	expect_status(owner, kvmattr_reset_layer(owner, 3), KVMATTR_INVALID_VTL_STATE);
	/* Without MBEC kernel execute stands for both. */
	expect_ok(owner, kvmattr_enable_layer(owner, 2, KVMATTR_READ | KVMATTR_KERNEL_EXECUTE, 0));
	events_expect(&events, "layer.enabled", "guest",
		      "{\"layer\":2,\"protection\":\"rx\",\"mbec\":false,\"commit\":%ld}",
		      commit_of("guest"));
	expect_ok(owner, kvmattr_enable_layer(owner, 5, KVMATTR_R, 1));
	events_expect(&events, "layer.enabled", "guest",
		      "{\"layer\":5,\"protection\":\"r\",\"mbec\":true,\"commit\":%ld}",
		      commit_of("guest"));
	expect_ok(owner, protect_range(owner, 1, KVMATTR_R, 5, 1));
	expect_ok(owner, kvmattr_reset_layer(owner, 2));
	events_expect(&events, "layer.reset", "guest", "{\"layer\":2,\"commit\":%ld}",
		      commit_of("guest"));
	expect_ok(owner, kvmattr_reset_vm(owner));
	events_expect(&events, "layer.reset", "guest", "{\"layer\":1,\"commit\":%ld}",
		      commit_of("guest"));
	events_expect(&events, "layer.reset", "guest", "{\"layer\":5,\"commit\":%ld}",
		      commit_of("guest"));
	expect_ok(owner, kvmattr_reset_vm(owner));
	stop_guest(vmm, &events);
}
END_TEST

START_TEST(layers_that_operators_change_are_told_as_well)
{
	struct event_client events;
	struct simulated_vmm *vmm = start_guest(&events);
	struct json_object *answer;
	int64_t size;
	char *data;

	json_object_put(control_call(control, "vm.update",
				     "{\"vm\":\"guest\",\"kind\":\"enable-layer\",\"layer\":1,"
				     "\"protection\":\"rw\"}"));
	events_expect(&events, "layer.enabled", "guest",
		      "{\"layer\":1,\"protection\":\"rw\",\"mbec\":false,\"commit\":%ld}",
		      commit_of("guest"));
	answer = control_call(control, "vm.export", "{\"vm\":\"guest\"}");
	data = strdup(json_text_at(answer, "data"));
	size = json_number_at(answer, "size");
	json_object_put(answer);
	json_object_put(
		control_call(control, "vm.update", "{\"vm\":\"guest\",\"kind\":\"reset-vm\"}"));
	events_expect(&events, "layer.reset", "guest", "{\"layer\":1,\"commit\":%ld}",
		      commit_of("guest"));
	json_object_put(control_call(control, "vm.import",
				     "{\"vm\":\"guest\",\"size\":%ld,\"offset\":0,\"data\":\"%s\"}",
				     size, data));
	answer = events_expect_any(&events, "layer.enabled", "guest");
	ck_assert_int_eq(json_number_at(answer, "layer"), 1);
	ck_assert_str_eq(json_text_at(answer, "protection"), "rw");
	json_object_put(answer);
	free(data);
	stop_guest(vmm, &events);
}
END_TEST

START_TEST(a_vm_that_is_frozen_and_thawed_is_told_so)
{
	struct simulated_vmm *vmm;
	struct event_client events;

	start(NULL);
	vmm = simulated_vmm_start(d, &guest);
	events = events_begin(d, "{}");
	json_object_put(control_call(control, "vm.freeze", "{\"vm\":\"guest\"}"));
	events_expect(&events, "vm.frozen", "guest", "{\"commit\":1}");
	json_object_put(control_call(control, "vm.thaw", "{\"vm\":\"guest\"}"));
	events_expect(&events, "vm.thawed", "guest", "{\"commit\":1}");
	stop_guest(vmm, &events);
}
END_TEST

/* ---- Trouble --------------------------------------------------------------------------------- */

START_TEST(a_vm_is_degraded_once_and_recovered_once)
{
	struct event_client events;
	struct simulated_vmm *vmm = start_guest(&events);
	struct kvmattr *owner = vmm->owner;
	struct json_object *told;

	expect_ok(owner, kvmattr_enable_layer(owner, 1, KVMATTR_RWX, 0));
	json_object_put(events_expect_any(&events, "layer.enabled", "guest"));
	simulated_vmm_fail(vmm, EIO);
	for (uint64_t gfn = 0; gfn < 3; gfn++)
		expect_status(owner, protect_range(owner, 1, KVMATTR_R, gfn, 1),
			      KVMATTR_KERNEL_REFUSED);
	told = events_expect_any(&events, "vm.degraded", "guest");
	ck_assert_ptr_nonnull(strstr(json_text_at(told, "text"), "degraded"));
	ck_assert_int_gt(json_number_at(told, "unknown_pages"), 0);
	ck_assert_int_eq(json_object_object_length(told), 2);
	json_object_put(told);
	events_expect_none(&events);
	simulated_vmm_fail(vmm, 0);
	events_expect(&events, "vm.recovered", "guest",
		      "{\"text\":\"recovered: KVM enforces what the policy says on every page\","
		      "\"unknown_pages\":0}");
	stop_guest(vmm, &events);
}
END_TEST

START_TEST(a_vm_whose_executor_is_stuck_is_degraded_until_it_answers)
{
	struct event_client events;
	struct simulated_vmm *vmm;

	start("[limits]\nexecutor-deadline-ms = 2000\n");
	vmm = simulated_vmm_start(d, &guest);
	expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, 1, KVMATTR_RWX, 0));
	events = events_begin(d, RARE);
	simulated_vmm_close_gate(vmm);
	expect_status(vmm->owner, protect_range(vmm->owner, 1, KVMATTR_R, 7, 1),
		      KVMATTR_EXECUTOR_STUCK);
	json_object_put(events_expect_any(&events, "vm.degraded", "guest"));
	expect_status(vmm->owner, protect_range(vmm->owner, 1, KVMATTR_R, 8, 1),
		      KVMATTR_EXECUTOR_STUCK);
	simulated_vmm_open_gate(vmm);
	json_object_put(events_expect_any(&events, "vm.recovered", "guest"));
	stop_guest(vmm, &events);
}
END_TEST

/* A disk that is full, as far as the daemon can tell; and one that is not. */
static void fill_disk(bool is_full)
{
	const struct rlimit limit = { .rlim_cur = is_full ? 0 : RLIM_INFINITY,
				      .rlim_max = RLIM_INFINITY };

	ck_assert_int_eq(prlimit(d->pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

START_TEST(a_journal_that_cannot_be_written_is_told_and_that_it_can_be_again)
{
	struct event_client events;
	struct simulated_vmm *vmm = start_guest(&events);
	struct json_object *told;

	fill_disk(true);
	for (unsigned int layer = 1; layer < 4; layer++)
		expect_status(vmm->owner, kvmattr_enable_layer(vmm->owner, layer, KVMATTR_RWX, 0),
			      KVMATTR_JOURNAL_FAILED);
	told = events_expect_any(&events, "journal.trouble", "guest");
	ck_assert_ptr_nonnull(strstr(json_text_at(told, "text"), "cannot be written"));
	ck_assert_ptr_nonnull(strstr(json_text_at(told, "text"), journal_name()));
	json_object_put(told);
	fill_disk(false);
	expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, 1, KVMATTR_RWX, 0));
	events_expect(&events, "journal.well", "guest",
		      "{\"text\":\"the journal %s can be written again\"}", journal_name());
	json_object_put(events_expect_any(&events, "layer.enabled", "guest"));
	stop_guest(vmm, &events);
}
END_TEST

/* ---- Subscriptions --------------------------------------------------------------------------- */

START_TEST(a_subscriber_is_told_only_of_the_vm_and_the_kinds_it_asked_for)
{
	const struct simulated_vmm_options other = { .name = "other" };
	struct event_client of_other, of_layers;
	struct simulated_vmm *vmm, *second;

	start(NULL);
	/* It is not there yet, and will be gone. */
	of_other = events_begin(d, "{\"vm\":\"other\",\"events\":[\"vm.registered\","
				   "\"vm.released\"]}");
	of_layers = events_begin(d, "[[\"layer.enabled\"]]");
	vmm = simulated_vmm_start(d, &guest);
	second = simulated_vmm_start(d, &other);
	expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, 1, KVMATTR_RWX, 0));
	simulated_vmm_stop(second);
	json_object_put(events_expect_any(&of_other, "vm.registered", "other"));
	json_object_put(events_expect_any(&of_other, "vm.released", "other"));
	events_expect_none(&of_other);
	json_object_put(events_expect_any(&of_layers, "layer.enabled", "guest"));
	events_end(&of_other);
	stop_guest(vmm, &of_layers);
}
END_TEST

START_TEST(one_who_comes_back_goes_on_where_it_was)
{
	struct event_client events;
	struct simulated_vmm *vmm = start_guest(&events);
	struct json_object *answer;

	for (unsigned int layer = 1; layer < 6; layer++)
		expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, layer, KVMATTR_RWX, 0));
	for (int layer = 1; layer < 3; layer++)
		json_object_put(events_expect_any(&events, "layer.enabled", "guest"));
	events_end(&events);
	events.control = control_connect(d);
	answer = control_call(events.control, "event.subscribe", "{\"since\":%ld}",
			      events.last_number + 1);
	ck_assert_int_eq(json_number_at(answer, "next"), 8);
	ck_assert_int_eq(json_number_at(answer, "oldest"), 1);
	ck_assert_int_eq(json_number_at(answer, "missed"), 0);
	json_object_put(answer);
	for (int layer = 3; layer < 6; layer++)
		events_expect(&events, "layer.enabled", "guest",
			      "{\"layer\":%d,\"protection\":\"rwx\",\"mbec\":false,"
			      "\"commit\":%d}",
			      layer, layer + 1);
	stop_guest(vmm, &events);
}
END_TEST

START_TEST(subscribing_again_replaces_and_unsubscribing_ends_it)
{
	struct event_client events;
	struct simulated_vmm *vmm = start_guest(&events);
	struct json_object *answer =
		control_call(events.control, "event.subscribe", "{\"events\":[\"layer.reset\"]}");

	json_object_put(answer);
	expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, 1, KVMATTR_RWX, 0));
	expect_ok(vmm->owner, kvmattr_reset_layer(vmm->owner, 1));
	json_object_put(events_expect_any(&events, "layer.reset", "guest"));
	answer = control_call(events.control, "event.unsubscribe", "{}");
	ck_assert(json_boolean_at(answer, "subscribed"));
	json_object_put(answer);
	expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, 1, KVMATTR_RWX, 0));
	answer = control_call(events.control, "event.unsubscribe", "{}");
	ck_assert(!json_boolean_at(answer, "subscribed"));
	json_object_put(answer);
	stop_guest(vmm, &events);
}
END_TEST

START_TEST(what_cannot_be_subscribed_to_is_refused)
{
	start(NULL);
	control_expect_error(control, "event.subscribe", "{\"events\":[\"vm.eaten\"]}", -32602,
			     "vm.registered");
	control_expect_error(control, "event.subscribe", "{\"events\":\"vm.released\"}", -32602,
			     "array");
	control_expect_error(control, "event.subscribe", "{\"vm\":\"../guest\"}", -32602,
			     "1 to 63 letters");
	control_expect_error(control, "event.subscribe", "{\"vm\":7}", -32602, "params.vm");
	control_expect_error(control, "event.subscribe", "{\"since\":0}", -32602, "from 1");
	control_expect_error(control, "event.subscribe", "{\"since\":2}", STATUS(INVALID_PARAMETER),
			     "begin anew");
	stop();
}
END_TEST

/* ---- Restarts -------------------------------------------------------------------------------- */

/* Numbers begin anew; what was in force before is not told again. */
START_TEST(after_a_restart_the_vm_is_recovered_and_its_peers_come_back)
{
	struct event_client events;
	struct simulated_vmm *vmm = start_guest(&events);
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);
	struct json_object *told;
	int64_t started_us = events.started_us;
	bool has_seen_owner = false;

	expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, 1, KVMATTR_RWX, 0));
	json_object_put(events_expect_any(&events, "session.opened", "guest"));
	json_object_put(events_expect_any(&events, "layer.enabled", "guest"));
	kill_daemon();
	ck_assert_ptr_null(control_receive(events.control));
	events_end(&events);
	launch(NULL);
	/* Both notice by using it. */
	expect_ok(agent, protect_range(agent, 1, KVMATTR_R, 1, 1));
	events = events_begin(d, "{\"since\":1," RARE_KINDS "}");
	ck_assert_int_ne(events.started_us, started_us);
	events_expect(&events, "vm.registered", "guest",
		      "{\"pid\":%d,\"uid\":%u,\"views\":[0,1],\"ram_pages\":4096,"
		      "\"executor\":\"vmm\",\"recovered\":true}",
		      getpid(), getuid());
	ck_assert_int_eq(events.last_number, 1);
	for (int i = 0; i < 2; i++) {
		told = events_expect_any(&events, "session.opened", "guest");
		ck_assert(json_boolean_at(told, "resumed"));
		has_seen_owner |= !strcmp(json_text_at(told, "role"), "owner");
		json_object_put(told);
	}
	ck_assert(has_seen_owner);
	/* A layer that is there is known, though this daemon did not see it come. */
	expect_ok(agent, kvmattr_reset_layer(agent, 1));
	events_expect(&events, "layer.reset", "guest", "{\"layer\":1,\"commit\":%ld}",
		      commit_of("guest"));
	kvmattr_close(agent);
	json_object_put(events_expect_any(&events, "session.closed", "guest"));
	stop_guest(vmm, &events);
}
END_TEST

START_TEST(a_journal_that_cannot_be_recovered_from_is_trouble)
{
	struct event_client events;
	struct simulated_vmm *vmm = start_guest(&events);
	struct json_object *told;
	FILE *segment;

	kill_daemon();
	events_end(&events);
	segment = fopen(segment_of("guest"), "r+e");
	ck_assert_ptr_nonnull(segment);
	ck_assert_int_eq(fseek(segment, 200, SEEK_SET), 0);
	ck_assert_int_eq(fputc(0xa5, segment), 0xa5);
	ck_assert_int_eq(fclose(segment), 0);
	launch(NULL);
	events = events_begin(d, "{\"since\":1}");
	told = events_expect_any(&events, "journal.trouble", "guest");
	ck_assert_ptr_nonnull(strstr(json_text_at(told, "text"), journal_name()));
	json_object_put(told);
	stop_guest(vmm, &events);
}
END_TEST

int main(void)
{
	TCase *lives = harness_make_case("lives", 20);
	TCase *trouble = harness_make_case("trouble", 20);
	TCase *subscriptions = harness_make_case("subscriptions", 20);
	TCase *restarts = harness_make_case("restarts", 20);

	tcase_add_test(lives, a_vm_and_its_sessions_are_told_from_their_beginning_to_their_end);
	tcase_add_test(lives, an_agent_whose_vm_goes_is_told_of_behind_the_vm);
	tcase_add_test(lives, a_registration_that_fails_is_no_event);
	tcase_add_test(lives, a_layer_is_told_when_it_is_in_force_and_when_it_is_not_any_more);
	tcase_add_test(lives, layers_that_operators_change_are_told_as_well);
	tcase_add_test(lives, a_vm_that_is_frozen_and_thawed_is_told_so);
	tcase_add_test(trouble, a_vm_is_degraded_once_and_recovered_once);
	tcase_add_test(trouble, a_vm_whose_executor_is_stuck_is_degraded_until_it_answers);
	tcase_add_test(trouble, a_journal_that_cannot_be_written_is_told_and_that_it_can_be_again);
	tcase_add_test(subscriptions,
		       a_subscriber_is_told_only_of_the_vm_and_the_kinds_it_asked_for);
	tcase_add_test(subscriptions, one_who_comes_back_goes_on_where_it_was);
	tcase_add_test(subscriptions, subscribing_again_replaces_and_unsubscribing_ends_it);
	tcase_add_test(subscriptions, what_cannot_be_subscribed_to_is_refused);
	tcase_add_test(restarts, after_a_restart_the_vm_is_recovered_and_its_peers_come_back);
	tcase_add_test(restarts, a_journal_that_cannot_be_recovered_from_is_trouble);
	return harness_run("events",
			   (TCase *const[]){ lives, trouble, subscriptions, restarts, NULL });
}
